"""A second map beside the first: the same galaxies from other start weights, in the same colours, selected together.

Belongs here: the second map of a tab. Does not belong here: drawing (`map.js`), the first map (`page`), which row of
one map is which of the other (`peers`).
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any
from urllib.parse import quote

import numpy as np
from nicegui import events, ui

from galaxy_assets.explorer.components import Map
from galaxy_assets.explorer.peers import PEERS
from galaxy_assets.explorer.tab import Tab, base_of
from galaxy_assets.explorer.view import View


class Beside:
    """The second map of a tab.

    Parameters
    ----------
    tab : Tab
    view : View
        What it shows.
    first, second : Map
        The maps on the page.
    on_act : callable
        Called with `open`, `like` or `only` and a row of the first map.
    on_rows : callable
        Shows rows of the first map in the gallery.
    """

    def __init__(
        self,
        tab: Tab,
        view: View,
        first: Map,
        second: Map,
        *,
        on_act: Callable[[str, int], Awaitable[Any]],
        on_rows: Callable[[np.ndarray, str], Awaitable[Any]],
    ):
        self.tab, self.view, self.first, self.map = tab, view, first, second
        self.on_act, self.on_rows = on_act, on_rows

    def show(self, colours: str, legend: dict[str, Any]) -> None:
        """Draw it in the colours of the first map.

        Parameters
        ----------
        colours : str
            What of the first map's address names its colours, such as `colours/<stamp>?column=cluster`.
        legend : dict
            Of the first map.
        """
        base, other = base_of(self.view), base_of(self.tab.view)
        of = quote(self.tab.view.start, safe="")
        self.map.show(
            points=f"{base}/points",
            colour=f"{base}/{colours}&of={of}",
            legend=legend,
            base=base,
            peers=f"{base}/peers?on={of}",
        )
        self.first.show_peers(f"{other}/peers?on={quote(self.view.start, safe='')}")

    async def mark(self, rows: np.ndarray | None) -> None:
        """Select the same galaxies as on the first map.

        Parameters
        ----------
        rows : ndarray of int, or None
            Of the first map; None selects nothing.
        """
        if rows is None:
            self.map.mark(None)
            return
        peers = await asyncio.to_thread(PEERS.rows, self.tab.view, self.view)
        found = peers[rows]
        self.map.mark(f"/rows/{self.tab.shared.keep_rows(self.view, found[found >= 0])}")

    async def selected(self, event: events.GenericEventArguments) -> None:
        """Show what a lasso on the second map holds.

        Parameters
        ----------
        event : GenericEventArguments
            Of the map.
        """
        kept = self.tab.shared.kept(str(event.args), self.view)
        if kept is None:
            return
        peers = await asyncio.to_thread(PEERS.rows, self.view, self.tab.view)
        found = peers[kept.rows]
        await self.on_rows(found[found >= 0], f"inside the lasso on the map of {self.view.start}")

    async def act(self, kind: str, row: int) -> None:
        """Do what a person asked for on the second map.

        Parameters
        ----------
        kind : str
            `open`, `like` or `only`.
        row : int
            Of the second map.
        """
        peers = await asyncio.to_thread(PEERS.rows, self.view, self.tab.view)
        if (first := int(peers[row])) < 0:
            ui.notify(f"{self.view.ids[row].as_py()} is not on the map of {self.tab.view.start}.", type="info")
            return
        await self.on_act(kind, first)
