"""A file is whole or absent; a full disk and one that may not be written are said in words."""

import errno
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from galaxy_assets.storage import owners
from galaxy_assets.storage.files import NotWritten, new_folder, partial_name, replacing, set_aside
from galaxy_assets.storage.label_events import LabelLog
from galaxy_assets.storage.layout import Layout
from galaxy_assets.storage.pixels import PixelStore
from galaxy_assets.storage.store import FOLDER
from galaxy_assets.storage.tables import write_table
from galaxy_assets.storage.upkeep import remove_interrupted

MB = 1_000_000


def test_a_device_that_is_full_is_said_in_words_and_leaves_nothing(tmp_path):
    with pytest.raises(NotWritten, match="the disk is full") as told, replacing(tmp_path / "a.bin"):
        with Path("/dev/full").open("wb", buffering=0) as full:
            full.write(b"x")
    assert told.value.errno == errno.ENOSPC and not list(tmp_path.iterdir())


def test_another_error_stays_what_it_is(tmp_path):
    with pytest.raises(RuntimeError, match="mine"), replacing(tmp_path / "a.bin"):
        raise RuntimeError("mine")
    with pytest.raises(FileExistsError):
        (tmp_path / "there").mkdir()
        (tmp_path / "there/x").write_text("x")
        with new_folder(tmp_path / "there"):
            pass


def test_a_folder_that_is_there_and_empty_is_filled_whatever_it_is(tmp_path, monkeypatch):
    (tmp_path / "target").mkdir()
    (tmp_path / "link").symlink_to("target")
    (tmp_path / "here").mkdir()
    (tmp_path / "disk").mkdir()
    places = [Path(), tmp_path / "link"]
    if not subprocess.run(["mount", "-t", "tmpfs", "tmpfs", str(tmp_path / "disk")], capture_output=True).returncode:
        places.append(tmp_path / "disk")
    monkeypatch.chdir(tmp_path / "here")
    try:
        for place in places:
            with pytest.raises(RuntimeError, match="stopped"), new_folder(place) as partial:
                (partial / "a").write_text("half")
                raise RuntimeError("stopped")
            assert not list(place.iterdir()), "as it was"
            with new_folder(place) as partial:
                (partial / "sub").mkdir()
                for name in ("a", "sub/b"):
                    (partial / name).write_text("whole")
            assert sorted(str(p.relative_to(place)) for p in place.rglob("*")) == ["a", "sub", "sub/b"]
            with pytest.raises(FileExistsError), new_folder(place):
                pass
        assert (tmp_path / "link").is_symlink() and (tmp_path / "target/a").exists()
        assert Path.cwd().samefile(tmp_path / "here"), "the folder one is in is still that one"
    finally:
        if len(places) == 3:
            subprocess.run(["umount", "-l", str(tmp_path / "disk")], check=True)
    assert {p.name for p in tmp_path.iterdir()} == {"target", "link", "here", "disk"}


NO_PLACES = ["file/x.csv", "file/deeper/x.csv", "x" * 300, "loop/x.csv"]


@pytest.mark.parametrize(
    "opened, where",
    [(replacing, "folder"), *((opened, where) for opened in (replacing, new_folder) for where in NO_PLACES)],
)
def test_a_place_that_can_hold_no_such_file_is_named_in_words(tmp_path, where, opened):
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder/own").write_text("own")
    (tmp_path / "file").write_text("own")
    (tmp_path / "loop").symlink_to("loop")
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(NotWritten, match="is not written: .*; name another") as told:
        with opened(tmp_path / where) as partial:
            (partial / "x" if opened is new_folder else partial).write_text("new")
    assert str(tmp_path / where) in str(told.value) and sorted(tmp_path.rglob("*")) == before


def test_an_error_of_another_file_is_not_the_targets(tmp_path):
    (tmp_path / "folder").mkdir()
    with pytest.raises(IsADirectoryError), replacing(tmp_path / "a.bin"):
        (tmp_path / "folder").read_text()
    with pytest.raises(FileNotFoundError), replacing(tmp_path / "a.bin"):
        (tmp_path / "a.bin").read_text()


