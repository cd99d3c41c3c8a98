"""Plain tars of what cannot be read by seeking: compressed tars, Parquet files, arrays that are packed as a whole.

    <survey>/.spool/<name>-<snapshot>.tar                    where the survey's folder may be written
    <data>/spool/<survey>-<its path>/<name>-<snapshot>.tar   where it may not
    .../<name>-<snapshot>.damaged                            or why there can be none

Belongs here: where such a tar lies, and writing it once. Does not belong here: reading it (`archives`), and what is in
the containers (`shards`, `arrays`).
"""

import io
import itertools
import json
import os
import re
import shutil
import tarfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from galaxy_assets.deliveries.archives import PROBLEM, SAID, TarArchive, damaged, damaged_otherwise
from galaxy_assets.deliveries.decoding.compressed import opener_of
from galaxy_assets.deliveries.delivery import Kind, batch_name, digest
from galaxy_assets.deliveries.images import UnreadableImage
from galaxy_assets.deliveries.members import DamagedArchive, Said, member_name
from galaxy_assets.settings.files import SurveyError
from galaxy_assets.settings.limits import MAXIMUM_SPOOL, RESERVED_DISK, SPOOL_PER_BYTE
from galaxy_assets.settings.printing import logger
from galaxy_assets.settings.regular import open_regular
from galaxy_assets.storage.files import replacing

log = logger(__name__)

ROWS = ("parquet", "npz", "hdf5")
"""Kinds of which a spool holds the rows, and what they say of the images."""

_CHUNK = 2**24  # bytes
_FIRST = 64  # files of a compressed tar that say which images it holds
_VERSION = {"parquet": "2", "npz": "2", "hdf5": "2"}  # of what a spool of rows holds; older ones are written anew


def is_compressed(path: Path) -> bool:
    """Whether a tar is compressed, by its content: servers and browsers decompress without renaming."""
    return opener_of(_starts(path)) is not None


def _starts(path: Path) -> bytes:
    try:
        with open_regular(path) as stream:
            return stream.read(6)
    except OSError as error:
        raise DamagedArchive(f"cannot be opened: {error.strerror}; correct its permissions") from error


def first_names(path: Path) -> list[str]:
    """Names of the first files in a compressed tar."""
    opened = opener_of(_starts(path))
    with damaged_otherwise(), opened(path, "rb") as packed, tarfile.open(fileobj=packed, mode="r|") as archive:
        names = []
        for info in itertools.islice(archive, _FIRST):
            if info.isreg():
                names.append(info.name)
            if info.offset_data + info.size > MAXIMUM_SPOOL:  # it would be unpacked to come to the next
                break
        return names


class Spools:
    """Where the plain tars of one survey lie.

    Parameters
    ----------
    folder : Path
        The survey's.
    data : Path, optional
        Folder for the spools of surveys whose own folder may not be written; without it there is none.
    """

    def __init__(self, folder: Path, data: Path | None = None):
        self.beside = folder / ".spool"
        writable = os.access(self.beside if self.beside.exists() else folder, os.W_OK | os.X_OK)
        name = f"{batch_name(folder.name)}-{digest([str(folder.resolve())])}"
        self.folder = self.beside if writable or data is None else data / name

    def place(self, stem: str, kind: Kind, state: str) -> Path:
        """Where the plain tar of an archive is, or would be.

        Parameters
        ----------
        stem : str
            The archive's name without suffix.
        kind : str
            Of archive.
        state : str
            Its `delivery.signature`.

        Returns
        -------
        Path
        """
        version = [_VERSION[kind]] if kind in _VERSION else []
        name = f"{batch_name(stem)}-{digest([state, *version])}.tar"
        beside = self.beside / name
        return beside if beside.exists() or note_of(beside).exists() else self.folder / name


def note_of(spooled: Path) -> Path:
    """The file that says why there can be no plain tar."""
    return spooled.with_suffix(".damaged")


