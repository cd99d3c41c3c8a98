"""Small files of every format, damaged at random and decoded in a process of their own: `python -m ... SEED ROUNDS`.

A decoder that crashes takes its process with it, and memory is counted per process, so the tests run this one apart.
"""

import gzip
import io
import lzma
import re
import sys
import time
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from galaxy_assets.deliveries.images import UnreadableImage, decode, read_header
from galaxy_assets.settings.source import Source

GALAXY = np.random.default_rng(0).normal(100, 5, (40, 36)) + 400 * np.outer(np.hanning(40), np.hanning(36))


def fits_bytes(*hdus: Any) -> bytes:
    from astropy.io import fits

    written = io.BytesIO()
    fits.HDUList(list(hdus)).writeto(written)
    return written.getvalue()


def primary(data: np.ndarray | None = None, **cards: Any) -> Any:
    from astropy.io import fits

    return fits.PrimaryHDU(data, fits.Header(cards))


def tiles(data: np.ndarray, kind: Any) -> bytes:
    from astropy.io import fits

    return fits_bytes(primary(), fits.CompImageHDU(data, compression_type=kind))


def picture(data: np.ndarray, kind: str, **options: Any) -> bytes:
    from PIL import Image

    written = io.BytesIO()
    Image.fromarray(data).save(written, kind, **options)
    return written.getvalue()


def tiff(data: np.ndarray, **options: Any) -> bytes:
    import tifffile

    written = io.BytesIO()
    tifffile.imwrite(written, data, **options)
    return written.getvalue()


def npy(data: np.ndarray) -> bytes:
    written = io.BytesIO()
    np.save(written, data)
    return written.getvalue()


def small_files() -> dict[str, bytes]:
    import imagecodecs

    floats, ints = GALAXY.astype(np.float32), GALAXY.astype(np.int16)
    bytes8 = np.clip(GALAXY / 2, 0, 255).astype(np.uint8)
    colour, deep = (
        np.dstack([bytes8, bytes8 // 2, bytes8 // 3]),
        np.dstack([ints, ints * 2, ints * 3]).astype(np.uint16),
    )
    cube = fits_bytes(primary(np.stack([floats, floats * 2, floats * 3]), BANDS="grz"))
    return {
        "png": picture(colour, "PNG"),
        "png 16": imagecodecs.png_encode(deep),
        "jpeg": picture(colour, "JPEG"),
        "webp": picture(colour, "WEBP"),
        "avif": picture(colour, "AVIF", speed=10),
        "tiff": tiff(deep, photometric="rgb"),
        "tiff lzw": tiff(colour, photometric="rgb", compression="lzw", predictor=True),
        "tiff deflate": tiff(floats, compression="zlib", predictor=True),
        "tiff pages": tiff(np.stack([ints] * 3), photometric="minisblack", compression="packbits"),
        "npy": npy(floats),
        "fits": fits_bytes(primary(floats)),
        "fits scaled": fits_bytes(primary(ints, BLANK=100, BSCALE=0.5, BZERO=3.0)),
        "fits cube": cube,
        "fits extensions": fits_bytes(primary(), *(image(floats, name) for name in ("G", "R", "Z"))),
        "fits gzip": gzip.compress(cube),
        "fits xz": lzma.compress(cube),
        "rice": tiles(floats, "RICE_1"),
        "gzip tiles": tiles(floats, "GZIP_2"),
        "hcompress": tiles(ints, "HCOMPRESS_1"),
        "plio": tiles(np.abs(ints), "PLIO_1"),
    }


def image(data: np.ndarray, name: str) -> Any:
    from astropy.io import fits

    return fits.ImageHDU(data, name=name)


def damaged(content: bytes, rng: np.random.Generator) -> bytes:
    """One to six bytes changed, half of them near the beginning, where headers are; or numbers made huge; or cut."""
    changed = bytearray(content)
    kind = rng.integers(4)
    for _ in range(rng.integers(1, 7)):
        most = len(changed) if rng.random() < 0.5 else min(len(changed), 3000 if content[:6] == b"SIMPLE" else 200)
        at = int(rng.integers(most))
        if kind == 0:
            changed[at : at + 4] = b"\xff" * len(changed[at : at + 4])
        else:
            changed[at] = int(rng.integers(256)) if rng.random() < 0.5 else int(rng.integers(48, 58))
    if kind == 1:
        del changed[int(rng.integers(len(changed))) :]
    return bytes(changed)


def peak() -> int:
    """Most memory of this process, KiB; ru_maxrss would begin with that of the process that it was started from."""
    status = Path("/proc/self/status").read_text(encoding="ascii")
    found = re.search(r"VmHWM:\s+(\d+)", status)
    assert found is not None
    return int(found[1])


def main(seed: int, rounds: int, only: str = "") -> None:
    """Decode every damaged file; ends with the most memory that it took beyond that of the whole files, MB."""
    files = {name: content for name, content in small_files().items() if only in name}
    sources: list[Source | None] = [None, Source(reader="fits_folder", path=".", bands=("g",), extension="R")]
    read: list[Callable[..., Any]] = [read_header, decode]
    for content in files.values():
        decode(content)
    before, readable = peak(), 0
    for name, content in files.items():
        began, rng = time.monotonic(), np.random.default_rng([seed, zlib.crc32(name.encode())])
        for i in range(rounds):
            for one in read:
                try:
                    one(damaged(content, rng), sources[i % 8 == 7])
                    readable += 1
                except UnreadableImage as error:
                    assert "\n" not in error.reason and len(error.reason) < 400, error.reason
                except BaseException as error:
                    raise AssertionError(f"{name}, round {i}: {error!r}") from error
        print(name, f"{time.monotonic() - began:.1f} s", flush=True)
    print(readable, "readable")
    print((peak() - before) // 1024)


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), *sys.argv[3:])
