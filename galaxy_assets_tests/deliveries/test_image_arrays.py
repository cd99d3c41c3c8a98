"""Which arrays of a container are images, what they are called, and what is told of those that are not."""

import time
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest

from galaxy_assets.deliveries.image_arrays import Kept, stacks_of
from galaxy_assets.deliveries.onboarding.inspect import inspect
from galaxy_assets.deliveries.onboarding.labels import inspect_labels
from galaxy_assets.deliveries.onboarding.report import cautions
from galaxy_assets.settings.files import SurveyError
from galaxy_assets_tests.deliveries.test_containers import FILES, IDS, image, put, reader, rows, survey

__all__ = ["survey"]

CUBES = np.random.default_rng(2).normal(5, 1, (5, 5, 20, 24)).astype(np.float32)
GREY = CUBES[:, 0]
FLOAT = np.dtype(np.float32)


def h5(path: Path, **arrays) -> None:
    with h5py.File(path, "w") as file:
        for name, values in arrays.items():
            file[name] = values


def cubes_in_npz(folder: Path) -> None:
    np.savez(folder / "s.npz", **dict(zip(IDS, CUBES[:, :2], strict=True)))


def cubes_in_groups(folder: Path) -> None:
    h5(folder / "s.h5", **{f"{name}/image": cube for name, cube in zip(IDS, CUBES[:, :2], strict=True)})


@pytest.mark.parametrize("write", [cubes_in_npz, cubes_in_groups])
def test_an_array_of_bands_for_each_galaxy_is_one_image_each(survey, write: Callable[[Path], None]):
    write(survey)
    found = inspect(survey)
    assert [one.galaxy_id for one in found.listed] == IDS and found.source.bands == (1,)
    assert len(found.notes) == 1 and "5 arrays such as J0" in found.notes[0] and "2 planes without" in found.notes[0]
    assert np.array_equal(image(survey, found.files[3], bands=(2,)), CUBES[3, 1])


def test_a_few_arrays_of_a_few_images_stay_so():
    for names in (["a", "b", "c", "d"], ["train/spirals", "test/spirals", "val/spirals"]):
        stacks, _ = stacks_of({name: Kept((5, 20, 24), FLOAT) for name in names})
        assert [stack.n for stack in stacks] == [5]
    kept = {name: Kept((5, 20, 24), FLOAT) for name in ("x_train", "x_test", "x_val")}
    assert [stack.n for stack in stacks_of(kept)[0]] == [5, 5, 5]
    kept = {name: Kept((5, 20, 24), FLOAT) for name in ("a", "b")}
    assert [(stack.path, stack.n) for stack in stacks_of(kept)[0]] == [("a", 5)]


@pytest.mark.parametrize("name", ["mask", "psf", "ivar", "err", "WHT_g", "image_ivar", "sky"])
def test_what_lies_beside_an_image_is_no_galaxy_and_is_told(survey, name):
    h5(survey / "s.h5", **{f"J{i}/{what}": GREY[i] for i in range(5) for what in ("image", name)})
    np.savez(survey / "t.npz", img=CUBES, **{name: np.concatenate([CUBES, CUBES])})
    np.savez(survey / "u.npz", **dict(zip(IDS, GREY, strict=True)), **{name: GREY[0]})
    assert list(rows(survey, "s")) == list(rows(survey, "u")) == IDS
    assert list(rows(survey, "t")) == [f"t_{i}" for i in range(5)]
    told = reader(survey.parent.parent).notes()
    assert sum("names are those of errors, weights, masks and the like" in note for note in told) == 3
    assert f"J0/{name} (20, 24), J1/{name}" in told[0]


@pytest.mark.parametrize(
    ("named", "images"),
    [
        ("high_quality/images", None),
        ("exp1/images", None),
        ("sky/images", None),
        ("sky_images", None),
        ("images_with_noise", None),
        ("J_rms{}", IDS),
        ("sky_{}/image", IDS),
        ("var_{}/image", IDS),
        ("exp_1/K{}", IDS),
    ],
)
def test_a_word_for_errors_in_a_path_hides_no_image_where_nothing_else_is_one(named, images):
    if images is None:
        (stack,) = stacks_of({named: Kept((50, 20, 24), FLOAT), "table": Kept((50, 7), FLOAT)})[0]
        assert (stack.path, stack.n) == (named, 50)
        return
    kept = {named.format(i): Kept((20, 24), FLOAT) for i in range(5)}
    assert [stack.path for stack in stacks_of(kept)[0]] == list(kept)
    also = kept | {"table": Kept((200, 30), FLOAT)}
    assert len(stacks_of(also)[0]) == 6


