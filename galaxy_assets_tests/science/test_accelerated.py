"""The sums written for a GPU are those of the methods, and the methods use them where there is one."""

import numpy as np
import pytest
import torch

from galaxy_assets.science import accelerated, devices, gaussian_process, neighbours, variational
from galaxy_assets.settings.structure import Mixture

CPU = torch.device("cpu")
FEATURES = np.random.default_rng(0).normal(size=(700, 6)) * [9, 4, 2, 1, 0.5, 0.1] + 5


@pytest.fixture
def a_gpu(monkeypatch) -> None:
    """A GPU that is the CPU, and few galaxies enough for it."""
    monkeypatch.setattr(devices, "accelerator", lambda: CPU)
    for module in (neighbours, variational, gaussian_process):
        monkeypatch.setattr(module, "_ON_A_GPU", 100)
    monkeypatch.setattr(accelerated, "_BLOCK", 256)
    monkeypatch.setattr(accelerated, "_DISTANCES", 256 * 700)


def test_the_same_neighbours(a_gpu):
    expected = np.argsort(
        np.where(np.eye(700, dtype=bool), np.inf, ((FEATURES[:, None] - FEATURES) ** 2).sum(2)), axis=1
    )
    assert np.array_equal(neighbours._neighbour_lists(FEATURES, 40), expected[:, :40])
    assert neighbours._neighbour_lists(FEATURES[:150], 200).shape == (150, 149)


def test_the_same_galaxies_are_most_similar(a_gpu, monkeypatch):
    ids, examples = np.array([f"g{i:03d}" for i in range(700)]), FEATURES[[3, 9]]
    monkeypatch.setattr(neighbours, "_SCANNED_ON_A_GPU", 100)
    scanned = neighbours.SimilaritySearch(FEATURES, ids)
    monkeypatch.setattr(devices, "accelerator", lambda: None)
    expected = neighbours.SimilaritySearch(FEATURES, ids)
    assert scanned._scan is not None and expected._scan is None
    for found, known in zip(scanned.most_similar(examples, 9), expected.most_similar(examples, 9), strict=True):
        assert np.array_equal(found, known)


@pytest.mark.parametrize(("single", "tolerance"), [(False, 1e-9), (True, 1e-6)])
def test_the_same_mixture(a_gpu, monkeypatch, single, tolerance):
    settings = Mixture(components=4, n_init=2, max_iter=60)
    found = variational.fit_starts(FEATURES, settings, single=single)
    monkeypatch.setattr(devices, "accelerator", lambda: None)
    for ours, theirs in zip(found, variational.fit_starts(FEATURES, settings, single=single), strict=True):
        assert ours.lower_bound == pytest.approx(theirs.lower_bound, rel=tolerance)
        for name, values in vars(theirs.components).items():
            scale = np.abs(values).max()
            np.testing.assert_allclose(
                getattr(ours.components, name), values, atol=1e4 * tolerance * scale, err_msg=name
            )


def test_the_same_scores(a_gpu, monkeypatch):
    scored = np.random.default_rng(1).choice(700, 60, replace=False)
    scores = (FEATURES[scored, 1] > 5) * 5.0
    for process in (
        gaussian_process.fit_by_likelihood(FEATURES[scored], scores),
        gaussian_process.fit_with_fixed_kernel(FEATURES[scored], scores, FEATURES.std(0)),
    ):
        monkeypatch.setattr(devices, "accelerator", lambda: CPU)
        mean, std = process.predict(FEATURES)
        monkeypatch.setattr(devices, "accelerator", lambda: None)
        expected_mean, expected_std = process.predict(FEATURES)
        np.testing.assert_allclose(mean, expected_mean, atol=1e-9)
        np.testing.assert_allclose(std, expected_std, atol=1e-5)  # the method's own deviation is from float32 products


@pytest.mark.parametrize("name", ["MixtureTerms", "neighbour_lists", "predict_scores"])
def test_where_the_gpu_is_full_the_cpu_computes(a_gpu, monkeypatch, caplog, name):
    def full(*_) -> None:
        raise torch.OutOfMemoryError("planted")

    monkeypatch.setattr(accelerated, name, full)
    assert variational._Survey(FEATURES, 1.0)._on_device is None or name != "MixtureTerms"
    near = neighbours._neighbour_lists(FEATURES, 5)
    process = gaussian_process.fit_by_likelihood(FEATURES[:20], np.arange(20.0))
    mean, _ = process.predict(FEATURES)
    assert near.shape == (700, 5) and np.isfinite(mean).all()
    assert "memory of cpu is full: 700 galaxies are computed on the CPU" in caplog.text


def test_a_gpu_that_fills_in_the_middle_of_a_mixture_is_left(a_gpu, monkeypatch):
    settings = Mixture(components=3, n_init=1, max_iter=10)
    expected = variational.fit_starts(FEATURES, settings, single=False)
    calls, real = [], accelerated.MixtureTerms.expectation

    def full_at_the_fourth(self, *given):
        calls.append(1)
        if len(calls) == 4:
            raise torch.OutOfMemoryError("planted")
        return real(self, *given)

    monkeypatch.setattr(accelerated.MixtureTerms, "expectation", full_at_the_fourth)
    found = variational.fit_starts(FEATURES, settings, single=False)
    assert len(calls) == 4
    assert found[0].lower_bound == pytest.approx(expected[0].lower_bound, rel=1e-9)
