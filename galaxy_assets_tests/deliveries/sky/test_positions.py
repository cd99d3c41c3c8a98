"""Positions out of tables as people have them, and the ids and file names made of them."""

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from astropy import units
from astropy.coordinates import SkyCoord
from astropy.table import Table

from galaxy_assets.deliveries.sky.names import file_stem, position_id
from galaxy_assets.deliveries.sky.positions import Columns, keep_positions, read_positions
from galaxy_assets.settings.files import SurveyError

RA, DEC = [188.73625, 0.5, 359.999], [-5.5125, 89.25, 0.0]
SKY = SkyCoord(RA, DEC, unit="deg")


def read(path, suffix=".png", **columns):
    return read_positions(path, Columns(**columns), suffix)


def write(tmp_path, text, name="t.csv"):
    path = tmp_path / name
    path.write_text(text, encoding="utf-8")
    return path


def places(read_):
    return np.array([read_.table["ra"].to_pylist(), read_.table["dec"].to_pylist()])


TEXT = {
    "degrees": ("ra,dec", [f"{a},{b}" for a, b in zip(RA, DEC, strict=True)], None),
    "upper case": ("RAJ2000,DEJ2000", [f"{a},{b}" for a, b in zip(RA, DEC, strict=True)], None),
    "colons": ("ra,dec", SKY.to_string("hmsdms", sep=":", precision=6), None),
    "letters": ("ra,dec", SKY.to_string("hmsdms", precision=6), None),
    "blanks": ("RA (J2000),Dec (J2000)", SKY.to_string("hmsdms", sep=" ", precision=6), None),
    "degrees and letters": ("ra,dec", SKY.to_string("dms", precision=6), None),
    "colons of degrees": ("ra,dec", SKY.to_string("dms", sep=":", precision=6), "deg"),
    "hours said": ("ra,dec", [f"{a / 15},{b}" for a, b in zip(RA, DEC, strict=True)], "hourangle,deg"),
    "hours in the name": ("ra [h],dec [deg]", [f"{a / 15},{b}" for a, b in zip(RA, DEC, strict=True)], None),
    "radians said": ("ra,dec", [f"{np.radians(a)},{np.radians(b)}" for a, b in zip(RA, DEC, strict=True)], "rad"),
    "radians in names": ("ra_rad,dec_rad", [f"{a},{b}" for a, b in zip(*np.radians([RA, DEC]), strict=True)], None),
    "negative": ("ra,dec", [f"{a - 360 if a > 180 else a},{b}" for a, b in zip(RA, DEC, strict=True)], None),
    "signs of print": ("ra,dec", ["188.73625,−5.5125", '0h02m00s,89°15′00″', "359.999,0"], None),
}  # fmt: skip


@pytest.mark.parametrize("case", TEXT)
def test_text_of_any_kind_is_the_same_position(case, tmp_path):
    header, rows, unit = TEXT[case]
    # astropy writes both coordinates with a blank between, which the third blank of six numbers is too
    rows = [row if "," in row else comma(row) for row in rows]
    made = read(write(tmp_path, "\n".join([header, *rows])), units=unit)
    np.testing.assert_allclose(places(made), [RA, DEC], atol=1e-8)


def comma(row: str) -> str:
    words = row.split(" ")
    return f"{' '.join(words[: len(words) // 2])},{' '.join(words[len(words) // 2 :])}"


@pytest.mark.parametrize("unit", ["deg", "rad", "hourangle", "h", "arcsec", "arcmin"])
@pytest.mark.parametrize("name", ["t.vot", "t.fits", "t.ecsv", "t.parquet"])
def test_units_of_the_columns_count(unit, name, tmp_path):
    in_it = units.hourangle if unit == "h" else units.Unit(unit)
    table = Table({"RA": SKY.ra.to(in_it).value * units.Unit(unit), "Dec": SKY.dec})
    path = tmp_path / name
    if name == "t.fits" and unit == "hourangle":
        table["RA"].unit = units.hour  # FITS has no hour angles
    table.write(path, **({"format": "votable"} if name == "t.vot" else {}))
    np.testing.assert_allclose(places(read(path)), [RA, DEC], atol=1e-9)


