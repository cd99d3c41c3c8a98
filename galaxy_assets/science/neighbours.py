"""Nearest neighbours: the accuracy that judges a representation (paper 5) and the similarity search (paper 7.2).

Belongs here: Euclidean neighbours and what is read off them. Does not belong here: choosing classes or queries.
"""

import numpy as np


def knn_accuracies(
    features: np.ndarray, labels: np.ndarray, *, neighbours: int, splits: int, test_fraction: float, seed: int
) -> np.ndarray:
    """Accuracy of a k-nearest-neighbour classifier on random training-test splits, as in paper 5.1: what scikit-learn's
    `KNeighborsClassifier` scores on each split, from one list of neighbours.

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

    classes, counts = np.unique(labels, return_counts=True)
    if len(classes) < 2 or counts.min() < 2 or int(len(labels) * (1 - test_fraction)) < neighbours:
        raise ValueError(
            f"too few galaxies to judge a representation: {dict(zip(classes.tolist(), counts.tolist(), strict=True))}; "
            "two classes of two are the least, loosen the survey's evaluation cuts"
        )
    codes = np.searchsorted(classes, labels)
    # every split searches the same galaxies, so one list of neighbours serves them all
    near = _neighbour_lists(np.ascontiguousarray(features, np.float32), _LIST)
    accuracies = np.empty(splits)
    for i in range(splits):
        train, test = train_test_split(np.arange(len(labels)), test_size=test_fraction, random_state=seed + i)
        in_train = np.zeros(len(labels), bool)
        in_train[train] = True
        usable = in_train[near[test]]
        rank = usable.cumsum(axis=1)
        votes = np.zeros((len(test), len(classes)), int)
        row, column = np.nonzero(usable & (rank <= neighbours))
        np.add.at(votes, (row, codes[near[test[row], column]]), 1)
        short = np.flatnonzero(rank[:, -1] < neighbours)
        if len(short):
            distances = ((features[test[short], None] - features[None, train]) ** 2).sum(axis=2)
            closest = train[np.argsort(distances, axis=1, kind="stable")[:, :neighbours]]
            votes[short] = (codes[closest][..., None] == np.arange(len(classes))).sum(axis=1)
        # equal votes go to the first class in sorted order, as in scikit-learn
        accuracies[i] = (votes.argmax(axis=1) == codes[test]).mean()
    return accuracies


_LIST = 40  # of 40 neighbours about 30 are in the training part; a shorter list is made up for one by one


def _neighbour_lists(features: np.ndarray, length: int) -> np.ndarray:
    """The nearest other galaxies of each, (N, min(length, N - 1)) int64."""
    from sklearn.neighbors import NearestNeighbors

    search = NearestNeighbors(n_neighbors=min(length, len(features) - 1), algorithm="brute").fit(features)
    return search.kneighbors(return_distance=False)


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
