"""Every format and every way of writing an image: shape, type, levels, and what the errors say."""

import bz2
import gzip
import io
import lzma
import os
import struct
import subprocess
import sys
import tracemalloc
import zlib
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from galaxy_assets.deliveries.decoding.planes import as_floats, band_name, band_names, wavelength
from galaxy_assets.deliveries.images import UnreadableImage, decode, read_header, read_planes
from galaxy_assets.deliveries.readers import open_reader
from galaxy_assets.settings.source import Source
from galaxy_assets_tests.deliveries.hostile import fits_bytes, image, npy, picture, primary, tiff, tiles

REAL = os.environ.get("GALAXY_ASSETS_REAL_DATA")
real_data = pytest.mark.skipif(not REAL, reason="GALAXY_ASSETS_REAL_DATA is not set")

H, W = 40, 36
DEEP = np.arange(H * W, dtype=np.uint16).reshape(H, W) * 40  # 1440 levels, which 8 bits would make 226
DEEP_RGB = np.dstack([DEEP, DEEP + 7, DEEP[::-1]])
FLOATS = np.random.default_rng(0).normal(0, 1, (H, W)).astype(np.float32)
FLOATS_RGB = np.dstack([FLOATS, FLOATS * 2, FLOATS * 3])
BYTES_RGB = (DEEP_RGB >> 8).astype(np.uint8)


def png16(values: np.ndarray) -> bytes:
    import imagecodecs

    return imagecodecs.png_encode(values)


def by(**source) -> Source:
    return Source(reader="fits_folder", path=".", **source)


