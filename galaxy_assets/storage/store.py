"""Where a data folder is kept: on a disk, or in a bucket of which this machine has copies.

Every room works on paths of files below the data folder. What becomes such a file, is read from it, moved or removed
goes through the store of its path, so that the rest of the platform knows nothing of buckets.

Belongs here: the seam, and the store of a plain folder. Does not belong here: buckets (`bucket`), what is written.
"""

import contextlib
import functools
import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from galaxy_assets.settings.printing import PrintableError
from galaxy_assets.settings.root import data_root, normal_address

if TYPE_CHECKING:
    import pyarrow as pa


class StoreError(PrintableError):
    """What keeps the files cannot do what was asked, which says nothing about a file."""


class Conflict(StoreError):
    """Another process replaced a file since this one last looked, so that this one's is not kept."""

    def __init__(self, name: str):
        super().__init__(
            f"{name} was written by another process since this one began; that one is kept and this one dropped: "
            "run the same again, it makes what is outdated now"
        )


class CutRows(NamedTuple):
    """Some rows of cutouts that are being filled.

    Attributes
    ----------
    pixels : bytes-like
        Of the rows.
    rows : bytes
        The Parquet file that says what they are.
    """

    pixels: Any
    rows: bytes


class Store(Protocol):
    """What keeps the files below a data folder."""

    def local(self, path: Path) -> Path:
        """Have the content of a file on this machine.

        Parameters
        ----------
        path : Path
            The file; it need not exist.

        Returns
        -------
        Path
            `path`. It can be opened where there is such a file.
        """
        ...

    def schema(self, path: Path) -> "pa.Schema | None":
        """The schema of a table with the metadata in its footer, where it is known without opening the file."""
        ...

    def commit(self, partial: Path, path: Path) -> None:
        """Make a whole file or folder the one at `path`, in place of what is there.

        Parameters
        ----------
        partial : Path
            What was written, on the same file system; it is not there any more when this returns.
        path : Path
            Where it is to be.

        Raises
        ------
        Conflict
            Where another process made it since this one looked (`refresh`, `begin`).
        """
        ...

    def remove(self, path: Path) -> None:
        """Remove a file, or a folder with all in it, if it is there."""
        ...

    def move(self, path: Path, to: Path) -> None:
        """Give a file or folder another path, whose folder is made; what is there is replaced."""
        ...

    def chunk(self, folder: Path, mark: str, row: int) -> CutRows | None:
        """Rows of cutouts that another machine made for a batch that is not filled yet.

        Parameters
        ----------
        folder : Path
            Of the batch, once it is filled.
        mark : str
            Fingerprint of all that decides the rows.
        row : int
            The first one.

        Returns
        -------
        CutRows or None
            None where there are none.
        """
        ...

    def keep_chunk(self, folder: Path, mark: str, row: int, chunk: CutRows) -> None:
        """Keep rows of cutouts so that another machine need not make them; arguments as in `chunk`."""
        ...

    def refresh(self, every: float = 0.0) -> None:
        """Look what other machines wrote, so that the paths below the data folder are those of now.

        Parameters
        ----------
        every : float
            Seconds for which the last look is good enough. With 0, what is written from now on replaces what this
            look finds.
        """
        ...

    def begin(self, step: str) -> None:
        """Look as `refresh`, once per step: what it writes replaces what was there when it began, or conflicts.

        Parameters
        ----------
        step : str
            Which step of which run.
        """
        ...

    def sweep(self) -> list[str]:
        """Remove what was written and never became a file, or is none any more, and is older than the longest run.

        Returns
        -------
        list of str
            What was removed.
        """
        ...


class Folder:
    """The store of a folder on a disk, of this machine or shared: what is there is all there is."""

    def local(self, path: Path) -> Path:
        """As it is."""
        return path

    def schema(self, path: Path) -> "pa.Schema | None":
        """Unknown: the file has it."""

    def commit(self, partial: Path, path: Path) -> None:
        """Rename it; of two writers the later one's file stays."""
        if partial.is_dir():
            _rename_over(partial, path)
        else:
            partial.replace(path)

    def remove(self, path: Path) -> None:
        """Remove it from the disk."""
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)

    def move(self, path: Path, to: Path) -> None:
        """Rename it."""
        to.parent.mkdir(parents=True, exist_ok=True)
        if to.is_dir():
            _rename_over(path, to)
        else:
            path.rename(to)

    def chunk(self, folder: Path, mark: str, row: int) -> CutRows | None:
        """None: what is filled is there."""

    def keep_chunk(self, folder: Path, mark: str, row: int, chunk: CutRows) -> None:
        """Nothing to do."""

    def refresh(self, every: float = 0.0) -> None:
        """Nothing to do."""

    def begin(self, step: str) -> None:
        """Nothing to do."""

    def sweep(self) -> list[str]:
        """Nothing: `upkeep` finds what killed processes left on a disk."""
        return []


def _rename_over(new: Path, path: Path) -> None:
    """Rename a file or folder to the path of a folder, which goes only then.

    On NFS a file that a process has mapped stays as `.nfsXXXX` in its folder, which cannot be removed meanwhile: it
    goes under a hidden name, and `upkeep` removes what is left of it.
    """
    from galaxy_assets.storage.files import partial_name

    old = path.with_name(partial_name(path.name))
    with contextlib.suppress(FileNotFoundError):
        path.rename(old)
    try:
        new.rename(path)
    except OSError:
        with contextlib.suppress(OSError):  # none was there, or another writer's is there by now
            old.rename(path)
        raise
    if old.is_dir() and not old.is_symlink():
        shutil.rmtree(old, ignore_errors=True)
    else:
        old.unlink(missing_ok=True)


FOLDER = Folder()
_GIVEN: dict[Path, str] = {}
"""Folder of copies -> address, of the buckets that this process was given in Python."""


def store_of(path: Path) -> Store:
    """The store that keeps a file.

    Parameters
    ----------
    path : Path
        Below the data folder, or anywhere else.

    Returns
    -------
    Store
        Of the bucket that $GALAXY_ASSETS_DATA or `data_folder` named, for what is below the folder of its copies; else
        of the disk.
    """
    found = _bucket_around(path)
    return FOLDER if found is None else _bucket(*found)


def address_of(path: Path) -> str | None:
    """The address of the bucket in which a file is kept.

    Parameters
    ----------
    path : Path
        As `store_of` takes it.

    Returns
    -------
    str or None
        As `normal_address` writes it; None where it is kept on a disk.
    """
    found = _bucket_around(path)
    return None if found is None else normal_address(found[0])


def _bucket_around(path: Path) -> tuple[str, Path] | None:
    """Address and folder of copies of the bucket of a path; one bucket may lie below another."""
    address = os.environ.get("GALAXY_ASSETS_DATA", "")
    named = {data_root(): address} if "://" in address else {}
    around = [(address, root) for root, address in (named | _GIVEN).items() if path.is_relative_to(root)]
    return max(around, key=lambda found: len(found[1].parts), default=None)


def data_folder(told: Path | str | None = None) -> Path:
    """A data folder; of a bucket, after a look at what is there.

    Parameters
    ----------
    told : Path or str, optional
        As `settings.root.data_root` takes it.

    Returns
    -------
    Path
        Absolute. `store_of` knows it from then on.
    """
    root = data_root(told)
    if told is not None and "://" in str(told):
        _GIVEN[root] = str(told)
    store_of(root).refresh(every=5.0)
    return root


@functools.lru_cache(maxsize=8)
def _bucket(address: str, root: Path) -> Store:
    from galaxy_assets.storage.bucket.bucket import Bucket

    return Bucket(address, root)
