"""What killed processes left behind in the data folder, taken away.

Belongs here: finding and removing it. Does not belong here: when that is done (`orchestration`).
"""

import os
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

from galaxy_assets.settings.printing import logger
from galaxy_assets.storage.files import PARTIAL
from galaxy_assets.storage.layout import Layout
from galaxy_assets.storage.owners import LONGEST_RUN, runs
from galaxy_assets.storage.store import store_of

log = logger(__name__)


def remove_interrupted(layout: Layout) -> list[Path]:
    """Remove the files and folders that a process began below the data folder and will never finish; see `Store.sweep`.

    A process of this machine is asked for. Of one that cannot be seen from here, what is older than the longest run is
    removed.

    Parameters
    ----------
    layout : Layout
        The data folder. What surveys deliver is not looked at: downloads and fetches go on from what arrived.

    Returns
    -------
    list of Path
        What was removed.
    """
    removed, size = [], 0
    for path in _left_behind(layout):
        try:
            size += path.stat().st_size if path.is_file() else 0
            shutil.rmtree(path) if path.is_dir() else path.unlink()
        except FileNotFoundError:  # finished, or taken away by another process
            continue
        except OSError as error:
            log.warning("%s of a process that was killed cannot be removed: %s", path, error)
            continue
        removed.append(path)
    if swept := store_of(layout.root).sweep():
        log.info("removed %d objects of the bucket that are no files any more", len(swept))
    if removed:
        log.info("removed %d files that killed processes left, %.1f MB", len(removed), size / 1e6)
    return removed


def _left_behind(layout: Layout) -> Iterator[Path]:
    for folder, folders, files in os.walk(layout.root):
        at = Path(folder)
        if at == layout.root:
            folders[:] = [name for name in folders if at / name != layout.raw]
        for name in [*folders, *files]:
            found = PARTIAL.fullmatch(name)
            if found is None:
                continue
            alive = runs(found["owner"]) if found["owner"] else None
            if alive is False or (alive is None and _is_old(at / name)):
                yield at / name
        folders[:] = [name for name in folders if not PARTIAL.fullmatch(name)]


def _is_old(path: Path) -> bool:
    try:
        return time.time() - path.stat().st_mtime > LONGEST_RUN
    except OSError:
        return False
