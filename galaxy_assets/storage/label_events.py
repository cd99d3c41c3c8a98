"""People's labels as events: who said what of which galaxy, and when. Nothing is changed, what was wrong is undone.

Belongs here: the files of events and what comes into them. Does not belong here: what the events come to
(`science.labels`), how other programs write labels (`deliveries.label_files`).

    <folder>/events/*.parquet         EVENTS; one file per `append`, or many of them merged by `compact`
    <folder>/events/.listing.lock     shared while files are listed, exclusive while merged ones are taken away
    <folder>/events/.compacting.lock  held by the one compaction
    <folder>/*.csv                    labels to be imported, by `import_drop`
    <folder>/zooniverse.yaml          what the answers of a Zooniverse export mean
"""

import fcntl
import hashlib
import os
import uuid
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from galaxy_assets.deliveries.label_files import GivenLabel, ZooniverseAnswers, read_answers, read_label_file
from galaxy_assets.settings.survey import Survey
from galaxy_assets.storage.layout import Layout
from galaxy_assets.storage.provenance import data_version
from galaxy_assets.storage.tables import write_table

EVENTS = pa.schema(
    [
        ("event", pa.string()),
        ("time", pa.timestamp("us", "UTC")),
        ("recorded", pa.timestamp("us", "UTC")),
        ("who", pa.string()),
        ("kind", pa.string()),
        ("galaxy_id", pa.string()),
        ("score", pa.int8()),
        ("label", pa.string()),
        ("note", pa.string()),
        ("ranking_seen", pa.string()),
        ("model_seen", pa.string()),
        ("undoes", pa.string()),
        ("source", pa.string()),
        ("round", pa.int32()),
        ("acquisition", pa.float64()),
    ]
)
"""`time` is when it was said, `recorded` when the log took it down, later for imported labels. `kind` is `score` (0-5),
`class` (`label`) or `undo` (of the event `undoes`); `ranking_seen` and `model_seen` are the data versions of what the
person looked at; `round` and `acquisition` are the oracle's."""

SOURCES = ("cli", "csv", "astronomaly", "zooniverse", "explorer", "oracle")
_SAYS = {"score": "score", "class": "label", "undo": "undoes"}