KEPT = {
    "png of 16 bits in colour": (png16(DEEP_RGB), DEEP_RGB),
    "png of 16 bits": (png16(DEEP), DEEP),
    "tiff of 16 bits": (tiff(DEEP), DEEP),
    "tiff of 16 bits in colour, lzw": (tiff(DEEP_RGB, photometric="rgb", compression="lzw"), DEEP_RGB),
    "tiff of 16 bits, planes apart": (
        tiff(np.moveaxis(DEEP_RGB, -1, 0), photometric="rgb", planarconfig="separate"),
        DEEP_RGB,
    ),
    "tiff of floats, zstd": (tiff(FLOATS, compression="zstd", predictor=True), FLOATS),
    "tiff of floats in colour, big-endian": (tiff(FLOATS_RGB, photometric="rgb", byteorder=">"), FLOATS_RGB),
    "big tiff": (tiff(FLOATS, bigtiff=True), FLOATS),
    "tiff of three pages": (tiff(np.moveaxis(DEEP_RGB, -1, 0), photometric="minisblack"), DEEP_RGB),
    "npy": (npy(FLOATS), FLOATS),
    "npy (H, W, 1)": (npy(FLOATS[..., None]), FLOATS),
    "npy (1, H, W)": (npy(FLOATS[None]), FLOATS),
    "npy (H, W, 3)": (npy(FLOATS_RGB), FLOATS_RGB),
    "npy (3, H, W)": (npy(np.moveaxis(FLOATS_RGB, -1, 0)), FLOATS_RGB),
    "npy big-endian": (npy(FLOATS.astype(">f4")), FLOATS),
    "npy in Fortran's order": (npy(np.asfortranarray(FLOATS)), FLOATS),
    "npy of half floats": (npy(FLOATS.astype(np.float16)), FLOATS.astype(np.float16)),
    "npy of int32": (npy(DEEP.astype(np.int32) - 900), DEEP.astype(np.int32) - 900),
    "fits": (fits_bytes(primary(FLOATS)), FLOATS),
    "fits (H, W, 3)": (fits_bytes(primary(FLOATS_RGB)), FLOATS_RGB),
    "fits (H, W, 1)": (fits_bytes(primary(FLOATS[..., None])), FLOATS),
    "fits (1, 1, H, W)": (fits_bytes(primary(FLOATS[None, None])), FLOATS),
    "fits of uint16": (fits_bytes(primary(DEEP)), DEEP),
    "fits of uint32": (fits_bytes(primary(DEEP.astype(np.uint32))), DEEP),
    "fits of float64": (fits_bytes(primary(FLOATS.astype(np.float64))), FLOATS),
    "fits of uint8": (fits_bytes(primary(BYTES_RGB[..., 0])), BYTES_RGB[..., 0]),
    "fits of gri, red first": (
        fits_bytes(primary(np.moveaxis(FLOATS_RGB[..., ::-1], -1, 0), BANDS="gri")),
        FLOATS_RGB,
    ),
    "fits of irg, red first all the same": (
        fits_bytes(primary(np.moveaxis(FLOATS_RGB, -1, 0), BANDS="i,r,g")),
        FLOATS_RGB,
    ),
    "fits of gzip": (gzip.compress(fits_bytes(primary(FLOATS))), FLOATS),
    "fits of two gzip members": (
        gzip.compress(fits_bytes(primary(FLOATS))[:3000]) + gzip.compress(fits_bytes(primary(FLOATS))[3000:]),
        FLOATS,
    ),
    "fits of bzip2": (bz2.compress(fits_bytes(primary(FLOATS))), FLOATS),
    "fits of xz": (lzma.compress(fits_bytes(primary(FLOATS))), FLOATS),
    "tiles by gzip": (tiles(DEEP.astype(np.int32), "GZIP_1"), DEEP),
    "tiles by rice": (tiles(DEEP.astype(np.int32), "RICE_1"), DEEP),
    "tiles by hcompress": (tiles(DEEP.astype(np.int32), "HCOMPRESS_1"), DEEP),
    "after a table": (fits_bytes(primary(), fits.BinTableHDU(), image(FLOATS, "SCI")), FLOATS),
    "after a thumbnail": (fits_bytes(primary(FLOATS[:1, :1]), image(FLOATS, "SCI")), FLOATS),
    "before its errors": (
        fits_bytes(primary(), image(FLOATS, "SCI"), image(-FLOATS, "ERR"), image(0 * FLOATS, "DQ")),
        FLOATS,
    ),
    "after its weight": (fits_bytes(primary(), image(-FLOATS, "WHT"), image(FLOATS, "SCI")), FLOATS),
    "beside a larger mask": (
        fits_bytes(primary(FLOATS), image(np.zeros((90, 90), np.int32), "MASK")),
        FLOATS,
    ),
}  # fmt: skip


@pytest.mark.parametrize("how", KEPT)
def test_more_than_8_bits_keep_every_level(how):
    content, expected = KEPT[how]
    found = decode(content)
    assert found.dtype == np.float32 and found.dtype.isnative
    assert np.array_equal(found, expected.astype(np.float32))
    assert len(np.unique(found)) == len(np.unique(expected))
    assert read_header(content) == (W, H)


EIGHT_BITS = {
    "tiff": tiff(BYTES_RGB, photometric="rgb"),
    "tiff by jpeg's neighbour, deflate": tiff(BYTES_RGB, photometric="rgb", compression="zlib", predictor=True),
    "tiff of tiles": tiff(BYTES_RGB, photometric="rgb", tile=(16, 16), compression="lzw"),
    "webp": picture(BYTES_RGB, "WEBP", lossless=True),
    "npy (H, W, 3)": npy(BYTES_RGB),
    "npy (3, H, W)": npy(np.moveaxis(BYTES_RGB, -1, 0)),
    "npy (H, W, 4), opaque": npy(np.dstack([BYTES_RGB, np.full((H, W), 255, np.uint8)])),
    "fits (H, W, 3)": fits_bytes(primary(BYTES_RGB)),
    "fits (3, H, W) of 8 bits": fits_bytes(primary(np.moveaxis(BYTES_RGB, -1, 0))),
}


