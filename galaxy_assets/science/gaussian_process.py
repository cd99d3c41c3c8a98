"""The Gaussian process that predicts a score for every galaxy from the few that have one (paper 7.1).

Belongs here: fitting it, keeping it as plain arrays and as a table, and predicting from these in blocks. Does not
belong here: what is done with a prediction (`active_learning`).
"""

import logging
import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from galaxy_assets.science.devices import on_a_gpu
from galaxy_assets.science.parallel import on_threads

if TYPE_CHECKING:
    import torch

log = logging.getLogger(__name__)

_PRIOR_STD = 2.5  # half the scale of scores
_GRADED_POWER = 0.25  # of the standard deviation by which a component is divided
_GRADED_LENGTH = 4.0  # in median distances between labelled galaxies
_ON_A_GPU = 50_000  # galaxies from which the way to a GPU is thought to pay
_BLOCK = 1024  # galaxies predicted at once: their covariances stay in the processor's cache
_ROWS = 64  # of the triangular inverse at once: what lies beyond its diagonal is not multiplied
_JITTER = 1e-10  # scikit-learn's alpha

COLUMNS = pa.schema(
    [("amplitude", pa.float64()), ("length_scale", pa.float64()), ("noise", pa.float64()), ("kernel", pa.string())]
)
"""Columns of a process kept as a table."""


