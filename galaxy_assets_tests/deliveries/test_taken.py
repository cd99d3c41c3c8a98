"""Ids that images of several deliveries would have: the rule, and what the readers make of it."""

import io
import tempfile
from collections import Counter
from functools import cache
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from galaxy_assets.deliveries.onboarding.inspect import inspect
from galaxy_assets.deliveries.onboarding.labels import inspect_labels
from galaxy_assets.deliveries.readers import open_reader
from galaxy_assets.deliveries.taken import taken_ids
from galaxy_assets.settings.source import Source
from galaxy_assets.storage.tables import write_table

DELIVERIES = st.lists(
    st.dictionaries(
        st.sampled_from(["a.png", "A.png", "1.png", "01.png", "x/a.png", "y/a.png", "x/1.png", "c1.png", "c_1.png"]),
        st.integers(0, 2),
        min_size=1,
        max_size=4,
    ),
    min_size=1,
    max_size=3,
)
NAMES = ["a", "A", "1", "01", "b0/x/a", "b0/a", "b1/a.png", "c1", "c_1", "C 1"]
LABELS = st.lists(st.sampled_from(NAMES), unique=True, max_size=4)


@cache
def png(value: int) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(np.full((16, 16, 3), value, np.uint8)).save(stream, "png")
    return stream.getvalue()


class Survey:
    """Deliveries b0, b1, ... of small images, and what is catalogued of them."""

    def __init__(self, root: Path, deliveries: list[dict[str, int]], labels: list[str]):
        self.root, self.batches = root, [f"b{i}" for i in range(len(deliveries))]
        for batch, files in zip(self.batches, deliveries, strict=True):
            for file, value in files.items():
                path = root / "survey/images" / batch / file
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(png(value))
        (root / "survey/labels.csv").write_text("\n".join(["id,label", *(f"{name},of {name}" for name in labels)]))
        self.labels = labels
        self.reader = open_reader(Source(reader="image_folder", path="survey", labels="labels.csv"), root)

    def catalogues(self, batches: list[str] | None = None) -> tuple[pa.Table, list[dict]]:
        """What is told of ids, and the rows of all catalogues, made in this order of the deliveries."""
        order = batches or self.batches
        alone = {batch: self.reader.catalogue(batch) for batch in order}
        for batch in order:
            write_table(alone[batch], self.root / f"{batch}.parquet")
        told = taken_ids([(batch, self.root / f"{batch}.parquet") for batch in order], self.labels)
        rows = []
        for batch in order:
            own = told.filter(pc.equal(told["batch"], batch)).to_pylist()
            names = {row["galaxy_id"]: row["sha256"] for row in own if row["kept_by"] != batch}
            self.reader.pass_over({row["galaxy_id"] for row in own if row["kept_by"] == batch})
            rows += (self.reader.catalogue(batch, names) if own else alone[batch]).to_pylist()
            self.reader.pass_over(())
        return told, sorted(rows, key=lambda row: row["file"])

    def one_after_the_other(self, told: pa.Table) -> list[dict]:
        """The rows of the catalogues where each knows those of the deliveries before."""
        rows, taken = [], {}
        self.reader.pass_over(several_keep(told))
        for batch in self.batches:
            found = self.reader.catalogue(batch, taken).to_pylist()
            taken |= {row["galaxy_id"]: row["sha256"] for row in found if row["problem"] is None}
            rows += found
        return sorted(rows, key=lambda row: row["file"])


def several_keep(told: pa.Table) -> set[str]:
    """The ids that are the name of an image of another delivery too."""
    return {row["galaxy_id"] for row in told.to_pylist() if row["kept_by"] == row["batch"]}


