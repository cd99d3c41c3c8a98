"""Who may talk to the explorer: every request passes here first.

Belongs here: checks of host, origin, token and size, and the headers that keep a browser from asking elsewhere. Does
not belong here: any page or route.

A page on loopback can be reached from every web page that its user has open: a form can post to it, a name of another
site can be made to point at it. So requests must name this server as their host, what changes anything must come from a
page of this server, and bound to another address every request must carry the token.
"""

import hmac
import ipaddress
from http.cookies import CookieError, SimpleCookie
from urllib.parse import parse_qs, urlsplit

from starlette.responses import PlainTextResponse, RedirectResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

MAXIMUM_BODY = 32_000_000
"""Bytes of a request: an uploaded image, or the rows of a lasso."""
COOKIE = "galaxy_assets_token"

_POLICY = (
    "default-src 'self'; img-src 'self' data: blob:; style-src 'self' 'unsafe-inline'; font-src 'self' data:; "
    # NiceGUI compiles its templates in the browser
    "script-src 'self' 'unsafe-inline' 'unsafe-eval' blob:; worker-src 'self' blob:; connect-src 'self'; "
    "frame-ancestors 'none'; form-action 'self'; base-uri 'self'; object-src 'none'"
)
_HEADERS = [
    (b"content-security-policy", _POLICY.encode()),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-resource-policy", b"same-origin"),
]


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


class Guard:
    """An ASGI application around another one, which refuses some requests.

    Parameters
    ----------
    app : ASGIApp
    token : str, optional
        Where given, requests must carry it; else they must name loopback.
    """

    def __init__(self, app: ASGIApp, token: str | None = None):
        self.app, self.token = app, token

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
            # the token leaves the address, which is shown, kept and sent on
            answer = RedirectResponse(scope["path"], status_code=303)
            answer.set_cookie(COOKIE, self.token, httponly=True, samesite="strict")
            await answer(scope, receive, send)
            return
        await self.app(scope, _counted(receive) if scope["type"] == "http" else receive, _with_headers(send))

    def _refusal(self, scope: Scope, headers: dict[bytes, str]) -> tuple[int, str] | None:
        """Status and words of why a request is refused, None where it is not."""
        host = headers.get(b"host", "")
        if self.token is None and not is_loopback(urlsplit(f"//{host}").hostname or ""):
            return 403, f"this server is not {host}; open it by its address 127.0.0.1"
        origin = headers.get(b"origin")
        if origin is not None and urlsplit(origin).netloc != host:
            return 403, f"a page of {origin} may not use this server"
        if origin is None and (scope["type"] == "websocket" or scope.get("method") not in ("GET", "HEAD")):
            return 403, "what changes anything must come from a page of this server, and say so (no Origin header)"
        if headers.get(b"sec-fetch-site") == "cross-site" and headers.get(b"sec-fetch-mode") != "navigate":
            return 403, "another site may not read from this server"
        length = headers.get(b"content-length", "0")
        if not length.isdecimal() or int(length) > MAXIMUM_BODY:
            return 413, f"at most {MAXIMUM_BODY / 1e6:.0f} MB can be sent"
        if self.token is not None and not self._asked_with_token(scope) and not self._known(headers):
            return 403, "open the address that `galaxy-assets explore` printed: it holds a token"
        return None

    def _asked_with_token(self, scope: Scope) -> bool:
        asked = parse_qs(scope.get("query_string", b"").decode("latin-1")).get("token", [""])[0]
        return scope["type"] == "http" and self._is_token(asked)

    def _known(self, headers: dict[bytes, str]) -> bool:
        try:
            cookie = SimpleCookie(headers.get(b"cookie", "")).get(COOKIE)
        except CookieError:
            return False
        return cookie is not None and self._is_token(cookie.value)

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


def _with_headers(send: Send) -> Send:
    async def sending(message: Message) -> None:
        if message["type"] == "http.response.start":
            message = {**message, "headers": [*message["headers"], *_HEADERS]}
        await send(message)

    return sending


async def _refuse(scope: Scope, receive: Receive, send: Send, status: int, words: str) -> None:
    if scope["type"] == "websocket":
        await send({"type": "websocket.close", "code": 1008, "reason": words[:120]})
        return
    await PlainTextResponse(words, status)(scope, receive, send)
