"""Folders of files with several planes, with gaps, and with more than 8 bits: what `survey new` finds and proposes."""

from pathlib import Path

import numpy as np
import pytest
import tifffile
from astropy.io import fits
from PIL import Image

from galaxy_assets.deliveries.onboarding.folders import folder_labels
from galaxy_assets.deliveries.onboarding.inspect import inspect
from galaxy_assets.deliveries.onboarding.labels import inspect_labels
from galaxy_assets.deliveries.onboarding.propose import settings_for
from galaxy_assets.deliveries.onboarding.report import cautions, table_of
from galaxy_assets.deliveries.readers import open_reader
from galaxy_assets_tests.deliveries.hostile import image, primary

Y, X = np.mgrid[:64, :64] - 32
RNG = np.random.default_rng(0)


def galaxy(peak: float = 1.0, noise: float = 0.02, sky: float = 0.0) -> np.ndarray:
    light = peak * np.exp(-0.5 * (X**2 + Y**2) / RNG.uniform(3, 6) ** 2)
    return (sky + light + RNG.normal(0, noise, X.shape)).astype(np.float32)


def put(folder: Path, *files: list) -> Path:
    folder.mkdir(exist_ok=True)
    for i, hdus in enumerate(files):
        fits.HDUList(hdus).writeto(folder / f"g{i:02d}.fits")
    return folder


def looked_at(folder: Path):
    found = inspect(folder)
    return found, {setting.key: setting for setting in settings_for("mine", found, None, False)}


def extensions(names: str | list[str], **how) -> list:
    return [primary(), *(image(galaxy(**how), name) for name in names)]


def cube(bands: str, **header: str) -> list:
    return [primary(np.stack([galaxy() for _ in bands]), **header)]


COLOUR = 64, 64, 3
CASES = {
    "g, r, z as extensions": (lambda: extensions("GRZ"), ["g", "r", "z"], "lupton", COLOUR),
    "counts on a pedestal": (lambda: extensions("GRZ", peak=300, sky=1000, noise=5), ["g", "r", "z"], "linear", COLOUR),
    "too faint": (lambda: extensions("GRZ", peak=1e-4, noise=1e-6), ["g", "r", "z"], "linear", COLOUR),
    "five named planes": (lambda: cube("ugriy", BANDS="ugriy"), ["u", "r", "y"], "linear", COLOUR),
    "DR10's four": (lambda: cube("griz", BANDS="griz"), ["g", "r", "z"], "lupton", COLOUR),
    "three without names": (lambda: cube("grz"), ["g", "r", "z"], "lupton", COLOUR),
    "two named": (lambda: cube("gi", BANDS="gi"), ["i"], None, (64, 64)),
    "four without names": (lambda: cube("abcd"), [1], None, (64, 64)),
    "one plane": (lambda: [primary(galaxy())], None, None, (64, 64)),
    "Euclid's fluxes": (
        lambda: extensions("VIS_FLUX NIR_Y_FLUX NIR_J_FLUX NIR_H_FLUX VIS_RMS NIR_Y_RMS VIS_PSF".split()),
        ["VIS", "J", "H"],
        "linear",
        COLOUR,
    ),
    "Euclid's by instrument": (
        lambda: extensions("NISP_H_SCI NISP_J_SCI NISP_Y_SCI VIS_SCI".split()),
        ["VIS", "J", "H"],
        "linear",
        COLOUR,
    ),
    "VIS and ground": (lambda: extensions("VIS DES_G DES_I NIR_H".split()), ["g", "i", "H"], "linear", COLOUR),
    "WISE": (lambda: extensions("W4 W3 W2 W1".split()), ["W1", "W3", "W4"], "linear", COLOUR),
    "GALEX": (lambda: extensions("NUV FUV NUV_BKG".split()), ["NUV"], None, (64, 64)),
    "2MASS": (lambda: extensions("2MASS_J 2MASS_H 2MASS_KS".split()), ["J", "H", "Ks"], "linear", COLOUR),
    "Hubble's": (lambda: extensions("F606W_SCI F814W_SCI F606W_WHT".split()), ["F814W"], None, (64, 64)),
}


