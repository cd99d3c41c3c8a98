"""The page on the server, without a browser: what its parts tell each other, and that nothing fails behind it."""

import asyncio
import importlib
import inspect
import logging
import os
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from nicegui import ui
from nicegui.testing.user_interaction import UserInteraction

from galaxy_assets.explorer import rankings
from galaxy_assets.explorer.runs import Progress, Run
from galaxy_assets.explorer.share import keep_selection
from galaxy_assets.explorer.shared import Shared
from galaxy_assets.explorer.view import PRETRAINED
from galaxy_assets.explorer.worksheet import read_clusters
from galaxy_assets.lake.query import QueryError
from galaxy_assets.lake.read_model import publish
from galaxy_assets.orchestration.graph import EXPLORER
from galaxy_assets.science.artefact_regions import regions_to_table
from galaxy_assets.science.worksheet import Override
from galaxy_assets.storage.label_events import LabelLog
from galaxy_assets.storage.tables import read_table
from galaxy_assets_tests.explorer.small_lake import (
    NAME,
    PRETRAINED_MAP,
    N,
    keep,
    turn_map_over,
    write_ranking,
    write_small_lake,
)
from galaxy_assets_tests.explorer.test_saving import BOX, refit


@pytest.fixture
def shared(tmp_path, monkeypatch) -> Shared:
    monkeypatch.setitem(os.environ, "NICEGUI_STORAGE_PATH", str(tmp_path / "nicegui"))
    return Shared(write_small_lake(tmp_path / "data"), "http://127.0.0.1:9")


@asynccontextmanager
async def opened(
    shared: Shared, monkeypatch, *addresses: str, while_it_loads: Callable[[Any], Any] | None = None
) -> AsyncIterator[tuple]:
    """The page of each address, loaded, and who opened it."""
    from nicegui.testing import user_simulation

    from galaxy_assets.explorer import page

    pages = []
    made = page._Page.__init__

    def noted(self, *arguments) -> None:
        made(self, *arguments)
        pages.append(self)

    monkeypatch.setattr(page._Page, "__init__", noted)
    async with user_simulation() as user:
        page.add_page(shared)
        for address in addresses:
            await user.open(f"/?survey={NAME}{address}")
            if while_it_loads is not None:
                await while_it_loads(pages[-1])
            await until(lambda: hasattr(pages[-1], "_stamp"))
        with user:
            yield user, pages


async def until(true: Callable[[], bool]) -> None:
    for _ in range(600):
        if true():
            return
        await asyncio.sleep(0.05)
    raise AssertionError("never came to be")


def run(coroutine, caplog) -> None:
    """Run to the end; what failed behind the page fails the test."""
    loop = asyncio.new_event_loop()  # not asyncio.run, which waits for timers of the simulation that never end
    with caplog.at_level(logging.ERROR):
        loop.run_until_complete(coroutine)
    said = [r.getMessage() for r in caplog.records if r.levelno >= logging.ERROR and "nicegui" in r.name]
    # of timers, when the simulation ends
    assert [words for words in said if not words.startswith("Could not cancel")] == []


def test_the_last_change_is_taken_back_first_whether_it_is_stored_or_not(shared, monkeypatch, caplog):
    async def use() -> None:
        async with opened(shared, monkeypatch, "&panel=score&order=rank") as (user, (page,)):
            tab, scored = page.tab, page.score._shown()
            await page.score.score(4, scored)
            page.score.skip(page.score._shown())
            rows = np.array([3, 4, 5], np.int32)
            await page.gallery.select(rows, "inside the lasso")
            page.gallery.filter.value = "rank <= 5"
            await page.gallery.refilter()
            assert len(tab.shown) == 2
            page.maps._hidden(["0", "1"])
            seen = []
            for _ in range(5):
                await page.undo.undo()
                seen.append((len(tab.shown), page.place.hide, page.score._shown() == scored))
            assert seen == [(2, "", False), (3, "", False), (58, "", False), (58, "", False), (58, "", True)]
            await page.undo.undo()
            kinds = [e["kind"] for e in LabelLog(shared.layout.labels(NAME)).read().to_pylist()]
            assert kinds == ["score", "undo"], "there is nothing more to take back"
            said = [message for message in user.notify.messages if message.startswith("Taken back")]
            assert said[0] == "Taken back: what the legend hides" and said[-1] == f"Taken back: score 4 of {scored}"

    run(use(), caplog)


def test_stored_changes_are_taken_back_by_another_page_of_the_same_person(shared, monkeypatch, caplog):
    sheet, review = shared.layout.cluster_worksheet(NAME), shared.layout.artefact_review(NAME)

    async def use() -> None:
        addresses = "&panel=clusters", f"&start={PRETRAINED}&panel=artefacts"
        async with opened(shared, monkeypatch, *addresses) as (user, (first, second)):
            cluster = read_clusters(first.tab.view, first.survey)[1]
            await first.clusters._save(cluster, Override("rings", None, True))
            await second.artefacts.region([-0.5, -0.5, 0.1, 0.5])
            await second.artefacts._save()
            assert "rings" in sheet.read_text() and review.exists()
            await first.undo.undo()
            assert not review.exists() and "rings" in sheet.read_text()
            await first.undo.undo()
            assert "rings" not in sheet.read_text()
            assert second.changes.last_by(first.who) is None
            assert user.notify.messages[-2:] == ["Taken back: the artefact rule saved", "Taken back: what cluster 1 is"]

    run(use(), caplog)


