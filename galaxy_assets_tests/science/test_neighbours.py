"""Accuracy of neighbours and the similarity search, against brute force."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.model_selection import train_test_split
from sklearn.neighbors import KNeighborsClassifier, NearestNeighbors

from galaxy_assets.science import neighbours
from galaxy_assets.science.neighbours import knn_accuracies, most_similar

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


@settings(max_examples=25, deadline=None)
@given(n=st.integers(2, 40), d=st.integers(1, 6), k=st.integers(1, 10), seed=st.integers(0, 99))
def test_similar_galaxies_are_those_of_scikit_learn_without_the_query(n, d, k, seed):
    features = np.random.default_rng(seed).normal(size=(n, d))
    queries = np.arange(min(n, 3))
    indices, distances = most_similar(features, queries, k)
    count = min(k, n - 1)
    expected = NearestNeighbors(n_neighbors=count + 1).fit(features).kneighbors(features[queries])
    assert indices.shape == distances.shape == (len(queries), count)
    np.testing.assert_array_equal(indices, expected[1][:, 1:])
    np.testing.assert_allclose(distances, expected[0][:, 1:], atol=1e-9)
