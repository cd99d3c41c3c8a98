"""What a survey is, as one validated object read from YAML.

Belongs here: the settings that describe a survey and every choice that changes its results. Does not belong here:
reading images or tables (the readers beside this file) and anything that computes.
"""

import os
import re
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import Field, ValidationError, field_validator, model_validator

from galaxy_assets import plugins
from galaxy_assets.settings.base import AddedLater, PluginName, Settings

STARTS = ("random", "imagenet", "rgz")
RESERVED = {*STARTS, "benchmarks", "galaxy", "main", "temp", "system", "information_schema", "pg_catalog"}
SHIPPED = Path(__file__).parent / "shipped"


class Source(Settings):
    """Where a survey's deliveries lie and which reader understands them."""

    reader: Annotated[str, PluginName("readers")] = Field(
        description="a reader plug-in: galaxy_zoo_decals, mirabest, image_folder, fits_folder, simulated, or one of "
        "another package"
    )
    path: str = Field(
        description="folder or archive, relative to data/raw or absolute; or an address that fsspec knows, such as "
        "s3://bucket/folder, whose files are copied to data/raw/<mirror>"
    )
    mirror: str | None = Field(
        default=None,
        pattern=r"^[A-Za-z0-9_][A-Za-z0-9_.-]*$",
        description="folder of data/raw for the copy of an address; the survey's name unless given",
    )
    votes: str | None = Field(
        default=None,
        description="file name of the volunteer table, CSV or Parquet, inside `path` (galaxy_zoo_decals, folders)",
    )
    campaign: Literal["1_and_2", "5", "gz2"] = Field(
        default="1_and_2", description="whose volunteer table it is: a Galaxy Zoo DECaLS campaign, or Galaxy Zoo 2"
    )
    images: str = Field(default="images", description="folder of the images inside `path` (image_folder, fits_folder)")
    labels: str | None = Field(
        default=None,
        description="table with one row per image, inside `path` or absolute: CSV, Parquet, FITS, VOTable or ECSV by "
        "its suffix (image_folder, fits_folder)",
    )
    id_column: str = Field(
        default="id", description="column of `labels` that holds the image's file name, with or without suffix"
    )
    label_column: str | None = Field(
        default="label", description="column of `labels` that holds the class; null where there is none"
    )
    ra_column: str | None = Field(
        default=None,
        description="column of `labels` with the right ascension of images that have no position of their own; in the "
        "column's unit where the table has one, else degrees",
    )
    dec_column: str | None = Field(default=None, description="its declination likewise")
    simulate: Literal["optical", "radio"] | None = Field(
        default=None, description="which demo survey the project simulates"
    )
    n_images: int = Field(default=0, ge=0, description="number of simulated images, over all batches")
    seed: int = Field(default=0, description="seed of the simulation")
    batches: tuple[str, ...] = Field(default=(), description="names of the simulated deliveries, of equal size")
    options: Annotated[dict[str, Any], AddedLater()] = Field(
        default={}, description="settings of a reader of another package"
    )

    @field_validator("reader")
    @classmethod
    def _registered(cls, value: str) -> str:
        return plugins.find("readers", value).name

    @model_validator(mode="after")
    def _options_of_another_package(self) -> "Source":
        if self.options and plugins.provenance("readers", self.reader) is None:
            raise ValueError(f"reader {self.reader!r} has no options: write its settings beside it")
        return self

    @property
    def is_elsewhere(self) -> bool:
        """Whether `path` is an address."""
        return re.match(r"[a-z][a-z0-9+.-]*://", self.path) is not None

    @model_validator(mode="after")
    def _positions_in_a_table(self) -> "Source":
        if (self.ra_column is None) != (self.dec_column is None):
            raise ValueError("ra_column and dec_column go together: give both or neither")
        if self.ra_column is not None and self.labels is None:
            raise ValueError("ra_column and dec_column are columns of `labels`: name the table there")
        return self


