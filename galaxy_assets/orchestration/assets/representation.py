"""Self-supervised representations from several start weights, and their principal components (paper 4).

Belongs here: training, embedding, PCA. Does not belong here: the training step (`science.byol`), any label.
"""

import hashlib
import json
import shutil
from pathlib import Path

import dagster as dg
import numpy as np
import pyarrow as pa

from galaxy_assets.orchestration.assets.artefacts import pixels_of, rows_of
from galaxy_assets.orchestration.declaration import (
    EVERY_BATCH,
    FITTED_ON,
    IN_TURN,
    TRAINED_ON,
    Lake,
    check,
    picture,
    result,
    survey_asset,
)
from galaxy_assets.settings.recipe import Recipe
from galaxy_assets.settings.survey import Survey
from galaxy_assets.storage.checkpoints import Training, chosen_checkpoint, file_sha256
from galaxy_assets.storage.pixels import PixelStack
from galaxy_assets.storage.tables import TablesInTurn, column_to_vectors, digest, read_table, vectors_to_column

SCHEMA = pa.schema(
    [
        ("init", pa.string()),
        ("epoch", pa.int32()),
        ("path", pa.string()),
        ("sha256", pa.string()),
        ("loss", pa.float64()),
        ("learning_rate", pa.float64()),
        ("effective_rank", pa.float64()),
        ("pcs_95", pa.int32()),
        ("alignment", pa.float64()),
        ("uniformity", pa.float64()),
        ("feature_std", pa.float64()),
        ("stability", pa.float64()),
        ("seconds", pa.float64()),
        ("images_per_second", pa.float64()),
        ("memory_gb", pa.float64()),
        ("chosen", pa.bool_()),
        ("reason", pa.string()),
        ("recipe", pa.string()),
    ]
)
_VERSION = "2"  # of the training; raise it when a change of code changes the weights
_SAMPLE = 1000  # galaxies on which health is watched: enough for a rank's second digit, little beside an epoch


def start_checkpoint(other: Survey | None, lake: Lake) -> Path | None:
    """The chosen checkpoint of another survey's main start weights; None where the start is no survey.

    Raises MissingWeights where that survey was not trained yet.
    """
    from galaxy_assets.science.encoders.network import MissingWeights

    if other is None:
        return None
    trained = lake.layout.table(other.name, "byol_checkpoints", other.main_start_weights)
    if not trained.exists():
        raise MissingWeights(
            f"no checkpoint of survey {other.name!r} to start from ({trained} is absent); materialise "
            f"{other.name}/byol_checkpoints first, partition {other.main_start_weights}"
        )
    row = next(r for r in read_table(trained).to_pylist() if r["chosen"])
    return lake.layout.root / row["path"]


def training_set(survey: Survey, lake: Lake, cutouts: pa.Table, clean: pa.Table) -> tuple[PixelStack, np.ndarray, str]:
    """Pixels at the network's input size, the rows of the kept galaxies, and a digest of both."""
    kept = clean.filter(clean["kept"])
    pixels = pixels_of(lake, survey, cutouts, survey.recipe.image_size)
    content = f"{sorted(set(cutouts['pixels'].to_pylist()))} {digest(kept.select(['galaxy_id']))}"
    return pixels, rows_of(cutouts, kept), content


