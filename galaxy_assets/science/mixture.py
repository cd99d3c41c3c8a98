"""The Bayesian Gaussian mixture that finds the clusters (paper 6.1).

Belongs here: fitting it, applying it to new galaxies, and keeping it as a table. Does not belong here: what the
clusters mean (`clusters`).
"""

import logging
from collections import deque
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from galaxy_assets.science.parallel import on_threads
from galaxy_assets.science.variational import fit_starts
from galaxy_assets.settings.structure import Mixture

log = logging.getLogger(__name__)

_BLOCK = 4096  # galaxies at once


@dataclass(frozen=True)
class MixtureModel:
    """A fitted mixture of K components in D dimensions, as the arrays that predict (float64), by falling weight.

    Attributes
    ----------
    weights, log_weights : ndarray of shape (K,)
        Expected weights, and their expected logarithms.
    means : ndarray of shape (K, D)
    precisions_cholesky : ndarray of shape (K, D, D)
    degrees_of_freedom, mean_precision : ndarray of shape (K,)
        Of the Wishart and Gaussian posteriors.
    lower_bound : float
        Of the evidence, up to a constant.
    converged : bool
        Whether the best start's bound had stopped changing.
    iterations : int
        Of the best start.
    """

    weights: np.ndarray
    log_weights: np.ndarray
    means: np.ndarray
    precisions_cholesky: np.ndarray
    degrees_of_freedom: np.ndarray
    mean_precision: np.ndarray
    lower_bound: float
    converged: bool
    iterations: int

    @property
    def fitted_on(self) -> int:
        """How many galaxies it was fitted to: the posterior of a centre is worth one more than it has members."""
        return round(float((self.mean_precision - 1).sum()))

    def probabilities(self, features: np.ndarray) -> np.ndarray:
        """Membership probabilities: Bishop (2006) equations 10.46 and 10.64-10.67, as scikit-learn's `predict_proba`.

        Memory beyond them does not grow with N.

        Parameters
        ----------
        features : ndarray of shape (N, D)
            Principal components.

        Returns
        -------
        ndarray of shape (N, K), float64
        """
        from scipy.special import digamma, logsumexp

        d = self.means.shape[1]
        degrees = 0.5 * (self.degrees_of_freedom - np.arange(d)[:, None])
        constants = 0.5 * (digamma(degrees).sum(axis=0) - d / self.mean_precision)
        constants += np.log(np.diagonal(self.precisions_cholesky, axis1=1, axis2=2)).sum(axis=1)
        constants += self.log_weights - 0.5 * d * np.log(self.degrees_of_freedom)
        probabilities = np.empty((len(features), len(self.weights)))

        def fill(begin: int) -> None:
            block = np.asarray(features[begin : begin + _BLOCK], np.float64)
            log_probability = probabilities[begin : begin + _BLOCK]
            for k, (mean, cholesky) in enumerate(zip(self.means, self.precisions_cholesky, strict=True)):
                whitened = block @ cholesky - mean @ cholesky
                log_probability[:, k] = constants[k] - 0.5 * np.einsum("ij,ij->i", whitened, whitened)
            log_probability -= logsumexp(log_probability, axis=1, keepdims=True)
            np.exp(log_probability, out=log_probability)

        deque(on_threads(fill, range(0, len(features), _BLOCK)), 0)
        return probabilities


