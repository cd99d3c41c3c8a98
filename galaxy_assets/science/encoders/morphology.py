"""What is measured of a galaxy's shape, light and colour, for a batch of images at once.

Belongs here: the formulae, on images from which the sky is subtracted. Does not belong here: the scale that makes the
values comparable, and the encoder made of them (`classical`).

Values are NaN or infinite where a formula has none, such as the ellipse of a region without pixels. Positions are in
pixels from the image's middle. Every value stays under mirroring and quarter turns.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

LEVELS = (0.0, 0.3, 0.5, 0.7, 0.9)
"""Share of the shining pixels that each isophote leaves out, from the outermost to the innermost."""
ANNULI = (0.0, 0.5, 1.0, 1.5, 2.0, 3.0)
"""Bounds of the annuli, in half-light radii."""

_SCATTER_OF_NORMAL = 1.4826  # standard deviation of a normal distribution, of its median absolute deviation
_ABOVE_SCATTER, _ABOVE_BRIGHTEST = 1.5, 0.05
_MIDDLE = 0.35  # of half the image's side: how fast a place counts less as the galaxy's, the further it is outside
_STEPS = 200  # of the flood; a spiral that is longer is cut off


class Moments(NamedTuple):
    """Light, centre and second moments of weights: each a tensor of the weights' leading shape."""

    total: Tensor
    x: Tensor
    y: Tensor
    xx: Tensor
    yy: Tensor
    xy: Tensor

    @property
    def variances(self) -> tuple[Tensor, Tensor]:
        """Along the major and the minor axis, pixels squared."""
        middle, spread = (self.xx + self.yy) / 2, torch.hypot((self.xx - self.yy) / 2, self.xy)
        return middle + spread, (middle - spread).clamp_min(0)

    @property
    def axis_ratio(self) -> Tensor:
        """Minor over major axis, 0 to 1 (Bertin & Arnouts 1996, 10.1.5)."""
        major, minor = self.variances
        return (minor / major).sqrt()


def coordinates(image: Tensor) -> tuple[Tensor, Tensor]:
    """Columns and rows from the middle of the image, each (S, S)."""
    axis = torch.arange(image.shape[-1], device=image.device, dtype=image.dtype) - (image.shape[-1] - 1) / 2
    return axis.expand(len(axis), -1), axis[:, None].expand(-1, len(axis))


def moments(weights: Tensor) -> Moments:
    """Centre and second moments of weights (..., S, S)."""
    x, y = coordinates(weights)
    total = weights.sum((-2, -1))

    def mean(values: Tensor) -> Tensor:
        return (weights * values).sum((-2, -1)) / total

    mx, my = mean(x), mean(y)
    dx, dy = x - mx[..., None, None], y - my[..., None, None]
    # a pixel is a square and no point: the moments of its own area
    return Moments(total, mx, my, mean(dx * dx) + 1 / 12, mean(dy * dy) + 1 / 12, mean(dx * dy))


def without_sky(channels: Tensor) -> Tensor:
    """Images (B, C, S, S) less the median of their borders, channel by channel."""
    return channels - _border(channels).median(-1).values[..., None, None]


def shining(image: Tensor) -> tuple[Tensor, Tensor]:
    """The pixels (B, S, S) that shine: those of the main galaxy, and all.

    Their 3x3 mean is above the sky by 1.5 of the border's scatters and by a twentieth of the brightest.
    """
    smooth, border = _mean(image, 3), _border(image)
    scatter = _SCATTER_OF_NORMAL * (border - border.median(-1).values[:, None]).abs().median(-1).values
    least = torch.maximum(_ABOVE_SCATTER * scatter, _ABOVE_BRIGHTEST * smooth.amax((-2, -1)))
    every = (smooth > least[:, None, None]) & (smooth > 0)
    x, y = coordinates(image)
    central = torch.exp(-(x**2 + y**2) / (2 * (_MIDDLE * image.shape[-1] / 2) ** 2))
    return connected(every[:, None], smooth * central)[:, 0], every


