"""Progress and log lines of a command that fetches.

Belongs here: where they are printed. Does not belong here: what is fetched.
"""

import logging
import os
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import typer

from galaxy_assets.deliveries.download.progress import Pace

log = logging.getLogger("galaxy_assets")


@contextmanager
def telling() -> Iterator[Pace]:
    """Log lines on stderr; the progress is a line every 20 s, and on a terminal one that is written over."""
    clear = "\r\x1b[K" if sys.stderr.isatty() and os.environ.get("TERM") not in ("dumb", "unknown") else ""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter(f"{clear}%(asctime)s   %(message)s", "%H:%M:%S"))

    def rewrite(line: str) -> None:
        typer.echo(clear + line[: shutil.get_terminal_size().columns - 1], nl=False, err=True)

    log.addHandler(handler)
    log.setLevel(logging.INFO)
    try:
        yield Pace(show=rewrite, every=0.2) if clear else Pace()
    finally:
        log.removeHandler(handler)
