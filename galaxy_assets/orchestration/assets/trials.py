"""Ways of preparing the images, tried before anything is cut or trained, of a survey that leaves them open with `auto`.

Belongs here: the asset, the order of its rounds, reading the sample. Does not belong here: the candidates and what is
measured of them (`science.trials`), how a choice reaches other assets (`declaration`, `storage.trials`).
"""

import functools
import hashlib
import json
import time
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, NamedTuple

import dagster as dg
import numpy as np
import pyarrow as pa

from galaxy_assets.deliveries.images import UnreadableImage
from galaxy_assets.deliveries.readers import open_reader
from galaxy_assets.orchestration.assets.cutouts import planes, read_and_cut, reader_package, stretched
from galaxy_assets.orchestration.assets.representation import halves, start_encoder
from galaxy_assets.orchestration.columns import markdown
from galaxy_assets.orchestration.declaration import (
    EVERY_BATCH,
    TRAINED_ON,
    Result,
    SurveyContext,
    picture,
    survey_asset,
)
from galaxy_assets.orchestration.external import OTHER_CHECKPOINTS, WEIGHTS
from galaxy_assets.plugins.protocols import Reader
from galaxy_assets.science import samples, trials
from galaxy_assets.science.trials import CRITERIA, FEWEST, IMAGE_SIZE, ORIENTATIONS, Candidate
from galaxy_assets.settings.cutouts import CutoutSettings
from galaxy_assets.settings.printing import logger
from galaxy_assets.settings.progress import HowFar, Progress, tell
from galaxy_assets.settings.recipe import OF_START
from galaxy_assets.settings.survey import Survey
from galaxy_assets.settings.tuning import as_yaml, of_open, with_choice
from galaxy_assets.storage.files import replacing
from galaxy_assets.storage.pixels import resize
from galaxy_assets.storage.trials import TRIALS, TrialRows, document_of_trials

if TYPE_CHECKING:
    from galaxy_assets.science.encoders.network import Encoder

log = logger(__name__)

_SAMPLE = 1000  # images: enough for a difference of .02 in the share of neighbours, and minutes on two cores
_LOOK = 200  # of them at once, for the sides of the clipped boxes
_UNREADABLE, _EMPTY = "cannot be read or cut", "show nothing"
_KEPT = 256 * 2**20  # bytes of decoded images that stay from one look to the next
_EXAMPLES = 10  # galaxies on the contact sheet
SCHEMA = pa.schema(
    [
        ("candidate", pa.string()),
        ("method", pa.string()),
        ("source", pa.string()),
        ("align", pa.bool_()),
        ("central_pixels", pa.int32()),
        ("size", pa.int32()),
        ("image_size", pa.int32()),
        ("orientations", pa.int32()),
        ("images", pa.int32()),
        *((name, pa.float64()) for name in CRITERIA),
        ("score", pa.float64()),
        ("seconds", pa.float64()),
        ("chosen", pa.bool_()),
        ("reason", pa.string()),
        ("settings", pa.string()),
    ]
)


class _Cut(NamedTuple):
    """One image of the sample, cut in several ways: its file and longer side; of each way the longer side of the box, a
    digest of the pixels, and the pixels, or none of any way where there was no room for them.
    """

    file: str
    frame: int
    sides: list[int]
    digests: list[bytes]
    pixels: list[np.ndarray]


