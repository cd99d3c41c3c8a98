"""The page in Firefox: what a person does on one round through it."""

from collections.abc import Iterator

import pytest

from galaxy_assets_tests.explorer.browser import SPOT
from galaxy_assets_tests.explorer.conftest import Explored
from galaxy_assets_tests.explorer.firefox import Tab, firefox, opened
from galaxy_assets_tests.explorer.test_browser import events, view_of

pytestmark = [pytest.mark.browser, pytest.mark.skipif(firefox() is None, reason="no Firefox; set $FIREFOX")]
SHOWN = "document.querySelector('[data-shown]')?.dataset.shown"


@pytest.fixture(scope="module")
def tab() -> Iterator[Tab]:
    with opened() as tab:
        tab.size(1280, 800)
        yield tab


@pytest.fixture(autouse=True)
def _without_problems(tab: Tab) -> Iterator[None]:
    tab.problems.clear()
    yield
    assert tab.problems == []


def go(tab: Tab, explored: Explored, *, drawn: bool = True, **place: str) -> None:
    """Open a place; a test that needs the map drawn is skipped where this Firefox has no WebGL."""
    tab.go(explored.url(**place))
    tab.until("document.querySelector('.ga-gallery')?.dataset.shows > 0")
    if tab.evaluate("!document.createElement('canvas').getContext('webgl')"):
        tab.until("document.querySelector('.ga-state')?.textContent.includes('no WebGL')")
        if drawn:
            pytest.skip("this Firefox has no WebGL, which the page says")
        return
    tab.until("document.querySelector('.ga-map')?.dataset.drawn > 0")


def spot(tab: Tab, row: int) -> tuple[float, float]:
    x, y = tab.evaluate(f"({SPOT})([0, {row}])")
    return x, y


def test_the_map_is_drawn_hovered_and_opened(tab, explored):
    go(tab, explored)
    view = view_of(explored)
    assert int(tab.evaluate("document.querySelector('.ga-map').dataset.points")) == len(view)
    tab.hover(spot(tab, 30))
    tab.until("document.querySelector('.ga-tip img')?.naturalWidth > 0")
    assert tab.until("document.querySelector('.ga-tip-id')?.textContent") == view.ids[30].as_py()
    tab.click(spot(tab, 30))
    assert tab.until("document.querySelector('.ga-object .ga-title')?.textContent") == view.ids[30].as_py()
    tab.until("document.querySelector('.ga-object .ga-large')?.naturalWidth > 0")
    tab.press("Escape")
    tab.until("!location.href.includes('open=')")


def test_a_lasso_selects_and_ctrl_z_takes_it_back(tab, explored):
    go(tab, explored)
    everything = str(len(view_of(explored)))
    tab.evaluate("[...document.querySelectorAll('.ga-tools button')].find((b) => b.textContent === 'Lasso').click()")
    box = "document.querySelector('.ga-plot').getBoundingClientRect()"
    left, top, width, height = tab.evaluate(f"((b) => [b.x, b.y, b.width, b.height])({box})")
    corners = [(0.01, 0.02), (0.5, 0.02), (0.5, 0.98), (0.01, 0.98), (0.01, 0.05)]
    path = [(left + u * width, top + v * height) for u, v in corners]
    between = [
        (a[0] + (b[0] - a[0]) * i / 8, a[1] + (b[1] - a[1]) * i / 8)
        for a, b in zip(path, path[1:], strict=False)
        for i in range(9)
    ]
    tab.along(between)
    tab.until("document.querySelector('.ga-count').textContent.includes('lasso')")
    assert 0 < int(tab.evaluate("document.querySelector('.ga-gallery').dataset.total")) < int(everything)
    tab.press("Control", "z")
    tab.until(f"document.querySelector('.ga-gallery').dataset.total === '{everything}'")


def test_keys_score_and_the_score_is_taken_back(tab, explored):
    go(tab, explored, drawn=False, panel="score", order="rank")
    first = tab.until(SHOWN)
    before = len(events(explored))
    tab.press("4")
    tab.until(f"{SHOWN} !== {first!r}")
    assert [(e["galaxy_id"], e["score"]) for e in events(explored)[before:]] == [(first, 4)]
    tab.press("Control", "z")
    tab.until(f"{SHOWN} === {first!r}")
    assert events(explored)[-1]["kind"] == "undo"


def test_a_link_is_copied(tab, explored):
    go(tab, explored, drawn=False, by="score")
    tab.click_on("button[aria-label='copy a link to what is shown']")
    tab.until("document.body.textContent.includes('The link is copied.')")
    assert tab.evaluate("navigator.clipboard.readText()") == tab.evaluate("location.href")


def test_a_finger_taps_and_presses(tab, explored):
    go(tab, explored)
    galaxy = view_of(explored).ids[33].as_py()
    tab.click(spot(tab, 33), kind="touch")
    assert tab.until("document.querySelector('.ga-tip.ga-tapped .ga-tip-id')?.textContent") == galaxy
    tab.along([spot(tab, 25)], kind="touch", held=800)
    assert tab.until("document.querySelector('.ga-menu')?.ariaLabel?.replace('galaxy ', '')") is not None
    assert tab.evaluate("document.querySelector('.ga-object') === null")


def test_two_maps_are_drawn_beside_each_other(tab, explored):
    go(tab, explored, beside="pretrained features")
    tab.until("document.querySelectorAll('.ga-map[data-linked=yes]').length === 2")
    tab.hover(spot(tab, 30))
    tab.until("document.querySelector('[data-testid=map-beside] .ga-ring')")


def test_nothing_is_wider_than_the_window_and_colours_are_the_themes(tab, explored):
    for panel in ("gallery", "score", "clusters", "ranking"):
        go(tab, explored, drawn=False, panel=panel)
        assert tab.evaluate("document.documentElement.scrollWidth <= window.innerWidth"), panel
    grounds = [
        tab.until("getComputedStyle(document.querySelector('.ga-right')).backgroundColor"),
        tab.evaluate("CSS.supports('content-visibility', 'auto') && CSS.supports('aspect-ratio', '1')"),
    ]
    assert grounds[0] in ("rgb(255, 255, 255)", "rgb(25, 33, 42)") and grounds[1]
