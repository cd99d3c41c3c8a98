"""Surveys at an address: what is copied, when it is copied anew, and what becomes of what is gone."""

import contextlib
import functools
import http.server
import itertools
import logging
import os
import re
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import fsspec
import pytest
from fsspec.implementations.memory import MemoryFile

from galaxy_assets.deliveries import mirror
from galaxy_assets.deliveries.readers import open_reader
from galaxy_assets.settings.files import SurveyError, read_survey
from galaxy_assets.settings.source import Source
from galaxy_assets_tests.deliveries.test_drop import png, put_zip


@pytest.fixture(params=["file", "memory"])
def site(request, tmp_path, monkeypatch):
    """An address to put files at, as a fsspec file system's folder."""
    monkeypatch.setattr(mirror, "_PAUSE", 0)
    folder = tmp_path / "elsewhere" if request.param == "file" else Path("/galaxy_assets_tests/survey")
    files = fsspec.filesystem(request.param)
    yield Site(files, f"{request.param}://{folder}", folder)
    monkeypatch.undo()
    if files.exists(str(folder)):
        files.rm(str(folder), recursive=True)


class Site:
    """A folder at an address."""

    def __init__(self, files, address: str, folder: Path):
        self.files, self.address, self.folder = files, address, folder

    def put(self, name: str, data: bytes) -> None:
        self.files.makedirs(str((self.folder / name).parent), exist_ok=True)
        self.files.pipe_file(str(self.folder / name), data)

    def remove(self, name: str) -> None:
        self.files.rm_file(str(self.folder / name))


def opened(site: Site, raw: Path, **settings):
    return open_reader(Source(**{"reader": "image_folder", "path": site.address, "mirror": "far"} | settings), raw)


def times(raw: Path) -> dict[str, int]:
    return {
        path.relative_to(raw / "far").as_posix(): path.stat().st_ctime_ns
        for path in (raw / "far").rglob("*")
        if path.is_file() and not path.relative_to(raw / "far").parts[0].startswith(".")
    }


def test_a_survey_at_an_address_is_read_like_any_other(site, tmp_path):
    site.put("images/b1/a.png", png(1))
    site.put("images/b2/deep/b.png", png(2))
    site.put("labels.csv", b"id,label\na,ring\n")
    site.put("images/b1/.hidden.png", b"")
    reader = opened(site, tmp_path / "raw", labels="labels.csv")
    assert reader.batches() == ["b1", "b2"]
    (row,) = reader.catalogue("b1").to_pylist()
    assert (row["galaxy_id"], row["label"], row["file"]) == ("a", "ring", "images/b1/a.png")
    assert reader.image(row["file"]).shape == (24, 28, 3)
    assert set(times(tmp_path / "raw")) == {"images/b1/a.png", "images/b2/deep/b.png", "labels.csv"}


def test_only_what_changed_is_copied_anew(site, tmp_path):
    for name in ("b1/a.png", "b1/b.png"):
        site.put(name, png(1))
    before = [one.snapshot for one in opened(site, tmp_path).deliveries()]
    copied = times(tmp_path)
    assert [one.snapshot for one in opened(site, tmp_path).deliveries()] == before and times(tmp_path) == copied
    site.put("b1/b.png", png(2))
    site.put("b2/c.png", png(3))
    (tmp_path / "far/b1/a.png").write_bytes(b"short")  # what is not as it was copied is copied again
    reader = opened(site, tmp_path)
    assert reader.batches() == ["b1", "b2"] and reader.image("b1/a.png").shape == (24, 28, 3)
    assert (tmp_path / "far/b1/b.png").read_bytes() == png(2)
    copied = times(tmp_path)
    site.put("b1/b.png", png(4))
    opened(site, tmp_path)
    assert {name for name, time in times(tmp_path).items() if copied[name] != time} == {"b1/b.png"}


def test_what_is_gone_there_is_set_aside_and_that_is_said(site, tmp_path, caplog):
    for name in ("b1/a.png", "b2/b.png"):
        site.put(name, png(1))
    opened(site, tmp_path)
    (tmp_path / "far/mine.csv").write_text("a person's own file")
    site.remove("b2/b.png")
    assert opened(site, tmp_path).batches() == ["b1"]
    assert "1 files are no longer there, b2/b.png for one; they go to" in caplog.text
    (gone,) = (tmp_path / "far/.gone").rglob("*.png")
    assert gone.read_bytes() == png(1) and gone.parts[-2:] == ("b2", "b.png")
    assert (tmp_path / "far/mine.csv").exists() and not (tmp_path / "far/b2").exists()


