"""The central source of an image, cut out and resized (Mohale & Lochner 2023, section 2.1).

Belongs here: one image in, one cutout out: what becomes of an image, and `cut`, which asks the cutter that the survey
names. Does not belong here: the cutters and their parts (`cutters`, `noise`, `source`, `nodata`, `rendering`), reading
image files (`deliveries.images`), storing pixels (`storage.pixels`), judging whether a cutout is an artefact
(`artefacts`).

The paper starts from Astronomaly's sigma clipping and adds a box that was not published. Where that function differs
from what is meant, it is followed only if `contour: astronomaly` asks for it (`source`). One thing is never done: its
later versions turn infinities into the largest float, which makes the noise infinite.
"""

import functools
import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from galaxy_assets import plugins
from galaxy_assets.science.cutouts import nodata
from galaxy_assets.science.cutouts.rendering import levels
from galaxy_assets.settings.cutouts import CutoutSettings

if TYPE_CHECKING:
    from galaxy_assets.plugins.protocols import Cutter

OUTCOMES: dict[str, str] = {
    "cropped": "the enlarged box around the source",
    "fallback_no_contour": "original image: no contour above the threshold holds the centre",
    "fallback_edge": "original image: the enlarged box covers the whole frame",
    "whole": "original image, as the survey asks (method `whole`)",
    "central": "box of fixed side at the centre, as the survey asks (method `central`)",
    "blank": "no cutout: every channel of the image is constant",
    "unreadable": "no cutout: the file cannot be decoded",
    "too_small": "no cutout: the image is smaller than the catalogue admits",
    "too_large": "no cutout: the image is larger than the catalogue admits",
    "duplicate_id": "no cutout: another image carries this id",
}
"""What can become of an image. `cut` gives the first six; the others are found while reading the catalogue. A cutter of
another package may give words of its own, which begin with its name."""

WITHOUT_PIXELS = frozenset(name for name, meaning in OUTCOMES.items() if meaning.startswith("no cutout"))
"""Outcomes of which nothing can be shown."""


FEW_LEVELS = 32
"""Levels above the noise (`Cutout.levels`) below which a cutout shows little of what was delivered."""


@dataclass(frozen=True)
class Cutout:
    """One image after `cut`.

    Attributes
    ----------
    pixels : ndarray of shape (size, size, 3) or, with `settings.grey`, (size, size, 1), uint8; or None
        None where the outcome is one of WITHOUT_PIXELS.
    outcome : str
        One of `OUTCOMES`, or a word that begins with the name of another package's cutter.
    box : tuple of int or None
        (x0, y0, x1, y1) of what the pixels show, half-open, in pixels of the original; None without pixels. Of a frame
        that is not square it may be the middle of them alone (`rendering.render`).
    noise_std, threshold : float
        In units of the image; NaN where no source was looked for.
    contour_area : float
        Area inside the source's contour, in square pixels of the original; NaN without a contour.
    angle : float
        Degrees by which the box was turned about its centre, from x to y; 0 unless `settings.align`.
    nodata_fraction : float
        Share of the values in the box, 0 to 1, that have no data and are filled; of the frame without a box.
    levels : int
        Different grey levels of 8 bits in the box, before it is resized, that lie above the noise; 0 without a box.
    """

    pixels: np.ndarray | None
    outcome: str
    box: tuple[int, int, int, int] | None
    noise_std: float = math.nan
    threshold: float = math.nan
    contour_area: float = math.nan
    angle: float = 0.0
    nodata_fraction: float = 0.0
    levels: int = 0


def cut(image: np.ndarray, settings: CutoutSettings) -> Cutout:
    """Cut an image as its survey asks (paper 2.1): the cutter that `settings.method` names finds the box.

    Parameters
    ----------
    image : ndarray of shape (H, W), (H, W, 1) or (H, W, 3)
        RGB order. uint8 is kept as it is; any other type is measured as float64 and stretched to 8 bits once the box is
        known. Values that are not finite, masked (of a masked array), or that `settings.nodata` speaks of are no data:
        they are left out of noise and contours and shown as the local median (`nodata`).
    settings : CutoutSettings
        The survey's choices.

    Returns
    -------
    Cutout
        `blank` where the data of every channel is constant, which no cutter is asked about; else what the cutter says.

    Raises
    ------
    ValueError
        Another shape, an empty image, or what the cutter refuses.
    plugins.PluginError
        Where the cutter cannot be loaded, or what it gives is no cutout of these settings.

    Examples
    --------
    >>> import numpy as np
    >>> from galaxy_assets.science.cutouts import cut
    >>> from galaxy_assets.settings.cutouts import CutoutSettings
    >>> y, x = np.mgrid[:200, :200] - 100
    >>> image = np.random.default_rng(0).normal(10, 1, (200, 200)) + 300 * np.exp(-(x**2 + y**2) / 50)
    >>> made = cut(image, CutoutSettings(size=64))
    >>> made.outcome, made.pixels.shape, round(made.noise_std)
    ('cropped', (64, 64, 3), 1)
    """
    if image.ndim == 2:
        image = image[..., np.newaxis]
    if image.ndim != 3 or image.shape[2] not in (1, 3) or 0 in image.shape:
        raise ValueError(f"an image is (H, W), (H, W, 1) or (H, W, 3), not {image.shape}")
    gaps, values = nodata.find(image, settings.nodata), np.ma.getdata(image)
    if _constant(values, gaps):
        return Cutout(None, "blank", None, nodata_fraction=float(gaps.mean()) if gaps is not None else 0.0)
    if gaps is not None:
        values = np.ma.MaskedArray(nodata.without_gaps(values, gaps), mask=gaps)
    made = _cutter(settings.method)(values, settings)
    if wrong := _wrong(made, settings):
        raise plugins.PluginError(f"cutters plug-in {settings.method!r} gives {wrong}; mend or uninstall its package")
    x0, y0, x1, y1 = made.box or (0, 0, image.shape[1], image.shape[0])
    return replace(
        made,
        nodata_fraction=float(gaps[y0:y1, x0:x1].mean()) if gaps is not None else 0.0,
        levels=levels(np.ma.getdata(values)[y0:y1, x0:x1], settings) if made.box else 0,
    )


def _constant(values: np.ndarray, gaps: np.ndarray | None) -> bool:
    if gaps is None:
        return all((row == values[0, 0]).all() for row in values)  # a real image is settled by its first row
    bands = [values[..., c][~gaps[..., c]] for c in range(values.shape[2])]
    return all((band == band[:1]).all() for band in bands)


@functools.cache  # asked for every image
def _cutter(method: str) -> "Cutter":
    return plugins.load("cutters", method)


def _wrong(made: Cutout, settings: CutoutSettings) -> str | None:
    """What is wrong with a cutter's answer; None if nothing. The pixel store would take it without an error."""
    if made.outcome not in OUTCOMES and not made.outcome.startswith(settings.method):
        return f"the outcome {made.outcome!r}, which is none of {', '.join(OUTCOMES)} and does not begin with its name"
    if made.outcome in WITHOUT_PIXELS:
        return None if made.pixels is None else f"pixels with the outcome {made.outcome!r}"
    shape = settings.size, settings.size, 1 if settings.grey else 3
    if made.pixels is None or made.pixels.shape != shape or made.pixels.dtype != np.uint8:
        found = "no pixels" if made.pixels is None else f"pixels {made.pixels.dtype} {made.pixels.shape}"
        return f"{found} where uint8 {shape} is expected"
    return None
