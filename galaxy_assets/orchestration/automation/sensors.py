"""What Dagster starts or publishes by itself: sensors and schedules; and the jobs that a person starts in the UI.

Belongs here: their declaration, over the data folder they are built with. Does not belong here: which partitions are
requested (`conditions`), the main job (`engines`).
"""

import json
import re
import warnings
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, get_args

import dagster as dg

from galaxy_assets.deliveries.readers import made_by_first_run
from galaxy_assets.lake import read_model
from galaxy_assets.orchestration.automation.conditions import NIGHTLY
from galaxy_assets.orchestration.automation.deliveries import look
from galaxy_assets.orchestration.automation.lock import main_job_runs
from galaxy_assets.orchestration.declaration import GPU_RUN_TAGS, RUN_TAGS, Job
from galaxy_assets.orchestration.external import EXTERNAL
from galaxy_assets.orchestration.graph import ASSETS, EXPLORER, declared_of
from galaxy_assets.settings.files import SurveyError, edited_since
from galaxy_assets.settings.printing import logger
from galaxy_assets.settings.survey import Survey
from galaxy_assets.storage.files import DamagedFile
from galaxy_assets.storage.label_events import LabelLog
from galaxy_assets.storage.layout import Layout
from galaxy_assets.storage.owners import LONGEST_RUN
from galaxy_assets.storage.upkeep import remove_interrupted

log = logger(__name__)

DAY = 24 * 3600
_WEEKLY = "0 3 * * 0"
_SAID = 12
"""Deliveries that are not whole of which a tick's message says why."""
QUIET = 120
"""Seconds without a change after which a delivery without a manifest counts as whole."""


def delivery_sensor(
    survey: Survey, known: Mapping[str, Survey], root: Path, prefix: Sequence[str] = ()
) -> dg.SensorDefinition:
    """Make the sensor of a survey's deliveries.

    It registers new deliveries as batches and observes the files that people edit; the automation does the rest.

    Parameters
    ----------
    survey : Survey
    known : mapping of str to Survey
        All surveys by name, for start weights taken from another.
    root : Path
        The data folder.
    prefix : sequence of str
        What the asset keys begin with, before the survey's name.

    Returns
    -------
    dagster.SensorDefinition
    """

    @dg.sensor(
        name=f"{survey.name}_deliveries",
        minimum_interval_seconds=30,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description=f"Looks for new deliveries of {survey.title}, for label files dropped, and for files edited.",
    )
    def deliveries(context: dg.SensorEvaluationContext):
        layout = Layout(root)
        if edited := edited_since(survey, known, root):
            return dg.SkipReason(edited)
        try:
            if made_by_first_run(survey.source, layout.raw):
                return dg.SkipReason("made by its first run")
            found = look(survey, context.instance, layout, QUIET)
        except SurveyError as error:
            return dg.SkipReason(str(error))
        seen = json.loads(context.cursor or "{}")
        versions = {external.name: external.observe(survey, layout) for external in EXTERNAL}
        changed = [external for external in EXTERNAL if versions[external.name] != seen.get(external.name)]
        observed = [_observation(external.key(survey, prefix), versions[external.name]) for external in changed]
        open_ones = [row for row in found.ledger.to_pylist() if row["state"] in ("arriving", "held")]
        said = [f"{row['delivery']} {row['state']}: {row['reason']}" for row in open_ones[:_SAID]]
        said += [f"and {len(open_ones) - _SAID} more that are not whole"] if len(open_ones) > _SAID else []
        words = "; ".join([f"{len(found.batches)} batches, {len(found.new)} of them new", *said])
        return dg.SensorResult(skip_reason=words, asset_events=observed, cursor=json.dumps(versions))

    return deliveries


def _observation(key: dg.AssetKey, version: str) -> dg.AssetObservation:
    return dg.AssetObservation(key, tags={"dagster/data_version": version})


