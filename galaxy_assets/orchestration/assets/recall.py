"""How good the anomaly search is, where labels tell: baselines, and anomalies found down the list (paper 7.1).

Belongs here: assets that look at labels to judge a ranking; nothing that ranks reads them. Does not belong here: the
ranking (`discovery`).
"""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pyarrow as pa

from galaxy_assets.orchestration.assets.discovery import oracle_scores, simulated_search
from galaxy_assets.orchestration.columns import shared
from galaxy_assets.orchestration.declaration import MAIN_START, Result, SurveyContext, picture, survey_asset
from galaxy_assets.science import active_learning
from galaxy_assets.settings.discovery import Anomaly
from galaxy_assets.storage.tables import column_to_vectors, lookup

BASELINES = ("isolation_forest", "local_outlier_factor", "published")
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
    reads={"catalogue": {}, "volunteer_votes": {}, "pca_features": MAIN_START},
    settings=lambda survey: [survey.anomaly, survey.main_start_weights],
    kinds=("scikitlearn", "parquet"),
    explorer=9,
    columns=shared("galaxy_id")
    | {
        "isolation_forest": "score by an isolation forest over all galaxies, larger is stranger",
        "local_outlier_factor": "local outlier factor among 20 neighbours, about 1 for usual ones, larger is stranger",
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
    local outlier factor (larger is stranger), and the predicted score, its uncertainty and the rounds of a search
    of its own by the learner as published; null where the survey has nothing to search for.
    """
    survey, features = context.survey, column_to_vectors(pca_features["vector"])
    ids = pca_features["galaxy_id"].to_numpy(zero_copy_only=False)
    score, _ = oracle_scores(ids.tolist(), catalogue, volunteer_votes, survey.anomaly)
    queries, asked, _ = simulated_search(survey, "published", features, ids, score)
    n = len(ids)
    mean, std, at_bounds = pa.nulls(n, pa.float64()), pa.nulls(n, pa.float64()), ()
    if queries:
        by_id = np.argsort(ids[asked])  # as the search itself fits
        scores = np.array([q.score for q in queries])
        state = active_learning.posterior(features, asked[by_id], scores[by_id], "published")
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
    return Result(table, {"at bounds": ", ".join(at_bounds) or "none"})


@survey_asset(
    "7_discovery",
    paper="7.1; how much a search hangs on chance",
    reads={"catalogue": {}, "volunteer_votes": {}, "pca_features": MAIN_START},
    settings=lambda survey: [survey.anomaly, survey.main_start_weights],
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
    far its numbers hang on chance. Empty where no true anomaly is known.
    """
    from galaxy_assets.science import search_spread as spread

    anomaly, features = context.survey.anomaly, column_to_vectors(pca_features["vector"])
    ids = pca_features["galaxy_id"].to_numpy(zero_copy_only=False)
    score, true = oracle_scores(ids.tolist(), catalogue, volunteer_votes, anomaly)
    own = score >= 0
    table = spread.trials(features[own], ids[own], score[own], true[own], anomaly, context.survey.recipe.seed)
    return Result(table, {"found": spread.words(table, anomaly.name) or "no true anomaly is known"})


@survey_asset(
    "7_discovery",
    paper="7.1, Figures 8 and 9",
    reads={
        "catalogue": {},
        "volunteer_votes": {},
        "anomaly_ranking": {},
        "baseline_rankings": {},
        "search_spread": {},
        "umap": MAIN_START,
    },
    settings=lambda survey: [survey.anomaly],
    columns=RECALL_COLUMNS,
    version="2",
)
def anomaly_recall(
    context: SurveyContext,
    catalogue: pa.Table,
    volunteer_votes: pa.Table,
    anomaly_ranking: pa.Table,
    baseline_rankings: pa.Table,
    search_spread: pa.Table,
    umap: pa.Table,
) -> Result:
    """True anomalies found down the ranked list of the labelled galaxies, beside a random and a perfect order and
    the lists of `baseline_rankings`; and down the list of those the oracle never saw, since a score given is no
    discovery.
    """
    from galaxy_assets.figures.curves import recall
    from galaxy_assets.science.search_spread import words

    ids = anomaly_ranking["galaxy_id"].to_pylist()
    score, true = oracle_scores(ids, catalogue, volunteer_votes, context.survey.anomaly)
    shown = anomaly_ranking["scored_by"].is_valid().to_numpy(zero_copy_only=False)
    curve = active_learning.recall_curve(true[score >= 0], shown[score >= 0])
    table = pa.table(curve | {"found_unshown": pa.array(curve["found_unshown"], pa.int64())})
    truth = dict(zip(ids, true.tolist(), strict=True))
    table = _with_baselines(table, baseline_rankings, np.array(ids)[score >= 0], truth)
    return Result(
        table,
        {
            "found": words(search_spread, context.survey.anomaly.name) or "no true anomaly is known",
            "met": int(true[shown].sum()),
            **_found(table),
            "true anomalies": int(true.sum()),
            **picture(context, recall(table), "recall"),
            "maps": _maps(context, umap, truth, anomaly_ranking),
        },
    )


def never_scored(read: Callable[..., pa.Table], anomaly: Anomaly) -> tuple[np.ndarray, np.ndarray]:
    """The labelled galaxies that nobody scored and the baselines know, in the order of the ranking: whether each truly
    is an anomaly, (N,) bool, and its place among them by the isolation forest, (N,) int from 0. `read` returns a stored
    table by its name.
    """
    ranking = read("anomaly_ranking", ["galaxy_id", "scored_by"])
    ranking = ranking.filter(ranking["scored_by"].is_null())
    forest = lookup(read("baseline_rankings", ["galaxy_id", "isolation_forest"]), "isolation_forest")
    ids = np.array([galaxy for galaxy in ranking["galaxy_id"].to_pylist() if galaxy in forest], object)
    score, true = oracle_scores(ids.tolist(), read("catalogue"), read("volunteer_votes"), anomaly)
    ids, true = ids[score >= 0], true[score >= 0]
    place = np.empty(len(ids), np.int64)
    place[active_learning.best_first(np.array([forest[galaxy] for galaxy in ids], float), ids)] = np.arange(len(ids))
    return true, place


def _with_baselines(
    table: pa.Table, baseline_rankings: pa.Table, labelled_ids: np.ndarray, truth: Mapping[str, bool]
) -> pa.Table:
    """`anomaly_recall` with a column per baseline: anomalies found down its list of the labelled galaxies."""
    every = baseline_rankings["galaxy_id"].to_numpy(zero_copy_only=False)
    labelled = baseline_rankings.filter(pa.array(np.isin(every, labelled_ids)))
    names = labelled["galaxy_id"].to_numpy(zero_copy_only=False)
    for name in BASELINES:
        counts = pa.nulls(len(names), pa.int64())
        if labelled[name].null_count == 0:
            order = active_learning.best_first(labelled[name].to_numpy(), names)
            counts = pa.array(np.cumsum([truth[galaxy] for galaxy in names[order]], dtype=np.int64))
        table = table.append_column(name, counts)
    return table


def _found(table: pa.Table) -> dict[str, Any]:
    """What the UI shows: anomalies found at three depths of each list."""
    found, unshown = table["found"].to_pylist(), table["found_unshown"].drop_null().to_pylist()
    depths = [n for n in (100, 200, 500) if n <= len(found)]
    shown = {f"found in the first {n} never shown": unshown[n - 1] for n in (100, 200, 500) if n <= len(unshown)}
    shown |= {f"found in the first {n}": found[n - 1] for n in depths}
    for name in ("random", *BASELINES):
        shown |= {f"{name} in the first {n}": table[name][n - 1].as_py() for n in depths}
    return shown


def _maps(context: SurveyContext, umap: pa.Table, truth: Mapping[str, bool], ranking: pa.Table) -> Any:
    """The true anomalies and the predicted scores on the map, as a preview."""
    from galaxy_assets.figures.maps import anomaly_maps

    predicted = lookup(ranking, "score")
    galaxies = umap["galaxy_id"].to_pylist()
    maps = anomaly_maps(
        umap["x"].to_numpy(),
        umap["y"].to_numpy(),
        np.array([truth[g] for g in galaxies], bool),
        np.array([predicted[g] for g in galaxies]),
    )
    return picture(context, maps, "anomaly_maps")["preview"]
