"""Tables a person brings along: the same catalogue whatever the format, exact ids, units, and what is refused."""

import bz2
import csv
import gzip
import io
import lzma
import tempfile
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from astropy.io import fits
from astropy.table import MaskedColumn, Table
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from galaxy_assets.deliveries.members import is_no_class
from galaxy_assets.deliveries.readers import open_reader
from galaxy_assets.deliveries.readers.tables import Entry, read_labels, read_table
from galaxy_assets.deliveries.readers.volunteers import read_columns
from galaxy_assets.science.votes import VotesError
from galaxy_assets.settings.files import SurveyError, read_survey
from galaxy_assets.settings.source import Source

FORMATS = ["csv", "parquet", "fits", "vot", "ecsv"]
WITH_TYPES = FORMATS[1:]
OBJIDS = [587722952767439450, 587722952767439451, 587722953303916935]


def write(folder: Path, suffix: str, columns: dict[str, list], units: dict[str, str] | None = None) -> Path:
    """A table of Python values, None where there is none, as programs of the trade write it."""
    path = folder / f"table.{suffix}"
    if suffix == "csv":
        with path.open("w", newline="", encoding="utf-8") as stream:
            rows = zip(*columns.values(), strict=True)
            csv.writer(stream).writerows([list(columns), *(["" if v is None else v for v in row] for row in rows)])
    elif suffix == "parquet":
        pq.write_table(pa.table(columns), path)
    else:
        table = Table()
        for name, values in columns.items():
            filler = next((value for value in values if value is not None), "")
            filled = [filler if value is None else value for value in values]
            table[name] = MaskedColumn(filled, mask=[v is None for v in values], unit=(units or {}).get(name))
        table.write(path, format={"fits": "fits", "vot": "votable", "ecsv": "ascii.ecsv"}[suffix], overwrite=True)
    return path


def put(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.zeros((20, 20), np.uint8)).save(path)


def source(**settings) -> Source:
    return Source.model_validate({"reader": "image_folder", "path": ".", "labels": "table"} | settings)


def read_entries(path: Path, asked: Source) -> list[Entry]:
    return read_labels(path, asked).entries


@pytest.mark.parametrize("suffix", FORMATS)
def test_every_format_gives_the_same_catalogue(tmp_path, suffix):
    for objid in OBJIDS:
        put(tmp_path / f"images/{objid}.png")
    columns = {
        "objid": [*OBJIDS, None],
        "class": ["spiral", None, "ring", "lost"],
        "ra": [10.5, 20.25, None, 1.0],
        "dec": [-0.5, 41.0, 3.0, 1.0],
    }
    path = write(tmp_path, suffix, columns, {"ra": "deg"})
    asked = source(labels=path.name, id_column="objid", label_column="class", ra_column="ra", dec_column="dec")
    table = open_reader(asked, tmp_path).catalogue("images")
    assert table.select(["galaxy_id", "label", "ra", "dec", "problem"]).to_pylist() == [
        {"galaxy_id": str(OBJIDS[0]), "label": "spiral", "ra": 10.5, "dec": -0.5, "problem": None},
        {"galaxy_id": str(OBJIDS[1]), "label": None, "ra": 20.25, "dec": 41.0, "problem": None},
        {"galaxy_id": str(OBJIDS[2]), "label": "ring", "ra": None, "dec": None, "problem": None},
    ]


@pytest.mark.parametrize("pack", [bytes, gzip.compress, bz2.compress, lzma.compress])
@pytest.mark.parametrize(
    ("form", "names"),
    [
        ("fits", ["t.fts", "t.fits.{}", "t.dat"]),
        ("votable", ["t.vot.{}", "t.xml.{}", "t.txt"]),
        ("ascii.mrt", ["t_mrt.txt", "t.mrt.{}"]),
        ("ascii.ecsv", ["t.ecsv.{}", "t.csv"]),
        ("ascii.ipac", ["t.tbl.{}"]),
        ("parquet", ["t.pq", "t.parquet.{}"]),
    ],
)
def test_the_first_bytes_of_a_file_say_what_it_is(tmp_path, pack, form, names):
    columns = {"id": ["g0", "g1"], "label": ["spiral", "ring"]}
    if form == "parquet":
        pq.write_table(pa.table(columns), tmp_path / "plain")
    else:
        Table(columns).write(tmp_path / "plain", format=form)
    for name in names:
        path = tmp_path / name.format({gzip.compress: "gz", bz2.compress: "bz2", lzma.compress: "xz"}.get(pack, "fits"))
        path.write_bytes(pack((tmp_path / "plain").read_bytes()))
        if form == "ascii.ipac" and pack is bytes:
            path = path.rename(tmp_path / "t.tbl")
        assert read_table(path).to_pydict() == columns, path


