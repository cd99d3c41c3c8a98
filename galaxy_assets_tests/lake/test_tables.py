"""Tables are whole or absent, and their digest is of their content."""

import numpy as np
import pyarrow as pa
import pytest

from galaxy_assets.atomic import replacing
from galaxy_assets.lake.tables import (
    column_to_vectors,
    digest,
    read_table,
    vector_blocks,
    vectors_to_column,
    write_table,
)


def test_a_failed_write_leaves_the_old_file_and_no_other(tmp_path):
    path = tmp_path / "t.parquet"
    write_table(pa.table({"a": [1]}), path)
    with pytest.raises(RuntimeError, match="killed"), replacing(path) as partial:
        partial.write_bytes(b"half")
        raise RuntimeError("killed")
    assert read_table(path).to_pydict() == {"a": [1]}
    assert [p.name for p in tmp_path.iterdir()] == ["t.parquet"]


def test_digest_depends_on_values_and_names_but_not_on_chunks_or_metadata():
    table = pa.table({"a": [1, 2, 3]})
    chunked = pa.concat_tables([table.slice(0, 1), table.slice(1)])
    assert digest(chunked) == digest(table) == digest(table.replace_schema_metadata({"run": "x"}))
    assert digest(pa.table({"a": [1, 2, 4]})) != digest(table)
    assert digest(pa.table({"b": [1, 2, 3]})) != digest(table)


def test_vectors_survive_parquet_as_fixed_size_lists(tmp_path):
    vectors = np.random.default_rng(0).normal(size=(7, 5)).astype(np.float32)
    write_table(pa.table({"vector": vectors_to_column(vectors)}), tmp_path / "v.parquet")
    table = read_table(tmp_path / "v.parquet")
    assert table.schema.field("vector").type == pa.list_(pa.float32(), 5)
    np.testing.assert_array_equal(column_to_vectors(table["vector"]), vectors)
    np.testing.assert_array_equal(column_to_vectors(table.slice(2, 3)["vector"]), vectors[2:5])


def test_no_vectors_keep_their_width():
    assert column_to_vectors(pa.chunked_array([vectors_to_column(np.empty((0, 5)))])).shape == (0, 5)


def test_vectors_come_back_whole_or_chunk_by_chunk():
    vectors = np.arange(30, dtype=np.float32).reshape(10, 3)
    column = pa.chunked_array([vectors_to_column(vectors[:4]), vectors_to_column(vectors[4:]).slice(1)])
    expected = np.vstack([vectors[:4], vectors[5:]])
    blocks = list(vector_blocks(column))
    assert [len(block) for block in blocks] == [4, 5] and np.array_equal(np.vstack(blocks), expected)
    assert np.array_equal(column_to_vectors(column), expected)
