"""The resources that assets and checks use: the tables of a data folder, and the folder itself.

Belongs here: their keys, and making them for one data folder. Does not belong here: how tables are kept (`io_manager`).
"""

import functools
import hashlib
from pathlib import Path
from typing import Any, NamedTuple

import dagster as dg

from galaxy_assets.orchestration.io_manager import ParquetLake
from galaxy_assets.storage.layout import Layout
from galaxy_assets.storage.mounts import names_of

TABLES, LAKE = "galaxy_assets_tables", "galaxy_assets_lake"
"""Keys of the I/O manager and of the data folder, which nothing else in somebody's own project is likely to use."""


class Keys(NamedTuple):
    """Keys of the resources of one data folder; a project in which there are several has as many.

    Attributes
    ----------
    tables, lake : str
        Of the I/O manager and of the data folder.
    """

    tables: str = TABLES
    lake: str = LAKE

    @classmethod
    def of(cls, root: Path) -> "Keys":
        """Those of a data folder beside another one."""
        which = hashlib.sha256(str(root).encode()).hexdigest()[:8]
        return cls(f"{TABLES}_{which}", f"{LAKE}_{which}")


KEYS = Keys()
"""Those of the only data folder."""


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
def resources(root: Path, keys: Keys = KEYS) -> dict[str, Any]:
    """The resources of one data folder.

    Parameters
    ----------
    root : Path
        The data folder.
    keys : Keys

    Returns
    -------
    dict of str to resource
        By key.
    """
    return {keys.tables: ParquetLake(root=str(root)), keys.lake: Lake(root=str(root), names=names_of(root))}
