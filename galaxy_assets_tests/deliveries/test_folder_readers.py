"""Readers of folders: the official Galaxy Zoo layout, image folders and FITS folders, with all that goes wrong."""

import csv
import hashlib
import os
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from astropy.coordinates import FK4, FK5, FK4NoETerms, SkyCoord
from astropy.io import fits
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from pyarrow import csv as arrow_csv
from pyarrow import parquet

from galaxy_assets.deliveries.delivery import batch_name
from galaxy_assets.deliveries.images import UnreadableImage
from galaxy_assets.deliveries.onboarding.inspect import inspect
from galaxy_assets.deliveries.readers import made_by_first_run, open_reader, reader_in_place
from galaxy_assets.deliveries.readers.catalogue import CATALOGUE_SCHEMA, LABELLED_SCHEMA, distinct_ids
from galaxy_assets.deliveries.readers.galaxy_zoo_decals import position_of
from galaxy_assets.science.votes import VotesError, delivered_columns
from galaxy_assets.settings.files import SurveyError
from galaxy_assets.settings.source import Source

REAL = os.environ.get("GALAXY_ASSETS_REAL_DATA")
real_data = pytest.mark.skipif(not REAL, reason="GALAXY_ASSETS_REAL_DATA is not set")


def put(path: Path, size: tuple[int, int] = (20, 24), value: int = 9) -> Path:
    """Write an image of `size` (height, width)."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.full((*size, 3), value, np.uint8)).save(path)
    return path


def put_fits(path: Path, data: np.ndarray, **header) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    fits.PrimaryHDU(data, fits.Header(header)).writeto(path)
    return path


def put_labels(path: Path, *rows: tuple[str, str], header=("id", "label")) -> None:
    with path.open("w", newline="", encoding="utf-8") as stream:
        csv.writer(stream).writerows([header, *rows])


def folder(raw: Path, **settings):
    return open_reader(Source(reader="image_folder", path="survey", **settings), raw)


def rows(reader, batch: str = "images") -> dict[str, dict]:
    table = reader.catalogue(batch)
    assert table.schema.equals(CATALOGUE_SCHEMA)
    ids = table["galaxy_id"].to_pylist()
    assert ids == sorted(set(ids))
    return {row["galaxy_id"]: row for row in table.to_pylist()}


# --- image folders


def test_a_row_says_what_the_file_is(tmp_path):
    path = put(tmp_path / "survey/images/a.png")
    (row,) = rows(folder(tmp_path)).values()
    assert row == dict.fromkeys(CATALOGUE_SCHEMA.names) | {
        "galaxy_id": "a",
        "batch": "images",
        "file": "images/a.png",
        "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
        "width": 24,
        "height": 20,
    }


def test_subfolders_are_deliveries_and_loose_images_are_one_more(tmp_path):
    for file in ("b2/x.png", "b1/deep/y.JPG", "loose.jpeg", ".hidden/z.png", "__MACOSX/._x.png", "empty/readme.txt"):
        path = tmp_path / "survey" / file
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.zeros((20, 20, 3), np.uint8)).save(path, format="PNG")
    reader = folder(tmp_path)
    assert reader.batches() == ["b1", "b2", "images"]
    assert {r["file"] for b in reader.batches() for r in rows(reader, b).values()} == {
        "b1/deep/y.JPG",
        "b2/x.png",
        "loose.jpeg",
    }
    assert reader.votes() is None


def test_nothing_there_is_one_clear_error(tmp_path):
    with pytest.raises(SurveyError, match="no such folder.*images.*source.path"):
        folder(tmp_path)
    (tmp_path / "survey").mkdir()
    with pytest.raises(SurveyError, match="no images found"):
        folder(tmp_path).batches()


def test_unknown_delivery_and_unusable_folder_names_are_errors(tmp_path):
    put(tmp_path / "survey/b1/a.png")
    with pytest.raises(SurveyError, match="no delivery 'b2'; there are b1"):
        folder(tmp_path).catalogue("b2")
    put(tmp_path / "gz/part 1/J004/J004544.11-005037.5.png")
    with pytest.raises(SurveyError, match="part 1: rename"):
        zoo(tmp_path).batches()


def test_a_subfolder_of_any_name_is_a_delivery(tmp_path):
    put(tmp_path / "survey/März 2024/a.png")
    put(tmp_path / "survey/Field 1/b.png")
    reader = folder(tmp_path)
    assert reader.batches() == ["Field_1", "März_2024"]
    assert rows(reader, "März_2024")["a"]["file"] == "März 2024/a.png"


def test_every_bad_image_is_a_row(tmp_path):
    images = tmp_path / "survey/images"
    put(images / "good.png")
    put(images / "tiny.png", (1, 1))
    put(images / "wide.png", (20, 20_000))
    (images / "empty.png").write_bytes(b"")
    (images / "text.png").write_text("sorry, not found")
    (images / "outside.png").symlink_to(put(tmp_path / "elsewhere.png"))
    (images / "broken_link.png").symlink_to(images / "gone.png")
    found = rows(folder(tmp_path))
    assert {name: row["problem"] for name, row in found.items()} == {
        "good": None,
        "tiny": "too_small",
        "wide": "too_large",
        "empty": "unreadable",
        "text": "unreadable",
        "outside": "unreadable",
        "broken_link": "unreadable",
    }
    assert (found["wide"]["width"], found["tiny"]["height"], found["empty"]["width"]) == (20_000, 1, None)
    assert found["outside"]["sha256"] is None and "leads out" in found["outside"]["reason"]
    assert all(row["reason"] for row in found.values() if row["problem"])


def test_a_truncated_image_is_a_row_and_unreadable_when_decoded(tmp_path):
    path = tmp_path / "survey/images/cut.png"
    path.parent.mkdir(parents=True)
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (99, 99, 3), dtype=np.uint8)).save(path)
    path.write_bytes(path.read_bytes()[:5000])
    reader = folder(tmp_path)
    assert rows(reader)["cut"]["width"] == 99
    with pytest.raises(UnreadableImage, match="truncated"):
        reader.image("images/cut.png")


def test_image_refuses_files_outside_the_survey(tmp_path):
    put(tmp_path / "survey/images/a.png")
    put(tmp_path / "secret.png")
    with pytest.raises(UnreadableImage, match="leads out"):
        folder(tmp_path).image("../secret.png")


def test_labels_without_images_are_no_rows_and_wait_for_their_images(tmp_path):
    put(tmp_path / "survey/images/a.png")
    put(tmp_path / "survey/images/b.png")
    put_labels(tmp_path / "survey/labels.csv", ("a.png", "spiral"), ("c", "ring"), ("d", ""), ("c.png", "spiral"))
    reader = folder(tmp_path, labels="labels.csv")
    assert {name: (row["label"], row["problem"]) for name, row in rows(reader).items()} == {
        "a": ("spiral", None),
        "b": (None, None),
    }
    put(tmp_path / "survey/images/c.png")
    reader = folder(tmp_path, labels="labels.csv")
    assert rows(reader)["c"]["label"] == "ring" and rows(reader)["c"]["problem"] is None
    labelled = reader.labelled()
    assert labelled.schema.equals(LABELLED_SCHEMA)
    assert labelled["galaxy_id"].to_pylist() == ["a.png", "c", "d", "c.png"]
    assert labelled["label"].to_pylist() == ["spiral", "ring", None, "spiral"]
    assert folder(tmp_path).labelled() is None


def test_an_empty_table_of_labels_has_no_rows(tmp_path):
    put(tmp_path / "survey/images/a.png")
    put_labels(tmp_path / "survey/labels.csv")
    assert folder(tmp_path, labels="labels.csv").labelled().num_rows == 0


def test_duplicates_keep_every_image(tmp_path):
    put(tmp_path / "survey/b1/a.png")
    put(tmp_path / "survey/b2/a.png", value=7)
    put(tmp_path / "survey/b2/a.jpg")
    put_labels(tmp_path / "survey/labels.csv", ("a", "spiral"), ("a.png", "ring"))
    reader = folder(tmp_path, labels="labels.csv")
    one, two = rows(reader, "b1"), rows(reader, "b2")
    assert one["a"]["problem"] is None and one["a"]["label"] == "spiral"
    assert {name: (row["file"], row["problem"]) for name, row in two.items()} == {
        "a": ("b2/a.jpg", None),
        "a#2": ("b2/a.png", "duplicate_id"),
    }
    assert "already called a" in two["a#2"]["reason"]
    after = reader.catalogue("b2", taken={"a", "a#3"}).to_pylist()
    assert [(row["galaxy_id"], row["file"]) for row in after] == [("a#2", "b2/a.jpg"), ("a#4", "b2/a.png")]
    assert {row["problem"] for row in after} == {"duplicate_id"}
    assert {row["label"] for row in after} == {None}, "the table's row is about the image that has the id"


def test_equal_names_of_two_deliveries_are_two_galaxies_unless_the_image_is_the_same(tmp_path):
    put(tmp_path / "survey/b1/a.png")
    put(tmp_path / "survey/b1/b.png")
    put(tmp_path / "survey/b2/a.png", value=7)
    put(tmp_path / "survey/b2/b.png")
    put_labels(tmp_path / "survey/labels.csv", ("a", "spiral"), ("b2/a.png", "ring"), ("b", "bar"))
    reader = folder(tmp_path, labels="labels.csv")
    first = {row["galaxy_id"]: row["sha256"] for row in rows(reader, "b1").values()}
    second = reader.catalogue("b2", first).to_pylist()
    assert [(row["galaxy_id"], row["label"], row["problem"]) for row in second] == [
        ("b#2", None, "duplicate_id"),
        ("b2/a", "ring", None),
    ]


def test_folders_are_classes_where_the_survey_says_so(tmp_path):
    for file in ("b1/spirals/a.png", "b1/smooth/a.png", "b1/smooth/c.png", "b1/d.png"):
        put(tmp_path / "survey/images" / file)
    put(tmp_path / "survey/images/e.png")
    put_labels(tmp_path / "survey/labels.csv", ("c", "ring"))
    reader = folder(tmp_path, labels="labels.csv", folder_labels=True)
    found = {name: row["label"] for name, row in rows(reader, "b1").items()}
    assert found == {"b1/spirals/a": "spirals", "b1/smooth/a": "smooth", "c": "ring", "d": "b1"}
    assert rows(reader, "images")["e"]["label"] is None
    put(tmp_path / "survey/images/c.png", value=9)
    loose = reader.catalogue("images", {"c": "0" * 64}).to_pylist()
    assert [(row["galaxy_id"], row["problem"]) for row in loose] == [("e", None), ("images/c", None)]
    assert rows(folder(tmp_path), "b1")["c"]["label"] is None


def test_unicode_and_spaces_in_names(tmp_path):
    decomposed = "gale\u0301xia 1.v2"  # as archives made on a Mac write it
    put(tmp_path / f"survey/images/{decomposed}.png")
    put_labels(tmp_path / "survey/labels.csv", ("gal\u00e9xia 1.v2", "ring"))
    reader = folder(tmp_path, labels="labels.csv")
    (row,) = rows(reader).values()
    assert (row["galaxy_id"], row["label"], row["problem"]) == ("gal\u00e9xia 1.v2", "ring", None)
    assert reader.image(row["file"]).shape == (20, 24, 3)


def test_folders_keep_their_names_in_any_script_and_are_told_apart(tmp_path):
    names = ["星系", "恒星", "हिन्दी", "галактики", "Field 1", "🌌", "🌟", "a...b", "é" * 90, "é" * 91]
    for name in names:
        put(tmp_path / f"survey/{name}/x.png")
    batches = folder(tmp_path).batches()
    assert len(batches) == len(names) and all(batch_name(batch) == batch for batch in batches)
    assert {"星系", "恒星", "हिन्दी", "галактики", "Field_1", "a___b"} < set(batches)
    assert all(len(batch.encode()) <= 160 for batch in batches)


def test_a_name_that_is_not_utf8_is_a_row(tmp_path):
    path = put(tmp_path / "survey/images/a.png")
    try:
        os.rename(os.fsencode(path), os.fsencode(path.parent) + b"/\xff.png")  # noqa: PTH104
    except OSError:
        pytest.skip("this file system admits UTF-8 names only")
    (row,) = rows(folder(tmp_path)).values()
    assert row["problem"] == "unreadable"


@pytest.mark.parametrize("header", [("name", "label"), ("id", "class"), ()])
def test_labels_without_the_columns_are_an_error_that_names_them(tmp_path, header):
    put(tmp_path / "survey/images/a.png")
    put_labels(tmp_path / "survey/labels.csv", header=header)
    with pytest.raises(SurveyError, match="labels.csv: no column .*source.id_column"):
        folder(tmp_path, labels="labels.csv").catalogue("images")


def test_missing_or_binary_labels_are_an_error(tmp_path):
    put(tmp_path / "survey/images/a.png")
    with pytest.raises(SurveyError, match="labels.csv.*correct `source.labels`"):
        folder(tmp_path, labels="labels.csv").catalogue("images")
    (tmp_path / "survey/labels.csv").write_bytes(b"id,label\n\x00\xfe,spiral\n")
    with pytest.raises(SurveyError, match="it is no text.*saved as CSV"):
        folder(tmp_path, labels="labels.csv").catalogue("images")


def test_images_of_other_formats_are_said_in_the_log(tmp_path, caplog):
    put(tmp_path / "survey/images/a.png")
    put(tmp_path / "survey/images/b.gif")
    rows(folder(tmp_path))
    assert "passed over 1 images" in caplog.text


@given(st.lists(st.text("ab#2", max_size=4)), st.sets(st.text("ab#2", max_size=4)))
def test_distinct_ids_are_distinct_and_keep_first_names(names, taken):
    ids = distinct_ids(names, taken)
    assert len(set(ids)) == len(ids) == len(names) and not taken & set(ids)
    for i, name in enumerate(names):
        assert (ids[i] == name) == (name not in names[:i] and name not in taken)
        assert ids[i].startswith(name)


# --- Galaxy Zoo DECaLS


def zoo(raw: Path, **settings):
    return open_reader(Source(reader="galaxy_zoo_decals", path="gz", **settings), raw)


def put_votes(path: Path, *names: str, drop: str | None = None, campaign: str = "1_and_2") -> None:
    """A volunteer table with no votes, `ra` 10, 11, ... and `dec` 0."""
    columns = {name: [0] * len(names) for name in delivered_columns(campaign)}
    columns |= {"index": list(names), "iauname": list(names), "ra": [10.0 + i for i in range(len(names))]}
    columns["dec"] = [0.0] * len(names)
    columns.pop(drop, None)
    if path.suffix == ".csv":
        arrow_csv.write_csv(pa.table(columns), path)
    else:
        parquet.write_table(pa.table(columns), path)


def test_parts_are_deliveries_and_folders_j_are_not(tmp_path):
    put(tmp_path / "gz/part1/J004/J004544.11-005037.5.png")
    put(tmp_path / "gz/part2/J112/J112330.91+280016.8.jpg")
    put(tmp_path / "gz/J164/J164324.66+275317.9.png")
    (tmp_path / "gz/part3").mkdir()
    reader = zoo(tmp_path)
    assert reader.batches() == ["images", "part1", "part2"]
    assert rows(reader, "part2")["J112330.91+280016.8"]["file"] == "part2/J112/J112330.91+280016.8.jpg"
    assert reader.votes() is None


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_positions_and_votes_come_from_the_volunteer_table(tmp_path, suffix):
    put(tmp_path / "gz/part1/J004/J004544.11-005037.5.png")
    put(tmp_path / "gz/part1/J112/J112330.91+280016.8.png")
    put_votes(tmp_path / f"gz/gz_decals_volunteers_1_and_2{suffix}", "J112330.91+280016.8", "J235959.00+000000.0")
    reader = zoo(tmp_path)
    found = rows(reader, "part1")
    assert (found["J112330.91+280016.8"]["ra"], found["J112330.91+280016.8"]["dec"]) == (10.0, 0.0)
    assert found["J004544.11-005037.5"]["ra"] == pytest.approx(11.4337917)
    assert reader.votes()["galaxy_id"].to_pylist() == ["J112330.91+280016.8", "J235959.00+000000.0"]


def test_declinations_between_0_and_minus_1_are_south():
    assert position_of("J004544.11-005037.5") == pytest.approx((11.43379167, -0.84375))
    assert position_of("J250000.00+000000.0") == position_of("NGC 1275") == (None, None)


def test_bad_volunteer_tables_are_one_error_that_names_the_file(tmp_path):
    put(tmp_path / "gz/part1/J004/J004544.11-005037.5.png")
    path = tmp_path / "gz/gz_decals_volunteers_1_and_2.csv"
    put_votes(path, "a", drop="merging_both")
    with pytest.raises(VotesError, match=r"gz_decals_volunteers_1_and_2.csv: .*no column merging_both;"):
        zoo(tmp_path).votes()
    put_votes(path, "a")
    path.write_bytes(path.read_bytes()[:-40])
    with pytest.raises(VotesError, match="cut short"):
        zoo(tmp_path).votes()
    path.write_bytes(b"")
    with pytest.raises(VotesError):
        zoo(tmp_path).votes()
    path.with_suffix(".parquet").write_bytes(b"PAR1")
    with pytest.raises(VotesError, match=".parquet: not a readable table"):
        zoo(tmp_path).votes()
    with pytest.raises(VotesError, match="other.csv: no such file.*source.votes"):
        zoo(tmp_path, votes="other.csv").votes()


def test_a_table_of_the_other_campaign_is_refused(tmp_path):
    put(tmp_path / "gz/part1/J004/J004544.11-005037.5.png")
    put_votes(tmp_path / "gz/votes.csv", "a", campaign="5")
    with pytest.raises(VotesError, match="how-rounded_completely.*source.campaign"):
        zoo(tmp_path, votes="votes.csv").votes()


@real_data
def test_official_galaxy_zoo_sample():
    reader = open_reader(Source(reader="galaxy_zoo_decals", path="gz_decals_sample"), Path(REAL))
    tables = {batch: rows(reader, batch) for batch in reader.batches()}
    assert {batch: len(table) for batch, table in tables.items()} == {
        f"gz_decals_dr5_png_part{i}": n for i, n in ((1, 10), (2, 2), (3, 3), (4, 3))
    }
    for table in tables.values():
        for name, row in table.items():
            assert (row["width"], row["height"], row["problem"]) == (424, 424, None)
            assert (row["ra"], row["dec"]) == pytest.approx(position_of(name), abs=2e-4)
            assert reader.image(row["file"]).shape == (424, 424, 3)
    votes = reader.votes()
    assert len(votes) == 6 and votes["total_votes"].to_pylist() == [52, 27, 31, 29, 29, 56]


# --- FITS


def fits_folder(raw: Path):
    return open_reader(Source(reader="fits_folder", path="survey"), raw)


WCS_HEADER = {
    "CTYPE1": "RA---TAN",
    "CTYPE2": "DEC--TAN",
    "CRVAL1": 150.0,
    "CRVAL2": 2.0,
    "CRPIX1": 15.5,
    "CRPIX2": 10.5,
    "CDELT1": -1e-4,
    "CDELT2": 1e-4,
}


def test_a_name_that_is_not_utf8_is_said_and_folders_that_steer_a_terminal_are_escaped_classes(tmp_path):
    put(tmp_path / "survey" / "\x1b[31mred" / os.fsdecode(b"bad\xff.png"))
    asked = Source(reader="image_folder", path=str(tmp_path / "survey"), folder_labels=True)
    found = open_reader(asked, tmp_path)
    (row,) = found.catalogue(found.batches()[0]).to_pylist()
    assert row["label"] == "\\x1b[31mred"
    assert row["problem"] == "unreadable" and row["reason"] == "cannot be opened: its name is not UTF-8, rename it"


def test_one_band_stays_float_and_knows_where_it_is(tmp_path):
    data = np.arange(600, dtype=np.float32).reshape(20, 30)
    put_fits(tmp_path / "survey/images/a.fits", data, **WCS_HEADER)
    put_fits(tmp_path / "survey/images/b.fits.gz", data[None, None])
    put_fits(tmp_path / "survey/images/c.fit", data.astype(np.int16))
    reader = fits_folder(tmp_path)
    found = rows(reader)
    assert (found["a"]["ra"], found["a"]["dec"]) == pytest.approx((150.0, 2.0))
    assert (found["b"]["ra"], found["b"]["width"], found["b"]["height"]) == (None, 30, 20)
    for row in found.values():
        pixels = reader.image(row["file"])
        assert pixels.dtype == np.float32 and pixels.dtype.isnative and np.array_equal(pixels, data)


def test_grz_becomes_colour_with_z_as_red(tmp_path):
    grz = np.zeros((3, 20, 20), np.float32)
    grz[2] = 1.0
    put_fits(tmp_path / "survey/images/a.fits", grz, BANDS="grz")
    pixels = fits_folder(tmp_path).image("images/a.fits")
    assert pixels.shape == (20, 20, 3) and pixels.dtype == np.uint8
    assert pixels[0, 0, 0] > 200 and not pixels[..., 1:].any()


def test_centre_of_a_cube_without_coordinates_on_its_third_axis(tmp_path):
    cd = {"CD1_1": -1e-4, "CD2_2": 1e-4}
    header = {key: value for key, value in WCS_HEADER.items() if not key.startswith("CDELT")} | cd
    put_fits(tmp_path / "survey/images/a.fits", np.ones((3, 20, 30), np.float32), **header)
    (row,) = rows(fits_folder(tmp_path)).values()
    assert (row["ra"], row["dec"]) == pytest.approx((150.0, 2.0))


def test_positions_that_are_not_equatorial_are_unknown(tmp_path):
    header = WCS_HEADER | {"CTYPE1": "GLON-TAN", "CTYPE2": "GLAT-TAN"}
    put_fits(tmp_path / "survey/images/a.fits", np.ones((20, 30), np.float32), **header)
    put_fits(tmp_path / "survey/images/b.fits", np.ones((20, 30), np.float32), **(WCS_HEADER | {"CDELT1": 0.0}))
    assert [row["ra"] for row in rows(fits_folder(tmp_path)).values()] == [None, None]


def test_pixels_without_data_are_nan_and_images_without_any_unreadable(tmp_path):
    data = np.ones((20, 20), np.float32)
    data[:2] = np.nan
    data[2] = np.inf
    put_fits(tmp_path / "survey/images/some.fits", data)
    put_fits(tmp_path / "survey/images/all.fits", np.full((20, 20), np.nan, np.float32))
    reader = fits_folder(tmp_path)
    assert np.array_equal(np.isnan(reader.image("images/some.fits")), np.arange(20)[:, None] + np.zeros((20, 20)) < 3)
    with pytest.raises(UnreadableImage, match="only NaN"):
        reader.image("images/all.fits")
    assert set(rows(reader)) == {"some", "all"}


def test_bad_fits_files_are_rows_and_unreadable(tmp_path):
    images = tmp_path / "survey/images"
    whole = put_fits(images / "cut.fits", np.ones((50, 50), np.float32))
    whole.write_bytes(whole.read_bytes()[:5000])
    (images / "empty.fits").write_bytes(b"")
    (images / "text.fits.gz").write_text("404 not found")
    put_fits(images / "table.fits", np.ones(5, np.float32))
    put_fits(images / "four.fits", np.ones((4, 20, 20), np.float32))
    put_fits(images / "tiny.fits", np.ones((1, 1), np.float32))
    reader = fits_folder(tmp_path)
    found = rows(reader)
    assert {name: row["problem"] for name, row in found.items()} == {
        "cut": None,
        "empty": "unreadable",
        "text": "unreadable",
        "table": "unreadable",
        "four": None,
        "tiny": "too_small",
    }
    for row in found.values():
        with pytest.raises(UnreadableImage):
            reader.image(row["file"])


@real_data
def test_real_fits_files():
    reader = open_reader(Source(reader="fits_folder", path="decals_fits"), Path(REAL))
    assert rows(reader)["example_d"]["ra"] == pytest.approx(147.456742, abs=1e-5)
    assert reader.image("example_b.fits").shape == (162, 162, 3)
    assert reader.image("example_bad_pix.fits").dtype == np.uint8
    with pytest.raises(UnreadableImage, match="truncated"):
        reader.image("example_incomplete.fits")

    reader = open_reader(Source(reader="fits_folder", path="mirabest_fits"), Path(REAL))
    found = rows(reader)
    assert len(found) == 10
    for name, row in found.items():
        assert [row["ra"], row["dec"]] == pytest.approx([float(name[4:11]), float(name[11:19])], abs=1e-3)
        assert reader.image(row["file"]).shape == (300, 300)


@real_data
def test_real_image_folder():
    source = Source(
        reader="image_folder", path="sdss_gz1", labels="labels.csv", id_column="objid", label_column="class_name"
    )
    table = open_reader(source, Path(REAL)).catalogue("images")
    assert len(table) == 3302 and table["problem"].null_count == 3302
    labels = table["label"].to_pylist()
    assert (labels.count("elliptical"), labels.count("dont_know")) == (2310, 28)


# --- simulated surveys


def test_a_simulated_survey_is_made_once_and_whole(tmp_path):
    source = Source(
        reader="simulated", simulate="radio", path="demo", labels="labels.csv", n_images=8, batches=("one", "two")
    )
    reader = open_reader(source, tmp_path)
    assert reader.batches() == ["one", "two"]
    found = [row for batch in reader.batches() for row in rows(reader, batch).values()]
    assert len(found) == 8 and all(row["label"] and not row["problem"] for row in found)
    assert [path.name for path in tmp_path.iterdir()] == ["demo"]
    before = {row["file"]: (tmp_path / "demo" / row["file"]).stat().st_mtime_ns for row in found}
    open_reader(source, tmp_path)
    assert before == {file: (tmp_path / "demo" / file).stat().st_mtime_ns for file in before}
    with pytest.raises(SurveyError, match="other settings.*delete it"):
        open_reader(source.model_copy(update={"seed": 5}), tmp_path)


def test_a_simulated_optical_survey_has_votes_for_every_image(tmp_path):
    source = Source(reader="simulated", simulate="optical", path="demo", n_images=6, batches=("one", "two"))
    reader = open_reader(source, tmp_path)
    found = {name: row for batch in reader.batches() for name, row in rows(reader, batch).items()}
    assert len(found) == 6 and set(found) == set(reader.votes()["galaxy_id"].to_pylist())
    assert all(row["ra"] is not None and row["problem"] is None for row in found.values())


def test_a_simulated_survey_that_is_read_in_place_is_not_made(tmp_path):
    source = Source(reader="simulated", simulate="radio", path="demo", n_images=4, batches=("one", "two"))
    assert made_by_first_run(source, tmp_path)
    with pytest.raises(SurveyError, match="no such folder"):
        reader_in_place(source, tmp_path)
    assert not list(tmp_path.iterdir())
    open_reader(source, tmp_path)
    assert reader_in_place(source, tmp_path).batches() == ["one", "two"] and not made_by_first_run(source, tmp_path)
    assert not made_by_first_run(Source(reader="image_folder", path="absent"), tmp_path)


def test_a_simulated_survey_without_settings_is_an_error(tmp_path):
    with pytest.raises(SurveyError, match="source.n_images"):
        open_reader(Source(reader="simulated", simulate="radio", path="demo"), tmp_path)
    assert not list(tmp_path.iterdir())


def test_a_folder_of_images_takes_galaxy_zoo_2_by_the_names_of_its_images(tmp_path):
    (tmp_path / "gz2").mkdir()
    galaxy, *names = delivered_columns("gz2")
    rows = pa.table(
        {galaxy: ["587722981736120347", "587722981736579107"]}
        | {n: [3.0 if n.endswith("count") else 1.0, 0.0] for n in names}
    )
    arrow_csv.write_csv(rows, tmp_path / "gz2/gz2_hart16.csv")
    source = Source(reader="image_folder", path="gz2", votes="gz2_hart16.csv", campaign="gz2")
    table = open_reader(source, tmp_path).votes()
    assert table is not None and table["galaxy_id"].to_pylist() == ["587722981736120347", "587722981736579107"]
    assert table["total_votes"].to_pylist() == [9, 0]
    mapping = "objid,sample,asset_id\n587722981736120347,original,7\n587722981736120347,stripe82,9\n"
    (tmp_path / "gz2/gz2_filename_mapping.csv").write_text(mapping)
    mapped = open_reader(source, tmp_path).votes()
    assert mapped is not None and mapped["galaxy_id"].to_pylist() == ["7", "587722981736579107"]
    with pytest.raises(VotesError, match="nosuch.csv: no such file.*source.votes"):
        open_reader(source.model_copy(update={"votes": "nosuch.csv"}), tmp_path).votes()


SKY = {"CTYPE1": "RA---SIN", "CTYPE2": "DEC--SIN", "CRVAL1": 187.5, "CRVAL2": 12.0}
SKY |= {"CRPIX1": 21.0, "CRPIX2": 21.0, "CDELT1": -1e-4, "CDELT2": 1e-4}


def at(folder: Path, **header) -> tuple[float | None, float | None]:
    """The position that the catalogue has of an image in the middle of SKY."""
    put_fits(
        folder / "images/a.fits", np.random.default_rng(0).normal(size=(41, 41)).astype(np.float32), **SKY | header
    )
    (row,) = open_reader(Source(reader="fits_folder", path="."), folder).catalogue("images").to_pylist()
    assert row["problem"] is None
    return row["ra"], row["dec"]


@pytest.mark.parametrize(
    "header",
    [
        {},
        {"EQUINOX": 2000.0},
        {"RADESYS": "ICRS", "EQUINOX": 1950.0},
        {"RADESYS": "FK5"},
        {"EPOCH": 2016.5},
        {"EPOCH": 0.0},
        {"EQUINOX": 0.0},
        {"EPOCH": 57388.0},
        {"RADESYS": "FK5", "EQUINOX": 57388.0},
        {"EQUINOX": 2000.0, "EPOCH": 1950.0},
        {"CUNIT1": "degrees", "CUNIT2": "Degree"},
        {"CUNIT1": "deg", "CUNIT2": "deg", "CUNIT3": "deg"},
    ],
)
def test_positions_of_icrs_and_j2000_are_as_the_header_has_them(tmp_path, header):
    assert at(tmp_path, **header) == pytest.approx((187.5, 12.0), abs=1e-12)


@pytest.mark.parametrize(
    ("header", "frame"),
    [
        ({"EQUINOX": 1950.0}, FK4(equinox="B1950")),
        ({"EPOCH": 1950.0}, FK4(equinox="B1950")),
        ({"EPOCH": 1950.0, "EQUINOX": 0.0}, FK4(equinox="B1950")),
        ({"RADESYS": "FK5", "EPOCH": 2015.5}, FK5(equinox="J2015.5")),
        ({"EQUINOX": "B1950"}, FK4(equinox="B1950")),
        ({"RADECSYS": "FK4", "EQUINOX": 1975.0}, FK4(equinox="B1975")),
        ({"RADESYS": "FK4-NO-E"}, FK4NoETerms(equinox="B1950")),
        ({"RADESYS": "FK5", "EQUINOX": 2015.5}, FK5(equinox="J2015.5")),
    ],
)
def test_positions_of_older_systems_become_icrs(tmp_path, header, frame):
    ra, dec = at(tmp_path, **header)
    there = SkyCoord(187.5, 12.0, unit="deg", frame=frame)
    assert SkyCoord(ra, dec, unit="deg").separation(there.icrs).arcsec < 1e-6


def with_card(path: Path, key: str, value: str) -> None:
    """Write a card of a header as it stands, quotes or none."""
    data = path.read_bytes()
    (place,) = [i for i in range(0, 2880, 80) if data[i : i + 8].decode().strip() == key]
    path.write_bytes(data[:place] + f"{key:<8}= {value}".ljust(80).encode() + data[place + 80 :])


def test_what_the_inspection_says_of_positions_is_what_the_catalogue_has(tmp_path):
    headers = {"year": {"EPOCH": 2016.5}, "unit": {"CUNIT1": "furlong", "CUNIT2": "furlong"}, "plain": {}}
    for i, header in enumerate(headers.values()):
        put_fits(
            tmp_path / f"images/{i}.fits",
            np.random.default_rng(i).normal(size=(41, 41)).astype(np.float32),
            **SKY | header,
        )
    rows = open_reader(Source(reader="fits_folder", path="."), tmp_path).catalogue("images").to_pylist()
    assert [row["ra"] is not None for row in rows] == [True, False, True]
    said = inspect(tmp_path / "images").headers
    assert said is not None and said.positions == {
        "WCS, where EPOCH 2016.5 is taken for no equinox": 1,
        "WCS that gives no position": 1,
        "WCS": 1,
    }


WRITTEN = {
    "BUNIT": "MJy sr-1",
    "FILTER": "g DECam",
    "BANDS": "g r z",
    "EXTNAME": "SCI of it",
    "CTYPE1": "RA---SIN",
    "CRVAL1": "12:30:00",
    "CRVAL2": "'+12:00:00'",
    "RADESYS": "FK5 of it",
}


@pytest.mark.parametrize("key", WRITTEN)
def test_a_card_that_cannot_be_parsed_is_one_that_is_not_there(tmp_path, key):
    shown = np.random.default_rng(0).normal(size=(41, 41)).astype(np.float32)
    for name in "ab":
        put_fits(tmp_path / f"images/{name}.fits", shown, **SKY | {"BUNIT": "Jy", key: SKY.get(key, "x")})
        with_card(tmp_path / f"images/{name}.fits", key, WRITTEN[key])
    reader = open_reader(Source(reader="fits_folder", path="."), tmp_path)
    row = reader.catalogue("images").to_pylist()[0]
    assert row["problem"] is None and np.array_equal(reader.image("images/a.fits"), shown)
    assert (row["ra"], row["dec"]) == ((None, None) if key.startswith("CRVAL") else pytest.approx((187.5, 12.0)))
    headers = inspect(tmp_path / "images").headers
    assert (
        headers is not None
        and headers.planes == {1: 2}
        and headers.units == {"not said" if key == "BUNIT" else "Jy": 2}
    )
    assert ("WCS" in headers.positions) is (row["ra"] is not None)
