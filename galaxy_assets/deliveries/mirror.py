"""A survey that lies elsewhere (`source.path: s3://...`), copied file by file to the data folder.

    raw/<mirror>/<name>                 each file, under its name there
    raw/<mirror>/.gone/<time>/<name>    what is no longer there
    raw/<mirror>/.mirror.json           the address, and what each file was like when it was copied
    raw/<mirror>/.mirror.jsonl          a line for each file that was copied, or could not be, since then
    raw/<mirror>/.mirror.lock           held by the process that copies

Belongs here: any address that fsspec knows, and what of it must be copied anew. Does not belong here: official
downloads with checksums (`fetch`), and what of the copy is a delivery (`deliveries`).
"""

import errno
import hashlib
import json
import shutil
import threading
import time
from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath
from typing import IO, Any, NamedTuple
from urllib.parse import parse_qsl, unquote, urlsplit

import fsspec
from fsspec.callbacks import Callback
from pydantic import ValidationError

from galaxy_assets.deliveries.suffixes import ALL, ARCHIVES, TABLES
from galaxy_assets.settings.base import Settings
from galaxy_assets.settings.files import SurveyError
from galaxy_assets.settings.limits import RESERVED_DISK
from galaxy_assets.settings.printing import logger
from galaxy_assets.settings.progress import HowFar
from galaxy_assets.storage.files import replacing, told_of
from galaxy_assets.storage.locks import held

log = logger(__name__)

_PAUSE = 60.0  # seconds for which a listing counts: every step of a run opens the survey anew
_DAY = 86400.0  # seconds for which what a server said of one file counts where its list says nothing
_SILENT = 300.0  # seconds without a byte after which a web server's answer counts as lost
_THREADS = 8
_TOLD = 5  # files whose error is told each by itself
_LONGEST = 255  # bytes of one name that file systems bear
_JOURNAL = ".mirror.jsonl"
_IN_THE_WAY = (errno.ENAMETOOLONG, errno.ENOTDIR, errno.EEXIST)
_ARRIVING = ".part"  # what the name of a file that could not be copied ends in, so that its delivery waits
# what tells that a file has changed, whatever its file system calls it; the first that is given
_VERSIONS = (
    *("ETag", "etag", "md5Hash", "md5", "Content-MD5", "Digest"),
    *("mtime", "LastModified", "last_modified", "Last-Modified", "updated", "created"),
)
_NAME_ALONE = "None "  # a version that says neither size nor time
_SUFFIXES = (*ALL, *ARCHIVES, *TABLES)


class Record(Settings):
    """What a mirror is a copy of.

    Attributes
    ----------
    address : str
        Where the originals lie.
    files : dict of str to str
        What each file was like when it was copied, by its name.
    failed : dict of str to str
        Files that could not be copied, and the file that makes their delivery wait for each.
    looked : float
        When all files were last compared with the address, seconds since 1970; 0 while something is left to copy.
    asked : float
        When a server whose list says no more than names was last asked for each file.
    """

    address: str
    files: dict[str, str]
    failed: dict[str, str] = {}
    looked: float = 0.0
    asked: float = 0.0


class _Remote(NamedTuple):
    """A file at an address; its size is None unless the list says it, its version begins with what is known of it."""

    path: str
    size: int | None
    version: str


