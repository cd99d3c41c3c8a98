"""Two data folders, compared value by value.

Belongs here: what is compared, what is left out and why. Does not belong here: making either folder.
"""

import hashlib
import sqlite3
from contextlib import closing
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from galaxy_assets.lake import connect
from galaxy_assets.storage.provenance import origin_of
from galaxy_assets.storage.tables import digest

_SEEN, _MADE, _SPEED = "when the run saw the file", "when the row was made", "how fast the run was"
IGNORED: dict[str, dict[str, str]] = {
    "deliveries": {
        "first_seen": _SEEN,
        "changed": _SEEN,
        "modified": "when the copy of the images was made",
        "snapshot": "of the files' times, which differ between two copies of the images",
    },
    "image_history": {"first_seen": _SEEN, "last_seen": _SEEN},
    "byol_checkpoints": {"seconds": _SPEED, "images_per_second": _SPEED, "memory_gb": "how much the process held"},
    "oracle_events": {"time": _MADE, "recorded": _MADE},
    "label_events": {"recorded": _MADE, "time": "of the simulated person's answers: " + _MADE},
    "results": {},
}
"""Asset -> column -> why it may differ between two runs of the same survey. Of a table named here the data version is
left out too, for it covers these columns."""
IGNORED_RESULTS = {"B4": "images a second in training", "M2:minutes": "minutes of training"}
"""Rows of `results` whose `observed` is a speed of the run."""
IGNORED_FILES = {"training_*.png": "the picture of a training shows its speed"}
"""Files compared by bytes that may differ."""
COMPARED_BYTES = ("pixels/**/*.npy", "pixels/**/*.bin", "checkpoints/**/*.safetensors", "figures/**/*.png")
"""Files of a survey's folder of the lake that are no tables and are compared byte by byte."""


def contents(root: Path) -> dict[str, str]:
    """What a data folder holds, as name -> digest.

    Names are `<table>#<column>` of each table of the lake and of the label events, `<table>#made by` with the data
    version, code version and method of its footer, the path of each file that is compared by bytes, and
    `view <schema>.<name>` with the number of its rows for each view of the read model.
    """
    found: dict[str, str] = {}
    for path in sorted((root / "lake").rglob("*.parquet")):
        name = path.relative_to(root / "lake").with_suffix("").as_posix()
        if "/." not in f"/{name}":
            found |= _table(name, path)
    events = root / "labels"
    for folder in sorted(events.glob("*/events")):
        found |= _events(f"{folder.parent.name}/events", folder)
    for survey in sorted((root / "lake").glob("*/")):
        for path in sorted(p for pattern in COMPARED_BYTES for p in survey.glob(pattern)):
            if any(path.match(pattern) for pattern in IGNORED_FILES):
                continue
            found[path.relative_to(root / "lake").as_posix()] = hashlib.sha256(path.read_bytes()).hexdigest()[:16]
    return found | _views(root)


def _table(name: str, path: Path) -> dict[str, str]:
    table = pq.ParquetFile(path).read()
    made, asset = origin_of(table), name.split("/")[1]
    left_out = IGNORED.get(asset)
    found = {f"{name}#rows": str(table.num_rows)}
    found[f"{name}#made by"] = f"{made.code} {made.method}" + (f" {made.data}" if left_out is None else "")
    if asset == "results":
        table = table.filter(pc.invert(pc.is_in(table["check_id"], pa.array(list(IGNORED_RESULTS)))))
    return found | {f"{name}#{c}": digest(table.select([c])) for c in table.column_names if c not in (left_out or {})}


def _events(name: str, folder: Path) -> dict[str, str]:
    tables = [pq.ParquetFile(path).read() for path in sorted(folder.glob("[!.]*.parquet"))]
    said = sorted(
        repr([row.get(c) for c in ("galaxy_id", "kind", "score", "who", "source", "time")])
        for table in tables
        for row in table.to_pylist()
    )
    return {f"{name}#events": hashlib.sha256("\n".join(said).encode()).hexdigest()[:16], f"{name}#rows": str(len(said))}


def _views(root: Path) -> dict[str, str]:
    if not (root / "galaxy.duckdb").exists():
        return {"read model": "absent"}
    with connect(root) as lake:
        names = lake.sql("select schema_name, view_name from duckdb_views() where not internal order by all").fetchall()
        counts = {}
        for schema, view in names:
            row = lake.execute(f'select count(*) from "{schema}"."{view}"').fetchone()
            counts[f"view {schema}.{view}"] = str(row[0] if row else None)
        return counts


def differences(before: dict[str, str], after: dict[str, str]) -> list[str]:
    """Names that one side lacks or that differ, in words."""
    return [
        f"{name}: {before.get(name, 'absent')} -> {after.get(name, 'absent')}"
        for name in sorted(before.keys() | after.keys())
        if before.get(name) != after.get(name)
    ]


def open_runs(home: Path) -> list[str]:
    """Ids of the runs that Dagster still shows as running."""
    with sqlite3.connect(home / "history" / "runs.db") as store:
        rows = store.execute("select run_id, status from runs where status in ('STARTED', 'STARTING')").fetchall()
    return [f"{run} {status}" for run, status in rows]


def step_at_work(home: Path) -> str:
    """The step of Dagster's newest run that began and did not end; empty where none is at work."""
    # what is written last is in a file beside the database
    files = sorted((home / "history" / "runs").glob("*-*.db*"), key=_changed)
    if not files:
        return ""
    try:
        with closing(sqlite3.connect(f"file:{files[-1].with_suffix('.db')}?mode=ro", uri=True)) as store:
            rows = store.execute("select step_key, dagster_event_type from event_logs order by id").fetchall()
    except sqlite3.OperationalError:  # before its first event
        return ""
    started = [step for step, kind in rows if kind == "STEP_START"]
    ended = {step for step, kind in rows if kind in ("STEP_SUCCESS", "STEP_FAILURE")}
    return next((step for step in reversed(started) if step not in ended), "")


def _changed(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except FileNotFoundError:
        return 0.0
