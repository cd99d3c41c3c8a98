"""The whole main job on a simulated survey in the official layout, of two sizes or more: what grows how.

    python benchmarks/rehearsal.py N [N ...] [--folder FOLDER] [--page FILE.md]

Each size is a survey as Galaxy Zoo DECaLS is delivered: four zips of PNG and the volunteers' table as Parquet, with the
settings of `gz_decals` and small networks of random weights, so that nothing but the networks is smaller than the
paper's. Two thousand galaxies are simulated; an image is one of them in one of eight orientations, with a brightness
and noise of its own, and so is its row of votes. It prints seconds, those of the processor, the process's memory and
the bytes kept of every asset, and the exponents with which the seconds of the processor, which others on the machine
hardly change, grow from the smallest size to the largest. Stopped and started again, it goes on where it was.

Belongs here: the survey, and what its steps took. Does not belong here: single steps at larger sizes
(`survey_at_scale`), speed beside other tools (`run`).
"""

import argparse
import json
import math
import os
import tempfile
import threading
import time
import zipfile
from collections import defaultdict
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cv2
import dagster as dg
import numpy as np
import psutil
import pyarrow as pa
import pyarrow.parquet as pq
import yaml
from pyarrow import csv

from galaxy_assets.definitions import build_defs
from galaxy_assets.orchestration.engines import in_process
from galaxy_assets.settings.files import survey_files
from galaxy_assets.simulation.surveys import VOLUNTEER_TABLE, simulate_optical
from galaxy_assets.storage.files import replacing

SURVEY, BACKBONE = "rehearsal", "test_efficientnet"
DRAWN, SIDE, PARTS = 2000, 212, 4
MOST, LEAST_SECONDS = 1.15, 20.0
"""Exponent above which a step grows badly, and the seconds below which that is not asked."""
SETTINGS = {
    "extends": "gz_decals",
    "name": SURVEY,
    "source": {"path": SURVEY},
    "cutout": {"size": 64},
    "start_weights": ["imagenet"],
    "recipe": {"preset": "small", "backbone": BACKBONE, "image_size": 32, "epochs": 2},
}


def prepare(root: Path, n: int, drawn: Path) -> None:
    """Write the survey of n images, its settings and its network, whole or not at all."""
    import timm
    import torch
    from safetensors.torch import save_file

    for name in ("raw", "surveys", "weights"):
        (root / name).mkdir(parents=True, exist_ok=True)
    (root / "surveys" / f"{SURVEY}.yaml").write_text(yaml.safe_dump(SETTINGS))
    torch.manual_seed(7)
    save_file(timm.create_model(BACKBONE, pretrained=False).state_dict(), root / f"weights/{BACKBONE}.safetensors")
    home = root / "raw" / SURVEY
    if home.exists():
        return
    simulate_optical(drawn, batches=["all"], n_images=DRAWN, seed=1)
    files = sorted((drawn / "all").rglob("*.png"))
    originals = [cv2.resize(cv2.imread(str(path)), (SIDE, SIDE), interpolation=cv2.INTER_AREA) for path in files]
    votes, names = csv.read_csv(drawn / VOLUNTEER_TABLE), [name_of(i) for i in range(n)]
    rows = {name: i for i, name in enumerate(votes["iauname"].to_pylist())}
    with tempfile.TemporaryDirectory(dir=root / "raw", prefix=".") as folder:
        beside = Path(folder) / SURVEY
        beside.mkdir()
        for part, numbers in enumerate(np.array_split(np.arange(n), PARTS), 1):
            write_part(beside / f"gz_decals_dr5_png_part{part}.zip", originals, names, numbers)
        seen = [(i, rows[stem]) for i in range(n) if (stem := files[i % DRAWN].stem) in rows]
        table = votes.take(pa.array([row for _, row in seen]))
        positions = {"iauname": [names[i] for i, _ in seen], "ra": [ra_of(i) for i, _ in seen]}
        for column, values in (positions | {"dec": [dec_of(i) for i, _ in seen]}).items():
            table = table.set_column(table.column_names.index(column), column, pa.array(values))
        pq.write_table(table, beside / Path(VOLUNTEER_TABLE).with_suffix(".parquet").name)
        beside.rename(home)


def ra_of(number: int) -> float:
    """Right ascension in degrees, another one for every image."""
    return number % 86_400 * 15 / 3600


def dec_of(number: int) -> float:
    """Declination in degrees."""
    return number // 86_400 + 0.5


def name_of(number: int) -> str:
    """The IAU name of an image."""
    seconds = number % 86_400
    position = f"{seconds // 3600:02d}{seconds // 60 % 60:02d}{seconds % 60:05.2f}"
    return f"J{position}+{int(dec_of(number)):02d}3000.0"


