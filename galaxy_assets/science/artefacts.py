"""What speaks for a cutout being an artefact (Mohale & Lochner 2023, 3.1-3.3).

Belongs here: evidence from pixels. Does not belong here: what a survey's own images make of it (`artefact_limits`),
what follows from it (`artefact_regions`), and any label or vote: the paper removes artefacts before it looks at one.
"""

import math
from collections.abc import Sequence

import numpy as np
import pyarrow as pa

from galaxy_assets.science.cutouts import WITHOUT_PIXELS
from galaxy_assets.settings.artefacts import ArtefactRules

SATURATED = 250
"""8-bit value from which a channel counts as saturated; JPEG moves a clipped 255 by a few."""

EVIDENCE = pa.schema(
    [
        pa.field("blank_fraction", pa.float64()),
        pa.field("saturated_fraction", pa.float64()),
        pa.field("edge_flux_ratio", pa.float64()),
        pa.field("band_mismatch", pa.float64()),
        pa.field("trail_length", pa.float64()),
        pa.field("fallback", pa.bool_()),
        pa.field("blank", pa.bool_()),
        pa.field("suspect", pa.bool_()),
        pa.field("reason", pa.string()),
    ]
)


def evidence(
    pixels: np.ndarray, outcomes: Sequence[str], rules: ArtefactRules, nodata: Sequence[float] | None = None
) -> pa.Table:
    """Measure what speaks against each cutout.

    Parameters
    ----------
    pixels : ndarray of shape (N, S, S, 3) or (N, S, S, 1), uint8
        May be memory-mapped: one cutout is read at a time.
    outcomes : sequence of str, length N
        Outcomes of `cutouts.cut` or of the catalogue. Images whose outcome has no pixels are not measured.
    rules : ArtefactRules
        Limits from which a measure makes an image suspect.
    nodata : sequence of float, length N, optional
        Share of each cutout's values that have no data (`Cutout.nodata_fraction`); none have without it.

    Returns
    -------
    pyarrow.Table
        N rows in the schema `EVIDENCE`:

        - blank_fraction: share of pixels at the commonest grey value;
        - saturated_fraction: share of pixels of which any channel is saturated, since a trail may be in one band;
        - edge_flux_ratio: mean grey value of the border (outer eighth) over that of the central half. The sky is not
          subtracted, so that the halo of a star below a galaxy counts;
        - band_mismatch: 1 - the least correlation between two bands. It is high for trails, ghosts and shifted bands,
          but also for a blue galaxy beside a red star, so no rule uses it. 0 for grey images;
        - trail_length: length over the image's side of the longest straight line that stands out in one band alone, as
          what crossed the sky during one exposure does. The others have nothing there or beside it: a thin galaxy is in
          all of them. 0 for grey images;
        - fallback: the original image was used;
        - blank: nothing to be seen, by outcome or by blank_fraction; where its limit is `auto`, only if nothing away
          from the border stands out;
        - suspect, reason: any of the rules fires, and which do, joined by ", ": an outcome without pixels, `blank`,
          `saturated`, `edge_flux`, `trail`, `nodata`, `fallback_no_contour`. `fallback_edge` is not suspect: large
          galaxies give it.

    Raises
    ------
    ValueError
        Where the numbers of pixels, outcomes and shares differ.

    Examples
    --------
    >>> import numpy as np
    >>> from galaxy_assets.science.artefacts import evidence
    >>> from galaxy_assets.settings.artefacts import ArtefactRules
    >>> galaxy = np.random.default_rng(0).integers(20, 60, (64, 64, 3), dtype=np.uint8)
    >>> galaxy[24:40, 24:40] += 120
    >>> pixels = np.stack([galaxy, np.zeros_like(galaxy)])
    >>> evidence(pixels, ["cut", "cut"], ArtefactRules()).select(["suspect", "reason"]).to_pylist()
    [{'suspect': False, 'reason': ''}, {'suspect': True, 'reason': 'blank'}]
    """
    if len(pixels) != len(outcomes):
        raise ValueError(f"{len(pixels)} cutouts but {len(outcomes)} outcomes")
    return pa.Table.from_pylist(
        [_row(*one, rules) for one in zip(pixels, outcomes, nodata or [0.0] * len(outcomes), strict=True)],
        schema=EVIDENCE,
    )


