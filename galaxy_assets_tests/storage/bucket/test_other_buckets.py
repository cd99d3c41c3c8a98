"""Buckets in the form of Google's and Azure's, whose listings say less than their answers to a read.

A Google listing has no generations, by which alone an object is replaced; an Azure one has entity tags without quotes.
"""

import hashlib
import json
import os
import re
import threading
from collections.abc import Iterator
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import NamedTuple
from urllib.parse import parse_qs, unquote, urlsplit
from xml.sax.saxutils import escape

import pytest

from galaxy_assets.storage.bucket.bucket import Bucket
from galaxy_assets.storage.bucket.heads import Head
from galaxy_assets.storage.bucket.objects import BucketError, Changed, Objects
from galaxy_assets.storage.files import DamagedFile
from galaxy_assets.storage.store import Conflict
from galaxy_assets_tests.storage.bucket.test_bucket import commit

pytest.importorskip("obstore", reason="the extra for clusters is not installed")


class Kept(NamedTuple):
    """An object of the server."""

    content: bytes
    version: int


class Server:
    """A bucket of one kind; `seen` holds the requests, `lose` how many answers to a write are broken off.

    `meanwhile` is called before a write is judged.
    """

    def __init__(self, kind: str):
        self.kind, self.objects, self.versions, self.seen, self.lose = kind, {}, 0, [], 0
        self.meanwhile = None
        self.mutex = threading.Lock()
        server = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def handle_any(self) -> None:
                with server.mutex:
                    server.answer(self)

            do_GET = do_PUT = do_DELETE = do_HEAD = do_POST = handle_any

            def log_message(self, *_: object) -> None: ...

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.http.daemon_threads = True
        threading.Thread(target=self.http.serve_forever, daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.http.server_address[1]}"

    def tag(self, kept: Kept) -> str:
        digest = hashlib.md5(kept.content, usedforsecurity=False)
        return digest.hexdigest() if self.kind == "gs" else f"0x{kept.version}"

    def answer(self, handler: BaseHTTPRequestHandler) -> None:
        url = urlsplit(handler.path)
        key, asked = _key(url.path), parse_qs(url.query)
        body = handler.rfile.read(int(handler.headers.get("Content-Length") or 0))
        self.seen.append((handler.command, key))
        if {"list-type", "comp"} & asked.keys() and handler.command == "GET":
            self.send(handler, 200, self.listing(asked.get("prefix", [""])[0]))
        elif handler.command in ("GET", "HEAD"):
            kept = self.objects.get(key)
            part = re.fullmatch(r"bytes=(\d+)-(\d+)", handler.headers.get("Range") or "")
            self.send(handler, 404 if kept is None else 206 if part else 200, b"", kept, part)
        elif handler.command == "POST":
            self.remove_many(handler, body.decode())
        elif handler.command == "PUT":
            if self.meanwhile is not None:
                self.meanwhile(key)
            if not self.may_write(handler, self.objects.get(key)):
                self.send(handler, 412)
                return
            self.versions += 1
            kept = self.objects[key] = Kept(body, self.versions)
            if self.lose:
                self.lose -= 1
                handler.close_connection = True
                handler.connection.close()
                return
            self.send(handler, 201, b"", kept)
        else:
            self.objects.pop(key, None)
            self.send(handler, 204 if self.kind == "gs" else 202)

    def may_write(self, handler: BaseHTTPRequestHandler, there: Kept | None) -> bool:
        wanted = {name.lower(): value for name, value in handler.headers.items()}
        if self.kind == "gs":
            generation = wanted.get("x-goog-if-generation-match")
            return generation is None or int(generation) == (there.version if there is not None else 0)
        if wanted.get("if-none-match") == "*" and there is not None:
            return False
        return "if-match" not in wanted or (there is not None and wanted["if-match"] == f'"{self.tag(there)}"')

    def listing(self, prefix: str) -> bytes:
        found = ""
        for key, kept in sorted(self.objects.items()):
            if not key.startswith(prefix):
                continue
            name, size, tag = escape(key), len(kept.content), self.tag(kept)
            if self.kind == "gs":
                found += (
                    f"<Contents><Key>{name}</Key><LastModified>2026-11-30T00:00:00.000Z</LastModified>"
                    f"<Size>{size}</Size><ETag>&quot;{tag}&quot;</ETag></Contents>"
                )
            else:
                found += (
                    f"<Blob><Name>{name}</Name><Properties><Last-Modified>{formatdate(usegmt=True)}</Last-Modified>"
                    f"<Content-Length>{size}</Content-Length><Content-Type>x</Content-Type><Etag>{tag}</Etag>"
                    "</Properties></Blob>"
                )
        if self.kind == "gs":
            return f"<ListBucketResult>{found}</ListBucketResult>".encode()
        return f"<EnumerationResults><Blobs>{found}</Blobs><NextMarker/></EnumerationResults>".encode()

    def remove_many(self, handler: BaseHTTPRequestHandler, body: str) -> None:
        """Azure's batch of requests in one."""
        answer = ""
        for number, path in enumerate(re.findall(r"^DELETE (\S+) ", body, re.MULTILINE)):
            self.objects.pop(_key(path), None)
            answer += f"--b\r\nContent-Type: application/http\r\nContent-ID: {number}\r\n\r\n"
            answer += "HTTP/1.1 202 Accepted\r\nx-ms-version: 2018-11-09\r\n\r\n"
        self.send(handler, 202, f"{answer}--b--".encode())

    def send(
        self,
        handler: BaseHTTPRequestHandler,
        status: int,
        content: bytes = b"",
        kept: Kept | None = None,
        part: re.Match | None = None,
    ) -> None:
        handler.send_response(status)
        if self.kind == "az" and handler.command == "POST":
            handler.send_header("Content-Type", "multipart/mixed; boundary=b")
        if kept is not None:
            content = kept.content if handler.command in ("GET", "HEAD") else b""
            if part:
                start, end = int(part[1]), int(part[2]) + 1
                handler.send_header("Content-Range", f"bytes {start}-{end - 1}/{len(content)}")
                content = content[start:end]
            handler.send_header("ETag", f'"{self.tag(kept)}"')
            handler.send_header("Last-Modified", formatdate(usegmt=True))
            handler.send_header("x-goog-generation", str(kept.version))
            handler.send_header("x-ms-blob-type", "BlockBlob")
        handler.send_header("Content-Length", str(len(content)))
        handler.end_headers()
        if handler.command != "HEAD":
            handler.wfile.write(content)