@dataclass
class _Sample:
    """The images of the sample; those of the first look stay decoded until they are cut, as far as they are small, and
    so do their pixels until they are measured. `left_out` says why a file was not cut.
    """

    reader: Reader
    rows: list[dict[str, Any]]
    decoded: dict[str, np.ndarray] = field(default_factory=dict)
    room: int = _KEPT
    room_for_pixels: int = _KEPT
    left_out: dict[str, str] = field(default_factory=dict)

    def clipped(self, cutout: CutoutSettings) -> tuple[list[int], list[int]]:
        """Longer sides of the boxes that sigma clipping finds among the first images, and of the images themselves.

        It looks on until FEWEST show something. What is thresholded, and how, is as the survey says.
        """
        wanted = {"method": "sigma_clip", "enlarge": 2.0, "size": 16, "align": False, "options": {}}
        looked: list[_Cut] = []
        for begin in range(0, len(self.rows), _LOOK):
            looked += self.cut([cutout.model_copy(update=wanted)], 16, self.rows[begin : begin + _LOOK])
            if len(looked) >= FEWEST:
                break
        return [one.sides[0] for one in looked if one.sides[0] < one.frame], [one.frame for one in looked]

    def cut(
        self, ways: Sequence[CutoutSettings], side: int, looked_at: Sequence[dict[str, Any]] | None = None
    ) -> list[_Cut]:
        """Each readable image with something to see, decoded once, cut in each way and resized to a side; of all rows,
        or of some that are looked at and stay decoded.
        """
        image, rows = (self.image, self.rows) if looked_at is None else (self.image_kept, looked_at)
        made, files = [], [row["file"] for row in rows]
        far = HowFar(log, f"cutting in {len(ways)} ways", len(files))
        with ThreadPoolExecutor(2) as pool:
            cuts = pool.map(functools.partial(_cut, image, ways=ways, side=side), files)
            for done, (file, one) in enumerate(zip(files, cuts, strict=True), 1):
                far.tell(done)
                if isinstance(one, str):
                    self.left_out[file] = one
                else:
                    self.room_for_pixels -= sum(pixels.nbytes for pixels in one.pixels)
                    made.append(one if self.room_for_pixels >= 0 else one._replace(pixels=[]))
        return made

    def pixels(self, made: Sequence[_Cut], at: int, way: CutoutSettings, side: int) -> np.ndarray:
        """Pixels uint8 (N, side, side, C) of cut images in the way `at`: those that were kept, the others cut again."""

        def one(of: _Cut) -> np.ndarray:
            if of.pixels:
                return of.pixels[at]
            _, (again,) = read_and_cut(self.reader.image, of.file, [way])
            assert again.pixels is not None, "it was cut so before"
            return resize(again.pixels, side)

        stack = np.empty((len(made), side, side, 1 if way.grey else 3), np.uint8)
        with ThreadPoolExecutor(2) as pool:
            for i, pixels in enumerate(pool.map(one, made)):
                stack[i] = pixels
        return stack

    def image(self, file: str) -> np.ndarray:
        """An image, which is not kept."""
        return self.decoded.pop(file) if file in self.decoded else self.reader.image(file)

    def image_kept(self, file: str) -> np.ndarray:
        """An image, kept for the next time where there is room."""
        image = self.reader.image(file)
        self.room -= image.nbytes
        if self.room >= 0:
            self.decoded[file] = image
        return image


def _cut(image_of: Callable[[str], np.ndarray], file: str, ways: Sequence[CutoutSettings], side: int) -> _Cut | str:
    """Why there is none of an image: _UNREADABLE, or _EMPTY in one of the ways."""
    try:
        image, made = read_and_cut(image_of, file, ways)
    except UnreadableImage:
        return _UNREADABLE
    found = _Cut(file, max(image.shape[:2]), [], [], [])
    for one in made:
        if one.pixels is None or one.box is None:
            return _EMPTY
        x0, y0, x1, y1 = one.box
        pixels = resize(one.pixels, side)
        found.sides.append(max(x1 - x0, y1 - y0))
        found.digests.append(hashlib.sha256(pixels.tobytes()).digest())
        found.pixels.append(pixels)
    return found


