"""A survey that lies elsewhere (`source.path: s3://...`), copied file by file to the data folder.

    raw/<mirror>/<name>                 each file, under its name there
    raw/<mirror>/.gone/<time>/<name>    what is no longer there
    raw/<mirror>/.mirror.json           the address, and what each file was like when it was copied
    raw/<mirror>/.mirror.lock           held by the process that copies

Belongs here: any address that fsspec knows, and what of it must be copied anew. Does not belong here: official
downloads with checksums (`fetch`), and what of the copy is a delivery (`deliveries`).
"""

import shutil
import time
from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor, as_completed
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import parse_qsl, unquote, urlsplit

import fsspec
from pydantic import ValidationError

from galaxy_assets.deliveries.suffixes import ALL, ARCHIVES, TABLES
from galaxy_assets.settings.base import Settings
from galaxy_assets.settings.files import SurveyError
from galaxy_assets.settings.limits import RESERVED_DISK
from galaxy_assets.settings.printing import logger
from galaxy_assets.settings.progress import HowFar
from galaxy_assets.storage.files import replacing
from galaxy_assets.storage.locks import held

log = logger(__name__)

_PAUSE = 60.0  # seconds for which a listing counts: every step of a run opens the survey anew
_DAY = 86400.0  # seconds for which what a server said of one file counts where its list says nothing
_SAVED = 500  # files between two notes of what was copied
_THREADS = 8
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
    looked : float
        When all files were last compared with the address, seconds since 1970; 0 while something is left to copy.
    asked : float
        When a server whose list says no more than names was last asked for each file.
    """

    address: str
    files: dict[str, str]
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
            said = f"{address} cannot be listed: {error or type(error).__name__}"
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
        asked = now if is_asked else record.asked
        _copy_all(files, wanted, folder, Record(address=address, files=kept, asked=asked))
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
    return record


def _write(folder: Path, record: Record) -> None:
    with replacing(folder / ".mirror.json") as partial:
        partial.write_text(record.model_dump_json(), encoding="utf-8")


def _listing(address: str, copied: Mapping[str, str], is_asked: bool) -> tuple[Any, dict[str, _Remote]]:
    """The file system of an address, and the files below it by their name in the copy.

    Of a file that was copied and of which the list says no more than the name, the server is asked only where
    `is_asked`.
    """
    files, root = fsspec.url_to_fs(address)
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
    if not local.is_file():
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
    while inner != folder and not any(inner.iterdir()):
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
    copied, far = dict(record.files), HowFar(log, f"copying {folder}", len(wanted), "files", even=False)
    failed: list[SurveyError] = []
    with ThreadPoolExecutor(_THREADS) as pool:
        names = {pool.submit(_copy, files, wanted[name], folder / name): name for name in wanted}
        try:
            for number, done in enumerate(as_completed(names), start=1):
                name = names[done]
                arriving = folder / f"{name}{_ARRIVING}"
                try:
                    done.result()
                    copied[name] = wanted[name].version
                    arriving.unlink(missing_ok=True)
                except SurveyError as error:  # its delivery waits for it, and no other does
                    failed.append(error)
                    arriving.parent.mkdir(parents=True, exist_ok=True)
                    arriving.touch()
                far.tell(number)
                if number % _SAVED == 0:
                    _write(folder, record.model_copy(update={"files": copied}))
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            _write(folder, record.model_copy(update={"files": copied}))
            raise
    looked = {} if failed else {"looked": time.time()}
    _write(folder, record.model_copy(update={"files": copied, **looked}))
    if failed and not copied:
        raise failed[0]
    if failed:
        log.error("%s; %d files are not copied, and their deliveries wait for them", failed[0], len(failed))


def _copy(files: Any, there: _Remote, local: Path) -> None:
    try:
        with replacing(local) as partial:
            files.get_file(there.path, str(partial))
            if there.size not in (None, size := partial.stat().st_size):
                raise OSError(f"{size} of {there.size} bytes arrived")
    except Exception as error:  # each file system has errors of its own
        reason = error or type(error).__name__
        raise SurveyError(
            f"{there.path} cannot be copied to {local}: {reason}; run again to go on from here"
        ) from error
