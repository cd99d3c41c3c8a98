"""The scoring panel: one galaxy at a time, a key for its score, the next one once that is on disk.

Belongs here: what keys and buttons do, progress, notes. Does not belong here: events and queues (`scoring`).
"""

import asyncio
from collections.abc import Callable
from functools import partial
from typing import Any, Literal

import numpy as np
from nicegui import events, ui

from galaxy_assets.explorer.components import Keys
from galaxy_assets.explorer.scoring import ORDERS, Queue, members_of_clusters, queue_rows
from galaxy_assets.explorer.tab import Tab
from galaxy_assets.lake.query import QueryError

SIDE = 512
_WORDS = {0: "dull", 1: "", 2: "", 3: "", 4: "", 5: "an anomaly"}
# in the browser: a click is about the galaxy on the screen, as a key is; the second of a double click scores nothing
_SEEN = "document.querySelector('[data-shown]')?.dataset.shown ?? ''"
_CLICK, _FIRST_CLICK = f"() => emit({_SEEN})", f"(e) => {{ if (e.detail < 2) emit({_SEEN}); }}"


class ScorePanel:
    """Galaxies one after the other, for a person to score.

    Parameters
    ----------
    tab : Tab
    keys : Keys
    on_open : callable
        Called with a row.
    on_scored : callable
        Called with a row and its score, None where it was taken back.
    """

    def __init__(
        self, tab: Tab, keys: Keys, on_open: Callable[[int], Any], on_scored: Callable[[int, float | None], Any]
    ):
        self.tab, self.keys, self.on_open, self.on_scored = tab, keys, on_open, on_scored
        self.queue: Queue | None = None
        self._made: tuple[Any, np.ndarray | None] = None, None  # order and cluster asked for last, and their rows
        self._busy = False
        self._generation = -1
        self._asked = object()
        self._notes: dict[str, str] = {}
        self._noted = ""
        if tab.place.order not in ORDERS:
            tab.place.order = "acquisition"
        with ui.column().classes("ga-panel ga-scoring"):
            with ui.row().classes("ga-bar"):
                self.order = ui.select(ORDERS, value=tab.place.order, label="Queue")
                self.order.props("dense outlined options-dense").classes("ga-grow").on_value_change(self._chosen)
                self.cluster = (
                    ui.select({}, label="Cluster").props("dense outlined options-dense").classes("ga-cluster")
                )
                self.cluster.on_value_change(self._chosen)
                self.cluster.set_visibility(self.order.value == "cluster")
            with ui.element("div").classes("ga-stage").props("tabindex=-1"):
                self.image = ui.element("img").props('alt="the galaxy to score"').classes("ga-large")
                self.empty = ui.label().classes("ga-empty").props("role=status")
            self.caption = ui.label().classes("ga-caption-large").props("role=status aria-live=polite")
            with ui.row().classes("ga-scores").props('role=group aria-label="score"'):
                self.buttons = []
                for score, words in _WORDS.items():
                    button = ui.button(color=None).props("unelevated no-caps")
                    button.on("click", partial(self._press, score), js_handler=_FIRST_CLICK)
                    button.classes("ga-score-button").tooltip(f"key {score}")
                    with button:
                        ui.label(str(score)).classes("ga-digit")
                        ui.label(words or "\u00a0").classes("ga-meaning")
                    self.buttons.append(button)
            with ui.row().classes("ga-bar"):
                self.note = ui.input("Note for this galaxy").props(
                    "dense outlined clearable maxlength=500 autocomplete=off"
                )
                self.note.classes("ga-grow ga-note-field")
                # in the browser, for a key pressed right after it must not still be typed; not to a button, which Enter
                # would press
                leave = "(e) => { e.preventDefault(); document.querySelector('.ga-stage')?.focus() }"
                self.note.on("keydown.enter", js_handler=leave)
            with ui.row().classes("ga-bar"):
                ui.button("Undo", on_click=self.undo).props("flat dense no-caps").tooltip(
                    "key u: take back my last score"
                )
                skip = ui.button("Skip").props("flat dense no-caps").classes("ga-skip").tooltip("key s")
                skip.on("click", lambda event: self.skip(event.args), js_handler=_CLICK)
                ui.button("Open", on_click=self.open).props("flat dense no-caps").tooltip(
                    "key o: all about this galaxy"
                )
                self.skipped = ui.button("Show what was skipped", on_click=self._from_the_top)
                self.skipped.props("flat dense no-caps").set_visibility(False)
                ui.space()
                self.progress_words = ui.label().classes("ga-count").props("role=status")
            self.progress = ui.linear_progress(0, show_value=False).props('rounded aria-label="scored of this queue"')
            self.problem = ui.label().classes("ga-problem").props("role=alert")
            self.problem.set_visibility(False)
            ui.label("Keys: 0 to 5 score, u undo, s skip, n note, o open.").classes("ga-note")

    async def load(self) -> None:
        """Make the queue when the panel is first shown, and of a selection whenever the panel is shown.

        The first galaxy is the one in the page's address, if there is one.
        """
        if self.queue is None:
            await self.reload()
        elif self.order.value == "selection":
            await self.requeue()

    async def reload(self) -> None:
        """Make the queue anew, from its top; the galaxy that is shown comes first."""
        await self._offer_clusters()
        await self.requeue("shown")

    async def anew(self) -> None:
        """Make the queue of the tables that a run made, where one was asked for; it goes on where it was."""
        if self.queue is not None or self.problem.visible:
            await self._offer_clusters()
            await self.requeue("place")

    async def _offer_clusters(self) -> None:
        tab = self.tab
        if not tab.has("cluster"):
            return
        try:
            members = await asyncio.to_thread(members_of_clusters, tab.view)
        except QueryError:  # the queue of a cluster says it; others need none
            return
        names = {str(cluster): f"{cluster} ({n:,})" for cluster, n in members.items()}
        chosen = tab.place.cluster if tab.place.cluster in names else next(iter(names), "")
        tab.moved(cluster=chosen if self.order.value == "cluster" else "")
        self.cluster.set_options(names, value=chosen or None)

    async def _chosen(self) -> None:
        """Make the queue anew if a person chose another order or cluster, and not where the page itself wrote it."""
        place, order = self.tab.place, self.order.value
        cluster = str(self.cluster.value or "") if order == "cluster" else ""
        self.cluster.set_visibility(order == "cluster")
        if (order, cluster) != (place.order, place.cluster):
            self.tab.moved(order=order, cluster=cluster)
            await self.requeue()

    async def requeue(self, start: Literal["top", "shown", "place"] = "top") -> None:
        """Make the queue anew; where it is asked for again meanwhile, the newest is shown.

        Parameters
        ----------
        start : {"top", "shown", "place"}
            Where it begins: at its top; at its top with the galaxy that is shown before it; where it was. It is where
            it was in the same order alone, and then stays as it is where nothing can be read.
        """
        tab, order = self.tab, self.order.value
        self._asked = asked = object()
        cluster = int(self.cluster.value) if order == "cluster" and self.cluster.value not in (None, "") else None
        rows, problem, of = None, "", (order, cluster)
        try:
            rows = await asyncio.to_thread(
                queue_rows, tab.view, tab.survey, order, cluster=cluster, selection=tab.shown
            )
        except QueryError as error:
            problem = f"this queue needs what {tab.survey.name} does not have yet: {error}"
        if self._asked is not asked:  # another one was asked for since
            return
        before, self._made = self._made, (of, rows)
        queue, scores = self.queue, tab.labels.scores_by(tab.who)
        if start == "place" and queue is not None and before[0] == of:
            if rows is None:
                self._say(problem)
            elif before[1] is None or not np.array_equal(rows, before[1]):
                self._say("")
                self.queue = queue.anew(rows, scores)
            self._show()
            return
        self._say(problem)
        self._generation = tab.labels.generation
        self.queue = None if rows is None else Queue(tab.view, rows, scores)
        at = "" if start == "top" else tab.place.at  # what is shown by now
        found = tab.view.rows_of([at]) if at else []
        if self.queue is not None and len(found) and found[0] in rows:
            self.queue.back_to(int(found[0]))
        self._show()

    def again(self) -> None:
        """Pass over what was scored elsewhere since: another tab, or the command line."""
        tab = self.tab
        if self.queue is None or self._busy or self._generation == tab.labels.generation:
            return
        self._generation = tab.labels.generation
        self.queue.pass_over(tab.labels.scores_by(tab.who))
        self._show()

    async def key(self, event: events.GenericEventArguments) -> None:
        """Do what a key says: 0 to 5 score, u takes back, and so on.

        Parameters
        ----------
        event : GenericEventArguments
            From `Keys`.
        """
        key, shown = event.args["key"], event.args["shown"]
        if key in "012345":
            await self.score(int(key), shown)
        elif key == "u":
            await self.undo()
        elif key == "s":
            self.skip(shown)
        elif key == "o":
            self.open()
        elif key == "n":
            self.keys.run_method("focus", ".ga-note-field input")

    async def _press(self, score: int, event: events.GenericEventArguments) -> None:
        await self.score(score, event.args)

    async def score(self, score: int, shown: str) -> None:
        """Keep a score of the galaxy that was on the screen.

        A key that comes before the next galaxy is shown is dropped: it would score a galaxy that nobody saw.

        Parameters
        ----------
        score : int
            0 to 5.
        shown : str
            Id of the galaxy that was on the screen.
        """
        row = self.queue.current() if self.queue is not None else None
        if self._busy or self.queue is None or row is None or shown != self._shown():
            return
        self._busy = True
        try:
            await asyncio.to_thread(self.tab.labels.say, self.tab.person(), shown, score, self.note.value)
        except (OSError, ValueError) as error:
            self._say(f"not kept: {error}")
            return
        finally:
            self._busy = False
        self._say("")
        self._write(shown, "")
        if self.queue is not None:
            self.queue.scored(row)
        self._show()
        self.on_scored(row, score)
        self.tab.on_step()

    async def undo(self) -> None:
        """Take back this person's last score and show its galaxy again, or say why not."""
        try:
            await self.take_back()
        except (OSError, ValueError) as error:
            self._say(f"not taken back: {error}")

    async def take_back(self) -> None:
        """Take back this person's last score, and show its galaxy again.

        Raises
        ------
        ValueError
            Where the person has none, or one is being kept or taken back at this moment.
        OSError
            Where it cannot be written.
        """
        tab = self.tab
        last = tab.labels.last_by(tab.who)
        if self._busy or last is None:
            raise ValueError("wait for the score before" if self._busy else f"{tab.who or 'nobody'} has no score")
        self._busy = True
        try:
            await asyncio.to_thread(tab.labels.undo, tab.person(), last["event"])
        finally:
            self._busy = False
        self._say("")
        rows = tab.view.rows_of([last["galaxy_id"]])
        if len(rows) and self.queue is not None:
            self.queue.back_to(int(rows[0]))
            self.on_scored(int(rows[0]), tab.labels.scores_by(tab.who).get(last["galaxy_id"]))
        self._write(last["galaxy_id"], last["note"] or "")
        self._show()
        self.tab.on_step()

    def skip(self, shown: str) -> None:
        """Go on without a score.

        Parameters
        ----------
        shown : str
            Id of the galaxy that was on the screen.
        """
        row = self.queue.current() if self.queue is not None else None
        if self._busy or self.queue is None or row is None or shown != self._shown():
            return
        self.queue.skip()
        self._show()
        self.tab.did(f"{shown} skipped", partial(self._back_to, row))

    def _from_the_top(self) -> None:
        if self.queue is not None:
            self.queue.from_the_top()
            self._show()

    def _back_to(self, row: int) -> None:
        if self.queue is not None:
            self.queue.back_to(row)
            self._show()

    def open(self) -> None:
        """Open the galaxy that is shown."""
        if self.queue is not None and (row := self.queue.current()) is not None:
            self.on_open(row)

    def _shown(self) -> str:
        row = self.queue.current() if self.queue is not None else None
        return "" if row is None else self.tab.galaxy(row)

    def _write(self, galaxy: str, note: str) -> None:
        """Make this the note of a galaxy, shown or not."""
        self._notes[galaxy] = note
        if galaxy == self._noted:
            self.note.value = note

    def _show_note(self, galaxy: str) -> None:
        if galaxy == self._noted:
            return
        self._notes[self._noted] = self.note.value or ""
        self._noted, self.note.value = galaxy, self._notes.get(galaxy, "")
        self.note.set_enabled(bool(galaxy))

    def _show(self) -> None:
        tab, queue = self.tab, self.queue
        row = queue.current() if queue is not None else None
        galaxy = "" if row is None else tab.galaxy(row)
        self._show_note(galaxy)
        self.image._props["src"] = "" if row is None else tab.picture(row, SIDE)
        self.image._props["data-shown"] = galaxy
        self.image.set_visibility(row is not None)
        self.image.update()
        for button in self.buttons:
            button.set_enabled(row is not None)
        self.empty.set_visibility(row is None)
        done, total = (queue.done(), len(queue.rows)) if queue is not None else (0, 0)
        self.skipped.set_visibility(row is None and done < total)
        if row is None or queue is None:
            self.caption.text = ""
            self.empty.text = _at_the_end(done, total)
        else:
            self.caption.text = self._caption(row, galaxy)
            self.keys.run_method("preload", [tab.picture(r, SIDE) for r in queue.ahead(3)])
        if queue is not None:
            self.progress.value = done / total if total else 0
            self.progress_words.text = f"{done:,} of {total:,} scored by {tab.who or 'nobody yet'}"
        tab.moved(at=galaxy)

    def _caption(self, row: int, galaxy: str) -> str:
        view, words = self.tab.view, [galaxy]
        for name in ("rank", "score", "cluster"):
            if name in view.columns:
                try:
                    value = view.column(name)[row].as_py()
                except QueryError:  # of another map by now, which the page says
                    continue
                if value is not None:
                    words.append(f"{name} {value:.2f}" if isinstance(value, float) else f"{name} {value}")
        return "   ".join(words)

    def _say(self, words: str) -> None:
        self.problem.text = words
        self.problem.set_visibility(bool(words))


def _at_the_end(done: int, total: int) -> str:
    if not total:
        return "This queue is empty. Choose another one."
    if done == total:
        return "All of this queue is scored."
    return f"The end of this queue: {done:,} of {total:,} are scored, {total - done:,} were skipped."
