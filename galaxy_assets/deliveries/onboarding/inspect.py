"""What a folder of images holds, from a random sample of them.

Belongs here: which files there are, and measurements of size, bands, levels, headers, cutouts and labels. Does not
belong here: what a survey of these images should look like (`propose`).
"""

import os
import unicodedata
import warnings
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np

from galaxy_assets.deliveries.images import UnreadableImage, inside, read_file, unreadable_otherwise
from galaxy_assets.deliveries.onboarding.bands import Bands, look_at_bands
from galaxy_assets.deliveries.onboarding.framing import Framing, data_of
from galaxy_assets.deliveries.readers import open_reader
from galaxy_assets.deliveries.readers.fits_folder import FitsFolder
from galaxy_assets.deliveries.readers.image_folder import ImageFolder
from galaxy_assets.deliveries.readers.tables import ids_of, read_entries, read_table
from galaxy_assets.deliveries.suffixes import ALL
from galaxy_assets.plugins.protocols import Reader
from galaxy_assets.science.artefacts import SATURATED
from galaxy_assets.science.cutouts import cut
from galaxy_assets.science.cutouts.nodata import sentinels
from galaxy_assets.settings.artefacts import ArtefactRules
from galaxy_assets.settings.cutouts import CutoutSettings
from galaxy_assets.settings.files import SurveyError
from galaxy_assets.settings.source import Source

FolderReader = Literal["image_folder", "fits_folder"]

_READERS: dict[FolderReader, tuple[str, ...]] = {
    "image_folder": ImageFolder.suffixes,
    "fits_folder": FitsFolder.suffixes,
}
_SUFFIXES = [suffix for one in _READERS.values() for suffix in one]
_MOST_PIXELS = 400_000_000  # decoded in all, so that a sample of large frames takes no longer than one of cutouts
_POSITION = ("RA", "DEC", "RA_OBJ", "DEC_OBJ", "OBJRA", "OBJDEC", "OBJCTRA", "OBJCTDEC", "RA_TARG", "DEC_TARG")
_DAMAGE = (OSError, ValueError, TypeError, KeyError, IndexError, EOFError)


@dataclass
class Headers:
    """What the FITS headers of a sample say.

    Attributes
    ----------
    planes, types, bands, units, positions : Counter
        How many files have which number of planes, type, bands, unit and keywords for a position.
    scales : list of float
        Side of a pixel in arcseconds, of the files that say it.
    """

    planes: Counter[int] = field(default_factory=Counter)
    types: Counter[str] = field(default_factory=Counter)
    bands: Counter[str] = field(default_factory=Counter)
    units: Counter[str] = field(default_factory=Counter)
    positions: Counter[str] = field(default_factory=Counter)
    scales: list[float] = field(default_factory=list)


@dataclass
class Inspection:
    """A folder of images, and what was measured on a sample of them.

    Attributes
    ----------
    source : Source
        Reader, absolute path and `images`, as the survey needs them to find every image.
    suffixes : Counter of str
        Files of each suffix, whatever they are.
    files : list of str
        Images that the reader takes, relative to the folder.
    deliveries : list of str
        Names of the deliveries.
    seed, sample : int
        How many images were looked at, and the seed that chose them.
    unreadable : list of (str, str)
        (file, reason) of those that cannot be decoded.
    widths, heights : list of int
        Of the decoded images, pixels.
    kinds : Counter of str
        Images of `one band`, of `three equal channels` and in `colour`.
    types : Counter of str
        Of the decoded pixels; FITS files' own type is in `headers`.
    levels : list of (float, float, float)
        Lowest, median and highest value of each decoded image.
    peaks : list of float
        Highest value above the sky over the noise, of each image that has noise.
    saturated : int
        Images of which a share of `ArtefactRules.saturated_fraction` or more is at the highest level.
    nodata : list of float
        Share without data of each image that has pixels without data.
    sentinels : Counter of float
        Images in which each value stands for no data.
    bands : Bands
        Which planes are the image, and why.
    framing : Framing
        The paper's sigma clipping on the sample.
    headers : Headers or None
        None where no image is FITS.
    """

    source: Source
    suffixes: Counter[str]
    files: list[str]
    deliveries: list[str]
    seed: int
    sample: int = 0
    unreadable: list[tuple[str, str]] = field(default_factory=list)
    widths: list[int] = field(default_factory=list)
    heights: list[int] = field(default_factory=list)
    kinds: Counter[str] = field(default_factory=Counter)
    types: Counter[str] = field(default_factory=Counter)
    levels: list[tuple[float, float, float]] = field(default_factory=list)
    peaks: list[float] = field(default_factory=list)
    saturated: int = 0
    nodata: list[float] = field(default_factory=list)
    sentinels: Counter[float] = field(default_factory=Counter)
    bands: Bands = field(default_factory=Bands)
    framing: Framing = field(default_factory=lambda: Framing(CutoutSettings(size=16)))
    headers: Headers | None = None

    def sampled(self) -> list[str]:
        """The files of the sample, relative to the folder."""
        order = np.random.default_rng(self.seed).permutation(len(self.files))
        return [self.files[i] for i in order[: self.sample]]


