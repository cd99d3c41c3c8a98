"""Where a survey's deliveries lie, and which reader understands them.

Belongs here: settings that a reader reads. Does not belong here: reading (`deliveries.readers`).
"""

import re
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, field_validator, model_validator

from galaxy_assets import plugins
from galaxy_assets.settings.base import AddedLater, PluginName, Settings


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
        description="table with one row per image, inside `path` or absolute: CSV, Parquet, FITS, VOTable, ECSV, IPAC, "
        "MRT or JSON by its suffix (image_folder, fits_folder)",
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
    folder_labels: Annotated[bool, AddedLater()] = Field(
        default=False,
        description="whether the folder that holds an image is its class, where `labels` gives it none (image_folder, "
        "fits_folder)",
    )
    file_column: Annotated[str | None, AddedLater()] = Field(
        default=None,
        description="column of `labels` with the image's file name where `id_column` holds an id that is no file name; "
        "the id is then taken as it is",
    )
    simulate: Literal["optical", "radio"] | None = Field(
        default=None, description="which demo survey the project simulates"
    )
    n_images: int = Field(default=0, ge=0, description="number of simulated images, over all batches")
    seed: int = Field(default=0, ge=0, lt=2**31, description="seed of the simulation")
    batches: tuple[str, ...] = Field(default=(), description="names of the simulated deliveries, of equal size")

    bands: Annotated[tuple[str | int, ...] | None, AddedLater()] = Field(
        default=None,
        description="one or three planes of a file that are the image, blue first: names as its headers and extensions "
        "have them, or numbers from 1; null for g, r, z where a file names them, else its one or three planes "
        "(image_folder, fits_folder)",
    )
    extension: Annotated[str | int | None, AddedLater()] = Field(
        default=None,
        description="name or number of the FITS extension that holds the image; null for the largest image",
    )
    colour: Annotated[Literal["lupton", "linear"] | None, AddedLater()] = Field(
        default=None,
        description="what becomes of three bands: `lupton`, 8-bit colours made for nanomaggies per pixel; `linear`, "
        "their values, which `cutout.stretch` scales; null for lupton of g, r, z and linear of others",
    )

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

    @field_validator("bands")
    @classmethod
    def _one_or_three(cls, value: tuple[str | int, ...] | None) -> tuple[str | int, ...] | None:
        if value is not None and (len(value) not in (1, 3) or len(set(value)) != len(value)):
            raise ValueError(f"bands are one or three different planes, not {', '.join(map(str, value)) or 'none'}")
        return value

    @property
    def is_elsewhere(self) -> bool:
        """Whether `path` is an address, such as `s3://...`."""
        return re.match(r"[a-z][a-z0-9+.-]*://", self.path) is not None

    def folder(self, raw: Path) -> Path:
        """Where its images lie on this machine: `path` below raw/, or what an address is copied to."""
        return (raw / (self.mirror or self.path)).absolute()

    @model_validator(mode="after")
    def _files_in_a_table(self) -> "Source":
        if self.file_column is not None and self.labels is None:
            raise ValueError("file_column is a column of `labels`: name the table there")
        return self

    @model_validator(mode="after")
    def _positions_in_a_table(self) -> "Source":
        if (self.ra_column is None) != (self.dec_column is None):
            raise ValueError("ra_column and dec_column go together: give both or neither")
        if self.ra_column is not None and self.labels is None:
            raise ValueError("ra_column and dec_column are columns of `labels`: name the table there")
        return self
