"""Images inside archives, read in place: zip, tar, compressed tar, Parquet.

Belongs here: what an archive holds, whether it is whole, the bytes of one member, and the plain tar that what cannot be
read by seeking is turned into once. Does not belong here: which archives are deliveries (`deliveries`), and decoding
(`images`).

Nothing is unpacked: no member's name ever becomes a path on the disk.
"""

import bz2
import gzip
import io
import logging
import lzma
import shutil
import stat
import struct
import tarfile
import threading
import zipfile
import zlib
from collections import Counter
from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import Any, Literal

import pyarrow as pa
import pyarrow.types as kinds

from galaxy_assets.deliveries.images import UnreadableImage, check_bytes
from galaxy_assets.settings.files import SurveyError
from galaxy_assets.storage.files import replacing

log = logging.getLogger(__name__)

Kind = Literal["zip", "tar", "parquet"]

SUFFIXES: dict[str, Kind] = {
    ".zip": "zip",
    ".tar": "tar",
    ".tar.gz": "tar",
    ".tgz": "tar",
    ".tar.bz2": "tar",
    ".tar.xz": "tar",
    ".parquet": "parquet",
}
IMAGE_COLUMNS = ("image", "bytes")
ID_COLUMNS = ("galaxy_id", "id", "name", "file")

_CHUNK = 2**24  # bytes
_RESERVE = 2**30  # bytes of the disk that a spool leaves free: few bytes can decompress to very many
_ROWS = 64  # of a Parquet file, in memory at once
_BLOCK = 512  # bytes of a tar's header, and of the zeros that end it
_COMPRESSED: dict[bytes, Any] = {b"\x1f\x8b": gzip.open, b"BZh": bz2.open, b"\xfd7zXZ": lzma.open}
_MAGIC = {b"\x89PNG\r\n\x1a\n": ".png", b"\xff\xd8\xff": ".jpg", b"SIMPLE  =": ".fits", b"\x1f\x8b": ".fits.gz"}

_DAMAGE = (
    OSError,
    EOFError,
    ValueError,
    IndexError,
    NotImplementedError,
    struct.error,
    zlib.error,
    lzma.LZMAError,
    tarfile.TarError,
    zipfile.BadZipFile,
    pa.ArrowException,
)


class DamagedArchive(ValueError):
    """An archive that is not whole; the message says what is wrong with it and what to do, but not which it is."""


def _damaged(error: Exception) -> DamagedArchive:
    if isinstance(error, PermissionError):
        return DamagedArchive(f"cannot be opened: {error.strerror}; correct its permissions")
    return DamagedArchive(f"cut short or damaged ({error}); deliver it again")


def kind_of(name: str) -> tuple[str, Kind] | None:
    """A file's name without the archive's suffix, and the kind of archive; None for any other file."""
    suffix = max((suffix for suffix in SUFFIXES if name.lower().endswith(suffix)), key=len, default=None)
    return (name[: -len(suffix)], SUFFIXES[suffix]) if suffix else None


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
        try:
            self._zip = zipfile.ZipFile(path)
            members = [(info.filename, info) for info in self._zip.infolist() if not info.is_dir()]
        except _DAMAGE as error:
            raise _damaged(error) from error
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
        except _DAMAGE as error:
            self._zip.close()
            raise _damaged(error) from error

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
        try:
            # zipfile counts its open members without a lock: a lost count would close the file under another thread
            with self._lock:
                stream = self._zip.open(info)
            try:
                return stream.read()
            finally:
                with self._lock:
                    stream.close()
        except _DAMAGE as error:
            raise UnreadableImage(f"damaged in the archive: {error}") from error


