"""Downloads from a server that truncates, stalls, forgets, changes its files and lies, and zips that do worse."""

import hashlib
import io
import logging
import re
import signal
import stat
import struct
import subprocess
import sys
import threading
import zipfile
from collections.abc import Iterator
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import NamedTuple

import pytest
import yaml
from pydantic import ValidationError
from typer.testing import CliRunner

from galaxy_assets.cli import app
from galaxy_assets.deliveries.download import offers
from galaxy_assets.deliveries.download.fetching import alone_in, fetch
from galaxy_assets.deliveries.download.offers import Download, FetchError, load_downloads
from galaxy_assets.deliveries.download.pending import space_needed
from galaxy_assets.deliveries.download.progress import Pace, progress_line
from galaxy_assets.deliveries.download.unpacking import unpack
from galaxy_assets.deliveries.readers import open_reader
from galaxy_assets.deliveries.readers.mirabest import KNOWN_MD5
from galaxy_assets.science.encoders.weights import RESNET18
from galaxy_assets.settings.files import survey_files
from galaxy_assets.settings.source import Source
from galaxy_assets_tests.conftest import draw

CONTENT = bytes(range(256)) * 4000  # 1 MB
QUICK = Pace(timeout=0.5, attempts=3, pause=0.01)
ROOT = Path(__file__).parents[2]


class Request(NamedTuple):
    """What one request asked for and got; `sent` are bytes of the body."""

    method: str
    range: str | None
    if_range: str | None
    status: int
    sent: int


class Site:
    """A server on 127.0.0.1 whose one file and whose next answers a test decides.

    `script` is used up by GET requests: a status to answer, a number of bytes after which to hang up (`cut`) or to fall
    silent (`stall`), or a header to send besides. Without it the file is served as any good server does.
    """

    def __init__(self):
        self.content, self.etag, self.modified = CONTENT, '"one"', None
        self.script: list[dict] = []
        self.requests: list[Request] = []
        self.released = threading.Event()
        site = self

        class Handler(BaseHTTPRequestHandler):
            def log_message(self, *_):
                pass

            def do_HEAD(self):
                self.do_GET()

            def do_GET(self):
                step = site.script.pop(0) if site.script and self.command == "GET" else {}
                site.answer(self, step)

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_port}/file"
        threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()

    def answer(self, handler: BaseHTTPRequestHandler, step: dict) -> None:
        asked = handler.headers.get("Range")
        begin = int(asked.removeprefix("bytes=").removesuffix("-")) if asked else 0
        condition = handler.headers.get("If-Range")
        current = condition in (None, self.etag, self.modified) or step.get("forgets_if_range")
        status = step.get("status") or (206 if asked and current and not step.get("ignores_range") else 200)
        if status == 206 and begin >= len(self.content):
            status = 416
        body = {200: self.content, 206: self.content[begin:]}.get(status, b"")
        headers = {"Content-Length": str(len(body)), "Content-Type": "application/octet-stream"}
        headers |= {"ETag": self.etag} if self.etag else {}
        headers |= {"Last-Modified": self.modified} if self.modified else {}
        if status == 206:
            headers["Content-Range"] = f"bytes {begin}-{len(self.content) - 1}/{len(self.content)}"
        body = b"" if handler.command == "HEAD" else body[: step.get("cut", step.get("stall"))]
        self.requests.append(Request(handler.command, asked, condition, status, len(body)))
        handler.send_response(status)
        for name, value in (headers | step.get("headers", {})).items():
            if value is not None:
                handler.send_header(name, value)
        handler.end_headers()
        try:
            handler.wfile.write(body)
            handler.wfile.flush()
            if "stall" in step:
                self.released.wait(20)
        except OSError:
            pass  # the client is gone, as a killed one is

    @property
    def gets(self) -> list[Request]:
        return [request for request in self.requests if request.method == "GET"]


@pytest.fixture
def site(monkeypatch) -> Iterator[Site]:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    site = Site()
    yield site
    site.released.set()
    site.server.shutdown()
    site.server.server_close()


def md5(content: bytes) -> str:
    return hashlib.md5(content, usedforsecurity=False).hexdigest()


