"""Heads: one small record for each file of a data folder that is kept in a bucket, which says what the file is now.

The content of a file lies in objects that are written once, under names that say what they hold. The file becomes
another one when its head is replaced, by compare-and-swap, so that of two writers one wins and the other is told.

Belongs here: what a head says, and heads as objects. Does not belong here: content (`bucket`), copies (`copies`).
"""

import json
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from typing import Any, NamedTuple, Protocol

from galaxy_assets.storage.bucket.objects import Missing, Objects

_PREFIX = "heads"
_AT_ONCE = 16
"""Heads that are read at once."""


class Part(NamedTuple):
    """A run of bytes of a file.

    Attributes
    ----------
    key : str
        Of the object that holds it; empty where `text` has them.
    offset, size : int
        Which bytes of the object.
    text : str
        The bytes in hexadecimal, of what is too short for an object.
    """

    key: str
    offset: int
    size: int
    text: str = ""


@dataclass(frozen=True)
class Content:
    """What one file holds.

    Attributes
    ----------
    size : int
        Bytes.
    sha256 : str
        64 hex digits.
    parts : list of Part
        End to end, they are the file.
    """

    size: int
    sha256: str
    parts: list[Part]


@dataclass(frozen=True)
class Head:
    """What a file, or a folder that is replaced as one, is now.

    Attributes
    ----------
    files : dict of str to Content
        Name below the folder -> content; of a file its content under the empty name. Empty where it was removed.
    made : float
        When it was written, seconds since 1970.
    by : str
        Which write this is; unlike any other.
    footer : str
        Of a table, its schema and what its footer holds, as Arrow sends it, in Base64, so that the file need not be
        fetched for it.
    """

    files: dict[str, Content] = field(default_factory=dict)
    made: float = 0.0
    by: str = ""
    footer: str = ""

    @property
    def size(self) -> int:
        """Bytes of all its files."""
        return sum(content.size for content in self.files.values())

    @property
    def keys(self) -> set[str]:
        """The objects that it needs."""
        return {part.key for content in self.files.values() for part in content.parts if part.key}

    def to_json(self) -> str:
        """As text."""
        return json.dumps(asdict(self), sort_keys=True)

    @classmethod
    def from_json(cls, text: str | bytes) -> "Head":
        """From text of `to_json`."""
        told: dict[str, Any] = json.loads(text)
        files = {
            name: Content(one["size"], one["sha256"], [Part(*part) for part in one["parts"]])
            for name, one in told["files"].items()
        }
        return cls(files, told["made"], told["by"], told["footer"])


class Heads(Protocol):
    """The heads of one data folder."""

    def tokens(self) -> dict[str, str]:
        """Name -> token of every head, in one question. What it leaves out may be there all the same."""
        ...

    def read(self, names: Iterable[str]) -> dict[str, tuple[str, Head] | None]:
        """Name -> token and head as they are now; None where there is none."""
        ...

    def swap(self, name: str, head: Head, seen: str | None) -> str:
        """Replace a head if it is still the one seen, and return its token; raises `objects.Changed` otherwise."""
        ...

    def forget(self, name: str) -> None:
        """Remove the head of a name that is given once and never again."""
        ...

    def is_before(self, token: str, other: str) -> bool:
        """Whether a token of a head was given before another one of that head, as far as tokens say so."""
        ...


class HeadsInBucket:
    """Heads as objects of the bucket: `heads/<name>.json`.

    Parameters
    ----------
    objects : Objects
    """

    def __init__(self, objects: Objects):
        self._objects = objects

    def tokens(self) -> dict[str, str]:
        """As `Heads.tokens`."""
        return {
            one.key.removeprefix(f"{_PREFIX}/").removesuffix(".json"): one.token
            for one in self._objects.listed(_PREFIX)
        }

    def read(self, names: Iterable[str]) -> dict[str, tuple[str, Head] | None]:
        """As `Heads.read`."""
        wanted = list(names)
        with ThreadPoolExecutor(_AT_ONCE) as pool:
            return dict(zip(wanted, pool.map(self._read, wanted), strict=True))

    def _read(self, name: str) -> tuple[str, Head] | None:
        try:
            content, token = self._objects.get(_key(name))
        except Missing:
            return None
        return token, Head.from_json(content)

    def swap(self, name: str, head: Head, seen: str | None) -> str:
        """As `Heads.swap`."""
        return self._objects.swap(_key(name), head.to_json().encode(), seen)

    def forget(self, name: str) -> None:
        """As `Heads.forget`."""
        self._objects.delete([_key(name)])

    def is_before(self, token: str, other: str) -> bool:
        """As `Heads.is_before`: they do not say so."""
        return False


def _key(name: str) -> str:
    return f"{_PREFIX}/{name}.json"
