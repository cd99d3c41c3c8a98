"""How good the representation is: every start and training seed of a survey, trained and judged as the assets do it.

    python benchmarks/representation.py DATA OUT sdss_gz1:imagenet:0 mirabest:imagenet:0 mirabest:sdss_gz1:0 ...

DATA holds sdss_gz1/ and mirabest/ as `make real` takes them. A task is survey:start:seed; each appends a row to
OUT/rows.jsonl (a row that is there is not computed again) and keeps its chosen checkpoint in OUT for tasks that start
from it. Labels are read after the epoch is chosen. Every image the cutout step renders is trained on: the artefact
step, which removes one image of these surveys, is left out.
"""

import json
import logging
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import yaml

from galaxy_assets import plugins
from galaxy_assets.cli.run import write_real_surveys
from galaxy_assets.deliveries.readers import open_reader
from galaxy_assets.orchestration.assets.cutouts import cut_chunk
from galaxy_assets.orchestration.assets.evaluation import balanced
from galaxy_assets.science import byol, health, votes
from galaxy_assets.science.cutouts import WITHOUT_PIXELS
from galaxy_assets.science.devices import choose_devices
from galaxy_assets.science.encoders.embedding import embed
from galaxy_assets.science.encoders.network import Encoder
from galaxy_assets.science.encoders.weights import build_encoder
from galaxy_assets.science.neighbours import knn_accuracies
from galaxy_assets.settings.files import survey_files
from galaxy_assets.settings.survey import Survey
from galaxy_assets.storage.checkpoints import StateFile, load_encoder, load_start, save_encoder
from galaxy_assets.storage.layout import Layout
from galaxy_assets.storage.pixels import PixelStack, PixelStore

SAMPLE = 1000


def cutouts(survey: Survey, folder: Path) -> tuple[PixelStack, pa.Table]:
    """The survey's pixels at the network's size and its catalogue with a column `row` of the images that have any."""
    reader = open_reader(survey.source, folder)
    (batch,) = reader.batches()
    catalogue = reader.catalogue(batch)
    rows, store = catalogue.to_pylist(), PixelStore(folder / survey.name)
    size = survey.cutout.size
    ledger = store.fill(
        batch,
        n=len(rows),
        shape=(size, size, 1 if survey.cutout.grey else 3),
        fingerprint=survey.cutout.fingerprint(),
        make=lambda r: cut_chunk(reader, [rows[i] for i in r], survey.cutout, ""),
    )
    drawn = ~np.isin(ledger["outcome"].to_numpy(zero_copy_only=False), list(WITHOUT_PIXELS))
    catalogue = catalogue.append_column("row", pa.array(np.arange(len(rows))))
    return store.stack([batch], survey.recipe.image_size), catalogue.filter(pa.array(drawn))


def task(survey: Survey, start: str, seed: int, folder: Path, out: Path) -> dict:
    """Train one start with one seed and judge the start, every baseline and the chosen epoch."""
    recipe = survey.recipe.model_copy(update={"seed": seed})
    pixels, galaxies = cutouts(survey, folder)
    rows, devices = galaxies["row"].to_numpy(), choose_devices()
    checkpoint = out / f"{start}_imagenet_{seed}.safetensors"
    if start in plugins.names("start_weights"):
        encoder = build_encoder(recipe.backbone, start, seed=seed, weights=folder / "weights")
    else:
        encoder = load_start(checkpoint, survey=start, backbone=recipe.backbone)
    sample = rows[np.random.default_rng(seed).permutation(len(rows))[:SAMPLE]]
    epochs: list[dict] = []
    name = f"{survey.name}_{start}_{seed}"
    began = time.monotonic()

    def keep(epoch: int, encoder: Encoder, **measured: float) -> None:
        save_encoder(encoder, folder / f"{name}_{epoch}.safetensors", {})
        measured |= health.measure(encoder, pixels, sample, recipe, devices[0]).asdict()
        epochs.append({"epoch": epoch, **measured})
        logging.info("%s: %s", name, epochs[-1])

    keep(0, encoder)
    byol.train(
        encoder,
        pixels,
        rows,
        recipe,
        freeze=recipe.freeze_statistics and start != "random",
        devices=devices,
        state=StateFile(folder / f"{name}.pt"),
        on_epoch=lambda result, trained: keep(encoder=trained, **result.asdict()),
    )
    chosen, reason = health.choose_epoch(epochs, recipe.epoch_choice)
    seconds = time.monotonic() - began

    subset = balanced(
        votes.evaluation_class(galaxies, survey.evaluation), survey.evaluation.maximum_per_class, survey.evaluation.seed
    )
    row_of = dict(zip(galaxies["galaxy_id"].to_pylist(), rows.tolist(), strict=True))
    judged = np.array([row_of[g] for g in subset["galaxy_id"].to_pylist()])
    labels = subset["evaluation_class"].to_numpy(zero_copy_only=False)

    def accuracy(features: np.ndarray) -> float:
        e = survey.evaluation
        found = knn_accuracies(
            features, labels, neighbours=e.neighbours, splits=e.splits, test_fraction=e.test_fraction, seed=e.seed
        )
        return round(float(found.mean()), 4)

    def embedded(epoch: int) -> float:
        network = load_encoder(folder / f"{name}_{epoch}.safetensors")
        return accuracy(embed(network, pixels, indices=judged, device=devices[0], orientations=recipe.orientations))

    (out / f"{name}.safetensors").write_bytes((folder / f"{name}_{chosen}.safetensors").read_bytes())
    return {
        "survey": survey.name,
        "start": start,
        "seed": seed,
        "galaxies": len(rows),
        "judged": len(judged),
        "accuracy": {epoch: embedded(epoch) for epoch in sorted({0, chosen, recipe.epochs})},
        "pixels": accuracy(pixels[judged].reshape(len(judged), -1).astype(np.float32)),
        "chosen": chosen,
        "reason": reason,
        "seconds": round(seconds),
        "epochs": epochs,
    }


def main() -> None:
    """Do the tasks of the command line."""
    data, out = Path(sys.argv[1]).resolve(), Path(sys.argv[2])
    out.mkdir(parents=True, exist_ok=True)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    done = out / "rows.jsonl"
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        write_real_surveys(data, Layout(folder))
        surveys = survey_files(folder).known
        for name, start, seed in (argument.split(":") for argument in sys.argv[3:]):
            finished = map(json.loads, done.read_text().splitlines()) if done.exists() else ()
            if any((row["survey"], row["start"], str(row["seed"])) == (name, start, seed) for row in finished):
                continue
            row = task(surveys[name], start, int(seed), folder, out)
            with done.open("a") as file:
                file.write(json.dumps(row) + "\n")
            print(yaml.safe_dump({k: v for k, v in row.items() if k != "epochs"}, sort_keys=False), flush=True)


if __name__ == "__main__":
    main()
