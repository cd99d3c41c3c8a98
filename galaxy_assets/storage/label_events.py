"""People's labels as events: who said what of which galaxy, and when. Nothing is changed, what was wrong is undone.

Belongs here: the files of events: append, read, undo, merge. Does not belong here: what the events come to
(`science.labels`), labels that people bring in files (`deliveries.label_imports`).

    <folder>/events/*.parquet         EVENTS; one file per `append`, or many of them merged by `compact`
    <folder>/events/.listing.lock     shared while files are listed, exclusive while merged ones are taken away
    <folder>/events/.compacting.lock  held by the one compaction
"""

import hashlib
import os
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
import pyarrow as pa

from galaxy_assets.science.labels import time_after
from galaxy_assets.settings.survey import Survey
from galaxy_assets.storage.files import DamagedFile, NotWritten, state_of
from galaxy_assets.storage.layout import Layout
from galaxy_assets.storage.locks import held
from galaxy_assets.storage.provenance import damaged_otherwise, data_version
from galaxy_assets.storage.store import store_of
from galaxy_assets.storage.tables import column, opened_table, read_table, write_table
from galaxy_assets.storage.versions import content_of

if TYPE_CHECKING:
    from pyarrow.parquet import ParquetFile

_Made = TypeVar("_Made")

EVENTS = pa.schema(
    [
        column("event", pa.string(), "id of the event; none is given twice"),
        column("time", pa.timestamp("us", "UTC"), "when it was said"),
        column("recorded", pa.timestamp("us", "UTC"), "when it was taken down: later than `time` for imported labels"),
        column("who", pa.string(), "the person who said it, or volunteer_oracle, the simulated one"),
        column("kind", pa.string(), "score, class or undo: what the event says"),
        column("galaxy_id", pa.string(), "id of the galaxy of which it was said"),
        column("score", pa.float64(), "how interesting the galaxy is, 0 to 5; null unless the kind is score"),
        column("label", pa.string(), "class of the galaxy; null unless the kind is class"),
        column("note", pa.string(), "remark of the person; null where there is none"),
        column("ranking_seen", pa.string(), "data version of the anomaly_ranking looked at; null where there was none"),
        column("model_seen", pa.string(), "data version of the pca_model (the oracle: pca_features) in use; or null"),
        column("undoes", pa.string(), "id of the event that is taken back; null unless the kind is undo"),
        column("source", pa.string(), "how it came: cli, csv, astronomaly, zooniverse, explorer or oracle"),
        column("round", pa.int32(), "of the oracle: query in which the galaxy was shown, 0 the seeds; null for people"),
        column("acquisition", pa.float64(), "of the oracle: what it was chosen by, larger first; null for others"),
    ]
)
"""`time` is when it was said, `recorded` when the log took it down, later for imported labels. `kind` is `score` (0-5),
`class` (`label`) or `undo` (of the event `undoes`); `ranking_seen` and `model_seen` are the data versions of what the
person looked at; `round` and `acquisition` are the oracle's."""

_ROWS_PER_GROUP = 1000
"""Events that damage at one place of a file can take with it."""
SOURCES = ("cli", "csv", "astronomaly", "zooniverse", "explorer", "oracle")
IMPORT_UNDONE = "undo-import-"
"""What the ids of undos begin with that took back an import as a whole."""
SAYS = {"score": "score", "class": "label", "undo": "undoes"}
"""The column that holds what an event of each kind says."""


