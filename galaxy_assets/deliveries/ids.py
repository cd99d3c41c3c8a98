"""What an image is called, and which image a row of a table is about: one rule for catalogues, labels and votes.

An image is called as its file without the folder and without one suffix of an image, with what cannot be printed
escaped. Where several files of a delivery are called so, the folder belongs to the name: `train/spirals/1`. A table may
name an image by that id, by the file's name with or without a suffix of any image, or by a path whose end is the
file's; in another case, without zeros before a number or with `.0` after it, with other blanks and underscores (those
between digits count) or dashes, where that means one image alone; where names differ in case and zeros alone, these
decide, and blanks after them. A name without folders that images of several deliveries have is about none of them,
though one of them has it for its id.

Belongs here: names alone. Does not belong here: reading a file or a table.
"""

import re
from array import array
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from functools import cached_property
from typing import NamedTuple

import numpy as np

from galaxy_assets.deliveries.manifests import composed
from galaxy_assets.deliveries.suffixes import ARCHIVES, without_suffix
from galaxy_assets.settings.printing import printable

# a number stands before the later of rows that have one id in a Parquet file
_ARCHIVE = re.compile(rf"(?:{'|'.join(map(re.escape, ARCHIVES))})!/(?:(?<=parquet!/)\d+/)?", re.IGNORECASE)

_DASHES = "\u2010\u2011\u2012\u2013\u2212"
_LOOSE = re.compile(rf"[\s_{_DASHES}]")
_BLANKS = re.compile(r"[\s_]+")
_BLANK = re.compile(r"(?<!\d)_|_(?!\d)")

ABSENT = "no image of that name was delivered"
SEVERAL = "several images may have that name; write it as one of them has it, with its folder"


def image_name(file: str) -> str:
    """What the image in a file is called.

    Parameters
    ----------
    file : str
        With or without folders.

    Returns
    -------
    str
        Without them and without one suffix.
    """
    return printable(composed(without_suffix(file.rpartition("/")[2])))


def image_path(file: str) -> str:
    """What the image in a file is called where its name alone is not unique: as `image_name`, with its folders.

    Parameters
    ----------
    file : str
        As the catalogue has it; an archive counts as a folder.

    Returns
    -------
    str
    """
    return printable(composed(without_suffix(_ARCHIVE.sub("/", file))))


def told_apart(files: Sequence[str], taken: Collection[str] = (), again: Collection[str] = ()) -> list[str]:
    """What the images of a delivery are called, with their folders where their names alone are not unique.

    Parameters
    ----------
    files : sequence of str
        As the catalogue has them.
    taken : Collection of str
        Ids that images of other deliveries have.
    again : Collection of str
        Of these files, those whose image another delivery has under the same name: they do not become a galaxy of
        their own.

    Returns
    -------
    list of str
        In the order of `files`; equal only where two files differ in nothing but their suffix, or are `again`.
    """
    folders: dict[str, set[str]] = defaultdict(set)
    for file in files:
        folders[image_name(file)].add(image_path(file))
    names = []
    for file in files:
        name, path = image_name(file), image_path(file)
        alone = len(folders[name]) == 1 and (name not in taken or file in again)
        names.append(name if alone else path)
    return names


def several_have(images: Iterable[tuple[str, str]]) -> set[str]:
    """The ids without folders that are the name of an image of another delivery too.

    Parameters
    ----------
    images : iterable of (str, str)
        Delivery and id of every image; ids are made of the names of the files.

    Returns
    -------
    set of str

    Examples
    --------
    >>> from galaxy_assets.deliveries.ids import several_have
    >>> several_have([("field1", "0"), ("field1", "1"), ("field2", "field2/0"), ("field2", "2")])
    {'0'}
    """
    alone, others = {}, defaultdict(set)
    for delivery, galaxy in images:
        if "/" in galaxy:
            others[_base(galaxy)].add(delivery)
        else:
            alone[galaxy] = delivery
    return {name for name in alone.keys() & others.keys() if others[name] - {alone[name]}}


class Matches(NamedTuple):
    """Which rows of a table are about which images.

    Attributes
    ----------
    rows : list of list of int
        Of each image, the rows about it, in the table's order.
    unused : dict of int to str
        Of each row that is about no image, why.
    """

    rows: list[list[int]]
    unused: dict[int, str]


