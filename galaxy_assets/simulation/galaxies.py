"""Simulated surveys in official layouts: optical galaxies with volunteers' votes, and radio galaxies with labels.

They let the whole path run offline, where nothing can be downloaded; no result on them says anything about the sky.

Belongs here: drawing galaxies, artefacts and radio sources, simulating volunteers, and writing deliveries. Does not
belong here: reading deliveries (`deliveries.readers`), and what votes mean (`science.votes`, whose tree is walked
here).

Image i depends on the seed and i alone, so its bytes do not depend on how many processes draw. Brightnesses are in
units of the sky noise of a survey pixel, lengths in survey pixels. An optical frame is drawn on survey pixels and
resampled to its delivered size, which correlates its noise as in the images of Galaxy Zoo DECaLS.
"""

import csv
import logging
import math
import multiprocessing
import os
import tempfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from galaxy_assets.science.votes import TREES

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

ARTEFACTS = {"saturated_star": 0.02, "satellite_trail": 0.015, "blank": 0.01, "misaligned": 0.01, "chip_edge": 0.01}
"""Kinds of artefact and their shares of the optical images"""

RADIO_KINDS = {"FRI": 0.46, "FRII": 0.48, "hybrid": 0.06}
"""Fanaroff-Riley classes and their shares of the radio images; a third of the FRI and FRII are uncertain"""

VOLUNTEER_TABLE = "gz_decals_volunteers_1_and_2.csv"
RADIO_SIZE = 150  # pixels

_UNSEEN = {6, 13, 19}  # of every 20 optical images, those that no volunteer has seen
log = logging.getLogger(__name__)

_CHUNK = 32  # images drawn at a time; fewer than two chunks are not worth the start of a second process
_PARAMETERS, _PIXELS, _VOTES = range(3)  # streams of random numbers of one image


def simulate_optical(
    folder: Path,
    *,
    batches: Sequence[str],
    n_images: int,
    seed: int,
    processes: int | None = None,
) -> None:
    """Write a simulated survey in the layout of Galaxy Zoo DECaLS (Walmsley et al. 2022).

    - `<folder>/<batch>/J???/<iauname>.png`: RGB, uint8, square, 300 to 424 pixels, with z, r, g as red, green, blue;
    - `<folder>/gz_decals_volunteers_1_and_2.csv`: the 115 official columns, for 85 % of the images; the fractions of a
      question that nobody was asked are 0.0, and `_debiased` is empty;
    - `<folder>/truth.csv` (iauname, kind, batch): for looking and for tests; nothing in the platform reads it.

    `n_images` are spread evenly over `batches`; the log tells how far they are. There are as
    many `processes` as cores, by default, where there are enough images to gain by it; they are spawned, so a script
    calls this under `if __name__ == "__main__"`. Each batch and each table is whole or absent and what is there is
    kept: a second call does nothing, and a call after a killed one completes its work.

    Raises ValueError if there are fewer images than batches.
    """
    delivery = _split(n_images, batches)
    galaxies, files, truth, rows = [], [], [], []
    for i, batch in enumerate(delivery):
        rng = _generator(seed, i, _PARAMETERS)
        galaxy = _describe_galaxy(rng)
        # uniform on the sky between declinations of -8 and 33 degrees
        ra, dec = float(rng.uniform(0, 360)), float(np.degrees(np.arcsin(rng.uniform(-0.14, 0.545))))
        name = _iauname(ra, dec)
        galaxies.append(galaxy)
        files.append(f"{name[:4]}/{name}.png")
        truth.append({"iauname": name, "kind": galaxy.artefact or galaxy.body, "batch": batch})
        if i % 20 not in _UNSEEN:
            votes = _volunteer_row(galaxy, _generator(seed, i, _VOTES))
            rows.append({"iauname": name, "ra": ra, "dec": dec} | votes)
    _deliver(folder, delivery, files, _draw_optical, galaxies, seed, processes)
    _write_table(folder / VOLUNTEER_TABLE, volunteer_columns(), rows)
    _write_table(folder / "truth.csv", ("iauname", "kind", "batch"), truth)


