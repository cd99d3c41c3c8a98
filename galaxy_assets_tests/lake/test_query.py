"""`query` on the command line: answers as text and files, errors in words, and nothing but reading the lake."""

import csv

import duckdb
import pyarrow as pa
import pytest
from typer.testing import CliRunner

from galaxy_assets.cli import app
from galaxy_assets.lake.query import connect_to_read
from galaxy_assets.lake.read_model import publish
from galaxy_assets.storage.layout import Layout
from galaxy_assets.storage.tables import read_table, write_table


@pytest.fixture
def layout(tmp_path, monkeypatch) -> Layout:
    layout = Layout(tmp_path / "it's data")
    monkeypatch.setenv("GALAXY_ASSETS_DATA", str(layout.root))
    ranks = pa.table({"rank": range(1, 101), "vector": [[0.5, i] for i in range(100)]})
    write_table(ranks, layout.table("s", "anomaly_ranking"))
    for batch in ("b1", "b2"):
        write_table(pa.table({"batch": [batch]}), layout.table("s", "cutouts", batch))
    publish(layout)
    return layout


def query(*words: object) -> tuple[int, str]:
    ran = CliRunner().invoke(app, ["query", *map(str, words)], terminal_width=400)
    return ran.exit_code, " ".join(ran.output.replace("│", " ").split())


def test_answers_are_printed_and_written(layout, tmp_path):
    code, shown = query("select rank from s.anomaly_ranking where rank > 7 order by rank; -- these", "--limit", 2)
    assert code == 0 and " 8 " in shown and " 9 " in shown and " 10 " not in shown
    assert "é;" in query("select 'é;' as x ; /* é;é */ ")[1]
    assert "b1" in query("from s.cutouts")[1] and "vector" in query("describe s.anomaly_ranking")[1]
    assert "60" not in query("select rank from s.anomaly_ranking order by rank")[1], "shortened in the middle"
    assert "60" in query("select rank from s.anomaly_ranking order by rank", "--limit", 100)[1]
    sql = "select * from s.anomaly_ranking order by rank desc"
    assert query(sql, "--to", tmp_path / "a.csv", "--limit", 3)[0] == 0
    assert query(sql, "--to", tmp_path / "a.parquet")[0] == 0
    with (tmp_path / "a.csv").open() as stream:
        assert list(csv.reader(stream)) == [["rank", "vector"], *([f"{i}", f"[0.5, {i - 1}.0]"] for i in (100, 99, 98))]
    written = read_table(tmp_path / "a.parquet")
    assert written["rank"].to_pylist() == list(range(100, 0, -1)) and written["vector"][0].as_py() == [0.5, 99.0]
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.csv", "a.parquet", "it's data"]


def test_decimals_dates_and_other_types_with_nulls_are_written(layout, tmp_path):
    sql = "select * from (values (1.25::decimal(9, 2), date '2020-01-02', 'a'::blob, uuid()), (null, null, null, null))"
    code, shown = query(sql, "--to", tmp_path / "a.parquet")
    assert code == 0, shown
    first, second = (list(row.values()) for row in read_table(tmp_path / "a.parquet").to_pylist())
    assert (str(first[0]), str(first[1]), first[2]) == ("1.25", "2020-01-02", b"a") and second == [None] * 4


def test_a_table_is_as_wide_as_the_terminal_and_in_its_letters(layout):
    def shown(sql: str, width: int) -> list[str]:
        ran = CliRunner(charset="latin-1").invoke(app, ["query", sql], env={"COLUMNS": str(width)})
        assert ran.exit_code == 0, ran.output
        return ran.stdout.splitlines()

    wide = "select " + ", ".join(f"7777777 as column_{i}" for i in range(30))
    for width, least in ((80, 60), (200, 150)):
        lines = shown(wide, width)
        assert least < max(map(len, lines)) <= width and lines[0].startswith("+--")
    words = "\n".join(shown("select 'spiral\u2192\x1b[2J' as word", 80))
    assert "spiral\\u2192" in words and "\x1b" not in words


