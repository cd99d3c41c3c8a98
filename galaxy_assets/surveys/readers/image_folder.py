"""Reader of a folder of PNG and JPEG images, with an optional table of labels and an optional volunteer table.

    <path>/<images>/*.png              one delivery, `images`
    <path>/<images>/<batch>/**/*.png   each subfolder a delivery, named like it with _ for other than A-Za-z0-9_.-
    <path>/<labels>                    one row per image: its name, with or without suffix, class, position (`tables`)
    <path>/<votes>                     a table of the `campaign`, galaxies named like the images (`volunteers`)

Belongs here: finding the images of a folder, their ids and their catalogue; the readers of other folder layouts build
on it. Does not belong here: decoding (`surveys.images`).
"""

import hashlib
import logging
import os
import re
import unicodedata
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path, PurePath

import numpy as np
import pyarrow as pa

from galaxy_assets.surveys.images import UnreadableImage, check_size, decode, inside, read_header
from galaxy_assets.surveys.model import Source, SurveyError
from galaxy_assets.surveys.readers import CATALOGUE_SCHEMA, distinct_ids
from galaxy_assets.surveys.readers.tables import Entry, read_entries
from galaxy_assets.surveys.readers.volunteers import read_votes

log = logging.getLogger(__name__)

_PROGRESS = 5000  # files between two lines in the log
# images of formats that some reader or tool knows, worth a warning where this reader does not take them
_FOREIGN = {".tif", ".tiff", ".gif", ".bmp", ".webp", ".png", ".jpg", ".jpeg", ".fits", ".fit", ".fz"}


@dataclass(frozen=True)
class Claim:
    """A row to be: an image, a label, or both, that claims the id `name`."""

    name: str
    batch: str
    file: str | None
    entry: Entry | None


