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

from galaxy_assets.science.cutouts import Cutout
from galaxy_assets.settings.cutouts import CutoutSettings

if TYPE_CHECKING:
    import torch

    from galaxy_assets.science.encoders.network import Encoder
    from galaxy_assets.settings.recipe import Recipe

QUANTILES = (0.5, 0.75, 0.95)
"""Of the sides of the clipped boxes, at which fixed boxes are tried; and at half of the median, the contour itself,
which faint halos and neighbours widen."""
IMAGE_SIZES = (64, 96, 128)
ORIENTATIONS: tuple[Literal[1, 4, 8], ...] = (1, 4, 8)
NUISANCES = ("sky", "noise", "source", "offset", "width", "height")
"""What should not decide where a galaxy lies among the features: level of the sky and its noise, in units of the image,
side of the source, distance of its box from the frame's centre, and the frame's sides, in pixels."""

_SIZES = 128, 300  # least and greatest side of a stored cutout that is chosen: every image size can be made of it
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

    def joined(self, words: str, **settings: Any) -> "Candidate":
        """With further words in its name, and further settings."""
        return Candidate(self.name + words, self.settings | settings)


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
        all nearby, turned and not; fixed boxes at QUANTILES of the clipped boxes and at half of the median, those below
        nine tenths of the frame; the whole frame.

    Examples
    --------
    >>> from galaxy_assets.science.trials import frames
    >>> open_keys = ["cutout.method", "cutout.central_pixels"]
    >>> [one.name for one in frames(CutoutSettings(), open_keys, [40.0] * 30, 200)]
    ['sigma clip', 'flux radius', 'central 20 px', 'central 40 px', 'whole']
    """
    quantiles = np.quantile(sides, QUANTILES) if len(sides) >= _FEW else frame * np.array(_SHARES)
    boxes = _distinct([_rounded(side) for side in (quantiles[0] / 2, *quantiles)], 0.9 * frame)
    reach = _rounded(max(quantiles))
    if "cutout.central_pixels" not in is_open and cutout.central_pixels:
        boxes, reach = [cutout.central_pixels], cutout.central_pixels
    sources = ("central", "nearby") if "cutout.source" in is_open else (cutout.source,)
    found = [Candidate("sigma clip", {"cutout.method": "sigma_clip", "cutout.enlarge": 2.0})]
    for source in sources:
        for align in (False, True):
            within = {"cutout.central_pixels": reach} if source == "nearby" else {}
            words = [f"{source} " if source != "central" else "", "flux radius", ", aligned" if align else ""]
            settings = {"cutout.method": "flux_radius", "cutout.source": source, "cutout.align": align, **within}
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


def stored_size(sides: Sequence[float]) -> int:
    """Side of the stored cutout, pixels: nine of ten boxes are no wider, and every image size can be made of it."""
    return int(np.clip(round(np.quantile(sides, 0.9)), *_SIZES))


class Seen(NamedTuple):
    """What is measured of one image, whatever the candidate: values of NUISANCES, and the clipped box's longer side.

    Attributes
    ----------
    nuisance : tuple of float
        NaN where there is no source.
    side : float or None
        None where no box was clipped.
    """

    nuisance: tuple[float, ...]
    side: float | None


def seen(shape: Sequence[int], clipped: Cutout, sigma: float) -> Seen:
    """Measure an image by its sigma clipping.

    Parameters
    ----------
    shape : sequence of int
        Of the image, (H, W) or (H, W, C).
    clipped : Cutout
        The image after `cut` by `sigma_clip`, with a box.
    sigma : float
        The limit it was clipped at.

    Returns
    -------
    Seen
    """
    height, width = shape[:2]
    x0, y0, x1, y1 = clipped.box or (0, 0, width, height)
    offset = math.hypot((x0 + x1 - width) / 2, (y0 + y1 - height) / 2)
    sky = clipped.threshold - sigma * clipped.noise_std
    nuisance = sky, clipped.noise_std, math.sqrt(clipped.contour_area), offset, float(width), float(height)
    return Seen(nuisance, float(max(x1 - x0, y1 - y0)) if clipped.outcome == "cropped" else None)


class Features(NamedTuple):
    """Features of N images by one candidate.

    Attributes
    ----------
    plain : ndarray of shape (N, D)
        Of the images themselves, averaged over the candidate's orientations.
    one, two : ndarray of shape (N, D)
        Of two random views of each, averaged alike.
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
    import torch

    from galaxy_assets.science.augmentation import augment
    from galaxy_assets.science.encoders.embedding import embed, for_inference, oriented

    plain = embed(encoder, pixels, device=device, orientations=orientations)
    views = [np.empty_like(plain) for _ in range(2)]
    network, generator = for_inference(encoder, device, pixels.shape[1]), torch.Generator().manual_seed(recipe.seed)
    with torch.inference_mode():
        for begin in range(0, len(pixels), _AT_ONCE):
            rows = slice(begin, begin + _AT_ONCE)
            images = torch.from_numpy(np.ascontiguousarray(pixels[rows])).to(device).permute(0, 3, 1, 2)
            for features in views:
                view = augment(images, recipe, generator, pixels.shape[1])
                means = torch.stack([network(one).float() for one in oriented(view, orientations)]).mean(0)
                features[rows] = means.cpu().numpy()
    return Features(plain, *views)