def test_a_description_is_taken_back_from_the_galaxies_it_was_given_to(shared, monkeypatch, caplog):
    async def use() -> None:
        async with opened(shared, monkeypatch, "&panel=clusters") as (_, (page,)):
            tab = page.tab
            clusters = read_clusters(tab.view, page.survey)
            await page.clusters._save(clusters[2], Override("arms"))
            await page.clusters._save(clusters[1], Override("arms"))
            refit(shared.layout)  # the galaxies of 1 are 0 now, and those of 2 are 1
            await page.undo.undo()
            said = {c.number: c.said.description for c in read_clusters(tab.view, page.survey)}
            assert {number: words for number, words in said.items() if words} == {1: "arms"}

    run(use(), caplog)


def test_saving_a_cluster_as_it_is_shown_changes_nothing_whatever_class_its_worksheet_names(
    shared, monkeypatch, caplog
):
    sheet = shared.layout.cluster_worksheet(NAME)

    async def use() -> None:
        async with opened(shared, monkeypatch, "&panel=clusters") as (user, (page,)):
            cluster = read_clusters(page.tab.view, page.survey)[1]
            assert "ring" not in [c.name for c in page.survey.evaluation.classes]
            await page.clusters._save(cluster, Override("arms", "ring"))
            before = sheet.read_text()
            await page.clusters.reload()
            buttons = {button for button in user.find(ui.button).elements if button.text == "Save"}
            assert len(buttons) == 6
            for button in buttons:
                UserInteraction(user, {button}, None).click()
            await until(lambda: sum("saved in" in label.text for label in user.find(ui.label).elements) == 6)
            assert sheet.read_text() == before and "ring" in before

    run(use(), caplog)


def test_a_change_that_cannot_be_taken_back_is_passed_over_and_said(shared, monkeypatch, caplog):
    sheet = shared.layout.cluster_worksheet(NAME)

    async def use() -> None:
        async with opened(shared, monkeypatch, "&panel=clusters") as (user, (page,)):
            clusters = read_clusters(page.tab.view, page.survey)
            await page.clusters._save(clusters[1], Override("rings"))
            await page.clusters._save(clusters[2], Override("arms"))
            sheet.write_text(sheet.read_text().replace("arms", "theirs"))
            await page.undo.undo()
            said = user.notify.messages[-1]
            assert said.startswith("Not taken back: what cluster 2 is: cluster 2 is described otherwise by now")
            assert said.endswith("It is passed over; the change before it comes next")
            await page.undo.undo()
            assert user.notify.messages[-1] == "Taken back: what cluster 1 is"
            assert "rings" not in sheet.read_text() and "theirs" in sheet.read_text()
            await page.undo.undo()
            assert user.notify.messages[-1].endswith("has nothing to take back.")

    run(use(), caplog)


def test_what_cannot_be_taken_back_now_can_be_later(shared, monkeypatch, caplog):
    sheet = shared.layout.cluster_worksheet(NAME)

    async def use() -> None:
        async with opened(shared, monkeypatch, "&panel=clusters") as (user, (page,)):
            await page.clusters._save(read_clusters(page.tab.view, page.survey)[1], Override("rings"))
            good = sheet.read_bytes()
            for content in (b"\xff", good + b"nosuch,0,x,,,g00\n"):
                sheet.write_bytes(content)
                await page.undo.undo()
                said = user.notify.messages[-1]
                assert said.startswith("Not taken back: ") and str(sheet) in said and "passed over" not in said
                assert sheet.read_bytes() == content
            sheet.write_bytes(good)
            await page.undo.undo()
            assert user.notify.messages[-1] == "Taken back: what cluster 1 is" and "rings" not in sheet.read_text()

    run(use(), caplog)


def test_a_score_that_is_not_taken_back_is_not_said_to_be(shared, monkeypatch, caplog):
    async def use() -> None:
        async with opened(shared, monkeypatch, "&panel=score&order=rank") as (user, (page,)):
            await page.score.score(4, page.score._shown())
            page.score._busy = True
            await page.undo.undo()
            assert user.notify.messages[-1] == "Not taken back: wait for the score before"

    run(use(), caplog)


def test_a_note_stays_with_the_galaxy_it_was_written_about(shared, monkeypatch, caplog):
    async def use() -> None:
        async with opened(shared, monkeypatch, "&panel=score&order=rank") as (_, (page,)):
            score, labels = page.score, page.tab.labels
            first = score._shown()
            score.note.value = "ring"
            score.skip(first)
            second = score._shown()
            assert not score.note.value
            score.note.value = "tail"
            await score.score(3, second)
            assert [e["note"] for e in labels.of(second)] == ["tail"] and not score.note.value
            await page.undo.undo()
            assert (score._shown(), score.note.value) == (second, "tail")
            await page.undo.undo()
            assert (score._shown(), score.note.value) == (first, "ring"), "the skip is taken back"
            score.order.value = "random"
            await until(lambda: score._shown() not in (first, second))
            assert not score.note.value
            score.order.value = "rank"
            await until(lambda: score._shown() == first)
            assert score.note.value == "ring"
            labels.say(page.who, first, 2)  # in another tab
            score.again()
            assert (score._shown(), score.note.value) == (second, "tail")
            await score.score(1, second)
            assert labels.of(second)[0]["note"] == "tail" and labels.of(first)[0]["note"] is None

    run(use(), caplog)


