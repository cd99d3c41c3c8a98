"""Simulated galaxies: their kinds, what is true of one, and the light of its parts before the atmosphere.

Belongs here: describing a galaxy and the profiles it is made of. Does not belong here: the frame around it (`frames`),
what volunteers say of it (`volunteers`).

Brightnesses are in units of the sky noise of a survey pixel, lengths in survey pixels.
"""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from galaxy_assets.simulation.artefacts import ARTEFACTS
from galaxy_assets.simulation.light import precision, profile_of, sersic, strand
from galaxy_assets.simulation.streams import normalised

BODIES = {
    "round": 0.27,
    "in_between": 0.12,
    "spiral": 0.225,
    "edge_on": 0.18,
    "merger": 0.08,
    "ring": 0.025,
    "disc": 0.035,
}
"""Kinds of galaxy and their shares of the optical images; the rest are artefacts"""


@dataclass(frozen=True)
class Galaxy:
    """What is true of one optical image, and what its volunteers judge."""

    body: str  # a kind of BODIES
    artefact: str | None  # a kind of ARTEFACTS on top of it
    delivered: int  # side of the image, pixels
    side: int  # side of the frame, survey pixels
    seeing: float  # full width at half maximum
    radius: float  # half-light, along the major axis
    axis_ratio: float
    angle: float  # of the major axis, radians
    brightness: float  # mean surface brightness within the half-light radius
    colour: float  # about 0 for star-forming, 1 for old populations
    bulge: float  # share of the light
    sersic: float  # index of the bulge or of the whole
    arms: int
    pitch: float  # degrees
    contrast: float  # share of the disc's light in its arms
    bar: float  # share of the disc's light
    inclination: float  # degrees; of edge-on discs
    separation: float  # of a merger's two bodies, half-light radii
    tails: float  # share of a merger's light

    @property
    def clarity(self) -> float:
        """How reliably volunteers see what is there, 0.35 to 1: less where the galaxy is faint or small."""
        resolved = math.log10(self.radius / self.seeing)
        return float(np.clip(0.5 + 0.3 * math.log10(self.brightness / 4) + 0.4 * resolved, 0.35, 1))


def describe_galaxy(rng: np.random.Generator) -> Galaxy:
    """A galaxy at random, in the shares of BODIES, with an artefact in the shares of ARTEFACTS.

    Parameters
    ----------
    rng : numpy.random.Generator
        Of the image's parameters.

    Returns
    -------
    Galaxy
    """
    bodies, artefacts = list(BODIES), list(ARTEFACTS)
    kind = rng.choice([*bodies, *artefacts], p=normalised([*BODIES.values(), *ARTEFACTS.values()]))
    body = kind if kind in BODIES else rng.choice(bodies, p=normalised(BODIES.values()))
    delivered = int(rng.integers(300, 425))
    side = round(delivered / rng.uniform(1.6, 2.4))
    inclination = float(rng.uniform(78, 90))
    early = body in ("round", "in_between") or (body in ("merger", "edge_on", "disc") and rng.random() < 0.5)
    axis_ratio = {
        "round": rng.uniform(0.82, 1),
        "in_between": rng.uniform(0.36, 0.8),
        "spiral": rng.uniform(0.3, 1),
        "ring": rng.uniform(0.45, 1),
        "disc": rng.uniform(0.35, 0.9),
        "merger": rng.uniform(0.4, 0.95),
        "edge_on": 1.0,
    }[body]
    return Galaxy(
        body=str(body),
        artefact=str(kind) if kind in ARTEFACTS else None,
        delivered=delivered,
        side=side,
        seeing=float(rng.uniform(3.2, 5.2)),
        radius=float(side * math.exp(rng.uniform(math.log(0.05), math.log(0.11))) * (1.4 if body == "edge_on" else 1)),
        axis_ratio=float(axis_ratio),
        angle=float(rng.uniform(0, 2 * math.pi)),
        brightness=float(math.exp(rng.uniform(math.log(4), math.log(55)))),
        colour=float(rng.normal(0.75 if early else 0.25, 0.3)),
        bulge=float(rng.beta(1.5, 5) if body in ("spiral", "ring") else rng.beta(1.5, 3)),
        sersic=float(rng.choice([1.5, 2, 3, 4] if body in ("round", "in_between") else [1, 1.5, 2, 3])),
        arms=int(rng.choice([2, 3, 4], p=[0.65, 0.2, 0.15])),
        pitch=float(rng.uniform(11, 32)),
        contrast=float(rng.uniform(0.25, 0.6)),
        bar=float(rng.uniform(0.08, 0.2) * (rng.random() < 0.35)),
        inclination=inclination,
        separation=float(rng.uniform(0.9, 2.6)),
        tails=float(rng.uniform(0.04, 0.22)),
    )


