"""What was found, taken elsewhere: a table and the cutouts in a folder of their own, without Dagster.

Belongs here: which rows and images make up the ranking, the training candidates and a cluster, and the folder. Does not
belong here: how they were found (`orchestration.assets`), any table as it is (`galaxy-assets query --to`).
"""

import hashlib
import json
import re
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import csv as arrow_csv

from galaxy_assets.lake.replay import past_ranking
from galaxy_assets.lake.similar import open_survey, read_survey_table
from galaxy_assets.settings.spreadsheets import for_spreadsheets
from galaxy_assets.settings.survey import Survey
from galaxy_assets.storage.files import new_folder
from galaxy_assets.storage.layout import Layout
from galaxy_assets.storage.pixels import PixelStore
from galaxy_assets.storage.provenance import data_version
from galaxy_assets.storage.tables import places, rows_of, write_table

What = Literal["ranking", "candidates", "cluster"]

_CATALOGUE = ("ra", "dec", "file", "label")
_CHUNK = 256  # cutouts in memory at once


def export(
    what: What,
    survey: str,
    folder: Path,
    *,
    first: int | None = None,
    cluster: int | None = None,
    init: str | None = None,
    images: bool = False,
    until: datetime | None = None,
    root: Path | str | None = None,
) -> pa.Table:
    """Write a table and its cutouts to a new folder, whole or not at all, and return the table.

    The folder holds `<what>.csv` and `<what>.parquet`; `about.json`, which says of which survey, table, data version
    and checkpoint it is, and when it was made; and with images `images/<rank>_<galaxy id>.png`, the cutouts as they are
    stored, named by the column `image`. In an id or label, what does not belong in a file name becomes `_`.

    Parameters
    ----------
    what : {'ranking', 'candidates', 'cluster'}
        `ranking`, the rows of `anomaly_ranking` with ra, dec, file and label of the catalogue; `candidates`,
        `training_candidates` as a training set: always with images, in a folder per label, or per cluster where it has
        none; `cluster`, the members of a cluster by falling probability, equal ones by id.
    survey : str
        Its name.
    folder : Path
        Must be absent or empty.
    first : int, optional
        Rows at most, all when not given; of `candidates`, of each cluster.
    cluster : int, optional
        Its number, for `cluster`.
    init : str, optional
        Start weights, for `candidates` and `cluster`; the survey's main ones when not given.
    images : bool
        Write the cutouts too.
    until : datetime, optional
        With a time zone. For `ranking`, as the label events recorded by then rank the galaxies (`replay.past_ranking`).
    root : Path or str, optional
        The data folder; $GALAXY_ASSETS_DATA, else ./data, when not given.

    Returns
    -------
    pyarrow.Table
        The rows written.

    Raises
    ------
    SurveyError
        For an unknown survey.
    ValueError
        For unknown start weights, a cluster without members, or an argument that does not concern `what`.
    FileExistsError
        For a folder with something in it.
    FileNotFoundError
        Where the survey was not run that far.

    Examples
    --------
    A ranking of one galaxy, in a lake that `galaxy-assets run` would have made:

    >>> import tempfile
    >>> layout = Layout(Path(tempfile.mkdtemp()))
    >>> known = {"galaxy_id": ["a"], "ra": [180.0], "dec": [12.5], "file": ["a.png"], "label": [None]}
    >>> write_table(pa.table(known), layout.table("demo_radio", "catalogue", "2026_01"))
    >>> ranking = {"rank": [1], "galaxy_id": ["a"], "score": [4.2]}
    >>> write_table(pa.table(ranking), layout.table("demo_radio", "anomaly_ranking"))
    >>> ledger = pa.table({"epoch": [0], "chosen": [True], "sha256": ["9f86"]})
    >>> write_table(ledger, layout.table("demo_radio", "byol_checkpoints", "imagenet"))
    >>> table = export("ranking", "demo_radio", layout.root / "top", first=10, root=layout.root)
    >>> sorted(path.name for path in (layout.root / "top").iterdir())
    ['about.json', 'ranking.csv', 'ranking.parquet']
    """
    layout, known = open_survey(survey, root)
    if (cluster is None) == (what == "cluster"):
        which = "say which cluster: give its number as `cluster`"
        raise ValueError(which if what == "cluster" else f"{what}: not of one cluster; leave out `cluster`")
    if until is not None and what != "ranking":
        raise ValueError(f"{what}: only the ranking can be made as it was; leave out `until`")
    if init is not None and what == "ranking":
        raise ValueError(f"ranking: made of the main start weights, {known.main_start_weights}; leave out `init`")
    start = init or known.main_start_weights
    if start not in known.start_weights:
        raise ValueError(f"no start weights {start} in {survey}; it has {', '.join(known.start_weights)}")
    match what:
        case "ranking":
            pattern = "anomaly_ranking"
            table = read_survey_table(layout, known, pattern) if until is None else past_ranking(survey, until, root)
            table = table.sort_by("rank").slice(0, first)
            table = _with_catalogue(table, layout, known, _CATALOGUE)
            places = ["images"] * table.num_rows
        case "candidates":
            pattern, images = f"training_candidates/{start}", True
            table = read_survey_table(layout, known, pattern)
            table = table if first is None else table.filter(pc.less_equal(table["rank"], first))
            table = _with_catalogue(table, layout, known, ("ra", "dec", "file"))
            labels = zip(*(table[c].to_pylist() for c in ("label", "cluster")), strict=True)
            places = [f"images/{file_name(label or f'cluster_{k}')}" for label, k in labels]
        case "cluster":
            pattern = f"cluster_labels/[!.]*/{start}"
            table = _members(read_survey_table(layout, known, pattern), cluster, survey, start).slice(0, first)
            table = _with_catalogue(table, layout, known, _CATALOGUE)
            places = ["images"] * table.num_rows
    if images:
        ranks, ids = (table[c].to_pylist() for c in ("rank", "galaxy_id"))
        named = [f"{p}/{r:05d}_{file_name(g)}.png" for p, r, g in zip(places, ranks, ids, strict=True)]
        table = table.append_column("image", pa.array(named, pa.string()))
    with new_folder(folder) as partial:
        write_table(table, partial / f"{what}.parquet")
        arrow_csv.write_csv(for_spreadsheets(table), partial / f"{what}.csv")
        if images:
            _write_images(table, layout, known, partial)
        asked = {"what": what, "cluster": cluster, "until": until.isoformat() if until is not None else None}
        about = _about(layout, known, pattern, start) | asked | {"rows": table.num_rows}
        (partial / "about.json").write_text(json.dumps(about, indent=2) + "\n", encoding="utf-8")
    return table


