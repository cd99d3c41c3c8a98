"""The survey's encoders beside each other: what is known of each without labels, and with them where there are any.

Belongs here: the asset, which gathers what other assets measured. Does not belong here: measuring it, and choosing
among the encoders.
"""

import json
from collections.abc import Mapping
from typing import Any

import numpy as np
import pyarrow as pa

from galaxy_assets.orchestration.assets.recall import MET
from galaxy_assets.orchestration.columns import shared
from galaxy_assets.orchestration.declaration import IF_THERE, Result, SurveyContext, picture, survey_asset
from galaxy_assets.settings.recipe import HALVES, PYRAMID
from galaxy_assets.storage import provenance
from galaxy_assets.storage.checkpoints import read_metadata

SCHEMA = pa.schema(
    [
        ("init", pa.string()),
        ("network", pa.string()),
        ("features", pa.int32()),
        ("epoch", pa.int32()),
        ("effective_rank", pa.float64()),
        ("pcs_95", pa.int32()),
        ("alignment", pa.float64()),
        ("uniformity", pa.float64()),
        ("stability", pa.float64()),
        ("accuracy", pa.float64()),
        ("accuracy_std", pa.float64()),
        ("cluster_accuracy", pa.float64()),
        ("met", pa.int64()),
        ("found_unshown", pa.int64()),
        ("reason", pa.string()),
    ]
)
_UNLABELLED = ("effective_rank", "pcs_95", "alignment", "uniformity", "stability")
_FIRST = 100  # galaxies down the ranking of those that nobody scored


@survey_asset(
    "8_results",
    paper="5, 8.3",
    reads={
        "byol_checkpoints": IF_THERE,
        "epoch_accuracy": IF_THERE,
        "cluster_summary": IF_THERE,
        "anomaly_recall": {},
    },
    settings=lambda survey: [survey.main_start_weights],
    version="2",
    columns=shared("init")
    | {
        "network": "the architecture, or those side by side",
        "features": "number of features",
        "epoch": "epoch whose weights are used, 0 the start itself; see byol_checkpoints",
        "effective_rank": "dimensions that the features fill, by the entropy of their singular values",
        "pcs_95": "principal components that hold 95 % of the variance",
        "alignment": "mean squared distance of two views of a galaxy on the unit sphere, 0 (alike) to 4",
        "uniformity": "log of the mean of exp(-2 d^2) over pairs on the unit sphere, lower where spread",
        "stability": "share of a galaxy's ten nearest neighbours that another view of it keeps, 0 to 1",
        "accuracy": "mean accuracy of nearest neighbours over random splits, 0 to 1; null where nothing is judged",
        "accuracy_std": "its standard deviation over the splits; null where nothing is judged",
        "cluster_accuracy": "share of the evaluation subset whose class is its cluster's label; null as above",
        "met": "true anomalies among those the simulated person was asked for; null but for the main start weights",
        "found_unshown": "true anomalies in the first 100 that nobody scored; null but for the main start weights",
        "reason": "why these weights are used",
    },
)
def encoder_comparison(context: SurveyContext, **tables: pa.Table) -> Result:
    """One row per start weights: the network, its health at the epoch that is used, which needs no labels, and, where
    there are labels, how well neighbours and clusters agree with them, what the search met, and what it ranks first
    that nobody scored. Only the main start weights are searched. A start whose training failed is left out.
    """
    from galaxy_assets.figures.comparison import encoders as draw

    rows = [_row(context, row, tables) for row in tables["byol_checkpoints"].to_pylist() if row["chosen"]]
    order = {start: i for i, start in enumerate(context.survey.starts_main_first)}
    table = pa.Table.from_pylist(sorted(rows, key=lambda row: order[row["init"]]), schema=SCHEMA)
    return Result(table, {"encoders": table.num_rows, **picture(context, draw(table), "encoder_comparison")})


def _row(context: SurveyContext, row: dict[str, Any], tables: dict[str, pa.Table]) -> dict[str, Any]:
    init, metadata = row["init"], read_metadata(context.layout.root / row["path"])
    accuracy = [r["accuracy"] for r in tables["epoch_accuracy"].to_pylist() if r["init"] == init and r["chosen"]]
    agreed = [r["accuracy_overall"] for r in tables["cluster_summary"].to_pylist() if r["init"] == init]
    measured: dict[str, Any] = {name: row[name] for name in ("init", "epoch", "reason", *_UNLABELLED)}
    measured |= {"network": network(metadata), "features": int(metadata["feature_size"])}
    if accuracy:
        measured |= {"accuracy": float(np.mean(accuracy)), "accuracy_std": float(np.std(accuracy))}
    if agreed and agreed[0] is not None and np.isfinite(agreed[0]):
        measured["cluster_accuracy"] = agreed[0]
    recall = tables["anomaly_recall"]
    if init == context.survey.main_start_weights and recall.num_rows:
        unshown = recall["found_unshown"].drop_null().to_pylist()
        met = provenance.measured(context.layout.table(context.survey.name, "anomaly_recall")).get(MET)
        measured |= {"met": None if met is None else int(met)}
        measured |= {"found_unshown": unshown[:_FIRST][-1] if unshown else None}
    return measured


def network(metadata: Mapping[str, str]) -> str:
    """What an encoder's metadata say it is: timm's name, another architecture's, or those side by side."""
    if metadata["variant"] == "side_by_side":
        return " beside ".join(map(network, json.loads(metadata["backbone"])))
    if metadata["variant"] in HALVES:
        places = ", over places" if metadata["variant"] == PYRAMID else ""
        return f"{network(json.loads(metadata['backbone']))} to its middle{places}"
    if metadata["variant"] == "classical":
        return "formulae"
    return metadata["backbone"] + ("" if metadata["variant"] == "timm" else f" ({metadata['variant']})")