class CutoutSettings(Settings):
    """How the central source is found and cut out (paper 2.1; the readings differ, see docs/fidelity.md)."""

    method: Annotated[str, PluginName("cutters")] = Field(
        default="sigma_clip",
        description="a cutter plug-in: sigma_clip, flux_radius, central, whole, or one of another package",
    )
    sigma: float = Field(default=4.0, gt=0, description="clipping limit, and the threshold in the paper's reading")
    threshold: Literal["paper_text", "astronomaly"] = Field(
        default="paper_text",
        description="median + sigma * std as the text says, or median + 1 * std as Astronomaly's code does",
    )
    channel: Literal["first", "mean"] = Field(default="first", description="what is thresholded in a colour image")
    contour: Literal["central", "astronomaly"] = Field(
        default="central",
        description="the contour around the centre, or the one Astronomaly's code takes: row and column of the centre "
        "swapped, and the last contour found where none holds that pixel",
    )
    enlarge: float = Field(default=2.0, ge=1, description="bounding box or flux radius is enlarged by this factor")
    square: bool = Field(
        default=True, description="square box (keeps the aspect of the galaxy) or the bounding rectangle"
    )
    clamp: Literal["shift", "trim"] = Field(
        default="shift", description="a box that leaves the frame is moved inside it, or loses what lies outside"
    )
    source: Literal["central", "all"] = Field(
        default="central",
        description="method `flux_radius`: the connected pixels at the centre, or all above the threshold (lobes)",
    )
    flux_fraction: float = Field(
        default=0.85, gt=0, le=1, description="method `flux_radius`: share of the source's flux inside the radius"
    )
    align: bool = Field(
        default=False, description="method `flux_radius`: turn the source's major axis to the horizontal"
    )
    central_pixels: int = Field(
        default=0, ge=0, description="side of the fixed central box of method `central`, pixels"
    )
    size: int = Field(default=300, ge=16, le=1024, description="side of the stored cutout, pixels")
    interpolation: Literal["area_cubic", "linear"] = Field(
        default="area_cubic", description="area where an axis shrinks and cubic where it grows, or linear for both"
    )
    grey: bool = Field(default=False, description="store one channel (radio) instead of three")
    options: Annotated[dict[str, Any], AddedLater()] = Field(
        default={}, description="settings of a cutter of another package"
    )

    @field_validator("method")
    @classmethod
    def _registered(cls, value: str) -> str:
        return plugins.find("cutters", value).name

    @model_validator(mode="after")
    def _options_of_another_package(self) -> "CutoutSettings":
        if self.options and plugins.provenance("cutters", self.method) is None:
            raise ValueError(f"cutout method {self.method!r} has no options: write its settings beside it")
        return self

    @model_validator(mode="after")
    def _aligned_by_its_flux(self) -> "CutoutSettings":
        if self.align and self.method != "flux_radius":
            raise ValueError("align needs `method: flux_radius`, which measures the source's axes")
        return self


class ArtefactRules(Settings):
    """Which evidence proposes that a cutout is an artefact (paper 3.2-3.3)."""

    blank_fraction: float = Field(
        default=0.98, description="share of pixels at the modal value from which an image is blank"
    )
    saturated_fraction: float = Field(
        default=0.05, description="share of saturated pixels from which an image is suspect"
    )
    edge_flux_ratio: float = Field(
        default=1.0, description="mean flux of the border over that of the centre from which suspect"
    )
    trail_length: float = Field(
        default=0.2, description="length over the image's side of a line in one band alone from which it is a trail"
    )
    decisive: tuple[Literal["blank", "saturated", "edge_flux", "trail", "fallback_no_contour"], ...] = Field(
        default=("blank", "trail"), description="evidence that removes an image by itself, wherever it lies on the map"
    )
    region_purity: float = Field(
        default=0.5, description="share of suspects from which a UMAP region is proposed for removal"
    )
    region_minimum: int = Field(default=5, description="smallest number of images in a proposed region")


PRESETS: dict[str, dict[str, Any]] = {
    "paper": {},
    "small": {
        "image_size": 96,
        "epochs": 8,
        "batch_size": 32,
        "batch_norm": "concat",
        "freeze_statistics": True,
        "crop_probability": 1.0,
        "crop_minimum": 0.6,
        "rotation_probability": 1.0,
        "contrast": 0.3,
        "noise": 0.03,
        "orientations": 8,
        "epoch_choice": "healthy",
    },
}
"""What a named recipe changes of Table 1. `small` was found by experiment on sets of 10^3 images, see
docs/representation.md; galaxies aligned by the cutout step add `rotation_maximum: 15` and `orientations: 4`."""


