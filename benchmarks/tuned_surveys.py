"""Surveys that tune themselves, judged by labels that took part in nothing: sections of docs/representation.md.

    OMP_NUM_THREADS=1 python benchmarks/tuned_surveys.py DATA OUT [set[:seed] ...]

DATA holds the sets of JUDGED. Each is a survey of its own below OUT, made by `survey new --tune` and `run` alone. Its
labels are read afterwards: k-NN of every frame that the trials tried and of every criterion that could have chosen
among them, and k-NN and search by the network before and after training. A row in OUT/tuned_surveys.jsonl is not
computed again, and at the end the measured sections of the page are written.
"""

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from statistics import mean
from typing import Any

import label_free_criteria as free
import numpy as np
import torch
from artefact_losses import mirabest
from report import _table, write_sections

from galaxy_assets.deliveries.readers import open_reader
from galaxy_assets.orchestration.assets.trials import _Sample
from galaxy_assets.science import active_learning, pca, trials
from galaxy_assets.science.encoders.composition import equal_variance
from galaxy_assets.science.encoders.embedding import embed
from galaxy_assets.science.encoders.middle import middle_of
from galaxy_assets.science.encoders.weights import build_encoder
from galaxy_assets.science.neighbours import knn_accuracies
from galaxy_assets.settings.files import survey_files
from galaxy_assets.settings.recipe import HALVES, PYRAMID, START
from galaxy_assets.settings.survey import Survey
from galaxy_assets.settings.tuning import with_choice
from galaxy_assets.storage.checkpoints import load_encoder
from galaxy_assets.storage.files import replacing
from galaxy_assets.storage.layout import Layout
from galaxy_assets.storage.tables import column_to_vectors, read_table

PAGE = Path(__file__).parents[1] / "docs" / "representation.md"
JUDGED: dict[str, dict[str, str] | None] = {  # label -> class; None judges every label
    "sdss_gz1": {
        "elliptical": "elliptical",
        "spiral_clockwise": "spiral",
        "spiral_anticlockwise": "spiral",
        "edge_on": "edge_on",
    },
    "mirabest": {"100": "FRI", "102": "FRI", "104": "FRI", "200": "FRII", "201": "FRII"},
    "decals_rings": None,
    "gz2_spirals": None,
    "hubble_dso": None,
    "aries_stars": None,
    "frdeep_nvss": None,
}
PER_CLASS = 400  # judged images of a class at most
SHARE, DRAWS, BUDGET = 20, 8, 100  # one galaxy in so many is rare; draws of the rare ones; questions
ALWAYS = "flux radius, aligned"  # the frame that a survey without trials might as well take
Row = dict[str, Any]


def made(name: str, seed: int, data: Path, out: Path) -> tuple[Survey, Layout, float]:
    """The survey as a user makes it, and the seconds that took."""
    images, root, survey = data / name, out / f"{name}_{seed}", f"tuned_{name}"
    if name == "mirabest":
        images = out / "raw" / name
        if not images.exists():
            mirabest(data, images)
    layout, spent = Layout(root), out / f"{name}_{seed}.seconds"
    environment = os.environ | {"GALAXY_ASSETS_DATA": str(root)}
    command = [sys.executable, "-m", "galaxy_assets.cli"]
    if not (layout.surveys / f"{survey}.yaml").exists():
        given = ["--images", str(images / "images"), "--labels", str(images / "labels.csv"), "--tune"]
        if counted([*command, "survey", "new", survey, *given], spent, env=environment):
            raise SystemExit(f"{survey}: `survey new` failed, see above")
        if seed:
            path = layout.surveys / f"{survey}.yaml"
            path.write_text(path.read_text().replace("recipe:\n", f"recipe:\n  seed: {seed}\n", 1))
    counted([*command, "run", survey], spent, env=environment)
    return survey_files(root).named(survey), layout, float(spent.read_text())


def counted(command: list[str], spent: Path, look: float = 10.0, **options: Any) -> int:
    """Run a command and add the seconds that it takes to those in a file, which a stop in the middle loses few of."""
    before, began = float(spent.read_text()) if spent.exists() else 0.0, time.monotonic()
    with subprocess.Popen(command, **options) as process:
        running = True
        while running:
            try:
                process.wait(look)
                running = False
            except subprocess.TimeoutExpired:
                pass
            with replacing(spent) as partial:
                partial.write_text(str(before + time.monotonic() - began))
    return process.returncode


