"""The site in Chromium: axe-core in both themes, no request to another machine, no page that scrolls sideways.

With $GALAXY_ASSETS_SCREENSHOTS the pages are written there as pictures, 1280 and 1920 wide, in both themes.
"""

import os
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from galaxy_assets_tests.explorer.test_accessibility import AXE

pytestmark = pytest.mark.browser
SHOWN = [
    "index.html",
    "tutorials/index.html",
    "tutorials/asking-the-lake.html",
    "tutorials/new-reader.html",
    "how-to/index.html",
    "explanation/steps.html",
    "lineage.html",
    "surveys.html",
    "performance.html",
    "reference/settings.html",
    "reference/commands.html",
    "reference/assets.html",
    "reference/api/lake.html",
    "search.html?q=cutout",
]
"""A page of each kind."""


class Quiet(SimpleHTTPRequestHandler):
    """Files, without a log."""

    def log_message(self, *_):
        pass


@pytest.fixture(scope="module")
def address(html) -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(html)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def findings(page) -> list[str]:
    """Serious and critical findings, in words."""
    page.evaluate(AXE.read_text(encoding="utf-8"))
    found = page.evaluate("() => axe.run()")
    return [
        f"{violation['id']}: {node['html'][:160]} {node['failureSummary'][:200]}"
        for violation in found["violations"]
        if violation["impact"] in ("serious", "critical")
        for node in violation["nodes"]
    ]


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 1920])
def test_no_page_has_serious_findings_or_asks_another_machine(browser, address, theme, width):
    context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=theme, reduced_motion="reduce")
    page, problems = context.new_page(), []
    page.set_default_timeout(60_000)
    page.on("pageerror", lambda error: problems.append(str(error)))
    page.on("request", lambda asked: problems.append(asked.url) if not asked.url.startswith(address) else None)
    for name in SHOWN:
        page.goto(f"{address}/{name}")
        page.wait_for_load_state("networkidle")
        assert page.evaluate("document.documentElement.dataset.theme") == theme
        problems += [f"{name}: {words}" for words in findings(page)]
        wider = page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
        problems += [f"{name}: {wider} pixels wider than the window"] if wider > 0 else []
        if folder := os.environ.get("GALAXY_ASSETS_SCREENSHOTS"):
            file = Path(folder) / f"{name.partition('.')[0].replace('/', '-')}-{theme}-{width}.png"
            file.parent.mkdir(parents=True, exist_ok=True)
            page.screenshot(path=file)
    context.close()
    assert problems == []


def test_the_search_finds_a_setting(browser, address):
    page = browser.new_page()
    page.goto(f"{address}/search.html?q=orientations")
    page.wait_for_selector("#search-results li a")
    assert "settings" in " ".join(page.locator("#search-results li a").evaluate_all("all => all.map(a => a.href)"))
    page.close()
