"""How the structure of the features is found and described: mixture, map, cluster labels, and drift from them.

Belongs here: settings of what is fitted to the features, and of what is said of the clusters. Does not belong here:
the search for anomalies (`discovery`).
"""

from typing import Annotated, Literal

from pydantic import Field

from galaxy_assets.settings.base import AddedLater, Settings

FITTED_ON = 500_000
"""Galaxies that a model is fitted to, unless a survey says another number; of more, a seeded sample is drawn."""


class Mixture(Settings):
    """The Bayesian Gaussian mixture (paper 6.1)."""

    components: int = Field(default=20, ge=1, description="most clusters it may use")
    weight_concentration_prior: float = Field(
        default=0.5, gt=0, description="smaller values leave more components empty"
    )
    n_init: int = Field(default=10, ge=1, description="fits from different starting points, of which the best is kept")
    max_iter: int = Field(default=1000, ge=1, description="most iterations of one fit")
    tol: float = Field(default=1e-3, ge=0, description="gain of the lower bound below which a fit has converged")
    seed: int = Field(default=0, ge=0, lt=2**31, description="of the starting points")
    fitted_on: Annotated[int, AddedLater()] = Field(
        default=FITTED_ON, ge=1000, description="most galaxies that it is fitted to; of more, a sample under `seed`"
    )


class Umap(Settings):
    """UMAP as the paper sets it (3.2)."""

    n_neighbors: int = Field(
        default=15, ge=2, description="galaxies that count as near: more show the whole, fewer detail"
    )
    min_dist: float = Field(
        default=0.01, ge=0, le=1, description="smallest distance of two galaxies on the map, in its own unit"
    )
    seed: int = Field(default=0, ge=0, lt=2**31, description="of the layout")
    fitted_on: Annotated[int, AddedLater()] = Field(
        default=FITTED_ON,
        ge=1000,
        description="most galaxies that are laid out; of more, a sample under `seed`, by which the others are placed",
    )


class VoteRules(Settings):
    """Which galaxies' votes enter the distributions of a cluster (paper 6.2)."""

    minimum_votes: int = Field(default=10, ge=1, description="votes a galaxy needs for the question")
    parent_fraction: float = Field(
        default=0.5, ge=0, le=1, description="what the fraction of the answer that leads to the question must exceed"
    )
    inclusive: tuple[str, ...] = Field(
        default=("merging",),
        description='questions for which `parent_fraction` itself is enough: "at least 50%" for merging in the text, '
        '"greater than 0.5" for the others',
    )
    parents: Literal["root", "path"] = Field(
        default="root",
        description="which answers must exceed it: the first question's, as the text has it for all its panels, the "
        "bulge's too; or every answer on the way to the question",
    )


class Labelling(Settings):
    """How clusters are labelled, and what is offered for labelling (paper 6.3, 8.3, 9)."""

    majority_share: float = Field(
        default=0,
        ge=0,
        le=1,
        description="share of its labelled members that the commonest class must exceed to give the cluster its label; "
        "one half in 8.3, where there are two classes",
    )
    artefact_fraction: float = Field(
        default=0.5, ge=0, le=1, description="share of suspects, or of volunteers, above which a cluster is artefacts"
    )
    exemplars: int = Field(default=8, ge=1, description="most certain members that name a cluster in the worksheet")
    candidates: int = Field(default=50, ge=1, description="most certain members offered as training set, per cluster")


class DriftLimits(Settings):
    """When a delivery is so unlike what the models were fitted to that retraining is advised (`batch_drift`)."""

    spread: float = Field(
        default=1.5, gt=1, description="of variance and squared distance, over what galaxies like the fitted have"
    )
    shift: float = Field(default=0.5, gt=0, description="of the mean, in standard deviations, over all components")
    unsure: float = Field(default=0.2, gt=0, le=1, description="added share of members below probability one half")
    fallback: float = Field(default=0.2, gt=0, le=1, description="share of images that keep their original frame")
