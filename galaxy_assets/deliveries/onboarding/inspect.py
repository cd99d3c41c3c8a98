"""What a folder of images holds, from a random sample of them.

Belongs here: which files there are, and measurements of size, bands, levels, headers and cutouts. Does not belong here:
what a table says of them (`labels`), and what a survey of these images should look like (`propose`).
"""

import hashlib
import warnings
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from galaxy_assets.deliveries.ids import image_name
from galaxy_assets.deliveries.images import UnreadableImage, unreadable_otherwise
from galaxy_assets.deliveries.onboarding.bands import Bands, look_at_bands
from galaxy_assets.deliveries.onboarding.framing import Framing, data_of
from galaxy_assets.deliveries.onboarding.holdings import holdings
from galaxy_assets.deliveries.readers import open_reader
from galaxy_assets.deliveries.readers.image_folder import ImageFolder, Listed
from galaxy_assets.science.artefacts import SATURATED
from galaxy_assets.science.cutouts.nodata import sentinels
from galaxy_assets.settings.artefacts import LEAST
from galaxy_assets.settings.cutouts import CutoutSettings
from galaxy_assets.settings.files import SurveyError
from galaxy_assets.settings.source import Source
from galaxy_assets.storage.layout import Layout

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
    not_shown : Counter of str
        How many files have which extensions with a further image.
    """

    planes: Counter[int] = field(default_factory=Counter)
    types: Counter[str] = field(default_factory=Counter)
    bands: Counter[str] = field(default_factory=Counter)
    units: Counter[str] = field(default_factory=Counter)
    positions: Counter[str] = field(default_factory=Counter)
    scales: list[float] = field(default_factory=list)
    not_shown: Counter[str] = field(default_factory=Counter)


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
    listed : list of Listed
        The images as the catalogue will have them, without what a table says of them.
    notes : list of str
        What is not taken of the folder and of its archives, and why.
    twins : int
        Images that the reader does not take whose names images have that it takes.
    seed, sample : int
        How many images were looked at, and the seed that chose them.
    unreadable : list of (str, str)
        (file, reason) of those that cannot be decoded.
    widths, heights : list of int
        Of the decoded images, pixels.
    copies : Counter of str
        Decoded images by their content.
    kinds : Counter of str
        Images of `one band`, of `three equal channels` and in `colour`.
    types : Counter of str
        Of the decoded pixels; FITS files' own type is in `headers`.
    levels : list of (float, float, float)
        Lowest, median and highest value of each decoded image.
    peaks : list of float
        Highest value above the sky over the noise, of each image that has noise.
    saturated : int
        Images of which a twentieth or more of the pixels is at the highest level.
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
    copies: Counter[str] = field(default_factory=Counter)
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
    listed: list[Listed] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    twins: int = 0

    @property
    def named_by_folder(self) -> list[str]:
        """Files of the images whose ids have their folders, since their names are not unique."""
        return [one.image.file for one in self.listed if one.name != image_name(one.image.called)]

    @property
    def duplicates(self) -> list[str]:
        """Files of the images that the catalogue will pass over as duplicates."""
        return [one.image.file for one in self.listed if one.galaxy_id != one.name]

    @property
    def grey(self) -> bool:
        """Whether fewer than half of the images looked at have colours."""
        return 2 * self.kinds["colour"] < len(self.widths)

    def sampled(self) -> list[str]:
        """The files of the sample, relative to the folder."""
        order = np.random.default_rng(self.seed).permutation(len(self.files))
        return [self.files[i] for i in order[: self.sample]]


def inspect(folder: Path, sample: int = 200, seed: int = 0, table: Path | None = None) -> Inspection:
    """Look at a folder of images and its subfolders.

    Parameters
    ----------
    folder : Path
        May be relative, and may begin with `~`.
    sample : int
        Most images that are decoded; fewer where they are large.
    seed : int
        Of the sample.
    table : Path, optional
        Of labels, which is no image wherever it lies.

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
        what = "is a file" if folder.exists() else "no such folder"
        raise SurveyError(f"{folder}: {what}; give the folder that holds the images")
    table = table and table.expanduser().resolve()
    found = holdings(folder, table)
    reader = open_folder(found.source, table)
    listed = [one for images in reader.listed_all().values() for one in images]
    files = sorted(one.image.file for one in listed)
    inspection = Inspection(found.source, found.suffixes, files, reader.batches(), seed, min(sample, len(files)))
    inspection.listed, inspection.twins = listed, found.twins
    inspection.notes = [f"{one.path}: {one.reason}" for one in reader.deliveries() if one.state != "whole"]
    inspection.notes += [*reader.notes(), *found.passed_over]
    if found.elsewhere:
        inspection.notes.append(
            f"{len(found.elsewhere)} archives lie deeper than the images, such as {found.elsewhere[0]}, and are not "
            f"read: put them into {folder / found.source.images}, or make them a survey of their own"
        )
    inspection.notes = list(dict.fromkeys(inspection.notes))  # a damaged archive is held, and noted
    inspection.bands = look_at_bands(reader.read, files, seed, found.source.bands)
    inspection.source = found.source.model_copy(update=inspection.bands.settings)
    reader = open_folder(inspection.source, table)
    if found.source.reader == "fits_folder":
        inspection.headers = Headers()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # astropy's, of headers and files that the inspection reports itself
        _look(inspection, reader)
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


