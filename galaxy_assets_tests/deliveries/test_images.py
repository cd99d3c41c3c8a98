"""Decoding one image file: every mode of PNG and JPEG, and every kind of bad file."""

import io
import os
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from galaxy_assets.deliveries.images import UnreadableImage, check_memory, decode, inside, read_file, read_header
from galaxy_assets.settings.limits import LARGEST_MEMORY, MAXIMUM_BYTES, MAXIMUM_MEMORY

SKY = np.random.default_rng(0).integers(0, 256, (20, 30, 3), dtype=np.uint8)


def save(path: Path, pixels: np.ndarray, mode: str | None = None, **options) -> Path:
    image = Image.fromarray(pixels)
    (image.convert(mode) if mode else image).save(path, **options)
    return path


def header_only(path: Path, width: int, height: int) -> Path:
    """A valid PNG header of any size, without pixels."""
    header = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    pixels = b"IDAT"
    chunks = b"".join(
        struct.pack(">I", len(c) - 4) + c + struct.pack(">I", zlib.crc32(c)) for c in (header, pixels, b"IEND")
    )
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + chunks)
    return path


def test_colour_and_grey_keep_their_pixels(tmp_path):
    assert np.array_equal(decode(read_file(save(tmp_path / "colour.png", SKY))), SKY)
    assert np.array_equal(decode(read_file(save(tmp_path / "grey.png", SKY[..., 0]))), SKY[..., 0])
    assert read_header(read_file(tmp_path / "colour.png")) == (30, 20)


@given(
    st.integers(0, 2**32), st.integers(16, 40), st.integers(16, 40), st.sampled_from(["L", "RGB"]), st.integers(0, 9)
)
def test_png_decodes_to_pillows_pixels(seed, height, width, mode, level):
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)
    written = io.BytesIO()
    Image.fromarray(pixels).convert(mode).save(written, "PNG", compress_level=level)
    decoded = decode(written.getvalue())
    assert np.array_equal(decoded, np.array(Image.open(written)))
    decoded[0, 0] = 7  # an array of its own that can be written to


@pytest.mark.parametrize("deep", ["palette", "transparent colour", "one bit"])
def test_rarer_png_decodes_as_pillow_reads_it(tmp_path, deep):
    path = tmp_path / "rare.png"
    if deep == "transparent colour":
        save(path, SKY, transparency=tuple(SKY[0, 0].tolist()))
    else:
        save(path, SKY, "P" if deep == "palette" else "1")
    found = Image.open(path)
    expected = found.convert("L" if deep == "one bit" else "RGB")
    assert np.array_equal(decode(read_file(path)), np.array(expected))


def test_jpeg_is_known_by_content_whatever_its_suffix(tmp_path):
    path = save(tmp_path / "photo.jpg", SKY).rename(tmp_path / "photo.png")
    assert decode(read_file(path)).shape == (20, 30, 3)


def test_transparency_is_composited_on_black(tmp_path):
    rgba = np.dstack([SKY, np.full(SKY.shape[:2], 51, np.uint8)])
    assert np.array_equal(decode(read_file(save(tmp_path / "clear.png", rgba))), np.rint(SKY * 0.2).astype(np.uint8))
    decoded = decode(
        read_file(save(tmp_path / "grey.png", np.dstack([SKY[..., 0], np.zeros((20, 30), np.uint8)]), "LA"))
    )
    assert decoded.shape == (20, 30) and not decoded.any()


def test_palette_becomes_colour(tmp_path):
    red = np.zeros((20, 30, 3), np.uint8) + np.array([255, 0, 0], np.uint8)
    assert np.array_equal(decode(read_file(save(tmp_path / "p.png", red, "P"))), red)


def test_sixteen_bits_keep_their_values(tmp_path):
    deep = np.arange(600, dtype=np.uint16).reshape(20, 30) * 100
    decoded = decode(read_file(save(tmp_path / "deep.png", deep)))
    assert decoded.dtype == np.float32 and np.array_equal(decoded, deep)


