"""Pixels of several batches as one array-like, mapped file by file when they are asked for.

Belongs here: gathering rows across maps. Does not belong here: the files and their filling (`pixels`).
"""

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from galaxy_assets.storage.provenance import damaged_otherwise
from galaxy_assets.storage.store import store_of


def map_pixels(path: Path) -> np.memmap:
    """A file of pixels as a memory map; in a bucket it is fetched.

    Parameters
    ----------
    path : Path
        A .npy file.

    Returns
    -------
    numpy.memmap

    Raises
    ------
    DamagedFile
        Where it is no such file, or shorter than it says.
    """
    store_of(path).local(path)
    with damaged_otherwise(path):
        return np.lib.format.open_memmap(path, mode="r")


class Part:
    """The pixels of one batch. Safe to use from several threads.

    Parameters
    ----------
    shape : tuple of int
        Of the array.
    open_map : callable
        Gives its map; called once, when it is first asked for.
    """

    def __init__(self, shape: tuple[int, ...], open_map: Callable[[], np.memmap]):
        self.shape, self._open_map = shape, open_map
        self._map: np.memmap | None = None
        self._mutex = threading.Lock()

    def __len__(self) -> int:
        return self.shape[0]

    @property
    def pixels(self) -> np.memmap:
        """The map."""
        with self._mutex:  # of several threads that ask for one batch, one fetches it
            if self._map is None:
                self._map = self._open_map()
            return self._map


def part_of(pixels: np.memmap) -> Part:
    """A part that is mapped already.

    Parameters
    ----------
    pixels : numpy.memmap

    Returns
    -------
    Part
    """
    return Part(pixels.shape, lambda: pixels)


@dataclass(frozen=True)
class PixelStack:
    """Memory maps end to end: `stack[indices]` gathers uint8 (len(indices), size, size, channels)."""

    parts: tuple[Part, ...]

    def __reduce__(self) -> tuple:
        """Name the files, so that another process maps the same ones instead of being sent the pixels."""
        return _map, ([str(part.pixels.filename) for part in self.parts],)

    def __len__(self) -> int:
        """Cutouts in all parts together."""
        return sum(map(len, self.parts))

    @property
    def shape(self) -> tuple[int, ...]:
        """(N, size, size, channels) of all parts together."""
        return (len(self), *self.parts[0].shape[1:])

    def __getitem__(self, indices: np.ndarray) -> np.ndarray:
        """Gather rows: uint8 (len(indices), size, size, channels)."""
        indices = np.asarray(indices)
        starts = np.cumsum([0, *map(len, self.parts)])
        part = np.searchsorted(starts, indices, side="right") - 1
        out = np.empty((len(indices), *self.shape[1:]), np.uint8)
        for i in np.unique(part):
            out[part == i] = self.parts[i].pixels[indices[part == i] - starts[i]]
        return out


def _map(paths: Sequence[str]) -> PixelStack:
    return PixelStack(tuple(part_of(map_pixels(Path(path))) for path in paths))
