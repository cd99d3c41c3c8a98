"""Variational inference of a Gaussian mixture: every start at once, in blocks of galaxies.

Belongs here: the iterations, their lower bound and the rule that ends them. Does not belong here: the fitted model and
what predicts from it (`mixture`), the choice of settings (`settings.survey`).

The model, its priors, starting points, bound and end are those of scikit-learn's `BayesianGaussianMixture` with full
covariances and a Dirichlet process; only the order of the sums differs. The logarithm of a Gaussian is linear in the
products z_i z_j, in z and in 1, and a component is fitted from the sums of these same terms weighted by its
responsibilities. Both steps are thus matrix products that all components of all starts share.
"""

import logging
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from galaxy_assets.science.devices import fits, on_a_gpu
from galaxy_assets.science.parallel import on_threads
from galaxy_assets.settings.progress import HowFar

if TYPE_CHECKING:
    import torch

    from galaxy_assets.science.accelerated import MixtureTerms
    from galaxy_assets.settings.structure import Mixture

log = logging.getLogger(__name__)

_ON_A_GPU = 20_000  # galaxies from which the way to a GPU is thought to pay
_BLOCK = 1024  # galaxies at once: their terms and responsibilities stay in the processor's cache
_REGULARISATION = 1e-6  # scikit-learn's reg_covar
_COARSE = 1e-5  # rise of the bound per galaxy that float32 still tells from its own rounding


@dataclass(frozen=True)
class Components:
    """Posterior of K components in D dimensions, float64; the arrays of S starts have a leading axis S.

    Attributes
    ----------
    weight_concentration : ndarray of shape (K, 2)
        The two parameters of each stick.
    mean_precision, degrees_of_freedom : ndarray of shape (K,)
    means : ndarray of shape (K, D)
        From the mean of all features.
    precisions_cholesky : ndarray of shape (K, D, D)
    """

    weight_concentration: np.ndarray
    mean_precision: np.ndarray
    degrees_of_freedom: np.ndarray
    means: np.ndarray
    precisions_cholesky: np.ndarray

    def of(self, start: int) -> "Components":
        """The posterior of one start.

        Parameters
        ----------
        start : int
            Number of the start.

        Returns
        -------
        Components
        """
        return Components(*(values[start] for values in _arrays(self)))

    def log_weights(self) -> np.ndarray:
        """Expected logarithms of the weights: Bishop (2006) equation 10.66 for sticks.

        Returns
        -------
        ndarray of shape (..., K)
        """
        from scipy.special import digamma

        a, b = np.moveaxis(self.weight_concentration, -1, 0)
        total = digamma(a + b)
        broken = np.cumsum(digamma(b) - total, axis=-1)[..., :-1]
        return digamma(a) - total + np.concatenate([np.zeros((*a.shape[:-1], 1)), broken], axis=-1)

    def weights(self) -> np.ndarray:
        """Expected weights, which add up to 1.

        Returns
        -------
        ndarray of shape (..., K)
        """
        a, b = np.moveaxis(self.weight_concentration, -1, 0)
        rest = np.cumprod(b / (a + b), axis=-1)[..., :-1]
        weights = a / (a + b) * np.concatenate([np.ones((*a.shape[:-1], 1)), rest], axis=-1)
        return weights / weights.sum(axis=-1, keepdims=True)

    def log_determinants(self) -> np.ndarray:
        """Logarithms of the determinants of the precisions' Cholesky factors.

        Returns
        -------
        ndarray of shape (..., K)
        """
        return np.log(np.diagonal(self.precisions_cholesky, axis1=-2, axis2=-1)).sum(axis=-1)

    def log_constants(self) -> np.ndarray:
        """The expected logarithm of weight times density, without the term of the distance to the mean.

        Bishop (2006) equations 10.46 and 10.64-10.66, with precisions already multiplied by their degrees of freedom.

        Returns
        -------
        ndarray of shape (..., K)
        """
        from scipy.special import digamma

        d, degrees = self.means.shape[-1], self.degrees_of_freedom
        spread = digamma(0.5 * (degrees[..., None] - np.arange(d))).sum(axis=-1) - d * np.log(0.5 * degrees)
        gaussian = self.log_determinants() - 0.5 * d * np.log(2 * np.pi)
        return self.log_weights() + gaussian + 0.5 * (spread - d / self.mean_precision)

    def lower_bound(self, entropy: np.ndarray) -> np.ndarray:
        """Lower bound of the evidence, up to a constant, as scikit-learn has it.

        Parameters
        ----------
        entropy : ndarray of shape (...,)
            Of the responsibilities.

        Returns
        -------
        ndarray of shape (...,)
        """
        from scipy.special import betaln, gammaln

        d, degrees = self.means.shape[-1], self.degrees_of_freedom
        wishart = degrees * (self.log_determinants() - 0.5 * d * np.log(0.5 * degrees))
        wishart += gammaln(0.5 * (degrees[..., None] - np.arange(d))).sum(axis=-1)
        sticks = betaln(self.weight_concentration[..., 0], self.weight_concentration[..., 1])
        return entropy + (wishart + sticks - 0.5 * d * np.log(self.mean_precision)).sum(axis=-1)


