"""The index of a large survey's similarity search: its galaxies in the order of cells, in one file.

    lake/<survey>/similarity/<start weights>/<stamp of the features>.safetensors

A search reads the cells nearest to its examples and leaves to the rule of `science.neighbours` what rounding could hide
among them. What it may miss is a neighbour in a cell that is not read: how many cells are read is fitted to one sample
of the survey, and how many of the exact neighbours are found is measured on another and kept in the file.

Belongs here: making this file, and reading candidates from it. Does not belong here: cells (`science.cells`).
"""

import json
import os
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa

from galaxy_assets.science.cells import (
    SAMPLE_PER_CELL,
    ExactNeighbours,
    apart,
    cells_of,
    cells_to_read,
    fit_cells,
    number_of_cells,
)
from galaxy_assets.science.galaxy_ids import padded
from galaxy_assets.science.neighbours import most_similar_in_turn
from galaxy_assets.settings.printing import logger
from galaxy_assets.storage.files import DamagedFile, replacing
from galaxy_assets.storage.in_turn import rows_in
from galaxy_assets.storage.layout import Layout
from galaxy_assets.storage.locks import held
from galaxy_assets.storage.provenance import damaged_otherwise
from galaxy_assets.storage.store import store_of
from galaxy_assets.storage.tables import column_to_vectors, opened_table
from galaxy_assets.storage.versions import stamp

log = logger(__name__)

MOST_NEIGHBOURS = 64
"""Answers for which the number of cells is fitted; for more, all cells are read."""
_WANTED = 0.995  # of these neighbours, in the sample that the number of cells is fitted to
_SAMPLE = 128  # galaxies that it is fitted to, and as many on which the recall is measured
_BLOCK = 32_768  # galaxies read at once
_WRITTEN = 131_072  # galaxies put into their places at once: the more, the longer the runs of those that follow others
_KEPT = 2048  # candidates that are held before those that are too far are dropped
_HEADER = 4096  # bytes before the arrays
_TYPES = {"I64": np.dtype("<i8"), "F32": np.dtype("<f4"), "U8": np.dtype("u1")}


def feature_blocks(files: Sequence[Path], rows: int = _BLOCK) -> Iterator[tuple[pa.Array, np.ndarray]]:
    """The galaxies of files of `pca_features`, block by block.

    Parameters
    ----------
    files : sequence of Path
    rows : int
        Of a block, at most.

    Yields
    ------
    ids : pyarrow.Array
        Strings (n,).
    features : ndarray of shape (n, D), float32
    """
    for file in files:
        with opened_table(file) as opened:
            for batch in opened.iter_batches(rows, columns=["galaxy_id", "vector"]):
                yield batch["galaxy_id"], column_to_vectors(pa.chunked_array([batch["vector"]]))


