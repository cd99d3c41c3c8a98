"""The artefact panel: boxes on the map of pretrained features, what they would remove, and saving them as the rule.

Belongs here: the panel. Does not belong here: the rule's file and preview (`regions`), drawing a box (`map.js`).
"""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from functools import partial
from typing import Any

from nicegui import ui

from galaxy_assets.explorer import regions
from galaxy_assets.explorer.changes import Changes
from galaxy_assets.explorer.components import Map
from galaxy_assets.explorer.routes import Extent
from galaxy_assets.explorer.tab import Tab
from galaxy_assets.explorer.view import PRETRAINED
from galaxy_assets.lake.query import QueryError
from galaxy_assets.science.artefact_regions import Region
from galaxy_assets.settings.printing import count_of

_UNSAVED = "Tables were made anew; boxes that are not saved stay. “Back to the proposal” gives them up."


class ArtefactPanel:
    """The boxes of the artefact review: drawn, previewed and saved.

    Parameters
    ----------
    tab : Tab
    map_ : Map
    on_map : callable
        Leads to the map of pretrained features.
    on_rows : callable
        Shows rows in the gallery.
    changes : Changes
        Where what is saved can be taken back from.
    """

    def __init__(
        self,
        tab: Tab,
        map_: Map,
        on_map: Callable[[], Any],
        on_rows: Callable[..., Awaitable[Any]],
        changes: Changes,
    ):
        self.tab, self.map, self.on_rows, self.changes = tab, map_, on_rows, changes
        self.drawn: list[Region] = []
        self.in_force: list[Region] | None = []  # the boxes that were read, or saved since; None where none can be read
        self.review: str | None = None  # as it was when the boxes were read
        self.loaded = False
        self._reading = asyncio.Lock()  # a box drawn meanwhile waits for those it stands beside
        self._saving = asyncio.Lock()  # the second click of a double click waits, and finds what the first one saved
        with ui.column().classes("ga-panel"):
            ui.label(
                "Boxes on the map of pretrained features in which images are removed (paper 3.3). Draw one with "
                "“Draw a box” above the map; what is saved here replaces the proposal at the next run."
            ).classes("ga-note")
            if tab.view.start != PRETRAINED:
                ui.button("Show the map of pretrained features", on_click=on_map, color=None).props(
                    "unelevated no-caps"
                ).classes("ga-primary")
                return
            self.state = ui.label().classes("ga-count").props("role=status aria-live=polite")
            self.problem = ui.label().classes("ga-problem").props("role=alert")
            self.problem.set_visibility(False)
            self.list = ui.column().classes("ga-regions")
            with ui.row().classes("ga-bar"):
                ui.button("Show what it removes", on_click=self._show_removed).props("flat dense no-caps")
                ui.button("Save the rule", on_click=self._save, color=None).props("unelevated dense no-caps").classes(
                    "ga-primary"
                )
                ui.button("Back to the proposal", on_click=self._withdraw).props("flat dense no-caps")
            self.versions = ui.column().classes("ga-note")

    async def load(self) -> None:
        """Show the boxes in force, once: what was drawn since stays until it is saved or given up."""
        tab = self.tab
        if tab.view.start != PRETRAINED:
            return
        async with self._reading:
            if self.loaded:
                return
            self.loaded = True
            before, review, in_force, problem = self.drawn, self.review, None, ""
            try:
                review = await asyncio.to_thread(regions.review_text, tab.shared.layout, tab.survey.name)
                in_force = await asyncio.to_thread(regions.read_regions, tab.view)
            except (ValueError, OSError) as error:
                problem = str(error)
            if self.drawn is not before:  # a person goes on from what was shown, which is what a save must be held to
                self._say(problem or _UNSAVED)
            else:
                self.review, self.in_force = review, in_force
                self.drawn = self.drawn if in_force is None else in_force
                if problem:
                    self._say(problem)
            await self._refresh()

    async def region(self, box: list[float]) -> None:
        """Add a box that was drawn.

        Parameters
        ----------
        box : list of float
            x0, y0, x1, y1, in positions of the page.
        """
        extent = Extent.of(self.tab.view)
        (x0, y0), (x1, y1) = extent.to_map(box[0], box[1]), extent.to_map(box[2], box[3])
        self._remember("a box drawn")
        number = max((r.region for r in self.drawn), default=0) + 1
        box_ = Region(number, x0, y0, x1, y1, 0, 0, 0.0, f"drawn by {self.tab.who or 'somebody'}", "accepted")
        self.drawn = [*self.drawn, box_]
        await self._refresh()

    def _remember(self, words: str) -> None:
        drawn = self.drawn

        async def back() -> None:
            self.drawn = drawn
            await self._refresh()

        self.tab.did(words, back)

    async def _refresh(self) -> None:
        tab = self.tab
        extent = Extent.of(tab.view)
        shown = [r for r in self.drawn if r.status != "rejected"]
        boxes = []
        for region in shown:
            (x1, y1), (x2, y2) = extent.to_page(region.x0, region.y0), extent.to_page(region.x1, region.y1)
            boxes.append({"x1": x1, "y1": y1, "x2": x2, "y2": y2})
        self.map.boxes(boxes)
        try:
            whole = await asyncio.to_thread(regions.preview, tab.view, self.drawn)
            each = [await asyncio.to_thread(regions.preview, tab.view, [region]) for region in shown]
        except QueryError as error:
            self._say(str(error))
            return
        self.state.text = (
            f"{len(whole.rows):,} of {len(tab.view):,} images lie in {_boxes(len(shown))}, "
            f"{whole.suspects:,} of them suspects"
            if shown
            else "No box is in force: only evidence removes images."
        )
        self.list.clear()
        with self.list:
            for region, held in zip(shown, each, strict=True):
                with ui.row().classes("ga-bar ga-region"):
                    ui.label(f"Box {region.region}").classes("ga-subtitle")
                    reasons = ", ".join(f"{name} {n}" for name, n in held.reasons) or "none"
                    ui.label(f"{count_of(len(held.rows), 'image')}; suspects: {reasons}")
                    ui.label(region.reasons if region.reasons != "review" else region.status).classes("ga-note")
                    ui.space()
                    ui.button(
                        "Show", on_click=lambda h=held, r=region: self.on_rows(h.rows, f"in box {r.region}")
                    ).props("flat dense no-caps")
                    ui.button("Remove", on_click=partial(self._remove, region)).props("flat dense no-caps")
        self._list_versions()

    def _list_versions(self) -> None:
        tab = self.tab
        kept = sorted(regions.versions(tab.shared.layout, tab.survey.name).glob("*.csv"), reverse=True)
        review = tab.shared.layout.artefact_review(tab.survey.name)
        self.versions.clear()
        with self.versions:
            ui.label(f"In force: {review.name}" if review.exists() else "In force: the proposal of artefact_regions")
            for file in kept[:5]:
                ui.label(f"version {file.stem}")

    async def _remove(self, region: Region) -> None:
        self._remember(f"box {region.region} removed")
        self.drawn = [replace(r, status="rejected") if r is region else r for r in self.drawn]
        await self._refresh()

    async def _show_removed(self) -> None:
        held = await asyncio.to_thread(regions.preview, self.tab.view, self.drawn)
        if len(held.rows):
            await self.on_rows(held.rows, "that the boxes would remove")
        else:
            ui.notify("The boxes hold no image.", type="info")

    async def _save(self) -> None:
        async with self._saving:
            tab, drawn = self.tab, self.drawn
            accepted = [replace(r, status="accepted") if r.status != "rejected" else r for r in drawn]
            try:
                if self.review is not None and drawn == self.in_force:
                    layout, survey = tab.shared.layout, tab.survey.name
                    if await asyncio.to_thread(regions.review_text, layout, survey) == self.review:
                        ui.notify("These boxes are the rule already.", type="info")
                        return
                who = tab.person()
                version = await asyncio.to_thread(regions.save, tab.view, accepted, self.review)
            except (ValueError, OSError) as error:
                self._say(f"not saved: {error}")
                return
            ui.notify(f"Saved as version {version.stem}; the next run applies it.", type="positive")
            self.in_force = drawn
            self._say(await self._made(who, "the artefact rule saved"))
            self._list_versions()

    async def _withdraw(self) -> None:
        async with self._saving:
            tab = self.tab
            try:
                who = tab.person()
                await asyncio.to_thread(regions.put_review, tab.shared.layout, tab.survey.name, None, self.review)
            except (ValueError, OSError) as error:
                self._say(f"not withdrawn: {error}")
                return
            if self.drawn != self.in_force:
                self._remember("boxes given up that were not saved")
            problem = await self._made(who, "the artefact rule withdrawn") if self.review is not None else ""
            await self.reload()
            if problem:
                self._say(problem)

    async def _made(self, who: str, words: str) -> str:
        """Note a change that is on disk; returns why it cannot be taken back, empty where it can."""
        tab, before = self.tab, self.review
        try:
            self.review = await asyncio.to_thread(regions.review_text, tab.shared.layout, tab.survey.name)
            await asyncio.to_thread(self.changes.made, who, "artefacts", words, before, self.review)
        except (ValueError, OSError) as error:
            return f"{words}; it cannot be taken back here: {error}"
        tab.on_step()
        return ""

    async def reload(self) -> None:
        """Show the boxes in force again, where the panel shows any."""
        if self.tab.view.start != PRETRAINED:
            return
        self._say("")
        self.loaded = False
        await self.load()

    async def anew(self) -> None:
        """Show the boxes of now after a run; boxes that are not saved stay, with what they hold now."""
        if not self.loaded:
            return
        if self.in_force is None or self.drawn == self.in_force:
            await self.reload()
        else:
            self._say(_UNSAVED)
            await self._refresh()

    def _say(self, words: str) -> None:
        self.problem.text = words
        self.problem.set_visibility(bool(words))


def _boxes(n: int) -> str:
    return "one box" if n == 1 else f"{n} boxes"
