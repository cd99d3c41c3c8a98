"""One file from its server to the disk, in as many attempts as it takes.

Belongs here: requests for what is missing, and what a server answers. Does not belong here: the connection
(`connection`), which files are wanted (`fetching`).
"""

import http.client
import os
import re
import time
import urllib.error
import urllib.request
from pathlib import Path, PurePosixPath
from typing import Any

from galaxy_assets.deliveries.download.connection import BROKEN, length_of, opener, why
from galaxy_assets.deliveries.download.offers import Download, FetchError
from galaxy_assets.deliveries.download.progress import Meter, Pace, amount
from galaxy_assets.deliveries.download.records import (
    Served,
    beside,
    bytes_in,
    checked,
    expected_digest,
    read_note,
    recorded,
    write_note,
)
from galaxy_assets.deliveries.download.space import check_space
from galaxy_assets.settings.printing import logger

log = logger(__name__)

_CHUNK = 2**20  # bytes
_WORTH_TRYING_AGAIN = {408, 425, 429}  # and all from 500
_LONGEST_PAUSE = 120.0  # seconds
_SERVERS_MD5 = re.compile(r'"md5:([0-9a-f]{32})"')  # ETag of archives that run on Invenio, such as Zenodo
_RANGE = re.compile(r"bytes (\d+)-\d+/(\d+|\*)")


def download_file(download: Download, target: Path, pace: Pace) -> None:
    """Bring a file to its place, in as many attempts as it takes.

    Parameters
    ----------
    download : Download
        The file.
    target : Path
        Its place.
    pace : Pace
        How patient it is and where it tells its progress.

    Raises
    ------
    FetchError
        If it cannot be had whole; says what is kept and how to go on.
    """
    partial, note = beside(target, ".partial"), beside(target, ".partial.json")
    failures, furthest = 0, bytes_in(partial)
    while True:
        try:
            _transfer(download, partial, note, pace)
            break
        except BROKEN as error:
            # a server that starts anew and breaks off at the same byte every time makes no progress
            failures = 1 if bytes_in(partial) > furthest else failures + 1
            furthest = max(furthest, bytes_in(partial))
            if failures >= pace.attempts:
                raise FetchError(
                    f"{download.url}: {why(error)}, {failures} times in a row; {amount(bytes_in(partial))} of it "
                    f"are kept, and the same command goes on from there. Or download it by hand from {download.page} "
                    f"to {target}"
                ) from error
            seconds = min(max(pace.pause * 2 ** (failures - 1), _asked_to_wait(error)), _LONGEST_PAUSE)
            log.warning("%s: %s; trying again in %.0f s", target.name, why(error), seconds)
            time.sleep(seconds)
    served = read_note(note, Served)
    match = _SERVERS_MD5.fullmatch(served.validator) if served and served.validator else None
    try:
        algorithm, expected = expected_digest(download, f"md5:{match[1]}" if match else None)
        remedy = f"What arrived was deleted; fetch again, and if it comes out the same, see {download.page}"
        digest = checked(download, partial, algorithm, expected, remedy)
    except FetchError:
        _drop(partial, note)
        raise
    with partial.open("rb") as arrived:
        os.fsync(arrived.fileno())
    partial.replace(target)
    note.unlink(missing_ok=True)
    recorded(target, digest)
    log.info("%s: %s, %s", target, amount(target.stat().st_size), digest)


def _drop(partial: Path, note: Path) -> None:
    # in this order: the note without the bytes does no harm, other bytes under the note would be taken for the file
    partial.unlink(missing_ok=True)
    note.unlink(missing_ok=True)


def _asked_to_wait(error: BaseException) -> float:
    after = error.headers.get("Retry-After", "") if isinstance(error, urllib.error.HTTPError) else ""
    return float(after) if after.isdecimal() else 0.0


def _transfer(download: Download, partial: Path, note: Path, pace: Pace) -> None:
    """One request that appends to `partial` what is missing, or writes it anew if the server's file is another one.

    Raises OSError or HTTPException if the connection breaks, FetchError if another attempt is no use.
    """
    served, begin = read_note(note, Served), bytes_in(partial)
    if served is not None and served.url != download.url:
        served = None
    if begin and served and begin == served.size:
        return  # stopped between the last byte and the checksum
    headers = {"User-Agent": "galaxy-assets"}
    if begin and served and served.validator:
        headers |= {"Range": f"bytes={begin}-", "If-Range": served.validator}
    else:
        begin = 0
    try:
        answer = opener().open(urllib.request.Request(download.url, headers=headers), timeout=pace.timeout)
    except urllib.error.HTTPError as error:
        error.close()
        if error.code == 416 and begin:
            log.info("%s: the server's file is shorter than what arrived of it; starting anew", partial.name)
            _drop(partial, note)
            return _transfer(download, partial, note, pace)
        if error.code >= 500 or error.code in _WORTH_TRYING_AGAIN:
            raise
        raise FetchError(
            f"{download.url}: the server answers {error.code} {error.reason}. See {download.page} for where the file "
            f"is now, and put it at {partial.with_name(PurePosixPath(download.target).name)}"
        ) from error
    with answer:
        if begin and served and answer.status == 206:
            if not _continues(answer, begin, served):
                log.info("%s: the server's file has changed; starting anew", partial.name)
                _drop(partial, note)
                return _transfer(download, partial, note, pace)
        else:
            begin, served = 0, _begun(download, partial, note, answer)
        meter = Meter(PurePosixPath(download.target).name, served.size, begin, pace)
        with partial.open("ab", buffering=0) as file:
            while data := answer.read1(_CHUNK):
                _append(file, data)
                meter.add(len(data))
    if served.size is not None and meter.done != served.size:
        raise ConnectionError(f"the transfer ended after {meter.done} of {served.size} bytes")


def _append(file: Any, data: bytes) -> None:
    try:
        file.write(data)
    except OSError as error:
        # no matter of the connection: trying again would not help
        raise FetchError(
            f"{file.name}: cannot be written: {error.strerror}; correct that and run again, what arrived is kept"
        ) from error


def _validator(answer: http.client.HTTPResponse) -> str | None:
    """What If-Range may ask for: a strong ETag, else the date of the last change."""
    etag = answer.headers.get("ETag")
    return etag if etag and not etag.startswith("W/") else answer.headers.get("Last-Modified")


def _continues(answer: http.client.HTTPResponse, begin: int, served: Served) -> bool:
    match = _RANGE.fullmatch(answer.headers.get("Content-Range", ""))
    if match is None or int(match[1]) != begin:
        return False
    same_size = match[2] == "*" or served.size is None or int(match[2]) == served.size
    return same_size and _validator(answer) in (None, served.validator)


def _begun(download: Download, partial: Path, note: Path, answer: http.client.HTTPResponse) -> Served:
    """Make room for a file that comes from its first byte, and note which one it is."""
    if answer.status != 200 or answer.headers.get_content_type() == "text/html":
        raise FetchError(
            f"{download.url}: the server sends {answer.headers.get_content_type()} with status {answer.status} instead "
            f"of the file; see {download.page}"
        )
    served = Served(url=download.url, validator=_validator(answer), size=length_of(answer.headers))
    if served.size is None and not answer.chunked and not expected_digest(download, None)[1]:
        raise FetchError(
            f"{download.url}: the server does not tell the file's length and no checksum of it is known, so nobody "
            f"could tell whether it came whole; download it by hand from {download.page}"
        )
    _drop(partial, note)
    check_space(partial.parent, served.size or 0)
    write_note(note, served)
    return served
