"""The Bayesian Gaussian mixture beside scikit-learn's: one iteration of one start, and a whole fit.

    OMP_NUM_THREADS=1 python benchmarks/mixture.py [--small]

Time of an iteration is the difference of two fits that are stopped after different numbers of iterations, divided by
how many more the longer one did: the initialisation is in both and so in neither. Ours fits ten starts in one call,
as the asset does; the peer's cost for a start is measured on one, because it does one after the other. The whole fit
runs until the bound changes by less than 10^-5 per galaxy, on both sides: a looser limit stops on plateaus where the
labels still change, and the default, 10^-3 over all galaxies, would take hours of the peer.
"""

import warnings
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from side_by_side import Cost, Equal, Row, Turn, compare, exponent, gemm, main, peak_memory, timed
from simulated import CLUSTERS, COMPONENTS, components
from sklearn.exceptions import ConvergenceWarning
from sklearn.mixture import BayesianGaussianMixture

from galaxy_assets.science import mixture
from galaxy_assets.settings.structure import Mixture

PRECISIONS = {"float64": {"single": False}, "float32": {"single": True}}
"""What `mixture.fit` is asked for. It begins in float32 unless told otherwise, and always ends in float64."""
TARGETS = {"float64": 8.0, "float32": 16.0}
MEANS = {"float64": 1e-9, "float32": 1e-4}
"""How far the means may be apart after the same iterations from the same start; the labels must be identical."""


def by_scikit_learn(features: np.ndarray, settings: Mixture) -> BayesianGaussianMixture:
    """The peer, with the same settings."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        return BayesianGaussianMixture(
            n_components=settings.components,
            weight_concentration_prior=settings.weight_concentration_prior,
            n_init=settings.n_init,
            max_iter=settings.max_iter,
            tol=settings.tol,
            random_state=settings.seed,
        ).fit(features)


def stopped(iterations: int, starts: int = 1) -> Mixture:
    """Settings of a fit that ends after so many iterations, converged or not."""
    return Mixture(components=CLUSTERS, n_init=starts, max_iter=iterations, tol=0.0)


def iteration(fit: Callable[[int], Any], short: int, long: int, starts: int) -> Turn:
    """The cost of one iteration of one start of `fit(iterations)`."""

    def turn() -> tuple[Cost, Any]:
        (few, _), (many, answer) = timed(lambda: fit(short))(), timed(lambda: fit(long))()
        count = (long - short) * starts
        return Cost((many.wall - few.wall) / count, (many.cpu - few.cpu) / count), answer

    return turn


def apart(features: np.ndarray, ours: mixture.MixtureModel, peer: BayesianGaussianMixture, means: float) -> list[Equal]:
    """How far the means are apart, ours in the order of falling weights, and how many labels differ."""
    order = np.argsort(-peer.weights_, kind="stable")
    rank = np.argsort(order)
    labels = ours.probabilities(features).argmax(axis=1) != rank[peer.predict(features)]
    scale = np.abs(peer.means_).max()
    return [
        Equal("means, relative", float(np.abs(ours.means - peer.means_[order]).max() / scale), means),
        Equal("labels that differ", int(labels.sum())),
    ]


def measure(small: bool) -> Iterator[Row]:
    """An iteration at the paper's size in each precision, and a whole fit of 20 thousand."""
    n, starts, rounds = (1_200, 2, 1) if small else (232_000, 10, 3)
    short, long = 2, 5
    features = components(n)[0]
    doubles = features.astype(np.float64)
    products = {name: gemm(np.dtype(name).type, small) for name in PRECISIONS}
    peer = by_scikit_learn(doubles, stopped(long))
    peer_memory = peak_memory(lambda: by_scikit_learn(doubles, stopped(short)))[0]
    for name, changed in PRECISIONS.items():
        alone = mixture.fit(features, stopped(long), **changed)
        found = compare(
            iteration(lambda k: mixture.fit(features, stopped(k, starts), **changed), short, long, starts),  # noqa: B023
            iteration(lambda k: by_scikit_learn(doubles, stopped(k)), short, long, 1),
            rounds=rounds,
            turns=True,
        )
        columns = found.columns()
        sizes, seconds, peaks = [n // 4, n // 2, n], [], []
        for m in sizes:
            part = features[:m]
            few = iteration(lambda k: mixture.fit(part, stopped(k, starts), **changed), short, long, starts)  # noqa: B023
            seconds.append(few()[0].cpu if m < n else columns["cpu_seconds"])
            peaks.append(peak_memory(lambda: mixture.fit(part, stopped(1, starts), **changed))[0])  # noqa: B023
        # the quadratic form and its sums: twice a product of (N, D (D + 3) / 2) and (D (D + 3) / 2, K)
        gflop = 4 * n * CLUSTERS * COMPONENTS * (COMPONENTS + 3) / 2 / 1e9
        yield Row(
            "mixture",
            f"mixture, one iteration of one start of {starts}, {name}",
            n,
            "scikit-learn",
            **columns | {"memory_mb": peaks[-1], "peer_memory_mb": peer_memory},
            **grown(sizes, seconds, peaks),
            limit=f"matrix products in {name}",
            share=gflop / columns["seconds"] / products[name],
            equal=apart(features, alone, peer, MEANS[name]),
            target_ratio=TARGETS[name],
        )
    yield from whole(small)


def grown(sizes: list[int], seconds: list[float], peaks: list[float]) -> dict[str, Any]:
    """The columns of `growth` from what was measured otherwise."""
    return {
        "sizes": sizes,
        "size_seconds": seconds,
        "size_memory_mb": peaks,
        "exponent": exponent(sizes, seconds),
    }


def whole(small: bool) -> Iterator[Row]:
    """All starts to convergence."""
    n, starts = (800, 2) if small else (20_000, 10)
    features = components(n)[0]
    for name, changed in PRECISIONS.items():
        settings = Mixture(components=CLUSTERS, n_init=starts, max_iter=1000, tol=1e-5 * n)
        found = compare(
            lambda: mixture.fit(features, settings, **changed),  # noqa: B023
            lambda: by_scikit_learn(features.astype(np.float64), settings),  # noqa: B023
            rounds=1 if small else 2,
            memory=False,
        )
        ours, peer = found.our_answer, found.peer_answer
        yield Row(
            "mixture",
            f"mixture, {starts} starts to convergence, begun in {name}",
            n,
            "scikit-learn",
            **found.columns(),
            equal=[
                Equal("best bound short of the peer's, per galaxy", (peer.lower_bound_ - ours.lower_bound) / n, 1e-5),
                Equal("fits that did not converge", 2 - ours.converged - peer.converged_),
            ],
            target_ratio=8,
            note=f"{ours.iterations} iterations in the best start, {peer.n_iter_} in the peer's",
        )


if __name__ == "__main__":
    main("mixture", measure)
