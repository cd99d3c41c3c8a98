"""Processes on several hosts train as one: in two network namespaces by torchrun, and on the loopback interface."""

import json
import multiprocessing
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch

from galaxy_assets.science import torchrun
from galaxy_assets.science.distributed import joined, local_device
from galaxy_assets.settings.printing import PrintableError
from galaxy_assets_tests.conftest import missing
from galaxy_assets_tests.science import training_over_hosts

ROOT = Path(__file__).parents[2]
LONGEST = 300
STARTED = multiprocessing.get_context("forkserver")
STARTED.set_forkserver_preload([training_over_hosts.__name__])  # torch is imported once, which takes longer than a test


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Ended:
    """How a process ended: its exit status, the lines it told, and what it wrote to stderr."""

    def __init__(self, status: int | None, out: str, error: str):
        self.status, self.error = status, error
        self.told = [json.loads(line) for line in out.splitlines() if line.startswith("{")]

    def __repr__(self) -> str:
        return f"{self.status} {self.told} {self.error}"

    @property
    def losses(self) -> dict[int, float]:
        return {line["epoch"]: line["loss"] for line in self.told if "epoch" in line}


def run(places: Sequence[Mapping[str, object]], folder: Path, how: str = "") -> list[Ended]:
    """A process with each of these environments; what still runs after the time is ended."""
    files = [folder.with_name(f"{folder.name}_told_{i}") for i in range(len(places))]
    processes = [
        STARTED.Process(target=training_over_hosts.in_a_process, args=(file, place, folder, how))
        for file, place in zip(files, places, strict=True)
    ]
    until = time.monotonic() + LONGEST
    try:
        for process in processes:
            process.start()
        for process in processes:
            process.join(max(0.1, until - time.monotonic()))
        return [
            Ended(process.exitcode, *(file.with_suffix(f".{name}").read_text() for name in ("out", "err")))
            for process, file in zip(processes, files, strict=True)
        ]
    finally:
        for process in processes:
            process.kill()
            process.join()


def two(folder: Path, how: str = "") -> list[Ended]:
    """Two processes on this host with torchrun's variables, without torchrun."""
    told = {"WORLD_SIZE": 2, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": free_port(), "LOCAL_WORLD_SIZE": 2}
    return run([told | {"RANK": rank, "LOCAL_RANK": rank} for rank in range(2)], folder, how)


@pytest.fixture(scope="module")
def alone(tmp_path_factory) -> tuple[Path, dict[int, float]]:
    """The folder of a training in one process, with its state after the first epoch, and the losses."""
    folder = tmp_path_factory.mktemp("one")
    (ended,) = run([{}], folder)
    assert ended.status == 0, ended
    return folder, ended.losses


@contextmanager
def hosts() -> Iterator[list[tuple[list[str], str]]]:
    """What to write before a command so that it runs on a host of its own, and the host's address: two network
    namespaces with a cable between them. Each has its own loopback interface and sees nothing else.
    """
    if shutil.which("ip") is None:
        missing("no command `ip` here (apt install iproute2)")
    names, addresses = [f"ga{os.getpid() % 10**5}{end}" for end in "ab"], ["10.213.7.1", "10.213.7.2"]

    def ip(*arguments: str) -> None:
        done = subprocess.run(["ip", *arguments], capture_output=True, text=True)
        if done.returncode:
            pytest.skip(f"network namespaces are not to be had here: {done.stderr.strip()}")

    try:
        for name in names:
            ip("netns", "add", name)
        ip("link", "add", names[0], "netns", names[0], "type", "veth", "peer", "name", names[1], "netns", names[1])
        for name, address in zip(names, addresses, strict=True):
            ip("-n", name, "address", "add", f"{address}/24", "dev", name)
            ip("-n", name, "link", "set", name, "up")
            ip("-n", name, "link", "set", "lo", "up")
        yield [(["ip", "netns", "exec", name], address) for name, address in zip(names, addresses, strict=True)]
    finally:
        for name in names:
            subprocess.run(["ip", "netns", "delete", name], capture_output=True)


@pytest.fixture
def two_hosts() -> Iterator[list[tuple[list[str], str]]]:
    with hosts() as both:
        yield both


@pytest.mark.parametrize(
    ("ip", "ci", "ends", "words"),
    [
        (None, False, pytest.skip.Exception, "apt install iproute2"),
        (None, True, pytest.fail.Exception, "apt install iproute2"),
        ("Operation not permitted", True, pytest.skip.Exception, "not to be had here: .*not permitted"),
    ],
)
def test_without_the_command_or_the_right_to_make_hosts_the_test_says_so(monkeypatch, tmp_path, ip, ci, ends, words):
    if ip:
        command = tmp_path / "ip"
        command.write_text(f"#!/bin/sh\necho {ip} >&2\nexit 1\n")
        command.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("CI", "true" if ci else "")
    with pytest.raises(ends, match=words), hosts():
        pytest.fail("there are hosts")


@pytest.mark.parametrize("ci", [False, True])
def test_what_is_missing_is_skipped_on_a_persons_machine_and_fails_in_ci(monkeypatch, ci):
    monkeypatch.setenv("CI", "true" if ci else "")
    with pytest.raises(pytest.fail.Exception if ci else pytest.skip.Exception, match="no hosts"):
        missing("no hosts")


def test_torchrun_on_two_hosts_gives_the_losses_of_one_process(tmp_path, two_hosts, alone):
    command = [sys.executable, "-m", "torch.distributed.run", "--nnodes", "2", "--nproc-per-node", "1"]
    command += ["--master-addr", two_hosts[0][1], "--master-port", "29511"]
    kept = {name: value for name, value in os.environ.items() if not name.endswith("SOCKET_IFNAME")}
    started = [
        subprocess.Popen(
            [*on, *command, "--node-rank", str(rank), "-m", training_over_hosts.__name__, str(tmp_path)],
            env=kept | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)},
            **{"cwd": ROOT, "text": True, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE},
        )
        for rank, (on, _) in enumerate(two_hosts)
    ]
    try:
        told = [process.communicate(timeout=LONGEST) for process in started]
    finally:
        for process in started:
            process.kill()
            process.wait()
    first, second = (Ended(process.returncode, *words) for process, words in zip(started, told, strict=True))
    assert (first.status, second.status) == (0, 0), (first, second)
    assert first.losses == pytest.approx(alone[1], abs=1e-5, rel=0)
    assert first.losses != alone[1], "two processes did compute"
    assert second.losses == {}, "the first process alone is told of epochs"
    assert first.told[-1] == second.told[-1], "both have the same weights"


