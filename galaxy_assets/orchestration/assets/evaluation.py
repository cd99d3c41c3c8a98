"""Is the representation any good: a small classification problem, epoch by epoch (paper 5).

Belongs here: the evaluation subset and the accuracies beside their baselines. Does not belong here: anything that
feeds back; training and the choice of epoch never see what is computed here.
"""

import logging

import dagster as dg
import numpy as np
import pyarrow as pa

from galaxy_assets.orchestration.assets.artefacts import pixels_of, rows_of
from galaxy_assets.orchestration.declaration import EVERY_BATCH, TRAINED_ON, Lake, check, picture, result, survey_asset
from galaxy_assets.science import figure_tables, votes
from galaxy_assets.settings.survey import Survey
from galaxy_assets.storage.checkpoints import load_encoder

log = logging.getLogger(__name__)

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
_PIXELS = 128  # largest image of the raw-pixel baseline: 13,609 galaxies of 300 px would be 15 GB of floats
_LEAST = 10  # galaxies per class from which an accuracy means anything


def balanced(subset: pa.Table, maximum: int | None, seed: int) -> pa.Table:
    """At most `maximum` random galaxies of each class, in the subset's order."""
    if maximum is None:
        return subset
    classes = subset["evaluation_class"].to_numpy(zero_copy_only=False)
    generator = np.random.default_rng(seed)
    chosen = [generator.permutation(np.flatnonzero(classes == c))[:maximum] for c in np.unique(classes)]
    return subset.take(np.sort(np.concatenate([np.empty(0, np.int64), *chosen])))


