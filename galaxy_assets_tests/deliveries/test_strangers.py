"""What strangers' files may do: be a row, hold their delivery, or be told; they stop nothing else."""

import gzip
import io
import os
import pickle
import re
import struct
import subprocess
import sys
import tarfile
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest

from galaxy_assets.deliveries import drop, images
from galaxy_assets.deliveries.images import UnreadableImage
from galaxy_assets.deliveries.label_imports import import_drop
from galaxy_assets.deliveries.memory import Memory
from galaxy_assets.deliveries.readers import open_reader
from galaxy_assets.deliveries.readers.promises import guarded
from galaxy_assets.science.votes import VotesError
from galaxy_assets.settings.files import SurveyError
from galaxy_assets.settings.source import Source
from galaxy_assets.storage.label_events import LabelLog
from galaxy_assets_tests.deliveries.hostile import npy
from galaxy_assets_tests.deliveries.test_drop import png, put_folder, put_zip, reader
from galaxy_assets_tests.deliveries.test_mirabest import members


def test_damaged_deliveries_of_every_reader_are_rows_or_held():
    """In a process of its own: a library that crashes would end this one, and memory is a process's."""
    done = subprocess.run(
        [sys.executable, "-m", "galaxy_assets_tests.deliveries.hostile_readers", "1", "20"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-500:] + done.stderr[-2000:]
    told, grown = done.stdout.splitlines()[-2:]
    assert int(grown) < 200, done.stdout  # MB
    assert all(f"'{what}'" in told for what in ("image", "row", "unreadable", "delivery", "survey", "table")), told


# --- a reader's own errors


ERRORS = [MemoryError(), RecursionError("deep"), OverflowError("big"), AttributeError(), OSError(5, "I/O")]


class Faulty:
    """A reader of another package that raises where it is not asked to."""

    def __init__(self, error: BaseException):
        self.error = error

    def image(self, *_: str) -> None:
        raise self.error

    deliveries = batches = catalogue = labelled = votes = tables = image


@pytest.mark.parametrize("error", ERRORS, ids=repr)
def test_whatever_a_reader_raises_is_a_row_or_holds_its_delivery(error):
    found = guarded(Faulty(error), "here")
    assert isinstance(found, Faulty)
    with pytest.raises(UnreadableImage) as caught:
        found.image("a")
    assert caught.value.problem == ("too_large" if isinstance(error, MemoryError) else "unreadable")
    for ask in ("deliveries", "batches", "catalogue", "labelled", "votes", "tables"):
        with pytest.raises(SurveyError, match=f"here: {type(error).__name__}"):
            getattr(found, ask)()


@pytest.mark.parametrize("error", [KeyboardInterrupt(), SystemExit(), SurveyError("x"), VotesError("x")], ids=repr)
def test_what_is_in_words_already_and_what_ends_the_process_stays(error):
    with pytest.raises(type(error)) as caught:
        guarded(Faulty(error), "here").catalogue("a")
    assert caught.value is error


def test_a_reader_that_cannot_be_made_is_an_error_of_its_survey(tmp_path, monkeypatch):
    def fails(*_):
        raise RecursionError("deep")

    monkeypatch.setattr("galaxy_assets.plugins.load", lambda *_: fails)
    with pytest.raises(SurveyError, match="RecursionError: deep"):
        open_reader(Source(reader="image_folder", path="x"), tmp_path)


# --- deliveries


def chained(kind: bytes, content: bytes) -> bytes:
    """A tar with 2,000 headers that are each about the next."""
    written = io.BytesIO()
    for _ in range(2000):
        info = tarfile.TarInfo("././@LongLink")
        info.type, info.size = kind, len(content)
        written.write(info.tobuf(tarfile.GNU_FORMAT) + content.ljust(512, b"\0"))
    return written.getvalue() + tarfile.TarInfo("a.png").tobuf() + bytes(1024)


def directory(path: Path, **changes: int) -> None:
    """A zip whose last record says something absurd."""
    data = put_zip(path).read_bytes()
    end = data.rindex(b"PK\5\6")
    fields = dict(zip(("n", "all", "size", "offset"), struct.unpack("<HHII", data[end + 8 : end + 20]), strict=True))
    path.write_bytes(data[: end + 8] + struct.pack("<HHII", *(fields | changes).values()) + data[end + 20 :])


def many_members(path: Path) -> None:
    data = put_zip(path).read_bytes()
    begin = data.index(b"PK\1\2")
    entries = data[begin : data.index(b"PK\1\2", begin + 4)] * 1_000_001
    end = struct.pack("<HHHHIIH", 0, 0, 65535, 65535, len(entries), begin, 0)
    path.write_bytes(data[:begin] + entries + b"PK\5\6" + end)


def listing(content: bytes) -> Callable[[Path], object]:
    return lambda path: put_folder(path.with_suffix(""), {"a.png": png(1), "manifest.csv": content})


def pipe(path: Path) -> None:
    put_folder(path.with_suffix(""), {"a.png": png(1)})
    os.mkfifo(path.with_suffix("") / "manifest.csv")


HELD = {
    "GNU names": (".tar", lambda path: path.write_bytes(chained(tarfile.GNUTYPE_LONGNAME, b"a.png\0"))),
    "GNU links": (".tar", lambda path: path.write_bytes(chained(tarfile.GNUTYPE_LONGLINK, b"a.png\0"))),
    "PAX headers": (".tar", lambda path: path.write_bytes(chained(tarfile.XHDTYPE, b"14 path=a.png\n"))),
    "a directory of 4 GB": (".zip", lambda path: directory(path, size=2**32 - 1)),
    "a directory that begins at 4 GB": (".zip", lambda path: directory(path, offset=2**32 - 2)),
    "no directory": (".zip", lambda path: directory(path, size=0)),
    "a million members": (".zip", many_members),
    "5,000 digits": (".csv", listing(b"file,bytes\na.png," + b"9" * 5000)),
    "deep JSON": (".csv", listing(b"[" * 100_000)),
    "NaN": (".csv", listing(b"file,bytes\na.png,NaN\n")),
    "less than nothing": (".csv", listing(b"file,bytes\na.png,-1\n")),
    "another type": (".csv", listing(b'file,bytes\na.png,"{}"\n')),
    "no checksum": (".csv", listing(b"file,sha256\na.png,true\n")),
    "a name twice": (".csv", listing(b"file\na.png\n./a.png\n")),
    "a huge cell": (".csv", listing(b"file\n" + b"a" * 200_000)),
    "a stray quote": (".csv", listing(b'file,bytes\n"a.png,1\nb.png,2\n')),
    "null bytes": (".csv", listing(bytes(5000))),
    "a pipe": (".csv", pipe),
}


@pytest.mark.parametrize(("suffix", "put"), HELD.values(), ids=HELD)
def test_what_cannot_be_judged_holds_its_delivery_alone(tmp_path, suffix, put):
    put_folder(tmp_path / "survey/good", {"z.png": png(8)})
    put(tmp_path / f"survey/bad{suffix}")
    found = reader(tmp_path)
    bad, good = found.deliveries()
    assert (bad.name, bad.state, good.state) == ("bad", "held", "whole") and bad.reason
    assert len(bad.reason) < 500 and bad.reason.isprintable()
    assert found.batches() == ["good"] and len(found.catalogue("good")) == 1
    with pytest.raises(SurveyError, match="bad"):
        found.catalogue("bad")


def test_an_error_of_no_known_class_holds_its_delivery_alone(tmp_path, monkeypatch):
    put_folder(tmp_path / "survey/good", {"z.png": png(8)})
    put_zip(tmp_path / "survey/bad.zip")

    def fails(*_):
        raise BufferError("nobody thought of it")

    monkeypatch.setattr(drop, "look_inside", fails)
    bad, good = reader(tmp_path).deliveries()
    assert (bad.state, good.state) == ("held", "whole") and "nobody thought of it" in (bad.reason or "")


# --- labels


def zooniverse(annotations: str, subject: str = '{"1": {"id": "g"}}') -> str:
    cells = (f'"{text.replace(chr(34), chr(34) * 2)}"' for text in (annotations, subject))
    head = "classification_id,user_name,created_at,annotations,subject_data\n"
    good = '1,u,2026-01-01 00:00:00 UTC,"[{""task"":""T0"",""value"":""Yes""}]","{""1"":{""id"":""h""}}"\n'
    return f"{head}2,u,2026-01-01 00:00:00 UTC,{','.join(cells)}\n{good}"


YES = '[{"task": "T0", "value": "Yes"}]'
HEAD = "galaxy_id,score,time\n"
ROWS = {  # a bad row among good ones: the galaxy of a good one, and what is said of the bad one
    "before the year 1": (f"{HEAD}g,3,0001-01-01T00:00:00+23:00\nh,2,\n", "line 2: time .* before the year 1"),
    "the end of time": (f"{HEAD}g,3,9999-12-31T23:59:59.999999-23:00\nh,2,\n", "line 2: time .* is in the future"),
    "5,000 digits": (f"{HEAD}g,{'9' * 5000},\nh,2,\n", "line 2: score 999"),
    "deep JSON": (zooniverse("[" * 100_000), "line 2: .* JSON of a classification"),
    "a deep subject": (zooniverse(YES, '{"a":' * 20_000), "line 2: .* JSON of a classification"),
    "digits in JSON": (zooniverse(YES, f'{{"1": {{"id": {"9" * 5000}}}}}'), "line 2: "),
    "half a character": (zooniverse(YES, '{"1": {"id": "\\ud800"}}'), "line 2: .*surrogates"),
    "a huge cell": (f"galaxy_id,score,note\ng,3,{'x' * 200_000}\nh,2,y\n", "1 lines have a cell of more than 131072"),
    "a stray quote": ('galaxy_id,score\n"g,3\nh,2\n', "1 lines have a quote that is not closed, such as line 2"),
}
PACKED = gzip.compress(b"galaxy_id,score\n" + b"".join(b"g%d,3\n" % i for i in range(1000)))
FILES = {
    "null bytes": (bytes(1000), "no text"),
    "null bytes in rows": (b"galaxy_id,score\na\0,3\n", "no text"),
    "cut gzip": (PACKED[:-20], "ended before"),
    "damaged gzip": (PACKED[:50] + b"xxxx" + PACKED[54:], "not a CSV"),
    "a bomb": (gzip.compress(b"galaxy_id,score\n" + b"a,3\n" * 2**26 + b"a,3\n", 1), "more than 268435456 bytes"),
    "many lines": (gzip.compress(b"galaxy_id,score\n" + b"a,3\n" * 5_000_001, 1), "more than 5000000 lines"),
    "deep JSON": (b"[" * 100_000, "no label file"),
    "a folder": (None, "a folder"),
    "a pipe": (os.mkfifo, "no regular file"),
}


@pytest.fixture
def log(tmp_path) -> LabelLog:
    """A log with a good file in its drop folder."""
    log = LabelLog(tmp_path / "labels")
    log.folder.mkdir()
    (log.folder / "zooniverse.yaml").write_text("task: T0\nanswers: {'Yes': 5}\n")
    (log.folder / "good.csv").write_text("galaxy_id,score\ngood,1\n")
    return log


@pytest.mark.parametrize(("text", "says"), ROWS.values(), ids=ROWS)
def test_a_row_that_cannot_be_read_is_named_and_the_others_are_taken(log, text, says):
    (log.folder / "bad.csv").write_text(text)
    bad, _ = import_drop(log)
    assert sorted(log.read()["galaxy_id"].to_pylist()) == ["good", "h"]
    assert len(bad.problems) == 1 and re.match(says, bad.problems[0]) and len(bad.problems[0]) < 400


@pytest.mark.parametrize(("content", "says"), FILES.values(), ids=FILES)
def test_a_label_file_that_cannot_be_read_is_told_and_the_others_are_taken(log, content, says):
    path = log.folder / "bad.csv"
    if content is None:
        path.mkdir()
    elif callable(content):
        content(path)
    else:
        path.write_bytes(content)
    bad, good = import_drop(log)
    assert bad.source is None and says in bad.problems[0] and str(path) in bad.problems[0]
    assert good.n_added == 1 and log.read()["galaxy_id"].to_pylist() == ["good"]


@pytest.mark.parametrize("text", ["a: " + "[" * 10**5, "answers: {y: 2026-13-45}", "answers: {y: 5, y: 1}", "\0"])
def test_answers_that_cannot_be_read_stop_zooniverses_files_alone(log, text):
    (log.folder / "zooniverse.yaml").write_text(text)
    (log.folder / "bad.csv").write_text(zooniverse(YES))
    bad, good = import_drop(log)
    assert bad.source is None and "zooniverse.yaml" in bad.problems[0] and good.n_added == 1


def test_times_up_to_a_day_ahead_are_taken(log):
    now = datetime.now(UTC)
    near, far = (now + timedelta(hours=hours) for hours in (23, 25))
    (log.folder / "bad.csv").write_text(f"{HEAD}near,1,{near.isoformat()}\nfar,2,{far.isoformat()}\n")
    bad, _ = import_drop(log)
    assert sorted(log.read()["galaxy_id"].to_pylist()) == ["good", "near"] and "line 3" in bad.problems[0]


def test_an_undo_takes_back_what_is_dated_at_the_end_of_time(log):
    end = datetime.max.replace(tzinfo=UTC)
    row = {"who": "a", "kind": "score", "galaxy_id": "g", "score": 3, "source": "cli", "time": end}
    (event,) = log.append([row])
    undo = log.undo([event], "a")[0]
    assert undo["undoes"] == event and undo["time"] <= datetime.now(UTC)
    assert log.undo([undo["event"]], "a")[0]["time"] > undo["time"]


# --- memory


def test_threads_hold_no_more_than_the_joint_limit_and_what_is_larger_is_alone():
    memory, ended = Memory(100), []

    def one(n: int) -> None:
        with memory.hold(n):
            memory.grow(n)
            with memory.hold(1):
                ended.append(n)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(one, [30, 40, 300, 10, 49, 20] * 20))
    assert len(ended) == 120 and memory.held == 0 and 601 <= memory.peak <= 601 + 100
    memory.grow(5)
    assert memory.held == 0, "nothing is counted outside a block"


