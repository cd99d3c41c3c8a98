"""The survey's numbers beside the paper's.

Belongs here: the asset. Does not belong here: what is measured (`science.results`).
"""

import hashlib
import json

import dagster as dg
import pyarrow as pa
import pyarrow.compute as pc

from galaxy_assets.assets.survey_asset import Lake, check, result, survey_asset
from galaxy_assets.surveys.model import Survey


def build(survey: Survey) -> list[dg.AssetsDefinition]:
    """`results` of a survey."""
    per_start = {"allow_missing": True}

    @survey_asset(
        survey,
        "8_results",
        paper="2-8",
        reads={
            "catalogue": {},
            "cutouts": {},
            "volunteer_votes": {},
            "clean_galaxies": {},
            "evaluation_subset": {},
            "epoch_accuracy": per_start,
            "byol_checkpoints": per_start,
            "pca_model": per_start,
            "cluster_summary": per_start,
            "label_events": {},
            "anomaly_recall": {},
        },
        settings=[_asked(survey)],
        checks={"agrees_with_paper": "No observed number differs from the one the paper reports for this survey."},
    )
    def results(lake: Lake, **tables: pa.Table):
        """One row per number that this survey can speak to: what the paper reports for it, what was observed, the
        tolerance and the verdict. A start whose weights are missing is left out
        here and nowhere hides the others."""
        from galaxy_assets.science.results import results as compute

        table = compute(survey, tables)
        rows = ["| check | what | observed | paper | verdict |", "|---|---|---|---|---|"]
        rows += [
            f"| {r['check_id']} | {r['description']} | {_number(r['observed'])} | {_number(r['expected'])} "
            f"| {r['verdict']} |"
            for r in table.to_pylist()
        ]
        differs = pc.sum(pc.equal(table["verdict"], "differs")).as_py() or 0
        return result(
            table,
            metadata={"table": dg.MetadataValue.md("\n".join(rows)), "differs": differs},
            checks=[check("agrees_with_paper", differs == 0, f"{differs} numbers differ", warn=True)],
        )

    return [results]


def _asked(survey: Survey) -> str:
    """What of the survey decides the rows: the paper's numbers by check, the classes, the target, the variance."""
    published = {check: number.model_dump() for check, number in sorted(survey.published.items())}
    asked = json.dumps([published, survey.evaluation.fingerprint(), survey.anomaly.fingerprint(), survey.variance])
    return hashlib.sha256(asked.encode()).hexdigest()[:12]


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:,.4g}"
