"""Official downloads, from the addresses in `downloads.yaml` to the files that the readers expect.

Belongs here: resuming, checking and unpacking, and the room on disk these take. Does not belong here: what can be
fetched (`downloads.yaml`), reading it (`readers`) and what the command prints (`cli.fetch`).

What is not whole is hidden, and so is what is known about a file:

    .<name>.partial         what has arrived
    .<name>.partial.json    which file on the server that is (`Served`)
    .<name>.json            what is known about the whole file (`Record`)
    .<folder>.partial/      a zip that is being unpacked
    .fetch.lock             held by the process that works in this folder
"""

import fcntl
import hashlib
import http.client
import logging
import os
import re
import shutil
import stat
import time
import urllib.error
import urllib.parse
import urllib.request
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path, PurePosixPath
from typing import Any, TypeVar

import yaml
from pydantic import Field, TypeAdapter, ValidationError, field_validator

from galaxy_assets.settings.base import Settings
from galaxy_assets.storage.files import replacing

log = logging.getLogger(__name__)

TABLE = Path(__file__).with_name("downloads.yaml")

_CHUNK = 2**20  # bytes
_BLOCK = 4096  # bytes in which most file systems give out their space
_UNPACKED = 1.05  # PNGs do not shrink in a zip; the rest is the last block of each file
_WORTH_TRYING_AGAIN = {408, 425, 429}  # and all from 500
_LONGEST_PAUSE = 120.0  # seconds
_SERVERS_MD5 = re.compile(r'"md5:([0-9a-f]{32})"')  # ETag of archives that run on Invenio, such as Zenodo
_RANGE = re.compile(r"bytes (\d+)-\d+/(\d+|\*)")

# what a connection may fail of; URLError and TimeoutError are OSErrors
_BROKEN = (OSError, http.client.HTTPException)


class FetchError(Exception):
    """A download that cannot be completed; the message names the file, the reason and the remedy."""


def _is_loopback(url: str) -> bool:
    return urllib.parse.urlsplit(url).hostname in ("127.0.0.1", "::1", "localhost")


def _is_https(url: str) -> bool:
    return urllib.parse.urlsplit(url).scheme == "https"


class Download(Settings):
    """One file that can be fetched."""

    target: str = Field(description="where it goes, relative to the data folder")
    url: str = Field(description="https; http within this machine only")
    page: str = Field(description="where a person reads about it")
    size: int | None = Field(default=None, gt=0, description="bytes, rounded; decides nothing but the space it takes")
    md5: str | None = Field(default=None, pattern="^[0-9a-f]{32}$")
    sha256: str | None = Field(
        default=None, pattern="^[0-9a-f]{8,64}$", description="whole, or the beginning that its authors publish"
    )
    second_hand: str | None = Field(
        default=None, description="where the checksum comes from, if not from the publisher"
    )
    unpack: str | None = Field(
        default=None, description="of a zip: pattern of the members to unpack, below a folder with the zip's name"
    )

    @field_validator("target")
    @classmethod
    def _inside(cls, value: str) -> str:
        path = PurePosixPath(value)
        if path.is_absolute() or ".." in path.parts or not path.name or path.name.startswith("."):
            raise ValueError(f"target {value!r} is no file below the data folder")
        return value

    @field_validator("url")
    @classmethod
    def _encrypted(cls, value: str) -> str:
        if not _is_https(value) and not (_is_loopback(value) and value.startswith("http:")):
            raise ValueError(f"url {value!r} is not https")
        return value


class Served(Settings):
    """Which file on the server a partial download is: its address, what If-Range asks for, its bytes."""

    url: str
    validator: str | None
    size: int | None


class Record(Settings):
    """What is known about a whole file, so that it is neither read nor unpacked again."""

    size: int
    mtime_ns: int
    digest: str = Field(description="md5:<hex> or sha256:<hex> of the whole file")
    unpacked: int | None = Field(default=None, description="files unpacked from it, once all are")


@dataclass(frozen=True)
class Pace:
    """How long a transfer waits, how often it tries and how often it tells how far it is.

    Parameters
    ----------
    timeout : seconds without a byte after which a connection counts as stalled.
    attempts : failures without any progress between them after which a file is given up.
    pause : seconds before the second attempt, doubled before each further one.
    show : is given a line of progress, at most once in `every` seconds.
    """

    timeout: float = 30.0
    attempts: int = 6
    pause: float = 2.0
    show: Callable[[str], None] = log.info
    every: float = 20.0


