"""Content of files in a bucket: sent as objects that are written once, and fetched from them.

Belongs here: which objects a file becomes, and a file of its objects. Does not belong here: when (`bucket`).
"""

import base64
import hashlib
import json
import math
import shutil
import time
import uuid
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa

from galaxy_assets.storage.bucket.heads import Content, Head, Part
from galaxy_assets.storage.bucket.objects import Missing, Objects, Shorter
from galaxy_assets.storage.bucket.whereabouts import must_be_there
from galaxy_assets.storage.files import partial_name, told_of

PIXELS = "cutouts.npy"
"""Of a batch's folder, the file that is sent in chunks of rows."""
_SHORT = 2048
"""Bytes up to which content is in the head itself."""


class NotAsSent(Exception):
    """Content is not in the bucket, or not what was sent; says which."""


class Contents:
    """Content of files as objects.

    Parameters
    ----------
    objects : Objects
    set_aside : callable
        Gives the keys of objects that a machine found damaged.
    """

    def __init__(self, objects: Objects, set_aside: Callable[[], set[str]]):
        self._objects, self._set_aside = objects, set_aside
        self._not_as_sent: set[str] = set()

    def sent(self, name: str, partial: Path) -> Head:
        """Send the content of a file or folder.

        Parameters
        ----------
        name : str
            Its name.
        partial : Path
            Where it lies now.

        Returns
        -------
        Head
            That names the content; nothing else does before it is a head of the bucket.
        """
        within = {"": partial}
        if partial.is_dir():
            files = [path for path in sorted(partial.rglob("[!.]*")) if path.is_file()]
            within = {path.relative_to(partial).as_posix(): path for path in files if not _is_resized(path)}
        cut = _chunks_of(name, partial) if partial.is_dir() else {}
        contents = {below: self._content(name, below, path, cut) for below, path in within.items()}
        return Head(contents, time.time(), uuid.uuid4().hex, _footer(partial) if name.endswith(".parquet") else "")

    def sent_as_it_is(self, name: str, path: Path) -> Head | None:
        """As `sent`, of a folder, or of a copy of a file that a person may go on writing.

        Parameters
        ----------
        name : str
        path : Path

        Returns
        -------
        Head or None
            None where the file is not there any more.
        """
        if path.is_dir():
            return self.sent(name, path)
        copy = path.with_name(partial_name(path.name))
        try:
            with told_of(path):
                shutil.copyfile(path, copy)
            return self.sent(name, copy)
        except FileNotFoundError:
            return None
        finally:
            copy.unlink(missing_ok=True)

    def _content(self, name: str, below: str, path: Path, cut: dict[str, tuple[int, int]]) -> Content:
        size, sha256 = path.stat().st_size, sha256_of(path)
        if size <= _SHORT:
            return Content(size, sha256, [Part("", 0, size, path.read_bytes().hex())])
        if below == PIXELS and cut:
            return Content(size, sha256, self._sent_in_chunks(name, path, size, cut))
        key = _key(Path(name) / below, sha256)
        self._put(key, path)
        return Content(size, sha256, [Part(key, 0, size)])

    def _put(self, key: str, content: bytes | Path) -> None:
        self._objects.put_once(key, content, lambda key: key in self._not_as_sent or key in self._set_aside())
        self._not_as_sent.discard(key)

    def _sent_in_chunks(self, name: str, path: Path, size: int, cut: dict[str, tuple[int, int]]) -> list[Part]:
        """The pixels of a batch as objects of some rows each, by their content; what comes before them is short."""
        header = size - sum(length for _, length in cut.values())
        with path.open("rb") as file:
            parts = [Part("", 0, header, file.read(header).hex())]
            for start, length in cut.values():
                file.seek(header + start)
                data = file.read(length)
                key = f"data/{name}/{hashlib.sha256(data).hexdigest()[:32]}.raw"
                self._put(key, data)
                parts.append(Part(key, 0, length))
        return parts

    def has(self, name: str, path: Path) -> bool:
        """Whether the bucket has what a file holds under its name, or keeps it in the head, as what is short."""
        return path.stat().st_size <= _SHORT or self._objects.stated(_key(Path(name), sha256_of(path))) is not None

    def stated(self, head: Head) -> str:
        """What the bucket says of the objects that a head needs, 16 hex digits: others once one is written again."""
        there = ((key, self._objects.stated(key)) for key in sorted(head.keys))
        told = [(key, one and [one.token, one.size, str(one.written)]) for key, one in there]
        return hashlib.sha256(json.dumps(told).encode()).hexdigest()[:16]

    def write(self, content: Content, path: Path) -> None:
        """Fetch what one file holds.

        Parameters
        ----------
        content : Content
        path : Path
            File to write; its folder is made.

        Raises
        ------
        NotAsSent
            Where the content is there no more, or is another.
        BucketAway
            Where the whole bucket is not there.
        """
        try:
            self._write(content, path)
        except NotAsSent:
            self._not_as_sent.update(part.key for part in content.parts)
            raise

    def _write(self, content: Content, path: Path) -> None:
        sha = hashlib.sha256()
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("wb") as file:
            try:
                for part in content.parts:
                    pieces = [bytes.fromhex(part.text)] if not part.key else self._objects.pieces(*part[:3])
                    for piece in pieces:
                        sha.update(piece)
                        file.write(piece)
            except Missing:
                must_be_there(self._objects)
                raise NotAsSent("its content is not there") from None
            except Shorter:
                raise NotAsSent("its content is shorter") from None
        if sha.hexdigest() != content.sha256:
            raise NotAsSent("its sha256 is another")


def _key(place: Path, sha256: str) -> str:
    """Key of the object with the content of a file."""
    return f"data/{place.with_suffix('').as_posix()}/{sha256[:32]}{place.suffix}"


def sha256_of(path: Path) -> str:
    """The sha256 of a file as it lies on the disk, fetched or not."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _is_resized(path: Path) -> bool:
    return path.name.startswith("size_")


def _chunks_of(name: str, folder: Path) -> dict[str, tuple[int, int]]:
    """Where chunks of rows lie among a batch's pixels: offset and bytes, by their first row."""
    told = json.loads((folder / "content.json").read_text(encoding="utf-8"))
    row = math.prod(told["shape"])
    starts = range(0, told["n"], told["chunk"])
    return {f"{at:09d}": (at * row, (min(at + told["chunk"], told["n"]) - at) * row) for at in starts}


def _footer(path: Path) -> str:
    import pyarrow.parquet as pq

    try:
        return base64.b64encode(pq.read_schema(path).serialize()).decode()
    except (pa.ArrowException, OSError, ValueError):  # whoever reads it says so
        return ""
