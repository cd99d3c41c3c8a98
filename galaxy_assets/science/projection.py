"""UMAP, for looking only: clusters, rankings and searches read the principal components (paper 3.2, 4.2)."""

import logging
import warnings

import numpy as np

from galaxy_assets.surveys.model import Umap

log = logging.getLogger(__name__)


def umap_xy(features: np.ndarray, settings: Umap) -> np.ndarray:
    """Two-dimensional UMAP of features (N, D) as (N, 2) float32; deterministic under the settings' seed.

    With four galaxies or fewer there is no neighbourhood graph to draw; the first two columns, from the first galaxy,
    are returned and said so in the log.
    """
    n = len(features)
    if n <= 4:
        log.warning("UMAP of %d galaxies: too few for a neighbourhood graph, drawing the first two features", n)
        flat = np.zeros((n, 2), np.float32)
        flat[:, : min(2, features.shape[1])] = features[:, :2] - features[:1, :2]
        return flat
    import umap

    reducer = umap.UMAP(
        n_neighbors=min(settings.n_neighbors, n - 1),
        min_dist=settings.min_dist,
        random_state=settings.seed,
        n_jobs=1,  # a seeded layout is single-threaded; saying so keeps umap from warning about it
        # spectral initialisation needs more galaxies than its eigenvectors
        init="spectral" if n > 15 else "random",
    )
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Graph is not fully connected")
        return np.asarray(reducer.fit_transform(features.astype(np.float32)), np.float32)
