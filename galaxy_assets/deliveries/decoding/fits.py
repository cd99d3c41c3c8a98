"""FITS: one image of a file of several extensions, plain or tile-compressed.

The image is the largest one of two axes or more that is not named like an error, weight or mask plane, unless
`source.extension` names another; of equals, one that is called SCI, else the first. Images of its size that each carry
another band's name (of the extension, or a header's FILTER or BAND) are its planes; of several of one band, the one
that is called SCI.

Belongs here: which HDU is the image, what its planes are called, and its values. Does not belong here: which planes are
which colour (`planes`), where on the sky it points (`readers.fits_folder`).
"""

import io
import itertools
import math
import re
import warnings
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from astropy.io import fits
from astropy.utils.exceptions import AstropyWarning

from galaxy_assets.deliveries.beside import kind_of_name
from galaxy_assets.deliveries.decoding.planes import Choice, Planes, band_name, band_names, image_of, is_band, planes_of
from galaxy_assets.deliveries.images import UnreadableImage, check_memory, check_size
from galaxy_assets.settings.limits import MINIMUM_SIDE

# what astropy warns of in a stranger's header, once for each text; what matters of it is an error here
warnings.filterwarnings("ignore", category=AstropyWarning, module=r"astropy\.(io\.fits|wcs)")

EVERY = Choice(bands=())
"""Takes every extension that is of a band, however many there are."""

_HDUS = 200  # that are looked at
_SINCE = frozenset("VIS W1 W2 W3 W4".split())
"""Bands that were none before: a survey that names none reads what it read then."""
_AXES = 8
_PER_VALUE = 20  # bytes for each value while it is read, scaled, made float and looked through for NaN
_STOKES = {
    1: "I",
    2: "Q",
    3: "U",
    4: "V",
    -1: "RR",
    -2: "LL",
    -3: "RL",
    -4: "LR",
    -5: "XX",
    -6: "YY",
    -7: "XY",
    -8: "YX",
}


def layout(data: bytes, choice: Choice) -> Planes:
    """Rows, columns and planes, by the headers."""
    with opened(data, choice) as hdus:
        return planes_in(hdus)


