"""A data folder in a bucket: writes whole or absent, one winner, what a machine keeps, and faults on the way."""

import dataclasses
import os
import pickle
import signal
import socket
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from galaxy_assets.orchestration.resources import LAKE, resources
from galaxy_assets.settings.printing import PrintableError
from galaxy_assets.settings.root import data_root, normal_address
from galaxy_assets.storage import store
from galaxy_assets.storage.bucket import bucket
from galaxy_assets.storage.bucket.bucket import Bucket
from galaxy_assets.storage.bucket.contents import Contents
from galaxy_assets.storage.bucket.heads import Head
from galaxy_assets.storage.bucket.names import is_ours
from galaxy_assets.storage.bucket.objects import BucketError, Objects
from galaxy_assets.storage.files import replacing, set_aside
from galaxy_assets.storage.label_events import LabelLog
from galaxy_assets.storage.layout import Layout
from galaxy_assets.storage.mounts import names_of
from galaxy_assets.storage.pixels import PixelStore
from galaxy_assets.storage.provenance import Origin, origin, with_origin
from galaxy_assets.storage.store import Conflict, store_of
from galaxy_assets.storage.tables import read_table, write_table
from galaxy_assets_tests.storage.bucket.s3 import NAME

SECRET = "planted-secret-8c1f2a"


def table(*values: int) -> pa.Table:
    return pa.table({"rank": list(values)})


def bucket_of(layout: Layout) -> Bucket:
    """The store of a machine, also when this process is another one by now."""
    return Bucket(os.environ["GALAXY_ASSETS_DATA"], layout.root)


def commit(bucket: Bucket, path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{os.urandom(4).hex()}.partial")
    partial.write_bytes(content)
    try:
        bucket.commit(partial, path)
    finally:
        partial.unlink(missing_ok=True)


def test_a_table_is_there_on_another_machine_with_its_origin_and_without_its_content(machine):
    here = machine()
    path = here.table("s", "cutouts", "2026 ä#1%")
    write_table(with_origin(table(1, 2), Origin(code="7", data="d")), path)
    there = machine()
    copy = there.root / path.relative_to(here.root)
    made = origin(copy)
    assert made is not None and (made.code, made.data) == ("7", "d") and copy.stat().st_size == 0
    assert read_table(copy).drop_columns([]).equals(read_table(copy)) and read_table(copy)["rank"].to_pylist() == [1, 2]
    assert copy.stat().st_size > 0


def test_of_two_writers_one_wins_and_the_other_is_told_and_changes_nothing(machine):
    first = machine()
    path = first.table("s", "umap", "imagenet")
    write_table(table(1), path)
    second = machine()
    other = bucket_of(first)
    copy = second.root / path.relative_to(first.root)
    write_table(table(2), copy)
    with pytest.raises(Conflict, match="run the same again"):
        commit(other, path, b"3" * 5000)
    other.refresh()
    other.local(path)
    assert read_table(path)["rank"].to_pylist() == [2]
    commit(other, path, b"3" * 5000)
    assert not list(first.lake.rglob(".*.partial"))


def test_many_writers_of_one_state_have_one_winner_and_many_turns_lose_none(machine, tmp_path):
    machines = [bucket_of(machine()) for _ in range(4)]
    won = []

    def write(number: int) -> None:
        bucket = machines[number % 4]
        try:
            commit(bucket, bucket.root / "lake/s/once.parquet", str(number).encode() * 5000)
            won.append(number)
        except Conflict:
            pass

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(write, range(4)))
    assert len(won) == 1

    def count(bucket: Bucket) -> None:
        path = bucket.root / "surveys/counter.txt"
        done = 0
        while done < 5:
            bucket.refresh()
            number = int(path.read_text()) if path.exists() else 0
            try:
                commit(bucket, path, str(number + 1).encode())
                done += 1
            except Conflict:
                continue

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(count, machines))
    machines[0].refresh()
    assert (machines[0].root / "surveys/counter.txt").read_text() == "20"


