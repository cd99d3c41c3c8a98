"""`run` and `real`: the main job with its progress, and the printed summary.

Belongs here: what these commands print, and the survey files that `real` writes. Does not belong here: the main job
(`automation`).
"""

import errno
import functools
import inspect
import logging
import os
import re
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
import yaml

from galaxy_assets import plugins
from galaxy_assets.cli.arguments import chosen_surveys
from galaxy_assets.cli.dagster_home import use_dagster_home
from galaxy_assets.cli.status import people_said, said_aloud
from galaxy_assets.cli.survey import enable_all
from galaxy_assets.cli.terminal import say
from galaxy_assets.science import torchrun
from galaxy_assets.settings.files import SHIPPED, SurveyError, read_survey, survey_files
from galaxy_assets.settings.printing import PrintableError
from galaxy_assets.settings.survey import Survey
from galaxy_assets.storage.files import NotWritten
from galaxy_assets.storage.layout import Layout
from galaxy_assets.storage.tables import read_table
from galaxy_assets.storage.trials import TRIALS, document_of_trials

if TYPE_CHECKING:
    from galaxy_assets.orchestration.automation.outdated import Follow
    from galaxy_assets.orchestration.outcome import Outcome

log = logging.getLogger("galaxy_assets")

# what of `results` is printed at the end of a run: images, accuracies, clusters, the ranking; the rest is in the table
_FOUND = re.compile(r"D1|D3|E7:\w+|(C2|C3|C8):\w+|A3|A7:\d+(:\w+)?|A8:\d+")
_FRESH = 12
"""Partitions of the same assets that are up to date, one after the other, that are printed."""
_MARK = {"done": "+", "fresh": "=", "failed": "!", "skipped": "-", "blocked": "!", "held": "!", "arriving": "?"}


def _start_logging() -> None:
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("%(asctime)s   %(message)s", "%H:%M:%S"))
    log.addHandler(handler)
    log.setLevel(logging.INFO)


def run(
    surveys: Annotated[list[str], typer.Argument(help="names of surveys, in the order to run them")],
    refit: Annotated[
        bool, typer.Option("--refit", help="fit PCA, mixture and map, and the oracle's session, to all deliveries")
    ] = False,
    retrain: Annotated[bool, typer.Option("--retrain", help="train on all deliveries too, and refit")] = False,
    engine: Annotated[
        str, typer.Option(help="what makes the tables: in_process, launched, or a plug-in (docs/plugins.md)")
    ] = "in_process",
    at_once: Annotated[
        int | None, typer.Option(min=1, help="deliveries and start weights to make at once, by engine launched")
    ] = None,
) -> None:
    """Materialise surveys from their images to their results. A shipped survey is enabled by it (`survey add`).

    What is up to date is not run again, so the same command resumes a run that was stopped. New deliveries are embedded
    by the networks there are, and take their place in the models there are, until a refit or retraining is asked for.
    Started by torchrun, the first process does this and the others train with it (docs/hosts.md).

    Example: galaxy-assets run demo_optical demo_radio
    """
    root, place = Layout.default().root, torchrun.place()
    if engine not in plugins.names("engines"):
        raise typer.BadParameter(f"no engine {engine!r}; registered are {', '.join(plugins.names('engines'))}")
    make = plugins.load("engines", engine)
    if at_once is not None:
        if "at_once" not in inspect.signature(make).parameters:
            raise typer.BadParameter(f"engine {engine} makes one run at a time; --at-once is for --engine launched")
        make = functools.partial(make, at_once=at_once)
    chosen = chosen_surveys(surveys, root)
    if place is not None:
        _check_hosts(place, chosen, engine)
        torchrun.connect()
        if place.rank:
            _take_part(place)
            return
    enable_all(surveys, root)
    _start_logging()
    try:
        failed, aloud = _materialise(chosen, "retrain" if retrain else "refit" if refit else None, make)
    except KeyboardInterrupt:
        say("\nstopped; the same command goes on from here")
        raise typer.Exit(130) from None
    finally:
        if place is not None:
            torchrun.dismiss(place)
    _summary(chosen, failed, aloud)
    if failed:
        raise typer.Exit(1)