def build(survey: Survey) -> list[dg.AssetsDefinition]:
    """`evaluation_subset` and `epoch_accuracy` (init) of a survey."""
    recipe, evaluation = survey.recipe, survey.evaluation

    @survey_asset(
        survey,
        "5_evaluation",
        paper="5.1, Figure 2",
        reads=["catalogue", "cutouts", "volunteer_votes", "clean_galaxies"],
        settings=[evaluation],
        checks={"classes_filled": "Every evaluation class has at least ten galaxies."},
    )
    def evaluation_subset(
        lake: Lake, catalogue: pa.Table, cutouts: pa.Table, volunteer_votes: pa.Table, clean_galaxies: pa.Table
    ):
        """The galaxies that are easy to classify, and their class: by cuts on the volunteers' votes, or by the
        catalogue's labels. Only clean galaxies."""
        from galaxy_assets.figures.galleries import contact_sheet

        by_votes = any(c.cuts for c in evaluation.classes)
        subset = votes.evaluation_class(volunteer_votes if by_votes else catalogue, evaluation)
        kept = clean_galaxies.filter(clean_galaxies["kept"])["galaxy_id"]
        subset = subset.filter(pa.compute.is_in(subset["galaxy_id"], kept.combine_chunks()))
        subset = balanced(subset, evaluation.maximum_per_class, evaluation.seed)
        classes = subset["evaluation_class"].to_numpy(zero_copy_only=False)
        counts = {c.name: int((classes == c.name).sum()) for c in evaluation.classes}
        metadata = {f"class {name}": n for name, n in counts.items()}
        if subset.num_rows:
            generator = np.random.default_rng(evaluation.seed)
            shown = np.concatenate([generator.permutation(np.flatnonzero(classes == c))[:8] for c in counts])
            pixels = pixels_of(lake, survey, cutouts)[rows_of(cutouts, subset.take(shown))]
            sheet = contact_sheet(list(pixels), [classes[i] for i in shown], columns=8)
            metadata |= picture(lake, survey, sheet, "evaluation_classes")
        least = min(counts.values(), default=0)
        return result(
            subset,
            metadata=metadata,
            checks=[check("classes_filled", least >= 10, f"smallest class: {least}", warn=True)],
        )

    @survey_asset(
        survey,
        "5_evaluation",
        paper="5, Figures 3 and 14",
        by="init",
        reads={"cutouts": EVERY_BATCH | TRAINED_ON, "evaluation_subset": TRAINED_ON, "byol_checkpoints": {}},
        settings=[evaluation, recipe],
        gpu=True,
        checks={
            "better_than_pixels": "The chosen epoch's mean accuracy is above that of raw pixels.",
            "better_than_networks": "It is above that of the untrained and the ImageNet network, embedded alike.",
        },
    )
    def epoch_accuracy(
        context: dg.AssetExecutionContext,
        lake: Lake,
        cutouts: pa.Table,
        evaluation_subset: pa.Table,
        byol_checkpoints: pa.Table,
    ):
        """K-nearest-neighbour accuracy of every epoch on random training-test splits, beside three baselines: raw
        pixels (128 px at most), and the untrained and the ImageNet network embedded alike (size, orientations). Without
        two classes of ten galaxies there is nothing to judge by, and the table is empty."""
        from galaxy_assets.figures.curves import epoch_accuracy as draw
        from galaxy_assets.science.encoders.embedding import choose_devices, embed
        from galaxy_assets.science.encoders.network import Encoder
        from galaxy_assets.science.encoders.weights import MissingWeights, build_encoder
        from galaxy_assets.science.neighbours import knn_accuracies

        init, device = context.partition_key, choose_devices()[0]
        stack = pixels_of(lake, survey, cutouts, recipe.image_size)
        rows = rows_of(cutouts, evaluation_subset)
        labels = evaluation_subset["evaluation_class"].to_numpy(zero_copy_only=False)
        counts = np.unique(labels, return_counts=True)[1]
        if len(counts) < 2 or counts.min() < _LEAST:
            nothing = "fewer than two classes of ten galaxies: the representation is not judged"
            log.info("%s: %s", survey.name, nothing)
            empty = pa.Table.from_pylist([], schema=ACCURACY)
            checks = ("better_than_pixels", "better_than_networks")
            return result(empty, checks=[check(name, False, nothing, warn=True) for name in checks])
        found: list[tuple[int, str, np.ndarray]] = []

        def judge(epoch: int, kind: str, features: np.ndarray) -> None:
            accuracies = knn_accuracies(
                features,
                labels,
                neighbours=evaluation.neighbours,
                splits=evaluation.splits,
                test_fraction=evaluation.test_fraction,
                seed=evaluation.seed,
            )
            found.append((epoch, kind, accuracies))
            log.info("%s %s epoch %d: k-NN accuracy %.3f", init, kind, epoch, accuracies.mean())

        def features_of(encoder: Encoder) -> np.ndarray:
            return embed(encoder, stack, indices=rows, device=device, orientations=recipe.orientations)

        small = pixels_of(lake, survey, cutouts, min(recipe.image_size, _PIXELS))
        judge(0, "pixels", small[rows].reshape(len(rows), -1).astype(np.float32))
        for kind, start in [("untrained", "random"), ("pretrained", "imagenet")]:
            try:
                encoder = build_encoder(recipe.backbone, start, seed=recipe.seed, weights=lake.layout.weights)
            except MissingWeights as error:
                log.warning("no %s baseline: %s", kind, error)
                continue
            judge(0, kind, features_of(encoder))
        for row in byol_checkpoints.to_pylist():
            judge(row["epoch"], "byol", features_of(load_encoder(lake.layout.root / row["path"])))
        chosen = next(row["epoch"] for row in byol_checkpoints.to_pylist() if row["chosen"])
        table = pa.concat_tables(
            pa.table(
                {
                    "init": [init] * len(a),
                    "epoch": [epoch] * len(a),
                    "features": [kind] * len(a),
                    "split": list(range(len(a))),
                    "accuracy": a,
                    "chosen": [kind == "byol" and epoch == chosen] * len(a),
                },
                schema=ACCURACY,
            )
            for epoch, kind, a in found
        )
        means = {kind: float(a.mean()) for _, kind, a in found if kind != "byol"}
        curve = {epoch: float(a.mean()) for epoch, kind, a in found if kind == "byol"}
        accuracy, networks = curve[chosen], {k: m for k, m in means.items() if k != "pixels"}
        return result(
            table,
            metadata={
                "galaxies": len(rows),
                "chosen epoch": chosen,
                "accuracy": accuracy,
                "accuracy at epoch 0": curve[0],
                **{f"baseline {kind}": mean for kind, mean in means.items()},
                **picture(lake, survey, draw(figure_tables.accuracy_by_epoch(table, [init])), "epoch_accuracy", init),
            },
            checks=[
                check(
                    "better_than_pixels",
                    accuracy > means["pixels"],
                    f"{accuracy:.3f} at the chosen epoch, raw pixels {means['pixels']:.3f}",
                    warn=True,
                ),
                check(
                    "better_than_networks",
                    accuracy > max(networks.values()),
                    f"{accuracy:.3f} at the chosen epoch, {', '.join(f'{k} {m:.3f}' for k, m in networks.items())}",
                    warn=True,
                ),
            ],
        )

    return [evaluation_subset, epoch_accuracy]
