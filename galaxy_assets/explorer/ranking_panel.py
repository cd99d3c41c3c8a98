"""The ranking panel: start a new ranking from the scores given, follow the run, and see what moved.

Belongs here: the panel. Does not belong here: talking to Dagster (`runs`), kept rankings (`rankings`).
"""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any

import numpy as np
from nicegui import ui

from galaxy_assets.explorer import rankings
from galaxy_assets.explorer.components import Gallery
from galaxy_assets.explorer.runs import WORDS, Run, RunError
from galaxy_assets.explorer.tab import Tab

ASSETS = ["label_events", "anomaly_model", "anomaly_ranking"]
_TOP = 100
_SHOWN = 48
_ORDER = {"SUCCESS": 0, "FAILURE": 1, "IN_PROGRESS": 2}
_MARKS = {"SUCCESS": "✓", "FAILURE": "✗", "SKIPPED": "–", "IN_PROGRESS": "…", "WAITING": "·"}


class RankingPanel:
    """The ranking of a survey, and the run that makes a new one.

    Parameters
    ----------
    tab : Tab
    on_open : callable
        Called with a row.
    on_new : callable
        Called when a run has made a new ranking.
    """

    def __init__(self, tab: Tab, on_open: Callable[[int], Any], on_new: Callable[[], Awaitable[Any]]):
        self.tab, self.on_new = tab, on_new
        self._shown: Run | None = None
        self._told: Run | None = None
        before = tab.shared.runs.get(tab.survey.name)
        self._before = before if before is not None and before.over else None
        with ui.column().classes("ga-panel"):
            with ui.row().classes("ga-bar"):
                self.start = (
                    ui.button("Rank anew", on_click=self._start, color=None)
                    .props("unelevated no-caps")
                    .classes("ga-primary")
                )
                self.about = ui.label().classes("ga-count")
            ui.label(
                "Dagster materialises label_events, with every score given so far, anomaly_model and anomaly_ranking; "
                "the list then changes."
            ).classes("ga-note")
            self.run = ui.column().classes("ga-run").props("role=status aria-live=polite")
            self.problem = ui.label().classes("ga-problem ga-pre").props("role=alert")
            self.link = ui.link("The run in Dagster", "", new_tab=True)
            self.moves = ui.label().classes("ga-subtitle").props("role=heading aria-level=3")
            self.moved_words = ui.label().classes("ga-note")
            self.gallery = Gallery("galaxies that moved up", "Nothing moved.").classes("ga-grow-y")
        self.gallery.on("open", lambda e: on_open(int(e.args)))
        for element in (self.problem, self.link, self.moves, self.moved_words, self.gallery):
            element.set_visibility(False)

    async def load(self) -> None:
        """What the ranking is, and what moved to make it."""
        tab = self.tab
        given = len(tab.labels.scores_by(tab.who))
        self.about.text = f"{given:,} scores by {tab.who or 'nobody yet'}"
        if tab.has("rank"):
            await asyncio.to_thread(rankings.keep, tab.shared.layout, tab.survey.name)
            await self._what_moved()
        await self.follow()

    async def _start(self) -> None:
        self.start.disable()
        self.problem.set_visibility(False)
        try:
            await asyncio.to_thread(rankings.keep, self.tab.shared.layout, self.tab.survey.name)
            await self.tab.shared.start_run(self.tab.survey.name, ASSETS)
        except RunError as error:
            ui.notify(str(error), type="negative", multi_line=True, timeout=15_000, close_button="Close")
        finally:
            self.start.enable()
            await self.follow()

    async def follow(self) -> None:
        """Show the survey's run as it is now; called by the page's clock."""
        run = self.tab.shared.runs.get(self.tab.survey.name)
        if run is None or (run.over and self._told is run):
            return
        self.start.set_enabled(run.over)
        progress = run.progress
        self.run.clear()
        with self.run:
            seconds = (run.ended or time.time()) - run.started
            status = "not started" if run.error and not run.run else WORDS.get(progress.status, progress.status.lower())
            ui.label(f"{', '.join(run.assets)}: {status}, {seconds:.0f} s").classes("ga-status")
            ui.linear_progress(progress.share, show_value=False).props('rounded aria-label="steps that ended"')
            for step, state in sorted(progress.steps, key=lambda s: _ORDER.get(s[1], 3)):
                words = {"IN_PROGRESS": "running", "WAITING": "waiting"}.get(state, state.lower())
                ui.label(f"{_MARKS.get(state, '·')} {step.removeprefix(self.tab.survey.name + '__')}: {words}").classes(
                    "ga-step"
                )
        self.problem.text = run.error
        self.problem.set_visibility(bool(run.error))
        if run.run:
            self.link._props["href"] = self.tab.shared.dagster.run_page(run.run)
            self.link.update()
        self.link.set_visibility(bool(run.run))
        if run.over:
            self._told = run
            if progress.status == "SUCCESS" and "anomaly_ranking" in run.assets and run is not self._before:
                await self.on_new()

    async def _what_moved(self) -> None:
        tab = self.tab
        before = await asyncio.to_thread(rankings.previous_ranks, tab.shared.layout, tab.survey.name, tab.view.ids)
        for element in (self.moves, self.moved_words, self.gallery):
            element.set_visibility(before is not None)
        if before is None:
            return
        column = await asyncio.to_thread(tab.view.column, "rank")
        now = column.to_numpy(zero_copy_only=False).astype(float)
        came, rows = moved_up(now, before)
        self.moves.text = "What moved"
        changed = int(np.sum((now != before) & np.isfinite(before)))
        self.moved_words.text = (
            f"{changed:,} of {len(now):,} galaxies changed their rank; {came:,} of the first {_TOP} were "
            "not there before."
        )
        scores = tab.labels.scores_by(tab.who)
        items = [
            {
                "row": int(row),
                "id": tab.galaxy(int(row)),
                "caption": f"{f'{before[row]:.0f}' if np.isfinite(before[row]) else 'new'} → {now[row]:.0f}",
                "score": scores.get(tab.galaxy(int(row))),
            }
            for row in rows
        ]
        self.gallery.show(tab.base, items, len(items), keep=True)


def moved_up(now: np.ndarray, before: np.ndarray) -> tuple[int, np.ndarray]:
    """Which galaxies moved up to make a ranking.

    Parameters
    ----------
    now, before : ndarray of shape (N,), float
        Ranks; NaN where a galaxy has none.

    Returns
    -------
    came : int
        How many of the first _TOP were not there before.
    rows : ndarray of int
        Up to _SHOWN of these, the farthest first; where there are none, those that moved up farthest. A galaxy without
        a rank before came from below all others.
    """
    came = np.flatnonzero((now <= _TOP) & ~(before <= _TOP))
    last = max(np.nanmax(ranks, initial=0) for ranks in (now, before))
    climbed = (np.where(np.isnan(before), last + 1, before) if len(came) else before) - now
    climbed = np.nan_to_num(climbed, nan=0.0)
    rows = came if len(came) else np.flatnonzero(climbed > 0)
    return len(came), rows[np.argsort(-climbed[rows], kind="stable")][:_SHOWN]
