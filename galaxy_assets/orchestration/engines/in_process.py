"""The main job: a survey from its images to its results, as a sequence of runs.

Belongs here: the order of the runs, and what becomes of failures and interruptions. Does not belong here: which
partitions are outdated (`outdated`), what starts by itself (`conditions`, `sensors`).
"""

import logging
import os
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import dagster as dg

from galaxy_assets.lake import read_model
from galaxy_assets.orchestration.automation.deliveries import register
from galaxy_assets.orchestration.automation.lock import main_job_of
from galaxy_assets.orchestration.automation.outdated import Follow, Outdated, Partition, dimensions
from galaxy_assets.orchestration.declaration import INTERRUPTED
from galaxy_assets.settings.files import data_root
from galaxy_assets.settings.survey import Survey
from galaxy_assets.storage.layout import Layout

log = logging.getLogger(__name__)

_PROCESS_TAG = "galaxy_assets/process"
RUN_TAGS = {"dagster/max_runtime": str(7 * 24 * 3600)}


class Stage(NamedTuple):
    """Assets of a survey that share their partitions and can run together once the stages before have."""

    assets: list[dg.AssetKey]
    by: tuple[str, ...]


def stages(graph: Any, survey: str) -> list[Stage]:
    """The survey's asset graph cut into stages: one Dagster run materialises one partition of assets that share their
    partitions, so the path from images to results is a sequence of runs."""
    keys = [key for key in graph.toposorted_asset_keys if key.path[0] == survey]
    done: set[dg.AssetKey] = set()
    found: list[Stage] = []
    while len(done) < len(keys):
        ready = [key for key in keys if key not in done and _parents(graph, key) <= done]
        by = dimensions(graph.get(ready[0]).partitions_def)
        stage: list[dg.AssetKey] = []
        for key in (key for key in keys if key not in done and dimensions(graph.get(key).partitions_def) == by):
            if _parents(graph, key) <= done | set(stage):
                stage.append(key)
        done |= set(stage)
        found.append(Stage(stage, by))
    return found


def _parents(graph: Any, key: dg.AssetKey) -> set[dg.AssetKey]:
    """Assets of the same survey that the asset reads."""
    return {parent for parent in graph.get(key).parent_keys if parent.path[0] == key.path[0] and parent != key}


class Outcome(NamedTuple):
    """What became of some assets' partition in the main job: `done`, `fresh` (nothing to do), `failed`, or `skipped`
    because what they read failed; or of a delivery that is not whole: `held` or `arriving`."""

    survey: str
    assets: list[str]
    partition: str | None
    status: str
    seconds: float = 0.0
    error: str = ""


def run_survey(
    defs: dg.Definitions,
    survey: Survey,
    instance: dg.DagsterInstance,
    root: Path | None = None,
    follow: Follow | None = None,
) -> Iterator[Outcome]:
    """Materialise a survey from its images to its results, yielding outcomes as runs end.

    Runs go through the given instance, so the UI over the same store shows them. A partition that is up to date (code,
    settings, inputs and files) is not run again: killed, the next call goes on where this one stopped. A failure is
    reported and left; only what reads it is skipped, so that missing weights cost their own start weights alone.

    Raises SurveyError where there is no delivery, AtWork where another main job of it is at work.

    Parameters
    ----------
    follow : `refit` fits PCA, mixture, maps and the oracle's session anew to all deliveries; `retrain` trains too.
    """
    layout = Layout(root or data_root())
    with main_job_of(survey.name, layout):
        _bury_dead_runs(instance)
        found = register(survey, instance, layout)
        for row in found.ledger.to_pylist():
            if row["state"] in ("held", "arriving"):
                yield Outcome(survey.name, ["catalogue"], row["delivery"], row["state"], error=row["reason"])
        yield from _materialise(defs, survey, instance, layout, found.batches, follow)
    read_model.publish(layout)


