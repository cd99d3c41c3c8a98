"""Active-learning anomaly search: predicted scores, expected improvement, an oracle (paper 7.1).

Belongs here: choosing what to show, and ranking everything from the scores given. Does not belong here: what a learner
decides (`learners`) and how it predicts (`gaussian_process`), where scores come from (a person's events or simulated
volunteers) and where they are kept.
"""

import functools
import logging
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from galaxy_assets import plugins
from galaxy_assets.plugins.protocols import Learner, ScoreModel
from galaxy_assets.science.galaxy_ids import Ids, as_arrow
from galaxy_assets.science.gaussian_process import standard_deviations
from galaxy_assets.science.outliers import unsupervised_score
from galaxy_assets.science.shortlist import Shortlist, exact_of_the_best
from galaxy_assets.settings.progress import HowFar

log = logging.getLogger(__name__)


def seed_sample(features: np.ndarray, n: int) -> np.ndarray:
    """Rows that span the first principal component: n galaxies equally spaced in its sorted order, both ends included.

    Paper 7.1 ("every tenth percentile"), as Astronomaly's `pca_based_initial_selection` reads it. Equal values keep
    their row order.

    Parameters
    ----------
    features : ndarray of shape (N, D)
        Principal components, the first in column 0.
    n : int
        How many are wanted.

    Returns
    -------
    rows : ndarray of shape (min(n, N),), int64

    Examples
    --------
    >>> import numpy as np
    >>> from galaxy_assets.science.active_learning import seed_sample
    >>> seed_sample(np.array([[3.0], [0.0], [4.0], [1.0], [2.0]]), 3).tolist()
    [1, 4, 2]
    """
    order = np.argsort(features[:, 0], kind="stable")
    return order[np.linspace(0, len(order) - 1, min(n, len(order)), dtype=int)]


def expected_improvement(mean: np.ndarray, std: np.ndarray, best: float, trade_off: float) -> np.ndarray:
    """Expected improvement over the best score seen: modAL's `EI` and Astronomaly's.

    With d = mean - best - trade_off and z = d / std it is d * Phi(z) + std * phi(z).

    Parameters
    ----------
    mean, std : ndarray of shape (N,)
        Predicted scores and their standard deviations.
    best : float
        The highest score given.
    trade_off : float
        What a score must exceed `best` by.

    Returns
    -------
    gain : ndarray of shape (N,), float64

    Examples
    --------
    >>> import numpy as np
    >>> from galaxy_assets.science.active_learning import expected_improvement
    >>> expected_improvement(np.array([3.0, 3.0, 5.0]), np.array([0.5, 2.0, 0.5]), 4.0, 0.5).round(3)
    array([0.   , 0.262, 0.542])
    """
    from scipy.stats import norm

    difference = mean - best - trade_off
    z = difference / std
    return difference * norm.cdf(z) + std * norm.pdf(z)


def find_learner(name: str) -> Learner:
    """The learner registered under a name.

    Parameters
    ----------
    name : str
        Such as `published` or `corrected`.

    Returns
    -------
    Learner

    Raises
    ------
    PluginError
        Where there is none, or its module cannot be imported.
    """
    return plugins.load("learners", name)()


def predict(model: ScoreModel, features: np.ndarray, learner: str) -> tuple[np.ndarray, np.ndarray]:
    """Predicted score and standard deviation of each galaxy, as the learner's model says.

    Parameters
    ----------
    model : ScoreModel
        Fitted by the learner.
    features : ndarray of shape (N, D)
        Principal components, unscaled.
    learner : str
        Name of the learner, for messages.

    Returns
    -------
    mean, std : ndarray of shape (N,)

    Raises
    ------
    PluginError
        Where they are not finite or not one per galaxy; the message names the learner.
    """
    mean, std = model.predict(features)
    _refuse_unusable(mean, len(features), learner, "mean of `predict`")
    _refuse_unusable(std, len(features), learner, "standard deviation of `predict`")
    return mean, std


