"""How many threads compute on a CPU: as many as this process may use, less what others use now.

The threads of an operator wait for each other at its end. Where one of them has to share its core, all take as long as
that one, so that with a thread on every core a single busy process of somebody else halves the speed, and several cost
far more than their share. On fewer threads, each with a core to itself, nobody waits.

Threads that sleep while they wait (OMP_WAIT_POLICY=PASSIVE) cost a fifth of the speed of a process that is alone.

Belongs here: what is free, and torch's number of threads by it. Does not belong here: our own threads (`parallel`), the
devices (`devices`).
"""

import logging
import os
import time
from pathlib import Path
from typing import NamedTuple

log = logging.getLogger(__name__)

FIXED = "OMP_NUM_THREADS"
"""Variable of the environment that holds the number of threads; where a person set it, it stays."""
_FIRST, _LATER = 0.5, 5.0
"""Seconds of the first look at what others use, and of later ones."""
_CGROUPS = Path("/sys/fs/cgroup")


def usable_cores(cgroups: Path = _CGROUPS, own: Path = Path("/proc/self/cgroup")) -> int:
    """Cores that this process may use: those it is bound to, and no more than a container's share.

    Parameters
    ----------
    cgroups : Path
        Where Linux shows limits of groups of processes.
    own : Path
        Where it says in which group this process is.

    Returns
    -------
    int
        At least 1.
    """
    return max(1, min([bound_cores(), *(int(share) for share in _shares(cgroups, own))]))


def fixed_threads() -> int:
    """How many threads a person wants, as $OMP_NUM_THREADS says.

    Returns
    -------
    int
        0 where it says no number, as where it is set to nothing.
    """
    fixed = os.environ.get(FIXED, "").split(",")[0].strip()  # a number for each level of nested regions
    return int(fixed) if fixed.isdecimal() else 0


def bound_cores() -> int:
    """Cores that this process is bound to, whose use by others `usage` tells.

    Returns
    -------
    int
    """
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _shares(cgroups: Path, own: Path) -> list[float]:
    """Cores that the process's group, and every group around it, may use together; version 2 and 1 of cgroups."""
    try:
        lines = own.read_text().splitlines()
    except OSError:  # not Linux
        return []
    found = []
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if controllers and "cpu" not in controllers.split(","):
            continue
        root = cgroups / "cpu" if controllers else cgroups
        # inside a container the path may be that of the host, and the limit stands at the root
        group = root / path.lstrip("/")
        for folder in {group, *group.parents} if group.is_relative_to(root) else {root}:
            if folder.is_relative_to(root):
                found += _limit(folder)
    return found


def _limit(folder: Path) -> list[float]:
    """The limit of one group in cores, if it has one."""
    try:
        if (now := folder / "cpu.max").exists():
            quota, period = now.read_text().split()
        else:
            quota = (folder / "cpu.cfs_quota_us").read_text().strip()
            period = (folder / "cpu.cfs_period_us").read_text().strip()
    except (OSError, ValueError):
        return []
    return [float(quota) / float(period)] if quota not in ("max", "-1") else []


class Usage(NamedTuple):
    """What the cores that this process may use have done until now.

    Attributes
    ----------
    at : float
        Seconds of a clock.
    busy : float
        Seconds of all these cores together, of whatever process.
    own : float
        Seconds of this process.
    """

    at: float
    busy: float
    own: float


def usage() -> Usage:
    """What the cores have done until now.

    Returns
    -------
    Usage
    """
    import psutil

    cores = psutil.cpu_times(percpu=True)
    if hasattr(os, "sched_getaffinity"):
        bound = os.sched_getaffinity(0)
        cores = [times for core, times in enumerate(cores) if core in bound] or cores
    busy = sum(getattr(times, name, 0.0) for times in cores for name in _BUSY)
    return Usage(time.monotonic(), busy, time.process_time())


_BUSY = ("user", "nice", "system", "irq", "softirq", "steal")


def used_by_others(before: Usage, now: Usage) -> float:
    """Cores that other processes used between two moments, in the mean.

    Parameters
    ----------
    before, now : Usage

    Returns
    -------
    float
    """
    return max(0.0, now.busy - before.busy - (now.own - before.own)) / (now.at - before.at)


class Threads:
    """torch's number of threads in this process, by what others leave free.

    Others are watched from when this is made on. Where $OMP_NUM_THREADS is set the number stays as it is. Results may
    differ by rounding between numbers of threads.
    """

    def __init__(self) -> None:
        self._most = 0
        self._before, self._wait = usage(), _FIRST

    def adapt(self) -> None:
        """Look at what is free, unless that was just done, and let torch use as many threads. Call it between steps."""
        import torch

        if fixed_threads():
            return
        if not self._most:
            self._most = min(usable_cores(), torch.get_num_threads())
            torch.set_num_threads(self._most)
        if time.monotonic() - self._before.at < self._wait:
            return
        now = usage()
        others = used_by_others(self._before, now)
        self._before, self._wait = now, _LATER
        wanted = threads_beside(others, self._most, bound_cores())
        if wanted != torch.get_num_threads():
            log.info("computing on %d threads: other processes use %.1f cores", wanted, others)
            torch.set_num_threads(wanted)


def threads_beside(others: float, most: int, bound: int) -> int:
    """Threads that have a core each while others use some.

    Parameters
    ----------
    others : float
        Of the cores that this process is bound to, those in use.
    most : int
        Threads that this process may use: a container's share may be less than the cores that it is bound to.
    bound : int
        Cores that it is bound to.

    Returns
    -------
    int
        From 1 to `most`.
    """
    return max(1, min(most, int(bound - others + 0.5)))


THREADS = Threads()
"""Of this process."""
