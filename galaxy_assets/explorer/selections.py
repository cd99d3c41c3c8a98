"""Selections that people share: the galaxies behind a link, kept so that the link outlasts the server and the map.

Belongs here: their files. Does not belong here: the link itself (`tab.Place`), rows that only this server knows
(`shared`).

    labels/<survey>/selections/<name>.parquet    galaxy_id and, where it answers "more like these", the distance
"""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa

from galaxy_assets.explorer.view import View
from galaxy_assets.storage.layout import Layout
from galaxy_assets.storage.store import store_of
from galaxy_assets.storage.tables import column, read_table, write_table

_NAME = re.compile(r"[0-9a-f]{16}")
_COLUMNS = pa.schema(
    [
        column("galaxy_id", pa.string(), "id of the galaxy"),
        column("distance", pa.float64(), "from the examples; null unless they are galaxies most like some"),
        column("words", pa.string(), "what the selection is, the same in every row"),
    ]
)


class Selection(NamedTuple):
    """Galaxies that somebody selected, on one map.

    Attributes
    ----------
    rows : ndarray of int32
        Of the map, in order; galaxies that it does not have are left out.
    words : str
        What the selection is, for a person.
    found : dict of int to float, or None
        Distances by row, where the selection has an order of its own.
    """

    rows: np.ndarray
    words: str
    found: dict[int, float] | None


def _file(layout: Layout, survey: str, name: str) -> Path:
    if not _NAME.fullmatch(name):
        raise ValueError(f"{name!r} is no name of a selection")
    return layout.labels(survey) / "selections" / f"{name}.parquet"


def keep(view: View, name: str, rows: np.ndarray, words: str, found: Mapping[int, float] | None) -> None:
    """Keep a selection under its name; one that is kept stays as it is.

    Parameters
    ----------
    view : View
        The map on which it was made.
    name : str
        As `Shared.keep_rows` gave it.
    rows : ndarray of int
    words : str
    found : mapping of int to float, optional

    Raises
    ------
    ValueError
        For a name that is none.
    OSError
        Where it cannot be written.
    """
    file = _file(view.lake.layout, view.survey, name)
    if file.exists():
        return
    distance = [found.get(int(row)) for row in rows] if found is not None else pa.nulls(len(rows), pa.float64())
    columns = [view.ids.take(pa.array(rows)), pa.array(distance, pa.float64()), [words] * len(rows)]
    write_table(pa.table(columns, schema=_COLUMNS), file)


def read(view: View, name: str) -> Selection | None:
    """A selection that was kept, on any map of its survey.

    Parameters
    ----------
    view : View
    name : str

    Returns
    -------
    Selection or None
        None where none was kept under the name.

    Raises
    ------
    ValueError
        For a name that is none.
    DamagedFile
        Where its file is damaged.
    """
    file = _file(view.lake.layout, view.survey, name)
    store_of(file).refresh(every=2.0)
    if not file.exists():
        return None
    table = read_table(file)
    words = table["words"][0].as_py() if table.num_rows else "selected"
    ids, distance = table["galaxy_id"].to_pylist(), table["distance"].to_pylist()
    by_id = dict(zip(ids, distance, strict=True))
    rows = view.rows_of(ids)
    if any(d is None for d in distance):
        return Selection(rows, words, None)
    return Selection(rows, words, {int(row): by_id[view.ids[int(row)].as_py()] for row in rows})
