"""Names of image files without their suffix."""

import pytest

from galaxy_assets.deliveries.suffixes import ALL, FITS, FOREIGN, IMAGES, without_suffix


@pytest.mark.parametrize("suffix", [*FOREIGN, ".fits.gz", ".fts", ".FITS.BZ2", ".Tiff"])
def test_any_known_suffix_goes_once_whatever_its_case(suffix):
    assert without_suffix(f"ngc 1234.5{suffix}") == without_suffix(f"ngc 1234.5{suffix.upper()}") == "ngc 1234.5"


def test_one_suffix_goes_the_longest_that_fits():
    assert without_suffix("a.fits.gz") == without_suffix("a.fits.fz") == without_suffix("a.fz") == "a"
    assert without_suffix("a.png.fits") == "a.png"
    assert without_suffix("J123456.78+012345.6") == "J123456.78+012345.6"
    assert without_suffix("a.gz") == "a.gz"
    assert without_suffix(".png") == ".png"


def test_each_reader_has_its_suffixes_and_all_are_listed_longest_first():
    assert set(ALL) == set(IMAGES) | set(FITS) and not set(IMAGES) & set(FITS)
    assert list(map(len, ALL)) == sorted(map(len, ALL), reverse=True)
    assert {".fits", ".fit", ".fts", ".fz", ".fits.gz", ".fit.gz", ".fts.bz2", ".fits.xz", ".fits.fz"} <= set(FITS)
