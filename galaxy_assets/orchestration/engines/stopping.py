"""Ending runs that nobody waits for: those under way when a main job is stopped, and those that a killed one left.

Dagster would show them as running for ever, and the pool's slot that such a run holds would keep every later GPU step
waiting.

Belongs here: telling their workers to end, and the end in Dagster's records. Does not belong here: runs that are waited
for (`in_process`, `launched`).
"""

import time
from collections.abc import Iterable

import dagster as dg

from galaxy_assets.settings.printing import logger
from galaxy_assets.storage.owners import runs

log = logger(__name__)

PROCESS = "galaxy_assets/process"
"""Tag of a run that is made in a main job's own process: which process that is."""
LAUNCHED = {"galaxy_assets/engine": "launched"}
"""Tags of a run that was handed to a launcher."""
_TO_END, _LOOK = 60.0, 0.5
"""Seconds that a worker has to end when it is told to, and between looks at it."""
_STARTED = [dg.DagsterRunStatus.STARTED, dg.DagsterRunStatus.STARTING]
_ALIVE = [*_STARTED, dg.DagsterRunStatus.NOT_STARTED, dg.DagsterRunStatus.CANCELING]


def end_left(instance: dg.DagsterInstance, survey: str) -> None:
    """End the runs that a killed main job left: of any survey in its own process, of this survey with a launcher.

    Parameters
    ----------
    instance : dagster.DagsterInstance
    survey : str
        Its lock is held, so that no other main job waits for its runs.
    """
    for run in instance.get_runs(dg.RunsFilter(statuses=_STARTED)):
        if runs(run.tags.get(PROCESS, "")) is False:
            log.info("run %s was killed; ending it", run.run_id)
            instance.report_run_failed(run, "the process was killed")
            instance.event_log_storage.free_concurrency_slots_for_run(run.run_id)
    left = instance.get_runs(dg.RunsFilter(statuses=_ALIVE, tags=LAUNCHED | {"survey": survey}))
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
        while hears and time.monotonic() < until and not _over(instance, run_id):
            time.sleep(_LOOK)
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