@pytest.mark.parametrize(
    ("place", "at"),
    [
        ("&order=rank", "g30"),
        ("&order=random", "g30"),
        ("&order=cluster&cluster=2", "g25"),
        ("&order=x&cluster=9", "g31"),
    ],
)
def test_the_galaxy_of_a_link_is_shown_first_and_then_the_queue_from_its_top(shared, monkeypatch, caplog, place, at):
    async def use() -> None:
        async with opened(shared, monkeypatch, f"&panel=score{place}&at={at}") as (_, (page,)):
            await asyncio.sleep(0.3)  # what else would come, came
            assert page.score._shown() == at and page.place.at == at
            top = page.tab.galaxy(int(page.score.queue.rows[1]))
            page.score.skip(at)
            assert page.score._shown() == top
            assert (top == "g20") == ("cluster=2" in place)

    run(use(), caplog)


def test_the_queue_of_the_newest_choice_is_shown_whichever_is_ready_first(shared, monkeypatch, caplog):
    from galaxy_assets.explorer import score_panel

    made, ready = score_panel.queue_rows, threading.Event()

    def slow(view, survey, order, **more):
        if order == "random":
            assert ready.wait(30)
        return made(view, survey, order, **more)

    monkeypatch.setattr(score_panel, "queue_rows", slow)

    async def use() -> None:
        async with opened(shared, monkeypatch, "&panel=score") as (_, (page,)):
            page.score.order.value = "random"
            await until(lambda: page.place.order == "random")
            page.score.order.value = "rank"
            await until(lambda: page.score._shown() == "g00")
            ready.set()
            await asyncio.sleep(0.3)
            assert page.score._shown() == "g00"

    run(use(), caplog)


def test_after_a_new_ranking_the_queue_goes_on_from_its_top_and_offers_what_was_skipped(shared, monkeypatch, caplog):
    async def use() -> None:
        async with opened(shared, monkeypatch, "&panel=score&order=rank") as (_, (page,)):
            score = page.score
            for _ in range(3):
                score.skip(score._shown())
            assert score._shown() == "g03"
            write_ranking(shared.layout, np.linspace(0, 5, N))
            await page._new_ranking()
            assert score._shown() == "g03"
            await score.score(2, "g03")
            assert score._shown() == "g57", "the first of the new ranking that is on the map"
            score.order.value = "cluster"
            score.cluster.value = "5"
            await until(lambda: score.queue is not None and len(score.queue.rows) == 8)
            await score.score(2, score._shown())
            for _ in range(7):
                assert not score.skipped.visible
                score.skip(score._shown())
            assert score.empty.text == "The end of this queue: 1 of 8 are scored, 7 were skipped."
            assert score.skipped.visible and not score.note.enabled
            score._from_the_top()
            for _ in range(7):
                await score.score(1, score._shown())
            assert score.empty.text == "All of this queue is scored." and not score.skipped.visible

    run(use(), caplog)


