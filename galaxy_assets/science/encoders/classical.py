"""Shape, light and colour by formulae that astronomers wrote down, as an encoder without weights.

Belongs here: the features, the fixed scale of each, and their encoder as start weights. Does not belong here: the
formulae (`morphology`), networks (`network`), and setting these features beside a network's (`composition`).
"""

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from galaxy_assets.science.encoders import morphology
from galaxy_assets.science.encoders.network import Encoder
from galaxy_assets.science.encoders.weights import WeightFiles

CLASSICAL = "classical"
"""Name among the start weights and among the architectures."""

_SIDE = 64  # pixels at which every image is seen, so that a feature does not hang on the recipe's image size
_LIMIT = 3.0  # spreads from the typical value; what is further out is as far


class Scale(NamedTuple):
    """What a feature's values are compared with.

    Attributes
    ----------
    typical, spread : tuple of float
        Roughly the median over galaxies, and half of the range that holds two thirds of them, of optical and radio
        surveys; one for each value that the formula gives. They are fixed, so that a feature means the same in every
        survey and for an image that is looked up.
    """

    typical: tuple[float, ...]
    spread: tuple[float, ...]


def _one(typical: float, spread: float) -> Scale:
    return Scale((typical,), (spread,))


_LIGHT = {
    "gini": _one(0.45, 0.07),
    "m20": _one(-1.4, 0.35),
    "concentration": _one(2.2, 0.4),
    "asymmetry": _one(0.2, 0.15),
    "smoothness": _one(0.07, 0.05),
    "flux": _one(-1.6, 0.4),
    "brightness": _one(-0.75, 0.15),
    "half_light_radius": _one(-0.65, 0.15),
    "axis_ratio": _one(0.65, 0.2),
    "area": _one(0.4, 0.15),
    "peaks": _one(1.6, 0.7),
    "second_peak": _one(0.4, 0.4),
    "second_distance": _one(1.2, 0.9),
}
_ISOPHOTES = {
    "residual": Scale((0.12, 0.1, 0.1, 0.1, 0.05), (0.1, 0.1, 0.1, 0.1, 0.1)),
    "offset": Scale((0.06, 0.05, 0.04, 0.03), (0.08, 0.08, 0.08, 0.08)),
    "ratio": Scale((0.65,) * 5, (0.2,) * 5),
    "twist": Scale((0.2,) * 4, (0.15,) * 4),
    "connected": Scale((0.95,) * 5, (0.15,) * 5),
}
_ANNULI = {
    "brightness": Scale((0.1, -0.03, -0.3, -0.75, -1.5), (0.06, 0.04, 0.08, 0.1, 0.3)),
    "scatter": Scale((0.15, 0.2, 0.3, 0.6, 1.8), (0.1, 0.15, 0.2, 0.35, 0.8)),
    "arms": Scale((0.05, 0.05, 0.03, 0.03) * 2, (0.06, 0.06, 0.04, 0.04, 0.06, 0.06, 0.1, 0.08)),
}
_COLOURS = {
    "red": _one(0.05, 0.1),
    "green": _one(0.0, 0.05),
    "redder_outside": _one(0.0, 0.05),
    "greener_outside": _one(0.0, 0.05),
}
SCALES = {
    f"{group}_{name}": scale
    for group, scales in {
        "main": _LIGHT,
        "all": _LIGHT,
        "isophote": _ISOPHOTES,
        "annulus": _ANNULI,
        "colour": _COLOURS,
    }.items()
    for name, scale in scales.items()
}
"""Every formula's name and scale, in the order of the features."""


class Classical(nn.Module):
    """Maps images (B, 3, H, W) in [0, 1] to features (B, F) of order one; finite for every image.

    A feature is its formula's value less the typical one, in spreads, between -3 and 3. Where a formula has no value,
    as of an image in which nothing shines, it is 0.
    """

    turns_alike = True
    """Features of a mirrored or quarter-turned image are those of the image: `embedding.embed` looks at it once."""

    @torch.no_grad()
    def forward(self, pixels: Tensor) -> Tensor:
        """Features of images, in float32 whatever precision is asked for."""
        with torch.autocast(pixels.device.type, enabled=False):
            values = measured(pixels.float())
            columns = [
                (values[name].reshape(len(pixels), -1) - pixels.new_tensor(scale.typical))
                / pixels.new_tensor(scale.spread)
                for name, scale in SCALES.items()
            ]
            return torch.cat(columns, dim=1).nan_to_num(0.0, _LIMIT, -_LIMIT).clamp(-_LIMIT, _LIMIT)


def measured(pixels: Tensor) -> dict[str, Tensor]:
    """The formulae's values, under the names of `SCALES`.

    Parameters
    ----------
    pixels : Tensor of shape (B, 3, H, W), float32
        In [0, 1].

    Returns
    -------
    dict of str to Tensor
        (B,) or (B, n); NaN or infinite where a formula has no value.
    """
    images = F.interpolate(pixels, size=(_SIDE, _SIDE), mode="bilinear", antialias=True)
    channels = morphology.without_sky(images)
    image = morphology.without_sky(images.mean(1, keepdim=True))[:, 0]
    main, every = morphology.shining(image)
    annuli, radius = morphology.profile(image, main)
    groups = {
        "main": morphology.light(image, main),
        "all": morphology.light(image, every),
        "isophote": morphology.isophotes(image, main, every),
        "annulus": annuli,
        "colour": morphology.colours(channels, main, radius),
    }
    return {f"{group}_{name}": tensor for group, values in groups.items() for name, tensor in values.items()}


def classical_network(backbone: str) -> Classical:
    """The architecture `classical`, which has no weights.

    Parameters
    ----------
    backbone : str
        Is not used; see `plugins.training_protocols.EncoderNetwork`.

    Returns
    -------
    Classical
    """
    return Classical()


def classical_weights(backbone: str, *, seed: int, files: WeightFiles) -> Encoder:
    """The start `classical`: features by formulae, which nothing trains.

    Parameters
    ----------
    backbone : str
        The recipe's, which the encoder bears and does not use.
    seed : int
        Is not used; see `plugins.training_protocols.StartWeights`.
    files : WeightFiles
        Is not used.

    Returns
    -------
    Encoder
    """
    return Encoder(
        Classical(),
        backbone=backbone,
        start=CLASSICAL,
        feature_size=sum(len(scale.typical) for scale in SCALES.values()),
        mean=(0.0,) * 3,
        std=(1.0,) * 3,
        variant=CLASSICAL,
    )
