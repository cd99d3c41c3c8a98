"""A small real world, materialised by the command line, and the digest of every table it leaves.

    make golden DATA=<folder with sdss_gz1/ and mirabest/> OUT=<file>.json

Two commits that should give equal results are compared by running this on each, in a data folder of its own, and
comparing the two files; `--same-as` does both and says what differs. The world holds 60 SDSS images in two deliveries,
of which the second comes later, 60 sources of MiraBest, a small simulated radio survey, and what people edit: labels,
a review of the artefact regions and a worksheet of the clusters. It takes ten minutes on two cores.

Belongs here: the world and the digests, through the command line alone, so that it runs on any commit. Does not belong
here: anything that imports the package.
"""

import argparse
import hashlib
import json
import os
import pickle
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

import pyarrow as pa
import pyarrow.csv as arrow_csv
import pyarrow.parquet as pq
import yaml

RECIPE = {"preset": "small", "backbone": "tf_efficientnet_lite0", "image_size": 64, "epochs": 2, "batch_size": 16}
RECIPE |= {"train_random_from": 0}
BUDGET = {"seeds": 6, "per_round": 4, "budget": 18}
SDSS = {
    "extends": "sdss_gz1",
    "source": {"path": "sdss_gz1"},
    "recipe": RECIPE,
    "evaluation": {"splits": 10},
    "mixture": {"components": 5, "n_init": 2},
    "anomaly": BUDGET,
}
MIRABEST = {
    "extends": "mirabest",
    "cutout": {"method": "flux_radius", "source": "all", "enlarge": 1.6, "align": True},
    "start_weights": ["random", "imagenet", "sdss_gz1"],
    "recipe": RECIPE | {"rotation_maximum": 15, "contrast": 0.5, "noise": 0.1, "orientations": 4},
    "evaluation": {"splits": 10},
    "mixture": {"components": 5, "n_init": 2},
    "anomaly": BUDGET,
}
RADIO = {
    "extends": "demo_radio",
    "source": {"n_images": 60},
    "start_weights": ["random", "imagenet", "mirabest"],
    "recipe": RECIPE,
    "mixture": {"components": 5, "n_init": 2},
    "anomaly": BUDGET,
}
PER_BATCH = 6  # sources of each MiraBest batch


def write_world(data: Path, root: Path) -> None:
    """The three surveys' files and images; the second delivery of the SDSS survey waits in `later`."""
    labels = arrow_csv.read_csv(
        data / "sdss_gz1" / "labels.csv",
        convert_options=arrow_csv.ConvertOptions(column_types={"objid": pa.string()}),
    )
    by_class: dict[str, list[str]] = {}
    for row in labels.to_pylist():
        by_class.setdefault(row["class_name"], []).append(row["objid"])
    # galaxies of each class in turn, so that both deliveries hold every class
    chosen = [ids[i] for i in range(12) for ids in by_class.values()][:60]
    raw = root / "raw" / "sdss_gz1"
    for i, objid in enumerate(chosen):
        folder = raw / "images" / "first" if i < 30 else root / "later"
        folder.mkdir(parents=True, exist_ok=True)
        shutil.copy(data / "sdss_gz1" / "images" / f"{objid}.jpeg", folder)
    arrow_csv.write_csv(labels, raw / "labels.csv")
    write_mirabest(next((data / "mirabest").glob("*.tar.gz")), root / "raw" / "mirabest" / "batches")
    (root / "surveys").mkdir()
    for name, settings in [("sdss_gz1", SDSS), ("mirabest", MIRABEST), ("demo_radio", RADIO)]:
        (root / "surveys" / f"{name}.yaml").write_text(yaml.safe_dump(settings, sort_keys=False))
    rows = [
        f"{objid},{score},golden,2026-01-0{score + 1}T00:00"
        for objid, score in zip(chosen[:4], (5, 0, 3, 1), strict=True)
    ]
    (root / "labels" / "sdss_gz1").mkdir(parents=True)
    (root / "labels" / "sdss_gz1" / "people.csv").write_text("\n".join(["galaxy_id,score,who,time", *rows]) + "\n")


