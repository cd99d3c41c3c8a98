"""Structure found without labels: the map, the clusters, and what the clusters contain (paper 6, 8.3).

Belongs here: assets over the principal components of each start weight. Does not belong here: the mixture itself.
"""

import dagster as dg
import numpy as np
import pyarrow as pa

from galaxy_assets.orchestration.assets.artefacts import pixels_of
from galaxy_assets.orchestration.declaration import (
    EVERY_BATCH,
    FITTED_ON,
    IN_TURN,
    ONE_START,
    Lake,
    check,
    markdown,
    picture,
    result,
    survey_asset,
)
from galaxy_assets.science import clusters, worksheet
from galaxy_assets.science.cutouts import WITHOUT_PIXELS
from galaxy_assets.settings.survey import Survey
from galaxy_assets.storage.files import replacing
from galaxy_assets.storage.tables import TablesInTurn, beside, column_to_vectors, rows_of, vectors_to_column

_EXAMPLES = 8
# all columns named: without evaluation classes some hold nothing that would tell their type
SUMMARY = pa.schema(
    [
        ("init", pa.string()),
        ("cluster", pa.int32()),
        ("n", pa.int64()),
        ("n_labelled", pa.int64()),
        ("majority_class", pa.string()),
        ("purity", pa.float64()),
        ("suspect_fraction", pa.float64()),
        ("artefact", pa.bool_()),
        ("label", pa.string()),
        ("description", pa.string()),
        ("evidence", pa.string()),
        ("described_by", pa.string()),
        ("accuracy_overall", pa.float64()),
    ]
)
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


