"""The partitions of a table that are read one after the other, where a step can do without the whole.

Belongs here: reading many files of one table at the memory of one, or of one column. Does not belong here: one file
(`tables`).
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pyarrow as pa

from galaxy_assets.science import samples
from galaxy_assets.storage.provenance import Version
from galaxy_assets.storage.tables import column_to_vectors, opened_table, read_table

_AT_ONCE = 4096  # vectors that are decoded at once: they stay in the processor's cache
_MEETING: Any = {"promote_options": "permissive"}  # of tables that different code made
Read = TypeVar("Read")


@dataclass(frozen=True)
class TablesInTurn:
    """The partitions of a table as files that are read one after the other, so that memory is that of the largest.

    While one is worked on, the next one is read.

    Attributes
    ----------
    paths : tuple of Path
        Their files.
    versions : mapping of str to Version
        Partition -> version, as other inputs carry them.
    """

    paths: tuple[Path, ...]
    versions: Mapping[str, Version]

    @property
    def num_rows(self) -> int:
        """Rows of all files, as their footers say."""
        return sum(map(_rows, self.paths))

    def vectors(self, rows: np.ndarray | None = None) -> Iterator[np.ndarray]:
        """The column `vector` of each file.

        Parameters
        ----------
        rows : ndarray of shape (M,), int, optional
            Rows wanted, counted over all files, rising; all when not given.

        Yields
        ------
        numpy.ndarray of shape (n, D), float32
        """
        begin = 0
        for vectors in _ahead(read_vectors, self.paths):
            end = begin + len(vectors)
            own = None if rows is None else rows[np.searchsorted(rows, begin) : np.searchsorted(rows, end)] - begin
            yield vectors if own is None else vectors[own]
            begin = end

    def tables(self, names: Sequence[str]) -> Iterator[pa.Table]:
        """These columns of each file.

        Parameters
        ----------
        names : sequence of str
            Columns wanted.

        Yields
        ------
        pyarrow.Table
        """
        yield from _ahead(lambda path: read_table(path, names), self.paths)

    def select(self, names: Sequence[str]) -> pa.Table:
        """These columns of all files, as one table.

        Parameters
        ----------
        names : sequence of str
            Columns wanted.

        Returns
        -------
        pyarrow.Table
            Rows in the order of the files.
        """
        return pa.concat_tables(list(self.tables(names)), promote_options="permissive")

    def drawn(self, size: int, seed: int) -> np.ndarray | None:
        """A sample of the galaxies (`science.samples`), of which no more than the ids of one file are read at once.

        Parameters
        ----------
        size : int
            Galaxies wanted.
        seed : int
            Of the sample.

        Returns
        -------
        ndarray of shape (size,), int64, or None
            Rows counted over all files, in an order that does not depend on the files; None where there are no more
            galaxies than that.
        """
        if self.num_rows <= size:
            return None
        keys = [samples.keys(table["galaxy_id"], seed) for table in self.tables(["galaxy_id"])]
        return samples.smallest(np.concatenate(keys), size)


def _rows(path: Path) -> int:
    with opened_table(path) as file:
        return file.metadata.num_rows


def read_vectors(path: Path) -> np.ndarray:
    """The column `vector` of a file, decoded piece by piece: all at once would take six times the memory of the result.

    Parameters
    ----------
    path : Path
        The file.

    Returns
    -------
    ndarray of shape (N, D), float32

    Raises
    ------
    DamagedFile
        Where it is no Parquet or its checksums are others.
    """
    with opened_table(path) as file:
        width = file.schema_arrow.field("vector").type.list_size
        vectors, begin = np.empty((file.metadata.num_rows, width), np.float32), 0
        for batch in file.iter_batches(_AT_ONCE, columns=["vector"]):
            end = begin + len(batch)
            vectors[begin:end] = batch.column(0).flatten().to_numpy(zero_copy_only=False).reshape(-1, width)
            begin = end
    return vectors


def read_as_one(paths: Sequence[Path], read: Callable[[Path], pa.Table] = read_table) -> pa.Table:
    """Several files of a table as one, without a second copy of its column `vector`.

    Joined after they were read, the vectors of ten million galaxies would be in memory twice.

    Parameters
    ----------
    paths : sequence of Path
        The files, at least one.
    read : callable, optional
        Reads one of them.

    Returns
    -------
    pyarrow.Table
        Rows in the order of the files, without the metadata of the schema; vectors are in one piece.
    """
    tables, vectors, begin, place, kind = [], np.empty((0, 0), np.float32), 0, 0, None
    for path in paths:
        table = read(path).replace_schema_metadata(None)
        at, end = table.schema.get_field_index("vector"), begin + table.num_rows
        if len(paths) > 1 and not tables and at >= 0 and _holds_vectors(table["vector"]):
            kind = table.schema.field(at)
            vectors = np.empty((sum(map(_rows, paths)), kind.type.list_size), np.float32)
        if kind is not None:
            if at < 0 or table.schema.field(at).type != kind.type or not _holds_vectors(table["vector"]):
                return pa.concat_tables([read(each).replace_schema_metadata(None) for each in paths], **_MEETING)
            vectors[begin:end] = column_to_vectors(table["vector"])
            place, table = (at if not tables else place), table.remove_column(at)
        tables.append(table)
        begin = end
    table = pa.concat_tables(tables, **_MEETING)
    if kind is None:
        return table
    column = pa.FixedSizeListArray.from_arrays(pa.array(vectors.reshape(-1)), type=kind.type)
    return table.add_column(place, kind, column)


def _holds_vectors(column: pa.ChunkedArray) -> bool:
    return pa.types.is_fixed_size_list(column.type) and column.type.value_type == pa.float32() and not column.null_count


def _ahead(read: Callable[[Path], Read], paths: Iterable[Path]) -> Iterator[Read]:
    """What is read of each file, of which the next one is read while one is worked on."""
    with ThreadPoolExecutor(1) as reader:
        coming = None
        for path in paths:
            ready, coming = coming, reader.submit(read, path)
            if ready is not None:
                yield ready.result()
        if coming is not None:
            yield coming.result()