def test_a_file_that_cannot_be_copied_makes_its_delivery_wait_and_no_other(site, tmp_path, monkeypatch, caplog):
    for i in range(20):
        site.put(f"b1/{i:02}.png", png(i))
    site.put("b2/z.png", png(30))
    copy = type(site.files).get_file
    asked, number = [], itertools.count(1)

    def stalls(self, path, *args, **kwargs):
        asked.append(path)
        if next(number) == 12:  # several threads copy
            raise OSError("connection lost")
        return copy(self, path, *args, **kwargs)

    monkeypatch.setattr(type(site.files), "get_file", stalls)
    states = {one.name: one.state for one in opened(site, tmp_path).deliveries()}
    assert states == {"b1": "arriving", "b2": "whole"} and "connection lost; run again to go on" in caplog.text
    done = times(tmp_path)
    assert done and not [name for name in done if "partial" in name]
    again = opened(site, tmp_path)
    assert len(again.catalogue("b1")) == 20 and {one.state for one in again.deliveries()} == {"whole"}
    assert len(asked) == 21 + 1  # the one that failed, and no other


def test_where_nothing_at_all_can_be_copied_that_is_an_error(site, tmp_path, monkeypatch):
    site.put("b1/a.png", png(1))

    def refused(self, *args, **kwargs):
        raise PermissionError("forbidden")

    monkeypatch.setattr(type(site.files), "get_file", refused)
    with pytest.raises(SurveyError, match="forbidden; run again to go on from here"):
        opened(site, tmp_path)


def test_an_address_that_cannot_be_reached_is_an_error_only_at_first(site, tmp_path, monkeypatch, caplog):
    site.put("b1/a.png", png(1))

    def unreachable(self, *args, **kwargs):
        raise ConnectionError("no route to host")

    find = type(site.files).find
    monkeypatch.setattr(type(site.files), "find", unreachable)
    with pytest.raises(SurveyError, match="cannot be listed: no route to host; correct `source.path`"):
        opened(site, tmp_path)
    monkeypatch.setattr(type(site.files), "find", find)
    opened(site, tmp_path)
    monkeypatch.setattr(type(site.files), "find", unreachable)
    assert opened(site, tmp_path).batches() == ["b1"]
    assert "no route to host; what was copied before is used" in caplog.text


def test_an_empty_address_sets_nothing_aside(site, tmp_path):
    site.put("b1/a.png", png(1))
    opened(site, tmp_path)
    site.remove("b1/a.png")
    with pytest.raises(SurveyError, match="there is no file; correct `source.path`"):
        opened(site, tmp_path)
    assert set(times(tmp_path)) == {"b1/a.png"}


def test_a_folder_that_holds_something_else_is_not_touched(site, tmp_path):
    site.put("b1/a.png", png(1))
    (tmp_path / "far").mkdir()
    (tmp_path / "far/mine.csv").write_text("a person's own file")
    with pytest.raises(SurveyError, match="holds something else; move it away, or name another folder"):
        opened(site, tmp_path)
    (tmp_path / "far/mine.csv").unlink()
    opened(site, tmp_path)
    with pytest.raises(SurveyError, match="holds the copy of .* and not of"):
        opened(site, tmp_path, path=site.address + "/b1")


def test_an_address_is_not_asked_again_within_a_minute(site, tmp_path, monkeypatch, caplog):
    caplog.set_level(logging.INFO)
    monkeypatch.setattr(mirror, "_PAUSE", 3600)
    site.put("b1/a.png", png(1))
    opened(site, tmp_path)
    site.put("b2/b.png", png(1))
    assert opened(site, tmp_path).batches() == ["b1"]
    monkeypatch.setattr(mirror, "_PAUSE", 0)
    assert opened(site, tmp_path).batches() == ["b1", "b2"]


def test_one_file_at_an_address_is_a_delivery(site, tmp_path):
    site.put("b1.zip", put_zip(tmp_path / "b1.zip").read_bytes())
    assert opened(site, tmp_path / "raw", path=f"{site.address}/b1.zip").batches() == ["b1"]


def test_an_address_that_fsspec_does_not_know_is_an_error(tmp_path):
    with pytest.raises(SurveyError, match="nosuch://x cannot be listed: Protocol not known"):
        open_reader(Source(reader="image_folder", path="nosuch://x", mirror="far"), tmp_path)
    with pytest.raises(SurveyError, match="name it in `source.mirror`"):
        open_reader(Source(reader="image_folder", path="memory://x"), tmp_path)