class Recipe(Settings):
    """Everything that decides what a trained network is (paper Table 1 and 4.1), by name and with changes to it.

    The defaults below are the paper's; a preset replaces some of them, and keys beside `preset` replace its own.
    """

    preset: Literal["paper", "small"] = Field(default="small", description="`paper`: Table 1; `small`: see PRESETS")
    backbone: str = Field(default="resnet18", description="any timm model name")
    image_size: int = Field(default=300, ge=16, description="side of the network's input, pixels")
    epochs: int = Field(default=20, ge=0)
    batch_size: int = Field(default=128, ge=2)
    learning_rate: float = Field(default=1e-4, gt=0, description="of Adam")
    tau: float = Field(default=0.99, ge=0, le=1, description="target decay (paper Eq. 1)")
    projection_size: int = Field(default=256, ge=2, description="256 as byol-pytorch runs, 100 as the text says")
    projection_hidden_size: int = Field(default=4096, ge=2)
    batch_norm: Literal["per_view", "concat"] = Field(default="per_view", description="byol-pytorch <= 0.7 or >= 0.8")
    freeze_statistics: bool = Field(
        default=False, description="keep the running statistics of a pretrained backbone's batch normalisation"
    )
    blur_probability: float = Field(default=0.5, ge=0, le=1)
    flip_probability: float = Field(
        default=0.5, ge=0, le=1, description="of the horizontal and of the vertical flip, each"
    )
    crop_probability: float = Field(default=0.7, ge=0, le=1)
    crop_minimum: float = Field(default=0.7, gt=0, le=1, description="smallest share of the area a resized crop keeps")
    rotation_probability: float = Field(default=0.7, ge=0, le=1)
    rotation_maximum: float = Field(default=180, ge=0, le=180, description="largest rotation either way, degrees")
    contrast: float = Field(
        default=0, ge=0, description="pixels in [0, 1] are raised to exp(u), u uniform in +-contrast; 0 in the paper"
    )
    noise: float = Field(
        default=0, ge=0, description="largest standard deviation of added noise, share of full scale; 0 in the paper"
    )
    orientations: Literal[1, 4, 8] = Field(
        default=1, description="embeddings are the mean over the image (1), its mirror images (4), also turned (8)"
    )
    precision: Literal["float32", "bfloat16"] = Field(
        default="float32", description="of training; on CPUs bfloat16 helps ResNets and slows EfficientNets"
    )
    epoch_choice: Literal["last", "healthy"] = Field(
        default="last", description="which epoch is used: the last, or the healthiest; labels have no part in it"
    )
    seed: int = Field(default=0, ge=0)
    trainer: Annotated[str, AddedLater(), PluginName("trainers")] = Field(
        default="byol",
        description="`byol`; `byol_pytorch`, the package the paper used; or a trainer that another package registers",
    )

    @model_validator(mode="before")
    @classmethod
    def _of_preset(cls, values: Any) -> Any:
        if isinstance(values, dict):
            return PRESETS.get(values.get("preset", "small"), {}) | values
        return values

    @field_validator("trainer")
    @classmethod
    def _registered_trainer(cls, value: str) -> str:
        plugins.find("trainers", value)
        return value


class Cut(Settings):
    """One condition on a vote fraction: `answer` fraction above `above` (or below `below`) with at least
    `minimum_votes` votes for `question`."""

    question: str
    answer: str
    above: float | None = None
    below: float | None = None
    minimum_votes: int = Field(default=5, ge=1)


class EvaluationClass(Settings):
    """A class of the evaluation subset, by cuts on the votes or by catalogue labels."""

    name: str
    cuts: tuple[Cut, ...] = ()
    labels: tuple[str, ...] = ()

    @model_validator(mode="after")
    def _one_definition(self) -> "EvaluationClass":
        if bool(self.cuts) == bool(self.labels):
            raise ValueError(f"class {self.name!r} needs either cuts (on votes) or labels, and not both")
        return self


class Evaluation(Settings):
    """The contrived classification problem that judges a representation (paper 5)."""

    classes: tuple[EvaluationClass, ...] = ()
    reject: tuple[Cut, ...] = Field(
        default=(), description="cuts every member must pass whatever its class (no mergers)"
    )
    maximum_per_class: int | None = Field(
        default=None, description="random sample per class, to balance and to bound the cost"
    )
    neighbours: int = 5
    splits: int = 50
    test_fraction: float = Field(default=0.25, gt=0, lt=1)
    seed: int = 0


