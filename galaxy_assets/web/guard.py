"""Who may talk to a server of this machine, the explorer or Dagster's webserver: every request passes here first.

Belongs here: checks of host, origin, token and size, and the headers that keep a browser from asking elsewhere. Does
not belong here: any page or route.

A page on loopback can be reached from every web page that its user has open: a form can post to it, a name of another
site can be made to point at it. So requests must name this server as their host, what changes anything must come from a
page of this server, and bound to another address every request must carry the token. A header that has no single plain
meaning is refused, not interpreted.
"""

import hmac
import ipaddress
import re
from collections.abc import Collection
from urllib.parse import parse_qs

from starlette.responses import PlainTextResponse, RedirectResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

MAXIMUM_BODY = 32_000_000
"""Bytes of a request: an uploaded image, or the rows of a lasso."""

_HOST = re.compile(
    r"(?:\[(?P<six>[0-9A-Fa-f:.]+)\]|(?P<name>[A-Za-z0-9](?:[A-Za-z0-9.-]*[A-Za-z0-9])?))(?::(?P<port>[0-9]{1,5}))?"
)
_LENGTH = re.compile(r"[0-9]{1,12}")
_ONCE = (b"host", b"origin", b"content-length", b"content-type", b"sec-fetch-site", b"sec-fetch-mode")
_HEADERS = {
    b"x-content-type-options": b"nosniff",
    b"referrer-policy": b"no-referrer",
    b"cross-origin-resource-policy": b"same-origin",
}


def is_loopback(host: str) -> bool:
    """Whether an address to bind to is reached from this machine alone.

    Parameters
    ----------
    host : str
        Name or IP address.

    Returns
    -------
    bool
    """
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def cookie_name(port: int) -> str:
    """Name of the cookie that holds the token: a browser sends a host's cookies to each of its ports.

    Parameters
    ----------
    port : int
        As the browser knows it.

    Returns
    -------
    str
    """
    return f"galaxy_assets_token_{port}"


class Guard:
    """An ASGI application around another one, which refuses some requests.

    Parameters
    ----------
    app : ASGIApp
    token : str, optional
        Where given, requests must carry it; else they must name loopback.
    policy : str
        What the pages may load and who may frame them, as a Content-Security-Policy. Pages may have another one too;
        a browser keeps both.
    bodies : collection of str, optional
        Media types that a request with a body may have; any when not given.
    """

    def __init__(self, app: ASGIApp, token: str | None = None, *, policy: str, bodies: Collection[str] | None = None):
        self.app, self.token, self.policy, self.bodies = app, token, policy, bodies

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, or refuse it."""
        if scope["type"] not in ("http", "websocket"):
            await self.app(scope, receive, send)
            return
        headers = {name: value.decode("latin-1") for name, value in scope["headers"]}
        refused = self._refusal(scope, headers)
        if refused is not None:
            await _refuse(scope, receive, send, *refused)
            return
        if scope["type"] == "http" and self.token is not None and self._asked_with_token(scope):
            # the token leaves the address, which is shown, kept and sent on; the new one has nothing of what was asked
            answer = RedirectResponse("/", status_code=303)
            answer.set_cookie(cookie_name(_port(headers)), self.token, httponly=True, samesite="lax")
            await answer(scope, receive, send)
            return
        bounded = _counted(receive) if scope["type"] == "http" else receive
        await self.app(scope, bounded, _with_headers(send, self.policy))

    def _refusal(self, scope: Scope, headers: dict[bytes, str]) -> tuple[int, str] | None:
        """Status and words of why a request is refused, None where it is not."""
        names = [name for name, _ in scope["headers"]]
        if any(names.count(name) > 1 for name in _ONCE):
            return 403, "a header that counts is there twice"
        host = headers.get(b"host", "")
        parts = _HOST.fullmatch(host)
        if parts is None or (self.token is None and not is_loopback(parts["six"] or parts["name"])):
            return 403, f"this server is not {_shown(host)}; open it by its address 127.0.0.1"
        origin = headers.get(b"origin")
        if origin is not None and origin.lower() not in (f"http://{host}".lower(), f"https://{host}".lower()):
            return 403, f"a page of {_shown(origin)} may not use this server"
        reads = scope["type"] == "http" and scope["method"] in ("GET", "HEAD")
        if origin is None and not reads:
            return 403, "what changes anything must come from a page of this server, and say so (no Origin header)"
        if headers.get(b"sec-fetch-site") in ("cross-site", "same-site") and not _leads_here(headers):
            return 403, "another site may not read from this server"
        length = headers.get(b"content-length", "0")
        if not _LENGTH.fullmatch(length) or int(length) > MAXIMUM_BODY:
            return 413, f"at most {MAXIMUM_BODY / 1e6:.0f} MB can be sent"
        if self.bodies is not None and scope["type"] == "http" and not reads:
            if headers.get(b"content-type", "").split(";")[0].strip().lower() not in self.bodies:
                return 415, f"what is sent must be {' or '.join(self.bodies)}"
        if self.token is not None and not self._asked_with_token(scope) and not self._known(headers):
            return 403, "open the address that was printed when this server started: it holds a token"
        return None

    def _asked_with_token(self, scope: Scope) -> bool:
        asked = parse_qs(scope.get("query_string", b"").decode("latin-1")).get("token", [""])[0]
        return scope["type"] == "http" and self._is_token(asked)

    def _known(self, headers: dict[bytes, str]) -> bool:
        name = cookie_name(_port(headers))
        # one by one: a neighbour on this host may have set cookies that no parser of them all understands
        pairs = (cookie.strip().partition("=") for cookie in headers.get(b"cookie", "").split(";"))
        return any(key == name and self._is_token(value) for key, _, value in pairs)

    def _is_token(self, given: str) -> bool:
        return hmac.compare_digest(given.encode(), (self.token or "").encode())


def _counted(receive: Receive) -> Receive:
    """The body of a request, cut off after MAXIMUM_BODY where its length was not given beforehand."""
    seen = 0

    async def counted() -> Message:
        nonlocal seen
        message = await receive()
        seen += len(message.get("body", b""))
        return {"type": "http.disconnect"} if seen > MAXIMUM_BODY else message

    return counted


def _port(headers: dict[bytes, str]) -> int:
    """The port that a browser asked, which a tunnel may have changed."""
    host = _HOST.fullmatch(headers[b"host"])
    return int((host and host["port"]) or 80)


def _leads_here(headers: dict[bytes, str]) -> bool:
    """Whether the request is for a page that a link or a typed address leads to."""
    return headers.get(b"sec-fetch-mode") == "navigate"


def _shown(header: str) -> str:
    """A stranger's header in an answer."""
    return ascii(header[:80])


def _with_headers(send: Send, policy: str) -> Send:
    async def sending(message: Message) -> None:
        if message["type"] == "http.response.start":
            given = {name.lower() for name, _ in message["headers"]}
            added = [(name, value) for name, value in _HEADERS.items() if name not in given]
            added.append((b"content-security-policy", policy.encode()))
            message = {**message, "headers": [*message["headers"], *added]}
        await send(message)

    return sending


async def _refuse(scope: Scope, receive: Receive, send: Send, status: int, words: str) -> None:
    if scope["type"] == "websocket":
        await send({"type": "websocket.close", "code": 1008, "reason": words[:120]})
        return
    await PlainTextResponse(words, status)(scope, receive, send)
