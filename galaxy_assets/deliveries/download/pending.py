"""What is still to be done for a file, and the room on disk that it takes.

Belongs here: telling what is there from what is missing. Does not belong here: fetching it (`fetching`).
"""

import urllib.request
from collections.abc import Iterable
from pathlib import Path

from galaxy_assets.deliveries.download.connection import BROKEN, length_of, opener, why
from galaxy_assets.deliveries.download.offers import Download, FetchError
from galaxy_assets.deliveries.download.progress import Pace
from galaxy_assets.deliveries.download.records import Record, beside, bytes_in, known, read_note
from galaxy_assets.deliveries.download.space import bytes_on_disk
from galaxy_assets.deliveries.download.unpacking import members_of, missing_members, opened_zip, workplace
from galaxy_assets.settings.printing import logger

log = logger(__name__)

_UNPACKED = 1.05  # PNGs do not shrink in a zip; the rest is the last block of each file


def is_finished(download: Download, root: Path, delete_archives: bool) -> bool:
    """Whether nothing is left to do for a file.

    Parameters
    ----------
    download : Download
        The file.
    root : Path
        The data folder.
    delete_archives : bool
        Whether its zip is removed once it is unpacked.

    Returns
    -------
    bool

    Raises
    ------
    FetchError
        If another file is in the place of the one to fetch.
    """
    target = root / download.target
    record = read_note(beside(target, ".json"), Record)
    if target.is_file():
        record = known(download, target, record)
    elif record is None or record.unpacked is None:
        return False
    if download.unpack is None:
        log.info("%s: already there, %s", target, record.digest)
        return True
    if record.unpacked is None or not target.with_suffix("").is_dir():
        return False
    log.info("%s: already unpacked from %s, %s", target.with_suffix(""), target.name, record.digest)
    if delete_archives:
        target.unlink(missing_ok=True)
    return True


def space_needed(downloads: Iterable[Download], root: Path, *, delete_archives: bool, pace: Pace | None = None) -> int:
    """The most bytes that fetching takes at any time, beside what is already there.

    Parameters
    ----------
    downloads : iterable of Download
        Fetched one after the other.
    root : Path
        The data folder.
    delete_archives : bool
        Whether each zip is removed once it is unpacked.
    pace : Pace, optional
        How patient it is in asking a server for a size.

    Returns
    -------
    int
    """
    kept = peak = 0
    for download in downloads:
        target = root / download.target
        if target.is_file():
            size, arriving = target.stat().st_size, 0
            unpacked = _left_to_unpack(target, download.unpack) if download.unpack else 0
        else:
            size = download.size or _size_on_server(download, pace or Pace())
            arriving = max(size - bytes_in(beside(target, ".partial")), 0)
            unpacked = int(size * _UNPACKED) if download.unpack else 0
        peak = max(peak, kept + arriving + unpacked)
        kept += arriving + unpacked - (size if download.unpack and delete_archives else 0)
    return peak


def _left_to_unpack(archive: Path, pattern: str) -> int:
    try:
        with opened_zip(archive) as opened:
            return bytes_on_disk(missing_members(members_of(opened, pattern), workplace(archive)).values())
    except FetchError:
        return 0  # a damaged zip is reported in its turn


def _size_on_server(download: Download, pace: Pace) -> int:
    request = urllib.request.Request(download.url, method="HEAD", headers={"User-Agent": "galaxy-assets"})
    try:
        with opener().open(request, timeout=pace.timeout) as answer:
            if (size := length_of(answer.headers)) is not None:
                return size
            reason = "it does not say"
    except BROKEN as error:
        reason = why(error)
    log.warning("%s: how large it is could not be asked before (%s)", download.url, reason)
    return 0
