"""Content of a gzip, bzip2 or xz file: which it is, opened as a stream, or unpacked with a limit.

Belongs here: compression of a whole file. Does not belong here: compression inside a format, archives of many files
(`deliveries.archives`).
"""

import bz2
import gzip
import lzma
import zlib
from typing import Any

from galaxy_assets.deliveries.images import UnreadableImage
from galaxy_assets.deliveries.memory import MEMORY
from galaxy_assets.settings.limits import MAXIMUM_BYTES, MAXIMUM_UNPACKED, UNPACKED_PER_BYTE

_OPEN: dict[bytes, Any] = {b"\x1f\x8b": gzip.open, b"BZh": bz2.open, b"\xfd7zXZ": lzma.open}

_STEP = 1 << 20  # bytes that are unpacked at once
_DICTIONARY = 128 * 2**20  # most memory of xz itself, bytes; level 9 takes 65 MiB


def opener_of(start: bytes) -> Any:
    """What opens a file that begins so as a stream of its content; None where it is not compressed."""
    return next((opener for magic, opener in _OPEN.items() if start.startswith(magic)), None)


def unpacked(data: bytes) -> bytes:
    """The content of a compressed file; other content as it is.

    Parameters
    ----------
    data : bytes
        Of a file.

    Returns
    -------
    bytes

    Raises
    ------
    UnreadableImage
        If it is truncated, or unpacks to more than the limit.
    Exception
        Of the decompressor, where it is damaged.
    """
    if data.startswith(b"\x1f\x8b"):
        return _all(data, lambda: zlib.decompressobj(wbits=31), b"\x1f\x8b")
    if data.startswith(b"BZh"):
        return _all(data, bz2.BZ2Decompressor, b"BZh")
    if data.startswith(b"\xfd7zXZ\0"):
        return _all(data, lambda: lzma.LZMADecompressor(memlimit=_DICTIONARY), b"\xfd7zXZ\0")
    return data


def _all(data: bytes, begin: Any, magic: bytes) -> bytes:
    """Every part of a compressed file; what follows them is padding."""
    most, parts, n = min(max(MAXIMUM_UNPACKED, UNPACKED_PER_BYTE * len(data)), MAXIMUM_BYTES), [], 0
    while data.startswith(magic):
        one, left = begin(), data
        while not one.eof:
            part = one.decompress(left, _STEP)
            left = getattr(one, "unconsumed_tail", b"")  # zlib gives back what it did not take, the others keep it
            if not (part or left or one.eof) and getattr(one, "needs_input", True):
                raise UnreadableImage("truncated: its compressed data ends early")
            parts.append(part)
            if (n := n + len(part)) > most:
                raise UnreadableImage(f"unpacks to more than {most} bytes", "too_large")
            MEMORY.grow(2 * len(part))  # the parts, and what they are joined to
        data = one.unused_data
    return b"".join(parts)
