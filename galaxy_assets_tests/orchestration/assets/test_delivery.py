"""The catalogue's assets: ids that two batches would share, and the history of images."""

import shutil
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path

import dagster as dg
import pyarrow as pa
import pytest

from galaxy_assets.definitions import build_defs
from galaxy_assets.lake import connect
from galaxy_assets.orchestration.assets.delivery import absent, all_gone, history
from galaxy_assets.orchestration.automation.deliveries import register
from galaxy_assets.orchestration.automation.outdated import Outdated
from galaxy_assets.orchestration.engines.in_process import run_survey
from galaxy_assets.settings.files import survey_files
from galaxy_assets.storage.layout import Layout
from galaxy_assets.storage.tables import digest, read_table
from galaxy_assets_tests.conftest import UNTRAINED, write_tiny


@pytest.fixture(scope="module")
def delivered_twice(tmp_path_factory) -> Path:
    """The tiny survey, with six images of its first delivery in the second again, and two others of their names."""
    root = tmp_path_factory.mktemp("delivered_twice")
    write_tiny(root, UNTRAINED)
    first, second = root / "raw/tiny/images/first", root / "raw/tiny/images/second"
    for i in range(6):
        shutil.copy(first / f"first_{i:02d}.png", second)
    for i in (6, 7):
        shutil.copy(second / f"second_{i:02d}.png", second / f"first_{i:02d}.png")
    return root


def of_batches(root: Path, order: list[str], at_once: bool) -> dict[str, str]:
    """Make what is made per delivery until the cutouts, and the digest of each table."""
    defs, survey = build_defs(root), survey_files(root).known["tiny"]
    job, known = defs.resolve_implicit_global_asset_job_def(), survey_files(root).known

    def make(names: list[str], batch: str | None) -> None:
        with dg.DagsterInstance.ephemeral() as instance:
            register(survey, instance, Layout(root))
            keys = [dg.AssetKey(["tiny", name]) for name in names]
            assert job.execute_in_process(asset_selection=keys, partition_key=batch, instance=instance).success

    with ThreadPoolExecutor(2 if at_once else 1) as pool:
        list(pool.map(lambda batch: make(["delivered_images"], batch), order))
        make(["taken_ids"], None)
        list(pool.map(lambda batch: make(["catalogue", "cutouts"], batch), order))
    rule = Outdated(defs.resolve_asset_graph(), survey, known, Layout(root), sorted(order))
    tables = [(name, (b,)) for b in order for name in ("delivered_images", "catalogue", "cutouts")] + [
        ("taken_ids", ())
    ]
    assert not [
        rule.why(dg.AssetKey(["tiny", name]), partition)
        for name, partition in tables
        if rule.why(dg.AssetKey(["tiny", name]), partition)
    ]
    return {str((name, *at)): digest(read_table(Layout(root).table("tiny", name, *at))) for name, at in tables}


def test_two_batches_made_at_once_or_in_any_order_have_the_same_tables(delivered_twice, tmp_path):
    made = [
        of_batches(shutil.copytree(delivered_twice, tmp_path / f"{order[0]}_{at_once}"), order, at_once)
        for order, at_once in ((["first", "second"], False), (["second", "first"], False), (["second", "first"], True))
    ]
    assert made[0] == made[1] == made[2]


