"""The explorer in a browser: what a person sees and does, on a lake by hand and on finished surveys."""

import csv
import io
import re
import zipfile

import pyarrow.parquet as pq
import pytest

from galaxy_assets.explorer.view import OpenLake, View
from galaxy_assets.science.labels import standing
from galaxy_assets.storage.label_events import LabelLog
from galaxy_assets.storage.layout import Layout
from galaxy_assets_tests.explorer.browser import MAP
from galaxy_assets_tests.explorer.conftest import Explored
from galaxy_assets_tests.explorer.small_lake import HOSTILE, NAME

pytestmark = pytest.mark.browser
GALLERY = ".ga-panel-box:not(.hidden) .ga-gallery"


def open_page(page, explored: Explored, **place: str) -> None:
    page.goto(explored.url(**place))
    page.wait_for_selector(".ga-map[data-drawn]")
    page.wait_for_selector(".ga-tabs")
    settled(page)


def apply_filter(page, condition: str) -> None:
    page.get_by_label("Filter, in SQL").fill(condition)
    page.get_by_role("button", name="Apply").click()


def settled(page) -> None:
    """Until the gallery has shown what it was asked for."""
    page.wait_for_function("document.querySelector('.ga-gallery')?.dataset.shows > 0")


def total(page) -> int:
    return int(page.locator(".ga-gallery").first.get_attribute("data-total"))


def until_total(page, n: int) -> None:
    page.wait_for_function("(n) => document.querySelector('.ga-gallery').dataset.total === String(n)", arg=n)


def view_of(explored: Explored) -> View:
    layout = Layout(explored.root)
    start = "imagenet"
    return View(OpenLake(layout), explored.survey, start)


def shown(page) -> str:
    return page.locator("[data-shown]").get_attribute("data-shown")


def press_and_wait(page, key: str) -> str:
    """Press a key that leads to another galaxy; returns the one that it was about."""
    before = shown(page)
    page.keyboard.press(key)
    page.wait_for_function("(before) => document.querySelector('[data-shown]').dataset.shown !== before", arg=before)
    return before


def events(explored: Explored) -> list[dict]:
    return LabelLog(Layout(explored.root).labels(explored.survey)).read().to_pylist()


def drag(page, corners: list[tuple[float, float]]) -> None:
    """Draw on the map, corners in shares of its width and height."""
    box = page.locator(".ga-plot").bounding_box()
    points = [(box["x"] + u * box["width"], box["y"] + v * box["height"]) for u, v in corners]
    page.mouse.move(*points[0])
    page.mouse.down()
    for point in points[1:]:
        page.mouse.move(*point, steps=10)
    page.mouse.up()


AROUND_HALF = [(0.004, 0.02), (0.5, 0.02), (0.5, 0.98), (0.004, 0.98), (0.004, 0.05)]


