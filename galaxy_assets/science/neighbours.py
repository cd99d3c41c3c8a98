"""Nearest neighbours: the accuracy that judges a representation (paper 5) and the similarity search (paper 7.2).

Belongs here: Euclidean neighbours and what is read off them. Does not belong here: choosing classes or queries.
"""

from collections.abc import Sequence

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


_BLOCK = 4096  # galaxies at once: their float64 copy stays in the processor's cache


def most_similar(
    features: np.ndarray,
    ids: np.ndarray,
    examples: np.ndarray,
    neighbours: int,
    leave_out: np.ndarray | Sequence[int] = (),
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The galaxies most like an example, or like any of several: nearest first in Euclidean distance (paper 7.2).

    Of several examples the nearest one counts. Rings of many colours are then each a reason to be found, where a mean
    over the examples would look for a galaxy between them, of which there may be none.

    Parameters
    ----------
    features : (N, D) float.
    ids : (N,) str, which order galaxies at the same distance.
    examples : (Q, D) float, galaxies of the set or not; between examples at the same distance the first counts.
    neighbours : at least 1, 8 in the paper; fewer are returned where there are fewer galaxies.
    leave_out : rows that are no answer: those of the examples that are galaxies of the set.

    Returns rows (K,) int64, distances (K,) float64 and, for each, which example it is nearest to (K,) int64. Exact, and
    equal to the last bit to the SQL of the read model, which adds up the squares in the same order. Memory beyond the
    features does not grow with N. Raises ValueError without examples, or where they have another D than the features.
    """
    if neighbours < 1 or not len(examples) or examples.shape[1] != features.shape[1]:
        raise ValueError(
            f"{neighbours} neighbours of examples {examples.shape} among features {features.shape}: "
            "at least one neighbour, one example and the same features are needed"
        )
    # as many more as are left out, which then are dropped
    count, rows, distances = neighbours + len(leave_out), np.empty(0, np.int64), np.empty(0)
    for begin in range(0, len(features), _BLOCK):
        block = features[begin : begin + _BLOCK]
        rows = np.concatenate([rows, begin + np.arange(len(block))])
        distances = np.concatenate([distances, _distances(block, examples).min(axis=0)])
        if len(rows) > count:
            near = np.flatnonzero(distances <= np.partition(distances, count - 1)[count - 1])
            rows, distances = rows[near], distances[near]
        order = np.lexsort((ids[rows], distances))[:count]
        rows, distances = rows[order], distances[order]
    answers = np.flatnonzero(~np.isin(rows, leave_out))[:neighbours]
    rows, distances = rows[answers], distances[answers]
    return rows, distances, _distances(features[rows], examples).argmin(axis=0)


def _distances(features: np.ndarray, examples: np.ndarray) -> np.ndarray:
    """From each example to each galaxy, (Q, N) float64."""
    columns = np.ascontiguousarray(features.T, np.float64)
    squares = np.zeros((len(examples), len(features)))
    for total, example in zip(squares, examples.astype(np.float64), strict=True):
        # one component after the other: numpy's own sum may take any order, which decides the last bit and so ties
        for column, value in zip(columns, example, strict=True):
            total += (column - value) ** 2
    return np.sqrt(squares)
