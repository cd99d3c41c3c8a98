"""The main job end to end on a small world, through the real I/O manager, read back through DuckDB."""

import itertools
import shutil
import sqlite3
import subprocess
import sys
import time
from contextlib import closing

import dagster as dg
import pyarrow as pa
import pytest
import yaml
from dagster._core.storage.tags import PARENT_RUN_ID_TAG
from sqlalchemy import create_engine
from sqlalchemy.exc import OperationalError

from galaxy_assets.definitions import build_defs
from galaxy_assets.lake import connect
from galaxy_assets.orchestration.assets import cutouts
from galaxy_assets.orchestration.automation.outdated import Outdated
from galaxy_assets.orchestration.engines import in_process, launched, stopping
from galaxy_assets.orchestration.engines.main_job import stages
from galaxy_assets.orchestration.graph import keys_of
from galaxy_assets.settings.files import survey_files
from galaxy_assets.storage.artefact_review import map_digest
from galaxy_assets.storage.checkpoints import file_sha256
from galaxy_assets.storage.layout import Layout
from galaxy_assets.storage.owners import owner
from galaxy_assets.storage.pixels import PixelStore
from galaxy_assets.storage.tables import read_table, write_table
from galaxy_assets_tests.conftest import UNTRAINED, write_tiny


def status(outcomes, asset, partition=None):
    return {o.status for o in outcomes if asset in o.assets and (partition is None or partition in str(o.partition))}


def test_missing_weights_fail_their_partition_and_no_other(world):
    failed = [o for o in world.outcomes if o.status == "failed"]
    assert [(o.assets, o.partition) for o in failed] == [(["byol_checkpoints"], "demo_optical")]
    assert "materialise demo_optical/byol_checkpoints first" in failed[0].error
    assert status(world.outcomes, "embeddings", "demo_optical") == {"skipped"}
    assert status(world.outcomes, "epoch_accuracy", "demo_optical") == {"skipped"}
    assert status(world.outcomes, "embeddings", "imagenet") == {"done"}
    assert status(world.outcomes, "results") == {"done"}


def test_every_image_ends_in_the_ledger_and_the_clean_ones_in_the_ranking(world):
    with connect(world.root) as lake:
        outcomes = dict(lake.sql("select outcome, count(*) from tiny.cutouts group by 1").fetchall())
        assert sum(outcomes.values()) == 73 and outcomes["unreadable"] == 1
        kept = lake.sql("select count(*) from tiny.clean_galaxies where kept").fetchall()[0][0]
        ranks = lake.sql("select rank from tiny.anomaly_ranking order by rank").fetchall()
        assert [rank for (rank,) in ranks] == list(range(1, kept + 1))
        rule = lake.sql("select rule from tiny.clean_galaxies where galaxy_id = 'broken'").fetchall()[0][0]
        assert rule == "unreadable"


def test_the_search_beats_a_random_order_and_its_events_are_the_oracles(world):
    with connect(world.root) as lake:
        events = lake.sql(
            "select who, score, galaxy_id, c.label from tiny.label_events join tiny.catalogue c using (galaxy_id)"
        )
        rows = events.fetchall()
        assert len(rows) == 18 and {r[0] for r in rows} == {"volunteer_oracle"}
        assert all(score == (5 if label == "pair" else 0) for _, score, _, label in rows)
        [(found, random)] = lake.sql("select found, random from tiny.anomaly_recall where rank = 12").fetchall()
        assert found > random


def test_results_hold_each_start_weight_that_ran(world):
    with connect(world.root) as lake:
        rows = dict(lake.sql("select check_id, observed from tiny.results").fetchall())
    assert rows["D1"] == 73 and rows["A5"] == 18
    assert {"E7:imagenet", "E7:random", "B5:imagenet", "B5:random:epoch", "C8:random"} <= rows.keys()
    assert all(value is None for check, value in rows.items() if "demo_optical" in check)


