"""Nearest neighbours: the accuracy that judges a representation (paper 5) and the similarity search (paper 7.2).

Belongs here: Euclidean neighbours and what is read off them. Does not belong here: choosing classes or queries.
"""

from collections.abc import Collection, Iterable, Sequence
from typing import TYPE_CHECKING

import numpy as np

from galaxy_assets.science.devices import fits, on_a_gpu

if TYPE_CHECKING:
    import torch

    from galaxy_assets.science.accelerated import Scan

_ON_A_GPU, _SCANNED_ON_A_GPU = 50_000, 1_000_000  # galaxies from which the way to a GPU is thought to pay


def knn_accuracies(
    features: np.ndarray, labels: np.ndarray, *, neighbours: int, splits: int, test_fraction: float, seed: int
) -> np.ndarray:
    """Accuracy of a k-nearest-neighbour classifier on random training-test splits (paper 5.1).

    What scikit-learn's `KNeighborsClassifier` scores on each split, from one list of neighbours.

    Parameters
    ----------
    features : ndarray of shape (N, D), float or uint8
        Some thousand rows at a time become float64: pixels need not be copied as floats.
    labels : ndarray of shape (N,)
        Any comparable dtype.
    neighbours : int
        5 in the paper.
    splits : int
        50 in the paper.
    test_fraction : float
        0.25 in the paper.
    seed : int
        Split i is seeded by `seed` + i, so that every epoch and every start weight is judged on the same splits.

    Returns
    -------
    ndarray of shape (splits,), float64

    Raises
    ------
    ValueError
        Where a class has fewer than two members, the training part fewer galaxies than `neighbours`, or a feature is
        not finite.

    Examples
    --------
    >>> import numpy as np
    >>> from galaxy_assets.science.neighbours import knn_accuracies
    >>> labels = np.repeat(["spiral", "smooth"], 30)
    >>> features = np.random.default_rng(0).normal(size=(60, 3)) + 9 * (labels == "spiral")[:, None]
    >>> knn_accuracies(features, labels, neighbours=5, splits=3, test_fraction=0.25, seed=0).tolist()
    [1.0, 1.0, 1.0]
    """
    from sklearn.model_selection import train_test_split

    classes, counts = np.unique(labels, return_counts=True)
    if len(classes) < 2 or counts.min() < 2 or int(len(labels) * (1 - test_fraction)) < neighbours:
        raise ValueError(
            f"too few galaxies to judge a representation: {dict(zip(classes.tolist(), counts.tolist(), strict=True))}; "
            "two classes of two are the least, loosen the survey's evaluation cuts"
        )
    if not all(np.isfinite(features[i : i + _SQUARE]).all() for i in range(0, len(features), _SQUARE)):
        raise ValueError("features are not all finite: the training has diverged; look at byol_checkpoints")
    codes = np.searchsorted(classes, labels)
    # every split searches the same galaxies, so one list of neighbours serves them all
    near = _neighbour_lists(features, _LIST)
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
        for one in short:  # of all at once the differences would take as much memory as the galaxies squared
            distances = _squares(features, test[one], np.asarray(train))
            closest = train[np.argsort(distances, kind="stable")[:neighbours]]
            votes[one] = np.bincount(codes[closest], minlength=len(classes))
        # equal votes go to the first class in sorted order, as in scikit-learn
        accuracies[i] = (votes.argmax(axis=1) == codes[test]).mean()
    return accuracies


def _squares(features: np.ndarray, one: int, others: np.ndarray) -> np.ndarray:
    """Squared distances of one galaxy from others, rows (M,): (M,) in the features' type, or float32 of integers."""
    kind = np.result_type(features.dtype, np.float32) if features.dtype.kind == "f" else np.float32
    own = features[one].astype(kind)
    blocks = (features[others[i : i + _SQUARE]].astype(kind) for i in range(0, len(others), _SQUARE))
    return np.concatenate([((own - block) ** 2).sum(axis=1) for block in blocks])