def test_text_with_the_units_of_vizier(tmp_path):
    table = Table({"RAJ2000": ["12 34 56.7"], "DEJ2000": ["-05 30 45"], "Name": ["a"]})
    table["RAJ2000"].unit, table["DEJ2000"].unit = '"h:m:s"', '"d:m:s"'
    table.write(tmp_path / "t.vot", format="votable")
    made = read(tmp_path / "t.vot")
    np.testing.assert_allclose(places(made)[:, 0], [188.73625, -5.5125], atol=1e-9)
    assert made.table["id"].to_pylist() == ["a"]


def test_a_row_of_units_above_a_line_of_dashes_is_that_of_vizier(tmp_path):
    rows = "12 34 56.7\t-05 30 45\ta\n13 00 00\t+01 00 00\tb\n"
    (tmp_path / "t.tsv").write_text(f'#x\nRAJ2000\tDEJ2000\tName\n"h:m:s"\t"d:m:s"\t \n---\t---\t---\n{rows}')
    made = read(tmp_path / "t.tsv")
    np.testing.assert_allclose(places(made)[:, 0], [188.73625, -5.5125], atol=1e-9)
    assert made.table["id"].to_pylist() == ["a", "b"] and not any("no position" in note for note in made.notes)
    (tmp_path / "t.tsv").write_text("ra;dec;name\nrad;rad; \n---;---;----\n1;0.5;a\n2;0.1;b\n")
    np.testing.assert_allclose(places(read(tmp_path / "t.tsv"))[:, 0], np.degrees([1, 0.5]))


def test_a_unit_that_is_no_angle_is_refused(tmp_path):
    Table({"ra": [1.0] * units.m, "dec": [1.0] * units.deg}).write(tmp_path / "t.fits")
    with pytest.raises(SurveyError, match="column ra has the unit 'm', which is no angle.*--units"):
        read(tmp_path / "t.fits")
    assert places(read(tmp_path / "t.fits", units="deg"))[0, 0] == 1


def test_hours_and_radians_without_a_unit_are_told(tmp_path):
    hours = write(tmp_path, "ra,dec\n" + "\n".join(f"{i},{10 * i}" for i in range(1, 8)))
    assert any("--units hourangle,deg" in note for note in read(hours).notes)
    radians = write(tmp_path, "ra,dec\n" + "\n".join(f"{i / 2},{i / 10}" for i in range(1, 8)))
    assert any("--units rad" in note for note in read(radians).notes)
    degrees = write(tmp_path, "ra,dec\n" + "\n".join(f"{i * 20},{i}" for i in range(1, 8)))
    assert not any("--units" in note for note in read(degrees).notes)


def test_no_row_is_lost_and_none_without_a_position_is_asked_for(tmp_path):
    rows = ["a,1,2", "b,,3", "c,-999,4", "d,5,91", "e,oops,6", "f,10:61:00,7", "g,nan,8", "a,1,2", ",9,9", ",9,9"]
    made = read(write(tmp_path, "name,ra,dec\n" + "\n".join(rows)))
    assert made.table["id"].to_pylist() == ["a", "b", "c", "d", "e", "f", "g", "J003600.00+090000.0"]
    there = [file is not None for file in made.table["file"].to_pylist()]
    assert there == [True, False, False, False, False, False, False, True]
    assert [ra is not None for ra in made.table["ra"].to_pylist()] == there
    assert any("6 rows have no position on the sphere, such as row 2: , 3" in note for note in made.notes)
    assert any("2 rows repeat" in note for note in made.notes)


