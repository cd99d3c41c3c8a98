"""Cutouts around the central source, with a ledger row per image (paper 2.1).

Belongs here: the asset that fills the pixel store. Does not belong here: how a source is found (`science.cutouts`).
"""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from galaxy_assets import plugins
from galaxy_assets.deliveries.images import UnreadableImage, in_words
from galaxy_assets.deliveries.readers import open_reader
from galaxy_assets.orchestration.columns import shared
from galaxy_assets.orchestration.declaration import Result, SurveyContext, picture, survey_asset
from galaxy_assets.plugins.protocols import Reader
from galaxy_assets.science.cutouts import FEW_LEVELS, WITHOUT_PIXELS, Cutout, cut
from galaxy_assets.settings.cutouts import CutoutSettings
from galaxy_assets.settings.printing import PrintableError, logger
from galaxy_assets.settings.survey import Survey
from galaxy_assets.storage.tables import digest

if TYPE_CHECKING:
    from PIL.Image import Image

_PIXELS = "1"  # version of the cutting; raise it when a change of code changes the pixels
_NOT_SQUARE = "2"  # the same of images that are not square
log = logger(__name__)

SCHEMA = pa.schema(
    [
        ("galaxy_id", pa.string()),
        ("batch", pa.string()),
        ("outcome", pa.string()),
        ("box_x0", pa.int32()),
        ("box_y0", pa.int32()),
        ("box_x1", pa.int32()),
        ("box_y1", pa.int32()),
        ("angle", pa.float64()),
        ("noise_std", pa.float64()),
        ("threshold", pa.float64()),
        ("contour_area", pa.float64()),
        ("nodata_fraction", pa.float64()),
        ("levels", pa.int32()),
        ("reason", pa.string()),
        ("pixels", pa.string()),
    ]
)


def _one(reader: Reader, row: dict, settings: CutoutSettings) -> tuple[Cutout | None, str, str | None]:
    """A catalogue row's cutout, outcome and reason; a bad image becomes a row of the ledger and stops nothing."""
    if row["problem"] is not None:
        return None, row["problem"], row["reason"]
    try:
        _, (made,) = read_and_cut(reader.image, row["file"], [settings])
    except UnreadableImage as error:
        return None, error.problem, str(error)
    return made, made.outcome, None


def read_and_cut(
    image_of: Callable[[str], np.ndarray], file: str, ways: Sequence[CutoutSettings]
) -> tuple[np.ndarray, list[Cutout]]:
    """An image (H, W, C) and its cutouts in each way; raises UnreadableImage where it cannot be read or cut, whatever
    library says so.
    """
    try:
        image = image_of(file)
        return image, [cut(image, settings) for settings in ways]
    except (PrintableError, plugins.PluginError):
        raise
    except Exception as error:  # of whatever library, for one image of many
        log.warning("%s cannot be cut: %s", file, error, exc_info=True)
        raise UnreadableImage(f"cannot be cut: {in_words(error)}") from error


def reader_package(survey: Survey) -> list[str]:
    """The package of a reader that is not ours: it decodes the pixels."""
    return plugins.packages("readers", survey.source.reader)


def planes(survey: Survey) -> list[str]:
    """Which planes of a file are decoded; nothing where the survey does not say."""
    said = survey.source.bands, survey.source.extension, survey.source.colour
    return [] if said == (None, None, None) else [repr(said)]


def stretched(survey: Survey) -> list[str]:
    """Version of the stretch; nothing of those that show what they always showed."""
    return ["percentile 2"] if survey.cutout.stretch == "percentile" else []


def pixels_fingerprint(catalogue: pa.Table, survey: Survey) -> str:
    """What decides a batch's pixels: the files' content and the settings. Labels do not, so a corrected label cuts and
    trains nothing anew.
    """
    import pyarrow.compute as pc

    files = catalogue.select(["galaxy_id", "file", "sha256", "problem"])
    square = pc.all(pc.equal(catalogue["width"], catalogue["height"])).as_py()
    decided_by = [
        _PIXELS if square in (True, None) else _NOT_SQUARE,
        survey.cutout.fingerprint(),
        digest(files),
        *reader_package(survey),
        *planes(survey),
        *stretched(survey),
    ]
    return hashlib.sha256(" ".join(decided_by).encode()).hexdigest()[:16]


def cut_chunk(
    reader: Reader, rows: list[dict], settings: CutoutSettings, fingerprint: str
) -> tuple[np.ndarray, pa.Table]:
    """Cut catalogue rows on two threads: pixels uint8 (N, size, size, channels), zero where there is no image, and
    the ledger in SCHEMA, whose column `pixels` names the pixels its rows belong to.
    """
    pixels = np.zeros((len(rows), settings.size, settings.size, 1 if settings.grey else 3), np.uint8)
    ledger = []
    with ThreadPoolExecutor(2) as pool:
        cut_rows = pool.map(lambda row: _one(reader, row, settings), rows)
        for i, (row, (made, outcome, reason)) in enumerate(zip(rows, cut_rows, strict=True)):
            box = (None,) * 4
            angle = noise = threshold = area = nodata = levels = None
            if made is not None:
                if made.pixels is not None:
                    pixels[i] = made.pixels
                box = made.box or box
                angle, noise, threshold, area = made.angle, made.noise_std, made.threshold, made.contour_area
                nodata, levels = made.nodata_fraction, made.levels
            measured = *box, angle, noise, threshold, area, nodata, levels
            ledger.append((row["galaxy_id"], row["batch"], outcome, *measured, reason, fingerprint))
    columns = list(zip(*ledger, strict=True))
    return pixels, pa.table([pa.array(c, t) for c, t in zip(columns, SCHEMA.types, strict=True)], schema=SCHEMA)


