"""Sensors, ticked on an ephemeral instance, and the stages of the main job."""

import errno
import json
import os
import shutil
import socket
import threading
import time
import zipfile
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path

import dagster as dg
import pyarrow as pa
import pytest
import yaml

from galaxy_assets.definitions import build_defs
from galaxy_assets.deliveries import label_imports
from galaxy_assets.lake import connect
from galaxy_assets.orchestration.assets.delivery import history
from galaxy_assets.orchestration.automation import deliveries, sensors
from galaxy_assets.orchestration.automation.deliveries import import_labels
from galaxy_assets.orchestration.automation.lock import main_job_of
from galaxy_assets.orchestration.declaration import GPU_RUN_TAGS
from galaxy_assets.orchestration.engines import main_job
from galaxy_assets.orchestration.graph import ASSETS, declared_of, keys_of
from galaxy_assets.science.labels import standing
from galaxy_assets.settings.files import SHIPPED, edited_since, survey_files
from galaxy_assets.storage import locks
from galaxy_assets.storage.label_events import LabelLog
from galaxy_assets.storage.layout import Layout
from galaxy_assets.storage.provenance import Origin, with_origin
from galaxy_assets.storage.tables import read_table, write_table
from galaxy_assets_tests.conftest import write_tiny


@pytest.fixture
def tiny(tmp_path, monkeypatch):
    write_tiny(tmp_path)
    monkeypatch.setenv("GALAXY_ASSETS_DATA", str(tmp_path))
    return tmp_path, survey_files(tmp_path).named("tiny"), dg.DagsterInstance.ephemeral()


def tick(root, survey, instance) -> str:
    sensor = sensors.delivery_sensor(survey, survey_files(SHIPPED).known, root)
    answer = sensor(dg.build_sensor_context(instance=instance))
    said = answer.skip_reason if isinstance(answer, dg.SensorResult) else answer
    assert isinstance(said, dg.SkipReason) and said.skip_message
    return said.skip_message


def batches(instance) -> list[str]:
    return sorted(instance.get_dynamic_partitions("tiny_batch"))


def test_a_delivery_is_a_batch_once_it_is_quiet(tiny, monkeypatch):
    root, survey, instance = tiny
    monkeypatch.setattr(sensors, "QUIET", 3600)
    assert "first arriving: changed" in tick(root, survey, instance) and batches(instance) == []
    monkeypatch.setattr(sensors, "QUIET", 0)
    assert tick(root, survey, instance).startswith("2 batches, 2 of them new")
    assert batches(instance) == ["first", "second"]
    assert tick(root, survey, instance).startswith("2 batches, 0 of them new")


def test_of_twenty_deliveries_two_broken_ones_are_held_until_mended(tiny, monkeypatch):
    root, survey, instance = tiny
    monkeypatch.setattr(sensors, "QUIET", 0)
    images = root / "raw/tiny/images"
    files = sorted((images / "first").iterdir())
    for i in range(16):
        with zipfile.ZipFile(images / f"zip_{i:02d}.zip", "w") as archive:
            archive.writestr(f"z{i:02d}.png", files[i].read_bytes())
    truncated = images / "zip_16.zip"
    truncated.write_bytes((images / "zip_00.zip").read_bytes()[:-200])
    promised = images / "promised"
    promised.mkdir()
    (promised / "p1.png").write_bytes(files[0].read_bytes())
    (promised / "manifest.csv").write_text("file\np1.png\np2.png\n")
    said = tick(root, survey, instance)
    assert said.startswith("18 batches") and len(batches(instance)) == 18
    assert "zip_16 held" in said and "promised held" in said and "p2.png" in said
    ledger = {row["delivery"]: row for row in read_table(Layout(root).table("tiny", "deliveries")).to_pylist()}
    assert [d for d, row in ledger.items() if row["state"] == "held"] == ["promised", "zip_16"]
    (promised / "p2.png").write_bytes(files[1].read_bytes())
    truncated.write_bytes((images / "zip_00.zip").read_bytes())
    assert tick(root, survey, instance) == "20 batches, 2 of them new"
    after = {row["delivery"]: row for row in read_table(Layout(root).table("tiny", "deliveries")).to_pylist()}
    assert after["promised"]["first_seen"] == ledger["promised"]["first_seen"] < after["promised"]["changed"]
    assert after["first"] == ledger["first"], "what is as it was keeps its time"