def load_downloads(path: Path | None = None) -> dict[str, tuple[Download, ...]]:
    """What can be fetched, by the names `galaxy-assets fetch` takes; from the table at `path`, else the shipped one."""
    table = yaml.safe_load((path or TABLE).read_text(encoding="utf-8"))
    return TypeAdapter(dict[str, tuple[Download, ...]]).validate_python(table)


def fetch(
    downloads: Iterable[Download], root: Path, *, delete_archives: bool = False, pace: Pace | None = None
) -> list[str]:
    """Bring files to the data folder `root`, whole and checked, and unpack those that are to be unpacked.

    What is there already is not fetched again, and what was interrupted goes on. One file's failure does not stop the
    others.

    Parameters
    ----------
    delete_archives : remove each zip once all of it is unpacked.

    Returns the messages of what failed. Raises FetchError, before anything is downloaded, if the disk is too small or
    another process fetches to the same folder.
    """
    pace, failures, pending = pace or Pace(), [], []
    downloads = list(downloads)
    with ExitStack() as locks:
        for folder in {(root / download.target).parent for download in downloads}:
            locks.enter_context(_alone_in(folder))
        for download in downloads:
            with _noting(failures):
                if not _is_finished(download, root, delete_archives):
                    pending.append(download)
        if pending:
            folder = (root / pending[0].target).parent
            _check_space(folder, space_needed(pending, root, delete_archives=delete_archives, pace=pace))
        for download in pending:
            with _noting(failures):
                _complete(download, root / download.target, delete_archives, pace)
    return failures


@contextmanager
def _noting(failures: list[str]) -> Iterator[None]:
    try:
        yield
    except (FetchError, OSError) as error:
        log.error("%s", error)
        failures.append(str(error))


