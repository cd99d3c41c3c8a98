"""A survey: every choice that changes its results, as one validated object.

Belongs here: the Survey model, and rules that tie several of its parts together. Does not belong here: the parts (the
modules beside this one), and the files that surveys are read from (`files`).
"""

from typing import Annotated, Any

from pydantic import Field, field_validator, model_validator

from galaxy_assets import plugins
from galaxy_assets.settings.artefacts import ArtefactRules
from galaxy_assets.settings.base import AddedLater, PluginName, Settings, ShownOnly
from galaxy_assets.settings.cutouts import CutoutSettings
from galaxy_assets.settings.discovery import Anomaly, Similarity
from galaxy_assets.settings.evaluation import Evaluation
from galaxy_assets.settings.networks import Name, Network
from galaxy_assets.settings.recipe import OF_START, Recipe
from galaxy_assets.settings.sky_links import USUAL, VIEWERS, check_link
from galaxy_assets.settings.source import Source
from galaxy_assets.settings.structure import DriftLimits, Labelling, Mixture, Umap, VoteRules
from galaxy_assets.settings.tuning import KEYS, without_auto
from galaxy_assets.settings.wrong_values import meant

RESERVED = {
    "random",
    "imagenet",
    "rgz",
    "classical",
    *OF_START,
    "benchmarks",
    "galaxy",
    "main",
    "temp",
    "system",
    "information_schema",
    "pg_catalog",
}


class Survey(Settings):
    """A survey: its source, its preprocessing, its start weights, its recipe and what is asked of it."""

    name: Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$")] = Field(
        description="lower-case letters, digits and _; the schema of its tables and the prefix of its asset keys"
    )
    title: str = Field(description="as it is shown")
    description: str = Field(description="what it holds, in a sentence")
    reference: str = Field(default="", description="where the data comes from and how to cite it; shown in `catalogue`")
    owner: str | None = Field(
        default=None,
        description="who to ask, an e-mail address or `team:NAME`, for the UI; `team:<name>` if absent",
    )
    sky_links: Annotated[tuple[str, ...], ShownOnly()] = Field(
        default=USUAL,
        description=f"where a galaxy's page links to, by its position: {', '.join(VIEWERS)}, the id of a HiPS, or an "
        "address with {ra} and {dec}",
    )
    source: Source = Field(description="where its deliveries lie")
    cutout: CutoutSettings = Field(default=CutoutSettings(), description="how galaxies are cut out")
    artefacts: ArtefactRules = Field(default=ArtefactRules(), description="what is proposed for removal")
    start_weights: Annotated[tuple[str, ...], PluginName("start_weights")] = Field(
        default=("random", "imagenet"),
        description="`random`, `imagenet`, `rgz`, `classical`, those of another package, one of `networks`, or the "
        "name of another survey",
    )
    networks: Annotated[dict[Name, Network], AddedLater()] = Field(
        default={}, description="networks by name whose weights are files in the data folder; for `start_weights`"
    )
    main_start_weights: str = Field(default="imagenet", description="the one the ranking and the searches read")
    rgz_checkpoint: str | None = Field(default=None, description="path of the Radio Galaxy Zoo checkpoint")
    recipe: Recipe = Field(default=Recipe(), description="how networks are trained")
    evaluation: Evaluation = Field(default=Evaluation(), description="the classes that judge a representation")
    variance: float = Field(default=0.95, gt=0, le=1, description="share of the variance the PCA keeps (paper 4.2)")
    mixture: Mixture = Field(default=Mixture(), description="how clusters are fitted")
    votes: VoteRules = Field(default=VoteRules(), description="which votes describe a cluster")
    labelling: Labelling = Field(default=Labelling(), description="how clusters are labelled")
    umap: Umap = Field(default=Umap(), description="how the map is laid out")
    anomaly: Anomaly = Field(default=Anomaly(), description="what is searched for, and with how many scores")
    similarity: Similarity = Field(default=Similarity(), description="what the similarity search is asked")
    drift: DriftLimits = Field(default=DriftLimits(), description="when retraining is advised")
    auto: Annotated[tuple[str, ...], AddedLater()] = Field(
        default=(),
        description="settings that `recipe_trials` chooses, such as `recipe.image_size`; each that says `auto` joins "
        "them, and `cutout` is short for all of its own that are not given",
    )

    @model_validator(mode="before")
    @classmethod
    def _named_in_auto(cls, values: Any) -> Any:
        return without_auto(values) if isinstance(values, dict) else values

    @model_validator(mode="before")
    @classmethod
    def _mirrored_by_its_name(cls, values: Any) -> Any:
        source = values.get("source") if isinstance(values, dict) else None
        path = source.get("path") if isinstance(source, dict) else None
        if isinstance(source, dict) and isinstance(path, str) and "://" in path:
            return values | {"source": {"mirror": values.get("name")} | source}
        return values

    @field_validator("name")
    @classmethod
    def _not_reserved(cls, value: str) -> str:
        if value in RESERVED:
            raise ValueError(
                f"{value!r} is reserved (a schema of the read model or a kind of start weights); choose another name"
            )
        return value

    @field_validator("sky_links")
    @classmethod
    def _can_be_linked(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for name in value:
            check_link(name)
        return value

    @field_validator("auto")
    @classmethod
    def _can_be_tried(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if wrong := [key for key in value if key not in KEYS]:
            near = meant(wrong[0], ["cutout", *KEYS])
            raise ValueError(f"trials choose `cutout`, {', '.join(KEYS)}, and not {', '.join(wrong)}{near}")
        return value

    @field_validator("start_weights")
    @classmethod
    def _distinct(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if len(set(value)) != len(value) or not value:
            raise ValueError("start_weights must be a non-empty list without repeats")
        return value

    @field_validator("networks")
    @classmethod
    def _of_their_own_name(cls, value: dict[str, Network]) -> dict[str, Network]:
        if taken := sorted(set(value) & (RESERVED | set(plugins.names("start_weights")))):
            raise ValueError(
                f"a network cannot be called {', '.join(taken)}: that is something else; choose another name"
            )
        return value

    @property
    def starts_main_first(self) -> tuple[str, ...]:
        """The start weights, the main ones before the others."""
        return tuple(sorted(self.start_weights, key=lambda start: start != self.main_start_weights))

    @model_validator(mode="after")
    def _main_is_listed(self) -> "Survey":
        if self.main_start_weights not in self.start_weights:
            raise ValueError(
                f"main_start_weights {self.main_start_weights!r} is not among {list(self.start_weights)}; add it"
            )
        return self

    @model_validator(mode="after")
    def _fixed_box_has_a_side(self) -> "Survey":
        method, side = self.cutout.method, self.cutout.central_pixels
        if method == "central" and not side and "cutout.central_pixels" not in self.auto:
            raise ValueError("cutout method `central` needs `central_pixels`, the side of its box in pixels, or `auto`")
        return self
