"""Which evidence proposes that a cutout is an artefact.

Belongs here: settings that the artefact step reads. Does not belong here: the measurements of the evidence
(`science.artefacts`).
"""

from typing import Annotated, Literal

from pydantic import Field

from galaxy_assets.settings.base import AddedLater, Settings


class ArtefactRules(Settings):
    """Which evidence proposes that a cutout is an artefact (paper 3.1-3.3)."""

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
    decisive: tuple[Literal["blank", "saturated", "edge_flux", "trail", "nodata", "fallback_no_contour"], ...] = Field(
        default=("blank", "trail"), description="evidence that removes an image by itself, wherever it lies on the map"
    )
    region_purity: float = Field(
        default=0.5, description="share of suspects from which a UMAP region is proposed for removal"
    )
    region_minimum: int = Field(default=5, description="smallest number of images in a proposed region")

    nodata_fraction: Annotated[float, AddedLater()] = Field(
        default=0.2, description="share of a cutout's values without data, and filled, from which it is suspect"
    )
    pretrained_frame: Annotated[Literal["whole", "astronomaly"], AddedLater()] = Field(
        default="whole",
        description="what the pretrained network sees of a cutout for the artefact map: all of it, at "
        "`recipe.image_size`; or, as in Astronomaly's code, the central 224 of 256 pixels",
    )
