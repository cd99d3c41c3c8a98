"""The command line: thin over Dagster and the lake.

Belongs here: a module per command with its arguments, progress and printed answer. Does not belong here: what the
commands do.
"""

import typer

from galaxy_assets.cli import figures, run, similar, survey

app = typer.Typer(no_args_is_help=True, add_completion=False, help="From a folder of galaxy images to discoveries.")
app.command()(run.run)
app.command()(run.real)
app.command()(figures.figures)
app.command()(similar.similar)
app.add_typer(survey.app, name="survey")


@app.callback()
def main() -> None:
    """From a folder of galaxy images to discoveries, without labels."""
