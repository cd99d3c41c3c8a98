"""What each reading of the paper changes on real data: outcomes, boxes, pixels and accuracy, against one base.

    python benchmarks/fidelity.py DATA OUT [sdss_gz1 mirabest gz_decals_sample training frames artefacts maps borders]

DATA holds the folders named, those that are absent are left out. Every row is appended to OUT/fidelity.jsonl and not
computed again. The numbers of docs/fidelity.md are from here. An accuracy is that of the pretrained EfficientNet-Lite0
at 96 pixels and one orientation, by the survey's own evaluation; `training` and `borders` train at 64 pixels for two
epochs, `frames` and `artefacts` show the pretrained network what Astronomaly shows it, `maps` leaves the principal
components out.

The base cuts as the paper does on Galaxy Zoo DECaLS, also the surveys that are shipped with another framing.
"""

import json
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from unittest import mock

import cv2
import numpy as np
from sklearn.manifold import trustworthiness
from sklearn.neighbors import NearestNeighbors

from galaxy_assets.deliveries.readers import open_reader
from galaxy_assets.orchestration.assets.evaluation import balanced
from galaxy_assets.plugins.protocols import Reader
from galaxy_assets.science import artefact_regions, artefacts, augmentation, byol, pca, votes
from galaxy_assets.science.cutouts import cut
from galaxy_assets.science.devices import choose_devices
from galaxy_assets.science.encoders.embedding import embed
from galaxy_assets.science.encoders.framing import AstronomalyFrame
from galaxy_assets.science.encoders.network import Encoder
from galaxy_assets.science.encoders.weights import LITE0, build_encoder
from galaxy_assets.science.neighbours import knn_accuracies
from galaxy_assets.science.projection import umap_xy
from galaxy_assets.settings.cutouts import CutoutSettings
from galaxy_assets.settings.files import survey_files
from galaxy_assets.settings.recipe import Recipe
from galaxy_assets.settings.survey import Survey
from galaxy_assets.storage.checkpoints import StateFile

SIZE, TRAINED_SIZE, SEEDS = 96, 64, 2
READINGS: dict[str, dict] = {
    "base": {},
    "threshold: astronomaly": {"threshold": "astronomaly"},
    "channel: mean": {"channel": "mean"},
    "contour: astronomaly": {"contour": "astronomaly"},
    "threshold and contour: astronomaly": {"threshold": "astronomaly", "contour": "astronomaly"},
    "square: false": {"square": False},
    "enlarge: 1": {"enlarge": 1.0},
    "clamp: trim": {"clamp": "trim"},
    "interpolation: linear": {"interpolation": "linear"},
    "method: whole": {"method": "whole"},
}
TRAININGS: dict[str, dict] = {
    "base": {},
    "batch_norm: per_view": {"batch_norm": "per_view"},
    "projection_size: 100": {"projection_size": 100},
    "freeze_statistics: false": {"freeze_statistics": False},
    "freeze_statistics: false, batch_norm: per_view": {"freeze_statistics": False, "batch_norm": "per_view"},
}


def surveys(data: Path) -> dict[str, Survey]:
    """The shipped surveys, reading from `data`."""
    shipped = survey_files(data / "none").known
    places = {"sdss_gz1": "sdss_gz1", "mirabest": "mirabest", "gz_decals_sample": "gz_decals"}
    found = {}
    for folder, name in places.items():
        if (data / folder).is_dir():
            source = shipped[name].source.model_copy(update={"path": str(data / folder)})
            found[folder] = shipped[name].model_copy(update={"source": source})
    return found


def images(survey: Survey) -> tuple[Reader, list[dict], dict[str, str]]:
    """The reader, its usable catalogue rows, and the class of the galaxies that are judged."""
    reader = open_reader(survey.source, Path())
    tables = [reader.catalogue(batch) for batch in reader.batches()]
    classes: dict[str, str] = {}
    if survey.evaluation.classes and survey.evaluation.classes[0].labels:
        evaluation = survey.evaluation
        for table in tables:
            subset = votes.evaluation_class(table, evaluation)
            subset = balanced(subset, evaluation.maximum_per_class, evaluation.seed)
            classes |= dict(zip(*(subset[c].to_pylist() for c in subset.column_names), strict=True))
    return reader, [row for table in tables for row in table.to_pylist() if row["problem"] is None], classes


