"""Which arrays of a file are images, and which others say something of them.

Arrays called as errors, weights and masks are no images (`beside`) where others can be. Of these those called `images`,
`image`, `x`, `data`, `flux` and the like come first: arrays of N images, one for each of `train`, `test`; else the
largest. Without any array of N images those that are one image each; beside few others in its group the one that is
called so. Arrays (B, H, W) of the same few B are one image each where most arrays are such, each in a group of its own
or more of them than B.

Belongs here: names and shapes of arrays. Does not belong here: opening files (`arrays`, `hdf5`), reading images
(`stacks`).
"""

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Literal, NamedTuple

import numpy as np

from galaxy_assets.deliveries.beside import NOT_IMAGES, kind_of_name
from galaxy_assets.deliveries.members import IDS, LABELS
from galaxy_assets.settings.limits import MAXIMUM_ARRAY, MINIMUM_SIDE

BANDS_ARE_CHOSEN = "`source.bands` chooses three or one of them; without it g, r, z are shown"
EXPECTED = "numbers (N, H, W), (N, H, W, 3) or (N, 3, H, W)"
MANY = 3
"""Arrays or files of as many planes, which are one image each."""

_WORDS = ("images", "image", "img", "imgs", "x", "data", "flux", "pixels", "cutouts", "cutout", "pictures", "array")
_SPLITS = {"train", "training", "test", "val", "valid", "validation", "dev", "all"}
_BANDS = ("band", "bands", "filter", "filters")
# what else an only image may be called or made of than the galaxy
_NO_ID = {"name", "file", "filename", "file_name", "file_loc", "path", "__key__", "key"}
_USUAL = (1, 3, 4)  # planes of a picture
_MOST_BANDS = 32
_SHOWN = 8  # arrays that a note names


class Kept(NamedTuple):
    """Shape and type of an array in a file."""

    shape: tuple[int, ...]
    dtype: np.dtype

    @property
    def nbytes(self) -> int:
        """Of the whole array, unpacked."""
        return int(np.prod(self.shape, dtype=object)) * self.dtype.itemsize


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


class _Others:
    """The arrays of a file by group and shape: of a file of thousands, none is compared with all."""

    def __init__(self, kept: Mapping[str, Kept]):
        self.kept = kept
        self._there: dict[tuple[str, object], list[str]] = {}
        for path, one in kept.items():
            home = path.rpartition("/")[0]
            self._there.setdefault((home, one.shape), []).append(path)
            if len(one.shape) == 2:
                self._there.setdefault((home, one.shape[0]), []).append(path)

    def beside(self, homes: Iterable[str], *shapes: object) -> list[str]:
        """Arrays of some groups that have one of some shapes, or, for a number, as many rows and a column or more."""
        return [path for home in homes for shape in shapes for path in self._there.get((home, shape), ())]


def _homes(path: str) -> list[str]:
    """The groups that an array lies in, the innermost first."""
    parts = path.split("/")[:-1]
    return ["/".join(parts[:n]) for n in range(len(parts), -1, -1)]


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
    others = _Others(kept)
    numbers = {path: one for path, one in kept.items() if one.dtype.kind in "buif"}
    beside = {path: one for path, one in numbers.items() if _may_hold_images(one) and _is_beside(path)}
    able = [path for path in numbers if path not in beside]
    read: dict[str, _Reading] = {path: how for path in able if (how := _reading(path, others)) is not None}
    if not read or _are_numbered(beside, read):
        beside = {}
        read = {path: how for path in numbers if (how := _reading(path, others)) is not None}
    read |= dict.fromkeys(_cubes(read, kept), "one")
    taken = _taken(read, kept)
    if any(read[path] == "many" for path in taken):
        stacks = [_stack(path, others) for path in taken]
    else:
        of_groups = Counter(home for path in taken for home in _homes(path))
        words = IDS if len(taken) > 1 else [word for word in IDS if word not in _NO_ID]
        stacks = [_one(path, others, of_groups, words) for path in taken]
    return stacks, [*_about_planes(stacks, kept), *_about_others(stacks, numbers, beside), *_about_labels(stacks, kept)]


_Reading = Literal["one", "many"]


def _reading(path: str, others: _Others) -> _Reading | None:
    """Whether an array is one image or many, by its shape; None where it is none."""
    shape = others.kept[path].shape
    axes = len(shape)
    if not 2 <= axes <= 4 or 0 in shape:
        return None
    # an object's own group, in which the first axis has names: it is no row
    of_bands = axes == 3 and shape[0] <= _MOST_BANDS and _sides(shape[1:]) and _band_names(path, others) is not None
    if axes < 4 and (_is_image(shape) or of_bands):
        return "one"
    item = shape[1:]
    return "many" if _is_image(item) or (len(item) == 3 and item[0] <= _MOST_BANDS and _sides(item[1:])) else None