@dataclass(frozen=True)
class GaussianProcess:
    """A Gaussian process conditioned on L scores, as the arrays that predict.

    Its kernel is amplitude * Matern(length_scale, nu=1.5) + white noise.

    Attributes
    ----------
    scale : ndarray of shape (D,), float64
        Features are divided by it.
    labelled : ndarray of shape (L, D), float64
        Features of the scored galaxies before that.
    scores : ndarray of shape (L,), float64
    amplitude, noise : float
        Variances.
    length_scale : float
        In units of the divided features.
    kernel : str
        In words.
    at_bounds : tuple of str
        Hyper-parameters that ended at a bound of their range: the likelihood has no optimum in them.
    prior_mean : float
        The score of a galaxy that is like none of the scored ones.
    """

    scale: np.ndarray
    labelled: np.ndarray
    scores: np.ndarray
    amplitude: float
    length_scale: float
    noise: float
    kernel: str
    at_bounds: tuple[str, ...]
    prior_mean: float = 0.0

    def predict(self, features: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Predict scores, noise included.

        As scikit-learn's `GaussianProcessRegressor.predict` to the rounding of float64. What is said of a galaxy does
        not depend on the others it comes with or on its place among them. Memory beyond the result does not grow
        with N.

        Parameters
        ----------
        features : ndarray of shape (N, D)
            Unscaled.

        Returns
        -------
        mean, std : ndarray of shape (N,), float64
        """
        from scipy.linalg import cho_solve, cholesky, solve_triangular

        stretch = np.sqrt(3) / (self.scale * self.length_scale)
        origin = self.labelled.mean(axis=0)
        known = (self.labelled - origin) * stretch
        size = len(known)
        covariance = self.amplitude * _correlation(known, known)
        covariance[np.diag_indices(size)] += self.noise + _JITTER
        factor = cholesky(covariance, lower=True)
        weights = self.amplitude * cho_solve((factor, True), self.scores - self.prior_mean)
        # as a product, which a triangular solver takes twice as long for
        inverse = self.amplitude * solve_triangular(factor, np.eye(size), lower=True)

        def on(device: "torch.device") -> tuple[np.ndarray, np.ndarray]:
            from galaxy_assets.science.accelerated import predict_scores

            galaxies = (features - origin) * stretch
            return predict_scores(galaxies, known, weights, inverse, self.amplitude + self.noise, device)

        if found := on_a_gpu(on, len(features), _ON_A_GPU):
            return found[0] + self.prior_mean, np.sqrt(np.maximum(found[1], 0))

        def of(part: slice) -> tuple[np.ndarray, np.ndarray]:
            block = np.zeros((_BLOCK, len(origin)))  # always a whole one: fewer rows are rounded differently
            galaxies = len(features[part])
            block[:galaxies] = (features[part] - origin) * stretch
            correlation = _correlation(block, known)
            left = np.full(_BLOCK, self.amplitude + self.noise)
            for row in range(0, size, _ROWS):
                end = min(row + _ROWS, size)  # beyond it the rows are 0
                explained = correlation[:, :end] @ inverse[row:end, :end].T
                left -= np.einsum("ij,ij->i", explained, explained)
            return (correlation @ weights)[:galaxies], left[:galaxies]

        mean, variance = np.empty(len(features)), np.empty(len(features))
        parts = [slice(begin, begin + _BLOCK) for begin in range(0, len(features), _BLOCK)]
        for part, found in zip(parts, on_threads(of, parts), strict=True):
            mean[part], variance[part] = found
        mean += self.prior_mean
        np.maximum(variance, 0, out=variance)
        return mean, np.sqrt(variance, out=variance)

    def to_table(self) -> pa.Table:
        """Keep the process as a table.

        Returns
        -------
        pyarrow.Table
            One row of role `scale` with the kernel (`COLUMNS`), and the scale as its `vector`, float64.
        """
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
    """Standard deviation of each feature over all galaxies. Memory does not grow with N.

    Parameters
    ----------
    features : ndarray of shape (N, D)

    Returns
    -------
    ndarray of shape (D,), float64
    """
    mean, squares = features.mean(axis=0, dtype=np.float64), np.zeros(features.shape[1])
    for begin in range(0, len(features), _BLOCK):
        centred = features[begin : begin + _BLOCK] - mean
        squares += np.einsum("ij,ij->j", centred, centred)
    return np.sqrt(squares / len(features))


def table_to_process(
    table: pa.Table, labelled: np.ndarray, scores: np.ndarray, prior_mean: float = 0.0
) -> GaussianProcess:
    """Read the process that `GaussianProcess.to_table` kept.

    Parameters
    ----------
    table : pyarrow.Table
    labelled : ndarray of shape (L, D)
        Features that the process was conditioned on.
    scores : ndarray of shape (L,)
        Their scores.
    prior_mean : float
        See `GaussianProcess`; it is no column, since the learner makes it of the scores.

    Returns
    -------
    GaussianProcess
    """
    kernel = {name: table[name][0].as_py() for name in COLUMNS.names}
    scale = table["vector"].combine_chunks().flatten().to_numpy(zero_copy_only=False)
    return GaussianProcess(scale=scale, labelled=labelled, scores=scores, at_bounds=(), prior_mean=prior_mean, **kernel)


def fit_by_likelihood(labelled: np.ndarray, scores: np.ndarray) -> GaussianProcess:
    """Fit the process as Astronomaly's `protege.GaussianProcess` does.

    The kernel is Matern(nu=1.5) + white noise, both from 1 and without an amplitude, on the features as they are.
    Hyper-parameters are scikit-learn's optimum, and the log names one that ends at its bound.

    Parameters
    ----------
    labelled : ndarray of shape (L, D)
        Principal components of the scored galaxies, unscaled.
    scores : ndarray of shape (L,)
        0-5.

    Returns
    -------
    GaussianProcess
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
    """Fit the process with a kernel that does not depend on the scores.

    Every component is divided by the square root of its standard deviation, half way to standardised ones. The length
    scale is the median distance between labelled galaxies, a priori the score is 0 +- 2.5, and the noise has half that
    variance. Nothing is optimised; docs/anomaly-search.md measures what that changes.

    Parameters
    ----------
    labelled : ndarray of shape (L, D)
        Principal components of the scored galaxies, unscaled.
    scores : ndarray of shape (L,)
        0-5.
    std : ndarray of shape (D,)
        Standard deviation of each component over the survey; 0 where it is constant.

    Returns
    -------
    GaussianProcess
    """
    from scipy.spatial.distance import pdist
    from sklearn.gaussian_process.kernels import ConstantKernel, Matern, WhiteKernel

    labelled, scores = np.asarray(labelled, np.float64), np.asarray(scores, np.float64)
    scale = np.sqrt(np.where(std > 0, std, 1.0))
    distance = float(np.median(pdist(labelled / scale))) if len(labelled) > 1 else 0.0
    amplitude, length_scale, noise = _PRIOR_STD**2, distance or 1.0, _PRIOR_STD**2 / 2
    kernel = ConstantKernel(amplitude) * Matern(length_scale, nu=1.5) + WhiteKernel(noise)
    return GaussianProcess(scale, labelled, scores, amplitude, length_scale, noise, str(kernel), ())


def fit_to_scale(labelled: np.ndarray, scores: np.ndarray, std: np.ndarray) -> GaussianProcess:
    """Fit the process with mean and variance of the scores given, so that their scale changes no order.

    Every component is divided by the fourth root of its standard deviation. The length scale is four times the median
    distance between labelled galaxies, and the noise has half the variance of the scores. Nothing is optimised;
    docs/anomaly-search.md measures these choices.

    Parameters
    ----------
    labelled : ndarray of shape (L, D)
        Principal components of the scored galaxies, unscaled.
    scores : ndarray of shape (L,)
        Of any range.
    std : ndarray of shape (D,)
        Standard deviation of each component over the survey; 0 where it is constant.

    Returns
    -------
    GaussianProcess
        Its `prior_mean` is the mean of the scores.
    """
    from scipy.spatial.distance import pdist
    from sklearn.gaussian_process.kernels import ConstantKernel, Matern, WhiteKernel

    labelled, scores = np.asarray(labelled, np.float64), np.asarray(scores, np.float64)
    scale = np.where(std > 0, std, 1.0) ** _GRADED_POWER
    distance = float(np.median(pdist(labelled / scale))) if len(labelled) > 1 else 0.0
    amplitude, length_scale = float(scores.var()) or 1.0, _GRADED_LENGTH * (distance or 1.0)
    noise, mean = amplitude / 2, float(scores.mean())
    kernel = ConstantKernel(amplitude) * Matern(length_scale, nu=1.5) + WhiteKernel(noise)
    words = f"{mean:.3g} + {kernel}"
    return GaussianProcess(scale, labelled, scores, amplitude, length_scale, noise, words, (), mean)
