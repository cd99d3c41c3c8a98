"""Ways of preparing the images, tried before anything is cut or trained, of a survey that leaves them open with `auto`.

Belongs here: the asset, the order of its rounds, reading the sample. Does not belong here: the candidates and what is
measured of them (`science.trials`), how a choice reaches other assets (`declaration`, `storage.trials`).
"""

import functools
import hashlib
import json
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, NamedTuple

import dagster as dg
import numpy as np
import pyarrow as pa

from galaxy_assets.deliveries.images import UnreadableImage
from galaxy_assets.deliveries.readers import open_reader
from galaxy_assets.orchestration.assets.cutouts import planes, reader_package
from galaxy_assets.orchestration.assets.representation import start_encoder
from galaxy_assets.orchestration.columns import markdown
from galaxy_assets.orchestration.declaration import (
    EVERY_BATCH,
    TRAINED_ON,
    Result,
    SurveyContext,
    picture,
    survey_asset,
)
from galaxy_assets.orchestration.external import WEIGHTS
from galaxy_assets.plugins.protocols import Reader
from galaxy_assets.science import trials
from galaxy_assets.science.cutouts import cut
from galaxy_assets.science.trials import CRITERIA, IMAGE_SIZES, ORIENTATIONS, Candidate, Seen
from galaxy_assets.settings.cutouts import CutoutSettings
from galaxy_assets.settings.printing import logger
from galaxy_assets.settings.survey import Survey
from galaxy_assets.settings.tuning import with_choice
from galaxy_assets.storage.pixels import resize
from galaxy_assets.storage.trials import TrialRows

if TYPE_CHECKING:
    from galaxy_assets.science.encoders.network import Encoder

log = logger(__name__)

_VERSION = "1"  # of what is measured; raise it when a change of code changes a row
_SAMPLE = 1000  # images: enough for a difference of .02 in the share of neighbours, and minutes on two cores
_OF_ORIENTATIONS = 300  # of them, since eight orientations take eight times as long
_LOOK = 200  # of them, for the sides of the clipped boxes
_LEAST = 20  # images; neighbours of fewer say nothing
_SIDE = 96  # of the images on which frames are compared, pixels
_EXAMPLES = 10  # galaxies on the contact sheet
SCHEMA = pa.schema(
    [
        ("round", pa.string()),
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
        ("seconds", pa.float64()),
        ("chosen", pa.bool_()),
        ("reason", pa.string()),
        ("settings", pa.string()),
    ]
)


class _Cut(NamedTuple):
    """One image of the sample, cut in several ways."""

    pixels: list[np.ndarray]
    sides: list[int]
    seen: Seen


@dataclass
class _Sample:
    """The images of the sample: read anew for each round, and cut there in all of its ways."""

    reader: Reader
    rows: list[dict[str, Any]]

    def cut(self, ways: Sequence[tuple[CutoutSettings, int]], first: int | None = None) -> list[_Cut]:
        """Each readable image with something to see, decoded once, cut in each way and resized to its side."""
        with ThreadPoolExecutor(2) as pool:
            made = list(pool.map(functools.partial(_cut, self.reader, ways=ways), self.rows[:first]))
        return [one for one in made if one is not None]


def _cut(reader: Reader, row: dict[str, Any], ways: Sequence[tuple[CutoutSettings, int]]) -> _Cut | None:
    """None of an image that cannot be read, or shows nothing."""
    try:
        image = reader.image(row["file"])
    except UnreadableImage:
        return None
    clip = CutoutSettings(size=16)
    clipped = cut(image, clip)
    made = [cut(image, settings) for settings, _ in ways]
    if clipped.pixels is None:
        return None
    pixels = [resize(one.pixels, side) for one, (_, side) in zip(made, ways, strict=True) if one.pixels is not None]
    boxes = [one.box for one in made if one.box is not None]
    sides = [max(x1 - x0, y1 - y0) for x0, y0, x1, y1 in boxes]
    return _Cut(pixels, sides, trials.seen(image.shape, clipped, clip.sigma))


