"""What a person says of the clusters, from the page to the worksheet of `science.worksheet` and back.

Belongs here: a cluster as the page shows it, and saving what was said of it. Does not belong here: matching rows to
clusters (`science.worksheet`), the summary itself (`orchestration.assets.structure`).
"""

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from galaxy_assets.explorer.view import View
from galaxy_assets.lake.query import QueryError
from galaxy_assets.science.worksheet import Override, Row, match, overrides, read_worksheet
from galaxy_assets.settings.spreadsheets import written
from galaxy_assets.settings.survey import Survey
from galaxy_assets.storage.files import replacing
from galaxy_assets.storage.layout import Layout

_COLUMNS = ["init", "cluster", "description", "label", "artefact", "exemplars"]
_ANSWERS = 8


@dataclass(frozen=True)
class Cluster:
    """A cluster with its evidence.

    Attributes
    ----------
    number, n : int
        As in `cluster_summary`, like `description`, `evidence`, `described_by`, `label` and `artefact`.
    exemplars : list of str
        Its most certain members.
    votes : list of (str, float, float, int)
        Question and answer, its mean fraction among the members, that among all, and the members with such votes; the
        most telling first.
    said : Override
        What the worksheet says of it now.
    """

    number: int
    n: int
    description: str
    evidence: str
    described_by: str
    label: str | None
    artefact: bool
    exemplars: list[str]
    votes: list[tuple[str, float, float, int]] = field(default_factory=list)
    said: Override = Override()


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
            row["n"],
            row["description"] or "",
            row["evidence"] or "",
            row["described_by"] or "",
            row.get("label"),
            bool(row["artefact"]),
            exemplars[row["cluster"]],
            [(v["what"], v["mean"], v["everywhere"], v["n"]) for v in votes if v["cluster"] == str(row["cluster"])][
                :_ANSWERS
            ],
            said.get(row["cluster"], Override()),
        )
        for row in summary
        if row["cluster"] in exemplars
    ]


def _rows(layout: Layout, survey: Survey) -> list[Row]:
    path = layout.cluster_worksheet(survey.name)
    return read_worksheet(path, survey.start_weights) if path.exists() else []


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


def save(view: View, survey: Survey, cluster: Cluster, says: Override) -> Path:
    """Write what a person says of a cluster into the survey's worksheet, in place of what it said before.

    The next run reads it. Rows about other clusters stay as they are.

    Parameters
    ----------
    view : View
    survey : Survey
    cluster : Cluster
    says : Override
        None in it leaves a cell to the rule.

    Returns
    -------
    Path
        Of the worksheet.

    Raises
    ------
    ValueError
        Where the worksheet of now cannot be read; the message names the line.
    """
    path = view.lake.layout.cluster_worksheet(survey.name)
    rows = _rows(view.lake.layout, survey)
    own = [row for row in rows if row.init == view.start]
    now = match(own, _cluster_of(view, own), path)["cluster"].to_pylist() if own else []
    about = {id(row) for row, number in zip(own, now, strict=True) if number == cluster.number}
    kept = [row for row in rows if id(row) not in about]
    if says != Override():
        kept.append(Row(0, view.start, str(cluster.number), tuple(cluster.exemplars), says))
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(_COLUMNS)
    for row in kept:
        artefact = "" if row.says.artefact is None else "yes" if row.says.artefact else "no"
        cells = [row.init, row.written_for, row.says.description or "", row.says.label or "", artefact]
        writer.writerow(map(written, [*cells, ";".join(row.exemplars)]))
    with replacing(path) as partial:
        partial.write_text(text.getvalue(), encoding="utf-8")
    return path
