"""From the axes and planes of an array to an image: which axes are rows and columns, which planes are which colour.

Belongs here: the rules for FITS cubes, TIFF pages and NumPy arrays alike. Does not belong here: a file format.

The rules:

- Rows and columns are the last two axes, or the two before a last axis shorter than a usable image (channels last).
- One plane is (H, W). Three planes of a picture (channels last, TIFF, NumPy) are red, green, blue as they are; with an
  alpha channel they are composited on black. Three planes of FITS are bands from blue to red, g, r, z if they are not
  named.
- `source.bands` chooses planes by name or by number, from blue to red. Without it g, r, z are taken where a file names
  them beside others, and the I of Stokes planes. Any other number of planes is an error that names the axes.
- g, r, z become the colours of the Legacy Surveys (Lupton et al. 2004), 8 bits. Other bands stay linear.
"""

import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from galaxy_assets.deliveries.images import UnreadableImage
from galaxy_assets.settings.limits import MINIMUM_SIDE
from galaxy_assets.settings.source import Source

# Relative weights of g, r, z and the knee of the arcsinh, in nanomaggies per pixel: with them faint discs at the depth
# of DECaLS are visible, cores keep their colour, and an average galaxy is neither blue nor red.
GRZ = ("g", "r", "z")
GRZ_WEIGHTS = (6.0, 3.4, 3.0)
STRETCH = 0.25
Q = 5.0

_WAVELENGTH = {name: i for i, name in enumerate("FUV NUV u B g V r VIS i z y Y J H K Ks W1 W2 W3 W4".split())}
_EXACT = set("ugrizyjhk")
_HST = re.compile(r"F(\d{3,4})[WMNX]{1,2}\d?", re.IGNORECASE)
# F275W is 275 nm with Hubble's cameras, F277W is 2770 nm with Webb's, as F160W is 1600 nm
_ULTRAVIOLET, _MIRI = {218, 225, 275, 336, 390, 435, 438, 439, 450, 475}, {560, 770}
_WORD = re.compile(r"[A-Za-z0-9]+")
_LEAST = 1e-100
_STRIP = 1 << 20  # pixels that become colours at once: astropy takes some hundred bytes for each


@dataclass(frozen=True)
class Choice:
    """Which planes of a file are the image, as a survey's `source` says.

    Attributes
    ----------
    bands : tuple of str or int, optional
        Names, or numbers from 1, from blue to red; None for the rules of the module.
    extension : str or int, optional
        HDU of FITS by name or number.
    colour : {"lupton", "linear"}, optional
        What becomes of three bands; None for Lupton's colours of g, r, z alone.
    """

    bands: tuple[str | int, ...] | None = None
    extension: str | int | None = None
    colour: Literal["lupton", "linear"] | None = None

    @classmethod
    def of(cls, source: Source) -> "Choice":
        """The choice of a survey's source."""
        return cls(source.bands, source.extension, source.colour)


@dataclass(frozen=True)
class Planes:
    """An array of a file as planes, before its pixels are read.

    Attributes
    ----------
    height, width : int
        Pixels.
    n : int
        Planes.
    axes : str
        The array's axes in words, for errors.
    picture : bool
        Whether three planes are red, green, blue as they are.
    last : bool
        Whether the planes are the last axis.
    names : tuple of str
        The planes' names; empty where they have none.
    """

    height: int
    width: int
    n: int
    axes: str
    picture: bool
    last: bool = False
    names: tuple[str, ...] = ()


def planes_of(shape: Sequence[int], picture: bool, names: tuple[str, ...] = (), axes: str | None = None) -> Planes:
    """Find rows, columns and planes among the axes of an array.

    Parameters
    ----------
    shape : sequence of int
        Two axes or more.
    picture : bool
        Whether three planes of this format are red, green, blue.
    names : tuple of str
        Of the planes; dropped where they are not as many as there are planes.
    axes : str, optional
        The axes in words; their lengths when not given.

    Returns
    -------
    Planes

    Raises
    ------
    UnreadableImage
        Where the array has fewer than two axes, or is several images of planes that are the last axis.
    """
    said = axes or " x ".join(map(str, shape))
    if len(shape) < 2:
        raise UnreadableImage(f"an array of {said or 'no'} values; an image has two axes")
    last = len(shape) > 2 and shape[-1] < MINIMUM_SIDE <= min(shape[-3], shape[-2])
    if last and math.prod(shape[:-3]) > 1:
        raise UnreadableImage(f"{said}: {math.prod(shape[:-3])} images of {shape[-1]} planes, and not one image")
    height, width = shape[-3:-1] if last else shape[-2:]
    n = math.prod(shape) // max(height * width, 1) if last else math.prod(shape[:-2])
    return Planes(height, width, n, said, picture or last, last, names if len(names) == n else ())


