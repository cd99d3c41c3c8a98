"""The galaxies that a round of a large survey's search scores: those that can still come to the top.

Most rounds score a shortlist: the galaxies that were best when all were scored last, and a sample of the others. Scores
are exact, so what is missed is a galaxy that is not scored. The sample watches for it: where it says that more than a
twentieth of the best are not scored, all galaxies are scored in that same round, and so they are every few rounds. Then
it is measured how many of the best 100 the shortlist held that would have been trusted in that round.

Where a rough value costs a tenth of the exact one, it says which galaxies are valued exactly (`exact_of_the_best`).

Belongs here: which galaxies are scored when, and that measurement. Does not belong here: scores (`active_learning`).
"""

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

BEST = 100
"""Of how many the share that the shortlist holds is measured."""
_SAMPLE = 5  # for so many galaxies of the shortlist one of the sample
_DEPTH = 10  # one of so many on the shortlist is among the best that the sample watches: 100 are too few for it
_MISSED = 0.05  # of these


@dataclass
class Shortlist:
    """The shortlist of one search, from round to round.

    Attributes
    ----------
    length : int
        Galaxies that are taken as best when all are scored.
    whole_every : int
        Of so many rounds one scores all galaxies.
    seed : int
        Of the sample.
    shares : list of float
        For each time that all were scored because it was time, and the sample did not ask for it: the share of the best
        100 that the shortlist held. Galaxies of the same value count as the same.
    short : int
        Rounds that were scored by the shortlist alone.

    Examples
    --------
    Of 1,000 galaxies that are valued by their number the first round values all, the second the last 100 that were not
    asked for, and a sample:

    >>> import numpy as np
    >>> shortlist, number = Shortlist(100, whole_every=5), np.arange(1000.0)
    >>> rows, _ = shortlist.values(lambda rows: number if rows is None else number[rows], np.array([999]))
    >>> rows is None
    True
    >>> rows, value = shortlist.values(lambda rows: number if rows is None else number[rows], np.array([999]))
    >>> len(rows) < 130, int(rows[value.argmax()])
    (True, 998)
    """

    length: int
    whole_every: int
    seed: int = 0
    shares: list[float] = field(default_factory=list)
    short: int = 0
    _rows: np.ndarray | None = None
    _chosen: np.ndarray | None = None
    _since: int = 0
    _stands_for: float = 1.0

    def values(
        self, value_of: Callable[[np.ndarray | None], np.ndarray], asked: np.ndarray
    ) -> tuple[np.ndarray | None, np.ndarray]:
        """Values of the galaxies that this round scores.

        Parameters
        ----------
        value_of : callable
            Takes rows, or None for all; returns a value for each, larger is better.
        asked : ndarray of int
            Rows that were asked for, which are no more sought.

        Returns
        -------
        rows : ndarray of int64 or None
            Which galaxies, by rising row; None for all.
        value : ndarray of float
            One for each.
        """
        if self._rows is not None and self._since < self.whole_every - 1:
            value = value_of(self._rows)
            if not self._missed(value, asked):
                self._since += 1
                self.short += 1
                return self._rows, value
        value = value_of(None)
        self._renew(value, asked)
        return None, value

    def _missed(self, value: np.ndarray, asked: np.ndarray) -> bool:
        """Whether the sample says that more than a twentieth of the best are not scored."""
        assert self._rows is not None and self._chosen is not None
        sought = ~np.isin(self._rows, asked)
        if not sought.any():
            return True
        value, chosen = value[sought], self._chosen[sought]
        depth = max(BEST, len(value) // _DEPTH)
        among = int((value[~chosen] > _least(value, depth)).sum())
        return among * self._stands_for > _MISSED * depth

    def _renew(self, value: np.ndarray, asked: np.ndarray) -> None:
        value = value.copy()
        value[asked] = -np.inf
        length = min(self.length, len(value))
        places = [len(value) - length, len(value) - min(BEST, len(value))]
        ordered = np.partition(value, places)  # an order of all would take twice the memory of their values
        least, least_of_best = ordered[places].tolist()
        del ordered
        if self._rows is not None and not self._missed(value[self._rows], asked):
            held = value[self._rows] >= least_of_best
            self.shares.append(min(1.0, float(held.sum()) / min(BEST, len(value) - len(asked))))
        best, equal = np.flatnonzero(value > least), np.flatnonzero(value == least)
        chosen = np.concatenate([best, equal[: length - len(best)]])
        others = np.random.default_rng(self.seed).choice(len(value), min(len(value), self.length // _SAMPLE))
        self._rows = np.union1d(chosen, others)
        self._chosen = np.isin(self._rows, chosen)
        self._stands_for = (len(value) - length) / max(1, int((~self._chosen).sum()))
        self._since = 0


def exact_of_the_best(
    rough: np.ndarray, value_of: Callable[[np.ndarray | None], np.ndarray], length: int, seed: int = 0
) -> np.ndarray:
    """Exact values of the galaxies that are best by a rough value, and -inf of the others.

    A sample of the others is valued as well. Where it says that more than a twentieth of the best are among them, all
    galaxies are valued.

    Parameters
    ----------
    rough : ndarray of shape (N,)
        Larger is better.
    value_of : callable
        Takes rows, or None for all; returns the exact value of each, larger is better.
    length : int
        Galaxies that are taken as best by the rough value.
    seed : int
        Of the sample.

    Returns
    -------
    ndarray of shape (N,), float64

    Examples
    --------
    >>> import numpy as np
    >>> from galaxy_assets.science.shortlist import exact_of_the_best
    >>> number = np.arange(10_000.0)
    >>> exact = exact_of_the_best(number // 10, lambda rows: number if rows is None else number[rows], 500)
    >>> int(exact.argmax()), bool(np.isfinite(exact[:9000]).mean() < 0.02)
    (9999, True)
    """
    nobody, shortlist = np.array([], np.int64), Shortlist(length, 2, seed)
    shortlist._renew(rough, nobody)
    rows, value = shortlist.values(value_of, nobody)
    if rows is None:
        return value
    exact = np.full(len(rough), -np.inf)
    exact[rows] = value
    return exact


def _least(value: np.ndarray, count: int) -> float:
    """The least of so many best values."""
    count = min(count, len(value))
    return float(np.partition(value, len(value) - count)[len(value) - count])