def test_a_broken_change_of_a_known_delivery_leaves_what_was_made_of_it(tiny, monkeypatch):
    root, survey, instance = tiny
    monkeypatch.setattr(sensors, "QUIET", 0)
    tick(root, survey, instance)
    (root / "raw/tiny/images/first/manifest.csv").write_text("file\nnone.png\n")
    assert "first held" in tick(root, survey, instance) and batches(instance) == ["first", "second"]
    shutil.rmtree(root / "raw/tiny/images/first")
    tick(root, survey, instance)
    states = {row["delivery"]: row["state"] for row in read_table(Layout(root).table("tiny", "deliveries")).to_pylist()}
    assert batches(instance) == ["second"] and states == {"first": "gone", "second": "whole"}


def test_with_another_history_of_runs_a_delivery_that_is_held_stays_a_batch(tiny, monkeypatch):
    root, survey, instance = tiny
    monkeypatch.setattr(sensors, "QUIET", 0)
    tick(root, survey, instance)
    write_table(pa.table({"galaxy_id": ["a"]}), Layout(root).table("tiny", "catalogue", "first"))
    (root / "raw/tiny/images/first/manifest.csv").write_text("file\nnone.png\n")
    (root / "raw/tiny/images/second/manifest.csv").write_text("file\nnone.png\n")
    anew = dg.DagsterInstance.ephemeral()
    tick(root, survey, anew)
    assert batches(anew) == ["first"], "of the second nothing was made"


def test_labels_dropped_are_imported_once_and_what_was_wrong_is_kept(tiny):
    root, survey, _ = tiny
    labels = LabelLog(Layout(root).labels("tiny"))
    labels.folder.mkdir(parents=True)
    (labels.folder / "mine.csv").write_text("galaxy_id,score\nfirst_00,4\nfirst_01,9\n")
    (labels.folder / "other.csv").write_text("a,b\n1,2\n")
    import_labels(survey, Layout(root))
    assert labels.read()["galaxy_id"].to_pylist() == ["first_00"]
    assert [path.name for path in labels.folder.glob("*.csv")] == ["other.csv"], "what cannot be read stays"
    (problems,) = (labels.folder / "imported").glob("mine-*.problems.txt")
    assert "line 3" in problems.read_text() and len(list((labels.folder / "imported").glob("mine-*.csv"))) == 1


def test_labels_that_a_sensor_and_a_run_import_at_once_are_imported_once(tiny):
    root, survey, _ = tiny
    labels = LabelLog(Layout(root).labels("tiny"))
    labels.folder.mkdir(parents=True)
    for number in range(8):
        (labels.folder / f"{number}.csv").write_text(f"galaxy_id,score\nfirst_0{number},4\n")
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda _: import_labels(survey, Layout(root)), range(4)))
    assert labels.read().num_rows == 8 and len(list((labels.folder / "imported").glob("*.csv"))) == 8


def test_trainings_that_are_requested_by_themselves_may_take_a_week_and_the_rest_a_day(tiny):
    root, survey, _ = tiny
    requested = by_sensor(root, survey)
    limits = {name: tags["dagster/max_runtime"] for name, tags in requested.items()}
    own = {key.path[-1] for key in keys_of(build_defs(root).resolve_asset_graph(), "tiny")}
    assert own <= limits.keys()
    assert {name for name, limit in limits.items() if limit == str(7 * sensors.DAY)} & own == {"byol_checkpoints"}
    assert set(limits.values()) == {str(sensors.DAY), str(7 * sensors.DAY)}


def test_what_takes_a_gpu_is_requested_in_runs_that_ask_the_launcher_for_one(tiny):
    root, survey, _ = tiny
    with_gpu = {name for name, tags in by_sensor(root, survey).items() if tags.items() >= GPU_RUN_TAGS.items()}
    assert with_gpu >= {"pretrained_features", "embeddings", "epoch_accuracy", "byol_checkpoints"}
    assert with_gpu == {asset.name for asset in declared_of(survey) if asset.gpu}