def test_one_array_called_data_or_x_swallows_no_file_of_galaxies():
    galaxies = {f"J{i}": Kept((20, 24), FLOAT) for i in range(5)}
    for name in ("x", "data", "table/data"):
        assert set(galaxies) <= {stack.path for stack in stacks_of(galaxies | {name: Kept((200, 30), FLOAT)})[0]}
    groups = {f"J{i}/{what}": Kept((20, 24), FLOAT) for i in range(5) for what in ("image", "model")}
    groups |= {f"K{i}/stamp": Kept((20, 24), FLOAT) for i in range(5)}
    taken = {stack.path for stack in stacks_of(groups)[0]}
    assert taken == {path for path in groups if not path.endswith("model")}


def test_channels_last_are_images_whatever_masks_are_beside_them(survey):
    last = np.moveaxis(CUBES, 1, 3)
    h5(survey / "s.h5", images=last, masks=np.ones((5, 20, 24), np.uint8), band=np.array(list("ugriz"), "S1"))
    np.save(survey / "t.npy", last)
    for batch in "st":
        found = rows(survey, batch, bands=(4,))
        assert list(found) == [f"{batch}_{i}" for i in range(5)]
        assert {(row["width"], row["height"], row["problem"]) for row in found.values()} == {(24, 20, None)}
        assert np.array_equal(image(survey, found[f"{batch}_2"]["file"], bands=(4,)), CUBES[2, 3])
    assert np.array_equal(image(survey, "s.h5!/images/2.npy", bands=("i",)), CUBES[2, 3])


def test_every_array_that_may_hold_images_and_is_not_taken_is_told_and_few_are_named():
    kept = {
        "images": Kept((50, 20, 24), FLOAT),
        "models": Kept((50, 20, 24), FLOAT),
        "odd": Kept((4, 4, 20, 24, 2), FLOAT),
    }
    kept |= {f"k{i}": Kept((20, 24), FLOAT) for i in range(1000)} | {"spectra": Kept((50, 3000), FLOAT)}
    stacks, notes = stacks_of(kept)
    assert [stack.path for stack in stacks] == ["images"]
    (told,) = [note for note in notes if "may be images too" in note]
    assert "models (50, 20, 24), odd (4, 4, 20, 24, 2), k0 (20, 24)" in told and "and 994 more" in told
    assert len(" ".join(notes)) < 1000 and "spectra (50, 3000) is not used" in " ".join(notes)


@pytest.mark.parametrize("inner", ["image", "arr_0", "sci", "J7/image/flux"])
@pytest.mark.parametrize("suffix", ["npz", "h5"])
def test_a_file_of_one_image_names_it(survey, inner, suffix):
    for name in IDS[:2]:
        (np.savez if suffix == "npz" else h5)(survey / f"{name}.{suffix}", **{inner: GREY[0] + len(name)})
    assert [name for batch in IDS[:2] for name in rows(survey, batch)] == IDS[:2]


def test_what_every_group_or_a_program_says_is_no_id_and_no_class(survey):
    for batch, called in (("s", "galaxies of a survey"), ("t", "NGC {}")):
        with h5py.File(survey / f"{batch}.h5", "w") as file:
            for i, name in enumerate(IDS):
                file[f"{name}/image"] = GREY[i]
                file[name].attrs["name"] = called.format(i)
                file[f"{name}/image"].attrs["label"] = "flux [nJy]"
    assert list(rows(survey, "s")) == IDS and list(rows(survey, "t")) == [f"NGC {i}" for i in range(5)]
    assert {row["label"] for row in rows(survey, "s").values()} == {None}
    for i in range(2):
        with h5py.File(survey / f"K{i}.h5", "w") as file:
            file["image"] = GREY[i]
            file.attrs["path"], file.attrs["name"] = "/data/out", "cutout"
    assert [list(rows(survey, f"K{i}")) for i in range(2)] == [["K0"], ["K1"]]


def test_a_file_of_many_thousand_arrays_is_looked_at_once():
    n = 20_000
    groups = {f"J{i}/image": Kept((5, 20, 24), FLOAT) for i in range(n)}
    groups |= {f"J{i}/band": Kept((5,), np.dtype("S1")) for i in range(n)}
    for home in ("", "all/"):
        flat = {f"{home}K{i}": Kept((20, 24), FLOAT) for i in range(n)}
        flat |= {f"{home}K{i}_label": Kept((), FLOAT) for i in range(n)}
        flat |= {f"{home}L{i}": Kept((5,), FLOAT) for i in range(n)}
        begun = time.process_time()
        assert len(stacks_of(flat)[0]) == n
        stacks, _ = stacks_of(groups | flat)
        assert len(stacks) == 2 * n and stacks[7].bands == "J7/band" and time.process_time() - begun < 20