@pytest.mark.parametrize("kind", CASES)
def test_planes_are_chosen_from_what_the_files_hold_and_named(kind, tmp_path):
    write, bands, colour, shape = CASES[kind]
    found, settings = looked_at(put(tmp_path / "images", *(write() for _ in range(6))))
    assert settings.get("source.bands", [None, None])[1] == bands
    assert (settings["source.colour"].value if "source.colour" in settings else None) == colour
    assert found.unreadable == [] and len(found.widths) == 6
    assert open_reader(found.source, tmp_path).image(found.files[0]).shape == shape
    if bands:
        assert found.bands.reason in dict(table_of(found))["planes"] and "6 of 6 files looked at" in found.bands.reason


def test_one_file_for_each_band_is_said(tmp_path):
    for i in range(4):
        for band in "grz":
            primary(galaxy()).writeto(tmp_path / f"g{i}_{band}.fits")
    found, _ = looked_at(tmp_path)
    assert "one band each of the same galaxies (g0: g, r, z)" in " ".join(cautions(found, None))
    for i in range(30):
        primary(galaxy()).writeto(tmp_path / f"x{i:02d}_z.fits")
    assert inspect(tmp_path).bands.caution == ""


@pytest.mark.parametrize(
    ("files", "said"),
    [
        (["2-cutout-HSC-{}-9813-pdr3_wide", "3-cutout-HSC-{}-9813-pdr3_wide"], "2-cutout-9813-pdr3_wide: G, I, R"),
        (["a_HSC-{}", "b_HSC-{}"], "a: G, I, R"),
        (["HSC-{}/a", "HSC-{}/b"], "a: G, I, R"),
        (["NIR_{}/a", "NIR_{}/b"], "a: G, I, R"),
        (["a_{}", "b_{}"], "a: G, I, R"),
        (["frame-{}-0039-1", "frame-{}-0039-2"], "frame-0039-1: G, I, R"),
        (["f1/a-{}-band", "f2/a-{}-band"], "f1/a: G, I, R"),
    ],
)
def test_one_file_for_each_band_is_said_however_people_name_them(files, said, tmp_path):
    for file in files:
        for band in "GRI":
            path = tmp_path / f"{file.format(band)}.fits"
            path.parent.mkdir(exist_ok=True)
            primary(galaxy()).writeto(path)
    found = inspect(tmp_path)
    assert f"one band each of the same galaxies ({said})" in found.bands.caution
    assert folder_labels(found) is None


@pytest.mark.parametrize("folders", [("VIS", "NIR_Y"), ("HSC-G", "HSC-R"), ("narrow", "wide")])
def test_folders_with_the_same_files_are_no_classes(folders, tmp_path):
    for folder in folders:
        (tmp_path / folder).mkdir()
        for name in ("J0012+03", "J0014-01", "J0101+22"):
            primary(galaxy()).writeto(tmp_path / folder / f"{name}.fits")
    assert folder_labels(inspect(tmp_path)) is None


@pytest.mark.parametrize("names", [["10000", "10001", "10002"], ["img (1)", "img (2)", "img (3)"]])
def test_folders_that_count_their_files_alike_are_classes(names, tmp_path):
    for folder in ("lens", "nonlens"):
        (tmp_path / folder).mkdir()
        for name in names:
            primary(galaxy()).writeto(tmp_path / folder / f"{name}.fits")
    assert folder_labels(inspect(tmp_path)) is not None


def test_names_that_differ_otherwise_than_by_bands_are_no_bands(tmp_path):
    names = [f"{kind}_{i}" for kind in ("E", "S", "SB") for i in range(4)] + [f"G{i}" for i in range(4)]
    for name in [*names, "J0012-01.2", "NGC-1-I", "u", "merger-B1"]:
        primary(galaxy()).writeto(tmp_path / f"{name}.fits")
    assert inspect(tmp_path).bands.caution == ""


def test_values_that_stand_for_no_data_are_told(tmp_path):
    images = [galaxy() for _ in range(5)]
    for one in images[:3]:
        one[:, :20] = -99999
    images[3][:8] = np.nan
    found, settings = looked_at(put(tmp_path / "images", *([primary(one)] for one in images)))
    assert found.sentinels == {-99999.0: 3} and len(found.nodata) == 4
    assert "-99999 in 3" in settings["cutout.nodata"].reason and "4 of 5 images" in dict(table_of(found))["no data"]
    assert "4 of 5 images have pixels without data, half of these" in " ".join(cautions(found, None))
    assert found.levels[0][0] > -1 and all(np.isfinite(found.levels).ravel())
    assert found.framing.outcomes["cropped"] == 5


