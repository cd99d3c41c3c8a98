"""Encoders made of other encoders: several side by side, and one between two states of a training.

Belongs here: composing encoders, and the scales and shares that it takes. Does not belong here: the networks
(`network`), what is composed with what (`orchestration.assets.representation`), and applying the result (`embedding`).
"""

import copy
import json
from collections.abc import Sequence
from typing import cast

import numpy as np
import torch
from torch import Tensor, nn

from galaxy_assets.science.encoders.network import Encoder, architecture_metadata, untrained_encoder

SIDE_BY_SIDE = "side_by_side"
"""Name of the architecture among the plug-ins of kind `encoders`."""


class SideBySide(nn.Module):
    """Encoders whose features stand side by side, each multiplied by its scale.

    Each part normalises the pixels and takes the channels as it does alone.

    Parameters
    ----------
    parts : sequence of Encoder
        At least one.
    """

    scales: Tensor

    def __init__(self, parts: Sequence[Encoder]):
        super().__init__()
        self.parts = nn.ModuleList(parts)
        self.register_buffer("scales", torch.ones(len(parts)))

    def forward(self, pixels: Tensor) -> Tensor:
        """Features (B, sum of the parts' F) of images (B, C, H, W) in [0, 1]."""
        return self.joined([part(pixels) for part in self.parts])

    def joined(self, features: Sequence[Tensor]) -> Tensor:
        """Features (B, F_i) of the parts as one: (B, sum of F_i)."""
        return torch.cat([scale * block for block, scale in zip(features, self.scales, strict=True)], dim=1)

    @property
    def encoders(self) -> list[Encoder]:
        """The parts."""
        return [cast(Encoder, part) for part in self.parts]


def side_by_side_network(backbone: str) -> SideBySide:
    """The network of a composed encoder, randomly initialised: the architecture `side_by_side`.

    Parameters
    ----------
    backbone : str
        JSON list with the metadata of each part, as `network.architecture_metadata` gives them.

    Returns
    -------
    SideBySide

    Raises
    ------
    ValueError
        Where it is no such list.
    PluginError
        Where the architecture of a part is not registered.
    """
    try:
        parts = json.loads(backbone)
    except json.JSONDecodeError as error:
        raise ValueError(f"backbone {backbone!r} does not say what stands side by side: {error}") from error
    if not isinstance(parts, list) or not parts:
        raise ValueError(f"backbone {backbone!r} is no list of the encoders that stand side by side")
    return SideBySide([untrained_encoder(metadata) for metadata in parts])


def side_by_side(parts: Sequence[Encoder], scales: Sequence[float]) -> Encoder:
    """One encoder whose features are those of several, each multiplied by its scale.

    Everything that takes an encoder takes it: it embeds, is kept as safetensors, and answers uploads.

    Parameters
    ----------
    parts : sequence of Encoder
        At least one; copied. Their channels may differ: each sees of the image what it sees alone.
    scales : sequence of float
        One for each part; `equal_variance` finds them.

    Returns
    -------
    Encoder
        On the CPU. Its `backbone` describes the parts as JSON; its `start` is that of the first part.

    Raises
    ------
    ValueError
        Without parts, or where there are not as many scales.

    Examples
    --------
    >>> import torch
    >>> from galaxy_assets.science.encoders.composition import side_by_side
    >>> from galaxy_assets.science.encoders.network import Encoder
    >>> pool = torch.nn.Sequential(torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten())  # mean of each channel
    >>> grey = Encoder(pool, backbone="", start="", feature_size=1, mean=(0.0,), std=(1.0,))
    >>> colour = Encoder(pool, backbone="", start="", feature_size=3, mean=(0.0,) * 3, std=(1.0,) * 3)
    >>> pixels = torch.tensor([0.0, 0.5, 1.0]).view(1, 3, 1, 1)
    >>> side_by_side([grey, colour], [2.0, 4.0])(pixels).tolist()
    [[1.0, 0.0, 2.0, 4.0]]
    """
    if not parts or len(parts) != len(scales):
        raise ValueError(f"{len(parts)} encoders and {len(scales)} scales: one scale for each encoder, at least one")
    network = SideBySide([copy.deepcopy(part).cpu() for part in parts])
    network.scales.copy_(torch.tensor(list(scales)))
    channels = max(part.in_channels for part in parts)
    return Encoder(
        network,
        backbone=json.dumps([architecture_metadata(part) for part in parts]),
        start=parts[0].start,
        feature_size=sum(part.feature_size for part in parts),
        mean=(0.0,) * channels,
        std=(1.0,) * channels,
        variant=SIDE_BY_SIDE,
    )


def equal_variance(features: Sequence[np.ndarray]) -> list[float]:
    """Scales that give every block of features the total variance of the first block that has any.

    Principal components, clusters and distances then weigh each block alike, however many features it has.

    Parameters
    ----------
    features : sequence of ndarray of shape (N, D_i)
        Of the same images.

    Returns
    -------
    list of float
        The first block that varies has 1; a block that is constant has 0.

    Examples
    --------
    >>> import numpy as np
    >>> from galaxy_assets.science.encoders.composition import equal_variance
    >>> equal_variance([np.array([[0.0], [2.0]]), np.array([[0.0, 0.0], [0.3, 0.4]]), np.ones((2, 5))])
    [1.0, 4.0, 0.0]
    """
    variances = [float(block.var(axis=0, dtype=np.float64).sum()) for block in features]
    # the mean of equal float32 values may miss them by a rounding, which is no variance
    sizes = [float(np.square(block, dtype=np.float64).mean(axis=0).sum()) for block in features]
    varies = [variance > 1e-12 * size for variance, size in zip(variances, sizes, strict=True)]
    reference = next((variance for variance, counts in zip(variances, varies, strict=True) if counts), 0.0)
    return [(reference / v) ** 0.5 if counts else 0.0 for v, counts in zip(variances, varies, strict=True)]


def interpolated(start: Encoder, trained: Encoder, share: float) -> Encoder:
    """The encoder between the start of a training and what it became: start + share * (trained - start).

    Weights and running statistics alike, as WiSE-FT interpolates (Wortsman et al. 2022, Eq. 1). What is no floating
    number, such as a count of batches, is that of `trained`.

    Parameters
    ----------
    start, trained : Encoder
        Of one architecture; they are not changed.
    share : float
        0 is the start and 1 the trained encoder, to the bit.

    Returns
    -------
    Encoder
        On the CPU.

    Raises
    ------
    ValueError
        Where the two are of different architectures.
    """
    mixed = copy.deepcopy(trained).cpu()
    ours, others = mixed.state_dict(), start.state_dict()
    if {name: t.shape for name, t in ours.items()} != {name: t.shape for name, t in others.items()}:
        raise ValueError(
            f"a {start.backbone} ({start.variant}) and a {trained.backbone} ({trained.variant}) have no weights between"
        )
    with torch.no_grad():
        for name, tensor in ours.items():
            if tensor.is_floating_point():
                tensor.copy_(torch.lerp(others[name].cpu(), tensor, share))
    return mixed
