"""The rules of the house, kept by tests: layering, light loading, one graph for every survey."""

import ast
import subprocess
import sys
import tomllib
from collections.abc import Iterable, Iterator
from pathlib import Path

import dagster as dg
import pytest
import yaml

from galaxy_assets.definitions import build_defs
from galaxy_assets.orchestration.graph import keys_of
from galaxy_assets.settings.files import enable, survey_files

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "galaxy_assets"
MODULES = sorted(PACKAGE.rglob("*.py"))
SURVEYS = sorted(survey_files(Path("/nonexistent")).known)

GRAPH = {
    "delivered_images": [],
    "taken_ids": ["delivered_images"],
    "catalogue": ["delivered_images", "taken_ids"],
    "volunteer_votes": [],
    "absent_images": ["catalogue"],
    "image_history": ["catalogue"],
    "cutouts": ["catalogue"],
    "artefact_evidence": ["cutouts"],
    "pretrained_features": ["cutouts"],
    "artefact_umap_model": ["artefact_evidence", "pretrained_features"],
    "artefact_map": ["artefact_evidence", "artefact_umap_model", "pretrained_features"],
    "artefact_regions": ["artefact_umap_model"],
    "clean_galaxies": ["artefact_map", "artefact_regions", "artefact_umap_model", "cutouts"],
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
    "search_spread": ["catalogue", "pca_features", "volunteer_votes"],
    "oracle_events": ["catalogue", "cutouts", "pca_features", "volunteer_votes"],
    "label_events": ["oracle_events"],
    "anomaly_model": ["label_events", "pca_features", "pca_model"],
    "anomaly_scores": ["anomaly_model", "pca_features"],
    "anomaly_ranking": ["anomaly_model", "anomaly_scores", "cutouts", "label_events", "pca_features"],
    "anomaly_recall": [
        "anomaly_model",
        "anomaly_ranking",
        "baseline_rankings",
        "catalogue",
        "search_spread",
        "umap",
        "volunteer_votes",
    ],
    "similar_galaxies": ["anomaly_ranking", "cutouts", "pca_features"],
    "encoder_comparison": ["anomaly_recall", "byol_checkpoints", "cluster_summary", "epoch_accuracy"],
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
        "search_spread",
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
    "figure_09": ["anomaly_model", "anomaly_ranking", "catalogue", "umap", "volunteer_votes"],
    "figure_08": ["anomaly_model", "anomaly_recall", "search_spread"],
    "figure_11": ["cutouts", "similar_galaxies"],
    "figure_12": ["cutouts", "similar_galaxies"],
}
FILES = {
    "delivered_images": ["delivery", "label_table"],
    "taken_ids": ["label_table"],
    "catalogue": ["delivery", "label_table"],
    "absent_images": ["vote_table"],
    "volunteer_votes": ["vote_table"],
    "pretrained_features": ["weights"],
    "artefact_regions": ["artefact_review"],
    "byol_checkpoints": ["weights"],
    "cluster_worksheet": ["cluster_review"],
    "label_events": ["label_drops"],
}
"""Files that people and pipelines edit, and who reads them."""