def mirror(address: str, folder: Path) -> Path:
    """Copy what is at an address to a folder; what was copied before and is the same is left alone.

    Each file is whole or absent. What is no longer at the address is moved to `.gone`, and the log says so. An address
    that cannot be reached is no error where all was copied before. Within a minute of the last time nothing is asked.

    Parameters
    ----------
    address : str
        A file or folder that fsspec knows.
    folder : Path
        Where the copy goes.

    Returns
    -------
    Path
        `folder`.

    Raises
    ------
    SurveyError
        Names the address, the reason and the remedy.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with held(folder / ".mirror.lock"):
        record = _record(folder, address)
        if 0 <= time.time() - record.looked < _PAUSE:
            return folder
        now = time.time()
        is_asked = not 0 <= now - record.asked < _DAY
        try:
            files, there = _listing(address, record.files, is_asked)
        except Exception as error:  # each file system has errors of its own
            said = f"{address} cannot be listed: {str(error) or type(error).__name__}"
            if not record.looked:
                remedy = "correct `source.path`, or install what fsspec needs for it"
                raise SurveyError(f"{said}; {remedy}") from error
            log.warning("%s; what was copied before is used", said)
            return folder
        if not there:
            raise SurveyError(f"{address}: there is no file; correct `source.path`, or deliver something there")
        _set_aside(folder, sorted(set(record.files) - set(there)))
        before = record.files
        wanted = {name: file for name, file in there.items() if not _is_same(folder / name, file, before.get(name))}
        kept = {name: before[name] if name in wanted else there[name].version for name in before if name in there}
        waiting = dict(record.failed)
        for name in waiting.keys() - wanted.keys():  # gone there, or as it was
            _end_waiting(folder, name, waiting, there)
        asked = now if is_asked else record.asked
        _copy_all(files, wanted, folder, Record(address=address, files=kept, failed=waiting, asked=asked))
    return folder


def _record(folder: Path, address: str) -> Record:
    """The mirror's record, a new one in an empty folder."""
    path, remedy = folder / ".mirror.json", "move it away, or name another folder in `source.mirror`"
    if not path.exists():
        if any(not one.name.startswith(".") for one in folder.iterdir()):
            raise SurveyError(f"{folder} is to hold the copy of {address}, but holds something else; {remedy}")
        _write(folder, record := Record(address=address, files={}))
        return record
    try:
        record = Record.model_validate_json(path.read_bytes())
    except ValidationError as error:
        raise SurveyError(f"{path} is damaged ({error}); {remedy}") from error
    if record.address != address:
        raise SurveyError(f"{folder} holds the copy of {record.address} and not of {address}; {remedy}")
    return _with_journal(folder, record) if (folder / _JOURNAL).exists() else record


def _with_journal(folder: Path, record: Record) -> Record:
    """The record with what a process that was killed had copied since it was written, and write it."""
    files, failed = dict(record.files), dict(record.failed)
    for line in (folder / _JOURNAL).read_bytes().split(b"\n")[:-1]:  # the last one may be cut off
        with suppress(ValueError):
            name, version, marker = json.loads(line)
            if marker is not None:
                failed[name] = marker
            else:
                files[name] = version
                _end_waiting(folder, name, failed, files)
    record = record.model_copy(update={"files": files, "failed": failed, "looked": 0.0})
    _write(folder, record)
    return record


def _write(folder: Path, record: Record) -> None:
    with replacing(folder / ".mirror.json") as partial:
        partial.write_text(record.model_dump_json(), encoding="utf-8")
    (folder / _JOURNAL).unlink(missing_ok=True)


def _listing(address: str, copied: Mapping[str, str], is_asked: bool) -> tuple[Any, dict[str, _Remote]]:
    """The file system of an address, and the files below it by their name in the copy.

    Of a file that was copied and of which the list says no more than the name, the server is asked only where
    `is_asked`.
    """
    files, root = fsspec.url_to_fs(address, **_options(address))
    files.invalidate_cache()
    found = files.find(root, detail=True)
    there: dict[str, dict[str, Any]] = {}
    names = _names(found, root, copied)
    for path, name in names.items():
        there.setdefault(name, {**found[path], "name": path})
    if len(there) < len(names):
        log.warning("%s: %d links lead to names that others have, and are not copied", address, len(names) - len(there))
    sizes = {name: info.get("size") or None for name, info in there.items()}  # 0 is what servers say that know none
    unsaid = [name for name, info in there.items() if info.get("size") is None and not _version(info)]
    known = {name: copied[name] for name in unsaid if name in copied and not is_asked}
    unsaid = [name for name in unsaid if name not in known]
    with ThreadPoolExecutor(_THREADS) as pool:
        there |= zip(unsaid, pool.map(lambda name: _asked(files, there[name]), unsaid), strict=True)
    return files, {
        name: _Remote(info["name"], sizes[name], known.get(name) or f"{info.get('size')} {_version(info)}")
        for name, info in there.items()
    }


def _options(address: str) -> dict[str, Any]:
    """Of a web server's file system: a large file may take hours, as long as bytes come."""
    if not _is_web(address):
        return {}
    from aiohttp import ClientTimeout
    from fsspec.config import conf

    timeout = ClientTimeout(total=None, sock_connect=_SILENT, sock_read=_SILENT)
    given = conf.get(address.partition(":")[0], {}).get("client_kwargs", {})  # a person's headers and proxy
    return {"client_kwargs": {"timeout": timeout, **given}}


