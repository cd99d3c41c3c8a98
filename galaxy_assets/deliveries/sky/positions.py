"""The positions of a survey: read from a person's table, and kept as the table that its images are looked up in.

    positions.parquet    id, file, ra, dec and, where the table has classes, label; one row per object

Belongs here: which columns hold what, ids and file names, what is left out. Does not belong here: file formats
(`readers.tables`), units (`angles`).
"""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import pyarrow as pa

from galaxy_assets.deliveries.angles import degrees_of, is_hours, plain_name
from galaxy_assets.deliveries.manifests import composed
from galaxy_assets.deliveries.readers.catalogue import distinct_ids
from galaxy_assets.deliveries.readers.tables import ids_of, labels_of, notes_of, read_table, unit_of
from galaxy_assets.deliveries.sky.names import file_stem, position_id
from galaxy_assets.settings.files import SurveyError
from galaxy_assets.settings.printing import printable
from galaxy_assets.storage.files import replacing

NAME = "positions.parquet"

# names of columns, lower case and letters and digits alone, the likeliest first
_PAIRS = (
    ("ra", "dec"),
    ("ra", "de"),
    ("raj2000", "decj2000"),
    ("raj2000", "dej2000"),
    ("raicrs", "decicrs"),
    ("raicrs", "deicrs"),
    ("radeg", "decdeg"),
    ("radeg", "dedeg"),
    ("ra2000", "dec2000"),
    ("ra2000", "de2000"),
    ("alphaj2000", "deltaj2000"),
    ("alphawinj2000", "deltawinj2000"),
    ("alphapsfj2000", "deltapsfj2000"),
    ("coordra", "coorddec"),
    ("rightascension", "declination"),
    ("targetra", "targetdec"),
    ("objra", "objdec"),
    ("sra", "sdec"),
    ("meanra", "meandec"),
    ("ramean", "decmean"),
    ("alpha", "delta"),
    ("rarad", "decrad"),
    ("rahours", "decdeg"),
    ("rahms", "decdms"),
)
# each alone says what it is, so that the two may be spelt differently; alpha and delta say much else
_AXES = tuple({name for name in axis if name not in ("alpha", "delta")} for axis in zip(*_PAIRS, strict=True))
_LIKE = (
    re.compile(r"(?<![A-Za-z])(ra([hms]|deg|j?\d+)?|alpha\w*|right.?asc\w*)(?![A-Za-z])", re.IGNORECASE),
    re.compile(r"(?<![A-Za-z])(de(c|cl)?([dms]|deg|j?\d+)?|delta\w*|declination\w*)(?![A-Za-z])", re.IGNORECASE),
)
_IDS = (
    "galaxyid id name objectid objid idstr iauname sourceid sourcename objname object designation source mainid "
    "targetid dr7objid dr8objid specobjid galaxy"
).split()


class Columns(NamedTuple):
    """What a person says of a table; None where it is to be found out.

    Attributes
    ----------
    id, label, ra, dec : str or None
        Names of columns.
    units : str or None
        Of ra and dec: one for both, or two with a comma between.
    """

    id: str | None = None
    label: str | None = None
    ra: str | None = None
    dec: str | None = None
    units: str | None = None


class Positions(NamedTuple):
    """The positions of a table.

    Attributes
    ----------
    table : pyarrow.Table
        id, file, ra, dec in degrees and, where asked for, label. Without a position ra, dec and file are null.
    notes : list of str
        What a person should know of how the table was read.
    """

    table: pa.Table
    notes: list[str]


