"""Whether a ranked list finds more true anomalies than a random order and than another list (paper 7.1).

Belongs here: comparisons that can fail, on galaxies whose scores nobody gave. Does not belong here: the counts down a
list (`active_learning.recall_curve`), any ranking.

A score given is no discovery: the galaxies that an oracle scored 5 may stand first whatever the features are worth. So
these comparisons are given the others alone, and a list must be better by more than chance explains: its one-sided 95 %
Clopper-Pearson limit decides. On features that say nothing a comparison holds one time in twenty at most.
"""

from dataclasses import dataclass

import numpy as np

_DEPTH = 200  # the paper's budget of scores; of short lists a tenth
_CONFIDENCE = 0.95


@dataclass(frozen=True)
class Comparison:
    """How a ranked list stands to another order.

    Attributes
    ----------
    galaxies, anomalies : int
        How many there are, and how many of them truly are anomalies.
    top : int
        How many galaxies of each list count.
    found, other : float
        True anomalies among them, in the list and in the other order; an expectation where that is random.
    limit : float
        The lower end of the one-sided 95 % binomial interval of a share.
    bar : float
        What that share must exceed.
    """

    galaxies: int
    anomalies: int
    top: int
    found: int
    other: float
    limit: float
    bar: float

    @property
    def better(self) -> bool:
        """Whether the list finds more than chance explains."""
        return self.limit > self.bar

    @property
    def words(self) -> str:
        """What was found."""
        among = f"{self.anomalies} true anomalies among {self.galaxies} labelled galaxies that nobody scored"
        if not self.anomalies:
            return f"{among}: nothing to judge the ranking by"
        return (
            f"{self.found} in the first {self.top}, the other order {self.other:.3g}, of {among}; the share is at "
            f"least {self.limit:.3f} and must exceed {self.bar:.3f}"
        )


def depth(n: int) -> int:
    """How many galaxies of a list of N are looked at: 200, at most a tenth of them, at least one."""
    return min(_DEPTH, max(n // 10, 1))


def against_random(is_true: np.ndarray) -> Comparison:
    """Compare a list with a random order: the share of true anomalies among its first with the share among all.

    Parameters
    ----------
    is_true : ndarray of shape (N,), bool
        In ranked order, whether a galaxy truly is an anomaly.

    Returns
    -------
    Comparison
        `limit` is of the share among the first, `bar` the share among all.

    Examples
    --------
    >>> import numpy as np
    >>> from galaxy_assets.science.recall import against_random
    >>> found = against_random(np.arange(1000) < 10)
    >>> found.top, found.found, found.other, round(found.limit, 3), found.better
    (100, 10, 1.0, 0.055, True)
    >>> against_random(np.arange(1000) % 100 == 0).better
    False
    """
    n, anomalies, top = len(is_true), int(is_true.sum()), depth(len(is_true))
    found, share = int(is_true[:top].sum()), anomalies / max(n, 1)
    return Comparison(n, anomalies, top, found, top * share, _limit(found, top), share)


def against_list(is_true: np.ndarray, place: np.ndarray) -> Comparison:
    """Compare a list with another one of the same galaxies, by the anomalies that only one of them has first.

    An anomaly among the first of both lists speaks for neither. Were the lists equally good, each of the others would
    be as likely in the one as in the other: McNemar's test, exact.

    Parameters
    ----------
    is_true : ndarray of shape (N,), bool
        In ranked order, whether a galaxy truly is an anomaly.
    place : ndarray of shape (N,), int
        Where each of these galaxies stands in the other list, from 0.

    Returns
    -------
    Comparison
        `limit` is of the share that only this list has, `bar` a half.

    Examples
    --------
    >>> import numpy as np
    >>> from galaxy_assets.science.recall import against_list
    >>> found = against_list(np.arange(1000) < 10, np.arange(1000)[::-1])
    >>> found.found, found.other, round(found.limit, 3), found.better
    (10, 0, 0.741, True)
    >>> against_list(np.arange(1000) < 10, np.arange(1000)).better
    False
    """
    top = depth(len(is_true))
    here, there = is_true & (np.arange(len(is_true)) < top), is_true & (place < top)
    only = int((here & ~there).sum()), int((there & ~here).sum())
    found, other = int(here.sum()), int(there.sum())
    return Comparison(len(is_true), int(is_true.sum()), top, found, other, _limit(only[0], sum(only)), 0.5)


def _limit(found: int, of: int) -> float:
    """Lower end of the one-sided 95 % Clopper-Pearson interval of a share; 0 where there is nothing to count."""
    from scipy.stats import binomtest

    return float(binomtest(found, of, alternative="greater").proportion_ci(_CONFIDENCE).low) if of else 0.0