def _refuse_unusable(values: np.ndarray, n: int, learner: str, what: str) -> None:
    if np.shape(values) != (n,) or not np.isfinite(values).all():
        raise plugins.PluginError(
            f"learners plug-in {learner!r}: the {what} is not one finite number for each of {n} galaxies; "
            "galaxy_assets.plugins.contracts.check_learner shows its author what it must return"
        )


@dataclass(frozen=True)
class Posterior:
    """What a learner's model says of every galaxy.

    Attributes
    ----------
    mean, std : ndarray of shape (N,), float64
        Of the score.
    kernel : str
        The fitted kernel in words.
    at_bounds : tuple of str
        Hyper-parameters that ended at a bound of their range: the likelihood has no optimum in them.
    """

    mean: np.ndarray
    std: np.ndarray
    kernel: str
    at_bounds: tuple[str, ...]


def posterior(features: np.ndarray, rows: np.ndarray, scores: np.ndarray, learner: str) -> Posterior:
    """Fit a learner's model to the scores and predict every galaxy.

    Parameters
    ----------
    features : ndarray of shape (N, D), float
        Principal components, unscaled. Constant features give a flat posterior.
    rows : ndarray of shape (L,), int
        The labelled rows. Their order counts as rounding does: the search and `anomaly_model` have them by id.
    scores : ndarray of shape (L,), float
    learner : str
        Name of a learner, such as `published` (`science.learners`).

    Returns
    -------
    Posterior
    """
    model = find_learner(learner).fit(features[rows], scores, standard_deviations(features))
    mean, std = predict(model, features, learner)
    return Posterior(mean, std, model.kernel, model.at_bounds)


def best_first(value: np.ndarray, ids: Ids | np.ndarray, count: int | None = None) -> np.ndarray:
    """Rows by falling value; of exactly equal values the smaller id comes first, and nothing else is a tie.

    Values are not rounded: where scores hardly tell galaxies apart, expected improvements differ by 1e-12 and less, and
    Astronomaly asks by these differences. Among equal values its order is that of its sort, which is not defined.

    Parameters
    ----------
    value : ndarray of shape (N,), float
        Without NaN.
    ids : Ids or ndarray of shape (N,), str
    count : int, optional
        How many to return; all unless given.

    Returns
    -------
    ndarray of shape (min(count, N),), int64

    Examples
    --------
    >>> import numpy as np
    >>> from galaxy_assets.science.active_learning import best_first
    >>> best_first(np.array([1.0, 3.0, 3.0]), np.array(["a", "c", "b"])).tolist()
    [2, 1, 0]
    """
    if count is not None and 0 < count < len(value):
        last = np.partition(value, len(value) - count)[len(value) - count]
        better, equal = np.flatnonzero(value > last), np.flatnonzero(value == last)
        rows = np.concatenate([better, equal[_smallest(ids, equal, count - len(better))]])
        falling = -value[rows]
    else:
        rows, falling = np.arange(len(value)), -value
    order = np.argsort(falling, kind="stable")
    rows, falling = rows[order], falling[order]
    same = falling[1:] == falling[:-1]
    tied = np.zeros(len(rows), bool)
    tied[1:] |= same
    tied[:-1] |= same
    # names are compared where values do not decide: a comparison of strings takes far longer than one of numbers
    rows[tied] = rows[tied][np.lexsort((ids[rows[tied]], falling[tied]))]
    return rows[:count]


def _smallest(ids: Ids | np.ndarray, rows: np.ndarray, count: int) -> np.ndarray:
    """Which of these rows have the smallest ids, without a string of each: all may have the same value."""
    import pyarrow.compute as pc

    if count >= len(rows):
        return np.arange(len(rows))
    names = as_arrow(ids).take(pa.array(rows))
    return pc.bottom_k_unstable(names, count, sort_keys=[("ids", "ascending")]).to_numpy()


