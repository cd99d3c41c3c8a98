"""The log of labels: nothing acknowledged is lost, whoever writes, merges, reads or is killed meanwhile."""

import os
import shutil
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pyarrow as pa
import pytest

from galaxy_assets.science.labels import standing
from galaxy_assets.storage.files import DamagedFile
from galaxy_assets.storage.integrity import flaws, repair
from galaxy_assets.storage.label_events import EVENTS, LabelLog, known_galaxies
from galaxy_assets.storage.layout import Layout
from galaxy_assets.storage.tables import read_table, write_table

WRITER = """
import sys
from pathlib import Path
from galaxy_assets.storage.label_events import LabelLog
log, who = LabelLog(Path(sys.argv[1])), sys.argv[2]
for i in range(int(sys.argv[3])):
    rows = [dict(who=who, kind="score", galaxy_id=f"g{i}", score=j % 6, source="cli") for j in range(10)]
    print(*log.append(rows), flush=True)
"""
# kills itself before the first rename of an append, or before the n-th removal of a merged file
KILLED = """
import os, signal, sys
from pathlib import Path
from galaxy_assets.storage.label_events import LabelLog
log, at, left = LabelLog(Path(sys.argv[1])), sys.argv[2], [int(sys.argv[3])]
whole = getattr(Path, at)
def dying(self, *arguments, **named):
    if at == "replace" or self.suffix == ".parquet":
        if not left[0]:
            os.kill(os.getpid(), signal.SIGKILL)
        left[0] -= 1
    return whole(self, *arguments, **named)
setattr(Path, at, dying)
event = dict(who="z", kind="score", galaxy_id="z", score=1, source="cli")
log.compact() if sys.argv[4] == "compact" else log.append([event])
"""


def start(code: str, *arguments: object) -> subprocess.Popen:
    return subprocess.Popen([sys.executable, "-c", code, *map(str, arguments)], stdout=subprocess.PIPE, text=True)


def score(galaxy: str, points: int, who: str = "ann", **more) -> dict:
    return {"who": who, "kind": "score", "galaxy_id": galaxy, "score": points, "source": "cli", **more}


def ids(table: pa.Table) -> list[str]:
    return table["event"].to_pylist()


@pytest.fixture
def log(tmp_path) -> LabelLog:
    return LabelLog(Layout(tmp_path).labels("s"))


def test_events_are_on_the_disk_with_their_names_when_they_are_kept(tmp_path, monkeypatch):
    flushed, whole = [], os.fsync

    def noted(descriptor: int) -> None:
        flushed.append(Path(f"/proc/self/fd/{descriptor}").readlink())
        whole(descriptor)

    monkeypatch.setattr(os, "fsync", noted)
    log = LabelLog(tmp_path / "labels/s")
    log.append([score("g1", 1)])
    assert flushed[1:] == [log.events, log.folder, log.folder.parent] and flushed[0].parent == log.events
    log.append([score("g2", 1)])
    assert flushed[-1] == log.events and len(flushed) == 6


def test_four_writers_a_compaction_and_a_reader_at_once_lose_nothing(log):
    writers = [start(WRITER, log.folder, name, 250) for name in "abcd"]
    # their pipes hold less than they print
    listening = ThreadPoolExecutor(4)
    heard = [listening.submit(lambda w=writer: w.communicate()[0].split()) for writer in writers]
    seen: set[str] = set()
    merged = 0
    while not all(words.done() for words in heard):
        merged += log.compact()
        now = ids(log.read())
        assert seen <= set(now), "what was read once is read again"
        seen = set(now)
    acknowledged = [event for words in heard for event in words.result()]
    assert [writer.returncode for writer in writers] == [0] * 4 and merged > 0
    table = log.read()
    assert table.schema == EVENTS and len(set(acknowledged)) == table.num_rows == 10_000
    assert set(ids(table)) == set(acknowledged)
    for k in (0, 1, 4_321, 9_999):
        until = table["time"][k].as_py()
        replayed = log.read(until)
        assert replayed.equals(table.slice(0, replayed.num_rows)) and replayed.num_rows > k
        assert replayed.num_rows == 10_000 or table["time"][replayed.num_rows].as_py() > until
    log.compact()
    assert log.read().equals(table) and len(list(log.events.glob("*.parquet"))) == 1


