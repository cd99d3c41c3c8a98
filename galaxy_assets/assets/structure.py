"""Structure found without labels: the map, the clusters, and what the clusters contain (paper 6, 8.3).

Belongs here: assets over the principal components of each start weight. Does not belong here: the mixture itself.
"""

import dagster as dg
import numpy as np
import pyarrow as pa

from galaxy_assets.assets.artefacts import pixels_of, rows_of
from galaxy_assets.assets.survey_asset import EVERY_BATCH, Lake, check, picture, result, survey_asset
from galaxy_assets.lake.tables import column_to_vectors, vectors_to_column
from galaxy_assets.science import clusters
from galaxy_assets.surveys.model import Survey

_ARTEFACT_CLUSTER = 0.5  # a cluster whose members are mostly suspects is called artefacts
_EXAMPLES = 8


def build(survey: Survey) -> list[dg.AssetsDefinition]:
    """`umap`, `cluster_model`, `cluster_gallery`, `vote_fractions`, `cluster_summary` (init) and `cluster_labels`
    (batch x init) of a survey."""

    @survey_asset(
        survey,
        "6_structure",
        paper="3.2, Figures 4-6",
        by="init",
        reads=["pca_features"],
        settings=[survey.umap],
        kinds=("umap", "parquet"),
    )
    def umap(context: dg.AssetExecutionContext, pca_features: pa.Table):
        """A map of the representation in two dimensions, for looking only."""
        from galaxy_assets.science.projection import umap_xy

        xy = umap_xy(column_to_vectors(pca_features["vector"]), survey.umap)
        table = pca_features.select(["galaxy_id", "batch", "init"])
        table = table.append_column("x", pa.array(xy[:, 0])).append_column("y", pa.array(xy[:, 1]))
        return result(table)

    @survey_asset(
        survey,
        "6_structure",
        paper="6.1",
        by="init",
        reads=["pca_features"],
        settings=[survey.mixture],
        kinds=("scikitlearn", "parquet"),
        checks={"converged": "The best start of the mixture converged."},
    )
    def cluster_model(context: dg.AssetExecutionContext, pca_features: pa.Table):
        """The Bayesian Gaussian mixture, a row per component: weight, mean, Cholesky factor of the precision and the
        parameters of its posterior. Components are numbered by falling weight."""
        from galaxy_assets.science import mixture

        model = mixture.fit(column_to_vectors(pca_features["vector"]), survey.mixture)
        k = len(model.weights)
        table = pa.table(
            {
                "init": [context.partition_key] * k,
                "cluster": pa.array(range(k), pa.int32()),
                "weight": model.weights,
                "log_weight": model.log_weights,
                "mean": list(model.means),
                "precision_cholesky": list(model.precisions_cholesky.reshape(k, -1)),
                "degrees_of_freedom": model.degrees_of_freedom,
                "mean_precision": model.mean_precision,
                "lower_bound": [model.lower_bound] * k,
                "converged": [model.converged] * k,
                "iterations": pa.array([model.iterations] * k, pa.int32()),
            }
        )
        return result(
            table,
            metadata={
                "components": k,
                "components above 1 %": int((model.weights > 0.01).sum()),
                "lower_bound": model.lower_bound,
                "iterations": model.iterations,
            },
            checks=[check("converged", model.converged, f"{model.iterations} iterations", warn=True)],
        )

    @survey_asset(
        survey,
        "6_structure",
        paper="6.1",
        by="batch_init",
        reads=["pca_features", "cluster_model"],
        kinds=("scikitlearn", "parquet"),
    )
    def cluster_labels(context: dg.AssetExecutionContext, pca_features: pa.Table, cluster_model: pa.Table):
        """The batch's galaxies with their cluster, its membership probability, and the probabilities of all
        clusters."""
        from galaxy_assets.science.mixture import MixtureModel

        k = cluster_model.num_rows
        means = np.stack(cluster_model["mean"].to_numpy(zero_copy_only=False))
        model = MixtureModel(
            weights=cluster_model["weight"].to_numpy(),
            log_weights=cluster_model["log_weight"].to_numpy(),
            means=means,
            precisions_cholesky=np.stack(cluster_model["precision_cholesky"].to_numpy(zero_copy_only=False)).reshape(
                k, means.shape[1], means.shape[1]
            ),
            degrees_of_freedom=cluster_model["degrees_of_freedom"].to_numpy(),
            mean_precision=cluster_model["mean_precision"].to_numpy(),
            lower_bound=cluster_model["lower_bound"][0].as_py(),
            converged=cluster_model["converged"][0].as_py(),
            iterations=cluster_model["iterations"][0].as_py(),
        )
        probabilities = model.probabilities(column_to_vectors(pca_features["vector"]))
        table = pca_features.select(["galaxy_id", "batch", "init"])
        table = table.append_column("cluster", pa.array(probabilities.argmax(axis=1), pa.int32()))
        table = table.append_column("probability", pa.array(probabilities.max(axis=1)))
        table = table.append_column("probabilities", vectors_to_column(probabilities))
        unsure = float((probabilities.max(axis=1) < 0.5).mean()) if len(probabilities) else 0.0
        return result(table, metadata={"members below probability 0.5": unsure})

    @survey_asset(
        survey,
        "6_structure",
        paper="6.1, Figures 4-6",
        by="init",
        reads={"cutouts": EVERY_BATCH, "cluster_labels": {}, "umap": {}},
    )
    def cluster_gallery(
        context: dg.AssetExecutionContext, lake: Lake, cutouts: pa.Table, cluster_labels: pa.Table, umap: pa.Table
    ):
        """Random examples of every cluster, as rows and as a contact sheet, and the clusters on the map."""
        from galaxy_assets.figures.galleries import cluster_gallery as sheet
        from galaxy_assets.figures.maps import cluster_map

        init = context.partition_key
        cluster = cluster_labels["cluster"].to_numpy()
        ids = cluster_labels["galaxy_id"].to_numpy(zero_copy_only=False)
        chosen = clusters.examples(cluster, ids, _EXAMPLES, survey.mixture.seed)
        stack = pixels_of(lake, survey, cutouts)
        images = {k: list(stack[rows_of(cutouts, cluster_labels.take(rows))]) for k, rows in chosen.items()}
        titles = {k: f"cluster {k} ({int((cluster == k).sum())})" for k in chosen}
        rows = [(init, k, i, ids[row]) for k, members in chosen.items() for i, row in enumerate(members)]
        columns = list(zip(*rows, strict=True))
        table = pa.table(dict(zip(("init", "cluster", "position", "galaxy_id"), map(list, columns), strict=True)))
        by_id = dict(zip(ids, cluster, strict=True))
        on_map = np.array([by_id[g] for g in umap["galaxy_id"].to_pylist()])
        figure = cluster_map(umap["x"].to_numpy(), umap["y"].to_numpy(), on_map)
        metadata = picture(lake, survey, sheet(images, titles), "cluster_gallery", init)
        metadata["map"] = picture(lake, survey, figure, "cluster_map", init)["preview"]
        return result(table, metadata={"clusters with members": len(chosen), **metadata})

    @survey_asset(
        survey,
        "6_structure",
        paper="6.2, Figure 7",
        by="init",
        reads={"cluster_labels": {}, "volunteer_votes": {}, "catalogue": EVERY_BATCH},
        settings=[survey.source],
    )
    def vote_fractions(
        context: dg.AssetExecutionContext,
        lake: Lake,
        cluster_labels: pa.Table,
        volunteer_votes: pa.Table,
        catalogue: pa.Table,
    ):
        """Per cluster (and for `all`) and answer of the decision tree: how the vote fractions are distributed, as
        quantiles from 0 to 1 in steps of .05, with at least ten votes for the question and a parent fraction above
        one half. A survey without volunteers has instead the share of each catalogue label."""
        from galaxy_assets.figures.curves import votes_violin

        init = context.partition_key
        cluster_of = dict(zip(*(cluster_labels[c].to_pylist() for c in ("galaxy_id", "cluster")), strict=True))
        if volunteer_votes.num_rows:
            distributions = clusters.vote_distributions(volunteer_votes, cluster_of, survey.source.campaign)
        else:
            labelled = catalogue.filter(catalogue["label"].is_valid())
            labels = dict(zip(*(labelled[c].to_pylist() for c in ("galaxy_id", "label")), strict=True))
            distributions = clusters.label_shares(labels, cluster_of)
        table = pa.Table.from_pylist(
            [
                {
                    "init": init,
                    "cluster": d.cluster,
                    "question": d.question,
                    "answer": d.answer,
                    "n": len(d.fractions),
                    "mean": float(np.mean(d.fractions)),
                    "quantiles": np.quantile(d.fractions, clusters.QUANTILES).tolist(),
                }
                for d in distributions
            ],
            schema=pa.schema(
                [
                    ("init", pa.string()),
                    ("cluster", pa.string()),
                    ("question", pa.string()),
                    ("answer", pa.string()),
                    ("n", pa.int32()),
                    ("mean", pa.float64()),
                    ("quantiles", pa.list_(pa.float64())),
                ]
            ),
        )
        metadata = {}
        if volunteer_votes.num_rows:
            figure = votes_violin(clusters.figure_7(distributions))
            metadata = picture(lake, survey, figure, "vote_fractions", init)
        return result(table, metadata=metadata)

    @survey_asset(
        survey,
        "6_structure",
        paper="6.2, 6.3, 8.3, Table 2, Figure 15",
        by="init",
        reads=["cluster_labels", "cluster_model", "evaluation_subset", "artefact_map", "umap"],
        checks={"clusters_used": "At least half of the mixture's components have members."},
    )
    def cluster_summary(
        context: dg.AssetExecutionContext,
        lake: Lake,
        cluster_labels: pa.Table,
        cluster_model: pa.Table,
        evaluation_subset: pa.Table,
        artefact_map: pa.Table,
        umap: pa.Table,
    ):
        """One row per cluster: members, majority class among the evaluation subset and its share, whether it is
        artefacts by the evidence, a description in words; and how many of the subset the majority labels get right."""
        from galaxy_assets.figures.maps import class_map

        ids = cluster_labels["galaxy_id"].to_pylist()
        label = dict(zip(*(evaluation_subset[c].to_pylist() for c in ("galaxy_id", "evaluation_class")), strict=True))
        suspect = dict(zip(*(artefact_map[c].to_pylist() for c in ("galaxy_id", "suspect")), strict=True))
        cluster = cluster_labels["cluster"].to_numpy()
        labels = [label.get(galaxy) for galaxy in ids]
        summaries = clusters.summarise(
            cluster, labels, np.array([suspect[g] for g in ids], bool), cluster_model.num_rows, _ARTEFACT_CLUSTER
        )
        accuracy = clusters.majority_accuracy(cluster, labels)
        table = pa.Table.from_pylist(
            [{"init": context.partition_key, **s.__dict__, "accuracy_overall": accuracy} for s in summaries]
        )
        used = sum(s.n > 0 for s in summaries)
        on_map = [label.get(g) for g in umap["galaxy_id"].to_pylist()]
        title = f"{context.partition_key}: clusters' majority labels {accuracy:.1%} right"
        figure = class_map(umap["x"].to_numpy(), umap["y"].to_numpy(), on_map, title)
        return result(
            table,
            metadata={
                "accuracy": accuracy,
                "clusters used": used,
                "artefact clusters": sum(s.artefact for s in summaries),
                "descriptions": dg.MetadataValue.md(
                    "\n".join(f"- **{s.cluster}** ({s.n}): {s.description}" for s in summaries)
                ),
                **picture(lake, survey, figure, "class_map", context.partition_key),
            },
            checks=[
                check(
                    "clusters_used", 2 * used >= len(summaries), f"{used} of {len(summaries)} have members", warn=True
                )
            ],
        )

    return [umap, cluster_model, cluster_labels, cluster_gallery, vote_fractions, cluster_summary]
