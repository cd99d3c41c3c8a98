"""PCA against scikit-learn, and its errors."""

import tracemalloc

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.decomposition import PCA

from galaxy_assets.science import pca
from galaxy_assets.science.threads import FIXED


def test_it_keeps_the_components_scikit_learn_keeps_and_projects_alike():
    features = np.random.default_rng(0).normal(size=(300, 20)) * np.linspace(3, 0.1, 20) + 5
    model = pca.fit(features, 0.95)
    reference = PCA(0.95, svd_solver="full").fit(features)
    assert len(model.components) == reference.n_components_
    assert model.explained_variance_ratio.sum() > 0.95
    ours, theirs = model.transform(features), reference.transform(features)
    signs = np.sign((ours * theirs).sum(axis=0))
    np.testing.assert_allclose(ours * signs, theirs, atol=1e-4)


@settings(max_examples=40)
@given(
    n=st.integers(3, 120), d=st.integers(2, 60), decay=st.floats(0.5, 1), offset=st.floats(-50, 50),
    variance=st.sampled_from([0.5, 0.8, 0.95, 0.99, 1.0]), seed=st.integers(0, 99),
)  # fmt: skip
def test_number_and_subspace_are_those_of_a_full_decomposition(n, d, decay, offset, variance, seed):
    features = np.random.default_rng(seed).normal(size=(n, d)) * decay ** np.arange(d) + offset
    model = pca.fit(features, variance)
    reference = PCA(None if variance == 1 else variance, svd_solver="full").fit(features)
    k, theirs = len(model.components), reference.explained_variance_
    assert k == (theirs > np.finfo(np.float32).eps * theirs[0]).sum()  # those of rounding hold no variance
    np.testing.assert_allclose(model.mean, reference.mean_, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(model.explained_variance, theirs[:k], rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(model.components @ model.components.T, np.eye(k), atol=1e-5)
    # the cosines of the angles between two subspaces are singular values; without a gap after the last component,
    # or without any variance in it, the subspace is not determined
    spectrum = np.append(PCA().fit(features).explained_variance_, 0.0)
    if spectrum[k - 1] - spectrum[k] > 1e-3 * spectrum[0]:
        cosines = np.linalg.svd(model.components @ reference.components_[:k].T, compute_uv=False)
        np.testing.assert_allclose(cosines, 1, atol=1e-5)


@settings(max_examples=40)
@given(n=st.integers(60, 150), d=st.integers(2, 40), variance=st.floats(0.3, 0.99), seed=st.integers(0, 99))
def test_one_component_fewer_would_not_do(n, d, variance, seed):
    model = pca.fit(np.random.default_rng(seed).normal(size=(n, d)), variance)
    ratio = model.explained_variance_ratio.astype(np.float64)
    assert ratio.sum() > variance - 1e-6 and ratio[:-1].sum() < variance + 1e-6
    assert (np.diff(ratio) <= 0).all()


@pytest.mark.parametrize(("dtype", "offset"), [(np.float32, 0), (np.float32, 30), (np.float64, 1000)])
@pytest.mark.parametrize("n", [40, 300, 5000])
def test_variances_signs_and_subspace_are_scikit_learns_in_float64(monkeypatch, dtype, offset, n):
    monkeypatch.setattr(pca, "_BLOCK", 512)
    rng = np.random.default_rng(n)
    features = (rng.normal(size=(n, 24)) * np.geomspace(5, 0.05, 24)) @ np.linalg.qr(rng.normal(size=(24, 24)))[0]
    features = (features + offset).astype(dtype)
    model, peer = pca.fit(features, 0.99), PCA(0.99).fit(features.astype(np.float64))
    assert len(model.components) == peer.n_components_
    np.testing.assert_allclose(model.explained_variance, peer.explained_variance_, rtol=1e-6)
    np.testing.assert_allclose(model.explained_variance_ratio, peer.explained_variance_ratio_, rtol=1e-6)
    np.testing.assert_allclose(model.mean, peer.mean_, rtol=1e-6, atol=1e-6)
    np.testing.assert_allclose(model.components, peer.components_, atol=2e-5)  # with their signs
    cosines = np.linalg.svd(model.components @ peer.components_.T, compute_uv=False)
    np.testing.assert_allclose(cosines, 1, atol=1e-6)


@settings(max_examples=30)
@given(n=st.integers(2, 200), ends=st.lists(st.integers(0, 200), max_size=5), seed=st.integers(0, 99))
def test_batches_one_after_the_other_are_one_survey(n, ends, seed):
    features = np.random.default_rng(seed).normal(size=(n, 6)) + 5
    whole, parts = pca.fit(features, 0.9), pca.fit(iter(np.split(features, sorted(min(e, n) for e in ends))), 0.9)
    for one, other in zip(vars(whole).values(), vars(parts).values(), strict=True):
        np.testing.assert_allclose(other, one, rtol=1e-5, atol=1e-5)


def test_memory_does_not_grow_with_the_survey(monkeypatch):
    monkeypatch.setenv(FIXED, "2")
    features = np.random.default_rng(0).normal(size=(60_000, 32)).astype(np.float32)
    pca.fit(features[:15_000], 0.9)  # what it imports is counted otherwise
    peaks = []
    for n in (15_000, 60_000):
        tracemalloc.start()
        pca.fit(features[:n], 0.9)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < 2 * peaks[0]  # as many blocks as there are threads, not four times as many


def test_a_collapsed_representation_is_an_error_that_says_so():
    with pytest.raises(ValueError, match="collapsed"):
        pca.fit(np.full((3000, 4), 0.1, np.float32), 0.95)


def test_one_galaxy_is_an_error():
    with pytest.raises(ValueError, match="at least two galaxies"):
        pca.fit(np.ones((1, 4)), 0.95)


def test_the_model_comes_back_from_its_table():
    features = np.random.default_rng(3).normal(size=(60, 7)).astype(np.float32)
    model = pca.fit(features, 0.9)
    table = pca.model_to_table(model, "imagenet")
    assert table["component"].to_pylist() == [None, *range(len(model.components))]
    assert table.schema.types == [pa.string(), pa.int32(), pa.float32(), pa.float32(), pa.list_(pa.float32(), 7)]
    again = pca.table_to_model(table)
    for name in ("mean", "components", "explained_variance", "explained_variance_ratio"):
        assert np.array_equal(getattr(again, name), getattr(model, name)), name
    assert np.array_equal(again.transform(features), model.transform(features))
