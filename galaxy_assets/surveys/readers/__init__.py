"""Readers of what surveys deliver, in the official layouts as they are.

Belongs here: one module per layout, and below what all readers promise. Does not belong here: cutting, cleaning or
changing pixels (`science`), vote rules (`science.votes`), and writing anything but a simulated delivery.
"""

import logging
import shutil
import tempfile
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

import numpy as np
import pyarrow as pa

from galaxy_assets.surveys.images import UnreadableImage, decode
from galaxy_assets.surveys.model import Source, SurveyError

log = logging.getLogger(__name__)

CATALOGUE_SCHEMA = pa.schema(
    [
        ("galaxy_id", pa.string()),
        ("batch", pa.string()),
        ("file", pa.string()),
        ("sha256", pa.string()),
        ("width", pa.int32()),
        ("height", pa.int32()),
        ("ra", pa.float64()),
        ("dec", pa.float64()),
        ("label", pa.string()),
        ("problem", pa.string()),
        ("reason", pa.string()),
    ]
)
"""Columns of every catalogue: pixels for width and height, degrees for ra and dec; `problem` is null or one of
`unreadable`, `too_small`, `too_large`, `duplicate_id`, `missing_file`, and `reason` says it in words."""


class Reader(Protocol):
    """What every survey's deliveries can be asked, whatever their layout. Safe to use from several threads."""

    def batches(self) -> list[str]:
        """Names of the deliveries present, sorted; letters, digits and `_-.` only. Raises SurveyError if none is."""
        ...

    def catalogue(self, batch: str) -> pa.Table:
        """CATALOGUE_SCHEMA, sorted by galaxy_id: one row per delivered image, and one per label without an image.

        Nothing is lost: images that cannot be used are rows with a problem, and of images that share an id the first
        by path keeps it and the others are `<id>#2`, `<id>#3`, with problem `duplicate_id`. Only headers are read, so
        an image truncated after its header shows when `image` decodes it. Raises SurveyError for an unknown batch.
        """
        ...

    def image(self, file: str) -> np.ndarray:
        """Decoded pixels of a catalogue row's `file`: (H, W) or (H, W, 3), uint8, or float32 for more than 8 bits.

        Raises UnreadableImage.
        """
        ...

    def votes(self) -> pa.Table | None:
        """The volunteer table in the normal form of `science.votes.normalise`, or None if the survey has none.

        Raises VotesError, naming the file and what is wrong with it.
        """
        ...


def open_reader(source: Source, raw: Path) -> Reader:
    """The reader of a survey's deliveries.

    `source.path` is relative to `raw` (data/raw) or absolute. A simulated survey is made first if it is absent, and
    then read like any other. Raises SurveyError if nothing is where it should be.
    """
    # imported here because these modules take the schema from this one
    from galaxy_assets.surveys.readers.fits_folder import FitsFolder
    from galaxy_assets.surveys.readers.galaxy_zoo_decals import GalaxyZooDecals
    from galaxy_assets.surveys.readers.image_folder import ImageFolder
    from galaxy_assets.surveys.readers.mirabest import MiraBest

    path = (raw / source.path).absolute()
    if source.reader == "simulated":
        _simulate(source, path)
        if source.simulate == "optical":
            return GalaxyZooDecals(source, path)
        return ImageFolder(source.model_copy(update={"labels": "labels.csv"}), path)
    readers = {
        "galaxy_zoo_decals": GalaxyZooDecals,
        "mirabest": MiraBest,
        "image_folder": ImageFolder,
        "fits_folder": FitsFolder,
    }
    return readers[source.reader](source, path)


def decode_file(path: Path) -> np.ndarray:
    """Decoded pixels of a person's own PNG, JPEG or FITS file, as the readers decode a survey's (see `Reader.image`).

    FITS is known by its suffix, the others by their content. Raises UnreadableImage, which names the file.
    """
    from galaxy_assets.surveys.readers import fits_folder

    fits = path.name.lower().endswith(fits_folder.FitsFolder.suffixes)
    try:
        return fits_folder.decode(path) if fits else decode(path)
    except UnreadableImage as error:
        raise UnreadableImage(f"{path}: {error.reason}", error.problem) from error


def _simulate(source: Source, path: Path) -> None:
    """Make the delivery of a simulated survey, whole or not at all, unless it is there already."""
    settings = source.model_dump_json(include={"simulate", "batches", "n_images", "seed"})
    record = path / "simulation.json"
    if path.exists():
        if record.is_file() and record.read_text(encoding="utf-8") != settings:
            raise SurveyError(f"{path}: simulated with other settings than {settings}; delete it to have it made anew")
        return
    if source.simulate is None or not source.batches or not source.n_images:
        raise SurveyError("a simulated survey needs `source.simulate`, `source.batches` and `source.n_images`")
    from galaxy_assets.science import simulate

    make = {"optical": simulate.simulate_optical, "radio": simulate.simulate_radio}[source.simulate]
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = Path(tempfile.mkdtemp(prefix=f".{path.name}.", dir=path.parent))
    try:
        log.info("simulating %d %s images in %s", source.n_images, source.simulate, path)
        make(beside, batches=source.batches, n_images=source.n_images, seed=source.seed)
        (beside / record.name).write_text(settings, encoding="utf-8")
        beside.chmod(0o755)  # mkdtemp makes it private
        try:
            beside.rename(path)
        except OSError:
            if not record.is_file():  # else another process was quicker, with the same images
                raise
    finally:
        shutil.rmtree(beside, ignore_errors=True)


def distinct_ids(names: Sequence[str]) -> list[str]:
    """Ids in the order of `names`: the first of equal names keeps it, the others get `#2`, `#3`, if not yet taken."""
    taken, seen, ids = set(names), Counter[str](), []
    for name in names:
        seen[name] += 1
        candidate = name
        while seen[name] > 1 and (candidate := f"{name}#{seen[name]}") in taken:
            seen[name] += 1
        taken.add(candidate)
        ids.append(candidate)
    return ids
