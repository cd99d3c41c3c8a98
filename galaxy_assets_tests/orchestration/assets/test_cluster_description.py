"""A survey with votes through the vote assets: volunteers' answers become described, labelled, overridden clusters."""

from pathlib import Path

import dagster as dg
import pyarrow as pa
import pytest

from galaxy_assets.orchestration.checks import CHECKS, Stored
from galaxy_assets.orchestration.graph import ASSETS
from galaxy_assets.orchestration.resources import LAKE, Lake
from galaxy_assets.science.votes import delivered_columns, normalise
from galaxy_assets.settings.survey import Survey
from galaxy_assets.storage.layout import Layout
from galaxy_assets.storage.tables import write_table

SURVEY = Survey.model_validate(
    {
        "name": "voted",
        "title": "Voted",
        "description": "Tables made here.",
        "source": {"reader": "image_folder", "path": "voted"},
        "start_weights": ["imagenet"],
        "evaluation": {"classes": [{"name": n, "labels": [n]} for n in ("spiral", "round_elliptical")]},
    }
)
N = 20  # galaxies per cluster
SPIRAL = {"smooth-or-featured_featured-or-disk": 38, "smooth-or-featured_smooth": 2, "disk-edge-on_no": 38}
SPIRAL |= {"has-spiral-arms_yes": 36, "has-spiral-arms_no": 2, "merging_neither": 40}
ELLIPTICAL = {"smooth-or-featured_smooth": 37, "smooth-or-featured_featured-or-disk": 3, "merging_neither": 40}
ELLIPTICAL |= {"how-rounded_completely": 35, "how-rounded_cigar-shaped": 2}


def volunteers() -> pa.Table:
    columns: dict[str, list] = {name: [] for name in delivered_columns("1_and_2")}
    for i, answers in enumerate([SPIRAL] * N + [ELLIPTICAL] * N):
        total: dict[str, int] = {}
        for answer, n in answers.items():
            total[answer.split("_")[0]] = total.get(answer.split("_")[0], 0) + n
        for name, column in columns.items():
            question = name.split("_")[0]
            if name == "iauname":
                column.append(f"g{i:02d}")
            elif name.endswith("_total-votes"):
                column.append(total.get(question, 0))
            elif name.endswith("_fraction"):
                column.append(answers.get(name.removesuffix("_fraction"), 0) / max(total.get(question, 0), 1))
            else:
                column.append(answers.get(name, 0))
    return normalise(pa.table(columns), "1_and_2")


def tables(cluster: list[int]) -> dict[str, pa.Table]:
    ids = [f"g{i:02d}" for i in range(2 * N)]
    n = len(ids)
    # half of each kind is in the evaluation subset
    classes = {g: c for g, c in zip(ids, ["spiral"] * N + ["round_elliptical"] * N, strict=True) if int(g[1:]) % 2}
    return {
        "catalogue": pa.table({"galaxy_id": ids, "label": pa.nulls(n, pa.string())}),
        "volunteer_votes": volunteers(),
        "cluster_labels": pa.table(
            {
                "galaxy_id": ids,
                "batch": ["images"] * n,
                "init": ["imagenet"] * n,
                "cluster": pa.array(cluster, pa.int32()),
                "probability": [1 - i / 1000 for i in range(n)],
            }
        ),
        "cluster_model": pa.table({"cluster": [0, 1, 2]}),
        "evaluation_subset": pa.table({"galaxy_id": list(classes), "evaluation_class": list(classes.values())}),
        "artefact_map": pa.table({"galaxy_id": ids, "reason": [""] * n}),
        "umap": pa.table({"galaxy_id": ids, "x": [float(i) for i in range(n)], "y": [0.0] * n}),
    }


def materialise(root: Path, cluster: list[int]) -> dg.ExecuteInProcessResult:
    names = ("vote_fractions", "cluster_worksheet", "cluster_summary", "class_membership")
    assets = [ASSETS[name].of(SURVEY, {}) for name in names]

    def source(name: str, table: pa.Table) -> dg.AssetsDefinition:
        @dg.asset(key=dg.AssetKey(["voted", name]), partitions_def=assets[0].partitions_def)
        def whole() -> pa.Table:
            return table

        return whole

    sources = [source(name, table) for name, table in tables(cluster).items()]
    return dg.materialize_to_memory(
        [*assets, *sources],
        partition_key="imagenet",
        resources={LAKE: Lake(root=str(root))},
        instance=dg.DagsterInstance.ephemeral(),
    )