@dataclass
class _Trials:
    """The trials of one survey: rows in the order in which they are measured, the best of the last round, the reasons,
    the rows of the contact sheet; `done` of the `planned` work, of which `found` was kept from a stopped start.
    """

    survey: Survey
    sample: _Sample
    encoder: "Encoder"
    device: Any
    kept: TrialRows
    planned: float
    rows: list[dict[str, Any]] = field(default_factory=list)
    chosen: dict[str, Any] = field(default_factory=dict)
    reasons: list[str] = field(default_factory=list)
    sheet: list[tuple[str, list[np.ndarray], bool]] = field(default_factory=list)
    begun: float = field(default_factory=time.monotonic)
    done: float = 0.0
    found: float = 0.0

    def best(self, name: str, candidates: list[Candidate], made: list[_Cut]) -> int:
        """Measure the candidates of a round on the same images, of which `made` has the pixels, and choose one."""
        pixels = [np.stack(way) for way in zip(*(one.pixels for one in made), strict=True)]
        at = 0
        if len(candidates) > 1:
            nuisance = np.array([one.seen.nuisance for one in made])
            shown = pixels if len(pixels) == len(candidates) else pixels * len(candidates)
            found = [self._measured(name, *pair, nuisance) for pair in zip(candidates, shown, strict=True)]
            at, reason = trials.choose(found)
            self.rows, self.chosen = self.rows + found, found[at]
            self.reasons.append(f"{name}: {reason}")
            log.info("%s, %s: %s", self.survey.name, name, reason)
        if len(pixels) > 1 or not self.sheet:
            scores = [f", stability {row['stability']:.3f}" for row in self.rows[-len(pixels) :]] or [""]
            self.sheet += [
                (f"{one.name}{score}{', chosen' if i == at else ''}", list(way[:_EXAMPLES]), i == at)
                for i, (one, way, score) in enumerate(zip(candidates, pixels, scores, strict=False))
            ]
        return at

    def _measured(self, name: str, candidate: Candidate, pixels: np.ndarray, nuisance: np.ndarray) -> dict[str, Any]:
        tried = with_choice(self.survey, candidate.settings)
        orientations = candidate.settings.get("recipe.orientations", 1)
        work = _work(len(pixels), pixels.shape[1], orientations)
        key = f"{name}: {candidate.name}"
        row = self.kept.rows().get(key)
        if row is not None:
            self.found += work
        else:
            begun = time.perf_counter()
            recipe = self.survey.recipe
            features = trials.features_of(self.encoder, pixels, recipe, orientations, self.device)
            row = {
                "round": name,
                "candidate": candidate.name,
                **{key: getattr(tried.cutout, key) for key in ("method", "source", "align", "central_pixels", "size")},
                "image_size": pixels.shape[1],
                "orientations": orientations,
                "images": len(pixels),
                **trials.score(features, nuisance),
                "seconds": time.perf_counter() - begun,
                "settings": json.dumps(candidate.settings, sort_keys=True),
            }
            self.kept.record(key, row)
        self.done += work
        pace = (time.monotonic() - self.begun) / max(self.done - self.found, work)
        left = max(self.planned - self.done, 0) * pace
        log.info("%s: tried %s (%.0f s), about %.0f s left", self.survey.name, key, row["seconds"], left)
        return row


def _work(images: int, side: int, orientations: int) -> float:
    """What a candidate costs: images through the network, plain and two views, by the pixels of each."""
    return 3.0 * images * orientations * side**2


def _tried_with(survey: Survey) -> str:
    """What of the recipe decides the trials: the network, what it reads and the views; not how it is trained."""
    recipe = survey.recipe.model_dump()
    views = [key for key in recipe if key.startswith(("blur_", "flip_", "crop_", "rotation_", "contrast", "noise"))]
    return json.dumps({key: recipe[key] for key in ("backbone", "image_size", "orientations", "seed", *views)})


