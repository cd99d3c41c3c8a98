"""Deliveries as Dagster's partitions: what is new becomes a batch, what is gone is set aside, what is broken is held.

Belongs here: the registration that the main job and the sensor share, and its ledger. Does not belong here: what makes
a delivery whole (`deliveries.delivery`).
"""

import contextlib
import json
import shutil
import socket
import uuid
from collections.abc import Sequence
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import NamedTuple

import dagster as dg
import pyarrow as pa

from galaxy_assets.deliveries.delivery import Delivery
from galaxy_assets.deliveries.label_imports import dropped, import_drop
from galaxy_assets.deliveries.readers import open_reader
from galaxy_assets.deliveries.snapshots import by_content
from galaxy_assets.orchestration.assets.delivery import all_gone, image_history
from galaxy_assets.orchestration.automation.lock import main_job_runs
from galaxy_assets.orchestration.columns import described
from galaxy_assets.orchestration.external import DELIVERY
from galaxy_assets.orchestration.graph import ASSETS
from galaxy_assets.settings.files import SurveyError
from galaxy_assets.settings.printing import logger
from galaxy_assets.settings.survey import Survey
from galaxy_assets.storage.files import DamagedFile, replacing, set_aside
from galaxy_assets.storage.label_events import LabelLog, known_galaxies
from galaxy_assets.storage.layout import Layout
from galaxy_assets.storage.locks import held
from galaxy_assets.storage.mounts import names_of
from galaxy_assets.storage.provenance import readable_origin
from galaxy_assets.storage.store import FOLDER, Conflict, store_of
from galaxy_assets.storage.tables import column, read_table, write_table

log = logger(__name__)

LEDGER = pa.schema(
    [
        column("delivery", pa.string(), "name of the delivery, and of its batch once it is whole"),
        column("kind", pa.string(), "folder, zip, tar or parquet"),
        column("path", pa.string(), "where it lies, below the survey's folder"),
        column("state", pa.string(), "whole, arriving (time will mend it), held (a person must) or gone"),
        column("reason", pa.string(), "why it is not whole, and the remedy; null where it is"),
        column("files", pa.int64(), "images in it; null where an archive must be decompressed to count them"),
        column("bytes", pa.int64(), "size of its images, or of the archive", "byte"),
        column("modified", pa.timestamp("us", "UTC"), "newest change of anything in it"),
        column("snapshot", pa.string(), "digest of its files' names and content once it is whole, 16 hex digits"),
        column("first_seen", pa.timestamp("us", "UTC"), "when a look first found it"),
        column("changed", pa.timestamp("us", "UTC"), "when a look first found it as it is now"),
    ]
)
"""`state` is `whole`, `arriving`, `held` or `gone`; `changed` is when a look first found it as it is."""


_QUIET_LABELS = 10
"""Seconds after which a file of labels counts as copied, where deliveries wait at all."""
_FIRST = "catalogue"
"""The asset that every batch has first."""


class Registered(NamedTuple):
    """What a look at a survey's drop found.

    Attributes
    ----------
    batches, new : list of str
        The batches of now, and which of them are new.
    ledger : pyarrow.Table
        `deliveries`.
    """

    batches: list[str]
    new: list[str]
    ledger: pa.Table


def look(survey: Survey, instance: dg.DagsterInstance, layout: Layout, quiet: float) -> Registered:
    """As `register`, of a sensor, which looks by itself.

    One look at a time: reading large deliveries may take longer than Dagster waits for a tick, and the next one is then
    told so. What was made of deliveries that are gone stays while a main job of the survey is at work: it would lose
    partitions that it is to make.

    Parameters
    ----------
    survey : Survey
    instance : dagster.DagsterInstance
        Holds the batches, as dynamic partitions.
    layout : Layout
        The data folder.
    quiet : float
        Seconds without a change after which a delivery without manifest counts as whole, and one that is not there as
        gone.

    Returns
    -------
    Registered

    Raises
    ------
    SurveyError
        Where another look is at work, and as `register`.
    """
    with ExitStack() as holds:
        try:
            holds.enter_context(held(layout.lake / f".{survey.name}.look.lock", wait=False))
        except BlockingIOError:
            raise SurveyError(f"{survey.name}: the look before this one still reads its deliveries") from None
        return register(survey, instance, layout, quiet, withdraw=not main_job_runs(survey.name, layout))


