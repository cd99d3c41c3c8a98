"""What a container says of the images in it: their names, classes and positions, and by which words.

Belongs here: the names of columns and datasets that are known, and the limits that all containers share. Does not
belong here: opening a container (`archives`, `shards`, `stacks`, `hdf5`).
"""

import re
from collections.abc import Iterable
from typing import Any, NamedTuple

import numpy as np

from galaxy_assets.deliveries.images import UnreadableImage
from galaxy_assets.deliveries.suffixes import without_suffix
from galaxy_assets.settings.limits import ARRAY_PER_BYTE, MAXIMUM_ARRAY, MAXIMUM_MEMBERS
from galaxy_assets.settings.printing import PrintableError, printable

IDS = (
    "galaxy_id",
    "id",
    "name",
    "file",
    "id_str",
    "iauname",
    "objid",
    "object_id",
    "dr7objid",
    "specobjid",
    "source_id",
    "image_id",
    "targetid",
    "filename",
    "file_name",
    "file_loc",
    "path",
    "__key__",
    "key",
)
"""Columns and datasets that name images, in any case; the first of them that there is."""
LABELS = ("label", "labels", "class", "class_name", "cls", "category", "ans", "y", "target", "summary")
"""Those that hold a class per image."""

# how programs and people write that there is none; `none` is a class of some surveys, None is Python's word. NaT of
# pandas is none of them: it is for dates, and NAT are radio galaxies of a narrow angle
_NOTHING = frozenset(["", "nan", "null", "na", "n/a", "n.a.", "#n/a", "<na>", "<null>", "\\n", "-", "--"])
_UNLABELLED = re.compile(r"(un ?|not )labell?ed|(no|without( a)?) ?label", re.IGNORECASE)

# folders that say how images were delivered, not what they show
_SPLIT = re.compile(r"train(ing)?|test(ing)?|val(id(ation)?)?", re.IGNORECASE)
_STORE = re.compile(r"images?|imgs?|data|png|jpe?g|fits|all|raw", re.IGNORECASE)

_LIKE_CLASS = ("class", "label", "target", "morph", "type", "category")

_FORMATS = {
    b"\x89PNG\r\n\x1a\n": ".png",
    b"\xff\xd8\xff": ".jpg",
    b"SIMPLE  =": ".fits",
    b"\x1f\x8b": ".fits.gz",
    b"BZh": ".fits.bz2",
    b"II*\0": ".tif",
    b"MM\0*": ".tif",
    b"\x93NUMPY": ".npy",
}


class DamagedArchive(PrintableError):
    """An archive that cannot be used; the message says what is wrong and what to do, but not which it is."""


class Said(NamedTuple):
    """What a container says of one of its images.

    Attributes
    ----------
    name : str or None
        Its id; None where the member's name is its name.
    label : str or None
        Its class.
    ra, dec : float or None
        Right ascension and declination in degrees.
    """

    name: str | None = None
    label: str | None = None
    ra: float | None = None
    dec: float | None = None


def known(names: Iterable[str], words: Iterable[str]) -> str | None:
    """The name that is the first of some words, in any case.

    Parameters
    ----------
    names : iterable of str
        That there are.
    words : iterable of str
        In lower case.

    Returns
    -------
    str or None

    Examples
    --------
    >>> from galaxy_assets.deliveries.members import IDS, known
    >>> known(["image", "objID"], IDS)
    'objID'
    """
    there = {name.lower(): name for name in reversed(list(names))}
    return next((there[word] for word in words if word in there), None)


def like_class(names: Iterable[str]) -> str | None:
    """The only name with a word for a class in it.

    Parameters
    ----------
    names : iterable of str
        That there are, none of them known.

    Returns
    -------
    str or None

    Examples
    --------
    >>> from galaxy_assets.deliveries.members import like_class
    >>> like_class(["mag", "morph_class"]), like_class(["class_a", "class_b"])
    ('morph_class', None)
    """
    found = [name for name in names if any(word in name.lower() for word in _LIKE_CLASS)]
    return found[0] if len(found) == 1 else None


def format_of(data: bytes) -> str | None:
    """The suffix of the image that some bytes are, by how they begin; None if they are none that is known."""
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return ".webp"
    if data[4:12] in (b"ftypavif", b"ftypavis"):
        return ".avif"
    return next((suffix for magic, suffix in _FORMATS.items() if data.startswith(magic)), None)