def _names(paths: Iterable[str], root: str, copied: Collection[str]) -> dict[str, str]:
    """What the files at an address are called in the copy.

    A web server's names are unquoted, and taken from a query where they are in it: `get?file=a.png`. A copy that was
    made before that was done keeps its names, since ids come from them.
    """
    plain = {path: name for path in paths if not path.endswith("/") and (name := _name(path, root)) is not None}
    if not _is_web(root):
        return plain
    of_links = {path: path.removeprefix(root.rstrip("/")).lstrip("/") for path in plain}
    if any(name in copied and name != plain[path] for path, name in of_links.items()):
        return {path: name if name and _is_safe(name.split("/")) else plain[path] for path, name in of_links.items()}
    times = Counter(plain.values())
    named = {}
    for path, name in plain.items():
        inner = _name_in_query(path) if times[name] > 1 or not name.lower().endswith(_SUFFIXES) else None
        named[path] = name if inner is None else name.rpartition("/")[0] + name.rpartition("/")[1] + inner
    return named


def _is_web(path: str) -> bool:
    return path.startswith(("http://", "https://"))


def _name(path: str, root: str) -> str | None:
    """What a file at an address is called without its query; None for one that is hidden or leads out of the folder."""
    web = _is_web(path)
    plain, home = (one.partition("#")[0].partition("?")[0] if web else one for one in (path, root))
    inner = plain.removeprefix(home.rstrip("/")).lstrip("/")
    if not inner and path == root:
        inner = plain.rpartition("/")[2]
    parts = [unquote(part) if web else part for part in inner.split("/") if part]
    # a list's links that sort it have a query alone, and are no files of the folder's name
    return None if not parts or not _is_safe(parts) or inner.endswith("/") else "/".join(parts)


def _name_in_query(path: str) -> str | None:
    """The last value of a link's query, where it is the name of a file of a kind that is read."""
    values = parse_qsl(urlsplit(path).query)
    name = values[-1][1] if values else ""
    return name if name.lower().endswith(_SUFFIXES) and _is_safe(name.split("/")) and name[0] != "/" else None


def _is_safe(parts: Iterable[str]) -> bool:
    return not any(part.startswith(".") or "\0" in part or "/" in part for part in parts)


def _version(info: Mapping[str, Any]) -> str:
    return next((f"{key} {info[key]}" for key in _VERSIONS if info.get(key) is not None), "")


def _asked(files: Any, info: dict[str, Any]) -> dict[str, Any]:
    """What a file system says of one file, beside what it said of it in a list."""
    try:
        said = files.info(info["name"])
        return info | said | {"name": info["name"], "size": said.get("size") or None}
    except Exception:  # each file system has errors of its own; copying the file says what is wrong
        return info


def _is_same(local: Path, there: _Remote, copied: str | None) -> bool:
    if copied is None or not local.is_file():  # of a name that is too long a system cannot be asked
        return False
    size = local.stat().st_size
    # of web servers only names were noted once
    same = copied == there.version or (copied == _NAME_ALONE and there.version.startswith(f"{size} "))
    return same and there.size in (None, size)


def _set_aside(folder: Path, names: list[str]) -> None:
    if not names:
        return
    gone = folder / ".gone" / datetime.now(UTC).strftime("%Y-%m-%dT%H%M%S.%fZ")
    log.warning("%s: %d files are no longer there, %s for one; they go to %s", folder, len(names), names[0], gone)
    for name in names:
        if (folder / name).is_file():
            (gone / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).rename(gone / name)
            _remove_empty((folder / name).parent, folder)


def _remove_empty(inner: Path, folder: Path) -> None:
    while inner != folder and inner.is_dir() and not any(inner.iterdir()):
        inner.rmdir()
        inner = inner.parent


