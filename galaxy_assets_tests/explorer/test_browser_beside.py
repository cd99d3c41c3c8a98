"""Two maps beside each other, in a browser: the same galaxies, colours, selection and hover."""

import numpy as np
import pytest

from galaxy_assets.explorer.peers import Peers
from galaxy_assets.explorer.view import PRETRAINED, OpenLake, View
from galaxy_assets.storage.layout import Layout
from galaxy_assets_tests.explorer.browser import MAP, SPOT
from galaxy_assets_tests.explorer.test_browser import GALLERY, apply_filter, open_page, total, until_total, view_of

pytestmark = pytest.mark.browser
SECOND = "[data-testid=map-beside]"
CHOSEN = f"(which) => [...({MAP}(which).rows ?? [])].sort((a, b) => a - b)"


def second_of(explored) -> View:
    return View(OpenLake(Layout(explored.root)), explored.survey, PRETRAINED)


def open_both(page, explored) -> None:
    open_page(page, explored, beside=PRETRAINED)
    page.wait_for_function("document.querySelectorAll('.ga-map[data-linked=yes]').length === 2")


def test_peers_are_the_same_galaxies(explored):
    first, second = view_of(explored), second_of(explored)
    rows = Peers().rows(second, first)
    ids, others = first.ids.to_pylist(), second.ids.to_pylist()
    assert len(rows) == len(second)
    assert all(
        (ids[row] == galaxy) if row >= 0 else (galaxy not in ids) for row, galaxy in zip(rows, others, strict=True)
    )
    assert (rows >= 0).sum() == len(first)


@pytest.mark.smoke
def test_hover_and_selection_are_linked_both_ways(page, explored):
    open_both(page, explored)
    first, second = view_of(explored), second_of(explored)
    there = Peers().rows(first, second)
    row = 31
    page.mouse.move(*page.evaluate(SPOT, [0, row]), steps=3)
    page.wait_for_selector(f"{SECOND} .ga-ring[data-row='{there[row]}']")
    x, y = page.evaluate(SPOT, [1, int(there[row])])
    ring = page.locator(f"{SECOND} .ga-ring").bounding_box()
    assert ring["x"] + ring["width"] / 2 == pytest.approx(x, abs=1.5)
    assert ring["y"] + ring["height"] / 2 == pytest.approx(y, abs=1.5)
    page.mouse.move(x, y, steps=3)
    page.wait_for_selector(f"[data-testid=map] .ga-ring[data-row='{row}']")
    page.get_by_label("Filter, in SQL").fill("rank <= 5")
    page.keyboard.press("Enter")
    until_total(page, 5)
    page.wait_for_function(f"{MAP}(1).rows?.length === 5")
    chosen = page.evaluate(CHOSEN, 0)
    assert page.evaluate(CHOSEN, 1) == sorted(int(there[r]) for r in chosen)
    page.get_by_role("button", name="Show all").click()
    until_total(page, len(first))
    apply_filter(page, "rank <= 5")
    page.wait_for_function(f"{MAP}(1).rows?.length === 5")
    page.locator(SECOND).get_by_role("button", name="Clear selection").click()
    page.wait_for_function(f"!{MAP}(0).rows && !{MAP}(1).rows")
    page.get_by_role("button", name="Show all").click()
    until_total(page, len(first))
    lasso = page.locator(f"{SECOND}").get_by_role("button", name="Lasso")
    lasso.click()
    box = page.locator(f"{SECOND} .ga-plot").bounding_box()
    page.mouse.move(box["x"] + 2, box["y"] + 4)
    page.mouse.down()
    for u, v in [(0.4, 0.01), (0.4, 0.99), (0.01, 0.99), (0.01, 0.05)]:
        page.mouse.move(box["x"] + u * box["width"], box["y"] + v * box["height"], steps=10)
    page.mouse.up()
    page.wait_for_function("document.querySelector('.ga-count').textContent.includes('lasso on the map of')")
    drawn = page.evaluate(CHOSEN, 1)
    back = Peers().rows(second, first)
    expected = sorted(int(back[r]) for r in drawn if back[r] >= 0)
    page.wait_for_function(f"{MAP}(0).rows?.length === {len(expected)}")
    assert 0 < total(page) == len(expected) < len(first) and page.evaluate(CHOSEN, 0) == expected


def test_the_second_map_has_the_first_ones_colours_and_hides_with_it(page, explored):
    open_both(page, explored)
    first, second = view_of(explored), second_of(explored)
    page.wait_for_function(f"{MAP}(1).codes?.length === {len(second)}")
    codes = page.evaluate(f"[...{MAP}(1).codes]")
    own = first.colours("cluster").codes
    there = Peers().rows(second, first)
    assert codes == [255 if row < 0 else int(own[row]) for row in there]
    page.locator(".ga-entry").first.click()
    page.wait_for_selector(f"{SECOND}[data-shown='{len(second) - int(np.sum(own == 0))}']")
    x, y = page.evaluate(SPOT, [1, int(np.flatnonzero(there == 40)[0])])
    page.mouse.move(x, y, steps=3)
    page.wait_for_selector("[data-testid=map] .ga-ring[data-row='40']")  # the map beside it answers the mouse
    page.mouse.click(x, y)
    page.wait_for_selector(".ga-object .ga-title")
    assert page.locator(".ga-object .ga-title").inner_text() == first.ids[40].as_py()
    page.keyboard.press("Escape")
    page.wait_for_selector(".ga-object", state="hidden")
    page.get_by_label("Beside it", exact=True).click()
    page.get_by_role("option", name="no other").click()
    page.wait_for_function("document.querySelectorAll('.ga-map').length === 1 && !location.href.includes('beside')")
    page.wait_for_selector(f"{GALLERY} .ga-card")
