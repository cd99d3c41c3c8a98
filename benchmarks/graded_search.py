"""What the anomaly search meets and finds unshown over all targets of the labelled sets, by 0/5 and graded scores.

    OMP_NUM_THREADS=1 python benchmarks/graded_search.py DATA OUT

It makes the sections of docs/anomaly-search.md that SECTIONS names.
Every class of every set is sought in turn as a rare one: of a common class so many are kept that one galaxy in twenty
is of it. Every row is appended to OUT/graded_search.jsonl and not computed again; the features are those of
`anomaly_search.py`, kept in OUT. Labels are used for choosing, so each set is judged by the choice made on the others.
"""

import functools
import hashlib
import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import mean

import numpy as np
import tried_learners
from anomaly_search import PAGE, Row, World, load_world
from report import _table, write_sections
from tried_learners import Variant

from galaxy_assets.science import active_learning
from galaxy_assets.science.search_spread import searched
from galaxy_assets.settings.discovery import Anomaly

SETS: dict[str, tuple[str, dict[str, list[str]]]] = {  # world of anomaly_search.py, and the labels of each target
    "sdss_gz1": (
        "sdss",
        {
            "elliptical": ["elliptical"],
            "spiral": ["spiral_clockwise", "spiral_anticlockwise"],
            "edge_on": ["edge_on"],
            "merger": ["merger"],
            "dont_know": ["dont_know"],
        },
    ),
    "mirabest": (
        "mirabest",
        {
            "FRI": ["100", "110"],
            "FRII": ["200", "210", "201"],
            "bent": ["102", "104", "112"],
            "hybrid": ["300", "310"],
        },
    ),
    "aries_stars": ("aries_stars: galaxies", {"star": ["star"], "galaxy": ["galaxy"]}),
    "gz2_spirals": ("gz2_spirals: spirals", {"spirals": ["spirals"], "non_spirals": ["non_spirals"]}),
    "decals_rings": ("decals_rings: rings", {"ring": ["ring"], "not_ring": ["not_ring"]}),
    "hubble_dso": ("hubble_dso: nebulae", {"nebula": ["nebula"], "galaxy": ["galaxy"]}),
    "frdeep_nvss": ("frdeep_nvss: FRI", {"FRI": ["FRI"], "FRII": ["FRII"]}),
}
TARGETS = [(name, target) for name, (_, targets) in SETS.items() for target in targets]
SHARE = 0.05  # of the galaxies are of the class that is sought, at most
BUDGET = FIRST = 100
SAMPLES, STARTS, PERTURBED = 3, 5, 3
NOISE = 1e-5  # relative, of every component: far more than rounding
KINDS = {"0/5": "0 or 5", "1-5": "1 to 5"}
GRID = {
    f"{power:g}, {length:g}, {bound:g}": Variant(
        power=power, length=length, bound=bound, ask="bound", centred=True, scaled=True, strange_seeds=0.5, trees=300
    )
    for power in (0.25, 0.5)
    for length in (1.0, 4.0)
    for bound in (0.0, 2.0)
}
"""Power of the deviation, length in median distances, standard deviations in the upper bound."""
LOGISTIC = "logistic regression"
TRIED = GRID | {LOGISTIC: Variant(model="logistic", strange_seeds=0.5, trees=300)}