def connected(masks: Tensor, importance: Tensor) -> Tensor:
    """The part of each mask (B, L, S, S) that is connected to its pixel of the largest importance (B, S, S)."""
    inside = torch.where(masks, importance[:, None].clamp_min(1e-12), 0.0)
    reached, before = (inside == inside.amax((-2, -1), keepdim=True)) & masks, -1
    for step in range(_STEPS):
        for axis in (-1, -2):
            n = masks.shape[axis] - 1
            onward, backward = reached.narrow(axis, 0, n), reached.narrow(axis, 1, n)
            spread = reached.clone()
            spread.narrow(axis, 1, n).logical_or_(onward)
            spread.narrow(axis, 0, n).logical_or_(backward)
            reached = spread
        reached &= masks
        if step % 4 == 0:
            if (now := int(reached.sum())) == before:
                break
            before = now
    return reached


def light(image: Tensor, region: Tensor) -> dict[str, Tensor]:
    """What is measured of the light (B, S, S) in a region: each value (B,).

    Gini (Lotz et al. 2004, Eq. 6), M20 (Eq. 8), concentration 5 log10(r80 / r20) (Bershady et al. 2000), asymmetry
    under a half turn, least over centres (Conselice et al. 2000, Eq. 10, where the region takes the place of the sky's
    term), smoothness (Conselice 2003, Eq. 6), sizes, brightness and the axis ratio of the second moments.
    """
    given = torch.where(region, image, 0.0).clamp_min(0)
    m, pixels = moments(given), region.sum((-2, -1))
    x, y = coordinates(image)
    radius = torch.hypot(x - m.x[:, None, None], y - m.y[:, None, None])
    r20, r50, r80 = (r.clamp_min(0.5) for r in radii_of_shares(given, radius, (0.2, 0.5, 0.8)))
    ordered = given.flatten(1).sort(dim=1, descending=True).values
    outside = radius > 0.25 * r80[:, None, None]
    rough = (given - _mean(given, 5)).clamp_min(0) * outside * region
    side = image.shape[-1]
    return {
        "gini": gini(ordered, pixels),
        "m20": m20(given, radius, ordered),
        "concentration": 5 * torch.log10(r80 / r20),
        "asymmetry": asymmetry(given, m.x, m.y),
        "smoothness": rough.sum((-2, -1)) / m.total,
        "flux": torch.log10(m.total / side**2),
        "brightness": torch.log10(m.total / pixels),
        "half_light_radius": torch.log10(2 * r50 / side),
        "axis_ratio": m.axis_ratio,
        "area": pixels.sqrt() / side,
        **_peaks(_mean(image, 3), region, r50),
    }


def gini(ordered: Tensor, n: Tensor) -> Tensor:
    """Gini coefficient of the first n (B,) of falling, positive brightnesses (B, P) (Lotz et al. 2004, Eq. 6)."""
    rank = n[:, None] - torch.arange(ordered.shape[1], device=ordered.device)  # n, n - 1, ... 1 of the faintest
    return ((2 * rank - n[:, None] - 1) * ordered).sum(1) / (ordered.sum(1) * (n - 1))


def m20(given: Tensor, radius: Tensor, ordered: Tensor) -> Tensor:
    """log10 of the second moment of the brightest fifth of the light, of that of all (Lotz et al. 2004, Eq. 8).

    Light and distance from its centre (B, S, S), and the light in falling order (B, S S).
    """
    filled = ordered.cumsum(1) >= 0.2 * ordered.sum(1, keepdim=True)
    faintest = ordered.gather(1, filled.float().argmax(1, keepdim=True))[..., None]
    moment = given * radius**2
    return torch.log10((moment * (given >= faintest)).sum((-2, -1)) / moment.sum((-2, -1)))


def asymmetry(given: Tensor, x: Tensor, y: Tensor) -> Tensor:
    """Sum of |I - I180| / (2 sum of I), the least over nine centres a pixel about (x, y): 0 to 1, without overlap."""
    columns, rows = coordinates(given)
    half = given.shape[-1] / 2
    found = []
    for dx in (-1.0, 0.0, 1.0):
        for dy in (-1.0, 0.0, 1.0):
            turned = torch.stack(
                [(2 * (x + dx)[:, None, None] - columns) / half, (2 * (y + dy)[:, None, None] - rows) / half], dim=-1
            )
            other = F.grid_sample(given[:, None], turned, align_corners=False)[:, 0]
            found.append((given - other).abs().sum((-2, -1)))
    return torch.stack(found).amin(0) / (2 * given.sum((-2, -1)))


