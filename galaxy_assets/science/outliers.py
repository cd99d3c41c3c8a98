"""How strange a galaxy is among the others, without any score of a person (paper 7.1).

Belongs here: the isolation forest and the local outlier factor. Does not belong here: the search that begins with them
(`active_learning`), which galaxies they are fitted to (`samples`).
"""

import numpy as np

from galaxy_assets.science.parallel import on_threads

_SCORED = 65_536  # galaxies that one thread takes through a forest
_BLOCK = 8192  # galaxies whose neighbours are looked for at once


def unsupervised_score(
    features: np.ndarray, seed: int, among: np.ndarray | None = None, trees: int = 100
) -> np.ndarray:
    """How isolated each galaxy is among all, or among others: an isolation forest, for a survey without scores.

    The ranking before anybody has scored anything (Lochner & Bassett 2021 start from the same algorithm).

    Parameters
    ----------
    features : ndarray of shape (N, D)
        Principal components.
    seed : int
        Of the forest.
    among : ndarray of shape (M, D), optional
        The galaxies that it is grown of, all unless given.
    trees : int
        How many; the more, the less the order hangs on the seed and on rounding.

    Returns
    -------
    score : ndarray of shape (N,), float64
        Larger is stranger.

    Examples
    --------
    >>> import numpy as np
    >>> from galaxy_assets.science.outliers import unsupervised_score
    >>> features = np.random.default_rng(0).normal(size=(50, 3))
    >>> features[17] = 9
    >>> int(unsupervised_score(features, seed=0).argmax())
    17
    """
    from sklearn.ensemble import IsolationForest

    forest = IsolationForest(n_estimators=trees, random_state=seed).fit(features if among is None else among)
    # what is said of a galaxy depends on no other, so that blocks may be counted beside each other
    blocks = (features[begin : begin + _SCORED] for begin in range(0, len(features), _SCORED))
    scores = np.concatenate(list(on_threads(forest.score_samples, blocks)))
    return np.negative(scores, out=scores)


def outlier_factor(features: np.ndarray, among: np.ndarray | None = None) -> np.ndarray:
    """Local outlier factor of each galaxy among its 20 neighbours: a baseline.

    Parameters
    ----------
    features : ndarray of shape (N, D)
        Principal components.
    among : ndarray of shape (M,), int, optional
        Rows that neighbours are looked for in; all unless given. Other galaxies are novelties to these.

    Returns
    -------
    ndarray of shape (N,), float64
        Larger is stranger.
    """
    from sklearn.neighbors import LocalOutlierFactor

    if len(features) < 2:
        return np.ones(len(features))
    if among is None:
        return -LocalOutlierFactor(min(20, len(features) - 1)).fit(features).negative_outlier_factor_
    known = LocalOutlierFactor(min(20, len(among) - 1), novelty=True).fit(features[among])
    factor = np.empty(len(features))
    for begin in range(0, len(features), _BLOCK):
        factor[begin : begin + _BLOCK] = -known.score_samples(features[begin : begin + _BLOCK])
    factor[among] = -known.negative_outlier_factor_
    return factor
