"""What leaves the lake says what its columns hold: units, UCDs and descriptions, in every format that has a place."""

import io
import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from astropy.io import fits
from astropy.io.votable import parse
from astropy.io.votable.ucd import check_ucd
from astropy.table import Table
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from galaxy_assets.cli import app
from galaxy_assets.lake.export import export
from galaxy_assets.lake.formats import SUFFIXES, write_as
from galaxy_assets.lake.meanings import UCDS, meaning_of, said_in, ucd_of, with_meanings
from galaxy_assets.storage.layout import Layout

OF_GALAXIES = (
    "catalogue/[!.]*", "cutouts/[!.]*", "artefact_map/[!.]*", "clean_galaxies/[!.]*", "umap/[!.]*/[!.]*",
    "cluster_labels/[!.]*/[!.]*", "embeddings/[!.]*/[!.]*", "anomaly_scores/[!.]*", "anomaly_ranking",
    "training_candidates/[!.]*", "evaluation_subset", "baseline_rankings", "similar_galaxies",
)  # fmt: skip
NO_UCD = {"probabilities"}  # a list of unequal meaning, which no export holds


@pytest.fixture
def table() -> pa.Table:
    """Every kind of column that an export has, with nulls."""
    values = {
        "galaxy_id": ["a", "b", "c"],
        "ra": [180.0, None, 0.25],
        "width": pa.array([300, None, 70_000], pa.int32()),
        "kept": [True, None, False],
        "suspect": [True, False, True],
        "label": [None, "spiral", "ring"],
        "vector": pa.FixedSizeListArray.from_arrays(pa.array(np.arange(6, dtype=np.float32)), 2),
        "more": [[1, 2], None, []],
    }
    said = {"ra": ("right ascension", "deg"), "width": ("width of the image", "pix"), "vector": ("features", "")}
    return with_meanings(pa.table(values), said)


def test_every_ucd_is_one_and_every_column_of_galaxies_has_one_and_a_description(world):
    for name, ucd in UCDS.items():
        assert check_ucd(ucd, check_controlled_vocabulary=True), (name, ucd)
    assert not check_ucd("pos.eq.ra;meta.mian", check_controlled_vocabulary=True)
    for pattern in OF_GALAXIES:
        said = said_in(Layout(world.root), "tiny", pattern)
        assert said, pattern
        for name, (description, _) in said.items():
            assert description and (name in NO_UCD or ucd_of(name)), (pattern, name)


def test_a_votable_has_units_ucds_descriptions_and_nulls(table, tmp_path):
    write_as(table, tmp_path / "t.vot", "votable", "tiny_ranking")
    read = Table.read(tmp_path / "t.vot", format="votable")
    assert read["ra"].unit == "deg" and read["width"].unit == "pix" and read["ra"].description == "right ascension"
    assert read["ra"].meta["ucd"] == "pos.eq.ra;meta.main" and read["galaxy_id"].meta["ucd"] == "meta.id;meta.main"
    assert read["width"].tolist() == [300, None, 70_000] and read["kept"].tolist() == [True, None, False]
    assert read["ra"].tolist() == [180.0, None, 0.25] and list(read["label"]) == ["", "spiral", "ring"]
    assert read["vector"].tolist() == [[0, 1], [2, 3], [4, 5]] and list(read["more"]) == ["[1, 2]", "", "[]"]
    assert parse(tmp_path / "t.vot").get_first_table().name == "tiny_ranking"


def test_a_fits_table_has_them_in_its_header(table, tmp_path):
    write_as(table, tmp_path / "t.fits", "fits", "tiny_ranking")
    read, header = Table.read(tmp_path / "t.fits"), fits.getheader(tmp_path / "t.fits", 1)
    assert read["ra"].unit == "deg" and header["EXTNAME"].lower() == "tiny_ranking"
    assert (header["TTYPE2"], header["TUCD2"], header["TCOMM2"]) == ("ra", "pos.eq.ra;meta.main", "right ascension")
    assert read["width"].tolist() == [300, None, 70_000] and read["kept"].tolist() == [1, None, 0]
    assert read["suspect"].tolist() == [True, False, True] and read["vector"].shape == (3, 2)
    assert read["ra"].tolist() == [180.0, None, 0.25]


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.text(max_size=90) | st.sampled_from(["größe", "grosse", "x" * 69]), unique_by=str.lower, min_size=1))
def test_a_fits_table_of_columns_of_any_name_is_written_and_says_the_name(tmp_path, names):
    made = pa.table([pa.array([float(at)]) for at in range(len(names))], names=names)
    write_as(made, tmp_path / "t.fits", "fits")
    header, data = fits.getheader(tmp_path / "t.fits", 1), fits.getdata(tmp_path / "t.fits", 1)
    called = [header[f"TTYPE{at}"] for at in range(1, len(names) + 1)]
    assert len({name.lower() for name in called}) == len(names)
    assert [data[name][0] for name in called] == list(range(len(names)))
    for at, (name, its) in enumerate(zip(names, called, strict=True), 1):
        assert its == name or json.JSONDecoder().raw_decode(header[f"TCOMM{at}"])[0] == name
        assert its == name or not (name.isidentifier() and name.isascii() and len(name) < 69)


