"""A sample is the same whatever the order and the deliveries, and what is fitted to it says the same as the whole."""

import numpy as np
import pyarrow as pa
import pytest

from galaxy_assets.science import mixture
from galaxy_assets.science.galaxy_ids import Ids, places_among
from galaxy_assets.science.outliers import outlier_factor, unsupervised_score
from galaxy_assets.science.samples import drawn, keys
from galaxy_assets.settings.structure import Mixture

IDS = pa.array([f"J{i:05d}" for i in range(20_000)])


def test_a_sample_depends_neither_on_the_order_nor_on_the_batches():
    order = np.random.default_rng(0).permutation(len(IDS))
    mixed = pa.chunked_array([IDS.take(pa.array(part)) for part in np.array_split(order, 7)])
    one, other = IDS.take(pa.array(drawn(IDS, 500, 3))), mixed.take(pa.array(drawn(mixed, 500, 3)))
    assert one.to_pylist() == other.to_pylist()
    assert drawn(IDS, len(IDS), 3) is None


def test_keys_look_like_chance_and_are_what_they_were():
    found = keys(IDS, 0)
    assert len(np.unique(found)) == len(IDS)
    counts = np.histogram(found.astype(float), 16, (0, 2.0**64))[0]
    assert ((counts - len(IDS) / 16) ** 2 / (len(IDS) / 16)).sum() < 38, "chi squared of 15 degrees, one in a thousand"
    shared = np.isin(drawn(IDS, 2000, 0), drawn(IDS, 2000, 1)).sum()
    assert 150 < shared < 250, "another seed draws a tenth of the same of one in ten"
    # written down: a sample must not change with a release of numpy or Arrow
    assert keys(pa.array(["", "J00001", "é"]), 7).tolist() == KEPT
    assert (keys(pa.array(["x", "", "é"])[1:], 7) == keys(pa.array(["", "é"], pa.large_string()), 7)).all()


KEPT = [0, 16249127286752122733, 12257491004123347973]


def test_few_of_many_ids_are_taken_as_an_array_takes_them():
    ids = Ids(pa.chunked_array([["b", "a"], ["c"]]))
    assert (len(ids), ids[2], ids[np.int64(0)]) == (3, "c", "b")
    assert ids[np.array([2, 1])].tolist() == ["c", "a"] and ids[np.array([], int)].tolist() == []
    assert places_among(ids.arrow, pa.array(["c", "d", "b"])).tolist() == [2, -1, 0]
    assert places_among(pa.array([], pa.string()), pa.array(["c"])).tolist() == [-1]


@pytest.fixture(scope="module")
def clusters():
    rng = np.random.default_rng(0)
    of = np.arange(100_000) % 5
    return (rng.normal(0, 6, (5, 4))[of] + rng.standard_t(5, (len(of), 4))).astype(np.float32)


def test_the_mixture_of_a_sample_labels_as_that_of_all(clusters):
    from sklearn.metrics import adjusted_rand_score

    settings = Mixture(components=5, n_init=3)
    rows = drawn(pa.array([f"J{i:06d}" for i in range(len(clusters))]), 20_000, 0)
    models = [mixture.fit(of, settings) for of in (clusters, clusters[rows])]
    assert adjusted_rand_score(*(model.probabilities(clusters).argmax(axis=1) for model in models)) > 0.97


def test_how_strange_a_galaxy_is_hardly_hangs_on_the_sample(clusters):
    from scipy.stats import spearmanr

    few = clusters[:6000]
    rows = drawn(IDS[:6000], 2000, 0)
    forests = unsupervised_score(few, 0, trees=300), unsupervised_score(few, 0, few[rows], trees=300)
    assert spearmanr(*forests).statistic > 0.97
    factors = outlier_factor(few), outlier_factor(few, rows)
    assert spearmanr(*factors).statistic > 0.75
    strangest = np.argsort(-factors[0])[:60]
    assert np.isin(strangest, np.argsort(-factors[1])[:300]).mean() > 0.9
