"""`labels`: what people say of galaxies, from the command line and from files.

Belongs here: the sub-commands with their arguments and printed answers. Does not belong here: the events
(`storage.label_events`), what they come to (`science.labels`).
"""

from pathlib import Path
from typing import Annotated

import pyarrow as pa
import pyarrow.compute as pc
import typer
from pyarrow import csv as arrow_csv
from pydantic import ValidationError

from galaxy_assets.cli.arguments import PATH, chosen_surveys, moment
from galaxy_assets.cli.terminal import say
from galaxy_assets.deliveries import label_imports
from galaxy_assets.deliveries.ids import ids_meant
from galaxy_assets.deliveries.label_files import ScoreColumns, ZooniverseAnswers
from galaxy_assets.deliveries.label_imports import Imported
from galaxy_assets.deliveries.label_scales import HIGHEST
from galaxy_assets.science.labels import standing
from galaxy_assets.settings.discovery import MOST_SCORES
from galaxy_assets.settings.login import whoami
from galaxy_assets.settings.printing import count_of
from galaxy_assets.settings.spreadsheets import for_spreadsheets
from galaxy_assets.storage.files import replacing
from galaxy_assets.storage.label_events import LabelLog, known_galaxies, seen
from galaxy_assets.storage.layout import Layout

app = typer.Typer(no_args_is_help=True, help="What people say of galaxies: give, import, list and take back labels.")

SurveyName = Annotated[str, typer.Argument(metavar="SURVEY", help="name of a survey")]
Until = Annotated[str | None, typer.Option(help="as it was at this time, ISO 8601; UTC where it names no zone")]
Who = Annotated[str | None, typer.Option(help="the person; your login name when not given")]


@app.command()
def add(
    survey: SurveyName,
    galaxy: Annotated[str, typer.Argument(help="its id in the survey's catalogue")],
    score: Annotated[float | None, typer.Option(min=0, max=5, help="how interesting it is, 0 to 5")] = None,
    label: Annotated[str | None, typer.Option(help="a class")] = None,
    note: Annotated[str | None, typer.Option(help="anything worth remembering")] = None,
    who: Who = None,
    force: Annotated[bool, typer.Option("--force", help="also a galaxy that the catalogue does not have")] = False,
) -> None:
    """Give a galaxy a score, or a class.

    Example: galaxy-assets labels add sdss_gz1 587722981741363294 --score 4 --note "tidal tail"
    """
    layout = Layout.default()
    (known,) = chosen_surveys([survey], layout.root)
    if (score is None) == (label is None):
        raise typer.BadParameter("give either --score or --label")
    galaxies = known_galaxies(layout, survey)
    (galaxy,), unused = ids_meant([galaxy], galaxies) if galaxies is not None else ([galaxy], {})
    if galaxies is not None and unused:
        say(
            f"warning: {galaxy} is not among the {len(galaxies)} galaxies in the catalogue of {survey}: "
            f"{unused[galaxy]}",
            err=True,
        )
        if not force:
            say("nothing kept; correct the id, or give --force", err=True)
            raise typer.Exit(1)
    row = {
        "who": who or whoami(),
        "kind": "class" if score is None else "score",
        "galaxy_id": galaxy,
        "score": score,
        "label": label,
        "note": note,
        "source": "cli",
        **seen(layout, known),
    }
    try:
        (event,) = LabelLog(layout.labels(survey)).append([row])
    except ValueError as error:
        raise typer.BadParameter(str(error)) from error
    say(event)


@app.command("import")
def import_file(
    survey: SurveyName,
    file: Annotated[
        Path, typer.Argument(click_type=PATH, help="one's own CSV, or an export of Astronomaly or Zooniverse as it is")
    ],
    who: Annotated[
        str | None, typer.Option(help="for rows that name nobody; the owner of the file when not given")
    ] = None,
    task: Annotated[str, typer.Option(help="Zooniverse: the question, as the workflow numbers it")] = "T0",
    answers: Annotated[
        list[str] | None, typer.Option("--answer", help='Zooniverse: "Yes=5" or "Ring=ring"; may be repeated')
    ] = None,
    id_key: Annotated[str | None, typer.Option(help="Zooniverse: the subject metadata that hold the galaxy id")] = None,
    id_column: Annotated[str | None, typer.Option(help="any table: its column of galaxy ids or file names")] = None,
    score_column: Annotated[str | None, typer.Option(help="any table: its column of scores")] = None,
    who_column: Annotated[
        str | None, typer.Option(help="any table: its column of who gave the score; `who` when not given")
    ] = None,
    scale: Annotated[
        tuple[float, float] | None,
        typer.Option("--range", metavar="LOW HIGH", help="any table: ends of its scale, which become 0 and 5"),
    ] = None,
) -> None:
    """Import labels from a file; importing it again adds nothing.

    Example: galaxy-assets labels import sdss_gz1 my-classifications.csv --task T0 --answer Yes=5 --answer No=0

    Example: galaxy-assets labels import radio scores.fits --id-column file --score-column interest --range 1 10
    """
    layout = Layout.default()
    chosen_surveys([survey], layout.root)
    if not file.exists():
        raise typer.BadParameter(f"{file}: no such file; name the file of labels")
    log = LabelLog(layout.labels(survey))
    try:
        meaning = _meaning(task, answers, id_key) if answers else None
        columns = None
        if id_column or score_column or who_column or scale:
            columns = ScoreColumns(
                id_column or "galaxy_id", score_column or "score", scale or (0.0, HIGHEST), who_column or "who"
            )
        galaxies = known_galaxies(layout, survey)
        report = label_imports.import_file(log, file, who, answers=meaning, columns=columns, known=galaxies)
    except (ValueError, OSError) as error:
        raise typer.BadParameter(str(error)) from error
    _print(report, survey, _learnt(layout, survey))
    if report.problems:
        raise typer.Exit(1)