def _arrays(components: Components) -> tuple[np.ndarray, ...]:
    return tuple(vars(components).values())


@dataclass(frozen=True)
class Start:
    """Where one start ended.

    Attributes
    ----------
    components : Components
    lower_bound : float
        Of the evidence, up to a constant.
    converged : bool
        Whether the bound had stopped changing.
    iterations : int
    """

    components: Components
    lower_bound: float
    converged: bool
    iterations: int


def fit_starts(features: np.ndarray, settings: "Mixture", *, single: bool) -> list[Start]:
    """Fit from `settings.n_init` k-means starts, each until its lower bound changes by less than `settings.tol`.

    Memory beyond the features and scikit-learn's k-means does not grow with N.

    Parameters
    ----------
    features : ndarray of shape (N, D), float64
        N is at least 2 and at least `settings.components`.
    settings : Mixture
        `tol` is of the bound of all galaxies together, as in scikit-learn.
    single : bool
        Iterate in float32, with float64 sums over the blocks, while the bound changes by more than 1e-5 per galaxy, and
        in float64 from there on. Whether a start has converged is decided in float64 either way: rounding to float32
        moves the bound by more than `tol`.

    Returns
    -------
    list of Start

    Raises
    ------
    ValueError
        Where the covariance of a component is singular.
    """
    survey = _Survey(features, settings.weight_concentration_prior)
    ends = [Start(components, -np.inf, False, 0) for components in _initial(survey, settings)]
    if single:
        ends = _iterate(survey, ends, settings, np.float32, max(settings.tol, _COARSE * len(features)))
        ends = [Start(end.components, end.lower_bound, False, end.iterations) for end in ends]
    return _iterate(survey, ends, settings, np.float64, settings.tol)


def _iterate(survey: "_Survey", ends: list[Start], settings: "Mixture", dtype: type, tol: float) -> list[Start]:
    """Carry on from `ends` with products in `dtype` until each bound changes by less than `tol`."""
    ends = list(ends)
    running = [i for i, end in enumerate(ends) if end.iterations < settings.max_iter]
    far = HowFar(log, f"mixture of {len(ends)} starts", settings.max_iter, "iterations")
    bounds = np.full(len(ends), -np.inf)  # not those of `ends`: another precision is no measure of change
    while running:
        arrays = zip(*(_arrays(ends[i].components) for i in running), strict=True)
        components = Components(*(np.stack(of_starts) for of_starts in arrays))
        sums, entropy = survey.expectation(components, dtype)
        components = survey.components(sums)
        previous, bounds[running] = bounds[running], components.lower_bound(entropy)
        for position, i in enumerate(running):
            converged = bool(abs(bounds[i] - previous[position]) < tol)
            ends[i] = Start(components.of(position), float(bounds[i]), converged, ends[i].iterations + 1)
            if converged or ends[i].iterations % 20 == 0:
                state = "steady" if converged else "rising"
                log.debug("start %d, iteration %d: bound %.6g, %s", i, ends[i].iterations, bounds[i], state)
        far.tell(max(end.iterations for end in ends))
        running = [i for i in running if not ends[i].converged and ends[i].iterations < settings.max_iter]
    return ends


