"""The four ways of cutting that the platform brings, each registered as a plug-in of the group `galaxy_assets.cutters`.

Belongs here: from an image to the box that is cut out. Does not belong here: noise (`noise`), the source's outline
(`source`), the pixels in the box (`rendering`), and what is done before any of them is asked (`cut`).
"""

import math

import numpy as np

from galaxy_assets.science.cutouts import Cutout
from galaxy_assets.science.cutouts.noise import sigma_clipped_noise
from galaxy_assets.science.cutouts.rendering import interval, render
from galaxy_assets.science.cutouts.source import source_above
from galaxy_assets.settings.cutouts import CutoutSettings
from galaxy_assets.settings.printing import PrintableError

_SMALLEST_HALF_BOX = 8.0  # pixels
_SPECK, _LEAST_REACH = 4, 4.0  # square pixels, and pixels
_NEARBY, _WIDENED = 1.5, 2.5  # of the reach: where another source still belongs, and how far one may widen it


def cut_nothing(image: np.ndarray, settings: CutoutSettings) -> Cutout:
    """Method `whole`: the original frame, made square by what its edges show (`render`), and resized.

    Parameters
    ----------
    image : ndarray of shape (H, W, C)
    settings : CutoutSettings
        See `plugins.protocols.Cutter`.

    Returns
    -------
    Cutout
    """
    frame = _frame(image)
    return Cutout(render(image, frame, settings), "whole", frame)


def cut_central(image: np.ndarray, settings: CutoutSettings) -> Cutout:
    """Method `central`: a box of `central_pixels` about the frame's centre.

    Parameters
    ----------
    image : ndarray of shape (H, W, C)
    settings : CutoutSettings
        See `plugins.protocols.Cutter`.

    Returns
    -------
    Cutout

    Raises
    ------
    PrintableError
        Where `central_pixels` is not set.
    """
    if settings.central_pixels < 1:
        raise PrintableError("cutout method `central` needs `central_pixels`, the side of the box in pixels")
    height, width, _ = image.shape
    (x0, x1), (y0, y1) = (interval(n / 2, settings.central_pixels, n) for n in (width, height))
    return Cutout(render(image, (x0, y0, x1, y1), settings), "central", (x0, y0, x1, y1))


def cut_by_contour(image: np.ndarray, settings: CutoutSettings) -> Cutout:
    """Method `sigma_clip`, the paper's (2.1).

    Pixels of the chosen channel strictly above the threshold are outlined by their outer contours; `source_above`
    says which of them is the source. Its bounding rectangle is enlarged about its centre. A box that leaves the frame
    is moved inside it, and trimmed along an axis on which it is longer than the frame; with `clamp: trim` it is never
    moved. Where it then is the frame, or where there is no such contour, the original is used, as in the paper. A
    source can outgrow its own threshold: from about 7 % of the frame at uniform brightness it is not clipped at 4 sigma
    but counted as noise, and a bright neighbour does the same to a faint source.

    Parameters
    ----------
    image : ndarray of shape (H, W, C)
    settings : CutoutSettings
        See `plugins.protocols.Cutter`.

    Returns
    -------
    Cutout
    """
    import cv2

    height, width, _ = image.shape
    plane, _, noise, threshold = _measured(image, settings)
    # no level of 8 bits lies between the threshold and the integer below it
    limit = math.floor(threshold) if plane.dtype == np.uint8 and math.isfinite(threshold) else threshold
    contour = source_above(plane, limit, settings.contour)
    if contour is None:
        return _original(image, settings, noise, threshold)
    x, y, w, h = cv2.boundingRect(contour)
    sides = (max(w, h),) * 2 if settings.square else (w, h)
    x0, x1 = interval(x + w / 2, round(settings.enlarge * sides[0]), width, settings.clamp)
    y0, y1 = interval(y + h / 2, round(settings.enlarge * sides[1]), height, settings.clamp)
    box = x0, y0, x1, y1
    outcome = "fallback_edge" if box == _frame(image) else "cropped"
    return Cutout(render(image, box, settings), outcome, box, noise, threshold, cv2.contourArea(contour))


