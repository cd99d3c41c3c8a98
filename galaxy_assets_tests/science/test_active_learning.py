"""The search of paper 7.1: seeds, acquisition, posterior, ties, budget, recall."""

import logging

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from modAL.acquisition import EI
from scipy.integrate import quad
from scipy.linalg import cho_factor, cho_solve
from scipy.spatial.distance import cdist
from scipy.stats import norm
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import ConstantKernel, Matern, WhiteKernel

from galaxy_assets.science import active_learning as al
from galaxy_assets.science import gaussian_process
from galaxy_assets.science.galaxy_ids import Ids
from galaxy_assets.science.outliers import outlier_factor


def world(n=400, seed=0):
    """Galaxies in four dimensions; one in ten lies in a clump of its own and scores 5."""
    rng = np.random.default_rng(seed)
    features = rng.normal(size=(n, 4))
    strange = np.arange(n) % 10 == 0
    features[strange] = rng.normal(size=(strange.sum(), 4)) * 0.4 + [0.5, 2.2, 0, 0]
    return features, np.array([f"g{i:04d}" for i in range(n)]), strange


def test_seeds_span_the_first_component_with_both_ends():
    rng = np.random.default_rng(0)
    features = np.stack([rng.permutation(1000) for _ in range(3)], axis=1).astype(float)
    rows = al.seed_sample(features, 10)
    assert features[rows, 0].tolist() == [0, 111, 222, 333, 444, 555, 666, 777, 888, 999]
    assert len(al.seed_sample(features[:4], 10)) == 4


@given(mean=st.floats(-3, 6), std=st.floats(0.05, 3), best=st.integers(0, 5), trade_off=st.floats(0, 3))
def test_expected_improvement_is_the_integral_it_stands_for(mean, std, best, trade_off):
    def gain(score):
        return max(score - best - trade_off, 0) * norm.pdf(score, mean, std)

    low, high = best + trade_off, max(mean + 12 * std, best + trade_off)
    expected, _ = quad(gain, low, high, limit=200)
    found = al.expected_improvement(np.array([mean]), np.array([std]), best, trade_off)[0]
    np.testing.assert_allclose(found, expected, atol=1e-6)


@given(
    mean=st.lists(st.floats(-3, 6), min_size=1, max_size=20),
    std=st.floats(1e-5, 3),
    best=st.integers(0, 5),
    trade_off=st.floats(0, 3),
)
def test_expected_improvement_is_modals_to_the_last_bit(mean, std, best, trade_off):
    mean, std = np.array(mean), np.full(len(mean), std)
    assert np.array_equal(al.expected_improvement(mean, std, best, trade_off), EI(mean, std, best, trade_off))


def by_hand(process, labelled, scores, unseen):
    """Posterior of a fitted scikit-learn process, from its kernel's numbers alone: Matern-3/2, Cholesky."""
    named = {k.split("__")[-1]: v for k, v in process.kernel_.get_params().items() if not hasattr(v, "theta")}
    amplitude, noise = named.get("constant_value", 1.0), named["noise_level"]

    def matern(a, b):
        q = np.sqrt(3) * cdist(a, b) / named["length_scale"]
        return amplitude * (1 + q) * np.exp(-q)

    covariance = matern(labelled, labelled) + (noise + 1e-10) * np.eye(len(labelled))
    factor, cross = cho_factor(covariance, lower=True), matern(unseen, labelled)
    variance = amplitude + noise - np.einsum("ij,ji->i", cross, cho_solve(factor, cross.T))
    return cross @ cho_solve(factor, scores), np.sqrt(variance)


