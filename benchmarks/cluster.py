"""The demo's radio survey in two batches, on two Ray nodes of this machine and in one process: are the tables equal?

    make cluster-demo

It starts PostgreSQL, a Ray head on 127.0.0.2 and a Ray node on 127.0.0.3, and runs `galaxy-assets run demo_radio`
twice: in process, and by `--engine launched --at-once 2` with dagster.cluster.yaml and packaging/launchers/ray.yaml. It
prints which node made what and which tables differ, and ends with 1 if one does. It keeps nothing, and ends what it
started.

Belongs here: the two runs and their comparison. Does not belong here: the servers (`galaxy_assets_tests`), digests
(`golden`).
"""

import argparse
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import pyarrow.parquet as pq
import yaml
from golden import digests

from galaxy_assets_tests import postgresql
from galaxy_assets_tests.cluster.ray_nodes import environment, make_home, two_nodes

ROOT = Path(__file__).parents[1]
TIMES = ("image_history", "label_events", "oracle_events")
"""Tables that hold when something was seen or said, and have another digest at each run."""
SPEED = ("B4", "M2:minutes")
"""Rows of `results` that say how fast the machine trained."""


def write_world(root: Path, images: int) -> None:
    """The survey's file: the demo's in two batches, trained shortly, without the weights that another survey trains."""
    settings = {
        "extends": "demo_radio",
        "source": {"batches": ["delivery_1", "delivery_2"], "n_images": images},
        "start_weights": ["random", "imagenet"],
        "recipe": {"epochs": 2},
    }
    (root / "surveys").mkdir(parents=True)
    (root / "surveys/demo_radio.yaml").write_text(yaml.safe_dump(settings))


def run(root: Path, given: Mapping[str, str], *options: str) -> float:
    """`galaxy-assets run demo_radio`; its seconds."""
    start = time.perf_counter()
    command = [sys.executable, "-m", "galaxy_assets.cli", "run", "demo_radio", *options]
    subprocess.run(command, env=os.environ | given | {"GALAXY_ASSETS_DATA": str(root)}, check=True)
    return time.perf_counter() - start


@contextmanager
def nodes(home: Path) -> Iterator[Mapping[str, str]]:
    """PostgreSQL and two Ray nodes, for an instance whose home is this folder; what is in their environment is also in
    ours from now on.
    """
    if (programs := postgresql.programs()) is None:
        sys.exit("no PostgreSQL on this machine: install it (apt install postgresql)")
    make_home(home, ROOT)
    with postgresql.server(programs) as server:
        shared = environment(home, server.new("dagster").environment, ROOT)
        os.environ.update(shared)
        with two_nodes(shared):
            yield shared


def runs_of_nodes(address: str) -> Counter[str]:
    """Node -> number of runs that it made."""
    from ray.job_submission import JobSubmissionClient

    jobs = JobSubmissionClient(address).list_jobs()
    return Counter(urlsplit(job.driver_agent_http_address).hostname for job in jobs)


def told_of(root: Path) -> dict[str, dict]:
    """File -> what must be equal of it: without times, and without the speed of the machine."""
    found = digests(root)
    for name, told in found.items():
        table = name.split("/")[1].removesuffix(".parquet")
        if table in TIMES:
            del told["data"], told["rows"]
        elif table == "byol_checkpoints":
            del told["rows"]  # seconds and memory of each epoch; the digest `data` is without them
        elif table == "results":
            rows = pq.read_table(root / "lake" / name).to_pylist()
            found[name] = {"rows": [row for row in rows if row["check_id"] not in SPEED]}
    return found


def differences(one: Path, other: Path) -> tuple[int, list[str]]:
    """Number of files compared, and those that differ."""
    before, after = told_of(one), told_of(other)
    # by their text: what is not a number equals itself
    return len(before), sorted(n for n in before.keys() | after.keys() if str(before.get(n)) != str(after.get(n)))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=400)
    images = parser.parse_args().images
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # what was started is ended
    with tempfile.TemporaryDirectory(prefix="galaxy_assets_cluster_") as made:
        alone, cluster, home = (Path(made) / name for name in ("in_process", "launched", "home"))
        write_world(alone, images)
        seconds = run(alone, {"DAGSTER_HOME": str(Path(made) / "home_of_one")})
        write_world(cluster, images)
        shutil.copytree(alone / "raw", cluster / "raw")
        with nodes(home) as shared:
            on_two = run(cluster, shared, "--engine", "launched", "--at-once", "2")
            made_by = runs_of_nodes(shared["RAY_API_SERVER_ADDRESS"])
        compared, differ = differences(alone, cluster)
    print(f"\nin process {seconds:.0f} s; two nodes {on_two:.0f} s, of which each run starts Python anew")
    print("runs of each node: " + ", ".join(f"{node} {count}" for node, count in sorted(made_by.items())))
    for name in differ:
        print(f"differs: {name}")
    print(f"{compared - len(differ)} of {compared} tables, pixel files and checkpoints are equal")
    sys.exit(bool(differ) or len(made_by) < 2)


if __name__ == "__main__":
    main()