def simulate_radio(
    folder: Path,
    *,
    batches: Sequence[str],
    n_images: int,
    seed: int,
    processes: int | None = None,
) -> None:
    """Write a simulated survey of radio galaxies, prepared as MiraBest is (Porter & Scaife 2023).

    - `<folder>/<batch>/<id>.png`: greyscale, uint8, 150 x 150 pixels of 1.8 arcsec, zero below three times the noise;
    - `<folder>/labels.csv` (id, label): FRI, FRII, FRI_uncertain, FRII_uncertain or hybrid.

    Arguments, completion and errors are those of `simulate_optical`.
    """
    delivery = _split(n_images, batches)
    sources = [_describe_radio(_generator(seed, i, _PARAMETERS)) for i in range(n_images)]
    names = [f"radio_{seed}_{i:06d}" for i in range(n_images)]
    _deliver(folder, delivery, [f"{name}.png" for name in names], _draw_radio, sources, seed, processes)
    labels = [{"id": name, "label": source.label} for name, source in zip(names, sources, strict=True)]
    _write_table(folder / "labels.csv", ("id", "label"), labels)


# --- optical: what is drawn


@dataclass(frozen=True)
class _Galaxy:
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


def _describe_galaxy(rng: np.random.Generator) -> _Galaxy:
    bodies, artefacts = list(BODIES), list(ARTEFACTS)
    kind = rng.choice([*bodies, *artefacts], p=_normalised([*BODIES.values(), *ARTEFACTS.values()]))
    body = kind if kind in BODIES else rng.choice(bodies, p=_normalised(BODIES.values()))
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
    return _Galaxy(
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


def _draw_optical(galaxy: _Galaxy, rng: np.random.Generator) -> np.ndarray:
    """The delivered image of `galaxy`, uint8 (delivered, delivered, 3)."""
    import cv2
    from astropy.visualization import make_lupton_rgb

    side = galaxy.side
    bands = np.zeros((3, side, side))  # z, r, g
    empty = galaxy.artefact == "blank"
    if not empty:
        for profile, flux, colour in _components(galaxy, rng):
            bands += flux * _colours(colour) * _through_seeing(profile, galaxy)
    for profile, flux, colour in _neighbours(galaxy, rng, 0.15 if empty else 1.0):
        bands += flux * _colours(colour) * _through_seeing(profile, galaxy)
    if galaxy.artefact == "saturated_star":
        bands += _saturated_star(side, rng)
    elif galaxy.artefact == "satellite_trail":
        bands += _satellite_trail(side, galaxy.seeing, rng)
    noise = rng.uniform(0.8, 1.25)
    bands += noise * rng.standard_normal(bands.shape) + _sky(side, rng)
    if galaxy.artefact == "misaligned":
        shift = rng.choice([-1, 1], 2) * rng.integers(3, 10, 2)
        band = rng.integers(3)
        bands[band] = np.roll(bands[band], shift, axis=(0, 1))
    elif galaxy.artefact == "chip_edge":
        bands[:, _beyond_edge(side, rng)] = 0
    elif galaxy.artefact == "blank" and rng.random() < 0.4:
        bands[:] = 0  # no exposure covers the frame
    # as the survey's own colour images: faint light is shown nearly grey, so that noise does not speckle
    grey = bands.mean(axis=0)
    bands = grey + (0.45 + 0.4 * np.clip(grey / 12, 0, 1)) * (bands - grey)
    size = (galaxy.delivered, galaxy.delivered)
    red, green, blue = (cv2.resize(band, size, interpolation=cv2.INTER_CUBIC) for band in bands)
    return make_lupton_rgb(red, green, blue, minimum=-1.0, stretch=13, Q=7)


def _components(galaxy: _Galaxy, rng: np.random.Generator) -> list[tuple[Any, float, float]]:
    """Profiles of unit flux before seeing, centred in the frame, with their fluxes and colours."""
    import galsim

    flux = 2 * math.pi * galaxy.radius**2 * galaxy.axis_ratio * galaxy.brightness
    bulge, disc = galaxy.bulge * flux, (1 - galaxy.bulge) * flux
    old, young = galaxy.colour + 0.2, galaxy.colour - 0.25
    rotation = galaxy.angle * galsim.radians
    ellipse = galsim.Shear(q=galaxy.axis_ratio, beta=rotation)
    small = 0.35 * galaxy.radius
    if galaxy.body in ("round", "in_between"):
        return [(_sersic(galaxy.sersic, galaxy.radius).shear(ellipse), flux, galaxy.colour)]
    if galaxy.body == "edge_on":
        height = rng.uniform(0.07, 0.2)
        flux *= 0.35  # of the face-on flux, for the same surface brightness
        bulge, disc = bulge * 0.35, disc * 0.35
        profile = galsim.InclinedExponential(
            galaxy.inclination * galsim.degrees, half_light_radius=galaxy.radius, scale_h_over_r=height
        ).rotate(rotation)
        if rng.random() < 0.4:
            profile = _dust_lane(profile, galaxy, rng)
        spheroid = _sersic(galaxy.sersic, rng.uniform(0.18, 0.4) * galaxy.radius).shear(
            galsim.Shear(q=rng.uniform(0.6, 0.95), beta=rotation)
        )
        return [(profile, disc, galaxy.colour - 0.1), (spheroid, bulge, old)]
    if galaxy.body == "disc":
        lens = galsim.Exponential(half_light_radius=galaxy.radius).shear(ellipse)
        spheroid = galsim.DeVaucouleurs(half_light_radius=small, gsparams=_precision())
        return [(lens, disc, galaxy.colour), (spheroid, bulge, old)]
    if galaxy.body == "ring":
        ring, inner = _ring(galaxy, rng)
        spheroid = _sersic(galaxy.sersic, 0.5 * galaxy.radius)
        share = rng.uniform(0.35, 0.6)
        return [
            (ring, share * flux, young),
            (inner, 0.4 * (1 - share) * flux, galaxy.colour),
            (spheroid, 0.6 * (1 - share) * flux, old),
        ]
    if galaxy.body == "spiral":
        spheroid = _sersic(galaxy.sersic, small).shear(galsim.Shear(q=max(galaxy.axis_ratio, 0.75), beta=rotation))
        return [*_spiral(galaxy, disc, rng), (spheroid, bulge, old)]
    return _merger(galaxy, flux, rng)


def _merger(galaxy: _Galaxy, flux: float, rng: np.random.Generator) -> list[tuple[Any, float, float]]:
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
        components = [(_sersic(galaxy.sersic, 0.8 * radius).shear(ellipse), first, galaxy.colour)]
    else:
        components = _spiral(galaxy, 0.75 * first, rng)
        components.append((_sersic(galaxy.sersic, 0.3 * radius), 0.25 * first, galaxy.colour + 0.2))
    colour = galaxy.colour + rng.normal(0, 0.25)
    companion = _sersic(rng.choice([1, 2, 3]), 0.75 * radius * ratio**0.4).shear(other).shift(x, y)
    components.append((companion, second, colour))
    halo = galsim.Exponential(half_light_radius=rng.uniform(1.5, 2.2) * radius, gsparams=_precision())
    halo = halo.shear(other).shift(rng.uniform(0.2, 0.7) * x, rng.uniform(0.2, 0.7) * y)
    components.append((halo, 0.15 * flux, galaxy.colour))
    light = np.zeros((galaxy.side, galaxy.side))
    turn = rng.choice([-1, 1])
    for cx, cy, start, weight in ((0, 0, direction + math.pi, 1.0), (x, y, direction, rng.uniform(0, 1))):
        t = np.linspace(0, 1, 60)
        reach = radius * (rng.uniform(0.5, 0.9) + rng.uniform(1.2, 3.4) * t)
        bend = start + turn * (rng.uniform(-0.9, 0.5) + rng.uniform(0.3, 1.9) * t)
        knots = np.exp(rng.normal(0, 0.35, t.size)) * np.exp(-2 * t)
        light += weight * _strand(
            cx + reach * np.cos(bend), cy + reach * np.sin(bend), radius * (0.16 + 0.2 * t), knots, galaxy.side
        )
    return [*components, (_profile_of(light), galaxy.tails * flux, galaxy.colour - 0.2)]


def _disc_plane(galaxy: _Galaxy) -> tuple[np.ndarray, np.ndarray]:
    """Radius and azimuth of every pixel in the plane of an inclined disc, float64 (side, side) each."""
    y, x = np.indices((galaxy.side, galaxy.side)) - (galaxy.side - 1) / 2
    along = x * math.cos(galaxy.angle) + y * math.sin(galaxy.angle)
    across = (y * math.cos(galaxy.angle) - x * math.sin(galaxy.angle)) / galaxy.axis_ratio
    return np.hypot(along, across), np.arctan2(across, along)


def _spiral(galaxy: _Galaxy, flux: float, rng: np.random.Generator) -> list[tuple[Any, float, float]]:
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
        (_profile_of(disc), flux * (1 - galaxy.contrast - galaxy.bar), galaxy.colour),
        (_profile_of(arms), flux * galaxy.contrast, galaxy.colour - 0.35),
    ]
    if galaxy.bar:
        u, v = r * np.cos(azimuth - first), r * np.sin(azimuth - first)
        bar = np.exp(-(np.abs(u / bar_length) ** 3) - (v / (0.3 * bar_length)) ** 2)
        components.append((_profile_of(bar), flux * galaxy.bar, galaxy.colour + 0.15))
    return components


