"""Two ways of doing one thing, measured side by side, and the row of a table that says what came of it.

Belongs here: turns, peak memory, growth, the machine's limits, the table and the command line of a stage. Does not
belong here: any stage, and how the table is shown (`report.py`).

A stage is a module with a generator `measure(small)` of rows. The targets hold for one thread, which is set from
outside before numpy starts: `OMP_NUM_THREADS=1 python benchmarks/<stage>.py`, as `run.py` does. With `--small` a
stage takes seconds, shows its rows and keeps nothing.
"""

import argparse
import ctypes
import gc
import hashlib
import importlib.metadata
import logging
import math
import platform
import statistics
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from threadpoolctl import threadpool_info

from galaxy_assets.storage.layout import Layout
from galaxy_assets.storage.tables import read_table, write_table

ROOT = Path(__file__).parents[1]
SURVEY, TABLE = "benchmarks", "performance"
"""Where the table lies in the lake, one file per stage: `lake/benchmarks/performance/<stage>.parquet`. The read model
shows it as `benchmarks.performance`, a schema of its own beside those of the surveys."""


@dataclass(frozen=True)
class Cost:
    """Seconds on the clock and of the processor, and additional peak memory in MB (NaN where it was not measured)."""

    wall: float
    cpu: float
    memory: float = math.nan


Turn = Callable[[], tuple[Cost, Any]]
"""One measurement of one side: what it cost and what it answered."""


def timed(function: Callable[[], Any], *, repeats: int = 1, warm: bool = False) -> Turn:
    """Measure `repeats` calls as one and give the cost of each; `warm` calls once before, outside the time."""

    def turn() -> tuple[Cost, Any]:
        if warm:
            function()
        gc.collect()
        wall, cpu = time.perf_counter(), time.process_time()
        for _ in range(repeats):
            answer = function()
        cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
        return Cost(wall / repeats, cpu / repeats), answer

    return turn


def peak_memory(function: Callable[[], Any]) -> tuple[float, Any]:
    """MB by which the process grows at most during one call, whoever allocates, and the answer.

    Freed memory is given back first and the kernel's peak of the resident set is reset, so that nothing before counts.
    NaN where the kernel offers no such reset (it is Linux's).
    """
    reset = Path("/proc/self/clear_refs")
    if not reset.exists():
        return math.nan, function()
    gc.collect()
    pa.default_memory_pool().release_unused()
    ctypes.CDLL(None).malloc_trim(0)
    reset.write_text("5")
    before = resident("VmRSS")
    answer = function()
    return resident("VmHWM") - before, answer


def resident(name: str) -> float:
    """MB of this process in memory now (`VmRSS`) or at most so far (`VmHWM`)."""
    status = Path("/proc/self/status").read_text()
    return next(int(line.split()[1]) for line in status.splitlines() if line.startswith(name)) * 1024 / 1e6


@dataclass(frozen=True)
class Compared:
    """What turns of two sides came to: costs of each turn, memory of each side, and the answers of the last turn."""

    ours: list[Cost]
    peer: list[Cost]
    memory: float
    peer_memory: float
    our_answer: Any
    peer_answer: Any

    def columns(self) -> dict[str, Any]:
        """The columns of the table that are known from the turns."""
        ratios = [peer.wall / ours.wall for ours, peer in zip(self.ours, self.peer, strict=True)]
        return {
            "rounds": len(ratios),
            "ratio": statistics.median(ratios),
            "ratio_min": min(ratios),
            "ratio_max": max(ratios),
            "cpu_ratio": statistics.median(o.cpu and p.cpu / o.cpu for o, p in zip(self.ours, self.peer, strict=True)),
            "seconds": statistics.median(cost.wall for cost in self.ours),
            "cpu_seconds": statistics.median(cost.cpu for cost in self.ours),
            "peer_seconds": statistics.median(cost.wall for cost in self.peer),
            "peer_cpu_seconds": statistics.median(cost.cpu for cost in self.peer),
            "memory_mb": self.memory,
            "peer_memory_mb": self.peer_memory,
        }


def compare(
    ours: Callable[[], Any] | Turn,
    peer: Callable[[], Any] | Turn,
    *,
    rounds: int,
    repeats: int = 1,
    warm: bool = False,
    memory: bool = True,
    turns: bool = False,
) -> Compared:
    """Measure both sides `rounds` times, one after the other in alternating order.

    Parameters
    ----------
    memory : call each side once before, to measure its memory; that call also warms up and is left out of the times.
    turns : the sides measure themselves: each is a `Turn`, of which no memory is measured.
    """
    found = [peak_memory(side)[0] if memory and not turns else math.nan for side in (ours, peer)]
    sides = [ours, peer] if turns else [timed(side, repeats=repeats, warm=warm) for side in (ours, peer)]
    costs: tuple[list[Cost], list[Cost]] = ([], [])
    answers: list[Any] = [None, None]
    for number in range(rounds):
        for side in (0, 1) if number % 2 else (1, 0):
            cost, answers[side] = sides[side]()
            costs[side].append(cost)
    return Compared(*costs, *found, *answers)