def resized(pixels: np.ndarray, size: int) -> np.ndarray:
    """As the pixel store does for the network's input."""
    return cv2.resize(pixels, (size, size), interpolation=cv2.INTER_AREA).reshape(size, size, -1)


def accuracy(features: np.ndarray, labels: np.ndarray, survey: Survey) -> float:
    """Mean over the splits of the survey's evaluation."""
    e = survey.evaluation
    return float(
        knn_accuracies(
            features, labels, neighbours=e.neighbours, splits=e.splits, test_fraction=e.test_fraction, seed=e.seed
        ).mean()
    )


def cutout_rows(survey: Survey) -> Iterator[dict]:
    """One row per reading of the cutout step."""
    base = CutoutSettings(size=survey.cutout.size if survey.cutout.grey else 300, grey=survey.cutout.grey)
    choices = {name: base.model_copy(update=change) for name, change in READINGS.items()}
    reader, rows, classes = images(survey)
    boxes: dict[str, list] = {name: [] for name in choices}
    outcomes: dict[str, Counter] = {name: Counter() for name in choices}
    drawn: dict[str, list[np.ndarray]] = {name: [] for name in choices}
    difference: dict[str, list[float]] = {name: [] for name in choices}
    labels = []
    for row in rows:
        image = reader.image(row["file"])
        judged = row["galaxy_id"] in classes
        if judged:
            labels.append(classes[row["galaxy_id"]])
        shown, reference = judged or not classes, None  # pixels of the others are not looked at
        for name, choice in choices.items():
            made = cut(image, choice if shown else choice.model_copy(update={"size": 16}))
            outcomes[name][made.outcome] += 1
            boxes[name].append(made.box or (0, 0, 0, 0))
            if made.pixels is None or not shown:
                continue
            reference = made.pixels.astype(np.int16) if reference is None else reference
            difference[name].append(float(np.abs(made.pixels - reference).mean()))
            if judged:
                drawn[name].append(resized(made.pixels, SIZE))
    pretrained, plain = encoder(), encoder()
    plain.mean.zero_(), plain.std.fill_(1)
    first, features = np.array(boxes["base"]), {}
    for name in choices:
        sides = np.array(boxes[name])
        longer = np.maximum(sides[:, 2] - sides[:, 0], sides[:, 3] - sides[:, 1])[sides[:, 2] > 0]
        row = {
            "reading": name,
            "images": len(rows),
            "outcomes": dict(outcomes[name]),
            "side": np.percentile(longer, [25, 50, 75]).tolist(),
            "boxes_changed": float((sides != first).any(axis=1).mean()),
            "levels": float(np.mean(difference[name])),
        }
        if labels:
            features[name] = changed_features(pretrained, drawn, name, features)
            row |= {"judged": len(labels), "accuracy": accuracy(features[name], np.array(labels), survey)}
        yield row
    if labels:
        bare = embed(plain, np.stack(drawn["base"]), device=choose_devices()[0])
        yield {"reading": "normalisation: none", "accuracy": accuracy(bare, np.array(labels), survey)}


def changed_features(network: Encoder, drawn: dict, name: str, known: dict[str, np.ndarray]) -> np.ndarray:
    """Features of a reading's cutouts; those whose pixels are the base's are not computed again."""
    pixels, device = np.stack(drawn[name]), choose_devices()[0]
    if name == "base":
        return embed(network, pixels, device=device)
    features = known["base"].copy()
    changed = np.flatnonzero((pixels != np.stack(drawn["base"])).any(axis=(1, 2, 3)))
    features[changed] = embed(network, pixels, indices=changed, device=device)
    return features


def encoder() -> Encoder:
    """The pretrained network that comes with the installation."""
    return build_encoder(LITE0, "imagenet", seed=0, weights=Path())