def _ring(galaxy: _Galaxy, rng: np.random.Generator) -> tuple[Any, Any]:
    """Profiles of a patchy ring and of the disc that it surrounds."""
    from scipy.ndimage import gaussian_filter

    r, azimuth = _disc_plane(galaxy)
    patches = gaussian_filter(rng.standard_normal(r.shape), 0.25 * galaxy.radius)
    lopsided = 1 + rng.uniform(0, 0.5) * np.cos(azimuth - rng.uniform(0, 2 * math.pi))
    centre, width = rng.uniform(1.2, 1.7) * galaxy.radius, rng.uniform(0.14, 0.24) * galaxy.radius
    ring = np.exp(-(((r - centre) / width) ** 2) / 2) * lopsided * np.clip(1 + 0.3 * patches / patches.std(), 0.1, None)
    return _profile_of(ring), _profile_of(np.exp(-r / (0.6 * galaxy.radius)))


def _dust_lane(profile: Any, galaxy: _Galaxy, rng: np.random.Generator) -> Any:
    """`profile` with a dark lane along its major axis, a little off its plane."""
    light = profile.drawImage(nx=galaxy.side, ny=galaxy.side, scale=1).array
    y, x = np.indices(light.shape) - (galaxy.side - 1) / 2
    across = y * math.cos(galaxy.angle) - x * math.sin(galaxy.angle)
    lane = np.exp(-(((across - rng.uniform(-0.08, 0.08) * galaxy.radius) / (0.07 * galaxy.radius)) ** 2) / 2)
    return _profile_of(light * (1 - rng.uniform(0.4, 0.8) * lane))


