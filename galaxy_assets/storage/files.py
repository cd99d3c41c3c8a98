"""Files and folders that are whole or absent, and the words for those that cannot be written or read.

Belongs here: the one way every room writes a file that another process may read or a kill may interrupt, and the same
for a folder; the errors of storage. Does not belong here: what is written.
"""

import errno
import hashlib
import os
import re
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from galaxy_assets.settings.printing import PrintableError, Unavailable
from galaxy_assets.storage.mounts import is_mounted
from galaxy_assets.storage.owners import owner, runs
from galaxy_assets.storage.store import store_of

PARTIAL = re.compile(r"\..+?\.(?:(?P<owner>[0-9a-f]{8,24}-\d+-\d+)-)?[0-9a-f]{12,32}\.partial(?:\.wal)?")
"""Names of what `replacing` and `new_folder` write before it is whole (`.wal`: DuckDB beside it); `owner` is the
process."""
_FULL = (errno.ENOSPC, errno.EDQUOT)
_FORBIDDEN = (errno.EROFS, errno.EACCES, errno.EPERM)
_COMES_AND_GOES = (errno.ENOENT, errno.EINTR, errno.EAGAIN)
"""What another process may be the reason of: trying again helps."""
_BEGINNING = 160
"""Bytes of a name that the name of its unfinished file begins with."""
_SPARE = 1_000_000
"""Bytes; with less than these a disk is full, whatever a library calls it."""


class DamagedFile(PrintableError):
    """A file of the data folder that is not what was written there.

    Attributes
    ----------
    path : Path
        The file.
    words : str
        The message without its remedy.
    """

    def __init__(self, path: Path, reason: object):
        self.path, self.words = path, f"{path} is damaged ({reason})"
        super().__init__(
            f"{self.words}; `galaxy-assets check --deep --repair` sets such files aside: the next run makes tables "
            "again, and people's labels come back from a backup alone"
        )


class NotWritten(Unavailable, OSError):
    """A file that could not be written, since its disk is full or may not be written; nothing was changed.

    `errno` is the system's number, such as ENOSPC.
    """

    def __init__(self, number: int, message: str):
        super().__init__(message)
        self.errno = number


def partial_name(name: str) -> str:
    """A hidden name for what becomes `name` when it is whole, with the process that writes it.

    Of a long name only the beginning is in it, since no name may have more than 255 bytes.
    """
    return f"{_beginning(name)}{owner()}-{uuid.uuid4().hex[:12]}.partial"


def _beginning(name: str) -> str:
    return f".{os.fsencode(name)[:_BEGINNING].decode('utf-8', 'ignore')}."


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a hidden file name beside `path`; when the block ends well, flush it to disk and rename it to `path`.

    A process killed inside the block leaves `path` as it was.

    Parameters
    ----------
    path : Path
        The file to write; its folder is made.

    Yields
    ------
    Path
        The hidden file, to be written inside the block.

    Raises
    ------
    NotWritten
        Where the disk is full or may not be written.
    Conflict
        Where another machine wrote it meanwhile, in a bucket (`store`).
    """
    with told_of(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.with_name(partial_name(path.name))
        try:
            yield partial
            with partial.open("rb") as written:
                os.fsync(written.fileno())
            store_of(path).commit(partial, path)
        except BaseException as error:
            # asked while the file still takes its room
            full = _fills_up(path.parent, error)
            partial.unlink(missing_ok=True)
            if full:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)) from error
            raise


@contextmanager
def told_of(path: Path) -> Iterator[None]:
    """Say in words what keeps the block from writing a file: a full disk, one that may not be written, a wrong name.

    Parameters
    ----------
    path : Path
        What the block writes.

    Raises
    ------
    NotWritten
        In place of the system's error.
    """
    try:
        yield
    except NotWritten:
        raise
    except OSError as error:
        # libraries put the system's words into their own
        number = next((n for n in _FULL if n == error.errno or os.strerror(n) in str(error)), error.errno)
        if number in _FULL:
            raise NotWritten(
                number, f"{path} is not written: the disk is full{_left(path)}; make room and run the same again"
            ) from error
        if number in _FORBIDDEN:
            raise NotWritten(
                number or errno.EACCES,
                f"{path} is not written: {os.strerror(number or errno.EACCES).lower()}; what is there can be read "
                "(status, query, explore, export to another folder), to make anything the data folder must be writable",
            ) from error
        if number is not None and number not in _COMES_AND_GOES and _is_of(path, error):
            raise NotWritten(
                number, f"{path} is not written: {os.strerror(number).lower()}; name another file or folder"
            ) from error
        raise


def _is_of(path: Path, error: OSError) -> bool:
    """Whether an error names what is written: the path, a folder that it lies in, or its hidden name."""
    named = [Path(os.fsdecode(name)) for name in (error.filename, error.filename2) if isinstance(name, str | bytes)]
    return any(path.is_relative_to(n) or any(map(PARTIAL.fullmatch, n.parts)) for n in named)


def reserve(descriptor: int, size: int) -> None:
    """Take room on the disk for a file that is open to be written, before it is filled.

    Parameters
    ----------
    descriptor : int
        The file.
    size : int
        Bytes it will have.

    Raises
    ------
    OSError
        With errno ENOSPC where there is not so much room.
    """
    if not hasattr(os, "posix_fallocate"):  # macOS: writing says when the disk is full
        os.truncate(descriptor, size)
        return
    try:
        os.posix_fallocate(descriptor, 0, size)
    except OSError as error:
        if error.errno not in (errno.EOPNOTSUPP, errno.EINVAL, errno.ENOSYS):
            raise
        os.truncate(descriptor, size)  # a file system that reserves nothing


def _fills_up(folder: Path, error: BaseException) -> bool:
    """Whether an error is a library's own word for a full disk; to be asked while the files still take their room."""
    if isinstance(error, OSError) or not isinstance(error, Exception):
        return False
    try:
        return shutil.disk_usage(folder).free < _SPARE
    except OSError:
        return False


