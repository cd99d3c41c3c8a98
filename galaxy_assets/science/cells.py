"""Cells of galaxies that lie near each other in feature space, so that a search reads a few of them and not the survey.

Belongs here: the cells, the exact neighbours of a sample, and how many cells a search has to read to find them. Does
not belong here: the file that keeps galaxies by cell (`storage.similarity`), the rule of the search (`neighbours`).
"""

import numpy as np

from galaxy_assets.science.parallel import on_threads

MOST_CELLS = 1024
"""More make a search read less, and the index take longer to make."""
SAMPLE_PER_CELL = 50
"""Galaxies that the cells are fitted to, for each cell."""
_ROUNDS = 8
_BLOCK = 1024  # galaxies at once: their distances to all cells stay in the processor's cache


def number_of_cells(galaxies: int) -> int:
    """How many cells a survey has: the root of its size, at most 1,024.

    Parameters
    ----------
    galaxies : int

    Returns
    -------
    int

    Examples
    --------
    >>> number_of_cells(10_000), number_of_cells(10_000_000)
    (100, 1024)
    """
    return max(1, min(MOST_CELLS, int(galaxies**0.5)))


def fit_cells(sample: np.ndarray, count: int, seed: int) -> np.ndarray:
    """Centres of cells: k-means of a sample, eight rounds of it, begun with galaxies of the sample.

    Parameters
    ----------
    sample : ndarray of shape (M, D), float
        M at least `count`.
    count : int
        How many cells.
    seed : int
        Of the choice to begin with.

    Returns
    -------
    ndarray of shape (count, D), float32
    """
    sample = np.asarray(sample, np.float32)
    centres = sample[np.sort(np.random.default_rng(seed).choice(len(sample), count, replace=False))].copy()
    for _ in range(_ROUNDS):
        cell = cells_of(sample, centres)
        order = np.argsort(cell, kind="stable")
        held, begins, sizes = np.unique(cell[order], return_index=True, return_counts=True)
        centres[held] = np.add.reduceat(sample[order], begins, axis=0) / sizes[:, None]
    return centres


def cells_of(features: np.ndarray, centres: np.ndarray) -> np.ndarray:
    """The cell of each galaxy, that of the nearest centre.

    Parameters
    ----------
    features : ndarray of shape (N, D), float
    centres : ndarray of shape (K, D), float32

    Returns
    -------
    ndarray of shape (N,), int32

    Examples
    --------
    >>> import numpy as np
    >>> cells_of(np.array([[0.0], [9.0], [1.0]]), np.array([[0.0], [10.0]], np.float32)).tolist()
    [0, 1, 0]
    """
    blocks = (features[begin : begin + _BLOCK] for begin in range(0, len(features), _BLOCK))
    found = on_threads(lambda block: apart(block, centres).argmin(axis=1).astype(np.int32), blocks)
    return np.concatenate([np.empty(0, np.int32), *found])


def apart(features: np.ndarray, centres: np.ndarray) -> np.ndarray:
    """What orders centres by distance from each galaxy: half the squared distance, less half the galaxy's square.

    Parameters
    ----------
    features : ndarray of shape (N, D), float
    centres : ndarray of shape (K, D), float32

    Returns
    -------
    ndarray of shape (N, K), float32
    """
    return np.einsum("ij,ij->i", centres, centres) / 2 - np.asarray(features, np.float32) @ centres.T


class ExactNeighbours:
    """The exact neighbours of some galaxies of a survey that is read block by block.

    Parameters
    ----------
    queries : ndarray of shape (Q, D), float
        Features of the galaxies whose neighbours are sought.
    rows : ndarray of shape (Q,), int
        Their rows: none is its own neighbour.
    count : int
        How many neighbours.
    """

    def __init__(self, queries: np.ndarray, rows: np.ndarray, count: int):
        self._queries, self._own, self._count = np.asarray(queries, np.float64), rows, count
        self._halved = np.asarray(queries, np.float32)
        self._found = [(np.empty(0, np.int64), np.empty(0)) for _ in rows]
        self._limit = np.full(len(rows), np.inf, np.float32)
        self._rounding = 4 * (self._queries.shape[1] + 4) * float(np.finfo(np.float32).eps)
        self._norms = np.einsum("ij,ij->i", self._queries, self._queries)

    def look(self, first: int, features: np.ndarray) -> None:
        """Look at the next galaxies.

        Parameters
        ----------
        first : int
            Row of the first.
        features : ndarray of shape (N, D), float32
        """
        for begin in range(0, len(features), 8 * _BLOCK):
            block = features[begin : begin + 8 * _BLOCK]
            norms = np.einsum("ij,ij->i", block, block)
            # half of |x - q|^2 - |q|^2, and at most that by more than rounding
            below = (1 - self._rounding) * norms[:, None] / 2 - block @ self._halved.T
            hits = below <= self._limit
            for query in np.flatnonzero(hits.any(axis=0)):
                self._keep(int(query), first + begin, block, np.flatnonzero(hits[:, query]))

    def _keep(self, query: int, first: int, block: np.ndarray, hits: np.ndarray) -> None:
        hits = hits[first + hits != self._own[query]]
        squares = ((block[hits].astype(np.float64) - self._queries[query]) ** 2).sum(axis=1)
        rows, before = self._found[query]
        rows, squares = np.concatenate([rows, first + hits]), np.concatenate([before, squares])
        best = np.argsort(squares, kind="stable")[: self._count]
        self._found[query] = rows[best], squares[best]
        if len(best) == self._count:
            norm = self._norms[query]
            self._limit[query] = (squares[best[-1]] - norm) / 2 + self._rounding * (squares[best[-1]] + norm)

    def rows(self) -> np.ndarray:
        """The neighbours found.

        Returns
        -------
        ndarray of shape (Q, min(count, N - 1)), int64
            Rows, nearest first.
        """
        return np.stack([rows for rows, _ in self._found])


def cells_to_read(ranks: np.ndarray, wanted: float) -> int:
    """How many of the nearest cells a search has to read so that it finds a share of the neighbours.

    Parameters
    ----------
    ranks : ndarray of int
        For neighbours of a sample: which of the cells nearest to the galaxy holds it, 0 the nearest.
    wanted : float
        The share.

    Returns
    -------
    int

    Examples
    --------
    >>> import numpy as np
    >>> cells_to_read(np.array([0, 0, 1, 5]), 0.75), cells_to_read(np.array([0, 0, 1, 5]), 1.0)
    (2, 6)
    """
    ordered = np.sort(ranks, axis=None)
    return int(ordered[max(0, int(np.ceil(wanted * len(ordered))) - 1)]) + 1