@dataclass(frozen=True)
class Query:
    """One galaxy shown to the oracle.

    Attributes
    ----------
    row : int
        Of the features.
    round : int
        0 is the seed sample.
    acquisition : float or None
        The value it was chosen by; None in the seed sample and where the strangest were asked.
    score : float
        The score given.
    """

    row: int
    round: int
    acquisition: float | None
    score: float


def search(
    features: np.ndarray,
    ids: Ids | np.ndarray,
    oracle: Callable[[np.ndarray], np.ndarray],
    *,
    seeds: int,
    per_round: int,
    budget: int,
    trade_off: float,
    learner: str,
    seed: int,
    among: np.ndarray | None = None,
    shortlist: Shortlist | None = None,
) -> list[Query]:
    """Run the search with an oracle that scores rows, and return every query in the order it was asked.

    Parameters
    ----------
    features : ndarray of shape (N, D)
        Principal components with the first in column 0.
    ids : Ids or ndarray of shape (N,), str
        Decide between exactly equal values, see `best_first`.
    oracle : callable
        Called with rows (M,) int, returns scores (M,).
    seeds, per_round, budget : int
        10, 10 and 200 in the paper; seeds and budget are capped at N.
    trade_off : float
        .5 in the paper, see `expected_improvement`.
    learner : str
        See `posterior`. While it cannot fit the scores given, the strangest are asked for; then the largest value of
        its acquisition. `published` asks for the largest expected improvement. `corrected` asks for the highest
        predicted score, since nothing improves over a 5 and the first anomaly has one, and for the strangest while all
        scores given are equal. `graded` asks for the largest plausible score. A learner with `strange_seeds` has
        that share of the seeds from the strangest, and one with `trees` finds these by so many trees.
    seed : int
        Of the isolation forest that finds the strangest.
    among : ndarray of shape (M, D), optional
        The galaxies that it is grown of, all unless given.
    shortlist : Shortlist, optional
        Which galaxies a round scores; all of them in each round unless given. With it a tenth of the trees says which
        galaxies the whole forest looks at.

    Returns
    -------
    queries : list of Query

    Raises
    ------
    PluginError
        Where the learner cannot be used, or predicts or values what is not a number.

    Examples
    --------
    Ten rare galaxies lie apart from ninety others; the oracle gives them a 5:

    >>> import numpy as np
    >>> from galaxy_assets.science.active_learning import search
    >>> features = np.random.default_rng(0).normal(size=(100, 3))
    >>> features[:10] += 4
    >>> ids = np.array([f"galaxy_{i:03d}" for i in range(100)])
    >>> queries = search(
    ...     features, ids, lambda rows: np.where(rows < 10, 5, 0),
    ...     seeds=5, per_round=5, budget=25, trade_off=0.5, learner="corrected", seed=0,
    ... )
    >>> len(queries), queries[-1].round, sum(query.score == 5 for query in queries)
    (25, 4, 10)
    """
    budget, asking = min(budget, len(features)), find_learner(learner)
    deviations = functools.cache(lambda: standard_deviations(features))
    strange = functools.cache(lambda: _strangeness(features, seed, among, trees_of(asking), shortlist))
    seeds = min(seeds, budget)
    strangest = int(seeds * getattr(asking, "strange_seeds", 0))
    rows = seed_sample(features, seeds - strangest)
    if strangest:
        others = best_first(strange(), ids, seeds)
        rows = np.concatenate([rows, others[~np.isin(others, rows)][:strangest]])
    queries = [Query(int(r), 0, None, float(s)) for r, s in zip(rows, oracle(rows), strict=True)]
    far = HowFar(log, "anomaly search", budget, "scores")
    while len(queries) < budget:
        by_id = sorted(queries, key=lambda query: ids[query.row])  # as `anomaly_model` is fitted
        asked, scores = (np.array([getattr(q, name) for q in by_id]) for name in ("row", "score"))
        part, gain = None, None
        if asking.can_fit(scores):
            strange.cache_clear()  # 80 MB of ten million galaxies, seldom asked for again
            model = asking.fit(features[asked], scores, deviations())

            def gain_of(rows: np.ndarray | None, model: ScoreModel = model, best: float = scores.max()) -> np.ndarray:
                mean, std = predict(model, features if rows is None else features[rows], learner)
                gain = asking.acquisition(mean, std, float(best), trade_off)
                _refuse_unusable(gain, len(mean), learner, "value of `acquisition`")
                return gain

            part, gain = (None, gain_of(None)) if shortlist is None else shortlist.values(gain_of, asked)
        wanted, this = min(per_round, budget - len(queries)), queries[-1].round + 1
        names = ids if part is None else ids[part]
        order = best_first(strange() if gain is None else gain, names, wanted + len(asked))
        at = order[~np.isin(order if part is None else part[order], asked)][:wanted]
        rows = at if part is None else part[at]
        gains = [None] * len(at) if gain is None else gain[at].tolist()
        queries += [Query(int(r), this, g, float(s)) for r, g, s in zip(rows, gains, oracle(rows), strict=True)]
        far.tell(len(queries))
        log.debug("round %d: %d of %d scored, mean score %.2f", this, len(queries), budget, np.mean(scores))
    return queries