def test_a_galaxy_of_two_deliveries_is_ranked_once_and_the_refused_image_is_told(delivered_twice, tmp_path):
    root = shutil.copytree(delivered_twice, tmp_path / "data")
    known, instance = survey_files(root).known, dg.DagsterInstance.ephemeral()
    outcomes = list(run_survey(build_defs(root), known["tiny"], known, instance, root))
    assert {o.status for o in outcomes} == {"done"}, [o for o in outcomes if o.error]
    with connect(root) as lake:
        ranked = [name for (name,) in lake.sql("select galaxy_id from tiny.anomaly_ranking").fetchall()]
        refused = lake.sql("select galaxy_id, reason from tiny.catalogue where problem = 'duplicate_id'").fetchall()
        cut = lake.sql("select galaxy_id from tiny.cutouts where outcome = 'duplicate_id'").fetchall()
        kept_by = lake.sql("select galaxy_id, batch, kept_by from tiny.taken_ids").fetchall()
        unlabelled = lake.sql("select galaxy_id from tiny.catalogue where label is null and problem is null").fetchall()
        several = lake.sql("select galaxy_id from tiny.absent_images where reason like 'several%'").fetchall()
    names = [f"first_{i:02d}" for i in range(8)]
    assert len(ranked) == len(set(ranked)) and {*names, "second/first_06", "second/first_07"} <= set(ranked)
    told = [(f"{name}#2", f"another image is already called {name}") for name in names[:6]]
    assert sorted(refused) == told and sorted(cut) == [(name,) for name, _ in told]
    alike = [(name, "first", "first") for name in names[6:]]  # by a name that a row of the labels has
    assert sorted(kept_by) == sorted([*alike, *((name, "second", "first") for name in names)])
    assert {name for (name,) in unlabelled} >= {*names[6:], "second/first_06", "second/first_07"}
    assert {name for (name,) in unlabelled}.isdisjoint(names[:6]) and len(several) == 2
    # the delivery that has the ids goes: the other one's images have them, and are no duplicates any more
    (root / "raw/tiny/images/first").rename(tmp_path / "gone")
    again = list(run_survey(build_defs(root), known["tiny"], known, instance, root, "refit"))
    assert {o.status for o in again} <= {"done", "fresh"}, [o for o in again if o.error]
    with connect(root) as lake:
        ids = {name for (name,) in lake.sql("select galaxy_id from tiny.anomaly_ranking").fetchall()}
    assert set(names) <= ids and not [name for name in ids if "/" in name]


def test_a_delivery_without_a_shared_id_is_left_alone_when_others_share_one(untrained, tmp_path):
    root = shutil.copytree(untrained, tmp_path / "data")
    known, instance = survey_files(root).known, dg.DagsterInstance.ephemeral()
    third = root / "raw/tiny/images/third"
    shutil.copytree(root / "later", third)
    list(run_survey(build_defs(root), known["tiny"], known, instance, root))
    (root / "later").rename(root / "raw/tiny/images/with_third")
    made = [o for o in run_survey(build_defs(root), known["tiny"], known, instance, root) if o.status == "done"]
    assert {o.partition for o in made if "catalogue" in o.assets} == {"with_third"}
    with connect(root) as lake:
        ((n,),) = lake.sql("select count(*) from tiny.catalogue where problem = 'duplicate_id'").fetchall()
    assert n == 37


def catalogue(**sha256: str | None) -> pa.Table:
    rows = [{"galaxy_id": g, "file": f"{g}.png", "sha256": sha} for g, sha in sha256.items()]
    schema = pa.schema([(name, pa.string()) for name in ("galaxy_id", "file", "sha256")])
    return pa.Table.from_pylist(rows, schema=schema)


def test_an_image_that_was_delivered_is_never_forgotten():
    days = [datetime(2026, 1, day, tzinfo=UTC) for day in (1, 2, 3, 4)]
    one = history(None, catalogue(a="A", b="B", broken=None), days[0])
    two = history(one, catalogue(a="A2", b="B"), days[1])
    three = history(two, catalogue(a="A2"), days[2])
    back = history(three, catalogue(a="A2", b="B"), days[3])
    states = [[(r["galaxy_id"], r["sha256"], r["state"]) for r in table.to_pylist()] for table in (one, two, three)]
    assert states[0] == [("a", "A", "present"), ("b", "B", "present")]
    assert states[1] == [("a", "A", "replaced"), ("a", "A2", "present"), ("b", "B", "present")]
    assert states[2] == [("a", "A", "replaced"), ("a", "A2", "present"), ("b", "B", "removed")]
    b = back.to_pylist()[-1]
    assert (b["state"], b["first_seen"], b["last_seen"]) == ("present", days[0], days[3])
    assert [row["state"] for row in all_gone(back).to_pylist()] == ["replaced", "removed", "removed"]


def test_labels_without_an_image_are_told_with_the_reason():
    labelled = pa.table({"galaxy_id": ["a", "b", "a"], "label": ["x", "y", "z"]})
    rows = {(r["galaxy_id"], r["label"]): r["reason"] for r in absent(labelled, catalogue(a="A")).to_pylist()}
    assert set(rows) == {("b", "y"), ("a", "z")}
    assert "no image" in rows["b", "y"] and "more than once" in rows["a", "z"]
