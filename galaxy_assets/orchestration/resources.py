"""The resources that assets and checks use: the tables of a data folder, and the folder itself.

Belongs here: their keys, and making them for one data folder. Does not belong here: how tables are kept (`io_manager`).
"""

import functools
from pathlib import Path
from typing import Any

import dagster as dg

from galaxy_assets.orchestration.io_manager import ParquetLake
from galaxy_assets.storage.layout import Layout
from galaxy_assets.storage.mounts import names_of

TABLES, LAKE = "galaxy_assets_tables", "galaxy_assets_lake"
"""Keys of the I/O manager and of the data folder, which nothing else in somebody's own project is likely to use."""


class Lake(dg.ConfigurableResource):
    """The data folder, as what assets need of it beside their tables: pixels, checkpoints, figures, deliveries.

    Attributes
    ----------
    root : str
        Its path.
    names : list of str
        Its names elsewhere (`storage.mounts.names_of`), by which the explorer knows whether it shows this one.
    """

    root: str
    names: list[str] = []

    @property
    def layout(self) -> Layout:
        """Paths below the data folder."""
        return Layout(Path(self.root))


@functools.cache  # definitions that share a folder can be merged where they share the objects
def resources(root: Path) -> dict[str, Any]:
    """The resources of one data folder.

    Parameters
    ----------
    root : Path
        The data folder.

    Returns
    -------
    dict of str to resource
        By key.
    """
    return {TABLES: ParquetLake(root=str(root)), LAKE: Lake(root=str(root), names=names_of(root))}