@contextmanager
def _alone_in(folder: Path) -> Iterator[None]:
    """Two processes that append to one partial file would make a wrong one, which no checksum may reveal."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / ".fetch.lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise FetchError(f"{folder}: another fetch is at work there; wait for it or stop it") from error
        yield


def _complete(download: Download, target: Path, delete_archives: bool, pace: Pace) -> None:
    if not target.is_file():
        _download(download, target, pace)
    if download.unpack is None:
        return
    files = unpack(target, download.unpack, pace)
    if (record := _read(_beside(target, ".json"), Record)) is not None:
        _write(_beside(target, ".json"), record.model_copy(update={"unpacked": files}))
    log.info("%s: %d files unpacked to %s", target.name, files, target.with_suffix(""))
    if delete_archives:
        target.unlink()


# What is there


def _beside(target: Path, suffix: str) -> Path:
    return target.with_name(f".{target.name}{suffix}")


_Note = TypeVar("_Note", Served, Record)


def _read(path: Path, kind: type[_Note]) -> _Note | None:
    try:
        return kind.model_validate_json(path.read_bytes())
    except (OSError, ValidationError):
        return None


def _write(path: Path, note: Settings) -> None:
    with replacing(path) as partial:
        partial.write_text(note.model_dump_json(), encoding="utf-8")


def _bytes_in(path: Path) -> int:
    return path.stat().st_size if path.is_file() else 0


def _is_finished(download: Download, root: Path, delete_archives: bool) -> bool:
    """Whether nothing is left to do; raises FetchError if another file is in the place of the one to fetch."""
    target = root / download.target
    record = _read(_beside(target, ".json"), Record)
    if target.is_file():
        record = _known(download, target, record)
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


def _known(download: Download, target: Path, record: Record | None) -> Record:
    """The record of a file that is there, whose digest is computed unless the file is unchanged since it was."""
    found = target.stat()
    algorithm, expected = _expected(download, record.digest if record else None)
    unchanged = record is not None and (record.size, record.mtime_ns) == (found.st_size, found.st_mtime_ns)
    if record is not None and unchanged and record.digest.startswith(f"{algorithm}:{expected}"):
        return record
    remedy = f"This is not the file of {download.page}; move it away, and fetch again"
    digest = _checked(download, target, algorithm, expected, remedy)
    unpacked = record.unpacked if record is not None and record.digest == digest else None
    return _recorded(target, digest, unpacked)


def _recorded(target: Path, digest: str, unpacked: int | None = None) -> Record:
    found = target.stat()
    record = Record(size=found.st_size, mtime_ns=found.st_mtime_ns, digest=digest, unpacked=unpacked)
    _write(_beside(target, ".json"), record)
    return record


def _expected(download: Download, otherwise: str | None) -> tuple[str, str]:
    """Algorithm and digest (or its beginning) to expect; the digest is empty where nobody knows it."""
    if download.sha256 is not None:
        return "sha256", download.sha256
    if download.md5 is not None:
        return "md5", download.md5
    algorithm, _, digest = (otherwise or "sha256:").partition(":")
    return algorithm, digest


def _checked(download: Download, path: Path, algorithm: str, expected: str, remedy: str) -> str:
    """The digest of the whole file. Raises FetchError, with the remedy, if it is not the expected one."""
    name = PurePosixPath(download.target).name
    log.info("%s: computing the %s of %s", name, algorithm, _amount(path.stat().st_size))
    with path.open("rb") as file:
        found = hashlib.file_digest(file, algorithm).hexdigest()
    if not expected:
        log.warning("%s: no checksum of it is known, so it is taken as it is; its %s is %s", name, algorithm, found)
    elif not found.startswith(expected):
        if download.second_hand:
            log.warning("%s: the expected %s is second-hand, from %s", name, algorithm, download.second_hand)
            remedy += f". If {download.page} names the {algorithm} found, correct it in {TABLE}"
        raise FetchError(f"{name}: its {algorithm} is {found}, expected {expected}. {remedy}")
    return f"{algorithm}:{found}"


# Space on disk


def space_needed(downloads: Iterable[Download], root: Path, *, delete_archives: bool, pace: Pace | None = None) -> int:
    """The most bytes that fetching one file after the other takes at any time, beside what is already there."""
    kept = peak = 0
    for download in downloads:
        target = root / download.target
        if target.is_file():
            size, arriving = target.stat().st_size, 0
            unpacked = _left_to_unpack(target, download.unpack) if download.unpack else 0
        else:
            size = download.size or _size_on_server(download, pace or Pace())
            arriving = max(size - _bytes_in(_beside(target, ".partial")), 0)
            unpacked = int(size * _UNPACKED) if download.unpack else 0
        peak = max(peak, kept + arriving + unpacked)
        kept += arriving + unpacked - (size if download.unpack and delete_archives else 0)
    return peak


def _left_to_unpack(archive: Path, pattern: str) -> int:
    try:
        with _opened(archive) as opened:
            return _bytes_on_disk(_missing(_members(opened, pattern), _workplace(archive)).values())
    except FetchError:
        return 0  # a damaged zip is reported in its turn


def _bytes_on_disk(members: Iterable[zipfile.ZipInfo]) -> int:
    return sum(-(-member.file_size // _BLOCK) * _BLOCK for member in members)


def _size_on_server(download: Download, pace: Pace) -> int:
    request = urllib.request.Request(download.url, method="HEAD", headers={"User-Agent": "galaxy-assets"})
    try:
        with _opener().open(request, timeout=pace.timeout) as answer:
            if (size := answer.headers.get("Content-Length")) is not None:
                return int(size)
            reason = "it does not say"
    except _BROKEN as error:
        reason = _why(error)
    log.warning("%s: how large it is could not be asked before (%s)", download.url, reason)
    return 0


def _check_space(folder: Path, needed: int) -> None:
    while not folder.exists():
        folder = folder.parent
    free = shutil.disk_usage(folder).free
    if needed > free:
        raise FetchError(
            f"{folder}: {_amount(needed)} are needed and {_amount(free)} are free, so {_amount(needed - free)} are "
            "missing. Free them, set GALAXY_ASSETS_DATA to a folder on a larger disk, fetch fewer files (--only), or "
            "let each zip be removed once it is unpacked (--delete-archives)"
        )


# Transfer


class _SafeRedirects(urllib.request.HTTPRedirectHandler):
    def redirect_request(
        self, req: urllib.request.Request, fp: Any, code: int, msg: str, headers: Any, newurl: str
    ) -> urllib.request.Request | None:
        if not _is_https(newurl) and not (_is_loopback(newurl) and _is_loopback(req.full_url)):
            raise FetchError(f"{req.full_url}: redirects to {newurl}, which is not https; refused")
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def _opener() -> urllib.request.OpenerDirector:
    return urllib.request.build_opener(_SafeRedirects)


def _download(download: Download, target: Path, pace: Pace) -> None:
    """Bring the file to `target`, in as many attempts as it takes. Raises FetchError if it cannot be had whole."""
    partial, note = _beside(target, ".partial"), _beside(target, ".partial.json")
    failures, furthest = 0, _bytes_in(partial)
    while True:
        try:
            _transfer(download, partial, note, pace)
            break
        except _BROKEN as error:
            # a server that starts anew and breaks off at the same byte every time makes no progress
            failures = 1 if _bytes_in(partial) > furthest else failures + 1
            furthest = max(furthest, _bytes_in(partial))
            if failures >= pace.attempts:
                raise FetchError(
                    f"{download.url}: {_why(error)}, {failures} times in a row; {_amount(_bytes_in(partial))} of it "
                    f"are kept, and the same command goes on from there. Or download it by hand from {download.page} "
                    f"to {target}"
                ) from error
            seconds = min(max(pace.pause * 2 ** (failures - 1), _asked_to_wait(error)), _LONGEST_PAUSE)
            log.warning("%s: %s; trying again in %.0f s", target.name, _why(error), seconds)
            time.sleep(seconds)
    served = _read(note, Served)
    match = _SERVERS_MD5.fullmatch(served.validator) if served and served.validator else None
    try:
        algorithm, expected = _expected(download, f"md5:{match[1]}" if match else None)
        remedy = f"What arrived was deleted; fetch again, and if it comes out the same, see {download.page}"
        digest = _checked(download, partial, algorithm, expected, remedy)
    except FetchError:
        _drop(partial, note)
        raise
    with partial.open("rb") as arrived:
        os.fsync(arrived.fileno())
    partial.replace(target)
    note.unlink(missing_ok=True)
    _recorded(target, digest)
    log.info("%s: %s, %s", target, _amount(target.stat().st_size), digest)


def _drop(partial: Path, note: Path) -> None:
    # in this order: the note without the bytes does no harm, other bytes under the note would be taken for the file
    partial.unlink(missing_ok=True)
    note.unlink(missing_ok=True)


def _why(error: BaseException) -> str:
    wrapped = isinstance(error, urllib.error.URLError) and not isinstance(error, urllib.error.HTTPError)
    return str(error.reason if wrapped else error)


def _asked_to_wait(error: BaseException) -> float:
    after = error.headers.get("Retry-After", "") if isinstance(error, urllib.error.HTTPError) else ""
    return float(after) if after.isdecimal() else 0.0


def _transfer(download: Download, partial: Path, note: Path, pace: Pace) -> None:
    """One request that appends to `partial` what is missing, or writes it anew if the server's file is another one.

    Raises OSError or HTTPException if the connection breaks, FetchError if another attempt is no use.
    """
    served, begin = _read(note, Served), _bytes_in(partial)
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
        answer = _opener().open(urllib.request.Request(download.url, headers=headers), timeout=pace.timeout)
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
        meter = _Meter(PurePosixPath(download.target).name, served.size, begin, pace)
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
        raise FetchError(f"{file.name}: cannot be written: {error.strerror}; what arrived is kept") from error


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
    length = answer.headers.get("Content-Length")
    served = Served(url=download.url, validator=_validator(answer), size=int(length) if length else None)
    if served.size is None and not answer.chunked and not _expected(download, None)[1]:
        raise FetchError(
            f"{download.url}: the server does not tell the file's length and no checksum of it is known, so nobody "
            f"could tell whether it came whole; download it by hand from {download.page}"
        )
    _drop(partial, note)
    _check_space(partial.parent, served.size or 0)
    _write(note, served)
    return served


# Unpacking


def unpack(archive: Path, pattern: str, pace: Pace | None = None) -> int:
    """Unpack the members of a zip whose last components match `pattern` below a folder with the zip's name.

    Components before those are left out, so that `J???/*.png` gives <zip's name>/J074/<image>.png whether or not the
    zip has a folder of its own around them. Members that are there with their size are kept; the folder is hidden until
    all are. Returns the number of files. Raises FetchError for a damaged zip, and before anything is written for an
    unsafe one or a disk too small.
    """
    work = _workplace(archive)
    with _opened(archive) as opened:
        members = _members(opened, pattern)
        missing = _missing(members, work)
        _check_space(archive.parent, _bytes_on_disk(missing.values()))
        for interrupted in work.rglob(".*.partial"):
            interrupted.unlink()
        meter = _Meter(f"unpacking {archive.name}", sum(member.file_size for member in missing.values()), 0, pace)
        for path, member in missing.items():
            with replacing(work / path) as partial, opened.open(member) as packed, partial.open("wb") as unpacked:
                shutil.copyfileobj(packed, unpacked, _CHUNK)
            meter.add(member.file_size)
    work.replace(archive.with_suffix(""))
    return len(members)


def _workplace(archive: Path) -> Path:
    """The folder with the zip's name where it exists, else its hidden predecessor: half a delivery is not seen."""
    folder = archive.with_suffix("")
    return folder if folder.is_dir() else _beside(folder, ".partial")