def by_sensor(root, survey) -> dict[str, dict[str, str]]:
    """By asset, the tags of a run in which the automation requests it; each is requested by one sensor."""
    graph, found = build_defs(root).resolve_asset_graph(), {}
    for sensor in sensors.automation_sensors(survey):
        for key in sensor.asset_selection.resolve(graph):
            assert found.setdefault(key.path[-1], sensor.run_tags) is sensor.run_tags
    return found


def test_a_file_of_labels_that_is_still_written_is_left_for_the_next_look(tiny, monkeypatch):
    root, survey, _ = tiny
    labels = LabelLog(Layout(root).labels("tiny"))
    labels.folder.mkdir(parents=True)
    file = labels.folder / "mine.csv"
    file.write_text("galaxy_id,score\nfirst_00,4\nfirst_01,4")
    import_labels(survey, Layout(root), quiet=3600)
    assert file.exists() and not labels.read().num_rows
    read = label_imports.read_label_file

    def slowly(path, *how):
        found = read(path, *how)
        with path.open("a") as arriving:  # the rest of the row, and another
            arriving.write(".5\nfirst_02,3\n")
        return found

    with monkeypatch.context() as copying:
        copying.setattr(label_imports, "read_label_file", slowly)
        import_labels(survey, Layout(root))
    assert file.exists()
    import_labels(survey, Layout(root))
    assert not file.exists()
    said = [(row["galaxy_id"], row["score"]) for row in standing(labels.read()).to_pylist()]
    assert sorted(said) == [("first_00", 4), ("first_01", 4.5), ("first_02", 3)]


def test_a_survey_without_a_delivery_is_skipped_with_the_reason(tiny):
    root, survey, instance = tiny
    (root / "raw" / "tiny").rename(root / "raw" / "elsewhere")
    assert str(root / "raw" / "tiny") in tick(root, survey, instance)


def test_a_folder_that_is_empty_sets_nothing_aside(tiny, monkeypatch):
    """As where a disk is not mounted."""
    root, survey, instance = tiny
    monkeypatch.setattr(sensors, "QUIET", 0)
    tick(root, survey, instance)
    table = Layout(root).table("tiny", "catalogue", "first")
    write_table(pa.table({"galaxy_id": ["a"]}), table)
    (root / "raw/tiny").rename(root / "raw/elsewhere")
    (root / "raw/tiny/images").mkdir(parents=True)
    assert str(root / "raw/tiny") in tick(root, survey, instance)
    assert table.exists() and batches(instance) == ["first", "second"]
    (root / "raw/tiny/images").rmdir()
    (root / "raw/tiny").rmdir()
    (root / "raw/elsewhere").rename(root / "raw/tiny")
    assert tick(root, survey, instance).startswith("2 batches, 0 of them new")


@pytest.mark.parametrize("lost", ["history of runs", "in between", "image_history"])
def test_what_was_made_of_a_delivery_that_is_gone_is_set_aside_whatever_happened_meanwhile(tiny, monkeypatch, lost):
    root, survey, instance = tiny
    monkeypatch.setattr(sensors, "QUIET", 0)
    tick(root, survey, instance)
    layout = Layout(root)
    for asset in ("catalogue", "cutouts", "image_history"):
        for batch in ("first", "second"):
            write_table(image_history_of(["a"]), layout.table("tiny", asset, batch))
    shutil.rmtree(root / "raw/tiny/images/first")
    if lost == "history of runs":
        instance = dg.DagsterInstance.ephemeral()
    elif lost == "image_history":
        layout.table("tiny", "image_history", "first").write_bytes(b"damaged")
    else:  # killed after the first move
        made = layout.table("tiny", "cutouts", "first")
        aside = root / "lake/tiny/.withdrawn/cutouts/first.parquet"
        aside.parent.mkdir(parents=True)
        made.rename(aside)
    tick(root, survey, instance)
    assert batches(instance) == ["second"]
    left = {path.parent.name for path in (root / "lake/tiny").glob("[!.]*/first.parquet")}
    assert left == (set() if lost == "image_history" else {"image_history"})
    assert sorted(p.parent.name for p in (root / "lake/tiny/.withdrawn").rglob("*.parquet")) == ["catalogue", "cutouts"]


