"""Text in CSVs that spreadsheets open: what would begin a formula gets an apostrophe, and loses it when it is read.

    =HYPERLINK("http://...")  is written  '=HYPERLINK("http://...")'   between apostrophes, since it ends in no letter
    -12.5 as an id            is written  '-12.5
    'ngc'                     is written  ''ngc''                      it would lose its own else

Numbers stay numbers: of a table only columns of text are changed.

Belongs here: the rule, in both directions, and the rows of a CSV that a person wrote. Does not belong here: which
tables are written, what a row says, and other formats, which have types and need none of this.
"""

import csv
import re
from pathlib import Path
from typing import TYPE_CHECKING

from galaxy_assets.settings.printing import PrintableError
from galaxy_assets.settings.regular import regular

if TYPE_CHECKING:
    import pyarrow as pa

_FORMULA = re.compile(r"'*[=+\-@\t\r\n\uff1d\uff0b\uff0d\uff20]")
_QUOTED = re.compile(r"(=\"|')(.*)[\"']", re.DOTALL)  # how spreadsheets and programs keep text from being a number


def written(text: str) -> str:
    r"""A text as a cell that no spreadsheet takes for a formula.

    Parameters
    ----------
    text : str

    Returns
    -------
    str

    Examples
    --------
    >>> written("-1"), written("M 31"), written("'-1"), written("=a()")
    ("'-1", 'M 31', "''-1", "'=a()")
    """
    if _QUOTED.fullmatch(text):
        return f"'{text}'"
    if _FORMULA.match(text):
        return f"'{text}'" if text[-1] in "'\"" or text[-1].isspace() else f"'{text}"
    return text


def read(cell: str) -> str:
    """The text of a cell that `written` or a spreadsheet wrote.

    Parameters
    ----------
    cell : str

    Returns
    -------
    str

    Examples
    --------
    >>> read("'-1"), read("-1"), read('="00012"')
    ('-1', '-1', '00012')
    """
    if match := _QUOTED.fullmatch(cell):
        return match[2]
    return cell[1:] if cell.startswith("'") and _FORMULA.match(cell) else cell


def by_hand(cell: str) -> str:
    """The text of a cell that a person may have typed.

    Parameters
    ----------
    cell : str

    Returns
    -------
    str
        As `read`, and without space around it.
    """
    return read(cell.strip())


def for_spreadsheets(table: "pa.Table") -> "pa.Table":
    """A table with its texts, and the names of its columns, as `written`.

    Parameters
    ----------
    table : pyarrow.Table

    Returns
    -------
    pyarrow.Table
        Columns of other types are as they were.
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    columns = []
    for column in table.columns:
        if isinstance(column.type, pa.BaseExtensionType):
            column = pc.cast(column, column.type.storage_type)
        kind = column.type.value_type if pa.types.is_dictionary(column.type) else column.type
        if pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind):
            texts = pc.cast(column, pa.large_string()).combine_chunks()
            distinct = texts.dictionary_encode() if isinstance(texts, pa.Array) else texts.chunk(0).dictionary_encode()
            cells = [text if text is None else written(text) for text in distinct.dictionary.to_pylist()]
            column = pa.array(cells, pa.large_string()).take(distinct.indices)
        columns.append(column)
    return pa.table(columns, names=[written(name) for name in table.column_names])


def rows_by_hand(path: Path) -> tuple[list[str], list[tuple[int, dict[str, str]]]]:
    """What a CSV says that a person wrote: every cell is text, and none is taken for that of another column.

    Parameters
    ----------
    path : Path
        UTF-8; the first line names the columns.

    Returns
    -------
    columns : list of str
        Empty for a file without content.
    rows : list of (int, dict of str to str)
        The number of each line that says something, and its cells by column, as `by_hand` reads them. A line that ends
        early lacks its last columns.

    Raises
    ------
    PrintableError
        Where it is no CSV in UTF-8, names a column twice, or a line has more cells than there are columns, as a comma
        in a text without quotes makes them. The message names the file, the line and the remedy.
    """
    try:
        with regular(path).open(encoding="utf-8-sig", newline="") as stream:
            reader = csv.reader(stream, strict=True)
            lines = [(reader.line_num, list(map(by_hand, line))) for line in reader if line]
    except (UnicodeDecodeError, csv.Error) as error:
        raise PrintableError(f"{path}: not a CSV in UTF-8 ({error}); save it as one") from error
    (_, columns), *others = lines or [(1, [])]
    if twice := sorted({name for name in columns if columns.count(name) > 1}):
        raise PrintableError(f"{path}: two columns are called {twice[0]!r}; remove one of them")
    rows = []
    for number, cells in others:
        if len(cells) > len(columns):
            raise PrintableError(
                f"{path}, line {number}: {len(cells)} cells under {len(columns)} columns; put quotes around a text "
                "that has a comma in it, and remove commas at the end"
            )
        if any(cells):
            rows.append((number, dict(zip(columns, cells, strict=False))))
    return columns, rows
