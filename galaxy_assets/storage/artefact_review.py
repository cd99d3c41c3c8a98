"""The map that the boxes of an artefact review are drawn on.

Belongs here: what tells one map of pretrained features from another. Does not belong here: the boxes and the file that
holds them (`science.artefacts`), drawing them (`explorer.regions`).
"""

import pyarrow as pa

from galaxy_assets.storage.layout import Layout
from galaxy_assets.storage.tables import digest, read_table

_PLACES = ["galaxy_id", "x", "y"]


def map_digest(artefact_umap_model: pa.Table) -> str:
    """What a box on the map refers to: the galaxies that the map was fitted to and where they lie.

    Parameters
    ----------
    artefact_umap_model : pyarrow.Table
        At least its columns `galaxy_id`, `x` and `y`.

    Returns
    -------
    str
        16 hex digits, which stand in the column `map` of a review and of `artefact_regions`.
    """
    return digest(artefact_umap_model.select(_PLACES))


def drawn_on(layout: Layout, survey: str) -> str:
    """`map_digest` of a survey's map as the lake has it.

    Parameters
    ----------
    layout : Layout
        The data folder.
    survey : str
        Name of the survey.

    Returns
    -------
    str
        16 hex digits.

    Raises
    ------
    FileNotFoundError
        Where the lake has no map of the survey.
    """
    return map_digest(read_table(layout.table(survey, "artefact_umap_model"), _PLACES))
