"""Features of a simulated survey: overlapping clusters with long tails, drawn block by block.

Belongs here: what several benchmarks work on. Does not belong here: pixels, which `simulation` draws.

The same galaxy has the same features whatever block it is drawn in and however many others there are.
"""

from collections.abc import Iterator

import numpy as np

CLUSTERS, COMPONENTS, WIDTH = 20, 29, 512
RARE = CLUSTERS - 1
"""The cluster that the search is for: half a percent of the galaxies."""
_BLOCK = 10_000  # galaxies of one stream of random numbers


def components(n: int, first: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Principal components (n, COMPONENTS) float32 of galaxies `first` and on, and their clusters (n,) int.

    Clusters are t-distributed with five degrees of freedom about centres that overlap in every pair of components, each
    with a covariance of its own; the components' spread falls as it does after a PCA.
    """
    fixed = np.random.default_rng(0)
    falling = np.linspace(5, 1, COMPONENTS)
    centres = 0.8 * fixed.normal(size=(CLUSTERS, COMPONENTS)) * falling
    shapes = np.eye(COMPONENTS) + fixed.normal(0, 0.12, (CLUSTERS, COMPONENTS, COMPONENTS))
    share = np.append(np.linspace(3, 1, RARE), 0)
    share = 0.995 * share / share.sum()
    share[RARE] = 0.005
    vectors, labels = np.empty((n, COMPONENTS), np.float32), np.empty(n, int)
    for block, here, there in _blocks(n, first):
        rng = np.random.default_rng([1, block])
        which = rng.choice(CLUSTERS, _BLOCK, p=share)
        tails = np.sqrt(rng.chisquare(5, (_BLOCK, 1)) / 5)
        drawn = rng.normal(size=(_BLOCK, COMPONENTS)) / tails
        for k in range(CLUSTERS):
            drawn[which == k] = drawn[which == k] @ shapes[k] * falling / 3 + centres[k]
        vectors[here], labels[here] = drawn[there], which[there]
    return vectors, labels


def _blocks(n: int, first: int) -> Iterator[tuple[int, slice, slice]]:
    """The blocks that hold galaxies first .. first + n: number, where they go, and which of the block these are."""
    for block in range(first // _BLOCK, -(-(first + n) // _BLOCK)):
        begin = block * _BLOCK - first
        here = slice(max(begin, 0), min(begin + _BLOCK, n))
        yield block, here, slice(here.start - begin, here.stop - begin)


def embeddings(n: int, first: int = 0, width: int = WIDTH) -> tuple[np.ndarray, np.ndarray]:
    """Features (n, width) float32 whose principal components are `components`, with faint noise, and the clusters."""
    vectors, labels = components(n, first)
    turn = np.linalg.qr(np.random.default_rng(2).normal(size=(width, COMPONENTS)))[0].T.astype(np.float32)
    features = vectors @ turn
    for block, here, there in _blocks(n, first):
        noise = np.random.default_rng([3, block]).standard_normal((_BLOCK, width), np.float32)
        features[here] += np.float32(0.05) * noise[there]
    return features, labels


def names(n: int, first: int = 0) -> np.ndarray:
    """Ids (n,) str of objects, in no order of theirs; every galaxy has another one."""
    # a multiplier without common divisor permutes the numbers below 10^12
    return np.array([f"G{(i * 611_953_421_773) % 10**12:012d}" for i in range(first, first + n)], dtype=object)
