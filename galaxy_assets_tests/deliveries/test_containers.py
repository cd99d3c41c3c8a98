"""Containers of images: Parquet shards, WebDataset tars and arrays, made by the libraries that people write with."""

import io
import json
import os
import shutil
import sys
import tarfile
import zipfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import h5py
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from astropy.io import fits
from PIL import Image

from galaxy_assets.deliveries import hdf5, members, shards, spools, stacks
from galaxy_assets.deliveries.image_arrays import Kept, is_stack
from galaxy_assets.deliveries.onboarding.inspect import inspect
from galaxy_assets.deliveries.onboarding.labels import inside_labels, inspect_labels
from galaxy_assets.deliveries.onboarding.propose import settings_for
from galaxy_assets.deliveries.onboarding.report import cautions
from galaxy_assets.deliveries.onboarding.survey_file import as_yaml
from galaxy_assets.deliveries.opening import notes_of
from galaxy_assets.deliveries.readers import open_reader
from galaxy_assets.deliveries.readers.image_folder import ImageFolder
from galaxy_assets.settings.files import SurveyError
from galaxy_assets.settings.source import Source
from galaxy_assets.settings.survey import Survey

PIXELS = np.random.default_rng(0).integers(0, 256, (5, 20, 24, 3), dtype=np.uint8)
FLOATS = PIXELS.astype(np.float32) / 7 - 3
BIG = 587722952767439450
IDS = [f"J{i}" for i in range(5)]


def reader(root: Path, **settings) -> ImageFolder:
    found = open_reader(Source.model_validate({"reader": "image_folder", "path": "survey"} | settings), root / "raw")
    assert isinstance(found, ImageFolder)
    return found


@pytest.fixture
def survey(tmp_path) -> Path:
    (tmp_path / "raw/survey").mkdir(parents=True)
    return tmp_path / "raw/survey"


def rows(survey: Path, batch: str | None = None, **settings) -> dict[str, dict]:
    found = reader(survey.parent.parent, **settings)
    (batch,) = [batch] if batch is not None else found.batches()
    return {row["galaxy_id"]: row for row in found.catalogue(batch).to_pylist()}


def image(survey: Path, file: str, **settings) -> np.ndarray:
    return reader(survey.parent.parent, **settings).image(file)


def png(pixels: np.ndarray) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "PNG")
    return stream.getvalue()


FILES = [png(pixels) for pixels in PIXELS]


def put(path: Path, columns: dict, metadata: dict | None = None, **options) -> None:
    table = pa.table(columns)
    pq.write_table(table.replace_schema_metadata(metadata) if metadata else table, path, **options)


# --- Parquet: which columns


@pytest.mark.parametrize(
    ("image_column", "kind"),
    [
        ("image", pa.binary()),
        ("Image", pa.large_binary()),
        ("img", pa.binary_view()),
        ("jpg", pa.binary()),
        ("png.bytes", pa.binary()),
        ("image_bytes", pa.binary()),
        ("cutout", pa.binary()),
        ("stamp", pa.binary()),  # no name that is known: the only column of images
        ("image", pa.struct({"bytes": pa.binary(), "path": pa.string()})),
        ("photo", pa.struct({"bytes": pa.large_binary()})),
        ("image", pa.list_(pa.binary())),
    ],
)
def test_columns_of_images_are_found_by_name_or_by_what_is_in_them(survey, image_column, kind):
    values = FILES
    if pa.types.is_struct(kind):
        values = [{"bytes": data, "path": None} for data in FILES]
    elif pa.types.is_list(kind):
        values = [[data] for data in FILES]
    weights = [b"\0" * 8] * 5  # bytes of something else
    put(survey / "s.parquet", {"weights": weights, image_column: pa.array(values, kind), "objID": range(BIG, BIG + 5)})
    found = rows(survey)
    assert list(found) == [str(BIG + i) for i in range(5)]
    for i, row in enumerate(found.values()):
        assert (row["file"], row["problem"]) == (f"s.parquet!/{BIG + i}.png", None)
        assert np.array_equal(image(survey, row["file"]), PIXELS[i])


@pytest.mark.parametrize("column", members.IDS)
def test_columns_of_ids_are_known_in_any_case_and_files_lose_folder_and_suffix(survey, column):
    named = [f"field 1/{name}.jpeg" if "file" in column or column == "path" else name for name in IDS]
    put(survey / "s.parquet", {column.upper(): named, "image": FILES})
    assert list(rows(survey)) == IDS


def test_ids_that_are_paths_lead_nowhere(survey):
    named = ["/data/a.png", "C:\\images\\b.png", "../../c.png", ".hidden", ".."]
    put(survey / "s.parquet", {"file": named, "image": FILES})
    found = rows(survey)
    assert set(found) == {"a", "b", "c", "_.hidden", "s_4"} and {row["problem"] for row in found.values()} == {None}


def test_shards_without_ids_keep_every_image(survey):
    for shard in range(2):
        values = [{"bytes": data, "path": None} for data in FILES]
        put(survey / f"train-0000{shard}-of-00002.parquet", {"image": values, "label": [0, 1, 0, 1, -1]})
    found = reader(survey.parent.parent)
    assert found.batches() == ["train-00000-of-00002", "train-00001-of-00002"]
    ids = [row["galaxy_id"] for batch in found.batches() for row in found.catalogue(batch).to_pylist()]
    assert ids == [f"train-0000{shard}-of-00002_{row}" for shard in range(2) for row in range(5)]


