"""Criteria of a representation that need no labels, as they were published, and how well each would have chosen.

The platform chooses by three criteria of its own (`science.trials`); these stand beside them in docs/representation.md.
"""

import itertools
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from scipy.stats import spearmanr
from sklearn.cluster import KMeans
from sklearn.metrics import adjusted_mutual_info_score

from galaxy_assets.science import pca
from galaxy_assets.science.trials import Features, scores

NEIGHBOURS = 10
CLUSTERS = (5, 10, 20)
RISING = {
    "stability": 1,
    "nuisance_share": -1,
    "fill": 1,
    "effective_rank": 1,
    "alignment": -1,
    "uniformity": -1,
    "alpha": 1,
    "lidar": 1,
    "self_retrieval": 1,
    "cluster_agreement": 1,
    "view_share": 1,
    "pseudo_labels": 1,
    "shared_neighbours": 1,
}
"""Criterion -> whether more of it is taken for better (1) or for worse (-1)."""


def published(features: Features) -> dict[str, float]:
    """Criteria of one candidate by its features and those of two views.

    - alpha: slope of the spectrum's power law between components 5 and 100 (alpha-ReQ, Agrawal et al. 2022);
    - lidar: effective rank of the between-image scatter whitened by that within (LiDAR, Thilak et al. 2024);
    - self_retrieval: share of images whose view is nearest to their own other view, by the cosine;
    - cluster_agreement: adjusted mutual information of k-means on one view and its prediction on the other;
    - view_share: variance between images over that between views of one.
    """
    plain, one, two = (part.astype(np.float64) for part in features)
    spectrum = np.linalg.svd(plain - plain.mean(0), compute_uv=False) ** 2
    ranks = np.arange(5, min(100, len(spectrum) - 1))
    alpha = -np.polyfit(np.log(ranks + 1), np.log(spectrum[ranks] + 1e-12), 1)[0]
    centre = (one.mean(0) + two.mean(0)) / 2
    first, second = (part - centre for part in (one, two))
    cosine = _unit(first) @ _unit(second).T
    middle, within = (one + two) / 2, ((one - two) ** 2).sum() / 4
    return {
        "alpha": float(alpha),
        "lidar": _lidar(np.stack([plain, one, two], axis=1)),
        "self_retrieval": float((cosine.argmax(1) == np.arange(len(cosine))).mean()),
        "cluster_agreement": _cluster_agreement(one, two),
        "view_share": float(((middle - middle.mean(0)) ** 2).sum() / within),
    }


def _unit(features: np.ndarray) -> np.ndarray:
    return features / np.maximum(np.linalg.norm(features, axis=1, keepdims=True), 1e-9)


def _lidar(views: np.ndarray) -> float:
    """Of (N, views, D) features, in the first 64 components of the images' means."""
    means = views.mean(1)
    centred = means - means.mean(0)
    size = min(64, *centred.shape)
    basis = np.linalg.svd(centred, full_matrices=False)[2][:size].T
    between, apart = np.cov((centred @ basis).T), (views - means[:, None]) @ basis
    within = np.einsum("nvi,nvj->ij", apart, apart) / (len(views) * (views.shape[1] - 1))
    values, vectors = np.linalg.eigh(within + 1e-4 * np.eye(size) * np.trace(between) / size)
    white = vectors / np.sqrt(values) @ vectors.T
    share = np.linalg.eigvalsh(white @ between @ white).clip(1e-12)
    share /= share.sum()
    return float(np.exp(-(share * np.log(share)).sum()))


def _components(features: np.ndarray) -> np.ndarray:
    features = features.astype(np.float32)
    return pca.fit(features, 0.95).transform(features)


def _cluster_agreement(one: np.ndarray, two: np.ndarray) -> float:
    first, second = np.split(_components(np.concatenate([one, two])), 2)
    fits = [KMeans(k, n_init=3, random_state=0).fit(first) for k in CLUSTERS]
    return float(np.mean([adjusted_mutual_info_score(fit.labels_, fit.predict(second)) for fit in fits]))


