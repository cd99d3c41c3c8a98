"""What is cut out of an image, beside the same steps written plainly with astropy and OpenCV."""

import os
from itertools import islice, product
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from astropy.io import fits
from astropy.stats import sigma_clipped_stats
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from galaxy_assets.deliveries.images import decode
from galaxy_assets.science.cutouts import OUTCOMES, WITHOUT_PIXELS, cut
from galaxy_assets.science.cutouts.noise import sigma_clipped_noise
from galaxy_assets.science.cutouts.rendering import render
from galaxy_assets.science.cutouts.source import source_above, source_contour
from galaxy_assets.settings.cutouts import CutoutSettings

SMALL = CutoutSettings(size=32)
READINGS = ("paper_text", "astronomaly")
EVERY_READING = [
    CutoutSettings(threshold=threshold, channel=channel, clamp=clamp, contour=contour, size=96)
    for threshold, channel, clamp, contour in product(
        READINGS, ("first", "mean"), ("shift", "trim"), ("central", "astronomaly")
    )
]
ASTRONOMALY = CutoutSettings(threshold="astronomaly", contour="astronomaly", square=False, enlarge=1, size=16)


def blob(height: int, width: int, x: float, y: float, sx: float, sy: float, peak: float = 90.0, seed: int = 0):
    """uint8 (height, width): a Gaussian source on a noisy sky of mean 10 and standard deviation 2."""
    rows, columns = np.mgrid[:height, :width]
    source = peak * np.exp(-0.5 * (((columns - x) / sx) ** 2 + ((rows - y) / sy) ** 2))
    sky = np.random.default_rng(seed).normal(10, 2, (height, width))
    return np.clip(np.rint(sky + source), 0, 127).astype(np.uint8)


def peer_noise(image: np.ndarray, choice: CutoutSettings) -> tuple[float, float]:
    """Median and standard deviation of the thresholded channel by astropy's clipping."""
    plane = image if image.ndim == 2 else image[..., 0] if choice.channel == "first" else image.mean(axis=2)
    return sigma_clipped_stats(plane, sigma=choice.sigma)[1:]


