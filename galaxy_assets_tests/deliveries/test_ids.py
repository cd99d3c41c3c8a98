"""What an image is called, and which image a row of a table is about: one rule for everything that names images."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from galaxy_assets.deliveries.ids import (
    ABSENT,
    SEVERAL,
    NamedImages,
    NamedRows,
    ids_meant,
    image_name,
    image_path,
    told_apart,
)
from galaxy_assets.deliveries.readers.catalogue import distinct_ids


@pytest.mark.parametrize(
    ("file", "name", "path"),
    [
        ("images/a.PNG", "a", "images/a"),
        ("b1/x/a.fits.gz", "a", "b1/x/a"),
        ("b1.zip!/x/a.jpg", "a", "b1/x/a"),
        ("b1.parquet!/2/a.jpg", "a", "b1/a"),
        ("J000411.19+020924.0.png", "J000411.19+020924.0", "J000411.19+020924.0"),
        ("a.fits.png", "a.fits", "a.fits"),
        ("gale\u0301xia.tif", "gal\u00e9xia", "gal\u00e9xia"),
    ],
)
def test_an_image_is_called_as_its_file_without_one_suffix(file, name, path):
    assert (image_name(file), image_path(file)) == (name, path)


def test_names_have_their_folders_where_they_are_not_unique():
    files = ["train/spirals/1.png", "train/smooth/1.png", "train/smooth/2.png", "train/smooth/2.jpg", "train/x/3.png"]
    assert told_apart(files) == ["train/spirals/1", "train/smooth/1", "2", "2", "train/x/3".rpartition("/")[2]]
    assert told_apart(["b/1.png", "b/2.png"], taken={"1", "2"}, again=["b/2.png"]) == ["b/1", "2"]


IMAGES = {
    "g0": "images/g0.png",
    "x.jpeg": "images/x.jpeg.png",
    "x": "images/x.png",
    "trailing ": "images/trailing .png",
    "back\\slash": "images/back\\slash.png",
    "t/a/1": "t/a/1.png",
    "t/b/1": "t/b/1.png",
    "t/b/1#2": "t/b/1.jpg",
    "UP": "images/UP.png",
    "up": "images/up.png",
    "00042": "images/00042.png",
    "7": "images/7.png",
    "007": "images/007.png",
    "SDSS_J100000.12-010000.4": "images/SDSS_J100000.12-010000.4.png",
    "NGC1": "images/NGC1.png",
    "a_1_2": "images/a_1_2.png",
    "b_1": "images/b_1.png",
    "b 1": "images/b 1.png",
}


@pytest.mark.parametrize(
    ("row", "found"),
    [
        ("g0", "g0"),
        (" g0 ", "g0"),
        ("G0", "g0"),
        ("g0.png", "g0"),
        ("g0.fits", "g0"),
        ("g0.fits.gz", "g0"),
        ("g0.TIF", "g0"),
        ("./g0.png", "g0"),
        ("/data/cutouts/train/g0.png", "g0"),
        ("C:\\data\\g0.png", "g0"),
        ("x.jpeg", "x.jpeg"),
        ("x.jpeg.png", "x.jpeg"),
        ("x", "x"),
        ("trailing ", "trailing "),
        ("back\\slash.png", "back\\slash"),
        ("t/a/1", "t/a/1"),
        ("t/a/1.png", "t/a/1"),
        ("a/1.png", "t/a/1"),
        ("/abs/t/b/1.png", "t/b/1"),
        ("1.png", SEVERAL),
        ("1", SEVERAL),
        ("t/c/1.png", ABSENT),
        ("up", "up"),
        ("UP.png", "UP"),
        ("Up", SEVERAL),
        ("42", "00042"),
        ("42.0", "00042"),
        ("42,0", "00042"),
        ("7", "7"),
        ("7.0", SEVERAL),
        ("42.5", ABSENT),
        ("SDSS J100000.12\u2212010000.4", "SDSS_J100000.12-010000.4"),
        ("sdssj100000.12-010000.4.fits", "SDSS_J100000.12-010000.4"),
        ("NGC 1", "NGC1"),
        ("A 1 2", "a_1_2"),
        ("a_12", ABSENT),
        ("b_1.jpg", "b_1"),
        ("b 1", "b 1"),
        ("B_1", "b_1"),
        ("B1", SEVERAL),
        ("elsewhere", ABSENT),
        ("nothing", ABSENT),
    ],
)
def test_a_row_is_about_the_image_it_names(row, found):
    matches = NamedImages(IMAGES, {"elsewhere"}).match([row])
    about = {image: rows for image, rows in zip(IMAGES, matches.rows, strict=True) if rows}
    assert about == ({} if found in (SEVERAL, ABSENT) else {found: [0]})
    assert matches.unused == ({0: found} if found in (SEVERAL, ABSENT) else {})


def test_of_images_that_differ_in_blanks_a_row_in_another_case_is_about_the_one_with_its_blanks():
    names = [f"{stem}{i}" for stem in ("g", "g_") for i in range(20)]
    rows = NamedImages({name: f"{name}.png" for name in names}).match([name.upper() for name in names])
    assert rows == ([[i] for i in range(40)], {})
    assert NamedImages({"_5": "_5.png", "5": "5.png"}).match(["05", "5.0"]).rows == [[], [0, 1]]
    assert NamedImages({"_12": "_12.png", "12": "12.png"}).match(["012"]).rows == [[], [0]]
    assert NamedImages({"NGC_1": "NGC_1.png", "NGC1": "NGC1.png"}).match(["NGC 1"]).unused == {0: SEVERAL}
    later = NamedImages({"g_0": "b2/g_0.png"}, taken={"g0"})
    assert later.match(["G_0", "G0", "G 0"]) == ([[0]], {1: ABSENT, 2: SEVERAL})


def test_no_two_images_get_one_row_whose_name_differs_in_blanks():
    assert NamedImages({"x1": "x1.png"}).match(["x 1", "x_1"]).rows == [[0, 1]]
    assert NamedImages({"x1": "x1.png"}).match(["x 1", "x1", "X1"]) == ([[1, 2]], {0: ABSENT})
    later = NamedImages({"x1": "b2/x1.png"}, taken={"x_1"})
    assert later.match(["x 1", "x_1", "x1"]) == ([[2]], {0: SEVERAL, 1: ABSENT})
    assert NamedImages({"b2/x1": "b2/x1.png"}, taken={"x1"}).match(["b2/x 1", "x 1"]) == ([[0]], {1: SEVERAL})


def test_no_row_of_a_person_is_lost_by_how_another_spells_the_image():
    images = {"g_0a": "g_0a.png"}
    assert NamedImages(images).match(["g_0a", "g 0a"], ["anna", "ben"]) == ([[0, 1]], {})
    assert NamedImages(images).match(["g_0a", "g 0a", "G0a"], ["anna", "ben", "anna"]) == ([[0, 1]], {2: ABSENT})
    assert ids_meant(["g_0a", "G 0a"], images, ["anna", None]) == (["g_0a", "g_0a"], {})
    assert ids_meant(["g_0a", "G 0a"], images, [None, None])[1] == {"G 0a": ABSENT}


def test_a_name_in_several_folders_of_a_table_is_about_no_image_of_another_folder():
    images = {"a": "b1/a.png"}
    assert NamedImages(images).match(["elsewhere/a.png"]).rows == [[0]]
    assert NamedImages(images).match(["x/a.png", "y/a.png"]).unused == {0: ABSENT, 1: ABSENT}
    assert NamedImages(images).match(["x/a.png", "b1/a.png"]).rows == [[1]]


NAMES = st.text("ab/", min_size=1, max_size=5).map(lambda name: name.strip("/") or "a")


@given(st.lists(NAMES, unique=True, max_size=6))
def test_ids_are_distinct_and_every_image_is_found_by_its_id_and_by_its_file(stems):
    files = [f"{stem}.png" for stem in stems]
    ids = distinct_ids(told_apart(files))
    assert len(set(ids)) == len(files)
    images = dict(zip(ids, files, strict=True))
    for names in (ids, files):
        whole = [NamedImages(images).match([name]).rows for name in names]
        assert all(rows[i] == [0] for i, rows in enumerate(whole))


@given(st.lists(st.sampled_from([*IMAGES, *IMAGES.values(), "42", "/abs/t/b/1.png", "x/g0.fits", "1", "z.png"])))
def test_people_name_galaxies_by_the_rule_of_tables(names):
    meant, unused = ids_meant(names, IMAGES)
    matches = NamedImages(IMAGES).match(names)
    about = {row: image for image, rows in zip(IMAGES, matches.rows, strict=True) for row in rows}
    assert meant == [about.get(row, name) for row, name in enumerate(names)]
    assert unused == {names[row]: why for row, why in matches.unused.items()}


@given(st.lists(st.sampled_from([*IMAGES, *IMAGES.values(), "42", "42,0", "/abs/t/b/1.png", "x/g0.fits", "1", "u/1"])))
def test_rows_that_are_looked_up_are_those_that_are_matched_one_by_one(names):
    table, parts = NamedRows(names), [dict([*IMAGES.items()][i::3]) for i in range(3)]
    for part in [IMAGES, *parts, {}]:
        images = NamedImages(part, {"x"}, {"7", "g0"})
        assert images.rows_about(table) == images.match(names).rows


@pytest.mark.parametrize(
    ("row", "found"),
    [
        ("0", SEVERAL),
        ("0.png", SEVERAL),
        ("00", SEVERAL),
        ("f1/0.png", [0]),
        ("/data/f1/0", [0]),
        ("f2/0.png", ABSENT),
        ("1", [1]),
        ("f9/1", [1]),
    ],
)
def test_a_name_that_another_deliverys_image_has_too_needs_its_folder(row, found):
    matches = NamedImages({"0": "f1/0.png", "1": "f1/1.png"}, several={"0"}).match([row])
    assert [i for i, rows in enumerate(matches.rows) if rows] == (found if isinstance(found, list) else [])
    assert matches.unused.get(0, found) == found


def test_another_deliverys_galaxy_is_not_meant():
    images = {"1": "2026_01/1.png", "2026_02/1": "2026_02/1.png"}
    assert ids_meant(["2026_03/1.png"], images) == (["2026_03/1.png"], {"2026_03/1.png": ABSENT})
    assert ids_meant(["42", "/mnt/x/2026_02/1.png"], {**images, "00042": "2026_01/00042.png"})[0] == [
        "00042",
        "2026_02/1",
    ]