@settings(max_examples=25)
@given(
    st.one_of(
        st.lists(st.integers(-(2**63), 2**63 - 1), min_size=1, max_size=4),
        st.lists(st.text("aZ019_+-.", min_size=1, max_size=20), min_size=1, max_size=4),
    )
)
def test_ids_come_back_digit_by_digit(ids):
    with tempfile.TemporaryDirectory() as folder:
        for suffix in FORMATS:
            path = write(Path(folder), suffix, {"id": ids})
            entries = read_entries(path, source(label_column=None))
            assert entries == [Entry(str(one), None, None, None) for one in ids], suffix


def test_unsigned_ids_above_the_signed_range_are_exact(tmp_path):
    ids = np.array([2**64 - 1, 2**63 + 1], np.uint64)
    pq.write_table(pa.table({"id": ids}), tmp_path / "t.parquet")
    Table({"id": ids}).write(tmp_path / "t.fits")
    for name in ("t.parquet", "t.fits"):
        entries = read_entries(tmp_path / name, source(label_column=None))
        assert [entry.name for entry in entries] == ["18446744073709551615", "9223372036854775809"]


@pytest.mark.parametrize("suffix", WITH_TYPES)
def test_decimal_numbers_are_no_ids(tmp_path, suffix):
    path = write(tmp_path, suffix, {"id": [float(OBJIDS[0]), 2.0]})
    with pytest.raises(SurveyError, match=rf"table.{suffix}: column id holds double.*15 digits.*`source.id_column`"):
        read_entries(path, source(label_column=None))


@pytest.mark.parametrize("suffix", ["parquet", "fits", "vot"])
def test_whole_numbers_that_became_floats_by_a_gap_are_ids(tmp_path, suffix):
    path = write(tmp_path, suffix, {"id": [12.0, float("nan"), 3.0]})
    assert [entry.name for entry in read_entries(path, source(label_column=None))] == ["12", "3"]


@pytest.mark.parametrize("nothing", ["#N/A", "n.a.", "-", "<NULL>", "NaN", "Unlabelled", "not_labeled", "no label"])
def test_what_programs_write_for_nothing_is_no_class(tmp_path, nothing):
    path = write(tmp_path, "csv", {"id": ["a", "b"], "label": [nothing, "disc"]})
    assert [entry.label for entry in read_entries(path, source())] == [None, "disc"]


def test_a_column_of_nothing_gives_no_class(tmp_path):
    pq.write_table(pa.table({"id": ["a", "b"], "label": pa.nulls(2)}), tmp_path / "t.parquet")
    assert "2 rows give no class, such as row 1" in read_labels(tmp_path / "t.parquet", source()).notes


@pytest.mark.parametrize("written", ["5.8772295276743942e+17", "587722952767439488.0"])
def test_text_that_went_through_decimal_numbers_is_no_id(tmp_path, written):
    path = write(tmp_path, "csv", {"id": [written, None]})
    with pytest.raises(SurveyError, match="lost their last digits"):
        read_entries(path, source(label_column=None))
    mixed = write(tmp_path, "csv", {"id": [written, "ngc_1275"]})
    assert [entry.name for entry in read_entries(mixed, source(label_column=None))] == [written, "ngc_1275"]


@pytest.mark.parametrize("suffix", FORMATS)
def test_a_missing_column_is_named_with_those_there_are(tmp_path, suffix):
    path = write(tmp_path, suffix, {"objid": [1], "class_name": ["a"]})
    with pytest.raises(
        SurveyError, match=rf"table.{suffix}: no column id, label; it has objid, class_name. Correct `source.id_column`"
    ):
        read_entries(path, source())


