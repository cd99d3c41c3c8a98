"""Decode one delivered image file safely, from its bytes; the content says which format it has, not the suffix.

Belongs here: the limits on what counts as an image, the one error that a stranger's file may raise, and reading a file
that must lie inside its survey's folder. Does not belong here: the formats (`decoding`), members of archives
(`archives`), catalogues.
"""

import importlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from galaxy_assets.deliveries.memory import MEMORY
from galaxy_assets.settings.files import SurveyError
from galaxy_assets.settings.limits import (
    LARGEST_MEMORY,
    MAXIMUM_BYTES,
    MAXIMUM_MEMORY,
    MAXIMUM_PIXELS,
    MAXIMUM_SIDE,
    MEMORY_PER_BYTE,
    MINIMUM_SIDE,
)
from galaxy_assets.settings.printing import PrintableError
from galaxy_assets.settings.regular import NotRegular, open_regular

if TYPE_CHECKING:
    from galaxy_assets.deliveries.decoding.planes import Planes
    from galaxy_assets.settings.source import Source


class UnreadableImage(PrintableError):
    """An image that cannot be used.

    Attributes
    ----------
    reason : str
        Why, in words.
    problem : str
        `unreadable`, `too_small` or `too_large`, as in the catalogue's column `problem`.
    """

    def __init__(self, reason: str, problem: str = "unreadable"):
        super().__init__(reason)
        self.reason = str(self)
        self.problem = problem


def inside(folder: Path, file: str) -> Path:
    """The path of a file that must lie in a folder.

    Parameters
    ----------
    folder : Path
        The survey's.
    file : str
        Relative to it.

    Returns
    -------
    Path

    Raises
    ------
    UnreadableImage
        If the file, or a link on its way, leads out of the folder.
    """
    try:
        path = (folder / file).resolve()
    except (OSError, ValueError, RuntimeError) as error:  # ValueError: null byte; RuntimeError: loop of links
        raise UnreadableImage(f"not a usable path: {error}") from error
    if not path.is_relative_to(folder.resolve()):
        raise UnreadableImage("leads out of the survey's folder; copy the file in, or correct `source.path`")
    return path


def inside_or_none(folder: Path, file: str) -> Path | None:
    """As `inside`, and None of what leads out."""
    try:
        return inside(folder, file)
    except UnreadableImage:
        return None


def read_file(path: Path) -> bytes:
    """The content of a file.

    Parameters
    ----------
    path : Path
        The file.

    Returns
    -------
    bytes

    Raises
    ------
    UnreadableImage
        If it cannot be opened or is larger than MAXIMUM_BYTES.
    """
    try:
        with open_regular(path) as stream:
            check_bytes(os.fstat(stream.fileno()).st_size)
            data = stream.read(MAXIMUM_BYTES + 1)
        check_bytes(len(data))
        return data
    except NotRegular as error:
        raise UnreadableImage(str(error.strerror)) from error
    except OSError as error:
        why = "its name is not UTF-8, rename it" if "\ufffd" in str(path) else error.strerror
        raise UnreadableImage(f"cannot be opened: {why}") from error


def check_bytes(size: int) -> None:
    """Refuse a file that is too large to be read.

    Parameters
    ----------
    size : int
        Bytes.

    Raises
    ------
    UnreadableImage
        With problem `too_large`.
    """
    if size > MAXIMUM_BYTES:
        raise UnreadableImage(f"{size} bytes; the largest file that is read has {MAXIMUM_BYTES}", "too_large")


def check_size(width: int, height: int) -> None:
    """Refuse an image that is too small or too large to be decoded.

    Parameters
    ----------
    width, height : int
        Pixels.

    Raises
    ------
    UnreadableImage
        With problem `too_small` or `too_large`.
    """
    if min(width, height) < MINIMUM_SIDE:
        raise UnreadableImage(f"{width} x {height} pixels; the smallest side is {MINIMUM_SIDE}", "too_small")
    if max(width, height) > MAXIMUM_SIDE or width * height > MAXIMUM_PIXELS:
        limit = f"the longest side is {MAXIMUM_SIDE}, the largest area {MAXIMUM_PIXELS} pixels"
        raise UnreadableImage(f"{width} x {height} pixels; {limit}", "too_large")


def check_memory(needed: int, size: int) -> None:
    """Refuse an image whose decoding would take too much memory for the file it is in; wait for memory for any other.

    Parameters
    ----------
    needed : int
        Bytes that decoding takes, as the header has it.
    size : int
        Of the file, bytes.

    Raises
    ------
    UnreadableImage
        With problem `too_large`.
    """
    if needed > (most := min(max(MAXIMUM_MEMORY, MEMORY_PER_BYTE * size), LARGEST_MEMORY)):
        raise UnreadableImage(f"decoding takes {needed} bytes of memory; the most for this file is {most}", "too_large")
    MEMORY.grow(needed)


