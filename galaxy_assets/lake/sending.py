"""What was found, sent to programs on this machine: rows of the lake as a table, and galaxies as FITS images.

Belongs here: from a survey's name to what is sent. Does not belong here: the messages (`samp`), the rows (`export`).
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from galaxy_assets.lake.export import What, select
from galaxy_assets.lake.samp import Answer, send_image, send_table
from galaxy_assets.lake.similar import open_survey, read_survey_table
from galaxy_assets.settings.regular import open_regular
from galaxy_assets.settings.survey import Survey
from galaxy_assets.storage.layout import Layout
from galaxy_assets.storage.pixels import PixelStore
from galaxy_assets.storage.tables import rows_of


def send_rows(what: What, survey: str, *, to: str | None = None, **asked: Any) -> tuple[int, list[Answer]]:
    """Send the rows of an export, with positions, as a table.

    Parameters
    ----------
    what : {'ranking', 'candidates', 'cluster'}
        As `export` takes it.
    survey : str
        Its name.
    to : str, optional
        Part of the name of one receiver; every program that loads tables when not given.
    **asked
        `first`, `cluster`, `init`, `until` and `root` of `export`.

    Returns
    -------
    n : int
        Rows sent.
    answers : list of Answer
        One for each receiver.

    Raises
    ------
    SampError
        Where no hub runs or nothing receives.
    ValueError, FileNotFoundError, SurveyError
        As `export` raises them.
    """
    table = select(what, survey, **asked).table
    return table.num_rows, send_table(table, f"{survey} {what}", to=to)


def send_galaxies(
    survey: str, ids: Sequence[str], *, to: str | None = None, root: Path | str | None = None
) -> list[Answer]:
    """Send images of galaxies.

    An original that was delivered as a FITS file of its own is sent as it is, with its place on the sky. Of all others
    the cutout is sent as the lake has it, in 8 bits, its first row at the top; it has the galaxy's position in its
    header and no coordinates.

    Parameters
    ----------
    survey : str
        Its name.
    ids : sequence of str
        Galaxies.
    to : str, optional
        Part of the name of one receiver; every program that loads images when not given.
    root : Path or str, optional
        The data folder; $GALAXY_ASSETS_DATA, else ./data, when not given.

    Returns
    -------
    list of Answer
        One for each galaxy and receiver.

    Raises
    ------
    SampError
        Where no hub runs or nothing receives.
    UnknownGalaxies
        For an id that the survey does not have.
    FileNotFoundError
        Where the survey has no cutouts yet.
    """
    layout, known = open_survey(survey, root)
    catalogue, cutouts = (read_survey_table(layout, known, f"{name}/[!.]*") for name in ("catalogue", "cutouts"))
    stack = PixelStore(layout.pixels(survey)).of(cutouts)
    rows = rows_of(cutouts, list(ids))
    about = catalogue.take(rows_of(catalogue, list(ids), "catalogue")).to_pylist()
    answers = []
    for row, of in zip(rows, about, strict=True):

        def write(path: Path, row: int = int(row), of: dict[str, Any] = of) -> None:
            content = _delivered(layout, known, of["file"])
            path.write_bytes(content if content is not None else _as_fits(stack[np.array([row])][0], of))

        answers += send_image(write, f"{survey} {of['galaxy_id']}", to=to)
    return answers


def _delivered(layout: Layout, survey: Survey, file: str) -> bytes | None:
    """The bytes of an original that is a plain FITS file in the survey's folder; None for any other."""
    folder = survey.source.folder(layout.raw).resolve()
    path = (folder / file).resolve()
    if not path.is_relative_to(folder) or not path.is_file():
        return None
    with open_regular(path) as stream:
        return stream.read() if stream.peek(9)[:9] == b"SIMPLE  =" else None


def _as_fits(pixels: np.ndarray, about: dict[str, Any]) -> bytes:
    """A cutout (H, W, C) as FITS, planes first, the first row last: programs draw a FITS image from below."""
    import io

    from astropy.io import fits

    planes = np.ascontiguousarray(np.moveaxis(pixels[::-1], 2, 0))
    hdu = fits.PrimaryHDU(planes[0] if len(planes) == 1 else planes)
    hdu.header["OBJECT"] = about["galaxy_id"].encode("ascii", "replace").decode()[:68]
    for key, name in (("RA", "ra"), ("DEC", "dec")):
        value = about[name]
        if value is not None and np.isfinite(value):
            hdu.header[key] = (value, "degrees")
    hdu.header["COMMENT"] = "cutout of galaxy-assets: 8 bits, red, green, blue where it has colours"
    out = io.BytesIO()
    hdu.writeto(out)
    return out.getvalue()