def test_a_killed_process_ends_the_other_and_all_go_on_after_the_last_whole_epoch(tmp_path, alone):
    """They resume from the state that the first one wrote, and nothing else is left."""
    folder = tmp_path / "training"
    first, second = two(folder, "killed")
    assert second.status == -signal.SIGKILL and first.status == 1
    assert "process 1 of 2 is gone, killed or cut off" in first.error, first
    assert [path.name for path in folder.iterdir()] == ["state.pt"]
    first, second = two(folder)
    assert (first.status, second.status) == (0, 0), (first, second)
    assert first.losses == pytest.approx({2: alone[1][2]}, abs=1e-5, rel=0)
    assert first.told[-1] == second.told[-1]


def test_a_failure_of_one_is_told_by_the_other(tmp_path):
    first, second = two(tmp_path / "training", "unreadable")
    assert (first.status, second.status) == (1, 1)
    assert "process 1 of 2 on" in first.error and "FileNotFoundError: no pixels here" in first.error, first
    assert "PartnerLost" not in second.error, second


def test_full_memory_of_one_makes_all_take_smaller_parts(tmp_path, alone):
    first, second = two(tmp_path / "training", "full")
    assert (first.status, second.status) == (0, 0), (first, second)
    assert first.losses == pytest.approx(alone[1], abs=1e-5, rel=0)
    assert "4 of 8 views at once" in first.error and "4 of 8 views at once" in second.error


def test_another_data_folder_on_another_host_is_noticed(tmp_path, alone):
    """The second process finds no state where the first one finds one."""
    folder = tmp_path / "training"
    shutil.copytree(alone[0], folder)
    for ended in two(folder, "elsewhere"):
        assert ended.status == 1 and ended.told == [] and "is the data folder the same" in ended.error, ended


def as_started(monkeypatch, **variables: object) -> None:
    for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, str(value))


PLACE = {"RANK": 3, "WORLD_SIZE": 4, "LOCAL_RANK": 1, "LOCAL_WORLD_SIZE": 2, "MASTER_ADDR": "h", "MASTER_PORT": 29500}


def test_the_place_is_what_torchrun_says(monkeypatch):
    as_started(monkeypatch, **PLACE)
    assert torchrun.place() == torchrun.Place(3, 4, 1, 2, "h", 29500)
    gpus = [torch.device("cuda", i) for i in range(2)]
    assert local_device(gpus) == gpus[1]
    assert local_device([torch.device("cpu")]) == torch.device("cpu")
    with pytest.raises(PrintableError, match="1 GPUs and 2 processes"):
        local_device(gpus[:1])


@pytest.mark.parametrize("variables", [{}, {"WORLD_SIZE": 1, "RANK": 0}, {"RANK": 5}])
def test_a_process_alone_joins_nobody(monkeypatch, variables):
    as_started(monkeypatch, **variables)
    assert torchrun.place() is None
    with joined([torch.device("cpu")]) as share:
        assert (share.rank, share.processes) == (0, 1)
    assert not torch.distributed.is_initialized()


@pytest.mark.parametrize(
    "changed", [{"MASTER_ADDR": None}, {"RANK": "first"}, {"RANK": None}, {"RANK": 4}, {"WORLD_SIZE": "all"}]
)
def test_variables_that_do_not_say_which_process_it_is_are_refused(monkeypatch, changed):
    as_started(monkeypatch, **{k: v for k, v in (PLACE | changed).items() if v is not None})
    with pytest.raises(PrintableError, match=r"start it by torchrun|not below WORLD_SIZE"):
        torchrun.place()
