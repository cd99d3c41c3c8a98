"""What a person wrote of the artefact regions: `surveys/<survey>_artefacts.csv`.

Belongs here: reading that file, and saying what in it cannot be used. Does not belong here: proposing regions and
applying them (`artefacts`), drawing them (`explorer.regions`).
"""

import math
from collections.abc import Mapping
from pathlib import Path

from galaxy_assets.science.artefact_regions import Region
from galaxy_assets.settings import spreadsheets
from galaxy_assets.settings.printing import PrintableError

_EDGES = ("x0", "y0", "x1", "y1")
_STATUS = ("proposed", "accepted", "rejected")


def read_review(path: Path, map_digest: str) -> list[Region]:
    """A person's review of the rule: its accepted regions.

    Parameters
    ----------
    path : Path
        CSV with the columns of `artefacts.REGIONS`. Columns other than x0, y0, x1, y1, status and map may be left out.
    map_digest : str
        Names the map of now.

    Returns
    -------
    list of Region

    Raises
    ------
    PrintableError
        Where it is no CSV, a column is missing, a line has more or fewer cells than there are columns, an edge is no
        number or lies beyond the other, a status is unknown, or a box was drawn on another map: a new delivery or a
        changed setting moves every point, and the box would remove other galaxies. The message names the file, the line
        and the remedy.
    """
    columns, rows = spreadsheets.rows_by_hand(path)
    if missing := sorted({*_EDGES, "status", "map"} - set(columns)):
        raise PrintableError(
            f"{path}: no column {', '.join(missing)}; it has {', '.join(columns) or 'none'}. Start from the table "
            "artefact_regions, or delete the file to take its proposal"
        )
    accepted = []
    for line, cells in rows:
        where = f"{path}, line {line}"
        if len(cells) < len(columns) or any("\n" in cell or "\r" in cell for cell in cells.values()):
            raise PrintableError(
                f"{where}: one cell for each of the {len(columns)} columns is needed, and it has {len(cells)}; write "
                "the missing ones, and close every quote on its own line"
            )
        edges = _edges(cells, where)
        if cells["status"] not in _STATUS:
            raise PrintableError(f"{where}: unknown status {cells['status']!r}; write {', '.join(_STATUS)}")
        if cells["map"] != map_digest:
            raise PrintableError(
                f"{where}: its box is drawn on map {cells['map'] or 'none'}, the artefact_map is now {map_digest}; "
                "review artefact_regions again, or delete the file to take the proposal"
            )
        if cells["status"] == "accepted":
            accepted.append(edges)
    return [
        Region(i, *edges, n=0, n_suspect=0, purity=0.0, reasons="review", status="accepted")
        for i, edges in enumerate(accepted, start=1)
    ]


def _edges(cells: Mapping[str, str], where: str) -> list[float]:
    """x0, y0, x1, y1 of a row."""
    edges = []
    for name in _EDGES:
        try:
            edges.append(float(cells[name]))
        except ValueError:
            edges.append(math.nan)
        if not math.isfinite(edges[-1]):
            raise PrintableError(
                f"{where}: {name} is {cells[name]!r}; write a finite number with a point, as in artefact_regions"
            )
    for low, high in (("x0", "x1"), ("y0", "y1")):
        if edges[_EDGES.index(low)] > edges[_EDGES.index(high)]:
            raise PrintableError(
                f"{where}: {low}, {cells[low]}, lies beyond {high}, {cells[high]}: the box holds nothing; swap them"
            )
    return edges
