"""Decoded cutouts, memory-mapped: every image is decoded once and the source files are not touched again.

Belongs here: the files of pixels and the resumable filling of them. Does not belong here: how a cutout is made.

    <folder>/<batch>/cutouts.npy        uint8 (N, size, size, channels), row i belongs to row i of the `cutouts` table
    <folder>/<batch>/rows/*.parquet     the chunks' rows, each with the sha256 of its pixels in the footer
    <folder>/<batch>/size_064.npy       the same at a network's input size, made when first asked for
    <folder>/<batch>/size_064.sha256    its sha256, as the command `sha256sum` writes it
    <folder>/<batch>/content.json       number, shape and fingerprint of what it was made from
    <folder>/.<batch>.building/         the same while it is being filled
"""

import functools
import hashlib
import io
import json
import math
import os
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from galaxy_assets.settings.printing import logger
from galaxy_assets.settings.progress import HowFar
from galaxy_assets.storage.files import DamagedFile, replacing, reserve, told_of
from galaxy_assets.storage.locks import held
from galaxy_assets.storage.pixel_stack import Part, PixelStack, map_pixels, part_of
from galaxy_assets.storage.provenance import Origin, damaged_otherwise, origin_of, with_origin
from galaxy_assets.storage.store import CutRows, store_of
from galaxy_assets.storage.tables import read_table, write_table

log = logger(__name__)

Chunk = Callable[[range], tuple[np.ndarray, pa.Table]]


def resize(image: np.ndarray, size: int) -> np.ndarray:
    """A cutout at a network's input size.

    Parameters
    ----------
    image : numpy.ndarray of shape (H, H, C), uint8
        The cutout.
    size : int
        Side wanted, pixels.

    Returns
    -------
    numpy.ndarray of shape (size, size, C), uint8
        `image` itself where it has that size.
    """
    import cv2

    if size == len(image):
        return image
    kernel = cv2.INTER_AREA if size < len(image) else cv2.INTER_CUBIC
    resized = cv2.resize(np.ascontiguousarray(image), (size, size), interpolation=kernel)
    return resized.reshape(size, size, image.shape[2])


