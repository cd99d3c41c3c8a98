"""What was found in a folder of images, in words for a person.

Belongs here: the table of findings, and what to know before the survey is run. Does not belong here: the measurements
(`inspect`), which settings follow from them (`propose`).
"""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from galaxy_assets.deliveries.beside import is_of_smaller
from galaxy_assets.deliveries.ids import image_name
from galaxy_assets.deliveries.onboarding.beginnings import beginnings
from galaxy_assets.deliveries.onboarding.framing import FALLBACK
from galaxy_assets.deliveries.onboarding.holdings import READERS
from galaxy_assets.deliveries.onboarding.inspect import Inspection
from galaxy_assets.deliveries.onboarding.labels import Labels
from galaxy_assets.deliveries.suffixes import FOREIGN, TABLES
from galaxy_assets.science.artefact_limits import MOST
from galaxy_assets.science.cutouts import FEW_LEVELS
from galaxy_assets.settings.artefacts import ArtefactRules
from galaxy_assets.settings.printing import printable

_BRIGHT = 0.7  # of the range of an image, above which half of its pixels are no sky


def table_of(found: Inspection) -> list[tuple[str, str]]:
    """What was found, in words.

    Parameters
    ----------
    found : Inspection
        What was measured.

    Returns
    -------
    list of (str, str)
        A heading and a text each; safe to print.
    """

    def spread(values: list[int]) -> str:
        low, middle, high = np.quantile(values, [0.05, 0.5, 0.95])
        return f"{middle:.0f}" if low == high else f"{middle:.0f} ({low:.0f} to {high:.0f} in nine of ten)"

    def several(counts: dict[Any, int]) -> str:
        return ", ".join(f"{n:,} {what}" for what, n in counts.items())

    n = len(found.widths)
    lowest, middle, highest = np.median(found.levels, axis=0)
    rows = [
        ("files", several(dict(found.suffixes.most_common(6)))),
        ("images", f"{len(found.files):,}, of which {found.sample:,} at random were looked at (seed {found.seed})"),
        ("deliveries", f"{len(found.deliveries)}: {', '.join(found.deliveries[:5])}"),
        ("width, height", f"{spread(found.widths)}, {spread(found.heights)} pixels"),
        ("bands", several(found.kinds)),
        (
            "levels",
            f"{several(found.types)}; a median image from {lowest:.4g} to {highest:.4g}, half of it below {middle:.4g}",
        ),
        ("no data", _without_data(found)),
        ("saturated", f"{found.saturated} of {n} images"),
        ("constant", f"{found.framing.outcomes['blank']} of {n} images"),
        ("unreadable", f"{len(found.unreadable)} of {found.sample:,}"),
        *(("", f"{file}: {reason}") for file, reason in found.unreadable[:5]),
    ]
    if found.peaks:
        middle, high = np.quantile(found.peaks, [0.5, 0.95])
        rows.insert(6, ("peak over noise", f"{middle:.0f}, 95 % of the images below {high:.0f}"))
    if found.bands.reason:
        rows.append(("planes", found.bands.reason))
    if (headers := found.headers) is not None:
        planes = ", ".join(f"{planes} in {count}" for planes, count in headers.planes.items())
        rows += [
            ("FITS planes", f"{planes}; {several(headers.types)}; bands: {several(headers.bands)}"),
            ("FITS unit", several(headers.units)),
            ("FITS position", several(headers.positions)),
            ("pixel scale", _scales(headers.scales)),
        ]
    return [(heading, printable(text)) for heading, text in rows]


def _without_data(found: Inspection) -> str:
    if not found.nodata:
        return "none of the images has pixels without data"
    values = "".join(f", {value:.9g} in {n}" for value, n in found.sentinels.most_common(5))
    return (
        f"{len(found.nodata)} of {len(found.widths)} images have pixels without data (NaN{values}), "
        f"{np.median(found.nodata):.1%} of a median one; they are shown as the local median"
    )


def table_of_labels(found: Inspection, labels: Labels | None) -> list[tuple[str, str]]:
    """What the catalogue will hold of the labels, in words.

    Parameters
    ----------
    found : Inspection
        What was measured.
    labels : Labels or None
        What a table or the folders say of the images.

    Returns
    -------
    list of (str, str)
        A heading and a text; empty without labels. Safe to print.
    """
    if labels is None:
        return []
    n = sum(labels.classes.values())
    text = f"{n:,} of {len(found.files):,} images have a class"
    if labels.source.labels is not None:
        text += f"; {labels.named:,} have a row, {labels.missing:,} rows are about no image"
    return [("labels", printable(text)), *(("scores", printable(one.words)) for one in labels.graded)]


