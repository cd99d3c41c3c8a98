"""Errors, weights and masks by their names: of extensions, arrays and files."""

import time
import zipfile

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from galaxy_assets.deliveries.beside import files_beside, kind_of_name
from galaxy_assets.deliveries.decoding.fits import not_shown
from galaxy_assets.deliveries.images import UnreadableImage, decode
from galaxy_assets.deliveries.onboarding.inspect import inspect
from galaxy_assets.settings.source import Source
from galaxy_assets_tests.deliveries.hostile import fits_bytes, image, primary
from galaxy_assets_tests.deliveries.test_containers import reader, rows, survey
from galaxy_assets_tests.deliveries.test_drop import manifest, png, put_folder, put_zip

__all__ = ["survey"]

BANDS = ["F160W", "f814w", "G", "r", "z", "NUV", "Ks"]
BESIDE = ["WHT", "err", "VAR", "ivar", "Mask", "masks", "PSF", "wei", "msk", "DQ", "chi2", "flags"]
GRZ = np.random.default_rng(3).normal(3, 1, (3, 40, 44)).astype(np.float32)


@given(
    st.sampled_from(BESIDE), st.sampled_from(BANDS), st.sampled_from(["_", "-", " ", "."]), st.booleans(), st.booleans()
)
def test_a_band_in_a_name_hides_no_weight(word, band, between, first, image_too):
    parts = [band, word] if first else [word, band]
    name = between.join([*parts, "image"] if image_too else parts)
    assert kind_of_name(name) == "beside"


@pytest.mark.parametrize(
    "name",
    ["image", "x", "galaxy", "sky_subtracted", "F160W", "maskelyne", "varied", "J1", "DATA_NO_SKY", "x-minus-bkg", ""],
)
def test_other_names_are_none(name):
    assert kind_of_name(name) is None


@given(
    st.lists(
        st.builds(
            "{}{}{}.{}".format,
            st.sampled_from(["", "a/", "b/"]),
            st.sampled_from(["x", "y_1", "J12+3.4", "mask", "exp_2"]),
            st.sampled_from(
                ["", "_sci", "_wht", "-mask", "_mask_2", ".weight", "_drz", "_small", "_small_mask", "_wht_thumb"]
            ),
            st.sampled_from(["png", "fits", "fits.gz"]),
        ),
        unique=True,
    )
)
def test_every_file_that_is_left_out_has_an_image_that_is_taken(names):
    beside = files_beside(names)
    taken = {name for name in names if name not in beside}
    assert set(beside) <= set(names) and set(beside.values()) <= taken
    assert all(name.rpartition("/")[0] == other.rpartition("/")[0] for name, other in beside.items())


def test_weights_and_masks_in_files_of_their_own_are_no_galaxies_and_are_told(survey):
    names = ["a.png", "a_mask.png", "b_sci.png", "b_wht.png", "c_F814W_drz.png", "c_F814W_wht.png", "d_mask.png"]
    (survey / "b1").mkdir()
    for i, name in enumerate(names):
        (survey / "b1" / name).write_bytes(png(i))
    with zipfile.ZipFile(survey / "b2.zip", "w") as archive:
        for name in names:
            archive.write(survey / "b1" / name, name)
    for batch in ("b1", "b2"):
        assert list(rows(survey, batch)) == ["a", "b_sci", "c_F814W_drz", "d_mask"]
    assert [one.files for one in reader(survey.parent.parent).deliveries()] == [4, 4]
    told = inspect(survey).notes
    assert len(told) == 2 and all("3 files are not taken" in note and "a_mask.png of a.png" in note for note in told)


@pytest.mark.parametrize(
    "names",
    [["J.png", "J_rms12.png"], ["1.png", "sky_1.png"], ["x.png", "x_mask_2.png"], ["a/x.png", "b/x_mask.png"]],
)
def test_a_word_that_is_not_the_last_or_has_a_number_leaves_no_file_out(names):
    assert files_beside(names) == {}


@pytest.mark.parametrize("word", ["_thumb", "-thumbnail", "_thumbs", ".preview", "_quicklook", "_small"])
def test_small_copies_of_images_are_left_out(word):
    names = ["a/x_1.png", f"a/x_1{word}.png", f"b/y{word}.png", "a/smallest.png", "a/small_1.png"]
    assert files_beside(names) == {names[1]: names[0]}
    assert kind_of_name("SMALL") is None, "an extension may be an image of its own"


@pytest.mark.parametrize(
    "image",
    ["cosmos_small_000.fits", "ngc1_small.fits", "Small_Cloud_1.png", "preview_001.png", "sky_1.png", "x_mask_2.png"],
)
@pytest.mark.parametrize("word", ["wht", "mask", "thumb"])
def test_an_image_whose_name_has_such_a_word_has_files_beside_it_too(image, word):
    stem, _, suffix = image.rpartition(".")
    assert files_beside([image, f"{stem}_{word}.{suffix}"]) == {f"{stem}_{word}.{suffix}": image}


def test_a_small_science_image_is_an_image_and_what_lies_beside_a_small_copy_lies_beside_the_image():
    names = ["x_sci.fits", "x_small_sci.fits", "x_wht.fits", "x_small_wht.fits"]
    assert files_beside(names) == {names[2]: names[0], names[3]: names[1]}
    names = ["x_small_mask.png", "x_small.png", "x.png", "x_mask_thumb.png", "x_mask.png"]
    assert files_beside(names) == dict.fromkeys([*names[:2], *names[3:]], "x.png")