def _copy_all(files: Any, wanted: dict[str, _Remote], folder: Path, record: Record) -> None:
    needed = sum(file.size or 0 for file in wanted.values())
    if needed + RESERVED_DISK > (free := shutil.disk_usage(folder).free):
        raise SurveyError(
            f"{folder}: {needed:,} bytes of {record.address} are to be copied here and {free:,} are free; make room"
        )
    if wanted:
        log.info("%s: copying %d files, %d bytes, from %s", folder, len(wanted), needed, record.address)
    copied, failed, known = dict(record.files), dict(record.failed), {*record.files, *wanted}
    far = HowFar(log, f"copying {folder}", len(wanted), "files")
    errors: list[SurveyError] = []
    stop = _Stop()
    path = folder / _JOURNAL
    with told_of(path), path.open("ab") as journal, ThreadPoolExecutor(_THREADS) as pool:
        note = _Noting(journal)
        names = {pool.submit(_copy, files, wanted[name], folder / name, name, note, stop): name for name in wanted}
        try:
            for number, done in enumerate(as_completed(names), start=1):
                name = names[done]
                try:
                    done.result()
                    copied[name] = wanted[name].version
                    _end_waiting(folder, name, failed, known)
                except SurveyError as error:  # its delivery waits for it, and no other does
                    errors.append(error)
                    failed[name] = _wait(folder, name, note)
                far.tell(number)
        except BaseException:
            stop.set()
            pool.shutdown(wait=True, cancel_futures=True)
            raise
    looked = {} if errors else {"looked": time.time()}
    _write(folder, record.model_copy(update={"files": copied, "failed": failed, **looked}))
    if errors and not copied:
        raise errors[0]
    for error in errors[:_TOLD]:
        log.error("%s", error)
    if errors:
        log.error("%s: %d files are not copied, and their deliveries wait for them", folder, len(errors))


class _Noting:
    """Keeps at once what became of a file: a kill forgets none that is whole."""

    def __init__(self, journal: IO[bytes]):
        self._journal, self._lock = journal, threading.Lock()

    def __call__(self, name: str, version: str | None, marker: str | None) -> None:
        with self._lock:
            self._journal.write(json.dumps([name, version, marker]).encode() + b"\n")
            self._journal.flush()


class _Stop(Callback):
    """Ends the copies under way at their next bytes."""

    def __init__(self) -> None:
        super().__init__()
        self._is_set = threading.Event()

    def set(self) -> None:
        self._is_set.set()

    def relative_update(self, inc: int = 1) -> None:
        if self._is_set.is_set():
            raise InterruptedError("stopped")


def _copy(files: Any, there: _Remote, local: Path, name: str, note: _Noting, stop: _Stop) -> None:
    try:
        if any(len(part) > _LONGEST for part in _bytes(name).split(b"/")):
            raise OSError(f"a name of more than {_LONGEST} bytes cannot be stored; rename it there")
        with replacing(local) as partial:
            files.get_file(there.path, str(partial), callback=stop)
            if there.size not in (None, size := partial.stat().st_size):
                raise OSError(f"{size} of {there.size} bytes arrived")
        note(name, there.version, None)
    except Exception as error:  # each file system has errors of its own
        reason = str(error) or type(error).__name__
        raise SurveyError(
            f"{there.path} cannot be copied to {local}: {reason}; run again to go on from here"
        ) from error


def _wait(folder: Path, name: str, note: _Noting) -> str:
    """Put down the file that makes the delivery of one that could not be copied wait; where it lies in the folder.

    It lies where that file is to be, or above where a name is in the way, under a name that is no longer than can be.
    """
    parts = name.split("/")
    if len(_bytes(parts[-1])) + len(_ARRIVING) > _LONGEST:
        suffix = PurePosixPath(parts[-1]).suffix  # without which a loose file is none that a delivery waits for
        parts[-1] = hashlib.sha256(_bytes(name)).hexdigest()[:32] + (suffix if len(_bytes(suffix)) < 32 else "")
    while True:
        marker = "/".join(parts) + _ARRIVING
        note(name, None, marker)
        try:
            (folder / marker).parent.mkdir(parents=True, exist_ok=True)
            (folder / marker).touch()
            return marker
        except OSError as error:
            if len(parts) == 1 or error.errno not in _IN_THE_WAY:
                raise
            del parts[-2]


def _end_waiting(folder: Path, name: str, failed: dict[str, str], known: Collection[str]) -> None:
    """Remove what makes a delivery wait for a file that has arrived or is wanted no longer.

    It stays where it is a file of the survey itself, or another file's that has not arrived. Before failed files were
    noted it lay beside each.
    """
    marker = failed.pop(name, f"{name}{_ARRIVING}")
    if marker not in known and marker not in failed.values():
        with suppress(OSError):  # of a name that is too long there is none
            (folder / marker).unlink(missing_ok=True)
            _remove_empty((folder / marker).parent, folder)


def _bytes(name: str) -> bytes:
    return name.encode("utf-8", "surrogatepass")