def offered(site: Site, **keys) -> Download:
    settings = {"target": "raw/sky/file.bin", "url": site.url, "page": "https://sky.example", "md5": md5(CONTENT)}
    return Download(**(settings | keys))


def hidden(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir() if path.name.startswith(".")}


# Transfers


def test_a_file_arrives_whole_and_is_not_fetched_twice(site, tmp_path, caplog):
    caplog.set_level(logging.INFO)
    assert fetch([offered(site)], tmp_path, pace=QUICK) == []
    target = tmp_path / "raw" / "sky" / "file.bin"
    assert target.read_bytes() == CONTENT
    assert hidden(target.parent) == {".file.bin.json", ".fetch.lock"}
    assert fetch([offered(site)], tmp_path, pace=QUICK) == []
    assert [(r.method, r.sent) for r in site.requests] == [("HEAD", 0), ("GET", len(CONTENT))]
    assert f"{target}: already there, md5:{md5(CONTENT)}" in caplog.text


def test_a_file_put_there_by_hand_is_checked_and_kept(site, tmp_path):
    target = tmp_path / "raw" / "sky" / "file.bin"
    target.parent.mkdir(parents=True)
    target.write_bytes(CONTENT)
    assert fetch([offered(site)], tmp_path, pace=QUICK) == []
    target.write_bytes(CONTENT[:-1])
    (message,) = fetch([offered(site)], tmp_path, pace=QUICK)
    assert md5(CONTENT) in message and md5(CONTENT[:-1]) in message and "move it away" in message
    assert target.read_bytes() == CONTENT[:-1] and site.requests == []


def test_a_file_there_is_judged_anew_when_the_table_is_corrected(site, tmp_path):
    assert fetch([offered(site)], tmp_path, pace=QUICK) == []
    (message,) = fetch([offered(site, md5="0" * 32)], tmp_path, pace=QUICK)
    assert "move it away" in message and (tmp_path / "raw/sky/file.bin").exists()


def test_a_transfer_that_breaks_off_goes_on_where_it_was(site, tmp_path, caplog):
    site.script = [{"cut": 300_000}, {"stall": 200_000}, {"status": 503}]
    assert fetch([offered(site)], tmp_path, pace=QUICK) == []
    assert (tmp_path / "raw/sky/file.bin").read_bytes() == CONTENT
    assert [(r.range, r.status, r.sent) for r in site.gets] == [
        (None, 200, 300_000),
        ("bytes=300000-", 206, 200_000),
        ("bytes=500000-", 503, 0),
        ("bytes=500000-", 206, 524_000),
    ]
    assert {r.if_range for r in site.gets[1:]} == {'"one"'}
    assert "ended after 300000 of 1024000 bytes; trying again" in caplog.text and "timed out" in caplog.text


def test_it_goes_on_by_the_date_where_the_server_has_no_strong_etag(site, tmp_path):
    site.etag, site.modified = 'W/"weak"', formatdate(1_600_000_000, usegmt=True)
    site.script = [{"cut": 300_000}]
    assert fetch([offered(site)], tmp_path, pace=QUICK) == []
    assert [(r.range, r.if_range) for r in site.gets] == [(None, None), ("bytes=300000-", site.modified)]


def test_without_any_validator_it_starts_anew(site, tmp_path):
    site.etag = None
    site.script = [{"cut": 300_000}]
    assert fetch([offered(site)], tmp_path, pace=QUICK) == []
    assert [(r.range, r.sent) for r in site.gets] == [(None, 300_000), (None, len(CONTENT))]


@pytest.mark.parametrize("obedient", [True, False])
def test_a_file_that_changed_on_the_server_starts_anew(site, tmp_path, obedient):
    """An obedient server answers If-Range with the whole new file, another one with the rest of the new file."""
    new = CONTENT[::-1]
    site.script = [{"cut": 300_000}]
    wanted = offered(site, md5=md5(new))
    assert len(fetch([wanted], tmp_path, pace=Pace(attempts=1))) == 1
    site.content, site.etag = new, '"two"'
    site.script = [] if obedient else [{"forgets_if_range": True}]
    assert fetch([wanted], tmp_path, pace=QUICK) == []
    assert (tmp_path / "raw/sky/file.bin").read_bytes() == new
    assert site.gets[-1].sent == len(new)


