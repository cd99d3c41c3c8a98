"""The random numbers of a simulated image: one stream for each purpose, from the survey's seed and the image alone.

Belongs here: streams, and chances that add up to one. Does not belong here: what is drawn from them.
"""

from collections.abc import Iterable

import numpy as np

PARAMETERS, PIXELS, VOTES = range(3)
"""Streams of one image: what it shows, its pixels, its volunteers"""


def generator(seed: int, image: int, stream: int) -> np.random.Generator:
    """The random numbers of one purpose of one image.

    Parameters
    ----------
    seed : int
        Of the survey.
    image : int
        Number of the image, from 0.
    stream : int
        PARAMETERS, PIXELS or VOTES.

    Returns
    -------
    numpy.random.Generator
    """
    return np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(image, stream)))


def normalised(weights: Iterable[float]) -> np.ndarray:
    """Weights as chances.

    Parameters
    ----------
    weights : iterable of float
        At least one above zero.

    Returns
    -------
    numpy.ndarray of shape (n,), float64
        Their sum is one.
    """
    values = np.array(list(weights), dtype=float)
    return values / values.sum()