def _taken(read: Mapping[str, _Reading], kept: Mapping[str, Kept]) -> list[str]:
    """Of the arrays that can be images those that are, by their names."""
    many = [path for path, how in read.items() if how == "many"]
    named: dict[tuple[str, ...], list[str]] = {}
    for path in many:
        if (split := _split(path)) is not None:
            named.setdefault(split, []).append(path)
    ones = [path for path, how in read.items() if how == "one"]
    called = [path for path in ones if _split(path.rpartition("/")[2]) is not None]
    of_groups = Counter(path.rpartition("/")[0] for path in ones)
    of_groups.subtract(path.rpartition("/")[0] for path in called)
    if named:
        return [max(same, key=lambda path: (-_rank(path), kept[path].nbytes)) for same in named.values()]
    if many and len(called) < MANY:
        return [max(many, key=lambda path: kept[path].nbytes)]
    best: dict[str, str] = {}  # of each group
    for path in called:
        home, _, own = path.rpartition("/")
        if of_groups[home] < MANY and (home not in best or _rank(own) < _rank(best[home].rpartition("/")[2])):
            best[home] = path
    return [path for path in ones if best.get(path.rpartition("/")[0], path) == path]


def _stack(path: str, others: _Others) -> Stack:
    kept = others.kept
    n = kept[path].shape[0]
    columns, classes = (
        [other for other in others.beside(_homes(path), *shapes) if kept[other].nbytes <= MAXIMUM_ARRAY]
        for shapes in (((n,), (n, 1)), ((n,), n))
    )
    return Stack(path, n, _band_names(path, others), *_told(path, columns, classes, kept, IDS))


def _one(path: str, others: _Others, of_groups: Mapping[str, int], words: Sequence[str]) -> Stack:
    """An image, and the single values of the groups that hold no other; a label of the array itself is of plots."""
    homes = [home for home in _homes(path) if of_groups[home] == 1]
    values, classes = (others.beside(there, (), (1,), (1, 1)) for there in ([path, *homes], homes))
    return Stack(path, None, _band_names(path, others), *_told(path, values, classes, others.kept, words))


def _told(
    path: str, columns: list[str], classes: list[str], kept: Mapping[str, Kept], ids: Sequence[str]
) -> list[str | None]:
    # decimal numbers keep 15 digits and could name another image
    exact = [other for other in columns if kept[other].dtype.kind in "iuSU"]
    numbers = [other for other in columns if kept[other].dtype.kind in "iuf"]
    told = ((exact, ids), (classes, LABELS), (numbers, ("ra",)), (numbers, ("dec",)))
    return [
        next((other for word in words for other in there if says(path, other, (word,))), None) for there, words in told
    ]


def _band_names(path: str, others: _Others) -> str | None:
    """The array that names the planes of an array of images, or of an image in its own group."""
    shape = others.kept[path].shape
    if len(shape) == 4:
        planes = shape[3] if planes_are_last(shape[1:]) else shape[1]
        shapes = ((planes,), (shape[0], planes))
    elif len(shape) == 3 and "/" in path:
        shapes = ((shape[2] if planes_are_last(shape) else shape[0],),)
    else:
        return None
    return next((one for one in others.beside(_homes(path), *shapes) if says(path, one, _BANDS)), None)


def _sides(shape: tuple[int, ...]) -> bool:
    return len(shape) == 2 and min(shape) >= MINIMUM_SIDE


def planes_are_last(shape: tuple[int, ...]) -> bool:
    """Whether an image of a shape has its planes on the last axis, by the rule of `decoding.planes`."""
    return len(shape) == 3 and shape[2] < MINIMUM_SIDE and _sides(shape[:2])


def _is_image(shape: tuple[int, ...]) -> bool:
    """Whether an array of a shape is one image: two axes, or three with few planes first or last."""
    if len(shape) == 3:
        return planes_are_last(shape) or (shape[0] in (1, 3) and _sides(shape[1:]))
    return _sides(shape)


def _may_hold_images(one: Kept) -> bool:
    return sum(side >= MINIMUM_SIDE for side in one.shape) >= 2


def _is_beside(path: str) -> bool:
    """Whether an array is called as errors are, or lies in a group that is so and is not called as images are."""
    home, _, own = path.rpartition("/")
    if (kind := kind_of_name(own)) is not None or _split(own) is not None:
        return kind == "beside"
    return any(kind_of_name(part) == "beside" for part in home.split("/"))


def _are_numbered(beside: Iterable[str], read: Mapping[str, _Reading]) -> bool:
    """Whether names of errors and masks that differ in a number alone are those of images: there are few others."""
    names = list(beside)
    if not len(read) < MANY <= len(names) or len({re.sub(r"\d+", "", name) for name in names}) > 1:
        return False
    return all(how == "one" and _split(path.rpartition("/")[2]) is None for path, how in read.items())


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