def test_what_arrived_from_another_address_is_not_gone_on_with(site, tmp_path):
    site.script = [{"cut": 300_000}]
    fetch([offered(site)], tmp_path, pace=Pace(attempts=1))
    assert fetch([offered(site, url=site.url + "/moved")], tmp_path, pace=QUICK) == []
    assert [r.range for r in site.gets] == [None, None]


def test_a_server_that_knows_no_ranges_sends_all_again(site, tmp_path):
    site.script = [{"cut": 300_000}, {"ignores_range": True}]
    assert fetch([offered(site)], tmp_path, pace=QUICK) == []
    assert (tmp_path / "raw/sky/file.bin").read_bytes() == CONTENT
    assert [r.status for r in site.gets] == [200, 200]


def test_a_partial_file_longer_than_the_servers_starts_anew(site, tmp_path):
    site.script = [{"cut": 300_000}]
    fetch([offered(site)], tmp_path, pace=Pace(attempts=1))
    with (tmp_path / "raw/sky/.file.bin.partial").open("ab") as partial:
        partial.write(bytes(len(CONTENT)))
    assert fetch([offered(site)], tmp_path, pace=QUICK) == []
    assert [r.status for r in site.gets] == [200, 416, 200]
    assert (tmp_path / "raw/sky/file.bin").read_bytes() == CONTENT


def test_a_file_stopped_after_its_last_byte_is_only_checked(site, tmp_path):
    site.script = [{"cut": 300_000}]
    fetch([offered(site)], tmp_path, pace=Pace(attempts=1))
    (tmp_path / "raw/sky/.file.bin.partial").write_bytes(CONTENT)
    assert fetch([offered(site)], tmp_path, pace=QUICK) == []
    assert len(site.gets) == 1 and (tmp_path / "raw/sky/file.bin").read_bytes() == CONTENT


def test_a_server_that_always_breaks_off_at_the_same_byte_is_given_up(site, tmp_path):
    site.etag = None
    site.script = [{"cut": 300_000}] * 20
    (message,) = fetch([offered(site)], tmp_path, pace=QUICK)
    assert "ended after 300000 of 1024000 bytes, 3 times in a row; 300.0 kB of it are kept" in message
    assert len(site.gets) == 3 and not (tmp_path / "raw/sky/file.bin").exists()


def test_a_server_that_keeps_failing_is_given_up_and_the_bytes_are_kept(site, tmp_path):
    site.script = [{"cut": 300_000}] + [{"status": 500}] * 20
    (message,) = fetch([offered(site)], tmp_path, pace=QUICK)
    assert "500" in message and "3 times in a row" in message and "the same command goes on" in message
    assert (tmp_path / "raw/sky/.file.bin.partial").read_bytes() == CONTENT[:300_000]


def test_a_missing_file_is_not_asked_for_again_and_stops_no_other(site, tmp_path):
    site.script = [{"status": 404}]
    gone, there = offered(site, target="raw/sky/gone.bin"), offered(site)
    (message,) = fetch([gone, there], tmp_path, pace=QUICK)
    assert "answers 404" in message and "https://sky.example" in message
    assert f"put it at {tmp_path / 'raw/sky/gone.bin'}" in message
    assert [r.status for r in site.gets] == [404, 200] and (tmp_path / "raw/sky/file.bin").exists()


def test_a_web_page_is_not_taken_for_the_file(site, tmp_path):
    site.script = [{"headers": {"Content-Type": "text/html; charset=utf-8"}}]
    (message,) = fetch([offered(site)], tmp_path, pace=QUICK)
    assert "sends text/html" in message and hidden(tmp_path / "raw/sky") == {".fetch.lock"}


def test_a_part_nobody_asked_for_is_refused(site, tmp_path):
    site.script = [{"status": 206}]
    (message,) = fetch([offered(site)], tmp_path, pace=QUICK)
    assert "status 206" in message and hidden(tmp_path / "raw/sky") == {".fetch.lock"}


# Checksums


def test_a_wrong_checksum_deletes_what_arrived_and_names_both(site, tmp_path):
    (message,) = fetch([offered(site, md5="0" * 32)], tmp_path, pace=QUICK)
    assert "0" * 32 in message and md5(CONTENT) in message and "What arrived was deleted; fetch again" in message
    assert hidden(tmp_path / "raw/sky") == {".fetch.lock"} and not (tmp_path / "raw/sky/file.bin").exists()


