"""The command line: thin over Dagster and the lake.

Belongs here: a module per command with its arguments, progress and printed answer. Does not belong here: what the
commands do.
"""

import io
import sys
from importlib.metadata import version
from typing import Annotated, Any

import click
import typer
from typer.core import TyperGroup

from galaxy_assets.cli import (
    check,
    demo,
    dev,
    device,
    docs,
    explore,
    export,
    fetch,
    figures,
    labels,
    plan,
    query,
    run,
    send,
    similar,
    status,
    survey,
)
from galaxy_assets.cli.terminal import say
from galaxy_assets.plugins import OURS, PluginError
from galaxy_assets.settings.printing import PrintableError, printable_lines


class _Commands(TyperGroup):
    """The commands; an error whose words say all (a damaged file, a full disk) is printed without a traceback."""

    def invoke(self, ctx: click.Context) -> Any:
        """Run a command."""
        try:
            return super().invoke(ctx)
        except (PrintableError, PluginError) as error:
            raise click.ClickException(printable_lines(str(error))) from error


app = typer.Typer(
    cls=_Commands, no_args_is_help=True, add_completion=False, help="From a folder of galaxy images to discoveries."
)


def _say_version(asked: bool) -> None:
    if asked:
        say(f"galaxy-assets {version(OURS)}")
        raise typer.Exit


@app.callback()
def _before_any_command(
    _: Annotated[
        bool, typer.Option("--version", callback=_say_version, is_eager=True, help="print the version and stop")
    ] = False,
) -> None:
    if isinstance(
        sys.stdout, io.TextIOWrapper
    ):  # as stderr has it: a name that the terminal has no letters for is told
        sys.stdout.reconfigure(errors="backslashreplace")


app.command()(demo.demo)
app.command()(run.run)
app.command()(status.status)
app.command()(check.check)
app.command()(plan.plan)
app.add_typer(survey.app, name="survey")
app.command()(fetch.fetch)
app.add_typer(labels.app, name="labels")
app.command()(query.query)
app.add_typer(export.app, name="export")
app.add_typer(send.app, name="send")
app.command()(similar.similar)
app.command()(explore.explore)
app.command()(dev.dev)
app.command()(figures.figures)
app.command()(device.device)
app.command()(docs.docs)
app.command()(run.real)
