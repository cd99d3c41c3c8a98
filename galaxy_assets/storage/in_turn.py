"""The partitions of a table that are read one after the other, where a step can do without the whole.

Belongs here: reading many files of one table at the memory of a few, or of one column. Does not belong here: one file
(`tables`).
"""

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeGuard, TypeVar

import numpy as np
import pyarrow as pa

from galaxy_assets.science import samples
from galaxy_assets.storage.provenance import Version
from galaxy_assets.storage.tables import column_to_vectors, opened_table, read_table

_READERS = 2  # files that are read while one is worked on; decoding takes longer than most work
_AT_ONCE = 4096  # vectors that are decoded at once: they stay in the processor's cache
_MEETING: Any = {"promote_options": "permissive"}  # of tables that different code made
File = TypeVar("File")
Read = TypeVar("Read")


@dataclass(frozen=True)
class TablesInTurn:
    """The partitions of a table as files that are read one after the other, so that memory is that of three.

    While one is worked on, the next two are read.

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
        return rows_in(self.paths)

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
        for vectors in _ahead(_vectors, self.paths):
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


def _vectors(path: Path) -> np.ndarray:
    return column_to_vectors(read_as_one([path], ["vector"])["vector"])


def rows_in(paths: Iterable[Path]) -> int:
    """How many rows files of a table have together, as their footers say.

    Parameters
    ----------
    paths : iterable of Path

    Returns
    -------
    int
    """
    return sum(sum(groups) for _, groups in map(_footer, paths))


def _footer(path: Path) -> tuple[pa.Schema, list[int]]:
    """Schema of a file, and the rows of each of its row groups."""
    with opened_table(path) as file:
        about = file.metadata
        return file.schema_arrow, [about.row_group(group).num_rows for group in range(about.num_row_groups)]


def read_as_one(paths: Sequence[Path], names: Sequence[str] | None = None) -> pa.Table:
    """Files of a table as one, with the column `vector` read into its place.

    Joined after they were read, the vectors of ten million galaxies would be in memory twice.

    Parameters
    ----------
    paths : sequence of Path
        The files, at least one.
    names : sequence of str, optional
        Columns wanted; all when not given.

    Returns
    -------
    pyarrow.Table
        Rows in the order of the files, without the metadata of the schema.

    Raises
    ------
    DamagedFile
        Where one of them is no Parquet or its checksums are others.
    """
    schemas, groups = zip(*map(_footer, paths), strict=True)
    wanted = [schema.names if names is None else list(names) for schema in schemas]
    kinds = {schema.field("vector").type if "vector" in schema.names else None for schema in schemas}
    kind = kinds.pop()
    vectors = np.empty((0, 0), np.float32)
    if not kinds and "vector" in wanted[0] and _holds_vectors(kind):
        vectors, end, pieces = np.empty((sum(map(sum, groups)), kind.list_size), np.float32), 0, []
        for path, own in zip(paths, groups, strict=True):
            for group, rows in enumerate(own):
                begin, end = end, end + rows
                pieces.append((path, group, vectors[begin:end]))
        if not all(_ahead(lambda piece: _read_into(*piece), pieces)):
            vectors = np.empty((0, 0), np.float32)
    if not vectors.size:
        return pa.concat_tables([_plain(path, own) for path, own in zip(paths, wanted, strict=True)], **_MEETING)
    column = pa.FixedSizeListArray.from_arrays(pa.array(vectors.reshape(-1)), type=kind)
    plain = [(path, [n for n in own if n != "vector"]) for path, own in zip(paths, wanted, strict=True)]
    others = _ahead(lambda one: _plain(*one), plain)
    table, field = pa.concat_tables(others, **_MEETING), schemas[0].field("vector").remove_metadata()
    if not table.num_columns:
        return pa.Table.from_arrays([column], schema=pa.schema([field]))
    return table.add_column(wanted[0].index("vector"), field, column)


def _plain(path: Path, names: Sequence[str]) -> pa.Table:
    return read_table(path, names).replace_schema_metadata(None)


def _holds_vectors(kind: pa.DataType | None) -> TypeGuard[pa.FixedSizeListType]:
    return kind is not None and pa.types.is_fixed_size_list(kind) and kind.value_type == pa.float32()


def _read_into(path: Path, group: int, vectors: np.ndarray) -> bool:
    """Fill (N, D) with the column `vector` of a row group; false where one is null.

    It is decoded piece by piece: all at once would take six times the memory of the result.
    """
    begin = 0
    with opened_table(path) as file:
        for batch in file.iter_batches(_AT_ONCE, [group], columns=["vector"]):
            if batch.column(0).null_count:
                return False
            end = begin + len(batch)
            vectors[begin:end] = batch.column(0).flatten().to_numpy(zero_copy_only=False).reshape(-1, vectors.shape[1])
            begin = end
    return True


def _ahead(read: Callable[[File], Read], files: Sequence[File]) -> Iterator[Read]:
    """What is read of each file, in their order, while the next ones are read."""
    with ThreadPoolExecutor(_READERS) as readers:
        coming = deque(readers.submit(read, file) for file in files[:_READERS])
        for file in [*files[_READERS:], *[None] * len(coming)]:
            ready = coming.popleft().result()
            if file is not None:
                coming.append(readers.submit(read, file))
            yield ready
