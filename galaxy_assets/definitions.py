"""The whole platform on one page: surveys, assets, jobs, sensors and resources gathered into one code location.

Belongs here: the assembly. Does not belong here: any asset, resource or rule.
"""

import functools
from pathlib import Path

import dagster as dg

from galaxy_assets.orchestration.automation import conditions, sensors
from galaxy_assets.orchestration.declaration import Lake
from galaxy_assets.orchestration.graph import survey_assets
from galaxy_assets.orchestration.io_manager import ParquetLake
from galaxy_assets.settings.files import data_root, survey_files


def build_defs(root: Path | None = None) -> dg.Definitions:
    """Everything of the enabled surveys of one data folder ($GALAXY_ASSETS_DATA, else ./data, when not given); tests
    and the command line pass their own."""
    root = root or data_root()
    files = survey_files(root)
    surveys = list(files.enabled.values())
    jobs = {survey.name: sensors.jobs(survey) for survey in surveys}
    return dg.Definitions(
        assets=[
            asset
            for survey in surveys
            for asset in conditions.with_conditions(survey, survey_assets(survey, files.known), root)
        ],
        jobs=[*(job for of_survey in jobs.values() for job in of_survey.values()), sensors.nightly_upkeep],
        schedules=[
            *(sensors.refit_schedule(survey, jobs[survey.name]["refit"]) for survey in surveys),
            sensors.nightly,
        ],
        sensors=[
            *(sensors.delivery_sensor(survey) for survey in surveys),
            *(sensors.automation_sensor(survey) for survey in surveys),
            sensors.read_model_sensor,
        ],
        resources={"io_manager": ParquetLake(root=str(root)), "lake": Lake(root=str(root))},
        # the many short steps of a delivery share one process: each further one would load everything again
        executor=dg.in_process_executor,
    )


@dg.definitions
@functools.cache  # Dagster asks five times on its way to a step
def defs() -> dg.Definitions:
    """The code location that `workspace.yaml` and `pyproject.toml` name."""
    return build_defs()