def _scales(scales: list[float]) -> str:
    if not scales:
        return "not in the headers"
    low, middle, high = np.quantile(scales, [0, 0.5, 1])
    return f"{middle:.3g} arcsec" + ("" if high - low < 0.01 * middle else f" ({low:.3g} to {high:.3g})")


def cautions(found: Inspection, labels: Labels | None) -> list[str]:
    """What a person should know of the folder and the table before they run the survey.

    Parameters
    ----------
    found : Inspection
        What was measured.
    labels : Labels or None
        What a table says of the images, if there is one.

    Returns
    -------
    list of str
        A sentence or more each; may be empty.
    """
    table = "" if labels is None else Path(labels.source.labels or "").name
    said = [f"{note}." for note in found.notes if not table or Path(note.partition(": ")[0]).name != table]
    if found.duplicates:
        said.append(
            f"{len(found.duplicates):,} images have the name of another, such as {found.duplicates[0]}, and are passed "
            "over as duplicates: rename them to keep them."
        )
    if found.named_by_folder:
        said.append(
            f"{len(found.named_by_folder):,} images share their name with images of other folders, such as "
            f"{found.named_by_folder[0]}: their ids have the folder before the name."
        )
    said += _small_copies(found)
    said += _about_labels(found, labels)
    if (copies := len(found.widths) - len(found.copies)) > 0:
        said.append(
            f"{copies:,} of the {len(found.widths):,} images looked at are copies of others: "
            f"{len(found.copies):,} differ. Nothing is learnt from copies."
        )
    if len(found.widths) < 30:
        measured = "1 image was" if len(found.widths) == 1 else f"{len(found.widths)} images were"
        said.append(f"Only {measured} measured: shares and quantiles are weak evidence.")
    if labels is not None and labels.missing > len(found.files):
        said.append(
            f"{labels.missing:,} rows of {labels.source.labels} name no image that is here: they wait for later "
            "deliveries, or another column has the names (--id-column)."
        )
    images = {suffix: n for suffix, n in found.suffixes.items() if suffix in FOREIGN}
    taken = READERS[found.source.reader]
    if foreign := sum(n for suffix, n in images.items() if suffix not in taken):
        there = ", ".join(f"{n:,} {suffix}" for suffix, n in images.items())
        told = f"{foreign:,} of {sum(images.values()):,} images have a format that {found.source.reader} does not read"
        same = f"{found.twins:,} of them have the names of images that are read, and may show the same objects; else "
        remedy = "convert them, or make them a survey of their own"
        said.append(f"{told} (there are {there}): {same if found.twins else ''}{remedy}.")
    if len(found.unreadable) > 0.2 * found.sample:
        said.append(f"{len(found.unreadable) / found.sample:.0%} of the images looked at cannot be read, see above.")
    if found.framing.few_levels > 0.2:
        said.append(
            f"{found.framing.few_levels:.0%} of the cutouts have fewer than {FEW_LEVELS} levels above the noise"
            + (
                ": the images have no more than 8 bits, or little light."
                if set(found.types) <= {"uint8"}
                else " when they are scaled linearly; cutout.stretch says what was chosen."
            )
        )
    said += _about_levels(found)
    if found.nodata and np.median(found.nodata) >= ArtefactRules().nodata_fraction:
        said.append(
            f"{len(found.nodata)} of {len(found.widths)} images have pixels without data, half of these "
            f"{np.median(found.nodata):.0%} or more of the frame; cutouts of {ArtefactRules().nodata_fraction:.0%} are "
            "suspect (artefacts.nodata_fraction)."
        )
    for extensions, n in _further(found.headers.not_shown if found.headers is not None else {}):
        said.append(
            f"{n} files have a further image in the extensions {extensions}, which is not shown: see source.extension."
        )
    if found.bands.caution:
        said.append(found.bands.caution)
    if len(found.deliveries) > 50:
        said.append(
            f"{len(found.deliveries)} sub-folders are as many deliveries, each with its own runs; join them where "
            "they were not delivered one by one."
        )
    return [printable(caution) for caution in said]