def test_one_id_at_two_places_is_two_objects_and_told(tmp_path):
    made = read(write(tmp_path, "id,ra,dec\na,1,2\na,1.1,2\na#2,3,3\n"))
    assert made.table["id"].to_pylist() == ["a", "a#3", "a#2"]
    assert len(set(made.table["file"].to_pylist())) == 3
    assert any("1 ids occur at several positions; a is also a#3" in note for note in made.notes)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("x,y\n1,2\n", "which columns are right ascension.*It has x, y.*--ra-column"),
        ("ra,dec\n", "holds no row"),
        ("ra,dec\nN/A,N/A\n", "no row has a position"),
        ("id,ra,dec\n1.5E+17,1,2\n", "column id holds ids such as 1.5E[+]17, which went through decimal.*--id-column"),
    ],
)
def test_a_table_that_is_not_clear_is_refused_in_words(text, message, tmp_path):
    with pytest.raises(SurveyError, match=message):
        read(write(tmp_path, text))


def test_columns_can_be_named_and_must_be_there(tmp_path):
    path = write(tmp_path, "who,x,y,kind\na,1,2,s\n")
    made = read(path, id="who", ra="x", dec="y", label="kind")
    assert made.table.to_pylist() == [{"id": "a", "file": "a.png", "ra": 1.0, "dec": 2.0, "label": "s"}]
    with pytest.raises(SurveyError, match="no column z.*Correct --dec-column"):
        read(path, ra="x", dec="z")
    with pytest.raises(SurveyError, match="go together"):
        read(path, ra="x")
    with pytest.raises(SurveyError, match="one unit for both"):
        read(path, ra="x", dec="y", units="deg,deg,deg")


@pytest.mark.parametrize(("ra", "dec", "name"), [
    (188.736250, 57.211139, "J123456.70+571240.1"),
    (10.6847083, -41.26875, "J004244.32-411607.5"),
    (359.9999999, -89.99999, "J235959.99-895959.9"),
    (0.0, 0.0, "J000000.00+000000.0"),
    (188.7373, 0.0, "J123456.95+000000.0"),
])  # fmt: skip
def test_an_id_made_of_a_position_is_cut_off_and_not_rounded(ra, dec, name):
    assert position_id(ra, dec) == name


HOSTILE = [
    "../../x", "=cmd|' /C calc'!A0", "a\nb\x1b[31m\x00", "x" * 5000, "abc", "ABC", "Abc", "銀河 1", "é", "e\u0301x",
    "..", ".", ".hidden", "con", "NUL.txt", "a/b", "a\\b", "C:\\x", "-rf", "a.", " ", "*?", "part_0001",
    "x.partial", "x.png", "\u202eabc",
]  # fmt: skip


def test_hostile_ids_stay_ids_and_their_files_are_harmless(tmp_path):
    n = len(HOSTILE)
    pq.write_table(pa.table({"name": HOSTILE, "ra": np.arange(float(n)), "dec": [0.0] * n}), tmp_path / "t.parquet")
    made = read(tmp_path / "t.parquet")
    ids, files = made.table["id"].to_pylist(), made.table["file"].to_pylist()
    changed = {" ": "J012000.00+000000.0", "e\u0301x": "éx", "\u202eabc": r"\u202eabc"}
    changed["a\nb\x1b[31m\x00"] = r"a\nb\x1b[31m\x00"  # as in every catalogue, what cannot be printed is escaped
    expected = [changed.get(name, name) for name in HOSTILE]
    assert ids == expected
    assert len({file.lower() for file in files}) == len(files)
    for file in files:
        assert file.isascii() and len(file) <= 110 and file.endswith(".png") and file[0] not in ".-"
        assert not set(file) - set("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789+._-")
        assert file.partition(".")[0].lower() not in ("con", "nul")
    assert (files[4], files[22]) == ("abc.png", "part_0001.png") and files[5].startswith("ABC_")