CRITERIA = {
    "stability": "share of a view's ten nearest images that are also among the ten nearest of the other view, 0 to 1",
    "effective_rank": "dimensions that the features fill, by the entropy of their singular values",
    "alignment": "mean squared distance of two views of an image on the unit sphere, 0 (alike) to 4",
    "uniformity": "logarithm of the mean of exp(-2 d^2) over pairs of images on the unit sphere; 0 where all are alike",
    "nuisance_share": "share of the features' variance that a linear map of sky, noise, size and place explains, 0 to "
    "1; 0 where all images have the same",
}
"""What is measured of a candidate, and what it says."""


def score(features: Features, nuisance: np.ndarray) -> dict[str, float]:
    """Criteria of one candidate, without labels.

    Parameters
    ----------
    features : Features
        Of N images.
    nuisance : ndarray of shape (N, K)
        Values of NUISANCES of each; NaN where unknown.

    Returns
    -------
    dict of str to float
        By the names of CRITERIA.
    """
    from galaxy_assets.science.health import from_features

    health = from_features(*features).asdict()
    return {name: health[name] for name in CRITERIA if name in health} | {
        "nuisance_share": explained_share(features.plain, nuisance)
    }


def explained_share(features: np.ndarray, by: np.ndarray) -> float:
    """Share of the features' variance that a linear map of other columns explains, R squared of all together.

    Parameters
    ----------
    features : ndarray of shape (N, D)
    by : ndarray of shape (N, K)
        NaN counts as the column's mean.

    Returns
    -------
    float
        0 to 1.

    Examples
    --------
    >>> import numpy as np
    >>> from galaxy_assets.science.trials import explained_share
    >>> x = np.arange(6.0)[:, None]
    >>> round(explained_share(np.hstack([x, x**0]), 2 * x), 6), explained_share(x, x**0)
    (1.0, 0.0)
    """
    known = np.where(np.isfinite(by), by, np.nan)
    centred = np.nan_to_num(known - _means(known))
    spread = centred.std(0)
    centred = centred[:, spread > 0] / spread[spread > 0]
    values = features - features.mean(0, dtype=np.float64)
    whole = float((values**2).sum())
    if not centred.shape[1] or not whole:
        return 0.0
    basis, singular, _ = np.linalg.svd(centred, full_matrices=False)
    basis = basis[:, singular > 1e-9 * singular[0]]
    return float(((basis.T @ values) ** 2).sum() / whole)


def _means(columns: np.ndarray) -> np.ndarray:
    n = np.isfinite(columns).sum(0)
    return np.nansum(columns, 0) / np.maximum(n, 1)


def choose(rows: Sequence[Mapping[str, Any]]) -> tuple[int, str]:
    """The candidate that is taken, of those that were measured on the same images, and why.

    Parameters
    ----------
    rows : sequence of mapping
        One per candidate, with `candidate`, its name, and the CRITERIA.

    Returns
    -------
    index : int
        Of the row; the first of equal ones.
    reason : str

    Examples
    --------
    >>> from galaxy_assets.science.trials import choose
    >>> choose([{"candidate": "whole", "stability": 0.2}, {"candidate": "central 90 px", "stability": 0.3}])
    (1, 'central 90 px: its neighbours are the stablest across views of 2 candidates (0.300; next whole, 0.200)')
    """
    order = sorted(range(len(rows)), key=lambda i: -rows[i]["stability"])
    best = rows[order[0]]
    if len(rows) == 1:
        return 0, f"{best['candidate']}: the only candidate"
    after = rows[order[1]]
    return order[0], (
        f"{best['candidate']}: its neighbours are the stablest across views of {len(rows)} candidates "
        f"({best['stability']:.3f}; next {after['candidate']}, {after['stability']:.3f})"
    )
