"""Reader of Galaxy Zoo DECaLS as downloaded from Zenodo (record 4573248, Walmsley et al. 2022).

    <path>/gz_decals_dr5_png_part1/J074/J074349.15+291154.5.png    each part a delivery
    <path>/J074/J074349.15+291154.5.png                            or all in one, `images`
    <path>/gz_decals_volunteers_1_and_2.csv                        or .parquet, or those of campaign 5

Which part holds a galaxy does not follow from its name (J112 is in part 2, J124 in part 3), so all are looked through.

Belongs here: this layout and its volunteer tables. Does not belong here: what the votes mean (`science.votes`).
"""

import csv
import re
from collections.abc import Iterable
from fnmatch import fnmatchcase
from functools import cached_property
from pathlib import Path

import pyarrow as pa
from pyarrow import csv as arrow_csv
from pyarrow import parquet

from galaxy_assets.science.votes import VotesError, delivered_columns, normalise
from galaxy_assets.surveys.readers.image_folder import ImageFolder

_IAUNAME = re.compile(r"J(\d\d)(\d\d)(\d\d(?:\.\d+)?)([+-])(\d\d)(\d\d)(\d\d(?:\.\d+)?)")


def position_of(iauname: str) -> tuple[float | None, float | None]:
    """Right ascension and declination in degrees from JHHMMSS.ss+DDMMSS.s; None, None for any other name."""
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
    """Reader of `galaxy_zoo_decals`; see the module and `readers.Reader`."""

    def expected(self) -> str:
        return "folders gz_decals_dr5_png_part*/J???/ with PNG or JPEG images"

    def top(self) -> Path:
        return self.folder

    def batch_of(self, subfolder: Path) -> str | None:
        if fnmatchcase(subfolder.name, "J???"):
            return "images"
        return subfolder.name if any(path.is_dir() for path in subfolder.glob("J???")) else None

    def position(self, name: str, path: Path) -> tuple[float | None, float | None]:
        return self._positions.get(name) or position_of(name)

    def votes(self) -> pa.Table | None:
        if (path := self._volunteers()) is None:
            return None
        table = _read(path, delivered_columns(self.source.campaign))
        try:
            return normalise(table, self.source.campaign)
        except VotesError as error:
            raise VotesError(f"{path}: {error}") from error

    def _volunteers(self) -> Path | None:
        if self.source.votes is not None:
            path = self.folder / self.source.votes
            if not path.is_file():
                raise VotesError(f"{path}: no such file; put the volunteer table there or correct `source.votes`")
            return path
        stem = f"gz_decals_volunteers_{self.source.campaign}"
        found = (self.folder / f"{stem}{suffix}" for suffix in (".parquet", ".csv"))
        return next((path for path in found if path.is_file()), None)

    @cached_property
    def _positions(self) -> dict[str, tuple[float, float]]:
        if (path := self._volunteers()) is None:
            return {}
        table = _read(path, ["iauname", "ra", "dec"])
        if table.num_columns < 3:
            return {}
        rows = table.to_pandas().dropna().itertuples(index=False)
        return {row.iauname: (float(row.ra), float(row.dec)) for row in rows}


def _read(path: Path, wanted: Iterable[str]) -> pa.Table:
    """Those of the `wanted` columns that the CSV or Parquet file has, by name: files may carry an index column."""
    try:
        if path.suffix == ".parquet":
            present = set(parquet.read_schema(path).names)
            return parquet.read_table(path, columns=[name for name in wanted if name in present])
        with path.open(encoding="utf-8-sig", newline="") as stream:
            present = set(next(csv.reader(stream), []))
        columns = [name for name in wanted if name in present]
        types = {name: pa.string() if name == "iauname" else pa.float64() for name in columns}
        convert = arrow_csv.ConvertOptions(include_columns=columns, column_types=types)
        return arrow_csv.read_csv(path, convert_options=convert)
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        raise VotesError(f"{path}: not a readable table, perhaps cut short; download it again ({error})") from error
