"""A run in a terminal: its steps, what is being made and what is left, written over as they change.

Belongs here: how that looks, and that the terminal is left as it was. Does not belong here: the counts
(`run_progress`).
"""

import logging
import os
import signal
import sys
import time
from types import FrameType
from typing import TYPE_CHECKING

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from galaxy_assets.cli.run_progress import (
    INCOMPLETE,
    PART,
    UNDER_WAY,
    WAITING,
    Left,
    Making,
    RunProgress,
    Step,
    line_of,
    named,
)
from galaxy_assets.settings.printing import printable_lines
from galaxy_assets.settings.progress import Progress

if TYPE_CHECKING:
    from galaxy_assets.orchestration.outcome import Outcome

_A_SECOND = 2  # frames
_SHARE = 20  # a frame may take this part of the time at most
_MAKING = 4  # tables that are named as being made
_NARROW = 60  # columns below which seconds are left out
_STYLE = {"done": "green", UNDER_WAY: "bold cyan", INCOMPLETE: "bold red", PART: "cyan", WAITING: "dim"}


def clock(seconds: float) -> str:
    """Minutes and seconds, with hours where there are some.

    Parameters
    ----------
    seconds : float

    Returns
    -------
    str

    Examples
    --------
    >>> clock(75), clock(3675)
    ('1:15', '1:01:15')
    """
    minutes, second = divmod(int(seconds), 60)
    hours, minute = divmod(minutes, 60)
    return f"{hours}:{minute:02d}:{second:02d}" if hours else f"{minute}:{second:02d}"


class LiveView:
    """Shows a run in the terminal that stdout is; warnings, failures and their reasons stay above it."""

    def __init__(self) -> None:
        # Dagster sends stdout elsewhere while a step runs
        self._terminal = os.fdopen(os.dup(sys.stdout.fileno()), "w", encoding=sys.stdout.encoding, errors="replace")
        self.console = Console(file=self._terminal, highlight=False, markup=False, emoji=False)
        self._live: Live | None = None
        self._frame = _Frame("", None)
        self._said: set[str] = set()
        self._skipped: list[str] = []

    def begin(self, title: str, run: RunProgress) -> None:
        """Show a survey."""
        self._said, self._skipped = set(), []
        self._frame = _Frame(printable_lines(title), run)
        self.console.print()
        self._live = Live(self._frame, console=self.console, refresh_per_second=_A_SECOND, vertical_overflow="crop")
        self._before = signal.signal(signal.SIGTERM, self._terminated)
        self._live.start(refresh=True)

    def outcome(self, outcome: "Outcome") -> None:
        """Print what could not be made, and why; of what was skipped for it, how many at the end."""
        names = [named((asset, outcome.partition)) for asset in outcome.assets]
        if outcome.status == "skipped":
            self._skipped += names
        elif outcome.status not in ("done", "fresh"):
            style = "yellow" if outcome.status == "arriving" else "bold red"
            self._print(f"{outcome.status}: {_first(names)}: {outcome.error}", style)

    def progress(self, progress: Progress, partition: str | None) -> None:
        """The next frame has it."""

    def say(self, line: str) -> None:
        """Print a line above."""
        self._print(line)

    def logged(self, record: logging.LogRecord) -> None:
        """Print a warning above, each once."""
        message = record.getMessage()
        _, line = line_of(message)
        if record.levelno >= logging.WARNING and line not in self._said:
            self._said.add(line)
            self._print(f"! {message}", "bold red" if record.levelno >= logging.ERROR else "yellow")

    def end(self) -> None:
        """Leave the last frame, and the terminal as it was."""
        live, self._live = self._live, None
        if live is None:
            return
        if self._skipped:
            self._print(f"skipped, since what it reads was not made: {_first(self._skipped)}", "yellow")
        self._frame.is_over = True
        live.stop()
        signal.signal(signal.SIGTERM, self._before)

    def _print(self, line: str, style: str = "") -> None:
        self.console.print(Text(printable_lines(line), style), soft_wrap=True)

    def _terminated(self, number: int, frame: FrameType | None) -> None:
        """End as SIGTERM ends a process, with the cursor back."""
        if self._live is not None:
            self._live.stop()
        signal.signal(number, signal.SIG_DFL)
        os.kill(os.getpid(), number)


def _first(names: list[str]) -> str:
    return names[0] + (f" and {len(names) - 1:,} more" if len(names) > 1 else "")


class _Frame:
    """What is shown now; made anew when it is drawn."""

    def __init__(self, title: str, run: RunProgress | None):
        self.title, self.run, self.is_over = title, run, False
        self._made: RenderableType = ""
        self._until = 0.0

    def __rich_console__(self, console: Console, options: object):
        now, spent = time.monotonic(), time.thread_time()
        if self.run is not None and (self.is_over or now >= self._until):
            self._made = picture(self.title, self.run, console.width, console.height, self.is_over)
            self._until = now + _SHARE * (time.thread_time() - spent)
        yield self._made


def picture(title: str, run: RunProgress, width: int, height: int, is_over: bool = False) -> RenderableType:
    """A run as it is now.

    Parameters
    ----------
    title : str
    run : RunProgress
    width, height : int
        Of the terminal, in letters and lines.
    is_over : bool
        Nothing is made any more.

    Returns
    -------
    renderable of rich
        As many lines as the terminal has at most.
    """
    steps, making = run.steps(), [] if is_over else run.making()[:_MAKING]
    room = height - 2 - len(making)
    hidden = 0
    if len(steps) > room:
        worth = [step for step in steps if step.state in (UNDER_WAY, INCOMPLETE) or step.lost]
        kept = worth[: max(room - 1, 0)]
        hidden, steps = len(steps) - len(kept), kept
    parts: list[RenderableType] = [_head(title, run, is_over), *_lines(steps, width)]
    if hidden:
        parts.append(_line(f"  and {hidden} steps more", "dim"))
    return Group(*parts, *(_line(f"  {_said_of(one)}", "cyan") for one in making))


def _head(title: str, run: RunProgress, is_over: bool) -> Text:
    done, total = run.counts()
    left: Left = run.left()
    if not total:
        more = "looking at what there is"
    elif is_over:
        more = f"{done} of {total} tables"
    else:
        more = f"{done} of {total} tables, {left}" if left.tables else f"{done} of {total} tables"
    return Text.assemble((title, "bold"), f"  {clock(run.seconds)}, {more}", no_wrap=True, overflow="ellipsis")


def _lines(steps: list[Step], width: int) -> list[Table]:
    if not steps:
        return []
    table = Table.grid(padding=(0, 2))
    for justify in ("left", "left", "right", "right"):
        table.add_column(justify=justify, no_wrap=True, overflow="ellipsis")
    for step in steps:
        count = f"{step.done} of {step.total}" + (f", {step.lost} missing" if step.lost else "")
        seconds = clock(step.seconds) if step.seconds >= 1 and width >= _NARROW else ""
        table.add_row(f"  {step.name}", step.state, count, seconds, style=_STYLE.get(step.state, ""))
    return [table]


def _said_of(making: Making) -> str:
    return making.name if making.progress is None else f"{making.name}: {making.progress}"


def _line(text: str, style: str) -> Text:
    return Text(printable_lines(text), style, no_wrap=True, overflow="ellipsis")
