"""The deliveries in a survey's folder: which there are, whether each is whole, and the images in it.

    <top>/*.png                                 the delivery `images`
    <top>/<name>/**/*.png                       a folder
    <top>/<name>.zip, .tar, .tgz, .parquet      an archive, see `archives`
    <top>/<folder or file>.manifest.csv         the files it must have; or `manifest.csv` in it
    <survey>/.spool/<name>-<snapshot>.tar       of an archive that cannot be read by seeking, its plain tar
    <survey>/.spool/<name>-<snapshot>.damaged   or why there can be none

Belongs here: finding deliveries, and what is in them. Does not belong here: the verdict on one (`delivery`), the files
of a folder (`listing`), the inside of archives (`archives`), ids and catalogues (`readers`), and what becomes of a
delivery (`automation`).
"""

import itertools
import logging
import os
import re
import threading
import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

from galaxy_assets.deliveries import manifests
from galaxy_assets.deliveries.archives import (
    SUFFIXES,
    DamagedArchive,
    TarArchive,
    ZipArchive,
    count_images,
    is_compressed,
    kind_of,
    spool,
)
from galaxy_assets.deliveries.delivery import (
    LOOSE,
    Delivery,
    Found,
    Kind,
    batch_name,
    changed_at,
    digest,
    signature,
    verdict,
)
from galaxy_assets.deliveries.images import UnreadableImage, inside, read_file
from galaxy_assets.deliveries.listing import HIDDEN, PARTIAL, is_folder, is_image, listing_of
from galaxy_assets.deliveries.manifests import Manifest, ManifestError, Promise, composed, read_manifest
from galaxy_assets.deliveries.suffixes import FOREIGN
from galaxy_assets.settings.files import SurveyError
from galaxy_assets.storage.files import replacing

log = logging.getLogger(__name__)

_NAME = re.compile(r"[A-Za-z0-9_.-]+")
_IN_ARCHIVE = re.compile(r"(.+?\.(?:zip|tar|tar\.gz|tgz|tar\.bz2|tar\.xz|parquet))!/(.+)", re.IGNORECASE | re.DOTALL)


class Image(NamedTuple):
    """One image of a delivery: `file` as in the catalogue, and what a manifest says of it (`promise`)."""

    file: str
    promise: Promise


class _Place(NamedTuple):
    """Where a delivery may lie: an archive or a folder; of loose images, the subfolders that belong to them."""

    name: str
    kind: Kind
    path: Path
    subfolders: tuple[str, ...] | None = None

    @property
    def manifest(self) -> Path:
        return self.path.with_name(f"{self.path.name}.{manifests.NAME}")


class _Contents(NamedTuple):
    """The images that are taken, the manifest that says so, and what is wrong."""

    images: list[str]
    manifest: Manifest | None
    flaw: str | None


