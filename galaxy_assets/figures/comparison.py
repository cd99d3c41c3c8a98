"""The survey's encoders beside each other.

Belongs here: the figure of `encoder_comparison`. Does not belong here: curves against an epoch (`curves`).
"""

from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from galaxy_assets.figures.style import PALETTE, new_figure, say, words

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_MEASURES = {
    "effective_rank": "effective rank",
    "stability": "shared neighbours of two views",
    "alignment": "alignment (distance of two views)",
    "uniformity": "uniformity",
    "accuracy": "k-NN accuracy",
    "cluster_accuracy": "accuracy of the clusters' labels",
}


def encoders(table: pa.Table) -> "Figure":
    """A panel per measure and a bar per encoder: the first four need no labels, the last two do.

    Parameters
    ----------
    table : pyarrow.Table
        The columns of `encoder_comparison`.

    Returns
    -------
    matplotlib.figure.Figure
    """
    figure = new_figure("Encoders beside each other, without labels and with them", 13, 2 + 0.9 * max(len(table), 2))
    names = [words(name) for name in table["init"].to_pylist()]
    places = range(len(names))
    for axes, (column, label) in zip(figure.subplots(2, len(_MEASURES) // 2).flat, _MEASURES.items(), strict=True):
        axes.set(xlabel=label)
        values = np.array(table[column].to_pylist(), float)
        if not np.isfinite(values).any():
            say(axes, "not measured")
            continue
        bars = axes.barh(places, np.nan_to_num(values), color=[PALETTE[i % len(PALETTE)] for i in places])
        axes.bar_label(bars, [f"{value:.3g}" if np.isfinite(value) else "" for value in values], padding=3)
        axes.margins(x=0.2)
        axes.set_yticks(places, names)
        axes.invert_yaxis()
    return figure
