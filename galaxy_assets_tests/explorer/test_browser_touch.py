"""The map under fingers, in a browser that has a touch screen: move, pinch, tap, long press, lasso."""

from collections.abc import Iterator

import pytest

from galaxy_assets_tests.explorer.browser import MAP, PATIENCE, SPOT
from galaxy_assets_tests.explorer.test_browser import open_page, total, until_total, view_of

pytestmark = pytest.mark.browser
SEEN = f"""() => {{
  const camera = {MAP}(0).sp.get('camera');
  return [...camera.target, camera.distance[0]];
}}"""


class Fingers:
    """What a touch screen sends."""

    def __init__(self, page):
        self.page, self.session = page, page.context.new_cdp_session(page)

    def send(self, kind: str, *points: tuple[float, float]) -> None:
        touches = [{"x": x, "y": y, "id": i} for i, (x, y) in enumerate(points)]
        self.session.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": touches})
        self.page.wait_for_timeout(30)

    def tap(self, at: tuple[float, float], held: int = 0) -> None:
        self.send("touchStart", at)
        self.page.wait_for_timeout(held)
        self.send("touchEnd")

    def along(self, *paths: list[tuple[float, float]]) -> None:
        """One finger a path."""
        steps = list(zip(*paths, strict=True))
        self.send("touchStart", *steps[0])
        for step in steps[1:]:
            self.send("touchMove", *step)
        self.send("touchEnd")


@pytest.fixture
def touched(browser, explored) -> Iterator[tuple]:
    context = browser.new_context(viewport={"width": 1024, "height": 768}, has_touch=True)
    context.set_default_timeout(PATIENCE)
    page = context.new_page()
    problems: list[str] = []
    page.on("pageerror", lambda error: problems.append(str(error)))
    open_page(page, explored)
    yield page, Fingers(page)
    context.close()
    assert problems == []


def between(a: tuple[float, float], b: tuple[float, float], steps: int = 8) -> list[tuple[float, float]]:
    return [(a[0] + (b[0] - a[0]) * i / steps, a[1] + (b[1] - a[1]) * i / steps) for i in range(steps + 1)]


def test_a_finger_moves_the_map_as_far_as_it_goes_and_two_zoom_it(touched):
    page, fingers = touched
    box = page.locator(".ga-plot").bounding_box()
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    before = page.evaluate(SPOT, [0, 20])
    fingers.along(between((x, y), (x + 80, y - 40)))
    page.wait_for_timeout(200)
    after = page.evaluate(SPOT, [0, 20])
    # less the few pixels by which a finger may tremble, in which nothing moves
    assert after[0] - before[0] == pytest.approx(80, abs=2) and after[1] - before[1] == pytest.approx(-40, abs=2)
    half = page.evaluate(SEEN)[2]
    fingers.along(between((x - 30, y), (x - 90, y)), between((x + 30, y), (x + 90, y)))
    page.wait_for_timeout(200)
    assert half / page.evaluate(SEEN)[2] == pytest.approx(3, rel=0.05), (
        "three times as wide apart, three times as large"
    )
    page.wait_for_url("**zoom=**")
    assert page.locator(".ga-object").count() == 0, "a move opens nothing"


def test_a_tap_shows_a_galaxy_and_a_second_one_opens_it(touched, explored):
    page, fingers = touched
    row = 33
    galaxy = view_of(explored).ids[row].as_py()
    at = page.evaluate(SPOT, [0, row])
    fingers.tap((at[0] + 2, at[1] - 2))
    page.wait_for_function("document.querySelector('.ga-tip.ga-tapped .ga-tip-id')?.textContent.length > 0")
    assert page.locator(".ga-tip-id").first.inner_text() == galaxy and page.locator(".ga-ring").is_visible()
    assert page.locator(".ga-object").count() == 0
    fingers.tap(at)
    page.wait_for_selector(".ga-object .ga-title")
    assert page.locator(".ga-object .ga-title").inner_text() == galaxy


def test_a_tap_beside_every_galaxy_shows_none(touched):
    page, fingers = touched
    box = page.locator(".ga-plot").bounding_box()
    fingers.tap((box["x"] + 8, box["y"] + 8))
    page.wait_for_timeout(300)
    assert page.locator(".ga-tip, .ga-object").count() == 0


def test_a_long_press_and_a_right_click_open_a_menu_that_keys_move_in(touched, explored):
    page, fingers = touched
    row = 25
    galaxy = view_of(explored).ids[row].as_py()
    fingers.tap(page.evaluate(SPOT, [0, row]), held=700)
    page.wait_for_selector(f".ga-menu[aria-label='galaxy {galaxy}']")
    assert page.locator(".ga-object").count() == 0
    page.get_by_role("menuitem", name="Show in the gallery").click()
    until_total(page, 1)
    assert page.locator(".ga-gallery .ga-card").first.get_attribute("data-galaxy") == galaxy
    page.mouse.click(*page.evaluate(SPOT, [0, row]), button="right")
    page.wait_for_selector(".ga-menu")
    assert page.evaluate("document.activeElement.textContent") == "Open"
    page.keyboard.press("ArrowDown")
    assert page.evaluate("document.activeElement.textContent") == "More like this"
    page.keyboard.press("Escape")
    page.wait_for_selector(".ga-menu", state="detached")
    page.mouse.click(*page.evaluate(SPOT, [0, row]), button="right")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Enter")
    page.wait_for_function("document.querySelector('.ga-count').textContent.includes('most like')")
    assert page.locator(".ga-gallery .ga-card").first.get_attribute("data-galaxy") == galaxy


def test_a_finger_draws_a_lasso(touched, explored):
    page, fingers = touched
    view = view_of(explored)
    box = page.locator(".ga-plot").bounding_box()
    corners = [(0.004, 0.02), (0.5, 0.02), (0.5, 0.98), (0.004, 0.98), (0.004, 0.05)]
    points = [(box["x"] + u * box["width"], box["y"] + v * box["height"]) for u, v in corners]
    page.get_by_role("button", name="Lasso").tap()
    path = [points[0]]
    for a, b in zip(points, points[1:], strict=False):
        path += between(a, b)[1:]
    fingers.along(path)
    page.wait_for_function("document.querySelector('.ga-count').textContent.includes('lasso')")
    middle = (float(view.x.min()) + float(view.x.max())) / 2
    assert total(page) == pytest.approx(int((view.x < middle).sum()), abs=max(2, len(view) // 50))
