"""The anomaly search: what was said of galaxies, the model of it, and the ranking (paper 7.1).

Belongs here: the simulated oracle, label events, the model, the scores, the ranking. Does not belong here: the
Gaussian process (`science.anomaly_model`), people's events (`storage.label_events`), how good the ranking is
(`recall`).
"""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import dagster as dg
import numpy as np
import pyarrow as pa

from galaxy_assets import plugins
from galaxy_assets.orchestration.columns import of_schema, only, shared
from galaxy_assets.orchestration.declaration import (
    FITTED_ON,
    IN_TURN,
    MAIN_START,
    Result,
    SurveyContext,
    picture,
    survey_asset,
)
from galaxy_assets.orchestration.external import LABEL_DROPS, SCORED_GALAXIES
from galaxy_assets.science import active_learning, votes
from galaxy_assets.science.galaxy_ids import Ids, as_arrow, places_among
from galaxy_assets.science.labels import standing
from galaxy_assets.science.samples import drawn
from galaxy_assets.science.shortlist import Shortlist
from galaxy_assets.settings.discovery import Anomaly
from galaxy_assets.settings.survey import Survey
from galaxy_assets.storage.in_turn import TablesInTurn
from galaxy_assets.storage.label_events import EVENTS, LabelLog
from galaxy_assets.storage.tables import column_to_vectors, digest, read_table, rows_of

ORACLE = "volunteer_oracle"
LABELS = only("galaxy_id", "label")
PIXELS = only("galaxy_id", "batch", "pixels")
SHARE, LEAST, SHORT = "share of the best 100 on the shortlist", "least such share", "rounds by the shortlist"
"""What the footer of `oracle_events` has of a large survey's search: mean and least over rounds that scored all."""


def _package(survey: Survey) -> list[str]:
    """The package of a learner that is not ours, for assets of which not all of `anomaly` decides the content."""
    return plugins.packages("learners", survey.anomaly.learner)


def oracle_scores(
    ids: Sequence[str] | pa.Array | pa.ChunkedArray, catalogue: pa.Table, volunteer_votes: pa.Table, anomaly: Anomaly
) -> tuple[np.ndarray, np.ndarray]:
    """What the simulated oracle knows of each galaxy: score 0-5 (-1 where it has no label) and whether it truly is an
    anomaly, (N,) int and (N,) bool (paper 7.1).
    """
    import pyarrow.compute as pc

    known, score, true = pa.array([], pa.string()), np.empty(0, np.int8), np.empty(0, bool)
    if anomaly.labels:
        labelled = catalogue.select(["galaxy_id", "label"])
        if labelled["label"].null_count:
            labelled = labelled.filter(labelled["label"].is_valid())
        known, wanted = labelled["galaxy_id"], pa.array(anomaly.labels, pa.string())
        true = pc.is_in(labelled["label"].cast(pa.string()), value_set=wanted).to_numpy(zero_copy_only=False)
        score = 5 * true.astype(np.int8)
    elif anomaly.answers and volunteer_votes.num_rows:
        probability, true = votes.anomaly_probability(volunteer_votes, anomaly)
        asked = np.isfinite(probability)
        score, true = votes.score(probability[asked]), true[asked]
        known = volunteer_votes["galaxy_id"].filter(pa.array(asked))
    at = places_among(known, as_arrow(ids))
    return np.append(score, score.dtype.type(-1))[at], np.append(true, False)[at]  # -1 is a galaxy that is not known


def shortlist_for(galaxies: int, anomaly: Anomaly, seed: int) -> Shortlist | None:
    """The shortlist of a search among so many galaxies; None where every round scores them all."""
    return Shortlist(anomaly.shortlist, anomaly.whole_every, seed) if galaxies >= anomaly.exact_below else None


def simulated_search(
    survey: Survey, learner: str, features: np.ndarray, ids: Ids | np.ndarray, score: np.ndarray
) -> tuple[list[active_learning.Query], np.ndarray, dict[str, float]]:
    """The search over the galaxies that have a score (-1 is none), its queries' rows in `features`, and what was
    measured of its shortlist where it has one.
    """
    pool, anomaly = np.flatnonzero(score >= 0), survey.anomaly
    if not len(pool):
        return [], pool, {}
    pa.default_memory_pool().release_unused()  # what ids were looked up in was large
    names, seed = as_arrow(ids), survey.recipe.seed
    if len(pool) < len(score):
        features, names = features[pool], names.take(pa.array(pool))
    sample, shortlist = drawn(names, anomaly.fitted_on, seed), shortlist_for(len(pool), anomaly, seed)
    queries = active_learning.search(
        features,
        Ids(names),
        lambda rows: score[pool[rows]],
        seeds=anomaly.seeds,
        per_round=anomaly.per_round,
        budget=anomaly.budget,
        trade_off=anomaly.trade_off,
        learner=learner,
        seed=seed,
        among=None if sample is None else features[sample],
        shortlist=shortlist,
    )
    measured = {} if shortlist is None else {SHORT: float(shortlist.short)}
    if shortlist is not None and shortlist.shares:
        measured |= {SHARE: float(np.mean(shortlist.shares)), LEAST: min(shortlist.shares)}
    return queries, pool[[q.row for q in queries]], measured


