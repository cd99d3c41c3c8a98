"""Images inside archives of files, read in place: zip and tar, WebDataset's among them.

Belongs here: what such an archive holds, whether it is whole, the bytes of one member, and what files beside an image
say of it. Does not belong here: which archives are deliveries (`drop`), containers of arrays (`stacks`), what must be
rewritten before it can be read (`spools`), and decoding (`images`).

Nothing is unpacked: no member's name ever becomes a path on the disk.
"""

import json
import stat
import tarfile
import threading
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import IO, Any, NamedTuple, Protocol

from galaxy_assets.deliveries.images import UnreadableImage, check_bytes
from galaxy_assets.deliveries.members import (
    LABELS,
    DamagedArchive,
    Said,
    check_count,
    check_growth,
    class_of,
    known,
    position_of,
)
from galaxy_assets.deliveries.suffixes import without_suffix
from galaxy_assets.settings.limits import MAXIMUM_DIRECTORY, MAXIMUM_HEADER
from galaxy_assets.settings.printing import logger
from galaxy_assets.settings.regular import open_regular

log = logger(__name__)

SAID = ".said.json"
"""Member of a spool in which is kept what its container says of the images."""
PROBLEM = "GALAXY_ASSETS.problem"
"""Header of a spool's member that is no image: why."""

_BLOCK = 512  # bytes of a tar's header, and of the zeros that end it
_LONGEST_REASON = 300  # characters: a header may hold anything
_STEP = 4096  # bytes of a member in a zip that are decompressed at once where nothing else bounds it


class Archive(Protocol):
    """A container of images. Safe to read from several threads.

    Attributes
    ----------
    sizes : mapping of str to int
        Bytes of each file, by its name in the archive.
    """

    @property
    def sizes(self) -> Mapping[str, int]:
        """See the class."""
        ...

    def read(self, name: str) -> bytes:
        """The content of a file; raises UnreadableImage where there is none that can be used."""
        ...

    def said(self, images: Sequence[str]) -> Mapping[str, Said]:
        """What the container says of these images, by their names in it; those it says nothing of are left out."""
        ...


def damaged(error: BaseException) -> DamagedArchive:
    """What to say of an archive that a library cannot read."""
    if isinstance(error, PermissionError):
        return DamagedArchive(f"cannot be opened: {error.strerror}; correct its permissions")
    words = " ".join(str(error).split())[:_LONGEST_REASON] or type(error).__name__
    if isinstance(error, RecursionError):
        words = "headers or values inside each other without end"
    return DamagedArchive(f"cut short or damaged ({words}); deliver it again")


@contextmanager
def damaged_otherwise() -> Iterator[None]:
    """Make a `DamagedArchive` of whatever a library raises over a stranger's file."""
    try:
        yield
    except DamagedArchive:
        raise
    except Exception as error:
        raise damaged(error) from error


