"""A small real survey, the command that makes it, and copies of its data folder at every stage of an unkilled run.

Belongs here: the survey's files, the process group of a command and what it printed, the stages of a run, the copies.
Does not belong here: any fault, and the comparison of two data folders (`compare`).
"""

import atexit
import json
import os
import re
import shutil
import signal
import sqlite3
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from datetime import datetime
from pathlib import Path

import pyarrow as pa
import pyarrow.csv as arrow_csv
import yaml

from campaign.compare import contents
from campaign.state import code

SURVEY = "sdss_gz1"
SETTINGS = {
    "extends": SURVEY,
    "source": {"path": SURVEY},
    "start_weights": ["imagenet"],
    "recipe": {
        "preset": "small",
        "backbone": "tf_efficientnet_lite0",
        "image_size": 32,
        "epochs": 2,
        "batch_size": 16,
        "orientations": 1,
    },
    "evaluation": {"splits": 5},
    "mixture": {"components": 5, "n_init": 2},
    "anomaly": {"seeds": 6, "per_round": 4, "budget": 18},
}
IMAGES, FIRST = 60, 30
"""Images of the survey, and how many of them the first of its two deliveries holds."""
_MARK = "GALAXY_ASSETS_CAMPAIGN"
_BEGINS = re.compile(rf"^\d\d:\d\d:\d\d   {SURVEY} \[.+?\]: [a-z_0-9]+(, [a-z_0-9]+)*$")
_RESULTS = re.compile(r"^ +\d+:\d\d . (done|fresh) .*\bresults\b")
START, PUBLICATION = "start-up", "publication"


def write_world(data: Path, root: Path) -> None:
    """The survey's file, images and labels below an empty data folder, as `golden.py` chooses them."""
    labels = arrow_csv.read_csv(
        data / SURVEY / "labels.csv", convert_options=arrow_csv.ConvertOptions(column_types={"objid": pa.string()})
    )
    by_class: dict[str, list[str]] = {}
    for row in labels.to_pylist():
        by_class.setdefault(row["class_name"], []).append(row["objid"])
    chosen = [ids[i] for i in range(IMAGES) for ids in by_class.values() if i < len(ids)][:IMAGES]
    raw = root / "raw" / SURVEY
    for i, objid in enumerate(chosen):
        folder = raw / "images" / ("first" if i < FIRST else "second")
        folder.mkdir(parents=True, exist_ok=True)
        shutil.copy(data / SURVEY / "images" / f"{objid}.jpeg", folder)
    arrow_csv.write_csv(labels, raw / "labels.csv")
    (root / "surveys").mkdir()
    (root / "surveys" / f"{SURVEY}.yaml").write_text(yaml.safe_dump(SETTINGS, sort_keys=False))
    (root / "labels" / SURVEY).mkdir(parents=True)
    rows = [f"{g},{score},campaign,2026-01-0{score + 1}T00:00" for g, score in zip(chosen, (5, 0, 3, 1), strict=False)]
    (root / "labels" / SURVEY / "people.csv").write_text("\n".join(["galaxy_id,score,who,time", *rows]) + "\n")


