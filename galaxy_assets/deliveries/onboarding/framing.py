"""What one way of cutting does to a sample of images.

Belongs here: outcomes, boxes, flux beyond them, levels. Does not belong here: which images are looked at (`inspect`),
which way is proposed (`propose`).
"""

from collections import Counter
from dataclasses import dataclass, field

import numpy as np

from galaxy_assets.science.cutouts import FEW_LEVELS, Cutout, cut
from galaxy_assets.science.cutouts.nodata import find
from galaxy_assets.settings.cutouts import CutoutSettings

FALLBACK = 0.2
"""Share of original frames above which the check of `cutouts` warns, and another way is proposed."""


@dataclass
class Framing:
    """What one way of cutting does to a sample.

    Attributes
    ----------
    settings : CutoutSettings
        That way.
    outcomes : Counter of str
        How many images had each outcome of `science.cutouts.cut`.
    sides, shares, beyond : list of float
        Of each `cropped` image: the longer side of its box in pixels, the area of the box over that of the frame, and
        the share of the flux above the threshold that lies outside the box.
    levels : list of int
        Levels above the noise of each image with a box (`Cutout.levels`).
    """

    settings: CutoutSettings
    outcomes: Counter[str] = field(default_factory=Counter)
    sides: list[int] = field(default_factory=list)
    shares: list[float] = field(default_factory=list)
    beyond: list[float] = field(default_factory=list)
    levels: list[int] = field(default_factory=list)

    def add(self, image: np.ndarray) -> Cutout:
        """Cut one image (H, W) or (H, W, 3), as a reader decodes it, and count its outcome."""
        made = cut(image, self.settings)
        self.outcomes[made.outcome] += 1
        if made.box is not None:
            self.levels.append(made.levels)
        if made.outcome == "cropped" and made.box is not None:
            x0, y0, x1, y1 = made.box
            plane = data_of(image)[..., 0].astype(np.float64)
            sky = made.threshold - self.settings.sigma * made.noise_std
            flux = np.ma.filled(np.ma.where(plane > made.threshold, plane - sky, 0.0), 0.0)
            self.sides.append(max(x1 - x0, y1 - y0))
            self.shares.append((x1 - x0) * (y1 - y0) / plane.size)
            self.beyond.append(float(1 - flux[y0:y1, x0:x1].sum() / flux.sum()))
        return made

    def share(self, *outcomes: str) -> float:
        """Share, 0 to 1, of the images with pixels that had one of these outcomes."""
        n = self.outcomes.total() - self.outcomes["blank"]
        return sum(self.outcomes[outcome] for outcome in outcomes) / n if n else 0.0

    @property
    def few_levels(self) -> float:
        """Share of the images with a box that have fewer than 32 levels above the noise."""
        return sum(n < FEW_LEVELS for n in self.levels) / max(len(self.levels), 1)

    @property
    def fallback(self) -> float:
        """Share of the images that keep their original frame."""
        return self.share("fallback_no_contour", "fallback_edge")


def data_of(image: np.ndarray) -> np.ma.MaskedArray:
    """The image as (H, W, C) with its pixels without data masked, as `science.cutouts.cut` finds them by default."""
    values = image if image.ndim == 3 else image[..., np.newaxis]
    gaps = find(values)
    return np.ma.MaskedArray(np.ma.getdata(values), mask=np.ma.nomask if gaps is None else gaps)
