"""`query`: SQL over the lake.

Belongs here: the connection that a query runs in, which reads the lake and can do nothing else, and its answer as text
or as a file. Does not belong here: the views (`lake.read_model`).
"""

from pathlib import Path
from typing import Annotated

import duckdb
import pyarrow as pa
import typer

from galaxy_assets.atomic import replacing
from galaxy_assets.lake import connect
from galaxy_assets.lake.layout import Layout
from galaxy_assets.lake.tables import write_table

_SHOWN = 40  # rows of an answer without --limit; duckdb shows the first and the last ones
_WIDTH = 120


def query(
    sql: Annotated[str, typer.Argument(metavar="SQL", help="one query, for instance a select")],
    to: Annotated[Path | None, typer.Option(help="a .csv or .parquet file to write, whole or not at all")] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="rows at most")] = None,
) -> None:
    """Ask the lake in SQL, read-only: a schema per survey, a table per asset.

    Without --to the answer is printed, and shortened in the middle if it is long and has no --limit.

    Example: galaxy-assets query "select galaxy_id, score from sdss_gz1.anomaly_ranking order by rank" --limit 20
    """
    if to is not None and to.suffix.lower() not in (".csv", ".parquet"):
        raise typer.BadParameter(f"{to} ends neither in .csv nor in .parquet", param_hint="--to")
    try:
        with connect_to_read(Layout.default()) as lake:
            try:
                answer = _asked(lake, sql, limit)
            except duckdb.Error as error:
                raise typer.BadParameter(_explained(lake, error)) from error
    except FileNotFoundError as error:
        raise typer.BadParameter(str(error)) from error
    if to is None:
        with duckdb.connect() as printer:
            printer.from_arrow(answer).show(max_rows=max(limit or _SHOWN, 1), max_width=_WIDTH)
        return
    try:
        _write(answer, to)
    except (OSError, pa.ArrowException, duckdb.Error) as error:
        raise typer.BadParameter(f"{to}: not written: {error}") from error
    typer.echo(f"{to}: {answer.num_rows} rows")


def connect_to_read(layout: Layout) -> duckdb.DuckDBPyConnection:
    """The read model, opened so that SQL reaches no file but the lake's, nor variables of this process, nor settings.

    Raises FileNotFoundError where nothing was published yet.
    """
    connection = connect(layout.root)
    connection.execute("set allowed_directories = ?", [[str(layout.lake.absolute())]])
    connection.execute("set python_enable_replacements = false")
    connection.execute("set enable_external_access = false")
    connection.execute("set lock_configuration = true")
    return connection


def _asked(lake: duckdb.DuckDBPyConnection, sql: str, limit: int | None) -> pa.Table:
    """The answer to one query.

    Raises typer.BadParameter for anything that is not one query, duckdb.Error for one that cannot be answered.
    """
    statements = lake.extract_statements(sql)
    if len(statements) != 1 or statements[0].type != duckdb.StatementType.SELECT:
        raise typer.BadParameter("one query at a time, and nothing but queries: select, from, with, describe, show")
    # as a subquery, because at the top level the `with` of a query may hold a `copy ... to` a file of the lake
    text = sql.encode()
    ends = [at for at, _ in duckdb.tokenize(sql) if text[at : at + 1] == b";"]
    subquery = f"from (\n{text[: ends[0]].decode() if ends else sql}\n)"
    return lake.sql(f"{subquery} limit {limit}" if limit else subquery).to_arrow_table()


def _explained(lake: duckdb.DuckDBPyConnection, error: duckdb.Error) -> str:
    """The database's message, and which tables there are where it names one that is not there."""
    message = str(error)
    if not isinstance(error, duckdb.CatalogException) or "Table with name" not in message:
        return message
    found = lake.execute(
        "select schema_name || '.' || view_name from duckdb_views() where not internal order by all"
    ).fetchall()
    return f"{message}\n\nTables: {', '.join(name for (name,) in found) or 'none'}"


def _write(answer: pa.Table, path: Path) -> None:
    if path.suffix.lower() == ".parquet":
        write_table(answer, path)
        return
    # duckdb's CSV has lists too, and this connection is not the one that the query could use
    with replacing(path) as partial, duckdb.connect() as writer:
        writer.from_arrow(answer).write_csv(str(partial))
