"""The survey's numbers beside the paper's.

Belongs here: the asset. Does not belong here: what is measured (`science.results`).
"""

import hashlib
import json

import dagster as dg
import pyarrow as pa
import pyarrow.compute as pc

from galaxy_assets.assets.survey_asset import Lake, check, picture, result, survey_asset
from galaxy_assets.surveys.model import Survey


def build(survey: Survey) -> list[dg.AssetsDefinition]:
    """`results` of a survey."""
    per_start = {"allow_missing": True}

    @survey_asset(
        survey,
        "8_results",
        paper="5-8, Figures 3, 14 and 15",
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
            "umap": per_start,
            "label_events": {},
            "anomaly_recall": {},
        },
        settings=[_asked(survey)],
        checks={"agrees_with_paper": "No observed number differs from the one the paper reports for this survey."},
    )
    def results(lake: Lake, **tables: pa.Table):
        """One row per number that this survey can speak to: what the paper reports for it, what was observed, the
        tolerance and the verdict; and the start weights side by side. A start whose weights are missing is left out
        here and nowhere hides the others."""
        from galaxy_assets.figures import curves, maps
        from galaxy_assets.science.results import results as compute

        table = compute(survey, tables)
        metadata = picture(lake, survey, curves.epoch_accuracy(tables["epoch_accuracy"]), "epoch_accuracy")
        umap, summary = tables["umap"], tables["cluster_summary"]
        label = dict(
            zip(*(tables["evaluation_subset"][c].to_pylist() for c in ("galaxy_id", "evaluation_class")), strict=True)
        )
        panels = []
        for init in pc.unique(umap["init"]).to_pylist():
            points = umap.filter(pc.equal(umap["init"], init))
            rows = summary.filter(pc.equal(summary["init"], init))
            panels.append(
                {
                    "title": init,
                    "x": points["x"].to_numpy(),
                    "y": points["y"].to_numpy(),
                    "label": [label.get(g) for g in points["galaxy_id"].to_pylist()],
                    "accuracy": rows["accuracy_overall"][0].as_py() if rows.num_rows else float("nan"),
                }
            )
        metadata["start weights"] = picture(lake, survey, maps.start_weight_panel(panels), "start_weights")["preview"]
        rows = ["| check | what | observed | paper | verdict |", "|---|---|---|---|---|"]
        rows += [
            f"| {r['check_id']} | {r['description']} | {_number(r['observed'])} | {_number(r['expected'])} "
            f"| {r['verdict']} |"
            for r in table.to_pylist()
        ]
        differs = pc.sum(pc.equal(table["verdict"], "differs")).as_py() or 0
        return result(
            table,
            metadata={**metadata, "table": dg.MetadataValue.md("\n".join(rows)), "differs": differs},
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
