"""`survey new`, `survey add` and `survey list`: a survey file for images or positions, and the surveys there are.

Belongs here: arguments and what is printed. Does not belong here: fetching cutouts (`cli.sky`), what is measured
(`deliveries.onboarding.inspect`) and what follows from it (`deliveries.onboarding.propose`).
"""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from galaxy_assets.cli.arguments import PATH, chosen_surveys
from galaxy_assets.cli.sky import begin, begun_skies, fetched, list_skies
from galaxy_assets.cli.terminal import say, say_rows
from galaxy_assets.settings.files import SurveyError, SurveyFiles, enable, survey_files
from galaxy_assets.settings.printing import printable
from galaxy_assets.settings.survey import Survey
from galaxy_assets.storage.layout import Layout

if TYPE_CHECKING:
    from galaxy_assets.deliveries.onboarding.inspect import Inspection, Labels
    from galaxy_assets.deliveries.onboarding.propose import Setting

app = typer.Typer(
    no_args_is_help=True, help="Make a survey of a folder of images or of positions, and list the surveys there are."
)
app.command("skies")(list_skies)


@app.command()
def new(
    name: Annotated[str, typer.Argument(help="name of the survey: lower-case letters, digits and _")],
    images: Annotated[
        Path | None, typer.Option(click_type=PATH, help="folder of images; its sub-folders and archives are deliveries")
    ] = None,
    labels: Annotated[
        Path | None,
        typer.Option(
            click_type=PATH,
            help="table of labels, a row per image: CSV, Parquet, FITS, VOTable, ECSV, IPAC, MRT or JSON",
        ),
    ] = None,
    id_column: Annotated[
        str | None, typer.Option(help="its column of file names, or the catalogue's of ids; found out if left out")
    ] = None,
    label_column: Annotated[
        str | None, typer.Option(help="its column of classes; none where a table of labels has none")
    ] = None,
    folders: Annotated[
        bool, typer.Option("--folder-labels", help="in place of a table: the folder of an image is its class")
    ] = False,
    sample: Annotated[int, typer.Option(min=1, help="most images to look at")] = 200,
    catalogue: Annotated[
        Path | None,
        typer.Option(
            click_type=PATH, help="in place of images: table of positions whose cutouts are fetched from --sky"
        ),
    ] = None,
    sky: Annotated[
        str | None, typer.Option(help="HiPS id, or legacysurvey:LAYER; `galaxy-assets survey skies` lists some")
    ] = None,
    size: Annotated[str | None, typer.Option(help="side of a cutout, such as 60arcsec")] = None,
    pixels: Annotated[int | None, typer.Option(min=16, help="side of a cutout in pixels")] = None,
    form: Annotated[
        Literal["png", "jpg", "fits"] | None,
        typer.Option("--format", help="of the cutouts; PNG for colour and FITS for one band if left out"),
    ] = None,
    ra_column: Annotated[str | None, typer.Option(help="the table's column of right ascensions")] = None,
    dec_column: Annotated[str | None, typer.Option(help="its column of declinations")] = None,
    units: Annotated[
        str | None, typer.Option(help="their units, where the table does not say them: rad, or hourangle,deg")
    ] = None,
    per_second: Annotated[float | None, typer.Option(min=0.01, max=20, help="most requests in a second; 4")] = None,
    tune: Annotated[
        bool, typer.Option("--tune", help="leave frame, image size and orientations to trials of the first run")
    ] = False,
) -> None:
    """Propose a survey for images or for positions: data/surveys/NAME.yaml, with the reason for every value.

    A file that exists is not overwritten. For positions the cutouts are fetched to data/raw/NAME first; the same
    command goes on where it was stopped.

    Example: galaxy-assets survey new mysurvey --images ~/mysurvey --labels ~/mysurvey/classes.fits

    Example: galaxy-assets survey new mysurvey --catalogue positions.csv --sky CDS/P/DESI-Legacy-Surveys/DR10/color
    """
    from galaxy_assets.deliveries.sky.positions import Columns

    layout = Layout.default()
    try:
        _refuse_mixture(
            {"--images": images, "--labels": labels, "--folder-labels": folders or None},
            {"--sky": sky, "--size": size, "--pixels": pixels, "--format": form, "--units": units}
            | {"--per-second": per_second},
            catalogue,
        )
        if catalogue is not None and sky is not None:
            columns = Columns(id_column, label_column, ra_column, dec_column, units)
            begun = catalogue, sky, size, pixels, form, columns
            _new_of_positions(layout, name, begun, per_second, sample, tune)
        elif images is not None:
            table = labels, id_column, label_column, ra_column, dec_column
            _new_of_images(layout, name, images, table, sample, tune, folders)
    except SurveyError as error:
        raise typer.BadParameter(str(error)) from error


def _refuse_mixture(of_images: dict[str, Any], of_positions: dict[str, Any], catalogue: Path | None) -> None:
    wrong = of_images if catalogue is not None else of_positions
    if given := ", ".join(option for option, value in wrong.items() if value is not None):
        if catalogue is None:
            raise SurveyError(f"{given}: only for positions; name their table with --catalogue")
        raise SurveyError(
            f"{given}: not for positions, whose images are fetched and whose classes are --label-column; leave "
            "it out, or leave --catalogue out"
        )
    if catalogue is None and of_images["--images"] is None:
        raise SurveyError("give --images FOLDER, or --catalogue TABLE and --sky SKY where there are positions alone")
    if catalogue is not None and of_positions["--sky"] is None:
        raise SurveyError("--sky says where the cutouts come from; `galaxy-assets survey skies` lists some")


