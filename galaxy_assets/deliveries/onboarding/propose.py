"""The settings of a survey of images that nobody prepared, each with the measurement behind it.

Belongs here: which settings follow from what was measured. Does not belong here: the measurements (`inspect`), the file
(`survey_file`).
"""

from typing import Any, NamedTuple, get_args

import numpy as np

from galaxy_assets.deliveries.onboarding.framing import FALLBACK, Framing
from galaxy_assets.deliveries.onboarding.inspect import Inspection, framing
from galaxy_assets.deliveries.onboarding.labels import Labels
from galaxy_assets.science.cutouts import FEW_LEVELS
from galaxy_assets.science.trials import FEWEST
from galaxy_assets.settings.artefacts import Reason
from galaxy_assets.settings.cutouts import CutoutSettings
from galaxy_assets.settings.recipe import PYRAMID, START, Recipe
from galaxy_assets.settings.structure import Mixture
from galaxy_assets.settings.tuning import AUTO, KEYS

_MORE_EPOCHS, _BELOW = 12, 3_000  # epochs, and the images below which they are proposed (docs/representation.md)
_SMALL = 20_000  # images; Table 1 is for more
_SIZES = 64, 300  # least and greatest side of a stored cutout, pixels; networks trained on ImageNet see little in less
_OF_GALAXIES_TOO: tuple[Reason, ...] = ("edge_flux", "fallback_no_contour")
"""Evidence that whole groups of galaxies have, and lie together on the map for it."""

_TRIED = "`recipe_trials` tries it on a sample, without labels, and says why it chooses; a value here is kept."


class Setting(NamedTuple):
    """One line of the YAML: its key as `section.key`, its value, and why."""

    key: str
    value: Any
    reason: str


_RECIPE_BY_TRIALS = [
    Setting("recipe.orientations", AUTO, "Four where the trials choose turned cutouts, else eight."),
    Setting(
        "recipe.rotation_maximum", AUTO, "Views turn by 15 degrees at most where the trials choose turned cutouts."
    ),
    Setting("recipe.contrast", AUTO, "Views differ in brightness as much as the galaxies do in the frame chosen."),
]


def settings_for(
    name: str, found: Inspection, labels: Labels | None, resnet18: bool, tune: bool = False
) -> list[Setting]:
    """The settings of a survey of the images found, in the order of the file.

    Parameters
    ----------
    name : str
        Of the survey.
    found : Inspection
        What was measured.
    labels : Labels or None
        What a table says of the images, if there is one.
    resnet18 : bool
        Whether ImageNet's ResNet-18, the paper's network, is at hand; else EfficientNet-Lite0 is proposed.
    tune : bool
        Leave frame, image size and orientations to trials: `auto` in place of what is proposed for them, where there
        are enough images for trials (`too_few_to_tune`).

    Returns
    -------
    list of Setting
    """
    cutout, cut_settings = _cutout(found)
    recipe = _recipe(found, cutout.size, resnet18)
    classes = [] if labels is None else labels.proposed(len(found.files)).settings
    if tune and not too_few_to_tune(found):
        cut_settings, recipe = _left_open(cut_settings), _left_open(recipe) + _RECIPE_BY_TRIALS
    return [
        Setting("name", name, ""),
        Setting("title", name.replace("_", " ").capitalize(), "Heads figures and summaries; write your own."),
        Setting(
            "description", f"{len(found.files):,} images in {found.source.path}.", "What the images are, for others."
        ),
        Setting("reference", "", "Where they come from and how to cite them."),
        *_source(found, labels),
        *cut_settings,
        Setting(
            "artefacts.region_evidence",
            [reason for reason in get_args(Reason) if reason not in _OF_GALAXIES_TOO],
            "Of what a box on the artefact map is proposed. Galaxies that fill their frame are bright at its edge, as "
            "the halo of a star beyond it is, and faint ones have no contour at the centre, as an empty field has "
            "none: `edge_flux` and `fallback_no_contour` in this list propose boxes of both.",
        ),
        *recipe,
        *(Setting(*one) for one in classes),
        *_mixture(len(found.files)),
    ]


def too_few_to_tune(found: Inspection) -> str:
    """Why trials would try nothing on a survey of the images found.

    Parameters
    ----------
    found : Inspection
        What was measured.

    Returns
    -------
    str
        A sentence; empty where they would.
    """
    n = len(found.files) - len(found.unreadable)
    told = (
        f"Trials need {FEWEST} images, and {n} can be read: what is proposed without trials is written, and no `auto`."
    )
    return told if n < FEWEST else ""


def _left_open(settings: list[Setting]) -> list[Setting]:
    """The settings with `auto` for the frame and the image size, and without what belongs to a frame."""
    tried = {
        "cutout.method": f"{_TRIED} Proposed without trials",
        "recipe.image_size": "64 pixels in the frame that trials choose. Proposed without trials",
    }
    return [
        Setting(one.key, AUTO, f"{tried[one.key]}: {one.value}. {one.reason}") if one.key in tried else one
        for one in settings
        if one.key in tried or one.key not in KEYS
    ]


