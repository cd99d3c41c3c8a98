"""What the survey delivered: the catalogue of images and the volunteers' votes (paper 2).

Belongs here: assets that read the survey's files. Does not belong here: decoding (`surveys`), vote rules (`science`).
"""

import dagster as dg
import pyarrow as pa
import pyarrow.compute as pc

from galaxy_assets.assets.survey_asset import Lake, check, result, survey_asset
from galaxy_assets.science import votes
from galaxy_assets.surveys.model import Survey
from galaxy_assets.surveys.readers import open_reader


def build(survey: Survey) -> list[dg.AssetsDefinition]:
    """`catalogue` (per batch) and `volunteer_votes` of a survey."""

    @survey_asset(
        survey,
        "1_delivery",
        paper="2",
        by="batch",
        settings=[survey.source],
        files=True,
        checks={"every_image_readable": "No delivered image is missing, unreadable or delivered twice."},
    )
    def catalogue(context: dg.AssetExecutionContext, lake: Lake):
        """One row per delivered image: its file, sha256, size, position and label, and what is wrong with it if
        anything is. An image that cannot be read is a row too."""
        table = open_reader(survey.source, lake.layout.raw).catalogue(context.partition_key)
        problems = pc.value_counts(table["problem"].drop_null()).to_pylist()
        n_problems = sum(p["counts"] for p in problems)
        return result(
            table,
            metadata={
                "images": table.num_rows,
                "reference": survey.reference,
                "problems": n_problems,
                "labelled": table.num_rows - table["label"].null_count,
            },
            checks=[
                check(
                    "every_image_readable",
                    n_problems == 0,
                    ", ".join(f"{p['counts']} {p['values']}" for p in problems) or "all readable",
                    warn=True,
                )
            ],
        )

    @survey_asset(survey, "1_delivery", paper="2", settings=[survey.source], files=True)
    def volunteer_votes(lake: Lake) -> dg.MaterializeResult[pa.Table]:
        """One row per galaxy: counts and fractions of every question of the Galaxy Zoo decision tree, a fraction being
        null where nobody was asked. Empty for a survey without volunteers."""
        table = open_reader(survey.source, lake.layout.raw).votes()
        if table is None:
            table = votes.empty(survey.source.campaign)
        asked = pc.sum(table["total_votes"]).as_py() or 0
        return result(table, metadata={"galaxies": table.num_rows, "votes": asked})

    return [catalogue, volunteer_votes]
