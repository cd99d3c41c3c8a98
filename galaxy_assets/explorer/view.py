"""The galaxies of one map as rows: their ids, positions, columns, and which of them a person's filter names.

Belongs here: from the lake to arrays that are aligned with the map. Does not belong here: colours (`colours`), pictures
(`pictures`), what people say (`scoring`), anything a browser sees (`routes`, `page`).
"""

import re
import threading
from collections import OrderedDict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from galaxy_assets.explorer.colours import NUMBERED, Colours, coloured
from galaxy_assets.explorer.map_version import PRETRAINED, drawn_on_now, version
from galaxy_assets.lake.fetched import fetch_named
from galaxy_assets.lake.query import QueryError, connect_to_read, cursor_of, within
from galaxy_assets.lake.query_process import Limits, PersonsQueries
from galaxy_assets.science.galaxy_ids import places
from galaxy_assets.storage.layout import Layout
from galaxy_assets.storage.store import store_of

ANEW = "the map was made anew; reload the page"

LIMITS = Limits(seconds=20.0, memory=400_000_000, answer=64_000_000)
"""Of a query that a person wrote, in its process."""
_KEPT_BYTES = 48_000_000
_PLAIN = re.compile(r"[a-z_][a-z0-9_]*")


class Column(NamedTuple):
    """A column of the lake as a filter names it.

    Attributes
    ----------
    table, name : str
        The table it is from, and its name there.
    type : str
        In SQL.
    """

    table: str
    name: str
    type: str

    @property
    def numeric(self) -> bool:
        """Whether it holds numbers."""
        return self.type in ("TINYINT", "SMALLINT", "INTEGER", "BIGINT", "FLOAT", "DOUBLE", "UTINYINT", "UINTEGER")


def quoted(name: str) -> str:
    """A column's name as a person writes it in SQL.

    Parameters
    ----------
    name : str

    Returns
    -------
    str
    """
    return name if _PLAIN.fullmatch(name) else '"' + name.replace('"', '""') + '"'


class OpenLake:
    """The read model as the explorer asks it: locked (`lake.query`), reopened when a run published another.

    Parameters
    ----------
    layout : Layout
        The data folder.
    memory : str
        What a query of the explorer's own may use, such as `400MB`.

    Attributes
    ----------
    persons : PersonsQueries
        Answers what people write, in processes with LIMITS.
    """

    def __init__(self, layout: Layout, memory: str = "400MB"):
        self.layout, self._memory = layout, memory
        self.persons = PersonsQueries(layout, LIMITS)
        self._lock = threading.Lock()
        self._open: tuple[int, duckdb.DuckDBPyConnection] | None = None
        self._tables: tuple[int, list[str]] = -1, []

    def connection(self) -> duckdb.DuckDBPyConnection:
        """A connection of the caller's own, for one thread.

        Returns
        -------
        duckdb.DuckDBPyConnection

        Raises
        ------
        FileNotFoundError
            Where nothing was published.
        """
        with self._lock:
            stamp = self._stamp()
            if self._open is None or self._open[0] != stamp:
                self._open = stamp, connect_to_read(self.layout, self._memory)
            return cursor_of(self._open[1], self.layout)

    def tables(self) -> list[str]:
        """The tables with one row per galaxy that a run published for the explorer.

        Returns
        -------
        list of str
            In the order of their columns.
        """
        stamp = self._stamp()
        if self._tables[0] != stamp:
            names = self.ask("select name from main.explorer_tables order by place")["name"].to_pylist()
            self._tables = stamp, names
        return self._tables[1]

    def _stamp(self) -> int:
        """Changes when a run published another read model; 0 where nothing was published."""
        path = self.layout.read_model
        store_of(path).refresh(every=5.0)
        return path.stat().st_mtime_ns if path.exists() else 0

    def ask(self, sql: str, values: Sequence[Any] = (), tables: Mapping[str, pa.Table] | None = None) -> pa.Table:
        """The answer to a query of the explorer's own, with no word of a person's in it.

        Parameters
        ----------
        sql : str
        values : sequence
            Of the query's parameters.
        tables : mapping of str to pyarrow.Table, optional
            Can be named in the query.

        Returns
        -------
        pyarrow.Table

        Raises
        ------
        QueryError
            Where the query is wrong, takes too long or needs too much memory.
        """
        fetch_named(self.layout, sql)
        with self.connection() as lake:
            try:
                with within(lake, LIMITS.seconds):
                    for name, table in (tables or {}).items():
                        lake.register(name, table)
                    return lake.sql(sql, params=list(values) or None).to_arrow_table()
            except duckdb.OutOfMemoryException as error:
                raise QueryError(f"the query needs more than {self._memory} of memory; ask for less") from error
            except duckdb.Error as error:
                raise QueryError(str(error)) from error
            finally:
                pa.default_memory_pool().release_unused()