def test_a_step_replaces_what_was_there_when_it_began_whoever_looks_meanwhile(machine):
    first = machine()
    path = first.table("s", "umap", "imagenet")
    write_table(table(1), path)
    store_of(path).begin("run")
    second = machine()
    write_table(table(2), second.root / path.relative_to(first.root))
    other = bucket_of(first)
    other.begin("another run")
    other.refresh(every=0.001)
    commit(other, path, b"4" * 5000)  # it began after the second machine's
    other.begin("a third run")
    store_of(second.root).refresh()
    write_table(table(5), second.root / path.relative_to(first.root))
    other.refresh(every=0.001)
    with pytest.raises(Conflict):
        commit(other, path, b"6" * 5000)


@pytest.mark.parametrize("fault", ["cut", "lost", 500, 503])
@pytest.mark.parametrize("method", ["PUT", "GET", "HEAD"])
def test_requests_that_fail_are_repeated(machine, s3, fault, method):
    here = machine()
    path, left = here.table("s", "umap"), {"n": 4}

    def break_some(request) -> int | str | None:
        if request.method != method or left["n"] == 0:
            return None
        left["n"] -= 1
        return fault

    s3.fault = break_some
    write_table(pa.table({"x": np.random.default_rng(0).random(50_000)}), path)
    write_table(table(2), path)
    there = machine()
    copy = there.root / path.relative_to(here.root)
    assert read_table(copy)["rank"].to_pylist() == [2] and left["n"] == 0


def test_an_answer_that_breaks_off_is_asked_for_again(machine, s3):
    here = machine()
    path, broken = here.table("s", "umap"), []
    wanted = pa.table({"x": np.random.default_rng(0).random(50_000)})
    write_table(wanted, path)
    there = machine()

    def halve(request) -> str | None:
        if request.method == "GET" and "/data/" in request.path and len(broken) < 2:
            broken.append(request)
            return "half"
        return None

    s3.fault = halve
    assert read_table(there.root / path.relative_to(here.root)).equals(wanted) and len(broken) == 2


def test_a_bucket_that_always_fails_is_told_without_secrets_and_leaves_everything_as_it_was(machine, s3):
    here = machine()
    path = here.table("s", "umap")
    write_table(table(1), path)
    before = path.read_bytes()
    for fault, words in ((500, "answered 500"), (503, "answered 503"), (403, "refused"), ("cut", "no answer")):
        s3.fault = lambda request, fault=fault: fault if request.method == "PUT" else None
        with pytest.raises(BucketError, match=words) as raised:
            write_table(table(2), path)
        assert SECRET not in str(raised.value) and "planted-id" not in str(raised.value)
        assert path.read_bytes() == before and not list(here.lake.rglob(".*.partial"))
    s3.fault = None
    there = machine()
    assert read_table(there.root / path.relative_to(here.root))["rank"].to_pylist() == [1]


def test_a_stale_list_neither_loses_what_was_written_nor_lets_an_old_state_win(machine, s3):
    here = machine()
    old, new = here.table("s", "old"), here.table("s", "new")
    write_table(table(1), old)
    with s3.stale():
        store_of(old).refresh()
        write_table(table(2), old)
        write_table(table(3), new)
        store_of(old).refresh()
        assert read_table(old)["rank"].to_pylist() == [2] and read_table(new)["rank"].to_pylist() == [3]
        there = machine()
        copy = there.root / new.relative_to(here.root)
        assert not copy.exists()
        with pytest.raises(Conflict):
            write_table(table(4), copy)
    store_of(copy).refresh()
    assert read_table(copy)["rank"].to_pylist() == [3]


KILLED = """
import os, signal, sys
from pathlib import Path
import pyarrow as pa
from galaxy_assets.storage.bucket.heads import HeadsInBucket
from galaxy_assets.storage.layout import Layout
from galaxy_assets.storage.tables import write_table
swap = HeadsInBucket.swap
def dying(self, *arguments):
    if sys.argv[1] == "before":
        os.kill(os.getpid(), signal.SIGKILL)
    swap(self, *arguments)
    os.kill(os.getpid(), signal.SIGKILL)
HeadsInBucket.swap = dying
write_table(pa.table({"rank": list(range(5000))}), Layout.default().table("s", "umap"))
"""


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_worker_that_is_killed_leaves_no_table_or_a_whole_one_and_upkeep_removes_the_rest(machine, monkeypatch, when):
    here = machine()
    path = here.table("s", "umap")
    write_table(table(*range(1000)), path)
    killed = subprocess.run([sys.executable, "-c", KILLED, when], env=os.environ, capture_output=True)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    there = machine()
    copy = there.root / path.relative_to(here.root)
    found = list(range(1000 if when == "before" else 5000))
    assert read_table(copy)["rank"].to_pylist() == found
    assert store_of(copy).sweep() == []
    monkeypatch.setattr(bucket, "LONGEST_RUN", -60)
    (swept,) = store_of(copy).sweep()
    assert swept.startswith("data/lake/s/umap/")
    assert read_table(machine().root / path.relative_to(here.root))["rank"].to_pylist() == found