def fit(features: np.ndarray, settings: Mixture, *, single: bool = True) -> MixtureModel:
    """Fit by variational inference with a Dirichlet-process prior on the weights and full covariances (`variational`).

    The number of components is an upper limit, and no more than the number of galaxies. The start with the highest
    lower bound is kept. A fit that does not converge is logged and recorded, not hidden.

    Parameters
    ----------
    features : ndarray of shape (N, D)
        Principal components.
    settings : Mixture
        Of the survey.
    single : bool
        Begin in float32, see `variational.fit_starts`; what has converged, and the labels, are those of float64.

    Returns
    -------
    model : MixtureModel

    Raises
    ------
    ValueError
        For fewer than two galaxies.

    Examples
    --------
    >>> import numpy as np
    >>> from galaxy_assets.science.mixture import fit
    >>> from galaxy_assets.settings.structure import Mixture
    >>> features = np.random.default_rng(0).normal(size=(200, 2))
    >>> features[150:] += 20
    >>> model = fit(features, Mixture(components=2, n_init=1))
    >>> np.bincount(model.probabilities(features).argmax(axis=1)).tolist()
    [150, 50]
    """
    if len(features) < 2:
        raise ValueError(f"a mixture needs at least two galaxies, got {len(features)}; is the clean set empty?")
    features = np.asarray(features, np.float64)
    settings = settings.model_copy(update={"components": min(settings.components, len(features))})
    starts = fit_starts(features, settings, single=single)
    best = max(starts, key=lambda start: start.lower_bound)
    if not best.converged:
        log.warning("the mixture did not converge in %d iterations; raise mixture.max_iter", settings.max_iter)
    found = best.components
    weights, log_weights = found.weights(), found.log_weights()
    order = np.argsort(-weights, kind="stable")
    return MixtureModel(
        weights=weights[order],
        log_weights=log_weights[order],
        means=found.means[order] + features.mean(axis=0),
        precisions_cholesky=found.precisions_cholesky[order],
        degrees_of_freedom=found.degrees_of_freedom[order],
        mean_precision=found.mean_precision[order],
        lower_bound=best.lower_bound,
        converged=best.converged,
        iterations=best.iterations,
    )


def model_to_table(model: MixtureModel, init: str, unsure: float, fitted_on: int | None = None) -> pa.Table:
    """`cluster_model`: a row per component.

    Parameters
    ----------
    model : MixtureModel
        What was fitted.
    init : str
        Start weights of the features that it was fitted to.
    unsure : float
        Share of the fitted galaxies of which no membership probability reaches one half.
    fitted_on : int, optional
        How many galaxies it was fitted to, where they are a sample.

    Returns
    -------
    pyarrow.Table
        init, cluster, weight, log_weight, mean (list of D), precision_cholesky (list of D x D), degrees_of_freedom,
        mean_precision; and the same in every row: lower_bound, unsure, converged, iterations, and fitted_on of a
        sample.
    """
    k = len(model.weights)
    table = pa.table(
        {
            "init": [init] * k,
            "cluster": pa.array(range(k), pa.int32()),
            "weight": model.weights,
            "log_weight": model.log_weights,
            "mean": list(model.means),
            "precision_cholesky": list(model.precisions_cholesky.reshape(k, -1)),
            "degrees_of_freedom": model.degrees_of_freedom,
            "mean_precision": model.mean_precision,
            "lower_bound": [model.lower_bound] * k,
            "unsure": [unsure] * k,
            "converged": [model.converged] * k,
            "iterations": pa.array([model.iterations] * k, pa.int32()),
        }
    )
    if fitted_on is None:  # a table of older code has no such column, and stays what it was
        return table
    return table.append_column("fitted_on", pa.array([fitted_on] * k, pa.int64()))


def table_to_model(table: pa.Table) -> MixtureModel:
    """Read the model from the rows of `cluster_model`.

    Parameters
    ----------
    table : pyarrow.Table

    Returns
    -------
    MixtureModel
    """
    means, cholesky = (np.stack(table[n].to_numpy(zero_copy_only=False)) for n in ("mean", "precision_cholesky"))
    return MixtureModel(
        weights=table["weight"].to_numpy(),
        log_weights=table["log_weight"].to_numpy(),
        means=means,
        precisions_cholesky=cholesky.reshape(len(means), means.shape[1], means.shape[1]),
        degrees_of_freedom=table["degrees_of_freedom"].to_numpy(),
        mean_precision=table["mean_precision"].to_numpy(),
        lower_bound=table["lower_bound"][0].as_py(),
        converged=table["converged"][0].as_py(),
        iterations=table["iterations"][0].as_py(),
    )