@pytest.mark.parametrize("content", [b"", b"not an image", b"%!PS-Adobe", b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff"])
def test_what_is_no_image_is_unreadable(content):
    for read in (read_header, decode):
        with pytest.raises(UnreadableImage) as caught:
            read(content)
        assert caught.value.problem == "unreadable"


def test_what_is_missing_or_no_regular_file_is_unreadable(tmp_path):
    with pytest.raises(UnreadableImage, match="cannot be opened: No such file"):
        read_file(tmp_path / "nothing.png")
    os.mkfifo(tmp_path / "pipe.png")
    with pytest.raises(UnreadableImage, match="no regular file"):
        read_file(tmp_path / "pipe.png")


def test_no_file_is_so_large_that_decoding_it_may_take_any_memory():
    check_memory(LARGEST_MEMORY, 2**30)
    for needed, size in ((LARGEST_MEMORY + 1, 2**30), (MAXIMUM_MEMORY + 1, 2**20)):
        with pytest.raises(UnreadableImage, match="bytes of memory") as caught:
            check_memory(needed, size)
        assert caught.value.problem == "too_large"


def test_a_file_larger_than_any_image_is_not_read(tmp_path):
    with (tmp_path / "huge.png").open("wb") as stream:
        stream.truncate(MAXIMUM_BYTES + 1)  # sparse: no gigabyte on the disk
    with pytest.raises(UnreadableImage, match="the largest file") as caught:
        read_file(tmp_path / "huge.png")
    assert caught.value.problem == "too_large"


@pytest.mark.parametrize("suffix", [".png", ".jpg"])
def test_truncated_image_has_a_header_but_no_pixels(tmp_path, suffix):
    noise = np.random.default_rng(1).integers(0, 256, (200, 200, 3), dtype=np.uint8)
    path = save(tmp_path / f"whole{suffix}", noise)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    assert read_header(read_file(path)) == (200, 200)
    with pytest.raises(UnreadableImage, match="truncated"):
        decode(read_file(path))


@pytest.mark.parametrize(
    ("width", "height", "problem"),
    [(1, 1, "too_small"), (15, 400, "too_small"), (20_000, 20, "too_large"), (16_000, 16_000, "too_large")],
)
def test_size_is_judged_by_the_header_alone(tmp_path, width, height, problem):
    path = header_only(tmp_path / "x.png", width, height)
    assert read_header(read_file(path)) == (width, height)
    with pytest.raises(UnreadableImage, match=f"{width} x {height}") as caught:
        decode(read_file(path))
    assert caught.value.problem == problem


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_damage_anywhere_is_an_image_or_unreadable(tmp_path, data):
    content = bytearray(save(tmp_path / "whole.png", SKY).read_bytes())
    for position in data.draw(st.lists(st.integers(0, len(content) - 1), min_size=1, max_size=8)):
        content[position] = data.draw(st.integers(0, 255))
    path = tmp_path / "damaged.png"
    path.write_bytes(content[: data.draw(st.integers(0, len(content)))])
    try:
        decoded = decode(read_file(path))
    except UnreadableImage:
        return
    assert decoded.ndim in (2, 3) and min(decoded.shape[:2]) >= 16


def test_files_outside_the_folder_are_refused(tmp_path):
    folder = tmp_path / "survey"
    folder.mkdir()
    save(tmp_path / "secret.png", SKY)
    (folder / "link.png").symlink_to(tmp_path / "secret.png")
    (folder / "loop.png").symlink_to(folder / "loop.png")
    for file in ("link.png", "../secret.png", str(tmp_path / "secret.png"), "a\0b.png"):
        with pytest.raises(UnreadableImage):
            inside(folder, file)
    with pytest.raises(UnreadableImage):
        read_file(inside(folder, "loop.png"))
    assert inside(folder, "sub/../a.png") == (folder / "a.png").resolve()