@given(DELIVERIES, LABELS)
@settings(max_examples=25)
def test_every_image_is_one_galaxy_or_a_duplicate_whatever_the_order(deliveries, labels):
    with tempfile.TemporaryDirectory() as folder:
        survey = Survey(Path(folder), deliveries, labels)
        told, rows = survey.catalogues()
        other, again = survey.catalogues(survey.batches[::-1])
        in_order = survey.one_after_the_other(told)
        listed = [one for images in survey.reader.listed_all().values() for one in images]
    assert told.equals(other) and rows == again
    assert len(rows) == sum(map(len, deliveries)), "an image is lost"
    galaxies = [row for row in rows if row["problem"] is None]
    assert max(Counter(row["galaxy_id"] for row in galaxies).values()) == 1
    assert {row["problem"] for row in rows} <= {None, "duplicate_id"}
    assert all("already called" in row["reason"] for row in rows if row["problem"])
    # a name without folders and the same bytes are one galaxy: it is there, and once
    alike = Counter((Path(row["file"]).name, row["sha256"]) for row in galaxies if "/" not in row["galaxy_id"])
    assert not alike or max(alike.values()) == 1
    if len(deliveries) < 3:
        assert rows == in_order
        said = [(one.image.file, one.galaxy_id, one.entry and one.entry.label) for one in listed]
        assert sorted(said) == [(row["file"], row["galaxy_id"], row["label"]) for row in rows]
    nearly = [row["label"] for row in galaxies if row["label"] not in (None, f"of {Path(row['file']).stem}")]
    assert len(nearly) == len({*nearly}), "a row is about two images that are called nearly so"
    # a name without folders that images of several deliveries have is about none of them
    alike = Counter(Path(row["file"]).stem for row in galaxies)
    by_name = [row["galaxy_id"] for row in galaxies if row["label"] == f"of {Path(row['file']).stem}"]
    assert all(alike[name] == 1 for name in by_name)


def test_the_delivery_that_sorts_first_keeps_the_id_and_the_table_says_so(tmp_path):
    deliveries = [{"a.png": 0, "c.png": 1}, {"a.png": 0, "c.png": 2}, {"c.png": 2, "d.png": 1}]
    told, rows = Survey(tmp_path, deliveries, []).catalogues()
    assert [(row["batch"], row["galaxy_id"], row["kept_by"]) for row in told.to_pylist()] == [
        ("b1", "a", "b0"),
        ("b1", "c", "b0"),
        ("b2", "c", "b1"),
    ]
    assert [(row["batch"], row["galaxy_id"], row["problem"]) for row in rows] == [
        ("b0", "a", None),
        ("b0", "c", None),
        ("b1", "a#2", "duplicate_id"),
        ("b1", "b1/c", None),
        ("b2", "c#2", "duplicate_id"),
        ("b2", "d", None),
    ]


def test_deliveries_without_a_shared_id_are_told_nothing(tmp_path):
    told, rows = Survey(tmp_path, [{"a.png": 0}, {"b.png": 0}], ["a", "b"]).catalogues()
    assert told.num_rows == 0 and [row["galaxy_id"] for row in rows] == ["a", "b"]


def test_a_row_of_the_labels_is_not_about_a_later_image_that_is_called_nearly_so(tmp_path):
    told, rows = Survey(tmp_path, [{"1.png": 0}, {"01.png": 1}], ["1", "01"]).catalogues()
    assert told["galaxy_id"].to_pylist() == ["1"]
    assert [(row["galaxy_id"], row["label"]) for row in rows] == [("1", "of 1"), ("01", "of 01")]


def test_a_number_that_images_of_several_deliveries_have_gives_none_of_them_a_class(tmp_path):
    survey = Survey(tmp_path, [{"0.png": 0, "1.png": 1}, {"0.png": 2, "2.png": 1}], ["0", "1", "2", "00"])
    told, rows = survey.catalogues()
    assert told.to_pylist()[0] | {"sha256": ""} == {"batch": "b0", "galaxy_id": "0", "kept_by": "b0", "sha256": ""}
    assert [(row["galaxy_id"], row["label"]) for row in rows] == [
        ("0", None),
        ("1", "of 1"),
        ("b1/0", None),
        ("2", "of 2"),
    ]
    for i, path in enumerate(sorted(tmp_path.glob("survey/images/*/*.png"))):
        Image.fromarray(np.random.default_rng(i).integers(0, 255, (16, 16, 3), np.uint8)).save(path)
    said = inspect_labels(inspect(tmp_path / "survey/images"), tmp_path / "survey/labels.csv")
    assert (said.named, said.missing) == (2, 2)
    assert "2 rows name more than one image, such as 0" in " ".join(said.notes)
