"""Tables written as text: what separates the cells, which line has the names, and which lines are no rows.

People and programs write commas, semicolons, tabs, bars or spaces between the cells, comments above them, no names at
all, in UTF-8 or not. All of that is found out from the text, and every line that gives no row is said.

Belongs here: from a file's bytes to cells of text. Does not belong here: what a column means (`tables`).

It is the standard library's csv module, record by record: astropy's and pandas' readers guess numbers too, and ids lose
digits by it; and a quote that is not closed would swallow the rows below it.
"""

import csv
import io
import itertools
import json
import os
import re
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from galaxy_assets.deliveries.angles import degrees_per
from galaxy_assets.deliveries.decoding.compressed import opener_of
from galaxy_assets.deliveries.suffixes import without_suffix
from galaxy_assets.settings import spreadsheets
from galaxy_assets.settings.limits import MAXIMUM_LINES, MAXIMUM_TABLE, MAXIMUM_UNPACKED, UNPACKED_PER_BYTE
from galaxy_assets.settings.regular import open_regular

KNOWN = frozenset(
    "id galaxy_id objid object_id objectid id_str iauname iau_name dr7objid dr8objid specobjid galaxyid source_id name "
    "file filename file_name file_loc image image_id asset_id path png_loc ra dec label labels class class_name score "
    "human_label category type target".split()
)
"""Names of columns, in lower case, by which a line is known to hold names."""

_DELIMITERS = ",;\t|"
_SAMPLE = 200  # records that decide what separates the cells and whether there are names
_NUMBER = re.compile(r"[+-]?(\d+([.,]\d*)?|[.,]\d+)([eE][+-]?\d+)?|nan", re.IGNORECASE)
_LONGEST = csv.field_size_limit()  # characters of a cell
_TITLES = 10  # records that may stand above the names of the columns
_ASTRAY = "have a quote that is not closed"
_TOO_LONG = f"have a cell of more than {_LONGEST} characters"
_RULE = re.compile(r"[-=+:]*")  # what the cells of a line of dashes hold, one of them three or more
_ABOVE_RULE = 3  # records at most between the names of the columns and a line of dashes
_FORMAT = re.compile(r"([AaIiFfEe]\d+(\.\d+)?)?")  # of the cells of a column, as VizieR writes them
_UNITS = frozenset(
    "mag mas uas km/s m/s Jy mJy uJy Mpc kpc pc Gyr Myr yr Msun Lsun solMass solLum ct count counts adu pix dex % nm "
    "um Angstrom GHz MHz Hz keV eV K s d h cm-2 cm-3 mW/m2 [-] [Msun] [Lsun] [solMass] [solLum]".split()
)
_BINARY = re.compile("[\x00-\x08\x0e-\x1a\x1c-\x1f]")

_Record = tuple[int, list[str] | str]  # its last line, and its cells or why they cannot be told


@dataclass
class TextTable:
    """The cells of a table.

    Attributes
    ----------
    names : list of str
        Of the columns; a later one of the same name ends in `_2`, one without a name is `column_<number>`.
    rows : list of list of str
        Cells without the blanks around them, as many as there are names.
    lines : list of int
        Of each row, the line it ends on.
    notes : list of str
        How the file was read where that is not plain, and which lines gave no row.
    lost : list of str
        Of these notes those on lines that should have given one.
    units : dict of str to str
        Of the columns that have one in a row between the names and a line of dashes, as VizieR writes them.
    """

    names: list[str]
    rows: list[list[str]] = field(default_factory=list)
    lines: list[int] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    lost: list[str] = field(default_factory=list)
    units: dict[str, str] = field(default_factory=dict)


def read_text_table(path: Path, wanted: Collection[str] | None = None) -> TextTable:
    """Read a table of text.

    Parameters
    ----------
    path : Path
        CSV or its like, may be compressed; by its suffix JSON or JSON lines.
    wanted : Collection of str, optional
        Columns that are kept of a CSV or its like, all when not given.

    Returns
    -------
    TextTable

    Raises
    ------
    ValueError
        Where it is no text, too large, or not one record fits; says why.
    OSError
        Where it cannot be read.
    """
    text, notes = _text(_bytes(path))
    if re.search(r"\.(json|jsonl|ndjson)(\.\w+)?$", path.name.lower()):
        table = _from_json(text)
    else:
        table = _from_lines(text, wanted)
    table.notes[:0] = notes
    return table


