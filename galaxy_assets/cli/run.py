"""`run` and `real`: the main job of surveys.

Belongs here: what these commands do, and the survey files that `real` writes. Does not belong here: the main job
(`orchestration.engines`), how it is shown (`view`), the summary (`summary`).
"""

import errno
import functools
import inspect
import os
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
import yaml

from galaxy_assets import plugins
from galaxy_assets.cli.arguments import PATH, chosen_surveys
from galaxy_assets.cli.dagster_home import use_dagster_home
from galaxy_assets.cli.run_progress import RunProgress
from galaxy_assets.cli.status import said_aloud
from galaxy_assets.cli.summary import say_summary
from galaxy_assets.cli.survey import enable_all
from galaxy_assets.cli.terminal import say
from galaxy_assets.cli.view import Shown, can_be_rewritten, shown
from galaxy_assets.science import torchrun
from galaxy_assets.settings.files import SHIPPED, SurveyError, read_survey, survey_files
from galaxy_assets.settings.printing import PrintableError, logger
from galaxy_assets.settings.survey import Survey
from galaxy_assets.storage.files import NotWritten, replacing
from galaxy_assets.storage.layout import Layout
from galaxy_assets.storage.tables import read_table
from galaxy_assets.storage.trials import TRIALS, document_of_trials

log = logger(__name__)

if TYPE_CHECKING:
    from dagster import DagsterInstance

    from galaxy_assets.orchestration.automation.outdated import Follow
    from galaxy_assets.orchestration.course import Table
    from galaxy_assets.orchestration.outcome import Outcome
    from galaxy_assets.orchestration.planning.first_run import Expected


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
    threads: Annotated[
        int | None,
        typer.Option(min=1, help="threads of a CPU to compute on; as many as others leave free unless given"),
    ] = None,
) -> None:
    """Materialise surveys from their images to their results. A shipped survey is enabled by it (`survey add`).

    What is up to date is not run again, so the same command resumes a run that was stopped. New deliveries are embedded
    by the networks there are, and take their place in the models there are, until a refit or retraining is asked for.
    Started by torchrun, the first process does this and the others train with it (docs/hosts.md).

    Example: galaxy-assets run demo_optical demo_radio
    """
    root, place = Layout.default().root, torchrun.place()
    if threads is not None:
        from galaxy_assets.science.threads import FIXED

        os.environ[FIXED] = str(threads)  # before torch is loaded, here and in the workers of a launcher
    if engine not in plugins.names("engines"):
        raise typer.BadParameter(f"no engine {engine!r}; registered are {', '.join(plugins.names('engines'))}")
    plugin = plugins.find("engines", engine)
    make = plugin.load()
    if at_once is not None:
        if "at_once" not in inspect.signature(make).parameters:
            raise typer.BadParameter(f"engine {engine} makes one run at a time; --at-once is for --engine launched")
        make = functools.partial(make, at_once=at_once)
    if plugin.distribution != plugins.OURS:
        make = _named(plugin, make)
    chosen = chosen_surveys(surveys, root)
    if place is not None:
        _check_hosts(place, chosen, engine)
        torchrun.connect()
        if place.rank:
            _take_part(place)
            return
    enable_all(surveys, root)
    live = place is None and can_be_rewritten()  # torchrun's other processes write to the same terminal
    try:
        failed, aloud = _materialise(chosen, "retrain" if retrain else "refit" if refit else None, make, live=live)
    except KeyboardInterrupt:
        say("\nstopped; the same command goes on from here")
        raise typer.Exit(130) from None
    finally:
        if place is not None:
            torchrun.dismiss(place)
    say_summary(chosen, failed, aloud)
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

    say(f"process {place.rank} of {place.processes} trains when the first one, which runs the surveys, asks for it")
    with shown(live=False):
        failed = take_part(place, Layout.default())
    if failed:
        raise typer.Exit(1)


def real(
    data: Annotated[Path, typer.Argument(click_type=PATH, help="folder with sdss_gz1/, mirabest/ or gz_decals/ in it")],
) -> None:
    """Run the main job on real surveys that lie below one folder.

    Each survey found gets a file in data/surveys/ that says where its images are (kept when it is there already) and,
    for MiraBest, a recipe that needs no download.

    Example: galaxy-assets real /data/surveys
    """
    try:
        names = write_real_surveys(data.resolve(), Layout.default())
    except (SurveyError, OSError) as error:
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
            kept = files.named(name).source.folder(layout.raw)
            if not (kept.is_relative_to(data) or kept.resolve().is_relative_to(data)):
                where = files.files[name]
                raise SurveyError(f"{where} reads {kept}, which is not below {data}; edit or delete that file first")
            continue
        shipped, overlay, comment = read_survey(SHIPPED / f"{name}.yaml"), offline / f"{name}.yaml", ""
        settings = {"extends": name, "source": {"path": str(data / shipped.source.path)}}
        if overlay.exists():
            settings |= yaml.safe_load(overlay.read_text(encoding="utf-8"))
            for start in [s for s in settings["start_weights"] if not _is_there(s, found, layout)]:
                settings["start_weights"].remove(start)
                comment += f"# Without the start weights {start}: no such survey below {data}, and none was trained.\n"
        with replacing(path) as partial:
            partial.write_text(
                f"# Written by `galaxy-assets real`; edit it or delete it.\n{comment}"
                + yaml.safe_dump(settings, sort_keys=False),
                encoding="utf-8",
            )
    if not found:
        raise SurveyError(f"{data}: no gz_decals/, sdss_gz1/ or mirabest/ in it; see data/README.md for the layouts")
    return found