def test_a_second_hand_checksum_that_differs_is_an_error_that_says_so(site, tmp_path, caplog):
    wanted = offered(site, md5="0" * 32, second_hand="a note of somebody")
    (message,) = fetch([wanted], tmp_path, pace=QUICK)
    assert "second-hand, from a note of somebody" in caplog.text
    assert "If https://sky.example names the md5 found, correct it in" in message and "downloads.yaml" in message


def test_the_beginning_of_a_sha256_is_enough_and_a_wrong_one_is_not(site, tmp_path):
    sha256 = hashlib.sha256(CONTENT).hexdigest()
    assert fetch([offered(site, md5=None, sha256=sha256[:8])], tmp_path, pace=QUICK) == []
    wrong = offered(site, md5=None, sha256=sha256[1:9], target="raw/sky/other.bin")
    assert len(fetch([wrong], tmp_path, pace=QUICK)) == 1


def test_a_file_without_checksum_is_warned_of(site, tmp_path, caplog):
    assert fetch([offered(site, md5=None)], tmp_path, pace=QUICK) == []
    sha256 = hashlib.sha256(CONTENT).hexdigest()
    assert f"no checksum of it is known, so it is taken as it is; its sha256 is {sha256}" in caplog.text


@pytest.mark.parametrize(("digest", "failures"), [(md5(CONTENT), 0), ("0" * 32, 1)])
def test_the_archives_own_md5_counts_where_the_table_has_none(site, tmp_path, caplog, digest, failures):
    site.etag = f'"md5:{digest}"'
    assert len(fetch([offered(site, md5=None)], tmp_path, pace=QUICK)) == failures
    assert "no checksum" not in caplog.text


def test_neither_length_nor_checksum_is_refused_and_a_checksum_alone_is_enough(site, tmp_path):
    site.script = [{"headers": {"Content-Length": None}}] * 2
    (message,) = fetch([offered(site, md5=None)], tmp_path, pace=QUICK)
    assert "does not tell the file's length and no checksum" in message
    assert fetch([offered(site)], tmp_path, pace=QUICK) == []


@pytest.mark.parametrize("length", ["12a", "12, 12", "-1", "9" * 40])
def test_a_length_that_is_no_number_is_none(site, tmp_path, length):
    site.script = [{"headers": {"Content-Length": length}}] * 3
    (message,) = fetch([offered(site, md5=None)], tmp_path, pace=QUICK)
    assert "does not tell the file's length and no checksum" in message


def test_a_redirect_to_no_address_fails_that_file_and_no_other(site, tmp_path):
    site.script = [{"status": 302, "headers": {"Location": "https://[bad"}}] * 8
    failures = fetch([offered(site)], tmp_path, pace=QUICK)
    assert len(failures) == 1 and str(site.url) in failures[0]


# Addresses and the table


def test_a_redirect_to_another_machine_in_the_clear_is_refused(site, tmp_path):
    site.script = [{"status": 302, "headers": {"Location": "http://sky.example/file"}}]
    (message,) = fetch([offered(site, size=10)], tmp_path, pace=QUICK)
    assert "redirects to http://sky.example/file, which is not https" in message and len(site.gets) == 1


def test_a_redirect_keeps_the_range(site, tmp_path):
    there = {"status": 307, "headers": {"Location": site.url + "/moved"}}
    site.script = [{"cut": 300_000}, there]
    assert fetch([offered(site)], tmp_path, pace=QUICK) == []
    assert [(r.status, r.range) for r in site.gets[1:]] == [(307, "bytes=300000-"), (206, "bytes=300000-")]


@pytest.mark.parametrize(
    ("keys", "complaint"),
    [
        ({"url": "http://sky.example/file"}, "is not https"),
        ({"url": "file:///etc/passwd"}, "is not https"),
        ({"url": "ftp://127.0.0.1/file"}, "is not https"),
        ({"target": "../file.bin"}, "no file below the data folder"),
        ({"target": "/tmp/file.bin"}, "no file below the data folder"),
        ({"md5": "beef"}, "md5"),
        ({"mirror": "https://sky.example"}, "mirror"),
    ],
)
def test_an_unusable_row_of_the_table_is_refused(site, keys, complaint):
    with pytest.raises(ValidationError, match=complaint):
        offered(site, **keys)