def test_a_row_without_image_or_id_is_a_row_of_the_catalogue(survey):
    put(survey / "s.parquet", {"id": ["a", None, "c", "d", "e"], "image": [FILES[0], FILES[1], None, b"", b"no image"]})
    found = rows(survey)
    assert {name: row["problem"] for name, row in found.items()} == {
        "a": None,
        "c": "unreadable",
        "d": "unreadable",
        "e": "unreadable",
        "s_1": None,
    }
    assert found["c"]["reason"] == found["d"]["reason"] == "its row holds no image"


def test_images_that_are_only_paths_are_said_to_be_elsewhere(survey):
    put(survey / "s.parquet", {"image": [{"bytes": None, "path": f"/data/{i}.jpg"} for i in range(5)]})
    found = rows(survey)
    assert list(found) == list("01234")
    assert found["3"]["reason"] == "its row holds no image, but the path /data/3.jpg: the file was not packed with it"


def test_several_images_of_a_row_have_a_name_each(survey):
    put(survey / "s.parquet", {"id": ["a", "b"], "image": [FILES[:2], FILES[2:3]]})
    assert list(rows(survey)) == ["a_1", "a_2", "b"]


def test_what_no_column_can_be_is_told_with_the_columns_there_are(survey):
    put(survey / "s.parquet", {"stamp": [b"x"] * 5, "redshift": [0.5] * 5})
    found = reader(survey.parent.parent)
    assert found.deliveries() == []
    with pytest.raises(SurveyError, match=r"no images found.*s.parquet: no column holds images; it has stamp \(binary"):
        found.batches()
    put(survey / "s.parquet", {"one": FILES, "other": FILES})
    (held,) = found.deliveries()
    assert held.state == "held" and held.reason is not None
    assert held.reason.startswith("2 columns may hold the images; it has one (binary), other (binary). Expected")
    put(survey / "s.parquet", {"image": FILES, "name of it": IDS})
    assert (
        "no column names its images, which are called s_0 and so on; it has image (binary), name of" in found.notes()[0]
    )


# --- Parquet: pixels


def nested(values: np.ndarray) -> pa.Array:
    kind = {"u": pa.uint8(), "f": pa.float32()}[values.dtype.kind]
    for _ in range(values.ndim - 1):
        kind = pa.list_(kind)
    return pa.array(values.tolist(), kind)


def test_pixels_in_nested_lists_and_tensors_are_images(survey):
    put(survey / "lists.parquet", {"id": IDS, "image": nested(PIXELS)})
    gap = FLOATS[..., 0].copy()
    gap[1, :3] = np.nan
    put(survey / "grey.parquet", {"id": IDS, "flux": nested(gap)})
    tensor = pa.FixedShapeTensorArray.from_numpy_ndarray(FLOATS)
    put(survey / "tensor.parquet", {"id": IDS, "array": tensor})
    found = {batch: rows(survey, batch) for batch in ("lists", "grey", "tensor")}
    for i, name in enumerate(IDS):
        assert np.array_equal(image(survey, found["lists"][name]["file"]), PIXELS[i])
        read = image(survey, found["grey"][name]["file"])
        assert read.dtype == np.float32 and np.array_equal(read, gap[i], equal_nan=True)
        assert np.array_equal(image(survey, found["tensor"][name]["file"]), FLOATS[i])


@pytest.mark.parametrize("layout", ["list of structs", "struct of lists"])
def test_fluxes_by_band_are_images_and_bands_can_be_chosen(survey, layout):
    planes = np.stack([FLOATS[i, ..., 0] + i for i in range(4)])
    bands = ["des-g", "des-r", "des-i", "des-z"]
    if layout == "list of structs":
        value: object = [{"band": band, "flux": plane.tolist()} for band, plane in zip(bands, planes, strict=True)]
    else:
        value = {"band": bands, "flux": planes.tolist()}
    put(survey / "s.parquet", {"object_id": ["a"], "image": [value]})
    (row,) = rows(survey).values()
    assert (row["width"], row["height"], row["problem"]) == (24, 20, None)
    assert image(survey, row["file"]).shape == (20, 24, 3)  # g, r, z
    assert np.array_equal(image(survey, row["file"], bands=("i",)), planes[2])


def test_rows_of_unequal_length_are_no_image(survey):
    kind = pa.list_(pa.list_(pa.uint8()))
    put(survey / "s.parquet", {"id": ["a", "b"], "image": pa.array([[[1, 2], [3]], [[1, 2], [3, None]]], kind)})
    found = rows(survey)
    assert found["a"]["reason"] == "the rows of its pixels have unequal lengths"
    assert found["b"]["problem"] == "too_small"


# --- what containers say of their images


def classes(*names: str) -> dict:
    features = {"label": {"names": list(names), "_type": "ClassLabel"}, "image": {"_type": "Image"}}
    return {"huggingface": json.dumps({"info": {"features": features}})}


def put_tar(path: Path, contents: dict[str, bytes]) -> None:
    with tarfile.open(path, "w") as archive:
        for name, data in contents.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))


def webdataset(path: Path) -> None:
    contents = {}
    for i, data in enumerate(FILES):
        contents |= {f"s/{i}.png": data, f"s/{i}.txt": b"a galaxy"}
        contents[f"s/{i}.json"] = json.dumps({"class": "ring", "ra": 10 + i, "dec": -1.5}).encode()
        if i != 4:
            contents[f"s/{i}.cls"] = f"{i % 2}\n".encode()
    put_tar(path, contents)


