"""Curves and distributions against epoch, rank, cluster or component (paper Figures 3, 7, 8 and 14).

Belongs here: drawing tables of the lake. Does not belong here: computing them. Rows whose number is missing or not
finite are not drawn; a table without any number gives a figure that says so.
"""

from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from galaxy_assets.figures.style import (
    CONTEXT,
    DOUBLE,
    MARKERS,
    PALETTE,
    SINGLE,
    SMALL_LETTERS,
    lettered,
    new_figure,
    say,
    words,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# order of the legend, and the words and dashes of each line
_BASELINES = {
    "pretrained": ("ImageNet network as it is", "--"),
    "untrained": ("untrained network", "-."),
    "pixels": ("raw pixels", ":"),
}
# how each order of the list is drawn in the recall figure
_SEARCHES = {
    "found": ("active learning", PALETTE[0], "-"),
    "published": ("active learning as published", PALETTE[5], "-."),
    "isolation_forest": ("isolation forest", PALETTE[4], (0, (5, 1))),
    "local_outlier_factor": ("local outlier factor", PALETTE[2], (0, (3, 1, 1, 1))),
    "random": ("random order", "#777777", "--"),
}
_TRAINING = {
    "loss": "BYOL loss",
    "pcs_95": "components for 95% of the variance",
    "effective_rank": "effective rank",
    "stability": "shared neighbours of two views",
    "alignment": "alignment (distance of two views)",
    "uniformity": "uniformity",
    "feature_std": "spread of the features",
    "images_per_second": "images per second",
}


def epoch_accuracy(table: pa.Table, epochs: int) -> "Figure":
    """k-NN accuracy against epoch, a line per start weight (paper Figures 3 and 14).

    The line is the mean over the splits, the band one standard deviation. Each baseline is a horizontal line. A star is
    what stands side by side: no epoch of the training.

    Parameters
    ----------
    table : pyarrow.Table
        Columns `init`, `epoch`, `features` (`byol`, `pretrained`, `untrained`, `pixels`), `mean` and `std`, as
        `science.figure_tables.accuracy_by_epoch` makes them.
    epochs : int
        Of the training; a row beyond them is of features side by side.

    Returns
    -------
    matplotlib.figure.Figure
    """
    figure = new_figure("k-NN accuracy against epoch", SINGLE, 3.3)
    axes = figure.subplots()
    axes.set(xlabel="epoch", ylabel="k-NN accuracy")
    init, epoch, features = (np.array(table[c].to_pylist()) for c in ("init", "epoch", "features"))
    mean, spread = _numbers(table, "mean"), _numbers(table, "std")
    known = np.isfinite(mean)
    if not known.any():
        say(axes, "no accuracy has been measured yet")
        return lettered(figure)
    for i, name in enumerate(_in_order(init[known])):
        own = np.flatnonzero(known & (init == name) & (features == "byol"))
        if not len(own):
            continue
        own = own[np.argsort(epoch[own], kind="stable")]
        together, own = own[epoch[own] > epochs], own[epoch[own] <= epochs]
        low, high = mean[own] - spread[own], mean[own] + spread[own]
        _line(axes, epoch[own], mean[own], i, f"start: {words(name)}")
        axes.fill_between(epoch[own], low, high, color=PALETTE[i % len(PALETTE)], alpha=0.2, linewidth=0)
        _side_by_side(axes, epoch[together], mean[together], i, f"{words(name)}: side by side")
    for kind, (label, dashes) in _BASELINES.items():
        own = known & (features == kind)
        if own.any():
            axes.axhline(mean[own].mean(), color="#555555", linestyle=dashes, linewidth=1.2, label=label, zorder=1)
    _whole_numbers(axes)
    figure.legend(loc="outside lower center", ncols=2, frameon=False, fontsize=SMALL_LETTERS, columnspacing=1)
    return lettered(figure)


def training(table: pa.Table, epochs: int) -> "Figure":
    """Loss, health and speed of a training against epoch, a line per start weight; a ring marks what is used.

    A star is what stands side by side: no epoch of the training.

    Parameters
    ----------
    table : pyarrow.Table
        The columns of `byol_checkpoints`; epoch 0 is the start and has neither loss nor speed.
    epochs : int
        Of the training; a row beyond them is of features side by side.

    Returns
    -------
    matplotlib.figure.Figure
    """
    figure = new_figure("Training: loss and health of the representation against epoch", 13, 6.4)
    panels = figure.subplots(2, len(_TRAINING) // 2, sharex=True).flat
    init, epoch, chosen = (np.array(table[c].to_pylist()) for c in ("init", "epoch", "chosen"))
    for axes, (column, label) in zip(panels, _TRAINING.items(), strict=True):
        axes.set(xlabel="epoch", ylabel=label)
        values = _numbers(table, column)
        if not np.isfinite(values).any():
            say(axes, "not measured yet")
            continue
        for i, name in enumerate(_in_order(init)):
            own = np.flatnonzero(np.isfinite(values) & (init == name))
            own = own[np.argsort(epoch[own], kind="stable")]
            trained = own[epoch[own] <= epochs]
            _line(axes, epoch[trained], values[trained], i, words(name))
            _side_by_side(axes, epoch[own[len(trained) :]], values[own[len(trained) :]], i, "_")
            used = own[chosen[own]]
            axes.plot(epoch[used], values[used], "o", ms=13, mfc="none", mec="black", linestyle="none")
        _whole_numbers(axes)
        if column in ("effective_rank", "pcs_95"):
            axes.set_ylim(bottom=0)
    handles, names = figure.axes[1].get_legend_handles_labels()
    if handles:
        names = [f"start: {name}" for name in names]
        figure.legend(handles, names, loc="outside lower center", ncols=len(names), frameon=False)
    return figure


def recall(table: pa.Table, by_forest: bool) -> "Figure":
    """True anomalies found down the ranked list, beside a random order's expectation and a perfect one (Figure 8).

    Parameters
    ----------
    table : pyarrow.Table
        Columns `rank` (from 1), `found`, `random` and `perfect`, one row per galaxy of the list; and any of
        `published`, `isolation_forest` and `local_outlier_factor`, which are drawn where they hold numbers.
    by_forest : bool
        Whether an isolation forest ranks, since no score tells galaxies apart.

    Returns
    -------
    matplotlib.figure.Figure
    """
    figure = new_figure("True anomalies found against rank", SINGLE, 2.8)
    axes = figure.subplots()
    axes.set(xlabel="index in the list, by falling anomaly score", ylabel="true anomalies found")
    rank, found, perfect = (_numbers(table, c) for c in ("rank", "found", "perfect"))
    if not len(rank) or not np.nanmax(found, initial=0) > 0:
        say(axes, "no true anomalies in this list" if len(rank) else "the list is empty")
        return lettered(figure)
    axes.plot(rank, perfect, color="black", linestyle=":", linewidth=1, label="perfect order")
    found_by = {"found": "the ranking, an isolation forest"} if by_forest else {}
    for column, (label, colour, dashes) in _SEARCHES.items():
        counts = _numbers(table, column) if column in table.column_names else np.empty(0)
        if np.isfinite(counts).any():
            width = 1.8 if column == "found" else 1.2
            axes.plot(rank, counts, color=colour, linestyle=dashes, linewidth=width, label=found_by.get(column, label))
    axes.set_xlim(0, rank.max())
    axes.set_ylim(0, 1.05 * np.nanmax(perfect))
    axes.xaxis.set_major_formatter("{x:,.0f}")
    axes.yaxis.set_major_formatter("{x:,.0f}")
    figure.legend(loc="outside lower center", ncols=2, frameon=False, fontsize=SMALL_LETTERS, columnspacing=1)
    return lettered(figure)


def votes_violin(table: pa.Table) -> "Figure":
    """Distribution of volunteers' vote fractions in every cluster and in all, a panel per answer (paper Figure 7).

    All violins have equal width and end at the extremes; the box spans the quartiles and the point in it is the median.
    A cluster without a galaxy in a panel has a gap there.

    Parameters
    ----------
    table : pyarrow.Table
        One row per galaxy, cluster and panel: `cluster` (string, `all` for every cluster together), `panel` (question
        and answer, in words) and `fraction` (0 to 1).

    Returns
    -------
    matplotlib.figure.Figure
    """
    import seaborn

    names = _in_order(np.array(table["panel"].to_pylist(), object))
    cluster, panel = (np.array(table[c].to_pylist(), object) for c in ("cluster", "panel"))
    fraction = _numbers(table, "fraction")
    order = sorted(set(cluster.tolist()), key=lambda k: (k != "all", not k.isdigit(), int(k) if k.isdigit() else 0, k))
    colours = {k: CONTEXT if k == "all" else PALETTE[5] for k in order}
    rows = max(len(names), 1)
    figure = new_figure("Vote fractions by cluster", DOUBLE, 0.6 + 1.25 * rows)
    panels = figure.subplots(rows, 1, squeeze=False)[:, 0]
    figure.supylabel("vote fraction")
    if not names:
        say(panels[0], "no galaxy has votes")
    for axes, name in zip(panels, names, strict=False):
        axes.set_title(words(name), loc="left")
        own = (panel == name) & np.isfinite(fraction)
        if not own.any():
            say(axes, "no galaxy has votes")
            continue
        seaborn.violinplot(
            x=cluster[own].astype(str),
            y=fraction[own],
            order=order,
            hue=cluster[own].astype(str),
            hue_order=order,
            palette=colours,
            density_norm="width",
            inner="box",
            # the paper's point for the median; seaborn's own is a dash
            inner_kws={"marker": "o", "markersize": 3, "box_width": 3.5, "whis_width": 0.8},
            cut=0,
            linewidth=0.6,
            legend=False,
            dodge=False,
            ax=axes,
        )
        axes.set(ylim=(-0.04, 1.04), yticks=[0, 0.5, 1], xlabel="", ylabel="")
        axes.tick_params(axis="x", labelbottom=axes is panels[-1])
    panels[-1].set_xlabel("cluster")
    return lettered(figure)


def variance(explained: np.ndarray, n: int) -> "Figure":
    """Cumulative explained variance of the principal components, with those that are kept marked (paper 4.2).

    Parameters
    ----------
    explained : numpy.ndarray of shape (K,), float
        Each component's share of the variance, 0 to 1, falling.
    n : int
        Components kept, at most K.

    Returns
    -------
    matplotlib.figure.Figure
    """
    figure = new_figure("Variance explained by the principal components", SINGLE, 2.5)
    axes = figure.subplots()
    axes.set(xlabel="principal components", ylabel="cumulative share of the variance")
    explained = np.asarray(explained, float)
    if not len(explained) or not np.isfinite(explained).all():
        say(axes, "no principal components" if not len(explained) else "the variance is not finite")
        return lettered(figure)
    held = np.cumsum(explained)
    axes.plot(np.arange(1, len(held) + 1), held, color=PALETTE[0], marker="o", markersize=3)
    if n:
        axes.axvline(n, color="#555555", linestyle="--", linewidth=1)
        axes.set_title(f"{n} components hold {held[n - 1]:.1%} of the variance")
    axes.set_ylim(0, 1.03)
    _whole_numbers(axes)
    return lettered(figure)


def _numbers(table: pa.Table, column: str) -> np.ndarray:
    """A column as float64, NaN for null."""
    return table[column].cast(pa.float64()).to_numpy()


def _in_order(names: np.ndarray) -> list[str]:
    """Distinct names in the order they first appear."""
    return list(dict.fromkeys(names.tolist()))


def _line(axes: "Axes", x: np.ndarray, y: np.ndarray, i: int, label: str) -> None:
    marker = MARKERS[i % len(MARKERS)]
    style = {"color": PALETTE[i % len(PALETTE)], "marker": marker, "markevery": max(len(x) // 10, 1)}
    axes.plot(x, y, markersize=3.5, linewidth=1.5, label=label, **style)


def _side_by_side(axes: "Axes", x: np.ndarray, y: np.ndarray, i: int, label: str) -> None:
    if len(x):
        axes.plot(x, y, "*", color=PALETTE[i % len(PALETTE)], markersize=9, linestyle="none", label=label)


def _whole_numbers(axes: "Axes") -> None:
    from matplotlib.ticker import MaxNLocator

    axes.xaxis.set_major_locator(MaxNLocator(steps=[1, 2, 5, 10], integer=True))
