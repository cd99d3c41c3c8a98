"""The rules of the house, kept by tests: layering, light loading, one graph for every survey."""

import ast
import subprocess
import sys
import tomllib
from pathlib import Path

import dagster as dg
import pytest
import yaml

from galaxy_assets.definitions import build_defs
from galaxy_assets.settings.files import enable, survey_files

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "galaxy_assets"
MODULES = sorted(PACKAGE.rglob("*.py"))
SURVEYS = sorted(survey_files(Path("/nonexistent")).known)

GRAPH = {
    "catalogue": [],
    "volunteer_votes": [],
    "absent_images": ["catalogue"],
    "image_history": ["catalogue"],
    "cutouts": ["catalogue"],
    "artefact_evidence": ["cutouts"],
    "pretrained_features": ["cutouts"],
    "artefact_umap_model": ["artefact_evidence", "pretrained_features"],
    "artefact_map": ["artefact_evidence", "artefact_umap_model", "pretrained_features"],
    "artefact_regions": ["artefact_umap_model"],
    "clean_galaxies": ["artefact_map", "artefact_regions", "cutouts"],
    "byol_checkpoints": ["clean_galaxies", "cutouts"],
    "embeddings": ["byol_checkpoints", "clean_galaxies", "cutouts"],
    "pca_model": ["byol_checkpoints", "embeddings"],
    "pca_features": ["embeddings", "pca_model"],
    "evaluation_subset": ["catalogue", "clean_galaxies", "cutouts", "volunteer_votes"],
    "epoch_accuracy": ["byol_checkpoints", "cutouts", "evaluation_subset"],
    "cluster_model": ["embeddings", "pca_model"],
    "umap_model": ["embeddings", "pca_model"],
    "cluster_labels": ["cluster_model", "pca_features"],
    "umap": ["embeddings", "pca_features", "umap_model"],
    "batch_drift": ["cluster_labels", "cluster_model", "cutouts", "embeddings", "pca_model"],
    "cluster_gallery": ["cluster_labels", "cutouts", "umap"],
    "cluster_worksheet": ["cluster_labels"],
    "vote_fractions": ["catalogue", "cluster_labels", "volunteer_votes"],
    "cluster_summary": [
        "artefact_map",
        "cluster_labels",
        "cluster_model",
        "cluster_worksheet",
        "evaluation_subset",
        "umap",
        "vote_fractions",
    ],
    "class_membership": ["cluster_labels", "cluster_summary", "evaluation_subset"],
    "training_candidates": ["cluster_labels", "cluster_summary", "cutouts"],
    "baseline_rankings": ["catalogue", "pca_features", "volunteer_votes"],
    "oracle_events": ["catalogue", "cutouts", "pca_features", "volunteer_votes"],
    "label_events": ["oracle_events"],
    "anomaly_model": ["label_events", "pca_features", "pca_model"],
    "anomaly_scores": ["anomaly_model", "pca_features"],
    "anomaly_ranking": ["anomaly_model", "anomaly_scores", "cutouts", "label_events", "pca_features"],
    "anomaly_recall": ["anomaly_ranking", "baseline_rankings", "catalogue", "umap", "volunteer_votes"],
    "similar_galaxies": ["anomaly_ranking", "cutouts", "pca_features"],
    "results": [
        "anomaly_recall",
        "byol_checkpoints",
        "catalogue",
        "class_membership",
        "clean_galaxies",
        "cluster_labels",
        "cluster_summary",
        "cutouts",
        "epoch_accuracy",
        "evaluation_subset",
        "oracle_events",
        "pca_model",
        "volunteer_votes",
    ],
    "table_1": [],
    "figure_01": ["artefact_map", "artefact_regions", "clean_galaxies", "cutouts"],
    "figure_02": ["cutouts", "evaluation_subset"],
    "figure_13": ["cutouts", "evaluation_subset"],
    "figure_03": ["epoch_accuracy"],
    "figure_14": ["epoch_accuracy"],
    "figure_10": ["cutouts", "oracle_events"],
    "figure_04": ["cluster_labels", "cluster_summary", "cutouts", "umap"],
    "figure_05": ["cluster_labels", "cluster_summary", "cutouts", "umap"],
    "figure_06": ["cluster_labels", "cluster_summary", "cutouts", "umap"],
    "figure_07": ["cluster_labels", "cluster_summary", "volunteer_votes"],
    "figure_15": ["cluster_summary", "evaluation_subset", "umap"],
    "table_2": ["cluster_summary"],
    "figure_09": ["anomaly_ranking", "catalogue", "umap", "volunteer_votes"],
    "figure_08": ["anomaly_recall"],
    "figure_11": ["cutouts", "similar_galaxies"],
    "figure_12": ["cutouts", "similar_galaxies"],
}
PARTITIONS = {
    "batch": [
        "anomaly_scores",
        "artefact_evidence",
        "artefact_map",
        "batch_drift",
        "catalogue",
        "clean_galaxies",
        "cutouts",
        "image_history",
        "pretrained_features",
    ],
    "init": [
        "byol_checkpoints",
        "class_membership",
        "cluster_gallery",
        "cluster_model",
        "cluster_summary",
        "cluster_worksheet",
        "epoch_accuracy",
        "pca_model",
        "training_candidates",
        "umap_model",
        "vote_fractions",
    ],
    "batch_init": ["cluster_labels", "embeddings", "pca_features", "umap"],
}
GPU = ["byol_checkpoints", "embeddings", "epoch_accuracy", "pretrained_features"]


