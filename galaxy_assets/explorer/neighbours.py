"""More galaxies like an uploaded image, for the page: what reads or embeds a file, in a process of its own.

Belongs here: calling what needs torch or decodes unknown bytes apart from the server. Does not belong here: the search
(`lake.similar`), what a person uploads (`gallery_panel`).
"""

import asyncio
import multiprocessing
import time
from collections.abc import Callable
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from typing import Any

import numpy as np
import psutil

from galaxy_assets.deliveries.images import UnreadableImage
from galaxy_assets.lake.similar import Near, near_pixels, open_survey, pixels_of
from galaxy_assets.settings.printing import PrintableError

MEMORY_TO_DECODE = 90_000_000
"""Bytes that decoding an uploaded image may add to its process; an image of 4 million pixels fits."""
_SECONDS_TO_DECODE = 30.0
_LOOK = 0.01  # seconds between two looks at that process


class Unanswered(PrintableError):
    """A process that ended before it answered; the message says what to do."""


async def like_image(root: Path, survey: str, file: Path, count: int) -> Near:
    """The galaxies most like an image file, through the survey's cutout step and checkpoint.

    A process of its own decodes the file, watched, and then loads torch.

    Parameters
    ----------
    root : Path
        The data folder.
    survey : str
    file : Path
    count : int
        Galaxies to return.

    Returns
    -------
    Near

    Raises
    ------
    UnreadableImage
        For the file, also where it takes too much memory or time.
    Unanswered
        Where the process ended without an answer.
    Exception
        What `lake.similar.near_pixels` raises.
    """
    with _one_process() as pool:
        before = await _answer(pool, _held)
        decoding = pool.submit(_pixels, root, survey, file)
        try:
            pixels = await asyncio.to_thread(_watched, pool, decoding, before + MEMORY_TO_DECODE)
        except BrokenProcessPool as error:
            words = f"{file}: decoding takes more than {MEMORY_TO_DECODE / 1e6:.0f} MB or {_SECONDS_TO_DECODE:.0f} s"
            raise UnreadableImage(f"{words}; give a smaller image", "too_large") from error
        return await _answer(pool, _near, root, survey, file.name, pixels, count)


def _held() -> int:
    """Bytes that this process holds."""
    return psutil.Process().memory_info().rss


def _pixels(root: Path, survey: str, file: Path) -> np.ndarray:
    return pixels_of(*open_survey(survey, root), [file])


def _near(root: Path, survey: str, name: str, pixels: np.ndarray, count: int) -> Near:
    return near_pixels(*open_survey(survey, root), name, pixels, count)


def _watched(pool: ProcessPoolExecutor, decoding: Future, most: int) -> np.ndarray:
    """The answer of the pool's process, which is killed when it holds more than `most` bytes or takes too long."""
    end = time.monotonic() + _SECONDS_TO_DECODE
    processes = [psutil.Process(pid) for pid in pool._processes]
    while not decoding.done():
        for process in processes:
            try:
                if process.memory_info().rss > most or time.monotonic() > end:
                    process.kill()
            except psutil.NoSuchProcess:
                continue  # the future says it
        time.sleep(_LOOK)
    return decoding.result()


def _one_process() -> ProcessPoolExecutor:
    return ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn"))


async def apart(function: Callable[..., Any], *arguments: Any) -> Any:
    """Call a function in a process of its own, which ends with it.

    What it loads does not stay in the server's memory.

    Parameters
    ----------
    function : callable
        Can be pickled, with its arguments.
    *arguments
        Of the function.

    Returns
    -------
    object
        What the function returns.

    Raises
    ------
    Unanswered
        Where the process ended without an answer.
    Exception
        What the function raises.
    """
    with _one_process() as pool:
        return await _answer(pool, function, *arguments)


async def _answer(pool: ProcessPoolExecutor, function: Callable[..., Any], *arguments: Any) -> Any:
    try:
        return await asyncio.wrap_future(pool.submit(function, *arguments))
    except BrokenProcessPool as error:
        raise Unanswered(
            "the process that was to answer ended before it did, as one does that the system stops when memory runs "
            "out; try again, or with fewer galaxies"
        ) from error
