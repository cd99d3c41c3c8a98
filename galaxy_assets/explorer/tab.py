"""What one browser tab looks at: a map, a set of galaxies and their order, and who is looking.

The tab's place is in its address, so that reloading keeps it.

Belongs here: that state and its way into the address and back. Does not belong here: elements of the page (the panels).
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote, urlencode

import numpy as np

from galaxy_assets.explorer.scoring import Labels
from galaxy_assets.explorer.shared import Shared
from galaxy_assets.explorer.view import View
from galaxy_assets.settings.survey import Survey

COOKIE_WHO = "galaxy_assets_who"
COOKIE_DARK = "galaxy_assets_dark"
_DEFAULTS = {
    "color": "",
    "where": "",
    "by": "",
    "down": "",
    "of": "",
    "panel": "gallery",
    "order": "acquisition",
    "cluster": "",
    "at": "",
}


@dataclass
class Place:
    """What the address of a tab says: the map, its colours, the filter and the order, the panel and what it shows."""

    survey: str = ""
    start: str = ""
    color: str = ""
    where: str = ""
    by: str = ""
    down: str = ""
    of: str = ""
    """Name of the set of rows that was selected."""
    panel: str = "gallery"
    order: str = "acquisition"
    cluster: str = ""
    at: str = ""
    """Galaxy that is shown for scoring."""

    def address(self) -> str:
        """The page's address that leads to this place.

        Returns
        -------
        str
        """
        given = {k: v for k, v in vars(self).items() if v and v != _DEFAULTS.get(k, "")}
        return "/?" + urlencode(given, quote_via=quote)


@dataclass
class Tab:
    """One tab: `place`, and the objects that belong to it. `shown` are the rows of the gallery in their order."""

    shared: Shared
    survey: Survey
    view: View
    labels: Labels
    who: str
    place: Place
    selection: np.ndarray | None = None
    found: dict[int, float] | None = None
    """Distances where the selection is an answer to "more like these": it then keeps its own order."""
    words: str = ""
    """What the selection is, for a person."""
    shown: np.ndarray = field(default_factory=lambda: np.empty(0, np.int32))
    on_place: Callable[[str], Any] = lambda address: None

    @property
    def base(self) -> str:
        """Address of the map's pictures and points.

        Returns
        -------
        str
        """
        return f"/view/{quote(self.survey.name)}/{quote(self.view.start)}/{self.view.version}"

    def picture(self, row: int, side: int) -> str:
        """Address of a galaxy's picture.

        Parameters
        ----------
        row : int
        side : int
            Pixels.

        Returns
        -------
        str
        """
        return f"{self.base}/image/{row}/{side}"

    def galaxy(self, row: int) -> str:
        """Id of the galaxy in a row of the map.

        Parameters
        ----------
        row : int

        Returns
        -------
        str
        """
        return self.view.ids[row].as_py()

    def moved(self, **changes: str) -> None:
        """Note a change of place, also in the address."""
        for name, value in changes.items():
            setattr(self.place, name, value)
        self.on_place(self.place.address())

    def has(self, *columns: str) -> bool:
        """Whether the map has all of these columns.

        Parameters
        ----------
        *columns : str

        Returns
        -------
        bool
        """
        return all(column in self.view.columns for column in columns)
