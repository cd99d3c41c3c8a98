"""The snapshot of a delivery: of its content, read once, whatever the times of its files."""

import io
import json
import os
import shutil
import tarfile
from pathlib import Path

import pytest

from galaxy_assets.deliveries import snapshots
from galaxy_assets.deliveries.delivery import Delivery
from galaxy_assets.deliveries.drop import Deliveries
from galaxy_assets.deliveries.opening import Archives
from galaxy_assets.deliveries.readers import open_reader
from galaxy_assets.deliveries.snapshots import by_content
from galaxy_assets.settings.files import SurveyError
from galaxy_assets.settings.source import Source
from galaxy_assets.storage import files
from galaxy_assets_tests.deliveries.test_drop import KINDS, png, put_folder, put_manifest, put_zip


def look(folder, note, quiet: float = 0) -> dict[str, Delivery]:
    reader = open_reader(Source(reader="image_folder", path="survey"), folder)
    return {one.name: one for one in by_content(reader, reader.deliveries(quiet), note)}


@pytest.mark.parametrize("name", ["b1.zip", "b1.tgz", "b1.parquet"])
def test_an_archive_of_another_time_is_the_same_and_one_of_other_content_is_not(tmp_path, name):
    path, note = KINDS[name](tmp_path / "survey" / name), tmp_path / ".snapshots.json"
    seen = look(tmp_path, note)["b1"].snapshot
    os.utime(path, ns=(0, 0))
    assert look(tmp_path, note)["b1"].snapshot == seen
    path.write_bytes(path.read_bytes()[:-1] + b"!")
    assert all(one.snapshot != seen for one in look(tmp_path, note).values())


def test_a_folder_that_is_copied_is_the_same_and_what_changes_in_it_is_seen(tmp_path):
    put_folder(tmp_path / "survey/b1")
    put_folder(tmp_path / "survey", {"loose.png": png(4)})
    note = tmp_path / ".snapshots.json"
    before = look(tmp_path, note)
    shutil.copytree(tmp_path / "survey", tmp_path / "elsewhere/survey", copy_function=shutil.copyfile)
    again = look(tmp_path / "elsewhere", tmp_path / "elsewhere/.snapshots.json")
    assert {name: one.snapshot for name, one in again.items()} == {name: one.snapshot for name, one in before.items()}
    (tmp_path / "survey/b1").rename(tmp_path / "survey/b2")
    assert look(tmp_path, note)["b2"].snapshot == before["b1"].snapshot
    seen = [before["b1"].snapshot]
    for change in (
        lambda: (tmp_path / "survey/b2/a.png").write_bytes(png(11)),
        lambda: (tmp_path / "survey/b2/a.png").rename(tmp_path / "survey/b2/c.png"),
        lambda: (tmp_path / "survey/b2/c.png").unlink(),
        lambda: put_manifest(tmp_path / "survey/b2/manifest.csv", {"deep/b.png": b""}),
    ):
        change()
        found = look(tmp_path, note)
        seen.append(found["b2"].snapshot)
        assert found["images"].snapshot == before["images"].snapshot
    assert len(set(seen)) == 5


def test_a_look_reads_nothing_that_it_read_before_and_nothing_of_what_is_not_whole(tmp_path, monkeypatch):
    put_folder(tmp_path / "survey/b1")
    note, read = tmp_path / ".snapshots.json", []

    def counted(path):
        read.append(path.name)
        return files.file_sha256(path)

    monkeypatch.setattr("galaxy_assets.deliveries.snapshots._sha256", counted)
    assert look(tmp_path, note, quiet=3600)["b1"].state == "arriving" and not read
    look(tmp_path, note)
    images = sorted(read)
    assert {"a.png", "b.png"} < set(images) and "readme.txt" not in images
    look(tmp_path, note)
    assert sorted(read) == images
    note.write_text("damaged")
    look(tmp_path, note)
    assert sorted(read) == sorted(images * 2)