def test_the_paper_is_checked_in_the_interface(world):
    key = dg.AssetKey(["tiny", "results"])
    metadata = world.instance.get_latest_materialization_event(key).asset_materialization.metadata
    rows = metadata["dagster/row_count"].value
    assert metadata["not applicable to this survey"].value == rows
    assert metadata["differs"].value == metadata["not observed"].value == 0
    assert len(metadata["table"].value.splitlines()) == rows + 2


def test_epoch_accuracy_has_every_epoch_and_the_baselines(world):
    with connect(world.root) as lake:
        rows = lake.sql(
            "select features, epoch, count(*) from tiny.epoch_accuracy where init = 'imagenet' group by 1, 2"
        ).fetchall()
        epoch_0 = lake.sql(
            "select features, avg(accuracy) from tiny.epoch_accuracy where init = 'imagenet' and epoch = 0 group by 1"
        )
        means = dict(epoch_0.fetchall())
    assert {(f, e): n for f, e, n in rows} == {
        **{("byol", e): 5 for e in (0, 1, 2)},
        ("pixels", 0): 5,
        ("untrained", 0): 5,
        ("pretrained", 0): 5,
    }
    assert means["byol"] == means["pretrained"], "epoch 0 of the ImageNet start is the ImageNet network, untouched"


def test_every_asset_says_how_many_rows_and_what_columns_it_has(world):
    graph = world.defs.resolve_asset_graph()
    for key in keys_of(graph, "tiny"):
        event = world.instance.get_latest_materialization_event(key)
        metadata = event.asset_materialization.metadata
        assert metadata["dagster/row_count"].value >= 0
        assert metadata["dagster/column_schema"].value.columns
        preview = metadata.get("preview")
        assert preview is None or len(preview.value) < 50_000


DRAWN = [f"figure_{n:02d}" for n in (1, 2, 3, 8, 9, 10, 11, 12, 13, 14, 15)]
PICTURED = [
    *DRAWN,
    "byol_checkpoints",
    "class_membership",
    "cluster_gallery",
    "cluster_summary",
    "cutouts",
    "epoch_accuracy",
    "evaluation_subset",
    "oracle_events",
    "pca_model",
    "similar_galaxies",
    "training_candidates",
]


@pytest.mark.parametrize("name", PICTURED)
def test_assets_with_a_picture_show_it(world, name):
    event = world.instance.get_latest_materialization_event(dg.AssetKey(["tiny", name]))
    assert event.asset_materialization.metadata["preview"].value.startswith("![")


def test_a_second_run_finds_everything_up_to_date(world):
    again = list(
        in_process.run_survey(world.defs, world.survey, survey_files(world.root).known, world.instance, world.root)
    )
    assert {o.status for o in again} == {"fresh", "failed", "skipped"}
    assert {o.partition for o in again if o.status == "failed"} == {"demo_optical"}, "its weights are missing"


@pytest.fixture
def small(untrained, tmp_path):
    """A world of its own for tests that change it, with one start and no training: run with the first delivery, and the
    second is there."""
    root = shutil.copytree(untrained, tmp_path / "data")
    (root / "later").rename(root / "raw/tiny/images/second")
    return root, dg.DagsterInstance.ephemeral()


@pytest.fixture(scope="module")
def both(untrained, tmp_path_factory):
    """That world, run with both deliveries; tests copy it."""
    root = shutil.copytree(untrained, tmp_path_factory.mktemp("both") / "data")
    (root / "later").rename(root / "raw/tiny/images/second")
    assert {o.status for o in run(root, dg.DagsterInstance.ephemeral())} == {"done", "fresh"}
    return root


@pytest.fixture
def whole(both, tmp_path):
    """A world of its own for tests that change it, run with both deliveries."""
    return shutil.copytree(both, tmp_path / "data"), dg.DagsterInstance.ephemeral()


def run(root, instance):
    known = survey_files(root).known
    return list(in_process.run_survey(build_defs(root), known["tiny"], known, instance, root))


def made(outcomes) -> set[str]:
    """Assets that were run."""
    return {a for o in outcomes if o.status == "done" for a in o.assets}


