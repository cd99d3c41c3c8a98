"""The command line: thin over Dagster and the lake.

Belongs here: arguments, progress and the printed summary. Does not belong here: what the commands do.
"""

import json
import logging
import os
import re
import shutil
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
import yaml

from galaxy_assets.atomic import replacing
from galaxy_assets.lake.layout import Layout
from galaxy_assets.lake.tables import read_table
from galaxy_assets.surveys.model import Survey, SurveyError, data_root, load_surveys

if TYPE_CHECKING:
    from galaxy_assets.automation import Outcome

app = typer.Typer(no_args_is_help=True, add_completion=False, help="From a folder of galaxy images to discoveries.")
log = logging.getLogger("galaxy_assets")

# what of `results` is printed at the end of a run: images, accuracies, clusters, the ranking; the rest is in the table
_FOUND = re.compile(r"D1|D3|E7:\w+|(C2|C3|C8):\w+|A3|A7:\d+(:\w+)?|A8:\d+")
_MARK = {"done": "+", "fresh": "=", "failed": "!", "skipped": "-"}


def _start_logging() -> None:
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("%(asctime)s   %(message)s", "%H:%M:%S"))
    log.addHandler(handler)
    log.setLevel(logging.INFO)


def _surveys(names: list[str]) -> list[Survey]:
    try:
        known = load_surveys()
    except SurveyError as error:
        raise typer.BadParameter(str(error)) from error
    unknown = [name for name in names if name not in known]
    if unknown:
        raise typer.BadParameter(f"no survey {', '.join(unknown)}; known are {', '.join(sorted(known))}")
    return [known[name] for name in names]


@app.callback()
def main() -> None:
    """From a folder of galaxy images to discoveries, without labels."""


@app.command()
def run(surveys: Annotated[list[str], typer.Argument(help="names of surveys, in the order to run them")]) -> None:
    """Materialise surveys from their images to their results.

    What is up to date is not run again, so the same command resumes a run that was stopped.

    Example: galaxy-assets run demo_optical demo_radio
    """
    chosen = _surveys(surveys)
    _start_logging()
    try:
        failed = _materialise(chosen)
    except KeyboardInterrupt:
        typer.echo("\nstopped; the same command goes on from here")
        raise typer.Exit(130) from None
    _summary(chosen, failed)
    if failed:
        raise typer.Exit(1)


@app.command()
def real(data: Annotated[Path, typer.Argument(help="folder with sdss_gz1/, mirabest/ or gz_decals/ in it")]) -> None:
    """Run the main job on real surveys that lie below one folder.

    Each survey found gets a file in data/surveys/ that says where its images are (kept when it is there already) and,
    where ImageNet's ResNet-18 cannot be had, a recipe that needs no download.

    Example: galaxy-assets real /data/surveys
    """
    try:
        names = write_real_surveys(data.resolve(), Layout.default())
    except SurveyError as error:
        raise typer.BadParameter(str(error)) from error
    run(names)


@app.command()
def similar(
    survey: Annotated[str, typer.Argument(help="name of a survey that was run")],
    ids: Annotated[list[str] | None, typer.Option("--id", help="a galaxy of the survey; may be repeated")] = None,
    files: Annotated[
        list[Path] | None, typer.Option("--file", help="a PNG, JPEG or FITS image from anywhere; may be repeated")
    ] = None,
    neighbours: Annotated[int, typer.Option(min=1, help="how many to show")] = 8,
    sheet: Annotated[Path | None, typer.Option(help="PNG to write: the examples, then what is like them")] = None,
) -> None:
    """Show the galaxies of a survey most like the given ones.

    Of several examples the nearest counts; they are no answers themselves.

    Example: galaxy-assets similar sdss_gz1 --id ID --file ring.png --sheet more_like_these.png
    """
    from galaxy_assets import search
    from galaxy_assets.figures.save import save

    (known,) = _surveys([survey])
    asked = {"ids": ids or [], "files": files or []}
    try:
        found = search.similar(survey, neighbours=neighbours, **asked)
        drawn = search.sheet(survey, found, **asked) if sheet else None
    except (ValueError, FileNotFoundError) as error:
        raise typer.BadParameter(str(error)) from error
    typer.echo(f"{known.title}; files are those in {(Layout.default().raw / known.source.path).absolute()}")
    typer.echo("rank  distance  galaxy, file, the example it is nearest to")
    for row in found.to_pylist():
        typer.echo("{rank:4d}  {distance:8.4g}  {neighbour_id}  {file}  {query_id}".format(**row))
    if drawn is not None and sheet is not None:
        typer.echo(f"sheet: {save(drawn, sheet)}")