def _neighbours(galaxy: _Galaxy, rng: np.random.Generator, density: float) -> Iterable[tuple[Any, float, float]]:
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


def _precision() -> Any:
    import galsim

    # the defaults pad a de Vaucouleurs profile to four times the frame for light far below the noise
    return galsim.GSParams(folding_threshold=2e-2, maxk_threshold=5e-3, kvalue_accuracy=1e-4, xvalue_accuracy=1e-4)


def _sersic(index: float, radius: float) -> Any:
    import galsim

    return galsim.Sersic(n=float(index), half_light_radius=radius, gsparams=_precision())


def _profile_of(light: np.ndarray) -> Any:
    """A pixel map as a profile of unit flux about the centre of the frame."""
    import galsim

    image = galsim.Image(np.ascontiguousarray(light, dtype=np.float64), scale=1)
    return galsim.InterpolatedImage(
        image, x_interpolant="cubic", flux=1, pad_factor=1, calculate_stepk=False, calculate_maxk=False
    )


def _through_seeing(profile: Any, galaxy: _Galaxy) -> np.ndarray:
    """`profile` seen through the atmosphere, float32 (side, side)."""
    import galsim

    moffat = galsim.Moffat(beta=3.0, fwhm=galaxy.seeing, gsparams=_precision())
    seen: Any = galsim.Convolve(profile, moffat)
    return seen.drawImage(nx=galaxy.side, ny=galaxy.side, scale=1, method="no_pixel").array


def _colours(colour: float) -> np.ndarray:
    """Relative fluxes in z, r, g, as they are displayed: equal for a population between young and old."""
    shift = float(np.clip(colour, -0.6, 1.6)) - 0.25
    return np.array([1 + 0.22 * shift, 1.0, 1 - 0.3 * shift])[:, None, None]


def _sky(side: int, rng: np.random.Generator) -> np.ndarray:
    """What the subtraction of the sky leaves: a small offset and slope in each band, float64 (3, side, side)."""
    y, x = np.indices((side, side)) / side - 0.5
    offset, along, across = rng.normal(0, 0.07, (3, 3, 1, 1))
    return offset + along * x + across * y


