"""Regions of the artefact map, and what they and the evidence remove (Mohale & Lochner 2023, 3.2-3.3).

Belongs here: the proposal of regions on a map of pretrained features, and applying them. Does not belong here: the
evidence (`artefacts`, `artefact_limits`), the features and the map themselves (`encoders`, `projection`), and any label
or vote.

The paper draws one box on a UMAP by eye. Here suspicious images propose the boxes, each with the numbers it rests on,
and a person may reject one by its status.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Literal

import numpy as np
import pyarrow as pa

from galaxy_assets.science.artefact_limits import MOST, are_suspect, that_counts
from galaxy_assets.settings.artefacts import ArtefactRules

_ROUNDING = 1e-9  # of a number of images


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
        How often each reason that counts occurs among the suspects inside, such as "edge_flux 12, saturated 3".
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


def propose_regions(
    x: np.ndarray, y: np.ndarray, suspect: np.ndarray, reason: Sequence[str], rules: ArtefactRules
) -> list[Region]:
    """Boxes on the map in which suspects prevail (the box of paper Fig. 1, drawn by evidence).

    A suspect is a core where at least `region_purity` of the `region_minimum` nearest images (itself included) are
    suspects. Two cores are in one group where each is among the 3 `region_minimum` nearest of the other. The box around
    a group is proposed if the same purity holds among all images inside it, and it holds `region_minimum` images.
    Neighbours are used and not a grid or a radius, because UMAP packs a small island far more tightly than the galaxies
    around it. Only reasons of `region_evidence` make a suspect here, and none that most images have: what most images
    of a survey show is no evidence of a fault. Where more than half of the images are suspects nothing is proposed.

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
    >>> from galaxy_assets.science.artefact_regions import propose_regions
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
    counts, suspect = np.zeros(len(points), dtype=bool), np.asarray(suspect, dtype=bool)
    said = [reason[i] if suspect[i] else "" for i in placed.tolist()]
    counts[placed] = are_suspect(said, rules.region_evidence)
    suspect, evidence = counts, that_counts(said, rules.region_evidence)
    if not suspect.any() or suspect[placed].mean() > MOST:
        return []
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
        named = (name for i in np.flatnonzero(inside & suspect) for name in reason[int(i)].split(", "))
        tally = Counter(name for name in named if name in evidence)
        reasons = ", ".join(f"{name} {times}" for name, times in tally.most_common())
        regions.append(replace(box, n=n, n_suspect=n_suspect, purity=n_suspect / n, reasons=reasons))
        covered |= inside
    return regions


def share_unasked(
    x: np.ndarray, y: np.ndarray, reason: Sequence[str], regions: Sequence[Region], rules: ArtefactRules
) -> float:
    """The share of images that the rule would remove and that no person said yes to.

    Parameters
    ----------
    x, y, reason, regions, rules
        As of `apply_regions`.

    Returns
    -------
    float
        0 to 1; 0 of no images.
    """
    rule, accepted = _spoken_for(x, y, reason, regions, rules)
    return _share(_said(rule) & ~accepted, np.ones(len(x), dtype=bool))


def apply_regions(
    x: np.ndarray,
    y: np.ndarray,
    reason: Sequence[str],
    regions: Sequence[Region],
    rules: ArtefactRules,
    later: np.ndarray | None = None,
    fitted: float | None = None,
    *,
    drawn: bool = False,
) -> tuple[np.ndarray, list[str | None]]:
    """Which images stay, and what removes the others.

    Where more than a share of `most_removed` would be removed that no person said yes to, none of these is. The share
    is of all images that the map is fitted on, however they are spread over deliveries. Of the others in a delivery as
    large a share may go as of those of it that the map is fitted on, and `most_removed` of the whole delivery more. A
    region that a person accepted is a yes to whatever it holds.

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
    later : ndarray of shape (N,), bool, optional
        Images that the map is not fitted on; none unless given.
    fitted : float, optional
        `share_unasked` of all images that it is fitted on; without it they are all here.
    drawn : bool
        Whether it is fitted on images that were drawn from this delivery and others: then those that were not drawn
        are kept where the others are.

    Returns
    -------
    kept : ndarray of shape (N,), bool
    rule : list of str or None, length N
        None where nothing speaks for removal, else the decisive reason, or "region 2": the first region that holds it.
        An image that is kept and has a rule is one that would be removed with a person's yes.
    """
    rule, accepted = _spoken_for(x, y, reason, regions, rules)
    later = np.zeros(len(x), dtype=bool) if later is None else later
    kept = ~_said(rule)
    unasked = ~kept & ~accepted
    here = _share(unasked, ~later)
    alike = (here if fitted is None else fitted) <= rules.most_removed
    if not alike:
        kept |= unasked & (~later | drawn)
    allowed = rules.most_removed * len(x) + (here if alike else 0.0) * later.sum()
    if (unasked & later).sum() > allowed + _ROUNDING:
        kept |= unasked & later
    return kept, rule.tolist()


def _spoken_for(
    x: np.ndarray, y: np.ndarray, reason: Sequence[str], regions: Sequence[Region], rules: ArtefactRules
) -> tuple[np.ndarray, np.ndarray]:
    """What speaks for the removal of each image, None where nothing does.

    And whether a region holds it that a person accepted.
    """
    rule, accepted = np.full(len(x), None, dtype=object), np.zeros(len(x), dtype=bool)
    for region in reversed(regions):
        if region.status != "rejected":
            rule[region.holds(x, y)] = f"region {region.region}"
        if region.status == "accepted":
            accepted |= region.holds(x, y)
    found = pa.array(reason, pa.string()).dictionary_encode()  # few combinations of few reasons
    at = found.indices.to_numpy(zero_copy_only=False)
    for i, said in enumerate(found.dictionary.to_pylist()):
        if decisive := next((name for name in rules.decisive if name in said.split(", ")), None):
            rule[at == i] = decisive
    return rule, accepted


def _said(rule: np.ndarray) -> np.ndarray:
    return np.array([one is not None for one in rule.tolist()], dtype=bool)


def _share(some: np.ndarray, among: np.ndarray) -> float:
    return float(some[among].mean()) if among.any() else 0.0


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