# --- classes


def test_classes_that_are_none_are_told_with_a_value(survey):
    fractions = np.full((5, 37), 0.25)
    np.savez(survey / "a.npz", images=GREY, labels=fractions)
    np.savez(survey / "b.npz", images=GREY, labels=np.arange(5) / 4)
    put(survey / "c.parquet", {"id": IDS, "image": FILES, "label": [0.5, 1.0, None, 0.25, 2.0]})
    told = reader(survey.parent.parent).notes()
    assert "the array labels (5, 37) gives 5 of 5 images no class, such as row 0: [0.25 0.25" in told[0]
    assert "the array labels (5,) gives 3 of 5 images no class, such as row 1: 0.25" in told[1]
    assert "column label gives 2 of 5 images no class, such as 0.5" in told[2]
    assert [row["label"] for row in rows(survey, "b").values()] == ["0", None, None, None, "1"]


def test_one_row_of_no_class_costs_no_other_its_class(survey):
    one_hot = np.eye(3)[[0, 2, 1, 1, 0]]
    one_hot[3] = 0
    np.savez(survey / "a.npz", images=GREY, labels=one_hot)
    assert [row["label"] for row in rows(survey).values()] == ["0", "2", "1", None, "0"]
    assert "gives 1 of 5 images no class, such as row 3: [0. 0. 0.]" in reader(survey.parent.parent).notes()[0]
    one_hot[3] = 1, 1, 0  # answers to questions, of which several may be yes
    np.savez(survey / "a.npz", images=GREY, labels=one_hot)
    assert {row["label"] for row in rows(survey).values()} == {None}


def test_single_values_and_attributes_of_a_group_are_those_of_its_image(survey):
    with h5py.File(survey / "s.h5", "w") as file:
        for i, name in enumerate(IDS):
            file[f"{name}/image"] = GREY[i]
            file[f"{name}/label"] = "ring" if i else np.int64(7)
            file[name].attrs["ra"], file[f"{name}/image"].attrs["dec"] = 10.0 + i, -1.5
            file[name].attrs["CLASS"] = "GROUP"  # PyTables
        file["label"] = "of no image alone"
    np.savez(survey / "one.npz", image=GREY[0], label="bar", id=np.int64(2**60 + 1), ra=3.0, dec=4.0)
    found = rows(survey, "s")
    assert list(found) == IDS and [row["label"] for row in found.values()] == ["7", *["ring"] * 4]
    assert [(row["ra"], row["dec"]) for row in found.values()] == [(10.0 + i, -1.5) for i in range(5)]
    (row,) = rows(survey, "one").values()
    assert (row["galaxy_id"], row["label"], row["ra"], row["dec"]) == (str(2**60 + 1), "bar", 3.0, 4.0)


def test_a_table_in_the_order_of_the_rows_is_told_how_they_are_called(survey):
    np.savez(survey / "s.npz", images=GREY)
    (survey / "labels.csv").write_text("index,label\n" + "".join(f"{i},{'ab'[i % 2]}\n" for i in range(5)))
    with pytest.raises(SurveyError, match="called s_0 to s_4 by their rows.*column `id` with s_0, s_1"):
        inspect_labels(inspect(survey), survey / "labels.csv")


# --- what is not read


def test_values_of_any_length_are_told(survey):
    with h5py.File(survey / "s.h5", "w") as file:
        files = file.create_dataset("images", (5,), h5py.vlen_dtype(np.uint8))
        for i, data in enumerate(FILES):
            files[i] = np.frombuffer(data, np.uint8)
        file.create_dataset("places", (5,), h5py.ref_dtype)
    found = reader(survey.parent.parent)
    with pytest.raises(SurveyError, match=r"not read: images \(5,\), places \(5,\); save images as numbers"):
        found.batches()


def test_images_whose_axis_is_the_last_are_doubted(survey):
    np.savez(survey / "s.npz", images=np.random.default_rng(0).normal(size=(20, 20, 50)))
    said = " ".join(cautions(inspect(survey), None))
    assert "(20, 20, 50) is taken as 20 images of 50 x 20 pixels: if it is 50 images of 20 x 20, save it" in said
