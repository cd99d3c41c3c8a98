"""What the anomaly search finds on real images, by learner: every table of docs/anomaly-search.md.

    OMP_NUM_THREADS=1 python benchmarks/anomaly_search.py DATA OUT

DATA holds sdss_gz1/ and mirabest/, and the folders of HELD_BACK as far as they are there. Every row is appended to
OUT/anomaly_search.jsonl and not computed again, the features are kept beside it, and at the end the measured sections
of the page are written. Each search is the platform's own, also for learners that are tried here alone. The section
`trained` is of the lake that `make real` left in $GALAXY_ASSETS_DATA, and is left out where there is none.
"""

import functools
import json
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from statistics import mean
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import tried_learners
from gaussian_process import by_scikit_learn
from report import _table, write_sections
from representation import cutouts
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from galaxy_assets.cli.run import write_real_surveys
from galaxy_assets.science import active_learning, anomaly_model, gaussian_process, pca
from galaxy_assets.science.devices import choose_devices
from galaxy_assets.science.encoders.embedding import embed
from galaxy_assets.science.encoders.weights import LITE0, build_encoder
from galaxy_assets.science.outliers import outlier_factor
from galaxy_assets.settings.files import survey_files
from galaxy_assets.settings.survey import Survey
from galaxy_assets.storage.layout import Layout
from galaxy_assets.storage.tables import column_to_vectors, lookup, read_table

PAGE = Path(__file__).parents[1] / "docs" / "anomaly-search.md"
FIRST = BUDGET = 200
STARTS, SAMPLES = 5, 5
FEATURES: dict[str, tuple[str, int, Literal[1, 4, 8]]] = {  # survey, side in pixels, orientations
    "sdss": ("sdss_gz1", 128, 8),
    "mirabest": ("mirabest", 80, 4),
    "64 px": ("sdss_gz1", 64, 1),
    "128 px": ("sdss_gz1", 128, 1),
}
TARGETS = {
    "merger": ("sdss", ["merger"]),
    "dont_know": ("sdss", ["dont_know"]),
    "spiral_clockwise": ("sdss", ["spiral_clockwise"]),
    "edge_on": ("sdss", ["edge_on"]),
    "hybrid": ("mirabest", ["300", "310"]),
}
REPRODUCED = ("edge_on", "spiral_clockwise", "merger")
HELD_BACK = {  # folder, id column, label column, side of the central box, usual class, rare class
    "aries_stars: galaxies": ("aries_stars", "galaxy_id", "label", None, "star", "galaxy"),
    "gz2_spirals: spirals": ("gz2_spirals", "galaxyid", "class", 212, "non_spirals", "spirals"),
    "gz2_spirals: others": ("gz2_spirals", "galaxyid", "class", 212, "spirals", "non_spirals"),
    "decals_rings: rings": ("decals_rings", "iauname", "ring", None, "not_ring", "ring"),
    "hubble_dso: nebulae": ("hubble_dso", "galaxy_id", "label", None, "galaxy", "nebula"),
    "hubble_dso: galaxies": ("hubble_dso", "galaxy_id", "label", None, "nebula", "galaxy"),
    "frdeep_nvss: FRI": ("frdeep_nvss", "galaxy_id", "label", None, "FRII", "FRI"),
}
SHARE = 20  # of the galaxies of a set held back one in so many is rare
Row = dict[str, Any]


@dataclass(frozen=True)
class World:
    """Components of N galaxies, (N, D), their names and labels, (N,)."""

    features: np.ndarray
    ids: np.ndarray
    labels: np.ndarray

    def of(self, rows: np.ndarray) -> "World":
        """Some of the galaxies."""
        return World(self.features[rows], self.ids[rows], self.labels[rows])


