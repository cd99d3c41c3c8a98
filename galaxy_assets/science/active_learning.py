"""Active-learning anomaly search: a Gaussian process on scores, expected improvement, an oracle (paper 7.1).

Belongs here: choosing what to show, and ranking everything from the scores given. Does not belong here: where scores
come from (a person's events or simulated volunteers) and where they are kept.
"""

import logging
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np

log = logging.getLogger(__name__)

_BLOCK = 20_000  # galaxies predicted at once: bounds the memory of the posterior, whatever the survey's size


def seed_sample(features: np.ndarray, n: int) -> np.ndarray:
    """Rows that span the first principal component: n galaxies equally spaced in its sorted order, both ends included.

    Paper 7.1 ("every tenth percentile"), as Astronomaly's `pca_based_initial_selection` reads it. Equal values keep
    their row order. Returns (min(n, N),) int64.
    """
    order = np.argsort(features[:, 0], kind="stable")
    return order[np.linspace(0, len(order) - 1, min(n, len(order)), dtype=int)]


def expected_improvement(mean: np.ndarray, std: np.ndarray, best: float, trade_off: float) -> np.ndarray:
    """Expected improvement over the best score seen, (N,) float64: modAL's `EI` and Astronomaly's.

    With d = mean - best - trade_off and z = d / std it is d * Phi(z) + std * phi(z).
    """
    from scipy.stats import norm

    difference = mean - best - trade_off
    z = difference / std
    return difference * norm.cdf(z) + std * norm.pdf(z)


@dataclass(frozen=True)
class Posterior:
    """Mean and standard deviation of the score of every galaxy, (N,) float64; whether the fit is `flat` (the scores
    given do not yet tell galaxies apart) and the fitted kernel in words."""

    mean: np.ndarray
    std: np.ndarray
    flat: bool
    kernel: str


LengthScaleStart = Literal["median_distance", "one"]


def posterior(
    features: np.ndarray, rows: np.ndarray, scores: np.ndarray, start: LengthScaleStart = "median_distance"
) -> Posterior:
    """Fit a Gaussian process to the scores and predict every galaxy.

    Parameters
    ----------
    features : (N, D) float, principal components, unscaled.
    rows : (L,) int, the labelled rows.
    scores : (L,) float, 0-5.
    start : where the optimiser starts the length scale: at the median distance between labelled galaxies, or at 1 as
        Astronomaly does. From 1 it finds no slope when galaxies lie tens apart, as those of a 1280-dimensional network
        do, and the posterior is then zero everywhere but at the labelled galaxies. The model is the same.

    Kernel Matern(nu=1.5) + white noise without an amplitude, as Astronomaly's `protege.GaussianProcess`; the
    hyper-parameters are scikit-learn's optimum. A hyper-parameter at its bound is logged: the posterior is then flat,
    and order within it means nothing.
    """
    from scipy.spatial.distance import pdist
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.gaussian_process import GaussianProcessRegressor
    from sklearn.gaussian_process.kernels import Matern, WhiteKernel

    features = np.asarray(features, np.float64)
    distance = float(np.median(pdist(features[rows]))) if start == "median_distance" and len(rows) > 1 else 1.0
    length_scale = float(np.clip(distance, 1e-4, 1e4))  # within scikit-learn's bounds of 1e-5 to 1e5
    process = GaussianProcessRegressor(Matern(length_scale, nu=1.5) + WhiteKernel())
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", ConvergenceWarning)
        process.fit(features[rows], np.asarray(scores, np.float64))
    at_bound = any(issubclass(w.category, ConvergenceWarning) for w in caught)
    blocks = [process.predict(features[i : i + _BLOCK], return_std=True) for i in range(0, len(features), _BLOCK)]
    mean, std = (np.concatenate(part) for part in zip(*blocks, strict=True))
    flat = bool(np.ptp(mean) < 1e-6)
    if at_bound:
        log.info("Gaussian process: a hyper-parameter is at its bound (%s) after %d scores", process.kernel_, len(rows))
    return Posterior(mean, std, flat, str(process.kernel_))


def best_first(value: np.ndarray, ids: np.ndarray) -> np.ndarray:
    """Row order by falling value, ties by id, so that rounding and row order never decide. (N,) int64."""
    return np.lexsort((ids, -np.round(value, 9)))


@dataclass(frozen=True)
class Query:
    """One galaxy shown to the oracle: row, round (0 is the seed sample, which has no acquisition), score given."""

    row: int
    round: int
    acquisition: float | None
    score: int


def search(
    features: np.ndarray,
    ids: np.ndarray,
    oracle: Callable[[np.ndarray], np.ndarray],
    *,
    seeds: int,
    per_round: int,
    budget: int,
    trade_off: float,
    start: LengthScaleStart = "median_distance",
) -> list[Query]:
    """Run the search with an oracle that scores rows 0-5, and return every query in the order it was asked.

    Parameters
    ----------
    features : (N, D) float, principal components with the first in column 0.
    ids : (N,) str, decide ties.
    oracle : called with rows (M,) int, returns integer scores (M,).
    seeds, per_round, budget, trade_off : 10, 10, 200 and .5 in the paper; the budget is capped at N.
    start : see `posterior`.
    """
    budget = min(budget, len(features))
    rows = seed_sample(features, min(seeds, budget))
    queries = [Query(int(r), 0, None, int(s)) for r, s in zip(rows, oracle(rows), strict=True)]
    while len(queries) < budget:
        asked = np.array([q.row for q in queries])
        scores = np.array([q.score for q in queries])
        state = posterior(features, asked, scores, start)
        acquisition = expected_improvement(state.mean, state.std, float(scores.max()), trade_off)
        order = best_first(acquisition, ids)
        rows = order[~np.isin(order, asked)][: min(per_round, budget - len(queries))]
        this = queries[-1].round + 1
        queries += [Query(int(r), this, float(acquisition[r]), int(s)) for r, s in zip(rows, oracle(rows), strict=True)]
        log.info("round %d: %d of %d scored, mean score %.2f", this, len(queries), budget, np.mean(scores))
    return queries


def unsupervised_score(features: np.ndarray, seed: int) -> np.ndarray:
    """How isolated each galaxy is, (N,) float64, larger is stranger: an isolation forest, for a survey without scores.

    The ranking before anybody has scored anything (Lochner & Bassett 2021 start from the same algorithm).
    """
    from sklearn.ensemble import IsolationForest

    return -IsolationForest(random_state=seed).fit(features).score_samples(features)


def recall_curve(is_true: np.ndarray, shown: np.ndarray) -> dict[str, np.ndarray | list[int | None]]:
    """Anomalies found down a ranked list, beside a random order's expectation and a perfect one (paper Fig. 8).

    Parameters
    ----------
    is_true, shown : (N,) bool in ranked order; whether a galaxy truly is an anomaly, and whether the oracle scored it.

    Returns columns rank (int64, from 1), found (int64), random (float64) and perfect (int64), each (N,); and
    found_unshown, the same count down the list of galaxies that the oracle never saw, None past its end: what the
    ranking found by itself.
    """
    rank = np.arange(1, len(is_true) + 1)
    total = int(is_true.sum())
    return {
        "rank": rank,
        "found": np.cumsum(is_true),
        "random": rank * total / max(len(is_true), 1),
        "perfect": np.minimum(rank, total),
        "found_unshown": [*np.cumsum(is_true[~shown]).tolist(), *[None] * int(shown.sum())],
    }
