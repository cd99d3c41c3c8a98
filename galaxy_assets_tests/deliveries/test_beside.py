"""Errors, weights and masks by their names: of extensions, arrays and files."""

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
from galaxy_assets_tests.deliveries.test_drop import png

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


@pytest.mark.parametrize("name", ["image", "x", "galaxy", "sky_subtracted", "F160W", "maskelyne", "varied", "J1", "DATA_NO_SKY", "x-minus-bkg", ""])
def test_other_names_are_none(name):
    assert kind_of_name(name) is None


@given(
    st.lists(
        st.builds(
            "{}{}{}.{}".format,
            st.sampled_from(["", "a/", "b/"]),
            st.sampled_from(["x", "y_1", "J12+3.4", "mask", "exp_2"]),
            st.sampled_from(["", "_sci", "_wht", "-mask", "_mask_2", ".weight", "_drz"]),
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


def test_further_images_of_another_size_are_told():
    small = GRZ[1, :20, :22]
    data = fits_bytes(
        primary(),
        image(GRZ[0], "VIS"),
        image(small, "NIR_Y"),
        image(small, "NIR_Y_RMS"),
        image(small[:4, :4], "PREVIEW"),
    )
    assert not_shown(data) == ["2"]


def test_several_images_of_planes_that_are_last_are_refused():
    for data in (np.ones((2, 40, 44, 5), np.float32), np.ones((3, 2, 40, 44, 3), np.float32)):
        with pytest.raises(UnreadableImage, match="images of . planes, and not one image"):
            decode(fits_bytes(primary(data)))
    assert decode(fits_bytes(primary(np.moveaxis(GRZ, 0, -1)[None]))).shape == (40, 44, 3)
