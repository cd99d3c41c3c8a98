"""An S3 on this machine for tests: moto's server, and a proxy before it that breaks requests as it is told.

Belongs here: what the tests of buckets share. Does not belong here: any test.
"""

import http.client
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import NamedTuple

import pytest

NAME = "galaxies"
Fault = Callable[["Request"], "int | str | None"]
"""Told of each request; gives None to let it pass, a status to answer, `cut` to break off the connection after half of
what is sent, `lost` to pass it on and break off before its answer, `half` to break off within the answer, or `skewed`
to refuse it for the clock of who asks."""


class Request(NamedTuple):
    """A request as the proxy sees it."""

    method: str
    path: str


class S3:
    """The server with one empty bucket. `fault` is asked of every request; `seen` holds them; conditions that are
    `ignored` are not passed on."""

    def __init__(self, port: int):
        self.port, self.fault, self.seen = port, None, []
        self.lists: dict[str, bytes] | None = None
        self.ignored: tuple[str, ...] = ()
        proxy = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def handle_any(self) -> None:
                proxy.pass_on(self)

            do_GET = do_PUT = do_POST = do_DELETE = do_HEAD = handle_any

            def log_message(self, *_: object) -> None: ...

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    fault: Fault | None

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self.server.server_address[1]}"

    def pass_on(self, handler: BaseHTTPRequestHandler) -> None:
        request = Request(handler.command, handler.path)
        self.seen.append(request)
        fault = self.fault(request) if self.fault is not None else None
        length = int(handler.headers.get("Content-Length") or 0)
        if fault == "cut":
            handler.rfile.read(length // 2)
            handler.close_connection = True
            handler.connection.close()
            return
        body = handler.rfile.read(length)
        if isinstance(fault, int) or fault == "skewed":
            code = {503: "SlowDown", "skewed": "RequestTimeTooSkewed"}.get(fault, "InternalError")
            _answer(handler, 403 if fault == "skewed" else fault, [], f"<Error><Code>{code}</Code></Error>".encode())
            return
        connection = http.client.HTTPConnection("127.0.0.1", self.port)
        headers = {
            name: value for name, value in handler.headers.items() if name.lower() not in ("connection", *self.ignored)
        }
        connection.request(handler.command, handler.path, body, headers)
        answer = connection.getresponse()
        content = answer.read()
        connection.close()
        if fault == "lost":
            handler.close_connection = True
            handler.connection.close()
            return
        if "list-type=2" in handler.path and self.lists is not None:
            content = self.lists.setdefault(handler.path, content)
        _answer(handler, answer.status, answer.getheaders(), content, half=fault == "half")

    @contextmanager
    def stale(self) -> Iterator[None]:
        """Inside the block listings stay what they are when they are first asked for."""
        self.lists = {}
        yield
        self.lists = None


def _answer(handler, status: int, headers, content: bytes, *, half: bool = False) -> None:
    handler.send_response(status)
    names = {name.lower() for name, _ in headers}
    for name, value in headers:
        if name.lower() not in ("connection", "transfer-encoding", "content-length", "server", "date"):
            handler.send_header(name, value)
    size = next((v for n, v in headers if n.lower() == "content-length"), str(len(content)))
    handler.send_header("Content-Length", size if handler.command == "HEAD" else str(len(content)))
    assert "content-encoding" not in names
    handler.end_headers()
    if handler.command != "HEAD":
        handler.wfile.write(content[: len(content) // 2] if half else content)
    if half:
        handler.close_connection = True
        handler.connection.close()


@contextmanager
def running() -> Iterator[S3]:
    """An S3 with an empty bucket NAME, and the environment that leads to it."""
    pytest.importorskip("obstore", reason="the extra for clusters is not installed")
    server = pytest.importorskip("moto.server", reason="moto's server is not installed")
    moto = server.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    moto.start()
    host, port = moto.get_host_and_port()
    with pytest.MonkeyPatch.context() as patch:
        s3 = S3(port)
        patch.setenv("AWS_ENDPOINT_URL", s3.endpoint)
        patch.setenv("AWS_ACCESS_KEY_ID", "planted-id")
        patch.setenv("AWS_SECRET_ACCESS_KEY", "planted-secret-8c1f2a")
        patch.setenv("AWS_REGION", "us-east-1")
        connection = http.client.HTTPConnection("127.0.0.1", port)
        connection.request("POST", "/moto-api/reset")
        connection.getresponse().read()
        connection.request("PUT", f"/{NAME}")
        assert connection.getresponse().status == 200
        yield s3
        s3.server.shutdown()
    moto.stop()
