"""Simulated artefacts of the optical images: their kinds, and the light or the gap that each adds to a frame.

Belongs here: drawing an artefact. Does not belong here: finding one (`science.artefacts`), the frame (`frames`).
"""

import math

import numpy as np

from galaxy_assets.simulation.light import colours_of

ARTEFACTS = {"saturated_star": 0.02, "satellite_trail": 0.015, "blank": 0.01, "misaligned": 0.01, "chip_edge": 0.01}
"""Kinds of artefact and their shares of the optical images"""


def saturated_star(side: int, rng: np.random.Generator) -> np.ndarray:
    """A star beyond the detector's range: halo, diffraction spikes, and charge bled along the columns.

    Parameters
    ----------
    side : int
        Of the frame, survey pixels.
    rng : numpy.random.Generator
        Of the image's pixels.

    Returns
    -------
    numpy.ndarray of shape (3, side, side), float64
        Light in z, r, g, in units of the sky noise.
    """
    y, x = np.indices((side, side)) - rng.uniform(0.15, 0.85, 2)[:, None, None] * side
    peak = 10 ** rng.uniform(3, 5.3)
    r = np.hypot(x, y)
    star = peak * (1 + (r / 2.5) ** 2) ** -1.5
    tilt = rng.uniform(0.6, 0.95)
    for angle in tilt + np.arange(4) * math.pi / 2:
        along, across = x * math.cos(angle) + y * math.sin(angle), y * math.cos(angle) - x * math.sin(angle)
        star += 0.02 * peak * (along > 0) / (1 + np.abs(along) / 3) ** 1.6 * np.exp(-((across / 1.3) ** 2))
    colours = colours_of(rng.normal(0.3, 0.6)) * star
    if rng.random() < 0.6:
        bled = np.exp(-((x / rng.uniform(1, 2.5)) ** 4)) / (1 + np.exp((np.abs(y) - rng.uniform(0.1, 0.5) * side) / 2))
        colours = colours + rng.uniform(40, 300) * bled * rng.uniform(0.3, 1, (3, 1, 1))
    return colours


def satellite_trail(side: int, seeing: float, rng: np.random.Generator) -> np.ndarray:
    """A straight trail, in the one band whose exposure it crossed or, now and then, in all.

    Parameters
    ----------
    side : int
        Of the frame, survey pixels.
    seeing : float
        Full width at half maximum, survey pixels.
    rng : numpy.random.Generator
        Of the image's pixels.

    Returns
    -------
    numpy.ndarray of shape (3, side, side), float64
        Light in z, r, g, in units of the sky noise.
    """
    y, x = np.indices((side, side)) - side / 2
    angle = rng.uniform(0, math.pi)
    across = y * math.cos(angle) - x * math.sin(angle) - rng.uniform(-0.3, 0.3) * side
    width = seeing / 2.355 * rng.uniform(1, 1.3)
    trail = 10 ** rng.uniform(0.6, 1.4) * np.exp(-((across / width) ** 2) / 2)
    bands = rng.uniform(0.05, 0.6, 3) if rng.random() < 0.75 else np.ones(3)
    bands[rng.integers(3)] = 1
    return bands[:, None, None] * trail


def beyond_edge(side: int, rng: np.random.Generator) -> np.ndarray:
    """Where a detector, a little rotated, has ended.

    Parameters
    ----------
    side : int
        Of the frame, survey pixels.
    rng : numpy.random.Generator
        Of the image's pixels.

    Returns
    -------
    numpy.ndarray of shape (side, side), bool
        About half of it true.
    """
    y, x = np.indices((side, side)) - side / 2
    angle = rng.choice(4) * math.pi / 2 + rng.normal(0, 0.04)
    return x * math.cos(angle) + y * math.sin(angle) > rng.uniform(-0.15, 0.2) * side
