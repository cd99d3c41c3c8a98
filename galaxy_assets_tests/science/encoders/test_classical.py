"""Features by formulae: values that are known of drawn galaxies, and the encoder made of them."""

import cv2
import numpy as np
import pytest
import torch
from torch.nn import functional as F

from galaxy_assets.plugins.training_contracts import check_encoder, check_start_weights
from galaxy_assets.science.encoders import morphology
from galaxy_assets.science.encoders.classical import SCALES, Classical, classical_weights, measured
from galaxy_assets.science.encoders.composition import side_by_side
from galaxy_assets.science.encoders.embedding import embed, oriented
from galaxy_assets.science.encoders.weights import WeightFiles, build_encoder
from galaxy_assets_tests.conftest import draw

CPU = torch.device("cpu")
SIDE = 64
Y, X = np.mgrid[:SIDE, :SIDE] - (SIDE - 1) / 2


def disc(x=0.0, y=0.0, major=15.0, ratio=1.0, angle=0.0, exponential=False):
    """Light of an ellipse: even, or falling exponentially by e in half of its major axis."""
    along = (X - x) * np.cos(angle) + (Y - y) * np.sin(angle)
    across = (Y - y) * np.cos(angle) - (X - x) * np.sin(angle)
    radius = np.hypot(along, across / ratio)
    return np.exp(-2 * radius / major) if exponential else (radius <= major).astype(float)


def values(*images):
    """What is measured of drawn lights, (n,) or (n, m) arrays by name."""
    stack = torch.from_numpy(np.stack(images)).float()[:, None].expand(-1, 3, -1, -1)
    return {name: tensor.numpy() for name, tensor in measured(stack).items()}


def encoder(backbone="test_resnet"):
    return classical_weights(backbone, seed=0, files=WeightFiles(None))  # pyright: ignore


def test_it_keeps_the_contracts_of_start_weights_and_encoders():
    check_start_weights("classical", backbone="test_resnet")
    check_encoder("classical")


def test_every_formula_has_a_scale_and_as_many_values():
    found = values(disc(), disc(ratio=0.5))
    assert set(found) == set(SCALES)
    assert {name: len(scale.typical) for name, scale in SCALES.items()} == {
        name: value.reshape(2, -1).shape[1] for name, value in found.items()
    }
    assert encoder().feature_size == Classical()(torch.rand(1, 3, 40, 40)).shape[1]


def test_gini_m20_concentration_and_asymmetry_are_the_formulae_written_out():
    rng = np.random.default_rng(0)
    light = (disc(3, -2, 20, 0.6, 0.5, exponential=True) + 0.3 * disc(-12, 5, 6, exponential=True)).astype(np.float32)
    light *= rng.uniform(0.9, 1.1, light.shape).astype(np.float32)
    region = light > 0.05
    found = morphology.light(torch.from_numpy(light)[None], torch.from_numpy(region)[None])
    given, ordered = np.where(region, light, 0), np.sort(light[region])
    n, total = len(ordered), ordered.sum()
    ranks = np.arange(1, n + 1)
    gini = ((2 * ranks - n - 1) * ordered).sum() / (ordered.mean() * n * (n - 1))  # Lotz et al. 2004, Eq. 6
    cx, cy = (given * X).sum() / total, (given * Y).sum() / total
    radius = np.hypot(X - cx, Y - cy)
    faintest = ordered[::-1][np.searchsorted(np.cumsum(ordered[::-1]), 0.2 * total)]
    moment = given * radius**2
    m20 = np.log10(moment[given >= faintest].sum() / moment.sum())  # Eq. 8
    grown = sorted((r, value) for r, value in zip(radius[region], given[region], strict=True))
    cumulative = np.cumsum([value for _, value in grown])
    areas = (np.interp(share * total, cumulative, np.arange(1, n + 1)) for share in (0.2, 0.8))
    r20, r80 = (np.sqrt(area / np.pi) for area in areas)
    asymmetries = []
    for dx in (-1, 0, 1):
        for dy in (-1, 0, 1):
            turn = np.array([[-1, 0, 2 * (cx + dx) + SIDE - 1], [0, -1, 2 * (cy + dy) + SIDE - 1]])
            turned = cv2.warpAffine(given, turn, (SIDE, SIDE), flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP)
            asymmetries.append(np.abs(given - turned).sum() / (2 * total))
    expected = {"gini": gini, "m20": m20, "concentration": 5 * np.log10(r80 / r20), "asymmetry": min(asymmetries)}
    assert {name: float(found[name]) for name in expected} == pytest.approx(expected, rel=0.02)
    assert float(found["gini"]) == pytest.approx(gini, rel=1e-4) and float(found["m20"]) == pytest.approx(m20, rel=1e-4)


def test_an_even_disc_and_an_exponential_one_have_the_values_of_theory():
    even, steep, flat = 0, 1, 2
    found = values(disc(major=16), disc(major=16, exponential=True), disc(major=20, ratio=0.4, angle=0.7))
    assert found["main_gini"][even] < 0.15 < 0.35 < found["main_gini"][steep]
    # of an even disc half the light lies within 1 / sqrt 2 of the radius, and r80 / r20 is 2
    assert 10 ** found["main_half_light_radius"][even] * SIDE / 2 == pytest.approx(16 / 2**0.5, rel=0.05)
    assert found["main_concentration"][even] == pytest.approx(5 * np.log10(2), rel=0.05)
    assert found["main_concentration"][steep] > found["main_concentration"][even] + 0.5
    assert found["main_axis_ratio"][[even, flat]] == pytest.approx([1, 0.4], abs=0.03)
    assert (found["main_asymmetry"] < 0.03).all()
    assert found["isophote_ratio"][flat, 0] == pytest.approx(0.4, abs=0.05)  # of the 3x3 mean, a pixel wider
    assert (found["isophote_residual"][:, 0] < 0.06).all()


