"""Images in arrays: NumPy's `.npy` and `.npz` and HDF5 files, in which an array holds one image or N of them.

    (N, H, W), (N, H, W, 3), (N, 3, H, W)       N images; also with one or four planes in place of three
    (N, B, H, W), and the names of B bands      N images: a survey's `source.bands` chooses among them
    (H, W), (H, W, 3), (3, H, W)                one image

Which arrays are images: those called `images`, `image`, `x`, `data`, `flux` and the like, one for each of `train`,
`test`; else the largest. Without any array of N images those that are one image each.

Belongs here: which arrays are images, what other arrays say of them, and the image of a row. Does not belong here:
opening files (`arrays`, `hdf5`), and what their pixels become (`images`).
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple, Protocol

import numpy as np

from galaxy_assets.deliveries.decoding.arrays import encoded
from galaxy_assets.deliveries.images import UnreadableImage
from galaxy_assets.deliveries.members import (
    IDS,
    LABELS,
    DamagedArchive,
    Said,
    check_count,
    class_of,
    position_of,
    text_of,
)
from galaxy_assets.settings.limits import MAXIMUM_ARRAY, MINIMUM_SIDE

BANDS_ARE_CHOSEN = "`source.bands` chooses three or one of them; without it g, r, z are shown"
EXPECTED = "numbers (N, H, W), (N, H, W, 3) or (N, 3, H, W)"

_WORDS = ("images", "image", "img", "imgs", "x", "data", "flux", "pixels", "cutouts", "cutout", "pictures", "array")
_SPLITS = {"train", "training", "test", "val", "valid", "validation", "dev", "all"}
_BANDS = ("band", "bands", "filter", "filters")
_PLANES = (1, 3, 4)
_MOST_BANDS = 32


class Kept(NamedTuple):
    """Shape and type of an array in a file."""

    shape: tuple[int, ...]
    dtype: np.dtype

    @property
    def nbytes(self) -> int:
        """Of the whole array, unpacked."""
        return int(np.prod(self.shape, dtype=object)) * self.dtype.itemsize


class Arrays(Protocol):
    """A file of arrays. Safe to read from several threads."""

    @property
    def kept(self) -> Mapping[str, Kept]:
        """The arrays by their path, those of Python objects left out."""
        ...

    @property
    def notes(self) -> Sequence[str]:
        """Which arrays are left out, and why."""
        ...

    def row(self, path: str, i: int) -> np.ndarray:
        """One row of an array; raises UnreadableImage."""
        ...

    def rows(self, path: str) -> Iterator[np.ndarray]:
        """All rows of an array; raises UnreadableImage."""
        ...

    def whole(self, path: str) -> np.ndarray:
        """A small array; raises UnreadableImage."""
        ...


class Stack(NamedTuple):
    """An array whose rows are images, or that is one image.

    Attributes
    ----------
    path : str
        Of the array.
    n : int or None
        Images; None where it is one, without an axis of rows.
    bands, ids, labels, ra, dec : str or None
        Arrays that say what its bands, names, classes and positions are.
    """

    path: str
    n: int | None
    bands: str | None = None
    ids: str | None = None
    labels: str | None = None
    ra: str | None = None
    dec: str | None = None

    def member(self, i: int) -> str:
        """What the image of row i is called in its file."""
        return f"{self.path}.npy" if self.n is None else f"{self.path}/{i}.npy"


class StackArchive:
    """The images in a file of arrays, by `<array>/<row>.npy`. Safe to read from several threads.

    Parameters
    ----------
    arrays : Arrays
        The file, opened.
    stem : str
        Its name without suffix: images without an id are called `<stem>_<row>`, rows counted from 0.

    Attributes
    ----------
    sizes : dict of str to int
        Bytes of each image.
    arrays : Arrays
        The file.
    stacks : list of Stack
        Which of its arrays are images.
    notes : list of str
        What a person should know: arrays that are not taken, planes without names.

    Raises
    ------
    DamagedArchive
        For more images than are held.
    """

    def __init__(self, arrays: Arrays, stem: str):
        self.arrays, self._stem = arrays, stem
        self.stacks, notes = stacks_of(arrays.kept)
        self.notes = [*arrays.notes, *notes]
        check_count(sum(stack.n or 1 for stack in self.stacks))
        self._by_path = {stack.path: stack for stack in self.stacks}
        self.sizes: dict[str, int] = {}
        for stack in self.stacks:
            size = arrays.kept[stack.path].nbytes // (stack.n or 1)
            self.sizes |= dict.fromkeys(map(stack.member, range(stack.n or 1)), size)

    def read(self, name: str) -> bytes:
        """An image as the content of a file, see `encoded`; raises UnreadableImage."""
        if name not in self.sizes:
            raise UnreadableImage("not in the archive")
        path, _, row = name.removesuffix(".npy").rpartition("/")
        stack = self._by_path.get(name.removesuffix(".npy")) or self._by_path[path]
        self._check_size(name)
        if stack.n is None:
            return self._encoded(stack, self.arrays.whole(stack.path), 0)
        return self._encoded(stack, self.arrays.row(stack.path, int(row)), int(row))

    def all(self) -> Iterator[tuple[str, bytes, Said, UnreadableImage | None]]:
        """Every image one after the other: its name here, its bytes, what is said of it, and why there are none.

        Raises
        ------
        UnreadableImage
            Where the file is damaged.
        """
        for stack in self.stacks:
            pixels = self._pixels(stack)
            for i, (name, said) in enumerate(self.said_of(stack)):
                try:
                    self._check_size(name)
                    yield name, self._encoded(stack, next(pixels), i), said, None
                except UnreadableImage as error:
                    if error.problem != "too_large":
                        raise
                    yield name, b"", said, error

    def _pixels(self, stack: Stack) -> Iterator[np.ndarray]:
        if stack.n is None:
            yield self.arrays.whole(stack.path)
        else:
            yield from self.arrays.rows(stack.path)

    def _check_size(self, name: str) -> None:
        if self.sizes[name] > MAXIMUM_ARRAY:
            largest = f"the largest image of an array has {MAXIMUM_ARRAY}"
            raise UnreadableImage(f"{self.sizes[name]} bytes; {largest}", "too_large")

    def _encoded(self, stack: Stack, pixels: np.ndarray, i: int) -> bytes:
        """Row i of an array as the content of a file; raises UnreadableImage."""
        return encoded(pixels, self._bands(stack, i))

    def said(self, images: Sequence[str]) -> Mapping[str, Said]:
        """Names, classes and positions of these images."""
        found = {}
        for stack in self.stacks:
            found |= dict(self.said_of(stack))
        return found if len(images) == len(found) else {name: found[name] for name in images}

    def said_of(self, stack: Stack) -> Iterator[tuple[str, Said]]:
        """What is said of each image of an array, in the order of its rows."""
        if stack.n is None:
            yield stack.member(0), Said(_name_of_one(stack.path))
            return
        names, labels, ra, dec = (
            self._column(path, stack.n) for path in (stack.ids, stack.labels, stack.ra, stack.dec)
        )
        home = self._stem if len(self.stacks) == 1 else f"{self._stem}_{stack.path.replace('/', '_')}"
        for i in range(stack.n):
            name = text_of(names[i]) or f"{home}_{i}"
            yield stack.member(i), Said(name, class_of(labels[i]), *position_of(ra[i], dec[i]))

    def _column(self, path: str | None, n: int) -> Sequence:
        if path is None:
            return [None] * n
        values = self.arrays.whole(path)
        if values.ndim == 2 and values.shape[1] > 1:  # a column per class, with 1 where it holds
            one_each = np.isin(values, (0, 1)).all() and (values.sum(axis=1) == 1).all()
            return values.argmax(axis=1).tolist() if one_each else [None] * n
        return values.ravel().tolist()

    def _bands(self, stack: Stack, i: int) -> list[str] | None:
        if stack.bands is None:
            return None
        names = self.arrays.whole(stack.bands)
        names = names[i] if names.ndim == 2 else names
        return [text_of(name) or "" for name in names.tolist()]


def _name_of_one(path: str) -> str:
    """The group or the array that one image is called by: `J1/image/flux` is J1, `J1` is J1."""
    parts = path.split("/")
    while len(parts) > 1 and parts[-1].lower() in _WORDS:
        parts.pop()
    return "/".join(parts)


def stacks_of(kept: Mapping[str, Kept]) -> tuple[list[Stack], list[str]]:
    """Which arrays of a file are images, and what a person should know of it.

    Parameters
    ----------
    kept : mapping of str to Kept
        The arrays by their path.

    Returns
    -------
    stacks : list of Stack
        Empty where none is.
    notes : list of str
    """
    numbers = {path: one for path, one in kept.items() if one.dtype.kind in "buif"}
    found = [stack for path in numbers if (stack := _stack(path, kept)) is not None]
    stacks = [stack for stack in found if stack.n is not None]
    if not stacks:
        return found, []
    named: dict[tuple[str, ...], list[Stack]] = {}
    for stack in stacks:
        if (split := _split(stack.path)) is not None:
            named.setdefault(split, []).append(stack)
    taken = [max(same, key=lambda s: (-_rank(s.path), kept[s.path].nbytes)) for same in named.values()]
    taken = taken or [max(stacks, key=lambda s: kept[s.path].nbytes)]
    notes = [
        f"the array {stack.path} {kept[stack.path].shape} may hold images too and is not taken: call it `images`"
        for stack in stacks
        if stack not in taken
    ]
    for stack in taken:
        notes += _about_bands(stack, kept[stack.path])
    if (left := _left(taken, kept)) and any(stack.labels is None for stack in taken):
        said = ", ".join(f"{path} {one.shape}" for path, one in list(left.items())[:8])
        notes.append(
            f"no array gives all images a class; {said} is not used. Classes are a value each, or one of several "
            f"columns that is 1, in an array called {', '.join(LABELS)}"
        )
    return taken, notes


def _left(taken: list[Stack], kept: Mapping[str, Kept]) -> dict[str, Kept]:
    """The arrays that may be classes and say nothing: of one axis, or called as classes are."""
    used = {path for stack in taken for path in stack if isinstance(path, str)}
    called = {other for other in kept for stack in taken if says(stack.path, other, LABELS)}
    return {path: one for path, one in kept.items() if path not in used and (path in called or len(one.shape) == 1)}


def _stack(path: str, kept: Mapping[str, Kept]) -> Stack | None:
    shape = kept[path].shape
    axes = len(shape)
    if not 2 <= axes <= 4 or 0 in shape:
        return None
    fit = (shape[1:2], shape[:2]) if axes == 4 else (shape[:1],) if "/" in path else ()
    bands = next((other for other in kept if says(path, other, _BANDS) and kept[other].shape in fit), None)
    # an object's own group, in which the first axis has names: it is no row
    object_of_bands = axes == 3 and bands is not None and shape[0] <= _MOST_BANDS and _sides(shape[1:])
    if axes < 4 and (_is_image(shape) or object_of_bands):
        return Stack(path, None, bands)
    n, item = shape[0], shape[1:]
    if not _is_image(item) and not (len(item) == 3 and item[0] <= _MOST_BANDS and _sides(item[1:])):
        return None
    columns = {other: one for other, one in kept.items() if one.shape in ((n,), (n, 1)) and one.nbytes <= MAXIMUM_ARRAY}
    # decimal numbers keep 15 digits and could name another image
    exact = [other for other, one in columns.items() if one.dtype.kind in "iuSU"]
    classes = [
        other for other, one in kept.items() if other in columns or (one.shape[:1] == (n,) and len(one.shape) == 2)
    ]
    numbers = [other for other, one in columns.items() if one.dtype.kind in "iuf"]
    told = ((exact, IDS), (classes, LABELS), (numbers, ("ra",)), (numbers, ("dec",)))
    return Stack(path, n, bands, *(_first(path, there, words) for there, words in told))


def _first(path: str, there: Sequence[str], words: Sequence[str]) -> str | None:
    """Of the arrays that go with one of images the one that is called by the first of some words."""
    return next((other for word in words for other in there if says(path, other, (word,))), None)


def _sides(shape: tuple[int, ...]) -> bool:
    return len(shape) == 2 and min(shape) >= MINIMUM_SIDE


def _is_image(shape: tuple[int, ...]) -> bool:
    """Whether an array of a shape is one image: two axes, or three with few planes first or last."""
    if len(shape) == 3:
        return (shape[2] in _PLANES and _sides(shape[:2])) or (shape[0] in (1, 3) and _sides(shape[1:]))
    return _sides(shape)


def is_stack(one: Kept, bands: Sequence[str | int] | None = None) -> bool:
    """Whether an array that is a file of its own is N images, and not one.

    Parameters
    ----------
    one : Kept
        Its shape and type.
    bands : sequence of str or int, optional
        The survey's `source.bands`: an array (B, H, W) that has these among few planes is one image.

    Returns
    -------
    bool
    """
    stacks, _ = stacks_of({"images": one})
    if all(stack.n is None for stack in stacks):
        return False
    return bands is None or (n := may_be_planes(one)) is None or not (len(bands) == n or _numbered(bands, n))


def _numbered(bands: Sequence[str | int], n: int) -> bool:
    """Whether bands are numbers of n planes."""
    return all(str(band).isdigit() and 1 <= int(band) <= n for band in bands)


def may_be_planes(one: Kept) -> int | None:
    """How many planes an array (B, H, W) has if it is one image, and not B; None where it cannot be that.

    Parameters
    ----------
    one : Kept
        Its shape and type.

    Returns
    -------
    int or None
    """
    few = len(one.shape) == 3 and 1 < one.shape[0] <= _MOST_BANDS and not _is_image(one.shape)
    return one.shape[0] if few and _sides(one.shape[1:]) and one.dtype.kind in "buif" else None


def _parts(path: str) -> list[str]:
    return [part for part in re.split(r"[/_\-. ]+", path.lower()) if part]


def _split(path: str) -> tuple[str, ...] | None:
    """Train, test and the like in the path of an array that is called as images are; None for any other array."""
    parts = _parts(path)
    split = tuple(part for part in parts if part in _SPLITS)
    left = [part for part in parts if part not in _SPLITS]
    return split if left and all(part in _WORDS for part in left) else None


def _rank(path: str) -> int:
    return min((_WORDS.index(part) for part in _parts(path) if part in _WORDS), default=len(_WORDS))


def says(path: str, other: str, words: Sequence[str]) -> bool:
    """Whether an array is called by one of some words, and goes with an array of images: `y_train` with `x_train`.

    Parameters
    ----------
    path, other : str
        Of the array of images, and of the other.
    words : sequence of str
        In lower case.

    Returns
    -------
    bool
    """
    group, _, own = path.rpartition("/")
    home, _, name = other.rpartition("/")
    if other == path or not (group == home or group.startswith(f"{home}/") or not home):
        return False
    parts = [part for part in name.lower().split("_") if part]
    split = {part for part in _parts(other) if part in _SPLITS}
    if split != {part for part in _parts(path) if part in _SPLITS}:
        return False
    bare = "_".join(part for part in parts if part not in _SPLITS)
    after = "_".join(part for part in parts if part not in _SPLITS and part not in _parts(own))  # image_band: band
    return any(word in (bare, bare.removesuffix("s"), after) for word in words if word)


def _about_bands(stack: Stack, kept: Kept) -> list[str]:
    shape = kept.shape if stack.n is None else kept.shape[1:]
    if stack.bands is not None:
        return [f"the array {stack.path} has {shape[0]} bands, named by {stack.bands}: {BANDS_ARE_CHOSEN}"]
    if len(shape) < 3 or _is_image(shape):
        return []
    return [f"the array {stack.path} has {shape[0]} planes without names: say which in `source.bands`, from 1"]


def check_rows(kept: Kept, size: int) -> None:
    """Raise DamagedArchive where an array is longer than what is there of it, in bytes."""
    if kept.nbytes > size:
        what = f"an array of {kept.nbytes} bytes, of which {size} are there"
        raise DamagedArchive(f"cut short or damaged ({what}); deliver it again")