@pytest.mark.parametrize("ledger", ["kept", "lost"])
def test_a_delivery_that_is_away_for_a_while_loses_nothing(tiny, monkeypatch, ledger):
    root, survey, instance = tiny
    monkeypatch.setattr(sensors, "QUIET", 0)
    tick(root, survey, instance)
    table = Layout(root).table("tiny", "catalogue", "first")
    write_table(pa.table({"galaxy_id": ["a"]}), table)
    if ledger == "lost":
        Layout(root).table("tiny", "deliveries").unlink()
    (root / "raw/tiny/images/first").rename(root / "away")
    monkeypatch.setattr(sensors, "QUIET", 3600)
    tick(root, survey, instance)
    assert table.exists() and batches(instance) == ["first", "second"]
    monkeypatch.setattr(sensors, "QUIET", 1)
    time.sleep(1)
    tick(root, survey, instance)
    assert not table.exists() and batches(instance) == ["second"]
    states = {row["delivery"]: row["state"] for row in read_table(Layout(root).table("tiny", "deliveries")).to_pylist()}
    assert states["first"] == "gone"


@pytest.mark.parametrize("changed", [False, True])
def test_what_was_made_of_a_delivery_is_there_again_with_it(tiny, monkeypatch, changed):
    root, survey, instance = tiny
    monkeypatch.setattr(sensors, "QUIET", 0)
    tick(root, survey, instance)
    layout = Layout(root)
    seen = {row["delivery"]: row for row in read_table(layout.table("tiny", "deliveries")).to_pylist()}
    made_from = Origin(outside={"delivery": seen["first"]["snapshot"]})
    pixels = layout.pixels("tiny") / "first/000.npy"
    tables = [layout.table("tiny", "catalogue", "first"), layout.table("tiny", "embeddings", "first", "imagenet")]
    for table in tables:
        write_table(with_origin(pa.table({"galaxy_id": ["a"]}), made_from), table)
    pixels.parent.mkdir(parents=True)
    pixels.write_bytes(b"pixels")
    made = {path: path.read_bytes() for path in (*tables, pixels)}
    (root / "raw/tiny/images/first").rename(root / "away")
    tick(root, survey, instance)
    assert batches(instance) == ["second"] and not [path for path in made if path.exists()]
    if changed:
        (root / "away/first_00.png").write_bytes(b"another")
    shutil.copytree(root / "away", root / "raw/tiny/images/first")
    monkeypatch.setattr(sensors, "QUIET", 3600)
    assert "first arriving" in tick(root, survey, instance) and batches(instance) == ["second"]
    monkeypatch.setattr(sensors, "QUIET", 0)
    tick(root, survey, instance)
    assert batches(instance) == ["first", "second"]
    assert {path: path.read_bytes() for path in made if path.exists()} == ({} if changed else made)