@pytest.mark.parametrize("how", EIGHT_BITS)
def test_pictures_of_8_bits_stay_so(how):
    found = decode(EIGHT_BITS[how])
    assert found.dtype == np.uint8 and np.array_equal(found, BYTES_RGB)


def test_avif_and_jpeg_are_read_as_pillow_does():
    for kind in ("AVIF", "JPEG"):
        content = picture(BYTES_RGB, kind)
        assert np.array_equal(decode(content), np.array(Image.open(io.BytesIO(content))))


def test_transparency_of_16_bits_is_composited_on_black():
    half = np.full((H, W), 32768, np.uint16)
    for content in (
        png16(np.dstack([DEEP_RGB, half])),
        tiff(np.dstack([DEEP_RGB, half]), photometric="rgb", extrasamples=[2]),
    ):
        found = decode(content)
        assert found.dtype == np.float32 and np.allclose(found, DEEP_RGB * (32768 / 65535), rtol=1e-6)
    grey = decode(png16(np.dstack([DEEP, half])))
    assert grey.shape == (H, W) and np.allclose(grey, DEEP * (32768 / 65535), rtol=1e-6)


def test_white_is_zero_and_palettes_in_tiff():
    assert np.array_equal(decode(tiff(BYTES_RGB[..., 0], photometric="miniswhite")), 255 - BYTES_RGB[..., 0])
    colours = np.arange(3 * 256, dtype=np.uint16).reshape(3, 256) * 85
    found = decode(tiff(BYTES_RGB[..., 0], photometric="palette", colormap=colours))
    assert np.array_equal(found, np.moveaxis((colours >> 8)[:, BYTES_RGB[..., 0]], 0, -1))


def test_a_thumbnail_in_a_tiff_is_no_page():
    import tifffile

    written = io.BytesIO()
    with tifffile.TiffWriter(written) as pages:
        pages.write(BYTES_RGB[:20, :18, 0], subfiletype=1)
        pages.write(DEEP)
    assert np.array_equal(decode(written.getvalue()), DEEP)


def test_booleans_are_black_and_white():
    assert np.array_equal(decode(npy(FLOATS > 0)), np.where(FLOATS > 0, 255, 0))


NAN = np.where(np.arange(W) < 4, np.nan, FLOATS).astype(np.float32)


def without_bzero(data: np.ndarray, **cards) -> bytes:
    hdu = primary(data)
    hdu.header.update(cards)
    return fits_bytes(hdu)


@pytest.mark.parametrize(
    "content",
    [
        npy(NAN),
        npy(np.where(np.isnan(NAN), np.inf, NAN)),
        fits_bytes(primary(np.where(np.isnan(NAN), -np.inf, NAN))),
        tiff(NAN),
        tiff(np.where(np.isnan(NAN), -9999, NAN).astype(np.float32), extratags=[(42113, "s", 0, "-9999", True)]),
        without_bzero(np.where(np.isnan(NAN), -32768, 5).astype(np.int16), BLANK=-32768),
        without_bzero(np.where(np.isnan(NAN), 7, 5).astype(np.int32), BLANK=7),
        without_bzero(np.where(np.isnan(NAN), 0, 5).astype(np.int16), BLANK=0),
        tiles(NAN, "RICE_1"),
    ],
)
def test_pixels_without_data_are_nan_whatever_says_so(content):
    found = decode(content)
    assert found.dtype == np.float32 and np.array_equal(np.isnan(found), np.isnan(NAN))