def test_the_published_posterior_is_scikit_learns_and_the_formula_whatever_the_block(monkeypatch):
    features, _, strange = world()
    rows, scores = np.arange(0, 400, 7), 5.0 * strange[::7]
    reference = GaussianProcessRegressor(Matern(nu=1.5) + WhiteKernel()).fit(features[rows], scores)
    monkeypatch.setattr(gaussian_process, "_BLOCK", 64)
    found = al.posterior(features, rows, scores, "published")
    for mean, std in (
        reference.predict(features, return_std=True),
        by_hand(reference, features[rows], scores, features),
    ):
        np.testing.assert_allclose(found.mean, mean, atol=1e-6)
        np.testing.assert_allclose(found.std, std, atol=1e-6)
    assert np.ptp(found.mean) > 1e-6 and found.kernel == str(reference.kernel_)


def test_the_corrected_posterior_is_the_formula_on_half_standardised_components():
    features, _, strange = world()
    features *= [50, 3, 1, 0.1]
    rows, scores = np.arange(0, 400, 7), 5.0 * strange[::7]
    scaled = features / np.sqrt(features.std(axis=0))
    distances = cdist(scaled[rows], scaled[rows])[np.triu_indices(len(rows), 1)]
    kernel = ConstantKernel(6.25) * Matern(np.median(distances), nu=1.5) + WhiteKernel(3.125)
    reference = GaussianProcessRegressor(kernel, optimizer=None).fit(scaled[rows], scores)
    mean, std = by_hand(reference, scaled[rows], scores, scaled)
    found = al.posterior(features, rows, scores, "corrected")
    np.testing.assert_allclose(found.mean, mean, atol=1e-6)
    np.testing.assert_allclose(found.std, std, atol=1e-6)
    assert found.at_bounds == ()
    units = al.posterior(features * 1e-3, rows, scores, "corrected")
    np.testing.assert_allclose(units.mean, found.mean, atol=1e-9)


@pytest.mark.parametrize("learner", ["published", "corrected"])
def test_equal_scores_give_a_flat_posterior_and_ties_go_by_id(learner):
    features, ids, _ = world(100)
    assert np.ptp(al.posterior(features, np.arange(10), np.zeros(10), learner).mean) < 1e-6
    order = al.best_first(np.zeros(100), ids[::-1])
    assert ids[::-1][order].tolist() == sorted(ids)


@given(
    values=st.lists(st.sampled_from([0.0, -0.0, 1e-12, 0.5, 0.5 + 1e-11, 2.0, -3.0]), max_size=40),
    count=st.none() | st.integers(0, 45),
    seed=st.integers(0, 99),
)
def test_the_first_few_are_the_first_of_a_full_sort_by_value_and_id(values, count, seed):
    ids = np.array([f"g{i}" for i in np.random.default_rng(seed).permutation(len(values))], dtype=object)
    value = np.array(values)
    expected = np.lexsort((ids, -value))
    assert al.best_first(value, ids, count).tolist() == expected[:count].tolist()


@pytest.mark.parametrize("learner", ["published", "corrected"])
def test_constant_features_tell_nothing_apart_and_are_asked_by_id(learner):
    ids = np.array([f"g{i:02d}" for i in range(40)])[::-1]
    features = np.ones((40, 3), np.float32)
    state = al.posterior(features, np.arange(8), np.array([0, 5.0] * 4), learner)
    assert np.ptp(state.mean) < 1e-6 and np.isfinite(state.mean).all() and np.isfinite(state.std).all()
    queries = ask(features, ids, np.arange(40) % 2 == 0, budget=20, learner=learner)
    seeds = {q.row for q in queries[:10]}
    assert [ids[q.row] for q in queries[10:]] == sorted(ids[r] for r in range(40) if r not in seeds)[:10]


def test_a_hyper_parameter_at_its_bound_is_named_and_warned_of(caplog):
    features, _, _ = world(100)
    with caplog.at_level(logging.WARNING):
        state = al.posterior(features, np.arange(10), np.zeros(10), "published")
    assert any(text.startswith("noise_level") for text in state.at_bounds)
    assert state.at_bounds[0] in caplog.text
    inside = al.posterior(features, np.arange(100), features[:, 0] + np.sin(9 * features[:, 1]), "published")
    assert inside.at_bounds == ()