@given(
    st.sampled_from(["lake/s/t", "labels/s/events/e", "surveys/s", "weights/w", "figures/s/f", "lake/s/.withdrawn/t"]),
    st.text(st.characters(exclude_characters="/\0", exclude_categories=["Cs"]), min_size=1, max_size=12),
    st.sampled_from(["", ".parquet", ".csv", ".tar.gz"]),
)
def test_every_object_that_is_written_is_known_as_ours(tmp_path_factory, name, stem, suffix):
    class Noted:
        def __init__(self):
            self.keys = []

        def put_once(self, key, content, is_distrusted):
            self.keys.append(key)

    assume(stem not in (".", ".."))
    noted, file = Noted(), tmp_path_factory.getbasetemp() / "content"
    file.write_bytes(b"x" * 5000)
    Contents(noted, set).sent(f"{name}/{stem}{suffix}".replace(".parquet", ".bin"), file)
    assert noted.keys and all(map(is_ours, noted.keys))


def test_upkeep_removes_nothing_that_somebody_else_put_into_the_bucket(machine, monkeypatch):
    here = machine()
    for number in (1, 2):
        write_table(table(*range(1000 * number)), here.table("s", "umap"))
    fill(here)
    mine = bucket_of(here)
    theirs = [
        "data/dr5/images/000.png",
        f"data/dr5/{'a' * 32}/image.fits",
        f"data/lake/{'b' * 31}.parquet",
        "chunks/lake/of-a-film.mp4",
        f"chunks/raw/s/{'c' * 32}/000000000.parquet",
    ]
    for key in theirs:
        mine._objects.put_once(key, b"theirs")
    monkeypatch.setattr(bucket, "LONGEST_RUN", -60)
    swept = mine.sweep()
    assert len([key for key in swept if key.startswith("data/lake/s/umap/")]) == 1
    assert len([key for key in swept if key.startswith("chunks/lake/s/pixels/b/")]) == 6
    left = [one.key for kind in ("data", "chunks") for one in mine._objects.listed(kind)]
    assert set(theirs) <= set(left) and not set(theirs) & set(swept)
    machine()


def test_a_prefix_in_which_somebody_else_has_data_is_refused_and_other_folders_are_no_matter(s3, machine, monkeypatch):
    address = os.environ["GALAXY_ASSETS_DATA"]
    Objects(f"{address}/used").put_once("data/dr5/000.png", b"theirs")
    Objects(f"{address}/raw").put_once("raw/s/000.png", b"a delivery")
    monkeypatch.setenv("GALAXY_ASSETS_DATA", f"{address}/raw")
    machine()
    monkeypatch.setenv("GALAXY_ASSETS_DATA", f"{address}/used")
    with pytest.raises(BucketError, match=r"has objects in data/ and is no data folder.*/galaxies"):
        machine()


@pytest.mark.parametrize("header", ["if-match", "if-none-match"])
def test_a_bucket_that_does_not_keep_two_writers_apart_is_refused(s3, machine, header):
    s3.ignored = (header,)
    with pytest.raises(BucketError, match="two writers are not kept apart"):
        machine()
    s3.ignored = ()
    here = machine()
    assert not [one.key for one in bucket_of(here)._objects.listed("") if "probe" in one.key]


def test_a_clock_that_is_wrong_is_named_as_such(s3, machine):
    s3.fault = lambda _: "skewed"
    with pytest.raises(BucketError, match=r"the clock of this machine differs.*chrony"):
        machine()


def test_one_bucket_has_one_address_whatever_its_slashes(machine, monkeypatch):
    here = machine()
    write_table(table(1), here.table("s", "umap"))
    address = os.environ["GALAXY_ASSETS_DATA"]
    for other in (f"{address}/", address.replace(f"{NAME}/", f"{NAME}//"), address.replace("s3:", "S3:")):
        monkeypatch.setenv("GALAXY_ASSETS_DATA", other)
        assert Objects(other).address == Objects(address).address == normal_address(normal_address(other))
        there = machine(here)
        assert there.root == here.root and read_table(there.table("s", "umap"))["rank"].to_pylist() == [1]


