"""Running an application behind the guard, on one address, until it is stopped.

Belongs here: token, address and the web server's own settings. Does not belong here: what is served.
"""

import secrets
import signal
from collections.abc import Callable, Collection
from typing import NamedTuple

import uvicorn
from starlette.types import ASGIApp

from galaxy_assets.web.guard import Guard, is_loopback

Stop = Callable[[], None]
"""Ends a server that runs."""


class Site(NamedTuple):
    """One server: the application, and what `guard.Guard` is to know of it.

    Attributes
    ----------
    name : str
        What it is, for the line that says where it is.
    app : ASGIApp
    policy : str
    bodies : collection of str, optional
    """

    name: str
    app: ASGIApp
    policy: str
    bodies: Collection[str] | None = None


def end_by_exception() -> None:
    """Let SIGTERM be what Ctrl-C is: uvicorn raises it again when it has ended, and what its callers tidy is tidied."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)


def serve(site: Site, *, host: str, port: int, started: Callable[[str, Stop], object]) -> None:
    """Serve behind the guard until the process is told to end.

    On an address that other machines reach, every request needs the token in the address that is printed.

    Parameters
    ----------
    site : Site
    host : str
        Address to bind to.
    port : int
    started : callable
        Called once, before the server answers, with its address and a function that stops it.
    """
    token = None if is_loopback(host) else secrets.token_urlsafe(24)
    shown = f"[{host}]" if ":" in host else host
    address = f"http://{shown}:{port}/" + (f"?token={token}" if token else "")
    server = uvicorn.Server(
        uvicorn.Config(
            Guard(site.app, token, policy=site.policy, bodies=site.bodies),
            host=host,
            port=port,
            log_level="warning",
            access_log=False,
            ws_max_size=4_000_000,
            timeout_graceful_shutdown=2,
            server_header=False,
        )
    )

    def stop() -> None:
        server.should_exit = True

    end_by_exception()
    print(f"{site.name}: {address}", flush=True)
    started(address, stop)
    try:
        server.run()
    except KeyboardInterrupt:
        return
