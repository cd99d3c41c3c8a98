"""The deliveries in a survey's folder: which there are, whether each is whole, and the images in it.

    <top>/*.png                                 the delivery `images`
    <top>/<name>/**/*.png                       a folder
    <top>/<name>.zip, .tgz, .parquet, .h5       an archive, see `opening`
    <top>/<folder or file>.manifest.csv         the files it must have; or `manifest.csv` in it

Belongs here: finding deliveries, and what is in them. Does not belong here: the verdict on one (`delivery`), the files
of a folder (`listing`), which of them are taken (`places`), archives (`opening`) and their plain tars (`spools`), ids
and catalogues (`readers`), and what becomes of a delivery (`automation`).
"""

import itertools
import os
import re
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from galaxy_assets.deliveries import manifests
from galaxy_assets.deliveries.archives import damaged
from galaxy_assets.deliveries.arrays import without_images
from galaxy_assets.deliveries.beside import notes_beside
from galaxy_assets.deliveries.delivery import (
    LOOSE,
    Delivery,
    Found,
    Kind,
    batch_name,
    changed_at,
    signature,
    verdict,
)
from galaxy_assets.deliveries.images import UnreadableImage, inside, inside_or_none, read_file
from galaxy_assets.deliveries.listing import HIDDEN, PARTIAL, Listing, is_folder, is_image, listing_of
from galaxy_assets.deliveries.manifests import Promise, composed
from galaxy_assets.deliveries.members import DamagedArchive, Said
from galaxy_assets.deliveries.memory import MEMORY
from galaxy_assets.deliveries.opening import Archives, may_be_archive, notes_of, parts_of
from galaxy_assets.deliveries.places import Contents, Place, contents_of, look_inside, order_of
from galaxy_assets.deliveries.spools import note_of
from galaxy_assets.deliveries.suffixes import ARCHIVES, FOREIGN
from galaxy_assets.settings.files import SurveyError
from galaxy_assets.settings.limits import MAXIMUM_BYTES
from galaxy_assets.settings.printing import logger

log = logger(__name__)

_IN_ARCHIVE = re.compile(rf"(.+?(?:{'|'.join(map(re.escape, ARCHIVES))}))!/(.+)", re.IGNORECASE | re.DOTALL)


class Image(NamedTuple):
    """One image of a delivery: `file` as in the catalogue, and what a manifest and its container say of it."""

    file: str
    promise: Promise
    said: Said = Said()

    @property
    def called(self) -> str:
        """The file's name for `ids`: where a container names the image, with that in place of the member's name."""
        archive = self.file.partition("!/")[0]
        return self.file if self.said.name is None else f"{archive}!/{self.said.name}"


