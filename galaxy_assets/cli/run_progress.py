"""How far the main job of a survey is, from what it tells: steps, what is being made, and what is left.

Belongs here: the counts, and the time left. Does not belong here: what is told (`orchestration.course`,
`settings.progress`), how it looks (`live_view`, `plain_view`).
"""

import re
import threading
import time
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

from galaxy_assets.settings.progress import Progress, duration

if TYPE_CHECKING:
    from galaxy_assets.orchestration.course import Table, Told
    from galaxy_assets.orchestration.outcome import Outcome
    from galaxy_assets.orchestration.planning.first_run import Expected

WAITING, UNDER_WAY, MADE, FRESH, FAILED, SKIPPED = "waiting", "under way", "made", "up to date", "failed", "skipped"
_LEFT = (WAITING, UNDER_WAY)
PART, INCOMPLETE = "in part", "incomplete"
_BECAME = {"done": MADE, "fresh": FRESH, "failed": FAILED, "blocked": SKIPPED, "skipped": SKIPPED}
_AS_EXPECTED = 20.0  # seconds as expected that count beside what was measured: short tables tell little of a machine
_OF_PARTITION = re.compile(r"\[(?P<partition>[^\]]*)\] (?P<line>.*)")


@dataclass
class _State:
    """What became of a table so far, since when it is being made, and how long it took.

    `progress` may be of a part of it; `ends` is when all of it should be made, by the last word on that.
    """

    now: str
    since: float = 0.0
    progress: Progress | None = None
    ends: float | None = None
    seconds: float | None = None


class Step(NamedTuple):
    """A step of the paper in a run.

    Attributes
    ----------
    name : str
    state : str
        `waiting`, `in part` where others of it wait for later steps, `under way`, `done`, `up to date` where nothing
        of it was outdated, or `incomplete` where some could not be made.
    done, total : int
        Tables; those that could not be made are not among the done.
    lost : int
        Tables that failed or were skipped.
    seconds : float
        That its tables took in this run.
    """

    name: str
    state: str
    done: int
    total: int
    lost: int
    seconds: float


class Making(NamedTuple):
    """A table that is being made.

    Attributes
    ----------
    name : str
        Of the table, with its partition in brackets.
    progress : Progress or None
        How far it is, where it says so.
    """

    name: str
    progress: Progress | None


class Left(NamedTuple):
    """What is left of a run.

    Attributes
    ----------
    tables : int
        Still to be made or looked at.
    seconds : float
        Of those whose seconds are known.
    unknown : int
        Tables of unknown seconds.
    expected : int
        Tables whose seconds are those of other surveys on another machine.
    """

    tables: int
    seconds: float
    unknown: int
    expected: int = 0

    def __str__(self) -> str:
        """In words.

        Examples
        --------
        >>> print(Left(3, 0.2, 0), Left(3, 200, 1), Left(3, 200, 2), Left(0, 0, 0), sep="; ")
        about 1 s left; more than 3 min left; time left unknown; nothing left
        >>> print(Left(3, 200, 0, expected=2))
        roughly 3 min left
        """
        if not self.tables:
            return "nothing left"
        if not self.unknown:
            return f"{'roughly' if self.expected else 'about'} {duration(self.seconds)} left"
        # seconds of a few say nothing of many others
        few = self.seconds < 1 or 2 * self.unknown > self.tables
        return "time left unknown" if few else f"more than {duration(self.seconds)} left"


def named(table: "Table") -> str:
    """A table and its partition as a person reads them.

    Parameters
    ----------
    table : (str, str or None)

    Returns
    -------
    str
    """
    return table[0] if table[1] is None else f"{table[0]} [{table[1]}]"


