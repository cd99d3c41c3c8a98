"""Pictures of the site and the README, from the demo's finished lake: `make screenshots`.

The explorer is opened in Chromium, which must be installed; figures are those that the survey drew. Each file is below
300 kB.

Belongs here: which pictures there are. Does not belong here: drawing any.
"""

import sys
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING

from PIL import Image

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from galaxy_assets.lake import connect  # noqa: E402
from galaxy_assets.settings.root import data_root  # noqa: E402
from galaxy_assets.storage.layout import Layout  # noqa: E402
from galaxy_assets_tests.explorer.browser import FLAGS, PATIENCE, chromium, serving  # noqa: E402

if TYPE_CHECKING:
    from playwright.sync_api import Page

PICTURES = Path(__file__).parent / "pictures"
SURVEY = "demo_optical"
FIGURES = ("figure_01", "figure_03", "figure_04", "figure_08", "figure_09", "figure_11")
WIDEST, LARGEST = 1400, 300_000


def write(image: Image.Image, name: str) -> None:
    """Write a picture as JPEG, in the best quality that keeps it below LARGEST bytes."""
    image = image.convert("RGB")
    if image.width > WIDEST:
        image = image.resize((WIDEST, round(image.height * WIDEST / image.width)), Image.Resampling.LANCZOS)
    for quality in range(92, 30, -4):
        made = BytesIO()
        image.save(made, "JPEG", quality=quality, optimize=True, progressive=True)
        if made.tell() < LARGEST:
            break
    (PICTURES / f"{name}.jpg").write_bytes(made.getvalue())
    print(f"{name}.jpg: {made.tell() / 1000:.0f} kB, quality {quality}")


def figures(layout: Layout) -> None:
    """The survey's own pictures of the paper's figures."""
    for name in FIGURES:
        with Image.open(layout.figure(SURVEY, name)) as image:
            write(image, name)


def photograph(page: "Page", name: str) -> None:
    """What the tab shows."""
    page.wait_for_timeout(1500)
    write(Image.open(BytesIO(page.screenshot())), name)


def explorer(root: Path) -> None:
    """The explorer with its gallery, and a galaxy of the top of the ranking with those like it."""
    from playwright.sync_api import sync_playwright

    [(best,)] = connect(root).sql(f"select galaxy_id from {SURVEY}.anomaly_ranking order by rank limit 1").fetchall()
    with serving(root) as server, sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=chromium(), args=FLAGS)
        page = browser.new_page(viewport={"width": 1400, "height": 860}, device_scale_factor=1)
        page.set_default_timeout(PATIENCE)
        page.goto(f"{server.url}/?survey={SURVEY}&panel=gallery")
        page.wait_for_selector(".ga-map[data-drawn]")
        page.wait_for_function("document.querySelector('.ga-gallery')?.dataset.shows > 0")
        photograph(page, "explorer")
        page.locator(f'.ga-card[data-id="{best}"], .ga-gallery .ga-card').first.click()
        page.wait_for_selector(".ga-near .ga-card")
        photograph(page, "galaxy")
        browser.close()


def main() -> None:
    """Write all pictures."""
    root = data_root()
    PICTURES.mkdir(exist_ok=True)
    figures(Layout(root))
    explorer(root)


if __name__ == "__main__":
    main()
