"""What the artefact step removes from surveys of which every image has a label, each made as a user makes one.

    python benchmarks/artefact_losses.py DATA OUT [set ...]

DATA holds folders `<set>/images` with `<set>/labels.csv`, and `mirabest/` with the official archive, whose images are
written as PNG first. Each set is a data folder of its own below OUT: `survey new`, then the main job up to
`clean_galaxies`; nothing is trained. What is there is kept, so that a set that was stopped goes on. `hostile` is
made here: the MiraBest and NVSS stamps, each scaled so that its brightest pixels saturate, in 88 % of them more than
a twentieth of the stamp.

A line of JSON per set: images, labelled ones with pixels, suspects by reason, what is removed by which rule, and what
would be removed by a rule and is kept.
"""

import csv
import json
import logging
import os
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import dagster as dg
import numpy as np
import pyarrow as pa
from PIL import Image

from galaxy_assets.definitions import build_defs
from galaxy_assets.deliveries.readers import open_reader
from galaxy_assets.orchestration.engines.in_process import run_survey
from galaxy_assets.science.cutouts import WITHOUT_PIXELS
from galaxy_assets.settings.files import SHIPPED, read_survey, survey_files
from galaxy_assets.storage.layout import Layout
from galaxy_assets.storage.tables import lookup, read_table

SETS = "sdss_gz1 mirabest decals_rings gz2_spirals hubble_dso aries_stars frdeep_nvss hostile".split()
_SATURATED = 0.88  # share of the hostile stamps that saturate


def write_images(folder: Path, images: dict[str, np.ndarray], labels: dict[str, str]) -> None:
    """A folder of PNG with `labels.csv` beside it."""
    (folder / "images").mkdir(parents=True)
    for name, image in images.items():
        Image.fromarray(image).save(folder / "images" / f"{name}.png")
    with (folder / "labels.csv").open("w", newline="") as file:
        csv.writer(file).writerows([("id", "label"), *labels.items()])


def mirabest(data: Path, folder: Path) -> None:
    """MiraBest's official archive as PNG."""
    source = read_survey(SHIPPED / "mirabest.yaml").source.model_copy(update={"path": str(data / "mirabest")})
    reader, images, labels = open_reader(source, data), {}, {}
    for batch in reader.batches():
        for row in reader.catalogue(batch).to_pylist():
            images[row["galaxy_id"]] = np.squeeze(reader.image(row["file"]))
            labels[row["galaxy_id"]] = row["label"]
    write_images(folder, images, labels)


def hostile(data: Path, folder: Path) -> None:
    """Radio stamps scaled by a percentile of their own: most of the map is at 255 in many of them."""
    rng, images, labels = np.random.default_rng(0), {}, {}
    stamps = sorted([*(folder.parent / "mirabest").glob("images/*.png"), *(data / "frdeep_nvss/images").iterdir()])
    for path in stamps:
        stamp = np.asarray(Image.open(path).convert("L")).astype(float)
        stamp += rng.normal(0, 1, stamp.shape)  # a sky of zeros has no percentile
        share = rng.uniform(0.06, 0.3) if rng.random() < _SATURATED else rng.uniform(0.001, 0.04)
        low, high = np.quantile(stamp, [0.01, 1 - share])
        images[path.stem] = np.rint((stamp - low) / (high - low) * 255).clip(0, 255).astype(np.uint8)
        labels[path.stem] = "radio"
    write_images(folder, images, labels)


def onboard(name: str, images: Path, labels: Path, root: Path) -> None:
    """`survey new` in a data folder of its own."""
    if not (Layout(root).surveys / f"{name}.yaml").exists():
        command = [sys.executable, "-m", "galaxy_assets.cli", "survey", "new", name]
        command += ["--images", str(images), "--labels", str(labels)]
        subprocess.run(command, check=True, env=os.environ | {"GALAXY_ASSETS_DATA": str(root)}, stdout=sys.stderr)


def losses(name: str, root: Path) -> dict:
    """Run a survey's main job up to the clean galaxies, and count."""
    files, layout, began = survey_files(root), Layout(root), time.monotonic()
    survey, cleaned = files.named(name), 0
    made = run_survey(build_defs(root), survey, files.known, dg.DagsterInstance.ephemeral(), root)
    for outcome in made:
        logging.info("%s: %s %s %s", name, outcome.status, ", ".join(outcome.assets), outcome.error)
        cleaned += "clean_galaxies" in outcome.assets
        if cleaned == len(list((layout.lake / name / "catalogue").glob("[!.]*.parquet"))) > 0:
            break
    made.close()

    def table(asset: str) -> pa.Table:
        paths = sorted((layout.lake / name / asset).glob("[!.]*.parquet"))
        return pa.concat_tables([read_table(path) for path in paths], promote_options="permissive")

    clean, mapped = table("clean_galaxies").to_pylist(), table("artefact_map")
    label, outcome = lookup(table("catalogue"), "label"), lookup(table("cutouts"), "outcome")
    shown = [row for row in clean if outcome[row["galaxy_id"]] not in WITHOUT_PIXELS]
    labelled = [row for row in shown if label[row["galaxy_id"]]]
    removed = [row for row in labelled if not row["kept"]]
    reasons = Counter(one for reason in mapped["reason"].to_pylist() if reason for one in reason.split(", "))
    return {
        "set": name,
        "images": len(clean),
        "labelled": len(labelled),
        "suspect": sum(mapped["suspect"].to_pylist()),
        "reasons": dict(reasons),
        "removed": len(removed),
        "removed_share": round(len(removed) / max(len(labelled), 1), 4),
        "removed_classes": dict(Counter(label[row["galaxy_id"]] for row in removed)),
        "by": dict(Counter(row["rule"] for row in removed)),
        "kept_against": dict(Counter(row["rule"] for row in shown if row["kept"] and row["rule"])),
        "seconds": round(time.monotonic() - began),
    }


def main() -> None:
    """Count the sets of the command line, all of them by default."""
    data, out = Path(sys.argv[1]).resolve(), Path(sys.argv[2]).resolve()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    for name in sys.argv[3:] or SETS:
        folder = data / name
        if name in ("mirabest", "hostile"):
            folder = out / "raw" / name
            if not folder.exists():
                {"mirabest": mirabest, "hostile": hostile}[name](data, folder)
        onboard(f"new_{name}", folder / "images", folder / "labels.csv", out / name)
        print(json.dumps(losses(f"new_{name}", out / name)), flush=True)


if __name__ == "__main__":
    main()
