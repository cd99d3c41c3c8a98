"""The engine that runs in this process: one Dagster run after the other, on one core.

Belongs here: making a run here, and what becomes of an interruption. Does not belong here: the order of the runs
(`main_job`), the runs of a main job that was killed (`stopping`).
"""

import time
import uuid
from collections.abc import Generator, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import dagster as dg

from galaxy_assets.orchestration.automation.outdated import Follow
from galaxy_assets.orchestration.engines.main_job import QUIET, Ran, Wanted, materialise, no_batch, reason
from galaxy_assets.orchestration.interrupted import INTERRUPTED
from galaxy_assets.orchestration.outcome import Outcome
from galaxy_assets.settings.printing import logger
from galaxy_assets.settings.survey import Survey

log = logger(__name__)


def run_survey(
    defs: dg.Definitions,
    survey: Survey,
    known: Mapping[str, Survey],
    instance: dg.DagsterInstance,
    root: Path,
    follow: Follow | None = None,
) -> Generator[Outcome, None, None]:
    """Materialise a survey from its images to its results in this process, yielding outcomes as runs end.

    It is the engine `in_process` (`contract.Engine`, which says what the parameters are).

    Parameters
    ----------
    defs : dagster.Definitions
    survey : Survey
    known : mapping of str to Survey
    instance : dagster.DagsterInstance
    root : Path
    follow : {"refit", "retrain"}, optional

    Yields
    ------
    Outcome

    Raises
    ------
    SurveyError
        Where there is no delivery.
    AtWork
        Where another main job of the survey is at work.
    """
    runs = InProcess(defs.resolve_implicit_global_asset_job_def(), instance)
    yield from materialise(defs, survey, known, instance, root, runs, follow)


@dataclass
class InProcess:
    """Runs that are made here, each when it is asked for.

    Attributes
    ----------
    job : dagster job
        Can make any asset.
    instance : dagster.DagsterInstance
    """

    job: Any
    instance: dg.DagsterInstance
    at_once: int = 1
    apart: bool = False
    _ended: dict[str, Ran] = field(default_factory=dict, init=False, repr=False)

    def start(self, wanted: Wanted) -> str:
        """Make a run; returns its id. Raises KeyboardInterrupt where it was interrupted."""
        _say_what_is_waited_for(self.instance, wanted.pools)
        start = time.perf_counter()
        try:
            run = self.job.execute_in_process(
                asset_selection=wanted.assets,
                partition_key=wanted.partition,
                instance=self.instance,
                raise_on_error=False,
                run_config=QUIET,
                tags=wanted.tags,
            )
        except dg.DagsterUnknownPartitionError:
            run_id = str(uuid.uuid4())  # Dagster began none
            self._ended[run_id] = Ran(set(), no_batch(wanted), time.perf_counter() - start)
            return run_id
        seconds = time.perf_counter() - start
        if _interrupted(run):
            raise KeyboardInterrupt
        made = {event.asset_key for event in run.get_asset_materialization_events()}
        self._ended[run.run_id] = Ran(made, reason(run.all_events), seconds)
        return run.run_id

    def ended(self) -> dict[str, Ran]:
        """The run that was made."""
        ended, self._ended = self._ended, {}
        return ended


def _say_what_is_waited_for(instance: dg.DagsterInstance, pools: Iterable[str]) -> None:
    """A step waits in silence while another run holds its pool's slot; name that run."""
    for pool in pools:
        for slot in instance.event_log_storage.get_concurrency_info(pool).claimed_slots:
            log.warning(
                "waiting for pool %s, held by run %s; if that run is dead, free its slot in the UI under Deployment, "
                "Concurrency",
                pool,
                slot.run_id,
            )


def _interrupted(run: dg.ExecuteInProcessResult) -> bool:
    """Whether Ctrl-C or SIGTERM ended the run: Dagster records that as a failed step, and the job must not go on."""
    errors = [e.step_failure_data.error for e in run.all_events if e.is_step_failure]
    stops = {"DagsterExecutionInterruptedError", "KeyboardInterrupt"}
    return any(error and (error.cls_name in stops or INTERRUPTED in error.message) for error in errors)
