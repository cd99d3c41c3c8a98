"""What a service sent for a position: an image, nothing but blank sky, or something else.

Belongs here: telling these apart from the bytes. Does not belong here: asking (`connection`).
"""

import io
import zlib

import numpy as np

from galaxy_assets.deliveries.images import UnreadableImage, decode, read_header
from galaxy_assets.deliveries.sky.plan import Plan
from galaxy_assets.settings.printing import printable

_MAGIC = {"png": b"\x89PNG\r\n\x1a\n", "jpg": b"\xff\xd8\xff", "fits": b"SIMPLE  ="}
_DAMAGE = (OSError, ValueError, TypeError, KeyError, IndexError, EOFError, zlib.error)


class BadAnswer(Exception):
    """An answer that is not the image asked for; the message says what it is."""


def most_bytes(plan: Plan) -> int:
    """The largest answer that is read: four planes of float32 and a megabyte of header."""
    return 16 * plan.pixels**2 + 2**20


def is_blank(data: bytes, plan: Plan) -> bool:
    """Whether an image shows nothing: only NaN, or one value all over, as services answer outside their footprint.

    Parameters
    ----------
    data : bytes
        What was sent.
    plan : Plan
        What was asked for.

    Returns
    -------
    bool

    Raises
    ------
    BadAnswer
        Where it is not a whole image of that format and size.
    """
    if not data.startswith(_MAGIC[plan.format]):
        begin = printable(data[:80].decode("utf-8", "replace"))
        raise BadAnswer(f"the service sent no {plan.format.upper()} but {begin!r}" if data else "the answer is empty")
    try:
        if plan.format == "fits":
            return all(_is_constant(plane) for plane in _planes(data, plan.pixels))
        _check_side(*read_header(data), plan.pixels)  # before pixels of any number are decoded
        image = decode(data)
        return bool((image == image[0, 0]).all())
    except UnreadableImage as error:
        raise BadAnswer(f"the image cannot be decoded: {error.reason}") from error


def _check_side(width: int, height: int, pixels: int) -> None:
    if (width, height) != (pixels, pixels):
        raise BadAnswer(f"the image has {width} x {height} pixels and not {pixels} x {pixels}")


def _is_constant(plane: np.ndarray) -> bool:
    seen = plane[np.isfinite(plane)]
    return not seen.size or bool((seen == seen[0]).all())


def _planes(data: bytes, pixels: int) -> np.ndarray:
    """The planes (N, H, W) of a FITS image, NaN where there is no data."""
    from astropy.io import fits

    try:
        with fits.open(io.BytesIO(data), memmap=False) as hdus:
            hdu = next((hdu for hdu in hdus if hdu.is_image and len(hdu.shape) >= 2), None)
            if hdu is None:
                raise UnreadableImage("no image in this FITS file")
            _check_side(hdu.shape[-1], hdu.shape[-2], pixels)
            planes = int(np.prod(hdu.shape[:-2]))
            if planes not in (1, 3):
                raise UnreadableImage(f"{planes} planes, as a sky in colour has; ask for --format png")
            return np.asarray(hdu.data, dtype=np.float64).reshape(planes, *hdu.shape[-2:])
    except _DAMAGE as error:
        if isinstance(error, UnreadableImage):
            raise
        raise UnreadableImage(f"damaged or truncated: {error}") from error
