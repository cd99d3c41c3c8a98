"""Discoveries: the active-learning anomaly search and the similarity search (paper 7).

Belongs here: label events, the ranking they lead to, its recall, neighbours. Does not belong here: the Gaussian process
(`science.active_learning`).
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
    """`label_events`, `anomaly_ranking`, `anomaly_recall` and `similar_galaxies` of a survey."""
    anomaly = survey.anomaly
    main = {"init": survey.main_start_weights}

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
        principal component, then the best expected improvement, round by round until the budget is spent."""
        from galaxy_assets.figures.plates import query_history

        ids = np.array(pca_features["galaxy_id"].to_pylist())
        score, true = oracle_scores(ids.tolist(), catalogue, volunteer_votes, anomaly)
        pool = np.flatnonzero(score >= 0)
        features = column_to_vectors(pca_features["vector"])
        queries = []
        if len(pool):
            queries = active_learning.search(
                features[pool],
                ids[pool],
                lambda rows: score[pool[rows]],
                seeds=anomaly.seeds,
                per_round=anomaly.per_round,
                budget=anomaly.budget,
                trade_off=anomaly.trade_off,
                start=anomaly.length_scale_start,
            )
        now, seen = datetime.now(UTC), digest(pca_features)
        rows = [
            (i, now, ORACLE, ids[pool[q.row]], q.score, q.round, q.acquisition, seen) for i, q in enumerate(queries)
        ]
        table = pa.Table.from_pylist([dict(zip(EVENTS.names, row, strict=True)) for row in rows], schema=EVENTS)
        shown = [q for r in {q.round for q in queries} for q in [q for q in queries if q.round == r][:5]]
        metadata = {"labelled galaxies": len(pool), "true anomalies": int(true.sum()), "scored": len(queries)}
        metadata["true anomalies shown"] = int(sum(true[pool[q.row]] for q in queries))
        if shown:
            stack = pixels_of(lake, survey, cutouts)
            images = stack[rows_of(cutouts, pca_features.take([pool[q.row] for q in shown]))]
            sheet = query_history(list(images), [q.score for q in shown], [q.round for q in shown])
            metadata |= picture(lake, survey, sheet, "query_history")
        return result(
            table,
            metadata=metadata,
            unversioned=["time"],
            checks=[
                check(
                    "oracle_labelled",
                    len(pool) > 0 and bool(true.any()),
                    f"{len(pool)} labelled galaxies, {int(true.sum())} true {anomaly.name}",
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
        checks={"posterior_informed": "The scores given tell galaxies apart: the posterior is not flat."},
    )
    def anomaly_ranking(lake: Lake, cutouts: pa.Table, pca_features: pa.Table, label_events: pa.Table):
        """Every clean galaxy by falling predicted score, with its uncertainty and the round in which it was shown to
        anybody. Before any score is given the ranking is an isolation forest's, and its uncertainty null."""
        from galaxy_assets.figures.galleries import contact_sheet

        features = column_to_vectors(pca_features["vector"])
        ids = pca_features["galaxy_id"].to_numpy(zero_copy_only=False)
        row = {galaxy: i for i, galaxy in enumerate(ids)}
        events = [e for e in label_events.to_pylist() if e["galaxy_id"] in row]
        queried = {e["galaxy_id"]: e["round"] for e in events}
        if events:
            state = active_learning.posterior(
                features,
                np.array([row[e["galaxy_id"]] for e in events]),
                np.array([e["score"] for e in events]),
                anomaly.length_scale_start,
            )
            score, std, flat, kernel = state.mean, pa.array(state.std), state.flat, state.kernel
        else:
            score, flat, kernel = active_learning.unsupervised_score(features, survey.recipe.seed), False, "none"
            std = pa.nulls(len(ids), pa.float64())
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
            metadata={"scores given": len(events), "kernel": kernel, **picture(lake, survey, sheet, "top_ranked")},
            checks=[check("posterior_informed", not flat, kernel, warn=True)],
        )

    @survey_asset(
        survey,
        "7_discovery",
        paper="7.1, Figures 8 and 9",
        reads={"catalogue": {}, "volunteer_votes": {}, "anomaly_ranking": {}, "umap": main},
        settings=[anomaly],
        checks={"better_than_random": "More true anomalies in the first tenth of the list than a random order has."},
    )
    def anomaly_recall(
        lake: Lake, catalogue: pa.Table, volunteer_votes: pa.Table, anomaly_ranking: pa.Table, umap: pa.Table
    ):
        """True anomalies found down the ranked list of the labelled galaxies, beside a random and a perfect order; and
        down the list of those the oracle never saw, since a score given is no discovery."""
        from galaxy_assets.figures.curves import recall
        from galaxy_assets.figures.maps import anomaly_maps

        ids = anomaly_ranking["galaxy_id"].to_pylist()
        score, true = oracle_scores(ids, catalogue, volunteer_votes, anomaly)
        shown = anomaly_ranking["queried_round"].is_valid().to_numpy(zero_copy_only=False)
        curve = active_learning.recall_curve(true[score >= 0], shown[score >= 0])
        table = pa.table(curve | {"found_unshown": pa.array(curve["found_unshown"], pa.int64())})
        found = table["found"].to_numpy()
        at = {n: int(found[n - 1]) for n in (100, 200, 500) if n <= len(found)}
        tenth = max(len(found) // 10, 1)
        predicted = dict(zip(ids, anomaly_ranking["score"].to_pylist(), strict=True))
        truth = dict(zip(ids, true.tolist(), strict=True))
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
        metadata |= {f"random in the first {n}": float(table["random"][n - 1].as_py()) for n in at}
        metadata |= picture(lake, survey, recall(table), "recall")
        metadata["maps"] = picture(lake, survey, maps, "anomaly_maps")["preview"]
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
                )
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

        ids = pca_features["galaxy_id"].to_pylist()
        row = {galaxy: i for i, galaxy in enumerate(ids)}
        asked = survey.similarity.queries or anomaly_ranking["galaxy_id"].to_pylist()[: survey.similarity.n_queries]
        unknown = [galaxy for galaxy in asked if galaxy not in row]
        if unknown:
            raise ValueError(
                f"similarity.queries of {survey.name}: {', '.join(unknown)} not among the clean galaxies; "
                "correct the survey's YAML or look in clean_galaxies for the rule that removed them"
            )
        queries = np.array([row[galaxy] for galaxy in asked])
        neighbours, distances = most_similar(
            column_to_vectors(pca_features["vector"]), queries, survey.similarity.neighbours
        )
        k = neighbours.shape[1]
        table = pa.table(
            {
                "query_id": [galaxy for galaxy in asked for _ in range(k)],
                "neighbour_id": [ids[i] for i in neighbours.ravel()],
                "distance": distances.ravel(),
                "rank": pa.array(list(range(1, k + 1)) * len(asked), pa.int32()),
            }
        )
        shown = np.concatenate([[q, *n] for q, n in zip(queries, neighbours, strict=True)])
        images = pixels_of(lake, survey, cutouts)[rows_of(cutouts, pca_features.take(shown))]
        captions = [text for d in distances for text in ["query", *(f"{x:.1f}" for x in d)]]
        sheet = contact_sheet(list(images), captions, columns=k + 1)
        return result(table, metadata={"queries": len(asked), **picture(lake, survey, sheet, "similar_galaxies")})

    return [label_events, anomaly_ranking, anomaly_recall, similar_galaxies]