@dataclass
class Imported:
    """What an import did: labels that are new, those the log had already, rows without one, and what went wrong."""

    path: Path
    source: str | None = None
    n_added: int = 0
    n_already: int = 0
    n_unlabelled: int = 0
    n_unknown: int = 0
    """Of the new ones, how many are of galaxies that the survey does not know."""
    problems: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class LabelLog:
    """The label events of one survey. Any number of processes may append, read and compact at the same time."""

    folder: Path

    @property
    def events(self) -> Path:
        return self.folder / "events"

    def append(self, rows: Iterable[Mapping[str, Any]]) -> list[str]:
        """Keep events, all or none, and return their ids; when it returns they survive the process.

        A row has `who`, `kind`, `galaxy_id`, `source` and what its kind says (`score`, `label` or `undoes`), and may
        have the other columns of EVENTS; `time` is now and `event` a new id where not given. `recorded` is now.

        Raises ValueError, which names the row and what is wrong with it.
        """
        now = datetime.now(UTC)
        whole = [_validated(row, i, now) for i, row in enumerate(rows)]
        if whole:
            name = f"{now:%Y%m%dT%H%M%S%f}-{uuid.uuid4().hex}.parquet"
            write_table(pa.Table.from_pylist(whole, schema=EVENTS), self.events / name)
        return [row["event"] for row in whole]

    def read(self, until: datetime | None = None) -> pa.Table:
        """The events in EVENTS, by (time, event), each once; those recorded up to and including `until`, if given: what
        a ranking made then could know.

        `until` must have a time zone. Raises ValueError if it has none.
        """
        import pyarrow.compute as pc

        if until is not None and until.tzinfo is None:
            raise ValueError(f"{until} has no time zone; say for instance {until.isoformat()}+00:00")
        while True:
            try:
                table = _once(_concatenated(self.files()))
                break
            except FileNotFoundError:  # merged since it was listed: what it held is in a newer file
                continue
        return (
            table
            if until is None
            else table.filter(pc.less_equal(table["recorded"], pa.scalar(until, EVENTS.field("recorded").type)))
        )

    def undo(self, event: str, who: str, note: str | None = None, source: str = "cli") -> dict[str, Any]:
        """Take back an event, also an undo, by another event.

        Parameters
        ----------
        event : str
            Id of the event to be taken back.
        who : str
            The person who takes it back.
        note : str, optional
            Why.
        source : str
            One of SOURCES.

        Returns
        -------
        dict
            The new event, `event` its id.

        Raises
        ------
        ValueError
            For an id that the log does not have.
        """
        import pyarrow.compute as pc

        table = self.read()
        found = table.filter(pc.equal(table["event"], event)).to_pylist()
        if not found:
            raise ValueError(f"no event {event} in {self.events}; `galaxy-assets labels list` shows them")
        # where the other clock is ahead: lists then show it after what it takes back
        time = max(datetime.now(UTC), found[0]["time"] + timedelta(microseconds=1))
        row = {"kind": "undo", "undoes": event, "galaxy_id": found[0]["galaxy_id"], "time": time}
        row |= {"who": who, "note": note, "source": source}
        return {**row, "event": self.append([row])[0]}

    def import_csv(
        self,
        path: Path,
        who: str | None = None,
        *,
        answers: ZooniverseAnswers | None = None,
        known: Collection[str] | None = None,
    ) -> Imported:
        """Take over the labels of a file that `deliveries.label_files` knows; doing it again adds nothing.

        A row that says when it was said is known again by what it says, in whatever file it comes. A row that does not
        is said now, unless the same rows were imported before, or it repeats the latest that this person said of this
        galaxy in a file of this kind: exports and lists that have grown add what is new in them.

        Parameters
        ----------
        who : the person, for rows that name none; the owner of the file when not given.
        answers : what a Zooniverse export's answers mean; `zooniverse.yaml` in the log's folder when not given.
        known : galaxies of the survey. Labels of others are kept all the same, and counted.

        Raises ValueError, which names the file and the remedy, where the file as a whole cannot be read;
        FileNotFoundError where it is absent.
        """
        import pyarrow.compute as pc

        beside = self.folder / "zooniverse.yaml"
        if answers is None and beside.exists():
            answers = read_answers(beside)
        content = read_label_file(path, answers)
        now, owner = datetime.now(UTC), who or _owner(path)
        batch = _batch(content.labels, content.source, owner)
        before = self.read()
        present = set(before["event"].to_pylist())
        again = any(event.startswith(batch) for event in present)
        latest = {
            (e["who"], e["galaxy_id"], e["kind"]): e["score"] if e["kind"] == "score" else e["label"]
            for e in before.filter(pc.equal(before["source"], content.source)).to_pylist()
        }
        report = Imported(path, content.source, n_unlabelled=content.n_unlabelled, problems=list(content.problems))
        rows = []
        for label in content.labels:
            row = _imported_row(label, content.source, label.who or owner, now, batch)
            key, says = (row["who"], row["galaxy_id"], row["kind"]), row[_SAYS[row["kind"]]]
            if row["event"] in present or (label.time is None and (again or latest.get(key) == says)):
                report.n_already += 1
                continue
            present.add(row["event"])
            latest[key] = says
            rows.append(row)
            report.n_unknown += known is not None and row["galaxy_id"] not in known
        report.n_added = len(self.append(rows))
        return report

    def import_drop(self, known: Collection[str] | None = None) -> list[Imported]:
        """`import_csv` of every `*.csv` in the log's folder, by name; a file that cannot be read is a problem of its
        own report. Hidden files and those still being written (`*.part`, `*.tmp`) are left alone."""
        reports = []
        for path in sorted(self.folder.glob("[!.]*.csv")):
            try:
                reports.append(self.import_csv(path, known=known))
            except (ValueError, OSError) as error:
                reports.append(Imported(path, problems=[str(error)]))
        return reports

    def compact(self) -> int:
        """Merge the files of events into one and return how many were merged, 0 where there was nothing to do or
        another compaction is at it. Nothing is lost when it is killed, and nobody waits for it."""
        if not self.events.exists():
            return 0
        with (self.events / ".compacting.lock").open("w") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return 0
            files = self.files()
            if len(files) < 2:
                return 0
            merged = self.events / f"merged-{uuid.uuid4().hex}.parquet"
            write_table(_once(_concatenated(files)), merged)
            _flush_folder(self.events)
            with self._listing(fcntl.LOCK_EX):
                for file in files:
                    file.unlink()
            return len(files)

    def files(self) -> list[Path]:
        if not self.events.exists():
            return []
        with self._listing(fcntl.LOCK_SH):
            return sorted(self.events.glob("[!.]*.parquet"))

    @contextmanager
    def _listing(self, how: int) -> Iterator[None]:
        # a folder that changes while it is listed may show neither the merged file nor those it was merged from
        with (self.events / ".listing.lock").open("a") as lock:
            fcntl.flock(lock, how)
            yield


