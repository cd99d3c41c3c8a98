"""Whether a run that did not make an asset tells something of the asset, or was stopped on the way.

Belongs here: that question to Dagster's records. Does not belong here: what is requested again (`conditions`).
"""

import functools
from typing import Literal

import dagster as dg
from dagster._core.events import DagsterEventType

from galaxy_assets.orchestration.interrupted import INTERRUPTED
from galaxy_assets.settings.printing import Unavailable

Again = Literal["at_once", "later", "never"]
"""When what was not made is requested again: where a run was stopped, where something was full or away, else."""

_STOPS = {
    "DagsterExecutionInterruptedError",
    "KeyboardInterrupt",
    "ChildProcessCrashException",
    "Conflict",
}
"""Errors of a step that say nothing of what it makes: it was interrupted, killed, or overtaken by another process."""


class Stopped:
    """Tells of an asset's partitions which were stopped; it asks Dagster's records once, and only when it is asked.

    Parameters
    ----------
    instance : dagster.DagsterInstance
    asset : dagster.AssetKey
    """

    def __init__(self, instance: dg.DagsterInstance, asset: dg.AssetKey):
        self._instance, self._asset = instance, asset

    def __call__(self, partition: str | None) -> Again | None:
        """When to request a partition again, by how the last run ended that was to make it.

        None while there is no such run, or it has not ended; the other answers stay until another run is requested.
        """
        run_id = self._runs.get(partition) if partition is not None else self._run_without_partition()
        run = self._instance.get_run_by_id(run_id) if run_id is not None else None
        if run is None or not run.is_finished:
            return None
        if run.is_success:
            return "never"
        return "at_once" if run.status == dg.DagsterRunStatus.CANCELED else self._after_failure(run.run_id)

    @functools.cached_property
    def _runs(self) -> dict[str, str]:
        log = self._instance.event_log_storage
        attempts = log.get_latest_asset_partition_materialization_attempts_without_materializations(self._asset)
        return {partition: run_id for partition, (run_id, _) in attempts.items()}

    def _run_without_partition(self) -> str | None:
        planned = self._instance.event_log_storage.get_latest_planned_materialization_info(self._asset)
        return planned.run_id if planned is not None else None

    def _after_failure(self, run_id: str) -> Again:
        """As the asset's own step failed; at once where nobody knows of one, which did not come to its turn."""
        step, away = "__".join(self._asset.path), _names_of(Unavailable)
        for entry in self._instance.all_logs(run_id, of_type=DagsterEventType.STEP_FAILURE):
            event = entry.dagster_event
            if event is None or event.step_key != step:
                continue
            error = event.step_failure_data.error
            while error is not None:
                if error.cls_name in _STOPS or INTERRUPTED in error.message:
                    return "at_once"
                if error.cls_name in away:
                    return "later"
                error = error.cause
            return "never"
        return "at_once"


def _names_of(kind: type[Exception]) -> set[str]:
    """What Dagster's records call an error of a kind."""
    return {kind.__name__}.union(*map(_names_of, kind.__subclasses__()))
