"""Taking back, in a browser: by Ctrl+Z and by the button, whatever the last change was, also after a reload."""

import csv

import pytest

from galaxy_assets.explorer.regions import review_text
from galaxy_assets.science.labels import standing
from galaxy_assets.storage.label_events import LabelLog
from galaxy_assets.storage.layout import Layout
from galaxy_assets_tests.explorer.test_browser import (
    AROUND_HALF,
    apply_filter,
    drag,
    events,
    open_page,
    press_and_wait,
    settled,
    shown,
    total,
    until_total,
    view_of,
)

pytestmark = pytest.mark.browser


def undo(page, words: str) -> None:
    """Press Ctrl+Z; waits until the page says that this was taken back."""
    page.keyboard.press("Control+z")
    page.wait_for_selector(f"text=Taken back: {words}")


def until_button(page, words: str) -> None:
    page.wait_for_selector(f"[data-testid=undo][aria-label='Undo: {words}']")


@pytest.mark.smoke
def test_a_score_is_taken_back_on_any_panel_and_after_a_reload(page, explored):
    open_page(page, explored, panel="score", order="rank")
    first, second = press_and_wait(page, "4"), press_and_wait(page, "2")
    until_button(page, f"score 2 of {second}")
    page.reload()
    settled(page)
    page.get_by_role("tab", name="Gallery").click()
    until_button(page, f"score 2 of {second}")
    page.get_by_test_id("undo").click()
    page.wait_for_selector(f"text=Taken back: score 2 of {second}")
    until_button(page, f"score 4 of {first}")
    page.locator("h1, [role=heading]").first.click()
    undo(page, f"score 4 of {first}")
    log = events(explored)
    assert [e["kind"] for e in log[-4:]] == ["score", "score", "undo", "undo"], "taken back by events, nothing removed"
    assert [e["undoes"] for e in log[-2:]] == [log[-3]["event"], log[-4]["event"]]
    said = standing(LabelLog(Layout(explored.root).labels(explored.survey)).read())["galaxy_id"].to_pylist()
    assert not {first, second} & set(said)
    page.get_by_role("tab", name="Score").click()
    page.wait_for_function("(g) => document.querySelector('[data-shown]')?.dataset.shown === g", arg=first)


def test_what_a_tab_shows_is_taken_back_step_by_step(page, explored):
    open_page(page, explored)
    everything = len(view_of(explored))
    page.get_by_role("button", name="Lasso").click()
    drag(page, AROUND_HALF)
    page.wait_for_function("document.querySelector('.ga-count').textContent.includes('lasso')")
    selected = total(page)
    apply_filter(page, "rank <= 9")
    page.wait_for_function("document.querySelector('.ga-count').textContent.includes('matching')")
    page.get_by_role("button", name="smallest first").click()
    page.wait_for_selector("text=largest first")
    entry = page.locator(".ga-entry").first
    entry.click()
    until_button(page, "what the legend hides")
    assert entry.get_attribute("aria-pressed") == "false"
    undo(page, "what the legend hides")
    page.wait_for_selector(".ga-entry[aria-pressed=true] >> nth=0")
    assert entry.get_attribute("aria-pressed") == "true" and "hide=" not in page.url
    undo(page, "the order")
    page.wait_for_selector("text=smallest first")
    undo(page, "the filter")
    until_total(page, selected)
    assert page.get_by_label("Filter, in SQL").input_value() == ""
    undo(page, "a selection of")
    until_total(page, everything)
    assert "of=" not in page.url


def test_ctrl_z_in_a_field_is_the_fields_own(page, explored):
    open_page(page, explored, panel="score", order="random")
    press_and_wait(page, "1")
    before = len(events(explored))
    page.get_by_label("Note for this galaxy").fill("typed")
    page.keyboard.press("Control+z")
    page.wait_for_timeout(500)
    assert len(events(explored)) == before


def test_a_skip_is_taken_back(page, explored):
    open_page(page, explored, panel="score", order="random")
    here = press_and_wait(page, "s")
    assert shown(page) != here
    undo(page, f"{here} skipped")
    page.wait_for_function("(g) => document.querySelector('[data-shown]').dataset.shown === g", arg=here)


def test_a_description_is_taken_back_after_a_reload_and_not_over_another(page, explored):
    sheet = Layout(explored.root).cluster_worksheet(explored.survey)

    def describe(words: str) -> None:
        card = page.locator(".ga-cluster-card").nth(1)
        card.get_by_label("Description").fill(words)
        card.get_by_role("button", name="Save").click()
        page.wait_for_function("() => document.querySelector('[data-testid=undo]').ariaLabel.includes('cluster 1')")
        card.locator("text=the next run uses it").wait_for()
        for _ in range(600):  # a save before has said so already
            if written() == [words]:
                return
            page.wait_for_timeout(50)

    def written() -> list[str]:
        return [row["description"] for row in csv.DictReader(sheet.open()) if row["cluster"] == "1"]

    open_page(page, explored, panel="clusters")
    describe("rings")
    describe("rings and arms")
    assert written() == ["rings and arms"]
    page.reload()
    page.wait_for_selector(".ga-cluster-card")
    until_button(page, "what cluster 1 is")
    page.locator("[role=heading]").first.click()
    undo(page, "what cluster 1 is")
    assert written() == ["rings"]
    page.wait_for_function("document.querySelectorAll('.ga-cluster-card')[1]?.querySelector('input').value === 'rings'")
    sheet.write_text(sheet.read_text().replace("rings", "a colleague's word"))
    page.keyboard.press("Control+z")
    page.wait_for_selector("text=Not taken back: what cluster 1 is: cluster 1 is described otherwise by now")
    assert written() == ["a colleague's word"]


def test_boxes_and_the_saved_rule_are_taken_back(page, explored):
    layout = Layout(explored.root)
    open_page(page, explored, start="pretrained features", panel="artefacts")
    page.wait_for_selector("text=In force")
    page.get_by_role("button", name="Draw a box").click()
    drag(page, [(0.02, 0.02), (0.5, 0.98)])
    page.wait_for_selector(".ga-region")
    boxes = page.locator(".ga-region").count()
    page.get_by_role("button", name="Save the rule").click()
    page.wait_for_selector("text=Saved as version")
    assert review_text(layout, explored.survey)
    until_button(page, "the artefact rule saved")
    page.get_by_role("button", name="Back to the proposal").click()
    page.wait_for_selector("text=In force: the proposal")
    until_button(page, "the artefact rule withdrawn")
    undo(page, "the artefact rule withdrawn")
    assert review_text(layout, explored.survey)
    page.wait_for_function("(n) => document.querySelectorAll('.ga-region').length === n", arg=boxes)
    undo(page, "the artefact rule saved")
    assert review_text(layout, explored.survey) is None
    undo(page, "a box drawn")
    page.wait_for_function("(n) => document.querySelectorAll('.ga-region').length < n", arg=boxes)