def test_a_delivery_called_like_start_weights_takes_nothing_of_theirs_with_it(tiny, monkeypatch):
    root, survey, instance = tiny
    monkeypatch.setattr(sensors, "QUIET", 0)
    (root / "raw/tiny/images/first").rename(root / "raw/tiny/images/imagenet")
    tick(root, survey, instance)
    layout, places = Layout(root), {"batch": ["imagenet"], "init": ["imagenet"], "batch_init": ["imagenet", "imagenet"]}
    seen = {row["delivery"]: row for row in read_table(layout.table("tiny", "deliveries")).to_pylist()}
    made_from, of = Origin(outside={"delivery": seen["imagenet"]["snapshot"]}), {"batch": set(), "init": set()}
    for asset in ASSETS.values():
        if asset.by is not None and asset.name != "image_history":
            path = layout.table("tiny", asset.name, *places[asset.by])
            write_table(with_origin(pa.table({"galaxy_id": ["a"]}), made_from), path)
            of["init" if asset.by == "init" else "batch"].add(path)
    of["batch"].add(layout.pixels("tiny") / "imagenet/cutouts.npy")
    of["init"] |= {layout.checkpoints("tiny") / "imagenet/a/epoch_000.safetensors", layout.trials("tiny", "imagenet")}
    of["init"] |= {root / "lake/tiny/similarity/imagenet/a.safetensors", layout.worksheet_template("tiny", "imagenet")}
    for path in (path for paths in of.values() for path in paths if not path.exists()):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"made")
    (root / "raw/tiny/images/imagenet").rename(root / "away")
    tick(root, survey, instance)
    there = {path for paths in of.values() for path in paths if path.exists()}
    assert there == of["init"] and batches(instance) == ["second"]
    aside = root / "lake/tiny/.withdrawn"
    trained = aside / "byol_checkpoints/imagenet.parquet"
    trained.parent.mkdir()
    trained.write_bytes(b"of a lake that was set aside before")
    (root / "away").rename(root / "raw/tiny/images/imagenet")
    tick(root, survey, instance)
    assert all(path.exists() for path in of["batch"] | of["init"]) and trained.exists()


def test_a_tick_whose_last_one_still_reads_does_not_begin_to_read_too(tiny, monkeypatch):
    root, survey, instance = tiny
    monkeypatch.setattr(sensors, "QUIET", 0)
    monkeypatch.setattr(locks, "_GLANCE", 0.05)
    reading, read, whole = threading.Event(), threading.Event(), deliveries.by_content

    def slowly(*how):
        reading.set()
        assert read.wait(60)
        return whole(*how)

    with monkeypatch.context() as large, ThreadPoolExecutor(1) as pool:
        large.setattr(deliveries, "by_content", slowly)
        first = pool.submit(tick, root, survey, instance)
        assert reading.wait(60)
        large.setattr(deliveries, "by_content", whole)
        assert "still reads" in tick(root, survey, instance) and batches(instance) == []
        read.set()
        assert first.result().startswith("2 batches, 2 of them new")
    assert tick(root, survey, instance).startswith("2 batches, 0 of them new")


def test_two_data_folders_with_a_survey_of_one_name_delete_no_batch_of_each_other(tiny, tmp_path_factory, monkeypatch):
    root, survey, instance = tiny
    monkeypatch.setattr(sensors, "QUIET", 0)
    tick(root, survey, instance)
    beside = tmp_path_factory.mktemp("beside")
    other = shutil.copytree(root, beside / "other")
    shutil.rmtree(other / "raw/tiny/images/first")
    assert f"are those of {root}" in tick(other, survey, instance) and batches(instance) == ["first", "second"]
    (beside / "linked").symlink_to(root)
    assert tick(beside / "linked", survey, instance).startswith("2 batches, 0 of them new")
    shutil.rmtree(other)
    moved = beside / "moved"
    moved.mkdir()
    for name in ("raw", "lake", "surveys"):
        (root / name).rename(moved / name)
    assert tick(moved, survey, instance).startswith("2 batches, 0 of them new"), "a folder may be moved"


def note_claim(instance, folder: str, host: str | None) -> None:
    """Note whose the batches are, as a look from there does; older code noted no host."""
    noted = folder if host is None else json.dumps({"names": [folder], "host": host})
    instance.daemon_cursor_storage.set_cursor_values({"galaxy_assets/tiny_batch": noted})


@pytest.mark.parametrize("host", [None, "elsewhere", "here"])
@pytest.mark.parametrize("there", ["not here", "forbidden"])
def test_a_data_folder_that_cannot_be_looked_at_is_somebody_elses(tiny, tmp_path_factory, monkeypatch, host, there):
    root, survey, instance = tiny
    monkeypatch.setattr(sensors, "QUIET", 0)
    theirs = tmp_path_factory.mktemp("private") / "data"
    stat = Path.stat

    def refused(path: Path, **how):
        if there == "forbidden" and path.is_relative_to(theirs):  # an administrator may look anywhere
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))
        return stat(path, **how)

    monkeypatch.setattr(Path, "stat", refused)
    note_claim(instance, str(theirs), socket.gethostname() if host == "here" else host)
    instance.add_dynamic_partitions("tiny_batch", ["theirs"])
    said = tick(root, survey, instance)
    if there == "forbidden" or host == "elsewhere":
        assert f"are those of {theirs}" in said and (host != "elsewhere" or "on elsewhere;" in said)
        assert batches(instance) == ["theirs"]
    else:
        assert said.startswith("2 batches"), "it is gone"


