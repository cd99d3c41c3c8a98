"""How healthy a representation is, read without labels: dimensions, alignment, uniformity, stability.

Belongs here: what can be measured on features and views alone, and the choice of an epoch by it. Does not belong here:
anything that knows a label (`neighbours.knn_accuracies`).
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import torch
from torch.nn import functional as F

from galaxy_assets.science.augmentation import augment
from galaxy_assets.science.encoders.embedding import embed, for_inference
from galaxy_assets.science.encoders.network import Encoder, Images

if TYPE_CHECKING:
    from galaxy_assets.settings.recipe import Recipe

LEAST_COMPONENTS = 10
"""Principal components for 95 % of the variance below which a representation counts as collapsed."""

_NEIGHBOURS = 10
_CLEARLY = 1.2  # of two stabilities; at .03 of a thousand galaxies one standard error of each is 6 %


@dataclass(frozen=True)
class Health:
    """Measures of one epoch's features on a sample of N galaxies, D features.

    Attributes
    ----------
    effective_rank : float
        See `effective_rank`. It, `pcs_95`, `uniformity` and `feature_std` are of the features averaged over the
        recipe's orientations, as `embeddings` are.
    pcs_95 : int
        Principal components that hold 95 % of the variance (paper 4.2).
    alignment : float
        Mean squared distance of two random views of a galaxy on the unit sphere, 0 to 4; 0 where augmentation changes
        nothing (Wang & Isola 2020).
    uniformity : float
        Logarithm of the mean of exp(-2 d^2) over pairs of galaxies on the unit sphere, -4 or less where they spread
        evenly over many dimensions, 0 where all are one point (Wang & Isola 2020).
    feature_std : float
        Mean over features of their standard deviation on the unit sphere, times sqrt(D): near 1 where they spread, 0
        where all galaxies are one point (Chen & He 2021).
    stability : float
        Share of a view's ten nearest galaxies that are also among the ten nearest of the other view, averaged; about
        10 / N by chance.
    """

    effective_rank: float
    pcs_95: int
    alignment: float
    uniformity: float
    feature_std: float
    stability: float

    asdict = asdict


def measure(encoder: Encoder, pixels: Images, indices: np.ndarray, recipe: "Recipe", device: torch.device) -> Health:
    """Measure the health of an encoder's features, with views as in training.

    The views are the same at every call.

    Parameters
    ----------
    encoder : Encoder
        Stays as it is.
    pixels : Images
        uint8 (N, H, H, C).
    indices : ndarray of int
        Galaxies to measure on.
    recipe : Recipe
        Its augmentation, orientations and seed.
    device : torch.device

    Returns
    -------
    Health

    Raises
    ------
    ValueError
        Where features are not finite.
    """
    plain = embed(encoder, pixels, indices=indices, device=device, orientations=recipe.orientations)
    size, at_once = recipe.image_size, recipe.batch_size
    return from_features(plain, *features_of_views(encoder, pixels, indices, recipe, device, size, at_once))


def features_of_views(
    encoder: Encoder,
    pixels: Images,
    indices: np.ndarray,
    recipe: "Recipe",
    device: torch.device,
    size: int,
    at_once: int,
) -> tuple[np.ndarray, np.ndarray]:
    """Features of two random views of each image, drawn as in training and alike at every call.

    Parameters
    ----------
    encoder : Encoder
        Stays as it is.
    pixels : Images
        uint8 (N, H, H, C).
    indices : ndarray of int
        Which of them.
    recipe : Recipe
        Its augmentation and seed.
    device : torch.device
    size : int
        Side of the views, pixels.
    at_once : int
        Images in a batch; the draws depend on it.

    Returns
    -------
    one, two : ndarray of shape (len(indices), D), float32
    """
    one, two = (np.empty((len(indices), encoder.feature_size), np.float32) for _ in range(2))
    network, generator = for_inference(encoder, device, size), torch.Generator().manual_seed(recipe.seed)
    with torch.inference_mode():
        for begin in range(0, len(indices), at_once):
            rows = slice(begin, begin + at_once)
            images = torch.from_numpy(pixels[indices[rows]]).to(device).permute(0, 3, 1, 2)
            views = [augment(images, recipe, generator, size) for _ in range(2)]
            for features, view in zip((one, two), views, strict=True):
                features[rows] = network(view).float().cpu().numpy()
    return one, two


def from_features(plain: np.ndarray, one: np.ndarray, two: np.ndarray) -> Health:
    """Measure the health of features that are computed already.

    Parameters
    ----------
    plain : ndarray of shape (N, D)
        Features of the images themselves; N is at least 2.
    one, two : ndarray of shape (N, D)
        Features of two random views of each.

    Returns
    -------
    Health

    Raises
    ------
    ValueError
        Where features are not finite.
    """
    rank, components = effective_rank(plain), components_for(plain)
    sphere, first, second = (F.normalize(torch.from_numpy(f).double()) for f in (plain, one, two))
    pairs = torch.pdist(sphere.float()).double()
    k = min(_NEIGHBOURS, len(plain) - 1)
    near = [torch.cdist(v, v).fill_diagonal_(torch.inf).topk(k, largest=False).indices for v in (first, second)]
    shared = (near[0][:, :, None] == near[1][:, None]).any(2).double().mean()
    return Health(
        effective_rank=rank,
        pcs_95=components,
        alignment=float((first - second).square().sum(1).mean()),
        uniformity=float(torch.exp(-2 * pairs**2).mean().log()),
        feature_std=float(sphere.std(0).mean() * sphere.shape[1] ** 0.5),
        stability=float(shared),
    )


def choose_epoch(rows: Sequence[Mapping[str, Any]], choice: Literal["last", "healthy"]) -> tuple[int, str]:
    """The epoch whose network is used, and why; labels have no part in it.

    Parameters
    ----------
    rows : sequence of mapping
        One per epoch from 0, the start, with `epoch`, `pcs_95` and `stability`.
    choice : {"last", "healthy"}
        `last`, as the paper, or `healthy`: the most stable epoch of those that kept at least LEAST_COMPONENTS
        components, or half of the start's where it had fewer than twice as many. Where none did, or none is stabler
        than the start by a fifth, it is the start: some hundred galaxies do not tell smaller differences from chance.

    Returns
    -------
    epoch : int
    reason : str

    Examples
    --------
    >>> from galaxy_assets.science.health import choose_epoch
    >>> rows = [{"epoch": e, "pcs_95": 30, "stability": s} for e, s in enumerate([0.30, 0.55, 0.41])]
    >>> choose_epoch(rows, "healthy")[0], choose_epoch(rows, "last")
    (1, (2, 'the recipe takes the last epoch, 2'))
    """
    last = rows[-1]["epoch"]
    if choice == "last" or not last:
        return last, f"the recipe takes the last epoch, {last}"
    least = min(LEAST_COMPONENTS, max(1, rows[0]["pcs_95"] // 2))
    kept = [row for row in rows[1:] if row["pcs_95"] >= least]
    if not kept:
        return 0, f"no epoch kept {least} components for 95 % of the variance: the start itself is used"
    best = max(kept, key=lambda row: row["stability"])
    if best["stability"] <= _CLEARLY * rows[0]["stability"]:
        return 0, (
            f"no epoch that kept {least} components has clearly stabler neighbours ({best['stability']:.3f}) than the "
            f"start ({rows[0]['stability']:.3f}), which is used"
        )
    return best["epoch"], (
        f"its neighbours are the stablest across views ({best['stability']:.3f}, start {rows[0]['stability']:.3f}) of "
        f"the {len(kept)} epochs that kept {least} or more components ({best['pcs_95']})"
    )


def effective_rank(features: np.ndarray) -> float:
    """Exponential of the entropy of the normalised singular values (Roy & Vetterli 2007) of centred features.

    Parameters
    ----------
    features : ndarray of shape (N, D)

    Returns
    -------
    float
        Between 1 and min(N - 1, D); 0 where all features are equal: the representation has collapsed.

    Raises
    ------
    ValueError
        Where features are not finite.
    """
    singular = np.sqrt(_spectrum(features))
    if singular.sum() == 0:
        return 0.0
    share = singular[singular > 0] / singular.sum()
    return float(np.exp(-np.sum(share * np.log(share))))


def components_for(features: np.ndarray, variance: float = 0.95) -> int:
    """Fewest principal components with more than a share of the variance (paper 4.2).

    Parameters
    ----------
    features : ndarray of shape (N, D)
    variance : float
        Share, below 1.

    Returns
    -------
    int
        0 where all features are equal.

    Raises
    ------
    ValueError
        Where features are not finite.
    """
    spectrum = _spectrum(features)
    if spectrum.sum() == 0:
        return 0
    held = np.cumsum(spectrum) / spectrum.sum()
    return min(int(np.searchsorted(held, variance, side="right")) + 1, int(np.count_nonzero(spectrum)))


def _spectrum(features: np.ndarray) -> np.ndarray:
    """Eigenvalues of the scatter matrix of (N, D) features, falling; rounding noise is set to 0."""
    if not np.isfinite(features).all():
        raise ValueError("features hold NaN or infinite values: the network has diverged; lower learning_rate")
    scale = np.abs(features).max(initial=0)
    mean = features.mean(0, dtype=np.float64)
    scatter = np.zeros((features.shape[1],) * 2)
    for begin in range(0, len(features), 8192):
        block = features[begin : begin + 8192] - mean
        scatter += block.T @ block
    values = np.linalg.eigvalsh(scatter)[::-1]
    # float32 features carry rounding of about 1e-7 of their size, which is no dimension
    noise = len(features) * (np.finfo(np.float32).eps * scale) ** 2
    return np.where(values > noise, values, 0.0)