@dataclass(frozen=True)
class PixelStore:
    """The cutouts of one survey, a folder per batch.

    Parameters
    ----------
    folder : Path
        The survey's folder of pixels; it need not exist.
    """

    folder: Path

    def file(self, batch: str) -> Path:
        """File of a batch's pixels; it need not exist."""
        return self.folder / batch / "cutouts.npy"

    def fill(
        self,
        batch: str,
        *,
        n: int,
        shape: tuple[int, int, int],
        fingerprint: str,
        make: Chunk,
        chunk: int = 256,
        columns: Sequence[str] = (),
    ) -> pa.Table:
        """Fill a batch chunk by chunk and return the chunks' tables as one.

        Parameters
        ----------
        batch : str
            Name of the batch.
        n : int
            Number of cutouts.
        shape : (int, int, int)
            (size, size, channels) of one cutout.
        fingerprint : str
            Of all that decides the pixels. A filling that was interrupted goes on after its last whole chunk where the
            fingerprint is the same, else it begins anew; a finished one of that fingerprint is not redone.
        make : callable
            Called with a range of rows; returns uint8 (len(rows), *shape) and a table of len(rows) rows.
        chunk : int
            Rows of one call.
        columns : sequence of str
            Of the tables; what was filled with others, by older code, is filled anew.

        Returns
        -------
        pyarrow.Table
            N rows, those of the chunks in order.

        Raises
        ------
        NotWritten
            Where there is no room for all of them; it is reserved before the first.
        """
        # two processes filling one batch (the main job and a click in the UI) would swap each other's files away
        with held(self.folder / f".{batch}.lock"):
            return self._fill(batch, n, shape, fingerprint, make, chunk, columns)

    def _fill(
        self,
        batch: str,
        n: int,
        shape: tuple[int, int, int],
        fingerprint: str,
        make: Chunk,
        chunk: int,
        columns: Sequence[str],
    ) -> pa.Table:
        content = {"n": n, "shape": list(shape), "fingerprint": fingerprint, "chunk": chunk, "columns": list(columns)}
        final, building = self.folder / batch, self.folder / f".{batch}.building"
        if self._known_content(final) == content and _is_array(self.file(batch), (n, *shape)):
            return self._rows(final)
        file = building / "cutouts.npy"
        if self._known_content(building) != content or not _is_array(file, (n, *shape)):
            shutil.rmtree(building, ignore_errors=True)
            building.mkdir(parents=True)
            with told_of(self.folder / batch):
                _reserve_array(file, (n, *shape))
            with replacing(building / "content.json") as partial:
                partial.write_text(json.dumps(content), encoding="utf-8")
        offset = np.lib.format.open_memmap(file, mode="r").offset
        mark = hashlib.sha256(json.dumps(content).encode()).hexdigest()[:32]
        far = HowFar(log, f"cutouts of {batch}", n, whole=True)
        for start in range(0, n, chunk):
            ledger = building / "rows" / f"{start:09d}.parquet"
            rows = range(start, min(start + chunk, n))
            if ledger.exists():
                far.before = rows.stop
                continue
            if (shared := _shared(final, mark, start, len(rows) * math.prod(shape))) is not None:
                data, table = shared
            else:
                block, table = make(rows)
                data = np.ascontiguousarray(block).data
            # written, not mapped: on a full disk a map ends the process without a word
            with told_of(file), file.open("r+b") as pixels:
                pixels.seek(offset + start * math.prod(shape))
                pixels.write(data)
                pixels.flush()
                os.fsync(pixels.fileno())
            # the rows are written last: their file says that the pixels before them are on disk
            beside = {file.name: hashlib.sha256(data).hexdigest()}
            write_table(with_origin(table, Origin(beside=beside)), ledger)
            if shared is None:
                store_of(final).keep_chunk(final, mark, start, CutRows(data, ledger.read_bytes()))
            far.tell(rows.stop)
        store_of(final).commit(building, final)
        return self._rows(final)

    def _known_content(self, folder: Path) -> dict | None:
        """As `content`; what is damaged is made anew."""
        try:
            return self.content(folder)
        except DamagedFile as error:
            log.warning("%s", error)
            return None

    @staticmethod
    def content(folder: Path) -> dict | None:
        """What the folder of a batch says of its pixels.

        Parameters
        ----------
        folder : Path
            Of a batch, whole or being filled.

        Returns
        -------
        dict or None
            `n`, `shape`, `fingerprint`, `chunk` and `columns`; None where it says nothing.

        Raises
        ------
        DamagedFile
            Where that cannot be read.
        """
        path = folder / "content.json"
        if not path.exists():
            return None
        with damaged_otherwise(path):
            told = json.loads(path.read_text(encoding="utf-8"))
            if not isinstance(told["fingerprint"], str):
                raise ValueError("it names no fingerprint")
            return told | {"n": int(told["n"]), "shape": [int(side) for side in told["shape"]]}

    @staticmethod
    def _rows(folder: Path) -> pa.Table:
        store_of(folder).local(folder / "cutouts.npy")  # a batch is fetched whole
        chunks = [read_table(path) for path in sorted((folder / "rows").glob("[!.]*.parquet"))]
        return pa.concat_tables([chunk.replace_schema_metadata(None) for chunk in chunks])

    def fingerprint(self, batches: Sequence[str]) -> str:
        """What the pixels of these batches were made from.

        Parameters
        ----------
        batches : sequence of str
            Names of batches.

        Returns
        -------
        str
            The fingerprints that `fill` was given, joined by commas.

        Raises
        ------
        FileNotFoundError
            Where the cutouts of a batch were not made.
        """
        contents = []
        for batch in batches:
            content = self.content(self.folder / batch)
            if content is None:
                raise self._missing(batch)
            contents.append(f"{batch}:{content['fingerprint']}")
        return ",".join(contents)

    def check(self, fingerprints: Mapping[str, str]) -> None:
        """Check that the pixels of each batch are those that its ledger names.

        A row number of the ledger is a row number of the pixels, except between a new filling and the ledger made of
        it.

        Parameters
        ----------
        fingerprints : mapping of str to str
            Batch -> fingerprint, as the table `cutouts` has it.

        Raises
        ------
        FileNotFoundError
            Where the pixels of a batch are absent or of another fingerprint.
        """
        for batch, expected in fingerprints.items():
            if self.fingerprint([batch]) != f"{batch}:{expected}":
                raise FileNotFoundError(
                    f"the pixels of batch {batch!r} in {self.folder} are newer than the table `cutouts`; "
                    "materialise `cutouts` for that batch again"
                )

    def _missing(self, batch: str) -> FileNotFoundError:
        return FileNotFoundError(f"no pixels of batch {batch!r} in {self.folder}; materialise `cutouts` for that batch")

    def read(self, batch: str, size: int | None = None) -> np.memmap:
        """The pixels of a batch as a memory map.

        Parameters
        ----------
        batch : str
            Name of the batch.
        size : int, optional
            Side wanted, pixels; the stored one when not given. Another size is made once and kept.

        Returns
        -------
        numpy.memmap of shape (N, size, size, channels), uint8

        Raises
        ------
        FileNotFoundError
            Where the batch's cutouts were not made.
        DamagedFile
            Where they are not the array that was written.
        NotWritten
            Where there is no room for another size.
        """
        stored = self.file(batch)
        if not stored.exists():
            raise self._missing(batch)
        pixels = map_pixels(stored)
        if size is None or size == pixels.shape[1]:
            return pixels
        resized = self.folder / batch / f"size_{size:03d}.npy"
        if not resized.exists():
            _write_resized(pixels, size, resized)
        return map_pixels(resized)

    def of(self, cutouts: pa.Table, size: int | None = None) -> "PixelStack":
        """The pixels of a ledger's batches: row i of the table is row i of the stack.

        Parameters
        ----------
        cutouts : pyarrow.Table
            The ledger `cutouts` with every row of its batches.
        size : int, optional
            Side wanted, pixels; the stored one when not given.

        Returns
        -------
        PixelStack

        Raises
        ------
        ValueError
            For a part of a batch's rows, which are no rows of the stack.
        FileNotFoundError
            As `check` and `read`.
        """
        pairs = cutouts.select(["batch", "pixels"]).group_by(["batch", "pixels"], use_threads=False).aggregate([])
        fingerprints = dict(zip(pairs["batch"].to_pylist(), pairs["pixels"].to_pylist(), strict=True))
        self.check(fingerprints)
        stack = self.stack(list(fingerprints), size)
        if len(stack) != cutouts.num_rows:
            raise ValueError(
                f"{cutouts.num_rows} rows of `cutouts` for the {len(stack)} cutouts of {', '.join(fingerprints)} in "
                f"{self.folder}: rows of a part of a ledger are not rows of its pixels; give every row of these batches"
            )
        return stack

    def stack(self, batches: Sequence[str], size: int | None = None) -> "PixelStack":
        """Several batches as one array-like, in the order given.

        Parameters
        ----------
        batches : sequence of str
            Names of batches.
        size : int, optional
            Side wanted, pixels; the stored one when not given.

        Returns
        -------
        PixelStack
            In a bucket, a batch that is not on this machine is fetched when a row of it is first asked for; at another
            size at once.
        """
        return PixelStack(tuple(self._part(batch, size) for batch in batches))

    def _part(self, batch: str, size: int | None) -> Part:
        file = self.file(batch)
        elsewhere = file.exists() and not file.stat().st_size
        content = self.content(file.parent) if elsewhere else None
        if content is None or size not in (None, content["shape"][0]):
            return part_of(self.read(batch, size))
        return Part((content["n"], *content["shape"]), functools.partial(self._as_told, batch, content))

    def _as_told(self, batch: str, content: dict) -> np.memmap:
        pixels = self.read(batch)
        if self.content(self.folder / batch) != content:
            raise FileNotFoundError(f"the pixels of batch {batch!r} in {self.folder} were made anew meanwhile")
        return pixels