def _new_of_images(
    layout: Layout, name: str, images: Path, table: tuple, sample: int, tune: bool, folders: bool
) -> None:
    from galaxy_assets.deliveries.onboarding.folders import folder_labels
    from galaxy_assets.deliveries.onboarding.inspect import inspect
    from galaxy_assets.deliveries.onboarding.labels import inside_labels, inspect_labels
    from galaxy_assets.deliveries.onboarding.survey_file import refuse_name

    labels, *columns = table
    id_column, label_column, ra_column, dec_column = columns
    refuse_name(name, layout.root)
    if labels is None and any(columns):
        raise SurveyError(
            "--id-column, --label-column, --ra-column and --dec-column are columns of a table; name it with --labels"
        )
    if labels is not None and folders:
        raise SurveyError("--labels and --folder-labels: give one; a table leaves the folders out")
    if (ra_column is None) != (dec_column is None):
        raise SurveyError("--ra-column and --dec-column go together: give both or neither")
    position = (ra_column, dec_column) if ra_column and dec_column else None
    found = inspect(images, sample, table=labels)
    if labels is not None:
        said = inspect_labels(found, labels, id_column, label_column, position)
    elif folders:
        said = folder_labels(found, asked=True)
    else:
        said = inside_labels(found) or folder_labels(found)
    _write(layout, name, _proposed(layout, name, found, said, tune), found, said)


def _new_of_positions(
    layout: Layout, name: str, begun: tuple, per_second: float | None, sample: int, tune: bool
) -> None:
    from galaxy_assets.deliveries.download.offers import load_downloads
    from galaxy_assets.deliveries.onboarding.from_positions import labels_of, with_origin
    from galaxy_assets.deliveries.onboarding.inspect import inspect
    from galaxy_assets.deliveries.onboarding.survey_file import refuse_name

    folder, path = layout.raw / name, layout.surveys / f"{name}.yaml"
    if there := path.exists() and name in begun_skies(layout.raw):
        say(f"{path} is there and stays as it is; what is missing of its cutouts is fetched")
    else:
        refuse_name(name, layout.root)
        if name in (downloads := load_downloads()):  # which is what `fetch` would take it for
            raise SurveyError(f"`fetch` has downloads called {', '.join(downloads)}; give the survey another name")
    plan = begin(folder, *begun)
    counts = fetched(folder, per_second)
    if there:
        return
    found = inspect(folder, sample)
    said = labels_of(found, folder)
    settings = with_origin(_proposed(layout, name, found, said, tune), folder, plan, counts)
    _write(layout, name, settings, found, said)


def _proposed(layout: Layout, name: str, found: "Inspection", said: "Labels | None", tune: bool) -> "list[Setting]":
    from galaxy_assets.deliveries.onboarding.propose import settings_for, too_few_to_tune

    if tune and (why := too_few_to_tune(found)):
        say(why)
    return settings_for(name, found, said, resnet18=any(layout.weights.glob("resnet18-*.pth")), tune=tune)


def _write(layout: Layout, name: str, settings: "list[Setting]", found: "Inspection", said: "Labels | None") -> None:
    """Write the survey file and print what was found and chosen."""
    from galaxy_assets.deliveries.onboarding import report
    from galaxy_assets.deliveries.onboarding.survey_file import write_survey

    path = layout.surveys / f"{name}.yaml"
    survey = write_survey(path, settings, found, said)
    say(found.source.path)
    say_rows(report.table_of(found) + report.table_of_labels(found, said))
    for caution in report.cautions(found, said):
        say(f"  ! {caution}")
    say(f"\n{path}, with the reason for each value; look at it before you run it:")
    say_rows(_chosen(survey))
    say(f"\n  galaxy-assets run {name}\n  galaxy-assets explore      # then look at the galaxies and score them")
    if said is None:
        return
    for graded in said.graded:
        command = graded.command(name, Path(said.source.labels or ""), said.source.id_column or "")
        say(f"\n{printable(graded.heading)}")
        say(f"  {printable(command)}")


def _chosen(survey: Survey) -> list[tuple[str, str]]:
    cutout, recipe, tried = survey.cutout, survey.recipe, "chosen by trials of the first run"
    frame = tried if "cutout.method" in survey.auto else f"{cutout.method}, {cutout.size} pixels"
    read = tried if "recipe.image_size" in survey.auto else f"{recipe.image_size} pixels"
    return [
        ("reader", survey.source.reader),
        ("cutout", f"{frame}, {'grey' if cutout.grey else 'colour'}"),
        ("recipe", f"{recipe.preset}, {recipe.backbone}, {read}"),
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
        say(f"{name} is enabled; `galaxy-assets run {name}` makes its tables")


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
            say(f"{written}: written, keys that you add there override the shipped ones")


@app.command("list")
def known() -> None:
    """List the surveys there are: enabled ones, those that can be added, and broken files.

    Of an enabled one it says where its images are and how many deliveries are there; of a broken file, the reason.

    Example: galaxy-assets survey list
    """
    layout = Layout.default()
    files = survey_files(layout.root)
    rows = []
    for survey in files.enabled.values():
        path = survey.source.folder(layout.raw)
        there = printable(f"{path}: {_deliveries(survey, path, layout)}")
        rows += [(survey.name, printable(survey.title)), ("", there)]
    say("Enabled")
    say_rows(rows)
    if files.templates:
        say("\nTemplates")
    rows = []
    for name, survey in files.templates.items():
        rows += [(name, printable(survey.title)), ("", f"add with: galaxy-assets survey add {name}")]
    say_rows(rows)
    say_broken(files)


def say_broken(files: SurveyFiles) -> None:
    """Print the survey files that cannot be used, each with its reason and the remedy."""
    if files.broken:
        say("\nBroken, and left out until corrected")
    say_rows([(path.stem, why) for path, why in files.broken.items()])


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
