"""Principal components that hold 95 % of the variance, beside scikit-learn's `auto`.

    OMP_NUM_THREADS=1 python benchmarks/pca.py [--small]

Components whose variances are nearly equal turn into one another by rounding, so subspaces are compared: what share of
the variance each side's components hold of the same features, and how many they are.
"""

from collections.abc import Iterator

import numpy as np
from side_by_side import Equal, Row, compare, gemm, growth, main
from simulated import WIDTH, embeddings
from sklearn.decomposition import PCA

from galaxy_assets.science import pca

VARIANCE = 0.95


def held(features: np.ndarray, components: np.ndarray) -> float:
    """Share of the variance of features (N, D) in the span of components (K, D), in float64 on the first thousands."""
    centred = features[:20_000].astype(np.float64)
    centred -= centred.mean(axis=0)
    span = np.linalg.qr(components.T.astype(np.float64))[0]
    return float(((centred @ span) ** 2).sum() / (centred**2).sum())


def measure(small: bool) -> Iterator[Row]:
    """At the size that the study measured."""
    n, rounds = (2_000, 1) if small else (116_000, 5)
    features, _ = embeddings(n)
    found = compare(lambda: pca.fit(features, VARIANCE), lambda: PCA(VARIANCE).fit(features), rounds=rounds)
    columns, ours, peer = found.columns(), found.our_answer, found.peer_answer
    yield Row(
        "pca",
        f"PCA, 95 % of the variance, {n:,} x {WIDTH}",
        n,
        "scikit-learn, auto",
        **columns,
        **growth(lambda m: lambda: pca.fit(features[:m], VARIANCE), [n // 4, n // 2, n], repeats=1 if small else 3),
        limit="matrix products in float32",
        share=2 * n * WIDTH**2 / 1e9 / columns["seconds"] / gemm(np.float32, small),
        equal=[
            Equal("components more or less", abs(len(ours.components) - len(peer.components_))),
            Equal(
                "variance held, share", abs(held(features, ours.components) - held(features, peer.components_)), 1e-6
            ),
        ],
        target_ratio=1 / 1.1,
        target_mb=features.nbytes / 1e6 / 4,
        note="memory is asked not to grow with N: at most a quarter of the features themselves",
    )


if __name__ == "__main__":
    main("pca", measure)