@survey_asset(
    "7_discovery",
    paper="7.1, Figure 10",
    reads={
        "catalogue": FITTED_ON | LABELS,
        "cutouts": FITTED_ON | IN_TURN,
        "volunteer_votes": FITTED_ON,
        "pca_features": MAIN_START | FITTED_ON,
    },
    settings=lambda survey: [survey.anomaly, survey.main_start_weights],
    kinds=("scikitlearn", "parquet"),
    columns=of_schema(EVENTS),
    version="2",
)
def oracle_events(
    context: SurveyContext,
    catalogue: pa.Table,
    cutouts: TablesInTurn,
    volunteer_votes: pa.Table,
    pca_features: pa.Table,
) -> Result:
    """The session of a simulated person, as label events: scores 0-5 by the volunteers' votes or the labels in the
    active-learning search over the labelled galaxies: seeds along the first principal component, then what the
    survey's learner asks for, round by round until the budget is spent. It is simulated once per refit.
    """
    anomaly = context.survey.anomaly
    ids = Ids(pca_features["galaxy_id"])
    score, true = oracle_scores(ids.arrow, catalogue, volunteer_votes, anomaly)
    features = column_to_vectors(pca_features["vector"])
    queries, asked, measured = simulated_search(context.survey, anomaly.learner, features, ids, score)
    rows = events_of(queries, ids[asked], digest(pca_features))
    shown = {
        "labelled galaxies": int((score >= 0).sum()),
        "true anomalies": int(true.sum()),
        "scored": len(queries),
        "true anomalies shown": int(true[asked].sum()),
        **_history(context, cutouts, pca_features, queries, asked),
    }
    return Result(pa.Table.from_pylist(rows, schema=EVENTS), shown, unversioned=["time", "recorded"], measured=measured)


def events_of(queries: list[active_learning.Query], ids: np.ndarray, seen: str) -> list[dict]:
    """A label event per query; `seen` is the data version of the features that were searched."""
    now = datetime.now(UTC)
    return [
        {
            "event": f"oracle-{i:06d}",
            "time": now,
            "recorded": now,
            "who": ORACLE,
            "kind": "score",
            "galaxy_id": galaxy,
            "score": query.score,
            "model_seen": seen,
            "source": "oracle",
            "round": query.round,
            "acquisition": query.acquisition,
        }
        for i, (query, galaxy) in enumerate(zip(queries, ids, strict=True))
    ]


def _history(
    context: SurveyContext,
    cutouts: TablesInTurn,
    pca_features: pa.Table,
    queries: list[active_learning.Query],
    asked: np.ndarray,
) -> dict[str, dg.MetadataValue]:
    """The first galaxies asked in each round as a contact sheet, for the UI."""
    import pyarrow.compute as pc

    from galaxy_assets.figures.plates import query_history

    if not queries:
        return {}
    rounds = np.array([q.round for q in queries], int)
    shown = np.concatenate([np.flatnonzero(rounds == r)[:5] for r in np.unique(rounds)])
    galaxies = pca_features.select(["galaxy_id"]).take(asked[shown])
    wanted, found, images = galaxies["galaxy_id"].combine_chunks(), [], []
    for ledger in cutouts.tables(["galaxy_id", "batch", "pixels"]):
        rows = np.flatnonzero(pc.is_in(ledger["galaxy_id"], wanted))
        if len(rows):
            found += ledger["galaxy_id"].take(rows).to_pylist()
            images += list(context.pixels.of(ledger)[rows])
    at = rows_of(pa.table({"galaxy_id": pa.array(found, pa.string())}), galaxies)
    sheet = query_history([images[i] for i in at], [queries[i].score for i in shown], rounds[shown].tolist())
    return picture(context, sheet, "query_history")


