"""How far a run is: steps, what is being made, and a time left that is honest."""

import logging

import pytest
from hypothesis import given
from hypothesis import strategies as st

from galaxy_assets.cli.run_progress import Left, RunProgress
from galaxy_assets.orchestration.course import Began, Ended, Planned
from galaxy_assets.orchestration.outcome import Outcome
from galaxy_assets.orchestration.planning.first_run import Expected
from galaxy_assets.settings import progress
from galaxy_assets.settings.progress import HowFar, Progress, looking

STEPS = {"catalogue": "delivery", "cutouts": "cutouts", "embeddings": "representation", "umap": "structure"}
A, B, E, U = ("catalogue", "b1"), ("cutouts", "b1"), ("embeddings", "b1|random"), ("umap", "random")


class Clock:
    def __init__(self):
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def planned(measured=(), tables=(A, B, E, U), outdated=(B, E, U), at_once=1) -> tuple[RunProgress, Clock]:
    clock = Clock()
    run = RunProgress(STEPS, dict(measured), clock)
    run.see(Planned({table: table in outdated for table in tables}, at_once))
    return run, clock


def test_steps_say_what_is_done_under_way_waiting_and_what_could_not_be_made():
    run, clock = planned()
    assert [(s.name, s.state, s.done, s.total) for s in run.steps()] == [
        ("delivery", "up to date", 1, 1),
        ("cutouts", "waiting", 0, 1),
        ("representation", "waiting", 0, 1),
        ("structure", "waiting", 0, 1),
    ]
    run.see(Began(B))
    assert run.steps()[1].state == "under way" and [m.name for m in run.making()] == ["cutouts [b1]"]
    run.see(Ended(B, 4.0))
    run.see_outcome(Outcome("s", ["cutouts"], "b1", "done", 5.0))
    assert run.steps()[1] == ("cutouts", "done", 1, 1, 0, 4.0)
    run.see(Began(E))
    run.see_outcome(Outcome("s", ["embeddings"], "b1|random", "failed", 5.0, "why"))
    run.see_outcome(Outcome("s", ["umap"], "random", "skipped", 0.0, "why"))
    assert [(s.state, s.done, s.lost) for s in run.steps()[2:]] == [("incomplete", 0, 1)] * 2
    assert not run.making() and run.counts() == (2, 4) and run.left().tables == 0
    run.see(Began(A))  # it turned out to be outdated after all
    assert run.steps()[0].state == "under way" and run.left().tables == 1


def test_the_time_left_is_that_of_earlier_runs_and_unknown_where_there_are_none():
    run, clock = planned()
    assert str(run.left()) == "time left unknown"
    run, clock = planned({B: 30.0, E: 60.0, U: 200.0})
    assert run.left() == Left(3, 290.0, 0) and str(run.left()) == "about 5 min left"
    run.see(Began(B))
    clock.now = 20
    assert run.left().seconds == 270
    clock.now = 31  # longer than it ever took: nobody knows
    assert run.left() == Left(3, 260.0, 1) and str(run.left()) == "more than 4 min left"
    run.see_progress(Progress("cutouts of b1", 5, 10, left=11.0))
    assert run.left() == Left(3, 271.0, 0)
    run, _ = planned({B: 30.0})
    assert run.left() == Left(3, 30.0, 2) and str(run.left()) == "time left unknown", "of most nothing is known"
    run, _ = planned({B: 30.0, E: 60.0})
    assert str(run.left()) == "more than 90 s left"


@given(st.integers(1, 200), st.floats(1, 1e5), st.data())
def test_a_bound_is_said_only_where_the_seconds_of_most_tables_are_known(tables, seconds, data):
    unknown = data.draw(st.integers(1, tables))
    said = str(Left(tables, seconds, unknown))
    assert said.startswith("more than") == (tables - unknown >= unknown)


def test_another_partition_of_this_run_tells_how_long_one_takes_and_several_at_once_take_less():
    tables = [("embeddings", f"b{i}|random") for i in range(5)]
    run, _ = planned(tables=tables, outdated=tables, at_once=2)
    run.see(Began(tables[0]))
    run.see(Ended(tables[0], 10.0))
    assert run.left() == Left(4, 20.0, 0)
    run, _ = planned({("embeddings", "b9|random"): 7.0}, tables=tables, outdated=tables)
    assert run.left() == Left(5, 35.0, 0), "of an earlier run's partition where this run has none"


def test_progress_belongs_to_the_latest_table_or_to_that_of_its_partition():
    run, clock = planned()
    run.see_progress(Progress("nobody", 1, 2))
    for table in (B, E):
        clock.now += 1
        run.see(Began(table))
    run.see_progress(Progress("embedding", 3, 9))
    run.see_progress(Progress("cutting", 1, 9), "b1")
    assert [(m.name, m.progress.what) for m in run.making()] == [
        ("cutouts [b1]", "cutting"),
        ("embeddings [b1|random]", "embedding"),
    ]


@given(
    st.dictionaries(st.sampled_from([B, E, U]), st.floats(0, 1e4)),
    st.floats(0, 1e4),
    st.none() | st.floats(0, 1e4),
    st.integers(1, 4),
)
def test_nothing_is_said_to_be_left_only_where_nothing_is(measured, gone, told, at_once):
    run, clock = planned(measured, at_once=at_once)
    assert "0 s" not in str(run.left()).split()
    for table in (B, E, U):
        run.see(Began(table))
        clock.now += gone
        if told is not None:
            run.see_progress(Progress("x", 1, 2, left=told))
        left = run.left()
        assert left.tables and str(left) != "nothing left" and " 0 s" not in str(left)
        assert left.unknown or "unknown" not in str(left)
        run.see(Ended(table, gone))
    assert str(run.left()) == "nothing left"