def test_what_changed_is_run_again_and_nothing_else(whole):
    root, instance = whole
    assert {o.status for o in run(root, instance)} == {"fresh"}
    Layout(root).table("tiny", "similar_galaxies").unlink()
    assert made(run(root, instance)) == {"similar_galaxies"}
    path = root / "surveys" / "tiny.yaml"
    path.write_text(path.read_text().replace("components: 4", "components: 3"))
    assert made(run(root, instance)) == {
        "cluster_model",
        "cluster_labels",
        "batch_drift",
        "cluster_gallery",
        "cluster_worksheet",
        "cluster_summary",
        "class_membership",
        "training_candidates",
        "vote_fractions",
        "encoder_comparison",
        "results",
        *("figure_04", "figure_05", "figure_06", "figure_07", "figure_15", "table_1", "table_2"),
    }


def test_a_new_delivery_does_not_cut_the_old_one_again(whole):
    root, instance = whole
    images = root / "raw" / "tiny" / "images"
    (images / "third").mkdir()
    for path in sorted((images / "first").iterdir())[:8]:
        (images / "third" / f"new_{path.name}").write_bytes(path.read_bytes())
    outcomes = run(root, instance)
    assert status(outcomes, "cutouts", "first") == status(outcomes, "pretrained_features", "second") == {"fresh"}
    assert status(outcomes, "cutouts", "third") == {"done"}
    with connect(root) as lake:
        ranked = lake.sql("select count(*) from tiny.anomaly_ranking where batch = 'third'").fetchall()[0][0]
    assert ranked == 8


def test_an_image_added_to_a_known_delivery_is_seen_by_content(whole):
    root, instance = whole
    images = root / "raw" / "tiny" / "images"
    (images / "first" / "added.png").write_bytes((images / "first" / "first_00.png").read_bytes())
    outcomes = run(root, instance)
    assert status(outcomes, "cutouts", "first") == {"done"} and status(outcomes, "cutouts", "second") == {"fresh"}
    with connect(root) as lake:
        assert lake.sql("select count(*) from tiny.anomaly_ranking where galaxy_id = 'added'").fetchall() == [(1,)]


def test_a_renamed_delivery_is_not_counted_twice(whole):
    root, instance = whole
    (root / "raw/tiny/images/second").rename(root / "raw/tiny/images/renamed")
    run(root, instance)
    with connect(root) as lake:
        batches = lake.sql("select batch, count(*) from tiny.cutouts group by 1 order by 1").fetchall()
        assert batches == [("first", 36), ("renamed", 37)]
        assert lake.sql("select count(*), count(distinct galaxy_id) from tiny.anomaly_ranking").fetchall() == [(72, 72)]


def test_pixels_without_their_ledger_are_not_read(whole):
    root, instance = whole
    images = root / "raw/tiny/images/first"
    (images / "added.png").write_bytes((images / "first_00.png").read_bytes())
    ledger = Layout(root).table("tiny", "cutouts", "first")
    old = ledger.read_bytes()
    run(root, instance)
    ledger.write_bytes(old)
    Layout(root).table("tiny", "embeddings", "first", "imagenet").unlink()
    with pytest.raises(FileNotFoundError, match="newer than the table `cutouts`"):
        PixelStore(Layout(root).pixels("tiny")).of(read_table(ledger))


def test_a_corrected_label_cuts_and_trains_nothing(whole):
    root, instance = whole
    labels = root / "raw/tiny/labels.csv"
    labels.write_text(labels.read_text().replace("first_00,round", "first_00,pair"))
    again = made(run(root, instance))
    assert {"evaluation_subset", "anomaly_recall"} <= again
    assert not {"oracle_events", "pretrained_features", "byol_checkpoints", "embeddings", "cluster_model"} & again


