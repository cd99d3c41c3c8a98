"""The explorer at a survey's size: how long a person waits, and what the server holds, in a real browser.

    python benchmarks/explorer.py [--galaxies 232000 1000000] [--chromium /usr/bin/chromium] [--folder FOLDER]

Makes a synthetic survey in the lake's layout for each size (kept in FOLDER, else a temporary one), serves it by
`galaxy-assets explore`, drives Chromium without a screen and prints a table. Times are those that the page's user would
see: from the address to the drawn map, from the end of a lasso to the gallery's pictures, from a key to the next
picture. Memory is the server's anonymous memory (RssAnon), which leaves out the mapped pixels.
"""

import argparse
import json
import os
import platform
import signal
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

import numpy as np
import pyarrow as pa
import yaml

from galaxy_assets.storage.layout import Layout
from galaxy_assets.storage.tables import vectors_to_column, write_table

SIDE = 32
CLUSTERS = 20
COMPONENTS = 29
ASKED = {232_000: (3.0, 1.0, 0.1, 300), 1_000_000: (5.0, 2.0, 0.1, 500)}
PORT = 8561
FLAGS = ["--no-sandbox", "--use-gl=angle", "--use-angle=swiftshader", "--enable-unsafe-swiftshader"]


def write_survey(root: Path, name: str, n: int) -> None:
    """A survey of `n` galaxies in one delivery, as a finished run leaves it: map, clusters, ranking, catalogue,
    features, and small cutouts of which a thousand repeat."""
    layout, rng = Layout(root), np.random.default_rng(0)
    layout.surveys.mkdir(parents=True, exist_ok=True)
    settings = {
        "name": name,
        "title": f"Synthetic, {n:,} galaxies",
        "description": "Random.",
        "source": {"reader": "image_folder", "path": name},
        "start_weights": ["imagenet"],
    }
    (layout.surveys / f"{name}.yaml").write_text(yaml.safe_dump(settings))
    if layout.table(name, "anomaly_ranking").exists():
        return
    ids = pa.array([f"J{i:018d}" for i in rng.permutation(n)])
    batch, init = pa.array(["all"] * n).dictionary_encode().cast(pa.string()), pa.array(["imagenet"] * n)
    cluster = rng.choice(CLUSTERS, n, p=(p := 1 / np.arange(1, CLUSTERS + 1)) / p.sum()).astype(np.int32)
    centres = rng.normal(0, 6, (CLUSTERS, 2))
    xy = (centres[cluster] + rng.normal(0, 1.2, (n, 2))).astype(np.float32)
    score, std = rng.gamma(1, 0.6, n).clip(0, 5), rng.uniform(0.1, 1.5, n)
    rank = np.empty(n, np.int64)
    rank[np.argsort(-score, kind="stable")] = np.arange(1, n + 1)
    first = {"galaxy_id": ids, "batch": batch}
    none = pa.nulls(n, pa.string())
    tables = {
        ("catalogue", "all"): {
            **first,
            "file": ids,
            "sha256": none,
            "width": np.full(n, SIDE, np.int32),
            "height": np.full(n, SIDE, np.int32),
            "ra": rng.uniform(0, 360, n),
            "dec": rng.uniform(-20, 80, n),
            "label": none,
            "problem": none,
            "reason": none,
        },
        ("cutouts", "all"): {
            **first,
            "outcome": pa.array(["cropped"] * n),
            "box_x0": np.zeros(n, np.int32),
            "box_y0": np.zeros(n, np.int32),
            "box_x1": np.full(n, SIDE, np.int32),
            "box_y1": np.full(n, SIDE, np.int32),
            "angle": np.zeros(n),
            "noise_std": rng.gamma(2, 1, n),
            "threshold": rng.gamma(2, 4, n),
            "contour_area": rng.gamma(2, 200, n),
            "reason": none,
            "pixels": pa.array(["synthetic"] * n),
        },
        ("umap", "imagenet"): {**first, "init": init, "x": xy[:, 0], "y": xy[:, 1]},
        ("cluster_labels", "all", "imagenet"): {
            **first,
            "init": init,
            "cluster": cluster,
            "probability": rng.uniform(0.3, 1, n),
        },
        ("anomaly_ranking",): {
            **first,
            "score": score,
            "score_std": std,
            "rank": rank,
            "queried_round": pa.nulls(n, pa.int32()),
        },
        ("pca_features", "all", "imagenet"): {
            **first,
            "init": init,
            "vector": vectors_to_column(rng.normal(size=(n, COMPONENTS)).astype(np.float32)),
        },
    }
    folder = layout.pixels(name) / "all"
    (folder / "rows").mkdir(parents=True, exist_ok=True)
    pixels = np.lib.format.open_memmap(folder / "cutouts.npy", mode="w+", dtype=np.uint8, shape=(n, SIDE, SIDE, 3))
    y, x = np.mgrid[:SIDE, :SIDE] - SIDE / 2
    widths, tints = rng.uniform(2, 8, (1000, 2)), rng.uniform(0.5, 1, (1000, 3))
    few = (255 * np.exp(-((x / widths[:, :1, None]) ** 2) - (y / widths[:, 1:, None]) ** 2))[..., None] * tints[
        :, None, None
    ]
    for start in range(0, n, 1000):
        pixels[start : start + 1000] = few[: min(1000, n - start)].astype(np.uint8)
    pixels.flush()
    content = {"n": n, "shape": [SIDE, SIDE, 3], "fingerprint": "synthetic", "chunk": 1000}
    (folder / "content.json").write_text(json.dumps(content))
    for place, columns in tables.items():  # the ranking last but one: it says that all before it is whole
        write_table(pa.table(columns), layout.table(name, *place))


