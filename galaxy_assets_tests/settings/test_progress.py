"""How far a step is: one form, read back from the log, and never nothing left while something is."""

import logging

import pytest
from hypothesis import given
from hypothesis import strategies as st

from galaxy_assets.settings import progress
from galaxy_assets.settings.progress import HowFar, Progress, duration, looking, read, tell


@given(st.integers(0, 10**7), st.integers(1, 10**7), st.none() | st.floats(0.01, 1e5), st.none() | st.floats(0, 1e6))
def test_a_line_of_the_log_is_read_as_what_it_was_made_from(done, more, speed, left):
    told = Progress("training, epoch 3 of 20", done, done + more, "steps", speed, left)
    found = read(str(told))
    assert found is not None and found[:4] == told[:4]
    assert found.speed == (None if speed is None else pytest.approx(speed, rel=0.06))
    near = None if left is None else pytest.approx(left, rel=0.06, abs=1 if left <= 99 else 30)  # then whole minutes
    assert found.left == near and read(f"{told}; loss 0.1")


@given(st.floats(0, 1e7))
def test_a_time_left_is_never_nothing(seconds):
    number, unit = duration(seconds).split()
    assert float(number) > 0 and unit in ("s", "min", "h")
    assert not str(Progress("a", 1, 2, left=seconds)).endswith(", 0 s left")


@pytest.mark.parametrize("line", ["computing on cpu", "left out 3 galaxies", "3 of 4 labels are new", "a: 3 of b"])
def test_other_lines_are_no_progress(line):
    assert read(line) is None


def test_who_looks_on_is_told_and_the_log_has_a_line_now_and_then(caplog, monkeypatch):
    log, now, seen = logging.getLogger("galaxy_assets.test"), [100.0], []
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    with caplog.at_level(logging.INFO, "galaxy_assets"), looking(seen.append):
        far = HowFar(log, "embedding", 1000, whole=True, before=200)
        for done in range(300, 1100, 100):
            now[0] += 5
            far.tell(done)
        tell(log, Progress("training", 20, 20, "epochs", left=0.0), "loss 0.5")
    assert [p.done for p in seen] == [*range(300, 1100, 100), 20]
    assert (seen[0].speed, seen[0].left) == (20, 35), "what was there before tells nothing of the pace"
    assert seen[-2].left is None
    assert [record.getMessage() for record in caplog.records] == [
        "embedding: 600 of 1,000 images, 20 images/s, 20 s left",
        "embedding: 1,000 of 1,000 images, 20 images/s",
        "training: 20 of 20 epochs; loss 0.5",
    ]
    far.tell(1000)
    assert len(seen) == 9, "nobody looks any more"


def test_a_count_tells_a_time_left_only_where_it_is_of_all_that_is_made(monkeypatch):
    now, seen = [100.0], []
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    for whole in (False, True):
        far = HowFar(logging.getLogger("galaxy_assets.test"), "embedding", 1000, whole=whole)
        now[0] += 5
        with looking(seen.append):
            far.tell(100)
    assert [(p.done, p.speed, p.left) for p in seen] == [(100, 20, None), (100, 20, 45)]