class Deliveries:
    """The deliveries in one survey's folder. Safe to use from several threads.

    Parameters
    ----------
    folder : Path
        The survey's; catalogues name files relative to it.
    top : Path
        The folder in which the deliveries lie.
    suffixes : tuple of str
        Of images.
    batch_of : callable
        Gives the name of the delivery that a subfolder of `top` is: LOOSE if it goes with the loose images, None if it
        is no delivery.
    bands : sequence of str or int, optional
        The survey's `source.bands`, see `image_arrays.is_stack`.
    """

    def __init__(
        self,
        folder: Path,
        top: Path,
        suffixes: tuple[str, ...],
        batch_of: Callable[[Path], str | None],
        bands: Sequence[str | int] | None = None,
    ):
        self.folder, self.top, self.suffixes = folder, top, suffixes
        self._batch_of, self._bands = batch_of, bands
        self._tables: set[Path] = set()
        self._seen: dict[str, Place] = {}
        self._archives = Archives(folder, suffixes)

    def spool_in(self, data: Path) -> None:
        """Where to write plain tars of archives if the survey's folder may not be written."""
        self._archives.spool_in(data)

    def leave_out(self, table: Path) -> None:
        """Take no image from a file, whatever it holds."""
        self._tables |= {table.absolute(), table.resolve()}

    def notes(self) -> list[str]:
        """What a person should know of the archives and containers in the folder: what is not taken of them, and why.

        Returns
        -------
        list of str
            A sentence each, with the file's name before it.
        """
        files = [path for path in self._files_of_archives() if path.resolve() not in self._tables]
        taken = [path for path in files if not _is_array(path) or self._may_be_archive(path) is not None]
        said = [(path, note) for path in taken for note in notes_of(path)]
        if ".npy" in self.suffixes:
            beside = without_images(filter(_is_array, files), self._bands)
            said += [(path, note) for path, note in beside.items() if note is not None]
        for place in self._places():
            if place.kind == "folder":
                sizes = self._listing(place, time.time()).sizes
                found = contents_of(place, self.suffixes, sizes, lambda name, place=place: read_file(place.path / name))
                said += [(place.path, note) for note in notes_beside(found.beside)]
        return [f"{path.relative_to(self.folder)}: {note}" for path, note in said]

    def all(self, quiet: float = 0) -> list[Delivery]:
        """Every delivery, sorted by name; see `plugins.protocols.Reader.deliveries`.

        Parameters
        ----------
        quiet : float
            Seconds for which nothing in a delivery without a manifest may have changed before it counts as whole.

        Returns
        -------
        list of Delivery
        """
        now, found = time.time(), []
        for name, places in itertools.groupby(self._places(), key=lambda place: place.name):
            judged = [(place, one) for place in places if (one := self._judge(place, quiet, now)) is not None]
            for place, first in judged[:1]:
                self._seen[name] = place
                found.append(first)
            for _, other in judged[1:]:
                reason = f"{judged[0][1].path} is the delivery {name} already; take one of them away, or rename it"
                found.append(replace(other, state="held", reason=reason))
        return found

    def images(self, name: str) -> list[Image]:
        """The images of a delivery, sorted by file; the log says what is passed over.

        Parameters
        ----------
        name : str
            Of the delivery.

        Returns
        -------
        list of Image

        Raises
        ------
        SurveyError
            If there is no such delivery or it is not whole; says why.
        """
        return self._images(*self._whole(name))

    def files(self, name: str) -> dict[str, Path]:
        """The files of a whole delivery, by their name in it: its images, or the archive, and its manifest."""
        place, inner = self._whole(name)
        home = self.folder / inner
        parts = [path.relative_to(self.folder).as_posix() for path in parts_of(home)]
        named = [image.file for image in self._images(place, inner)] if place.kind == "folder" else parts
        # a link that leads out is no file of it: its image is a row with that reason
        found = {file.removeprefix(f"{inner}/"): at for file in named if (at := inside_or_none(self.folder, file))}
        beside = (home / manifests.NAME, home.with_name(f"{home.name}.{manifests.NAME}"))
        return found | {path.name: path for path in beside if path.is_file()}

    def _whole(self, name: str) -> tuple[Place, str]:
        """Where a whole delivery lies, and its path relative to the folder; SurveyError for any other."""
        now = time.time()
        for place in self._may_be(name):
            if (judged := self._judge(place, 0, now)) is not None:
                if judged.state != "whole":
                    raise SurveyError(f"{self.folder / judged.path}: {judged.reason}")
                return place, judged.path
        known = ", ".join(one.name for one in self.all() if one.state == "whole")
        raise SurveyError(f"{self.folder}: no delivery {name!r}; there are {known or 'none'}")

    def _may_be(self, name: str) -> Iterator[Place]:
        """Where a delivery may lie: where it was seen, since of thousands each is asked for; then all other places."""
        if (seen := self._seen.get(name)) is not None and seen.subfolders is None and seen.path.exists():
            yield seen
        yield from (place for place in self._places() if place.name == name)

    def read(self, file: str) -> bytes:
        """The bytes of an image.

        Parameters
        ----------
        file : str
            As the catalogue has it.

        Returns
        -------
        bytes

        Raises
        ------
        UnreadableImage
            If it cannot be read.
        SurveyError
            If it is in an archive that was damaged since.
        """
        if (match := _IN_ARCHIVE.fullmatch(file)) and inside(self.folder, match[1]).is_file():
            return self._archives.open(self.folder / match[1]).read(match[2])
        return read_file(inside(self.folder, file))

    @contextmanager
    def content(self, file: str) -> Iterator[bytes]:
        """The bytes of an image for a block, as `read`; waits while all threads together hold too many (`memory`).

        Parameters
        ----------
        file : str
            As the catalogue has it.

        Yields
        ------
        bytes
        """
        with MEMORY.hold(self._size(file)):
            yield self.read(file)

    def _size(self, file: str) -> int:
        """Bytes of an image, 0 where there is none; raises UnreadableImage or SurveyError as `read` does."""
        if (match := _IN_ARCHIVE.fullmatch(file)) and inside(self.folder, match[1]).is_file():
            return min(self._archives.open(self.folder / match[1]).sizes.get(match[2], 0), MAXIMUM_BYTES)
        try:
            return min(inside(self.folder, file).stat().st_size, MAXIMUM_BYTES)
        except OSError:
            return 0  # `read` says why

    def _images(self, place: Place, path: str) -> list[Image]:
        if place.kind == "folder":
            listing = self._listing(place, time.time())
            for link in listing.links:
                log.warning("%s: a link to a folder is not followed; copy the folder in", place.path / link)
            home, sizes = "" if path == "." else f"{path}/", listing.sizes
            contents = contents_of(place, self.suffixes, sizes, lambda name: read_file(place.path / name))
            beside: Mapping[str, Said] = {}
        else:
            archive = self._archives.open(place.path)
            home, sizes = f"{path}!/", archive.sizes
            contents = contents_of(place, self.suffixes, sizes, archive.read)
            beside = archive.said(contents.images)
        if contents.flaw is not None:  # shows only now if the archive had to be decompressed
            raise SurveyError(f"{self.folder / path}: {contents.flaw}")
        self._say_what_is_passed_over(place, sizes, contents)
        promised = contents.manifest.files if contents.manifest is not None else {}
        images = [
            Image(_text(home + name), promised.get(composed(name), Promise()), beside.get(name, Said()))
            for name in contents.images
        ]
        return sorted(images, key=lambda image: image.file)

    def _say_what_is_passed_over(self, place: Place, names: Collection[str], contents: Contents) -> None:
        if place.kind != "folder":
            for note in notes_of(place.path):
                log.warning("%s: %s", place.path, note)
        else:
            for note in notes_beside(contents.beside):
                log.warning("%s: %s", place.path, note)
        images = [name for name in names if is_image(name, self.suffixes) and name not in contents.beside]
        foreign = [name for name in names if is_image(name, FOREIGN) and not name.lower().endswith(self.suffixes)]
        if foreign:
            log.warning("%s: passed over %d images that are not %s", place.path, len(foreign), "/".join(self.suffixes))
        if contents.manifest is not None and (n := len(images) - len(contents.images)):
            log.warning(
                "%s: %d images are not taken, since %s does not name them", place.path, n, contents.manifest.where
            )

    def _places(self) -> list[Place]:
        """Where deliveries may lie, sorted by the name they would have, then by their own."""
        loose, places = [], []
        for path in self._files_of_archives():
            if (kind := self._may_be_archive(path)) is not None and path.resolve() not in self._tables:
                places.append(Place(batch_name(kind[0]), kind[1], path))
        for path in self._entries():
            if path.is_dir() and (batch := self._batch_of(path)) is not None:
                if batch == LOOSE:
                    loose.append(path.name)
                else:
                    places.append(Place(batch, "folder", path))
        return sorted([Place(LOOSE, "folder", self.top, tuple(loose)), *places], key=order_of)

    def _entries(self) -> list[Path]:
        """Folders and files of archives' names in `top`, sorted by name."""
        try:
            with os.scandir(self.top) as entries:
                names = sorted(e.name for e in entries if is_folder(e) or e.name.lower().endswith(tuple(ARCHIVES)))
        except OSError as error:
            raise SurveyError(f"{self.top}: cannot be read: {error.strerror}; correct its permissions") from error
        found = [name for name in names if not HIDDEN.search(name) and not name.lower().endswith(PARTIAL)]
        return [self.top / name for name in found]

    def _files_of_archives(self) -> list[Path]:
        return [path for path in self._entries() if path.is_file()]

    def _may_be_archive(self, path: Path) -> tuple[str, Kind] | None:
        return may_be_archive(path, self.suffixes, self._bands)

    def _listing(self, place: Place, now: float) -> Listing:
        """The files of a folder without tables; of the loose ones without arrays that are deliveries, or no images."""
        listing = listing_of(place.path, place.subfolders, self.suffixes, now)
        homes = {place.path, place.path.resolve()}
        tables = [(path, home) for path in self._tables for home in homes if path.is_relative_to(home)]
        apart = {path.relative_to(home).as_posix() for path, home in tables}
        if place.subfolders is not None and ".npy" in self.suffixes:
            arrays = [place.path / name for name in listing.sizes if name.lower().endswith(".npy")]
            none = [*without_images(arrays, self._bands), *filter(self._may_be_archive, arrays)]
            apart |= {path.relative_to(place.path).as_posix() for path in none}
        for name in apart & listing.sizes.keys():
            del listing.sizes[name], listing.times[name]
        return listing

    def _judge(self, place: Place, quiet: float, now: float) -> Delivery | None:
        """What is to be said of the delivery at a place; None if there is none."""
        try:
            found = (self._in_folder if place.kind == "folder" else self._in_archive)(place, now)
        except OSError as error:
            flaw = f"cannot be read: {error.strerror}; correct its permissions"
            found = Found(None, 0, now, [], flaw=flaw)
        except Exception as error:  # whatever a stranger's file makes a library raise holds its delivery alone
            log.exception("%s cannot be judged", place.path)
            found = Found(None, 0, now, [], flaw=str(damaged(error)))
        if found is None:
            return None
        if place.name != batch_name(place.name):
            found.flaw = f"rename the {place.kind} with letters, digits and _-. only"
        return verdict(place.name, place.kind, place.path.relative_to(self.folder).as_posix(), found, quiet, now)

    def _in_folder(self, place: Place, now: float) -> Found | None:
        listing = self._listing(place, now)
        contents = contents_of(place, self.suffixes, listing.sizes, lambda name: read_file(place.path / name))
        beside = manifests.NAME not in listing.sizes and place.subfolders is None and place.manifest.is_file()
        promised = beside or manifests.NAME in listing.sizes
        if not contents.images and (place.subfolders is not None or not promised):
            return None
        signed = [f"{name}\0{listing.sizes[name]}\0{listing.times[name]}" for name in sorted(contents.images)]
        changed = listing.changed
        if beside:
            changed = max(changed, changed_at(place.manifest.stat(), now))
            signed.append(signature(place.manifest))
        elif promised:
            signed.append(signature(place.path / manifests.NAME))
        size = sum(listing.sizes[name] for name in contents.images)
        return Found(len(contents.images), size, changed, signed, promised, contents.flaw, listing.partial)

    def _in_archive(self, place: Place, now: float) -> Found | None:
        given = [path for path in (*parts_of(place.path), place.manifest) if path.is_file()]
        signed = [signature(path) for path in given]
        found = Found(None, place.path.stat().st_size, max(changed_at(path.stat(), now) for path in given), signed)
        # what `fetch` keeps beside its folder is no second delivery, and none at all before the folder is there
        if place.path.with_name(f".{place.path.name}.json").exists() and place.path.with_suffix("").is_dir():
            return None
        unpacking = place.path.with_name(f".{place.path.stem}.partial")
        found.partial = unpacking.name if unpacking.exists() else None
        try:
            inside(self.folder, str(place.path.relative_to(self.folder)))
            spooled = self._archives.spooled(place.path)
        except (UnreadableImage, DamagedArchive) as error:
            found.flaw = str(error)
            return found
        made = [spooled, note_of(spooled)] if spooled is not None else []
        looked_at = given + [path for path in made if path.exists()]
        states = tuple(f"{signature(path)}\0{path.stat().st_ctime_ns}" for path in looked_at)
        within = look_inside(place, self.suffixes, spooled, states)
        if within is None:
            return None
        found.images, found.manifest, found.flaw = within
        return found


def _is_array(path: Path) -> bool:
    return path.name.lower().endswith(".npy")


def _text(name: str) -> str:
    """A name that is not UTF-8 cannot be stored; it becomes a row whose file is not found."""
    return os.fsencode(name).decode("utf-8", errors="replace")
