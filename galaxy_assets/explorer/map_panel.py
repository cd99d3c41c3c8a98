"""The left side of the page: the map, the one beside it, their colours and what the legend hides.

Belongs here: the two maps as one, and the choice of colours. Does not belong here: drawing (`map.js`), the links
between the two (`beside`), what a selection leads to (`page`).
"""

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Any, NamedTuple
from urllib.parse import quote

import numpy as np
from nicegui import events, ui

from galaxy_assets.explorer.beside import Beside
from galaxy_assets.explorer.colours import NOTHING
from galaxy_assets.explorer.components import Map
from galaxy_assets.explorer.tab import Place, Tab
from galaxy_assets.explorer.view import PRETRAINED, View
from galaxy_assets.lake.query import QueryError


class Said(NamedTuple):
    """What a person does on a map, and who is told.

    Attributes
    ----------
    act : callable
        Called with `open`, `like` or `only` and a row.
    selected : callable
        Called with rows; the maps have marked them.
    rows : callable
        Called with rows of the first map and words, where they are from the map beside it.
    clear : callable
    region : callable
        Called with the event of a box that was drawn.
    """

    act: Callable[[str, int], Awaitable[Any]]
    selected: Callable[[np.ndarray], Awaitable[Any]]
    rows: Callable[[np.ndarray, str], Awaitable[Any]]
    clear: Callable[[], Awaitable[Any]]
    region: Callable[[events.GenericEventArguments], Awaitable[Any]]


class MapPanel:
    """The map, and the one beside it. Call `open` once their tables are read.

    Parameters
    ----------
    place : Place
    title : str
        Of the survey.
    said : Said
    """

    tab: Tab

    def __init__(self, place: Place, title: str, said: Said):
        self.place, self.said = place, said
        self.beside: Beside | None = None
        self.above = ui.row().classes("ga-bar ga-colour")
        with ui.element("div").classes("ga-maps"):
            hide = place.hidden()
            words = f"Map of {title}, {place.start}"
            self.map = Map(words, box=place.start == PRETRAINED, zoom=place.zoom, hide=hide)
            if place.beside:
                words = f"Map of {title}, {place.beside}, beside that of {place.start}"
                self.second = Map(words, zoom=place.zoom_beside, hide=hide, companion=True)
                self._listen_beside()
                self.map._props["name"], self.second._props["name"] = place.start, place.beside
        # a map is drawn, and so sends these, only after everything else is there
        for kind in ("open", "like", "only"):
            self.map.on(kind, lambda e, kind=kind: said.act(kind, int(e.args)))
        self.map.on("selected", self._selected)
        self.map.on("clear", said.clear)
        self.map.on("region", said.region)
        self.map.on("moved", lambda e: self.tab.moved(zoom=str(e.args)))
        self.map.on("hidden", lambda e: self._hidden([str(name) for name in e.args]))

    def _listen_beside(self) -> None:
        # it is drawn, and so sends these, only after `open`
        for kind in ("open", "like", "only"):
            self.second.on(kind, lambda e, kind=kind: self.beside and self.beside.act(kind, int(e.args)))
        self.second.on("selected", lambda e: self.beside and self.beside.selected(e))
        self.second.on("clear", self.said.clear)
        self.second.on("moved", lambda e: self.tab.moved(zoom_beside=str(e.args)))

    async def open(self, tab: Tab, beside: View | None) -> None:
        """Draw the maps and offer the columns to colour them by.

        Parameters
        ----------
        tab : Tab
        beside : View or None
            Of the second map.
        """
        self.tab, place = tab, self.place
        if beside is not None:
            said = self.said
            self.beside = Beside(tab, beside, self.map, self.second, on_act=said.act, on_rows=said.rows)
        columns = _colourable(tab)
        if place.color not in columns:
            place.color = next((c for c in ("cluster", "suspect", "kept") if c in columns), columns[0])
        with self.above:
            self.colour = ui.select(
                columns, value=place.color, label="Coloured by", with_input=True, on_change=self._recolour
            )
            self.colour.props("dense outlined options-dense").classes("ga-grow")
        await self.show()

    async def show(self) -> None:
        """Draw the maps in the colours of now."""
        tab, name, shared = self.tab, self.place.color, self.tab.shared
        try:
            colours = await asyncio.to_thread(shared.colours, tab.view, name)
        except QueryError as error:
            ui.notify(str(error), type="negative", multi_line=True)
            return
        legend = {
            "title": name,
            "names": colours.names,
            "counts": colours.counts,
            "low": colours.low,
            "high": colours.high,
            "missing": int(np.count_nonzero(colours.codes == NOTHING)),
        }
        address = f"colours/{shared.stamp(tab.survey.name)}?column={quote(name, safe='')}"
        self.map.show(points=f"{tab.base}/points", colour=f"{tab.base}/{address}", legend=legend, base=tab.base)
        if self.beside:
            self.beside.show(address, legend)

    async def mark(self, rows: np.ndarray | None) -> None:
        """Select rows on both maps.

        Parameters
        ----------
        rows : ndarray of int, or None
            Of the first map; None selects nothing.
        """
        self.map.mark(None if rows is None else f"/rows/{self.tab.shared.keep_rows(self.tab.view, rows)}")
        if self.beside:
            await self.beside.mark(rows)

    async def _selected(self, event: events.GenericEventArguments) -> None:
        kept = self.tab.shared.kept(str(event.args), self.tab.view)
        if kept is None:
            return
        if self.beside:
            await self.beside.mark(kept.rows)
        await self.said.selected(kept.rows)

    async def _recolour(self) -> None:
        before = self.place.color, self.place.hidden()
        if self.colour.value and self.colour.value != self.place.color:
            await self._paint(self.colour.value, [])
            self.tab.did(f"colours by {self.place.color}", lambda: self._paint(*before))

    async def _paint(self, column: str, hidden: list[str]) -> None:
        self.tab.moved(color=column)
        self.colour.value = column
        self._hide(hidden)
        await self.show()

    def _hidden(self, names: list[str]) -> None:
        before = self.place.hidden()
        self._hide(names)
        self.tab.did("what the legend hides", lambda: self._hide(before))

    def _hide(self, names: list[str]) -> None:
        self.tab.moved(hide=json.dumps(names) if names else "")
        for map_ in (self.map, *([self.beside.map] if self.beside else [])):
            map_.hide(names)


def _colourable(tab: Tab) -> list[str]:
    """Columns that colours can show: not those with a value of its own for every galaxy."""
    unique = {"galaxy_id", "file", "sha256", "init", "pixels"}
    return [name for name, column in tab.view.columns.items() if column.name not in unique]