@pytest.mark.parametrize("suffix", [*FORMATS, "fits.gz", "xml", "votable", "fit"])
@pytest.mark.parametrize("content", [b"", b"\xff\xfe<VOTABLE>", b"SIMPLE  ="])
def test_a_file_that_is_no_table_is_one_error_that_names_it(tmp_path, suffix, content):
    path = tmp_path / f"table.{suffix}"
    with pytest.raises(SurveyError, match="table.*: no such file; correct `source.labels`"):
        read_entries(path, source())
    path.write_bytes(content)
    with pytest.raises(SurveyError, match=rf"table.{suffix}: (cannot be read as an? |no column id)"):
        read_entries(path, source())


def test_classes_are_text_or_whole_numbers(tmp_path):
    columns = {"id": ["a", "b"], "code": [3, None], "gap": [3.0, float("nan")], "p": [0.5, 0.1], "yes": [True, None]}
    path = write(tmp_path, "parquet", columns)
    labels = {c: [e.label for e in read_entries(path, source(label_column=c))] for c in ("code", "gap", "yes")}
    assert labels == {"code": ["3", None], "gap": ["3", None], "yes": ["True", None]}
    with pytest.raises(SurveyError, match="column p holds double values; a class is text.*`source.label_column`"):
        read_entries(path, source(label_column="p"))


def test_words_for_nothing_are_no_class(tmp_path):
    words = ["nan", "NaN", "null", "NA", "N/A", "None", "--", "", "none", "nano"]
    path = write(tmp_path, "csv", {"id": [f"g{i}" for i in range(len(words))], "label": words})
    entries, notes = read_labels(path, source())
    assert [entry.label for entry in entries] == [*[None] * 8, "none", "nano"]
    assert notes == [
        '8 rows give no class, such as row 1 (1 say "NaN", 1 say "null", 1 say "NA", 1 say "N/A", 1 say "None", '
        '1 say "--")'
    ]


@pytest.mark.parametrize("tail", ["NAT", "nat", "Nat", "NaT"])
def test_radio_galaxies_of_a_narrow_angle_are_a_class(tmp_path, tail):
    path = write(tmp_path, "csv", {"id": ["a", "b"], "label": [tail, "wat"]})
    assert [entry.label for entry in read_entries(path, source())] == [tail, "wat"]
    assert not is_no_class(tail), "and as the name of a folder"


@pytest.mark.parametrize("suffix", ["vot", "ecsv", "parquet"])
@pytest.mark.parametrize("unit", ["hourangle", "h"])
def test_hours_become_degrees(tmp_path, suffix, unit):
    table = Table({"id": ["a"], "ra": [1.5], "dec": [30.0]}, units={"ra": unit, "dec": "arcmin"})
    table.write(tmp_path / f"t.{suffix}", format={"vot": "votable", "ecsv": "ascii.ecsv"}.get(suffix, suffix))
    asked = source(label_column=None, ra_column="ra", dec_column="dec")
    (entry,) = read_entries(tmp_path / f"t.{suffix}", asked)
    assert (entry.ra, entry.dec) == pytest.approx((22.5, 0.5))


@pytest.mark.parametrize(("unit", "ra"), [("hourangle", 22.5), ("hours", 22.5), ("deg", 1.5), ("degrees", 1.5)])
def test_units_of_fits_columns_are_taken_as_people_write_them(tmp_path, unit, ra):
    columns = [
        fits.Column("id", "2A", array=["a"]),
        fits.Column("ra", "D", unit=unit, array=[1.5]),
        fits.Column("dec", "D", array=[-3.0]),
    ]
    fits.BinTableHDU.from_columns(columns).writeto(tmp_path / "t.fits")
    (entry,) = read_entries(tmp_path / "t.fits", source(label_column=None, ra_column="ra", dec_column="dec"))
    assert (entry.ra, entry.dec) == pytest.approx((ra, -3))


