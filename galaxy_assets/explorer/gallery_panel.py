"""The gallery panel: which galaxies are shown, in which order, and what can be done with them.

Belongs here: filter, order, count, export and "more like these". Does not belong here: the pictures' element
(`components`), the searches themselves (`view`, `lake.similar`, `export_page`).
"""

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

import numpy as np
from nicegui import events, ui

from galaxy_assets.deliveries import suffixes
from galaxy_assets.deliveries.images import UnreadableImage
from galaxy_assets.explorer import neighbours
from galaxy_assets.explorer.colours import word
from galaxy_assets.explorer.components import Gallery
from galaxy_assets.explorer.export_page import KINDS, write
from galaxy_assets.explorer.send import send_shown
from galaxy_assets.explorer.tab import Tab
from galaxy_assets.explorer.view import quoted
from galaxy_assets.lake.query import QueryError
from galaxy_assets.lake.similar import Near, nearest
from galaxy_assets.settings.files import SurveyError
from galaxy_assets.settings.printing import count_of

PAGE = 60
_UNAPPLIED = "This filter came with the address and is not applied. Read it, then press Apply."
_LIKE = 60  # answers to "more like these"
MAXIMUM_UPLOAD = 20_000_000
"""Bytes of an uploaded image; its pixels are bounded where it is decoded (`deliveries.images`)."""


