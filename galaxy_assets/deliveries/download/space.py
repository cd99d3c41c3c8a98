"""The room that downloads take on the disk.

Belongs here: the room that is free, and that files take. Does not belong here: what is still to be fetched (`pending`).
"""

import shutil
import zipfile
from collections.abc import Iterable
from pathlib import Path

from galaxy_assets.deliveries.download.offers import FetchError
from galaxy_assets.deliveries.download.progress import amount

_BLOCK = 4096  # bytes in which most file systems give out their space


def bytes_on_disk(members: Iterable[zipfile.ZipInfo]) -> int:
    """What the members of a zip take when they are unpacked.

    Parameters
    ----------
    members : iterable of zipfile.ZipInfo
        To be unpacked.

    Returns
    -------
    int
        Bytes, in whole blocks.
    """
    return sum(-(-member.file_size // _BLOCK) * _BLOCK for member in members)


def check_space(folder: Path, needed: int) -> None:
    """Check that the disk has room.

    Parameters
    ----------
    folder : Path
        A folder on the disk.
    needed : int
        Bytes.

    Raises
    ------
    FetchError
        Where it has less, with what to do.
    """
    while not folder.exists():
        folder = folder.parent
    free = shutil.disk_usage(folder).free
    if needed > free:
        raise FetchError(
            f"{folder}: {amount(needed)} are needed and {amount(free)} are free, so {amount(needed - free)} are "
            "missing. Free them, set GALAXY_ASSETS_DATA to a folder on a larger disk, fetch fewer files (--only), or "
            "let each zip be removed once it is unpacked (--delete-archives)"
        )
