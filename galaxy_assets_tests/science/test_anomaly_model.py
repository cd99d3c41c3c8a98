"""The model behind the ranking: kept as a table it scores as before, and people's scores stand above it."""

from datetime import UTC, datetime

import numpy as np
import pyarrow as pa
import pytest

from galaxy_assets.science import anomaly_model
from galaxy_assets.science.anomaly_model import (
    AnomalyModel,
    fit,
    model_to_table,
    ranked,
    scores_to_table,
    table_to_model,
)
from galaxy_assets.science.labels import STANDING, standing
from galaxy_assets.settings.discovery import MOST_SCORES, Anomaly
from galaxy_assets.storage.label_events import EVENTS

START = datetime(2026, 1, 1, tzinfo=UTC)
RNG = np.random.default_rng(0)
FEATURES = np.concatenate([RNG.normal(size=(95, 4)), RNG.normal(size=(5, 4)) + 6]).astype(np.float32)
IDS = np.array([f"g{i:03d}" for i in range(100)])
GALAXIES = pa.table({"galaxy_id": IDS, "batch": ["b"] * 100})


def said(scores: dict[str, float], by: str = "oracle") -> pa.Table:
    by_people = by == "people"
    row = {"by": by, "n_people": int(by_people), "round": None if by_people else 1}
    rows = [row | {"galaxy_id": g, "score": s} for g, s in scores.items()]
    return pa.Table.from_pylist(rows, schema=STANDING)


def model(scores: dict[str, float], learner="corrected") -> AnomalyModel:
    return fit(FEATURES, IDS, said(scores), FEATURES.std(axis=0, dtype=float), learner, 0)


SEEN = {"g001": 0, "g002": 1, "g050": 0, "g095": 5}


@pytest.mark.parametrize("learner", ["corrected", "graded", "published"])
def test_the_table_scores_as_the_model_does(learner):
    fitted = model(SEEN, learner)
    kept = table_to_model(model_to_table(fitted), learner, 0)
    assert kept.labelled_ids == fitted.labelled_ids == tuple(SEEN)
    for one, other in zip(kept.score(FEATURES), fitted.score(FEATURES), strict=True):
        assert one is not None and np.array_equal(one, other)


def test_what_is_like_the_anomaly_comes_first_and_unknown_galaxies_do_no_harm():
    fitted = model(SEEN | {"elsewhere": 5})
    assert "elsewhere" not in fitted.labelled_ids
    table = ranked(scores_to_table(GALAXIES, *fitted.score(FEATURES)), said(SEEN), "corrected")
    assert set(table["galaxy_id"].to_pylist()[:5]) == set(IDS[95:]) and table["galaxy_id"][0].as_py() == "g095"
    assert table["rank"].to_pylist() == list(range(1, 101))


@pytest.mark.parametrize("scores", [{}, {"g001": 3.0, "g002": 3.0}])
def test_before_scores_differ_the_strangest_come_first(scores):
    fitted = model(scores)
    assert fitted.predictor is None
    score, std = table_to_model(model_to_table(fitted), "corrected", 0).score(FEATURES)
    assert std is None and np.array_equal(score, fitted.score(FEATURES)[0])
    assert set(np.argsort(-score)[:5]) == set(range(95, 100))


@pytest.mark.parametrize("learner", ["corrected", "graded", "published"])
@pytest.mark.parametrize("score", [0.0, 3.0, 5.0])
def test_equal_scores_leave_the_order_to_the_forest(learner, score):
    given, nothing = {str(galaxy): score for galaxy in IDS[::2]}, model({}, learner)
    fitted = model(given, learner)
    assert fitted.predictor is None
    forest = ranked(scores_to_table(GALAXIES, *nothing.score(FEATURES)), said({}), learner)["galaxy_id"].to_pylist()
    table = ranked(scores_to_table(GALAXIES, *fitted.score(FEATURES)), said(given, by="people"), learner)
    for has_one in (True, False):
        assert [g for g in table["galaxy_id"].to_pylist() if (g in given) == has_one] == [
            g for g in forest if (g in given) == has_one
        ]
    first = table["galaxy_id"][0].as_py()
    assert learner == "published" or (first in given) == (score > 0)


