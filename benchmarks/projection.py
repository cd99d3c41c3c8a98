"""UMAP, beside umap-learn called as its guide says.

    OMP_NUM_THREADS=1 python benchmarks/projection.py [--small]

There is no target for the speed: nearly all of the time is umap-learn's own. What is asked for is the same quality,
the same map under the same seed, and to know what compiling costs at the first call of a process. Trustworthiness is
that of the first thousands among themselves: over all galaxies it would need a matrix of all distances.
"""

import time
import warnings
from collections.abc import Iterator

import numpy as np
from side_by_side import Equal, Row, compare, growth, main
from simulated import components
from sklearn.manifold import trustworthiness

from galaxy_assets.science.projection import umap_xy
from galaxy_assets.settings.structure import Umap

JUDGED = 3_000  # galaxies


def by_umap_learn(features: np.ndarray, settings: Umap) -> np.ndarray:
    """The peer, with the same settings and seed."""
    import umap

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return umap.UMAP(
            n_neighbors=settings.n_neighbors, min_dist=settings.min_dist, random_state=settings.seed
        ).fit_transform(features)


def measure(small: bool) -> Iterator[Row]:
    """Above 10 thousand galaxies, where umap-learn takes fewer epochs: smaller sets would not grow alike."""
    n, rounds, settings = (100 if small else 20_000), (1 if small else 2), Umap()
    features, _ = components(n)
    began = time.perf_counter()
    umap_xy(features[:100], settings)
    first = time.perf_counter() - began
    began = time.perf_counter()
    umap_xy(features[:100], settings)
    compiling = first - (time.perf_counter() - began)
    found = compare(
        lambda: umap_xy(features, settings), lambda: by_umap_learn(features, settings), rounds=rounds, memory=not small
    )
    quality = [
        trustworthiness(features[:JUDGED], xy[:JUDGED], n_neighbors=min(15, n // 4))
        for xy in (found.our_answer, found.peer_answer)
    ]
    again = umap_xy(features, settings)
    yield Row(
        "projection",
        "UMAP",
        n,
        "umap-learn",
        **found.columns(),
        **growth(lambda m: lambda: umap_xy(features[:m], settings), [n * 11 // 20, n * 3 // 4, n], repeats=1),
        equal=[
            Equal("trustworthiness short of the peer's", quality[1] - quality[0], 0.01),
            Equal("largest move under the same seed", float(np.abs(again - found.our_answer).max())),
        ],
        note=f"trustworthiness {quality[0]:.3f}, the peer's {quality[1]:.3f}; importing and compiling at the first "
        f"call of a process {compiling:.0f} s",
    )


if __name__ == "__main__":
    main("projection", measure)
