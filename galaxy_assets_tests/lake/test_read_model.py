"""The DuckDB read model: views over the lake, swapped in whole, read-only to users."""

import os
import shutil
import tomllib
from pathlib import Path

import duckdb
import numpy as np
import pyarrow as pa
import pytest

from galaxy_assets.lake import connect
from galaxy_assets.lake import similar as search
from galaxy_assets.lake.query import connect_to_read, cursor_of
from galaxy_assets.lake.read_model import publish
from galaxy_assets.science.neighbours import most_similar
from galaxy_assets.settings.printing import PrintableError
from galaxy_assets.storage.files import NotWritten
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
        for sql in ("create table s.t (a int)", "create table t (a int)", "drop view s.embeddings"):
            with pytest.raises(duckdb.Error, match="read-only"):
                lake.execute(sql)


def test_a_reader_keeps_its_file_while_a_new_one_is_published(tmp_path):
    layout = Layout(tmp_path)
    write_table(pa.table({"a": [1]}), layout.table("s", "one"))
    publish(layout)
    with connect(tmp_path) as old:
        write_table(pa.table({"a": [2]}), layout.table("s", "two"))
        assert publish(layout) == ["s.one", "s.two"]
        assert old.sql("select a from s.one").fetchall() == [(1,)]
    assert not list(tmp_path.glob(".galaxy*"))


def test_who_connects_again_has_the_lake_as_it_is_by_then(tmp_path):
    layout = Layout(tmp_path)
    write_table(pa.table({"a": [1]}), layout.table("s", "one"))
    publish(layout)
    old = connect(tmp_path)
    write_table(pa.table({"a": [2]}), layout.table("s", "two"))
    publish(layout)
    with connect(tmp_path) as new:
        assert new.sql("select a from s.two").fetchall() == [(2,)]
        with pytest.raises(duckdb.CatalogException):
            old.sql("from s.two")
    old.close()


def test_it_is_written_for_the_oldest_duckdb_that_may_be_installed(tmp_path):
    project = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())["project"]
    (oldest,) = [need.removeprefix("duckdb>=") for need in project["dependencies"] if need.startswith("duckdb")]
    write_table(pa.table({"a": [1]}), Layout(tmp_path).table("s", "one"))
    publish(Layout(tmp_path))
    with duckdb.connect(Layout(tmp_path).read_model, read_only=True) as lake:
        versions = lake.sql("select tags['storage_version'] from duckdb_databases() where not internal").fetchall()
    assert versions == [(f"v{oldest}.0+",)]


def test_a_data_folder_given_in_python_is_named_by_the_rules_of_the_variable(tmp_path, monkeypatch):
    layout = Layout(tmp_path / "home/data")
    write_table(pa.table({"a": [1]}), layout.table("s", "one"))
    publish(layout)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    for told in ("~/data", Path("~/data"), "home/data", "home/../home/data"):
        with connect(told) as lake:
            monkeypatch.chdir(tmp_path / "home")
            assert lake.sql("from s.one").fetchall() == [(1,)]
            monkeypatch.chdir(tmp_path)
    for given in (connect, lambda root: search.similar("tiny", ids=["a"], root=root)):
        with pytest.raises(PrintableError, match="as a pattern; rename the data folder"):
            given("home/[data]")
        with pytest.raises(PrintableError, match="cannot be used; say a folder, or one of s3://"):
            given("https://elsewhere/data")


def test_names_are_quoted(tmp_path):
    layout = Layout(tmp_path)
    write_table(pa.table({"a": [1]}), layout.table("it's", 'odd "name'))
    publish(layout)
    with connect(tmp_path) as lake:
        assert lake.sql('select a from "it\'s"."odd ""name"').fetchall() == [(1,)]


def test_columns_carry_what_the_last_file_that_says_anything_says_of_them(tmp_path):
    layout = Layout(tmp_path)
    fields = [column("it's x", pa.float64(), "how far it's gone", "pix"), column("other", pa.int64(), "")]
    old = pa.table({"it's x": [1.0], "other": [1]})
    write_table(old, layout.table("s", "walks", "b2"))
    write_table(old, layout.table("s", "older"))  # made before columns were described
    write_table(with_schema(old, pa.schema(fields)), layout.table("s", "walks", "b1"))
    os.utime(layout.table("s", "walks", "b1"), (0, 0))  # a copy may be of any time
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
    with pytest.raises(FileNotFoundError, match="galaxy-assets demo"):
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


def test_a_folder_that_is_copied_or_moved_shows_its_own_rows(tmp_path, monkeypatch):
    here, there = Layout(tmp_path / "it's here"), Layout(tmp_path / "there")
    write_table(pa.table({"a": ["old"]}), here.table("s", "one"))
    write_table(pa.table({"a": ["old"]}), here.table("s", "many", "b1"))
    publish(here)
    shutil.copytree(here.root, there.root)
    for name in (("one",), ("many", "b1")):
        write_table(pa.table({"a": ["new"]}), there.table("s", *name))
    monkeypatch.chdir(here.root)  # whose lake has files of the same names
    for layout, expected in ((here, "old"), (there, "new")):
        with connect(layout.root) as lake, connect_to_read(layout) as guarded, cursor_of(guarded, layout) as cursor:
            for reader in (lake, guarded, cursor):
                assert reader.sql("select a from s.one union all select a from s.many").fetchall() == [(expected,)] * 2
    shutil.rmtree(here.root)
    monkeypatch.chdir(tmp_path)
    with connect(there.root) as lake:
        assert lake.sql("select a from s.one").fetchall() == [("new",)]
    with duckdb.connect(there.read_model, read_only=True) as other:
        with pytest.raises(duckdb.Error, match="set variable galaxy_data"):
            other.sql("select a from s.one").fetchall()
        other.execute("set variable galaxy_data = ?", [str(there.root)])
        assert other.sql("select a from s.one").fetchall() == [("new",)]
    assert str(tmp_path).encode() not in there.read_model.read_bytes()


def test_a_damaged_table_says_so_when_it_is_asked_and_hides_no_other(tmp_path):
    layout = Layout(tmp_path)
    for name in ("whole", "damaged"):
        write_table(pa.table({"a": [1]}), layout.table("s", name))
    layout.table("s", "damaged").write_bytes(b"PAR1 and no more")
    assert publish(layout) == ["s.damaged", "s.whole"]
    with connect(tmp_path) as lake:
        assert lake.sql("select a from s.whole").fetchall() == [(1,)]
        with pytest.raises(duckdb.Error, match=r"damaged.parquet is damaged .*galaxy-assets check --deep --repair"):
            lake.sql("from s.damaged").fetchall()


def test_a_disk_that_fills_up_while_it_is_published_damages_nothing(small_disk):
    layout = Layout(small_disk)
    for number in range(40):
        write_table(pa.table({"a": [1]}), layout.table("s", f"t{number}"))
    publish(layout)
    before = layout.read_model.read_bytes()
    (small_disk / "ballast").write_bytes(bytes(small_disk.free() - 40_000))
    with pytest.raises(NotWritten, match="galaxy.duckdb is not written: the disk is full"):
        publish(layout)
    assert layout.read_model.read_bytes() == before and not list(small_disk.glob(".*"))