def automation_sensors(survey: Survey, prefix: Sequence[str] = ()) -> list[dg.AutomationConditionSensorDefinition]:
    """Make the sensors that request what is outdated of a survey (`conditions`).

    All runs that one sensor requests have the same tags: trainings may take a week and the rest a day, and a launcher
    gives a GPU to a run that is tagged so.

    Parameters
    ----------
    survey : Survey
    prefix : sequence of str
        What the asset keys begin with, before the survey's name.

    Returns
    -------
    list of dagster.AutomationConditionSensorDefinition
    """
    networks = [asset for asset in declared_of(survey) if asset.gpu]
    # what goes on after its process was killed is what takes long
    trained, embedded = (
        dg.AssetSelection.assets(*([*prefix, survey.name, asset.name] for asset in networks if asset.retry == long))
        for long in (True, False)
    )
    rest = dg.AssetSelection.key_prefixes([*prefix, survey.name]) - trained - embedded
    day, week = {"dagster/max_runtime": str(DAY)}, {"dagster/max_runtime": str(LONGEST_RUN)}
    return [
        _automation(survey, "automation", rest, day, 30),
        _automation(survey, "automatic_embedding", embedded, day | GPU_RUN_TAGS, 30),
        _automation(survey, "automatic_training", trained, week | GPU_RUN_TAGS, 300),
    ]


def _automation(
    survey: Survey, name: str, target: dg.AssetSelection, tags: dict[str, str], every: int
) -> dg.AutomationConditionSensorDefinition:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", dg.BetaWarning)  # of `use_user_code_server`, which a condition of our own needs
        return dg.AutomationConditionSensorDefinition(
            name=f"{survey.name}_{name}",
            target=target,
            minimum_interval_seconds=every,
            default_status=dg.DefaultSensorStatus.RUNNING,
            run_tags=tags | {"survey": survey.name},
            use_user_code_server=True,
            description=f"Brings {survey.title} up to date, delivery by delivery.",
        )


def read_model_sensor(root: Path, name: str = "read_model") -> dg.SensorDefinition:
    """Make the sensor that publishes the read model after every successful run.

    The read model is replaced by rename, so that readers do not wait.

    Parameters
    ----------
    root : Path
        The data folder.
    name : str
        Of the sensor.

    Returns
    -------
    dagster.SensorDefinition
    """

    @dg.run_status_sensor(
        run_status=dg.DagsterRunStatus.SUCCESS,
        name=name,
        description="Publishes new tables to the DuckDB read model after every successful run.",
        default_status=dg.DefaultSensorStatus.RUNNING,
    )
    def read_model_published(context: dg.RunStatusSensorContext) -> None:
        read_model.publish(Layout(root), EXPLORER)

    return read_model_published


def broken_files_sensors(broken: Mapping[Path, str]) -> list[dg.SensorDefinition]:
    """Make one sensor per survey file that cannot be used.

    It fails at every tick with the reason, so that the UI shows it in red under the name of the file; reloading the
    code location after the file is mended removes it.

    Parameters
    ----------
    broken : mapping of Path to str
        The reason by file.

    Returns
    -------
    list of dagster.SensorDefinition
    """

    def failing(path: Path, reason: str) -> dg.SensorDefinition:
        @dg.sensor(
            name=f"broken_{re.sub(r'[^A-Za-z0-9_]', '_', path.stem)}_{zlib.crc32(str(path).encode()):08x}",
            minimum_interval_seconds=600,
            default_status=dg.DefaultSensorStatus.RUNNING,
            description=f"Fails because this survey file cannot be used: {reason}",
        )
        def broken_file(context: dg.SensorEvaluationContext):
            raise dg.Failure(f"{reason}. Mend the file, then reload the code location")

        return broken_file

    return [failing(path, reason) for path, reason in broken.items()]


