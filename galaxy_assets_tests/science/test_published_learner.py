"""The search by `published` beside the algorithm as it is published, every query of twenty rounds.

The other side is written here from the paper (7.1) and from what its tools are published to do: ten galaxies equally
spaced along the first component, scikit-learn's Gaussian process with Matern(1.5) + white noise fitted to the scores in
the order of the table, and modAL's expected improvement. Neither side rounds or filters what the other does.
"""

import functools
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from scipy.stats import norm
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import Matern, WhiteKernel

from galaxy_assets.deliveries.readers import open_reader
from galaxy_assets.science import active_learning, anomaly_model, pca
from galaxy_assets.science.cutouts import cut
from galaxy_assets.settings.files import survey_files
from galaxy_assets.storage.pixels import resize

TRADE_OFF = 0.5


def seeds(features: np.ndarray) -> np.ndarray:
    """Ten rows along the first component, both ends among them."""
    return features[:, 0].argsort(kind="stable")[np.linspace(0, len(features) - 1, 10).astype(int)]


def predicted(
    features: np.ndarray, rows: np.ndarray, scores: np.ndarray, kernel: Any = None
) -> tuple[np.ndarray, np.ndarray, Any]:
    """Mean and expected improvement of every galaxy, and the fitted kernel; a kernel that is given is not fitted."""
    if kernel is None:
        process = GaussianProcessRegressor(Matern(nu=1.5) + WhiteKernel())
    else:
        process = GaussianProcessRegressor(kernel, optimizer=None)  # pyright: ignore[reportArgumentType]
    process.fit(features[rows], scores)
    mean, std = (np.asarray(a, float) for a in process.predict(features, return_std=True))
    better = mean - scores.max() - TRADE_OFF
    return mean, better * norm.cdf(better / std) + std * norm.pdf(better / std), process.kernel_


def own_spread(value: np.ndarray, again: np.ndarray) -> float:
    """By how much the published side's values are uncertain: a few times what they change when the same scores are
    given in the reverse order, which changes nothing but the rounding, and at least 200 units in the last place."""
    return max(4 * float(np.abs(value - again).max()), 200 * np.finfo(float).eps * float(value.max()))


def check_order(value: np.ndarray, order: np.ndarray, others: np.ndarray, spread: float) -> bool:
    """Check that `order` is by falling `value`, before all `others`, as far as differences exceed the spread.

    Returns whether they all do, so that there was one right order: otherwise the published order is itself that of
    rounding noise, and galaxies whose values are within the spread may stand in either order.
    """
    assert (np.diff(value[order]) <= spread).all()
    assert value[order].min() >= value[others].max(initial=-np.inf) - spread
    first = np.sort(value[np.concatenate([order, others])])[::-1][: len(order) + 1]
    return bool((np.diff(first) < -spread).all())


@functools.cache
def synthetic() -> tuple[np.ndarray, np.ndarray]:
    """600 galaxies in four dimensions; a tenth lies in a clump of its own and scores 3 to 5, others 0 or 1."""
    rng = np.random.default_rng(0)
    features, strange = rng.normal(size=(600, 4)), np.arange(600) % 10 == 0
    features[strange] = rng.normal(size=(60, 4)) * 0.4 + [0.5, 2.2, 0, 0]
    return features, np.where(strange, rng.integers(3, 6, 600), rng.integers(0, 2, 600))


@functools.cache
def stamps(data: Path, survey: str) -> tuple[list[np.ndarray], list[str]]:
    """Cutouts of every second image of a survey, and their labels."""
    shipped = survey_files(data / "none").known[survey]
    reader = open_reader(shipped.source.model_copy(update={"path": str(data / survey)}), Path())
    (batch,) = reader.batches()
    rows = [row for row in reader.catalogue(batch).to_pylist() if row["problem"] is None][::2]
    drawn = [(cut(reader.image(row["file"]), shipped.cutout).pixels, row["label"]) for row in rows]
    return [image for image, _ in drawn if image is not None], [label for image, label in drawn if image is not None]


