"""What is fetched for a survey: `sky.yaml` in its folder, written once.

Belongs here: choosing and keeping it. Does not belong here: the skies (`skies`), the positions (`positions`).
"""

import shutil
from datetime import UTC, datetime
from pathlib import Path

import yaml
from pydantic import Field, ValidationError

from galaxy_assets.deliveries.download.fetching import alone_in
from galaxy_assets.deliveries.download.offers import FetchError
from galaxy_assets.deliveries.sky import ledger, positions
from galaxy_assets.deliveries.sky.skies import (
    MOST_PIXELS,
    Format,
    address_of,
    is_colour,
    known_skies,
    service_of,
    url_of,
)
from galaxy_assets.settings import yaml_files
from galaxy_assets.settings.base import Settings
from galaxy_assets.settings.files import SurveyError
from galaxy_assets.settings.limits import MAXIMUM_YAML
from galaxy_assets.settings.regular import read_regular
from galaxy_assets.storage.files import replacing

NAME = "sky.yaml"


class Plan(Settings):
    """What is fetched around each position."""

    sky: str = Field(description="a HiPS id, or legacysurvey:LAYER")
    size: float = Field(gt=0, le=36_000, description="side of a cutout, arcseconds")
    pixels: int = Field(ge=16, le=MOST_PIXELS, description="its side in pixels")
    format: Format
    catalogue: str = Field(description="the table of positions that was given")
    begun: str = Field(description="when, UTC")

    def url(self, ra: float | str = "{ra}", dec: float | str = "{dec}") -> str:
        """The address of the cutout around a position in degrees; without one, the pattern of all."""
        address = address_of(service_of(self.sky))
        return url_of(address, self.sky, ra, dec, self.size, self.pixels, self.format)

    def caution(self) -> str | None:
        """Where the cutouts have pixels much finer than the survey's own, say so."""
        known, pixel = known_skies().get(self.sky), self.size / self.pixels
        if known is None or pixel * 2 > known.pixel:
            return None
        return (
            f"Pixels of {pixel:.3g} arcsec are asked for and {self.sky} has {known.pixel:g}: the rest is "
            f"interpolation. {max(16, round(self.size / known.pixel))} pixels would do."
        )


def choose(
    sky: str, catalogue: Path, size: str | None = None, pixels: int | None = None, form: Format | None = None
) -> Plan:
    """What to fetch, from what a person says.

    Single bands come as FITS, which keeps values, coordinates and NaN where there is no data; as PNG the service would
    stretch each by its own percentiles. Colour comes as PNG: what the service has is a picture already, PNG is not
    compressed a second time and is transparent where there is no data. The Legacy Surveys viewer makes no PNG, and
    JPEG is taken.

    Parameters
    ----------
    sky : str
        A HiPS id, or legacysurvey:LAYER.
    catalogue : Path
        The table of positions.
    size : str, optional
        Side of a cutout with its unit, such as `60arcsec`; what the sky has in `skies.yaml` when not given, else 60
        arcseconds.
    pixels : int, optional
        Its side in pixels likewise; else 256.
    form : {'png', 'jpg', 'fits'}, optional
        What the service is asked to send.

    Returns
    -------
    Plan

    Raises
    ------
    SurveyError
        Where something of it cannot be had; says what can.
    """
    sky = sky.strip().removeprefix("ivo://")
    service, known = service_of(sky), known_skies().get(sky)
    if form is None:
        form = service.formats[0] if is_colour(sky) else "fits"
    if form not in service.formats:
        raise SurveyError(f"{service.name} sends no {form}; give --format {' or '.join(service.formats)}")
    if form == "fits" and is_colour(sky) and "png" in service.formats:
        raise SurveyError(
            f"{sky} is a picture of several bands, and FITS would hold that picture; leave --format out, or name the "
            "sky of one band"
        )
    try:
        return Plan(
            sky=sky,
            size=_arcseconds(size) if size is not None else known.size if known else 60.0,
            pixels=pixels or (known.pixels if known else 256),
            format=form,
            catalogue=str(catalogue.expanduser().resolve()),
            begun=datetime.now(UTC).isoformat(timespec="seconds"),
        )
    except ValidationError as error:
        first = error.errors()[0]
        raise SurveyError(f"--{first['loc'][0]} {first['input']}: {first['msg']}; correct it") from error


def _arcseconds(text: str) -> float:
    from astropy import units

    try:
        return units.Quantity(text).to_value(units.arcsec)  # pyright: ignore[reportReturnType]
    except (TypeError, ValueError) as error:  # UnitConversionError is one
        raise SurveyError(f"--size {text!r} is no angle; write it as 60arcsec, 1.5arcmin or 0.02deg") from error


def read_plan(folder: Path) -> Plan | None:
    """The plan in a survey's folder; None where there is none.

    Parameters
    ----------
    folder : Path
        The survey's, of data/raw.

    Returns
    -------
    Plan or None

    Raises
    ------
    SurveyError
        Where the file cannot be read.
    """
    path = folder / NAME
    if not path.is_file():
        return None
    try:
        return Plan.model_validate(yaml_files.load(read_regular(path, MAXIMUM_YAML).decode("utf-8")))
    except (OSError, ValueError, yaml.YAMLError) as error:  # ValidationError is a ValueError
        raise SurveyError(
            f"{path}: cannot be used: {error}; restore it, or delete the folder and begin anew"
        ) from error


def keep_plan(folder: Path, plan: Plan) -> Plan:
    """Write the plan where there is none; else the one that is there, which must ask for the same.

    Parameters
    ----------
    folder : Path
        The survey's, of data/raw.
    plan : Plan
        What is wanted.

    Returns
    -------
    Plan
        With the table and the time of the first call.

    Raises
    ------
    SurveyError
        Where other images lie in the folder, or other cutouts.
    """
    there = read_plan(folder)
    if there is None:
        if folder.exists() and any(not one.name.startswith(".") for one in folder.iterdir()):
            raise SurveyError(f"{folder}: holds files that were not fetched for positions; choose another name")
        with replacing(folder / NAME) as partial:
            partial.write_text(yaml.safe_dump(plan.model_dump(), sort_keys=False, allow_unicode=True), encoding="utf-8")
        return plan
    changed = [key for key in ("sky", "size", "pixels", "format") if getattr(plan, key) != getattr(there, key)]
    if not changed:
        return there
    if any(path.is_file() for path in (folder / "images").rglob("*")):
        key = changed[0]
        raise SurveyError(
            f"{folder}: cutouts with {key} {getattr(there, key)} were begun there, and now it is {getattr(plan, key)}; "
            "choose another name, or give what was given then"
        )
    try:
        with alone_in(folder):  # no image came: what was blank or failed says nothing of other cutouts
            for name in (NAME, positions.NAME, ledger.NAME, ledger.JOURNAL):  # nothing that a person put beside them
                (folder / name).unlink(missing_ok=True)
            shutil.rmtree(folder / "images", ignore_errors=True)
    except FetchError as error:
        raise SurveyError(str(error)) from error
    return keep_plan(folder, plan)
