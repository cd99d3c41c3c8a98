"""Which map a page was opened on: what changes when its files do.

Belongs here: the version of a map's files, and what artefact boxes refer to. Does not belong here: the map itself
(`view`), what becomes of a page whose map was made anew (its panels).
"""

import hashlib
from pathlib import Path

from galaxy_assets.storage.artefact_review import drawn_on
from galaxy_assets.storage.files import DamagedFile
from galaxy_assets.storage.layout import Layout
from galaxy_assets.storage.versions import stamp

PRETRAINED = "pretrained features"
"""The map of the ImageNet network's features of every image, on which artefact regions are drawn, as a start weight."""


def drawn_on_now(layout: Layout, survey: str) -> str:
    """What boxes that are drawn on the map of pretrained features refer to.

    Parameters
    ----------
    layout : Layout
    survey : str

    Returns
    -------
    str
        As `storage.artefact_review.drawn_on` has it; empty where the lake does not say it.
    """
    try:
        return drawn_on(layout, survey)
    except (FileNotFoundError, DamagedFile):
        return ""


def version(layout: Layout, survey: str, start: str) -> str:
    """What the files of a map are: changes when one of them does.

    Parameters
    ----------
    layout : Layout
    survey, start : str

    Returns
    -------
    str
        12 hex digits, of names and contents.
    """
    home = layout.lake / survey
    names = ["artefact_map"] if start == PRETRAINED else ["umap"]
    files: list[Path] = []
    for name in [*names, "cutouts"]:
        files += [home / f"{name}.parquet", *sorted((home / name).rglob("[!.]*.parquet"))]
    return hashlib.sha256(f"{start} {stamp(files)}".encode()).hexdigest()[:12]