def test_asinh_is_proposed_where_linear_levels_show_little(tmp_path):
    hot = [galaxy() for _ in range(6)]
    for one in hot:
        one[32, 33] = 1e4
    _, settings = looked_at(put(tmp_path / "hot", *([primary(one)] for one in hot)))
    assert (
        settings["cutout.stretch"].value == "asinh"
        and "fewer than 32 of 256 levels" in settings["cutout.stretch"].reason
    )
    _, settings = looked_at(put(tmp_path / "good", *([primary(galaxy())] for _ in range(6))))
    assert settings["cutout.stretch"].value == "linear" and "cutout.nodata" not in settings


def test_further_images_in_extensions_are_told_but_not_noise_and_masks(tmp_path):
    beside = [image(np.ones((64, 64), np.float32), name) for name in ("ERR", "DQ")]
    put(tmp_path / "a", *([primary(), image(galaxy(), "SCI"), *beside] for _ in range(3)))
    assert "extension" not in " ".join(cautions(inspect(tmp_path / "a"), None))
    put(tmp_path / "b", *([primary(), image(galaxy(), ""), image(galaxy(), ""), *beside] for _ in range(3)))
    told = " ".join(cautions(inspect(tmp_path / "b"), None))
    assert "3 files have a further image in the extensions 2, which is not shown: see source.extension." in told
    put(tmp_path / "c", *([primary(), image(galaxy(), "MODEL_A"), image(galaxy(), "MODEL_B"), *beside],) * 3)
    told = " ".join(cautions(inspect(tmp_path / "c"), None))
    assert "a further image in the extensions 2 (MODEL_B), which is not shown" in told


def test_folders_of_bands_are_no_classes(tmp_path):
    for band in "grz":
        put(tmp_path / band, *([primary(galaxy())] for _ in range(3)))
    found = inspect(tmp_path)
    assert folder_labels(found) is None
    assert "Files look like one band each of the same galaxies (g00: g, r, z)" in " ".join(cautions(found, None))


@pytest.mark.parametrize("n", [2, 4, 5])
@pytest.mark.parametrize("folder", [".", "part1", "part1 part2"])
def test_arrays_of_a_few_bands_are_one_image_each(n, folder, tmp_path):
    for i in range(12):
        home = tmp_path / folder.split()[i % len(folder.split())]
        home.mkdir(exist_ok=True)
        np.save(home / f"g{i:02d}.npy", np.stack([galaxy() for _ in range(n)]))
    found, settings = looked_at(tmp_path)
    assert len(found.files) == 12 and found.unreadable == [] and settings["source.bands"].value == [1]
    assert found.deliveries == (["images"] if folder == "." else folder.split())
    assert f".npy files of {n} planes are one image each" in " ".join(cautions(found, None))
    np.save(home / "later.npy", np.stack([galaxy() for _ in range(n)]))  # as a run reads it
    reader = open_reader(found.source, tmp_path)
    assert sum(len(listed) for listed in reader.listed_all().values()) == 13 and reader.batches() == found.deliveries
    assert reader.notes() == []


def test_stacks_of_few_images_stay_stacks(tmp_path):
    for name in ("train", "test"):
        np.save(tmp_path / f"{name}.npy", np.stack([galaxy() for _ in range(5)]))
    np.save(tmp_path / "many.npy", np.stack([galaxy() for _ in range(100)]))
    found, settings = looked_at(tmp_path)
    assert len(found.files) == 110 and "source.bands" not in settings


def picture() -> np.ndarray:
    levels = np.clip([galaxy(200, 2), galaxy(150, 2), galaxy(100, 2)], 0, 255)
    return np.moveaxis(levels, 0, -1).astype(np.uint8)


def pages(path: Path, n: int) -> None:
    tifffile.imwrite(
        path, np.stack([galaxy(200, 2) for _ in range(n)]).clip(0, 255).astype(np.uint8), photometric="minisblack"
    )


def test_one_odd_file_decides_no_bands(tmp_path):
    for i in range(29):
        tifffile.imwrite(tmp_path / f"g{i:02d}.tif", picture(), photometric="rgb")
    pages(tmp_path / "odd.tif", 2)
    found, settings = looked_at(tmp_path)
    assert "source.bands" not in settings and found.kinds == {"colour": 29}
    assert "1 of 30 files looked at have other planes than most: odd.tif (2)" in " ".join(cautions(found, None))