@dataclass(frozen=True)
class LabelLog:
    """The label events of one survey. Any number of processes may append, read and compact at the same time.

    Parameters
    ----------
    folder : Path
        The survey's folder of labels; it need not exist.
    """

    folder: Path

    @property
    def events(self) -> Path:
        """The folder of the files of events."""
        return self.folder / "events"

    def append(self, rows: Iterable[Mapping[str, Any]]) -> list[str]:
        """Keep events, all or none; when it returns they are on disk.

        Parameters
        ----------
        rows : iterable of mapping
            Each has `who`, `kind`, `galaxy_id`, `source` and what its kind says (`score`, `label` or `undoes`), and may
            have the other columns of EVENTS. `time` is now and `event` a new id where not given. `recorded` is now.

        Returns
        -------
        list of str
            The events' ids, in the order of the rows.

        Raises
        ------
        ValueError
            Names the row and what is wrong with it.
        """
        now = datetime.now(UTC)
        whole = [_validated(row, i, now) for i, row in enumerate(rows)]
        if whole:
            name = f"{now:%Y%m%dT%H%M%S%f}-{uuid.uuid4().hex}.parquet"
            is_first = not self.events.exists()
            write_table(pa.Table.from_pylist(whole, schema=EVENTS), self.events / name)
            for folder in (self.events, self.folder, self.folder.parent)[: 3 if is_first else 1]:
                _flush_folder(folder)
        return [row["event"] for row in whole]

    def read(self, until: datetime | None = None) -> pa.Table:
        """The events, each once, in the order of (time, event).

        Parameters
        ----------
        until : datetime, optional
            With a time zone. Events recorded later are left out, so that what remains is what a ranking made then could
            know.

        Returns
        -------
        pyarrow.Table
            In the schema EVENTS.

        Raises
        ------
        ValueError
            Where `until` has no time zone.
        DamagedFile
            Where a file cannot be read, or is listed and not there.
        """
        import pyarrow.compute as pc

        if until is not None and until.tzinfo is None:
            raise ValueError(f"{until} has no time zone; say for instance {until.isoformat()}+00:00")
        table = self._of_files(lambda files: _once(_concatenated(files)))
        return (
            table
            if until is None
            else table.filter(pc.less_equal(table["recorded"], pa.scalar(until, EVENTS.field("recorded").type)))
        )

    def undo(
        self, events: Sequence[str], who: str, note: str | None = None, source: str = "cli", whole: bool = False
    ) -> list[dict[str, Any]]:
        """Take back events, also undos, each by another event: all or none.

        Parameters
        ----------
        events : sequence of str
            Ids of the events to be taken back.
        who : str
            The person who takes them back.
        note : str, optional
            Why.
        source : str
            One of SOURCES.
        whole : bool
            They are an import: the undos' ids begin with IMPORT_UNDONE.

        Returns
        -------
        list of dict
            The new events, `event` their ids.

        Raises
        ------
        ValueError
            For an id that the log does not have.
        """
        known = {row["event"]: row for row in self.read().select(["event", "time", "galaxy_id"]).to_pylist()}
        rows, now, name = [], datetime.now(UTC), f"{IMPORT_UNDONE}{uuid.uuid4().hex[:12]}"
        for number, event in enumerate(events):
            if event not in known:
                raise ValueError(f"no event {event} in {self.events}; `galaxy-assets labels list` shows them")
            time = time_after([known[event]["time"]], now)  # lists then show it after what it takes back
            row = {"kind": "undo", "undoes": event, "galaxy_id": known[event]["galaxy_id"], "time": time}
            row |= {"event": f"{name}-{number:07d}"} if whole else {}
            rows.append(row | {"who": who, "note": note, "source": source})
        return [{**row, "event": event} for row, event in zip(rows, self.append(rows), strict=True)]

    def compact(self) -> int:
        """Merge the files of events into one. Killed in between, it loses nothing; no other process waits for it.

        Returns
        -------
        int
            Files merged; 0 where there was nothing to merge, another process is merging, or the disk is full or may
            not be written.
        """
        if not self.events.exists():
            return 0
        try:
            with held(self.events / ".compacting.lock", wait=False):
                return self._compact()
        except (BlockingIOError, NotWritten):  # the events are there all the same
            return 0

    def _compact(self) -> int:
        if len(self.files()) < 2:
            return 0
        files, table = self._of_files(lambda files: (files, _once(_concatenated(files))))
        merged = self.events / f"merged-{uuid.uuid4().hex}.parquet"
        write_table(table, merged, rows_per_group=_ROWS_PER_GROUP)
        _flush_folder(self.events)
        with self._listing():
            for file in files:
                store_of(file).remove(file)
        return len(files)

    def fingerprint(self) -> str:
        """Which events there are: the same after files of them were merged or copied.

        Returns
        -------
        str
            16 hex digits.
        """
        return self._of_files(lambda files: _fingerprint(tuple((file, *state_of(file)) for file in files)))

    def salvage(self, file: Path) -> tuple[int, int | None]:
        """Keep what can be read of a damaged file of events in another file.

        Parameters
        ----------
        file : Path
            The damaged one, which stays.

        Returns
        -------
        saved, lost : int, int or None
            Events; None where the file does not say how many it holds.
        """
        try:
            with opened_table(file) as opened:
                held, parts = opened.metadata.num_rows, list(_whole_groups(opened))
        except (DamagedFile, FileNotFoundError):  # the latter of a link to nothing
            return 0, None
        saved = sum(part.num_rows for part in parts)
        if saved:
            salvaged = self.events / f"salvaged-{uuid.uuid4().hex}.parquet"
            write_table(pa.concat_tables(parts), salvaged, rows_per_group=_ROWS_PER_GROUP)
        return saved, held - saved

    def files(self) -> list[Path]:
        """The files of events, by name."""
        if not self.events.exists():
            return []
        try:
            with self._listing(shared=True):
                return sorted(self.events.glob("[!.]*.parquet"))
        except NotWritten:  # who cannot write here waits for nobody
            return sorted(self.events.glob("[!.]*.parquet"))

    def _of_files(self, made: Callable[[list[Path]], _Made]) -> _Made:
        """What is made of the files, from a later listing where one was merged since: a newer file has its events.

        Raises DamagedFile where a file is listed again and not there, such as a link to nothing.
        """
        before = None
        while True:
            files = self.files()
            try:
                return made(files)
            except FileNotFoundError as error:
                if files == before:
                    absent = next((file for file in files if not file.exists()), self.events)
                    raise DamagedFile(absent, "it is listed and not there") from error
                before = files

    def _listing(self, *, shared: bool = False) -> AbstractContextManager[None]:
        # a folder that changes while it is listed may show neither the merged file nor those it was merged from
        return held(self.events / ".listing.lock", shared=shared)


