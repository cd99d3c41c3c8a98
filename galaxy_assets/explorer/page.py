"""The page: header, map, and the panels beside it, wired together.

Belongs here: which element stands where and who tells whom. Does not belong here: what a panel does (its module),
routes.
"""

import asyncio
import time
from functools import partial
from pathlib import Path
from urllib.parse import unquote

import numpy as np
from fastapi import Request
from nicegui import background_tasks, events, ui

from galaxy_assets.explorer import rankings
from galaxy_assets.explorer.artefact_panel import ArtefactPanel
from galaxy_assets.explorer.changes import Changes
from galaxy_assets.explorer.cluster_panel import ClusterPanel
from galaxy_assets.explorer.components import Keys
from galaxy_assets.explorer.gallery_panel import GalleryPanel
from galaxy_assets.explorer.header import Header
from galaxy_assets.explorer.keyboard import KEYS, show_keys
from galaxy_assets.explorer.map_panel import MapPanel, Said
from galaxy_assets.explorer.object_dialog import ObjectDialog
from galaxy_assets.explorer.ranking_panel import RankingPanel
from galaxy_assets.explorer.score_panel import ScorePanel
from galaxy_assets.explorer.share import copy_button, open_selection
from galaxy_assets.explorer.shared import Shared
from galaxy_assets.explorer.tab import COOKIE_DARK, COOKIE_WHO, Place, Tab
from galaxy_assets.explorer.undo import Undo
from galaxy_assets.explorer.view import PRETRAINED
from galaxy_assets.lake.query import QueryError

STYLES = (Path(__file__).parent / "styles.css").read_text(encoding="utf-8")
PANELS = {
    "gallery": "Gallery",
    "score": "Score",
    "clusters": "Clusters",
    "artefacts": "Artefacts",
    "ranking": "Ranking",
}
_ANEW = "The map was made anew: reload the page. Until then it shows the galaxies of the map before."
_SAME_AGAIN = 60.0  # seconds after which the same failure is said again
_CLOCK = 2.0  # seconds between two looks at runs and at what other people said


def add_page(shared: Shared) -> None:
    """Register the page of all surveys, at /.

    Parameters
    ----------
    shared : Shared
    """

    @ui.page("/", title="galaxy-assets explorer")
    async def explorer(request: Request) -> None:
        given = {k: v for k, v in request.query_params.items() if k in Place.__dataclass_fields__}
        who = unquote(request.cookies.get(COOKIE_WHO, "")).strip()[:80] or shared.who
        dark = {"1": True, "0": False}.get(request.cookies.get(COOKIE_DARK, ""))
        ui.add_css(STYLES)
        ui.add_head_html("<script>document.documentElement.lang = 'en'</script>")
        ui.dark_mode(dark)
        ui.context.client.on_exception(_Failures().say)
        await _Page(shared, Place(**given), who, dark).build()


class _Failures:
    """What failed behind the page, said to the person; the same again only after a while, for clocks fail often."""

    def __init__(self):
        self._last, self._until = "", 0.0

    def say(self, error: Exception) -> None:
        words = f"This failed: {str(error) or type(error).__name__}"
        if words == self._last and time.monotonic() < self._until:
            return
        self._last, self._until = words, time.monotonic() + _SAME_AGAIN
        ui.notify(words, type="negative", multi_line=True, timeout=15_000, close_button="Close")


