"""Is the representation any good: a small classification problem, epoch by epoch (paper 5).

Belongs here: the evaluation subset and the accuracies beside their baselines. Does not belong here: anything that
feeds back; training and the choice of epoch never see what is computed here.
"""

import functools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from galaxy_assets.orchestration.columns import shared
from galaxy_assets.orchestration.declaration import (
    EVERY_BATCH,
    TRAINED_ON,
    Result,
    SurveyContext,
    picture,
    survey_asset,
)
from galaxy_assets.science import figure_tables, votes
from galaxy_assets.settings.evaluation import Evaluation
from galaxy_assets.settings.printing import logger
from galaxy_assets.storage.checkpoints import load_encoder
from galaxy_assets.storage.tables import digest, rows_of

if TYPE_CHECKING:
    from galaxy_assets.science.encoders.network import Encoder

log = logger(__name__)

ACCURACY = pa.schema(
    [
        ("init", pa.string()),
        ("epoch", pa.int32()),
        ("features", pa.string()),
        ("split", pa.int32()),
        ("accuracy", pa.float64()),
        ("chosen", pa.bool_()),
    ]
)
EPOCH = "epoch of the training, 0 the start itself; one after the last, features side by side; 0 for the baselines"
_PIXELS = 128  # largest image of the raw-pixel baseline: 13,609 galaxies of 300 px would be 15 GB of floats
_LEAST = 10  # galaxies per class from which an accuracy means anything
_REMEMBERED = 8  # networks whose features of the subset are remembered: start weights of a survey share baselines
_JUDGED: dict[str, np.ndarray] = {}
NOTHING = "fewer than two classes of ten galaxies: the representation is not judged"


def balanced(subset: pa.Table, maximum: int | None, seed: int) -> pa.Table:
    """At most `maximum` random galaxies of each class, in the subset's order."""
    if maximum is None:
        return subset
    classes = subset["evaluation_class"].to_numpy(zero_copy_only=False)
    generator = np.random.default_rng(seed)
    chosen = [generator.permutation(np.flatnonzero(classes == c))[:maximum] for c in np.unique(classes)]
    return subset.take(np.sort(np.concatenate([np.empty(0, np.int64), *chosen])))


def largest_sample(sizes: Sequence[int], most: int) -> int | None:
    """How many of each class may stay at most, so that no more than `most` do; None where all may.

    Small classes stay whole.

    Parameters
    ----------
    sizes : sequence of int
        Of the classes.
    most : int
        Galaxies of all classes together.

    Returns
    -------
    int or None

    Examples
    --------
    >>> from galaxy_assets.orchestration.assets.evaluation import largest_sample
    >>> largest_sample([5000, 40, 9000], most=10_040)
    5000
    """
    left = most
    for i, size in enumerate(sorted(sizes)):
        share = left // (len(sizes) - i)
        if size > share:
            return max(share, 1)
        left -= size
    return None


@survey_asset(
    "5_evaluation",
    paper="5.1, Figure 2",
    reads=["catalogue", "cutouts", "volunteer_votes", "clean_galaxies"],
    settings=lambda survey: [survey.evaluation],
    version="2",
    explorer=5,
    columns=shared("galaxy_id", "evaluation_class"),
)
def evaluation_subset(
    context: SurveyContext, catalogue: pa.Table, cutouts: pa.Table, volunteer_votes: pa.Table, clean_galaxies: pa.Table
) -> Result:
    """The galaxies that are easy to classify, and their class: by cuts on the volunteers' votes, or by the
    catalogue's labels. Only clean galaxies, and the first of those whose images are equal byte for byte. Of more
    than `evaluation.judged_at_most` the largest classes are sampled.
    """
    evaluation = context.survey.evaluation
    subset = votes.evaluation_class(_described(catalogue, volunteer_votes, evaluation), evaluation)
    kept = clean_galaxies.filter(clean_galaxies["kept"])["galaxy_id"]
    subset = subset.filter(pa.compute.is_in(subset["galaxy_id"], kept.combine_chunks()))
    judged = catalogue.filter(pa.compute.is_in(catalogue["galaxy_id"], subset["galaxy_id"].combine_chunks()))
    subset = subset.filter(pa.compute.invert(pa.compute.is_in(subset["galaxy_id"], _copies(judged))))
    most = evaluation.maximum_per_class
    sizes = [min(n, most or n) for n in class_sizes(subset, evaluation).values()]
    if (sample := largest_sample(sizes, evaluation.judged_at_most)) is not None:
        words = "%s: %s galaxies could be judged, more than evaluation.judged_at_most; %s of each class are, at most"
        log.info(words, context.survey.name, f"{sum(sizes):,}", f"{sample:,}")
        most = sample
    subset = balanced(subset, most, evaluation.seed)
    shown: dict[str, Any] = {f"class {name}": n for name, n in class_sizes(subset, evaluation).items()}
    return Result(subset, shown | _examples(context, cutouts, subset))