@survey_asset(
    "2_cutouts",
    paper="2.1",
    by="batch",
    reads=["catalogue"],
    settings=lambda survey: [survey.cutout, *reader_package(survey), *planes(survey), *stretched(survey)],
    version="4",
    kinds=("opencv", "parquet"),
    retry=True,
    explorer=7,
    tuned=True,
    columns=shared("galaxy_id", "batch")
    | {
        "outcome": "what became of the image: cropped; a fallback, whole or central; without pixels blank, unreadable, "
        "too_small, too_large or duplicate_id; or a word of another package's cutter",
        "box_x0": (
            "left edge of the box that the pixels show, on the original; with sky beside it where it is not square; "
            "null without pixels",
            "pix",
        ),
        "box_y0": ("upper edge of the box; null without pixels", "pix"),
        "box_x1": ("right edge of the box, exclusive; null without pixels", "pix"),
        "box_y1": ("lower edge of the box, exclusive; null without pixels", "pix"),
        "angle": ("turn of the box about its centre, from x to y: 0 unless the survey aligns; null if unread", "deg"),
        "noise_std": "standard deviation of the sky, in units of the image (levels of 0 to 255 where it has 8 bits); "
        "NaN where no source was looked for, null where the image was not read",
        "threshold": "value above which a pixel belongs to a source, in units of the image; NaN and null as noise_std",
        "contour_area": ("area inside the source's contour on the original; NaN without one, null if unread", "pix2"),
        "nodata_fraction": "share of the values in the box that have no data (NaN, or what cutout.nodata names) and "
        "are shown as the local median, 0 to 1; of the frame where it is blank, null if unread",
        "levels": "different grey levels of 8 bits in the box that lie more than 3 sigma above the sky; null if unread",
        "reason": "why the image could not be used, in words; null where it could",
        "pixels": "fingerprint of the files and settings that the batch's pixels were made from, 16 hex digits",
    },
)
def cutouts(context: SurveyContext, catalogue: pa.Table) -> Result:
    """One row per delivered image: how it was cut (or why not), the box on the original, the noise and threshold.
    The pixels go to the pixel store, row by row in the same order. Killed, it resumes after the last whole
    chunk.
    """
    settings, rows = context.survey.cutout, catalogue.to_pylist()
    reader = open_reader(context.survey.source, context.layout.raw)
    fingerprint = pixels_fingerprint(catalogue, context.survey)
    table = context.pixels.fill(
        context.batch,
        n=len(rows),
        shape=(settings.size, settings.size, 1 if settings.grey else 3),
        fingerprint=fingerprint,
        make=lambda r: cut_chunk(reader, [rows[i] for i in r], settings, fingerprint),
        columns=SCHEMA.names,
    )
    context.beside.append(context.pixels.file(context.batch))
    return Result(
        table,
        {
            **{f"outcome {name}": n for name, n in outcomes(table).items()},
            "fallback_share": fallen_back(table),
            "few_levels_share": few_levels(table),
            "with_no_data": int(np.count_nonzero(table["nodata_fraction"].to_numpy() > 0)),
            "pixels": context.link(context.pixels.folder / context.batch),
            **picture(context, _examples(context, table), "cutouts", context.batch),
        },
    )


def outcomes(cutouts: pa.Table) -> dict[str, int]:
    """How many images had each outcome, by its name."""
    import pyarrow.compute as pc

    return dict(sorted((o["values"], o["counts"]) for o in pc.value_counts(cutouts["outcome"]).to_pylist()))


def shown_of(outcomes: Mapping[str, int]) -> int:
    """How many of the images with these outcomes have pixels."""
    return sum(n for outcome, n in outcomes.items() if outcome not in WITHOUT_PIXELS)


def fallen_back(cutouts: pa.Table) -> float:
    """Share of the images that keep their original frame because no source was found."""
    fallen = sum(n for outcome, n in outcomes(cutouts).items() if outcome.startswith("fallback"))
    return fallen / max(cutouts.num_rows, 1)


def few_levels(cutouts: pa.Table) -> float:
    """Share of the cutouts that have fewer than `FEW_LEVELS` levels above the noise; 0 where none was counted."""
    if "levels" not in cutouts.column_names:  # a table of older code
        return 0.0
    levels = cutouts["levels"].filter(cutouts["box_x0"].is_valid()).to_numpy()
    return float((levels < FEW_LEVELS).mean()) if len(levels) else 0.0


def _examples(context: SurveyContext, table: pa.Table) -> "Image":
    from galaxy_assets.figures.galleries import contact_sheet

    shown = np.random.default_rng(0).permutation(table.num_rows)[:24]
    images = list(context.pixels.stack([context.batch])[shown])
    return contact_sheet(images, [table["outcome"][int(i)].as_py() for i in shown], columns=8)