def read_positions(path: Path, columns: Columns, suffix: str) -> Positions:
    """Read a table of positions: CSV, Parquet, FITS, VOTable or ECSV.

    Rows that repeat an id and its position are one object; an id at another position becomes `<id>#2`. Without an id
    it is made from the position.

    Parameters
    ----------
    path : Path
        The table.
    columns : Columns
        What is known of it.
    suffix : str
        Of the images' files, such as `.png`.

    Returns
    -------
    Positions

    Raises
    ------
    SurveyError
        Where it cannot be read, its columns are not clear or none of its rows has a position.
    """
    if not path.expanduser().is_file():
        raise SurveyError(f"{path}: no such file; give the table of positions")
    table = read_table(path.expanduser().resolve())
    found = _found(path, table, columns)
    ra, dec, notes = _coordinates(path, table, found)
    names = _ids(path, table, found.id)
    notes += [printable(note) for note in notes_of(table)]
    notes.insert(0, f"columns {found.ra} and {found.dec}, ids from {found.id or 'the positions'}")
    rows, ids, seen = [], [], set()
    for row, (right, up) in enumerate(zip(ra, dec, strict=True)):
        galaxy = names[row] or (f"row_{row + 1}" if right is None or up is None else position_id(right, up))
        if (key := (galaxy, *_place(right, up))) not in seen:
            seen.add(key)
            rows.append(row)
            ids.append(galaxy)
    if merged := len(table) - len(rows):
        notes.append(f"{merged:,} rows repeat an id and its position and are taken once")
    distinct = distinct_ids(ids)
    if renamed := [(old, new) for old, new in zip(ids, distinct, strict=True) if old != new]:
        old, new = renamed[0]
        notes.append(f"{len(renamed):,} ids occur at several positions; {printable(old)} is also {printable(new)}")
    taken: set[str] = set()
    right, up = [ra[row] for row in rows], [dec[row] for row in rows]
    files = [None if x is None else file_stem(name, taken) + suffix for name, x in zip(distinct, right, strict=True)]
    made = {
        "id": pa.array(distinct, pa.string()),
        "file": pa.array(files, pa.string()),
        "ra": pa.array(right, pa.float64()),
        "dec": pa.array(up, pa.float64()),
    }
    if found.label is not None:
        try:
            labels = labels_of(table[found.label])
        except ValueError as error:
            raise SurveyError(f"{path}: --label-column {found.label} {error}") from error
        made["label"] = pa.array([labels[row] for row in rows], pa.string())
    return Positions(pa.table(made), notes)


def position_columns(names: Sequence[str]) -> tuple[str, str] | None:
    """The columns of right ascensions and declinations, as their names have it.

    Parameters
    ----------
    names : sequence of str
        Of all columns.

    Returns
    -------
    (str, str) or None
        None where no two go together.

    Examples
    --------
    >>> from galaxy_assets.deliveries.sky.positions import position_columns
    >>> position_columns(["Name", "_RAJ2000", "_DEJ2000"]), position_columns(["RA (deg)", "mag", "DEC_DEG"])
    (('_RAJ2000', '_DEJ2000'), ('RA (deg)', 'DEC_DEG'))
    """
    by_name = _by_plain_name(names)
    for ra, dec in _PAIRS:
        if ra in by_name and dec in by_name:
            return by_name[ra], by_name[dec]
    alone = [[by_name[name] for name in by_name if name in axis] for axis in _AXES]
    return (alone[0][0], alone[1][0]) if len(alone[0]) == len(alone[1]) == 1 else None


def like_positions(names: Sequence[str]) -> list[str]:
    """The columns whose names look like those of coordinates, where right ascensions and declinations are among them.

    Parameters
    ----------
    names : sequence of str
        Of all columns.

    Returns
    -------
    list of str

    Examples
    --------
    >>> from galaxy_assets.deliveries.sky.positions import like_positions
    >>> like_positions(["Name", "RAh", "RAm", "DE-", "DEd", "mag"]), like_positions(["ra_err", "mag"])
    (['RAh', 'RAm', 'DE-', 'DEd'], [])
    """
    axes = [[name for name in names if axis.search(name)] for axis in _LIKE]
    return [name for name in names if any(name in axis for axis in axes)] if all(axes) else []


def _by_plain_name(names: Sequence[str]) -> dict[str, str]:
    """The columns by their plain names; of several alike the first."""
    return {plain_name(name): name for name in reversed(names)}