def test_a_checkpoint_that_is_not_its_ledgers_is_refused(whole):
    root, instance = whole
    ledger = read_table(Layout(root).table("tiny", "byol_checkpoints", "imagenet"))
    row = ledger.to_pylist()[0]
    weights = root / row["path"]
    weights.write_bytes(weights.read_bytes() + b" ")
    Layout(root).table("tiny", "embeddings", "first", "imagenet").unlink()
    failed = [o for o in run(root, instance) if o.status == "failed"]
    assert failed[0].assets == ["embeddings"] and "not the checkpoint its ledger records" in failed[0].error
    # the remedy the error names
    Layout(root).table("tiny", "byol_checkpoints", "imagenet").unlink()
    assert {o.status for o in run(root, instance)} <= {"done", "fresh"}
    again = read_table(Layout(root).table("tiny", "byol_checkpoints", "imagenet")).to_pylist()[0]
    assert file_sha256(root / again["path"]) == again["sha256"]


def clean(root) -> pa.Table:
    files = sorted((Layout(root).lake / "tiny" / "clean_galaxies").glob("*.parquet"))
    return pa.concat_tables([read_table(file) for file in files])


def test_a_persons_review_replaces_the_proposed_regions(whole):
    root, instance = whole
    before = clean(root)
    points = read_table(Layout(root).table("tiny", "artefact_umap_model"))
    x, y = points["x"][0].as_py(), points["y"][0].as_py()
    drawn_on = map_digest(points)
    header, box = "x0,y0,x1,y1,status,map", f"{x - 0.01},{y - 0.01},{x + 0.01},{y + 0.01},accepted"
    Layout(root).artefact_review("tiny").write_text(f"{header}\n{box},another\n")
    refused = [o.error for o in run(root, instance) if o.status == "failed"]
    assert "drawn on map another" in refused[0]
    Layout(root).artefact_review("tiny").write_text(f"{header}\n{box},{drawn_on}\n")
    run(root, instance)
    after = clean(root)
    removed = after.filter(after["rule"].is_valid())
    assert points["galaxy_id"][0].as_py() in removed["galaxy_id"].to_pylist()
    assert removed.num_rows < before.num_rows / 2


def test_an_unlabelled_survey_is_ranked_without_scores(tmp_path):
    from galaxy_assets_tests.conftest import TINY

    settings = TINY | {"start_weights": ["imagenet"], "recipe": TINY["recipe"] | {"epochs": 0}}
    settings |= {"source": {"reader": "image_folder", "path": "tiny"}, "evaluation": {}, "anomaly": {}}
    write_tiny(tmp_path, settings)
    outcomes = run(tmp_path, dg.DagsterInstance.ephemeral())
    assert {o.status for o in outcomes} == {"done"}, [o for o in outcomes if o.error]
    with connect(tmp_path) as lake:
        rows = lake.sql("select rank, score, score_std from tiny.anomaly_ranking order by rank").fetchall()
    assert [r[0] for r in rows] == list(range(1, len(rows) + 1)) and all(r[2] is None for r in rows)
    assert rows[0][1] > rows[-1][1]


def test_a_batch_that_is_gone_from_dagsters_records_fails_in_words_and_the_rest_goes_on(small):
    root, instance = small
    known = survey_files(root).known
    told = in_process.run_survey(build_defs(root), known["tiny"], known, instance, root)
    outcomes = [next(told)]
    instance.delete_dynamic_partition("tiny_batch", "second")
    outcomes += told
    failed = [o for o in outcomes if o.status == "failed"]
    assert {str(o.partition) for o in failed} == {"second"} and "renamed or removed meanwhile" in failed[0].error
    assert status(outcomes, "volunteer_votes") == {"fresh"}
    assert {o.status for o in run(root, instance)} == {"done", "fresh"}


def test_the_read_model_is_published_at_the_end(whole):
    root, instance = whole
    write_table(pa.table({"a": pa.array([], pa.int64())}), Layout(root).table("other", "observed"))
    run(root, instance)
    with connect(root) as lake:
        assert lake.sql("select count(*) from other.observed").fetchall() == [(0,)]