def difference_by_chance(first: np.ndarray, second: np.ndarray, *, test_fraction: float) -> float:
    """How far apart two accuracies may lie by chance: two standard errors of the mean difference on the same splits.

    Splits share galaxies, so that their differences are not independent; the variance is corrected for it (Nadeau &
    Bengio 2003, equation 9).

    Parameters
    ----------
    first, second : ndarray of shape (splits,)
        Accuracies of two representations, as `knn_accuracies` gives them for the same galaxies, splits and seed.
    test_fraction : float
        That of the splits.

    Returns
    -------
    float
        On the scale of the accuracies; NaN for fewer than two splits.

    Examples
    --------
    >>> import numpy as np
    >>> from galaxy_assets.science.neighbours import difference_by_chance
    >>> first, second = np.array([0.90, 0.92, 0.88, 0.90]), np.array([0.90, 0.90, 0.90, 0.90])
    >>> round(difference_by_chance(first, second, test_fraction=0.25), 4)
    0.0249
    """
    splits = len(first)
    if splits < 2:
        return float("nan")
    variance = float(np.var(np.asarray(first) - np.asarray(second), ddof=1))
    return 2 * (variance * (1 / splits + test_fraction / (1 - test_fraction))) ** 0.5


_LIST = 40  # of 40 neighbours about 30 are in the training part; a shorter list is made up for one by one
_SQUARE = 1400  # galaxies of which all distances are held at once; columns a power of two apart would share cache lines


def _neighbour_lists(features: np.ndarray, length: int) -> np.ndarray:
    """The nearest other galaxies of each, nearest first, (N, min(length, N - 1)) int64, by distances in float64.

    Distances are symmetric: each pair of blocks is multiplied once and read by rows and by columns.
    """
    n = len(features)
    if (found := on_a_gpu(lambda device: _on(device, features, length), n, _ON_A_GPU)) is not None:
        return found
    length = min(length, n - 1)
    norms = np.empty(n)
    rows, squares = np.zeros((n, length), np.int64), np.full((n, length), np.inf)

    def keep(galaxies: slice, others: int, found: np.ndarray) -> None:
        closest = np.argpartition(found, min(length, found.shape[1]) - 1, axis=1)[:, :length]
        both = np.hstack([squares[galaxies], np.take_along_axis(found, closest, axis=1)])
        names = np.hstack([rows[galaxies], others + closest])
        best = np.argpartition(both, length - 1, axis=1)[:, :length]
        squares[galaxies] = np.take_along_axis(both, best, axis=1)
        rows[galaxies] = np.take_along_axis(names, best, axis=1)

    blocks = [slice(i, i + _SQUARE) for i in range(0, n, _SQUARE)]
    for block in blocks:
        values = features[block].astype(np.float64)
        norms[block] = np.einsum("ij,ij->i", values, values)
    for k, first in enumerate(blocks):
        own, i = features[first].astype(np.float64), first.start
        for second in blocks[k:]:
            j = second.start
            found = own @ features[second].astype(np.float64).T
            found *= -2
            found += norms[first, None]
            found += norms[second]
            if i == j:
                np.fill_diagonal(found, np.inf)
            keep(first, j, found)
            if i != j:
                keep(second, i, found.T)
    return np.take_along_axis(rows, np.argsort(squares, axis=1, kind="stable"), axis=1)


def _on(device: "torch.device", features: np.ndarray, length: int) -> np.ndarray:
    from galaxy_assets.science.accelerated import neighbour_lists

    return neighbour_lists(features, length, device)


_BLOCK = 4096  # galaxies at once: their float64 copy stays in the processor's cache
_GROUPS = 64


