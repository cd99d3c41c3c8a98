"""The central source of an image, cut out and resized (Mohale & Lochner 2023, section 2.1).

Belongs here: noise, threshold, contour, box, resize: one image in, one cutout out. Does not belong here: reading image
files (`deliveries.readers`), storing pixels (`storage.pixels`), judging whether a cutout is an artefact (`artefacts`).

The paper starts from Astronomaly's sigma clipping and adds a box that was not published. Two things that function does
are done only where `contour: astronomaly` asks for them: it looks for the contour at (row, column) where OpenCV expects
(column, row), and it takes the last contour when none holds that pixel. One is never done: its later versions turn
infinities into the largest float, which makes the noise infinite.
"""

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np

from galaxy_assets.settings.cutouts import CutoutSettings

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
"""What can become of an image. `cut` gives the first six; the others are found while reading the catalogue."""

WITHOUT_PIXELS = frozenset(name for name, meaning in OUTCOMES.items() if meaning.startswith("no cutout"))
"""Outcomes of which nothing can be shown."""


@dataclass(frozen=True)
class Cutout:
    """One image after `cut`.

    pixels : uint8 (size, size, 3), or (size, size, 1) with `settings.grey`; None where the outcome is `blank`.
    outcome : one of `OUTCOMES`.
    box : (x0, y0, x1, y1) of what the pixels show, half-open, in pixels of the original; None where pixels is None.
    angle : degrees by which that box was turned about its centre, from x to y; 0 unless `settings.align`.
    noise_std, threshold : in units of the image; NaN where no source was looked for.
    contour_area : area inside the source's contour, in square pixels of the original; NaN where there is none.
    """

    pixels: np.ndarray | None
    outcome: str
    box: tuple[int, int, int, int] | None
    noise_std: float = math.nan
    threshold: float = math.nan
    contour_area: float = math.nan
    angle: float = 0.0


def sigma_clipped_noise(values: np.ndarray, sigma: float, maxiters: int = 5) -> tuple[float, float, float]:
    """Mean, median and standard deviation after clipping at `sigma` standard deviations about the median.

    Parameters
    ----------
    values : uint8 or float array of any shape; values that are not finite are left out.
    sigma : clipping limit, in standard deviations.
    maxiters : largest number of clipping rounds, at least 1.

    Returns
    -------
    (mean, median, std), each NaN where nothing survives.

    Equal to `astropy.stats.sigma_clipped_stats`. What survives is always a contiguous range of the sorted values: 8-bit
    values are therefore clipped as a histogram, in exact integer sums, and others are sorted once.
    """
    if values.dtype == np.uint8:
        return _clip_histogram(_histogram(values), sigma, maxiters)
    ordered = np.sort(values, axis=None)  # what is not finite comes first, or last
    ordered = ordered[ordered.searchsorted(-np.inf, side="right") : ordered.searchsorted(np.inf)].astype(np.float64)
    for _ in range(maxiters):
        if not ordered.size:
            break
        median, reach = _middle(ordered), sigma * ordered.std()
        survivors = ordered[ordered.searchsorted(median - reach) : ordered.searchsorted(median + reach, side="right")]
        if survivors.size == ordered.size:
            break
        ordered = survivors
    if not ordered.size:
        return math.nan, math.nan, math.nan
    return float(ordered.mean()), _middle(ordered), float(ordered.std())