def _small_copies(found: Inspection) -> list[str]:
    """Which folders are called as small copies, and hold images that are smaller than those they are named like."""
    unreadable = dict(found.unreadable)
    seen = (file for file in found.sampled() if file not in unreadable)
    pixels = {file: a * b for file, a, b in zip(seen, found.widths, found.heights, strict=True)}
    folders: dict[str, list[str]] = {}
    for file in found.files:
        folders.setdefault(file.rpartition("/")[0].rpartition("/")[2], []).append(file)
    said = []
    for folder in filter(is_of_smaller, folders):
        names = {image_name(file) for other, files in folders.items() if other != folder for file in files}
        files = {file for file in folders[folder] if image_name(file) in names}
        names = {image_name(file) for file in files}
        own = [pixels[file] for file in files & pixels.keys()]
        theirs = [pixels[file] for file in pixels.keys() - files if image_name(file) in names]
        if not files or (own and theirs and np.median(own) > np.median(theirs) / 2):
            continue
        said.append(
            f"{len(files):,} images in {folder} have the names of others, of which they seem to be small copies: move "
            "that folder out of the survey's, or each object is there twice."
        )
    return said


def _further(not_shown: Mapping[str, int]) -> list[tuple[str, int]]:
    """Extensions with a further image and how many files have them, with their names where these are alike."""
    found: dict[str, dict[str, int]] = {}
    for extensions, n in not_shown.items():
        if extensions:
            found.setdefault(re.sub(r" \([^,]*\)", "", extensions), {})[extensions] = n
    return [(next(iter(own)) if len(own) == 1 else numbers, sum(own.values())) for numbers, own in found.items()]


def _about_levels(found: Inspection) -> list[str]:
    """What follows from colours and levels of the images looked at."""
    said, n = [], len(found.widths)
    bright = sum(middle > low + _BRIGHT * (high - low) for low, middle, high in found.levels)
    if bright > MOST * n:
        said.append(
            f"in {bright} of {n} images most pixels are nearly as bright as the brightest: if they show dark sources "
            "on a bright sky, deliver their negatives, since a source is what is brighter than its sky."
        )
    if found.saturated > MOST * n:
        said.append(_about_saturation(found))
    colours = found.kinds["colour"]
    if 0 < colours < n:
        left = "theirs are left out (cutout.grey)" if found.grey else "the others are kept as grey colours"
        said.append(f"{colours} of {n} images have colours; {left}. If they are other data, make them another survey.")
    return said


def _about_saturation(found: Inspection) -> str:
    """What follows from a sample that is mostly saturated."""
    edges = found.framing.fallback
    return (
        f"{found.saturated} of {len(found.widths)} images are saturated, a twentieth or more of their pixels at the "
        "highest level: what most images show is no artefact, so no limit on it is proposed "
        "(`artefacts.saturated_fraction` follows the images)"
        + (f", and sigma clipping, which fails on {edges:.0%} of them, is not" if edges > FALLBACK else "")
        + ". If the pictures were scaled too bright, deliver them anew."
    )


def _about_labels(found: Inspection, labels: Labels | None) -> list[str]:
    said = []
    tables = {suffix: n for suffix, n in found.suffixes.items() if suffix in TABLES}
    if tables and (labels is None or labels.source.labels is None):
        there = ", ".join(f"{n:,} {suffix}" for suffix, n in tables.items())
        said.append(f"No table is read ({there} in the folder): one that has classes is named with --labels.")
    if labels is None or (labels.source.labels is None and not labels.classes):
        begin = beginnings([image_name(one.image.called) for one in found.listed])
        if begin:
            said.append(
                f"The names begin with {' or '.join(f'{text} ({n:,})' for text, n in begin.items())}: if these are "
                "classes, put the images into folders called so, or write them into a table (--labels)."
            )
    if labels is not None and labels.source.folder_labels:
        said.append(
            f"The names of the folders are taken as classes ({', '.join(list(labels.classes)[:8])}): if they are none, "
            "set `source.folder_labels` to false."
        )
        said += [f"{note}." for note in labels.notes]
    if labels is not None and labels.source.labels is None and not labels.classes:
        said += [f"{note}." for note in labels.notes]
    elif labels is not None and labels.source.labels is None and not labels.source.folder_labels:
        said.append(
            f"The classes are those that the archives themselves have ({', '.join(list(labels.classes)[:8])}); a table "
            "of labels takes their place (--labels)."
        )
    elif labels is not None and labels.source.labels is not None:
        said += [f"{Path(labels.source.labels).name}: {note}." for note in labels.notes]
        unlabelled = len(found.files) - labels.named
        if unlabelled > 0.5 * len(found.files):
            said.append(f"{unlabelled:,} of {len(found.files):,} images have no row in the table of labels.")
    return said + ([] if labels is None else labels.proposed(len(found.files)).cautions)
