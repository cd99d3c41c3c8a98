"""Pixels without data: found, filled with what lies around them, and left out of noise, threshold and contour."""

import os
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from galaxy_assets.deliveries.readers import decode_file
from galaxy_assets.science.artefacts import evidence
from galaxy_assets.science.cutouts import cut
from galaxy_assets.science.cutouts.nodata import fill, find, sentinels
from galaxy_assets.science.cutouts.rendering import levels, to_8_bit
from galaxy_assets.settings.artefacts import ArtefactRules
from galaxy_assets.settings.cutouts import CutoutSettings

REAL = os.environ.get("GALAXY_ASSETS_REAL_DATA")
real_data = pytest.mark.skipif(not REAL, reason="GALAXY_ASSETS_REAL_DATA is not set")
SIDE = 64
Y, X = np.mgrid[:SIDE, :SIDE] - SIDE // 2


def galaxy(sky: float, noise: float = 0.05, peak: float = 2.0, width: float = 5.0, seed: int = 0) -> np.ndarray:
    light = peak * np.exp(-0.5 * (X**2 + (Y * 1.3) ** 2) / width**2)
    return (sky + light + np.random.default_rng(seed).normal(0, noise, (SIDE, SIDE))).astype(np.float32)


BORDER = (np.abs(X + 0.5) > SIDE / 2 - 8) | (np.abs(Y + 0.5) > SIDE / 2 - 8)
WHOLE = CutoutSettings(method="whole", size=SIDE, grey=True)


@pytest.mark.parametrize("sky", [-5.0, 0.0, 7.0, 1000.0])
@pytest.mark.parametrize("gap", [np.nan, np.inf, -99999.0, -9999.0, 1e30, -1e30])
def test_a_border_without_data_looks_like_the_sky_wherever_that_lies(sky, gap):
    clean = galaxy(sky)
    image = np.where(BORDER, np.float32(gap), clean)
    made, as_it_was = cut(image, WHOLE), cut(clean, WHOLE)
    border, inner = made.pixels[BORDER, 0].astype(int), as_it_was.pixels[~BORDER, 0].astype(int)
    assert np.abs(made.pixels[~BORDER, 0].astype(int) - inner).max() <= 8  # the noise at the border may be the least
    assert np.abs(border - np.median(inner)).max() <= 20
    assert made.nodata_fraction == pytest.approx(BORDER.mean()) and as_it_was.nodata_fraction == 0
    assert 0 < border.min() and border.max() < made.pixels.max() - 100


@pytest.mark.parametrize("gap", [np.nan, -99999.0])
def test_noise_threshold_and_contour_leave_out_what_has_no_data(gap):
    clean = galaxy(3.0)
    image = np.where(BORDER, np.float32(gap), clean)
    ours, known = (cut(one, CutoutSettings(size=32)) for one in (image, clean[8:-8, 8:-8]))
    assert (ours.noise_std, ours.threshold) == pytest.approx((known.noise_std, known.threshold))
    assert ours.outcome == known.outcome == "cropped" and ours.contour_area == known.contour_area
    by_flux = CutoutSettings(method="flux_radius", source="all", size=32)
    ours, known = cut(image, by_flux), cut(clean[8:-8, 8:-8], by_flux)
    assert ours.contour_area == known.contour_area
    assert [edge - 8 for edge in ours.box] == list(known.box)


def test_a_bright_gap_is_no_source():
    image = galaxy(0.0, peak=0.0)
    image[28:36, 28:36] = 65535
    made = cut(image, CutoutSettings(size=32))
    assert made.outcome == "fallback_no_contour" and made.nodata_fraction == 64 / SIDE**2


def test_each_galaxy_stays_itself_beside_a_gap():
    images = [np.where(BORDER, np.nan, galaxy(-5.0, width=width)) for width in (3.0, 8.0)]
    small, large = (cut(image, WHOLE).pixels.astype(int) for image in images)
    assert np.abs(small - large).max() > 100


