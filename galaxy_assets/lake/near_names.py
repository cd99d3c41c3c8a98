"""What is said of a table that a query names and that does not exist: the nearest names, and how to list all.

Belongs here: names and words. Does not belong here: asking the query (`query`).
"""

import re
from collections.abc import Mapping, Sequence
from difflib import get_close_matches

_NEAREST = 5
_ALIKE = 0.5  # of difflib's ratio
_MISSING = re.compile(r'Table with name "?(?P<name>[^"!]+?)"? does not exist')


def missing_table(message: str) -> str | None:
    """The table that the database says does not exist.

    Parameters
    ----------
    message : str
        The database's error.

    Returns
    -------
    str or None
        As it was found in the query, with a survey before it only where there is no such survey; None of other errors.

    Examples
    --------
    >>> missing_table('Catalog Error: Table with name umpa does not exist!')
    'umpa'
    """
    found = _MISSING.search(message)
    return found["name"] if found else None


def no_such_table(missing: str, query: str, tables: Mapping[str, Sequence[str]]) -> str:
    """Words for a table that does not exist.

    Parameters
    ----------
    missing : str
        Of `missing_table`.
    query : str
        What was asked; it may name the survey before the table.
    tables : mapping of str to sequence of str
        The tables there are, by survey.

    Returns
    -------
    str
        Four lines at most.

    Examples
    --------
    >>> print(no_such_table("umpa", "from demo.umpa", {"demo": ["umap", "cutouts"]}))
    there is no table umpa in demo
    nearest: demo.umap
    `show tables from demo` lists all 2
    """
    survey, _, name = missing.rpartition(".")
    survey = survey or _named_before(name, query)
    if survey in tables:
        near = [f"{survey}.{one}" for one in _nearest(name, tables[survey])]
        lines = [f"there is no table {name} in {survey}", *_as_line(near)]
        return "\n".join([*lines, f"`show tables from {survey}` lists all {len(tables[survey])}"])
    if survey:
        first = f"there is no survey {survey} in the lake"
        near = [f"{one}.{name}" if name in tables[one] else one for one in _nearest(survey, list(tables))]
    else:
        first = f"there is no table {name}; a table is named with its survey before it"
        named = {f"{one}.{table}": table for one, of in tables.items() for table in of}
        wanted = set(_nearest(name, sorted(set(named.values()))))
        near = sorted((full for full, table in named.items() if table in wanted), key=lambda full: named[full] != name)
    surveys = "`select distinct schema from (show all tables)` lists the surveys"
    return "\n".join([first, *_as_line(near), f"{surveys}, `show tables from NAME` the tables of one"])


def _named_before(table: str, query: str) -> str:
    """What stands before a table and a dot in a query; empty where nothing does."""
    found = re.search(rf'([\w-]+)"?\s*\.\s*"?{re.escape(table)}\b', query, re.IGNORECASE)
    return found[1] if found else ""


def _nearest(name: str, names: Sequence[str]) -> list[str]:
    """Names that hold this one, then those spelt most like it."""
    holding = [one for one in names if name.lower() in one.lower()]
    close = get_close_matches(name.lower(), names, n=_NEAREST, cutoff=_ALIKE)
    return list(dict.fromkeys([*holding, *close]))[:_NEAREST]


def _as_line(near: Sequence[str]) -> list[str]:
    return [f"nearest: {', '.join(near[:_NEAREST])}"] if near else []
