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
SILENT = 300.0
"""Seconds without an answer until one is not waited for any longer: a database, or a cluster's head, may start anew."""
_NAME = re.compile(r"([0-9a-f]{8})([0-9a-f]{8})?([0-9a-f]{8})-(\d+)-(\d+)")  # older code said no hardware
_NETWORK = Path("/sys/class/net")
_NOTHING = "0" * 8


def owner(pid: int | None = None) -> str:
    """The name of a process of this machine; no later process has it, even one with the same number.

    Parameters
    ----------
    pid : int, optional
        Its number; this process when not given.

    Returns
    -------
    str
        Of letters, digits and dashes: where it runs, on which hardware, since which start of that machine, its number,
        when it began.

    Raises
    ------
    ProcessLookupError
        Where no process has that number.
    """
    number = os.getpid() if pid is None else pid
    return f"{_host()}{_hardware()}{kernel()}-{number}-{_began(number)}"


def runs(name: str, *, shared: bool = True) -> bool | None:
    """Whether the process of a name still runs.

    Parameters
    ----------
    name : str
        As `owner` gave it.
    shared : bool
        Whether a copy of this machine may write where the name was read. What lies on this machine's own disk is
        written by it alone, and a copy of the machine has a copy of that.

    Returns
    -------
    bool or None
        None where that cannot be seen from here: it runs, or ran, on another machine, also on one that is a copy of
        this one, or in another container.
    """
    found = _NAME.fullmatch(name)
    if found is None or found[1] != _host():
        return None
    if found[3] != kernel():  # nothing outlives a start of its machine, if it is this one
        return False if not shared or found[2] == _hardware() != _NOTHING else None
    try:
        return str(_began(int(found[4]))) == found[5]
    except ProcessLookupError:
        return False


@functools.cache
def _host() -> str:
    """What processes have in common of which none has another one's number: a machine's, or those of a container."""
    return _short(socket.gethostname(), _said("/etc/machine-id"), _said("/proc/self/ns/pid"))


@functools.cache
def kernel() -> str:
    """A name of the kernel that runs, from its start to its end; a machine's containers share it.

    Returns
    -------
    str
        8 hex digits.
    """
    return _short(_said("/proc/sys/kernel/random/boot_id"))


@functools.cache
def _hardware() -> str:
    """What a copy of a machine, which has its name and its id, has not: the addresses of its network's hardware.

    Without those that somebody made up, which a copy may have too: their first byte says so.
    """
    addresses = []
    for card in _NETWORK.glob("*/device"):
        try:
            address = (card.parent / "address").read_text(encoding="ascii").strip()
            its_own = (card.parent / "addr_assign_type").read_text(encoding="ascii").strip() == "0"
        except OSError:
            continue
        if its_own and re.match("[0-9a-f][048c]:", address):
            addresses.append(address)
    return _short(*sorted(addresses)) if addresses else _NOTHING


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
