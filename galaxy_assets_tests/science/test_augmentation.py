"""Views against torchvision, image by image, and the laws of their draws."""

import math

import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from torchvision.transforms import functional as TF

from galaxy_assets.science.augmentation import (
    Affine,
    apply_affine,
    apply_blur,
    augment,
    brightness_spread,
    draw_affine,
    draw_blur,
    draw_contrast,
    draw_noise,
)
from galaxy_assets.settings.recipe import Recipe

SIDE = 32
NONE = Recipe(preset="paper", blur_probability=0, flip_probability=0, crop_probability=0, rotation_probability=0)


def images(n: int = 4, side: int = SIDE) -> torch.Tensor:
    return torch.rand((n, 3, side, side), generator=torch.Generator().manual_seed(0))


def smooth(n: int = 4, side: int = 64) -> torch.Tensor:
    """Images without fine structure, on which one interpolation and two agree."""
    y, x = torch.meshgrid(*[torch.linspace(-1, 1, side)] * 2, indexing="ij")
    blobs = [torch.exp(-(((x - 0.2 * i + 0.3) ** 2) + 2 * (y + 0.1 * i) ** 2 + x * y) * 3) for i in range(n)]
    return torch.stack(blobs)[:, None]


def affine(n: int, **parts) -> Affine:
    return Affine(
        flip_x=torch.tensor(parts.get("flip_x", [False] * n)),
        flip_y=torch.tensor(parts.get("flip_y", [False] * n)),
        angle=torch.tensor(parts.get("angle", [0.0] * n)),
        crop=torch.tensor(parts.get("crop", [[0.0, 0.0, 1.0, 1.0]] * n)),
    )


def test_flips_are_torchvisions_image_by_image():
    x = images()
    views = apply_affine(x, affine(4, flip_x=[False, True, False, True], flip_y=[False, False, True, True]), SIDE)
    expected = [x[0], TF.hflip(x[1]), TF.vflip(x[2]), TF.hflip(TF.vflip(x[3]))]
    torch.testing.assert_close(views, torch.stack(expected), atol=1e-5, rtol=0)


def test_rotation_is_torchvisions_inside_the_disc():
    x, angles = images(), [0.0, 90.0, 37.0, 251.5]
    views = apply_affine(x, affine(4, angle=angles), SIDE)
    y = torch.arange(SIDE) - SIDE / 2 + 0.5
    disc = torch.hypot(y[:, None], y[None]) < SIDE / 2 - 1
    for view, image, angle in zip(views, x, angles, strict=True):
        expected = TF.rotate(image, angle, interpolation=TF.InterpolationMode.BILINEAR)
        torch.testing.assert_close(view[:, disc], expected[:, disc], atol=1e-4, rtol=0)


def test_rotation_leaves_no_black_corners():
    views = apply_affine(torch.full((3, 1, SIDE, SIDE), 0.7), affine(3, angle=[30.0, 45.0, 200.0]), SIDE)
    torch.testing.assert_close(views, torch.full_like(views, 0.7))


def test_crop_is_torchvisions_without_antialiasing():
    x = images()
    boxes = [[0, 0, 32, 32], [4, 2, 24, 28], [8, 0, 20, 30], [1, 6, 31, 25]]  # left, top, width, height
    views = apply_affine(x, affine(4, crop=[[v / SIDE for v in box] for box in boxes]), 16)
    for view, image, (left, top, width, height) in zip(views, x, boxes, strict=True):
        expected = TF.resized_crop(image, top, left, height, width, [16, 16], antialias=False)
        torch.testing.assert_close(view, expected, atol=1e-4, rtol=0)


