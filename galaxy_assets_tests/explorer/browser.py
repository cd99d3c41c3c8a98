"""A server of the explorer or of Dagster in a process of its own, and a Chromium that opens its page.

Belongs here: starting and ending both. Does not belong here: what is tested.
"""

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from galaxy_assets.cli.dagster_home import SETTINGS

# draw without a graphics card
FLAGS = ["--no-sandbox", "--use-gl=angle", "--use-angle=swiftshader", "--enable-unsafe-swiftshader"]
# the n-th map of the page as its component: (which) => ...
MAP = "((which) => getElement(Number(document.querySelectorAll('.ga-map')[which].id.slice(1))))"
# where on the screen a row of the n-th map is: ([which, row]) => [x, y]
SPOT = f"""([which, row]) => {{
  const map = {MAP}(which), box = map.$refs.plot.getBoundingClientRect(), [x, y] = map.sp.getScreenPosition(row);
  return [box.x + x, box.y + y];
}}"""
PATIENCE = 60_000
"""Milliseconds that a busy machine is given."""


def chromium() -> str | None:
    """A Chromium of this machine: $CHROMIUM, else one on the path."""
    names = ("chromium", "chromium-browser", "google-chrome", "chrome")
    return os.environ.get("CHROMIUM") or next((found for name in names if (found := shutil.which(name))), None)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def await_answer(url: str, process: subprocess.Popen, seconds: float) -> None:
    """Return when a server answers; raise what it said last where it has ended or takes longer."""
    end = time.monotonic() + seconds
    while True:
        try:
            urllib.request.urlopen(url, timeout=5).read()
            return
        except (urllib.error.URLError, OSError):
            if process.poll() is not None or time.monotonic() > end:
                raise
            time.sleep(0.1)


class Server:
    """`galaxy-assets explore` over a data folder."""

    def __init__(self, root: Path, dagster: str = "http://127.0.0.1:9", port: int | None = None):
        self.root, self.dagster, self.port = root, dagster, port or free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.start()

    def start(self) -> None:
        command = [sys.executable, "-m", "galaxy_assets.cli", "explore", "--no-browser"]
        command += ["--port", str(self.port), "--dagster", self.dagster]
        environment = os.environ | {"GALAXY_ASSETS_DATA": str(self.root), "USER": "ann", "LOGNAME": "ann"}
        self.process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, start_new_session=True)
        await_answer(self.url, self.process, PATIENCE / 1000)

    def kill(self) -> None:
        """At once, as the kernel would: nothing is cleaned up."""
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()

    def stop(self) -> None:
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGTERM)
            try:
                self.process.wait(15)
            except subprocess.TimeoutExpired:
                self.kill()


@contextmanager
def serving(root: Path, dagster: str = "http://127.0.0.1:9") -> Iterator[Server]:
    """A server that ends with the block."""
    server = Server(root, dagster)
    try:
        yield server
    finally:
        server.stop()


ROOT = Path(__file__).parents[2]


@contextmanager
def dagster_serving(root: Path, home: Path) -> Iterator[tuple[str, subprocess.Popen]]:
    """`galaxy-assets dev` over a data folder, its address and its process, which ends with the block."""
    port = free_port()
    shutil.copy(SETTINGS, home)
    environment = os.environ | {"DAGSTER_HOME": str(home), "GALAXY_ASSETS_DATA": str(root), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "galaxy_assets.cli", "dev", "--port", str(port)]
    process = subprocess.Popen(
        command, env=environment, cwd=ROOT, start_new_session=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    address = f"http://127.0.0.1:{port}"
    try:
        await_answer(f"{address}/server_info", process, 240)
        yield address, process
    finally:
        process.terminate()
        try:
            process.wait(90)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
