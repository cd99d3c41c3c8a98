"""The Bayesian Gaussian mixture that finds the clusters (paper 6.1).

Belongs here: fitting it, keeping it as arrays and applying it to new galaxies. Does not belong here: what the clusters
mean (`clusters`).
"""

import logging
import warnings
from dataclasses import dataclass

import numpy as np

from galaxy_assets.surveys.model import Mixture

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class MixtureModel:
    """A fitted mixture of K components in D dimensions, as the arrays that predict (float64), by falling weight.

    weights (K,) and their expected logarithms log_weights (K,); means (K, D); precisions_cholesky (K, D, D);
    degrees_of_freedom and mean_precision (K,) of the Wishart and Gaussian posteriors.
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

    def probabilities(self, features: np.ndarray) -> np.ndarray:
        """Membership probabilities (N, K) float64 of features (N, D): Bishop (2006) equations 10.46 and 10.64-10.67,
        as scikit-learn's `predict_proba`."""
        from scipy.special import digamma, logsumexp

        features = np.asarray(features, np.float64)
        d = self.means.shape[1]
        log_probability = np.empty((len(features), len(self.weights)))
        for k, (mean, cholesky) in enumerate(zip(self.means, self.precisions_cholesky, strict=True)):
            whitened = features @ cholesky - mean @ cholesky
            log_probability[:, k] = np.log(np.diag(cholesky)).sum() - 0.5 * (whitened**2).sum(axis=1)
        degrees = 0.5 * (self.degrees_of_freedom - np.arange(d)[:, None])
        log_probability += 0.5 * (digamma(degrees).sum(axis=0) - d / self.mean_precision)
        log_probability -= 0.5 * d * np.log(self.degrees_of_freedom)
        log_probability += self.log_weights
        return np.exp(log_probability - logsumexp(log_probability, axis=1, keepdims=True))


def fit(features: np.ndarray, settings: Mixture) -> MixtureModel:
    """Fit by scikit-learn's variational inference with a Dirichlet-process prior on the weights and full covariances.

    Parameters
    ----------
    features : (N, D) float.

    The number of components is an upper limit, and no more than the number of galaxies. A fit that does not converge is
    logged and recorded, not hidden.
    """
    from scipy.special import digamma
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.mixture import BayesianGaussianMixture

    model = BayesianGaussianMixture(
        n_components=min(settings.components, len(features)),
        weight_concentration_prior=settings.weight_concentration_prior,
        n_init=settings.n_init,
        max_iter=settings.max_iter,
        tol=settings.tol,
        random_state=settings.seed,
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        model.fit(np.asarray(features, np.float64))
    if not model.converged_:
        log.warning("the mixture did not converge in %d iterations; raise mixture.max_iter", settings.max_iter)
    a, b = model.weight_concentration_
    total = digamma(a + b)
    log_weights = digamma(a) - total + np.concatenate([[0.0], np.cumsum(digamma(b) - total)[:-1]])
    order = np.argsort(-model.weights_, kind="stable")
    return MixtureModel(
        weights=model.weights_[order],
        log_weights=log_weights[order],
        means=model.means_[order],
        precisions_cholesky=model.precisions_cholesky_[order],
        degrees_of_freedom=model.degrees_of_freedom_[order],
        mean_precision=model.mean_precision_[order],
        lower_bound=float(model.lower_bound_),
        converged=bool(model.converged_),
        iterations=int(model.n_iter_),
    )
