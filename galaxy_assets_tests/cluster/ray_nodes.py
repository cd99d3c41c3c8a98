"""Two Ray nodes on 127.0.0.2 and 127.0.0.3 of this machine, for as long as a test or `make cluster-demo` needs them.

Not on 127.0.0.1, which Ray replaces by the host's address. Whoever has no token is sent away, as on a real cluster.
"""

import os
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import psutil

from galaxy_assets_tests.explorer.browser import free_port

HEAD, OTHER = "127.0.0.2", "127.0.0.3"
TO_START, _TO_STOP = 240, 30
_STARTED = "Ray runtime started."


class NotUp(Exception):
    """A node did not come up within its time."""


def environment(home: Path, database: Mapping[str, str], root: Path) -> dict[str, str]:
    """What the nodes, and who hands runs to them, have in common.

    `dagster` must be the one of this environment: a node starts it by its name.
    """
    search = [str(root), os.environ.get("PYTHONPATH", "")]
    return {
        **database,
        "DAGSTER_HOME": str(home),
        "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]),
        "PYTHONPATH": os.pathsep.join(filter(None, search)),
        "OMP_NUM_THREADS": "1",
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN": secrets.token_hex(32),
        "RAY_API_SERVER_ADDRESS": f"http://{HEAD}:{free_port()}",
        "RAY_USAGE_STATS_ENABLED": "0",
        # a busy machine needs more than the minute that Ray gives it
        "RAY_DASHBOARD_STARTUP_TIMEOUT_S": str(TO_START),
    }


def make_home(home: Path, root: Path) -> None:
    """Make the home of a Dagster instance that hands runs to Ray, by the settings of a tree of this project."""
    home.mkdir()
    settings = (root / "dagster.cluster.yaml", root / "packaging/launchers/ray.yaml")
    (home / "dagster.yaml").write_text("".join(part.read_text() for part in settings))


@contextmanager
def two_nodes(shared: Mapping[str, str]) -> Iterator[None]:
    """Start them with `environment` and wait until they are there; raises NotUp where they do not come up.

    Each has room for one run, with a GPU that is not there: a run that asks for one computes on the CPU.
    """
    folder = Path(tempfile.mkdtemp(prefix="ray_", dir="/tmp"))  # the path of a socket has a hundred characters at most
    port, dashboard = free_port(), shared["RAY_API_SERVER_ADDRESS"].rpartition(":")[2]
    room = ["--num-cpus=2", "--num-gpus=1", "--object-store-memory=100000000", "--disable-usage-stats", "--block"]
    head = ["--head", f"--node-ip-address={HEAD}", f"--port={port}", f"--temp-dir={folder}"]
    head += [f"--dashboard-host={HEAD}", f"--dashboard-port={dashboard}", f"--ray-client-server-port={free_port()}"]
    started: list[subprocess.Popen] = []
    try:
        for name, options in (("head", head), ("other", [f"--address={HEAD}:{port}", f"--node-ip-address={OTHER}"])):
            log = folder / f"{name}.log"
            with log.open("w") as said:
                own = [*options, *room, f"--dashboard-agent-listen-port={free_port()}"]  # on one machine both need one
                command = [sys.executable, "-m", "ray.scripts.scripts", "start", *own]
                node = subprocess.Popen(
                    command, env=os.environ | shared, stdout=said, stderr=said, start_new_session=True
                )
            started.append(node)
            _wait(node, log)
        yield
    finally:
        _end(started)
        shutil.rmtree(folder, ignore_errors=True)


def _wait(node: subprocess.Popen, log: Path) -> None:
    until = time.monotonic() + TO_START
    while _STARTED not in (said := log.read_text(errors="replace")):
        if node.poll() is not None or time.monotonic() > until:
            raise NotUp(f"a Ray node did not come up within {TO_START} s: {said.strip()[-1000:]}")
        time.sleep(0.5)


def _end(nodes: list[subprocess.Popen]) -> None:
    """End the nodes, the head last, and whatever they started that is left."""
    left = [child for node in nodes if node.poll() is None for child in psutil.Process(node.pid).children(True)]
    for node in reversed(nodes):
        node.send_signal(signal.SIGTERM)
        try:
            node.wait(_TO_STOP)
        except subprocess.TimeoutExpired:
            node.kill()
            node.wait()
    for process in psutil.wait_procs(left, 5)[1]:
        process.kill()
