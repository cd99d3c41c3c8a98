"""Tables of labels and positions that a person brings along: text, Parquet, FITS, VOTable, ECSV or IPAC.

Belongs here: reading such a file, and ids, classes and positions out of its columns, exactly. Does not belong here:
tables of text (`text_tables`), which format a file has (`table_formats`), which image a row is about
(`deliveries.ids`), volunteer tables (`volunteers`).

Nothing in a table is executed or fetched: no format holds pickles, and a VOTable of rows elsewhere is refused.
"""

import json
import re
from collections import Counter
from collections.abc import Callable, Collection
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.types as kinds

from galaxy_assets.deliveries.angles import degrees_of, degrees_per, is_hours, unit_in
from galaxy_assets.deliveries.decoding.compressed import unpacked
from galaxy_assets.deliveries.images import in_words
from galaxy_assets.deliveries.members import is_no_class, position_of
from galaxy_assets.deliveries.readers.row_counts import check_fits, check_lines, check_rows
from galaxy_assets.deliveries.readers.table_formats import form_of
from galaxy_assets.deliveries.readers.text_tables import read_text_table
from galaxy_assets.deliveries.readers.votables import table_in
from galaxy_assets.settings.files import SurveyError
from galaxy_assets.settings.limits import MAXIMUM_TABLE
from galaxy_assets.settings.printing import logger, printable
from galaxy_assets.settings.regular import read_regular
from galaxy_assets.settings.source import Source

log = logger(__name__)

_NAMES = {
    "text": "a CSV",
    "parquet": "a Parquet table",
    "fits": "a FITS table",
    "votable": "a VOTable",
    "ascii.ecsv": "an ECSV table",
    "ascii.ipac": "an IPAC table",
    "ascii.mrt": "a machine-readable table",
}
# how pandas and spreadsheets write long ids that went through floats
_ROUNDED = re.compile(r"\d{16,}[.,]0+|\d[.,]\d+[eE]\+?\d+|\d[eE]\+\d+")


class RoundedIds(ValueError):
    """Ids that lost their last digits; the message follows on the name of their column."""


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


class LabelTable(NamedTuple):
    """What a table says of galaxies.

    Attributes
    ----------
    entries : list of Entry
        Of the rows that have an id, in the table's order.
    notes : list of str
        How the file was read where that is not plain, and how many rows give no id, class or position, with an example.
    """

    entries: list[Entry]
    notes: list[str]