def _by_name(path: Path, members: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    """Members by name in UTF-8 without ./ before it; of equal names the last counts, as it does when one unpacks."""
    found = {n.removeprefix("./").encode("utf-8", "surrogateescape").decode("utf-8", "replace"): m for n, m in members}
    if len(found) < len(members):
        log.warning("%s: %d files are replaced by later ones of their name", path, len(members) - len(found))
    return found


def _check_name(name: str) -> None:
    """Raise UnreadableImage for a name that would lead out of the folder it were unpacked to."""
    if name.startswith("/") or ".." in PurePosixPath(name).parts:
        raise UnreadableImage("its name in the archive is absolute or has `..` in it; pack the images anew")


class ZipArchive:
    """The files in a zip, by name. Safe to read from several threads.

    Parameters
    ----------
    path : Path
        The zip.

    Attributes
    ----------
    sizes : dict of str to int
        Bytes of each file, by its name in the archive.

    Raises
    ------
    DamagedArchive
        Where it is not whole.
    """

    def __init__(self, path: Path):
        with damaged_otherwise():
            file = _Directory(open_regular(path))
            self._zip = zipfile.ZipFile(file)  # pyright: ignore[reportArgumentType, reportCallIssue]
            file.is_read = True
            members = [(info.filename, info) for info in self._zip.infolist() if not info.is_dir()]
            check_count(len(members))
        self._lock = threading.Lock()
        self._members = _by_name(path, members)
        self.sizes = {name: info.file_size for name, info in self._members.items()}
        self._check_ends(path.stat().st_size)

    def _check_ends(self, size: int) -> None:
        """The directory is at the end, so a zip that lost its beginning or its middle has one, but wrong places."""
        places = sorted(self._members.values(), key=lambda info: info.header_offset)
        try:
            for info in places[:1] + places[-1:]:
                if info.header_offset < 0 or info.header_offset + info.compress_size > size:
                    raise zipfile.BadZipFile(f"{info.filename} lies outside the file")
                if not info.flag_bits & 1:  # an encrypted one cannot be opened at all
                    self._zip.open(info).close()
        except NotImplementedError:
            pass  # a compression that is not known: said where its images are read
        except Exception as error:
            self._zip.close()
            raise damaged(error) from error

    def read(self, name: str) -> bytes:
        """The content of a file.

        Parameters
        ----------
        name : str
            In the archive.

        Returns
        -------
        bytes

        Raises
        ------
        UnreadableImage
            If it is absent, damaged, too large, or unsafe to open.
        """
        info = self._members.get(name)
        if info is None:
            raise UnreadableImage("not in the archive")
        _check_name(name)
        if stat.S_ISLNK(info.external_attr >> 16):
            raise UnreadableImage("a link in an archive; pack the image itself")
        if info.flag_bits & 1:
            raise UnreadableImage("encrypted; pack it without a password")
        check_bytes(info.file_size)
        check_growth(info.file_size, info.compress_size)
        try:
            # zipfile counts its open members without a lock: a lost count would close the file under another thread
            with self._lock:
                stream = self._zip.open(info)
            try:
                if info.compress_type in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
                    return stream.read()
                # of the others zipfile decompresses all that it is asked for, whatever size the directory gives
                return b"".join(iter(lambda: stream.read(_STEP), b""))
            finally:
                with self._lock:
                    stream.close()
        except Exception as error:
            raise UnreadableImage(f"damaged in the archive: {error}") from error

    def said(self, images: Sequence[str]) -> Mapping[str, Said]:
        """What the files beside these images say of them."""
        return said_beside(self, images)


class _Directory:
    """A file as zipfile reads it, which takes all that the end of a zip calls its directory at once."""

    is_read = False

    def __init__(self, stream: IO[bytes]):
        self._stream = stream
        self.seek, self.tell, self.close, self.seekable = stream.seek, stream.tell, stream.close, stream.seekable

    def read(self, size: int = -1) -> bytes:
        if self.is_read:
            return self._stream.read(size)
        if size > MAXIMUM_DIRECTORY:
            raise zipfile.BadZipFile(f"a directory of {size} bytes")
        data = self._stream.read(size)
        check_count(data.count(b"PK\x01\x02"))  # before there is an object for each
        return data


class _Member(NamedTuple):
    """A file in a tar: where it is, and why it cannot be used."""

    offset: int
    size: int
    problem: str | None


class _Headers:
    """A file as tarfile reads it when it looks at headers alone: in small pieces, whatever sizes they give."""

    def __init__(self, stream: IO[bytes]):
        self._stream = stream
        self.seek, self.tell, self.close = stream.seek, stream.tell, stream.close

    def read(self, size: int = -1) -> bytes:
        if not 0 <= size <= MAXIMUM_HEADER:
            raise tarfile.ReadError(f"a header of {size} bytes")
        return self._stream.read(size)


class TarArchive:
    """The files in a plain tar, by name. Safe to read from several threads.

    Parameters
    ----------
    path : Path
        The tar.
    packed : int, optional
        Bytes of what it was decompressed from, if it was.
    kept : bool
        Whether `spools` wrote it from rows and kept there what they say of the images.

    Attributes
    ----------
    sizes : dict of str to int
        Bytes of each file, by its name in the archive.

    Raises
    ------
    DamagedArchive
        Where it is not whole.
    """

    def __init__(self, path: Path, packed: int | None = None, kept: bool = False):
        self._path, self._packed, self._kept = path, packed, kept
        members, names = [], 0
        with damaged_otherwise():
            with open_regular(path) as stream, tarfile.open(fileobj=_Headers(stream), mode="r:") as archive:  # pyright: ignore[reportArgumentType, reportCallIssue]
                while (info := archive.next()) is not None:
                    archive.members = []  # it would keep them all
                    if info.size < 0:  # tarfile would go back and read it for ever
                        raise tarfile.ReadError(f"{info.name} has {info.size} bytes")
                    if not info.isdir():
                        members.append((info.name, _Member(info.offset_data, info.size, _unusable(info))))
                        check_count(len(members))
                        if (names := names + len(info.name)) > MAXIMUM_DIRECTORY:
                            raise tarfile.ReadError(f"names of more than {MAXIMUM_DIRECTORY} characters")
                end = archive.offset
            with path.open("rb") as stream:
                stream.seek(end)
                # tarfile takes a damaged header, or none, for the end
                if stream.read(_BLOCK) != bytes(_BLOCK):
                    raise tarfile.ReadError(f"no end of the archive at byte {end}")
        self._members = _by_name(path, members)
        self.sizes = {name: member.size for name, member in self._members.items() if not kept or name != SAID}

    def read(self, name: str) -> bytes:
        """The content of a file.

        Parameters
        ----------
        name : str
            In the archive.

        Returns
        -------
        bytes

        Raises
        ------
        UnreadableImage
            If it is absent, cut short, too large, or unsafe to open.
        """
        member = self._members.get(name)
        if member is None:
            raise UnreadableImage("not in the archive")
        _check_name(name)
        if member.problem is not None:
            kind, _, reason = member.problem.partition(": ")
            raise UnreadableImage(reason, kind)
        check_bytes(member.size)
        if self._packed is not None:
            check_growth(member.size, self._packed)
        try:
            with self._path.open("rb") as stream:
                stream.seek(member.offset)
                data = stream.read(member.size)
        except OSError as error:
            raise UnreadableImage(f"cannot be opened: {error.strerror}") from error
        if len(data) < member.size:
            raise UnreadableImage("the archive was cut short")
        return data

    def said(self, images: Sequence[str]) -> Mapping[str, Said]:
        """What the files beside these images say of them, or what was kept of their container."""
        if self._kept:
            return {name: Said(*one) for name, one in json.loads(self.read(SAID)).items()}
        return said_beside(self, images)


def _unusable(info: tarfile.TarInfo) -> str | None:
    if info.issym() or info.islnk():
        return "unreadable: a link in an archive; pack the image itself"
    if not info.isreg() or info.sparse is not None:
        return "unreadable: no regular file in the archive, or a sparse one; pack it anew"
    return info.pax_headers.get(PROBLEM)


def said_beside(archive: Archive, images: Sequence[str]) -> dict[str, Said]:
    """What files beside images say of them, as in WebDataset: `key.cls` is the class of `key.jpg`, `key.json` has more.

    A key is the image's name without its suffix, or, as WebDataset has it, up to the first dot: `key.json` beside
    `key.image.png`.

    Parameters
    ----------
    archive : Archive
        Holds the images and these files.
    images : sequence of str
        Their names in it.

    Returns
    -------
    dict of str to Said
        Of the images of which anything is said.
    """
    found = {}
    for image in images:
        folder, slash, name = image.rpartition("/")
        keys = without_suffix(image), folder + slash + name.split(".")[0]
        files = ({what: f"{key}.{what}" for what in ("cls", "json")} for key in keys)
        there = ({what: file for what, file in named.items() if file in archive.sizes} for named in files)
        said = next(filter(None, there), None)
        if said and (one := Said(None, *_beside(archive, said))) != Said():
            found[image] = one
    return found


def _beside(archive: Archive, said: dict[str, str]) -> tuple[str | None, float | None, float | None]:
    read = {}
    for what, name in said.items():
        if archive.sizes[name] <= MAXIMUM_HEADER:
            try:
                read[what] = archive.read(name).decode("utf-8", "replace")
            except UnreadableImage as error:
                log.warning("%s cannot be read and says nothing of its image: %s", name, error.reason)
    try:
        more = json.loads(read.get("json", "{}"))
    except (ValueError, RecursionError):
        more = None
    more = more if isinstance(more, dict) else {}
    position = position_of(*(more.get(known(more, (axis,)) or "") for axis in ("ra", "dec")))
    return class_of(read["cls"]) if "cls" in read else class_of(more.get(known(more, LABELS) or "")), *position
