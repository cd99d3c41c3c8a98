"""Text in CSVs that spreadsheets open: what would begin a formula gets an apostrophe, and loses it when it is read.

    =HYPERLINK("http://...")  is written  '=HYPERLINK("http://...")'   between apostrophes, since it ends in no letter
    -12.5 as an id            is written  '-12.5
    'ngc'                     is written  ''ngc''                      it would lose its own else

Numbers stay numbers: of a table only columns of text are changed.

Belongs here: the rule, in both directions. Does not belong here: which tables are written, and other formats, which
have types and need none of this.
"""

import re
from typing import TYPE_CHECKING

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
