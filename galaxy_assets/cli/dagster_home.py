"""Where Dagster keeps its history of runs when nobody says it.

Belongs here: the choice of the folder, and making it. Does not belong here: what is kept there (Dagster).
"""

import os
import shutil
from pathlib import Path

from galaxy_assets.storage.files import told_of
from galaxy_assets.storage.layout import Layout

_NAME = ".dagster"

SETTINGS = Path(__file__).with_name("dagster.yaml")
"""Dagster's settings on one machine: pools, run monitoring, no telemetry."""


def dagster_home(layout: Layout) -> Path:
    """Where the history of a data folder's runs lies.

    Parameters
    ----------
    layout : Layout
        The data folder.

    Returns
    -------
    Path
        Absolute: $DAGSTER_HOME where it is set, of which `~` is the home folder. Else `.dagster` in the data folder, so
        that data folders beside each other share neither runs nor the limit on the GPU. `.dagster` beside the data
        folder where `make` puts it (the folder `data` of this repository), and where the runs of this data folder are
        there already, as earlier releases had it.
    """
    if given := os.environ.get("DAGSTER_HOME"):
        return Path(given).expanduser().absolute()
    own, beside = layout.root / _NAME, layout.root.parent / _NAME
    of_make = layout.root.name == "data" and (layout.root.parent / "galaxy_assets" / "definitions.py").exists()
    if of_make or (beside.is_dir() and not own.is_dir() and layout.lake.is_dir()):
        return beside
    return own


def use_dagster_home(layout: Layout) -> Path:
    """Tell Dagster where its history lies, and make that folder, with the settings of this package.

    Parameters
    ----------
    layout : Layout
        The data folder.

    Returns
    -------
    Path
        A `dagster.yaml` that is there is kept: an instance of somebody's own has its storage and launcher in it.

    Raises
    ------
    NotWritten
        Where it cannot be made.
    """
    home = dagster_home(layout)
    os.environ["DAGSTER_HOME"] = str(home)
    own = home / SETTINGS.name
    with told_of(own):
        home.mkdir(parents=True, exist_ok=True)
        if not own.exists():
            shutil.copyfile(SETTINGS, own)
    return home
