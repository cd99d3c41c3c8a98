"""Who may talk to the server: hosts, origins, tokens and sizes."""

import asyncio
from threading import Thread
from urllib.parse import unquote

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from starlette.applications import Starlette
from starlette.requests import ClientDisconnect, Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route, WebSocketRoute
from starlette.testclient import TestClient
from starlette.websockets import WebSocketDisconnect

from galaxy_assets.explorer.server import POLICY
from galaxy_assets.web import guard
from galaxy_assets.web.guard import Guard, is_loopback


async def said(request: Request) -> PlainTextResponse:
    return PlainTextResponse(str(len(await request.body())))


async def socket(websocket) -> None:
    await websocket.accept()
    await websocket.send_text("in")
    await websocket.close()


def client(token: str | None = None, host: str = "127.0.0.1:8500", **rules) -> TestClient:
    app = Starlette(routes=[Route("/", said, methods=["GET", "POST"]), WebSocketRoute("/ws", socket)])
    return TestClient(Guard(app, token, policy=POLICY, **rules), base_url=f"http://{host}", follow_redirects=False)


SAME = {"origin": "http://127.0.0.1:8500"}


def test_loopback_is_known_by_address_not_by_hope():
    assert all(map(is_loopback, ("127.0.0.1", "127.9.9.9", "::1", "localhost")))
    assert not any(map(is_loopback, ("0.0.0.0", "::", "192.168.1.4", "example.org", "", "127.0.0.1.example.org")))


@pytest.mark.parametrize("host", ["127.0.0.1:8500", "localhost:8500", "[::1]:8500"])
def test_a_page_of_this_server_may_do_everything(host):
    own = client(host=host)
    assert own.get("/").status_code == 200
    assert own.post("/", content=b"abc", headers={"origin": f"http://{host}"}).text == "3"


def test_a_name_that_points_here_is_not_this_server():
    assert client(host="evil.example:8500").get("/").status_code == 403


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"origin": "http://evil.example"},
        {"origin": "null"},
        {"origin": "http://127.0.0.1:9999"},
        {"origin": "http://127.0.0.1:8500.evil.example"},
    ],
)
def test_other_pages_change_nothing_and_open_no_socket(headers):
    assert client().post("/", content=b"abc", headers=headers).status_code == 403
    with pytest.raises(WebSocketDisconnect), client().websocket_connect("/ws", headers=headers) as ws:
        ws.receive_text()


def test_own_sockets_open():
    with client().websocket_connect("ws://127.0.0.1:8500/ws", headers=SAME) as ws:
        assert ws.receive_text() == "in"


def test_other_sites_read_nothing_but_links_lead_here():
    assert client().get("/", headers={"sec-fetch-site": "cross-site", "sec-fetch-mode": "no-cors"}).status_code == 403
    assert client().get("/", headers={"sec-fetch-site": "same-site", "sec-fetch-mode": "no-cors"}).status_code == 403
    assert client().get("/", headers={"origin": "http://evil.example"}).status_code == 403
    assert client().get("/", headers={"sec-fetch-site": "cross-site", "sec-fetch-mode": "navigate"}).status_code == 200


def test_bodies_are_bounded_with_and_without_a_length(monkeypatch):
    monkeypatch.setattr(guard, "MAXIMUM_BODY", 10)
    assert client().post("/", content=b"x" * 10, headers=SAME).text == "10"
    assert client().post("/", content=b"x" * 11, headers=SAME).status_code == 413
    with pytest.raises(ClientDisconnect):
        client().post("/", content=iter([b"x" * 6, b"x" * 6]), headers=SAME)


def test_elsewhere_everything_needs_the_token():
    away = client("secret", host="192.168.1.4:8500")
    origin = {"origin": "http://192.168.1.4:8500"}
    assert away.get("/").status_code == 403 and "token" in away.get("/").text
    assert away.get("/?token=wrong").status_code == 403
    assert away.post("/", content=b"x", headers=origin).status_code == 403
    with pytest.raises(WebSocketDisconnect), away.websocket_connect("ws://192.168.1.4:8500/ws", headers=origin) as ws:
        ws.receive_text()
    first = away.get("/?token=secret")
    assert first.status_code == 303 and first.headers["location"] == "/", "the token leaves the address"
    cookie = first.headers["set-cookie"].lower()
    assert "httponly" in cookie and "samesite=lax" in cookie
    assert away.get("/").status_code == 200 and away.post("/", content=b"x", headers=origin).text == "1"
    with away.websocket_connect("ws://192.168.1.4:8500/ws", headers=origin) as ws:
        assert ws.receive_text() == "in"
    assert away.post("/", content=b"x", headers={"origin": "http://evil.example"}).status_code == 403


@given(
    st.lists(st.text(st.characters(codec="latin-1", exclude_characters=";"), max_size=12), max_size=4),
    st.integers(0, 4),
)
@example(['preferences={"theme": "dark"}', "a b=c", "=", 'x="'], 4)
def test_what_neighbours_on_this_host_set_locks_nobody_out_and_lets_nobody_in(neighbours, place):
    """A browser sends a host's cookies to each of its ports."""
    own = f"{guard.cookie_name(8500)}=secret"
    away = Guard(lambda *_: None, "secret", policy=POLICY)
    for known, cookies in ((True, [*neighbours[:place], own, *neighbours[place:]]), (False, neighbours)):
        headers = {b"host": "192.168.1.4:8500", b"cookie": "; ".join(cookies)}
        scope = {"type": "http", "method": "GET", "headers": [(k, v.encode("latin-1")) for k, v in headers.items()]}
        assert (away._refusal(scope, headers) is None) == (known or own in neighbours)


