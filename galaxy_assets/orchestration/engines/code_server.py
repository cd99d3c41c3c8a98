"""Dagster's code server of one data folder: the process that starts the runs of Dagster's own launcher.

Belongs here: starting it, keeping it, ending it with its runs. Does not belong here: any run (`launched`).
"""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import dagster as dg
from dagster._core.errors import DagsterUserCodeUnreachableError
from dagster._grpc.client import DagsterGrpcClient
from dagster_shared.serdes import serialize_value

from galaxy_assets.settings.printing import PrintableError

MODULE, ATTRIBUTE, LOCATION = "galaxy_assets.definitions", "defs", "galaxy_assets"
"""The code location, as `workspace.yaml` has it."""
_HEARTBEAT, _FORGOTTEN = 5, 60
"""Seconds between signs of life, and without one until the server ends itself when its runs have ended."""
_TO_START = 300


class NotStarted(PrintableError):
    """The code server ended, or did not answer; the message has what it printed."""


class CodeServer:
    """A code server that lives as long as the block, in a process group that Ctrl-C does not reach.

    Parameters
    ----------
    instance : dagster.DagsterInstance
        One that is kept, so that the runs' processes find it.

    Attributes
    ----------
    client : dagster gRPC client
    """

    def __init__(self, instance: dg.DagsterInstance):
        self._instance = instance
        # the path of a socket has a hundred characters at most
        self._folder = Path(tempfile.mkdtemp(prefix="galaxy_assets_"))
        self.client = DagsterGrpcClient(host="localhost", socket=str(self._folder / "socket"))
        self._over = threading.Event()

    def __enter__(self) -> "CodeServer":
        """Start it and wait until it answers; raises NotStarted with what it printed where it ends before."""
        command = [sys.executable, "-m", "dagster", "api", "grpc", "--socket", str(self._folder / "socket")]
        command += ["--module-name", MODULE, "--attribute", ATTRIBUTE, "--working-directory", str(Path.cwd())]
        command += ["--location-name", LOCATION, "--log-level", "WARNING"]
        command += ["--heartbeat", "--heartbeat-timeout", str(_FORGOTTEN)]
        command += ["--instance-ref", serialize_value(self._instance.get_ref())]
        with (self._folder / "log").open("w") as log:
            self._process = subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True)
        try:
            self._wait()
        except BaseException:
            self._end()
            raise
        threading.Thread(target=self._keep, name="code-server-heartbeat", daemon=True).start()
        return self

    def _wait(self) -> None:
        until = time.monotonic() + _TO_START
        while True:
            try:
                self.client.ping("")
                return
            except DagsterUserCodeUnreachableError:
                if not self.runs or time.monotonic() > until:
                    said = (self._folder / "log").read_text(encoding="utf-8", errors="replace")
                    raise NotStarted(f"Dagster's code server does not start: {said.strip()[-2000:]}") from None
                time.sleep(0.2)

    @property
    def runs(self) -> bool:
        """Whether the process is there."""
        return self._process.poll() is None

    def _keep(self) -> None:
        while not self._over.wait(_HEARTBEAT):
            try:
                self.client.heartbeat()
            except DagsterUserCodeUnreachableError:  # too busy, or gone, which `runs` tells
                continue

    def __exit__(self, *error: Any) -> None:
        """End it and what is left of its runs."""
        self._over.set()
        self._end()

    def _end(self) -> None:
        self._process.terminate()
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            pass
        try:
            os.killpg(self._process.pid, signal.SIGKILL)  # the group is of the server and its runs alone
        except ProcessLookupError:
            pass
        self._process.wait()
        shutil.rmtree(self._folder, ignore_errors=True)
