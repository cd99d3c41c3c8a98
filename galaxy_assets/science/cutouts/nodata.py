"""Pixels of an image that have no data: which they are, and what is shown in their place.

Belongs here: NaN, infinities, and values that stand for no data; the local median. Does not belong here: noise and
contours, which leave these pixels out (`cutters`), and what a share of them means (`artefacts`).
"""

from collections.abc import Sequence
from typing import Literal

import numpy as np

LEAST_REPEATS = 4
"""Pixels of exactly one value from which it may stand for no data; fewer may where they are far darker than any."""
_FAR = 10.0  # noises below the rest: nothing on the sky is so dark
_MANY, _DISTINCT = 0.01, 0.9  # share of pixels of one value, and of different values among some of the rest
_SOME = 4096  # pixels of the rest whose noise and different values are looked at
_LEVELS = 16  # different values that the rest must have: an image of few levels has no sky to compare with
_WINDOW = 2  # half the side of the square whose median fills a gap, in pixels of the level of the pyramid
_NEIGHBOURS, _CELLS = 8, 3  # pixels with data that it must hold, or medians of 2 x 2 and more
_BLOCK = 1 << 17  # gaps whose squares are held at once


def find(image: np.ndarray, nodata: Literal["auto", "none"] | Sequence[float] = "auto") -> np.ndarray | None:
    """Where an image has no data.

    Values that are not finite, and masked ones, have none. With `auto`, nor have those of float images that `sentinels`
    finds in their channel.

    Parameters
    ----------
    image : ndarray of shape (H, W, C), uint8 or float; may be a masked array
    nodata : {"auto", "none"} or sequence of float
        The setting `cutout.nodata`. Named values are compared in the image's own type.

    Returns
    -------
    ndarray of shape (H, W, C), bool; or None
        None where every value is data.
    """
    mask = np.ma.getmaskarray(image) if isinstance(image, np.ma.MaskedArray) else None
    values = np.ma.getdata(image)
    if values.dtype != np.uint8:
        infinite = ~np.isfinite(values)
        mask = infinite if mask is None else mask | infinite
    for channel in range(values.shape[2]):
        band = values[..., channel]
        if nodata == "auto":
            found = sentinels(band if mask is None else band[~mask[..., channel]]) if band.dtype != np.uint8 else []
        else:
            found = [] if nodata == "none" else _as_type(nodata, band.dtype)
        for value in found:
            mask = np.zeros(values.shape, bool) if mask is None else mask
            mask[..., channel] |= band == value
    return mask if mask is not None and mask.any() else None


def _as_type(values: Sequence[float], kind: np.dtype) -> list[float]:
    """The values as an array of this type holds them; without those that it cannot hold."""
    with np.errstate(all="ignore"):
        if kind.kind == "f":
            return [float(np.array(one, kind)) for one in values]
    return [one for one in values if one in range(256)]


def sentinels(values: np.ndarray) -> list[float]:
    """Values that stand for no data, such as -99999, 1e30 and 65535.

    One is the lowest or the highest of all, while the rest has at least 16 different values, and it lies

    - farther from the rest than the rest spreads from its lowest to its highest value, exactly equal in `LEAST_REPEATS`
      pixels or more; or a hundred times as far where it is most of the image: radio images have their sky cut to one
      value;
    - below the rest by more than ten times the rest's noise (from its 16 % to its 50 % quantile), in less than half of
      the pixels: sources are not darker than the sky. Fewer pixels than `LEAST_REPEATS`, such as a dead one, must also
      be farther from the rest than its lowest value is from its median. Once the noise is enough for a hundredth of the
      pixels or more where the rest has hardly two alike: a border or a corner of one value.

    It is looked for again without those found, so an image may have several.

    Parameters
    ----------
    values : ndarray of any shape, float
        Finite values of one band.

    Returns
    -------
    list of float
        In the order found.

    Examples
    --------
    >>> import numpy as np
    >>> from galaxy_assets.science.cutouts.nodata import sentinels
    >>> sky = np.random.default_rng(0).normal(10, 1, (32, 32)).astype(np.float32)
    >>> sky[:, :3] = -9999
    >>> sentinels(sky)
    [-9999.0]
    """
    rest, found = values.ravel(), []
    while rest.size:
        for value in (rest.min(), rest.max()):
            equal = rest == value
            if np.count_nonzero(equal) < rest.size and _stands_apart(float(value), rest[~equal], rest):
                found.append(float(value))
                rest = rest[~equal]
                break
        else:
            break
    return found


