"""Cutouts: ours beside the same steps by astropy and OpenCV.

    OMP_NUM_THREADS=1 python benchmarks/cutouts.py [--small]

Images are those of the simulated optical survey, 300 to 424 pixels. The peer is written here from what Astronomaly is
published to do, with the paper's reading: astropy's clipping at 4 sigma, OpenCV's contours, each asked whether it holds
the centre, and the same box and kernels as ours, so that pixels can be compared. Astronomaly itself resizes by
scikit-image, with another filter and slower. End to end the peer decodes by Pillow, ours by kornia-rs, and both leave
raw pixels on disk: ours by the pixel store with its ledger, flushed to disk, the peer by one array; the files are in
the page cache.
"""

import math
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pyarrow as pa
from astropy.stats import sigma_clipped_stats
from PIL import Image
from side_by_side import Equal, Row, compare, growth, main, timed

from galaxy_assets.deliveries.images import decode
from galaxy_assets.science.cutouts import Cutout, cut
from galaxy_assets.settings.cutouts import CutoutSettings
from galaxy_assets.simulation.surveys import simulate_optical
from galaxy_assets.storage.pixels import PixelStore

SETTINGS = CutoutSettings(size=128)


def stretched(part: np.ndarray) -> np.ndarray:
    """Floats as 8 bits, from the least to the greatest."""
    low, high = part.min(), part.max()
    return np.rint((part - low) * (255 / (high - low))).astype(np.uint8)


