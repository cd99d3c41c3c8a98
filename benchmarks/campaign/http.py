"""Requests that no page of ours sends, to the explorer and to Dagster's webserver behind its guard.

Each is written to a socket as it is, so that nothing on the way mends it. An answer is right when its status is one of
those expected. It never holds the secret that lies beside the data folder and never leads to another host; it is 5xx
only for one path at which Dagster itself fails.

Belongs here: the requests. Does not belong here: SQL in them (`sql`).
"""

import json
import re
import socket
import time
import urllib.parse
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from campaign.world import SURVEY, Command, Reference

SECRET = "dbe9f1-the-secret"
_EVIL = "evil.example"
_REFUSED, _ABSENT = (400, 403), (400, 403, 404, 405, 410, 422)
_GRAPHQL = json.dumps({"query": 'mutation { setConcurrencyLimit(concurrencyKey: "evil", limit: 1) }'})
_ASKED = "/graphql?query=" + urllib.parse.quote('mutation{setConcurrencyLimit(concurrencyKey:"evil",limit:1)}')
_LIMITS = json.dumps({"query": "{ instance { concurrencyLimits { concurrencyKey } } }"})
Expected = tuple[int, ...]


def request(
    path: str = "/",
    method: str = "GET",
    host: str | None = "{host}",
    body: str = "",
    length: str | None = None,
    **headers: str,
) -> str:
    """A request as text; `{host}` stands for the server's own, `_` in a header's name for `-`."""
    lines = [f"{method} {path} HTTP/1.1"] + ([f"Host: {host}"] if host is not None else [])
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    if body or length or method not in ("GET", "HEAD", "OPTIONS"):
        lines.append(f"Content-Length: {length or len(body.encode())}")
    return "\r\n".join([*lines, "Connection: close", "", body])


def upgrade(path: str, **headers: str) -> str:
    """A request for a websocket."""
    asked = {
        "Sec_WebSocket_Key": "dGhlIHNhbXBsZSBub25jZQ==",
        "Sec_WebSocket_Version": "13",
        "Upgrade": "websocket",
        "Sec_WebSocket_Protocol": "graphql-ws",
    }
    return request(path, **asked | headers).replace("Connection: close", "Connection: Upgrade")


