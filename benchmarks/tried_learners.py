"""Learners that are tried for the anomaly search and are not shipped: what `anomaly_search.py` measures beside our own.

Belongs here: the choices a learner may differ in. Does not belong here: how a search is run and counted
(`anomaly_search.py`), the learners that are shipped (`galaxy_assets.science.learners`).
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any, Literal

import numpy as np
import pyarrow as pa
from scipy.spatial.distance import pdist
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import ConstantKernel, Matern, WhiteKernel
from sklearn.linear_model import LogisticRegression

from galaxy_assets import plugins
from galaxy_assets.plugins.protocols import ScoreModel
from galaxy_assets.science.active_learning import expected_improvement
from galaxy_assets.science.gaussian_process import GaussianProcess, fit_by_likelihood


@dataclass(frozen=True)
class Forecast:
    """Any function of features as a learner's model."""

    function: Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]]
    kernel: str = ""
    at_bounds: tuple[str, ...] = ()

    def predict(self, features: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Score of every galaxy and its standard deviation."""
        return self.function(features)

    def to_table(self) -> pa.Table:
        """Nothing is kept."""
        return pa.table({"role": pa.array([], pa.string())})


@dataclass(frozen=True)
class Variant:
    """A learner by its choices; as it stands it is `corrected`.

    Attributes
    ----------
    power : of the standard deviation by which each component is divided.
    length : length scale in median distances between labelled galaxies.
    noise : share of the prior variance.
    prior : standard deviation of the score before anything is known.
    model : the kernel fixed, its parameters optimised with an amplitude or without, or a logistic regression.
    ask : by what the next galaxy is asked.
    centred : the mean score is taken off before the fit.
    cold_start : while scores are equal the strangest are asked for.
    scaled : the prior variance is that of the scores.
    bound : standard deviations of the upper confidence bound.
    strange_seeds : share of the seeds that are the strangest galaxies.
    trees : of the isolation forest that finds these.
    """

    power: float = 0.5
    length: float = 1.0
    noise: float = 0.5
    prior: float = 2.5
    model: Literal["fixed", "optimised", "amplitude", "logistic"] = "fixed"
    ask: Literal["mean", "bound", "improvement"] = "mean"
    centred: bool = False
    cold_start: bool = True
    scaled: bool = False
    bound: float = 1.0
    strange_seeds: float = 0.0
    trees: int = 100
    keeps_scores_given: bool = True
    columns: pa.Schema = pa.schema([])

    def can_fit(self, scores: np.ndarray) -> bool:
        """Once scores differ, or always without the cold start."""
        return not self.cold_start or bool(np.ptp(scores) > 0)

    def fit(self, labelled: np.ndarray, scores: np.ndarray, std: np.ndarray) -> ScoreModel:
        """A model of the scores, which predicts from unscaled features."""
        scale = np.where(std > 0, std, 1.0) ** self.power
        offset = float(scores.mean()) if self.centred else 0.0
        if self.model == "logistic":
            return logistic(labelled / scale, scores, scale)
        if self.model in ("optimised", "amplitude"):
            return optimised(labelled / scale, scores - offset, scale, self.model == "amplitude", offset)
        distance = float(np.median(pdist(labelled / scale))) or 1.0
        prior = float(scores.var()) if self.scaled else self.prior**2
        process = GaussianProcess(
            scale, labelled, scores - offset, prior, self.length * distance, self.noise * prior, "", ()
        )
        return Forecast(lambda features: _shifted(process.predict(features), offset))

    def acquisition(self, mean: np.ndarray, std: np.ndarray, best: float, trade_off: float) -> np.ndarray:
        """The predicted score, its upper confidence bound, or the expected improvement."""
        if self.ask == "improvement":
            return expected_improvement(mean, std, best, trade_off)
        return mean + self.bound * std if self.ask == "bound" else mean

    def table_to_model(self, table: pa.Table, labelled: np.ndarray, scores: np.ndarray) -> ScoreModel:
        """Nothing is kept."""
        raise NotImplementedError


def _shifted(predicted: tuple[np.ndarray, np.ndarray], offset: float) -> tuple[np.ndarray, np.ndarray]:
    return predicted[0] + offset, predicted[1]


def optimised(scaled: np.ndarray, scores: np.ndarray, scale: np.ndarray, amplitude: bool, offset: float) -> ScoreModel:
    """A Gaussian process whose parameters are optimised from the median distance."""
    kernel = Matern(float(np.median(pdist(scaled))) or 1.0, nu=1.5)
    kernel = (ConstantKernel(6.25) * kernel if amplitude else kernel) + WhiteKernel()
    process = GaussianProcessRegressor(kernel).fit(scaled, scores)
    parameters = process.kernel_.get_params()
    strength, length = ("k1__k1__constant_value", "k1__k2__length_scale") if amplitude else ("", "k1__length_scale")
    found = GaussianProcess(
        np.ones(len(scale)), scaled, scores, float(parameters.get(strength, 1.0)), float(parameters[length]),
        float(parameters["k2__noise_level"]), "", (),
    )  # fmt: skip
    return Forecast(lambda features: _shifted(found.predict(features / scale), offset))


def logistic(scaled: np.ndarray, scores: np.ndarray, scale: np.ndarray) -> ScoreModel:
    """Five times the probability of a score above the middle of the scale; it says nothing of how sure it is."""
    high = scores > (scores.min() + scores.max()) / 2
    model = LogisticRegression(C=0.01, class_weight="balanced", max_iter=2000).fit(scaled, high)
    return Forecast(lambda features: (5 * model.predict_proba(features / scale)[:, 1], np.zeros(len(features))))


class PublishedKernel(Variant):
    """The published kernel, fitted as published."""

    def fit(self, labelled: np.ndarray, scores: np.ndarray, std: np.ndarray) -> ScoreModel:
        """As `published` does."""
        return fit_by_likelihood(labelled, scores)


NEARBY = {
    "unscaled, length 1, noise 1/2": Variant(power=0),
    "half-standardised, the same (is corrected)": Variant(),
    "standardised, the same": Variant(power=1),
    "half-standardised, length 1/2": Variant(length=0.5),
    "half-standardised, noise 1/10": Variant(noise=0.1),
    "standardised, noise 1/10": Variant(power=1, noise=0.1),
    "half-standardised, noise 1/10, mean + 1 std, centred scores": Variant(noise=0.1, ask="bound", centred=True),
    "half-standardised, noise 1/10, prior std 2, expected improvement": Variant(noise=0.1, prior=2, ask="improvement"),
    "standardised, noise 1/10, prior std 2, expected improvement": Variant(
        power=1, noise=0.1, prior=2, ask="improvement"
    ),
    "half-standardised, logistic regression, balanced, C .01": Variant(model="logistic"),
}
"""Fixed models that ask for the strangest while scores are equal."""
OTHERS = {
    "published kernel, expected improvement, cold start, scores kept": PublishedKernel(ask="improvement"),
    "published kernel, highest mean, cold start, scores kept": PublishedKernel(),
    "optimised with an amplitude, unscaled, highest mean": Variant(power=0, model="amplitude"),
    "optimised with an amplitude, unscaled, expected improvement": Variant(
        power=0, model="amplitude", ask="improvement"
    ),
    "optimised with an amplitude, half-standardised, highest mean": Variant(model="amplitude"),
    "optimised with an amplitude, standardised, highest mean": Variant(power=1, model="amplitude"),
    "optimised without, standardised, highest mean": Variant(power=1, model="optimised"),
    "corrected without the cold start": Variant(cold_start=False),
    "half-standardised, noise 1/10, mean + 1 std, no cold start": Variant(noise=0.1, ask="bound", cold_start=False),
}
"""What leaves out one correction, or optimises."""


@contextmanager
def registered(learners: Mapping[str, Variant]) -> Iterator[None]:
    """Let the platform's search find learners by these names meanwhile."""
    known: Any = plugins.registered("learners")
    for name, learner in learners.items():
        known[name] = (SimpleNamespace(load=lambda learner=learner: lambda: learner),)
    try:
        yield
    finally:
        for name in learners:
            del known[name]