def known_galaxies(layout: Layout, survey: str) -> dict[str, str] | None:
    """Id and file of each galaxy in the survey's catalogue.

    Parameters
    ----------
    layout : Layout
        The data folder.
    survey : str
        Name of the survey.

    Returns
    -------
    dict of str to str, or None
        None where the catalogue was not made yet.
    """
    files = sorted((layout.lake / survey / "catalogue").glob("[!.]*.parquet"))
    if not files:
        return None
    tables = (read_table(file, ["galaxy_id", "file"]) for file in files)
    return {
        galaxy: name
        for table in tables
        for galaxy, name in zip(table["galaxy_id"].to_pylist(), table["file"].to_pylist(), strict=True)
    }


def seen(layout: Layout, survey: Survey) -> dict[str, str | None]:
    """What a person who scores a survey's galaxies now looks at.

    Parameters
    ----------
    layout : Layout
        The data folder.
    survey : Survey
        The survey.

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
    says = SAYS.get(kind)
    wrong = [
        (bool(set(row) - set(whole)), f"no such column: {', '.join(sorted(set(row) - set(whole)))}"),
        (says is None, f"kind {kind!r} is not one of {', '.join(SAYS)}"),
        (whole["source"] not in SOURCES, f"source {whole['source']!r} is not one of {', '.join(SOURCES)}"),
        (not whole["galaxy_id"], "no galaxy_id"),
        (not whole["who"], "no who"),
        (says is not None and whole[says] in (None, ""), f"a {kind} without {says}"),
        (any(whole[n] is not None for n in SAYS.values() if n != says), f"a {kind} has {says} and none of the others"),
        (score is not None and not _on_scale(score), f"score {score} is not a number from 0 to 5"),
        (time.tzinfo is None, f"time {time} has no time zone"),
    ]
    problems = [text for found, text in wrong if found]
    if problems:
        raise ValueError(f"row {number} of the label events: {'; '.join(problems)}")
    event = whole["event"] or f"{time_prefix(time)}-{uuid.uuid4().hex[:12]}"
    return whole | {"time": time, "recorded": now, "event": event}


def _on_scale(score: Any) -> bool:
    return isinstance(score, int | float) and 0 <= score <= 5


def time_prefix(time: datetime) -> str:
    """What the ids of events that have a time of their own begin with.

    Parameters
    ----------
    time : datetime
        With a time zone.

    Returns
    -------
    str
        UTC, to the microsecond: `20260131T120000000000`.
    """
    return f"{time.astimezone(UTC):%Y%m%dT%H%M%S%f}"


def _concatenated(files: list[Path]) -> pa.Table:
    return pa.concat_tables([EVENTS.empty_table(), *map(read_events, files)])


def read_events(file: Path) -> pa.Table:
    """The events of one file.

    Parameters
    ----------
    file : Path
        Of `LabelLog.files`.

    Returns
    -------
    pyarrow.Table
        In the schema EVENTS.

    Raises
    ------
    DamagedFile
        Where it holds no events, or its checksums are others.
    """
    table = read_table(file)
    with damaged_otherwise(file):
        return table.select(EVENTS.names).cast(EVENTS)


def _fingerprint(files: tuple[tuple[Any, ...], ...]) -> str:
    try:
        return _of_events(files, _names)
    except (DamagedFile, KeyError):  # not kept: a bucket may have the content again
        return _of_events.__wrapped__(files, _names_or_damage)


@lru_cache(maxsize=64)
def _of_events(files: tuple[tuple[Any, ...], ...], names: Callable[..., frozenset[str]]) -> str:
    events = set().union(*(names(*file) for file in files))
    return hashlib.sha256("\n".join(sorted(events)).encode()).hexdigest()[:16]


@lru_cache(maxsize=10_000)
def _names(file: Path, *state: int) -> frozenset[str]:
    return frozenset(read_table(file, ["event"])["event"].to_pylist())


def _names_or_damage(file: Path, *state: int) -> frozenset[str]:
    """Ids of the events of a file; of a damaged one, its sha256."""
    try:
        return _names(file, *state)
    except (DamagedFile, KeyError):
        return frozenset([f"damaged {content_of(file)}"])


def _whole_groups(opened: "ParquetFile") -> Iterator[pa.Table]:
    """The groups of rows that can be read."""
    for group in range(opened.num_row_groups):
        try:
            yield opened.read_row_group(group).select(EVENTS.names).cast(EVENTS)
        except (pa.ArrowException, OSError, ValueError, KeyError):
            continue


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
