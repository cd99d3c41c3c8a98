"""Reader of MiraBest as downloaded: the archive `MiraBest_*_batches.tar.gz`, or the folder it extracts to.

Belongs here: the archive, its names and classes, and the only unpickler of the project. Does not belong here: which
classes are confident, FRI or FRII (the survey's YAML).

The batches are pickles, and a pickle is a program. `RestrictedUnpickler` runs what describes byte arrays and strings,
with stand-ins of its own: a crafted dtype or array state could make NumPy itself read memory it should not.
"""

import hashlib
import io
import pickle
import pickletools
import re
import tarfile
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import IO, Any, cast

import numpy as np
import pyarrow as pa

from galaxy_assets.deliveries.decoding.compressed import opener_of
from galaxy_assets.deliveries.delivery import Delivery, of_files
from galaxy_assets.deliveries.images import UnreadableImage, check_size, in_words
from galaxy_assets.deliveries.members import check_count
from galaxy_assets.deliveries.readers.catalogue import CATALOGUE_SCHEMA, distinct_ids
from galaxy_assets.settings.files import SurveyError
from galaxy_assets.settings.limits import MAXIMUM_BATCH, MAXIMUM_BATCHES
from galaxy_assets.settings.printing import logger
from galaxy_assets.settings.regular import open_regular, read_regular
from galaxy_assets.settings.source import Source

log = logger(__name__)

DELIVERY = "mirabest"
KNOWN_MD5 = {
    "7d4e3a623d29db7204bce81676ee8ce2": "MiraBest_F",
    "965b5daa83b9d8622bb407d718eecb51": "MiraBest_full",
    "198337a1eb655a1f8642c590979d0e71": "MiraBest_N",
}

_MEMBER = re.compile(r"data_batch_\d+|test_batch|batches\.meta")
_NAME = re.compile(r"\d{3}_(\d{1,3}\.\d+)([+-]\d{1,3}\.\d+)_.*")


class UnsafePickle(SurveyError):
    """A pickle that asks for anything but byte arrays and strings; the message names what it asked for."""


class _Dtype:
    code = order = ""

    def __init__(self, code: str, *_: object):
        self.code = code

    def __setstate__(self, state: tuple) -> None:
        self.order = state[1]


class _Array:
    pixels: np.ndarray

    def __setstate__(self, state: tuple) -> None:
        _, shape, dtype, column_major, raw = state
        if not isinstance(dtype, _Dtype) or dtype.code not in ("u1", "uint8") or column_major or len(shape) != 2:
            raise ValueError("an array that is not a row-major 8-bit image")
        self.pixels = np.frombuffer(raw, np.uint8).reshape(shape)


class RestrictedUnpickler(pickle.Unpickler):
    """Unpickler of MiraBest's batches: dicts, lists, numbers, strings, and `_Array` in the place of NumPy's arrays."""

    def find_class(self, module: str, name: str) -> Any:
        """The stand-in for a global that a batch names.

        Parameters
        ----------
        module, name : str
            As the pickle has them.

        Returns
        -------
        Any
            One of this module's own; nothing is imported.

        Raises
        ------
        UnsafePickle
            For every other global.
        """
        match module.replace("numpy._core", "numpy.core"), name:
            case "numpy", "ndarray":
                return _Array
            case "numpy", "dtype":
                return _Dtype
            case "numpy.core.multiarray", "_reconstruct":
                return self._array
            case "numpy.core.multiarray", "scalar":
                return self._string
        raise UnsafePickle(f"the pickle asks for {module}.{name}, which no MiraBest batch needs; do not use this file")

    def _array(self, subtype: type, shape: tuple, code: bytes) -> _Array:
        return _Array()

    def _string(self, dtype: _Dtype, raw: bytes) -> str:
        if not dtype.code.startswith("U"):
            raise ValueError(f"a scalar of type {dtype.code} where a string is expected")
        return raw.decode("utf-32-be" if dtype.order == ">" else "utf-32-le").rstrip("\0")


@dataclass(frozen=True)
class RadioSource:
    """One image of the archive.

    Attributes
    ----------
    file : str
        Its place, such as `data_batch_1#17`.
    name : str
        As the archive has it.
    label : str
        Code of its class.
    pixels : numpy.ndarray of shape (150, 150), uint8
    """

    file: str
    name: str
    label: str
    pixels: np.ndarray


