"""NumPy's files: an array (`.npy`), or several in a zip (`.npz`).

Belongs here: reading them without executing anything. Does not belong here: which arrays are images (`stacks`).
"""

import struct
import threading
import zipfile
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import IO, NamedTuple

import numpy as np

from galaxy_assets.deliveries.archives import damaged_otherwise
from galaxy_assets.deliveries.delivery import signature
from galaxy_assets.deliveries.images import UnreadableImage, unreadable_otherwise
from galaxy_assets.deliveries.members import check_count
from galaxy_assets.deliveries.stacks import Kept, check_rows, is_stack
from galaxy_assets.settings.limits import MAXIMUM_ARRAY
from galaxy_assets.settings.regular import open_regular, regular

_LOCAL_HEADER = struct.Struct("<26xHH")  # of a zip: lengths of the name and of what comes between it and the data


class _Place(NamedTuple):
    """An array in a file: where its numbers begin, and whether the first axis runs fastest."""

    kept: Kept
    offset: int
    fortran: bool


def _header(stream: IO[bytes]) -> tuple[Kept, bool]:
    version = np.lib.format.read_magic(stream)
    read = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
    if version not in read:
        raise ValueError(f"version {version} of the format")
    shape, fortran, dtype = read[version](stream)
    return Kept(shape, dtype), fortran


class NumpyArrays:
    """The arrays of a `.npy` file, or of a `.npz`. Safe to read from several threads.

    Parameters
    ----------
    path : Path
        The file.

    Attributes
    ----------
    kept : dict of str to Kept
        Shapes and types; the array of a `.npy` is called `images`.
    notes : list of str
        What is left out, and why.
    packed : bool
        Whether an array is compressed, so that rows cannot be read by seeking.

    Raises
    ------
    DamagedArchive
        Where the file is not whole.
    """

    def __init__(self, path: Path):
        self._path, self._lock = path, threading.Lock()
        self._places: dict[str, _Place] = {}
        self._packed: dict[str, zipfile.ZipInfo] = {}
        self._zip: zipfile.ZipFile | None = None
        with damaged_otherwise():
            if path.name.lower().endswith(".npz"):
                self._open_zip()
            else:
                with open_regular(path) as stream:
                    kept, fortran = _header(stream)
                    self._places["images"] = _Place(kept, stream.tell(), fortran)
                    check_rows(kept, path.stat().st_size - stream.tell())
        self.kept = {name: one.kept for name, one in self._places.items() if not one.kept.dtype.hasobject}
        self.notes = [
            f"the array {name} holds Python objects, which are not read: save it as numbers or text"
            for name in self._places.keys() - self.kept.keys()
        ]

    @property
    def packed(self) -> bool:
        """See the class."""
        return bool(self._packed)

    def _open_zip(self) -> None:
        self._zip = zipfile.ZipFile(regular(self._path))
        members = [info for info in self._zip.infolist() if info.filename.endswith(".npy")]
        check_count(len(members))
        with self._path.open("rb") as file:
            for info in members:
                name = info.filename.removesuffix(".npy")
                with self._zip.open(info) as stream:
                    kept, fortran = _header(stream)
                    length = stream.tell()
                if info.compress_type != zipfile.ZIP_STORED:
                    self._packed[name] = info
                file.seek(info.header_offset)
                between = sum(_LOCAL_HEADER.unpack(file.read(_LOCAL_HEADER.size)))
                start = info.header_offset + _LOCAL_HEADER.size + between + length
                self._places[name] = _Place(kept, start, fortran)
                check_rows(kept, info.file_size - length)

    def row(self, path: str, i: int) -> np.ndarray:
        """One row of an array that is not compressed; raises UnreadableImage."""
        kept, offset, fortran = self._places[path]
        if fortran:
            return np.array(np.memmap(self._path, kept.dtype, "r", offset, kept.shape, "F")[i])
        size = kept.nbytes // kept.shape[0]
        try:
            with self._path.open("rb") as stream:
                stream.seek(offset + i * size)
                data = stream.read(size)
        except OSError as error:
            raise UnreadableImage(f"cannot be opened: {error.strerror}") from error
        if len(data) < size:
            raise UnreadableImage("the archive was cut short")
        return np.frombuffer(data, kept.dtype).reshape(kept.shape[1:])

    def whole(self, path: str) -> np.ndarray:
        """A small array; raises UnreadableImage."""
        kept, _, fortran = self._places[path]
        if kept.nbytes > MAXIMUM_ARRAY:
            raise UnreadableImage(f"an array of {kept.nbytes} bytes", "too_large")
        data = b"".join(row.tobytes() for row in self._pieces(path, kept.nbytes, 1))
        return np.frombuffer(data, kept.dtype).reshape(kept.shape, order="F" if fortran else "C")

    def rows(self, path: str) -> Iterator[np.ndarray]:
        """All rows of an array, compressed or not, one after the other.

        Raises
        ------
        UnreadableImage
            Where rows do not follow each other in the file, and the array is too large to be read at once.
        """
        kept, _, fortran = self._places[path]
        if fortran:
            yield from self.whole(path)
            return
        for piece in self._pieces(path, kept.nbytes // kept.shape[0], kept.shape[0]):
            yield piece.view(kept.dtype).reshape(kept.shape[1:])

    def _pieces(self, path: str, size: int, n: int) -> Iterator[np.ndarray]:
        """The numbers of an array as bytes, in n pieces of a size."""
        with unreadable_otherwise():
            with self._stream(path) as stream:
                for _ in range(n):
                    data = stream.read(size)
                    if len(data) < size:
                        raise UnreadableImage("the archive was cut short")
                    yield np.frombuffer(data, np.uint8)

    def _stream(self, path: str) -> IO[bytes]:
        info = self._packed.get(path)
        if info is None or self._zip is None:
            stream = self._path.open("rb")
            stream.seek(self._places[path].offset)
            return stream
        with self._lock:
            stream = self._zip.open(info)
        _header(stream)
        return stream


def is_stack_file(path: Path) -> bool:
    """Whether a `.npy` file holds N images and not one; a damaged one counts as an image."""
    try:
        return _is_stack_file(path, signature(path))
    except OSError:
        return False


@lru_cache(maxsize=65536)  # folders are listed often; the signature makes it look again at what has changed
def _is_stack_file(path: Path, state: str) -> bool:
    try:
        with open_regular(path) as stream:
            kept, _ = _header(stream)
    except Exception:  # numpy's are of many classes
        return False
    return not kept.dtype.hasobject and is_stack(kept)
