"""Which evidence proposes that a cutout is an artefact.

Belongs here: settings that the artefact step reads. Does not belong here: the measurements of the evidence
(`science.artefacts`).
"""

from typing import Annotated, Literal, get_args

from pydantic import Field

from galaxy_assets.settings.base import AddedLater, Settings

Limit = float | Literal["auto"]
Reason = Literal["blank", "saturated", "edge_flux", "trail", "nodata", "fallback_no_contour"]

LEAST: dict[str, float] = {
    "blank_fraction": 0.98,
    "saturated_fraction": 0.05,
    "edge_flux_ratio": 1.0,
    "trail_length": 0.2,
}
"""The least that an `auto` limit can be: below it nothing is suspect in any survey."""


class ArtefactRules(Settings):
    """Which evidence proposes that a cutout is an artefact (paper 3.1-3.3).

    A limit that is `auto` is LEAST's or, where the survey's own images reach that often, one that only its outliers
    reach (`science.artefacts.limits_of`). A limit that a person gives is taken as it is.
    """

    blank_fraction: Limit = Field(
        default="auto", description="share of pixels at the modal value from which an image is blank"
    )
    saturated_fraction: Limit = Field(
        default="auto", description="share of saturated pixels from which an image is suspect"
    )
    edge_flux_ratio: Limit = Field(
        default="auto", description="mean flux of the border over that of the centre from which suspect"
    )
    trail_length: Limit = Field(
        default="auto", description="length over the image's side of a line in one band alone from which it is a trail"
    )
    decisive: tuple[Reason, ...] = Field(
        default=("blank", "trail"), description="evidence that removes an image by itself, wherever it lies on the map"
    )
    region_purity: float = Field(
        default=0.5, ge=0, le=1, description="share of suspects from which a UMAP region is proposed for removal"
    )
    region_minimum: int = Field(default=5, ge=1, description="smallest number of images in a proposed region")
    region_evidence: Annotated[tuple[Reason, ...], AddedLater()] = Field(
        default=get_args(Reason), description="evidence from which regions are proposed for removal"
    )
    nodata_fraction: Annotated[float, AddedLater()] = Field(
        default=0.2,
        ge=0,
        le=1,
        description="share of a cutout's values without data, and filled, from which it is suspect",
    )
    most_removed: Annotated[float, AddedLater()] = Field(
        default=0.05,
        ge=0,
        le=1,
        description="largest share of the images that is removed without a person's yes, of those that the artefact "
        "map is fitted on and of those that a delivery brings later; where more would be, none is",
    )
    pretrained_frame: Annotated[Literal["whole", "astronomaly"], AddedLater()] = Field(
        default="whole",
        description="what the pretrained network sees of a cutout for the artefact map: all of it, at "
        "`recipe.image_size`; or, as in Astronomaly's code, the central 224 of 256 pixels",
    )

    def least(self, name: str) -> float:
        """The limit of a measure as far as it is known before the survey's images are.

        Parameters
        ----------
        name : str
            Of LEAST.

        Returns
        -------
        float
            A person's, or LEAST's.
        """
        given = getattr(self, name)
        return LEAST[name] if given == "auto" else given

    @property
    def evidence_that_counts(self) -> list[Reason]:
        """What removes an image or proposes a region, in the order of `Reason`."""
        return [reason for reason in get_args(Reason) if reason in {*self.region_evidence, *self.decisive}]

    def of_evidence(self) -> "ArtefactRules":
        """The rules without what no evidence rests on, so that raising it measures nothing again.

        Returns
        -------
        ArtefactRules
        """
        return self.model_copy(update={"most_removed": type(self).model_fields["most_removed"].default})
