"""Tables as files for other programs: CSV, Parquet, VOTable, FITS, with what their columns hold.

What a field's metadata say (`meanings`) becomes `description`, `unit` and `ucd` of a VOTable's FIELD; TCOMM, TUNIT and
TUCD of a FITS column, whose TCOMM also says its name where FITS has no such names; and in Parquet the metadata of the
field, and, where astropy is installed and VOTable has a type for every column, a VOTable without data in the file's own
metadata, as the IVOA Note VOParquet 1.0 has it. A CSV has no place for it.

Belongs here: from a table to bytes. Does not belong here: which rows and columns (`export`), what columns hold
(`meanings`), the lake's own files (`storage.tables`).
"""

import io
import itertools
import json
import re
import unicodedata
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pyarrow as pa

from galaxy_assets.lake.light import needs_the_whole
from galaxy_assets.lake.meanings import meaning_of
from galaxy_assets.settings.printing import logger
from galaxy_assets.settings.spreadsheets import for_spreadsheets
from galaxy_assets.storage.files import replacing
from galaxy_assets.storage.tables import column_to_vectors, with_schema

if TYPE_CHECKING:
    from astropy.io.votable.tree import VOTableFile

log = logger(__name__)

Format = Literal["csv", "parquet", "votable", "fits"]

SUFFIXES: dict[Format, str] = {"csv": ".csv", "parquet": ".parquet", "votable": ".vot", "fits": ".fits"}
"""Format -> suffix of its files."""


def formats_of(asked: str | Sequence[str]) -> list[Format]:
    """Formats by their names.

    Parameters
    ----------
    asked : str or sequence of str
        One or several.

    Returns
    -------
    list of Format

    Raises
    ------
    ValueError
        For one that is none.

    Examples
    --------
    >>> formats_of("votable")
    ['votable']
    """
    names = [asked] if isinstance(asked, str) else asked
    if unknown := [name for name in names if name not in SUFFIXES]:
        raise ValueError(f"no format {unknown[0]!r}; there are {', '.join(SUFFIXES)}")
    return [form for form in SUFFIXES if form in names]


def write_as(table: pa.Table, path: Path, form: Format, name: str = "") -> None:
    """Write a table, whole or not at all.

    A text is empty where it is null, a floating number NaN; whole numbers and flags keep their nulls. A vector is an
    array in VOTable and FITS; in CSV, as all that is neither number, flag nor text, it is JSON.

    Parameters
    ----------
    table : pyarrow.Table
        With the metadata of `meanings.with_meanings`, as far as they are known.
    path : Path
        The file.
    form : {'csv', 'parquet', 'votable', 'fits'}
        Its format.
    name : str
        Of the table, in VOTable and FITS.

    Raises
    ------
    ValueError
        For a text that the format cannot hold: FITS has ASCII alone, VOTable no control characters.
    NotWritten
        Where the disk is full or may not be written.
    PrintableError
        For VOTable and FITS where astropy is not installed.
    """
    writer = {"csv": _to_csv, "parquet": _to_parquet, "votable": _to_votable, "fits": _to_fits}[form]
    if form in ("votable", "fits"):
        needs_the_whole(f"a table as {form}", "astropy")
    with replacing(path) as partial:
        writer(table, partial, name)


def _to_csv(table: pa.Table, path: Path, name: str) -> None:
    from pyarrow import csv

    plain = [column if _plain(column.type) else _as_text(column) for column in table.columns]
    csv.write_csv(for_spreadsheets(pa.table(plain, names=table.column_names)), path)


def _to_parquet(table: pa.Table, path: Path, name: str) -> None:
    import pyarrow.parquet as pq

    about = None
    # else descriptions and units in the schema alone: the light half has no astropy, VOTable no such types
    if find_spec("astropy") is not None and all(map(_in_votable, table.columns)):
        about = {b"IVOA.VOTable-Parquet.version": b"1.0", b"IVOA.VOTable-Parquet.content": _head(table, name)}
    schema = table.schema.with_metadata(about)
    pq.write_table(with_schema(table, schema), path, compression="zstd", write_page_checksum=True)


def _in_votable(column: pa.ChunkedArray) -> bool:
    """Whether VOTable has a type for the values as they are."""
    kind = column.type
    number = pa.types.is_floating(kind) or pa.types.is_integer(kind) or pa.types.is_boolean(kind)
    return number or _is_text(kind) or _is_vector(column)


def _head(table: pa.Table, name: str) -> bytes:
    """A VOTable without rows that says what the columns hold."""
    text, described = io.BytesIO(), _votable(table[:0], name)
    for field, column in zip(described.get_first_table().fields, table.columns, strict=True):
        if field.datatype == "unicodeChar":  # astropy reads no texts of any length here
            field.arraysize = str(_longest(column))
    described.to_xml(text)
    return text.getvalue()


def _to_votable(table: pa.Table, path: Path, name: str) -> None:
    with path.open("wb") as file:
        _votable(table, name).to_xml(file)


def _votable(table: pa.Table, name: str) -> "VOTableFile":
    from astropy.io.votable import from_table
    from astropy.table import Table

    made = Table({column: _values(table, column, "VOTable", _unprintable) for column in table.column_names})
    votable = from_table(made)
    (inside,) = votable.resources[0].tables
    inside.name = name or None
    for field, column in zip(inside.fields, table.schema, strict=True):
        meaning = meaning_of(column)
        field.description, field.ucd = meaning.description or None, meaning.ucd or None
        field.unit = meaning.unit or None
    return votable