@dataclass
class _Trials:
    """The trials of one survey: the rows that a stopped start of the same ones has left, and the pace since this one
    began, of which `found` rows are left out.
    """

    survey: Survey
    encoder: "Encoder"
    device: Any
    kept: TrialRows
    planned: int
    begun: float = field(default_factory=time.monotonic)
    done: int = 0
    found: int = 0

    def measured(self, candidate: Candidate, pixels: np.ndarray, nuisance: np.ndarray) -> dict[str, Any]:
        """The row of a candidate."""
        row = self.kept.rows().get(candidate.name)
        if row is not None:
            self.found += 1
        else:
            begun, tried = time.perf_counter(), with_choice(self.survey, candidate.settings)
            features = trials.features_of(self.encoder, pixels, tried.recipe, ORIENTATIONS[0], self.device)
            row = {
                "candidate": candidate.name,
                **{key: getattr(tried.cutout, key) for key in ("method", "source", "align", "central_pixels", "size")},
                "image_size": pixels.shape[1],
                "orientations": ORIENTATIONS[0],
                "images": len(pixels),
                **trials.criteria(features, pixels, nuisance),
                "seconds": time.perf_counter() - begun,
                "settings": json.dumps(candidate.settings, sort_keys=True),
            }
            self.kept.record(candidate.name, row)
        self.done += 1
        measured = self.done - self.found
        left = (self.planned - self.done) * (time.monotonic() - self.begun) / measured if measured else None
        told = f"{candidate.name} took {row['seconds']:.0f} s" if measured else f"{candidate.name}, before the stop"
        tell(log, Progress(f"trials of {self.survey.name}", self.done, self.planned, "ways", left=left), told)
        return row


def _tried_with(survey: Survey) -> str:
    """What of the recipe decides the trials: the network, what it reads and the views; not how it is trained."""
    recipe = survey.recipe.model_dump()
    views = [key for key in recipe if key.startswith(("blur_", "flip_", "crop_", "rotation_", "contrast", "noise"))]
    return json.dumps({key: recipe[key] for key in ("backbone", "image_size", "orientations", "seed", *views)})


@survey_asset(
    "2_cutouts",
    paper="2.1 and 4.1, whose choices it replaces",
    reads={"catalogue": EVERY_BATCH | TRAINED_ON},
    files=[WEIGHTS, OTHER_CHECKPOINTS],
    settings=lambda survey: [
        survey.cutout,
        _tried_with(survey),
        survey.main_start_weights,
        survey.rgz_checkpoint or "",
        *(f"{name} {network.fingerprint()}" for name, network in survey.networks.items()),
        " ".join(survey.auto),
        *reader_package(survey),
        *planes(survey),
        *stretched(survey),
    ],
    version="2",
    gpu=True,
    retry=True,
    trigger="at_once",
    columns={
        "candidate": "the candidate in words",
        "method": "cutout.method",
        "source": "cutout.source",
        "align": "cutout.align",
        "central_pixels": ("cutout.central_pixels", "pix"),
        "size": ("cutout.size; that of the others is the survey's or its default", "pix"),
        "image_size": ("side of the images that the network read", "pix"),
        "orientations": "orientations over which features were averaged; of the chosen one, those of the survey",
        "images": "images of the sample that were measured",
        **CRITERIA,
        "score": "mean of stability, nuisance_share with the sign changed and fill, each in standard deviations of all "
        "candidates; the highest is chosen",
        "seconds": ("time that the candidate took", "s"),
        "chosen": "whether the survey goes on with it",
        "reason": "why; null of the others",
        "settings": "the settings in place of `auto` that the candidate stands for, as JSON",
    },
)
def recipe_trials(context: SurveyContext, catalogue: pa.Table) -> Result:
    """One row per way of cutting the images that was tried. Each is tried on the same sample of at most 1,000 images
    with the main start weights as they are: nothing is trained, and no label is read. The image size, the orientations
    and the contrast of the views follow from the frame by rules. Only a survey that says `auto` has this table, and
    only what says so is tried. It is made anew by a retraining. Killed, it goes on after the last whole candidate.
    """
    survey, is_open = context.survey, context.survey.auto
    side = IMAGE_SIZE if "recipe.image_size" in is_open else survey.recipe.image_size
    _check_image_size(context, side)
    sample = _sample(context, catalogue)
    boxes, images = sample.clipped(survey.cutout)
    side_of_images = int(np.median(images)) if images else survey.cutout.size
    frames = trials.frames(survey.cutout, is_open, boxes, side_of_images)
    if len(images) < FEWEST:
        return _untried(survey, frames, sample)
    ways = [_to_compare(survey, one, side) for one in frames]
    made = sample.cut(ways, side)
    if len(made) < FEWEST:
        return _untried(survey, frames, sample)
    differ = trials.distinct([[one.digests[i] for one in made] for i in range(len(ways))])
    run = _begun(context, sample, len(differ), side)
    rows, whole, examples = [], [], []
    for i in differ:  # the pixels of one way at a time
        pixels, sides = sample.pixels(made, i, ways[i], side), [one.sides[i] for one in made]
        if len(differ) > 1:
            rows.append(run.measured(frames[i], pixels, trials.nuisances(pixels, sides, [one.frame for one in made])))
        whole.append(_with_rule(survey, frames[i], sides, pixels))
        examples.append(list(pixels[:_EXAMPLES].copy()))
    at, reason = 0, f"{whole[0].name}: the only candidate that agrees with what is set"
    if rows:
        at, reason = trials.choose(rows)
        rows = [row | {"score": score} for row, score in zip(rows, trials.scores(rows).tolist(), strict=True)]
    result = _result(context, rows, at, whole, reason, examples)
    run.kept.remove()
    return result


