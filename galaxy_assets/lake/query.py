"""SQL that other people write, over the lake and nothing else.

Belongs here: the connection such a query runs in, and what it may be. Does not belong here: the process that bounds it
(`query_process`), the views (`read_model`), what becomes of an answer.
"""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import duckdb
import pyarrow as pa

from galaxy_assets.lake.near_names import missing_table, no_such_table
from galaxy_assets.lake.read_model import attached, look_below
from galaxy_assets.settings.printing import PrintableError
from galaxy_assets.storage.layout import Layout


class QueryError(PrintableError):
    """A query that cannot be answered; the message is the database's, or says what kind of query is answered."""


def connect_to_read(
    layout: Layout, memory: str | None = None, *, threads: int | None = None
) -> duckdb.DuckDBPyConnection:
    """Open the read model so that SQL reaches the lake's files alone, and no variables of this process and no settings.

    Parameters
    ----------
    layout : Layout
        The data folder.
    memory : str, optional
        What the database may hold, such as `512MB`; four fifths of the machine's when not given. A query that needs
        more fails and is not written to disk.
    threads : int, optional
        That compute at once at most; as many as the machine has cores when not given.

    Returns
    -------
    duckdb.DuckDBPyConnection
        Read-only.

    Raises
    ------
    FileNotFoundError
        Where nothing was published yet.
    """
    connection = attached(layout)
    if memory is not None:
        connection.execute("set memory_limit = ?", [memory])
        connection.execute("set temp_directory = ''")
        # give memory back after each query: a server that lives for days would hold the most that any query needed
        connection.execute("set allocator_flush_threshold = '1MB'")
        connection.execute("set allocator_bulk_deallocation_flush_threshold = '1MB'")
    if threads is not None:
        connection.execute("set threads = least(?, current_setting('threads'))", [threads])
    connection.execute("set allowed_directories = ?", [[str(layout.lake.absolute())]])
    connection.execute("set python_enable_replacements = false")
    connection.execute("set enable_external_access = false")
    connection.execute("set lock_configuration = true")
    return connection


def cursor_of(lake: duckdb.DuckDBPyConnection, layout: Layout) -> duckdb.DuckDBPyConnection:
    """Another connection to the same tables, for one thread or one query.

    Parameters
    ----------
    lake : duckdb.DuckDBPyConnection
        Of `connect_to_read`.
    layout : Layout
        The data folder.

    Returns
    -------
    duckdb.DuckDBPyConnection
        To be closed when done.
    """
    mine = lake.cursor()
    mine.execute("use galaxy")
    look_below(mine, layout.root)
    return mine


def as_subquery(lake: duckdb.DuckDBPyConnection, sql: str) -> str:
    """One query of a person as `(...)`, to stand after `from` or `in`.

    It is a subquery because at the top level the `with` of a query may hold a `copy ... to` a file of the lake.

    Parameters
    ----------
    lake : duckdb.DuckDBPyConnection
        Of `connect_to_read`.
    sql : str
        What the person wrote.

    Returns
    -------
    str
        SQL in parentheses.

    Raises
    ------
    QueryError
        For anything that is not one query.
    """
    try:
        kinds = [statement.type for statement in lake.extract_statements(sql)]
    except duckdb.Error as error:
        raise QueryError(str(error)) from error
    except ValueError:  # a kind of statement that DuckDB's Python package has no name for
        kinds = []
    if kinds != [duckdb.StatementType.SELECT]:
        raise QueryError("one query at a time, and nothing but queries: select, from, with, describe, show")
    text = sql.encode()
    ends = [at for at, _ in duckdb.tokenize(sql) if text[at : at + 1] == b";"]
    return f"(\n{text[: ends[0]].decode() if ends else sql}\n)"


def answered(lake: duckdb.DuckDBPyConnection, text: str, before: str = "from ", after: str = "") -> pa.Table:
    """The answer to one query of a person, in this process: `query_process` bounds it.

    Parameters
    ----------
    lake : duckdb.DuckDBPyConnection
        Of `connect_to_read`.
    text : str
        One query.
    before, after : str
        SQL of ours around it.

    Returns
    -------
    pyarrow.Table

    Raises
    ------
    QueryError
        With the database's message; with the nearest names where the query names a table that does not exist.
    duckdb.OutOfMemoryException, duckdb.FatalException, duckdb.InternalException
        Where the database may not be as good as before.
    """
    try:
        return lake.sql(f"{before}{as_subquery(lake, text)}{after}").to_arrow_table()
    except (duckdb.OutOfMemoryException, duckdb.FatalException, duckdb.InternalException):
        raise
    except duckdb.Error as error:
        raise QueryError(_explained(lake, text, error)) from error


@contextmanager
def within(lake: duckdb.DuckDBPyConnection, seconds: float) -> Iterator[None]:
    """Interrupt what the connection does after some time.

    Parameters
    ----------
    lake : duckdb.DuckDBPyConnection
        The connection used inside the block.
    seconds : float
        Time for the block.

    Raises
    ------
    QueryError
        Where the time was over.
    """
    clock = threading.Timer(seconds, lake.interrupt)
    clock.start()
    try:
        yield
    except duckdb.InterruptException as error:
        raise QueryError(f"no answer within {seconds:g} s; ask for less") from error
    finally:
        clock.cancel()


def _explained(lake: duckdb.DuckDBPyConnection, text: str, error: duckdb.Error) -> str:
    message = str(error)
    if not isinstance(error, duckdb.CatalogException) or (missing := missing_table(message)) is None:
        return message
    found = lake.execute("select schema_name, view_name from duckdb_views() where not internal order by all").fetchall()
    tables: dict[str, list[str]] = {}
    for survey, table in found:
        tables.setdefault(survey, []).append(table)
    return no_such_table(missing, text, tables)