def _saturated_star(side: int, rng: np.random.Generator) -> np.ndarray:
    """A star beyond the detector's range: halo, diffraction spikes, and charge bled along the columns."""
    y, x = np.indices((side, side)) - rng.uniform(0.15, 0.85, 2)[:, None, None] * side
    peak = 10 ** rng.uniform(3, 5.3)
    r = np.hypot(x, y)
    star = peak * (1 + (r / 2.5) ** 2) ** -1.5
    tilt = rng.uniform(0.6, 0.95)
    for angle in tilt + np.arange(4) * math.pi / 2:
        along, across = x * math.cos(angle) + y * math.sin(angle), y * math.cos(angle) - x * math.sin(angle)
        star += 0.02 * peak * (along > 0) / (1 + np.abs(along) / 3) ** 1.6 * np.exp(-((across / 1.3) ** 2))
    colours = _colours(rng.normal(0.3, 0.6)) * star
    if rng.random() < 0.6:
        bled = np.exp(-((x / rng.uniform(1, 2.5)) ** 4)) / (1 + np.exp((np.abs(y) - rng.uniform(0.1, 0.5) * side) / 2))
        colours = colours + rng.uniform(40, 300) * bled * rng.uniform(0.3, 1, (3, 1, 1))
    return colours


def _satellite_trail(side: int, seeing: float, rng: np.random.Generator) -> np.ndarray:
    """A straight trail, in the one band whose exposure it crossed or, now and then, in all."""
    y, x = np.indices((side, side)) - side / 2
    angle = rng.uniform(0, math.pi)
    across = y * math.cos(angle) - x * math.sin(angle) - rng.uniform(-0.3, 0.3) * side
    width = seeing / 2.355 * rng.uniform(1, 1.3)
    trail = 10 ** rng.uniform(0.6, 1.4) * np.exp(-((across / width) ** 2) / 2)
    bands = rng.uniform(0.05, 0.6, 3) if rng.random() < 0.75 else np.ones(3)
    bands[rng.integers(3)] = 1
    return bands[:, None, None] * trail


def _beyond_edge(side: int, rng: np.random.Generator) -> np.ndarray:
    """Where a detector, a little rotated, has ended: bool (side, side), about half of it true."""
    y, x = np.indices((side, side)) - side / 2
    angle = rng.choice(4) * math.pi / 2 + rng.normal(0, 0.04)
    return x * math.cos(angle) + y * math.sin(angle) > rng.uniform(-0.15, 0.2) * side


def _strand(x: np.ndarray, y: np.ndarray, width: np.ndarray, flux: np.ndarray, side: int) -> np.ndarray:
    """Sum of round Gaussians at (x, y) from the centre, of standard deviations `width`: float64 (side, side)."""
    grid = np.arange(side) - (side - 1) / 2
    rows = np.exp(-(((grid[:, None] - y) / width) ** 2) / 2) * (flux / width**2)
    columns = np.exp(-(((grid[:, None] - x) / width) ** 2) / 2)
    return rows @ columns.T


# --- optical: what volunteers say


def volunteer_columns() -> list[str]:
    """The 115 columns of the official table of campaign 1_and_2, in order."""
    columns = [
        *("iauname", "ra", "dec", "redshift", "elpetro_absmag_r", "sersic_nmgy_r", "petro_th50", "petro_th90"),
        *("petro_theta", "upload_group", "active_learning_on", "in_gzd_c", "data_release"),
    ]
    for question in TREES["1_and_2"]:
        columns.append(question.total_column)
        for answer in question.answers:
            name = f"{question.name}_{answer}"
            columns += [name, f"{name}_fraction", f"{name}_debiased"]
    return [*columns, "wrong_size_statistic", "wrong_size_warning"]


