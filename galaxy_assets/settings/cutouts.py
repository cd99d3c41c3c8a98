"""How the central source is found and cut out.

Belongs here: settings that `science.cutouts` reads. Does not belong here: any pixel.
"""

from typing import Annotated, Any, Literal

from pydantic import Field, field_validator, model_validator

from galaxy_assets import plugins
from galaxy_assets.settings.base import AddedLater, PluginName, Settings

MOST_STORED = 1024
"""Greatest side of a stored cutout, pixels."""


class CutoutSettings(Settings):
    """How the central source is found and cut out (paper 2.1; the readings differ, see docs/fidelity.md)."""

    method: Annotated[str, PluginName("cutters")] = Field(
        default="sigma_clip",
        description="a cutter plug-in: `sigma_clip`, a box around the clipped contour (the paper's); `flux_radius`, "
        "around the radius of the flux; `central`, of fixed size around the centre; `whole`, the image as it is, "
        "with sky beside it where it is not square; or one of another package",
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
        default=True,
        description="square box (keeps the aspect of the galaxy) or the bounding rectangle, which fills the cutout",
    )
    clamp: Literal["shift", "trim"] = Field(
        default="shift", description="a box that leaves the frame is moved inside it, or loses what lies outside"
    )
    source: Literal["central", "nearby", "all"] = Field(
        default="central",
        description="method `flux_radius`: the connected pixels at the centre; those next to the centre and what lies "
        "about them (lobes); or all of the frame above the threshold",
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
    size: int = Field(default=300, ge=16, le=MOST_STORED, description="side of the stored cutout, pixels")
    interpolation: Literal["area_cubic", "linear"] = Field(
        default="area_cubic", description="area where an axis shrinks and cubic where it grows, or linear for both"
    )
    grey: bool = Field(default=False, description="store one channel (radio) instead of three")

    nodata: Annotated[Literal["auto", "none"] | tuple[float, ...], AddedLater()] = Field(
        default="auto",
        description="values that stand for no data, beside NaN and infinities: `auto` finds those of float images that "
        "lie far outside the rest; `none`; or a list, which holds for 8-bit images too",
    )
    stretch: Annotated[Literal["linear", "asinh", "percentile"], AddedLater()] = Field(
        default="linear",
        description="how float images become 8 bits: `linear` from the least to the greatest value of all bands; "
        "`percentile`, each band from its 0.5 % to its 99.5 %; `asinh`, each band from its sky to its 99.8 %, linear "
        "in the noise and logarithmic above it",
    )

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