def test_a_survey_is_mirrored_to_a_folder_of_its_name(tmp_path):
    path = tmp_path / "mine.yaml"
    start = "name: mine\ntitle: t\ndescription: d\nsource: {reader: image_folder, path: "
    path.write_text(start + "'s3://bucket/x'}\n")
    assert read_survey(path).source.mirror == "mine"
    path.write_text(start + "'s3://bucket/x', mirror: other}\n")
    assert read_survey(path).source.mirror == "other"
    path.write_text(start + "/data/x}\n")
    assert read_survey(path).source.mirror is None
    path.write_text(start + "'s3://bucket/x', mirror: ../x}\n")
    with pytest.raises(SurveyError, match="source.mirror"):
        read_survey(path)


ASKED: list[str] = []  # what the server was asked for by HEAD


class _Apache(http.server.SimpleHTTPRequestHandler):
    """Serves a folder with the links of Apache's lists, and no time of the day that tells a change."""

    def log_message(self, *_):
        pass

    def do_HEAD(self):
        ASKED.append(self.path)
        super().do_HEAD()

    def copyfile(self, source, outputfile):
        if getattr(source, "name", None) is None:  # a list: one more link, and one that leads out
            links = b'<a href="?C=N;O=D">Name</a><a href="%2e%2e/out.png">x</a><a href="%2Fetc%2Fout.png">x</a>'
            links += b'<a href=".hidden.png">x</a><a href="%2ehidden.png">x</a>'
            outputfile.write(source.read().replace(b"<ul>", links.ljust(PADDED) + b"<ul>"))
        else:
            super().copyfile(source, outputfile)

    def send_header(self, keyword, value):
        if keyword == "Content-Length" and self.path.endswith("/"):
            value = str(int(value) + PADDED)
        if keyword == "Content-Length" and self.command == "HEAD" and self.path.endswith("unsized.png"):
            value = "0"
        super().send_header(keyword, value)


PADDED = 300


@pytest.fixture
def web(tmp_path, monkeypatch):
    """A folder and the address of a server of it."""
    monkeypatch.setattr(mirror, "_PAUSE", 0)
    (tmp_path / "served/b 1").mkdir(parents=True)
    handler = functools.partial(_Apache, directory=str(tmp_path / "served"))
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
    yield tmp_path / "served", f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def test_a_web_server_is_asked_which_files_changed_and_its_names_are_read(web, tmp_path, monkeypatch):
    folder, address = web
    for name in ("a+1.png", "µ.png", "c.png"):
        (folder / "b 1" / name).write_bytes(png(1))
    source = Source(reader="image_folder", path=f"{address}/", mirror="far")
    reader = open_reader(source, tmp_path)
    assert set(times(tmp_path)) == {"b 1/a+1.png", "b 1/c.png", "b 1/µ.png"} and reader.batches() == ["b_1"]
    copied = times(tmp_path)
    open_reader(source, tmp_path)
    assert times(tmp_path) == copied
    (folder / "b 1/c.png").write_bytes(png(2))
    os.utime(folder / "b 1/c.png", (1e9, 1e9))
    monkeypatch.setattr(mirror, "_DAY", 0)
    open_reader(source, tmp_path)
    assert (tmp_path / "far/b 1/c.png").read_bytes() == png(2)
    assert {name for name, time in times(tmp_path).items() if copied[name] != time} == {"b 1/c.png"}


@pytest.mark.parametrize(
    ("path", "root", "name"),
    [
        ("bucket/survey/a//b.png", "bucket/survey", "a/b.png"),
        ("bucket/survey/a%20b.png", "bucket/survey", "a%20b.png"),
        ("bucket/survey/.spool/x.tar", "bucket/survey/", None),
        ("https://host/s/a%20b.png?version=2#x", "https://host/s/", "a b.png"),
        ("https://host/s/?C=N;O=D", "https://host/s", None),
        ("https://host/s/b1/?C=N;O=D", "https://host/s/", None),
        ("https://host/s/%2e%2e/x.png", "https://host/s/", None),
        ("https://host/s/a%2F..%2F..%2Fx.png", "https://host/s/", None),
        ("https://host/s/%2Fetc%2Fx.png", "https://host/s/", None),
        ("https://host/s/%00.png", "https://host/s/", None),
    ],
)
def test_a_copy_is_called_by_the_names_below_the_address_and_leads_nowhere(path, root, name):
    assert mirror._name(path, root) == name


