"""What a person wrote about the clusters, carried to the clusters of today (paper 6.2, Table 2).

Belongs here: reading the worksheet, finding the cluster that a row is about, and the template to start from. Does not
belong here: the rule's own descriptions (`clusters`).

Clusters are numbered anew whenever the mixture is fitted. A row therefore names its cluster by exemplars, members that
were among the most certain when it was written, and is about the cluster that now holds more than half of them.
"""

import csv
import io
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import pyarrow as pa

from galaxy_assets.settings import spreadsheets

WORKSHEET = pa.schema(
    [
        ("line", pa.int32()),
        ("cluster", pa.int32()),
        ("written_for", pa.string()),
        ("description", pa.string()),
        ("label", pa.string()),
        ("artefact", pa.bool_()),
        ("exemplars", pa.list_(pa.string())),
        ("n_held", pa.int32()),
    ]
)
# an exemplar: between quotes, whose own are doubled, or as it stands up to the next ";"
_EXEMPLAR = re.compile(r'\s*"((?:[^"]|"")*)"\s*(?:;|\Z)|([^;]*)(?:;|\Z)')
_SAID = ("description", "label", "artefact")
_YES, _NO = {"yes", "true", "1"}, {"no", "false", "0"}


class Override(NamedTuple):
    """What a person says of a cluster; None where they leave it to the rule.

    Attributes
    ----------
    description : str or None
    label : str or None
        A class.
    artefact : bool or None
    """

    description: str | None = None
    label: str | None = None
    artefact: bool | None = None


@dataclass(frozen=True)
class Row:
    """One row of the worksheet.

    Attributes
    ----------
    line : int
        In the file.
    init : str
        Start weights.
    written_for : str
        The number its cluster had, for the reader.
    exemplars : tuple of str
        Galaxies that name the cluster.
    says : Override
    """

    line: int
    init: str
    written_for: str
    exemplars: tuple[str, ...]
    says: Override


def exemplars_written(ids: Sequence[str]) -> str:
    """Galaxy ids as one cell of the worksheet.

    Parameters
    ----------
    ids : sequence of str

    Returns
    -------
    str
        With `;` between them. An id that has one itself, begins with a quote, or has space around it stands between
        quotes, its own doubled.

    Examples
    --------
    >>> from galaxy_assets.science.worksheet import exemplars_read, exemplars_written
    >>> exemplars_written(["M 31", "a;b.png"])
    'M 31;"a;b.png"'
    >>> exemplars_read('M 31; "a;b.png"')
    ('M 31', 'a;b.png')
    """

    def cell(galaxy: str) -> str:
        plain = ";" not in galaxy and not galaxy.startswith('"') and galaxy == galaxy.strip()
        return galaxy if plain else '"' + galaxy.replace('"', '""') + '"'

    return ";".join(map(cell, ids))


def exemplars_read(cell: str) -> tuple[str, ...]:
    """The galaxy ids in a cell that `exemplars_written` or a person wrote.

    Parameters
    ----------
    cell : str

    Returns
    -------
    tuple of str
        Each once, without the space around those that have no quotes.
    """
    found = (m[2].strip() if m[1] is None else m[1].replace('""', '"') for m in _EXEMPLAR.finditer(cell))
    return tuple(dict.fromkeys(galaxy for galaxy in found if galaxy))


def read_worksheet(path: Path, inits: Sequence[str]) -> list[Row]:
    """The rows of a worksheet in which something is said.

    Parameters
    ----------
    path : Path
        CSV with columns `init` (start weights), `exemplars` (as `exemplars_written`) and any of `description`,
        `label` (a class) and `artefact` (yes or no); `cluster` and others are for the reader.
    inits : sequence of str
        Start weights of the survey.

    Returns
    -------
    list of Row
        Without the rows that have no description, label or artefact: they leave the cluster to the rule.

    Raises
    ------
    ValueError
        Where a column is missing, start weights are not among `inits`, a row has no exemplars or `artefact` is neither
        yes nor no. The message names the file, the line and the remedy.
    """
    columns, cells = spreadsheets.rows_by_hand(path)
    missing = {"init", "exemplars"} - set(columns)
    if missing or not set(_SAID) & set(columns):
        raise ValueError(
            f"{path}: no column {', '.join(sorted(missing)) or 'description, label or artefact'}; it has "
            f"{', '.join(columns) or 'none'}. Start from the template that cluster_summary writes"
        )
    rows = []
    for line, cell in cells:
        said = [cell.get(name, "") for name in _SAID]
        if not any(said):
            continue
        where = f"{path}, line {line}"
        if (init := cell.get("init", "")) not in inits:
            raise ValueError(f"{where}: start weights {init!r} are not among {', '.join(inits)}; correct `init`")
        exemplars = exemplars_read(cell.get("exemplars", ""))
        if not exemplars:
            raise ValueError(
                f"{where}: no exemplars, and a cluster's number does not outlast a refit; copy them from the template"
            )
        answer = said[2].lower()
        if answer not in _YES | _NO | {""}:
            raise ValueError(f"{where}: artefact is {said[2]!r}; write yes or no, or leave it empty")
        says = Override(said[0] or None, said[1] or None, answer in _YES if answer else None)
        rows.append(Row(line, init, cell.get("cluster", ""), exemplars, says))
    return rows