def write_part(path: Path, originals: list[np.ndarray], names: list[str], numbers: np.ndarray) -> None:
    """Write the zip of some images."""

    def png(number: int) -> bytes:
        rng, image = np.random.default_rng([1, number]), originals[number % len(originals)]
        turned = np.rot90(image if number // len(originals) % 2 else image[:, ::-1], rng.integers(4))
        noisy = turned * rng.uniform(0.8, 1.1) + rng.normal(0, 2, turned.shape)
        whole, encoded = cv2.imencode(".png", noisy.clip(0, 255).astype(np.uint8), [cv2.IMWRITE_PNG_COMPRESSION, 1])
        assert whole
        return encoded.tobytes()

    with zipfile.ZipFile(path, "w") as archive, ThreadPoolExecutor(2) as pool:
        for block in np.array_split(numbers, max(1, len(numbers) // 500)):
            for number, data in zip(block, pool.map(png, block.tolist()), strict=True):
                archive.writestr(f"{path.stem}/{names[number][:4]}/{names[number]}.png", data)


def watch(path: Path, stop: threading.Event) -> None:
    """Write the moment, the resident memory and the seconds of the processor of this process, five times a second,
    until told to stop. Where it is begun again the seconds go on from the last line.
    """
    process, before = psutil.Process(), 0.0
    if path.exists() and (lines := path.read_text().splitlines()):
        before = float(lines[-1].split()[2])
    with path.open("a") as lines:
        while not stop.wait(0.2):
            processor = before + sum(process.cpu_times()[:4])  # its own and its children's, user and system
            lines.write(f"{time.time():.2f} {process.memory_info().rss} {processor:.2f}\n")


def make(root: Path) -> None:
    """Run what is not made yet, or end in an error where something cannot be made."""
    (root / "dagster").mkdir(exist_ok=True)
    stop, known = threading.Event(), survey_files(root).known
    watching = threading.Thread(target=watch, args=(root / "watched.txt", stop))
    watching.start()
    try:
        with dg.DagsterInstance.local_temp(str(root / "dagster")) as instance:
            for outcome in in_process.run_survey(build_defs(root), known[SURVEY], known, instance, root):
                told = (
                    f"{outcome.status:8s}{', '.join(outcome.assets)} {outcome.partition or ''} {outcome.seconds:.0f} s"
                )
                print(told, outcome.error, flush=True)
                if outcome.status == "failed":
                    raise SystemExit(1)
    finally:
        stop.set()
        watching.join()


def steps(root: Path) -> Iterable[tuple[str, float, float]]:
    """Asset, first and last second of every step that succeeded."""
    with dg.DagsterInstance.local_temp(str(root / "dagster")) as instance:
        for run in instance.get_runs():
            begun = {}
            for entry in instance.all_logs(run.run_id):
                event = entry.dagster_event
                if event is None or event.step_key is None:
                    continue
                if event.is_step_start:
                    begun[event.step_key] = entry.timestamp
                elif event.is_step_success:
                    yield event.step_key.split("__")[-1], begun[event.step_key], entry.timestamp


def measured(root: Path) -> dict[str, dict[str, float]]:
    """Seconds, those of the processor, largest resident bytes and bytes kept, by asset."""
    watched = np.loadtxt(root / "watched.txt", ndmin=2)
    found: dict[str, dict[str, float]] = defaultdict(lambda: {"seconds": 0.0, "processor": 0.0, "memory": 0.0})
    for asset, begin, end in steps(root):
        within = watched[(watched[:, 0] >= begin) & (watched[:, 0] <= end + 0.2), 1]
        found[asset]["seconds"] += end - begin
        found[asset]["processor"] += float(np.subtract(*np.interp([end, begin], watched[:, 0], watched[:, 2])))
        found[asset]["memory"] = max(found[asset]["memory"], within.max(initial=0))
    home = root / "lake" / SURVEY
    for asset, row in found.items():
        places = [home / asset, home / f"{asset}.parquet", *home.glob(f"{asset}.*")]
        files = {one for place in places for one in ([place] if place.is_file() else place.rglob("*"))}
        row["bytes"] = float(sum(one.stat().st_size for one in files if one.is_file()))
    return dict(found)


def report(results: dict[int, dict[str, dict[str, float]]]) -> tuple[str, list[str]]:
    """A Markdown table of all sizes, and the assets whose seconds of the processor grow by more than they may."""
    least, most = min(results), max(results)
    head = [f"{what}, {n:,}" for n in sorted(results) for what in ("s", "of the processor", "MB in memory", "MB kept")]
    lines = ["| asset | " + " | ".join([*head, "exponent"]) + " |", "|---" * (len(head) + 2) + "|"]
    bad = []
    for asset, largest in sorted(results[most].items(), key=lambda one: -one[1]["processor"]):
        cells = []
        for n in sorted(results):
            row = results[n].get(asset, {})
            cells += [f"{row.get(name, math.nan):.1f}" for name in ("seconds", "processor")]
            cells += [f"{row.get(name, math.nan) / 1e6:.1f}" for name in ("memory", "bytes")]
        exponent, before = math.nan, results[least].get(asset)
        if before and most > least and min(before["processor"], largest["processor"]) > 0:
            exponent = math.log(largest["processor"] / before["processor"]) / math.log(most / least)
        if exponent > MOST and largest["processor"] > LEAST_SECONDS:
            bad.append(asset)
        lines.append(f"| `{asset}` | " + " | ".join([*cells, f"{exponent:.2f}"]) + " |")
    return "\n".join(lines), bad


def main() -> None:
    """Make every size, and report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sizes", type=int, nargs="+", metavar="N")
    parser.add_argument("--folder", type=Path, default=Path(os.environ.get("GALAXY_ASSETS_DATA", "data"), "rehearsal"))
    parser.add_argument("--page", type=Path, help="Markdown file to write")
    given = parser.parse_args()
    results = {}
    for n in sorted(given.sizes):
        root = given.folder.resolve() / str(n)
        kept = root / "measured.json"
        if not kept.exists():
            os.environ["GALAXY_ASSETS_DATA"] = str(root)
            prepare(root, n, given.folder / "drawn")
            make(root)
            with replacing(kept) as partial:
                partial.write_text(json.dumps(measured(root)))
        results[n] = json.loads(kept.read_text())
    table, bad = report(results)
    print(table)
    print(f"\ngrow by more than N^{MOST}: {', '.join(bad) or 'none'}")
    if given.page:
        given.page.write_text(table + "\n")


if __name__ == "__main__":
    main()
