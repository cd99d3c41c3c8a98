"""Figures 8 to 12, the search for anomalies and for similar galaxies (paper 7).

Belongs here: what these figures read, show and say. Does not belong here: drawing (`figures`), the searches
(`science.active_learning`, `science.neighbours`).
"""

import numpy as np
import pyarrow as pa

from galaxy_assets.orchestration.assets.discovery import oracle_scores
from galaxy_assets.orchestration.assets.paper_figures.declaring import (
    GALAXY,
    PLACE,
    REAL,
    TEXT,
    WHOLE,
    YES,
    Columns,
    NotApplicable,
    Shown,
    View,
    named,
    paper_figure,
)
from galaxy_assets.orchestration.assets.recall import RECALL_COLUMNS
from galaxy_assets.orchestration.assets.similarity import NEIGHBOURS
from galaxy_assets.science import figure_tables
from galaxy_assets.storage.tables import rows_of

_EXAMPLES = 5  # galaxies drawn of each query
_RANKED = ("found", "published", "isolation_forest", "local_outlier_factor", "random")
_NEIGHBOURS: Columns = {
    "query_id": (TEXT, NEIGHBOURS["query_id"]),
    "position": (WHOLE, "place in the row of cutouts, from 1"),
    "galaxy_id": (TEXT, "id of the galaxy in that place"),
    "rank": (WHOLE, "place among the neighbours, from 1 the nearest; 0 for the query itself"),
    "distance": (REAL, "Euclidean distance from the query in principal components"),
}


@paper_figure(
    "figure_08",
    "True anomalies found down the ranked list",
    "7.1, Figure 8",
    {name: (pa.int64(), RECALL_COLUMNS[name]) for name in ("rank", "perfect")}
    | {name: (REAL, f"{RECALL_COLUMNS[name].split(';')[0]}; null where it was not run") for name in _RANKED},
    reads=["anomaly_model", "anomaly_recall", "search_spread"],
    settings=("anomaly",),
    version="2",
)
def figure_08(view: View, anomaly_model: pa.Table, anomaly_recall: pa.Table, search_spread: pa.Table) -> Shown:
    """One row per place in the list: anomalies found up to it in the order of each search, in a random order (as
    expected) and in a perfect one. A search that was not run is null.
    """
    from galaxy_assets.figures.curves import recall
    from galaxy_assets.science.anomaly_model import what_ranks
    from galaxy_assets.science.search_spread import FIRST
    from galaxy_assets.science.search_spread import words as found_in_words

    found = anomaly_recall["found"].to_pylist()
    if not found or not found[-1]:
        raise NotApplicable("no true anomaly is known among the ranked galaxies")
    table = anomaly_recall.select(["rank", "perfect"])
    for name in _RANKED:
        there = name in anomaly_recall.column_names
        values = anomaly_recall[name].cast(REAL) if there else pa.nulls(table.num_rows, REAL)
        table = table.append_column(name, values)
    anomaly = view.survey.anomaly
    scored = len(found) - len(anomaly_recall["found_unshown"].drop_null())
    ranks = what_ranks(anomaly_model, scored)
    depth = min(scored or FIRST, len(found))
    at = {name: table[name][depth - 1].as_py() for name in _RANKED}
    words = {"published": "the learner as published", "isolation_forest": "an isolation forest"}
    words |= {"local_outlier_factor": "local outlier factors", "random": "a random order"}
    others = ", ".join(f"{words[k]} {v:,.1f}".removesuffix(".0") for k, v in at.items() if k in words and v is not None)
    return Shown(
        table,
        recall(table, ranks.by_forest),
        f"{found_in_words(search_spread, named(anomaly.name), found[-1])}. "
        f"The curves: true {named(anomaly.name)} found down the list of {len(found):,} labelled galaxies, ordered by "
        f"{ranks.words}. Of {found[-1]:,} in all, "
        f"{at['found']:,.0f} stand in the first {depth}; by comparison: {others}.",
        {
            "true anomalies": found[-1],
            **{f"in the first {depth}, {named(k)}": v for k, v in at.items() if v is not None},
        },
    )


@paper_figure(
    "figure_09",
    "True anomalies and the anomaly score on the map",
    "7.1, Figure 9",
    {
        **GALAXY,
        **PLACE,
        "is_true": (YES, "whether it truly is an anomaly, by the volunteers' votes or the labels"),
        "score": (REAL, "score in the anomaly_ranking, larger is more interesting"),
    },
    reads=["catalogue", "volunteer_votes", "anomaly_model", "anomaly_ranking"],
    main=["umap"],
    settings=("anomaly",),
    version="2",
)
def figure_09(
    view: View,
    catalogue: pa.Table,
    volunteer_votes: pa.Table,
    anomaly_model: pa.Table,
    anomaly_ranking: pa.Table,
    umap: pa.Table,
) -> Shown:
    """One row per galaxy: where it lies, whether it truly is an anomaly, and the score by which it is ranked."""
    from galaxy_assets.figures.maps import anomaly_maps
    from galaxy_assets.science.anomaly_model import what_ranks

    ids = umap["galaxy_id"]
    _, true = oracle_scores(ids, catalogue, volunteer_votes, view.survey.anomaly)
    if not true.any():
        raise NotApplicable("no true anomaly is known among the galaxies on the map")
    score = anomaly_ranking["score"].to_numpy()[rows_of(anomaly_ranking, umap, "anomaly_ranking")]
    table = umap.select(["galaxy_id", "x", "y"])
    table = table.append_column("is_true", pa.array(true)).append_column("score", pa.array(score))
    name = named(view.survey.anomaly.name)
    scored = anomaly_ranking.num_rows - anomaly_ranking["scored_by"].null_count
    means = [float(score[own].mean()) if own.any() else float("nan") for own in (true, ~true)]
    of_true, of_others = (figure_tables.in_words(mean, ".2f") for mean in means)
    return Shown(
        table,
        anomaly_maps(umap["x"].to_numpy(), umap["y"].to_numpy(), true, score),
        f"The UMAP of {len(ids):,} galaxies twice: at the left the {int(true.sum()):,} true {name}, at the right "
        f"{what_ranks(anomaly_model, scored).words}. True {name} score {of_true} on average, all others {of_others}.",
        {
            "true anomalies": int(true.sum()),
            "mean score of true anomalies": means[0],
            "mean score of others": means[1],
        },
    )


