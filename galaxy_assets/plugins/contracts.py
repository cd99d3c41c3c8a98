"""What each kind of plug-in promises, as tests that its author can import and run.

    from galaxy_assets.plugins.contracts import check_learner

    def test_my_learner():
        check_learner("my_learner")

Belongs here: one function per kind, which raises AssertionError with what is broken. Does not belong here: the promises
in words (`protocols`), and tests of what a plug-in is good for.
"""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from galaxy_assets import plugins

if TYPE_CHECKING:
    from galaxy_assets.plugins.protocols import Learner, ScoreModel


def check_learner(name: str) -> None:
    """Test the learner of the anomaly search that is registered under a name, on small made-up features.

    Parameters
    ----------
    name : str
        As in `[project.entry-points."galaxy_assets.learners"]`.

    Raises
    ------
    PluginError
        Where it is not registered or cannot be imported.
    AssertionError
        Where it breaks the promise of `protocols.Learner`, with the reason.
    """
    learner: Learner = plugins.load("learners", name)()
    rng = np.random.default_rng(0)
    features = (rng.normal(size=(60, 5)) * [20, 5, 2, 1, 0.5]).astype(np.float32)
    scores = rng.integers(0, 6, 60).astype(float)
    scores[:2] = 0, 5  # differ from the second on
    assert isinstance(learner.keeps_scores_given, bool), "keeps_scores_given must be True or False"
    _check_columns(learner)
    assert learner.can_fit(scores), "can_fit must be true of many scores that differ"
    for world in (features, np.ones_like(features)):  # the second has constant components
        std = world.std(axis=0, dtype=np.float64)
        for count in (1, 2, 40):
            _check_fit(learner, world, scores[:count], std)
            _check_fit(learner, world, np.full(count, 3.0), std)  # flat scores
    _check_what_is_asked(learner, features, scores)


def _check_columns(learner: Learner) -> None:
    assert isinstance(learner.columns, pa.Schema), "columns must be a pyarrow Schema"
    taken = {"role", "galaxy_id", "score", "vector"} & set(learner.columns.names)
    assert not taken, f"columns may not hold {', '.join(sorted(taken))}: these are the platform's"


def _check_fit(learner: Learner, features: np.ndarray, scores: np.ndarray, std: np.ndarray) -> None:
    ready = learner.can_fit(scores)
    assert ready == learner.can_fit(scores.copy()), "can_fit must be the same for the same scores"
    if not ready:
        return
    given = features[: len(scores)].astype(np.float64), scores, std
    kept = [part.copy() for part in given]
    model = learner.fit(*given)
    mean, spread = _predicted(model, features)
    assert all(np.array_equal(a, b) for a, b in zip(given, kept, strict=True)), "fit may not change what it is given"
    again = _predicted(learner.fit(*kept), features)
    assert _same((mean, spread), again), "fit must be deterministic: two fits to the same scores predict differently"
    assert isinstance(model.kernel, str) and isinstance(model.at_bounds, tuple), "kernel is text, at_bounds a tuple"
    _predicted(model, features[:0])
    back = learner.table_to_model(_stored(model, learner, features.shape[1]), given[0], scores)
    assert _same((mean, spread), _predicted(back, features)), "the model read back from its table predicts differently"


def _predicted(model: ScoreModel, features: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    mean, std = model.predict(features)
    for what, values in (("mean", mean), ("standard deviation", std)):
        expected = f"the {what} of predict must be (N,) float64"
        assert values.shape == (len(features),) and values.dtype == np.float64, f"{expected}, not {values.shape}"
        assert np.isfinite(values).all(), f"the {what} of predict must be finite"
    assert (std >= 0).all(), "a standard deviation may not be negative"
    return mean, std


def _same(one: tuple[np.ndarray, ...], other: tuple[np.ndarray, ...]) -> bool:
    return all(np.array_equal(a, b) for a, b in zip(one, other, strict=True))


def _stored(model: ScoreModel, learner: Learner, size: int) -> pa.Table:
    """The model's table after a round through Parquet, with all columns that the lake has for it."""
    import pyarrow.parquet as pq

    table = model.to_table()
    expected = pa.schema(
        [pa.field("role", pa.string()), *learner.columns, pa.field("vector", pa.list_(pa.float64(), size))]
    )
    unknown = set(table.column_names) - set(expected.names)
    assert not unknown, f"to_table has columns that `columns` does not name: {', '.join(sorted(unknown))}"
    assert "role" in table.column_names, "to_table must have a column `role`"
    taken = {"labelled", "reference"} & set(table["role"].to_pylist())
    assert not taken, f"rows of role {', '.join(sorted(taken))} are the platform's; choose another word"
    table = pa.concat_tables([expected.empty_table(), table], promote_options="default").select(expected.names)
    file = io.BytesIO()
    pq.write_table(table, file)
    return pq.read_table(file)


def _check_what_is_asked(learner: Learner, features: np.ndarray, scores: np.ndarray) -> None:
    """Ask in rounds of 7, each by the acquisition on all earlier scores, until every galaxy was asked once."""
    std, asked = features.std(axis=0, dtype=np.float64), np.arange(3)
    while len(asked) < len(features):
        value = np.arange(len(features), dtype=float)
        if learner.can_fit(scores[asked]):
            model = learner.fit(features[asked].astype(np.float64), scores[asked], std)
            mean, spread = model.predict(features)
            best = float(scores[asked].max())
            value = learner.acquisition(mean, spread, best, 0.5)
            assert value.shape == (len(features),) and np.isfinite(value).all(), "acquisition must be (N,) and finite"
            one_by_one = learner.acquisition(mean[asked], spread[asked], best, 0.5)
            assert np.array_equal(one_by_one, value[asked]), "acquisition must value each galaxy by itself"
        order = np.argsort(-value, kind="stable")
        asked = np.concatenate([asked, order[~np.isin(order, asked)][:7]])
    assert len(np.unique(asked)) == len(features), "every galaxy must be asked once"
