"""The random views BYOL compares, drawn per image (paper 4.1, Table 1).

They are flips, rotation, resized crop and blur, as in the paper, and contrast and noise, which the paper does without.

Belongs here: drawing the parameters and applying them to a batch, and the contrast that a survey itself has. Does not
belong here: normalisation (the encoder's) and anything else that is not random.

Flips, rotation and crop are one affine map per image and one bilinear interpolation. Drawing per image matters: one
torchvision transform applied to a batch draws once for all its images. Beyond its border an image continues as its own
mirror image, so a rotation leaves no black corners that the network could recognise the angle by.
"""

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from galaxy_assets.science.devices import send
from galaxy_assets.science.distributed import ALONE, Share

if TYPE_CHECKING:
    from galaxy_assets.settings.recipe import Recipe

_BLUR_KERNEL = 5
_BLUR_SIGMA = 0.1, 2.0
_ASPECT = 4 / 3
_CPU = torch.device("cpu")


@dataclass(frozen=True)
class Affine:
    """Geometry of B views, in the order it acts on the image: flips, rotation about the centre, resized crop.

    Attributes
    ----------
    flip_x, flip_y : Tensor of shape (B,), bool
        Left-right and top-bottom.
    angle : Tensor of shape (B,)
        Degrees, counterclockwise.
    crop : Tensor of shape (B, 4)
        Left, top, width and height of the kept box, as shares of the image's side.
    """

    flip_x: Tensor
    flip_y: Tensor
    angle: Tensor
    crop: Tensor

    def matrices(self) -> Tensor:
        """Maps from output to input coordinates, as `torch.nn.functional.affine_grid` takes them.

        Returns
        -------
        Tensor of shape (B, 2, 3)
            For coordinates in [-1, 1].
        """
        left, top, width, height = self.crop.unbind(1)
        cos, sin = torch.cos(torch.deg2rad(self.angle)), torch.sin(torch.deg2rad(self.angle))
        x, y = 2 * left + width - 1, 2 * top + height - 1
        rows = [
            torch.stack([cos * width, -sin * height, cos * x - sin * y], 1) * (1 - 2 * self.flip_x.float())[:, None],
            torch.stack([sin * width, cos * height, sin * x + cos * y], 1) * (1 - 2 * self.flip_y.float())[:, None],
        ]
        return torch.stack(rows, 1)


def draw_affine(n: int, recipe: "Recipe", generator: torch.Generator) -> Affine:
    """Draw the geometry of views; every image has its own draw of every part.

    The kept area is uniform in [crop_minimum, 1] and the logarithm of its aspect ratio uniform in
    [log 3/4, log 4/3], as far as a box of that area fits the image.

    Parameters
    ----------
    n : int
        Number of views.
    recipe : Recipe
        Its augmentation settings.
    generator : torch.Generator
        Of the CPU.

    Returns
    -------
    Affine
    """
    flip_x, flip_y, rotate, turn, crop, area, aspect, left, top = torch.rand((9, n), generator=generator)
    area = recipe.crop_minimum + (1 - recipe.crop_minimum) * area
    limit = torch.clamp(-torch.log(area), max=math.log(_ASPECT))
    ratio = torch.exp((2 * aspect - 1) * limit)
    width, height = torch.sqrt(area * ratio).clamp(max=1), torch.sqrt(area / ratio).clamp(max=1)
    box = torch.stack([left * (1 - width), top * (1 - height), width, height], 1)
    whole = torch.tensor([0.0, 0.0, 1.0, 1.0])
    return Affine(
        flip_x=flip_x < recipe.flip_probability,
        flip_y=flip_y < recipe.flip_probability,
        angle=torch.where(rotate < recipe.rotation_probability, recipe.rotation_maximum * (2 * turn - 1), 0.0),
        crop=torch.where((crop < recipe.crop_probability)[:, None], box, whole),
    )


