"""Assets that keep files on the way: one run at a time works on a partition."""

import os
import threading
import time
import types
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from galaxy_assets.orchestration.alone import training_alone
from galaxy_assets.orchestration.graph import ASSETS
from galaxy_assets.storage import locks
from galaxy_assets.storage.files import NotWritten
from galaxy_assets.storage.layout import Layout


def test_of_two_trainings_of_the_same_start_weights_one_waits_for_the_other(tmp_path):
    survey = types.SimpleNamespace(name="s")
    context: Any = types.SimpleNamespace(layout=Layout(tmp_path), survey=survey, init="imagenet")
    inside: list[str] = []
    together = []

    def train(_, table: str) -> Any:
        inside.append(table)
        together.append(len(inside))
        time.sleep(0.05)
        inside.remove(table)
        return table

    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(lambda name: training_alone(train)(context, name), "abcd")) == list("abcd")
    assert together == [1] * 4
    assert hasattr(ASSETS["byol_checkpoints"].function, "__wrapped__")


def test_who_waits_for_a_training_says_for_whom(tmp_path, monkeypatch, caplog):
    survey = types.SimpleNamespace(name="s")
    context: Any = types.SimpleNamespace(layout=Layout(tmp_path), survey=survey, init="imagenet")
    monkeypatch.setattr(locks, "_GLANCE", 0.05)
    begun, said = threading.Event(), threading.Event()

    def first(_) -> Any:
        begun.set()
        assert said.wait(60)

    with ThreadPoolExecutor(2) as pool:
        training = pool.submit(training_alone(first), context)
        assert begun.wait(60)
        second = pool.submit(training_alone(lambda _: "done"), context)
        until = time.monotonic() + 60
        while not caplog.records and time.monotonic() < until:
            time.sleep(0.01)
        assert not second.done()
        said.set()
        training.result()
        assert second.result() == "done"
    (record,) = caplog.records
    assert f"held by process {os.getpid()} on" in record.getMessage() and "waiting" in record.getMessage()


def test_on_a_full_disk_a_training_is_not_begun_and_that_is_told(tmp_path):
    survey = types.SimpleNamespace(name="s")
    context: Any = types.SimpleNamespace(layout=Layout(tmp_path), survey=survey, init="imagenet")
    lock, begun = Layout(tmp_path).checkpoints("s") / "imagenet/.training.lock", []
    lock.parent.mkdir(parents=True)
    lock.symlink_to("/dev/full")
    with pytest.raises(NotWritten, match=r"training.lock is not written: the disk is full"):
        training_alone(begun.append)(context)
    assert not begun
