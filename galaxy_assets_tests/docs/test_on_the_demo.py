"""The tutorials as they stand, on the demo's lake: `make docs-test`.

What a page says that a snippet prints is compared with what it prints: every line without a number must be there.
Numbers hang on the machine.
"""

import re
import shutil
from pathlib import Path

import pytest

from galaxy_assets_tests.deliveries.sky.loopback import Sky
from galaxy_assets_tests.docs.pages import TUTORIALS, Notebook, notebooks


@pytest.fixture
def demo(demo_lake, tmp_path, monkeypatch) -> Path:
    """A folder with a copy of the demo's data, which is the current one: some tutorials score galaxies."""
    shutil.copytree(demo_lake, tmp_path / "data", symlinks=True, ignore=shutil.ignore_patterns("benchmarks"))
    return tmp_path


@pytest.fixture(autouse=True)
def at_home(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setenv("GALAXY_ASSETS_DATA", str(tmp_path / "data"))
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path / "dagster"))
    (tmp_path / "dagster").mkdir()


def steady(text: str) -> list[str]:
    """The lines without a number, and without the lines around a table: what does not hang on the machine."""
    lines = [" ".join(re.sub(r"[─┌┐└┘├┤┬┴┼│]", " ", line).split()) for line in text.splitlines()]
    return [line for line in lines if line and line != "..." and not re.search(r"\d", line)]


def expected(page: Path) -> list[tuple[str, str]]:
    """Cells of a page's notebook with the `text` that follows them on the page."""
    cells = notebooks.cells(page.read_text(encoding="utf-8"))
    pairs = [(cell, after.text) for cell, after in zip(cells, cells[1:], strict=False) if after.kind == "text"]
    return [(notebooks.source(cell), text) for cell, text in pairs]


@pytest.mark.parametrize("page", TUTORIALS, ids=lambda page: page.stem)
def test_a_tutorial_runs_and_prints_what_it_says(page, demo, monkeypatch):
    from galaxy_assets.deliveries.sky.skies import HIPS2FITS

    sky = Sky()
    monkeypatch.setenv(HIPS2FITS.variable, f"{sky.address}/hips2fits")
    try:
        run = Notebook(demo)
        run.run(page)
    finally:
        sky.close()
    said = dict(run.said)
    for snippet, text in expected(page):
        assert steady(text) and not set(steady(text)) - set(steady(said[snippet])), snippet


def test_the_pages_say_what_is_printed():
    assert sum(len(expected(page)) for page in TUTORIALS) > 5