def inspect(folder: Path, sample: int = 200, seed: int = 0) -> Inspection:
    """Look at a folder of images and its subfolders.

    Parameters
    ----------
    folder : Path
        May be relative, and may begin with `~`.
    sample : int
        Most images that are decoded; fewer where they are large.
    seed : int
        Of the sample.

    Returns
    -------
    Inspection

    Raises
    ------
    SurveyError
        Where there is no folder, no image in it, or none that can be read and shows anything.
    """
    folder = folder.expanduser().resolve()
    if not folder.is_dir():
        raise SurveyError(f"{folder}: no such folder; give the folder that holds the images")
    found = list(_files(folder))
    taken: dict[FolderReader, list[str]] = {
        reader: [file for file in found if file.lower().endswith(suffixes)] for reader, suffixes in _READERS.items()
    }
    reader, images = max(taken.items(), key=lambda item: len(item[1]))
    if not images:
        raise SurveyError(
            f"{folder}: no image in it or its subfolders ({', '.join(_SUFFIXES)}); convert the images to one of these"
        )
    # the readers take a folder `images` for the place of all images where there is one
    inner = "images" if all(file.startswith("images/") for file in images) else "."
    source = Source(reader=reader, path=str(folder), images=inner)
    bands = look_at_bands(folder, images, seed)
    source = source.model_copy(update=bands.settings)
    opened = open_reader(source, folder)
    inspection = Inspection(
        source,
        Counter(map(_suffix, found)),
        sorted(images),
        opened.batches(),
        seed,
        min(sample, len(images)),
        bands=bands,
    )
    if reader == "fits_folder":
        inspection.headers = Headers()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # astropy's, of headers and files that the inspection reports itself
        _look(inspection, opened)
    if not inspection.widths:
        file, reason = inspection.unreadable[0]
        raise SurveyError(
            f"{folder}: none of {inspection.sample} images can be read, for instance {file}: {reason}. "
            "Deliver images as docs/surveys.md has them"
        )
    if inspection.framing.outcomes["blank"] == len(inspection.widths):
        raise SurveyError(
            f"{folder}: every image looked at is one constant value; deliver images with something in them"
        )
    return inspection


def _files(folder: Path) -> Iterator[str]:
    """Every file that is not hidden, relative to `folder`; links to folders are not followed, nor do the readers."""
    for parent, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith(".") and name != "__MACOSX"]
        inner = Path(parent).relative_to(folder).as_posix()
        yield from (name if inner == "." else f"{inner}/{name}" for name in names if not name.startswith("."))


def _suffix(file: str) -> str:
    name = file.rpartition("/")[2].lower()
    known = next((one for one in ALL if name.endswith(one)), None)
    return known or (f".{name.rpartition('.')[2]}" if "." in name else "no suffix")