class Command:
    """`galaxy-assets ...` over a data folder, in a process group of its own.

    Parameters
    ----------
    root : the data folder.
    *arguments : of the command.
    home : Dagster's folder, beside the data folder where it is not given.
    on_line : called with each line as it is printed, from a thread.
    """

    def __init__(
        self,
        root: Path,
        *arguments: str,
        home: Path | None = None,
        on_line: Callable[["Command", str], None] | None = None,
    ):
        self.mark, self.lines = uuid.uuid4().hex, []
        self.on_line = on_line
        environment = os.environ | {
            "GALAXY_ASSETS_DATA": str(root),
            "DAGSTER_HOME": str(home or root.parent / ".dagster"),
            "PYTHONUNBUFFERED": "1",
            "COLUMNS": "500",  # so that no message is broken into lines
            _MARK: self.mark,
        }
        self.process = subprocess.Popen(
            [sys.executable, "-m", "galaxy_assets.cli", *arguments],
            env=environment,
            text=True,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        atexit.register(self.stop)
        self.reader = threading.Thread(target=self._read, daemon=True)
        self.reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.lines.append(line.rstrip("\n"))
            if self.on_line is not None:
                self.on_line(self, line.rstrip("\n"))

    @property
    def output(self) -> str:
        """All it printed so far."""
        return "\n".join(self.lines)

    @property
    def end(self) -> str:
        """The end of what it printed, without the frames of a traceback, for a message."""
        return " / ".join(line.strip() for line in self.lines if line.strip() and line[0] not in "│╭╰")[-600:]

    def send(self, number: signal.Signals, whole_group: bool = True) -> None:
        """Send a signal to the process group, or to the command's own process alone."""
        (os.killpg if whole_group else os.kill)(self.process.pid, number)

    def stop(self) -> None:
        """End it where it still runs, as when the campaign is stopped."""
        atexit.unregister(self.stop)
        if self.process.poll() is None:
            self.send(signal.SIGKILL)
            self.process.wait()

    def wait(self, seconds: float = 900) -> int:
        """Its exit status, negative where a signal ended it; one that takes longer is killed."""
        try:
            code = self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            self.send(signal.SIGKILL)
            self.process.wait()
            code = 124
        self.reader.join(5)
        return code

    def wait_for(self, pattern: re.Pattern[str], seconds: float = 300) -> bool:
        """Wait until a line matches; False where the command ended first."""
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            if any(pattern.search(line) for line in list(self.lines)):
                return True
            if self.process.poll() is not None:
                return False
            time.sleep(0.002)
        return False

    def survivors(self, seconds: float = 5) -> list[str]:
        """Command lines of the processes it started that still live after so many seconds; they are then killed."""
        until, found = time.monotonic() + seconds, self._marked()
        while found and time.monotonic() < until:
            time.sleep(0.1)
            found = self._marked()
        told = [Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode()[:100] for pid in found]
        for pid in found:
            os.kill(pid, signal.SIGKILL)
        return told

    def _marked(self) -> list[int]:
        mark, found = f"{_MARK}={self.mark}".encode(), []
        for folder in Path("/proc").glob("[0-9]*"):
            try:
                if mark in (folder / "environ").read_bytes():
                    found.append(int(folder.name))
            except OSError:
                continue
        return [pid for pid in found if pid != os.getpid()]


@dataclass(frozen=True)
class Stage:
    """A part of an unkilled run: the assets of one Dagster run, or what is before and after all of them.

    name : as the command prints it. begins : seconds after the command was started. clock : when it went on after its
    copy was made, seconds of Unix time.
    """

    name: str
    begins: float
    clock: float

    @property
    def pattern(self) -> re.Pattern[str]:
        """The line with which a command that is resumed comes to this stage."""
        return _RESULTS if self.name == PUBLICATION else re.compile(re.escape(self.name) + "$")


@dataclass(frozen=True)
class Step:
    """One asset being made in the unkilled run: its stage, and when, in seconds after that stage began."""

    name: str
    stage: int
    begins: float
    ends: float

    @property
    def seconds(self) -> float:
        """How long it took."""
        return self.ends - self.begins


@dataclass(frozen=True)
class Reference:
    """An unkilled run: its stages and steps, seconds, what it left (`compare.contents`), and where its copies lie."""

    data: Path
    folder: Path
    stages: list[Stage] = field(default_factory=list)
    steps: list[Step] = field(default_factory=list)
    seconds: float = 0.0
    contents: dict[str, str] = field(default_factory=dict)

    def stage_with(self, asset: str, batch: str = "") -> int:
        """Number of the stage that makes an asset (of a batch)."""
        return next(
            i
            for i, s in enumerate(self.stages)
            if re.search(rf"\[[^\]]*{batch}[^\]]*\].*\b{asset}\b", s.name) or s.name == asset
        )

    @property
    def finished(self) -> Path:
        """The folder of data and Dagster's home after the run."""
        return self.folder / "stages" / "finished"

    @contextmanager
    def at(self, stage: int | None) -> Iterator[Path]:
        """The data folder as it was when a stage began (after the run where None); always under the same path."""
        place = self.folder / "world"
        shutil.rmtree(place, ignore_errors=True)
        copy(self.finished if stage is None else self.folder / "stages" / f"{stage:02d}", place)
        yield place / "data"
        shutil.rmtree(place, ignore_errors=True)


def copy(source: Path, to: Path) -> None:
    """Copy what is in a folder with times of change, which fingerprints of delivered files hold, and holes."""
    to.mkdir(parents=True, exist_ok=True)
    subprocess.run(["cp", "-a", "--sparse=auto", f"{source}/.", str(to)], check=True)


def reference(data: Path, folder: Path) -> Reference:
    """Run the survey once without any fault, stopped for a copy whenever a stage begins; kept for the next call."""
    told = folder / "reference.json"
    if told.exists() and (kept := json.loads(told.read_text()))["code"] == code("world"):
        stages, steps = [Stage(**s) for s in kept["stages"]], [Step(**s) for s in kept["steps"]]
        return Reference(data, folder, stages, steps, kept["seconds"], kept["contents"])
    shutil.rmtree(folder, ignore_errors=True)
    place, stages = folder / "world", [Stage(START, 0.0, time.time())]
    write_world(data, place / "data")
    (folder / "stages").mkdir()
    copy(place, folder / "stages" / "00")
    paused = 0.0

    def on_line(command: Command, line: str) -> None:
        nonlocal paused
        if not (_BEGINS.match(line) or _RESULTS.match(line)):
            return
        now = time.time()
        command.send(signal.SIGSTOP)
        copy(place, folder / "stages" / f"{len(stages):02d}")
        name, went_on = PUBLICATION if _RESULTS.match(line) else line[11:], time.time()
        stages.append(Stage(name, now - stages[0].clock - paused, went_on))
        command.send(signal.SIGCONT)
        paused += went_on - now

    command = Command(place / "data", "run", SURVEY, on_line=on_line)
    if status := command.wait():
        raise SystemExit(f"the run without any fault ended with {status}:\n{command.end}")
    seconds = time.time() - stages[0].clock - paused
    left = contents(place / "data")
    last = [Step(PUBLICATION, len(stages) - 1, 0.0, seconds - stages[-1].begins)]
    steps = [Step(START, 0, 0.0, stages[1].begins), *_steps(place / ".dagster", stages), *last]
    place.rename(folder / "stages" / "finished")
    kept = {"code": code("world"), "stages": [asdict(s) for s in stages], "steps": [asdict(s) for s in steps]}
    told.write_text(json.dumps(kept | {"seconds": seconds, "contents": left}, indent=1) + "\n")
    return Reference(data, folder, stages, steps, seconds, left)


def _steps(home: Path, stages: list[Stage]) -> list[Step]:
    """When each asset was made, from Dagster's event logs."""
    found = []
    for path in (home / "history" / "runs").glob("*-*.db"):
        with sqlite3.connect(path) as store:
            rows = store.execute(
                "select step_key, dagster_event_type, timestamp from event_logs order by id"
            ).fetchall()
        clock = {(step, kind): datetime.fromisoformat(f"{at}+00:00").timestamp() for step, kind, at in rows}
        for step, kind in clock:
            if kind == "STEP_START":
                begins, ends = clock[step, kind], clock[step, "STEP_SUCCESS"]
                stage = max(i for i, s in enumerate(stages) if s.clock <= begins)
                found.append(Step(step, stage, begins - stages[stage].clock, ends - stages[stage].clock))
    return sorted(found, key=lambda s: (s.stage, s.begins))


def partials(root: Path) -> list[str]:
    """What writers left behind: files and folders named `.partial` or `.building`, with the bytes in them."""
    found = []
    for path in sorted([*root.rglob("*.partial"), *root.rglob("*.building")]):
        size = sum(p.stat().st_size for p in [path, *path.rglob("*")] if p.is_file())
        found.append(f"{path.relative_to(root)} ({size:,} bytes)")
    return found
