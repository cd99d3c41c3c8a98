"""Volunteer tables as Galaxy Zoo publishes them, CSV or Parquet.

    gz_decals_volunteers_1_and_2.csv, _5.csv     Galaxy Zoo DECaLS (Walmsley et al. 2022), galaxies by `iauname`
    gz2_hart16.csv                               Galaxy Zoo 2 (Hart et al. 2016), galaxies by `dr7objid`; if
    gz2_filename_mapping.csv                     lies beside it, by the names of the images in images_gz2.zip
    training_solutions_rev1.csv                  Galaxy Zoo 2 as Kaggle has it, galaxies by `GalaxyID`

Belongs here: reading these files. Does not belong here: what the votes mean (`science.votes`).
"""

import csv
import re
from collections.abc import Iterable
from pathlib import Path

import pyarrow as pa
from pyarrow import csv as arrow_csv
from pyarrow import parquet

from galaxy_assets.deliveries.images import in_words
from galaxy_assets.deliveries.readers.row_counts import check_lines
from galaxy_assets.deliveries.readers.text_tables import separator
from galaxy_assets.science.votes import VotesError, delivered_columns, kaggle_columns, normalise

MAPPING = "gz2_filename_mapping.csv"
_IDS = ("iau_name", "id_str", "galaxy_id", "id", "name")  # instead of `iauname`
_RELEASE = re.compile(r"-(dr\d+|gz\d)_")  # in the names of galaxy-datasets: smooth-or-featured-dr5_smooth
_NOTHING = ["", "nan", "NaN", "NA", "N/A", "n/a", "null", "NULL", "None", "<NA>", "--", "-"]
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
            found = _wanted(parquet.read_schema(path).names, wanted)
            table = parquet.read_table(path, columns=list(found))
        else:
            delimiter, encoding = separator(path)
            with path.open(encoding=encoding, newline="") as stream:
                names = [name.strip() for name in next(csv.reader(stream, delimiter=delimiter), [])]
            found = _wanted(names, wanted)
            types = {name: pa.string() if new in _TEXT else pa.float64() for name, new in found.items()}
            table = arrow_csv.read_csv(
                path,
                read_options=arrow_csv.ReadOptions(
                    column_names=names, skip_rows=1, encoding=encoding.removesuffix("-sig")
                ),
                parse_options=arrow_csv.ParseOptions(delimiter=delimiter),
                convert_options=arrow_csv.ConvertOptions(
                    include_columns=list(found), column_types=types, null_values=_NOTHING, strings_can_be_null=True
                ),
            )
            check_lines(path, len(table), encoding)
        return table.rename_columns([found[name] for name in table.column_names])
    except Exception as error:  # of many classes
        remedy = (
            "numbers have a point, and empty cells for nothing"
            if "conversion" in str(error)
            else "perhaps cut short: download it again"
        )
        raise VotesError(f"{path}: not a readable table of votes ({in_words(error)}); {remedy}") from error


def _wanted(names: list[str], wanted: Iterable[str]) -> dict[str, str]:
    """The wanted columns by what they are called here: a catalogue may name the galaxies, or a campaign, otherwise."""
    wanted = list(wanted)
    found = {name: name for name in names if name in wanted}
    for name in names:
        plain = _RELEASE.sub("_", name)
        if plain in wanted and plain not in found.values():
            found[name] = plain
    called = [name for name in names if name.lower() in _IDS]
    if "iauname" in wanted and "iauname" not in found.values() and len(called) == 1:
        found[called[0]] = "iauname"
    return found
