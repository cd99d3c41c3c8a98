"""Self-supervised representations from several start weights, and their principal components (paper 4).

Belongs here: training, embedding, PCA. Does not belong here: the training step (`science.byol`), any label.
"""

import hashlib
import json
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import dagster as dg
import numpy as np
import pyarrow as pa

from galaxy_assets import plugins
from galaxy_assets.orchestration.alone import training_alone
from galaxy_assets.orchestration.columns import shared
from galaxy_assets.orchestration.declaration import (
    EVERY_BATCH,
    FITTED_ON,
    IN_TURN,
    TRAINED_ON,
    Result,
    SurveyContext,
    picture,
    survey_asset,
)
from galaxy_assets.orchestration.external import OTHER_CHECKPOINTS, WEIGHTS
from galaxy_assets.orchestration.other_hosts import TrainingElsewhere, invite
from galaxy_assets.orchestration.training_ledger import FEW, FIXED, ledger
from galaxy_assets.settings.printing import logger
from galaxy_assets.settings.progress import Progress, tell
from galaxy_assets.settings.recipe import HALVES, OF_START, PYRAMID, START, Recipe
from galaxy_assets.settings.survey import Survey
from galaxy_assets.storage.checkpoints import (
    Training,
    chosen_checkpoint,
    file_sha256,
    load_encoder,
    load_start,
    save_encoder,
)
from galaxy_assets.storage.in_turn import TablesInTurn
from galaxy_assets.storage.layout import Layout
from galaxy_assets.storage.pixel_stack import PixelStack
from galaxy_assets.storage.store import store_of
from galaxy_assets.storage.tables import column_to_vectors, digest, read_table, rows_of, vectors_to_column

if TYPE_CHECKING:
    from galaxy_assets.science.encoders.network import Encoder

log = logger(__name__)

_VERSION = "2"  # of the training; raise it when a change of code changes the weights
_SAMPLE = 1000  # galaxies on which health is watched: enough for a rank's second digit, little beside an epoch
_KEPT_IN = "kept_in"  # seconds that an epoch's weights and health took, in its file alone: they tell the time left
_CHECKPOINTS = shared("init") | {
    "epoch": "epoch of the training, 0 the start itself; one after the last: the chosen one and others side by side",
    "path": "file of the weights, below the data folder",
    "sha256": "sha256 of that file",
    "loss": "mean BYOL loss per image, 0 to 8; null at epoch 0",
    "learning_rate": "learning rate of the optimiser; null at epoch 0",
    "effective_rank": "dimensions that the features fill, by the entropy of their singular values; 0 if collapsed",
    "pcs_95": "principal components that hold 95 % of the variance",
    "alignment": "mean squared distance of two views of a galaxy on the unit sphere, 0 (alike) to 4",
    "uniformity": "log of the mean of exp(-2 d^2) over pairs on the unit sphere: 0 for one point, lower where spread",
    "feature_std": "spread of the features on the unit sphere: near 1 where they spread, 0 for one point",
    "stability": "share of a galaxy's ten nearest neighbours that another view of it keeps, 0 to 1",
    "seconds": ("wall-clock time of the epoch; null at epoch 0", "s"),
    "images_per_second": ("speed of the training; null at epoch 0", "1 / s"),
    "memory_gb": ("most memory in use up to then; null at epoch 0", "Gbyte"),
    "chosen": "whether these are the weights that are used",
    "reason": "why the epoch was chosen; null for the others",
    "recipe": "fingerprint of what decides the weights: code, recipe, start weights and galaxies, 12 hex digits",
}