class MiraBest:
    """Reader of `mirabest`; see the module and `plugins.protocols.Reader`. The archive, 28 MB, is held in memory."""

    def __init__(self, source: Source, path: Path):
        metas = sorted(path.rglob("batches.meta")) if path.is_dir() else []
        archives = sorted(path.glob("*batches.tar.gz")) if path.is_dir() else [path]
        if metas:
            self.path = metas[0].parent
        elif archives and archives[0].is_file():
            self.path = archives[0]
        else:
            raise SurveyError(
                f"{path}: no MiraBest here; expected MiraBest_F_batches.tar.gz or the folder with batches.meta that it "
                "extracts to. Put it there, or correct `source.path`"
            )

    def deliveries(self, quiet: float = 0) -> list[Delivery]:
        """The one delivery there is, whole or not."""
        kind, files = "tar" if self.path.is_file() else "folder", [*self.files(DELIVERY).values()]
        return [of_files(DELIVERY, kind, files, quiet, lambda: len(self._sources))]

    def files(self, delivery: str) -> dict[str, Path]:
        """The archive, or the batches that were extracted from it, by name."""
        found = [self.path] if self.path.is_file() else [p for p in self.path.iterdir() if _MEMBER.fullmatch(p.name)]
        return {path.name: path for path in found}

    def batches(self) -> list[str]:
        """The name of the one delivery."""
        return [DELIVERY]

    def labelled(self) -> None:
        """None: the classes are in the catalogue."""
        return None

    def catalogue(self, batch: str, taken: Collection[str] = ()) -> pa.Table:
        """One row per source, sorted by galaxy_id; SurveyError for any other delivery."""
        if batch != DELIVERY:
            raise SurveyError(f"{self.path}: no delivery {batch!r}; there is {DELIVERY}")
        sources = sorted(self._sources.values(), key=lambda source: (source.name, source.file))
        rows = []
        for galaxy_id, source in zip(distinct_ids([s.name for s in sources], taken), sources, strict=True):
            problem = reason = ra = dec = None
            if galaxy_id != source.name:
                problem, reason = "duplicate_id", f"another image is already called {source.name}"
            else:
                try:
                    check_size(*source.pixels.shape[::-1])
                except UnreadableImage as error:
                    problem, reason = error.problem, error.reason
            if match := _NAME.fullmatch(source.name):
                ra, dec = map(float, match.groups())
            digest = hashlib.sha256(source.pixels.tobytes()).hexdigest()
            height, width = source.pixels.shape
            row = (galaxy_id, batch, source.file, digest, width, height, ra, dec, source.label, problem, reason)
            rows.append(dict(zip(CATALOGUE_SCHEMA.names, row, strict=True)))
        return pa.Table.from_pylist(sorted(rows, key=lambda row: row["galaxy_id"]), schema=CATALOGUE_SCHEMA)

    def image(self, file: str) -> np.ndarray:
        """Pixels of a source, (150, 150) uint8, by the catalogue's `file`."""
        if file not in self._sources:
            raise UnreadableImage(f"{self.path} has no image {file}")
        pixels = self._sources[file].pixels
        check_size(*pixels.shape[::-1])
        return pixels.copy()

    def tables(self) -> list[Path]:
        """Empty: the archive holds the classes itself."""
        return []

    def votes(self) -> None:
        """None: nobody voted."""
        return None

    @cached_property
    def _sources(self) -> dict[str, RadioSource]:
        members = _archive_members(self.path) if self.path.is_file() else _folder_members(self.path)
        meta = self._unpickle("batches.meta", members.pop("batches.meta"))
        sources = {}
        for member in sorted(members):
            batch = self._unpickle(member, members[member])
            try:
                labels = batch["labels"] if "labels" in batch else batch["fine_labels"]
                columns = zip(batch["filenames"], labels, batch["data"], strict=True)
                for i, (path, label, array) in enumerate(columns):
                    name = PurePosixPath(path).name.removesuffix(".png")
                    code = _text(meta["label_names"][label])
                    check_count(len(sources))
                    sources[f"{member}#{i}"] = RadioSource(f"{member}#{i}", name, code, array.pixels)
            except Exception as error:
                why = f"{type(error).__name__}: {in_words(error)}"
                raise SurveyError(f"{self.path}: {member} is no MiraBest batch: {why}; download again") from error
        if not sources:
            raise SurveyError(f"{self.path}: batches.meta, but no batch beside it; download again")
        return sources

    def _unpickle(self, member: str, data: bytes) -> dict:
        try:
            _check_pickle(data)
            content = RestrictedUnpickler(io.BytesIO(data)).load()
        except UnsafePickle as error:
            raise UnsafePickle(f"{self.path}: {member}: {error}") from error
        except Exception as error:
            why = f"{type(error).__name__}: {in_words(error)}"
            raise SurveyError(f"{self.path}: {member} is damaged: {why}; download again") from error
        if not isinstance(content, dict):
            raise SurveyError(f"{self.path}: {member} holds no dictionary; download again")
        return content