def read_labels(path: Path, source: Source) -> LabelTable:
    """What a table says of galaxies, from the columns that `source` names.

    Whole numbers become text digit by digit, masked and empty values None, and so does what says that there is none:
    `nan`, `null`, `NA`, `unlabelled`. A position is None unless both coordinates can be read and are on the sphere.

    Parameters
    ----------
    path : Path
        The table's file.
    source : Source
        Its `id_column`, `label_column`, `ra_column` and `dec_column`.

    Returns
    -------
    LabelTable

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
            columns[name] = _READS[name](table[column], unit_of(table, column))
        except ValueError as error:
            raise SurveyError(f"{path}: column {column} {error}, or correct `source.{name}`") from error
    entries, astray, nameless, classless = [], [], [], []
    for row, (galaxy, label, ra, dec) in enumerate(zip(*columns.values(), strict=True), start=1):
        position = position_of(ra, dec)
        if position == (None, None) and None not in (ra, dec):
            astray.append(row)
        if not galaxy:
            nameless.append(row)
            continue
        if label is None and source.label_column is not None:
            classless.append(row)
        entries.append(Entry(galaxy, label, *position))
    notes = notes_of(table)
    for rows, what in ((nameless, "rows name no image"), (classless, "rows give no class")):
        if rows:
            said = _said_instead(table[source.label_column], rows) if rows is classless else ""
            notes.append(f"{len(rows)} {what}, such as row {rows[0]}{said}")
    if astray:
        notes.append(
            f"{len(astray)} positions are no angles or not on the sphere and count as unknown, such as that of row "
            f"{astray[0]}"
        )
    return LabelTable(entries, notes)


def _said_instead(column: pa.ChunkedArray, rows: list[int]) -> str:
    """What the rows without a class have in its place, in brackets; empty where that is nothing."""
    words = Counter(str(cell or "").strip() for cell in column.take([row - 1 for row in rows]).to_pylist())
    said = ", ".join(f'{n} say "{printable(word)}"' for word, n in words.most_common() if word not in ("", "nan"))
    return f" ({said})" if said else ""


def notes_of(table: pa.Table) -> list[str]:
    """How a table was read where that is not plain, and what in its file is no row.

    Parameters
    ----------
    table : pyarrow.Table
        Of `read_table`, or of a reader's `labelled`.

    Returns
    -------
    list of str
    """
    return json.loads((table.schema.metadata or {}).get(b"notes", b"[]"))


def lost_of(table: pa.Table) -> list[str]:
    """Of these notes those on lines that should have given a row and did not."""
    return json.loads((table.schema.metadata or {}).get(b"lost", b"[]"))


def read_table(path: Path, wanted: Collection[str] | None = None, remedy: str = "correct `source.labels`") -> pa.Table:
    """The columns of a table file that hold one value per row.

    Parameters
    ----------
    path : Path
        In a format of `table_formats`, or text (`text_tables`); it may be compressed.
    wanted : Collection of str, optional
        Columns wanted, all when not given; absent ones are left out.
    remedy : str
        What a message ends with.

    Returns
    -------
    pyarrow.Table
        The columns of text are text. A unit, where the file has one, is `unit` in the field's metadata; see `notes_of`.

    Raises
    ------
    SurveyError
        Where there is no such file, or it is not what it seems to be.
    """
    form = "text"
    try:
        form, is_packed = form_of(path)
        if form == "text":
            return _read_text(path, form, wanted)
        read = _read_parquet if form == "parquet" else _read_astropy
        if not is_packed:
            return read(path, form, wanted)
        with NamedTemporaryFile() as file:  # astropy would unpack without an end
            file.write(unpacked(read_regular(path, MAXIMUM_TABLE)))
            file.flush()
            return read(Path(file.name), form, wanted)
    except FileNotFoundError as error:
        raise SurveyError(f"{path}: no such file; {remedy}") from error
    except Exception as error:  # of many classes: astropy, Arrow, YAML, expat and zlib have their own
        why = in_words(error)
        raise SurveyError(f"{path}: cannot be read as {_NAMES[form]}: {why}; {remedy}") from error


def _read_text(path: Path, form: str, wanted: Collection[str] | None) -> pa.Table:
    table, text = read_text_table(path, wanted), pa.string()
    kept = [(i, name) for i, name in enumerate(table.names) if wanted is None or name in wanted]
    fields = [pa.field(name, text, metadata={"unit": table.units.get(name, "")}) for _, name in kept]
    told = {"notes": json.dumps(table.notes), "lost": json.dumps(table.lost)}
    return pa.table([[row[i] for row in table.rows] for i, _ in kept], schema=pa.schema(fields, told))


def _read_parquet(path: Path, form: str, wanted: Collection[str] | None) -> pa.Table:
    import pyarrow.parquet as pq

    about = pq.read_schema(path)
    names = [name for name in about.names if wanted is None or name in wanted]
    texts = [name for name in names if kinds.is_string(about.field(name).type)]
    file = pq.ParquetFile(path, read_dictionary=texts)  # a text that many rows share is there once
    check_rows(file.metadata.num_rows)
    if b"table_meta_yaml" in (about.metadata or {}):  # astropy's own, with units
        return _read_astropy(path, form, wanted)
    table = file.read(names)
    if len(table) != file.metadata.num_rows:
        raise ValueError(f"its footer has {file.metadata.num_rows} rows, of which {len(table)} are there")
    for name in names:
        if kinds.is_dictionary(table[name].type) and (size := _written_out(table[name])) > MAXIMUM_TABLE:
            raise ValueError(f"column {name} has {size} bytes when it is written out, more than {MAXIMUM_TABLE}")
    return table


def _written_out(column: pa.ChunkedArray) -> int:
    """Bytes of a column of texts that is kept as a dictionary."""
    import pyarrow.compute as pc

    kind = column.type.value_type
    if not (kinds.is_string(kind) or kinds.is_large_string(kind)):
        return 0
    lengths = [pc.sum(pc.binary_length(one.dictionary).take(one.indices)).as_py() for one in column.chunks]
    return sum(filter(None, lengths))


def _read_astropy(path: Path, form: str, wanted: Collection[str] | None) -> pa.Table:
    from astropy.table import Table

    notes: list[str] = []
    if form == "votable":
        table, notes = table_in(path)
    elif form == "fits":
        check_fits(path)
        table = Table.read(path, format=form, unit_parse_strict="silent")
    else:
        table = Table.read(path, format=form)
    if form == "ascii.ecsv":
        check_lines(path, len(table))
    fields, arrays = [], []
    for name in table.colnames:
        if (wanted is None or name in wanted) and (array := _arrow(table[name])) is not None:
            unit = getattr(table[name], "unit", None)
            fields.append(pa.field(name, array.type, metadata={"unit": str(unit)} if unit else None))
            arrays.append(array)
    return pa.table(arrays, schema=pa.schema(fields)).replace_schema_metadata({"notes": json.dumps(notes)})


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


def unit_of(table: pa.Table, column: str) -> str | None:
    """The unit of a column of coordinates: the file's, else the one in its name; None where there is none."""
    unit = (table.schema.field(column).metadata or {}).get(b"unit")
    return unit.decode() if unit else unit_in(column)


