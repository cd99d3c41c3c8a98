"""What a person says of the clusters, from the page to the worksheet of `science.worksheet` and back.

Belongs here: a cluster as the page shows it, and saving what was said of it. Does not belong here: matching rows to
clusters (`science.worksheet`), the summary itself (`orchestration.assets.structure`).
"""

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from galaxy_assets.explorer.changes import Otherwise, one_at_a_time
from galaxy_assets.explorer.view import View
from galaxy_assets.lake.query import QueryError
from galaxy_assets.science.worksheet import Override, Row, exemplars_written, match, overrides, read_worksheet
from galaxy_assets.settings.regular import regular
from galaxy_assets.settings.spreadsheets import by_hand, written
from galaxy_assets.settings.survey import Survey
from galaxy_assets.storage.files import replacing
from galaxy_assets.storage.layout import Layout
from galaxy_assets.storage.store import store_of

_COLUMNS = ["init", "cluster", "description", "label", "artefact", "exemplars"]
_ANSWERS = 8


@dataclass(frozen=True)
class Seen:
    """A cluster as a person saw it when they said something of it.

    Attributes
    ----------
    number : int
        It had then.
    exemplars : list of str
        Its most certain members, by which it is known after a refit.
    said : Override
        What the worksheet said of it.
    """

    number: int
    exemplars: list[str]
    said: Override


@dataclass(frozen=True)
class Cluster(Seen):
    """A cluster with its evidence.

    Attributes
    ----------
    n : int
        As in `cluster_summary`, like `description`, `evidence`, `described_by`, `label` and `artefact`.
    votes : list of (str, float, float, int)
        Question and answer, its mean fraction among the members, that among all, and the members with such votes; the
        most telling first.
    """

    n: int
    description: str
    evidence: str
    described_by: str
    label: str | None
    artefact: bool
    votes: list[tuple[str, float, float, int]]


def read_clusters(view: View, survey: Survey) -> list[Cluster]:
    """The clusters of a map with members, by number.

    Parameters
    ----------
    view : View
    survey : Survey

    Returns
    -------
    list of Cluster

    Raises
    ------
    QueryError
        Where the survey has none yet.
    """
    schema, start = f'"{survey.name}"', [view.start]
    summary = view.lake.ask(
        f"select * from {schema}.cluster_summary where init = ? order by cluster", start
    ).to_pylist()
    certain = view.lake.ask(
        f"select cluster, list(galaxy_id order by probability desc, galaxy_id)[:{survey.labelling.exemplars}] as ids "
        f"from {schema}.cluster_labels where init = ? group by cluster",
        start,
    ).to_pylist()
    exemplars = {row["cluster"]: row["ids"] for row in certain}
    try:
        votes = view.lake.ask(
            f"select o.cluster, o.question || ': ' || o.answer as what, o.mean, a.mean as everywhere, o.n "
            f"from {schema}.vote_fractions o join {schema}.vote_fractions a using (init, question, answer) "
            "where init = ? and a.cluster = 'all' and o.cluster <> 'all' order by abs(o.mean - a.mean) desc",
            start,
        ).to_pylist()
    except QueryError:
        votes = []
    said = _said(view, survey)
    return [
        Cluster(
            row["cluster"],
            exemplars[row["cluster"]],
            said.get(row["cluster"], Override()),
            row["n"],
            row["description"] or "",
            row["evidence"] or "",
            row["described_by"] or "",
            row.get("label"),
            bool(row["artefact"]),
            [(v["what"], v["mean"], v["everywhere"], v["n"]) for v in votes if v["cluster"] == str(row["cluster"])][
                :_ANSWERS
            ],
        )
        for row in summary
        if row["cluster"] in exemplars
    ]


def _rows(layout: Layout, survey: Survey) -> list[Row]:
    path = layout.cluster_worksheet(survey.name)
    return read_worksheet(store_of(path).local(path), survey.start_weights) if path.exists() else []


