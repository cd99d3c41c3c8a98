"""Reader of a folder of PNG, JPEG, TIFF, WebP, AVIF and NumPy images, with optional tables of labels and of volunteers.

    <path>/<images>/*.png              one delivery, `images`
    <path>/<images>/<batch>/**/*.png   each subfolder a delivery, named like it (`delivery.batch_name`)
    <path>/<images>/<batch>.zip        and each archive (`deliveries`)
    <path>/<labels>                    one row per image: how it is called (`ids`), class, position (`tables`); with
                                       `file_column` the name of its file, and an id beside it
    <path>/<votes>                     a table of the `campaign`, galaxies named like the images (`volunteers`)

Belongs here: the catalogue of images; the readers of other folder layouts build on it. Does not belong here: finding
them (`deliveries.drop`), what they are called (`deliveries.ids`) and decoding (`deliveries.images`).
"""

import hashlib
import json
import os
import re
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache, cached_property
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa

from galaxy_assets.deliveries import suffixes
from galaxy_assets.deliveries.delivery import Delivery, batch_name
from galaxy_assets.deliveries.drop import Deliveries, Image
from galaxy_assets.deliveries.ids import NamedImages, NamedRows, image_name, several_have, told_apart
from galaxy_assets.deliveries.images import UnreadableImage, check_size, decode, read_header, unreadable_otherwise
from galaxy_assets.deliveries.manifests import composed
from galaxy_assets.deliveries.members import is_no_class_folder
from galaxy_assets.deliveries.readers.catalogue import CATALOGUE_SCHEMA, LABELLED_SCHEMA, distinct_ids
from galaxy_assets.deliveries.readers.tables import Entry, LabelTable, ids_of, read_labels, read_table
from galaxy_assets.deliveries.readers.volunteers import read_votes
from galaxy_assets.settings.files import SurveyError
from galaxy_assets.settings.printing import logger, printable
from galaxy_assets.settings.progress import HowFar
from galaxy_assets.settings.source import Source

log = logger(__name__)


class Listed(NamedTuple):
    """An image of a delivery before it is opened: its id, what it is called, its file, and the table's row about it."""

    galaxy_id: str
    name: str
    image: Image
    entry: Entry | None