def test_one_file_at_a_web_address_with_a_query_is_a_delivery(web, tmp_path):
    folder, address = web
    put_zip(folder / "b1.zip")
    source = Source(reader="image_folder", path=f"{address}/b1.zip?download=a/b", mirror="far")
    assert open_reader(source, tmp_path).batches() == ["b1"]


def test_a_web_server_is_asked_of_a_file_that_was_copied_once_a_day(web, tmp_path, monkeypatch):
    folder, address = web
    for name in ("a.png", "b.png", "unsized.png"):  # the server says of the last that it has no bytes
        (folder / "b 1" / name).write_bytes(png(1))
    source = Source(reader="image_folder", path=f"{address}/", mirror="far")
    ASKED.clear()
    open_reader(source, tmp_path)
    assert len(ASKED) == 3 and (tmp_path / "far/b 1/unsized.png").read_bytes() == png(1)
    (folder / "b 1/c.png").write_bytes(png(2))
    for _ in range(3):
        open_reader(source, tmp_path)
    assert ASKED[3:] == ["/b%201/c.png"]
    monkeypatch.setattr(mirror, "_DAY", 0)
    open_reader(source, tmp_path)
    assert len(ASKED) == 4 + 4


def test_a_copy_of_a_web_server_that_was_made_before_keeps_its_names_and_is_not_copied_again(web, tmp_path):
    folder, address = web
    for i, name in enumerate(("a b.png", "c.png")):
        (folder / "b 1" / name).write_bytes(png(i))
    (tmp_path / "far/b%201").mkdir(parents=True)
    for name, data in (("a%20b.png", png(0)), ("c.png", png(1)[:-9])):  # the last has changed since
        (tmp_path / "far/b%201" / name).write_bytes(data)
    files = {f"b%201/{name}": "None " for name in ("a%20b.png", "c.png")}
    mirror._write(tmp_path / "far", mirror.Record(address=f"{address}/", files=files))
    before = times(tmp_path)
    open_reader(Source(reader="image_folder", path=f"{address}/", mirror="far"), tmp_path)
    after = times(tmp_path)
    assert after.keys() == before.keys() and {name for name in after if after[name] != before[name]} == {"b%201/c.png"}
    record = mirror._record(tmp_path / "far", f"{address}/")
    assert all("Last-Modified" in version for version in record.files.values())


def test_names_in_the_query_of_links_are_told_apart():
    home = "https://host/s"
    links = [f"{home}/get?file=a.png", f"{home}/get?file=b%201/b.png", f"{home}/get?file=../../x.png"]
    links += [f"{home}/x.png?w=1", f"{home}/x.png?w=2", f"{home}/y.png?v=z.png", f"{home}/one?id=5"]
    names = mirror._names(links, f"{home}/", {})
    assert list(names.values()) == ["a.png", "b 1/b.png", "get", "x.png", "x.png", "y.png", "one"]
    kept = mirror._names(links, f"{home}/", {"get?file=a.png": ""})
    assert list(kept.values())[:4] == ["get?file=a.png", "get?file=b%201/b.png", "get", "x.png?w=1"]


def test_a_file_that_failed_and_is_no_longer_there_keeps_no_delivery_waiting(site, tmp_path, monkeypatch):
    for name in ("b1/a.png", "b1/x.png", "b2/y.png"):
        site.put(name, png(1))
    copy = type(site.files).get_file

    def refuses(self, path, *args, **kwargs):
        if path.endswith(("x.png", "y.png")):
            raise PermissionError("forbidden")
        return copy(self, path, *args, **kwargs)

    monkeypatch.setattr(type(site.files), "get_file", refuses)
    assert {one.name: one.state for one in opened(site, tmp_path).deliveries()}["b1"] == "arriving"
    site.put("b3/mine.part", b"a file of this name")
    site.remove("b1/x.png")
    site.remove("b2/y.png")
    states = {one.name: one.state for one in opened(site, tmp_path).deliveries()}
    assert states["b1"] == "whole" and "b2" not in states
    assert set(times(tmp_path)) == {"b1/a.png", "b3/mine.part"}


