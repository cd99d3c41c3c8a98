"""What is searched for: the anomalies an oracle scores, and galaxies like given ones.

Belongs here: settings of the ranking and of the similarity search. Does not belong here: either search.
"""

from typing import Annotated

from pydantic import Field, field_validator

from galaxy_assets import plugins
from galaxy_assets.settings.base import AddedLater, PluginName, Settings
from galaxy_assets.settings.structure import FITTED_ON

MOST_SCORES = 5_000
"""Scores that a learner is fitted to: the memory of a Gaussian process grows with their square, 1 GB at so many."""


class Anomaly(Settings):
    """The target the simulated oracle scores, and the active-learning budget (paper 7.1)."""

    name: str = Field(default="anomalies", description="what the target is called in tables and figures")
    answers: tuple[str, ...] = Field(default=(), description="vote answers whose fractions add up to the probability")
    question: str | None = Field(default=None, description="the volunteers' question that `answers` belong to")
    truth_threshold: float = Field(
        default=0.4, ge=0, le=1, description="probability from which a galaxy counts as an anomaly"
    )
    minimum_votes: int = Field(default=10, ge=0, description="votes for `question` that an anomaly needs")
    labels: tuple[str, ...] = Field(default=(), description="catalogue labels that score 5; all others score 0")
    seeds: int = Field(default=10, ge=1, description="galaxies scored before the first fit")
    per_round: int = Field(default=10, ge=1, description="galaxies scored between two fits")
    budget: int = Field(default=200, ge=0, le=MOST_SCORES, description="galaxies scored in all; 0: only people score")
    trade_off: float = Field(
        default=0.5, ge=0, description="of expected improvement, which the published learner asks by"
    )
    learner: Annotated[str, PluginName("learners")] = Field(
        default="graded",
        description="`graded`: mean and scale of the scores given, half of the seeds the strangest, then the highest "
        "plausible score, and scores given kept in the ranking; `corrected`, the default before it: a prior of 0 and "
        "the highest predicted score; `published` (docs/anomaly-search.md); or another package's",
    )

    fitted_on: Annotated[int, AddedLater()] = Field(
        default=FITTED_ON, ge=1000, description="most galaxies that an isolation forest is grown of; of more, a sample"
    )
    outliers_among: Annotated[int, AddedLater()] = Field(
        default=20_000,
        ge=1000,
        description="most galaxies whose neighbours the local outlier factor looks at; of more, a sample",
    )
    exact_below: Annotated[int, AddedLater()] = Field(
        default=1_000_000,
        ge=2,
        description="galaxies from which most rounds of the simulated search score a shortlist and not every galaxy",
    )
    shortlist: Annotated[int, AddedLater()] = Field(
        default=100_000,
        ge=1_000,
        description="galaxies on it: the best when all were scored last, and a fifth as many others",
    )
    whole_every: Annotated[int, AddedLater()] = Field(
        default=5, ge=1, description="of so many rounds one scores every galaxy; 1 does so in each"
    )
    least_share: Annotated[float, AddedLater()] = Field(
        default=0.95,
        ge=0,
        le=1,
        description="share of the best 100 galaxies that the shortlist holds below which a check warns",
    )

    @field_validator("learner")
    @classmethod
    def _registered_learner(cls, value: str) -> str:
        plugins.find("learners", value)
        return value


class Similarity(Settings):
    """Queries of the similarity search (paper 7.2)."""

    queries: tuple[str, ...] = Field(default=(), description="galaxy ids; empty takes the best ranked galaxies")
    n_queries: int = Field(default=4, ge=1, description="how many best ranked galaxies, where `queries` is empty")
    neighbours: int = Field(default=8, ge=1, description="galaxies found for each query")
    exact_below: Annotated[int, AddedLater()] = Field(
        default=1_000_000,
        ge=2,
        description="galaxies from which searches read an index, which may miss a neighbour, and not every galaxy",
    )
    least_recall: Annotated[float, AddedLater()] = Field(
        default=0.99,
        ge=0,
        le=1,
        description="share of the exact neighbours found by the index below which a check warns",
    )