def register(
    survey: Survey, instance: dg.DagsterInstance, layout: Layout, quiet: float = 0, *, withdraw: bool = True
) -> Registered:
    """Look at a survey's drop and make its whole deliveries batches.

    What was made of deliveries that are gone is set aside, the label files dropped are imported, and the ledger is
    kept.

    Parameters
    ----------
    survey : Survey
    instance : dagster.DagsterInstance
        Holds the batches, as dynamic partitions.
    layout : Layout
        The data folder.
    quiet : float
        Seconds without a change after which a delivery without manifest counts as whole, and one that is not there as
        gone.
    withdraw : bool
        Set aside what was made of deliveries that are gone.

    Returns
    -------
    Registered

    Raises
    ------
    SurveyError
        Where there is no delivery at all.
    """
    store_of(layout.root).refresh()
    partitions = f"{survey.name}_batch"
    _claim(partitions, survey, instance, layout)
    reader = open_reader(survey.source, layout.raw)
    found = by_content(reader, reader.deliveries(quiet), layout.lake / survey.name / ".snapshots.json")
    import_labels(survey, layout, min(quiet, _QUIET_LABELS))
    known = set(instance.get_dynamic_partitions(partitions))
    present = {delivery.name for delivery in found}
    if not present:  # a disk that is not mounted looks like a folder without deliveries: nothing is set aside
        reader.batches()
        raise SurveyError(f"{survey.name}: no delivery is left in {survey.source.path}; what was made of them stays")
    _take_back(survey, layout, found)
    # a process that was killed, or another history of runs, leaves tables of batches that Dagster does not know
    made = {path.stem for path in (layout.lake / survey.name / _FIRST).glob("[!.]*.parquet")}
    absent = sorted((known | made) - present)
    try:
        ledger = _keep_ledger(survey, layout, found, absent)
    except Conflict:  # another sensor looked at the same moment: its ledger is the one of the last look
        store_of(layout.root).refresh()
        ledger = _keep_ledger(survey, layout, found, absent)
    # copied anew, or on a disk that is away for a minute, a delivery is gone for a while
    since = dict(zip(ledger["delivery"].to_pylist(), ledger["changed"].to_pylist(), strict=True))
    long_ago = datetime.now(UTC) - timedelta(seconds=quiet)
    for batch in (batch for batch in absent if withdraw and since[batch] <= long_ago):
        _set_aside(survey, instance, layout, batch)
    # one of which something was made, and that is now held or arriving, stays as it is: of its last whole state
    batches = sorted({d.name for d in found if d.state == "whole"} | ((known | made) & present))
    new = [batch for batch in batches if batch not in known]
    if new:
        instance.add_dynamic_partitions(partitions, new)
    return Registered(batches, new, ledger)


def _claim(partitions: str, survey: Survey, instance: dg.DagsterInstance, layout: Layout) -> None:
    """Note in Dagster's records whose batches these are: another folder's look would find them gone, and delete them.

    Raises SurveyError where they are of another data folder that is there, or that cannot be looked at from here.
    """
    from dagster._core.storage.runs import SqliteRunStorage  # loads SQLAlchemy, which a code location does without

    if store_of(layout.root) is not FOLDER:  # a bucket has other folders of copies on other machines
        return
    # a copy of a data folder has copies of its records, which make no claim
    home = Path(instance.root_directory).resolve() if isinstance(instance.run_storage, SqliteRunStorage) else ""
    key, records = f"galaxy_assets/{partitions} {home}".strip(), instance.daemon_cursor_storage
    mine = _Claim(names_of(layout.root), socket.gethostname(), _mark_of(layout.lake / survey.name))
    noted = records.get_cursor_values({key}).get(key)
    if noted is not None:
        theirs = _Claim.read(noted)
        if theirs == mine:
            return
        if not set(theirs.names) & set(mine.names) and _may_be_there(theirs, mine.mark, survey.name):
            where = f" on {theirs.host}" if theirs.host not in ("", mine.host) else ""
            raise SurveyError(
                f"{survey.name}: the batches of this name in Dagster's records are those of {theirs.names[0]}{where}; "
                f"give {mine.names[0]} a Dagster of its own (another folder as $DAGSTER_HOME, or another database), or "
                "the survey another name"
            )
    records.set_cursor_values({key: json.dumps(mine._asdict())})