PARTITIONS = {
    "batch": [
        "anomaly_scores",
        "artefact_evidence",
        "artefact_map",
        "batch_drift",
        "catalogue",
        "clean_galaxies",
        "cutouts",
        "delivered_images",
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


MAY_IMPORT = {
    "plugins": "",
    "settings": "plugins",
    "science": "settings plugins",
    "figures": "settings plugins science",
    "simulation": "settings plugins science",
    "storage": "settings plugins science figures simulation",
    "deliveries": "settings plugins science figures simulation storage",
    "lake": "settings plugins science figures simulation storage deliveries",
    "web": "settings",
    "orchestration": "settings plugins science figures simulation storage deliveries lake web",
    "explorer": "settings plugins science figures simulation storage deliveries lake web",
    "cli": "settings plugins science figures simulation storage deliveries lake web orchestration explorer definitions",
    "__main__": "cli",
    "definitions": "settings plugins science figures simulation storage deliveries lake web orchestration explorer cli",
}
"""Room -> the rooms it may import, inside functions and for types too. The explorer talks to Dagster over HTTP."""

WHEN_LOADED = {"plugins"}
"""Rooms whose rule is for loading alone: the Protocols of plug-ins name the types of every room."""

ANY_ROOM = {"plugins/contracts.py"}
"""Modules that may import every room: a contract test runs the plug-in in the platform."""

MOST_LINES_OF_A_FUNCTION, MOST_LINES_OF_A_MODULE = 80, 450


def in_package(module: Path) -> str:
    return module.relative_to(PACKAGE).as_posix()


def room_of(module: Path) -> str:
    return module.relative_to(PACKAGE).with_suffix("").parts[0]


def imported(nodes: Iterable[ast.AST]) -> set[str]:
    """Dotted names that import statements among the nodes ask for; of `from a import b` both `a` and `a.b`."""
    names: set[str] = set()
    for node in nodes:
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return names


def imports(path: Path) -> set[str]:
    return imported(ast.walk(ast.parse(path.read_text(encoding="utf-8"))))


def imports_when_loaded(path: Path) -> set[str]:
    """As `imports`, without what stands in functions and under TYPE_CHECKING."""

    def loaded(node: ast.AST) -> Iterator[ast.AST]:
        yield node
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            return
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            return
        for child in ast.iter_child_nodes(node):
            yield from loaded(child)

    return imported(loaded(ast.parse(path.read_text(encoding="utf-8"))))


def rooms(names: set[str]) -> set[str]:
    """The rooms of the package among dotted names."""
    parts = [name.split(".") for name in names]
    return {p[1] for p in parts if p[0] == "galaxy_assets" and len(p) > 1 and p[1] in MAY_IMPORT}


def against_the_table() -> set[tuple[str, str]]:
    """Every import of a room by a module that may not import it."""
    found = set()
    for module in MODULES:
        room = room_of(module)
        if room == "__init__" or in_package(module) in ANY_ROOM:
            continue
        names = imports_when_loaded(module) if room in WHEN_LOADED else imports(module)
        found |= {(in_package(module), r) for r in rooms(names) - {room, *MAY_IMPORT[room].split()}}
    return found


def lines_of(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """Lines from `def` to the end, without the docstring: its parameters and examples are wanted."""
    whole = (function.end_lineno or 0) - function.lineno + 1
    first = function.body[0]
    told = ast.get_docstring(function) is not None
    return whole - ((first.end_lineno or 0) - first.lineno + 1 if told else 0)


def long_functions() -> set[tuple[str, str]]:
    return {
        (in_package(module), node.name)
        for module in MODULES
        for node in ast.walk(ast.parse(module.read_text(encoding="utf-8")))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and lines_of(node) > MOST_LINES_OF_A_FUNCTION
    }


def test_a_room_imports_only_rooms_above_it():
    assert against_the_table() == set()


def test_the_table_names_every_room_and_nothing_else():
    assert {room_of(m) for m in MODULES} - {"__init__"} == set(MAY_IMPORT)
    assert {room for allowed in MAY_IMPORT.values() for room in allowed.split()} <= set(MAY_IMPORT)


def test_nothing_stands_loose_at_the_top_but_the_script_and_the_definitions():
    assert {path.name for path in PACKAGE.glob("*.py")} == {"__init__.py", "__main__.py", "definitions.py"}


def test_the_package_does_not_import_its_tests():
    assert [in_package(m) for m in MODULES if any(n.split(".")[0] == "galaxy_assets_tests" for n in imports(m))] == []


def test_no_function_is_long():
    assert long_functions() == set()


def test_no_module_is_long():
    lines = {in_package(m): len(m.read_text(encoding="utf-8").splitlines()) for m in MODULES}
    assert {m for m, n in lines.items() if n > MOST_LINES_OF_A_MODULE} == set()


def test_only_the_outer_rooms_know_dagster():
    inner = [m for m in MODULES if room_of(m) not in {"definitions", "orchestration", "cli"}]
    assert [m for m in inner if any(name.split(".")[0] == "dagster" for name in imports(m))] == []
    assert len(inner) > 15


def test_loading_the_code_location_imports_nothing_heavy():
    heavy = ["torch", "torchvision", "timm", "umap", "sklearn", "cv2", "galsim", "matplotlib", "seaborn", "numba"]
    heavy += ["scipy", "astropy", "pandas", "duckdb", "PIL", "psutil", "pyarrow.compute", "pyarrow.parquet"]
    heavy += ["ray", "dagster_ray", "dagster_postgres", "dagster_k8s", "kubernetes", "psycopg2", "obstore"]
    heavy += ["sqlalchemy", "alembic"]
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


def parents(defs: dg.Definitions, survey: str, is_table: bool) -> dict[str, list[str]]:
    """Asset -> what it reads of its survey, tables or files."""
    graph, found = defs.resolve_asset_graph(), {}
    for key in keys_of(graph, survey):
        own = [p for p in graph.get(key).parent_keys if p.path[0] == survey]
        read = sorted(p.path[-1] for p in own if graph.get(p).is_materializable == is_table)
        if read or is_table:
            found[key.path[-1]] = read
    return found


@pytest.mark.parametrize("survey", sorted(survey_files(Path("/nonexistent")).known))
def test_every_survey_has_the_same_graph(defs, survey):
    assert parents(defs, survey, is_table=True) == GRAPH
    assert parents(defs, survey, is_table=False) == FILES


def test_the_drawing_of_the_graph_is_the_graph():
    drawing = (ROOT / "docs" / "lineage.md").read_text(encoding="utf-8")
    drawn = sorted(tuple(line.split(" --> ")) for line in map(str.strip, drawing.splitlines()) if " --> " in line)
    read = [*GRAPH.items(), *FILES.items()]
    assert drawn == sorted((parent, child) for child, parents in read for parent in parents)


def test_a_survey_is_seen_alone_by_its_groups_in_the_order_of_the_paper(defs):
    graph = defs.resolve_asset_graph()
    groups = {graph.get(k).group_name for k in graph.get_all_asset_keys() if k.path[0] == "demo_radio"}
    steps = "files delivery cutouts artefacts representation evaluation structure discovery results figures".split()
    assert sorted(groups) == [f"demo_radio_{i}_{step}" for i, step in enumerate(steps)]


def test_partitions_and_pools_are_as_drawn(defs):
    graph = defs.resolve_asset_graph()
    by: dict[str, list[str]] = {"batch": [], "init": [], "batch_init": []}
    gpu = []
    for key in sorted(keys_of(graph, "gz_decals")):
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


def test_what_a_strangers_file_says_is_escaped_at_one_place():
    """Logs through `settings.printing.logger`, lines of the terminal through `cli.terminal.say`."""
    rooms = ("deliveries", "storage", "lake", "orchestration", "explorer", "cli", "simulation")
    for module in sorted(PACKAGE.rglob("*.py")):
        text = module.read_text(encoding="utf-8")
        if room_of(module) in rooms:
            assert "logging.getLogger(__name__)" not in text, in_package(module)
        if in_package(module) not in ("cli/terminal.py", "cli/telling.py"):
            assert "typer.echo(" not in text and "click.echo(" not in text, in_package(module)
