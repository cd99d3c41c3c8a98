"""What runs when: the main job over a whole survey, the jobs a person starts in the UI, and the sensors.

Belongs here: jobs, sensors and the order of runs. Does not belong here: assets, resources.
"""

import logging
import os
import shutil
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import dagster as dg
import psutil

# Dagster offers no public question "is this partition outdated?"; the UI's own answer is asked here and nowhere else
from dagster._core.definitions.data_version import CachingStaleStatusResolver, StaleStatus
from dagster._core.loader import LoadingContextForTest

from galaxy_assets.assets.survey_asset import INTERRUPTED, READS_FILES
from galaxy_assets.lake import read_model
from galaxy_assets.lake.io_manager import partition_path
from galaxy_assets.lake.layout import Layout
from galaxy_assets.surveys.model import Survey, SurveyError, data_root

log = logging.getLogger(__name__)

_PROCESS_TAG = "galaxy_assets/process"
_RUN_TAGS = {"dagster/max_runtime": str(7 * 24 * 3600)}


class Stage(NamedTuple):
    """Assets of a survey that share their partitions and can run together once the stages before have."""

    assets: list[dg.AssetKey]
    partitions: dg.PartitionsDefinition | None

    @property
    def by(self) -> str:
        """What the stage is partitioned by, in words."""
        if isinstance(self.partitions, dg.MultiPartitionsDefinition):
            return "batch_init"
        if isinstance(self.partitions, dg.DynamicPartitionsDefinition):
            return "batch"
        return "init" if self.partitions is not None else "survey"


def stages(defs: dg.Definitions, survey: str) -> list[Stage]:
    """The survey's asset graph cut into stages: one Dagster run materialises one partition of assets that share their
    partitions, so the path from images to results is a sequence of runs. What reads files that Dagster does not know of
    is a stage by itself, because it is always run."""
    graph = defs.resolve_asset_graph()
    keys = [key for key in graph.toposorted_asset_keys if key.path[0] == survey]
    done: set[dg.AssetKey] = set()
    found: list[Stage] = []
    while len(done) < len(keys):
        ready = [key for key in keys if key not in done and _parents(graph, key, survey) <= done]
        alone = next((key for key in ready if READS_FILES in graph.get(key).tags), None)
        partitions = graph.get(alone or ready[0]).partitions_def
        stage: list[dg.AssetKey] = [alone] if alone else []
        for key in keys if not alone else []:
            node = graph.get(key)
            if key not in done and node.partitions_def == partitions and READS_FILES not in node.tags:
                if _parents(graph, key, survey) <= done | set(stage):
                    stage.append(key)
        done |= set(stage)
        found.append(Stage(stage, partitions))
    return found


def _parents(graph, key: dg.AssetKey, survey: str) -> set[dg.AssetKey]:
    return {parent for parent in graph.get(key).parent_keys if parent.path[0] == survey and parent != key}


def jobs(survey: Survey) -> list:
    """One job per kind of partition of a survey, for a person in the UI; the main job is `run_survey`."""
    every = dg.AssetSelection.key_prefixes(survey.name)
    steps = {
        f"{survey.name}_new_delivery": dg.AssetSelection.assets(
            *(dg.AssetKey([survey.name, name]) for name in ("catalogue", "cutouts", "pretrained_features"))
        ),
        f"{survey.name}_training": dg.AssetSelection.assets(
            *(dg.AssetKey([survey.name, name]) for name in ("byol_checkpoints", "epoch_accuracy"))
        ),
    }
    return [
        dg.define_asset_job(name, selection=selection & every, tags=_RUN_TAGS, description=survey.title)
        for name, selection in steps.items()
    ]