@survey_asset(
    "4_representation",
    paper="4.1, Table 1",
    by="init",
    reads={"cutouts": EVERY_BATCH | TRAINED_ON, "clean_galaxies": EVERY_BATCH | TRAINED_ON},
    files=[WEIGHTS, OTHER_CHECKPOINTS],
    settings=lambda survey: [
        survey.recipe,
        survey.rgz_checkpoint or "",
        *plugins.packages("start_weights", *survey.start_weights),
        *(f"{name} {network.fingerprint()}" for name, network in survey.networks.items()),
    ],
    version="3",
    kinds=("safetensors", "parquet"),
    gpu=True,
    retry=True,
    job="training",
    tuned=True,
    columns=_CHECKPOINTS,
)
@training_alone
def byol_checkpoints(context: SurveyContext, cutouts: pa.Table, clean_galaxies: pa.Table) -> Result:
    """One row per epoch of BYOL from these start weights: checkpoint, loss, learning rate, health (rank, alignment,
    uniformity, spread, stability of neighbours), speed, memory. Epoch 0 is the start itself. The epoch is chosen by
    its health or is the recipe's last; the reason stands beside it, and no label takes part. Killed, it resumes
    after the last whole epoch. What has no weights to train, and random start weights where there are fewer galaxies
    than `recipe.train_random_from`, have epoch 0 alone. Where the recipe sets features beside the chosen epoch's, all
    together are one more row, after the last epoch, and are what is used.
    """
    from galaxy_assets.science.devices import choose_devices
    from galaxy_assets.science.encoders.network import architecture_metadata

    recipe, devices = context.survey.recipe, choose_devices()
    encoder = start_encoder(context)
    halves(encoder, recipe)  # what cannot be cut is told before a training, and not after it
    beside = [start_encoder(context, name) for name in recipe.beside if name not in (*OF_START, context.init)]
    pixels, rows, content = training_set(context, cutouts, clean_galaxies)
    fingerprint = _fingerprint(context, encoder, content)
    files = context.training(fingerprint)
    if not files.whole():
        context.log.warning(f"{files.folder}: weights are missing or not the recorded ones; training anew")
        store_of(files.folder).remove(files.folder)
    if not files.begin_with(architecture_metadata(encoder)):
        context.log.warning(f"{files.folder}: its start has another architecture, mean or std; training anew")
        store_of(files.folder).remove(files.folder)
    keep = _Keeper(context, files, fingerprint, pixels, rows, devices[0])
    if not files.weights(0).exists() or not files.rows():
        keep(0, encoder)
    why = _untrained_because(context, encoder, len(rows))
    if why is None and sum(row["epoch"] <= recipe.epochs for row in files.rows()) <= recipe.epochs:
        batches = cutouts["batch"].unique().to_pylist()
        _train(context, encoder, pixels, rows, devices, files, keep, batches)
    files.remove_what_resumes()
    table = ledger(files.rows(), recipe, why)
    if others := _beside(files, table, recipe, beside):
        parts = [load_encoder(chosen_checkpoint(table, context.layout.root)[1]), *others.values()]
        composed = _side_by_side(keep, parts, [1.0, *(recipe.beside[name] for name in others)])
        table = ledger([*files.rows(), *composed.rows()], recipe, why, list(others))
    context.beside.append(chosen_checkpoint(table, context.layout.root)[1])
    shown = {"devices": ", ".join(map(str, devices)), "galaxies": len(rows)} | _shown(context, files, table)
    return Result(table, shown, unversioned=["seconds", "images_per_second", "memory_gb"])


def start_encoder(context: SurveyContext, start: str | None = None, side: int | None = None) -> "Encoder":
    """The encoder with its start weights, the partition's or others, which takes images of the recipe's or another
    side. Raises dagster.Failure without a retry where they are missing or not what they should be.
    """
    from galaxy_assets.science.encoders.network_files import check_takes, network_from_file
    from galaxy_assets.science.encoders.weights import MissingWeights, build_encoder

    survey, layout, start = context.survey, context.layout, start or context.init
    try:
        if network := survey.networks.get(start):
            encoder = network_from_file(start, network, layout.root)
        elif checkpoint := start_checkpoint(context.known.get(start), layout):
            encoder = load_start(checkpoint, survey=start, backbone=survey.recipe.backbone)
        else:
            encoder = build_encoder(
                survey.recipe.backbone,
                start,
                seed=survey.recipe.seed,
                weights=layout.weights,
                rgz=layout.root / survey.rgz_checkpoint if survey.rgz_checkpoint else None,
            )
    except (MissingWeights, plugins.PluginError) as error:
        raise dg.Failure(str(error), allow_retries=False) from error  # waiting brings neither weights nor plug-ins
    check_takes(encoder, side or survey.recipe.image_size)
    return encoder


