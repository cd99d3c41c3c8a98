"""What is read off features without labels, on features whose measures are known."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.decomposition import PCA
from sklearn.neighbors import NearestNeighbors

from galaxy_assets.science.encoders.weights import build_encoder
from galaxy_assets.science.health import choose_epoch, components_for, effective_rank, from_features, measure
from galaxy_assets.settings.recipe import Recipe


def test_effective_rank_of_known_spectra():
    centred = np.linalg.qr(np.random.default_rng(0).normal(size=(50, 8)))[0]
    centred -= centred.mean(0)
    basis = np.linalg.qr(centred)[0]
    assert effective_rank(basis[:, :5] + 3) == pytest.approx(5, rel=1e-6)
    share = np.array([4, 1]) / 5
    assert effective_rank(basis[:, :2] * [4, 1]) == pytest.approx(np.exp(-(share * np.log(share)).sum()), rel=1e-6)
    assert components_for(basis[:, :2] * [4, 1], 0.95) == 2
    assert components_for(basis[:, :2] * [5, 1], 0.95) == 1
    assert components_for(basis[:, :5], 1.0) == 5


def test_collapsed_features_have_no_rank_and_nan_is_an_error():
    collapsed = np.full((100, 16), 0.1, np.float32) + np.float32(1e-9)
    assert (effective_rank(collapsed), components_for(collapsed)) == (0, 0)
    collapsed[3, 3] = np.nan
    with pytest.raises(ValueError, match="NaN"):
        effective_rank(collapsed)


@settings(deadline=None, max_examples=30)
@given(seed=st.integers(0, 1000), n=st.integers(3, 60), d=st.integers(2, 12), scale=st.floats(1e-3, 1e3))
def test_rank_and_components_obey_their_laws(seed, n, d, scale):
    rng = np.random.default_rng(seed)
    features = (rng.normal(size=(n, d)) * rng.uniform(0.1, 1, d)).astype(np.float32)
    rank = effective_rank(features)
    assert 1 <= rank <= min(n - 1, d) + 1e-9
    assert effective_rank(features * np.float32(scale)) == pytest.approx(rank, rel=1e-4)
    rotation = np.linalg.qr(rng.normal(size=(d, d)))[0]
    assert effective_rank(features @ rotation) == pytest.approx(rank, rel=1e-4)
    assert components_for(features, 0.9) == PCA(0.9, svd_solver="full").fit(features.astype(float)).n_components_


def test_two_equal_views_are_aligned_and_stable_and_opposite_ones_are_not():
    features = np.random.default_rng(0).normal(size=(300, 16)).astype(np.float32)
    same = from_features(features, features, features)
    assert (same.alignment, same.stability) == (pytest.approx(0, abs=1e-12), 1.0)
    opposite = from_features(features, features, -features)
    assert opposite.alignment == pytest.approx(4)
    other = np.random.default_rng(1).normal(size=(300, 16)).astype(np.float32)
    chance = from_features(features, features, other)
    assert chance.alignment == pytest.approx(2, abs=0.1)
    near = [NearestNeighbors(n_neighbors=10).fit(on_sphere(f)).kneighbors()[1] for f in (features, other)]
    shared = [len(set(a) & set(b)) for a, b in zip(*near, strict=True)]
    assert chance.stability == pytest.approx(np.mean(shared) / 10) and 0.02 < chance.stability < 0.05


def on_sphere(features: np.ndarray) -> np.ndarray:
    return features / np.linalg.norm(features, axis=1, keepdims=True)


def test_the_components_of_health_hold_95_percent_of_the_variance():
    features = np.random.default_rng(0).normal(size=(400, 30)) * 0.8 ** np.arange(30)
    found = {share: PCA(share, svd_solver="full").fit(features).n_components_ for share in (0.9, 0.95, 0.98)}
    assert from_features(features.astype(np.float32), features, features).pcs_95 == found[0.95]
    assert len(set(found.values())) == 3


def test_uniformity_and_spread_tell_a_sphere_from_a_point():
    rng = np.random.default_rng(0)
    spread = rng.normal(size=(2000, 64)).astype(np.float32)
    point = np.ones((2000, 64), np.float32) + 1e-3 * spread
    sphere, collapsed = (from_features(f, f, f) for f in (spread, point))
    assert sphere.feature_std == pytest.approx(1, rel=0.02)
    # points on a sphere of many dimensions lie sqrt(2) apart; exp(-2 d^2) has mean exp(-4 + 8 / 64) to second order
    assert sphere.uniformity == pytest.approx(-4 + 8 / 64, abs=0.05)
    assert collapsed.feature_std < 0.01
    assert collapsed.uniformity == pytest.approx(0, abs=1e-3)


def test_measuring_is_repeatable_and_leaves_the_network_alone(tmp_path):
    recipe = Recipe(backbone="test_efficientnet", image_size=32, batch_size=8)
    encoder = build_encoder(recipe.backbone, "random", seed=0, weights=tmp_path).train()
    before = {name: tensor.clone() for name, tensor in encoder.state_dict().items()}
    pixels = np.random.default_rng(0).integers(0, 256, (20, 32, 32, 3), np.uint8)
    one, two = (measure(encoder, pixels, np.arange(3, 20), recipe, torch.device("cpu")) for _ in range(2))
    assert one == two
    assert encoder.training
    assert all(torch.equal(tensor, before[name]) for name, tensor in encoder.state_dict().items())


def rows(*measured: tuple[int, float]) -> list[dict]:
    return [{"epoch": i, "pcs_95": p, "stability": s} for i, (p, s) in enumerate(measured)]


def test_the_epoch_is_chosen_by_health_and_the_reason_is_given():
    trained = rows((100, 0.2), (40, 0.3), (20, 0.5), (9, 0.9))
    assert choose_epoch(trained, "last")[0] == 3
    epoch, reason = choose_epoch(trained, "healthy")
    assert epoch == 2 and "0.500, start 0.200" in reason and "(20)" in reason
    assert choose_epoch(rows((100, 0.2), (9, 0.9), (3, 0.9)), "healthy")[0] == 0
    assert "stabler" in choose_epoch(rows((100, 0.2), (50, 0.1)), "healthy")[1]
    # the training from random weights that ended 11 points below its start: within the noise of 1,000 galaxies
    assert choose_epoch(rows((94, 0.0279), (26, 0.0303)), "healthy")[0] == 0
    # ten components are enough, nine are not; so is a fifth more stability than the start has, and no less
    assert choose_epoch(rows((100, 0.2), (10, 0.9)), "healthy")[0] == 1
    assert choose_epoch(rows((100, 0.2), (9, 0.9)), "healthy")[0] == 0
    assert choose_epoch(rows((100, 0.5), (50, 0.61)), "healthy")[0] == 1
    assert choose_epoch(rows((100, 0.5), (50, 0.6)), "healthy")[0] == 0
    # a start with few dimensions of its own may keep half of them
    assert choose_epoch(rows((8, 0.2), (4, 0.3)), "healthy")[0] == 1
    assert choose_epoch(rows((100, 0.2)), "healthy")[0] == 0