class _Claim(NamedTuple):
    """Whose a survey's batches are: names of a data folder, its path first, the host that looked last, its mark."""

    names: list[str]
    host: str
    mark: str = ""

    @classmethod
    def read(cls, noted: str) -> "_Claim":
        """What was noted; older code noted the path alone."""
        return cls([noted], "") if noted.startswith("/") else cls(**json.loads(noted))


def _mark_of(home: Path) -> str:
    """What is written beside a survey's tables at the first look, and nowhere else."""
    file = home / ".mark"
    if not file.exists():
        with replacing(file) as partial:
            partial.write_text(uuid.uuid4().hex, encoding="utf-8")
    return file.read_text(encoding="utf-8")


def _may_be_there(claim: _Claim, mark: str, survey: str) -> bool:
    """Whether a data folder has the survey, as far as one can look: not into another host's or another user's.

    A folder of that mark that is not there was moved here.
    """
    try:
        (Layout(Path(claim.names[0])).lake / survey).stat()
    except (FileNotFoundError, NotADirectoryError):
        return claim.host not in ("", socket.gethostname()) and claim.mark != mark
    except OSError:
        return True
    return True


def import_labels(survey: Survey, layout: Layout, quiet: float = 0) -> None:
    """Import the tables in the survey's drop of labels.

    Each goes to `imported/` when it was read, with what was wrong with its rows beside it, and which of them name no
    galaxy. One that cannot be read stays, and the log and a file beside it say why.

    Parameters
    ----------
    survey : Survey
    layout : Layout
        The data folder.
    quiet : float
        Seconds for which a file must have stayed as it is.
    """
    labels = LabelLog(layout.labels(survey.name))
    if not dropped(labels.folder):
        return
    with held(labels.folder / ".import.lock"):  # a sensor and a person's run may look at the same moment
        _import_labels(survey, layout, labels, quiet)


def _import_labels(survey: Survey, layout: Layout, labels: LabelLog, quiet: float) -> None:
    for report in import_drop(labels, known_galaxies(layout, survey.name), quiet):
        if report.changed:
            continue
        refused = report.path.with_name(f"{report.path.name}.problems.txt")
        if report.source is None:
            log.error("%s: %s", survey.name, "; ".join(report.problems))
            _write_problems(refused, report.problems)
            continue
        store_of(refused).remove(refused)
        log.info("%s: %d labels of %s are new", survey.name, report.n_added, report.path.name)
        done = labels.folder / "imported"
        done.mkdir(exist_ok=True)
        stamp = f"{datetime.now(UTC):%Y%m%dT%H%M%S}"
        if report.problems:
            log.warning("%s: %d rows of %s give no label", survey.name, len(report.problems), report.path.name)
        for note in report.notes:
            log.warning("%s: %s: %s", survey.name, report.path.name, note)
        if report.problems or report.notes:
            _write_problems(done / f"{report.path.stem}-{stamp}.problems.txt", [*report.problems, *report.notes])
        store_of(done).move(report.path, done / f"{report.path.stem}-{stamp}{report.path.suffix}")


def _write_problems(path: Path, problems: Sequence[str]) -> None:
    with replacing(path) as partial:
        partial.write_text("\n".join(problems) + "\n", encoding="utf-8")


