"""What each kind of plug-in promises, as Protocols.

Belongs here: the shape of an object that a survey may name. Does not belong here: finding one (`plugins`), testing one
(`contracts`), or any of our own. This module imports no room but for type checkers.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa


class ScoreModel(Protocol):
    """What a learner makes of the scores given: it predicts the score of any galaxy."""

    @property
    def kernel(self) -> str:
        """How it predicts, in words, for the asset's page: a kernel with its numbers, or the like."""
        ...

    @property
    def at_bounds(self) -> tuple[str, ...]:
        """The hyper-parameters that ended at their bound, in words; a warning of the asset names them."""
        ...

    def predict(self, features: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Score of every galaxy and its standard deviation.

        Parameters
        ----------
        features : ndarray of shape (N, D)
            Principal components, N may be 0.

        Returns
        -------
        mean, std : ndarray of shape (N,), float64
            Finite, and the same whenever they are asked for. The larger the score the more interesting the galaxy.
        """
        ...

    def to_table(self) -> pa.Table:
        """What it takes to predict again, as rows of the asset `anomaly_model`.

        Returns
        -------
        table : pyarrow.Table
            Column `role` (str; `labelled` and `reference` are taken by the platform), those of `Learner.columns`, and
            `vector` (FixedSizeList of D float64) where the model has vectors. It may have no rows. The features and
            the scores of the galaxies that the model was fitted to are kept by the platform, in rows of their own.
        """
        ...


class Learner(Protocol):
    """Learner of the anomaly search: it decides what scores say of other galaxies, and what is asked next.

    What is registered is a class that is made without arguments. Our own are in `science.learners`.
    """

    @property
    def keeps_scores_given(self) -> bool:
        """Whether a score given stands in place of the predicted one in the ranking."""
        ...

    @property
    def columns(self) -> pa.Schema:
        """Columns of `anomaly_model` that are the learner's own, beside role, galaxy_id, score and vector."""
        ...

    def can_fit(self, scores: np.ndarray) -> bool:
        """Whether these scores are enough to fit.

        Until they are, an isolation forest ranks the galaxies and the search asks for the strangest.

        Parameters
        ----------
        scores : ndarray of shape (L,)
            0-5, at least one.
        """
        ...

    def fit(self, labelled: np.ndarray, scores: np.ndarray, std: np.ndarray) -> ScoreModel:
        """The model of the scores given.

        Parameters
        ----------
        labelled : ndarray of shape (L, D)
            Principal components of the galaxies that have a score, unscaled.
        scores : ndarray of shape (L,)
            0-5, at least one, and such that `can_fit` is true.
        std : ndarray of shape (D,), float64
            Standard deviation of each component over the survey; 0 where it is constant.
        """
        ...

    def acquisition(self, mean: np.ndarray, std: np.ndarray, best: float, trade_off: float) -> np.ndarray:
        """By which value the search asks next; the largest are asked first.

        Parameters
        ----------
        mean, std : ndarray of shape (N,), float64
            The predicted scores and their standard deviations.
        best : float
            The highest score given.
        trade_off : float
            `anomaly.trade_off` of the survey.

        Returns
        -------
        value : ndarray of shape (N,), float64
            Without NaN.
        """
        ...

    def table_to_model(self, table: pa.Table, labelled: np.ndarray, scores: np.ndarray) -> ScoreModel:
        """The model that `ScoreModel.to_table` kept; it predicts the same to the last bit.

        Parameters
        ----------
        table : pyarrow.Table
            The model's rows: role, the learner's columns, and `vector`.
        labelled : ndarray of shape (L, D), float64
            Features of the galaxies that the model was fitted to, in the order of the fit.
        scores : ndarray of shape (L,), float64
            Their scores.
        """
        ...
