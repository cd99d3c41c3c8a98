"""What the figures share: colours, markers, lettering, and words for what cannot be drawn.

Belongs here: only what more than one kind of figure uses. Does not belong here: anything that knows a table's columns.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Okabe & Ito (2008), safe for the colour-blind; without their yellow, which vanishes on white, and with dark grey for
# their black, which has no darker shade
PALETTE = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#D55E00", "#56B4E9", "#444444")
MARKERS = ("o", "^", "s", "D", "v", "P", "X", "*")
HIGHLIGHT = "#D55E00"
CONTEXT = "#B8BDC4"
SINGLE, DOUBLE = 3.3, 7.0  # inches: one and two columns of a printed page
LETTERS, SMALL_LETTERS = 8, 7  # points, at the size printed


def new_figure(label: str, width: float, height: float) -> "Figure":
    """An empty figure that arranges its own margins.

    Parameters
    ----------
    label : str
        What it shows, in words.
    width, height : float
        Inches.

    Returns
    -------
    matplotlib.figure.Figure
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    figure.set_label(label)
    return figure


def lettered(figure: "Figure") -> "Figure":
    """Give a figure letters of printed size: 8 points for titles and labels, 7 for ticks and what stands in a panel.

    Not by matplotlib's settings: those are shared by all threads, and assets are drawn in several.

    Parameters
    ----------
    figure : matplotlib.figure.Figure
        Is changed.

    Returns
    -------
    matplotlib.figure.Figure
        `figure`.
    """
    from matplotlib.legend import Legend
    from matplotlib.text import Text

    for text in figure.findobj(Text):
        text.set_fontsize(LETTERS)
    small = [text for legend in figure.findobj(Legend) for text in legend.get_texts()]
    for axes in figure.axes:
        axes.tick_params(labelsize=SMALL_LETTERS)
        small += axes.texts
    for text in small:
        text.set_fontsize(SMALL_LETTERS)
    return figure


def words(name: object) -> str:
    """A name from a table as lettering: spaces for underscores, and no `$`, which would begin mathematics.

    Parameters
    ----------
    name : object
        Its text is taken.

    Returns
    -------
    str
    """
    return str(name).replace("_", " ").replace("$", r"\$")


def say(axes: "Axes", text: str) -> None:
    """Say in an empty panel why nothing is drawn, and take away its ticks.

    Parameters
    ----------
    axes : matplotlib.axes.Axes
        The panel.
    text : str
        The reason.
    """
    axes.set(xticks=[], yticks=[])
    axes.text(0.5, 0.5, text, transform=axes.transAxes, ha="center", va="center", color="#555555", wrap=True)
