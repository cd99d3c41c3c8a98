"""axe-core on every panel and dialog, in both themes, and the page on narrow windows."""

from pathlib import Path

import pytest

from galaxy_assets_tests.explorer.test_browser import GALLERY, open_page

pytestmark = pytest.mark.browser
AXE = Path(__file__).parent / "vendor" / "axe.min.js"
# what is NiceGUI's own, on elements that this project does not make
NOT_OURS = {"exclude": [["#popup"], ["#too_long_message_popup"]]}


def findings(page) -> list[str]:
    """Serious and critical findings, in words."""
    page.evaluate(AXE.read_text(encoding="utf-8"))
    found = page.evaluate("(context) => axe.run({ include: [['html']], ...context })", NOT_OURS)
    return [
        f"{violation['id']}: {node['html'][:160]} {node['failureSummary'][:200]}"
        for violation in found["violations"]
        if violation["impact"] in ("serious", "critical")
        for node in violation["nodes"]
    ]


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_no_panel_has_serious_findings(explored, browser, theme):
    context = browser.new_context(viewport={"width": 1280, "height": 800}, color_scheme=theme, reduced_motion="reduce")
    page = context.new_page()
    page.set_default_timeout(60_000)
    found: list[str] = []
    try:
        for panel, ready in [
            ("gallery", f"{GALLERY} .ga-card"),
            ("score", "[data-shown]"),
            ("clusters", ".ga-cluster-card"),
            ("artefacts", "text=Show the map of pretrained features"),
            ("ranking", "text=Rank anew"),
        ]:
            open_page(page, explored, panel=panel)
            page.wait_for_selector(ready)
            page.wait_for_timeout(400)
            assert ("body--dark" in page.locator("body").get_attribute("class")) == (theme == "dark")
            found += [f"{where}: {words}" for where in [panel] for words in findings(page)]
        open_page(page, explored, start="pretrained features", panel="artefacts")
        page.wait_for_selector("text=In force")
        found += [f"{where}: {words}" for where in ["pretrained"] for words in findings(page)]
        open_page(page, explored, where="nonsense")
        page.wait_for_selector(".ga-problem:visible")
        found += [f"{where}: {words}" for where in ["error"] for words in findings(page)]
        page.get_by_role("button", name="Show all").click()
        page.locator(f"{GALLERY} .ga-card").first.click()
        page.wait_for_selector(".ga-near .ga-card")
        page.wait_for_timeout(600)
        found += [f"{where}: {words}" for where in ["one galaxy"] for words in findings(page)]
        page.keyboard.press("Escape")
        page.wait_for_selector(".ga-object", state="hidden")
        page.get_by_role("button", name="keys", exact=True).click()
        page.wait_for_timeout(600)
        found += [f"{where}: {words}" for where in ["help"] for words in findings(page)]
    finally:
        context.close()
    assert not found, "\n".join(found)


@pytest.mark.parametrize("width", [700, 1280, 1920])
def test_nothing_is_wider_than_the_window(explored, browser, width):
    context = browser.new_context(viewport={"width": width, "height": 900})
    page = context.new_page()
    page.set_default_timeout(60_000)
    try:
        for panel in ("gallery", "score", "clusters", "ranking"):
            open_page(page, explored, panel=panel)
            page.wait_for_timeout(300)
            assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth"), panel
            assert page.evaluate(
                "[...document.querySelectorAll('.ga-panel')].every((p) => p.scrollWidth <= p.clientWidth + 1)"
            ), panel
    finally:
        context.close()
