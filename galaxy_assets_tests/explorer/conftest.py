"""What the explorer's tests share: a small lake; and in a browser, lakes to explore, a server over each, a page.

They run on a lake written by hand, and on every survey of the finished data folder that $GALAXY_ASSETS_FINISHED_DATA
names (a copy of it: the tests score galaxies).
"""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from galaxy_assets.explorer.view import OpenLake, View
from galaxy_assets.settings.files import survey_files
from galaxy_assets.settings.survey import Survey
from galaxy_assets.storage.layout import Layout
from galaxy_assets_tests.explorer.browser import PATIENCE, Server, serving
from galaxy_assets_tests.explorer.small_lake import NAME, write_small_lake

FINISHED = os.environ.get("GALAXY_ASSETS_FINISHED_DATA")


@pytest.fixture
def layout(tmp_path) -> Layout:
    """A small lake that a test may change."""
    return write_small_lake(tmp_path / "data")


@pytest.fixture
def survey(layout) -> Survey:
    """Its survey."""
    return survey_files(layout.root).named(NAME)


@pytest.fixture
def view(layout) -> View:
    """The map of its main start weights."""
    return View(OpenLake(layout), NAME, "imagenet")


class Explored(NamedTuple):
    """A survey and the server that shows it."""

    root: Path
    survey: str
    server: Server

    def url(self, **place: str) -> str:
        from urllib.parse import urlencode

        return f"{self.server.url}/?{urlencode({'survey': self.survey, **place})}"


def _surveys() -> list[str]:
    if not FINISHED:
        return [NAME]
    return [NAME, *sorted(p.name for p in (Path(FINISHED) / "lake").iterdir() if (p / "umap").exists())]


@pytest.fixture(scope="session")
def finished_copy(tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("finished") / "data"
    shutil.copytree(FINISHED or "", root)
    return root


@pytest.fixture(scope="module", params=_surveys())
def explored(request, browser, tmp_path_factory) -> Iterator[Explored]:
    """One survey after the other, served for a module's tests."""
    if request.param == NAME:
        root = write_small_lake(tmp_path_factory.mktemp("explored") / "data").root
    else:
        root = request.getfixturevalue("finished_copy")
    with serving(root) as server:
        yield Explored(root, request.param, server)


@pytest.fixture
def page(browser):
    """A tab of its own; a test fails where the page logs an error or asks another host."""
    context = browser.new_context(viewport={"width": 1280, "height": 800}, accept_downloads=True)
    context.set_default_timeout(PATIENCE)
    page = context.new_page()
    problems: list[str] = []
    page.on("pageerror", lambda error: problems.append(str(error)))
    page.on("console", lambda message: problems.append(message.text) if message.type == "error" else None)
    page.on(
        "request",
        lambda request: (
            problems.append(f"asked {request.url}")
            if not request.url.startswith(("http://127.0.0.1:", "ws://127.0.0.1:", "data:", "blob:"))
            else None
        ),
    )
    page.problems = problems
    yield page
    context.close()
    assert problems == []
