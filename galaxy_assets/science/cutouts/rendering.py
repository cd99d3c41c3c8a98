"""A box of an image as the stored cutout: turned, stretched to 8 bits, made grey or three channels, resized.

Belongs here: where a box lies in the frame, and the pixels inside it. Does not belong here: which box (`cutters`).
"""

import math
from typing import Literal

import numpy as np

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

    Parameters
    ----------
    image : ndarray of shape (H, W, C)
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
