"""Figures 2, 3, 13 and 14, the evaluation of the representation (paper 5, 8.1 and 8.2).

Belongs here: what these figures read, show and say. Does not belong here: drawing (`figures`), measuring accuracies
(`science.neighbours`).
"""

from collections.abc import Sequence

import numpy as np
import pyarrow as pa

from galaxy_assets.orchestration.assets.evaluation import EPOCH
from galaxy_assets.orchestration.assets.paper_figures.declaring import (
    GALAXY,
    REAL,
    TEXT,
    WHOLE,
    Columns,
    NotApplicable,
    Shown,
    View,
    named,
    paper_figure,
)
from galaxy_assets.orchestration.columns import SHARED
from galaxy_assets.science import figure_tables
from galaxy_assets.settings.recipe import MIDDLE, PYRAMID, START, Recipe
from galaxy_assets.storage.tables import lookup

_FIGURE_3 = ("random", "imagenet")  # start weights the paper compares on the optical survey
_ACCURACY: Columns = {
    "init": (TEXT, SHARED["init"]),
    "epoch": (WHOLE, EPOCH),
    "features": (TEXT, "what was judged: byol, the training; or a baseline: pixels, untrained, pretrained"),
    "mean": (REAL, "mean accuracy over the random splits, 0 to 1"),
    "std": (REAL, "standard deviation of the accuracy over the splits"),
    "n": (WHOLE, "number of splits"),
}


@paper_figure(
    "figure_02",
    "Examples of the evaluation classes",
    "5.1, Figure 2",
    {
        "evaluation_class": (TEXT, SHARED["evaluation_class"]),
        "position": (WHOLE, "place among the examples of its class, from 1"),
        **GALAXY,
    },
    reads=["cutouts", "evaluation_subset"],
    settings=("evaluation",),
    version="2",
)
def figure_02(view: View, evaluation_subset: pa.Table) -> Shown:
    """Up to nine random galaxies of each class that judges the representation."""
    from galaxy_assets.figures.plates import class_examples

    members = members_by_class(evaluation_subset)
    chosen = {k: figure_tables.sample(ids, 9, view.survey.evaluation.seed) for k, ids in members.items()}
    counts = ", ".join(f"{named(k)} ({len(ids):,})" for k, ids in members.items())
    return Shown(
        [
            {"evaluation_class": k, "position": i, "galaxy_id": galaxy}
            for k, ids in chosen.items()
            for i, galaxy in enumerate(ids, 1)
        ],
        class_examples({k: view.images(ids) for k, ids in chosen.items()}),
        f"Up to nine galaxies of each class of the evaluation subset, drawn at random; the classes and their sizes are "
        f"{counts}.",
        {named(k): len(ids) for k, ids in members.items()},
    )


def members_by_class(evaluation_subset: pa.Table) -> dict[str, list[str]]:
    """Ids of each evaluation class, classes by name."""
    members: dict[str, list[str]] = {}
    for galaxy, name in sorted(lookup(evaluation_subset, "evaluation_class").items(), key=lambda pair: pair[::-1]):
        members.setdefault(name, []).append(galaxy)
    if not members:
        raise NotApplicable("no galaxy belongs to an evaluation class: the survey has no labels or votes for them")
    return members


@paper_figure(
    "figure_03",
    "k-NN accuracy against epoch, random and ImageNet start",
    "5.2, Figure 3",
    _ACCURACY,
    starts=["epoch_accuracy"],
    settings=("evaluation", "recipe"),
    version="2",
)
def figure_03(view: View, epoch_accuracy: pa.Table) -> Shown:
    """Mean and standard deviation of the accuracy over random splits for every epoch, and for what stands side by side
    with the chosen one; the features `untrained`, `pretrained` and `pixels` are baselines that were not trained here.
    """
    return _accuracy(view, epoch_accuracy, [name for name in view.survey.start_weights if name in _FIGURE_3])


@paper_figure(
    "figure_14",
    "k-NN accuracy against epoch, all start weights",
    "8.2, Figure 14",
    _ACCURACY,
    starts=["epoch_accuracy"],
    settings=("evaluation", "recipe"),
    version="2",
)
def figure_14(view: View, epoch_accuracy: pa.Table) -> Shown:
    """As Figure 3, for every start that was trained."""
    if set(view.survey.start_weights) <= set(_FIGURE_3):
        raise NotApplicable("the survey has no start weights beside those of Figure 3")
    return _accuracy(view, epoch_accuracy, view.survey.start_weights)