@survey_asset("7_discovery", paper="7.1", reads=["oracle_events"], files=[LABEL_DROPS], columns=of_schema(EVENTS))
def label_events(context: SurveyContext, oracle_events: pa.Table) -> Result:
    """Everything said of any galaxy, in the order of time: the simulated person's events and those of people, who
    outrank it (docs/labels.md).
    """
    import pyarrow.compute as pc

    people = LabelLog(context.layout.labels(context.survey.name)).read()
    # an older release kept whole numbers
    table = pa.concat_tables([oracle_events.cast(EVENTS), people]).sort_by(
        [("time", "ascending"), ("event", "ascending")]
    )
    who = {f"events of {w['values']}": w["counts"] for w in pc.value_counts(table["who"]).to_pylist()}
    return Result(table, who, unversioned=["recorded"])


@survey_asset(
    "7_discovery",
    paper="7.1",
    reads={"label_events": {}, "pca_model": MAIN_START, "pca_features": MAIN_START | FITTED_ON},
    files=[SCORED_GALAXIES],
    settings=lambda survey: [survey.anomaly, survey.main_start_weights],
    kinds=("scikitlearn", "parquet"),
    columns={
        "role": "what the row holds: labelled, a galaxy with a score; scale, the kernel; reference, a galaxy that the "
        "isolation forest grows of; or a word of another learner",
        "galaxy_id": "id of the galaxy with a score; null in other rows",
        "score": "score that the galaxy was given, 0 to 5, the mean over people; null in other rows",
        "amplitude": "variance of the Gaussian process; null in rows that are no kernel",
        "length_scale": "length over which scores are alike, in scaled features; null in rows that are no kernel",
        "noise": "variance of the noise of scores; null in rows that are no kernel",
        "kernel": "the kernel in words; null in rows that are no kernel",
        "vector": "principal components of the galaxy, or by what each component is divided",
        "*": "what the survey's learner keeps; null in rows of other roles",
    },
)
def anomaly_model(
    context: SurveyContext, label_events: pa.Table, pca_model: pa.Table, pca_features: pa.Table
) -> Result:
    """What the survey's learner makes of the scores that stand (of our own, a Gaussian process: its kernel) and
    the features of the galaxies scored, by which any delivery can be scored. Before any score is given, and for
    `graded` and `corrected` until scores differ, a sample for an isolation forest instead. Of more than 5,000 galaxies
    with a score it learns from a sample.
    """
    import pyarrow.compute as pc

    from galaxy_assets.science import anomaly_model as models
    from galaxy_assets.science.pca import table_to_model

    learner, said = context.survey.anomaly.learner, standing(label_events)
    features = column_to_vectors(pca_features["vector"])
    ids = Ids(pca_features["galaxy_id"])
    deviations = table_to_model(pca_model).deviations
    given, _ = models.scored_among(said, ids)
    model = models.fit(features, ids, given, deviations, learner, context.survey.recipe.seed)
    at_bounds = model.predictor.at_bounds if model.predictor is not None else ()
    return Result(
        models.model_to_table(model),
        {
            "scores given": given.num_rows,
            "learnt from": len(model.scores),
            "by people": pc.sum(pc.greater(given["n_people"], 0), min_count=0).as_py(),
            "learner": learner,
            "kernel": model.predictor.kernel if model.predictor is not None else "none",
            "at bounds": ", ".join(at_bounds) or "none",
        },
    )


@survey_asset(
    "7_discovery",
    paper="7.1",
    by="batch",
    reads={"pca_features": MAIN_START, "anomaly_model": {}},
    settings=lambda survey: [survey.main_start_weights, str(survey.recipe.seed), *_package(survey)],
    kinds=("scikitlearn", "parquet"),
    columns=shared("galaxy_id", "batch")
    | {
        "score": "predicted score on the scale of those given, 0 to 5, which it may exceed; while scores tell no "
        "galaxies apart, how isolated the galaxy is; larger is more interesting",
        "score_std": "standard deviation of the predicted score; null where an isolation forest speaks",
        "model": "digest of the anomaly_model that scored it, 16 hex digits",
    },
    version="2",
)
def anomaly_scores(context: SurveyContext, pca_features: pa.Table, anomaly_model: pa.Table) -> Result:
    """The predicted score of each galaxy of the batch and its uncertainty, null where no score tells galaxies
    apart yet; and by which model, as the digest of `anomaly_model`.
    """
    return Result(scored(context.survey, pca_features, anomaly_model))


