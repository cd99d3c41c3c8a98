"""`query`: SQL over the lake.

Belongs here: the answer as text or as a file. Does not belong here: how a person's query is asked
(`lake.query_process`), the views (`lake.read_model`).
"""

import contextlib
import io
import shutil
import sys
from pathlib import Path
from typing import Annotated

import duckdb
import psutil
import pyarrow as pa
import typer

from galaxy_assets.cli.arguments import PATH
from galaxy_assets.cli.terminal import say
from galaxy_assets.lake.query import QueryError
from galaxy_assets.lake.query_process import Limits, PersonsQueries
from galaxy_assets.settings.spreadsheets import for_spreadsheets
from galaxy_assets.storage.files import replacing
from galaxy_assets.storage.layout import Layout
from galaxy_assets.storage.tables import write_table

_SHOWN = 40  # rows of an answer without --limit; duckdb shows the first and the last ones
_WIDTH = 120  # letters of a line where there is no terminal
_PLAIN = str.maketrans("┌┐└┘├┤┬┴┼─│·…", "+++++++++-|..")
_LONGEST = 86_400.0  # seconds


def query(
    sql: Annotated[str, typer.Argument(metavar="SQL", help="one query, for instance a select")],
    to: Annotated[
        Path | None, typer.Option(click_type=PATH, help="a .csv or .parquet file to write, whole or not at all")
    ] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="rows at most")] = None,
    seconds: Annotated[
        float, typer.Option(min=1, max=_LONGEST, help="time after which the query is ended, a day at most")
    ] = 600,
) -> None:
    """Ask the lake in SQL, read-only: a schema per survey, a table per asset.

    A query that needs more than a third of the machine's memory is ended too. Without --to the answer is printed, and
    shortened in the middle if it is long and has no --limit.

    Example: galaxy-assets query "select galaxy_id, score from sdss_gz1.anomaly_ranking order by rank" --limit 20
    """
    if to is not None and to.suffix.lower() not in (".csv", ".parquet"):
        raise typer.BadParameter(f"{to} ends neither in .csv nor in .parquet; name such a file", param_hint="--to")
    share = psutil.virtual_memory().total // 3
    try:
        with PersonsQueries(Layout.default(), Limits(seconds, share, share)) as queries:
            answer = queries.ask(sql, after=f" limit {limit:d}" if limit is not None else "")
    except (QueryError, FileNotFoundError) as error:
        raise typer.BadParameter(str(error)) from error
    if to is None:
        _show(answer, max(limit or _SHOWN, 1))
        return
    try:
        _write(answer, to)
    except (OSError, pa.ArrowException, duckdb.Error) as error:
        raise typer.BadParameter(f"{to}: not written: {error}") from error
    say(f"{to}: {answer.num_rows} rows")


def _show(answer: pa.Table, rows: int) -> None:
    """Print a table as wide as the terminal, 80 letters at least, its lines in letters that the terminal has."""
    shown, width = io.StringIO(), shutil.get_terminal_size((_WIDTH, 0)).columns
    with duckdb.connect() as printer, contextlib.redirect_stdout(shown):
        printer.from_arrow(answer).show(max_rows=rows, max_width=width)
    text = shown.getvalue()
    try:
        "┌…".encode(sys.stdout.encoding or "ascii")
    except UnicodeEncodeError:
        text = text.translate(_PLAIN)
    say(text.rstrip("\n"))


def _write(answer: pa.Table, path: Path) -> None:
    if path.suffix.lower() == ".parquet":
        write_table(answer, path)
        return
    # duckdb's CSV has lists too, and this connection is not the one that the query could use
    with replacing(path) as partial, duckdb.connect() as writer:
        writer.from_arrow(for_spreadsheets(answer)).write_csv(str(partial))
