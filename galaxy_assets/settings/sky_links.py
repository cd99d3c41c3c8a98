"""Addresses of sky viewers and archives at a position: links that a person may follow; nothing is fetched from there.

Belongs here: the viewers by name, and what else a survey may name. Does not belong here: where links are shown.
"""

import re
from collections.abc import Iterable
from urllib.parse import quote, urlencode, urlsplit

_HIPS = re.compile(r"[A-Za-z0-9._+-]+(/[A-Za-z0-9._+-]+)+")

VIEWERS = {
    "legacy_survey": ("Legacy Survey", "https://www.legacysurvey.org/viewer?ra={ra}&dec={dec}&zoom=15"),
    "vlass": ("VLASS", "https://www.legacysurvey.org/viewer?ra={ra}&dec={dec}&zoom=15&layer=vlass1.2"),
    "sdss": ("SDSS", "https://skyserver.sdss.org/dr18/VisualTools/navi?ra={ra}&dec={dec}&scale=0.2"),
    "aladin": ("Aladin", "https://aladin.cds.unistra.fr/AladinLite/?target={ra}+{dec}&fov=0.05"),
    "esasky": ("ESASky", "https://sky.esa.int/esasky/?target={ra}%20{dec}&fov=0.05&cooframe=J2000"),
    "simbad": (
        "SIMBAD",
        "https://simbad.cds.unistra.fr/simbad/sim-coo?Coord={ra}+{dec}&Radius=1&Radius.unit=arcmin",
    ),
    "ned": (
        "NED",
        "https://ned.ipac.caltech.edu/conesearch?search_type=Near%20Position%20Search&coordinates={ra}d%20{dec}d"
        "&radius=1&in_csys=Equatorial&in_equinox=J2000",
    ),
}
"""Name -> what it is called and its address, where {ra} and {dec} stand for degrees."""

USUAL = ("legacy_survey", "aladin", "simbad")
"""Those of a survey that names none."""


def check_link(name: str) -> None:
    """Check what a survey names as a link.

    Parameters
    ----------
    name : str
        One of VIEWERS, the id of a HiPS such as `CDS/P/NVSS`, or an address with {ra} and {dec}.

    Raises
    ------
    ValueError
        For anything else.
    """
    if name in VIEWERS or (_HIPS.fullmatch(name) and ":" not in name):
        return
    split = urlsplit(name)
    if split.scheme == "https" and split.hostname and "{ra}" in name and "{dec}" in name:
        return
    raise ValueError(
        f"{name!r} is no sky link: write one of {', '.join(VIEWERS)}, the id of a HiPS such as CDS/P/NVSS, or an "
        "address https://... with {ra} and {dec} in it, in degrees"
    )


def sky_links(names: Iterable[str], ra: float, dec: float) -> dict[str, str]:
    """Links at a position.

    Parameters
    ----------
    names : iterable of str
        As `check_link` takes them.
    ra, dec : float
        Degrees.

    Returns
    -------
    dict of str to str
        What each is called -> its address, in the order of `names`.

    Examples
    --------
    >>> sky_links(["vlass", "https://example.org/{ra}/{dec}"], 180.0, -12.5)["example.org"]
    'https://example.org/180.000000/-12.500000'
    """
    found = {}
    for name in names:
        title, address = VIEWERS.get(name, (name, name))
        if name not in VIEWERS and "://" in name:
            title = urlsplit(name).hostname or name
        elif name not in VIEWERS:
            address = f"{VIEWERS['aladin'][1]}&{urlencode({'survey': name})}"
        found[title] = address.replace("{ra}", f"{ra:.6f}").replace("{dec}", quote(f"{dec:+.6f}"))
    return found
