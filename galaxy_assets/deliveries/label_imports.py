"""Labels that people bring in files: taken over into the log of label events.

    <log's folder>/*.csv             labels to be imported, by `import_drop`
    <log's folder>/zooniverse.yaml   what the answers of a Zooniverse export mean

Belongs here: from the rows of a file to events that are new. Does not belong here: how other programs write labels
(`label_files`), the log itself (`storage.label_events`), and where an imported file goes (`automation`).
"""

import hashlib
import time
from collections.abc import Collection
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from galaxy_assets.deliveries.ids import id_of
from galaxy_assets.deliveries.images import in_words
from galaxy_assets.deliveries.label_files import GivenLabel, ScoreColumns, ZooniverseAnswers, read_label_file
from galaxy_assets.storage.files import NotWritten, state_of
from galaxy_assets.storage.label_events import SAYS, LabelLog, time_prefix


@dataclass
class Imported:
    """What an import did.

    Attributes
    ----------
    path : Path
        The file.
    source : str or None
        Which kind of file it is; None where it could not be read.
    n_added, n_already, n_unlabelled, n_unknown : int
        Labels that are new, those the log had already, rows without a label, and labels of galaxies that the survey
        does not have.
    scores : tuple of two floats or None
        The lowest and the highest score of the file, 0 to 5.
    problems : list of str
        What is wrong with the file or its rows.
    notes : list of str
        How it was read where that is not plain.
    changed : bool
        It was written to meanwhile, and is to be read again.
    """

    path: Path
    source: str | None = None
    n_added: int = 0
    n_already: int = 0
    n_unlabelled: int = 0
    n_unknown: int = 0
    """Of the new ones, how many are of galaxies that the survey does not know."""
    scores: tuple[float, float] | None = None
    problems: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    changed: bool = False


def import_file(
    log: LabelLog,
    path: Path,
    who: str | None = None,
    *,
    answers: ZooniverseAnswers | None = None,
    columns: ScoreColumns | None = None,
    known: Collection[str] | None = None,
) -> Imported:
    """Take over the labels of a file that `deliveries.label_files` knows; doing it again adds nothing.

    A row with a time is the same label in whatever file it comes. A row without a time is said now, unless the same
    rows were imported before, or it repeats the latest that this person said of this galaxy in a file of this kind. So
    of an export or list that has grown only what is new is added.

    Parameters
    ----------
    log : LabelLog
        Of the survey, after which its folder is named.
    path : Path
        The file.
    who : str, optional
        The person, for rows that name none; the owner of the file when not given.
    answers : ZooniverseAnswers, optional
        What a Zooniverse export's answers mean; `zooniverse.yaml` in the log's folder when not given.
    columns : ScoreColumns, optional
        The file is a table of graded scores with these columns.
    known : Collection of str, optional
        Galaxies of the survey. Labels of others are kept all the same, and counted.

    Returns
    -------
    Imported

    Raises
    ------
    ValueError
        Where the file as a whole cannot be read; it names the file and the remedy.
    FileNotFoundError
        Where the file is absent.
    """
    beside = log.folder / "zooniverse.yaml"
    content = read_label_file(path, answers or (beside if beside.exists() else None), columns, log.folder.name)
    if known is not None:
        labels = [replace(label, galaxy_id=id_of(label.galaxy_id, known)) for label in content.labels]
        content = replace(content, labels=labels)
    now, owner = datetime.now(UTC), who or _owner(path)
    batch = _batch(content.labels, content.source, owner)
    present, latest = _said_before(log, content.source)
    again = any(event.startswith(batch) for event in present)
    report = Imported(path, content.source, n_unlabelled=content.n_unlabelled, problems=list(content.problems))
    report.notes = list(content.notes)
    if scores := [label.score for label in content.labels if label.score is not None]:
        report.scores = min(scores), max(scores)
    rows = []
    for label in content.labels:
        row = _imported_row(label, content.source, label.who or owner, now, batch)
        key, says = (row["who"], row["galaxy_id"], row["kind"]), row[SAYS[row["kind"]]]
        if row["event"] in present or (label.time is None and (again or latest.get(key) == says)):
            report.n_already += 1
            continue
        present.add(row["event"])
        latest[key] = says
        rows.append(row)
        report.n_unknown += known is not None and row["galaxy_id"] not in known
    report.n_added = len(log.append(rows))
    return report


def import_drop(log: LabelLog, known: Collection[str] | None = None, quiet: float = 0) -> list[Imported]:
    """`import_file` of every `*.csv` in the log's folder, by name.

    Hidden files and those still being written (`*.part`, `*.tmp`) are left alone.

    Parameters
    ----------
    log : LabelLog
        Of the survey.
    known : Collection of str, optional
        Galaxies of the survey.
    quiet : float
        Seconds for which a file must have stayed as it is; another may still be arriving.

    Returns
    -------
    list of Imported
        One per file; a file that cannot be read is a problem of its own report.
    """
    reports = []
    for path in sorted(log.folder.glob("[!.]*.csv")):
        try:
            before = state_of(path)
            if time.time() - before[0] / 1e9 < quiet:
                continue
            report = import_file(log, path, known=known)
            report.changed = state_of(path) != before
            reports.append(report)
        except NotWritten:  # no fault of the file
            raise
        except Exception as error:  # of one file, whatever it is: the others are imported all the same
            why = in_words(error)
            reports.append(Imported(path, problems=[why if str(path) in why else f"{path}: {why}"]))
    return reports


def _said_before(log: LabelLog, source: str) -> tuple[set[str], dict[tuple[str, str, str], int | str]]:
    """The ids of all events, and what each person last said of each galaxy in files of this kind."""
    import pyarrow.compute as pc

    before = log.read()
    latest = {
        (e["who"], e["galaxy_id"], e["kind"]): e["score"] if e["kind"] == "score" else e["label"]
        for e in before.filter(pc.equal(before["source"], source)).to_pylist()
    }
    return set(before["event"].to_pylist()), latest


def _batch(labels: list[GivenLabel], source: str, owner: str) -> str:
    """What the ids of rows without a time begin with.

    It is made of what the file's labels say, not of numbers beside them, which Astronomaly changes with each training.
    """
    said = [(g.line, g.galaxy_id, g.score, g.label, g.note, g.who) for g in labels if g.time is None]
    return f"import-{hashlib.sha256(repr((source, owner, said)).encode()).hexdigest()[:16]}"


def _imported_row(given: GivenLabel, source: str, who: str, now: datetime, batch: str) -> dict[str, Any]:
    """The event of a row, whose id is the same whenever the same row is imported."""
    kind = "class" if given.score is None else "score"
    says = (who, given.galaxy_id, kind, given.score, given.label, given.note, given.key)
    if given.time is not None:
        event = f"{time_prefix(given.time)}-{hashlib.sha256(repr((source, says)).encode()).hexdigest()[:12]}"
    else:
        event = f"{batch}-{given.line:07d}-{kind}"
    row = {"event": event, "time": given.time or now, "who": who, "kind": kind, "galaxy_id": given.galaxy_id}
    return row | {"score": given.score, "label": given.label, "note": given.note, "source": source}


def _owner(path: Path) -> str:
    try:
        return path.owner()
    except KeyError:  # a user of another machine or outside the container
        return f"user {path.stat().st_uid}"
