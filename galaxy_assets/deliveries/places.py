"""A place where a delivery may lie, and which of its files are the images that are taken.

Belongs here: the images of a folder or an archive, with its manifest. Does not belong here: where the places are and
what is said of them (`drop`), and opening archives (`opening`).
"""

from collections.abc import Callable, Collection, Mapping
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

from galaxy_assets.deliveries import manifests
from galaxy_assets.deliveries.beside import files_beside
from galaxy_assets.deliveries.delivery import Kind
from galaxy_assets.deliveries.images import UnreadableImage, read_file
from galaxy_assets.deliveries.listing import HIDDEN, is_image
from galaxy_assets.deliveries.manifests import Manifest, ManifestError, composed, read_manifest
from galaxy_assets.deliveries.members import DamagedArchive
from galaxy_assets.deliveries.opening import ARRAYS, count_unspooled, kind_of, may_hold_images, opened
from galaxy_assets.deliveries.spools import ROWS, note_of


class Place(NamedTuple):
    """Where a delivery may lie: an archive or a folder; of loose images, the subfolders that belong to them."""

    name: str
    kind: Kind
    path: Path
    subfolders: tuple[str, ...] | None = None

    @property
    def stem(self) -> str:
        """Name of an archive without suffix."""
        return (kind_of(self.path.name) or (self.path.name, self.kind))[0]

    @property
    def manifest(self) -> Path:
        """Where its manifest may lie beside it."""
        return self.path.with_name(f"{self.path.name}.{manifests.NAME}")


def order_of(place: Place) -> tuple[str, str]:
    """By the delivery's name, then by that of the file or folder."""
    return place.name, place.path.name


class Contents(NamedTuple):
    """The images that are taken, the manifest that says so, what is wrong, and which files lie beside which image.

    A file that a manifest names is an image, whatever its name says of it; see `beside.files_beside`.
    """

    images: list[str]
    manifest: Manifest | None
    flaw: str | None
    beside: Mapping[str, str]


class Inside(NamedTuple):
    """What an archive holds, in short."""

    images: int | None
    manifest: bool
    flaw: str | None


@lru_cache(maxsize=65536)  # sensors ask often; the states make it look again at what has changed
def look_inside(
    place: Place, suffixes: tuple[str, ...], spooled: Path | None, states: tuple[str, ...]
) -> Inside | None:
    """What an archive holds, without reading or decompressing all of it; None if it is a table without images."""
    nothing = f"holds no {'/'.join(suffixes)} images; pack these, or take it away"
    try:
        if spooled is not None and not spooled.exists():
            if not may_hold_images(place.path, place.stem, place.kind):
                return None
            images, note = count_unspooled(place.path, place.stem, place.kind), note_of(spooled)
            flaw = note.read_text(encoding="utf-8") if note.exists() else None
            return Inside(images, False, nothing if images == 0 else flaw)
        archive = opened(place.path, place.stem, place.kind, spooled)
    except DamagedArchive as error:
        return Inside(None, False, str(error))
    if not archive.sizes and place.kind in ARRAYS:
        return None
    contents = contents_of(place, suffixes, archive.sizes, archive.read)
    flaw = contents.flaw or (None if contents.images else nothing)
    return Inside(len(contents.images), contents.manifest is not None, flaw)


def contents_of(
    place: Place, suffixes: tuple[str, ...], sizes: Mapping[str, int], read: Callable[[str], bytes]
) -> Contents:
    """The images of a delivery that holds files of these sizes, as its manifest has them if there is one."""
    named = [name for name in sizes if is_image(name, suffixes)]
    beside = {} if place.kind in ROWS else files_beside(named)
    images = [name for name in named if name not in beside]
    try:
        manifest = _manifest(place, sizes, read)
    except (ManifestError, UnreadableImage, OSError) as error:
        return Contents(images, None, str(error), beside)
    if manifest is None:
        return Contents(images, None, None, beside)
    taken = [name for name in named if composed(name) in manifest.files]
    beside = {name: image for name, image in beside.items() if composed(name) not in manifest.files}
    return Contents(taken, manifest, manifest.flaw(sizes), beside)


def _manifest(place: Place, names: Collection[str], read: Callable[[str], bytes]) -> Manifest | None:
    """The manifest in a delivery, also where an archive has one folder around all it holds; else the one beside it."""
    homes = {name.partition("/")[0] for name in names if not HIDDEN.search(name)} if place.kind != "folder" else set()
    for home in ("", *(f"{home}/" for home in homes if len(homes) == 1)):
        if home + manifests.NAME in names:
            return read_manifest(read(home + manifests.NAME), home + manifests.NAME, home)
    if place.subfolders is None and place.manifest.is_file():
        return read_manifest(read_file(place.manifest), place.manifest.name)
    return None
