"""What the scores given say of any galaxy: the Gaussian process behind the ranking, kept as a table (paper 7.1).

Belongs here: fitting it to what stands of people's and the oracle's scores, and scoring a delivery by it. Does not
belong here: the process itself (`gaussian_process`), choosing what to ask (`active_learning`).
"""

from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from galaxy_assets.science import gaussian_process
from galaxy_assets.science.active_learning import best_first, unsupervised_score
from galaxy_assets.science.gaussian_process import GaussianProcess, Learner

_REFERENCE = 10_000  # galaxies of which an isolation forest is grown; each of its trees sees 256


@dataclass(frozen=True)
class AnomalyModel:
    """Scores galaxies by the process, or, while no score tells galaxies apart, by an isolation forest grown of the
    `reference` (M, D) float32 under `seed`. `labelled_ids` are the galaxies that the process was conditioned on."""

    process: GaussianProcess | None
    labelled_ids: tuple[str, ...]
    reference: np.ndarray
    seed: int

    def score(self, features: np.ndarray) -> tuple[np.ndarray, np.ndarray | None]:
        """Score (N,) float64 of features (N, D), larger is more interesting, and its standard deviation (N,), None
        where an isolation forest speaks."""
        if not len(features):
            return np.empty(0), None
        if self.process is None:
            return unsupervised_score(features, self.seed, self.reference), None
        return self.process.predict(features)


def fit(
    features: np.ndarray, ids: np.ndarray, said: pa.Table, std: np.ndarray, learner: Learner, seed: int
) -> AnomalyModel:
    """The model of a survey's features (N, D) of galaxies `ids` (N,), and of what is `said` of them (`STANDING`).

    `std` (D,) is the standard deviation of each component. The corrected learner needs scores that differ; without,
    and without any score, it is the isolation forest.
    """
    row = {galaxy: i for i, galaxy in enumerate(ids)}
    scored = [s for s in said.to_pylist() if s["score"] is not None and s["galaxy_id"] in row]
    labelled = tuple(s["galaxy_id"] for s in scored)
    scores = np.array([s["score"] for s in scored], float)
    if len(scores) and not (learner == "corrected" and np.ptp(scores) == 0):
        process = gaussian_process.fit(features[[row[galaxy] for galaxy in labelled]], scores, std, learner)
        return AnomalyModel(process, labelled, np.empty((0, features.shape[1]), np.float32), seed)
    sample = np.arange(len(features))
    if len(features) > _REFERENCE:
        sample = np.sort(np.random.default_rng(seed).choice(len(features), _REFERENCE, replace=False))
    return AnomalyModel(None, labelled, features[sample].astype(np.float32), seed)


def scores_to_table(galaxies: pa.Table, score: np.ndarray, std: np.ndarray | None) -> pa.Table:
    """`anomaly_scores`: galaxy_id, batch, score, score_std."""
    table = galaxies.select(["galaxy_id", "batch"]).append_column("score", pa.array(score))
    return table.append_column("score_std", pa.nulls(len(score), pa.float64()) if std is None else pa.array(std))


def ranked(scores: pa.Table, said: pa.Table, learner: Learner) -> pa.Table:
    """`anomaly_ranking` from the predicted scores of all galaxies (`anomaly_scores`) and what is said of them.

    The corrected learner keeps a score given in place of the predicted one: what a person said outranks a prediction
    (Walmsley et al. 2022).
    """
    ids = scores["galaxy_id"].to_numpy(zero_copy_only=False)
    holds = {s["galaxy_id"]: s for s in said.to_pylist() if s["score"] is not None}
    own = [holds.get(galaxy) for galaxy in ids]
    score = scores["score"].to_numpy()
    if learner == "corrected":
        given = [(row, s["score"]) for row, s in enumerate(own) if s is not None]
        score = score.copy()
        score[[row for row, _ in given]] = [value for _, value in given]
    order = best_first(score, ids)
    rank = np.empty(len(ids), np.int64)
    rank[order] = np.arange(1, len(ids) + 1)
    table = scores.set_column(scores.column_names.index("score"), "score", pa.array(score))
    table = table.append_column("rank", pa.array(rank))
    table = table.append_column("queried_round", pa.array([s and s["round"] for s in own], pa.int32()))
    table = table.append_column("scored_by", pa.array([s and s["by"] for s in own], pa.string()))
    return table.take(order)


SCHEMA = [
    ("role", pa.string()),
    ("galaxy_id", pa.string()),
    ("score", pa.float64()),
    ("amplitude", pa.float64()),
    ("length_scale", pa.float64()),
    ("noise", pa.float64()),
    ("kernel", pa.string()),
]


def model_to_table(model: AnomalyModel) -> pa.Table:
    """A row `scale` with the kernel, a row per `labelled` galaxy with its score, or the rows of the `reference`; the
    features are in `vector`, float64 as the process needs them."""
    process = model.process
    if process is None:
        n = len(model.reference)
        table = pa.table({"role": ["reference"] * n}).cast(pa.schema(SCHEMA[:1]))
        for name, kind in SCHEMA[1:]:
            table = table.append_column(name, pa.nulls(n, kind))
        vectors = model.reference
    else:
        kernel = {n: getattr(process, n) for n in ("amplitude", "length_scale", "noise", "kernel")}
        scores = process.scores.tolist()
        rows = [{"role": "scale", **kernel}]
        rows += [
            {"role": "labelled", "galaxy_id": g, "score": s} for g, s in zip(model.labelled_ids, scores, strict=True)
        ]
        table = pa.Table.from_pylist(rows, schema=pa.schema(SCHEMA))
        vectors = np.vstack([process.scale[None], process.labelled])
    flat = pa.array(np.ascontiguousarray(vectors, np.float64).reshape(-1))
    return table.append_column("vector", pa.FixedSizeListArray.from_arrays(flat, vectors.shape[1]))


def table_to_model(table: pa.Table, seed: int) -> AnomalyModel:
    """The model that the rows of `anomaly_model` hold."""
    vectors = table["vector"].combine_chunks()
    features = vectors.flatten().to_numpy(zero_copy_only=False).reshape(-1, vectors.type.list_size)
    role = table["role"].to_numpy(zero_copy_only=False)
    if "scale" not in role:
        return AnomalyModel(None, (), features.astype(np.float32), seed)
    first, labelled = table.slice(0, 1).to_pylist()[0], role == "labelled"
    kernel = {name: first[name] for name in ("amplitude", "length_scale", "noise", "kernel")}
    scores = table["score"].to_numpy()[labelled]
    process = GaussianProcess(scale=features[0], labelled=features[labelled], scores=scores, at_bounds=(), **kernel)
    ids = tuple(table.filter(pa.array(labelled))["galaxy_id"].to_pylist())
    return AnomalyModel(process, ids, np.empty((0, features.shape[1]), np.float32), seed)
