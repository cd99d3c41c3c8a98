"""Plates: cutouts arranged for a printed page, with letters of printed size (paper Figures 2 and 10-13).

Belongs here: arranging and lettering cutouts in inches, also beside a map. Does not belong here: choosing them; sheets
for a screen, whose letters are pixels (`galleries`).
"""

from collections.abc import Mapping, Sequence
from textwrap import wrap
from typing import TYPE_CHECKING

import numpy as np

from galaxy_assets.figures.style import DOUBLE, HIGHLIGHT, SINGLE, lettered, words

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

GAP = 0.04  # between cutouts, inches
CAPTION = 0.15  # height of a caption or title, inches
_LETTER = 0.052  # mean width of a letter of 7 points, inches
_DPI = 300  # of cutouts; a plate of a hundred larger ones would be slow to draw and a file of many megabytes
_PER_BLOCK = 10  # queries below each other
_AT_AN_END = 50  # rounds drawn of the first and of the last: a JPEG of thousands would be too tall


def new_plate(label: str, width: float, height: float) -> "tuple[Figure, Axes]":
    """A figure and axes over all of it, whose coordinates are inches from the top left.

    Parameters
    ----------
    label : str
        What the figure shows.
    width, height : float
        Inches.

    Returns
    -------
    figure : matplotlib.figure.Figure
    axes : matplotlib.axes.Axes
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height))
    figure.set_label(label)
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set(xlim=(0, width), ylim=(height, 0), autoscale_on=False)
    axes.axis("off")
    return figure, axes


def put(
    axes: "Axes",
    pixels: np.ndarray,
    x: float,
    y: float,
    side: float,
    *,
    caption: str | None = None,
    corner: str | None = None,
    frame: str | None = None,
) -> None:
    """Draw a cutout with its top left corner at (x, y). All lengths are inches.

    Parameters
    ----------
    axes : matplotlib.axes.Axes
        Of `new_plate`.
    pixels : numpy.ndarray of shape (S, S), (S, S, 1) or (S, S, 3), uint8
        The cutout.
    x, y, side : float
        Place of the corner and side of the drawn cutout.
    caption : str, optional
        In a box below it.
    corner : str, optional
        Label in its corner.
    frame : str, optional
        Colour of a frame around it.

    Raises
    ------
    ValueError
        For pixels of another shape or type.
    """
    from matplotlib.patches import Rectangle
    from PIL import Image

    pixels = np.asarray(pixels)
    if pixels.ndim == 2:
        pixels = pixels[..., None]
    if pixels.dtype != np.uint8 or not pixels.size or pixels.ndim != 3 or pixels.shape[2] not in (1, 3):
        raise ValueError(f"a cutout is uint8 (S, S), (S, S, 1) or (S, S, 3), got {pixels.dtype} {pixels.shape}")
    colour = np.broadcast_to(pixels, (*pixels.shape[:2], 3))
    if len(colour) > _DPI * side:
        small = round(_DPI * side)
        colour = np.asarray(Image.fromarray(np.ascontiguousarray(colour)).resize((small, small), Image.Resampling.BOX))
    axes.imshow(colour, extent=(x, x + side, y + side, y), aspect="equal")
    if frame:
        axes.add_patch(Rectangle((x, y), side, side, fill=False, edgecolor=frame, linewidth=2))
    if corner:
        box = {"facecolor": "black", "alpha": 0.6, "pad": 1.2, "linewidth": 0}
        inset = 0.05
        lines = "\n".join(fit(line, side - 2 * inset) for line in wrap(corner, int((side - 2 * inset) / _LETTER)))
        axes.text(x + inset, y + inset, lines, color="white", ha="left", va="top", bbox=box)
    if caption is not None:
        box = Rectangle((x, y + side), side, CAPTION, facecolor="#EEF0F2", edgecolor="#B8BDC4", linewidth=0.5)
        axes.add_patch(box)
        middle = y + side + 0.52 * CAPTION
        axes.text(x + side / 2, middle, fit(caption, side), ha="center", va="center")


def fit(text: str, width: float) -> str:
    """The text as lettering of 7 points, cut short where it would be wider than `width` inches.

    Parameters
    ----------
    text : str
        A name from a table.
    width : float
        Inches.

    Returns
    -------
    str
    """
    room = max(int(width / _LETTER), 4)
    return words(text if len(text) <= room else text[: room - 1].rstrip() + "…")


def class_examples(blocks: Mapping[str, Sequence[np.ndarray]]) -> "Figure":
    """Up to nine examples of each class, three by three under the class's name, three classes in a row (Figure 2).

    Parameters
    ----------
    blocks : mapping of str to sequence of numpy.ndarray
        Class -> cutouts as `put` takes them.

    Returns
    -------
    matplotlib.figure.Figure
    """
    across = min(len(blocks), 3)
    side = min(0.72, (DOUBLE - 0.15 * (across - 1)) / (3 * across) - GAP)
    wide, high = 3 * (side + GAP), 3 * (side + GAP) + CAPTION + 0.1
    lines = -(-len(blocks) // 3)
    figure, axes = new_plate("Examples of each class", across * wide + 0.15 * (across - 1), lines * high)
    for i, (name, pixels) in enumerate(blocks.items()):
        left, top = i % 3 * (wide + 0.15), i // 3 * high
        axes.text(left + wide / 2, top + 0.1, fit(name, wide), ha="center", va="center", weight="bold")
        for k, one in enumerate(pixels):
            put(axes, one, left + k % 3 * (side + GAP), top + CAPTION + 0.06 + k // 3 * (side + GAP), side)
    return lettered(figure)


def labelled_grid(pixels: Sequence[np.ndarray], labels: Sequence[str]) -> "Figure":
    """Cutouts row by row in the order given, each with its label in the corner (paper Figure 13).

    Parameters
    ----------
    pixels : sequence of numpy.ndarray
        Cutouts as `put` takes them.
    labels : sequence of str
        One per cutout.

    Returns
    -------
    matplotlib.figure.Figure
    """
    longest = max((len(word) for label in labels for word in words(label).split()), default=0)
    columns = next((c for c in (4, 3, 2) if longest <= (SINGLE / c - 0.14) / _LETTER), 2)
    side = (SINGLE + GAP) / columns - GAP
    figure, axes = new_plate("Labelled galaxies", SINGLE, -(-len(pixels) // columns) * (side + GAP) - GAP)
    for i, (one, label) in enumerate(zip(pixels, labels, strict=True)):
        put(axes, one, i % columns * (side + GAP), i // columns * (side + GAP), side, corner=label)
    return lettered(figure)


def rounds_drawn(rounds: Sequence[int]) -> tuple[list[int], str]:
    """The rounds that `query_history` draws: all, or of more than a hundred the first and last fifty.

    Parameters
    ----------
    rounds : sequence of int

    Returns
    -------
    drawn : list of int
        In order, each once.
    left_out : str
        Which are not drawn, for the end of a title; empty where all are.

    Examples
    --------
    >>> from galaxy_assets.figures.plates import rounds_drawn
    >>> rounds_drawn([0, 1, 1, 2])
    ([0, 1, 2], '')
    >>> rounds_drawn(range(2001))[1]
    '; queries 50 to 1,950 are not drawn'
    """
    every = sorted(set(rounds))
    if len(every) <= 2 * _AT_AN_END:
        return every, ""
    between = every[_AT_AN_END:-_AT_AN_END]
    return every[:_AT_AN_END] + every[-_AT_AN_END:], f"; queries {between[0]:,} to {between[-1]:,} are not drawn"


def query_history(pixels: Sequence[np.ndarray], scores: Sequence[float], rounds: Sequence[int]) -> "Figure":
    """What the oracle was shown: a row per round, its score in a box under each cutout (paper Figure 10).

    More than ten rounds stand in two blocks side by side. Of very many `rounds_drawn` are drawn.

    Parameters
    ----------
    pixels : sequence of numpy.ndarray
        Cutouts as `put` takes them, in the order shown.
    scores : sequence of float
        0-5, one per cutout.
    rounds : sequence of int
        Round of each cutout; 0 is the seed sample, before any query.

    Returns
    -------
    matplotlib.figure.Figure
    """
    drawn, left_out = rounds_drawn(rounds)
    shown: dict[int, list[int]] = {r: [] for r in drawn}
    for i, found in enumerate(rounds):
        shown.get(found, []).append(i)
    margin, columns = 0.52, max(5, *map(len, shown.values()), 0)
    side = (SINGLE - margin) / columns - GAP
    per_block = len(shown) if len(shown) <= _PER_BLOCK else -(-len(shown) // 2)
    pitch = side + CAPTION + GAP
    width = SINGLE if per_block == len(shown) else 2 * SINGLE + 0.2
    label = f"Galaxies shown to the oracle, query by query{left_out}"
    figure, axes = new_plate(label, width, max(per_block * pitch, 0.5))
    for n, (r, members) in enumerate(shown.items()):
        left, top = n // per_block * (SINGLE + 0.2), n % per_block * pitch
        axes.text(left + 0.02, top + side / 2, f"query {r}" if r else "seeds", va="center", ha="left")
        for k, i in enumerate(members):
            put(axes, pixels[i], left + margin + k * (side + GAP), top, side, caption=f"{scores[i]:g}")
    return lettered(figure)


def neighbours(pixels: Sequence[np.ndarray], captions: Sequence[str], centre: int) -> "Figure":
    """A galaxy, framed, among its nearest neighbours in a square grid (Figures 11 and 12).

    Parameters
    ----------
    pixels : sequence of numpy.ndarray
        Cutouts as `put` takes them, row by row.
    captions : sequence of str
        One per cutout.
    centre : int
        Which of the cutouts is the galaxy.

    Returns
    -------
    matplotlib.figure.Figure
    """
    columns = int(np.ceil(np.sqrt(len(pixels))))
    side = (SINGLE + GAP) / columns - GAP
    pitch = side + CAPTION + GAP
    figure, axes = new_plate("Nearest neighbours of a galaxy", SINGLE, -(-len(pixels) // columns) * pitch)
    for i, (one, caption) in enumerate(zip(pixels, captions, strict=True)):
        x, y, frame = i % columns * (side + GAP), i // columns * pitch, HIGHLIGHT if i == centre else None
        put(axes, one, x, y, side, caption=caption, frame=frame)
    return lettered(figure)