def _check_image_size(context: SurveyContext, side: int) -> None:
    """Raise where the network of some start weights, or of what stands beside them, does not take images of a side.

    Of what else is wrong with others than the main start weights their own training tells.
    """
    from galaxy_assets.science.encoders.network_files import WrongSize

    survey = context.survey
    recipe = survey.recipe.model_copy(update={"image_size": side})
    for name in dict.fromkeys([*survey.starts_main_first, *(name for name in recipe.beside if name not in OF_START)]):
        try:
            encoder = start_encoder(context, name, side)
        except (dg.Failure, ValueError) as error:
            if name == survey.main_start_weights or isinstance(error, WrongSize):
                raise
            continue
        if name in survey.start_weights:
            halves(encoder, recipe)


def _sample(context: SurveyContext, catalogue: pa.Table) -> _Sample:
    """A random sample of the images that can be read, in an order that the ids decide and not the deliveries."""
    readable = catalogue.filter(catalogue["problem"].is_null()).select(["galaxy_id", "file", "sha256"])
    order = np.argsort(samples.keys(readable["galaxy_id"], context.survey.recipe.seed), kind="stable")[:_SAMPLE]
    reader = open_reader(context.survey.source, context.layout.raw)
    return _Sample(reader, readable.take(pa.array(order)).to_pylist())


def _begun(context: SurveyContext, sample: _Sample, n_frames: int, side: int) -> _Trials:
    """The trials before their first candidate, with the rows that a stopped start of the same ones has left; their
    network takes images of a side.
    """
    from galaxy_assets.science.devices import choose_devices
    from galaxy_assets.science.encoders.network import encoder_sha256

    survey = context.survey
    encoder = start_encoder(context, survey.main_start_weights, side)
    files = [(row["galaxy_id"], row["sha256"]) for row in sample.rows]
    decided_by = [recipe_trials.code_version(survey), encoder_sha256(encoder), files]
    fingerprint = hashlib.sha256(json.dumps(decided_by).encode()).hexdigest()[:12]
    kept = TrialRows(context.layout.trials(survey.name, fingerprint))
    return _Trials(survey, encoder, choose_devices()[0], kept, n_frames)


def _to_compare(survey: Survey, frame: Candidate, side: int) -> CutoutSettings:
    """How a frame is cut while frames are compared: at once at the side that is read, where the size is open."""
    cutout = with_choice(survey, frame.settings).cutout
    return cutout.model_copy(update={"size": side}) if "cutout.size" in survey.auto else cutout


