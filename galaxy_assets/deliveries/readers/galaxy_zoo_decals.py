"""Reader of Galaxy Zoo DECaLS as downloaded from Zenodo (record 4573248, Walmsley et al. 2022).

    <path>/gz_decals_dr5_png_part1/J074/J074349.15+291154.5.png    each part a delivery, also as the zip it comes in
    <path>/J074/J074349.15+291154.5.png                            or all in one, `images`
    <path>/gz_decals_volunteers_1_and_2.csv                        or .parquet, or those of campaign 5

Which part holds a galaxy does not follow from its name (J112 is in part 2, J124 in part 3), so all are looked through.

Belongs here: this layout. Does not belong here: reading the volunteer tables (`volunteers`).
"""

import re
from collections.abc import Collection, Sequence
from fnmatch import fnmatchcase
from functools import cached_property
from pathlib import Path

import pyarrow as pa

from galaxy_assets.deliveries.delivery import LOOSE
from galaxy_assets.deliveries.drop import Image
from galaxy_assets.deliveries.ids import image_name
from galaxy_assets.deliveries.readers.image_folder import ImageFolder
from galaxy_assets.deliveries.readers.volunteers import read_columns, read_votes

_IAUNAME = re.compile(r"J(\d\d)(\d\d)(\d\d(?:\.\d+)?)([+-])(\d\d)(\d\d)(\d\d(?:\.\d+)?)")


def position_of(iauname: str) -> tuple[float | None, float | None]:
    """Position on the sky that a name says.

    Parameters
    ----------
    iauname : str
        JHHMMSS.ss+DDMMSS.s

    Returns
    -------
    ra, dec : float or None
        Right ascension and declination in degrees; None for any other name.
    """
    match = _IAUNAME.fullmatch(iauname)
    if match is None:
        return None, None
    hours, minutes, seconds, sign, degrees, arcminutes, arcseconds = match.groups()
    ra = 15 * (int(hours) + int(minutes) / 60 + float(seconds) / 3600)
    dec = int(degrees) + int(arcminutes) / 60 + float(arcseconds) / 3600
    if ra >= 360 or dec > 90:
        return None, None
    return ra, -dec if sign == "-" else dec  # the sign is read apart: -00 degrees is south


class GalaxyZooDecals(ImageFolder):
    """Reader of `galaxy_zoo_decals`; see the module and `plugins.protocols.Reader`."""

    def expected(self) -> str:
        """What the folder should hold, for error messages."""
        return "folders gz_decals_dr5_png_part*/J???/ with PNG or JPEG images, or their zips"

    def top(self) -> Path:
        """The folder whose subfolders and archives are the deliveries: the survey's own."""
        return self.folder

    def batch_of(self, subfolder: Path) -> str | None:
        """The delivery of a subfolder: its own where it has J??? folders, LOOSE where it is one of these."""
        if fnmatchcase(subfolder.name, "J???"):
            return LOOSE
        return subfolder.name if any(path.is_dir() for path in subfolder.glob("J???")) else None

    def tables(self) -> list[Path]:
        """Files that are no deliveries, whatever they hold: the volunteer tables of every campaign too."""
        return [*super().tables(), *self.folder.glob("gz_decals_volunteers_*")]

    def names(self, images: Sequence[Image], taken: Collection[str]) -> list[str]:
        """What the images are called: an IAU name is one galaxy, in whatever folder."""
        return [image_name(image.called) for image in images]

    def position(self, name: str, data: bytes) -> tuple[float | None, float | None]:
        """Right ascension and declination in degrees, of the volunteer table, else of the name."""
        return self._positions.get(name) or position_of(name)

    def votes(self) -> pa.Table | None:
        """The volunteer table; None if the survey has none."""
        path = self._volunteers()
        return None if path is None else read_votes(path, self.source.campaign)

    def _volunteers(self) -> Path | None:
        if self.source.votes is not None:
            return self.folder / self.source.votes
        stem = f"gz_decals_volunteers_{self.source.campaign}"
        found = (self.folder / f"{stem}{suffix}" for suffix in (".parquet", ".csv"))
        return next((path for path in found if path.is_file()), None)

    @cached_property
    def _positions(self) -> dict[str, tuple[float, float]]:
        if (path := self._volunteers()) is None:
            return {}
        table = read_columns(path, ["iauname", "ra", "dec"])
        if table.num_columns < 3:
            return {}
        rows = table.to_pandas().dropna().itertuples(index=False)
        return {row.iauname: (float(row.ra), float(row.dec)) for row in rows}