def test_an_interrupt_stops_the_job_and_the_next_call_goes_on(small, monkeypatch):
    root, instance = small

    def interrupted(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as stopped:
        stopped.setattr(cutouts, "cut", interrupted)
        with pytest.raises(KeyboardInterrupt):
            run(root, instance)
    outcomes = run(root, instance)
    assert status(outcomes, "cutouts", "second") == status(outcomes, "results") == {"done"}


def test_a_killed_run_gives_its_pools_slot_back(tmp_path):
    configured = {"concurrency": {"pools": {"granularity": "op", "default_limit": 1}}}
    with dg.DagsterInstance.local_temp(str(tmp_path), overrides=configured) as instance:
        killed = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
        tags = {stopping.PROCESS: owner(killed.pid)}
        run = instance.create_run_for_job(simple_job, tags=tags, status=dg.DagsterRunStatus.STARTED)
        storage = instance.event_log_storage
        storage.initialize_concurrency_limit_to_default("gpu")
        assert storage.claim_concurrency_slot("gpu", run.run_id, "step").is_claimed
        stopping.end_left(instance, "tiny", tmp_path)
        assert instance.get_run_by_id(run.run_id).status == dg.DagsterRunStatus.STARTED, "its process lives"
        killed.kill()
        killed.wait()
        stopping.end_left(instance, "tiny", tmp_path)
        assert instance.get_run_by_id(run.run_id).status == dg.DagsterRunStatus.FAILURE
        assert not storage.get_concurrency_info("gpu").claimed_slots


OF_ELSEWHERE = "0123456789abcdef-12-345"
"""A process that cannot be seen from here, such as one of a container before it was started again."""
AGAIN = {PARENT_RUN_ID_TAG: "1b4f"}
"""What Dagster's pages add to the tags of a run that a person starts once more."""


@pytest.mark.parametrize(
    ("tags", "of_all", "left"),
    [
        ({"survey": "tiny", stopping.PROCESS: OF_ELSEWHERE}, True, True),
        ({"survey": "tiny", stopping.PROCESS: OF_ELSEWHERE}, False, False),
        ({"survey": "tiny", stopping.PROCESS: OF_ELSEWHERE, stopping.DATA_FOLDER: "/other"}, True, False),
        ({"survey": "other", stopping.PROCESS: OF_ELSEWHERE}, True, False),
        ({"survey": "tiny", stopping.PROCESS: "own"}, False, True),
        ({"survey": "tiny", stopping.PROCESS: OF_ELSEWHERE, **stopping.LAUNCHED}, True, True),
        ({"survey": "tiny", stopping.PROCESS: OF_ELSEWHERE, **stopping.LAUNCHED}, False, False),
        (
            {"survey": "tiny", stopping.PROCESS: OF_ELSEWHERE, stopping.DATA_FOLDER: "/other", **stopping.LAUNCHED},
            True,
            False,
        ),
        ({"survey": "tiny"}, True, True),
        ({}, True, False),
        ({"survey": "tiny", stopping.PROCESS: OF_ELSEWHERE, **AGAIN}, True, False),
        ({"survey": "tiny", stopping.PROCESS: "own", **stopping.LAUNCHED, **AGAIN}, True, False),
        ({"survey": "tiny", stopping.PROCESS: "own", **stopping.LAUNCHED}, True, True),
    ],
)
def test_who_holds_a_surveys_lock_ends_its_runs_wherever_the_lock_is_seen(tmp_path, monkeypatch, tags, of_all, left):
    monkeypatch.setattr(stopping, "holds_here_alone", lambda _: None if of_all else "a mount without locks")
    with dg.DagsterInstance.ephemeral() as instance:
        told = {stopping.DATA_FOLDER: str(tmp_path)} | tags
        told = {name: owner() if value == "own" else value for name, value in told.items()}
        run = instance.create_run_for_job(simple_job, tags=told, status=dg.DagsterRunStatus.STARTED)
        stopping.end_left(instance, "tiny", tmp_path)
        assert instance.get_run_by_id(run.run_id).is_finished == left


def test_a_database_that_starts_anew_is_waited_for_and_one_that_stays_away_is_named(monkeypatch):
    monkeypatch.setattr(stopping, "_LOOK", 0.01)
    left = [3]

    def ask() -> str:
        if left[0]:
            left[0] -= 1
            raise OperationalError("select", {}, Exception("the database system is shutting down"))
        return "there"

    assert stopping.patiently(ask) == "there"
    monkeypatch.setattr(stopping, "SILENT", 0.05)
    left[0] = 10**9
    with pytest.raises(stopping.NoRecords, match="did not answer.*start it and run the same again"):
        stopping.patiently(ask)
    with pytest.raises(ZeroDivisionError):
        stopping.patiently(lambda: 1 / 0)


@pytest.mark.parametrize("waits", [True, False])
def test_a_file_of_sqlite_is_waited_for_where_another_holds_it_and_not_where_it_may_not_be_written(
    tmp_path, monkeypatch, waits
):
    monkeypatch.setattr(stopping, "_LOOK", 0.01)
    monkeypatch.setattr(stopping, "SILENT", 0.05)
    path = tmp_path / "runs.db"
    with sqlite3.connect(path) as other:
        other.execute("create table runs (id)")
    uri = f"file:{path}" if waits else f"file:{path}?mode=ro"
    engine = create_engine("sqlite://", creator=lambda: sqlite3.connect(uri, timeout=0.01, uri=True))

    def write() -> None:
        with engine.begin() as connection:
            connection.exec_driver_sql("insert into runs values (1)")

    with closing(sqlite3.connect(path)) as other:
        if waits:
            other.execute("begin exclusive")
        with pytest.raises(stopping.NoRecords if waits else OperationalError, match=None if waits else "readonly"):
            stopping.patiently(write)


def test_runs_that_were_launched_are_told_although_the_database_starts_anew(tmp_path, monkeypatch):
    monkeypatch.setattr(stopping, "_LOOK", 0.01)
    with dg.DagsterInstance.local_temp(str(tmp_path)) as instance:
        runs = launched.Launched(simple_job, instance, server=None, at_once=2)
        for _ in range(2):
            run = instance.create_run_for_job(simple_job, status=dg.DagsterRunStatus.SUCCESS)
            runs._under_way[run.run_id] = launched._UnderWay(None, 0.0, asked=time.monotonic())
        begun, number = set(runs._under_way), itertools.count()
        for name in ("get_run_by_id", "all_logs", "get_records_for_run"):
            whole = getattr(instance, name)

            def broken(*how, whole=whole, **named):
                if next(number) % 5 == 3:
                    raise OperationalError("select", {}, Exception("terminating connection"))
                return whole(*how, **named)

            monkeypatch.setattr(instance, name, broken)
        ended = dict(runs.ended())
        while len(ended) < 2:
            ended |= runs.ended()
    assert set(ended) == begun and not runs._under_way


def test_every_run_of_a_main_job_says_whose_it_is(whole):
    root, instance = whole
    Layout(root).table("tiny", "similar_galaxies").unlink()
    run(root, instance)
    told = instance.get_runs()[0].tags
    assert told[stopping.DATA_FOLDER] == str(root) and told[stopping.PROCESS] == owner() and told["survey"] == "tiny"


def test_a_main_job_looks_once_for_each_stage_and_once_after_each_run(small, monkeypatch):
    root, instance = small
    looks, look = [], Outdated.__post_init__
    monkeypatch.setattr(Outdated, "__post_init__", lambda rule: (looks.append(rule), look(rule))[1])
    outcomes = run(root, instance)
    graph = build_defs(root).resolve_asset_graph()
    assert {o.status for o in outcomes} <= {"done", "fresh"}
    assert len(looks) <= len(stages(graph, "tiny")) + len(instance.get_runs())


@dg.job
def simple_job(): ...


def test_a_second_main_job_of_a_survey_is_told_in_words_and_the_next_survey_runs(tmp_path, monkeypatch, capsys):
    from galaxy_assets.cli.run import _materialise
    from galaxy_assets.orchestration.automation.lock import main_job_of

    write_tiny(tmp_path)
    monkeypatch.setenv("GALAXY_ASSETS_DATA", str(tmp_path))
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path / "home"))
    with main_job_of("tiny", Layout(tmp_path)):
        assert _materialise([survey_files(tmp_path).named("tiny")], None, in_process.run_survey) == (1, {})
    assert "another main job of it is at work" in capsys.readouterr().out


