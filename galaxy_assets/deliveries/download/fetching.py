"""Bringing official downloads to the data folder: one after the other, whole, checked and unpacked.

Belongs here: the order of the work, and one process at a time in a folder. Does not belong here: a single transfer
(`transfer`) and a single zip (`unpacking`).
"""

from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from galaxy_assets.deliveries.download.offers import Download, FetchError
from galaxy_assets.deliveries.download.pending import is_finished, space_needed
from galaxy_assets.deliveries.download.progress import Pace
from galaxy_assets.deliveries.download.records import Record, beside, read_note, write_note
from galaxy_assets.deliveries.download.space import check_space
from galaxy_assets.deliveries.download.transfer import download_file
from galaxy_assets.deliveries.download.unpacking import unpack
from galaxy_assets.settings.printing import logger
from galaxy_assets.storage.locks import held

log = logger(__name__)


def fetch(
    downloads: Iterable[Download], root: Path, *, delete_archives: bool = False, pace: Pace | None = None
) -> list[str]:
    """Bring files to the data folder, whole and checked, and unpack those that are to be unpacked.

    What is there already is not fetched again, and what was interrupted goes on. One file's failure does not stop the
    others.

    Parameters
    ----------
    downloads : iterable of Download
        What is fetched, one after the other.
    root : Path
        The data folder.
    delete_archives : bool
        Remove each zip once all of it is unpacked.
    pace : Pace, optional
        How patient it is and where it tells its progress.

    Returns
    -------
    list of str
        The messages of what failed.

    Raises
    ------
    FetchError
        Before anything is downloaded, if the disk is too small or another process fetches to the same folder.
    """
    pace, failures, pending = pace or Pace(), [], []
    downloads = list(downloads)
    with ExitStack() as locks:
        for folder in {(root / download.target).parent for download in downloads}:
            locks.enter_context(alone_in(folder))
        for download in downloads:
            with _noting(failures):
                if not is_finished(download, root, delete_archives):
                    pending.append(download)
        if pending:
            folder = (root / pending[0].target).parent
            check_space(folder, space_needed(pending, root, delete_archives=delete_archives, pace=pace))
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
def alone_in(folder: Path) -> Iterator[None]:
    """Hold a folder, so that no other process fetches to it inside the block.

    Two processes that append to one partial file would make a wrong one, and no checksum might reveal it.

    Parameters
    ----------
    folder : Path
        Is made.

    Raises
    ------
    FetchError
        Where another process holds it.
    """
    with ExitStack() as holds:
        try:
            holds.enter_context(held(folder / ".fetch.lock", wait=False))
        except BlockingIOError as error:
            raise FetchError(f"{folder}: another fetch is at work there; wait for it or stop it") from error
        yield


def _complete(download: Download, target: Path, delete_archives: bool, pace: Pace) -> None:
    if not target.is_file():
        download_file(download, target, pace)
    if download.unpack is None:
        return
    files = unpack(target, download.unpack, pace)
    if (record := read_note(beside(target, ".json"), Record)) is not None:
        write_note(beside(target, ".json"), record.model_copy(update={"unpacked": files}))
    log.info("%s: %d files unpacked to %s", target.name, files, target.with_suffix(""))
    if delete_archives:
        target.unlink()
