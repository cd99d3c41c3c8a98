"""What a person sees of a run: a view that lives in a terminal, or plain lines.

Belongs here: what a view must do, and which one is taken. Does not belong here: either view (`live_view`,
`plain_view`), the run (`run`).
"""

import logging
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Protocol

from galaxy_assets.cli.plain_view import PlainView
from galaxy_assets.cli.run_progress import RunProgress, line_of
from galaxy_assets.settings.progress import Progress, looking, read

if TYPE_CHECKING:
    from galaxy_assets.orchestration.outcome import Outcome

log = logging.getLogger("galaxy_assets")


class View(Protocol):
    """Shows one survey's run after the other."""

    def begin(self, title: str, run: RunProgress) -> None:
        """Show a survey from here on.

        Parameters
        ----------
        title : str
            Of the survey, with its name.
        run : RunProgress
        """
        ...

    def outcome(self, outcome: "Outcome") -> None:
        """Show what became of tables, which the survey's RunProgress knows by now.

        Parameters
        ----------
        outcome : Outcome
        """
        ...

    def progress(self, progress: Progress, partition: str | None) -> None:
        """Show how far a step is, which the survey's RunProgress knows by now.

        Parameters
        ----------
        progress : Progress
        partition : str or None
            Of a run that is made elsewhere.
        """
        ...

    def say(self, line: str) -> None:
        """Print a line that stays.

        Parameters
        ----------
        line : str
        """
        ...

    def logged(self, record: logging.LogRecord) -> None:
        """Show a line of the log that is no progress.

        Parameters
        ----------
        record : logging.LogRecord
        """
        ...

    def end(self) -> None:
        """The survey is over: leave its last state."""
        ...


def can_be_rewritten() -> bool:
    """Whether stdout is a terminal whose lines can be written over; NO_COLOR takes the colours alone."""
    return sys.stdout.isatty() and os.environ.get("TERM", "dumb") not in ("dumb", "unknown", "")


@contextmanager
def shown(*, live: bool) -> Iterator["Shown"]:
    """Show the runs of a block, and the log.

    Parameters
    ----------
    live : bool
        In the terminal; else as plain lines.

    Yields
    ------
    Shown
    """
    if live:
        from galaxy_assets.cli.live_view import LiveView

        view: View = LiveView()
    else:
        view = PlainView()
    showing = Shown(view)
    handler = _Handler(showing)
    log.addHandler(handler)
    log.setLevel(logging.INFO)
    try:
        with looking(showing.progress):
            yield showing
    finally:
        log.removeHandler(handler)
        view.end()


class Shown:
    """A view, and the run that it shows: what is told reaches both.

    Parameters
    ----------
    view : View
    """

    def __init__(self, view: View):
        self.view = view
        self.run: RunProgress | None = None
        self.say = view.say

    @contextmanager
    def survey(self, title: str, run: RunProgress) -> Iterator[None]:
        """Show a survey's run in a block."""
        from galaxy_assets.orchestration.course import following

        self.run = run
        self.view.begin(title, run)
        try:
            with following(run.see):
                yield
        finally:
            self.view.end()
            self.run = None

    def outcome(self, outcome: "Outcome") -> None:
        """Take in and show what became of tables."""
        if self.run is not None:
            self.run.see_outcome(outcome)
        self.view.outcome(outcome)

    def progress(self, progress: Progress, partition: str | None = None) -> None:
        """Take in and show how far a step is."""
        if self.run is not None:
            self.run.see_progress(progress, partition)
        self.view.progress(progress, partition)


class _Handler(logging.Handler):
    """Lines of the log: how far a step is, from another process too, and the rest."""

    def __init__(self, showing: Shown):
        super().__init__()
        self.showing = showing

    def emit(self, record: logging.LogRecord) -> None:
        partition, line = line_of(record.getMessage())
        progress = read(line)
        if progress is None:
            self.showing.view.logged(record)
        elif partition is not None:  # of this process it was told without the log
            self.showing.progress(progress, partition)