def radii_of_shares(given: Tensor, radius: Tensor, shares: Sequence[float]) -> list[Tensor]:
    """The radius (B,) of the circle as large as the nearest pixels that hold each share of the light.

    Light and distances from the centre (B, S, S). It is finer than the pixels' distances, which matters for r20.
    """
    order = radius.flatten(1).argsort(dim=1)
    grown = given.flatten(1).gather(1, order).cumsum(1)
    found = []
    for share in shares:
        wanted = share * grown[:, -1:]
        place = (grown >= wanted).float().argmax(1, keepdim=True)
        after, before = grown.gather(1, place), grown.gather(1, (place - 1).clamp_min(0)) * (place > 0)
        found.append(((place + (wanted - before) / (after - before)) / math.pi).sqrt()[:, 0])
    return found


def _peaks(smooth: Tensor, region: Tensor, r50: Tensor) -> dict[str, Tensor]:
    """How many places are brightest in 5x5 and above a fifth of the brightest, and the second beside the first."""
    x, y = coordinates(smooth)
    # of a plateau, such as a saturated core, the place nearest the middle counts, and four places alike count once
    levelled = torch.where(region, smooth, 0.0) * (1 - 1e-3 * (x**2 + y**2) / smooth.shape[-1] ** 2)
    highest = levelled.amax((-2, -1), keepdim=True)
    tops = (levelled == F.max_pool2d(levelled, 5, stride=1, padding=2)) & (levelled > 0.2 * highest)
    number = (tops / (25 * F.avg_pool2d(tops.float(), 5, stride=1, padding=2)).clamp_min(1)).sum((-2, -1))
    first = torch.where(tops, levelled, 0.0).flatten(1).argmax(1)
    distance = torch.hypot(
        x - x.flatten()[first][:, None, None],
        y - y.flatten()[first][:, None, None],
    )
    others = torch.where(tops & (distance > 3), levelled, 0.0).flatten(1).max(1)
    second = others.values / highest[:, 0, 0]
    apart = distance.flatten(1).gather(1, others.indices[:, None])[:, 0] / r50
    return {
        "peaks": torch.log2(1 + number),
        "second_peak": second,
        "second_distance": torch.where(second > 0, torch.log2(1 + apart), 0.0),
    }


def isophotes(image: Tensor, main: Tensor, every: Tensor) -> dict[str, Tensor]:
    """What is measured of the isophotes (`LEVELS`), each value (B, L): how each differs from its ellipse.

    `offset` and `twist` are from the innermost, (B, L - 1).

    As Astronomaly's ellipse features (Lochner & Bassett 2021, 3.2), with two differences: the ellipse is that of the
    region's moments, and residuals are in shares of the region's area.
    """
    smooth, n = _mean(image, 3), every.flatten(1).sum(1)
    ordered = torch.where(every, smooth, -torch.inf).flatten(1).sort(dim=1, descending=True).values
    kept = torch.stack([((1 - level) * n).ceil().long().clamp(1, ordered.shape[1]) - 1 for level in LEVELS], dim=1)
    faintest = ordered.gather(1, kept)[..., None, None]
    above = every[:, None] & (smooth[:, None] >= faintest)
    parts = connected(above, torch.where(main, smooth, 0.0)).float()
    m = moments(parts)
    x, y = coordinates(image)
    dx, dy = x - m.x[..., None, None], y - m.y[..., None, None]
    # an ellipse with these moments has x' C^-1 x <= 4
    determinant = (m.xx * m.yy - m.xy**2)[..., None, None]
    distance = m.yy[..., None, None] * dx**2 + m.xx[..., None, None] * dy**2 - 2 * m.xy[..., None, None] * dx * dy
    ellipse = (distance <= 4 * determinant).float()
    roundness = (1 - m.axis_ratio) / (m.xx + m.yy - 2 * m.variances[1]).clamp_min(1e-6)
    along, across = roundness * (m.xx - m.yy), roundness * 2 * m.xy
    return {
        "residual": (parts - ellipse).abs().sum((-2, -1)) / m.total,
        "offset": torch.hypot(m.x - m.x[:, -1:], m.y - m.y[:, -1:])[:, :-1] / m.total[:, :1].sqrt(),
        "ratio": m.axis_ratio,
        "twist": torch.hypot(along - along[:, -1:], across - across[:, -1:])[:, :-1],
        "connected": m.total / above.sum((-2, -1)),
    }


