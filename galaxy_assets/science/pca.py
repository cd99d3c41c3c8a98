"""Principal components of the representations (paper 4.2).

Belongs here: fitting, and applying a model kept as arrays. Does not belong here: the mixture or the map made from them.
"""

from dataclasses import dataclass

import numpy as np
import pyarrow as pa


@dataclass(frozen=True)
class PcaModel:
    """Mean (D,), components (K, D) and their explained variance (K,) with its ratio to the total, float32."""

    mean: np.ndarray
    components: np.ndarray
    explained_variance: np.ndarray
    explained_variance_ratio: np.ndarray

    def transform(self, features: np.ndarray) -> np.ndarray:
        """Project features (N, D) to (N, K) float32."""
        return ((features - self.mean) @ self.components.T).astype(np.float32)


def fit(features: np.ndarray, variance: float) -> PcaModel:
    """Keep the fewest components that explain more than `variance` of the total (scikit-learn's PCA, no scaling).

    Parameters
    ----------
    features : (N, D) float.
    variance : share in (0, 1].

    Raises ValueError for fewer than two galaxies or for features that are all equal.
    """
    from sklearn.decomposition import PCA

    if len(features) < 2:
        raise ValueError(f"PCA needs at least two galaxies, got {len(features)}; is the clean set empty?")
    if np.ptp(features, axis=0).max() == 0:
        raise ValueError("all features are equal: the representation has collapsed; look at byol_checkpoints")
    pca = PCA(n_components=variance if variance < 1 else None, svd_solver="full" if len(features) < 50 else "auto")
    pca.fit(features.astype(np.float64))
    return PcaModel(
        *(np.asarray(a, np.float32) for a in (pca.mean_, pca.components_)),
        *(np.asarray(a, np.float32) for a in (pca.explained_variance_, pca.explained_variance_ratio_)),
    )


def table_to_model(table: pa.Table) -> PcaModel:
    """The model that the rows of `pca_model` hold: the mean, then each component."""
    vectors = np.stack(table["vector"].to_numpy(zero_copy_only=False))
    explained = (table[name].to_numpy()[1:] for name in ("explained_variance", "explained_variance_ratio"))
    return PcaModel(vectors[0], vectors[1:], *explained)
