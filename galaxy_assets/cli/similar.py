"""`similar`: more galaxies like these.

Belongs here: the command's arguments and its printed answer. Does not belong here: the search (`search`).
"""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from galaxy_assets.cli.arguments import PATH, chosen_surveys
from galaxy_assets.cli.terminal import say
from galaxy_assets.storage.layout import Layout


def similar(
    survey: Annotated[str, typer.Argument(help="name of a survey that was run")],
    ids: Annotated[list[str] | None, typer.Option("--id", help="a galaxy of the survey; may be repeated")] = None,
    files: Annotated[
        list[Path] | None,
        typer.Option("--file", click_type=PATH, help="a PNG, JPEG or FITS image from anywhere; may be repeated"),
    ] = None,
    neighbours: Annotated[int, typer.Option(min=1, help="how many to show")] = 8,
    exact: Annotated[
        bool, typer.Option("--exact", help="read every galaxy of a large survey, of which an index reads some")
    ] = False,
    sheet: Annotated[
        Path | None, typer.Option(click_type=PATH, help="PNG to write: the examples, then what is like them")
    ] = None,
) -> None:
    """Show the galaxies of a survey most like the given ones.

    Of several examples the nearest counts; they are no answers themselves.

    Example: galaxy-assets similar sdss_gz1 --id ID --file ring.png --sheet more_like_these.png
    """
    _refuse(ids or [], files or [], sheet)
    layout = Layout.default()
    (known,) = chosen_surveys([survey], layout.root)

    from galaxy_assets.lake import similar as search
    from galaxy_assets.storage.figures import save

    asked = {"ids": ids or [], "files": files or []}
    try:
        found = search.similar(survey, neighbours=neighbours, exact=exact, **asked)
        drawn = search.sheet(survey, found, **asked) if sheet else None
    except (ValueError, FileNotFoundError) as error:
        raise typer.BadParameter(str(error)) from error
    say(f"{known.title}; files are those in {known.source.folder(layout.raw)}")
    say("rank  distance  galaxy, file, the example it is nearest to")
    for row in found.to_pylist():
        say("{rank:4d}  {distance:8.4g}  {neighbour_id}  {file}  {query_id}".format(**row))
    if drawn is not None and sheet is not None:
        say(f"sheet: {save(drawn, sheet)}")


def _refuse(ids: Sequence[str], files: Sequence[Path], sheet: Path | None) -> None:
    """Raise typer.BadParameter for what can be refused by looking, before anything is loaded."""
    if not ids and not files:
        raise typer.BadParameter("no example given: name a galaxy by --id or an image by --file")
    for file in files:
        if not file.is_file():
            why = "is a folder; name an image in it" if file.is_dir() else "does not exist"
            raise typer.BadParameter(f"{file} {why}", param_hint="--file")
        if not os.access(file, os.R_OK):
            raise typer.BadParameter(f"{file} may not be read by you; change its permissions", param_hint="--file")
    if sheet is not None and sheet.is_dir():
        raise typer.BadParameter(f"{sheet} is a folder; name a file", param_hint="--sheet")
