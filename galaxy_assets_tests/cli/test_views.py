"""A run in a terminal and as plain lines: what is shown, and that the terminal is left as it was."""

import os
import shutil
import subprocess
import sys

import pytest

from galaxy_assets_tests.cli.screen import Screen, in_terminal

RUN = """
import logging, sys, time
from galaxy_assets.cli.run_progress import RunProgress
from galaxy_assets.cli.view import can_be_rewritten, shown
from galaxy_assets.orchestration.course import Planned, making, tell
from galaxy_assets.orchestration.outcome import Outcome
from galaxy_assets.settings.progress import HowFar, Progress
from galaxy_assets.settings import progress

log = logging.getLogger("galaxy_assets.test")
steps = {"catalogue": "delivery", "cutouts": "cutouts", "embeddings": "representation", "umap": "structure"}
tables = {("catalogue", "b1"): False, ("cutouts", "b1"): True, ("embeddings", "b1|random"): True, ("umap", None): True}
with shown(live=can_be_rewritten()) as showing:
    run = RunProgress(steps, {("cutouts", "b1"): 1.0, ("embeddings", "b1|random"): 500.0, ("umap", None): 200.0})
    with showing.survey("A survey (s)", run):
        tell(Planned(tables, 1))
        showing.outcome(Outcome("s", ["catalogue"], "b1", "fresh"))
        with making("cutouts", "b1"):
            far = HowFar(log, "cutouts of b1", 10)
            for done in range(1, 11):
                far.tell(done)
                time.sleep(0.05)
        showing.outcome(Outcome("s", ["cutouts"], "b1", "done", 1.0))
        for _ in range(3):
            log.warning("the memory of cuda:0 is full")
        log.info("computing on cpu")
        print("printed by a library")
        with making("embeddings", "b1|random"):
            progress._show(Progress("embedding", 512, 2000, speed=98.0, left=16.0))
            time.sleep(1.5)
            print("NOW", file=sys.stderr)
            time.sleep(float(sys.argv[1]))
        showing.outcome(Outcome("s", ["embeddings"], "b1|random", "failed", 2.0, "weights are missing"))
        showing.outcome(Outcome("s", ["umap"], None, "skipped", 0.0, "what it reads was not made: embeddings"))
print("after")
"""


def environment(**changed: str) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if name not in ("NO_COLOR", "COLUMNS", "LINES")}
    return kept | {"TERM": "xterm-256color"} | changed


def terminal(columns: int, rows: int = 40, until: str = "", wait: str = "0", **changed: str) -> tuple[int, Screen, str]:
    command = [sys.executable, "-c", RUN, wait]
    status, printed = in_terminal(command, columns, rows, environment(**changed), until)
    return status, Screen(columns).write(printed), printed


def at_work_in(columns: int, printed: str) -> str:
    """What stood on the terminal when NOW had been printed, and the picture below it again."""
    end = printed.find("\x1b[2K", printed.index("NOW"))
    return Screen(columns).write(printed[:end]).text


def test_a_terminal_shows_steps_and_what_is_made_and_keeps_warnings_and_failures_above():
    status, screen, printed = terminal(80)
    assert status == 0 and screen.cursor and not screen.too_long and screen.colours
    assert screen.text.endswith("\nafter")
    at_work = at_work_in(80, printed)
    assert "embeddings [b1|random]: embedding: 512 of 2,000 images, 98 images/s, 16 s left" in at_work
    assert "2 of 4 tables, about 4 min left" in at_work
    assert [line.split()[:3] for line in at_work.splitlines() if line.startswith("  ")][:4] == [
        ["delivery", "up", "to"],
        ["cutouts", "done", "1"],
        ["representation", "under", "way"],
        ["structure", "waiting", "0"],
    ]
    lines = screen.text.splitlines()
    assert lines.count("! the memory of cuda:0 is full") == 1 and "printed by a library" in lines
    assert "failed: embeddings [b1|random]: weights are missing" in lines
    assert "skipped, since what it reads was not made: umap" in lines
    last = screen.text[screen.text.index("A survey (s)") :]
    assert screen.text.count("A survey (s)") == 1 and "2 of 4 tables" in last and "left" not in last
    assert "computing on cpu" not in screen.text and "embedding: 512" not in screen.text
    assert "representation  incomplete  0 of 1, 1 missing" in last


