"""What the scores given say of any galaxy: the model behind the ranking, kept as a table (paper 7.1).

Belongs here: fitting it to the scores of people and the oracle that hold, and scoring a delivery by it. Does not belong
here: how a learner predicts (`learners`, `gaussian_process`), choosing what to ask (`active_learning`).
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import pyarrow as pa

from galaxy_assets.plugins.protocols import ScoreModel
from galaxy_assets.science.active_learning import best_first, find_learner, predict, trees_of
from galaxy_assets.science.galaxy_ids import Ids, as_arrow, places
from galaxy_assets.science.labels import ORACLE
from galaxy_assets.science.outliers import unsupervised_score
from galaxy_assets.science.samples import drawn, keys, smallest
from galaxy_assets.settings.discovery import MOST_SCORES

_FLAT = 1e-6  # of a score: predictions that differ by less differ by rounding
_REFERENCE = 10_000  # galaxies of which an isolation forest is grown; each of its trees sees 256


@dataclass(frozen=True)
class AnomalyModel:
    """What scores galaxies: the learner's predictor, or an isolation forest where scores tell no galaxies apart.

    Attributes
    ----------
    learner : str
        Name of the learner.
    predictor : ScoreModel or None
        None where the isolation forest is used.
    labelled_ids : tuple of str, length L
        Galaxies whose scores are learnt from; where an isolation forest is used, those that have a score.
    labelled : ndarray of shape (L, D), float64
        Features the predictor was fitted to; empty without a predictor.
    scores : ndarray of shape (L,), float64
        Their scores; empty without a predictor.
    reference : ndarray of shape (M, D), float32
        Features the isolation forest is grown of.
    seed : int
        Of the isolation forest.
    """

    learner: str
    predictor: ScoreModel | None
    labelled_ids: tuple[str, ...]
    labelled: np.ndarray
    scores: np.ndarray
    reference: np.ndarray
    seed: int

    def score(self, features: np.ndarray) -> tuple[np.ndarray, np.ndarray | None]:
        """Score galaxies.

        Parameters
        ----------
        features : ndarray of shape (N, D)
            Principal components, unscaled.

        Returns
        -------
        score : ndarray of shape (N,), float64
            Larger is more interesting.
        std : ndarray of shape (N,) or None
            Standard deviation of the score; None from an isolation forest.
        """
        if not len(features):
            return np.empty(0), None
        if self.predictor is None:
            forest = unsupervised_score(features, self.seed, self.reference, trees_of(find_learner(self.learner)))
            return forest, None
        return predict(self.predictor, features, self.learner)


def fit(
    features: np.ndarray, ids: Ids | np.ndarray, said: pa.Table, std: np.ndarray, learner: str, seed: int
) -> AnomalyModel:
    """Fit the model to a survey's features and the scores given to its galaxies.

    Without any score, and where those given tell no galaxies apart, it is the isolation forest: the learner cannot fit
    them (ours but `published` need scores that differ), or what it fits predicts the same of every galaxy. Of more than
    5,000 scores (`settings.discovery.MOST_SCORES`) a sample is learnt from, which the ids and the seed decide.

    Parameters
    ----------
    features : ndarray of shape (N, D)
        Principal components.
    ids : Ids or ndarray of shape (N,), str
        Names of the galaxies.
    said : pyarrow.Table
        The labels that hold (`labels.STANDING`); rows without a score and unknown galaxies do no harm.
    std : ndarray of shape (D,), float64
        Standard deviation of each component.
    learner : str
        Name of a learner, such as `corrected`.
    seed : int
        Of the isolation forest and of the sample.

    Returns
    -------
    model : AnomalyModel

    Examples
    --------
    >>> import numpy as np
    >>> import pyarrow as pa
    >>> from galaxy_assets.science.anomaly_model import fit
    >>> features, ids = np.array([[0.0], [1.0], [8.0], [9.0]]), np.array(["a", "b", "c", "d"])
    >>> said = pa.table({"galaxy_id": ["a", "d"], "score": [0.0, 5.0]})
    >>> model = fit(features, ids, said, features.std(axis=0), "corrected", seed=0)
    >>> score, std = model.score(features)
    >>> [str(galaxy) for galaxy in ids[np.argsort(-score)]]
    ['d', 'c', 'b', 'a']
    """
    said, rows = scored_among(said, ids)
    if (learnt := drawn(said["galaxy_id"], MOST_SCORES, seed)) is not None:
        learnt = np.sort(learnt)
        said, rows = said.take(pa.array(learnt)), rows[learnt]
    names, scores = tuple(said["galaxy_id"].to_pylist()), np.array(said["score"].to_pylist(), float)
    nothing, known = np.empty((0, features.shape[1])), find_learner(learner)
    sample = np.arange(len(features))
    if len(features) > _REFERENCE:
        sample = smallest(keys(as_arrow(ids), seed), _REFERENCE)  # the same in whatever order deliveries came
    reference = features[sample].astype(np.float32)
    if len(scores) and known.can_fit(scores):
        labelled = features[rows].astype(np.float64)
        predictor = known.fit(labelled, scores, std)
        predicted, _ = predict(predictor, np.concatenate([labelled, reference]), learner)
        if np.ptp(predicted) >= _FLAT:
            return AnomalyModel(learner, predictor, names, labelled, scores, nothing.astype(np.float32), seed)
    return AnomalyModel(learner, None, names, nothing, np.empty(0), reference, seed)


def scored_among(said: pa.Table, ids: Ids | np.ndarray) -> tuple[pa.Table, np.ndarray]:
    """What stands of galaxies that have a score and are among these.

    Parameters
    ----------
    said : pyarrow.Table
        The labels that hold (`labels.STANDING`).
    ids : Ids or ndarray of shape (N,), str

    Returns
    -------
    said : pyarrow.Table
        M of its rows.
    rows : ndarray of shape (M,), int64
        Where each of them is among `ids`.
    """
    said = said.filter(said["score"].is_valid())
    rows = places(as_arrow(ids), said["galaxy_id"])
    return said.filter(pa.array(rows >= 0)), rows[rows >= 0]


def scores_to_table(galaxies: pa.Table, score: np.ndarray, std: np.ndarray | None) -> pa.Table:
    """Make the table `anomaly_scores`.

    Parameters
    ----------
    galaxies : pyarrow.Table
        N rows with galaxy_id and batch.
    score : ndarray of shape (N,)
    std : ndarray of shape (N,) or None

    Returns
    -------
    pyarrow.Table
        galaxy_id, batch, score, score_std.
    """
    table = galaxies.select(["galaxy_id", "batch"]).append_column("score", pa.array(score))
    return table.append_column("score_std", pa.nulls(len(score), pa.float64()) if std is None else pa.array(std))


def ranked(scores: pa.Table, said: pa.Table, learner: str) -> pa.Table:
    """`anomaly_ranking` from the predicted scores of all galaxies and what is said of them.

    The corrected learner keeps a score given in place of the predicted one, and so does any whose `keeps_scores_given`
    is true: what a person said outranks a prediction (Walmsley et al. 2022). Where an isolation forest speaks, the
    scores given are equal, so galaxies that have one are in the order of the forest.

    Parameters
    ----------
    scores : pyarrow.Table
        `anomaly_scores`: galaxy_id, batch, score, score_std.
    said : pyarrow.Table
        The labels that hold (`labels.STANDING`).
    learner : str
        Name of a learner.

    Returns
    -------
    table : pyarrow.Table
        The scores by falling score, with rank, queried_round and scored_by.

    Examples
    --------
    >>> import pyarrow as pa
    >>> from galaxy_assets.science.anomaly_model import ranked
    >>> scores = pa.table({"galaxy_id": ["a", "b"], "score": [1.0, 2.0], "score_std": [0.1, 0.1]})
    >>> said = pa.table({"galaxy_id": ["a"], "score": [5.0], "n_people": [1], "round": pa.nulls(1, pa.int32())})
    >>> ranked(scores, said, "corrected").select(["galaxy_id", "score", "rank"]).to_pylist()
    [{'galaxy_id': 'a', 'score': 5.0, 'rank': 1}, {'galaxy_id': 'b', 'score': 2.0, 'rank': 2}]
    >>> ranked(scores, said, "published")["galaxy_id"].to_pylist()
    ['b', 'a']
    """
    import pyarrow.compute as pc

    ids = Ids(scores["galaxy_id"])
    said, own = scored_among(said, ids)
    predicted = score = scores["score"].to_numpy()
    if find_learner(learner).keeps_scores_given:
        score = score.copy()
        score[own] = said["score"].to_numpy()
    order = best_first(score, ids)
    if scores["score_std"].null_count == len(ids):
        order = best_first(predicted, ids)
        order = order[np.argsort(-score[order], kind="stable")]
    rank = np.empty(len(ids), np.int64)
    rank[order] = np.arange(1, len(ids) + 1)
    which = np.full(len(ids), -1)
    which[own] = np.arange(len(own))
    given = pa.array(which, mask=which < 0)
    table = scores.set_column(scores.column_names.index("score"), "score", pa.array(score))
    table = table.append_column("rank", pa.array(rank))
    table = table.append_column("queried_round", said["round"].cast(pa.int32()).combine_chunks().take(given))
    # a class that a person gave makes the oracle's score nobody else's
    by = pc.if_else(pc.greater(said["n_people"], 0), "people", ORACLE)
    table = table.append_column("scored_by", by.cast(pa.string()).combine_chunks().take(given))
    return table.take(order)


def model_to_table(model: AnomalyModel) -> pa.Table:
    """Make the table `anomaly_model`.

    Parameters
    ----------
    model : AnomalyModel

    Returns
    -------
    pyarrow.Table
        role, galaxy_id, score, the columns of the learner, vector (D float64). A model that predicts has the rows of
        its learner (a Gaussian process has one, `scale`, with the kernel) and a row per `labelled` galaxy with its
        score and features. An isolation forest has the rows of its `reference`.
    """
    if model.predictor is None:
        parts = [_rows("reference", model.reference)]
    else:
        labelled = _rows("labelled", model.labelled)
        labelled = labelled.append_column("galaxy_id", pa.array(model.labelled_ids, pa.string()))
        parts = [model.predictor.to_table(), labelled.append_column("score", pa.array(model.scores))]
    schema = _schema(model.learner, model.labelled.shape[1])
    table = pa.concat_tables([schema.empty_table(), *parts], promote_options="default")
    return table.select(schema.names).combine_chunks()


def table_to_model(table: pa.Table, learner: str, seed: int) -> AnomalyModel:
    """Read the model from the rows of `anomaly_model`.

    Parameters
    ----------
    table : pyarrow.Table
        As `model_to_table` makes it.
    learner : str
        Name of the survey's learner.
    seed : int
        Of the isolation forest.

    Returns
    -------
    AnomalyModel

    Raises
    ------
    ValueError
        Where the table has other columns than the learner keeps.
    """
    size = table.schema.field("vector").type.list_size
    expected = _schema(learner, size).names
    if table.column_names != expected:
        raise ValueError(
            f"anomaly_model has the columns {', '.join(table.column_names)}, and the learner {learner!r} keeps "
            f"{', '.join(expected)}: another learner made it; materialise anomaly_model again"
        )
    role = table["role"].to_numpy(zero_copy_only=False)
    given, reference = (table.filter(pa.array(role == part)) for part in ("labelled", "reference"))
    nothing = np.empty((0, size))
    if not given.num_rows:
        return AnomalyModel(learner, None, (), nothing, np.empty(0), _vectors(reference).astype(np.float32), seed)
    labelled, scores = _vectors(given), given["score"].to_numpy()
    own = table.filter(pa.array(~np.isin(role, ["labelled", "reference"]))).drop_columns(["galaxy_id", "score"])
    predictor = find_learner(learner).table_to_model(own, labelled, scores)
    ids = tuple(given["galaxy_id"].to_pylist())
    return AnomalyModel(learner, predictor, ids, labelled, scores, nothing.astype(np.float32), seed)


class Ranks(NamedTuple):
    """What the galaxies are ranked by.

    Attributes
    ----------
    by_forest : bool
        Whether an isolation forest speaks.
    words : str
        What the number of each galaxy is.
    """

    by_forest: bool
    words: str


def what_ranks(table: pa.Table, scored: int) -> Ranks:
    """What the number of the ranking is, in words.

    Parameters
    ----------
    table : pyarrow.Table
        `anomaly_model`.
    scored : int
        Galaxies that have a score.

    Returns
    -------
    Ranks

    Examples
    --------
    >>> import pyarrow as pa
    >>> from galaxy_assets.science.anomaly_model import what_ranks
    >>> what_ranks(pa.table({"role": ["scale", "labelled", "labelled"]}), 2).words
    'the score, 0 to 5, that active learning predicts from 2 scores given'
    >>> what_ranks(pa.table({"role": ["reference"]}), 0).words
    'how isolated a galaxy is by an isolation forest, since no score was given'
    """
    if learnt := table["role"].to_pylist().count("labelled"):
        return Ranks(False, f"the score, 0 to 5, that active learning predicts from {learnt:,} scores given")
    why = f"the {scored:,} scores given tell no galaxies apart" if scored else "no score was given"
    return Ranks(True, f"how isolated a galaxy is by an isolation forest, since {why}")


def _schema(learner: str, size: int) -> pa.Schema:
    first = [("role", pa.string()), ("galaxy_id", pa.string()), ("score", pa.float64())]
    own = find_learner(learner).columns
    return pa.schema(
        [*map(pa.field, *zip(*first, strict=True)), *own, pa.field("vector", pa.list_(pa.float64(), size))]
    )


def _rows(role: str, vectors: np.ndarray) -> pa.Table:
    """Rows of one role and their vectors (N, D)."""
    flat = pa.array(np.ascontiguousarray(vectors, np.float64).reshape(-1))
    return pa.table(
        {
            "role": pa.array([role] * len(vectors), pa.string()),
            "vector": pa.FixedSizeListArray.from_arrays(flat, vectors.shape[1]),
        }
    )


def _vectors(table: pa.Table) -> np.ndarray:
    """Column `vector`, (N, D) float64."""
    column = table["vector"].combine_chunks()
    return column.flatten().to_numpy(zero_copy_only=False).reshape(-1, column.type.list_size)
