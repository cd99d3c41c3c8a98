"""The survey's numbers beside the paper's.

Belongs here: the asset. Does not belong here: what is measured and how it is judged (`science.results`), the paper's
numbers (`science.checklist`).
"""

from collections.abc import Mapping

import dagster as dg
import pyarrow as pa

from galaxy_assets.orchestration.assets.representation import byol_checkpoints as byol_checkpoints_asset
from galaxy_assets.orchestration.declaration import IF_THERE, Result, SurveyContext, survey_asset
from galaxy_assets.science.checked_settings import not_the_papers
from galaxy_assets.science.checklist import fingerprint
from galaxy_assets.science.results import VERDICTS
from galaxy_assets.science.results import results as compute
from galaxy_assets.storage.provenance import origin

_OF_A_NETWORK = ("cutout", "umap", "recipe", "main_start_weights")
"""Settings that another survey's network rests on, whose checkpoint is among the start weights: that of its main ones.
"""


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
        "search_spread": IF_THERE,
    },
    settings=lambda survey: [survey, fingerprint()],
    version="4",
    tuned=True,
    columns={
        "check_id": "id of the number in the paper's checklist, or of one that only this survey has",
        "description": "what the number is",
        "expected": "the paper's number; 1 where a setting of words should be the paper's; null where it has none",
        "observed": "the survey's number; 1 for the paper's words and 0 for others; null where it is not known",
        "tolerance": "largest difference that still agrees; null where the paper has no number",
        "verdict": "agrees, differs, not observed, not comparable, or not applicable to this survey",
        "note": "the reason of the verdict, and what else is to be said",
    },
)
def results(context: SurveyContext, **tables: pa.Table) -> Result:
    """One row per number of the paper and per number that only this survey has: expected, observed, tolerance, and
    the verdict with its reason (docs/results.md says how to read it). A start whose weights are missing is left out
    here and nowhere hides the others.
    """
    others = _other_weights(context, tables["byol_checkpoints"])
    table = _with_weights(compute(context.survey, tables, others), others)
    verdicts = table["verdict"].to_pylist()
    counts = {verdict: verdicts.count(verdict) for verdict in VERDICTS}
    return Result(table, {"table": dg.MetadataValue.md(_markdown(table)), **counts})


def _other_weights(context: SurveyContext, byol_checkpoints: pa.Table) -> dict[str, str]:
    """Start weights whose network was trained otherwise than the survey's settings say, and how: by an earlier recipe
    where they could not be trained anew, or from another survey's network that is not trained as the paper has it.
    """
    others = {}
    for row in byol_checkpoints.filter(byol_checkpoints["chosen"]).to_pylist():
        init = row["init"]
        made = origin(context.layout.table(context.survey.name, "byol_checkpoints", init))
        if made is not None and made.code != byol_checkpoints_asset.code_version(context.survey):
            others[init] = f"of an earlier recipe ({row['recipe']}), since training anew failed"
        elif init in context.known and (changed := not_the_papers(context.known[init], _OF_A_NETWORK)):
            others[init] = f"of {init}'s network, and there {changed[0]}"
    return others


def _with_weights(table: pa.Table, others: Mapping[str, str]) -> pa.Table:
    """The table, with a note where a number is of start weights whose network is another than the settings say."""
    notes = []
    for row in table.to_pylist():
        said = [why for init, why in others.items() if _is_of(row["check_id"], init) and why not in row["note"]]
        notes.append("; ".join(filter(None, [row["note"], *said])))
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