def _stands_apart(value: float, others: np.ndarray, every: np.ndarray) -> bool:
    low, high = float(others.min()), float(others.max())
    gap, most = max(low - value, value - high), 2 * others.size <= every.size
    some = others[:: max(others.size // _SOME, 1)]
    sixteenth, middle = np.quantile(some, [0.16, 0.5])  # one sigma of a sky, and no source is in it
    repeats, levels = every.size - others.size, np.unique(some).size
    far = repeats >= LEAST_REPEATS and gap > (_FAR**2 if most else 1.0) * (high - low)
    # among values of which hardly two are equal, many equal ones are no light, however near they lie
    filler = repeats >= _MANY * every.size and levels > _DISTINCT * some.size
    dark = value < low and not most and gap > (1 if filler else _FAR) * (middle - sixteenth) > 0
    dark = dark and (repeats >= LEAST_REPEATS or gap > middle - low)
    return bool((far or dark) and levels >= _LEVELS)


def without_gaps(image: np.ndarray, gaps: np.ndarray) -> np.ndarray:
    """`fill` of every channel. One without any data takes the mean of the others, which adds no colour.

    Parameters
    ----------
    image : ndarray of shape (H, W, C), uint8 or float
    gaps : ndarray of shape (H, W, C), bool
        Where it has no data; not everywhere.

    Returns
    -------
    ndarray of shape (H, W, C) and the same type
        A new array.
    """
    filled = np.stack([fill(image[..., c], gaps[..., c]) for c in range(image.shape[2])], axis=-1)
    empty = gaps.all(axis=(0, 1))
    if empty.any():
        mean = filled[..., ~empty].mean(axis=2, keepdims=True)
        filled[..., empty] = np.rint(mean) if filled.dtype == np.uint8 else mean
    return filled


def fill(band: np.ndarray, gaps: np.ndarray) -> np.ndarray:
    """Put the local median in place of pixels without data.

    It is the median of the data within two pixels where there are eight of them; else of three or more within two
    pixels of the image at half the scale (medians of 2 x 2 pixels), and so on. A wide gap therefore takes the level of
    its surroundings, and a dead pixel that of its neighbours.

    Parameters
    ----------
    band : ndarray of shape (H, W), uint8 or float
    gaps : ndarray of shape (H, W), bool
        Where it has no data.

    Returns
    -------
    ndarray of shape (H, W) and the same type
        The band itself where there are no gaps, or nothing else.
    """
    if not gaps.any() or gaps.all():
        return band
    level = np.where(gaps, np.nan, band) if band.dtype.kind == "f" else np.where(gaps, np.nan, band.astype(np.float32))
    filled = band.copy()
    y, x = np.nonzero(gaps)
    cell_y, cell_x, needed = y, x, _NEIGHBOURS
    while y.size:
        medians = np.full(y.size, np.nan)
        width = level.shape[1]
        cells, cell_of = np.unique(cell_y * width + cell_x, return_inverse=True)
        for start in range(0, cells.size, _BLOCK):
            part = slice(start, start + _BLOCK)
            some = _medians(level, cells[part] // width, cells[part] % width, needed)
            at = (cell_of >= start) & (cell_of < start + _BLOCK)
            medians[at] = some[cell_of[at] - start]
        known = np.isfinite(medians)
        filled[y[known], x[known]] = np.rint(medians[known]) if band.dtype.kind != "f" else medians[known]
        y, x, cell_y, cell_x = (one[~known] for one in (y, x, cell_y, cell_x))
        if max(level.shape) == 1:
            break
        level, cell_y, cell_x = _halved(level), cell_y // 2, cell_x // 2
        needed = _CELLS if level.size > 4 else 1
    return filled


def _medians(level: np.ndarray, y: np.ndarray, x: np.ndarray, needed: int) -> np.ndarray:
    """Median of the data about each pixel; NaN where there is less than needed."""
    height, width = level.shape
    reach = np.arange(-_WINDOW, _WINDOW + 1)
    rows = (y[:, np.newaxis] + reach)[:, :, np.newaxis]
    columns = (x[:, np.newaxis] + reach)[:, np.newaxis, :]
    inside = (rows >= 0) & (rows < height) & (columns >= 0) & (columns < width)
    squares = level[np.clip(rows, 0, height - 1), np.clip(columns, 0, width - 1)]
    return _middle(np.where(inside, squares, np.nan).reshape(len(y), -1), needed)


def _middle(values: np.ndarray, needed: int) -> np.ndarray:
    """Median along the last axis of what is no NaN; NaN where that is fewer than needed."""
    ordered = np.sort(values, axis=-1)  # NaN last
    n = np.isfinite(ordered).sum(axis=-1)
    lower = np.take_along_axis(ordered, np.maximum((n - 1) // 2, 0)[..., np.newaxis], -1)[..., 0]
    upper = np.take_along_axis(ordered, np.minimum(n // 2, values.shape[-1] - 1)[..., np.newaxis], -1)[..., 0]
    return np.where(n >= max(needed, 1), lower + (upper - lower) / 2, np.nan)


def _halved(level: np.ndarray) -> np.ndarray:
    """Medians of 2 x 2 pixels."""
    height, width = (n + n % 2 for n in level.shape)
    even = np.full((height, width), np.nan, level.dtype)
    even[: level.shape[0], : level.shape[1]] = level
    blocks = even.reshape(height // 2, 2, width // 2, 2).transpose(0, 2, 1, 3).reshape(height // 2, width // 2, 4)
    return _middle(blocks, 1)