def open_folder(source: Source, table: Path | None = None) -> ImageFolder:
    """The reader of a folder, as a run opens it; with a table that `source` does not name yet."""
    reader = open_reader(source, Layout.default().raw)
    assert isinstance(reader, ImageFolder), source.reader
    if table is not None:
        reader.leave_out(table)
    return reader


def _look(inspection: Inspection, reader: ImageFolder) -> None:
    """Decode the sample and measure it."""
    left = _MOST_PIXELS
    for looked_at, file in enumerate(inspection.sampled(), start=1):
        try:
            if inspection.headers is not None:
                data = reader.read(file)
                _read_header(inspection.headers, data, reader.position(file, data) != (None, None))
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
    inspection.copies[hashlib.sha256(image.tobytes()).hexdigest()] += 1
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
        inspection.saturated += bool(share >= LEAST["saturated_fraction"])
        if made.noise_std > 0:
            sky = made.threshold - inspection.framing.settings.sigma * made.noise_std
            inspection.peaks.append((highest - sky) / made.noise_std)


def _read_header(headers: Headers, data: bytes, placed: bool) -> None:
    """Take the header of one file, `placed` by it or not, into account; what is wrong with it is said when decoded."""
    from astropy.io import fits

    from galaxy_assets.deliveries.decoding.compressed import unpacked
    from galaxy_assets.deliveries.decoding.fits import EVERY, card, not_shown, opened, planes_in
    from galaxy_assets.deliveries.readers.fits_folder import no_equinox

    try:
        with unreadable_otherwise(), opened(unpacked(data), EVERY) as hdus:
            header, planes = hdus[0].header, planes_in(hdus)
            kind = str(np.dtype(fits.BITPIX2DTYPE[header["BITPIX"]]))
            beside = ", ".join(not_shown(unpacked(data)))
            bands = next((said for key in ("BANDS", "FILTER", "BAND") if (said := card(header, key))), None)
            unit = card(header, "BUNIT")
            keywords = ", ".join(keyword for keyword in _POSITION if keyword in header)
            celestial = str(card(header, "CTYPE1")).startswith(("RA--", "DEC-"))
            year = no_equinox(header)
            scale = _pixel_scale(header) if celestial else None
    except UnreadableImage:
        return
    headers.planes[planes.n] += 1
    headers.types[kind] += 1
    headers.not_shown[beside] += 1
    headers.bands[str(bands or ", ".join(planes.names) or "not said")] += 1
    headers.units[str(unit or "not said")] += 1
    said = "WCS" if year is None else f"WCS, where {year} is taken for no equinox"
    headers.positions[said if placed else keywords or ("WCS that gives no position" if celestial else "none")] += 1
    if scale:
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


def _decoded(inspection: Inspection) -> Iterator[np.ndarray]:
    reader, unreadable = open_folder(inspection.source), {file for file, _ in inspection.unreadable}
    for file in inspection.sampled():
        if file not in unreadable:
            yield reader.image(file)