def _source(found: Inspection, labels: Labels | None) -> list[Setting]:
    source = found.source
    kinds = ", ".join(f"{n:,} {suffix}" for suffix, n in found.suffixes.most_common(6))
    where = "every image below `path`" if source.images == "." else "a folder of that name holds all"
    settings = [
        Setting("source.reader", source.reader, f"Files: {kinds}. This reader takes {len(found.files):,} of them."),
        Setting("source.path", source.path, ""),
        Setting(
            "source.images",
            source.images,
            f"{where.capitalize()}; sub-folders are deliveries, {len(found.deliveries)} here.",
        ),
    ]
    settings += [Setting(f"source.{key}", _plain(value), "") for key, value in found.bands.settings.items()]
    if found.bands.settings:
        settings[-1] = settings[-1]._replace(reason=found.bands.reason)
    if labels is not None and labels.source.folder_labels:
        reason = f"Folders that look like classes: {_counts(labels.classes)}"
        settings.append(Setting("source.folder_labels", True, reason))
    elif labels is not None and labels.source.labels is not None:
        said = labels.source
        matched = f"{labels.named:,} of {len(found.files):,} images have a row, {labels.missing:,} rows no image."
        settings += [
            Setting("source.labels", said.labels, matched),
            Setting("source.id_column", said.id_column, ""),
            Setting("source.label_column", said.label_column, _counts(labels.classes)),
        ]
        if said.file_column is not None:
            settings.append(
                Setting("source.file_column", said.file_column, "Ids may hold what a file's name must not.")
            )
        if said.ra_column is not None:
            reason = "Position of images whose header has none; degrees unless the column has a unit."
            settings += [
                Setting("source.ra_column", said.ra_column, reason),
                Setting("source.dec_column", said.dec_column, ""),
            ]
    return settings


def _cutout(found: Inspection) -> tuple[CutoutSettings, list[Setting]]:
    clipped = found.framing
    frame = int(np.median([max(sides) for sides in zip(found.widths, found.heights, strict=True)]))
    grey = found.grey
    change, reason = _method(found, clipped, frame, grey)
    sides = change.pop("sides")
    side = round(np.quantile(sides, 0.9))
    size = int(np.clip(side, *_SIZES))
    kinds = ", ".join(f"{n} {kind}" for kind, n in found.kinds.most_common())
    stretch = _stretch(found)
    how = "linear" if stretch is None else stretch.value
    return CutoutSettings(**change, size=size, grey=grey, stretch=how), [
        Setting("cutout.method", change.pop("method"), reason),
        *(Setting(f"cutout.{key}", value, "") for key, value in change.items()),
        Setting(
            "cutout.size",
            size,
            f"Side of the stored cutout: nine of ten boxes are no wider than {side} pixels; {_SIZES[0]} to {_SIZES[1]} "
            "are stored.",
        ),
        Setting("cutout.grey", grey, f"Of {len(found.widths)} images decoded: {kinds}."),
        *_nodata(found),
        *([] if stretch is None else [stretch]),
    ]


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value


def _nodata(found: Inspection) -> list[Setting]:
    if not found.sentinels:
        return []
    values = ", ".join(f"{value:.9g} in {n}" for value, n in found.sentinels.most_common(5))
    reason = (
        f"Values that stand for no data, of {len(found.widths)} images: {values}. They are found in each image by "
        "their distance from the rest; name them in a list to be sure of them, or write none to take them for light."
    )
    return [Setting("cutout.nodata", "auto", reason)]


def _stretch(found: Inspection) -> Setting | None:
    """How floats become 8 bits; None where there are none."""
    if set(found.types) <= {"uint8"}:
        return None
    linear = found.framing
    by_asinh = framing(found, CutoutSettings(size=16, stretch="asinh"))
    measured = (
        f"Of the cutouts, {linear.few_levels:.0%} have fewer than {FEW_LEVELS} of 256 levels above the noise when they "
        f"are linear, {by_asinh.few_levels:.0%} by asinh of each band from its sky"
    )
    faint = bool(found.peaks) and float(np.median(found.peaks)) > 2 * 255
    if faint:
        measured += (
            f"; the highest value is {np.median(found.peaks):.0f} times the noise, which linear levels do not show"
        )
    better = by_asinh.few_levels < linear.few_levels and linear.few_levels > FALLBACK
    return Setting("cutout.stretch", "asinh" if better or faint else "linear", f"{measured}.")


