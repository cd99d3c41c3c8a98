"""What is cut out of an image, beside the same steps written plainly with astropy and OpenCV."""

import os
from pathlib import Path

import cv2
import numpy as np
import pytest
from astropy.stats import sigma_clipped_stats
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from galaxy_assets.science.cutouts import OUTCOMES, WITHOUT_PIXELS, cut, sigma_clipped_noise
from galaxy_assets.surveys.model import CutoutSettings

SMALL = CutoutSettings(size=32)
READINGS = ("paper_text", "astronomaly")


def blob(height: int, width: int, x: float, y: float, sx: float, sy: float, peak: float = 90.0, seed: int = 0):
    """uint8 (height, width): a Gaussian source on a noisy sky of mean 10 and standard deviation 2."""
    rows, columns = np.mgrid[:height, :width]
    source = peak * np.exp(-0.5 * (((columns - x) / sx) ** 2 + ((rows - y) / sy) ** 2))
    sky = np.random.default_rng(seed).normal(10, 2, (height, width))
    return np.clip(np.rint(sky + source), 0, 127).astype(np.uint8)


def peer(image: np.ndarray, choice: CutoutSettings) -> tuple[np.ndarray, tuple[int, int, int, int]]:
    """Pixels and box of a uint8 (H, W, 3) image by astropy's clipping and every contour asked in turn."""
    height, width = image.shape[:2]
    _, median, std = sigma_clipped_stats(image[..., 0], sigma=choice.sigma)
    mask = (image[..., 0] > median + std * (choice.sigma if choice.threshold == "paper_text" else 1)).astype(np.uint8)
    contours, _ = cv2.findContours(mask, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
    hit = [c for c in contours if cv2.pointPolygonTest(c, (width // 2, height // 2), False) == 1]
    x0, y0, x1, y1 = 0, 0, width, height
    if hit:
        x, y, w, h = cv2.boundingRect(hit[0])
        side = round(choice.enlarge * max(w, h))
        side_x, side_y = min(side, width), min(side, height)
        x0 = int(np.clip(np.floor(x + w / 2 - side_x / 2 + 0.5), 0, width - side_x))
        y0 = int(np.clip(np.floor(y + h / 2 - side_y / 2 + 0.5), 0, height - side_y))
        x1, y1 = x0 + side_x, y0 + side_y
    crop, size = image[y0:y1, x0:x1], choice.size
    shrunk = cv2.resize(crop, (min(x1 - x0, size), min(y1 - y0, size)), interpolation=cv2.INTER_AREA)
    return cv2.resize(shrunk, (size, size), interpolation=cv2.INTER_CUBIC), (x0, y0, x1, y1)


@pytest.mark.filterwarnings("ignore::RuntimeWarning")  # astropy's, of an empty slice
class TestNoise:
    # at these limits no 8-bit level lies on a clipping bound, where the last bit of the deviation would decide
    limits = st.sampled_from([0.9 * np.pi / 3, np.e, np.pi, 1.27 * np.pi])

    @given(arrays(np.uint8, array_shapes(min_dims=1, max_dims=2, max_side=40)), limits, st.integers(1, 6))
    def test_8_bit_equals_astropy(self, values, sigma, maxiters):
        mean, median, std = sigma_clipped_noise(values, sigma, maxiters)
        expected = sigma_clipped_stats(values, sigma=sigma, maxiters=maxiters)
        np.testing.assert_array_equal([mean, median], expected[:2])
        np.testing.assert_allclose(std, expected[2], rtol=1e-12, atol=1e-12)

    @given(arrays(np.float64, array_shapes(min_dims=1, max_dims=2, max_side=30), elements=st.floats(-1e3, 1e3)), limits)
    def test_floats_equal_astropy(self, values, sigma):
        expected = sigma_clipped_stats(values, sigma=sigma)
        np.testing.assert_allclose(sigma_clipped_noise(values, sigma), expected, rtol=1e-7, atol=1e-9)

    @pytest.mark.parametrize("dtype", [np.float32, np.float64, ">f4"])
    def test_a_small_noise_on_a_large_sky_is_not_lost(self, dtype):
        values = np.random.default_rng(1).normal(1e4, 0.5, 10_000).astype(dtype)
        values[:50] += 1e3
        expected = sigma_clipped_stats(values.astype(np.float64), sigma=4.0)
        assert sigma_clipped_noise(values, 4.0) == pytest.approx(expected, rel=1e-12)
        assert expected[2] == pytest.approx(0.5, rel=0.05)

    def test_an_image_at_the_survey_limit_equals_astropy(self):
        image = blob(424, 424, 212, 212, 30, 20)
        mean, median, std = sigma_clipped_noise(image, 4.0)
        expected = sigma_clipped_stats(image, sigma=4.0)
        assert (mean, median) == expected[:2] and std == pytest.approx(expected[2], rel=1e-12)

    def test_nothing_survives(self):
        assert np.isnan(sigma_clipped_stats(np.array([0, 10], np.uint8), sigma=0.5)).all()
        assert np.isnan(sigma_clipped_noise(np.array([0, 10], np.uint8), 0.5)).all()
        assert np.isnan(sigma_clipped_noise(np.array([0.0, 10.0]), 0.5)).all()
        assert np.isnan(sigma_clipped_noise(np.full(3, np.nan), 4.0)).all()

    def test_values_that_are_not_finite_are_left_out(self):
        values = np.array([1.0, 2.0, 3.0, np.nan, np.inf])
        assert sigma_clipped_noise(values, 4.0) == pytest.approx((2.0, 2.0, np.sqrt(2 / 3)))


def ellipse(side: int, sx: float, sy: float, degrees: float, dtype: type = np.float64) -> np.ndarray:
    """(side, side): a Gaussian of widths sx, sy along axes turned by `degrees` from x to y, on a sky of 10."""
    y, x = np.mgrid[:side, :side] - (side - 1) / 2
    angle = np.radians(degrees)
    u, v = x * np.cos(angle) + y * np.sin(angle), y * np.cos(angle) - x * np.sin(angle)
    return (10 + 200 * np.exp(-0.5 * ((u / sx) ** 2 + (v / sy) ** 2))).astype(dtype)


class TestFluxRadius:
    choice = CutoutSettings(method="flux_radius", size=64, align=True, grey=True)

    def test_the_box_follows_the_radius_that_holds_the_flux(self):
        for width in (6.0, 12.0):
            made = cut(ellipse(201, width, width, 0), self.choice.model_copy(update={"enlarge": 1.5}))
            assert made.box is not None
            expected = 2 * 1.5 * width * np.sqrt(-2 * np.log(1 - 0.85))  # of a whole Gaussian; its faint rim is sky
            assert made.box[2] - made.box[0] == pytest.approx(expected, rel=0.06)

    @given(st.floats(-89, 89))
    def test_the_major_axis_becomes_horizontal_whatever_it_was(self, degrees):
        level = cut(ellipse(201, 16, 6, 0, np.uint8), self.choice)
        turned = cut(ellipse(201, 16, 6, degrees, np.uint8), self.choice)
        assert turned.angle == pytest.approx(degrees, abs=1)
        assert level.pixels is not None and turned.pixels is not None
        assert (
            np.abs(level.pixels.astype(float) - turned.pixels).max() < 25
        )  # of 200, on flanks that fall by 20 a pixel
        assert np.abs(level.pixels.astype(float) - turned.pixels).mean() < 2

    def test_without_align_the_axis_stays(self):
        made = cut(ellipse(201, 16, 6, 90), CutoutSettings(method="flux_radius", size=64, grey=True))
        assert made.angle == 0 and made.pixels is not None
        assert made.pixels[:, 32].mean() > 2 * made.pixels[32].mean()
        with pytest.raises(ValueError, match="flux_radius"):
            CutoutSettings(align=True)

    def test_lobes_apart_from_the_centre_are_one_source_if_asked(self):
        image = np.zeros((151, 151), np.uint8)
        image[70:81, 20:31] = image[70:81, 120:131] = 200
        assert cut(image, self.choice).outcome == "fallback_no_contour"
        both = cut(image, self.choice.model_copy(update={"source": "all", "enlarge": 1.2}))
        assert both.outcome == "cropped" and both.angle == 0 and both.box is not None
        assert both.box[0] <= 20 and both.box[2] >= 131

    def test_beyond_the_frame_is_sky(self):
        image = ellipse(100, 12, 3, 45, np.uint8)
        image[:3, :3] = 60  # turned away
        made = cut(image, self.choice.model_copy(update={"enlarge": 9.0}))
        assert made.box == (0, 0, 100, 100) and made.pixels is not None and made.outcome == "cropped"
        assert made.pixels[0, 0] == made.pixels[-1, -1] == np.median(image) == 10


class TestBox:
    def test_the_box_is_twice_the_contour_about_its_centre(self):
        image = np.full((101, 101), 10, np.uint8)
        image[0, 0] = 11
        image[45:61, 40:70] = 90  # 30 wide, 16 high, centre (55, 53)
        square = cut(image, SMALL)
        assert (square.outcome, square.box) == ("cropped", (25, 23, 85, 83))
        assert square.contour_area == 29 * 15  # the contour runs through the centres of the outer pixels
        rectangle = cut(image, CutoutSettings(size=32, square=False))
        assert rectangle.box == (25, 37, 85, 69)
        assert cut(image, CutoutSettings(size=32, square=False, enlarge=1)).box == (40, 45, 70, 61)

    def test_readings_of_the_threshold(self):
        image = blob(121, 121, 60, 60, 8, 8)
        _, median, std = sigma_clipped_stats(image, sigma=4.0)
        paper, code = (cut(image, CutoutSettings(size=32, threshold=reading)) for reading in READINGS)
        assert paper.threshold == pytest.approx(median + 4 * std)
        assert code.threshold == pytest.approx(median + std)
        assert paper.noise_std == code.noise_std == pytest.approx(std)
        assert code.contour_area > 1.2 * paper.contour_area

    def test_the_threshold_itself_is_not_above_it(self):
        image = np.full((41, 41), 10, np.uint8)
        image[15:26, 15:26] = 11  # 7 % of the frame, within 4 sigma: nothing is clipped
        std = np.std(image)
        at = CutoutSettings(size=32, sigma=1 / std)
        assert cut(image.astype(float), CutoutSettings(size=32, sigma=0.99 / std)).outcome == "cropped"
        assert cut(image, at).threshold == pytest.approx(11)
        doubled = image * np.uint8(2)
        assert cut(doubled, at).outcome == cut(image, at).outcome

    def test_a_neighbour_is_not_taken_for_the_source(self):
        image = blob(121, 121, 100, 100, 4, 4)
        beside = cut(image, SMALL)
        assert (beside.outcome, beside.box) == ("fallback_no_contour", (0, 0, 121, 121))
        assert np.isnan(beside.contour_area)
        assert np.array_equal(beside.pixels, cut(image, CutoutSettings(size=32, method="whole")).pixels)

    def test_a_source_that_only_touches_the_centre_does_not_hold_it(self):
        image = np.full((61, 61), 10, np.uint8)
        image[15:31, 25:36] = 90  # its last row is row 30, the centre's
        assert cut(image, SMALL).outcome == "fallback_no_contour"
        image[31, 25:36] = 90
        assert cut(image, SMALL).outcome == "cropped"

    def test_rows_and_columns_are_not_swapped(self):
        image = np.full((60, 200), 10, np.uint8)
        image[25:36, 95:106] = 90
        assert cut(image, SMALL).box == (90, 20, 112, 42)

    def test_a_box_past_one_side_is_moved_inside(self):
        image = np.full((101, 101), 10, np.uint8)
        image[48:53, 10:61] = 90  # twice 51 px is more than the frame: trimmed to it along both axes
        assert cut(image, SMALL).outcome == "fallback_edge"
        image = np.full((101, 101), 10, np.uint8)
        image[48:53, 20:53] = 90  # 66 px about (36.5, 50.5) begin at 3.5
        assert cut(image, SMALL).box == (4, 18, 70, 84)
        image[48:53, 12:20] = 90  # 82 px about 32.5 begin before the frame
        assert cut(image, SMALL).box == (0, 10, 82, 92)

    def test_a_source_that_fills_the_field(self):
        large = np.full((101, 101), 10, np.uint8)
        large[30:71, 50] = large[50, 20:81] = large[49:52, 49:52] = 90
        filled = cut(large, SMALL)
        assert (filled.outcome, filled.box) == ("fallback_edge", (0, 0, 101, 101))
        assert filled.contour_area > 0
        large[30:71, 20:81] = 90  # a quarter of the frame is its own noise
        assert cut(large, SMALL).outcome == "fallback_no_contour"

    def test_the_channel_that_is_thresholded(self):
        image = np.full((61, 61, 3), 10, np.uint8)
        image[25:36, 25:36, 2] = 100
        assert cut(image, SMALL).outcome == "fallback_no_contour"
        assert cut(image, CutoutSettings(size=32, channel="mean")).box == (20, 20, 42, 42)

    @given(
        height=st.integers(16, 90), width=st.integers(16, 90), x=st.floats(0, 1), y=st.floats(0, 1),
        sx=st.floats(0.5, 30), sy=st.floats(0.5, 30), seed=st.integers(0, 99), reading=st.sampled_from(READINGS),
        square=st.booleans(), enlarge=st.floats(1, 4), size=st.integers(16, 64), colour=st.booleans(),
        grey=st.booleans(), floating=st.booleans(),
    )  # fmt: skip
    def test_box_in_frame_and_size_as_asked(
        self, height, width, x, y, sx, sy, seed, reading, square, enlarge, size, colour, grey, floating
    ):
        image = blob(height, width, x * width, y * height, sx, sy, seed=seed)
        image = np.stack([image, image // 2, image // 3], axis=2) if colour else image
        image = image / 1e3 - 0.02 if floating else image
        result = cut(image, CutoutSettings(threshold=reading, square=square, enlarge=enlarge, size=size, grey=grey))
        x0, y0, x1, y1 = result.box
        assert 0 <= x0 < x1 <= width and 0 <= y0 < y1 <= height
        assert result.pixels.shape == (size, size, 1 if grey else 3) and result.pixels.dtype == np.uint8
        assert (result.outcome == "cropped") == (result.box != (0, 0, width, height))

    @given(seed=st.integers(0, 99), sx=st.floats(1, 12), sy=st.floats(1, 12), reading=st.sampled_from(READINGS))
    def test_twice_the_brightness_is_the_same_box(self, seed, sx, sy, reading):
        image = blob(75, 90, 45, 37, sx, sy, seed=seed)
        choice = CutoutSettings(size=32, threshold=reading)
        once, twice = cut(image, choice), cut(image * np.uint8(2), choice)
        assert (twice.outcome, twice.box, twice.threshold) == (once.outcome, once.box, 2 * once.threshold)

    @given(
        seed=st.integers(0, 99), dx=st.floats(-5, 5), dy=st.floats(-5, 5), sx=st.floats(5, 12), sy=st.floats(5, 12),
        axis=st.sampled_from([0, 1]), odd=st.booleans(),
    )  # fmt: skip
    def test_a_mirrored_image_has_the_mirrored_box(self, seed, dx, dy, sx, sy, axis, odd):
        height, width = (81, 95) if odd else (80, 96)
        image = blob(height, width, width / 2 + dx, height / 2 + dy, sx, sy, seed=seed)
        (x0, y0, x1, y1), mirrored = cut(image, SMALL).box, cut(np.flip(image, axis), SMALL).box
        expected = (x0, height - y1, x1, height - y0) if axis == 0 else (width - x1, y0, width - x0, y1)
        assert np.abs(np.subtract(mirrored, expected)).max() <= 1

    @pytest.mark.parametrize("reading", READINGS)
    def test_pixels_equal_the_plain_steps(self, reading):
        choice = CutoutSettings(size=64, threshold=reading)
        for seed in range(12):
            plane = blob(150, 170, 85 + seed % 5, 75, 4 + 2 * seed, 12, seed=seed)
            image = np.stack([plane, plane[::-1], plane // 2], axis=2)
            pixels, box = peer(image, choice)
            ours = cut(image, choice)
            assert ours.box == box and np.array_equal(ours.pixels, pixels)


class TestPixels:
    ramp = np.add.outer(np.arange(64), np.arange(64)).astype(np.uint8)

    def whole(self, image, **choice):
        result = cut(image, CutoutSettings(method="whole", size=64, **choice))
        assert result.outcome == "whole" and result.box == (0, 0, image.shape[1], image.shape[0])
        return result.pixels

    def test_a_frame_of_the_asked_size_is_kept(self):
        assert np.array_equal(self.whole(self.ramp, grey=True)[..., 0], self.ramp)
        colour = np.stack([self.ramp, self.ramp // 2, 255 - self.ramp], axis=2)
        assert np.array_equal(self.whole(colour), colour)

    def test_grey_is_replicated(self):
        assert np.array_equal(self.whole(self.ramp), np.repeat(self.ramp[..., None], 3, axis=2))
        assert np.array_equal(self.whole(self.ramp[..., None]), self.whole(self.ramp))

    def test_colour_becomes_luminance(self):
        image = np.zeros((64, 64, 3), np.uint8)
        image[:20, :, 0], image[20:40, :, 1], image[40:, :, 2] = 200, 200, 200
        grey = self.whole(image, grey=True)[..., 0]
        assert (grey[0, 0], grey[30, 0], grey[50, 0]) == (60, 117, 23)  # 200 x (0.299, 0.587, 0.114)

    def test_shrinking_averages(self):
        checks = (np.indices((128, 128)).sum(axis=0) % 2 * 200).astype(np.uint8)
        assert set(np.unique(self.whole(checks))) == {100}

    def test_growing_does_not_wrap_around(self):
        image = np.zeros((16, 16), np.uint8)
        image[8:, :] = 255
        profile = self.whole(image)[:, 0, 0].astype(int)
        assert profile.min() == 0 and profile.max() == 255
        assert (np.diff(profile) >= 0).all()

    @given(scale=st.floats(1e-6, 1e6), offset=st.floats(-1e3, 1e3))
    def test_floats_are_stretched_over_8_bits(self, scale, offset):
        image = (self.ramp / 126.0 + offset) * scale
        pixels = self.whole(image, grey=True)[..., 0].astype(int)
        assert (pixels.min(), pixels.max()) == (0, 255)
        assert np.abs(pixels - self.ramp * (255 / 126)).max() <= 1

    def test_the_stretch_knows_only_the_cutout(self):
        image = blob(121, 121, 60, 60, 5, 5).astype(np.float32)
        image[5:8, 5:8] = 5e4
        result = cut(image, SMALL)
        assert result.outcome == "cropped" and result.pixels.max() > 250

    def test_values_that_are_not_finite_are_zero(self):
        image = blob(81, 81, 40, 40, 6, 6).astype(np.float32) - 10
        image[3, 3], image[70, 3], image[3, 70] = np.nan, np.inf, -np.inf
        zeroed = np.where(np.isfinite(image), image, 0)
        ours, expected = cut(image, SMALL), cut(zeroed, SMALL)
        assert ours.box == expected.box and np.array_equal(ours.pixels, expected.pixels)
        assert np.isfinite(ours.threshold)

    def test_fits_byte_order(self):
        image = blob(81, 81, 40, 40, 6, 6)
        assert cut(image.astype(">f4"), SMALL).box == cut(image, SMALL).box


class TestOutcomes:
    def test_central_box(self):
        image = np.tile(np.arange(100, dtype=np.uint8), (80, 1))
        result = cut(image, CutoutSettings(method="central", central_pixels=32, size=32, grey=True))
        assert (result.outcome, result.box) == ("central", (34, 24, 66, 56))
        assert np.array_equal(result.pixels[..., 0], image[24:56, 34:66])
        assert np.isnan(result.noise_std)
        large = cut(image, CutoutSettings(method="central", central_pixels=90, size=32))
        assert large.box == (5, 0, 95, 80)

    @pytest.mark.parametrize("value", [0, 255, np.nan])
    @pytest.mark.parametrize("method", ["sigma_clip", "whole"])
    def test_a_constant_image_is_blank(self, value, method):
        image = np.full((40, 50, 3), value, np.float32 if np.isnan(value) else np.uint8)
        result = cut(image, CutoutSettings(method=method))
        assert (result.outcome, result.box) == ("blank", None) and result.pixels is None

    def test_outcomes_without_pixels(self):
        assert WITHOUT_PIXELS < set(OUTCOMES)
        assert set(OUTCOMES) - WITHOUT_PIXELS == {
            "cropped", "fallback_no_contour", "fallback_edge", "whole", "central"
        }  # fmt: skip

    @pytest.mark.parametrize("shape", [(5,), (5, 5, 2), (5, 5, 4), (0, 5), (5, 0, 3), (2, 5, 5, 3)])
    def test_other_shapes_are_refused(self, shape):
        with pytest.raises(ValueError, match="an image is"):
            cut(np.ones(shape, np.uint8), SMALL)

    def test_central_without_a_side_is_refused(self):
        with pytest.raises(ValueError, match="central_pixels"):
            cut(blob(40, 40, 20, 20, 3, 3), CutoutSettings(method="central"))


@pytest.mark.skipif("GALAXY_ASSETS_REAL_DATA" not in os.environ, reason="needs the sample data")
def test_galaxy_zoo_decals():
    from PIL import Image

    files = sorted(Path(os.environ["GALAXY_ASSETS_REAL_DATA"], "gz_decals_sample").rglob("*.png"))
    assert len(files) == 18
    outcomes = {}
    for file in files:
        with Image.open(file) as opened:
            image = np.asarray(opened.convert("RGB"))
        for reading in READINGS:
            choice = CutoutSettings(threshold=reading)
            pixels, box = peer(image, choice)
            ours = cut(image, choice)
            assert ours.box == box and np.array_equal(ours.pixels, pixels)
            outcomes[file.stem, reading] = ours.outcome
    assert outcomes["J022745.78-010914.1", "paper_text"] == "fallback_no_contour"  # a saturated star
    assert sum(outcome == "cropped" for (_, reading), outcome in outcomes.items() if reading == "paper_text") == 16