def test_an_unknown_table_is_answered_with_the_nearest_of_its_survey_and_how_to_list_all(layout):
    for i in range(60):
        write_table(pa.table({"batch": ["b"]}), layout.table("other", f"table_{i:02d}"))
    write_table(pa.table({"batch": ["b"]}), layout.table("other", "cutouts"))
    publish(layout)
    code, shown = query("select * from s.anomaly_rankin")
    assert code == 2 and "there is no table anomaly_rankin in s nearest: s.anomaly_ranking `show tables" in shown
    assert "other" not in shown and "`show tables from s` lists all 2" in shown
    assert "cutouts" in query("show tables from s")[1]
    code, shown = query("select * from othr.cutouts")
    assert code == 2 and "there is no survey othr in the lake nearest: other.cutouts `select" in shown
    listed = query("select distinct schema from (show all tables)")[1]
    assert "other" in listed and " s " in listed
    code, shown = query("from ranking")
    assert code == 2 and "there is no table ranking; " in shown and "nearest: s.anomaly_ranking" in shown
    ran = CliRunner().invoke(app, ["query", "from other.nothing_like_it"], terminal_width=80)
    assert ran.exit_code == 2 and len(ran.output.splitlines()) <= 12 and "lists all 61" in ran.output


def test_other_errors_are_the_databases(layout, tmp_path, monkeypatch):
    code, shown = query("selct 1", "--to", tmp_path / "x.csv")
    assert code == 2 and "syntax error" in shown and not (tmp_path / "x.csv").exists()
    assert "nofun" in query("select nofun(1)")[1]
    assert query("select 1", "--to", tmp_path / "x.txt")[0] == 2
    code, shown = query("select 1", "--seconds", "1e9")
    assert code == 2 and "86400" in shown
    (tmp_path / "file").write_text("")
    assert "not written" in query("select 1", "--to", tmp_path / "file" / "x.csv")[1]
    monkeypatch.setenv("GALAXY_ASSETS_DATA", str(tmp_path / "none"))
    code, shown = query("select 1")
    assert code == 2 and "no read model yet" in shown


@pytest.mark.parametrize(
    "sql",
    [
        "copy (select 1) to '{out}/x.csv'",
        "copy (select 1) to '{lake}/x.csv'",
        "with x as (copy (select 1) to '{lake}/x.csv') select * from x",
        "with x as materialized (copy s.cutouts to '{out}/x.csv') from s.cutouts",
        "explain analyze copy (select 1) to '{lake}/x.csv'",
        "export database '{lake}/x'",
        "select 1; copy (select 1) to '{lake}/x.csv'",
        "select 1) limit 1; copy (select 1) to '{lake}/x.csv'; from (select 1",
        "attach '{out}/x.db' as x",
        "attach '{lake}/x.db' as x",
        "select * from read_csv('/etc/passwd')",
        "select * from '/etc/passwd'",
        "select * from read_text('{lake}/../../secret.txt')",
        "select * from glob('/etc/*')",
        "from (from read_blob('{out}/secret.txt'))",
        "install httpfs",
        "set enable_external_access = true",
        "pragma database_list",
        "select * from layout",
        "",
    ],
)
def test_a_query_reads_the_lake_and_does_nothing_else(layout, tmp_path, sql):
    (tmp_path / "secret.txt").write_text("secret")
    before = sorted(tmp_path.rglob("*"))
    code, shown = query(sql.format(out=tmp_path, lake=str(layout.lake).replace("'", "''")))
    assert code == 2 and "root:" not in shown
    assert sorted(tmp_path.rglob("*")) == before


def test_the_connection_itself_is_closed_to_the_outside(layout, tmp_path):
    with connect_to_read(layout) as lake:
        assert lake.sql("select count(*) from s.anomaly_ranking").fetchall() == [(100,)]
        for sql in (
            f"copy (select 1) to '{tmp_path}/x.csv'",
            "from read_csv('/etc/passwd')",
            f"attach '{tmp_path}/x.db'",
        ):
            with pytest.raises(duckdb.PermissionException):
                lake.execute(sql)
        with pytest.raises(duckdb.Error, match="configuration"):
            lake.execute("set enable_external_access = true")