def held_back(data: Path, name: str) -> Survey:
    """A survey of a folder that took no part in any choice."""
    folder, id_column, label_column, side, _, _ = HELD_BACK[name]
    cutout = {"method": "central", "central_pixels": side} if side else {"method": "whole"}
    source = {"reader": "image_folder", "path": str(data / folder), "images": "images", "labels": "labels.csv"}
    return Survey.model_validate(
        {
            "name": folder,
            "title": folder,
            "description": folder,
            "source": source | {"id_column": id_column, "label_column": label_column},
            "cutout": cutout | {"size": 128},
            "recipe": {"image_size": 128},
        }
    )


def load_world(name: str, data: Path, out: Path) -> World:
    """Components of the pretrained network's features for 95 % of the variance; the features are kept in `out`."""
    kept = out / f"anomaly_search_{(HELD_BACK[name][0] if name in HELD_BACK else name).replace(' ', '_')}.npz"
    if not kept.exists():
        with tempfile.TemporaryDirectory() as scratch:
            if name in HELD_BACK:
                survey, size, orientations = held_back(data, name), 128, 1
            else:
                known, size, orientations = FEATURES[name]
                write_real_surveys(data, Layout(Path(scratch)))
                survey = survey_files(Path(scratch)).known[known]
            recipe = survey.recipe.model_copy(update={"image_size": size})
            pixels, galaxies = cutouts(survey.model_copy(update={"recipe": recipe}), Path(scratch))
            encoder, device = build_encoder(LITE0, "imagenet", seed=0, weights=Path()), choose_devices()[0]
            rows = galaxies["row"].to_numpy()
            features = embed(encoder, pixels, indices=rows, device=device, orientations=orientations)
        ids, labels = (np.array(galaxies[column].to_pylist()) for column in ("galaxy_id", "label"))
        np.savez(kept, features=features, galaxy_id=ids, label=labels)
    arrays = np.load(kept)
    features = arrays["features"]
    return World(
        pca.fit(features, 0.95).transform(features), arrays["galaxy_id"].astype(object), arrays["label"].astype(str)
    )


def searched(world: World, true: np.ndarray, learner: str, seed: int = 0, budget: int = BUDGET) -> Row:
    """What a search with so many scores of 0 or 5 finds: anomalies asked for; among as many at the head of the
    ranking; among as many at the head of those never asked for. And what it asked, in turn."""
    queries = active_learning.search(
        world.features,
        world.ids,
        lambda rows: 5 * true[rows],
        seeds=10,
        per_round=10,
        budget=budget,
        trade_off=0.5,
        learner=learner,
        seed=seed,
    )
    asked = np.array([query.row for query in queries])
    rounds = pa.array([query.round for query in queries], pa.int32())
    said = pa.table({"galaxy_id": world.ids[asked], "score": 5.0 * true[asked], "n_people": [0] * budget})
    said = said.append_column("round", rounds).sort_by("galaxy_id")
    std = gaussian_process.standard_deviations(world.features)
    model = anomaly_model.fit(world.features, world.ids, said, std, learner, seed)
    galaxies = pa.table({"galaxy_id": world.ids, "batch": ["all"] * len(world.ids)})
    ranking = anomaly_model.ranked(anomaly_model.scores_to_table(galaxies, *model.score(world.features)), said, learner)
    row_of = {galaxy: row for row, galaxy in enumerate(world.ids)}
    order = np.array([row_of[galaxy] for galaxy in ranking["galaxy_id"].to_pylist()])
    return counted(true, asked, order)


def counted(true: np.ndarray, asked: np.ndarray, order: np.ndarray) -> Row:
    """True anomalies that were asked for, and at the head of a ranking."""
    unshown, first = order[~np.isin(order, asked)], len(asked)
    found = {"met": asked, "first": order[:first], "unshown": unshown[:first]}
    return {name: int(true[rows].sum()) for name, rows in found.items()} | {"asked": asked.tolist()}


