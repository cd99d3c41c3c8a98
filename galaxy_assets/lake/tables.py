"""Tables of the lake: Parquet files that are whole or absent, and what identifies their content.

Belongs here: reading, writing and fingerprinting one table. Does not belong here: which table goes where
(`layout`), how Dagster passes tables between assets (`io_manager`).
"""

import hashlib
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa

from galaxy_assets.atomic import replacing


def write_table(table: pa.Table, path: Path) -> None:
    """Write `table` to `path` as zstd Parquet, whole or not at all."""
    import pyarrow.parquet as pq

    with replacing(path) as partial:
        pq.write_table(table, partial, compression="zstd")


def read_table(path: Path) -> pa.Table:
    """Read one Parquet file; its folders' names are not read as partition columns."""
    import pyarrow.parquet as pq

    return pq.ParquetFile(path).read()


def digest(table: pa.Table) -> str:
    """First 16 hex digits of the sha256 of a table's schema and values; independent of chunking and of metadata."""
    sha = hashlib.sha256()

    class Sink:
        closed = False

        def write(self, data: bytes) -> int:
            sha.update(data)
            return len(data)

        def flush(self) -> None: ...

        def close(self) -> None: ...

    whole = table.replace_schema_metadata(None).combine_chunks()
    with pa.ipc.new_stream(pa.PythonFile(Sink(), mode="w"), whole.schema) as stream:
        stream.write_table(whole)
    return sha.hexdigest()[:16]


def vectors_to_column(vectors: np.ndarray) -> pa.FixedSizeListArray:
    """(N, D) floats as a FixedSizeList<float32>[D] column of N rows."""
    flat = np.ascontiguousarray(vectors, dtype=np.float32).reshape(-1)
    return pa.FixedSizeListArray.from_arrays(pa.array(flat), vectors.shape[1])


def column_to_vectors(column: pa.ChunkedArray) -> np.ndarray:
    """A FixedSizeList<float32>[D] column of N rows as a (N, D) float32 array."""
    width = column.type.list_size
    values = column.combine_chunks().flatten().to_numpy(zero_copy_only=False)
    return values.reshape(-1, width)


def beside(table: pa.Table, other: pa.Table, names: Sequence[str] | None = None) -> pa.Table:
    """The columns of `table` and then those of `other`, or the named ones of them; row for row."""
    for name in other.column_names if names is None else names:
        table = table.append_column(name, other[name])
    return table


def vector_blocks(column: pa.ChunkedArray) -> Iterator[np.ndarray]:
    """The same rows chunk by chunk, float32 (n, D) each, without a copy of the whole."""
    for chunk in column.chunks:
        yield chunk.flatten().to_numpy(zero_copy_only=False).reshape(-1, column.type.list_size)
