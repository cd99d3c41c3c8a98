"""The DuckDB read model: a schema per survey, a view per asset over its Parquet files, and the similarity search.

Belongs here: publishing and opening it. Does not belong here: any data of its own; the file can always be rebuilt.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from galaxy_assets.lake.fetched import NOT_TABLES, bound_to, fetch_named
from galaxy_assets.settings.files import survey_files
from galaxy_assets.settings.printing import logger
from galaxy_assets.storage.files import DamagedFile, replacing
from galaxy_assets.storage.layout import Layout
from galaxy_assets.storage.provenance import damaged_otherwise, origin
from galaxy_assets.storage.store import store_of
from galaxy_assets.storage.tables import said_of

if TYPE_CHECKING:
    import duckdb

log = logger(__name__)

_READ_BY = "v1.4.0"
"""The oldest DuckDB that reads the file, the oldest that this package is installed with."""
_WHERE = "galaxy_data"
_FOLDER = f"coalesce(getvariable('{_WHERE}')::varchar, error('set variable {_WHERE} = ''<the data folder>'' first'))"
"""The data folder as a connection says it: a path in the file would be that of another folder after a copy."""


# The rule of `science.neighbours.most_similar` to the last bit: list_distance would add in an order of its own. What is
# nearest to all examples is among the nearest of one, so that no more is kept of the galaxies than these lists.
_SIMILAR_TO = """
create macro {schema}.similar_to(examples, neighbours := 8, start_weights := {main}) as table (
    with features as not materialized (
        select galaxy_id, vector::double[] as vector from {schema}.pca_features where init = start_weights
    ), queries as (
        select query_id, coalesce(vector, error('no clean galaxy ' || query_id || ' in {schema}')) as vector
        from (select distinct unnest(examples) as query_id) left join features on galaxy_id = query_id
    ), distances as (
        select query_id, galaxy_id as neighbour_id,
            sqrt(list_sum([(x - queries.vector[i]) * (x - queries.vector[i]) for x, i in features.vector])) as distance
        from features, queries where galaxy_id not in (select query_id from queries)
    ), lists as (
        select query_id,
            unnest(min({{'distance': distance, 'neighbour_id': neighbour_id}}, greatest(neighbours, 1))) as near
        from distances group by query_id
    ), answers as (
        select near.neighbour_id as neighbour_id, min({{'distance': near.distance, 'query_id': query_id}}) as nearest
        from lists group by 1
    )
    select nearest.query_id as query_id, neighbour_id, nearest.distance as distance,
        (row_number() over (order by nearest.distance, neighbour_id))::integer as rank
    from answers order by rank limit neighbours
)
"""


def _quoted(name: str, mark: str = '"') -> str:
    return mark + name.replace(mark, 2 * mark) + mark


def publish(layout: Layout, explorer: Sequence[str] = ()) -> list[str]:
    """Rebuild the read model beside the live file and rename it into its place.

    Beside its views a survey has the table macro `similar_to(examples, neighbours := 8, start_weights := <the main>)`:
    the columns of `similar_galaxies` for a list of galaxy ids, see docs/similarity.md. What a column holds, and its
    unit, is its comment, as the last file of its table, by name, says it; older ones may not.

    Its views name their files by their path below the data folder, which can be moved and copied. `connect` says where
    it is; another program does so by `set variable galaxy_data = '<the data folder>'`. Readers that have the old file
    open keep their snapshot and never wait.

    Parameters
    ----------
    layout : Layout
        The data folder.
    explorer : sequence of str
        Names of the tables with one row per galaxy that the explorer offers, as the assets declare it, first the one
        whose columns keep their names. They are the table `main.explorer_tables`.

    Returns
    -------
    list of str
        The views, as `<survey>.<asset>`.
    """
    import duckdb

    with replacing(layout.read_model) as partial:
        try:
            with (
                duckdb.connect(partial, config={"storage_compatibility_version": _READ_BY}) as connection,
                bound_to(layout) as folder,
            ):
                look_below(connection, folder)
                views = _write(connection, layout, explorer)
        finally:
            partial.with_name(f"{partial.name}.wal").unlink(missing_ok=True)
    log.info("read model: %d views in %s", len(views), layout.read_model.name)
    return views


def _write(connection: "duckdb.DuckDBPyConnection", layout: Layout, explorer: Sequence[str]) -> list[str]:
    """Make the table of the explorer and all views; return their names."""
    views, surveys = [], survey_files(layout.root).known
    connection.execute("create table main.explorer_tables (place integer, name varchar)")
    for place, name in enumerate(explorer):
        connection.execute("insert into main.explorer_tables values (?, ?)", [place, name])
    for survey in sorted(path for path in layout.lake.glob("[!.]*") if path.is_dir()):
        connection.execute(f"create schema {_quoted(survey.name)}")
        assets = {p.stem: p for p in survey.glob("[!.]*.parquet")}
        assets |= {p.name: p / "**" / "[!.]*.parquet" for p in survey.glob("[!.]*") if p.is_dir()}
        for name, files in sorted(assets.items()):
            if name in NOT_TABLES or (files.suffix != ".parquet") or not (there := _files(survey, name)):
                continue
            whole = _view(connection, f"{_quoted(survey.name)}.{_quoted(name)}", files.relative_to(layout.root), there)
            views.append(f"{survey.name}.{name}")
            if whole and name == "pca_features" and survey.name in surveys:
                main = _quoted(surveys[survey.name].main_start_weights, "'")
                connection.execute(_SIMILAR_TO.format(schema=_quoted(survey.name), main=main))
    return views


def _view(connection: "duckdb.DuckDBPyConnection", view: str, below: Path, there: list[Path]) -> bool:
    """Make the view of a table, and return whether its files are whole; else it says so when it is asked."""
    import duckdb

    path = _quoted(f"/{below.as_posix()}", "'")
    source = f"read_parquet({_FOLDER} || {path}, union_by_name=true, hive_partitioning=false)"
    try:
        connection.execute(f"create view {view} as select * from {source}")
        _comment(connection, view, there)
    except (duckdb.Error, DamagedFile):
        if (damaged := _damaged(there)) is None:
            raise
        log.error("%s", damaged)
        connection.execute(
            f"create or replace view {view} as select error({_quoted(str(damaged), chr(39))}) as damaged"
        )
        return False
    return True


def look_below(connection: "duckdb.DuckDBPyConnection", root: Path) -> None:
    """Say to a connection where the data folder is now, below which the views of a read model name their files.

    Parameters
    ----------
    connection : duckdb.DuckDBPyConnection
        Of this connection alone: a cursor of it must be told as well.
    root : Path
        The data folder.
    """
    connection.execute(f"set variable {_WHERE} = ?", [str(root.absolute())])


def _files(survey: Path, name: str) -> list[Path]:
    """The Parquet files of a table, one or one per partition."""
    whole = survey / f"{name}.parquet"
    return list((survey / name).rglob("[!.]*.parquet")) or [path for path in [whole] if path.exists()]


def _damaged(files: list[Path]) -> DamagedFile | None:
    """What is wrong with the first of these files that has no whole footer."""
    for file in files:
        try:
            origin(file)
        except DamagedFile as error:
            return error
    return None


def _comment(connection: "duckdb.DuckDBPyConnection", view: str, files: list[Path]) -> None:
    """Say in the comments of a view's columns what the last of its files that says anything, by name, says."""
    import pyarrow.parquet as pq

    for file in sorted(files, reverse=True):
        with damaged_otherwise(file):
            known = store_of(file).schema(file)
            schema = known if known is not None else pq.read_schema(file)
        told = [(field.name, *said_of(field)) for field in schema]
        if any(description for _, description, _ in told):
            break
    for name, description, unit in told:
        if description:
            text = f"{description} [{unit}]" if unit else description
            connection.execute(f"comment on column {view}.{_quoted(name)} is {_quoted(text, chr(39))}")


