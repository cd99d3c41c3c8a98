"""How long the tables of a survey should take where none was made before: seconds of other surveys' runs, continued.

Belongs here: what the seconds of each asset grow with, and reading `first_run.json`, which benchmarks/first_run.py
writes. Does not belong here: the seconds of a survey's own runs (`engines.forecast`), how fast this machine is beside
that of the benchmark (`cli.run_progress`), surveys of millions (`plan`).
"""

import functools
import json
from collections.abc import Collection, Mapping
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from galaxy_assets.orchestration.course import Table
from galaxy_assets.orchestration.graph import ASSETS
from galaxy_assets.orchestration.planning.foreseen import foreseen
from galaxy_assets.orchestration.planning.measured import measured
from galaxy_assets.orchestration.planning.networks import is_trained, network_of, networks_of
from galaxy_assets.settings.survey import Survey
from galaxy_assets.storage.layout import Layout
from galaxy_assets.storage.tables import opened_table
from galaxy_assets.storage.trials import TRIALS, in_force

FILE = Path(__file__).with_name("first_run.json")
DELIVERED = "delivered_images"
FORESEEN_BY = (DELIVERED, TRIALS)
"""Tables that say how much work the others are: the number of images, and the recipe."""
_LOOKED_AT = 1000  # galaxies at most that trials and the health of an epoch look at
_COUNTED = 100  # deliveries whose images are counted; others are taken to have as many in the mean


class Expected(NamedTuple):
    """How long a table should take on the machine of the benchmark.

    Attributes
    ----------
    seconds : float
    by_network : bool
        Whether most of it is a network's work, which another machine does faster by another factor than the rest.
    """

    seconds: float
    by_network: bool


def work_of(survey: Survey, asset: str, start: str, galaxies: float, in_all: float) -> tuple[float, bool]:
    """What the seconds of a table grow with.

    Parameters
    ----------
    survey : Survey
        With what its trials chose.
    asset : str
    start : str
        The start weights of its partition; empty where it has none.
    galaxies : float
        Of the delivery, or of the survey where the asset is of all.
    in_all : float
        Of the survey.

    Returns
    -------
    work : float
        Of networks in 10^9 operations, of other assets in galaxies.
    by_network : bool
    """
    recipe, few = survey.recipe, min(galaxies, _LOOKED_AT)
    if asset == "embeddings":
        trained = is_trained(survey, start, in_all)
        operations = sum(part.operations for part in networks_of(survey, start, trained) if part is not None)
        return galaxies * recipe.orientations * operations / 1e9, True
    epochs = recipe.epochs if start and is_trained(survey, start, in_all) else 0
    step = measured().assumed["forward_passes_of_a_training_step"]
    passes = {
        TRIALS: few,
        "pretrained_features": galaxies,
        "byol_checkpoints": epochs * (step * galaxies + recipe.orientations * few),
        "epoch_accuracy": (epochs + 2) * recipe.orientations * _judged(survey, galaxies),
    }
    if asset not in passes:
        return galaxies, False
    network = network_of(survey, start or "imagenet")
    return passes[asset] * (0.0 if network is None else network.operations) / 1e9, True


def works(survey: Survey, tables: Collection[Table], layout: Layout) -> dict[Table, tuple[float, bool]]:
    """What the seconds of each table grow with.

    Parameters
    ----------
    survey : Survey
    tables : collection of Table
        All that a run makes or finds, deliveries among them.
    layout : Layout
        Of the data folder, where the deliveries that were looked at tell their images, and trials their choice.

    Returns
    -------
    dict of Table to (float, bool)
        As `work_of` answers. Empty where no delivery was looked at.

    Raises
    ------
    ValueError
        Where the survey names a backbone that there is not.
    """
    deliveries = [partition for asset, partition in tables if asset == DELIVERED and partition is not None]
    images = _images(survey.name, deliveries, layout)
    if not images:
        return {}
    mean, chosen = sum(images.values()) / len(images), _chosen(survey, layout)
    in_all, found = mean * len(deliveries), {}
    for asset, partition in tables:
        if asset not in ASSETS:  # of an engine of another package
            continue
        by = ASSETS[asset].by or ""
        delivery, start = (partition or "").rpartition("|")[::2] if by == "batch_init" else (partition, partition)
        galaxies = images.get(str(delivery), mean) if "batch" in by else in_all
        found[asset, partition] = work_of(chosen, asset, str(start) if "init" in by else "", galaxies, in_all)
    return found


def expected_seconds(
    survey: Survey, tables: Collection[Table], layout: Layout, known: Mapping[str, tuple[float, float]] | None = None
) -> dict[Table, Expected]:
    """How long tables of a survey should take on the machine of the benchmark.

    Parameters
    ----------
    survey : Survey
    tables : collection of Table
        As `works` takes them.
    layout : Layout
        Of the data folder.
    known : mapping of str to (float, float), optional
        Asset -> seconds that it takes in any case, and for each unit of work; those of `first_run.json` when None.

    Returns
    -------
    dict of Table to Expected
        Without tables of other assets. Empty where no delivery was looked at.

    Raises
    ------
    ValueError
        Where the survey names a backbone that there is not.
    """
    known = _shipped() if known is None else known
    return {
        table: Expected(known[table[0]][0] + known[table[0]][1] * work, by_network)
        for table, (work, by_network) in works(survey, tables, layout).items()
        if table[0] in known
    }


def _chosen(survey: Survey, layout: Layout) -> Survey:
    """The survey with the choice of its trials, or with what is foreseen of it where they were not made yet."""
    try:
        return in_force(layout, survey)
    except FileNotFoundError:
        return foreseen(survey)


def _judged(survey: Survey, galaxies: float) -> float:
    """Galaxies of the evaluation subset at most."""
    classes, most = len(survey.evaluation.classes), survey.evaluation.maximum_per_class
    found = galaxies if most is None and classes else min(galaxies, classes * (most or 0))
    return min(found, survey.evaluation.judged_at_most)


def _images(survey: str, deliveries: Collection[str], layout: Layout) -> dict[str, int]:
    """Delivery -> its images, of some that were looked at."""
    found = {}
    for delivery in list(deliveries)[:_COUNTED]:
        with suppress(FileNotFoundError), opened_table(layout.table(survey, DELIVERED, delivery)) as file:
            found[delivery] = file.metadata.num_rows
    return found


@functools.cache
def _shipped() -> dict[str, tuple[float, float]]:
    """Asset -> seconds that it takes in any case, and for each unit of work."""
    return {name: tuple(two) for name, two in json.loads(FILE.read_text(encoding="utf-8"))["assets"].items()}
