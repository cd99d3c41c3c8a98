"""Zips that were fetched, unpacked to where the readers expect the files.

Belongs here: which members are unpacked, whether they are safe, and going on after an interruption. Does not belong
here: reading what was unpacked (`readers`).
"""

import shutil
import stat
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath

from galaxy_assets.deliveries.download.offers import FetchError
from galaxy_assets.deliveries.download.progress import Meter, Pace
from galaxy_assets.deliveries.download.records import beside
from galaxy_assets.deliveries.download.space import bytes_on_disk, check_space
from galaxy_assets.storage.files import replacing

_CHUNK = 2**20  # bytes


def unpack(archive: Path, pattern: str, pace: Pace | None = None) -> int:
    """Unpack the members of a zip whose last components match a pattern, below a folder with the zip's name.

    Components before those are left out, so that `J???/*.png` gives <zip's name>/J074/<image>.png whether or not the
    zip has a folder of its own around them. Members that are there with their size are kept; the folder is hidden until
    all are.

    Parameters
    ----------
    archive : Path
        The zip.
    pattern : str
        Such as `J???/*.png`.
    pace : Pace, optional
        Where and how often it tells its progress.

    Returns
    -------
    int
        Files unpacked.

    Raises
    ------
    FetchError
        For a damaged zip; for an unsafe one or a disk too small, before anything is written.
    """
    work = workplace(archive)
    with opened_zip(archive) as opened:
        members = members_of(opened, pattern)
        missing = missing_members(members, work)
        check_space(archive.parent, bytes_on_disk(missing.values()))
        for interrupted in work.rglob(".*.partial"):
            interrupted.unlink()
        meter = Meter(f"unpacking {archive.name}", sum(member.file_size for member in missing.values()), 0, pace)
        for path, member in missing.items():
            with replacing(work / path) as partial, opened.open(member) as packed, partial.open("wb") as unpacked:
                shutil.copyfileobj(packed, unpacked, _CHUNK)
            meter.add(member.file_size)
    work.replace(archive.with_suffix(""))
    return len(members)


def workplace(archive: Path) -> Path:
    """The folder with the zip's name where it exists, else the hidden one that is renamed to it once it is whole.

    Parameters
    ----------
    archive : Path
        The zip.

    Returns
    -------
    Path
    """
    folder = archive.with_suffix("")
    return folder if folder.is_dir() else beside(folder, ".partial")


@contextmanager
def opened_zip(archive: Path) -> Iterator[zipfile.ZipFile]:
    """A zip, open for reading.

    Parameters
    ----------
    archive : Path
        The zip.

    Yields
    ------
    zipfile.ZipFile

    Raises
    ------
    FetchError
        Where it is damaged.
    """
    try:
        with zipfile.ZipFile(archive) as opened:
            yield opened
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError) as error:
        raise FetchError(f"{archive}: damaged zip: {error}; delete it and fetch again") from error


def members_of(opened: zipfile.ZipFile, pattern: str) -> dict[PurePosixPath, zipfile.ZipInfo]:
    """Members of a zip by their place below the folder.

    Parameters
    ----------
    opened : zipfile.ZipFile
        The zip.
    pattern : str
        Of their last components.

    Returns
    -------
    dict of PurePosixPath to zipfile.ZipInfo

    Raises
    ------
    FetchError
        If there is none, or the name or the kind of one is unsafe.
    """
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
            raise FetchError(
                f"{opened.filename}: two of its members are {place}; nothing of it was unpacked. Do not use this file"
            )
        members[place] = member
    if not members:
        raise FetchError(f"{opened.filename}: none of its members is {pattern}; delete it and fetch again")
    return members


def missing_members(
    members: dict[PurePosixPath, zipfile.ZipInfo], folder: Path
) -> dict[PurePosixPath, zipfile.ZipInfo]:
    """Those members that are not in the folder with their whole size.

    Parameters
    ----------
    members : dict of PurePosixPath to zipfile.ZipInfo
        As `members_of` gives them.
    folder : Path
        Where they go.

    Returns
    -------
    dict of PurePosixPath to zipfile.ZipInfo
    """

    def is_whole(path: Path, size: int) -> bool:
        return path.is_file() and path.stat().st_size == size

    return {path: member for path, member in members.items() if not is_whole(folder / path, member.file_size)}