def _materialise(
    defs: dg.Definitions,
    survey: Survey,
    instance: dg.DagsterInstance,
    layout: Layout,
    batches: list[str],
    follow: Follow | None,
) -> Iterator[Outcome]:
    job, graph = defs.resolve_implicit_global_asset_job_def(), defs.resolve_asset_graph()
    broken: set[tuple[dg.AssetKey, str | None, str | None]] = set()
    main = survey.main_start_weights
    for stage in stages(graph, survey.name):
        for partition in Outdated(graph, survey, layout, batches).partitions(stage.assets[0]):
            key = _partition_key(stage, partition)
            own = dict(zip(stage.by, partition, strict=True))
            batch, init = own.get("batch"), own.get("init")
            blocked = _blocked(graph, stage.assets, broken, batch, init or main)
            if blocked:
                broken |= {(asset, batch, init) for asset in blocked}
                _remove(survey, init, blocked, partition, layout)
                yield Outcome(survey.name, _names(blocked), key, "skipped", error="what it reads failed before")
            ready = [asset for asset in stage.assets if asset not in blocked]
            tried: set[dg.AssetKey] = set()
            # again after each run: whether what follows is outdated shows only when what it reads was made
            while wanted := _outdated(Outdated(graph, survey, layout, batches, follow), ready, tried, partition):
                tried |= set(wanted)
                log.info("%s [%s]: %s", survey.name, key or "whole survey", ", ".join(_names(wanted)))
                _say_what_is_waited_for(instance, graph, wanted)
                start = time.perf_counter()
                run = job.execute_in_process(
                    asset_selection=wanted,
                    partition_key=key,
                    instance=instance,
                    raise_on_error=False,
                    run_config={"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}},
                    tags={**RUN_TAGS, "survey": survey.name, _PROCESS_TAG: _process(os.getpid())},
                )
                seconds = time.perf_counter() - start
                if _interrupted(run):
                    raise KeyboardInterrupt
                made = {event.asset_key for event in run.get_asset_materialization_events()}
                lost = [asset for asset in wanted if asset not in made]
                broken |= {(asset, batch, init) for asset in lost}
                if lost:
                    _remove(survey, init, lost, partition, layout)
                    yield Outcome(survey.name, _names(lost), key, "failed", seconds, _reason(run))
                    ready = [a for a in ready if a not in _blocked(graph, ready, broken, batch, init or main)]
                if made:
                    yield Outcome(survey.name, _names([a for a in wanted if a in made]), key, "done", seconds)
            if fresh := [asset for asset in ready if asset not in tried]:
                yield Outcome(survey.name, _names(fresh), key, "fresh")


def _outdated(
    rule: Outdated, ready: list[dg.AssetKey], tried: set[dg.AssetKey], partition: Partition
) -> list[dg.AssetKey]:
    """Assets to run together now: the outdated ones, but for those that read through an up-to-date asset something that
    is made anew, since that asset may turn out outdated too."""
    wanted: list[dg.AssetKey] = []
    perhaps: set[dg.AssetKey] = set()
    for asset in ready:  # in the order of the graph
        parents = _parents(rule.graph, asset)
        outdated = asset not in tried and rule.known(asset, partition) is not None
        if outdated and not parents & perhaps:
            wanted.append(asset)
        elif parents & (set(wanted) | perhaps):
            perhaps.add(asset)
    return wanted


def _partition_key(stage: Stage, partition: Partition) -> str | dg.MultiPartitionKey | None:
    if len(partition) > 1:
        return dg.MultiPartitionKey(dict(zip(stage.by, partition, strict=True)))
    return partition[0] if partition else None


def _process(pid: int) -> str:
    """A process of this machine, told apart from a later one with its number."""
    import psutil

    return f"{socket.gethostname()}:{pid}:{psutil.Process(pid).create_time():.2f}"


def _bury_dead_runs(instance: dg.DagsterInstance) -> None:
    """End the runs of a main job that was killed: Dagster would show them as running for ever, and the pool's slot that
    such a run holds would keep every later GPU step waiting."""
    import psutil

    started = dg.RunsFilter(statuses=[dg.DagsterRunStatus.STARTED, dg.DagsterRunStatus.STARTING])
    for run in instance.get_runs(started):
        host, _, rest = run.tags.get(_PROCESS_TAG, "").partition(":")
        if host != socket.gethostname():
            continue
        pid = int(rest.split(":")[0])
        if not psutil.pid_exists(pid) or _process(pid) != run.tags[_PROCESS_TAG]:
            log.info("run %s was killed; ending it", run.run_id)
            instance.report_run_failed(run, "the process was killed")
            instance.event_log_storage.free_concurrency_slots_for_run(run.run_id)


def _say_what_is_waited_for(instance: dg.DagsterInstance, graph, assets: list[dg.AssetKey]) -> None:
    """A step waits in silence while another run holds its pool's slot; name that run."""
    for pool in {pool for asset in assets for pool in graph.get(asset).pools or ()}:
        for slot in instance.event_log_storage.get_concurrency_info(pool).claimed_slots:
            log.warning(
                "waiting for pool %s, held by run %s; if that run is dead, free its slot in the UI under Deployment, "
                "Concurrency",
                pool,
                slot.run_id,
            )


def _names(assets: list[dg.AssetKey]) -> list[str]:
    return [asset.path[-1] for asset in assets]


def _blocked(graph, assets: list[dg.AssetKey], broken: set, batch: str | None, init: str) -> list[dg.AssetKey]:
    """Assets that read something broken of their batch and start weights, directly or through each other. An asset
    without batches reads all of them; one without start weights reads the main ones and can do without the others."""
    blocked: list[dg.AssetKey] = []
    for asset in assets:
        parents = graph.get(asset).parent_keys
        reads = any(
            parent in parents and (None in (b, batch) or b == batch) and i in (None, init) for parent, b, i in broken
        )
        if reads or parents & set(blocked):
            blocked.append(asset)
    return blocked


def _remove(survey: Survey, init: str | None, assets: list[dg.AssetKey], partition: Partition, layout: Layout) -> None:
    """Remove the tables of start weights that failed: `results` does without them, and an older recipe's would stand
    beside the new ones. Those of the main start weights stay: nothing reads on without them."""
    if init in (None, survey.main_start_weights):
        return
    for asset in assets:
        layout.table(*asset.path, *partition).unlink(missing_ok=True)


def _interrupted(run: dg.ExecuteInProcessResult) -> bool:
    """Whether Ctrl-C or SIGTERM ended the run: Dagster records that as a failed step, and the job must not go on."""
    errors = [e.step_failure_data.error for e in run.all_events if e.is_step_failure]
    stops = {"DagsterExecutionInterruptedError", "KeyboardInterrupt"}
    return any(error and (error.cls_name in stops or INTERRUPTED in error.message) for error in errors)


def _reason(run: dg.ExecuteInProcessResult) -> str:
    """The innermost error of the first step that failed."""
    for event in run.all_events:
        if event.is_step_failure:
            error = event.step_failure_data.error
            while error is not None and error.cause is not None:
                error = error.cause
            return error.message.strip() if error is not None else f"step {event.step_key} gave no reason"
    return "the run failed before its first step; see it in the UI"
