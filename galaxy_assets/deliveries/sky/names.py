"""Ids of positions, and the names of the files that hold their images.

Belongs here: an id made from a position, and a file name that any disk takes. Does not belong here: where either is
kept (`positions`).
"""

import hashlib
import re

# what every file system and archive takes as it is, and names of Windows' devices, which it does not
_PLAIN = re.compile(r"[A-Za-z0-9+][A-Za-z0-9+._-]{0,99}")
_DEVICE = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(\..*)?", re.IGNORECASE)


def position_id(ra: float, dec: float) -> str:
    """The designation of a position, such as J004244.33+411607.5.

    Seconds of time have two decimals and seconds of arc one, cut off and not rounded, as the IAU asks (Specifications
    concerning designations for astronomical radiation sources outside the solar system, section 3.2).

    Parameters
    ----------
    ra, dec : float
        Degrees.

    Returns
    -------
    str
    """
    # hundredths of a second of time and tenths of a second of arc; the little more undoes what floats lost
    time, arc = int(ra % 360 * 24_000 + 1e-4) % 8_640_000, int(abs(dec) * 36_000 + 1e-4)
    hours, minutes, seconds = time // 360_000, time // 6000 % 60, time % 6000
    degrees, arcminutes, arcseconds = arc // 36_000, arc // 600 % 60, arc % 600
    right = f"{hours:02d}{minutes:02d}{seconds // 100:02d}.{seconds % 100:02d}"
    up = f"{degrees:02d}{arcminutes:02d}{arcseconds // 10:02d}.{arcseconds % 10}"
    return f"J{right}{'-' if dec < 0 else '+'}{up}"


def file_stem(galaxy: str, taken: set[str]) -> str:
    """A file's name without suffix for an id: the id itself where any disk takes it, else what is left and a checksum.

    Parameters
    ----------
    galaxy : str
        The id; any text.
    taken : set of str
        Names given before, in lower case, to which this one is added: some disks do not tell `a` from `A`.

    Returns
    -------
    str
        Of A-Za-z0-9+._- alone, at most 100 letters, not hidden, no path.
    """
    plain = _PLAIN.fullmatch(galaxy) and not _DEVICE.fullmatch(galaxy) and not galaxy.endswith(".")
    stem = galaxy
    if not plain or galaxy.lower() in taken:
        kept = re.sub(r"[^A-Za-z0-9+.-]+", "_", galaxy).strip("._-")[:60]
        kept = f"id_{kept}" if _DEVICE.fullmatch(kept) else kept or "id"
        stem = f"{kept}_{hashlib.sha256(galaxy.encode('utf-8', 'surrogatepass')).hexdigest()[:16]}"
    taken.add(stem.lower())
    return stem