def of_host_and_origin(path: str, change: str, body: str = "abc") -> dict[str, tuple[str, Expected]]:
    """What any of the servers must refuse or answer alike; `change` is an address that takes a POST."""
    json_body: dict[str, str] = {"Content_Type": "application/json"}
    post = partial(request, change, "POST", body=body, **json_body)
    return {
        "a page of its own": (request(path), (200,)),
        "localhost as host": (request(path, host="localhost:{port}"), (200,)),
        "another host": (request(path, host=f"{_EVIL}"), _REFUSED),
        "another host with the port": (request(path, host=_EVIL + ":{port}"), _REFUSED),
        "a host that begins like its own": (request(path, host="127.0.0.1." + _EVIL), _REFUSED),
        "a user before the host": (request(path, host=f"127.0.0.1@{_EVIL}"), _REFUSED),
        "its own host as user": (request(path, host=f"{_EVIL}@127.0.0.1:{{port}}"), _REFUSED),
        "no host": (request(path, host=None), _REFUSED),
        "an empty host": (request(path, host=""), _REFUSED),
        "an open bracket as host": (request(path, host="http://["), _REFUSED),
        "a broken address of version 6": (request(path, host="[::1"), _REFUSED),
        "a host with a strange port": (request(path, host="127.0.0.1:99999999999"), (*_REFUSED, 200)),
        "a host of bytes that are no text": (request(path, host="\xff\xfe"), _REFUSED),
        "two hosts": (request(path, host=_EVIL, hOst="{host}"), _REFUSED),
        "all addresses as host": (request(path, host="0.0.0.0:{port}"), _REFUSED),
        "an absolute address of another host": (request(f"http://{_EVIL}/"), (*_REFUSED, 200, 404)),
        "post without origin": (post(), _REFUSED),
        "post from another site": (post(Origin=f"http://{_EVIL}"), _REFUSED),
        "post from nowhere": (post(Origin="null"), _REFUSED),
        "post from another port": (post(Origin="http://127.0.0.1:1"), _REFUSED),
        "post from a page whose host begins alike": (post(Origin="http://{host}." + _EVIL), _REFUSED),
        "post with a broken origin": (post(Origin="http://["), _REFUSED),
        "post with an origin of no text": (post(Origin="\xff\xfe"), _REFUSED),
        "post with two origins": (post(Origin="http://{host}", oRigin=f"http://{_EVIL}"), _REFUSED),
        "post from a file": (post(Origin="file://"), _REFUSED),
        "put": (request(change, "PUT", body=body), _ABSENT),
        "delete": (request(change, "DELETE"), _ABSENT),
        "patch": (request(change, "PATCH", body=body), _ABSENT),
        "options from another site": (
            request(change, "OPTIONS", Origin=f"http://{_EVIL}", Access_Control_Request_Method="POST"),
            _ABSENT,
        ),
        "trace": (request(path, "TRACE"), _ABSENT),
        "connect": (request(f"{_EVIL}:80", "CONNECT"), _ABSENT),
        "a method that is none": (request(path, "JEFF"), _ABSENT),
        "a script of another site reads": (
            request(path, Sec_Fetch_Site="cross-site", Sec_Fetch_Mode="no-cors", Sec_Fetch_Dest="image"),
            _REFUSED,
        ),
        "a frame of another site reads": (
            request(path, Sec_Fetch_Site="cross-site", Sec_Fetch_Mode="navigate", Sec_Fetch_Dest="iframe"),
            (*_REFUSED, 200),
        ),
        "a body that says it is huge": (
            request(change, "POST", body="x", length="99999999999", Origin="http://{host}", **json_body),
            (400, 413),
        ),
        "a length that is no number": (
            request(change, "POST", body="x", length="-1", Origin="http://{host}", **json_body),
            (400, 413),
        ),
        "lengths that differ": (
            request(change, "POST", body="abc", content_length="1", Origin="http://{host}", **json_body),
            _ABSENT,
        ),
        "a very long address": (request("/" + "a" * 200_000), (*_ABSENT, 200, 414, 431)),
        "a very long header": (request(path, X="a" * 200_000), (200, 400, 431)),
        "a header in two lines": (request(path, X="a\r\n b"), (200, 400)),
        "no http at all": ("\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", (400,)),
        "an address with a null byte": (request("/a%00b"), (*_ABSENT, 200)),
        "an address that leads to another host": (request(f"//{_EVIL}/?token=x"), (*_ABSENT, 200)),
        "an address that leads to another host, backwards": (request(f"/\\{_EVIL}/"), (*_ABSENT, 200)),
        "up from the root": (request("/../../../../secret.txt"), (*_ABSENT, 200)),
        "up from the root, twice encoded": (request("/%252e%252e/%252e%252e/secret.txt"), (*_ABSENT, 200)),
    }


def to_explorer(view: str) -> dict[str, tuple[str, Expected]]:
    """Requests to the explorer; `view` is the address of the survey's map."""
    rows = partial(request, f"{view}/rows", "POST", Origin="http://{host}")
    up = ["..%2f..%2f..%2fsecret.txt", "%2e%2e/%2e%2e/secret.txt", "..%5c..%5csecret.txt", "/etc/passwd"]
    websocket = "/_nicegui_ws/socket.io/?EIO=4&transport=websocket"
    return {
        "a picture": (request(f"{view}/image/0/64"), (200, 404)),
        "the original of a row": (request(f"{view}/frame/0"), (200, 404)),
        "a row before the first": (request(f"{view}/image/-1/64"), _ABSENT),
        "a row after the last": (request(f"{view}/image/99999999999999999999/64"), _ABSENT),
        "a row that is no number": (request(f"{view}/image/0x1/64"), _ABSENT),
        "a side that is none": (request(f"{view}/image/0/99999"), _ABSENT),
        "a side that is negative": (request(f"{view}/image/0/-64"), _ABSENT),
        **{f"original {path}": (request(f"{view}/frame/{path}"), _ABSENT) for path in up},
        **{f"picture {path}": (request(f"{view}/image/{path}/64"), _ABSENT) for path in up},
        **{f"download {path}": (request(f"/download/{path}"), _ABSENT) for path in up},
        **{f"rows {path}": (request(f"/rows/{path}"), _ABSENT) for path in up},
        "a survey that is a path": (request(view.replace(SURVEY, "..%2f..")), _ABSENT),
        "start weights that are a path": (request("/view/" + SURVEY + "/..%2f..%2fsecret/1/points"), _ABSENT),
        "a version that is old": (request(f"/view/{SURVEY}/imagenet/0/points"), _ABSENT),
        "a column that is SQL": (request(f"{view}/colours/0?column=1);copy%20x%20to%20'/tmp/x'"), _ABSENT),
        "a column that reads a file": (request(f"{view}/colours/0?column=content%20from%20read_text('x')--"), _ABSENT),
        "a column of a page": (request(f"{view}/about/0?column=%3Cscript%3E"), (200, 404)),
        "no column": (request(f"{view}/colours/0"), _ABSENT),
        "rows of three bytes": (rows(body="abc"), (400, 413)),
        "rows that are not there": (rows(body="\x7f\x7f\x7f\x7f"), (400, 413)),
        "more rows than there are": (rows(body="\0\0\0\0" * 10_000), (400, 413)),
        "a static file up from its folder": (request("/_nicegui/x/static/..%2f..%2f..%2f..%2fetc/passwd"), _ABSENT),
        "a component up from its folder": (request("/_nicegui/x/components/../../../etc/passwd"), _ABSENT),
        "a survey in the page's address": (request("/?survey=..%2f..%2fx&start=%00"), (200, 400, 404)),
        "a where in the page's address": (request("/?where=length(repeat('x',700000000))%3E1"), (200,)),
        "its websocket without origin": (upgrade(websocket), _REFUSED),
        "its websocket from another site": (upgrade(websocket, Origin=f"http://{_EVIL}"), _REFUSED),
        "its websocket from its own page": (upgrade(websocket, Origin="http://{host}"), (101,)),
        "its long polling from another site": (
            request("/_nicegui_ws/socket.io/?EIO=4&transport=polling", Origin=f"http://{_EVIL}"),
            _REFUSED,
        ),
    }