class TarArchive:
    """The files in a plain tar, by name. Safe to read from several threads.

    Parameters
    ----------
    path : Path
        The tar.

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
        self._path = path
        members = []
        try:
            with tarfile.open(path, "r:") as archive:
                for info in archive:
                    if info.size < 0:  # tarfile would go back and read it for ever
                        raise tarfile.ReadError(f"{info.name} has {info.size} bytes")
                    if not info.isdir():
                        members.append((info.name, info))
                end = archive.offset
            with path.open("rb") as stream:
                stream.seek(end)
                # tarfile takes a damaged header, or none, for the end
                if stream.read(_BLOCK) != bytes(_BLOCK):
                    raise tarfile.ReadError(f"no end of the archive at byte {end}")
        except _DAMAGE as error:
            raise _damaged(error) from error
        self._members = _by_name(path, members)
        self.sizes = {name: info.size for name, info in self._members.items()}

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
        info = self._members.get(name)
        if info is None:
            raise UnreadableImage("not in the archive")
        _check_name(name)
        if info.issym() or info.islnk():
            raise UnreadableImage("a link in an archive; pack the image itself")
        if not info.isreg() or info.sparse is not None:
            raise UnreadableImage("no regular file in the archive, or a sparse one; pack it anew")
        check_bytes(info.size)
        try:
            with self._path.open("rb") as stream:
                stream.seek(info.offset_data)
                data = stream.read(info.size)
        except OSError as error:
            raise UnreadableImage(f"cannot be opened: {error.strerror}") from error
        if len(data) < info.size:
            raise UnreadableImage("the archive was cut short")
        return data


Archive = ZipArchive | TarArchive


def _starts(path: Path) -> bytes:
    try:
        with path.open("rb") as stream:
            return stream.read(6)
    except OSError as error:
        raise DamagedArchive(f"cannot be opened: {error.strerror}; correct its permissions") from error


def is_compressed(path: Path) -> bool:
    """Whether a tar is compressed, by its content: servers and browsers decompress without renaming."""
    return _starts(path).startswith(tuple(_COMPRESSED))


def image_column(schema: pa.Schema) -> str | None:
    """The column of a Parquet file that holds images as bytes, or as a struct with `bytes` in it.

    Parameters
    ----------
    schema : pyarrow.Schema
        Of the file.

    Returns
    -------
    str or None
        None where there is no such column.
    """
    for name in IMAGE_COLUMNS:
        if name in schema.names:
            kind = schema.field(name).type
            if kinds.is_struct(kind) and (field := kind.get_field_index("bytes")) >= 0:
                kind = kind.field(field).type
            if kinds.is_binary(kind) or kinds.is_large_binary(kind):
                return name
    return None


def count_images(path: Path) -> int | None:
    """How many images a Parquet file holds, by its footer.

    Parameters
    ----------
    path : Path
        The file.

    Returns
    -------
    int or None
        None if it has no column of images.

    Raises
    ------
    DamagedArchive
        If there is no whole footer, or no column that names the images.
    """
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(path) as file:
            schema, rows = file.schema_arrow, file.metadata.num_rows
    except _DAMAGE as error:
        raise _damaged(error) from error
    column = image_column(schema)
    if column is not None:
        _id_column(schema, column)
    return None if column is None else rows


def _id_column(schema: pa.Schema, column: str) -> str | None:
    """The column that names the images; None where the struct's `path` does."""
    found = next((name for name in ID_COLUMNS if name in schema.names), None)
    kind = schema.field(column).type
    if found is None and not (kinds.is_struct(kind) and kind.get_field_index("path") >= 0):
        raise DamagedArchive(f"no column {', '.join(ID_COLUMNS)} names its images; add one of them")
    return found


def spool(path: Path, kind: Kind, to: Path, suffixes: tuple[str, ...]) -> None:
    """Turn a compressed tar, or a Parquet file of images, into a plain tar, whole or not at all.

    Parameters
    ----------
    path : Path
        The archive.
    kind : str
        As `kind_of` gives it.
    to : Path
        The tar to write.
    suffixes : tuple of str
        Of images; an id that has none of them gets the one that its bytes ask for.

    Raises
    ------
    DamagedArchive
        Where the archive is not whole.
    SurveyError
        Where `to` cannot be written; names the file and the remedy.
    """
    try:
        with replacing(to) as partial:
            if kind == "parquet":
                _pack(path, partial, suffixes)
            else:
                _decompress(path, partial)
            TarArchive(partial)
    except OSError as error:
        if error.errno is None:  # what decompressors and Arrow say of bad data
            raise _damaged(error) from error
        remedy = "make room, or give permission to write there"
        raise SurveyError(f"{path}: cannot be written to {to}: {error.strerror}; {remedy}") from error
    except (DamagedArchive, SurveyError):
        raise
    except _DAMAGE as error:
        raise _damaged(error) from error


def _check_room(path: Path, to: Path) -> None:
    if shutil.disk_usage(to.parent).free < _RESERVE:
        raise SurveyError(f"{path}: no room to decompress it in {to.parent}; make room, or deliver a plain tar")


def _decompress(path: Path, to: Path) -> None:
    start = _starts(path)
    opened = next(opener for magic, opener in _COMPRESSED.items() if start.startswith(magic))
    with opened(path, "rb") as packed, to.open("wb") as plain:
        while chunk := packed.read(_CHUNK):
            _check_room(path, to)
            plain.write(chunk)


def _pack(path: Path, to: Path, suffixes: tuple[str, ...]) -> None:
    import pyarrow.parquet as pq

    from galaxy_assets.deliveries.readers.tables import ids_of  # the readers import this module

    used: Counter[str] = Counter()
    # without a buffer Arrow reads all images of a row group at once
    with pq.ParquetFile(path, buffer_size=_CHUNK) as file, tarfile.open(to, "w", format=tarfile.PAX_FORMAT) as archive:
        column = image_column(file.schema_arrow) or ""
        id_column = _id_column(file.schema_arrow, column)
        row = 0
        for rows in file.iter_batches(_ROWS, columns=[column] + ([id_column] if id_column else [])):
            _check_room(path, to)
            images = rows[column].to_pylist()
            paths = [image["path"] if isinstance(image, dict) and "path" in image else None for image in images]
            names = ids_of(pa.chunked_array([rows[id_column]])) if id_column else paths
            for name, image in zip(names, images, strict=True):
                row += 1
                data = (image["bytes"] if isinstance(image, dict) else image) or b""
                member = _name(name or f"row_{row}", data, suffixes)
                used[member] += 1
                # rows of one name are images of their own, as files of one name in different folders are
                info = tarfile.TarInfo(member if used[member] == 1 else f"{used[member]}/{member}")
                info.size = len(data)
                archive.addfile(info, io.BytesIO(data))


def _name(name: str, data: bytes, suffixes: tuple[str, ...]) -> str:
    if name.lower().endswith(suffixes):
        return name
    known = next((suffix for magic, suffix in _MAGIC.items() if data.startswith(magic)), "")
    return name + (known if known in suffixes else suffixes[0])
