"""MiraBest: the official archive, small ones of the same form, and hostile ones."""

import io
import logging
import os
import pickle
import tarfile
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from galaxy_assets.deliveries.images import UnreadableImage
from galaxy_assets.deliveries.readers import open_reader
from galaxy_assets.deliveries.readers.catalogue import CATALOGUE_SCHEMA
from galaxy_assets.deliveries.readers.mirabest import RestrictedUnpickler, UnsafePickle
from galaxy_assets.settings.files import SurveyError
from galaxy_assets.settings.source import Source

REAL = os.environ.get("GALAXY_ASSETS_REAL_DATA")
NAMES = ["100_010.451-009.284_0.0529_0080.60.png", "200_123.251+043.797_0.1281_0034.09.png"]
PIXELS = [np.full((150, 150), 7, np.uint8), np.arange(22500, dtype=np.uint32).reshape(150, 150).astype(np.uint8)]
META = {"num_cases_per_batch": 2, "label_names": ["100", "200"], "num_vis": 22500}


def members(names=NAMES, labels=(0, 1), pixels=PIXELS) -> dict[str, bytes]:
    batch = {
        "batch_label": "training batch 1 of 1",
        "labels": list(labels),
        "data": list(pixels),
        "filenames": [np.str_(f"./MiraBest_F/PNG/Scaled_Final/{name}") for name in names],
    }
    return {"data_batch_1": pickle.dumps(batch, 3), "batches.meta": pickle.dumps(META, 3)}


def archive(path: Path, contents: dict[str, bytes], folder: str = "F_batches") -> Path:
    with tarfile.open(path, "w:gz") as tar:
        for name, content in contents.items():
            info = tarfile.TarInfo(f"{folder}/{name}")
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return path


def reader(path: Path):
    return open_reader(Source(reader="mirabest", path=path.name), path.parent)


def test_archive_folder_and_folder_with_the_archive_read_alike(tmp_path, caplog):
    packed = archive(tmp_path / "MiraBest_F_batches.tar.gz", members())
    extracted = tmp_path / "extracted"
    (extracted / "F_batches").mkdir(parents=True)
    for name, content in members().items():
        (extracted / "F_batches" / name).write_bytes(content)
    tables = [reader(path).catalogue("mirabest") for path in (packed, extracted, tmp_path)]
    assert tables[0].equals(tables[1]) and tables[0].equals(tables[2])
    assert tables[0].schema.equals(CATALOGUE_SCHEMA)
    first, second = tables[0].to_pylist()
    assert first["galaxy_id"] == "100_010.451-009.284_0.0529_0080.60"
    assert (first["file"], first["label"], first["ra"], first["dec"]) == ("data_batch_1#0", "100", 10.451, -9.284)
    assert (second["ra"], second["dec"], second["label"], second["width"]) == (123.251, 43.797, "200", 150)
    assert np.array_equal(reader(packed).image("data_batch_1#1"), PIXELS[1])
    assert "none of the published archives" in caplog.text


def test_repeated_sources_are_kept(tmp_path):
    path = archive(tmp_path / "a.tar.gz", members([NAMES[0], NAMES[0]]))
    rows = reader(path).catalogue("mirabest").to_pylist()
    assert [row["galaxy_id"] for row in rows] == [NAMES[0][:-4], f"{NAMES[0][:-4]}#2"]
    assert [row["problem"] for row in rows] == [None, "duplicate_id"]
    assert [row["file"] for row in rows] == ["data_batch_1#0", "data_batch_1#1"]


def test_the_one_delivery_is_the_archive_or_its_folder(tmp_path):
    path = archive(tmp_path / "a.tar.gz", members())
    (found,) = reader(path).deliveries()
    assert (found.name, found.kind, found.path, found.files, found.state) == ("mirabest", "tar", path.name, 2, "whole")
    assert reader(path).deliveries(3600)[0].state == "arriving" and reader(path).labelled() is None
    path.write_bytes(path.read_bytes()[:-40])
    (broken,) = reader(path).deliveries()
    assert (broken.state, broken.files) == ("held", None) and "damaged or truncated archive" in broken.reason
    assert broken.snapshot != found.snapshot
    after = reader(archive(path, members())).catalogue("mirabest", {NAMES[0][:-4]})
    assert after["galaxy_id"].to_pylist() == [f"{NAMES[0][:-4]}#2", NAMES[1][:-4]]


def test_unknown_images_and_deliveries(tmp_path):
    mirabest = reader(archive(tmp_path / "a.tar.gz", members()))
    assert mirabest.batches() == ["mirabest"] and mirabest.votes() is None
    with pytest.raises(UnreadableImage, match="data_batch_9#0"):
        mirabest.image("data_batch_9#0")
    with pytest.raises(SurveyError, match="no delivery 'F_batches'"):
        mirabest.catalogue("F_batches")


def test_nothing_there_is_one_clear_error(tmp_path):
    for path in (tmp_path, tmp_path / "gone.tar.gz"):
        with pytest.raises(SurveyError, match="no MiraBest here; expected MiraBest_F_batches.tar.gz"):
            reader(path)