@app.command("list")
def list_events(
    survey: SurveyName,
    until: Until = None,
    who: Annotated[str | None, typer.Option(help="only what this person said; everybody when not given")] = None,
) -> None:
    """List the events of a survey, the oldest first.

    Example: galaxy-assets labels list sdss_gz1 --until 2026-01-31
    """
    events = _events(survey, until)
    if who is not None:
        events = events.filter(pc.equal(events["who"], who))
    say("event  time  who  source  galaxy: what is said")
    for row in events.to_pylist():
        note = f" ({row['note']})" if row["note"] else ""
        say("{event}  {time:%Y-%m-%d %H:%M:%S}  {who}  {source}  {galaxy_id}: ".format(**row) + _said(row) + note)


@app.command()
def undo(
    survey: SurveyName,
    events: Annotated[list[str], typer.Argument(metavar="EVENT...", help="ids, as `labels list` shows them")],
    whole: Annotated[
        bool, typer.Option("--import", help="all labels that were imported with the event, to import them otherwise")
    ] = False,
    note: Annotated[str | None, typer.Option(help="why")] = None,
    who: Who = None,
) -> None:
    """Take back events; taking back an undo restores what it took back.

    Example: galaxy-assets labels undo sdss_gz1 20260131T120000000000-0123456789ab

    Example: galaxy-assets labels undo sdss_gz1 --import import-0123456789abcdef-0000002-score
    """
    layout = Layout.default()
    chosen_surveys([survey], layout.root)
    log = LabelLog(layout.labels(survey))
    try:
        if whole:
            for event in events:
                say(f"{label_imports.take_back(log, event, who or whoami(), note)} labels are taken back")
            return
        for undone in log.undo(events, who or whoami(), note):
            say(undone["event"])
    except ValueError as error:
        raise typer.BadParameter(str(error)) from error


@app.command("standing")
def show_standing(
    survey: SurveyName,
    until: Until = None,
    csv: Annotated[
        Path | None, typer.Option(click_type=PATH, help="write it to this file in place of printing it")
    ] = None,
) -> None:
    """Show what holds of each galaxy: the mean score of the people who scored it, and its class.

    Example: galaxy-assets labels standing sdss_gz1 --csv labels.csv
    """
    table = standing(_events(survey, until))
    if csv is not None:
        with replacing(csv) as partial:
            arrow_csv.write_csv(for_spreadsheets(table), partial)
        say(f"{csv}: {count_of(table.num_rows, 'galaxy')}")
        return
    say("galaxy  score  people  class  by")
    for row in table.to_pylist():
        score = "-" if row["score"] is None else f"{row['score']:.2f}"
        say(f"{row['galaxy_id']}  {score}  {row['n_people']}  {row['label'] or '-'}  {row['by']}")


def _meaning(task: str, answers: list[str], id_key: str | None) -> ZooniverseAnswers:
    """`["Yes=5", "Ring=ring"]` as what the answers mean. Raises ValueError."""
    pairs = [answer.rpartition("=") for answer in answers]
    if wrong := [
        answer for answer, (words, _, meaning) in zip(answers, pairs, strict=True) if not words or not meaning
    ]:
        raise ValueError(f"--answer {wrong[0]!r} says no meaning; write for instance --answer Yes=5")
    try:
        return ZooniverseAnswers(task=task, answers={words: meaning for words, _, meaning in pairs}, galaxy_id=id_key)
    except ValidationError as error:
        raise ValueError("; ".join(problem["msg"] for problem in error.errors())) from error


def _events(survey: str, until: str | None) -> pa.Table:
    layout = Layout.default()
    chosen_surveys([survey], layout.root)
    return LabelLog(layout.labels(survey)).read(moment(until))


def _said(row: dict) -> str:
    match row["kind"]:
        case "score":
            return f"score {row['score']:g}"
        case "class":
            return f"class {row['label']}"
        case _:
            return f"takes back {row['undoes']}"


def _learnt(layout: Layout, survey: str) -> str:
    """How many of the galaxies that people scored are learnt from, where that is not all; else nothing."""
    scored = pc.sum(pc.greater(standing(LabelLog(layout.labels(survey)).read())["n_people"], 0), min_count=0).as_py()
    if scored <= MOST_SCORES:
        return ""
    return f"people have scored {scored:,} galaxies now; the ranking learns from a sample of {MOST_SCORES:,} of them"


def _print(report: Imported, survey: str, learnt: str) -> None:
    say(
        f"{report.path} ({report.source}): {report.n_added} labels are new, {report.n_already} were there already, "
        f"{report.n_unlabelled} rows give none"
    )
    if report.scores is not None:
        say(f"  the scores run from {report.scores[0]:g} to {report.scores[1]:g} on the scale 0 (dull) to 5")
        if report.first and report.scores[1] <= 1 < len(set(report.scores)):
            say("  if 1 is the highest there can be, take the import back and repeat it with --range 0 1")
    if report.first:
        say(f"  `galaxy-assets labels undo {survey} --import {report.first}` takes all that is new back")
    for words in filter(None, (learnt, *report.notes, *report.problems)):
        say(f"  {words}")
