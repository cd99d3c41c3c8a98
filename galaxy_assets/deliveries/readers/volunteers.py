"""Volunteer tables as Galaxy Zoo publishes them, CSV or Parquet.

    gz_decals_volunteers_1_and_2.csv, _5.csv     Galaxy Zoo DECaLS (Walmsley et al. 2022), galaxies by `iauname`
    gz2_hart16.csv                               Galaxy Zoo 2 (Hart et al. 2016), galaxies by `dr7objid`; if
    gz2_filename_mapping.csv                     lies beside it, by the names of the images in images_gz2.zip
    training_solutions_rev1.csv                  Galaxy Zoo 2 as Kaggle has it, galaxies by `GalaxyID`

Belongs here: reading these files. Does not belong here: what the votes mean (`science.votes`).
"""

import csv
from collections.abc import Iterable
from pathlib import Path

import pyarrow as pa
from pyarrow import csv as arrow_csv
from pyarrow import parquet

from galaxy_assets.science.votes import VotesError, delivered_columns, kaggle_columns, normalise

MAPPING = "gz2_filename_mapping.csv"
_TEXT = ("iauname", "dr7objid", "GalaxyID", "objid", "sample", "asset_id")  # 18 digits are no float64


def read_votes(path: Path, campaign: str) -> pa.Table:
    """The volunteer table in the normal form of `science.votes.normalise`.

    Parameters
    ----------
    path : Path
        CSV or Parquet.
    campaign : str
        `source.campaign` of the survey.

    Returns
    -------
    pyarrow.Table

    Raises
    ------
    VotesError
        Where it is missing, cut short, or not a table of `campaign`; names the file.
    """
    wanted = delivered_columns(campaign) + (kaggle_columns() if campaign == "gz2" else [])
    table = read_columns(path, wanted)
    try:
        table = normalise(table, campaign)
    except VotesError as error:
        raise VotesError(f"{path}: {error}") from error
    mapping = path.with_name(MAPPING)
    return _by_image(table, mapping) if campaign == "gz2" and mapping.is_file() else table


def _by_image(table: pa.Table, mapping: Path) -> pa.Table:
    """Galaxies by image name; one imaged several times by its `original`, the only ones in images_gz2.zip."""
    columns = ["objid", "sample", "asset_id"]
    names = read_columns(mapping, columns)
    if missing := set(columns) - set(names.column_names):
        raise VotesError(f"{mapping}: no column {', '.join(sorted(missing))}; download it again, or take it away")
    rows = sorted(names.to_pylist(), key=lambda row: row["sample"] == "original")
    image_of = {row["objid"]: row["asset_id"] for row in rows}
    ids = [image_of.get(galaxy, galaxy) for galaxy in table["galaxy_id"].to_pylist()]
    return table.set_column(0, "galaxy_id", pa.array(ids, pa.string()))


def read_columns(path: Path, wanted: Iterable[str]) -> pa.Table:
    """Those of the wanted columns that a CSV or Parquet file has, by name: files may carry an index column.

    Parameters
    ----------
    path : Path
        The file.
    wanted : iterable of str
        Columns.

    Returns
    -------
    pyarrow.Table

    Raises
    ------
    VotesError
        Where the file is absent or cannot be read.
    """
    if not path.is_file():
        raise VotesError(f"{path}: no such file; put the volunteer table there or correct `source.votes`")
    try:
        if path.suffix == ".parquet":
            present = set(parquet.read_schema(path).names)
            return parquet.read_table(path, columns=[name for name in wanted if name in present])
        with path.open(encoding="utf-8-sig", newline="") as stream:
            present = set(next(csv.reader(stream), []))
        columns = [name for name in wanted if name in present]
        types = {name: pa.string() if name in _TEXT else pa.float64() for name in columns}
        convert = arrow_csv.ConvertOptions(include_columns=columns, column_types=types)
        return arrow_csv.read_csv(path, convert_options=convert)
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        raise VotesError(f"{path}: not a readable table, perhaps cut short; download it again ({error})") from error