def by_scikit_learn_alone(world: World, true: np.ndarray) -> Row:
    """The published search by scikit-learn's regressor, with its own seeds and its own sorting."""
    features, scores = world.features.astype(float), 5.0 * true
    asked = features[:, 0].argsort(kind="stable")[np.linspace(0, len(true) - 1, 10).astype(int)]
    while len(asked) < BUDGET:
        rows = np.sort(asked)
        gain = by_scikit_learn(features, rows, scores[rows], "published")[2]
        gain[asked] = -np.inf
        asked = np.concatenate([asked, np.argsort(-gain, kind="stable")[:10]])
    rows = np.sort(asked)
    mean_score = by_scikit_learn(features, rows, scores[rows], "published")[0]
    return counted(true, asked, np.argsort(-mean_score, kind="stable"))


def unsupervised(world: World, true: np.ndarray, seed: int, first: int = FIRST) -> Row:
    """Anomalies at the head of the lists that need no labels."""
    forest = active_learning.unsupervised_score(world.features, seed)
    lists = {"forest": forest, "outlier factor": outlier_factor(world.features)}
    return {name: int(true[active_learning.best_first(value, world.ids, first)].sum()) for name, value in lists.items()}


def ceiling(world: World, true: np.ndarray, seed: int) -> Row:
    """Anomalies at the head of a list by logistic regressions on four fifths of all labels, each for the last fifth."""
    score = np.empty(len(true))
    for known, judged in StratifiedKFold(5, shuffle=True, random_state=seed).split(world.features, true):
        model = make_pipeline(StandardScaler(), LogisticRegression(C=0.01, class_weight="balanced", max_iter=2000))
        score[judged] = model.fit(world.features[known], true[known]).decision_function(world.features[judged])
    return {"ceiling": int(true[active_learning.best_first(score, world.ids, FIRST)].sum())}


Task = tuple[str, str, str, int]
"""Section of the page, target, learner or list, and the number of the start, the sample or the fold."""


def tasks(data: Path) -> Iterator[Task]:
    """Every row of the page but those of a lake."""
    for size in ("64 px", "128 px"):
        yield from (("reproduction", f"{target}, {size}", "published", 0) for target in REPRODUCED)
    for target in TARGETS:
        for name in ("unsupervised", "ceiling", "corrected"):
            yield from (("all galaxies", target, name, start) for start in range(STARTS))
        yield "all galaxies", target, "published", 0
    for name in HELD_BACK:
        if (data / HELD_BACK[name][0]).is_dir():
            for learner in ("unsupervised", "published", "corrected"):
                yield from (("held back", name, learner, sample) for sample in range(SAMPLES))
    for target in TARGETS:
        tried = [*tried_learners.NEARBY, *(tried_learners.OTHERS if target == "merger" else ())]
        for name in ("unsupervised", "published", *tried):
            yield from (("corrections", target, name, sample) for sample in range(SAMPLES if target == "merger" else 3))


