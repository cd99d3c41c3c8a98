"""Structure found without labels: the map, the mixture, and whether a delivery is like what they were fitted to (paper
6).

Belongs here: models over the principal components of each start weight, and what they say of each batch. Does not
belong here: the mixture itself (`science`), what clusters hold (`clusters`).
"""

import dagster as dg
import numpy as np
import pyarrow as pa

from galaxy_assets.orchestration.columns import markdown, shared
from galaxy_assets.orchestration.declaration import (
    FITTED_ON,
    IN_TURN,
    MAIN_START,
    ONE_START,
    Result,
    SurveyContext,
    survey_asset,
)
from galaxy_assets.science.cutouts import WITHOUT_PIXELS
from galaxy_assets.storage.in_turn import TablesInTurn
from galaxy_assets.storage.provenance import measured
from galaxy_assets.storage.tables import beside, column_to_vectors, vectors_to_column

DRIFT = pa.schema(
    [
        ("name", pa.string()),
        ("value", pa.float64()),
        ("fitted", pa.float64()),
        ("limit", pa.float64()),
        ("exceeded", pa.bool_()),
        ("words", pa.string()),
    ]
)


def components(embeddings: TablesInTurn, pca_model: pa.Table, rows: np.ndarray | None = None) -> np.ndarray:
    """The embeddings in principal components, (N, K) float32, of all galaxies or of these rows: a refit does not wait
    for `pca_features`.
    """
    from galaxy_assets.science.pca import table_to_model

    model = table_to_model(pca_model)
    if rows is None:
        return np.vstack([model.transform(vectors) for vectors in embeddings.vectors()])
    rising = np.sort(rows)
    features = np.vstack([model.transform(vectors) for vectors in embeddings.vectors(rising)])
    return features[np.searchsorted(rising, rows)]


@survey_asset(
    "6_structure",
    paper="3.2, Figures 4-6",
    by="init",
    reads={"embeddings": FITTED_ON | IN_TURN, "pca_model": {}},
    settings=lambda survey: [survey.umap],
    kinds=("umap", "parquet"),
    job="refit",
    columns=shared("galaxy_id", "batch", "init", "x", "y", "features_key")
    | {"vector": "principal components of up to 20,000 galaxies, by which others are placed; null for the rest"},
)
def umap_model(context: SurveyContext, embeddings: TablesInTurn, pca_model: pa.Table) -> Result:
    """A map of the representation in two dimensions, for looking only: where every galaxy lies that there was when
    it was fitted, or each of a sample of a survey that has more than `umap.fitted_on`, and what others are placed by.
    """
    from galaxy_assets.science.pca import table_to_model
    from galaxy_assets.science.projection import feature_keys, fit_map, model_to_table

    settings, pca = context.survey.umap, table_to_model(pca_model)
    rows = embeddings.drawn(settings.fitted_on, settings.seed)
    rows = None if rows is None else np.sort(rows)
    keys, features = zip(*((feature_keys(v), pca.transform(v)) for v in embeddings.vectors(rows)), strict=True)
    fitted = model_to_table(fit_map(np.concatenate(features), np.concatenate(keys), settings))
    galaxies = embeddings.select(["galaxy_id", "batch", "init"])
    return Result(beside(galaxies if rows is None else galaxies.take(rows), fitted), {"fitted on": fitted.num_rows})


@survey_asset(
    "6_structure",
    paper="3.2, Figures 4-6",
    by="batch_init",
    reads=["embeddings", "pca_features", "umap_model"],
    settings=lambda survey: [survey.umap],
    version="3",
    explorer=1,
    columns=shared("galaxy_id", "batch", "init", "x", "y"),
)
def umap(context: SurveyContext, embeddings: pa.Table, pca_features: pa.Table, umap_model: pa.Table) -> Result:
    """Where the batch's galaxies lie on the map."""
    from galaxy_assets.science.projection import feature_keys, table_to_model

    keys = feature_keys(column_to_vectors(embeddings["vector"]))
    features = column_to_vectors(pca_features["vector"])
    xy = table_to_model(umap_model).place(features, keys, context.survey.umap)
    table = pca_features.select(["galaxy_id", "batch", "init"])
    return Result(table.append_column("x", pa.array(xy[:, 0])).append_column("y", pa.array(xy[:, 1])))