def test_blank_of_unsigned_integers_is_nan():
    hdu = primary(np.where(np.isnan(NAN), 65535, DEEP // 2).astype(np.uint16))
    hdu.header["BLANK"] = 32767  # 65535 as it is stored, with BZERO 32768
    found = decode(fits_bytes(hdu))
    assert np.array_equal(np.isnan(found), np.isnan(NAN)) and np.nanmax(found) == (DEEP // 2).max()


def test_a_value_that_stands_for_no_data_is_no_light_in_colours():
    grz = np.stack([FLOATS * 0.1 + 0.2] * 3)
    whole, gap = decode(fits_bytes(primary(grz, BANDS="grz"))), grz.copy()
    gap[2, :, :5] = -9999
    found = decode(fits_bytes(primary(gap, BANDS="grz")))
    assert isinstance(found, np.ma.MaskedArray) and found.mask[..., 0].sum() == 5 * H and not found.mask[..., 1:].any()
    np.testing.assert_array_equal(np.asarray(found)[:, 5:], whole[:, 5:])


def test_a_fourth_band_of_a_tiff_multiplies_nothing_and_bands_may_be_chosen():
    cube = np.random.default_rng(0).random((H, W, 4)).astype(np.float32)
    content = tiff(cube, photometric="rgb", extrasamples=[0])
    source = Source(reader="image_folder", path=".", bands=[1])
    np.testing.assert_array_equal(np.squeeze(decode(content, source)), cube[..., 0])
    premultiplied = tiff(np.dstack([BYTES_RGB, np.full((H, W), 128, np.uint8)]), photometric="rgb", extrasamples=[1])
    np.testing.assert_array_equal(decode(premultiplied), BYTES_RGB)


def test_colours_of_grz_mask_what_has_no_data_in_each_band():
    grz = np.stack([FLOATS * 0.1 + 0.2] * 3)
    whole = decode(fits_bytes(primary(grz, BANDS="grz")))
    gap = grz.copy()
    gap[2, :, :5] = np.nan
    found = decode(fits_bytes(primary(gap, BANDS="grz")))
    assert type(whole) is np.ndarray and isinstance(found, np.ma.MaskedArray) and found.dtype == np.uint8
    assert found.mask[..., 0].sum() == 5 * H and not found.mask[..., 1:].any()  # z is red
    assert np.array_equal(np.ma.getdata(found)[:, 5:], whole[:, 5:])


GRZ = np.stack([FLOATS * 0.1 + level for level in (0.1, 0.3, 0.6)])
LUPTON = decode(fits_bytes(primary(GRZ)))


@pytest.mark.parametrize(
    "content",
    [
        *(fits_bytes(primary(GRZ, BANDS=bands)) for bands in ("grz", "GRZ", "g,r,z", "g r z", "g/r/z")),
        fits_bytes(primary(GRZ[::-1], BANDS="zrg")),
        fits_bytes(primary(GRZ[[0, 1, 1, 2]] * np.array([1, 1, 9, 1])[:, None, None], BANDS="griz")),
        fits_bytes(primary(), *(image(band, name) for band, name in zip(GRZ, "GRZ", strict=True))),
        fits_bytes(primary(), *(image(band, f"SCI_{name}") for band, name in zip(GRZ[::-1], "zrg", strict=True))),
        fits_bytes(
            primary(GRZ[0], FILTER="g DECam SDSS c0001 4720.0 1520.0"),
            *(fits.ImageHDU(GRZ[i], fits.Header({"FILTER": f"HSC-{name}"})) for i, name in ((2, "Z"), (1, "R"))),
            image(GRZ[0], "MASK"),
        ),
        fits_bytes(
            primary(),
            *(
                fits.CompImageHDU(b, name=n, compression_type="GZIP_2", quantize_level=0)
                for b, n in zip(GRZ, "grz", strict=True)
            ),
        ),
    ],
)
def test_g_r_z_are_the_same_colours_however_they_are_written(content):
    found = decode(content)
    assert found.dtype == np.uint8 and np.array_equal(found, LUPTON)
    assert {name.lower() for name in read_planes(content).names} in (set(), set("grz"), set("griz"))


def test_bands_are_chosen_by_name_and_by_number():
    four = fits_bytes(primary(np.stack([FLOATS, FLOATS * 2, FLOATS * 3, FLOATS * 4]), BANDS="ugri"))
    assert np.array_equal(decode(four, by(bands=["R"])), FLOATS * 3)
    assert np.array_equal(decode(four, by(bands=[4])), FLOATS * 4)
    assert np.array_equal(decode(four, by(bands=["u", "g", "i"]))[..., 0], FLOATS * 4)  # the last is red
    assert decode(fits_bytes(primary(GRZ)), by(colour="linear")).dtype == np.float32
    unnamed = npy(np.stack([FLOATS, FLOATS * 2, FLOATS * 3, FLOATS * 4]))
    assert np.array_equal(decode(unnamed, by(bands=[2])), FLOATS * 2)
    assert np.array_equal(decode(npy(GRZ), by(bands=["g", "r", "z"])), LUPTON)
    filters = fits_bytes(primary(), *(image(FLOATS * i, name) for i, name in enumerate(("WIDE", "NIR_Y", "NIR_J"), 1)))
    assert np.array_equal(decode(filters, by(bands=["WIDE", "Y", "J"]))[..., 0], FLOATS * 3)
    assert np.array_equal(decode(filters, by(bands=["wide"])), FLOATS)
    with pytest.raises(UnreadableImage, match="no band y, which `source.bands` asks for.*named u, g, r, i"):
        decode(four, by(bands=["y"]))


@pytest.mark.parametrize("called", ["SCI_{}", "IMAGE_{}"])
def test_weights_and_masks_of_each_band_are_no_images(called):
    def of_des(*beside: str) -> bytes:
        hdus = []
        for i, band in enumerate("grz"):
            hdus += [image(FLOATS[:30] * (i + 1), called.format(band)), *(image(-FLOATS[:30], name) for name in beside)]
            for hdu in hdus[-1 - len(beside) :]:
                hdu.header["FILTER"] = band
        return fits_bytes(primary(), *hdus)

    plain = decode(of_des())
    assert plain.shape == (30, W, 3)
    for beside in ("WGT", "WT", "INVERSE_VARIANCE", "SEGMAP", "CHI", *(["MODEL"] if "SCI" in called else [])):
        assert np.array_equal(decode(of_des(beside)), plain)


def test_an_extension_is_chosen_by_name_or_number():
    several = fits_bytes(primary(), image(FLOATS, "SCI"), image(FLOATS[:30] * 2, "MODEL"), fits.BinTableHDU())
    assert np.array_equal(decode(several, by(extension="model")), FLOATS[:30] * 2)
    assert read_header(several, by(extension=2)) == (W, 30)
    for absent in ("PSF", 3, 9):
        with pytest.raises(
            UnreadableImage, match=f"no image in extension {absent}.*SCI {H} x {W}, MODEL 30 x {W}, .*table"
        ):
            decode(several, by(extension=absent))


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (
            fits_bytes(primary(np.stack([FLOATS] * 2), BANDS="gr")),
            f"2 x {H} x {W}: 2 planes .* named g, r;.*source.bands",
        ),
        (
            fits_bytes(primary(np.ones((4, 1, H, W), np.float32))),
            f"4 x 1 x {H} x {W}: 4 planes of {W} x {H} pixels; an",
        ),
        (
            fits_bytes(primary(np.ones((1, 5, H, W), np.float32), CTYPE3="FREQ", CTYPE4="STOKES")),
            f"1 x FREQ 5 x {H} x {W}: 5 planes",
        ),
        (npy(np.ones((H, W, 5), np.float32)), f"{H} x {W} x 5: 5 planes of {W} x {H}"),
        (npy(np.ones((2, 4, H, W), np.float32)), f"2 x 4 x {H} x {W}: 8 planes"),
        (npy(np.ones(500, np.float32)), "an array of 500 values; an image has two axes"),
        (npy(np.ones((H, W), np.complex64)), "complex64; only plain integers and floats"),
        (npy(np.array([[None]], object)), "only plain integers and floats"),
        (tiff(np.ones((5, H, W), np.float32), photometric="minisblack"), f"5 pages of {H} x {W}: 5 planes"),
        (
            tiff(np.ones((2, H, W, 3), np.uint8), photometric="rgb"),
            f"2 pages of {H} x {W} x 3, .*one page for each band",
        ),
        (tiff(np.ones((H, W, 4), np.uint8), photometric="separated"), "SEPARATED values"),
        (b"GIF89a", "a GIF file; PNG, JPEG, TIFF"),
        (b"PK\x03\x04", "a zip file"),
        (b"<!DOCTYPE html>", "a HTML or XML file"),
        (b"\x1f\x8b", "truncated"),
        (gzip.compress(fits_bytes(primary(FLOATS)))[:-100], "truncated"),
        (bz2.compress(b"SIMPLE")[:-8], "truncated"),
        (lzma.compress(b"SIMPLE")[:-8], "truncated"),
        (fits_bytes(primary(), fits.BinTableHDU()), "no image in this FITS file: PRIMARY , 1 table"),
        (fits_bytes(primary(FLOATS * np.nan)), "only NaN or infinite pixels"),
        (npy(FLOATS)[:-9], "truncated: "),
    ],
)
def test_what_cannot_be_an_image_is_told_by_its_true_axes(content, words):
    with pytest.raises(UnreadableImage, match=words) as caught:
        decode(content)
    assert caught.value.problem == "unreadable"


def test_the_total_intensity_of_stokes_planes_is_the_image():
    cube = np.stack([FLOATS, FLOATS * 2, FLOATS * 3, FLOATS * 4])[:, None]
    cards = {"CTYPE3": "FREQ", "CTYPE4": "STOKES", "CRVAL4": 1.0, "CDELT4": 1.0, "CRPIX4": 1.0}
    content = fits_bytes(primary(cube, **cards))
    assert np.array_equal(decode(content), FLOATS)
    assert read_planes(content).names == ("Stokes I", "Stokes Q", "Stokes U", "Stokes V")
    assert np.array_equal(decode(content, by(bands=["Stokes V"])), FLOATS * 4)


def test_float64_stays_where_float32_would_lose_levels():
    on_a_pedestal = 1e6 + FLOATS.astype(np.float64)
    assert as_floats(on_a_pedestal).dtype == np.float64
    assert as_floats(1e3 + FLOATS.astype(np.float64)).dtype == np.float32
    assert as_floats(FLOATS.astype(np.float64) * 1e50).dtype == np.float64
    huge = as_floats(FLOATS.astype(np.float64) * 2.0**1000)
    assert np.array_equal(huge / huge[0, 0], FLOATS.astype(np.float64) / FLOATS[0, 0])
    assert np.isfinite(huge**2).all()
    assert as_floats(2**30 + DEEP.astype(np.int32)).dtype == np.float64


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("grz", "g r z"),
        ("GRZ", "g r z"),
        ("g,r,z", "g r z"),
        ("F435W/F606W/F160W", "F435W F606W F160W"),
        ("i", "i"),
    ],
)
def test_bands_of_a_header(text, names):
    assert band_names(text) == tuple(names.split())