def to_dagster() -> dict[str, tuple[str, Expected]]:
    """Requests to Dagster's webserver, which must change nothing."""
    own = partial(request, "/graphql", "POST", body=_GRAPHQL, Origin="http://{host}")
    forms = ["application/x-www-form-urlencoded", "multipart/form-data; boundary=x"]
    kinds = [*forms, "text/plain", "application/graphql"]
    return {
        "a mutation in an address": (request(_ASKED), (400, 403, 405)),
        "a mutation in an address from another site": (
            request(_ASKED, Sec_Fetch_Site="cross-site", Sec_Fetch_Mode="no-cors"),
            (400, 403, 405),
        ),
        "a mutation in an address that a link leads to": (
            request(_ASKED, Sec_Fetch_Site="cross-site", Sec_Fetch_Mode="navigate", Accept="text/html"),
            (200, 400, 403, 405),
        ),
        "a mutation in an address, encoded": (request(_ASKED.replace("/graphql", "/%67raphql")), _ABSENT),
        "a mutation in an address, by head": (request(_ASKED, "HEAD"), (200, 400, 403, 405)),
        **{f"a mutation as {kind}": (own(Content_Type=kind), (400, 403, 415)) for kind in kinds},
        "a mutation as nothing": (own(), (400, 403, 415)),
        "a mutation as text that names JSON": (own(Content_Type="text/plain; application/json"), (400, 403, 415)),
        "a report of an asset": (request("/report_asset_materialization/x", "POST", body="{}"), _REFUSED),
        "a report of an asset by get": (request("/report_asset_materialization/x?y=1"), (*_ABSENT, 200)),
        "a log file up from its folder": (request("/logs/..%2f..%2fsecret.txt/x/out"), (*_ABSENT, 500)),
        "a notebook of the disk": (request("/notebook?repoLocName=x&path=/etc/passwd"), (*_ABSENT, 200)),
        "a run's debug dump": (request("/download_debug/..%2f..%2fsecret"), (*_ABSENT, 200)),
        "its websocket without origin": (upgrade("/graphql"), _REFUSED),
        "its websocket from another site": (upgrade("/graphql", Origin=f"http://{_EVIL}"), _REFUSED),
        "its websocket from another port": (upgrade("/graphql", Origin="http://127.0.0.1:1"), _REFUSED),
        "its websocket from its own page": (upgrade("/graphql", Origin="http://{host}"), (101,)),
    }


