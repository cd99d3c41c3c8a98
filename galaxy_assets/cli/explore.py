"""`explore`: the browser page over the lake.

Belongs here: arguments. Does not belong here: the page and its server (`galaxy_assets.explorer`).
"""

from typing import Annotated

import typer

from galaxy_assets.cli.arguments import free_address
from galaxy_assets.cli.terminal import say
from galaxy_assets.lake.read_model import publish
from galaxy_assets.storage.files import NotWritten
from galaxy_assets.storage.layout import Layout


def explore(
    host: Annotated[
        str, typer.Option(help="address to bind to; other than loopback it asks for a token")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=1, max=65535, help="of the page's address")] = 8500,
    dagster: Annotated[
        str, typer.Option(help="Dagster's webserver, which makes new rankings (`galaxy-assets dev`)")
    ] = "http://127.0.0.1:3000",
    browser: Annotated[bool, typer.Option("--browser/--no-browser", help="open the page in a browser")] = True,
) -> None:
    """Look at galaxies on a map and in galleries, score them, and see the ranking change: a page in your browser.

    It reads the data folder and writes people's labels, the cluster worksheet and the artefact review, nothing else.

    Example: galaxy-assets explore --port 8500
    """
    from galaxy_assets.explorer.server import serve
    from galaxy_assets.orchestration.graph import EXPLORER

    layout = Layout.default()
    if not layout.lake.exists():
        raise typer.BadParameter(f"{layout.lake}: no survey was run here yet; `galaxy-assets demo` runs two, simulated")
    free_address(host, port)
    try:
        publish(layout, EXPLORER)
    except NotWritten as error:
        if not layout.read_model.exists():
            raise
        say(f"{error}; the tables are shown as they were last published", err=True)
    serve(layout, host=host, port=port, dagster=dagster, open_browser=browser)
