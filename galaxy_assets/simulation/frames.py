"""The optical image of a simulated galaxy: neighbours, sky, noise, seeing, artefact, and the survey's colours.

Belongs here: what is between a described galaxy and its pixels. Does not belong here: the galaxy's own light
(`galaxies`), files (`writing`).

A frame is drawn on survey pixels and resampled to its delivered size, which correlates its noise as in the images of
Galaxy Zoo DECaLS.
"""

from collections.abc import Iterable
from typing import Any

import numpy as np

from galaxy_assets.simulation.artefacts import beyond_edge, satellite_trail, saturated_star
from galaxy_assets.simulation.galaxies import Galaxy, components_of
from galaxy_assets.simulation.light import colours_of, precision


def draw_optical(galaxy: Galaxy, rng: np.random.Generator) -> np.ndarray:
    """The delivered image of a galaxy.

    Parameters
    ----------
    galaxy : Galaxy
        As `describe_galaxy` makes it.
    rng : numpy.random.Generator
        Of the image's pixels.

    Returns
    -------
    numpy.ndarray of shape (delivered, delivered, 3), uint8
        RGB; the side is `galaxy.delivered`.
    """
    import cv2
    from astropy.visualization import make_lupton_rgb

    side = galaxy.side
    bands = np.zeros((3, side, side))  # z, r, g
    empty = galaxy.artefact == "blank"
    if not empty:
        for profile, flux, colour in components_of(galaxy, rng):
            bands += flux * colours_of(colour) * _through_seeing(profile, galaxy)
    for profile, flux, colour in _neighbours(galaxy, rng, 0.15 if empty else 1.0):
        bands += flux * colours_of(colour) * _through_seeing(profile, galaxy)
    if galaxy.artefact == "saturated_star":
        bands += saturated_star(side, rng)
    elif galaxy.artefact == "satellite_trail":
        bands += satellite_trail(side, galaxy.seeing, rng)
    noise = rng.uniform(0.8, 1.25)
    bands += noise * rng.standard_normal(bands.shape) + _sky(side, rng)
    if galaxy.artefact == "misaligned":
        shift = rng.choice([-1, 1], 2) * rng.integers(3, 10, 2)
        band = rng.integers(3)
        bands[band] = np.roll(bands[band], shift, axis=(0, 1))
    elif galaxy.artefact == "chip_edge":
        bands[:, beyond_edge(side, rng)] = 0
    elif galaxy.artefact == "blank" and rng.random() < 0.4:
        bands[:] = 0  # no exposure covers the frame
    # as the survey's own colour images: faint light is shown nearly grey, so that noise does not speckle
    grey = bands.mean(axis=0)
    bands = grey + (0.45 + 0.4 * np.clip(grey / 12, 0, 1)) * (bands - grey)
    size = (galaxy.delivered, galaxy.delivered)
    red, green, blue = (cv2.resize(band, size, interpolation=cv2.INTER_CUBIC) for band in bands)
    return make_lupton_rgb(red, green, blue, minimum=-1.0, stretch=13, Q=7)


def _neighbours(galaxy: Galaxy, rng: np.random.Generator, density: float) -> Iterable[tuple[Any, float, float]]:
    """Faint galaxies and stars anywhere in the frame, in groups that share a colour."""
    import galsim

    for stars in (False, True):
        for colour in rng.normal(0.45, 0.55 if stars else 0.35, 2):
            profiles = []
            for _ in range(rng.poisson(density * (1.5 if stars else 4.0))):
                x, y = rng.uniform(-0.5, 0.5, 2) * galaxy.side
                if stars:
                    profile = galsim.Gaussian(sigma=0.1, flux=10 ** min(1.4 + rng.exponential(0.5), 3.9))
                else:
                    profile = galsim.Gaussian(
                        sigma=rng.uniform(0.8, 2.6), flux=10 ** min(1.4 + rng.exponential(0.4), 3)
                    )
                    profile = profile.shear(
                        galsim.Shear(q=rng.uniform(0.4, 1), beta=rng.uniform(0, 3) * galsim.radians)
                    )
                profiles.append(profile.shift(x, y))
            if profiles:
                yield galsim.Sum(profiles), 1.0, float(colour)


def _through_seeing(profile: Any, galaxy: Galaxy) -> np.ndarray:
    """`profile` seen through the atmosphere, float32 (side, side)."""
    import galsim

    moffat = galsim.Moffat(beta=3.0, fwhm=galaxy.seeing, gsparams=precision())
    seen: Any = galsim.Convolve(profile, moffat)
    return seen.drawImage(nx=galaxy.side, ny=galaxy.side, scale=1, method="no_pixel").array


def _sky(side: int, rng: np.random.Generator) -> np.ndarray:
    """What the subtraction of the sky leaves: a small offset and slope in each band, float64 (3, side, side)."""
    y, x = np.indices((side, side)) / side - 0.5
    offset, along, across = rng.normal(0, 0.07, (3, 3, 1, 1))
    return offset + along * x + across * y