def member_name(text: str, data: bytes, suffixes: tuple[str, ...]) -> str:
    """What an image is called in a plain tar: its id, or its path without what leads out of a folder.

    Parameters
    ----------
    text : str
        As a column has it; folders and a suffix may be part of it.
    data : bytes
        The image, for the suffix where its name has none of `suffixes`.
    suffixes : tuple of str
        Of images.

    Returns
    -------
    str
        Empty where nothing is left of the name.
    """
    parts = [part for part in text.replace("\\", "/").split("/") if part not in ("", ".", "..")]
    name = "/".join(f"_{part}" if part.startswith(".") else part for part in parts)
    if not name or name.lower().endswith(suffixes):
        return name
    suffix = format_of(data)
    return without_suffix(name) + (suffix if suffix in suffixes else suffixes[0])


def is_no_class(text: str) -> bool:
    """Whether a text says that there is no class: by a program's word for nothing, or `unlabelled`.

    Parameters
    ----------
    text : str
        As a table, a container or the name of a folder has it.

    Returns
    -------
    bool

    Examples
    --------
    >>> from galaxy_assets.deliveries.members import is_no_class
    >>> [is_no_class(text) for text in ("NA", "None", "no_label", "none", "spiral")]
    [True, True, True, False, False]
    """
    plain = text.strip()
    return plain.lower() in _NOTHING or plain == "None" or bool(_UNLABELLED.fullmatch(re.sub(r"[\s_-]+", " ", plain)))


def is_split(folder: str) -> bool:
    """Whether a folder is called as a part of a sample that is split for learning: `train`, `test`, `valid`."""
    return _SPLIT.fullmatch(folder) is not None


def is_no_class_folder(folder: str) -> bool:
    """Whether the name of a folder is no class: it says so (`is_no_class`), or how images were delivered.

    Parameters
    ----------
    folder : str

    Returns
    -------
    bool

    Examples
    --------
    >>> from galaxy_assets.deliveries.members import is_no_class_folder
    >>> [is_no_class_folder(folder) for folder in ("unlabelled", "test", "images", "NAT")]
    [True, True, True, False]
    """
    return is_no_class(folder) or is_split(folder) or _STORE.fullmatch(folder) is not None


def class_of(value: Any) -> str | None:
    """A value as a class: as `text_of`; None also for what says that there is none."""
    text = text_of(value)
    return None if text is None or is_no_class(text) else text


def says_nothing(value: Any) -> bool:
    """Whether a value gives no class because it says that there is none, and not because it is no class."""
    if isinstance(value, list) and len(value) < 2:
        value = value[0] if value else None
    if value is None or isinstance(value, bytes | str):
        return class_of(value) is None
    return np.ndim(value) == 0 and class_of(value) is None and is_no_class(str(value))


def text_of(value: Any) -> str | None:
    """Text, or a whole number as text, alone in a list or not; None for anything else."""
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, bytes):
        value = value.decode("utf-8", "replace")
    if isinstance(value, list) and len(value) == 1:
        value = value[0]
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return printable(str(value).strip("\0").strip()) or None if isinstance(value, str | int) else None


def position_of(ra: Any, dec: Any) -> tuple[float | None, float | None]:
    """A position in degrees; (None, None) unless both are numbers on the sphere."""
    if not all(isinstance(value, int | float | np.number) for value in (ra, dec)):
        return None, None
    ra, dec = float(ra), float(dec)
    return (ra % 360, dec) if -180 <= ra <= 360 and -90 <= dec <= 90 else (None, None)


def check_count(n: int) -> None:
    """Raise DamagedArchive for more files or rows than an archive may have."""
    if n > MAXIMUM_MEMBERS:
        raise DamagedArchive(f"holds more than {MAXIMUM_MEMBERS:,} files or images; deliver it in parts")


def check_growth(size: int, packed: int) -> None:
    """Refuse an image that is far larger than what it is packed in.

    Parameters
    ----------
    size, packed : int
        Bytes of the image, and of what it is decompressed from.

    Raises
    ------
    UnreadableImage
        With problem `too_large`.
    """
    if size > max(MAXIMUM_ARRAY, ARRAY_PER_BYTE * packed):
        raise UnreadableImage(f"{size} bytes that are packed in {packed}; pack it as it is", "too_large")