def _with_rule(survey: Survey, frame: Candidate, sides: Sequence[int], pixels: np.ndarray) -> Candidate:
    """A frame with what follows from it, of the settings that are left open."""
    by_rule = trials.by_rule(with_choice(survey, frame.settings), sides, pixels)
    return replace(frame, settings=frame.settings | {k: v for k, v in by_rule.items() if k in survey.auto})


def _result(
    context: SurveyContext,
    rows: list[dict[str, Any]],
    at: int,
    whole: Sequence[Candidate],
    reason: str,
    examples: list[Sequence[np.ndarray]],
) -> Result:
    """The rows with the choice, the contact sheet, and what a person writes to take another row."""
    from galaxy_assets.figures.galleries import comparison

    best = whole[at]
    table = _table(context.survey, rows or [{"candidate": best.name}], at, best.settings, reason)
    words = [f"{row['candidate']}, score {row['score']:+.2f}" for row in rows] or [best.name]
    sheet = [
        (f"{said}{', chosen' if i == at else ''}", list(shown), i == at)
        for i, (said, shown) in enumerate(zip(words, examples, strict=True))
    ]
    shown = picture(context, comparison(sheet), TRIALS)
    document = _to_take_another(context.survey, words, whole, reason)
    path = document_of_trials(context.layout, context.survey.name)
    with replacing(path) as partial:
        partial.write_text(document, encoding="utf-8")
    context.beside.append(path)
    return _shown(table, best.name, reason, shown | {"to take another": dg.MetadataValue.md(document)})


def _to_take_another(survey: Survey, words: Sequence[str], whole: Sequence[Candidate], reason: str) -> str:
    """Under the words of each row the lines of the survey file that take it, as Markdown: a value for all that is open,
    so that nothing is left to try.
    """
    begun = (
        f"Chosen: {reason}\n\nTo take another row, write its lines into the file of {survey.name}, in place of `auto`."
    )
    taken = [as_yaml(of_open(with_choice(survey, one.settings))) for one in whole]
    blocks = [f"**{said}**\n\n```yaml\n{lines}\n```" for said, lines in zip(words, taken, strict=True)]
    return "\n\n".join([begun, *blocks]) + "\n"


def _untried(survey: Survey, frames: Sequence[Candidate], sample: _Sample) -> Result:
    """The defaults, where too few images show something to try anything on; of fixed boxes, which have none, the
    largest.
    """
    settings = frames[-1].settings if survey.cutout.method == "central" else {}
    images, why = len(sample.rows), Counter(sample.left_out.values())
    told = [f"{images - why.total():,} show something", *(f"{n:,} {words}" for words, n in why.items())]
    reason = (
        f"as set: of {images:,} images without a problem in `catalogue`, {', '.join(told)}; neighbours of fewer than "
        f"{FEWEST} say nothing"
    )
    return _shown(_table(survey, [{"candidate": "as set"}], 0, settings, reason), "as set", reason, {})


def _table(survey: Survey, rows: list[dict[str, Any]], at: int, settings: dict[str, Any], reason: str) -> pa.Table:
    """The rows in SCHEMA, the chosen one with all that it stands for."""
    in_force = with_choice(survey, settings)
    told = [row | {"chosen": i == at} for i, row in enumerate(rows)]
    told[at] |= {
        "size": in_force.cutout.size,
        "orientations": in_force.recipe.orientations,
        "reason": reason,
        "settings": json.dumps(settings, sort_keys=True),
    }
    return pa.Table.from_pylist(told, schema=SCHEMA)


def _shown(table: pa.Table, choice: str, reason: str, sheet: dict[str, dg.MetadataValue]) -> Result:
    rows = dg.MetadataValue.md(markdown(table.drop_columns(["settings", "reason"])))
    decides = table.filter(table["chosen"]).select(["settings"])
    return Result(table, {"choice": choice, "reason": reason, "table": rows, **sheet}, decides=decides)
