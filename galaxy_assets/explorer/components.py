"""The three components of the page that are written in JavaScript, as NiceGUI elements.

Belongs here: their properties, events and methods. Does not belong here: what happens on an event (the panels).
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from nicegui import events
from nicegui.element import Element

_HERE = Path(__file__).parent
_MODULES = {"regl-scatterplot": str(_HERE / "vendor"), "gestures": str(_HERE / "gestures")}


class Map(Element, component=_HERE / "map.js", esm=_MODULES):
    """Points of a view.

    Events: `open`, `like` and `only` (row), `selected` (name of a set of rows), `clear`, `moved` (what of it is seen,
    as `tab.Place.zoom`), `hidden` (names in the legend), and with `box` in place of a lasso `region` ([x0, y0, x1, y1]
    in positions of the page).

    Parameters
    ----------
    label : str
        For screen readers.
    box : bool
        Draw boxes and not a lasso.
    zoom : str
        What of it is seen first.
    hide : list of str
        Names in the legend that are hidden first.
    companion : bool
        The second map: without a legend of its own.
    """

    def __init__(self, label: str, *, box: bool = False, zoom: str = "", hide: list[str], companion: bool = False):
        super().__init__()
        self._props.update(label=label, box=box, zoom=zoom, hide=hide, companion=companion, name="", peers="")
        self._props.update(points="", colour="", legend=None, base="")
        self._props["data-testid"] = "map-beside" if companion else "map"

    def show(self, *, points: str, colour: str, legend: dict[str, Any], base: str, peers: str = "") -> None:
        """Draw points and colours; what is the same as before is not fetched again.

        Parameters
        ----------
        points, colour : str
            Addresses of the positions and of a colour code per point.
        legend : dict
            What the codes mean.
        base : str
            Address of the map's pictures.
        peers : str
            Address of the rows of the same galaxies on the other map, where there are two.
        """
        self._props.update(points=points, colour=colour, legend=legend, base=base, peers=peers or self._props["peers"])
        self.update()

    def show_peers(self, peers: str) -> None:
        """Link it to another map.

        Parameters
        ----------
        peers : str
            Address of the rows of the same galaxies on that map.
        """
        self._props["peers"] = peers
        self.update()

    def hide(self, names: list[str]) -> None:
        """Hide these names of the legend and no others.

        Parameters
        ----------
        names : list of str
        """
        self._props["hide"] = names
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
