"""The shortlist of a large survey's search: what it scores, what it misses, and that this is measured and checked."""

import numpy as np
import pyarrow as pa
import pytest

from galaxy_assets.orchestration.assets.discovery import LEAST, SHARE, SHORT, shortlist_for, simulated_search
from galaxy_assets.orchestration.checks import CHECKS, Stored
from galaxy_assets.science import active_learning
from galaxy_assets.science.outliers import unsupervised_score
from galaxy_assets.science.shortlist import Shortlist, exact_of_the_best
from galaxy_assets.settings.discovery import Anomaly
from galaxy_assets.settings.survey import Survey
from galaxy_assets.storage.layout import Layout
from galaxy_assets.storage.provenance import Origin, with_origin
from galaxy_assets.storage.tables import write_table
from galaxy_assets_tests.conftest import TINY

(CHECK,) = (check for check in CHECKS if check.name == "shortlist_holds_the_best")
N = 4_000
NOBODY = np.array([], int)


@pytest.fixture(autouse=True)
def far_ones_are_strange(monkeypatch):
    """In place of the isolation forest, which takes most of the time."""
    monkeypatch.setattr(active_learning, "unsupervised_score", lambda f, seed, among, trees: (f**2).sum(axis=1))


def world() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Features, ids, and which galaxies are of a rare clump."""
    rng = np.random.default_rng(0)
    features = rng.standard_t(5, (N, 6)) * np.linspace(3, 1, 6)
    strange = rng.permutation(N) < 80
    features[strange] = rng.normal(size=(80, 6)) * 2 + 4
    return features.astype(np.float32), np.array([f"g{i:05d}" for i in range(N)]), strange


def survey(**anomaly) -> Survey:
    given = {"labels": ["rare"], "seeds": 10, "per_round": 10, "budget": 120, "shortlist": 1000}
    return Survey.model_validate(TINY | {"anomaly": given | anomaly})


def test_a_large_survey_is_asked_the_same_galaxies_by_exact_values_from_few_scored(monkeypatch):
    features, ids, strange = world()
    score, scored = np.where(strange, 5, 0), []
    predict = active_learning.predict
    monkeypatch.setattr(active_learning, "predict", lambda m, f, name: scored.append(len(f)) or predict(m, f, name))
    whole, rows, nothing = simulated_search(survey(), "graded", features, ids, score)
    assert nothing == {} and set(scored) == {N}
    scored.clear()
    short, at, measured = simulated_search(survey(exact_below=N, whole_every=3), "graded", features, ids, score)
    assert measured[SHORT] >= 3 and measured[LEAST] >= 0.95 and measured[SHARE] >= measured[LEAST]
    assert sum(n < 1300 for n in scored) >= measured[SHORT]
    assert len({*rows.tolist()} & {*at.tolist()}) >= 0.9 * len(whole)
    same = 20  # until the first round that a shortlist scored, all is equal
    assert short[:same] == whole[:same]


def test_below_the_size_every_round_scores_every_galaxy():
    assert shortlist_for(999_999, Anomaly(), 0) is None
    made = shortlist_for(1_000_000, Anomaly(), 3)
    assert made is not None and (made.length, made.whole_every, made.seed) == (100_000, 5, 3)


def test_every_so_many_rounds_all_are_scored_and_what_is_on_the_list_is_exact():
    value = np.random.default_rng(1).normal(size=N)
    shortlist, rounds = Shortlist(400, whole_every=3), []
    for _ in range(7):
        rows, found = shortlist.values(lambda rows: value if rows is None else value[rows], NOBODY)
        rounds.append(rows is None)
        np.testing.assert_array_equal(found, value if rows is None else value[rows])
        assert found.max() == value.max()
    assert rounds == [True, False, False, True, False, False, True]
    assert shortlist.shares == [1.0, 1.0] and shortlist.short == 4


def test_all_are_scored_at_once_where_the_sample_rises():
    before, after = np.random.default_rng(2).normal(size=(2, N))
    shortlist = Shortlist(400, whole_every=50)
    shortlist.values(lambda rows: before if rows is None else before[rows], NOBODY)
    rows, found = shortlist.values(lambda rows: after if rows is None else after[rows], NOBODY)
    assert rows is None and found is after
    assert shortlist.short == 0 and shortlist.shares == []  # that list was not trusted
    rows, _ = shortlist.values(lambda rows: after if rows is None else after[rows], NOBODY)
    assert rows is not None and set(np.argsort(-after)[:400]) <= {*rows.tolist()}


def test_a_galaxy_that_was_asked_calls_for_nothing():
    value = np.arange(float(N))
    shortlist = Shortlist(400, whole_every=50)
    shortlist.values(lambda rows: value if rows is None else value[rows], NOBODY)
    risen = value.copy()
    sample = np.setdiff1d(shortlist._rows, np.arange(N - 400, N))
    risen[sample] += N
    asked = lambda: shortlist.values(lambda rows: risen if rows is None else risen[rows], sample)[0]  # noqa: E731
    assert asked() is not None and shortlist.short == 1


def test_the_whole_forest_looks_at_the_strangest_alone_and_the_search_begins_with_the_same(monkeypatch):
    features, ids, strange = world()
    score, looked = np.where(strange, 5, 0), []

    def forest(features, seed, among, trees):
        looked.append((len(features), trees))
        return unsupervised_score(features, seed, among, trees)

    monkeypatch.setattr(active_learning, "unsupervised_score", forest)
    whole, _, _ = simulated_search(survey(budget=30), "graded", features, ids, score)
    assert looked == [(N, 300)]
    looked.clear()
    short, _, _ = simulated_search(survey(budget=30, exact_below=N), "graded", features, ids, score)
    (every, few), (some, all_trees) = looked
    assert (every, few, all_trees) == (N, 30, 300) and 1000 < some < 1200
    assert short[:10] == whole[:10] and len(whole) == 30


def test_where_everything_on_the_list_was_asked_all_are_scored():
    value = np.arange(float(N))
    shortlist = Shortlist(400, whole_every=50)
    shortlist.values(lambda rows: value if rows is None else value[rows], NOBODY)
    rows, _ = shortlist.values(lambda rows: value if rows is None else value[rows], np.arange(N))
    assert rows is None


def test_all_are_valued_where_the_rough_value_misleads():
    value = np.random.default_rng(3).normal(size=N)
    assert exact_of_the_best(-value, lambda rows: value if rows is None else value[rows], 400) is value
    exact = exact_of_the_best(value.round(1), lambda rows: value if rows is None else value[rows], 400)
    best = np.argsort(-value)[:300]
    np.testing.assert_array_equal(exact[best], value[best])
    assert np.isneginf(exact).sum() > N - 500


@pytest.mark.parametrize("fault", [False, True])
def test_a_shortlist_that_misses_the_best_fails_its_check(tmp_path, monkeypatch, fault):
    features, ids, strange = world()
    if fault:  # the first galaxies stand for the best, and the sample is not looked at
        monkeypatch.setattr(Shortlist, "_missed", lambda self, value, asked: False)
        renew = Shortlist._renew

        def renewed(self, value, asked):
            renew(self, value, asked)
            self._rows = np.arange(500)

        monkeypatch.setattr(Shortlist, "_renew", renewed)
    few = survey(exact_below=N, whole_every=2)
    _, _, measured = simulated_search(few, "graded", features, ids, np.where(strange, 5, 0))
    table = with_origin(pa.table({"event": ["a"]}), Origin(measured=measured))
    write_table(table, Layout(tmp_path).table("tiny", "oracle_events"))
    verdict = CHECK.function(Stored(few, Layout(tmp_path)))
    assert f"{measured[LEAST]:.3f}" in verdict.words
    assert verdict.passed is not fault and (measured[LEAST] < 0.95) is fault


def test_without_a_shortlist_the_check_passes(tmp_path):
    write_table(pa.table({"event": ["a"]}), Layout(tmp_path).table("tiny", "oracle_events"))
    verdict = CHECK.function(Stored(survey(), Layout(tmp_path)))
    assert verdict.passed and "0 rounds by a shortlist" in verdict.words
