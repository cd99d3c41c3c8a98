"""Reader of a folder of FITS images, laid out like `image_folder`.

Belongs here: where on the sky FITS images point. Does not belong here: finding the files (`image_folder`), what they
hold (`deliveries.decoding.fits`).
"""

import re
from typing import Any

import numpy as np
from astropy.io.fits import Header
from astropy.wcs import WCS

from galaxy_assets.deliveries import suffixes
from galaxy_assets.deliveries.decoding.compressed import unpacked
from galaxy_assets.deliveries.decoding.fits import card, number, opened, planes_in
from galaxy_assets.deliveries.decoding.planes import Choice
from galaxy_assets.deliveries.images import UnreadableImage, unreadable_otherwise
from galaxy_assets.deliveries.readers.image_folder import ImageFolder

# The two sky axes alone: a third axis without coordinates makes the matrix of grz cubes singular, and WCS takes the
# header as text, where tabs in the comments of FIRST make astropy warn about every file.
_TEXT = re.compile(r"(CTYPE|CUNIT)[12]")
_NUMBER = re.compile(r"(CRVAL|CRPIX|CDELT|CROTA)[12]|(CD|PC)[12]_[12]|PV[12]_\d+|LONPOLE|LATPOLE")
_SYSTEM = re.compile(r"RADESYS|RADECSYS")
_YEAR = re.compile(r"\s*[BJ]?\s*(\d+(?:\.\d*)?)\s*")
_EQUINOXES = 1850, 2100  # years that are equinoxes of coordinates
_OF_EPOCH = 1950, 2000  # for EPOCH is the year of the observation too
_UNITS = re.compile(r"\s*deg(ree)?s?\s*", re.IGNORECASE)


class FitsFolder(ImageFolder):
    """Reader of `fits_folder`; see the module and `plugins.protocols.Reader`."""

    suffixes = suffixes.FITS

    def position(self, name: str, data: bytes) -> tuple[float | None, float | None]:
        """ICRS position of the image's centre, None where the header has no celestial coordinates that are numbers.

        Positions in FK4, and in FK5 of another equinox than J2000, are converted; those of J2000 are within 0.03
        arcseconds of ICRS and stay as they are, and so do those of a year that is no equinox (`no_equinox`).
        """
        try:
            with unreadable_otherwise(), opened(unpacked(data), Choice.of(self.source)) as hdus:
                wcs = WCS(_sky_axes(hdus[0].header), fix=False)
                if wcs.wcs.lngtyp != "RA":
                    return None, None
                planes = planes_in(hdus)
                centre = wcs.wcs_pix2world((planes.width - 1) / 2, (planes.height - 1) / 2, 0)
                ra, dec = _icrs(wcs, float(centre[wcs.wcs.lng]), float(centre[wcs.wcs.lat]))
        except UnreadableImage:
            return None, None
        return (ra % 360, dec) if np.isfinite([ra, dec]).all() else (None, None)


def _sky_axes(header: Header) -> Header:
    """The cards that place an image; raises UnreadableImage where one of them should be a number and is none."""
    cards: list[Any] = [("EQUINOX", year)] if (year := _equinox(header)) is not None else []
    for one in header.cards:
        if one.keyword in ("CUNIT1", "CUNIT2") and _UNITS.fullmatch(str(card(header, one.keyword))):
            cards.append((one.keyword, "deg"))
        elif _TEXT.fullmatch(one.keyword):
            cards.append(one)
        elif _NUMBER.fullmatch(one.keyword):
            if (value := number(header, one.keyword)) is None:
                raise UnreadableImage(f"{one.keyword} is no number")
            cards.append((one.keyword, value) if isinstance(card(header, one.keyword), str) else one)
        elif _SYSTEM.fullmatch(one.keyword):
            cards.append((one.keyword, str(card(header, one.keyword) or "").strip().upper()))
    return Header(cards)


def _years(header: Header) -> dict[str, float]:
    """The years of EQUINOX and EPOCH, whatever they are."""
    said = {key: _YEAR.fullmatch(str(card(header, key))) for key in ("EQUINOX", "EPOCH")}
    return {key: float(year[1]) for key, year in said.items() if year}


def _equinox(header: Header) -> float | None:
    """The equinox of the coordinates; None where the header gives none that people use."""
    system = any(str(card(header, key) or "").strip() for key in ("RADESYS", "RADECSYS"))
    for key, year in _years(header).items():
        if _EQUINOXES[0] <= year <= _EQUINOXES[1] and (key == "EQUINOX" or system or year in _OF_EPOCH):
            return year
    return None


def no_equinox(header: Header) -> str | None:
    """The card of a header that is called as an equinox and is none, such as the epoch of an observation or an MJD.

    Parameters
    ----------
    header : astropy.io.fits.Header
        Of the image.

    Returns
    -------
    str or None
        Such as `EPOCH 2016.5`; None where there is none, or the equinox is known.

    Examples
    --------
    >>> from astropy.io.fits import Header
    >>> from galaxy_assets.deliveries.readers.fits_folder import no_equinox
    >>> no_equinox(Header({"EPOCH": 57388.0})), no_equinox(Header({"EPOCH": 1950.0}))
    ('EPOCH 57388', None)
    """
    if _equinox(header) is not None:
        return None
    return next((f"{key} {year:.10g}" for key, year in _years(header).items()), None)


def _icrs(wcs: WCS, ra: float, dec: float) -> tuple[float, float]:
    """A position as ICRS, degrees, from the system that the header names."""
    system, equinox = wcs.wcs.radesys, wcs.wcs.equinox
    if system not in ("FK4", "FK4-NO-E", "FK5") or (system == "FK5" and equinox == 2000):
        return ra, dec
    from astropy.coordinates import FK4, FK5, FK4NoETerms, SkyCoord
    from astropy.time import Time

    frame = {"FK4": FK4, "FK4-NO-E": FK4NoETerms, "FK5": FK5}[system]
    year = Time(equinox, format="jyear" if system == "FK5" else "byear")
    place: Any = SkyCoord(ra, dec, unit="deg", frame=frame(equinox=year)).icrs
    return float(place.ra.deg), float(place.dec.deg)
