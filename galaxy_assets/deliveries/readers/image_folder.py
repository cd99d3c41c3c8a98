"""Reader of a folder of PNG, JPEG, TIFF, WebP, AVIF and NumPy images, with optional tables of labels and of volunteers.

    <path>/<images>/*.png              one delivery, `images`
    <path>/<images>/<batch>/**/*.png   each subfolder a delivery, named like it with _ for other than A-Za-z0-9_.-
    <path>/<images>/<batch>.zip        and each archive (`deliveries`)
    <path>/<labels>                    one row per image: its name, with or without suffix, class, position (`tables`)
    <path>/<votes>                     a table of the `campaign`, galaxies named like the images (`volunteers`)

Belongs here: the ids of images and their catalogue; the readers of other folder layouts build on it. Does not belong
here: finding them (`deliveries.drop`) and decoding (`deliveries.images`).
"""

import hashlib
import logging
import os
from collections.abc import Collection
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path, PurePosixPath

import numpy as np
import pyarrow as pa

from galaxy_assets.deliveries import suffixes
from galaxy_assets.deliveries.delivery import Delivery, batch_name
from galaxy_assets.deliveries.drop import Deliveries, Image
from galaxy_assets.deliveries.images import UnreadableImage, check_size, decode, read_header
from galaxy_assets.deliveries.manifests import composed
from galaxy_assets.deliveries.readers.catalogue import CATALOGUE_SCHEMA, LABELLED_SCHEMA, distinct_ids
from galaxy_assets.deliveries.readers.tables import Entry, read_entries
from galaxy_assets.deliveries.readers.volunteers import read_votes
from galaxy_assets.settings.files import SurveyError
from galaxy_assets.settings.source import Source

log = logging.getLogger(__name__)

_PROGRESS = 5000  # files between two lines in the log


class ImageFolder:
    """Reader of `image_folder`; see the module and `plugins.protocols.Reader`."""

    suffixes: tuple[str, ...] = suffixes.IMAGES

    def __init__(self, source: Source, folder: Path):
        self.source = source
        self.folder = folder
        if not folder.is_dir():
            raise SurveyError(
                f"{folder}: no such folder; expected {self.expected()}. "
                "Put the delivery there, or correct `source.path`"
            )
        self._found = Deliveries(folder, self.top(), self.suffixes, self.batch_of, self.tables())

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

    def notes(self) -> list[str]:
        """What is not taken of the archives and containers in the folder, and why."""
        return self._found.notes()

    def image(self, file: str) -> np.ndarray:
        """Decode an image, by the catalogue's `file`."""
        return self.decode(self._found.read(file))

    def votes(self) -> pa.Table | None:
        """The volunteer table; None if the survey has none."""
        if self.source.votes is None:
            return None
        return read_votes(self.folder / self.source.votes, self.source.campaign)

    def deliveries(self, quiet: float = 0) -> list[Delivery]:
        """Every delivery, whole or not, sorted by name."""
        return self._found.all(quiet)

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

    def catalogue(self, batch: str, taken: Collection[str] = ()) -> pa.Table:
        """One row per image of a delivery, sorted by galaxy_id."""
        images, entry_of = self._found.images(batch), {}
        for entry in self._labels():
            entry_of.setdefault(entry.name, entry)
        names = [composed(image.said.name or self._name(PurePosixPath(image.file).name)) for image in images]
        claims = list(zip(distinct_ids(names, taken), names, images, strict=True))
        rows = []
        with ThreadPoolExecutor(min(8, (os.cpu_count() or 1) + 4)) as pool:  # hashing releases the GIL, disks wait
            for row in pool.map(lambda claim: self._row(batch, entry_of.get(claim[1]), *claim), claims):
                rows.append(row)
                if len(rows) % _PROGRESS == 0:
                    log.info("catalogue of %s: %d of %d files", batch, len(rows), len(claims))
        rows.sort(key=lambda row: row["galaxy_id"])
        return pa.Table.from_pylist(rows, schema=CATALOGUE_SCHEMA)

    def _row(self, batch: str, entry: Entry | None, galaxy_id: str, name: str, image: Image) -> dict:
        row = dict.fromkeys(CATALOGUE_SCHEMA.names) | {"galaxy_id": galaxy_id, "batch": batch, "file": image.file}
        row |= {"ra": image.said.ra, "dec": image.said.dec}
        if self.source.labels is None:
            row["label"] = image.said.label
        if entry is not None:
            row["label"] = entry.label
            if entry.ra is not None:
                row |= {"ra": entry.ra, "dec": entry.dec}
        problems: list[tuple[str, str]] = []
        if galaxy_id != name:
            problems.append(("duplicate_id", f"another image is already called {name}"))
        try:
            data = self._found.read(image.file)
            row["sha256"] = hashlib.sha256(data).hexdigest()
            if (broken := image.promise.broken_by(data)) is not None:
                problems.append(("unreadable", broken))
            if (position := self.position(name, data)) != (None, None):
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
        """The rows of the table of labels; None if the survey has none."""
        if self.source.labels is None:
            return None
        rows = [dict(zip(LABELLED_SCHEMA.names, entry, strict=True)) for entry in self._labels()]
        return pa.Table.from_pylist(rows, schema=LABELLED_SCHEMA)

    def _name(self, text: str) -> str:
        """A file's name without suffix, composed."""
        suffix = next((s for s in self.suffixes if text.lower().endswith(s)), "")
        return composed(text[: len(text) - len(suffix)])

    def _labels(self) -> list[Entry]:
        """Rows of the table of labels, named as the images are."""
        if self.source.labels is None:
            return []
        entries = read_entries(self.folder / self.source.labels, self.source)
        return [entry._replace(name=self._name(entry.name)) for entry in entries]
