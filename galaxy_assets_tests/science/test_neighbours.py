"""Accuracy of neighbours and the similarity search, against brute force."""

import functools
import math
import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.model_selection import train_test_split
from sklearn.neighbors import KNeighborsClassifier, NearestNeighbors

from galaxy_assets.science import neighbours
from galaxy_assets.science.neighbours import SimilaritySearch, difference_by_chance, knn_accuracies, most_similar

SETTINGS = {"neighbours": 5, "splits": 10, "test_fraction": 0.25, "seed": 0}


def test_separate_classes_are_told_apart_and_mixed_ones_are_not():
    rng = np.random.default_rng(0)
    labels = np.repeat(["a", "b"], 100)
    apart = rng.normal(size=(200, 3)) + 20 * (labels == "b")[:, None]
    mixed = rng.normal(size=(200, 3))
    assert knn_accuracies(apart, labels, **SETTINGS).tolist() == [1.0] * 10
    assert 0.35 < knn_accuracies(mixed, labels, **SETTINGS).mean() < 0.65


@pytest.mark.parametrize("length", [40, 6])
def test_every_split_scores_what_scikit_learn_scores(monkeypatch, length):
    # a list of 6 leaves most test galaxies without five neighbours in the training part
    monkeypatch.setattr(neighbours, "_LIST", length)
    rng = np.random.default_rng(5)
    labels = rng.choice(["a", "b", "c"], 300)
    features = rng.normal(size=(300, 8)) + (labels == "a")[:, None] + 0.7 * (labels == "b")[:, None]
    expected = []
    for i in range(10):
        train, test = train_test_split(np.arange(300), test_size=0.25, random_state=i)
        expected.append(KNeighborsClassifier(5).fit(features[train], labels[train]).score(features[test], labels[test]))
    assert knn_accuracies(features, labels, **SETTINGS).tolist() == expected


@pytest.mark.parametrize("square", [2048, 37, 1])
def test_lists_of_neighbours_are_scikit_learns_whatever_the_block(monkeypatch, square):
    monkeypatch.setattr(neighbours, "_SQUARE", square)
    features = np.random.default_rng(2).normal(size=(150, 5)).astype(np.float32) + 30
    peer = NearestNeighbors(algorithm="brute").fit(features.astype(np.float64))
    for length in (1, 12, 149, 400):
        expected = peer.kneighbors(n_neighbors=min(length, 149), return_distance=False)
        np.testing.assert_array_equal(neighbours._neighbour_lists(features, length), expected)


def test_of_many_neighbours_the_memory_does_not_grow_with_the_galaxies_squared(monkeypatch):
    rng = np.random.default_rng(1)
    features, labels = rng.normal(size=(400, 600)).astype(np.float32), np.repeat(["a", "b"], 200)
    tracemalloc.start()
    found = knn_accuracies(features, labels, neighbours=35, splits=2, test_fraction=0.25, seed=0)
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert most < 20e6
    for i, accuracy in enumerate(found):
        train, test = train_test_split(np.arange(400), test_size=0.25, random_state=i)
        peer = KNeighborsClassifier(35).fit(features[train], labels[train])
        assert accuracy == pytest.approx(peer.score(features[test], labels[test]), abs=0.02)


@pytest.mark.parametrize("length", [40, 6])
def test_pixels_score_as_their_copy_in_floats_does_without_that_copy(monkeypatch, length):
    monkeypatch.setattr(neighbours, "_LIST", length)
    monkeypatch.setattr(neighbours, "_SQUARE", 50)
    rng = np.random.default_rng(3)
    labels = rng.choice(["a", "b"], 600)
    pixels = (rng.integers(0, 230, (600, 5000)) + 9 * (labels == "a")[:, None]).astype(np.uint8)
    np.testing.assert_array_equal(neighbours._neighbour_lists(pixels, 9), neighbours._neighbour_lists(pixels + 0.0, 9))
    expected = knn_accuracies(pixels.astype(np.float32), labels, **SETTINGS)
    tracemalloc.start()
    found = knn_accuracies(pixels, labels, **SETTINGS)
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert found.tolist() == expected.tolist() and most < 3 * pixels.nbytes


def test_features_of_a_diverged_training_are_an_error():
    features = np.random.default_rng(0).normal(size=(40, 2))
    features[3, 1] = np.nan
    with pytest.raises(ValueError, match="diverged"):
        knn_accuracies(features, np.arange(40) % 2, **SETTINGS)


