"""What is known about files that were fetched, or are being fetched, kept in hidden files beside them.

Belongs here: these notes, and checksums. Does not belong here: what is done about them (`fetching`, `transfer`).
"""

import hashlib
from pathlib import Path, PurePosixPath
from typing import TypeVar

from pydantic import Field, ValidationError

from galaxy_assets.deliveries.download.offers import TABLE, Download, FetchError
from galaxy_assets.deliveries.download.progress import amount
from galaxy_assets.settings.base import Settings
from galaxy_assets.settings.printing import logger
from galaxy_assets.storage.files import replacing

log = logger(__name__)


class Served(Settings):
    """Which file on the server a partial download is: its address, what If-Range asks for, its bytes."""

    url: str
    validator: str | None
    size: int | None


class Record(Settings):
    """What is known about a whole file, so that it is neither read nor unpacked again."""

    size: int
    mtime_ns: int
    digest: str = Field(description="md5:<hex> or sha256:<hex> of the whole file")
    unpacked: int | None = Field(default=None, description="files unpacked from it, once all are")


def beside(target: Path, suffix: str) -> Path:
    """The hidden file that goes with a target.

    Parameters
    ----------
    target : Path
        A file or folder.
    suffix : str
        Such as `.partial`.

    Returns
    -------
    Path
    """
    return target.with_name(f".{target.name}{suffix}")


_Note = TypeVar("_Note", Served, Record)


def read_note(path: Path, kind: type[_Note]) -> _Note | None:
    """A note kept in a file.

    Parameters
    ----------
    path : Path
        The file.
    kind : type
        `Served` or `Record`.

    Returns
    -------
    Served or Record or None
        None where there is none or it cannot be read.
    """
    try:
        return kind.model_validate_json(path.read_bytes())
    except (OSError, ValidationError):
        return None


def write_note(path: Path, note: Settings) -> None:
    """Keep a note in a file, whole or not at all.

    Parameters
    ----------
    path : Path
        The file.
    note : Settings
        A `Served` or a `Record`.
    """
    with replacing(path) as partial:
        partial.write_text(note.model_dump_json(), encoding="utf-8")


def bytes_in(path: Path) -> int:
    """Size of a file.

    Parameters
    ----------
    path : Path
        The file.

    Returns
    -------
    int
        Bytes; 0 where there is no file.
    """
    return path.stat().st_size if path.is_file() else 0


def known(download: Download, target: Path, record: Record | None) -> Record:
    """The record of a file that is there; its digest is computed anew where the file has changed.

    Parameters
    ----------
    download : Download
        What it is.
    target : Path
        The file.
    record : Record or None
        What was known of it before.

    Returns
    -------
    Record
    """
    found = target.stat()
    algorithm, expected = expected_digest(download, record.digest if record else None)
    unchanged = record is not None and (record.size, record.mtime_ns) == (found.st_size, found.st_mtime_ns)
    if record is not None and unchanged and record.digest.startswith(f"{algorithm}:{expected}"):
        return record
    remedy = f"This is not the file of {download.page}; move it away, and fetch again"
    digest = checked(download, target, algorithm, expected, remedy)
    unpacked = record.unpacked if record is not None and record.digest == digest else None
    return recorded(target, digest, unpacked)


def recorded(target: Path, digest: str, unpacked: int | None = None) -> Record:
    """Keep what is known about a file that is there.

    Parameters
    ----------
    target : Path
        The file.
    digest : str
        md5:<hex> or sha256:<hex> of the whole file.
    unpacked : int, optional
        Files unpacked from it, once all are.

    Returns
    -------
    Record
    """
    found = target.stat()
    record = Record(size=found.st_size, mtime_ns=found.st_mtime_ns, digest=digest, unpacked=unpacked)
    write_note(beside(target, ".json"), record)
    return record


def expected_digest(download: Download, otherwise: str | None) -> tuple[str, str]:
    """Which checksum a file should have.

    Parameters
    ----------
    download : Download
        The file.
    otherwise : str or None
        Digest as of a record, for a file that the table has no checksum of.

    Returns
    -------
    algorithm : str
        `md5` or `sha256`.
    digest : str
        In hexadecimal, or its beginning; empty where nobody knows it.
    """
    if download.sha256 is not None:
        return "sha256", download.sha256
    if download.md5 is not None:
        return "md5", download.md5
    algorithm, _, digest = (otherwise or "sha256:").partition(":")
    return algorithm, digest


def checked(download: Download, path: Path, algorithm: str, expected: str, remedy: str) -> str:
    """The digest of the whole file, where it is the expected one.

    Parameters
    ----------
    download : Download
        What it is.
    path : Path
        The file.
    algorithm, expected : str
        As `expected_digest` gives them.
    remedy : str
        A sentence for the message of the error.

    Returns
    -------
    str
        md5:<hex> or sha256:<hex>.

    Raises
    ------
    FetchError
        Where it is another.
    """
    name = PurePosixPath(download.target).name
    log.info("%s: computing the %s of %s", name, algorithm, amount(path.stat().st_size))
    with path.open("rb") as file:
        found = hashlib.file_digest(file, algorithm).hexdigest()
    if not expected:
        log.warning("%s: no checksum of it is known, so it is taken as it is; its %s is %s", name, algorithm, found)
    elif not found.startswith(expected):
        if download.second_hand:
            log.warning("%s: the expected %s is second-hand, from %s", name, algorithm, download.second_hand)
            remedy += f". If {download.page} names the {algorithm} found, correct it in {TABLE}"
        raise FetchError(f"{name}: its {algorithm} is {found}, expected {expected}. {remedy}")
    return f"{algorithm}:{found}"
