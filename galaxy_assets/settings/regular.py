"""Files of data, opened only where they are regular files: a pipe would wait for ever, a device may do anything.

Belongs here: the one way to open a file that somebody else put there. Does not belong here: what is in it.
"""

import errno
import os
import stat
from io import BufferedReader
from pathlib import Path
from typing import Any


class NotRegular(OSError):
    """A pipe, socket, device or folder where a file is expected, or a file that is too large; says so in `strerror`."""

    def __init__(self, path: Path, why: str):
        super().__init__(errno.EINVAL, why, str(path))

    def __reduce__(self) -> tuple[Any, ...]:
        """The same in another process."""
        return type(self), (Path(self.filename), self.strerror), vars(self)


def regular(path: Path) -> Path:
    """The path, for a library that opens files itself.

    Parameters
    ----------
    path : Path
        A file, or a link to one.

    Returns
    -------
    Path
        The same.

    Raises
    ------
    NotRegular
        Where it is something else.
    OSError
        Where there is nothing.
    """
    mode = path.stat().st_mode
    if not stat.S_ISREG(mode):
        raise NotRegular(path, "a folder" if stat.S_ISDIR(mode) else "no regular file")
    return path


def open_regular(path: Path) -> BufferedReader:
    """Open a regular file to read bytes; what replaces it between a look and the opening cannot make it wait either.

    Parameters
    ----------
    path : Path
        A file, or a link to one.

    Returns
    -------
    binary file

    Raises
    ------
    NotRegular
        Where it is something else.
    OSError
        Where it cannot be opened.
    """
    opened = os.open(regular(path), os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
    if not stat.S_ISREG(os.fstat(opened).st_mode):
        os.close(opened)
        raise NotRegular(path, "no regular file")
    return os.fdopen(opened, "rb")


def read_regular(path: Path, most: int) -> bytes:
    """The content of a regular file.

    Parameters
    ----------
    path : Path
        A file, or a link to one.
    most : int
        Bytes that it may have.

    Returns
    -------
    bytes

    Raises
    ------
    NotRegular
        Where it is something else, or larger.
    OSError
        Where it cannot be opened.
    """
    with open_regular(path) as stream:
        size = os.fstat(stream.fileno()).st_size
        data = stream.read(most + 1) if size <= most else b""
    if max(size, len(data)) > most:
        raise NotRegular(path, f"has more than {most} bytes")
    return data