def test_the_share_is_that_of_the_box():
    image = galaxy(0.0)
    image[:, 40:] = np.nan
    made = cut(image, CutoutSettings(method="central", central_pixels=20, size=32))
    assert made.box == (22, 22, 42, 42) and made.nodata_fraction == 2 / 20


def test_a_frame_without_data_or_with_one_value_beside_gaps_is_blank():
    assert cut(np.full((20, 20), np.nan), WHOLE).outcome == "blank"
    made = cut(np.where(BORDER, np.nan, 7.0), WHOLE)
    assert (made.outcome, made.pixels, made.nodata_fraction) == ("blank", None, pytest.approx(BORDER.mean()))


def test_a_channel_without_data_takes_the_mean_of_the_others():
    colour = np.dstack([galaxy(0.0), galaxy(0.0) * 3, np.full((SIDE, SIDE), np.nan)]).astype(np.float32)
    made = cut(colour, CutoutSettings(method="whole", size=SIDE))
    assert made.nodata_fraction == pytest.approx(1 / 3)
    red, green, blue = np.moveaxis(made.pixels.astype(int), -1, 0)
    assert np.abs(blue - (red + green) / 2).max() <= 1
    first_missing = np.ascontiguousarray(colour[..., ::-1])
    assert cut(first_missing, CutoutSettings(size=32)).outcome == "cropped"  # though it is what is thresholded


def test_8_bits_have_no_data_only_where_they_are_masked_or_named():
    image = np.clip(galaxy(50, noise=3, peak=150), 0, 255).astype(np.uint8)
    image[BORDER] = 0
    assert cut(image, WHOLE).nodata_fraction == 0 and find(image[..., None]) is None
    named = cut(image, WHOLE.model_copy(update={"nodata": (0.0,)}))
    masked = cut(np.ma.MaskedArray(image[..., None], mask=BORDER[..., None]), WHOLE)
    assert named.nodata_fraction == pytest.approx(BORDER.mean())
    assert np.array_equal(named.pixels, masked.pixels) and abs(int(np.median(named.pixels[BORDER])) - 50) < 3
    assert np.array_equal(named.pixels[~BORDER, 0], image[~BORDER])


def test_the_setting_names_values_or_none():
    image = np.where(BORDER, np.float32(-99999), galaxy(0.0))[..., None]
    assert find(image, "none") is None
    assert find(image, (1e30,)) is None
    assert np.array_equal(find(image, (-99999.0, 4.0))[..., 0], BORDER)
    assert find(np.where(np.isnan(image), image, np.nan), "none").all()  # NaN is never light


# --- which values stand for no data


@pytest.mark.parametrize(
    ("what", "image", "found"),
    [
        ("two of them", np.where(Y < -28, -9999, np.where(X < -28, 2.0**99, galaxy(0))), {-9999.0, 2.0**99}),
        ("65535 of unsigned integers", np.where(BORDER, 65535, galaxy(1000, 10, 3000).round()), {65535.0}),
        ("black border of a bright sky", np.where(BORDER, 0, galaxy(100, 1, 5000)), {0.0}),
        ("most of the frame", np.where(np.abs(X) < 10, galaxy(0), -99999), {-99999.0}),
        ("a dead pixel", np.where((Y == 9) & (X == 9), -999, galaxy(0)), {-999.0}),
        ("three bright pixels", np.where((Y == 0) & (np.abs(X) < 2), 99999, galaxy(0)), set()),
        ("black border of a sky of seven noises", np.where(BORDER, 0, galaxy(7, 1, 30)), {0.0}),
        ("a border in the sky's noise", np.where(BORDER, 6, galaxy(7, 1, 30)), set()),
        ("sky at zero", np.where(BORDER, 0, galaxy(0)), set()),
        ("a saturated star", np.minimum(galaxy(10, 1, 90000), 60000), set()),
        ("counts of few photons", np.random.default_rng(0).poisson(0.3, (SIDE, SIDE)).astype(float), set()),
        ("counts of some photons", np.random.default_rng(0).poisson(9, (SIDE, SIDE)).astype(float), set()),
        ("a sky cut to zero", np.where(galaxy(0, 0.1, 1.0, 3) > 0.5, galaxy(0, 0.1, 1.0, 3), 0), set()),
        ("a faint source on a sky cut to zero", np.where(X**2 + Y**2 < 50, galaxy(3, 0.1, 0.5), 0), set()),
        ("two levels", (X**2 + Y**2 < 50) * 5.0, set()),
        ("a ramp", X.astype(float), set()),
        ("one value", np.ones((SIDE, SIDE)), set()),
    ],
)  # fmt: skip
def test_a_value_stands_for_no_data_where_no_light_could(what, image, found):
    assert set(sentinels(np.asarray(image, np.float32))) == found, what


