"""Decode one delivered PNG or JPEG safely, from its bytes.

Belongs here: the limits on what counts as an image, the header, the pixels, and reading a file that must lie inside its
survey's folder. Does not belong here: members of archives (`archives`), FITS (`readers.fits_folder`), catalogues, and
anything that changes pixel values.
"""

import io
import stat
import struct
import zlib
from pathlib import Path
from typing import IO, TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from PIL.Image import Image

MINIMUM_SIDE = 16
"""Shortest side of a usable image, pixels."""
MAXIMUM_SIDE = 16_384
"""Longest side that is decoded, pixels."""
MAXIMUM_PIXELS = 64_000_000
"""Largest number of pixels that is decoded."""
MAXIMUM_BYTES = 2**30
"""Largest file that is read: a cube of three such planes of float32 has three quarters of it."""

_DAMAGE = (OSError, SyntaxError, ValueError, EOFError, struct.error, zlib.error)
"""What Pillow raises for damaged files: broken chunks are SyntaxError, truncated pixels OSError."""


class UnreadableImage(ValueError):
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
        self.reason = reason
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
        found = path.stat()
        if not stat.S_ISREG(found.st_mode):
            raise UnreadableImage("no regular file")  # reading a pipe would wait for ever
        check_bytes(found.st_size)
        return path.read_bytes()
    except OSError as error:
        raise UnreadableImage(f"cannot be opened: {error.strerror}") from error


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


def _open(stream: IO[bytes]) -> "Image":
    """Open by content, not by suffix, reading the header alone.

    Not PIL.Image.open: it raises for a huge image before its size is known, so the catalogue could not record it, and
    it would hand a file to any of Pillow's other formats (PostScript starts an interpreter).
    """
    from PIL.JpegImagePlugin import JpegImageFile
    from PIL.PngImagePlugin import PngImageFile

    magic = stream.read(8)
    stream.seek(0)
    if magic == b"\x89PNG\r\n\x1a\n":
        return PngImageFile(stream)
    if magic.startswith(b"\xff\xd8\xff"):
        return JpegImageFile(stream)
    raise UnreadableImage("neither PNG nor JPEG" if magic else "empty file")


def read_header(data: bytes) -> tuple[int, int]:
    """Size of a PNG or JPEG from its header; no limit is applied.

    Parameters
    ----------
    data : bytes
        The file's content.

    Returns
    -------
    width, height : int
        Pixels.

    Raises
    ------
    UnreadableImage
        If it is neither, or its header is damaged.
    """
    try:
        return _open(io.BytesIO(data)).size
    except UnreadableImage:
        raise
    except _DAMAGE as error:
        raise UnreadableImage(f"damaged header: {error}") from error


def decode(data: bytes) -> np.ndarray:
    """Decode a PNG or JPEG.

    Grey images stay (H, W); 16-bit grey images become float32 with their values unchanged; palettes become RGB;
    transparency is composited on black, the colour of empty sky.

    Parameters
    ----------
    data : bytes
        The file's content.

    Returns
    -------
    numpy.ndarray of shape (H, W) or (H, W, 3)
        uint8, or float32 for more than 8 bits.

    Raises
    ------
    UnreadableImage
        If it is damaged, truncated, or its header gives a size that `check_size` refuses. The size is checked before
        any pixel is decoded, so a small file cannot claim gigabytes of memory.
    """
    try:
        image = _open(io.BytesIO(data))
        check_size(*image.size)
        pixels = _plain_png(data, image)
        if pixels is not None:
            return pixels
        image.load()
        return _pixels(image)
    except UnreadableImage:
        raise
    except _DAMAGE as error:
        raise UnreadableImage(f"damaged or truncated: {error}") from error


def _plain_png(data: bytes, image: "Image") -> np.ndarray | None:
    """The pixels of an 8-bit grey or colour PNG by kornia-rs: Pillow's, in less than half the time.

    None for any other image, and for a damaged one: Pillow says what is damaged or reads what can be read.
    """
    import kornia_rs

    bits = data[24:25]  # per channel, as the header says
    if image.format != "PNG" or bits != b"\x08" or image.mode not in ("L", "RGB") or "transparency" in image.info:
        return None
    try:
        pixels = kornia_rs.io.decode_image_png_u8(
            data, (image.height, image.width), "rgb" if image.mode == "RGB" else "mono"
        )
    except Exception:  # it raises no narrower class
        return None
    return pixels if image.mode == "RGB" else pixels[..., 0]


def _pixels(image: "Image") -> np.ndarray:
    if image.mode in ("L", "RGB"):
        return np.array(image)
    if image.mode == "1":
        return np.array(image.convert("L"))
    if image.mode.startswith("I") or image.mode == "F":
        return np.array(image, dtype=np.float32)
    if image.mode in ("LA", "RGBA", "PA") or "transparency" in image.info:
        rgba = np.array(image.convert("RGBA"), dtype=np.uint16)
        on_black = ((rgba[..., :3] * rgba[..., 3:] + 127) // 255).astype(np.uint8)
        return on_black[..., 0] if image.mode == "LA" else on_black
    return np.array(image.convert("RGB"))
