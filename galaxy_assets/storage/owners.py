"""Which process writes something, and whether that process still runs.

Belongs here: naming a process so that another one can ask for it. Does not belong here: what becomes of what a process
left behind (`upkeep`, `orchestration.engines`).
"""

import functools
import hashlib
import os
import re
import socket
from pathlib import Path

LONGEST_RUN = 7 * 24 * 3600
"""Seconds that a run may take; what is older, of a process that cannot be seen from here, is of no run any more."""
_NAME = re.compile(r"([0-9a-f]{8})([0-9a-f]{8})-(\d+)-(\d+)")


def owner(pid: int | None = None) -> str:
    """The name of a process of this machine; no later process has it, even one with the same number.

    Parameters
    ----------
    pid : int, optional
        Its number; this process when not given.

    Returns
    -------
    str
        Of letters, digits and dashes: where it runs, since which start of that machine, its number, when it began.

    Raises
    ------
    ProcessLookupError
        Where no process has that number.
    """
    number = os.getpid() if pid is None else pid
    return f"{_host()}{_boot()}-{number}-{_began(number)}"


def runs(name: str) -> bool | None:
    """Whether the process of a name still runs.

    Parameters
    ----------
    name : str
        As `owner` gave it.

    Returns
    -------
    bool or None
        None where that cannot be seen from here: it runs, or ran, on another machine or in another container.
    """
    found = _NAME.fullmatch(name)
    if found is None or found[1] != _host():
        return None
    if found[2] != _boot():  # nothing outlives a start of its machine
        return False
    try:
        return str(_began(int(found[3]))) == found[4]
    except ProcessLookupError:
        return False


@functools.cache
def _host() -> str:
    """What processes have in common of which none has another one's number: a machine's, or those of a container."""
    return _short(socket.gethostname(), _said("/etc/machine-id"), _said("/proc/self/ns/pid"))


@functools.cache
def _boot() -> str:
    return _short(_said("/proc/sys/kernel/random/boot_id"))


def _said(path: str) -> str:
    """What a file, or a link, of Linux says; nothing elsewhere: a number is then told apart by the time alone."""
    at = Path(path)
    try:
        return str(at.readlink()) if path.startswith("/proc/self/ns") else at.read_text(encoding="ascii")
    except OSError:
        return ""


def _short(*parts: str) -> str:
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:8]


def _began(pid: int) -> int:
    """When a process began. Raises ProcessLookupError."""
    try:
        told = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
        # in ticks since the machine was started, which no change of the clock moves; its name may hold blanks
        fields = told.rpartition(")")[2].split()
        if fields[0] in "ZX":  # ended, and its parent has not asked yet how
            raise ProcessLookupError(f"process {pid} has ended")
        return int(fields[19])
    except ProcessLookupError:
        raise
    except OSError:
        import psutil

        try:
            return round(psutil.Process(pid).create_time())
        except psutil.NoSuchProcess as error:
            raise ProcessLookupError(f"no process {pid}") from error