def anonymous_megabytes(pid: int) -> float:
    """RssAnon of a process."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("RssAnon")) / 1024


def measure(root: Path, name: str, chromium: str) -> dict[str, float]:
    """Serve one survey and drive it."""
    from playwright.sync_api import sync_playwright

    environment = os.environ | {"GALAXY_ASSETS_DATA": str(root)}
    command = [sys.executable, "-m", "galaxy_assets.cli", "explore", "--no-browser", "--port", str(PORT)]
    server = subprocess.Popen(command, env=environment, start_new_session=True)
    found: dict[str, float] = {"load of the machine before": os.getloadavg()[0]}
    try:
        begin = time.perf_counter()
        while True:
            try:
                urllib.request.urlopen(f"http://127.0.0.1:{PORT}/?survey=none", timeout=2).read()
                break
            except OSError:
                if server.poll() is not None or time.perf_counter() - begin > 60:
                    raise
                time.sleep(0.1)
        found["server start, s"] = time.perf_counter() - begin
        found["memory before, MB"] = anonymous_megabytes(server.pid)
        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=chromium, args=FLAGS)
            page = browser.new_page(viewport={"width": 1600, "height": 900})
            for which in ("first", "second"):
                begin = time.perf_counter()
                page.goto(f"http://127.0.0.1:{PORT}/?survey={name}")
                page.wait_for_selector(".ga-map[data-drawn]", timeout=120_000)
                found[f"{which} opening to map drawn, s"] = time.perf_counter() - begin
                page.wait_for_selector(".ga-card img", timeout=120_000)
            page.wait_for_timeout(1500)
            found["memory with the map, MB"] = anonymous_megabytes(server.pid)
            found["lasso to gallery, s"], found["galaxies in the lasso"] = _lasso(page)
            found["memory after the lasso, MB"] = anonymous_megabytes(server.pid)
            found |= _score(page)
            found["memory at the end, MB"] = anonymous_megabytes(server.pid)
            browser.close()
    finally:
        os.killpg(server.pid, signal.SIGTERM)
        server.wait(20)
    return found


def _lasso(page) -> tuple[float, float]:
    """Draw around the middle of the map; until the pictures that the gallery then shows are loaded."""
    box = page.locator(".ga-plot").bounding_box()
    page.get_by_role("button", name="Lasso").click()
    x, y, w, h = box["x"], box["y"], box["width"], box["height"]
    corners = [(0.42, 0.42), (0.58, 0.42), (0.58, 0.58), (0.42, 0.58), (0.42, 0.44)]
    shows = int(page.locator(".ga-gallery").first.get_attribute("data-shows") or 0)
    page.mouse.move(x + corners[0][0] * w, y + corners[0][1] * h)
    page.mouse.down()
    for cx, cy in corners[1:]:
        page.mouse.move(x + cx * w, y + cy * h, steps=12)
    begin = time.perf_counter()
    page.mouse.up()
    page.wait_for_function(
        """(before) => { const g = document.querySelector('.ga-gallery');
        if (!(Number(g.dataset.shows) > before)) return false;
        const seen = [...g.querySelectorAll('img')].slice(0, 20);
        return seen.length > 0 && seen.every((i) => i.complete && i.naturalWidth > 0); }""",
        arg=shows,
        timeout=60_000,
    )
    seconds = time.perf_counter() - begin
    return seconds, float(page.locator(".ga-gallery").first.get_attribute("data-total"))


def _score(page, times: int = 20) -> dict[str, float]:
    """Press a key and wait for the next galaxy's picture, in the page itself: no driver between."""
    page.get_by_role("tab", name="Score").click()
    page.wait_for_function("document.querySelector('[data-shown]')?.naturalWidth > 0")
    waits = page.evaluate(
        """async (times) => {
        const image = () => document.querySelector('[data-shown]'), waits = [];
        for (let i = 0; i < times; i++) {
          const before = image().dataset.shown, begin = performance.now();
          document.body.dispatchEvent(new KeyboardEvent('keydown', { key: String(i % 6), bubbles: true }));
          const there = () => image().dataset.shown !== before && image().complete && image().naturalWidth;
          while (!there()) await new Promise((r) => setTimeout(r, 1));
          await image().decode();
          waits.push(performance.now() - begin);
          await new Promise((r) => setTimeout(r, 150));
        }
        return waits; }""",
        times,
    )
    return {"key to next, median, ms": statistics.median(waits), "key to next, worst, ms": max(waits)}


def main() -> None:
    """Measure every size and print one table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--galaxies", type=int, nargs="+", default=[232_000, 1_000_000])
    parser.add_argument("--chromium", default="/usr/bin/chromium")
    parser.add_argument("--folder", type=Path)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        columns = {}
        for n in arguments.galaxies:
            root = (arguments.folder or Path(temporary)) / f"explorer_{n}"
            write_survey(root, f"synthetic_{n}", n)
            columns[n] = measure(root, f"synthetic_{n}", arguments.chromium)
    print(
        f"\n{platform.processor() or platform.machine()}, {os.cpu_count()} cores, Chromium without a GPU, one run each"
    )
    print(f"{'':34}" + "".join(f"{n:>14,}" for n in columns))
    for row in next(iter(columns.values())):
        print(f"{row:34}" + "".join(f"{found[row]:>14,.2f}" for found in columns.values()))
    for n, found in columns.items():
        if n in ASKED:
            drawn, gallery, key, memory = ASKED[n]
            kept = [
                found["first opening to map drawn, s"] <= drawn,
                found["lasso to gallery, s"] <= gallery,
                found["key to next, median, ms"] <= 1000 * key,
                found["memory at the end, MB"] <= memory,
            ]
            print(f"{n:,}: map within {drawn:g} s, gallery {gallery:g} s, key {key:g} s, {memory} MB: {kept}")


if __name__ == "__main__":
    main()
