"""How much of a machine's disk copies of a bucket may take, and which of them go first.

Belongs here: the limit, and which copies were used longest ago. Does not belong here: removing them (`bucket`).
"""

import os
import re
import shutil
import time
from collections.abc import Mapping
from pathlib import Path

from galaxy_assets.settings.printing import PrintableError
from galaxy_assets.storage.bucket.objects import BucketError

LIMIT = "GALAXY_ASSETS_CACHE_LIMIT"
"""In the environment: the limit, such as `200 GB`."""
_UNITS = {"": 1, "K": 1e3, "M": 1e6, "G": 1e9, "T": 1e12}
_IN_USE = 60.0
"""Seconds after it was asked for in which a copy stays: it is being opened."""
_NOTED = 20.0
"""Seconds after which a copy's use is noted again."""


def limit_of(folder: Path) -> int:
    """Bytes that all copies together may take: as the environment says, else half of the disk.

    Parameters
    ----------
    folder : Path
        Where they are.

    Returns
    -------
    int

    Raises
    ------
    PrintableError
        Where the environment says something else than a size.
    """
    told = os.environ.get(LIMIT, "")
    if not told:
        return shutil.disk_usage(folder).total // 2
    found = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([KMGT]?)B?\s*", told, re.IGNORECASE)
    if found is None:
        raise PrintableError(f"{LIMIT} is {told!r}; say a size, such as 200 GB")
    return int(float(found[1]) * _UNITS[found[2].upper()])


def must_hold(size: int, name: str, folder: Path) -> None:
    """Check that a file has room once others are removed.

    Parameters
    ----------
    size : int
        Bytes.
    name : str
        What it is, for the message.
    folder : Path
        Where copies are.

    Raises
    ------
    BucketError
        Where it is larger than the limit.
    """
    if size > (limit := limit_of(folder)):
        raise BucketError(
            f"{name} has {size / 1e9:,.3f} GB and copies may take {limit / 1e9:,.3f} GB in {folder}; "
            f"raise {LIMIT}, or put GALAXY_ASSETS_CACHE on a larger disk"
        )


def used(path: Path, status: os.stat_result) -> None:
    """Note that a copy is used now; its time of change stays.

    Parameters
    ----------
    path : Path
    status : os.stat_result
        Of it.
    """
    now = time.time()
    if now - status.st_atime > _NOTED:
        try:
            os.utime(path, ns=(int(now * 1e9), status.st_mtime_ns))
        except OSError:  # not ours, or gone
            return


def too_much(copies: Mapping[Path, int], folder: Path) -> list[Path]:
    """The copies that must go, those used longest ago first.

    Parameters
    ----------
    copies : mapping of Path to int
        Bytes of each.
    folder : Path
        Where they are.

    Returns
    -------
    list of Path
        None that was used in the last minute, so that for so long the limit may be passed.
    """
    over, now, found = sum(copies.values()) - limit_of(folder), time.time(), []
    for used, path, size in sorted((_used(path), path, size) for path, size in copies.items()) if over > 0 else ():
        if over <= 0 or now - used < _IN_USE:
            break
        found.append(path)
        over -= size
    return found


def _used(path: Path) -> float:
    """When a copy was last used; of a folder, its newest file."""
    try:
        if path.is_dir():
            return max((one.stat().st_atime for one in path.iterdir()), default=0.0)
        return path.stat().st_atime
    except OSError:
        return 0.0
