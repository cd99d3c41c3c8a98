"""One delivery, and the verdict on it: whole, arriving or held.

Belongs here: what is said of a delivery, whatever its layout. Does not belong here: finding deliveries (`drop`), and
what becomes of them (`automation`).
"""

import hashlib
import re
import time
import unicodedata
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from os import stat_result
from pathlib import Path
from typing import Literal

from galaxy_assets.settings.files import SurveyError

Kind = Literal["folder", "zip", "tar", "parquet", "npy", "npz", "hdf5"]
State = Literal["whole", "arriving", "held"]

LOOSE = "images"
"""The delivery of images that lie directly in the folder."""


_LONGEST = 160  # bytes of a name, which is part of names of files


@dataclass(frozen=True)
class Delivery:
    """What a survey delivered together.

    Attributes
    ----------
    name : str
        Of the batch: letters and digits of any script and `_-.` only, unless it is held for its name.
    kind : str
        Folder or kind of archive.
    path : str
        Relative to the survey's folder.
    files : int or None
        Images in it that are taken; None if an archive must be decompressed, or is too damaged, to count them.
    bytes : int
        Of these images, or of the archive.
    modified : datetime
        Newest change of anything in it, UTC.
    snapshot : str
        16 hex digits over the names, sizes and times of its images, or of the archive, and of its manifest: what a
        look sees without reading. `snapshots.by_content` puts their content in its place.
    state : {'whole', 'arriving', 'held'}
        `arriving` becomes `whole` with time or the rest of its files; `held` needs a person.
    reason : str or None
        Why it is not whole, and the remedy.
    """

    name: str
    kind: Kind
    path: str
    files: int | None
    bytes: int
    modified: datetime
    snapshot: str
    state: State
    reason: str | None = None


@dataclass
class Found:
    """What lies at a place, as far as the verdict needs it.

    Attributes
    ----------
    images : int or None
        As `Delivery.files`.
    bytes : int
        Of these images, or of the archive.
    changed : float
        Newest change, seconds since 1970.
    signed : list of str
        The lines that the snapshot is made of.
    manifest : bool
        Whether there is one.
    flaw : str or None
        What a person must mend.
    partial : str or None
        A file that is still being written.
    """

    images: int | None
    bytes: int
    changed: float  # seconds since 1970
    signed: list[str]
    manifest: bool = False
    flaw: str | None = None
    partial: str | None = None


def of_files(name: str, kind: Kind, files: list[Path], quiet: float, count: Callable[[], int]) -> Delivery:
    """The delivery of a survey that has only one and whose reader knows its files.

    Parameters
    ----------
    name, kind : str
        Of the delivery.
    files : list of Path
        What it consists of.
    quiet : float
        Seconds for which nothing in it may have changed before it counts as whole.
    count : callable
        Gives the number of images in the files, or raises SurveyError.

    Returns
    -------
    Delivery
    """
    now = time.time()
    changed = max(changed_at(path.stat(), now) for path in files)
    found = Found(None, sum(path.stat().st_size for path in files), changed, sorted(map(signature, files)))
    if not 0 < quiet > now - changed:
        try:
            found.images = count()
        except SurveyError as error:
            found.flaw = str(error)
    return verdict(name, kind, files[0].name if len(files) == 1 else ".", found, quiet, now)


def verdict(name: str, kind: Kind, path: str, found: Found, quiet: float, now: float) -> Delivery:
    """Whether what was found at a place is whole, arriving or held, and why.

    Parameters
    ----------
    name, kind, path : str
        Of the delivery.
    found : Found
        What lies there.
    quiet : float
        Seconds for which nothing in it may have changed before it counts as whole.
    now : float
        Seconds since 1970.

    Returns
    -------
    Delivery
    """
    age, state, reason = now - found.changed, "whole", None
    if found.partial is not None:
        state, reason = "arriving", f"{found.partial} is still being written; remove it if nobody writes it any more"
    elif 0 < quiet > age and not (found.manifest and found.flaw is None):
        waits = f"changed {age:.0f} s ago; it counts when nothing in it has changed for {quiet:.0f} s"
        state, reason = "arriving", found.flaw if found.manifest else waits
    elif found.flaw is not None:
        state, reason = "held", found.flaw
    modified = datetime.fromtimestamp(found.changed, UTC)
    return Delivery(name, kind, path, found.images, found.bytes, modified, digest(found.signed), state, reason)


def batch_name(text: str) -> str:
    """A delivery's name for what a folder, or an archive without its suffix, is called.

    Parameters
    ----------
    text : str
        What it is called.

    Returns
    -------
    str
        Composed, with `_` for all but letters and digits of any script and `_-.`, and for three dots or more, which
        Dagster does not take. Where that would make names equal that share little (symbols, hundreds of characters), 6
        hex digits of the whole name follow.
    """
    whole = unicodedata.normalize("NFC", text)
    name = re.sub(r"\.{3,}", lambda dots: "_" * len(dots[0]), "".join(c if _stays(c) else "_" for c in whole))
    if len(name.encode()) <= _LONGEST and all(_stays(c) or c.isascii() for c in whole):
        return name
    short = name.encode()[: _LONGEST - 7].decode(errors="ignore")
    return f"{short}-{hashlib.sha256(whole.encode('utf-8', 'surrogateescape')).hexdigest()[:6]}"


def _stays(character: str) -> bool:
    """A letter, a mark on one (many scripts write vowels so), a number, or `_-.`."""
    return character in "_-." or unicodedata.category(character)[0] in "LMN"


def changed_at(status: stat_result, now: float) -> float:
    """When a file last changed, seconds since 1970.

    Copies keep the mtime of the original, and clocks elsewhere may be ahead; the ctime is this machine's.

    Parameters
    ----------
    status : os.stat_result
        Of the file.
    now : float
        Seconds since 1970; a later mtime is not believed.

    Returns
    -------
    float
    """
    return max(status.st_ctime, status.st_mtime if status.st_mtime <= now else 0.0)


def signature(path: Path) -> str:
    """Name, size and mtime of a file, as a line of a delivery's snapshot.

    Parameters
    ----------
    path : Path
        The file.

    Returns
    -------
    str
    """
    status = path.stat()
    return f"{path.name}\0{status.st_size}\0{status.st_mtime_ns}"


def digest(lines: list[str]) -> str:
    """16 hex digits over lines.

    Parameters
    ----------
    lines : list of str
        In this order.

    Returns
    -------
    str
    """
    return hashlib.sha256("\n".join(lines).encode("utf-8", "surrogateescape")).hexdigest()[:16]