class ImageFolder:
    """Reader of `image_folder`; see the module and `plugins.protocols.Reader`."""

    suffixes: tuple[str, ...] = suffixes.IMAGES

    def __init__(self, source: Source, folder: Path):
        self.source = source
        self.folder = folder
        self._several: Collection[str] = ()
        if not folder.is_dir():
            raise SurveyError(
                f"{folder}: no such folder; expected {self.expected()}. "
                "Put the delivery there, or correct `source.path`"
            )
        self._found = Deliveries(folder, self.top(), self.suffixes, self.batch_of, source.bands)
        for table in self.tables():
            self.leave_out(table)

    def expected(self) -> str:
        """What the folder should hold, for error messages."""
        kinds = "/".join(self.suffixes)
        return f"{kinds} images in it, in {self.source.images}/ or in one subfolder or archive per delivery"

    def top(self) -> Path:
        """The folder whose subfolders and archives are the deliveries."""
        images = self.folder / self.source.images
        return images if images.is_dir() else self.folder

    def batch_of(self, subfolder: Path) -> str | None:
        """The delivery a subfolder of `top` belongs to; None if it is no delivery."""
        return batch_name(subfolder.name)

    def tables(self) -> list[Path]:
        """Files that are no deliveries, whatever they hold."""
        return [self.folder / name for name in (self.source.labels, self.source.votes) if name is not None]

    def size(self, data: bytes) -> tuple[int, int]:
        """Width and height in pixels from the header.

        Parameters
        ----------
        data : bytes
            The file's content.

        Returns
        -------
        width, height : int

        Raises
        ------
        UnreadableImage
            If it is no image.
        """
        return read_header(data, self.source)

    def position(self, name: str, data: bytes) -> tuple[float | None, float | None]:
        """Position on the sky of an image.

        Parameters
        ----------
        name : str
            The file's name without suffix.
        data : bytes
            The file's content.

        Returns
        -------
        ra, dec : float or None
            Right ascension and declination in degrees, None where unknown.
        """
        return None, None

    def decode(self, data: bytes) -> np.ndarray:
        """Pixels of an image's bytes.

        Parameters
        ----------
        data : bytes
            The file's content.

        Returns
        -------
        numpy.ndarray of shape (H, W) or (H, W, 3)

        Raises
        ------
        UnreadableImage
            If it cannot be decoded.
        """
        return decode(data, self.source)

    def spool_in(self, data: Path) -> None:
        """Where to write what cannot be read by seeking, if the survey's own folder may not be written."""
        self._found.spool_in(data)

    def leave_out(self, table: Path) -> None:
        """Take no image from a file, whatever it holds."""
        self._found.leave_out(table)

    def pass_over(self, several: Collection[str]) -> None:
        """Take no row of the table of labels for images with these ids unless it names their folders.

        Parameters
        ----------
        several : Collection of str
            Ids that are the name of an image of another delivery too.
        """
        self._several = several

    def notes(self) -> list[str]:
        """What is not taken of the archives and containers in the folder, and why."""
        return self._found.notes()

    def read(self, file: str) -> bytes:
        """The bytes of an image, by the catalogue's `file`; raises UnreadableImage."""
        return self._found.read(file)

    def image(self, file: str) -> np.ndarray:
        """Decode an image, by the catalogue's `file`."""
        with self._found.content(file) as data:
            return self.decode(data)

    def votes(self) -> pa.Table | None:
        """The volunteer table; None if the survey has none."""
        if self.source.votes is None:
            return None
        return read_votes(self.folder / self.source.votes, self.source.campaign)

    def deliveries(self, quiet: float = 0) -> list[Delivery]:
        """Every delivery, whole or not, sorted by name."""
        return self._found.all(quiet)

    def files(self, delivery: str) -> dict[str, Path]:
        """The files of a whole delivery, by their name in it."""
        return self._found.files(delivery)

    def batches(self) -> list[str]:
        """Names of the whole deliveries, sorted; SurveyError if there is none."""
        found = self.deliveries()
        if not found:
            passed_over = "; ".join(["", *self.notes()])
            raise SurveyError(
                f"{self.folder}: no images found; expected {self.expected()}. Put a delivery there{passed_over}"
            )
        waiting = [f"{one.path}: {one.reason}" for one in found if one.state != "whole"]
        if len(waiting) == len(found):
            raise SurveyError(f"{self.folder}: no delivery is whole. {'; '.join(waiting)}")
        for reason in waiting:
            log.warning("%s/%s", self.folder, reason)
        return sorted(one.name for one in found if one.state == "whole")

    def names(self, images: Sequence[Image], taken: Collection[str]) -> list[str]:
        """What the images of a delivery are called, before equal names are told apart by numbers.

        Parameters
        ----------
        images : sequence of Image
            All of the delivery.
        taken : Collection of str
            Ids that images of other deliveries have; of a mapping, the values are their sha256.

        Returns
        -------
        list of str
            In the order of `images`.
        """
        if self.source.file_column is not None:
            return [self._ids.get(image_name(one.called), image_name(one.called)) for one in images]
        again = {self._inner(one.called) for one in images if self._is_there(one.file, image_name(one.called), taken)}
        return told_apart([self._inner(one.called) for one in images], taken, again)

    def listed(self, batch: str, taken: Collection[str] = ()) -> list[Listed]:
        """The images of a delivery with their ids and labels; no image is opened for it.

        Only where an id is taken the file is read, to compare it with the image that has it.

        Parameters
        ----------
        batch : str
            Name of a delivery.
        taken : Collection of str
            Ids that images of other deliveries have; of a mapping, the values are their sha256.

        Returns
        -------
        list of Listed
            In the order of the files.

        Raises
        ------
        SurveyError
            If there is no such delivery, it is not whole, or the table of labels cannot be read.
        """
        return self._told(self._named(batch, taken), taken, self._several)

    def _named(self, batch: str, taken: Collection[str]) -> list[Listed]:
        """The images of a delivery with their ids, without what a table says of them."""
        images = self._found.images(batch)
        names = self.names(images, taken)
        return [Listed(*one, None) for one in zip(distinct_ids(names, taken), names, images, strict=True)]

    def _told(self, listed: list[Listed], taken: Collection[str], several: Collection[str]) -> list[Listed]:
        """The images of a delivery with what the table of labels says of them."""
        entries = self._labels.entries
        images = NamedImages({one.galaxy_id: one.image.called for one in listed}, taken, several)
        of_images = [[entries[row] for row in rows] for rows in images.rows_about(self._rows)]
        said = [next((one for one in rows if one.label), rows[0]) if rows else None for rows in of_images]
        return [one._replace(entry=entry) for one, entry in zip(listed, said, strict=True)]

    def listed_all(self) -> dict[str, list[Listed]]:
        """What the catalogues of all whole deliveries hold when one is made after the other, before images are opened.

        Returns
        -------
        dict of str to list of Listed
            By delivery, sorted.

        Raises
        ------
        SurveyError
            As `listed` and `batches`.
        """
        files: dict[str, tuple[int, str]] = {}
        digest = cache(self._digest)
        named: list[tuple[str, _Earlier, list[Listed]]] = []
        for i, batch in enumerate(self.batches()):
            taken = _Earlier(files, i, digest)
            named.append((batch, taken, self._named(batch, taken)))
            files |= {one.galaxy_id: (i, one.image.file) for one in named[-1][2] if one.galaxy_id == one.name}
        several = set()
        if self.source.file_column is None:
            several = several_have((batch, one.galaxy_id) for batch, _, listed in named for one in listed)
        return {batch: self._told(listed, taken, several) for batch, taken, listed in named}

    def _digest(self, file: str) -> str | None:
        try:
            return hashlib.sha256(self._found.read(file)).hexdigest()
        except UnreadableImage:
            return None

    def catalogue(self, batch: str, taken: Collection[str] = ()) -> pa.Table:
        """One row per image of a delivery, sorted by galaxy_id."""
        listed, rows = self.listed(batch, taken), []
        far = HowFar(log, f"catalogue of {batch}", len(listed), "files", whole=True)
        for note in self._labels.notes:
            log.warning("%s: %s", self.source.labels, note)
        with ThreadPoolExecutor(min(8, (os.cpu_count() or 1) + 4)) as pool:  # hashing releases the GIL, disks wait
            for row in pool.map(lambda one: self._row(batch, one), listed):
                rows.append(row)
                far.tell(len(rows))
        rows.sort(key=lambda row: row["galaxy_id"])
        return pa.Table.from_pylist(rows, schema=CATALOGUE_SCHEMA)

    def _is_there(self, file: str, name: str, taken: Collection[str]) -> bool:
        """Whether another delivery has this image under this name: the same bytes, where these are known."""
        if name not in taken:
            return False
        if not isinstance(taken, Mapping) or taken[name] is None:
            return True
        return self._digest(file) == taken[name]

    def _row(self, batch: str, listed: Listed) -> dict:
        galaxy_id, name, image, entry = listed
        row = dict.fromkeys(CATALOGUE_SCHEMA.names) | {"galaxy_id": galaxy_id, "batch": batch, "file": image.file}
        row |= {"ra": image.said.ra, "dec": image.said.dec}
        if self.source.labels is None:
            row["label"] = image.said.label
        if entry is not None:
            row["label"] = entry.label
            if entry.ra is not None:
                row |= {"ra": entry.ra, "dec": entry.dec}
        row["label"] = row["label"] or (self._class_of_folder(image.called) if self.source.folder_labels else None)
        problems: list[tuple[str, str]] = []
        if galaxy_id != name:
            problems.append(("duplicate_id", f"another image is already called {name}"))
        try:
            with unreadable_otherwise(), self._found.content(image.file) as data:
                row["sha256"] = hashlib.sha256(data).hexdigest()
                if (broken := image.promise.broken_by(data)) is not None:
                    problems.append(("unreadable", broken))
                if (position := self.position(image_name(image.file), data)) != (None, None):
                    row["ra"], row["dec"] = position
                row["width"], row["height"] = self.size(data)
                check_size(row["width"], row["height"])
        except UnreadableImage as error:
            problems.append((error.problem, error.reason))
        if problems:
            row["problem"] = problems[0][0]
            row["reason"] = "; ".join(reason for _, reason in problems)
        return row

    def labelled(self) -> pa.Table | None:
        """The rows of the table of labels, and how it was read (`tables.notes_of`); None if the survey has none."""
        if self.source.labels is None:
            return None
        rows = [dict(zip(LABELLED_SCHEMA.names, entry, strict=True)) for entry in self._labels.entries]
        notes = {"notes": json.dumps(self._labels.notes)}
        return pa.Table.from_pylist(rows, schema=LABELLED_SCHEMA).replace_schema_metadata(notes)

    @cached_property
    def _labels(self) -> LabelTable:
        if self.source.labels is None:
            return LabelTable([], [])
        return read_labels(self.folder / self.source.labels, self.source)

    @cached_property
    def _rows(self) -> NamedRows:
        return NamedRows([entry.name for entry in self._labels.entries])

    @cached_property
    def _ids(self) -> dict[str, str]:
        """The ids that the table of labels has for files, by what the image in the file is called."""
        columns = [name for name in (self.source.file_column, self.source.id_column) if name is not None]
        path = self.folder / (self.source.labels or "")
        table = read_table(path, set(columns))
        if missing := [column for column in columns if column not in table.column_names]:
            raise SurveyError(f"{path}: no column {', '.join(missing)}; correct `source.file_column`")
        files, ids = (ids_of(table[column]) for column in columns)
        pairs = zip(files, ids, strict=True)
        return {image_name(file): printable(composed(galaxy)) for file, galaxy in pairs if file and galaxy}

    def folder_of(self, file: str) -> str | None:
        """The name of the folder that holds an image, which may be its class.

        Parameters
        ----------
        file : str
            As the catalogue has it.

        Returns
        -------
        str or None
            None for an image that lies loose in the folder of all deliveries, or in an archive.
        """
        inner = re.split(r"[^/]*!/", self._inner(file))[-1]
        folders = inner.split("/")[:-1]
        return printable(folders[-1]) if folders and folders != [self.source.images] else None

    def _class_of_folder(self, file: str) -> str | None:
        folder = self.folder_of(file)
        return None if folder is None or is_no_class_folder(folder) else folder

    @cached_property
    def _home(self) -> str:
        """What the files of all deliveries begin with."""
        top = self.top()
        return "" if top == self.folder else f"{top.relative_to(self.folder).as_posix()}/"

    def _inner(self, file: str) -> str:
        """A file relative to the folder of all deliveries, unless it lies there loose."""
        inner = file.removeprefix(self._home)
        return inner if "/" in inner else file


class _Earlier(Mapping[str, str | None]):
    """The sha256 of images of earlier deliveries by id, each read when it is asked for; None where it cannot be read.

    Parameters
    ----------
    files : mapping of str to (int, str)
        The number of its delivery and its file, of each id; later ones may be added.
    before : int
        The delivery whose predecessors are meant.
    digest : callable
        Gives the sha256 of a file.
    """

    def __init__(self, files: Mapping[str, tuple[int, str]], before: int, digest: Callable[[str], str | None]):
        self._files, self._before, self._digest = files, before, digest

    def __getitem__(self, galaxy_id: str) -> str | None:
        if galaxy_id not in self:
            raise KeyError(galaxy_id)
        return self._digest(self._files[galaxy_id][1])

    def __contains__(self, galaxy_id: object) -> bool:
        return galaxy_id in self._files and self._files[galaxy_id][0] < self._before  # pyright: ignore[reportArgumentType]

    def __iter__(self) -> Iterator[str]:
        return (galaxy_id for galaxy_id in self._files if galaxy_id in self)

    def __len__(self) -> int:
        return sum(1 for _ in self)
