"""Principal components of the representations (paper 4.2).

Belongs here: fitting, applying a model, and keeping it as a table. Does not belong here: the mixture or the map made
from them.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import chain

import numpy as np
import pyarrow as pa

from galaxy_assets.science.parallel import blas_on_one, on_threads

_BLOCK = 4096  # galaxies at once
_FOLDS, _MEASURED, _WIDE = 5, 20_000, 2048
LEFT_OUT = "residual of galaxies left out"
"""What the footer of `pca_model` has of galaxies that were not fitted to."""


@dataclass(frozen=True)
class PcaModel:
    """A fitted set of K principal components of D features, float32.

    Attributes
    ----------
    mean : ndarray of shape (D,)
    components : ndarray of shape (K, D)
    explained_variance : ndarray of shape (K,)
    explained_variance_ratio : ndarray of shape (K,)
        Of the variance to the total.
    """

    mean: np.ndarray
    components: np.ndarray
    explained_variance: np.ndarray
    explained_variance_ratio: np.ndarray

    @property
    def deviations(self) -> np.ndarray:
        """Standard deviation of each component over the galaxies it was fitted to, (K,) float64."""
        return np.sqrt(self.explained_variance.astype(np.float64))

    def transform(self, features: np.ndarray) -> np.ndarray:
        """Project features on the components.

        Parameters
        ----------
        features : ndarray of shape (N, D)

        Returns
        -------
        ndarray of shape (N, K), float32

        Examples
        --------
        >>> import numpy as np
        >>> from galaxy_assets.science.pca import fit
        >>> model = fit(np.array([[0.0, 0.0], [2.0, 0.0], [4.0, 0.0]]), variance=0.95)
        >>> abs(model.transform(np.array([[2.0, 7.0], [4.0, 0.0]]))).tolist()
        [[0.0], [2.0]]
        """
        blocks = on_threads(lambda block: (block - self.mean) @ self.components.T, _blocks(features))
        projected, end = np.empty((len(features), len(self.components)), np.float32), 0
        for block in blocks:
            begin, end = end, end + len(block)
            projected[begin:end] = block
        return projected

    def residual(self, features: np.ndarray) -> float:
        """Mean variance of galaxies outside the components, in units of what it is for those it was fitted to.

        Parameters
        ----------
        features : ndarray of shape (N, D)

        Returns
        -------
        float
            1 for the fitted galaxies; of others of the same sky more, the fewer were fitted.

        Examples
        --------
        >>> import numpy as np
        >>> from galaxy_assets.science.pca import fit
        >>> features = np.random.default_rng(0).normal(size=(4000, 4)) * [10, 5, 1, 1]
        >>> model = fit(features[:2000], variance=0.95)
        >>> others = features[2000:]
        >>> round(model.residual(others), 1), round(model.residual(3 * (others - model.mean) + model.mean) / 9, 1)
        (1.0, 1.0)
        """
        centred = (features - self.mean).astype(np.float64)
        within = centred @ self.components.T.astype(np.float64)
        variance = self.explained_variance.sum(dtype=np.float64)
        total = variance / self.explained_variance_ratio.sum(dtype=np.float64)
        outside = max(total - variance, np.finfo(np.float32).eps * total)
        residual = np.maximum((centred**2).sum(axis=1) - (within**2).sum(axis=1), 0)
        return float(residual.mean() / outside)


def fit(features: np.ndarray | Iterable[np.ndarray], variance: float) -> PcaModel:
    """Keep the fewest components that explain more than a share of the variance, as scikit-learn's PCA without scaling.

    Products of float32 features are summed in float64 over blocks of 4096, which keeps variances to 1e-6, where the one
    float32 product of scikit-learn loses the last components; less than one block is multiplied in float64. Memory
    beyond the features is of the order of D x D.

    Parameters
    ----------
    features : ndarray of shape (N, D), or iterable of such blocks
        Blocks come one after the other, such as batches read from disk.
    variance : float
        Share in (0, 1]; 1 keeps every component that has variance beyond rounding.

    Returns
    -------
    model : PcaModel

    Raises
    ------
    ValueError
        For fewer than two galaxies, or features that are all equal.

    Examples
    --------
    >>> import numpy as np
    >>> from galaxy_assets.science.pca import fit
    >>> features = np.random.default_rng(0).normal(size=(1000, 4)) * [10, 5, 0.1, 0.1]
    >>> model = fit(features, variance=0.95)
    >>> len(model.components), model.transform(features).shape
    (2, (1000, 2))
    """
    n, collapsed, blocks = 0, True, _blocks(features)
    begun = next(blocks, np.zeros((1, 0)))
    # products of features far from 0 would cancel; those of differences to a mean do not
    dtype = np.result_type(begun, np.float32 if len(begun) == _BLOCK else np.float64)
    first, shift = begun[0], begun.mean(axis=0, dtype=np.float64).astype(dtype)
    total, products = np.zeros(len(shift)), np.zeros((len(shift), len(shift)))

    def summed(block: np.ndarray) -> tuple[int, bool, np.ndarray, np.ndarray]:
        difference = block - shift
        ones = np.ones(len(block), difference.dtype)
        equal = bool((block[-1] == first).all() and (block == first).all())
        return len(block), equal, ones @ difference, difference.T @ difference

    for count, equal, own, squares in on_threads(summed, chain([begun], blocks)):
        n, collapsed = n + count, collapsed and equal
        total += own
        products += squares
    if n < 2:
        raise ValueError(f"PCA needs at least two galaxies, got {n if len(shift) else 0}; is the clean set empty?")
    if collapsed:
        raise ValueError("all features are equal: the representation has collapsed; look at byol_checkpoints")
    mean = total / n
    with blas_on_one():  # beside a busy process its threads wait for each other a hundred times as long
        variances, axes = np.linalg.eigh((products - n * np.outer(mean, mean)) / (n - 1))
    variances, axes = np.maximum(variances[::-1], 0)[: min(n, len(mean))], axes.T[::-1][: min(n, len(mean))]
    ratio = variances / variances.sum()
    some = int((variances > np.finfo(np.float32).eps * variances[0]).sum())  # the rest is rounding
    k = some if variance == 1 else min(int(np.cumsum(ratio).searchsorted(variance, side="right")) + 1, some)
    # scikit-learn's signs: the largest entry of each component is positive
    largest = np.take_along_axis(axes, np.abs(axes).argmax(axis=1)[:, None], axis=1)
    arrays = (mean + shift, (axes * np.sign(largest))[:k], variances[:k], ratio[:k])
    return PcaModel(*(array.astype(np.float32) for array in arrays))


def left_out(blocks: Iterable[np.ndarray], n: int, variance: float) -> dict[str, float]:
    """The `residual` of galaxies like the fitted ones that were not fitted to, the mean over five folds.

    Of more than 2,048 features one fold is measured. No formula of the numbers of galaxies and components has it: for
    images of a survey it is up to twice what independent Gaussian features have.

    Parameters
    ----------
    blocks : iterable of ndarray of shape (n, D)
        Features that components are fitted to.
    n : int
        Their number.
    variance : float
        As `fit` takes it.

    Returns
    -------
    dict of str to float
        By the name LEFT_OUT. Empty for fewer than ten galaxies, for more than 20,000, of which others are as the
        fitted, and where all but a few have the same features.

    Examples
    --------
    >>> import numpy as np
    >>> from galaxy_assets.science.pca import left_out
    >>> features = np.random.default_rng(0).normal(size=(2000, 4)) * [10, 5, 1, 1]
    >>> round(left_out([features], 2000, 0.95)["residual of galaxies left out"], 1)
    1.0
    """
    if not 2 * _FOLDS <= n <= _MEASURED:
        return {}
    features, fold = np.vstack(list(blocks)), np.random.default_rng(0).permutation(n) % _FOLDS
    folds = _FOLDS if features.shape[1] <= _WIDE else 1  # an eigendecomposition for each
    parts = ((features[fold != i], features[fold == i]) for i in range(folds))
    found = [fit(own, variance).residual(others) for own, others in parts if (own != own[0]).any()]
    return {LEFT_OUT: float(np.mean(found))} if found else {}


def _blocks(features: np.ndarray | Iterable[np.ndarray]) -> Iterator[np.ndarray]:
    """Blocks of at most _BLOCK galaxies, in order, without empty ones."""
    for part in [features] if isinstance(features, np.ndarray) else features:
        for begin in range(0, len(part), _BLOCK):
            yield part[begin : begin + _BLOCK]


def model_to_table(model: PcaModel, init: str) -> pa.Table:
    """`pca_model`: a row for the mean and then one for each component.

    Parameters
    ----------
    model : PcaModel
        What was fitted.
    init : str
        Start weights of the features that it was fitted to.

    Returns
    -------
    pyarrow.Table
        init, component (null for the mean), explained_variance, explained_variance_ratio, vector (float32[D]).
    """
    k = len(model.components)
    vectors = np.vstack([model.mean, model.components]).astype(np.float32)
    return pa.table(
        {
            "init": [init] * (k + 1),
            "component": pa.array([None, *range(k)], pa.int32()),
            "explained_variance": pa.array([None, *model.explained_variance.tolist()], pa.float32()),
            "explained_variance_ratio": pa.array([None, *model.explained_variance_ratio.tolist()], pa.float32()),
            "vector": pa.FixedSizeListArray.from_arrays(pa.array(vectors.reshape(-1)), vectors.shape[1]),
        }
    )


def table_to_model(table: pa.Table) -> PcaModel:
    """Read the model from the rows of `pca_model`.

    Parameters
    ----------
    table : pyarrow.Table

    Returns
    -------
    PcaModel
    """
    vectors = np.stack(table["vector"].to_numpy(zero_copy_only=False))
    explained = (table[name].to_numpy()[1:] for name in ("explained_variance", "explained_variance_ratio"))
    return PcaModel(vectors[0], vectors[1:], *explained)
