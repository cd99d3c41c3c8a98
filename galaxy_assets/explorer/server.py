"""The server of the explorer: routes and page behind the guard, on one address.

Belongs here: assembling and running it. Does not belong here: arguments (`cli.explore`), what it serves.
"""

import os
import secrets
import shutil
import signal
import sys
import tempfile
import webbrowser
from pathlib import Path
from threading import Thread, Timer

from galaxy_assets.settings.printing import logger
from galaxy_assets.storage.layout import Layout

log = logger(__name__)


def serve(layout: Layout, *, host: str, port: int, dagster: str, open_browser: bool) -> None:
    """Serve the explorer of a data folder until it is stopped.

    On an address that other machines reach, every request needs the token in the address that is printed.

    Parameters
    ----------
    layout : Layout
        The data folder.
    host : str
        Address to bind to.
    port : int
    dagster : str
        Address of Dagster's webserver.
    open_browser : bool

    Raises
    ------
    OSError
        Where the address cannot be bound.
    """
    # NiceGUI would write its own storage into the working directory; nothing of ours goes there
    storage = Path(tempfile.mkdtemp(prefix="galaxy_assets_page_"))
    os.environ["NICEGUI_STORAGE_PATH"] = str(storage)
    import uvicorn
    from fastapi import FastAPI
    from nicegui import ui

    from galaxy_assets.explorer.guard import Guard, is_loopback
    from galaxy_assets.explorer.page import add_page
    from galaxy_assets.explorer.routes import add_routes
    from galaxy_assets.explorer.shared import Shared

    app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)
    shared = Shared(layout, dagster)
    add_routes(app, shared)
    add_page(shared)
    ui.run_with(app, title="galaxy-assets explorer", reconnect_timeout=10.0, show_welcome_message=False, tailwind=False)
    token = None if is_loopback(host) else secrets.token_urlsafe(24)
    shown = f"[{host}]" if ":" in host else host
    address = f"http://{shown}:{port}/" + (f"?token={token}" if token else "")
    print(f"explorer of {layout.root.absolute()}: {address}", flush=True)
    # uvicorn ends well on it and then raises it again, which would skip the tidying below
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    Thread(target=shared.warm, daemon=True).start()
    if open_browser:
        Timer(1.0, webbrowser.open, [address]).start()
    try:
        uvicorn.run(
            Guard(app, token),
            host=host,
            port=port,
            log_level="warning",
            access_log=False,
            ws_max_size=4_000_000,
            timeout_graceful_shutdown=2,
            server_header=False,
        )
    finally:
        shared.lake.persons.close()
        shutil.rmtree(shared.folder, ignore_errors=True)
        shutil.rmtree(storage, ignore_errors=True)