def apply_affine(images: Tensor, affine: Affine, size: int) -> Tensor:
    """Resample images: bilinear, mirrored beyond the border.

    There is no low-pass filter: store cutouts at little more than `size`.

    Parameters
    ----------
    images : Tensor of shape (B, C, H, H), float
    affine : Affine
        Of B views.
    size : int
        Side of the result, pixels.

    Returns
    -------
    Tensor of shape (B, C, size, size)

    Raises
    ------
    ValueError
        Where the images are not square.
    """
    if images.shape[-1] != images.shape[-2]:
        raise ValueError(f"cutouts must be square to be rotated, got {tuple(images.shape[-2:])} pixels")
    matrices = send(affine.matrices(), images.device).to(images.dtype)
    # the sum of a row's and a column's part: affine_grid multiplies matrices for it and takes as long as the sampling
    centres = (2 * torch.arange(size, device=images.device, dtype=images.dtype) + 1) / size - 1
    across, down = matrices[:, :, 0, None] * centres, matrices[:, :, 1, None] * centres + matrices[:, :, 2, None]
    grid = torch.empty(len(images), size, size, 2, device=images.device, dtype=images.dtype)
    for axis in range(2):
        torch.add(across[:, axis, None, :], down[:, axis, :, None], out=grid[..., axis])
    return F.grid_sample(images, grid, mode="bilinear", padding_mode="reflection", align_corners=False)


def draw_blur(n: int, recipe: "Recipe", generator: torch.Generator) -> Tensor:
    """Draw the widths of Gaussian blurs.

    Parameters
    ----------
    n : int
        Number of views.
    recipe : Recipe
        Its augmentation settings.
    generator : torch.Generator
        Of the CPU.

    Returns
    -------
    Tensor of shape (n,)
        Pixels: uniform in 0.1-2.0 with the recipe's probability, else 0 (no blur).
    """
    blurred, sigma = torch.rand((2, n), generator=generator)
    low, high = _BLUR_SIGMA
    return torch.where(blurred < recipe.blur_probability, low + (high - low) * sigma, 0.0)


def apply_blur(images: Tensor, sigma: Tensor) -> Tensor:
    """Blur each image by its own width, with a 5x5 kernel and a mirrored border.

    Parameters
    ----------
    images : Tensor of shape (B, C, H, W), float
    sigma : Tensor of shape (B,)
        Pixels, on the CPU, which then knows how many images are blurred; 0 leaves an image as it is.

    Returns
    -------
    Tensor of shape (B, C, H, W)
    """
    blurred = torch.nonzero(sigma > 0).flatten()
    if not len(blurred):
        return images
    chosen, sigma = send(blurred, images.device), send(sigma[blurred], images.device).to(images.dtype)
    offset = torch.arange(_BLUR_KERNEL, device=images.device) - _BLUR_KERNEL // 2
    kernel = torch.exp(-0.5 * (offset / sigma[:, None]) ** 2)
    kernel = (kernel / kernel.sum(1, keepdim=True)).to(images.dtype)
    channels, height, width = images.shape[1:]
    groups = len(chosen) * channels
    kernel = kernel.repeat_interleave(channels, 0)[:, None, None]
    border = _BLUR_KERNEL // 2
    picked = images[chosen].reshape(1, groups, height, width)
    picked = F.pad(picked, (border,) * 4, mode="reflect")
    picked = F.conv2d(picked, kernel, groups=groups)
    picked = F.conv2d(picked, kernel.transpose(2, 3), groups=groups)
    return images.index_copy(0, chosen, picked.reshape(len(chosen), channels, height, width))


def draw_contrast(n: int, recipe: "Recipe", generator: torch.Generator) -> Tensor:
    """Draw exponents of the pixels.

    Parameters
    ----------
    n : int
        Number of views.
    recipe : Recipe
        Its augmentation settings.
    generator : torch.Generator
        Of the CPU.

    Returns
    -------
    Tensor of shape (n,)
        Their logarithm is uniform in +-`contrast`.
    """
    return torch.exp(recipe.contrast * (2 * torch.rand(n, generator=generator) - 1))