def _is_there(start: str, found: list[str], layout: Layout) -> bool:
    """Whether start weights need no survey, or one that is run too or was trained before."""
    return start in ("random", "imagenet", *found) or (layout.lake / start / "byol_checkpoints").is_dir()


def _materialise(
    surveys: list[Survey], follow: "Follow | None", make: "Callable[..., Iterator[Outcome]]", *, live: bool = False
) -> tuple[int, dict[str, list[str]]]:
    """How many steps failed, and by survey what its loud checks find, where what they read was made anew."""
    import dagster as dg

    from galaxy_assets.definitions import build_defs

    root, failed = Layout.default().root, 0
    say(f"Dagster keeps its history of runs in {use_dagster_home(Layout.default())}")
    known = survey_files(root).known
    aloud: dict[str, list[str]] = {}
    with _full_home_told(), dg.DagsterInstance.get() as instance, shown(live=live) as showing:
        defs = build_defs(root)  # it says which survey files it leaves out
        for survey in surveys:
            with showing.survey(f"{survey.title} ({survey.name})", _progress_of(survey, instance)):
                for outcome in _outcomes(make(defs, survey, known, instance, root, follow)):
                    failed += _show(outcome, survey, showing, aloud)
                    if gone := torchrun.gone():
                        showing.say(gone)
                        return failed, aloud
    return failed, aloud


def _progress_of(survey: Survey, instance: "DagsterInstance") -> RunProgress:
    """A run that begins, with the steps of its assets and the seconds that they took before, or should take."""
    from galaxy_assets.orchestration.engines.forecast import seconds_of_earlier_runs
    from galaxy_assets.orchestration.graph import steps_of_assets
    from galaxy_assets.orchestration.planning.first_run import FORESEEN_BY, expected_seconds

    def expect(tables: "Collection[Table]") -> "dict[Table, Expected]":
        try:
            return expected_seconds(survey, tables, Layout.default())
        except Exception as error:  # a stranger's network too, which is told of by the asset that needs it
            log.debug("how long %s takes is not known: %s", survey.name, error)
            return {}

    measured = seconds_of_earlier_runs(instance, survey.name)
    return RunProgress(steps_of_assets(), measured, expect=expect, foreseen_by=FORESEEN_BY)


def _show(outcome: "Outcome | Exception", survey: Survey, showing: Shown, aloud: dict[str, list[str]]) -> bool:
    """Show what became of tables, and what a person must know of them; returns whether that is a failure."""
    from galaxy_assets.orchestration.verdicts import CHECKS

    if isinstance(outcome, Exception):
        showing.say(f"! {outcome}")
        return True
    showing.outcome(outcome)
    layout = Layout.default()
    if TRIALS in outcome.assets and outcome.status in ("done", "fresh"):
        for line in _choice(survey, layout):
            showing.say(f"        {line}")
    if outcome.status == "done" and {check.asset for check in CHECKS if check.loud} & set(outcome.assets):
        before, aloud[survey.name] = aloud.get(survey.name, []), said_aloud(survey, layout)
        for words in (words for words in aloud[survey.name] if words not in before):
            showing.say(f"      ! {words}")
    return outcome.status in ("failed", "blocked", "held")


def _choice(survey: Survey, layout: Layout) -> list[str]:
    """What the trials of a survey chose, why, and where a person sees it."""
    table = read_table(layout.table(survey.name, TRIALS))
    (row,) = table.filter(table["chosen"]).to_pylist()
    lines = [f"chosen: {row['candidate']}; {row['reason']}"]
    if (sheet := layout.figure(survey.name, TRIALS)).exists():
        beside = document_of_trials(layout, survey.name).name
        lines.append(f"{sheet} has the same galaxies cut in each way; {beside} beside it, what takes another")
    return lines


def _outcomes(outcomes: "Iterator[Outcome]") -> "Iterator[Outcome | Exception]":
    """The outcomes of a survey; the last may be what stopped it (a bad delivery, another main job of it)."""
    try:
        with _full_home_told():
            yield from outcomes
    except (PrintableError, plugins.PluginError) as error:
        yield error


def _named(plugin: plugins.Plugin, make: "Callable[..., Iterator[Outcome]]") -> "Callable[..., Iterator[Outcome]]":
    """An engine whose errors name the package that it comes from."""

    def outcomes(*how: object) -> "Iterator[Outcome]":
        try:
            yield from make(*how)
        except (PrintableError, plugins.PluginError):
            raise
        except Exception as error:  # a stranger's engine may raise anything
            log.debug("the engine %s failed", plugin.name, exc_info=True)
            raise plugins.PluginError(
                f"engines plug-in {plugin.name!r} of {plugin.distribution} {plugin.version} failed "
                f"({type(error).__name__}: {error}); mend or uninstall that package, or take --engine in_process"
            ) from error

    return outcomes


@contextmanager
def _full_home_told() -> Iterator[None]:
    """Say where Dagster's own folder is when it cannot be written: what SQLite says, in what Dagster puts around it."""
    try:
        yield
    except OSError:
        raise
    except Exception as error:
        home = os.environ.get("DAGSTER_HOME", "")
        for number, said, remedy in _NOT_WRITTEN:
            if said in str(error):
                raise NotWritten(number, f"{home}: Dagster's own folder {remedy}") from error
        raise


_NOT_WRITTEN = (
    (errno.ENOSPC, "disk is full", "is on a disk that is full; make room"),
    (errno.EROFS, "readonly database", "may not be written; correct its permissions, or name another as $DAGSTER_HOME"),
)
"""Number of the system, what SQLite says, and what a person is told."""