def decode(data: bytes, choice: Choice, file_size: int) -> np.ndarray:
    """The image; see `deliveries.images.decode`."""
    with opened(data, choice) as hdus:
        planes = planes_in(hdus)
        check_size(planes.width, planes.height)
        values = planes.n * planes.width * planes.height
        check_memory(values * (_PER_VALUE + abs(int(hdus[0].header["BITPIX"])) // 8) + len(data), file_size)
        if len(hdus) > 1:
            return image_of(planes, choice, lambda i: _values(hdus[i], data).reshape(planes.height, planes.width))
        stack = _values(hdus[0], data)
        if planes.last:
            stack = np.moveaxis(stack.reshape(planes.height, planes.width, planes.n), -1, 0)
        stack = stack.reshape(planes.n, planes.height, planes.width)
        return image_of(planes, choice, lambda i: stack[i])


@contextmanager
def opened(data: bytes, choice: Choice) -> Iterator[list[Any]]:
    """The HDU of the image; or those of its bands, where each is an extension of its own.

    Parameters
    ----------
    data : bytes
        Of a FITS file, unpacked.
    choice : Choice
        Its `extension` and `bands`.

    Yields
    ------
    list of HDU
        One or more of one shape.

    Raises
    ------
    UnreadableImage
        Where there is no image, or not the extension that is asked for.
    """
    with _hdus(data) as hdus:
        yield _images(hdus, choice)


@contextmanager
def _hdus(data: bytes) -> Iterator[list[Any]]:
    # archives of FIRST cut the END card off; a memory map would fail later, outside this block
    with fits.open(io.BytesIO(data), memmap=False, ignore_missing_end=True, uint=False) as hdus:
        yield list(itertools.islice(hdus, _HDUS))


def not_shown(data: bytes) -> list[str]:
    """Extensions that hold a further image, of whatever size, and neither noise nor a mask or the like.

    Parameters
    ----------
    data : bytes
        Of a FITS file, unpacked.

    Returns
    -------
    list of str
        Their numbers, as `source.extension` takes them, each with its name in brackets where it has one.

    Raises
    ------
    UnreadableImage
        As `opened`.
    """
    with _hdus(data) as hdus:
        taken = _images(hdus, EVERY)
        further = [hdu for hdu in _candidates(hdus) if min(_sides(hdu)) >= MINIMUM_SIDE and not _beside(hdu)]
        return [
            f"{i} ({name})" if (name := _name(hdu)) else str(i)
            for i, hdu in enumerate(hdus)
            if any(hdu is one for one in further) and not any(hdu is one for one in taken)
        ]


def _candidates(hdus: list[Any]) -> list[Any]:
    return [hdu for hdu in hdus if hdu.is_image and 2 <= len(hdu.shape) <= _AXES and math.prod(hdu.shape) > 0]


def _images(hdus: list[Any], choice: Choice) -> list[Any]:
    images = _candidates(hdus)
    if choice.extension is not None:
        wanted = str(choice.extension)
        named = [hdu for hdu in images if wanted.lower() == _name(hdu).lower()]
        numbered = [hdus[int(wanted)]] if wanted.isdigit() and int(wanted) < len(hdus) else []
        found = [hdu for hdu in named or numbered if any(hdu is image for image in images)]
        if not found:
            raise UnreadableImage(f"no image in extension {wanted}, which `source.extension` asks for: {_said(hdus)}")
        return found[:1]
    if not images:
        raise UnreadableImage(f"no image in this FITS file: {_said(hdus)}")
    main = max(images, key=lambda hdu: (not _beside(hdu), _area(hdu), _is_science(hdu)))
    same = [hdu for hdu in images if hdu.shape == main.shape and not _beside(hdu)]
    asked = {str(band).lower() for band in choice.bands or ()}
    of_bands = [hdu for hdu in same if is_band(_band(hdu)) or _name(hdu).lower() in asked]
    if choice.bands is None:
        of_bands = [hdu for hdu in of_bands if _band(hdu) not in _SINCE]
    science = [hdu for hdu in of_bands if _is_science(hdu)]
    if len({_band(hdu) for hdu in of_bands}) < len(of_bands) and len(science) > 1:
        of_bands = science
    apart = len({_band(hdu) for hdu in of_bands}) == len(of_bands) > 1
    return of_bands if apart and _area(main) == math.prod(main.shape) else [main]


def card(header: Any, key: str) -> Any:
    """The value of a header's card, such as text without quotes that astropy does not parse.

    Parameters
    ----------
    header : astropy.io.fits.Header
    key : str
        Its keyword.

    Returns
    -------
    str, bool, int, float, complex or None
        None where there is no such card, no value in it, or none that can be parsed.
    """
    try:
        value = header.get(key)
    except fits.VerifyError:
        return None
    return None if isinstance(value, fits.card.Undefined) else value


def number(header: Any, key: str) -> float | None:
    """The value of a header's card as a number, also of one that is written as text; None where it is none.

    Parameters
    ----------
    header : astropy.io.fits.Header
    key : str
        Its keyword.

    Returns
    -------
    float or None
    """
    try:
        return float(card(header, key))
    except (TypeError, ValueError):
        return None


def _name(hdu: Any) -> str:
    try:
        return hdu.name
    except fits.VerifyError:
        return ""


def _beside(hdu: Any) -> bool:
    return kind_of_name(_name(hdu)) == "beside"


def _is_science(hdu: Any) -> bool:
    return kind_of_name(_name(hdu)) == "science"


def _sides(hdu: Any) -> tuple[int, int]:
    try:
        planes = planes_of(hdu.shape, picture=False)
    except UnreadableImage:  # several images
        return 0, 0
    return planes.width, planes.height


def _area(hdu: Any) -> int:
    return math.prod(_sides(hdu))


def _band(hdu: Any) -> str:
    """The band of one extension, by its name or its header; its name where neither says it."""
    for text in (_name(hdu), *(card(hdu.header, key) for key in ("FILTER", "BAND", "BANDS"))):
        if text and is_band(name := band_name(str(text).replace("_", " "))):
            return name
    return _name(hdu)


def _is_of_band(hdu: Any) -> bool:
    """Whether an extension's name is a band's, with SCI or alone: of other words a letter is none."""
    words = [word for word in re.split(r"[\s_.-]+", _name(hdu)) if word]
    left = [word for word in words if not is_band(band_name(word))]
    return len(left) < len(words) and (not left or kind_of_name("_".join(left)) == "science")


def _said(hdus: list[Any]) -> str:
    said = [
        f"{_name(hdu) or i} {' x '.join(map(str, hdu.shape)) if hdu.is_image else 'table'}"
        for i, hdu in enumerate(hdus)
    ]
    return ", ".join(said[:8]) + (", ..." if len(said) > 8 else "")


def planes_in(hdus: list[Any]) -> Planes:
    """The planes of the HDUs that `opened` gives.

    Parameters
    ----------
    hdus : list of HDU

    Returns
    -------
    Planes
        With the bands' names, from the extensions or from BANDS, FILTER and the Stokes axis of the header.
    """
    header, shape = hdus[0].header, hdus[0].shape
    if len(hdus) > 1:
        names = tuple(map(_band, hdus))
        return planes_of(
            (len(hdus), *shape[-2:]), False, names, f"extensions {', '.join(names)} of {shape[-2]} x {shape[-1]}"
        )
    kinds = [str(card(header, f"CTYPE{axis}") or "").split("-")[0] for axis in range(len(shape), 0, -1)]
    axes = " x ".join(f"{kind} {n}" if kind and n != 1 else str(n) for kind, n in zip(kinds, shape, strict=True))
    names = _names(header, shape) or ((_band(hdus[0]),) if _is_of_band(hdus[0]) else ())
    return planes_of(shape, False, names, axes)


def _names(header: Any, shape: tuple[int, ...]) -> tuple[str, ...]:
    for key in ("BANDS", "FILTERS", "FILTER", "BAND"):
        if value := card(header, key):
            return band_names(str(value))
    for axis in range(3, len(shape) + 1):
        n = shape[len(shape) - axis]
        if str(card(header, f"CTYPE{axis}") or "").strip() == "STOKES" and n == math.prod(shape[:-2]):
            said = [(number(header, key), key in header) for key in (f"{k}{axis}" for k in ("CRVAL", "CDELT", "CRPIX"))]
            if any(there and value is None for value, there in said):
                return ()
            first, step, pixel = (1.0 if value is None else value for value, _ in said)
            codes = [round(first + (i + 1 - pixel) * step) for i in range(n)]
            return tuple(f"Stokes {_STOKES.get(code, code)}" for code in codes)
    return ()


def _values(hdu: Any, data: bytes) -> np.ndarray:
    if isinstance(hdu, fits.CompImageHDU):
        _check_tiles(hdu, data)
    # astropy takes a BLANK of 0 for none; of 8 bits, 0 is black
    gap = _value_of_blank_zero(hdu.header)
    values = np.asarray(hdu.data)
    if gap is not None:
        values = values.astype(np.float32 if values.dtype.itemsize <= 2 else np.float64)
        values[values == gap] = np.nan
    return values if values.dtype.isnative else values.astype(values.dtype.newbyteorder("="))


def _value_of_blank_zero(header: Any) -> float | None:
    """What an integer 0 is after scaling, where the header says that it is no data."""
    if card(header, "BLANK") != 0 or int(header.get("BITPIX", 8)) <= 8:
        return None
    return float(header.get("BZERO", 0))


def _check_tiles(hdu: Any, data: bytes) -> None:
    """Refuse compressed tiles that claim more pixels than the image's tiles have: the decoders believe them.

    Raises
    ------
    UnreadableImage
        Where a tile is larger than the image, or unpacks to more than it can hold.
    """
    header, table, heap = hdu._bintable.header, hdu._bintable.data, hdu.fileinfo()["datLoc"]
    axes = range(1, int(header["ZNAXIS"]) + 1)
    sides = [int(header[f"ZNAXIS{i}"]) for i in axes]
    tile = [int(header.get(f"ZTILE{i}", sides[0] if i == 1 else 1)) for i in axes]
    if any(not 0 < n <= max(side, 1) for n, side in zip(tile, sides, strict=True)):
        raise UnreadableImage(f"damaged: tiles of {tile} in an image of {sides}")
    if len(table) != math.prod(-(-side // n) for side, n in zip(sides, tile, strict=True)):
        raise UnreadableImage(f"damaged: {len(table)} tiles of {tile} for an image of {sides}")
    heap += int(header.get("THEAP", header["NAXIS1"] * header["NAXIS2"]))
    most, kind = math.prod(tile) * 8, str(header.get("ZCMPTYPE", "")).strip()
    for name in {"COMPRESSED_DATA", "GZIP_COMPRESSED_DATA"} & set(table.names):
        zipped = kind.startswith("GZIP") or name != "COMPRESSED_DATA"
        for count, offset in table[name].tolist() if zipped or kind == "HCOMPRESS_1" else ():
            start = heap + int(offset)
            content = data[max(start, 0) : max(start + int(count), 0)]
            if zipped and content and len(zlib.decompressobj(wbits=47).decompress(content, most + 1)) > most:
                raise UnreadableImage(f"damaged: a tile of {tile} pixels unpacks to more than {most} bytes")
            claimed = [] if zipped or not content else np.frombuffer(content, ">i4", 2, 2).tolist()
            if claimed and (min(claimed) < 1 or math.prod(claimed) > math.prod(tile)):
                raise UnreadableImage(f"damaged: a tile of {tile} pixels claims to have {claimed}")
