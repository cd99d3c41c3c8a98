"""The classes that judge a representation, by cuts on votes or by catalogue labels.

Belongs here: settings that `science.votes` and the evaluation read. Does not belong here: counting votes.
"""

from typing import Annotated

from pydantic import Field, model_validator

from galaxy_assets.settings.base import AddedLater, Settings


class Cut(Settings):
    """One condition on a vote fraction.

    A galaxy passes where the fraction of `answer` is above `above` and below `below`, as far as they are given, and at
    least `minimum_votes` people answered `question`.
    """

    question: str = Field(description="a question of the volunteers' tree, for instance `smooth-or-featured`")
    answer: str = Field(description="one of its answers, whose vote fraction is judged")
    above: float | None = Field(default=None, ge=0, le=1, description="what the fraction must exceed")
    below: float | None = Field(default=None, ge=0, le=1, description="what the fraction must stay below")
    minimum_votes: int = Field(default=5, ge=1, description="votes for `question` without which the cut fails")


class EvaluationClass(Settings):
    """A class of the evaluation subset, by cuts on the votes or by catalogue labels."""

    name: str = Field(description="as it is shown")
    cuts: tuple[Cut, ...] = Field(default=(), description="what a member's votes must all pass")
    labels: tuple[str, ...] = Field(default=(), description="catalogue labels whose galaxies are members")

    @model_validator(mode="after")
    def _one_definition(self) -> "EvaluationClass":
        if bool(self.cuts) == bool(self.labels):
            raise ValueError(f"class {self.name!r} needs either cuts (on votes) or labels, and not both")
        return self


class Evaluation(Settings):
    """The contrived classification problem that judges a representation (paper 5)."""

    classes: tuple[EvaluationClass, ...] = Field(default=(), description="none: nothing is evaluated")
    reject: tuple[Cut, ...] = Field(
        default=(), description="cuts every member must pass whatever its class (no mergers)"
    )
    maximum_per_class: int | None = Field(
        default=None, ge=1, description="random sample per class, to balance and to bound the cost"
    )
    judged_at_most: Annotated[int, AddedLater()] = Field(
        default=20_000,
        ge=100,
        description="galaxies of all classes together; of more the largest classes are sampled, since every one is "
        "compared with every other",
    )
    neighbours: int = Field(default=5, ge=1, description="of the k-nearest-neighbours classifier")
    splits: int = Field(default=50, ge=1, description="random splits into training and test set")
    test_fraction: float = Field(default=0.25, gt=0, lt=1, description="share of a split that is tested on")
    seed: int = Field(default=0, ge=0, lt=2**31, description="of the splits and of the sample per class")