def test_a_data_folder_that_was_moved_is_known_again_on_another_host(tiny, tmp_path_factory, monkeypatch):
    root, survey, instance = tiny
    monkeypatch.setattr(sensors, "QUIET", 0)
    monkeypatch.setattr(deliveries.socket, "gethostname", lambda: "login1")
    assert tick(root, survey, instance).startswith("2 batches, 2 of them new")
    moved = tmp_path_factory.mktemp("project") / "data"
    shutil.move(root, moved)
    monkeypatch.setattr(deliveries.socket, "gethostname", lambda: "login2")
    monkeypatch.setattr(deliveries, "names_of", lambda folder: [str(folder)])  # another kernel has other numbers
    for _ in range(2):
        assert tick(moved, survey, instance).startswith("2 batches, 0 of them new")


def test_what_older_code_noted_of_a_data_folder_still_holds(tiny, monkeypatch):
    root, survey, instance = tiny
    monkeypatch.setattr(sensors, "QUIET", 0)
    note_claim(instance, str(root), None)
    for _ in range(2):
        assert tick(root, survey, instance).startswith("2 batches")


def test_a_copy_of_a_data_folder_with_its_records_is_a_survey_of_its_own(tiny, tmp_path_factory, monkeypatch):
    root, survey, _ = tiny
    monkeypatch.setattr(sensors, "QUIET", 0)
    (root / ".dagster").mkdir()
    with dg.DagsterInstance.local_temp(str(root / ".dagster")) as instance:
        assert tick(root, survey, instance).startswith("2 batches, 2 of them new")
    copy = shutil.copytree(root, tmp_path_factory.mktemp("copy") / "data")
    with dg.DagsterInstance.local_temp(str(copy / ".dagster")) as instance:
        assert tick(copy, survey, instance).startswith("2 batches, 0 of them new")


def test_beside_the_main_job_a_tick_sets_nothing_aside(tiny, monkeypatch):
    root, survey, instance = tiny
    monkeypatch.setattr(sensors, "QUIET", 0)
    tick(root, survey, instance)
    table = Layout(root).table("tiny", "catalogue", "first")
    write_table(pa.table({"galaxy_id": ["a"]}), table)
    shutil.rmtree(root / "raw/tiny/images/first")
    with main_job_of("tiny", Layout(root)):
        tick(root, survey, instance)
        assert table.exists() and batches(instance) == ["first", "second"]
    tick(root, survey, instance)
    assert not table.exists() and batches(instance) == ["second"]


def image_history_of(ids: list[str]) -> pa.Table:
    sha = [galaxy.upper() for galaxy in ids]
    images = pa.table({"galaxy_id": ids, "file": [f"{galaxy}.png" for galaxy in ids], "sha256": sha})
    return history(None, images, datetime(2026, 1, 1, tzinfo=UTC))


def test_a_tick_simulates_nothing(tiny):
    root, _, instance = tiny
    assert tick(root, survey_files(root).named("demo_optical"), instance) == "made by its first run"
    assert not (root / "raw/demo_optical").exists()