def _check_hosts(place: torchrun.Place, surveys: list[Survey], engine: str) -> None:
    """Refuse at once what several processes cannot do, before hours of cutouts."""
    if engine != "in_process":
        raise typer.BadParameter("torchrun's processes train with this one; they need --engine in_process")
    for survey in surveys:
        if survey.recipe.batch_size % place.processes:
            raise typer.BadParameter(
                f"{survey.name}: recipe.batch_size {survey.recipe.batch_size} is not a multiple of {place.processes}, "
                "the processes on all hosts; start another number of them"
            )


def _take_part(place: torchrun.Place) -> None:
    from galaxy_assets.orchestration.other_hosts import take_part

    _start_logging()
    say(f"process {place.rank} of {place.processes} trains when the first one, which runs the surveys, asks for it")
    if take_part(place, Layout.default()):
        raise typer.Exit(1)


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


def write_real_surveys(data: Path, layout: Layout) -> list[str]:
    """Write a survey file for each known survey found below a folder.

    Parameters
    ----------
    data : Path
        The folder.
    layout : Layout
        The data folder, where the files are written.

    Returns
    -------
    list of str
        Names of the surveys, in the order to run them.

    Raises
    ------
    SurveyError
        Where none is found, or a survey file there is broken or reads other images.
    """
    offline = Path(__file__).parents[1] / "settings" / "offline"
    found, files = [], survey_files(layout.root)
    for name, folder in [("gz_decals", "gz_decals"), ("sdss_gz1", "sdss_gz1"), ("mirabest", "mirabest")]:
        if not (data / folder).is_dir():
            continue
        found.append(name)
        path = layout.surveys / f"{name}.yaml"
        if files.is_described(name):
            kept = Path(files.named(name).source.path)
            if not kept.is_relative_to(data):
                where = files.files[name]
                raise SurveyError(f"{where} reads {kept}, which is not below {data}; edit or delete that file first")
            continue
        overlay = offline / f"{name}.yaml"
        shipped = read_survey(SHIPPED / f"{name}.yaml")
        settings = {"extends": name, "source": {"path": str(data / shipped.source.path)}}
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


def _materialise(
    surveys: list[Survey], follow: "Follow | None", make: "Callable[..., Iterator[Outcome]]"
) -> tuple[int, dict[str, list[str]]]:
    """How many steps failed, and by survey what its loud checks find, where what they read was made anew."""
    import dagster as dg

    from galaxy_assets.definitions import build_defs
    from galaxy_assets.orchestration.verdicts import CHECKS

    layout = Layout.default()
    root = layout.root
    say(f"Dagster keeps its history of runs in {use_dagster_home(layout)}")
    defs, known, failed, start = build_defs(root), survey_files(root).known, 0, time.perf_counter()
    aloud: dict[str, list[str]] = {}
    with _full_home_told(), dg.DagsterInstance.get() as instance:
        for survey in surveys:
            say(f"\n{survey.title} ({survey.name})")
            for outcome in _few_fresh(_outcomes(make(defs, survey, known, instance, root, follow))):
                if isinstance(outcome, Exception):
                    failed += 1
                    say(f"        {outcome}")
                    continue
                minutes, seconds = divmod(int(time.perf_counter() - start), 60)
                what = ", ".join(outcome.assets) + (f" [{outcome.partition}]" if outcome.partition else "")
                say(f" {minutes:3d}:{seconds:02d} {_MARK[outcome.status]} {outcome.status:7s} {what}")
                failed += outcome.status in ("failed", "blocked", "held")
                if outcome.error and outcome.status != "skipped":
                    say(f"        {outcome.error}")
                if TRIALS in outcome.assets and outcome.status in ("done", "fresh"):
                    _say_choice(survey, Layout(root))
                if outcome.status == "done" and {check.asset for check in CHECKS if check.loud} & set(outcome.assets):
                    before, aloud[survey.name] = aloud.get(survey.name, []), said_aloud(survey, Layout(root))
                    for words in (words for words in aloud[survey.name] if words not in before):
                        say(f"      ! {words}")
                if gone := torchrun.gone():
                    say(f"\n{gone}")
                    return failed, aloud
    return failed, aloud