def build(survey: Survey, surveys: dict[str, Survey]) -> list[dg.AssetsDefinition]:
    """`byol_checkpoints` (init), `embeddings` (batch x init), `pca_model` (init), `pca_features` (batch x init)."""
    recipe = survey.recipe
    others = [
        dg.AssetDep(
            dg.AssetKey([start, "byol_checkpoints"]),
            partition_mapping=dg.SpecificPartitionsPartitionMapping([surveys[start].main_start_weights]),
        )
        for start in survey.start_weights
        if start in surveys
    ]

    @survey_asset(
        survey,
        "4_representation",
        paper="4.1, Table 1",
        by="init",
        reads={"cutouts": EVERY_BATCH | TRAINED_ON, "clean_galaxies": EVERY_BATCH | TRAINED_ON},
        after=others,
        settings=[recipe, survey.rgz_checkpoint or ""],
        version="3",
        kinds=("safetensors", "parquet"),
        gpu=True,
        retry=True,
        checks={
            "no_collapse": "At the chosen epoch at least ten components are needed for 95 % of the variance.",
            "better_than_start": "An epoch of training was chosen, not the start itself.",
        },
    )
    def byol_checkpoints(context: dg.AssetExecutionContext, lake: Lake, cutouts: pa.Table, clean_galaxies: pa.Table):
        """One row per epoch of BYOL from these start weights: checkpoint, loss, learning rate, health (rank, alignment,
        uniformity, spread, stability of neighbours), speed, memory. Epoch 0 is the start itself. The epoch is chosen by
        its health or is the recipe's last; the reason stands beside it, and no label takes part. Killed, it resumes
        after the last whole epoch."""
        from galaxy_assets.figures.curves import training as draw
        from galaxy_assets.science import byol, health
        from galaxy_assets.science.encoders.network import (
            Encoder,
            MissingWeights,
            build_encoder,
            choose_devices,
            save_encoder,
            state_sha256,
        )

        init, devices = context.partition_key, choose_devices()
        try:
            start = start_checkpoint(surveys.get(init), lake)
            encoder = build_encoder(
                recipe.backbone,
                init,
                seed=recipe.seed,
                weights=lake.layout.weights,
                checkpoint=start,
                rgz=lake.layout.root / survey.rgz_checkpoint if survey.rgz_checkpoint else None,
            )
        except MissingWeights as error:
            raise dg.Failure(str(error), allow_retries=False) from error  # waiting brings no weights
        pixels, rows, content = training_set(survey, lake, cutouts, clean_galaxies)
        identity = json.dumps([_VERSION, recipe.deciding(), init, state_sha256(encoder), content])
        fingerprint = hashlib.sha256(identity.encode()).hexdigest()[:12]
        files = lake.training(survey, init, fingerprint)
        if not files.whole():
            context.log.warning(f"{files.folder}: weights are missing or not the recorded ones; training anew")
            shutil.rmtree(files.folder)
        sample = rows[np.random.default_rng(recipe.seed).permutation(len(rows))[:_SAMPLE]]

        def keep(epoch: int, encoder: Encoder, **measured: float | None) -> None:
            save_encoder(encoder, files.weights(epoch), {"survey": survey.name, "recipe": fingerprint})
            measured |= health.measure(encoder, pixels, sample, recipe, devices[0]).asdict()
            row = {
                "init": init,
                "epoch": epoch,
                "path": files.weights(epoch).relative_to(lake.layout.root).as_posix(),
                "sha256": file_sha256(files.weights(epoch)),
                "recipe": fingerprint,
                **measured,
            }
            files.record(epoch, row)
            context.log.info(
                f"epoch {epoch}: {row['pcs_95']} components for 95 %, rank {row['effective_rank']:.1f}, "
                f"alignment {row['alignment']:.3f}, uniformity {row['uniformity']:.2f}, "
                f"stability {row['stability']:.3f}"
            )

        if not files.weights(0).exists() or not files.rows():
            keep(0, encoder)
        if len(files.rows()) <= recipe.epochs:
            byol.train(
                encoder,
                pixels,
                rows,
                recipe,
                freeze=recipe.freeze_statistics and init != "random",
                devices=devices,
                state=files.state,
                on_epoch=lambda result, trained: keep(encoder=trained, **result.asdict()),
            )
        # nothing is left to resume, and the state is larger than all checkpoints together
        files.state.unlink(missing_ok=True)
        table = ledger(files, recipe)
        row = next(r for r in table.to_pylist() if r["chosen"])
        return result(
            table,
            unversioned=["seconds", "images_per_second", "memory_gb"],
            metadata={
                "devices": ", ".join(map(str, devices)),
                "backbone": recipe.backbone,
                "recipe": recipe.preset,
                "galaxies": len(rows),
                "chosen epoch": row["epoch"],
                "reason": row["reason"],
                **{name: row[name] for name in ("pcs_95", "effective_rank", "alignment", "uniformity", "stability")},
                **{name: row[name] for name in ("loss", "images_per_second") if row[name] is not None},
                "checkpoints": dg.MetadataValue.path(str(files.folder)),
                **picture(lake, survey, draw(table), "training", init),
            },
            checks=[
                check(
                    "no_collapse",
                    row["pcs_95"] >= health.LEAST_COMPONENTS,
                    f"{row['pcs_95']} components hold 95 % of the variance at epoch {row['epoch']}",
                ),
                check("better_than_start", row["epoch"] > 0 or not recipe.epochs, row["reason"], warn=True),
            ],
        )

    @survey_asset(
        survey,
        "4_representation",
        paper="4.1",
        by="batch_init",
        reads=["cutouts", "clean_galaxies", "byol_checkpoints"],
        gpu=True,
    )
    def embeddings(
        context: dg.AssetExecutionContext,
        lake: Lake,
        cutouts: pa.Table,
        clean_galaxies: pa.Table,
        byol_checkpoints: pa.Table,
    ):
        """Features of the batch's clean galaxies from the chosen checkpoint of these start weights, averaged over the
        recipe's orientations. The checkpoint's sha256 is compared with its ledger before use."""
        from galaxy_assets.science.encoders.network import choose_devices, embed, load_encoder

        key = context.partition_key.keys_by_dimension
        row, path = chosen_checkpoint(byol_checkpoints, lake.layout.root)
        kept = clean_galaxies.filter(clean_galaxies["kept"])
        pixels = pixels_of(lake, survey, cutouts, recipe.image_size)
        encoder = load_encoder(path)
        features = embed(
            encoder,
            pixels,
            indices=rows_of(cutouts, kept),
            device=choose_devices()[0],
            orientations=recipe.orientations,
        )
        table = with_vectors(kept, key["init"], features)
        return result(table, metadata={"epoch": row["epoch"], "recipe": row["recipe"], "features": features.shape[1]})

    @survey_asset(
        survey,
        "4_representation",
        paper="4.2",
        by="init",
        reads={"embeddings": FITTED_ON | IN_TURN, "byol_checkpoints": {}},
        settings=[survey.variance],
    )
    def pca_model(context: dg.AssetExecutionContext, lake: Lake, embeddings: TablesInTurn, byol_checkpoints: pa.Table):
        """The principal components that hold the survey's share of the variance (95 % in the paper), as rows: the mean
        and then each component with its explained variance. Fitted to the embeddings of the chosen checkpoint."""
        from galaxy_assets.figures.curves import variance
        from galaxy_assets.science import pca

        model = pca.fit(embeddings.vectors(), survey.variance)
        k = len(model.components)
        table = pa.table(
            {
                "init": [context.partition_key] * (k + 1),
                "component": pa.array([None, *range(k)], pa.int32()),
                "explained_variance": pa.array([None, *model.explained_variance.tolist()], pa.float32()),
                "explained_variance_ratio": pa.array([None, *model.explained_variance_ratio.tolist()], pa.float32()),
                "vector": vectors_to_column(np.vstack([model.mean, model.components])),
            }
        )
        figure = variance(model.explained_variance_ratio, k)
        metadata = {"components": k, "explained": float(model.explained_variance_ratio.sum())}
        return result(table, metadata=metadata | picture(lake, survey, figure, "variance", context.partition_key))

    @survey_asset(survey, "4_representation", paper="4.2", by="batch_init", reads=["embeddings", "pca_model"])
    def pca_features(context: dg.AssetExecutionContext, embeddings: pa.Table, pca_model: pa.Table):
        """The batch's galaxies in principal components: what clustering, ranking and similarity search read."""
        from galaxy_assets.science.pca import table_to_model

        features = table_to_model(pca_model).transform(column_to_vectors(embeddings["vector"]))
        init = context.partition_key.keys_by_dimension["init"]
        return result(with_vectors(embeddings, init, features), metadata={"components": features.shape[1]})

    return [byol_checkpoints, embeddings, pca_model, pca_features]


def with_vectors(galaxies: pa.Table, init: str, vectors: np.ndarray) -> pa.Table:
    """galaxy_id, batch, init, vector: the columns of `embeddings` and `pca_features`."""
    table = galaxies.select(["galaxy_id", "batch"]).append_column("init", pa.array([init] * galaxies.num_rows))
    return table.append_column("vector", vectors_to_column(vectors))


def ledger(files: Training, recipe: Recipe) -> pa.Table:
    """`byol_checkpoints` from a training's rows up to the recipe's last epoch, with the choice and its reason."""
    from galaxy_assets.science.health import choose_epoch

    rows = [row for row in files.rows() if row["epoch"] <= recipe.epochs]
    epoch, reason = choose_epoch(rows, recipe.epoch_choice)
    for row in rows:
        row |= {"chosen": row["epoch"] == epoch, "reason": reason if row["epoch"] == epoch else None}
    return pa.Table.from_pylist(rows, schema=SCHEMA)
