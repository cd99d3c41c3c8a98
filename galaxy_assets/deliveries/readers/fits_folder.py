"""Reader of a folder of FITS images, laid out like `image_folder`.

Belongs here: where on the sky FITS images point. Does not belong here: finding the files (`image_folder`), what they
hold (`deliveries.decoding.fits`).
"""

import re

import numpy as np
from astropy.io.fits import Header
from astropy.wcs import WCS

from galaxy_assets.deliveries import suffixes
from galaxy_assets.deliveries.decoding.compressed import unpacked
from galaxy_assets.deliveries.decoding.fits import opened, planes_in
from galaxy_assets.deliveries.decoding.planes import Choice
from galaxy_assets.deliveries.images import UnreadableImage, unreadable_otherwise
from galaxy_assets.deliveries.readers.image_folder import ImageFolder

# The two sky axes alone: a third axis without coordinates makes the matrix of grz cubes singular, and WCS takes the
# header as text, where tabs in the comments of FIRST make astropy warn about every file.
_WCS_KEYWORD = re.compile(
    r"(CTYPE|CRVAL|CRPIX|CDELT|CUNIT|CROTA)[12]|(CD|PC)[12]_[12]|PV[12]_\d+|EQUINOX|RADESYS|LONPOLE|LATPOLE"
)


class FitsFolder(ImageFolder):
    """Reader of `fits_folder`; see the module and `plugins.protocols.Reader`."""

    suffixes = suffixes.FITS

    def position(self, name: str, data: bytes) -> tuple[float | None, float | None]:
        """ICRS or FK5 position of the image's centre, None where the header has no celestial coordinates."""
        try:
            with unreadable_otherwise(), opened(unpacked(data), Choice.of(self.source)) as hdus:
                cards = [card for card in hdus[0].header.cards if _WCS_KEYWORD.fullmatch(card.keyword)]
                wcs = WCS(Header(cards), fix=False)
                if wcs.wcs.lngtyp != "RA":
                    return None, None
                planes = planes_in(hdus)
                centre = wcs.wcs_pix2world((planes.width - 1) / 2, (planes.height - 1) / 2, 0)
                ra, dec = float(centre[wcs.wcs.lng]), float(centre[wcs.wcs.lat])
        except UnreadableImage:
            return None, None
        return (ra % 360, dec) if np.isfinite([ra, dec]).all() else (None, None)