def test_heads_that_are_gone_all_at_once_are_an_error_and_nothing_is_swept(machine, monkeypatch):
    here = machine()
    write_table(table(*range(1000)), path := here.table("s", "umap"))
    monkeypatch.setattr(bucket, "LONGEST_RUN", -60)
    mine = bucket_of(here)
    mine._heads.forget("lake/s/umap.parquet")
    for ask in (mine.refresh, mine.sweep, lambda: machine(here)):
        with pytest.raises(BucketError, match=r"heads of 1 files that were there are gone.*lake/s/umap\.parquet"):
            ask()
    assert path.stat().st_size and [one for one in mine._objects.listed("data") if "/umap/" in one.key]


def test_what_was_just_fetched_is_not_what_was_used_longest_ago(machine, monkeypatch):
    here = machine()
    paths = [here.table("s", f"t{i}") for i in range(3)]
    for path in paths:
        write_table(pa.table({"x": np.random.default_rng(0).random(5000)}), path)
    there = machine()
    monkeypatch.setenv("GALAXY_ASSETS_CACHE_LIMIT", f"{2.5 * paths[0].stat().st_size / 1000:.0f} kB")
    copies = [there.root / path.relative_to(here.root) for path in paths]
    made = time.time() - 30 * 24 * 3600
    monkeypatch.setattr(Head, "from_json", _made(made))
    for copy in copies[:2]:
        store_of(copy).local(copy)
        assert copy.stat().st_mtime == pytest.approx(made) and time.time() - copy.stat().st_atime < 60
    store_of(copies[2]).local(copies[2])
    assert all(copy.stat().st_size for copy in copies), "they are in use"


def _made(seconds: float) -> classmethod:
    whole = Head.from_json
    return classmethod(lambda cls, text: dataclasses.replace(whole(text), made=seconds))


def test_a_table_that_is_being_replaced_is_of_the_version_that_is_read(machine, monkeypatch):
    here = machine()
    path = here.table("s", "umap")
    write_table(with_origin(table(*range(1000)), Origin(data="v1")), path)
    there = machine()
    copy = there.root / path.relative_to(here.root)
    read_table(copy)
    told, whole, other = [], Bucket._stand_in, bucket_of(here)
    write_table(with_origin(table(*range(2000)), Origin(data="v2")), second := there.root / "second.parquet")
    commit(other, path, second.read_bytes())

    def late(self, *arguments):
        made = origin(copy)
        told.append((made.data if made else "", read_table(copy).num_rows))
        whole(self, *arguments)

    monkeypatch.setattr(Bucket, "_stand_in", late)
    store_of(copy).refresh()
    made = origin(copy)
    told.append((made.data if made else "", read_table(copy).num_rows))
    assert told == [("v1", 1000), ("v2", 2000)]


def test_what_is_replaced_while_it_is_fetched_is_fetched_again(machine, monkeypatch):
    here = machine()
    path = here.table("s", "umap")
    write_table(table(*range(1000)), path)
    there = machine()
    copy = there.root / path.relative_to(here.root)
    other, whole = bucket_of(here), Contents.write

    def slow(self, content, file):
        monkeypatch.setattr(Contents, "write", whole)
        whole(self, content, file)
        commit(other, path, b"2" * 5000)
        bucket_of(there).refresh()  # another process of that machine looks, and knows of it

    monkeypatch.setattr(Contents, "write", slow)
    store_of(copy).local(copy)
    assert copy.read_bytes() == b"2" * 5000


def test_a_damaged_record_is_set_aside_and_begun_anew(machine, caplog):
    here = machine()
    path, review = here.table("s", "umap"), here.artefact_review("s")
    write_table(table(*range(1000)), path)
    review.parent.mkdir(parents=True)
    review.write_text("sent")
    bucket_of(here)
    review.write_text("edited")
    record = here.root / ".copies.sqlite"
    mine = bucket_of(here)
    for number in range(2):
        record.with_name(".copies.sqlite-wal").unlink(missing_ok=True)
        content = bytearray(record.read_bytes())
        content[:100] = b"\xff" * 100
        record.write_bytes(content)
        if number == 0:
            here = machine(here)
        else:
            with pytest.raises(PrintableError, match="begun anew"):
                mine._copies.tokens()
            assert mine._copies.tokens() == {}
            mine.refresh()
        assert read_table(path)["rank"].to_pylist() == list(range(1000)) and review.read_text() == "edited"
    assert record.with_name(".copies.sqlite.damaged").exists()