def test_flip_then_rotation_then_crop():
    """Quarter turns interpolate nothing, so the composition is exact; other angles agree on smooth images."""
    x = images(1)
    parts = {"flip_x": [True], "flip_y": [False], "crop": [[4 / SIDE, 2 / SIDE, 24 / SIDE, 28 / SIDE]]}
    expected = TF.resized_crop(torch.rot90(TF.hflip(x), 1, (2, 3)), 2, 4, 28, 24, [16, 16], antialias=False)
    torch.testing.assert_close(apply_affine(x, affine(1, angle=[90.0], **parts), 16), expected, atol=1e-4, rtol=0)

    x = smooth(1)
    turned = TF.rotate(TF.vflip(x), 33.0, interpolation=TF.InterpolationMode.BILINEAR)
    expected = TF.resized_crop(turned, 16, 13, 32, 36, [48, 48], antialias=False)
    box = affine(1, flip_y=[True], angle=[33.0], crop=[[13 / 64, 16 / 64, 36 / 64, 32 / 64]])
    got = apply_affine(x, box, 48)
    torch.testing.assert_close(got[..., 2:-2, 2:-2], expected[..., 2:-2, 2:-2], atol=5e-3, rtol=0)


def test_blur_is_torchvisions_image_by_image():
    x, sigma = images(), torch.tensor([0.0, 0.1, 0.9, 2.0])
    blurred = apply_blur(x, sigma)
    assert torch.equal(blurred[0], x[0])
    for i in (1, 2, 3):
        torch.testing.assert_close(blurred[i], TF.gaussian_blur(x[i], [5, 5], [float(sigma[i])]), atol=1e-6, rtol=0)


def test_without_probabilities_a_view_is_the_image():
    pixels = (images() * 255).to(torch.uint8)
    views = augment(pixels, NONE, torch.Generator().manual_seed(0), SIDE)
    torch.testing.assert_close(views, pixels / 255, atol=1e-5, rtol=0)


def test_every_image_has_its_own_draw():
    """One image eight times gives eight views; a transform applied to the batch would give one."""
    same = images(1).expand(8, -1, -1, -1)
    recipe = NONE.model_copy(update={"rotation_probability": 1.0})
    views = augment(same, recipe, torch.Generator().manual_seed(0), SIDE)
    assert len(torch.unique(views.flatten(1), dim=0)) == 8


def test_probabilities_and_ranges_are_the_recipes():
    n = 20_000
    probabilities = {"blur": 0.4, "flip": 0.3, "crop": 0.6, "rotation": 0.8}
    recipe = Recipe(preset="paper", **{f"{name}_probability": p for name, p in probabilities.items()})
    generator = torch.Generator().manual_seed(0)
    drawn, sigma = draw_affine(n, recipe, generator), draw_blur(n, recipe, generator)
    cropped = (drawn.crop[:, 2:] != 1).any(1)
    shares = [
        (0.3, drawn.flip_x),
        (0.3, drawn.flip_y),
        (0.6, cropped),
        (0.8, drawn.angle != 0),
        (0.4, sigma > 0),
    ]
    for probability, happened in shares:
        # five standard deviations of a binomial share
        assert happened.float().mean() == pytest.approx(probability, abs=5 * math.sqrt(0.25 / n))
    both = (drawn.flip_x & drawn.flip_y).float().mean()
    assert both == pytest.approx(0.09, abs=5 * math.sqrt(0.09 / n))
    turned = drawn.angle[drawn.angle != 0]
    assert 179 < turned.abs().max() <= 180
    assert turned.mean() == pytest.approx(0, abs=5 * 104 / math.sqrt(len(turned)))
    little = draw_affine(n, recipe.model_copy(update={"rotation_maximum": 15}), generator).angle
    assert 14.9 < little.abs().max() <= 15
    area = drawn.crop[cropped, 2:].prod(1)
    assert area.mean() == pytest.approx(0.85, abs=5 * 0.0866 / math.sqrt(len(area)))
    widths = sigma[sigma > 0]
    assert 0.1 <= widths.min() < 0.11
    assert 1.99 < widths.max() <= 2.0
    assert widths.mean() == pytest.approx(1.05, abs=5 * 0.55 / math.sqrt(len(widths)))