def band_name(text: str) -> str:
    """The band that a filter's full name speaks of, such as `g` of `g DECam SDSS c0001 4720.0` and of `HSC-G`.

    Parameters
    ----------
    text : str
        Of a header.

    Returns
    -------
    str
        As astronomers write it; the text itself where it names no band that is known.
    """
    words = _WORD.findall(text)
    for word in words:
        if _HST.fullmatch(word):
            return word.upper()
        if word in _WAVELENGTH:
            return word
    for word in words:
        known = [name for name in _WAVELENGTH if name.lower() == word.lower()]
        if known:
            return known[0] if len(known) == 1 else word.lower()
    return text.strip()


def is_band(name: str) -> bool:
    """Whether a name is one of a known band, as `band_name` gives it.

    Parameters
    ----------
    name : str

    Returns
    -------
    bool
    """
    return name in _WAVELENGTH or _HST.fullmatch(name) is not None


def band_names(text: str) -> tuple[str, ...]:
    """The bands that one text lists: `grz`, `GRZ`, `g,r,z`, `g r z`, `F435W/F606W/F814W`.

    Parameters
    ----------
    text : str
        The value of a header's BANDS or the like.

    Returns
    -------
    tuple of str
        In the order of the text.
    """
    words = _WORD.findall(text)
    if len(words) == 1 and not is_band(band_name(words[0])):
        words = list(words[0])
    return tuple(band_name(word) for word in words)


def chosen(planes: Planes, choice: Choice) -> tuple[int, ...]:
    """Which planes are the image.

    Parameters
    ----------
    planes : Planes
    choice : Choice

    Returns
    -------
    tuple of int
        One plane or three, from 0; of pictures red first, else blue first.

    Raises
    ------
    UnreadableImage
        Where the planes asked for are not there, or none are asked for and no rule says which they are.
    """
    named = f", named {', '.join(planes.names)}" if planes.names else ""
    found = f"{planes.axes}: {planes.n} planes of {planes.width} x {planes.height} pixels{named}"
    if planes.n == 0:
        raise UnreadableImage(f"{found}; an image has one or three")
    if choice.bands is not None and planes.n > 1:
        return tuple(_place(planes, choice.bands, band, found) for band in choice.bands)
    if planes.n == 1:
        asked = [str(band).lower() for band in choice.bands or ()]
        # `Ks` may be meant by K, and a name may read as a band by chance
        if planes.names and all(map(_is_exact, (*planes.names, *asked))) and planes.names[0].lower() not in asked:
            for band in choice.bands or ():
                _place(planes, (), band, found)
        return (0,)
    lower = [name.lower() for name in planes.names]
    if all(lower.count(band) == 1 for band in GRZ):
        return tuple(lower.index(band) for band in GRZ)
    if lower[:1] == ["stokes i"]:
        return (0,)
    if planes.n == 3:
        order = [wavelength(name) for name in planes.names]
        known = math.inf not in order and len(set(order)) == 3
        return tuple(int(i) for i in np.argsort(order)) if known else (0, 1, 2)
    raise UnreadableImage(
        f"{found}; an image has one or three. Say which in `source.bands`, by name or by number from 1, blue first"
    )


def _is_exact(name: str) -> bool:
    """Whether a name is a band's that no other name has."""
    return name.lower() in _EXACT or _HST.fullmatch(name) is not None


def _place(planes: Planes, bands: Sequence[str | int], band: str | int, found: str) -> int:
    number = int(band) if isinstance(band, int) or band.isdigit() else None
    if number is None and not planes.names and planes.n == len(bands):
        return list(bands).index(band)  # the survey names what the file does not
    if number is not None and 1 <= number <= planes.n:
        return number - 1
    for same in (lambda a, b: a == b, lambda a, b: a.lower() == b.lower()):
        places = [i for i, name in enumerate(planes.names) if same(name, str(band))]
        if len(places) == 1:
            return places[0]
    raise UnreadableImage(f"no band {band}, which `source.bands` asks for: {found}")


def wavelength(name: str) -> float:
    """A number by which bands sort from blue to red; infinite for one that is not known.

    Parameters
    ----------
    name : str
        As `band_name` gives it.

    Returns
    -------
    float
    """
    if match := _HST.fullmatch(name):
        number = int(match[1])
        in_nanometres = number in _ULTRAVIOLET or (500 <= number < 1000 and number not in _MIRI)
        return 1000.0 + number * (1 if in_nanometres else 10)
    return _WAVELENGTH.get(name, math.inf)


def image_of(planes: Planes, choice: Choice, read: Callable[[int], np.ndarray]) -> np.ndarray:
    """Make the image of its planes.

    Parameters
    ----------
    planes : Planes
    choice : Choice
    read : callable
        Plane number from 0 -> (H, W) of any numeric type.

    Returns
    -------
    numpy.ndarray of shape (H, W) or (H, W, 3)
        uint8 of pictures of 8 bits, and of g, r, z, which are a masked array where pixels have no data; else floats,
        NaN where pixels have no data.

    Raises
    ------
    UnreadableImage
        As `chosen`, and where no pixel has data.
    """
    wanted = chosen(planes, choice)
    parts = [read(i) for i in wanted]
    bits8 = all(part.dtype == np.uint8 for part in parts)
    names = [planes.names[i] for i in wanted] if planes.names else list(map(str, choice.bands or GRZ))
    if len(parts) == 1:
        return _with_data(as_floats(parts[0]) if not planes.picture or not bits8 else parts[0])
    if choice.bands is None and (planes.picture or (bits8 and not planes.names)):
        return np.ascontiguousarray(np.stack(parts, axis=-1)) if bits8 else _with_data(as_floats(np.stack(parts, -1)))
    legacy = tuple(name.lower() for name in names) == GRZ
    if choice.colour == "lupton" or (legacy and choice.colour is None):
        return _lupton(_with_data(np.stack([as_floats(part).astype(np.float32, copy=False) for part in parts])))
    return _with_data(as_floats(np.stack(parts[::-1], axis=-1)))


