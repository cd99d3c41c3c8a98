"""The variational iterations against scikit-learn's, start by start."""

import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.datasets import make_blobs
from sklearn.exceptions import ConvergenceWarning
from sklearn.mixture import BayesianGaussianMixture

from galaxy_assets.science import variational
from galaxy_assets.science.variational import fit_starts
from galaxy_assets.settings.structure import Mixture


def references(features: np.ndarray, asked: Mixture) -> list[BayesianGaussianMixture]:
    """Scikit-learn's fits from the same starts: one after the other they draw from one random state, as its n_init."""
    random_state = np.random.RandomState(asked.seed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        return [
            BayesianGaussianMixture(
                n_components=asked.components, weight_concentration_prior=asked.weight_concentration_prior,
                covariance_type="full", weight_concentration_prior_type="dirichlet_process", tol=asked.tol,
                max_iter=asked.max_iter, random_state=random_state,
            ).fit(features)
            for _ in range(asked.n_init)
        ]  # fmt: skip


def assert_same(start, reference, features, atol=1e-9):
    assert (start.converged, start.iterations) == (reference.converged_, reference.n_iter_)
    assert start.lower_bound == pytest.approx(reference.lower_bound_, rel=1e-11)
    found, scale = start.components, features.std()
    np.testing.assert_allclose(found.means + features.mean(axis=0), reference.means_, atol=atol * scale)
    np.testing.assert_allclose(found.weights(), reference.weights_, atol=1e-9)
    np.testing.assert_allclose(np.exp(found.log_weights()), np.exp(reference._estimate_log_weights()), atol=1e-9)
    np.testing.assert_allclose(found.degrees_of_freedom, reference.degrees_of_freedom_, rtol=1e-9)
    np.testing.assert_allclose(found.mean_precision, reference.mean_precision_, rtol=1e-9)
    np.testing.assert_allclose(
        found.precisions_cholesky, reference.precisions_cholesky_, rtol=1e-7, atol=1e-8 / scale
    )  # fmt: skip
    np.testing.assert_array_equal(labels(start, features), reference.predict(features))


def labels(start, features):
    """From the arrays alone: the expected logarithm of weight and density."""
    found = start.components
    whitened = (features - features.mean(axis=0))[:, None] - found.means
    whitened = (whitened[..., None, :] @ found.precisions_cholesky)[..., 0, :]
    return (found.log_constants() - 0.5 * (whitened**2).sum(axis=-1)).argmax(axis=1)


@pytest.mark.parametrize(("seed", "block"), [(0, 1024), (1, 1024), (2, 97), (3, 97)])
def test_every_start_ends_where_scikit_learns_ends(monkeypatch, seed, block):
    monkeypatch.setattr(variational, "_BLOCK", block)
    features, _ = make_blobs(500, n_features=6, centers=5, cluster_std=2.5, random_state=seed)
    asked = Mixture(components=12, n_init=3, max_iter=400, seed=seed)
    starts = fit_starts(features, asked, single=False)
    for start, reference in zip(starts, references(features, asked), strict=True):
        assert_same(start, reference, features)
    galaxies = np.concatenate([start.components.mean_precision - 1 for start in starts])
    assert galaxies.min() < 0.5, "the world must have components that lost their galaxies"


@pytest.mark.parametrize(("scale", "offset"), [(1e-4, 0.0), (np.geomspace(1e4, 1e-2, 6), 1e3)])
def test_units_and_offsets_of_the_features_do_not_matter(scale, offset):
    features, _ = make_blobs(500, n_features=6, centers=5, cluster_std=2.5, random_state=1)
    features = (features * scale + offset) / np.mean(scale)
    asked = Mixture(components=8, n_init=2, max_iter=20, seed=3)
    starts = fit_starts(features, asked, single=False)
    for start, reference in zip(starts, references(features, asked), strict=True):
        assert_same(start, reference, features)


@settings(max_examples=30, deadline=None)
@given(
    n=st.integers(2, 90), d=st.integers(1, 5), k=st.integers(1, 7), n_init=st.integers(1, 3),
    max_iter=st.integers(1, 6), seed=st.integers(0, 99),
)  # fmt: skip
def test_any_small_set_is_fitted_alike(n, d, k, n_init, max_iter, seed):
    rng = np.random.default_rng(seed)
    features = rng.normal(size=(n + d, d)) + 4 * rng.integers(0, 2, size=(n + d, 1))
    asked = Mixture(components=min(k, n), n_init=n_init, max_iter=max_iter, seed=seed)
    starts = fit_starts(features, asked, single=False)
    for start, reference in zip(starts, references(features, asked), strict=True):
        assert_same(start, reference, features, atol=1e-8)


@pytest.mark.parametrize("seed", range(4))
def test_in_float32_the_same_starts_converge_to_the_same_labels_and_bound(seed):
    features, _ = make_blobs(900, n_features=6, centers=5, cluster_std=2.5, random_state=seed)
    asked = Mixture(components=12, n_init=3, max_iter=600, seed=seed)
    exact, found = (fit_starts(features, asked, single=single) for single in (False, True))
    for one, other in zip(exact, found, strict=True):
        assert one.converged and other.converged
        assert other.lower_bound == pytest.approx(one.lower_bound, abs=10 * asked.tol)
        np.testing.assert_array_equal(labels(other, features), labels(one, features))


def test_what_float32_could_not_decide_is_not_called_converged():
    features, _ = make_blobs(500, n_features=6, centers=5, random_state=0)
    coarse = Mixture(components=12, n_init=2, max_iter=600, tol=1e-5 * len(features))
    iterations = [start.iterations for start in fit_starts(features, coarse, single=False)]
    # as many as the float32 iterations take, which end by the same change of the bound
    (start, _) = fit_starts(features, coarse.model_copy(update={"max_iter": iterations[0]}), single=True)
    assert start.iterations == iterations[0] and not start.converged


def test_the_bound_never_falls():
    features, _ = make_blobs(300, n_features=4, centers=4, cluster_std=2, random_state=2)
    bounds = [
        fit_starts(features, Mixture(components=6, n_init=1, max_iter=m, seed=1), single=False)[0].lower_bound
        for m in range(1, 15)
    ]
    assert (np.diff(bounds) > -1e-9).all() and bounds[-1] > bounds[0]


def test_a_singular_covariance_is_an_error_as_in_scikit_learn():
    features = np.repeat(np.arange(40.0)[:, None], 3, axis=1) * [1, 1e8, 1]
    features[:, 2] = 0
    asked = Mixture(components=20, n_init=1)
    with pytest.raises(ValueError, match="ill-defined"):
        references(features, asked)
    with pytest.raises(ValueError, match="singular"):
        fit_starts(features, asked, single=False)
