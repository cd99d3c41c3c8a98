"""The accuracy of 50 splits from one list of neighbours, beside 50 fits of scikit-learn's classifier; outlier factors.

OMP_NUM_THREADS=1 python benchmarks/neighbours.py [--small]
"""

from collections.abc import Iterator

import numpy as np
from side_by_side import Equal, Row, compare, gemm, growth, main
from simulated import WIDTH, components, embeddings
from sklearn.model_selection import train_test_split
from sklearn.neighbors import KNeighborsClassifier

from galaxy_assets.science.neighbours import knn_accuracies
from galaxy_assets.science.outliers import outlier_factor

NEIGHBOURS, SPLITS, TEST = 5, 50, 0.25


def by_scikit_learn(features: np.ndarray, labels: np.ndarray, splits: int) -> np.ndarray:
    """The peer: a classifier for each split."""
    accuracies = []
    for seed in range(splits):
        train, test = train_test_split(np.arange(len(labels)), test_size=TEST, random_state=seed)
        model = KNeighborsClassifier(NEIGHBOURS).fit(features[train], labels[train])
        accuracies.append(model.score(features[test], labels[test]))
    return np.array(accuracies)


def measure(small: bool) -> Iterator[Row]:
    """As many galaxies as the paper judges a representation by, in three classes."""
    n, splits = (600, 5) if small else (13_609, SPLITS)
    features, labels = embeddings(n)
    labels %= 3

    def ours(m: int = n) -> np.ndarray:
        return knn_accuracies(
            features[:m], labels[:m], neighbours=NEIGHBOURS, splits=splits, test_fraction=TEST, seed=0
        )

    found = compare(ours, lambda: by_scikit_learn(features, labels, splits), rounds=1 if small else 3)
    columns = found.columns()
    yield Row(
        "neighbours",
        f"k-NN accuracy, {splits} splits, {n:,} x {WIDTH}",
        n,
        f"scikit-learn, {splits} fits",
        **columns,
        **growth(lambda m: lambda: ours(m), [n // 4, n // 2, n], repeats=1 if small else 3),
        limit="matrix products in float32",
        share=2 * n**2 * WIDTH / 1e9 / columns["seconds"] / gemm(np.float32, small),
        equal=[Equal("splits whose accuracy differs", int((found.our_answer != found.peer_answer).sum()))],
        target_ratio=11,
    )
    sizes = [500, 1_000, 2_000] if small else [5_000, 10_000, 20_000]
    vectors, _ = components(sizes[-1])
    yield Row(
        "neighbours",
        "local outlier factor, a baseline of the ranking",
        sizes[-1],
        **growth(lambda m: lambda: outlier_factor(vectors[:m]), sizes, repeats=1 if small else 3),
        note="scikit-learn's own: nothing to compare, but it grows fastest of all that the assets do",
    )


if __name__ == "__main__":
    main("neighbours", measure)
