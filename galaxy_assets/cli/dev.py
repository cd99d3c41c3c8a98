"""`dev`: Dagster's webserver and daemon over the data folder.

Belongs here: arguments. Does not belong here: what is started (`orchestration.webserver`), who may ask (`web.guard`).
"""

from pathlib import Path
from typing import Annotated

import typer

from galaxy_assets.cli.arguments import TypedPath, free_address
from galaxy_assets.cli.dagster_home import use_dagster_home
from galaxy_assets.cli.terminal import say
from galaxy_assets.storage.layout import Layout


def dev(
    host: Annotated[
        str, typer.Option(help="address to bind to; other than loopback it asks for a token")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=1, max=65535, help="of the page's address")] = 3000,
    workspace: Annotated[
        Path | None,
        typer.Option(
            "--workspace",
            "-w",
            click_type=TypedPath(exists=True, dir_okay=False),
            help="Dagster's workspace file; without it workspace.yaml of this folder, or else galaxy_assets alone",
        ),
    ] = None,
) -> None:
    """Start Dagster's pages, on which assets are looked at and run, and its daemon, which runs what arrives.

    It is what `dagster dev` starts, behind a guard: no other web page can use it. Runs are kept in $DAGSTER_HOME, else
    where `galaxy-assets run` keeps those of the data folder.

    Example: galaxy-assets dev --port 3000
    """
    from galaxy_assets.orchestration.webserver import serve

    free_address(host, port)
    say(f"Dagster keeps its history of runs in {use_dagster_home(Layout.default())}")
    here = Path("workspace.yaml")
    raise typer.Exit(serve(workspace or (here if here.exists() else None), host=host, port=port))