def _few_fresh(outcomes: "Iterator[Outcome | Exception]") -> "Iterator[Outcome | Exception]":
    """The outcomes, but of more partitions in a row that are up to date than a person reads, how many these are."""
    in_a_row: list[Outcome] = []
    for one in chain(outcomes, [None]):
        fresh = None if one is None or isinstance(one, Exception) or one.status != "fresh" else one
        if in_a_row and (fresh is None or fresh.assets != in_a_row[0].assets):
            if (left := len(in_a_row) - _FRESH) > 0:
                yield in_a_row[-1]._replace(partition=f"and {left:,} more")
            in_a_row = []
        if fresh is not None:
            in_a_row.append(fresh)
        if one is not None and len(in_a_row) <= _FRESH:
            yield one


def _say_choice(survey: Survey, layout: Layout) -> None:
    """What the trials of a survey chose, why, and where a person sees it."""
    table = read_table(layout.table(survey.name, TRIALS))
    (row,) = table.filter(table["chosen"]).to_pylist()
    say(f"        chosen: {row['candidate']}; {row['reason']}")
    if (sheet := layout.figure(survey.name, TRIALS)).exists():
        lines = document_of_trials(layout, survey.name).name
        say(f"        {sheet} has the same galaxies cut in each way; {lines} beside it, what takes another")


def _outcomes(outcomes: "Iterator[Outcome]") -> "Iterator[Outcome | Exception]":
    """The outcomes of a survey; the last may be what stopped it (a bad delivery, another main job of it)."""
    from galaxy_assets.orchestration.automation.lock import AtWork

    try:
        with _full_home_told():
            yield from outcomes
    except (PrintableError, AtWork) as error:
        yield error


@contextmanager
def _full_home_told() -> Iterator[None]:
    """Say where Dagster's own folder is when its disk is full: what SQLite says, in whatever Dagster puts around it."""
    try:
        yield
    except OSError:
        raise
    except Exception as error:
        if "disk is full" not in str(error):
            raise
        home = os.environ["DAGSTER_HOME"]
        raise NotWritten(errno.ENOSPC, f"{home}: Dagster's own folder is on a disk that is full; make room") from error


def _summary(surveys: list[Survey], failed: int, aloud: dict[str, list[str]]) -> None:
    from galaxy_assets.lake import connect
    from galaxy_assets.science.results import AGREES, DIFFERS, VERDICTS

    layout = Layout.default()
    if failed:
        say(f"\n{failed} steps failed, see above; numbers that rest on them are from an earlier run or absent")
    for survey in surveys:
        if not layout.table(survey.name, "results").exists():
            say(f"\n{survey.title}: not finished, no results yet")
            continue
        say(f"\n{survey.title}: what was found")
        if not layout.read_model.exists():
            say(f"\n{survey.title}: {layout.read_model} was not written, see above")
            continue
        with connect(layout.root) as lake:
            query = f'select check_id, description, observed, expected, verdict from "{survey.name}".results'
            rows = lake.sql(query).fetchall()
        for check_id, description, observed, expected, verdict in rows:
            if observed is not None and _FOUND.fullmatch(check_id):
                paper = f"   paper {expected:,.4g}: {verdict}" if verdict in (AGREES, DIFFERS) else ""
                say(f"  {observed:>9,.4g}  {description}{paper}")
        verdicts = [row[-1] for row in rows]
        counts = ", ".join(f"{verdicts.count(verdict)} {verdict}" for verdict in VERDICTS)
        say(f"  the paper's numbers and settings, in {survey.name}.results: {counts}")
        if words := people_said(survey, layout):
            say(f"  {words}")
        say(f"  figures: {layout.figure(survey.name, 'x').parent}, all on one page by `make figures`")
    for survey in surveys:
        for words in aloud[survey.name] if survey.name in aloud else said_aloud(survey, layout):
            say(f"\n! {survey.title}: {words}")
    say("\nLook at it: `galaxy-assets dev`, then http://127.0.0.1:3000.")
    if ranked := [one.name for one in surveys if layout.table(one.name, "anomaly_ranking").exists()]:
        say(
            "Ask it in SQL:\n"
            f'  galaxy-assets query "select * from {ranked[0]}.anomaly_ranking order by rank" --limit 20'
        )