@given(st.integers(0, 99), st.floats(-100, 100), st.floats(0.01, 10), st.booleans())
def test_no_sky_and_no_galaxy_is_taken_for_missing(seed, sky, noise, rounded):
    image = galaxy(sky, noise, 50 * noise, seed=seed)
    assert sentinels(image.round() if rounded else image) == []


# --- what is shown in their place


@given(st.integers(0, 999), st.integers(1, 40), st.integers(1, 40), st.floats(0, 0.999))
def test_what_is_filled_lies_among_the_data_and_the_data_stay(seed, height, width, share):
    rng = np.random.default_rng(seed)
    band, gaps = rng.normal(0, 1, (height, width)), rng.random((height, width)) < share
    filled = fill(band, gaps)
    assert filled.shape == band.shape and np.array_equal(filled[~gaps], band[~gaps])
    if not gaps.all():
        assert np.isfinite(filled).all()
        assert band[~gaps].min() <= filled.min() and filled.max() <= band[~gaps].max()


def test_a_dead_pixel_takes_its_neighbours_and_a_wide_gap_the_nearest_side():
    ramp = np.tile(np.arange(64.0), (64, 1))
    dead = np.zeros(ramp.shape, bool)
    dead[30, 40] = True
    assert fill(ramp, dead)[30, 40] == 40
    wide = np.zeros(ramp.shape, bool)
    wide[:, :16] = wide[:, 48:] = True
    filled = fill(ramp, wide)
    assert filled[:, :16].max() < 32 < filled[:, 48:].min()


def test_8_bits_stay_8_bits():
    band = np.full((20, 20), 9, np.uint8)
    gaps = np.eye(20, dtype=bool)
    filled = fill(np.where(gaps, 200, band).astype(np.uint8), gaps)
    assert filled.dtype == np.uint8 and (filled == 9).all()


# --- stretch and levels


def test_one_hot_pixel_blackens_linear_cutouts_alone():
    image = galaxy(10.0, noise=0.2, peak=20)
    hot = image.copy()
    hot[5, 5] = 1e6
    shown = {how: cut(hot, WHOLE.model_copy(update={"stretch": how})) for how in ("linear", "percentile", "asinh")}
    peaks = {how: int(made.pixels[24:40, 24:40].max()) for how, made in shown.items()}
    assert peaks["linear"] == 0 and min(peaks["percentile"], peaks["asinh"]) > 230
    assert shown["linear"].levels < 3 and min(shown["percentile"].levels, shown["asinh"].levels) > 100
    clean = {how: cut(image, WHOLE.model_copy(update={"stretch": how})).pixels for how in ("percentile", "asinh")}
    for how, pixels in clean.items():
        assert np.abs(shown[how].pixels[10:].astype(int) - pixels[10:]).max() <= 6


def test_asinh_shows_what_is_far_below_the_peak():
    image = galaxy(0.0, noise=1.0, peak=50.0, width=8) + galaxy(0.0, noise=0, peak=1e5, width=1)
    linear, by_asinh = (cut(image, WHOLE.model_copy(update={"stretch": how})) for how in ("linear", "asinh"))
    assert linear.levels < 32 < by_asinh.levels
    assert linear.pixels[32, 40, 0] < 3 and by_asinh.pixels[32, 40, 0] > 60


