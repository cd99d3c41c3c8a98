"""The Gaussian process that predicts a score for every galaxy from the few that have one (paper 7.1).

Belongs here: fitting it, keeping it as plain arrays and as a table, and predicting from these in blocks. Does not
belong here: what is done with a prediction (`active_learning`).
"""

import logging
import warnings
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

log = logging.getLogger(__name__)

_PRIOR_STD = 2.5  # half the scale of scores
_BLOCK = 1024  # galaxies predicted at once: their covariances stay in the processor's cache
_ROWS = 64  # of the triangular inverse at once: what lies beyond its diagonal is not multiplied
_JITTER = 1e-10  # scikit-learn's alpha

COLUMNS = pa.schema(
    [("amplitude", pa.float64()), ("length_scale", pa.float64()), ("noise", pa.float64()), ("kernel", pa.string())]
)
"""Columns of a process kept as a table."""


@dataclass(frozen=True)
class GaussianProcess:
    """A Gaussian process of mean 0 with kernel amplitude * Matern(length_scale, nu=1.5) + white noise, conditioned on L
    scores, as what it takes to predict.

    scale (D,) float64, by which features are divided; labelled (L, D) float64, the features of the scored galaxies
    before that; scores (L,) float64; amplitude, length_scale, noise (amplitude and noise are variances); the kernel in
    words; the hyper-parameters that ended `at_bounds`: the likelihood has no optimum in them.
    """

    scale: np.ndarray
    labelled: np.ndarray
    scores: np.ndarray
    amplitude: float
    length_scale: float
    noise: float
    kernel: str
    at_bounds: tuple[str, ...]

    def predict(self, features: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Mean and standard deviation of the score, noise included, of features (N, D): (N,) float64 each, as
        scikit-learn's `GaussianProcessRegressor.predict`: the mean to 1e-12, the deviation, from products in
        float32, to 1e-6. Memory beyond them does not grow with N.
        """
        from scipy.linalg import cho_solve, cholesky, solve_triangular

        stretch = np.sqrt(3) / (self.scale * self.length_scale)
        origin = self.labelled.mean(axis=0)
        known = (self.labelled - origin) * stretch
        size = len(known)
        covariance = self.amplitude * _correlation(known, known)
        covariance[np.diag_indices(size)] += self.noise + _JITTER
        factor = cholesky(covariance, lower=True)
        weights = self.amplitude * cho_solve((factor, True), self.scores)
        # as a product, which a triangular solver takes twice as long for; float32 moves a variance by some 1e-6 of the
        # amplitude, times the root of amplitude / noise
        inverse = self.amplitude * solve_triangular(factor, np.eye(size), lower=True)
        inverse = inverse.astype(np.float32 if self.noise > self.amplitude / 100 else np.float64)
        mean, variance = np.empty(len(features)), np.full(len(features), self.amplitude + self.noise)
        for begin in range(0, len(features), _BLOCK):
            part = slice(begin, begin + _BLOCK)
            correlation = _correlation((features[part] - origin) * stretch, known)
            mean[part] = correlation @ weights
            correlation = correlation.astype(inverse.dtype)
            for row in range(0, size, _ROWS):
                end = min(row + _ROWS, size)  # beyond it the rows are 0
                explained = correlation[:, :end] @ inverse[row:end, :end].T
                variance[part] -= np.einsum("ij,ij->i", explained, explained)
        return mean, np.sqrt(np.maximum(variance, 0))

    def to_table(self) -> pa.Table:
        """One row of role `scale` with the kernel (`COLUMNS`), and the scale as its `vector`, float64."""
        kept = {
            name: pa.array([getattr(self, name)], kind) for name, kind in zip(COLUMNS.names, COLUMNS.types, strict=True)
        }
        scale = pa.array(np.ascontiguousarray(self.scale, np.float64))
        return pa.table(
            {"role": ["scale"], **kept, "vector": pa.FixedSizeListArray.from_arrays(scale, len(self.scale))}
        )


def _correlation(galaxies: np.ndarray, known: np.ndarray) -> np.ndarray:
    """Matern correlation with nu = 1.5, (N, L), of features in units of the length scale over the root of 3."""
    # |a - b|^2 = |a|^2 - 2 a b + |b|^2 in one product
    norms = np.einsum("ij,ij->i", galaxies, galaxies)[:, None]
    left = np.hstack([galaxies, norms, np.ones_like(norms)])
    right = np.hstack([-2 * known, np.ones((len(known), 1)), np.einsum("ij,ij->i", known, known)[:, None]])
    distance = left @ right.T
    # of galaxies that nearly coincide the difference of large squares says nothing
    row, column = np.divmod(np.flatnonzero(distance < 4e-6 * norms), len(known))
    distance[row, column] = ((galaxies[row] - known[column]) ** 2).sum(axis=1)
    np.sqrt(distance, out=distance)
    correlation = np.exp(-distance)
    distance += 1
    correlation *= distance
    return correlation


def standard_deviations(features: np.ndarray) -> np.ndarray:
    """Of each feature of (N, D) over all galaxies, (D,) float64. Memory does not grow with N."""
    mean, squares = features.mean(axis=0, dtype=np.float64), np.zeros(features.shape[1])
    for begin in range(0, len(features), _BLOCK):
        centred = features[begin : begin + _BLOCK] - mean
        squares += np.einsum("ij,ij->j", centred, centred)
    return np.sqrt(squares / len(features))


def table_to_process(table: pa.Table, labelled: np.ndarray, scores: np.ndarray) -> GaussianProcess:
    """The process that `GaussianProcess.to_table` kept, of the features (L, D) and the scores (L,) that it was
    conditioned on.
    """
    kernel = {name: table[name][0].as_py() for name in COLUMNS.names}
    scale = table["vector"].combine_chunks().flatten().to_numpy(zero_copy_only=False)
    return GaussianProcess(scale=scale, labelled=labelled, scores=scores, at_bounds=(), **kernel)


def fit_by_likelihood(labelled: np.ndarray, scores: np.ndarray) -> GaussianProcess:
    """The process as Astronomaly's `protege.GaussianProcess` has it.

    The kernel is Matern(nu=1.5) + white noise, both from 1 and without an amplitude, on the features as they are.
    Hyper-parameters are scikit-learn's optimum, and one that ends at its bound is warned of.

    Parameters
    ----------
    labelled : ndarray of shape (L, D)
        Principal components of the scored galaxies, unscaled.
    scores : ndarray of shape (L,)
        0-5.
    """
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.gaussian_process import GaussianProcessRegressor
    from sklearn.gaussian_process.kernels import Matern, WhiteKernel

    labelled, scores = np.asarray(labelled, np.float64), np.asarray(scores, np.float64)
    process = GaussianProcessRegressor(Matern(nu=1.5) + WhiteKernel())
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # of bounds, which are told below
        process.fit(labelled, scores)
    kernel = process.kernel_
    at_bounds = tuple(
        f"{hyperparameter.name.split('__')[-1]} = {np.exp(value):.3g}"
        for hyperparameter, value, bounds in zip(kernel.hyperparameters, kernel.theta, kernel.bounds, strict=True)
        if np.isclose(value, bounds).any()
    )
    if at_bounds:
        log.warning("Gaussian process on %d scores: at its bound: %s", len(scores), ", ".join(at_bounds))
    length_scale, noise = float(kernel.k1.length_scale), float(kernel.k2.noise_level)
    return GaussianProcess(
        np.ones(labelled.shape[1]), labelled, scores, 1.0, length_scale, noise, str(kernel), at_bounds
    )


def fit_with_fixed_kernel(labelled: np.ndarray, scores: np.ndarray, std: np.ndarray) -> GaussianProcess:
    """The process with a kernel that the scores have no part in.

    Every component is divided by the square root of its standard deviation, half way to standardised ones. The length
    scale is the median distance between labelled galaxies, a priori the score is 0 +- 2.5, and the noise has half that
    variance. Nothing is optimised: among few anomalies the likelihood can be highest where all of them are noise
    (docs/anomaly-search.md).

    Parameters
    ----------
    labelled : ndarray of shape (L, D)
        Principal components of the scored galaxies, unscaled.
    scores : ndarray of shape (L,)
        0-5.
    std : ndarray of shape (D,)
        Standard deviation of each component over the survey; 0 where it is constant.
    """
    from scipy.spatial.distance import pdist
    from sklearn.gaussian_process.kernels import ConstantKernel, Matern, WhiteKernel

    labelled, scores = np.asarray(labelled, np.float64), np.asarray(scores, np.float64)
    scale = np.sqrt(np.where(std > 0, std, 1.0))
    distance = float(np.median(pdist(labelled / scale))) if len(labelled) > 1 else 0.0
    amplitude, length_scale, noise = _PRIOR_STD**2, distance or 1.0, _PRIOR_STD**2 / 2
    kernel = ConstantKernel(amplitude) * Matern(length_scale, nu=1.5) + WhiteKernel(noise)
    return GaussianProcess(scale, labelled, scores, amplitude, length_scale, noise, str(kernel), ())
