"""Locks between processes of one or several machines that share a data folder.

Belongs here: taking a lock on a file, and what a file system must offer for it. Does not belong here: what is locked
and why. Where there is no shared folder, in a bucket, nothing rests on a lock (`bucket`).
"""

import errno
import fcntl
import functools
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from galaxy_assets.settings.printing import Unavailable, logger
from galaxy_assets.storage.files import told_of
from galaxy_assets.storage.mounts import mount_of

log = logger(__name__)

_GLANCE, _AGAIN = 1.0, 0.02
"""Seconds for which who does not wait tries again, and between tries: others look whether a lock is held by holding it
for a moment themselves."""
_NO_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP)
_OF_ONE_MACHINE = {
    "lustre": ({"localflock"}, "mount it with the option `flock`"),
    "nfs": ({"nolock", "local_lock=flock", "local_lock=all"}, "mount it with `local_lock=none`, best as NFS 4"),
}
"""Type of file system -> mount options with which a lock holds on one machine only, and the remedy."""


class NoLocks(Unavailable, OSError):
    """A file system on which no lock can be taken; `errno` is the system's number."""

    def __init__(self, number: int, message: str):
        super().__init__(message)
        self.errno = number


@contextmanager
def held(path: Path, *, shared: bool = False, wait: bool = True) -> Iterator[None]:
    """Hold the lock of a file while the block runs; it ends with its process, however that ends.

    It is `flock`, which Linux passes on to the server of an NFS mount as a lock of all the file's bytes. Unlike the
    locks of `lockf` it belongs to the open file: another thread of the same process waits as well, and closing the file
    elsewhere in the process does not end it (docs/decisions/0014-a-lock-is-flock.md).

    Parameters
    ----------
    path : Path
        File of the lock; it and its folder are made, and it stays.
    shared : bool
        Several may hold it at once, while nobody holds it alone.
    wait : bool
        Until nobody else holds it; else for a second, in which who only looks has gone.

    Raises
    ------
    BlockingIOError
        Where another holds it and `wait` is false.
    NoLocks
        Where the file system has no locks.
    NotWritten
        Where the folder may not be written.
    """
    with told_of(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        file = path.open("a+")  # NFS refuses a shared lock of a file that is not open to be read
    with file:
        how, until = fcntl.LOCK_SH if shared else fcntl.LOCK_EX, time.monotonic() + _GLANCE
        while True:
            try:
                _take(file.fileno(), path, how, wait)
                break
            except BlockingIOError:
                if time.monotonic() > until:
                    raise
                time.sleep(_AGAIN)
        yield


def is_held(path: Path) -> bool:
    """Whether some process holds a lock alone.

    Parameters
    ----------
    path : Path
        File of the lock; it need not exist, and it need not be writable.

    Returns
    -------
    bool

    Raises
    ------
    NoLocks
        Where the file system has no locks.
    """
    try:
        with path.open() as file:
            _take(file.fileno(), path, fcntl.LOCK_SH, wait=False)
    except FileNotFoundError:
        return False
    except BlockingIOError:
        return True
    return False


def _take(descriptor: int, path: Path, how: int, wait: bool) -> None:
    try:
        fcntl.flock(descriptor, how if wait else how | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno not in _NO_LOCKS:
            raise
        raise NoLocks(
            error.errno,
            f"{path} cannot be locked: {os.strerror(error.errno).lower()}; on Lustre mount the file system with the "
            "option `flock`, on NFS with `local_lock=none`, best as NFS 4 (docs/shared-storage.md)",
        ) from error
    if why := holds_here_alone(path.parent):
        _say_once(why)


@functools.lru_cache(maxsize=64)
def _say_once(why: str) -> None:
    log.warning("%s", why)


@functools.lru_cache(maxsize=1024)
def holds_here_alone(folder: Path, mounts: str | None = None) -> str | None:
    """Why a lock in a folder is not seen by other machines, as far as the mount says it.

    Parameters
    ----------
    folder : Path
    mounts : str, optional
        Text of /proc/self/mountinfo; this machine's when not given.

    Returns
    -------
    str or None
        In words, with the remedy; None where nothing says so.
    """
    if (mount := mount_of(folder, mounts)) is None:
        return None
    wrong, remedy = _OF_ONE_MACHINE.get("nfs" if mount.kind.startswith("nfs") else mount.kind, (set(), ""))
    if found := sorted(mount.options & wrong):
        return (
            f"locks on {mount.at} ({mount.kind}, {found[0]}) hold on this machine only: run the platform on one "
            f"machine, or {remedy}"
        )
    return None
