"""Reader of a folder of FITS images, laid out like `image_folder`.

One plane, (H, W) or with leading axes of length one, stays float32. Three planes, (3, H, W), are the bands g, r, z of
the Legacy Surveys and become RGB.

Belongs here: what FITS files hold and where on the sky they point. Does not belong here: finding the files
(`image_folder`).
"""

import gzip
import io
import re
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from astropy.io import fits
from astropy.wcs import WCS

from galaxy_assets.deliveries.images import UnreadableImage, check_size
from galaxy_assets.deliveries.readers.image_folder import ImageFolder

# Relative weights of g, r, z and the knee of the arcsinh, in nanomaggies per pixel: with them faint discs at the depth
# of DECaLS are visible, cores keep their colour, and an average galaxy is neither blue nor red.
GRZ_WEIGHTS = (6.0, 3.4, 3.0)
STRETCH = 0.25
Q = 5.0

# The two sky axes alone: a third axis without coordinates makes the matrix of grz cubes singular, and WCS takes the
# header as text, where tabs in the comments of FIRST make astropy warn about every file.
_WCS_KEYWORD = re.compile(
    r"(CTYPE|CRVAL|CRPIX|CDELT|CUNIT|CROTA)[12]|(CD|PC)[12]_[12]|PV[12]_\d+|EQUINOX|RADESYS|LONPOLE|LATPOLE"
)

_DAMAGE = (OSError, ValueError, TypeError, KeyError, IndexError, EOFError, zlib.error, fits.VerifyError)


class FitsFolder(ImageFolder):
    """Reader of `fits_folder`; see the module and `plugins.protocols.Reader`."""

    suffixes = (".fits.gz", ".fits", ".fit")

    def size(self, data: bytes) -> tuple[int, int]:
        """Width and height in pixels from the header."""
        with _first_image(data) as hdu:
            return hdu.shape[-1], hdu.shape[-2]

    def position(self, name: str, data: bytes) -> tuple[float | None, float | None]:
        """ICRS or FK5 position of the image's centre, None where the header has no celestial coordinates."""
        try:
            with _first_image(data) as hdu:
                cards = [card for card in hdu.header.cards if _WCS_KEYWORD.fullmatch(card.keyword)]
                wcs = WCS(fits.Header(cards), fix=False)
                if wcs.wcs.lngtyp != "RA":
                    return None, None
                height, width = hdu.shape[-2:]
                centre = wcs.wcs_pix2world((width - 1) / 2, (height - 1) / 2, 0)
                ra, dec = float(centre[wcs.wcs.lng]), float(centre[wcs.wcs.lat])
        except UnreadableImage:
            return None, None
        return (ra % 360, dec) if np.isfinite([ra, dec]).all() else (None, None)

    def decode(self, data: bytes) -> np.ndarray:
        """Pixels of an image's bytes."""
        return decode(data)


def decode(data: bytes) -> np.ndarray:
    """Decode a FITS file, gzipped or not.

    Parameters
    ----------
    data : bytes
        The file's content.

    Returns
    -------
    numpy.ndarray
        float32 (H, W) of one plane; uint8 (H, W, 3) of the three planes of grz.

    Raises
    ------
    UnreadableImage
        If it holds neither, is damaged, or has a size that `check_size` refuses; the size is checked before any pixel
        is read.
    """
    with _first_image(data) as hdu:
        check_size(hdu.shape[-1], hdu.shape[-2])
        planes = int(np.prod(hdu.shape[:-2]))
        bands = str(hdu.header.get("BANDS", "grz"))
        if planes not in (1, 3) or (planes == 3 and bands != "grz"):
            raise UnreadableImage(f"{planes} planes of bands {bands}; expected one plane, or the three of grz")
        pixels = np.asarray(hdu.data, dtype=np.float32).reshape(planes, *hdu.shape[-2:])
    if not np.isfinite(pixels).any():
        raise UnreadableImage("only NaN or infinite pixels")
    pixels = np.nan_to_num(pixels, nan=0.0, posinf=0.0, neginf=0.0)
    return pixels[0] if planes == 1 else _rgb(pixels)


def _rgb(grz: np.ndarray) -> np.ndarray:
    """uint8 (H, W, 3) from nanomaggies per pixel, float32 (3, H, W) in the order g, r, z (Lupton et al. 2004)."""
    from astropy.visualization import make_lupton_rgb  # imports matplotlib

    g, r, z = (weight * band for weight, band in zip(GRZ_WEIGHTS, grz, strict=True))
    return make_lupton_rgb(z, r, g, minimum=0, stretch=STRETCH, Q=Q)  # pyright: ignore[reportArgumentType]


@contextmanager
def _first_image(data: bytes) -> Iterator[Any]:
    """The first HDU with an image of two or more axes; what astropy raises while it is in use is UnreadableImage."""
    stream = io.BytesIO(data)
    try:
        # archives of FIRST cut the END card off; a memory map would fail later, outside this block
        plain = gzip.GzipFile(fileobj=stream) if data.startswith(b"\x1f\x8b") else stream
        with fits.open(plain, memmap=False, ignore_missing_end=True) as hdus:
            image = next((hdu for hdu in hdus if hdu.is_image and len(hdu.shape) >= 2), None)
            if image is None:
                raise UnreadableImage("no image in this FITS file")
            yield image
    except UnreadableImage:
        raise
    except _DAMAGE as error:
        raise UnreadableImage(f"damaged or truncated: {error}") from error
