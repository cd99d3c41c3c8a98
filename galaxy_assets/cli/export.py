"""`export`: what was found, to a folder that other programs read.

Belongs here: a sub-command per kind of export, with its arguments and the printed answer. Does not belong here: what is
written (`galaxy_assets.lake.export`).
"""

from pathlib import Path
from typing import Annotated, Any, cast, get_args

import click
import typer

from galaxy_assets.cli.arguments import PATH, moment
from galaxy_assets.cli.terminal import say
from galaxy_assets.lake.export import What
from galaxy_assets.lake.export import export as write_export
from galaxy_assets.lake.formats import Format
from galaxy_assets.settings.printing import count_of

app = typer.Typer(no_args_is_help=True, help="Write what was found to a folder, for other programs.")

SurveyName = Annotated[str, typer.Argument(metavar="SURVEY", help="name of a survey that was run")]
To = Annotated[Path, typer.Option(click_type=PATH, help="folder to write; it must be new or empty")]
First = Annotated[int | None, typer.Option(min=1, help="rows at most")]
Images = Annotated[bool, typer.Option("--images", help="the cutouts too, as PNG")]
Init = Annotated[str | None, typer.Option(help="start weights; the survey's main ones when not given")]
Formats = Annotated[
    list[str] | None,
    typer.Option(
        "--format",
        click_type=click.Choice(get_args(Format)),
        help="of the table; may be repeated; csv and parquet when not given",
    ),
]


@app.command()
def ranking(
    survey: SurveyName,
    to: To,
    first: First = None,
    until: Annotated[
        str | None, typer.Option(help="the ranking as the labels recorded by this time make it, ISO 8601")
    ] = None,
    images: Images = False,
    formats: Formats = None,
) -> None:
    """Write the ranking, with positions and classes.

    about.json beside the table says which data and which checkpoint it comes from, and what its columns hold.

    Example: galaxy-assets export ranking sdss_gz1 --to top200 --first 200 --images
    """
    _export("ranking", survey, to, formats, first=first, until=moment(until), images=images)


@app.command()
def candidates(
    survey: SurveyName,
    to: To,
    first: Annotated[int | None, typer.Option(min=1, help="rows at most of each cluster")] = None,
    init: Init = None,
    formats: Formats = None,
) -> None:
    """Write the training candidates as a training set: the cutouts in a folder per label, or per cluster.

    Example: galaxy-assets export candidates sdss_gz1 --to training_set
    """
    _export("candidates", survey, to, formats, first=first, init=init)


@app.command()
def cluster(
    survey: SurveyName,
    to: To,
    cluster: Annotated[int, typer.Option(min=0, help="its number")],
    first: First = None,
    init: Init = None,
    images: Images = False,
    formats: Formats = None,
) -> None:
    """Write the members of a cluster, the most probable ones first.

    Example: galaxy-assets export cluster sdss_gz1 --to cluster_3 --cluster 3 --images
    """
    _export("cluster", survey, to, formats, cluster=cluster, first=first, init=init, images=images)


@app.command()
def subjects(
    survey: SurveyName,
    to: To,
    first: Annotated[int, typer.Option(min=1, help="how many of the ranking")],
) -> None:
    """Write the top of the ranking as subjects of a Zooniverse project: images and manifest.csv.

    `labels import` reads the project's classifications back.

    Example: galaxy-assets export subjects sdss_gz1 --to subjects --first 500
    """
    from galaxy_assets.lake.export_subjects import export_subjects

    try:
        table = export_subjects(survey, to, first)
    except (ValueError, OSError) as error:
        raise typer.BadParameter(str(error)) from error
    say(f"{to}: manifest.csv with {table.num_rows} subjects, and their images")


@app.command()
def hats(survey: SurveyName, to: To) -> None:
    """Write positions, ranking, clusters and features as a HATS catalogue, which LSDB cross-matches.

    It needs the extra galaxy-assets[hats].

    Example: galaxy-assets export hats sdss_gz1 --to hats
    """
    from galaxy_assets.lake.export_hats import export_hats

    try:
        written = export_hats(survey, to)
    except (ValueError, OSError) as error:
        raise typer.BadParameter(str(error)) from error
    galaxies, left_out = count_of(written.n, "galaxy"), count_of(written.without_position, "galaxy")
    say(f"{written.catalogue}: {galaxies}; left out without a position: {left_out}")


@app.command()
def encoder(survey: SurveyName, to: To, init: Init = None) -> None:
    """Write the chosen encoder as ONNX, with its normalisation, and compare it with the lake's features.

    It needs the extra galaxy-assets[onnx].

    Example: galaxy-assets export encoder sdss_gz1 --to encoder
    """
    from galaxy_assets.lake.export_encoder import export_encoder

    try:
        about = export_encoder(survey, to, init=init)
    except (ValueError, OSError) as error:
        raise typer.BadParameter(str(error)) from error
    compared = about["compared"]
    say(f"{to}: encoder.onnx, images {about['input']['shape']} in [0, 1] to features {about['output']['shape']}")
    say(
        f"  of {compared['galaxies']} galaxies: at most {compared['largest_difference_from_torch']:.1e} from torch, "
        f"{compared['largest_difference_from_embeddings']:.1e} from the lake's embeddings"
    )


def _export(what: What, survey: str, to: Path, formats: list[str] | None, **asked: Any) -> None:
    wanted = cast(list[Format], formats or ["csv", "parquet"])
    try:
        table = write_export(what, survey, to, formats=wanted, **asked)
    except (ValueError, OSError) as error:
        raise typer.BadParameter(str(error)) from error
    say(f"{to}: {count_of(table.num_rows, 'galaxy')}{' with images' if 'image' in table.column_names else ''}")
