"""What Dagster waits for before it does anything: loading the code location, and the process of a run.

    OMP_NUM_THREADS=1 python benchmarks/startup.py [--small]

Both in new processes over an empty data folder, where only the demo surveys are. Memory is the whole process's, not
what it grew by. A run's process, in which all its steps run, is timed from its launch to the start of the asset's
function, which the run's events tell; `--small` leaves it out. `python -X importtime -c "import
galaxy_assets.definitions"` shows what the seconds go to.
"""

import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from side_by_side import ROOT, Row, main

LIGHT = "demo_optical/table_1"  # reads nothing
_REPORT = """
import time
began = time.perf_counter()
{load}
status = dict(line.split(":", 1) for line in open("/proc/self/status") if ":" in line)
print(time.perf_counter() - began, time.process_time(), int(status["VmRSS"].split()[0]) * 1024 / 1e6)
"""


def loaded(load: str, environment: dict[str, str]) -> tuple[float, float, float]:
    """Seconds, seconds of the processor and MB of a new process that runs `load`."""
    command = [sys.executable, "-c", _REPORT.format(load=load)]
    shown = subprocess.run(command, env=environment, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    seconds, cpu, memory = map(float, shown.split())
    return seconds, cpu, memory


def step_start(environment: dict[str, str]) -> float:
    """Seconds from the launch of a run's process, in which its steps run, to the start of LIGHT."""
    from dagster import AssetKey, DagsterEventType, DagsterInstance

    home = Path(environment["DAGSTER_HOME"])
    command = [sys.executable, "-m", "dagster", "asset", "materialize", "-m", "galaxy_assets.definitions"]
    launched = time.time()
    subprocess.run([*command, "--select", LIGHT], env=environment, cwd=ROOT, capture_output=True, check=True)
    with DagsterInstance.from_config(str(home)) as instance:
        made = instance.get_latest_materialization_event(AssetKey(LIGHT.split("/")))
        assert made is not None
        return instance.all_logs(made.run_id, of_type=DagsterEventType.STEP_START)[-1].timestamp - launched


def measure(small: bool) -> Iterator[Row]:
    """The code location with and without our part, and a step."""
    rounds = 1 if small else 5
    with tempfile.TemporaryDirectory() as folder:
        home, data = Path(folder) / "home", Path(folder) / "data"
        home.mkdir()
        (home / "dagster.yaml").write_text("telemetry: {enabled: false}\n")
        environment = os.environ | {"DAGSTER_HOME": str(home), "GALAXY_ASSETS_DATA": str(data)}
        alone = [loaded("import dagster", environment) for _ in range(rounds)]
        ours = [loaded("from galaxy_assets.definitions import defs; defs()", environment) for _ in range(rounds)]
        (_, dagster_cpu, dagster_memory), (seconds, cpu, memory) = (
            tuple(map(statistics.median, zip(*found, strict=True))) for found in (alone, ours)
        )
        yield Row(
            "startup",
            "loading the code location",
            1,
            rounds=rounds,
            seconds=seconds,
            cpu_seconds=cpu,
            memory_mb=memory,
            target_seconds=2,
            target_mb=120,
            note=f"of it Dagster's own import: {dagster_cpu:.2f} s of the processor and {dagster_memory:.0f} MB",
        )
        if not small:
            starts = [step_start(environment) for _ in range(3)]
            yield Row(
                "startup",
                "starting a run of a light asset",
                1,
                rounds=len(starts),
                seconds=statistics.median(starts),
                target_seconds=4,
                note=f"{min(starts):.1f} to {max(starts):.1f} s",
            )


if __name__ == "__main__":
    main("startup", measure)