@functools.cache
def components(data: Path, survey: str, size: int) -> np.ndarray:
    """Principal components of the stamps by the pretrained network at a size in pixels."""
    torch = pytest.importorskip("torch")
    from galaxy_assets.science.encoders.embedding import embed
    from galaxy_assets.science.encoders.weights import LITE0, build_encoder

    pixels = np.stack([resize(image, size) for image in stamps(data, survey)[0]])
    encoder = build_encoder(LITE0, "imagenet", seed=0, weights=Path())
    features = embed(encoder, pixels, device=torch.device("cpu"))
    return pca.fit(features, 0.95).transform(features)


@pytest.mark.parametrize("scale", [1.0, 0.01, 20.0], ids=["unit scale", "small scale", "far apart"])
def test_every_query_is_the_published_one(scale):
    features, scores = synthetic()  # far apart, improvements differ by less than 1e-9
    assert compared(features * scale, scores) == 19


@pytest.mark.parametrize(
    ("survey", "size", "targets", "told_apart"),
    [
        ("sdss_gz1", 64, ["edge_on"], 8),
        ("sdss_gz1", 64, ["spiral_clockwise"], 8),
        ("sdss_gz1", 128, ["edge_on"], 16),
        ("sdss_gz1", 128, ["spiral_clockwise"], 14),
        ("mirabest", 80, ["200", "201"], 14),
        ("mirabest", 80, ["300", "310"], 8),
    ],
)
def test_every_query_on_real_features_is_the_published_one(real_data, survey, size, targets, told_apart):
    scores = 5 * np.isin(stamps(real_data, survey)[1], targets)
    assert compared(components(real_data, survey, size), scores) >= told_apart


def compared(features: np.ndarray, scores: np.ndarray) -> int:
    """Search both ways, compare the seeds, nineteen queries and the ranking; how many queries have one right order."""
    ids = np.array([f"g{i:05d}" for i in range(len(features))], dtype=object)
    features = features.astype(np.float32)  # as the table of components has them
    queries = active_learning.search(
        features,
        ids,
        lambda rows: scores[rows],
        seeds=10,
        per_round=10,
        budget=200,
        trade_off=TRADE_OFF,
        learner="published",
        seed=0,
    )
    doubles, row, round_ = features.astype(float), *np.array([(q.row, q.round) for q in queries]).T
    assert row[:10].tolist() == seeds(doubles).tolist()
    assert np.bincount(round_).tolist() == [10] * 20
    told_apart = 0
    for this in range(1, 21):
        known = np.sort(row[round_ < this])  # that each query before was the published one is shown by then
        given = scores[known].astype(float)
        mean, gain, kernel = predicted(doubles, known, given)
        mean_again, gain_again, _ = predicted(doubles, known[::-1], given[::-1], kernel)
        if this == 20:
            order = ranking(features, ids, known, given)
            check_order(mean, order[:200], order[200:], own_spread(mean, mean_again))
            continue
        asked = row[round_ == this]
        others = np.setdiff1d(np.arange(len(features)), np.concatenate([known, asked]))
        told_apart += check_order(gain, asked, others, own_spread(gain, gain_again))
        found = np.array([q.acquisition for q in queries if q.round == this], float)
        np.testing.assert_allclose(found, gain[asked], rtol=1e-11)
    return told_apart


def ranking(features: np.ndarray, ids: np.ndarray, rows: np.ndarray, scores: np.ndarray) -> np.ndarray:
    """Rows in the order of the asset `anomaly_ranking` after these scores."""
    said = pa.table({"galaxy_id": ids[rows], "score": scores, "n_people": [0] * len(rows), "round": [0] * len(rows)})
    model = anomaly_model.fit(features, ids, said, features.std(axis=0), "published", 0)
    galaxies = pa.table({"galaxy_id": ids, "batch": ["one"] * len(ids)})
    table = anomaly_model.ranked(anomaly_model.scores_to_table(galaxies, *model.score(features)), said, "published")
    return np.array([int(galaxy[1:]) for galaxy in table["galaxy_id"].to_pylist()])
