"""Which content a delivery has: what tells that it was changed, on whatever machine and disk a copy of it lies.

A look at a drop sees names, sizes and times, reads nothing, and is repeated every half minute. Times are of one copy on
one disk, so that they only say when the files must be read again.

Belongs here: the digest of a delivery's files, and the note of those that were read. Does not belong here: whether a
delivery is whole (`delivery`), what becomes of one that changed (`orchestration`).
"""

import dataclasses
import hashlib
import json
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from galaxy_assets.deliveries.delivery import Delivery, digest
from galaxy_assets.settings.regular import open_regular
from galaxy_assets.storage.files import replacing
from galaxy_assets.storage.store import store_of

_READERS = 4
"""Threads that read: a file system over a network answers several at once."""
_KEPT = 1.0
"""Seconds of reading after which what was read is noted."""


def by_content(reader: Any, found: Sequence[Delivery], note: Path) -> list[Delivery]:
    """Deliveries with snapshots of their content, where they are whole and their reader names their files.

    Parameters
    ----------
    reader : Reader
    found : sequence of Delivery
        Its deliveries; the snapshots are of names, sizes and times.
    note : Path
        File that keeps what was read, delivery by delivery; may be deleted. It is written where something was read.

    Returns
    -------
    list of Delivery
        In the same order.
    """
    if not hasattr(reader, "files"):
        return list(found)
    noted, known = _noted(note), {}
    kept, since = noted, time.monotonic()
    for one in found:
        if one.state == "whole":
            state = f"{one.path}\0{one.snapshot}"
            if (content := noted.get(state)) is None:
                content = _content(reader.files(one.name))
                if time.monotonic() - since > _KEPT:  # a look that is cut short goes on from here
                    _keep(note, kept := noted | known | {state: content})
                    since = time.monotonic()
            known[state] = content
    if known != kept:
        _keep(note, known)
    return [dataclasses.replace(one, snapshot=known.get(f"{one.path}\0{one.snapshot}", one.snapshot)) for one in found]


def _content(files: dict[str, Path]) -> str:
    with ThreadPoolExecutor(_READERS) as pool:
        digests = pool.map(_sha256, files.values())
        return digest([f"{name}\0{sha256}" for name, sha256 in sorted(zip(files, digests, strict=True))])


def _sha256(path: Path) -> str:
    """sha256 of a file; of what cannot be read, why. A bad image is a row of the catalogue, and stops no delivery."""
    try:
        with open_regular(store_of(path).local(path)) as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        return type(error).__name__


def _keep(note: Path, known: dict[str, str]) -> None:
    with replacing(note) as partial:
        partial.write_text(json.dumps(known), encoding="utf-8")


def _noted(note: Path) -> dict[str, str]:
    try:
        return dict(json.loads(note.read_text(encoding="utf-8")))
    except (OSError, ValueError):
        return {}
