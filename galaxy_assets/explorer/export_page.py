"""What is on the page, as a file: CSV, Parquet, VOTable, FITS, or a zip of cutouts with the table.

Belongs here: the columns and the files. Does not belong here: exports of whole rankings and clusters on the command
line (`galaxy_assets.lake.export`).
"""

import json
import uuid
import zipfile
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pyarrow as pa
from pyarrow import csv as arrow_csv

from galaxy_assets.explorer.pictures import Pictures
from galaxy_assets.explorer.view import ANEW, OpenLake, View, quoted
from galaxy_assets.lake.export import file_name
from galaxy_assets.lake.formats import SUFFIXES, Format, write_as
from galaxy_assets.lake.meanings import said_in, with_meanings
from galaxy_assets.lake.query import QueryError
from galaxy_assets.science.labels import standing
from galaxy_assets.settings.files import survey_files
from galaxy_assets.settings.spreadsheets import for_spreadsheets
from galaxy_assets.storage.files import replacing
from galaxy_assets.storage.label_events import LabelLog
from galaxy_assets.storage.layout import Layout
from galaxy_assets.storage.provenance import data_version

KINDS = {
    "csv": "CSV",
    "parquet": "Parquet",
    "vot": "VOTable",
    "fits": "FITS",
    "zip": "Cutouts and table, zip",
}
_FORMATS: dict[str, Format] = {suffix[1:]: form for form, suffix in SUFFIXES.items()}
MAXIMUM_CUTOUTS = 20_000
_MEMORY = "4GB"  # in a process of its own, which ends
_TABLES = ("umap", "artefact_map", "anomaly_ranking", "cluster_labels", "catalogue", "evaluation_subset")
_LEFT_OUT = ("init", "sha256", "problem", "catalogue_reason")


def write(root: Path, survey: str, start: str, version: str, rows: np.ndarray, kind: str, folder: Path) -> Path:
    """Write rows of a map to a new file; what people say of them is in the last columns.

    Parameters
    ----------
    root : Path
        The data folder.
    survey, start, version : str
        Name the map, and that of now: the `version` of the view that the rows are of.
    rows : ndarray of int
        In the order of the file.
    kind : str
        Of file.
    folder : Path
        Takes the file.

    Returns
    -------
    Path
        Of the file.

    Raises
    ------
    ValueError
        For more than MAXIMUM_CUTOUTS cutouts.
    QueryError
        Where the map was made anew, and the rows are other galaxies.
    """
    if kind == "zip" and len(rows) > MAXIMUM_CUTOUTS:
        raise ValueError(f"{len(rows):,} cutouts are more than {MAXIMUM_CUTOUTS:,}; filter or select fewer")
    layout, view = Layout(root), view_apart(root, survey, start, version)
    table = page_table(view, rows)
    target = folder / f"{uuid.uuid4().hex}-{survey}_{len(rows)}_galaxies.{kind}"
    match kind:
        case "zip":
            _write_zip(layout, view, rows, table, target)
        case _:
            write_as(table, target, _FORMATS[kind], f"{survey}_galaxies")
    return target


def view_apart(root: Path, survey: str, start: str, version: str) -> View:
    """A map of its own, for a process that ends with the work.

    Parameters
    ----------
    root : Path
        The data folder.
    survey, start, version : str
        Name the map, and which one of it is meant.

    Returns
    -------
    View

    Raises
    ------
    QueryError
        Where the map was made anew.
    """
    view = View(OpenLake(Layout(root), _MEMORY), survey, start)
    if view.version != version:
        raise QueryError(ANEW)
    return view


def page_table(view: View, rows: np.ndarray) -> pa.Table:
    """Rows of a map as a table.

    Parameters
    ----------
    view : View
    rows : ndarray of int

    Returns
    -------
    pyarrow.Table
        Position on the map, ranking, cluster, catalogue and what people say; its fields say what they hold.
    """
    names = [k for k, c in view.columns.items() if c.table in _TABLES and k not in _LEFT_OUT]
    wanted = pa.table({"row": pa.array(rows, pa.int64()), "place": pa.array(np.arange(len(rows)))})
    said = standing(LabelLog(view.lake.layout.labels(view.survey)).read())
    table = view.lake.ask(
        f"select {', '.join('g.' + quoted(name) for name in names)}, s.score as human_score, s.label as human_label, "
        f"s.n_people as people from wanted join ({view.relation(_TABLES)}) g on g.row = wanted.row "
        "left join said s on s.galaxy_id = g.galaxy_id order by wanted.place",
        tables={"wanted": wanted, "said": said},
    )
    return with_meanings(table, _said(view))


def _said(view: View) -> dict[str, tuple[str, str]]:
    """Description and unit of the columns, by the names that they have on the page."""
    found = {name: said_in(view.lake.layout, view.survey, f"{name}/**/[!.]*") for name in _TABLES}
    found = {name: said or said_in(view.lake.layout, view.survey, name) for name, said in found.items()}
    columns = {key: c for key, c in view.columns.items() if c.name in found.get(c.table, ())}
    return {key: found[c.table][c.name] for key, c in columns.items()}


def _write_zip(layout: Layout, view: View, rows: np.ndarray, table: pa.Table, target: Path) -> None:
    pictures = Pictures(layout, survey_files(layout.root).named(view.survey))
    at = pictures.rows(view.ids.take(pa.array(rows)))
    names = [
        f"images/{i:05d}_{file_name(galaxy)}.png" if row >= 0 else None
        for i, (galaxy, row) in enumerate(zip(table["galaxy_id"].to_pylist(), at, strict=True), 1)
    ]
    sheet = pa.BufferOutputStream()
    arrow_csv.write_csv(for_spreadsheets(table.append_column("image", pa.array(names, pa.string()))), sheet)
    ranking = layout.table(view.survey, "anomaly_ranking")
    about = {
        "survey": view.survey,
        "start_weights": view.start,
        "rows": len(rows),
        "anomaly_ranking": data_version(ranking),
        "written": datetime.now(UTC).isoformat(timespec="seconds"),
    }
    with replacing(target) as partial, zipfile.ZipFile(partial, "w", zipfile.ZIP_STORED) as archive:
        archive.writestr("galaxies.csv", sheet.getvalue().to_pybytes())
        archive.writestr("about.json", json.dumps(about, indent=2) + "\n")
        for name, row in zip(names, at, strict=True):
            if name is not None:
                archive.writestr(name, pictures.png(int(row)))