def match(rows: Sequence[Row], cluster_of: Mapping[str, int], path: Path) -> pa.Table:
    """Each row with the cluster it is about now.

    Parameters
    ----------
    rows : sequence of Row
        Of one start.
    cluster_of : mapping of str to int
        Cluster of each galaxy id under the rows' start weights.
    path : Path
        The worksheet, for messages.

    Returns
    -------
    pyarrow.Table
        WORKSHEET. `cluster` is the one that holds more than half of the row's exemplars, null if none does (members
        scattered, or no longer in the survey); `n_held` is how many the best one holds.

    Raises
    ------
    ValueError
        Where two rows are about one cluster; the message names `path` and both lines.

    Examples
    --------
    >>> from pathlib import Path
    >>> from galaxy_assets.science.worksheet import Override, Row, match
    >>> row = Row(2, "imagenet", "7", ("a", "b", "c"), Override(label="spiral"))
    >>> match([row], {"a": 4, "b": 4, "c": 0}, Path("clusters.csv")).select(["cluster", "n_held", "label"]).to_pylist()
    [{'cluster': 4, 'n_held': 2, 'label': 'spiral'}]
    """
    table, line_of = [], {}
    for row in rows:
        held = Counter(cluster_of[galaxy] for galaxy in row.exemplars if galaxy in cluster_of)
        best, n = min(held.items(), key=lambda item: (-item[1], item[0]), default=(None, 0))
        cluster = best if 2 * n > len(row.exemplars) else None
        if cluster is not None and cluster in line_of:
            raise ValueError(
                f"{path}: lines {line_of[cluster]} and {row.line} are both about cluster {cluster} of {row.init}: "
                "it now holds the exemplars of both; delete one of them"
            )
        if cluster is not None:
            line_of[cluster] = row.line
        table.append(
            {
                "line": row.line,
                "cluster": cluster,
                "written_for": row.written_for,
                **row.says._asdict(),
                "exemplars": list(row.exemplars),
                "n_held": n,
            }
        )
    return pa.Table.from_pylist(table, schema=WORKSHEET)


def overrides(worksheet: pa.Table) -> dict[int, Override]:
    """What a person says, by cluster.

    Parameters
    ----------
    worksheet : pyarrow.Table
        WORKSHEET.

    Returns
    -------
    dict of int to Override
        Without rows that are about no cluster (the asset warns of them).
    """
    rows = (row for row in worksheet.to_pylist() if row["cluster"] is not None)
    return {row["cluster"]: Override(row["description"], row["label"], row["artefact"]) for row in rows}


def template(
    init: str,
    exemplars: Mapping[int, Sequence[str]],
    summary: Mapping[int, tuple[str, str]],
    said: Mapping[int, Override],
) -> str:
    """A worksheet to edit: a row per cluster that has exemplars.

    Cells that a person fills are empty unless the person has filled them before: a template that is copied as it is
    changes nothing.

    Parameters
    ----------
    init : str
        Start weights.
    exemplars : mapping of int to sequence of str
        Galaxies that name each cluster.
    summary : mapping of int to (str, str)
        Description and evidence of each cluster.
    said : mapping of int to Override
        What a person has said already.

    Returns
    -------
    str
        CSV.
    """
    lines = [["init", "cluster", "description", "label", "artefact", "exemplars", "now_described_as", "evidence"]]
    for k, ids in exemplars.items():
        own = said.get(k, Override())
        artefact = "" if own.artefact is None else "yes" if own.artefact else "no"
        cells = [init, str(k), own.description or "", own.label or "", artefact, exemplars_written(ids), *summary[k]]
        lines.append(list(map(spreadsheets.written, cells)))
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(lines)
    return text.getvalue()