def do(task: Task, world: Callable[[str], World]) -> Row:
    """The numbers of a task."""
    section, target, learner, number = task
    if section == "reproduction":
        target, size = target.split(", ")
        known = world(size)
        true = known.labels == target
        ours, peer = searched(known, true, learner), by_scikit_learn_alone(known, true)
        same = sum(a == b for a, b in zip(ours.pop("asked"), peer.pop("asked"), strict=True))
        return {"of": int(true.sum()), "peer": peer, "same": same} | ours
    budget, rng = BUDGET, np.random.default_rng(number)
    if section == "held back":
        known, (*_, usual, rare) = world(target), HELD_BACK[target]
        usuals, rares = (rng.permutation(np.flatnonzero(known.labels == label)) for label in (usual, rare))
        known = known.of(np.sort(np.concatenate([usuals, rares[: len(usuals) // (SHARE - 1)]])))
        true, budget = known.labels == rare, min(BUDGET, len(known.ids) // 100 * 10)
    else:
        name, labels = TARGETS[target]
        known = world(name)
        if section == "corrections":
            n = len(known.ids)
            known = known.of(np.sort(rng.permutation(n)[: n * 9 // 10]))
        true = np.isin(known.labels, labels)
    seed = number if section == "all galaxies" else 0
    match learner:
        case "unsupervised":
            found = unsupervised(known, true, seed, budget)
        case "ceiling":
            found = ceiling(known, true, seed)
        case _:
            found = searched(known, true, learner, seed, budget)
    found.pop("asked", None)
    return {"of": int(true.sum()), "galaxies": len(true), "budget": budget} | found


def trained() -> list[Row]:
    """Rows of the representation that `make real` trained, where its lake is."""
    folder = Layout.default().lake / "sdss_gz1"
    batches = [read_table(path) for path in sorted(folder.glob("pca_features/*/imagenet.parquet"))]
    if not batches:
        return []
    table = pa.concat_tables(batches)
    labels = lookup(
        pa.concat_tables([read_table(path) for path in sorted(folder.glob("catalogue/*.parquet"))]), "label"
    )
    ids = table["galaxy_id"].to_numpy(zero_copy_only=False)
    world = World(column_to_vectors(table["vector"]), ids, np.array([labels[galaxy] for galaxy in ids]))
    true = world.labels == "merger"
    size = {"of": int(true.sum()), "galaxies": len(true), "components": world.features.shape[1]}
    rows = [{"learner": "unsupervised", "number": n} | unsupervised(world, true, n) for n in range(STARTS)]
    for learner in ("corrected", "published"):
        for start in range(STARTS if learner == "corrected" else 1):
            rows.append({"learner": learner, "number": start} | searched(world, true, learner, start))
            rows[-1].pop("asked")
    return [{"section": "trained", "target": "merger"} | size | row for row in rows]


def spread(values: list[int]) -> str:
    """One number, or from the least to the most."""
    return str(values[0]) if min(values) == max(values) else f"{min(values)}-{max(values)}"


def of_learner(rows: list[Row], learner: str, name: str) -> list[int]:
    """One number of a learner over its starts or samples."""
    return [row[name] for row in rows if row["learner"] == learner]


def three(rows: list[Row], learner: str) -> str:
    """Met, in the first and unshown, over the starts of the cold start."""
    return " / ".join(spread(of_learner(rows, learner, name)) for name in ("met", "first", "unshown"))


def show_reproduction(rows: list[Row]) -> str:
    """Ours beside scikit-learn alone."""
    lines = [
        [
            row["target"],
            str(row["of"]),
            f"{row['peer']['met']} / {row['peer']['first']}",
            f"{row['met']} / {row['first']}",
            f"{row['same']} of {BUDGET}",
        ]
        for row in rows
    ]
    return _table(["target", "of", "scikit-learn alone", "`published`", "queries that are the same"], lines)


def show_all(rows: list[Row]) -> str:
    """Every target, all galaxies."""
    head = ["target", "of", "random", "isolation forest", "outlier factor", "published", "corrected", "all labels"]
    lines = []
    for target in dict.fromkeys(row["target"] for row in rows):
        own = [row for row in rows if row["target"] == target]
        lists = [spread(of_learner(own, "unsupervised", name)) for name in ("forest", "outlier factor")]
        random = own[0]["of"] * own[0]["budget"] / own[0]["galaxies"] if "budget" in own[0] else 0
        if own[0]["section"] != "trained":
            lists.append(three(own, "published"))
            lines.append([target, str(own[0]["of"]), f"{random:.1f}", *lists, three(own, "corrected")])
            lines[-1].append(spread(of_learner(own, "ceiling", "ceiling")))
    return _table(head, lines)


def show_trained(rows: list[Row]) -> str:
    """The trained representation."""
    random = rows[0]["of"] * FIRST / rows[0]["galaxies"]
    lists = [spread(of_learner(rows, "unsupervised", name)) for name in ("forest", "outlier factor")]
    return _table(
        ["galaxies", "components", "mergers", "random", "isolation forest", "outlier factor", "published", "corrected"],
        [
            [
                *(f"{rows[0][name]:,}" for name in ("galaxies", "components", "of")),
                f"{random:.1f}",
                *lists,
                three(rows, "published"),
                three(rows, "corrected"),
            ]
        ],
    )


def show_held_back(rows: list[Row]) -> str:
    """Sets that took no part in the choice, means over the samples."""
    lines = []
    for target in dict.fromkeys(row["target"] for row in rows):
        own = [row for row in rows if row["target"] == target]
        size = own[0]
        lines.append(
            [
                target,
                f"{size['of']} of {size['galaxies']:,}",
                str(size["budget"]),
                f"{size['of'] * size['budget'] / size['galaxies']:.1f}",
                *(f"{mean(of_learner(own, 'unsupervised', name)):.1f}" for name in ("forest", "outlier factor")),
                *(
                    " / ".join(f"{mean(of_learner(own, learner, name)):.1f}" for name in ("met", "first", "unshown"))
                    for learner in ("published", "corrected")
                ),
            ]
        )
    head = ["rare class", "of", "scores", "random", "isolation forest", "outlier factor", "published", "corrected"]
    return _table(head, lines)


def show_mergers(rows: list[Row]) -> str:
    """Every learner that was tried, on mergers."""
    own = [row for row in rows if row["target"] == "merger"]
    lines = []
    for learner in dict.fromkeys(row["learner"] for row in own):
        if learner == "unsupervised":
            continue
        first = of_learner(own, learner, "first")
        met, unshown = (mean(of_learner(own, learner, name)) for name in ("met", "unshown"))
        lines.append([learner, f"{met:.1f}", f"{mean(first):.1f} ({', '.join(map(str, first))})", f"{unshown:.1f}"])
    return _table(["learner", "met", "first 200 (each sample)", "unshown"], lines)


def show_others(rows: list[Row]) -> str:
    """The same on the other targets: mean in the first 200."""
    targets = [target for target in TARGETS if target != "merger"]
    lines = []
    for learner in ("unsupervised", "published", *tried_learners.NEARBY):
        name = "forest" if learner == "unsupervised" else "first"
        shown = "isolation forest" if learner == "unsupervised" else learner
        found = [of_learner([r for r in rows if r["target"] == target], learner, name) for target in targets]
        lines.append([shown, *(f"{mean(numbers):.1f}" for numbers in found)])
    return _table(["learner", *targets], lines)


SECTIONS: dict[str, tuple[str, Callable[[list[Row]], str]]] = {
    "reproduction": ("reproduction", show_reproduction),
    "all galaxies": ("all galaxies", show_all),
    "held back": ("held back", show_held_back),
    "mergers": ("corrections", show_mergers),
    "other targets": ("corrections", show_others),
    "trained": ("trained", show_trained),
}


def write_page(rows: list[Row]) -> None:
    """Write the measured sections that there are rows for."""
    own = {name: [row for row in rows if row["section"] == of] for name, (of, _) in SECTIONS.items()}
    write_sections(PAGE, {name: SECTIONS[name][1](of) for name, of in own.items() if of})


def main() -> None:
    """Do what is not done yet, and write the page."""
    data, out = Path(sys.argv[1]).resolve(), Path(sys.argv[2])
    out.mkdir(parents=True, exist_ok=True)
    file = out / "anomaly_search.jsonl"
    rows = [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []
    done = {tuple(row[key] for key in ("section", "target", "learner", "number")) for row in rows}
    world = functools.cache(lambda name: load_world(name, data, out))
    with tried_learners.registered(tried_learners.NEARBY | tried_learners.OTHERS):
        for task in tasks(data):
            if task in done:
                continue
            row = dict(zip(("section", "target", "learner", "number"), task, strict=True)) | do(task, world)
            with file.open("a") as stream:
                stream.write(json.dumps(row) + "\n")
            rows.append(row)
            print(json.dumps(row), flush=True)
    write_page(rows + trained())


if __name__ == "__main__":
    main()
