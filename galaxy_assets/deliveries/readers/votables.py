"""VOTables: the one table that is read of a file, and nothing that lies elsewhere.

Belongs here: which table of a VOTable is read. Does not belong here: its columns (`tables`).
"""

from pathlib import Path
from typing import Any


def table_in(path: Path) -> tuple[Any, list[str]]:
    """The first table of a VOTable that has rows, as an astropy table.

    Parameters
    ----------
    path : Path
        The file.

    Returns
    -------
    table : astropy.table.Table
    notes : list of str
        Which tables are not read.

    Raises
    ------
    ValueError
        Where there is no table, or its rows are at an address, which astropy would open, be it a file or a host.
    """
    from astropy.io.votable import parse

    _refuse_references(path)
    tables = list(parse(path).iter_tables())
    if not tables:
        raise ValueError("no table in it")
    place = next((i for i, one in enumerate(tables) if len(one.array)), 0)
    notes = []
    if len(tables) > 1:
        named = ", ".join(
            f"{one.ID or one.name or f'number {i + 1}'} ({len(one.array)} rows)" for i, one in enumerate(tables)
        )
        notes.append(
            f"of {len(tables)} tables in the file number {place + 1} is read: {named[:300]}; save another one alone if "
            "that is meant"
        )
    return tables[place].to_table(use_names_over_ids=True), notes  # TOPCAT's IDs are col1, col2


def _refuse_references(path: Path) -> None:
    from astropy.utils.xml.iterparser import get_xml_iterator

    with get_xml_iterator(path) as elements:
        for begins, tag, attributes, _ in elements:
            if begins and tag.rpartition(":")[2] == "STREAM" and "href" in attributes:
                raise ValueError(f"its rows are at {attributes['href']}; save it with its rows inside")