@dataclass
class RunProgress:
    """One survey's run. What it is told and what it is asked may come from two threads.

    Attributes
    ----------
    step_of : mapping of str to str
        The step of each asset, in the order of the steps.
    measured : mapping of Table to float
        Seconds that tables took in earlier runs.
    clock : callable
        Seconds.
    expect : callable
        Is given tables, and answers how long some should take where nothing was measured; asked once the tables are
        known, and again when the last of one of `foreseen_by` is made, or is not.
    foreseen_by : collection of str
        Assets.
    """

    step_of: Mapping[str, str]
    measured: "Mapping[Table, float]"
    clock: Callable[[], float] = time.monotonic
    at_once: int = 1
    expect: "Callable[[Collection[Table]], Mapping[Table, Expected]]" = lambda _: {}
    foreseen_by: Collection[str] = ()
    _expected: "Mapping[Table, Expected]" = field(default_factory=dict, init=False, repr=False)
    _tables: "dict[Table, _State]" = field(default_factory=dict, init=False, repr=False)
    _lock: threading.RLock = field(default_factory=threading.RLock, init=False, repr=False)

    def __post_init__(self) -> None:
        self.begun = self.clock()

    @property
    def seconds(self) -> float:
        """Since the run began."""
        return self.clock() - self.begun

    def see(self, told: "Told") -> None:
        """Take in what the main job tells."""
        from galaxy_assets.orchestration.course import Began, Planned

        with self._lock:
            if isinstance(told, Planned):
                self.at_once = told.at_once
                # one that is not outdated may still turn out so, and is then begun
                self._tables = {t: _State(WAITING if outdated else FRESH) for t, outdated in told.tables.items()}
            elif isinstance(told, Began):
                self._tables[told.table] = _State(UNDER_WAY, self.clock())
            else:
                self._tables[told.table] = _State(MADE, seconds=told.seconds)
        if isinstance(told, Planned):
            self._look_ahead()

    def _is_left(self, asset: str) -> bool:
        with self._lock:
            return any(name == asset and state.now in _LEFT for (name, _), state in self._tables.items())

    def _look_ahead(self) -> None:
        """Ask how long tables should take, where some were never made here."""
        with self._lock:
            means, tables = self._means(), list(self._tables)
            if all(self._known(table, means) is not None for table in self._waiting()):
                return
        expected = self.expect(tables)  # takes seconds: whoever looks on is not held up
        with self._lock:
            self._expected = expected

    def see_outcome(self, outcome: "Outcome") -> None:
        """Take in what became of tables."""
        if outcome.status not in _BECAME:  # of a delivery that is not whole
            return
        with self._lock:
            partition = None if outcome.partition is None else str(outcome.partition)
            for asset in outcome.assets:
                state = self._tables.setdefault((asset, partition), _State(WAITING))
                state.now, state.progress = _BECAME[outcome.status], None
        # only now are the tables written
        if any(asset in self.foreseen_by and not self._is_left(asset) for asset in outcome.assets):
            self._look_ahead()

    def see_progress(self, progress: Progress, partition: str | None = None) -> None:
        """Take in how far a table is: the latest begun, or of those under way the one of this partition."""
        with self._lock:
            going = [(table, state) for table, state in self._tables.items() if state.now == UNDER_WAY]
            if partition is not None:
                going = [(table, state) for table, state in going if (table[1] or "whole survey") == partition]
            if going:
                state = max(going, key=lambda one: one[1].since)[1]
                state.progress = progress
                if progress.left is not None:  # a part of the table tells none
                    state.ends = self.clock() + progress.left

    def steps(self) -> list[Step]:
        """The steps in their order."""
        with self._lock:
            found: dict[str, list[_State]] = {name: [] for name in self.step_of.values()}
            for (asset, _), state in self._tables.items():
                found.setdefault(self.step_of.get(asset, "others"), []).append(state)
            return [_step(name, states) for name, states in found.items() if states]

    def making(self) -> list[Making]:
        """What is being made now."""
        with self._lock:
            going = {table: state for table, state in self._tables.items() if state.now == UNDER_WAY}
            return [Making(named(table), state.progress) for table, state in going.items()]

    def left(self) -> Left:
        """What is left."""
        with self._lock:
            waiting, means = self._waiting(), self._means()
            slower = {by_network: self._slower(by_network) for by_network in (False, True)}
            seconds: dict[str, list[float]] = {}
            unknown = expected = 0
            for table, state in waiting.items():
                known = self._known(table, means)
                if known is None and (should := self._expected.get(table)) is not None:
                    known = should.seconds * slower[should.by_network]
                    expected += 1
                seconds_left, sure = self._seconds_left(state, known)
                unknown += not sure
                seconds.setdefault(table[0], []).append(seconds_left)
            together = sum(sum(of) / min(self.at_once, len(of)) for of in seconds.values())
            return Left(len(waiting), together, unknown, expected)

    def counts(self) -> tuple[int, int]:
        """Tables that are up to date, and all."""
        with self._lock:
            return sum(state.now in (MADE, FRESH) for state in self._tables.values()), len(self._tables)

    def _waiting(self) -> "dict[Table, _State]":
        return {table: state for table, state in self._tables.items() if state.now in _LEFT}

    def _known(self, table: "Table", means: Mapping[str, float]) -> float | None:
        """Seconds that a table, or others of its asset, took here."""
        return self.measured.get(table, means.get(table[0]))

    def _slower(self, by_network: bool) -> float:
        """How much longer tables took in this run than was expected of them: of those by a network or the others."""
        made = [
            (state.seconds, self._expected[table])
            for table, state in self._tables.items()
            if state.seconds is not None and table in self._expected
        ]
        ones = [one for one in made if one[1].by_network == by_network] or made
        took, should = sum(seconds for seconds, _ in ones), sum(expected.seconds for _, expected in ones)
        return (took + _AS_EXPECTED) / (should + _AS_EXPECTED)

    def _seconds_left(self, state: _State, known: float | None) -> tuple[float, bool]:
        """Seconds that a table still takes, by what it tells, else by what it takes in all; whether they are known."""
        now = self.clock()
        if state.ends is not None:
            left = state.ends - now
        elif known is not None:
            left = known - (now - state.since if state.now == UNDER_WAY else 0.0)
        else:
            return 0.0, False
        return max(left, 0.0), left >= 0  # what takes longer than it should may take any time

    def _means(self) -> dict[str, float]:
        """Mean seconds of each asset's partitions: of those in this run, else of earlier ones."""
        here = [(table[0], s.seconds) for table, s in self._tables.items() if s.seconds is not None]
        return _mean_by((asset, seconds) for (asset, _), seconds in self.measured.items()) | _mean_by(here)


