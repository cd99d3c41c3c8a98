"""Nearest neighbours: the accuracy that judges a representation (paper 5) and the similarity search (paper 7.2).

Belongs here: Euclidean neighbours and what is read off them. Does not belong here: choosing classes or queries.
"""

import numpy as np


def knn_accuracies(
    features: np.ndarray, labels: np.ndarray, *, neighbours: int, splits: int, test_fraction: float, seed: int
) -> np.ndarray:
    """Accuracy of a k-nearest-neighbour classifier on random training-test splits, as in paper 5.1.

    Parameters
    ----------
    features : (N, D) float.
    labels : (N,) any comparable dtype.
    neighbours, splits, test_fraction, seed : 5, 50 and .25 in the paper; split i is seeded by `seed` + i, so that every
        epoch and every start weight is judged on the same splits.

    Returns (splits,) float64. Raises ValueError where a class has fewer than two members or the training part fewer
    galaxies than `neighbours`.
    """
    from sklearn.model_selection import train_test_split
    from sklearn.neighbors import KNeighborsClassifier

    classes, counts = np.unique(labels, return_counts=True)
    if len(classes) < 2 or counts.min() < 2 or int(len(labels) * (1 - test_fraction)) < neighbours:
        raise ValueError(
            f"too few galaxies to judge a representation: {dict(zip(classes.tolist(), counts.tolist(), strict=True))}; "
            "two classes of two are the least, loosen the survey's evaluation cuts"
        )
    features = np.ascontiguousarray(features, np.float32)
    accuracies = np.empty(splits)
    for i in range(splits):
        train, test = train_test_split(np.arange(len(labels)), test_size=test_fraction, random_state=seed + i)
        knn = KNeighborsClassifier(neighbours, algorithm="brute").fit(features[train], labels[train])
        accuracies[i] = knn.score(features[test], labels[test])
    return accuracies


def most_similar(features: np.ndarray, queries: np.ndarray, neighbours: int) -> tuple[np.ndarray, np.ndarray]:
    """The nearest galaxies to each query in Euclidean distance, the query itself left out (paper 7.2).

    Parameters
    ----------
    features : (N, D) float.
    queries : (Q,) int, rows of `features`.
    neighbours : 8 in the paper; fewer where there are fewer galaxies.

    Returns indices (Q, neighbours) int64 and distances (Q, neighbours) float64; ties go to the lower row.
    """
    features = features.astype(np.float64)
    count = min(neighbours, len(features) - 1)
    indices = np.empty((len(queries), count), np.int64)
    distances = np.empty((len(queries), count))
    for i, query in enumerate(queries):
        distance = np.sqrt(((features - features[query]) ** 2).sum(axis=1))
        distance[query] = np.inf
        indices[i] = np.argsort(distance, kind="stable")[:count]
        distances[i] = distance[indices[i]]
    return indices, distances
