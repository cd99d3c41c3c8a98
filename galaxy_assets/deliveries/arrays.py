"""NumPy's files: an array (`.npy`), or several in a zip (`.npz`).

    images.npy, labels.npy          as two arrays of one file: what a file says of the rows of the one beside it

Belongs here: reading them without executing anything, and which files go together. Does not belong here: which arrays
are images (`image_arrays`).
"""

import struct
import threading
import zipfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import IO, NamedTuple

import numpy as np

from galaxy_assets.deliveries.archives import damaged_otherwise
from galaxy_assets.deliveries.delivery import signature
from galaxy_assets.deliveries.image_arrays import Kept, is_stack, may_be_planes, says
from galaxy_assets.deliveries.images import UnreadableImage, unreadable_otherwise
from galaxy_assets.deliveries.listing import HIDDEN
from galaxy_assets.deliveries.members import IDS, LABELS, check_count
from galaxy_assets.deliveries.stacks import check_rows
from galaxy_assets.settings.limits import MAXIMUM_ARRAY
from galaxy_assets.settings.regular import open_regular, regular

_WORDS = (*LABELS, *IDS, "ra", "dec")
_BEGIN = {word.split("_")[0].removesuffix("s") for word in _WORDS}
_LOCAL_HEADER = struct.Struct("<26xHH")  # of a zip: lengths of the name and of what comes between it and the data


class _Place(NamedTuple):
    """An array in a file: where its numbers begin, and whether the first axis runs fastest."""

    path: Path
    kept: Kept
    offset: int
    fortran: bool


def _placed(path: Path) -> _Place:
    """The array of a `.npy` file; raises what NumPy does where it has no header, and DamagedArchive if it is short."""
    with open_regular(path) as stream:
        kept, fortran = _header(stream)
        check_rows(kept, path.stat().st_size - stream.tell())
        return _Place(path, kept, stream.tell(), fortran)


def _header(stream: IO[bytes]) -> tuple[Kept, bool]:
    version = np.lib.format.read_magic(stream)
    read = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
    if version not in read:
        raise ValueError(f"version {version} of the format")
    shape, fortran, dtype = read[version](stream)
    return Kept(shape, dtype), fortran


class NumpyArrays:
    """The arrays of a `.npy` file and of those beside it, or of a `.npz`. Safe to read from several threads.

    Parameters
    ----------
    path : Path
        The file.
    beside : mapping of str to Path
        Of a `.npy` file what `arrays_beside` gives.

    Attributes
    ----------
    kept : dict of str to Kept
        Shapes and types; the array of a `.npy` is called `images`, those beside it by their word.
    notes : list of str
        What is left out, and why.
    packed : bool
        Whether an array is compressed, so that rows cannot be read by seeking.

    Raises
    ------
    DamagedArchive
        Where the file is not whole.
    """

    def __init__(self, path: Path, beside: Mapping[str, Path] | None = None):
        self._path, self._lock = path, threading.Lock()
        self._places: dict[str, _Place] = {}
        self._packed: dict[str, zipfile.ZipInfo] = {}
        self._zip: zipfile.ZipFile | None = None
        with damaged_otherwise():
            if path.name.lower().endswith(".npz"):
                self._open_zip()
            else:
                self._places["images"] = _placed(path)
                self._places |= {word: _placed(other) for word, other in (beside or {}).items()}
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
                self._places[name] = _Place(self._path, kept, start, fortran)
                check_rows(kept, info.file_size - length)

    def row(self, path: str, i: int) -> np.ndarray:
        """One row of an array that is not compressed; raises UnreadableImage."""
        file, kept, offset, fortran = self._places[path]
        if fortran:
            return np.array(np.memmap(file, kept.dtype, "r", offset, kept.shape, "F")[i])
        size = kept.nbytes // kept.shape[0]
        try:
            with file.open("rb") as stream:
                stream.seek(offset + i * size)
                data = stream.read(size)
        except OSError as error:
            raise UnreadableImage(f"cannot be opened: {error.strerror}") from error
        if len(data) < size:
            raise UnreadableImage("the archive was cut short")
        return np.frombuffer(data, kept.dtype).reshape(kept.shape[1:])

    def whole(self, path: str) -> np.ndarray:
        """A small array; raises UnreadableImage."""
        _, kept, _, fortran = self._places[path]
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
        _, kept, _, fortran = self._places[path]
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
            stream = self._places[path].path.open("rb")
            stream.seek(self._places[path].offset)
            return stream
        with self._lock:
            stream = self._zip.open(info)
        _header(stream)
        return stream