def test_a_unit_that_is_no_angle_and_text_that_is_no_number_are_refused(tmp_path):
    asked = source(label_column=None, ra_column="ra", dec_column="dec")
    path = write(tmp_path, "vot", {"id": ["a"], "ra": [1.0], "dec": [1.0]}, {"ra": "pix"})
    with pytest.raises(SurveyError, match="column ra has the unit 'pix', which is no angle.*`source.ra_column`"):
        read_entries(path, asked)
    path = write(tmp_path, "csv", {"id": ["a"], "ra": [1.0], "dec": ["south"]})
    with pytest.raises(SurveyError, match="column dec holds 'south'.*write it in degrees.*`source.dec_column`"):
        read_entries(path, asked)


@pytest.mark.parametrize(("unit", "ra"), [("hh:mm:ss", 150.0), ("h:m:s", 150.0), ("dd:mm:ss", 10.0)])
def test_units_of_text_are_known(tmp_path, unit, ra):
    path = write(tmp_path, "vot", {"id": ["a"], "ra": ["10:00:00"], "dec": ["-3:00:00"]}, {})
    path.write_text(path.read_text().replace('name="ra"', f'name="ra" unit="{unit}"'))
    (entry,) = read_entries(path, source(label_column=None, ra_column="ra", dec_column="dec"))
    assert (entry.ra, entry.dec) == pytest.approx((ra, -3))


def test_one_cell_that_is_no_angle_is_said_and_the_others_are_read(tmp_path):
    path = write(tmp_path, "csv", {"id": [*"abc"], "RA (rad)": [1.0, "?", None], "DEC (deg)": [-3, 5, "south"]})
    asked = source(label_column=None, ra_column="RA (rad)", dec_column="DEC (deg)")
    entries, notes = read_labels(path, asked)
    assert (
        entries[0][2:] == pytest.approx((np.degrees(1), -3)) and [one[2:] for one in entries[1:]] == [(None, None)] * 2
    )
    assert notes == ["1 positions are no angles or not on the sphere and count as unknown, such as that of row 2"]


@pytest.mark.parametrize(
    ("ra", "dec"), [("01:30:00", "-01:30:00"), ("1h30m", "-1d30m"), ("01 30 00", "-01 30 00"), ("22.5", "-1.5")]
)
def test_positions_in_parts_of_sixty_are_degrees(tmp_path, ra, dec):
    path = write(tmp_path, "csv", {"id": ["a"], "ra": [ra], "dec": [dec]})
    (entry,) = read_entries(path, source(label_column=None, ra_column="ra", dec_column="dec"))
    assert (entry.ra, entry.dec) == pytest.approx((22.5, -1.5))


def test_positions_off_the_sphere_are_unknown_and_said(tmp_path):
    path = write(tmp_path, "csv", {"id": [*"abcde"], "ra": [-999, -10, 10, -181, 361], "dec": [-999, 5, 91, 0, 0]})
    entries, notes = read_labels(path, source(label_column=None, ra_column="ra", dec_column="dec"))
    assert [(entry.ra, entry.dec) for entry in entries] == [(None, None), (350, 5), *[(None, None)] * 3]
    assert notes == ["4 positions are no angles or not on the sphere and count as unknown, such as that of row 1"]


def test_an_images_own_position_comes_before_the_tables(tmp_path):
    wcs = {"CTYPE1": "RA---TAN", "CTYPE2": "DEC--TAN", "CRVAL1": 150.0, "CRVAL2": 2.0, "CRPIX1": 10.5, "CRPIX2": 10.5}
    scale = {"CDELT1": -1e-4, "CDELT2": 1e-4}
    for name, header in (("own", wcs | scale), ("none", {})):
        fits.PrimaryHDU(np.ones((20, 20), np.float32), fits.Header(header)).writeto(tmp_path / f"{name}.fits")
    write(tmp_path, "csv", {"id": ["own", "none", "gone"], "ra": [1, 2, 3], "dec": [4, 5, 6]})
    asked = source(reader="fits_folder", labels="table.csv", label_column=None, ra_column="ra", dec_column="dec")
    reader = open_reader(asked, tmp_path)
    found = {row["galaxy_id"]: row for row in reader.catalogue("images").to_pylist()}
    assert (found["own"]["ra"], found["own"]["dec"]) == pytest.approx((150, 2))
    assert (found["none"]["ra"], found["none"]["dec"]) == (2, 5)
    assert "gone" not in found and reader.labelled()["ra"].to_pylist() == [1, 2, 3]