def write(path: Path, stem: str, kind: Kind, to: Path, suffixes: tuple[str, ...]) -> None:
    """Write the plain tar of an archive, whole or not at all, and remove those of its earlier states.

    Parameters
    ----------
    path : Path
        The archive.
    stem : str
        Its name without suffix.
    kind : str
        Of archive.
    to : Path
        As `Spools.place` gives it.
    suffixes : tuple of str
        Of images; an id that has none of them gets the one that its bytes ask for.

    Raises
    ------
    DamagedArchive
        Where the archive is not whole. A note says so to the next who asks.
    SurveyError
        Where `to` cannot be written; names the file and the remedy.
    """
    log.info("%s: written as a plain tar to %s", path, to)
    try:
        to.parent.mkdir(parents=True, exist_ok=True)
        of_this = re.compile(re.escape(batch_name(stem)) + r"-[0-9a-f]{16}\.(tar|damaged)")
        for other in list(to.parent.iterdir()):
            if of_this.fullmatch(other.name) and other != to:  # another process may just have written it
                other.unlink(missing_ok=True)
        with replacing(to) as partial:
            if kind in ROWS:
                _pack(path, stem, kind, partial, suffixes)
            else:
                _decompress(path, partial)
            TarArchive(partial, path.stat().st_size, kind in ROWS)
    except DamagedArchive as error:
        _leave_note(to, error)
        raise
    except SurveyError:
        raise
    except OSError as error:
        if error.errno is None:  # what decompressors and Arrow say of bad data
            _leave_note(to, damaged(error))
            raise damaged(error) from error
        remedy = "make room, or give permission to write there"
        raise SurveyError(f"{path}: cannot be written to {to}: {error.strerror or error}; {remedy}") from error
    except Exception as error:
        _leave_note(to, damaged(error))
        raise damaged(error) from error


def _leave_note(spooled: Path, error: DamagedArchive) -> None:
    with replacing(note_of(spooled)) as partial:  # so that nobody tries again what cannot succeed
        partial.write_text(str(error), encoding="utf-8")


class _Written:
    """How much of a plain tar is written; refuses a full disk, and an archive that unpacks to far more than it is."""

    def __init__(self, path: Path, to: Path):
        self._path, self._to, self._packed = path, to, path.stat().st_size
        self._n = self._looked_at = 0

    def add(self, n: int) -> None:
        if self._n >= self._looked_at:
            self._looked_at = self._n + _CHUNK
            if shutil.disk_usage(self._to.parent).free < RESERVED_DISK:
                remedy = "make room, or deliver a plain tar"
                raise SurveyError(f"{self._path}: no room to decompress it in {self._to.parent}; {remedy}")
        self._n += n
        if self._n > max(MAXIMUM_SPOOL, SPOOL_PER_BYTE * self._packed):
            remedy = "deliver it without compression"
            raise DamagedArchive(f"its {self._packed} bytes unpack to more than {self._n}; {remedy}")


def _decompress(path: Path, to: Path) -> None:
    opened, written = opener_of(_starts(path)), _Written(path, to)
    with opened(path, "rb") as packed, to.open("wb") as plain:
        while chunk := packed.read(_CHUNK):
            written.add(len(chunk))
            plain.write(chunk)


def _pack(path: Path, stem: str, kind: Kind, to: Path, suffixes: tuple[str, ...]) -> None:
    if kind == "parquet":
        rows = _rows_of_parquet(path, stem, suffixes)
    else:
        from galaxy_assets.deliveries.opening import stacks_in  # it imports this module

        rows = stacks_in(path, stem, kind).all()
    said, written = {}, _Written(path, to)
    with tarfile.open(to, "w", format=tarfile.PAX_FORMAT) as archive:
        for name, data, one, problem in rows:
            written.add(len(data))
            info = tarfile.TarInfo(name)
            info.size = len(data)
            if problem is not None:
                info.pax_headers = {PROBLEM: f"{problem.problem}: {problem.reason}"}
            archive.addfile(info, io.BytesIO(data))
            archive.members = []  # it would keep them all
            if one != Said():
                said[name] = one
        kept = json.dumps(said).encode()
        info = tarfile.TarInfo(SAID)
        info.size = len(kept)
        archive.addfile(info, io.BytesIO(kept))


_Packed = tuple[str, bytes, Said, UnreadableImage | None]


def _rows_of_parquet(path: Path, stem: str, suffixes: tuple[str, ...]) -> Iterator[_Packed]:
    from galaxy_assets.deliveries.shards import rows_of

    used: Counter[str] = Counter()
    for i, row in enumerate(rows_of(path, stem)):
        name = member_name(row.name, row.data, suffixes) or member_name(f"{stem}_{i}", row.data, suffixes)
        used[name] += 1
        # rows of one name are images of their own, as files of one name in different folders are
        yield name if used[name] == 1 else f"{used[name]}/{name}", row.data, row.said, row.problem
