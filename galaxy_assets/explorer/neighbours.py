"""More galaxies like these, for the page: the search of `galaxy_assets.lake.similar` in little memory.

Belongs here: reading features in blocks, and the search by an image in a process of its own. Does not belong here: the
rule (`science.neighbours`), what a person uploads (`server`).
"""

import asyncio
import multiprocessing
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from galaxy_assets.lake.similar import similar
from galaxy_assets.science.neighbours import most_similar
from galaxy_assets.storage.layout import Layout
from galaxy_assets.storage.tables import column_to_vectors

_BLOCK = 32_768


class Near(NamedTuple):
    """Answers, nearest first: their ids, distances in feature space, and the example each is nearest to."""

    ids: list[str]
    distances: list[float]
    examples: list[str]


def like(layout: Layout, survey: str, start: str, ids: Sequence[str], count: int) -> Near:
    """The galaxies most like any of these, by the features of one start weight; as `search.similar`, which reads all
    features at once.

    Raises ValueError where one of them has no features, FileNotFoundError where the survey has none.
    """
    files = sorted((layout.lake / survey / "pca_features").glob(f"[!.]*/{start}.parquet"))
    if not files:
        raise FileNotFoundError(f"{survey} has no features of {start} start weights yet: `galaxy-assets run {survey}`")
    wanted, vectors = sorted(set(ids)), {}
    for names, block in _blocks(files):
        for row in np.flatnonzero(np.isin(names, wanted)):
            vectors[names[row]] = block[row]
    if missing := [name for name in wanted if name not in vectors]:
        raise ValueError(f"{', '.join(missing)}: no clean galaxy of {survey}, so without features to compare")
    examples = np.stack([vectors[name] for name in wanted])
    best: list[tuple[float, str, int]] = []
    for names, block in _blocks(files):
        own = np.flatnonzero(np.isin(names, wanted))
        rows, distances, nearest = most_similar(block, names, examples, count, own)
        best += zip(distances.tolist(), names[rows].tolist(), nearest.tolist(), strict=True)
        best = sorted(best)[:count]
    pa.default_memory_pool().release_unused()
    return Near([b[1] for b in best], [b[0] for b in best], [wanted[b[2]] for b in best])


def _blocks(files: Sequence[Path]):
    for file in files:
        for batch in pq.ParquetFile(file).iter_batches(_BLOCK, columns=["galaxy_id", "vector"]):
            table = pa.Table.from_batches([batch])
            yield table["galaxy_id"].to_numpy().astype(str).astype(object), column_to_vectors(table["vector"])


def like_image(root: Path, survey: str, file: Path, count: int) -> Near:
    """The galaxies most like an image file, through the survey's cutout step and checkpoint. Raises what
    `search.similar` does. It loads torch: call it by `apart`."""
    table = similar(survey, files=[file], neighbours=count, root=root)
    return Near(*(table[c].to_pylist() for c in ("neighbour_id", "distance", "query_id")))


async def apart(function: Callable[..., Any], *arguments: Any) -> Any:
    """Call a function in a process of its own, which ends with it: what it loads does not stay in the server's memory,
    and an image that brings a decoder down does not take the page with it."""
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        return await asyncio.wrap_future(pool.submit(function, *arguments))