def test_each_band_is_scaled_by_itself():
    bands = np.dstack([galaxy(0), galaxy(500) * 3, galaxy(-7, 0.5, 20)])
    assert np.ptp(np.median(to_8_bit(bands, "linear"), axis=(0, 1))) > 100
    for how in ("asinh", "percentile"):
        sky = np.median(to_8_bit(bands, how), axis=(0, 1))
        assert np.ptp(sky) < 12 and (to_8_bit(bands, how).max(axis=(0, 1)) == 255).all()


@pytest.mark.parametrize("how", ["linear", "asinh", "percentile"])
def test_stretches_take_what_has_no_noise(how):
    point = np.zeros((20, 20, 1))
    point[10, 10] = 5.0
    for image in (point, np.ones((20, 20, 1)), np.arange(400.0).reshape(20, 20, 1)):
        shown = to_8_bit(image, how)
        assert shown.dtype == np.uint8 and shown.shape == image.shape
    assert to_8_bit(point, how).max() == 255


@given(st.integers(2, 30), st.integers(2, 30), st.lists(st.floats(-1e6, 1e6, width=32), min_size=1, max_size=8))
def test_a_percentile_stretch_shows_all_levels_of_what_is_not_constant(height, width, shining):
    band = np.zeros(height * width)
    band[: len(shining)] = shining[: len(band)]
    shown = to_8_bit(band.reshape(height, width, 1), "percentile")
    assert (shown.min(), shown.max()) == ((0, 255) if np.ptp(band) else (0, 0))


def test_levels_are_counted_above_the_noise():
    rows = np.zeros((30, 30, 1), np.uint8)
    rows[:, 10] = np.arange(100, 130)[:, None]
    assert levels(rows, WHOLE) == 30
    assert levels(np.repeat(rows, 3, axis=2), WHOLE) == 30
    assert levels(np.zeros((20, 20, 1), np.uint8), WHOLE) == 0


def test_a_share_without_data_is_evidence():
    pixels = np.stack([np.clip(galaxy(50, 3, 150), 0, 255).astype(np.uint8)[..., None]] * 3)
    found = evidence(pixels, ["whole"] * 3, ArtefactRules(), [0.0, 0.19, 0.2]).to_pylist()
    assert [(row["reason"], row["suspect"]) for row in found] == [("", False), ("", False), ("nodata", True)]
    assert evidence(pixels, ["whole"] * 3, ArtefactRules()).num_rows == 3
    assert "nodata" not in ArtefactRules().decisive


@real_data
@pytest.mark.parametrize(("case", "share"), [("17a-sky-minus5", 1 / 6), ("17c-sentinel", 1 / 12)])
def test_galaxies_beside_gaps_stay_different_and_gaps_look_like_sky(case, share):
    files = sorted(Path(str(REAL), "cases", case, "images").glob("*.fits"))
    made = [cut(decode_file(file), CutoutSettings(method="whole", size=96, grey=True)) for file in files]
    assert len(made) == 24 and all(one.nodata_fraction == pytest.approx(share) for one in made)
    width = round(96 * share)
    pixels = np.stack([one.pixels[..., 0] for one in made]).astype(int)
    gap, sky = pixels[:, :, : width - 1], np.median(pixels[:, :, 96 - width :], axis=(1, 2))
    assert np.abs(gap - sky[:, None, None]).max() < 25 and (gap.max(axis=(1, 2)) < pixels.max(axis=(1, 2)) - 150).all()
    flat = pixels.reshape(24, -1)
    closest = min(np.abs(flat[i] - flat[j]).mean() for i in range(24) for j in range(i))
    assert closest > 2
    assert all(one.levels >= 32 for one in made)