def build(survey: Survey) -> list[dg.AssetsDefinition]:
    """`umap_model`, `cluster_model`, `cluster_gallery`, `vote_fractions`, `cluster_worksheet`, `cluster_summary`,
    `class_membership`, `training_candidates` (init), `umap`, `cluster_labels` (batch x init) and `batch_drift` (batch)
    of a survey."""
    labelling, main = survey.labelling, {"init": survey.main_start_weights}

    def components(embeddings: TablesInTurn, pca_model: pa.Table) -> np.ndarray:
        """The embeddings in principal components, (N, K) float32: a refit does not wait for `pca_features`."""
        from galaxy_assets.science.pca import table_to_model

        model = table_to_model(pca_model)
        return np.vstack([model.transform(vectors) for vectors in embeddings.vectors()])

    @survey_asset(
        survey,
        "6_structure",
        paper="3.2, Figures 4-6",
        by="init",
        reads={"embeddings": FITTED_ON | IN_TURN, "pca_model": {}},
        settings=[survey.umap],
        kinds=("umap", "parquet"),
    )
    def umap_model(embeddings: TablesInTurn, pca_model: pa.Table) -> dg.MaterializeResult[pa.Table]:
        """A map of the representation in two dimensions, for looking only: where every galaxy lies that there was when
        it was fitted, and what later deliveries are placed by."""
        from galaxy_assets.science.projection import feature_keys, fit_map, model_to_table

        keys = np.concatenate([feature_keys(vectors) for vectors in embeddings.vectors()])
        fitted = model_to_table(fit_map(components(embeddings, pca_model), keys, survey.umap))
        return result(beside(embeddings.select(["galaxy_id", "batch", "init"]), fitted))

    @survey_asset(
        survey,
        "6_structure",
        paper="3.2, Figures 4-6",
        by="batch_init",
        reads=["embeddings", "pca_features", "umap_model"],
        settings=[survey.umap],
        version="2",
    )
    def umap(embeddings: pa.Table, pca_features: pa.Table, umap_model: pa.Table) -> dg.MaterializeResult[pa.Table]:
        """Where the batch's galaxies lie on the map."""
        from galaxy_assets.science.projection import feature_keys, table_to_model

        keys = feature_keys(column_to_vectors(embeddings["vector"]))
        xy = table_to_model(umap_model).place(column_to_vectors(pca_features["vector"]), keys, survey.umap)
        table = pca_features.select(["galaxy_id", "batch", "init"])
        return result(table.append_column("x", pa.array(xy[:, 0])).append_column("y", pa.array(xy[:, 1])))

    @survey_asset(
        survey,
        "6_structure",
        paper="6.1",
        by="init",
        reads={"embeddings": FITTED_ON | IN_TURN, "pca_model": {}},
        settings=[survey.mixture],
        kinds=("scikitlearn", "parquet"),
        checks={"converged": "The best start of the mixture converged."},
    )
    def cluster_model(context: dg.AssetExecutionContext, embeddings: TablesInTurn, pca_model: pa.Table):
        """The Bayesian Gaussian mixture, a row per component: weight, mean, Cholesky factor of the precision and the
        parameters of its posterior, and which share of all fitted galaxies is unsure (below probability one half).
        Components are numbered by falling weight."""
        from galaxy_assets.science import mixture

        features = components(embeddings, pca_model)
        model = mixture.fit(features, survey.mixture)
        k, unsure = len(model.weights), float((model.probabilities(features).max(axis=1) < 0.5).mean())
        table = mixture.model_to_table(model, context.partition_key, unsure)
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
        from galaxy_assets.science.mixture import table_to_model

        model = table_to_model(cluster_model)
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
        paper="9; not in the paper",
        by="batch",
        reads={
            "cutouts": {},
            "embeddings": main,
            "pca_model": main | ONE_START,
            "cluster_labels": main,
            "cluster_model": main | ONE_START,
        },
        settings=[survey.drift, survey.main_start_weights],
        checks={"no_drift": "The delivery is like what the models were fitted to; otherwise retraining is advised."},
    )
    def batch_drift(
        cutouts: pa.Table,
        embeddings: pa.Table,
        pca_model: pa.Table,
        cluster_labels: pa.Table,
        cluster_model: pa.Table,
    ):
        """How far the delivery is from what the models of the main start weights were fitted to: variance outside the
        components, distance and shift within them, members without a clear cluster, images that keep their frame."""
        from galaxy_assets.science.drift import drift
        from galaxy_assets.science.pca import table_to_model

        outcomes = [outcome for outcome in cutouts["outcome"].to_pylist() if outcome not in WITHOUT_PIXELS]
        measures = []
        if embeddings.num_rows:
            measures = drift(
                column_to_vectors(embeddings["vector"]),
                table_to_model(pca_model),
                unsure=float((cluster_labels["probability"].to_numpy() < 0.5).mean()),
                unsure_fitted=cluster_model["unsure"][0].as_py(),
                fallback=sum(outcome.startswith("fallback") for outcome in outcomes) / len(outcomes),
                limits=survey.drift,
            )
        columns = ("name", "value", "fitted", "limit", "exceeded", "words")
        table = pa.Table.from_pylist(
            [{name: getattr(measure, name) for name in columns} for measure in measures], schema=DRIFT
        )
        found = [f"{m.words} {m.value:.2f}, limit {m.limit:.2f}" for m in measures if m.exceeded]
        said = f"retrain: {'; '.join(found)}" if found else f"{embeddings.num_rows} galaxies like the fitted ones"
        return result(
            table,
            metadata={**{m.name: m.value for m in measures}, "evidence": dg.MetadataValue.md(markdown(table))},
            checks=[check("no_drift", not found, said, warn=True)],
        )

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
        settings=[survey.source, survey.votes],
    )
    def vote_fractions(
        context: dg.AssetExecutionContext,
        lake: Lake,
        cluster_labels: pa.Table,
        volunteer_votes: pa.Table,
        catalogue: pa.Table,
    ):
        """Per cluster (and for `all`) and answer of the decision tree: how the vote fractions are distributed, as
        quantiles from 0 to 1 in steps of .05, over the galaxies that the survey's `votes` rules admit (in the paper ten
        votes for the question and a parent fraction above one half). A survey without volunteers has instead the share
        of each catalogue label."""
        from galaxy_assets.figures.curves import votes_violin

        init = context.partition_key
        cluster_of = dict(zip(*(cluster_labels[c].to_pylist() for c in ("galaxy_id", "cluster")), strict=True))
        if volunteer_votes.num_rows:
            distributions = clusters.vote_distributions(
                volunteer_votes, cluster_of, survey.source.campaign, survey.votes
            )
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
        paper="6.2, 6.3, Table 2",
        by="init",
        reads=["cluster_labels"],
        checks={
            "rows_match": "Every row of the worksheet is about a cluster of today.",
            "labels_are_classes": "Every label in the worksheet is one of the survey's evaluation classes.",
        },
    )
    def cluster_worksheet(context: dg.AssetExecutionContext, lake: Lake, cluster_labels: pa.Table):
        """What a person says of the clusters in `data/surveys/<survey>_clusters.csv`, each row with the cluster that it
        is about now: the one that holds more than half of its exemplars, since a refit numbers clusters anew. Empty
        without that file; `cluster_summary` writes a template for it."""
        init, path = context.partition_key, lake.layout.cluster_worksheet(survey.name)
        said = worksheet.read_worksheet(path, survey.start_weights) if path.exists() else []
        cluster_of = dict(zip(*(cluster_labels[c].to_pylist() for c in ("galaxy_id", "cluster")), strict=True))
        rows = worksheet.match([row for row in said if row.init == init], cluster_of, path)
        lost = [
            f"line {row['line']} (written for cluster {row['written_for'] or '?'}; the best cluster now holds "
            f"{row['n_held']} of {len(row['exemplars'])} exemplars)"
            for row in rows.to_pylist()
            if row["cluster"] is None
        ]
        classes = {c.name for c in survey.evaluation.classes}
        strange = sorted(set(rows["label"].drop_null().to_pylist()) - classes) if classes else []
        return result(
            rows.add_column(0, "init", pa.array([init] * rows.num_rows, pa.string())),
            metadata={"worksheet": dg.MetadataValue.path(str(path)), "rows in force": rows.num_rows - len(lost)},
            checks=[
                check("rows_match", not lost, "; ".join(lost) or f"{rows.num_rows} rows", warn=True),
                check("labels_are_classes", not strange, ", ".join(strange) or "all are", warn=True),
            ],
        )

    @survey_asset(
        survey,
        "6_structure",
        paper="6.2, 6.3, 8.3, Table 2, Figure 15",
        by="init",
        reads={
            "cluster_labels": {},
            "cluster_model": {},
            "cluster_worksheet": {},
            "vote_fractions": {},
            "evaluation_subset": {},
            "artefact_map": EVERY_BATCH,
            "umap": {},
        },
        settings=[labelling],
        checks={"clusters_used": "At least half of the mixture's components have members."},
    )
    def cluster_summary(
        context: dg.AssetExecutionContext,
        lake: Lake,
        cluster_labels: pa.Table,
        cluster_model: pa.Table,
        cluster_worksheet: pa.Table,
        vote_fractions: pa.Table,
        evaluation_subset: pa.Table,
        artefact_map: pa.Table,
        umap: pa.Table,
    ):
        """One row per cluster: members, what they are in words with the evidence, by rule from the volunteers' votes
        (or the evaluation classes) or by a person; the class it is labelled with; and how many of the evaluation subset
        these labels get right."""
        from galaxy_assets.figures.maps import class_map

        init, ids = context.partition_key, cluster_labels["galaxy_id"].to_pylist()
        label = classes_of(evaluation_subset)
        suspect = dict(zip(*(artefact_map[c].to_pylist() for c in ("galaxy_id", "suspect")), strict=True))
        cluster, probability = (cluster_labels[c].to_numpy() for c in ("cluster", "probability"))
        labels = [label.get(galaxy) for galaxy in ids]
        said = worksheet.overrides(cluster_worksheet)
        summaries = clusters.summarise(
            cluster,
            labels,
            np.array([suspect[g] for g in ids], bool),
            cluster_model.num_rows,
            labelling,
            clusters.spreads(vote_fractions),
            said,
        )
        accuracy = clusters.label_accuracy(cluster, labels, [s.label for s in summaries])
        table = pa.Table.from_pylist(
            [{"init": init, **s.__dict__, "accuracy_overall": accuracy} for s in summaries], schema=SUMMARY
        )
        certain = clusters.most_certain(cluster, probability, ids, labelling.exemplars)
        template = lake.layout.worksheet_template(survey.name, init)
        template.parent.mkdir(parents=True, exist_ok=True)
        with replacing(template) as partial:
            exemplars = {k: [ids[row] for row in rows] for k, rows in certain.items()}
            words = {s.cluster: (s.description, s.evidence) for s in summaries}
            partial.write_text(worksheet.template(init, exemplars, words, said), encoding="utf-8")
        used = sum(s.n > 0 for s in summaries)
        on_map = [label.get(g) for g in umap["galaxy_id"].to_pylist()]
        title = f"{init}: clusters' labels {accuracy:.1%} right"
        figure = class_map(umap["x"].to_numpy(), umap["y"].to_numpy(), on_map, title)
        return result(
            table,
            metadata={
                "accuracy": accuracy,
                "clusters used": used,
                "artefact clusters": sum(s.artefact for s in summaries),
                "descriptions": dg.MetadataValue.md(
                    "\n".join(f"- **{s.cluster}** ({s.n}): {s.description} ({s.evidence})" for s in summaries)
                ),
                "described by a person": sum(s.described_by == "person" for s in summaries),
                "worksheet template": dg.MetadataValue.path(str(template)),
                **picture(lake, survey, figure, "class_map", init),
            },
            checks=[
                check(
                    "clusters_used", 2 * used >= len(summaries), f"{used} of {len(summaries)} have members", warn=True
                )
            ],
        )

    @survey_asset(
        survey,
        "6_structure",
        paper="6.3",
        by="init",
        reads=["cluster_labels", "evaluation_subset", "cluster_summary"],
    )
    def class_membership(
        context: dg.AssetExecutionContext,
        lake: Lake,
        cluster_labels: pa.Table,
        evaluation_subset: pa.Table,
        cluster_summary: pa.Table,
    ) -> dg.MaterializeResult[pa.Table]:
        """In which clusters the galaxies of each evaluation class are: number, share of the class, and what the cluster
        is labelled as."""
        import pyarrow.compute as pc

        from galaxy_assets.figures.memberships import class_membership as draw

        init, label = context.partition_key, classes_of(evaluation_subset)
        labels = [label.get(galaxy) for galaxy in cluster_labels["galaxy_id"].to_pylist()]
        given = cluster_summary["label"].to_pylist()
        table = clusters.membership(cluster_labels["cluster"].to_numpy(), labels, given)
        table = table.add_column(0, "init", pa.array([init] * table.num_rows, pa.string()))
        found = {}
        for name in pc.unique(table["evaluation_class"]).to_pylist():
            own = [r for r in table.to_pylist() if r["evaluation_class"] == r["labelled_as"] == name]
            numbers = ", ".join(str(r["cluster"]) for r in own) or "none"
            found[f"class {name}"] = f"{sum(r['share'] for r in own):.1%} in the clusters labelled so: {numbers}"
        return result(table, metadata={**found, **picture(lake, survey, draw(table), "class_membership", init)})

    @survey_asset(
        survey,
        "6_structure",
        paper="9",
        by="init",
        reads={"cluster_labels": {}, "cluster_summary": {}, "cutouts": EVERY_BATCH},
        settings=[labelling],
    )
    def training_candidates(
        context: dg.AssetExecutionContext,
        lake: Lake,
        cluster_labels: pa.Table,
        cluster_summary: pa.Table,
        cutouts: pa.Table,
    ) -> dg.MaterializeResult[pa.Table]:
        """The most certain members of each cluster by the mixture's membership probability, ties by id: what a training
        set could take without asking anyone. Clusters of artefacts are left out."""
        from galaxy_assets.figures.galleries import cluster_gallery as sheet

        init, ids = context.partition_key, cluster_labels["galaxy_id"].to_pylist()
        cluster, probability = (cluster_labels[c].to_numpy() for c in ("cluster", "probability"))
        summary = {row["cluster"]: row for row in cluster_summary.to_pylist()}
        certain = clusters.most_certain(cluster, probability, ids, labelling.candidates)
        chosen = {k: rows for k, rows in certain.items() if not summary[k]["artefact"]}
        rows = np.concatenate([np.empty(0, np.int64), *chosen.values()])
        table = cluster_labels.take(pa.array(rows)).select(["init", "cluster", "galaxy_id", "batch", "probability"])
        rank = [i for members in chosen.values() for i in range(1, len(members) + 1)]
        table = table.add_column(2, "rank", pa.array(rank, pa.int32()))
        for name in ("description", "label"):
            own = [summary[k][name] for k in table["cluster"].to_pylist()]
            table = table.append_column(name, pa.array(own, pa.string()))
        stack = pixels_of(lake, survey, cutouts)
        images = {k: list(stack[rows_of(cutouts, cluster_labels.take(own[:_EXAMPLES]))]) for k, own in chosen.items()}
        titles = {k: f"cluster {k}" for k in chosen}
        return result(table, metadata=picture(lake, survey, sheet(images, titles), "training_candidates", init))

    return [
        umap_model,
        umap,
        cluster_model,
        cluster_labels,
        batch_drift,
        cluster_gallery,
        vote_fractions,
        cluster_worksheet,
        cluster_summary,
        class_membership,
        training_candidates,
    ]


def classes_of(evaluation_subset: pa.Table) -> dict[str, str]:
    """Evaluation class by galaxy id."""
    return dict(zip(*(evaluation_subset[c].to_pylist() for c in ("galaxy_id", "evaluation_class")), strict=True))
