"""The survey's numbers beside the paper's.

Belongs here: the asset. Does not belong here: what is measured (`science.results`), the paper's
numbers (`science.checklist`).
"""

import dagster as dg
import pyarrow as pa

from galaxy_assets.orchestration.assets.representation import byol_checkpoints as byol_checkpoints_asset
from galaxy_assets.orchestration.declaration import IF_THERE, Result, SurveyContext, survey_asset
from galaxy_assets.science.checklist import fingerprint
from galaxy_assets.science.results import VERDICTS
from galaxy_assets.science.results import results as compute
from galaxy_assets.storage.provenance import origin


@survey_asset(
    "8_results",
    paper="2-8",
    reads={
        "catalogue": {},
        "cutouts": {},
        "volunteer_votes": {},
        "clean_galaxies": {},
        "evaluation_subset": {},
        "epoch_accuracy": IF_THERE,
        "byol_checkpoints": IF_THERE,
        "pca_model": IF_THERE,
        "class_membership": IF_THERE,
        "cluster_labels": IF_THERE,
        "cluster_summary": IF_THERE,
        "oracle_events": {},
        "anomaly_recall": {},
    },
    settings=lambda survey: [survey, fingerprint()],
    version="2",
    columns={
        "check_id": "id of the number in the paper's checklist, or of one that only this survey has",
        "description": "what the number is",
        "expected": "the paper's number; 1 where a setting of words should be the paper's; null where it has none",
        "observed": "the survey's number; 1 for the paper's words and 0 for others; null where it is not known",
        "tolerance": "largest difference that still agrees; null where the paper has no number",
        "verdict": "agrees, differs, not observed, or not applicable to this survey",
        "note": "the reason of the verdict, and what else is to be said",
    },
)
def results(context: SurveyContext, **tables: pa.Table) -> Result:
    """One row per number of the paper and per number that only this survey has: expected, observed, tolerance, and
    the verdict with its reason (docs/results.md says how to read it). A start whose weights are missing is left out
    here and nowhere hides the others.
    """
    table = _with_recipes(context, compute(context.survey, tables), tables["byol_checkpoints"])
    verdicts = table["verdict"].to_pylist()
    counts = {verdict: verdicts.count(verdict) for verdict in VERDICTS}
    return Result(table, {"table": dg.MetadataValue.md(_markdown(table)), **counts})


def _with_recipes(context: SurveyContext, table: pa.Table, byol_checkpoints: pa.Table) -> pa.Table:
    """The table, with a note where a number is of start weights that could not be trained anew: of which recipe."""
    old = {}
    for row in byol_checkpoints.filter(byol_checkpoints["chosen"]).to_pylist():
        made = origin(context.layout.table(context.survey.name, "byol_checkpoints", row["init"]))
        if made is not None and made.code != byol_checkpoints_asset.code_version(context.survey):
            old[row["init"]] = f"of an earlier recipe ({row['recipe']}), since training anew failed"
    notes = [
        "; ".join(filter(None, [row["note"], *(said for init, said in old.items() if _is_of(row["check_id"], init))]))
        for row in table.to_pylist()
    ]
    return table.set_column(table.column_names.index("note"), table.schema.field("note"), pa.array(notes, pa.string()))


def _is_of(check_id: str, init: str) -> bool:
    return init in check_id.split(":")[1:]


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
