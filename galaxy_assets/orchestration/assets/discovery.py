"""Discoveries: the active-learning anomaly search and the similarity search (paper 7).

Belongs here: label events, the ranking they lead to, the baselines beside it, its recall, neighbours. Does not belong
here: the Gaussian process (`science.anomaly_model`), people's events (`storage.label_events`).
"""

from datetime import UTC, datetime, timedelta

import dagster as dg
import numpy as np
import pyarrow as pa

from galaxy_assets.orchestration.assets.artefacts import pixels_of, rows_of
from galaxy_assets.orchestration.declaration import FITTED_ON, Lake, check, picture, result, survey_asset
from galaxy_assets.science import active_learning, votes
from galaxy_assets.science.labels import standing
from galaxy_assets.settings.discovery import Anomaly
from galaxy_assets.settings.survey import Survey
from galaxy_assets.storage.label_events import EVENTS, LabelLog
from galaxy_assets.storage.tables import column_to_vectors, digest

ORACLE = "volunteer_oracle"
BASELINES = ("isolation_forest", "local_outlier_factor", "published")


def oracle_scores(ids: list[str], catalogue: pa.Table, volunteer_votes: pa.Table, anomaly: Anomaly):
    """What the simulated oracle knows of each galaxy: score 0-5 (-1 where it has no label) and whether it truly is an
    anomaly, (N,) int and (N,) bool (paper 7.1)."""
    known: dict[str, tuple[int, bool]] = {}
    if anomaly.labels:
        for galaxy, label in zip(catalogue["galaxy_id"].to_pylist(), catalogue["label"].to_pylist(), strict=True):
            if label is not None:
                known[galaxy] = (5 if label in anomaly.labels else 0, label in anomaly.labels)
    elif anomaly.answers and volunteer_votes.num_rows:
        probability, true = votes.anomaly_probability(volunteer_votes, anomaly)
        asked = np.isfinite(probability)
        score = votes.score(np.where(asked, probability, 0.0))
        for galaxy, has, s, t in zip(volunteer_votes["galaxy_id"].to_pylist(), asked, score, true, strict=True):
            if has:
                known[galaxy] = (int(s), bool(t))
    pairs = [known.get(galaxy, (-1, False)) for galaxy in ids]
    return np.array([s for s, _ in pairs], int), np.array([t for _, t in pairs], bool)


