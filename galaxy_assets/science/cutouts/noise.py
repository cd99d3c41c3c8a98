"""The sky of an image and its noise, by sigma clipping (Mohale & Lochner 2023, section 2.1).

Belongs here: statistics of an image's values. Does not belong here: what lies above them (`source`, `cutters`).
"""

import math
from bisect import bisect_right

import numpy as np

_POWERS = np.arange(256) ** np.arange(3)[:, np.newaxis]
"""1, v and v^2 of every value of 8 bits."""


def sigma_clipped_noise(
    values: np.ndarray, sigma: float, maxiters: int = 5, channel: int | None = None
) -> tuple[float, float, float]:
    """Mean, median and standard deviation after clipping at `sigma` standard deviations about the median.

    Equal to `astropy.stats.sigma_clipped_stats`. What survives is always a contiguous range of the sorted values: 8-bit
    values are therefore clipped as a histogram, in exact integer sums, and others are sorted once.

    Parameters
    ----------
    values : ndarray of any shape, uint8 or float
        Values that are not finite are left out.
    sigma : float
        Clipping limit, in standard deviations.
    maxiters : int
        Largest number of clipping rounds, at least 1.
    channel : int, optional
        Which channel of (H, W, C) is meant; every value when not given.

    Returns
    -------
    mean, median, std : float
        In units of `values`; NaN where nothing survives.

    Examples
    --------
    >>> import numpy as np
    >>> from galaxy_assets.science.cutouts.noise import sigma_clipped_noise
    >>> sky = np.random.default_rng(0).normal(100, 2, size=(64, 64))
    >>> sky[30:34, 30:34] = 5000  # a star
    >>> [round(value) for value in sigma_clipped_noise(sky, sigma=4)]
    [100, 100, 2]
    """
    if values.dtype == np.uint8:
        return clip_histogram(histogram(values, channel), sigma, maxiters)
    values = values if channel is None else values[..., channel]
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


def histogram(values: np.ndarray, channel: int | None = None) -> np.ndarray:
    """How often each of 0..255 occurs.

    Parameters
    ----------
    values : ndarray of any shape, uint8
    channel : int, optional
        Which channel of (H, W, C) is counted; every value when not given.

    Returns
    -------
    ndarray of shape (256,), int64
    """
    import cv2

    counts = np.zeros(256, np.int64)
    flat = np.ascontiguousarray(values).reshape(1, -1, 1 if channel is None else values.shape[-1])
    step = 1 << 24  # OpenCV counts in float32
    for begin in range(0, flat.shape[1], step):
        part = [flat[:, begin : begin + step]]
        counts += cv2.calcHist(part, [channel or 0], None, [256], [0, 256]).ravel().astype(np.int64)
    return counts


def clip_histogram(counts: np.ndarray, sigma: float, maxiters: int = 5) -> tuple[float, float, float]:
    """`sigma_clipped_noise` of values of 8 bits that have been counted.

    Parameters
    ----------
    counts : ndarray of shape (256,), int64
        How often each of 0..255 occurs.
    sigma, maxiters
        As in `sigma_clipped_noise`.

    Returns
    -------
    mean, median, std : float
        NaN where nothing survives.
    """
    below = np.zeros((3, 257), dtype=np.int64)  # sums of 1, v and v^2 over all values below a level
    np.cumsum(counts * _POWERS, axis=1, out=below[:, 1:])
    ones = below[0].tolist()  # looked up often, which Python does faster than numpy
    first, last = 0, 256
    while True:
        n, total, squares = (below[:, last] - below[:, first]).tolist()
        if n == 0:
            return math.nan, math.nan, math.nan
        lower, upper = (bisect_right(ones, ones[first] + rank) - 1 for rank in ((n - 1) // 2, n // 2))
        median = (lower + upper) / 2
        # in integers: the difference of float squares loses the variance of a nearly constant image
        std = math.sqrt(n * squares - total * total) / n
        narrowed = max(first, math.ceil(median - sigma * std)), min(last, math.floor(median + sigma * std) + 1)
        if maxiters == 0 or narrowed == (first, last):
            return total / n, median, std
        first, last = narrowed[0], max(narrowed)
        maxiters -= 1