def _look(inspection: Inspection, reader: Reader) -> None:
    """Decode the sample and measure it."""
    left = _MOST_PIXELS
    for looked_at, file in enumerate(inspection.sampled(), start=1):
        try:
            if inspection.headers is not None:
                _read_header(inspection.headers, inside(Path(inspection.source.path), file))
            image = reader.image(file)
        except UnreadableImage as error:
            inspection.unreadable.append((file, error.reason))
            continue
        _measure(inspection, image)
        left -= image.size
        if left < 0:
            inspection.sample = looked_at
            break


def _measure(inspection: Inspection, image: np.ndarray) -> None:
    inspection.heights.append(image.shape[0])
    inspection.widths.append(image.shape[1])
    inspection.types[str(image.dtype)] += 1
    data = data_of(image)
    if (share := float(np.ma.getmaskarray(data).mean())) > 0:
        inspection.nodata.append(share)
    if image.dtype != np.uint8:
        inspection.sentinels.update(
            {value for band in np.moveaxis(np.ma.getdata(data), -1, 0) for value in sentinels(band[np.isfinite(band)])}
        )
    equal = data.shape[2] == 1 or np.ma.all(data == data[..., :1])
    inspection.kinds["one band" if image.ndim == 2 else "three equal channels" if equal else "colour"] += 1
    lowest, highest = float(data.min()), float(data.max())
    inspection.levels.append((lowest, float(np.median(data.compressed())), highest))
    share = np.ma.filled(data >= (SATURATED if image.dtype == np.uint8 else highest), False).any(axis=2).mean()
    made = inspection.framing.add(image)
    if made.outcome != "blank":
        inspection.saturated += bool(share >= ArtefactRules().saturated_fraction)
        if made.noise_std > 0:
            sky = made.threshold - inspection.framing.settings.sigma * made.noise_std
            inspection.peaks.append((highest - sky) / made.noise_std)


def _read_header(headers: Headers, path: Path) -> None:
    """Take one file's header into account; what is wrong with the file is said when it is decoded."""
    from astropy.io import fits

    from galaxy_assets.deliveries.decoding.compressed import unpacked
    from galaxy_assets.deliveries.decoding.fits import opened, planes_in
    from galaxy_assets.deliveries.decoding.planes import Choice

    try:
        with unreadable_otherwise(), opened(unpacked(read_file(path)), Choice()) as hdus:
            header, planes = hdus[0].header, planes_in(hdus)
    except UnreadableImage:
        return
    headers.planes[planes.n] += 1
    headers.types[str(np.dtype(fits.BITPIX2DTYPE[header["BITPIX"]]))] += 1
    bands = header.get("BANDS") or header.get("FILTER") or header.get("BAND")
    headers.bands[str(bands) if bands else ", ".join(planes.names) or "not said"] += 1
    headers.units[str(header.get("BUNIT") or "not said")] += 1
    keywords = [keyword for keyword in _POSITION if keyword in header]
    celestial = str(header.get("CTYPE1", "")).startswith(("RA--", "DEC-"))
    headers.positions["WCS" if celestial else ", ".join(keywords) or "none"] += 1
    if celestial and (scale := _pixel_scale(header)):
        headers.scales.append(scale)


def _pixel_scale(header: Any) -> float | None:
    """Side of a pixel in arcseconds, the geometric mean of both axes; None where the header gives none."""
    from astropy.wcs import WCS

    try:
        area = abs(np.linalg.det(WCS(header, naxis=2, fix=False).pixel_scale_matrix))
    except (*_DAMAGE, np.linalg.LinAlgError):
        return None
    return float(np.sqrt(area)) * 3600 if area > 0 else None


def framing(inspection: Inspection, settings: CutoutSettings) -> Framing:
    """Cut the sample of an inspection in another way."""
    measured = Framing(settings)
    for image in _decoded(inspection):
        measured.add(image)
    return measured