def peer(image: np.ndarray, choice: CutoutSettings, noise: tuple[float, float] | None = None):
    """Pixels, outcome and box of a finite (H, W) or (H, W, 3) image by astropy's clipping and every contour asked in
    turn, in any reading; `noise` is what `peer_noise` gives."""
    height, width = image.shape[:2]
    median, std = noise or peer_noise(image, choice)
    plane = image if image.ndim == 2 else image[..., 0] if choice.channel == "first" else image.mean(axis=2)
    mask = (plane > median + std * (choice.sigma if choice.threshold == "paper_text" else 1)).astype(np.uint8)
    contours, _ = cv2.findContours(mask, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
    point = (width // 2, height // 2) if choice.contour == "central" else (height // 2, width // 2)
    hit = list(islice((c for c in contours if cv2.pointPolygonTest(c, point, False) == 1), 1))
    if not hit and choice.contour == "astronomaly":
        hit = list(contours[-1:])
    box = 0, 0, width, height
    outcome = "fallback_no_contour"
    if hit:
        x, y, w, h = cv2.boundingRect(hit[0])
        sides = [round(choice.enlarge * (max(w, h) if choice.square else side)) for side in (w, h)]
        if choice.clamp == "shift":
            sides = np.minimum(sides, (width, height))
        start = np.floor([x + w / 2 - sides[0] / 2 + 0.5, y + h / 2 - sides[1] / 2 + 0.5]).astype(int)
        if choice.clamp == "shift":
            start = np.clip(start, 0, (width, height) - np.array(sides))
        first, last = np.maximum(start, 0), np.minimum(start + sides, (width, height))
        box = int(first[0]), int(first[1]), int(last[0]), int(last[1])
        outcome = "fallback_edge" if box == (0, 0, width, height) else "cropped"
    x0, y0, x1, y1 = box
    crop, size = image[y0:y1, x0:x1], choice.size
    if crop.dtype != np.uint8:
        crop = np.rint((crop - crop.min()) * (255 / (crop.max() - crop.min()))).astype(np.uint8)
    long = y1 - y0 == height < x1 - x0 or x1 - x0 == width < y1 - y0
    crop = in_a_square(crop) if long and choice.square else crop
    if choice.interpolation == "linear":
        pixels = cv2.resize(crop, (size, size))
    else:
        shrunk = cv2.resize(crop, (min(crop.shape[1], size), min(crop.shape[0], size)), interpolation=cv2.INTER_AREA)
        pixels = cv2.resize(shrunk, (size, size), interpolation=cv2.INTER_CUBIC)
    return pixels if image.ndim == 3 else np.repeat(pixels[..., np.newaxis], 3, axis=2), outcome, box


def in_a_square(crop: np.ndarray) -> np.ndarray:
    """The uint8 image with its own edges' median above and below, or left and right."""
    height, width = crop.shape[:2]
    edges = np.stack([crop[0], crop[-1]]) if height < width else np.stack([crop[:, 0], crop[:, -1]])
    level = np.rint(np.median(edges, axis=(0, 1))).astype(int)
    before = (max(height, width) - height) // 2, (max(height, width) - width) // 2
    after = max(height, width) - height - before[0], max(height, width) - width - before[1]
    bands = [
        np.pad(band, tuple(zip(before, after, strict=True)), constant_values=value)
        for band, value in zip(np.atleast_3d(crop).transpose(2, 0, 1), np.atleast_1d(level), strict=True)
    ]
    return np.stack(bands, axis=-1) if crop.ndim == 3 else bands[0]


def clipped_by_astronomaly(image: np.ndarray, sigma: float) -> np.ndarray:
    """What Astronomaly's sigma clipping is published to return for a uint8 (H, W, 3) image: all but the inside of one
    contour is zero. Written from the description of its behaviour, which docs/fidelity.md cites."""
    channel = image[..., 0]
    _, median, std = sigma_clipped_stats(channel, sigma=sigma)
    outlines, _ = cv2.findContours(np.uint8(channel > std + median), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
    row, column = image.shape[0] // 2, image.shape[1] // 2
    inside = [cv2.pointPolygonTest(outline, (row, column), False) for outline in outlines]
    chosen = inside.index(1) if 1 in inside else len(outlines) - 1
    kept = cv2.drawContours(np.zeros(channel.shape, np.uint8), outlines, chosen, 1, cv2.FILLED)
    return image * kept[..., np.newaxis]


def clipped_as_astronomaly(image: np.ndarray, sigma: float) -> np.ndarray:
    """The same from our threshold and our contour."""
    made = cut(image, ASTRONOMALY.model_copy(update={"sigma": sigma}))
    contour = source_contour(image[..., 0] > made.threshold, "astronomaly")
    kept = cv2.fillPoly(np.zeros(image.shape[:2], np.uint8), [contour], 1)
    rows, columns = np.nonzero(kept)
    assert made.box == (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1)
    return np.where(kept[..., np.newaxis], image, 0)


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

    @pytest.mark.parametrize("fraction", [0.5, 0.85])
    def test_the_box_follows_the_radius_that_holds_the_flux(self, fraction):
        for width in (6.0, 12.0):
            choice = self.choice.model_copy(update={"enlarge": 1.5, "flux_fraction": fraction})
            made = cut(ellipse(201, width, width, 0), choice)
            assert made.box is not None
            expected = 2 * 1.5 * width * np.sqrt(-2 * np.log(1 - fraction))  # of a whole Gaussian; its faint rim is sky
            assert made.box[2] - made.box[0] == pytest.approx(expected, rel=0.06)

    def test_a_point_has_a_box_of_sixteen_pixels(self):
        image = np.zeros((101, 101), np.uint8)
        image[49:52, 49:52] = 200
        assert cut(image, self.choice.model_copy(update={"enlarge": 1.0})).box == (43, 43, 59, 59)

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

    def test_only_lobes_near_the_centre_are_of_the_source_if_that_is_asked(self):
        image = np.zeros((151, 151), np.uint8)
        image[70:81, 50:61] = image[70:81, 90:101] = image[5:16, 5:16] = 200
        near = self.choice.model_copy(update={"source": "nearby", "enlarge": 1.2})
        made, everything = cut(image, near), cut(image, near.model_copy(update={"source": "all"}))
        assert made.box is not None and everything.box is not None
        assert made.contour_area == 2 * 11 * 11 and made.box[0] > 40 and made.box[2] < 110
        assert everything.box[2] - everything.box[0] > 1.5 * (made.box[2] - made.box[0])

    @pytest.mark.parametrize("side", [20, 21])
    @pytest.mark.parametrize("quarters", [1, 2, 3])
    def test_a_quarter_turn_moves_every_pixel_of_the_box_onto_another(self, side, quarters):
        image = np.random.default_rng(0).integers(0, 256, (60, 50, 1), np.uint8)
        x, y = 17, 23
        choice = CutoutSettings(size=side, grey=True)
        turned = render(image, (x, y, x + side, y + side), choice, angle=90.0 * quarters)
        part = image[y : y + side, x : x + side]
        # a source at 90 degrees from x to y (downwards) becomes level
        assert np.array_equal(turned, np.rot90(part, quarters))

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

    def test_a_source_of_three_corners_is_no_speck(self):
        rows, columns = np.mgrid[:61, :61]
        triangle = (rows >= 20) & (rows <= 40) & (np.abs(columns - 30) <= rows - 20)
        contour = source_contour(triangle, "central")
        assert contour is not None and len(contour) == 3 and cv2.boundingRect(contour) == (10, 20, 41, 21)

    @given(
        seed=st.integers(0, 9999), side=st.sampled_from([5, 30, 45, 60]), sx=st.floats(2, 9), sy=st.floats(2, 9),
        scale=st.integers(1, 8), crowded=st.sampled_from([0.0, 0.01, 0.1, 0.4]), limit=st.integers(12, 20),
        floating=st.booleans(),
        reading=st.sampled_from(["central", "astronomaly"]),
    )  # fmt: skip
    def test_the_middle_first_is_the_whole_frame(self, seed, side, sx, sy, scale, crowded, limit, floating, reading):
        plane = blob(side, side + 9, side / 2 + 4, side / 2, sx, sy, peak=40, seed=seed)
        blocks = np.random.default_rng(seed).random((side // scale + 1, (side + 9) // scale + 1)) < crowded
        plane = np.where(np.kron(blocks, np.ones((scale, scale), bool))[:side, : side + 9], np.uint8(20), plane)
        plane = plane.astype(np.float64) if floating else np.stack([plane, 99 - plane], axis=2)[..., 0]
        expected, found = source_contour(plane > limit, reading), source_above(plane, limit, reading)
        assert (expected is None) == (found is None)
        assert expected is None or np.array_equal(expected, found)

    def test_what_surrounds_the_middle_is_the_source(self):
        image = np.full((101, 101), 10, np.uint8)
        image[45:56, 45:56] = 90
        assert cut(image, SMALL).box == (40, 40, 62, 62)
        image[10:91, 10] = image[10:91, 90] = image[10, 10:91] = image[90, 10:91] = 90
        contour = source_above(image, 50, "central")
        assert contour is not None and cv2.boundingRect(contour) == (10, 10, 81, 81)
        for gap in (50, slice(45, 56)):  # no ring any more, whether a ray from the source passes the gap or none does
            image[gap, 10] = 10
            contour = source_above(image, 50, "central")
            assert contour is not None and cv2.boundingRect(contour) == (45, 45, 11, 11)

    @pytest.mark.parametrize("turns", range(4))
    def test_a_source_that_leaves_the_middle_is_whole(self, turns):
        image = np.full((101, 101), 10, np.uint8)
        image[45:56, 20:60] = 90  # the middle begins at 25
        image = np.ascontiguousarray(np.rot90(image, turns))
        contour = source_above(image, 50, "central")
        assert contour is not None and sorted(cv2.boundingRect(contour)[2:]) == [11, 40]

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

    def test_a_box_past_one_side_is_trimmed_if_asked(self):
        trim = CutoutSettings(size=32, clamp="trim")
        image = np.full((101, 101), 10, np.uint8)
        image[48:53, 20:53] = 90  # 66 px about (36.5, 50.5): inside, nothing to trim
        assert cut(image, trim).box == cut(image, SMALL).box == (4, 18, 70, 84)
        image[48:53, 12:20] = 90  # 82 px about (32.5, 50.5) begin at -8
        assert cut(image, trim).box == (0, 10, 74, 92)
        assert cut(image, trim).pixels.shape == (32, 32, 3)
        image[48:53, 0:12] = 90  # 106 px about (26.5, 50.5)
        assert (cut(image, trim).outcome, cut(image, trim).box) == ("cropped", (0, 0, 80, 101))

    @given(
        side=st.integers(20, 90), x=st.floats(0.2, 0.8), y=st.floats(0.2, 0.8), sx=st.floats(1, 12),
        sy=st.floats(1, 12), seed=st.integers(0, 99), enlarge=st.floats(1, 4),
    )  # fmt: skip
    def test_what_trimming_keeps_is_what_shifting_would_show_at_most(self, side, x, y, sx, sy, seed, enlarge):
        image = blob(side, side + 9, x * side, y * side, sx, sy, seed=seed)
        choice = CutoutSettings(size=16, enlarge=enlarge, contour="astronomaly")
        shifted, trimmed = cut(image, choice), cut(image, choice.model_copy(update={"clamp": "trim"}))
        (a0, b0, a1, b1), (x0, y0, x1, y1) = shifted.box, trimmed.box
        assert a0 <= x0 < x1 <= a1 and b0 <= y0 < y1 <= b1
        if 0 < a0 and a1 < side + 9 and 0 < b0 and b1 < side:
            assert trimmed.box == shifted.box and np.array_equal(trimmed.pixels, shifted.pixels)

    def test_astronomaly_asks_at_row_and_column_swapped(self):
        image = np.full((60, 200), 10, np.uint8)
        image[25:36, 95:106] = 90  # the centre, x = 100 and y = 30, which is sought at x = 30 and y = 100
        image[40:55, 10:25] = 90
        image[5:12, 150:160] = 90
        swapped = CutoutSettings(size=32, contour="astronomaly", enlarge=1)
        for frame in (image, np.ascontiguousarray(image.T)):
            last = cv2.findContours((frame > 50).astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)[0][-1]
            x, y, w, h = cv2.boundingRect(last)
            side = max(w, h)
            x0, y0 = int(np.floor(x + w / 2 - side / 2 + 0.5)), int(np.floor(y + h / 2 - side / 2 + 0.5))
            assert cut(frame, swapped).box == (x0, y0, x0 + side, y0 + side)

    def test_astronomaly_takes_the_last_contour_where_none_holds_the_centre(self):
        image = np.full((61, 61), 10, np.uint8)
        image[5:16, 5:16] = image[45:51, 40:46] = 90
        assert cut(image, SMALL).outcome == "fallback_no_contour"
        made = cut(image, SMALL.model_copy(update={"contour": "astronomaly", "enlarge": 1.0}))
        assert made.outcome == "cropped" and made.box in {(5, 5, 16, 16), (40, 45, 46, 51)}
        image[45:51, 40:46] = 10
        assert cut(image, SMALL.model_copy(update={"contour": "astronomaly", "enlarge": 1.0})).box == (5, 5, 16, 16)
        faint = np.random.default_rng(0).integers(10, 12, (61, 61)).astype(np.uint8)
        assert cut(faint, SMALL.model_copy(update={"contour": "astronomaly"})).outcome == "fallback_no_contour"

    @given(
        x=st.integers(20, 60), y=st.integers(20, 60), sx=st.floats(1, 12), sy=st.floats(1, 12), seed=st.integers(0, 99)
    )
    def test_readings_of_the_contour_agree_where_a_square_frame_has_a_source(self, x, y, sx, sy, seed):
        image = blob(81, 81, x, y, sx, sy, seed=seed)
        ours, theirs = (cut(image, CutoutSettings(size=16, contour=c)) for c in ("central", "astronomaly"))
        if ours.outcome != "fallback_no_contour":
            assert (theirs.outcome, theirs.box, theirs.contour_area) == (ours.outcome, ours.box, ours.contour_area)
        else:
            assert theirs.outcome in {"cropped", "fallback_edge", "fallback_no_contour"}

    @pytest.mark.parametrize("shape", [(150, 150), (150, 171), (171, 150)])
    def test_pixels_equal_those_of_astronomalys_masking(self, shape):
        for seed in range(8):
            plane = blob(*shape, 75 + 9 * (seed % 2), 75, 4 + seed, 12, seed=seed)
            image = np.stack([plane, plane[::-1], plane // 2], axis=2)
            expected = clipped_by_astronomaly(image, 4.0)
            assert expected.any() and np.array_equal(clipped_as_astronomaly(image, 4.0), expected)

    def test_a_source_that_fills_the_field(self):
        large = np.full((101, 101), 10, np.uint8)
        large[30:71, 50] = large[50, 20:81] = large[49:52, 49:52] = 90
        filled = cut(large, SMALL)
        assert (filled.outcome, filled.box) == ("fallback_edge", (0, 0, 101, 101))
        assert filled.contour_area > 0
        large[30:71, 20:81] = 90  # a quarter of the frame is its own noise
        assert cut(large, SMALL).outcome == "fallback_no_contour"

    @pytest.mark.parametrize("kind", [np.uint8, np.float32])
    def test_the_channel_that_is_thresholded(self, kind):
        image = np.full((61, 61, 3), 10, kind)
        image[25:36, 25:36, 2] = 100
        assert cut(image, SMALL).outcome == "fallback_no_contour"
        assert cut(image, CutoutSettings(size=32, channel="mean")).box == (20, 20, 42, 42)

    @given(
        height=st.integers(16, 90), width=st.integers(16, 90), x=st.floats(0, 1), y=st.floats(0, 1),
        sx=st.floats(0.5, 30), sy=st.floats(0.5, 30), seed=st.integers(0, 99), reading=st.sampled_from(READINGS),
        square=st.booleans(), enlarge=st.floats(1, 4), size=st.integers(16, 64), colour=st.booleans(),
        grey=st.booleans(), floating=st.booleans(), clamp=st.sampled_from(["shift", "trim"]),
        contour=st.sampled_from(["central", "astronomaly"]), interpolation=st.sampled_from(["area_cubic", "linear"]),
    )  # fmt: skip
    def test_box_in_frame_and_size_as_asked(
        self, height, width, x, y, sx, sy, seed, reading, square, enlarge, size, colour, grey, floating, **readings
    ):
        image = blob(height, width, x * width, y * height, sx, sy, seed=seed)
        image = np.stack([image, image // 2, image // 3], axis=2) if colour else image
        image = image / 1e3 - 0.02 if floating else image
        choice = CutoutSettings(threshold=reading, square=square, enlarge=enlarge, size=size, grey=grey, **readings)
        result = cut(image, choice)
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

    @pytest.mark.parametrize("interpolation", ["area_cubic", "linear"])
    @pytest.mark.parametrize("square", [True, False])
    def test_pixels_equal_the_plain_steps_in_every_reading(self, interpolation, square):
        for seed, reading in product(range(4), EVERY_READING):
            choice = reading.model_copy(update={"interpolation": interpolation, "square": square})
            plane = blob(150, 170, 85 + 7 * seed, 75, 4 + 5 * seed, 12, seed=seed)
            image = np.stack([plane, plane[::-1], plane // 2], axis=2)
            pixels, outcome, box = peer(image, choice)
            ours = cut(image, choice)
            assert (ours.outcome, ours.box) == (outcome, box) and np.array_equal(ours.pixels, pixels)


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

    @pytest.mark.parametrize("shape", [(40, 50), (64, 64), (90, 150)])
    def test_linear_is_what_torch_computes(self, shape):
        image = np.random.default_rng(0).integers(0, 256, (*shape, 3)).astype(np.uint8)
        planes = torch.from_numpy(image).permute(2, 0, 1)[None].double()
        expected = torch.nn.functional.interpolate(planes, (64, 64), mode="bilinear", align_corners=False)
        difference = self.whole(image, interpolation="linear", square=False) - expected[0].permute(1, 2, 0).numpy()
        assert np.abs(difference).max() <= 1  # OpenCV's weights of 8-bit images have 11 bits

    @given(
        sides=st.tuples(st.integers(40, 90), st.integers(40, 90)),
        how=st.sampled_from([("whole", 0), ("central", 30), ("central", 80), ("sigma_clip", 0)]),
        colour=st.booleans(),
        floating=st.booleans(),
    )
    def test_a_round_source_is_round_whatever_the_frame(self, sides, how, colour, floating):
        height, width = sides
        image = blob(height, width, (width - 1) / 2, (height - 1) / 2, 6, 6)
        image = np.stack([image, image // 2, image // 3], axis=2) if colour else image
        method, side = how
        # a threshold that nothing exceeds leaves the original
        choice = CutoutSettings(method=method, central_pixels=side, sigma=60 if method == "sigma_clip" else 4, size=96)
        made = cut(image.astype(np.float32) if floating else image, choice)
        assert made.outcome == (method if method != "sigma_clip" else "fallback_no_contour")
        light = np.clip(made.pixels[..., 0].astype(float) - np.median(made.pixels[0, :, 0]) - 40, 0, None)
        y, x = np.mgrid[:96, :96]
        wide, high = (np.sqrt((light * (axis - (light * axis).sum() / light.sum()) ** 2).sum()) for axis in (x, y))
        assert wide / high == pytest.approx(1, abs=0.08)

    @given(sides=st.tuples(st.integers(16, 90), st.integers(16, 90)), colour=st.booleans())
    def test_a_frame_is_shown_as_the_square_around_it(self, sides, colour):
        image = np.random.default_rng(sides).integers(0, 256, (*sides, 3) if colour else sides).astype(np.uint8)
        around = in_a_square(image)
        assert around.shape[0] == around.shape[1] == max(sides)
        assert np.array_equal(self.whole(image), self.whole(around))

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


real = pytest.mark.skipif("GALAXY_ASSETS_REAL_DATA" not in os.environ, reason="needs the sample data")


def real_files(folder: str, pattern: str) -> list[Path]:
    return sorted(Path(os.environ["GALAXY_ASSETS_REAL_DATA"], folder).rglob(pattern))


def outcomes_in_every_reading(image: np.ndarray) -> list[str]:
    """Outcome in each of EVERY_READING, after asserting that box and pixels are the peer's."""
    noise = {channel: peer_noise(image, CutoutSettings(channel=channel)) for channel in ("first", "mean")}
    outcomes = []
    for choice in EVERY_READING:
        pixels, outcome, box = peer(image, choice, noise[choice.channel])
        ours = cut(image, choice)
        assert (ours.outcome, ours.box) == (outcome, box) and np.array_equal(ours.pixels, pixels)
        outcomes.append(ours.outcome)
    return outcomes


@real
def test_galaxy_zoo_decals():
    files = real_files("gz_decals_sample", "*.png")
    assert len(files) == 18
    outcomes = {}
    for file in files:
        image = decode(file.read_bytes())
        outcomes[file.stem] = outcomes_in_every_reading(image)
        assert np.array_equal(clipped_as_astronomaly(image, 4.0), clipped_by_astronomaly(image, 4.0))
        assert np.array_equal(clipped_as_astronomaly(image[60:], 4.0), clipped_by_astronomaly(image[60:], 4.0))
        as_shipped = CutoutSettings()
        pixels, _, _ = peer(image, as_shipped)
        assert np.array_equal(cut(image, as_shipped).pixels, pixels)
    assert EVERY_READING[0] == CutoutSettings(size=96)
    assert outcomes["J022745.78-010914.1"][0] == "fallback_no_contour"  # a saturated star
    assert sum(found[0] == "cropped" for found in outcomes.values()) == 16


@real
def test_sdss():
    files = real_files("sdss_gz1", "*.jpeg")[::55]
    assert len(files) == 61
    for file in files:
        image = decode(file.read_bytes())
        outcomes_in_every_reading(image)
        assert np.array_equal(clipped_as_astronomaly(image, 4.0), clipped_by_astronomaly(image, 4.0))


@real
@pytest.mark.parametrize(
    ("name", "outcomes"),
    [
        ("example_b", ["cropped"] * 4),
        ("example_bad_pix", ["fallback_no_contour", "fallback_no_contour", "cropped", "fallback_no_contour"]),
        ("example_d", ["fallback_edge"] * 4),
    ],
)
def test_decals_fits(name, outcomes):
    (file,) = real_files("decals_fits", f"{name}.fits")
    bands = np.nan_to_num(fits.getdata(file).astype(np.float64), nan=0.0, posinf=0.0, neginf=0.0)
    images = [*bands, np.ascontiguousarray(np.moveaxis(bands, 0, 2))]  # each band, and the three as one image
    assert [outcomes_in_every_reading(image)[0] for image in images] == outcomes