@pytest.mark.parametrize("length", [130, 240, 255])
def test_a_name_as_long_as_a_file_system_bears_is_copied(site, tmp_path, length):
    name = "b1/" + "µ" * ((length - 4) // 2) + "x" * (length % 2) + ".png"
    site.put(name, png(1))
    assert opened(site, tmp_path).batches() == ["b1"] and set(times(tmp_path)) == {name}


def test_names_that_cannot_be_stored_make_their_delivery_wait_and_no_other(tmp_path, monkeypatch, caplog):
    monkeypatch.setattr(mirror, "_PAUSE", 0)
    files, home = fsspec.filesystem("memory"), f"/{tmp_path.name}"
    long, longer = "b1/" + "x" * 300 + ".png", "b4/" + "y" * 300 + "/z.png"
    for name in (
        long,
        longer,
        "b1/c.png",
        "b2/a.png",
        "b3/a",
        "b3/a/b.png",
    ):  # a bucket's keys may be a file and its folder
        files.store[f"{home}/{name}"] = MemoryFile(files, f"{home}/{name}", png(1))
    source = Source(reader="image_folder", path=f"memory:/{home}", mirror="far")
    for _ in range(2):
        states = {one.name: one.state for one in open_reader(source, tmp_path / "raw").deliveries()}
        assert states["b2"] == "whole" and states["b1"] == "arriving"
    assert "a name of more than 255 bytes cannot be stored; rename it there" in caplog.text
    for name in (long, longer, "b3/a/b.png", "b3/a"):
        del files.store[f"{home}/{name}"]
    states = {one.name: one.state for one in open_reader(source, tmp_path / "raw").deliveries()}
    assert states == {"b1": "whole", "b2": "whole"}
    assert set(times(tmp_path / "raw")) == {"b1/c.png", "b2/a.png"}


_KILLED = """
import sys, time
from pathlib import Path
from fsspec.implementations.local import LocalFileSystem
from galaxy_assets.deliveries.mirror import mirror
address, folder = sys.argv[1], Path(sys.argv[2])
copy = LocalFileSystem.get_file
def get(self, path, *args, **kwargs):
    if path.endswith("9.png"):
        while len(list(folder.rglob("[!.]*.png"))) < 9 or (folder / ".mirror.jsonl").read_bytes().count(b"\\n") < 9:
            time.sleep(0.01)
        import os, signal
        os.kill(os.getpid(), signal.SIGKILL)
    return copy(self, path, *args, **kwargs)
LocalFileSystem.get_file = get
mirror(address, folder)
"""


def test_what_was_copied_before_a_kill_is_not_copied_again(tmp_path, monkeypatch):
    monkeypatch.setattr(mirror, "_PAUSE", 0)
    (tmp_path / "there/b1").mkdir(parents=True)
    for i in range(10):
        (tmp_path / f"there/b1/{i}.png").write_bytes(png(i))
    address = f"file://{tmp_path / 'there'}"
    killed = subprocess.run([sys.executable, "-c", _KILLED, address, str(tmp_path / "far")])
    assert killed.returncode == -signal.SIGKILL and not (tmp_path / "far/b1/9.png").exists()
    with (tmp_path / "far/.mirror.jsonl").open("ab") as journal:
        journal.write(b'["b1/9.png", "cut o')
    before = times(tmp_path)
    (tmp_path / "there/b1/0.png").unlink()  # whole here, and gone there before anything was written down but its line
    reader = open_reader(Source(reader="image_folder", path=address, mirror="far"), tmp_path)
    after = times(tmp_path)
    assert {name for name in after if after[name] != before.get(name)} == {"b1/9.png"}
    assert len(reader.catalogue("b1")) == 9 and not (tmp_path / "far/.mirror.jsonl").exists()


class _Dripping(http.server.BaseHTTPRequestHandler):
    """A list of three files: one at once, one that comes byte by byte, one whose bytes stop coming."""

    sent: dict[str, int] = {}
    parts = 12

    def log_message(self, *_):
        pass

    def do_GET(self):
        self.send_response(200)
        if self.path.endswith("/"):
            body = b"".join(b'<a href="%s.png">x</a>' % name for name in (b"fast", b"slow", b"stuck"))
            self.send_header("Content-Type", "text/html")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)
            return
        name = self.path.rpartition("/")[2]
        self.send_header("Content-Length", str(self.parts * 1000))
        self.end_headers()
        with contextlib.suppress(OSError):
            for i in range(self.parts):
                if name == "stuck.png" and i:
                    self.server.over.wait(20)  # type: ignore[attr-defined]
                self.wfile.write(bytes(1000))
                self.sent[name] = i + 1
                time.sleep(0 if name == "fast.png" else 0.1)


