"""The mixture predicts from its arrays what scikit-learn predicts from its object."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from sklearn.datasets import make_blobs
from sklearn.mixture import BayesianGaussianMixture

from galaxy_assets.science import mixture
from galaxy_assets.science.variational import fit_starts
from galaxy_assets.settings.structure import Mixture

SETTINGS = Mixture(components=6, n_init=2, max_iter=300, seed=4)


def test_probabilities_equal_scikit_learns_up_to_the_numbering():
    features, _ = make_blobs(300, n_features=4, centers=4, cluster_std=2.0, random_state=1)
    model = mixture.fit(features, SETTINGS, single=False)
    reference = BayesianGaussianMixture(
        n_components=6, weight_concentration_prior=0.5, n_init=2, max_iter=300, random_state=4
    ).fit(features)
    order = np.argsort(-reference.weights_, kind="stable")
    new = np.random.default_rng(0).normal(size=(50, 4)) * 8
    np.testing.assert_allclose(model.probabilities(new), reference.predict_proba(new)[:, order], atol=1e-9)
    np.testing.assert_allclose(model.probabilities(new).sum(axis=1), 1)
    assert (np.diff(model.weights) <= 0).all()


@pytest.fixture(scope="module")
def papers() -> tuple[np.ndarray, mixture.MixtureModel, BayesianGaussianMixture, np.ndarray]:
    """Features, our model and scikit-learn's with the paper's 20 components, and its order of components by weight."""
    features, _ = make_blobs(700, n_features=8, centers=7, cluster_std=2.5, random_state=3)
    model = mixture.fit(features, Mixture(n_init=2, max_iter=200, seed=5), single=False)
    reference = BayesianGaussianMixture(
        n_components=20, weight_concentration_prior=0.5, n_init=2, max_iter=200, random_state=5,
        covariance_type="full", weight_concentration_prior_type="dirichlet_process", tol=1e-3,
    ).fit(features)  # fmt: skip
    return features, model, reference, np.argsort(-reference.weights_, kind="stable")


def test_labels_are_scikit_learns_with_the_papers_twenty_components(papers):
    features, model, reference, order = papers
    ours, theirs = model.probabilities(features), reference.predict_proba(features)[:, order]
    np.testing.assert_allclose(ours, theirs, atol=1e-9)
    assert np.array_equal(order[ours.argmax(axis=1)], reference.predict(features))
    assert len(set(ours.argmax(axis=1))) > 5
    assert model.lower_bound == pytest.approx(reference.lower_bound_) and model.converged == reference.converged_


def test_beginning_in_float32_ends_with_the_same_labels_and_bound(papers):
    features, model, _, _ = papers
    faster = mixture.fit(features, Mixture(n_init=2, max_iter=200, seed=5))
    labels = [m.probabilities(features).argmax(axis=1) for m in (faster, model)]
    assert np.array_equal(*labels) and faster.converged == model.converged
    assert faster.lower_bound == pytest.approx(model.lower_bound, rel=1e-6)


@given(arrays(np.float64, (5, 8), elements=st.floats(-1e3, 1e3)))
def test_probabilities_equal_scikit_learns_wherever_a_galaxy_lies(papers, new):
    _, model, reference, order = papers
    ours = model.probabilities(new)
    np.testing.assert_allclose(ours, reference.predict_proba(new)[:, order], atol=1e-9)
    np.testing.assert_allclose(ours.sum(axis=1), 1)
    np.testing.assert_allclose(model.probabilities(new[:2]), ours[:2], atol=1e-12)  # batch by batch or at once


def test_blobs_are_found():
    features, truth = make_blobs(400, n_features=3, centers=3, cluster_std=0.5, random_state=2)
    found = mixture.fit(features, SETTINGS).probabilities(features).argmax(axis=1)
    for blob in range(3):
        assert len(set(found[truth == blob])) == 1


def test_of_several_starts_that_with_the_highest_bound_is_kept():
    features, _ = make_blobs(300, n_features=4, centers=6, cluster_std=3.0, random_state=1)
    asked = Mixture(components=8, n_init=5, max_iter=300, seed=2)
    bounds = [start.lower_bound for start in fit_starts(features, asked, single=False)]
    assert max(bounds) - sorted(bounds)[-2] > 0.1, "the world's starts must end apart"
    assert mixture.fit(features, asked, single=False).lower_bound == max(bounds)


def test_the_papers_twenty_components_are_labelled_alike_from_float32(papers):
    features, model, *_ = papers
    found = mixture.fit(features, Mixture(n_init=2, max_iter=200, seed=5))
    assert found.converged and found.lower_bound == pytest.approx(model.lower_bound, abs=1e-2)
    labels = (m.probabilities(features).argmax(axis=1) for m in (model, found))
    assert np.array_equal(*labels)


def test_one_galaxy_is_an_error():
    with pytest.raises(ValueError, match="at least two galaxies"):
        mixture.fit(np.ones((1, 3)), SETTINGS)


def test_fewer_galaxies_than_components_and_no_convergence_are_recorded():
    features = np.random.default_rng(0).normal(size=(4, 2))
    assert len(mixture.fit(features, SETTINGS).weights) == 4
    hard = np.random.default_rng(0).normal(size=(200, 5))
    model = mixture.fit(hard, Mixture(components=6, n_init=1, max_iter=1))
    assert not model.converged and model.iterations == 1


def test_the_model_comes_back_from_its_table():
    features, _ = make_blobs(80, 3, random_state=0)
    model = mixture.fit(features, Mixture(components=4))
    table = mixture.model_to_table(model, "imagenet", 0.25)
    assert table["cluster"].to_pylist() == [0, 1, 2, 3] and set(table["unsure"].to_pylist()) == {0.25}
    again = mixture.table_to_model(table)
    # the arrays lie otherwise in memory, which may change the last bit of a product
    np.testing.assert_allclose(again.probabilities(features), model.probabilities(features), rtol=1e-12)
    for name, value in vars(model).items():
        assert np.array_equal(getattr(again, name), value), name
