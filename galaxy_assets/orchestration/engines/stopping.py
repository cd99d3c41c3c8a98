"""Ending runs that nobody waits for: those under way when a main job is stopped, and those that a killed one left.

Dagster would show them as running for ever, and the pool's slot that such a run holds would keep every later GPU step
waiting.

Belongs here: telling their workers to end, and the end in Dagster's records. Does not belong here: runs that are waited
for (`in_process`, `launched`).
"""

import sqlite3
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TypeVar

import dagster as dg
from dagster._core.storage.runs import SqliteRunStorage
from sqlalchemy.exc import InterfaceError, OperationalError

from galaxy_assets.settings.printing import PrintableError, logger
from galaxy_assets.storage.locks import holds_here_alone
from galaxy_assets.storage.owners import SILENT, runs
from galaxy_assets.storage.store import FOLDER, store_of

log = logger(__name__)

PROCESS = "galaxy_assets/process"
"""Tag of a main job's run: which process the main job is."""
DATA_FOLDER = "galaxy_assets/folder"
"""Tag of a main job's run: the data folder that it works in, and whose lock it holds."""
LAUNCHED = {"galaxy_assets/engine": "launched"}
"""Tags of a run that was handed to a launcher."""
_TO_END, _LOOK = 60.0, 0.5
"""Seconds that a worker has to end when it is told to, and between looks at it."""
_UNREACHABLE = (OperationalError, InterfaceError)
_Answer = TypeVar("_Answer")
_STARTED = [dg.DagsterRunStatus.STARTED, dg.DagsterRunStatus.STARTING]
_ALIVE = [*_STARTED, dg.DagsterRunStatus.NOT_STARTED, dg.DagsterRunStatus.CANCELING]


class NoRecords(PrintableError):
    """Dagster's records could not be asked for too long."""

    @classmethod
    def of(cls, error: BaseException) -> "NoRecords":
        """In words, without those of the error, which may hold the database's address.

        Parameters
        ----------
        error : BaseException
            The last one.

        Returns
        -------
        NoRecords
        """
        return cls(
            f"the database of Dagster's records did not answer for {SILENT:.0f} s ({type(error).__name__}); "
            "start it and run the same again: it goes on from here"
        )


def patiently(ask: Callable[[], _Answer]) -> _Answer:
    """Dagster's answer, asked for again while the database of its records does not answer, as while it starts anew.

    Parameters
    ----------
    ask : callable
        May be called several times.

    Returns
    -------
    object
        What it returns.

    Raises
    ------
    NoRecords
        Where there was no answer for SILENT seconds.
    """
    until, said = time.monotonic() + SILENT, False
    while True:
        try:
            return ask()
        except Exception as error:
            if not records_are_away(error):
                raise
            if time.monotonic() > until:
                raise NoRecords.of(error) from error
            if not said:
                log.warning(
                    "the database of Dagster's records does not answer (%s); waiting for it", type(error).__name__
                )
            said = True
            time.sleep(_LOOK)


def records_are_away(error: BaseException) -> bool:
    """Whether an error is of the database of Dagster's records, and waiting for it may help.

    Parameters
    ----------
    error : BaseException

    Returns
    -------
    bool
    """
    # of the database, or what Dagster makes of it when it has tried for itself
    if not isinstance(error, _UNREACHABLE) and type(error).__name__ != "DagsterPostgresException":
        return False
    # a file goes nowhere: of SQLite's errors waiting helps where another process holds it
    return not isinstance(getattr(error, "orig", None), sqlite3.Error) or "locked" in str(error)


def end_left(instance: dg.DagsterInstance, survey: str, root: Path) -> None:
    """End the runs that a killed main job left: of any survey in its own process, of this survey with a launcher.

    A run that a person started again in Dagster's pages is none of them: it has the tags of the run that it repeats.

    Parameters
    ----------
    instance : dagster.DagsterInstance
    survey : str
        Its lock is held, so that no other main job waits for its runs.
    root : Path
        The data folder.
    """
    # a bucket's lock, and that of some mounts, is of this machine alone
    of_all = store_of(root) is FOLDER and not holds_here_alone(root)

    def is_left(run: dg.DagsterRun) -> bool:
        alive = runs(run.tags.get(PROCESS, ""), shared=not isinstance(instance.run_storage, SqliteRunStorage))
        held = run.tags.get("survey") == survey and run.tags.get(DATA_FOLDER) == str(root)
        return alive is False or (held and (of_all or alive is True))

    def begun(asked: dg.RunsFilter) -> list[dg.DagsterRun]:
        found = instance.get_runs(asked)
        return [run for run in found if run.parent_run_id is None and run.get_parent_run_id() is None]

    for run in begun(dg.RunsFilter(statuses=_STARTED)):
        if not run.tags.items() >= LAUNCHED.items() and is_left(run):
            log.info("run %s was killed; ending it", run.run_id)
            instance.report_run_failed(run, "the process was killed")
            instance.event_log_storage.free_concurrency_slots_for_run(run.run_id)
    launched = begun(dg.RunsFilter(statuses=_ALIVE, tags=LAUNCHED | {"survey": survey}))
    left = [run for run in launched if is_left(run) or DATA_FOLDER not in run.tags]
    for run in left:
        log.info("run %s was left by a main job that was killed; ending it", run.run_id)
    end(instance, [run.run_id for run in left])


def end(instance: dg.DagsterInstance, run_ids: Iterable[str]) -> None:
    """Tell the workers of launched runs to end, and wait; a run whose worker does not end is ended all the same.

    Parameters
    ----------
    instance : dagster.DagsterInstance
    run_ids : iterable of str
    """
    told = {run_id: _tell(instance, run_id) for run_id in run_ids}
    until = time.monotonic() + _TO_END
    for run_id, hears in told.items():
        while hears and time.monotonic() < until and not patiently(lambda run_id=run_id: _over(instance, run_id)):
            time.sleep(_LOOK)
        patiently(lambda run_id=run_id: _end_record(instance, run_id))


def _end_record(instance: dg.DagsterInstance, run_id: str) -> None:
    if (run := instance.get_run_by_id(run_id)) is not None and not run.is_finished:
        instance.report_run_canceled(run, "it was cancelled, and its worker did not answer")
    instance.event_log_storage.free_concurrency_slots_for_run(run_id)


def _tell(instance: dg.DagsterInstance, run_id: str) -> bool:
    """Whether a worker was told to end."""
    try:
        return instance.run_launcher.terminate(run_id)
    except Exception as error:  # of whatever launcher: the worker, or what started it, is gone
        log.info("run %s cannot be told to end: %s", run_id, str(error).partition("\n")[0])
        return False


def _over(instance: dg.DagsterInstance, run_id: str) -> bool:
    run = instance.get_run_by_id(run_id)
    return run is None or run.is_finished