def _initial(survey: "_Survey", settings: "Mixture") -> Iterator[Components]:
    """The components of each start, from the clusters that scikit-learn would take: k-means from one random state."""
    from sklearn.cluster import KMeans

    random_state = np.random.RandomState(settings.seed)
    for _ in range(settings.n_init):
        means = KMeans(settings.components, n_init=1, random_state=random_state)  # pyright: ignore[reportArgumentType]
        yield survey.components(survey.sums_of(means.fit_predict(survey.features), settings.components))


class _Buffers(threading.local):
    """Room for the rows of a block of galaxies, for each thread its own: what is taken anew is slower to fill."""

    def __init__(self, rows: int, dtype: type):
        self.own = np.empty((rows, _BLOCK), dtype)


class _Survey:
    """The features, and the coordinates z in which they have mean 0 and covariance 1: x = mean + z @ basis.T.

    Products of raw features cancel where the mean is far from 0 or the axes differ much; those of z do not.
    """

    def __init__(self, features: np.ndarray, concentration: float):
        self.features, self.concentration = features, concentration
        self.mean = features.mean(axis=0)
        n, d = features.shape
        self.covariance = sum((block - self.mean).T @ (block - self.mean) for block in self._blocks()) / (n - 1)
        variances, axes = np.linalg.eigh(self.covariance)
        scale = np.sqrt(np.where(variances > 1e-12 * variances[-1], variances, 1.0))
        self.basis, self.inverse = axes * scale, axes / scale
        self.pairs = np.triu_indices(d)
        self.width = len(self.pairs[0]) + d + 1
        self._on_device = on_a_gpu(self._terms_on, n, _ON_A_GPU)

    def _terms_on(self, device: "torch.device") -> "MixtureTerms":
        from galaxy_assets.science.accelerated import MixtureTerms

        return MixtureTerms((self.features - self.mean) @ self.inverse, device)

    def _blocks(self) -> Iterator[np.ndarray]:
        for begin in range(0, len(self.features), _BLOCK):
            yield self.features[begin : begin + _BLOCK]

    def _terms(self, block: np.ndarray, buffer: np.ndarray) -> np.ndarray:
        """Of some galaxies: z_i z_j for i <= j, then z, then 1, as (D (D + 1) / 2 + D + 1, <= _BLOCK)."""
        d, begin = len(self.mean), 0
        terms = buffer[:, : len(block)]
        z, terms[-1] = terms[-1 - d : -1], 1
        z[:] = ((block - self.mean) @ self.inverse).T
        for i in range(d):
            np.multiply(z[i], z[i:], out=terms[begin : begin + d - i])
            begin += d - i
        return terms

    def sums_of(self, labels: np.ndarray, k: int) -> np.ndarray:
        """Sums of the terms over the galaxies of each cluster, (K, terms) float64."""
        buffer = _Buffers(self.width, np.float64)

        def of(part: tuple[np.ndarray, np.ndarray]) -> np.ndarray:
            block, own = part
            return (own == np.arange(k)[:, None]).astype(np.float64) @ self._terms(block, buffer.own).T

        own = (labels[begin : begin + _BLOCK] for begin in range(0, len(labels), _BLOCK))
        return sum(on_threads(of, zip(self._blocks(), own, strict=True)), np.zeros((k, self.width)))

    def expectation(self, components: Components, dtype: type) -> tuple[np.ndarray, np.ndarray]:
        """Sums of the terms weighted by responsibilities, (S, K, terms) float64, and their entropy, (S,) float64."""
        shape = components.mean_precision.shape
        coefficients = self._coefficients(components).reshape(-1, self.width)
        found = None
        if self._on_device is not None:
            on_device = self._on_device
            found = fits(lambda: on_device.expectation(coefficients, shape[1], dtype), on_device.device)
            self._on_device = on_device if found else None
        sums, evidence = found or self._sums(coefficients, shape, dtype)
        # the entropy is the evidence less the mean of the logarithms, which are linear in the terms
        entropy = evidence - (coefficients * sums).reshape(shape[0], -1).sum(axis=1)
        return sums.reshape(*shape, -1), entropy

    def _sums(self, coefficients: np.ndarray, shape: tuple[int, ...], dtype: type) -> tuple[np.ndarray, np.ndarray]:
        """Sums of the terms weighted by responsibilities, (S * K, terms) float64, and the evidence, (S,) float64."""
        rounded = coefficients.astype(dtype)
        sums, evidence = np.zeros(coefficients.shape), np.zeros(shape[0])
        # its products are still normal numbers: a processor takes ten times as long for those that are not
        least = dtype(0.7 * np.log(np.finfo(dtype).tiny))

        buffer, of_weighted = _Buffers(self.width, dtype), _Buffers(len(coefficients), dtype)

        def of(block: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
            terms = self._terms(block, buffer.own)
            weighted = np.matmul(rounded, terms, out=of_weighted.own[:, : len(block)])
            by_start = weighted.reshape(*shape, -1)
            highest = by_start.max(axis=1, keepdims=True)
            by_start -= highest
            np.maximum(by_start, least, out=by_start)
            np.exp(by_start, out=by_start)
            total = by_start.sum(axis=1, keepdims=True)
            by_start *= 1 / total
            return weighted @ terms.T, (highest + np.log(total)).sum(axis=(1, 2), dtype=np.float64)

        for own, said in on_threads(of, self._blocks()):
            sums += own
            evidence += said
        return sums, evidence

    def _coefficients(self, components: Components) -> np.ndarray:
        """Of the terms, in the logarithm of weight times density of each component, (S, K, terms)."""
        factor = self.basis.T @ components.precisions_cholesky
        centre = (components.means[..., None, :] @ components.precisions_cholesky)[..., 0, :]
        quadratic = -factor @ np.swapaxes(factor, -1, -2)
        i, j = self.pairs
        quadratic = quadratic[..., i, j] * np.where(i == j, 0.5, 1.0)
        linear = (factor @ centre[..., None])[..., 0]
        constant = components.log_constants() - 0.5 * (centre**2).sum(axis=-1)
        return np.concatenate([quadratic, linear, constant[..., None]], axis=-1)

    def components(self, sums: np.ndarray) -> Components:
        """The posterior from the sums of the terms (..., K, terms): Bishop (2006) equations 10.58-10.63.

        The priors are the mean and the covariance of all features, with the weight of one galaxy and of D galaxies.
        """
        d = len(self.mean)
        i, j = self.pairs
        second = np.empty((*sums.shape[:-1], d, d))
        second[..., i, j] = second[..., j, i] = sums[..., : len(i)]
        first, total = sums[..., -1 - d : -1], sums[..., -1]
        count = total + 10 * np.finfo(np.float64).eps
        centre = first / count[..., None]
        cross = first[..., :, None] * centre[..., None, :]
        scatter = second - cross - np.swapaxes(cross, -1, -2)
        scatter += total[..., None, None] * centre[..., :, None] * centre[..., None, :]
        centre = centre @ self.basis.T
        covariance = self.covariance + self.basis @ scatter @ self.basis.T
        covariance += _REGULARISATION * count[..., None, None] * np.eye(d)
        shrinkage = count / (1 + count)
        covariance += (shrinkage[..., None] * centre)[..., :, None] * centre[..., None, :]
        degrees = d + count
        try:
            cholesky = np.linalg.cholesky(covariance / degrees[..., None, None])
        except np.linalg.LinAlgError as error:
            raise ValueError(
                "the covariance of a mixture's component is singular: features are constant or repeat each other; "
                "lower `variance` or `mixture.components`"
            ) from error
        later = np.flip(np.cumsum(np.flip(count, -1), axis=-1), -1)[..., 1:]
        rest = np.concatenate([later, np.zeros((*count.shape[:-1], 1))], axis=-1)
        return Components(
            weight_concentration=np.stack([1 + count, self.concentration + rest], axis=-1),
            mean_precision=1 + count,
            degrees_of_freedom=degrees,
            means=shrinkage[..., None] * centre,
            precisions_cholesky=np.swapaxes(np.linalg.inv(cholesky), -1, -2),
        )
