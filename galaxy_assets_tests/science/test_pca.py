"""PCA against scikit-learn, and its errors."""

import numpy as np
import pytest
from sklearn.decomposition import PCA

from galaxy_assets.science import pca


def test_it_keeps_the_components_scikit_learn_keeps_and_projects_alike():
    features = np.random.default_rng(0).normal(size=(300, 20)) * np.linspace(3, 0.1, 20) + 5
    model = pca.fit(features, 0.95)
    reference = PCA(0.95, svd_solver="full").fit(features)
    assert len(model.components) == reference.n_components_
    assert model.explained_variance_ratio.sum() > 0.95
    ours, theirs = model.transform(features), reference.transform(features)
    signs = np.sign((ours * theirs).sum(axis=0))
    np.testing.assert_allclose(ours * signs, theirs, atol=1e-4)


def test_a_collapsed_representation_is_an_error_that_says_so():
    with pytest.raises(ValueError, match="collapsed"):
        pca.fit(np.ones((10, 4)), 0.95)


def test_one_galaxy_is_an_error():
    with pytest.raises(ValueError, match="at least two galaxies"):
        pca.fit(np.ones((1, 4)), 0.95)