def build(survey: Survey) -> list[dg.AssetsDefinition]:
    """`oracle_events`, `label_events`, `anomaly_model`, `anomaly_scores` (batch), `anomaly_ranking`,
    `baseline_rankings`, `anomaly_recall` and `similar_galaxies` of a survey."""
    anomaly = survey.anomaly
    main = {"init": survey.main_start_weights}

    def simulated(learner: active_learning.Learner, features: np.ndarray, ids: np.ndarray, score: np.ndarray):
        """The search over the galaxies that have a score (-1 is none), and its queries' rows in `features`."""
        pool = np.flatnonzero(score >= 0)
        if not len(pool):
            return [], pool
        queries = active_learning.search(
            features[pool],
            ids[pool],
            lambda rows: score[pool[rows]],
            seeds=anomaly.seeds,
            per_round=anomaly.per_round,
            budget=anomaly.budget,
            trade_off=anomaly.trade_off,
            learner=learner,
            seed=survey.recipe.seed,
        )
        return queries, pool[[q.row for q in queries]]

    @survey_asset(
        survey,
        "7_discovery",
        paper="7.1, Figure 10",
        reads={
            "catalogue": FITTED_ON,
            "cutouts": FITTED_ON,
            "volunteer_votes": FITTED_ON,
            "pca_features": main | FITTED_ON,
        },
        settings=[anomaly, survey.main_start_weights],
        kinds=("scikitlearn", "parquet"),
        checks={"oracle_labelled": "The simulated oracle has labels, and shows at least one true anomaly."},
    )
    def oracle_events(
        lake: Lake, catalogue: pa.Table, cutouts: pa.Table, volunteer_votes: pa.Table, pca_features: pa.Table
    ):
        """The session of a simulated person, as label events: scores 0-5 by the volunteers' votes or the labels in the
        active-learning search over the labelled galaxies: seeds along the first principal component, then what the
        survey's learner asks for, round by round until the budget is spent. It is held once; a refit holds another."""
        from galaxy_assets.figures.plates import query_history

        ids = np.array(pca_features["galaxy_id"].to_pylist())
        score, true = oracle_scores(ids.tolist(), catalogue, volunteer_votes, anomaly)
        queries, asked = simulated(anomaly.learner, column_to_vectors(pca_features["vector"]), ids, score)
        now, seen = datetime.now(UTC), digest(pca_features)
        table = pa.Table.from_pylist(
            [
                {
                    "event": f"oracle-{i:06d}",
                    "time": now,
                    "recorded": now,
                    "who": ORACLE,
                    "kind": "score",
                    "galaxy_id": ids[row],
                    "score": query.score,
                    "model_seen": seen,
                    "source": "oracle",
                    "round": query.round,
                    "acquisition": query.acquisition,
                }
                for i, (query, row) in enumerate(zip(queries, asked, strict=True))
            ],
            schema=EVENTS,
        )
        rounds = np.array([q.round for q in queries], int)
        shown = np.concatenate([np.flatnonzero(rounds == r)[:5] for r in np.unique(rounds)]) if queries else []
        labelled = int((score >= 0).sum())
        metadata = {"labelled galaxies": labelled, "true anomalies": int(true.sum()), "scored": len(queries)}
        metadata["true anomalies shown"] = int(true[asked].sum())
        if queries:
            stack = pixels_of(lake, survey, cutouts)
            images = stack[rows_of(cutouts, pca_features.take(asked[shown]))]
            sheet = query_history(list(images), [queries[i].score for i in shown], rounds[shown].tolist())
            metadata |= picture(lake, survey, sheet, "query_history")
        return result(
            table,
            metadata=metadata,
            unversioned=["time", "recorded"],
            checks=[
                check(
                    "oracle_labelled",
                    bool(true.any()),
                    f"{labelled} labelled galaxies, {int(true.sum())} true {anomaly.name}",
                    warn=True,
                )
            ],
        )

    @survey_asset(survey, "7_discovery", paper="7.1", reads=["oracle_events"])
    def label_events(lake: Lake, oracle_events: pa.Table) -> dg.MaterializeResult[pa.Table]:
        """Everything said of any galaxy, in the order of time: the simulated person's events and those of people, who
        outrank it (docs/labels.md)."""
        import pyarrow.compute as pc

        people = LabelLog(lake.layout.labels(survey.name)).read()
        table = pa.concat_tables([oracle_events, people]).sort_by([("time", "ascending"), ("event", "ascending")])
        who = {f"events of {w['values']}": w["counts"] for w in pc.value_counts(table["who"]).to_pylist()}
        return result(table, metadata=who, unversioned=["recorded"])

    @survey_asset(
        survey,
        "7_discovery",
        paper="7.1",
        reads={"label_events": {}, "pca_model": main, "pca_features": main | FITTED_ON},
        settings=[anomaly, survey.main_start_weights],
        kinds=("scikitlearn", "parquet"),
        checks={
            "posterior_informed": "The scores given tell galaxies apart: the posterior is not flat.",
            "hyper_parameters_inside": "No hyper-parameter of the Gaussian process ended at its bound.",
        },
    )
    def anomaly_model(label_events: pa.Table, pca_model: pa.Table, pca_features: pa.Table):
        """The Gaussian process on the scores that stand: its kernel and the features of the galaxies scored, by which
        any delivery can be scored. Before any score is given, and for the corrected learner until scores differ, a
        sample for an isolation forest instead."""
        from galaxy_assets.science import anomaly_model as models
        from galaxy_assets.science.pca import table_to_model

        features, said = column_to_vectors(pca_features["vector"]), standing(label_events)
        ids = pca_features["galaxy_id"].to_numpy(zero_copy_only=False)
        model = models.fit(
            features, ids, said, table_to_model(pca_model).deviations, anomaly.learner, survey.recipe.seed
        )
        kernel, at_bounds, flat = "none", (), len(model.labelled_ids) > 0
        if model.process is not None:
            kernel, at_bounds = model.process.kernel, model.process.at_bounds
            flat = bool(np.ptp(model.process.predict(model.process.labelled)[0]) < 1e-6)
        return result(
            models.model_to_table(model),
            metadata={
                "scores given": len(model.labelled_ids),
                "by people": said["by"].to_pylist().count("people"),
                "learner": anomaly.learner,
                "kernel": kernel,
                "at bounds": ", ".join(at_bounds) or "none",
            },
            checks=[
                check("posterior_informed", not flat, f"kernel: {kernel}", warn=True),
                check("hyper_parameters_inside", not at_bounds, ", ".join(at_bounds) or kernel, warn=True),
            ],
        )

    @survey_asset(
        survey,
        "7_discovery",
        paper="7.1",
        by="batch",
        reads={"pca_features": main, "anomaly_model": {}},
        settings=[survey.main_start_weights, str(survey.recipe.seed)],
        kinds=("scikitlearn", "parquet"),
    )
    def anomaly_scores(pca_features: pa.Table, anomaly_model: pa.Table) -> dg.MaterializeResult[pa.Table]:
        """The predicted score of each galaxy of the batch and its uncertainty, null where no score tells galaxies
        apart yet; and by which model, as the digest of `anomaly_model`."""
        return result(scored(pca_features, anomaly_model, survey.recipe.seed))

    @survey_asset(
        survey,
        "7_discovery",
        paper="7.1, Figure 9",
        reads={
            "cutouts": {},
            "anomaly_model": {},
            "anomaly_scores": {},
            "pca_features": main,
            "label_events": {},
        },
        settings=[anomaly.learner, survey.main_start_weights],
        freshness=dg.FreshnessPolicy.time_window(warn_window=timedelta(days=8), fail_window=timedelta(days=31)),
    )
    def anomaly_ranking(
        lake: Lake,
        cutouts: pa.Table,
        anomaly_model: pa.Table,
        anomaly_scores: pa.Table,
        pca_features: pa.Table,
        label_events: pa.Table,
    ) -> dg.MaterializeResult[pa.Table]:
        """Every clean galaxy by falling predicted score, with its uncertainty, who scored it (people or the oracle) and
        the round in which the oracle was shown it. The corrected learner keeps a score given in place of the predicted
        one. Batches that the present model has not scored yet are scored here, so that one run ranks anew after a
        person's labels."""
        import pyarrow.compute as pc

        from galaxy_assets.figures.galleries import contact_sheet
        from galaxy_assets.science.anomaly_model import ranked

        present = pc.is_in(anomaly_scores["galaxy_id"], pca_features["galaxy_id"].combine_chunks())
        now = anomaly_scores.filter(pc.and_(present, pc.equal(anomaly_scores["model"], digest(anomaly_model))))
        known = pc.is_in(pca_features["galaxy_id"], now["galaxy_id"].combine_chunks())
        others = scored(pca_features.filter(pc.invert(known)), anomaly_model, survey.recipe.seed)
        scores = pa.concat_tables([now, others]).drop_columns("model")
        table = ranked(scores, standing(label_events), anomaly.learner)
        top = pixels_of(lake, survey, cutouts)[rows_of(cutouts, table.slice(0, 40))]
        sheet = contact_sheet(list(top), [f"{s:.2f}" for s in table["score"].to_pylist()[:40]], columns=8)
        metadata = {"scored": pc.sum(table["scored_by"].is_valid()).as_py() or 0, "scored here": others.num_rows}
        return result(table, metadata=metadata | picture(lake, survey, sheet, "top_ranked"))

    @survey_asset(
        survey,
        "7_discovery",
        paper="7.1; the learner as published, and what needs no labels",
        reads={"catalogue": {}, "volunteer_votes": {}, "pca_features": main},
        settings=[anomaly, survey.main_start_weights],
        kinds=("scikitlearn", "parquet"),
    )
    def baseline_rankings(
        catalogue: pa.Table, volunteer_votes: pa.Table, pca_features: pa.Table
    ) -> dg.MaterializeResult[pa.Table]:
        """What the ranking is measured against, for every clean galaxy: the scores of an isolation forest and of the
        local outlier factor (larger is stranger), and the predicted score, its uncertainty and the rounds of a search
        of its own by the learner as published; null where the survey has nothing to search for."""
        features = column_to_vectors(pca_features["vector"])
        ids = pca_features["galaxy_id"].to_numpy(zero_copy_only=False)
        score, _ = oracle_scores(ids.tolist(), catalogue, volunteer_votes, anomaly)
        queries, asked = simulated("published", features, ids, score)
        n = len(ids)
        mean, std, at_bounds = pa.nulls(n, pa.float64()), pa.nulls(n, pa.float64()), ()
        if queries:
            state = active_learning.posterior(features, asked, np.array([q.score for q in queries]), "published")
            mean, std, at_bounds = pa.array(state.mean), pa.array(state.std), state.at_bounds
        rounds = {row: q.round for row, q in zip(asked.tolist(), queries, strict=True)}
        table = pa.table(
            {
                "galaxy_id": pca_features["galaxy_id"],
                "isolation_forest": active_learning.unsupervised_score(features, survey.recipe.seed),
                "local_outlier_factor": active_learning.outlier_factor(features),
                "published": mean,
                "published_std": std,
                "published_round": pa.array([rounds.get(i) for i in range(n)], pa.int32()),
            }
        )
        return result(table, metadata={"at bounds": ", ".join(at_bounds) or "none"})

    @survey_asset(
        survey,
        "7_discovery",
        paper="7.1, Figures 8 and 9",
        reads={"catalogue": {}, "volunteer_votes": {}, "anomaly_ranking": {}, "baseline_rankings": {}, "umap": main},
        settings=[anomaly],
        checks={
            "better_than_random": "More true anomalies in the first tenth of the list than a random order has.",
            "better_than_isolation_forest": "More true anomalies in the first 200 than an isolation forest has.",
        },
    )
    def anomaly_recall(
        lake: Lake,
        catalogue: pa.Table,
        volunteer_votes: pa.Table,
        anomaly_ranking: pa.Table,
        baseline_rankings: pa.Table,
        umap: pa.Table,
    ):
        """True anomalies found down the ranked list of the labelled galaxies, beside a random and a perfect order and
        the lists of `baseline_rankings`; and down the list of those the oracle never saw, since a score given is no
        discovery."""
        from galaxy_assets.figures.curves import recall
        from galaxy_assets.figures.maps import anomaly_maps

        ids = anomaly_ranking["galaxy_id"].to_pylist()
        score, true = oracle_scores(ids, catalogue, volunteer_votes, anomaly)
        shown = anomaly_ranking["scored_by"].is_valid().to_numpy(zero_copy_only=False)
        curve = active_learning.recall_curve(true[score >= 0], shown[score >= 0])
        table = pa.table(curve | {"found_unshown": pa.array(curve["found_unshown"], pa.int64())})
        truth = dict(zip(ids, true.tolist(), strict=True))
        every = baseline_rankings["galaxy_id"].to_numpy(zero_copy_only=False)
        labelled = baseline_rankings.filter(pa.array(np.isin(every, np.array(ids)[score >= 0])))
        names = labelled["galaxy_id"].to_numpy(zero_copy_only=False)
        for name in BASELINES:
            counts = pa.nulls(len(names), pa.int64())
            if labelled[name].null_count == 0:
                order = active_learning.best_first(labelled[name].to_numpy(), names)
                counts = pa.array(np.cumsum([truth[galaxy] for galaxy in names[order]], dtype=np.int64))
            table = table.append_column(name, counts)
        found = table["found"].to_numpy()
        at = {n: int(found[n - 1]) for n in (100, 200, 500) if n <= len(found)}
        tenth = max(len(found) // 10, 1)
        predicted = dict(zip(ids, anomaly_ranking["score"].to_pylist(), strict=True))
        galaxies = umap["galaxy_id"].to_pylist()
        maps = anomaly_maps(
            umap["x"].to_numpy(),
            umap["y"].to_numpy(),
            np.array([truth[g] for g in galaxies], bool),
            np.array([predicted[g] for g in galaxies]),
        )
        metadata = {"true anomalies": int(true.sum()), **{f"found in the first {n}": k for n, k in at.items()}}
        unshown = table["found_unshown"].drop_null().to_pylist()
        metadata |= {
            f"found in the first {n} never shown": unshown[n - 1] for n in (100, 200, 500) if n <= len(unshown)
        }
        for name in ("random", *BASELINES):
            metadata |= {f"{name} in the first {n}": table[name][n - 1].as_py() for n in at}
        metadata |= picture(lake, survey, recall(table), "recall")
        metadata["maps"] = picture(lake, survey, maps, "anomaly_maps")["preview"]
        top = min(200, len(found))
        first, forest = (int(found[top - 1]), table["isolation_forest"][top - 1].as_py()) if top else (0, 0)
        early, expected = (int(found[tenth - 1]), table["random"][tenth - 1].as_py()) if len(found) else (0, 0.0)
        return result(
            table,
            metadata=metadata,
            checks=[
                check(
                    "better_than_random",
                    early > expected,
                    f"{early} in the first {tenth}, random order {expected:.1f}",
                    warn=True,
                ),
                check(
                    "better_than_isolation_forest",
                    first > forest,
                    f"{first} in the first {top}, isolation forest {forest}",
                    warn=True,
                ),
            ],
        )

    @survey_asset(
        survey,
        "7_discovery",
        paper="7.2, Figures 11 and 12",
        reads={"cutouts": {}, "pca_features": main, "anomaly_ranking": {}},
        settings=[survey.similarity, survey.main_start_weights],
    )
    def similar_galaxies(
        lake: Lake, cutouts: pa.Table, pca_features: pa.Table, anomaly_ranking: pa.Table
    ) -> dg.MaterializeResult[pa.Table]:
        """The nearest galaxies in principal components to the survey's query galaxies, or to the best ranked ones
        where the survey names none."""
        from galaxy_assets.figures.galleries import contact_sheet
        from galaxy_assets.science.neighbours import SimilaritySearch

        ids = pca_features["galaxy_id"].to_numpy(zero_copy_only=False)
        row = {galaxy: i for i, galaxy in enumerate(ids)}
        asked = survey.similarity.queries or anomaly_ranking["galaxy_id"].to_pylist()[: survey.similarity.n_queries]
        unknown = [galaxy for galaxy in asked if galaxy not in row]
        if unknown:
            raise ValueError(
                f"similarity.queries of {survey.name}: {', '.join(unknown)} not among the clean galaxies; "
                "correct the survey's YAML or look in clean_galaxies for the rule that removed them"
            )
        features, queries = column_to_vectors(pca_features["vector"]), [row[galaxy] for galaxy in asked]
        search = SimilaritySearch(features, ids)
        found = [search.most_similar(features[[q]], survey.similarity.neighbours, [q]) for q in queries]
        neighbours, distances = (np.stack([answer[i] for answer in found]) for i in (0, 1))
        k = neighbours.shape[1]
        table = pa.table(
            {
                "query_id": [galaxy for galaxy in asked for _ in range(k)],
                "neighbour_id": pa.array(ids[neighbours.ravel()], pa.string()),
                "distance": distances.ravel(),
                "rank": pa.array(list(range(1, k + 1)) * len(asked), pa.int32()),
            }
        )
        shown = np.concatenate([[q, *n] for q, n in zip(queries, neighbours, strict=True)])
        images = pixels_of(lake, survey, cutouts)[rows_of(cutouts, pca_features.take(shown))]
        captions = [text for d in distances for text in ["query", *(f"{x:.1f}" for x in d)]]
        sheet = contact_sheet(list(images), captions, columns=k + 1)
        return result(table, metadata={"queries": len(asked), **picture(lake, survey, sheet, "similar_galaxies")})

    return [
        oracle_events,
        label_events,
        anomaly_model,
        anomaly_scores,
        anomaly_ranking,
        baseline_rankings,
        anomaly_recall,
        similar_galaxies,
    ]


def scored(pca_features: pa.Table, anomaly_model: pa.Table, seed: int) -> pa.Table:
    """`anomaly_scores` of galaxies by the model that the table holds."""
    from galaxy_assets.science.anomaly_model import scores_to_table, table_to_model

    features = column_to_vectors(pca_features["vector"])
    table = scores_to_table(pca_features, *table_to_model(anomaly_model, seed).score(features))
    return table.append_column("model", pa.array([digest(anomaly_model)] * table.num_rows, pa.string()))