def components_of(galaxy: Galaxy, rng: np.random.Generator) -> list[tuple[Any, float, float]]:
    """The light of a galaxy before seeing.

    Parameters
    ----------
    galaxy : Galaxy
        As `describe_galaxy` makes it.
    rng : numpy.random.Generator
        Of the image's pixels.

    Returns
    -------
    list of (galsim.GSObject, float, float)
        Profiles of unit flux, centred in the frame, each with its flux and its colour (0 young, 1 old).
    """
    import galsim

    flux = 2 * math.pi * galaxy.radius**2 * galaxy.axis_ratio * galaxy.brightness
    bulge, disc = galaxy.bulge * flux, (1 - galaxy.bulge) * flux
    old, young = galaxy.colour + 0.2, galaxy.colour - 0.25
    rotation = galaxy.angle * galsim.radians
    ellipse = galsim.Shear(q=galaxy.axis_ratio, beta=rotation)
    small = 0.35 * galaxy.radius
    if galaxy.body in ("round", "in_between"):
        return [(sersic(galaxy.sersic, galaxy.radius).shear(ellipse), flux, galaxy.colour)]
    if galaxy.body == "edge_on":
        height = rng.uniform(0.07, 0.2)
        flux *= 0.35  # of the face-on flux, for the same surface brightness
        bulge, disc = bulge * 0.35, disc * 0.35
        profile = galsim.InclinedExponential(
            galaxy.inclination * galsim.degrees, half_light_radius=galaxy.radius, scale_h_over_r=height
        ).rotate(rotation)
        if rng.random() < 0.4:
            profile = _dust_lane(profile, galaxy, rng)
        spheroid = sersic(galaxy.sersic, rng.uniform(0.18, 0.4) * galaxy.radius).shear(
            galsim.Shear(q=rng.uniform(0.6, 0.95), beta=rotation)
        )
        return [(profile, disc, galaxy.colour - 0.1), (spheroid, bulge, old)]
    if galaxy.body == "disc":
        lens = galsim.Exponential(half_light_radius=galaxy.radius).shear(ellipse)
        spheroid = galsim.DeVaucouleurs(half_light_radius=small, gsparams=precision())
        return [(lens, disc, galaxy.colour), (spheroid, bulge, old)]
    if galaxy.body == "ring":
        ring, inner = _ring(galaxy, rng)
        spheroid = sersic(galaxy.sersic, 0.5 * galaxy.radius)
        share = rng.uniform(0.35, 0.6)
        return [
            (ring, share * flux, young),
            (inner, 0.4 * (1 - share) * flux, galaxy.colour),
            (spheroid, 0.6 * (1 - share) * flux, old),
        ]
    if galaxy.body == "spiral":
        spheroid = sersic(galaxy.sersic, small).shear(galsim.Shear(q=max(galaxy.axis_ratio, 0.75), beta=rotation))
        return [*_spiral(galaxy, disc, rng), (spheroid, bulge, old)]
    return _merger(galaxy, flux, rng)


def _merger(galaxy: Galaxy, flux: float, rng: np.random.Generator) -> list[tuple[Any, float, float]]:
    """Two bodies, tidal tails from each, debris, and a common halo that is not centred on either."""
    import galsim

    radius = galaxy.radius
    ratio = math.exp(rng.uniform(math.log(0.25), 0))
    direction = rng.uniform(0, 2 * math.pi)
    x, y = (galaxy.separation * radius * f for f in (math.cos(direction), math.sin(direction)))
    bodies = (1 - galaxy.tails) * flux * 0.85
    first, second = bodies / (1 + ratio), bodies * ratio / (1 + ratio)
    ellipse = galsim.Shear(q=galaxy.axis_ratio, beta=galaxy.angle * galsim.radians)
    other = galsim.Shear(q=rng.uniform(0.45, 0.95), beta=rng.uniform(0, math.pi) * galsim.radians)
    if rng.random() < 0.5:
        components = [(sersic(galaxy.sersic, 0.8 * radius).shear(ellipse), first, galaxy.colour)]
    else:
        components = _spiral(galaxy, 0.75 * first, rng)
        components.append((sersic(galaxy.sersic, 0.3 * radius), 0.25 * first, galaxy.colour + 0.2))
    colour = galaxy.colour + rng.normal(0, 0.25)
    companion = sersic(rng.choice([1, 2, 3]), 0.75 * radius * ratio**0.4).shear(other).shift(x, y)
    components.append((companion, second, colour))
    halo = galsim.Exponential(half_light_radius=rng.uniform(1.5, 2.2) * radius, gsparams=precision())
    halo = halo.shear(other).shift(rng.uniform(0.2, 0.7) * x, rng.uniform(0.2, 0.7) * y)
    components.append((halo, 0.15 * flux, galaxy.colour))
    light = np.zeros((galaxy.side, galaxy.side))
    turn = rng.choice([-1, 1])
    for cx, cy, start, weight in ((0, 0, direction + math.pi, 1.0), (x, y, direction, rng.uniform(0, 1))):
        t = np.linspace(0, 1, 60)
        reach = radius * (rng.uniform(0.5, 0.9) + rng.uniform(1.2, 3.4) * t)
        bend = start + turn * (rng.uniform(-0.9, 0.5) + rng.uniform(0.3, 1.9) * t)
        knots = np.exp(rng.normal(0, 0.35, t.size)) * np.exp(-2 * t)
        light += weight * strand(
            cx + reach * np.cos(bend), cy + reach * np.sin(bend), radius * (0.16 + 0.2 * t), knots, galaxy.side
        )
    return [*components, (profile_of(light), galaxy.tails * flux, galaxy.colour - 0.2)]


