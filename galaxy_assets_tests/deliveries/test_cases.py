"""Small inputs as strangers bring them: the catalogue holds what `survey new` says, and nothing is lost untold."""

import shutil
import tarfile
from collections import Counter
from pathlib import Path

import pytest

from galaxy_assets.deliveries.onboarding.folders import folder_labels
from galaxy_assets.deliveries.onboarding.inspect import inspect
from galaxy_assets.deliveries.onboarding.labels import inspect_labels
from galaxy_assets.deliveries.onboarding.report import cautions
from galaxy_assets.deliveries.readers import open_reader
from galaxy_assets.settings.files import SurveyError
from galaxy_assets.settings.source import Source


@pytest.fixture
def cases(real_data) -> Path:
    return real_data / "cases"


def catalogued(source: Source) -> list[dict]:
    """The rows of all catalogues, made one after the other as a run makes them."""
    reader, rows, taken = open_reader(source, Path()), [], {}
    for batch in reader.batches():
        found = reader.catalogue(batch, taken).to_pylist()
        taken |= {row["galaxy_id"]: row["sha256"] for row in found if row["problem"] != "duplicate_id"}
        rows += found
    return rows


TABLES = {
    "comment_lines.csv": (24, "2 comment lines"),
    "commented_header.csv": (24, ""),
    "conflict.csv": (24, "24 images have several rows, 24 of them of different classes, such as g000"),
    "cr_only.csv": (24, ""),
    "file_loc.csv": (24, ""),
    "file_loc_and_id.csv": (24, ""),
    "float_class.parquet": (23, "1 rows give no class"),
    "index.parquet": (24, ""),
    "labels.json": (24, ""),
    "latin1.csv": (24, "Windows-1252"),
    "list_class.parquet": (24, ""),
    "nan_mostly.csv": (3, "21 rows give no class, such as row 4"),
    "no_header.csv": (24, "no line names the columns"),
    "one_hot.csv": (None, "which column holds the classes.*is_spiral, is_elliptical.*--label-column"),
    "padded_ids.csv": (24, ""),
    "quoted_newline.csv": (24, ""),
    "ra_hours.csv": (24, "every value of ra is below 24"),
    "ra_sexagesimal.csv": (24, ""),
    "ragged.csv": (19, "5 lines have more than 2 cells"),
    "semicolon_bom.csv": (24, ""),
    "space_after_comma.csv": (24, ""),
    "tab.csv": (24, ""),
    "tab.tsv": (24, ""),
    "tif_names.csv": (24, ""),
    "two_same_columns.csv": (24, "2 columns are called label"),
    "upper_case.csv": (24, ""),
    "utf16.csv": (24, ""),
}


def test_every_table_of_the_case_is_looked_at(cases):
    there = {path.name for path in (cases / "13-label-tables").iterdir() if path.is_file()}
    assert set(TABLES) <= there <= {*TABLES, "README.txt"}


@pytest.mark.parametrize("name", TABLES)
def test_labels_are_matched_or_said(cases, name):
    n, says = TABLES[name]
    found = inspect(cases / "13-label-tables/images", sample=1)
    if n is None:
        with pytest.raises(SurveyError, match=says):
            inspect_labels(found, cases / "13-label-tables" / name)
        return
    labels = inspect_labels(found, cases / "13-label-tables" / name)
    rows = catalogued(labels.source)
    assert Counter(row["label"] for row in rows if row["label"]) == labels.classes
    assert sum(labels.classes.values()) == n
    told = " ".join(cautions(found, labels))
    assert says in told and bool(says) == bool(labels.notes)


@pytest.mark.parametrize(
    ("case", "images", "duplicates", "classes"),
    [
        ("02-identical/images", 25, 0, {}),
        ("10-single/images", 1, 0, {}),
        ("16-class-folders/images", 24, 0, {"spirals": 12, "smooth": 12}),
        ("17a-sky-minus5/images", 24, 0, {}),
        ("17c-sentinel/images", 24, 0, {}),
        ("30-cjk-folders/images", 12, 0, {"星系": 6, "银河": 6}),
    ],
)
def test_what_is_said_of_a_folder_is_what_the_catalogue_holds(cases, tmp_path, case, images, duplicates, classes):
    shutil.copytree(cases / case, tmp_path / "images")
    found = inspect(tmp_path / "images")
    labels = folder_labels(found)
    rows = catalogued(found.source if labels is None else labels.source)
    assert len(found.files) == len(rows) == images == len({row["galaxy_id"] for row in rows})
    assert len(found.duplicates) == duplicates == sum(row["problem"] == "duplicate_id" for row in rows)
    assert (labels.classes if labels else {}) == classes == Counter(row["label"] for row in rows if row["label"])


def test_odd_names_lose_nothing_untold_and_steer_no_terminal(cases, tmp_path):
    with tarfile.open(cases / "27-odd-names.tar") as archive:
        archive.extractall(tmp_path, filter="data")
    found = inspect(tmp_path / "27-odd-names/images")
    labels = inspect_labels(found, tmp_path / "27-odd-names/labels.csv")
    rows = catalogued(labels.source)
    assert len(rows) == len(found.files) == 24, "hidden ones are none"
    assert all(row["galaxy_id"].isprintable() for row in rows)
    (twice,) = [row for row in rows if row["problem"] == "duplicate_id"]  # composed and decomposed
    assert found.duplicates == [twice["file"]]
    assert sum(bool(row["label"]) for row in rows) == sum(labels.classes.values()) == 23
    assert all(text.isprintable() for text in [*labels.classes, *cautions(found, labels)])
    assert labels.missing == 2, "the two hidden ones"
