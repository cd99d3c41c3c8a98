"""One round of the anomaly search: fit on the scores given, predict every galaxy, choose; beside scikit-learn.

    OMP_NUM_THREADS=1 python benchmarks/gaussian_process.py [--small]

The peer is what Astronomaly is published to do: scikit-learn's regressor fitted and asked for mean and standard
deviation of all galaxies at once, and modAL's expected improvement, written here. A call is four rounds, with 50,
100, 150 and 200 scores. For the corrected learner, whose kernel is not fitted, the peer has the same kernel and asks
for the mean. Each side sorts its own values, and neither is rounded before.
"""

import warnings
from collections.abc import Iterator

import numpy as np
from scipy.spatial.distance import pdist
from scipy.stats import norm
from side_by_side import Equal, Row, compare, gemm, growth, main
from simulated import COMPONENTS, RARE, components, names
from sklearn.exceptions import ConvergenceWarning
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import ConstantKernel, Matern, WhiteKernel

from galaxy_assets.science import active_learning
from galaxy_assets.science.active_learning import Posterior

SCORES = (50, 100, 150, 200)


def by_scikit_learn(
    features: np.ndarray, rows: np.ndarray, scores: np.ndarray, learner: str
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The peer: mean and standard deviation of every galaxy, and what it would ask for by."""
    if learner == "published":
        process = GaussianProcessRegressor(Matern(nu=1.5) + WhiteKernel())
    else:
        features = features / np.sqrt(features.std(axis=0))
        kernel = ConstantKernel(6.25) * Matern(float(np.median(pdist(features[rows]))), nu=1.5) + WhiteKernel(3.125)
        process = GaussianProcessRegressor(kernel, optimizer=None)  # pyright: ignore[reportArgumentType]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        process.fit(features[rows], scores)
    mean, std = (np.asarray(a) for a in process.predict(features, return_std=True))
    if learner == "corrected":
        return mean, std, mean
    z = (mean - scores.max() - 0.5) / std
    return mean, std, (mean - scores.max() - 0.5) * norm.cdf(z) + std * norm.pdf(z)


def ours(
    features: np.ndarray, rows: np.ndarray, scores: np.ndarray, learner: str
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The same by the function of the asset."""
    state: Posterior = active_learning.posterior(features, rows, scores, learner)
    if learner == "corrected":
        return state.mean, state.std, state.mean
    gain = active_learning.expected_improvement(state.mean, state.std, float(scores.max()), 0.5)
    return state.mean, state.std, gain


def shown(labels: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Rows and scores as a search gathers them: a third true anomalies, with the oracle's doubts."""
    rng = np.random.default_rng(count)
    rare, others = (rng.permutation(np.flatnonzero((labels == RARE) == r)) for r in (True, False))
    rows = np.concatenate([rare[: count // 3], others[: count - min(count // 3, len(rare))]])
    return rows, np.clip(np.where(labels[rows] == RARE, 5, 0) + rng.integers(-1, 2, len(rows)), 0, 5).astype(float)


def measure(small: bool) -> Iterator[Row]:
    """Both learners at the paper's size."""
    n, counts, rounds = (2_000, (20, 40), 1) if small else (232_000, SCORES, 5)
    features, labels = components(n)
    doubles, ids = features.astype(np.float64), names(n)
    given = [shown(labels, count) for count in counts]
    products = gemm(np.float32, small)
    for learner in ("published", "corrected"):
        found = compare(
            lambda: [ours(features, *g, learner) for g in given],  # noqa: B023
            lambda: [by_scikit_learn(doubles, *g, learner) for g in given],  # noqa: B023
            rounds=rounds,
        )
        columns = found.columns() | {"seconds": found.columns()["seconds"] / len(counts)}
        for name in ("cpu_seconds", "peer_seconds", "peer_cpu_seconds"):
            columns[name] /= len(counts)
        pairs = list(zip(found.our_answer, found.peer_answer, strict=True))
        top = [
            (active_learning.best_first(mine, ids, 10), np.argsort(-theirs, kind="stable")[:10])
            for (*_, mine), (*_, theirs) in pairs
        ]
        # the least there is to do: distances to every score, and a triangular solve for the standard deviation
        gflop = n * np.mean([2 * count * COMPONENTS + count**2 for count in counts]) / 1e9
        last = given[-1]

        def at(m: int, learner: str = learner, last: tuple[np.ndarray, np.ndarray] = last):
            # the scored galaxies first, so that they are among the first m
            part = np.concatenate([features[last[0]], np.delete(features[:m], last[0][last[0] < m], axis=0)])[:m]
            rows = np.arange(len(last[0]))
            return lambda: ours(part, rows, last[1], learner)

        yield Row(
            "gaussian_process",
            f"one round of the search, learner {learner}",
            n,
            "scikit-learn fit, predict, improvement",
            **columns,
            **growth(at, [n // 4, n // 2, n], repeats=1 if small else 3),
            limit="matrix products in float32",
            share=gflop / columns["seconds"] / products,
            equal=[
                Equal("means", max(float(np.abs(a[0] - b[0]).max()) for a, b in pairs), 1e-9),
                Equal("standard deviations", max(float(np.abs(a[1] - b[1]).max()) for a, b in pairs), 1e-9),
                Equal("of the first ten asked for, those in another place", sum(int((a != b).sum()) for a, b in top)),
            ],
            target_ratio=6,
            target_memory_ratio=15,
        )


if __name__ == "__main__":
    main("gaussian_process", measure)
