"""Whether a device computes what the CPU does, and how fast.

Belongs here: what `galaxy-assets device` and `benchmarks/gpu.py` both measure. Does not belong here: choosing devices
(`devices`), targets and peers (the benchmark), printing.

It needs torch, timm and numpy alone: a recipe is whatever has the fields that are used.
"""

import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from galaxy_assets.science.byol import Byol, step, train
from galaxy_assets.science.devices import Precision
from galaxy_assets.science.encoders.embedding import embed
from galaxy_assets.science.encoders.network import Encoder, seeded, timm_network
from galaxy_assets.science.training import EpochResult, adam

if TYPE_CHECKING:
    from galaxy_assets.settings.recipe import Recipe

CPU = torch.device("cpu")
_STEP = 8  # forward passes that a BYOL step is worth: two views online forward (2) and backward (4), and target (2)


@dataclass(frozen=True)
class Equality:
    """How far a device's answer is from the CPU's.

    Attributes
    ----------
    what : str
    found, limit : float
        The largest difference, and the largest that is taken for rounding.
    """

    what: str
    found: float
    limit: float

    @property
    def holds(self) -> bool:
        """Whether the device computes what the CPU does."""
        return bool(self.found <= self.limit)

    asdict = asdict


@dataclass(frozen=True)
class Speed:
    """How fast a device is at something.

    Attributes
    ----------
    what : str
        `training` or `embedding`.
    size, batch : int
        Side of the images in pixels, and images at once.
    precision : str
    images_per_second : float
    teraflops : float
        Operations a second that the networks need for that, in 1e12.
    memory_gb : float
        Peak of the device's memory, in GB (1e9 bytes); NaN on the CPU.
    """

    what: str
    size: int
    batch: int
    precision: str
    images_per_second: float
    teraflops: float
    memory_gb: float

    asdict = asdict


def random_encoder(backbone: str = "resnet18") -> Encoder:
    """A network with random weights, the same each time.

    Parameters
    ----------
    backbone : str
        timm model name.

    Returns
    -------
    Encoder
        On the CPU.
    """
    with seeded(0):
        network = timm_network(backbone)
    return Encoder(
        network, backbone=backbone, start="random", feature_size=network.num_features, mean=(0.5,) * 3, std=(0.25,) * 3
    )


def random_pixels(count: int, size: int) -> np.ndarray:
    """Spots of light on a dark sky, the same each time: noise alone would make every image look alike.

    Parameters
    ----------
    count, size : int
        Images, and their side in pixels.

    Returns
    -------
    ndarray of shape (count, size, size, 3), uint8
    """
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:size, :size] / size - 0.5
    pixels = np.empty((count, size, size, 3), np.uint8)
    for image in pixels:
        width, stretch, angle = rng.uniform([0.05, 0.3, 0], [0.25, 1, np.pi])
        u, v = x * np.cos(angle) + y * np.sin(angle), (y * np.cos(angle) - x * np.sin(angle)) / stretch
        light = 200 * np.exp(-(u**2 + v**2) / width**2)[..., None] * rng.uniform(0.4, 1, 3)
        image[:] = np.clip(light + rng.normal(20, 6, (size, size, 3)), 0, 255)
    return pixels


def equalities(recipe: "Recipe", device: torch.device) -> Iterator[Equality]:
    """Hold a device against the CPU: eight training steps in float64, features in both precisions.

    Parameters
    ----------
    recipe : Recipe
        Its heads, `tau` and learning rate.
    device : torch.device

    Yields
    ------
    Equality
    """
    # MPS has no float64; in float32 Adam enlarges rounding, so that only the first step can be compared
    dtype, steps, limit = (torch.float32, 1, 1e-3) if device.type == "mps" else (torch.float64, 8, 1e-8)
    losses = [_losses(recipe, where, dtype, steps) for where in (CPU, device)]
    name = "float64" if dtype == torch.float64 else "float32"
    yield Equality(f"loss of {steps} training steps in {name}", float(np.abs(losses[1] - losses[0]).max()), limit)
    pixels, encoder = random_pixels(48, 64), random_encoder()
    expected = embed(encoder, pixels, device=CPU)
    limits: dict[Precision, float] = {"float32": 1e-5, "bfloat16": 1e-3}
    for precision, limit in limits.items():
        found = embed(encoder, pixels, device=device, precision=precision)
        cosine = (expected * found).sum(1) / np.linalg.norm(expected, axis=1) / np.linalg.norm(found, axis=1)
        yield Equality(f"cosine of features short of 1, {precision}", max(0.0, float(1 - cosine.min())), limit)


def _losses(recipe: "Recipe", device: torch.device, dtype: torch.dtype, steps: int) -> np.ndarray:
    learner = Byol(random_encoder().to(dtype), recipe, freeze=False).to(device, dtype)
    optimiser, generator = adam(learner, recipe), torch.Generator().manual_seed(0)
    losses = []
    for _ in range(steps):
        views = [torch.rand((8, 3, 32, 32), generator=generator, dtype=dtype).to(device) for _ in range(2)]
        losses.append(float(step(learner, optimiser, *views, bfloat16=False)))
    return np.array(losses)