def imports(path: Path) -> set[str]:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    names = {a.name for node in ast.walk(tree) if isinstance(node, ast.Import) for a in node.names}
    return names | {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) and node.module}


def test_only_the_outer_rooms_know_dagster():
    outer = {"definitions.py", "orchestration", "cli"}
    inner = [m for m in MODULES if m.relative_to(PACKAGE).parts[0] not in outer]
    assert [m for m in inner if any(name.split(".")[0] == "dagster" for name in imports(m))] == []
    assert len(inner) > 15


def test_the_methods_do_not_know_the_platform():
    rooms = ("galaxy_assets.lake", "galaxy_assets.orchestration", "galaxy_assets.definitions")
    science = [m for m in MODULES if m.relative_to(PACKAGE).parts[0] in ("science", "figures")]
    assert [(m.name, n) for m in science for n in imports(m) if n.startswith(rooms)] == []


def test_loading_the_code_location_imports_nothing_heavy():
    heavy = ["torch", "torchvision", "timm", "umap", "sklearn", "cv2", "galsim", "matplotlib", "seaborn", "numba"]
    heavy += ["scipy", "astropy", "pandas", "duckdb", "PIL", "psutil", "pyarrow.compute", "pyarrow.parquet"]
    code = (
        "import sys; from galaxy_assets.definitions import build_defs; build_defs().resolve_asset_graph(); "
        f"print([m for m in {heavy} if m in sys.modules])"
    )
    found = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"


def test_every_module_says_what_belongs_in_it():
    undocumented = [str(m.relative_to(ROOT)) for m in MODULES if not ast.get_docstring(ast.parse(m.read_text()))]
    assert undocumented == []


def test_no_room_is_a_drawer():
    drawers = {"utils", "helpers", "common", "misc", "util", "helper"}
    assert [m for m in MODULES if drawers & set(m.relative_to(PACKAGE).with_suffix("").parts)] == []


@pytest.fixture(scope="module")
def defs(tmp_path_factory) -> dg.Definitions:
    root = tmp_path_factory.mktemp("data")
    for name in SURVEYS:
        enable(name, root)
    return build_defs(root)


def test_with_no_survey_enabled_the_two_demo_surveys_are_built(tmp_path):
    keys = build_defs(tmp_path).resolve_asset_graph().get_all_asset_keys()
    assert {key.path[0] for key in keys} == {"demo_optical", "demo_radio"}


@pytest.mark.parametrize("survey", SURVEYS)
def test_every_survey_has_the_same_graph(defs, survey):
    graph = defs.resolve_asset_graph()
    nodes = {k.path[-1]: graph.get(k) for k in graph.get_all_asset_keys() if k.path[0] == survey}
    assert {
        n: sorted(p.path[-1] for p in node.parent_keys if p.path[0] == survey) for n, node in nodes.items()
    } == GRAPH


def test_the_drawing_of_the_graph_is_the_graph():
    drawing = (ROOT / "docs" / "lineage.md").read_text(encoding="utf-8")
    drawn = sorted(tuple(line.split(" --> ")) for line in map(str.strip, drawing.splitlines()) if " --> " in line)
    assert drawn == sorted((parent, child) for child, parents in GRAPH.items() for parent in parents)


def test_groups_are_the_papers_steps_in_order(defs):
    graph = defs.resolve_asset_graph()
    groups = {graph.get(key).group_name for key in graph.get_all_asset_keys()}
    assert [g.split("_", 2)[2] for g in sorted(groups)] == [
        "delivery",
        "cutouts",
        "artefacts",
        "representation",
        "evaluation",
        "structure",
        "discovery",
        "results",
        "figures",
    ]


def test_partitions_and_pools_are_as_drawn(defs):
    graph = defs.resolve_asset_graph()
    by: dict[str, list[str]] = {"batch": [], "init": [], "batch_init": []}
    gpu = []
    for key in sorted(k for k in graph.get_all_asset_keys() if k.path[0] == "gz_decals"):
        node = graph.get(key)
        match node.partitions_def:
            case dg.MultiPartitionsDefinition():
                by["batch_init"].append(key.path[-1])
            case dg.DynamicPartitionsDefinition():
                by["batch"].append(key.path[-1])
            case dg.StaticPartitionsDefinition():
                by["init"].append(key.path[-1])
        if node.pools == {"gpu"}:
            gpu.append(key.path[-1])
    assert by == PARTITIONS
    assert gpu == GPU


def test_start_weights_from_another_survey_are_lineage(defs):
    graph = defs.resolve_asset_graph()
    parents = graph.get(dg.AssetKey(["mirabest", "byol_checkpoints"])).parent_keys
    assert dg.AssetKey(["gz_decals", "byol_checkpoints"]) in parents


def test_the_location_is_valid_and_named_alike_in_both_files(defs):
    dg.Definitions.validate_loadable(defs)
    location = yaml.safe_load((ROOT / "workspace.yaml").read_text())["load_from"][0]["python_module"]
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["dg"]["project"]
    assert location["module_name"] == project["code_location_target_module"]
    assert location["location_name"] == project["code_location_name"]