def test_a_small_file_that_is_moved_has_its_content(machine):
    here = machine()
    drop = here.labels("s") / "drop.csv"
    drop.parent.mkdir(parents=True)
    drop.write_text("id,score")
    store_of(drop).refresh()
    store_of(drop).move(drop, to := here.labels("s") / "imported/drop.csv")
    assert to.read_text() == "id,score" and not drop.exists()


def test_the_read_model_that_two_others_replaced_meanwhile_is_replaced_and_at_last_a_conflict(machine, monkeypatch):
    here = machine()
    path, mine, other = here.root / "galaxy.duckdb", bucket_of(here), bucket_of(machine())
    commit(mine, path, b"0" * 5000)
    read, left = mine._heads.read, [2]

    def overtaken(names):
        found = read(names)
        if left[0] and list(names) == ["galaxy.duckdb"]:
            left[0] -= 1
            other.refresh()
            commit(other, other.root / "galaxy.duckdb", os.urandom(5000))
        return found

    monkeypatch.setattr(mine._heads, "read", overtaken)
    other.refresh()
    commit(other, other.root / "galaxy.duckdb", b"1" * 5000)
    commit(mine, path, b"2" * 5000)
    assert left == [0] and path.read_bytes() == b"2" * 5000
    left[0] = 99
    other.refresh()
    commit(other, other.root / "galaxy.duckdb", b"3" * 5000)
    with pytest.raises(Conflict):
        commit(mine, path, b"4" * 5000)


def test_without_a_home_the_variable_that_helps_is_named(s3, monkeypatch, tmp_path):
    monkeypatch.delenv("GALAXY_ASSETS_CACHE", raising=False)
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    assert data_root().is_relative_to(tmp_path / ".cache/galaxy-assets" / socket.gethostname())
    (tmp_path / "a file").touch()
    monkeypatch.setenv("HOME", str(tmp_path / "a file"))
    with pytest.raises(BucketError, match="GALAXY_ASSETS_CACHE"):
        Layout.default()

    def nobody(self):
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(Path, "expanduser", nobody)
    with pytest.raises(PrintableError, match="GALAXY_ASSETS_CACHE"):
        data_root()


def test_what_is_removed_or_moved_is_so_everywhere(machine):
    here = machine()
    gone, kept, moved = here.table("s", "a", "b1"), here.table("s", "a", "b2"), here.table("s", "a", "b3")
    for number, path in enumerate((gone, kept, moved)):
        write_table(table(number), path)
    there = machine()
    store_of(there.root).remove(there.root / gone.relative_to(here.root))
    aside = set_aside(there.root / moved.relative_to(here.root), there.lake / "s")
    machine(here)
    assert sorted(path.name for path in (here.lake / "s/a").iterdir()) == ["b2.parquet"]
    assert read_table(here.root / aside.relative_to(there.root))["rank"].to_pylist() == [2]
    machine(there)
    write_table(table(7), there.root / gone.relative_to(here.root))
    machine(here)
    assert read_table(gone)["rank"].to_pylist() == [7]