def _text(column: pa.ChunkedArray) -> list[str | None] | None:
    """Text, or whole numbers as text; None where the column holds something else."""
    import pyarrow.compute as pc

    if kinds.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    if kinds.is_null(column.type):
        return column.cast(pa.string()).to_pylist()
    whole = kinds.is_integer(column.type) or (kinds.is_decimal(column.type) and column.type.scale == 0)
    text = kinds.is_string(column.type) or kinds.is_large_string(column.type) or kinds.is_string_view(column.type)
    binary = kinds.is_binary(column.type) or kinds.is_large_binary(column.type)
    return pc.cast(column, pa.string()).to_pylist() if whole or text or binary else None


def _whole(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Floats as whole numbers where all are and none can have lost a digit, as pandas has whole numbers with gaps."""
    if not kinds.is_floating(column.type):
        return column
    values = column.to_numpy()
    given = values[~np.isnan(values)]
    exact = 2.0 ** (np.finfo(values.dtype).nmant + 1)
    if not (np.abs(given) < exact).all() or (given % 1).any():
        return column
    return pa.chunked_array([pa.array([None if value != value else int(value) for value in values], pa.int64())])


def ids_of(column: pa.ChunkedArray, unit: str | None = None) -> list[str | None]:
    """The ids that a column of `read_table` holds, as text.

    Parameters
    ----------
    column : pyarrow.ChunkedArray
        Text or whole numbers; floats where all are whole and exact.
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
    column = _whole(column)
    texts = _text(column)
    if texts is None:
        values = column.to_numpy() if kinds.is_floating(column.type) else np.empty(0)
        values = values[np.isfinite(values)]
        raise (RoundedIds if values.size and not (values % 1).any() else ValueError)(
            f"holds {column.type} values{f' such as {values[0]:.6g}' if values.size else ''}; ids are text or whole "
            "numbers, since decimal numbers keep 15 digits and could name another image. Save it as one of these"
        )
    ids = [None if text is None else text.strip() for text in texts]
    given = [name for name in ids if name]
    if given and all(_ROUNDED.fullmatch(name) for name in given):
        raise RoundedIds(
            f"holds ids such as {given[0]}, which went through decimal numbers and lost their last digits. Save it "
            "again as text or whole numbers"
        )
    return ids


def labels_of(column: pa.ChunkedArray, unit: str | None = None) -> list[str | None]:
    """Classes of a column, each as text; None where there is none.

    Parameters
    ----------
    column : pyarrow.ChunkedArray
        Text, whole numbers, booleans, or lists of one of them.
    unit : str, optional
        Says nothing here.

    Returns
    -------
    list of str or None

    Raises
    ------
    ValueError
        Where its type holds no classes; says why.
    """
    if kinds.is_boolean(column.type):
        return [None if value is None else str(value) for value in column.to_pylist()]
    if kinds.is_floating(column.type):  # whole numbers with gaps are floats in pandas
        values = [None if value is None or value != value else value for value in column.to_pylist()]
        if all(value is None or value.is_integer() for value in values):
            return [None if value is None else str(int(value)) for value in values]
    if kinds.is_list(column.type) or kinds.is_large_list(column.type):
        values = column.to_pylist()
        if any(value is not None and len(value) > 1 for value in values):
            raise ValueError("holds lists of classes; an image has one. Save one of them as a column")
        column = pa.chunked_array([pa.array([value[0] if value else None for value in values])])
    labels = _text(column)
    if labels is None:
        raise ValueError(f"holds {column.type} values; a class is text or a whole number. Save it as one of these")
    return [None if label is None or is_no_class(label) else printable(label.strip()) for label in labels]


def _angles(hours: bool) -> Callable[[pa.ChunkedArray, str | None], list[float | None]]:
    """What reads a column of right ascensions (`hours` where they are written 12:30:00) or declinations.

    What is no angle is NaN there; a column of nothing else is refused.
    """

    def degrees(column: pa.ChunkedArray, unit: str | None) -> list[float | None]:
        factor = 1.0 if unit is None else degrees_per(unit)
        numbers = kinds.is_floating(column.type) or kinds.is_integer(column.type) or kinds.is_decimal(column.type)
        values = column.to_pylist() if numbers or kinds.is_null(column.type) else _text(column)
        if values is None:
            raise ValueError(f"holds {column.type} values; write it in degrees")
        sexagesimal = hours if unit is None else is_hours(unit)
        angles = [None if value is None else _degrees(value, factor, sexagesimal) for value in values]
        given = [(value, angle) for value, angle in zip(values, angles, strict=True) if angle is not None]
        if given and all(np.isnan(angle) for _, angle in given):
            wanted = "12:30:00 or 12h30m00s" if hours else "-30:15:00 or -30d15m00s"
            raise ValueError(f"holds {given[0][0]!r}, which is no angle; write it in degrees, or as {wanted}")
        return angles

    return degrees


def _degrees(value: Any, factor: float, hours: bool) -> float | None:
    if isinstance(value, str) and is_no_class(value):
        return None
    try:
        number = float(value.replace(",", ".") if isinstance(value, str) else value) * factor
    except ValueError:
        return _sexagesimal(value, hours)
    return number if np.isfinite(number) else None


def _sexagesimal(text: str, hours: bool) -> float:
    from astropy.coordinates import Angle

    try:
        angle: Any = Angle(text, unit="hourangle" if hours else "deg")
        return float(angle.deg)
    except (ValueError, TypeError):
        (degrees,) = degrees_of([text], "ra" if hours else "dec", None)
        return np.nan if degrees is None else degrees


right_ascensions, declinations = _angles(True), _angles(False)
"""What makes degrees of a column and its unit: NaN of what is no angle, ValueError of a column of nothing else."""

_READS = {
    "id_column": ids_of,
    "label_column": labels_of,
    "ra_column": right_ascensions,
    "dec_column": declinations,
}
"""What each of the settings that name a column makes of it: a list with a value per row."""