class _Inside(NamedTuple):
    """What an archive holds, in short."""

    images: int | None
    manifest: bool
    flaw: str | None


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
    tables : Collection of Path
        Files that the survey reads as tables.
    """

    def __init__(
        self,
        folder: Path,
        top: Path,
        suffixes: tuple[str, ...],
        batch_of: Callable[[Path], str | None],
        tables: Collection[Path] = (),
    ):
        self.folder, self.top, self.suffixes = folder, top, suffixes
        self._batch_of = batch_of
        self._tables = {path.resolve() for path in tables}
        self._open: dict[Path, tuple[str, ZipArchive | TarArchive]] = {}
        self._opening = threading.Lock()

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
            judged = [one for place in places if (one := self._judge(place, quiet, now)) is not None]
            found += judged[:1]
            for other in judged[1:]:
                reason = f"{judged[0].path} is the delivery {name} already; take one of them away, or rename it"
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
        now = time.time()
        for place in self._places():
            if place.name == name and (judged := self._judge(place, 0, now)) is not None:
                if judged.state != "whole":
                    raise SurveyError(f"{self.folder / judged.path}: {judged.reason}")
                return self._images(place, judged.path)
        known = ", ".join(one.name for one in self.all() if one.state == "whole")
        raise SurveyError(f"{self.folder}: no delivery {name!r}; there are {known or 'none'}")

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
            return self._archive(self.folder / match[1]).read(match[2])
        return read_file(inside(self.folder, file))

    def _images(self, place: _Place, path: str) -> list[Image]:
        if place.kind == "folder":
            listing = listing_of(place.path, place.subfolders, self.suffixes, time.time())
            for link in listing.links:
                log.warning("%s: a link to a folder is not followed; copy the folder in", place.path / link)
            home, sizes = "" if path == "." else f"{path}/", listing.sizes
            contents = _contents(place, self.suffixes, sizes, lambda name: read_file(place.path / name))
        else:
            archive = self._archive(place.path)
            home, sizes = f"{path}!/", archive.sizes
            contents = _contents(place, self.suffixes, sizes, archive.read)
        if contents.flaw is not None:  # shows only now if the archive had to be decompressed
            raise SurveyError(f"{self.folder / path}: {contents.flaw}")
        self._say_what_is_passed_over(place, sizes, contents)
        said = contents.manifest.files if contents.manifest is not None else {}
        images = [Image(_text(home + name), said.get(composed(name), Promise())) for name in contents.images]
        return sorted(images, key=lambda image: image.file)

    def _say_what_is_passed_over(self, place: _Place, names: Collection[str], contents: _Contents) -> None:
        images = [name for name in names if is_image(name, self.suffixes)]
        foreign = [name for name in names if is_image(name, FOREIGN) and not name.lower().endswith(self.suffixes)]
        if foreign:
            log.warning("%s: passed over %d images that are not %s", place.path, len(foreign), "/".join(self.suffixes))
        if contents.manifest is not None and (n := len(images) - len(contents.images)):
            log.warning(
                "%s: %d images are not taken, since %s does not name them", place.path, n, contents.manifest.where
            )

    def _places(self) -> list[_Place]:
        """Where deliveries may lie, sorted by the name they would have, then by their own."""
        loose, places = [], []
        try:
            with os.scandir(self.top) as entries:
                names = sorted(e.name for e in entries if is_folder(e) or e.name.lower().endswith(tuple(SUFFIXES)))
        except OSError as error:
            raise SurveyError(f"{self.top}: cannot be read: {error.strerror}; correct its permissions") from error
        for path in (self.top / name for name in names if not HIDDEN.search(name)):
            if path.name.lower().endswith(PARTIAL):
                continue
            if (kind := kind_of(path.name)) is not None and path.is_file():
                if path.resolve() not in self._tables:
                    places.append(_Place(batch_name(kind[0]), kind[1], path))
            elif path.is_dir() and (batch := self._batch_of(path)) is not None:
                if batch == LOOSE:
                    loose.append(path.name)
                else:
                    places.append(_Place(batch, "folder", path))
        return sorted([_Place(LOOSE, "folder", self.top, tuple(loose)), *places], key=lambda place: place.name)

    def _judge(self, place: _Place, quiet: float, now: float) -> Delivery | None:
        """What is to be said of the delivery at a place; None if there is none."""
        try:
            found = (self._in_folder if place.kind == "folder" else self._in_archive)(place, now)
        except OSError as error:
            flaw = f"cannot be read: {error.strerror}; correct its permissions"
            found = Found(None, 0, now, [], flaw=flaw)
        if found is None:
            return None
        if not _NAME.fullmatch(place.name):
            found.flaw = f"rename the {place.kind} with letters, digits and _-. only"
        return verdict(place.name, place.kind, place.path.relative_to(self.folder).as_posix(), found, quiet, now)

    def _in_folder(self, place: _Place, now: float) -> Found | None:
        listing = listing_of(place.path, place.subfolders, self.suffixes, now)
        contents = _contents(place, self.suffixes, listing.sizes, lambda name: read_file(place.path / name))
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

    def _in_archive(self, place: _Place, now: float) -> Found | None:
        given = [path for path in (place.path, place.manifest) if path.is_file()]
        signed = [signature(path) for path in given]
        found = Found(None, place.path.stat().st_size, max(changed_at(path.stat(), now) for path in given), signed)
        # what `fetch` keeps beside its folder is no second delivery, and none at all before the folder is there
        if place.path.with_name(f".{place.path.name}.json").exists() and place.path.with_suffix("").is_dir():
            return None
        unpacking = place.path.with_name(f".{place.path.stem}.partial")
        found.partial = unpacking.name if unpacking.exists() else None
        try:
            inside(self.folder, str(place.path.relative_to(self.folder)))
            spooled = self._spooled(place.path)
        except (UnreadableImage, DamagedArchive) as error:
            found.flaw = str(error)
            return found
        made = [spooled, _note(spooled)] if spooled is not None else []
        looked_at = given + [path for path in made if path.exists()]
        states = tuple(f"{signature(path)}\0{path.stat().st_ctime_ns}" for path in looked_at)
        within = _look_inside(place, self.suffixes, spooled, states)
        if within is None:
            return None
        found.images, found.manifest, found.flaw = within
        return found

    def _spooled(self, archive: Path) -> Path | None:
        """Where the plain tar of an archive is, or would be; None for an archive that is read as it is.

        Raises DamagedArchive if it cannot be opened.
        """
        stem, kind = kind_of(archive.name) or (archive.name, "tar")
        if kind == "zip" or (kind == "tar" and not is_compressed(archive)):
            return None
        return self.folder / ".spool" / f"{batch_name(stem)}-{digest([signature(archive)])}.tar"

    def _archive(self, path: Path) -> ZipArchive | TarArchive:
        """An archive, opened once until it changes; what cannot be read by seeking is made a plain tar before."""
        with self._opening:
            try:
                state = signature(path)
                if path not in self._open or self._open[path][0] != state:
                    self._open[path] = state, self._opened(path)
                return self._open[path][1]
            except DamagedArchive as error:
                raise SurveyError(f"{path}: {error}") from error
            except OSError as error:
                remedy = "correct the permissions"
                raise SurveyError(
                    f"{path}: cannot be read, or spooled beside it: {error.strerror}; {remedy}"
                ) from error

    def _opened(self, path: Path) -> ZipArchive | TarArchive:
        stem, kind = kind_of(path.name) or (path.name, "tar")
        spooled = self._spooled(path)
        if spooled is None:
            return ZipArchive(path) if kind == "zip" else TarArchive(path)
        if not spooled.exists():
            log.info("%s: written as a plain tar to %s", path, spooled)
            spooled.parent.mkdir(exist_ok=True)
            of_this = re.compile(re.escape(batch_name(stem)) + r"-[0-9a-f]{16}\.(tar|damaged)")
            for other in list(spooled.parent.iterdir()):
                if of_this.fullmatch(other.name) and other != spooled:  # another process may just have written it
                    other.unlink(missing_ok=True)
            try:
                spool(path, kind, spooled, self.suffixes)
            except DamagedArchive as error:
                with replacing(_note(spooled)) as partial:  # so that nobody tries again what cannot succeed
                    partial.write_text(str(error), encoding="utf-8")
                raise
        return TarArchive(spooled)


@lru_cache(maxsize=1024)  # sensors ask often; the states make it look again at what has changed
def _look_inside(
    place: _Place, suffixes: tuple[str, ...], spooled: Path | None, states: tuple[str, ...]
) -> _Inside | None:
    """What an archive holds, without reading or decompressing all of it; None if it is a table without images."""
    nothing = f"holds no {'/'.join(suffixes)} images; pack these, or take it away"
    try:
        images = count_images(place.path) if place.kind == "parquet" else None
        if place.kind == "parquet" and images is None:
            return None
        if spooled is None:
            archive = ZipArchive(place.path) if place.kind == "zip" else TarArchive(place.path)
        elif spooled.exists():
            archive = TarArchive(spooled)
        else:
            note = _note(spooled)
            flaw = note.read_text(encoding="utf-8") if note.exists() else None
            return _Inside(images, False, nothing if images == 0 else flaw)
    except DamagedArchive as error:
        return _Inside(None, False, str(error))
    contents = _contents(place, suffixes, archive.sizes, archive.read)
    flaw = contents.flaw or (None if contents.images else nothing)
    return _Inside(len(contents.images), contents.manifest is not None, flaw)


def _contents(
    place: _Place, suffixes: tuple[str, ...], sizes: Mapping[str, int], read: Callable[[str], bytes]
) -> _Contents:
    """The images of a delivery that holds files of these sizes, as its manifest has them if there is one."""
    images = [name for name in sizes if is_image(name, suffixes)]
    try:
        manifest = _manifest(place, sizes, read)
    except (ManifestError, UnreadableImage, OSError) as error:
        return _Contents(images, None, str(error))
    if manifest is None:
        return _Contents(images, None, None)
    taken = [name for name in images if composed(name) in manifest.files]
    return _Contents(taken, manifest, manifest.flaw(sizes))


def _manifest(place: _Place, names: Collection[str], read: Callable[[str], bytes]) -> Manifest | None:
    """The manifest in a delivery, also where an archive has one folder around all it holds; else the one beside it."""
    homes = {name.partition("/")[0] for name in names if not HIDDEN.search(name)} if place.kind != "folder" else set()
    for home in ("", *(f"{home}/" for home in homes if len(homes) == 1)):
        if home + manifests.NAME in names:
            return read_manifest(read(home + manifests.NAME), home + manifests.NAME, home)
    if place.subfolders is None and place.manifest.is_file():
        return read_manifest(read_file(place.manifest), place.manifest.name)
    return None


def _note(spooled: Path) -> Path:
    return spooled.with_suffix(".damaged")


def _text(name: str) -> str:
    """A name that is not UTF-8 cannot be stored; it becomes a row whose file is not found."""
    return os.fsencode(name).decode("utf-8", errors="replace")