class ImageFolder:
    """Reader of `image_folder`; see the module and `readers.Reader`."""

    suffixes: tuple[str, ...] = (".png", ".jpg", ".jpeg")

    def __init__(self, source: Source, folder: Path):
        self.source = source
        self.folder = folder
        if not folder.is_dir():
            raise SurveyError(
                f"{folder}: no such folder; expected {self.expected()}. "
                "Put the delivery there, or correct `source.path`"
            )

    def expected(self) -> str:
        """What the folder should hold, for error messages."""
        return f"{'/'.join(self.suffixes)} images in it, in {self.source.images}/ or in one subfolder per delivery"

    def top(self) -> Path:
        """The folder whose subfolders are the deliveries."""
        images = self.folder / self.source.images
        return images if images.is_dir() else self.folder

    def batch_of(self, subfolder: Path) -> str | None:
        """The delivery a subfolder of `top` belongs to; None if it is no delivery."""
        return re.sub(r"[^A-Za-z0-9_.-]", "_", subfolder.name)

    def size(self, path: Path) -> tuple[int, int]:
        """Width and height in pixels from the header. Raises UnreadableImage."""
        return read_header(path)

    def position(self, name: str, path: Path) -> tuple[float | None, float | None]:
        """Right ascension and declination in degrees, None where unknown."""
        return None, None

    def image(self, file: str) -> np.ndarray:
        return decode(inside(self.folder, file))

    def votes(self) -> pa.Table | None:
        if self.source.votes is None:
            return None
        return read_votes(self.folder / self.source.votes, self.source.campaign)

    def batches(self) -> list[str]:
        # one image is enough to know a delivery: sensors ask often, and listing 340 000 files takes seconds
        found = {batch for batch, files in self._deliveries() if next(files, None) is not None}
        if not found:
            raise SurveyError(f"{self.folder}: no images found; expected {self.expected()}. Put a delivery there")
        for batch in found:
            if not re.fullmatch(r"[A-Za-z0-9_.-]+", batch):
                raise SurveyError(f"{self.top() / batch}: rename the folder with letters, digits and _-. only")
        return sorted(found)

    def catalogue(self, batch: str) -> pa.Table:
        if batch not in (batches := self.batches()):
            raise SurveyError(f"{self.folder}: no delivery {batch!r}; there are {', '.join(batches)}")
        claims = self._claims(first=batches[0])
        ids = distinct_ids([claim.name for claim in claims])
        mine = [(galaxy_id, claim) for galaxy_id, claim in zip(ids, claims, strict=True) if claim.batch == batch]
        rows = []
        with ThreadPoolExecutor(min(8, (os.cpu_count() or 1) + 4)) as pool:  # hashing releases the GIL, disks wait
            for row in pool.map(lambda item: self._row(*item), mine):
                rows.append(row)
                if len(rows) % _PROGRESS == 0:
                    log.info("catalogue of %s: %d of %d files", batch, len(rows), len(mine))
        rows.sort(key=lambda row: row["galaxy_id"])
        return pa.Table.from_pylist(rows, schema=CATALOGUE_SCHEMA)

    def _row(self, galaxy_id: str, claim: Claim) -> dict:
        row = dict.fromkeys(CATALOGUE_SCHEMA.names) | {
            "galaxy_id": galaxy_id,
            "batch": claim.batch,
            "file": claim.file,
        }
        if claim.entry is not None:
            row |= {"label": claim.entry.label, "ra": claim.entry.ra, "dec": claim.entry.dec}
        problems: list[tuple[str, str]] = []
        if galaxy_id != claim.name:
            problems.append(("duplicate_id", f"another image or label is already called {claim.name}"))
        if claim.file is None:
            problems.append(("missing_file", f"{self.source.labels} names it, but there is no image of that name"))
        else:
            try:
                path = inside(self.folder, claim.file)
                if (position := self.position(claim.name, path)) != (None, None):
                    row["ra"], row["dec"] = position
                with path.open("rb") as stream:
                    row["sha256"] = hashlib.file_digest(stream, "sha256").hexdigest()
                row["width"], row["height"] = self.size(path)
                check_size(row["width"], row["height"])
            except UnreadableImage as error:
                problems.append((error.problem, error.reason))
            except OSError as error:
                problems.append(("unreadable", f"cannot be opened: {error.strerror}"))
        if problems:
            row["problem"] = problems[0][0]
            row["reason"] = "; ".join(reason for _, reason in problems)
        return row

    def _claims(self, first: str) -> list[Claim]:
        """Every image in the order of its path, then labels that have none; the latter go to the delivery `first`."""
        entry_of: dict[str, Entry] = {}
        repeated = []
        for entry in self._labels():
            if entry.name in entry_of:
                repeated.append(entry)
            else:
                entry_of[entry.name] = entry
        claims, batch_of = [], {}
        for batch, files in self._deliveries():
            for path in files:
                # a name that is not UTF-8 cannot be stored; it becomes a row whose file is not found
                file = os.fsencode(path.relative_to(self.folder).as_posix()).decode("utf-8", errors="replace")
                name = self._name(PurePath(file).name)
                claims.append(Claim(name, batch, file, entry_of.get(name)))
                batch_of.setdefault(name, batch)
        claims.sort(key=lambda claim: claim.file or "")
        claims += [Claim(name, first, None, entry) for name, entry in entry_of.items() if name not in batch_of]
        claims += [Claim(entry.name, batch_of.get(entry.name, first), None, entry) for entry in repeated]
        return claims

    def _deliveries(self) -> Iterator[tuple[str, Iterator[Path]]]:
        """Each delivery's name and its images; a name may come more than once."""
        top = self.top()
        yield "images", self._walk(top, deep=False)
        for subfolder in sorted(top.iterdir()):
            if subfolder.is_dir() and not _hidden(subfolder.name) and (batch := self.batch_of(subfolder)) is not None:
                yield batch, self._walk(subfolder)

    def _walk(self, top: Path, deep: bool = True) -> Iterator[Path]:
        """Images in `top`, and if `deep` in its subfolders; what is passed over is said in the log."""
        foreign = 0
        for parent, folders, files in os.walk(top):
            folders[:] = sorted(name for name in folders if deep and not _hidden(name))
            for folder in (Path(parent, name) for name in folders):
                if folder.is_symlink():
                    log.warning("%s: a link to a folder is not followed; copy the folder in", folder)
            for name in sorted(files):
                if name.lower().endswith(self.suffixes) and not _hidden(name):
                    yield Path(parent, name)
                else:
                    foreign += PurePath(name).suffix.lower() in _FOREIGN and not _hidden(name)
        if foreign:
            log.warning("%s: passed over %d images that are not %s", top, foreign, "/".join(self.suffixes))

    def _name(self, text: str) -> str:
        """A file's name without suffix; composed, because archives made on a Mac decompose accents and CSVs do not."""
        suffix = next((s for s in self.suffixes if text.lower().endswith(s)), "")
        return unicodedata.normalize("NFC", text[: len(text) - len(suffix)])

    def _labels(self) -> list[Entry]:
        """Rows of the table of labels, named as the images are."""
        if self.source.labels is None:
            return []
        entries = read_entries(self.folder / self.source.labels, self.source)
        return [entry._replace(name=self._name(entry.name)) for entry in entries]


def _hidden(name: str) -> bool:
    """Hidden files, and the folder of resource forks that Mac archives carry: named like images, but none."""
    return name.startswith(".") or name == "__MACOSX"