def judged(name: str, survey: Survey, layout: Layout) -> tuple[list[Row], np.ndarray]:
    """Rows of the catalogue of judged images, at most PER_CLASS of each class, and their classes."""
    rows, classes = [], JUDGED[name]
    for path in sorted((layout.lake / survey.name / "catalogue").glob("[!.]*.parquet")):
        rows += [row for row in read_table(path).to_pylist() if row["problem"] is None and row["label"]]
    if classes is not None:
        rows = [row for row in rows if row["label"] in classes]
    named = np.array([row["label"] if classes is None else classes[row["label"]] for row in rows])
    rng = np.random.default_rng(0)
    kept = np.sort(np.concatenate([rng.permutation(np.flatnonzero(named == c))[:PER_CLASS] for c in np.unique(named)]))
    return [rows[i] for i in kept], named[kept]


def accuracy(features: np.ndarray, classes: np.ndarray) -> float:
    """Mean accuracy of k-NN, five neighbours, over 50 splits."""
    found = knn_accuracies(features, classes, neighbours=5, splits=50, test_fraction=0.25, seed=0)
    return round(float(found.mean()), 4)


def frames(survey: Survey, layout: Layout, rows: list[Row], classes: np.ndarray) -> list[Row]:
    """Every frame that the trials tried, on the judged images: criteria, and k-NN of the pretrained features."""
    table = read_table(layout.table(survey.name, "recipe_trials")).to_pylist()
    start = load_encoder(layout.root / _checkpoint(survey, layout, 0))
    sample, device = _Sample(open_reader(survey.source, layout.raw), rows), torch.device("cpu")
    tried = [with_choice(survey, json.loads(row["settings"])) for row in table]
    side = table[0]["image_size"]
    ways = [one.cutout.model_copy(update={"size": side}) for one in tried]
    cuts = sample.cut(ways, side)
    assert len(cuts) == len(rows), "a judged image shows nothing"
    found, plain = [], []
    for i, (row, one) in enumerate(zip(table, tried, strict=True)):
        pixels = sample.pixels(cuts, i, ways[i], side)
        nuisance = trials.nuisances(pixels, [cut.sides[i] for cut in cuts], [cut.frame for cut in cuts])
        features = trials.features_of(start, pixels, one.recipe, 4, device)
        plain.append(features.plain)
        measured = trials.criteria(features, pixels, nuisance) | free.published(features)
        measured |= {"candidate": row["candidate"], "chosen": row["chosen"], "score": row["score"]}
        found.append(measured | {"accuracy": accuracy(features.plain, classes)})
    return [row | more for row, more in zip(found, free.among_candidates(plain), strict=True)]


def _checkpoint(survey: Survey, layout: Layout, epoch: int | None) -> str:
    """Path of an epoch's weights, or of the chosen ones."""
    ledger = read_table(layout.table(survey.name, "byol_checkpoints", survey.main_start_weights)).to_pylist()
    return next(row["path"] for row in ledger if (row["chosen"] if epoch is None else row["epoch"] == epoch))


def trained(survey: Survey, layout: Layout, rows: list[Row], classes: np.ndarray) -> Row:
    """k-NN and search on the stored cutouts by the network before training, by it beside what the recipe sets beside it
    (scaled on the judged images), and by what the survey uses.
    """
    from galaxy_assets.storage.pixels import PixelStore
    from galaxy_assets.storage.trials import in_force

    recipe, ids = in_force(layout, survey).recipe, [row["galaxy_id"] for row in rows]
    vectors = {}
    for path in sorted((layout.lake / survey.name / "embeddings").rglob("[!.]*.parquet")):
        table = read_table(path)
        vectors |= dict(zip(table["galaxy_id"].to_pylist(), column_to_vectors(table["vector"]), strict=True))
    shown = np.array([galaxy in vectors for galaxy in ids])
    after = np.stack([vectors[galaxy] for galaxy in np.array(ids)[shown]])
    cutouts = [read_table(path) for path in sorted((layout.lake / survey.name / "cutouts").glob("[!.]*.parquet"))]
    start = load_encoder(layout.root / _checkpoint(survey, layout, 0))
    others = {name: factor for name, factor in recipe.beside.items() if name != START}
    beside = [
        middle_of(start, pyramid=name == PYRAMID)
        if name in HALVES
        else build_encoder(recipe.backbone, name, seed=recipe.seed, weights=layout.weights)
        for name in others
    ]
    store, device, before = PixelStore(layout.pixels(survey.name)), torch.device("cpu"), {}
    wanted = set(np.array(ids)[shown].tolist())
    for table in cutouts:
        names = table["galaxy_id"].to_pylist()
        at = np.array([i for i, galaxy in enumerate(names) if galaxy in wanted], int)
        pixels = store.of(table, recipe.image_size)
        found = [
            embed(encoder, pixels, indices=at, device=device, orientations=recipe.orientations)
            for encoder in (start, *beside)
        ]
        before |= dict(zip([names[i] for i in at], zip(*found, strict=True), strict=True))
    blocks = [np.stack(one) for one in zip(*(before[galaxy] for galaxy in np.array(ids)[shown]), strict=True)]
    kept = classes[shown]
    features = {"before": blocks[0], "beside": side_by_side(blocks, [1.0, *others.values()]), "after": after}
    row: Row = {"left_out": int((~shown).sum())}
    for name, own in features.items():
        row[name] = accuracy(own, kept)
        row |= {f"{key}_{name}": round(value, 2) for key, value in _searched(own, kept).items()}
    return row