def dotted(path: Path) -> None:
    contents = {}
    for i, data in enumerate(FILES):
        contents[f"s/{i}.image.png"] = data
        contents[f"s/{i}.json"] = json.dumps({"class": i % 2, "ra": 10 + i, "dec": -1.5}).encode()
    put_tar(path, contents)


def galaxy10(path: Path) -> None:
    with h5py.File(path, "w") as file:
        file["images"], file["ans"] = PIXELS, np.arange(5, dtype=np.uint8)
        file["ra"], file["dec"] = np.arange(5.0) + 10, np.full(5, -1.5)


SAID: dict[str, tuple[Callable[[Path], None], list]] = {
    "tar": (webdataset, ["0", "1", "0", "1", "ring"]),
    "parquet": (
        lambda path: put(
            path,
            {"id": list("01234"), "image": FILES, "label": [0, 1, 0, -1, None], "RA": range(10, 15), "Dec": [-1.5] * 5},
            classes("smooth", "disc"),
        ),
        ["smooth", "disc", "smooth", None, None],
    ),
    "lists.parquet": (
        lambda path: put(
            path,
            {"image.bytes": FILES, "image.path": list("01234"), "Label": [[n] for n in (0, 1, 0, 1, None)]}
            | {"ra": range(10, 15), "dec": [-1.5] * 5},
        ),
        ["0", "1", "0", "1", None],
    ),
    "gaps.parquet": (
        lambda path: put(
            path,
            {"id": list("01234"), "image": FILES, "label": [0.0, 1.0, None, 1.0, 0.0]}
            | {"ra": range(10, 15), "dec": [-1.5] * 5},
        ),
        ["0", "1", None, "1", "0"],
    ),
    "named_otherwise.parquet": (
        lambda path: put(
            path,
            {"id": list("01234"), "image": FILES, "morph_class": list("abcde"), "size": range(5)}
            | {"ra": range(10, 15), "dec": [-1.5] * 5},
        ),
        list("abcde"),
    ),
    "dotted.tar": (dotted, list("01010")),
    "h5": (galaxy10, ["0", "1", "2", "3", "4"]),
}


@pytest.mark.parametrize("kind", SAID)
def test_classes_and_positions_in_a_container_are_those_of_the_catalogue(survey, kind):
    write, expected = SAID[kind]
    write(survey / f"s.{kind}")
    found = list(rows(survey).values())
    assert [row["label"] for row in found] == expected
    assert [(row["ra"], row["dec"]) for row in found] == [(10 + i, -1.5) for i in range(5)]
    (survey / "labels.csv").write_text(f"id,label\n{found[0]['galaxy_id']},other\n")
    assert [row["label"] for row in rows(survey, labels="labels.csv").values()] == ["other"] + [None] * 4


# --- arrays


def npz(path: Path, **arrays) -> None:
    np.savez(path, **arrays)


def packed(path: Path, **arrays) -> None:
    np.savez_compressed(path, **arrays)


def h5(path: Path, **arrays) -> None:
    with h5py.File(path, "w") as file:
        for name, values in arrays.items():
            file[name] = values


def chunked(path: Path, **arrays) -> None:
    with h5py.File(path, "w") as file:
        for name, values in arrays.items():
            file.create_dataset(name, data=values, chunks=(2, *values.shape[1:]), compression="gzip")


@pytest.mark.parametrize("write", [npz, packed, h5, chunked])
@pytest.mark.parametrize("values", [PIXELS, FLOATS[..., 0], np.moveaxis(FLOATS, 3, 1)], ids=["colour", "grey", "first"])
def test_a_stack_is_read_row_by_row_with_its_names(survey, write, values):
    name = "s.npz" if write in (npz, packed) else "s.hdf5"
    write(survey / name, images=values, object_id=np.arange(5) + BIG, y=np.arange(5) % 2)
    found = rows(survey)
    assert list(found) == [str(BIG + i) for i in range(5)]
    for i, row in enumerate(found.values()):
        assert (row["file"], row["label"], row["problem"]) == (f"{name}!/images/{i}.npy", str(i % 2), None)
        read, expected = image(survey, row["file"]), np.moveaxis(values[i], 0, 2) if values.shape[1] == 3 else values[i]
        assert read.dtype == values.dtype and np.array_equal(read, expected)
    (delivery,) = reader(survey.parent.parent).deliveries()
    assert (delivery.files, delivery.state) == (5, "whole")
    assert (survey / ".spool").exists() == (write in (packed, chunked))


