"""Tables of the lake: Parquet files that are whole or absent, and what identifies their content.

Belongs here: reading, writing and fingerprinting one table, and finding galaxies in one. Does not belong here: many
files of one table (`in_turn`), which table goes where (`layout`), how Dagster passes tables on (`io_manager`).
"""

import hashlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from galaxy_assets.science.galaxy_ids import places, places_among
from galaxy_assets.settings.printing import PrintableError
from galaxy_assets.storage.files import DamagedFile, replacing
from galaxy_assets.storage.provenance import damaged_otherwise, origin_of, with_origin
from galaxy_assets.storage.store import store_of

if TYPE_CHECKING:
    from pyarrow.parquet import ParquetFile

_VECTORS_PER_GROUP = 32_768
_MANY = 100_000  # galaxies that are looked up otherwise than few


def write_table(table: pa.Table, path: Path, rows_per_group: int | None = None) -> None:
    """Write `table` to `path` as zstd Parquet, whole or not at all.

    Vectors are stored as streams of their bytes, which are read faster and take less room than a dictionary of floats
    that are all different, in groups of rows that several threads decode at once. Each page has a checksum, and the
    footer the digest of all values (`verify`).

    Parameters
    ----------
    table : pyarrow.Table
        Is not changed.
    path : Path
        File to write; its folder is made.
    rows_per_group : int, optional
        Rows that damage at one place can take with it; 32,768 of vectors and as many as Parquet likes of others when
        not given.

    Raises
    ------
    NotWritten
        Where the disk is full or may not be written.
    """
    import pyarrow.parquet as pq

    made = origin_of(table)
    made = replace(made, data=made.data or digest(table), content=_content(table), types=_types(table.schema))
    table = with_origin(table, made)
    lists = [field for field in table.schema if pa.types.is_fixed_size_list(field.type)]
    vectors = [field.name for field in lists if field.type.value_type == pa.float32()]
    others: Any = [name for name in table.column_names if name not in vectors]  # the stubs know no list
    with replacing(path) as partial:
        pq.write_table(
            table,
            partial,
            compression="zstd",
            row_group_size=rows_per_group or (_VECTORS_PER_GROUP if vectors else None),
            write_page_checksum=True,
            use_dictionary=others,
            column_encoding={f"{name}.list.element": "BYTE_STREAM_SPLIT" for name in vectors} or None,
        )


def read_table(path: Path, columns: Sequence[str] | None = None) -> pa.Table:
    """Read one Parquet file, or these columns of it; its folders' names are not read as partition columns.

    Parameters
    ----------
    path : Path
        The file.
    columns : sequence of str, optional
        Columns wanted; all when not given.

    Returns
    -------
    pyarrow.Table
        Without the descriptions and units of its columns, which are of that table and not of what is made of it.

    Raises
    ------
    DamagedFile
        Where it is no Parquet or its checksums are others.

    Examples
    --------
    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / "ranking.parquet"
    >>> write_table(pa.table({"galaxy_id": ["a", "b"], "rank": [1, 2]}), path)
    >>> read_table(path, ["galaxy_id"]).to_pydict()
    {'galaxy_id': ['a', 'b']}
    """
    with opened_table(path) as file:
        table = file.read(columns)
    return with_schema(table, _bare(table.schema))


@contextmanager
def opened_table(path: Path) -> Iterator["ParquetFile"]:
    """A Parquet file of the data folder, open; its pages' checksums are verified as they are read.

    Parameters
    ----------
    path : Path
        The file.

    Yields
    ------
    pyarrow.parquet.ParquetFile

    Raises
    ------
    DamagedFile
        Where the block cannot read it.
    """
    import pyarrow.parquet as pq

    store_of(path).local(path)
    with damaged_otherwise(path), pq.ParquetFile(path, page_checksum_verification=True) as file:
        yield file


def verify(path: Path) -> pa.Table:
    """Read a table of the lake and compare its values and types with the digests in its footer, if it has them.

    Parameters
    ----------
    path : Path
        The file.

    Returns
    -------
    pyarrow.Table
        As `read_table` returns it.

    Raises
    ------
    DamagedFile
        Where it cannot be read, or its values or types are others.
    """
    table = read_table(path)
    with damaged_otherwise(path):
        recorded = origin_of(table)
    if recorded.types and _types(table.schema) != recorded.types:
        raise DamagedFile(path, f"the types of its columns are not those of the digest {recorded.types} in its footer")
    if recorded.content and _content(table) != recorded.content:
        raise DamagedFile(path, f"its values are not those of the digest {recorded.content} in its footer")
    return table


