"""`fetch`: official downloads, with their progress.

Belongs here: what the command prints. Does not belong here: how files are fetched (`deliveries.download`).
"""

import logging
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import PurePosixPath
from typing import Annotated

import typer

from galaxy_assets.deliveries.download import fetching
from galaxy_assets.deliveries.download.offers import FetchError, load_downloads
from galaxy_assets.deliveries.download.progress import Pace
from galaxy_assets.storage.layout import Layout

log = logging.getLogger("galaxy_assets")


def fetch(
    what: Annotated[list[str], typer.Argument(help="gz_decals, mirabest, weights")],
    only: Annotated[list[str] | None, typer.Option(help="one file by its name; may be repeated")] = None,
    delete_archives: Annotated[
        bool, typer.Option("--delete-archives", help="remove each zip once it is unpacked")
    ] = False,
) -> None:
    """Fetch official downloads to where the readers expect them, checked and unpacked.

    gz_decals is about 104 GB, and as much again unpacked; mirabest is 1 MB; weights are ImageNet's ResNet-18 and the
    Radio Galaxy Zoo encoder.

    What is there is not fetched again, and the same command goes on where an earlier one was stopped.

    Example: galaxy-assets fetch gz_decals --delete-archives
    """
    known, root = load_downloads(), Layout.default().root
    if unknown := [name for name in what if name not in known]:
        raise typer.BadParameter(f"no download {', '.join(unknown)}; known are {', '.join(known)}")
    wanted = {name: [d for d in known[name] if not only or PurePosixPath(d.target).name in only] for name in what}
    names = [PurePosixPath(download.target).name for name in what for download in known[name]]
    if unknown := [name for name in only or [] if name not in names]:
        raise typer.BadParameter(f"no file {', '.join(unknown)} in {', '.join(what)}; there are {', '.join(names)}")
    failed = 0
    with _telling() as pace:
        for name, downloads in wanted.items():
            try:
                failed += len(fetching.fetch(downloads, root, delete_archives=delete_archives, pace=pace))
            except (FetchError, OSError) as error:
                log.error("%s: %s", name, error)
                failed += 1
            except KeyboardInterrupt:
                typer.echo("\nstopped; the same command goes on from here")
                raise typer.Exit(130) from None
    if failed:
        typer.echo(f"{failed} failed, see above; the same command goes on from here")
        raise typer.Exit(1)
    typer.echo(f"all there, in {root}")


@contextmanager
def _telling() -> Iterator[Pace]:
    """Log lines on stderr; the progress is a line every 20 s, and on a terminal one that is written over."""
    clear = "\r\x1b[K" if sys.stderr.isatty() else ""
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
