"""Features of images from an encoder: the same however they are batched, and fast (paper 3.1, 4.1).

Belongs here: applying an encoder. Does not belong here: the network itself (`network`), its weights (`weights`), the
devices (`devices`) and what is made of the features (`pca`, `health`).
"""

import copy
import logging
from collections.abc import Iterator
from typing import Literal, cast

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from galaxy_assets.science.batches import Batches
from galaxy_assets.science.devices import Precision, autocast, in_parts_that_fit
from galaxy_assets.science.encoders.composition import SideBySide
from galaxy_assets.science.encoders.network import Encoder, Images
from galaxy_assets.science.threads import THREADS
from galaxy_assets.settings.progress import HowFar

log = logging.getLogger(__name__)

_ON_A_GPU, _ELSEWHERE = 512, 64  # images at once


def embed(
    encoder: Encoder,
    pixels: Images,
    *,
    indices: np.ndarray | None = None,
    device: torch.device,
    batch_size: int | None = None,
    orientations: Literal[1, 4, 8] = 1,
    precision: Precision = "float32",
    whole: bool = False,
) -> np.ndarray:
    """Features of images, independent of how they are batched; the log tells how far it is.

    Dropout and batch statistics are off.

    Parameters
    ----------
    encoder : Encoder
        Stays where and as it is.
    pixels : Images
        uint8 (N, H, W, C), possibly memory-mapped; C is 1 or the encoder's.
    indices : ndarray of int, optional
        Rows to embed, in that order; all unless given.
    device : torch.device
        Where a copy of the encoder computes.
    batch_size : int, optional
        Images at once; unless given 64, or 512 on a GPU. Where memory is full they become fewer, and the log tells.
    orientations : {1, 4, 8}
        Features are the mean over the image as it is (1), its mirror images (4, for galaxies whose major axis lies
        level) or all flips and quarter turns (8); the time grows by the same factor.
    precision : {"float32", "bfloat16"}
        Of the network's products.
    whole : bool
        Whether a table is made of these features and of nothing else that takes long, as `HowFar` has it.

    Returns
    -------
    ndarray of shape (len(indices), feature_size), float32

    Examples
    --------
    >>> import numpy as np
    >>> import torch
    >>> from galaxy_assets.science.encoders.embedding import embed
    >>> from galaxy_assets.science.encoders.network import Encoder
    >>> network = torch.nn.Sequential(torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten())  # mean of each channel
    >>> encoder = Encoder(network, backbone="", start="", feature_size=3, mean=(0.0,) * 3, std=(1.0,) * 3)
    >>> pixels = np.full((2, 8, 8, 3), [0, 51, 255], np.uint8)
    >>> embed(encoder, pixels, device=torch.device("cpu")).round(1).tolist()[0]
    [0.0, 0.20000000298023224, 1.0]
    """
    rows = np.arange(len(pixels)) if indices is None else np.asarray(indices)
    features = np.empty((len(rows), encoder.feature_size), np.float32)
    network = for_inference(encoder, device, pixels[rows[:1]].shape[1])
    size = fitting = batch_size or (_ON_A_GPU if device.type == "cuda" else _ELSEWHERE)

    def mean_features(batch: Tensor) -> Tensor:
        images = batch.permute(0, 3, 1, 2).float() / 255
        return _over_orientations(network, images, orientations)

    begin, far = 0, HowFar(log, "embedding", len(rows), whole=whole)
    with torch.inference_mode(), autocast(device, precision):
        for batch in Batches(pixels, rows, device, keep=False)(np.arange(len(rows)), size):
            THREADS.adapt()
            found, fitting = in_parts_that_fit(mean_features, batch, fitting)
            features[begin : begin + len(batch)] = found.cpu().numpy()
            begin += len(batch)
            far.tell(begin)
    return features


def _over_orientations(encoder: Encoder, images: Tensor, orientations: Literal[1, 4, 8]) -> Tensor:
    """Features (B, F), the mean over orientations; encoders side by side each as alone."""
    if isinstance(encoder.network, SideBySide):
        parts = [_over_orientations(part, images, orientations) for part in encoder.network.encoders]
        return encoder.network.joined(parts)
    once = getattr(encoder.network, "turns_alike", False)
    views = oriented(images, 1 if once else orientations)
    return torch.stack([encoder(view).float() for view in views]).mean(0)


def for_inference(encoder: Encoder, device: torch.device, side: int) -> Encoder:
    """A copy of the encoder that embeds: without dropout or batch statistics.

    Its batch normalisations are folded into the convolutions before them. Features are the same but for rounding, and
    an EfficientNet-Lite0 takes three quarters of the time.

    Parameters
    ----------
    encoder : Encoder
        Is not changed.
    device : torch.device
        Of the copy.
    side : int
        Of the images, pixels.

    Returns
    -------
    Encoder
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
    """Fold batch normalisations into the convolutions that feed them; return the features of `sample` before that."""
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
    """The images as they are, mirrored, and quarter-turned.

    Parameters
    ----------
    images : Tensor of shape (B, C, H, H)
    orientations : {1, 4, 8}
        How many; see `embed`.

    Yields
    ------
    Tensor of shape (B, C, H, H)
    """
    mirrors = [[], [3], [2], [2, 3]] if orientations > 1 else [[]]
    for turned in [images, images.transpose(2, 3)] if orientations == 8 else [images]:
        for axes in mirrors:
            yield turned.flip(axes) if axes else turned