def brightness_spread(pixels: np.ndarray) -> float:
    """How much the brightness differs from galaxy to galaxy, on the scale of `Recipe.contrast`.

    A galaxy whose mean over the inner half is m has the median galaxy's M once its pixels, in [0, 1], are raised to
    ln M / ln m. Views that differ as the galaxies do make the network overlook how bright and how deep an image is.

    Parameters
    ----------
    pixels : ndarray of shape (N, H, H, C), uint8

    Returns
    -------
    float
        Half of the range of the logarithm of that power that holds the middle 68 % of the galaxies, not negative.

    Examples
    --------
    >>> import numpy as np
    >>> from galaxy_assets.science.augmentation import brightness_spread
    >>> pixels = np.full((2, 8, 8, 1), 50, np.uint8)
    >>> brightness_spread(pixels)
    0.0
    """
    quarter = pixels.shape[1] // 4
    inner = pixels[:, quarter:-quarter, quarter:-quarter].mean(axis=(1, 2, 3)) / 255
    inner = np.clip(inner, 1 / 255, 254 / 255)
    power = np.log(np.log(np.median(inner)) / np.log(inner))
    low, high = np.quantile(power, (0.16, 0.84))
    return float(high - low) / 2


def draw_noise(shape: torch.Size, recipe: "Recipe", generator: torch.Generator, device: torch.device = _CPU) -> Tensor:
    """Draw Gaussian noise.

    Parameters
    ----------
    shape : torch.Size
        (B, C, H, W).
    recipe : Recipe
        Its augmentation settings.
    generator : torch.Generator
        Of the CPU.
    device : torch.device
        Where the noise is needed. A GPU draws it itself, from a seed: the CPU would take longer than a training step.
        So it is another noise there, and what `generator` draws afterwards is not what it draws on a CPU.

    Returns
    -------
    Tensor of shape (B, C, H, W)
        On the device. Each image's standard deviation is uniform in [0, `noise`] of full scale.
    """
    deviation = recipe.noise * torch.rand(shape[0], generator=generator)
    if device.type == "cpu":
        normal = torch.randn(shape, generator=generator)
    else:
        own = torch.Generator(device).manual_seed(int(torch.randint(2**62, (), generator=generator)))
        normal = torch.randn(shape, generator=own, device=device)
    return send(deviation, device)[:, None, None, None] * normal


def augment(pixels: Tensor, recipe: "Recipe", generator: torch.Generator, size: int, share: Share = ALONE) -> Tensor:
    """One random view of every image.

    Parameters
    ----------
    pixels : Tensor of shape (B, C, H, H)
        uint8, or float in [0, 1]: this process's share of a batch.
    recipe : Recipe
        Its augmentation settings.
    generator : torch.Generator
        Of the CPU, whatever the device of `pixels`. Every process draws for the whole batch, so that the draws depend
        neither on the sharing nor, noise apart, on the device.
    size : int
        Side of the views, pixels.
    share : Share
        Which share of the batch it is.

    Returns
    -------
    Tensor of shape (B, C, size, size), float
        In [0, 1].

    Raises
    ------
    ValueError
        Where the images are not square.
    """
    images = pixels.float().div_(255) if pixels.dtype == torch.uint8 else pixels
    batch, device = len(images) * share.processes, images.device
    affine = draw_affine(batch, recipe, generator)
    own = Affine(*(share.of(drawn) for drawn in (affine.flip_x, affine.flip_y, affine.angle, affine.crop)))
    views = apply_affine(images, own, size)
    views = apply_blur(views, share.of(draw_blur(batch, recipe, generator)))
    if recipe.contrast:
        contrast = share.of(draw_contrast(batch, recipe, generator))
        views = views ** send(contrast, device)[:, None, None, None]
    if recipe.noise:
        shape = torch.Size((batch, *views.shape[1:]))
        views = (views + share.of(draw_noise(shape, recipe, generator, device))).clamp(0, 1)
    return views