def test_one_that_needs_more_than_is_left_waits():
    memory, holds = Memory(100), threading.Event()

    def other() -> None:
        with memory.hold(60):
            holds.set()
            time.sleep(0.2)  # time enough for the other to go on, were it let

    with ThreadPoolExecutor(1) as pool:
        waits = pool.submit(other)
        holds.wait()
        with memory.hold(50):
            assert memory.peak == 60
        waits.result()
        holds.clear()
        with memory.hold(10):
            waits = pool.submit(other)
            holds.wait()
            memory.grow(50)
            assert memory.peak == 70
        waits.result()
    assert memory.held == 0


def test_a_block_that_fails_gives_back_what_it_held():
    memory = Memory(10)
    with pytest.raises(KeyError), memory.hold(4):
        memory.grow(5)
        raise KeyError
    assert memory.held == 0 and memory.peak == 9


def test_all_threads_of_a_catalogue_share_one_limit(tmp_path, monkeypatch):
    memory = Memory(2_000_000)
    for module in (drop, images):
        monkeypatch.setattr(module, "MEMORY", memory)
    content = npy(np.zeros((500, 700), np.float32))
    put_folder(tmp_path / "survey/a", {f"{i}.npy": content for i in range(16)})
    found, together = reader(tmp_path), threading.Barrier(2, timeout=60)
    rows = found.catalogue("a").to_pylist()
    assert [row["problem"] for row in rows] == [None] * 16
    assert len(content) <= memory.peak <= 2_000_000 and memory.held == 0

    def image(row: dict) -> tuple[int, ...]:
        together.wait()
        return found.image(row["file"]).shape

    with ThreadPoolExecutor(2) as pool:
        assert list(pool.map(image, rows)) == [(500, 700)] * 16
    assert memory.held == 0 and memory.peak <= 2_000_000 + 500 * 700 * 20, "the pixels of one image beyond the limit"


