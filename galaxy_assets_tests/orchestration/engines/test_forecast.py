"""What a main job will have to make, and how long that took before."""

import shutil

import dagster as dg
import yaml

from galaxy_assets.definitions import build_defs
from galaxy_assets.orchestration.automation.outdated import Outdated
from galaxy_assets.orchestration.course import Began, Ended, Planned, following
from galaxy_assets.orchestration.engines import in_process
from galaxy_assets.orchestration.engines.forecast import outdated_or_after, seconds_of_earlier_runs
from galaxy_assets.orchestration.graph import keys_of
from galaxy_assets.settings.files import survey_files
from galaxy_assets.storage.layout import Layout
from galaxy_assets_tests.conftest import UNTRAINED


def flagged(root) -> set[str]:
    """Tables that are outdated or read what is."""
    known, graph = survey_files(root).known, build_defs(root).resolve_asset_graph()
    rule = Outdated(graph, known["tiny"], known, Layout(root), ["first"])
    found = outdated_or_after(rule, keys_of(graph, "tiny"))
    assert len(found) == sum(len(rule.partitions(key)) for key in keys_of(graph, "tiny"))
    return {"/".join([key.path[-1], *partition]) for (key, partition), outdated in found.items() if outdated}


def test_what_follows_from_a_change_is_foreseen_and_nothing_else(untrained, tmp_path):
    root = tmp_path / "data"
    shutil.copytree(untrained, root)
    assert flagged(root) == set()
    changed = UNTRAINED | {"mixture": UNTRAINED["mixture"] | {"components": 3}}
    (root / "surveys/tiny.yaml").write_text(yaml.safe_dump(changed))
    found = flagged(root)
    assert {"cluster_model/imagenet", "cluster_labels/first/imagenet", "figure_04", "results"} <= found
    assert not {"embeddings/first/imagenet", "umap/first/imagenet", "cutouts/first", "anomaly_ranking"} & found


def test_seconds_are_those_of_the_steps_that_made_the_tables(world):
    seconds = seconds_of_earlier_runs(world.instance, "tiny")
    runs = [(o, o.partition and str(o.partition)) for o in world.outcomes if o.status == "done"]
    made = {(asset, partition) for o, partition in runs for asset in o.assets}
    assert set(seconds) == made and all(value > 0 for value in seconds.values())
    alone = {(o.assets[0], partition): o.seconds for o, partition in runs if len(o.assets) == 1}
    assert alone and all(seconds[table] <= alone[table] for table in alone)
    assert seconds_of_earlier_runs(world.instance, "another") == {}


def test_who_follows_is_told_what_is_planned_and_each_table_that_begins_and_ends(untrained, tmp_path):
    root, told = tmp_path / "data", []
    shutil.copytree(untrained, root)
    (root / "lake/tiny/figure_01.parquet").unlink()
    known, instance = survey_files(root).known, dg.DagsterInstance.ephemeral()
    with following(told.append):
        list(in_process.run_survey(build_defs(root), known["tiny"], known, instance, root))
    planned, *others = told
    assert isinstance(planned, Planned) and planned.at_once == 1
    assert [table for table, outdated in planned.tables.items() if outdated] == [("figure_01", None)]
    assert ("embeddings", "first|imagenet") in planned.tables and ("cutouts", "first") in planned.tables
    assert others[0] == Began(("figure_01", None)) and isinstance(others[1], Ended) and len(others) == 2
