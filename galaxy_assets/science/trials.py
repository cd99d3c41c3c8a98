"""Ways of preparing a survey's images, tried on a sample with a network as it was pretrained, and the choice of one.

Belongs here: which candidates there are, what is measured of each without labels, and the rule that chooses. Does not
belong here: reading images and keeping rows (`orchestration.assets.trials`), which settings are open
(`settings.tuning`).
"""

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import numpy as np

from galaxy_assets.settings.cutouts import MOST_STORED, CutoutSettings

if TYPE_CHECKING:
    import torch

    from galaxy_assets.science.encoders.network import Encoder
    from galaxy_assets.settings.recipe import Recipe
    from galaxy_assets.settings.survey import Survey

FEWEST = 20
"""Images that show something; neighbours of fewer say nothing, and no way of cutting is tried."""
QUANTILES = (0.5, 0.75, 0.95)
"""Of the sides of the clipped boxes, at which fixed boxes are tried."""
IMAGE_SIZE = 64
"""Side at which the network reads the images, pixels. In the frame that is chosen, more pixels make no labelled survey
better by more than 1.3 points, most of them worse, and nothing without labels tells which (docs/representation.md)."""
ORIENTATIONS: tuple[Literal[4], Literal[8]] = (4, 8)
"""Of cutouts whose major axis lies level, and of others."""
CONTRAST = 0.2, 0.6
"""Least and greatest contrast of views that is chosen; the range of what was tried (docs/representation.md)."""
NUISANCES = ("sky", "noise", "side", "frame")
"""What should not decide where a galaxy lies among the features: median and scatter of a cutout's border, side of its
box and of its image, pixels."""

_SIZES = 128, 300  # least and greatest side of a stored cutout that is chosen where the network reads no more
_FEW = 10  # clipped boxes below which their quantiles say nothing
_SHARES = (0.3, 0.5, 0.7)  # of the frame, for fixed boxes where nothing was clipped
_TURNED = 15.0  # degrees, largest rotation of a view where the cutouts are aligned (docs/representation.md)
_ENLARGE, _FRACTION = 1.6, 0.85  # of `flux_radius`, as surveys are proposed with it
_AT_ONCE = 64  # images


@dataclass(frozen=True)
class Candidate:
    """One way of preparing the images.

    Attributes
    ----------
    name : str
        In words.
    settings : dict of str to Any
        Setting, as `settings.tuning.KEYS` has them, -> value.
    """

    name: str
    settings: dict[str, Any]


def frames(cutout: CutoutSettings, is_open: Collection[str], sides: Sequence[float], frame: int) -> list[Candidate]:
    """The ways of cutting that are tried: each that agrees with what a person has set.

    Parameters
    ----------
    cutout : CutoutSettings
        The survey's; those that are not open hold for every candidate.
    is_open : collection of str
        Settings that are left to the trials, as `settings.tuning.KEYS`.
    sides : sequence of float
        Longer sides of the boxes that sigma clipping finds, pixels.
    frame : int
        Side of the images, pixels.

    Returns
    -------
    list of Candidate
        At least one. The enlarged box around the clipped contour; the radius of the flux, of the central source and of
        all nearby, turned and not; fixed boxes at QUANTILES of the clipped boxes, those below nine tenths of the frame,
        or the frame's side where nothing but `central` may be; the whole frame.

    Examples
    --------
    >>> from galaxy_assets.science.trials import frames
    >>> open_keys = ["cutout.method", "cutout.central_pixels"]
    >>> [one.name for one in frames(CutoutSettings(), open_keys, [40.0] * 30, 200)]
    ['sigma clip', 'flux radius', 'central 40 px', 'whole']
    """
    quantiles = np.quantile(sides, QUANTILES) if len(sides) >= _FEW else frame * np.array(_SHARES)
    boxes = _distinct([_rounded(side) for side in quantiles], 0.9 * frame)
    if not boxes and cutout.method == "central":
        boxes = [max(frame, 1)]
    if "cutout.central_pixels" not in is_open and cutout.central_pixels:
        boxes = [cutout.central_pixels]
    sources = ("central", "nearby") if "cutout.source" in is_open else (cutout.source,)
    found = [Candidate("sigma clip", {"cutout.method": "sigma_clip", "cutout.enlarge": 2.0})]
    for source in sources:
        for align in (False, True):
            words = [f"{source} " if source != "central" else "", "flux radius", ", aligned" if align else ""]
            settings = {"cutout.method": "flux_radius", "cutout.source": source, "cutout.align": align}
            by_flux = {"cutout.enlarge": _ENLARGE, "cutout.flux_fraction": _FRACTION}
            found.append(Candidate("".join(words), settings | by_flux))
    found += [
        Candidate(f"central {side} px", {"cutout.method": "central", "cutout.central_pixels": side}) for side in boxes
    ]
    found.append(Candidate("whole", {"cutout.method": "whole"}))
    kept = [Candidate(c.name, _open(c.settings, is_open)) for c in found if _agrees(c.settings, cutout, is_open)]
    return kept or [Candidate(f"as set ({cutout.method})", {})]