def _cubes(read: Mapping[str, _Reading], kept: Mapping[str, Kept]) -> list[str]:
    """The arrays (B, H, W) that are an image of B planes each, and not B images."""
    able: dict[int, list[str]] = {}
    for path, how in read.items():
        if how == "many" and (planes := may_be_planes(kept[path])) is not None and _split(path) is None:
            if _SPLITS.isdisjoint(_parts(path)):
                able.setdefault(planes, []).append(path)
    found: list[str] = []
    for planes, paths in able.items():
        apart = len({path.rpartition("/")[0] for path in paths}) == len(paths)
        if len(paths) >= MANY and 2 * len(paths) > len(read) and (apart or len(paths) > planes):
            found += paths
    return found


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


def name_of_one(path: str) -> str:
    """The group or the array that one image is called by: `J1/image/flux` is J1, `J1` is J1."""
    parts = path.split("/")
    while len(parts) > 1 and parts[-1].lower() in _WORDS:
        parts.pop()
    return "/".join(parts)


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
    if other == path or not (home in (group, path) or group.startswith(f"{home}/") or not home):
        return False
    parts = [part for part in name.lower().split("_") if part]
    split = {part for part in _parts(other) if part in _SPLITS}
    if split != {part for part in _parts(path) if part in _SPLITS}:
        return False
    bare = "_".join(part for part in parts if part not in _SPLITS)
    after = "_".join(part for part in parts if part not in _SPLITS and part not in _parts(own))  # image_band: band
    return any(word in (bare, bare.removesuffix("s"), after) for word in words if word)


def _listed(paths: Iterable[str], kept: Mapping[str, Kept]) -> str:
    paths = list(paths)
    more = f" and {len(paths) - _SHOWN:,} more" if len(paths) > _SHOWN else ""
    return ", ".join(f"{path} {kept[path].shape}" for path in paths[:_SHOWN]) + more


def _about_planes(stacks: list[Stack], kept: Mapping[str, Kept]) -> list[str]:
    """What the planes of images are, and whether rows are taken where columns may be."""
    notes: list[str] = []
    unnamed: dict[int, list[str]] = {}
    for stack in stacks:
        whole = kept[stack.path].shape
        shape = whole if stack.n is None else whole[1:]
        planes = 1 if len(shape) < 3 else shape[2] if planes_are_last(shape) else shape[0]
        if stack.bands is not None and stack.n is not None:
            said = f"the array {stack.path} has {planes} bands, named by {stack.bands}"
            notes.append(f"{said}: {BANDS_ARE_CHOSEN}")
        elif stack.bands is None and planes not in _USUAL:
            unnamed.setdefault(planes, []).append(stack.path)
        if stack.n is not None and len(whole) == 3 and whole[0] == whole[1] != whole[2]:
            notes.append(
                f"the array {stack.path} {whole} is taken as {whole[0]} images of {whole[2]} x {whole[1]} pixels: if "
                f"it is {whole[2]} images of {whole[1]} x {whole[0]}, save it with their axis first"
            )
    for planes, paths in unnamed.items():
        shown = f"the array {paths[0]} has" if len(paths) == 1 else f"{len(paths):,} arrays such as {paths[0]} have"
        notes.append(f"{shown} {planes} planes without names: say which in `source.bands`, from 1")
    return notes


def _about_others(stacks: list[Stack], numbers: Mapping[str, Kept], beside: Mapping[str, Kept]) -> list[str]:
    """Which arrays that may hold images are not taken."""
    used = {path for stack in stacks for path in stack if isinstance(path, str)}
    rows = {stack.n for stack in stacks if stack.n is not None}
    left = [
        path
        for path, one in numbers.items()
        if path not in used
        and path not in beside
        and _may_hold_images(one)
        and not (len(one.shape) == 2 and one.shape[0] in rows)  # values of each image
    ]
    notes = []
    if stacks and left:
        notes.append(f"not taken, though they may be images too: {_listed(left, numbers)}; call `images` what is meant")
    if beside:
        said = f"not taken, since their names are those of {NOT_IMAGES}: {_listed(beside, numbers)}"
        notes.append(f"{said}; call `images` what is meant")
    return notes


def _about_labels(stacks: list[Stack], kept: Mapping[str, Kept]) -> list[str]:
    """Which arrays may be classes and say nothing: called as classes are, or of one axis beside an array of images."""
    if not stacks or all(stack.labels is not None for stack in stacks):
        return []
    used = {path for stack in stacks for path in stack if isinstance(path, str)}
    many, rows = stacks[0].n is not None, {stack.n for stack in stacks}
    groups = {stack.path for stack in stacks} if many else {""}
    left = [
        path
        for path, one in kept.items()
        if path not in used
        and (
            any(says(group or f"{path.rpartition('/')[0]}/", path, LABELS) for group in groups)
            or (many and (len(one.shape) == 1 or (len(one.shape) == 2 and one.shape[0] in rows)))
        )
    ]
    if not left:
        return []
    return [
        f"no array gives all images a class; {_listed(left, kept)} is not used. Classes are a value each, or one of "
        f"several columns that is 1, in an array called {', '.join(LABELS)}"
    ]