class _Page:
    def __init__(self, shared: Shared, place: Place, who: str, dark: bool | None):
        self.shared, self.place, self.who, self.dark = shared, place, who, dark
        self.panels: dict[str, ui.element] = {}
        self.tab: Tab

    async def build(self) -> None:
        shared, place = self.shared, self.place
        files, surveys = shared.files(), shared.surveys()
        broken = files.broken.get(files.files.get(place.survey, Path())) if place.survey not in surveys else None
        if broken or (files.broken and not surveys):
            _nothing("A survey file cannot be used", broken or " ".join(files.broken.values()))
            return
        if not surveys:
            _nothing(
                "Nothing to explore yet",
                f"No survey in {shared.layout.root} has been run. `galaxy-assets demo` makes two, simulated.",
            )
            return
        self.survey = surveys.get(place.survey) or surveys[next(iter(surveys))]
        place.survey = self.survey.name
        self.starts = shared.starts(self.survey)
        if not self.starts:
            _nothing(f"{self.survey.title} has no map yet", f"`galaxy-assets run {self.survey.name}` makes it.")
            return
        if place.start not in self.starts:
            place.start = self.starts[0]
        second = place.beside in self.starts and place.beside != place.start
        place.beside = place.beside if second else ""
        self.keys = Keys(KEYS, self._key)
        titles = {name: survey.title for name, survey in surveys.items()}
        self.header = Header(
            place, self.who, titles, self.starts, on_name=self._rename, on_dark=self._turn_dark, on_undo=self._undo
        )
        with ui.element("main").classes("ga-main ga-two" if second else "ga-main"):
            # the map is part of the page from the start: the browser sets its graphics up while the server reads
            with ui.element("div").classes("ga-left"):
                said = Said(self._act, self._selected, self._show_rows, self._cleared, self._region)
                self.maps = MapPanel(place, self.survey.title, said)
            self.right = ui.element("div").classes("ga-right")
            with self.right, ui.element("div").classes("ga-waiting").props("role=status"):
                ui.element("span").classes("ga-spinner")
                ui.label(f"opening {self.survey.title}")
        ui.timer(0, self._open_map, once=True)

    async def _open_map(self) -> None:
        shared, place = self.shared, self.place
        try:
            labels, view = await asyncio.gather(
                asyncio.to_thread(shared.labels, self.survey),
                asyncio.to_thread(shared.view, self.survey.name, place.start),
            )
            beside = await asyncio.to_thread(shared.view, self.survey.name, place.beside) if place.beside else None
            self._opened = await asyncio.to_thread(shared.up_to_date, view)
        except (FileNotFoundError, QueryError, ValueError, OSError) as error:
            self.right.clear()
            with self.right, ui.element("div").classes("ga-waiting"):
                ui.label(str(error)).classes("ga-problem").props("role=alert")
            self.maps.map.run_method("fail", "There is no map to draw.")
            return
        self.tab = Tab(shared, self.survey, view, labels, self.who, place)
        if view.damaged:
            words = f"Damaged, and left out: {', '.join(view.damaged)}. "
            words += "`galaxy-assets check --deep --repair` sets them aside."
            ui.notify(words, type="warning", multi_line=True, timeout=15_000, close_button="Close")
        await self.maps.open(self.tab, beside)
        self.right.clear()
        self._body()
        await self._load()

    def _go_to_map(self, start: str, panel: str = "") -> None:
        ui.navigate.to(self.header.other_map(start, panel).address())

    def _body(self) -> None:
        tab, place = self.tab, self.place
        tab.who = self.who  # also of who typed it while the map opened
        with self.header.share:
            copy_button(tab, "copy a link to what is shown")
        tab.on_place = lambda address: self.keys.run_method("address", address)
        self.object = ObjectDialog(tab, self._more_like)
        self.changes = Changes(self.shared.layout, self.survey.name)
        with self.right:
            with ui.tabs().classes("ga-tabs").props('dense no-caps align=left aria-label="panels"') as self.tabs:
                for name, words in PANELS.items():
                    ui.tab(name, words).props(f'aria-controls="ga-panel-{name}"')
            for name in PANELS:
                self.panels[name] = (
                    ui.element("section")
                    .classes("ga-panel-box")
                    .props(f'id="ga-panel-{name}" role=tabpanel aria-label="{PANELS[name]}"')
                )
            with self.panels["gallery"]:
                self.gallery = GalleryPanel(tab, self.object.show, self.maps.mark)
            with self.panels["score"]:
                self.score = ScorePanel(tab, self.keys, self._open, self._scored)
            with self.panels["clusters"]:
                self.clusters = ClusterPanel(tab, self._open, self._members, self.changes)
            with self.panels["artefacts"]:
                self.artefacts = ArtefactPanel(
                    tab, self.maps.map, lambda: self._go_to_map(PRETRAINED, "artefacts"), self._show_rows, self.changes
                )
            with self.panels["ranking"]:
                self.ranking = RankingPanel(tab, self._open, self._new_ranking)
        if place.panel not in PANELS:
            place.panel = "gallery"
        self.tabs.value = place.panel
        self.tabs.on_value_change(self._turn_to)
        for name, panel in self.panels.items():
            panel.set_visibility(name == place.panel)
        self.undo = Undo(tab, self.changes, self.header.undo, self.score.take_back, self._changed)
        tab.on_step = lambda: background_tasks.create(self.undo.refresh())

    async def _load(self) -> None:
        tab, place = self.tab, self.place
        if place.of:
            try:
                found = await asyncio.to_thread(open_selection, tab)
            except (ValueError, OSError) as error:
                found = False
                ui.notify(str(error), type="negative", multi_line=True)
            if not found:
                ui.notify("That selection was not shared and is not known here; draw it again.", type="info")
                tab.moved(of="")
        await self.gallery.refresh(mark=tab.selection is not None or bool(place.where))
        await self._panel_loaded(place.panel)
        if place.open and len(rows := tab.view.rows_of([place.open])):
            await self.object.show(int(rows[0]))
        await self.undo.refresh()
        self._stamp = self._opened
        ui.timer(_CLOCK, self._tick)
        if tab.has("rank"):
            await asyncio.to_thread(rankings.keep, self.shared.layout, self.survey.name)

    async def _turn_to(self, event: events.ValueChangeEventArguments) -> None:
        name = str(event.value)
        for key, panel in self.panels.items():
            panel.set_visibility(key == name)
        self.tab.moved(panel=name)
        await self._panel_loaded(name)

    async def _panel_loaded(self, name: str) -> None:
        if name == "clusters":
            await self.clusters.load()
        elif name == "artefacts":
            await self.artefacts.load()
        elif name == "ranking":
            await self.ranking.load()
        elif name == "score":
            await self.score.load()

    async def _key(self, event: events.GenericEventArguments) -> None:
        key = event.args["key"]
        if key == "?":
            show_keys()
        elif not self.panels:
            return
        elif key == "undo":
            await self.undo.undo()
        elif key == "g":
            self.tabs.value = "gallery"
            self.gallery.gallery.run_method("focus")
        elif key == "f":
            self.tabs.value = "gallery"
            self.keys.run_method("focus", "input[aria-label='Filter, in SQL']")
        elif self.place.panel == "score":
            await self.score.key(event)

    async def _selected(self, rows: np.ndarray) -> None:
        self.tabs.value = "gallery" if self.place.panel not in ("gallery", "score") else self.place.panel
        await self.gallery.select(rows, "inside the lasso")
        if self.place.panel == "score" and self.score.order.value == "selection":
            await self.score.requeue()

    async def _cleared(self) -> None:
        await self.gallery.deselect()

    async def _region(self, event: events.GenericEventArguments) -> None:
        self.tabs.value = "artefacts"
        await self.artefacts.load()
        await self.artefacts.region([float(v) for v in event.args])

    async def _act(self, kind: str, row: int) -> None:
        """Do what a person asked for on a map, of a galaxy."""
        if kind == "open":
            await self.object.show(row)
        elif kind == "like":
            await self._more_like([self.tab.galaxy(row)])
        else:
            await self._show_rows(np.array([row], np.int32), f"galaxy {self.tab.galaxy(row)}")

    async def _changed(self, what: str) -> None:
        """Show what was taken back."""
        await (self.clusters.reload() if what == "cluster" else self.artefacts.reload())

    async def _open(self, row: int) -> None:
        await self.object.show(row)

    def _scored(self, row: int, score: float | None) -> None:
        self.gallery.gallery.run_method("scored", row, score)

    async def _more_like(self, ids: list[str]) -> None:
        self.tabs.value = "gallery"
        await self.gallery.more_like(ids)

    async def _members(self, cluster: int) -> None:
        self.tabs.value = "gallery"
        await self.gallery.only(f"cluster = {cluster}")

    async def _show_rows(self, rows: np.ndarray, words: str) -> None:
        self.tabs.value = "gallery"
        await self.gallery.select(rows, words, mark=True)

    async def _new_ranking(self) -> None:
        """Show what a run changed."""
        if await self._show_anew():
            ui.notify("The ranking is new.", type="positive")

    async def _show_anew(self) -> bool:
        """Read the tables again that a run replaced; of another map the page says so, and shows what it showed.

        A panel that fails keeps no other from showing them.
        """
        self._stamp = await asyncio.to_thread(self.shared.up_to_date, self.tab.view)
        views = [self.tab.view, *([self.maps.beside.view] if self.maps.beside else [])]
        if await asyncio.to_thread(lambda: any(view.stale() for view in views)):
            ui.notify(_ANEW, type="warning", timeout=0, close_button="Close")
            return False
        gallery, parts = partial(self.gallery.refresh, keep=True), (self.score, self.clusters, self.artefacts)
        failed = []
        for show in (self.maps.show, gallery, *(part.anew for part in parts), self.ranking.load):
            try:
                await show()
            except Exception as error:  # whatever it is, it is said once the others show theirs
                failed.append(error)
        if failed:
            raise failed[0]
        return True

    async def _tick(self) -> None:
        await self.ranking.follow()
        await asyncio.to_thread(self.tab.labels.refresh)
        self.score.again()
        await self.undo.refresh()
        stamp = await asyncio.to_thread(self.shared.stamp, self.survey.name)
        if stamp != self._stamp and await self._show_anew():
            ui.notify("Tables of this survey were made anew; the page shows them.", type="info")

    async def _undo(self) -> None:
        await self.undo.undo()

    def _rename(self) -> None:
        name = (self.header.name.value or "").strip()[:80]
        self.header.name.value = name or self.who  # scores go on under the name before
        if name and name != self.who:
            self.who = name
            self.keys.run_method("remember", COOKIE_WHO, name)
            if self.panels:
                self.tab.who = name
                ui.timer(0, self.score.reload, once=True)
                self.tab.on_step()

    def _turn_dark(self, dark: bool) -> None:
        ui.dark_mode(not dark)
        self.keys.run_method("remember", COOKIE_DARK, "0" if dark else "1")


def _nothing(title: str, words: str) -> None:
    with ui.element("main").classes("ga-nothing"):
        ui.label(title).classes("ga-title").props("role=heading aria-level=1")
        ui.label(words)