def _rounded(side: float) -> int:
    """Two digits, so that another sample of the same survey gives the same box."""
    step = 10 ** max(int(math.log10(max(side, 1))) - 1, 0)
    return max(int(round(side / step)) * step, 16)


def _distinct(sides: Sequence[int], most: float) -> list[int]:
    """Rising, each larger than the one before by an eighth at least, all below `most`."""
    found: list[int] = []
    for side in sorted(side for side in sides if side < most):
        if not found or side >= 1.125 * found[-1]:
            found.append(side)
    return found


def _agrees(settings: Mapping[str, Any], cutout: CutoutSettings, is_open: Collection[str]) -> bool:
    """Whether a candidate is what a person has set, in all that is not open; the factors follow the person."""
    named = {f"cutout.{key}": getattr(cutout, key) for key in ("method", "source", "align", "central_pixels")}
    defaults = {"cutout.source": "central", "cutout.align": False}
    for key, value in named.items():
        given = settings.get(key, defaults.get(key))
        if key not in is_open and given is not None and given != value:
            return False
    return True


def _open(settings: Mapping[str, Any], is_open: Collection[str]) -> dict[str, Any]:
    turned = {"recipe.rotation_maximum": _TURNED} if settings.get("cutout.align") else {}
    return {key: value for key, value in {**settings, **turned}.items() if key in is_open}


def stored_size(sides: Sequence[float], read: int) -> int:
    """Side of the stored cutout, pixels: nine of ten boxes are no wider, and the side that is read is made of it."""
    return min(max(int(np.clip(round(np.quantile(sides, 0.9)), *_SIZES)), read), MOST_STORED)


def distinct(cuts: Sequence[Sequence[bytes]]) -> list[int]:
    """Which candidates cut at least one image otherwise than every candidate before them.

    Equal candidates would count twice where criteria are taken in standard deviations of the candidates.

    Parameters
    ----------
    cuts : sequence of sequence of bytes
        Of each candidate, a digest of each cutout of the same images.

    Returns
    -------
    list of int
        Rising; the first is 0.

    Examples
    --------
    >>> from galaxy_assets.science.trials import distinct
    >>> distinct([[b"a", b"a"], [b"a", b"a"], [b"a", b"b"]])
    [0, 2]
    """
    return [i for i, own in enumerate(cuts) if own not in cuts[:i]]


def by_rule(survey: "Survey", sides: Sequence[float], pixels: np.ndarray) -> dict[str, Any]:
    """The settings that follow from a frame without a trial.

    Parameters
    ----------
    survey : Survey
        With the frame.
    sides : sequence of float
        Longer sides of its boxes, pixels.
    pixels : ndarray of shape (N, H, H, C), uint8
        Its cutouts, at the side that the network reads.

    Returns
    -------
    dict of str to Any
        Side of the stored cutout, that side, one of ORIENTATIONS, and the contrast of the views, `brightness_spread`
        between the ends of CONTRAST.
    """
    from galaxy_assets.science.augmentation import brightness_spread

    return {
        "cutout.size": stored_size(sides, pixels.shape[1]),
        "recipe.image_size": pixels.shape[1],
        "recipe.orientations": ORIENTATIONS[0] if survey.cutout.align else ORIENTATIONS[1],
        "recipe.contrast": round(float(np.clip(brightness_spread(pixels), *CONTRAST)), 2),
    }


def nuisances(pixels: np.ndarray, sides: Sequence[float], frames: Sequence[float]) -> np.ndarray:
    """What should not decide where a galaxy lies, of cutouts.

    Parameters
    ----------
    pixels : ndarray of shape (N, H, H, C), uint8
        Cutouts of one candidate.
    sides, frames : sequence of float, length N
        Longer sides of their boxes and of the images, pixels.

    Returns
    -------
    ndarray of shape (N, 4), float64
        NUISANCES of each.
    """
    _, sky, scatter = _sky(pixels)
    return np.column_stack([sky, scatter, sides, frames]).astype(float)