@pytest.mark.parametrize("status", ["held", "arriving"])
def test_a_delivery_that_is_not_whole_is_no_table(status):
    run, _ = planned()
    run.see_outcome(Outcome("s", ["catalogue"], "b7", status, error="truncated"))
    assert run.counts() == (1, 4)


def expecting(expected: dict, measured=()) -> tuple[RunProgress, Clock, list]:
    """A run of which a first delivery tells what should be expected, and what was asked."""
    clock, asked = Clock(), []

    def expect(tables):
        asked.append(set(tables))
        return {table: expected[table] for table in expected if table in tables}

    run = RunProgress(STEPS, dict(measured), clock, expect=expect, foreseen_by=("catalogue",))
    run.see(Planned(dict.fromkeys([A, B, E, U], True), 1))
    return run, clock, asked


EXPECTED = {A: Expected(20, False), B: Expected(10, False), E: Expected(60, True), U: Expected(200, True)}


def test_what_was_never_made_here_is_expected_to_take_as_long_as_elsewhere_and_as_much_longer_as_this_machine_takes():
    run, clock, asked = expecting(EXPECTED)
    assert run.left() == Left(4, 290, 0, 4) and str(run.left()) == "roughly 5 min left"
    run.see(Began(A))
    run.see(Ended(A, 100.0))
    assert len(asked) == 1, "its table is not written yet"
    run.see_outcome(Outcome("s", ["catalogue"], "b1", "done", 100.0))
    assert len(asked) == 2, "again when it is known what was delivered"
    assert run.left() == Left(3, 810, 0, 3), "100 and 20 s for 20 and 20, and of networks nothing else is known"
    run.see(Began(B))
    clock.now += 10
    assert run.left().seconds == 800
    run.see(Ended(B, 5.0))
    assert run.left() == Left(2, 650, 0, 2), "105 and 20 s for 30 and 20"
    run.see(Began(E))
    run.see(Ended(E, 20.0))
    assert run.left() == Left(1, 100, 0, 1), "networks take half as long here"


@pytest.mark.parametrize("status", ["done", "failed", "skipped", "fresh"])
def test_what_is_expected_is_asked_again_whatever_became_of_the_last_delivery(status):
    other = ("catalogue", "b2")
    asked = []
    run = RunProgress(STEPS, {}, expect=lambda tables: asked.append(tables) or {}, foreseen_by=("catalogue",))
    run.see(Planned(dict.fromkeys([A, other, U], True), 1))
    run.see_outcome(Outcome("s", ["catalogue"], "b1", "done", 1.0))
    assert len(asked) == 1
    run.see_outcome(Outcome("s", ["catalogue"], "b2", status, 1.0))
    assert len(asked) == 2


def test_a_start_of_seconds_does_not_make_hours_of_minutes():
    run, _, _ = expecting({A: Expected(0.1, False), E: Expected(600, True)}, {B: 1, U: 1})
    run.see(Began(A))
    run.see(Ended(A, 10.0))
    assert run.left().seconds < 1.5 * 602


def part_of(run: RunProgress, clock: Clock, monkeypatch) -> HowFar:
    """Half a part of what is being made, which takes as long as it shall, and of which the run is told."""
    monkeypatch.setattr(progress.time, "monotonic", clock)
    far = HowFar(logging.getLogger("galaxy_assets.test"), "embedding", 1000)
    clock.now += 17
    with looking(run.see_progress):
        far.tell(500)
    return far


def test_a_table_of_epochs_knows_better_than_what_was_expected_and_a_part_of_one_does_not(monkeypatch):
    run, clock, _ = expecting({E: Expected(100, True)}, {A: 1, B: 1, U: 1})
    run.see(Began(E))
    clock.now = 3
    part_of(run, clock, monkeypatch)
    assert clock.now == 20 and run.left() == Left(4, 83, 0, 1)
    run.see_progress(Progress("training", 1, 9, "epochs", left=300.0))
    assert run.left() == Left(4, 303, 0, 1)
    run.see_progress(Progress("training", 8, 9, "epochs", left=7.0))
    assert run.left() == Left(4, 10, 0, 1)
    run.see_progress(Progress("embedding", 3, 9))
    clock.now = 101
    assert str(run.left()).startswith("more than"), "longer than expected: nobody knows"


@pytest.mark.parametrize("measured", [{}, {E: 60.0}])
def test_a_part_leaves_what_the_whole_said_of_its_time_and_that_runs_on(measured, monkeypatch):
    run, clock, _ = expecting({E: Expected(60, True)}, {A: 1.0, B: 1.0, U: 1.0} | measured)
    for table in (A, B, U):
        run.see(Ended(table, 1.0))
    run.see(Began(E))
    clock.now = 200
    far = part_of(run, clock, monkeypatch)
    assert str(run.left()) == "time left unknown", "longer than it should take, and the whole has said nothing yet"
    run.see_progress(Progress("trials", 2, 8, "ways", left=420.0))
    assert str(run.left()) == f"{'about' if measured else 'roughly'} 7 min left"
    clock.now += 3
    for done in (700, 1000):
        clock.now += 10
        with looking(run.see_progress):
            far.tell(done)
        (made,) = run.making()
        assert (made.progress.what, made.progress.done) == ("embedding", done), "what is shown is the part"
        assert run.left() == Left(1, 217 + 420 - clock.now, 0, not measured)


def test_what_was_measured_here_is_not_asked_elsewhere():
    run, _, asked = expecting(EXPECTED, {A: 1, B: 1, E: 1, U: 1})
    assert not asked and run.left() == Left(4, 4, 0)
    run, _, asked = expecting(EXPECTED, {A: 1, B: 1, E: 1})
    assert asked == [{A, B, E, U}] and run.left() == Left(4, 203, 0, 1)
