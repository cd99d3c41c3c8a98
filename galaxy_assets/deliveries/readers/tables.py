"""Tables of labels and positions that a person brings along: CSV, Parquet, FITS, VOTable or ECSV, by their suffix.

Belongs here: reading such a file, and ids, classes and positions out of its columns, exactly. Does not belong here:
which image a row is about (`image_folder`), volunteer tables (`volunteers`).

Nothing in a table is executed or fetched: no format here holds pickles, and a VOTable whose rows lie elsewhere is
refused.
"""

import csv
import logging
import re
import zlib
from collections.abc import Collection
from pathlib import Path
from typing import Any, NamedTuple
from xml.parsers.expat import ExpatError

import numpy as np
import pyarrow as pa
import pyarrow.types as kinds
import yaml

from galaxy_assets.settings.files import SurveyError
from galaxy_assets.settings.source import Source

log = logging.getLogger(__name__)

_ASTROPY = {
    ".fits": "fits",
    ".fit": "fits",
    ".fits.gz": "fits",
    ".vot": "votable",
    ".votable": "votable",
    ".xml": "votable",
    ".ecsv": "ascii.ecsv",
}
_NAMES = {
    "csv": "a CSV in UTF-8",
    "parquet": "a Parquet table",
    "fits": "a FITS table",
    "votable": "a VOTable",
    "ascii.ecsv": "an ECSV table",
}
_DAMAGE = (
    OSError,
    ValueError,
    TypeError,
    KeyError,
    IndexError,
    SyntaxError,  # what astropy says of a VOTable that is none
    ExpatError,
    zlib.error,
    csv.Error,
    yaml.YAMLError,
    pa.ArrowException,
)
# how pandas and spreadsheets write long ids that went through floats
_ROUNDED = re.compile(r"\d{16,}\.0|\d\.\d+[eE]\+\d+")


class Entry(NamedTuple):
    """What a table says of one galaxy.

    Attributes
    ----------
    name : str
        Its id.
    label : str or None
        Its class.
    ra, dec : float or None
        Right ascension and declination in degrees.
    """

    name: str
    label: str | None
    ra: float | None
    dec: float | None


def read_entries(path: Path, source: Source) -> list[Entry]:
    """The rows of a table that have an id, in the table's order, from the columns that `source` names.

    Whole numbers become text digit by digit, masked and empty values None. A position is None unless both coordinates
    are there and on the sphere.

    Parameters
    ----------
    path : Path
        The table's file.
    source : Source
        Its `id_column`, `label_column`, `ra_column` and `dec_column`.

    Returns
    -------
    list of Entry

    Raises
    ------
    SurveyError
        Where the file cannot be read or a column is missing or does not hold what its setting says; names the file, the
        reason and the setting to correct.
    """
    named = {name: getattr(source, name) for name in _READS if getattr(source, name) is not None}
    table = read_table(path, set(named.values()))
    if missing := [column for column in named.values() if column not in table.column_names]:
        raise SurveyError(
            f"{path}: no column {', '.join(missing)}; it has {', '.join(read_table(path).column_names)}. "
            f"Correct {' and '.join(f'`source.{name}`' for name in named)}"
        )
    columns: dict[str, list[Any]] = {name: [None] * len(table) for name in _READS}
    for name, column in named.items():
        try:
            columns[name] = _READS[name](table[column], _unit(table, column))
        except ValueError as error:
            raise SurveyError(f"{path}: column {column} {error}, or correct `source.{name}`") from error
    entries, astray = [], 0
    for galaxy, label, ra, dec in zip(*columns.values(), strict=True):
        position = None, None
        if ra is not None and dec is not None:
            on_sphere = -180 <= ra <= 360 and -90 <= dec <= 90
            position = (ra % 360, dec) if on_sphere else (None, None)
            astray += not on_sphere
        if galaxy:
            entries.append(Entry(galaxy, label or None, *position))
    if astray:
        log.warning("%s: %d positions are not on the sphere and count as unknown", path, astray)
    return entries


