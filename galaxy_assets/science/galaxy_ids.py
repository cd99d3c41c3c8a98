"""Ids of galaxies as Arrow keeps them: looked up and taken by row, without a Python string for each galaxy of a survey.

Belongs here: finding galaxies among ids. Does not belong here: tables (`storage.tables`), which galaxies are drawn
(`samples`).
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa

_KNOWN = 1_000_000  # ids that others are looked up in at once


class Ids:
    """Ids that are indexed as an array of strings is, where a few of many are asked for.

    Parameters
    ----------
    ids : pyarrow.Array or pyarrow.ChunkedArray
        Strings (N,).

    Examples
    --------
    >>> import numpy as np
    >>> import pyarrow as pa
    >>> from galaxy_assets.science.galaxy_ids import Ids
    >>> ids = Ids(pa.array(["a", "b", "c"]))
    >>> len(ids), ids[1], ids[np.array([2, 0])].tolist()
    (3, 'b', ['c', 'a'])
    """

    def __init__(self, ids: pa.Array | pa.ChunkedArray):
        self.arrow = ids

    def __len__(self) -> int:
        return len(self.arrow)

    def __getitem__(self, rows: Any) -> Any:
        if np.ndim(rows) == 0:
            return self.arrow[int(rows)].as_py()
        return self.arrow.take(pa.array(rows)).to_numpy(zero_copy_only=False)


def as_arrow(ids: "Ids | np.ndarray | pa.Array | pa.ChunkedArray | Sequence[str]") -> pa.Array | pa.ChunkedArray:
    """Ids in whatever form, as Arrow keeps them."""
    ids = ids.arrow if isinstance(ids, Ids) else ids
    return ids if isinstance(ids, (pa.Array, pa.ChunkedArray)) else pa.array(ids, pa.string())


def places(ids: pa.Array | pa.ChunkedArray, galaxies: pa.Array | pa.ChunkedArray) -> np.ndarray:
    """Where galaxies stand among ids.

    Parameters
    ----------
    ids : pyarrow.Array or pyarrow.ChunkedArray
        Ids (N,) to be looked through.
    galaxies : pyarrow.Array or pyarrow.ChunkedArray
        Ids (n,) to be found, each as often as you like.

    Returns
    -------
    numpy.ndarray
        (n,) int64: the place of the first such id, -1 where there is none.
    """
    import pyarrow.compute as pc

    # looked up in what is wanted: a table of all ids would be built for each call
    galaxies = galaxies.cast(ids.type)  # none at all may have no type
    wanted = pc.unique(galaxies)
    which = pc.index_in(ids, value_set=wanted).fill_null(-1).to_numpy()
    found = np.flatnonzero(which >= 0)[::-1]  # backwards: of several the first is written last
    first = np.full(len(wanted), -1, np.int64)
    first[which[found]] = found
    return first[pc.index_in(galaxies, value_set=wanted).to_numpy()]


def places_among(known: pa.Array | pa.ChunkedArray, galaxies: pa.Array | pa.ChunkedArray) -> np.ndarray:
    """Where many galaxies stand among known ones; of few, `places` takes less memory.

    A table of a million known ones is built at a time: one of ten million takes 1.5 GB.

    Parameters
    ----------
    known : pyarrow.Array or pyarrow.ChunkedArray
        Ids (N,), each once.
    galaxies : pyarrow.Array or pyarrow.ChunkedArray
        Ids (n,) to be found among them.

    Returns
    -------
    numpy.ndarray
        (n,) int32, -1 where there is none.
    """
    import pyarrow.compute as pc

    found, left = np.full(len(galaxies), -1, np.int32), np.arange(len(galaxies), dtype=np.int32)
    for begin in range(0, len(known), _KNOWN):
        some = known.slice(begin, _KNOWN)
        some = some.combine_chunks() if isinstance(some, pa.ChunkedArray) else some
        at = pc.index_in(galaxies, value_set=some.cast(galaxies.type)).fill_null(-1).to_numpy()
        here = at >= 0
        found[left[here]] = begin + at[here]
        left, galaxies = left[~here], galaxies.filter(pa.array(~here))
    return found


def padded(ids: pa.Array, width: int) -> np.ndarray:
    """Ids as UTF-8 of one length, filled up with zeros.

    Parameters
    ----------
    ids : pyarrow.Array
        Strings (N,), without nulls.
    width : int
        Bytes, at least those of the longest.

    Returns
    -------
    numpy.ndarray
        (N,) of type `S{width}`.

    Examples
    --------
    >>> import pyarrow as pa
    >>> padded(pa.array(["J1", "J10"]), 3).tolist()
    [b'J1', b'J10']
    """
    text, ends = letters(ids)
    filled = np.zeros((len(ids), width), np.uint8)
    filled[np.arange(width) < np.diff(ends)[:, None]] = text
    return filled.view(f"S{width}").ravel()


def letters(ids: pa.Array) -> tuple[np.ndarray, np.ndarray]:
    """All ids as UTF-8, one after the other.

    Parameters
    ----------
    ids : pyarrow.Array
        Strings (N,), without nulls.

    Returns
    -------
    text : numpy.ndarray of uint8
    ends : numpy.ndarray of int64
        (N + 1,), where each begins, and where the last one ends.

    Examples
    --------
    >>> import pyarrow as pa
    >>> text, ends = letters(pa.array(["J1", "J10"]))
    >>> bytes(text), ends.tolist()
    (b'J1J10', [0, 2, 5])
    """
    ids = ids.cast(pa.large_binary())
    _, offsets, data = ids.buffers()
    ends = np.frombuffer(offsets, np.int64)[ids.offset : ids.offset + len(ids) + 1]
    return np.frombuffer(data or b"", np.uint8)[ends[0] : ends[-1]], ends - ends[0]
