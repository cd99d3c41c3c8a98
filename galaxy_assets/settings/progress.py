"""How far a long step is: the one form in which every room says it.

A step says it as a line of the log, which Dagster keeps and which comes back from a run on another machine, and to who
looks on in the same process. `read` makes of such a line what it was made from.

Belongs here: that form, and how often it is said. Does not belong here: where it is shown (`cli`).
"""

import logging
import math
import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import NamedTuple

EVERY = 20.0
"""Seconds between two lines of the log on one step."""
_LOOK = 0.5  # seconds between two words to who looks on
_UNITS = {"s": 1.0, "min": 60.0, "h": 3600.0}
_LINE = re.compile(
    r"(?P<what>.+): (?P<done>[\d,]+) of (?P<total>[\d,]+) (?P<unit>[a-z]+)"
    r"(, (?P<speed>[\d,.]+) images/s)?(, (?P<left>[\d.]+) (?P<in>s|min|h) left)?(; .*)?"
)
_looking: list[Callable[["Progress"], None]] = []


class Progress(NamedTuple):
    """How far one step is.

    Attributes
    ----------
    what : str
        The step.
    done, total : int
    unit : str
        What is counted, in one word.
    speed : float or None
        Images per second; None where no images are looked at.
    left : float or None
        Seconds until the whole table is made, or whatever else was asked for; None where nobody knows, and of what is
        only a part of it.
    """

    what: str
    done: int
    total: int
    unit: str = "images"
    speed: float | None = None
    left: float | None = None

    def __str__(self) -> str:
        """The line of the log.

        Examples
        --------
        >>> str(Progress("embedding", 512, 2000, speed=98.3, left=15.1))
        'embedding: 512 of 2,000 images, 98 images/s, 16 s left'
        """
        speed = "" if self.speed is None else f", {rate(self.speed)}"
        left = "" if self.left is None or self.done >= self.total else f", {duration(self.left)} left"
        return f"{self.what}: {self.done:,} of {self.total:,} {self.unit}{speed}{left}"


def read(line: str) -> Progress | None:
    """What a line of the log says of a step.

    Parameters
    ----------
    line : str

    Returns
    -------
    Progress or None
        None where it says something else.

    Examples
    --------
    >>> read("embedding: 512 of 2,000 images, 98 images/s, 16 s left").left
    16.0
    >>> read("computing on cpu") is None
    True
    """
    if (found := _LINE.fullmatch(line)) is None:
        return None
    done, total = (int(found[name].replace(",", "")) for name in ("done", "total"))
    speed = float(found["speed"].replace(",", "")) if found["speed"] else None
    left = float(found["left"]) * _UNITS[found["in"]] if found["left"] else None
    return Progress(found["what"], done, total, found["unit"], speed, left)


def duration(seconds: float) -> str:
    """A time in words: at least a second, since what is left takes some.

    Parameters
    ----------
    seconds : float

    Returns
    -------
    str

    Examples
    --------
    >>> duration(0.2), duration(75), duration(750), duration(9000)
    ('1 s', '75 s', '12 min', '2.5 h')
    """
    if seconds <= 99:
        return f"{max(math.ceil(seconds), 1)} s"
    return f"{seconds / 60:.0f} min" if seconds < 99 * 60 else f"{seconds / 3600:.1f} h"


def rate(speed: float) -> str:
    """Images per second in words.

    Parameters
    ----------
    speed : float

    Returns
    -------
    str

    Examples
    --------
    >>> rate(1234.5), rate(0.27)
    ('1,234 images/s', '0.27 images/s')
    """
    return f"{speed:,.0f} images/s" if speed >= 10 else f"{speed:.2g} images/s"


@contextmanager
def looking(see: Callable[[Progress], None]) -> Iterator[None]:
    """Be told how far the steps of this process are, more often than the log is.

    Parameters
    ----------
    see : callable
        Is given each Progress, in the thread of the step.
    """
    _looking.append(see)
    try:
        yield
    finally:
        _looking.remove(see)


def tell(log: logging.Logger, progress: Progress, more: str = "") -> None:
    """Say now how far a step is.

    Parameters
    ----------
    log : logging.Logger
        Of the module that the step is in.
    progress : Progress
    more : str
        What else the line of the log says.
    """
    _show(progress)
    log.info("%s%s", progress, f"; {more}" if more else "")


def _show(progress: Progress) -> None:
    for see in list(_looking):
        see(progress)


class HowFar:
    """Counts what a step has done, and says how far it is: every 20 s in the log, more often to who looks on.

    Parameters
    ----------
    log : logging.Logger
        Of the module that the step is in.
    what : str
        The step.
    total : int
    unit : str
        What is counted; of `images` the speed is told too.
    whole : bool
        Whether it is all that its table takes, and evenly, so that the time left of one is that of the other. Of a part
        no time left is told, which would be taken for that of the table.
    before : int
        What was done already when it began, and tells nothing of its pace.

    Examples
    --------
    >>> far = HowFar(logging.getLogger("mine"), "embedding", 2000, whole=True)
    >>> far.tell(512)
    """

    def __init__(
        self, log: logging.Logger, what: str, total: int, unit: str = "images", *, whole: bool = False, before: int = 0
    ):
        self.log, self.what, self.total, self.unit, self.whole, self.before = log, what, total, unit, whole, before
        self.begun = self.logged = time.monotonic()
        self.shown = -math.inf

    def tell(self, done: int) -> None:
        """Say how far it is, where the last word is old enough.

        Parameters
        ----------
        done : int
            Of the total.
        """
        now = time.monotonic()
        if now - self.shown >= _LOOK or done >= self.total:
            self.shown = now
            _show(self._progress(done, now))
        if now - self.logged >= EVERY:
            self.logged = now
            self.log.info("%s", self._progress(done, now))

    def _progress(self, done: int, now: float) -> Progress:
        pace = (done - self.before) / max(now - self.begun, 1e-6)
        speed = pace if self.unit == "images" and pace else None
        left = (self.total - done) / pace if self.whole and pace and done < self.total else None
        return Progress(self.what, done, self.total, self.unit, speed, left)
