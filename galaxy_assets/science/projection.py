"""UMAP, for looking only: clusters, rankings and searches read the principal components (paper 3.2, 4.2).

Belongs here: fitting a map, placing galaxies on a fitted one, and keeping it as a table. Does not belong here: what is
drawn on it.
"""

import hashlib
import logging
import time
import warnings
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from galaxy_assets.science.compiled import have_place
from galaxy_assets.settings.progress import Progress, tell
from galaxy_assets.settings.structure import Umap

log = logging.getLogger(__name__)

_TOLD_EVERY = 10.0  # seconds
_REFERENCE = 20_000  # galaxies whose features the map keeps to place others by: 100 MB of a ResNet-18's
_BLOCK = 4096  # galaxies placed at once
_ROUNDING = 1e-3  # of the features' spread: other machines change less, and galaxies differ by more


def umap_xy(features: np.ndarray, settings: Umap) -> np.ndarray:
    """Two-dimensional UMAP (McInnes et al. 2018), deterministic under the settings' seed.

    With four galaxies or fewer there is no neighbourhood graph: the result is their first two features less those of
    the first galaxy, and the log says so.

    Parameters
    ----------
    features : ndarray of shape (N, D)
    settings : Umap
        Of the survey.

    Returns
    -------
    ndarray of shape (N, 2), float32
    """
    n = len(features)
    if n <= 4:
        log.warning("UMAP of %d galaxies: too few for a neighbourhood graph, drawing the first two features", n)
        flat = np.zeros((n, 2), np.float32)
        flat[:, : min(2, features.shape[1])] = features[:, :2] - features[:1, :2]
        return flat
    # torch first: what is loaded afterwards would keep the number of threads that numba asks its OpenMP library for,
    # and a sum of as many parts: the same training after a fit and without one would end in other weights
    import torch  # noqa: F401

    have_place()
    import umap
    from threadpoolctl import threadpool_limits

    reducer = umap.UMAP(
        n_neighbors=min(settings.n_neighbors, n - 1),
        min_dist=settings.min_dist,
        random_state=settings.seed,
        n_jobs=1,  # a seeded layout is single-threaded; saying so keeps umap from warning about it
        # spectral initialisation needs more galaxies than its eigenvectors
        init="spectral" if n > 15 else "random",
        tqdm_kwds={"disable": False, "file": _Epochs(), "bar_format": "{n} of {total}", "mininterval": _TOLD_EVERY},
    )
    log.info("UMAP of %d galaxies, %d features each: first their neighbours, then epochs", n, features.shape[1])
    begun = time.monotonic()
    with warnings.catch_warnings(), threadpool_limits(limits=None):  # restored when the block ends
        warnings.filterwarnings("ignore", message="Graph is not fully connected")
        xy = np.asarray(reducer.fit_transform(features.astype(np.float32)), np.float32)
    log.info("UMAP of %d galaxies took %.0f s", n, time.monotonic() - begun)
    return xy


class _Epochs:
    """What UMAP's progress bar writes to: progress each time."""

    def write(self, text: str) -> None:
        if count := text.strip():
            done, total = map(int, count.split(" of "))
            tell(log, Progress("UMAP", done, total, "epochs"))

    def flush(self) -> None:
        """Nothing is held back."""


@dataclass(frozen=True)
class FittedMap:
    """A UMAP that other galaxies can be placed on.

    Attributes
    ----------
    xy : ndarray of shape (N, 2), float32
        Positions of the fitted galaxies.
    keys : ndarray of shape (N,), int64
        See `feature_keys`.
    reference : ndarray of shape (M,), int64
        Rows of the galaxies that the map keeps features of, up to 20,000.
    features : ndarray of shape (M, D), float32
        Of the reference.
    """

    xy: np.ndarray
    keys: np.ndarray
    reference: np.ndarray
    features: np.ndarray

    def place(self, features: np.ndarray, keys: np.ndarray, settings: Umap) -> np.ndarray:
        """Positions of galaxies on the map.

        A galaxy that the map was fitted to lies where it was: it is known by its key, or by a galaxy of the reference
        with the same features but for the last digits, which differ between machines. Another one lies at the mean of
        its nearest neighbours in the reference, weighted by UMAP's membership strengths: where umap-learn's `transform`
        begins, without the optimisation that follows there, so that a galaxy's place depends on no other of its
        delivery.

        Parameters
        ----------
        features : ndarray of shape (n, D)
        keys : ndarray of shape (n,), int64
            `feature_keys` of the features.
        settings : Umap
            `n_neighbors` is used.

        Returns
        -------
        ndarray of shape (n, 2), float32
        """
        from sklearn.neighbors import NearestNeighbors

        order = np.argsort(self.keys, kind="stable")

        def fitted(keys: np.ndarray) -> np.ndarray:
            return order[np.minimum(np.searchsorted(self.keys[order], keys), len(order) - 1)]

        at = fitted(keys)
        xy = self.xy[at].copy()
        new = np.flatnonzero(self.keys[at] != keys)
        rounding = _ROUNDING * np.sqrt(self.features.var(axis=0, dtype=np.float64).sum())
        search = NearestNeighbors(n_neighbors=min(settings.n_neighbors, len(self.features)), algorithm="brute")
        search.fit(self.features)
        for begin in range(0, len(new), _BLOCK):
            rows = new[begin : begin + _BLOCK]
            distances, near = search.kneighbors(features[rows].astype(np.float32))
            weights = membership_strengths(distances.astype(np.float64))
            xy[rows] = (weights[:, :, None] * self.xy[self.reference[near]]).sum(axis=1)
            same = distances[:, 0] <= rounding
            xy[rows[same]] = self.xy[fitted(self.keys[self.reference[near[same, 0]]])]  # of copies the first, as by key
        return xy