def test_bands_of_most_files_are_not_proposed_where_others_would_be_read_otherwise(tmp_path):
    put(tmp_path, *(cube("griz", BANDS="griz") for _ in range(6)))
    fits.HDUList(cube("ugi", BANDS="ugi")).writeto(tmp_path / "odd.fits")
    found, settings = looked_at(tmp_path)
    assert "source.bands" not in settings and found.unreadable == []
    assert "odd.fits (3)" in found.bands.caution


def test_files_that_are_not_read_without_bands_have_them_and_the_others_are_named(tmp_path):
    for i in range(6):
        pages(tmp_path / f"g{i}.tif", 5)
    tifffile.imwrite(tmp_path / "odd.tif", picture(), photometric="rgb")
    Image.fromarray(picture()).save(tmp_path / "fine.png")
    found, settings = looked_at(tmp_path)
    assert settings["source.bands"].value == [1] and found.unreadable == []
    assert "changes how others are read: odd.tif (3)." in found.bands.caution


@pytest.mark.parametrize("kind", ["four planes of floats", "four planes first", "alpha", "grey and alpha"])
def test_four_planes_are_a_picture_only_where_the_last_is_alpha(kind, tmp_path):
    planes = np.stack([galaxy(200, 2) for _ in range(4)], -1).clip(0, 255)
    for i in range(6):
        if kind == "four planes of floats":
            np.save(tmp_path / f"g{i}.npy", planes)
        elif kind == "four planes first":
            pages(tmp_path / f"g{i}.tif", 4)
        elif kind == "alpha":
            np.save(tmp_path / f"g{i}.npy", planes.astype(np.uint8))
        else:
            tifffile.imwrite(
                tmp_path / f"g{i}.tif",
                planes[..., :2].astype(np.uint8),
                photometric="minisblack",
                extrasamples=["unassalpha"],
            )
    found, settings = looked_at(tmp_path)
    assert found.unreadable == [] and len(found.widths) == 6
    assert settings.get("source.bands", [None, None])[1] == ([1] if "planes" in kind else None)


def test_a_picture_in_fits_keeps_its_colours_and_levels(tmp_path):
    shown = [picture() for _ in range(6)]
    put(tmp_path, *([primary(np.moveaxis(one, -1, 0).copy())] for one in shown))
    found, settings = looked_at(tmp_path)
    assert not {"source.bands", "source.colour"} & settings.keys() and found.types == {"uint8": 6}
    assert np.array_equal(open_reader(found.source, tmp_path).image("g00.fits"), shown[0])


@pytest.mark.parametrize("name", ["g{i}/{band}.fits", "g{i}/sci_{band}.fits", "{band}/g{i}_{band}.fits"])
def test_one_file_for_each_band_in_folders_is_said(name, tmp_path):
    for i in range(4):
        for band in "grz":
            path = tmp_path / name.format(i=i, band=band)
            path.parent.mkdir(exist_ok=True)
            primary(galaxy()).writeto(path)
    assert "one band each of the same galaxies (g0: g, r, z)" in inspect(tmp_path).bands.caution.replace("/sci", "")


def test_a_table_of_labels_among_the_images_is_no_image(tmp_path):
    put(tmp_path, *([primary(galaxy())] for _ in range(6)))
    table = tmp_path / "classes.fits"
    columns = [
        fits.Column("id", "3A", array=[f"g{i:02d}" for i in range(6)]),
        fits.Column("label", "1A", array=list("ababab")),
    ]
    fits.BinTableHDU.from_columns(columns).writeto(table)
    found = inspect(tmp_path, table=table)
    assert len(found.files) == 6 and found.unreadable == []
    said = inspect_labels(found, table)
    assert said.named == 6 and [len(one) for one in open_reader(said.source, tmp_path).listed_all().values()] == [6]
    (tmp_path / "part").mkdir()
    for i in range(6):
        (tmp_path / f"g{i:02d}.fits").rename(tmp_path / "part" / f"g{i:02d}.fits")
    assert inspect(tmp_path, table=table).deliveries == ["part"]
    table.rename(tmp_path / "part/classes.fits")
    assert len(inspect(tmp_path, table=tmp_path / "part/classes.fits").files) == 6