def separator(path: Path) -> tuple[str, str]:
    """What separates the cells of a CSV, and its encoding, from its first bytes.

    Parameters
    ----------
    path : Path
        The file.

    Returns
    -------
    delimiter : str
        One character.
    encoding : str
        As Python calls it.

    Raises
    ------
    ValueError
        Where it is no text.
    OSError
        Where it cannot be read.
    """
    with open_regular(path) as stream:
        start = stream.read(2**20)
    text, notes = _text(start[: start.rfind(b"\n") + 1] or start)
    encoding = "utf-16" if start[:2] in (b"\xff\xfe", b"\xfe\xff") else "cp1252" if notes else "utf-8-sig"
    return _delimiter([line for line in text.splitlines()[:_SAMPLE] if line and not line.startswith("#")]), encoding


def _bytes(path: Path) -> bytes:
    with open_regular(path) as file:
        opener = opener_of(file.read(6))
        file.seek(0)
        stream, most = opener(file, "rb") if opener else file, MAXIMUM_TABLE
        if opener:
            most = min(max(MAXIMUM_UNPACKED, UNPACKED_PER_BYTE * os.fstat(file.fileno()).st_size), most)
        data = stream.read(most + 1)
    if len(data) > most:
        raise ValueError(f"its text has more than {most} bytes; save it as Parquet")
    return data


def _text(data: bytes) -> tuple[str, list[str]]:
    notes = []
    try:
        text = data.decode("utf-16" if data.startswith((b"\xff\xfe", b"\xfe\xff")) else "utf-8-sig")
    except UnicodeDecodeError:
        text = data.decode("cp1252", "replace")
        notes.append("it is not UTF-8 and was read as Windows-1252: look at letters with accents")
    if found := _BINARY.search(text[: 2**20]):
        raise ValueError(f"it is no text (character {ord(found[0])}); a spreadsheet must be saved as CSV")
    return text, notes


def _from_lines(text: str, wanted: Collection[str] | None = None) -> TextTable:
    if text.count("\n") + text.count("\r") > 2 * MAXIMUM_LINES or text.count("\n") > MAXIMUM_LINES:
        raise ValueError(f"it has more than {MAXIMUM_LINES} lines; save it as Parquet")
    lines = [line.rstrip("\n") for line in io.StringIO(text, newline=None)]
    top = next((i for i, line in enumerate(lines) if not _is_above(line)), len(lines))
    sample = [line for line in lines[top:] if line.strip() and len(line) <= _LONGEST][:_SAMPLE]
    delimiter = _delimiter(sample)
    above = [line for line in lines[:top] if line.startswith("#")]
    rest = _records(lines, top, delimiter)
    records = list(itertools.dropwhile(_is_rule, itertools.islice(rest, _SAMPLE)))
    rows = [cells for _, cells in records if not isinstance(cells, str)]
    if not rows:
        return TextTable(_cells(above[-1].lstrip("# \t"), delimiter) if above else [])
    named = _cells(above[-1].lstrip("# \t"), delimiter) if above else []
    notes = []
    if titles := _titles(rows):
        notes.append(f"{titles} lines above the names of the columns are no rows")
        records, rows = records[titles:], rows[titles:]
    if heading := _heading(records):
        names = rows[0]
        records = records[len(heading) + 1 :]
    elif _are_known(named) and len(named) == len(rows[0]) and not _are_known(rows[0]):
        above, names = above[:-1], named
    elif _are_data(rows[0], rows[1:]):
        names = [""] * len(rows[0])
        notes.append("no line names the columns: they are called column_1, column_2 and so on")
    else:
        names = rows[0]
        records = records[1:]
    if above:
        notes.append(f"{len(above)} comment lines above the table")
    return _table([names, *heading], itertools.chain(records, rest), notes, wanted)


def _is_above(line: str) -> bool:
    return not line.strip() or line.startswith("#") or line.lower().startswith("sep=")


def _delimiter(lines: list[str]) -> str:
    """The character that most lines have equally often; blanks where there is none."""
    best, most = "", (0.5, 0)
    for one in _DELIMITERS:
        counts = Counter(len(_cells(line, one)) - 1 for line in lines)
        n, often = max(counts.items(), key=lambda item: item[1], default=(0, 0))
        if n and (score := (often / len(lines), n)) > most:
            best, most = one, score
    words = {len(_cells(line, " ")) for line in lines}
    return best or (" " if len(words) == 1 and words != {1} else ",")


def _cells(record: str, delimiter: str, strict: bool = False) -> list[str]:
    if delimiter == " ":
        record = " ".join(record.split())
    reader = csv.reader(io.StringIO(record, newline=""), delimiter=delimiter, skipinitialspace=True, strict=strict)
    cells = next(reader, [])
    if next(reader, None) is not None:
        raise csv.Error("a quote inside a cell does not hold line breaks")
    return [spreadsheets.read(cell.strip()) for cell in cells]


