"""The DuckDB read model: views over the lake, swapped in whole, read-only to users."""

import duckdb
import pyarrow as pa
import pytest

from galaxy_assets.lake import connect
from galaxy_assets.lake.layout import Layout
from galaxy_assets.lake.read_model import publish
from galaxy_assets.lake.tables import write_table


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


def test_without_a_run_the_error_says_what_to_do(tmp_path):
    with pytest.raises(FileNotFoundError, match="make demo"):
        connect(tmp_path)