def ids_meant(
    names: Sequence[str], images: Mapping[str, str], people: Sequence[str | None] = ()
) -> tuple[list[str], dict[str, str]]:
    """The ids of the galaxies that the rows of a table are about, by the rule of `NamedImages`.

    Parameters
    ----------
    names : sequence of str
        As a person or a file has them.
    images : mapping of str to str
        Id and file of every galaxy of the survey, as the catalogue has them.
    people : sequence of str or None
        Who gave each row, see `NamedImages.match`.

    Returns
    -------
    meant : list of str
        In the order of the rows; a name itself where it is an id, or none is meant.
    unused : dict of str to str
        Why, of each name that means none.
    """
    meant = list(names)
    if all(name in images for name in names):
        return meant, {}
    # of millions of galaxies those that may be meant; all that are called alike are among them
    called = keys_meant(names)
    own = {id_: file for id_, file in images.items() if not called.isdisjoint({key_of(id_), key_of(image_path(file))})}
    matches = NamedImages(own).match(names, people)
    for id_, rows in zip(own, matches.rows, strict=True):
        for row in rows:
            meant[row] = id_
    return meant, {names[row]: why for row, why in matches.unused.items()}


def key_of(galaxy: str) -> str:
    """What ids have in common that a row of a table may mean by one name.

    Parameters
    ----------
    galaxy : str
        An id.

    Returns
    -------
    str
        Without folders, case, zeros before a number, and blanks and underscores but between digits.
    """
    return _folded(_base(galaxy))


def keys_meant(names: Iterable[str]) -> set[str]:
    """What the ids that rows of a table may mean have in common, see `key_of`."""
    return {_folded(_base(text)) for name in names for text in _spellings(name)}


def only_rows(names: Sequence[str]) -> set[str]:
    """What rows of a table may mean whose name without folders no other row has.

    Parameters
    ----------
    names : sequence of str
        How the table's rows name their images.

    Returns
    -------
    set of str
        Ids.
    """
    spellings = {tuple(_spellings(name)) for name in names}
    n_rows = Counter(_base(spelling[-1]) for spelling in spellings)
    return {text for spelling in spellings if n_rows[_base(spelling[-1])] == 1 for text in spelling}


class NamedRows:
    """The rows of a table by how they name their images: read once, and looked up for the images of each delivery.

    Parameters
    ----------
    names : sequence of str
        How the table's rows name their images.
    """

    def __init__(self, names: Sequence[str]):
        self.names = names
        spellings = [tuple(_spellings(name)) for name in names]
        paths_of = Counter(_base(spelling[-1]) for spelling in set(spellings))
        self.alone = [paths_of[_base(spelling[-1])] == 1 for spelling in spellings]

    @cached_property
    def _index(self) -> tuple[np.ndarray, np.ndarray]:
        """Hashes of what each row may be called, rising, and the rows; who matches a whole table needs none."""
        hashes, rows = array("q"), array("q")
        for row, name in enumerate(self.names):
            for key in {hash(key) for key in keys_meant([name])}:
                hashes.append(key)
                rows.append(row)
        found = np.frombuffer(hashes, np.int64) if hashes else np.zeros(0, np.int64)
        order = np.argsort(found, kind="stable")
        return found[order], np.array(rows, np.int64)[order]

    def called(self, keys: Iterable[str]) -> list[int]:
        """The rows that may be about images of these keys, and perhaps a few others, in the table's order.

        Parameters
        ----------
        keys : iterable of str
            Of `key_of`.

        Returns
        -------
        list of int
        """
        hashes, rows = self._index
        wanted = np.unique(np.fromiter(map(hash, keys), np.int64))
        first, last = (np.searchsorted(hashes, wanted, side) for side in ("left", "right"))
        counts = last - first
        within = np.arange(counts.sum()) - np.repeat(counts.cumsum() - counts, counts)
        return np.unique(rows[np.repeat(first, counts) + within]).tolist()