def test_a_writer_and_a_compaction_that_are_killed_lose_nothing_acknowledged(log):
    acknowledged: list[str] = []
    compacting = "import sys\nfrom pathlib import Path\nfrom galaxy_assets.storage.label_events import LabelLog\n"
    compacting += "while True: print(LabelLog(Path(sys.argv[1])).compact(), flush=True)"
    for _ in range(3):
        writer, compactor = start(WRITER, log.folder, "a", 10_000), start(compacting, log.folder)
        for _ in range(25):
            acknowledged += writer.stdout.readline().split()
            compactor.stdout.readline()
        compactor.kill()
        writer.kill()
        acknowledged += [
            event
            for line in writer.communicate()[0].splitlines(keepends=True)
            if line.endswith("\n")
            for event in line.split()
        ]
        compactor.communicate()
    assert len(acknowledged) >= 750 and set(acknowledged) <= set(ids(log.read()))


@pytest.mark.parametrize(
    "at, left, what",
    [("replace", 0, "compact"), ("unlink", 0, "compact"), ("unlink", 2, "compact"), ("replace", 0, "append")],
)
def test_killed_at_any_moment_the_log_is_what_it_was(log, at, left, what):
    for i in range(5):
        log.append([score(f"g{i}", i)])
    before = log.read()
    killed = start(KILLED, log.folder, at, left, what)
    assert killed.wait() == -signal.SIGKILL
    assert log.read().equals(before)
    assert log.compact() == {("unlink", 0): 6, ("unlink", 2): 4}.get((at, left), 5), "the next one goes on"
    assert log.read().equals(before)


def test_ids_sort_by_time_and_what_is_not_an_event_is_refused_whole(log):
    assert log.read().equals(EVENTS.empty_table()) and not log.folder.exists() and log.compact() == 0
    first, second = log.append([score("a", 1)]) + log.append([score("b", 0)])
    assert first < second and ids(log.read()) == [first, second]
    for wrong, message in (
        ({"score": 7}, "score 7"),
        ({"score": None}, "a score without score"),
        ({"label": "ring"}, "none of the others"),
        ({"kind": "vote"}, "kind 'vote'"),
        ({"galaxy_id": ""}, "no galaxy_id"),
        ({"who": None}, "no who"),
        ({"source": "rumour"}, "source 'rumour'"),
        ({"points": 3}, "no such column: points"),
        ({"time": datetime(2026, 1, 1)}, "no time zone"),
    ):
        with pytest.raises(ValueError, match=f"row 1 of the label events: .*{message}"):
            log.append([score("c", 1), score("d", 1) | wrong])
    assert ids(log.read()) == [first, second]
    with pytest.raises(ValueError, match="no time zone"):
        log.read(datetime(2026, 1, 1))


def test_replay_shows_what_stood_then_and_an_undo_restores(log):
    (event,) = log.append([score("a", 1)])
    log.append([score("b", 5, source="oracle", who="volunteers", round=2, acquisition=0.5)])
    undo = log.undo([event], "ben", "mistaken")[0]["event"]
    redo = log.undo([undo], "ann")[0]["event"]
    moments = [row["recorded"] for row in log.read().to_pylist()]
    held = [{r["galaxy_id"]: r["score"] for r in standing(log.read(moment)).to_pylist()} for moment in moments]
    assert held == [{"a": 1.0}, {"a": 1.0, "b": 5.0}, {"b": 5.0}, {"a": 1.0, "b": 5.0}]
    assert log.read().to_pylist()[-1]["undoes"] == undo and ids(log.read())[-1] == redo
    log.append([score("c", 3, time=datetime(2020, 1, 1, tzinfo=UTC))])  # said long ago, imported now
    assert standing(log.read(moments[-1]))["galaxy_id"].to_pylist() == ["a", "b"]
    assert standing(log.read())["galaxy_id"].to_pylist() == ["a", "b", "c"]
    with pytest.raises(ValueError, match="no event nosuch in .*labels list"):
        log.undo(["nosuch"], "ann")
    (ahead,) = log.append([score("a", 4, time=datetime.now(UTC) + timedelta(hours=1))])
    log.undo([ahead], "ann")
    assert standing(log.read())["score"].to_pylist() == [1.0, 5.0, 3.0], "also where the other clock was ahead"