def _records(lines: list[str], top: int, delimiter: str) -> Iterator[_Record]:
    """Last line and cells of every record; why not, where they cannot be told.

    A quote that is closed on a later line holds line breaks, unless a later line as far as its own first quote would be
    a record by itself, or each line would, or text follows the closing quote: then the quote is astray, and its line
    alone is lost.
    """
    counts = Counter(line.count(delimiter) for line in lines[top : top + _SAMPLE])
    usual = max(counts, key=lambda n: counts[n], default=0)
    at = top
    while at < len(lines):
        first, length, is_open = at, len(lines[at]), lines[at].count('"') % 2
        while is_open and at + 1 < len(lines) and length <= _LONGEST:  # a longer cell is refused in any case
            at += 1
            length += len(lines[at]) + 1
            is_open ^= lines[at].count('"') % 2
        record = "\n".join(lines[first : at + 1])
        n = record[: len(lines[first])].count(delimiter)
        inner = lines[first + 1 : at + 1]
        astray = (
            is_open
            or ((n or not usual) and any(line.partition('"')[0].count(delimiter) == n for line in inner))
            or (inner and all(line.count(delimiter) == usual for line in lines[first : at + 1]))
        )
        if not record.strip():
            at += 1
            continue
        try:
            cells: list[str] | str = _ASTRAY if astray else _cells(record, delimiter, strict=bool(inner))
        except csv.Error:
            cells = _ASTRAY if inner else _TOO_LONG
        at = (first if cells == _ASTRAY else at) + 1
        yield at, cells


def _titles(rows: list[list[str]]) -> int:
    """How many records are titles: they leave cells empty, and the first that does not has names that are known."""
    n = Counter(map(len, rows)).most_common(1)[0][0]
    first = next((i for i, row in enumerate(rows[:_TITLES]) if len(row) == n and all(row)), 0)
    return first if n > 1 and _are_known(rows[first]) and not _are_known(rows[0]) else 0


def _heading(records: list[_Record]) -> list[list[str]]:
    """What stands below the names of the columns, their units first, down to a line of dashes; empty without one."""
    below = records[1 : _ABOVE_RULE + 2]
    at = next((i for i, record in enumerate(below) if _is_rule(record)), None)
    found = [cells for _, cells in below[: 0 if at is None else at + 1] if not isinstance(cells, str)]
    rows = [cells for _, cells in records[len(found) + 1 :] if not isinstance(cells, str)]
    are_units = len(found) > 0 and all(_may_be_units(cells, rows) for cells in found[:-1])
    return found if are_units and len(found) - 1 == at else []


def _may_be_units(cells: list[str], rows: list[list[str]]) -> bool:
    """Whether what stands above a line of dashes is none of the rows below it.

    It has no number and nothing that is there again or looks like an id below, and has a unit, or nothing but gaps, or,
    beside a gap, nothing in its first cell or a format (A4) in another form than the ids.
    """
    if any(map(_NUMBER.fullmatch, cells)):
        return False
    for i, cell in enumerate(cells):
        others = {row[i] for row in rows if len(row) > i and row[i] and row != cells}
        if cell and (cell in others or (re.search(r"\d", cell) and _form(cell) in map(_form, others))):
            return False
    units = [cell for cell in cells if cell and (cell in _UNITS or _is_angle(cell))]
    whole = all(cell in ("", *units) for cell in cells)
    return any(len(unit) > 1 for unit in units) or whole or (not all(cells) and _FORMAT.fullmatch(cells[0]) is not None)


def _form(cell: str) -> str:
    """Its letters and digits, each of a kind alike: J1000+30g is A9+9a."""
    return re.sub(r"\d+", "9", re.sub(r"[A-Z]+", "A", re.sub(r"[a-z]+", "a", cell)))


def _is_angle(cell: str) -> bool:
    try:
        return bool(degrees_per(cell))
    except ValueError:
        return False


def _is_rule(record: _Record) -> bool:
    """Whether a record is a line of dashes about a heading."""
    cells = record[1]
    return (
        not isinstance(cells, str)
        and all(map(_RULE.fullmatch, cells))
        and any("---" in cell or "===" in cell for cell in cells)
    )


def _are_known(cells: list[str]) -> bool:
    return any(cell.lower() in KNOWN for cell in cells)


def _are_data(first: list[str], rows: list[list[str]]) -> bool:
    """Whether the first line is a row like the others: a number, a file, or a word that its column has again."""
    others = [row for row in rows if row != first]  # files that were joined have their names again
    again = [any(row[i : i + 1] == [cell] for row in others) for i, cell in enumerate(first)]
    if any(cell.lower() in KNOWN and not repeated for cell, repeated in zip(first, again, strict=True)):
        return False
    return any(
        cell and (repeated or _NUMBER.fullmatch(cell) or without_suffix(cell) != cell)
        for cell, repeated in zip(first, again, strict=True)
    )