def test_of_several_tables_in_a_votable_the_first_with_rows_is_read_and_that_is_said(tmp_path):
    def table(name: str, *ids: str) -> str:
        rows = "".join(f"<TR><TD>{one}</TD></TR>" for one in ids)
        field = '<FIELD name="id" datatype="char" arraysize="*"/>'
        return f'<TABLE ID="{name}">{field}<DATA><TABLEDATA>{rows}</TABLEDATA></DATA></TABLE>'

    path = tmp_path / "t.vot"
    inner = table("empty") + table("mine", "a", "b") + table("other", "c")
    path.write_text(
        f'<VOTABLE version="1.3" xmlns="http://www.ivoa.net/xml/VOTable/v1.3"><RESOURCE>{inner}</RESOURCE></VOTABLE>'
    )
    entries, notes = read_labels(path, source(label_column=None))
    assert [one.name for one in entries] == ["a", "b"]
    assert "of 3 tables in the file number 2 is read: empty (0 rows), mine (2 rows), other (1 rows)" in notes[0]


def test_rows_kept_elsewhere_are_not_fetched(tmp_path):
    Table({"id": ["secret"]}).write(tmp_path / "rows.fits")
    path = tmp_path / "t.vot"
    path.write_text(
        '<VOTABLE version="1.3" xmlns="http://www.ivoa.net/xml/VOTable/v1.3"><RESOURCE><TABLE>'
        '<FIELD name="id" datatype="char" arraysize="*"/><DATA><FITS extnum="1">'
        f'<STREAM href="file://{tmp_path}/rows.fits"/></FITS></DATA></TABLE></RESOURCE></VOTABLE>'
    )
    with pytest.raises(SurveyError, match="its rows are at file://.*save it with its rows inside"):
        read_entries(path, source(label_column=None))


def test_nothing_in_a_table_is_executed(tmp_path):
    trace = tmp_path / "executed"
    path = write(tmp_path, "ecsv", {"id": ["a"]})
    header = path.read_text().replace("# schema:", "# meta: META\n# schema:")
    path.write_text(header.replace("META", f"{{note: [{trace}]}}"))
    assert read_entries(path, source(label_column=None))[0].name == "a"
    path.write_text(header.replace("META", f"{{note: !!python/object/apply:os.mkdir [{trace}]}}"))
    with pytest.raises(SurveyError, match="cannot be read as an ECSV table"):
        read_entries(path, source(label_column=None))
    assert not trace.exists()


def test_columns_of_a_position_go_together_and_need_a_table(tmp_path):
    path = tmp_path / "mine.yaml"
    start = "name: mine\ntitle: t\ndescription: d\nsource: {reader: image_folder, path: x, "
    path.write_text(start + "labels: l.csv, ra_column: ra}\n")
    with pytest.raises(SurveyError, match="ra_column and dec_column go together"):
        read_survey(path)
    path.write_text(start + "dec_column: dec, ra_column: ra}\n")
    with pytest.raises(SurveyError, match="columns of `labels`"):
        read_survey(path)


def fits_table(rows: int = 30) -> bytes:
    ids = fits.Column("id", "4A", array=[f"g{i}" for i in range(rows)])
    written = io.BytesIO()
    fits.HDUList([fits.PrimaryHDU(), fits.BinTableHDU.from_columns([ids])]).writeto(written)
    return written.getvalue()


def flipped(before: bytes, after: bytes) -> bytes:
    assert len(before) == len(after) and fits_table().count(before) == 1
    return fits_table().replace(before, after)