def _left(path: Path) -> str:
    try:
        return f", {shutil.disk_usage(path.parent).free / 1e6:,.0f} MB are left"
    except OSError:
        return ""


@contextmanager
def new_folder(path: Path) -> Iterator[Path]:
    """Yield a hidden folder beside `path`; when the block ends well, rename it to `path`.

    Where `path` is there and stays (a mounted file system, the folder one works in, a folder in one that may not be
    written), the hidden folder is in it, and what is in that is moved up in the end. What killed processes left of the
    same folder is removed first.

    Parameters
    ----------
    path : Path
        The folder to make, or a link to it; the folder it lies in is made too.

    Yields
    ------
    Path
        The hidden folder, to be filled inside the block.

    Raises
    ------
    FileExistsError
        Where `path` exists already and is no empty folder.
    NotWritten
        Where the disk is full or may not be written.
    """
    path = Path(os.path.realpath(path))
    _remove_left(path)
    with told_of(path):
        if path.exists() and (not path.is_dir() or any(path.iterdir())):
            raise FileExistsError(f"{path}: there already and not empty; name a folder that is new or empty")
        stays = path.is_dir() and (
            path == Path.cwd() or is_mounted(path) or not os.access(path.parent, os.W_OK | os.X_OK)
        )
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = (path if stays else path.parent) / partial_name(path.name)
        partial.mkdir()
        try:
            yield partial
            if stays:
                for made in list(partial.iterdir()):
                    made.rename(path / made.name)
            else:
                partial.rename(path)
        except NotWritten as error:  # of a file in it: its hidden name tells nobody anything
            raise OSError(error.errno or errno.EIO, os.strerror(error.errno or errno.EIO)) from error
        except Exception as error:
            if _fills_up(path.parent, error):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)) from error
            raise
        finally:
            shutil.rmtree(partial, ignore_errors=True)


def _remove_left(path: Path) -> None:
    """Remove what killed processes left of a folder that they were to make."""
    for folder in (path.parent, path):
        with suppress(OSError):  # none is there, or it is somebody else's
            for left in list(folder.iterdir()):
                found = PARTIAL.fullmatch(left.name) if left.name.startswith(_beginning(path.name)) else None
                if found is not None and found["owner"] and runs(found["owner"]) is False:
                    shutil.rmtree(left, ignore_errors=True)


def set_aside(path: Path, home: Path) -> Path:
    """Move a damaged file or folder out of the way; nothing is deleted.

    Parameters
    ----------
    path : Path
        Below `home`.
    home : Path
        Its survey's folder.

    Returns
    -------
    Path
        Where it is now: `home`/.damaged/ and its path below `home`, with a number where there is one already.

    Raises
    ------
    NotWritten
        Where the folder may not be written.
    """
    with told_of(path):
        aside = home / ".damaged" / path.relative_to(home)
        aside.parent.mkdir(parents=True, exist_ok=True)
        number = 0
        while (to := aside.with_name(f"{aside.name}.{number}" if number else aside.name)).exists():
            number += 1
        store_of(path).move(path, to)
        return to


def file_sha256(path: Path) -> str:
    """sha256 of a file.

    Parameters
    ----------
    path : Path
        The file.

    Returns
    -------
    str
        64 hex digits.
    """
    with store_of(path).local(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def state_of(path: Path) -> tuple[int, ...]:
    """What tells in a process whether a file was changed since it was last read; no version of its content.

    Parameters
    ----------
    path : Path
        The file.

    Returns
    -------
    tuple of int
        Time of change, size and inode.

    Raises
    ------
    FileNotFoundError
        Where there is no such file.
    """
    status = path.stat()
    return status.st_mtime_ns, status.st_size, status.st_ino
