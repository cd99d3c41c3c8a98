"""What was found, taken elsewhere: a table and the cutouts in a folder of their own, without Dagster.

Belongs here: which rows and images make up the ranking, the training candidates and a cluster, and the folder. Does not
belong here: the formats of files (`formats`), how the rows were found (`orchestration.assets`), any table as it is
(`galaxy-assets query --to`).
"""

import hashlib
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal, get_args

import pyarrow as pa
import pyarrow.compute as pc

from galaxy_assets.lake.formats import SUFFIXES, Format, formats_of, write_as
from galaxy_assets.lake.meanings import meanings, said_in, with_meanings
from galaxy_assets.lake.replay import past_ranking, replay_sources
from galaxy_assets.lake.similar import open_survey, read_survey_table
from galaxy_assets.science.galaxy_ids import places
from galaxy_assets.settings.survey import Survey
from galaxy_assets.storage.files import new_folder
from galaxy_assets.storage.layout import Layout
from galaxy_assets.storage.pixels import PixelStore
from galaxy_assets.storage.provenance import data_version
from galaxy_assets.storage.tables import rows_of

What = Literal["ranking", "candidates", "cluster"]

_CATALOGUE = ("ra", "dec", "file", "label")
_CHUNK = 256  # cutouts in memory at once


def export(
    what: What,
    survey: str,
    folder: Path | str,
    *,
    first: int | None = None,
    cluster: int | None = None,
    init: str | None = None,
    images: bool = False,
    until: datetime | None = None,
    formats: Format | Sequence[Format] = ("csv", "parquet"),
    root: Path | str | None = None,
) -> pa.Table:
    """Write a table and its cutouts to a new folder, whole or not at all, and return the table.

    The folder holds `<what>.csv` and `<what>.parquet`, or the formats asked for; `about.json`, which says of which
    survey, table, data version and checkpoint it is, what its columns hold, and when it was made; and with images
    `images/<rank>_<galaxy id>.png`, the cutouts as they are stored, named by the column `image`. In an id or label,
    what does not belong in a file name becomes `_`.

    Parameters
    ----------
    what : {'ranking', 'candidates', 'cluster'}
        `ranking`, the rows of `anomaly_ranking` with ra, dec, file and label of the catalogue; `candidates`,
        `training_candidates` as a training set: always with images, in a folder per label, or per cluster where it has
        none; `cluster`, the members of a cluster by falling probability, equal ones by id.
    survey : str
        Its name.
    folder : Path or str
        Must be absent or empty; `~` is the home folder.
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
    formats : {'csv', 'parquet', 'votable', 'fits'} or sequence of them
        Of the table's files, see `formats.write_as`.
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
        For an unknown kind or format, unknown start weights, a cluster without members, an argument that does not
        concern `what`, or a text that a format cannot hold.
    FileExistsError
        For a folder with something in it.
    FileNotFoundError
        Where the survey was not run that far.

    Examples
    --------
    A ranking of one galaxy, in a lake that `galaxy-assets run` would have made:

    >>> import tempfile
    >>> from galaxy_assets.storage.tables import write_table
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
    folder, formats = Path(folder).expanduser(), formats_of(formats)
    chosen = select(what, survey, first=first, cluster=cluster, init=init, until=until, root=root)
    table, images = chosen.table, images or what == "candidates"
    if images:
        table = with_meanings(table.append_column("image", pa.array(chosen.images(), pa.string())), chosen.said)
    with new_folder(folder) as partial:
        for form in formats:
            write_as(table, partial / f"{what}{SUFFIXES[form]}", form, f"{survey}_{what}")
        if images:
            write_images(table, chosen.layout, chosen.survey, partial)
        asked = {"what": what, "cluster": cluster, "until": until.isoformat() if until is not None else None}
        about = about_export(chosen.layout, chosen.survey, chosen.sources, chosen.start) | asked
        about |= {"rows": table.num_rows, "columns": meanings(table.schema)}
        (partial / "about.json").write_text(json.dumps(about, indent=2) + "\n", encoding="utf-8")
    return table


@dataclass(frozen=True)
class Selected:
    """The rows of an export.

    Attributes
    ----------
    layout : Layout
        The data folder.
    survey : Survey
        The survey.
    start : str
        Start weights.
    sources : tuple of str
        The lake's tables that the rows come from, as `similar.read_survey_table` takes them.
    table : pyarrow.Table
        The rows, whose fields say what they hold.
    said : dict of str to (str, str)
        What the lake says of the columns.
    folders : list of str
        For each row, the folder for its cutout.
    """

    layout: Layout
    survey: Survey
    start: str
    sources: tuple[str, ...]
    table: pa.Table
    said: dict[str, tuple[str, str]]
    folders: list[str]

    def images(self) -> list[str]:
        """For each row, a file name for its cutout."""
        ranks, ids = (self.table[name].to_pylist() for name in ("rank", "galaxy_id"))
        return [f"{f}/{r:05d}_{file_name(g)}.png" for f, r, g in zip(self.folders, ranks, ids, strict=True)]


def select(
    what: What,
    survey: str,
    *,
    first: int | None = None,
    cluster: int | None = None,
    init: str | None = None,
    until: datetime | None = None,
    root: Path | str | None = None,
) -> Selected:
    """The rows of an export, with what their columns hold; parameters and errors are those of `export`.

    Returns
    -------
    Selected
    """
    layout, known = open_survey(survey, root)
    start = _checked(what, known, cluster, init, until)
    sources: tuple[str, ...] = ()
    match what:
        case "ranking":
            pattern = "anomaly_ranking"
            if until is None:
                table = read_survey_table(layout, known, pattern)
            else:
                table, sources = past_ranking(survey, until, root), replay_sources(start)
            table = table.sort_by("rank").slice(0, first)
        case "candidates":
            pattern = f"training_candidates/{start}"
            table = read_survey_table(layout, known, pattern)
            table = table if first is None else table.filter(pc.less_equal(table["rank"], first))
        case "cluster":
            pattern = f"cluster_labels/[!.]*/{start}"
            table = _members(read_survey_table(layout, known, pattern), cluster, survey, start).slice(0, first)
    table = _with_catalogue(table, layout, known, [name for name in _CATALOGUE if name not in table.column_names])
    said = said_in(layout, survey, "catalogue/[!.]*") | said_in(layout, survey, pattern)
    folders = ["images"] * table.num_rows
    if what == "candidates":
        labels = zip(*(table[c].to_pylist() for c in ("label", "cluster")), strict=True)
        folders = [f"images/{file_name(label or f'cluster_{k}')}" for label, k in labels]
    return Selected(layout, known, start, sources or (pattern,), with_meanings(table, said), said, folders)


def _checked(what: What, survey: Survey, cluster: int | None, init: str | None, until: datetime | None) -> str:
    """The start weights. Raises ValueError for what does not concern this kind of export."""
    if what not in get_args(What):
        raise ValueError(f"no export {what!r}; there are {', '.join(get_args(What))}")
    if (cluster is None) == (what == "cluster"):
        which = "say which cluster: give its number as `cluster`"
        raise ValueError(which if what == "cluster" else f"{what}: not of one cluster; leave out `cluster`")
    if until is not None and what != "ranking":
        raise ValueError(f"{what}: only the ranking can be made as it was; leave out `until`")
    if init is not None and what == "ranking":
        raise ValueError(f"ranking: made of the main start weights, {survey.main_start_weights}; leave out `init`")
    start = init or survey.main_start_weights
    if start not in survey.start_weights:
        raise ValueError(f"no start weights {start} in {survey.name}; it has {', '.join(survey.start_weights)}")
    return start


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


def write_images(table: pa.Table, layout: Layout, survey: Survey, folder: Path) -> None:
    """Write cutouts as PNG, as they are stored.

    Parameters
    ----------
    table : pyarrow.Table
        With galaxy_id, and image: a name below the folder.
    layout : Layout
    survey : Survey
    folder : Path
        Takes the files.
    """
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


def about_export(layout: Layout, survey: Survey, sources: Sequence[str], start: str) -> dict[str, Any]:
    """What an export is of.

    Parameters
    ----------
    layout : Layout
    survey : Survey
    sources : sequence of str
        Its tables, as `similar.read_survey_table` takes them.
    start : str
        Start weights.

    Returns
    -------
    dict
        Survey, tables with their data versions, checkpoint and time, for JSON.

    Raises
    ------
    FileNotFoundError
        Where there is no ledger of checkpoints.
    """
    files = sorted(file for name in sources for file in (layout.lake / survey.name).glob(f"{name}.parquet"))
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