def growth(make: Callable[[int], Callable[[], Any]], sizes: Sequence[int], *, repeats: int = 3) -> dict[str, Any]:
    """Columns of the table: seconds of the processor (median) and memory at each size, and the slope of log seconds.

    `make(n)` prepares a call on n galaxies; of one call only (`repeats` 1) time and memory are taken together.
    """
    seconds, memory = [], []
    for n in sizes:
        call = make(n)
        if repeats == 1:
            cpu = time.process_time()
            memory.append(peak_memory(call)[0])
            seconds.append(time.process_time() - cpu)
        else:
            memory.append(peak_memory(call)[0])
            seconds.append(statistics.median(timed(call)()[0].cpu for _ in range(repeats)))
    return {
        "sizes": list(sizes),
        "size_seconds": seconds,
        "size_memory_mb": memory,
        "exponent": exponent(sizes, seconds),
    }


def exponent(sizes: Sequence[int], values: Sequence[float]) -> float:
    """The slope of log values over log sizes, by least squares."""
    return float(np.polyfit(np.log(sizes), np.log(np.maximum(values, 1e-9)), 1)[0])


def gemm(dtype: type, small: bool) -> float:
    """GFLOP/s of the best of six products of square matrices: what a core can do in this precision."""
    n = 128 if small else 1536
    a, b = (np.random.default_rng(i).normal(size=(n, n)).astype(dtype) for i in (0, 1))
    out = np.empty_like(a)
    return 2 * n**3 / min(timed(lambda: np.matmul(a, b, out=out))()[0].wall for _ in range(6)) / 1e9


def copying(small: bool) -> float:
    """GB/s, read and written, of the best of six copies of 512 MB, more than caches hold."""
    a = np.ones(2**16 if small else 2**26)
    out = np.empty_like(a)
    return 2 * a.nbytes / min(timed(lambda: np.copyto(out, a))()[0].wall for _ in range(6)) / 1e9


@dataclass(frozen=True)
class Equal:
    """One number that says how far apart the two sides' answers are, and how far they may be."""

    what: str
    found: float
    limit: float = 0.0

    @property
    def holds(self) -> bool:
        return bool(self.found <= self.limit)


@dataclass(frozen=True)
class Row:
    """One row of the table.

    n : galaxies, images or sources that one call worked on. Times are seconds of one call, medians over the rounds;
    ratios are peer / ours within a round, `ratio` on the clock and `cpu_ratio` of the processor. Memory is what the
    process grew by at its peak, in MB; `bytes` is what lies on disk afterwards, of all n together. `limit` says what
    bounds the stage and `share` how much of it is reached. Targets that are not asked for are null.
    """

    stage: str
    case: str
    n: int
    peer: str | None = None
    rounds: int | None = None
    ratio: float | None = None
    ratio_min: float | None = None
    ratio_max: float | None = None
    cpu_ratio: float | None = None
    seconds: float | None = None
    cpu_seconds: float | None = None
    peer_seconds: float | None = None
    peer_cpu_seconds: float | None = None
    memory_mb: float | None = None
    peer_memory_mb: float | None = None
    limit: str | None = None
    share: float | None = None
    sizes: list[int] = field(default_factory=list)
    size_seconds: list[float] = field(default_factory=list)
    size_memory_mb: list[float] = field(default_factory=list)
    exponent: float | None = None
    bytes: int | None = None
    equal: list[Equal] = field(default_factory=list)
    target_ratio: float | None = None
    target_memory_ratio: float | None = None
    target_seconds: float | None = None
    target_mb: float | None = None
    target_exponent: float | None = None
    note: str | None = None

    def targets(self) -> list[tuple[str, float, float, bool]]:
        """What is asked for: in words, the target, what was found, and whether it is met."""
        asked = []
        if self.target_ratio is not None and self.ratio is not None:
            asked.append(("ratio", self.target_ratio, self.ratio, self.ratio >= self.target_ratio))
        if self.target_memory_ratio is not None and self.memory_mb and self.peer_memory_mb:
            less = self.peer_memory_mb / self.memory_mb
            asked.append(("times less memory", self.target_memory_ratio, less, less >= self.target_memory_ratio))
        for name, target, found in (
            ("seconds", self.target_seconds, self.seconds),
            ("MB", self.target_mb, self.memory_mb),
            ("power of N", self.target_exponent, self.exponent),
        ):
            if target is not None and found is not None:
                asked.append((name, target, found, found <= target))
        return asked