def scored(survey: Survey, pca_features: pa.Table, anomaly_model: pa.Table) -> pa.Table:
    """`anomaly_scores` of galaxies by the model that the table holds."""
    from galaxy_assets.science.anomaly_model import scores_to_table, table_to_model

    features = column_to_vectors(pca_features["vector"])
    model = table_to_model(anomaly_model, survey.anomaly.learner, survey.recipe.seed)
    table = scores_to_table(pca_features, *model.score(features))
    return table.append_column("model", pa.array([digest(anomaly_model)] * table.num_rows, pa.string()))


def scored_now(
    survey: Survey, anomaly_model: pa.Table, anomaly_scores: TablesInTurn, pca_features: TablesInTurn
) -> tuple[pa.Table, int]:
    """The scores of all clean galaxies by the present model, and how many of them are not among `anomaly_scores` and
    are scored here: galaxy_id, batch, score, score_std.
    """
    import pyarrow.compute as pc

    now, model, here = {}, digest(anomaly_model), 0
    for table in anomaly_scores.tables(["galaxy_id", "batch", "score", "score_std", "model"]):
        table = table.filter(pc.equal(table["model"], model)).drop_columns("model")
        if table.num_rows:
            now[table["batch"][0].as_py()] = table
    parts = []
    for path in pca_features.paths:
        galaxies = read_table(path, ["galaxy_id", "batch"])
        batch = galaxies["batch"][0].as_py() if galaxies.num_rows else ""
        known = now.pop(batch, None)
        if known is not None and known["galaxy_id"].equals(galaxies["galaxy_id"]):
            parts.append(known)
            continue
        if known is not None:
            parts.append(known.filter(pc.is_in(known["galaxy_id"], galaxies["galaxy_id"].combine_chunks())))
            lacking = pc.invert(pc.is_in(galaxies["galaxy_id"], known["galaxy_id"].combine_chunks()))
        else:
            lacking = pa.array(np.ones(galaxies.num_rows, bool))
        if galaxies.num_rows == 0 or not pc.any(lacking).as_py():
            continue
        parts.append(scored(survey, read_table(path).filter(lacking), anomaly_model).drop_columns("model"))
        here += parts[-1].num_rows
    if not parts:  # no galaxy at all
        parts = [scored(survey, read_table(pca_features.paths[0]), anomaly_model).drop_columns("model")]
    return pa.concat_tables(parts), here


@survey_asset(
    "7_discovery",
    paper="7.1, Figure 9",
    reads={
        "cutouts": PIXELS,
        "anomaly_model": {},
        "anomaly_scores": IN_TURN,
        "pca_features": MAIN_START | IN_TURN,
        "label_events": {},
    },
    settings=lambda survey: [survey.anomaly.learner, survey.main_start_weights, *_package(survey)],
    freshness=dg.FreshnessPolicy.time_window(warn_window=timedelta(days=8), fail_window=timedelta(days=31)),
    trigger="at_once",
    explorer=2,
    columns=shared("galaxy_id", "batch")
    | {
        "score": "predicted score, or the score given where the learner keeps it, 0 to 5; larger is more interesting",
        "score_std": "standard deviation of the predicted score; null where an isolation forest speaks",
        "rank": "place in the list by falling score, from 1",
        "queried_round": "query in which the oracle was shown it, 0 the seeds; null where it was not",
        "scored_by": "who gave it a score: people or oracle; null where nobody did",
    },
    version="3",
)
def anomaly_ranking(
    context: SurveyContext,
    cutouts: pa.Table,
    anomaly_model: pa.Table,
    anomaly_scores: TablesInTurn,
    pca_features: TablesInTurn,
    label_events: pa.Table,
) -> Result:
    """Every clean galaxy by falling predicted score, with its uncertainty, who scored it (people or the oracle) and
    the round in which the oracle was shown it. `graded` and `corrected` keep a score given in place of the
    predicted one. Batches that the present model has not scored yet are scored here, so that one run ranks anew after a
    person's labels.
    """
    import pyarrow.compute as pc

    from galaxy_assets.figures.galleries import contact_sheet
    from galaxy_assets.science.anomaly_model import ranked

    scores, here = scored_now(context.survey, anomaly_model, anomaly_scores, pca_features)
    table = ranked(scores, standing(label_events), context.survey.anomaly.learner)
    top = context.pixels.of(cutouts)[rows_of(cutouts, table.slice(0, 40))]
    sheet = contact_sheet(list(top), [f"{s:.2f}" for s in table["score"].to_pylist()[:40]], columns=8)
    shown = {"scored": pc.sum(table["scored_by"].is_valid()).as_py() or 0, "scored here": here}
    return Result(table, shown | picture(context, sheet, "top_ranked"))