@dataclass(frozen=True)
class SimilarityIndex:
    """An index that is ready to be searched, by several threads at once.

    Attributes
    ----------
    path : Path
        Its file.
    galaxies : int
    probes : int
        Cells that a search reads.
    recall : float
        Share of the exact neighbours that it finds, measured on a sample.
    neighbours : int
        Of how many neighbours.
    centres : ndarray of shape (K, D), float32
        Of the cells.
    starts : ndarray of shape (K + 1,), int64
        The first galaxy of each cell.
    largest : ndarray of shape (K,), float32
        The largest square of a galaxy's features in each cell.
    arrays : dict
        Name -> type, shape and offset in the file.
    """

    path: Path
    galaxies: int
    probes: int
    recall: float
    neighbours: int
    centres: np.ndarray
    starts: np.ndarray
    largest: np.ndarray
    arrays: dict[str, tuple[np.dtype, tuple[int, ...], int]]

    def map(self, name: str) -> np.memmap:
        """An array of the file, mapped."""
        kind, shape, offset = self.arrays[name]
        if name == "ids":
            kind, shape = np.dtype(f"S{shape[1]}"), shape[:1]
        return np.memmap(self.path, kind, "r", offset, shape)

    def vectors_of(self, ids: Sequence[str]) -> dict[str, np.ndarray]:
        """Features (D,) of those of the galaxies that the index has, by id."""
        names, order = self.map("ids"), self.map("order")
        wanted = {galaxy: name for galaxy in ids if 0 < len(name := galaxy.encode()) <= names.dtype.itemsize}
        at = np.searchsorted(names, np.array([*wanted.values()], names.dtype), sorter=order)
        rows = [(galaxy, int(order[i])) for galaxy, i in zip(wanted, at, strict=True) if i < len(order)]
        terms = self.map("terms")
        return {galaxy: np.array(terms[row, :-1]) for galaxy, row in rows if names[row] == wanted[galaxy]}

    def candidates(self, examples: np.ndarray, count: int, *, exact: bool = False) -> tuple[np.ndarray, np.ndarray]:
        """Galaxies among which are those nearest to each example, as far as the cells that are read hold them.

        Parameters
        ----------
        examples : ndarray of shape (Q, D), float32
        count : int
            How many are nearest; examples of the survey count as well.
        exact : bool
            Read all cells.

        Returns
        -------
        ids : ndarray of shape (C,), str
        features : ndarray of shape (C, D), float32
        """
        sizes = np.diff(self.starts)
        distance = apart(examples, self.centres)
        cells = np.argsort(distance.min(axis=0))
        if not exact and count <= MOST_NEIGHBOURS + len(examples):
            near = np.unique(np.argpartition(distance, self.probes - 1, axis=1)[:, : self.probes])
            read = cells[np.isin(cells, near)]
            cells = read if sizes[read].sum() >= count else cells
        kept = _Kept(np.asarray(examples, np.float32), count)
        buffer = np.empty((int(sizes.max()), self.centres.shape[1] + 1), np.float32)
        _, _, offset = self.arrays["terms"]
        with damaged_otherwise(self.path), self.path.open("rb", buffering=0) as file:
            for cell in cells[sizes[cells] > 0]:
                part, first = buffer[: sizes[cell]], int(self.starts[cell])
                if os.preadv(file.fileno(), [part.data.cast("B")], offset + first * part.strides[0]) != part.nbytes:
                    raise ValueError("it ends too early")
                kept.look(first, part, float(self.largest[cell]))
            rows, features = kept.best()
        names = self.map("ids")
        return np.array([names[row].decode() for row in rows], object), features

    def nearest(
        self, examples: np.ndarray, neighbours: int, own: Collection[str], *, exact: bool = False
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """The galaxies nearest to any of several examples, by the rule of `science.neighbours`.

        Parameters
        ----------
        examples : ndarray of shape (Q, D), float32
        neighbours : int
            How many to return.
        own : collection of str
            Examples that are galaxies of the survey; they are no answers.
        exact : bool
            Read all cells.

        Returns
        -------
        ids, distances, examples : ndarray
            As `most_similar_in_turn` returns them.
        """
        blocks = [self.candidates(examples, neighbours + len(own), exact=exact)]
        return most_similar_in_turn(blocks, examples, neighbours, own)


class _Kept:
    """Galaxies that may be among the nearest, while cells are read; equal distances and rounding hide none."""

    def __init__(self, examples: np.ndarray, count: int):
        self._coefficients = np.hstack([-2 * examples, np.ones((len(examples), 1), np.float32)])
        self._norms = np.einsum("ij,ij->i", examples, examples)[:, None]
        # as in `SimilaritySearch`: what rounding to float32 can add, as a part of |x|^2 + |e|^2
        self._rounding = np.float32(4 * (examples.shape[1] + 4) * np.finfo(np.float32).eps / 2)
        self._count, self._limit = count, np.full((len(examples), 1), np.inf, np.float32)
        self._rows, self._features = [np.empty(0, np.int64)], [np.empty((0, examples.shape[1]), np.float32)]
        self._least = [np.empty((len(examples), 0), np.float32)]
        self._most = [np.empty((len(examples), 0), np.float32)]
        self._held = 0

    def look(self, first: int, terms: np.ndarray, largest: float) -> None:
        """Look at galaxies `first` and on: their features and, last, the square of these, (n, D + 1)."""
        below = self._coefficients @ terms.T
        slack = self._rounding * (self._norms + largest)
        hits = np.flatnonzero((below - slack <= self._limit).any(axis=0))
        if not len(hits):
            return
        self._rows.append(first + hits)
        self._features.append(terms[hits, :-1])
        self._least.append(below[:, hits] - slack)
        self._most.append(below[:, hits] + slack)
        self._held += len(hits)
        if self._held > _KEPT:
            self._drop()

    def _drop(self) -> None:
        """Drop what is farther than so many others from every example."""
        rows, features = np.concatenate(self._rows), np.concatenate(self._features)
        least, most = np.concatenate(self._least, axis=1), np.concatenate(self._most, axis=1)
        if len(rows) > self._count:
            self._limit = np.partition(most, self._count - 1, axis=1)[:, [self._count - 1]]
            near = np.flatnonzero((least <= self._limit).any(axis=0))
            rows, features, least, most = rows[near], features[near], least[:, near], most[:, near]
        self._rows, self._features, self._least, self._most = [rows], [features], [least], [most]
        self._held = len(rows)

    def best(self) -> tuple[np.ndarray, np.ndarray]:
        """Rows (C,) and features (C, D) of what is left."""
        self._drop()
        return self._rows[0], self._features[0]


def index_path(layout: Layout, survey: str, start: str, files: Sequence[Path]) -> Path:
    """File of the index of these features, whether it is there or not.

    Parameters
    ----------
    layout : Layout
    survey : str
        Its name.
    start : str
        Start weights.
    files : sequence of Path
        Of `pca_features`: other content has another index.

    Returns
    -------
    Path
    """
    return layout.lake / survey / "similarity" / start / f"{stamp(sorted(files))}.safetensors"


def open_index(path: Path) -> SimilarityIndex | None:
    """Open an index.

    Parameters
    ----------
    path : Path

    Returns
    -------
    SimilarityIndex or None
        None where there is no such file.

    Raises
    ------
    DamagedFile
        Where it is not what was written.
    """
    store_of(path).local(path)
    if not path.exists():
        return None
    with damaged_otherwise(path), path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        told = json.loads(file.read(min(length, _HEADER)))
        said = told.pop("__metadata__")
        arrays = {
            name: (_TYPES[one["dtype"]], tuple(one["shape"]), 8 + length + one["data_offsets"][0])
            for name, one in told.items()
        }
        if path.stat().st_size != max(8 + length + one["data_offsets"][1] for one in told.values()):
            raise ValueError("it has not the length that it says")
        small = {}
        for name in ("starts", "centres", "largest"):
            kind, shape, offset = arrays[name]
            file.seek(offset)
            small[name] = np.frombuffer(file.read(kind.itemsize * int(np.prod(shape))), kind).reshape(shape)
        numbers = {name: int(said[name]) for name in ("galaxies", "probes", "neighbours")}
        return SimilarityIndex(path, recall=float(said["recall"]), arrays=arrays, **numbers, **small)


def make_index(path: Path, files: Sequence[Path], *, neighbours: int, seed: int = 0) -> SimilarityIndex:
    """Make the index of features, if it is not there, and remove those of earlier ones.

    Memory is some 50 bytes for each galaxy. The features are read three times.

    Parameters
    ----------
    path : Path
        From `index_path`.
    files : sequence of Path
        Of `pca_features`, with two galaxies at least.
    neighbours : int
        Of how many the recall is measured.
    seed : int
        Of the samples.

    Returns
    -------
    SimilarityIndex
    """
    with held(path.parent / ".lock"):
        try:
            known = open_index(path)
        except DamagedFile as error:
            log.warning("%s: it is made anew", error.words)
            known = None
        if known is None:
            with replacing(path) as partial:
                _write(partial, files, neighbours, seed)
            known = open_index(path)
            assert known is not None
        others = [other for other in path.parent.glob("[!.]*.safetensors") if other != path]
        for other in sorted(others, key=lambda other: other.stat().st_mtime)[:-1]:  # the last may be open elsewhere
            store_of(other).remove(other)
    return known


def _write(partial: Path, files: Sequence[Path], neighbours: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    n = rows_in(files)
    count, asked = number_of_cells(n), min(_SAMPLE, n // 2)
    chosen = np.sort(rng.choice(n, min(n, SAMPLE_PER_CELL * count), replace=False))
    queries = rng.choice(n, 2 * asked, replace=False)
    sample, asking, width = _gathered(files, chosen, queries)
    log.info("similarity index of %s galaxies: fitting %s cells", f"{n:,}", f"{count:,}")
    centres = fit_cells(sample, count, seed)
    exact = ExactNeighbours(asking, queries, min(max(MOST_NEIGHBOURS, neighbours), n - 1))
    cell, first = np.empty(n, np.int32), 0
    for _, features in feature_blocks(files):
        cell[first : first + len(features)] = cells_of(features, centres)
        exact.look(first, features)
        first += len(features)
    near = exact.rows()
    rank = np.argsort(np.argsort(apart(asking, centres), axis=1), axis=1)
    ranks = np.take_along_axis(rank, cell[near], axis=1)
    probes = cells_to_read(ranks[:asked], _WANTED)
    place = np.empty(n, np.int64)
    place[np.argsort(cell, kind="stable")] = np.arange(n)
    starts = np.concatenate([[0], np.bincount(cell, minlength=count).cumsum()])
    writer = _Writer(partial, n, width, centres, starts)
    writer.galaxies(files, place, cell)
    told = {"galaxies": n, "probes": probes, "neighbours": neighbours, "recall": 0.0}
    writer.header(told)
    index = open_index(partial)
    assert index is not None
    nearest = place[near[asked:, :neighbours]]
    writer.header(told | {"recall": _recall(index, asking[asked:], place[queries[asked:]], nearest)})


def _gathered(files: Sequence[Path], *wanted: np.ndarray) -> tuple[np.ndarray, np.ndarray, int]:
    """Features of the galaxies at two sets of rows, and bytes of the longest id."""
    import pyarrow.compute as pc

    parts: list[np.ndarray | None] = [None, None]
    first, width = 0, 1
    for ids, features in feature_blocks(files):
        width = max(width, pc.max(pc.binary_length(ids)).as_py() or 0)
        for i, rows in enumerate(wanted):
            gathered = parts[i]
            if gathered is None:
                gathered = parts[i] = np.empty((len(rows), features.shape[1]), np.float32)
            here = np.flatnonzero((rows >= first) & (rows < first + len(features)))
            gathered[here] = features[rows[here] - first]
        first += len(features)
    sample, queries = parts
    assert sample is not None and queries is not None
    return sample, queries, width


def _recall(index: SimilarityIndex, examples: np.ndarray, own: np.ndarray, nearest: np.ndarray) -> float:
    """Share of the exact neighbours, given as galaxies of the index, that a search finds."""
    names, terms, found = index.map("ids"), index.map("terms"), 0
    for example, row, others in zip(examples, own, nearest, strict=True):
        _, distances, _ = index.nearest(example[None], len(others), [names[row].decode()])
        apart = np.linalg.norm(terms[others, :-1].astype(np.float64) - example, axis=1)
        found += int((distances <= apart.max() * (1 + 1e-9)).sum())  # of equally near ones any will do
    return found / nearest.size


class _Writer:
    """The file while it is written, galaxy by galaxy into its place."""

    def __init__(self, path: Path, n: int, width: int, centres: np.ndarray, starts: np.ndarray):
        self._path, self._centres, self._starts = path, centres, starts.astype("<i8")
        d, count = centres.shape[1], len(centres)
        shapes: list[tuple[str, str, tuple[int, ...]]] = [
            ("order", "I64", (n,)),
            ("starts", "I64", (count + 1,)),
            ("centres", "F32", (count, d)),
            ("largest", "F32", (count,)),
            ("terms", "F32", (n, d + 1)),
            ("ids", "U8", (n, width)),
        ]
        self._arrays, end = {}, 0
        for name, kind, shape in shapes:
            size = _TYPES[kind].itemsize * int(np.prod(shape))
            self._arrays[name] = {"dtype": kind, "shape": list(shape), "data_offsets": [end, end + size]}
            end += size

    def header(self, told: dict[str, float]) -> None:
        """Write what the file holds and what is told of it; the rest is left as it is."""
        text = json.dumps({"__metadata__": {name: str(value) for name, value in told.items()}, **self._arrays})
        with self._path.open("r+b" if self._path.exists() else "wb") as file:
            file.write((_HEADER - 8).to_bytes(8, "little") + text.ljust(_HEADER - 8).encode())

    def galaxies(self, files: Sequence[Path], place: np.ndarray, cell: np.ndarray) -> None:
        """Write the galaxies, each into its place, and the arrays about them."""
        largest, width = np.zeros(len(self._centres), np.float32), self._arrays["ids"]["shape"][1]
        self.header({})
        first = 0
        with self._path.open("r+b", buffering=0) as file:
            for ids, features in feature_blocks(files, _WRITTEN):
                rows = slice(first, first + len(ids))
                order = np.argsort(place[rows], kind="stable")
                norms = np.einsum("ij,ij->i", features.astype(np.float64), features).astype(np.float32)
                np.maximum.at(largest, cell[rows], norms)
                names = padded(ids, width)
                to = place[rows][order]
                self._put_rows(file.fileno(), "terms", to, np.column_stack([features, norms])[order])
                self._put_rows(file.fileno(), "ids", to, names[order])
                first += len(ids)
            for name, array in {"starts": self._starts, "centres": self._centres, "largest": largest}.items():
                self._put(file.fileno(), name, 0, array)
            offset = _HEADER + self._arrays["ids"]["data_offsets"][0]
            names = np.memmap(self._path, f"S{width}", "r", offset, (len(place),))
            self._put(file.fileno(), "order", 0, np.argsort(names, kind="stable").astype("<i8"))

    def _put_rows(self, file: int, name: str, places: np.ndarray, rows: np.ndarray) -> None:
        """Write rows (n, ...) to rising places, those that follow each other at once."""
        cuts = np.flatnonzero(np.diff(places) != 1) + 1
        for begin, end in zip([0, *cuts.tolist()], [*cuts.tolist(), len(places)], strict=True):
            self._put(file, name, int(places[begin]), rows[begin:end])

    def _put(self, file: int, name: str, row: int, values: np.ndarray) -> None:
        start = _HEADER + self._arrays[name]["data_offsets"][0] + row * (values.nbytes // max(1, len(values)))
        data = np.ascontiguousarray(values).view(np.uint8).data.cast("B")
        while len(data):
            written = os.pwrite(file, data, start)
            data, start = data[written:], start + written