def _table(
    heading: list[list[str]],
    records: Iterable[_Record],
    notes: list[str],
    wanted: Collection[str] | None,
) -> TextTable:
    """The rows below a heading: the names of the columns, and what stands between them and a line of dashes."""
    names, *below = heading
    distinct, passed_over = _distinct(names, notes), defaultdict[str, list[int]](list)
    kept = [i for i, name in enumerate(distinct) if wanted is None or name in wanted]
    table = TextTable([distinct[i] for i in kept], notes=notes)
    if below[1:]:
        units = {name: unit for name, unit in zip(distinct, below[0], strict=False) if unit}
        table.units = {name: units[name] for name in table.names if name in units}
    n, seen = len(names), 0
    for line, cells in records:
        seen += 1
        if isinstance(cells, str):
            passed_over[cells].append(line)
        elif cells in heading and any(cells):
            passed_over["repeat the names of the columns"].append(line)
        elif len(cells) != n and cells[0].startswith("#"):
            passed_over["are comments"].append(line)
        elif any(cells[n:]):
            passed_over[f"have more than {n} cells"].append(line)
        else:
            whole = cells + [""] * n
            table.rows.append([whole[i] for i in kept])
            table.lines.append(line)
    lost = 0
    for what, lines in passed_over.items():
        words = f"{len(lines)} lines {what}, such as line {lines[0]}: they are no rows"
        notes.append(words)
        if what.startswith("have"):
            table.lost.append(words)
            lost += len(lines)
    if lost > len(table.rows):
        raise ValueError(f"of {seen} lines {notes[-1]}")
    return table


def _distinct(names: list[str], notes: list[str]) -> list[str]:
    seen, distinct = Counter[str](), []
    for i, name in enumerate(names, start=1):
        name = name or f"column_{i}"
        seen[name] += 1
        distinct.append(name if seen[name] == 1 else f"{name}_{seen[name]}")
    for name, count in seen.items():
        if count > 1:
            notes.append(f"{count} columns are called {name}: the first stays {name}, the next is {name}_2")
    return distinct


def _from_json(text: str) -> TextTable:
    """Names with a class each, a list of rows, a row a line, or columns of equal length; and as pandas writes them."""
    try:
        found = json.loads(text)
    except json.JSONDecodeError:
        found = [json.loads(line) for line in text.splitlines() if line.strip()]
    if isinstance(found, dict) and isinstance(data := found.get("data"), list) and {"columns", "schema"} & {*found}:
        names, index = found.get("columns", []), found.get("index", [""] * len(data))  # pandas' `split` and `table`
        if all(isinstance(row, list) for row in data):
            data = [{"index": i} | dict(zip(names, row, strict=True)) for i, row in zip(index, data, strict=True)]
        found = data
    elif isinstance(found, dict) and found and all(isinstance(value, list) for value in found.values()):
        if len(set(map(len, found.values()))) > 1:
            raise ValueError(f"its JSON has columns of {', '.join(f'{len(v)}' for v in found.values())} values")
        found = [dict(zip(found, row, strict=True)) for row in zip(*found.values(), strict=True)]
    elif isinstance(found, dict) and all(isinstance(value, dict) for value in found.values()):
        found = _by_columns(found) or [{"id": name} | value for name, value in found.items()]
    elif isinstance(found, dict):
        found = [{"id": name, "label": value} for name, value in found.items()]
    if not isinstance(found, list) or not all(isinstance(row, dict) for row in found):
        raise ValueError("its JSON is no list of rows and no mapping of names to classes")
    names = list(dict.fromkeys(name for row in found for name in row))
    rows = [[_cell(row.get(name)) for name in names] for row in found]
    return TextTable(names, rows, list(range(1, len(rows) + 1)))


def _by_columns(found: dict[str, dict[str, Any]]) -> list[dict[str, Any]]:
    """The rows of columns that have a value for each row's name, as `DataFrame.to_json`; none where rows have names."""
    if not found:
        return []
    first, *others = found.values()
    if any(value.keys() != first.keys() for value in others):
        return []
    numbered = all(map(str.isdigit, first)) and not all(map(str.isdigit, found))
    numbered = numbered and (len(first) >= len(found) or _are_known([*found]))
    if not first or not (numbered or (_are_known([*found]) and not _are_known([*first]))):
        return []
    name = "index" if numbered else "id"
    return [{name: row} | {column: values[row] for column, values in found.items()} for row in first]


def _cell(value: Any) -> str:
    return "" if value is None else value if isinstance(value, str) else json.dumps(value)