def _shared(folder: Path, mark: str, start: int, size: int) -> tuple[Any, pa.Table] | None:
    """Pixels and rows of a chunk that another machine made; None where there is none that is whole."""
    import pyarrow.parquet as pq

    if (chunk := store_of(folder).chunk(folder, mark, start)) is None:
        return None
    try:
        table = pq.read_table(pa.BufferReader(chunk.rows), page_checksum_verification=True)
    except (pa.ArrowException, OSError) as error:
        log.warning("rows %d of %s are damaged in the bucket and made anew: %s", start, folder, error)
        return None
    recorded = origin_of(table).beside.get("cutouts.npy")
    whole = len(chunk.pixels) == size and hashlib.sha256(chunk.pixels).hexdigest() == recorded
    return (chunk.pixels, table.replace_schema_metadata(None)) if whole else None


def _is_array(path: Path, shape: tuple[int, ...]) -> bool:
    """Whether a file is an array of the shape, and has its whole length."""
    try:
        return path.exists() and map_pixels(path).shape == shape
    except DamagedFile as error:
        log.warning("%s", error)
        return False


def _header(shape: tuple[int, ...]) -> bytes:
    """What a .npy file of uint8 pixels begins with."""
    stream = io.BytesIO()
    np.lib.format.write_array_header_1_0(stream, {"descr": "|u1", "fortran_order": False, "shape": shape})
    return stream.getvalue()


def _reserve_array(path: Path, shape: tuple[int, ...]) -> None:
    """Make a .npy file of zeros that has its room on the disk."""
    header = _header(shape)
    with path.open("wb") as stream:
        stream.write(header)
        stream.flush()
        reserve(stream.fileno(), len(header) + math.prod(shape))


def _write_resized(pixels: np.memmap, size: int, path: Path) -> None:
    """Write the pixels at another size, and the sha256 of that file beside it."""
    shape = (len(pixels), size, size, pixels.shape[3])
    header = _header(shape)
    sha = hashlib.sha256(header)
    with replacing(path) as partial, partial.open("wb") as stream:
        stream.write(header)
        stream.flush()
        reserve(stream.fileno(), len(header) + math.prod(shape))
        for image in pixels:
            data = np.ascontiguousarray(resize(image, size)).data
            sha.update(data)
            stream.write(data)
    with replacing(path.with_suffix(".sha256")) as partial:
        partial.write_text(f"{sha.hexdigest()}  {path.name}\n", encoding="ascii")