def _row(image: np.ndarray, outcome: str, nodata: float, rules: ArtefactRules) -> dict[str, float | bool | str]:
    if outcome in WITHOUT_PIXELS:
        return {"fallback": False, "blank": True, "suspect": True, "reason": outcome}
    measured = _measure(image)
    fires = {
        "blank": measured["blank_fraction"] >= rules.least("blank_fraction")
        and not (rules.blank_fraction == "auto" and _shows_a_source(image)),
        "saturated": measured["saturated_fraction"] >= rules.least("saturated_fraction"),
        "edge_flux": measured["edge_flux_ratio"] >= rules.least("edge_flux_ratio"),
        "trail": measured["trail_length"] >= rules.least("trail_length"),
        "nodata": nodata >= rules.nodata_fraction,
        "fallback_no_contour": outcome == "fallback_no_contour",
    }
    return measured | {
        "fallback": outcome.startswith("fallback"),
        "blank": fires["blank"],
        "suspect": any(fires.values()),
        "reason": ", ".join(name for name, fired in fires.items() if fired),
    }


def _measure(image: np.ndarray) -> dict[str, float]:
    """The numbers of `evidence` for one uint8 (S, S, C) image."""
    import cv2

    bands = cv2.split(np.ascontiguousarray(image))
    grey = cv2.cvtColor(cv2.merge(bands), cv2.COLOR_RGB2GRAY) if len(bands) == 3 else bands[0]
    brightest = np.maximum.reduce(bands)
    margin, quarter = grey.shape[0] // 8, grey.shape[0] // 4
    inner = grey[margin:-margin, margin:-margin]
    border = (float(grey.sum()) - float(inner.sum())) / (grey.size - inner.size)
    centre = float(grey[quarter:-quarter, quarter:-quarter].mean())
    return {
        "blank_fraction": float(np.bincount(grey.ravel(), minlength=256).max() / grey.size),
        "saturated_fraction": float(np.count_nonzero(brightest >= SATURATED) / grey.size),
        "edge_flux_ratio": border / centre if centre else math.inf if border else 0.0,
        "band_mismatch": _band_mismatch(np.stack(bands).reshape(len(bands), -1)),
        "trail_length": _trail_length(bands) if len(bands) == 3 else 0.0,
    }


_SOURCE, _FAR_FROM_SKY = 2, 100  # pixels of the smallest source, and levels between them and the commonest


def _shows_a_source(image: np.ndarray) -> bool:
    """Whether a group of pixels that does not touch the border is far from the commonest value, in any band.

    A compact source on an empty sky has few pixels of its own, and is none the less what the image is of: brighter than
    the sky, or darker in a negative.
    """
    import cv2

    commonest = [int(np.bincount(band.ravel(), minlength=256).argmax()) for band in np.moveaxis(image, 2, 0)]
    far = (np.abs(image.astype(int) - commonest).max(axis=2) > _FAR_FROM_SKY).astype(np.uint8)
    _, _, stats, _ = cv2.connectedComponentsWithStats(far, connectivity=8)
    x, y, width, height, pixels = stats[1:].T
    inside = (x > 0) & (y > 0) & (x + width < image.shape[1]) & (y + height < image.shape[0])
    return bool((inside & (pixels >= _SOURCE)).any())


def _band_mismatch(bands: np.ndarray) -> float:
    """1 - the least Pearson correlation between two of the bands (C, pixels); a constant band correlates with none."""
    flux = bands.astype(np.float32)
    flux -= flux.mean(axis=1, keepdims=True)
    covariance = (flux @ flux.T).astype(np.float64)
    scale = np.sqrt(np.diag(covariance))
    if len(bands) == 1 or not scale.any():
        return 0.0
    scales = np.outer(scale, scale)
    correlation = np.divide(covariance, scales, out=np.zeros_like(scales), where=scales > 0)
    return float(1 - correlation[np.triu_indices(len(bands), 1)].min())