ROWS = b"NAXIS2  =                   %2d"
ECSV = "# %ECSV 1.0\n# ---\n# datatype:\n# - {name: id, datatype: string}\n# schema: astropy-2.0\nid\n"


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("t.fits", flipped(ROWS % 30, ROWS % 10), "more than the 10 rows"),
        ("t.fits", flipped(ROWS % 30, ROWS % 0), "more than the 0 rows"),
        ("t.fits", fits_table(1000)[:-2880], "header has 1000 rows, 4000 bytes, of which"),
        ("t.fits.gz", gzip.compress(flipped(ROWS % 30, ROWS % 29)), "more than the 29 rows"),
        ("t.fits", flipped(b"NAXIS1  =                    4", b"NAXIS1  =                    2"), "more than the 30"),
        ("t.ecsv", (ECSV + 'a\n"b\nc"\nd\n').encode(), "4 lines give 3 rows; the first quote is in line 8"),
        ("t.parquet", bytes(100), "cannot be read as a Parquet table"),
    ],
)
def test_a_table_that_gives_fewer_rows_than_it_holds_is_refused(tmp_path, name, content, says):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(SurveyError, match=says):
        read_table(tmp_path / name)


def test_whole_tables_give_all_their_rows(tmp_path):
    (tmp_path / "t.fits").write_bytes(fits_table())
    (tmp_path / "t.ecsv").write_text(ECSV + "a\n# no row\n\nb\n")
    assert len(read_table(tmp_path / "t.fits")) == 30 and len(read_table(tmp_path / "t.ecsv")) == 2


@pytest.mark.parametrize("kept", [True, False], ids=["as a dictionary", "as texts"])
def test_a_column_of_one_long_text_is_not_written_out(tmp_path, kept):
    ids = pa.DictionaryArray.from_arrays(pa.array([0] * 1100, pa.int32()), ["x" * 10**6])
    with pq.ParquetWriter(tmp_path / "t.parquet", pa.schema([("id", ids.type)]), store_schema=kept) as to:
        to.write_table(pa.table({"id": ids}))
    assert (tmp_path / "t.parquet").stat().st_size < 10**7
    with pytest.raises(SurveyError, match="column id has 1100000000 bytes when it is written out"):
        read_table(tmp_path / "t.parquet")


def test_votes_with_a_stray_quote_are_refused_with_its_line(tmp_path):
    name = "smooth-or-featured_smooth_fraction"
    lines = [f"iauname,note,{name}", *(f"J{i},n,0.5" for i in range(30))]
    lines[3], lines[26] = lines[3].replace("n,", '"n,'), lines[26].replace("n,", 'n",')
    (tmp_path / "votes.csv").write_text("\n".join(lines) + "\n")
    with pytest.raises(VotesError, match="30 lines give 7 rows; the first quote is in line 4"):
        read_columns(tmp_path / "votes.csv", ["iauname", name])


VIZIER = """#
#   VizieR Astronomical Server vizier.u-strasbg.fr
#Column\tobjID\t(I18)\tIdentifier\t[ucd=meta.id]
#Column\tCl\t(A4)\tclass\t[ucd=src.class]
{names}
{units}
------------------\t----------\t----------\t----
{rows}

#END#
"""


@pytest.mark.parametrize(
    ("units", "ra", "dec"),
    [
        (" \tdeg\tdeg\t ", "188.73625", "-5.5125"),
        ("\tdeg\tdeg", "188.73625", "-5.5125"),
        (' \t"h:m:s"\t"d:m:s"\t ', "12 34 56.7", "-05 30 45"),
        (" \trad\trad\t ", str(np.radians(188.73625)), str(np.radians(-5.5125))),
        (" \t\t\t ", "188.73625", "-5.5125"),
    ],
)
def test_the_units_and_dashes_of_vizier_are_no_rows_and_its_units_count(tmp_path, units, ra, dec):
    rows = "\n".join(f"{objid}\t{ra}\t{dec}\tFRI" for objid in OBJIDS)
    path = tmp_path / "asu.tsv"
    path.write_text(VIZIER.format(names="objID\tRAJ2000\tDEJ2000\tCl", units=units, rows=rows))
    columns = {"id_column": "objID", "ra_column": "RAJ2000", "dec_column": "DEJ2000", "label_column": "Cl"}
    entries, notes = read_labels(path, source(**columns))
    assert [(one.name, one.label) for one in entries] == [(str(objid), "FRI") for objid in OBJIDS]
    np.testing.assert_allclose([entries[0].ra, entries[0].dec], [188.73625, -5.5125], atol=1e-9)
    assert all("comment" in note for note in notes), notes
