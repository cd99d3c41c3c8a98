"""The galaxies that a round of a large survey's search scores: those that can still come to the top.

Most rounds score a shortlist: the galaxies that were best when all were scored last, and a sample of the others. Scores
are exact, so what is missed is a galaxy that is not scored. The sample watches for it: once one of it comes among the
best, all galaxies are scored in that round, and so they are every few rounds. Then it is measured how many of the best
100 the shortlist held, just before it is renewed.

Belongs here: which galaxies are scored when, and that measurement. Does not belong here: scores (`active_learning`).
"""

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

BEST = 100
"""Of how many the share that the shortlist holds is measured."""
_SAMPLE = 5  # for so many galaxies of the shortlist one of the sample


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
        For each time that all were scored, but the first: the share of the best 100 that the shortlist held.
    short : int
        Rounds that were scored by the shortlist alone.

    Examples
    --------
    Of 1,000 galaxies that are valued by their number the first round values all, the second the last 100 and a sample:

    >>> import numpy as np
    >>> shortlist, number = Shortlist(100, whole_every=5), np.arange(1000.0)
    >>> rows, _ = shortlist.values(lambda rows: number if rows is None else number[rows], np.array([999]))
    >>> rows is None
    True
    >>> rows, value = shortlist.values(lambda rows: number if rows is None else number[rows], np.array([999]))
    >>> len(rows) < 130, int(rows[value.argmax()])
    (True, 999)
    """

    length: int
    whole_every: int
    seed: int = 0
    shares: list[float] = field(default_factory=list)
    short: int = 0
    _rows: np.ndarray | None = None
    _chosen: np.ndarray | None = None
    _since: int = 0

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
        """Whether a galaxy of the sample is among the best: then others like it are, which are not scored."""
        assert self._rows is not None and self._chosen is not None
        sought = ~np.isin(self._rows, asked)
        value, chosen = value[sought], self._chosen[sought]
        return bool((value[~chosen] >= _least(value)).any())

    def _renew(self, value: np.ndarray, asked: np.ndarray) -> None:
        value = value.copy()
        value[asked] = -np.inf
        if self._rows is not None:
            self.shares.append(float(np.isin(np.flatnonzero(value >= _least(value)), self._rows).mean()))
        length = min(self.length, len(value))
        chosen = np.argpartition(value, len(value) - length)[len(value) - length :]
        others = np.random.default_rng(self.seed).choice(len(value), min(len(value), self.length // _SAMPLE))
        self._rows = np.union1d(chosen, others)
        self._chosen = np.isin(self._rows, chosen)
        self._since = 0


def _least(value: np.ndarray) -> float:
    """The least of the best 100 values."""
    count = min(BEST, len(value))
    return float(np.partition(value, len(value) - count)[len(value) - count])