def profile(image: Tensor, main: Tensor) -> tuple[dict[str, Tensor], Tensor]:
    """Brightness, scatter and arms in elliptical annuli, and the elliptical radii (B, S, S) in half-light radii.

    `brightness` and `scatter` are (B, A): log10 of each annulus' mean of that within the half-light radius, and its
    standard deviation over its mean. `arms` is (B, 8): the amplitudes of the Fourier modes 1 to 4 of the light within
    the half-light radius and outside, over the light (Rix & Zaritsky 1995).
    """
    given = torch.where(main, image, 0.0).clamp_min(0)
    m = moments(given)
    x, y = coordinates(image)
    dx, dy = x - m.x[:, None, None], y - m.y[:, None, None]
    tilt = (torch.atan2(2 * m.xy, m.xx - m.yy) / 2)[:, None, None]
    major = dx * tilt.cos() + dy * tilt.sin()
    minor = (dy * tilt.cos() - dx * tilt.sin()) / m.axis_ratio.clamp_min(0.1)[:, None, None]
    radius = torch.hypot(major, minor)
    # the ellipse as large has the major axis r / sqrt(q)
    half = radii_of_shares(given, radius, [0.5])[0].clamp_min(0.5) / m.axis_ratio.clamp_min(0.1).sqrt()
    radius = radius / half[:, None, None]
    angle = torch.atan2(minor, major)
    inner = _mean_in(image, radius <= 1)
    brightness, scatter = [], []
    for low, high in zip(ANNULI[:-1], ANNULI[1:], strict=True):
        annulus = (radius > low) & (radius <= high)
        mean = _mean_in(image, annulus)
        variance = _mean_in((image - mean[:, None, None]) ** 2, annulus)
        brightness.append(torch.log10((mean / inner).clamp_min(1e-3)))
        scatter.append(variance.sqrt() / mean.abs().clamp_min(1e-2 * inner))
    arms = [
        torch.hypot((part * (k * angle).cos()).sum((-2, -1)), (part * (k * angle).sin()).sum((-2, -1)))
        / part.sum((-2, -1))
        for part in (given * (radius <= 1), given * (radius > 1))
        for k in (1, 2, 3, 4)
    ]
    values = {
        "brightness": torch.stack(brightness, 1),
        "scatter": torch.stack(scatter, 1),
        "arms": torch.stack(arms, 1),
    }
    return values, radius


def colours(channels: Tensor, main: Tensor, radius: Tensor) -> dict[str, Tensor]:
    """How red and how green the light is within the half-light radius, and the step to that outside; 0 of a grey image.

    Of three channels (B, 3, S, S): (c0 - c2) / (c0 + c1 + c2) and (2 c1 - c0 - c2) / (c0 + c1 + c2), sky subtracted.
    """

    def of(region: Tensor) -> tuple[Tensor, Tensor]:
        red, green, blue = (channels * region[:, None]).sum((-2, -1)).clamp_min(0).unbind(1)
        total = red + green + blue
        return (red - blue) / total, (2 * green - red - blue) / total

    (red, green), (outer_red, outer_green) = of(main & (radius <= 1)), of(main & (radius > 1))
    return {"red": red, "green": green, "redder_outside": outer_red - red, "greener_outside": outer_green - green}


def _border(images: Tensor) -> Tensor:
    """Pixels (..., n) of a frame a sixteenth of the side wide."""
    side = images.shape[-1]
    width = math.ceil(side / 16)
    rows = torch.cat([images[..., :width, :], images[..., -width:, :]], dim=-2).flatten(-2)
    columns = images[..., width:-width, :]
    return torch.cat([rows, columns[..., :width].flatten(-2), columns[..., -width:].flatten(-2)], dim=-1)


def _mean(images: Tensor, side: int) -> Tensor:
    """Mean of the pixels (B, S, S) about each; at the border of those that are there."""
    return F.avg_pool2d(images[:, None], side, stride=1, padding=side // 2, count_include_pad=False)[:, 0]


def _mean_in(values: Tensor, region: Tensor) -> Tensor:
    return (values * region).sum((-2, -1)) / region.sum((-2, -1))
