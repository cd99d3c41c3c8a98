"""Taking back the last change, whatever it was: by Ctrl+Z and by a button, also after the page was loaded again.

Belongs here: which change was the last, and taking it back. Does not belong here: how a change is kept (`scoring`,
`changes`, `tab.Step`), the panels that make changes.

Scores, descriptions of clusters and artefact reviews are stored, and taken back by an event that is stored too. What
a tab alone remembers (selection, filter, order, colours, what the legend hides, boxes that are not saved) is taken back
until the page is loaded again.
"""

import asyncio
import inspect
from collections.abc import Callable
from typing import Any, NamedTuple

from nicegui import ui

from galaxy_assets.explorer import regions, worksheet
from galaxy_assets.explorer.changes import Change, Changes, Otherwise
from galaxy_assets.explorer.tab import Tab
from galaxy_assets.lake.query import QueryError
from galaxy_assets.science.worksheet import Override


class Last(NamedTuple):
    """The last change of a person.

    Attributes
    ----------
    time : float
        Seconds since 1970.
    words : str
        What it was.
    back : callable
        A coroutine function that takes it back.
    """

    time: float
    words: str
    back: Callable[[], Any]


class Undo:
    """The button, and what it does.

    Parameters
    ----------
    tab : Tab
    changes : Changes
        Of the tab's survey.
    button : ui.button
    back_score : callable
        A coroutine function that takes back the person's last score; a ValueError or OSError says why it is not.
    on_changed : callable
        A coroutine function, called with `cluster` or `artefacts` after one was taken back.
    """

    def __init__(
        self,
        tab: Tab,
        changes: Changes,
        button: ui.button,
        back_score: Callable[[], Any],
        on_changed: Callable[[str], Any],
    ):
        self.tab, self.changes, self.button = tab, changes, button
        self.back_score, self.on_changed = back_score, on_changed
        self._busy = False
        with button:
            self.tooltip = ui.tooltip("")

    def last(self) -> Last | None:
        """The person's last change that was not taken back, stored or of this tab.

        Returns
        -------
        Last or None
        """
        tab = self.tab
        found: list[Last] = []
        if tab.steps:
            found.append(Last(*tab.steps[-1]))
        if (event := tab.labels.last_by(tab.who)) is not None:
            words = f"score {event['score']:g} of {event['galaxy_id']}"
            found.append(Last(event["time"].timestamp(), words, self.back_score))
        if (change := self.changes.last_by(tab.who)) is not None:
            found.append(Last(change.time, change.words, lambda: self._restore(change)))
        return max(found, key=lambda last: last.time, default=None)

    async def undo(self) -> None:
        """Take back the last change, and say which it was."""
        if self._busy:
            return
        self._busy = True
        try:
            last = await asyncio.to_thread(self.last)
            if last is None:
                ui.notify(f"{self.tab.who or 'Nobody'} has nothing to take back.", type="info")
                return
            if self.tab.steps and self.tab.steps[-1].back is last.back:
                self.tab.steps = self.tab.steps[:-1]
            done = last.back()
            if inspect.isawaitable(done):
                await done
            ui.notify(f"Taken back: {last.words}", type="info")
        except (OSError, ValueError, QueryError) as error:
            ui.notify(
                f"Not taken back: {error}", type="negative", multi_line=True, close_button="Close", timeout=15_000
            )
        finally:
            self._busy = False
            await self.refresh()

    async def refresh(self) -> None:
        """Say on the button what it takes back."""
        last = await asyncio.to_thread(self.last)
        words = "nothing to take back" if last is None else last.words
        self.button.set_enabled(last is not None)
        self.button._props["aria-label"] = f"Undo: {words}"
        self.button.update()
        self.tooltip.text = f"Ctrl+Z: {words}"

    async def _restore(self, change: Change) -> None:
        restore = _restore_cluster if change.what == "cluster" else _restore_review
        try:
            await asyncio.to_thread(restore, self.tab, change)
        except Otherwise as error:  # for good: else no change before it could ever be taken back
            await asyncio.to_thread(self._note, change, "passed over", change.after)
            raise ValueError(f"{change.words}: {error}. It is passed over; the change before it comes next") from error
        await asyncio.to_thread(self._note, change, "taken back", change.before)
        await self.on_changed(change.what)

    def _note(self, change: Change, became: str, now: Any) -> None:
        self.changes.made(
            self.tab.who,
            change.what,
            f"{became}: {change.words}",
            change.after,
            now,
            about=change.about,
            undoes=change.change,
            exemplars=change.exemplars,
        )


def _restore_cluster(tab: Tab, change: Change) -> None:
    start, number = change.about.rsplit("/", 1)
    if not change.exemplars:
        raise Otherwise("which galaxies the cluster held was not kept then; describe it anew")
    if start not in tab.survey.start_weights:
        raise Otherwise(f"{start} start weights are none of the survey any more")
    view = tab.view if tab.view.start == start else tab.shared.view(tab.survey.name, start)
    seen = worksheet.Seen(int(number), change.exemplars, Override(*change.after))
    worksheet.save(view, tab.survey, seen, Override(*change.before))


def _restore_review(tab: Tab, change: Change) -> None:
    regions.put_review(tab.shared.layout, tab.survey.name, change.before, change.after)