@pytest.fixture
def dripping(monkeypatch):
    monkeypatch.setattr(mirror, "_PAUSE", 0)
    monkeypatch.setattr(_Dripping, "sent", {})
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Dripping)
    server.over = threading.Event()  # type: ignore[attr-defined]
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/s/"
    server.over.set()  # type: ignore[attr-defined]
    server.shutdown()
    server.server_close()


def test_a_slow_file_of_a_web_server_arrives_and_one_that_stops_coming_is_told_with_a_reason(
    dripping, tmp_path, monkeypatch, caplog
):
    monkeypatch.setattr(mirror, "_SILENT", 0.7)  # less than the slow one takes in all
    mirror.mirror(dripping, tmp_path / "far")
    assert (tmp_path / "far/slow.png").stat().st_size == 12_000
    assert re.search(r"stuck.png cannot be copied to \S+: \S.*; run again to go on", caplog.text)


def test_a_stopped_copy_ends_at_its_next_bytes_and_forgets_nothing_that_is_whole(dripping, tmp_path, monkeypatch):
    monkeypatch.setattr(_Dripping, "parts", 100)

    class Stopped(mirror.HowFar):
        def tell(self, *_):
            while _Dripping.sent.get("slow.png", 0) < 2:
                time.sleep(0.01)
            raise KeyboardInterrupt

    monkeypatch.setattr(mirror, "HowFar", Stopped)
    monkeypatch.setattr(mirror, "_SILENT", 0.5)
    with pytest.raises(KeyboardInterrupt):
        mirror.mirror(dripping, tmp_path / "far")
    assert _Dripping.sent["slow.png"] < 100 and set(times(tmp_path)) == {"fast.png"}
    assert set(mirror._record(tmp_path / "far", dripping).files) == {"fast.png"}


def test_what_made_a_delivery_wait_goes_whoever_put_it_there(site, tmp_path, monkeypatch):
    for name in ("b1/a.png", "b1/b.png", "b1/c.png", "b1/c.png.part"):  # the last one is a file of the survey
        site.put(name, png(1))
    (tmp_path / "far/b1").mkdir(parents=True)
    (tmp_path / "far/b1/a.png.part").touch()  # an earlier version, which kept no note of it
    (tmp_path / "far/b1/b.png.part").touch()
    mirror._write(tmp_path / "far", mirror.Record(address=site.address, files={}, failed={"b1/b.png": "b1/b.png.part"}))
    (tmp_path / "far/.mirror.jsonl").write_text('["b1/b.png", "of yesterday", null]\n')  # copied, and killed then
    mirror.mirror(site.address, tmp_path / "far")
    assert set(times(tmp_path)) == {"b1/a.png", "b1/b.png", "b1/c.png", "b1/c.png.part"}
    assert (tmp_path / "far/b1/c.png.part").read_bytes() == png(1)


def test_half_an_update_is_not_whole_for_who_cannot_reach_the_address(site, tmp_path, monkeypatch):
    site.put("b1/a.png", png(1))
    opened(site, tmp_path)
    for i in range(30):
        site.put(f"b2/{i}.png", png(i))

    class Stopped(mirror.HowFar):
        def tell(self, *_):
            raise KeyboardInterrupt

    with monkeypatch.context() as stopped, pytest.raises(KeyboardInterrupt):
        stopped.setattr(mirror, "HowFar", Stopped)
        opened(site, tmp_path)

    def unreachable(self, *args, **kwargs):
        raise ConnectionError("no route to host")

    monkeypatch.setattr(type(site.files), "find", unreachable)
    with pytest.raises(SurveyError, match="no route to host"):
        opened(site, tmp_path)


def test_a_loose_file_whose_name_is_too_long_makes_its_delivery_wait(tmp_path, monkeypatch):
    monkeypatch.setattr(mirror, "_PAUSE", 0)
    files, home = fsspec.filesystem("memory"), f"/{tmp_path.name}"
    for name in ("a.png", "x" * 300 + ".png"):
        files.store[f"{home}/{name}"] = MemoryFile(files, f"{home}/{name}", png(1))
    source = Source(reader="image_folder", path=f"memory:/{home}", mirror="far")
    assert {one.state for one in open_reader(source, tmp_path / "raw").deliveries()} == {"arriving"}


def test_a_persons_settings_of_web_servers_hold(dripping, monkeypatch):
    given = {"headers": {"Authorization": "Bearer planted"}, "trust_env": True}
    monkeypatch.setitem(fsspec.config.conf, "http", {"client_kwargs": given})
    options = mirror._options(dripping)["client_kwargs"]
    assert given.items() <= options.items() and options["timeout"].total is None
