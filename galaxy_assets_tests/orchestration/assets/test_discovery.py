"""The simulated oracle: what it knows of a galaxy, and of which it knows nothing."""

import logging

import numpy as np
import pyarrow as pa
import pytest

from galaxy_assets.figures import plates
from galaxy_assets.orchestration.assets import recall
from galaxy_assets.orchestration.assets.discovery import oracle_scores, scored, scored_now, simulated_search
from galaxy_assets.orchestration.assets.recall import BASELINES, MET, QUESTIONS, asked_and_met
from galaxy_assets.orchestration.declaration import SurveyContext
from galaxy_assets.orchestration.graph import ASSETS
from galaxy_assets.science import anomaly_model, votes
from galaxy_assets.science.labels import STANDING
from galaxy_assets.settings.discovery import Anomaly
from galaxy_assets.settings.survey import Survey
from galaxy_assets.storage.in_turn import TablesInTurn
from galaxy_assets.storage.layout import Layout
from galaxy_assets.storage.tables import UnknownGalaxies, read_table, vectors_to_column, write_table
from galaxy_assets_tests.conftest import TINY
from galaxy_assets_tests.science.test_votes import CALM, CRASH, SPIRAL, normal

CATALOGUE = pa.table({"galaxy_id": ["a", "b", "c"], "label": pa.array(["ring", "spiral", None])})
BOTH = {"merging_both": 1, "merging_merger": 3, "merging_neither": 6}
FEW = {"merging_merger": 9}


def test_the_oracle_knows_labels_and_votes_and_nothing_of_other_galaxies():
    by_label = Anomaly(labels=("ring",))
    score, true = oracle_scores(["d", "c", "b", "a"], CATALOGUE, votes.empty("1_and_2"), by_label)
    assert score.tolist() == [-1, -1, 0, 5] and true.tolist() == [False, False, False, True]

    by_votes = Anomaly(question="merging", answers=("merger", "both"))
    table = normal(CALM, CRASH, BOTH, FEW, SPIRAL)  # the last was never asked about merging
    score, true = oracle_scores([f"g{i}" for i in range(6)], CATALOGUE, table, by_votes)
    assert score.tolist() == [0, 2, 2, 5, -1, -1]
    assert true.tolist() == [False, False, True, False, False, False]

    score, true = oracle_scores(["a"], CATALOGUE, votes.empty("1_and_2"), by_votes)
    assert (score.tolist(), true.tolist()) == ([-1], [False])


def test_only_galaxies_with_a_score_are_asked_by_the_numbers_of_the_survey():
    survey, features = Survey.model_validate(TINY), np.random.default_rng(0).normal(size=(60, 3))
    score = np.where(np.arange(60) % 3 == 0, -1, 5 * (np.arange(60) % 7 == 1))
    queries, rows, _ = simulated_search(
        survey, "corrected", features, np.array([f"g{i:02d}" for i in range(60)]), score
    )
    assert (score[rows] >= 0).all() and len(set(rows.tolist())) == 18
    assert [q.score for q in queries] == score[rows].tolist()
    assert np.bincount([q.round for q in queries]).tolist() == [6, 4, 4, 4]
    nothing, none, _ = simulated_search(survey, "corrected", features, np.array(["g"] * 60), np.full(60, -1))
    assert nothing == [] and len(none) == 0