@pytest.mark.parametrize(
    "contents",
    [
        members(labels=(0, 2)),  # a class that batches.meta does not name
        members(labels=(0,)),  # fewer labels than images
        members(pixels=[p.astype(np.float64) for p in PIXELS]),
        members(pixels=[np.asfortranarray(p) for p in PIXELS]),
        members(pixels=[1, 2]),
        members() | {"data_batch_1": members()["data_batch_1"][:9000]},
        members() | {"data_batch_1": b""},
        members() | {"data_batch_1": pickle.dumps([1, 2])},
        members() | {"batches.meta": pickle.dumps({})},
        {"data_batch_1": members()["data_batch_1"]},
        {"batches.meta": members()["batches.meta"]},
    ],
)
def test_damaged_archives_are_one_clear_error(tmp_path, contents):
    with pytest.raises(SurveyError, match="a.tar.gz"):
        reader(archive(tmp_path / "a.tar.gz", contents)).catalogue("mirabest")


def test_truncated_archive(tmp_path):
    noise = np.random.default_rng(0).integers(0, 256, (150, 150), dtype=np.uint8)
    path = archive(tmp_path / "a.tar.gz", members(pixels=[noise, noise]))
    path.write_bytes(path.read_bytes()[:9000])
    with pytest.raises(SurveyError, match="truncated archive"):
        reader(path).catalogue("mirabest")


class Call:
    """Pickles to a call of `function`."""

    def __init__(self, function, *arguments, state=None):
        self.reduced = (function, arguments) if state is None else (function, arguments, state)

    def __reduce__(self):
        return self.reduced


@pytest.mark.parametrize("protocol", [0, 2, 3, 4, 5])
@pytest.mark.parametrize(
    ("call", "asks_for"),
    [
        (Call(os.system, "touch hacked"), "system"),
        (Call(eval, "open('hacked', 'w')"), "eval"),
        (Call(getattr, np.ndarray, "__class__"), "getattr"),
        (Call(np.load, "hacked.npy", None, True), "load"),
        (Call(np.fromfile, "hacked"), "fromfile"),
        (Call(pickle.loads, pickle.dumps(1)), "loads"),
        (Call(Path, "hacked"), "Path"),
    ],
)
def test_hostile_pickles_are_refused_before_anything_runs(tmp_path, monkeypatch, call, asks_for, protocol):
    monkeypatch.chdir(tmp_path)
    path = archive(tmp_path / "a.tar.gz", members() | {"data_batch_1": pickle.dumps({"data": call}, protocol)})
    with pytest.raises(UnsafePickle, match=rf"data_batch_1: the pickle asks for \S*{asks_for}"):
        reader(path).catalogue("mirabest")
    assert not (tmp_path / "hacked").exists()


@pytest.mark.parametrize("name", ["ndarray.__class__", "dtype.__init_subclass__", "core.multiarray.scalar"])
def test_no_attribute_can_be_reached_through_an_admitted_name(name):
    program = b"\x80\x04" + b"\x8c\x05numpy" + b"\x8c" + bytes([len(name)]) + name.encode() + b"\x93."
    with pytest.raises(UnsafePickle, match=f"numpy.{name}"):
        RestrictedUnpickler(io.BytesIO(program)).load()


def test_arrays_of_objects_and_crafted_states_are_refused(tmp_path):
    objects = np.array([[None, None]], dtype=object)
    reconstruct, arguments, _ = PIXELS[0].__reduce__()
    longer = Call(reconstruct, *arguments, state=(1, (1 << 40, 1 << 20), np.dtype("u1"), False, b"short"))
    pointers = Call(reconstruct, *arguments, state=(1, (1, 1), np.dtype("O"), False, b"\x01" * 8))
    for array in (objects, longer, pointers):
        with pytest.raises(SurveyError):
            reader(archive(tmp_path / "a.tar.gz", members(pixels=[array, PIXELS[1]]))).catalogue("mirabest")


def test_members_outside_the_folder_of_the_batches_are_never_written(tmp_path):
    path = archive(tmp_path / "a.tar.gz", members() | {"../../data_batch_2": b"evil", "/tmp/evil": b"evil"})
    assert len(reader(path).catalogue("mirabest")) == 2
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.tar.gz"]


@pytest.mark.skipif(not REAL, reason="GALAXY_ASSETS_REAL_DATA is not set")
def test_official_archive(caplog):
    with caplog.at_level(logging.WARNING):
        table = open_reader(Source(reader="mirabest", path="mirabest"), Path(REAL)).catalogue("mirabest")
    assert not caplog.records
    count = Counter(table["label"].to_pylist())
    assert len(table) == 1256 and table["problem"].null_count == 1256
    assert count["100"] + count["102"] + count["104"] == 397 and count["200"] + count["201"] == 436
    for row in table.to_pylist():
        assert row["galaxy_id"].startswith(row["label"])
        assert 0 <= row["ra"] < 360 and -11 < row["dec"] < 65
