"""Where Dagster keeps its history of runs when nobody says it.

Belongs here: the choice of the folder, and making it. Does not belong here: what is kept there (Dagster).
"""

import os
import shutil
from pathlib import Path

from galaxy_assets.storage.files import told_of
from galaxy_assets.storage.layout import Layout

_NAME = ".dagster"
_SETTINGS = "dagster.yaml"


def dagster_home(layout: Layout) -> Path:
    """Where the history of a data folder's runs lies.

    Parameters
    ----------
    layout : Layout
        The data folder.

    Returns
    -------
    Path
        $DAGSTER_HOME where it is set. Else `.dagster` in the data folder, so that data folders beside each other share
        neither runs nor the limit on the GPU. `.dagster` beside the data folder where `make` puts it (the folder `data`
        of this repository), and where the runs of this data folder are there already, as earlier releases had it.
    """
    if given := os.environ.get("DAGSTER_HOME"):
        return Path(given)
    own, beside = layout.root / _NAME, layout.root.parent / _NAME
    of_make = layout.root.name == "data" and (layout.root.parent / _SETTINGS).exists()
    if of_make or (beside.is_dir() and not own.is_dir() and layout.lake.is_dir()):
        return beside
    return own


def use_dagster_home(layout: Layout) -> Path:
    """Tell Dagster where its history lies, and make that folder, with this repository's settings.

    Parameters
    ----------
    layout : Layout
        The data folder.

    Returns
    -------
    Path

    Raises
    ------
    NotWritten
        Where it cannot be made.
    """
    home = dagster_home(layout)
    os.environ["DAGSTER_HOME"] = str(home)
    settings = Path(__file__).parents[2] / _SETTINGS
    with told_of(home / _SETTINGS):
        home.mkdir(parents=True, exist_ok=True)
        if settings.exists() and not (home / _SETTINGS).exists():
            shutil.copy(settings, home)
    return home