def test_copies_keep_to_their_limit_and_those_used_longest_ago_go(machine, monkeypatch):
    here = machine()
    rng, size = np.random.default_rng(0), 40_000
    paths = [here.table("s", f"t{i}") for i in range(6)]
    for path in paths:
        write_table(pa.table({"x": rng.random(size // 8)}), path)
    whole = paths[0].stat().st_size
    there = machine()
    monkeypatch.setenv("GALAXY_ASSETS_CACHE_LIMIT", f"{3.5 * whole / 1000:.0f} kB")
    copies = [there.root / path.relative_to(here.root) for path in paths]
    for i, copy in enumerate(copies):
        read_table(copy)
        for j, one in enumerate(copies[: i + 1]):
            os.utime(one, (time.time() - 3600 + j, one.stat().st_mtime))
    mapped = [copy.name for copy in copies if copy.stat().st_size]
    assert mapped == ["t3.parquet", "t4.parquet", "t5.parquet"]
    assert read_table(copies[0]).num_rows == size // 8
    monkeypatch.setenv("GALAXY_ASSETS_CACHE_LIMIT", "1 kB")
    with pytest.raises(BucketError, match="raise GALAXY_ASSETS_CACHE_LIMIT"):
        read_table(copies[1])
    monkeypatch.setenv("GALAXY_ASSETS_CACHE_LIMIT", "much")
    with pytest.raises(PrintableError, match="say a size"):
        read_table(copies[1])


def cut(rows: range) -> tuple[np.ndarray, pa.Table]:
    pixels = np.random.default_rng(rows.start).integers(0, 255, (len(rows), 8, 8, 3), np.uint8)
    return pixels, pa.table({"row": list(rows)})


def fill(layout: Layout, make=cut, fingerprint: str = "f") -> pa.Table:
    pixels = PixelStore(layout.pixels("s"))
    return pixels.fill("b", n=10, shape=(8, 8, 3), fingerprint=fingerprint, make=make, chunk=4, columns=["row"])


def test_pixels_are_filled_by_several_machines_and_read_by_any(machine):
    here = machine()

    def dies(rows: range) -> tuple[np.ndarray, pa.Table]:
        if rows.start == 8:
            raise KeyboardInterrupt
        return cut(rows)

    with pytest.raises(KeyboardInterrupt):
        fill(here, dies)
    there, made = machine(), []
    assert fill(there, lambda rows: (made.append(rows.start), cut(rows))[1])["row"].to_pylist() == list(range(10))
    assert made == [8], "the first machine's chunks are not made again"
    third = machine()
    pixels = PixelStore(third.pixels("s"))
    assert pixels.fingerprint(["b"]) == "b:f" and pixels.file("b").stat().st_size == 0
    whole = np.concatenate([cut(range(start, min(start + 4, 10)))[0] for start in (0, 4, 8)])
    assert np.array_equal(pixels.read("b"), whole) and pixels.read("b", 4).shape == (10, 4, 4, 3)
    assert fill(third, dies)["row"].to_pylist() == list(range(10)), "it is filled"
    machine(there)
    fill(there, lambda rows: (255 - cut(rows)[0], cut(rows)[1]), fingerprint="g")
    machine(third)
    assert not (pixels.folder / "b/size_004.npy").exists(), "it was of the cutouts before"
    assert np.array_equal(pixels.read("b"), 255 - whole) and pixels.read("b", 4).shape == (10, 4, 4, 3)


def test_of_many_batches_those_are_fetched_of_which_a_row_is_asked_for(machine, monkeypatch):
    here = machine()
    for number, batch in enumerate("abc"):
        PixelStore(here.pixels("s")).fill(
            batch, n=4, shape=(8, 8, 3), fingerprint=batch, make=lambda rows, n=number: (cut(rows)[0] + n, cut(rows)[1])
        )
    there = machine()
    pixels = PixelStore(there.pixels("s"))

    def fetched() -> list[str]:
        return [batch for batch in "abc" if pixels.file(batch).stat().st_size]

    stack = pixels.stack(["a", "b", "c"])
    assert stack.shape == (12, 8, 8, 3) and len(stack) == 12 and fetched() == []
    times, whole = [], Bucket._fetch
    monkeypatch.setattr(Bucket, "_fetch", lambda self, name: (times.append(name), whole(self, name))[1])
    with ThreadPoolExecutor(4) as threads:
        asked = list(threads.map(stack.__getitem__, [np.array([5])] * 4))
    assert all(np.array_equal(one[0], cut(range(4))[0][1] + 1) for one in asked)
    assert fetched() == ["b"] and times == ["lake/s/pixels/b"]
    other = pickle.loads(pickle.dumps(stack))
    assert np.array_equal(other[np.arange(12)], stack[np.arange(12)]) and fetched() == ["a", "b", "c"]


def test_pixels_that_were_made_anew_are_not_given_for_those_before(machine):
    here = machine()
    fill(here)
    there = machine()
    stack = PixelStore(there.pixels("s")).stack(["b"])
    machine(here)
    fill(here, fingerprint="g")
    machine(there)
    with pytest.raises(FileNotFoundError, match="made anew meanwhile"):
        stack[np.array([0])]
    assert PixelStore(there.pixels("s")).stack(["b"])[np.array([0])].shape == (1, 8, 8, 3)


def test_label_events_of_all_machines_are_read_and_merged_once(machine):
    def say(layout: Layout, galaxy: str) -> None:
        row = {"who": "ann", "kind": "score", "galaxy_id": galaxy, "score": 1, "source": "cli"}
        LabelLog(layout.labels("s")).append([row])

    here = machine()
    say(here, "g1")
    there = machine()
    for galaxy in ("g2", "g3"):
        say(there, galaxy)
    log = LabelLog(there.labels("s"))
    seen = log.fingerprint()
    assert log.read()["galaxy_id"].to_pylist() == ["g1", "g2", "g3"]
    assert log.compact() == 3 and len(log.files()) == 1 and log.fingerprint() == seen
    machine(here)
    assert LabelLog(here.labels("s")).fingerprint() == seen
    third = machine()
    assert LabelLog(third.labels("s")).read()["galaxy_id"].to_pylist() == ["g1", "g2", "g3"]


def test_files_that_people_put_or_edit_there_are_taken_in_and_a_conflict_keeps_both(machine):
    here = machine()
    review = here.artefact_review("s")
    review.parent.mkdir(parents=True)
    review.write_text("mine")
    (here.labels("s")).mkdir(parents=True)
    (here.labels("s") / "drop.csv").write_text("id,score")
    store_of(review).refresh()
    there = machine()
    copy = there.root / review.relative_to(here.root)
    assert copy.read_text() == "mine" and (there.labels("s") / "drop.csv").read_text() == "id,score"
    copy.write_text("edited there")
    store_of(copy).refresh()
    store_of(copy).move(there.labels("s") / "drop.csv", there.labels("s") / "imported/drop.csv")
    review.write_text("edited here")
    machine(here)
    assert review.read_text() == "edited there"
    assert (review.parent / f".{review.name}.mine").read_text() == "edited here"
    assert (here.labels("s") / "imported/drop.csv").exists() and not (here.labels("s") / "drop.csv").exists()


def test_every_conflict_keeps_what_was_edited_here(machine):
    here = machine()
    review = here.artefact_review("s")
    review.parent.mkdir(parents=True)
    review.write_text("begun")
    store_of(review).refresh()
    there = machine()
    copy = there.root / review.relative_to(here.root)
    for number in range(3):
        machine(there)
        copy.write_text(f"there {number}")
        store_of(copy).refresh()
        review.write_text(f"here {number}")
        machine(here)
        assert review.read_text() == f"there {number}"
    kept = {path.name: path.read_text() for path in review.parent.glob(".*.mine*")}
    name = f".{review.name}.mine"
    assert kept == {name: "here 0", f"{name}.1": "here 1", f"{name}.2": "here 2"}


def test_what_another_process_of_the_machine_writes_is_no_edit_by_hand(machine, s3, monkeypatch):
    here = machine()
    review = here.artefact_review("s")
    first, second = bucket_of(here), bucket_of(here)
    commit(first, review, b"before")
    whole = second._hand.found

    def while_it_is_written() -> list[Path]:
        monkeypatch.setattr(second._hand, "found", whole)
        commit(first, review, b"written")  # put there and not taken down yet when the other looks
        return [review]

    monkeypatch.setattr(second._hand, "found", while_it_is_written)
    second.refresh()
    assert review.read_bytes() == b"written" and not list(review.parent.glob(".*.mine*"))
    s3.seen.clear()
    review.touch()
    for _ in range(2):
        second.refresh()
    assert [r.path for r in s3.seen if r.method == "PUT" and "/heads/" in r.path] == [], "the same content is no edit"


@pytest.mark.parametrize("then", ["more", "gone", "whole"])
def test_a_file_that_is_being_put_there_during_a_look_is_whole_in_the_bucket_or_not_in_it(machine, monkeypatch, then):
    here = machine()
    weights, whole = here.weights / "a.pt", os.urandom(9000)
    mine, sent = bucket_of(here), Contents.sent
    weights.parent.mkdir(parents=True)
    weights.write_bytes(whole[:5000])

    def written_meanwhile(self, name, partial):
        with monkeypatch.context() as once:
            once.setattr(Contents, "sent", sent)
            if then == "gone":
                weights.unlink()
            elif then == "more":
                weights.write_bytes(whole)
            head = self.sent(name, partial)
            if then == "whole":  # when the content is on its way
                weights.write_bytes(whole)
        monkeypatch.setattr(Contents, "sent", sent)
        return head

    monkeypatch.setattr(Contents, "sent", written_meanwhile)
    mine.refresh()
    half = machine()
    assert not (half.root / "weights/a.pt").exists()
    mine.refresh()
    there = machine().root / "weights/a.pt"
    assert not there.exists() if then == "gone" else there.read_bytes() == whole
    assert not list(weights.parent.glob(".*"))


def test_a_file_that_goes_while_it_is_looked_at_ends_no_look(machine, monkeypatch):
    here = machine()
    drop = here.labels("s") / "drop.csv"
    drop.parent.mkdir(parents=True)
    mine = bucket_of(here)
    drop.write_text("id,score")
    look = mine._hand.found

    def then_gone() -> list[Path]:
        found = look()
        drop.unlink()
        return found

    with monkeypatch.context() as once:
        once.setattr(mine._hand, "found", then_gone)
        mine.refresh()
    assert "labels/s/drop.csv" not in mine._copies.tokens()
    drop.write_text("id,score")
    mine.refresh()
    assert "labels/s/drop.csv" in mine._copies.tokens()


def test_what_stays_on_a_machine_is_not_in_the_bucket(machine, s3):
    here = machine()
    s3.seen.clear()
    for name in ("raw/s/a.png", "lake/s/.snapshots.json", "spool/s/x.tar", "lake/.hidden/x.parquet", "notes.txt"):
        with replacing(here.root / name) as partial:
            partial.write_text("x")
    assert not s3.seen
    store_of(here.root).remove(here.root / "raw/s")
    store_of(here.root).remove(here.root / "notes.txt")
    assert not (here.root / "raw/s").exists() and not (here.root / "notes.txt").exists()


def test_a_bucket_given_in_python_is_read_as_the_one_of_the_variable(machine, monkeypatch, tmp_path):
    here, address = machine(), os.environ["GALAXY_ASSETS_DATA"]
    write_table(table(1, 2), here.table("s", "umap"))
    monkeypatch.setenv("GALAXY_ASSETS_CACHE", str(tmp_path))
    monkeypatch.setenv("GALAXY_ASSETS_DATA", str(tmp_path / "another"))
    monkeypatch.setattr(store, "_GIVEN", {})
    there = Layout.at(address)
    assert there.root.is_relative_to(tmp_path) and there.root != here.root
    assert read_table(there.table("s", "umap"))["rank"].to_pylist() == [1, 2]
    assert store_of(tmp_path / "another/lake") is store.FOLDER
    below = Layout.at(f"{address}//below/")
    write_table(table(3), below.table("s", "umap"))
    assert store_of(below.table("s", "umap")) is store_of(below.root) is not store_of(there.root)
    assert names_of(below.root) == [f"{address}/below"] and names_of(there.root) == [address]
    assert resources(below.root)[LAKE].names == [f"{address}/below"]


@pytest.mark.parametrize(
    "address", [f"s3://id:{SECRET}@bucket/x", f"s3://bucket/x?key={SECRET}", "ftp://host/x", "s3:///x", "s3://b/../x"]
)
def test_an_address_that_cannot_be_used_is_told_without_repeating_it(monkeypatch, address):
    monkeypatch.setenv("GALAXY_ASSETS_DATA", address)
    with pytest.raises(PrintableError, match="credentials into the environment only") as raised:
        data_root()
    assert SECRET not in str(raised.value)


def test_without_the_extra_the_remedy_is_named_and_a_folder_needs_none(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "obstore", None)
    monkeypatch.setenv("GALAXY_ASSETS_CACHE", str(tmp_path / "copies"))
    monkeypatch.setenv("GALAXY_ASSETS_DATA", "s3://bucket/x")
    with pytest.raises(BucketError, match=r"pip install 'galaxy-assets\[cluster\]'"):
        Layout.default()
    monkeypatch.setenv("GALAXY_ASSETS_DATA", str(tmp_path / "data"))
    layout = Layout.default()
    write_table(table(1), layout.table("s", "umap"))
    assert read_table(layout.table("s", "umap")).num_rows == 1
    loaded = "import sys, galaxy_assets.definitions; sys.exit('obstore' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", loaded], env=os.environ).returncode == 0