class SimilaritySearch:
    """The galaxies of a survey, made ready to be searched for those most like an example (paper 7.2).

    Exact, and equal to the last bit to the SQL of the read model, which adds up the squares in the same order. A search
    reads all galaxies in float32 and leaves those that rounding alone could hide to that rule; their float32 copy is
    the memory beyond the features.
    """

    def __init__(self, features: np.ndarray, ids: np.ndarray):
        """Features (N, D) float; ids (N,) str, which order galaxies at the same distance."""
        self.features, self.ids = features, ids
        n, d = features.shape
        self._origin = features.mean(axis=0, dtype=np.float64) if n else np.zeros(d)
        # what rounding to float32 can add to |x - e|^2, as a part of |x|^2 + |e|^2: twice the bound of a sum of D + 1
        # products, of their factors and of |x|^2
        self._rounding = 4 * (d + 4) * float(np.finfo(np.float32).eps) / 2
        self._largest = 0.0
        self._terms = np.empty((d + 1, n), np.float32)  # x, then |x|^2 less what rounding can add
        for begin in range(0, n, _BLOCK):
            centred = features[begin : begin + _BLOCK] - self._origin
            norms = np.einsum("ij,ij->i", centred, centred)
            self._terms[:-1, begin : begin + _BLOCK] = centred.T
            self._largest = float(np.maximum(self._largest, norms.max()))
            with np.errstate(over="ignore"):  # `_candidates` then does without
                self._terms[-1, begin : begin + _BLOCK] = norms * (1 - self._rounding)

        self._scan = on_a_gpu(self._terms_on, n, _SCANNED_ON_A_GPU)

    def _terms_on(self, device: "torch.device") -> "Scan":
        from galaxy_assets.science.accelerated import Scan

        return Scan(self._terms, device)

    def most_similar(
        self, examples: np.ndarray, neighbours: int, leave_out: np.ndarray | Sequence[int] = ()
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """The galaxies most like an example, or like any of several: nearest first in Euclidean distance.

        Of several examples the nearest one counts. Galaxies like any of them are found, where a mean over the examples
        would look for a galaxy between them, of which there may be none.

        Parameters
        ----------
        examples : ndarray of shape (Q, D), float
            Galaxies of the set or not; between examples at the same distance the first counts.
        neighbours : int
            At least 1, 8 in the paper; fewer are returned where there are fewer galaxies.
        leave_out : sequence of int
            Rows that are no answer: those of the examples that are galaxies of the set.

        Returns
        -------
        rows : ndarray of shape (K,), int64
        distances : ndarray of shape (K,), float64
        nearest_to : ndarray of shape (K,), int64
            Which example each is nearest to.

        Raises
        ------
        ValueError
            Without examples, or where they have another D than the features.

        Examples
        --------
        The galaxies most like the first, which is left out:

        >>> import numpy as np
        >>> from galaxy_assets.science.neighbours import SimilaritySearch
        >>> features, ids = np.array([[0.0, 0.0], [3.0, 4.0], [0.0, 1.0], [9.0, 9.0]]), np.array(["a", "b", "c", "d"])
        >>> rows, distances, nearest_to = SimilaritySearch(features, ids).most_similar(features[:1], 2, leave_out=[0])
        >>> [str(galaxy) for galaxy in ids[rows]], distances.tolist()
        (['c', 'b'], [1.0, 5.0])
        """
        if neighbours < 1 or not len(examples) or examples.shape[1] != self.features.shape[1]:
            raise ValueError(
                f"{neighbours} neighbours of examples {examples.shape} among features {self.features.shape}: "
                "at least one neighbour, one example and the same features are needed"
            )
        # as many more as are left out, which then are dropped
        count, rows, distances = neighbours + len(leave_out), np.empty(0, np.int64), np.empty(0)
        # whatever is among the nearest to its nearest example is among the nearest to that one
        candidates = np.unique(np.concatenate([self._candidates(example, count) for example in examples]))
        for begin in range(0, len(candidates), _BLOCK):
            block = candidates[begin : begin + _BLOCK]
            rows = np.concatenate([rows, block])
            distances = np.concatenate([distances, _distances(self.features[block], examples).min(axis=0)])
            if len(rows) > count:
                near = np.flatnonzero(distances <= np.partition(distances, count - 1)[count - 1])
                rows, distances = rows[near], distances[near]
            order = np.lexsort((self.ids[rows], distances))[:count]
            rows, distances = rows[order], distances[order]
        answers = np.flatnonzero(~np.isin(rows, leave_out))[:neighbours]
        rows, distances = rows[answers], distances[answers]
        if len(examples) == 1:
            return rows, distances, np.zeros(len(rows), np.int64)
        return rows, distances, _distances(self.features[rows], examples).argmin(axis=0)

    def _candidates(self, example: np.ndarray, count: int) -> np.ndarray:
        """Rows (C,) int64 among which are the `count` nearest to an example (D,) and all at the same distances."""
        n, d = self.features.shape
        centred = example - self._origin
        norm = float(centred @ centred)
        width = n // _GROUPS
        if width < count or not norm + self._largest < 1e30:  # also of NaN; float32 overflows at 1e38
            return np.arange(n)
        # |x - e|^2 - |e|^2, and at most that by more than rounding
        coefficients = np.append(-2 * centred, 1).astype(np.float32)
        scan = self._scan
        below = None if scan is None else fits(lambda: scan(coefficients), scan.device)
        if below is None:
            below = coefficients @ self._terms
        # the least of each group: the `count` least of these are so many galaxies, no nearer than the nearest
        groups = below[: _GROUPS * width].reshape(_GROUPS, width)
        nearest = groups.min(axis=0)
        least = np.argpartition(nearest, count - 1)[:count]
        some = groups[:, least].argmin(axis=0) * width + least
        farthest = _distances(self.features[some], example[None]).max() ** 2
        slack = self._rounding * norm + (d + 4) * float(np.finfo(np.float32).tiny)
        limit = np.nextafter(np.float32(farthest * (1 + 1e-12) - norm + slack), np.float32(np.inf))
        near = np.flatnonzero(nearest <= limit)
        member, group = np.nonzero(groups[:, near] <= limit)
        rest = _GROUPS * width + np.flatnonzero(below[_GROUPS * width :] <= limit)
        return np.concatenate([member * width + near[group], rest])


def most_similar(
    features: np.ndarray,
    ids: np.ndarray,
    examples: np.ndarray,
    neighbours: int,
    leave_out: np.ndarray | Sequence[int] = (),
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """One search: see `SimilaritySearch.most_similar`, which serves many faster.

    Parameters
    ----------
    features : ndarray of shape (N, D), float
    ids : ndarray of shape (N,), str
        Order galaxies at the same distance.
    examples, neighbours, leave_out
        As `SimilaritySearch.most_similar` takes them.

    Returns
    -------
    rows, distances, nearest_to : ndarray of shape (K,)
        As `SimilaritySearch.most_similar` returns them.
    """
    return SimilaritySearch(features, ids).most_similar(examples, neighbours, leave_out)


def most_similar_in_turn(
    blocks: Iterable[tuple[np.ndarray, np.ndarray]],
    examples: np.ndarray,
    neighbours: int,
    leave_out: Collection[str] = (),
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """`most_similar` of galaxies that come block by block, such as batches read from disk: memory is that of one.

    Parameters
    ----------
    blocks : iterable of (ids, features)
        Ids (n,) str, and features (n, D) float of the same galaxies.
    examples : numpy.ndarray
        (Q, D) float; between examples at the same distance the first counts.
    neighbours : int
        How many to return.
    leave_out : collection of str
        Ids that are no answer.

    Returns
    -------
    tuple of numpy.ndarray
        Ids (K,) str, distances (K,) float64 and, for each, which example it is nearest to (K,) int64, nearest first.

    Raises
    ------
    ValueError
        Without examples, or where they have another D than the features.
    """
    best: list[tuple[float, str, int]] = []
    for ids, features in blocks:
        own = np.flatnonzero(np.isin(ids, list(leave_out)))
        rows, distances, nearest = most_similar(features, ids, examples, neighbours, own)
        best += zip(distances.tolist(), ids[rows].tolist(), nearest.tolist(), strict=True)
        best = sorted(best)[:neighbours]
    distances, ids, nearest = ([answer[i] for answer in best] for i in range(3))
    return np.array(ids, object), np.array(distances, float), np.array(nearest, np.int64)


def _distances(features: np.ndarray, examples: np.ndarray) -> np.ndarray:
    """From each example to each galaxy, (Q, N) float64."""
    columns = np.ascontiguousarray(features.T, np.float64)
    squares = np.zeros((len(examples), len(features)))
    for total, example in zip(squares, examples.astype(np.float64), strict=True):
        # one component after the other: numpy's own sum may take any order, which decides the last bit and so ties
        for column, value in zip(columns, example, strict=True):
            total += (column - value) ** 2
    return np.sqrt(squares)