def _described(catalogue: pa.Table, volunteer_votes: pa.Table, evaluation: Evaluation) -> pa.Table:
    """What the classes and cuts go by: votes, labels, or both."""
    by_labels = any(c.labels for c in evaluation.classes)
    if evaluation.reject or any(c.cuts for c in evaluation.classes):
        return votes.beside_labels(catalogue, volunteer_votes) if by_labels else volunteer_votes
    return catalogue


def _copies(catalogue: pa.Table) -> pa.Array:
    """Galaxies whose image an earlier row of the catalogue has too: else it would be trained on and tested with."""
    if "sha256" not in catalogue.column_names:
        return pa.array([], pa.string())
    named = catalogue.select(["galaxy_id", "sha256"]).drop_null()
    first = (
        named.append_column("row", pa.array(np.arange(named.num_rows))).group_by("sha256").aggregate([("row", "min")])
    )
    others = np.setdiff1d(np.arange(named.num_rows), first["row_min"].to_numpy())
    return named["galaxy_id"].take(pa.array(others)).combine_chunks()


def class_sizes(subset: pa.Table, evaluation: Evaluation) -> dict[str, int]:
    """How many galaxies each evaluation class has, also those that have none."""
    classes = subset["evaluation_class"].to_pylist()
    return {c.name: classes.count(c.name) for c in evaluation.classes}


def _examples(context: SurveyContext, cutouts: pa.Table, subset: pa.Table) -> dict[str, Any]:
    """Eight random galaxies of each class as a contact sheet, for the UI."""
    from galaxy_assets.figures.galleries import contact_sheet

    if not subset.num_rows:
        return {}
    evaluation = context.survey.evaluation
    classes = subset["evaluation_class"].to_numpy(zero_copy_only=False)
    generator = np.random.default_rng(evaluation.seed)
    names = [c.name for c in evaluation.classes]
    shown = np.concatenate([generator.permutation(np.flatnonzero(classes == c))[:8] for c in names])
    pixels = context.pixels.of(cutouts)[rows_of(cutouts, subset.take(shown))]
    sheet = contact_sheet(list(pixels), [classes[i] for i in shown], columns=8)
    return picture(context, sheet, "evaluation_classes")


@survey_asset(
    "5_evaluation",
    paper="5, Figures 3 and 14",
    by="init",
    reads={"cutouts": EVERY_BATCH | TRAINED_ON, "evaluation_subset": TRAINED_ON, "byol_checkpoints": {}},
    # with features side by side the curve has a star, which it had not
    settings=lambda survey: [survey.evaluation, survey.recipe, *(["star"] if survey.recipe.beside else [])],
    gpu=True,
    job="training",
    tuned=True,
    columns=shared("init")
    | {
        "epoch": EPOCH,
        "features": "what was judged: byol, the training; or a baseline: pixels, untrained, pretrained",
        "split": "number of the random split into training and test galaxies, from 0",
        "accuracy": "share of the test galaxies whose class their nearest neighbours give, 0 to 1",
        "chosen": "whether it is of the epoch whose weights are used",
    },
)
def epoch_accuracy(
    context: SurveyContext, cutouts: pa.Table, evaluation_subset: pa.Table, byol_checkpoints: pa.Table
) -> Result:
    """K-nearest-neighbour accuracy of every epoch on random training-test splits, beside three baselines: raw
    pixels (128 px at most), and the untrained and the ImageNet network embedded alike (size, orientations). Classes
    of fewer than ten galaxies are left out; without two others there is nothing to judge by, and the table is empty.
    """
    from galaxy_assets.figures.curves import epoch_accuracy as draw

    labels = evaluation_subset["evaluation_class"].to_numpy(zero_copy_only=False)
    classes, counts = np.unique(labels, return_counts=True)
    if np.sum(counts >= _LEAST) < 2:
        log.info("%s: %s", context.survey.name, NOTHING)
        return Result(ACCURACY.empty_table(), {"judged": NOTHING})
    if rare := classes[counts < _LEAST].tolist():
        log.warning("%s: classes of fewer than ten galaxies are not judged: %s", context.survey.name, ", ".join(rare))
        evaluation_subset = evaluation_subset.filter(pa.array(~np.isin(labels, rare)))
        labels = evaluation_subset["evaluation_class"].to_numpy(zero_copy_only=False)
    judge = _Judge(context, cutouts, rows_of(cutouts, evaluation_subset), labels)
    chosen = next(row["epoch"] for row in byol_checkpoints.to_pylist() if row["chosen"])
    found = [*judge.baselines(), *judge.epochs(byol_checkpoints)]
    table = pa.concat_tables(_rows(context.init, epoch, kind, a, chosen) for epoch, kind, a in found)
    curve_of = figure_tables.accuracy_by_epoch(table, [context.init])
    means = {kind: float(a.mean()) for _, kind, a in found if kind != "byol"}
    curve = {epoch: float(a.mean()) for epoch, kind, a in found if kind == "byol"}
    return Result(
        table,
        {
            "galaxies": len(labels),
            "chosen epoch": chosen,
            "accuracy": curve[chosen],
            "accuracy at epoch 0": curve[0],
            **{f"baseline {kind}": mean for kind, mean in means.items()},
            **picture(context, draw(curve_of, context.survey.recipe.epochs), "epoch_accuracy", context.init),
        },
    )


