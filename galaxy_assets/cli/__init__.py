"""The command line: thin over Dagster and the lake.

Belongs here: a module per command with its arguments, progress and printed answer. Does not belong here: what the
commands do.
"""

import typer

from galaxy_assets.cli import dev, device, explore, export, fetch, figures, labels, query, run, similar, status, survey

app = typer.Typer(no_args_is_help=True, add_completion=False, help="From a folder of galaxy images to discoveries.")
app.command()(run.run)
app.command()(status.status)
app.add_typer(survey.app, name="survey")
app.command()(fetch.fetch)
app.add_typer(labels.app, name="labels")
app.command()(query.query)
app.command()(export.export)
app.command()(similar.similar)
app.command()(explore.explore)
app.command()(dev.dev)
app.command()(figures.figures)
app.command()(device.device)
app.command()(run.real)
