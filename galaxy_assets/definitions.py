"""The whole platform on one page: surveys, assets, jobs, sensors and resources gathered into one code location.

Belongs here: the assembly. Does not belong here: any asset, resource or rule.
"""

from pathlib import Path

import dagster as dg

from galaxy_assets import automation
from galaxy_assets.assets.survey_asset import Lake
from galaxy_assets.assets.survey_assets import survey_assets
from galaxy_assets.lake.io_manager import ParquetLake
from galaxy_assets.surveys.model import data_root, load_surveys


def build_defs(root: Path | None = None) -> dg.Definitions:
    """Everything over one data folder ($GALAXY_ASSETS_DATA, else ./data, when not given); tests and the command line
    pass their own."""
    root = root or data_root()
    surveys = load_surveys(root)
    return dg.Definitions(
        assets=[asset for survey in surveys.values() for asset in survey_assets(survey, surveys)],
        jobs=[job for survey in surveys.values() for job in automation.jobs(survey)],
        sensors=[
            *[automation.delivery_sensor(survey) for survey in surveys.values()],
            automation.read_model_sensor,
        ],
        resources={"io_manager": ParquetLake(root=str(root)), "lake": Lake(root=str(root))},
        # two steps of a run at once: each process of torch is 0.6 GB, and the pool keeps training to one at a time
        executor=dg.multiprocess_executor.configured({"max_concurrent": 2}),
    )


@dg.definitions
def defs() -> dg.Definitions:
    """The code location that `workspace.yaml` and `pyproject.toml` name."""
    return build_defs()