@contextmanager
def unreadable_otherwise() -> Iterator[None]:
    """Make an `UnreadableImage` of whatever a decoder raises over a stranger's file.

    Raises
    ------
    UnreadableImage
        With problem `too_large` where memory runs out.
    SurveyError
        As it is: of an archive that was damaged since.
    """
    try:
        yield
    except SurveyError:
        raise
    except UnreadableImage as error:
        raise UnreadableImage(in_words(error), error.problem) from error
    except MemoryError as error:
        raise UnreadableImage("decoding needs more memory than there is", "too_large") from error
    except Exception as error:
        raise UnreadableImage(f"damaged or truncated: {in_words(error)}") from error
    except BaseException as error:
        if type(error).__name__ != "PanicException":  # of a decoder written in Rust, which is no Exception
            raise
        raise UnreadableImage(f"damaged or truncated: {in_words(error)}") from error


_LONGEST = 300  # of a reason, in characters: a header may hold anything


def in_words(error: BaseException) -> str:
    """An error's text on one line of at most 300 characters; the name of its class where it has none."""
    words = " ".join(str(error).split()) or type(error).__name__
    return words if len(words) <= _LONGEST else f"{words[:_LONGEST]} ..."


_MAGIC = (
    (0, b"\x89PNG\r\n\x1a\n", "pictures"),
    (0, b"\xff\xd8\xff", "pictures"),
    (8, b"WEBP", "pictures"),
    (4, b"ftypavif", "pictures"),
    (4, b"ftypavis", "pictures"),
    (0, b"II*\0", "tiff"),
    (0, b"MM\0*", "tiff"),
    (0, b"II+\0", "tiff"),
    (0, b"MM\0+", "tiff"),
    (0, b"\x93NUMPY", "arrays"),
    (0, b"SIMPLE", "fits"),
)
_READ = "PNG, JPEG, TIFF, WebP, AVIF, NumPy .npy and FITS are read"
_NOT_READ = {
    b"GIF8": "GIF",
    b"BM": "BMP",
    b"%PDF": "PDF",
    b"PK\x03\x04": "zip",
    b"\x89HDF": "HDF5",
    b"%!PS": "PostScript",
    b"<": "HTML or XML",
}


def read_header(data: bytes, source: "Source | None" = None) -> tuple[int, int]:
    """Size of an image from its header; no limit is applied.

    Parameters
    ----------
    data : bytes
        The file's content.
    source : Source, optional
        Says which extension of a FITS file is the image.

    Returns
    -------
    width, height : int
        Pixels.

    Raises
    ------
    UnreadableImage
        If it is no image, its header is damaged, or it unpacks to too much.
    """
    planes = read_planes(data, source)
    return planes.width, planes.height


def read_planes(data: bytes, source: "Source | None" = None) -> "Planes":
    """Rows, columns and planes of an image from its header, with the planes' names where it has them.

    Parameters
    ----------
    data : bytes
        The file's content.
    source : Source, optional
        Says which extension of a FITS file is the image, or which are its bands: all that are without it.

    Returns
    -------
    decoding.planes.Planes

    Raises
    ------
    UnreadableImage
        As `read_header`.
    """
    from galaxy_assets.deliveries.decoding.planes import Choice

    with unreadable_otherwise(), MEMORY.hold(0):
        data, module = _opened(data)
        return module.layout(data, Choice.of(source) if source is not None else Choice(bands=()))


def decode(data: bytes, source: "Source | None" = None) -> np.ndarray:
    """Decode an image.

    Pictures of 8 bits stay so, grey (H, W) or colour. All others become floats with their values unchanged.
    Transparency is composited on black, the colour of empty sky; palettes become RGB.

    Parameters
    ----------
    data : bytes
        The file's content.
    source : Source, optional
        Says which bands and which FITS extension are the image; the rules of `decoding.planes` do where it does not.

    Returns
    -------
    numpy.ndarray of shape (H, W) or (H, W, 3)
        uint8, a masked array where pixels have no data; or float32, NaN where pixels have no data. float64 where
        float32 would lose levels.

    Raises
    ------
    UnreadableImage
        If it is damaged, truncated, without any data, or its header gives a size that `check_size` or `check_memory`
        refuses. Both are asked before any pixel is decoded, so a small file cannot claim gigabytes of memory.
    """
    from galaxy_assets.deliveries.decoding.planes import Choice

    size = len(data)
    with unreadable_otherwise(), MEMORY.hold(0), np.errstate(all="ignore"):
        data, module = _opened(data)
        return module.decode(data, Choice.of(source) if source is not None else Choice(), size)


def _opened(data: bytes) -> tuple[bytes, Any]:
    """The content, unpacked where it is compressed, and the module of its format."""
    from galaxy_assets.deliveries.decoding.compressed import unpacked

    data = unpacked(data)
    for offset, magic, module in _MAGIC:
        if data.startswith(magic, offset):
            return data, importlib.import_module(f"galaxy_assets.deliveries.decoding.{module}")
    if not data:
        raise UnreadableImage("empty file")
    name = next((name for magic, name in _NOT_READ.items() if data.startswith(magic)), None)
    raise UnreadableImage(f"{f'a {name} file' if name else 'no image format that is known'}; {_READ}")