class View:
    """The galaxies of one map of a survey. Row i is galaxy `ids[i]` at `x[i]`, `y[i]`; columns are read when asked for.

    `version` changes with the files it was read from: what a browser keeps is of one version, and a view of an older
    one answers nothing new. `drawn_on` is what artefact boxes on it refer to. `damaged` names
    tables whose columns are missing.

    Parameters
    ----------
    lake : OpenLake
    survey : str
    start : str
        Start weights, or PRETRAINED.
    stamp : str
        Of the tables that its columns are read from, see `read_anew`.

    Raises
    ------
    FileNotFoundError
        Where the survey has no such map.
    """

    def __init__(self, lake: OpenLake, survey: str, start: str, stamp: str = ""):
        self.lake, self.survey, self.start, self._stamp = lake, survey, start, stamp
        self.version = version(lake.layout, survey, start)
        self.drawn_on = drawn_on_now(lake.layout, survey) if start == PRETRAINED else ""
        try:
            base = lake.ask(f"select galaxy_id, x, y from {self._base()}", self._values())
        except QueryError as error:
            raise FileNotFoundError(f"{survey} has no map of {start} yet: `galaxy-assets run {survey}`") from error
        if not base.num_rows:
            raise FileNotFoundError(f"{survey} has no map of {start} yet: `galaxy-assets run {survey}`")
        self.ids = base["galaxy_id"].combine_chunks()
        self.x, self.y = (base[c].to_numpy().astype(np.float32) for c in ("x", "y"))
        self.tables = lake.tables()
        self.columns = self._found_columns()
        self._kept: OrderedDict[str, pa.Array] = OrderedDict()
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self.ids)

    def _base(self) -> str:
        if self.start == PRETRAINED:
            return f'"{self.survey}".artefact_map'
        return f'"{self.survey}".umap where init = ?'

    def _values(self) -> list[str]:
        return [] if self.start == PRETRAINED else [self.start]

    @property
    def weights(self) -> str:
        """The start weights whose clusters and ranking belong to the map.

        Returns
        -------
        str
        """
        return "" if self.start == PRETRAINED else self.start

    def _found_columns(self) -> dict[str, Column]:
        found = self.lake.ask(
            "select table_name, column_name, data_type from duckdb_columns() where schema_name = ? and not internal",
            [self.survey],
        ).to_pylist()
        names: dict[str, Column] = {}
        whole = {row["table_name"] for row in found if row["column_name"] == "galaxy_id"}
        # the view of a damaged table has one column, which is its error
        self.damaged = [t for t in self.tables if t not in whole and any(row["table_name"] == t for row in found)]
        tables = [table for table in self.tables if table in whole]
        if self.start == PRETRAINED:
            tables = list(dict.fromkeys(["artefact_map", *(t for t in tables if t not in ("umap", "cluster_labels"))]))
        for table in tables:
            for row in found:
                if row["table_name"] != table or row["data_type"].endswith("]"):
                    continue
                name = row["column_name"]
                if name in ("galaxy_id", "batch", "init") and table != tables[0]:
                    continue
                key = name if name not in names else f"{table}_{name}"
                names[key] = Column(table, name, row["data_type"])
        return names

    def relation(self, tables: Iterable[str]) -> str:
        """A query of `row` and the columns of tables under their names, a row per galaxy of the map.

        Parameters
        ----------
        tables : iterable of str

        Returns
        -------
        str
            SQL.
        """
        present = {column.table for column in self.columns.values()}
        wanted = [t for t in self.tables if t in present and t in tables]
        joined = "".join(
            f' left join (from "{self.survey}".{t}{self._of_start(t)}) {t} on {t}.galaxy_id = base.galaxy_id'
            for t in wanted
            if t != self._base_table
        )
        columns = [
            f"{'base' if c.table == self._base_table else c.table}.{quoted(c.name)} as {quoted(key)}"
            for key, c in self.columns.items()
            if c.table in wanted or c.table == self._base_table
        ]
        base = f"(select row_number() over () - 1 as row, * from {self._literal_base()}) base"
        return f"select base.row, {', '.join(columns)} from {base}{joined}"

    @property
    def _base_table(self) -> str:
        return "artefact_map" if self.start == PRETRAINED else "umap"

    def stale(self) -> bool:
        """Whether the map was made anew since, so that its rows are other galaxies now.

        Returns
        -------
        bool
        """
        return version(self.lake.layout, self.survey, self.start) != self.version

    def _literal_base(self) -> str:
        if self.stale():
            raise QueryError(ANEW)
        return self._base().replace("?", "'" + self.start.replace("'", "''") + "'")

    def _of_start(self, table: str) -> str:
        literal = self.weights.replace("'", "''")
        return f" where init = '{literal}'" if table in ("cluster_labels", "umap") and literal else ""

    def column(self, name: str) -> pa.Array:
        """A column aligned with the rows.

        Parameters
        ----------
        name : str

        Returns
        -------
        pyarrow.Array

        Raises
        ------
        QueryError
            For an unknown column, and where the map was made anew.
        """
        with self._lock:
            kept = self._kept  # of the tables of now; what is read late of older ones goes where nobody looks
            if name in kept:
                kept.move_to_end(name)
                return kept[name]
        if name not in self.columns:
            raise QueryError(f"no column {name}; there are {', '.join(self.columns)}")
        relation = self.relation([self.columns[name].table])
        values = self.lake.ask(f"select {quoted(name)} from ({relation}) order by row")[0].combine_chunks()
        if len(values) != len(self):
            raise QueryError(f"{self.survey} changed while it was read; reload the page")
        if pa.types.is_float64(values.type):
            values = values.cast(pa.float32())
        with self._lock:
            kept[name] = values
            while len(kept) > 1 and sum(v.nbytes for v in kept.values()) > _KEPT_BYTES:
                kept.popitem(last=False)
        return values

    def read_anew(self, stamp: str) -> None:
        """Read columns anew where their tables are others by now. Of an older map what was read stays.

        Parameters
        ----------
        stamp : str
            What the tables are now, see `Shared.stamp`.
        """
        if stamp == self._stamp or self.stale():
            return
        with self._lock:
            self._stamp, self._kept = stamp, OrderedDict()
        self.columns = self._found_columns()

    def matching(self, condition: str, said: pa.Table | None = None) -> np.ndarray:
        """Rows that a person's condition or query names, in the order of the map.

        Parameters
        ----------
        condition : str
            What stands after `where`: names of `columns`, and of `said`. A text that begins with select, from or with
            is a query that returns a column `galaxy_id`.
        said : pyarrow.Table, optional
            With `galaxy_id`.

        Returns
        -------
        ndarray of int32

        Raises
        ------
        QueryError
            Where the condition is no SQL or names no column, and where the map was made anew.
        """
        text = condition.strip().rstrip(";")
        tables = {"said": said} if said is not None else None
        if re.match(r"(select|from|with)\b", text, re.IGNORECASE):
            before = (
                f"select row from (select row_number() over () - 1 as row, galaxy_id from {self._literal_base()}) base "
                "where galaxy_id in (select galaxy_id from "
            )
            rows = self.lake.persons.ask(text, before=before, after=") order by row", tables=tables)[0]
        else:
            relation = self.relation(self._mentioned(text))
            if said is not None:
                relation = f"select * from ({relation}) left join said using (galaxy_id)"
            # one query, whatever the condition closes and opens
            whole = f"select row from ({relation}) where (\n{text}\n) order by row"
            rows = self.lake.persons.ask(whole, tables=tables)[0]
        return rows.to_numpy().astype(np.int32)

    def _mentioned(self, text: str) -> set[str]:
        """Tables whose columns a condition may name: joins that it cannot need are left out."""
        lower = text.lower()
        if "*" in lower or "columns" in lower:
            return set(self.tables)
        return {column.table for key, column in self.columns.items() if key.lower() in lower}

    def ordered(self, rows: np.ndarray, by: str, descending: bool) -> np.ndarray:
        """The rows by a column, ties in the order of the map, rows without a value last.

        Parameters
        ----------
        rows : ndarray of int
        by : str
            Name of the column.
        descending : bool

        Returns
        -------
        ndarray of int
        """
        values = self.column(by).take(pa.array(rows))
        order = "descending" if descending else "ascending"
        return rows[pc.array_sort_indices(values, order=order, null_placement="at_end").to_numpy()]

    def rows_of(self, ids: Sequence[str]) -> np.ndarray:
        """Rows of galaxies in the order given, each once.

        Parameters
        ----------
        ids : sequence of str

        Returns
        -------
        ndarray of int32
            Without galaxies that are not on the map.
        """
        rows = places(self.ids, pa.array(list(dict.fromkeys(ids)), pa.string()))
        return rows[rows >= 0].astype(np.int32)

    def colours(self, name: str) -> Colours:
        """A column as colours.

        Parameters
        ----------
        name : str

        Returns
        -------
        Colours

        Raises
        ------
        QueryError
            For an unknown column.
        """
        return coloured(self.column(name), numeric=self.columns[name].numeric, named=name in NUMBERED)
