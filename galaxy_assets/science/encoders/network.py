"""Networks that turn pixels into features (paper 3.1, 4.1).

Belongs here: the encoder, the architectures it may have, and the encoder as tensors with metadata. Does not belong
here: where its start weights come from (`weights`), applying it (`embedding`), training (`byol`) and files
(`storage.checkpoints`).
"""

import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any, Protocol

import numpy as np
import timm
import torch
from torch import Tensor, nn

from galaxy_assets import plugins

_METADATA = {"backbone", "start", "variant", "feature_size", "mean", "std"}


class Images(Protocol):
    """What networks read: an array, a memory map, or anything that gives uint8 (len(rows), H, H, C) for `[rows]`."""

    def __getitem__(self, rows: np.ndarray, /) -> np.ndarray: ...

    def __len__(self) -> int: ...


class Encoder(nn.Module):
    """A network that maps pixels to pooled features, with the normalisation its weights expect.

    Parameters
    ----------
    network : nn.Module
        Maps (B, in_channels, H, W) to (B, feature_size).
    backbone : str
        timm model name.
    start : str
        What the weights began as: `random`, `imagenet`, `rgz` or the name of a survey.
    feature_size : int
        Number of features.
    mean, std : tuple of float
        Per channel of the network, for pixels in [0, 1]; the length decides `in_channels`.
    variant : str
        Name of the architecture among the plug-ins of kind `encoders`: `timm`, or `rgz` for the stem of the Radio
        Galaxy Zoo encoder.
    """

    mean: Tensor
    std: Tensor

    def __init__(
        self,
        network: nn.Module,
        *,
        backbone: str,
        start: str,
        feature_size: int,
        mean: tuple[float, ...],
        std: tuple[float, ...],
        variant: str = "timm",
    ):
        super().__init__()
        self.network = network
        self.backbone = backbone
        self.start = start
        self.variant = variant
        self.feature_size = feature_size
        self.in_channels = len(mean)
        self.register_buffer("mean", torch.tensor(mean).view(1, -1, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(std).view(1, -1, 1, 1), persistent=False)

    def forward(self, pixels: Tensor) -> Tensor:
        """Features of images.

        Parameters
        ----------
        pixels : Tensor of shape (B, C, H, W), float
            In [0, 1]; C is 1 or 3. A grey image fills all channels; a network of one channel sees the mean of a colour
            image's.

        Returns
        -------
        Tensor of shape (B, feature_size)
        """
        if self.in_channels == 1:
            pixels = pixels.mean(1, keepdim=True)
        return self.network((pixels - self.mean) / self.std)


# Architectures: plug-ins of kind `encoders`


def timm_network(backbone: str, **options: Any) -> Any:
    """A network of timm, unless options say otherwise without its classifier and randomly initialised.

    A vision transformer takes images of any size: its positions are interpolated, and what is no multiple of its
    patches is filled up.

    Parameters
    ----------
    backbone : str
        timm model name.
    **options
        Of `timm.create_model`.

    Returns
    -------
    nn.Module
        Maps (B, 3, H, W) to (B, F); `head_hidden_size` is F.

    Raises
    ------
    ValueError
        Where timm knows no model of that name.
    """
    require_timm(backbone)
    options = {"pretrained": False, "num_classes": 0, "in_chans": 3} | options
    published = timm.get_pretrained_cfg(backbone)
    if published is not None and published.fixed_input_size:
        with suppress(TypeError):  # not all such architectures can
            return timm.create_model(backbone, **options, dynamic_img_size=True, dynamic_img_pad=True)
    return timm.create_model(backbone, **options)


def rgz_network(backbone: str) -> Any:
    """The Radio Galaxy Zoo encoder, randomly initialised: one channel, and a 3x3 stem of stride 1.

    Parameters
    ----------
    backbone : str
        timm model name; the published weights are those of `resnet18`.

    Returns
    -------
    nn.Module
        Maps (B, 1, H, W) to (B, F); `head_hidden_size` is F.

    Raises
    ------
    ValueError
        Where timm knows no model of that name.
    """
    require_timm(backbone)
    network = timm.create_model(backbone, pretrained=False, num_classes=0, in_chans=1)
    network.conv1 = nn.Conv2d(1, 64, 3, stride=1, padding=1, bias=False)
    return network


def require_timm(backbone: str) -> None:
    """Check that timm knows a model.

    Parameters
    ----------
    backbone : str
        timm model name.

    Raises
    ------
    ValueError
        Where it does not.
    """
    if not timm.is_model(backbone):
        raise ValueError(f"backbone {backbone!r} is not a timm model; timm.list_models() names them")


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Initialise layers on the CPU from a seed; the global random state is put back afterwards.

    Parameters
    ----------
    seed : int
    """
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        yield


# An encoder as tensors


def encoder_to_tensors(encoder: Encoder) -> tuple[dict[str, Tensor], dict[str, str]]:
    """An encoder as what a file can hold.

    Parameters
    ----------
    encoder : Encoder
        Is not changed.

    Returns
    -------
    tensors : dict of str to Tensor
        Weights and statistics of its network, contiguous, on the CPU.
    metadata : dict of str to str
        What `encoder_from_tensors` needs beside them.
    """
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in encoder.network.state_dict().items()}
    return tensors, architecture_metadata(encoder)


def architecture_metadata(encoder: Encoder) -> dict[str, str]:
    """What an encoder is but for its weights: what `untrained_encoder` needs.

    Parameters
    ----------
    encoder : Encoder

    Returns
    -------
    dict of str to str
    """
    return {
        "backbone": encoder.backbone,
        "start": encoder.start,
        "variant": encoder.variant,
        "feature_size": str(encoder.feature_size),
        "mean": json.dumps(encoder.mean.flatten().tolist()),
        "std": json.dumps(encoder.std.flatten().tolist()),
    }


def encoder_from_tensors(tensors: dict[str, Tensor], metadata: dict[str, str]) -> Encoder:
    """The encoder that `encoder_to_tensors` took apart, on the CPU.

    Parameters
    ----------
    tensors, metadata : dict
        As `encoder_to_tensors` returns them; further entries of the metadata are not looked at.

    Returns
    -------
    Encoder
        Its architecture is the plug-in of kind `encoders` that the metadata call `variant`.

    Raises
    ------
    ValueError
        Where the metadata lack an entry or name an unknown backbone.
    PluginError
        Where no architecture of that name is registered.
    """
    encoder = untrained_encoder(metadata)
    encoder.network.load_state_dict(tensors)
    return encoder


def untrained_encoder(metadata: dict[str, str]) -> Encoder:
    """An encoder of the architecture that metadata describe, with other weights.

    Parameters
    ----------
    metadata : dict of str to str
        As `architecture_metadata` returns them; further entries are not looked at.

    Returns
    -------
    Encoder
        On the CPU.

    Raises
    ------
    ValueError
        Where the metadata lack an entry or name an unknown backbone.
    PluginError
        Where no architecture of that name is registered.
    """
    if missing := _METADATA - set(metadata):
        raise ValueError(f"this is not an encoder of galaxy-assets: its metadata lacks {', '.join(sorted(missing))}")
    architecture = plugins.load("encoders", metadata["variant"])
    with seeded(0):
        network = architecture(metadata["backbone"])
    return Encoder(
        network,
        backbone=metadata["backbone"],
        start=metadata["start"],
        feature_size=int(metadata["feature_size"]),
        mean=tuple(json.loads(metadata["mean"])),
        std=tuple(json.loads(metadata["std"])),
        variant=metadata["variant"],
    )


def state_sha256(encoder: Encoder) -> str:
    """Digest of an encoder's weights and statistics, without how it normalises pixels: see `encoder_sha256`.

    Parameters
    ----------
    encoder : Encoder

    Returns
    -------
    str
        sha256, 64 hex digits.
    """
    sha = hashlib.sha256()
    for name, tensor in sorted(encoder.state_dict().items()):
        sha.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        sha.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    return sha.hexdigest()


def encoder_sha256(encoder: Encoder) -> str:
    """Digest of all that decides an encoder's features: weights, architecture and how pixels are normalised.

    Parameters
    ----------
    encoder : Encoder
        Of several side by side each is described.

    Returns
    -------
    str
        sha256, 64 hex digits.
    """
    described = json.dumps(architecture_metadata(encoder) | {"start": ""}, sort_keys=True)
    return hashlib.sha256(f"{described} {state_sha256(encoder)}".encode()).hexdigest()