SCHEMA = pa.schema(
    [
        *((name, pa.string()) for name in ("stage", "case")),
        ("n", pa.int64()),
        ("peer", pa.string()),
        ("rounds", pa.int32()),
        *(
            (name, pa.float64())
            for name in (
                "ratio",
                "ratio_min",
                "ratio_max",
                "cpu_ratio",
                "seconds",
                "cpu_seconds",
                "peer_seconds",
                "peer_cpu_seconds",
                "memory_mb",
                "peer_memory_mb",
            )
        ),
        ("limit", pa.string()),
        ("share", pa.float64()),
        ("sizes", pa.list_(pa.int64())),
        ("size_seconds", pa.list_(pa.float64())),
        ("size_memory_mb", pa.list_(pa.float64())),
        ("exponent", pa.float64()),
        ("bytes", pa.int64()),
        ("equal", pa.list_(pa.struct([("what", pa.string()), ("found", pa.float64()), ("limit", pa.float64())]))),
        *((f"target_{name}", pa.float64()) for name in ("ratio", "memory_ratio", "seconds", "mb", "exponent")),
        ("note", pa.string()),
        ("machine", pa.string()),
        ("threads", pa.int32()),
        ("versions", pa.string()),
        ("code", pa.string()),
        ("took", pa.float64()),
        ("measured", pa.timestamp("s", "UTC")),
    ]
)
"""Columns of `Row`, and what all rows of a stage share: machine, threads of its arithmetic, versions of the libraries,
`code` (see `code`), how many seconds the stage took, and when it was measured."""


def code(stage: str) -> str:
    """First 12 hex digits of a sha256 of all that decides a stage's numbers but the machine: the methods, the lake, the
    benchmark and the versions of the libraries."""
    sha = hashlib.sha256(versions().encode())
    own = [ROOT / "benchmarks" / f"{name}.py" for name in ("side_by_side", "simulated", stage)]
    for path in sorted([*(ROOT / "galaxy_assets").rglob("*.py"), *own]):
        sha.update(path.read_bytes())
    return sha.hexdigest()[:12]


def versions() -> str:
    """Python and the libraries that the numbers depend on, in words."""
    names = ("numpy", "scipy", "scikit-learn", "umap-learn", "astropy", "opencv-python-headless", "torch", "pandas")
    return ", ".join(
        [f"Python {platform.python_version()}", *(f"{name} {importlib.metadata.version(name)}" for name in names)]
    )


def machine() -> str:
    """The processor's name and how many cores there are."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    name = next((line.split(":")[1].strip() for line in lines if line.startswith("model name")), platform.processor())
    family = [line.split(":")[1].strip() for line in lines if line.startswith(("cpu family", "model\t"))][:2]
    return f"{name} (family {'/'.join(family)}), {sum(line.startswith('processor') for line in lines)} cores"


def table(stage: str, rows: Iterable[Row], took: float) -> pa.Table:
    """A stage's rows in SCHEMA."""
    shared = {
        "machine": machine(),
        "threads": max((pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas"), default=1),
        "versions": versions(),
        "code": code(stage),
        "took": took,
        "measured": datetime.now(UTC),
    }
    plain = [{k: None if isinstance(v, float) and math.isnan(v) else v for k, v in asdict(row).items()} for row in rows]
    return pa.Table.from_pylist([row | shared for row in plain], schema=SCHEMA)


def line(row: Row, judged: bool = True) -> str:
    """A row in short, for who waits for it; `judged` by its targets, which are not for small sets."""
    ratio = f"x{row.ratio:8.2f} [{row.ratio_min:.2f} .. {row.ratio_max:.2f}]" if row.ratio is not None else ""
    seconds = f"{row.seconds:10.4g} s" if row.seconds is not None else ""
    memory = f"{row.memory_mb:8.0f} MB" if row.memory_mb is not None and not math.isnan(row.memory_mb) else ""
    grows = f"N^{row.exponent:.2f}" if row.exponent is not None else ""
    share = f"{row.share:.0%} of {row.limit}" if row.share is not None else ""
    below = [f"{'' if e.holds else 'NOT EQUAL: '}{e.what}: {e.found:.3g}" for e in row.equal]
    below += [
        f"short of the target: {name} {found:.3g} for {target:.3g}"
        for name, target, found, met in row.targets()
        if judged and not met
    ]
    first = f"{row.case:48s} {ratio:28s} {seconds} {memory} {grows} {share}"
    return "\n        ".join([first, *below])


def keep(stage: str, rows: Iterable[Row], took: float) -> None:
    """Write a stage's rows to the lake, in the place of those of an earlier run that was not of more galaxies."""
    path, rows = Layout.default().table(SURVEY, TABLE, stage), list(rows)
    known = max(read_table(path, ["n"])["n"].to_pylist(), default=0) if path.exists() else 0
    if known > max(row.n for row in rows):
        print(f"not kept: {path} is of {known:,} galaxies; remove it to keep a smaller measurement")
        return
    write_table(table(stage, rows, took), path)
    print(f"kept in {path}")


def main(stage: str, measure: Callable[[bool], Iterator[Row]]) -> None:
    """The command line of one stage: measure, show, and keep the rows in the lake. Ends with 1 where answers differ."""
    parser = argparse.ArgumentParser(
        description=sys.modules["__main__"].__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--small", action="store_true", help="seconds instead of minutes; nothing is kept")
    small = parser.parse_args().small
    logging.getLogger("galaxy_assets").setLevel(logging.ERROR)  # fits that are stopped on purpose did not converge
    rows, began = [], time.perf_counter()
    for row in measure(small):
        rows.append(row)
        print(line(row, judged=not small), flush=True)
    if not small:
        keep(stage, rows, time.perf_counter() - began)
    sys.exit(not all(equal.holds for row in rows for equal in row.equal))
