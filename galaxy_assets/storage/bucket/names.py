"""Which files of a data folder are in its bucket, and under which name.

Belongs here: names of heads and of objects. Does not belong here: what lies under them (`heads`, `contents`).
"""

import re
from pathlib import Path, PurePosixPath

_KEPT = ("lake", "labels", "surveys", "weights", "figures")
"""Folders below the data folder that are in the bucket."""
_CONTENT = re.compile(rf"data/(?:galaxy|(?:{'|'.join(_KEPT)})/.+)/[0-9a-f]{{32}}(?:\.[^/]*)?", re.DOTALL)
_CHUNK = re.compile(r"chunks/lake/.+/[0-9a-f]{32}/\d{9}\.(?:parquet|npy)", re.DOTALL)
"""Keys of what is written once; whatever else lies in the bucket is somebody else's."""
_HIDDEN = (".withdrawn", ".damaged")
"""Hidden folders that are in it too."""
BY_HAND = ("labels/", "surveys/", "weights/")
"""Folders in which people put files."""
DERIVED = ("galaxy.duckdb", "figures/index.html")
"""Files that are made of others: of two writers the later one's stays."""
_LARGE = (".parquet", ".npy", ".safetensors", ".pt", ".png", ".pdf")
"""Kinds of files that are fetched when they are read; others are small, or read by libraries, and fetched at once."""


def name_of(path: Path, root: Path) -> str | None:
    """Name of the head of a file or folder; None where it stays on this machine."""
    parts = path.relative_to(root).parts if path.is_relative_to(root) else ()
    if (whole := "/".join(parts)) in DERIVED:
        return whole
    if len(parts) < 2 or parts[0] not in _KEPT:
        return None
    if any(part.startswith(".") and part not in _HIDDEN for part in parts):
        return None
    return whole if unit_of(path, root) == whole else None


def unit_of(path: Path, root: Path) -> str | None:
    """Name of the head that a path belongs to: the pixels of a batch have one together."""
    if not path.is_relative_to(root):
        return None
    parts = path.relative_to(root).parts
    if parts[:1] == ("lake",) and "pixels" in parts[2:4]:
        parts = parts[: parts.index("pixels") + 2]
    return "/".join(parts)


def is_large(name: str) -> bool:
    """Whether it is fetched when it is read, and may go again: a large file, or the pixels of a batch."""
    path = PurePosixPath(name)
    return path.parts[0] != "weights" and (path.suffix in _LARGE or path.parent.name == "pixels")


def is_ours(key: str) -> bool:
    """Whether an object can be one that was written here."""
    return bool(_CONTENT.fullmatch(key) or _CHUNK.fullmatch(key))