def training_rows(data: dict[str, Survey], seed: int, done: set[tuple[str, int | None]]) -> Iterator[dict]:
    """One row per reading of the training of MiraBest, in the framing that needs no download."""
    if "mirabest" not in data:
        return
    settings = CutoutSettings(method="flux_radius", source="all", enlarge=1.6, align=True, size=150, grey=True)
    stack, judged, labels = stored(data["mirabest"], settings, TRAINED_SIZE)
    base = Recipe(
        backbone=LITE0, image_size=TRAINED_SIZE, epochs=2, rotation_maximum=15, contrast=0.5, noise=0.1, seed=seed
    )
    for name, change in TRAININGS.items():
        if (name, seed) in done:
            continue
        before, after = trained(stack, judged, labels, base.model_copy(update=change), data["mirabest"])
        yield {"reading": name, "seed": seed, "images": len(stack), "before": before, "accuracy": after}


def borders(data: dict[str, Survey], seed: int, done: set[tuple[str, int | None]]) -> Iterator[dict]:
    """Training with views that are mirrored beyond their border, and with black corners as torchvision leaves them."""
    for folder, settings in {
        "mirabest": CutoutSettings(method="flux_radius", source="all", enlarge=1.6, align=True, size=150, grey=True),
        "sdss_gz1": CutoutSettings(method="central", central_pixels=143, size=143),
    }.items():
        for border in ("mirrored", "black"):
            reading = f"{folder}, {border} border"
            if folder not in data or (reading, seed) in done:
                continue
            stack, judged, labels = stored(data[folder], settings, TRAINED_SIZE)
            angle = 15 if settings.align else 180
            recipe = Recipe(
                backbone=LITE0,
                image_size=TRAINED_SIZE,
                epochs=2,
                rotation_maximum=angle,
                contrast=0.5,
                noise=0.1,
                seed=seed,
            )
            with black_beyond_the_border() if border == "black" else nullcontext():
                before, after = trained(stack, judged, labels, recipe, data[folder])
            yield {"reading": reading, "seed": seed, "images": len(stack), "before": before, "accuracy": after}


@contextmanager
def black_beyond_the_border() -> Iterator[None]:
    """Views are 0 beyond the border of their image, for the time of the block."""
    plain = augmentation.F.grid_sample

    def black(*arguments, **settings):
        return plain(*arguments, **settings | {"padding_mode": "zeros"})

    with mock.patch.object(augmentation.F, "grid_sample", black):
        yield