def fit_map(features: np.ndarray, keys: np.ndarray, settings: Umap) -> FittedMap:
    """Fit a map to a survey's features.

    Parameters
    ----------
    features : ndarray of shape (N, D)
        Embeddings.
    keys : ndarray of shape (N,)
        `feature_keys` of the features, by which a galaxy that was fitted keeps its place.
    settings : Umap
        Of the survey.

    Returns
    -------
    fitted : FittedMap
        Its reference is all galaxies, or a seeded sample of 20,000.

    Examples
    --------
    >>> import numpy as np
    >>> from galaxy_assets.science.projection import feature_keys, fit_map
    >>> from galaxy_assets.settings.structure import Umap
    >>> features = np.random.default_rng(0).normal(size=(40, 5)).astype(np.float32)
    >>> fit_map(features, feature_keys(features), Umap(n_neighbors=5)).xy.shape
    (40, 2)
    """
    n = len(features)
    reference = np.arange(n)
    if n > _REFERENCE:
        reference = np.sort(np.random.default_rng(settings.seed).choice(n, _REFERENCE, replace=False))
    return FittedMap(umap_xy(features, settings), keys, reference, features[reference])


def membership_strengths(distances: np.ndarray) -> np.ndarray:
    """Weights of neighbours, adding up to one per galaxy.

    UMAP's smooth kernel (McInnes et al. 2018, section 3.1) as umap-learn sets it for new points: exp(-d / sigma), with
    sigma such that the sum over all but the nearest is log2(k). Where a neighbour is at distance zero, it has all the
    weight.

    Parameters
    ----------
    distances : ndarray of shape (n, k)
        Nearest first.

    Returns
    -------
    ndarray of shape (n, k), float64
    """
    k = distances.shape[1]
    low, high = np.zeros(len(distances)), np.full(len(distances), np.inf)
    sigma = np.maximum(distances.mean(axis=1), np.finfo(np.float64).tiny)
    for _ in range(64):
        too_wide = np.exp(-distances[:, 1:] / sigma[:, None]).sum(axis=1) > np.log2(k)
        low, high = np.where(too_wide, low, sigma), np.where(too_wide, sigma, high)
        sigma = np.where(np.isinf(high), 2 * low, (low + high) / 2)
    sigma = np.maximum(sigma, 1e-3 * np.maximum(distances.mean(axis=1), np.finfo(np.float64).tiny))
    weights = np.exp(-distances / sigma[:, None])
    here = distances == 0
    weights = np.where(here.any(axis=1, keepdims=True), here, weights)
    return weights / weights.sum(axis=1, keepdims=True)


def feature_keys(features: np.ndarray) -> np.ndarray:
    """A number by which the map knows each galaxy: a digest of its features as stored, float32.

    Keys are of the embeddings, not of their principal components: the same product of matrices over another number of
    rows may differ in its last bit.

    Parameters
    ----------
    features : ndarray of shape (N, D)
        Embeddings.

    Returns
    -------
    ndarray of shape (N,), int64
    """
    rows = np.ascontiguousarray(features, np.float32)
    digests = b"".join(hashlib.blake2b(row.tobytes(), digest_size=8).digest() for row in rows)
    return np.frombuffer(digests, np.int64)


def model_to_table(model: FittedMap) -> pa.Table:
    """Make the table of a map.

    Parameters
    ----------
    model : FittedMap

    Returns
    -------
    pyarrow.Table
        x, y, features_key and, for the reference, vector; a row per fitted galaxy.
    """
    rows = np.full(len(model.xy), -1)
    rows[model.reference] = np.arange(len(model.reference))
    flat = pa.array(np.ascontiguousarray(model.features, np.float32).reshape(-1))
    vectors = pa.FixedSizeListArray.from_arrays(flat, model.features.shape[1])
    return pa.table(
        {
            "x": model.xy[:, 0],
            "y": model.xy[:, 1],
            "features_key": model.keys,
            "vector": vectors.take(pa.array(rows, mask=rows < 0)),
        }
    )


def table_to_model(table: pa.Table) -> FittedMap:
    """Read the map from the rows of a `umap_model` or `artefact_umap_model`.

    Parameters
    ----------
    table : pyarrow.Table

    Returns
    -------
    FittedMap
    """
    kept = table["vector"].is_valid()
    reference = np.flatnonzero(kept.to_numpy(zero_copy_only=False))
    xy = np.column_stack([table[name].to_numpy() for name in ("x", "y")])
    vectors = table.filter(kept)["vector"].combine_chunks()
    features = vectors.flatten().to_numpy(zero_copy_only=False).reshape(-1, vectors.type.list_size)
    return FittedMap(xy, table["features_key"].to_numpy(), reference, features)