def _accuracy(view: View, epoch_accuracy: pa.Table, starts: Sequence[str]) -> Shown:
    import pyarrow.compute as pc

    from galaxy_assets.figures import curves

    table = figure_tables.accuracy_by_epoch(epoch_accuracy, starts)
    trained = table.filter(pc.equal(table["features"], "byol"))
    if not trained.num_rows:
        raise NotApplicable("no accuracy of these start weights: the survey has no two classes to judge them by")
    rows, judged, recipe = trained.to_pylist(), view.survey.evaluation, view.survey.recipe
    made = list(dict.fromkeys(row["init"] for row in rows))
    numbers, said = {}, []
    for init in made:
        own = {row["epoch"]: row["mean"] for row in rows if row["init"] == init}
        together = own.pop(recipe.epochs + 1, None)
        first, last = own[min(own)], own[max(own)]
        numbers |= {f"{init}, epoch {min(own)}": first, f"{init}, epoch {max(own)}": last}
        course = f" before and {last:.1%} after {max(own)} epochs" if max(own) else ", not trained"
        said.append(f"{named(init)} {first:.1%}{course}")
        if together is not None:
            numbers |= {f"{init}, side by side": together}
            said[-1] += f", side by side with {_beside(recipe, init)} {together:.1%}"
    absent = [init for init in starts if init not in made]
    baselines = {"pretrained": "the ImageNet network as it is", "untrained": "an untrained one", "pixels": "raw pixels"}
    levels = {
        name: np.mean([row["mean"] for row in table.to_pylist() if row["features"] == kind] or [np.nan])
        for kind, name in baselines.items()
    }
    known = ", ".join(f"{name} {level:.1%}" for name, level in levels.items() if np.isfinite(level))
    return Shown(
        table,
        curves.epoch_accuracy(table, recipe.epochs),
        f"Accuracy of {judged.neighbours} nearest neighbours on the evaluation subset after each epoch of training. "
        f"Lines are means over {rows[0]['n']} random splits, {1 - judged.test_fraction:.0%} for training, the rest for "
        f"testing, bands one standard deviation. Start weights: {'; '.join(said)}."
        + (f" Grey lines are features not trained here: {known}." if known else "")
        + (f" Not there: {', '.join(map(named, absent))}." if absent else ""),
        numbers | {name: float(level) for name, level in levels.items()},
    )


def _beside(recipe: Recipe, init: str) -> str:
    """What stands beside the chosen epoch of a training from these start weights, in words."""
    ours = {START: "the start", MIDDLE: "its middle block", PYRAMID: "its middle block over places"}
    return " and ".join(ours.get(name) or named(name) for name in recipe.beside if name != init)


@paper_figure(
    "figure_13",
    "Labelled galaxies at random",
    "8.1, Figure 13",
    {
        "position": (WHOLE, "place in the figure, from 1, row by row"),
        **GALAXY,
        "label": (TEXT, SHARED["evaluation_class"]),
    },
    reads=["cutouts", "evaluation_subset"],
    settings=("evaluation",),
    version="2",
)
def figure_13(view: View, evaluation_subset: pa.Table) -> Shown:
    """Galaxies of the evaluation subset and their class, up to four of each class (three from four classes on), in
    random order.
    """
    from galaxy_assets.figures.plates import labelled_grid

    members, seed = (
        members_by_class(evaluation_subset),
        view.survey.evaluation.seed + 1,
    )  # other galaxies than in Figure 2
    each = 4 if len(members) < 4 else 3
    label = {galaxy: k for k, ids in members.items() for galaxy in figure_tables.sample(ids, each, seed)}
    ids = figure_tables.sample(list(label), len(label), seed)
    return Shown(
        [{"position": i, "galaxy_id": galaxy, "label": label[galaxy]} for i, galaxy in enumerate(ids, 1)],
        labelled_grid(view.images(ids), [named(label[galaxy]) for galaxy in ids]),
        f"Galaxies of the evaluation subset in random order, with the true label in the corner: up to {each} at "
        f"random of each of {', '.join(map(named, members))}.",
        {"galaxies": len(ids), "classes": len(members)},
    )