def rows(result: dg.ExecuteInProcessResult, name: str) -> list[dict]:
    return result.asset_value(dg.AssetKey(["voted", name])).to_pylist()


def checks(root: Path, result: dg.ExecuteInProcessResult) -> dict[str, tuple[bool, str]]:
    """Verdicts of the checks of the worksheet, on its table as the lake would keep it."""
    worksheet = result.asset_value(dg.AssetKey(["voted", "cluster_worksheet"]))
    write_table(worksheet, Layout(root).table("voted", "cluster_worksheet", "imagenet"))
    found = {c.name: c.function(Stored(SURVEY, Layout(root))) for c in CHECKS if c.asset == "cluster_worksheet"}
    return {name: (verdict.passed, verdict.words) for name, verdict in found.items()}


def test_votes_describe_and_label_the_clusters(tmp_path):
    result = materialise(tmp_path, [0] * N + [1] * N)
    fractions = {(r["cluster"], r["question"], r["answer"]): r for r in rows(result, "vote_fractions")}
    assert fractions["0", "has-spiral-arms", "yes"]["n"] == N
    assert fractions["0", "has-spiral-arms", "yes"]["mean"] == pytest.approx(36 / 38)
    assert ("1", "has-spiral-arms", "yes") not in fractions  # nobody was asked
    spiral, elliptical, empty = rows(result, "cluster_summary")
    assert (spiral["description"], spiral["label"]) == ("Almost entirely spiral galaxies", "spiral")
    assert "smooth-or-featured featured-or-disk median 0.95 of 20" in spiral["evidence"]
    assert (elliptical["description"], elliptical["label"]) == ("Almost entirely ellipticals", "round_elliptical")
    assert (empty["description"], empty["label"], empty["described_by"]) == ("Empty", None, "rule")
    assert {r["accuracy_overall"] for r in (spiral, elliptical, empty)} == {1.0}
    assert [(r["evaluation_class"], r["cluster"], r["share"]) for r in rows(result, "class_membership")] == [
        ("round_elliptical", 1, 1.0),
        ("spiral", 0, 1.0),
    ]
    assert checks(tmp_path, result)["rows_match"] == (True, "0 rows")


def test_a_person_overrides_the_rule_and_the_row_follows_a_refit(tmp_path):
    layout = Layout(tmp_path)
    materialise(tmp_path, [0] * N + [1] * N)
    template = layout.worksheet_template("voted", "imagenet").read_text().splitlines()
    assert template[1].startswith("imagenet,0,,,,g00;g01;g02;g03;g04;g05;g06;g07,Almost entirely spiral galaxies,")
    layout.surveys.mkdir()
    filled = template[1].replace("imagenet,0,,,,", "imagenet,0,Grand-design spirals,spirals,,")
    layout.cluster_worksheet("voted").write_text("\n".join([template[0], filled, template[2]]))
    result = materialise(tmp_path, [2] * N + [0] * N)  # the same clusters under other numbers
    zero, _, two = rows(result, "cluster_summary")
    assert (two["description"], two["label"], two["described_by"]) == ("Grand-design spirals", "spirals", "person")
    assert two["evidence"].startswith("the rule says: Almost entirely spiral galaxies; ")
    assert (zero["description"], zero["described_by"]) == ("Almost entirely ellipticals", "rule")
    assert zero["accuracy_overall"] == 0.5  # "spirals" is no class of the survey, which is warned of
    assert checks(tmp_path, result)["labels_are_classes"] == (False, "spirals")
    assert {r["labelled_as"] for r in rows(result, "class_membership")} == {"spirals", "round_elliptical"}
    scattered = materialise(tmp_path, [i % 2 for i in range(2 * N)])
    passed, why = checks(tmp_path, scattered)["rows_match"]
    assert not passed and why.startswith("line 2 (written for cluster 0; the best cluster now holds 4 of 8")
    assert {r["described_by"] for r in rows(scattered, "cluster_summary")} == {"rule"}