def stored(survey: Survey, settings: CutoutSettings, size: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Cutouts as the network gets them, the rows that are judged, and their classes."""
    reader, rows, classes = images(survey)
    cutouts = [cut(reader.image(row["file"]), settings).pixels for row in rows]
    usable = [i for i, pixels in enumerate(cutouts) if pixels is not None]
    judged = np.array([k for k, i in enumerate(usable) if rows[i]["galaxy_id"] in classes])
    labels = np.array([classes[rows[usable[k]]["galaxy_id"]] for k in judged])
    return np.stack([resized(cutouts[i], size) for i in usable]), judged, labels


def trained(
    stack: np.ndarray, judged: np.ndarray, labels: np.ndarray, recipe: Recipe, survey: Survey
) -> tuple[float, float]:
    """Accuracy of the pretrained network before and after training."""
    (device, *_) = devices = choose_devices()
    network = encoder()
    start = embed(network, stack, indices=judged, device=device)
    with tempfile.TemporaryDirectory() as scratch:
        byol.train(
            network,
            stack,
            np.arange(len(stack)),
            recipe,
            freeze=recipe.freeze_statistics,
            devices=devices,
            state=StateFile(Path(scratch) / "state.pt"),
            on_epoch=lambda *_: None,
        )
    after = embed(network, stack, indices=judged, device=device)
    return accuracy(start, labels, survey), accuracy(after, labels, survey)


def frames(data: dict[str, Survey], done: set[tuple[str, int | None]]) -> Iterator[dict]:
    """Pretrained features of the paper's cutout: whole at the size that it is stored in, and in Astronomaly's frame."""
    for folder in ("sdss_gz1", "mirabest"):
        if folder not in data or (f"{folder}, astronomaly", None) in done:
            continue
        cutout = data[folder].cutout
        side = cutout.size if cutout.grey else 300
        stack, judged, labels = stored(data[folder], CutoutSettings(size=side, grey=cutout.grey), side)
        shown = {"whole": stack, "astronomaly": AstronomalyFrame(stack)}
        for frame, pixels in shown.items():
            features = embed(encoder(), pixels, indices=judged, device=choose_devices()[0])
            yield {
                "reading": f"{folder}, {frame}",
                "judged": len(judged),
                "accuracy": accuracy(features, labels, data[folder]),
            }


def unclassified(data: dict[str, Survey], done: set[tuple[str, int | None]]) -> Iterator[dict]:
    """The artefact step of the SDSS survey as shipped, on the features of either frame."""
    survey = data.get("sdss_gz1")
    if survey is None or ("astronomaly", None) in done:
        return
    reader, rows, _ = images(survey)
    made = [cut(reader.image(row["file"]), survey.cutout) for row in rows]
    usable = [i for i, one in enumerate(made) if one.pixels is not None]
    stack = np.stack([made[i].pixels for i in usable])
    nobody_knew = np.array([rows[i]["label"] == "dont_know" for i in usable])
    evidence = artefacts.evidence(stack, [made[i].outcome for i in usable], survey.artefacts)
    suspect, reasons = evidence["suspect"].to_numpy(zero_copy_only=False), evidence["reason"].to_pylist()
    small = np.stack([resized(image, survey.recipe.image_size) for image in stack])
    for frame, pixels in {"whole": small, "astronomaly": AstronomalyFrame(stack)}.items():
        x, y = umap_xy(embed(encoder(), pixels, device=choose_devices()[0]), survey.umap).T
        regions = artefact_regions.propose_regions(x, y, suspect, reasons, survey.artefacts)
        kept, _ = artefact_regions.apply_regions(x, y, reasons, regions, survey.artefacts)
        near = NearestNeighbors(n_neighbors=10).fit(np.column_stack([x, y])).kneighbors()[1]
        yield {
            "reading": frame,
            "images": len(stack),
            "regions": len(regions),
            "removed": int((~kept).sum()),
            "removed of dont_know": int((~kept & nobody_knew).sum()),
            "dont_know among the neighbours of dont_know": float(nobody_knew[near[nobody_knew]].mean()),
        }


def maps(data: dict[str, Survey], done: set[tuple[str, int | None]]) -> Iterator[dict]:
    """UMAP of principal components, as here, and of the features themselves, as the paper may have it."""
    for folder in ("sdss_gz1", "mirabest"):
        if folder not in data or (f"{folder}, features", None) in done:
            continue
        survey = data[folder]
        cutout = survey.cutout
        side = cutout.size if cutout.grey else 300
        stack, judged, labels = stored(survey, CutoutSettings(size=side, grey=cutout.grey), SIZE)
        features = embed(encoder(), stack, device=choose_devices()[0])
        components = pca.fit(features, survey.variance).transform(features)
        for seen, given in {"components": components, "features": features}.items():
            xy = umap_xy(given, survey.umap)
            yield {
                "reading": f"{folder}, {seen}",
                "images": len(stack),
                "dimensions": given.shape[1],
                "trustworthiness": float(trustworthiness(features, xy, n_neighbors=15)),
                "accuracy on the map": accuracy(xy[judged], labels, survey),
            }


def main() -> None:
    """Do the parts of the command line, or all of them."""
    data, out = Path(sys.argv[1]).resolve(), Path(sys.argv[2])
    out.mkdir(parents=True, exist_ok=True)
    file = out / "fidelity.jsonl"
    found = surveys(data)
    once = {"frames": frames, "artefacts": unclassified, "maps": maps}
    seeded = {"training": training_rows, "borders": borders}
    for part in sys.argv[3:] or [*found, *seeded, *once]:
        lines = map(json.loads, file.read_text().splitlines()) if file.exists() else ()
        done = {(row["reading"], row.get("seed")) for row in lines if row["part"] == part}
        if part in seeded:
            for seed in range(SEEDS):
                record(file, part, seeded[part](found, seed, done))
        elif part in once:
            record(file, part, (row for row in once[part](found, done) if (row["reading"], None) not in done))
        elif part in found and not {(name, None) for name in READINGS} <= done:
            rows = cutout_rows(found[part])
            record(file, part, (row for row in rows if (row["reading"], None) not in done))


def record(file: Path, part: str, rows: Iterator[dict]) -> None:
    """Append each row as soon as it is there, and print it."""
    for row in rows:
        line = json.dumps({"part": part} | row)
        with file.open("a") as stream:
            stream.write(line + "\n")
        print(line, flush=True)


if __name__ == "__main__":
    main()