def test_one_band_of_a_filters_full_name():
    assert band_name("g DECam SDSS c0001 4720.0 1520.0") == "g" and band_name("HSC-Y") == "Y"
    assert band_name("FLUX F444W") == "F444W" and band_name("clear") == "clear"
    assert wavelength("F275W") < wavelength("F814W") < wavelength("F160W") < wavelength("F277W")
    assert wavelength("u") < wavelength("g") < wavelength("Ks") < wavelength("clear")


@given(
    st.binary(max_size=200),
    st.sampled_from([b"", b"\x93NUMPY\x01\x00", b"II*\0", b"RIFF0000WEBP", b"\0\0\0\x20ftypavif", b"SIMPLE  ="]),
)
def test_any_bytes_are_unreadable_and_nothing_worse(content, magic):
    with pytest.raises(UnreadableImage):
        decode(magic + content)


def test_damaged_files_are_unreadable_and_take_no_memory():
    """In a process of its own: a decoder that crashes would end this one, and memory is a process's."""
    done = subprocess.run(
        [sys.executable, "-m", "galaxy_assets_tests.deliveries.hostile", "1", "25"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-500:] + done.stderr[-2000:]
    readable, grown = done.stdout.splitlines()[-2:]
    assert int(grown) < 200, done.stdout  # MB
    assert 100 < int(readable.split()[0]) < 900


@pytest.mark.parametrize("pack", [gzip.compress, bz2.compress, lzma.compress])
def test_a_small_file_that_unpacks_to_more_than_is_read_is_too_large(pack, monkeypatch):
    monkeypatch.setattr("galaxy_assets.deliveries.decoding.compressed.MAXIMUM_UNPACKED", 4_000_000)
    decode(pack(fits_bytes(primary(np.zeros((980, 1000), np.float32)))))
    with pytest.raises(UnreadableImage, match="unpacks to more than 4000000 bytes") as caught:
        decode(pack(fits_bytes(primary(np.zeros((1001, 1000), np.float32)))))
    assert caught.value.problem == "too_large"


def huge_header(**cards) -> bytes:
    text = "".join(f"{key:8s}= {value:>20}".ljust(80) for key, value in cards.items()) + "END".ljust(80)
    return text.ljust(-(-len(text) // 2880) * 2880).encode() + bytes(2880)


def png_header(width: int, height: int, bits: int) -> bytes:
    header = b"IHDR" + struct.pack(">IIBBBBB", width, height, bits, 2, 0, 0, 0)
    chunks = b"".join(
        struct.pack(">I", len(c) - 4) + c + struct.pack(">I", zlib.crc32(c)) for c in (header, b"IDAT", b"IEND")
    )
    return b"\x89PNG\r\n\x1a\n" + chunks


HUGE = {
    "cube": lambda: huge_header(SIMPLE="T", BITPIX=-64, NAXIS=3, NAXIS1=4000, NAXIS2=4000, NAXIS3=3),
    "axes": lambda: huge_header(SIMPLE="T", BITPIX=-64, NAXIS=2, NAXIS1=10**9, NAXIS2=10**9),
    "npy": lambda: npy(FLOATS).replace(b"(40, 36), ", b"(8000,9999), "),
    "gzip": lambda: gzip.compress(fits_bytes(primary(np.zeros((3, 3300, 3300), np.float32))), 1),
    "tiles": lambda: fits_bytes(
        primary(), fits.CompImageHDU(np.zeros((6500, 6500), np.uint8), tile_shape=(6500, 6500))
    ),
    "tiff": lambda: tiff(np.zeros((3800, 3800, 3), np.float32), compression="zlib", photometric="rgb"),
    "png": lambda: png_header(5200, 5200, bits=16),
    "colour": lambda: png_header(7000, 7000, bits=8),
}


@pytest.mark.parametrize("kind", HUGE)
def test_a_small_file_of_a_huge_image_is_refused_by_its_header(kind):
    content = HUGE[kind]()
    assert len(content) < 10_000_000
    tracemalloc.start()
    with pytest.raises(UnreadableImage) as caught:
        decode(content)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert caught.value.problem == "too_large"
    assert peak < (
        300_000_000 if kind == "gzip" else 10_000_000
    )  # gzip's content is unpacked, twice where it is joined


def test_more_axes_and_pages_than_any_image_has_are_refused():
    axes = huge_header(SIMPLE="T", BITPIX=8, NAXIS=999, **{f"NAXIS{i}": 2 for i in range(1, 1000)})
    for content in (axes, tiff(np.zeros((70, 16, 16), np.uint8), photometric="minisblack")):
        with pytest.raises(UnreadableImage):
            decode(content)


def test_a_small_file_of_the_largest_image_takes_less_than_a_gigabyte():
    """In a process of its own, whose memory is counted whole: astropy and numpy are in it."""
    cube = gzip.compress(fits_bytes(primary(np.zeros((3, 3000, 3000), np.float32), BANDS="grz")), 1)
    script = (
        "import re, sys; from galaxy_assets.deliveries.images import decode; "
        "image = decode(sys.stdin.buffer.read()); "
        # not ru_maxrss, which begins with the memory of the process that this one was started from
        "print(image.shape, int(re.search(r'VmHWM:\\s+(\\d+)', open('/proc/self/status').read())[1]) // 1024)"
    )
    done = subprocess.run([sys.executable, "-c", script], input=cube, capture_output=True, check=True)
    shape, _, used = done.stdout.decode().rpartition(" ")
    assert shape == "(3000, 3000, 3)" and int(used) < 1000, done.stdout


def test_a_tile_that_unpacks_to_more_than_its_pixels_is_refused():
    whole = tiles(np.zeros((H, W), np.int16), "GZIP_1")
    with fits.open(io.BytesIO(whole), disable_image_compression=True) as hdus:
        cells = np.empty(H, object)
        cells[:] = [np.frombuffer(gzip.compress(bytes(2_000_000 if i == 3 else 2 * W)), np.uint8) for i in range(H)]
        column = fits.Column("COMPRESSED_DATA", "1PB()", array=cells)
        bomb = fits_bytes(primary(), fits.BinTableHDU.from_columns([column], header=hdus[1].header))
    with pytest.raises(UnreadableImage, match="a tile of .* unpacks to more than"):
        decode(bomb)


def test_any_error_of_a_decoder_is_unreadable(monkeypatch):
    from galaxy_assets.deliveries.decoding import fits as module

    errors: list[tuple[Exception, str]] = [
        (MemoryError(), "too_large"),
        (RecursionError("deep"), "unreadable"),
        (OverflowError("a\nb" * 300), "unreadable"),
    ]
    for error, problem in errors:

        def fails(*_, error=error):
            raise error

        monkeypatch.setattr(module, "decode", fails)
        with pytest.raises(UnreadableImage) as caught:
            decode(fits_bytes(primary(FLOATS)))
        assert caught.value.problem == problem and "\n" not in caught.value.reason and len(caught.value.reason) < 400


@real_data
def test_every_way_of_writing_that_surveys_use_is_read():
    reader = open_reader(Source(reader="fits_folder", path="cases/07-fits-variants"), Path(str(REAL)))
    catalogue = reader.catalogue("images").to_pylist()
    unreadable, shapes = {}, {}
    for row in catalogue:
        try:
            shapes[row["file"]] = reader.image(row["file"]).shape
        except UnreadableImage as error:
            unreadable[row["file"]] = error.reason
    assert len(catalogue) == 37
    assert set(unreadable) == {"gz_truncated.fits.gz", "only_table.fits", "stokes_4.fits"}
    assert "4 x 1 x 96 x 96" in unreadable["stokes_4.fits"]
    colour = {name for name, shape in shapes.items() if shape == (96, 96, 3)}
    assert colour == {
        "bands_as_extensions.fits", "bands_commas.fits", "bands_rgz.fits", "bands_spaced.fits", "bands_upper.fits",
        "griz_4planes.fits", "hwc_3.fits", "nan_band.fits",
    }  # fmt: skip
    assert {(row["width"], row["height"]) for row in catalogue if row["problem"] is None} == {(96, 96)}
    few = open_reader(Source(reader="fits_folder", path="cases/08-fz-only"), Path(str(REAL)))
    assert few.catalogue("images")["problem"].null_count == 3
