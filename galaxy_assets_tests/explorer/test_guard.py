"""Who may talk to the server: hosts, origins, tokens and sizes."""

import pytest
from starlette.applications import Starlette
from starlette.requests import ClientDisconnect, Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route, WebSocketRoute
from starlette.testclient import TestClient
from starlette.websockets import WebSocketDisconnect

from galaxy_assets.explorer import guard
from galaxy_assets.explorer.guard import Guard, is_loopback


async def said(request: Request) -> PlainTextResponse:
    return PlainTextResponse(str(len(await request.body())))


async def socket(websocket) -> None:
    await websocket.accept()
    await websocket.send_text("in")
    await websocket.close()


def client(token: str | None = None, host: str = "127.0.0.1:8500") -> TestClient:
    app = Starlette(routes=[Route("/", said, methods=["GET", "POST"]), WebSocketRoute("/ws", socket)])
    return TestClient(Guard(app, token), base_url=f"http://{host}", follow_redirects=False)


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
    assert "httponly" in cookie and "samesite=strict" in cookie
    assert away.get("/").status_code == 200 and away.post("/", content=b"x", headers=origin).text == "1"
    with away.websocket_connect("ws://192.168.1.4:8500/ws", headers=origin) as ws:
        assert ws.receive_text() == "in"
    assert away.post("/", content=b"x", headers={"origin": "http://evil.example"}).status_code == 403


def test_the_browser_is_told_to_ask_nobody_else():
    policy = client().get("/").headers["content-security-policy"]
    assert "default-src 'self'" in policy and "http" not in policy and "frame-ancestors 'none'" in policy
