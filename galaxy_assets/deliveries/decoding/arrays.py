"""NumPy arrays as `numpy.save` writes them (`.npy`).

Belongs here: the header and the values of one array. Does not belong here: stacks of many images, and pickles, which
are never loaded.
"""

import io
import math
import re
from collections.abc import Sequence

import numpy as np

from galaxy_assets.deliveries.decoding.planes import Choice, Planes, band_name, image_of, on_black, planes_of
from galaxy_assets.deliveries.images import UnreadableImage, check_memory, check_size


def layout(data: bytes, choice: Choice) -> Planes:
    """Rows, columns and planes, by the header."""
    return planes_of(_header(data)[0], picture=True)


def decode(data: bytes, choice: Choice, file_size: int) -> np.ndarray:
    """The image; see `deliveries.images.decode`."""
    shape, fortran, kind, start = _header(data)
    planes = planes_of(shape, picture=True)
    check_size(planes.width, planes.height)
    check_memory(math.prod(shape) * bytes_per_value(kind), file_size)
    if len(data) - start < math.prod(shape) * kind.itemsize:
        raise UnreadableImage(f"truncated: {len(data) - start} bytes for {planes.axes} values of {kind}")
    values = np.frombuffer(data, kind, math.prod(shape), start).reshape(shape, order="F" if fortran else "C")
    if kind.kind == "b":
        values = values.view(np.uint8) * np.uint8(255)
    return from_array(values, planes, choice)


def bytes_per_value(kind: np.dtype) -> int:
    """What one value takes while it is decoded, made float and looked through for NaN."""
    return 4 if kind.itemsize == 1 else kind.itemsize + 16


def from_array(values: np.ndarray, planes: Planes, choice: Choice) -> np.ndarray:
    """The image in an array of a picture.

    Parameters
    ----------
    values : ndarray
        Integers or floats.
    planes : Planes
        Of its shape.
    choice : Choice

    Returns
    -------
    numpy.ndarray of shape (H, W) or (H, W, 3)
        As `planes.image_of`. Four channels of 8 bits are red, green, blue and alpha.
    """
    moved = values.reshape(planes.height, planes.width, planes.n) if planes.last else None
    stack = values.reshape(planes.n, planes.height, planes.width) if moved is None else np.moveaxis(moved, -1, 0)
    if planes.last and planes.n == 4 and values.dtype == np.uint8 and choice.bands is None:
        return on_black(np.moveaxis(stack[:3], 0, -1), stack[3])
    return image_of(planes, choice, lambda i: stack[i])


def encoded(pixels: np.ndarray, bands: Sequence[str] | None = None) -> bytes:
    """An array as the content of a file that `images.decode` reads.

    Parameters
    ----------
    pixels : numpy.ndarray
        Of one image.
    bands : sequence of str, optional
        Names of the planes, which are the first axis then.

    Returns
    -------
    bytes
        A `.npy` file; with names a FITS image that has them as its BANDS.

    Raises
    ------
    UnreadableImage
        Where the array is none of an image.
    """
    if pixels.dtype.kind not in "buif" or pixels.dtype.itemsize > 8 or not 2 <= pixels.ndim <= 4:
        raise UnreadableImage(f"an array {pixels.shape} of {pixels.dtype}; expected numbers (H, W) or (H, W, 3)")
    stream = io.BytesIO()
    if bands is None or pixels.ndim != 3 or len(bands) != len(pixels):
        np.lib.format.write_array(stream, np.ascontiguousarray(pixels), version=(1, 0), allow_pickle=False)
    else:
        from astropy.io import fits

        names = ",".join(re.sub(r"[^A-Za-z0-9]", "", band_name(band)) or f"b{i}" for i, band in enumerate(bands, 1))
        values = pixels.astype(np.float32) if pixels.dtype.kind in "bf" else pixels
        fits.PrimaryHDU(values, fits.Header([("BANDS", names)])).writeto(stream, output_verify="ignore")
    return stream.getvalue()


def _header(data: bytes) -> tuple[tuple[int, ...], bool, np.dtype, int]:
    """Shape, whether in Fortran's order, type, and where the values begin."""
    stream = io.BytesIO(data)
    version = np.lib.format.read_magic(stream)
    read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    shape, fortran, kind = read(stream)
    if kind.hasobject or kind.kind not in "buif" or kind.shape or kind.itemsize > 8:
        raise UnreadableImage(f"an array of {kind}; only plain integers and floats are read")
    if any(n < 0 for n in shape):
        raise UnreadableImage(f"an array of shape {shape}")
    return shape, fortran, kind, stream.tell()
