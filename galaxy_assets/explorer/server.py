"""The server of the explorer: its routes and page as one application.

Belongs here: assembling it. Does not belong here: arguments (`cli.explore`), the guard and the address (`web`).
"""

import os
import shutil
import webbrowser
from threading import Thread, Timer

from galaxy_assets.explorer.temporary import STORAGE, make_folder, remove_left
from galaxy_assets.storage.layout import Layout

POLICY = (
    "default-src 'self'; img-src 'self' data: blob:; style-src 'self' 'unsafe-inline'; font-src 'self' data:; "
    # NiceGUI compiles its templates in the browser
    "script-src 'self' 'unsafe-inline' 'unsafe-eval' blob:; worker-src 'self' blob:; connect-src 'self'; "
    "frame-ancestors 'none'; form-action 'self'; base-uri 'self'; object-src 'none'"
)
"""What the page may load: nothing of another machine."""


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
    """
    # NiceGUI would write its own storage into the working directory; nothing of ours goes there
    storage = make_folder(STORAGE)
    Thread(target=remove_left, daemon=True).start()
    os.environ["NICEGUI_STORAGE_PATH"] = str(storage)
    from fastapi import FastAPI
    from nicegui import ui

    from galaxy_assets.explorer.page import add_page
    from galaxy_assets.explorer.routes import add_routes
    from galaxy_assets.explorer.shared import Shared
    from galaxy_assets.web import serving
    from galaxy_assets.web.guard import is_loopback

    app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)
    shared = Shared(layout, dagster)
    if not is_loopback(host):
        shared.who = ""
    add_routes(app, shared)
    add_page(shared)
    ui.run_with(app, title="galaxy-assets explorer", reconnect_timeout=10.0, show_welcome_message=False, tailwind=False)

    def started(address: str, _: object) -> None:
        Thread(target=shared.warm, daemon=True).start()
        if open_browser:
            Timer(1.0, webbrowser.open, [address]).start()

    site = serving.Site(f"explorer of {layout.root.absolute()}", app, POLICY)
    try:
        serving.serve(site, host=host, port=port, started=started)
    finally:
        shared.lake.persons.close()
        shutil.rmtree(shared.folder, ignore_errors=True)
        shutil.rmtree(storage, ignore_errors=True)
