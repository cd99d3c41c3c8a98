"""Every stage of the benchmarks, one after the other, each in a process of its own on one thread; what `make bench`
calls.

    python benchmarks/run.py [STAGE ...] [--all] [--again]

Without names it is the stages that take seconds or a few minutes; `--all` adds those that take a quarter of an hour. A
stage that was measured with today's code, libraries and machine is not measured again unless `--again` says so:
stopped in between, the suite goes on where it was. At the end the tables of the lake are published for SQL and the
measured sections of docs/performance.md and its figures are written anew.
"""

import argparse
import os
import subprocess
import sys
import time
from pathlib import Path

from report import write_page
from side_by_side import SURVEY, TABLE, code, machine

from galaxy_assets.lake.read_model import publish
from galaxy_assets.storage.layout import Layout
from galaxy_assets.storage.tables import read_table

STAGES = (
    "startup",
    "cutouts",
    "training",
    "pca",
    "neighbours",
    "projection",
    "mixture",
    "gaussian_process",
    "similarity",
    "feature_tables",
    "survey_at_scale",
    "kept_bytes",
)
"""In the order of the data."""
LONG = ("mixture", "survey_at_scale")
"""Stages that take a quarter of an hour each."""
_ONE_THREAD = {f"{name}_NUM_THREADS": "1" for name in ("OMP", "OPENBLAS", "MKL", "NUMBA")}


def measured(stage: str, path: Path) -> bool:
    """Whether the stage's table is of today's code and machine."""
    if not path.exists():
        return False
    row = read_table(path).slice(0, 1).to_pylist()[0]
    return (row["code"], row["machine"]) == (code(stage), machine())


def main() -> None:
    """Measure what is to be measured; ends with 1 where a stage failed, after all others."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("stages", nargs="*", metavar="STAGE", help=", ".join(STAGES))
    parser.add_argument("--all", action="store_true", help=f"also {' and '.join(LONG)}, which take half an hour")
    parser.add_argument("--again", action="store_true", help="measure also what was measured with today's code")
    given = parser.parse_args()
    unknown = set(given.stages) - set(STAGES)
    if unknown:
        parser.error(f"no stage {', '.join(sorted(unknown))}; there are {', '.join(STAGES)}")
    layout, failed = Layout.default(), []
    asked = given.stages or [stage for stage in STAGES if given.all or stage not in LONG]
    wanted = [stage for stage in STAGES if stage in asked]
    for number, stage in enumerate(wanted, 1):
        path = layout.table(SURVEY, TABLE, stage)
        print(f"[{number}/{len(wanted)}] {stage}", flush=True)
        if measured(stage, path) and not given.again:
            print(f"    measured already, see {path}", flush=True)
            continue
        began = time.perf_counter()
        script = Path(__file__).with_name(f"{stage}.py")
        done = subprocess.run([sys.executable, str(script)], env=os.environ | _ONE_THREAD)
        print(f"    {time.perf_counter() - began:.0f} s", flush=True)
        if done.returncode:
            failed.append(stage)
    publish(layout)
    print(f"written: {write_page(layout)}")
    if failed:
        sys.exit(f"failed or not equal: {', '.join(failed)}; see above")


if __name__ == "__main__":
    main()