def _untrained_because(context: SurveyContext, encoder: "Encoder", n: int) -> str | None:
    """Why these start weights are not trained on n galaxies; None where they are."""
    if not _has_weights(encoder):
        return FIXED
    recipe = context.survey.recipe
    fewest = recipe.fewest_for_random if context.init == "random" and recipe.epochs else 0
    if n >= fewest:
        return None
    few = f"{FEW}{fewest:,} galaxies or more, and there are {n:,}: the start is used"
    return f"{few}; recipe.train_random_from: 0 trains them"


def _has_weights(encoder: "Encoder") -> bool:
    return any(weight.requires_grad for weight in encoder.parameters())


def _beside(files: Training, table: pa.Table, recipe: Recipe, others: Sequence["Encoder"]) -> "dict[str, Encoder]":
    """What stands beside the chosen epoch, by name: the start, where it was trained at all, its middle block, where it
    is a network, and other start weights.
    """
    found: dict[str, Encoder] = {}
    if any(name in recipe.beside for name in OF_START):
        whole = load_encoder(files.weights(0))
        if START in recipe.beside and any(row["chosen"] and row["epoch"] for row in table.to_pylist()):
            found[START] = whole
        found |= halves(whole, recipe)
    return found | {encoder.start: encoder for encoder in others}


def halves(encoder: "Encoder", recipe: Recipe) -> "dict[str, Encoder]":
    """The middle block of a network, once and over places, as the recipe asks for; nothing of formulae."""
    from galaxy_assets.science.encoders.middle import middle_of

    asked = [name for name in HALVES if name in recipe.beside and _has_weights(encoder)]
    try:
        return {name: middle_of(encoder, pyramid=name == PYRAMID, side=recipe.image_size) for name in asked}
    except ValueError as error:
        raise dg.Failure(str(error), allow_retries=False) from error


def _side_by_side(keep: "_Keeper", parts: Sequence["Encoder"], factors: Sequence[float]) -> Training:
    """Files of encoders as one, each with the same total variance on the sample on which health is watched, times a
    factor. Their folder is another for other parts or factors, so that no file changes that a table names.
    """
    from galaxy_assets.science.encoders.composition import equal_variance, side_by_side
    from galaxy_assets.science.encoders.embedding import embed
    from galaxy_assets.science.encoders.network import encoder_sha256

    recipe = keep.context.survey.recipe
    identity = json.dumps([keep.fingerprint, recipe.deciding(), *map(encoder_sha256, parts)])
    fingerprint = hashlib.sha256(identity.encode()).hexdigest()[:12]
    files, sample = keep.context.training(fingerprint), sample_of(keep.rows, recipe)
    if not files.whole():
        store_of(files.folder).remove(files.folder)
    if not files.rows():
        features, alike = [], {"indices": sample, "device": keep.device, "orientations": recipe.orientations}
        for part in parts:
            _tell_composed(len(features), len(parts))
            features.append(embed(part, keep.pixels, **alike))
        _tell_composed(len(parts), len(parts))
        scales = [scale * factor for scale, factor in zip(equal_variance(features), factors, strict=True)]
        replace(keep, files=files, fingerprint=fingerprint)(recipe.epochs + 1, side_by_side(parts, scales))
        _tell_composed(len(parts) + 1, len(parts))
    return files


def _tell_composed(done: int, parts: int) -> None:
    """Say how many steps are done of putting the parts side by side: the scale of each, and the health of the whole."""
    tell(log, Progress("features side by side", done, parts + 1, "steps"))


def sample_of(rows: np.ndarray, recipe: Recipe) -> np.ndarray:
    """The rows of the training set on which health is watched and scales are found."""
    return rows[np.random.default_rng(recipe.seed).permutation(len(rows))[:_SAMPLE]]


def start_checkpoint(other: Survey | None, layout: Layout) -> Path | None:
    """The chosen checkpoint of another survey's main start weights; None where the start is no survey.

    Raises MissingWeights where that survey was not trained yet.
    """
    from galaxy_assets.science.encoders.weights import MissingWeights

    if other is None:
        return None
    trained = layout.table(other.name, "byol_checkpoints", other.main_start_weights)
    if not trained.exists():
        raise MissingWeights(
            f"no checkpoint of survey {other.name!r} to start from ({trained} is absent); materialise "
            f"{other.name}/byol_checkpoints first, partition {other.main_start_weights}"
        )
    return chosen_checkpoint(read_table(trained), layout.root)[1]