def _text(name: Any) -> str:
    if not isinstance(name, str):  # a list that holds itself twice, again and again, is no end of text
        raise TypeError(f"a class that is a {type(name).__name__} and no text")
    return name


def _check_pickle(data: bytes) -> None:
    """Raise ValueError for a pickle that asks for more room than it has bytes, which the unpickler would give it."""
    for code, argument, _ in pickletools.genops(data):  # raises for texts and bytes that are longer than the pickle
        if "PUT" in code.name and isinstance(argument, int) and not 0 <= argument <= len(data):
            raise ValueError(f"place {argument} in a memo, in a pickle of {len(data)} bytes")


def _folder_members(folder: Path) -> dict[str, bytes]:
    members = {}
    for path in sorted(folder.iterdir()):
        if _MEMBER.fullmatch(path.name):
            try:
                members[path.name] = read_regular(path, MAXIMUM_BATCH)
            except OSError as error:
                raise SurveyError(f"{path}: cannot be read: {error.strerror}; download again") from error
            _check_all(path, members)
    return members


def _check_all(path: Path, members: Mapping[Any, bytes]) -> None:
    if sum(map(len, members.values())) > MAXIMUM_BATCHES:
        raise SurveyError(f"{path}: all batches have more than {MAXIMUM_BATCHES} bytes; download again")


class _Unpacked:
    """A compressed stream that ends in an error where it holds more than MiraBest does."""

    def __init__(self, stream: IO[bytes]):
        self._stream, self._left = stream, MAXIMUM_BATCHES

    def read(self, size: int = -1) -> bytes:
        data = self._stream.read(size if 0 <= size <= self._left else self._left + 1)
        if (left := self._left - len(data)) < 0:
            raise tarfile.ReadError(f"it unpacks to more than {MAXIMUM_BATCHES} bytes")
        self._left = left
        return data


def _archive_members(path: Path) -> dict[str, bytes]:
    """Contents of the batches by name, read in memory: extracting would write wherever the archive's names say."""
    with open_regular(path) as stream:
        md5 = hashlib.file_digest(stream, "md5").hexdigest()
    if md5 not in KNOWN_MD5:
        log.warning("%s: md5 %s is none of the published archives (%s)", path, md5, ", ".join(KNOWN_MD5.values()))
    members: dict[PurePosixPath, bytes] = {}
    try:
        opener = opener_of(open_regular(path).read(6)) or open
        with (
            opener(path, "rb") as packed,
            tarfile.open(fileobj=cast(IO[bytes], _Unpacked(packed)), mode="r|") as archive,
        ):
            for member in archive:
                name = PurePosixPath(member.name)
                if not member.isfile() or not _MEMBER.fullmatch(name.name):
                    continue
                if member.size > MAXIMUM_BATCH:
                    raise SurveyError(f"{path}: {name} has {member.size} bytes, far more than a batch; download again")
                content = archive.extractfile(member)
                members[name] = content.read() if content else b""
    except SurveyError:
        raise
    except Exception as error:
        raise SurveyError(f"{path}: damaged or truncated archive: {in_words(error)}; download again") from error
    home = next((name.parent for name in members if name.name == "batches.meta"), None)
    if home is None:
        raise SurveyError(f"{path}: no batches.meta in this archive; is it MiraBest?")
    return {name.name: content for name, content in members.items() if name.parent == home}