def _volunteer_row(galaxy: _Galaxy, rng: np.random.Generator) -> dict[str, object]:
    """One row of the volunteer table but for name and position: 20 to 45 volunteers walk down the tree."""
    redshift = float(np.clip(rng.gamma(4, 0.02), 0.003, 0.25))
    theta = 0.262 * galaxy.radius  # arcsec
    flux = 2 * math.pi * galaxy.radius**2 * galaxy.axis_ratio * galaxy.brightness * 0.03
    magnitude = 22.5 - 2.5 * math.log10(flux) - 5 * math.log10(redshift * 4283) - 25
    concentration = 2.3 + 0.3 * galaxy.sersic
    row: dict[str, object] = {
        "redshift": redshift,
        "elpetro_absmag_r": magnitude,
        "sersic_nmgy_r": flux,
        "petro_th50": theta,
        "petro_th90": concentration * theta,
        "petro_theta": 2.2 * theta,
        "upload_group": "pre_active",
        "active_learning_on": False,
        "in_gzd_c": False,
        "data_release": "DR2",
        "wrong_size_statistic": float(rng.normal(156, 1.5)),
        "wrong_size_warning": False,
    }
    chances = _answers(galaxy)
    counts: dict[tuple[str, str], int] = {}
    volunteers = int(rng.integers(20, 46))
    for question in TREES["1_and_2"]:
        asked = sum(counts[parent] for parent in question.parents) if question.parents else volunteers
        drawn = rng.multinomial(asked, _normalised(chances[question.name])).tolist()
        row[question.total_column] = asked
        for answer, count in zip(question.answers, drawn, strict=True):
            counts[question.name, answer] = count
            row[f"{question.name}_{answer}"] = count
            row[f"{question.name}_{answer}_fraction"] = count / asked if asked else 0.0
    return row


def _answers(galaxy: _Galaxy) -> dict[str, list[float]]:
    """Chance of every answer by question, in the order of the tree: the truth, blurred as clarity falls."""
    body, q = galaxy.body, galaxy.axis_ratio
    if body == "edge_on":
        q = 0.25 + 0.25 * galaxy.bulge
    featured = {"round": 0.03, "in_between": 0.08, "spiral": 0.96, "edge_on": 0.85, "merger": 0.4, "ring": 0.92}
    edge_on = _step(galaxy.inclination, 79, 1.0) if body == "edge_on" else 0.6 * _step(-q, -0.33, 0.03)
    spiral = {"spiral": 0.97, "ring": 0.35, "merger": 0.35}.get(body, 0.06)
    round_, cigar = _step(q, 0.76, 0.03), _step(-q, -0.36, 0.03)
    tight, loose = _step(-galaxy.pitch, -16, 1.5), _step(galaxy.pitch, 26, 1.5)
    arms = [0.03 if n == 1 else 0.9 if n == galaxy.arms else 0.03 for n in (1, 2, 3, 4, 5)]
    truth = {
        "smooth-or-featured": [1 - (f := featured.get(body, 0.65)), f, 0.0],
        "how-rounded": [round_, (1 - round_) * (1 - cigar), cigar * (1 - round_)],
        "disk-edge-on": [edge_on, 1 - edge_on],
        "edge-on-bulge": [galaxy.bulge * 2, 0.1, max(0.9 - galaxy.bulge * 2, 0.05)],
        "bar": [p := 0.85 if body == "spiral" and galaxy.bar else 0.08, 1 - p],
        "has-spiral-arms": [spiral, 1 - spiral],
        "spiral-winding": [tight, max(1 - tight - loose, 0.05), loose],
        "spiral-arm-count": arms,
        "bulge-size": [_step(-galaxy.bulge, -0.12, 0.03), 0.6, _step(galaxy.bulge, 0.5, 0.05)],
        "merging": [0.02, 0.02, 0.01, 0.95],
    }
    if body == "merger":
        # two bodies well apart pass for a chance alignment
        neither = 0.05 + 0.65 * _step(galaxy.separation, 2.3, 0.12)
        both = min(2 * galaxy.tails, 0.45)
        truth["merging"] = [max(0.85 - both - neither, 0.05), 0.1 + 0.1 * galaxy.tails, both, neither]
    # what is answered where little can be made out
    blurred = {"smooth-or-featured": [0.62, 0.35, 0.03], "merging": [0.06, 0.06, 0.02, 0.86]}
    confusion = (1 - galaxy.clarity) * 0.8
    answers = {}
    for question in TREES["1_and_2"]:
        unsure = _normalised(blurred.get(question.name, [1.0] * len(question.answers)))
        answers[question.name] = (1 - confusion) * _normalised(truth[question.name]) + confusion * unsure
    if galaxy.artefact:
        seen = {"satellite_trail": 0.5, "misaligned": 0.6}.get(galaxy.artefact, 0.85)
        answers["smooth-or-featured"] = (1 - seen) * answers["smooth-or-featured"] + seen * np.array([0, 0, 1])
    return {question: list(chances) for question, chances in answers.items()}