def write_real_surveys(data: Path, layout: Layout) -> list[str]:
    """Write a survey file for each known survey found below `data`; returns their names in the order to run them.

    Raises SurveyError where none is found.
    """
    offline = Path(__file__).parent / "surveys" / "offline"
    found = []
    for name, folder in [("gz_decals", "gz_decals"), ("sdss_gz1", "sdss_gz1"), ("mirabest", "mirabest")]:
        if not (data / folder).is_dir():
            continue
        found.append(name)
        path = layout.surveys / f"{name}.yaml"
        if path.exists():
            kept = Path(load_surveys(layout.root)[name].source.path)
            if not kept.is_relative_to(data):
                raise SurveyError(f"{path} reads {kept}, which is not below {data}; edit or delete that file first")
            continue
        overlay = offline / f"{name}.yaml"
        settings = {"extends": name, "source": {"path": str(data / load_surveys(layout.root)[name].source.path)}}
        if overlay.exists():
            settings |= yaml.safe_load(overlay.read_text(encoding="utf-8"))
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(
            f"# Written by `galaxy-assets real`; edit it or delete it.\n{yaml.safe_dump(settings, sort_keys=False)}",
            encoding="utf-8",
        )
    if not found:
        raise SurveyError(f"{data}: no gz_decals/, sdss_gz1/ or mirabest/ in it; see data/README.md for the layouts")
    return found


@app.command()
def figures(
    surveys: Annotated[list[str] | None, typer.Argument(help="names of surveys; all when none")] = None,
) -> None:
    """Write one page of every figure, table and number that surveys have: data/figures/index.html.

    It shows what the lake holds; `run` makes it.

    Example: galaxy-assets figures sdss_gz1 mirabest
    """
    try:
        chosen = _surveys(surveys or sorted(load_surveys()))
    except SurveyError as error:
        raise typer.BadParameter(str(error)) from error
    path = write_figures_page(chosen, Layout.default())
    if path is None:
        typer.echo("no figures yet; run a survey first, for instance `make demo`")
        raise typer.Exit(1)
    typer.echo(path.as_uri())


def write_figures_page(surveys: list[Survey], layout: Layout) -> Path | None:
    """Write the page of the surveys that have figures, whole or not at all; None where none of them has."""
    from galaxy_assets.figures.page import FigureEntry, SurveyEntry, page

    target = layout.figures_page

    def entry(survey: Survey, note_file: Path) -> FigureEntry:
        note = json.loads(note_file.read_text(encoding="utf-8"))
        drawn = note.pop("drawn")
        links = {"picture": ".png", "print": ".pdf"} if drawn else {}
        for name, suffix in links.items():
            note[name] = Path(os.path.relpath(note_file.with_suffix(suffix), target.parent)).as_posix()
        table = layout.table(survey.name, note["name"])
        rows = read_table(table).to_pylist() if not drawn and table.exists() else []
        return FigureEntry(**note, rows=rows)

    entries = []
    for survey in surveys:
        notes = sorted(layout.figure(survey.name, "x").parent.glob("[!.]*.json"))
        if notes:
            results = layout.table(survey.name, "results")
            rows = read_table(results).to_pylist() if results.exists() else []
            shown = [entry(survey, note) for note in notes]
            entries.append(SurveyEntry(survey.name, survey.title, survey.description, shown, rows))
    if not entries:
        return None
    with replacing(target) as partial:
        partial.write_text(page(entries), encoding="utf-8")
    return target