def _strangeness(
    features: np.ndarray, seed: int, among: np.ndarray | None, trees: int, shortlist: Shortlist | None
) -> np.ndarray:
    """How strange each galaxy is; where there is a shortlist, of those that a tenth of the trees find strangest."""

    def by_forest(rows: np.ndarray | None, trees: int = trees) -> np.ndarray:
        asked = features if rows is None else features[rows]
        return unsupervised_score(asked, seed, features if among is None else among, trees)

    if shortlist is None:
        return by_forest(None)
    return exact_of_the_best(by_forest(None, max(1, trees // 10)), by_forest, shortlist.length, shortlist.seed)


def trees_of(learner: Learner) -> int:
    """Of how many trees the isolation forest is that speaks where the learner cannot.

    Parameters
    ----------
    learner : Learner
        Its `trees`, if it has any.

    Returns
    -------
    int
        100, scikit-learn's number, unless the learner says another.
    """
    return getattr(learner, "trees", 100)


def recall_curve(is_true: np.ndarray, shown: np.ndarray) -> dict[str, np.ndarray | pa.Array]:
    """Anomalies found down a ranked list, beside a random order's expectation and a perfect one (paper Fig. 8).

    Parameters
    ----------
    is_true : ndarray of shape (N,), bool
        In ranked order, whether a galaxy truly is an anomaly.
    shown : ndarray of shape (N,), bool
        Likewise, whether the oracle scored it.

    Returns
    -------
    columns : dict
        rank (int64, from 1), found (int64), random (float64) and perfect (int64), each (N,); and found_unshown, the
        same count down the list of galaxies that the oracle never saw, null past its end: what the ranking found by
        itself.

    Examples
    --------
    >>> import numpy as np
    >>> from galaxy_assets.science.active_learning import recall_curve
    >>> true = np.array([True, False, True, False])
    >>> curve = recall_curve(true, shown=np.array([True, False, False, False]))
    >>> curve["found"].tolist(), curve["perfect"].tolist(), curve["found_unshown"].to_pylist()
    ([1, 1, 2, 2], [1, 2, 2, 2], [0, 1, 1, None])
    """
    rank = np.arange(1, len(is_true) + 1)
    total, unshown = int(is_true.sum()), len(is_true) - int(shown.sum())
    found_unshown = np.zeros(len(is_true), np.int64)
    np.cumsum(is_true[~shown], out=found_unshown[:unshown])
    return {
        "rank": rank,
        "found": np.cumsum(is_true),
        "random": rank * total / max(len(is_true), 1),
        "perfect": np.minimum(rank, total),
        "found_unshown": pa.array(found_unshown, mask=rank > unshown),
    }