def read_table(path: Path, wanted: Collection[str] | None = None) -> pa.Table:
    """The columns of a table file that hold one value per row.

    Parameters
    ----------
    path : Path
        CSV, Parquet, FITS, VOTable or ECSV, by its suffix.
    wanted : Collection of str, optional
        Columns wanted, all when not given; absent ones are left out.

    Returns
    -------
    pyarrow.Table
        The columns of a CSV are text. A unit, where the file has one, is `unit` in the field's metadata.

    Raises
    ------
    SurveyError
        Where the file is not what its suffix says.
    """
    known = {".parquet": "parquet"} | _ASTROPY
    form = next((known[suffix] for suffix in known if path.name.lower().endswith(suffix)), "csv")
    read = {"csv": _read_csv, "parquet": _read_parquet}.get(form, _read_astropy)
    try:
        return read(path, form, wanted)
    except _DAMAGE as error:
        raise SurveyError(f"{path}: cannot be read as {_NAMES[form]}: {error}; correct `source.labels`") from error


def _read_csv(path: Path, form: str, wanted: Collection[str] | None) -> pa.Table:
    with path.open(encoding="utf-8-sig", newline="") as stream:
        rows = csv.DictReader(stream)
        names = [name for name in rows.fieldnames or [] if wanted is None or name in wanted]
        values = [[row[name] for name in names] for row in rows]
    columns = zip(*values, strict=True) if values else ((),) * len(names)
    return pa.table({name: pa.array(column, pa.string()) for name, column in zip(names, columns, strict=True)})


def _read_parquet(path: Path, form: str, wanted: Collection[str] | None) -> pa.Table:
    import pyarrow.parquet as pq

    file = pq.ParquetFile(path)
    if b"table_meta_yaml" in (file.schema_arrow.metadata or {}):  # astropy's own, with units
        return _read_astropy(path, form, wanted)
    return file.read([name for name in file.schema_arrow.names if wanted is None or name in wanted])


def _read_astropy(path: Path, form: str, wanted: Collection[str] | None) -> pa.Table:
    from astropy.table import Table

    options: dict[str, Any] = {}
    if form == "votable":
        _refuse_references(path)
        options = {"use_names_over_ids": True}  # TOPCAT's IDs are col1, col2
    elif form == "fits":
        options = {"unit_parse_strict": "silent"}
    table = Table.read(path, format=form, **options)
    fields, arrays = [], []
    for name in table.colnames:
        if (wanted is None or name in wanted) and (array := _arrow(table[name])) is not None:
            unit = getattr(table[name], "unit", None)
            fields.append(pa.field(name, array.type, metadata={"unit": str(unit)} if unit else None))
            arrays.append(array)
    return pa.table(arrays, schema=pa.schema(fields))


def _refuse_references(path: Path) -> None:
    """Raise ValueError where a VOTable has its rows at an address, which astropy would open, be it a file or a host."""
    from astropy.utils.xml.iterparser import get_xml_iterator

    with get_xml_iterator(path) as elements:
        for begins, tag, attributes, _ in elements:
            if begins and tag.rpartition(":")[2] == "STREAM" and "href" in attributes:
                raise ValueError(f"its rows are at {attributes['href']}; save it with its rows inside")


def _arrow(column: Any) -> pa.Array | None:
    """A column of an astropy table; None unless it has one number, text or truth value per row."""
    values = np.asarray(getattr(column, "value", column))
    types = {"i": pa.int64(), "u": pa.uint64(), "f": pa.float64(), "b": pa.bool_()}
    if values.ndim != 1 or values.dtype.kind not in "iufbUSO":
        return None
    masked = np.broadcast_to(getattr(column, "mask", False), values.shape)
    cells = [None if missing else value for value, missing in zip(values.tolist(), masked.tolist(), strict=True)]
    if values.dtype.kind in types:
        return pa.array(cells, types[values.dtype.kind])
    cells = [cell.decode() if isinstance(cell, bytes) else cell for cell in cells]
    return pa.array(cells, pa.string()) if all(isinstance(cell, str | None) for cell in cells) else None