def _middle(ordered: np.ndarray) -> float:
    return float(ordered[(ordered.size - 1) // 2] + ordered[ordered.size // 2]) / 2


def _histogram(values: np.ndarray) -> np.ndarray:
    """How often each of 0..255 occurs among uint8 values, (256,) int64."""
    import cv2

    counts = np.zeros(256, np.int64)
    flat = np.ascontiguousarray(values).reshape(1, -1)
    step = 1 << 24  # OpenCV counts in float32
    for begin in range(0, flat.size, step):
        counts += cv2.calcHist([flat[:, begin : begin + step]], [0], None, [256], [0, 256]).ravel().astype(np.int64)
    return counts


def _clip_histogram(counts: np.ndarray, sigma: float, maxiters: int) -> tuple[float, float, float]:
    """`sigma_clipped_noise` of the values 0..255 that occur `counts` times."""
    levels = np.arange(256)
    below = np.zeros((3, 257), dtype=np.int64)  # sums of 1, v and v^2 over all values below a level
    np.cumsum([counts, counts * levels, counts * levels**2], axis=1, out=below[:, 1:])
    first, last = 0, 256
    while True:
        n, total, squares = (int(s) for s in below[:, last] - below[:, first])
        if n == 0:
            return math.nan, math.nan, math.nan
        ranks = below[0, first] + np.array([(n - 1) // 2, n // 2])
        median = float((below[0].searchsorted(ranks, side="right") - 1).sum()) / 2
        # in integers: the difference of float squares loses the variance of a nearly constant image
        std = math.sqrt(n * squares - total * total) / n
        narrowed = max(first, math.ceil(median - sigma * std)), min(last, math.floor(median + sigma * std) + 1)
        if maxiters == 0 or narrowed == (first, last):
            return total / n, median, std
        first, last = narrowed[0], max(narrowed)
        maxiters -= 1


def cut(image: np.ndarray, settings: CutoutSettings) -> Cutout:
    """Find the source at the centre of an image, cut the original to an enlarged box around it and resize (paper 2.1).

    Parameters
    ----------
    image : (H, W), (H, W, 1) or (H, W, 3), RGB order. uint8 is kept as it is; any other type is measured as float64,
        with values that are not finite taken as 0, and stretched to 8 bits once the box is known (see `_to_8_bit`).
    settings : the survey's choices.

    Method `sigma_clip`: pixels of the chosen channel strictly above the threshold are outlined by their outer contours;
    `source_contour` says which of them is the source. Its bounding rectangle is enlarged about its centre. A box that
    leaves the frame is moved inside it, and trimmed along an axis on which it is longer than the frame; with `clamp:
    trim` it is never moved. Where it then is the frame, or where there is no such contour, the original is used, as in
    the paper. A source can outgrow its own threshold: from about 7 % of the frame at uniform brightness it is not
    clipped at 4 sigma but counted as noise, and a bright neighbour does the same to a faint source.

    Method `flux_radius`, not in the paper: the square box about the frame's centre whose half side is `enlarge` times
    the radius that holds `flux_fraction` of the source's flux above the sky (median) level, 8 pixels at least. Every
    source then fills the same part of its cutout whatever its distance. With `align` the box is turned so that the
    major axis of the flux's second moments inside that radius is horizontal; what lies beyond the frame is sky.

    Raises
    ------
    ValueError : another shape, an empty image, or method `central` without `central_pixels`.
    """
    import cv2

    if image.ndim == 2:
        image = image[..., np.newaxis]
    if image.ndim != 3 or image.shape[2] not in (1, 3) or 0 in image.shape:
        raise ValueError(f"an image is (H, W), (H, W, 1) or (H, W, 3), not {image.shape}")
    if image.dtype != np.uint8 and not np.isfinite(image).all():
        image = np.nan_to_num(image, nan=0.0, posinf=0.0, neginf=0.0)
    height, width, _ = image.shape
    frame = 0, 0, width, height
    if all((row == image[0, 0]).all() for row in image):  # a real image is settled by its first row
        return Cutout(None, "blank", None)
    if settings.method == "whole":
        return Cutout(_render(image, frame, settings), "whole", frame)
    if settings.method == "central":
        if settings.central_pixels < 1:
            raise ValueError("cutout method `central` needs `central_pixels`, the side of the box in pixels")
        (x0, x1), (y0, y1) = (_interval(n / 2, settings.central_pixels, n) for n in (width, height))
        return Cutout(_render(image, (x0, y0, x1, y1), settings), "central", (x0, y0, x1, y1))

    measured = image[..., 0] if settings.channel == "first" else image.mean(axis=2, dtype=np.float64)
    if image.dtype == np.uint8 and settings.channel == "first":
        measured = plane = cv2.extractChannel(np.ascontiguousarray(image), 0)
    else:
        plane = measured.astype(np.float64)
    _, median, noise = sigma_clipped_noise(measured, settings.sigma)
    threshold = median + (settings.sigma if settings.threshold == "paper_text" else 1.0) * noise
    if settings.method == "flux_radius":
        return _cut_by_flux(image, plane, median, noise, threshold, settings)
    # no level of 8 bits lies between the threshold and the integer below it
    limit = math.floor(threshold) if plane.dtype == np.uint8 else threshold
    contour = source_contour(plane > limit, settings.contour)
    if contour is None:
        return Cutout(_render(image, frame, settings), "fallback_no_contour", frame, noise, threshold)
    x, y, w, h = cv2.boundingRect(contour)
    sides = (max(w, h),) * 2 if settings.square else (w, h)
    x0, x1 = _interval(x + w / 2, round(settings.enlarge * sides[0]), width, settings.clamp)
    y0, y1 = _interval(y + h / 2, round(settings.enlarge * sides[1]), height, settings.clamp)
    box = x0, y0, x1, y1
    outcome = "fallback_edge" if box == frame else "cropped"
    return Cutout(_render(image, box, settings), outcome, box, noise, threshold, cv2.contourArea(contour))


_SMALLEST_HALF_BOX = 8.0  # pixels


def _cut_by_flux(
    image: np.ndarray, plane: np.ndarray, sky: float, noise: float, threshold: float, settings: CutoutSettings
) -> Cutout:
    import cv2

    height, width = plane.shape
    mask = plane > threshold
    if settings.source == "central":
        _, labels = cv2.connectedComponents(mask.view(np.uint8))
        centre = labels[height // 2, width // 2]
        mask = (labels == centre) & (centre > 0)
    flux = np.where(mask, plane - sky, 0.0)
    frame = 0, 0, width, height
    if not flux.any():
        return Cutout(_render(image, frame, settings), "fallback_no_contour", frame, noise, threshold)
    y, x = np.mgrid[:height, :width]
    x, y = x - (width - 1) / 2, y - (height - 1) / 2
    distance = np.hypot(x, y)
    order = np.argsort(distance, axis=None)
    grown = np.cumsum(flux.ravel()[order])
    radius = distance.ravel()[order][np.searchsorted(grown, settings.flux_fraction * grown[-1])]
    half = round(min(max(settings.enlarge * radius, _SMALLEST_HALF_BOX), min(width, height) / 2))
    (x0, x1), (y0, y1) = (_interval(n / 2, 2 * half, n) for n in (width, height))
    box, area = (x0, y0, x1, y1), float(mask.sum())
    angle = 0.0
    if settings.align:
        inner = np.where(distance <= 1.2 * radius, flux, 0.0)
        xx, yy, xy = (float((inner * product).sum()) for product in (x * x, y * y, x * y))
        angle = math.degrees(0.5 * math.atan2(2 * xy, xx - yy))
    outcome = "fallback_edge" if box == frame and not angle else "cropped"
    return Cutout(_render(image, box, settings, angle), outcome, box, noise, threshold, area, angle)


def source_contour(mask: np.ndarray, reading: Literal["central", "astronomaly"]) -> np.ndarray | None:
    """The outer contour of `mask` taken for the source; None where there is none.

    Parameters
    ----------
    mask : (H, W) bool, True above the threshold.
    reading : `central` takes the contour that strictly contains pixel (W // 2, H // 2). `astronomaly` does what
        Astronomaly's sigma clipping does: the contour that strictly contains (H // 2, W // 2), else the last one
        OpenCV lists, whatever that is; the two readings differ on a square frame in the second step alone.

    Returns (N, 1, 2) int32, x and y of the corners.
    """
    import cv2

    height, width = mask.shape
    x, y = (width // 2, height // 2) if reading == "central" else (height // 2, width // 2)
    contours, _ = cv2.findContours(mask.view(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
    for contour in contours:
        # specks of noise, a thousand of them where the threshold is low, are dropped before the polygon is walked
        if len(contour) < 3:
            continue
        left, top, w, h = cv2.boundingRect(contour)
        if left < x < left + w and top < y < top + h and cv2.pointPolygonTest(contour, (x, y), False) > 0:
            return contour
    return contours[-1] if reading == "astronomaly" and contours else None


def _interval(centre: float, length: int, limit: int, clamp: Literal["shift", "trim"] = "shift") -> tuple[int, int]:
    """The whole pixels [start, stop) of `length` about `centre` in [0, limit): moved inside and trimmed where longer,
    or trimmed alone."""
    if clamp == "trim":
        start = math.floor(centre - length / 2 + 0.5)
        return max(start, 0), min(start + length, limit)
    length = min(length, limit)
    start = min(max(math.floor(centre - length / 2 + 0.5), 0), limit - length)
    return start, start + length


def _render(
    image: np.ndarray, box: tuple[int, int, int, int], settings: CutoutSettings, angle: float = 0.0
) -> np.ndarray:
    """The part of (H, W, C) inside `box`, turned by `angle` degrees, as uint8 (size, size, 3 or 1)."""
    import cv2

    x0, y0, x1, y1 = box
    part = np.ascontiguousarray(image[y0:y1, x0:x1])
    if angle:
        part = _turned(image, box, angle)
    if part.dtype != np.uint8:
        part = _to_8_bit(part.astype(np.float64))
    if settings.grey and part.shape[2] == 3:
        part = cv2.cvtColor(part, cv2.COLOR_RGB2GRAY)
    if settings.interpolation == "linear":
        part = cv2.resize(part, (settings.size, settings.size), interpolation=cv2.INTER_LINEAR)
    else:
        # area averaging does not alias where an axis shrinks, cubic interpolation does not block where it grows
        smaller = min(x1 - x0, settings.size), min(y1 - y0, settings.size)
        part = cv2.resize(part, smaller, interpolation=cv2.INTER_AREA)
        part = cv2.resize(part, (settings.size, settings.size), interpolation=cv2.INTER_CUBIC)
    part = part.reshape(settings.size, settings.size, -1)
    return part if settings.grey or part.shape[2] == 3 else np.repeat(part, 3, axis=2)


def _turned(image: np.ndarray, box: tuple[int, int, int, int], angle: float) -> np.ndarray:
    """The part of (H, W, C) inside `box` turned by `angle` degrees about its centre; beyond the frame is its median."""
    import cv2

    x0, y0, x1, y1 = box
    cos, sin = math.cos(math.radians(angle)), math.sin(math.radians(angle))
    # of pixel centres: output (u, v) shows the input at centre + rotation (u, v)
    u, v = (x1 - x0 - 1) / 2, (y1 - y0 - 1) / 2
    x, y = (x0 + x1 - 1) / 2, (y0 + y1 - 1) / 2
    matrix = np.array([[cos, -sin, x - cos * u + sin * v], [sin, cos, y - sin * u - cos * v]])
    return cv2.warpAffine(
        np.ascontiguousarray(image if image.dtype == np.uint8 else image.astype(np.float64)),
        matrix,
        (x1 - x0, y1 - y0),
        flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
        borderMode=cv2.BORDER_CONSTANT,
        borderValue=np.median(image, axis=(0, 1)).tolist(),
    ).reshape(y1 - y0, x1 - x0, -1)


def _to_8_bit(part: np.ndarray) -> np.ndarray:
    """Linear stretch from the least to the greatest value of all channels together, which keeps colours.

    Linear because Astronomaly and the MiraBest builder scale so; a survey whose dynamic range asks for another stretch
    delivers stretched images.
    """
    low, high = part.min(), part.max()
    if low == high:
        return np.zeros(part.shape, dtype=np.uint8)
    return np.rint((part - low) * (255 / (high - low))).astype(np.uint8)