def test_the_table_agrees_with_what_the_readers_expect(tmp_path):
    table, surveys = load_downloads(), survey_files(tmp_path).known
    assert set(table) == {"gz_decals", "mirabest", "weights"}
    assert {Path(d.target).parent.as_posix() for d in table["gz_decals"]} == {f"raw/{surveys['gz_decals'].source.path}"}
    assert sum(d.unpack is not None for d in table["gz_decals"]) == 4
    assert [Path(d.url.split("?")[0]).name for d in table["gz_decals"]] == [
        Path(d.target).name for d in table["gz_decals"]
    ]
    assert [d.md5 for d in table["gz_decals"][:2]] == [
        "e9de511cbd5977e02c81cbdb5d21b7c2",
        "364d0b598b7d2958553350c5ce0ffc14",
    ]
    (mirabest,) = table["mirabest"]
    assert mirabest.md5 in KNOWN_MD5 and mirabest.unpack is None
    assert Path(mirabest.target).parent.as_posix() == f"raw/{surveys['mirabest'].source.path}"
    resnet, rgz = table["weights"]
    assert (resnet.target, resnet.url, resnet.sha256) == (f"weights/{RESNET18.name}", RESNET18.url, RESNET18.sha256)
    assert rgz.target == surveys["mirabest"].rgz_checkpoint


# Kills


KILLED = """
import os, signal, sys
from pathlib import Path
from galaxy_assets.deliveries.download.fetching import fetch
from galaxy_assets.deliveries.download.offers import load_downloads
from galaxy_assets.deliveries.download.progress import Pace

def show(line):
    if sys.argv[3] in line:
        os.kill(os.getpid(), signal.SIGKILL)

(downloads,) = load_downloads(Path(sys.argv[1])).values()
fetch(downloads, Path(sys.argv[2]), pace=Pace(show=show, every=0.0))
"""


def killed_fetch(wanted: Download, root: Path, at: str) -> None:
    """Run a fetch in its own process, which is killed once its progress says `at`."""
    table = root / "table.yaml"
    table.write_text(yaml.safe_dump({"sky": [wanted.model_dump(exclude_none=True)]}))
    ended = subprocess.run([sys.executable, "-c", KILLED, str(table), str(root), at], cwd=ROOT, check=False)
    assert ended.returncode == -signal.SIGKILL


def test_a_killed_download_leaves_nothing_that_looks_whole_and_goes_on(site, tmp_path):
    site.script = [{"stall": 500_000}]
    killed_fetch(offered(site), tmp_path, "500.0 kB of 1.0 MB")
    folder = tmp_path / "raw" / "sky"
    assert [path.name for path in folder.iterdir() if not path.name.startswith(".")] == []
    assert fetch([offered(site)], tmp_path, pace=QUICK) == []
    assert (site.gets[-1].range, site.gets[-1].sent) == ("bytes=500000-", len(CONTENT) - 500_000)
    assert (folder / "file.bin").read_bytes() == CONTENT


def test_a_killed_unpacking_is_not_seen_and_goes_on_after_the_last_whole_file(site, tmp_path, caplog):
    caplog.set_level(logging.INFO)
    wanted = delivered(site, packed({f"J000/{i}.png": bytes([i]) * 10_000 for i in range(10)}))
    killed_fetch(wanted, tmp_path, "60.0 kB of 100.0 kB")
    folder = tmp_path / "raw" / "sky"
    work = folder / ".part1.partial" / "J000"
    assert not (folder / "part1").exists()
    (work / ".6.png.0123.partial").write_bytes(b"\6" * 5_000)  # as a kill in the middle of a file leaves it
    (work / "5.png").write_bytes(b"cut short")
    before = {path.name: path.stat().st_mtime_ns for path in work.glob("[!.]*.png")}
    assert len(before) == 6
    assert fetch([wanted], tmp_path, pace=QUICK) == []
    unpacked = folder / "part1" / "J000"
    assert {path.name: path.read_bytes() for path in unpacked.iterdir()} == {
        f"{i}.png": bytes([i]) * 10_000 for i in range(10)
    }
    kept = [name for name, at in before.items() if (unpacked / name).stat().st_mtime_ns == at]
    assert sorted(kept) == [f"{i}.png" for i in range(5)]
    assert len(site.gets) == 1