def with_schema(table: pa.Table, schema: pa.Schema) -> pa.Table:
    """The same columns under another schema of the same types; nothing is copied.

    Parameters
    ----------
    table : pyarrow.Table
        Is not changed.
    schema : pyarrow.Schema
        As many fields, of the same types.

    Returns
    -------
    pyarrow.Table
    """
    return pa.Table.from_arrays(table.columns, schema=schema)


def column(name: str, kind: pa.DataType, description: str, unit: str = "") -> pa.Field:
    """A column of a schema, with what it holds and its unit as astropy writes it."""
    return with_said(pa.field(name, kind), description, unit)


def with_said(field: pa.Field, description: str, unit: str) -> pa.Field:
    """The field with `description` and `unit` in its metadata, as far as they are not empty."""
    told = {"description": description, "unit": unit}
    return field.with_metadata({name: text for name, text in told.items() if text})


def said_of(field: pa.Field) -> tuple[str, str]:
    """Description and unit in the metadata of a field, each empty where there is none."""
    told = field.metadata or {}
    return told.get(b"description", b"").decode(), told.get(b"unit", b"").decode()


def _bare(schema: pa.Schema) -> pa.Schema:
    """A schema without what is said of its fields."""
    return pa.schema([field.remove_metadata() for field in schema], metadata=schema.metadata)


def digest(table: pa.Table) -> str:
    """First 16 hex digits of the sha256 of a table's schema and values.

    Parameters
    ----------
    table : pyarrow.Table
        Its chunks and its metadata make no difference.

    Returns
    -------
    str
        Equal for tables of equal columns and values.

    Examples
    --------
    >>> one = pa.table({"rank": [1, 2]})
    >>> digest(one) == digest(pa.concat_tables([one[:1], one[1:]]))
    True
    >>> digest(one) == digest(one[:1])
    False
    """
    sha = hashlib.sha256()

    class Sink:
        closed = False

        def write(self, data: bytes) -> int:
            sha.update(data)
            return len(data)

        def flush(self) -> None: ...

        def close(self) -> None: ...

    whole = with_schema(table, _bare(table.schema)).replace_schema_metadata(None).combine_chunks()
    with pa.ipc.new_stream(pa.PythonFile(Sink(), mode="w"), whole.schema) as stream:
        stream.write_table(whole)
    return sha.hexdigest()[:16]


def _content(table: pa.Table) -> str:
    """Digest of what a table's file holds: equal before it is written and after it is read.

    Unlike `digest` it knows neither what lies under a null, which no file keeps, nor the names within lists.
    """
    sha = hashlib.sha256()
    for name in table.column_names:
        for part in _plain(table[name].combine_chunks()):
            sha.update(digest(pa.table({name: part})).encode())
    return sha.hexdigest()[:16]


def _types(schema: pa.Schema) -> str:
    """Digest of the names and types of columns, but for the names within lists, which Parquet chooses itself."""
    kinds = [(field.name, _kind(field.type)) for field in schema]
    return hashlib.sha256(repr(kinds).encode()).hexdigest()[:16]


def _kind(kind: pa.DataType) -> str:
    if pa.types.is_dictionary(kind):
        return f"dictionary {kind.ordered} of {_kind(kind.value_type)}"
    if pa.types.is_fixed_size_list(kind):
        return f"{kind.list_size} of {_kind(kind.value_type)}"
    if pa.types.is_list(kind) or pa.types.is_large_list(kind):
        return f"list of {_kind(kind.value_type)}"
    if pa.types.is_struct(kind):
        return f"struct of {[(field.name, _kind(field.type)) for field in kind]}"
    if pa.types.is_map(kind):
        return f"map of {_kind(kind.key_type)} to {_kind(kind.item_type)}"
    return str(pa.date32() if pa.types.is_date64(kind) else kind)  # Parquet has days alone


def _plain(column: pa.Array) -> Iterator[pa.Array]:
    """A column as columns of plain values without nulls."""
    import pyarrow.compute as pc

    kind = column.type
    if isinstance(column, pa.DictionaryArray):
        yield from _plain(column.dictionary_decode())
        return
    if pa.types.is_date64(kind):
        column = column.cast(kind := pa.date32())
    if column.null_count:
        yield column.is_null()
    if pa.types.is_struct(kind):
        for part in column.flatten():
            yield from _plain(part)
    elif pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind):
        yield pc.fill_null(pc.list_value_length(column), 0)
        yield from _plain(column.flatten())
    elif isinstance(column, pa.MapArray):
        yield pa.array(np.diff(column.offsets.to_numpy()))
        yield from _plain(column.keys)
        yield from _plain(column.items)
    elif not pa.types.is_null(kind):
        yield _without_nulls(column)


