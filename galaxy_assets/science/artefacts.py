"""Which cutouts are artefacts: evidence per image, and regions of the artefact map (Mohale & Lochner 2023, 3.2-3.3).

Belongs here: evidence from pixels, the proposal of regions on a map of pretrained features, and applying regions. Does
not belong here: the features and the map themselves (`encoders`, `projection`), and any label or vote: the paper
removes artefacts before it looks at one.

The paper draws one box on a UMAP by eye. Here suspicious images propose the boxes, each with the numbers it rests on,
and a person may reject one by its status.
"""

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Literal

import numpy as np
import pyarrow as pa

from galaxy_assets.science.cutouts import WITHOUT_PIXELS
from galaxy_assets.settings.artefacts import ArtefactRules

SATURATED = 250
"""8-bit value from which a channel counts as saturated; JPEG moves a clipped 255 by a few."""

MOST = 0.5
"""Share of suspects above which being one is no evidence, and no region is proposed."""

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


@dataclass(frozen=True)
class Region:
    """A box on the map proposed for removal, edges included: one row of the stored rule.

    Attributes
    ----------
    region : int
        Number from 1, the largest group of suspects first.
    x0, y0, x1, y1 : float
        In units of the map.
    n, n_suspect, purity : int, int, float
        Images inside, suspects among them, and their share.
    reasons : str
        How often each reason occurs among the suspects inside, such as "edge_flux 12, saturated 3".
    status : {"proposed", "accepted", "rejected"}
        A person's verdict; a rejected region removes nothing.
    """

    region: int
    x0: float
    y0: float
    x1: float
    y1: float
    n: int
    n_suspect: int
    purity: float
    reasons: str
    status: Literal["proposed", "accepted", "rejected"] = "proposed"

    def holds(self, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        """Whether each of N points lies inside.

        Parameters
        ----------
        x, y : ndarray of shape (N,), float
            In units of the map.

        Returns
        -------
        ndarray of shape (N,), bool
            False for points without coordinates (NaN).
        """
        return (x >= self.x0) & (x <= self.x1) & (y >= self.y0) & (y <= self.y1)


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
          from the border is bright;
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


_SOURCE, _BRIGHT = 2, 100  # pixels of the smallest source, and levels by which they are above the commonest


def _shows_a_source(image: np.ndarray) -> bool:
    """Whether a group of pixels that does not touch the border is far brighter than the commonest value.

    A compact source on a dark sky has few pixels of its own, and is none the less what the image is of.
    """
    import cv2

    brightest = image.max(axis=2)
    commonest = int(np.bincount(brightest.ravel(), minlength=256).argmax())
    bright = (brightest.astype(int) - commonest > _BRIGHT).astype(np.uint8)
    _, _, stats, _ = cv2.connectedComponentsWithStats(bright, connectivity=8)
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


def propose_regions(
    x: np.ndarray, y: np.ndarray, suspect: np.ndarray, reason: Sequence[str], rules: ArtefactRules
) -> list[Region]:
    """Boxes on the map in which suspects prevail (the box of paper Fig. 1, drawn by evidence).

    A suspect is a core where at least `region_purity` of the `region_minimum` nearest images (itself included) are
    suspects. Two cores are in one group where each is among the 3 `region_minimum` nearest of the other. The box around
    a group is proposed if the same purity holds among all images inside it, and it holds `region_minimum` images.
    Neighbours are used and not a grid or a radius, because UMAP packs a small island far more tightly than the galaxies
    around it. Where more than half of the images are suspects nothing is proposed: what most images of a survey show is
    no evidence of a fault. Only reasons of `region_evidence` make a suspect here.

    Parameters
    ----------
    x, y : ndarray of shape (N,), float
        The map; images without coordinates (NaN) are left out.
    suspect : ndarray of shape (N,), bool
        Column of `evidence`.
    reason : sequence of str, length N
        Column of `evidence`.
    rules : ArtefactRules
        `region_purity`, `region_minimum` and `region_evidence` are used.

    Returns
    -------
    list of Region
        The largest group of suspects first.

    Examples
    --------
    >>> import numpy as np
    >>> from galaxy_assets.science.artefacts import propose_regions
    >>> from galaxy_assets.settings.artefacts import ArtefactRules
    >>> x, y = np.random.default_rng(0).normal(size=(2, 60))
    >>> x[:10] += 20  # an island of ten; the box is around its eight suspects
    >>> suspect = np.arange(60) < 8
    >>> [box] = propose_regions(x, y, suspect, ["blank" if s else "" for s in suspect], ArtefactRules())
    >>> box.n, box.n_suspect, box.reasons
    (8, 8, 'blank 8')
    """
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components
    from scipy.spatial import KDTree

    points = np.column_stack([x, y])
    placed = np.flatnonzero(np.isfinite(points).all(axis=1))
    suspect = np.asarray(suspect, dtype=bool)
    if not suspect[placed].any() or suspect[placed].mean() > MOST:
        return []
    counted = set(rules.region_evidence)
    suspect = suspect & np.array([not counted.isdisjoint(one.split(", ")) for one in reason], dtype=bool)
    minimum = max(rules.region_minimum, 1)
    # a list of neighbours, not their number: with one neighbour the answer would lose its second axis
    wanted = list(range(1, min(3 * minimum, placed.size) + 1))
    near = np.asarray(KDTree(points[placed]).query(points[placed], k=wanted)[1])  # pyright: ignore[reportArgumentType]
    core = suspect[placed] & (suspect[placed][near[:, :minimum]].mean(axis=1) >= rules.region_purity)
    start, stop = np.repeat(np.arange(placed.size), near.shape[1]), near.ravel()
    links = core[start] & core[stop]
    graph = coo_array((np.ones(links.sum()), (start[links], stop[links])), shape=(placed.size,) * 2).tocsr()
    graph = graph.minimum(graph.T)  # one-sided links would tie a small island to whatever is next to it
    _, group = connected_components(graph, directed=False)
    numbers, sizes = np.unique(group[core], return_counts=True)

    regions: list[Region] = []
    covered = np.zeros(len(points), dtype=bool)
    for number in numbers[np.argsort(-sizes, kind="stable")]:
        members = placed[core & (group == number)]
        if covered[members].all():  # the links of a large island can leave a few of its images apart
            continue
        (x0, y0), (x1, y1) = points[members].min(axis=0).tolist(), points[members].max(axis=0).tolist()
        box = Region(len(regions) + 1, x0, y0, x1, y1, n=0, n_suspect=0, purity=0.0, reasons="")
        inside = box.holds(x, y)
        n, n_suspect = int(inside.sum()), int((inside & suspect).sum())
        if n < rules.region_minimum or n_suspect < rules.region_purity * n:
            continue
        tally = Counter(name for i in np.flatnonzero(inside & suspect) for name in reason[int(i)].split(", "))
        reasons = ", ".join(f"{name} {times}" for name, times in tally.most_common())
        regions.append(replace(box, n=n, n_suspect=n_suspect, purity=n_suspect / n, reasons=reasons))
        covered |= inside
    return regions


def apply_regions(
    x: np.ndarray, y: np.ndarray, reason: Sequence[str], regions: Sequence[Region], rules: ArtefactRules
) -> tuple[np.ndarray, list[str | None]]:
    """Which images stay, and what removes the others.

    Where more than a share of `most_removed` would be removed that no person said yes to, none of these is: a region
    that a person accepted is a yes to what it holds.

    Parameters
    ----------
    x, y : ndarray of shape (N,), float
        The map.
    reason : sequence of str, length N
        Column of `evidence`; an image with a reason of `rules.decisive` is removed wherever it lies.
    regions : sequence of Region
        Rejected ones are passed over.
    rules : ArtefactRules
        `decisive` and `most_removed` are used.

    Returns
    -------
    kept : ndarray of shape (N,), bool
    rule : list of str or None, length N
        None where nothing speaks for removal, else the decisive reason, or "region 2": the first region that holds it.
        An image that is kept and has a rule is one that would be removed with a person's yes.
    """
    rule, agreed = np.full(len(x), None, dtype=object), np.zeros(len(x), dtype=bool)
    for region in reversed(regions):
        if region.status != "rejected":
            rule[region.holds(x, y)] = f"region {region.region}"
        if region.status == "accepted":
            agreed |= region.holds(x, y)
    for i, found in enumerate(reason):
        rule[i] = next((name for name in rules.decisive if name in found.split(", ")), rule[i])
    kept = np.array([one is None for one in rule], dtype=bool)
    unasked = ~kept & ~agreed
    if unasked.sum() > rules.most_removed * len(x):
        kept |= unasked
    return kept, rule.tolist()


REGIONS = pa.schema(
    [
        pa.field("region", pa.int32()),
        *(pa.field(name, pa.float64()) for name in ("x0", "y0", "x1", "y1")),
        pa.field("n", pa.int32()),
        pa.field("n_suspect", pa.int32()),
        pa.field("purity", pa.float64()),
        pa.field("reasons", pa.string()),
        pa.field("status", pa.string()),
        pa.field("map", pa.string()),
    ]
)


def regions_to_table(regions: Sequence[Region], map_digest: str) -> pa.Table:
    """Make the table of the rule.

    Parameters
    ----------
    regions : sequence of Region
    map_digest : str
        Names the map on which the boxes are drawn.

    Returns
    -------
    pyarrow.Table
        A row per region, in the schema `REGIONS`.
    """
    return pa.Table.from_pylist([asdict(region) | {"map": map_digest} for region in regions], schema=REGIONS)


def table_to_regions(table: pa.Table) -> list[Region]:
    """Read the regions from the table that `regions_to_table` makes.

    Parameters
    ----------
    table : pyarrow.Table
        In the schema `REGIONS`.

    Returns
    -------
    list of Region
    """
    return [Region(**row) for row in table.drop_columns(["map"]).to_pylist()]
