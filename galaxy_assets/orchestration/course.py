"""How a main job goes, told to whoever follows it in this process: what it will make, what begins and what has ended.

An engine of another package need not tell any of it; its outcomes alone then say how far it is.

Belongs here: what is told, and to whom. Does not belong here: what becomes of a partition (`outcome`), how far a long
step is (`settings.progress`), where it is shown (`cli`).
"""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import NamedTuple

Table = tuple[str, str | None]
"""An asset's name and its partition as Dagster writes it, None where it has none."""


class Planned(NamedTuple):
    """What a main job looks at.

    Attributes
    ----------
    tables : dict of Table to bool
        In the order of the stages; whether it is outdated, or reads something that is.
    at_once : int
        So many partitions of a stage are made together.
    """

    tables: dict[Table, bool]
    at_once: int


class Began(NamedTuple):
    """A table is being made.

    Attributes
    ----------
    table : Table
    """

    table: Table


class Ended(NamedTuple):
    """A table was made.

    Attributes
    ----------
    table : Table
    seconds : float
    """

    table: Table
    seconds: float


Told = Planned | Began | Ended
_followers: list[Callable[[Told], None]] = []


@contextmanager
def following(see: Callable[[Told], None]) -> Iterator[None]:
    """Be told how main jobs of this process go.

    Parameters
    ----------
    see : callable
        Is given each word.
    """
    _followers.append(see)
    try:
        yield
    finally:
        _followers.remove(see)


def followed() -> bool:
    """Whether anybody follows, so that what is told is worth finding out."""
    return bool(_followers)


def tell(told: Told) -> None:
    """Tell all who follow.

    Parameters
    ----------
    told : Planned, Began or Ended
    """
    for see in list(_followers):
        see(told)


@contextmanager
def making(asset: str, partition: str | None) -> Iterator[None]:
    """Tell that a table is being made, and that it was where the block ends well.

    Parameters
    ----------
    asset : str
        Its name.
    partition : str or None
    """
    table, begun = (asset, None if partition is None else str(partition)), time.monotonic()
    tell(Began(table))
    yield
    tell(Ended(table, time.monotonic() - begun))
