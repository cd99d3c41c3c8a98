"""Tables are whole or absent, and their digest is of their content."""

from datetime import date, datetime, time, timedelta
from decimal import Decimal

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from galaxy_assets.storage.files import DamagedFile, replacing
from galaxy_assets.storage.in_turn import TablesInTurn
from galaxy_assets.storage.tables import (
    UnknownGalaxies,
    column_to_vectors,
    digest,
    places,
    read_table,
    rows_of,
    vectors_to_column,
    verify,
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
    assert len(digest(table)) == 16


def test_vectors_survive_parquet_as_fixed_size_lists(tmp_path):
    vectors = np.random.default_rng(0).normal(size=(7, 5)).astype(np.float32)
    write_table(pa.table({"vector": vectors_to_column(vectors)}), tmp_path / "v.parquet")
    table = read_table(tmp_path / "v.parquet")
    assert table.schema.field("vector").type == pa.list_(pa.float32(), 5)
    np.testing.assert_array_equal(column_to_vectors(table["vector"]), vectors)
    np.testing.assert_array_equal(column_to_vectors(table.slice(2, 3)["vector"]), vectors[2:5])


def test_no_vectors_keep_their_width():
    assert column_to_vectors(pa.chunked_array([vectors_to_column(np.empty((0, 5)))])).shape == (0, 5)


def test_vectors_come_back_whole_or_file_by_file(tmp_path):
    vectors = np.arange(30, dtype=np.float32).reshape(10, 3)
    column = pa.chunked_array([vectors_to_column(vectors[:4]), vectors_to_column(vectors[4:]).slice(1)])
    expected = np.vstack([vectors[:4], vectors[5:]])
    assert np.array_equal(column_to_vectors(column), expected)
    paths = tmp_path / "1.parquet", tmp_path / "2.parquet"
    for path, rows in zip(paths, (slice(4), slice(4, 9)), strict=True):
        ids = [str(i) for i in range(9)[rows]]
        write_table(pa.table({"galaxy_id": ids, "vector": vectors_to_column(expected[rows])}), path)
    in_turn = TablesInTurn(paths, {})
    blocks = list(in_turn.vectors())
    assert [len(block) for block in blocks] == [4, 5] and np.array_equal(np.vstack(blocks), expected)
    assert in_turn.select(["galaxy_id"]).to_pydict() == {"galaxy_id": [str(i) for i in range(9)]}


def test_whatever_vectors_hold_is_stored_to_the_last_bit_and_smaller_than_a_dictionary(tmp_path):
    rng = np.random.default_rng(0)
    vectors = rng.normal(size=(3000, 64)).astype(np.float32)
    vectors[0, :4] = np.nan, np.inf, -0.0, np.finfo(np.float32).tiny / 2
    table = pa.table(
        {
            "galaxy_id": [f"J{i}" for i in range(3000)],
            "vector": vectors_to_column(vectors),
            "pair": pa.FixedSizeListArray.from_arrays(pa.array(range(6000)), 2),
            "boxes": [[i, None] for i in range(3000)],
        }
    )
    write_table(table, tmp_path / "t.parquet")
    pq.write_table(table, tmp_path / "dictionary.parquet", compression="zstd")
    found = read_table(tmp_path / "t.parquet")
    others = ["galaxy_id", "pair", "boxes"]
    assert found.select(others).to_pydict() == table.select(others).to_pydict()
    assert column_to_vectors(found["vector"]).tobytes() == vectors.tobytes()
    assert (tmp_path / "t.parquet").stat().st_size < (tmp_path / "dictionary.parquet").stat().st_size
    sums = duckdb.sql(f"select sum(vector[64]) from '{tmp_path}/t.parquet'").fetchall()
    assert sums[0][0] == pytest.approx(vectors[:, 63].sum(dtype=np.float64))


def test_galaxies_are_found_in_a_table_in_the_order_asked():
    ids = pa.chunked_array([["a", "b"], ["c", "b", "d"]])
    assert places(ids, pa.array(["d", "x", "b", "d"])).tolist() == [4, -1, 1, 4], "the first of several"
    assert places(ids, pa.array([], pa.null())).tolist() == []
    table = pa.table({"galaxy_id": ids})
    assert rows_of(table, ["c", "a"]).tolist() == rows_of(table, table.take([2, 0])).tolist() == [2, 0]
    assert rows_of(table, []).dtype == np.int64


def test_galaxies_that_a_table_lacks_are_named_with_the_remedy():
    table = pa.table({"galaxy_id": ["a", "b"]})
    with pytest.raises(UnknownGalaxies, match=r"2 galaxies \(x, y\) are not in .* `catalogue`.*run the survey") as e:
        rows_of(table, ["x", "a", "y", "x"], "catalogue")
    assert e.value.galaxies == ["x", "y"]


@given(st.lists(st.text(max_size=2), unique=True, max_size=20), st.lists(st.text(max_size=2), max_size=20))
def test_places_are_those_of_a_dictionary(ids, asked):
    row = {galaxy: i for i, galaxy in enumerate(ids)}
    found = places(pa.array(ids, pa.string()), pa.array(asked, pa.string()))
    assert found.tolist() == [row.get(galaxy, -1) for galaxy in asked]


def test_of_several_rows_of_one_galaxy_the_first_is_found():
    ids, asked = pa.array(["b", "a", "b", "a"]), pa.array(["a", "b", "a", "c"])
    assert places(ids, asked).tolist() == [1, 0, 1, -1]


OF_EVERY_TYPE = {
    "decimal": pa.array([Decimal("1.50"), None], pa.decimal128(5, 2)),
    "large": pa.array([Decimal(10**30), None], pa.decimal256(50, 0)),
    "date": pa.array([date(2020, 1, 1), None]),
    "date64": pa.array([date(2020, 1, 1), None], pa.date64()),
    "time": pa.array([time(1, 2, 3), None]),
    "time32": pa.array([time(1, 2, 3), None], pa.time32("ms")),
    "timestamp": pa.array([datetime(2020, 1, 1), None], pa.timestamp("us", tz="UTC")),
    "duration": pa.array([timedelta(1), None]),
    "fixed": pa.array([b"abc", None], pa.binary(3)),
    "binary": pa.array([b"abc", None], pa.large_binary()),
    "enum": pa.array(["a", None]).dictionary_encode(),
    "flag": pa.array([True, None]),
    "list": pa.array([[Decimal("1.5"), None], None]),
    "struct": pa.array([{"x": date(2020, 1, 1)}, {"x": None}]),
    "map": pa.array([[("k", 1)], None], pa.map_(pa.string(), pa.int32())),
    "nothing": pa.nulls(2),
}


@pytest.mark.parametrize("name", OF_EVERY_TYPE)
def test_a_column_of_any_type_with_nulls_is_written_and_verified(tmp_path, name):
    given = pa.table({name: OF_EVERY_TYPE[name]})
    write_table(given, tmp_path / "t.parquet")
    assert verify(tmp_path / "t.parquet").to_pydict() == given.to_pydict()


def test_a_flipped_bit_of_a_page_is_told_when_it_is_read(tmp_path):
    path = tmp_path / "t.parquet"
    rng = np.random.default_rng(0)
    write_table(pa.table({"vector": vectors_to_column(rng.normal(size=(50, 16)))}), path)
    data = bytearray(path.read_bytes())
    data[200] ^= 4  # within the 3,200 bytes of values, which do not compress
    path.write_bytes(data)
    with pytest.raises(DamagedFile, match=r"t.parquet is damaged .*checksum.*galaxy-assets check --deep --repair"):
        read_table(path, ["vector"])
