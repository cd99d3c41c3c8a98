"""The learner of graded scores: any scale, mixed seeds, equal scores, and an outcome that does not hang on rounding."""

import numpy as np
import pyarrow as pa
import pytest
from scipy.spatial.distance import cdist
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import ConstantKernel, Matern, WhiteKernel

from galaxy_assets.science import active_learning as al
from galaxy_assets.science import samples, search_spread
from galaxy_assets.settings.discovery import Anomaly
from galaxy_assets_tests.science.test_active_learning import world

ASKING = {"seeds": 10, "per_round": 10, "budget": 60, "trade_off": 0.5, "seed": 0}


def crowd(seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """900 galaxies in eight dimensions, 45 of them in a clump off the first component."""
    rng = np.random.default_rng(seed)
    features = rng.normal(size=(900, 8)) * np.geomspace(4, 1, 8)
    true = np.arange(900) % 20 == 0
    features[true, 3:] = features[true, 3:] * 0.6 + 1.8
    return features, np.array([f"g{i:04d}" for i in range(900)]), true


def met(features: np.ndarray, ids: np.ndarray, said: np.ndarray, true: np.ndarray, learner: str = "graded") -> int:
    queries = al.search(features, ids, lambda rows: said[rows], learner=learner, **ASKING)
    return int(true[[query.row for query in queries]].sum())


def test_the_posterior_is_the_formula_around_the_mean_of_the_scores():
    features, _, strange = world()
    features *= [50, 3, 1, 0.1]
    rows, scores = np.arange(0, 400, 7), 1 + 3.0 * strange[::7]
    scaled = features / features.std(axis=0) ** 0.25
    length = 4 * np.median(cdist(scaled[rows], scaled[rows])[np.triu_indices(len(rows), 1)])
    kernel = ConstantKernel(scores.var()) * Matern(length, nu=1.5) + WhiteKernel(scores.var() / 2)
    reference = GaussianProcessRegressor(kernel, optimizer=None).fit(scaled[rows], scores - scores.mean())
    mean, std = reference.predict(scaled, return_std=True)
    found = al.posterior(features, rows, scores, "graded")
    np.testing.assert_allclose(found.mean, mean + scores.mean(), atol=1e-6)
    np.testing.assert_allclose(found.std, std, atol=1e-6)
    far = al.posterior(np.vstack([features, 1e6 * np.ones(4)]), rows, scores, "graded")
    assert far.mean[-1] == pytest.approx(scores.mean()), "a galaxy like none of the scored ones is no duller than they"


@pytest.mark.parametrize(("slope", "offset"), [(1 / 5, 0), (4 / 5, 1), (20, -50)])
def test_the_scale_that_people_use_changes_no_question(slope, offset):
    features, ids, true = crowd()
    said = np.random.default_rng(0).integers(0, 3, 900) + 3.0 * true
    asked = [
        [q.row for q in al.search(features, ids, lambda rows, s=s: s[rows], learner="graded", **ASKING)]
        for s in (said, slope * said + offset)
    ]
    assert asked[0] == asked[1]


def test_half_of_the_seeds_are_the_strangest_and_none_is_asked_twice():
    features, ids, _ = crowd()
    queries = al.search(features, ids, lambda rows: np.zeros(len(rows)), learner="graded", **ASKING)
    seeds = [query.row for query in queries if query.round == 0]
    strangest = al.best_first(al.unsupervised_score(features, 0, trees=300), ids)
    assert seeds[:5] == al.seed_sample(features, 5).tolist() and len(set(seeds)) == 10
    assert seeds[5:] == [row for row in strangest if row not in seeds[:5]][:5]
    assert [q.row for q in queries[10:]] == [r for r in strangest if r not in seeds][:50], "equal scores: the strangest"


def test_with_graded_scores_more_is_met_than_by_a_prior_of_0():
    found = {"graded": 0, "corrected": 0}
    for seed in range(3):
        features, ids, true = crowd(seed)
        said = np.random.default_rng(seed).integers(1, 3, 900) + 3.0 * true
        for learner in found:
            found[learner] += met(features, ids, said, true, learner)
    assert found["graded"] >= 1.5 * found["corrected"] > 0


@pytest.mark.parametrize("noise", [1e-12, 1e-5])
def test_perturbed_features_meet_nearly_the_same(noise):
    features, ids, true = crowd()
    plain, rng = met(features, ids, 5.0 * true, true), np.random.default_rng(1)
    others = [met(features * (1 + noise * rng.normal(size=features.shape)), ids, 5.0 * true, true) for _ in range(3)]
    assert plain >= 15 and max(abs(plain - other) for other in others) <= 0.15 * plain


def test_another_start_is_another_search():
    features, ids, true = crowd()
    anomaly = Anomaly(labels=("clump",), budget=20)
    table = search_spread.trials(features, ids, 5 * true, true, anomaly, seed=0)
    starts = zip(table["met"].to_pylist()[:5], table["unshown"].to_pylist()[:5], strict=True)
    forests = table["isolation_forest"].to_pylist()[:5]
    assert len(set(zip(starts, forests, strict=True))) > 1


def test_the_spread_is_of_five_starts_and_five_samples_and_said_in_words():
    features, ids, true = crowd()
    anomaly = Anomaly(name="clumps", labels=("clump",), budget=60)
    table = search_spread.trials(features, ids, 5 * true, true, anomaly, seed=3)
    assert table["trial"].to_pylist() == ["start"] * 5 + ["sample"] * 5
    assert table["galaxies"].to_pylist() == [900] * 5 + [810] * 5 and table["scored"].to_pylist() == [60] * 10
    asked, ranked = search_spread.searched(features, ids, 5 * true, anomaly, 3)
    first = table.to_pylist()[0]
    assert (first["met"], first["unshown"]) == (true[asked].sum(), true[ranked[:100]].sum())
    assert sorted([*asked, *ranked]) == list(range(900))
    lowest, highest = min(table["met"].to_pylist()[:5]), max(table["met"].to_pylist()[:5])
    said = search_spread.words(table, "clumps")
    assert said.startswith(f"{first['met']} of 45 clumps met in 60 questions (")
    assert (f"{lowest}-{highest} over 5 starts" if lowest < highest else f"{lowest} over 5 starts") in said
    assert f"of an isolation forest {first['isolation_forest']}" in said
    assert "sample of" not in said
    sampled = table.set_column(2, "galaxies", pa.array([5000] * 10))
    assert search_spread.words(sampled, "clumps") == f"of a sample of 5,000 galaxies, {said}"
    nothing = search_spread.trials(features, ids, 0 * true, ~true & true, anomaly, seed=3)
    assert nothing.num_rows == 0 and search_spread.words(nothing, "clumps") == ""


def test_a_sample_without_an_anomaly_says_nothing_of_the_whole():
    rng = np.random.default_rng(0)
    n = 40_000
    ids = np.array([f"g{i:05d}" for i in range(n)])
    drawn = samples.smallest(samples.keys(pa.array(ids), 7), 5000)
    true = np.zeros(n, bool)
    true[np.setdiff1d(np.arange(n), drawn)[:2]] = True
    table = search_spread.trials(rng.normal(size=(n, 2)), ids, 5 * true, true, Anomaly(labels=("x",)), 7)
    assert table.num_rows == 0
    said = search_spread.words(table, "pairs", int(true.sum()))
    assert said == "2 pairs known, none of them in the sample of 5,000 galaxies searched"


@pytest.mark.parametrize("n", [900, 6000])
def test_the_same_galaxies_are_searched_in_whatever_order_they_come(n):
    rng = np.random.default_rng(n)
    features, true, ids = rng.normal(size=(n, 2)), rng.random(n) < 0.3, np.array([f"g{i:05d}" for i in range(n)])
    anomaly, found = Anomaly(labels=("x",), budget=0, learner="corrected"), []
    for rows in (np.arange(n), rng.permutation(n)):
        table = search_spread.trials(features[rows], ids[rows], 5 * true[rows], true[rows], anomaly, seed=3)
        found.append(table.select(["galaxies", "anomalies"]))
    assert found[0] == found[1] and len(set(found[0]["anomalies"].to_pylist()[5:])) > 1


def test_a_budget_of_nothing_asks_nobody_and_ranks_by_the_forest():
    features, ids, true = crowd()
    table = search_spread.trials(features, ids, 5 * true, true, Anomaly(labels=("clump",), budget=0), seed=0)
    assert set(table["scored"].to_pylist()) == {0} and set(table["met"].to_pylist()) == {0}
