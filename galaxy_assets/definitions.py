"""The whole platform on one page: the surveys that are enabled, the resources, and what runs by itself.

Belongs here: the assembly. Does not belong here: any asset, resource or rule.
"""

import functools
import logging
from pathlib import Path

import dagster as dg

from galaxy_assets.orchestration.automation import sensors
from galaxy_assets.orchestration.resources import resources
from galaxy_assets.orchestration.survey import survey_definitions
from galaxy_assets.settings.files import survey_files
from galaxy_assets.settings.root import data_root
from galaxy_assets.storage.store import store_of

log = logging.getLogger(__name__)


def build_defs(root: Path | None = None) -> dg.Definitions:
    """Everything of the enabled surveys of one data folder.

    Parameters
    ----------
    root : Path, optional
        The data folder; $GALAXY_ASSETS_DATA, else ./data, unless given.

    Returns
    -------
    dagster.Definitions
    """
    root = root or data_root()
    store_of(root).refresh(every=5.0)
    files = survey_files(root)
    for reason in files.broken.values():
        log.error("survey file left out: %s", reason)
    return dg.Definitions.merge(
        *(survey_definitions(survey, files.known, root) for survey in files.enabled.values()),
        dg.Definitions(
            schedules=[sensors.nightly_upkeep(root, list(files.known))],
            sensors=[sensors.read_model_sensor(root), *sensors.broken_files_sensors(files.broken)],
            resources=resources(root),
            # the many short steps of a delivery share one process: each further one would load everything again
            executor=dg.in_process_executor,
        ),
    )


@dg.definitions
@functools.cache  # Dagster asks five times on its way to a step
def defs() -> dg.Definitions:
    """The code location that `workspace.yaml` and `pyproject.toml` name.

    Returns
    -------
    dagster.Definitions
    """
    return build_defs()