def _without_nulls(column: pa.Array) -> pa.Array:
    """A column with nothing in place of its nulls, or, of a type that has no such value, without them."""
    import pyarrow.compute as pc

    kind = column.type
    if not column.null_count:
        return column
    if pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_binary(kind):
        return pc.fill_null(column, pa.scalar(b"").cast(kind))
    try:
        nothing = pa.scalar(0, pa.int64()).cast(kind)
    except pa.ArrowException:  # such as decimals and dates
        return column.drop_null()
    return pc.fill_null(column, nothing)


def vectors_to_column(vectors: np.ndarray) -> pa.FixedSizeListArray:
    """Vectors as a column of a table.

    Parameters
    ----------
    vectors : numpy.ndarray of shape (N, D)
        Floats.

    Returns
    -------
    pyarrow.FixedSizeListArray
        FixedSizeList<float32>[D] of N rows.
    """
    flat = np.ascontiguousarray(vectors, dtype=np.float32).reshape(-1)
    return pa.FixedSizeListArray.from_arrays(pa.array(flat), vectors.shape[1])


def column_to_vectors(column: pa.ChunkedArray) -> np.ndarray:
    """A column of vectors as an array.

    Parameters
    ----------
    column : pyarrow.ChunkedArray
        FixedSizeList<float32>[D] of N rows.

    Returns
    -------
    numpy.ndarray of shape (N, D), float32
    """
    width = column.type.list_size
    # one chunk is used as it is: combined, it would be copied
    whole = column.chunk(0) if column.num_chunks == 1 else column.combine_chunks()
    values = whole.flatten().to_numpy(zero_copy_only=False)
    return values.reshape(-1, width)


def lookup(table: pa.Table, value: str, key: str = "galaxy_id") -> dict[Any, Any]:
    """Values of a column by those of the column `key`."""
    return dict(zip(table[key].to_pylist(), table[value].to_pylist(), strict=True))


def beside(table: pa.Table, other: pa.Table, names: Sequence[str] | None = None) -> pa.Table:
    """The columns of `table` and then those of `other`, row for row.

    Parameters
    ----------
    table, other : pyarrow.Table
        Of equally many rows.
    names : sequence of str, optional
        Columns of `other` wanted; all when not given.

    Returns
    -------
    pyarrow.Table
    """
    for name in other.column_names if names is None else names:
        table = table.append_column(name, other[name])
    return table


class UnknownGalaxies(PrintableError):
    """Galaxies that a table does not have.

    Attributes
    ----------
    galaxies : sequence of str
        Their ids.
    """

    def __init__(self, message: str, galaxies: Sequence[str]):
        super().__init__(message)
        self.galaxies = list(galaxies)


def rows_of(table: pa.Table, galaxies: pa.Table | Sequence[str], name: str = "cutouts") -> np.ndarray:
    """Rows of a table that hold the galaxies of another, in its order.

    In the ledger `cutouts` they are also rows of the pixels.

    Parameters
    ----------
    table : pyarrow.Table
        With a column `galaxy_id`.
    galaxies : pyarrow.Table or sequence of str
        A table with a column `galaxy_id`, or ids.
    name : str
        What `table` is called in the message of an error.

    Returns
    -------
    numpy.ndarray of shape (N,), int64
        A row for each of the galaxies.

    Raises
    ------
    UnknownGalaxies
        Where the table lacks one of them.

    Examples
    --------
    >>> rows_of(pa.table({"galaxy_id": ["a", "b", "c"]}), ["c", "a"])
    array([2, 0])
    """
    asked = pa.array(galaxies, pa.string()) if isinstance(galaxies, Sequence) else galaxies["galaxy_id"]
    rows = (places if len(asked) < _MANY else places_among)(table["galaxy_id"], asked).astype(np.int64, copy=False)
    if (rows < 0).any():
        unknown = list(dict.fromkeys(asked.filter(pa.array(rows < 0)).to_pylist()))
        some = ", ".join(map(str, unknown[:3])) + (", ..." if len(unknown) > 3 else "")
        raise UnknownGalaxies(
            f"{len(unknown)} galaxies ({some}) are not in the table `{name}`, which is newer; "
            "run the survey, or materialise clean_galaxies and what follows it",
            unknown,
        )
    return rows
