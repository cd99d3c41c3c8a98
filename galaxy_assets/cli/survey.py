"""`survey new`, `survey add` and `survey list`: a survey file for a folder of images, and the surveys there are.

Belongs here: arguments and what is printed. Does not belong here: what is measured (`deliveries.onboarding.inspect`)
and what follows from it (`deliveries.onboarding.propose`).
"""

from pathlib import Path
from typing import Annotated

import typer

from galaxy_assets.cli.arguments import chosen_surveys
from galaxy_assets.settings.files import SurveyError, SurveyFiles, enable, survey_files
from galaxy_assets.settings.printing import printable
from galaxy_assets.settings.survey import Survey
from galaxy_assets.storage.layout import Layout

app = typer.Typer(no_args_is_help=True, help="Make a survey of a folder of images, and list the surveys there are.")


@app.command()
def new(
    name: Annotated[str, typer.Argument(help="name of the survey: lower-case letters, digits and _")],
    images: Annotated[Path, typer.Option(help="folder of images; its sub-folders and archives are deliveries")],
    labels: Annotated[
        Path | None, typer.Option(help="table of labels, one row per image: CSV, Parquet, FITS, VOTable or ECSV")
    ] = None,
    id_column: Annotated[
        str | None, typer.Option(help="its column of file names; found by matching if left out")
    ] = None,
    label_column: Annotated[str | None, typer.Option(help="its column of classes")] = None,
    sample: Annotated[int, typer.Option(min=1, help="most images to look at")] = 200,
) -> None:
    """Propose a survey for a folder of images: data/surveys/NAME.yaml, with the reason for every value.

    A file that exists is not overwritten.

    Example: galaxy-assets survey new mysurvey --images ~/mysurvey --labels ~/mysurvey/classes.fits
    """
    from galaxy_assets.deliveries.onboarding import report
    from galaxy_assets.deliveries.onboarding.inspect import inspect
    from galaxy_assets.deliveries.onboarding.labels import folder_labels, inside_labels, inspect_labels
    from galaxy_assets.deliveries.onboarding.propose import settings_for
    from galaxy_assets.deliveries.onboarding.survey_file import refuse_name, write_survey

    layout = Layout.default()
    path = layout.surveys / f"{name}.yaml"
    try:
        refuse_name(name, layout.root)
        if labels is None and (id_column or label_column):
            raise SurveyError("--id-column and --label-column are columns of a table; name it with --labels")
        found = inspect(images, sample)
        if labels is not None:
            said = inspect_labels(found, labels, id_column, label_column)
        else:
            said = inside_labels(found) or folder_labels(found)
        resnet18 = any(layout.weights.glob("resnet18-*.pth"))
        survey = write_survey(path, settings_for(name, found, said, resnet18), found, said)
    except SurveyError as error:
        raise typer.BadParameter(str(error)) from error
    typer.echo(found.source.path)
    for heading, text in report.table_of(found) + report.table_of_labels(found, said):
        typer.echo(f"  {heading:16s}{text}")
    for caution in report.cautions(found, said):
        typer.echo(f"  ! {caution}")
    typer.echo(f"\n{path}, with the reason for each value; look at it before you run it:")
    for heading, text in _chosen(survey):
        typer.echo(f"  {heading:16s}{text}")
    typer.echo(f"\n  galaxy-assets run {name}\n  make dev          # look at it on http://127.0.0.1:3000")


def _chosen(survey: Survey) -> list[tuple[str, str]]:
    cutout, recipe = survey.cutout, survey.recipe
    return [
        ("reader", survey.source.reader),
        ("cutout", f"{cutout.method}, {cutout.size} pixels, {'grey' if cutout.grey else 'colour'}"),
        ("recipe", f"{recipe.preset}, {recipe.backbone}, {recipe.image_size} pixels"),
        ("start weights", ", ".join(survey.start_weights)),
        ("classes", ", ".join(one.name for one in survey.evaluation.classes) or "none"),
        ("anomalies", ", ".join(survey.anomaly.labels) or "none: ranked by an isolation forest"),
    ]


@app.command()
def add(names: Annotated[list[str], typer.Argument(help="names of shipped surveys, see `survey list`")]) -> None:
    """Enable shipped surveys: each gets a file data/surveys/NAME.yaml, which you may edit.

    A file that exists is not overwritten.

    Example: galaxy-assets survey add gz_decals mirabest
    """
    root = Layout.default().root
    chosen_surveys(names, root)
    enable_all(names, root)
    for name in names:
        typer.echo(f"{name} is enabled; `galaxy-assets run {name}` makes its tables")


def enable_all(names: list[str], root: Path) -> None:
    """Enable known surveys and say which files were written.

    Parameters
    ----------
    names : list of str
        Of surveys.
    root : Path
        The data folder.

    Raises
    ------
    typer.BadParameter
        For what cannot be written; it ends the command.
    """
    for name in names:
        try:
            written = enable(name, root)
        except SurveyError as error:
            raise typer.BadParameter(str(error)) from error
        if written is not None:
            typer.echo(f"{written}: written, keys that you add there override the shipped ones")


@app.command("list")
def known() -> None:
    """List the surveys there are: enabled ones, those that can be added, and broken files.

    Of an enabled one it says where its images are and how many deliveries are there; of a broken file, the reason.

    Example: galaxy-assets survey list
    """
    layout = Layout.default()
    files = survey_files(layout.root)
    typer.echo("Enabled")
    for survey in files.enabled.values():
        path = (layout.raw / (survey.source.mirror or survey.source.path)).absolute()
        typer.echo(f"  {survey.name:16s}{printable(survey.title)}")
        typer.echo(f"  {'':16s}{printable(f'{path}: {_deliveries(survey, path, layout)}')}")
    if files.templates:
        typer.echo("\nTemplates")
    for survey in files.templates.values():
        typer.echo(f"  {survey.name:16s}{printable(survey.title)}")
        typer.echo(f"  {'':16s}add with: galaxy-assets survey add {survey.name}")
    say_broken(files)


def say_broken(files: SurveyFiles) -> None:
    """Print the survey files that cannot be used, each with its reason and the remedy."""
    if files.broken:
        typer.echo("\nBroken, and left out until corrected")
    for path, why in files.broken.items():
        typer.echo(f"  {printable(path.stem):16s}{why}")


def _deliveries(survey: Survey, path: Path, layout: Layout) -> str:
    from galaxy_assets.deliveries.readers import made_by_first_run, reader_in_place

    source = survey.source
    if source.is_elsewhere and not path.exists():
        return f"copied from {source.path} by its first run"
    try:
        if made_by_first_run(source, layout.raw):
            return f"made by its first run, deliveries {', '.join(source.batches)}"
    except SurveyError as error:  # its reader cannot be loaded
        return str(error)
    try:
        # of a mirror what is there already: a list copies nothing
        n = len(reader_in_place(source, layout.raw).batches())
    except SurveyError:
        return "no delivery there"
    return f"{n} deliver{'y' if n == 1 else 'ies'}"
