"""The archives and containers of one survey's folder: which kinds there are, and each opened once.

    .zip, .tar                                  files, read where they lie
    .tar.gz, .tgz, .tar.bz2, .tar.xz            files, spooled
    .parquet                                    rows, spooled
    .npy, .npz, .h5, .hdf5                      arrays, read where they lie; spooled if rows are compressed together

Belongs here: from a file to what can be asked for its images. Does not belong here: the inside of each kind
(`archives`, `shards`, `arrays`, `hdf5`), and which of them are deliveries (`drop`).
"""

import threading
from collections import Counter, OrderedDict
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

from galaxy_assets.deliveries import manifests, spools
from galaxy_assets.deliveries.archives import Archive, TarArchive, ZipArchive
from galaxy_assets.deliveries.arrays import NumpyArrays, arrays_beside, is_stack_file
from galaxy_assets.deliveries.beside import files_beside, notes_beside
from galaxy_assets.deliveries.delivery import Kind, signature
from galaxy_assets.deliveries.hdf5 import Hdf5Arrays
from galaxy_assets.deliveries.image_arrays import EXPECTED
from galaxy_assets.deliveries.images import UnreadableImage
from galaxy_assets.deliveries.listing import is_image
from galaxy_assets.deliveries.members import DamagedArchive
from galaxy_assets.deliveries.stacks import StackArchive
from galaxy_assets.deliveries.suffixes import ALL, ARCHIVES, TABLES
from galaxy_assets.settings.files import SurveyError

ARRAYS = ("npy", "npz", "hdf5")
"""Kinds whose images are called `<array>/<row>.npy`, so that only a reader of .npy files takes them."""
_KEPT_OPEN = 32  # archives of a survey that hold a file open


def kind_of(name: str) -> tuple[str, Kind] | None:
    """A file's name without the archive's suffix, and the kind of archive; None for any other file."""
    suffix = max((suffix for suffix in ARCHIVES if name.lower().endswith(suffix)), key=len, default=None)
    return (name[: -len(suffix)], ARCHIVES[suffix]) if suffix else None


def may_be_archive(
    path: Path, suffixes: tuple[str, ...], bands: Sequence[str | int] | None = None
) -> tuple[str, Kind] | None:
    """As `kind_of`, but None for an image and for arrays where images are none of them.

    Parameters
    ----------
    path : Path
        A file.
    suffixes : tuple of str
        Of images.
    bands : sequence of str or int, optional
        The survey's `source.bands`, see `image_arrays.is_stack`.

    Returns
    -------
    (str, str) or None
    """
    found = kind_of(path.name)
    if found is None or (found[1] in ARRAYS and ".npy" not in suffixes):
        return None
    return None if found[1] == "npy" and not is_stack_file(path, bands) else found


def parts_of(path: Path) -> list[Path]:
    """An archive, and the files beside it that say something of its images.

    Parameters
    ----------
    path : Path
        The archive.

    Returns
    -------
    list of Path
    """
    return [path, *(arrays_beside(path).values() if path.name.lower().endswith(".npy") else ())]


class Archives:
    """The archives of a survey. Safe to use from several threads.

    Parameters
    ----------
    folder : Path
        The survey's.
    suffixes : tuple of str
        Of images.
    """

    def __init__(self, folder: Path, suffixes: tuple[str, ...]):
        self._folder, self._suffixes = folder, suffixes
        self._spools = spools.Spools(folder)
        self._open: OrderedDict[Path, tuple[str, Archive]] = OrderedDict()
        self._opening = threading.Lock()

    def spool_in(self, data: Path) -> None:
        """Where to write plain tars if the survey's folder may not be written."""
        self._spools = spools.Spools(self._folder, data)

    def spooled(self, path: Path) -> Path | None:
        """Where the plain tar of an archive is, or would be; None for one that is read as it is.

        Raises DamagedArchive if it cannot be opened.
        """
        stem, kind = kind_of(path.name) or (path.name, "tar")
        state = signature(path)
        return self._spools.place(stem, kind, state) if _cannot_be_sought(path, kind, state) else None

    def open(self, path: Path) -> Archive:
        """An archive, kept open until it changes or others were asked for; what cannot be sought is made a plain tar.

        Raises SurveyError where it is damaged or cannot be read.
        """
        with self._opening:
            try:
                state = "\0".join(map(signature, parts_of(path)))
                if path not in self._open or self._open[path][0] != state:
                    stem, kind = kind_of(path.name) or (path.name, "tar")
                    spooled = self.spooled(path)
                    if spooled is not None and not spooled.exists():
                        spools.write(path, stem, kind, spooled, self._suffixes)
                    self._open[path] = state, opened(path, stem, kind, spooled)
                    self._open.move_to_end(path)
                    self._close_others()
                self._open.move_to_end(path)
                return self._open[path][1]
            except DamagedArchive as error:
                raise SurveyError(f"{path}: {error}") from error
            except OSError as error:
                remedy = "correct the permissions" if isinstance(error, PermissionError) else "try again"
                raise SurveyError(f"{path}: cannot be read or spooled: {error.strerror}; {remedy}") from error

    def _close_others(self) -> None:
        """Let go of those that were asked for the longest ago; each is closed when the last thread that reads it does.

        Tars and `.npy` files are opened for every image, and only what is in them is kept.
        """
        holding = [
            path
            for path, (_, archive) in self._open.items()
            if not isinstance(archive, TarArchive) and not path.name.lower().endswith(".npy")
        ]
        for path in holding[:-_KEPT_OPEN]:
            del self._open[path]


