"""What is free of a machine, from the files that Linux shows and beside real busy processes."""

import os
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from galaxy_assets.science.threads import FIXED, Usage, fixed_threads, threads_beside, usable_cores, used_by_others

BOUND = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()


def group(tmp_path, own: str, limits: dict[str, str]):
    """Files as Linux shows them: the process's groups, and limits by path."""
    (tmp_path / "own").write_text(own)
    for name, text in limits.items():
        path = tmp_path / "cgroups" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return tmp_path / "cgroups", tmp_path / "own"


@pytest.mark.parametrize(
    ("own", "limits", "cores"),
    [
        ("0::/user/run\n", {"user/run/cpu.max": "max 100000\n", "user/cpu.max": "100000 100000\n"}, 1),
        ("0::/user/run\n", {"user/run/cpu.max": "max 100000\n"}, None),
        ("0::/\n", {"cpu.max": "150000 100000\n"}, 1),
        ("0::/of/the/host\n", {"cpu.max": "50000 100000\n"}, 1),
        ("0::/../../outside\n", {"cpu.max": "100000 100000\n"}, 1),
        (
            "9:memory:/a\n4:cpu,cpuacct:/a\n",
            {"cpu/a/cpu.cfs_quota_us": "100000\n", "cpu/a/cpu.cfs_period_us": "100000\n"},
            1,
        ),
        ("4:cpu,cpuacct:/a\n", {"cpu/a/cpu.cfs_quota_us": "-1\n", "cpu/a/cpu.cfs_period_us": "100000\n"}, None),
        ("0::/a\n", {"a/cpu.max": "nonsense\n"}, None),
        ("0::/a\n", {"a/cpu.max": f"{1000 * 100000} 100000\n"}, None),
    ],
)
def test_a_container_s_share_is_a_limit_wherever_it_is_said(tmp_path, own, limits, cores):
    assert usable_cores(*group(tmp_path, own, limits)) == (cores or BOUND)


def test_where_nothing_says_so_the_cores_are_those_the_process_is_bound_to(tmp_path):
    assert usable_cores(tmp_path, tmp_path / "absent") == BOUND


def test_others_use_what_is_busy_and_not_of_this_process():
    assert used_by_others(Usage(10.0, 100.0, 5.0), Usage(14.0, 107.0, 8.0)) == pytest.approx(1.0)
    assert used_by_others(Usage(0.0, 0.0, 0.0), Usage(1.0, 0.9, 1.0)) == 0.0, "clocks tick apart"


@given(st.floats(0, 512), st.integers(1, 512), st.integers(0, 512))
def test_threads_are_at_least_one_at_most_the_share_and_fewer_the_more_others_use(others, most, more):
    bound = most + more
    threads = threads_beside(others, most, bound)
    assert 1 <= threads <= most
    assert threads_beside(0.0, most, bound) == most
    assert max(1, threads - 1) <= threads_beside(others + 1, most, bound) <= threads
    assert threads_beside(float(more), most, bound) == most, "others are on cores that this process has no share of"


@pytest.mark.parametrize(("said", "threads"), [("", 0), (" 3", 3), ("4,2", 4), ("all", 0), ("0", 0)])
def test_a_number_of_threads_is_fixed_only_where_one_is_said(monkeypatch, said, threads):
    monkeypatch.setenv(FIXED, said)
    assert fixed_threads() == threads


BESIDE = """
import subprocess, sys, time, torch
from galaxy_assets.science.threads import Threads, usable_cores
cores = usable_cores()
busy = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(2 * cores)]
try:
    threads = Threads()
    torch.set_num_threads(cores)
    for _ in range(40):
        threads.adapt()
        torch.rand(300, 300) @ torch.rand(300, 300)
        time.sleep(0.05)
    print(torch.get_num_threads())
finally:
    for process in busy:
        process.kill()
"""


@pytest.mark.parametrize(("set_by_a_person", "threads"), [(None, 1), ("3", 3)])
def test_beside_busy_processes_one_thread_computes_unless_a_person_said_otherwise(set_by_a_person, threads):
    env = {name: value for name, value in os.environ.items() if name != FIXED}
    if set_by_a_person:
        env[FIXED] = set_by_a_person
        code = BESIDE.replace("torch.set_num_threads(cores)", f"torch.set_num_threads({set_by_a_person})")
    else:
        code = BESIDE
    done = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True)
    assert done.stdout.strip() == str(threads), done.stderr