def test_rows_are_read_by_many_threads_at_once(survey):
    chunked(survey / "s.h5", images=np.repeat(PIXELS, 8, axis=0))
    found = reader(survey.parent.parent)
    files = [f"s.h5!/images/{i}.npy" for i in range(40)] * 4
    with ThreadPoolExecutor(8) as pool:
        read = list(pool.map(found.image, files))
    assert all(np.array_equal(one, PIXELS[i % 40 // 8]) for i, one in enumerate(read))


def test_nan_stays_and_other_byte_orders_and_fortrans_are_read(survey):
    gap = FLOATS[..., 0].copy()
    gap[:, 2, 3] = np.nan
    npz(survey / "a.npz", x=np.asfortranarray(gap.astype(">f8")))
    packed(survey / "b.npz", x=np.asfortranarray(gap))
    np.save(survey / "c.npy", gap.astype(">f4"))
    for batch, file in (("a", "a.npz!/x/2.npy"), ("b", "b.npz!/x/2.npy"), ("c", "c.npy!/images/2.npy")):
        assert len(rows(survey, batch)) == 5
        assert np.array_equal(image(survey, file), gap[2], equal_nan=True)


@pytest.mark.parametrize(
    ("shape", "stack"),
    [
        ((20, 24), False),
        ((20, 24, 3), False),
        ((3, 20, 24), False),
        ((1, 20, 24), False),
        ((7, 20, 24), True),
        ((7, 20, 24, 3), True),
        ((7, 3, 20, 24), True),
        ((7, 5, 20, 24), True),
        ((7, 20, 24, 5), True),
        ((20, 24, 5), False),
        ((500, 12), False),
        ((7, 20, 24, 3, 2), False),
    ],
)
def test_which_arrays_are_stacks(shape, stack):
    assert is_stack(Kept(shape, np.dtype(np.float32))) is stack


@pytest.mark.parametrize(
    ("shape", "bands", "stack"),
    [
        ((5, 20, 24), (1,), False),
        ((5, 20, 24), (1, 3, 5), False),
        ((5, 20, 24), (1, 3, 6), True),
        ((5, 20, 24), ("g", "r", "z"), True),
        ((33, 20, 24), (1,), True),
        ((7, 5, 20, 24), (1,), True),
        ((7, 20, 24, 3), (1,), True),
        ((20, 24), (1,), False),
    ],
)
def test_planes_that_a_survey_chooses_among_are_one_image(shape, bands, stack):
    assert is_stack(Kept(shape, np.dtype(np.float32)), bands) is stack


@pytest.mark.parametrize(
    ("images", "labels", "classes"),
    [
        ("images", "labels", np.arange(5) % 2),
        ("x", "y", np.array(["spiral", "odd", "spiral", "odd", "odd"])),
        ("x_train", "y_train", np.eye(5, dtype=np.uint8)[[0, 1, 0, 1, 1]]),
        ("galaxies", "class", (np.arange(5) % 2).reshape(5, 1)),
    ],
)
def test_an_array_of_classes_beside_a_file_of_images_is_theirs(survey, images, labels, classes):
    np.save(survey / f"{images}.npy", PIXELS)
    np.save(survey / f"{labels}.npy", classes)
    np.save(survey / f"ids{images[images.index('_') :] if '_' in images else ''}.npy", np.array(IDS))
    found = reader(survey.parent.parent)
    (one,) = found.deliveries()
    told = [str(v) for v in (classes.argmax(axis=1) if classes.shape == (5, 5) else classes.ravel())]
    assert (one.name, one.files, one.state) == (images, 5, "whole")
    assert {path.name for path in found.files(images).values()} >= {f"{images}.npy", f"{labels}.npy"}
    assert [(row["galaxy_id"], row["label"]) for row in rows(survey).values()] == list(zip(IDS, told, strict=True))
    np.save(survey / f"{labels}.npy", np.zeros(5, np.int8))
    assert found.deliveries()[0].snapshot != one.snapshot and {r["label"] for r in rows(survey).values()} == {"0"}
    assert inspect(survey).listed[0].image.said.label == "0"


def test_an_array_of_one_axis_is_no_image_and_is_told(survey):
    np.save(survey / "a.npy", PIXELS)
    np.save(survey / "labels.npy", np.arange(4))
    np.save(survey / "b_labels.npy", np.arange(5))
    found = reader(survey.parent.parent)
    assert [one.name for one in found.deliveries()] == ["a"] and rows(survey)["a_0"]["label"] is None
    told = [note.partition(" is ")[0] for note in found.notes()]
    assert told == ["b_labels.npy: an array (5,) of int64", "labels.npy: an array (4,) of int64"]
    np.save(survey / "b.npy", PIXELS)
    assert rows(survey, "b")["b_3"]["label"] == "3" and rows(survey, "a")["a_3"]["label"] is None
    np.save(survey / "labels.npy", np.arange(5))  # whose it is of the two is not said
    assert rows(survey, "b")["b_3"]["label"] == "3" and rows(survey, "a")["a_3"]["label"] is None


def test_a_file_of_one_array_is_an_image_or_a_delivery(survey):
    np.save(survey / "one.npy", PIXELS[0])
    np.save(survey / "many.npy", PIXELS)
    found = reader(survey.parent.parent)
    assert [(d.name, d.kind, d.files) for d in found.deliveries()] == [("images", "folder", 1), ("many", "npy", 5)]
    assert list(rows(survey, "many")) == [f"many_{i}" for i in range(5)]
    assert np.array_equal(found.image("one.npy"), PIXELS[0])


SPLITS = {"test": "00000", "train": "20111"}


def test_train_and_test_are_both_taken_each_with_its_own_classes(survey):
    one_hot = np.eye(3, dtype=int)[[2, 0, 1, 1, 1]]
    np.savez(survey / "s.npz", x_test=PIXELS, y_test=[[0]] * 5, x_train=PIXELS, y_train=one_hot)
    found = {name: row["label"] for name, row in rows(survey).items()}
    assert found == {f"s_x_{split}_{i}": classes[i] for split, classes in SPLITS.items() for i in range(5)}


def test_arrays_of_one_image_each_are_named_by_their_group(survey):
    with h5py.File(survey / "s.h5", "w") as file:
        for i, name in enumerate(IDS):
            file[f"{name}/image/flux"] = np.moveaxis(FLOATS[i], 2, 0)
            file[f"{name}/image/band"] = np.array(["g", "r", "z"], dtype="S1")
            file[f"{name}/spectrum"] = np.ones(3000)
    found = rows(survey)
    assert list(found) == IDS and found["J1"]["file"] == "s.h5!/J1/image/flux.npy"
    assert np.array_equal(image(survey, "s.h5!/J1/image/flux.npy", bands=("r",)), FLOATS[1, ..., 1])


def test_of_several_stacks_the_one_called_images_is_taken_and_the_others_are_told(survey):
    bands = np.array([["des-g", "des-r", "des-i", "des-z", "des-y"]] * 4, dtype="S5")
    flux = np.random.default_rng(1).normal(size=(4, 5, 20, 24)).astype(np.float32)
    ids = np.array(IDS[:4], dtype=h5py.string_dtype())
    h5(survey / "s.h5", image_array=flux, image_ivar=np.ones((4, 5, 30, 34)), image_band=bands, object_id=ids)
    found = rows(survey)
    assert list(found) == IDS[:4] and found["J2"]["file"] == "s.h5!/image_array/2.npy"
    assert np.array_equal(image(survey, found["J2"]["file"], bands=("i",)), flux[2, 2])
    assert reader(survey.parent.parent).notes() == [
        "s.h5: the array image_array has 5 bands, named by image_band: `source.bands` chooses three or one of them; "
        "without it g, r, z are shown",
        "s.h5: not taken, since their names are those of errors, weights, masks and the like: image_ivar (4, 5, 30, "
        "34); call `images` what is meant",
    ]


def test_what_gives_no_class_is_told(survey):
    npz(survey / "a.npz", images=PIXELS, labels=np.arange(4))
    npz(survey / "b.npz", images=PIXELS, arr_1=np.arange(5))
    npz(survey / "c.npz", images=PIXELS, labels=np.arange(5))
    put(survey / "d.parquet", {"id": IDS, "image": FILES, "kind": IDS})
    with zipfile.ZipFile(survey / "e.zip", "w") as archive:
        archive.writestr("a.png", FILES[0])
        archive.writestr("labels.csv", "id,label")
    np.save(survey / "planes.npy", np.zeros((20, 24, 5)))  # an image, of which nothing is to be told
    told = reader(survey.parent.parent).notes()
    assert [note.partition(";")[0] for note in told] == [
        "a.npz: no array gives all images a class",
        "b.npz: no array gives all images a class",
        "d.parquet: no column gives classes",
        "e.zip: 1 tables in it are not read, such as labels.csv: unpack the one that has classes",
    ]
    assert "labels (4,) is not used" in told[0] and "arr_1 (5,) is not used" in told[1] and "kind (string)" in told[2]


def test_a_damaged_column_of_classes_is_told(survey):
    labels = [f"class {i}" for i in range(200)]
    put(survey / "s.parquet", {"id": labels, "image": FILES * 40, "label": labels}, compression="none")
    about = pq.ParquetFile(survey / "s.parquet").metadata.row_group(0).column(2)
    assert about.path_in_schema == "label"
    data = bytearray((survey / "s.parquet").read_bytes())
    begin = about.dictionary_page_offset
    data[begin : begin + about.total_compressed_size] = b"\xff" * about.total_compressed_size
    (survey / "s.parquet").write_bytes(data)
    (told,) = notes_of(survey / "s.parquet")
    assert told.startswith("cut short or damaged") and "deliver it again" in told


def test_ids_that_are_decimal_numbers_name_nothing(survey):
    npz(survey / "s.npz", images=PIXELS, id=np.arange(5) + float(BIG), name=np.array(IDS))
    assert list(rows(survey)) == IDS


# --- what is not opened


def test_no_pickle_is_loaded(survey):
    class Trap:
        def __reduce__(self):
            return (Path.touch, (survey / "executed",))

    np.savez(survey / "s.npz", images=PIXELS, ids=np.array([Trap()] * 5, dtype=object))
    np.save(survey / "t.npy", np.array([Trap()], dtype=object), allow_pickle=True)
    assert list(rows(survey, "s")) == [f"s_{i}" for i in range(5)]
    np.save(survey / "u.npy", np.array([[Trap()]], dtype=object), allow_pickle=True)
    assert list(rows(survey, "images")) == ["u"] and rows(survey, "images")["u"]["problem"] == "unreadable"
    assert not (survey / "executed").exists()
    assert "t.npy: an array (1,) of object is no image" in " ".join(reader(survey.parent.parent).notes())
    assert "the array ids holds Python objects, which are not read" in " ".join(reader(survey.parent.parent).notes())


def test_arrays_that_lie_in_other_files_are_not_read(survey, tmp_path):
    h5(tmp_path / "secret.h5", images=PIXELS)
    PIXELS.tofile(tmp_path / "secret.raw")
    layout = h5py.VirtualLayout(PIXELS.shape, PIXELS.dtype)
    layout[:] = h5py.VirtualSource(str(tmp_path / "secret.h5"), "images", PIXELS.shape)
    with h5py.File(survey / "s.h5", "w") as file:
        file["images"] = h5py.ExternalLink(str(tmp_path / "secret.h5"), "images")
        file.create_virtual_dataset("virtual/images", layout)
        file.create_dataset("raw", PIXELS.shape, np.uint8, external=[(str(tmp_path / "secret.raw"), 0, PIXELS.nbytes)])
    found = reader(survey.parent.parent)
    assert found.deliveries() == []
    said = " ".join(found.notes())
    assert "raw lies in other files" in said and "virtual/images lies in other files" in said
    assert "images is a link into another file and is not followed" in said


def test_hdf5_without_its_extra_holds_its_delivery_alone_and_names_it(survey, monkeypatch):
    h5(survey / "s.h5", images=PIXELS)
    npz(survey / "t.npz", images=PIXELS)
    with monkeypatch.context() as without:
        without.setitem(sys.modules, "h5py", None)  # as where it is not installed
        found = {one.name: one for one in reader(survey.parent.parent).deliveries()}
        assert (found["t"].state, found["s"].state) == ("whole", "held")
        assert found["s"].reason == "HDF5 is read by h5py, which is not installed: pip install 'galaxy-assets[formats]'"
        with pytest.raises(SurveyError, match=r"s\.h5: .*galaxy-assets\[formats\]"):
            reader(survey.parent.parent).catalogue("s")
        assert len(rows(survey, "t")) == 5
    assert [one.state for one in reader(survey.parent.parent).deliveries()] == ["whole", "whole"]
    assert len(rows(survey, "s")) == 5


# --- hostile files


def test_an_image_far_larger_than_its_packing_is_too_large(survey, monkeypatch):
    monkeypatch.setattr(members, "MAXIMUM_ARRAY", 2**20)
    zeros = bytes(2**21)
    with zipfile.ZipFile(survey / "a.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a.png", FILES[0])
        archive.writestr("zeros.png", zeros)
    with tarfile.open(survey / "b.tgz", "w:gz") as archive:
        info = tarfile.TarInfo("zeros.png")
        info.size = len(zeros)
        archive.addfile(info, io.BytesIO(zeros))
    assert {name: row["problem"] for name, row in rows(survey, "a").items()} == {"a": None, "zeros": "too_large"}
    assert rows(survey, "b")["zeros"]["problem"] == "too_large"


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_members_of_other_compressions_are_read_piece_by_piece(survey, method):
    with zipfile.ZipFile(survey / "a.zip", "w", method) as archive:
        archive.writestr("a.png", FILES[0])
    assert np.array_equal(image(survey, "a.zip!/a.png"), PIXELS[0])


@pytest.mark.parametrize("write", [npz, packed, h5])
def test_images_of_arrays_that_are_too_large_are_rows(survey, monkeypatch, write):
    monkeypatch.setattr(stacks, "MAXIMUM_ARRAY", PIXELS[0].nbytes - 1)
    write(survey / f"s.{'h5' if write is h5 else 'npz'}", images=PIXELS)
    found = rows(survey)
    assert len(found) == 5 and {row["problem"] for row in found.values()} == {"too_large"}


def test_archives_that_unpack_to_far_more_are_held(survey, monkeypatch):
    monkeypatch.setattr(spools, "MAXIMUM_SPOOL", 2**20)
    monkeypatch.setattr(shards, "MAXIMUM_ARRAY", 2**20)
    monkeypatch.setattr(hdf5, "MAXIMUM_BYTES", 2**20)
    monkeypatch.setattr(hdf5, "MAXIMUM_ARRAY", 2**20)
    zeros = np.zeros((64, 256, 256), np.uint8)
    packed(survey / "a.npz", images=zeros)
    with tarfile.open(survey / "b.tar.xz", "w:xz") as archive:
        info = tarfile.TarInfo("a.png")
        info.size = zeros.nbytes
        archive.addfile(info, io.BytesIO(zeros.tobytes()))
    put(survey / "c.parquet", {"id": ["a"], "image": [zeros.tobytes()]}, compression="zstd")
    with h5py.File(survey / "d.h5", "w") as file:
        file.create_dataset("never_written", (10_000_000, 64, 64), np.uint8, chunks=(1, 64, 64))
        file.create_dataset("one_chunk", data=zeros, chunks=zeros.shape, compression="gzip")
    found = reader(survey.parent.parent)
    for batch in ("a", "b"):
        with pytest.raises(SurveyError, match="unpack to more than"):
            found.catalogue(batch)
    held = {one.name: one.reason or "" for one in found.deliveries() if one.state == "held"}
    assert set(held) == {"a", "b", "c"} and "of column image unpack to" in held["c"]
    said = " ".join(found.notes())
    assert "never_written unpacks to 40960000000 bytes" in said and "one_chunk has chunks (64, 256, 256)" in said


def test_more_images_than_can_be_held_are_told(survey, monkeypatch):
    monkeypatch.setattr(members, "MAXIMUM_MEMBERS", 4)
    put_tar(survey / "a.tar", {f"{i}.png": data for i, data in enumerate(FILES)})
    npz(survey / "b.npz", images=PIXELS)
    put(survey / "c.parquet", {"id": IDS, "image": FILES})
    with zipfile.ZipFile(survey / "d.zip", "w") as archive:
        for i, data in enumerate(FILES):
            archive.writestr(f"{i}.png", data)
    found = reader(survey.parent.parent).deliveries()
    assert [(one.name, one.state) for one in found] == [(name, "held") for name in "abcd"]
    assert all(one.reason == "holds more than 4 files or images; deliver it in parts" for one in found)


def header(name: bytes, size: int, kind: bytes) -> bytes:
    fields = name.ljust(100, b"\0") + b"0000644\0" + b"0000000\0" * 2 + f"{size:011o}\0".encode() + b"0" * 11 + b"\0"
    block = (fields + b" " * 8 + kind).ljust(512, b"\0")
    return block[:148] + f"{sum(block):06o}\0 ".encode() + block[156:]


@pytest.mark.parametrize(
    "content",
    [
        header(b"././@LongLink", 2**24, b"L") + bytes(2**24),
        (header(b"././@LongLink", 512, b"L") + b"a".ljust(512, b"\0")) * 2000,
        header(b"x", 2**24, b"x") + b" " * 2**24,
    ],
    ids=["a name of 16 MB", "2000 headers before a file", "a header of 16 MB"],
)
def test_headers_without_end_are_damage(survey, content):
    (survey / "a.tar").write_bytes(content + header(b"a.png", 0, b"0") + bytes(1024))
    (delivery,) = reader(survey.parent.parent).deliveries()
    assert delivery.state == "held" and "cut short or damaged" in (delivery.reason or "")


DAMAGED = {
    "s.h5": lambda path: galaxy10(path),
    "s.npz": lambda path: npz(path, images=PIXELS),
    "s.npy": lambda path: np.save(path, PIXELS),
}


@pytest.mark.parametrize("name", DAMAGED)
@pytest.mark.parametrize("left", [0, 3, 200, 2000, -100])
def test_a_container_cut_short_is_held_or_its_images_unreadable(survey, name, left):
    DAMAGED[name](survey / name)
    data = (survey / name).read_bytes()
    (survey / name).write_bytes(data[:left])
    found = reader(survey.parent.parent).deliveries()
    if name == "s.npy" and 0 <= left < 128:  # no header left: an image that cannot be read
        assert rows(survey, "images")["s"]["problem"] == "unreadable"
    else:
        assert [one.state for one in found] == ["held"] and "cut short or damaged" in (found[0].reason or "")


# --- survey new


def png_zip(folder: Path) -> None:
    with zipfile.ZipFile(folder / "part1.zip", "w") as archive:
        for name, data in zip(IDS, FILES, strict=True):
            archive.writestr(f"{name}.png", data)


def hugging_face(folder: Path) -> None:
    for shard in range(2):
        values = [{"bytes": data, "path": None} for data in FILES]
        put(
            folder / f"train-0000{shard}-of-00002.parquet",
            {"image": values, "label": [0, 1, 0, 1, -1]},
            classes("smooth", "disc"),
        )


def tgz_of_fits(folder: Path) -> None:
    header = fits.Header({"CTYPE1": "RA---TAN", "CTYPE2": "DEC--TAN", "CRVAL1": 150.0, "CRVAL2": 2.0})
    with tarfile.open(folder / "f.tgz", "w:gz") as archive:
        for name, pixels in zip(IDS, FLOATS, strict=True):
            stream = io.BytesIO()
            fits.PrimaryHDU(pixels[..., 0], header).writeto(stream)
            info = tarfile.TarInfo(f"{name}.fits")
            info.size = len(stream.getvalue())
            archive.addfile(info, io.BytesIO(stream.getvalue()))


FOLDERS: dict[str, tuple[Callable[[Path], None], int, list[str], dict[str, int]]] = {
    "zip": (png_zip, 5, ["part1"], {}),
    "two shards": (hugging_face, 10, ["train-00000-of-00002", "train-00001-of-00002"], {"smooth": 4, "disc": 4}),
    "WebDataset": (lambda folder: webdataset(folder / "s.tar"), 5, ["s"], {"0": 2, "1": 2, "ring": 1}),
    "HDF5": (lambda folder: galaxy10(folder / "s.h5"), 5, ["s"], {str(i): 1 for i in range(5)}),
    "npz": (lambda folder: packed(folder / "s.npz", images=PIXELS, y=[0, 0, 0, 1, 1]), 5, ["s"], {"0": 3, "1": 2}),
    "FITS": (tgz_of_fits, 5, ["f"], {}),
}


@pytest.mark.parametrize("inner", [".", "images", "data"])
@pytest.mark.parametrize("kind", FOLDERS)
def test_a_folder_of_nothing_but_containers_is_looked_at_as_the_catalogue_holds_it(survey, kind, inner):
    write, n, batches, said = FOLDERS[kind]
    (survey / inner).mkdir(exist_ok=True)
    write(survey / inner)
    found = inspect(survey)
    labels = inside_labels(found)
    assert found.source.images == inner and found.deliveries == batches and found.notes == []
    assert (labels.classes if labels is not None else {}) == said
    reader = open_reader(found.source, survey)
    table = [row for batch in found.deliveries for row in reader.catalogue(batch).to_pylist()]
    assert found.files == sorted(row["file"] for row in table) and len(table) == n == len(found.widths)
    assert (found.headers is not None and found.headers.positions == {"WCS": 5}) == (kind == "FITS")
    survey_file = Survey.model_validate(
        yaml.safe_load(as_yaml(settings_for("mine", found, labels, False), found, labels))
    )
    assert survey_file.source == found.source
    assert [c.name for c in survey_file.evaluation.classes] == []  # fewer than ten of each


def test_images_of_another_format_beside_archives_are_told(survey):
    with zipfile.ZipFile(survey / "z.zip", "w") as archive:
        for i, data in enumerate(FILES):
            archive.writestr(f"{i}.png", data)
    fits.PrimaryHDU(FLOATS[0, ..., 0]).writeto(survey / "a.fits")
    assert "1 of 1 images have a format that image_folder does not read" in " ".join(cautions(inspect(survey), None))


def test_a_damaged_archive_beside_images_is_told_once(survey):
    (survey / "z.zip").write_bytes(b"PK\x03\x04 cut short")
    (survey / "a.png").write_bytes(FILES[0])
    assert sum("z.zip" in caution for caution in cautions(inspect(survey), None)) == 1


def test_archives_that_lie_deeper_than_the_images_are_told(survey):
    (survey / "other").mkdir()
    png_zip(survey / "other")
    png_zip(survey)
    found = inspect(survey)
    assert len(found.files) == 5 and "1 archives lie deeper than the images, such as other/part1.zip" in found.notes[0]


def test_a_table_of_labels_beside_the_containers_is_none(survey):
    (survey / "data").mkdir()
    png_zip(survey / "data")
    put(survey / "classes.parquet", {"id": IDS, "label": ["ring"] * 3 + ["bar"] * 2})
    found = inspect(survey)
    labels = inspect_labels(found, survey / "classes.parquet")
    assert found.source.images == "data" and labels.classes == {"ring": 3, "bar": 2}
    assert "classes.parquet" not in " ".join(cautions(found, labels))


def test_what_is_held_is_told(survey):
    png_zip(survey)
    put(survey / "s.parquet", {"image": FILES, "id": [0.5] * 5})
    np.savez(survey / "t.npz", images=PIXELS, ids=np.array([{}] * 5, dtype=object))
    said = " ".join(cautions(inspect(survey), None))
    assert "s.parquet: column id holds double values" in said
    assert "t.npz: the array ids holds Python objects, which are not read" in said


CASES = {
    "15-archives-only/huggingface": (24, {"0": 12, "1": 12}),
    "15-archives-only/huggingface_no_path": (24, {"smooth": 12, "featured": 12}),
    "15-archives-only/mmu_flux": (4, {}),
    "15-archives-only/npy": (24, {}),
    "15-archives-only/webdataset": (24, {"0": 12, "1": 12}),
    "15-archives-only/zip": (24, {}),
    "33-parquet-columns/binary_view": (6, {}),
    "33-parquet-columns/float_id": "column id holds double values; ids are text or whole numbers",
    "33-parquet-columns/image_iauname": (6, {}),
    "33-parquet-columns/image_objid": (6, {}),
    "33-parquet-columns/img": (6, {}),
    "33-parquet-columns/jpg": (6, {}),
    "33-parquet-columns/large_binary": (6, {}),
    "33-parquet-columns/list_of_images": (6, {}),
    "33-parquet-columns/null_id": (6, {}),
    "33-parquet-columns/null_image": (5, {}),
    "33-parquet-columns/path_only": "none of 6 images can be read.*the file was not packed with it",
    "33-parquet-columns/path_with_folders": (6, {}),
    "33-parquet-columns/webp": (6, {}),
}


def test_every_case_is_looked_at(real_data):
    there = {f"{case}/{one.name}" for case in CASE_FOLDERS for one in (real_data / "cases" / case).iterdir()}
    assert {name for name in there if not name.endswith(".txt")} == set(CASES)


CASE_FOLDERS = ("15-archives-only", "33-parquet-columns")


@pytest.mark.parametrize("case", CASES)
def test_cases_of_strangers_are_read_or_refused_with_the_reason(real_data, survey, case):
    shutil.copytree(real_data / "cases" / case, survey, dirs_exist_ok=True)
    expected = CASES[case]
    if isinstance(expected, str):
        with pytest.raises(SurveyError, match=expected):
            inspect(survey)
        return
    found = inspect(survey)
    labels = inside_labels(found)
    reader = open_reader(found.source, survey)
    table = [row for batch in found.deliveries for row in reader.catalogue(batch).to_pylist()]
    assert len({row["galaxy_id"] for row in table}) == len(table) == len(found.files)
    readable = sum(row["problem"] is None for row in table)
    assert (readable, labels.classes if labels is not None else {}) == expected and len(found.widths) == readable


# --- places


@pytest.mark.parametrize("kind", ["parquet", "tgz", "npz"])
def test_plain_tars_go_to_the_data_folder_where_none_can_be_written_beside_the_data(survey, tmp_path, kind):
    (survey / ".spool").write_text("in the way")
    if kind == "parquet":
        put(survey / "s.parquet", {"id": IDS, "image": FILES})
    elif kind == "npz":
        packed(survey / "s.npz", images=PIXELS, id=np.array(IDS))
    else:
        with tarfile.open(survey / "s.tgz", "w:gz") as archive:
            for name, data in zip(IDS, FILES, strict=True):
                info = tarfile.TarInfo(f"{name}.png")
                info.size = len(data)
                archive.addfile(info, io.BytesIO(data))
    found = rows(survey)
    assert list(found) == IDS and {row["problem"] for row in found.values()} == {None}
    (folder,) = (tmp_path / "spool").iterdir()
    assert folder.name.startswith("survey-") and [one.suffix for one in folder.iterdir()] == [".tar"]
    written = next(folder.iterdir()).stat().st_mtime_ns
    assert list(rows(survey)) == IDS and next(folder.iterdir()).stat().st_mtime_ns == written
    assert (survey / ".spool").read_text() == "in the way"


def test_a_plain_tar_beside_the_data_is_used_when_the_folder_may_no_more_be_written(survey, tmp_path):
    packed(survey / "s.npz", images=PIXELS)
    rows(survey)
    (survey / ".spool").chmod(0o555)
    survey.chmod(0o555)
    try:
        if os.access(survey, os.W_OK):
            pytest.skip("permissions do not bind this user")
        assert len(rows(survey)) == 5 and not (tmp_path / "spool").exists()
    finally:
        survey.chmod(0o755)
        (survey / ".spool").chmod(0o755)