@contextmanager
def _opened(archive: Path) -> Iterator[zipfile.ZipFile]:
    try:
        with zipfile.ZipFile(archive) as opened:
            yield opened
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError) as error:
        raise FetchError(f"{archive}: damaged zip: {error}; delete it and fetch again") from error


def _members(opened: zipfile.ZipFile, pattern: str) -> dict[PurePosixPath, zipfile.ZipInfo]:
    """Members by their place below the folder. Raises FetchError if a name or a kind of member is unsafe."""
    members: dict[PurePosixPath, zipfile.ZipInfo] = {}
    depth = len(PurePosixPath(pattern).parts)
    for member in opened.infolist():
        name = PurePosixPath(member.filename)
        kind = stat.S_IFMT(member.external_attr >> 16)
        outside = name.is_absolute() or ".." in name.parts or "\\" in member.filename
        if outside or kind not in (0, stat.S_IFREG, stat.S_IFDIR) or member.flag_bits & 1:
            raise FetchError(
                f"{opened.filename}: its member {member.filename!r} points outside, is a link or is encrypted; "
                "nothing of it was unpacked. Do not use this file"
            )
        if member.is_dir() or not name.match(pattern) or any(part.startswith((".", "__")) for part in name.parts):
            continue
        place = PurePosixPath(*name.parts[-depth:])
        if place in members:
            raise FetchError(f"{opened.filename}: two of its members are {place}; nothing of it was unpacked")
        members[place] = member
    if not members:
        raise FetchError(f"{opened.filename}: none of its members is {pattern}; is this the right file?")
    return members