@pytest.mark.smoke
def test_the_map_has_every_galaxy_and_hovering_shows_its_cutout(page, explored):
    open_page(page, explored)
    view = view_of(explored)
    assert page.locator(".ga-map").get_attribute("data-points") == str(len(view))
    box = page.locator(".ga-plot").bounding_box()
    for step in range(400):
        u, v = (step % 20) / 20, (step // 20) / 20
        page.mouse.move(box["x"] + u * box["width"], box["y"] + v * box["height"])
        if page.locator(".ga-tip").count():
            break
    page.wait_for_function("document.querySelector('.ga-tip img')?.naturalWidth > 0")
    page.wait_for_function("document.querySelector('.ga-tip-id')?.textContent.length > 0")
    assert page.locator(".ga-tip-id").inner_text() in set(view.ids.to_pylist())


def test_the_map_marks_what_was_asked_for_last_and_says_what_the_server_said(page, explored):
    open_page(page, explored)
    post = f"""async (rows) => {{
      const sent = {{ method: "POST", body: Int32Array.from(rows) }};
      return (await {MAP}(0).bytes({MAP}(0).base + "/rows", sent)).text();
    }}"""
    first, second = (page.evaluate(post, rows) for rows in ([1, 2, 3], [4, 5]))
    held: list = []
    page.route(f"**/rows/{first}", lambda route: held.append(route))
    page.evaluate(
        f"""async ([first, second]) => {{
      window.late = {MAP}(0).mark("/rows/" + first);
      await {MAP}(0).mark("/rows/" + second);
    }}""",
        [first, second],
    )
    held[0].continue_()
    page.evaluate("window.late")
    assert page.evaluate(f"[...{MAP}(0).rows]") == [4, 5]
    page.evaluate(f"{MAP}(0).mark('/rows/unknown')")
    assert page.evaluate(f"{MAP}(0).note") == "no such set of rows; it was of an earlier server"
    assert all("404" in problem for problem in page.problems), "nothing but what the browser says of the answer"
    page.problems.clear()


def test_the_theme_is_turned_and_remembered_also_by_a_busy_browser(page, explored):
    open_page(page, explored)
    dark = "() => document.body.classList.contains('body--dark')"
    before = page.evaluate(dark)
    page.evaluate("""document.addEventListener('click', () => {
      const until = Date.now() + 2500;
      while (Date.now() < until);
    })""")
    page.get_by_role("button", name="light or dark").click()
    page.wait_for_function("(before) => document.body.classList.contains('body--dark') !== before", arg=before)
    page.wait_for_function("document.cookie.includes('galaxy_assets_dark')")
    open_page(page, explored)
    assert page.evaluate(dark) != before


def test_the_legend_hides_and_colours_change(page, explored):
    open_page(page, explored)
    entries = page.locator(".ga-entry")
    n = int(entries.first.locator("small").inner_text().replace(",", ""))
    entries.first.click()
    page.wait_for_function("document.querySelector('.ga-map').dataset.shown")
    assert int(page.locator(".ga-map").get_attribute("data-shown")) == len(view_of(explored)) - n
    assert entries.first.get_attribute("aria-pressed") == "false"
    page.get_by_role("button", name="show all").click()
    assert entries.first.get_attribute("aria-pressed") == "true"
    drawn = page.locator(".ga-map").get_attribute("data-drawn")
    page.get_by_label("Coloured by").click()
    page.get_by_label("Coloured by").fill("score")
    page.get_by_role("option", name="score", exact=True).click()
    page.wait_for_function("(before) => document.querySelector('.ga-map').dataset.drawn !== before", arg=drawn)
    assert page.locator(".ga-ramp").is_visible() and "color=score" in page.url


@pytest.mark.parametrize(("width", "height"), [(1280, 800), (800, 1400)])
def test_a_lasso_selects_exactly_what_it_holds_and_reload_keeps_it(page, explored, width, height):
    page.set_viewport_size({"width": width, "height": height})  # the whole map is seen in a tall window too
    open_page(page, explored)
    view = view_of(explored)
    sent = []
    page.on(
        "request", lambda r: sent.append(r.post_data_buffer) if r.method == "POST" and r.url.endswith("/rows") else None
    )
    page.get_by_role("button", name="Lasso").click()
    drag(page, AROUND_HALF)
    page.wait_for_function("document.querySelector('.ga-tools .ga-note').textContent.includes('selected')")
    page.wait_for_function("document.querySelector('.ga-count').textContent.includes('lasso')")
    selected = total(page)
    assert 0 < selected < len(view) and len(sent) == 1 and len(sent[0]) == 4 * selected
    import numpy as np

    rows = np.frombuffer(sent[0], "<i4")
    # the lasso's right edge is the middle of the map, where x is half way between its extremes
    middle = (float(view.x.min()) + float(view.x.max())) / 2
    reach = (float(view.x.max()) - float(view.x.min())) / 100
    held = np.zeros(len(view), bool)
    held[rows] = True
    assert held[view.x < middle - reach].mean() > 0.98 and not held[view.x > middle + reach].any()
    page.reload()
    page.wait_for_selector(".ga-map[data-drawn]")
    until_total(page, selected)
    page.get_by_role("button", name="Clear selection").click()
    until_total(page, len(view))


@pytest.mark.smoke
def test_a_filter_shows_what_it_names_and_an_error_in_words_changes_nothing(page, explored):
    open_page(page, explored)
    view = view_of(explored)
    expected = len(view.matching("cluster = 1 and rank > 3"))
    page.get_by_label("Filter, in SQL").fill("cluster = 1 and rank > 3")
    page.keyboard.press("Enter")
    until_total(page, expected)
    page.get_by_label("Filter, in SQL").fill("select * from read_csv('/etc/passwd')")
    page.keyboard.press("Enter")
    page.wait_for_selector(".ga-problem:has-text('Permission Error')")
    assert total(page) == expected and "root:" not in page.content()
    page.reload()
    page.wait_for_selector(".ga-problem:has-text('Permission Error')")
    page.get_by_role("button", name="Show all").click()
    until_total(page, len(view))


def test_the_gallery_scrolls_without_end_is_sorted_and_needs_no_mouse(page, explored):
    open_page(page, explored, by="score", down="1")
    view = view_of(explored)
    import numpy as np

    best = view.ordered(np.arange(len(view), dtype=np.int32), "score", True)
    cards = page.locator(f"{GALLERY} .ga-card")
    assert cards.first.get_attribute("data-galaxy") == view.ids[int(best[0])].as_py()
    cards.first.focus()
    page.keyboard.press("ArrowRight")
    assert page.evaluate("document.activeElement.dataset.galaxy") == view.ids[int(best[1])].as_py()
    before = cards.count()
    for _ in range(12):
        page.keyboard.press("End")
        page.wait_for_timeout(150)
        if cards.count() >= min(len(view), 150):
            break
    assert cards.count() > before or before == len(view)
    page.keyboard.press("Home")
    page.keyboard.press("x")
    assert "chosen" in cards.first.get_attribute("aria-label")
    page.keyboard.press("Enter")
    page.wait_for_selector(".ga-object .ga-title")
    assert page.locator(".ga-object .ga-title").inner_text() == view.ids[int(best[0])].as_py()
    page.keyboard.press("Escape")
    page.wait_for_selector(".ga-object", state="hidden")


def test_a_gallery_that_became_shorter_has_its_focus_on_the_last(page, explored):
    open_page(page, explored)
    cards = page.locator(f"{GALLERY} .ga-card")
    cards.nth(5).focus()
    of_the_page = f"getElement(Number(document.querySelector('{GALLERY}').id.slice(1)))"
    page.evaluate(f"() => {{ const gallery = {of_the_page}; gallery.show(gallery.items.slice(0, 2), 2, true); }}")
    page.wait_for_function(f"document.querySelectorAll('{GALLERY} .ga-card').length === 2")
    assert [card.get_attribute("tabindex") for card in cards.all()] == ["-1", "0"], "Tab leads to one of them"
    cards.nth(1).focus()
    page.keyboard.press("x")
    assert "chosen" in cards.nth(1).get_attribute("aria-label")


@pytest.mark.smoke
def test_scores_are_on_disk_before_the_next_galaxy_shows_and_undo_takes_back(page, explored):
    open_page(page, explored, panel="score", order="rank")
    before = len(events(explored))
    said = []
    for key in "503":
        said.append((press_and_wait(page, key), int(key)))
        assert [(e["galaxy_id"], e["score"]) for e in events(explored)[before:]] == said
    assert all(e["who"] == "ann" and e["source"] == "explorer" and e["ranking_seen"] for e in events(explored)[before:])
    assert len({galaxy for galaxy, _ in said}) == 3
    page.keyboard.press("u")
    page.wait_for_function("(g) => document.querySelector('[data-shown]').dataset.shown === g", arg=said[-1][0])
    last = events(explored)[-1]
    assert last["kind"] == "undo" and last["undoes"] == events(explored)[-2]["event"]
    page.get_by_label("Note for this galaxy").fill("5 is what I type, not what I score")
    page.keyboard.press("Enter")
    n = len(events(explored))
    press_and_wait(page, "4")
    (event,) = events(explored)[n:]
    assert (event["score"], event["note"]) == (4, "5 is what I type, not what I score")
    press_and_wait(page, "s")
    here = shown(page)
    page.reload()
    page.wait_for_selector("[data-shown]")
    page.wait_for_function("(g) => document.querySelector('[data-shown]').dataset.shown === g", arg=here)
    page.wait_for_timeout(500)
    assert shown(page) == here, "and not what was skipped"
    words = page.locator(".ga-scoring .ga-count").inner_text()
    assert re.search(r"\d+ of [\d,]+ scored by ann", words)


def test_keys_rest_while_one_types_or_a_dialog_or_list_is_open(page, explored):
    open_page(page, explored, panel="score")
    before, here = len(events(explored)), shown(page)
    page.get_by_label("Note for this galaxy").focus()
    page.keyboard.type("012345us")
    page.get_by_label("Scoring as").focus()
    page.keyboard.press("5")
    page.keyboard.press("Backspace")
    page.get_by_role("button", name="keys", exact=True).click()
    page.wait_for_selector(".ga-kbd")
    page.keyboard.press("5")
    page.keyboard.press("Escape")
    page.wait_for_selector(".ga-kbd", state="detached")
    page.get_by_label("Queue", exact=True).click()
    page.keyboard.press("5")
    page.keyboard.press("Escape")
    page.keyboard.press("Control+5")
    page.wait_for_timeout(400)
    assert len(events(explored)) == before and shown(page) == here
    page.get_by_label("Note for this galaxy").fill("")
    page.get_by_role("button", name="Skip").click()
    page.wait_for_function("(before) => document.querySelector('[data-shown]').dataset.shown !== before", arg=here)
    press_and_wait(page, "2")
    assert len(events(explored)) == before + 1, "they are alive after a button had the focus"


def test_keys_faster_than_the_pictures_score_nothing_unseen(page, explored):
    open_page(page, explored, panel="score", order="random")
    before = len(events(explored))
    page.evaluate(
        "for (const key of '01234501')"
        "  document.body.dispatchEvent(new KeyboardEvent('keydown', { key, bubbles: true }))"
    )
    page.wait_for_timeout(1500)
    new = events(explored)[before:]
    assert len(new) == 1 and new[0]["score"] == 0, "all eight were pressed while the first galaxy was on the screen"


def test_a_double_click_and_clicks_faster_than_the_pictures_score_and_skip_nothing_unseen(page, explored):
    open_page(page, explored, panel="score", order="random")
    page.wait_for_function("document.querySelector('[data-shown]')?.dataset.shown")
    before, clicks = (
        len(events(explored)),
        "(of) => { for (let i = 0; i < 4; i++) document.querySelector(of).click(); }",
    )
    page.locator(".ga-score-button").nth(3).dblclick(delay=400)
    page.wait_for_timeout(1500)
    assert [e["score"] for e in events(explored)[before:]] == [3]
    page.evaluate(clicks, ".ga-score-button")
    page.wait_for_timeout(1500)
    assert [e["score"] for e in events(explored)[before:]] == [3, 0], "all four were about the galaxy on the screen"
    here, scored = shown(page), events(explored)[-1]["galaxy_id"]
    late = """([of, was]) => {
      const { dataset } = document.querySelector('[data-shown]'), { shown } = dataset;
      dataset.shown = was;
      document.querySelector(of).click();
      dataset.shown = shown;
    }"""
    for of in (".ga-score-button", ".ga-skip"):  # pressed before the next galaxy came to the screen
        page.evaluate(late, [of, scored])
    page.wait_for_timeout(1500)
    assert len(events(explored)) == before + 2 and shown(page) == here
    page.evaluate(clicks, ".ga-skip")
    page.wait_for_function("(g) => document.querySelector('[data-shown]').dataset.shown !== g", arg=here)
    page.wait_for_timeout(500)
    page.get_by_role("button", name="Undo", exact=False).first.click()
    page.wait_for_function("(g) => document.querySelector('[data-shown]').dataset.shown === g", arg=here)


def test_two_tabs_have_their_own_place_and_share_what_is_said(page, explored, browser):
    open_page(page, explored, panel="score", order="rank")
    context = browser.new_context()
    context.set_default_timeout(60_000)
    other = context.new_page()
    open_page(other, explored, panel="score", order="rank")
    first = shown(page)
    assert shown(other) == first
    press_and_wait(page, "1")
    other.wait_for_function("(g) => document.querySelector('[data-shown]').dataset.shown !== g", arg=first)
    other.get_by_label("Scoring as").fill("bob")
    other.keyboard.press("Enter")
    other.wait_for_function("document.querySelector('.ga-scoring .ga-count').textContent.includes('0 of')")
    other.get_by_role("button", name="Skip").focus()
    mine = press_and_wait(other, "5")
    assert events(explored)[-1]["who"] == "bob" and events(explored)[-1]["galaxy_id"] == mine
    other.get_by_role("tab", name="Gallery").click()
    other.get_by_label("Filter, in SQL").fill("rank <= 7")
    other.keyboard.press("Enter")
    until_total(other, 7)
    assert total(page) == len(view_of(explored))
    context.close()


@pytest.mark.smoke
def test_one_galaxy_shows_what_is_known_and_leads_on(page, explored):
    open_page(page, explored)
    page.locator(f"{GALLERY} .ga-card").nth(2).click()
    page.wait_for_function("document.querySelector('.ga-object .ga-large')?.naturalWidth > 0")
    galaxy = page.locator(".ga-object .ga-title").inner_text()
    words = page.locator(".ga-object").inner_text()
    for part in (
        "What was found",
        "Catalogue",
        "Volunteers' votes",
        "Score, ranking by ranking",
        "Nearest in feature space",
    ):
        assert part in words
    page.wait_for_selector(".ga-near .ga-card")
    page.wait_for_function("document.querySelector('.ga-frame img')?.naturalWidth > 0")
    assert page.locator(".ga-frame svg rect").count() == 1
    links = [a.get_attribute("href") for a in page.locator(".ga-links a").all()]
    assert f"http://127.0.0.1:9/assets/{explored.survey}/anomaly_ranking" in links
    page.get_by_role("button", name="More like this").click()
    page.wait_for_function("document.querySelector('.ga-count').textContent.includes('most like')")
    cards = page.locator(f"{GALLERY} .ga-card")
    assert cards.first.get_attribute("data-galaxy") == galaxy
    distances = [float(t) for t in page.locator(f"{GALLERY} .ga-caption").all_text_contents()]
    assert distances == sorted(distances) and distances[0] == 0


@pytest.mark.parametrize("width", [1280, 1920])
def test_a_number_of_the_dialog_stands_on_one_line(page, explored, width):
    page.set_viewport_size({"width": width, "height": 900})
    first = view_of(explored).ids[0].as_py()
    open_page(page, explored, open=first)
    page.wait_for_selector(".ga-near .ga-card")
    heights = page.evaluate("""() => [...document.querySelectorAll('.ga-number, .ga-history td')].map((cell) => {
      const text = document.createRange();
      text.selectNodeContents(cell);
      return text.getBoundingClientRect().height / parseFloat(getComputedStyle(cell).fontSize);
    })""")
    assert len(heights) >= 4 and max(heights) < 2, "in letters"
    beyond = page.evaluate("""() => [...document.querySelectorAll('.ga-facts table')].map((table) =>
      table.getBoundingClientRect().right - table.closest('.ga-object-grid > div').getBoundingClientRect().right
    )""")
    assert max(beyond) < 1, "long names wrap"


def test_more_like_several_is_by_the_nearest_of_them(page, explored):
    from galaxy_assets.lake.similar import nearest, open_survey

    open_page(page, explored, by="rank")
    cards = page.locator(f"{GALLERY} .ga-card")
    cards.first.focus()
    for key in ("x", "ArrowRight", "ArrowRight", "x"):
        page.keyboard.press(key)
    chosen = [cards.nth(i).get_attribute("data-galaxy") for i in (0, 2)]
    page.get_by_role("button", name="More like these").click()
    page.wait_for_function("document.querySelector('.ga-count').textContent.includes('most like 2 galaxies')")
    near = nearest(*open_survey(explored.survey, explored.root), "imagenet", chosen, 3)
    assert [cards.nth(i).get_attribute("data-galaxy") for i in range(5)] == [*chosen, *near.ids]


def test_a_cluster_is_described_and_the_worksheet_keeps_it(page, explored):
    open_page(page, explored, panel="clusters")
    card = page.locator(".ga-cluster-card").nth(1)
    card.get_by_label("Description").fill("rings <b>bold</b>; blue")
    card.get_by_label("Artefacts").click()
    page.get_by_role("option", name="no artefacts").click()
    card.get_by_role("button", name="Save").click()
    page.wait_for_selector(".ga-cluster-card >> text=the next run uses it")
    rows = list(csv.DictReader(Layout(explored.root).cluster_worksheet(explored.survey).open()))
    (mine,) = [row for row in rows if row["cluster"] == "1"]
    assert mine["description"] == "rings <b>bold</b>; blue" and mine["artefact"] == "no" and mine["exemplars"]
    page.reload()
    page.wait_for_selector(".ga-cluster-card")
    assert (
        page.locator(".ga-cluster-card").nth(1).get_by_label("Description").input_value() == "rings <b>bold</b>; blue"
    )
    page.locator(".ga-cluster-card").nth(1).get_by_role("button", name="Members").click()
    until_total(page, len(view_of(explored).matching("cluster = 1")))


def test_a_box_is_drawn_previewed_and_saved_as_the_rule(page, explored):
    open_page(page, explored, start="pretrained features", panel="artefacts")
    page.get_by_role("button", name="Draw a box").click()
    drag(page, [(0.02, 0.02), (0.5, 0.98)])
    page.wait_for_selector(".ga-region")
    words = page.locator(".ga-region").first.inner_text()
    n = int(re.search(r"([\d,]+) images", words).group(1).replace(",", ""))
    layout = Layout(explored.root)
    assert 0 < n < len(View(OpenLake(layout), explored.survey, "pretrained features"))
    page.get_by_role("button", name="Show what it removes").click()
    until_total(page, n)
    page.get_by_role("tab", name="Artefacts").click()
    page.get_by_role("button", name="Save the rule").click()
    page.wait_for_selector("text=Saved as version")
    from galaxy_assets.explorer.regions import read_regions
    from galaxy_assets.storage.artefact_review import drawn_on

    view = View(OpenLake(layout), explored.survey, "pretrained features")
    assert int(read_regions(view)[-1].holds(view.x, view.y).sum()) == n and drawn_on(layout, explored.survey)
    page.get_by_role("button", name="Back to the proposal").click()
    page.wait_for_selector("text=In force: the proposal")
    assert not layout.artefact_review(explored.survey).exists()


@pytest.mark.parametrize(
    "kind, words", [("csv", "CSV"), ("parquet", "Parquet"), ("vot", "VOTable"), ("zip", "Cutouts and table, zip")]
)
def test_what_is_on_the_page_is_exported(page, explored, kind, words, tmp_path):
    open_page(page, explored, by="rank")
    apply_filter(page, "rank <= 5")
    until_total(page, 5)
    shown_ids = [card.get_attribute("data-galaxy") for card in page.locator(f"{GALLERY} .ga-card").all()]
    page.get_by_role("button", name="Export").click()
    with page.expect_download() as waiting:
        page.get_by_role("menuitem", name=words, exact=True).click() if page.get_by_role(
            "menuitem"
        ).count() else page.locator(".q-menu .q-item", has_text=re.compile(f"^{words}$")).click()
    file = tmp_path / waiting.value.suggested_filename
    waiting.value.save_as(file)
    assert file.name == f"{explored.survey}_5_galaxies.{kind}"
    if kind == "parquet":
        found = pq.read_table(file)["galaxy_id"].to_pylist()
    elif kind == "csv":
        found = [row["galaxy_id"] for row in csv.DictReader(file.open())]
    elif kind == "vot":
        from astropy.table import Table

        found = list(Table.read(file, format="votable")["galaxy_id"])
    else:
        with zipfile.ZipFile(file) as archive:
            assert sum(name.endswith(".png") for name in archive.namelist()) == 5
            found = [row["galaxy_id"] for row in csv.DictReader(io.StringIO(archive.read("galaxies.csv").decode()))]
    assert found == shown_ids


def test_names_are_text_wherever_they_stand(page, explored):
    if explored.survey != NAME:
        pytest.skip("the lake by hand alone has an id like this")
    open_page(page, explored)
    apply_filter(page, "rank = 48")
    until_total(page, 1)
    page.locator(f"{GALLERY} .ga-card").click()
    page.wait_for_selector(".ga-near .ga-card")
    assert page.locator(".ga-object .ga-title").inner_text() == HOSTILE
    page.keyboard.press("Escape")
    page.wait_for_selector(".ga-object", state="hidden")
    page.get_by_role("tab", name="Clusters").click()
    page.wait_for_selector(".ga-cluster-card")
    labels = page.locator(".ga-cluster-card .ga-card").evaluate_all("cards => cards.map((c) => c.ariaLabel)")
    assert f"galaxy {HOSTILE}" in labels
    open_page(page, explored, panel="score", order="selection", where="rank = 48")
    page.wait_for_function("document.querySelector('[data-shown]')?.dataset.shown")
    assert shown(page) == HOSTILE
    assert page.evaluate("window.hacked") is None and page.locator("b", has_text="bold").count() == 0


def test_rank_anew_without_dagster_says_how_to_start_it(page, explored):
    open_page(page, explored, panel="ranking")
    page.get_by_role("button", name="Rank anew").click()
    page.wait_for_selector(".ga-problem:has-text('start it with `galaxy-assets dev`')")
    assert page.get_by_role("button", name="Rank anew").is_enabled()


def test_killed_while_scoring_nothing_is_lost_and_nothing_doubled(page, explored):
    open_page(page, explored, panel="score", order="random")
    before = len(events(explored))
    done = [(press_and_wait(page, key), int(key)) for key in "120"]
    page.keyboard.press("5")
    explored.server.kill()
    page.problems.clear()
    explored.server.start()
    page.goto(explored.url(panel="score", order="random"))
    page.wait_for_selector("[data-shown]")
    page.wait_for_function("document.querySelector('[data-shown]').dataset.shown")
    said = [(e["galaxy_id"], e["score"]) for e in events(explored)[before:]]
    assert said[:3] == done and len(said) in (3, 4) and len(set(said)) == len(said)
    scored = set(standing(LabelLog(Layout(explored.root).labels(explored.survey)).read())["galaxy_id"].to_pylist())
    assert {galaxy for galaxy, _ in done} <= scored and shown(page) not in {galaxy for galaxy, _ in said}
    page.problems.clear()
