"""The asset graph of one survey.

Belongs here: the order of the steps. Does not belong here: any asset.
"""

import dagster as dg

from galaxy_assets.orchestration.assets import (
    artefacts,
    cutouts,
    delivery,
    discovery,
    evaluation,
    paper_figures,
    representation,
    results,
    structure,
)
from galaxy_assets.settings.survey import Survey


def survey_assets(survey: Survey, surveys: dict[str, Survey]) -> list[dg.AssetsDefinition]:
    """All assets of `survey`; `surveys` are all known ones, for start weights taken from another."""
    return [
        *delivery.build(survey),
        *cutouts.build(survey),
        *artefacts.build(survey),
        *representation.build(survey, surveys),
        *evaluation.build(survey),
        *structure.build(survey),
        *discovery.build(survey),
        *results.build(survey),
        *paper_figures.build(survey),
    ]