def is_stack_file(path: Path, bands: Sequence[str | int] | None = None) -> bool:
    """Whether a `.npy` file holds N images and not one; a damaged one counts as an image.

    Parameters
    ----------
    path : Path
        The file.
    bands : sequence of str or int, optional
        The survey's `source.bands`, see `image_arrays.is_stack`.

    Returns
    -------
    bool
    """
    kept = _kept(path)
    return kept is not None and not kept.dtype.hasobject and is_stack(kept, bands)


def planes_of_file(path: Path) -> int | None:
    """How many planes a `.npy` file has if it is one image and not as many, see `image_arrays.may_be_planes`."""
    kept = _kept(path)
    return None if kept is None or not is_stack_file(path) else may_be_planes(kept)


def arrays_beside(path: Path) -> dict[str, Path]:
    """The `.npy` files that say something of each row of the stack beside them, as `labels.npy` of `images.npy`.

    Parameters
    ----------
    path : Path
        A `.npy` file of N images.

    Returns
    -------
    dict of str to Path
        By the word that the file is called by. One that would go with several stacks of N images is left out.
    """
    found: dict[str, Path] = {}
    if (kept := _kept(path)) is None:
        return found
    names = _arrays_in(path.parent, signature(path.parent))
    for word in _WORDS:
        for name in names.called.get(word, ()):
            other = path.with_name(name)
            if not says(_stem(path.name), _stem(name), (word,)) or not _a_value_each(other, kept.shape[0], word):
                continue
            also = (one for one in names.all if one not in (path.name, name) and says(_stem(one), _stem(name), (word,)))
            if not any(_is_stack_of(path.with_name(one), kept.shape[0]) for one in also):
                found.setdefault(word, other)
    return found


def without_images(paths: Iterable[Path], bands: Sequence[str | int] | None = None) -> dict[Path, str | None]:
    """The `.npy` files that are no images: those of a stack's rows beside it, and any of one axis or none.

    Parameters
    ----------
    paths : iterable of Path
        `.npy` files of one folder, the stacks among them.
    bands : sequence of str or int, optional
        The survey's `source.bands`, see `image_arrays.is_stack`.

    Returns
    -------
    dict of Path to str or None
        What to say of a file; None of one that goes with a stack.
    """
    paths = list(paths)
    stacks = [path for path in paths if is_stack_file(path, bands)]
    said: dict[Path, str | None] = {
        path: f"an array {kept.shape} of {kept.dtype} is no image and not taken. Classes of the images in one .npy "
        f"file have a value for each, as numbers or text, in a file beside it called {', '.join(LABELS)}"
        for path in paths
        if (kept := _kept(path)) is not None and len(kept.shape) < 2
    }
    return said | {column: None for stack in stacks for column in arrays_beside(stack).values()}


class _Named(NamedTuple):
    """The `.npy` files of a folder: all, and those that may be called by a word."""

    all: list[str]
    called: dict[str, list[str]]


@lru_cache(maxsize=64)  # the folder's own time changes with what is in it
def _arrays_in(folder: Path, state: str) -> _Named:
    names = sorted(path.name for path in folder.iterdir() if path.name.lower().endswith(".npy"))
    names = [name for name in names if not HIDDEN.search(name)]
    called: dict[str, list[str]] = {}
    for name in names:
        parts = _stem(name).lower().split("_")
        if not _BEGIN.isdisjoint(part.removesuffix("s") for part in parts):
            for word in _WORDS:
                if word.removesuffix("s") in "_".join(parts):
                    called.setdefault(word, []).append(name)
    return _Named(names, called)


def _stem(name: str) -> str:
    return name[: -len(".npy")]


def _a_value_each(path: Path, n: int, word: str) -> bool:
    """Whether a whole file has a value for each of n images, or a column for each class."""
    try:
        kept = _placed(path).kept
    except Exception:  # numpy's are of many classes
        return False
    columns = len(kept.shape) == 2 and word in LABELS
    return not kept.dtype.hasobject and (kept.shape in ((n,), (n, 1)) or (columns and kept.shape[0] == n))


def _is_stack_of(path: Path, n: int) -> bool:
    kept = _kept(path)
    return kept is not None and kept.shape[:1] == (n,) and is_stack_file(path)


def _kept(path: Path) -> Kept | None:
    """Shape and type of a `.npy` file; None of a damaged one."""
    try:
        return _kept_in(path, signature(path))
    except OSError:
        return None


@lru_cache(maxsize=65536)  # folders are listed often; the signature makes it look again at what has changed
def _kept_in(path: Path, state: str) -> Kept | None:
    try:
        with open_regular(path) as stream:
            return _header(stream)[0]
    except Exception:  # numpy's are of many classes
        return None
