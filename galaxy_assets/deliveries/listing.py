"""The files below a folder of deliveries, and which of them are images.

Belongs here: names, sizes and times, without reading a file. Does not belong here: which folder is a delivery (`drop`).
"""

import os
import re
from dataclasses import dataclass, field
from pathlib import Path

from galaxy_assets.deliveries import manifests
from galaxy_assets.deliveries.delivery import changed_at
from galaxy_assets.deliveries.suffixes import FOREIGN

PARTIAL = (".part", ".partial", ".tmp", ".crdownload", ".filepart")  # names of what is still being written
# hidden files, and the folder of resource forks that Mac archives carry: named like images, but none
HIDDEN = re.compile(r"(?:^|/)(?:\.(?!\.?/)|__MACOSX(?:/|$))")


@dataclass
class Listing:
    """The files below a folder, hidden ones left out.

    Attributes
    ----------
    sizes : dict of str to int
        Bytes, by name relative to the folder.
    times : dict of str to int
        mtime in nanoseconds, by name.
    changed : float
        Newest change, seconds since 1970.
    partial : str or None
        A file that is still being written.
    links : list of str
        Links that are not followed.
    """

    sizes: dict[str, int] = field(default_factory=dict)
    times: dict[str, int] = field(default_factory=dict)
    changed: float = 0.0
    partial: str | None = None
    links: list[str] = field(default_factory=list)


def listing_of(path: Path, with_loose: tuple[str, ...] | None, suffixes: tuple[str, ...], now: float) -> Listing:
    """The files of a folder; of the one that holds all deliveries the loose images alone.

    Parameters
    ----------
    path : Path
        The folder.
    with_loose : tuple of str, optional
        Of the folder that holds all deliveries, the subfolders that belong to its loose images; None for any other.
    suffixes : tuple of str
        Of images.
    now : float
        Seconds since 1970.

    Returns
    -------
    Listing
    """
    found = Listing()
    waiting = [(path, "", with_loose is not None)]
    waiting += [(path / name, f"{name}/", False) for name in with_loose or ()]
    while waiting:
        folder, home, loose = waiting.pop()
        if not loose:
            found.changed = max(found.changed, changed_at(folder.stat(), now))
        with os.scandir(folder) as entries:
            for entry in entries:
                name, lower = entry.name, entry.name.lower()
                if loose and not lower.endswith(suffixes + FOREIGN) and name != manifests.NAME:
                    if not _without(PARTIAL, lower).endswith(suffixes):
                        continue
                if is_folder(entry):
                    if entry.is_symlink():
                        found.links.append(home + name)
                    elif not loose and not HIDDEN.search(name):
                        waiting.append((folder / name, f"{home}{name}/", False))
                elif (status := _status(entry)) is not None:
                    found.changed = max(found.changed, changed_at(status, now))
                    if lower.endswith(PARTIAL):
                        found.partial = home + name
                    elif not HIDDEN.search(name):
                        found.sizes[home + name] = status.st_size
                        found.times[home + name] = status.st_mtime_ns
    return found


def is_image(name: str, suffixes: tuple[str, ...]) -> bool:
    """Whether a file is an image by its name, and not hidden.

    Parameters
    ----------
    name : str
        Of the file, relative to the folder.
    suffixes : tuple of str
        Of images, in lower case.

    Returns
    -------
    bool
    """
    return name.lower().endswith(suffixes) and not HIDDEN.search(name)


def _without(endings: tuple[str, ...], name: str) -> str:
    return next((name.removesuffix(ending) for ending in endings if name.endswith(ending)), name)


def is_folder(entry: os.DirEntry[str]) -> bool:
    """Whether an entry is a folder or a link to one.

    Parameters
    ----------
    entry : os.DirEntry
        As `os.scandir` gives it.

    Returns
    -------
    bool
    """
    try:
        return entry.is_dir()
    except OSError:  # a loop of links
        return False


def _status(entry: os.DirEntry[str]) -> os.stat_result | None:
    """Of a file, or of the link itself where it leads nowhere; None if it is gone."""
    try:
        return entry.stat()
    except OSError:
        try:
            return entry.stat(follow_symlinks=False)
        except FileNotFoundError:
            return None
