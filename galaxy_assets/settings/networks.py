"""Networks whose weights are files that a person puts into the data folder.

Belongs here: what is said of such a network. Does not belong here: reading the file (`science.encoders.network_files`).
"""

from pathlib import PurePosixPath
from typing import Annotated

from pydantic import Field, field_validator

from galaxy_assets.settings.base import Settings

Name = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$")]
"""Of a network: lower-case letters, digits and _."""


class Network(Settings):
    """A network of timm and the file of its weights; `start_weights` may list its name."""

    backbone: str = Field(description="any timm model name")
    weights: str = Field(description="file of its weights in the data folder: safetensors, or tensors that torch saved")
    prefix: str = Field(
        default="",
        description="what the names of its tensors begin with; needed where the file holds several networks alike",
    )
    mean: tuple[float, ...] | None = Field(
        default=None,
        description="of each channel of the images it was trained on, for pixels in [0, 1]; timm's, if absent",
    )
    std: tuple[float, ...] | None = Field(default=None, description="their standard deviations; timm's, if absent")

    @field_validator("weights")
    @classmethod
    def _in_the_data_folder(cls, value: str) -> str:
        path = PurePosixPath(value)
        if path.is_absolute() or ".." in path.parts or not path.name:
            raise ValueError(f"{value!r} is no file in the data folder; put it there and give its path relative to it")
        return value