_EXCESS = 40  # 8-bit levels above both other bands: galaxies and the colours of stars stay below along most lines
_TRAIL_THINNESS = 10.0  # length over width: trails have 15 and more, an edge-on disc with a dust lane up to 7
_ALONE, _BESIDE = 0.6, 0.8  # of a trail's excess: what is thin of it, and what the other bands may have there
_PIECES, _EVEN = 12, 0.66  # of a trail's length, and how bright its faint ones are beside its bright ones


def _trail_length(bands: Sequence[np.ndarray]) -> float:
    """Length of the longest thin connected line that one of three (S, S) bands has and the others lack, over S.

    Length and width are those of a uniform rectangle with the second moments of the line's pixels.
    """
    import cv2

    side, longest = bands[0].shape[0], 0.0
    for band, (one, other) in ((0, (1, 2)), (1, (0, 2)), (2, (0, 1))):
        others = cv2.max(bands[one], bands[other])
        excess = cv2.subtract(bands[band], others)
        _, labels, stats, _ = cv2.connectedComponentsWithStats((excess > _EXCESS).view(np.uint8), connectivity=8)
        for i in range(1, len(stats)):
            x, y, width, height, _ = stats[i].tolist()
            if max(width, height) <= longest * side / 2 or max(width, height) < _TRAIL_THINNESS:
                continue  # too short, whatever its direction
            pixels = np.argwhere(labels[y : y + height, x : x + width] == i)
            narrow, long = np.sqrt(12 * np.linalg.eigvalsh(np.cov(pixels.T.astype(float), bias=True)).clip(0))
            is_long = long >= max(_TRAIL_THINNESS * (narrow + 1), longest * side)  # of one pixel's width it is 0 across
            if is_long and _is_alone(pixels + (y, x), excess, others, math.ceil(narrow)):
                longest = float(long) / side
    return longest


def _is_alone(line: np.ndarray, excess: np.ndarray, others: np.ndarray, width: int) -> bool:
    """Whether a line (P, 2) by which a band exceeds the others is thin, and these have little that is, there or beside.

    The coloured edge of a thin source, by nature or by a colour map, lies beside pixels that all bands have; that of a
    broad one is not thin, and what the image's border cuts off of it is none. A galaxy that a satellite crossed is
    broader than its trail, and does not count. JPEG leaves much of a trail in the other bands. A trail is as bright all
    along, by itself or with what it crosses, where a disc fades.
    """
    import cv2

    if np.mean(np.minimum(line, np.array(excess.shape) - 1 - line).min(axis=1) <= width) > 0.5:
        return False
    reach = 2 * width + 5
    kernel, on = np.ones((reach, reach), np.uint8), tuple(line.T)
    near = cv2.dilate(cv2.morphologyEx(cv2.blur(others, (3, 3)), cv2.MORPH_TOPHAT, kernel), kernel)
    own, middle = cv2.morphologyEx(excess, cv2.MORPH_TOPHAT, kernel), float(np.median(excess[on]))
    if np.median(own[on]) < _ALONE * middle or np.median(near[on]) >= _BESIDE * middle:
        return False
    along = line @ np.linalg.eigh(np.cov(line.T.astype(float)))[1][:, 1]
    piece = np.minimum(_PIECES * (along - along.min()) / np.ptp(along), _PIECES - 1).astype(int)
    return any(_is_even(light[on], piece) for light in (excess, cv2.add(excess, others)))


def _is_even(light: np.ndarray, piece: np.ndarray) -> bool:
    """Whether the pieces of a line, a number for each of its pixels, are nearly as bright as each other."""
    brightest = np.zeros(_PIECES)
    np.maximum.at(brightest, piece, light)
    faint, bright = np.percentile(brightest, [20, 80])
    return bool(faint >= _EVEN * bright)