def delivery_sensor(survey: Survey) -> dg.SensorDefinition:
    """Registers a survey's new deliveries as batches and starts their cutouts."""

    @dg.sensor(
        name=f"{survey.name}_deliveries",
        job_name=f"{survey.name}_new_delivery",
        minimum_interval_seconds=300,
        description=f"Looks for new deliveries of {survey.title}.",
    )
    def deliveries(context: dg.SensorEvaluationContext):
        from galaxy_assets.surveys.readers import open_reader

        try:
            present = open_reader(survey.source, Layout.default().raw).batches()
        except SurveyError as error:
            return dg.SkipReason(str(error))
        name = f"{survey.name}_batch"
        known = set(context.instance.get_dynamic_partitions(name))
        new = [batch for batch in present if batch not in known]
        if not new:
            return dg.SkipReason(f"{len(present)} deliveries, all known")
        return dg.SensorResult(
            run_requests=[dg.RunRequest(run_key=batch, partition_key=batch) for batch in new],
            dynamic_partitions_requests=[dg.DynamicPartitionsDefinition(name=name).build_add_request(new)],
        )

    return deliveries


@dg.run_status_sensor(
    run_status=dg.DagsterRunStatus.SUCCESS,
    name="read_model",
    description="Publishes new tables to the DuckDB read model after every successful run.",
    default_status=dg.DefaultSensorStatus.RUNNING,
)
def read_model_sensor(context: dg.RunStatusSensorContext) -> None:
    """Publish the read model; the swap by rename keeps readers from waiting."""
    read_model.publish(Layout.default())


class Outcome(NamedTuple):
    """What became of some assets' partition in the main job: `done`, `fresh` (nothing to do), `failed`, or `skipped`
    because what they read failed."""

    survey: str
    assets: list[str]
    partition: str | None
    status: str
    seconds: float = 0.0
    error: str = ""


def run_survey(
    defs: dg.Definitions, survey: Survey, instance: dg.DagsterInstance, root: Path | None = None
) -> Iterator[Outcome]:
    """Materialise a survey from its images to its results, yielding outcomes as runs end.

    Runs go through the given instance, so the UI over the same store shows them. A partition that is up to date (code,
    settings, inputs and file) is not run again: killed, the next call goes on where this one stopped. A failure is
    reported and left; only what reads it is skipped, so that missing weights cost their own start weights alone.
    """
    from galaxy_assets.surveys.readers import open_reader

    _bury_dead_runs(instance)
    layout = Layout(root or data_root())
    batches = open_reader(survey.source, layout.raw).batches()
    _withdraw(instance, survey, batches, layout)
    instance.add_dynamic_partitions(f"{survey.name}_batch", batches)
    job, graph = defs.resolve_implicit_global_asset_job_def(), defs.resolve_asset_graph()
    broken: set[tuple[dg.AssetKey, str | None, str | None]] = set()
    main = survey.main_start_weights
    for stage in stages(defs, survey.name):
        for key in _partition_keys(stage, survey, batches):
            batch, init = _dimensions(stage, key)
            blocked = _blocked(graph, stage.assets, broken, batch, init or main)
            if blocked:
                broken |= {(asset, batch, init) for asset in blocked}
                _remove(survey, init, blocked, stage, key, layout)
                yield Outcome(survey.name, _names(blocked), key, "skipped", error="what it reads failed before")
            ready = [asset for asset in stage.assets if asset not in blocked]
            tried: set[dg.AssetKey] = set()
            # again after each run: whether what follows is outdated shows only when what it reads was made
            while wanted := [a for a in _outdated(instance, graph, ready, stage, key, layout) if a not in tried]:
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
                    tags={**_RUN_TAGS, "survey": survey.name, _PROCESS_TAG: _process(os.getpid())},
                )
                seconds = time.perf_counter() - start
                if _interrupted(run):
                    raise KeyboardInterrupt
                made = {event.asset_key for event in run.get_asset_materialization_events()}
                lost = [asset for asset in wanted if asset not in made]
                broken |= {(asset, batch, init) for asset in lost}
                if lost:
                    _remove(survey, init, lost, stage, key, layout)
                    yield Outcome(survey.name, _names(lost), key, "failed", seconds, _reason(run))
                    ready = [a for a in ready if a not in _blocked(graph, ready, broken, batch, init or main)]
                if made:
                    yield Outcome(survey.name, _names([a for a in wanted if a in made]), key, "done", seconds)
            if fresh := [asset for asset in ready if asset not in tried]:
                yield Outcome(survey.name, _names(fresh), key, "fresh")
    read_model.publish(layout)