def _cluster_of(view: View, rows: Sequence[Row]) -> dict[str, int]:
    wanted = [galaxy for row in rows for galaxy in row.exemplars]
    if not wanted:
        return {}
    found = view.lake.ask(
        f'select galaxy_id, cluster from "{view.survey}".cluster_labels where init = ? and list_contains(?, galaxy_id)',
        [view.start, wanted],
    ).to_pylist()
    return {row["galaxy_id"]: row["cluster"] for row in found}


def _said(view: View, survey: Survey) -> dict[int, Override]:
    path = view.lake.layout.cluster_worksheet(survey.name)
    own = [row for row in _rows(view.lake.layout, survey) if row.init == view.start]
    return overrides(match(own, _cluster_of(view, own), path))


def save(view: View, survey: Survey, cluster: Seen, says: Override) -> Path:
    """Write what a person says of a cluster into the survey's worksheet, in place of what it said before.

    The next run reads it. The cluster is the one that holds the exemplars now, whatever its number. Other rows and
    columns stay as they are.

    Parameters
    ----------
    view : View
    survey : Survey
    cluster : Seen
    says : Override
        None in it leaves a cell to the rule.

    Returns
    -------
    Path
        Of the worksheet.

    Raises
    ------
    Otherwise
        Where no cluster holds the exemplars any more, or the worksheet of now says something else of it than was shown.
    ValueError
        Where the worksheet cannot be read; the message names the line.
    """
    layout = view.lake.layout
    path = layout.cluster_worksheet(survey.name)
    with one_at_a_time(layout, survey.name):
        own = [row for row in _rows(layout, survey) if row.init == view.start]
        card = Row(0, view.start, str(cluster.number), tuple(cluster.exemplars), says)
        number = match([card], _cluster_of(view, [card]), path)["cluster"][0].as_py()
        if number is None:
            raise Otherwise(f"the galaxies of cluster {cluster.number} are in several by now; reload the page")
        now = match(own, _cluster_of(view, own), path)["cluster"].to_pylist() if own else []
        about = next((row for row, of in zip(own, now, strict=True) if of == number), None)
        if (about.says if about else Override()) != cluster.said:
            raise Otherwise(f"cluster {number} is described otherwise by now; reload the page to see it")
        text = _sheet(path, about.line if about else 0, replace(card, written_for=str(number)))
        with replacing(path) as partial:
            partial.write_text(text, encoding="utf-8")
    return path


def _sheet(path: Path, line: int, row: Row) -> str:
    """The worksheet with this row in place of a line, or below all where that is 0; all other cells as they are."""
    header, kept = _cells(path)
    columns = list(map(by_hand, header))
    more = [name for name in _COLUMNS if name not in columns]
    width, header, columns = len(columns), [*header, *more], [*columns, *more]
    cells = dict(zip(_COLUMNS, _said_in(row), strict=True))
    table, placed = [], False
    for at, given in kept:
        given = [*given[:width], *[""] * (len(columns) - min(width, len(given))), *given[width:]]
        if at == line:
            placed = True
            given = [cells.get(name, cell) for name, cell in zip(columns, given, strict=False)] + given[len(columns) :]
            others = [cell for name, cell in zip(columns, given, strict=False) if name not in _COLUMNS]
            if row.says == Override() and not any(others):
                continue
        table.append(given)
    if not placed and row.says != Override():
        table.append([cells.get(name, "") for name in columns])
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows([header, *table])
    return text.getvalue()


def _cells(path: Path) -> tuple[list[str], list[tuple[int, list[str]]]]:
    """First line of a worksheet, and each row with its line; none where there is no file."""
    if not path.exists():
        return [], []
    with regular(path).open(encoding="utf-8-sig", newline="") as stream:
        reader = csv.reader(stream, strict=True)
        (_, header), *rows = [(reader.line_num, cells) for cells in reader if cells] or [(1, [])]
    return header, rows


def _said_in(row: Row) -> list[str]:
    """The cells of _COLUMNS."""
    artefact = "" if row.says.artefact is None else "yes" if row.says.artefact else "no"
    cells = [row.init, row.written_for, row.says.description or "", row.says.label or "", artefact]
    return [written(cell) for cell in [*cells, exemplars_written(row.exemplars)]]