def test_residuals_and_axes_are_those_of_opencvs_ellipse():
    """As Astronomaly measures them; where the outline is an ellipse both agree, where it is none both say so."""
    ellipse, bent = disc(2, 1, 20, 0.5, 0.4), np.clip(disc(0, -8, 20, 0.3) + disc(-14, 6, 16, 0.35, 1.57), 0, 1)
    found = values(ellipse, bent)
    for i, drawn in enumerate((ellipse, bent)):
        (outline,), _ = cv2.findContours(drawn.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
        centre, axes, angle = cv2.fitEllipse(outline)
        filled = cv2.ellipse(np.zeros(drawn.shape), (centre, axes, angle), 1.0, -1)
        residual = np.abs(filled - drawn).sum() / drawn.sum()
        if i == 0:
            assert found["isophote_ratio"][0, 0] == pytest.approx(min(axes) / max(axes), abs=0.05)
            assert residual < 0.12 and found["isophote_residual"][0, 0] < 0.12
        else:
            assert residual > 0.3 and found["isophote_residual"][1, 0] > 0.3


def test_a_merger_has_two_peaks_and_more_asymmetry():
    one = disc(major=12, exponential=True)
    two = disc(-9, 0, 9, exponential=True) + 0.7 * disc(9, 0, 9, exponential=True)
    found = values(one, two)
    assert found["main_peaks"].tolist() == [1.0, np.log2(3).astype(np.float32)]
    assert found["main_second_peak"].tolist() == pytest.approx([0, 0.7], abs=0.05)
    assert found["main_asymmetry"][1] > found["main_asymmetry"][0] + 0.1
    assert found["isophote_residual"][1, 0] > 3 * found["isophote_residual"][0, 0]


def test_a_saturated_core_is_one_peak():
    assert values(np.clip(3 * disc(major=30, exponential=True), 0, 1))["main_peaks"].tolist() == [1.0]


def test_another_galaxy_in_the_frame_is_left_out_of_the_main_one():
    alone, companion = disc(major=10), disc(24, 24, 5)
    found = values(alone, alone + companion)
    np.testing.assert_allclose(*found["main_flux"], rtol=1e-6)
    assert found["all_flux"][1] > found["all_flux"][0] + 0.05 and found["all_area"][1] > found["all_area"][0]
    assert found["isophote_connected"][1, 0] == pytest.approx((alone.sum()) / (alone + companion).sum(), abs=0.05)


def test_colours_are_those_of_the_middle_and_the_step_outside():
    core, halo = disc(major=8), disc(major=20)
    image = np.stack([0.2 * halo + 0.6 * core, 0.2 * halo + 0.3 * core, 0.2 * halo], axis=0)
    found = measured(torch.from_numpy(image)[None].float())
    grey = measured(torch.from_numpy(image.mean(0)).float().expand(1, 3, -1, -1))
    assert float(found["colour_red"]) > 0.2 and float(found["colour_redder_outside"]) < -0.1
    assert all(float(grey[name]) == 0 for name in grey if name.startswith("colour"))


@pytest.mark.parametrize("level", [0, 128, 255])
def test_an_image_in_which_nothing_shines_has_finite_features_and_no_flux(level):
    pixels = np.full((2, 48, 48, 3), level, np.uint8)
    pixels[1, 0, 0] = 255 - level
    features = embed(encoder(), pixels, device=CPU)
    assert np.isfinite(features).all() and np.abs(features).max() <= 3
    assert features[0, list(SCALES).index("main_flux")] == -3


def test_features_stay_under_mirroring_and_quarter_turns_and_do_not_depend_on_the_batch():
    rng = np.random.default_rng(0)
    pixels = np.stack([draw(kind, rng, 90) for kind in ("round", "long", "pair")])
    features = embed(encoder(), pixels, device=CPU)
    images = torch.from_numpy(pixels).permute(0, 3, 1, 2).float() / 255
    for view in oriented(images, 8):
        np.testing.assert_allclose(encoder()(view).numpy(), features, atol=0.02)
    alone = embed(encoder(), pixels[1:2], device=CPU)
    np.testing.assert_allclose(alone[0], features[1], atol=1e-4)


def test_it_is_looked_at_once_however_many_orientations_the_network_beside_it_has(tmp_path, monkeypatch):
    network = build_encoder("test_resnet", "random", seed=0, weights=tmp_path)
    pixels = np.stack([draw("long", np.random.default_rng(1), 64)])
    both = side_by_side([network, encoder()], [1.0, 0.5])
    expected = np.hstack(
        [embed(network, pixels, device=CPU, orientations=8), 0.5 * embed(encoder(), pixels, device=CPU)]
    )
    seen, forward = [], Classical.forward
    monkeypatch.setattr(Classical, "forward", lambda self, images: seen.append(len(images)) or forward(self, images))
    found = embed(both, pixels, device=CPU, orientations=8)
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-4)
    assert len(seen) <= 3, "once, beside what folding compares"


def test_the_size_of_the_image_hardly_matters_and_precision_does_not():
    image = torch.from_numpy(draw("pair", np.random.default_rng(2), 128)).permute(2, 0, 1)[None].float() / 255
    small = F.interpolate(image, size=(64, 64), mode="bilinear", antialias=True)
    assert (encoder()(image) - encoder()(small)).abs().median() < 0.05
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(encoder()(image), encoder().eval()(image)) and encoder()(image).dtype == torch.float32