@survey_asset(
    "2_cutouts",
    paper="2.1 and 4.1, whose choices it replaces",
    reads={"catalogue": EVERY_BATCH | TRAINED_ON},
    files=[WEIGHTS],
    settings=lambda survey: [
        survey.cutout,
        _tried_with(survey),
        survey.main_start_weights,
        survey.rgz_checkpoint or "",
        *(f"{name} {network.fingerprint()}" for name, network in survey.networks.items()),
        " ".join(survey.auto),
        *reader_package(survey),
        *planes(survey),
    ],
    gpu=True,
    retry=True,
    trigger="at_once",
    columns={
        "round": "what the candidates of a round differ in: the frame, the image size or the orientations",
        "candidate": "the candidate in words; what an earlier round chose holds for it",
        "method": "cutout.method",
        "source": "cutout.source",
        "align": "cutout.align",
        "central_pixels": ("cutout.central_pixels", "pix"),
        "size": ("cutout.size; while frames are compared, the survey's or its default", "pix"),
        "image_size": ("side of the images that the network read", "pix"),
        "orientations": "orientations over which features were averaged; one while frames and sizes are compared",
        "images": "images of the sample that were measured",
        **CRITERIA,
        "seconds": ("time that the candidate took", "s"),
        "chosen": "whether the survey goes on with it",
        "reason": "why; null of the others",
        "settings": "the settings in place of `auto` that the candidate stands for, as JSON",
    },
)
def recipe_trials(context: SurveyContext, catalogue: pa.Table) -> Result:
    """One row per way of preparing the images that was tried: how they are cut, at what side the network reads them,
    over how many orientations features are averaged. Each is tried on the same sample of at most 1,000 images with the
    main start weights as they are: nothing is trained, and no label is read. Only a survey that says `auto` has it, and
    only what says so is tried. It is made anew by a retraining. Killed, it goes on after the last whole candidate.
    """
    survey, sample = context.survey, _sample(context, catalogue)
    looked = sample.cut([], _LOOK)
    if len(looked) < _LEAST:
        return _untried(survey, len(looked))
    is_open, frame = survey.auto, int(np.median([max(one.seen.nuisance[-2:]) for one in looked]))
    sides = [one.seen.side for one in looked if one.seen.side is not None]
    frames = trials.frames(survey.cutout, is_open, sides, frame)
    run = _begun(context, sample, len(frames))

    side = min(_SIDE, survey.cutout.size) if "recipe.image_size" in is_open else survey.recipe.image_size
    made = sample.cut([(_to_compare(survey, one, side), side) for one in frames])
    at = run.best("frame", frames, made)
    best = frames[at]
    if "cutout.size" in is_open:
        best = best.joined("", **{"cutout.size": trials.stored_size([one.sides[at] for one in made])})
    cutout = with_choice(survey, best.settings).cutout
    if "recipe.image_size" in is_open:
        sizes = [one for one in IMAGE_SIZES if one <= cutout.size] or [cutout.size]
        candidates = [best.joined(f", {one} px", **{"recipe.image_size": one}) for one in sizes]
        best = candidates[run.best("image size", candidates, sample.cut([(cutout, one) for one in sizes]))]
    if "recipe.orientations" in is_open:
        candidates = [best.joined(f", {n} orientations", **{"recipe.orientations": n}) for n in ORIENTATIONS]
        side = with_choice(survey, best.settings).recipe.image_size
        best = candidates[run.best("orientations", candidates, sample.cut([(cutout, side)], _OF_ORIENTATIONS))]
    result = _result(context, run, best)
    run.kept.remove()
    return result