def commonest_level(inspection: Inspection, settings: CutoutSettings) -> list[float]:
    """Share of the commonest grey level in each cutout of the sample, as `science.artefacts.evidence` measures it.

    Parameters
    ----------
    inspection : Inspection
    settings : CutoutSettings
        How the sample is cut.

    Returns
    -------
    list of float
    """
    from galaxy_assets.science.artefacts import evidence

    made = [cut(image, settings) for image in _decoded(inspection)]
    shown = [one for one in made if one.pixels is not None]
    pixels = [one.pixels for one in shown if one.pixels is not None]
    measured = evidence(np.stack(pixels), [one.outcome for one in shown], ArtefactRules()) if pixels else None
    return measured["blank_fraction"].to_pylist() if measured is not None else []


def _decoded(inspection: Inspection) -> Iterator[np.ndarray]:
    reader, unreadable = open_reader(inspection.source, Path()), {file for file, _ in inspection.unreadable}
    for file in inspection.sampled():
        if file not in unreadable:
            yield reader.image(file)


@dataclass(frozen=True)
class Labels:
    """What a table says of the images of a folder.

    Attributes
    ----------
    source : Source
        The table and its columns, beside what the inspection's source has.
    classes : dict of str to int
        Images of each class, the commonest first.
    named, missing : int
        Images with a row, and rows without an image.
    """

    source: Source
    classes: dict[str, int]
    named: int
    missing: int


def inspect_labels(
    inspection: Inspection, table: Path, id_column: str | None = None, label_column: str | None = None
) -> Labels:
    """Match a table of labels with the images. Columns called `ra` and `dec` give positions.

    Parameters
    ----------
    inspection : Inspection
        Of the folder.
    table : Path
        CSV, Parquet, FITS, VOTable or ECSV.
    id_column : str, optional
        The one that names most images, when not given.
    label_column : str, optional
        The one called `label` or the only one left, when not given.

    Returns
    -------
    Labels

    Raises
    ------
    SurveyError
        Where the file cannot be read, no column names an image, or it is not clear which holds the classes; lists the
        columns.
    """
    path = table.expanduser().resolve()
    columns = read_table(path)
    names = {_stem(file.rpartition("/")[2]) for file in inspection.files}
    if id_column is None:
        matches = {column: _matches(columns[column], names) for column in columns.column_names}
        id_column = max(matches, key=lambda column: matches[column], default=None)
        if id_column is None or not matches[id_column]:
            raise SurveyError(
                f"{path}: no column names an image of {inspection.source.path}, such as {sorted(names)[0]}; it has "
                f"{', '.join(columns.column_names)}. Name the column with --id-column, or another table with --labels"
            )
    position = {name.lower(): name for name in columns.column_names if name.lower() in ("ra", "dec")}
    if label_column is None:
        left = [name for name in columns.column_names if name not in (id_column, *position.values())]
        if "label" in left:
            left = ["label"]
        if len(left) > 1:
            raise SurveyError(
                f"{path}: which column holds the classes? It has {', '.join(left)}. Name one with --label-column"
            )
        label_column = left[0] if left else None
    both = len(position) == 2
    source = inspection.source.model_copy(
        update={
            "labels": str(path),
            "id_column": id_column,
            "label_column": label_column,
            "ra_column": position["ra"] if both else None,
            "dec_column": position["dec"] if both else None,
        }
    )
    label_of = {_stem(entry.name): entry.label for entry in reversed(read_entries(path, source))}
    classes = Counter(label for name in names if (label := label_of.get(name)) is not None)
    named = len(names & label_of.keys())
    return Labels(source, dict(classes.most_common()), named, len(label_of) - named)


def _matches(column: Any, names: set[str]) -> int:
    try:
        return len(names & {_stem(name) for name in ids_of(column) if name})
    except ValueError:
        return 0


def _stem(name: str) -> str:
    """A file's name as its galaxy is called: without an image's suffix, composed."""
    suffix = next((one for one in _SUFFIXES if name.lower().endswith(one)), "")
    return unicodedata.normalize("NFC", name[: len(name) - len(suffix)])
