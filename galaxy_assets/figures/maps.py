"""UMAP maps of a representation (paper Figures 1, 4-6, 9 and 15).

Belongs here: drawing galaxies at given coordinates. Does not belong here: computing coordinates, clusters or scores.
Galaxies with a coordinate that is not finite are left out. UMAP's units are arbitrary.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, TypedDict

import numpy as np

from galaxy_assets.figures.plates import CAPTION, GAP, fit, new_plate, put
from galaxy_assets.figures.style import (
    CONTEXT,
    DOUBLE,
    HIGHLIGHT,
    MARKERS,
    PALETTE,
    SINGLE,
    SMALL_LETTERS,
    lettered,
    new_figure,
    say,
    words,
)
from galaxy_assets.science.figure_tables import in_words

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.collections import PathCollection
    from matplotlib.figure import Figure

_LABEL_SPACING = 0.05  # of the map's diagonal: least distance between two cluster numbers
_LABEL_CANDIDATES = 40
_BESIDE = 3.75  # inches from the left of a plate, where cutouts beside a map begin


class ClusterExamples(NamedTuple):
    """A cluster picked out on the map of Figures 4-6.

    Attributes
    ----------
    cluster : int
        Its number.
    title : str
        What it is, in words.
    pixels : sequence of numpy.ndarray
        Cutouts of some members, uint8 (S, S), (S, S, 1) or (S, S, 3).
    """

    cluster: int
    title: str
    pixels: Sequence[np.ndarray]


class StartWeightMap(TypedDict):
    """One panel of Figure 15: the map of one start weight.

    Attributes
    ----------
    title : str
        Of the panel.
    x, y : numpy.ndarray of shape (N,), float
        Coordinates of the galaxies.
    label : sequence of str or None
        Their classes; None where a galaxy was not judged.
    accuracy : float
        Share of them that the clusters' majority labels get right; NaN where it is unknown.
    """

    title: str
    x: np.ndarray
    y: np.ndarray
    label: Sequence[str | None]
    accuracy: float


def artefact_map(
    x: np.ndarray,
    y: np.ndarray,
    removed: np.ndarray,
    regions: Sequence[tuple[float, float, float, float]],
    examples: Sequence[tuple[np.ndarray, str]],
) -> "Figure":
    """All images on the map, those removed as artefacts, and the boxes that removed them (paper Figure 1).

    Beside the map stand some of the removed.

    Parameters
    ----------
    x, y : numpy.ndarray of shape (N,), float
        Coordinates of all images.
    removed : numpy.ndarray of shape (N,), bool
        Whether an image was removed.
    regions : sequence of (float, float, float, float)
        (x0, y0, x1, y1) of each box, in the map's coordinates.
    examples : sequence of (numpy.ndarray, str)
        Cutouts that were removed, each with the rule that did it; the first sixteen are drawn.

    Returns
    -------
    matplotlib.figure.Figure
    """
    from matplotlib.patches import Rectangle

    columns = rows = 4
    side = (DOUBLE - _BESIDE + GAP) / columns - GAP
    height = CAPTION + 0.02 + rows * (side + CAPTION + GAP)
    figure, plate, axes = _map_on_plate("Map of all images and of the artefacts removed", height)
    (x, y), (removed,) = _finite(x, y, removed)
    removed = removed.astype(bool)
    if not len(x):
        say(axes, "no images on the map")
        return lettered(figure)
    _points(axes, x[~removed], y[~removed], len(x), color=PALETTE[0], label=f"kept ({(~removed).sum():,})")
    # on top and as if they were alone: a few in a small box would not be seen
    _points(
        axes,
        x[removed],
        y[removed],
        removed.sum(),
        color=HIGHLIGHT,
        marker="^",
        zorder=3,
        label=f"removed ({removed.sum():,})",
    )
    for x0, y0, x1, y1 in regions:
        # over the triangles, which a small box is full of
        box = Rectangle((x0, y0), x1 - x0, y1 - y0, fill=False, linewidth=1, zorder=4, label="artefact region")
        axes.add_patch(box)
    axes.autoscale_view()
    _legend(axes)
    plate.text(_BESIDE, 0.08, "removed" if examples else "no image was removed", va="center", weight="bold")
    for i, (pixels, rule) in enumerate(examples[: rows * columns]):
        left, top = _BESIDE + i % columns * (side + GAP), CAPTION + 0.02 + i // columns * (side + CAPTION + GAP)
        put(plate, pixels, left, top, side, caption=rule)
    return lettered(figure)


def cluster_examples(x: np.ndarray, y: np.ndarray, cluster: np.ndarray, chosen: Sequence[ClusterExamples]) -> "Figure":
    """Some clusters picked out on the map of all galaxies, each with a row of cutouts beside it (paper Figures 4-6).

    Parameters
    ----------
    x, y : numpy.ndarray of shape (N,), float
        Coordinates of the galaxies.
    cluster : numpy.ndarray of shape (N,), int
        Their clusters.
    chosen : sequence of ClusterExamples
        The clusters picked out; the others lie behind in grey. Five cutouts of each fit, eight rows at most.

    Returns
    -------
    matplotlib.figure.Figure
    """
    side = 0.61 if len(chosen) <= 5 else 0.42
    pitch = side + CAPTION + 0.09
    figure, plate, axes = _map_on_plate("Clusters picked out on the map", max(len(chosen) * pitch, 3.2))
    (x, y), (cluster,) = _finite(x, y, cluster)
    if not len(x):
        say(axes, "no galaxies on the map")
        return lettered(figure)
    others = ~np.isin(cluster, [one.cluster for one in chosen])
    _points(axes, x[others], y[others], len(x), color=CONTEXT)
    for i, one in enumerate(chosen):
        own, marker = cluster == one.cluster, MARKERS[i % len(MARKERS)]
        n = max(int(own.sum()), len(x) // 10, 1)  # larger than their surroundings: a small cluster would not be seen
        _points(axes, x[own], y[own], n, color=_shade(i), marker=marker)
        top = i * pitch
        plate.plot([_BESIDE + 0.05], [top + 0.08], marker=marker, color=_shade(i), markersize=5, clip_on=False)
        title = fit(f"{one.cluster}: {one.title}", DOUBLE - _BESIDE - 0.14)
        plate.text(_BESIDE + 0.14, top + 0.08, title, va="center")
        for k, pixels in enumerate(one.pixels):
            put(plate, pixels, _BESIDE + k * (side + GAP), top + CAPTION + 0.02, side)
    _numbers(axes, x, y, cluster, [one.cluster for one in chosen])
    return lettered(figure)


def cluster_map(x: np.ndarray, y: np.ndarray, cluster: np.ndarray) -> "Figure":
    """Galaxies coloured by cluster, the cluster's number written on its members (paper Figures 4-6).

    Colours of more than seven clusters recur darker and lighter, so the numbers, not the colours, tell clusters apart.

    Parameters
    ----------
    x, y : numpy.ndarray of shape (N,), float
        Coordinates of the galaxies.
    cluster : numpy.ndarray of shape (N,), int
        Their clusters; a negative number draws the galaxy in grey, as surroundings of the clusters of interest.

    Returns
    -------
    matplotlib.figure.Figure
    """
    figure, axes = _one_map("Map of the clusters")
    (x, y), (cluster,) = _finite(x, y, cluster)
    if not len(x):
        say(axes, "no galaxies on the map")
        return lettered(figure)
    others = cluster < 0
    _points(axes, x[others], y[others], len(x), color=CONTEXT)
    numbers = np.unique(cluster[~others]).tolist()
    for i, k in enumerate(numbers):
        _points(axes, x[cluster == k], y[cluster == k], len(x), color=_shade(i), label=str(k))
    _numbers(axes, x, y, cluster, numbers)
    return lettered(figure)


def class_map(x: np.ndarray, y: np.ndarray, label: Sequence[str | None], title: str) -> "Figure":
    """Galaxies with a marker and colour for each class; those without a class lie behind in grey.

    Parameters
    ----------
    x, y : numpy.ndarray of shape (N,), float
        Coordinates of the galaxies.
    label : sequence of str or None
        N class names, None for no class.
    title : str
        Above the map.

    Returns
    -------
    matplotlib.figure.Figure
    """
    figure, axes = _one_map("Map of the classes")
    axes.set_title(words(title))
    _classes(axes, x, y, label, _class_names([label]))
    _legend(figure)
    return lettered(figure)


def start_weight_panel(panels: Sequence[StartWeightMap]) -> "Figure":
    """The maps from several start weights, two in a row, with the clusters' accuracy in each (paper Figure 15).

    Parameters
    ----------
    panels : sequence of StartWeightMap
        A class has the same marker and colour in every panel.

    Returns
    -------
    matplotlib.figure.Figure
    """
    rows = max((len(panels) + 1) // 2, 1)
    figure = new_figure("Maps from each of the start weights", DOUBLE, 0.5 + 3.1 * rows)
    if not panels:
        say(figure.subplots(), "no start weights have a map yet")
        return lettered(figure)
    axes = figure.subplots(rows, min(len(panels), 2), squeeze=False).ravel()
    names = _class_names([panel["label"] for panel in panels])
    for ax, panel in zip(axes, panels, strict=False):
        ax.set_aspect("equal", adjustable="datalim")
        ax.set_title(f"{words(panel['title'])}: cluster accuracy {in_words(panel['accuracy'])}")
        _classes(ax, panel["x"], panel["y"], panel["label"], names)
    for ax in axes[len(panels) :]:
        ax.remove()
    for ax in axes[: len(panels)][-2:]:
        ax.set_xlabel("UMAP 1 (arbitrary units)")
    for ax in axes[: len(panels) : 2]:
        ax.set_ylabel("UMAP 2 (arbitrary units)")
    _legend(figure)
    return lettered(figure)


def anomaly_maps(x: np.ndarray, y: np.ndarray, is_true: np.ndarray, score: np.ndarray) -> "Figure":
    """The same map twice: true anomalies at the left, the anomaly score at the right (paper Figure 9).

    Parameters
    ----------
    x, y : numpy.ndarray of shape (N,), float
        Coordinates of the galaxies.
    is_true : numpy.ndarray of shape (N,), bool
        Whether a galaxy is an anomaly in truth.
    score : numpy.ndarray of shape (N,), float
        High scores are drawn on top, NaN in grey behind. Colours span the middle 98 % of the scores.

    Returns
    -------
    matplotlib.figure.Figure
    """
    figure = new_figure("Maps of the true anomalies and of the anomaly score", DOUBLE, 3.1)
    left, right = figure.subplots(1, 2, sharex=True, sharey=True)
    (x, y), (is_true, score) = _finite(x, y, is_true, np.asarray(score, float))
    is_true = is_true.astype(bool)
    for ax in (left, right):
        ax.set_aspect("equal")  # matplotlib refuses adjustable="datalim" on shared axes
        ax.set_xlabel("UMAP 1 (arbitrary units)")
    left.set_ylabel("UMAP 2 (arbitrary units)")
    # an equal aspect makes panels as flat as the map; a map of one line would be drawn as one
    middles = [(v.min() + v.max()) / 2 if len(v) else 0.0 for v in (x, y)]
    wide, high = (1.06 * np.ptp(v) if len(v) else 1.0 for v in (x, y))
    wide, high = max(wide, 0.8 * high) or 1.0, max(high, 0.8 * wide) or 1.0
    left.set(xlim=(middles[0] - wide / 2, middles[0] + wide / 2), ylim=(middles[1] - high / 2, middles[1] + high / 2))
    left.set_title(f"true anomalies ({is_true.sum():,} of {len(x):,})" if is_true.any() else "no true anomalies")
    right.set_title("anomaly score")
    if not len(x):
        say(left, "no galaxies on the map")
        say(right, "no galaxies on the map")
        return lettered(figure)
    _points(left, x[~is_true], y[~is_true], len(x), color=CONTEXT)
    # as if they were alone: a few among many would be too faint to see
    _points(left, x[is_true], y[is_true], is_true.sum(), color=HIGHLIGHT)
    scored = np.isfinite(score)
    _points(right, x[~scored], y[~scored], len(x), color=CONTEXT)
    if scored.any():
        order = np.flatnonzero(scored)[np.argsort(score[scored], kind="stable")]
        drawn = _points(right, x[order], y[order], len(x), c=score[order], cmap="cividis")
        drawn.set_alpha(None)  # colours seen through each other would be no scores
        # a few scores that were given lie far above all predicted ones, which would then have one colour
        drawn.set_clim(*np.percentile(score[scored], [1, 99]))
        # an inset keeps the height of the panel, which its equal aspect changes
        figure.colorbar(drawn, cax=right.inset_axes((1.03, 0, 0.045, 1)), extend="both")
    else:
        right.set_title("no anomaly scores")
    return lettered(figure)


def _one_map(label: str) -> "tuple[Figure, Axes]":
    figure = new_figure(label, SINGLE, 3.3)
    axes = figure.subplots()
    axes.set(xlabel="UMAP 1 (arbitrary units)", ylabel="UMAP 2 (arbitrary units)")
    axes.set_aspect("equal", adjustable="datalim")
    return figure, axes


def _map_on_plate(label: str, height: float) -> "tuple[Figure, Axes, Axes]":
    """A map at the left of a plate two columns wide: figure, plate, map."""
    figure, plate = new_plate(label, DOUBLE, height)
    left, right, top, bottom = 0.52, 0.2, 0.06, 0.42 if height < 3.5 else height - 3.25
    box = (left / DOUBLE, bottom / height, (_BESIDE - left - right) / DOUBLE, (height - top - bottom) / height)
    axes = figure.add_axes(box)
    axes.set(xlabel="UMAP 1 (arbitrary units)", ylabel="UMAP 2 (arbitrary units)")
    axes.set_aspect("equal", adjustable="datalim")
    return figure, plate, axes


def _finite(x: np.ndarray, y: np.ndarray, *others: np.ndarray) -> tuple[list[np.ndarray], list[np.ndarray]]:
    x, y = np.asarray(x, float), np.asarray(y, float)
    finite = np.isfinite(x) & np.isfinite(y)
    return [x[finite], y[finite]], [np.asarray(a)[finite] for a in others]


def _points(axes: "Axes", x: np.ndarray, y: np.ndarray, n: int, **style: Any) -> "PathCollection":
    """Draw points whose size and opacity suit a map of `n` galaxies in all."""
    size = np.clip(100 / np.sqrt(max(n, 1)), 0.3, 10)
    alpha = 0.8 if n < 20_000 else 0.5
    return axes.scatter(x, y, s=size, alpha=alpha, linewidths=0, rasterized=True, **style)


def _class_names(labels: Sequence[Sequence[str | None]]) -> list[str]:
    return sorted({name for label in labels for name in label if name is not None})


def _classes(axes: "Axes", x: np.ndarray, y: np.ndarray, label: Sequence[str | None], names: Sequence[str]) -> None:
    # numpy makes an array of strings, with "None" for None, where it may choose the type
    (x, y), (found,) = _finite(x, y, np.array(label, dtype=object))
    if not len(x):
        say(axes, "no galaxies on the map")
        return
    members = {name: np.asarray(found == name) for name in names}
    none = np.array([name is None for name in found])
    # the rarest class on top: it would lie hidden under the others
    rarest_last = sorted(names, key=lambda name: -members[name].sum())
    for i, name in enumerate(names):
        _points(
            axes,
            x[members[name]],
            y[members[name]],
            max(members[name].sum(), len(x) // 10, 1),
            color=PALETTE[i % len(PALETTE)],
            marker=MARKERS[i % len(MARKERS)],
            label=words(name),
            zorder=2 + rarest_last.index(name) / len(names),
        )
    if none.any():
        _points(axes, x[none], y[none], len(x), color=CONTEXT, label="no class", zorder=1)
    if none.all():
        axes.set_title(f"{axes.get_title()}\nno galaxy has a class".strip())


def _numbers(axes: "Axes", x: np.ndarray, y: np.ndarray, cluster: np.ndarray, numbers: Sequence[int]) -> None:
    """Write the number of each cluster on one of its members, the largest cluster first."""
    from matplotlib.patheffects import withStroke

    spacing = _LABEL_SPACING * np.hypot(np.ptp(x), np.ptp(y))
    taken = np.empty((0, 2))
    for k in sorted(numbers, key=lambda k: -int((cluster == k).sum())):
        members = np.column_stack([x[cluster == k], y[cluster == k]])
        if not len(members):
            continue
        place = _label_place(members, taken, spacing)
        taken = np.vstack([taken, place])
        outline = [withStroke(linewidth=2.5, foreground="white")]
        axes.text(place[0], place[1], str(k), ha="center", va="center", weight="bold", path_effects=outline)


def _legend(home: "Figure | Axes") -> None:
    """One legend under a figure's panels or under one map: each name once, with a symbol of legible size."""
    from matplotlib.axes import Axes
    from matplotlib.collections import PathCollection

    handles = {}
    for ax in [home] if isinstance(home, Axes) else home.axes:
        for handle, name in zip(*ax.get_legend_handles_labels(), strict=True):
            handles.setdefault(name, handle)
    if not handles:
        return
    style: dict[str, Any] = {"ncols": min(len(handles), 3), "frameon": False, "fontsize": SMALL_LETTERS}
    if isinstance(home, Axes):
        style |= {"loc": "upper center", "bbox_to_anchor": (0.5, -0.12), "columnspacing": 1, "handletextpad": 0.4}
    else:
        style |= {"loc": "outside lower center"}
    legend = home.legend(handles.values(), handles.keys(), **style)
    for handle in legend.legend_handles:
        if isinstance(handle, PathCollection):
            handle.set_sizes([20])
            handle.set_alpha(1)


def _shade(i: int) -> tuple[float, float, float]:
    """Colour of the i-th cluster: the palette, then the palette darker, then lighter."""
    from matplotlib.colors import to_rgb

    base = np.array(to_rgb(PALETTE[i % len(PALETTE)]))
    shades = (base, 0.6 * base, 0.6 * base + 0.4)
    return tuple(shades[i // len(PALETTE) % 3].tolist())


def _label_place(members: np.ndarray, taken: np.ndarray, spacing: float) -> np.ndarray:
    """The member nearest the cluster's median that keeps `spacing` from the numbers already written, if one does."""
    order = np.argsort(((members - np.median(members, axis=0)) ** 2).sum(axis=1), kind="stable")
    candidates = members[order[np.unique(np.linspace(0, len(order) - 1, _LABEL_CANDIDATES, dtype=int))]]
    if not len(taken):
        return candidates[0]
    room = np.sqrt(((candidates[:, None] - taken[None]) ** 2).sum(axis=2)).min(axis=1)
    return candidates[np.argmax(room >= spacing)] if (room >= spacing).any() else candidates[np.argmax(room)]