def test_a_library_with_words_of_its_own_on_a_full_disk(small_disk):
    (small_disk / "ballast").write_bytes(bytes(small_disk.free() - MB // 2))
    with pytest.raises(NotWritten, match="the disk is full, 0 MB are left"), replacing(small_disk / "a.bin") as partial:
        partial.write_bytes(bytes(MB // 4))
        raise RuntimeError("PytorchStreamWriter failed writing file")
    assert [path.name for path in small_disk.iterdir()] == ["ballast"]


def _white(rows):
    return np.full((len(rows), 64, 64, 3), 255, np.uint8), pa.table({"row": list(rows)})


def test_pixels_that_find_no_room_are_refused_before_the_first_and_go_on_when_there_is(small_disk):
    store, made = PixelStore(small_disk / "pixels"), []
    (ballast := small_disk / "ballast").write_bytes(bytes(small_disk.free() - 3 * MB))

    def make(rows):
        made.append(rows)
        return _white(rows)

    settings = {"n": 400, "shape": (64, 64, 3), "fingerprint": "f", "chunk": 100}
    with pytest.raises(NotWritten, match="make room and run the same again"):
        store.fill("b", make=make, **settings)
    assert made == []
    ballast.unlink()
    assert store.fill("b", make=make, **settings).num_rows == 400
    assert store.read("b").min() == 255
    (small_disk / "ballast").write_bytes(bytes(small_disk.free() - MB))
    with pytest.raises(NotWritten, match="size_096"):
        store.read("b", 96)
    assert not list((small_disk / "pixels").rglob("*.partial"))


def test_room_that_is_reserved_is_not_taken_by_another_file(small_disk):
    store = PixelStore(small_disk / "pixels")

    def make(rows):
        if rows.start == 0:  # all room that is left goes to somebody else, but for some rows of the ledger
            (small_disk / "other").write_bytes(bytes(small_disk.free() - MB // 4))
        return _white(rows)

    assert store.fill("b", n=400, shape=(64, 64, 3), fingerprint="f", make=make, chunk=100).num_rows == 400
    assert store.read("b").min() == 255


def test_a_table_on_a_disk_that_may_not_be_written(small_disk):
    log = LabelLog(small_disk / "labels")
    log.append([{"who": "a", "kind": "score", "score": 3, "galaxy_id": "g", "source": "cli"}])
    (small_disk / "labels/events/.listing.lock").unlink(missing_ok=True)
    small_disk.read_only()
    with pytest.raises(NotWritten, match="read-only.*can be read"):
        write_table(pa.table({"a": [1]}), small_disk / "t.parquet")
    with pytest.raises(NotWritten, match="read-only"):
        log.append([{"who": "a", "kind": "score", "score": 3, "galaxy_id": "g", "source": "cli"}])
    assert log.read().num_rows == 1
    assert log.compact() == 0, "who may only read merges nothing"


@pytest.mark.parametrize("number", [errno.EROFS, errno.EACCES, errno.EPERM, errno.ENOSPC])
def test_labels_are_read_and_not_merged_where_they_cannot_be_written(tmp_path, monkeypatch, number):
    log = LabelLog(tmp_path / "labels")
    for galaxy in ("g", "h"):
        log.append([{"who": "a", "kind": "score", "score": 3, "galaxy_id": galaxy, "source": "cli"}])
    whole = Path.open

    def refused(self: Path, mode: str = "r", *more, **named):
        if mode != "r" and self.is_relative_to(tmp_path):
            raise OSError(number, os.strerror(number), str(self))
        return whole(self, mode, *more, **named)

    monkeypatch.setattr(Path, "open", refused)
    assert log.compact() == 0 and log.read().num_rows == 2


def _as_on_nfs(monkeypatch) -> None:
    """A file that is removed stays in its folder under another name, as long as a process has mapped it."""

    def unlink(name: str, *, dir_fd: int | None = None) -> None:
        os.rename(name, f".nfs{name}", src_dir_fd=dir_fd, dst_dir_fd=dir_fd)

    monkeypatch.setattr("shutil.os.unlink", unlink)


@pytest.mark.parametrize("how", ["commit", "move"])
def test_a_folder_of_which_a_file_is_mapped_on_nfs_is_replaced(tmp_path, monkeypatch, how):
    layout = Layout(tmp_path)
    old, new = tmp_path / "lake/s/b", tmp_path / "lake/s/.b.building"
    for folder, content in ((old, "old"), (new, "new")):
        folder.mkdir(parents=True)
        (folder / "cutouts.npy").write_text(content)
    with monkeypatch.context() as nfs:
        _as_on_nfs(nfs)
        getattr(FOLDER, how)(new, old)
        assert [file.name for file in old.iterdir()] == ["cutouts.npy"] and not new.exists()
    assert (old / "cutouts.npy").read_text() == "new"
    (left,) = (path for path in old.parent.iterdir() if path != old)
    monkeypatch.setattr("galaxy_assets.storage.upkeep.runs", lambda name: False)  # the process that had it mapped ended
    assert remove_interrupted(layout) == [left] and list(old.parent.iterdir()) == [old]


def test_a_folder_that_cannot_be_replaced_stays(tmp_path):
    (old := tmp_path / "b").mkdir()
    (old / "cutouts.npy").write_text("old")
    with pytest.raises(FileNotFoundError):
        FOLDER.move(tmp_path / "none", old)
    assert [path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*")] == ["b", "b/cutouts.npy"]


_WRITER = """
import sys, time
from pathlib import Path
from galaxy_assets.storage.files import new_folder, replacing
with replacing(Path(sys.argv[1]) / "a.parquet") as a, new_folder(Path(sys.argv[1]) / "b") as b:
    a.write_bytes(b"half")
    (b / "c").write_bytes(b"half")
    print("writing", flush=True)
    time.sleep(60)
"""


def test_what_a_killed_process_left_is_removed_and_what_a_live_one_writes_is_not(tmp_path):
    layout = Layout(tmp_path)
    folder = tmp_path / "lake/s"
    with subprocess.Popen([sys.executable, "-c", _WRITER, str(folder)], stdout=subprocess.PIPE) as writer:
        assert writer.stdout is not None and writer.stdout.readline() == b"writing\n"
        assert remove_interrupted(layout) == []
        assert len(list(folder.iterdir())) == 2
        writer.send_signal(signal.SIGKILL)
        writer.wait()
    (other := folder / ".b.c").mkdir()
    with new_folder(folder / "b") as own, new_folder(folder / "b.c") as beside:
        assert {p.name for p in folder.iterdir() if p.is_dir()} == {own.name, beside.name, other.name}
    other.rmdir()
    assert len(remove_interrupted(layout)) == 1 and {p.name for p in folder.iterdir()} == {"b", "b.c"}


def test_what_cannot_be_seen_from_here_is_removed_when_it_is_older_than_any_run(tmp_path):
    (tmp_path / "lake").mkdir()
    elsewhere = tmp_path / "lake" / ".t.parquet.0123abcd-77-12345-0123456789ab.partial"
    other_place = tmp_path / "lake" / ".t.parquet.0123abcd89abcdef-77-12345-0123456789ab.partial"
    older_code = tmp_path / "lake" / ".t.parquet.0123456789abcdef0123456789abcdef.partial"
    download = tmp_path / "lake" / ".images.zip.partial"
    own = tmp_path / "lake" / partial_name("t.parquet")
    for path in (elsewhere, other_place, older_code, download, own):
        path.write_bytes(b"x")
    assert remove_interrupted(Layout(tmp_path)) == []
    past = time.time() - 8 * 24 * 3600
    for path in (elsewhere, other_place, older_code, download, own):
        os.utime(path, (past, past))
    assert sorted(remove_interrupted(Layout(tmp_path))) == sorted([elsewhere, other_place, older_code])
    assert download.exists() and own.exists()


def test_a_process_is_told_apart_from_a_later_one_of_its_number():
    name = owners.owner()
    assert owners.runs(name) is True
    place, number, began = name.split("-")
    assert owners.runs(f"{place}-{number}-{int(began) + 1}") is False
    assert owners.runs(f"{'0' * 24}-{number}-{began}") is None, "of another machine"
    assert owners.runs(f"{place[:8]}-{number}-{began}") is None  # of older code
    assert owners.runs("host:12:3.4") is None  # of older code
    pipes: dict[str, int] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen([sys.executable, "-c", "input()"], **pipes) as other:
        its = owners.owner(other.pid)
        assert owners.runs(its) is True and its != name
    assert owners.runs(its) is False
    with subprocess.Popen([sys.executable, "-c", "print(1, flush=True); input()"], **pipes) as zombie:
        assert zombie.stdout is not None and zombie.stdout.readline()
        its = owners.owner(zombie.pid)
        zombie.kill()
        os.waitid(os.P_PID, zombie.pid, os.WEXITED | os.WNOWAIT)  # it stays until its parent asks
        assert owners.runs(its) is False


@pytest.mark.parametrize(
    ("address", "assigned", "sure"),
    [
        ("08:00:27:12:34:56", "0", True),
        ("08:00:27:12:34:56", "3", False),  # set by a person
        ("02:fc:00:00:00:01", "0", False),  # made up by a hypervisor, the same for every machine
        (None, "0", False),
    ],
)
def test_a_process_of_before_the_machine_started_has_ended_unless_a_copy_of_the_machine_may_run_it(
    tmp_path, monkeypatch, request, address, assigned, sure
):
    def plug(address: str | None) -> str:
        for name, text in (("address", address), ("addr_assign_type", assigned)):
            if address is not None:
                (tmp_path / "eth0" / "device").mkdir(parents=True, exist_ok=True)
                (tmp_path / "eth0" / name).write_text(f"{text}\n")
        owners._hardware.cache_clear()
        return owners.owner()

    monkeypatch.setattr(owners, "_NETWORK", tmp_path)
    request.addfinalizer(owners._hardware.cache_clear)
    name = plug(address)
    place, number, began = name.split("-")
    before = f"{place[:16]}00000000-{number}-{began}"
    assert owners.runs(name) is True
    assert owners.runs(before) is (False if sure else None)
    assert owners.runs(before, shared=False) is False, "where no copy of this machine writes"
    plug("00:50:56:00:00:07")
    assert owners.runs(before) is None and owners.runs(name) is True, "of a machine that has its name"


def test_what_is_set_aside_twice_is_kept_twice(tmp_path):
    kept = []
    for text in ("one", "two"):
        (tmp_path / "a").mkdir(exist_ok=True)
        (tmp_path / "a/t.parquet").write_text(text)
        kept.append(set_aside(tmp_path / "a/t.parquet", tmp_path))
    assert [path.read_text() for path in kept] == ["one", "two"] and kept[0] != kept[1]