def _key(path: str) -> str:
    return unquote(path).partition("galaxies")[2].strip("/")


@pytest.fixture(params=["gs", "az"])
def server(request, monkeypatch) -> Iterator[Server]:
    server = Server(request.param)
    monkeypatch.setenv("AWS_ENDPOINT_URL", server.url)  # lets obstore speak without TLS
    nobody = dict.fromkeys(("client_email", "private_key", "private_key_id"), "")
    key = json.dumps(nobody | {"gcs_base_url": server.url, "disable_oauth": True})
    monkeypatch.setenv("GOOGLE_SERVICE_ACCOUNT_KEY", key)
    monkeypatch.setenv("AZURE_STORAGE_ACCOUNT_NAME", "team")
    monkeypatch.setenv("AZURE_STORAGE_ACCOUNT_KEY", "a2V5")
    monkeypatch.setenv("AZURE_STORAGE_ENDPOINT", server.url)
    yield server
    server.http.shutdown()


@pytest.fixture
def address(server) -> str:
    return f"{server.kind}://galaxies/prefix"


def test_a_look_reads_the_heads_alone_that_are_others_than_before(server, address, tmp_path):
    here, there = Bucket(address, tmp_path / "here"), Bucket(address, tmp_path / "there")
    for number in range(3):
        commit(here, here.root / f"lake/s/{number}.parquet", os.urandom(5000))
    there.refresh()
    commit(here, here.root / "lake/s/1.parquet", content := os.urandom(5000))
    looks = []
    for _ in range(2):
        server.seen.clear()
        there.refresh()
        looks.append([key.rpartition("/")[2] for method, key in server.seen if method == "GET" and "/heads/" in key])
    assert looks == [["1.parquet.json"], []]
    assert there.local(there.root / "lake/s/1.parquet").read_bytes() == content