def test_the_weekly_refit_is_of_the_starts_that_were_fitted(tiny, tmp_path_factory):
    root, survey, _ = tiny
    instance = dg.DagsterInstance.local_temp(str(tmp_path_factory.mktemp("dagster")))
    known = survey_files(root).known
    schedule = sensors.refit_schedule(survey, known, sensors.jobs(survey)["refit"], root)
    context = dg.build_schedule_context(instance, scheduled_execution_time=datetime(2026, 3, 1, 3, tzinfo=UTC))
    assert isinstance(schedule(context), dg.SkipReason)
    write_table(pa.table({"a": [1]}), Layout(root).table("tiny", "pca_model", "imagenet"))
    requests = schedule(context)
    assert [(r.partition_key, r.run_key) for r in requests] == [("imagenet", "2026-03-01-imagenet")]
    with main_job_of("tiny", Layout(root)):
        assert "main job is at work" in schedule(context).skip_message
    write_table(pa.table({"a": [1]}), Layout(root).table("tiny", "pca_model", "random"))
    instance.add_dynamic_partitions("tiny_batch", ["first", "second"])
    for batch, init in (("first", "imagenet"), ("first", "random"), ("second", "random")):
        write_table(pa.table({"a": [1]}), Layout(root).table("tiny", "embeddings", batch, init))
    assert [r.partition_key for r in schedule(context)] == ["random"], "of imagenet the second is not embedded yet"
    Layout(root).table("tiny", "embeddings", "first", "random").unlink()
    assert schedule(context).skip_message == "not embedded yet: first, second"
    edit(root)
    assert "was edited" in schedule(context).skip_message


def edit(root, **settings) -> None:
    path = root / "surveys/tiny.yaml"
    path.write_text(yaml.safe_dump(yaml.safe_load(path.read_text()) | ({"variance": 0.5} | settings)))


def test_a_survey_file_that_was_edited_is_named_with_the_remedy_until_it_is_as_before(tiny):
    root, survey, instance = tiny
    known, path = survey_files(root).known, root / "surveys/tiny.yaml"
    before = path.read_text()
    assert edited_since(survey, known, root) is None
    edit(root)
    assert str(path) in tick(root, survey, instance) and "reload it" in tick(root, survey, instance)
    assert batches(instance) == [], "nothing is done by settings that are no more"
    path.write_text("source: {}\n")
    assert "was edited and cannot be used" in tick(root, survey, instance)
    path.write_text(before + "# a note\n")
    assert edited_since(survey, known, root) is None
    other = root / "surveys/demo_optical.yaml"
    other.write_text("extends: demo_optical\n")
    assert edited_since(survey, known, root) is None
    other.write_text("extends: demo_optical\nmain_start_weights: random\n")
    assert str(other) in edited_since(survey, known, root), "its checkpoints are start weights"
    assert edited_since(survey.model_copy(update={"name": "a_components"}), {}, root) is not None
    component = survey.model_copy(update={"name": "a_components", "start_weights": ["random"]})
    assert edited_since(component, {}, root) is None, "no file describes it"


def test_a_successful_run_publishes_the_read_model(tiny):
    root, _, instance = tiny
    write_table(pa.table({"a": [1]}), Layout(root).table("tiny", "observed"))

    @dg.op
    def nothing(): ...

    @dg.job
    def any_job():
        nothing()

    run = any_job.execute_in_process(instance=instance)
    context = dg.build_run_status_sensor_context(
        sensor_name="read_model",
        dagster_instance=instance,
        dagster_run=run.dagster_run,
        dagster_event=run.get_run_success_event(),
    )
    sensors.read_model_sensor(root)(context)
    with connect(root) as lake:
        assert lake.sql("select a from tiny.observed").fetchall() == [(1,)]


@pytest.mark.parametrize("apart", [False, True])
def test_stages_run_each_asset_once_after_all_it_reads(tiny, apart):
    root, _, _ = tiny
    defs = build_defs(root)
    graph = defs.resolve_asset_graph()
    stages = main_job.stages(graph, "tiny", apart)
    order = [key for stage in stages for key in stage.assets]
    assert sorted(order) == sorted(keys_of(graph, "tiny"))
    for i, key in enumerate(order):
        assert {p for p in graph.get(key).parent_keys if p in order} <= set(order[:i])
    assert all(len({graph.get(key).partitions_def for key in stage.assets}) == 1 for stage in stages)
    takes_gpu = [{"gpu" in (graph.get(key).pools or ()) for key in stage.assets} for stage in stages]
    assert all(len(kinds) == 1 for kinds in takes_gpu) == apart, "no run holds a GPU without need"