def known_galaxies(layout: Layout, survey: str) -> set[str] | None:
    """Ids in the survey's catalogue, None where it was not made yet."""
    import pyarrow.parquet as pq

    files = sorted((layout.lake / survey / "catalogue").glob("[!.]*.parquet"))
    if not files:
        return None
    return {galaxy for file in files for galaxy in pq.read_table(file, columns=["galaxy_id"])["galaxy_id"].to_pylist()}


def seen(layout: Layout, survey: Survey) -> dict[str, str | None]:
    """What a person who scores a survey's galaxies now has before them.

    Returns
    -------
    dict
        `ranking_seen` and `model_seen`: the data versions of `anomaly_ranking` and of the main start weights'
        `pca_model`, None where there is no such table.
    """
    model = layout.table(survey.name, "pca_model", survey.main_start_weights)
    return {
        "ranking_seen": data_version(layout.table(survey.name, "anomaly_ranking")),
        "model_seen": data_version(model),
    }


def _validated(row: Mapping[str, Any], number: int, now: datetime) -> dict[str, Any]:
    """The row with its time and id. Raises ValueError."""
    whole = {name: row.get(name) for name in EVENTS.names}
    kind, score, time = str(whole["kind"]), whole["score"], whole["time"] or now
    says = _SAYS.get(kind)
    wrong = [
        (bool(set(row) - set(whole)), f"no such column: {', '.join(sorted(set(row) - set(whole)))}"),
        (says is None, f"kind {kind!r} is not one of {', '.join(_SAYS)}"),
        (whole["source"] not in SOURCES, f"source {whole['source']!r} is not one of {', '.join(SOURCES)}"),
        (not whole["galaxy_id"], "no galaxy_id"),
        (not whole["who"], "no who"),
        (says is not None and whole[says] in (None, ""), f"a {kind} without {says}"),
        (any(whole[n] is not None for n in _SAYS.values() if n != says), f"a {kind} has {says} and none of the others"),
        (score is not None and score not in range(6), f"score {score} is not one of 0, 1, 2, 3, 4, 5"),
        (time.tzinfo is None, f"time {time} has no time zone"),
    ]
    problems = [text for found, text in wrong if found]
    if problems:
        raise ValueError(f"row {number} of the label events: {'; '.join(problems)}")
    event = whole["event"] or f"{_prefix(time)}-{uuid.uuid4().hex[:12]}"
    return whole | {"time": time, "recorded": now, "event": event}


def _prefix(time: datetime) -> str:
    return f"{time.astimezone(UTC):%Y%m%dT%H%M%S%f}"


def _batch(labels: list[GivenLabel], source: str, owner: str) -> str:
    """What the ids of rows without a time begin with: by what the file's labels say, not by numbers beside them, which
    Astronomaly changes with each training."""
    said = [(g.line, g.galaxy_id, g.score, g.label, g.note, g.who) for g in labels if g.time is None]
    return f"import-{hashlib.sha256(repr((source, owner, said)).encode()).hexdigest()[:16]}"


def _imported_row(given: GivenLabel, source: str, who: str, now: datetime, batch: str) -> dict[str, Any]:
    """The event of a row, whose id is the same whenever the same row is imported."""
    kind = "class" if given.score is None else "score"
    says = (who, given.galaxy_id, kind, given.score, given.label, given.note, given.key)
    if given.time is not None:
        event = f"{_prefix(given.time)}-{hashlib.sha256(repr((source, says)).encode()).hexdigest()[:12]}"
    else:
        event = f"{batch}-{given.line:07d}-{kind}"
    row = {"event": event, "time": given.time or now, "who": who, "kind": kind, "galaxy_id": given.galaxy_id}
    return row | {"score": given.score, "label": given.label, "note": given.note, "source": source}


def _owner(path: Path) -> str:
    try:
        return path.owner()
    except KeyError:  # a user of another machine or outside the container
        return f"user {path.stat().st_uid}"


def _concatenated(files: list[Path]) -> pa.Table:
    import pyarrow.parquet as pq

    return pa.concat_tables([EVENTS.empty_table(), *(pq.ParquetFile(file).read() for file in files)])


def _once(table: pa.Table) -> pa.Table:
    """The events by (time, event), each once: the earliest of those with one id."""
    table = table.replace_schema_metadata(None).sort_by([("time", "ascending"), ("event", "ascending")])
    _, first = np.unique(table["event"].to_numpy(zero_copy_only=False).astype(str), return_index=True)
    return table.take(np.sort(first)).combine_chunks()


def _flush_folder(folder: Path) -> None:
    # a power cut must not keep the removals that follow and lose the new name
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
