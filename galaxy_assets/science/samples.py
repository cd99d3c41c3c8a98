"""A seeded sample of a survey's galaxies, which a model is fitted to where there are more than a stated number.

Belongs here: which galaxies are drawn. Does not belong here: how many (the settings), and what is fitted to them.

Each galaxy has a key that its id and the seed decide, and the smallest keys are drawn. So a sample depends neither on
the order of the galaxies nor on the deliveries they came with.
"""

import numpy as np
import pyarrow as pa

from galaxy_assets.science.galaxy_ids import letters

_AT_ONCE = 65_536  # ids whose bytes are in memory as numbers
_STEP = np.uint64(0x9E3779B97F4A7C15)  # of SplitMix64


def keys(ids: pa.Array | pa.ChunkedArray, seed: int) -> np.ndarray:
    """A number for each galaxy that looks like chance, the same wherever and whenever it is asked for.

    The bytes of an id are multiplied by a random number for each place and added up (Carter & Wegman 1979), and the
    sum goes through the last step of SplitMix64 (Steele et al. 2014).

    Parameters
    ----------
    ids : pyarrow.Array or pyarrow.ChunkedArray
        Strings (N,), without nulls.
    seed : int
        Another seed gives other keys.

    Returns
    -------
    ndarray of shape (N,), uint64
    """
    found, end = np.empty(len(ids), np.uint64), 0
    for chunk in ids.chunks if isinstance(ids, pa.ChunkedArray) else [ids]:
        for first in range(0, len(chunk), _AT_ONCE):
            some = chunk[first : first + _AT_ONCE]
            begin, end = end, end + len(some)
            found[begin:end] = _keys(some, seed)
    return found


def _keys(ids: pa.Array, seed: int) -> np.ndarray:
    text, ends = letters(ids)
    if not len(text):
        return _mixed(np.zeros(len(ids), np.uint64))
    text, lengths = text.astype(np.uint64), np.diff(ends)
    place = np.arange(len(text)) - np.repeat(ends[:-1], lengths)
    stream = _mixed(np.array([seed % 2**64], np.uint64) * _STEP)
    factors = _mixed(stream + np.arange(1, lengths.max() + 1, dtype=np.uint64) * _STEP)
    sums = np.concatenate([[np.uint64(0)], np.cumsum((text + np.uint64(1)) * factors[place])])
    return _mixed(sums[ends[1:]] - sums[ends[:-1]])


def _mixed(numbers: np.ndarray) -> np.ndarray:
    numbers = (numbers ^ (numbers >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    numbers = (numbers ^ (numbers >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return numbers ^ (numbers >> np.uint64(31))


def drawn(ids: pa.Array | pa.ChunkedArray, size: int, seed: int) -> np.ndarray | None:
    """Rows of a sample of the galaxies.

    Parameters
    ----------
    ids : pyarrow.Array or pyarrow.ChunkedArray
        Strings (N,).
    size : int
        How many are wanted.
    seed : int
        Of the sample.

    Returns
    -------
    ndarray of shape (size,), int64, or None
        As `smallest`; None where there are no more galaxies than that.
    """
    return None if len(ids) <= size else smallest(keys(ids, seed), size)


def smallest(keys: np.ndarray, size: int) -> np.ndarray:
    """Rows of the galaxies that are drawn: all in their order, or of more than `size` those with the smallest keys.

    Parameters
    ----------
    keys : ndarray of shape (N,), uint64
        See `keys`.
    size : int
        How many are wanted.

    Returns
    -------
    ndarray of shape (min(size, N),), int64
        By rising key where it is a sample: the same galaxies in the same order, whatever order they are given in.

    Examples
    --------
    >>> import pyarrow as pa
    >>> from galaxy_assets.science.samples import keys, smallest
    >>> ids = pa.array([f"J{i:04d}" for i in range(1000)])
    >>> sample = ids.take(pa.array(smallest(keys(ids, seed=0), 3)))
    >>> other = ids[::-1]
    >>> other.take(pa.array(smallest(keys(other, seed=0), 3))) == sample
    True
    """
    if len(keys) <= size:
        return np.arange(len(keys))
    rows = np.argpartition(keys, size)[:size]
    return rows[np.argsort(keys[rows], kind="stable")]
