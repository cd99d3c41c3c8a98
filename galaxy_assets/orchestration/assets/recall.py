"""How good the anomaly search is, where labels tell: baselines, and anomalies found down the list (paper 7.1).

Belongs here: assets that look at labels to judge a ranking; nothing that ranks reads them. Does not belong here: the
ranking (`discovery`).
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import pyarrow as pa

from galaxy_assets.orchestration.assets.discovery import LABELS, oracle_scores, simulated_search
from galaxy_assets.orchestration.columns import only, shared
from galaxy_assets.orchestration.declaration import MAIN_START, Result, SurveyContext, picture, survey_asset
from galaxy_assets.science import active_learning
from galaxy_assets.science.galaxy_ids import Ids, places_among
from galaxy_assets.science.outliers import outlier_factor, unsupervised_score
from galaxy_assets.science.samples import drawn
from galaxy_assets.settings.discovery import Anomaly
from galaxy_assets.storage.tables import column_to_vectors, rows_of

BASELINES = ("isolation_forest", "local_outlier_factor", "published")
QUESTIONS, MET = "galaxies the oracle was asked for", "true anomalies among them"
"""What the footer of `anomaly_recall` has of the simulated search, whatever people scored beside it."""
RECALL_COLUMNS = {
    "rank": "place in the list of the labelled galaxies, from 1",
    "found": "true anomalies up to this place by the survey's ranking",
    "random": "true anomalies expected up to this place in a random order",
    "perfect": "true anomalies up to this place if all came first",
    "found_unshown": "true anomalies up to this place among the galaxies that nobody scored; null past their end",
    "isolation_forest": "true anomalies up to this place by the isolation forest",
    "local_outlier_factor": "true anomalies up to this place by the local outlier factor",
    "published": "true anomalies up to this place by the learner as published; null where it was not run",
}


@survey_asset(
    "7_discovery",
    paper="7.1; the learner as published, and what needs no labels",
    reads={"catalogue": LABELS, "volunteer_votes": {}, "pca_features": MAIN_START},
    settings=lambda survey: [survey.anomaly, survey.main_start_weights],
    kinds=("scikitlearn", "parquet"),
    explorer=9,
    columns=shared("galaxy_id")
    | {
        "isolation_forest": "score by an isolation forest of all galaxies, or of a sample of many, larger is stranger",
        "local_outlier_factor": "local outlier factor among 20 neighbours, of a sample of many, about 1 for usual "
        "ones, larger is stranger",
        "published": "score that the learner as published predicts; null where there is nothing to search for",
        "published_std": "its standard deviation; null where there is nothing to search for",
        "published_round": "query in which that search was shown the galaxy, 0 the seeds; null where it was not",
    },
    version="2",
)
def baseline_rankings(
    context: SurveyContext, catalogue: pa.Table, volunteer_votes: pa.Table, pca_features: pa.Table
) -> Result:
    """What the ranking is measured against, for every clean galaxy: the scores of an isolation forest and of the
    local outlier factor (larger is stranger; where there are more galaxies than the survey's `anomaly` says, of a
    sample that they are compared with), and the predicted score, its uncertainty and the rounds of a search
    of its own by the learner as published; null where the survey has nothing to search for.
    """
    survey, features = context.survey, column_to_vectors(pca_features["vector"])
    ids, seed, n = Ids(pca_features["galaxy_id"]), survey.recipe.seed, len(features)
    score, _ = oracle_scores(ids.arrow, catalogue, volunteer_votes, survey.anomaly)
    queries, asked, _ = simulated_search(survey, "published", features, ids, score)
    forest, outliers = (
        drawn(ids.arrow, size, seed) for size in (survey.anomaly.fitted_on, survey.anomaly.outliers_among)
    )
    mean, std, at_bounds = pa.nulls(n, pa.float64()), pa.nulls(n, pa.float64()), ()
    if queries:
        by_id = np.argsort(ids[asked])  # as the search itself fits
        scores = np.array([q.score for q in queries])
        state = active_learning.posterior(features, asked[by_id], scores[by_id], "published")
        mean, std, at_bounds = pa.array(state.mean), pa.array(state.std), state.at_bounds
    rounds = np.full(n, -1, np.int32)
    rounds[asked] = [q.round for q in queries]
    table = pa.table(
        {
            "galaxy_id": pca_features["galaxy_id"],
            "isolation_forest": unsupervised_score(features, seed, None if forest is None else features[forest]),
            "local_outlier_factor": outlier_factor(features, outliers),
            "published": mean,
            "published_std": std,
            "published_round": pa.array(np.maximum(rounds, 0), mask=rounds < 0),
        }
    )
    return Result(table, {"at bounds": ", ".join(at_bounds) or "none"})


@survey_asset(
    "7_discovery",
    paper="7.1; how much a search hangs on chance",
    reads={"catalogue": LABELS, "volunteer_votes": {}, "pca_features": MAIN_START},
    settings=lambda survey: [survey.anomaly, survey.main_start_weights],
    version="2",
    kinds=("scikitlearn", "parquet"),
    columns={
        "trial": "start: another seed of the isolation forest, the survey's own first; sample: of 90 % of the galaxies",
        "number": "of the trial, from 0",
        "galaxies": "labelled galaxies that were searched, 5,000 at most",
        "anomalies": "true anomalies among them",
        "scored": "galaxies that the search asked for",
        "met": "true anomalies among these",
        "unshown": "true anomalies among the first 100 of the galaxies that it did not ask for",
        "isolation_forest": "true anomalies among the first 100 of all galaxies by the isolation forest",
    },
)
def search_spread(
    context: SurveyContext, catalogue: pa.Table, volunteer_votes: pa.Table, pca_features: pa.Table
) -> Result:
    """What the search of the simulated oracle finds from five starts and on five samples of 90 % of the galaxies: how
    far its numbers hang on chance. Empty where no true anomaly is among the galaxies searched.
    """
    from galaxy_assets.science import search_spread as spread

    anomaly, features = context.survey.anomaly, column_to_vectors(pca_features["vector"])
    ids = pca_features["galaxy_id"]
    score, true = oracle_scores(ids, catalogue, volunteer_votes, anomaly)
    if len(own := np.flatnonzero(score >= 0)) < len(score):
        features, ids, score, true = features[own], ids.take(pa.array(own)), score[own], true[own]
    table = spread.trials(features, Ids(ids), score, true, anomaly, context.survey.recipe.seed)
    return Result(table, {"found": spread.words(table, anomaly.name, int(true.sum())) or "no true anomaly is known"})


@survey_asset(
    "7_discovery",
    paper="7.1, Figures 8 and 9",
    reads={
        "catalogue": LABELS,
        "volunteer_votes": {},
        "anomaly_model": only("role"),
        "anomaly_ranking": only("galaxy_id", "score", "scored_by", "queried_round"),
        "baseline_rankings": only("galaxy_id", *BASELINES),
        "search_spread": {},
        "umap": MAIN_START | only("galaxy_id", "x", "y"),
    },
    settings=lambda survey: [survey.anomaly],
    columns=RECALL_COLUMNS,
    version="4",
)
def anomaly_recall(
    context: SurveyContext,
    catalogue: pa.Table,
    volunteer_votes: pa.Table,
    anomaly_model: pa.Table,
    anomaly_ranking: pa.Table,
    baseline_rankings: pa.Table,
    search_spread: pa.Table,
    umap: pa.Table,
) -> Result:
    """True anomalies found down the ranked list of the labelled galaxies, beside a random and a perfect order and
    the lists of `baseline_rankings`; and down the list of those that nobody scored, since a score given is no
    discovery.
    """
    from galaxy_assets.figures.curves import recall
    from galaxy_assets.science.anomaly_model import what_ranks
    from galaxy_assets.science.search_spread import words

    ids = anomaly_ranking["galaxy_id"]
    score, true = oracle_scores(ids, catalogue, volunteer_votes, context.survey.anomaly)
    shown = anomaly_ranking["scored_by"].is_valid().to_numpy(zero_copy_only=False)
    measured = asked_and_met(anomaly_ranking, true)
    curve = active_learning.recall_curve(true[score >= 0], shown[score >= 0])
    labelled = anomaly_ranking.select(["galaxy_id"]).append_column("true", pa.array(true)).filter(pa.array(score >= 0))
    table = with_baselines(pa.table(curve), baseline_rankings, labelled)
    return Result(
        table,
        {
            "found": words(search_spread, context.survey.anomaly.name, int(true.sum())) or "no true anomaly is known",
            "met": int(measured[MET]),
            **_found(table),
            "true anomalies": int(true.sum()),
            **picture(context, recall(table, what_ranks(anomaly_model, int(shown.sum())).by_forest), "recall"),
            "maps": _maps(context, umap, anomaly_ranking, true),
        },
        measured=measured,
    )


def asked_and_met(ranking: pa.Table, true: np.ndarray) -> dict[str, float]:
    """What the oracle was asked for and what it met, of the galaxies in a ranking of which `true`, (N,) bool, says
    whether each truly is an anomaly. What people scored without being asked is neither.
    """
    asked = ranking["queried_round"].is_valid().to_numpy(zero_copy_only=False)
    return {QUESTIONS: float(asked.sum()), MET: float(true[asked].sum())}


def never_scored(read: Callable[..., pa.Table], anomaly: Anomaly) -> tuple[np.ndarray, np.ndarray]:
    """The labelled galaxies that nobody scored and the baselines know, in the order of the ranking: whether each truly
    is an anomaly, (N,) bool, and its place among them by the isolation forest, (N,) int from 0. `read` returns a stored
    table by its name.
    """
    ranking = read("anomaly_ranking", ["galaxy_id", "scored_by"])
    ranking = ranking.filter(ranking["scored_by"].is_null())
    forest = read("baseline_rankings", ["galaxy_id", "isolation_forest"])
    at = places_among(forest["galaxy_id"], ranking["galaxy_id"])
    ids, at = ranking["galaxy_id"].filter(pa.array(at >= 0)), at[at >= 0]
    score, true = oracle_scores(ids, read("catalogue"), read("volunteer_votes"), anomaly)
    ids, at, true = ids.filter(pa.array(score >= 0)), at[score >= 0], true[score >= 0]
    place = np.empty(len(ids), np.int64)
    strange = forest["isolation_forest"].to_numpy().astype(float)[at]
    place[active_learning.best_first(strange, Ids(ids))] = np.arange(len(ids))
    return true, place


def with_baselines(table: pa.Table, baseline_rankings: pa.Table, labelled: pa.Table) -> pa.Table:
    """`anomaly_recall` with a column per baseline: anomalies found down its list of the labelled galaxies."""
    own = baseline_rankings.take(rows_of(baseline_rankings, labelled, "baseline_rankings"))
    true = labelled["true"].to_numpy()
    for name in BASELINES:
        counts = pa.nulls(len(true), pa.int64())
        if own[name].null_count == 0:
            order = active_learning.best_first(own[name].to_numpy(), Ids(own["galaxy_id"]))
            counts = pa.array(np.cumsum(true[order], dtype=np.int64))
        table = table.append_column(name, counts)
    return table


def _found(table: pa.Table) -> dict[str, Any]:
    """What the UI shows: anomalies found at three depths of each list."""
    unshown = table["found_unshown"].drop_null()
    depths = [n for n in (100, 200, 500) if n <= table.num_rows]
    shown = {f"found in the first {n} never shown": unshown[n - 1].as_py() for n in depths if n <= len(unshown)}
    shown |= {f"found in the first {n}": table["found"][n - 1].as_py() for n in depths}
    for name in ("random", *BASELINES):
        shown |= {f"{name} in the first {n}": table[name][n - 1].as_py() for n in depths}
    return shown


def _maps(context: SurveyContext, umap: pa.Table, ranking: pa.Table, true: np.ndarray) -> Any:
    """The true anomalies and the predicted scores on the map, as a preview."""
    from galaxy_assets.figures.maps import anomaly_maps

    at = rows_of(ranking, umap, "anomaly_ranking")
    maps = anomaly_maps(umap["x"].to_numpy(), umap["y"].to_numpy(), true[at], ranking["score"].to_numpy()[at])
    return picture(context, maps, "anomaly_maps")["preview"]
