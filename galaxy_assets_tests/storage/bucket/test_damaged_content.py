"""Content of a bucket that is missing, damaged, away or not sent yet: what is said, and what mends it."""

import hashlib
import os
import re
import shutil
import threading
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from typer.testing import CliRunner

from galaxy_assets.cli import app
from galaxy_assets.deliveries.label_imports import import_file
from galaxy_assets.explorer.worksheet import _rows
from galaxy_assets.settings.files import survey_files
from galaxy_assets.storage.bucket import bucket, objects
from galaxy_assets.storage.bucket.objects import BucketAway, BucketError
from galaxy_assets.storage.checkpoints import read_metadata
from galaxy_assets.storage.files import DamagedFile, replacing
from galaxy_assets.storage.label_events import LabelLog
from galaxy_assets.storage.layout import Layout
from galaxy_assets.storage.pixels import PixelStore
from galaxy_assets.storage.provenance import Origin, origin, with_origin
from galaxy_assets.storage.store import store_of
from galaxy_assets.storage.tables import read_table, write_table
from galaxy_assets.storage.versions import content_of, fingerprint
from galaxy_assets_tests.storage.bucket.test_bucket import bucket_of, cut, table


def spoil(layout: Layout, name: str, how: str) -> None:
    """Take away the objects with a text in their keys, or change a byte of each."""
    kept = bucket_of(layout)
    keys = [one.key for one in kept._objects.listed("data") if name in one.key]
    assert keys
    for key in keys:
        content = bytearray(kept._objects.get(key)[0])
        content[len(content) // 2] ^= 1
        kept._objects.delete([key])
        if how == "another":
            kept._objects.put_once(key, bytes(content))


def put_by_hand(layout: Layout) -> tuple[Path, bytes]:
    """A file that a person put there, and what it holds."""
    path, content = layout.labels("s") / "drop.csv", os.urandom(5000)
    path.parent.mkdir(parents=True)
    path.write_bytes(content)
    store_of(path).refresh()
    return path, content


def ask_check(*options: str) -> tuple[int, str]:
    said = CliRunner().invoke(app, ["check", "s", "--deep", *options])
    return said.exit_code, said.output


@pytest.mark.parametrize("how", ["gone", "another"])
def test_a_table_whose_content_is_damaged_is_named_set_aside_and_made_again(machine, how):
    here, made = machine(), with_origin(table(*range(5000)), Origin(code="7", data="d"))
    path, whole = here.table("s", "umap"), here.table("s", "other")
    write_table(made, path)
    write_table(table(1), whole)
    spoil(here, "/umap/", how)
    there = machine()
    copy = there.root / path.relative_to(here.root)
    with pytest.raises(DamagedFile) as told:
        read_table(copy)
    status, said = ask_check()
    assert status == 1 and "1 damaged or missing" in said and str(copy) in said.replace("\n", "")
    assert "check --deep --repair" in said
    named = re.search("`galaxy-assets ([^`]+)`", str(told.value))[1].split()
    repaired = CliRunner().invoke(app, named)
    assert repaired.exit_code == 0 and "the next run makes it again" in repaired.output
    assert ask_check()[0] == 0 and origin(copy) is None
    machine(here)
    assert (aside := here.lake / "s/.damaged/umap.parquet").exists() and not path.exists()
    with pytest.raises(DamagedFile):
        read_table(aside)
    machine(there)
    write_table(made, copy)
    third = machine()
    assert read_table(third.table("s", "umap"))["rank"].to_pylist() == list(range(5000))
    machine(here)
    assert read_table(path).num_rows == 5000


@pytest.mark.parametrize("how", ["gone", "another"])
def test_pixels_whose_content_is_damaged_are_named_set_aside_and_filled_again(machine, how):
    def fill(layout: Layout) -> None:
        pixels = PixelStore(layout.pixels("s"))
        pixels.fill("b", n=20, shape=(8, 8, 3), fingerprint="f", make=cut, chunk=8, columns=["row"])

    fill(machine())
    spoil(machine(), ".raw", how)
    there = machine()
    status, said = ask_check("--repair")
    assert status == 0 and "pixels/b is damaged" in said.replace("\n", "")
    kept = [one.key for one in bucket_of(there)._objects.listed("chunks")]
    bucket_of(there)._objects.delete(kept)
    fill(there)
    assert np.array_equal(PixelStore(machine().pixels("s")).read("b")[:8], cut(range(8))[0])


@pytest.mark.parametrize("mended", [b"another one" * 500, None])
def test_a_file_that_people_edit_and_whose_content_is_gone_ends_no_look_and_is_put_there_again(machine, mended):
    here = machine()
    drop, content = put_by_hand(here)
    spoil(here, "/drop/", "gone")
    there = machine()
    copy = there.root / drop.relative_to(here.root)
    assert copy.stat().st_size == 0
    store_of(copy).refresh()
    copy.write_bytes(mended or content)
    store_of(copy).refresh()
    assert copy.read_bytes() == (mended or content) and not list(copy.parent.glob(".*.mine*"))
    third = machine()
    assert (third.root / drop.relative_to(here.root)).read_bytes() == (mended or content)
    machine(here)
    assert drop.read_bytes() == (mended or content)


def test_a_file_whose_content_came_back_is_fetched_by_the_next_look(machine):
    here = machine()
    drop, content = put_by_hand(here)
    spoil(here, "/drop/", "gone")
    there = machine()
    bucket_of(here)._contents.sent("labels/s/drop.csv", drop)
    store_of(there.root).refresh()
    assert (there.root / drop.relative_to(here.root)).read_bytes() == content


@pytest.mark.parametrize("read", [read_metadata, read_table, lambda path: LabelLog(path.parent.parent).salvage(path)])
def test_a_bucket_that_is_away_is_not_told_as_a_damaged_file(machine, s3, monkeypatch, read):
    monkeypatch.setattr(objects, "_TRIES", 1)
    here = machine()
    path = here.labels("s") / "events/e.parquet"
    path.parent.mkdir(parents=True)
    with replacing(path) as partial:
        partial.write_bytes(os.urandom(5000))
    there = machine()
    copy = there.root / path.relative_to(here.root)
    s3.fault = lambda request: 403 if "/data/" in request.path else None
    with pytest.raises(BucketAway):
        read(copy)
    s3.fault = None
    monkeypatch.setenv("GALAXY_ASSETS_CACHE_LIMIT", "1 kB")
    with pytest.raises(BucketError, match="raise GALAXY_ASSETS_CACHE_LIMIT"):
        read(copy)


def test_content_that_is_sent_again_while_upkeep_looks_is_not_removed(machine, monkeypatch):
    here = machine()
    path = here.table("s", "umap")
    write_table(table(*range(1000)), path)
    first = path.read_bytes()
    write_table(table(*range(2000)), path)
    threading.Event().wait(2.5)  # an object's time is in whole seconds
    monkeypatch.setattr(bucket, "LONGEST_RUN", 1.0)
    monkeypatch.setattr(objects, "_FRESH", timedelta(0))
    mine, other = bucket_of(here), bucket_of(machine())
    look, again = mine.refresh, other.root / "again"
    again.write_bytes(first)

    def then_sent() -> None:
        look()
        other._contents.sent("lake/s/umap.parquet", again)  # which its head names in a moment

    with monkeypatch.context() as once:
        once.setattr(mine, "refresh", then_sent)
        assert mine.sweep() == []
    threading.Event().wait(2.5)
    assert len(mine.sweep()) == 1, "it was never named"


@pytest.fixture
def pieces(monkeypatch) -> None:
    """A file of 12 MB is sent in three pieces."""
    monkeypatch.setattr(objects, "_WHOLE", 1_000_000)
    monkeypatch.setattr(objects, "_PIECE", 5 * 2**20)
    monkeypatch.setattr(objects, "_TRIES", 2)


def _cut_pieces(times: int) -> Callable:
    left = [times]

    def fault(request) -> str | None:
        if request.method == "PUT" and "partNumber=2" in request.path and left[0]:
            left[0] -= 1
            return "cut"
        return None

    return fault


def test_a_large_file_whose_sending_is_cut_off_is_whole_or_not_there_and_sent_again(machine, s3, pieces):
    here = machine()
    path, content = here.weights / "large.safetensors", os.urandom(12_000_000)

    def send() -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(path) as partial:
            partial.write_bytes(content)

    def elsewhere() -> Path:
        return machine().root / path.relative_to(here.root)

    s3.fault = _cut_pieces(1_000)
    with pytest.raises(BucketError, match="no answer"):
        send()
    assert not path.exists() and not elsewhere().exists()
    machine(here)
    s3.fault = _cut_pieces(1)
    send()
    assert [r for r in s3.seen if "uploadId" in r.path and r.method == "POST"], "it was sent in pieces"
    assert elsewhere().read_bytes() == content


@pytest.mark.parametrize("how", ["gone", "another", "there"])
def test_what_a_person_puts_there_while_content_is_asked_for_stays(machine, s3, how):
    there, here = machine(), machine()
    drop, content = put_by_hand(here)
    if how != "there":
        spoil(here, "/drop/", how)
    copy = there.root / drop.relative_to(here.root)

    def put_back(request) -> None:
        if request.method == "GET" and "/data/" in request.path and not copy.exists():
            copy.parent.mkdir(parents=True, exist_ok=True)
            copy.write_bytes(b"a person's")

    s3.fault = put_back
    machine(there)
    s3.fault = None
    mine = copy if how != "there" else copy.with_name(f".{copy.name}.mine")
    assert mine.read_bytes() == b"a person's"
    assert how != "there" or copy.read_bytes() == content


def test_damaged_content_is_asked_for_again_where_the_bucket_has_another_alone_and_told_once(machine, s3, caplog):
    here = machine()
    drop, _ = put_by_hand(here)
    spoil(here, "/drop/", "another")
    there = machine()
    copy = there.root / drop.relative_to(here.root)
    s3.seen.clear()
    for _ in range(2):
        store_of(copy).refresh()
    assert [r.method for r in s3.seen if "/data/" in r.path] == ["HEAD", "HEAD"]
    assert sum("drop.csv is damaged" in record.getMessage() for record in caplog.records) == 1
    spoil(here, "/drop/", "another")
    (key,) = [one.key for one in bucket_of(here)._objects.listed("data") if "/drop/" in one.key]
    bucket_of(here)._objects.put_once(key, b"a third one")
    stands, inode = copy.stat().st_size, copy.stat().st_ino
    machine(there)
    assert stands == 0 and copy.stat().st_ino == inode, "nothing was put there again"
    assert len([r for r in caplog.records if "drop.csv is damaged" in r.getMessage()]) == 2, "once in each process"


@pytest.mark.parametrize("how", ["deleted", "folder deleted", "moved", "touched"])
def test_what_stands_for_damaged_content_is_no_word_of_a_person(machine, how):
    here = machine()
    drop, content = put_by_hand(here)
    spoil(here, "/drop/", "gone")
    there = machine()
    copy = there.root / drop.relative_to(here.root)
    if how == "deleted":
        copy.unlink()
    elif how == "folder deleted":
        shutil.rmtree(there.root / "labels")
    elif how == "moved":  # the folder of copies to another disk
        shutil.copy(copy, moved := copy.with_name("moved"))
        moved.replace(copy)
    else:
        copy.touch()
    for _ in range(2):
        store_of(copy).refresh()
        assert copy.stat().st_size == 0
    assert machine(here).root.joinpath("labels/s/drop.csv").read_bytes() == content


def missing(request) -> int | None:
    """As of a bucket that was removed, or a proxy that knows none."""
    return 404 if request.method in ("GET", "HEAD") and "list-type" not in request.path else None


def test_a_bucket_that_is_not_there_is_not_told_as_a_damaged_file(machine, s3, monkeypatch):
    monkeypatch.setattr(objects, "_TRIES", 1)
    here = machine()
    write_table(table(*range(1000)), here.table("s", "umap"))
    drop, _ = put_by_hand(here)
    there = machine()
    store_of(there.root)._copies.drop(["labels/s/drop.csv"])
    s3.fault = missing
    with pytest.raises(BucketAway, match="as if it held nothing"):
        read_table(there.table("s", "umap"))
    with pytest.raises(BucketAway, match="as if it held nothing"):
        store_of(there.root).refresh()
    assert (there.root / drop.relative_to(here.root)).stat().st_size
    s3.fault = lambda request: 404
    for request in (lambda kept: kept.put_once("data/x", b"x"), lambda kept: kept.delete(["data/x"])):
        with pytest.raises(BucketAway, match="answered 404|no answer"):
            request(bucket_of(there)._objects)
    s3.fault = None
    assert read_table(there.table("s", "umap")).num_rows == 1000


@pytest.mark.parametrize("left", [0, 2500, 6_000_000])
def test_an_object_that_was_cut_is_damaged_content(machine, s3, pieces, left):
    here = machine()
    large = here.table("s", "large")
    large.parent.mkdir(parents=True)
    with replacing(large) as partial:
        partial.write_bytes(os.urandom(12_000_000))
    write_table(table(*range(1000)), here.table("s", "umap"))
    (key,) = [one.key for one in bucket_of(here)._objects.listed("data") if "/large/" in one.key]
    content = bucket_of(here)._objects.get(key)[0]
    bucket_of(here)._objects.put_once(key, content[:left])
    there = machine()
    s3.seen.clear()
    with pytest.raises(DamagedFile):
        read_table(there.table("s", "large"))
    assert len([r for r in s3.seen if r.method == "GET" and "/data/" in r.path]) <= 3, "once each"
    assert read_table(there.table("s", "umap")).num_rows == 1000


def test_damage_is_another_content_than_absence_and_is_asked_for_again(machine):
    here = machine()
    drop, content = put_by_hand(here)
    log = LabelLog(here.labels("s"))
    log.events.mkdir()
    write_table(pa.table({"event": [os.urandom(8).hex() for _ in range(500)]}), event := log.events / "a.parquet")
    said, saved = event.read_bytes(), log.fingerprint()
    spoil(here, "/drop/", "gone")
    spoil(here, "/events/", "gone")
    there = machine()
    copy, other = there.root / drop.relative_to(here.root), LabelLog(there.labels("s"))
    assert content_of(copy) == "damaged" and content_of(copy.with_name("none.csv")) is None
    assert fingerprint([copy]) != fingerprint([copy.with_name("none.csv")])
    assert other.fingerprint() != saved
    for kept in bucket_of(here)._copies.heads():
        for part in [part for one in kept[1].files.values() for part in one.parts if part.key]:
            bucket_of(here)._objects.put_once(part.key, said if "/events/" in part.key else content)
    assert content_of(copy) == hashlib.sha256(content).hexdigest()
    assert other.fingerprint() == saved


def test_a_persons_file_whose_content_is_gone_is_told_as_damaged_by_its_readers(machine):
    here, survey = machine(), survey_files(Path("/nonexistent")).named("demo_radio")
    for path in (here.cluster_worksheet(survey.name), here.labels(survey.name) / "drop.csv"):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(os.urandom(5000))
    store_of(path).refresh()
    spoil(here, survey.name, "gone")
    there = machine()
    log = LabelLog(there.labels(survey.name))
    for read in (
        lambda: _rows(there, survey),
        lambda: import_file(log, log.folder / "drop.csv"),
    ):
        with pytest.raises(DamagedFile, match="its content is not there"):
            read()


@pytest.mark.parametrize("place", ["labels/s/drop.csv", "surveys/s.yaml", "surveys/s_clusters.csv", "weights/a.pt"])
def test_a_persons_file_whose_content_is_gone_is_named_by_check_and_ended_by_repair(machine, place):
    here = machine()
    (here.root / place).parent.mkdir(parents=True)
    (here.root / place).write_bytes(os.urandom(5000))
    write_table(table(1), here.table("s", "umap"))
    store_of(here.root).refresh()
    spoil(here, place.partition("/")[0], "gone")
    there = machine()
    status, said = ask_check()
    assert status == 1 and f"{there.root / place} is damaged" in said.replace("\n", "")
    assert ask_check("--repair")[0] == 0 and ask_check()[0] == 0
    for copies in (there, machine(), machine(here)):
        machine(copies) if copies is not here else None
        assert not (copies.root / place).exists()
    kept = here.root / place
    assert len(kept.with_name(f".{kept.name}.mine").read_bytes()) == 5000, "where it is whole it is kept"


def test_a_large_file_that_is_there_and_new_is_not_sent_again(machine, s3, pieces):
    kept, key, content = bucket_of(here := machine()), "data/weights/large/0", os.urandom(6_000_000)
    file = here.root / "large"
    file.write_bytes(content)
    sent = []
    for again in (False, False, True):
        s3.seen.clear()
        kept._objects.put_once(key, file, lambda _, again=again: again)
        sent.append(any(r.method == "POST" for r in s3.seen))
    assert sent == [True, False, True]