def ask(features, ids, strange, *, budget, learner, seeds=10, per_round=10, seed=0):
    return al.search(
        features,
        ids,
        lambda rows: 5 * strange[rows],
        seeds=seeds,
        per_round=per_round,
        budget=budget,
        trade_off=0.5,
        learner=learner,
        seed=seed,
    )


@pytest.mark.parametrize("learner", ["published", "corrected"])
def test_the_search_asks_each_galaxy_once_in_rounds_and_finds_the_clump(learner):
    features, ids, strange = world()
    queries = ask(features, ids, strange, budget=65, learner=learner)
    assert [q.round for q in queries] == [0] * 10 + [r for r in range(1, 6) for _ in range(10)] + [6] * 5
    assert len({q.row for q in queries}) == 65
    assert all(q.score == 5 * strange[q.row] for q in queries)
    found = sum(strange[q.row] for q in queries)
    assert found > 3 * 65 * strange.mean()


@pytest.mark.parametrize("learner", ["published", "corrected"])
def test_each_round_asks_what_the_posterior_on_all_earlier_scores_values_most(learner):
    features, ids, strange = world()
    queries = ask(features, ids, strange, budget=60, learner=learner)
    assert strange[[q.row for q in queries[:10]]].any(), "the world's seeds must hold both scores"
    for this in range(1, 6):
        before = [q for q in queries if q.round < this]
        rows, scores = np.array([q.row for q in before]), np.array([q.score for q in before])
        state = al.posterior(features, rows, scores, learner)
        value = state.mean
        if learner == "published":
            z = (state.mean - scores.max() - 0.5) / state.std
            value = (state.mean - scores.max() - 0.5) * norm.cdf(z) + state.std * norm.pdf(z)
        value[rows] = -np.inf
        asked = [q for q in queries if q.round == this]
        np.testing.assert_allclose([q.acquisition for q in asked], np.sort(value)[::-1][:10], atol=1e-8)


def test_while_scores_are_equal_the_published_learner_asks_by_id_and_the_corrected_the_strangest():
    features, ids, _ = world()
    nothing = np.zeros(400, bool)
    published = ask(features, ids, nothing, budget=40, learner="published")
    seeds = {q.row for q in published[:10]}
    assert [q.row for q in published[10:]] == [r for r in range(400) if r not in seeds][:30]
    corrected = ask(features, ids, nothing, budget=40, learner="corrected")
    strangest = al.best_first(al.unsupervised_score(features, 0), ids)
    assert [q.row for q in corrected[10:]] == [r for r in strangest if r not in seeds][:30]
    assert all(q.acquisition is None for q in corrected)


def test_rare_outlying_anomalies_among_many_dimensions_are_found_by_the_corrected_learner_alone():
    rng = np.random.default_rng(3)
    features = rng.normal(size=(600, 30)) * np.geomspace(20, 1, 30)
    strange = np.zeros(600, bool)
    strange[rng.permutation(600)[:12]] = True
    features[strange, -6:] += 6  # off the main axes, where galaxies differ little
    ids = np.array([f"g{i:03d}" for i in range(600)])
    found = {
        learner: sum(strange[q.row] for q in ask(features, ids, strange, budget=80, learner=learner))
        for learner in ("published", "corrected")
    }
    assert found["corrected"] == 12 and found["published"] <= 6


