"""Simulated radio galaxies: what is true of a double source, and its image, prepared as MiraBest is.

Belongs here: describing and drawing a source. Does not belong here: files (`writing`).

Lengths are in pixels of 1.8 arcsec.
"""

import math
from dataclasses import dataclass

import numpy as np

from galaxy_assets.simulation.light import strand

RADIO_KINDS = {"FRI": 0.46, "FRII": 0.48, "hybrid": 0.06}
"""Fanaroff-Riley classes and their shares of the radio images; a third of the FRI and FRII are uncertain"""

RADIO_SIZE = 150  # pixels


@dataclass(frozen=True)
class RadioSource:
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


def describe_radio(rng: np.random.Generator) -> RadioSource:
    """A double source at random, of the classes in the shares of RADIO_KINDS.

    Parameters
    ----------
    rng : numpy.random.Generator
        Of the image's parameters.

    Returns
    -------
    RadioSource
    """
    kind = str(rng.choice(list(RADIO_KINDS), p=list(RADIO_KINDS.values())))
    uncertain = kind != "hybrid" and rng.random() < 1 / 3
    sides = {"FRI": ("FRI", "FRI"), "FRII": ("FRII", "FRII"), "hybrid": ("FRI", "FRII")}[kind]
    means = {"FRI": 0.42, "FRII": 0.58} if uncertain else {"FRI": 0.27, "FRII": 0.74}
    length = math.exp(rng.uniform(math.log(7), math.log(36)))
    bend = rng.normal(0, {"FRI": 0.8, "FRII": 0.35, "hybrid": 0.5}[kind])
    same = 1 if rng.random() < 0.6 else -1  # C-shaped or S-shaped
    return RadioSource(
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


def draw_radio(source: RadioSource, rng: np.random.Generator) -> np.ndarray:
    """The image of a source, prepared as MiraBest is: see `surveys.simulate_radio`.

    Parameters
    ----------
    source : RadioSource
        As `describe_radio` makes it.
    rng : numpy.random.Generator
        Of the image's pixels.

    Returns
    -------
    numpy.ndarray of shape (150, 150), uint8
    """
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
        sky += share * strand(x, y, width, light / light.sum(), RADIO_SIZE)
    centre = np.zeros(1)
    sky += source.core * strand(centre, centre, np.array([beam]), np.ones(1), RADIO_SIZE)
    # both relative to the source alone, or a brighter neighbour would lift the threshold above all of a faint source
    peak = sky.max()
    for _ in range(rng.poisson(0.4)):
        x, y = rng.uniform(-70, 70, (2, 1))
        sky += strand(x, y, np.array([beam]), np.array([0.5 * peak * beam**2 * rng.random()]), RADIO_SIZE)
    noise = gaussian_filter(rng.standard_normal(sky.shape), beam)
    sky += noise / noise.std() * peak / source.dynamic_range
    sky[sky <= 3 * sigma_clipped_stats(sky, sigma=3, maxiters=5)[2]] = 0
    y, x = np.indices(sky.shape) - (RADIO_SIZE - 1) / 2
    sky[np.hypot(x, y) > min(rng.uniform(1.3, 3.5) * max(source.lengths), RADIO_SIZE / 2)] = 0
    return np.rint(255 * sky / sky.max()).astype(np.uint8)