# Zips


def packed(members: dict[str, bytes], links: tuple[str, ...] = ()) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as zipped:
        for name, content in members.items():
            info = zipfile.ZipInfo(name)
            info.external_attr = ((stat.S_IFLNK if name in links else stat.S_IFREG) | 0o644) << 16
            zipped.writestr(info, content)
    return stream.getvalue()


def delivered(site: Site, content: bytes, **keys) -> Download:
    site.content = content
    return offered(site, target="raw/sky/part1.zip", md5=md5(content), unpack="J???/*.png", **keys)


def image() -> bytes:
    import numpy as np
    from PIL import Image

    stream = io.BytesIO()
    Image.fromarray(draw("round", np.random.default_rng(0))).save(stream, "PNG")
    return stream.getvalue()


@pytest.mark.parametrize("top", ["", "gz_decals_dr5_png_part1/", "dr5/png/"])
def test_the_unpacked_zip_is_a_delivery_whatever_folder_it_has_around_it(site, tmp_path, top):
    name = "J074/J074349.15+291154.5.png"
    site.content = packed({f"{top}{name}": image(), f"__MACOSX/{top}{name}": b"fork", f"{top}README": b"read me"})
    target = "raw/gz_decals/gz_decals_dr5_png_part1.zip"
    wanted = offered(site, target=target, md5=None, unpack="J???/*.png")
    assert fetch([wanted], tmp_path, delete_archives=True, pace=QUICK) == []
    reader = open_reader(Source(reader="galaxy_zoo_decals", path="gz_decals"), tmp_path / "raw")
    assert reader.batches() == ["gz_decals_dr5_png_part1"]
    (row,) = reader.catalogue("gz_decals_dr5_png_part1").to_pylist()
    assert row["galaxy_id"] == "J074349.15+291154.5" and row["problem"] is None


def test_a_zip_that_is_kept_beside_its_folder_is_no_second_delivery(site, tmp_path):
    site.content = packed({"J074/J074349.15+291154.5.png": image()})
    wanted = offered(site, target="raw/gz_decals/part1.zip", md5=None, unpack="J???/*.png")
    assert fetch([wanted], tmp_path, pace=QUICK) == []
    (found,) = open_reader(Source(reader="galaxy_zoo_decals", path="gz_decals"), tmp_path / "raw").deliveries()
    assert (tmp_path / "raw/gz_decals/part1.zip").exists()
    assert (found.name, found.kind, found.state) == ("part1", "folder", "whole")


@pytest.mark.parametrize("delete", [True, False])
def test_a_zip_is_unpacked_once(site, tmp_path, caplog, delete):
    caplog.set_level(logging.INFO)
    wanted = delivered(site, packed({"J000/a.png": b"a" * 99}))
    folder = tmp_path / "raw" / "sky"
    for _ in range(2):
        assert fetch([wanted], tmp_path, delete_archives=delete, pace=QUICK) == []
        assert (folder / "part1.zip").exists() is not delete
        (folder / "part1" / "J000" / "a.png").write_bytes(b"mine now")
    assert len(site.gets) == 1 and (folder / "part1" / "J000" / "a.png").read_bytes() == b"mine now"
    assert f"already unpacked from part1.zip, md5:{wanted.md5}" in caplog.text
    (folder / "part1" / "J000" / "a.png").unlink()
    (folder / "part1" / "J000").rmdir()
    (folder / "part1").rmdir()
    assert fetch([wanted], tmp_path, delete_archives=delete, pace=QUICK) == []
    assert (folder / "part1" / "J000" / "a.png").read_bytes() == b"a" * 99
    assert len(site.gets) == (2 if delete else 1)


def test_another_zip_of_the_same_name_is_unpacked_too(site, tmp_path):
    first, second = packed({"J000/a.png": b"a"}), packed({"J000/b.png": b"bb"})
    assert fetch([delivered(site, first)], tmp_path, pace=QUICK) == []
    (tmp_path / "raw/sky/part1.zip").write_bytes(second)
    assert fetch([delivered(site, second)], tmp_path, pace=QUICK) == []
    assert {path.name for path in (tmp_path / "raw/sky/part1/J000").iterdir()} == {"a.png", "b.png"}