def _method(found: Inspection, clipped: Framing, frame: int, grey: bool) -> tuple[dict[str, Any], str]:
    """How to cut, with the `sides` of the boxes, and why."""
    measured = (
        f"Sigma clipping, the paper's method, finds the source in {clipped.share('cropped'):.0%} of "
        f"{len(found.widths)} images (no contour at the centre {clipped.share('fallback_no_contour'):.0%}, "
        f"source fills the frame {clipped.share('fallback_edge'):.0%})"
    )
    if clipped.sides:
        low, middle, high = np.quantile(clipped.sides, [0.05, 0.5, 0.95])
        measured += (
            f"; the enlarged box is {middle:.0f} of {frame} pixels wide ({low:.0f} to {high:.0f} in nine of ten), "
            f"{np.median(clipped.shares):.0%} of the frame's area"
        )
    lobes = bool(grey and clipped.beyond and np.quantile(clipped.beyond, 0.9) > 0.2)
    if clipped.fallback <= FALLBACK and not lobes:
        return {"method": "sigma_clip", "sides": clipped.sides}, f"{measured}."
    by_radius = {
        "method": "flux_radius",
        "source": "all" if grey else "central",
        "flux_fraction": 0.85,
        "enlarge": 1.6,
    }
    by_flux = framing(found, CutoutSettings(**by_radius, size=16))
    if by_flux.fallback <= FALLBACK and np.median(by_flux.shares) < 0.8:
        why = f"{measured}. By the radius that holds 85% of the flux it is found in {by_flux.share('cropped'):.0%}"
        if lobes:
            why += (
                f", lobes included: {np.quantile(clipped.beyond, 0.9):.0%} of the flux, or more, lies outside the "
                "clipped box of one image in ten. `align: true` would turn the major axis to the horizontal"
            )
        return by_radius | {"sides": by_flux.sides}, f"{why}."
    if clipped.fallback <= FALLBACK:
        return {"method": "sigma_clip", "sides": clipped.sides}, f"{measured}."
    if clipped.share("fallback_edge") < clipped.share("fallback_no_contour") and clipped.share("cropped") >= 0.1:
        side = round(np.quantile(clipped.sides, 0.9))
        if side < 0.8 * frame:
            why = f"{measured}. A fixed box holds nine of ten of the sources that were found"
            return {"method": "central", "central_pixels": side, "sides": [side]}, f"{why}."
    return {"method": "whole", "sides": [frame]}, f"{measured}. No box follows from that: the frame is kept."


def _recipe(found: Inspection, size: int, resnet18: bool) -> list[Setting]:
    n = len(found.files)
    small = n < _SMALL
    preset = (
        f"{n:,} images, fewer than {_SMALL:,}: Table 1 makes pretrained features worse on sets of some thousand."
        if small
        else f"{n:,} images: Table 1 of the paper, made for such numbers. Hours per epoch without a GPU."
    )
    backbone = (
        "The paper's network; its ImageNet weights are in data/weights."
        if resnet18
        else "Its ImageNet weights come with the installation. For the paper's resnet18 put resnet18-f37072fd.pth into "
        "data/weights."
    )
    side = min(size, 96 if small else 300)
    batch = max(2, n // 4)
    settings = [
        Setting(
            "start_weights",
            ["imagenet"] if small else ["random", "imagenet"],
            "So few images teach a random network nothing (docs/representation.md); add random to see it."
            if small
            else "Random shows what the pretraining brings, and doubles the time.",
        ),
        Setting("main_start_weights", "imagenet", ""),
        Setting("recipe.preset", "small" if small else "paper", preset),
        Setting("recipe.backbone", "resnet18" if resnet18 else "tf_efficientnet_lite0", backbone),
        Setting(
            "recipe.image_size",
            side,
            f"The cutouts have {size} pixels; time grows with the square of what the network reads.",
        ),
        Setting(
            "recipe.beside",
            {START: 0.7, PYRAMID: 1.0, "classical": 0.5},
            "What training loses, the features of the network before it still have; its middle block knows textures "
            "that the last one has no use for, and where they are; formulae of shape know what networks do not "
            "(docs/representation.md).",
        ),
    ]
    if n < _BELOW:
        reason = "Of so few images an epoch has few steps; four more than the preset's 8 gained a little."
        settings.append(Setting("recipe.epochs", _MORE_EPOCHS, reason))
    if batch < Recipe(preset="small").batch_size:
        reason = "A quarter of the images, so that batches are filled when artefacts are gone."
        settings.append(Setting("recipe.batch_size", batch, reason))
    return settings


def _mixture(n: int) -> list[Setting]:
    components = max(2, n // 40)
    if components >= Mixture().components:
        return []
    reason = f"One for every 40 images, two at least; the paper's {Mixture().components} are for 65,000 galaxies."
    return [Setting("mixture.components", components, reason)]


def _counts(classes: dict[str, int]) -> str:
    shown = ", ".join(f"{name} {n:,}" for name, n in list(classes.items())[:12])
    return f"Images of each class: {shown}{', ...' if len(classes) > 12 else ''}." if classes else ""