def test_of_two_writers_one_wins_though_an_answer_is_lost(server, address, tmp_path):
    here, there = Bucket(address, tmp_path / "here"), Bucket(address, tmp_path / "there")
    name = "lake/s/t.parquet"
    commit(here, here.root / name, b"1" * 5000)
    there.refresh()
    server.lose = 1
    commit(here, here.root / name, b"2" * 5000)
    with pytest.raises(Conflict):
        commit(there, there.root / name, b"3" * 5000)
    objects = Objects(address)
    server.lose = 2
    first = objects.swap("heads/x.json", Head(by="1").to_json().encode(), None)
    server.lose = 2
    second = objects.swap("heads/x.json", Head(by="2").to_json().encode(), first)
    for seen in (None, first):
        with pytest.raises(Changed):
            objects.swap("heads/x.json", Head(by="3").to_json().encode(), seen)
    assert objects.swap("heads/x.json", Head(by="4").to_json().encode(), second) == objects.get("heads/x.json")[1]
    objects.delete(["heads/x.json"])
    with pytest.raises(Changed):
        objects.swap("heads/x.json", b"5", second)


def test_an_object_that_is_replaced_while_it_is_looked_at_is_not_replaced_again(server, address):
    objects = Objects(address)
    first = objects.swap("heads/x.json", b"1", None)

    def another(key: str) -> None:
        server.versions += 1
        server.objects[key] = Kept(b"another writer's", server.versions)

    server.meanwhile = another
    with pytest.raises(Changed):
        objects.swap("heads/x.json", b"2", first)
    assert objects.get("heads/x.json")[0] == b"another writer's"


def test_a_bucket_that_replaces_whatever_the_condition_is_refused(server, address, tmp_path):
    keep = server.may_write

    def may_write(handler: BaseHTTPRequestHandler, there: Kept | None) -> bool:
        new = handler.headers.get("If-None-Match") or handler.headers.get("x-goog-if-generation-match") == "0"
        return keep(handler, there) if new else True

    server.may_write = may_write
    with pytest.raises(BucketError, match="takes no notice"):
        Bucket(address, tmp_path / "here")


@pytest.mark.parametrize("repaired", [True, False])
def test_content_is_sent_once_and_again_after_it_was_found_damaged(server, address, tmp_path, repaired):
    here, there = Bucket(address, tmp_path / "here"), Bucket(address, tmp_path / "there")
    content = os.urandom(5000)

    def written(kept: Bucket) -> int:
        server.seen.clear()
        commit(kept, kept.root / "lake/s/t.parquet", content)
        return sum(method == "PUT" and "/data/" in key for method, key in server.seen)

    assert [written(here), written(here)] == [1, 0]
    (key,) = [key for key in server.objects if "/data/" in key]
    server.versions += 1
    server.objects[key] = Kept(content[::-1], server.versions)
    there.refresh()
    with pytest.raises(DamagedFile):
        there.local(there.root / "lake/s/t.parquet")
    if repaired:
        there.move(there.root / "lake/s/t.parquet", there.root / "lake/s/.damaged/t.parquet")
        here.refresh()
    assert written(here if repaired else there) == 1
    third = Bucket(address, tmp_path / "third")
    assert third.local(third.root / "lake/s/t.parquet").read_bytes() == content