def fill(pixels: np.ndarray) -> np.ndarray:
    """Share of each cutout that shines: above the median of its border by three of its scatters and six levels.

    Parameters
    ----------
    pixels : ndarray of shape (N, H, H, C), uint8

    Returns
    -------
    ndarray of shape (N,), float64
        0 to 1.

    Examples
    --------
    >>> import numpy as np
    >>> from galaxy_assets.science.trials import fill
    >>> pixels = np.zeros((1, 32, 32, 1), np.uint8)
    >>> pixels[:, 8:24, 8:24] = 200
    >>> fill(pixels).tolist()
    [0.25]
    """
    grey, sky, scatter = _sky(pixels)
    limit = sky + 3 * (1.4826 * scatter + 2)
    return (grey > limit[:, None, None]).mean(axis=(1, 2))


def _sky(pixels: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Mean of the channels (N, H, H), and median and scatter (N,) of its outer eighth."""
    grey = pixels.mean(axis=3, dtype=np.float32)
    margin = max(grey.shape[1] // 8, 1)
    inside = np.zeros(grey.shape[1:], bool)
    inside[margin:-margin, margin:-margin] = True
    border = grey[:, ~inside]
    sky = np.median(border, axis=1)
    return grey, sky, np.median(np.abs(border - sky[:, None]), axis=1)


class Features(NamedTuple):
    """Features of N images by one candidate.

    Attributes
    ----------
    plain : ndarray of shape (N, D)
        Of the images themselves, averaged over the candidate's orientations.
    one, two : ndarray of shape (N, D)
        Of two random views of each, in one orientation.
    """

    plain: np.ndarray
    one: np.ndarray
    two: np.ndarray


def features_of(
    encoder: "Encoder", pixels: np.ndarray, recipe: "Recipe", orientations: Literal[1, 4, 8], device: "torch.device"
) -> Features:
    """Features of images and of two views of each, drawn as in training.

    The views are the same at every call.

    Parameters
    ----------
    encoder : Encoder
        Stays as it is.
    pixels : ndarray of shape (N, H, H, C), uint8
        Cutouts at the network's input size.
    recipe : Recipe
        Its augmentation and seed.
    orientations : {1, 4, 8}
        See `encoders.embedding.embed`.
    device : torch.device

    Returns
    -------
    Features
    """
    from galaxy_assets.science.encoders.embedding import embed
    from galaxy_assets.science.health import features_of_views

    plain, every = embed(encoder, pixels, device=device, orientations=orientations), np.arange(len(pixels))
    return Features(plain, *features_of_views(encoder, pixels, every, recipe, device, pixels.shape[1], _AT_ONCE))


CRITERIA = {
    "stability": "share of a view's ten nearest images that are also among the ten nearest of the other view, 0 to 1",
    "nuisance_share": "share of the features' variance that sky, noise, side of the box and side of the image explain, "
    "with their squares, beyond what as many numbers at random would: at most 1, and 0 in the mean of such numbers",
    "fill": "share of the cutouts' pixels that shine above the sky, 0 to 1",
    "empty": "share of the cutouts in which nothing shines, 0 to 1",
    "effective_rank": "dimensions that the features fill, by the entropy of their singular values; decides nothing",
    "alignment": "mean squared distance of two views of an image on the unit sphere, 0 (alike) to 4; decides nothing",
    "uniformity": "logarithm of the mean of exp(-2 d^2) over pairs of images on the unit sphere; decides nothing",
}
"""What is measured of a candidate, and what it says."""
_SHINES = 0.001  # of a cutout's pixels
_LOSES = 0.02  # more empty cutouts, as a share of all, than another frame has: it loses galaxies, and is not chosen
_DECIDING = {"stability": 1, "nuisance_share": -1, "fill": 1}
_SPREAD = 0.002  # of a criterion among the candidates, at least: what differs by less says nothing, and had full weight
_DIGITS = 9  # to which scores and shares are compared: the order of a sum decides nothing


def criteria(features: Features, pixels: np.ndarray, nuisance: np.ndarray) -> dict[str, float]:
    """Criteria of one candidate, without labels.

    Parameters
    ----------
    features : Features
        Of N images.
    pixels : ndarray of shape (N, H, H, C), uint8
        Their cutouts.
    nuisance : ndarray of shape (N, K)
        See `nuisances`.

    Returns
    -------
    dict of str to float
        By the names of CRITERIA.
    """
    from galaxy_assets.science.health import from_features

    health, filled = from_features(*features).asdict(), fill(pixels)
    measured = health | {
        "nuisance_share": explained_share(features.plain, np.hstack([nuisance, nuisance**2])),
        "fill": float(filled.mean()),
        "empty": float((filled < _SHINES).mean()),
    }
    return {name: measured[name] for name in CRITERIA}


def explained_share(features: np.ndarray, by: np.ndarray) -> float:
    """Share of the features' variance that a linear map of other columns explains, adjusted R squared of all together.

    As it is, R squared is K / (N - 1) in the mean for columns at random, and so favours candidates with fewer columns
    that vary, as a box of fixed side has.

    Parameters
    ----------
    features : ndarray of shape (N, D)
    by : ndarray of shape (N, K)

    Returns
    -------
    float
        At most 1, and 0 in the mean for columns that have nothing to do with the features; 0 where there are not more
        images than columns by two, which say nothing.
    """
    centred = by - by.mean(0)
    spread = centred.std(0)
    centred = centred[:, spread > 0] / spread[spread > 0]
    values = features - features.mean(0, dtype=np.float64)
    whole = float((values**2).sum())
    if not centred.shape[1] or not whole:
        return 0.0
    basis, singular, _ = np.linalg.svd(centred, full_matrices=False)
    basis = basis[:, singular > 1e-9 * singular[0]]
    left = len(by) - 1 - basis.shape[1]
    unexplained = 1 - float(((basis.T @ values) ** 2).sum() / whole)
    return 1 - unexplained * (len(by) - 1) / left if left > 0 else 0.0


def scores(rows: Sequence[Mapping[str, Any]]) -> np.ndarray:
    """How good each candidate is among these: the mean of three criteria, in standard deviations of the candidates.

    A standard deviation below .002 counts as that; on seven labelled sets the least was .003 (docs/representation.md).
    A good frame has neighbours that are stable across views, features that do not follow the sky, the noise or the side
    of the box, and a galaxy that fills it. Each of the three alone fails on some survey (docs/representation.md).

    Parameters
    ----------
    rows : sequence of mapping
        One per candidate, with the CRITERIA.

    Returns
    -------
    ndarray of shape (len(rows),), float64
        0 in the mean; rounded, so that equal candidates have equal scores.
    """
    total = np.zeros(len(rows))
    for name, sign in _DECIDING.items():
        values = sign * np.array([row[name] for row in rows], float)
        total += (values - values.mean()) / max(values.std(), _SPREAD)
    return np.round(total / len(_DECIDING), _DIGITS) + 0.0  # and not -0


def choose(rows: Sequence[Mapping[str, Any]]) -> tuple[int, str]:
    """The candidate that is taken, of those that were measured on the same images, and why.

    Parameters
    ----------
    rows : sequence of mapping
        One per candidate, with `candidate`, its name, and the CRITERIA.

    Returns
    -------
    index : int
        Of the row with the highest of `scores`, the first of equal ones. A frame with 2 % more empty cutouts than
        another has is not chosen.
    reason : str

    Examples
    --------
    >>> from galaxy_assets.science.trials import choose
    >>> whole = {"candidate": "whole", "stability": 0.2, "nuisance_share": 0.1, "fill": 0.1, "empty": 0}
    >>> choose([whole, whole | {"candidate": "central 90 px", "stability": 0.3, "fill": 0.2}])
    (1, 'central 90 px: stability 0.300, nuisance 0.100, fill 0.200; score +0.67, next whole, -0.67, of 2 candidates')
    """
    if len(rows) == 1:
        return 0, f"{rows[0]['candidate']}: the only candidate"
    found = scores(rows)
    empty = np.array([row["empty"] for row in rows])
    order = np.lexsort([-found, np.round(empty - empty.min(), _DIGITS) > _LOSES]).tolist()
    best, after = (rows[i] for i in order[:2])
    return order[0], (
        f"{best['candidate']}: stability {best['stability']:.3f}, nuisance {best['nuisance_share']:.3f}, fill "
        f"{best['fill']:.3f}; score {found[order[0]]:+.2f}, next {after['candidate']}, {found[order[1]]:+.2f}, of "
        f"{len(rows)} candidates"
    )
