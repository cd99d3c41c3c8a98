"""How far a transfer or an unpacking is, and how patient it is.

Belongs here: pace, lines of progress, amounts in words. Does not belong here: where they are printed (`cli.fetch`).
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta

from galaxy_assets.settings.printing import logger

log = logger(__name__)


@dataclass(frozen=True)
class Pace:
    """How long a transfer waits, how often it tries and how often it tells how far it is.

    Parameters
    ----------
    timeout : float
        Seconds without a byte after which a connection counts as stalled.
    attempts : int
        Failures without any progress between them after which a file is given up.
    pause : float
        Seconds before the second attempt, doubled before each further one.
    show : callable
        Is given a line of progress, at most once in `every` seconds.
    every : float
        Seconds.
    """

    timeout: float = 30.0
    attempts: int = 6
    pause: float = 2.0
    show: Callable[[str], None] = log.info
    every: float = 20.0


class Meter:
    """Counts the bytes of a transfer or an unpacking and tells how far it is.

    Parameters
    ----------
    what : str
        Its name in the lines of progress.
    size : int or None
        Bytes in all; None where nobody knows.
    done : int
        Bytes that were there before.
    pace : Pace or None
        Where and how often it tells; None for the default.
    """

    def __init__(self, what: str, size: int | None, done: int, pace: Pace | None):
        self.what, self.size, self.done, self.pace = what, size, done, pace or Pace()
        self.at_first, self.begun = done, time.monotonic()
        self.told = self.begun

    def add(self, count: int) -> None:
        """Count further bytes."""
        self.done += count
        now = time.monotonic()
        if now - self.told >= self.pace.every:
            self.told = now
            self.pace.show(progress_line(self.what, self.done, self.size, self.done - self.at_first, now - self.begun))


def progress_line(what: str, done: int, size: int | None, gained: int, seconds: float) -> str:
    """One line on a transfer.

    Parameters
    ----------
    what : str
        Its name.
    done : int
        Bytes that are there.
    size : int or None
        Bytes in all; None where nobody knows.
    gained : int
        Bytes that arrived in the last `seconds`.
    seconds : float
        Time for the speed.

    Returns
    -------
    str
    """
    speed = gained / max(seconds, 1e-6)
    if size is None:
        return f"{what}: {amount(done)}, {speed / 1e6:.1f} MB/s"
    left = timedelta(seconds=round((size - done) / max(speed, 1.0)))
    percent = 100 * done / max(size, 1)
    return f"{what}: {amount(done)} of {amount(size)} ({percent:.0f} %), {speed / 1e6:.1f} MB/s, {left} left"


def amount(count: float) -> str:
    """A number of bytes in words.

    Parameters
    ----------
    count : float
        Bytes.

    Returns
    -------
    str
        Such as `1.2 MB`.
    """
    for size, unit in ((1e9, "GB"), (1e6, "MB"), (1e3, "kB")):
        if count >= size:
            return f"{count / size:.1f} {unit}"
    return f"{count:.0f} bytes"
