"""A run as plain lines, for a file, a pipe or a terminal that cannot write over its lines.

Belongs here: which lines are printed, and how often. Does not belong here: the counts (`run_progress`).
"""

import logging
import time
from typing import TYPE_CHECKING

from galaxy_assets.cli.run_progress import RunProgress, line_of, named
from galaxy_assets.cli.terminal import say
from galaxy_assets.settings.progress import Progress

if TYPE_CHECKING:
    from galaxy_assets.orchestration.outcome import Outcome

_EVERY = 20.0
"""Seconds between two lines on how far a step, or the survey, is."""
_MARK = {"done": "+", "failed": "!", "skipped": "-", "blocked": "!", "held": "!", "arriving": "?"}
_AT_MOST = 12  # names of a line


class PlainView:
    """Prints what became of tables, and now and then how far the survey and its steps are."""

    def __init__(self) -> None:
        self._begun = time.monotonic()
        self._run: RunProgress | None = None
        self._told: dict[str, float] = {}
        self._said: set[str] = set()
        self._fresh: list[str] = []

    def begin(self, title: str, run: RunProgress) -> None:
        """Print the survey's title."""
        self._run, self._said = run, set()
        self._told = {"": time.monotonic()}
        say(f"\n{title}")

    def outcome(self, outcome: "Outcome") -> None:
        """Print what became of tables; of those that are up to date, how many."""
        names = [named((asset, outcome.partition)) for asset in outcome.assets]
        if outcome.status == "fresh":
            self._fresh += names
            return
        self._say_fresh()
        what = ", ".join(outcome.assets) + (f" [{outcome.partition}]" if outcome.partition else "")
        self._say_at(_MARK[outcome.status], outcome.status, what)
        if outcome.error:
            say(f"        {outcome.error}")
        if self._run is not None and self._is_time("") and self._run.left().tables:
            done, total = self._run.counts()
            say(f"        {done} of {total} tables, {self._run.left()}")

    def progress(self, progress: Progress, partition: str | None) -> None:
        """Print how far a step is, where the last line on it is old enough."""
        where = f"[{partition}] " if partition else ""
        if progress.done < progress.total and self._is_time(where + progress.what.split(",")[0]):
            say(f"{time.strftime('%H:%M:%S')}   {where}{progress}", err=True)

    def say(self, line: str) -> None:
        """Print a line."""
        self._say_fresh()
        say(line)

    def logged(self, record: logging.LogRecord) -> None:
        """Print a line of the log, each once."""
        message = record.getMessage()
        _, line = line_of(message)
        if line not in self._said:
            self._said.add(line)
            mark = "! " if record.levelno >= logging.WARNING else ""
            say(f"{time.strftime('%H:%M:%S')}   {mark}{message}", err=True)

    def end(self) -> None:
        """Print what was not printed yet."""
        self._say_fresh()
        self._run = None

    def _say_at(self, mark: str, status: str, what: str) -> None:
        minutes, seconds = divmod(int(time.monotonic() - self._begun), 60)
        say(f" {minutes:3d}:{seconds:02d} {mark} {status:7s} {what}")

    def _say_fresh(self) -> None:
        if names := self._fresh:
            self._fresh = []
            first = ", ".join(names) if len(names) <= _AT_MOST else f"{len(names):,} tables, {names[0]} to {names[-1]}"
            self._say_at("=", "fresh", first)

    def _is_time(self, what: str) -> bool:
        """Whether the last line on something, or the beginning of it, is old enough."""
        now = time.monotonic()
        if now - self._told.setdefault(what, now) < _EVERY:
            return False
        self._told[what] = now
        return True
