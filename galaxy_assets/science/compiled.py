"""A folder for what numba compiles, where a user has no home folder that may be written.

UMAP's functions are compiled on their first use and kept beside their modules or in the user's cache. In a container
that runs as a number that is nobody's, neither may be written, and importing UMAP fails.

Belongs here: that folder. Does not belong here: what is compiled (`projection`).
"""

import atexit
import importlib.util
import os
import shutil
import sys
import tempfile
from pathlib import Path

FOLDER = "NUMBA_CACHE_DIR"


def have_place() -> None:
    """Give numba a folder of this process before UMAP is imported, unless it finds one, or a person named one."""
    if os.environ.get(FOLDER) or all(map(_writable, _beside())) or _writable(_of_user()):
        return
    folder = tempfile.mkdtemp(prefix="galaxy_assets_compiled_")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    os.environ[FOLDER] = folder
    if "numba" in sys.modules:
        sys.modules["numba"].config.CACHE_DIR = folder


def _beside() -> list[Path]:
    found = [importlib.util.find_spec(name) for name in ("umap", "pynndescent")]
    return [Path(spec.origin).with_name("__pycache__") for spec in found if spec is not None and spec.origin]


def _of_user() -> Path:
    caches = "~/Library/Caches" if sys.platform == "darwin" else os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(os.path.expanduser(caches), "numba")  # noqa: PTH111  stays `~` where there is no home


def _writable(folder: Path) -> bool:
    if folder.parts[0] == "~":
        return False
    try:
        folder.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=folder).close()
    except OSError:
        return False
    return True