def side_by_side(blocks: list[np.ndarray], factors: list[float]) -> np.ndarray:
    """Features beside one another, each block scaled to the same total variance and by its factor, as a survey's."""
    return np.hstack([s * f * one for one, s, f in zip(blocks, equal_variance(blocks), factors, strict=True)])


def _searched(features: np.ndarray, classes: np.ndarray) -> dict[str, float]:
    """Each class in turn as one galaxy in SHARE: targets met, found unshown, and found by the isolation forest among
    all galaxies and among those that the search has not asked about.
    """
    totals = {"met": 0.0, "unshown": 0.0, "forest": 0.0, "forest_unshown": 0.0, "of": 0.0}
    for name in np.unique(classes):
        for draw in range(DRAWS):
            rare, others = np.flatnonzero(classes == name), np.flatnonzero(classes != name)
            few = np.random.default_rng(draw).permutation(rare)[: max(10, len(others) // SHARE)]
            rows = np.sort(np.concatenate([others, few]))
            true, values = classes[rows] == name, features[rows]
            components = pca.fit(values, 0.95).transform(values)
            ids = np.array([f"{i:06d}" for i in range(len(rows))])
            budget = min(BUDGET, len(rows) // 5)
            queries = active_learning.search(
                components,
                ids,
                lambda asked, true=true: 5 * true[asked].astype(int),
                seeds=10,
                per_round=10,
                budget=budget,
                trade_off=0.5,
                learner="graded",
                seed=0,
            )
            asked = np.array(sorted(query.row for query in queries))
            state = active_learning.posterior(components, asked, 5.0 * true[asked], "graded")
            order = active_learning.best_first(state.mean, ids)
            strangest = active_learning.best_first(active_learning.unsupervised_score(components, 0), ids)
            totals["met"] += true[asked].sum()
            totals["unshown"] += true[order[~np.isin(order, asked)][:budget]].sum()
            totals["forest"] += true[strangest[:budget]].sum()
            totals["forest_unshown"] += true[strangest[~np.isin(strangest, asked)][:budget]].sum()
            totals["of"] += true.sum()
    return totals


def row_of(name: str, seed: int, data: Path, out: Path) -> Row:
    """Everything of one survey and seed."""
    survey, layout, seconds = made(name, seed, data, out)
    rows, classes = judged(name, survey, layout)
    row = {"set": name, "seed": seed, "images": len(rows), "seconds": round(seconds)}
    row |= trained(survey, layout, rows, classes)
    return row | {"frames": frames(survey, layout, rows, classes) if seed == 0 else []}


def sections(found: list[Row]) -> dict[str, str]:
    """The measured sections of the page."""
    first = [row for row in found if row["frames"]]
    names = [row["set"] for row in first]
    rows: dict[str, list[Row]] = {row["set"]: row["frames"] for row in first}
    shipped = free.as_shipped(rows)
    table = [
        [
            row["set"],
            one["candidate"],
            *(f"{one[key]:.3f}" for key in ("stability", "nuisance_share", "fill")),
            f"{score:+.2f}",
            f"{one['accuracy']:.3f}{' (chosen)' if one['chosen'] else ''}",
        ]
        for row in first
        for one, score in zip(row["frames"], shipped[row["set"]], strict=True)
    ]
    single = {name: free.one_criterion(rows, name) for name in free.RISING} | {"**score, as shipped**": shipped}
    told = []
    for name, score in sorted(single.items(), key=lambda one: mean(free.regrets(rows, one[1]))):
        lost, rank = free.regrets(rows, score), free.correlations(rows, score)
        each = [f"{r:.1f} ({c:+.2f})" for r, c in zip(lost, rank, strict=True)]
        told.append([name, *each, f"{mean(lost):.2f}", f"{max(lost):.1f}"])
    always = {name: np.array([one["candidate"] == ALWAYS for one in found]) for name, found in rows.items()}
    lost = free.regrets(rows, always)
    told.append([f"always {ALWAYS}", *(f"{r:.1f}" for r in lost), f"{mean(lost):.2f}", f"{max(lost):.1f}"])
    left = free.left_out(rows)
    return {
        "frames": _table(["set", "frame", "stability", "nuisance", "fill", "score", "k-NN"], table),
        "criteria": _table(["criterion", *names, "mean", "largest"], told),
        "left out": _table(
            ["set left out", "criteria that the others choose", "regret"],
            [[name, " + ".join(family), f"{regret:.1f}"] for name, family, regret in left]
            + [["mean", "", f"{mean(regret for *_, regret in left):.2f}"]],
        ),
        "training": show_training(found),
    }


def show_training(found: list[Row]) -> str:
    """What training and what stands beside it bring; empty where a row is older than a column."""
    beyond = {
        i: row["unshown_after"] / row["forest_unshown_after"]
        for i, row in enumerate(found)
        if row.get("forest_unshown_after")
    }
    lines = [
        [
            f"{row['set']}, seed {row['seed']}",
            *(str(row[key]) for key in ("images", "left_out")),
            *_shown(row, "{:.3f}", "before", "beside", "after"),
            f"{100 * (row['after'] - row['before']):+.1f}",
            f"{100 * (row['after'] - row['beside']):+.1f}" if "beside" in row else "",
            *_shown(row, "{:.0f}", "met_before", "met_beside", "met_after"),
            *_shown(row, "{:.0f}", "unshown_before", "unshown_beside", "unshown_after"),
            *_shown(row, "{:.0f}", "forest_after", "forest_unshown_after"),
            f"{beyond[i]:.2f}" if i in beyond else "",
            f"{row['seconds'] / 60:.0f}",
        ]
        for i, row in enumerate(found)
    ]
    of_training = [100 * (row["after"] - row["beside"]) for row in found if "beside" in row]
    means = [""] * len(_TRAINING)
    means[0], means[6] = "mean", f"{mean(100 * (row['after'] - row['before']) for row in found):+.1f}"
    means[7] = f"{mean(of_training):+.1f}" if of_training else ""
    means[-2] = f"{mean(beyond.values()):.2f}" if beyond else ""
    return _table(_TRAINING, [*lines, means])


_TRAINING = ["set", "judged", "removed", "before", "without training", "after", "gain", "of training"]
_TRAINING += ["met before", "met without training", "met after"]
_TRAINING += ["unshown before", "unshown without training", "unshown after", "forest", "forest unshown"]
_TRAINING += ["unshown / forest unshown", "minutes"]


def _shown(row: Row, form: str, *keys: str) -> list[str]:
    return [form.format(row[key]) if key in row else "" for key in keys]


def main() -> None:
    """Do the sets of the command line, all of them by default, and write the page."""
    data, out = Path(sys.argv[1]).resolve(), Path(sys.argv[2]).resolve()
    out.mkdir(parents=True, exist_ok=True)
    done = out / "tuned_surveys.jsonl"
    for task in sys.argv[3:] or list(JUDGED):
        name, _, seed = task.partition(":")
        found = [json.loads(line) for line in done.read_text().splitlines()] if done.exists() else []
        if any((row["set"], row["seed"]) == (name, int(seed or 0)) for row in found):
            continue
        row = row_of(name, int(seed or 0), data, out)
        with done.open("a") as file:
            file.write(json.dumps(row) + "\n")
        print(json.dumps({key: value for key, value in row.items() if key != "frames"}), flush=True)
    found = [json.loads(line) for line in done.read_text().splitlines()]
    found.sort(key=lambda row: (list(JUDGED).index(row["set"]), row["seed"]))
    write_sections(PAGE, sections(found))


if __name__ == "__main__":
    main()