def _step(value: float, middle: float, width: float) -> float:
    return 1 / (1 + math.exp(-(value - middle) / width))


def _iauname(ra: float, dec: float) -> str:
    """Position in degrees as JHHMMSS.ss+DDMMSS.s, truncated as the IAU asks."""
    centiseconds, deciseconds = int(ra * 24000), int(abs(dec) * 36000)
    hours, minutes = divmod(centiseconds // 6000, 60)
    degrees, arcminutes = divmod(deciseconds // 600, 60)
    return (
        f"J{hours:02d}{minutes:02d}{centiseconds % 6000 / 100:05.2f}"
        f"{'-' if dec < 0 else '+'}{degrees:02d}{arcminutes:02d}{deciseconds % 600 / 10:04.1f}"
    )


# --- radio


@dataclass(frozen=True)
class _RadioSource:
    """A double source: two jets from one core, each brightest at `peaks` of its length (Fanaroff & Riley 1974)."""

    label: str
    peaks: tuple[float, ...]  # below a half for FRI, above for FRII
    lengths: tuple[float, ...]  # pixels
    bends: tuple[float, ...]  # radians over the length of a jet
    angle: float
    balance: float  # share of the first jet in the light of both
    core: float  # flux over that of both jets
    fatness: float  # width of a jet at its end over its length
    dynamic_range: float  # peak over noise


def _describe_radio(rng: np.random.Generator) -> _RadioSource:
    kind = str(rng.choice(list(RADIO_KINDS), p=list(RADIO_KINDS.values())))
    uncertain = kind != "hybrid" and rng.random() < 1 / 3
    sides = {"FRI": ("FRI", "FRI"), "FRII": ("FRII", "FRII"), "hybrid": ("FRI", "FRII")}[kind]
    means = {"FRI": 0.42, "FRII": 0.58} if uncertain else {"FRI": 0.27, "FRII": 0.74}
    length = math.exp(rng.uniform(math.log(7), math.log(36)))
    bend = rng.normal(0, {"FRI": 0.8, "FRII": 0.35, "hybrid": 0.5}[kind])
    same = 1 if rng.random() < 0.6 else -1  # C-shaped or S-shaped
    return _RadioSource(
        label=f"{kind}_uncertain" if uncertain else kind,
        peaks=tuple(float(np.clip(rng.normal(means[side], 0.12), 0.03, 0.97)) for side in sides),
        lengths=tuple(float(length * math.exp(rng.normal(0, 0.2))) for _ in sides),
        bends=(bend, -same * bend),
        angle=float(rng.uniform(0, 2 * math.pi)),
        balance=float(rng.beta(5, 5)),
        core=float(math.exp(rng.normal(math.log(0.12 if kind == "FRI" else 0.04), 1.0))),
        fatness=float(rng.uniform(0.08, 0.28)),
        dynamic_range=float(10 ** rng.uniform(1.1, 2.3)),
    )


def _draw_radio(source: _RadioSource, rng: np.random.Generator) -> np.ndarray:
    """The image of `source`, uint8 (150, 150), prepared as MiraBest is: see `simulate_radio`."""
    from astropy.stats import sigma_clipped_stats
    from scipy.ndimage import gaussian_filter

    beam = 5.4 / 1.8 / 2.355  # of FIRST: 5.4 arcsec
    t = np.linspace(0.02, 1, 60)
    sky = np.zeros((RADIO_SIZE, RADIO_SIZE))
    jets = zip(source.peaks, source.lengths, source.bends, (source.balance, 1 - source.balance), strict=True)
    for i, (peak, length, bend, share) in enumerate(jets):
        wander = np.cumsum(rng.normal(0, 0.06, t.size))
        direction = source.angle + i * math.pi + bend * t + wander
        step = length / t.size
        x, y = np.cumsum(np.cos(direction)) * step, np.cumsum(np.sin(direction)) * step
        hotspot = 0.06 + 0.06 * rng.random()
        light = np.exp(-(((t - peak) / hotspot) ** 2) / 2) * rng.uniform(0.3, 1)
        # an FRI plume fades outwards from its peak, an FRII lobe flows back from its hotspot
        light += 0.35 * np.where(t > peak, np.exp(-(t - peak) / 0.3), np.exp(-(peak - t) / 0.35))
        light *= np.exp(rng.normal(0, 0.3, t.size))
        width = np.hypot(beam, source.fatness * length * np.clip(t, 0.15, None) ** 0.8)
        sky += share * _strand(x, y, width, light / light.sum(), RADIO_SIZE)
    centre = np.zeros(1)
    sky += source.core * _strand(centre, centre, np.array([beam]), np.ones(1), RADIO_SIZE)
    # both relative to the source alone, or a brighter neighbour would lift the threshold above all of a faint source
    peak = sky.max()
    for _ in range(rng.poisson(0.4)):
        x, y = rng.uniform(-70, 70, (2, 1))
        sky += _strand(x, y, np.array([beam]), np.array([0.5 * peak * beam**2 * rng.random()]), RADIO_SIZE)
    noise = gaussian_filter(rng.standard_normal(sky.shape), beam)
    sky += noise / noise.std() * peak / source.dynamic_range
    sky[sky <= 3 * sigma_clipped_stats(sky, sigma=3, maxiters=5)[2]] = 0
    y, x = np.indices(sky.shape) - (RADIO_SIZE - 1) / 2
    sky[np.hypot(x, y) > min(rng.uniform(1.3, 3.5) * max(source.lengths), RADIO_SIZE / 2)] = 0
    return np.rint(255 * sky / sky.max()).astype(np.uint8)


# --- deliveries


def _generator(seed: int, image: int, stream: int) -> np.random.Generator:
    return np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(image, stream)))