def test_scores_of_the_present_model_are_taken_and_all_others_are_made_here(tmp_path):
    survey, rng = Survey.model_validate(TINY | {"anomaly": {"learner": "graded"}}), np.random.default_rng(0)
    vectors, ids = rng.normal(size=(30, 3)).astype(np.float32), [f"g{i:02d}" for i in range(30)]
    said = pa.Table.from_pylist(
        [{"galaxy_id": ids[i], "score": float(i % 6), "by": "people"} for i in range(12)], schema=STANDING
    )
    fitted = anomaly_model.fit(vectors, np.array(ids), said, vectors.std(axis=0), "graded", 0)
    model = anomaly_model.model_to_table(fitted)
    galaxies = pa.table({"galaxy_id": ids, "batch": ["a"] * 10 + ["b"] * 10 + ["c"] * 10})
    galaxies = galaxies.append_column("vector", vectors_to_column(vectors))
    expected = scored(survey, galaxies, model)
    score = expected["score"].to_numpy() + 100  # by which those that were taken are told from those made here
    kept = expected.set_column(expected.column_names.index("score"), "score", pa.array(score))
    older = kept.set_column(kept.column_names.index("model"), "model", pa.array(["older"] * 30))
    for name, features, scores in (
        ("a", galaxies[:8], kept[:10]),  # two galaxies are no longer clean
        ("b", galaxies[10:20], kept[10:15]),  # five are new
        ("c", galaxies[20:], older[20:]),
    ):
        write_table(features, tmp_path / "features" / f"{name}.parquet")
        write_table(scores, tmp_path / "scores" / f"{name}.parquet")
    write_table(galaxies[:0], tmp_path / "features" / "empty.parquet")
    found = [TablesInTurn(tuple(sorted((tmp_path / part).iterdir())), {}) for part in ("scores", "features")]
    table, here = scored_now(survey, model, *found)
    assert here == 15 and table.column_names == ["galaxy_id", "batch", "score", "score_std"]
    by_id = dict(zip(table["galaxy_id"].to_pylist(), table["score"].to_pylist(), strict=True))
    assert sorted(by_id) == ids[:8] + ids[10:] and table.num_rows == 28
    taken = {galaxy for galaxy, value in by_id.items() if value > 50}
    assert taken == set(ids[:8] + ids[10:15])
    empty = TablesInTurn((tmp_path / "features" / "empty.parquet",), {})
    none, here = scored_now(survey, model, TablesInTurn((), {}), empty)
    assert (none.num_rows, here) == (0, 0) and none.schema == table.schema


def test_targets_that_people_scored_are_not_met_by_the_search():
    ranking = pa.table(
        {
            "galaxy_id": ["a", "b", "c", "d"],
            "queried_round": pa.array([0, None, 2, None], pa.int32()),
            "scored_by": ["oracle", "people", "people", None],
        }
    )
    assert asked_and_met(ranking, np.array([False, True, True, True])) == {QUESTIONS: 2, MET: 1}


def test_galaxies_that_the_baselines_do_not_know_yet_are_named():
    table = pa.table({"rank": [1, 2]})
    labelled = pa.table({"galaxy_id": ["a", "new"], "true": [True, False]})
    baselines = pa.table({"galaxy_id": ["a"], **{name: [1.0] for name in BASELINES}})
    with pytest.raises(UnknownGalaxies, match="new.*baseline_rankings.*run the survey"):
        recall.with_baselines(table, baselines, labelled)
    whole = pa.table({"galaxy_id": ["x", "new", "a"], **{name: [3.0, 2.0, 1.0] for name in BASELINES}})
    assert recall.with_baselines(table, whole, labelled)["isolation_forest"].to_pylist() == [0, 1]


def test_the_sheet_shows_the_galaxies_that_were_asked_from_every_delivery(world, monkeypatch):
    layout, survey, shown, draw = Layout(world.root), world.survey, {}, plates.query_history

    def drawn(pixels, scores, rounds):
        shown.update(pixels=pixels, scores=scores)
        return draw(pixels, scores, rounds)

    monkeypatch.setattr(plates, "query_history", drawn)
    context = SurveyContext(survey, {}, layout, "", "", logging.getLogger(__name__))
    files = {
        name: [layout.table("tiny", name, batch, *start) for batch in ("first", "second")]
        for name, start in (("catalogue", ()), ("cutouts", ()), ("pca_features", (survey.main_start_weights,)))
    }
    catalogue, cutouts, features = (pa.concat_tables([read_table(path) for path in paths]) for paths in files.values())
    events = ASSETS["oracle_events"].function(
        context,
        catalogue=catalogue,
        cutouts=TablesInTurn(tuple(files["cutouts"]), {}),
        volunteer_votes=votes.empty("1_and_2"),
        pca_features=features,
    )
    rounds = events.table["round"].to_numpy()
    first = np.concatenate([np.flatnonzero(rounds == r)[:5] for r in np.unique(rounds)])
    assert shown["scores"] == events.table["score"].take(first).to_pylist()
    of = {galaxy["galaxy_id"]: (galaxy["batch"], row) for row, galaxy in enumerate(cutouts.to_pylist())}
    asked = [of[galaxy] for galaxy in events.table["galaxy_id"].take(first).to_pylist()]
    assert {batch for batch, _ in asked} == {"first", "second"}
    stored = np.concatenate([context.pixels.read(batch) for batch in ("first", "second")])
    np.testing.assert_array_equal(np.stack(shown["pixels"]), stored[[row for _, row in asked]])
