"""Which files a folder holds, those in archives and containers too, and which reader takes most of them.

Belongs here: names and counts, before a reader is opened. Does not belong here: the images themselves (`inspect`).
"""

import os
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from galaxy_assets.deliveries.arrays import planes_of_file, without_images
from galaxy_assets.deliveries.ids import image_name
from galaxy_assets.deliveries.image_arrays import MANY
from galaxy_assets.deliveries.opening import may_be_archive, notes_of, suffixes_inside
from galaxy_assets.deliveries.readers.fits_folder import FitsFolder
from galaxy_assets.deliveries.readers.image_folder import ImageFolder
from galaxy_assets.deliveries.suffixes import ALL
from galaxy_assets.settings.files import SurveyError
from galaxy_assets.settings.source import Source

READERS: dict[str, tuple[str, ...]] = {
    "image_folder": ImageFolder.suffixes,
    "fits_folder": FitsFolder.suffixes,
}


@dataclass(frozen=True)
class Holdings:
    """What lies in a folder.

    Attributes
    ----------
    source : Source
        Reader, absolute path and `images`, as a survey needs them to find every image; `bands`, which a look at the
        files may change, where `.npy` files of several planes are one image each.
    suffixes : Counter of str
        Files of each suffix, whatever they are; those in archives are not counted.
    elsewhere : list of str
        Archives that are no deliveries, since they lie deeper than the images.
    passed_over : list of str
        Links to folders, and folders that cannot be read, in words.
    twins : int
        Images that the reader does not take whose names images have that it takes.
    """

    source: Source
    suffixes: Counter[str]
    elsewhere: list[str]
    passed_over: list[str]
    twins: int


def holdings(folder: Path, table: Path | None = None) -> Holdings:
    """Look at the names in a folder, its sub-folders and its archives.

    Parameters
    ----------
    folder : Path
        Absolute.
    table : Path, optional
        A file that is no image, whatever it holds.

    Returns
    -------
    Holdings

    Raises
    ------
    SurveyError
        Where no reader takes any file; says what there is.
    """
    passed: list[str] = []
    files = [file for file in _files(folder, passed) if table is None or (folder / file).resolve() != table]
    planes = _planes(folder, files)
    bands = None if planes is None else (1,)
    archives = {
        file: suffixes_inside(folder / file)
        for file in files
        if may_be_archive(folder / file, ImageFolder.suffixes, bands) is not None
    }
    none = _without_images(folder, files, bands)
    loose = [file for file in files if file not in archives and file not in none]
    filled = [
        file for file, inside in archives.items() if inside is None or inside
    ]  # or damaged, which the reader says
    home = _home(loose, filled)
    near = [file for file in archives if _parent(file) == home]
    suffixes = Counter(map(_suffix, files))
    known = sum((archives[file] or Counter() for file in near), Counter(map(_suffix, loose)))
    counts = {reader: sum(n for suffix, n in known.items() if suffix in taken) for reader, taken in READERS.items()}
    reader = max(counts, key=lambda reader: counts[reader])
    if not counts[reader] and not near:
        passed_over = "".join(f"; {file}: {note}" for file in archives for note in notes_of(folder / file))
        passed_over += "".join(f"; {one}" for one in passed)
        raise SurveyError(
            f"{folder}: no image in it or its subfolders, nor an archive of images; it has "
            f"{', '.join(f'{n:,} {suffix}' for suffix, n in suffixes.most_common(6)) or 'no file'}. Images are "
            f"{', '.join(ALL)}: convert them to one of these{passed_over}"
        )
    source = Source(reader=reader, path=str(folder), images="." if home == "" else home)
    if reader == "image_folder" and bands is not None:
        source = source.model_copy(update={"bands": bands})
    return Holdings(source, suffixes, sorted(set(filled) - set(near)), passed, _twins(loose, READERS[reader]))


def _twins(loose: list[str], taken: tuple[str, ...]) -> int:
    """How many images of other formats have the name of one of the formats that are taken."""
    images = [file for file in loose if _suffix(file) in ALL]
    names = {image_name(file) for file in images if _suffix(file) in taken}
    return sum(_suffix(file) not in taken and image_name(file) in names for file in images)


def _planes(folder: Path, files: list[str]) -> int | None:
    """How many planes most images of a folder have if these are `.npy` files (B, H, W), one image each; else None."""
    images = [file for file in files if file.lower().endswith(ImageFolder.suffixes)]
    arrays = [folder / file for file in images if file.lower().endswith(".npy")]
    counts = Counter(n for path in arrays if (n := planes_of_file(path)) is not None)
    n, count = counts.most_common(1)[0] if counts else (None, 0)
    return n if count >= MANY and 2 * count > len(images) else None


def _without_images(folder: Path, files: list[str], bands: tuple[int, ...] | None) -> set[str]:
    """The `.npy` files that are no images."""
    by_folder: dict[Path, list[Path]] = {}
    for file in files:
        if file.lower().endswith(".npy"):
            by_folder.setdefault((folder / file).parent, []).append(folder / file)
    none = [path for paths in by_folder.values() for path in without_images(paths, bands)]
    return {path.relative_to(folder).as_posix() for path in none}


def _home(loose: list[str], archives: list[str]) -> str:
    """The folder of all deliveries, relative to the survey's; empty for that itself."""
    images = [file for file in loose if file.lower().endswith(ALL)]
    # the readers take a folder `images` for the place of all images where there is one
    if all(file.startswith("images/") for file in [*images, *archives]):
        return "images"
    places = Counter(map(_parent, archives))
    if images or "" in places or not places:
        return ""
    return max(places, key=lambda place: (places[place], place))


def _parent(file: str) -> str:
    parent = PurePosixPath(file).parent.as_posix()
    return "" if parent == "." else parent


def _files(folder: Path, passed_over: list[str]) -> Iterator[str]:
    """Every file that is not hidden, relative to `folder`; links to folders are not followed, nor do the readers.

    These, and folders that cannot be read, are appended to `passed_over`, in words.
    """
    links: list[Path] = []
    closed: list[OSError] = []
    for parent, folders, names in os.walk(folder, onerror=closed.append):
        folders[:] = [name for name in folders if not name.startswith(".") and name != "__MACOSX"]
        inner = Path(parent).relative_to(folder).as_posix()
        links += [path for name in folders if (path := Path(parent, name)).is_symlink()]
        yield from (name if inner == "." else f"{inner}/{name}" for name in names if not name.startswith("."))

    if links:
        passed_over.append(
            f"{len(links)} links to folders, such as {min(links).relative_to(folder)}, are not followed: put the "
            "folders themselves there, or name theirs with --images"
        )
    passed_over += [f"{one.filename}: cannot be read ({one.strerror}); allow it, or take it away" for one in closed]


def _suffix(file: str) -> str:
    name = file.rpartition("/")[2].lower()
    known = next((one for one in ALL if name.endswith(one)), None)
    return known or (f".{name.rpartition('.')[2]}" if "." in name else "no suffix")