def test_a_link_from_another_site_opens_the_page_and_still_changes_nothing():
    away, host = client("secret", host="192.168.1.4:8500"), "http://192.168.1.4:8500"
    away.get("/?token=secret")
    led = {"sec-fetch-site": "cross-site", "sec-fetch-mode": "navigate"}
    assert away.get("/", headers=led).status_code == 200
    for origin in ("http://evil.example", "null"):
        assert away.post("/", content=b"x", headers=led | {"origin": origin}).status_code == 403
        with pytest.raises(WebSocketDisconnect), away.websocket_connect("/ws", headers={"origin": origin}) as ws:
            ws.receive_text()
    assert away.post("/", content=b"x", headers=led).status_code == 403, "without an origin"
    assert away.post("/", content=b"x", headers={"origin": host}).status_code == 200


def test_the_browser_is_told_to_ask_nobody_else():
    policy = client().get("/").headers["content-security-policy"]
    assert "default-src 'self'" in policy and "http" not in policy and "frame-ancestors 'none'" in policy


STRANGE = [
    "http://[",
    "[",
    "[::1",
    "[::1]]:8500",
    "[127.0.0.1",
    "127.0.0.1:port",
    "127.0.0.1:99999999",
    "127.0.0.1:",
    "127.0.0.1@evil.example",
    "evil.example@127.0.0.1",
    "127.0.0.1:8500@evil.example",
    "127.0.0.1.",
    "localhost.",
    "localhost.evil.example",
    "127.0.0.1 evil.example",
    "127.0.0.1/evil",
    "127.0.0.1#evil",
    "127.0.0.1\\evil",
    "2130706433",
    "0x7f.1",
    "127.1",
    "0.0.0.0",
    "xn--80ak6aa92e.com",
    "xn--\u00ff",
    "\u00b9\u00b2\u00b7.0.0.1",
    "\u00ff\u00fe",
    "a" * 5000,
    "",
]


@pytest.mark.parametrize("value", STRANGE)
@pytest.mark.parametrize("token", [None, "secret"])
def test_a_host_or_origin_without_one_plain_meaning_is_refused(value, token):
    asked = client(token)
    raw = value.encode("latin-1")
    assert asked.get("/", headers={"host": raw}).status_code == 403
    for origin in (raw, b"http://" + raw, b"//" + raw):
        assert asked.post("/", content=b"x", headers={"origin": origin}).status_code == 403
        with pytest.raises(WebSocketDisconnect), asked.websocket_connect("/ws", headers={"origin": origin}) as ws:
            ws.receive_text()


@pytest.mark.parametrize("header", ["host", "origin", "content-length", "content-type", "sec-fetch-site"])
def test_headers_that_count_are_there_once(header):
    own = {"host": "127.0.0.1:8500", "origin": SAME["origin"], "content-length": "1", "content-type": "text/plain"}
    value = own.get(header, "same-origin")
    asked = client()
    request = asked.build_request("POST", "/", content=b"x", headers=SAME | {header: value})
    assert asked.send(request).status_code == 200
    request = asked.build_request(
        "POST", "/", content=b"x", headers=[*(SAME | {header: value}).items(), (header, value)]
    )
    assert asked.send(request).status_code == 403


@pytest.mark.parametrize("length", ["-1", "1e3", "0x10", "9" * 5000, "\u00b2", " ", "1,1"])
def test_a_length_that_is_no_number_is_refused(length):
    asked = client()
    request = asked.build_request("POST", "/", content=b"x", headers=SAME)
    request.headers["content-length"] = length
    assert asked.send(request).status_code == 413


@pytest.mark.parametrize(
    "path",
    ["//evil.example/", "//evil.example", "///evil.example", "/\\evil.example", "/%2f/evil.example", "/%2fevil.example"]
    + [
        "/%5cevil.example",
        "/%5c%5cevil.example",
        "/%09/evil.example",
        "/%0d%0aLocation: //evil.example",
        "/;@evil.example",
    ],
)
def test_a_redirect_leads_nowhere_else(path):
    """A browser reads `//evil.example` and `/\\evil.example` as another host."""
    app = Guard(Starlette(routes=[Route("/", said)]), "secret", policy=POLICY)
    sent = []

    async def receive():
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message):
        sent.append(message)

    scope = {
        "type": "http",
        "method": "GET",
        "path": unquote(path),
        "raw_path": path.encode(),
        "query_string": b"token=secret",
        "headers": [(b"host", b"192.168.1.4:8500")],
        "server": ("192.168.1.4", 8500),
    }
    Thread(target=lambda: asyncio.run(app(scope, receive, send))).run()
    assert sent[0]["status"] == 303 and dict(sent[0]["headers"])[b"location"] == b"/"


def test_a_server_may_say_what_is_sent_to_it():
    asked = client(bodies=("application/json",))
    for kind in ("application/json", "application/json; charset=utf-8", "Application/JSON"):
        assert asked.post("/", content=b"{}", headers=SAME | {"content-type": kind}).status_code == 200
    form = "multipart/form-data; boundary=application/json"
    for kind in ("text/plain", "text/plain; application/json", "application/x-www-form-urlencoded", form, ""):
        assert asked.post("/", content=b"{}", headers=SAME | {"content-type": kind}).status_code == 415
    assert asked.post("/", headers=SAME).status_code == 415 and asked.get("/").status_code == 200


def test_two_servers_of_one_host_have_a_cookie_each():
    names = []
    for port in (3000, 8500):
        app = Guard(Starlette(routes=[Route("/", said)]), "secret", policy=POLICY)
        found = TestClient(app, base_url=f"http://192.168.1.4:{port}", follow_redirects=False).get("/?token=secret")
        names += list(found.cookies)
    assert names == ["galaxy_assets_token_3000", "galaxy_assets_token_8500"]