def test_a_name_does_not_depend_on_what_follows():
    taken: set[str] = set()
    names = [file_stem(galaxy, taken) for galaxy in HOSTILE]
    assert names[:5] == [file_stem(galaxy, set()) for galaxy in HOSTILE[:5]] and len(taken) == len(HOSTILE)


def test_a_table_may_grow_and_nothing_in_it_may_move(tmp_path):
    first = read(write(tmp_path, "id,ra,dec\nA,1,2\nb,3,4\n")).table
    assert keep_positions(tmp_path, first).equals(first)
    more = read(write(tmp_path, "id,ra,dec\na,5,6\nb,3,4\nc,7,8\nA,1,2\n")).table
    kept = keep_positions(tmp_path, more)
    assert kept["id"].to_pylist() == ["A", "b", "a", "c"]
    assert kept["file"].to_pylist()[:2] == ["A.png", "b.png"] and kept["file"].to_pylist()[2].startswith("a_")
    assert keep_positions(tmp_path, first).equals(kept)  # nobody is dropped
    with pytest.raises(SurveyError, match="b was at 3.0, 4.0 and is now at 3.0, 4.1"):
        keep_positions(tmp_path, read(write(tmp_path, "id,ra,dec\nb,3,4.1\n")).table)


def test_classes_are_those_of_the_last_table(tmp_path):
    keep_positions(tmp_path, read(write(tmp_path, "id,ra,dec\nA,1,2\nb,3,4\n")).table)
    with_classes = keep_positions(tmp_path, read(write(tmp_path, "id,ra,dec,k\nc,5,6,x\nb,3,4,y\n"), label="k").table)
    assert with_classes.select(["id", "label"]).to_pylist() == [
        {"id": "A", "label": None}, {"id": "b", "label": "y"}, {"id": "c", "label": "x"}
    ]  # fmt: skip
    kept = keep_positions(tmp_path, read(write(tmp_path, "id,ra,dec\nd,1,2\n")).table)
    assert kept["label"].to_pylist() == [None, "y", "x", None]


def test_classes_that_no_survey_could_read_are_refused(tmp_path):
    pq.write_table(pa.table({"ra": [1.0], "dec": [2.0], "p": [0.25]}), tmp_path / "t.parquet")
    with pytest.raises(SurveyError, match="--label-column p holds double values; a class is text"):
        read(tmp_path / "t.parquet", label="p")
    pq.write_table(pa.table({"ra": [1.0], "dec": [2.0], "p": [3]}), tmp_path / "t.parquet")
    kept = keep_positions(tmp_path, read(tmp_path / "t.parquet", label="p").table)
    assert kept["label"].to_pylist() == ["3"]


@pytest.mark.parametrize("dec", ["1.0", "+05:30:00"])
def test_declinations_in_hours_are_refused(tmp_path, dec):
    table = write(tmp_path, f"id,ra,dec\na,1.5,{dec}\n")
    with pytest.raises(SurveyError, match="column dec: declinations are in no hours; give --units hourangle,deg"):
        read(table, units="hourangle")
    (row,) = read(table, units="hourangle,deg").table.to_pylist()
    assert row["ra"] == 22.5 and row["dec"] == (1.0 if dec == "1.0" else 5.5)


def test_a_column_of_kinds_is_no_column_of_ids(tmp_path):
    made = read(write(tmp_path, "source,object,ra,dec\n" + "".join(f"sdss,{'gs'[i % 2]},{i},{i}\n" for i in range(5))))
    assert made.table["id"].to_pylist()[1] == "J000400.00+010000.0"
    some = read(write(tmp_path, "name,ra,dec\n" + "".join(f"{'b' if i == 3 else ''},{i},{i}\n" for i in range(5))))
    assert some.table["id"].to_pylist()[2:4] == ["J000800.00+020000.0", "b"]
    assert read(write(tmp_path, "source,ra,dec\na,1,2\nb,3,4\nb,5,6\n")).table["id"].to_pylist() == ["a", "b", "b#2"]
