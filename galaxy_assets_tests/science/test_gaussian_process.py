"""The Gaussian process as arrays, against scikit-learn's."""

import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.distance import pdist
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import ConstantKernel, Matern, WhiteKernel

from galaxy_assets.science import gaussian_process
from galaxy_assets.science.gaussian_process import (
    GaussianProcess,
    fit_by_likelihood,
    fit_with_fixed_kernel,
    standard_deviations,
)


def world(n=500, d=6, seed=0):
    rng = np.random.default_rng(seed)
    features = (rng.normal(size=(n, d)) * np.geomspace(20, 0.5, d)).astype(np.float32)
    return features, np.where(features[:, 1] * features[:, 2] > 40, 5.0, rng.integers(0, 2, n))


def reference(labelled, scores, std, learner):
    """Scikit-learn's process on the features as the learner scales them, and that scale."""
    if learner == "published":
        kernel, scale = Matern(nu=1.5) + WhiteKernel(), np.ones(len(std))
        return GaussianProcessRegressor(kernel).fit(labelled, scores), scale
    scale = np.sqrt(std)
    length = np.median(pdist(labelled / scale))
    kernel = ConstantKernel(2.5**2) * Matern(length, nu=1.5) + WhiteKernel(2.5**2 / 2)
    return GaussianProcessRegressor(kernel, optimizer=None).fit(labelled / scale, scores), scale


@pytest.mark.parametrize("learner", ["published", "corrected"])
@pytest.mark.parametrize("labels", [2, 10, 70, 200])
@pytest.mark.parametrize("block", [1024, 37])
def test_mean_and_deviation_are_scikit_learns(monkeypatch, learner, labels, block):
    monkeypatch.setattr(gaussian_process, "_BLOCK", block)
    features, scores = world(seed=labels)
    std = standard_deviations(features)
    np.testing.assert_allclose(std, features.std(axis=0, dtype=np.float64), rtol=1e-12)
    peer, scale = reference(features[:labels].astype(np.float64), scores[:labels], std, learner)
    labelled = features[:labels], scores[:labels]
    found = fit_by_likelihood(*labelled) if learner == "published" else fit_with_fixed_kernel(*labelled, std)
    assert found.kernel == str(peer.kernel_)
    mean, deviation = found.predict(features)
    expected = peer.predict(features / scale, return_std=True)
    np.testing.assert_allclose(mean, expected[0], atol=1e-12)
    np.testing.assert_allclose(deviation, expected[1], atol=1e-12)


@settings(max_examples=40, deadline=None)
@given(
    length=st.sampled_from([1e-5, 1e-2, 1.0, 1e5]), noise=st.sampled_from([1e-5, 0.1, 1e5]),
    amplitude=st.sampled_from([1.0, 6.25]), offset=st.sampled_from([0.0, 300.0]), outlier=st.sampled_from([1.0, 1e4]),
    seed=st.integers(0, 99),
)  # fmt: skip
def test_neither_bounds_nor_offsets_nor_outliers_cost_accuracy(length, noise, amplitude, offset, outlier, seed):
    rng = np.random.default_rng(seed)
    features = rng.normal(size=(80, 3)) + offset
    features[-1] = outlier
    features[40:50] = features[:10] + 1e-7  # nearly coincide with galaxies that have a score
    scores = rng.integers(0, 6, 20).astype(float)
    kernel = ConstantKernel(amplitude) * Matern(length, nu=1.5) + WhiteKernel(noise)
    peer = GaussianProcessRegressor(kernel, optimizer=None).fit(features[:20], scores)
    found = GaussianProcess(np.ones(3), features[:20], scores, amplitude, length, noise, str(kernel), ())
    (mean, deviation), expected = found.predict(features), peer.predict(features, return_std=True)
    np.testing.assert_allclose(mean, expected[0], atol=1e-6)
    np.testing.assert_allclose(deviation, expected[1], atol=5e-6)


def test_the_arrays_alone_predict_a_later_batch():
    features, scores = world()
    std = standard_deviations(features)
    first = fit_with_fixed_kernel(features[:50], scores[:50], std)
    again = GaussianProcess(**{name: np.copy(v) if isinstance(v, np.ndarray) else v for name, v in vars(first).items()})
    later = world(seed=9)[0]
    np.testing.assert_array_equal(again.predict(later), first.predict(later))


@pytest.mark.parametrize("labels", [3, 57, 200])
def test_what_is_said_of_a_galaxy_depends_neither_on_its_company_nor_on_its_place(labels):
    features, scores = world(3000)
    process = fit_with_fixed_kernel(features[:labels], scores[:labels], standard_deviations(features))
    whole = np.array(process.predict(features))
    shuffled = np.random.default_rng(0).permutation(3000)
    np.testing.assert_array_equal(process.predict(features[shuffled]), whole[:, shuffled])
    for part in (slice(0, 1), slice(1200, 1203), slice(1000, 2100)):
        np.testing.assert_array_equal(process.predict(features[part]), whole[:, part])


def test_the_memory_of_a_prediction_does_not_grow_with_the_survey():
    features, scores = world(40_000)
    process = fit_with_fixed_kernel(features[:100], scores[:100], standard_deviations(features))
    peaks = []
    for n in (10_000, 40_000):
        tracemalloc.start()
        process.predict(features[:n])
        peaks.append(tracemalloc.get_traced_memory()[1] - 3 * n * 8)  # the answer and the variance it is the root of
        tracemalloc.stop()
    assert peaks[1] < 1.1 * peaks[0]
