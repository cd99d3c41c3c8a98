"""The three components of the page that are written in JavaScript, as NiceGUI elements.

Belongs here: their properties, events and methods. Does not belong here: what happens on an event (the panels).
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from nicegui import events
from nicegui.element import Element

_HERE = Path(__file__).parent


class Map(Element, component=_HERE / "map.js", esm={"regl-scatterplot": str(_HERE / "vendor")}):
    """Points of a view.

    Events: `open` (row), `selected` (name of a set of rows), `clear`, and with `box` in place of a lasso `region`
    ([x0, y0, x1, y1] in positions of the page).

    Parameters
    ----------
    label : str
        For screen readers.
    box : bool
        Draw boxes and not a lasso.
    """

    def __init__(self, label: str, *, box: bool = False):
        super().__init__()
        self._props.update(label=label, box=box, points="", colour="", legend=None, base="")

    def show(self, *, points: str, colour: str, legend: dict[str, Any], base: str) -> None:
        """Draw points and colours; what is the same as before is not fetched again.

        Parameters
        ----------
        points, colour : str
            Addresses of the positions and of a colour code per point.
        legend : dict
            What the codes mean.
        base : str
            Address of the map's pictures.
        """
        self._props.update(points=points, colour=colour, legend=legend, base=base)
        self.update()

    def mark(self, address: str | None) -> None:
        """Select the rows that lie at an address.

        Parameters
        ----------
        address : str or None
            None selects nothing.
        """
        self.run_method("mark", address)

    def boxes(self, boxes: list[dict[str, Any]]) -> None:
        """Draw boxes.

        Parameters
        ----------
        boxes : list of dict
            As `map.js` takes them.
        """
        self.run_method("boxes", boxes)


class Gallery(Element, component=_HERE / "gallery.js"):
    """Galaxies as pictures in a given order. Events: `open` (row), `more` (from which place), `choose` (rows).

    Parameters
    ----------
    label : str
        For screen readers.
    empty : str
        What is said where there are none.
    """

    def __init__(self, label: str, empty: str):
        super().__init__()
        self._props.update(label=label, empty=empty, base="")

    def show(self, base: str, items: list[dict[str, Any]], total: int, *, keep: bool = False) -> None:
        """Show the first items.

        Parameters
        ----------
        base : str
            Address of the map's pictures.
        items : list of dict
            As `gallery.js` takes them.
        total : int
            How many there are, shown or not.
        keep : bool
            Stay at the place that one scrolled to.
        """
        if self._props["base"] != base:
            self._props["base"] = base
            self.update()
        self.run_method("show", items, total, keep)


class Keys(Element, component=_HERE / "keys.js"):
    """Keys of the whole page.

    Parameters
    ----------
    keys : list of str
    on_key : callable
        Gets {"key", "shown"}, where `shown` is the attribute data-shown at that moment.
    """

    def __init__(self, keys: list[str], on_key: Callable[[events.GenericEventArguments], Any]):
        super().__init__()
        self._props["keys"] = keys
        self.on("key", on_key)
