"""What one browser tab looks at: a map, a set of galaxies and their order, and who is looking.

The tab's place is in its address, so that reloading keeps it.

Belongs here: that state and its way into the address and back. Does not belong here: elements of the page (the panels).
"""

import json
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, NamedTuple
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
    "open": "",
    "zoom": "",
    "hide": "",
    "beside": "",
    "zoom_beside": "",
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
    open: str = ""
    """Galaxy whose dialog is open."""
    zoom: str = ""
    """What of the map is seen: x and y of the centre and half the height, in positions of the page; all when empty."""
    hide: str = ""
    """Names in the legend that are hidden, as a JSON list."""
    beside: str = ""
    """Start weights of a second map."""
    zoom_beside: str = ""

    def hidden(self) -> list[str]:
        """The names in the legend that are hidden.

        Returns
        -------
        list of str
            Empty also for what is no list of names, since an address is anybody's text.
        """
        try:
            names = json.loads(self.hide or "[]")
        except ValueError:
            return []
        return [name for name in names if isinstance(name, str)] if isinstance(names, list) else []

    def address(self) -> str:
        """The page's address that leads to this place.

        Returns
        -------
        str
        """
        given = {k: v for k, v in vars(self).items() if v and v != _DEFAULTS.get(k, "")}
        return "/?" + urlencode(given, quote_via=quote)


class Step(NamedTuple):
    """A change that this tab made to what it shows, and that nothing but the tab remembers.

    Attributes
    ----------
    time : float
        Seconds.
    words : str
        What was changed, for a person.
    back : callable
        Takes it back; may be a coroutine function.
    """

    time: float
    words: str
    back: Callable[[], Any]


_STEPS = 100


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
    on_step: Callable[[], Any] = lambda: None
    steps: list[Step] = field(default_factory=list)
    """Changes that can be taken back, the latest last."""

    @property
    def base(self) -> str:
        """Address of the map's pictures and points.

        Returns
        -------
        str
        """
        return base_of(self.view)

    def person(self) -> str:
        """Who is looking, for what is kept under their name.

        Returns
        -------
        str

        Raises
        ------
        ValueError
            Where nobody has said it: over the network the server's owner is not whoever opens the page.
        """
        if not self.who:
            raise ValueError("nobody has said who this is; write your name into “Scoring as”, at the top, first")
        return self.who

    def did(self, words: str, back: Callable[[], Any]) -> None:
        """Note a change that nothing but this tab remembers, so that it can be taken back.

        Parameters
        ----------
        words : str
            What was changed, for a person.
        back : callable
            Takes it back; may be a coroutine function.
        """
        self.steps = [*self.steps[1 - _STEPS :], Step(time.time(), words, back)]
        self.on_step()

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


def base_of(view: View) -> str:
    """Address of a map's pictures and points.

    Parameters
    ----------
    view : View

    Returns
    -------
    str
    """
    return f"/view/{quote(view.survey)}/{quote(view.start)}/{view.version}"