def rare(world: World, labels: list[str], draw: int) -> tuple[World, np.ndarray]:
    """Nine tenths of the galaxies, of which the targets are at most one in twenty, and which those are."""
    rng, true = np.random.default_rng(draw), np.isin(world.labels, labels)
    others, targets = (rng.permutation(np.flatnonzero(known)) for known in (~true, true))
    others = others[: len(others) * 9 // 10]
    most = int(len(others) * SHARE / (1 - SHARE))
    rows = np.sort(np.concatenate([others, targets[: max(1, min(most, len(targets) * 9 // 10))]]))
    return world.of(rows), true[rows]


def scores_of(world: World, true: np.ndarray, kind: str, draw: int) -> np.ndarray:
    """What a person says: 0 or 5; or 1 to 5, where a dull galaxy has 1 or 2, half of the class that is nearest to the
    target 3 (a tenth of all where there is one class), and a target 5, with noise of half a step."""
    if kind == "0/5":
        return 5.0 * true
    rng = np.random.default_rng(draw + 77)
    said = np.where(rng.random(len(true)) < 0.5, 1.0, 2.0)
    classes = np.unique(world.labels[~true])
    centre = world.features[true].mean(axis=0)
    away = [np.linalg.norm(world.features[~true & (world.labels == c)].mean(axis=0) - centre) for c in classes]
    near = world.labels == classes[int(np.argmin(away))]
    said[~true & near & (rng.random(len(true)) < (0.5 if len(classes) > 1 else 0.1))] = 3.0
    said[true] = 5.0
    return np.clip(np.rint(said + 0.5 * rng.normal(size=len(true))), 1, 5)


@contextmanager
def remembered_forests() -> Iterator[None]:
    """Grow no isolation forest twice: most rows search galaxies that another learner searched before."""
    grow, grown = active_learning.unsupervised_score, {}

    def remembered(features: np.ndarray, seed: int, among: np.ndarray | None = None, trees: int = 100) -> np.ndarray:
        key = hashlib.sha256(features.tobytes()).digest(), seed, trees
        if key not in grown:
            grown[key] = grow(features, seed, among, trees)
        return grown[key]

    active_learning.unsupervised_score = remembered
    try:
        yield
    finally:
        active_learning.unsupervised_score = grow


Task = tuple[str, str, str, str, str, int]
"""Kind of scores, set, target, learner, what varies and its number."""


def tasks() -> Iterator[Task]:
    """Every row of the sections, those of the first sample first."""
    for name, target in TARGETS:
        yield from ((kind, name, target, x, "sample", 0) for x in ("graded", "corrected", LOGISTIC) for kind in KINDS)
        yield "0/5", name, target, "published", "sample", 0
    for name, target in TARGETS:
        yield from (("0/5", name, target, "graded", "start", n) for n in range(STARTS))
    for name, target in TARGETS:
        yield from ((kind, name, target, x, "sample", 0) for x in GRID for kind in KINDS)
    for number in range(1, SAMPLES):
        for learner in ("graded", "corrected", LOGISTIC):
            for kind in KINDS:
                yield from ((kind, name, target, learner, "sample", number) for name, target in TARGETS)
    for name, target in TARGETS:
        yield from (("0/5", name, target, "graded", "perturbed", n) for n in range(PERTURBED))


def do(task: Task, world: Callable[[str], World]) -> Row:
    """The numbers of a task."""
    kind, name, target, learner, varied, number = task
    known, labels = world(SETS[name][0]), SETS[name][1][target]
    draw = number if varied == "sample" else 0
    known, true = rare(known, labels, draw)
    said = scores_of(known, true, kind, draw)
    features = known.features.astype(np.float64)
    if varied == "perturbed":
        features *= 1 + NOISE * np.random.default_rng(number).normal(size=features.shape)
    budget = min(BUDGET, len(true) // 100 * 10)
    settings = Anomaly.model_construct(**(dict(Anomaly()) | {"budget": budget, "learner": learner}))
    start = number if varied == "start" else 0
    asked, ranked = searched(features, known.ids, said, settings, start)
    forest = active_learning.best_first(active_learning.unsupervised_score(features, start), known.ids)
    unasked = forest[~np.isin(forest, asked)]
    lists = {"met": asked, "unshown": ranked[:budget], "forest": forest[:budget], "forest_unshown": unasked[:budget]}
    found = {what: int(true[rows].sum()) for what, rows in lists.items()}
    return {"of": int(true.sum()), "galaxies": len(true), "budget": budget} | found


def of(rows: list[Row], what: str, **where: str) -> list[int]:
    """One number of the rows that are meant."""
    return [row[what] for row in rows if all(row[key] == value for key, value in where.items())]


def show_kind(rows: list[Row], kind: str, learners: list[str]) -> str:
    """Met and unshown of every target, means over the samples; those of the isolation forest beside them."""
    lines, sums = [], {learner: [0.0, 0.0] for learner in ["forest", *learners]}
    for name, target in TARGETS:
        own = [r for r in rows if (r["set"], r["target"], r["kind"], r["varied"]) == (name, target, kind, "sample")]
        if not (base := of(own, "forest", learner="graded")):
            continue
        first = own[0]
        line = [f"{name}: {target}", f"{first['of']} of {first['galaxies']:,}", str(first["budget"])]
        line.append(f"{mean(base):.1f}")
        sums["forest"][1] += mean(base)
        for learner in learners:
            met, unshown = of(own, "met", learner=learner), of(own, "unshown", learner=learner)
            line.append(f"{_with_range(met)} / {_with_range(unshown)}" if met else "")
            if met:
                sums[learner] = [sums[learner][0] + mean(met), sums[learner][1] + mean(unshown)]
        lines.append(line)
    n = len(lines)
    base = sums["forest"][1]
    total = ["mean", "", "", f"{base / n:.1f}"]
    total += [f"{sums[x][0] / n:.1f} / {sums[x][1] / n:.1f} (x{sums[x][1] / base:.2f})" for x in learners]
    return _table(["target", "of", "questions", "isolation forest", *learners], [*lines, total])


def show_beside_forest(rows: list[Row]) -> str:
    """Targets found unshown over those that the isolation forest has first among galaxies that were not asked about:
    of each target by the means over the samples, and the mean of these. Empty where the forest has none.
    """
    columns = [("0/5", "published"), *((kind, x) for kind in KINDS for x in (LOGISTIC, "corrected", "graded"))]
    ratios: dict[tuple[str, str], list[float]] = {column: [] for column in columns}
    lines = []
    for name, target in TARGETS:
        line = [f"{name}: {target}"]
        for kind, learner in columns:
            where = {"set": name, "target": target, "kind": kind, "learner": learner, "varied": "sample"}
            found, forest = sum(of(rows, "unshown", **where)), sum(of(rows, "forest_unshown", **where))
            ratios[kind, learner] += [found / forest] if forest else []
            line.append(f"{found / forest:.2f}" if forest else "")
        lines.append(line)
    means = [f"{mean(found):.2f} (of {len(found)})" if found else "" for found in ratios.values()]
    head = [f"{learner}, {KINDS[kind]}" for kind, learner in columns]
    return _table(["target", *head], [*lines, ["mean", *means]])


def _with_range(values: list[int]) -> str:
    low, high = min(values), max(values)
    return f"{mean(values):.1f} ({low}-{high})" if low != high else f"{mean(values):.1f}"


def show_left_out(rows: list[Row]) -> str:
    """Each set by the choice that is best on the others."""
    lines, chosen = [], []
    for name in SETS:
        best = max(GRID, key=lambda learner: _worth([r for r in rows if r["set"] != name], learner))
        own = [row for row in rows if row["set"] == name and row["number"] == 0 and row["varied"] == "sample"]
        numbers = [f"{mean(of(own, what, learner=best)):.1f}" for what in ("met", "unshown")]
        forest = mean(of(own, "forest", learner=best))
        chosen.append((sum(of(own, "unshown", learner=best)), sum(of(own, "forest", learner=best))))
        graded = [f"{mean(of(own, what, learner='graded')):.1f}" for what in ("met", "unshown")]
        lines.append([name, best, " / ".join(numbers), " / ".join(graded), f"{forest:.1f}"])
    unshown, forest = (sum(one[i] for one in chosen) for i in (0, 1))
    lines.append(["all", "", f"unshown x{unshown / forest:.2f} of the isolation forest's", "", ""])
    return _table(["left out", "chosen on the others", "met / unshown of it", "of `graded`", "isolation forest"], lines)


def _worth(rows: list[Row], learner: str) -> float:
    """The mean share of the targets that are met or stand first unshown, over targets and kinds of scores."""
    own = [r for r in rows if r["learner"] == learner and r["varied"] == "sample" and r["number"] == 0]
    return mean((row["met"] + row["unshown"]) / row["of"] for row in own)


def show_grid(rows: list[Row]) -> str:
    """Every choice that was tried, over all targets, one sample."""
    lines = []
    for learner in GRID:
        line = [learner]
        for kind in KINDS:
            own = [r for r in rows if r["learner"] == learner and r["kind"] == kind]
            line.append(" / ".join(f"{mean(of(own, what)):.1f}" for what in ("met", "unshown")))
        lines.append([*line, f"{_worth(rows, learner):.3f}"])
    return _table(["power, length, deviations", *(f"scores {words}" for words in KINDS.values()), "worth"], lines)


def show_spread(rows: list[Row]) -> str:
    """Met and unshown of the same search from other starts, on other samples, and with rounding exaggerated."""
    lines = []
    for name, target in TARGETS:
        own = [r for r in rows if (r["set"], r["target"], r["kind"]) == (name, target, "0/5")]
        line = [f"{name}: {target}"]
        for varied in ("start", "sample", "perturbed"):
            pairs = [of(own, what, learner="graded", varied=varied) for what in ("met", "unshown")]
            line.append(" / ".join(f"{min(v)}-{max(v)}" if min(v) != max(v) else str(v[0]) for v in pairs if v))
        lines.append(line)
    return _table(["target", f"{STARTS} starts", f"{SAMPLES} samples of 90 %", f"{PERTURBED} perturbed"], lines)


SECTIONS: dict[str, Callable[[list[Row]], str]] = {
    "all targets": lambda rows: show_kind(rows, "0/5", ["published", LOGISTIC, "corrected", "graded"]),
    "graded scores": lambda rows: show_kind(rows, "1-5", [LOGISTIC, "corrected", "graded"]),
    "beside the forest": show_beside_forest,
    "choices": show_grid,
    "left out": show_left_out,
    "spread": show_spread,
}


def main() -> None:
    """Do what is not done yet, and write the page."""
    data, out = Path(sys.argv[1]).resolve(), Path(sys.argv[2])
    out.mkdir(parents=True, exist_ok=True)
    file, keys = out / "graded_search.jsonl", ("kind", "set", "target", "learner", "varied", "number")
    rows = [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []
    done = {tuple(row[key] for key in keys) for row in rows}
    world = functools.cache(lambda name: load_world(name, data, out))
    with tried_learners.registered(TRIED), remembered_forests():
        for task in tasks():
            if task in done:
                continue
            row = dict(zip(keys, task, strict=True)) | do(task, world)
            with file.open("a") as stream:
                stream.write(json.dumps(row) + "\n")
            rows.append(row)
            print(json.dumps(row), flush=True)
    write_sections(PAGE, {name: show(rows) for name, show in SECTIONS.items()})


if __name__ == "__main__":
    main()