def cut_by_flux_radius(image: np.ndarray, settings: CutoutSettings) -> Cutout:
    """Method `flux_radius`, not in the paper.

    The square box is about the frame's centre. Its half side is `enlarge` times the radius that holds `flux_fraction`
    of the source's flux above the sky (median) level, 8 pixels at least. Every source then fills the same part of its
    cutout whatever its distance. With `align` the box is turned so that the major axis of the flux's second moments
    inside that radius is horizontal; what lies beyond the frame is sky.

    Parameters
    ----------
    image : ndarray of shape (H, W, C)
    settings : CutoutSettings
        See `plugins.protocols.Cutter`.

    Returns
    -------
    Cutout
    """
    height, width, _ = image.shape
    plane, sky, noise, threshold = _measured(image, settings)
    mask = plane > threshold
    y, x = np.mgrid[:height, :width]
    x, y = x - (width - 1) / 2, y - (height - 1) / 2
    distance = np.hypot(x, y)
    if settings.source == "central":
        mask = _connected_to_the_centre(mask)
    elif settings.source == "nearby":
        mask = _near_the_centre(mask, distance)
    flux = np.where(mask, plane - sky, 0.0)
    if not flux.any():
        return _original(image, settings, noise, threshold)
    radius = _radius_of(flux, distance, settings.flux_fraction)
    half = round(min(max(settings.enlarge * radius, _SMALLEST_HALF_BOX), min(width, height) / 2))
    (x0, x1), (y0, y1) = (interval(n / 2, 2 * half, n) for n in (width, height))
    box, area = (x0, y0, x1, y1), float(mask.sum())
    angle = _major_axis(np.where(distance <= 1.2 * radius, flux, 0.0), x, y) if settings.align else 0.0
    outcome = "fallback_edge" if box == _frame(image) and not angle else "cropped"
    return Cutout(render(image, box, settings, angle), outcome, box, noise, threshold, area, angle)


def _frame(image: np.ndarray) -> tuple[int, int, int, int]:
    return 0, 0, image.shape[1], image.shape[0]


def _original(image: np.ndarray, settings: CutoutSettings, noise: float, threshold: float) -> Cutout:
    frame = _frame(image)
    return Cutout(render(image, frame, settings), "fallback_no_contour", frame, noise, threshold)


def _measured(image: np.ndarray, settings: CutoutSettings) -> tuple[np.ndarray, float, float, float]:
    """The chosen channel (H, W), uint8 or float64; its sky level, its noise, and the threshold of a source.

    Pixels without data (masked) take no part in sky and noise, and have the level of the sky in the channel. A channel
    of 8 bits without gaps is a view: its noise is read off the whole image, its source off a part of it.
    """
    values, first, eight = np.ma.getdata(image), settings.channel == "first", image.dtype == np.uint8
    measured = values[..., 0] if first else values.mean(axis=2, dtype=np.float64)
    plane = measured if eight and first else measured.astype(np.float64)
    gaps, channel = None, None
    if isinstance(image, np.ma.MaskedArray):
        mask = np.ma.getmaskarray(image)
        gaps = mask[..., 0] if first and not mask[..., 0].all() else mask.all(axis=2)
        measured, plane = measured[~gaps], plane.copy()
    elif eight and first:
        measured, channel = values, 0
    _, median, noise = sigma_clipped_noise(measured, settings.sigma, channel=channel)
    if gaps is not None:
        plane[gaps] = median
    threshold = median + (settings.sigma if settings.threshold == "paper_text" else 1.0) * noise
    return plane, median, noise, threshold


def _connected_to_the_centre(mask: np.ndarray) -> np.ndarray:
    import cv2

    _, labels = cv2.connectedComponents(mask.view(np.uint8))
    centre = labels[mask.shape[0] // 2, mask.shape[1] // 2]
    return (labels == centre) & (centre > 0)


def _near_the_centre(mask: np.ndarray, distance: np.ndarray) -> np.ndarray:
    """The source next to the centre, and those that begin within 1.5 times its reach; each widens the reach.

    The lobes of a radio source are counted, also where nothing shines between them, and a source far away is not.
    Specks of fewer than four pixels are left out unless one is at the centre.
    """
    import cv2

    count, labels, stats, _ = cv2.connectedComponentsWithStats(mask.view(np.uint8), connectivity=8)
    nearest, farthest = np.full(count, np.inf), np.zeros(count)
    each = np.asarray(labels, np.int64).ravel()
    np.minimum.at(nearest, each, distance.ravel())
    np.maximum.at(farthest, each, distance.ravel())
    sources = [i for i in range(1, count) if stats[i, cv2.CC_STAT_AREA] >= _SPECK or nearest[i] < 2]
    kept, reach = [], 0.0
    for i in sorted(sources, key=lambda i: nearest[i]):
        if not kept:
            reach = max(float(farthest[i]), _LEAST_REACH)
        elif nearest[i] <= _NEARBY * reach:
            reach = max(reach, min(float(farthest[i]), _WIDENED * reach))
        else:
            continue
        kept.append(i)
    return np.isin(labels, kept) & mask


def _radius_of(flux: np.ndarray, distance: np.ndarray, fraction: float) -> float:
    """The distance, in pixels, within which this fraction of the flux lies."""
    order = np.argsort(distance, axis=None)
    grown = np.cumsum(flux.ravel()[order])
    return float(distance.ravel()[order][np.searchsorted(grown, fraction * grown[-1])])


def _major_axis(flux: np.ndarray, x: np.ndarray, y: np.ndarray) -> float:
    """Degrees from x to y of the major axis of the flux's second moments."""
    xx, yy, xy = (float((flux * product).sum()) for product in (x * x, y * y, x * y))
    return math.degrees(0.5 * math.atan2(2 * xy, xx - yy))
