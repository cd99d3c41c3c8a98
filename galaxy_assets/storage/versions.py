"""Which files these are, by their content: what tells that something was changed, on whatever disk a copy of it lies.

Belongs here: digests of files and of sets of tables, read once in a process. Does not belong here: what a table was
made from (`provenance`).
"""

import hashlib
from collections.abc import Iterable
from functools import lru_cache
from pathlib import Path

from galaxy_assets.storage.files import DamagedFile, file_sha256, state_of
from galaxy_assets.storage.provenance import readable_origin


def fingerprint(paths: Iterable[Path]) -> str:
    """Which files these are, by name and content: copies of them elsewhere, and of another time, are the same.

    Parameters
    ----------
    paths : iterable of Path
        Files; one that is absent changes the fingerprint too.

    Returns
    -------
    str
        16 hex digits.
    """
    sha = hashlib.sha256()
    for path in paths:
        sha.update(repr((path.name, content_of(path))).encode())
    return sha.hexdigest()[:16]


def content_of(path: Path) -> str | None:
    """The sha256 of a file, read again where its time, size or inode are others than before.

    Parameters
    ----------
    path : Path
        The file.

    Returns
    -------
    str or None
        64 hex digits; None where there is no such file; `damaged` where its bucket has the content no more.
    """
    try:
        return _sha256(path, *state_of(path))
    except FileNotFoundError:
        return None
    except DamagedFile:
        return "damaged"


def stamp(paths: Iterable[Path]) -> str:
    """Which tables these are, by name and by the digests in their footers; of a file without one, by its content.

    Parameters
    ----------
    paths : iterable of Path
        Files of tables; one that is absent or damaged changes the stamp too.

    Returns
    -------
    str
        16 hex digits.
    """
    sha = hashlib.sha256()
    for path in paths:
        sha.update(repr((path.parts[-3:], values_of(path))).encode())
    return sha.hexdigest()[:16]


def values_of(path: Path) -> str | None:
    """Digest of what a table's file holds, as its footer has it; of a file without one, its sha256.

    Parameters
    ----------
    path : Path
        The table's file.

    Returns
    -------
    str or None
        None where there is no such file.
    """
    made = readable_origin(path)
    return made.content if made is not None and made.content else content_of(path)


@lru_cache(maxsize=10_000)
def _sha256(path: Path, *state: int) -> str:
    return file_sha256(path)