def test_ctrl_c_and_sigterm_leave_the_cursor_and_the_last_state():
    status, screen, _ = terminal(80, until="NOW", wait="60")
    assert status != 0 and screen.cursor and "KeyboardInterrupt" in screen.text
    assert "representation  under way" in screen.text
    killed = RUN.replace("time.sleep(float(sys.argv[1]))", "import os, signal; os.kill(os.getpid(), signal.SIGTERM)")
    status, printed = in_terminal([sys.executable, "-c", killed, "0"], 80, 40, environment())
    assert status == -15 and Screen(80).write(printed).cursor


@pytest.mark.parametrize(("columns", "rows"), [(120, 40), (40, 40), (80, 5), (20, 6)])
def test_no_line_is_longer_than_the_terminal_and_no_picture_higher(columns, rows):
    _, screen, printed = terminal(columns, rows)
    assert screen.cursor and "A survey" in screen.text
    frame = at_work_in(columns, printed)
    picture = frame[frame.index("A survey") :].splitlines()
    assert len(picture) <= rows and max(map(len, picture)) <= columns
    assert any("embeddings" in line for line in picture), "what is being made is seen on any terminal"


def test_no_color_takes_the_colours_and_a_dumb_terminal_the_live_view():
    _, screen, printed = terminal(80, NO_COLOR="1")
    assert not screen.colours and screen.text.count("A survey (s)") == 1 and "\x1b[2K" in printed
    _, _, printed = terminal(80, TERM="dumb")
    assert "\x1b" not in printed and " ! failed  embeddings [b1|random]" in printed


def test_without_a_terminal_there_are_plain_lines_at_a_sensible_rate():
    command = [sys.executable, "-c", RUN, "0"]
    ran = subprocess.run(command, env=environment(), capture_output=True, text=True, check=True)
    assert "\x1b" not in ran.stdout + ran.stderr
    assert [line.lstrip(" 0123456789:") for line in ran.stdout.splitlines()] == [
        "",
        "A survey (s)",
        "= fresh   catalogue [b1]",
        "+ done    cutouts [b1]",
        "printed by a library",
        "! failed  embeddings [b1|random]",
        "weights are missing",
        "- skipped umap",
        "what it reads was not made: embeddings",
        "after",
    ]
    assert ran.stderr.count("the memory of cuda:0 is full") == 1 and ran.stderr.count("computing on cpu") == 1
    assert "images" not in ran.stderr, "nothing took twenty seconds"


def test_of_many_tables_that_are_up_to_date_one_line_tells(capsys):
    from galaxy_assets.cli.plain_view import PlainView
    from galaxy_assets.orchestration.outcome import Outcome

    view = PlainView()
    for i in range(2000):
        view.outcome(Outcome("s", ["embeddings"], f"b{i}", "fresh"))
    view.outcome(Outcome("s", ["umap"], None, "done"))
    view.outcome(Outcome("s", ["results"], None, "fresh"))
    view.end()
    lines = [line.split(None, 1)[1] for line in capsys.readouterr().out.splitlines()]
    assert lines == [
        "= fresh   2,000 tables, embeddings [b0] to embeddings [b1999]",
        "+ done    umap",
        "= fresh   results",
    ]


def test_a_survey_that_is_up_to_date_runs_in_a_terminal_and_ends_with_its_summary(untrained, tmp_path):
    root = tmp_path / "data"
    shutil.copytree(untrained, root)
    where = {"GALAXY_ASSETS_DATA": str(root), "DAGSTER_HOME": str(tmp_path / "dagster")}
    command = [sys.executable, "-m", "galaxy_assets.cli", "run", "tiny"]
    status, printed = in_terminal(command, 100, 50, environment(**where))
    screen = Screen(100).write(printed)
    assert status == 0 and screen.cursor and screen.text.count("Tiny survey (tiny)") == 1, printed
    assert "representation  up to date" in screen.text and "36 in, " in screen.text