@pytest.mark.parametrize(
    ("evil", "links"),
    [
        ("../../J000/evil.png", ()),
        ("J000/../../evil.png", ()),
        ("/J000/evil.png", ()),
        ("..\\J000\\evil.png", ()),
        ("J000/evil.png", ("J000/evil.png",)),
    ],
)
def test_an_evil_member_stops_the_whole_zip(site, tmp_path, evil, links):
    wanted = delivered(site, packed({"J000/good.png": b"good", evil: b"/etc/passwd"}, links))
    (message,) = fetch([wanted], tmp_path, pace=QUICK)
    assert "points outside, is a link or is encrypted; nothing of it was unpacked" in message
    assert [path for path in tmp_path.rglob("*.png")] == [] and not (tmp_path.parent / "evil.png").exists()


def test_two_members_with_one_place_are_refused(site, tmp_path):
    wanted = delivered(site, packed({"a/J000/1.png": b"a", "b/J000/1.png": b"b"}))
    (message,) = fetch([wanted], tmp_path, pace=QUICK)
    assert "two of its members are J000/1.png" in message and list(tmp_path.rglob("*.png")) == []


@pytest.mark.parametrize("damage", ["cut", "flipped"])
def test_a_damaged_zip_says_what_to_do(site, tmp_path, damage):
    content = packed({"J000/a.png": b"a" * 5_000, "J000/b.png": b"b" * 5_000})
    at = content.index(b"b" * 100)
    broken = content[:-30] if damage == "cut" else content[:at] + b"x" + content[at + 1 :]
    (message,) = fetch([delivered(site, broken)], tmp_path, pace=QUICK)
    assert "damaged zip" in message and "delete it and fetch again" in message
    assert not (tmp_path / "raw/sky/part1").exists()


def test_a_zip_of_something_else_is_refused(site, tmp_path):
    (message,) = fetch([delivered(site, packed({"a.fits": b"a"}))], tmp_path, pace=QUICK)
    assert "none of its members is J???/*.png" in message


# Space


def test_a_disk_too_small_is_noticed_before_anything_is_asked_for(site, tmp_path):
    with pytest.raises(FetchError, match=r"1000000000\.0 GB are needed and .* are missing"):
        fetch([offered(site, size=10**18), offered(site, target="raw/sky/2.bin")], tmp_path, pace=QUICK)
    assert site.gets == [] and hidden(tmp_path / "raw/sky") == {".fetch.lock"}


def test_the_servers_own_size_counts_when_it_is_larger_than_the_tables(site, tmp_path):
    site.script = [{"headers": {"Content-Length": str(10**18)}}]
    (message,) = fetch([offered(site, size=10)], tmp_path, pace=QUICK)
    assert "are missing" in message and hidden(tmp_path / "raw/sky") == {".fetch.lock"}


def test_a_zip_whose_content_does_not_fit_is_not_begun(tmp_path):
    archive = tmp_path / "part1.zip"
    content = packed({"J000/a.png": b"a"})
    at = content.index(b"PK\1\2") + 24  # its directory says that the file has 4 GB, its 64-bit extension 1 EB
    name = b"J000/a.png"
    extra = struct.pack("<HHQ", 1, 8, 10**18)
    directory = content[at - 24 : content.index(b"PK\5\6")]
    changed = directory[:24] + b"\xff" * 4 + directory[28:30] + struct.pack("<H", len(extra)) + directory[32:]
    end = bytearray(content[content.index(b"PK\5\6") :])
    struct.pack_into("<I", end, 12, len(changed) + len(extra))
    archive.write_bytes(content[: at - 24] + changed[: 46 + len(name)] + extra + changed[46 + len(name) :] + end)
    with pytest.raises(FetchError, match=r"1000000000\.0 GB are needed"):
        unpack(archive, "J???/*.png")
    assert sorted(tmp_path.iterdir()) == [archive]