def _missing(members: dict[PurePosixPath, zipfile.ZipInfo], folder: Path) -> dict[PurePosixPath, zipfile.ZipInfo]:
    def is_whole(path: Path, size: int) -> bool:
        return path.is_file() and path.stat().st_size == size

    return {path: member for path, member in members.items() if not is_whole(folder / path, member.file_size)}


# Progress


class _Meter:
    """Counts the bytes of a transfer or an unpacking and tells how far it is."""

    def __init__(self, what: str, size: int | None, done: int, pace: Pace | None):
        self.what, self.size, self.done, self.pace = what, size, done, pace or Pace()
        self.at_first, self.begun = done, time.monotonic()
        self.told = self.begun

    def add(self, count: int) -> None:
        self.done += count
        now = time.monotonic()
        if now - self.told >= self.pace.every:
            self.told = now
            self.pace.show(progress_line(self.what, self.done, self.size, self.done - self.at_first, now - self.begun))


def progress_line(what: str, done: int, size: int | None, gained: int, seconds: float) -> str:
    """One line on a transfer of `size` bytes that has `done`, `gained` of them in the last `seconds`."""
    speed = gained / max(seconds, 1e-6)
    if size is None:
        return f"{what}: {_amount(done)}, {speed / 1e6:.1f} MB/s"
    left = timedelta(seconds=round((size - done) / max(speed, 1.0)))
    percent = 100 * done / max(size, 1)
    return f"{what}: {_amount(done)} of {_amount(size)} ({percent:.0f} %), {speed / 1e6:.1f} MB/s, {left} left"


def _amount(count: float) -> str:
    for size, unit in ((1e9, "GB"), (1e6, "MB"), (1e3, "kB")):
        if count >= size:
            return f"{count / size:.1f} {unit}"
    return f"{count:.0f} bytes"
