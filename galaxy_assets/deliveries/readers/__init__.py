"""Readers of what surveys deliver, in the official layouts as they are.

Belongs here: one module per layout, and below what all readers promise. Does not belong here: cutting, cleaning or
changing pixels (`science`), vote rules (`science.votes`), and writing anything but a simulated delivery.
"""

import logging
import shutil
import tempfile
from collections import Counter
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Protocol

import numpy as np
import pyarrow as pa

from galaxy_assets.deliveries.drop import Delivery
from galaxy_assets.deliveries.images import UnreadableImage, decode, read_file
from galaxy_assets.settings.files import SurveyError
from galaxy_assets.settings.source import Source

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
`unreadable`, `too_small`, `too_large`, `duplicate_id`, and `reason` says it in words."""

LABELLED_SCHEMA = pa.schema(
    [("galaxy_id", pa.string()), ("label", pa.string()), ("ra", pa.float64()), ("dec", pa.float64())]
)
"""What a table of labels says of each galaxy: its name as the images are called, class, position in degrees."""


class Reader(Protocol):
    """What every survey's deliveries can be asked, whatever their layout. Safe to use from several threads."""

    def deliveries(self, quiet: float = 0) -> list[Delivery]:
        """Every delivery present, whole or not, sorted by name; no image is read for it.

        quiet : seconds for which nothing in a delivery without a manifest may have changed before it counts as whole;
            with 0 what is there is taken.
        """
        ...

    def batches(self) -> list[str]:
        """Names of the whole deliveries, sorted; letters, digits and `_-.` only. The log says why others are not.

        Raises SurveyError if there is none; it lists the reasons where deliveries are not whole.
        """
        ...

    def catalogue(self, batch: str, taken: Collection[str] = ()) -> pa.Table:
        """CATALOGUE_SCHEMA, sorted by galaxy_id: one row per image of a delivery.

        taken : ids that images of other deliveries have.

        Nothing is lost: images that cannot be used are rows with a problem, and of images that share an id the first
        by path keeps it, unless it is taken, and the others are `<id>#2`, `<id>#3`, with problem `duplicate_id`. An
        image is not decoded, so what is truncated after its header shows when `image` does.

        Raises SurveyError if there is no such delivery or it is not whole.
        """
        ...

    def labelled(self) -> pa.Table | None:
        """LABELLED_SCHEMA: the rows of the table of labels, all of them, or None if the survey has none.

        Raises SurveyError, naming the file and what is wrong with it.
        """
        ...

    def image(self, file: str) -> np.ndarray:
        """Decoded pixels of a catalogue row's `file`: (H, W) or (H, W, 3), uint8, or float32 for more than 8 bits.

        Raises UnreadableImage; SurveyError if the archive that it is in was damaged since.
        """
        ...

    def tables(self) -> list[Path]:
        """Tables of labels and votes that it reads beside the images; they need not be there."""
        ...

    def votes(self) -> pa.Table | None:
        """The volunteer table in the normal form of `science.votes.normalise`, or None if the survey has none.

        Raises VotesError, naming the file and what is wrong with it.
        """
        ...


def open_reader(source: Source, raw: Path) -> Reader:
    """The reader of a survey's deliveries.

    `source.path` is relative to `raw` (data/raw) or absolute. A simulated survey is made first if it is absent, one at
    an address is copied (`mirror`), and then read like any other. Raises SurveyError if nothing is where it should be.
    """
    path = _folder(source, raw)
    if source.is_elsewhere:
        from galaxy_assets.deliveries.mirror import mirror

        mirror(source.path, path)
    elif source.reader == "simulated":
        _simulate(source, path)
    return reader_in_place(source, raw)


def reader_in_place(source: Source, raw: Path) -> Reader:
    """The reader of what is there already: as `open_reader`, but nothing is simulated or copied for it."""
    # imported here because these modules take the schema from this one
    from galaxy_assets.deliveries.readers.fits_folder import FitsFolder
    from galaxy_assets.deliveries.readers.galaxy_zoo_decals import GalaxyZooDecals
    from galaxy_assets.deliveries.readers.image_folder import ImageFolder
    from galaxy_assets.deliveries.readers.mirabest import MiraBest

    path = _folder(source, raw)
    if source.reader == "simulated":
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


def _folder(source: Source, raw: Path) -> Path:
    if not source.is_elsewhere:
        return (raw / source.path).absolute()
    if source.mirror is None:
        raise SurveyError(f"{source.path} is copied to a folder of {raw}; name it in `source.mirror`")
    return raw / source.mirror


def decode_file(path: Path) -> np.ndarray:
    """Decoded pixels of a person's own PNG, JPEG or FITS file, as the readers decode a survey's (see `Reader.image`).

    FITS is known by its suffix, the others by their content. Raises UnreadableImage, which names the file.
    """
    from galaxy_assets.deliveries.readers import fits_folder

    fits = path.name.lower().endswith(fits_folder.FitsFolder.suffixes)
    try:
        data = read_file(path)
        return fits_folder.decode(data) if fits else decode(data)
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
    from galaxy_assets.simulation import surveys as simulate

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


def distinct_ids(names: Sequence[str], taken: Collection[str] = ()) -> list[str]:
    """Ids in the order of `names`: the first of equal names keeps it unless it is `taken`, the others get `#2`, `#3`,
    if no other has that."""
    used, seen, ids = {*names, *taken}, Counter(set(taken)), []
    for name in names:
        seen[name] += 1
        candidate = name
        while seen[name] > 1 and (candidate := f"{name}#{seen[name]}") in used:
            seen[name] += 1
        used.add(candidate)
        ids.append(candidate)
    return ids