@paper_figure(
    "figure_10",
    "What the oracle was shown, query by query",
    "7.1, Figure 10",
    {
        "round": (WHOLE, "query, from 1; 0 for the seeds"),
        "position": (WHOLE, "place among the galaxies of its query, from 1, by falling acquisition"),
        **GALAXY,
        "score": (WHOLE, "score that the oracle gave, 0 to 5"),
        "acquisition": (REAL, "what it was chosen by, larger first; null for seeds and where scores were all alike"),
    },
    reads=["cutouts", "oracle_events"],
    settings=("anomaly",),
    version="2",
)
def figure_10(view: View, oracle_events: pa.Table) -> Shown:
    """The first five galaxies of each query by falling acquisition, and the score they were given; round 0 is the seed
    sample.
    """
    from galaxy_assets.figures.plates import query_history, rounds_drawn

    if not oracle_events.num_rows:
        raise NotApplicable("nobody was asked: the survey has no labels or votes for the simulated oracle")
    rows = figure_tables.queries_shown(oracle_events, _EXAMPLES)
    images = view.images([row["galaxy_id"] for row in rows])
    high = {r: [row["score"] for row in rows if row["round"] == r].count(5) for r in {row["round"] for row in rows}}
    scores, rounds = ([row[name] for row in rows] for name in ("score", "round"))
    mean = float(np.mean(oracle_events["score"].to_numpy()))
    asked = f"{max(high)} queries of up to {view.survey.anomaly.per_round} galaxies" if max(high) else "no query"
    alike = any(row["round"] and row["acquisition"] is None for row in rows)
    by = (
        "; while all scores were alike, those that an isolation forest finds most isolated were asked for"
        if alike
        else ""
    )
    return Shown(
        rows,
        query_history(images, scores, rounds),
        f"Active learning at work: the seed sample, then {asked}, of which the first {_EXAMPLES} by "
        f"acquisition are drawn{by}{rounds_drawn(rounds)[1]}. The box under each holds the score that "
        f"the oracle gave, 0 to 5; of the {oracle_events.num_rows:,} scores given, the mean is {mean:.2f}.",
        {
            "labels": oracle_events.num_rows,
            "queries": max(high),
            "mean score": mean,
            "shown with score 5": scores.count(5),
        },
    )


@paper_figure(
    "figure_11",
    "A galaxy and its nearest neighbours",
    "7.2, Figure 11",
    _NEIGHBOURS,
    reads=["cutouts", "similar_galaxies"],
    settings=("similarity",),
)
def figure_11(view: View, similar_galaxies: pa.Table) -> Shown:
    """The survey's first query galaxy among its neighbours in the order drawn; rank 0 is the query itself."""
    return _neighbours(view, similar_galaxies, 0)


@paper_figure(
    "figure_12",
    "Another galaxy and its nearest neighbours",
    "7.2, Figure 12",
    _NEIGHBOURS,
    reads=["cutouts", "similar_galaxies"],
    settings=("similarity",),
)
def figure_12(view: View, similar_galaxies: pa.Table) -> Shown:
    """As Figure 11, for the second query galaxy."""
    return _neighbours(view, similar_galaxies, 1)


def _neighbours(view: View, similar_galaxies: pa.Table, which: int) -> Shown:
    import pyarrow.compute as pc

    from galaxy_assets.figures.plates import neighbours

    queries = list(dict.fromkeys(similar_galaxies["query_id"].to_pylist()))
    if which >= len(queries):
        raise NotApplicable(f"{len(queries)} galaxies were searched for; this figure shows number {which + 1}")
    query = queries[which]
    near = similar_galaxies.filter(pc.equal(similar_galaxies["query_id"], query)).sort_by("rank").to_pylist()[:8]
    rows = [{"galaxy_id": n["neighbour_id"], "rank": n["rank"], "distance": n["distance"]} for n in near]
    centre = len(rows) // 2
    rows.insert(centre, {"galaxy_id": query, "rank": 0, "distance": 0.0})
    captions = ["query" if i == centre else f"{row['rank']}: {row['distance']:.3g}" for i, row in enumerate(rows)]
    return Shown(
        [row | {"query_id": query, "position": i} for i, row in enumerate(rows, 1)],
        neighbours(view.images([row["galaxy_id"] for row in rows]), captions, centre),
        f"Galaxy {query} (framed) among its {len(near)} nearest neighbours by Euclidean distance in the principal "
        f"components of the representation; under each its rank and distance, from {near[0]['distance']:.3g} to "
        f"{near[-1]['distance']:.3g}.",
        {"query": query, "nearest": near[0]["distance"], "furthest shown": near[-1]["distance"]},
    )