def test_a_look_that_is_cut_short_goes_on_where_it_was(tmp_path, monkeypatch):
    for name in ("b1", "b2", "b3"):
        put_folder(tmp_path / "survey" / name)
    note, read = tmp_path / ".snapshots.json", []
    monkeypatch.setattr(snapshots, "_KEPT", 0)

    def until_the_third(path):
        read.append(path.relative_to(tmp_path / "survey").parts[0])
        if read[-1] == "b3" and read.count("b3") == 1:
            raise KeyboardInterrupt
        return files.file_sha256(path)

    monkeypatch.setattr(snapshots, "_sha256", until_the_third)
    with pytest.raises(KeyboardInterrupt):
        look(tmp_path, note)
    assert {"b1", "b2"} < set(read)
    read[:] = ["b3"]
    look(tmp_path, note)
    assert set(read) == {"b3"}
    kept = note.read_text()
    (tmp_path / "survey/b1/a.png").write_bytes(png(11))
    look(tmp_path, note)
    assert len(json.loads(note.read_text())) == len(json.loads(kept)) == 3, "of what is there no more nothing is kept"


def test_files_that_cannot_be_read_stop_no_delivery_and_are_seen_again_once_they_can_be(tmp_path):
    folder, note = put_folder(tmp_path / "survey/b1"), tmp_path / ".snapshots.json"
    put_folder(tmp_path / "survey/b2")
    before = look(tmp_path, note)
    os.mkfifo(folder / "pipe.png")
    (folder / "gone.png").symlink_to(folder / "nothing.png")
    (tmp_path / "outside.png").write_bytes(png(3))
    (folder / "outside.png").symlink_to(tmp_path / "outside.png")
    (folder / "itself.png").symlink_to(folder / "itself.png")
    found = look(tmp_path, note)
    assert {name: one.state for name, one in found.items()} == {"b1": "whole", "b2": "whole"}
    assert found["b2"].snapshot == before["b2"].snapshot and found["b1"].snapshot != before["b1"].snapshot
    (folder / "gone.png").unlink()
    (folder / "gone.png").write_bytes(png(7))
    assert look(tmp_path, note)["b1"].snapshot not in (found["b1"].snapshot, before["b1"].snapshot)


def test_of_many_deliveries_each_is_looked_up_by_its_name_and_few_archives_stay_open(tmp_path, monkeypatch):
    (tmp_path / "survey").mkdir()
    for i in range(60):
        put_folder(tmp_path / f"survey/f{i}", {"a.png": png(i)})
        put_zip(tmp_path / f"survey/z{i}.zip", {"b.png": png(100 + i)})
    reader = open_reader(Source(reader="image_folder", path="survey"), tmp_path)
    looks, entries = [], Deliveries._entries
    monkeypatch.setattr(Deliveries, "_entries", lambda self: looks.append(1) or entries(self))
    found = by_content(reader, reader.deliveries(), tmp_path / ".snapshots.json")
    assert len(found) == 120 and len({one.snapshot for one in found}) == 120
    before = len([*Path("/proc/self/fd").iterdir()])
    listed = reader.listed_all()
    for images in listed.values():
        assert reader.image(images[0].image.file).shape == (24, 28, 3)
    assert len([*Path("/proc/self/fd").iterdir()]) - before < 50 and len(looks) < 12
    shutil.rmtree(tmp_path / "survey/f7")  # what was seen there is not there any more
    with pytest.raises(SurveyError, match="no delivery 'f7'"):
        reader.catalogue("f7")
    put_zip(tmp_path / "survey/f7.zip", {"c.png": png(300)})
    assert reader.catalogue("f7")["file"].to_pylist() == ["f7.zip!/c.png"]


def test_tars_hold_no_file_open_and_are_opened_once(tmp_path, monkeypatch):
    (tmp_path / "survey").mkdir()
    for i in range(40):
        with tarfile.open(tmp_path / f"survey/t{i}.tar", "w") as archive:
            info = tarfile.TarInfo("a.png")
            info.size = len(data := png(i))
            archive.addfile(info, io.BytesIO(data))
    archives = Archives(tmp_path / "survey", (".png",))
    opened = [archives.open(path) for path in sorted((tmp_path / "survey").iterdir())]
    assert [archives.open(path) for path in sorted((tmp_path / "survey").iterdir())] == opened