def connect(root: Path | str | None = None, tables: Sequence[str] | None = None) -> "duckdb.DuckDBPyConnection":
    """Open the read model read-only: a schema per survey, a view per asset.

    Parameters
    ----------
    root : Path or str, optional
        The data folder; $GALAXY_ASSETS_DATA, else ./data, when not given.
    tables : sequence of str, optional
        Of a data folder in a bucket: the tables to be asked, such as `demo_radio.catalogue`, which are fetched now; all
        when not given.

    Returns
    -------
    duckdb.DuckDBPyConnection
        To be closed when done.

    Raises
    ------
    FileNotFoundError
        Where nothing was published there yet.

    Examples
    --------
    >>> import tempfile
    >>> import pyarrow as pa
    >>> from galaxy_assets.storage.tables import write_table
    >>> layout = Layout(Path(tempfile.mkdtemp()))
    >>> ranking = pa.table({"galaxy_id": ["b", "a"], "rank": [1, 2]})
    >>> write_table(ranking, layout.table("demo_optical", "anomaly_ranking"))
    >>> publish(layout)
    ['demo_optical.anomaly_ranking']
    >>> with connect(layout.root) as lake:
    ...     lake.sql("select galaxy_id from demo_optical.anomaly_ranking order by rank").fetchall()
    [('b',), ('a',)]
    """
    layout = Layout.at(root)
    connection = attached(layout)
    fetch_named(layout, None if tables is None else " ".join(tables))
    return connection


def attached(layout: Layout) -> "duckdb.DuckDBPyConnection":
    """The read model as it is now, read-only, in an instance of its own.

    DuckDB shares one instance between all connections to a file's name, with the first one's settings and its file,
    also where another file has that name by now.

    Parameters
    ----------
    layout : Layout
        The data folder.

    Returns
    -------
    duckdb.DuckDBPyConnection
        To be closed when done. Its cursors begin at no schema (`use galaxy`) and without the folder (`look_below`).

    Raises
    ------
    FileNotFoundError
        Where nothing was published there yet.
    """
    import duckdb

    if not layout.read_model.exists():
        raise FileNotFoundError(f"{layout.read_model}: no read model yet; run a survey first (`galaxy-assets demo`)")
    connection = duckdb.connect()
    connection.execute(f"attach {_quoted(str(layout.read_model), chr(39))} as galaxy (read_only)")
    connection.execute("use galaxy")
    look_below(connection, layout.root)
    return connection
