"""What Dagster starts or publishes by itself: sensors and schedules; and the jobs that a person starts in the UI.

Belongs here: their declaration. Does not belong here: which partitions are requested (`conditions`), the main job
(`main_job`).
"""

import warnings
from typing import Any

import dagster as dg

from galaxy_assets.lake import read_model
from galaxy_assets.orchestration.automation.conditions import NIGHTLY
from galaxy_assets.orchestration.automation.deliveries import register
from galaxy_assets.orchestration.engines.in_process import RUN_TAGS
from galaxy_assets.settings.files import SurveyError, survey_files
from galaxy_assets.settings.survey import Survey
from galaxy_assets.storage.label_events import LabelLog
from galaxy_assets.storage.layout import Layout

DAY = 24 * 3600
_WEEKLY = "0 3 * * 0"
QUIET = 120
"""Seconds without a change after which a delivery without a manifest counts as whole."""


def delivery_sensor(survey: Survey) -> dg.SensorDefinition:
    """Registers a survey's new deliveries as batches; the automation takes it from there."""

    @dg.sensor(
        name=f"{survey.name}_deliveries",
        minimum_interval_seconds=30,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description=f"Looks for new deliveries of {survey.title}, and for label files dropped.",
    )
    def deliveries(context: dg.SensorEvaluationContext):
        layout = Layout.default()
        if survey.source.reader == "simulated" and not (layout.raw / survey.source.path).exists():
            return dg.SkipReason("simulated by its first run")
        try:
            found = register(survey, context.instance, layout, QUIET)
        except SurveyError as error:
            return dg.SkipReason(str(error))
        open_ones = [row for row in found.ledger.to_pylist() if row["state"] in ("arriving", "held")]
        said = [f"{row['delivery']} {row['state']}: {row['reason']}" for row in open_ones]
        return dg.SkipReason("; ".join([f"{len(found.batches)} batches, {len(found.new)} of them new", *said]))

    return deliveries


def automation_sensor(survey: Survey) -> dg.AutomationConditionSensorDefinition:
    """Requests what is outdated (`conditions`) of a survey."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", dg.BetaWarning)  # of `use_user_code_server`, which a condition of our own needs
        return dg.AutomationConditionSensorDefinition(
            name=f"{survey.name}_automation",
            target=dg.AssetSelection.key_prefixes(survey.name),
            minimum_interval_seconds=30,
            default_status=dg.DefaultSensorStatus.RUNNING,
            run_tags={"dagster/max_runtime": str(DAY), "survey": survey.name},
            use_user_code_server=True,
            description=f"Brings {survey.title} up to date, delivery by delivery.",
        )


@dg.run_status_sensor(
    run_status=dg.DagsterRunStatus.SUCCESS,
    name="read_model",
    description="Publishes new tables to the DuckDB read model after every successful run.",
    default_status=dg.DefaultSensorStatus.RUNNING,
)
def read_model_sensor(context: dg.RunStatusSensorContext) -> None:
    """Publish the read model; the swap by rename keeps readers from waiting."""
    read_model.publish(Layout.default())


def jobs(survey: Survey) -> dict[str, Any]:
    """`training` and `refit`, which a person starts in the UI by start weights; the main job is `run_survey`."""
    steps = {
        "training": ["byol_checkpoints", "epoch_accuracy"],
        "refit": ["pca_model", "cluster_model", "umap_model"],
    }
    return {
        name: dg.define_asset_job(
            f"{survey.name}_{name}",
            selection=dg.AssetSelection.assets(*(dg.AssetKey([survey.name, asset]) for asset in assets)),
            tags=RUN_TAGS | {"survey": survey.name},
            description=survey.title,
            # a training's process may be ended by the system for its memory: its step is then started again
            executor_def=dg.multiprocess_executor.configured({"max_concurrent": 1}),
        )
        for name, assets in steps.items()
    }


def refit_schedule(survey: Survey, job) -> dg.ScheduleDefinition:
    """Fits PCA, mixture and map of each start anew, once a week, to what was delivered by then."""

    @dg.schedule(name=f"{survey.name}_weekly_refit", job=job, cron_schedule=_WEEKLY)
    def weekly(context: dg.ScheduleEvaluationContext):
        layout = Layout.default()
        made = [init for init in survey.start_weights if layout.table(survey.name, "pca_model", init).exists()]
        day = context.scheduled_execution_time.strftime("%Y-%m-%d")
        if not made:
            return dg.SkipReason("not run yet")
        return [dg.RunRequest(run_key=f"{day}-{init}", partition_key=init) for init in made]

    return weekly


@dg.op
def upkeep() -> None:
    """Merge the files of label events and publish the read model."""
    layout = Layout.default()
    for survey in survey_files(layout.root).known:
        LabelLog(layout.labels(survey)).compact()
    read_model.publish(layout)


@dg.job(tags={"dagster/max_runtime": "3600"}, description="Merges label events and publishes the read model.")
def nightly_upkeep() -> None:
    """The job of the nightly schedule."""
    upkeep()


nightly = dg.ScheduleDefinition(
    name="nightly_upkeep", job=nightly_upkeep, cron_schedule=NIGHTLY, default_status=dg.DefaultScheduleStatus.RUNNING
)
