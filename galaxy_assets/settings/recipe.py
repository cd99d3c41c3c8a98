"""Everything that decides what a trained network is.

Belongs here: the recipe and its presets; its fingerprint is part of a checkpoint's name. Does not belong here: training
(`science.byol`), or a choice that is made after training.
"""

from typing import Annotated, Any, Literal

from pydantic import Field, field_validator, model_validator

from galaxy_assets import plugins
from galaxy_assets.settings.base import AddedLater, PluginName, Settings

START = "start"
"""In `Recipe.beside`: the network as it was before its training."""
MIDDLE = "middle"
"""In `Recipe.beside`: the middle block of that network."""
PYRAMID = "pyramid"
"""In `Recipe.beside`: the middle block of that network, over the image and over places of it."""
HALVES = MIDDLE, PYRAMID
"""In `Recipe.beside`: what the first half of that network answers."""
OF_START = START, *HALVES
"""In `Recipe.beside`: what is the network's own."""

_Factor = Annotated[float, Field(gt=0, le=10)]

PRESETS: dict[str, dict[str, Any]] = {
    "paper": {},
    "small": {
        "image_size": 96,
        "epochs": 8,
        "batch_size": 32,
        "projection_size": 256,
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


_FEWEST_FOR_RANDOM = 10_000  # below it training made random weights worse in every trial of docs/representation.md


class Recipe(Settings):
    """Everything that decides what a trained network is (paper Table 1 and 4.1), by name and with changes to it.

    The defaults below are the paper's; a preset replaces some of them, and keys beside `preset` replace its own.
    """

    preset: Literal["paper", "small"] = Field(default="small", description="`paper`: Table 1; `small`: see PRESETS")
    backbone: str = Field(default="resnet18", description="any timm model name")
    image_size: int = Field(default=300, ge=16, description="side of the network's input, pixels")
    epochs: int = Field(default=20, ge=0, description="passes over the clean galaxies; 0 trains nothing")
    batch_size: int = Field(default=128, ge=2, description="images per step of training")
    learning_rate: float = Field(default=1e-4, gt=0, description="of Adam")
    tau: float = Field(default=0.99, ge=0, le=1, description="target decay (paper Eq. 1)")
    projection_size: int = Field(
        default=100,
        ge=2,
        description="neurons in the projection layer: 100 in Table 1; 256 is byol-pytorch's default",
    )
    projection_hidden_size: int = Field(
        default=4096, ge=2, description="width of the hidden layer of projector and predictor"
    )
    batch_norm: Literal["per_view", "concat"] = Field(default="per_view", description="byol-pytorch <= 0.7 or >= 0.8")
    freeze_statistics: bool = Field(
        default=False, description="keep the running statistics of a pretrained backbone's batch normalisation"
    )
    blur_probability: float = Field(default=0.5, ge=0, le=1, description="of a Gaussian blur")
    flip_probability: float = Field(
        default=0.5, ge=0, le=1, description="of the horizontal and of the vertical flip, each"
    )
    crop_probability: float = Field(default=0.7, ge=0, le=1, description="of a resized crop")
    crop_minimum: float = Field(default=0.7, gt=0, le=1, description="smallest share of the area a resized crop keeps")
    rotation_probability: float = Field(default=0.7, ge=0, le=1, description="of a rotation")
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
    seed: int = Field(
        default=0, ge=0, lt=2**31, description="of new layers, the order of images, augmentations and the ranking"
    )

    embedding_precision: Annotated[Literal["float32", "bfloat16"], AddedLater()] = Field(
        default="float32",
        description="of the features that everything after training reads; `bfloat16` is faster on GPUs and turns "
        "features by some 1e-5 in their cosine",
    )
    trainer: Annotated[str, AddedLater(), PluginName("trainers")] = Field(
        default="byol",
        description="`byol`; `byol_pytorch`, the package the paper used; or a trainer that another package registers",
    )

    beside: Annotated[dict[str, _Factor], AddedLater(), PluginName("start_weights")] = Field(
        default={},
        description="features that stand beside those of the chosen epoch: `start`, those of the network before it was "
        "trained, `middle`, those of that network's middle block, `pyramid`, those of that block over the image and "
        "over places of it, or start weights such as `classical`; each is scaled to the same total variance and "
        "then by its factor. A list has factors of 1",
    )

    train_random_from: Annotated[int | None, AddedLater()] = Field(
        default=None,
        ge=0,
        description="fewest clean galaxies on which random start weights are trained; 0 trains them always; "
        "left out, it is 10,000 with the preset `small` and 0 with `paper`",
    )

    @property
    def fewest_for_random(self) -> int:
        """Fewest clean galaxies on which random start weights are trained."""
        if self.train_random_from is not None:
            return self.train_random_from
        return 0 if self.preset == "paper" else _FEWEST_FOR_RANDOM

    def of_epochs(self) -> "Recipe":
        """The recipe without what changes the weights of no epoch.

        Returns
        -------
        Recipe
            `beside` and `train_random_from` are at their defaults, so that changing them trains nothing anew.
        """
        return self.model_copy(update={"beside": {}, "train_random_from": None})

    @field_validator("beside", mode="before")
    @classmethod
    def _by_one(cls, value: Any) -> Any:
        if isinstance(value, str):
            raise ValueError(f"expected a list, such as [{value}], or factors, such as {{{value}: 1.0}}")
        return dict.fromkeys(value, 1.0) if isinstance(value, list | tuple) else value

    @field_validator("trainer")
    @classmethod
    def _registered(cls, value: str) -> str:
        return plugins.find("trainers", value).name

    @model_validator(mode="before")
    @classmethod
    def _of_preset(cls, values: Any) -> Any:
        preset = values.get("preset", "small") if isinstance(values, dict) else None
        return PRESETS.get(preset, {}) | values if isinstance(preset, str) else values
