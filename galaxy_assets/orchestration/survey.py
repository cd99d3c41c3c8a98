"""Everything that Dagster has of one survey: its assets, checks, jobs, sensors and schedule.

Belongs here: the assembly for one survey, which the platform and `SurveyComponent` share. Does not belong here: any of
them.
"""

import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path

import dagster as dg

from galaxy_assets.orchestration.automation import conditions, sensors
from galaxy_assets.orchestration.checks import CHECKS
from galaxy_assets.orchestration.external import EXTERNAL
from galaxy_assets.orchestration.graph import survey_assets
from galaxy_assets.orchestration.resources import KEYS, Keys
from galaxy_assets.settings.survey import Survey


def survey_definitions(
    survey: Survey, known: Mapping[str, Survey], root: Path, prefix: Sequence[str] = (), keys: Keys = KEYS
) -> dg.Definitions:
    """The definitions of one survey over a data folder; resources are not among them.

    Parameters
    ----------
    survey : Survey
    known : mapping of str to Survey
        All surveys by name, for start weights taken from another.
    root : Path
        The data folder.
    prefix : sequence of str
        What the asset keys begin with, before the survey's name.
    keys : Keys
        Of the data folder's resources.
    prefix : sequence of str
        What the asset keys begin with, before the survey's name.

    Returns
    -------
    dagster.Definitions
    """
    jobs = sensors.jobs(survey, prefix)
    with warnings.catch_warnings():
        # of observable source assets, and of checks that are partitioned as their asset
        warnings.simplefilter("ignore", dg.BetaWarning)
        warnings.simplefilter("ignore", dg.PreviewWarning)
        assets = conditions.with_conditions(survey, known, survey_assets(survey, known, prefix, keys), root)
        files = [external.source(survey, prefix, keys) for external in EXTERNAL]
        checks = [check.of(survey, tuple(prefix), keys) for check in CHECKS]
    return dg.Definitions(
        assets=[*assets, *files],
        asset_checks=checks,
        jobs=list(jobs.values()),
        schedules=[sensors.refit_schedule(survey, known, jobs["refit"], root)],
        sensors=[sensors.delivery_sensor(survey, known, root, prefix), *sensors.automation_sensors(survey, prefix)],
    )
