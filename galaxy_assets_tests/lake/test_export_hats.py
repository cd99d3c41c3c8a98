"""A HATS catalogue of a survey, as LSDB reads and cross-matches it."""

import json
import re
import shutil

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from galaxy_assets.cli import app
from galaxy_assets.lake.export_hats import export_hats
from galaxy_assets.storage.layout import Layout
from galaxy_assets.storage.tables import column_to_vectors, read_table, said_of, write_table

NOWHERE = {"second_00", "second_01", "second_02"}


@pytest.fixture
def on_the_sky(world, tmp_path):
    """The small world with positions: first_NN at right ascension 10 + NN / 100, second_NN beyond 0h, some without."""
    layout = Layout(tmp_path / "data")
    shutil.copytree(world.root / "surveys", layout.surveys)
    for name in ("catalogue", "cluster_labels", "pca_features", "anomaly_ranking.parquet", "byol_checkpoints"):
        source, target = world.root / "lake/tiny" / name, layout.lake / "tiny" / name
        shutil.copytree(source, target) if source.is_dir() else shutil.copy(source, target)
    for batch, at in (("first", 10.0), ("second", 359.9)):
        path = layout.table("tiny", "catalogue", batch)
        table = read_table(path)
        n, ids = table.num_rows, table["galaxy_id"].to_pylist()
        ra = [None if galaxy in NOWHERE else (at + i / 100) % 360 for i, galaxy in enumerate(ids)]
        table = table.set_column(table.column_names.index("ra"), "ra", pa.array(ra, pa.float64()))
        dec = pa.array(np.linspace(-2, 2, n))
        write_table(table.set_column(table.column_names.index("dec"), "dec", dec), path)
    return layout


def test_lsdb_reads_and_cross_matches_it(on_the_sky, tmp_path, monkeypatch):
    pytest.importorskip("hats_import", reason="the extra galaxy-assets[hats] is not installed")
    lsdb = pytest.importorskip("lsdb", reason="lsdb is not installed")
    monkeypatch.setenv("GALAXY_ASSETS_DATA", str(on_the_sky.root))
    ran = CliRunner().invoke(app, ["export", "hats", "tiny", "--to", str(tmp_path / "out")])
    assert ran.exit_code == 0, ran.output
    read = lsdb.open_catalog(tmp_path / "out/tiny").compute().set_index("galaxy_id")
    features = pa.concat_tables(
        [read_table(on_the_sky.table("tiny", "pca_features", b, "imagenet")) for b in ("first", "second")]
    )
    vectors = dict(zip(features["galaxy_id"].to_pylist(), column_to_vectors(features["vector"]), strict=True))
    ranking = {r["galaxy_id"]: r for r in read_table(on_the_sky.table("tiny", "anomaly_ranking")).to_pylist()}
    placed = {g for g in vectors if g not in NOWHERE}
    assert set(read.index) == placed and f"{len(placed)} galaxies" in ran.output
    for galaxy in placed:
        row = read.loc[galaxy]
        assert (row["rank"], row["score"]) == (ranking[galaxy]["rank"], ranking[galaxy]["score"])
        np.testing.assert_array_equal(np.asarray(row["components"], np.float32), vectors[galaxy])
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["about.json", "tiny"]
    for file in (tmp_path / "out/tiny").rglob("Npix*.parquet"):
        schema = pq.read_schema(file)
        assert not [key for key in schema.metadata or {} if key.startswith(b"IVOA")], "it would be of another table"
        assert said_of(schema.field("ra"))[1] == "deg"
    about = json.loads((tmp_path / "out/about.json").read_text())
    assert about["columns"]["ra"]["unit"] == "deg" and about["rows"] == len(placed)
    other = lsdb.from_dataframe(
        read.reset_index()[["galaxy_id", "ra", "dec"]].assign(ra=lambda t: t["ra"] + 0.5 / 3600),
        ra_column="ra",
        dec_column="dec",
    )
    matched = lsdb.open_catalog(tmp_path / "out/tiny").crossmatch(other, radius_arcsec=1, suffixes=("", "_other"))
    pairs = matched.compute()
    assert len(pairs) == len(placed) and (pairs["galaxy_id"] == pairs["galaxy_id_other"]).all()


@pytest.mark.parametrize("full", [False, True])
def test_what_hats_import_ends_with_is_said_and_a_full_disk_is_the_one_written_to(on_the_sky, small_disk, full):
    catalog = pytest.importorskip("hats_import.catalog.run_import", reason="galaxy-assets[hats] is not installed")

    def fails(*_: object) -> None:
        if full:
            (small_disk / "ballast").write_bytes(bytes(small_disk.free() - 4096))
        raise RuntimeError("Some mapping stages failed. See above Exceptions.")

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(catalog, "run", fails)
        patched.setenv("GALAXY_ASSETS_DATA", str(on_the_sky.root))
        ran = CliRunner().invoke(
            app, ["export", "hats", "tiny", "--to", str(small_disk / "out")], env={"COLUMNS": "400"}
        )
    words = "out is not written: the disk is full" if full else "hats-import wrote no catalogue.*Some mapping stages"
    assert ran.exit_code in (1, 2) and re.search(words, ran.output), ran.output
    assert [path.name for path in small_disk.iterdir() if path.name != "ballast"] == []


def test_without_positions_the_remedy_is_said(world, tmp_path):
    pytest.importorskip("hats_import", reason="the extra galaxy-assets[hats] is not installed")
    with pytest.raises(ValueError, match="tiny: no clean galaxy has a position; name ra_column and dec_column"):
        export_hats("tiny", tmp_path / "x", root=world.root)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("table", "start"), [("catalogue", ()), ("cluster_labels", ("imagenet",))])
def test_a_batch_that_a_run_has_not_finished_is_named(on_the_sky, tmp_path, table, start):
    pytest.importorskip("hats_import", reason="the extra galaxy-assets[hats] is not installed")
    on_the_sky.table("tiny", table, "second", *start).unlink()
    with pytest.raises(
        FileNotFoundError, match=f"^tiny is not finished: batch second has no {table}; `galaxy-assets run"
    ):
        export_hats("tiny", tmp_path / "x", root=on_the_sky.root)


def test_without_the_extra_the_remedy_is_said(world, tmp_path, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "hats_import", None)
    with pytest.raises(ValueError, match=r"install the extra: pip install 'galaxy-assets\[hats\]'"):
        export_hats("tiny", tmp_path / "x", root=world.root)
    assert list(tmp_path.iterdir()) == []