@settings(max_examples=30, deadline=None)
@given(
    n=st.integers(24, 120), d=st.integers(1, 12), k=st.integers(1, 9), classes=st.integers(2, 4),
    seed=st.integers(0, 99), part=st.sampled_from([0.2, 0.25, 0.5]),
)  # fmt: skip
def test_any_set_scores_what_scikit_learn_scores(n, d, k, classes, seed, part):
    rng = np.random.default_rng(seed)
    labels = np.array(list("abcd"))[np.arange(n) % classes]  # even k: equal votes occur
    features = (rng.normal(size=(n, d)) + (labels == "a")[:, None]).astype(np.float32)
    expected = []
    for i in range(4):
        train, test = train_test_split(np.arange(n), test_size=part, random_state=seed + i)
        classifier = KNeighborsClassifier(k, algorithm="brute").fit(features[train], labels[train])
        expected.append(classifier.score(features[test], labels[test]))
    found = knn_accuracies(features, labels, neighbours=k, splits=4, test_fraction=part, seed=seed)
    assert found.tolist() == expected


def test_every_representation_is_judged_on_the_same_splits():
    rng = np.random.default_rng(0)
    labels = rng.permutation(np.repeat(["a", "b"], 30))
    features = rng.normal(size=(60, 2))
    first = knn_accuracies(features, labels, **SETTINGS)
    np.testing.assert_array_equal(first, knn_accuracies(features * 7 + 3, labels, **SETTINGS))
    assert np.ptp(first) > 0


def test_too_few_members_are_an_error_that_counts_them():
    with pytest.raises(ValueError, match=r"\{'a': 9, 'b': 1\}"):
        knn_accuracies(np.zeros((10, 2)), np.array(["a"] * 9 + ["b"]), **SETTINGS)


@st.composite
def searches(draw):
    """Features with many equal distances and equal galaxies, ids in no order, examples in the set and beside it."""
    n, d = draw(st.integers(1, 40)), draw(st.integers(1, 4))
    rng = np.random.default_rng(draw(st.integers(0, 999)))
    step = draw(st.sampled_from([1.0, 0.1, 1e-7]))
    features = (rng.integers(-2, 3, (n, d)) * step).astype(np.float32)
    ids = np.array([f"g{i}" for i in rng.permutation(n)], dtype=object)
    rows = rng.choice(n, draw(st.integers(0, min(n, 3))), replace=False)
    beside = (rng.integers(-2, 3, (draw(st.integers(0 if len(rows) else 1, 2)), d)) * step).astype(np.float32)
    return features, ids, np.vstack([features[rows], beside]), rows, draw(st.integers(1, 45))


@settings(max_examples=150, deadline=None)
@given(search=searches(), block=st.integers(1, 50))
def test_the_order_is_that_of_brute_force_with_ties_by_id(search, block):
    features, ids, examples, rows, k = search
    expected = []
    for row in set(range(len(features))) - set(rows.tolist()):
        differences = features[row].astype(np.float64) - examples.astype(np.float64)
        squares = [functools.reduce(float.__add__, [x * x for x in d]) for d in differences.tolist()]
        distance, which = min((math.sqrt(s), i) for i, s in enumerate(squares))
        expected.append((distance, ids[row], row, which))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(neighbours, "_BLOCK", block)
        found, distances, nearest = most_similar(features, ids, examples, k, rows)
    answers = zip(distances.tolist(), ids[found], found.tolist(), nearest.tolist(), strict=True)
    assert list(answers) == sorted(expected)[:k]


@settings(max_examples=25, deadline=None)
@given(n=st.integers(2, 40), d=st.integers(1, 6), k=st.integers(1, 10), seed=st.integers(0, 99))
def test_similar_galaxies_are_those_of_scikit_learn_without_the_query(n, d, k, seed):
    features = np.random.default_rng(seed).normal(size=(n, d))
    count = min(k, n - 1)
    expected = NearestNeighbors(n_neighbors=count + 1, algorithm="brute").fit(features).kneighbors(features[:1])
    found, distances, _ = most_similar(features, np.arange(n), features[:1], k, [0])
    np.testing.assert_array_equal(found, expected[1][0, 1:])
    np.testing.assert_allclose(distances, expected[0][0, 1:], atol=1e-7)


def slow(features, ids, examples, neighbours, leave_out):
    """The rule applied to every galaxy: squares added up component after component, in float64."""
    squares = np.zeros((len(examples), len(features)))
    for column in range(features.shape[1]):
        squares += (features[:, column].astype(np.float64) - examples[:, column, None].astype(np.float64)) ** 2
    distances = np.sqrt(squares)
    order = np.lexsort((ids, distances.min(axis=0)))
    rows = order[~np.isin(order, leave_out)][:neighbours]
    return rows, distances.min(axis=0)[rows], distances[:, rows].argmin(axis=0)


