"""Which clusters the galaxies of a class are in (paper 6.3).

Belongs here: drawing classes against clusters. Does not belong here: counting (`science.clusters`).
"""

from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from galaxy_assets.figures.style import new_figure, say, words

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def class_membership(table: pa.Table) -> "Figure":
    """Share of each evaluation class in each cluster, a row per class and a column per cluster.

    Clusters of one label stand together, in the order of the classes, the fullest first. The label is written above
    them; those without one stand last.

    Parameters
    ----------
    table : pyarrow.Table
        Columns `evaluation_class`, `cluster`, `share` and `labelled_as`.

    Returns
    -------
    matplotlib.figure.Figure
    """
    rows = table.to_pylist()
    classes = sorted({row["evaluation_class"] for row in rows})
    label = {row["cluster"]: row["labelled_as"] for row in rows}
    total = {k: sum(row["share"] for row in rows if row["cluster"] == k) for k in label}
    given = sorted({name for name in label.values() if name is not None})
    order = sorted(label, key=lambda k: (label[k] is None, label[k] or "", -total[k]))
    figure = new_figure("Clusters of each class", max(5.0, 2 + 0.42 * len(order)), 1.8 + 0.5 * len(classes))
    axes = figure.subplots()
    if not rows:
        say(axes, "no galaxy has a class")
        return figure
    share = np.zeros((len(classes), len(order)))
    for row in rows:
        share[classes.index(row["evaluation_class"]), order.index(row["cluster"])] = row["share"]
    axes.imshow(share, cmap="cividis", vmin=0, vmax=1, aspect="auto")
    for i, j in zip(*np.nonzero(share >= 0.005), strict=True):
        # black on cividis's yellow, white on its blue
        ink = "black" if share[i, j] > 0.5 else "white"
        axes.text(j, i, f"{100 * share[i, j]:.0f}", ha="center", va="center", color=ink, fontsize="small")
    axes.set_xticks(range(len(order)), [str(k) for k in order])
    axes.set_yticks(range(len(classes)), [words(name) for name in classes])
    axes.set(xlabel="cluster", title="% of each class")
    axes.title.set(fontsize="medium", x=0, ha="left")
    for name in [*given, None]:
        place = [i for i, k in enumerate(order) if label[k] == name]
        if place:
            if place[0]:
                axes.axvline(place[0] - 0.5, color="white", linewidth=2)
            axes.annotate(
                words(name).replace(" ", "\n") if name is not None else "no\nlabel",  # a group may be one column wide
                (np.mean([place[0], place[-1]]), len(classes) - 0.5),
                xytext=(0, -34),
                textcoords="offset points",
                ha="center",
                va="top",
                fontsize="small",
                annotation_clip=False,
            )
    return figure