def as_floats(values: np.ndarray) -> np.ndarray:
    """The values as float32, NaN for infinite ones; as float64 where float32 would lose them.

    It would where they exceed its range, or differ by less than some thousand of its steps. Values whose squares exceed
    the range of float64 (above 1e100, or all below 1e-100) are divided by a power of two.

    Parameters
    ----------
    values : ndarray of any shape, any integer or float type and byte order

    Returns
    -------
    ndarray of float32 or float64, in the machine's byte order
    """
    with np.errstate(all="ignore"):
        floats = np.asarray(values, dtype=np.float32)
        if values.dtype.itemsize > 4 or (values.dtype.kind in "iu" and values.dtype.itemsize == 4):
            wide = np.asarray(values, dtype=np.float64)
            finite = np.isfinite(wide)
            low = float(np.min(wide, where=finite, initial=np.inf))
            high = float(np.max(wide, where=finite, initial=-np.inf))
            if low <= high:
                largest = max(abs(low), abs(high))
                if largest and not _LEAST < largest < 1 / _LEAST:  # squares of such values leave float64 as well
                    return _without_infinities(np.ldexp(wide, -math.frexp(largest)[1]))
                too_large, too_small = (
                    largest > np.finfo(np.float32).max,
                    0 < largest < np.finfo(np.float32).tiny * 2**16,
                )
                if too_large or too_small or 0 < high - low < largest * 2.0**-12:
                    floats = wide
    return _without_infinities(floats)


def _without_infinities(floats: np.ndarray) -> np.ndarray:
    finite = np.isfinite(floats)
    return floats if finite.all() else np.where(finite, floats, np.array(np.nan, floats.dtype))


def on_black(colours: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    """Composite on black, the colour of empty sky.

    Parameters
    ----------
    colours : ndarray of shape (H, W) or (H, W, 3), unsigned integers or floats
    alpha : ndarray of shape (H, W), of the same type
        Opaque at the type's highest value, or at 1 for floats.

    Returns
    -------
    ndarray of the shape of `colours`
        uint8 for 8 bits, else floats.
    """
    shown = np.empty(colours.shape, np.uint8 if colours.dtype == np.uint8 else np.float32)
    rows = max(_STRIP // colours.shape[1], 1)
    for top in range(0, len(colours), rows):
        part, over = colours[top : top + rows], alpha[top : top + rows]
        over = over if part.ndim == 2 else over[..., np.newaxis]
        if colours.dtype == np.uint8:
            shown[top : top + rows] = (part.astype(np.uint16) * over + 127) // 255
        else:
            full = 1.0 if colours.dtype.kind == "f" else np.iinfo(colours.dtype).max
            shown[top : top + rows] = part.astype(np.float64) * (over / full)
    return shown


def _with_data(image: np.ndarray) -> np.ndarray:
    if image.dtype != np.uint8 and np.isnan(image).all():
        raise UnreadableImage("only NaN or infinite pixels")
    return image


def _lupton(bands: np.ndarray) -> np.ndarray:
    """uint8 (H, W, 3) from nanomaggies per pixel, float32 (3, H, W) from blue to red (Lupton et al. 2004)."""
    from galaxy_assets.science.cutouts.nodata import fill, find

    # colours cannot be told from values that stand for no data any more
    found = find(np.moveaxis(bands, 0, -1))
    if found is None:
        return _colours(bands)
    nodata = np.moveaxis(found, -1, 0)
    filled = np.stack([fill(band, gaps) for band, gaps in zip(bands, nodata, strict=True)])
    without = nodata.all(axis=(1, 2))
    filled[without] = 0  # a band without any data adds no light
    return np.ma.MaskedArray(_colours(filled), mask=np.moveaxis(nodata[::-1], 0, -1))


def _colours(bands: np.ndarray) -> np.ndarray:
    from astropy.visualization import make_lupton_rgb  # imports matplotlib

    _, height, width = bands.shape
    rows = max(_STRIP // width, 1)
    strips = []
    for top in range(0, height, rows):
        blue, green, red = (w * band for w, band in zip(GRZ_WEIGHTS, bands[:, top : top + rows], strict=True))
        strips.append(
            make_lupton_rgb(red, green, blue, minimum=0, stretch=STRETCH, Q=Q)  # pyright: ignore[reportArgumentType]
        )
    return strips[0] if len(strips) == 1 else np.concatenate(strips)
