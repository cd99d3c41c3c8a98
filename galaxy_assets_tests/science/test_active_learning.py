"""The search of paper 7.1: seeds, acquisition, posterior, ties, budget, recall."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from scipy.integrate import quad
from scipy.stats import norm
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import Matern, WhiteKernel

from galaxy_assets.science import active_learning as al


def world(n=400, seed=0):
    """Galaxies in four dimensions; one in ten lies in a clump of its own and scores 5."""
    rng = np.random.default_rng(seed)
    features = rng.normal(size=(n, 4))
    strange = np.arange(n) % 10 == 0
    features[strange] = rng.normal(size=(strange.sum(), 4)) * 0.4 + [0.5, 2.2, 0, 0]
    return features, np.array([f"g{i:04d}" for i in range(n)]), strange


def test_seeds_span_the_first_component_with_both_ends():
    features = np.random.default_rng(0).permutation(1000)[:, None].astype(float)
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


def test_the_posterior_is_scikit_learns_whatever_the_block(monkeypatch):
    features, _, strange = world()
    rows, scores = np.arange(0, 400, 7), 5.0 * strange[::7]
    reference = GaussianProcessRegressor(Matern(nu=1.5) + WhiteKernel()).fit(features[rows], scores)
    mean, std = reference.predict(features, return_std=True)
    monkeypatch.setattr(al, "_BLOCK", 64)
    found = al.posterior(features, rows, scores, "one")
    np.testing.assert_allclose(found.mean, mean, atol=1e-6)
    np.testing.assert_allclose(found.std, std, atol=1e-6)
    assert not found.flat


def test_equal_scores_give_a_flat_posterior_and_ties_go_by_id():
    features, ids, _ = world(100)
    assert al.posterior(features, np.arange(10), np.zeros(10)).flat
    order = al.best_first(np.zeros(100), ids[::-1])
    assert ids[::-1][order].tolist() == sorted(ids)


def test_the_search_asks_each_galaxy_once_in_rounds_and_finds_the_clump():
    features, ids, strange = world()
    queries = al.search(features, ids, lambda rows: 5 * strange[rows], seeds=10, per_round=10, budget=65, trade_off=0.5)
    assert [q.round for q in queries] == [0] * 10 + [r for r in range(1, 6) for _ in range(10)] + [6] * 5
    assert len({q.row for q in queries}) == 65
    assert all(q.score == 5 * strange[q.row] for q in queries)
    found = sum(strange[q.row] for q in queries)
    assert found > 3 * 65 * strange.mean()


def test_a_budget_beyond_the_survey_asks_everything_once():
    features, ids, strange = world(23)
    queries = al.search(
        features, ids, lambda rows: 5 * strange[rows], seeds=10, per_round=10, budget=200, trade_off=0.5
    )
    assert sorted(q.row for q in queries) == list(range(23))


@given(st.lists(st.tuples(st.booleans(), st.booleans()), max_size=60))
def test_recall_never_exceeds_perfect_and_ends_where_random_does(galaxies):
    truth, shown = [t for t, _ in galaxies], [s for _, s in galaxies]
    curve = al.recall_curve(np.array(truth, bool), np.array(shown, bool))
    unshown = [n for n in curve["found_unshown"] if n is not None]
    assert len(unshown) == shown.count(False) and unshown[-1:] in ([], [galaxies.count((True, False))])
    assert (curve["found"] <= curve["perfect"]).all()
    if truth:
        assert curve["found"][-1] == curve["perfect"][-1] == sum(truth)
        np.testing.assert_allclose(curve["random"][-1], sum(truth))


def test_the_isolated_galaxy_is_the_strangest_before_any_score():
    features = np.random.default_rng(0).normal(size=(200, 3))
    features[17] = 9
    assert al.unsupervised_score(features, 0).argmax() == 17


def test_galaxies_far_apart_are_told_apart_only_from_a_length_scale_of_their_own():
    features, _, strange = world()
    far = features * 50
    rows = np.arange(0, 400, 4)
    stuck = al.posterior(far, rows, 5.0 * strange[rows], "one")
    found = al.posterior(far, rows, 5.0 * strange[rows])
    unseen = np.setdiff1d(np.arange(400), rows)
    assert np.ptp(stuck.mean[unseen]) < 0.1
    assert found.mean[unseen][strange[unseen]].mean() > found.mean[unseen][~strange[unseen]].mean() + 0.5
