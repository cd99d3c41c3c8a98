"""Images in arrays: NumPy's `.npy` and `.npz` and HDF5 files, in which an array holds one image or N of them.

    (N, H, W), (N, H, W, 3), (N, 3, H, W)       N images
    (N, B, H, W), (N, H, W, B)                  N images of B planes, with names or without: `source.bands` chooses
    (H, W), (H, W, 3), (3, H, W), (H, W, B)     one image

Belongs here: the image of a row, and what other arrays say of it. Does not belong here: which arrays are images
(`image_arrays`), opening files (`arrays`, `hdf5`), and what their pixels become (`images`).
"""

from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from typing import Protocol

import numpy as np

from galaxy_assets.deliveries.decoding.arrays import encoded
from galaxy_assets.deliveries.image_arrays import Kept, Stack, name_of_one, planes_are_last, stacks_of
from galaxy_assets.deliveries.images import UnreadableImage
from galaxy_assets.deliveries.members import (
    DamagedArchive,
    Said,
    check_count,
    class_of,
    position_of,
    says_nothing,
    text_of,
)
from galaxy_assets.settings.limits import MAXIMUM_ARRAY

_SHOWN = 8  # arrays of classes of which something is said


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


class StackArchive:
    """The images in a file of arrays, by `<array>/<row>.npy`. Safe to read from several threads.

    Parameters
    ----------
    arrays : Arrays
        The file, opened.
    stem : str
        Its name without suffix: images without an id are called `<stem>_<row>`, rows counted from 0; the only one of a
        file is called by the stem alone.

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
        self._names_of_bands: dict[str, np.ndarray] = {}  # of arrays of images, whose rows ask for them one by one
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
        bands = self._bands(stack, i)
        return encoded(np.moveaxis(pixels, -1, 0) if bands and planes_are_last(pixels.shape) else pixels, bands)

    def said(self, images: Sequence[str]) -> Mapping[str, Said]:
        """Names, classes and positions of these images."""
        found = {}
        for stack in self.stacks:
            found |= dict(self.said_of(stack))
        return found if len(images) == len(found) else {name: found[name] for name in images}

    def said_of(self, stack: Stack) -> Iterator[tuple[str, Said]]:
        """What is said of each image of an array, in the order of its rows."""
        n = stack.n or 1
        labels, ra, dec = (self._column(path, n) for path in (stack.labels, stack.ra, stack.dec))
        names = [self._ids_of_ones.get(stack.path)] if stack.n is None else self._column(stack.ids, n)
        alone = len(self.stacks) == 1
        home = self._stem if alone else f"{self._stem}_{stack.path.replace('/', '_')}"
        for i in range(n):
            name = text_of(names[i])
            if name is None and stack.n is None:
                name = self._stem if alone else name_of_one(stack.path)
            said = class_of(labels[i]), *position_of(ra[i], dec[i])
            yield stack.member(i), Said(name or f"{home}_{i}", *said)

    @cached_property
    def _ids_of_ones(self) -> Mapping[str, str]:
        """Ids of arrays that are one image each, by their path; none where two have the same: these name no galaxy."""
        there = {stack.path: stack.ids for stack in self.stacks if stack.n is None and stack.ids is not None}
        read = {path: text_of(self._column(ids, 1)[0]) for path, ids in there.items()}
        found = {path: name for path, name in read.items() if name is not None}
        return found if len(set(found.values())) == len(found) else {}

    def _column(self, path: str | None, n: int) -> Sequence:
        if path is None:
            return [None] * n
        values = self.arrays.whole(path)
        if values.ndim == 2 and values.shape[1] > 1:
            return _one_hot(values)
        return values.ravel().tolist()

    def without_class(self) -> list[str]:
        """Which arrays of classes give images none, in words, with a value; raises UnreadableImage."""
        said: list[str] = []
        for path in dict.fromkeys(stack.labels for stack in self.stacks if stack.labels is not None):
            values = self.arrays.whole(path)
            rows = values if values.ndim == 2 and values.shape[1] > 1 else values.ravel()
            given = self._column(path, len(rows))
            none = [i for i, one in enumerate(given) if class_of(one) is None and not says_nothing(rows[i])]
            if none:
                shown = " ".join(np.array2string(np.asarray(rows[none[0]]), threshold=8).split())
                said.append(
                    f"the array {path} {values.shape} gives {len(none):,} of {len(rows):,} images no class, such as "
                    f"row {none[0]}: {shown}. A class is a whole number or text, or that of several columns which is 1"
                )
            if len(said) == _SHOWN:
                break
        return said

    def _bands(self, stack: Stack, i: int) -> list[str] | None:
        if stack.bands is None:
            return None
        names = self._names_of_bands.get(stack.bands)
        if names is None:
            names = self.arrays.whole(stack.bands)
            if stack.n is not None:
                self._names_of_bands[stack.bands] = names
        names = names[i] if names.ndim == 2 else names
        return [text_of(name) or "" for name in names.tolist()]


def _one_hot(values: np.ndarray) -> Sequence:
    """The classes in a column for each, with 1 where it holds; None of a row without any 1.

    Where most rows are such, or one has a 1 beside something else than 0, the columns are no classes.
    """
    if values.dtype.kind not in "buif":
        return [None] * len(values)
    fits = np.isin(values, (0, 1)).all(axis=1) & (values.sum(axis=1) == 1)
    if 2 * fits.sum() <= len(values) or (~fits & (values == 1).any(axis=1)).any():
        return [None] * len(values)
    return [column if one else None for column, one in zip(values.argmax(axis=1).tolist(), fits.tolist(), strict=True)]


def check_rows(kept: Kept, size: int) -> None:
    """Raise DamagedArchive where an array is longer than what is there of it, in bytes."""
    if kept.nbytes > size:
        what = f"an array of {kept.nbytes} bytes, of which {size} are there"
        raise DamagedArchive(f"cut short or damaged ({what}); deliver it again")