class Mixture(Settings):
    """The Bayesian Gaussian mixture (paper 6.1)."""

    components: int = 20
    weight_concentration_prior: float = 0.5
    n_init: int = 10
    max_iter: int = 1000
    tol: float = 1e-3
    seed: int = 0


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


class Umap(Settings):
    """UMAP as the paper sets it (3.2)."""

    n_neighbors: int = 15
    min_dist: float = 0.01
    seed: int = 0


class Anomaly(Settings):
    """The target the simulated oracle scores, and the active-learning budget (paper 7.1)."""

    name: str = "anomalies"
    answers: tuple[str, ...] = Field(default=(), description="vote answers whose fractions add up to the probability")
    question: str | None = None
    truth_threshold: float = 0.4
    minimum_votes: int = 10
    labels: tuple[str, ...] = Field(default=(), description="catalogue labels that score 5; all others score 0")
    seeds: int = 10
    per_round: int = 10
    budget: int = 200
    trade_off: float = Field(default=0.5, description="of expected improvement, which the published learner asks by")
    learner: Annotated[str, PluginName("learners")] = Field(
        default="corrected",
        description="`published`; or `corrected`: half-standardised components, a fixed kernel, the strangest until "
        "scores differ, then the highest predicted, and scores given kept in the ranking (docs/anomaly-search.md); or "
        "another package's",
    )

    @field_validator("learner")
    @classmethod
    def _registered_learner(cls, value: str) -> str:
        plugins.find("learners", value)
        return value


class Similarity(Settings):
    """Queries of the similarity search (paper 7.2)."""

    queries: tuple[str, ...] = Field(default=(), description="galaxy ids; empty takes the best ranked galaxies")
    n_queries: int = 4
    neighbours: int = 8


class DriftLimits(Settings):
    """When a delivery is so unlike what the models were fitted to that retraining is advised (`batch_drift`)."""

    spread: float = Field(default=1.5, gt=1, description="of variance and squared distance, over the fitted galaxies'")
    shift: float = Field(default=0.5, gt=0, description="of the mean, in standard deviations, over all components")
    unsure: float = Field(default=0.2, gt=0, le=1, description="added share of members below probability one half")
    fallback: float = Field(default=0.2, gt=0, le=1, description="share of images that keep their original frame")