def write_settings(root, **changed) -> None:
    (root / "surveys/tiny.yaml").write_text(yaml.safe_dump(UNTRAINED | changed))


def test_a_start_that_cannot_be_made_anew_keeps_its_tables_and_results_say_of_which_recipe(tmp_path):
    write_tiny(tmp_path)
    write_settings(tmp_path, start_weights=["imagenet"])
    instance, layout = dg.DagsterInstance.ephemeral(), Layout(tmp_path)
    run(tmp_path, instance)
    theirs = layout.table("demo_optical", "byol_checkpoints", "imagenet")
    write_table(read_table(layout.table("tiny", "byol_checkpoints", "imagenet")), theirs)
    write_settings(tmp_path, start_weights=["imagenet", "demo_optical"])
    assert {o.status for o in run(tmp_path, instance)} <= {"done", "fresh"}
    made = sorted(layout.lake.glob("tiny/**/demo_optical.parquet"))
    before = {path: path.read_bytes() for path in made}
    assert len(before) > 10
    recipe = UNTRAINED["recipe"] | {"projection_size": 8}
    write_settings(tmp_path, start_weights=["imagenet", "demo_optical"], recipe=recipe)
    theirs.unlink()
    failed = [o for o in run(tmp_path, instance) if o.status == "failed"]
    assert [o.partition for o in failed] == ["demo_optical"]
    assert {path: path.read_bytes() for path in made} == before
    known = survey_files(tmp_path).known
    graph = build_defs(tmp_path).resolve_asset_graph()
    rule = Outdated(graph, known["tiny"], known, layout, ["first", "second"])
    assert rule.why(dg.AssetKey(["tiny", "byol_checkpoints"]), ("demo_optical",)) == "code or settings changed"
    notes = {r["check_id"]: r["note"] for r in read_table(layout.table("tiny", "results")).to_pylist()}
    of_start = [note for check, note in notes.items() if check.endswith(":demo_optical") and check.startswith("C8")]
    assert of_start and all("of an earlier recipe (" in note for note in of_start)
    assert not any("earlier recipe" in note for check, note in notes.items() if "demo_optical" not in check)