class GalleryPanel:
    """The gallery of a tab. Call `refresh` after anything that decides what is shown.

    Parameters
    ----------
    tab : Tab
    on_open : callable
        Called with a row.
    on_rows : callable
        Called with the rows to mark on the map, or None.
    """

    def __init__(self, tab: Tab, on_open: Callable[[int], Any], on_rows: Callable[[np.ndarray | None], Awaitable[Any]]):
        self.tab, self.on_rows = tab, on_rows
        self.chosen: list[int] = []
        self._scores: dict[str, float] = {}
        self._applied: str | None = None
        self._newest = self._sent = 0
        self._running: tuple[tuple[Any, ...], bool, bool] | None = None  # what is asked for now, mark, keep
        place, columns = tab.place, list(tab.view.columns)
        self.by = place.by if place.by in columns else ("rank" if "rank" in columns else "galaxy_id")
        self.down = place.down == "1"
        with ui.column().classes("ga-panel"):
            with ui.row().classes("ga-bar"):
                self.filter = ui.input("Filter, in SQL", value=place.where, placeholder="cluster = 3 and score > 2")
                self.filter.classes("ga-grow").props(
                    "dense outlined stack-label clearable spellcheck=false autocomplete=off maxlength=4000"
                )
                self.filter.on("keydown.enter", self.refilter).on("clear", self.refilter)
                ui.button("Apply", on_click=self.refilter).props("flat dense no-caps")
                names = [*columns, "human_score", "human_label", "people"]
                self.names = ui.select(names, label="Add a column", with_input=True, on_change=self._insert)
                self.names.props("dense outlined options-dense").classes("ga-cluster")
            with ui.row().classes("ga-bar"):
                self.sort = ui.select(
                    columns, value=self.by, label="Sorted by", with_input=True, on_change=self._resort
                )
                self.sort.props("dense outlined options-dense").classes("ga-sort")
                self.direction = ui.button(on_click=self._turn).props("flat dense no-caps")
                self.all = ui.button("Show all", on_click=self.show_all).props("flat dense no-caps")
                ui.space()
                self.like = ui.button("More like these", on_click=self.more_like_chosen).props("flat dense no-caps")
                self.like.tooltip("choose galaxies with x, or open one")
                ui.button("More like an image", on_click=self._ask_for_image).props("flat dense no-caps")
                with ui.button("Export").props("flat dense no-caps"), ui.menu():
                    for kind, words in KINDS.items():
                        ui.menu_item(words, on_click=partial(self._export, kind))
                    ui.menu_item("Send to TOPCAT, Aladin or DS9", on_click=partial(send_shown, tab))
            self.count = ui.label().classes("ga-count").props("role=status aria-live=polite")
            self.problem = ui.label().classes("ga-problem").props("role=alert")
            self.gallery = Gallery("galaxies", "No galaxy matches. Change the filter, or show all.").classes(
                "ga-grow-y"
            )
        self.gallery.on("open", lambda e: on_open(int(e.args)))
        self.gallery.on("more", self._more)
        self.gallery.on("choose", self._choose)
        self.problem.set_visibility(False)
        self._words()

    async def refilter(self) -> None:
        """Show what the filter says; a filter that cannot be answered leaves what was shown."""
        condition = (self.filter.value or "").strip()
        if condition != self.tab.place.where:
            self._remember("the filter")
        self.tab.shared.apply(condition)
        self.tab.moved(where=condition)
        await self.refresh(mark=True)

    async def refresh(self, *, mark: bool = False, keep: bool = False) -> None:
        """Ask for the rows anew and show them. A filter that came with the address waits until it is applied.

        What was asked for last is shown, however long the answer to what was asked before takes. The same is not asked
        for twice at a time.

        Parameters
        ----------
        mark : bool
            Mark them on the map too.
        keep : bool
            Stay at the place that one scrolled to.
        """
        tab = self.tab
        asked = (tab.place.where, id(tab.selection), id(tab.found), self.by, self.down)
        if self._running is not None:
            before, marks, keeps = self._running
            if asked == before and marks >= mark and not keep:
                return
            mark, keep = mark or marks, keep and keeps  # what was asked before is shown by this one
        self._newest += 1
        turn, self._running = self._newest, (asked, mark, keep)
        try:
            await self._refresh(turn, mark=mark, keep=keep)
        finally:
            if turn == self._newest:
                self._running = None

    async def _refresh(self, turn: int, *, mark: bool, keep: bool) -> None:
        tab, condition = self.tab, self.tab.place.where
        waiting = bool(condition) and not tab.shared.applied(condition)
        if waiting:
            self._complain(_UNAPPLIED)
            condition = ""
        try:
            rows = await asyncio.to_thread(self._rows, condition)
        except QueryError as error:
            if turn != self._newest:
                return
            self._complain(str(error))
            if self._applied is not None:
                return
            condition = ""  # nothing is shown yet: everything is better than an empty page
            rows = await asyncio.to_thread(self._rows, condition)
        else:
            if turn == self._newest:
                self.problem.set_visibility(waiting)
        if turn != self._newest:
            return
        tab.shown, self._applied = rows, condition
        self._scores = tab.labels.scores_by(tab.who)
        if not keep:
            self.chosen = []
            self.gallery.run_method("unchoose")
        items = await asyncio.to_thread(self._items, 0, max(PAGE, self._sent) if keep else PAGE)
        if turn != self._newest:
            return
        self._sent = len(items)
        self.gallery.show(tab.base, items, len(rows), keep=keep)
        self._words()
        if mark:
            whole = len(rows) == len(tab.view)
            await self.on_rows(None if whole else rows)

    def _rows(self, condition: str) -> np.ndarray:
        tab = self.tab
        rows = tab.selection if tab.selection is not None else np.arange(len(tab.view), dtype=np.int32)
        if condition:
            named = any(word in condition.lower() for word in ("human_", "people"))
            matching = tab.view.matching(condition, tab.labels.said() if named else None)
            rows = rows[np.isin(rows, matching, assume_unique=True)]
        if tab.found is not None:
            return rows
        return tab.view.ordered(rows, self.by, self.down)

    def _items(self, start: int, n: int) -> list[dict[str, Any]]:
        tab = self.tab
        rows = tab.shown[start : start + n]
        ids = tab.view.ids.take(rows).to_pylist()
        if tab.found is not None:
            captions = [f"{tab.found[int(row)]:.3g}" for row in rows]
        elif self.by in ("rank", "score") and tab.has("rank", "score"):
            ranks, scores = (tab.view.column(c).take(rows).to_pylist() for c in ("rank", "score"))
            captions = ["-" if r is None else f"{r}. {s:.2f}" for r, s in zip(ranks, scores, strict=True)]
        else:
            captions = [word(value) for value in tab.view.column(self.by).take(rows).to_pylist()]
        return [
            {"row": int(row), "id": galaxy, "caption": caption, "score": self._scores.get(galaxy)}
            for row, galaxy, caption in zip(rows, ids, captions, strict=True)
        ]

    async def _more(self, event: events.GenericEventArguments) -> None:
        start = int(event.args)
        items = await asyncio.to_thread(self._items, start, PAGE)
        if start == self._sent:  # else others are shown by now
            self._sent += len(items)
            self.gallery.run_method("extend", items)

    def _choose(self, event: events.GenericEventArguments) -> None:
        self.chosen = [int(row) for row in event.args]
        self._words()

    async def _resort(self) -> None:
        if self.sort.value and self.sort.value != self.by:
            self._remember("the order")
            self.by = self.sort.value
            self.tab.moved(by=self.by)
            await self._reorder()

    async def _turn(self) -> None:
        self._remember("the order")
        self.down = not self.down
        self.tab.moved(down="1" if self.down else "")
        await self._reorder()

    async def _reorder(self) -> None:
        tab = self.tab
        if tab.found is not None and tab.selection is not None:  # under another name: an address keeps an order too
            tab.found = None
            tab.moved(of=tab.shared.keep_rows(tab.view, tab.selection, tab.words))
        await self.refresh()

    async def select(self, rows: np.ndarray, words: str, *, mark: bool = False) -> None:
        """Show a selection.

        Parameters
        ----------
        rows : ndarray of int
            Rows of the map.
        words : str
            What the selection is.
        mark : bool
            Mark them on the map too; where they come from the map, it has.
        """
        self._remember(f"a selection of {len(rows):,}")
        await self._select(rows, words, mark=mark)

    async def _select(self, rows: np.ndarray, words: str, found: dict[int, float] | None = None, *, mark: bool) -> None:
        self.tab.selection, self.tab.words, self.tab.found = rows, words, found
        self.tab.moved(of=self.tab.shared.keep_rows(self.tab.view, rows, words, found))
        await self.refresh(mark=mark)

    async def only(self, condition: str) -> None:
        """Show what a condition names, of all galaxies.

        Parameters
        ----------
        condition : str
            In SQL.
        """
        self._remember(f"the filter {condition}")
        self.tab.selection, self.tab.words, self.tab.found = None, "", None
        self.filter.value = condition
        self.tab.moved(of="", where=condition)
        await self.refilter()

    async def deselect(self) -> None:
        """Show the whole map again."""
        if self.tab.selection is None:
            await self.on_rows(None)  # what a filter marked; a map that clears itself clears no other
            return
        self._remember("the selection cleared")
        self.tab.selection, self.tab.words, self.tab.found = None, "", None
        self.tab.moved(of="")
        await self.refresh(mark=True)

    async def show_all(self) -> None:
        """Neither a selection nor a filter."""
        self._remember("selection and filter cleared")
        self.tab.selection, self.tab.words, self.tab.found = None, "", None
        self.filter.value = ""
        self.tab.moved(of="", where="")
        await self.refresh(mark=True)

    def _remember(self, words: str) -> None:
        """Note what is shown, so that the change that follows can be taken back."""
        tab, place = self.tab, self.tab.place
        selected = tab.selection, tab.words, tab.found, place.of
        where, by, down = place.where, self.by, self.down

        async def back() -> None:
            tab.selection, tab.words, tab.found, of = selected
            self.by, self.down = by, down
            self.filter.value, self.sort.value = where, by
            tab.moved(of=of, where=where, by=by, down="1" if down else "")
            await self.refresh(mark=True)

        tab.did(words, back)

    async def more_like_chosen(self) -> None:
        """Show the nearest galaxies of those that are chosen in the gallery."""
        rows = self.chosen
        if not rows:
            ui.notify("Choose galaxies first: focus one in the gallery and press x.", type="info")
            return
        await self.more_like([self.tab.galaxy(row) for row in rows])

    async def more_like(self, ids: list[str]) -> None:
        """Show the nearest galaxies in feature space, the examples first.

        Parameters
        ----------
        ids : list of str
            The examples.
        """
        tab = self.tab
        start = tab.view.weights or tab.survey.main_start_weights
        try:
            near = await asyncio.to_thread(nearest, tab.shared.layout, tab.survey, start, ids, _LIKE)
        except (ValueError, FileNotFoundError) as error:
            self._complain(str(error))
            return
        names = ids[0] if len(ids) == 1 else count_of(len(ids), "galaxy")
        await self._show_near(near, ids, f"most like {names}")

    async def _show_near(self, near: Near, ids: list[str], words: str) -> None:
        tab = self.tab
        rows = tab.view.rows_of([*ids, *near.ids])
        distance = dict(zip(near.ids, near.distances, strict=True))
        found = {int(row): distance.get(tab.galaxy(int(row)), 0.0) for row in rows}
        self._remember(words)
        self.filter.value = ""
        tab.moved(where="")
        await self._select(rows, words, found, mark=True)

    def _ask_for_image(self) -> None:
        with ui.dialog().props('aria-label="more like an image"') as dialog, ui.card().classes("ga-dialog"):
            ui.label("More like an image").classes("ga-title")
            ui.label(
                "A PNG, JPEG, TIFF, WebP, AVIF, NumPy or FITS file of the survey's pixel scale, up to 20 MB. It is cut "
                "out and embedded like the survey's own images; it stays on this machine."
            )
            state = ui.label().classes("ga-note").props("role=status")

            async def received(event: events.UploadEventArguments) -> None:
                name = event.file.name.lower()
                suffix = next((s for s in suffixes.ALL if name.endswith(s)), None)
                if suffix is None:
                    state.text = f"{event.file.name}: not one of {', '.join(suffixes.ALL)}"
                    return
                state.text = "cutting it out and embedding it; the first time takes half a minute"
                await self._search_image(await event.file.read(), suffix, event.file.name, state, dialog)

            upload = ui.upload(
                label="Image file", auto_upload=True, max_file_size=MAXIMUM_UPLOAD, max_files=1, on_upload=received
            )
            upload.on("rejected", lambda: state.set_text("not taken: an image file of up to 20 MB"))
            upload.props(f'accept="{",".join(suffixes.ALL)}" flat bordered').classes("full-width")
            ui.button("Close", on_click=dialog.close).props("flat no-caps")
        dialog.on("hide", dialog.delete)
        dialog.open()

    async def _search_image(self, content: bytes, suffix: str, name: str, state: ui.label, dialog: ui.dialog) -> None:
        tab = self.tab
        if len(content) > MAXIMUM_UPLOAD:
            state.text = "larger than 20 MB"
            return
        file = tab.shared.folder / f"upload_{id(content):x}{suffix}"
        file.write_bytes(content)
        try:
            near = await neighbours.like_image(tab.shared.layout.root, tab.survey.name, file, _LIKE)
        except (UnreadableImage, ValueError, SurveyError, OSError) as error:
            state.text = str(error).replace(str(file), name)
            return
        except Exception as error:  # whatever a decoder of unknown bytes does must not end the page
            state.text = f"{name} could not be searched for: {error}"
            return
        finally:
            file.unlink(missing_ok=True)
        dialog.close()
        await self._show_near(near, [], f"most like the image {name}")

    async def _export(self, kind: str) -> None:
        tab = self.tab
        if not len(tab.shown):
            ui.notify("There is nothing on the page to export.", type="warning")
            return
        notice = ui.notification("Preparing the export", spinner=True, timeout=None)
        try:
            of = tab.view.survey, tab.view.start, tab.view.version
            root, folder = tab.shared.layout.root, tab.shared.folder
            file = await neighbours.apart(write, root, *of, tab.shown, kind, folder)
        except (QueryError, ValueError, OSError) as error:
            ui.notify(str(error), type="negative", multi_line=True, timeout=10_000, close_button="Close")
            return
        finally:
            notice.dismiss()
        ui.download.from_url(tab.shared.offer(file, file.name.split("-", 1)[1]))

    def _insert(self, event: events.ValueChangeEventArguments) -> None:
        """Add a column's name to the filter, as SQL quotes it."""
        if event.value:
            self.filter.value = f"{self.filter.value or ''} {quoted(event.value)}".strip()
            self.names.value = None
            self.filter.run_method("focus")

    def _complain(self, words: str) -> None:
        self.problem.text = words
        self.problem.set_visibility(True)

    def _words(self) -> None:
        tab = self.tab
        parts = [f"{len(tab.shown):,} of {len(tab.view):,} galaxies"]
        if tab.selection is not None:
            parts.append(tab.words or "selected")
        if self._applied:
            parts.append("matching the filter")
        if self.chosen:
            parts.append(f"{len(self.chosen)} chosen")
        self.count.text = ", ".join(parts)
        self.direction.text = "↓ largest first" if self.down else "↑ smallest first"
        self.all.set_visibility(tab.selection is not None or bool(tab.place.where))