def test_removing_each_zip_takes_less_room(site, tmp_path):
    zips = [offered(site, target=f"raw/sky/{i}.zip", size=1000, unpack="J???/*.png") for i in range(4)]
    assert space_needed(zips, tmp_path, delete_archives=False) == 4 * (1000 + 1050)
    assert space_needed(zips, tmp_path, delete_archives=True) == 3 * 1050 + 1000 + 1050
    folder = tmp_path / "raw" / "sky"
    folder.mkdir(parents=True)
    (folder / ".0.zip.partial").write_bytes(bytes(400))
    assert space_needed(zips[:1], tmp_path, delete_archives=False) == 600 + 1050
    (folder / "0.zip").write_bytes(packed({"J000/a.png": b"a" * 5000, "J000/b.png": b"b"}))
    assert space_needed(zips[:1], tmp_path, delete_archives=False) == 3 * 4096
    (folder / "0" / "J000").mkdir(parents=True)
    (folder / "0" / "J000" / "a.png").write_bytes(b"a" * 5000)
    assert space_needed(zips[:1], tmp_path, delete_archives=False) == 4096


def test_the_size_is_asked_for_where_the_table_has_none(site, tmp_path, caplog):
    assert space_needed([offered(site)], tmp_path, delete_archives=False, pace=QUICK) == len(CONTENT)
    assert [(r.method, r.sent) for r in site.requests] == [("HEAD", 0)]
    site.server.shutdown()
    site.server.server_close()
    assert space_needed([offered(site)], tmp_path, delete_archives=False, pace=QUICK) == 0
    assert "how large it is could not be asked" in caplog.text


# The rest


def test_two_fetches_to_one_folder_do_not_mix(site, tmp_path):
    with alone_in(tmp_path / "raw" / "sky"):
        with pytest.raises(FetchError, match="another fetch is at work there"):
            fetch([offered(site)], tmp_path, pace=QUICK)
    assert site.requests == []


def test_progress_says_how_much_how_fast_and_how_long():
    line = progress_line("part1.zip", 13 * 10**9, 26 * 10**9, 10**9, 100.0)
    assert line == "part1.zip: 13.0 GB of 26.0 GB (50 %), 10.0 MB/s, 0:21:40 left"
    assert progress_line("part1.zip", 500, None, 500, 1.0) == "part1.zip: 500 bytes, 0.0 MB/s"


@pytest.fixture
def table(site, tmp_path, monkeypatch) -> Path:
    """A table of one good and one bad file, in the place of the shipped one."""
    path = tmp_path / "table.yaml"
    rows = [offered(site, md5="0" * 32, target="raw/sky/bad.bin"), offered(site)]
    path.write_text(yaml.safe_dump({"sky": [row.model_dump(exclude_none=True) for row in rows]}))
    monkeypatch.setattr(offers, "TABLE", path)
    monkeypatch.setenv("GALAXY_ASSETS_DATA", str(tmp_path))
    return path


def test_the_command_ends_with_an_error_if_any_file_failed(site, tmp_path, table):
    outcome = CliRunner().invoke(app, ["fetch", "sky"])
    assert outcome.exit_code == 1 and "1 failed, see above" in outcome.output
    assert "What arrived was deleted" in outcome.output
    assert (tmp_path / "raw/sky/file.bin").read_bytes() == CONTENT
    chosen = CliRunner().invoke(app, ["fetch", "sky", "--only", "file.bin"])
    assert chosen.exit_code == 0 and f"all there, in {tmp_path}" in chosen.output
    assert "\r" not in chosen.output  # no terminal, plain lines


def test_the_command_names_what_there_is(table):
    unknown = CliRunner().invoke(app, ["fetch", "nosuch"])
    assert unknown.exit_code == 2 and "known are sky" in unknown.output
    other = CliRunner().invoke(app, ["fetch", "sky", "--only", "nosuch.bin"])
    assert other.exit_code == 2 and "there are bad.bin, file.bin" in re.sub(r"[\s│]+", " ", other.output)


def test_the_command_says_how_much_disk_is_missing(site, table):
    table.write_text(yaml.safe_dump({"sky": [offered(site, size=10**18).model_dump(exclude_none=True)]}))
    outcome = CliRunner().invoke(app, ["fetch", "sky"])
    assert outcome.exit_code == 1 and "are missing" in outcome.output and "--delete-archives" in outcome.output