class Survey(Settings):
    """A survey: its source, its preprocessing, its start weights, its recipe and what is asked of it."""

    name: Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$")]
    title: str
    description: str
    reference: str = Field(default="", description="where the data comes from and how to cite it; shown in `catalogue`")
    owner: str | None = Field(
        default=None,
        description="who to ask, an e-mail address or `team:NAME`, for the UI; `team:<name>` if absent",
    )
    source: Source
    cutout: CutoutSettings = CutoutSettings()
    artefacts: ArtefactRules = ArtefactRules()
    start_weights: tuple[str, ...] = Field(
        default=("random", "imagenet"), description="`random`, `imagenet`, `rgz`, or the name of another survey"
    )
    main_start_weights: str = Field(default="imagenet", description="the one the ranking and the searches read")
    rgz_checkpoint: str | None = Field(default=None, description="path of the Radio Galaxy Zoo checkpoint")
    recipe: Recipe = Recipe()
    evaluation: Evaluation = Evaluation()
    variance: float = Field(default=0.95, gt=0, le=1, description="share of the variance the PCA keeps (paper 4.2)")
    mixture: Mixture = Mixture()
    votes: VoteRules = VoteRules()
    labelling: Labelling = Labelling()
    umap: Umap = Umap()
    anomaly: Anomaly = Anomaly()
    similarity: Similarity = Similarity()
    drift: DriftLimits = DriftLimits()

    @model_validator(mode="before")
    @classmethod
    def _mirrored_by_its_name(cls, values: Any) -> Any:
        source = values.get("source") if isinstance(values, dict) else None
        if isinstance(source, dict) and "://" in str(source.get("path")):
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

    @field_validator("start_weights")
    @classmethod
    def _distinct(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if len(set(value)) != len(value) or not value:
            raise ValueError("start_weights must be a non-empty list without repeats")
        return value

    @property
    def starts_main_first(self) -> tuple[str, ...]:
        """The start weights, the main ones before the others."""
        return tuple(sorted(self.start_weights, key=lambda start: start != self.main_start_weights))

    @model_validator(mode="after")
    def _main_is_listed(self) -> "Survey":
        if self.main_start_weights not in self.start_weights:
            raise ValueError(f"main_start_weights {self.main_start_weights!r} is not among {list(self.start_weights)}")
        return self


class SurveyError(ValueError):
    """A survey file that cannot be used; the message names the file, the reason and the remedy."""


def data_root() -> Path:
    """The folder that holds raw/, lake/ and surveys/: $GALAXY_ASSETS_DATA, else ./data."""
    return Path(os.environ.get("GALAXY_ASSETS_DATA", "data")).expanduser().resolve()


def _merge(base: dict[str, Any], over: dict[str, Any]) -> dict[str, Any]:
    merged = dict(base)
    for key, value in over.items():
        both = isinstance(value, dict) and isinstance(merged.get(key), dict)
        merged[key] = _merge(merged[key], value) if both else value
    return merged


def _spelled_out(settings: dict[str, Any]) -> dict[str, Any]:
    """`recipe: paper` is short for `recipe: {preset: paper}`."""
    if isinstance(settings.get("recipe"), str):
        return settings | {"recipe": {"preset": settings["recipe"]}}
    return settings


def read_survey(path: Path) -> Survey:
    """Read one survey file; `extends: NAME` starts from the shipped survey of that name and overrides it.

    Raises SurveyError, which names the file and every key that is wrong.
    """
    try:
        settings = yaml.safe_load(path.read_text(encoding="utf-8"))
        if not isinstance(settings, dict):
            raise SurveyError(f"{path}: not a survey; expected `name:`, `source:` and so on at the top level")
        parent = settings.pop("extends", None)
        if parent is not None:
            shipped = SHIPPED / f"{parent}.yaml"
            if not shipped.is_file():
                known = ", ".join(sorted(p.stem for p in SHIPPED.glob("*.yaml")))
                raise SurveyError(f"{path}: extends {parent!r}, which is not shipped; shipped surveys are {known}")
            base = yaml.safe_load(shipped.read_text(encoding="utf-8"))
            settings = _merge(_spelled_out(base), _spelled_out(settings))
        return Survey.model_validate(_spelled_out(settings))
    except yaml.YAMLError as error:
        raise SurveyError(f"{path}: not valid YAML: {error}") from error
    except ValidationError as error:
        wrong = "; ".join(f"{'.'.join(map(str, e['loc'])) or 'survey'}: {e['msg']}" for e in error.errors())
        raise SurveyError(f"{path}: {wrong}. Correct the file or compare it with {SHIPPED}") from error


def load_surveys(root: Path | None = None) -> dict[str, Survey]:
    """All surveys by name: the shipped ones, then those in <data>/surveys/, which replace a shipped one of their name.

    Raises SurveyError where two user files carry one name, or start weights name a survey that does not exist.
    """
    folder = (root or data_root()) / "surveys"
    surveys = {survey.name: survey for survey in map(read_survey, sorted(SHIPPED.glob("*.yaml")))}
    origin: dict[str, Path] = {}
    for path in sorted([*folder.glob("*.yaml"), *folder.glob("*.yml")]):
        survey = read_survey(path)
        if survey.name in origin:
            raise SurveyError(f"{path}: survey {survey.name!r} is already defined in {origin[survey.name]}; rename one")
        origin[survey.name] = path
        surveys[survey.name] = survey
    for survey in surveys.values():
        for start in survey.start_weights:
            if start not in STARTS and (start not in surveys or start == survey.name):
                raise SurveyError(
                    f"survey {survey.name!r}: start weights {start!r} are not random, imagenet, rgz or another survey"
                )
    for name in surveys:
        _refuse_circle(surveys, name, ())
    return surveys


def _refuse_circle(surveys: dict[str, Survey], name: str, path: tuple[str, ...]) -> None:
    """Raise SurveyError where a survey's start weights come, through others, from itself."""
    if name in path:
        raise SurveyError(f"start weights in a circle: {' <- '.join([*path, name])}; break it in data/surveys/")
    for start in surveys[name].start_weights:
        if start in surveys:
            _refuse_circle(surveys, start, (*path, name))
