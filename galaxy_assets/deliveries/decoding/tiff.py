"""TIFF, by tifffile.

The first page that is neither a thumbnail nor a mask is the image. Pages of one size with one channel each are planes,
as those of a cube; other files of several pages are refused.

Belongs here: pages, photometric interpretations and compressions. Does not belong here: which planes are the image
(`planes`).
"""

import io
import itertools
import logging
from typing import TYPE_CHECKING

import numpy as np

from galaxy_assets.deliveries.decoding.arrays import bytes_per_value, from_array
from galaxy_assets.deliveries.decoding.planes import Choice, Planes, image_of, on_black, planes_of
from galaxy_assets.deliveries.images import UnreadableImage, check_memory, check_size

if TYPE_CHECKING:
    from tifffile import TiffFile, TiffPage

_PAGES = 64  # that are looked at
_PREMULTIPLIED, _ALPHA = 1, 2  # kinds of an extra sample; 0 does not say
_NO_DATA = 42113  # GDAL's tag
# those whose decoders write into a buffer of the page's size; JPEG is read for 8 bits
_COMPRESSIONS = {"NONE", "LZW", "DEFLATE", "ADOBE_DEFLATE", "PACKBITS", "LZMA", "ZSTD", "JPEG", "CCITTFAX4"}
_PHOTOMETRIC = {"MINISBLACK", "MINISWHITE", "RGB", "YCBCR", "PALETTE"}

logging.getLogger("tifffile").setLevel(logging.CRITICAL)  # what is wrong with a file is a row of the catalogue


def layout(data: bytes, choice: Choice) -> Planes:
    """Rows, columns and planes, by the header."""
    with _open(data) as opened:
        return _planes(_pages(opened))


def decode(data: bytes, choice: Choice, file_size: int) -> np.ndarray:
    """The image; see `deliveries.images.decode`."""
    with _open(data) as opened:
        pages = _pages(opened)
        planes = _planes(pages)
        check_size(planes.width, planes.height)
        check_memory(planes.n * planes.width * planes.height * bytes_per_value(np.dtype(pages[0].dtype)), file_size)
        if len(pages) > 1:
            return image_of(planes, choice, lambda i: _values(pages[i]).reshape(planes.height, planes.width))
        page, values = pages[0], _values(pages[0])
        grey = page.photometric.name in ("MINISBLACK", "MINISWHITE")
        if _has_alpha(page, values) and choice.bands is None and planes.n == (2 if grey else 4):
            colours = (
                np.moveaxis(values.reshape(planes.n, planes.height, planes.width), 0, -1) if not planes.last else values
            )
            shown = colours[..., 0] if grey else colours[..., :3]
            return shown if int(page.extrasamples[0]) == _PREMULTIPLIED else on_black(shown, colours[..., -1])
        if page.photometric.name == "PALETTE":
            return _by_palette(page, values.reshape(planes.height, planes.width))
        return from_array(values, planes, choice)


def _has_alpha(page: "TiffPage", values: np.ndarray) -> bool:
    """Whether the last plane says how much the others cover: a fourth band is not called so, or is not of 8 bits."""
    if not page.extrasamples or values.dtype.kind != "u":
        return False
    return int(page.extrasamples[0]) in (_PREMULTIPLIED, _ALPHA) or values.dtype.itemsize == 1


def _open(data: bytes) -> "TiffFile":
    from tifffile import TiffFile

    return TiffFile(io.BytesIO(data))


def _pages(opened: "TiffFile") -> list["TiffPage"]:
    pages = list(itertools.islice(iter(opened.pages), _PAGES + 1))
    if len(pages) > _PAGES:
        raise UnreadableImage(f"more than {_PAGES} pages; a file is one image")
    full = [page.aspage() for page in pages]
    full = [page for page in full if not page.is_reduced and not page.is_mask] or full[:1]
    if not full:
        raise UnreadableImage("no page in this TIFF file")
    for page in full:
        if page.compression.name not in _COMPRESSIONS:
            raise UnreadableImage(f"TIFF of compression {page.compression.name}; deliver it as LZW or Deflate")
        if page.photometric.name not in _PHOTOMETRIC or page.dtype is None or page.dtype.kind not in "buif":
            raise UnreadableImage(f"TIFF of {page.photometric.name} values of {page.dtype}; grey or RGB is read")
    return full


def _planes(pages: list["TiffPage"]) -> Planes:
    shape = pages[0].shape
    if len(pages) == 1:
        return planes_of(shape, picture=True, axes=f"{' x '.join(map(str, shape))} ({pages[0].axes})")
    if len(shape) != 2 or any(page.shape != shape or page.dtype != pages[0].dtype for page in pages):
        shapes = ", ".join(" x ".join(map(str, page.shape)) for page in pages[:4])
        raise UnreadableImage(f"{len(pages)} pages of {shapes}; a file is one image, or one page for each band")
    return planes_of((len(pages), *shape), True, axes=f"{len(pages)} pages of {shape[0]} x {shape[1]}")


def _values(page: "TiffPage") -> np.ndarray:
    values = page.asarray(maxworkers=1)
    if values.dtype.kind == "b":
        values = values.view(np.uint8) * np.uint8(255)
    if page.photometric.name == "MINISWHITE" and values.dtype.kind == "u":
        values = np.iinfo(values.dtype).max - values
    if _NO_DATA in page.tags and values.dtype != np.uint8:
        missing = values == values.dtype.type(float(str(page.tags[_NO_DATA].value).strip("\0 ")))
        if missing.any():
            values = np.where(missing, np.nan, values)
    return values


def _by_palette(page: "TiffPage", indices: np.ndarray) -> np.ndarray:
    colours = np.asarray(page.colormap)  # (3, N) of 16 bits
    return np.moveaxis((colours >> 8).astype(np.uint8)[:, indices], 0, -1).copy()