@lru_cache(maxsize=65536)  # the state makes it look again at what has changed
def _cannot_be_sought(path: Path, kind: Kind, state: str) -> bool:
    if kind in ("npz", "hdf5"):
        return (NumpyArrays if kind == "npz" else Hdf5Arrays)(path).packed
    return kind == "parquet" or (kind == "tar" and spools.is_compressed(path))


def opened(path: Path, stem: str, kind: Kind, spooled: Path | None) -> Archive:
    """Open an archive, or its plain tar.

    Parameters
    ----------
    path : Path
        The archive.
    stem : str
        Its name without suffix.
    kind : str
        Of archive.
    spooled : Path or None
        Its plain tar.

    Returns
    -------
    Archive

    Raises
    ------
    DamagedArchive
        Where it is not whole.
    """
    if spooled is not None:
        return TarArchive(spooled, path.stat().st_size, kind in spools.ROWS)
    if kind in ARRAYS:
        return stacks_in(path, stem, kind)
    return ZipArchive(path) if kind == "zip" else TarArchive(path)


def count_unspooled(path: Path, stem: str, kind: Kind) -> int | None:
    """How many images an archive holds that has no plain tar yet; None if it does not say.

    Raises DamagedArchive where it is not whole.
    """
    if kind == "parquet":
        from galaxy_assets.deliveries.shards import columns_of

        found = columns_of(path)
        return None if found is None else found[1]
    return (len(stacks_in(path, stem, kind).sizes) or None) if kind in ARRAYS else None


def may_hold_images(path: Path, stem: str, kind: Kind) -> bool:
    """Whether an archive that has no plain tar yet is one of images, and no table or array of something else.

    Raises DamagedArchive where it is not whole.
    """
    return kind == "tar" or count_unspooled(path, stem, kind) is not None


def suffixes_inside(path: Path) -> Counter[str] | None:
    """How many files of each suffix of an image an archive holds, without decompressing it.

    Parameters
    ----------
    path : Path
        The archive.

    Returns
    -------
    Counter of str, or None
        Of a compressed tar by its first files; None where it is damaged.
    """
    stem, kind = kind_of(path.name) or (path.name, "tar")
    try:
        if kind == "parquet":
            from galaxy_assets.deliveries.shards import columns_of, format_in

            found = columns_of(path)
            return Counter({format_in(path, found[0]) or ".png": found[1]} if found is not None else {})
        if kind in ARRAYS:
            return Counter({".npy": len(stacks_in(path, stem, kind).sizes)})
        compressed = kind == "tar" and spools.is_compressed(path)
        names = spools.first_names(path) if compressed else list(opened(path, stem, kind, None).sizes)
    except DamagedArchive:
        return None
    suffixes = (next((suffix for suffix in ALL if name.lower().endswith(suffix)), "") for name in names)
    return Counter(suffix for suffix in suffixes if suffix)


def stacks_in(path: Path, stem: str, kind: Kind) -> StackArchive:
    """The images in a file of arrays, whether its rows can be read one by one or not; raises DamagedArchive."""
    if kind == "hdf5":
        return StackArchive(Hdf5Arrays(path), stem)
    return StackArchive(NumpyArrays(path, arrays_beside(path) if kind == "npy" else {}), stem)


def _without_class(archive: StackArchive) -> list[str]:
    try:
        return archive.without_class()
    except UnreadableImage as error:
        return [f"its classes cannot be read: {error.reason}"]


def notes_of(path: Path) -> list[str]:
    """What a person should know of what is taken from an archive, without decompressing it."""
    stem, kind = kind_of(path.name) or (path.name, "tar")
    try:
        if kind == "parquet":
            from galaxy_assets.deliveries.shards import notes

            return notes(path, stem)
        if kind in ARRAYS:
            archive = stacks_in(path, stem, kind)
            there = ", ".join(f"{path} {one.shape}" for path, one in list(archive.arrays.kept.items())[:20])
            nothing = (
                [] if archive.stacks else [f"no array holds images; it has {there or 'none'}. Expected {EXPECTED}"]
            )
            return [*archive.notes, *_without_class(archive), *nothing]
        if not (kind == "tar" and spools.is_compressed(path)):
            names = list(opened(path, stem, kind, None).sizes)
            given = path.with_name(f"{path.name}.{manifests.NAME}").exists()
            if given or any(name.rpartition("/")[2] == manifests.NAME for name in names):
                notes = []  # a manifest says which files are taken
            else:
                notes = notes_beside(files_beside(name for name in names if is_image(name, ALL)))
            if tables := [name for name in names if name.lower().endswith(TABLES)]:
                said = f"{len(tables)} tables in it are not read, such as {tables[0]}"
                notes.append(f"{said}: unpack the one that has classes")
            return notes
    except DamagedArchive as error:
        return [str(error)]
    return []