def test_every_cluster_has_a_queue_and_a_name_however_many_there_are(shared, monkeypatch, caplog):
    path = shared.layout.table(NAME, "cluster_labels", "b", "imagenet")
    made = read_table(path)
    at = made.column_names.index("cluster")
    keep(made.set_column(at, "cluster", pa.array([i // 2 * 3 for i in range(N - 2)], pa.int32())), path)
    pairs = {str(3 * k): f"{3 * k} (2)" for k in range((N - 2) // 2)}
    numbers = [i if i < 50 else 50 for i in range(N - 2)]

    async def use() -> None:
        async with opened(shared, monkeypatch, "&panel=score&order=cluster&cluster=84") as (_, (page,)):
            assert page.score.cluster.options == pairs and page.score._shown() == "g56"
            keep(made.set_column(at, "cluster", pa.array(numbers, pa.int32())), path)
            await page._show_anew()
            await page.score.reload()
            assert len(page.score.cluster.options) == 51 and page.score.cluster.value == "0"
            colours = shared.colours(page.tab.view, "cluster")
            assert colours.low is None and len(colours.names) == 40 and colours.names[-2:] == ["50", "other"]
            assert colours.names[:38] == [str(k) for k in range(38)] and colours.counts[-2:] == [8, 12]

    run(use(), caplog)


def test_a_name_typed_while_the_map_opens_is_whose_scores_they_are(shared, monkeypatch, caplog):
    opens, view = threading.Event(), shared.view

    def slow(*map_of: str):
        assert opens.wait(30)
        return view(*map_of)

    monkeypatch.setattr(shared, "view", slow)

    async def type_it(page) -> None:
        page.header.name.value = "bob"
        page._rename()
        await page._key(KeyPressed())
        opens.set()

    async def use() -> None:
        async with opened(shared, monkeypatch, "&panel=score&order=rank", while_it_loads=type_it) as (_, (page,)):
            await page.score.score(4, page.score._shown())
            assert page.tab.labels.scores_by("bob") and page.who == page.tab.who == "bob"

    run(use(), caplog)


class KeyPressed:
    args: ClassVar = {"key": "g", "shown": ""}


def test_a_run_that_ended_before_the_page_was_opened_is_no_news(shared, monkeypatch, caplog):
    before = shared.view(NAME, "imagenet")
    assert before.column("rank")[0].as_py() == 1
    write_ranking(shared.layout, np.linspace(0, 5, N))
    shared.runs[NAME] = Run(NAME, ["anomaly_ranking"], "r", Progress("SUCCESS"), ended=1.0)

    async def use() -> None:
        async with opened(shared, monkeypatch, "&panel=ranking") as (user, (page,)):
            await page.ranking.follow()
            await asyncio.sleep(0.5)  # what else would come, came
            assert "The ranking is new." not in user.notify.messages
            assert page.tab.view is before and before.column("rank")[0].as_py() == N
            shared.runs[NAME] = Run(NAME, ["anomaly_ranking"], "s", Progress("SUCCESS"), ended=2.0)
            await page.ranking.follow()
            await page.ranking.follow()
            assert user.notify.messages.count("The ranking is new.") == 1

    run(use(), caplog)


def test_a_second_map_speaks_of_the_first_ones_galaxies(shared, monkeypatch, caplog):
    async def use() -> None:
        async with opened(shared, monkeypatch, f"&beside={PRETRAINED}") as (user, (page,)):
            tab, beside = page.tab, page.maps.beside
            await beside.act("only", 7)
            assert [tab.galaxy(int(row)) for row in tab.shown] == ["g07"]
            await beside.act("open", N - 1)
            assert user.notify.messages[-1] == f"g{N - 1} is not on the map of imagenet."
            await beside.act("like", 7)
            assert tab.words == "most like g07" and tab.shown[0] == 7

    run(use(), caplog)


def test_a_link_leads_to_its_selection_on_another_map_and_server(shared, monkeypatch, caplog):
    async def use() -> None:
        async with opened(shared, monkeypatch, "") as (_, (page,)):
            await page.gallery.more_like(["g07"])
            keep_selection(page.tab)
            name = page.place.of
        other = Shared(shared.layout, "http://127.0.0.1:9")
        address = f"&of={name}&start={PRETRAINED}&open=g07"
        async with opened(other, monkeypatch, address) as (_, (page,)):
            assert page.tab.words == "most like g07" and page.place.open == "g07"
            assert list(page.tab.found.values())[:2] == [0.0, 1.0]

    run(use(), caplog)


def test_a_page_left_open_over_a_new_map_says_so_and_shows_no_other_galaxies(shared, monkeypatch, caplog):
    async def use() -> None:
        async with opened(shared, monkeypatch, "&panel=score") as (user, (page,)):
            turn_map_over(shared.layout)
            await until(lambda: any("The map was made anew" in words for words in user.notify.messages))
            await page.object.show(3)
            assert user.notify.messages[-1] == "g03 is not shown: the map was made anew; reload the page"
            page.gallery.filter.value = "rank <= 5"
            await page.gallery.refilter()
            assert "made anew" in page.gallery.problem.text and len(page.tab.shown) == N - 2
            await page.gallery._export("csv")
            assert user.notify.messages[-1] == "the map was made anew; reload the page"
            page.score.skip(page.score._shown())

    run(use(), caplog)


def test_a_filter_that_was_given_up_does_not_come_back_and_is_asked_for_once(shared, monkeypatch, caplog):
    async def use() -> None:
        async with opened(shared, monkeypatch, "") as (_, (page,)):
            gallery, tab = page.gallery, page.tab
            asked, answer, rows_of = [], threading.Event(), gallery._rows

            def slow(condition: str) -> np.ndarray:
                asked.append(condition)
                if condition == "rank <= 5":
                    assert answer.wait(30)
                return rows_of(condition)

            monkeypatch.setattr(gallery, "_rows", slow)
            gallery.filter.value = "rank <= 5"
            first = asyncio.create_task(gallery.refilter())
            await until(lambda: asked == ["rank <= 5"])
            await gallery.refilter()
            assert asked == ["rank <= 5"], "Enter pressed again asks for nothing more"
            gallery.filter.value = "rank <= 7"
            await gallery.refilter()
            assert len(tab.shown) == 7
            answer.set()
            await first
            assert asked == ["rank <= 5", "rank <= 7"] and len(tab.shown) == 7 and tab.place.where == "rank <= 7"
            assert gallery.count.text.startswith("7 of ")
            await gallery.refilter()
            assert asked[2:] == ["rank <= 7"], "and again when it was answered"

    run(use(), caplog)


def test_a_gallery_that_stays_where_it_is_has_all_that_was_there(shared, monkeypatch, caplog):
    monkeypatch.setattr(importlib.import_module("galaxy_assets.explorer.gallery_panel"), "PAGE", 10)

    async def use() -> None:
        async with opened(shared, monkeypatch, "&panel=gallery") as (_, (page,)):
            panel, sent = page.gallery, []
            monkeypatch.setattr(panel.gallery, "run_method", lambda name, *arguments: sent.append((name, arguments)))
            for start in (10, 20, 10):  # the last was asked for before the one before it came
                await panel._more(SimpleNamespace(args=start))
            await panel.refresh(keep=True)
            await panel.refresh()
            items = [(name, len(given[0]) if given else 0) for name, given in sent]
            assert items == [("extend", 10), ("extend", 10), ("show", 30), ("unchoose", 0), ("show", 10)]

    run(use(), caplog)


def test_what_fails_behind_the_page_is_said_and_not_said_again_at_once(shared, monkeypatch):
    async def use() -> None:
        async with opened(shared, monkeypatch, "") as (user, (page,)):

            async def fails() -> None:
                raise RuntimeError("no such thing")

            for _ in range(2):
                with page.gallery.count:
                    ui.timer(0, fails, once=True)
            await until(lambda: "This failed: no such thing" in user.notify.messages)
            await asyncio.sleep(0.3)
            assert user.notify.messages.count("This failed: no such thing") == 1

    asyncio.new_event_loop().run_until_complete(use())


def test_one_damaged_table_hides_its_columns_and_nothing_else(shared, monkeypatch, caplog):
    file = shared.layout.table(NAME, "volunteer_votes")
    file.write_bytes(file.read_bytes()[:100])
    publish(shared.layout, EXPLORER)

    async def use() -> None:
        async with opened(shared, monkeypatch, "") as (user, (page,)):
            assert any("left out: volunteer_votes" in words for words in user.notify.messages)
            assert page.tab.has("score", "cluster") and not page.tab.has("damaged") and not page.tab.has("total_votes")
            await page.object.show(3)
            assert page.place.open == "g03"
            assert len(page.tab.view.matching("columns('^rank$') <= 5")) == 5

    run(use(), caplog)


def test_nothing_is_kept_under_the_owners_name_for_who_has_not_said_theirs(shared, monkeypatch, caplog):
    from galaxy_assets.explorer import server
    from galaxy_assets.web import serving

    served = []
    sharing, pages = (importlib.import_module(f"galaxy_assets.explorer.{name}") for name in ("shared", "page"))
    monkeypatch.setattr(sharing, "Shared", lambda *_: shared)
    monkeypatch.setattr(serving, "serve", lambda site, **_: served.append(shared.who))
    monkeypatch.setattr(pages, "add_page", lambda _: None)
    monkeypatch.setattr("nicegui.ui.run_with", lambda *_, **__: None)
    owner = shared.who
    for host in ("127.0.0.1", "0.0.0.0"):
        server.serve(shared.layout, host=host, port=1, dagster="http://127.0.0.1:9", open_browser=False)
    assert served == [owner, ""]
    monkeypatch.undo()
    shared.folder.mkdir(exist_ok=True)

    async def use() -> None:
        addresses = "&panel=score&order=rank", f"&start={PRETRAINED}&panel=artefacts"
        async with opened(shared, monkeypatch, *addresses) as (_, (first, second)):
            scored = first.score._shown()
            await first.score.score(4, scored)
            assert first.score.problem.text.startswith("not kept: nobody has said who this is; write your name")
            cluster = read_clusters(first.tab.view, first.survey)[1]
            assert "nobody has said who" in await first.clusters._save(cluster, Override("rings"))
            await second.artefacts.region([-0.5, -0.5, 0.1, 0.5])
            await second.artefacts._save()
            assert "nobody has said who" in second.artefacts.problem.text
            assert not shared.layout.cluster_worksheet(NAME).exists()
            assert not shared.layout.artefact_review(NAME).exists()
            assert not LabelLog(shared.layout.labels(NAME)).read().num_rows
            first.header.name.value = "ann"
            first._rename()
            await first.score.score(4, scored)
            assert [e["who"] for e in LabelLog(shared.layout.labels(NAME)).read().to_pylist()] == ["ann"]

    run(use(), caplog)


def test_the_list_of_keys_has_every_key(shared, monkeypatch, caplog):
    from galaxy_assets.explorer import keyboard

    listed = {word for keys in keyboard._LISTS.values() for key, _ in keys for word in key.split()}
    assert set(keyboard.KEYS) - {"undo"} <= listed and "Ctrl" in listed
    assert Path(keyboard.__file__).with_name("keys.js").read_text().count('key: "undo"') == 1


def texts(panel) -> list[str]:
    """The words in a panel's list."""
    return [element.text for element in panel.list.descendants() if isinstance(element, ui.label)]


def describe_anew(layout, words: str) -> None:
    path = layout.table(NAME, "cluster_summary", "imagenet")
    made = read_table(path)
    at = made.column_names.index("description")
    keep(made.set_column(at, "description", pa.array([f"{words} {k}" for k in range(len(made))])), path)


def anew(user) -> int:
    return sum("made anew; the page shows them" in words for words in user.notify.messages)


def test_tables_that_a_run_made_anew_are_shown_on_every_panel_and_its_ranking_is_kept(shared, monkeypatch, caplog):
    async def use() -> None:
        async with opened(shared, monkeypatch, "&panel=score&order=rank") as (user, (page,)):
            await page.clusters.load()
            assert page.score.queue.rows[:2].tolist() == [0, 1] and "kind 3" in texts(page.clusters)
            write_ranking(shared.layout, np.linspace(0, 5, N))
            describe_anew(shared.layout, "sort")
            await until(lambda: anew(user) > 0)
            assert page.score.queue.rows[:2].tolist() == [0, N - 3], "what is being scored stays before the others"
            assert "sort 3" in texts(page.clusters) and "kind 3" not in texts(page.clusters)
            assert len(list(rankings.folder(shared.layout, NAME).glob("*.parquet"))) == 2
            assert page.ranking.moves.text == "What moved"
            field = next(e for e in page.clusters.list.descendants() if isinstance(e, ui.input))
            field.value = "arms"
            describe_anew(shared.layout, "class")
            await until(lambda: anew(user) > 1)
            assert field.value == "arms" and "sort 3" in texts(page.clusters) and page.clusters.outdated.visible
            await page.clusters.reload()
            assert "class 3" in texts(page.clusters) and not page.clusters.outdated.visible

    run(use(), caplog)


def test_boxes_of_now_are_shown_after_a_run_and_those_that_are_not_saved_stay(shared, monkeypatch, caplog):
    async def use() -> None:
        async with opened(shared, monkeypatch, f"&start={PRETRAINED}&panel=artefacts") as (user, (page,)):
            panel, path = page.artefacts, shared.layout.table(NAME, "artefact_regions")
            keep(regions_to_table([BOX], page.tab.view.drawn_on), path)
            await until(lambda: anew(user) > 0)
            assert [box.x1 for box in panel.drawn] == [3.0]
            await panel.region([-0.5, -0.5, 0.1, 0.5])
            keep(regions_to_table([replace(BOX, x1=4.0)], page.tab.view.drawn_on), path)
            await until(lambda: anew(user) > 1)
            assert len(panel.drawn) == 2 and "boxes that are not saved stay" in panel.problem.text
            await panel._withdraw()
            assert [box.x1 for box in panel.drawn] == [4.0] and not panel.problem.visible

    run(use(), caplog)


def test_a_new_map_beside_the_first_is_said_and_not_drawn_over_the_one_before(shared, monkeypatch, caplog):
    async def use() -> None:
        async with opened(shared, monkeypatch, f"&beside={PRETRAINED}") as (user, (page,)):
            drawn = page.maps.second._props["colour"]
            turn_map_over(shared.layout, PRETRAINED_MAP)
            await until(lambda: any("The map was made anew" in words for words in user.notify.messages))
            assert not anew(user) and page.maps.second._props["colour"] == drawn

    run(use(), caplog)


def test_clearing_one_map_clears_both_whatever_was_marked(shared, monkeypatch, caplog):
    async def use() -> None:
        async with opened(shared, monkeypatch, f"&beside={PRETRAINED}") as (_, (page,)):
            marks = {}
            for map_ in (page.maps.map, page.maps.second):
                monkeypatch.setattr(map_, "mark", partial(marks.__setitem__, map_))
            await page.gallery.select(np.array([3, 4], np.int32), "inside the lasso", mark=True)
            assert len(marks) == 2 and None not in marks.values()
            await page._cleared()
            assert list(marks.values()) == [None, None] and len(page.tab.shown) == N - 2
            page.gallery.filter.value = "rank <= 5"
            await page.gallery.refilter()
            assert None not in marks.values()
            await page._cleared()
            assert list(marks.values()) == [None, None] and len(page.tab.shown) == 5, "the filter stays"

    run(use(), caplog)


def test_a_run_that_is_not_over_is_not_pushed_aside_and_the_page_says_so(shared, monkeypatch, caplog):
    async def use() -> None:
        async with opened(shared, monkeypatch, "&panel=ranking") as (user, (page,)):
            going = shared.runs[NAME] = Run(NAME, ["anomaly_ranking"], "r")
            for start in (page.clusters._use, page.ranking._start):
                await start()
                assert "is not over yet" in user.notify.messages[-1] and shared.runs[NAME] is going
            assert not page.ranking.start.enabled
            going.error, going.ended = "it failed", 1.0
            await page.ranking.follow()
            assert page.ranking.start.enabled
            await page.ranking._start()  # there is no Dagster
            assert shared.runs[NAME] is not going and page.ranking.start.enabled and page.ranking.problem.visible

    run(use(), caplog)


def test_a_double_click_saves_once_and_says_that_it_did(shared, monkeypatch, caplog):
    async def use() -> None:
        addresses = "&panel=clusters", f"&start={PRETRAINED}&panel=artefacts"
        async with opened(shared, monkeypatch, *addresses) as (user, (first, second)):
            fields = [e for e in first.clusters.list.descendants() if isinstance(e, ui.input)]
            buttons = [e for e in first.clusters.list.descendants() if isinstance(e, ui.button) and e.text == "Save"]
            fields[1].value = "rings"
            for _ in range(2):
                UserInteraction(user, {buttons[1]}, None).click()
            await until(lambda: any(words.startswith(("saved", "not saved")) for words in texts(first.clusters)))
            await asyncio.sleep(0.3)  # what else would come, came
            assert [w for w in texts(first.clusters) if "saved" in w] == [
                f"saved in {NAME}_clusters.csv; the next run uses it"
            ]
            await second.artefacts.region([-0.5, -0.5, 0.1, 0.5])
            await asyncio.gather(second.artefacts._save(), second.artefacts._save())
            assert not second.artefacts.problem.visible
            await asyncio.gather(second.artefacts._withdraw(), second.artefacts._withdraw())
            assert not second.artefacts.problem.visible
            said = [change.words for change in first.changes.all()]
            assert said == ["what cluster 1 is", "the artefact rule saved", "the artefact rule withdrawn"]

    run(use(), caplog)


def test_what_is_saved_is_not_said_to_be_lost_where_it_cannot_be_taken_back(shared, monkeypatch, caplog):
    (shared.layout.labels(NAME)).mkdir(parents=True)
    (shared.layout.labels(NAME) / "changes").write_text("in the way of the folder")

    async def use() -> None:
        addresses = "&panel=clusters", f"&start={PRETRAINED}&panel=artefacts"
        async with opened(shared, monkeypatch, *addresses) as (_, (first, second)):
            cluster = read_clusters(first.tab.view, first.survey)[1]
            words = await first.clusters._save(cluster, Override("rings"))
            assert words.startswith(
                f"saved in {NAME}_clusters.csv; the next run uses it. It cannot be taken back here: "
            )
            assert read_clusters(first.tab.view, first.survey)[1].said == Override("rings")
            await second.artefacts.region([-0.5, -0.5, 0.1, 0.5])
            for act, words in (("_save", "saved"), ("_withdraw", "withdrawn")):
                await getattr(second.artefacts, act)()
                problem = second.artefacts.problem.text
                assert problem.startswith(f"the artefact rule {words}; it cannot be taken back here: ")
                assert shared.layout.artefact_review(NAME).exists() == (words == "saved")

    run(use(), caplog)


def test_boxes_that_were_given_up_for_the_proposal_are_all_taken_back(shared, monkeypatch, caplog):
    async def use() -> None:
        async with opened(shared, monkeypatch, f"&start={PRETRAINED}&panel=artefacts") as (_, (page,)):
            panel = page.artefacts
            for left in (-0.9, -0.5):
                await panel.region([left, -0.5, left + 0.2, 0.5])
            await panel._withdraw()
            assert panel.drawn == []
            await page.undo.undo()
            assert len(panel.drawn) == 2
            await panel._save()
            await panel.region([0.1, -0.5, 0.3, 0.5])
            await panel._withdraw()
            seen = []
            for _ in range(2):
                await page.undo.undo()
                seen.append(len(panel.drawn))
            assert seen == [2, 3], "the rule, then what was drawn beside it"

    run(use(), caplog)


def test_a_galaxy_that_had_no_rank_before_is_shown_as_new(shared, monkeypatch, caplog):
    path = shared.layout.table(NAME, "anomaly_ranking")
    whole = read_table(path)
    keep(whole.filter(pc.not_equal(whole["galaxy_id"], "g05")), path)
    rankings.keep(shared.layout, NAME)
    keep(whole, path)

    async def use() -> None:
        async with opened(shared, monkeypatch, "") as (_, (page,)):
            shows = []
            monkeypatch.setattr(
                page.ranking.gallery, "show", lambda base, items, total, keep=False: shows.append((items, keep))
            )
            await page.ranking.load()
            items, keep = shows[-1]
            assert [(item["id"], item["caption"]) for item in items] == [("g05", "new → 6")]
            assert keep, "tables made anew leave it where one scrolled to"

    run(use(), caplog)


def test_a_name_that_is_cleared_comes_back_for_scores_go_on_under_it(shared, monkeypatch, caplog):
    async def use() -> None:
        async with opened(shared, monkeypatch, "&panel=score") as (_, (page,)):
            page.header.name.value = "ann"
            page._rename()
            for typed in ("", "  "):
                page.header.name.value = typed
                page._rename()
                assert page.header.name.value == page.tab.who == "ann"

    run(use(), caplog)


def test_a_selection_is_what_it_was_when_the_page_is_loaded_again(shared, monkeypatch, caplog):
    async def use() -> None:
        async with opened(shared, monkeypatch, "") as (_, (page,)):
            await page.gallery.more_like(["g07"])
            like, order = page.place.of, page.tab.shown.tolist()
            await page.maps.mark(page.tab.shown)
            await page.gallery.select(np.array([9, 3], np.int32), "inside the lasso")
            lasso = page.place.of
        async with opened(shared, monkeypatch, f"&of={like}", f"&of={lasso}") as (_, (first, second)):
            assert first.tab.words == "most like g07" and first.tab.shown.tolist() == order
            assert list(first.tab.found.values())[:2] == [0.0, 1.0]
            assert second.tab.words == "inside the lasso" and second.tab.found is None

    run(use(), caplog)


class Held:
    """A function of a panel's module that waits, from `hold` until `go`, and then answers as of the beginning."""

    def __init__(self, monkeypatch, module: str, name: str):
        self.holds, self.reading, self.ready = False, threading.Event(), threading.Event()
        home = importlib.import_module(f"galaxy_assets.explorer.{module}")
        read = getattr(home, name)

        def held(*arguments, **named):
            answer = read(*arguments, **named)
            if self.holds:
                self.reading.set()
                assert self.ready.wait(30)
            return answer

        monkeypatch.setattr(home, name, held)

    async def meanwhile(self, first: Any, act: Callable[[], Any]) -> None:
        """Do something while `first`, which reads, waits; then let it go on to its end."""
        self.holds = True
        task = asyncio.ensure_future(first)
        await until(self.reading.is_set)
        try:
            done = act()
            if inspect.isawaitable(done):
                await done
        finally:
            self.ready.set()
        await task
        self.holds = False


def test_what_is_skipped_or_scored_while_the_queue_is_made_anew_is_not_shown_again(shared, monkeypatch, caplog):
    for way, act in (("anew", "skip"), ("anew", "score"), ("reload", "skip")):
        held = Held(monkeypatch, "score_panel", "queue_rows")

        async def use(held=held, way=way, act=act) -> None:
            async with opened(shared, monkeypatch, "&panel=score&order=rank") as (_, (page,)):
                score = page.score
                first = score._shown()
                second = page.tab.galaxy(score.queue.ahead(1)[0])
                write_ranking(shared.layout, np.linspace(0 if way == "anew" else 5, 2, N))
                shared.up_to_date(page.tab.view)
                acted = partial(score.skip, first) if act == "skip" else partial(score.score, 4, first)
                await held.meanwhile(getattr(score, way)(), acted)
                assert score._shown() == second == page.place.at, (way, act)

        run(use(), caplog)


def test_the_queue_goes_on_where_it_was_when_tables_are_made_anew(shared, monkeypatch, caplog):
    async def use() -> None:
        async with opened(shared, monkeypatch, "&panel=score&order=rank") as (_, (page,)):
            score = page.score
            for _ in range(3):
                score.skip(score._shown())
            score._say("not kept: the disk is full")
            describe_anew(shared.layout, "sort")
            queue = score.queue
            assert await page._show_anew()
            assert score.queue is queue and score.problem.text == "not kept: the disk is full"
            write_ranking(shared.layout, np.linspace(0, 5, N))
            await page._show_anew()
            assert score._shown() == "g03" and not score.problem.visible
            seen = []
            while shown := score._shown():
                seen.append(shown)
                score.skip(shown)
            assert not {"g00", "g01", "g02"} & set(seen) and len(seen) == N - 5 and seen[1] == "g57"
            write_ranking(shared.layout, np.linspace(5, 0, N))
            await page._show_anew()
            assert score._shown() == "" and score.skipped.visible, "its end stays its end"

    run(use(), caplog)


def test_a_queue_that_cannot_be_read_is_said_and_comes_when_it_can(shared, monkeypatch, caplog):
    path = shared.layout.table(NAME, "anomaly_ranking")
    kept = path.read_bytes()
    path.unlink()
    publish(shared.layout, EXPLORER)

    async def use() -> None:
        async with opened(shared, monkeypatch, "&panel=score") as (_, (page,)):
            score = page.score
            assert "does not have yet" in score.problem.text and score.queue is None
            path.write_bytes(kept)
            publish(shared.layout, EXPLORER)
            await page._show_anew()
            assert score._shown() and not score.problem.visible
            score.skip(score._shown())
            shown = score._shown()
            path.write_bytes(kept[:100])
            publish(shared.layout, EXPLORER)
            await page._show_anew()
            assert score._shown() == shown and "does not have yet" in score.problem.text
            path.write_bytes(kept)
            publish(shared.layout, EXPLORER)
            await page._show_anew()
            assert score._shown() == shown and not score.problem.visible

    run(use(), caplog)


def test_what_is_typed_while_the_clusters_are_read_again_stays(shared, monkeypatch, caplog):
    held = Held(monkeypatch, "cluster_panel", "read_clusters")

    async def use() -> None:
        async with opened(shared, monkeypatch, "&panel=clusters") as (_, (page,)):
            panel = page.clusters
            field = next(e for e in panel.list.descendants() if isinstance(e, ui.input))
            await panel.anew()
            assert field in panel.list.descendants(), "the same clusters are not drawn anew"
            describe_anew(shared.layout, "sort")
            shared.up_to_date(page.tab.view)
            await held.meanwhile(panel.anew(), lambda: field.set_value("arms"))
            assert field in panel.list.descendants() and field.value == "arms" and panel.outdated.visible

    run(use(), caplog)


def test_a_box_drawn_while_the_boxes_are_read_again_stays_beside_them(shared, monkeypatch, caplog):
    drawn_on = shared.view(NAME, PRETRAINED).drawn_on
    keep(regions_to_table([BOX], drawn_on), shared.layout.table(NAME, "artefact_regions"))
    for alone in (True, False):
        held = Held(monkeypatch, "regions", "read_regions")

        async def use(held=held, alone=alone) -> None:
            async with opened(shared, monkeypatch, f"&start={PRETRAINED}&panel=artefacts") as (_, (page,)):
                panel, box = page.artefacts, [-0.5, -0.5, 0.1, 0.5]
                if alone:
                    await held.meanwhile(panel.anew(), lambda: panel.region(box))
                    assert "boxes that are not saved stay" in panel.problem.text
                else:  # as the map does it, which finds the panel reading
                    later = []
                    region = SimpleNamespace(args=box)
                    await held.meanwhile(
                        panel.reload(), lambda: later.append(asyncio.ensure_future(page._region(region)))
                    )
                    await asyncio.gather(*later)
                assert [b.x1 for b in panel.drawn][:1] == [3.0] and len(panel.drawn) == 2

        run(use(), caplog)


def test_boxes_are_the_rule_already_only_while_they_are(shared, monkeypatch, caplog):
    review = shared.layout.artefact_review(NAME)

    async def use() -> None:
        async with opened(shared, monkeypatch, f"&start={PRETRAINED}&panel=artefacts") as (user, (page,)):
            panel = page.artefacts
            await panel.region([-0.5, -0.5, 0.1, 0.5])
            await panel._save()
            await panel._save()
            assert user.notify.messages[-1] == "These boxes are the rule already."
            theirs = review.read_text() + "\n"
            review.write_text(theirs)
            await panel._save()
            assert user.notify.messages.count("These boxes are the rule already.") == 1
            assert "was changed since" in panel.problem.text and review.read_text() == theirs

    run(use(), caplog)


def test_what_more_like_found_keeps_the_order_it_was_given_when_it_is_loaded_again(shared, monkeypatch, caplog):
    async def use() -> None:
        async with opened(shared, monkeypatch, "") as (_, (page,)):
            gallery, tab = page.gallery, page.tab
            await gallery.more_like(["g07"])
            keep_selection(tab)
            like, near = page.place.of, tab.shown.tolist()
            await gallery._turn()
            turned, order = page.place.address(), tab.shown.tolist()
            assert order != near
            await page.undo.undo()
            assert page.place.of == like and tab.shown.tolist() == near
        turned = turned.removeprefix(f"/?survey={NAME}")
        async with opened(shared, monkeypatch, turned, f"&of={like}") as (_, (first, second)):
            assert first.tab.shown.tolist() == order and first.tab.words == "most like g07"
            assert second.tab.shown.tolist() == near

    run(use(), caplog)


def test_a_panel_that_fails_keeps_no_other_from_the_tables_of_now(shared, monkeypatch, caplog):
    async def use() -> None:
        async with opened(shared, monkeypatch, f"&start={PRETRAINED}&panel=artefacts") as (user, (page,)):
            failing = page.gallery, "refresh"

            async def fails(**_) -> None:
                raise RuntimeError("no such thing")

            monkeypatch.setattr(*failing, fails)
            keep(regions_to_table([BOX], page.tab.view.drawn_on), shared.layout.table(NAME, "artefact_regions"))
            await until(lambda: "This failed: no such thing" in user.notify.messages)
            assert [box.x1 for box in page.artefacts.drawn] == [3.0] and not anew(user)
            monkeypatch.setattr(page.artefacts, "in_force", [])

            def damaged(*_) -> None:
                raise QueryError("a table is damaged")

            monkeypatch.setattr(importlib.import_module("galaxy_assets.explorer.regions"), "preview", damaged)
            await page.artefacts.anew()
            assert page.artefacts.problem.text == "a table is damaged"

    asyncio.new_event_loop().run_until_complete(use())