def test_weights_of_a_band_are_those_of_the_science_image():
    names = ["hst_sci_f160w.fits", "hst_wht_f160w.fits", "x_drz_1.fits", "x_rms_1.fits"]
    assert files_beside(names) == {names[1]: names[0], names[3]: names[2]}


def test_many_names_without_such_a_word_are_looked_at_in_a_moment():
    names = [f"J{i:07}.{i % 97:02}+01.fits" for i in range(200_000)]
    begun = time.process_time()
    assert files_beside(names) == {} and time.process_time() - begun < 0.5


def test_what_the_manifest_names_is_an_image_whatever_it_is_called(survey):
    contents = {"a.png": png(1), "a_mask.png": png(2), "b.png": png(3), "b_mask.png": png(4)}
    named = {name: data for name, data in contents.items() if name != "b_mask.png"}
    put_folder(survey / "b1", contents | {"manifest.csv": manifest(named)})
    put_zip(survey / "b2.zip", contents | {"manifest.csv": manifest(named)})
    for batch in ("b1", "b2"):
        assert list(rows(survey, batch)) == ["a", "a_mask", "b"]
    (told,) = [note for note in reader(survey.parent.parent).notes() if "are not taken" in note]
    assert told.startswith("b1: 1 files are not taken") and "b_mask.png of b.png" in told


# --- FITS


@pytest.mark.parametrize("called", ["SCI_{}", "{}_SCI", "{}", "{}_IMAGE"])
@pytest.mark.parametrize("beside", ["WHT_{}", "{}_WHT", "{}_VAR", "ERR_{}", "VAR_POISSON_{}"])
def test_bands_are_the_planes_whatever_lies_beside_each(called, beside):
    bands = ["F435W", "F606W", "F814W"]
    hdus = []
    for band, values in zip(bands, GRZ, strict=True):
        hdus += [image(-values, beside.format(band)), image(values, called.format(band))]
    found = decode(fits_bytes(primary(), *hdus), Source(reader="fits_folder", path=".", bands=tuple(bands)))
    assert np.array_equal(found, np.moveaxis(GRZ[::-1], 0, -1))


def test_a_band_that_the_only_plane_is_not_is_an_error():
    one = fits_bytes(primary(), image(GRZ[0], "SCI_F160W"), image(-GRZ[0], "WHT_F160W"))
    by = Source(reader="fits_folder", path=".", bands=("F606W",))
    with pytest.raises(UnreadableImage, match="no band F606W, which `source.bands` asks for.*named F160W"):
        decode(one, by)
    assert np.array_equal(decode(one, by.model_copy(update={"bands": ("F160W",)})), GRZ[0])
    assert np.array_equal(decode(one, by.model_copy(update={"bands": (1,)})), GRZ[0])
    unnamed = fits_bytes(primary(GRZ[0]))
    assert np.array_equal(decode(unnamed, by), GRZ[0])


@pytest.mark.parametrize(("header", "bands"), [("Ks", ("K",)), ("g DECam SDSS c0001", ("V",)), ("G", ("g", "r", "z"))])
def test_a_plane_whose_band_may_be_meant_is_shown(header, bands):
    hdu = image(GRZ[0], "SCI")
    hdu.header["FILTER"] = header
    by = Source(reader="fits_folder", path=".", bands=bands)
    assert np.array_equal(decode(fits_bytes(primary(), hdu), by), GRZ[0])
    assert np.array_equal(decode(fits_bytes(primary(), image(GRZ[0], "RUN_I")), by), GRZ[0])


def test_an_image_without_its_sky_is_the_image_and_not_the_model():
    data = fits_bytes(primary(), image(GRZ[0], "DATA_NO_SKY"), image(GRZ[1], "MODEL"))
    assert np.array_equal(decode(data), GRZ[0])


def test_further_images_of_another_size_are_told():
    small = GRZ[1, :20, :22]
    data = fits_bytes(
        primary(),
        image(GRZ[0], "VIS"),
        image(small, "NIR_Y"),
        image(small, "NIR_Y_RMS"),
        image(small[:4, :4], "PREVIEW"),
    )
    assert not_shown(data) == ["2 (NIR_Y)"]


@pytest.mark.parametrize(
    ("names", "shown"),
    [("VIS NIR_Y NIR_J NIR_H", (3, 2, 1)), ("J H Ks W1", (2, 1, 0)), ("VIS NIR_Y", (0,)), ("VIS W1 W2", (0,))],
)
def test_a_survey_that_names_no_bands_reads_what_it_read_before_a_name_was_one(names, shown):
    planes = [*GRZ, GRZ[0] + 1]
    data = fits_bytes(primary(), *(image(one, name) for one, name in zip(planes, names.split(), strict=False)))
    assert np.array_equal(decode(data), np.squeeze(np.stack([planes[i] for i in shown], 2)))


def test_several_images_of_planes_that_are_last_are_refused():
    for data in (np.ones((2, 40, 44, 5), np.float32), np.ones((3, 2, 40, 44, 3), np.float32)):
        with pytest.raises(UnreadableImage, match="images of . planes, and not one image"):
            decode(fits_bytes(primary(data)))
    assert decode(fits_bytes(primary(np.moveaxis(GRZ, 0, -1)[None]))).shape == (40, 44, 3)
