"""Files and folders that are whole or absent.

Belongs here: the one way every room writes a file that another process may read or a kill may interrupt, and the same
for a folder. Does not belong here: what is written.
"""

import os
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a hidden file name beside `path`; when the block ends well, flush it to disk and rename it to `path`.

    A process killed inside the block leaves `path` as it was.

    Parameters
    ----------
    path : Path
        The file to write; its folder is made.

    Yields
    ------
    Path
        The hidden file, to be written inside the block.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{uuid.uuid4().hex}.partial")
    try:
        yield partial
        with partial.open("rb") as written:
            os.fsync(written.fileno())
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


@contextmanager
def new_folder(path: Path) -> Iterator[Path]:
    """Yield a hidden folder beside `path`; when the block ends well, rename it to `path`.

    Parameters
    ----------
    path : Path
        The folder to make; the folder it lies in is made too.

    Yields
    ------
    Path
        The hidden folder, to be filled inside the block.

    Raises
    ------
    FileExistsError
        Where `path` exists already and is no empty folder.
    """
    if path.exists() and (not path.is_dir() or any(path.iterdir())):
        raise FileExistsError(f"{path}: there already and not empty; name a folder that is new or empty")
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{uuid.uuid4().hex}.partial")
    partial.mkdir()
    try:
        yield partial
        partial.rename(path)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
