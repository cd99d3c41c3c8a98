"""One delivery, and the verdict on it: whole, arriving or held.

Belongs here: what is said of a delivery, whatever its layout. Does not belong here: finding deliveries (`drop`), and
what becomes of them (`automation`).
"""

import hashlib
import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from os import stat_result
from pathlib import Path
from typing import Literal

from galaxy_assets.settings.files import SurveyError

Kind = Literal["folder", "zip", "tar", "parquet"]
State = Literal["whole", "arriving", "held"]

LOOSE = "images"
"""The delivery of images that lie directly in the folder."""


@dataclass(frozen=True)
class Delivery:
    """What a survey delivered together.

    Attributes
    ----------
    name : of the batch: letters, digits and `_-.` only, unless it is held for its name.
    path : relative to the survey's folder.
    files : images in it that are taken; None if an archive must be decompressed, or is too damaged, to count them.
    bytes : of these images, or of the archive.
    modified : newest change of anything in it, UTC.
    snapshot : 16 hex digits over the names, sizes and times of its images, or of the archive, and of its manifest.
    state : `whole`, `arriving` (time or the rest of its files will mend it) or `held` (a person must).
    reason : why it is not whole, and the remedy.
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
    """What lies at a place, as far as the verdict needs it."""

    images: int | None
    bytes: int
    changed: float  # seconds since 1970
    signed: list[str]
    manifest: bool = False
    flaw: str | None = None
    partial: str | None = None


def of_files(name: str, kind: Kind, files: list[Path], quiet: float, count: Callable[[], int]) -> Delivery:
    """The delivery that is a survey's only one, where its reader knows which `files` it has.

    count : gives the number of images in them, or raises SurveyError.
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
    """Whether what was found at a place is whole, arriving or held, and why."""
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
    """A delivery's name for what a folder, or an archive without its suffix, is called."""
    return re.sub(r"[^A-Za-z0-9_.-]", "_", text)


def changed_at(status: stat_result, now: float) -> float:
    """When a file last changed, seconds since 1970. Copies keep the mtime of the original, and clocks elsewhere may be
    ahead; the ctime is this machine's."""
    return max(status.st_ctime, status.st_mtime if status.st_mtime <= now else 0.0)


def signature(path: Path) -> str:
    """Name, size and mtime of a file."""
    status = path.stat()
    return f"{path.name}\0{status.st_size}\0{status.st_mtime_ns}"


def digest(lines: list[str]) -> str:
    """16 hex digits over the lines."""
    return hashlib.sha256("\n".join(lines).encode("utf-8", "surrogateescape")).hexdigest()[:16]