def test_an_emptied_clean_set_blocks_what_follows_with_the_numbers_and_the_remedy(tmp_path):
    write_tiny(tmp_path)
    write_settings(tmp_path, artefacts={"blank_fraction": 0.0, "most_removed": 1})
    instance = dg.DagsterInstance.ephemeral()
    outcomes = run(tmp_path, instance)
    blocked = [o for o in outcomes if o.status == "blocked"]
    assert blocked and "byol_checkpoints" in blocked[0].assets
    assert "0 of 73 images are left, and at least 1 are needed" in blocked[0].error and "blank 72" in blocked[0].error
    assert "`artefacts` in data/surveys/tiny.yaml" in blocked[0].error
    assert {"failed"} & {o.status for o in outcomes} == set()
    assert not Layout(tmp_path).table("tiny", "byol_checkpoints", "imagenet").exists()
    key = dg.AssetCheckKey(dg.AssetKey(["tiny", "clean_galaxies"]), "enough_left")
    (record,) = instance.event_log_storage.get_asset_check_execution_history(key, limit=1)
    evaluation = record.event.dagster_event.asset_check_evaluation_data
    assert not evaluation.passed and evaluation.blocking
    # the remedy the words name
    write_settings(tmp_path)
    assert {o.status for o in run(tmp_path, instance)} <= {"done", "fresh"}