def training_set(context: SurveyContext, cutouts: pa.Table, clean: pa.Table) -> tuple[PixelStack, np.ndarray, str]:
    """Pixels at the network's input size, the rows of the kept galaxies, and a digest of both."""
    kept = clean.filter(clean["kept"])
    pixels = context.pixels.of(cutouts, context.survey.recipe.image_size)
    content = f"{sorted(set(cutouts['pixels'].to_pylist()))} {digest(kept.select(['galaxy_id']))}"
    return pixels, rows_of(cutouts, kept), content


def _fingerprint(context: SurveyContext, encoder: "Encoder", content: str) -> str:
    """What decides the weights of an epoch: the training's code, the recipe, the start weights, the training set."""
    from galaxy_assets.science.encoders.network import state_sha256

    recipe = context.survey.recipe.of_epochs().deciding()
    identity = json.dumps([_VERSION, recipe, context.init, state_sha256(encoder), content])
    return hashlib.sha256(identity.encode()).hexdigest()[:12]


@dataclass(frozen=True)
class _Keeper:
    """Keeps an epoch's weights and its row with the health measured on a sample of the training set."""

    context: SurveyContext
    files: Training
    fingerprint: str
    pixels: PixelStack
    rows: np.ndarray
    device: Any

    def __call__(self, epoch: int, encoder: "Encoder", **measured: float | None) -> None:
        from galaxy_assets.science import health

        recipe, weights, began = self.context.survey.recipe, self.files.weights(epoch), time.monotonic()
        save_encoder(encoder, weights, {"survey": self.context.survey.name, "recipe": self.fingerprint})
        sample = sample_of(self.rows, recipe)
        row = {
            "init": self.context.init,
            "epoch": epoch,
            "path": weights.relative_to(self.context.layout.root).as_posix(),
            "sha256": file_sha256(weights),
            "recipe": self.fingerprint,
            **measured,
            **health.measure(encoder, self.pixels, sample, recipe, self.device).asdict(),
        }
        self.files.record(epoch, row | {_KEPT_IN: time.monotonic() - began})
        self.context.log.info(
            f"epoch {epoch}: {row['pcs_95']} components for 95 %, rank {row['effective_rank']:.1f}, "
            f"alignment {row['alignment']:.3f}, uniformity {row['uniformity']:.2f}, stability {row['stability']:.3f}"
        )


def _train(
    context: SurveyContext,
    encoder: "Encoder",
    pixels: PixelStack,
    rows: np.ndarray,
    devices: Sequence[Any],
    files: Training,
    keep: _Keeper,
    batches: Sequence[str],
) -> None:
    from galaxy_assets.science.training import TimedOnEpoch

    recipe = context.survey.recipe
    freeze = recipe.freeze_statistics and context.init != "random"
    try:
        train = plugins.load("trainers", recipe.trainer)
    except plugins.PluginError as error:
        raise dg.Failure(str(error), allow_retries=False) from error
    several = invite(TrainingElsewhere.of(context, files, batches, freeze), rows, train, context.layout)
    train(
        encoder,
        pixels,
        rows,
        recipe,
        freeze=freeze,
        devices=devices,
        state=files.state,
        on_epoch=TimedOnEpoch(
            lambda result, trained: keep(encoder=trained, **result.asdict()), files.rows()[-1].get(_KEPT_IN, 0.0)
        ),
        **({"hosts": True} if several else {}),
    )


def _shown(context: SurveyContext, files: Training, table: pa.Table) -> dict[str, Any]:
    """What the UI shows of a training: the chosen epoch, its health, and the curves."""
    from galaxy_assets.figures.curves import training as draw

    row = next(r for r in table.to_pylist() if r["chosen"])
    return {
        "backbone": context.survey.recipe.backbone,
        "recipe": context.survey.recipe.preset,
        "chosen epoch": row["epoch"],
        "reason": row["reason"],
        **{name: row[name] for name in ("pcs_95", "effective_rank", "alignment", "uniformity", "stability")},
        **{name: row[name] for name in ("loss", "images_per_second") if row[name] is not None},
        "checkpoints": context.link(files.folder),
        **picture(context, draw(table, context.survey.recipe.epochs), "training", context.init),
    }


