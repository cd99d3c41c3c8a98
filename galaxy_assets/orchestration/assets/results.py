"""The survey's numbers beside the paper's.

Belongs here: the asset. Does not belong here: what is measured (`science.results`), the paper's
numbers (`science.checklist`).
"""

import dagster as dg
import pyarrow as pa

from galaxy_assets.orchestration.declaration import check, result, survey_asset
from galaxy_assets.science.checklist import fingerprint
from galaxy_assets.science.results import AGREES, DIFFERS, VERDICTS
from galaxy_assets.science.results import results as compute
from galaxy_assets.settings.survey import Survey


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
            "class_membership": per_start,
            "cluster_labels": per_start,
            "cluster_summary": per_start,
            "oracle_events": {},
            "anomaly_recall": {},
        },
        settings=[survey, fingerprint()],
        version="2",
        checks={"agrees_with_paper": "No number or setting differs from the one the paper reports for this survey."},
    )
    def results(**tables: pa.Table):
        """One row per number of the paper and per number that only this survey has: expected, observed, tolerance, and
        the verdict with its reason (docs/results.md says how to read it). A start whose weights are missing is left out
        here and nowhere hides the others."""
        import pyarrow.compute as pc

        table = compute(survey, tables)
        counts = {verdict: table["verdict"].to_pylist().count(verdict) for verdict in VERDICTS}
        differ = table.filter(pc.equal(table["verdict"], DIFFERS))["check_id"].to_pylist()
        return result(
            table,
            metadata={"table": dg.MetadataValue.md(_markdown(table)), **counts},
            checks=[
                check(
                    "agrees_with_paper",
                    not differ,
                    f"{counts[AGREES]} agree, {len(differ)} differ{': ' if differ else ''}{', '.join(differ)}",
                    warn=True,
                    differ=", ".join(differ),
                )
            ],
        )

    return [results]


def _markdown(table: pa.Table) -> str:
    """The table for the UI, verdict first: what differs, what is missing, what agrees, then the rest."""
    rows = sorted(table.to_pylist(), key=lambda row: VERDICTS.index(row["verdict"]))
    lines = ["| verdict | check | what | observed | paper | tolerance | note |", "|---|---|---|---|---|---|---|"]
    for row in rows:
        numbers = " | ".join(_number(row[name]) for name in ("observed", "expected", "tolerance"))
        lines.append(f"| {row['verdict']} | {row['check_id']} | {row['description']} | {numbers} | {row['note']} |")
    return "\n".join(lines)


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:,.4g}"