@settings(deadline=None, max_examples=50)
@given(seed=st.integers(0, 2**31), minimum=st.floats(0.05, 1))
def test_crops_lie_in_the_image_and_keep_their_area_and_aspect(seed, minimum):
    recipe = Recipe(preset="paper", crop_probability=1, crop_minimum=minimum)
    left, top, width, height = draw_affine(64, recipe, torch.Generator().manual_seed(seed)).crop.unbind(1)
    slack = 1e-5
    assert (left >= 0).all() and (top >= 0).all()
    assert (left + width <= 1 + slack).all() and (top + height <= 1 + slack).all()
    assert (width * height >= minimum - slack).all()
    assert (width / height).min() >= 3 / 4 - slack
    assert (width / height).max() <= 4 / 3 + slack


@settings(deadline=None, max_examples=20)
@given(seed=st.integers(0, 2**31), size=st.sampled_from([16, 24, 40]), kind=st.sampled_from(["uint8", "float"]))
def test_views_have_their_size_stay_in_range_and_repeat(seed, size, kind):
    pixels = images(3, 24) if kind == "float" else (images(3, 24) * 255).to(torch.uint8)
    first, again = (augment(pixels, Recipe(), torch.Generator().manual_seed(seed), size) for _ in range(2))
    assert first.shape == (3, 3, size, size)
    assert first.min() >= 0
    assert first.max() <= 1 + 1e-5
    assert torch.equal(first, again)


def test_oblong_images_are_refused():
    with pytest.raises(ValueError, match="square"):
        augment(torch.zeros(2, 1, 16, 20), Recipe(), torch.Generator(), 16)


def test_contrast_is_an_exponent_and_noise_a_deviation_of_each_image():
    n = 4000
    generator = torch.Generator().manual_seed(0)
    exponents = draw_contrast(n, NONE.model_copy(update={"contrast": 0.5}), generator).log()
    assert exponents.abs().max() <= 0.5
    assert exponents.mean() == pytest.approx(0, abs=5 * 0.29 / math.sqrt(n))
    deviations = draw_noise(torch.Size([n, 1, 16, 16]), NONE.model_copy(update={"noise": 0.1}), generator).flatten(1)
    assert deviations.std(1).max() <= 0.1 * 1.2  # of 256 pixels
    assert deviations.std(1).mean() == pytest.approx(0.05, rel=0.05)
    grey = torch.full((3, 1, 16, 16), 0.25)
    darker = augment(grey, NONE.model_copy(update={"contrast": 0.5}), torch.Generator().manual_seed(1), 16)
    expected = 0.25 ** draw_contrast_after_the_others(3, seed=1)
    torch.testing.assert_close(darker[:, 0, 0, 0], expected, atol=1e-6, rtol=0)
    noisy = augment(grey, NONE.model_copy(update={"noise": 2.0}), torch.Generator().manual_seed(1), 16)
    assert noisy.min() == 0 and noisy.max() == 1


def draw_contrast_after_the_others(n: int, seed: int) -> torch.Tensor:
    recipe, generator = NONE.model_copy(update={"contrast": 0.5}), torch.Generator().manual_seed(seed)
    draw_affine(n, recipe, generator)
    draw_blur(n, recipe, generator)
    return draw_contrast(n, recipe, generator)


@given(contrast=st.floats(0.05, 1.0), level=st.floats(0.05, 0.6))
def test_the_spread_of_brightness_is_that_of_the_powers_which_made_it(contrast, level):
    powers = np.exp(np.linspace(-contrast, contrast, 201))
    values = level**powers
    assume(values.min() > 0.02)
    pixels = np.broadcast_to(np.rint(255 * values)[:, None, None, None], (201, 8, 8, 1))
    assert brightness_spread(pixels) == pytest.approx(0.68 * contrast, rel=0.08, abs=0.03)


def test_black_and_white_cutouts_have_a_finite_spread():
    pixels = np.stack([np.zeros((8, 8, 1), np.uint8), np.full((8, 8, 1), 255, np.uint8)] * 5)
    assert np.isfinite(brightness_spread(pixels))