@pytest.mark.parametrize("learner", ["published", "corrected"])
@pytest.mark.parametrize("n", [1, 4, 23])
def test_fewer_galaxies_than_seeds_or_budget_are_asked_once_each(learner, n):
    features, ids, strange = world(n)
    queries = ask(features, ids, strange, budget=200, learner=learner)
    assert sorted(q.row for q in queries) == list(range(n))
    assert [q.round for q in queries] == [0] * min(n, 10) + [1 + i // 10 for i in range(n - 10)]


@settings(max_examples=5, deadline=None)
@given(st.integers(0, 2**31), st.sampled_from(["published", "corrected"]))
def test_the_search_does_not_depend_on_the_order_of_the_rows(seed, learner):
    features, ids, strange = world(80)
    shuffled = np.random.default_rng(seed).permutation(80)
    first = ask(features, ids, strange, budget=40, learner=learner)
    second = ask(features[shuffled], ids[shuffled], strange[shuffled], budget=40, learner=learner)
    if learner == "corrected":  # the forest draws rows, so only what it did not choose is free of their order
        first, second = ([q for q in queries if q.round == 0] for queries in (first, second))
    assert [ids[q.row] for q in first] == [ids[shuffled][q.row] for q in second]


@given(st.lists(st.tuples(st.booleans(), st.booleans()), max_size=60))
def test_recall_never_exceeds_perfect_and_ends_where_random_does(galaxies):
    truth, shown = [t for t, _ in galaxies], [s for _, s in galaxies]
    curve = al.recall_curve(np.array(truth, bool), np.array(shown, bool))
    unshown = [n for n in curve["found_unshown"].to_pylist() if n is not None]
    assert len(unshown) == shown.count(False) and unshown[-1:] in ([], [galaxies.count((True, False))])
    assert (curve["found"] <= curve["perfect"]).all()
    if truth:
        assert curve["found"][-1] == curve["perfect"][-1] == sum(truth)
        np.testing.assert_allclose(curve["random"][-1], sum(truth))


def test_the_isolated_galaxy_is_the_strangest_before_any_score():
    features = np.random.default_rng(0).normal(size=(200, 3))
    features[17] = 9
    assert al.unsupervised_score(features, 0).argmax() == 17


def test_the_outlier_factor_is_one_where_galaxies_are_alike_and_largest_at_the_isolated_one():
    features = np.random.default_rng(0).normal(size=(200, 3))
    features[17] = 9
    factor = outlier_factor(features)
    assert factor.argmax() == 17 and 0.9 < np.median(factor) < 1.2
    assert outlier_factor(features[:1]).tolist() == [1] and len(outlier_factor(features[:2])) == 2


def test_galaxies_far_apart_are_told_apart_by_the_corrected_learner_alone():
    features, _, strange = world()
    far = features * 50
    rows = np.arange(0, 400, 4)
    stuck = al.posterior(far, rows, 5.0 * strange[rows], "published")
    found = al.posterior(far, rows, 5.0 * strange[rows], "corrected")
    unseen = np.setdiff1d(np.arange(400), rows)
    assert np.ptp(stuck.mean[unseen]) < 0.1
    assert found.mean[unseen][strange[unseen]].mean() > found.mean[unseen][~strange[unseen]].mean() + 0.5


@pytest.mark.parametrize("as_ids", [Ids, lambda ids: ids.to_numpy(zero_copy_only=False)])
def test_among_many_equal_values_the_smallest_ids_come_first_without_a_string_of_each(as_ids):
    rng = np.random.default_rng(0)
    ids = pa.array([f"J{i:06d}ä" for i in rng.permutation(20_000)])
    value = rng.integers(3, size=len(ids)).astype(float)
    value[:4] = 9
    whole = np.lexsort((ids.to_numpy(zero_copy_only=False), -value))
    for count in (2, 4, 50, 7_000):
        np.testing.assert_array_equal(al.best_first(value, as_ids(ids), count), whole[:count])
    taken = []

    class Counting(Ids):
        def __getitem__(self, rows):
            taken.append(np.size(rows))
            return super().__getitem__(rows)

    first = np.argsort(ids.to_numpy(zero_copy_only=False))[:10]
    np.testing.assert_array_equal(al.best_first(np.zeros(len(ids)), Counting(ids), 10), first)
    assert sum(taken) <= 10
