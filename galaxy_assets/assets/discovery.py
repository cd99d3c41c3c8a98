"""Discoveries: the active-learning anomaly search and the similarity search (paper 7).

Belongs here: label events, the ranking they lead to, the baselines beside it, its recall, neighbours. Does not belong
here: the Gaussian process (`science.active_learning`).
"""

from datetime import UTC, datetime

import dagster as dg
import numpy as np
import pyarrow as pa

from galaxy_assets.assets.artefacts import pixels_of, rows_of
from galaxy_assets.assets.survey_asset import Lake, check, picture, result, survey_asset
from galaxy_assets.lake.tables import column_to_vectors, digest
from galaxy_assets.science import active_learning, votes
from galaxy_assets.surveys.model import Anomaly, Survey

EVENTS = pa.schema(
    [
        ("event", pa.int64()),
        ("time", pa.timestamp("us", "UTC")),
        ("who", pa.string()),
        ("galaxy_id", pa.string()),
        ("score", pa.int8()),
        ("round", pa.int32()),
        ("acquisition", pa.float64()),
        ("ranking_seen", pa.string()),
    ]
)
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
    """`label_events`, `anomaly_ranking`, `baseline_rankings`, `anomaly_recall` and `similar_galaxies` of a survey."""
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
        reads={"catalogue": {}, "cutouts": {}, "volunteer_votes": {}, "pca_features": main},
        settings=[anomaly, survey.main_start_weights],
        kinds=("scikitlearn", "parquet"),
        checks={"oracle_labelled": "The simulated oracle has labels, and shows at least one true anomaly."},
    )
    def label_events(
        lake: Lake, catalogue: pa.Table, cutouts: pa.Table, volunteer_votes: pa.Table, pca_features: pa.Table
    ):
        """Scores 0-5 as events: who, when, which galaxy, in which round, and the features they were ranked by. The
        simulated volunteers answer the active-learning search over the labelled galaxies: seeds along the first
        principal component, then what the survey's learner asks for, round by round until the budget is spent."""
        from galaxy_assets.figures.plates import query_history

        ids = np.array(pca_features["galaxy_id"].to_pylist())
        score, true = oracle_scores(ids.tolist(), catalogue, volunteer_votes, anomaly)
        queries, asked = simulated(anomaly.learner, column_to_vectors(pca_features["vector"]), ids, score)
        now, seen = datetime.now(UTC), digest(pca_features)
        rows = [
            (i, now, ORACLE, ids[row], q.score, q.round, q.acquisition, seen)
            for i, (q, row) in enumerate(zip(queries, asked, strict=True))
        ]
        table = pa.Table.from_pylist([dict(zip(EVENTS.names, row, strict=True)) for row in rows], schema=EVENTS)
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
            unversioned=["time"],
            checks=[
                check(
                    "oracle_labelled",
                    bool(true.any()),
                    f"{labelled} labelled galaxies, {int(true.sum())} true {anomaly.name}",
                    warn=True,
                )
            ],
        )

    @survey_asset(
        survey,
        "7_discovery",
        paper="7.1, Figure 9",
        reads={"cutouts": {}, "pca_features": main, "label_events": {}},
        settings=[anomaly, survey.main_start_weights],
        kinds=("scikitlearn", "parquet"),
        checks={
            "posterior_informed": "The scores given tell galaxies apart: the posterior is not flat.",
            "hyper_parameters_inside": "No hyper-parameter of the Gaussian process ended at its bound.",
        },
    )
    def anomaly_ranking(lake: Lake, cutouts: pa.Table, pca_features: pa.Table, label_events: pa.Table):
        """Every clean galaxy by falling predicted score, with its uncertainty and the round in which it was shown to
        anybody. The corrected learner keeps a score given in place of the predicted one. Before any score is given, and
        for the corrected learner until scores differ, the ranking is an isolation forest's and its uncertainty null."""
        from galaxy_assets.figures.galleries import contact_sheet

        features = column_to_vectors(pca_features["vector"])
        ids = pca_features["galaxy_id"].to_numpy(zero_copy_only=False)
        row = {galaxy: i for i, galaxy in enumerate(ids)}
        events = [e for e in label_events.to_pylist() if e["galaxy_id"] in row]
        queried = {e["galaxy_id"]: e["round"] for e in events}
        rows = np.array([row[e["galaxy_id"]] for e in events], int)
        given = np.array([e["score"] for e in events], float)
        corrected = anomaly.learner == "corrected"
        if len(events) and not (corrected and np.ptp(given) == 0):
            state = active_learning.posterior(features, rows, given, anomaly.learner)
            score, std, kernel, at_bounds = state.mean, pa.array(state.std), state.kernel, state.at_bounds
            flat = state.flat
        else:
            score, kernel, at_bounds = active_learning.unsupervised_score(features, survey.recipe.seed), "none", ()
            std, flat = pa.nulls(len(ids), pa.float64()), len(events) > 0
        if corrected:
            score = active_learning.scored(score, rows, given)
        order = active_learning.best_first(score, ids)
        rank = np.empty(len(ids), np.int64)
        rank[order] = np.arange(1, len(ids) + 1)
        table = pca_features.select(["galaxy_id", "batch"])
        table = table.append_column("score", pa.array(score)).append_column("score_std", std)
        table = table.append_column("rank", pa.array(rank))
        table = table.append_column("queried_round", pa.array([queried.get(g) for g in ids], pa.int32()))
        table = table.take(order)
        top = pixels_of(lake, survey, cutouts)[rows_of(cutouts, table.slice(0, 40))]
        sheet = contact_sheet(list(top), [f"{s:.2f}" for s in table["score"].to_pylist()[:40]], columns=8)
        return result(
            table,
            metadata={
                "scores given": len(events),
                "learner": anomaly.learner,
                "kernel": kernel,
                "at bounds": ", ".join(at_bounds) or "none",
                **picture(lake, survey, sheet, "top_ranked"),
            },
            checks=[
                check("posterior_informed", not flat, f"kernel: {kernel}", warn=True),
                check("hyper_parameters_inside", not at_bounds, ", ".join(at_bounds) or kernel, warn=True),
            ],
        )

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
        shown = anomaly_ranking["queried_round"].is_valid().to_numpy(zero_copy_only=False)
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
        from galaxy_assets.science.neighbours import most_similar

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
        found = [most_similar(features, ids, features[[q]], survey.similarity.neighbours, [q]) for q in queries]
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

    return [label_events, anomaly_ranking, baseline_rankings, anomaly_recall, similar_galaxies]
