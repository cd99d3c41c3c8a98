"""Angles as catalogues have them: numbers in any unit, and sexagesimal text.

Belongs here: a column of right ascensions or declinations in degrees. Does not belong here: reading tables
(`readers.tables`), which columns they are (`positions`).
"""

import re
from decimal import Decimal
from typing import Literal

import numpy as np

Axis = Literal["ra", "dec"]

_HOUR = 15.0  # degrees
# VizieR's units of text, and what people write that astropy does not know as a unit of angle
_UNITS = {"h:m:s": _HOUR, "hms": _HOUR, "h": _HOUR, "hr": _HOUR, "hour": _HOUR, "hours": _HOUR, "hourangle": _HOUR}
_UNITS |= {
    "hh:mm:ss": _HOUR,
    "dd:mm:ss": 1.0,
    "d:m:s": 1.0,
    "dms": 1.0,
    "deg": 1.0,
    "degree": 1.0,
    "degrees": 1.0,
    "°": 1.0,
    "radian": 180 / np.pi,
}
_SEXAGESIMAL = re.compile(
    r"(?P<sign>[+-]?)\s*(?P<whole>\d{1,3})\s*(?P<letter>[hd°:\s])\s*(?P<minutes>\d{1,2}(?:\.\d*)?)\s*"
    r"(?:[m'′:\s]\s*(?:(?P<seconds>\d{1,2}(?:\.\d*)?)\s*(?:s|\"|″|'')?)?)?",
    re.IGNORECASE,
)


_BRACKET = re.compile(r"(.+?)\s*[\[(]([^\[\]()]+)[\])]\s*")  # RA (deg), dec[rad]


def plain_name(column: str) -> str:
    """The name of a column in lower case, letters and digits alone, without a unit in brackets: `RA (deg)` is `ra`."""
    bracket = _BRACKET.fullmatch(column)
    return re.sub(r"[^a-z0-9]", "", (bracket[1] if bracket else column).lower())


def unit_in(column: str) -> str | None:
    """The unit that the name of a column of coordinates says.

    Parameters
    ----------
    column : str
        Its name.

    Returns
    -------
    str or None
        None where it says none.

    Examples
    --------
    >>> from galaxy_assets.deliveries.angles import unit_in
    >>> [unit_in(column) for column in ("RA (deg)", "ra_rad", "RA (J2000)", "ra")]
    ['deg', 'rad', None, None]
    """
    if (bracket := _BRACKET.fullmatch(column)) is not None:
        try:
            degrees_per(bracket[2])
            return bracket[2]
        except ValueError:  # RA (J2000)
            return None
    return {"rarad": "rad", "decrad": "rad", "rahours": "h"}.get(plain_name(column))


def degrees_per(unit: str) -> float:
    """How many degrees one of a unit is.

    Parameters
    ----------
    unit : str
        Such as `deg`, `hourangle`, `rad`, `arcsec`; hours are those of right ascension.

    Returns
    -------
    float

    Raises
    ------
    ValueError
        Where it is no angle; says so.
    """
    from astropy import units

    plain = unit.strip().strip("\"'").strip().lower()
    if plain in _UNITS:
        return _UNITS[plain]
    for text in (unit.strip(), plain, plain.removesuffix("s")):
        try:
            return units.Quantity(1, text).to_value(units.deg)  # pyright: ignore[reportReturnType]
        except (TypeError, ValueError):  # no unit, or none of an angle
            continue
    raise ValueError(f"has the unit {unit!r}, which is no angle; give it one, such as deg")


def is_hours(unit: str) -> bool:
    """Whether a unit is hours of right ascension; of none that is an angle it says no."""
    try:
        return degrees_per(unit) == _HOUR
    except ValueError:
        return False


def degrees_of(values: list, axis: Axis, unit: str | None) -> list[float | None]:
    """A column of coordinates in degrees.

    Parameters
    ----------
    values : list
        Numbers or text, one per row; None, NaN and empty text where there is none.
    axis : {'ra', 'dec'}
        Sexagesimal right ascensions are hours unless a unit or the letter d says otherwise, declinations degrees.
    unit : str or None
        Of the column; None for degrees.

    Returns
    -------
    list of float or None
        Right ascensions of 0 to 360 and declinations of -90 to 90 degrees; None for what is neither a number nor
        sexagesimal, or is not on the sphere.

    Raises
    ------
    ValueError
        Where the unit is no angle.
    """
    factor = None if unit is None else degrees_per(unit)
    return [_on_sphere(_degrees(value, axis, factor), axis) for value in values]


def _degrees(value: object, axis: Axis, factor: float | None) -> float | None:
    if value is None or isinstance(value, bool):
        return None
    if isinstance(value, int | float | Decimal):
        return float(value) * (1.0 if factor is None else factor)
    text = value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)
    text = text.strip().replace("−", "-")
    if re.fullmatch(r"[+-]?\d+,\d+", text):  # a decimal comma
        text = text.replace(",", ".")
    try:
        return float(text) * (1.0 if factor is None else factor)
    except ValueError:
        pass
    if (match := _SEXAGESIMAL.fullmatch(text)) is None:
        return None
    minutes, seconds = float(match["minutes"]), float(match["seconds"] or 0)
    if minutes >= 60 or seconds >= 60:
        return None
    letter = match["letter"].lower()
    if letter in "hd°":
        factor = _HOUR if letter == "h" else 1.0
    elif factor is None:
        factor = _HOUR if axis == "ra" else 1.0
    size = (int(match["whole"]) + minutes / 60 + seconds / 3600) * factor
    return -size if match["sign"] == "-" else size


def _on_sphere(degrees: float | None, axis: Axis) -> float | None:
    if degrees is None or not np.isfinite(degrees):
        return None
    if axis == "dec":
        return degrees if -90 <= degrees <= 90 else None
    return degrees % 360 if -180 <= degrees <= 360 else None
