"""Labels that people bring in files: taken over into the log of label events.

    <log's folder>/*.csv, *.tsv      labels to be imported, by `import_drop`
    <log's folder>/zooniverse.yaml   what the answers of a Zooniverse export mean

Belongs here: from the rows of a file to events that are new. Does not belong here: how other programs write labels
(`label_files`), the log itself (`storage.label_events`), and where an imported file goes (`automation`).
"""

import hashlib
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from itertools import count, islice
from pathlib import Path
from typing import Any, NamedTuple

from galaxy_assets.deliveries.ids import ids_meant
from galaxy_assets.deliveries.images import in_words
from galaxy_assets.deliveries.label_files import GivenLabel, ScoreColumns, ZooniverseAnswers, read_label_file
from galaxy_assets.deliveries.readers.table_formats import SUFFIXES
from galaxy_assets.science.labels import taken_back, when
from galaxy_assets.storage.files import NotWritten, state_of
from galaxy_assets.storage.label_events import IMPORT_UNDONE, SAYS, LabelLog, time_prefix
from galaxy_assets.storage.store import store_of

_TEXT = (".csv", ".tsv")
_OTHERS = (".csv.gz", ".tsv.gz", ".xls", ".xlsx", ".ods", *SUFFIXES)
_NAMED = 5  # galaxies that are not known, in a note
_FEW = 2  # labels that a later row of the same person replaces, which may be second thoughts


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
    first : str or None
        Id of the first event that is new.
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
    first: str | None = None
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
    known: Mapping[str, str] | None = None,
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
    known : mapping of str to str, optional
        Id and file of the survey's galaxies (`storage.label_events.known_galaxies`), by which rows name them. Labels of
        others are kept all the same, counted and named.

    Returns
    -------
    Imported

    Raises
    ------
    ValueError
        Where the file as a whole cannot be read, or many rows of one person contradict each other; it names the file
        and the remedy.
    FileNotFoundError
        Where the file is absent.
    """
    beside = log.folder / "zooniverse.yaml"
    for file in (path, beside):
        store_of(file).local(file)
    content = read_label_file(path, answers or (beside if beside.exists() else None), columns, log.folder.name)
    unused: dict[str, str] = {}
    if known is not None:
        meant, unused = ids_meant(
            [label.galaxy_id for label in content.labels], known, [label.who for label in content.labels]
        )
        labels = [replace(label, galaxy_id=id_) for label, id_ in zip(content.labels, meant, strict=True)]
        content = replace(content, labels=labels)
    now, owner = datetime.now(UTC), who or _owner(path)
    batch, repeats = _batch(content.labels, content.source, owner), _repeats(path, content.labels, owner)
    before = _said_before(log, content.source)
    again = any(event.startswith(batch) for event in before.events)
    report = Imported(path, content.source, n_unlabelled=content.n_unlabelled, problems=list(content.problems))
    report.notes = [*content.notes, *_said(unused), *repeats]
    if scores := [label.score for label in content.labels if label.score is not None]:
        report.scores = min(scores), max(scores)
    rows, new, back = [], set[str](), 0
    once_more: dict[str, dict[str, Any]] = {}
    own: dict[tuple[str, str, str], float | str] = {}
    for label in content.labels:
        row = _imported_row(label, content.source, label.who or owner, now, batch)
        key, says = (row["who"], row["galaxy_id"], row["kind"]), row[SAYS[row["kind"]]]
        if label.time is None:
            repeated, own[key] = own.get(key) == says, says
            if repeated:
                continue
        elif row["event"] in before.whole:
            row["event"] = before.successor(row["event"])
            if row["event"] not in before.events:
                once_more[row["event"]] = row
                continue
        known_again = label.time is None and (again or before.latest.get(key) == says)
        if known_again or row["event"] in before.events or row["event"] in new:
            already = row["event"] not in new
            report.n_already += already
            back += already and row["event"] in before.back
            continue
        new.add(row["event"])
        before.latest[key] = says
        rows.append(row)
    if rows:  # what was taken back as a whole is imported otherwise now: also what means the same either way
        rows += once_more.values()
    else:
        report.n_already, back = report.n_already + len(once_more), back + len(once_more)
    report.n_unknown = sum(known is not None and row["galaxy_id"] not in known for row in rows)
    if back:
        report.notes.append(f"{back} of those that were there already were taken back, and stay so")
    added = log.append(rows)
    report.n_added, report.first = len(added), next(iter(added), None)
    return report


def _said(unused: Mapping[str, str]) -> list[str]:
    """Which names are those of no galaxy, and why."""
    if not unused:
        return []
    named = "; ".join(f"{name} ({why})" for name, why in islice(unused.items(), _NAMED))
    return [
        f"{len(unused)} names are of no galaxy in the survey's catalogue: {named}" + "; ..." * (len(unused) > _NAMED)
    ]


def _repeats(path: Path, labels: Sequence[GivenLabel], owner: str) -> list[str]:
    """What to say of rows without a time that say again, or otherwise, what their person said of the galaxy above.

    Raises ValueError where many say otherwise: the last alone would count, and they are of several people.
    """
    said: dict[tuple[str, str, bool], float | str | None] = {}
    again = otherwise = untimed = 0
    for label in labels:
        if label.time is not None:
            continue
        key = label.who or owner, label.galaxy_id, label.score is None
        says = label.label if label.score is None else label.score
        again += key in said and said[key] == says
        otherwise += key in said and said[key] != says
        untimed += 1
        said[key] = says
    people = "If they are of several people, name the column that tells them apart: --who-column NAME, or call it who"
    if otherwise > max(_FEW, untimed / 10):
        raise ValueError(
            f"{path}: {otherwise} of {untimed} rows say something else than an earlier row of the same person of the "
            f"same galaxy, and none has a time: the last alone would count. {people}"
        )
    notes = [f"{again} rows repeat an earlier row of the same person and add nothing. {people}"] if again else []
    if otherwise:
        notes.append(f"{otherwise} rows replace what the same person says of the galaxy in an earlier row. {people}")
    return notes


def take_back(log: LabelLog, event: str, who: str, note: str | None = None) -> int:
    """Take back an import as a whole, so that its file can be imported in another way.

    Parameters
    ----------
    log : LabelLog
        Of the survey.
    event : str
        Any event of the import.
    who : str
        The person who takes it back.
    note : str, optional
        Why.

    Returns
    -------
    int
        Labels that are taken back; those that were before are not among them.

    Raises
    ------
    ValueError
        Where the event is none of an import.
    """
    events = log.read().select(["event", "kind", "undoes", "recorded", "source"]).to_pylist()
    found = next((one for one in events if one["event"] == event), None)
    if found is None or found["source"] not in ("csv", "astronomaly", "zooniverse"):
        raise ValueError(f"{event} is no event of an import in {log.events}; `galaxy-assets labels list` shows them")
    back = taken_back(events)
    # what an import brings is recorded at one moment
    own = [one["event"] for one in events if all(one[name] == found[name] for name in ("recorded", "source"))]
    return len(log.undo([one for one in own if one not in back], who, note, whole=True))


def dropped(folder: Path) -> list[Path]:
    """The tables in a survey's drop of labels, by name: those that `import_drop` imports or says why not.

    Parameters
    ----------
    folder : Path
        The log's folder.

    Returns
    -------
    list of Path
        Without hidden files, and without those still being written (`*.part`, `*.tmp`).
    """
    return sorted(path for path in folder.glob("[!.]*") if path.name.lower().endswith((*_TEXT, *_OTHERS)))


def import_drop(log: LabelLog, known: Mapping[str, str] | None = None, quiet: float = 0) -> list[Imported]:
    """`import_file` of every table of text in the log's folder, by name; another table is a problem.

    Parameters
    ----------
    log : LabelLog
        Of the survey.
    known : mapping of str to str, optional
        Id and file of the survey's galaxies.
    quiet : float
        Seconds for which a file must have stayed as it is; another may still be arriving.

    Returns
    -------
    list of Imported
        One per file; a file that cannot be read is a problem of its own report.
    """
    reports = []
    for path in dropped(log.folder):
        try:
            before = state_of(path)
            if time.time() - before[0] / 1e9 < quiet:
                continue
            if not path.name.lower().endswith(_TEXT):
                raise ValueError(
                    f"{path}: only CSVs are imported from this folder; save it as one, or import it with "
                    f"`galaxy-assets labels import {log.folder.name} {path} --id-column NAME --score-column NAME`"
                )
            report = import_file(log, path, known=known)
            report.changed = state_of(path) != before
            reports.append(report)
        except NotWritten:  # no fault of the file
            raise
        except Exception as error:  # of one file, whatever it is: the others are imported all the same
            why = in_words(error)
            reports.append(Imported(path, problems=[why if str(path) in why else f"{path}: {why}"]))
    return reports


class _Before(NamedTuple):
    """What the log holds: ids of all events, of those taken back, and of those taken back as a whole import.

    `latest` is what each person last said of each galaxy in files of one kind.
    """

    events: set[str]
    back: set[str]
    whole: set[str]
    latest: dict[tuple[str, str, str], float | str]

    def successor(self, event: str) -> str:
        """The id under which an event is said, again where it was taken back as a whole import."""
        ids = (event if number == 1 else f"{event}-{number}" for number in count(1))
        return next(one for one in ids if one not in self.whole)


def _said_before(log: LabelLog, source: str) -> _Before:
    """What the log holds.

    What was taken back counts as said, so that it does not come back with a list that has grown; but not what was taken
    back as a whole import.
    """
    import pyarrow.compute as pc

    before = log.read()
    undos = before.filter(pc.equal(before["kind"], "undo")).select(["event", "kind", "undoes"]).to_pylist()
    back = taken_back(undos)
    whole = {u["undoes"] for u in undos if u["event"].startswith(IMPORT_UNDONE) and u["event"] not in back}
    latest = {
        (e["who"], e["galaxy_id"], e["kind"]): e["score"] if e["kind"] == "score" else e["label"]
        for e in sorted(before.filter(pc.equal(before["source"], source)).to_pylist(), key=when)
        if e["event"] not in whole
    }
    return _Before(set(before["event"].to_pylist()), back, whole, latest)


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
