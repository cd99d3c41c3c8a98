"""How a folder is mounted, and the names by which processes on other machines or in containers know it too.

Belongs here: what the system says of mounts, and names that are made of it. Does not belong here: what a kind of file
system means for locks (`locks`), where the data folder is (`settings.root`).
"""

import os
from pathlib import Path
from typing import NamedTuple

from galaxy_assets.storage.owners import kernel
from galaxy_assets.storage.store import address_of


class Mount(NamedTuple):
    """A mounted file system.

    Attributes
    ----------
    at : Path
        Where it is mounted.
    root : str
        The folder of the file system that is mounted there.
    kind : str
        Such as `nfs4`.
    source : str
        A device, or a server and its folder.
    options : set of str
    """

    at: Path
    root: str
    kind: str
    source: str
    options: set[str]

    @property
    def of_network(self) -> bool:
        """Whether other machines may write there too."""
        return self.source.startswith("//") or ":/" in self.source


def mount_of(folder: Path, mounts: str | None = None) -> Mount | None:
    """The mount in which a folder lies.

    Parameters
    ----------
    folder : Path
    mounts : str, optional
        Text of /proc/self/mountinfo; this machine's when not given.

    Returns
    -------
    Mount or None
        None where the system does not say.
    """
    try:
        text = Path("/proc/self/mountinfo").read_text(encoding="utf-8") if mounts is None else mounts
    except OSError:  # no Linux
        return None
    # fields 4 to 6 are what is mounted, where and how; after ` - ` come its type, its source and its own options
    parts = [(line.split(" - ")[0].split(), line.split(" - ")[-1].split()) for line in text.splitlines()]
    own = [
        Mount(Path(_plain(at[4])), _plain(at[3]), kind[0], _plain(kind[1]), {*at[5].split(","), *kind[2].split(",")})
        for at, kind in parts
        if len(at) > 5 and len(kind) > 2
    ]
    around = [mount for mount in own if folder.absolute().is_relative_to(mount.at)]
    # what was mounted last hides what is there too, as where autofs mounts what it was asked for
    return max(reversed(around), key=lambda mount: len(mount.at.parts), default=None)


def _plain(text: str) -> str:
    return text.encode().decode("unicode_escape")


def is_mounted(folder: Path) -> bool:
    """Whether a file system is mounted at a folder, which cannot be renamed then.

    Parameters
    ----------
    folder : Path
        Resolved.

    Returns
    -------
    bool
    """
    mount = mount_of(folder)
    return folder.is_mount() if mount is None else mount.at == folder


def names_of(folder: Path, mounts: str | None = None) -> list[str]:
    """The names of a data folder. Who has one of them in common with another process has the same data folder.

    Parameters
    ----------
    folder : Path
        The data folder, or the one of copies of a bucket.
    mounts : str, optional
        As in `mount_of`.

    Returns
    -------
    list of str
        First the one to print, which a person may give to $GALAXY_ASSETS_DATA: the address of a bucket and nothing
        else, or the path. Then what outlasts another path: what the kernel, which containers share, calls the folder,
        and what the server of a network's file system does.
    """
    if (address := address_of(folder)) is not None:
        return [address]
    folder = folder.resolve()
    names = [str(folder)]
    try:
        state = folder.stat()
    except OSError:
        return names
    names.append(f"kernel {kernel()}, device {state.st_dev}, inode {state.st_ino}")
    mount = mount_of(folder, mounts)
    if mount is not None and mount.of_network:
        names.append(os.path.normpath(f"{mount.source}/{mount.root}/{folder.relative_to(mount.at)}"))
    return names
