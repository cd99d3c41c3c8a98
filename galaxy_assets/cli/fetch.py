"""`fetch`: official downloads, with their progress.

Belongs here: what the command prints. Does not belong here: how files are fetched (`deliveries.download`).
"""

import logging
from pathlib import Path, PurePosixPath
from typing import Annotated

import typer

from galaxy_assets.cli.sky import begun_skies, fetched
from galaxy_assets.cli.telling import telling
from galaxy_assets.cli.terminal import say
from galaxy_assets.deliveries.download import fetching
from galaxy_assets.deliveries.download.offers import FetchError, load_downloads
from galaxy_assets.settings.files import SurveyError
from galaxy_assets.storage.layout import Layout

log = logging.getLogger("galaxy_assets")


def fetch(
    what: Annotated[list[str], typer.Argument(help="gz_decals, mirabest, weights, or a survey of positions")],
    only: Annotated[list[str] | None, typer.Option(help="one file by its name; may be repeated")] = None,
    delete_archives: Annotated[
        bool, typer.Option("--delete-archives", help="remove each zip once it is unpacked")
    ] = False,
    blank: Annotated[
        bool, typer.Option("--blank", help="of a survey of positions: ask again where nothing was there")
    ] = False,
    per_second: Annotated[
        float | None, typer.Option(min=0.01, max=20, help="of a survey of positions: most requests in a second; 4")
    ] = None,
) -> None:
    """Fetch official downloads to where the readers expect them, checked and unpacked.

    gz_decals is about 104 GB, and as much again unpacked; mirabest is 1 MB; weights are ImageNet's ResNet-18 and the
    Radio Galaxy Zoo encoder. Of a survey that was begun by `survey new --catalogue` the cutouts that are missing.

    What is there is not fetched again, and the same command goes on where an earlier one was stopped.

    Example: galaxy-assets fetch gz_decals --delete-archives
    """
    known, layout = load_downloads(), Layout.default()
    root = layout.root
    skies = begun_skies(layout.raw)
    if unknown := [name for name in what if name not in known and name not in skies]:
        raise typer.BadParameter(f"no download {', '.join(unknown)}; known are {', '.join([*known, *skies])}")
    named = dict.fromkeys(what)
    what, positions = [name for name in named if name in known], [name for name in named if name not in known]
    if (blank or per_second) and not positions:
        raise typer.BadParameter("--blank and --per-second are for surveys of positions, and none is named")
    if only and not what:
        raise typer.BadParameter(f"--only is for files of downloads; {', '.join(positions)} has positions")
    wanted = {name: [d for d in known[name] if not only or PurePosixPath(d.target).name in only] for name in what}
    names = [PurePosixPath(download.target).name for name in what for download in known[name]]
    if unknown := [name for name in only or [] if name not in names]:
        raise typer.BadParameter(f"no file {', '.join(unknown)} in {', '.join(what)}; there are {', '.join(names)}")
    failed = sum(_failed_of_sky(layout.raw / name, per_second, blank) for name in positions)
    with telling() as pace:
        for name, downloads in wanted.items():
            try:
                failed += len(fetching.fetch(downloads, root, delete_archives=delete_archives, pace=pace))
            except (FetchError, OSError) as error:
                log.error("%s: %s", name, error)
                failed += 1
            except KeyboardInterrupt:
                say("\nstopped; the same command goes on from here")
                raise typer.Exit(130) from None
    if failed:
        say(f"{failed} failed, see above; the same command goes on from here")
        raise typer.Exit(1)  # a loop in a script goes on until all are there
    if what:
        say(f"all there, in {root}")


def _failed_of_sky(folder: Path, per_second: float | None, blank_too: bool) -> int:
    """Fetch what is missing of a survey of positions; how many positions failed, 1 where it could not go on."""
    try:
        return fetched(folder, per_second, blank_too)["failed"]
    except SurveyError as error:
        log.error("%s: %s", folder.name, error)
    except typer.Exit as stopped:
        if stopped.exit_code == 130:  # Ctrl+C
            raise
    return 1