def by_astropy(image: np.ndarray, size: int = SETTINGS.size) -> tuple[np.ndarray, tuple[int, int, int, int]]:
    """The peer: pixels uint8 (size, size, 3) and the box of one image (H, W, 3) or (H, W)."""
    plane = image[..., 0] if image.ndim == 3 else image
    _, median, std = sigma_clipped_stats(plane, sigma=4.0, maxiters=5)
    mask = (plane > median + 4 * std).astype(np.uint8)
    contours, _ = cv2.findContours(mask, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
    height, width = plane.shape
    box = 0, 0, width, height
    for contour in contours:
        if cv2.pointPolygonTest(contour, (width // 2, height // 2), False) > 0:
            x, y, w, h = cv2.boundingRect(contour)
            side = round(2 * max(w, h))
            box = *_inside(x + w / 2, side, width), *_inside(y + h / 2, side, height)
            box = box[0], box[2], box[1], box[3]
            break
    x0, y0, x1, y1 = box
    part = np.ascontiguousarray(image[y0:y1, x0:x1])
    part = part if part.dtype == np.uint8 else stretched(part.astype(np.float64))
    part = cv2.resize(part, (min(x1 - x0, size), min(y1 - y0, size)), interpolation=cv2.INTER_AREA)
    part = cv2.resize(part, (size, size), interpolation=cv2.INTER_CUBIC).reshape(size, size, -1)
    return (part if part.shape[2] == 3 else np.repeat(part, 3, axis=2)), box


def _inside(centre: float, side: int, limit: int) -> tuple[int, int]:
    side = min(side, limit)
    start = min(max(math.floor(centre - side / 2 + 0.5), 0), limit - side)
    return start, start + side


def apart(ours: list[Cutout], peer: list[tuple[np.ndarray, tuple]]) -> list[Equal]:
    """How many boxes and how many pixels differ."""
    pairs = list(zip(ours, peer, strict=True))
    return [
        Equal("boxes that differ", sum(a.box != box for a, (_, box) in pairs)),
        Equal("pixel values that differ", sum(int((a.pixels != pixels).sum()) for a, (pixels, _) in pairs)),
    ]


def measure(small: bool) -> Iterator[Row]:
    """8-bit in memory, PNG file to stored cutout, and floats."""
    cv2.setNumThreads(1)
    n = 4 if small else 40
    with tempfile.TemporaryDirectory() as folder:
        simulate_optical(Path(folder) / "survey", batches=["dr5"], n_images=n + n // 4 + 1, seed=3, processes=1)
        files = sorted((Path(folder) / "survey" / "dr5").rglob("*.png"))
        decoded = {file: decode(file.read_bytes()) for file in files}
        # blank frames have no cutout to compare
        files = [file for file, image in decoded.items() if cut(image, SETTINGS).pixels is not None][:n]
        images = [decoded[file] for file in files]
        yield from in_memory(images, small)
        # the pixel store flushes every 256 images: fewer would pay for a flush what many share
        yield from end_to_end(files * (1 if small else 6), Path(folder), small)
        yield from floats(images, small)


def in_memory(images: list[np.ndarray], small: bool) -> Iterator[Row]:
    """Noise, contour, box and resize of decoded images."""
    found = compare(
        lambda: [cut(image, SETTINGS) for image in images],
        lambda: [by_astropy(image) for image in images],
        rounds=1 if small else 7,
    )

    def at(side: int):
        one = cv2.resize(images[0], (side, side), interpolation=cv2.INTER_CUBIC)
        return lambda: [cut(one, SETTINGS) for _ in range(2 if small else 20)]

    grown = growth(at, [120, 240, 480] if small else [212, 424, 848])
    grown |= {"sizes": [side**2 for side in grown["sizes"]], "exponent": grown["exponent"] / 2}
    yield Row(
        "cutouts",
        "cutout in memory, 8-bit",
        len(images),
        "astropy + OpenCV",
        **found.columns(),
        **grown,
        equal=apart(found.our_answer, found.peer_answer),
        target_ratio=20,
        note="growth is in the pixels of an image",
    )


def end_to_end(files: list[Path], folder: Path, small: bool) -> Iterator[Row]:
    """Decode, cut and store, both without a second thread."""
    shape = (SETTINGS.size, SETTINGS.size, 3)

    def chunk(rows: range) -> tuple[np.ndarray, pa.Table]:
        made = [cut(decode(files[i].read_bytes()), SETTINGS) for i in rows]
        table = pa.table({"outcome": [c.outcome for c in made], "box": [list(c.box or ()) for c in made]})
        return np.stack([np.asarray(c.pixels) for c in made]), table

    def ours() -> Path:
        shutil.rmtree(folder / "pixels", ignore_errors=True)
        store = PixelStore(folder / "pixels")
        store.fill("dr5", n=len(files), shape=shape, fingerprint="0", make=chunk)
        return folder / "pixels" / "dr5" / "cutouts.npy"

    def peer() -> Path:
        pixels = np.empty((len(files), *shape), np.uint8)
        for i, file in enumerate(files):
            pixels[i] = by_astropy(np.asarray(Image.open(file)))[0]
        np.save(folder / "peer.npy", pixels)
        return folder / "peer.npy"

    found = compare(ours, peer, rounds=1 if small else 5)
    differ = int((np.load(found.our_answer) != np.load(found.peer_answer)).sum())
    decoding = min(timed(lambda: [decode(file.read_bytes()) for file in files])()[0].wall for _ in range(3))
    yield Row(
        "cutouts",
        "PNG file to stored cutout",
        len(files),
        "Pillow + astropy + OpenCV",
        **found.columns(),
        limit="decoding the PNG",
        share=decoding / found.columns()["seconds"],
        equal=[Equal("pixel values that differ", differ)],
        target_ratio=3,
    )


def floats(images: list[np.ndarray], small: bool) -> Iterator[Row]:
    """One band of floats, as a FITS cutout is read, in memory."""
    rng = np.random.default_rng(0)
    bands = [(image[..., 0] + rng.random(image.shape[:2])).astype(np.float32) for image in images]
    found = compare(
        lambda: [cut(band, SETTINGS) for band in bands],
        lambda: [by_astropy(band) for band in bands],
        rounds=1 if small else 7,
    )
    yield Row(
        "cutouts",
        "cutout in memory, float",
        len(bands),
        "astropy + OpenCV",
        **found.columns(),
        equal=apart(found.our_answer, found.peer_answer),
        target_ratio=2,
    )


if __name__ == "__main__":
    main("cutouts", measure)