def test_scores_given_replace_predicted_ones_for_the_corrected_learner_alone():
    scores = scores_to_table(GALAXIES, np.linspace(0, 1, 100), None)
    given = said({"g000": 4.5, "g001": 2.0}, by="people")
    corrected, published = (ranked(scores, given, learner) for learner in ("corrected", "published"))
    assert corrected["galaxy_id"].to_pylist()[:3] == ["g000", "g001", "g099"]
    assert corrected["scored_by"].to_pylist()[:3] == ["people", "people", None]
    assert published["galaxy_id"].to_pylist()[:2] == ["g099", "g098"] and scores["score"][0].as_py() == 0


@pytest.mark.parametrize("learner", ["published", "corrected", "graded"])
def test_the_ranking_rounds_no_score_and_only_equal_ones_go_by_id(learner):
    galaxies = pa.table({"galaxy_id": ["d", "c", "b", "a"], "batch": ["b"] * 4})
    scores = scores_to_table(galaxies, np.array([1.0, 1.0 + 1e-13, 1.0, 0.5]), None)
    table = ranked(scores, said({}), learner)
    assert table["galaxy_id"].to_pylist() == ["c", "b", "d", "a"]


def test_the_forest_before_scores_differ_does_not_depend_on_the_order_of_deliveries():
    rng = np.random.default_rng(0)
    features = rng.normal(size=(10_050, 3)).astype(np.float32)
    ids, turned = np.array([f"g{i:05d}" for i in range(len(features))]), rng.permutation(len(features))
    std, nothing = features.std(axis=0), said({})
    here = fit(features, ids, nothing, std, "graded", 0)
    there = fit(features[turned], ids[turned], nothing, std, "graded", 0)
    np.testing.assert_array_equal(here.reference, there.reference)
    np.testing.assert_array_equal(here.score(features[:50])[0], there.score(features[:50])[0])


def test_of_very_many_scores_a_sample_is_learnt_from_whatever_their_order(monkeypatch):
    monkeypatch.setattr(anomaly_model, "MOST_SCORES", 30)
    given = said({str(galaxy): float(i % 6) for i, galaxy in enumerate(IDS[:90])})
    std = FEATURES.std(axis=0, dtype=float)
    fitted = fit(FEATURES, IDS, given, std, "graded", 0)
    assert len(set(fitted.labelled_ids)) == len(fitted.scores) == 30 and fitted.predictor is not None
    assert list(fitted.labelled_ids) == sorted(fitted.labelled_ids) and set(fitted.labelled_ids) <= set(IDS[:90])
    assert (
        dict(zip(fitted.labelled_ids, fitted.scores, strict=True)).items()
        <= dict(zip(given["galaxy_id"].to_pylist(), given["score"].to_pylist(), strict=True)).items()
    )
    turned = RNG.permutation(len(IDS))
    again = fit(FEATURES[turned], IDS[turned], given, std, "graded", 0)
    assert again.labelled_ids == fitted.labelled_ids
    assert fit(FEATURES, IDS, given, std, "graded", 1).labelled_ids != fitted.labelled_ids, "the seed draws"


def test_a_search_asks_for_no_more_scores_than_are_learnt_from():
    with pytest.raises(ValueError, match="5000"):
        Anomaly(budget=MOST_SCORES + 1)
    assert Anomaly(budget=MOST_SCORES).budget == 5_000


def test_a_class_that_a_person_gave_makes_the_oracles_score_nobody_elses():
    oracle = {"event": "1", "time": START, "who": "o", "source": "oracle", "kind": "score", "galaxy_id": "g001"}
    oracle |= {"score": 4.0, "round": 2}
    named = {"event": "2", "time": START, "who": "ann", "source": "cli", "kind": "class", "galaxy_id": "g001"}
    events = pa.Table.from_pylist([oracle, named | {"label": "ring"}], schema=EVENTS)
    table = ranked(scores_to_table(GALAXIES, np.zeros(100), None), standing(events), "graded")
    assert table.slice(0, 1).select(["galaxy_id", "scored_by", "queried_round"]).to_pylist() == [
        {"galaxy_id": "g001", "scored_by": "oracle", "queried_round": 2}
    ]
