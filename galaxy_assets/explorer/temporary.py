"""Folders of a server in the machine's temporary folder, and those of servers that were killed.

Belongs here: their names, and removing what no server removes any more. Does not belong here: what is in them.
"""

import os
import shutil
import tempfile
from pathlib import Path

from galaxy_assets.storage.owners import owner, runs

DOWNLOADS = "galaxy_assets_explorer_"
"""Of uploads and downloads."""

STORAGE = "galaxy_assets_page_"
"""Of NiceGUI."""


def make_folder(kind: str) -> Path:
    """A new folder of this process.

    Parameters
    ----------
    kind : str
        DOWNLOADS or STORAGE.

    Returns
    -------
    Path
    """
    return Path(tempfile.mkdtemp(prefix=f"{kind}{owner()}_"))


def remove_left() -> list[Path]:
    """Remove the folders of processes that have ended without removing them, such as servers that were killed.

    Returns
    -------
    list of Path
        Without folders of other people, and of processes that cannot be seen from here.
    """
    gone = []
    for kind in (DOWNLOADS, STORAGE):
        for folder in Path(tempfile.gettempdir()).glob(f"{kind}*"):
            name = folder.name.removeprefix(kind).split("_")[0]
            if runs(name, shared=False) is False and _is_mine(folder):
                shutil.rmtree(folder, ignore_errors=True)
                gone.append(folder)
    return gone


def _is_mine(folder: Path) -> bool:
    try:
        return not folder.is_symlink() and folder.stat().st_uid == os.getuid()
    except OSError:  # another server has just removed it
        return False