@survey_asset(
    "6_structure",
    paper="6.1",
    by="init",
    reads={"embeddings": FITTED_ON | IN_TURN, "pca_model": {}},
    settings=lambda survey: [survey.mixture],
    kinds=("scikitlearn", "parquet"),
    job="refit",
    columns=shared("init", "cluster")
    | {
        "weight": "weight of the component in the mixture, 0 to 1; all weights add up to 1",
        "log_weight": "expected natural logarithm of the weight",
        "mean": "centre of the component, in principal components",
        "precision_cholesky": "Cholesky factor of the component's precision (inverse covariance), D x D, row by row",
        "degrees_of_freedom": "degrees of freedom of the Wishart posterior of the precision",
        "mean_precision": "how many galaxies the posterior of the centre is worth",
        "lower_bound": "lower bound of the log evidence that the fit reached; the same in every row",
        "unsure": "share of the fitted galaxies that no cluster has with one half or more; the same in every row",
        "converged": "whether the fit converged; the same in every row",
        "iterations": "iterations of the fit; the same in every row",
        "fitted_on": "how many galaxies it was fitted to, the same in every row; absent where they are no sample",
    },
)
def cluster_model(context: SurveyContext, embeddings: TablesInTurn, pca_model: pa.Table) -> Result:
    """The Bayesian Gaussian mixture, a row per component: weight, mean, Cholesky factor of the precision and the
    parameters of its posterior, and which share of all fitted galaxies is unsure (below probability one half).
    Components are numbered by falling weight. A survey of more than `mixture.fitted_on` galaxies is fitted on a
    sample of so many.
    """
    from galaxy_assets.science import mixture

    settings = context.survey.mixture
    rows = embeddings.drawn(settings.fitted_on, settings.seed)
    features = components(embeddings, pca_model, rows)
    model = mixture.fit(features, settings)
    k, unsure = len(model.weights), float((model.probabilities(features).max(axis=1) < 0.5).mean())
    table = mixture.model_to_table(model, context.init, unsure, None if rows is None else len(rows))
    return Result(
        table,
        {
            "fitted on": len(features),
            "components": k,
            "components above 1 %": int((model.weights > 0.01).sum()),
            "lower_bound": model.lower_bound,
            "iterations": model.iterations,
        },
    )


@survey_asset(
    "6_structure",
    paper="6.1",
    by="batch_init",
    reads=["pca_features", "cluster_model"],
    kinds=("scikitlearn", "parquet"),
    explorer=3,
    columns=shared("galaxy_id", "batch", "init", "cluster", "probability")
    | {"probabilities": "probability of each cluster, by its number; they add up to 1"},
)
def cluster_labels(context: SurveyContext, pca_features: pa.Table, cluster_model: pa.Table) -> Result:
    """The batch's galaxies with their cluster, its membership probability, and the probabilities of all
    clusters.
    """
    from galaxy_assets.science.mixture import table_to_model

    model = table_to_model(cluster_model)
    probabilities = model.probabilities(column_to_vectors(pca_features["vector"]))
    table = pca_features.select(["galaxy_id", "batch", "init"])
    table = table.append_column("cluster", pa.array(probabilities.argmax(axis=1), pa.int32()))
    table = table.append_column("probability", pa.array(probabilities.max(axis=1)))
    table = table.append_column("probabilities", vectors_to_column(probabilities))
    unsure = float((probabilities.max(axis=1) < 0.5).mean()) if len(probabilities) else 0.0
    return Result(table, {"members below probability 0.5": unsure})


@survey_asset(
    "6_structure",
    paper="9; not in the paper",
    by="batch",
    reads={
        "cutouts": {},
        "embeddings": MAIN_START,
        "pca_model": MAIN_START | ONE_START,
        "cluster_labels": MAIN_START,
        "cluster_model": MAIN_START | ONE_START,
    },
    settings=lambda survey: [survey.drift, survey.main_start_weights],
    version="2",
    columns={
        "name": "the measure: residual, distance, shift, unsure or fallback",
        "value": "what it is for the delivery",
        "fitted": "what it is for the galaxies that the models were fitted to",
        "limit": "value above which the delivery counts as unlike them; infinite where the measure says nothing",
        "exceeded": "whether the value is above the limit",
        "words": "what is measured",
    },
)
def batch_drift(
    context: SurveyContext,
    cutouts: pa.Table,
    embeddings: pa.Table,
    pca_model: pa.Table,
    cluster_labels: pa.Table,
    cluster_model: pa.Table,
) -> Result:
    """How far the delivery is from what the models of the main start weights were fitted to: variance outside the
    components, distance and shift within them, members without a clear cluster, images that keep their frame.
    """
    from galaxy_assets.science import mixture
    from galaxy_assets.science.drift import drift
    from galaxy_assets.science.pca import LEFT_OUT, table_to_model

    survey = context.survey
    fitted = measured(context.layout.table(survey.name, "pca_model", survey.main_start_weights))
    outcomes = [outcome for outcome in cutouts["outcome"].to_pylist() if outcome not in WITHOUT_PIXELS]
    measures = []
    if embeddings.num_rows:
        measures = drift(
            column_to_vectors(embeddings["vector"]),
            table_to_model(pca_model),
            fitted_on=mixture.table_to_model(cluster_model).fitted_on,
            left_out=fitted.get(LEFT_OUT),
            unsure=float((cluster_labels["probability"].to_numpy() < 0.5).mean()),
            unsure_fitted=cluster_model["unsure"][0].as_py(),
            fallback=sum(outcome.startswith("fallback") for outcome in outcomes) / len(outcomes),
            limits=survey.drift,
        )
    rows = [{name: getattr(measure, name) for name in DRIFT.names} for measure in measures]
    table = pa.Table.from_pylist(rows, schema=DRIFT)
    shown = {measure.name: measure.value for measure in measures}
    return Result(table, {**shown, "evidence": dg.MetadataValue.md(markdown(table))})