def _to_fits(table: pa.Table, path: Path, name: str) -> None:
    from astropy.io import fits

    made, null, called = [], {}, _names_in_fits(table.column_names)
    for column in table.column_names:
        values = _values(table, column, "FITS", _no_ascii)
        if isinstance(values, np.ma.MaskedArray) and values.dtype.kind in "iub":
            values = values.astype(np.int16) if values.dtype.kind == "b" or values.dtype.itemsize == 1 else values
            null[column] = int(np.iinfo(values.dtype).min)
            values = values.filled(null[column])
        made.append(fits.Column(called[column], _fits_format(values), array=values, null=null.get(column)))
    hdu = fits.BinTableHDU.from_columns(made, name=name or None)
    for number, field in enumerate(table.schema, 1):
        meaning, about = meaning_of(field), meaning_of(field).description
        if called[field.name] != field.name:
            about = f"{json.dumps(field.name)}: {about}"
            log.warning("FITS has no such column names as %r: it is called %s there", field.name, called[field.name])
        for key, text in ("TUNIT", meaning.unit), ("TUCD", meaning.ucd), ("TCOMM", about):
            if text:
                hdu.header[f"{key}{number}"] = _QUOTE.sub(r"\\u0027", text.encode("ascii", "replace").decode())
    with path.open("wb") as file:
        fits.HDUList([fits.PrimaryHDU(), hdu]).writeto(file)


_QUOTE = re.compile("'(?= */)")
"""An apostrophe that astropy takes for the end of a value, and what follows for a comment."""


def _names_in_fits(names: Sequence[str]) -> dict[str, str]:
    """What columns are called in FITS, which has printable ASCII of at most 68 letters on one card."""

    def fits_in(name: str) -> bool:
        plain = name.isascii() and name.isprintable() and name == name.strip() and not _QUOTE.search(name)
        return plain and 0 < len(name.replace("'", "''")) <= 68

    called = {name: name for name in names if fits_in(name)}
    taken = {name.lower() for name in called}
    for name in names:
        if name in called:
            continue
        ascii_ = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode()
        stem = re.sub(r"\W+", "_", ascii_).strip("_")[:60] or "column"
        numbered = (stem if number == 1 else f"{stem}_{number}" for number in itertools.count(1))
        called[name] = next(one for one in numbered if one.lower() not in taken)
        taken.add(called[name].lower())
    return called


def _fits_format(values: np.ndarray) -> str:
    if values.dtype.kind == "S":
        return f"{max(values.dtype.itemsize, 1)}A"
    letter = {"b1": "L", "u1": "B", "i2": "I", "i4": "J", "i8": "K", "f4": "E", "f8": "D"}[values.dtype.str[1:]]
    return f"{values.shape[1]}{letter}" if values.ndim == 2 else letter


def _values(table: pa.Table, name: str, form: str, wrong: Any) -> np.ndarray:
    """A column as what astropy takes: texts without nulls, masked whole numbers and flags, arrays for vectors."""
    column = table[name]
    kind = column.type
    if _is_vector(column):
        return column_to_vectors(column) if len(column) else np.empty((0, kind.list_size), np.float32)
    if pa.types.is_floating(kind):
        return column.to_numpy().astype(np.float64 if kind != pa.float32() else np.float32)
    if pa.types.is_boolean(kind) or pa.types.is_integer(kind):
        nulls = column.is_null().to_numpy()
        values = column.fill_null(False if pa.types.is_boolean(kind) else 0).to_numpy()
        values = values.astype(np.int16 if values.dtype == np.int8 else _signed(values.dtype))
        return np.ma.array(values, mask=nulls) if nulls.any() else values
    texts = [text or "" for text in (column if _is_text(kind) else _as_text(column)).to_pylist()]
    if (bad := next((text for text in texts if wrong(text)), None)) is not None:
        raise ValueError(f"column {name} holds {bad[:80]!r}, which {form} cannot hold; write parquet or csv")
    return np.array(texts, "S" if form == "FITS" else "U") if texts else np.empty(0, "S1" if form == "FITS" else "U1")


def _signed(kind: np.dtype) -> np.dtype:
    """The type that holds the same whole numbers in every format; 64 bits without a sign have none."""
    larger = {np.dtype(np.uint16): np.int32, np.dtype(np.uint32): np.int64, np.dtype(np.uint64): np.int64}
    return np.dtype(larger.get(kind, kind))


def _is_vector(column: pa.ChunkedArray) -> bool:
    kind = column.type
    return pa.types.is_fixed_size_list(kind) and pa.types.is_float32(kind.value_type) and not column.null_count


def _is_text(kind: pa.DataType) -> bool:
    inner = kind.value_type if pa.types.is_dictionary(kind) else kind
    return pa.types.is_string(inner) or pa.types.is_large_string(inner) or pa.types.is_string_view(inner)


def _plain(kind: pa.DataType) -> bool:
    """Whether a CSV holds it as it is."""
    return _is_text(kind) or pa.types.is_primitive(kind) or pa.types.is_null(kind) or pa.types.is_dictionary(kind)


def _longest(column: pa.ChunkedArray) -> int:
    """Characters of the longest text."""
    import pyarrow.compute as pc

    return pc.max(pc.utf8_length(column.cast(pa.large_string()))).as_py() or 1


def _as_text(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Values of other types as JSON; times as ISO 8601."""
    values = column.to_pylist()
    texts = [v if v is None or isinstance(v, str) else json.dumps(v, default=str).strip('"') for v in values]
    return pa.chunked_array([pa.array(texts, pa.string())])


def _no_ascii(text: str) -> bool:
    return not text.isascii()


def _unprintable(text: str) -> bool:
    """Whether XML 1.0 has no such character."""
    return any(letter < " " and letter not in "\t\n\r" or "\ud800" <= letter <= "\udfff" for letter in text) or any(
        letter in text for letter in "\ufffe\uffff"
    )
