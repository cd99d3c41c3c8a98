"""The page: header, map, and the panels beside it, wired together.

Belongs here: which element stands where and who tells whom. Does not belong here: what a panel does (its module),
routes.
"""

import asyncio
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote

import numpy as np
from fastapi import Request
from nicegui import events, ui

from galaxy_assets.explorer import rankings
from galaxy_assets.explorer.artefact_panel import ArtefactPanel
from galaxy_assets.explorer.cluster_panel import ClusterPanel
from galaxy_assets.explorer.components import Keys, Map
from galaxy_assets.explorer.gallery_panel import GalleryPanel
from galaxy_assets.explorer.object_dialog import ObjectDialog
from galaxy_assets.explorer.ranking_panel import RankingPanel
from galaxy_assets.explorer.score_panel import ScorePanel
from galaxy_assets.explorer.shared import Shared
from galaxy_assets.explorer.tab import COOKIE_DARK, COOKIE_WHO, Place, Tab
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
_CLOCK = 2.0  # seconds between two looks at runs and at what other people said
_HELP = [
    ("0 1 2 3 4 5", "score the galaxy that is shown (Score panel)"),
    ("u", "take back my last score"),
    ("s", "skip it"),
    ("n", "write a note; Enter leads back"),
    ("o", "open it"),
    ("g", "go to the gallery: arrows move, Enter opens, x chooses"),
    ("f", "go to the filter"),
    ("Shift and drag", "draw a lasso on the map"),
    ("?", "this list"),
]


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
        await _Page(shared, Place(**given), who, dark).build()


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
        self._header(surveys)
        with ui.element("main").classes("ga-main"):
            # the map is part of the page from the start: the browser sets its graphics up while the server reads
            with ui.element("div").classes("ga-left"):
                self.above_map = ui.row().classes("ga-bar ga-colour")
                self.map = Map(f"Map of {self.survey.title}, {place.start}", box=place.start == PRETRAINED)
                # the map is drawn, and so sends these, only after everything else is there
                self.map.on("open", lambda e: self.object.show(int(e.args)))
                self.map.on("selected", self._selected)
                self.map.on("clear", self._cleared)
                self.map.on("region", self._region)
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
        except (FileNotFoundError, QueryError, ValueError, OSError) as error:
            self.right.clear()
            with self.right, ui.element("div").classes("ga-waiting"):
                ui.label(str(error)).classes("ga-problem").props("role=alert")
            self.map.run_method("fail", "There is no map to draw.")
            return
        self.tab = Tab(shared, self.survey, view, labels, self.who, place)
        columns = _colourable(self.tab)
        if place.color not in columns:
            place.color = next((c for c in ("cluster", "suspect", "kept") if c in columns), columns[0])
        await self._show_map()
        self.right.clear()
        self._body(columns)
        await self._load()

    def _header(self, surveys: dict[str, Any]) -> None:
        place = self.place
        with ui.header().classes("ga-header").props("bordered"):
            ui.label("galaxy-assets").classes("ga-brand").props("role=heading aria-level=1")
            names = {name: survey.title for name, survey in surveys.items()}
            chosen = (
                ui.select(names, value=self.survey.name, label="Survey")
                .props("dense outlined options-dense")
                .classes("ga-survey")
            )
            chosen.on_value_change(lambda e: ui.navigate.to(Place(survey=e.value).address()))
            start = (
                ui.select(self.starts, value=place.start, label="Map of")
                .props("dense outlined options-dense")
                .classes("ga-start")
            )
            start.on_value_change(lambda e: self._go_to_map(e.value))
            ui.space()
            self.name = (
                ui.input("Scoring as", value=self.who)
                .props("dense outlined maxlength=80 autocomplete=off")
                .classes("ga-who")
            )
            self.name.on("blur", self._rename).on("keydown.enter", self._rename)
            ui.button(icon="contrast", on_click=self._turn_dark).props('flat round dense aria-label="light or dark"')
            ui.button(icon="help_outline", on_click=self._help).props('flat round dense aria-label="keys"')

    def _go_to_map(self, start: str, panel: str = "") -> None:
        place = Place(survey=self.place.survey, start=start, panel=panel or self.place.panel, color=self.place.color)
        ui.navigate.to(place.address())

    def _body(self, columns: list[str]) -> None:
        tab, place = self.tab, self.place
        with self.above_map:
            self.colour = ui.select(
                columns, value=place.color, label="Coloured by", with_input=True, on_change=self._recolour
            )
            self.colour.props("dense outlined options-dense").classes("ga-grow")
            self.keys = Keys(["0", "1", "2", "3", "4", "5", "u", "s", "n", "o", "g", "f", "?"], self._key)
        tab.on_place = lambda address: self.keys.run_method("address", address)
        self.object = ObjectDialog(tab, self._more_like)
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
                self.gallery = GalleryPanel(tab, self.object.show, self.map.mark)
            with self.panels["score"]:
                self.score = ScorePanel(tab, self.keys, self._open, self._scored)
            with self.panels["clusters"]:
                self.clusters = ClusterPanel(tab, self._open, self._members)
            with self.panels["artefacts"]:
                self.artefacts = ArtefactPanel(
                    tab, self.map, lambda: self._go_to_map(PRETRAINED, "artefacts"), self._show_rows
                )
            with self.panels["ranking"]:
                self.ranking = RankingPanel(tab, self._open, self._new_ranking)
        if place.panel not in PANELS:
            place.panel = "gallery"
        self.tabs.value = place.panel
        self.tabs.on_value_change(self._turn_to)
        for name, panel in self.panels.items():
            panel.set_visibility(name == place.panel)

    async def _load(self) -> None:
        tab, place = self.tab, self.place
        if place.of:
            rows = self.shared.rows(place.of)
            if rows is None:
                ui.notify("That selection was of an earlier server; draw it again.", type="info")
                tab.moved(of="")
            elif not len(rows) or rows.max() < len(tab.view):
                tab.selection, tab.words = rows, "selected"
        await self.gallery.refresh(mark=tab.selection is not None or bool(place.where))
        await self._panel_loaded(place.panel)
        self._stamp = self.shared.stamp(self.survey.name)
        ui.timer(_CLOCK, self._tick)
        if tab.has("rank"):
            await asyncio.to_thread(rankings.keep, self.shared.layout, self.survey.name)
        await asyncio.to_thread(tab.labels.seen)

    async def _show_map(self) -> None:
        tab, name, shared = self.tab, self.place.color, self.shared
        try:
            colours = await asyncio.to_thread(shared.colours, tab.view, name)
        except QueryError as error:
            ui.notify(str(error), type="negative", multi_line=True)
            return
        missing = int(np.count_nonzero(colours.codes == 255))
        legend = {
            "title": name,
            "names": colours.names,
            "counts": colours.counts,
            "low": colours.low,
            "high": colours.high,
            "missing": missing,
        }
        address = f"{tab.base}/colours/{shared.stamp(tab.survey.name)}?column={quote(name, safe='')}"
        self.map.show(points=f"{tab.base}/points", colour=address, legend=legend, base=tab.base)

    async def _recolour(self) -> None:
        if self.colour.value and self.colour.value != self.place.color:
            self.tab.moved(color=self.colour.value)
            await self._show_map()

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
            self._help()
        elif key == "g":
            self.tabs.value = "gallery"
            self.gallery.gallery.run_method("focus")
        elif key == "f":
            self.tabs.value = "gallery"
            self.keys.run_method("focus", "input[aria-label='Filter, in SQL']")
        elif self.place.panel == "score":
            await self.score.key(event)

    async def _selected(self, event: events.GenericEventArguments) -> None:
        rows = self.shared.rows(str(event.args))
        if rows is not None:
            self.tabs.value = "gallery" if self.place.panel not in ("gallery", "score") else self.place.panel
            await self.gallery.select(rows, "inside the lasso", str(event.args))
            if self.place.panel == "score" and self.score.order.value == "selection":
                await self.score.requeue()

    async def _cleared(self) -> None:
        await self.gallery.deselect()

    async def _region(self, event: events.GenericEventArguments) -> None:
        self.tabs.value = "artefacts"
        await self.artefacts.load()
        await self.artefacts.region([float(v) for v in event.args])

    async def _open(self, row: int) -> None:
        await self.object.show(row)

    def _scored(self, row: int, score: float | None) -> None:
        self.gallery.gallery.run_method("scored", row, score)

    async def _more_like(self, ids: list[str]) -> None:
        self.tabs.value = "gallery"
        await self.gallery.more_like(ids)

    async def _members(self, cluster: int) -> None:
        self.tabs.value = "gallery"
        self.gallery.filter.value = f"cluster = {cluster}"
        self.tab.selection, self.tab.found = None, None
        await self.gallery.refilter()

    async def _show_rows(self, rows: np.ndarray, words: str) -> None:
        self.tabs.value = "gallery"
        await self.gallery.select(rows, words)

    async def _new_ranking(self) -> None:
        """Show what a run changed."""
        self._stamp = self.shared.stamp(self.survey.name)
        self.tab.view.forget()
        await self._show_map()
        await self.gallery.refresh(keep=True)
        await self.score.reload()
        ui.notify("The ranking is new.", type="positive")

    async def _tick(self) -> None:
        await self.ranking.follow()
        await asyncio.to_thread(self.tab.labels.refresh)
        self.score.again()
        stamp = await asyncio.to_thread(self.shared.stamp, self.survey.name)
        if stamp != self._stamp:
            self._stamp = stamp
            self.tab.view.forget()
            await self._show_map()
            await self.gallery.refresh(keep=True)
            ui.notify("Tables of this survey were made anew; the page shows them.", type="info")

    def _rename(self) -> None:
        name = (self.name.value or "").strip()[:80]
        if name and name != self.who:
            self.who = self.tab.who = name
            self.keys.run_method("remember", COOKIE_WHO, name)
            ui.timer(0, self.score.reload, once=True)

    async def _turn_dark(self) -> None:
        dark = await ui.run_javascript("document.body.classList.contains('body--dark')")
        ui.dark_mode(not dark)
        self.keys.run_method("remember", COOKIE_DARK, "0" if dark else "1")

    def _help(self) -> None:
        with ui.dialog().props('aria-label="keys"') as dialog, ui.card().classes("ga-dialog"):
            ui.label("Keys").classes("ga-title").props("role=heading aria-level=2")
            for key, words in _HELP:
                with ui.row().classes("ga-key"):
                    ui.label(key).classes("ga-kbd")
                    ui.label(words)
            ui.label("They rest while you type or a dialog is open.").classes("ga-note")
            ui.button("Close", on_click=dialog.close).props("flat no-caps")
        dialog.on("hide", dialog.delete)
        dialog.open()


def _colourable(tab: Tab) -> list[str]:
    """Columns that colours can show: not those with a value of its own for every galaxy."""
    unique = {"galaxy_id", "file", "sha256", "init", "pixels"}
    return [name for name, column in tab.view.columns.items() if column.name not in unique]


def _nothing(title: str, words: str) -> None:
    with ui.element("main").classes("ga-nothing"):
        ui.label(title).classes("ga-title").props("role=heading aria-level=1")
        ui.label(words)