def _sample(context: SurveyContext, catalogue: pa.Table) -> _Sample:
    """A random sample of the images that can be read, of each delivery in proportion."""
    rows = [row for row in catalogue.to_pylist() if row["problem"] is None]
    order = np.random.default_rng(context.survey.recipe.seed).permutation(len(rows))[:_SAMPLE]
    return _Sample(open_reader(context.survey.source, context.layout.raw), [rows[i] for i in order])


def _begun(context: SurveyContext, sample: _Sample, n_frames: int) -> _Trials:
    """The trials before their first round, with the rows that a stopped start of the same ones has left."""
    from galaxy_assets.science.devices import choose_devices
    from galaxy_assets.science.encoders.network import state_sha256

    survey, n = context.survey, len(sample.rows)
    encoder = start_encoder(replace(context, init=survey.main_start_weights))
    files = [(row["galaxy_id"], row["sha256"]) for row in sample.rows]
    decided_by = [
        _VERSION,
        survey.cutout.deciding(),
        _tried_with(survey),
        survey.auto,
        state_sha256(encoder),
        files,
    ]
    fingerprint = hashlib.sha256(json.dumps(decided_by).encode()).hexdigest()[:12]
    planned = _work(n, _SIDE, 1) * n_frames if n_frames > 1 else 0.0
    if "recipe.image_size" in survey.auto:
        planned += sum(_work(n, side, 1) for side in IMAGE_SIZES)
    if "recipe.orientations" in survey.auto:
        planned += sum(_work(min(n, _OF_ORIENTATIONS), _SIDE, one) for one in ORIENTATIONS)
    kept = TrialRows(context.layout.trials(survey.name, fingerprint))
    return _Trials(survey, sample, encoder, choose_devices()[0], kept, planned)


def _to_compare(survey: Survey, frame: Candidate, side: int) -> CutoutSettings:
    """How a frame is cut while frames are compared: at once at the side that is read, where the size is open."""
    cutout = with_choice(survey, frame.settings).cutout
    return cutout.model_copy(update={"size": side}) if "cutout.size" in survey.auto else cutout


def _result(context: SurveyContext, run: _Trials, best: Candidate) -> Result:
    """The rows with the choice, and the contact sheet."""
    from galaxy_assets.figures.galleries import comparison

    reason = "; ".join(run.reasons) or f"{best.name}: the only candidate that agrees with what is set"
    table = _table(run.survey, run.rows, run.chosen or {"candidate": best.name}, best.settings, reason)
    sheet = picture(context, comparison(run.sheet), "recipe_trials")
    return _shown(table, best.name, reason, sheet)


def _untried(survey: Survey, n: int) -> Result:
    """The defaults, where there are too few images to try anything on."""
    reason = f"as set: only {n} images can be read, and neighbours of fewer than {_LEAST} say nothing"
    return _shown(_table(survey, [], {"candidate": "as set"}, {}, reason), "as set", reason, {})


def _table(
    survey: Survey, rows: list[dict[str, Any]], chosen: dict[str, Any], settings: dict[str, Any], reason: str
) -> pa.Table:
    """The rows in SCHEMA, `chosen` among them with all that it stands for."""
    in_force = with_choice(survey, settings)
    told = [row | {"chosen": False} for row in rows if row is not chosen]
    last = chosen | {
        "size": in_force.cutout.size,
        "chosen": True,
        "reason": reason,
        "settings": json.dumps(settings, sort_keys=True),
    }
    at = next((i for i, row in enumerate(rows) if row is chosen), 0)
    return pa.Table.from_pylist([*told[:at], last, *told[at:]], schema=SCHEMA)


def _shown(table: pa.Table, choice: str, reason: str, sheet: dict[str, dg.MetadataValue]) -> Result:
    rows = dg.MetadataValue.md(markdown(table.drop_columns(["settings", "reason"])))
    decides = table.filter(table["chosen"]).select(["settings"])
    return Result(table, {"choice": choice, "reason": reason, "table": rows, **sheet}, decides=decides)