def _place(ra: float | None, dec: float | None) -> tuple[float | None, float | None]:
    """A position as far as it tells objects apart: to a hundred-millionth of a degree."""
    return (None if ra is None else round(ra, 8), None if dec is None else round(dec, 8))


def _found(path: Path, table: pa.Table, said: Columns) -> Columns:
    """The columns of a table, as they were said or as their names have it."""
    names = table.column_names
    for option, name in (("id", said.id), ("label", said.label), ("ra", said.ra), ("dec", said.dec)):
        if name is not None and name not in names:
            raise SurveyError(f"{path}: no column {name}; it has {_listed(names)}. Correct --{option}-column")
    if (said.ra is None) != (said.dec is None):
        raise SurveyError("--ra-column and --dec-column go together: give both or neither")
    ra, dec = said.ra, said.dec
    if ra is None:
        pair = position_columns(names)
        if pair is None:
            raise SurveyError(
                f"{path}: which columns are right ascension and declination? It has {_listed(names)}. Name them with "
                "--ra-column and --dec-column"
            )
        ra, dec = pair
    by_name = _by_plain_name(names)
    likely = [by_name[name] for name in _IDS if name in by_name and by_name[name] not in (ra, dec, said.label)]
    galaxy = said.id or next((name for name in likely if _tells_apart(table[name])), None)
    return said._replace(id=galaxy, ra=ra, dec=dec)


def _tells_apart(column: pa.ChunkedArray) -> bool:
    """Whether at least half of the values differ, as ids do and kinds of objects (`source`, `object`) do not."""
    given = [str(value) for value in column.to_pylist() if value not in (None, "")]
    return 2 * len(set(given)) >= len(given)


def _listed(names: Sequence[str]) -> str:
    shown = ", ".join(printable(name) for name in names[:30])
    return f"{shown}, ..." if len(names) > 30 else shown or "none"


def _coordinates(
    path: Path, table: pa.Table, found: Columns
) -> tuple[list[float | None], list[float | None], list[str]]:
    """Right ascensions and declinations in degrees, and what to know of them."""
    given = [unit.strip() for unit in found.units.split(",")] if found.units else []
    if len(given) > 2:
        raise SurveyError(f"--units {found.units}: give one unit for both coordinates, or two with a comma between")
    given = given * 2 if len(given) == 1 else given or [None, None]
    axes, notes, doubtful = [], [], []
    for axis, column, unit in (("ra", found.ra, given[0]), ("dec", found.dec, given[1])):
        assert column is not None  # `_found` has named both
        values = table[column].to_pylist()
        unit = unit or unit_of(table, column)
        if axis == "dec" and unit is not None and is_hours(unit):
            raise SurveyError(f"{path}: column {column}: declinations are in no hours; give --units hourangle,deg")
        try:
            axes.append(degrees_of(values, axis, unit))  # pyright: ignore[reportArgumentType]
        except ValueError as error:
            raise SurveyError(f"{path}: column {column} {error}, or name it with --units") from error
        doubtful.append(unit is None and all(_is_number(value) for value in values))
    ra, dec = axes
    if not any(x is not None and y is not None for x, y in zip(ra, dec, strict=True)):
        raise SurveyError(
            f"{path}: no row has a position in columns {found.ra} and {found.dec} "
            f"(the first has {str(table[found.ra][0])[:40]!r}); correct --ra-column, --dec-column or --units"
            if len(table)
            else f"{path}: holds no row; give a table of positions"
        )
    lost = [row for row in range(len(table)) if ra[row] is None or dec[row] is None]
    if lost:
        first = f"{table[found.ra][lost[0]]}, {table[found.dec][lost[0]]}"
        notes.append(f"{len(lost):,} rows have no position on the sphere, such as row {lost[0] + 1}: {first[:80]}")
    for row in lost:
        ra[row] = dec[row] = None
    there = [(x, y) for x, y in zip(ra, dec, strict=True) if x is not None and y is not None]
    if len(there) >= 5 and all(doubtful):
        if all(x <= 6.2832 and abs(y) <= 1.5708 for x, y in there):
            notes.append("no position exceeds 2 pi and half a pi: taken as degrees; for radians give --units rad")
        elif all(x <= 24 for x, _ in there):
            notes.append("no right ascension exceeds 24: taken as degrees; for hours give --units hourangle,deg")
    return ra, dec, [printable(note) for note in notes]