def file_name(text: str) -> str:
    """A text as part of a file name: letters, digits and `_-.+`, no leading dot, at most 80 characters.

    Parameters
    ----------
    text : str
        An id or a label.

    Returns
    -------
    str
        `text` where it is one already; else it ends in a hash, so that different texts have different names.

    Examples
    --------
    >>> file_name("FRI_uncertain")
    'FRI_uncertain'
    """
    safe = re.sub(r"[^A-Za-z0-9_.+-]|^\.", "_", text)[:80]
    return safe if safe == text else f"{safe}-{hashlib.sha256(text.encode()).hexdigest()[:8]}"


def _members(table: pa.Table, cluster: int | None, survey: str, start: str) -> pa.Table:
    """The members of a cluster with their rank. Raises ValueError where there is none."""
    own = table.filter(pc.equal(table["cluster"], cluster)).drop_columns(["probabilities"])
    if not own.num_rows:
        used = ", ".join(map(str, sorted(pc.unique(table["cluster"]).to_pylist())))
        raise ValueError(f"no cluster {cluster} with members in {survey} for {start} start weights; there are {used}")
    own = own.sort_by([("probability", "descending"), ("galaxy_id", "ascending")])
    return own.add_column(0, "rank", pa.array(range(1, own.num_rows + 1), pa.int32()))


def _with_catalogue(table: pa.Table, layout: Layout, survey: Survey, columns: Sequence[str]) -> pa.Table:
    catalogue = read_survey_table(layout, survey, "catalogue/[!.]*")
    at = places(catalogue["galaxy_id"], table["galaxy_id"])
    rows = pa.array(at, mask=at < 0)  # nothing is known of a galaxy whose delivery was withdrawn since
    for name in columns:
        table = table.append_column(name, catalogue[name].take(rows))
    return table


def _write_images(table: pa.Table, layout: Layout, survey: Survey, folder: Path) -> None:
    from PIL import Image

    cutouts = read_survey_table(layout, survey, "cutouts/[!.]*")
    stack = PixelStore(layout.pixels(survey.name)).of(cutouts)
    rows = rows_of(cutouts, table)
    names = table["image"].to_pylist()
    for parent in {(folder / name).parent for name in names}:
        parent.mkdir(parents=True)
    for start in range(0, len(names), _CHUNK):
        part = slice(start, start + _CHUNK)
        for name, pixels in zip(names[part], stack[rows[part]], strict=True):
            Image.fromarray(pixels[..., 0] if pixels.shape[2] == 1 else pixels).save(folder / name, format="PNG")


def _about(layout: Layout, survey: Survey, pattern: str, start: str) -> dict:
    """What the exported rows are of. Raises FileNotFoundError where there is no ledger of checkpoints."""
    files = sorted((layout.lake / survey.name).glob(f"{pattern}.parquet"))
    names = [file.relative_to(layout.lake).with_suffix("").as_posix() for file in files]
    ledger = read_survey_table(layout, survey, f"byol_checkpoints/{start}").to_pylist()
    return {
        "survey": survey.name,
        "title": survey.title,
        "tables": {name: data_version(file) for name, file in zip(names, files, strict=True)},
        "start_weights": start,
        "checkpoint_sha256": next(row["sha256"] for row in ledger if row["chosen"]),
        "written": datetime.now(UTC).isoformat(timespec="seconds"),
    }