def _step(name: str, states: list[_State]) -> Step:
    now = [state.now for state in states]
    done, lost = sum(s in (MADE, FRESH) for s in now), sum(s in (FAILED, SKIPPED) for s in now)
    seconds = sum(state.seconds or 0.0 for state in states)
    if UNDER_WAY in now:
        said = UNDER_WAY
    elif done + lost < len(now):
        said = PART if done + lost else WAITING
    elif lost:
        said = INCOMPLETE
    else:
        said = "done" if MADE in now else FRESH
    return Step(name, said, done, len(now), lost, seconds)


def _mean_by(pairs: Iterable[tuple[str, float]]) -> dict[str, float]:
    found: dict[str, list[float]] = {}
    for name, value in pairs:
        found.setdefault(name, []).append(value)
    return {name: sum(values) / len(values) for name, values in found.items()}


def line_of(message: str) -> tuple[str | None, str]:
    """The partition that a launched run's line of the log begins with, None in this process, and the line.

    Parameters
    ----------
    message : str

    Returns
    -------
    partition : str or None
    line : str

    Examples
    --------
    >>> line_of("[first] embedding: 3 of 9 images")
    ('first', 'embedding: 3 of 9 images')
    """
    found = _OF_PARTITION.fullmatch(message)
    return (None, message) if found is None else (found["partition"], found["line"])
