"""The skies that can be named, the services that cut images out of them, and the address of one cutout.

Belongs here: `skies.yaml`, the notation of `--sky`, and what a service is asked for. Does not belong here: asking
(`connection`), what was chosen for a survey (`plan`).

hips2fits is asked for the parameters that `astroquery.hips2fits` sends, without min_cut, max_cut, stretch and cmap,
which do nothing to FITS and to colour. Its client is not used: it follows redirects to any host, reads a body of any
size, neither tries again nor tells a status or Retry-After, and gives arrays in the place of the bytes that came.
"""

import os
import re
import urllib.parse
from functools import cache
from pathlib import Path
from typing import Literal, NamedTuple

import yaml
from pydantic import Field, TypeAdapter

from galaxy_assets.deliveries.download.offers import is_https, is_loopback
from galaxy_assets.settings.base import Settings
from galaxy_assets.settings.files import SurveyError
from galaxy_assets.settings.printing import printable

Format = Literal["png", "jpg", "fits"]

MOST_PIXELS = 3000
"""Longest side of a cutout, pixels: the Legacy Surveys viewer makes no larger ones."""

_HIPS = re.compile(r"[A-Za-z0-9][\w.+~-]*(/[\w.+~-]+)+", re.ASCII)
_LAYER = re.compile(r"legacysurvey:([A-Za-z0-9][\w.-]*)", re.ASCII)


class Sky(Settings):
    """One sky that is known by name."""

    id: str = Field(description="a HiPS id, or legacysurvey:LAYER")
    what: str = Field(description="survey and bands")
    band: Literal["optical", "infrared", "radio", "ultraviolet", "X-ray"]
    colour: bool = Field(default=False, description="whether its pixels are a picture made of several bands")
    footprint: str = Field(description="the part of the sky it covers")
    pixel: float = Field(gt=0, description="side of a pixel of the survey's own images, arcseconds")
    size: float = Field(default=60, gt=0, description="side of a cutout unless a person asks otherwise, arcseconds")
    pixels: int = Field(default=256, ge=16, le=MOST_PIXELS, description="its side in pixels likewise")
    source: str = Field(description="where pixel and footprint are stated")


class Service(NamedTuple):
    """A service that makes cutouts.

    Attributes
    ----------
    name : str
        For messages.
    address : str
        Where it is, unless the environment variable `variable` names another place.
    variable : str
        That environment variable.
    formats : tuple of str
        What it sends, the one for colour first.
    reference : str
        What its makers ask to be cited.
    """

    name: str
    address: str
    variable: str
    formats: tuple[Format, ...]
    reference: str


HIPS2FITS = Service(
    "CDS hips2fits",
    "https://alasky.cds.unistra.fr/hips-image-services/hips2fits",
    "GALAXY_ASSETS_HIPS2FITS",
    ("png", "jpg", "fits"),
    "This research has made use of hips2fits, a service of the CDS, Strasbourg.",
)
LEGACY = Service(
    "the Legacy Surveys viewer",
    "https://www.legacysurvey.org/viewer",
    "GALAXY_ASSETS_LEGACYSURVEY",
    ("jpg", "fits"),
    "Acknowledge the Legacy Surveys as https://www.legacysurvey.org/acknowledgment has it.",
)


@cache
def known_skies() -> dict[str, Sky]:
    """The skies of `skies.yaml`, by id."""
    table = yaml.safe_load(Path(__file__).with_name("skies.yaml").read_text(encoding="utf-8"))
    return {sky.id: sky for sky in TypeAdapter(tuple[Sky, ...]).validate_python(table)}


def service_of(sky: str) -> Service:
    """The service that has a sky.

    Parameters
    ----------
    sky : str
        A HiPS id, or legacysurvey:LAYER.

    Returns
    -------
    Service

    Raises
    ------
    SurveyError
        Where it is neither.
    """
    if _LAYER.fullmatch(sky):
        return LEGACY
    if _HIPS.fullmatch(sky) and len(sky) < 200:
        return HIPS2FITS
    raise SurveyError(
        f"{printable(sky[:200])!r} is no sky; give a HiPS id such as CDS/P/DESI-Legacy-Surveys/DR10/color, or a layer "
        "such as legacysurvey:ls-dr10. `galaxy-assets survey skies` lists some"
    )


def is_colour(sky: str) -> bool:
    """Whether the pixels of a sky are a picture made of several bands; of one that is not known, by its id."""
    if (known := known_skies().get(sky)) is not None:
        return known.colour
    return service_of(sky) is LEGACY or re.search(r"colou?r|rgb", sky, re.IGNORECASE) is not None


def address_of(service: Service) -> str:
    """Where a service is asked: its own address, or the one in its environment variable.

    Parameters
    ----------
    service : Service

    Returns
    -------
    str

    Raises
    ------
    SurveyError
        Where the variable holds something else than https, or http within this machine.
    """
    address = os.environ.get(service.variable) or service.address
    try:
        parts = urllib.parse.urlsplit(address)
        allowed = is_https(address) or (parts.scheme == "http" and is_loopback(address))
        plain = parts.hostname and parts.username is None and not parts.query and not parts.fragment
    except ValueError:  # brackets of an IPv6 address
        allowed = plain = False
    if not allowed or not plain:
        raise SurveyError(
            f"{service.variable}: {printable(address)} is no https address without user, query or fragment; correct "
            "or unset it. http is allowed within this machine alone"
        )
    return address.rstrip("/")


def url_of(address: str, sky: str, ra: float | str, dec: float | str, size: float, pixels: int, form: Format) -> str:
    """The address of one cutout, north up and east left.

    Parameters
    ----------
    address : str
        Of the service, as `address_of` gives it.
    sky : str
        A HiPS id, or legacysurvey:LAYER.
    ra, dec : float or str
        Its centre in degrees (ICRS); text is taken as it is.
    size : float
        Its side in arcseconds.
    pixels : int
        Its side in pixels.
    form : {'png', 'jpg', 'fits'}
        What is sent.

    Returns
    -------
    str
    """
    centre = {key: value if isinstance(value, str) else f"{value:.7f}" for key, value in (("ra", ra), ("dec", dec))}
    if (layer := _LAYER.fullmatch(sky)) is not None:
        address = f"{address}/cutout.{form}"
        query = centre | {"layer": layer[1], "pixscale": f"{size / pixels:.6g}", "size": str(pixels)}
        if form == "fits":
            query["bands"] = "grz"
    else:
        query = {
            "hips": sky,
            "width": str(pixels),
            "height": str(pixels),
            "projection": "TAN",
            "coordsys": "icrs",
            "rotation_angle": "0.0",
            **centre,
            "fov": f"{size / 3600:.9g}",
            "format": form,
        }
    return f"{address}?{urllib.parse.urlencode(query, safe='/{}')}"