class NamedImages:
    """The images that a table may name, by id, by name and by path.

    Parameters
    ----------
    images : mapping of str to str
        Id and file, as the catalogue has them.
    taken : Collection of str
        Ids of images that are not among `images`: a row that has one is about that.
    several : Collection of str
        Ids that are the name of an image of another delivery too (`several_have`): a row must name the folder.
    """

    def __init__(self, images: Mapping[str, str], taken: Collection[str] = (), several: Collection[str] = ()):
        self._taken = taken
        self._place = {galaxy: i for i, galaxy in enumerate(images)}
        self._several = {self._place[galaxy] for galaxy in several if galaxy in self._place}
        self._paths = [image_path(file).split("/") for file in images.values()]
        self._called: dict[str, list[int]] = defaultdict(list)
        for galaxy, i in self._place.items():
            name = self._paths[i][-1]
            if not galaxy.startswith((f"{name}#", f"{'/'.join(self._paths[i])}#")):  # no label is a duplicate's
                self._called[name].append(i)
        self._folded: dict[str, list[str]] = defaultdict(list)
        for name in self._called:
            self._folded[_folded(name)].append(name)

    def match(self, names: Sequence[str], people: Sequence[str | None] = ()) -> Matches:
        """Find out which image each row of a table is about.

        Parameters
        ----------
        names : sequence of str
            How the table's rows name their images.
        people : sequence of str or None
            Who gave each row; empty where the table is of one. Only where one person's rows have an image's own name
            and another spelling of it, the other spelling is of something else.

        Returns
        -------
        Matches
        """
        return self._match(NamedRows(names), range(len(names)), people)

    def rows_about(self, table: NamedRows) -> list[list[int]]:
        """Of each image the rows about it, as `match` has them; takes time for the rows that may be, not for all.

        Parameters
        ----------
        table : NamedRows
            The table's rows.

        Returns
        -------
        list of list of int
        """
        keys = {key_of(galaxy) for galaxy in self._place} | self._folded.keys()
        return self._match(table, table.called(keys)).rows

    def _match(self, table: NamedRows, among: Iterable[int], people: Sequence[str | None] = ()) -> Matches:
        rows: list[list[int]] = [[] for _ in self._paths]
        unused: dict[int, str] = {}
        for row in among:
            found = self._image(_spellings(table.names[row]), table.alone[row])
            if isinstance(found, str):
                unused[row] = found
            else:
                rows[found].append(row)
        for image, about in enumerate(rows):
            if len(about) > 1:
                own = {row for row in about if self._is_name(table.names[row], image)}
                whose = {people[row] if people else None for row in own}
                other = {row for row in {*about} - own if (people[row] if people else None) in whose}
                unused |= dict.fromkeys(other, ABSENT)
                rows[image] = [row for row in about if row not in other]
        return Matches(rows, unused)

    def _is_name(self, name: str, image: int) -> bool:
        """Whether a row has the name of an image with its blanks, underscores and dashes."""
        own = _cased(self._paths[image][-1])
        return any(text in self._place or _cased(_base(text)) == own for text in _spellings(name))

    @cached_property
    def _taken_folded(self) -> dict[str, list[str]]:
        alike: dict[str, list[str]] = defaultdict(list)
        for name in self._taken:
            if "/" not in name:
                alike[_folded(name)].append(name)
        return alike

    def _image(self, spelling: list[str], alone: bool) -> int | str:
        """The image that a row names, or why there is none; `alone` if no other row's path ends in this name."""
        for text in spelling:
            if (found := self._place.get(text)) is not None:
                return SEVERAL if found in self._several else found
            if text in self._taken:
                return ABSENT
        for text in spelling:
            *folders, name = text.split("/")
            if name in self._called:
                return self._one_of(name, folders, alone)
            if len(alike := self._alike(name)) > 1:
                return SEVERAL
            if alike and alike[0] in self._called:
                return self._one_of(alike[0], folders, alone)
        return ABSENT

    def _alike(self, name: str) -> list[str]:
        """The names that a row may mean that has none of them: those in another case, or else with other blanks."""
        key = _folded(name)
        if key not in self._folded:
            return []
        names = dict.fromkeys([*self._folded[key], *self._taken_folded.get(key, ())])
        return [other for other in names if _cased(other) == _cased(name)] or [*names]

    def _one_of(self, name: str, folders: list[str], alone: bool) -> int | str:
        images = self._called[name]
        elsewhere = name in self._taken or not self._several.isdisjoint(images)
        found = [i for i in images if _agree(folders, self._paths[i][:-1])]
        # a table may have been written where the images lay in other folders
        if not found and alone and len(images) == 1 and not elsewhere:
            found = images
        if len(found) > 1 or (found and elsewhere and not folders):
            return SEVERAL
        return found[0] if found else ABSENT


def _agree(a: list[str], b: list[str]) -> bool:
    """Whether one of two lists of folders is the end of the other."""
    n = min(len(a), len(b))
    return n == 0 or a[-n:] == b[-n:]


def _folded(name: str) -> str:
    """A name as `_cased`, without blanks and underscores but between digits, and with a hyphen for every dash."""
    name = _cased(name)
    if not _LOOSE.search(name):
        return name
    return _BLANK.sub("", _BLANKS.sub("_", name.translate(dict.fromkeys(map(ord, _DASHES), "-")))) or name


def _cased(name: str) -> str:
    """A name without case, and without what spreadsheets change of numbers: zeros before, `.0` or `,0` after."""
    name = name.strip().casefold()
    number = re.fullmatch(r"0*(\d{1,15}?)([.,]0+)?", name)
    return number[1] if number else name


def _base(path: str) -> str:
    return path.rpartition("/")[2]


def _spellings(name: str) -> list[str]:
    """What a row's name may mean: the name as it is, without a suffix, and as a path of Windows."""
    name = printable(composed(name.strip()))
    texts = [name, without_suffix(name)]
    if "\\" in name:
        texts += [text.replace("\\", "/") for text in texts]
    return [text.removeprefix("./") for text in dict.fromkeys(texts)]
