"""`export`: the ranking, training candidates or a cluster, with the cutouts, to a folder.

Belongs here: arguments and the printed answer. Does not belong here: what is written (`galaxy_assets.lake.export`).
"""

from pathlib import Path
from typing import Annotated

import typer

from galaxy_assets.cli.arguments import moment
from galaxy_assets.cli.terminal import say
from galaxy_assets.lake.export import What
from galaxy_assets.lake.export import export as write_export


def export(
    what: Annotated[What, typer.Argument(help="ranking, candidates (a training set) or cluster")],
    survey: Annotated[str, typer.Argument(help="name of a survey that was run")],
    to: Annotated[Path, typer.Option(help="folder to write; it must be new or empty")],
    first: Annotated[int | None, typer.Option(min=1, help="rows at most; of candidates, of each cluster")] = None,
    cluster: Annotated[int | None, typer.Option(min=0, help="which one, for `cluster`")] = None,
    init: Annotated[str | None, typer.Option(help="start weights, for candidates and cluster; the main ones")] = None,
    until: Annotated[
        str | None, typer.Option(help="the ranking as the labels recorded by this time make it, ISO 8601")
    ] = None,
    images: Annotated[
        bool, typer.Option("--images", help="the cutouts too, as PNG; candidates have them always")
    ] = False,
) -> None:
    """Write the ranking, the training candidates or a cluster to a folder, as CSV and Parquet.

    about.json beside them says which data and which checkpoint they come from.

    Example: galaxy-assets export ranking sdss_gz1 --to top200 --first 200 --images
    """
    try:
        table = write_export(
            what, survey, to, first=first, cluster=cluster, init=init, images=images, until=moment(until)
        )
    except (ValueError, OSError) as error:
        raise typer.BadParameter(str(error)) from error
    say(f"{to}: {table.num_rows} galaxies{' with images' if 'image' in table.column_names else ''}")
