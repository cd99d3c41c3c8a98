"""Folders of files with several planes, with gaps, and with more than 8 bits: what `survey new` finds and proposes."""

from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits

from galaxy_assets.deliveries.onboarding.inspect import inspect
from galaxy_assets.deliveries.onboarding.labels import folder_labels
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


def extensions(names: str, **how) -> list:
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


def test_folders_of_bands_are_no_classes(tmp_path):
    for band in "grz":
        put(tmp_path / band, *([primary(galaxy())] for _ in range(3)))
    found = inspect(tmp_path)
    assert folder_labels(found) is None
    assert "Files look like one band each of the same galaxies (g00: g, r, z)" in " ".join(cautions(found, None))
