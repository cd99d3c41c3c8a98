"""The three learners of the anomaly search that the platform has (paper 7.1; docs/decisions/0004).

Belongs here: what each decides, as `plugins.protocols.Learner` has it. Does not belong here: the Gaussian process that
all use (`gaussian_process`), the search (`active_learning`).
"""

import numpy as np
import pyarrow as pa

from galaxy_assets.science import gaussian_process
from galaxy_assets.science.active_learning import expected_improvement
from galaxy_assets.science.gaussian_process import GaussianProcess


class Published:
    """As Astronomaly's code has it: a kernel fitted by its likelihood, asking by expected improvement.

    It fits whatever the scores are. The ranking is by predicted scores alone.
    """

    keeps_scores_given = False
    columns = gaussian_process.COLUMNS

    def can_fit(self, scores: np.ndarray) -> bool:
        """Always."""
        return True

    def fit(self, labelled: np.ndarray, scores: np.ndarray, std: np.ndarray) -> GaussianProcess:
        """See `gaussian_process.fit_by_likelihood`."""
        return gaussian_process.fit_by_likelihood(labelled, scores)

    def acquisition(self, mean: np.ndarray, std: np.ndarray, best: float, trade_off: float) -> np.ndarray:
        """Expected improvement over the best score given."""
        return expected_improvement(mean, std, best, trade_off)

    def table_to_model(self, table: pa.Table, labelled: np.ndarray, scores: np.ndarray) -> GaussianProcess:
        """See `gaussian_process.table_to_process`."""
        return gaussian_process.table_to_process(table, labelled, scores)


class Corrected:
    """Half-standardised components and a fixed kernel, asking for the highest predicted score.

    Nothing improves over a 5, and the first anomaly has one; so the highest is asked for. While the scores given are
    equal they tell no galaxies apart, so nothing is fitted. What a person said outranks a prediction (Walmsley et al.
    2022).
    """

    keeps_scores_given = True
    columns = gaussian_process.COLUMNS

    def can_fit(self, scores: np.ndarray) -> bool:
        """Once scores differ."""
        return bool(np.ptp(scores) > 0)

    def fit(self, labelled: np.ndarray, scores: np.ndarray, std: np.ndarray) -> GaussianProcess:
        """See `gaussian_process.fit_with_fixed_kernel`."""
        return gaussian_process.fit_with_fixed_kernel(labelled, scores, std)

    def acquisition(self, mean: np.ndarray, std: np.ndarray, best: float, trade_off: float) -> np.ndarray:
        """The predicted score."""
        return mean

    def table_to_model(self, table: pa.Table, labelled: np.ndarray, scores: np.ndarray) -> GaussianProcess:
        """See `gaussian_process.table_to_process`."""
        return gaussian_process.table_to_process(table, labelled, scores)


class Graded:
    """A Gaussian process around the mean of the scores given, asking for the highest plausible score.

    Prior mean and variance are those of the scores, so that a galaxy like none of the scored ones looks neither dull
    nor interesting, whatever scale people use. It asks by the upper confidence bound (Srinivas et al. 2010, UCB).
    While the scores given are equal they tell no galaxies apart, so nothing is fitted. What a person said outranks a
    prediction (Walmsley et al. 2022).
    """

    keeps_scores_given = True
    columns = gaussian_process.COLUMNS
    strange_seeds = 0.5
    trees = 300

    def can_fit(self, scores: np.ndarray) -> bool:
        """Once scores differ."""
        return bool(np.ptp(scores) > 0)

    def fit(self, labelled: np.ndarray, scores: np.ndarray, std: np.ndarray) -> GaussianProcess:
        """See `gaussian_process.fit_to_scale`."""
        return gaussian_process.fit_to_scale(labelled, scores, std)

    def acquisition(self, mean: np.ndarray, std: np.ndarray, best: float, trade_off: float) -> np.ndarray:
        """The predicted score and two standard deviations."""
        return mean + 2 * std

    def table_to_model(self, table: pa.Table, labelled: np.ndarray, scores: np.ndarray) -> GaussianProcess:
        """See `gaussian_process.table_to_process`."""
        return gaussian_process.table_to_process(table, labelled, scores, float(scores.mean()))
