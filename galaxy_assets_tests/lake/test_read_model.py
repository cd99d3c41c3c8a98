"""The DuckDB read model: views over the lake, swapped in whole, read-only to users."""

import os

import duckdb
import numpy as np
import pyarrow as pa
import pytest

from galaxy_assets.lake import connect
from galaxy_assets.lake.read_model import publish
from galaxy_assets.science.neighbours import most_similar
from galaxy_assets.storage.layout import Layout
from galaxy_assets.storage.tables import column, vectors_to_column, with_schema, write_table


def test_views_cover_plain_and_partitioned_tables_and_nothing_else(tmp_path):
    layout = Layout(tmp_path)
    write_table(pa.table({"rank": [1, 2]}), layout.table("s", "anomaly_ranking"))
    for batch in ("b1", "b2"):
        write_table(pa.table({"batch": [batch]}), layout.table("s", "embeddings", batch, "imagenet"))
    write_table(pa.table({"x": [0]}), layout.pixels("s") / "b1" / "rows" / "000.parquet")
    assert publish(layout) == ["s.anomaly_ranking", "s.embeddings"]
    with connect(tmp_path) as lake:
        assert lake.sql("select batch from s.embeddings order by batch").fetchall() == [("b1",), ("b2",)]
        with pytest.raises(duckdb.Error, match="read-only"):
            lake.execute("create table s.t (a int)")


def test_a_reader_keeps_its_file_while_a_new_one_is_published(tmp_path):
    layout = Layout(tmp_path)
    write_table(pa.table({"a": [1]}), layout.table("s", "one"))
    publish(layout)
    with connect(tmp_path) as old:
        write_table(pa.table({"a": [2]}), layout.table("s", "two"))
        assert publish(layout) == ["s.one", "s.two"]
        assert old.sql("select a from s.one").fetchall() == [(1,)]
    assert not list(tmp_path.glob(".galaxy*"))


def test_names_are_quoted(tmp_path):
    layout = Layout(tmp_path)
    write_table(pa.table({"a": [1]}), layout.table("it's", 'odd "name'))
    publish(layout)
    with connect(tmp_path) as lake:
        assert lake.sql('select a from "it\'s"."odd ""name"').fetchall() == [(1,)]


def test_columns_carry_what_the_newest_file_says_of_them(tmp_path):
    layout = Layout(tmp_path)
    fields = [column("it's x", pa.float64(), "how far it's gone", "pix"), column("other", pa.int64(), "")]
    old = pa.table({"it's x": [1.0], "other": [1]})
    write_table(old, layout.table("s", "walks", "b2"))
    write_table(old, layout.table("s", "older"))  # made before columns were described
    write_table(with_schema(old, pa.schema(fields)), layout.table("s", "walks", "b1"))
    os.utime(layout.table("s", "walks", "b2"), (0, 0))
    assert publish(layout) == ["s.older", "s.walks"]
    with connect(tmp_path) as lake:
        found = lake.sql("select table_name, column_name, comment from duckdb_columns() where schema_name = 's'")
        assert set(found.fetchall()) == {
            ("older", "it's x", None),
            ("older", "other", None),
            ("walks", "it's x", "how far it's gone [pix]"),
            ("walks", "other", None),
        }
        assert lake.sql("select count(*) from s.walks").fetchall() == [(2,)]


def test_without_a_run_the_error_says_what_to_do(tmp_path):
    with pytest.raises(FileNotFoundError, match="make demo"):
        connect(tmp_path)


@pytest.mark.parametrize("step", [None, 1.0, 0.1])
def test_similar_galaxies_in_sql_are_those_of_python_to_the_last_bit(tmp_path, step):
    layout, rng = Layout(tmp_path), np.random.default_rng(0)
    # with a step distances repeat and galaxies coincide, and ids must decide
    features = rng.normal(size=(600, 29)) if step is None else rng.integers(-1, 2, (600, 4)) * step
    features, ids = features.astype(np.float32), np.array([f"{i}" for i in rng.permutation(600)], dtype=object)
    other = rng.normal(size=(600, 3))  # the other start keeps another number of components
    for batch, part in (("b1", slice(0, 250)), ("b2", slice(250, 600))):
        for init, vectors in (("imagenet", features), ("random", other)):
            columns = {"galaxy_id": ids[part], "init": [init] * len(ids[part])}
            table = pa.table(columns | {"vector": vectors_to_column(vectors[part])})
            write_table(table, layout.table("sdss_gz1", "pca_features", batch, init))
    publish(layout)
    with connect(tmp_path) as lake:
        for rows in ([3], [599], [7, 300, 301, 5]):
            rows = sorted(rows, key=lambda row: ids[row])
            found, distances, nearest = most_similar(features, ids, features[rows], 40, rows)
            expected = [
                (ids[rows[example]], ids[row], distance, rank)
                for rank, (row, distance, example) in enumerate(zip(found, distances, nearest, strict=True), 1)
            ]
            answer = lake.execute("select * from sdss_gz1.similar_to(?, 40)", [[ids[row] for row in rows]]).fetchall()
            assert answer == expected
        [(query, galaxy, *_)] = lake.sql("from sdss_gz1.similar_to(['0'], 1, start_weights := 'random')").fetchall()
        row = list(ids).index("0")
        assert query == "0" and galaxy == ids[most_similar(other.astype(np.float32), ids, other[[row]], 1, [row])[0][0]]
        assert len(lake.sql("from sdss_gz1.similar_to(['0'])").fetchall()) == 8
        with pytest.raises(duckdb.Error, match="no clean galaxy nosuch"):
            lake.sql("from sdss_gz1.similar_to(['0', 'nosuch'])").fetchall()