def _process(pid: int) -> str:
    """A process of this machine, told apart from a later one with its number."""
    return f"{socket.gethostname()}:{pid}:{psutil.Process(pid).create_time():.2f}"


def _bury_dead_runs(instance: dg.DagsterInstance) -> None:
    """End the runs of a main job that was killed: Dagster would show them as running for ever, and the pool's slot that
    such a run holds would keep every later GPU step waiting."""
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


def _dimensions(stage: Stage, key) -> tuple[str | None, str | None]:
    """Batch and start weights of a stage's partition, None where it has no such dimension."""
    if stage.by == "batch_init":
        return key.keys_by_dimension["batch"], key.keys_by_dimension["init"]
    return (key if stage.by == "batch" else None), (key if stage.by == "init" else None)


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


def _remove(
    survey: Survey, init: str | None, assets: list[dg.AssetKey], stage: Stage, key: str | None, layout: Layout
) -> None:
    """Remove the tables of start weights that failed: `results` does without them, and an older recipe's would stand
    beside the new ones. Those of the main start weights stay: nothing reads on without them."""
    if init in (None, survey.main_start_weights):
        return
    for asset in assets:
        layout.table(*asset.path, *partition_path(stage.partitions, key)).unlink(missing_ok=True)


def _withdraw(instance: dg.DagsterInstance, survey: Survey, batches: list[str], layout: Layout) -> None:
    """Set aside what was made of deliveries that are gone, in lake/<survey>/.withdrawn: their galaxies would stay in
    every ranking, twice where a delivery was only renamed."""
    name, home = f"{survey.name}_batch", layout.lake / survey.name
    for batch in set(instance.get_dynamic_partitions(name)) - set(batches):
        log.warning("%s: delivery %s is gone; what was made of it goes to %s", survey.name, batch, home / ".withdrawn")
        instance.delete_dynamic_partition(name, batch)
        for path in [*home.glob(f"[!.]*/{batch}.parquet"), *home.glob(f"[!.]*/{batch}")]:
            aside = home / ".withdrawn" / path.relative_to(home)
            aside.parent.mkdir(parents=True, exist_ok=True)
            shutil.rmtree(aside, ignore_errors=True)
            path.rename(aside)


def _outdated(instance, graph, assets: list[dg.AssetKey], stage: Stage, key, layout: Layout) -> list[dg.AssetKey]:
    """Assets of the stage to run: those without a file, and those that Dagster calls outdated.

    What reads files that Dagster does not know of is always run; the content's digest keeps everything after it up to
    date when nothing was added.
    """
    resolver = CachingStaleStatusResolver(instance, graph, LoadingContextForTest(instance))

    def outdated(asset: dg.AssetKey) -> bool:
        # the materialisation record is a claim about the lake, not the lake: the file is looked for as well
        present = layout.table(*asset.path, *partition_path(stage.partitions, key)).exists()
        reads_files = READS_FILES in graph.get(asset).tags
        return reads_files or not present or resolver.get_status(asset, key) != StaleStatus.FRESH

    return [asset for asset in assets if outdated(asset)]


def _partition_keys(stage: Stage, survey: Survey, batches: list[str]) -> list:
    inits = [survey.main_start_weights, *(i for i in survey.start_weights if i != survey.main_start_weights)]
    match stage.by:
        case "survey":
            return [None]
        case "batch":
            return list(batches)
        case "init":
            return inits
        case _:
            return [dg.MultiPartitionKey({"batch": batch, "init": init}) for init in inits for batch in batches]


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