def write_mirabest(archive: Path, folder: Path) -> None:
    """The archive's batches, unpacked, with the first sources of each; a pickle of the project's own data folder."""
    folder.mkdir(parents=True)
    with tarfile.open(archive) as whole:
        for member in whole.getmembers():
            name = Path(member.name).name
            if not member.isfile():
                continue
            content = whole.extractfile(member).read()
            if name != "batches.meta":
                batch = pickle.loads(content, encoding="bytes")  # noqa: S301, the official archive
                content = pickle.dumps({k: v[:PER_BATCH] if len(v) > 50 else v for k, v in batch.items()})
            (folder / name).write_bytes(content)


def edit(root: Path) -> None:
    """What a person does after the first run: reviews the regions, names the clusters, and the next delivery comes."""
    made = pq.read_table(root / "lake" / "sdss_gz1" / "artefact_regions.parquet")
    review = made.slice(0, 1).to_pandas()
    if len(review):
        review["status"] = "accepted"
        review.to_csv(root / "surveys" / "sdss_gz1_artefacts.csv", index=False)
    template = root / "lake" / "sdss_gz1" / "worksheets" / "imagenet.csv"
    lines = template.read_text().splitlines()
    (root / "surveys" / "sdss_gz1_clusters.csv").write_text("\n".join(lines[:2]) + "\n")
    (root / "later").rename(root / "raw" / "sdss_gz1" / "images" / "second")


def run(root: Path, *arguments: str, **environment: str) -> str:
    """`galaxy-assets` over the world's data folder, with more in its environment; what it prints."""
    own = {"GALAXY_ASSETS_DATA": str(root), "DAGSTER_HOME": str(root / ".dagster")}
    command = [sys.executable, "-m", "galaxy_assets.cli", *arguments]
    done = subprocess.run(command, env=os.environ | own | environment, text=True, stdout=subprocess.PIPE, check=False)
    print(done.stdout, flush=True)
    return done.stdout


def digests(root: Path) -> dict[str, dict[str, str]]:
    """Per table of the lake: its data version, code version and method as its footer has them, and a digest of its
    columns and values, but for wall-clock times; and of every stored pixel file and checkpoint."""
    found = {}
    for path in sorted((root / "lake").rglob("*.parquet")):
        name = path.relative_to(root / "lake").as_posix()
        if "/." in f"/{name}" or path.stem == "deliveries":
            continue
        table = pq.ParquetFile(path).read()
        told = json.loads((table.schema.metadata or {}).get(b"galaxy_assets", b"{}"))
        kept = [c for c in table.column_names if c not in ("recorded", "time", "event", "started", "seconds")]
        rows = hashlib.sha256(json.dumps(table.select(kept).to_pylist(), default=str).encode()).hexdigest()[:16]
        columns = [f"{field.name}: {field.type}" for field in table.schema]
        found[name] = {"columns": "; ".join(columns), "rows": rows} | {
            k: told.get(k) for k in ("data", "code", "method")
        }
    for pattern in ("pixels/**/*.npy", "pixels/**/*.bin", "checkpoints/**/*.safetensors"):
        for path in sorted((root / "lake").glob(f"*/{pattern}")):
            content = hashlib.sha256(path.read_bytes()).hexdigest()[:16]
            found[path.relative_to(root / "lake").as_posix()] = {"bytes": content}
    return found


def main() -> None:
    """Make the world, or bring one up to date, and write its digests."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path, help="folder with sdss_gz1/ and mirabest/")
    parser.add_argument(
        "root", type=Path, help="data folder of the world; one that is there is only brought up to date"
    )
    parser.add_argument("out", type=Path, help="JSON of the digests")
    parser.add_argument("--same-as", type=Path, help="JSON of another commit; differences are printed and end in 1")
    given = parser.parse_args()
    names = ["sdss_gz1", "mirabest", "demo_radio"]
    if not given.root.exists():
        write_world(given.data, given.root)
        run(given.root, "run", *names)
        edit(given.root)
        run(given.root, "run", *names)
    print(run(given.root, "status", *names))
    found = digests(given.root)
    given.out.write_text(json.dumps(found, indent=1) + "\n")
    if given.same_as:
        before = json.loads(given.same_as.read_text())
        differ = {n for n in before.keys() | found.keys() if before.get(n) != found.get(n)}
        for name in sorted(differ):
            print(f"{name}: {before.get(name)} -> {found.get(name)}")
        print(f"{len(found) - len(differ & found.keys())} of {len(before)} are equal")
        sys.exit(bool(differ))


if __name__ == "__main__":
    main()