@dataclass(frozen=True)
class _Judge:
    """Judges features of the evaluation subset, rows of `cutouts`, by their classes."""

    context: SurveyContext
    cutouts: pa.Table
    rows: np.ndarray
    labels: np.ndarray

    def accuracies(self, epoch: int, kind: str, features: np.ndarray) -> tuple[int, str, np.ndarray]:
        from galaxy_assets.science.neighbours import knn_accuracies

        evaluation = self.context.survey.evaluation
        accuracies = knn_accuracies(
            features,
            self.labels,
            neighbours=evaluation.neighbours,
            splits=evaluation.splits,
            test_fraction=evaluation.test_fraction,
            seed=evaluation.seed,
        )
        log.info("%s %s epoch %d: k-NN accuracy %.3f", self.context.init, kind, epoch, accuracies.mean())
        return epoch, kind, accuracies

    def features(self, encoder: "Encoder") -> np.ndarray:
        """Features of the subset; of a network that was judged before, for other start weights, they are remembered."""
        from galaxy_assets.science.devices import choose_devices
        from galaxy_assets.science.encoders.embedding import embed
        from galaxy_assets.science.encoders.network import encoder_sha256

        recipe = self.context.survey.recipe
        asked = (recipe.image_size, recipe.orientations, recipe.embedding_precision)
        key = f"{self._of_subset} {asked} {encoder_sha256(encoder)}"
        if key not in _JUDGED:
            found = embed(
                encoder,
                self.context.pixels.of(self.cutouts, recipe.image_size),
                indices=self.rows,
                device=choose_devices()[0],
                orientations=recipe.orientations,
                precision=recipe.embedding_precision,
            )
            if len(_JUDGED) >= _REMEMBERED:
                _JUDGED.pop(next(iter(_JUDGED)))
            _JUDGED[key] = found
        return _JUDGED[key]

    @functools.cached_property
    def _of_subset(self) -> str:
        """Digest of the images: which rows of which pixels."""
        return digest(
            self.cutouts.select(["batch", "pixels"]).take(self.rows).append_column("row", pa.array(self.rows))
        )

    def baselines(self) -> Iterator[tuple[int, str, np.ndarray]]:
        """Raw pixels, and the networks that were not trained here."""
        from galaxy_assets.science.encoders.weights import MissingWeights, build_encoder

        recipe = self.context.survey.recipe
        small = self.context.pixels.of(self.cutouts, min(recipe.image_size, _PIXELS))
        yield self.accuracies(0, "pixels", small[self.rows].reshape(len(self.rows), -1))
        for kind, start in [("untrained", "random"), ("pretrained", "imagenet")]:
            try:
                weights = self.context.layout.weights
                encoder = build_encoder(recipe.backbone, start, seed=recipe.seed, weights=weights)
            except MissingWeights as error:
                log.warning("no %s baseline: %s", kind, error)
                continue
            yield self.accuracies(0, kind, self.features(encoder))

    def epochs(self, byol_checkpoints: pa.Table) -> Iterator[tuple[int, str, np.ndarray]]:
        """Every epoch of a training."""
        for row in byol_checkpoints.to_pylist():
            encoder = load_encoder(self.context.layout.root / row["path"])
            yield self.accuracies(row["epoch"], "byol", self.features(encoder))


def _rows(init: str, epoch: int, kind: str, accuracies: np.ndarray, chosen: int) -> pa.Table:
    """Rows of `epoch_accuracy`, one per split."""
    n = len(accuracies)
    columns = {
        "init": [init] * n,
        "epoch": [epoch] * n,
        "features": [kind] * n,
        "split": list(range(n)),
        "accuracy": accuracies,
        "chosen": [kind == "byol" and epoch == chosen] * n,
    }
    return pa.table(columns, schema=ACCURACY)
