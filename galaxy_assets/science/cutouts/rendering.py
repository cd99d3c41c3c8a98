"""A box of an image as the stored cutout: turned, stretched to 8 bits, made grey or three channels, resized.

Belongs here: where a box lies in the frame, and the pixels inside it. Does not belong here: which box (`cutters`).
"""

import math
from typing import Literal

import numpy as np

from galaxy_assets.science.cutouts.noise import clip_histogram, histogram, sigma_clipped_noise
from galaxy_assets.settings.cutouts import CutoutSettings


def interval(centre: float, length: int, limit: int, clamp: Literal["shift", "trim"] = "shift") -> tuple[int, int]:
    """Whole pixels of an interval about a centre, inside [0, limit).

    Parameters
    ----------
    centre : float
        Pixels.
    length : int
        Pixels.
    limit : int
        Size of the frame, pixels.
    clamp : {"shift", "trim"}
        `shift` moves the interval inside and trims it where it is longer than the frame; `trim` only trims.

    Returns
    -------
    start, stop : int
        Half-open.
    """
    if clamp == "trim":
        start = math.floor(centre - length / 2 + 0.5)
        return max(start, 0), min(start + length, limit)
    length = min(length, limit)
    start = min(max(math.floor(centre - length / 2 + 0.5), 0), limit - length)
    return start, start + length


def render(
    image: np.ndarray, box: tuple[int, int, int, int], settings: CutoutSettings, angle: float = 0.0
) -> np.ndarray:
    """Resize the part of an image inside a box.

    A box that is longer than the frame along one axis is made square, so that no shape is squeezed: what is missing is
    added on both sides of that axis, as bright as the edge there. Of a square frame there is none. With `square: false`
    a survey asks for boxes that fill the cutout whatever their shape.

    Parameters
    ----------
    image : ndarray of shape (H, W, C)
        What is masked is shown as it is filled.
    box : tuple of int
        (x0, y0, x1, y1), half-open, pixels.
    settings : CutoutSettings
        Size, stretch and colour of the result.
    angle : float
        Degrees by which the box is turned about its centre, from x to y.

    Returns
    -------
    ndarray of shape (size, size, 3) or (size, size, 1), uint8
    """
    import cv2

    x0, y0, x1, y1 = box
    image = np.ma.getdata(image)
    part = _turned(image, box, angle) if angle else image[y0:y1, x0:x1]
    part = to_8_bit(part, settings.stretch)
    if settings.square and (min(part.shape[:2]) == image.shape[int(part.shape[1] < part.shape[0])]):
        part = _squared(part)
    if settings.grey and part.shape[2] == 3:
        part = cv2.cvtColor(part, cv2.COLOR_RGB2GRAY)
    if settings.interpolation == "linear":
        part = cv2.resize(part, (settings.size, settings.size), interpolation=cv2.INTER_LINEAR)
    else:
        # area averaging does not alias where an axis shrinks, cubic interpolation does not block where it grows
        smaller = min(part.shape[1], settings.size), min(part.shape[0], settings.size)
        part = cv2.resize(part, smaller, interpolation=cv2.INTER_AREA)
        part = cv2.resize(part, (settings.size, settings.size), interpolation=cv2.INTER_CUBIC)
    part = part.reshape(settings.size, settings.size, -1)
    return part if settings.grey or part.shape[2] == 3 else np.repeat(part, 3, axis=2)


def _squared(part: np.ndarray) -> np.ndarray:
    """(H, W, C) in the middle of a square, beyond it the median of the edge that is there."""
    height, width, channels = part.shape
    if height == width:
        return part
    edges = part[[0, -1]] if height < width else part[:, [0, -1]]
    side = max(height, width)
    square = np.empty((side, side, channels), part.dtype)
    square[:] = np.rint(np.median(edges, axis=(0, 1)))
    top, left = (side - height) // 2, (side - width) // 2
    square[top : top + height, left : left + width] = part
    return square


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


def to_8_bit(part: np.ndarray, stretch: Literal["linear", "asinh", "percentile"]) -> np.ndarray:
    """Scale a part of an image to 8 bits.

    `linear` is from the least to the greatest value of all channels together, which keeps colours; Astronomaly and the
    MiraBest builder scale so. The others scale each channel by itself and leave a few hot pixels at the highest level.

    Parameters
    ----------
    part : ndarray of shape (H, W, C), uint8 or float
        Finite.
    stretch : {"linear", "asinh", "percentile"}
        `percentile` is linear from the 0.5 % to the 99.5 % quantile, from the least to the greatest value where these
        are equal. `asinh` goes from 3 sigma below the sky to the
        99.8 % quantile by arcsinh of the distance from the sky over 3 sigma; sky and sigma are those of
        `noise.sigma_clipped_noise`, clipped at 3.

    Returns
    -------
    ndarray of shape (H, W, C), uint8
        The part itself where it is uint8.
    """
    if part.dtype == np.uint8:
        return part
    values = part.astype(np.float64)
    if stretch == "linear":
        return _scaled(values, values.min(), values.max())
    scale = _by_asinh if stretch == "asinh" else _by_percentile
    return np.stack([scale(values[..., c]) for c in range(values.shape[2])], axis=-1)


def _scaled(values: np.ndarray, low: float, high: float) -> np.ndarray:
    if low == high:
        return np.zeros(values.shape, dtype=np.uint8)
    return np.rint((values - low) * (255 / (high - low))).astype(np.uint8)


def _by_percentile(band: np.ndarray) -> np.ndarray:
    low, high = float(np.quantile(band, 0.005, method="higher")), float(np.quantile(band, 0.995, method="lower"))
    if low == high:  # less than 0.5 % rise above one value
        low, high = float(band.min()), float(band.max())
    return _scaled(np.clip(band, low, high), low, high)


def _by_asinh(band: np.ndarray) -> np.ndarray:
    _, sky, noise = sigma_clipped_noise(band, 3.0)
    high = max(float(np.quantile(band, 0.998, method="lower")), sky + 5 * noise)
    if not high > sky:  # less than 0.2 % rise above a sky without noise
        high = float(band.max())
    soft = 3 * noise or (high - sky) / 50 or 1.0
    shown = np.arcsinh((np.clip(band, sky - 3 * noise, high) - sky) / soft)
    return _scaled(shown, np.arcsinh(-3 * noise / soft), np.arcsinh((high - sky) / soft))


def levels(part: np.ndarray, settings: CutoutSettings) -> int:
    """How many different grey levels of 8 bits a part of an image has above its noise.

    Parameters
    ----------
    part : ndarray of shape (H, W, C), uint8 or float
        Finite.
    settings : CutoutSettings
        Of which the stretch is used.

    Returns
    -------
    int
        Levels more than 3 sigma above the sky.
    """
    import cv2

    part = to_8_bit(part, settings.stretch)
    grey = cv2.cvtColor(part, cv2.COLOR_RGB2GRAY) if part.shape[2] == 3 else part[..., 0]
    counts = histogram(grey)
    _, sky, noise = clip_histogram(counts, 3.0)
    return int(np.count_nonzero(counts[math.floor(sky + 3 * noise) + 1 :]))