def _normalised(weights: Iterable[float]) -> np.ndarray:
    values = np.array(list(weights), dtype=float)
    return values / values.sum()


def _split(n_images: int, batches: Sequence[str]) -> list[str]:
    """The batch of every image, in order; sizes differ by one at most."""
    if not 0 < len(batches) <= n_images:
        raise ValueError(f"cannot spread {n_images} images over {len(batches)} batches")
    sizes = [len(part) for part in np.array_split(np.arange(n_images), len(batches))]
    return [batch for batch, size in zip(batches, sizes, strict=True) for _ in range(size)]


def _deliver(
    folder: Path,
    delivery: Sequence[str],
    files: Sequence[str],
    draw: Callable[[Any, np.random.Generator], np.ndarray],
    objects: Sequence[Any],
    seed: int,
    processes: int | None,
) -> None:
    """Draw the images of every batch that is absent: image i of `objects[i]` into `<folder>/<delivery[i]>/<files[i]>`.

    A batch is drawn in a hidden folder beside its place and renamed when it is whole.
    """
    folder.mkdir(parents=True, exist_ok=True)
    missing = [batch for batch in dict.fromkeys(delivery) if not (folder / batch).exists()]
    todo = sum(batch in missing for batch in delivery)
    if processes is None:
        processes = (os.cpu_count() or 1) if todo >= 2 * _CHUNK else 1
    done = len(delivery) - todo
    with ExitStack() as stack:
        hidden = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix=".unfinished.", dir=folder)))
        apply: Callable[..., Iterable[int]] = map
        if processes > 1:
            # spawned and not forked: a fork of a process in which torch or Arrow run threads can hang
            context = multiprocessing.get_context("spawn")
            apply = stack.enter_context(ProcessPoolExecutor(processes, mp_context=context)).map
        for batch in missing:
            images = [(i, objects[i], hidden / batch / files[i]) for i, name in enumerate(delivery) if name == batch]
            size = min(_CHUNK, math.ceil(len(images) / processes))
            chunks = [(draw, seed, images[start : start + size]) for start in range(0, len(images), size)]
            for count in apply(_draw_chunk, chunks):
                done += count
                log.info("%s: %d of %d images", folder.name.lstrip("."), done, len(delivery))
            (hidden / batch).rename(folder / batch)


def _draw_chunk(
    chunk: tuple[Callable[[Any, np.random.Generator], np.ndarray], int, list[tuple[int, Any, Path]]],
) -> int:
    from PIL import Image

    draw, seed, images = chunk
    for i, described, path in images:
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(draw(described, _generator(seed, i, _PIXELS))).save(path, compress_level=1)
    return len(images)


def _write_table(path: Path, columns: Sequence[str], rows: Iterable[Mapping[str, object]]) -> None:
    """Write a CSV unless it is there; cells without a value stay empty."""
    if path.exists():
        return
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    with beside.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.DictWriter(stream, columns, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    beside.replace(path)