def _disc_plane(galaxy: Galaxy) -> tuple[np.ndarray, np.ndarray]:
    """Radius and azimuth of every pixel in the plane of an inclined disc, float64 (side, side) each."""
    y, x = np.indices((galaxy.side, galaxy.side)) - (galaxy.side - 1) / 2
    along = x * math.cos(galaxy.angle) + y * math.sin(galaxy.angle)
    across = (y * math.cos(galaxy.angle) - x * math.sin(galaxy.angle)) / galaxy.axis_ratio
    return np.hypot(along, across), np.arctan2(across, along)


def _spiral(galaxy: Galaxy, flux: float, rng: np.random.Generator) -> list[tuple[Any, float, float]]:
    """An exponential disc, its logarithmic arms, bluer and patchy, and a bar where there is one."""
    from scipy.ndimage import gaussian_filter

    r, azimuth = _disc_plane(galaxy)
    scale = galaxy.radius / 1.6
    core = 0.35 * scale
    first = rng.uniform(0, 2 * math.pi)
    bar_length = rng.uniform(0.8, 1.4) * scale
    # crests start at the ends of the bar and lag by uneven amounts, or galaxies would look like propellers
    start = math.log((bar_length + core) / core)
    wobble = rng.normal(0, 0.25) * np.sin(azimuth + rng.uniform(0, 6.3)) + rng.normal(0, 0.3) * r / (3 * scale)
    winding = (np.log((r + core) / core) - start) / math.tan(math.radians(galaxy.pitch))
    phase = galaxy.arms * (azimuth - first - rng.choice([-1, 1]) * winding + wobble)
    crest = np.exp(rng.uniform(1.0, 2.8) * (np.cos(phase) - 1))
    patches = gaussian_filter(rng.standard_normal(r.shape), 0.18 * galaxy.radius)
    patches = np.clip(1 + rng.uniform(0.3, 0.7) * patches / patches.std(), 0.1, None)
    inside = 1 - np.exp(-((r / (1.1 * scale if galaxy.bar else 0.7 * scale)) ** 3))
    edge = 1 / (1 + np.exp((r - 4.2 * scale) / (0.4 * scale)))
    disc = np.exp(-r / scale) * edge
    arms = np.exp(-r / (1.35 * scale)) * crest * patches * inside * edge
    components = [
        (profile_of(disc), flux * (1 - galaxy.contrast - galaxy.bar), galaxy.colour),
        (profile_of(arms), flux * galaxy.contrast, galaxy.colour - 0.35),
    ]
    if galaxy.bar:
        u, v = r * np.cos(azimuth - first), r * np.sin(azimuth - first)
        bar = np.exp(-(np.abs(u / bar_length) ** 3) - (v / (0.3 * bar_length)) ** 2)
        components.append((profile_of(bar), flux * galaxy.bar, galaxy.colour + 0.15))
    return components


def _ring(galaxy: Galaxy, rng: np.random.Generator) -> tuple[Any, Any]:
    """Profiles of a patchy ring and of the disc that it surrounds."""
    from scipy.ndimage import gaussian_filter

    r, azimuth = _disc_plane(galaxy)
    patches = gaussian_filter(rng.standard_normal(r.shape), 0.25 * galaxy.radius)
    lopsided = 1 + rng.uniform(0, 0.5) * np.cos(azimuth - rng.uniform(0, 2 * math.pi))
    centre, width = rng.uniform(1.2, 1.7) * galaxy.radius, rng.uniform(0.14, 0.24) * galaxy.radius
    ring = np.exp(-(((r - centre) / width) ** 2) / 2) * lopsided * np.clip(1 + 0.3 * patches / patches.std(), 0.1, None)
    return profile_of(ring), profile_of(np.exp(-r / (0.6 * galaxy.radius)))


def _dust_lane(profile: Any, galaxy: Galaxy, rng: np.random.Generator) -> Any:
    """`profile` with a dark lane along its major axis, a little off its plane."""
    light = profile.drawImage(nx=galaxy.side, ny=galaxy.side, scale=1).array
    y, x = np.indices(light.shape) - (galaxy.side - 1) / 2
    across = y * math.cos(galaxy.angle) - x * math.sin(galaxy.angle)
    lane = np.exp(-(((across - rng.uniform(-0.08, 0.08) * galaxy.radius) / (0.07 * galaxy.radius)) ** 2) / 2)
    return profile_of(light * (1 - rng.uniform(0.4, 0.8) * lane))