class Repeated:
    """Few images as many.

    Parameters
    ----------
    pixels : ndarray of shape (n, H, H, C), uint8
    count : int
        How many they pass for.
    """

    def __init__(self, pixels: np.ndarray, count: int):
        self.pixels, self.count = pixels, count

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, rows: np.ndarray) -> np.ndarray:
        """Pixels of rows."""
        return self.pixels[rows % len(self.pixels)]


class Nowhere:
    """A training's state that is not kept."""

    def read(self) -> None:
        """Nothing was written."""

    def write(self, saved: dict[str, Any]) -> None:
        """Nothing is written."""


def training_speed(recipe: "Recipe", device: torch.device, *, steps: int) -> Speed:
    """Images a second of the trainer `byol`, views included, in the second of two epochs.

    Parameters
    ----------
    recipe : Recipe
        With `epochs` 2; its size, batch and precision are those measured.
    device : torch.device
    steps : int
        Of an epoch.

    Returns
    -------
    Speed
    """
    encoder, found = random_encoder(recipe.backbone), list[EpochResult]()
    gflop = _STEP * forward_gflop(encoder, recipe.image_size)
    _forget_peak(device)
    train(
        encoder,
        Repeated(random_pixels(64, recipe.image_size), steps * recipe.batch_size),
        np.arange(steps * recipe.batch_size),
        recipe,
        freeze=False,
        devices=[device],
        state=Nowhere(),
        on_epoch=lambda result, _: found.append(result),
    )
    speed = found[-1].images_per_second
    return Speed(
        "training", recipe.image_size, recipe.batch_size, recipe.precision, speed, speed * gflop / 1e3, _peak(device)
    )


def embedding_speed(device: torch.device, *, size: int, count: int, precision: Precision) -> Speed:
    """Images a second of `embed`, from pixels in the computer's memory to features there.

    Parameters
    ----------
    device : torch.device
    size, count : int
        Side of the images in pixels, and how many are embedded.
    precision : {"float32", "bfloat16"}

    Returns
    -------
    Speed
    """
    encoder, pixels = random_encoder(), Repeated(random_pixels(64, size), count)
    _forget_peak(device)
    batch = 512 if device.type == "cuda" else 64
    embed(encoder, pixels, indices=np.arange(min(count, 2 * batch)), device=device, precision=precision)
    began = time.perf_counter()
    embed(encoder, pixels, device=device, precision=precision)
    speed = count / (time.perf_counter() - began)
    return Speed("embedding", size, batch, precision, speed, speed * forward_gflop(encoder, size) / 1e3, _peak(device))


def forward_gflop(encoder: Encoder, size: int) -> float:
    """1e9 multiplications and additions of one image's way through a network.

    Parameters
    ----------
    encoder : Encoder
    size : int
        Side of the image, pixels.

    Returns
    -------
    float
    """
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        encoder.eval()(torch.zeros(1, encoder.in_channels, size, size, device=encoder.mean.device))
    return counter.get_total_flops() / 1e9


def convolution_peak(device: torch.device, precision: Precision) -> float:
    """Operations a second of the best 3x3 convolution of 256 channels, in 1e12.

    Parameters
    ----------
    device : torch.device
    precision : {"float32", "bfloat16"}

    Returns
    -------
    float
    """
    dtype, images = getattr(torch, precision), 512 if device.type != "cpu" else 16
    convolution = nn.Conv2d(256, 256, 3, padding=1, bias=False).to(device, dtype).to(memory_format=torch.channels_last)
    x = torch.rand(images, 256, 28, 28, device=device, dtype=dtype).contiguous(memory_format=torch.channels_last)
    with torch.inference_mode(), torch.backends.cudnn.flags(enabled=True, benchmark=True, allow_tf32=False):
        seconds = fastest(lambda: convolution(x), device)
    return 2 * 256 * 256 * 9 * 28 * 28 * images / seconds / 1e12


def copy_peak(device: torch.device) -> float:
    """GB/s (1e9 bytes, read and written) of a copy in the device's memory.

    Parameters
    ----------
    device : torch.device

    Returns
    -------
    float
    """
    a = torch.ones(2**28 if device.type != "cpu" else 2**26, device=device)
    b = torch.empty_like(a)
    return 2 * a.numel() * a.element_size() / fastest(lambda: b.copy_(a), device) / 1e9


def fastest(work: Callable[[], Any], device: torch.device, tries: int = 6) -> float:
    """Seconds of the fastest of some calls, after one that is not timed.

    Parameters
    ----------
    work : callable
    device : torch.device
        Is waited for.
    tries : int

    Returns
    -------
    float
    """
    seconds = []
    for _ in range(1 + tries):
        wait_for(device)
        began = time.perf_counter()
        work()
        wait_for(device)
        seconds.append(time.perf_counter() - began)
    return min(seconds[1:])


def wait_for(device: torch.device) -> None:
    """Wait until a device has done what it was given.

    Parameters
    ----------
    device : torch.device
    """
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    elif device.type == "mps":
        torch.mps.synchronize()


def _forget_peak(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats(device)


def _peak(device: torch.device) -> float:
    return torch.cuda.max_memory_allocated(device) / 1e9 if device.type == "cuda" else float("nan")
