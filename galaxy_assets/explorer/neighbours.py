"""More galaxies like an uploaded image, for the page: what reads or embeds a file, in a process of its own.

Belongs here: calling what needs torch or decodes unknown bytes apart from the server. Does not belong here: the search
(`lake.similar`), what a person uploads (`gallery_panel`).
"""

import asyncio
import multiprocessing
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

from galaxy_assets.lake.similar import Near, similar


def like_image(root: Path, survey: str, file: Path, count: int) -> Near:
    """The galaxies most like an image file, through the survey's cutout step and checkpoint.

    It loads torch: call it by `apart`.

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
    Exception
        What `lake.similar.similar` raises.
    """
    table = similar(survey, files=[file], neighbours=count, root=root)
    return Near(*(table[c].to_pylist() for c in ("neighbour_id", "distance", "query_id")))


async def apart(function: Callable[..., Any], *arguments: Any) -> Any:
    """Call a function in a process of its own, which ends with it.

    What it loads does not stay in the server's memory, and an image that crashes a decoder does not end the page.

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
    """
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        return await asyncio.wrap_future(pool.submit(function, *arguments))