WORLD = """
import re, sys
from pathlib import Path
from galaxy_assets.deliveries.readers import open_reader
from galaxy_assets.settings.files import SurveyError
from galaxy_assets.settings.source import Source
peak = lambda: int(re.search(r"VmHWM:\\s+(\\d+)", Path("/proc/self/status").read_text())[1]) // 1024
before = peak()
reader = open_reader(Source(reader=sys.argv[1], path="survey"), Path(sys.argv[2]))
for one in reader.deliveries():
    print(one.reason)
    try:
        print([row["reason"] for row in reader.catalogue(one.name).to_pylist()])
    except SurveyError as error:
        print(error)
print(peak() - before)
"""


def zeros_tar_gz(survey: Path) -> None:
    with gzip.open(survey / "a.tar.gz", "wb", 1) as to:
        info = tarfile.TarInfo("a.png")
        info.size = 3 * 2**30 // 8
        to.write(info.tobuf())
        for _ in range(info.size // 2**20):
            to.write(bytes(2**20))


def lying_fits(survey: Path) -> None:
    cards = {"SIMPLE": "T", "BITPIX": -64, "NAXIS": 3, "NAXIS1": 6900, "NAXIS2": 6900, "NAXIS3": 3}
    text = "".join(f"{key:8s}= {value:>20}".ljust(80) for key, value in cards.items()) + "END".ljust(80)
    with (survey / "a.fits").open("wb") as to:
        to.write(text.ljust(2880).encode())
        to.truncate(2880 + 8 * 3 * 6900**2)
    (survey / "b.fits.gz").write_bytes(gzip.compress(text.ljust(2880).encode() + bytes(280 * 2**20), 1))


def memo(survey: Path) -> None:
    batch = b"\x80\x03}r" + struct.pack("<I", 2**30) + b"."
    put_folder(survey, members() | {"data_batch_1": batch})


def labels_that_hold_themselves(survey: Path) -> None:
    names = ["a"]
    for _ in range(60):
        names = [names, names]
    put_folder(survey, members() | {"batches.meta": pickle.dumps({"label_names": names}, 3)})


@pytest.mark.parametrize(
    ("name", "put", "says", "most"),
    [
        ("image_folder", zeros_tar_gz, "unpack to more than", 150),
        ("fits_folder", lying_fits, "the largest file that is read has", 750),
        ("mirabest", memo, "place 1073741824 in a memo", 150),
        ("mirabest", labels_that_hold_themselves, "a class that is a list", 150),
    ],
)
def test_a_small_file_takes_little_memory_and_little_disk(tmp_path, name, put, says, most):
    (tmp_path / "survey").mkdir()
    put(tmp_path / "survey")
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", WORLD, name, str(tmp_path)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-1000:]
    assert says in done.stdout and int(done.stdout.splitlines()[-1]) < most, done.stdout
    left = [path for path in (tmp_path / "survey").rglob("*") if path.is_file() and ".spool" in path.parts]
    assert sum(path.stat().st_size for path in left) < 10_000


def test_pipes_devices_and_sockets_are_rows_or_passed_over(tmp_path):
    put_folder(tmp_path / "survey/a", {"a.png": png(1)})
    os.mkfifo(tmp_path / "survey/a/pipe.png")
    (tmp_path / "survey/a/device.png").symlink_to("/dev/zero")
    for suffix in (".zip", ".tar", ".tar.gz", ".parquet", ".h5", ".npz", ".npy"):
        os.mkfifo(tmp_path / f"survey/pipe{suffix}")
    os.mkfifo(tmp_path / "survey/labels.csv")
    found = reader(tmp_path)
    assert found.batches() == ["a", "images"]
    assert found.catalogue("images")["reason"].to_pylist() == ["no regular file"], "pipe.npy is called like an image"
    reasons = {row["galaxy_id"]: row["reason"] for row in found.catalogue("a").to_pylist()}
    assert reasons["a"] is None and reasons["pipe"] == "no regular file" and "leads out" in reasons["device"]
    for labels in ("labels.csv", "pipe.parquet"):
        with pytest.raises(SurveyError, match="no regular file"):
            reader(tmp_path, labels=labels).catalogue("a")


def test_beside_an_image_json_without_end_says_nothing(tmp_path):
    beside = {"a.json": b"[" * 100_000, "b.json": b'{"label": "x"}'}
    put_zip(tmp_path / "survey/a.zip", {"a.png": png(1), "b.png": png(2)} | beside)
    labels = {row["galaxy_id"]: row["label"] for row in reader(tmp_path).catalogue("a").to_pylist()}
    assert labels == {"a": None, "b": "x"}