def _is_number(value: object) -> bool:
    try:
        float(value)  # pyright: ignore[reportArgumentType]
    except (TypeError, ValueError):
        return value is None or value == ""
    return True


def _ids(path: Path, table: pa.Table, column: str | None) -> list[str]:
    """The id of each row, empty where there is none."""
    if column is None:
        return [""] * len(table)
    try:
        return [printable(composed((name or "").strip())) for name in ids_of(table[column])]
    except ValueError as error:
        raise SurveyError(f"{path}: column {column} {error}, or name another with --id-column") from error


def keep_positions(folder: Path, positions: pa.Table) -> pa.Table:
    """Write `positions.parquet`: what it had before, then what is new. Classes are those of the new table.

    Parameters
    ----------
    folder : Path
        The survey's, of data/raw.
    positions : pyarrow.Table
        As `read_positions` gives it.

    Returns
    -------
    pyarrow.Table
        As it is written.

    Raises
    ------
    SurveyError
        Where an object that is there already has moved.
    """
    path = folder / NAME
    if path.is_file():
        before = kept_positions(folder)
        if before.equals(positions):
            return before
        positions = _joined(path, before, positions)
    with replacing(path) as partial:
        import pyarrow.parquet as pq

        pq.write_table(positions, partial, compression="zstd")
    return positions


def kept_positions(folder: Path) -> pa.Table:
    """`positions.parquet` of a survey's folder."""
    import pyarrow.parquet as pq

    try:
        return pq.read_table(folder / NAME)
    except (OSError, pa.ArrowException) as error:
        raise SurveyError(f"{folder / NAME}: cannot be read: {error}; run `survey new` again") from error


def _joined(path: Path, before: pa.Table, now: pa.Table) -> pa.Table:
    at = {galaxy: row for row, galaxy in enumerate(before["id"].to_pylist())}
    ra, dec = (before[axis].to_pylist() for axis in ("ra", "dec"))
    ids, right, up = (now[column].to_pylist() for column in ("id", "ra", "dec"))
    new = [row for row, galaxy in enumerate(ids) if galaxy not in at]
    for row, galaxy in enumerate(ids):
        known = at.get(galaxy)
        if known is not None and _place(ra[known], dec[known]) != _place(right[row], up[row]):
            raise SurveyError(
                f"{path}: {printable(galaxy)} was at {ra[known]}, {dec[known]} and is now at {right[row]}, {up[row]}; "
                "choose another name for the changed table"
            )
    taken = {Path(file).stem.lower() for file in before["file"].to_pylist() if file is not None}
    added = now.take(pa.array(new, pa.int64()))
    suffix = next((Path(file).suffix for file in now["file"].to_pylist() if file is not None), "")
    files = [
        None if file is None else file_stem(galaxy, taken) + suffix
        for galaxy, file in zip(added["id"].to_pylist(), added["file"].to_pylist(), strict=True)
    ]
    added = added.set_column(added.column_names.index("file"), "file", pa.array(files, pa.string()))
    plain = ["id", "file", "ra", "dec"]
    joined = pa.concat_tables([before.select(plain), added.select(plain)])
    classes = next((table for table in (now, before) if "label" in table.column_names), None)
    if classes is None:
        return joined
    row_of = {galaxy: row for row, galaxy in enumerate(classes["id"].to_pylist())}
    rows = pa.array([row_of.get(galaxy) for galaxy in joined["id"].to_pylist()], pa.int64())
    return joined.append_column("label", classes["label"].take(rows))
