"""What a stranger's file says, made safe to print: the one place where it is escaped.

Names of files, classes and columns may hold line breaks that forge a line of a log, or sequences that a terminal obeys.
Errors that quote them are `PrintableError`, modules that log them ask for their logger here, and the ids and classes of
the catalogue are escaped where they are read.

Belongs here: escaping. Does not belong here: HTML, which the explorer's and the figures' pages escape themselves.
"""

import logging
from typing import Any

_JOINERS = "\u200c\u200d"  # without them words of Persian and many emoji are others


def printable(text: str) -> str:
    r"""The text on one line, with control characters and all else that a terminal would obey escaped.

    Parameters
    ----------
    text : str
        Anything.

    Returns
    -------
    str

    Examples
    --------
    >>> printable("spiral\x1b[2J\n")
    'spiral\\x1b[2J\\n'
    """
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() or c in _JOINERS else c.encode("unicode_escape").decode("ascii") for c in text)


def printable_lines(text: str) -> str:
    """As `printable`, of each line by itself.

    Parameters
    ----------
    text : str
        One line or more.

    Returns
    -------
    str
    """
    return "\n".join(map(printable, text.split("\n")))


def count_of(n: int, what: str) -> str:
    """How many of something there are.

    Parameters
    ----------
    n : int
    what : str
        One of them, a regular word.

    Returns
    -------
    str

    Examples
    --------
    >>> print(count_of(1, "galaxy"), count_of(0, "image"), count_of(1200, "galaxy"), sep=", ")
    1 galaxy, 0 images, 1,200 galaxies
    """
    several = f"{what[:-1]}ies" if what.endswith("y") else f"{what}s"
    return f"{n:,} {what if n == 1 else several}"


class PrintableError(ValueError):
    """An error whose message may quote what a stranger's file says. It is the same in another process.

    A subclass that is an OSError too names this class first.
    """

    def __init__(self, message: str):
        super().__init__(printable_lines(message))

    def __reduce__(self) -> tuple[Any, ...]:
        """What it became, for pickle: what a subclass takes to begin with need not be its message."""
        number = {"errno": self.errno} if isinstance(self, OSError) else {}
        return _restored, (type(self), self.args), vars(self) | number


class Unavailable(PrintableError):
    """What work needs of its surroundings is full, refuses or is away: nothing is wrong with the work itself.

    Where nobody can be told, the same is tried again later.
    """


def _restored(kind: type[PrintableError], arguments: tuple[Any, ...]) -> PrintableError:
    error = (OSError if issubclass(kind, OSError) else ValueError).__new__(kind)
    error.args = arguments
    return error


def logger(name: str) -> logging.Logger:
    """The logger of a module, whose lines are safe to print.

    Parameters
    ----------
    name : str
        `__name__` of the module.

    Returns
    -------
    logging.Logger
    """
    found = logging.getLogger(name)
    if _escaped not in found.filters:
        found.addFilter(_escaped)
    return found


def _escaped(record: logging.LogRecord) -> bool:
    record.msg, record.args = printable_lines(record.getMessage()), None
    return True