def _materialise(surveys: list[Survey]) -> int:
    import dagster as dg

    from galaxy_assets.automation import run_survey
    from galaxy_assets.definitions import build_defs

    _set_dagster_home()
    defs, failed, start = build_defs(), 0, time.perf_counter()
    with dg.DagsterInstance.get() as instance:
        for survey in surveys:
            typer.echo(f"\n{survey.title} ({survey.name})")
            for outcome in _outcomes(run_survey(defs, survey, instance)):
                if isinstance(outcome, SurveyError):
                    failed += 1
                    typer.echo(f"        {outcome}")
                    continue
                minutes, seconds = divmod(int(time.perf_counter() - start), 60)
                what = ", ".join(outcome.assets) + (f" [{outcome.partition}]" if outcome.partition else "")
                typer.echo(f" {minutes:3d}:{seconds:02d} {_MARK[outcome.status]} {outcome.status:7s} {what}")
                if outcome.error and outcome.status == "failed":
                    failed += 1
                    typer.echo(f"        {outcome.error}")
    return failed


def _outcomes(outcomes: "Iterator[Outcome]") -> "Iterator[Outcome | SurveyError]":
    """The outcomes of a survey, with an unusable delivery as the last of them: the next survey still runs."""
    try:
        yield from outcomes
    except SurveyError as error:
        yield error


def _set_dagster_home() -> None:
    """Where run history lives: $DAGSTER_HOME, else .dagster beside the data folder, as `make` has it."""
    home = Path(os.environ.setdefault("DAGSTER_HOME", str(data_root().parent / ".dagster")))
    home.mkdir(parents=True, exist_ok=True)
    settings = Path(__file__).parents[1] / "dagster.yaml"
    if settings.exists() and not (home / "dagster.yaml").exists():
        shutil.copy(settings, home)


def _summary(surveys: list[Survey], failed: int) -> None:
    from galaxy_assets.lake import connect
    from galaxy_assets.science.results import AGREES, DIFFERS, VERDICTS

    layout = Layout.default()
    if failed:
        typer.echo(f"\n{failed} steps failed, see above; numbers that rest on them are from an earlier run or absent")
    for survey in surveys:
        if not layout.table(survey.name, "results").exists():
            typer.echo(f"\n{survey.title}: not finished, no results yet")
            continue
        typer.echo(f"\n{survey.title}: what was found")
        with connect() as lake:
            query = f'select check_id, description, observed, expected, verdict from "{survey.name}".results'
            rows = lake.sql(query).fetchall()
        for check_id, description, observed, expected, verdict in rows:
            if observed is not None and _FOUND.fullmatch(check_id):
                paper = f"   paper {expected:,.4g}: {verdict}" if verdict in (AGREES, DIFFERS) else ""
                typer.echo(f"  {observed:>9,.4g}  {description}{paper}")
        verdicts = [row[-1] for row in rows]
        counts = ", ".join(f"{verdicts.count(verdict)} {verdict}" for verdict in VERDICTS)
        typer.echo(f"  the paper's numbers and settings, in {survey.name}.results: {counts}")
        typer.echo(f"  figures: {layout.figure(survey.name, 'x').parent}, all on one page by `make figures`")
    typer.echo("\nLook at it: `make dev`, then http://127.0.0.1:3000. Ask it in SQL:")
    typer.echo(
        '  python -c "from galaxy_assets.lake import connect; '
        f"print(connect().sql('select * from {surveys[0].name}.anomaly_ranking order by rank limit 20'))\""
    )


if __name__ == "__main__":
    app()
