"""In a browser, over a survey that was run: a person's own image is searched for, and Dagster makes a new ranking.

Minutes, not seconds: Dagster is started for it.
"""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import dagster as dg
import numpy as np
import pytest
from PIL import Image

from galaxy_assets.cli.dagster_home import SETTINGS
from galaxy_assets.lake.similar import similar
from galaxy_assets.storage.layout import Layout
from galaxy_assets_tests.conftest import draw
from galaxy_assets_tests.explorer.browser import PATIENCE, dagster_serving, serving
from galaxy_assets_tests.explorer.conftest import Explored
from galaxy_assets_tests.explorer.test_browser import GALLERY, open_page, press_and_wait

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def root(world, tmp_path_factory) -> Path:
    """A copy of the tiny survey: these tests change it."""
    root = tmp_path_factory.mktemp("runs") / "data"
    shutil.copytree(world.root, root)
    return root


@pytest.fixture(scope="module")
def dagster(root, tmp_path_factory) -> Iterator[str]:
    """Address of a Dagster over the copy, with its daemon."""
    home = tmp_path_factory.mktemp("dagster")
    shutil.copy(SETTINGS, home)
    with dg.DagsterInstance.from_config(str(home)) as instance:
        instance.add_dynamic_partitions("tiny_batch", ["first", "second"])
    with dagster_serving(root, home) as (address, _):
        yield address


@contextmanager
def exploring(page, root: Path, dagster: str = "http://127.0.0.1:9") -> Iterator[Explored]:
    """The tiny survey, served; the page is left before the server ends."""
    with serving(root, dagster) as server:
        yield Explored(root, "tiny", server)
        page.goto("about:blank")


def test_an_image_of_ones_own_is_searched_for_and_what_is_none_is_refused_in_words(page, root, tmp_path):
    image = tmp_path / "mine.png"
    Image.fromarray(draw("long", np.random.default_rng(5))).save(image)
    expected = similar("tiny", files=[image], neighbours=3, root=root)["neighbour_id"].to_pylist()
    (tmp_path / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\nnot really")
    (tmp_path / "words.txt").write_text("no image")
    (tmp_path / "huge.png").write_bytes(b"\0" * 21_000_000)
    with exploring(page, root) as explored:
        open_page(page, explored)
        page.get_by_role("button", name="More like an image").click()
        upload = page.locator("input[type=file]")
        upload.set_input_files(tmp_path / "huge.png")
        page.wait_for_selector("text=not taken: an image file of up to 20 MB")
        upload.set_input_files(tmp_path / "broken.png")
        page.wait_for_selector("text=broken.png: damaged")
        page.get_by_role("button", name="Close").click()
        page.wait_for_selector(".ga-dialog", state="detached")
        page.get_by_role("button", name="More like an image").click()
        page.locator("input[type=file]").set_input_files(image)
        page.wait_for_function(
            "document.querySelector('.ga-count').textContent.includes('most like the image mine.png')"
        )
        cards = page.locator(f"{GALLERY} .ga-card")
        assert [cards.nth(i).get_attribute("data-galaxy") for i in range(3)] == expected


def test_a_new_ranking_is_made_by_dagster_followed_and_shown(page, root, dagster):
    layout = Layout(root)
    before = layout.table("tiny", "anomaly_ranking").stat().st_mtime_ns
    with exploring(page, root, dagster) as explored:
        open_page(page, explored, panel="score", order="rank")
        for key in "0505":
            press_and_wait(page, key)
        page.get_by_role("tab", name="Ranking").click()
        page.get_by_role("button", name="Rank anew").click()
        page.wait_for_selector(".ga-step:has-text('label_events')", timeout=120_000)
        page.reload()
        page.wait_for_selector(".ga-status:has-text('finished')", timeout=300_000)
        assert layout.table("tiny", "anomaly_ranking").stat().st_mtime_ns > before
        page.wait_for_selector("text=What moved")
        assert page.get_by_role("link", name="The run in Dagster").get_attribute("href").startswith(f"{dagster}/runs/")


def test_a_run_that_fails_says_why_with_a_link(page, root, dagster):
    layout = Layout(root)
    features = sorted((layout.lake / "tiny" / "pca_features").rglob("imagenet.parquet"))
    content = {file: file.read_bytes() for file in features}
    with exploring(page, root, dagster) as explored:
        open_page(page, explored, panel="ranking")
        for file in features:
            file.write_bytes(b"not a table")
        try:
            page.get_by_role("button", name="Rank anew").click()
            page.wait_for_selector(".ga-status:has-text('failed')", timeout=300_000)
            words = page.locator(".ga-problem.ga-pre").inner_text()
            assert "Parquet" in words and "tiny__" in words
            assert page.get_by_role("link", name="The run in Dagster").is_visible()
        finally:
            for file, before in content.items():
                file.write_bytes(before)


def test_an_asset_is_run_from_dagsters_own_page(browser, dagster):
    page = browser.new_page()
    page.set_default_timeout(PATIENCE)
    page.goto(f"{dagster}/assets/tiny/table_1")
    page.get_by_role("button", name="Materialize").first.click()
    page.wait_for_selector("text=/Launched run/")
    page.get_by_role("button", name="View").or_(page.get_by_role("link", name="View")).first.click()
    page.wait_for_selector("text=Success", timeout=240_000)
    page.close()
