"""Links to what a tab shows, in a browser: what they restore, also from another server, and that they are copied."""

import numpy as np
import pytest

from galaxy_assets.explorer import rankings
from galaxy_assets.storage.layout import Layout
from galaxy_assets_tests.explorer.conftest import Explored
from galaxy_assets_tests.explorer.small_lake import NAME, N, write_ranking
from galaxy_assets_tests.explorer.test_browser import (
    AROUND_HALF,
    GALLERY,
    drag,
    open_page,
    settled,
    total,
    until_total,
    view_of,
)

pytestmark = pytest.mark.browser
COPIED = "navigator.clipboard.readText()"


def copy_link(page) -> str:
    """Click the button and read the clipboard."""
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    page.evaluate("navigator.clipboard.writeText('nothing')")
    page.locator("button[aria-label='copy a link to what is shown']").click()
    page.wait_for_selector("text=The link is copied.")
    return page.evaluate(COPIED)


def lasso(page) -> int:
    page.get_by_role("button", name="Lasso").click()
    drag(page, AROUND_HALF)
    page.wait_for_function("document.querySelector('.ga-count').textContent.includes('lasso')")
    return total(page)


def zoomed(page) -> str:
    """Zoom in with the wheel; what of the map is seen, as the address has it."""
    box = page.locator(".ga-plot").bounding_box()
    page.mouse.move(box["x"] + box["width"] * 0.4, box["y"] + box["height"] / 2)
    page.mouse.wheel(0, -400)
    page.wait_for_function("document.querySelector('.ga-map').dataset.zoom?.length > 0")
    page.wait_for_url("**zoom=**")
    return page.locator(".ga-map").get_attribute("data-zoom")


@pytest.mark.smoke
def test_a_copied_link_restores_everything_also_from_another_server(page, explored: Explored, browser):
    open_page(page, explored, by="score", down="1")
    everything = len(view_of(explored))
    selected = lasso(page)
    assert 0 < selected < everything
    page.locator(".ga-entry").first.click()
    seen = zoomed(page)
    page.locator(f"{GALLERY} .ga-card").nth(1).click()
    page.wait_for_selector(".ga-object .ga-title")
    galaxy = page.locator(".ga-object .ga-title").inner_text()
    page.wait_for_url("**open=**")
    page.keyboard.press("Escape")
    page.wait_for_selector(".ga-object", state="hidden")
    page.wait_for_function("!location.href.includes('open=')")
    page.locator(f"{GALLERY} .ga-card").nth(1).click()
    page.wait_for_selector(".ga-object .ga-title")
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    page.locator("button[aria-label='copy a link to this galaxy']").click()
    page.wait_for_selector("text=The link is copied.")
    link = page.evaluate(COPIED)
    assert link.startswith(f"http://127.0.0.1:{explored.server.port}/?")
    explored.server.kill()
    page.problems.clear()
    explored.server.start()
    context = browser.new_context(viewport={"width": 1000, "height": 900})
    context.set_default_timeout(60_000)
    other = context.new_page()
    other.goto(link)
    other.wait_for_selector(".ga-map[data-drawn]")
    settled(other)
    other.wait_for_selector(".ga-object .ga-title")
    assert other.locator(".ga-object .ga-title").inner_text() == galaxy
    until_total(other, selected)
    assert "inside the lasso" in other.locator(".ga-count").first.inner_text()
    assert other.locator(".ga-entry").first.get_attribute("aria-pressed") == "false"
    assert other.locator(".ga-entry").nth(1).get_attribute("aria-pressed") == "true"
    other.wait_for_function("document.querySelector('.ga-map').dataset.zoom?.length > 0")
    was, now = (np.array([float(v) for v in words.split(",")]) for words in
                (seen, other.locator(".ga-map").get_attribute("data-zoom")))  # fmt: skip
    assert np.allclose(was, now, atol=0.01), "the same part of the map in another window"
    context.close()
    page.goto("about:blank")
    page.problems.clear()


def test_the_whole_map_leaves_the_address_and_a_link_of_nonsense_opens(page, explored):
    open_page(page, explored, zoom="a,b", hide="[1,", open="nobody", beside="nobody", of="../../secret")
    assert total(page) == len(view_of(explored))
    zoomed(page)
    page.get_by_role("button", name="Whole map").click()
    page.wait_for_function("!location.href.includes('zoom=')")
    assert "of=" not in page.url and "beside=" not in page.url


def test_a_link_is_shown_where_the_browser_copies_nothing(page, explored):
    page.add_init_script(
        "Object.defineProperty(navigator, 'clipboard', { value: undefined }); document.execCommand = () => false"
    )
    open_page(page, explored, panel="score")
    page.locator("button[aria-label='copy a link to what is shown']").click()
    page.wait_for_selector("[role=dialog] input, .q-dialog input")
    assert page.get_by_label("Link", exact=True).input_value() == page.url


def test_galaxies_like_one_keep_their_order_behind_a_link(page, explored):
    open_page(page, explored)
    page.locator(f"{GALLERY} .ga-card").nth(3).click()
    page.get_by_role("button", name="More like this").click()
    page.wait_for_function("document.querySelector('.ga-count').textContent.includes('most like')")
    cards = page.locator(f"{GALLERY} .ga-card")
    before = cards.evaluate_all("all => all.map((c) => c.dataset.galaxy + c.textContent)")
    link = copy_link(page)
    page.goto("about:blank")
    page.goto(link)
    page.wait_for_function("document.querySelector('.ga-count')?.textContent.includes('most like')")
    assert cards.evaluate_all("all => all.map((c) => c.dataset.galaxy + c.textContent)") == before


def test_a_galaxys_scores_over_the_rankings_are_a_curve_with_words(page, explored):
    if explored.survey != NAME:
        pytest.skip("rankings are written by hand")
    layout = Layout(explored.root)
    rankings.keep(layout, NAME)
    before = len(rankings.history(layout, NAME, "g01"))
    for shift in (0.0, 1.0, -0.5):
        write_ranking(layout, np.roll(np.linspace(5, 0, N), 3) + shift)
        rankings.keep(layout, NAME)
    open_page(page, explored)
    page.locator(f"{GALLERY} .ga-card").first.click()
    curve = page.get_by_test_id("score-curve")
    curve.wait_for()
    kept = rankings.history(layout, NAME, page.locator(".ga-object .ga-title").inner_text())
    assert curve.locator("circle").count() == len(kept) == before + 3
    words = curve.get_attribute("aria-label")
    assert words.startswith(f"Score over {before + 3} rankings: ") and "4.50 (rank" in words
    heights = curve.locator("circle").evaluate_all("all => all.map((c) => c.getBoundingClientRect().y)")
    assert heights[-2] < heights[-3] < heights[-1], "6.00 lies above 5.00 above 4.50"
    assert page.locator(".ga-facts", has_text="Score, ranking by ranking").locator("tr").count() == before + 3