@pytest.mark.parametrize("name", ["/ ", "'/", "a' /b", "'" * 68, "'/" * 60, "a'", "é' / '/"])
def test_an_apostrophe_before_a_slash_ends_no_value_of_a_header(tmp_path, name):
    write_as(with_meanings(pa.table({name: [1.0]}), {name: ("a 'size' / b", "pix")}), tmp_path / "t.fits", "fits")
    header = fits.getheader(tmp_path / "t.fits", 1)
    own = header["TTYPE1"] == name
    assert own or json.JSONDecoder().raw_decode(header["TCOMM1"])[0] == name
    assert header["TCOMM1"].endswith("a 'size\\u0027 / b") and fits.getdata(tmp_path / "t.fits", 1)[0][0] == 1.0


def test_a_column_that_is_called_otherwise_in_fits_is_told_and_keeps_its_description(tmp_path, caplog):
    write_as(with_meanings(pa.table({"größe": [1]}), {"größe": ("its size", "pix")}), tmp_path / "t.fits", "fits")
    header = fits.getheader(tmp_path / "t.fits", 1)
    assert (header["TTYPE1"], header["TCOMM1"], header["TUNIT1"]) == ("groe", '"gr\\u00f6\\u00dfe": its size', "pix")
    assert "'größe': it is called groe there" in caplog.text


def test_a_parquet_has_them_by_field_and_as_voparquet(table, tmp_path):
    write_as(table, tmp_path / "t.parquet", "parquet", "tiny_ranking")
    read = pq.read_table(tmp_path / "t.parquet")
    assert read.equals(table) and b"IVOA.VOTable-Parquet.content" not in (read.schema.metadata or {}), "no such lists"
    table = table.drop_columns(["more"])
    write_as(table, tmp_path / "t.parquet", "parquet", "tiny_ranking")
    read = pq.read_table(tmp_path / "t.parquet")
    assert read.equals(table) and meaning_of(read.schema.field("ra")).ucd == "pos.eq.ra;meta.main"
    about = read.schema.metadata
    assert about[b"IVOA.VOTable-Parquet.version"] == b"1.0"
    content = about[b"IVOA.VOTable-Parquet.content"]
    fields = parse(io.BytesIO(content)).get_first_table().fields
    assert [f.name for f in fields] == table.column_names and b"<TABLEDATA>" not in content
    assert {f.name: str(f.unit) for f in fields if f.unit} == {"ra": "deg", "width": "pix"}


def test_astropy_reads_a_voparquet_with_its_units(tmp_path):
    whole = with_meanings(pa.table({"galaxy_id": ["a"], "ra": [1.5]}), {"ra": ("right ascension", "deg")})
    write_as(whole, tmp_path / "t.parquet", "parquet")
    read = Table.read(tmp_path / "t.parquet", format="parquet.votable")
    assert read["ra"].unit == "deg" and read["ra"].description == "right ascension"


def test_tables_without_rows_are_files_too(table, tmp_path):
    for form, suffix in SUFFIXES.items():
        write_as(table[:0], tmp_path / f"t{suffix}", form)
    assert len(Table.read(tmp_path / "t.fits")) == len(Table.read(tmp_path / "t.vot", format="votable")) == 0


@pytest.mark.parametrize("form, text", [("fits", "galaxie_é"), ("votable", "bell\x07")])
def test_a_text_that_a_format_cannot_hold_is_named_and_leaves_no_file(form, text, tmp_path):
    with pytest.raises(ValueError, match="column galaxy_id holds .*; write parquet or csv"):
        write_as(pa.table({"galaxy_id": [text]}), tmp_path / "t", form)
    assert list(tmp_path.iterdir()) == []


def test_the_command_writes_the_formats_asked_for(world, tmp_path, monkeypatch):
    monkeypatch.setenv("GALAXY_ASSETS_DATA", str(world.root))
    words = ["export", "ranking", "tiny", "--to", str(tmp_path / "top"), "--first", "3"]
    ran = CliRunner().invoke(app, [*words, "--format", "votable", "--format", "fits"])
    assert ran.exit_code == 0, ran.output
    assert sorted(p.name for p in (tmp_path / "top").iterdir()) == ["about.json", "ranking.fits", "ranking.vot"]
    read = Table.read(tmp_path / "top/ranking.vot", format="votable")
    assert read["score"].description.startswith("how interesting") or "score" in read["score"].description
    assert read["ra"].unit == read["dec"].unit == "deg" and read["rank"].tolist() == [1, 2, 3]
    columns = json.loads((tmp_path / "top/about.json").read_text())["columns"]
    assert columns["ra"] == {
        "description": "right ascension; null where the survey does not say", "unit": "deg", "ucd": UCDS["ra"]
    }  # fmt: skip
    assert all(told["description"] and told["ucd"] for told in columns.values())


def test_what_an_export_adds_is_described_too(world, tmp_path):
    made = export("cluster", "tiny", tmp_path / "c", cluster=0, images=True, root=world.root)
    assert all(meaning_of(field).description and meaning_of(field).ucd for field in made.schema)