def _unit(table: pa.Table, column: str) -> str | None:
    unit = (table.schema.field(column).metadata or {}).get(b"unit")
    return unit.decode() if unit else None


def _text(column: pa.ChunkedArray) -> list[str | None] | None:
    """Text, or whole numbers as text; None where the column holds something else."""
    import pyarrow.compute as pc

    if kinds.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    whole = kinds.is_integer(column.type) or (kinds.is_decimal(column.type) and column.type.scale == 0)
    text = kinds.is_string(column.type) or kinds.is_large_string(column.type) or kinds.is_string_view(column.type)
    binary = kinds.is_binary(column.type) or kinds.is_large_binary(column.type)
    return pc.cast(column, pa.string()).to_pylist() if whole or text or binary else None


def ids_of(column: pa.ChunkedArray, unit: str | None = None) -> list[str | None]:
    """The ids that a column of `read_table` holds, as text.

    Parameters
    ----------
    column : pyarrow.ChunkedArray
        Text or whole numbers.
    unit : str, optional
        Taken as of any column; ids have none.

    Returns
    -------
    list of str or None

    Raises
    ------
    ValueError
        Where the column holds decimal numbers or anything else that is no exact id; says why.
    """
    ids = _text(column)
    if ids is None:
        raise ValueError(
            f"holds {column.type} values; ids are text or whole numbers, since decimal numbers keep 15 digits and "
            "could name another image. Save it as one of these"
        )
    given = [name for name in ids if name]
    if given and all(_ROUNDED.fullmatch(name) for name in given):
        raise ValueError(
            f"holds ids such as {given[0]}, which went through decimal numbers and lost their last digits. Save it "
            "again as text or whole numbers"
        )
    return ids


def _labels(column: pa.ChunkedArray, unit: str | None) -> list[str | None]:
    if kinds.is_boolean(column.type):
        return [None if value is None else str(value) for value in column.to_pylist()]
    if kinds.is_floating(column.type):  # whole numbers with gaps are floats in pandas
        values = [None if value is None or value != value else value for value in column.to_pylist()]
        if all(value is None or value.is_integer() for value in values):
            return [None if value is None else str(int(value)) for value in values]
    labels = _text(column)
    if labels is None:
        raise ValueError(f"holds {column.type} values; a class is text or a whole number. Save it as one of these")
    return labels


def _degrees(column: pa.ChunkedArray, unit: str | None) -> list[float | None]:
    factor = 1.0 if unit is None else _degrees_per(unit)
    if not (kinds.is_floating(column.type) or kinds.is_integer(column.type) or kinds.is_decimal(column.type)):
        values = _text(column)
        if values is None:
            raise ValueError(f"holds {column.type} values; write it in degrees")
    else:
        values = column.to_pylist()
    degrees = []
    for value in values:
        try:
            number = float("nan" if value is None or value == "" else value)
        except ValueError:
            raise ValueError(f"holds {value!r}, which is not a number of degrees; write it in degrees") from None
        degrees.append(number * factor if np.isfinite(number) else None)
    return degrees


def _degrees_per(unit: str) -> float:
    from astropy import units

    lower = unit.strip().lower()
    known: list[Any] = [units.Unit(text, parse_strict="silent") for text in (unit, lower, lower.removesuffix("s"))]  # pyright: ignore[reportCallIssue]
    found = next((unit for unit in known if not isinstance(unit, units.UnrecognizedUnit)), known[0])
    try:
        # catalogues write the hours of right ascension as hours of time
        one: Any = units.Quantity(1, units.hourangle if found == units.hour else found)
        return one.to_value(units.deg)
    except ValueError:  # UnitConversionError is one
        raise ValueError(f"has the unit {unit!r}, which is no angle; give it one, such as deg") from None


_READS = {"id_column": ids_of, "label_column": _labels, "ra_column": _degrees, "dec_column": _degrees}
"""What each of the settings that name a column makes of it: a list with a value per row."""