def test_duplicated_files_and_any_split_into_files_are_the_same_log(log, tmp_path):
    for i in range(6):
        log.append([score("a", i), score("b", 5 - i, who="ben")])
    table = log.read()
    other = LabelLog(tmp_path / "other")
    for number, rows in enumerate(([11, 0], [3, 4, 5], [1, 2], [10, 6, 7, 8, 9, 0], [4])):
        write_table(table.take(rows), other.events / f"{number}.parquet")
    assert other.read().equals(table) and standing(other.read()).equals(standing(table))
    assert other.compact() == 5 and other.read().equals(table)


def test_a_link_to_nothing_is_named_and_set_aside_and_nothing_waits_for_it(log, tmp_path, monkeypatch):
    listed, whole = [], LabelLog.files

    def few(self: LabelLog) -> list[Path]:
        assert len(listed) < 50, "it is asked for again and again"
        listed.append(self)
        return whole(self)

    monkeypatch.setattr(LabelLog, "files", few)
    log.append([score("a", 1)])
    (link := log.events / "a.parquet").symlink_to(tmp_path / "nowhere.parquet")
    for ask in (log.read, log.fingerprint, log.compact):
        with pytest.raises(DamagedFile, match=r"events/a\.parquet.*not there.*--repair"):
            ask()
    (flaw,) = flaws(Layout(tmp_path), "s")
    assert flaw.path == link and "nowhere.parquet" in flaw.words
    assert "kept as" in repair(flaw, Layout(tmp_path), "s")
    assert log.read()["galaxy_id"].to_pylist() == ["a"] and list(flaws(Layout(tmp_path), "s")) == []


def test_a_file_that_was_merged_since_it_was_listed_is_read_where_it_is_now(log, monkeypatch):
    for galaxy in ("a", "b"):
        log.append([score(galaxy, 1)])
    before, whole = log.fingerprint(), LabelLog.files
    for ask in (lambda: log.read()["galaxy_id"].to_pylist() == ["a", "b"], lambda: log.fingerprint() == before):
        old = log.files()
        log.append([score("b", 1, event=log.read()["event"][1].as_py())])  # the same event again: two files to merge
        assert log.compact() == 1 + len(old)
        listings = iter([old])
        with monkeypatch.context() as late:
            late.setattr(LabelLog, "files", lambda self: next(listings, None) or whole(self))  # noqa: B023
            assert ask()


def test_known_galaxies_are_those_of_every_delivery(tmp_path):
    layout = Layout(tmp_path)
    assert known_galaxies(layout, "s") is None
    for batch in ("b1", "b2"):
        write_table(pa.table({"galaxy_id": [batch], "file": [f"{batch}.png"]}), layout.table("s", "catalogue", batch))
    assert known_galaxies(layout, "s") == {"b1": "b1.png", "b2": "b2.png"}


def test_a_file_of_events_is_plain_parquet(log):
    log.append([score("a", 1)])
    (file,) = log.events.glob("*.parquet")
    assert isinstance(file, Path) and read_table(file).schema == EVENTS


def test_the_fingerprint_is_of_the_events_and_not_of_their_files(log, tmp_path):
    assert log.fingerprint() == LabelLog(tmp_path / "nowhere").fingerprint()
    seen = []
    for i in range(3):
        log.append([score(f"g{i}", i)])
        seen.append(log.fingerprint())
    assert len(set(seen)) == 3
    shutil.copytree(log.folder, tmp_path / "copy")
    assert log.compact() == 3
    assert {log.fingerprint(), LabelLog(tmp_path / "copy").fingerprint()} == {seen[-1]}
    (file,) = log.files()
    file.write_bytes(file.read_bytes()[:100])
    assert log.fingerprint() != seen[-1]
