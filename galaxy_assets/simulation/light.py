"""Light as the simulations draw it: profiles, pixel maps as profiles, strands of Gaussians, colours.

Belongs here: what galaxies, artefacts and radio sources share. Does not belong here: any of them.
"""

from typing import Any

import numpy as np


def precision() -> Any:
    """How precise all profiles are: as precise as an image of 8 bits shows.

    Returns
    -------
    galsim.GSParams
    """
    import galsim

    # the defaults pad a de Vaucouleurs profile to four times the frame for light far below the noise
    return galsim.GSParams(folding_threshold=2e-2, maxk_threshold=5e-3, kvalue_accuracy=1e-4, xvalue_accuracy=1e-4)


def sersic(index: float, radius: float) -> Any:
    """A Sersic profile of unit flux.

    Parameters
    ----------
    index : float
        The Sersic index n.
    radius : float
        Half-light radius, survey pixels.

    Returns
    -------
    galsim.Sersic
    """
    import galsim

    return galsim.Sersic(n=float(index), half_light_radius=radius, gsparams=precision())


def profile_of(light: np.ndarray) -> Any:
    """A pixel map as a profile of unit flux about the centre of the frame.

    Parameters
    ----------
    light : numpy.ndarray of shape (side, side)
        Of any scale.

    Returns
    -------
    galsim.InterpolatedImage
    """
    import galsim

    image = galsim.Image(np.ascontiguousarray(light, dtype=np.float64), scale=1)
    return galsim.InterpolatedImage(
        image, x_interpolant="cubic", flux=1, pad_factor=1, calculate_stepk=False, calculate_maxk=False
    )


def colours_of(colour: float) -> np.ndarray:
    """Relative fluxes in z, r, g, as they are displayed.

    Parameters
    ----------
    colour : float
        0 for a young population, 1 for an old one; at 0.25 the fluxes are equal.

    Returns
    -------
    numpy.ndarray of shape (3, 1, 1), float64
    """
    shift = float(np.clip(colour, -0.6, 1.6)) - 0.25
    return np.array([1 + 0.22 * shift, 1.0, 1 - 0.3 * shift])[:, None, None]


def strand(x: np.ndarray, y: np.ndarray, width: np.ndarray, flux: np.ndarray, side: int) -> np.ndarray:
    """Sum of round Gaussians.

    Parameters
    ----------
    x, y : numpy.ndarray of shape (n,)
        Their places from the centre, survey pixels.
    width : numpy.ndarray of shape (n,)
        Their standard deviations, survey pixels.
    flux : numpy.ndarray of shape (n,)
        Their fluxes.
    side : int
        Of the frame, survey pixels.

    Returns
    -------
    numpy.ndarray of shape (side, side), float64
    """
    grid = np.arange(side) - (side - 1) / 2
    rows = np.exp(-(((grid[:, None] - y) / width) ** 2) / 2) * (flux / width**2)
    columns = np.exp(-(((grid[:, None] - x) / width) ** 2) / 2)
    return rows @ columns.T