def among_candidates(plain: Sequence[np.ndarray]) -> list[dict[str, float]]:
    """Criteria that compare the candidates of one survey with one another, by their features of the same images.

    - pseudo_labels: how well five neighbours in a candidate predict the clusters of the others, adjusted mutual
      information;
    - shared_neighbours: share of ten nearest neighbours that a candidate has in common with the others.
    """
    near = [_nearest(features) for features in plain]
    clusters = [
        [KMeans(k, n_init=3, random_state=0).fit_predict(_components(features)) for k in CLUSTERS] for features in plain
    ]

    def predicted(own: int, label: np.ndarray) -> float:
        votes = np.array([np.bincount(label[row]).argmax() for row in near[own][:, :5]])
        return float(adjusted_mutual_info_score(label, votes))

    found = []
    for own in range(len(plain)):
        others = [other for other in range(len(plain)) if other != own]
        found.append(
            {
                "pseudo_labels": float(np.mean([predicted(own, label) for o in others for label in clusters[o]])),
                "shared_neighbours": float(np.mean([_overlap(near[own], near[o]) for o in others])),
            }
        )
    return found


def _nearest(features: np.ndarray) -> np.ndarray:
    from sklearn.neighbors import NearestNeighbors

    model = NearestNeighbors(n_neighbors=NEIGHBOURS + 1).fit(features)
    return model.kneighbors(features, return_distance=False)[:, 1:]


def _overlap(a: np.ndarray, b: np.ndarray) -> float:
    return float(np.mean([len(set(x) & set(y)) for x, y in zip(a.tolist(), b.tolist(), strict=True)]) / a.shape[1])


Rows = Mapping[str, Sequence[Mapping[str, Any]]]
"""Survey -> rows of its candidates, with every criterion and `accuracy`."""


def regrets(rows: Rows, score: Mapping[str, np.ndarray]) -> list[float]:
    """Points of k-NN accuracy that the candidate of the highest score lies below the best, of each survey."""
    found = []
    for name, candidates in rows.items():
        accuracy = np.array([row["accuracy"] for row in candidates])
        found.append(float(100 * (accuracy.max() - accuracy[int(np.argmax(score[name]))])))
    return found


def one_criterion(rows: Rows, name: str) -> dict[str, np.ndarray]:
    """The values of one criterion, the better the higher."""
    return {survey: RISING[name] * np.array([row[name] for row in found]) for survey, found in rows.items()}


def correlations(rows: Rows, score: Mapping[str, np.ndarray]) -> list[float]:
    """Spearman's rank correlation of a score with the accuracy, of each survey."""
    return [float(spearmanr(score[name], [row["accuracy"] for row in found])[0]) for name, found in rows.items()]


def as_shipped(rows: Rows) -> dict[str, np.ndarray]:
    """The score that the platform chooses by."""
    return {name: scores(found) for name, found in rows.items()}


def left_out(rows: Rows, most: int = 3) -> list[tuple[str, tuple[str, ...], float]]:
    """Of each survey: the sum of up to `most` standardised criteria with the least mean regret on the other surveys,
    and its regret on this one.
    """
    families = [c for k in range(1, most + 1) for c in itertools.combinations(RISING, k)]
    single = {name: one_criterion(rows, name) for name in RISING}
    standard = {
        name: {survey: (v - v.mean()) / (v.std() or 1) for survey, v in values.items()}
        for name, values in single.items()
    }
    found = {
        family: regrets(rows, {survey: np.sum([standard[c][survey] for c in family], axis=0) for survey in rows})
        for family in families
    }
    chosen = []
    for i, survey in enumerate(rows):
        best = min(families, key=lambda family: (np.mean(np.delete(found[family], i)), len(family)))
        chosen.append((survey, best, found[best][i]))
    return chosen