@survey_asset(
    "4_representation",
    paper="4.1",
    by="batch_init",
    reads=["cutouts", "clean_galaxies", "byol_checkpoints"],
    gpu=True,
    tuned=True,
    columns=shared("galaxy_id", "batch", "init")
    | {"vector": "features by the chosen checkpoint, mean over the recipe's orientations"},
)
def embeddings(
    context: SurveyContext, cutouts: pa.Table, clean_galaxies: pa.Table, byol_checkpoints: pa.Table
) -> Result:
    """Features of the batch's clean galaxies from the chosen checkpoint of these start weights, averaged over the
    recipe's orientations. The checkpoint's sha256 is compared with its ledger before use.
    """
    from galaxy_assets.science.devices import choose_devices
    from galaxy_assets.science.encoders.embedding import embed

    recipe, kept = context.survey.recipe, clean_galaxies.filter(clean_galaxies["kept"])
    row, path = chosen_checkpoint(byol_checkpoints, context.layout.root)
    features = embed(
        load_encoder(path),
        context.pixels.of(cutouts, recipe.image_size),
        indices=rows_of(cutouts, kept),
        device=choose_devices()[0],
        orientations=recipe.orientations,
        precision=recipe.embedding_precision,
        whole=True,
    )
    table = with_vectors(kept, context.init, features)
    return Result(table, {"epoch": row["epoch"], "recipe": row["recipe"], "features": features.shape[1]})


@survey_asset(
    "4_representation",
    paper="4.2",
    by="init",
    reads={"embeddings": FITTED_ON | IN_TURN, "byol_checkpoints": {}},
    settings=lambda survey: [survey.variance],
    job="refit",
    columns=shared("init")
    | {
        "component": "number of the principal component, from 0 by falling variance; null in the row of the mean",
        "explained_variance": "variance of the fitted galaxies along the component; null in the row of the mean",
        "explained_variance_ratio": "its share of the whole variance, 0 to 1; null in the row of the mean",
        "vector": "the component as a unit vector among the embeddings, or the mean of the embeddings",
    },
)
def pca_model(context: SurveyContext, embeddings: TablesInTurn, byol_checkpoints: pa.Table) -> Result:
    """The principal components that hold the survey's share of the variance (95 % in the paper), as rows: the mean
    and then each component with its explained variance. Fitted to the embeddings of the chosen checkpoint.
    """
    from galaxy_assets.figures.curves import variance
    from galaxy_assets.science import pca

    model = pca.fit(embeddings.vectors(), context.survey.variance)
    k, table = len(model.components), pca.model_to_table(model, context.init)
    ratio = model.explained_variance_ratio
    shown = {"components": k, "explained": float(ratio.sum())}
    measured = pca.left_out(embeddings.vectors(), embeddings.num_rows, context.survey.variance)
    return Result(table, shown | picture(context, variance(ratio, k), "variance", context.init), measured=measured)


@survey_asset(
    "4_representation",
    paper="4.2",
    by="batch_init",
    reads=["embeddings", "pca_model"],
    columns=shared("galaxy_id", "batch", "init")
    | {"vector": "the galaxy in principal components, that of the largest variance first"},
)
def pca_features(context: SurveyContext, embeddings: pa.Table, pca_model: pa.Table) -> Result:
    """The batch's galaxies in principal components: what clustering, ranking and similarity search read."""
    from galaxy_assets.science.pca import table_to_model

    features = table_to_model(pca_model).transform(column_to_vectors(embeddings["vector"]))
    return Result(with_vectors(embeddings, context.init, features), {"components": features.shape[1]})


def with_vectors(galaxies: pa.Table, init: str, vectors: np.ndarray) -> pa.Table:
    """galaxy_id, batch, init, vector: the columns of `embeddings` and `pca_features`."""
    table = galaxies.select(["galaxy_id", "batch"]).append_column("init", pa.array([init] * galaxies.num_rows))
    return table.append_column("vector", vectors_to_column(vectors))