@settings(max_examples=200, deadline=None)
@given(
    n=st.integers(200, 900), d=st.integers(1, 40), k=st.integers(1, 12), examples=st.integers(1, 4),
    offset=st.sampled_from([0.0, 1.0, 1e4, 1e8]), scale=st.sampled_from([1e-30, 1e-6, 1.0, 1e6, 1e25]),
    spread=st.sampled_from(["normal", "lattice", "outlier", "equal"]), dtype=st.sampled_from([np.float32, np.float64]),
    seed=st.integers(0, 99),
)  # fmt: skip
def test_what_float32_leaves_out_is_no_answer(n, d, k, examples, offset, scale, spread, dtype, seed):
    rng = np.random.default_rng(seed)
    features = rng.normal(size=(n, d))
    if spread == "lattice":
        features = np.rint(features)
    elif spread == "outlier":
        features[::50] *= 1e5
    elif spread == "equal":
        features[:] = features[0]
    features = (scale * (features + offset)).astype(dtype)
    ids = np.array([f"g{i}" for i in rng.permutation(n)], dtype=object)
    leave_out = rng.choice(n, examples - 1, replace=False)
    asked = np.vstack([features[leave_out], features[:1] + dtype(scale) * rng.normal(size=(1, d)).astype(dtype)])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(neighbours, "_GROUPS", 4)
        found = SimilaritySearch(features, ids).most_similar(asked, k, leave_out)
    for ours, expected in zip(found, slow(features, ids, asked, k, leave_out), strict=True):
        assert ours.tolist() == expected.tolist()


def test_few_galaxies_are_left_to_the_exact_rule_and_a_missing_value_hides_none():
    features = np.random.default_rng(0).normal(size=(50_000, 29)).astype(np.float32)
    search = SimilaritySearch(features, np.arange(50_000))
    assert all(len(search._candidates(features[row].astype(np.float64), 9)) < 200 for row in range(20))
    broken = features.copy()
    broken[7, 3] = np.nan
    found, *_ = SimilaritySearch(broken, np.arange(50_000)).most_similar(features[:1], 8, [0])
    assert found.tolist() == search.most_similar(features[:1], 8, [0])[0].tolist()


def test_of_several_examples_the_nearest_counts():
    features = np.array([[0.0], [10.0], [1.0], [5.0], [9.5]])
    found, distances, nearest = most_similar(features, np.array(list("abcde")), features[:2], 8, [0, 1])
    assert (found.tolist(), distances.tolist(), nearest.tolist()) == ([4, 2, 3], [0.5, 1.0, 5.0], [1, 0, 0])


@pytest.mark.parametrize("examples, k", [(np.zeros((1, 3)), 8), (np.zeros((0, 2)), 8), (np.zeros((1, 2)), 0)])
def test_a_search_that_makes_no_sense_is_an_error(examples, k):
    with pytest.raises(ValueError, match="at least one neighbour"):
        most_similar(np.zeros((5, 2)), np.arange(5), examples, k)


def test_equal_representations_differ_by_chance_as_much_as_it_says():
    # two representations of the same worth, each with noise of its own: nineteen differences of twenty lie within
    rng, within = np.random.default_rng(8), []
    labels = np.repeat(["a", "b"], 60)
    for _ in range(60):
        both = [
            knn_accuracies(rng.normal(size=(120, 2)) + 1.5 * (labels == "b")[:, None], labels, **SETTINGS)
            for _ in range(2)
        ]
        within.append(abs(both[0].mean() - both[1].mean()) <= difference_by_chance(*both, test_fraction=0.25))
    assert 0.85 < np.mean(within) <= 1


def test_what_differs_alike_on_every_split_differs_by_no_chance():
    accuracies = np.array([0.8, 0.9, 0.7])
    assert difference_by_chance(accuracies + 0.05, accuracies, test_fraction=0.25) == pytest.approx(0, abs=1e-9)
    assert math.isnan(difference_by_chance(accuracies[:1], accuracies[:1], test_fraction=0.25))
    # variance 0.01, three splits, a third as many tested as trained on
    assert difference_by_chance(np.array([0.1, 0, -0.1]), np.zeros(3), test_fraction=0.25) == pytest.approx(
        2 * (0.01 * 2 / 3) ** 0.5
    )
