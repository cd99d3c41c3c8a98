"""Deliveries of simulated images: batches drawn by several processes, each whole or absent, and tables as CSV.

Belongs here: folders, files and processes. Does not belong here: what is drawn, reading it (`deliveries.readers`).
"""

import csv
import math
import multiprocessing
import os
import tempfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np

from galaxy_assets.science.threads import usable_cores
from galaxy_assets.settings.printing import logger
from galaxy_assets.settings.progress import HowFar
from galaxy_assets.simulation.streams import PIXELS, generator

log = logger(__name__)

_CHUNK = 32  # images drawn at a time; fewer than two chunks are not worth the start of a second process


def split(n_images: int, batches: Sequence[str]) -> list[str]:
    """The batch of every image, in order; sizes differ by one at most.

    Parameters
    ----------
    n_images : int
        Images in all.
    batches : sequence of str
        Names of the batches.

    Returns
    -------
    list of str
        A batch for each image.

    Raises
    ------
    ValueError
        Where there are fewer images than batches, or no batches.
    """
    if not 0 < len(batches) <= n_images:
        raise ValueError(f"cannot spread {n_images} images over {len(batches)} batches; each batch needs one or more")
    sizes = [len(part) for part in np.array_split(np.arange(n_images), len(batches))]
    return [batch for batch, size in zip(batches, sizes, strict=True) for _ in range(size)]


def deliver(
    folder: Path,
    delivery: Sequence[str],
    files: Sequence[str],
    draw: Callable[[Any, np.random.Generator], np.ndarray],
    objects: Sequence[Any],
    seed: int,
    processes: int | None,
) -> None:
    """Draw the images of every batch that is absent.

    Image i, of `objects[i]`, is the file `<folder>/<delivery[i]>/<files[i]>`. A batch is drawn in a hidden folder
    beside its place and renamed when it is whole.

    Parameters
    ----------
    folder : Path
        Of the survey.
    delivery : sequence of str
        The batch of each image, as `split` makes them.
    files : sequence of str
        The file of each image, relative to its batch.
    draw : callable
        Called with an object and the random numbers of its pixels; returns uint8 pixels.
    objects : sequence
        What is drawn, for each image.
    seed : int
        Of the survey.
    processes : int or None
        How many draw; None takes as many as this process may use cores, and no more than there are images for.
    """
    folder.mkdir(parents=True, exist_ok=True)
    missing = [batch for batch in dict.fromkeys(delivery) if not (folder / batch).exists()]
    todo = sum(batch in missing for batch in delivery)
    if processes is None:
        processes = _processes(max((delivery.count(batch) for batch in missing), default=0))
    done = len(delivery) - todo
    far = HowFar(log, f"simulating {folder.name.lstrip('.')}", len(delivery), whole=True, before=done)
    with ExitStack() as stack:
        hidden = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix=".unfinished.", dir=folder)))
        apply: Callable[..., Iterable[int]] = map
        if processes > 1:
            # spawned and not forked: a fork of a process in which torch or Arrow run threads can hang
            context = multiprocessing.get_context("spawn")
            apply = stack.enter_context(ProcessPoolExecutor(processes, mp_context=context)).map
        for batch in missing:
            images = [(i, objects[i], hidden / batch / files[i]) for i, name in enumerate(delivery) if name == batch]
            size = min(_CHUNK, math.ceil(len(images) / processes))
            chunks = [(draw, seed, images[start : start + size]) for start in range(0, len(images), size)]
            for count in apply(_draw_chunk, chunks):
                done += count
                far.tell(done)
            (hidden / batch).rename(folder / batch)


def _processes(images: int) -> int:
    """How many gain by drawing the images of one batch."""
    return max(1, min(usable_cores(), images // _CHUNK))


def _draw_chunk(
    chunk: tuple[Callable[[Any, np.random.Generator], np.ndarray], int, list[tuple[int, Any, Path]]],
) -> int:
    from PIL import Image

    draw, seed, images = chunk
    for i, described, path in images:
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(draw(described, generator(seed, i, PIXELS))).save(path, compress_level=1)
    return len(images)


def write_table(path: Path, columns: Sequence[str], rows: Iterable[Mapping[str, object]]) -> None:
    """Write a CSV unless the file exists; cells without a value stay empty.

    Parameters
    ----------
    path : Path
        File to write, whole or not at all.
    columns : sequence of str
        The header.
    rows : iterable of mapping
        Column -> value.
    """
    if path.exists():
        return
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    with beside.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.DictWriter(stream, columns, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    beside.replace(path)