def _set_aside(survey: Survey, instance: dg.DagsterInstance, layout: Layout, batch: str) -> None:
    """Move what was made of a delivery that is gone to lake/<survey>/.withdrawn; its `image_history` stays.

    Its galaxies would else stay in every ranking, twice where a delivery was only renamed.
    """
    home = layout.lake / survey.name
    log.warning("%s: delivery %s is gone; what was made of it goes to %s", survey.name, batch, home / ".withdrawn")
    shutil.rmtree(layout.pixels(survey.name) / f".{batch}.building", ignore_errors=True)
    for path in _made_of(batch, home):
        if path.parent.name == "image_history":
            _end_history(path, home)
            continue
        with contextlib.suppress(FileNotFoundError):  # another process looked at the same moment
            store_of(path).move(path, home / ".withdrawn" / path.relative_to(home))
    instance.delete_dynamic_partition(f"{survey.name}_batch", batch)


def _take_back(survey: Survey, layout: Layout, found: Sequence[Delivery]) -> None:
    """Move back what was set aside of deliveries that are there again, as they were; what is outdated of it shows."""
    home = layout.lake / survey.name
    aside = home / ".withdrawn"
    for one in found:
        first = aside / _FIRST / f"{one.name}.parquet"
        if one.state != "whole" or not first.exists() or (home / first.relative_to(aside)).exists():
            continue
        if (made := readable_origin(first)) is None or made.outside.get(DELIVERY.name) != one.snapshot:
            continue
        log.info("%s: delivery %s is there again, and what was made of it", survey.name, one.name)
        for path in _made_of(one.name, aside):
            if not (to := home / path.relative_to(aside)).exists():
                with contextlib.suppress(FileNotFoundError):  # another process looked at the same moment
                    store_of(path).move(path, to)


def _made_of(batch: str, home: Path) -> list[Path]:
    """What is there of a batch below a survey's folder, and nothing of start weights that have its name.

    Last is what tells that the batch was there: stopped in between, the next look goes on.
    """
    tables = [home / asset.name / f"{batch}.parquet" for asset in ASSETS.values() if asset.by == "batch"]
    folders = [home / name / batch for name in ("pixels", *(a.name for a in ASSETS.values() if a.by == "batch_init"))]
    there = [path for path in (*tables, *folders) if path.exists()]
    return sorted(there, key=lambda path: path.parent.name == _FIRST)


def _end_history(path: Path, home: Path) -> None:
    try:
        gone = all_gone(read_table(path)).replace_schema_metadata(None)  # it is not what the asset made any more
    except DamagedFile as error:
        log.warning("%s; it is kept as %s", error, set_aside(path, home))
        return
    write_table(described(gone, image_history.columns), path)


def _keep_ledger(survey: Survey, layout: Layout, found: Sequence[Delivery], absent: Sequence[str]) -> pa.Table:
    path = layout.table(survey.name, "deliveries")
    kept = _kept_ledger(path, layout.lake / survey.name)
    before, now, rows = {row["delivery"]: row for row in kept.to_pylist()}, datetime.now(UTC), []
    for delivery in found:
        row = {"delivery": delivery.name} | {name: getattr(delivery, name) for name in _TOLD}
        rows.append(_dated(row, before.pop(delivery.name, None), now))
    unknown = {batch: dict.fromkeys(LEDGER.names) | {"delivery": batch} for batch in absent}
    for name, row in (unknown | before).items():
        gone = {**row, "state": "gone", "reason": "not in the survey's folder any more"}
        rows.append(_dated(gone, before.get(name), now))
    table = pa.Table.from_pylist(sorted(rows, key=lambda row: row["delivery"]), schema=LEDGER)
    if not path.exists() or not table.equals(kept):
        write_table(table, path)
    return table


def _kept_ledger(path: Path, home: Path) -> pa.Table:
    """The ledger of the last look; a damaged one is set aside and begun anew."""
    try:
        return read_table(path) if path.exists() else LEDGER.empty_table()
    except DamagedFile as error:
        log.warning("%s; it is kept as %s and begun anew", error, set_aside(path, home))
        return LEDGER.empty_table()


_TOLD = ("kind", "path", "state", "reason", "files", "bytes", "modified", "snapshot")


def _dated(row: dict, before: dict | None, now: datetime) -> dict:
    same = before is not None and all(before[name] == value for name, value in row.items() if name in _SAME)
    first = before["first_seen"] if before is not None else now
    return row | {"first_seen": first, "changed": before["changed"] if same and before is not None else now}


_SAME = {"state", "reason", "snapshot"}
