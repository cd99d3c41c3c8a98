"""Footers that are kept together say what the tables are now, whatever was copied, replaced or damaged."""

import os
import shutil
from pathlib import Path

import pyarrow as pa
import pytest

from galaxy_assets.storage import footers as module
from galaxy_assets.storage.files import DamagedFile
from galaxy_assets.storage.footers import Footers
from galaxy_assets.storage.layout import Layout
from galaxy_assets.storage.provenance import Version, made_by, origin, with_origin
from galaxy_assets.storage.tables import write_table

TABLES = [("a", ()), ("b", ("b1",)), ("c", ("b1", "imagenet"))]


def write(layout: Layout, data: str) -> None:
    for asset, partition in TABLES:
        made = made_by("1", {"a": {"b1": Version("d", "m")}}, {}, f"{data} {asset}")
        write_table(with_origin(pa.table({"x": [1]}), made), layout.table("s", asset, *partition))


@pytest.fixture
def layout(tmp_path) -> Layout:
    write(Layout(tmp_path / "data"), "one")
    return Layout(tmp_path / "data")


def footers(layout: Layout) -> Footers:
    return Footers(layout.lake / "s")


def kept(layout: Layout) -> Path:
    return layout.lake / "s/.footers.parquet"


def asked(found: Footers) -> list:
    return [found.origin(asset, partition) for asset, partition in TABLES]


def test_kept_footers_are_those_of_the_files(layout, monkeypatch):
    expected = [origin(layout.table("s", asset, *partition)) for asset, partition in TABLES]
    before = footers(layout)
    assert asked(before) == expected and None not in expected
    before.keep()
    assert not kept(layout).exists(), "a few are not worth a file"
    before.keep(1)
    monkeypatch.setattr("galaxy_assets.storage.footers.footer", lambda path: pytest.fail(f"{path} is read again"))
    assert asked(before) == asked(footers(layout)) == expected


@pytest.mark.parametrize("same_time", [False, True])
def test_a_table_that_was_replaced_is_read_again(layout, same_time):
    found = footers(layout)
    asked(found)
    found.keep(1)
    times = [(path, path.stat()) for path in layout.lake.rglob("[!.]*.parquet")]
    write(layout, "two")  # as many bytes as before
    for path, status in times if same_time else ():
        os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    for who in (found, footers(layout)):
        assert [made.data for made in asked(who)] == ["two a", "two b", "two c"]


def test_a_copy_with_the_times_of_other_tables_is_read_again(layout, tmp_path):
    asked(found := footers(layout))
    found.keep(1)
    other = Layout(tmp_path / "other")
    write(other, "two")
    for asset, partition in TABLES:
        ours, theirs = layout.table("s", asset, *partition), other.table("s", asset, *partition)
        times = ours.stat().st_atime_ns, ours.stat().st_mtime_ns
        os.utime(theirs, ns=times)
    shutil.copy2(kept(layout), kept(other))
    assert [made.data for made in asked(footers(other))] == ["two a", "two b", "two c"]


def test_a_file_that_is_gone_or_damaged_is_told_as_without_the_kept_footers(layout):
    asked(found := footers(layout))
    found.keep(1)
    layout.table("s", "a").unlink()
    layout.table("s", "b", "b1").write_bytes(b"nothing")
    for who in (found, footers(layout)):
        assert who.origin("a") is None
        with pytest.raises(DamagedFile):
            who.origin("b", ("b1",))


def test_without_or_with_a_damaged_file_of_footers_the_tables_are_asked(layout):
    asked(found := footers(layout))
    found.keep(1)
    kept(layout).write_bytes(b"nothing")
    assert [made.data for made in asked(footers(layout))] == ["one a", "one b", "one c"]


class Seen:
    """What a machine keeps of a network's files, as NFS does: their state as it was seen, until one is opened. What a
    folder did not have is asked for again when the folder is opened.
    """

    def __init__(self) -> None:
        self.kept: dict[str, os.stat_result | None] = {}
        self.opened: list[str] = []

    def stat(self, path) -> os.stat_result:
        for known in map(str, (*reversed(Path(path).parents), path)):
            if known not in self.kept:
                self.kept[known] = os.stat(known) if os.path.exists(known) else None  # noqa: PTH110, PTH116
            if self.kept[known] is None:
                raise FileNotFoundError(path)
        return self.kept[str(path)]

    def open(self, path, flags: int) -> int:
        self.opened.append(str(path))
        if any(self.kept.get(str(known), ...) is None for known in (path, *path.parents)):
            raise FileNotFoundError(path)
        absent = {known for known, status in self.kept.items() if status is None and Path(known).parent == path}
        for known in (str(path), *absent):
            self.kept.pop(known, None)
        return os.open(path, flags)

    def __getattr__(self, name: str):
        return getattr(os, name)


@pytest.mark.parametrize(
    "mounted",
    [
        "nfs4 server:/lakes",
        "cifs //server/lakes",
        "ext4 /dev/sda1",
        "autofs /etc/auto.data, nfs4 server:/lakes",
        "nfs4 server:/lakes, ext4 /dev/sda1",
    ],
)
def test_a_table_that_another_host_made_is_seen_after_another_look_on_a_networks_disk(layout, monkeypatch, mounted):
    lines = [f"2 1 0:2 / {layout.root} rw - {kind} rw" for kind in mounted.split(", ")]
    mounts = "\n".join(["1 1 0:1 / / rw - ext4 /dev/sda1 rw", *lines])
    found, seen = Footers(layout.lake / "s", mounts), Seen()
    remote = "server" in mounted.split(", ")[-1]
    if remote:
        monkeypatch.setattr(module, "os", seen)
    layout.table("s", "a").unlink()
    shutil.rmtree(layout.lake / "s/c")
    assert [made and made.data for made in asked(found)] == [None, "one b", None]
    write(layout, "two")
    if remote:
        assert [made and made.data for made in asked(found)] == [None, "one b", None], "as it was seen"
    else:
        monkeypatch.setattr(module, "os", seen)
    for asset, partition in reversed(TABLES):  # the deepest first, as another one's look opens folders too
        found.look_again(asset, partition)
        assert found.origin(asset, partition).data == f"two {asset}"
    assert bool(seen.opened) is remote
    monkeypatch.undo()
    layout.table("s", "a").unlink()
    found.look_again("a")
    assert found.origin("a") is None