def jobs(survey: Survey, prefix: Sequence[str] = ()) -> dict[Job, Any]:
    """Make `training` and `refit`, which a person starts in the UI by start weights; the main job is an engine's.

    Parameters
    ----------
    survey : Survey
    prefix : sequence of str
        What the asset keys begin with, before the survey's name.

    Returns
    -------
    dict of str to job
    """
    made: dict[Job, list[str]] = {job: [a.name for a in ASSETS.values() if a.job == job] for job in get_args(Job)}
    return {
        job: dg.define_asset_job(
            f"{survey.name}_{job}",
            selection=dg.AssetSelection.assets(*(dg.AssetKey([*prefix, survey.name, asset]) for asset in assets)),
            tags=RUN_TAGS | {"survey": survey.name} | (GPU_RUN_TAGS if any(ASSETS[a].gpu for a in assets) else {}),
            description=survey.title,
            # a training's process may be ended by the system for its memory: its step is then started again
            executor_def=dg.multiprocess_executor.configured({"max_concurrent": 1}),
        )
        for job, assets in made.items()
    }


def refit_schedule(survey: Survey, known: Mapping[str, Survey], job: Any, root: Path) -> dg.ScheduleDefinition:
    """Make the weekly schedule that fits PCA, mixture and map of each start anew to all deliveries.

    Start weights by which a delivery is not embedded yet are left for the next week.

    Parameters
    ----------
    survey : Survey
    known : mapping of str to Survey
        All surveys by name, for start weights taken from another.
    job : dagster job
        `refit` of `jobs`.
    root : Path
        The data folder.

    Returns
    -------
    dagster.ScheduleDefinition
    """

    @dg.schedule(name=f"{survey.name}_weekly_refit", job=job, cron_schedule=_WEEKLY)
    def weekly(context: dg.ScheduleEvaluationContext):
        layout = Layout(root)
        if edited := edited_since(survey, known, root):
            return dg.SkipReason(edited)
        if main_job_runs(survey.name, layout):
            return dg.SkipReason("the survey's main job is at work")
        made = [init for init in survey.start_weights if layout.table(survey.name, "pca_model", init).exists()]
        if not made:
            return dg.SkipReason("not run yet")
        batches = context.instance.get_dynamic_partitions(f"{survey.name}_batch")
        lacking = {
            init: batch
            for init in made
            for batch in batches
            if not layout.table(survey.name, "embeddings", batch, init).exists()
        }
        for init, batch in lacking.items():
            log.warning("%s: start weights %s are not refitted: %s is not embedded yet", survey.name, init, batch)
        if not (ready := [init for init in made if init not in lacking]):
            return dg.SkipReason(f"not embedded yet: {', '.join(sorted(set(lacking.values())))}")
        day = context.scheduled_execution_time.strftime("%Y-%m-%d")
        return [dg.RunRequest(run_key=f"{day}-{init}", partition_key=init) for init in ready]

    return weekly


def nightly_upkeep(root: Path, surveys: Sequence[str]) -> dg.ScheduleDefinition:
    """Make the nightly schedule of a job that tidies the data folder.

    It merges the files of label events, removes what killed processes left and publishes the read model.

    Parameters
    ----------
    root : Path
        The data folder.
    surveys : sequence of str

    Returns
    -------
    dagster.ScheduleDefinition
        With its job.
    """

    @dg.op
    def upkeep() -> None:
        layout, damaged = Layout(root), []
        for survey in surveys:
            try:
                LabelLog(layout.labels(survey)).compact()
            except DamagedFile as error:
                damaged.append(str(error))
        remove_interrupted(layout)
        read_model.publish(layout, EXPLORER)
        if damaged:
            raise dg.Failure("; ".join(damaged))

    @dg.job(
        name="nightly_upkeep",
        tags={"dagster/max_runtime": "3600"},
        description="Merges label events, removes what killed processes left and publishes the read model.",
    )
    def nightly() -> None:
        upkeep()

    return dg.ScheduleDefinition(
        name="nightly_upkeep", job=nightly, cron_schedule=NIGHTLY, default_status=dg.DefaultScheduleStatus.RUNNING
    )
