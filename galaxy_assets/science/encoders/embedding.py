"""Features of images from an encoder: the same however they are batched, and fast (paper 3.1, 4.1).

Belongs here: applying an encoder, and the devices it is applied on. Does not belong here: the network itself
(`network`), its weights (`weights`) and what is made of the features (`pca`, `health`).
"""

import copy
import ctypes
import logging
import sys
import time
from collections.abc import Iterator
from typing import Literal, cast

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from galaxy_assets.science.encoders.network import Encoder, Images

log = logging.getLogger(__name__)

_PROGRESS_SECONDS = 20.0


def choose_devices() -> list[torch.device]:
    """All CUDA devices this process may see, else Apple's MPS, else the CPU; the first embeds, all train."""
    if torch.cuda.is_available():
        devices = [torch.device("cuda", i) for i in range(torch.cuda.device_count())]
        log.info("computing on %s", ", ".join(map(torch.cuda.get_device_name, devices)))
        return devices
    name = "mps" if torch.backends.mps.is_available() else "cpu"
    log.info("computing on %s", name)
    if name == "cpu":
        keep_freed_memory()
    return [torch.device(name)]


def keep_freed_memory() -> None:
    """Let this process keep the memory of freed tensors for the next ones.

    glibc hands blocks of a megabyte back to the system, so that every activation of a network is made of new pages that
    the kernel must first clear: a third of the processor time of embedding on the machine it was measured on.
    """
    libc = ctypes.CDLL(None) if sys.platform == "linux" else None
    if hasattr(libc, "mallopt"):  # not in musl
        for parameter, value in _MALLOPT.items():
            libc.mallopt(parameter, value)


_MALLOPT = {-3: 2**25, -1: 2**31 - 1, -2: 2**28}  # M_MMAP_THRESHOLD (its largest), M_TRIM_THRESHOLD, M_TOP_PAD; bytes


def embed(
    encoder: Encoder,
    pixels: Images,
    *,
    indices: np.ndarray | None = None,
    device: torch.device,
    batch_size: int = 64,
    orientations: Literal[1, 4, 8] = 1,
    precision: Literal["float32", "bfloat16"] = "float32",
) -> np.ndarray:
    """Features of images, independent of how they are batched; the log tells how far it is.

    Parameters
    ----------
    pixels : uint8 (N, H, W, C), possibly memory-mapped; C is 1 or the encoder's.
    indices : rows to embed, in that order; all when None.
    device : where to compute, with a copy: the encoder stays where and as it is.
    orientations : features are the mean over the image as it is (1), its mirror images (4, for galaxies whose major
        axis lies level) or all flips and quarter turns (8); the time grows by the same factor.

    Returns float32 (len(indices), feature_size). Dropout and batch statistics are off.
    """
    rows = np.arange(len(pixels)) if indices is None else np.asarray(indices)
    features, reported = np.empty((len(rows), encoder.feature_size), np.float32), time.monotonic()
    network = for_inference(encoder, device, pixels[rows[:1]].shape[1])
    with torch.inference_mode(), torch.autocast(device.type, torch.bfloat16, enabled=precision == "bfloat16"):
        for begin in range(0, len(rows), batch_size):
            batch = torch.from_numpy(pixels[rows[begin : begin + batch_size]]).to(device)
            images = batch.permute(0, 3, 1, 2).float() / 255
            mean = torch.stack([network(view).float() for view in oriented(images, orientations)]).mean(0)
            features[begin : begin + len(batch)] = mean.cpu().numpy()
            if time.monotonic() - reported > _PROGRESS_SECONDS:
                reported = time.monotonic()
                log.info("embedded %d of %d images", begin + len(batch), len(rows))
    return features


def for_inference(encoder: Encoder, device: torch.device, side: int) -> Encoder:
    """A copy of the encoder on `device`, for images of `side` pixels, without dropout or batch statistics. Its batch
    normalisations are folded into the convolutions before them: the same features but for rounding, of an
    EfficientNet-Lite0 in three quarters of the time.
    """
    folded = copy.deepcopy(encoder).eval()
    sample = torch.rand(1, folded.in_channels, side, side, generator=torch.Generator().manual_seed(0))
    sample = sample.to(folded.mean.device)
    with torch.no_grad():
        expected = _fold(folded, sample)
        # a network that uses a convolution twice, or its output also without the normalisation, is left as it is
        same = torch.allclose(folded(sample), expected, rtol=0, atol=1e-4 * float(expected.abs().max()))
    network = folded if same else copy.deepcopy(encoder).eval()
    return network.to(device).to(memory_format=torch.channels_last)


def _fold(encoder: Encoder, sample: Tensor) -> Tensor:
    """Fold every batch normalisation into the convolution whose output it is given; `sample` is sent through to see,
    and its features as they were are returned.
    """
    made: dict[int, nn.Conv2d] = {}
    pairs: list[tuple[nn.Conv2d, nn.BatchNorm2d]] = []
    kept: list[Tensor] = []  # as long as a tensor lives no other has its number

    def see(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        if isinstance(module, nn.Conv2d):
            made[id(output)] = module
            kept.append(output)
        elif id(inputs[0]) in made:
            pairs.append((made[id(inputs[0])], cast(nn.BatchNorm2d, module)))

    seen = [m for m in encoder.modules() if isinstance(m, nn.Conv2d | nn.BatchNorm2d)]
    hooks = [module.register_forward_hook(see) for module in seen]
    features = encoder(sample)
    for hook in hooks:
        hook.remove()
    names = {module: name for name, module in encoder.named_modules()}
    for convolution, normalisation in pairs:
        # timm's normalisation carries the activation that follows it
        activation = getattr(normalisation, "act", nn.Identity())
        for module, new in (convolution, fuse_conv_bn_eval(convolution, normalisation)), (normalisation, activation):
            encoder.set_submodule(names[module], new)
    return features


def oriented(images: Tensor, orientations: Literal[1, 4, 8]) -> Iterator[Tensor]:
    """The images (B, C, H, H) as they are, and mirrored, and quarter-turned: 1, 4 or 8 tensors of that shape."""
    mirrors = [[], [3], [2], [2, 3]] if orientations > 1 else [[]]
    for turned in [images, images.transpose(2, 3)] if orientations == 8 else [images]:
        for axes in mirrors:
            yield turned.flip(axes) if axes else turned