def sent(text: str, port: int) -> tuple[int, str, str]:
    """Status, headers and the beginning of the body of an answer; status 0 where the connection was closed at once."""
    whole = text.replace("{host}", f"127.0.0.1:{port}").replace("{port}", str(port)).encode("latin-1")
    answer = b""
    with socket.create_connection(("127.0.0.1", port), timeout=20) as connection:
        try:
            connection.sendall(whole)
            while len(answer) < 300_000 and (part := connection.recv(65_536)):
                answer += part
                if answer.startswith(b"HTTP/1.1 101"):
                    break
        except ConnectionError:
            pass
    head, _, body = answer.decode("latin-1").partition("\r\n\r\n")
    found = re.match(r"HTTP/1\.\d (\d+)", head)
    return int(found[1]) if found else 0, head, body


def tried(port: int, text: str, expected: Expected) -> list[str]:
    """What is wrong with the answer to one request."""
    try:
        status, head, body = sent(text, port)
    except OSError as error:
        return [f"no answer: {error}"]
    to = re.search(r"^location: *(\S+)", head, re.IGNORECASE | re.MULTILINE)
    wrong = [f"{status} in place of {', '.join(map(str, expected))}"] if status not in (*expected, 0) else []
    wrong += [f"it leads to {to[1]}"] if to and not re.match(r"/(?![/\\])", to[1]) else []
    wrong += ["the secret is in the answer"] if SECRET in body or "root:x:" in body else []
    if status == 0 and 200 in expected and not set(expected) & {400, 403, 404}:
        wrong.append("the connection was closed")
    return wrong


@contextmanager
def serving(root: Path, *command: str) -> Iterator[int]:
    """A server of the command line until the block ends; its port."""
    port = free_port()
    server = Command(root, *command, "--port", str(port))
    try:
        until = time.monotonic() + 180
        while not _listens(port):
            if server.process.poll() is not None or time.monotonic() > until:
                raise RuntimeError(f"{command[0]} does not start: {server.end}")
            time.sleep(0.2)
        yield port
    finally:
        server.process.terminate()
        server.wait(60)
        server.survivors(20)


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def free_port() -> int:
    """A port of loopback that nothing listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def _all(port: int, requests: dict[str, tuple[str, Expected]]) -> dict[str, Any]:
    wrong = [f"{name}: {w}" for name, (text, expected) in requests.items() for w in tried(port, text, expected)]
    return {"requests": len(requests), "wrong": wrong}


def explorer(reference: Reference) -> dict[str, Any]:
    """All requests to the explorer of a finished survey."""
    from galaxy_assets.explorer.shared import Shared
    from galaxy_assets.storage.layout import Layout

    with reference.at(None) as root:
        for place in (root, root.parent):
            (place / "secret.txt").write_text(SECRET)
        version = Shared(Layout(root), "").view(SURVEY, "imagenet").version
        view = f"/view/{SURVEY}/imagenet/{version}"
        with serving(root, "explore", "--no-browser") as port:
            common = of_host_and_origin(f"{view}/points", f"{view}/rows", "\0\0\0\0")
            found = _all(port, common | to_explorer(view))
            status, _, _ = sent(request("/"), port)
            found["wrong"] += [] if status == 200 else [f"afterwards its page answers {status}"]
        return found


def dagster(reference: Reference) -> dict[str, Any]:
    """All requests to Dagster's webserver over a finished survey."""
    with reference.at(None) as root:
        (root.parent / "secret.txt").write_text(SECRET)
        known = Command(root, "dev", "--help")
        if known.wait(60):
            return {"skipped": "no `galaxy-assets dev` in this version", "requests": 0, "wrong": []}
        with serving(root, "dev") as port:
            found = _all(port, of_host_and_origin("/server_info", "/graphql", _GRAPHQL) | to_dagster())
            asked = request("/graphql", "POST", body=_LIMITS, Origin="http://{host}", Content_Type="application/json")
            status, _, body = sent(asked, port)
            if status != 200:
                found["wrong"].append(f"afterwards it answers {status} to a page of its own")
            elif "evil" in body:
                found["wrong"].append("a mutation was run")
        return found


def cases(reference: Reference) -> dict[str, Callable[[], dict[str, Any]]]:
    """The servers."""
    return {"explorer": partial(explorer, reference), "dagster": partial(dagster, reference)}


def figures(found: list[dict[str, Any]]) -> dict[str, Any]:
    """What is counted."""
    requests = sum(c["requests"] for c in found)
    return {
        "requests": requests,
        "answered as expected": requests - sum(len(c["wrong"]) for c in found),
        "servers skipped": sum("skipped" in c for c in found),
    }
