"""A survey file for images that nobody prepared: every setting with the measurement behind it.

Belongs here: which settings follow from what was measured, and the commented YAML. Does not belong here: the
measurements (`inspect`).
"""

import re
import textwrap
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import yaml
from pydantic import ValidationError

from galaxy_assets.deliveries.onboarding.inspect import Framing, Inspection, Labels, commonest_level, framing
from galaxy_assets.settings.artefacts import ArtefactRules
from galaxy_assets.settings.cutouts import CutoutSettings
from galaxy_assets.settings.files import SurveyError, read_survey, survey_files
from galaxy_assets.settings.recipe import Recipe
from galaxy_assets.settings.structure import Mixture
from galaxy_assets.settings.survey import Survey
from galaxy_assets.storage.files import replacing

_FALLBACK = 0.2  # share of original frames above which the check of `cutouts` warns
_SMALL = 20_000  # images; Table 1 is for more
_RARE = 0.2  # largest share of the labelled images that an anomaly may have
_CLASSES = 5
_LEAST = 10  # images of a class from which an accuracy means anything
_SIZES = 64, 300  # least and greatest side of a stored cutout, pixels; networks trained on ImageNet see little in less
_IMAGES = {".png", ".jpg", ".jpeg", ".fits", ".fit", ".fits.gz", ".fits.fz", ".fz", ".tif", ".tiff", ".gif", ".bmp"}
# classes that say that nobody knew, or that it is no galaxy: neither judged nor searched for
_NO_KIND = re.compile(
    r"((dont|do not|not) ?(know|sure)|un(known|certain|sure|classified|classifiable)|(star or )?art[ei]facts?|star|"
    r"bad|junk|other|none|n/?a|nan|\?+|-?99+)"
)


class Setting(NamedTuple):
    """One line of the YAML: its key as `section.key`, its value, and why."""

    key: str
    value: Any
    reason: str


def settings_for(name: str, found: Inspection, labels: Labels | None, resnet18: bool) -> list[Setting]:
    """The settings of a survey of the images found, in the order of the file.

    Parameters
    ----------
    labels : what a table says of the images, if there is one.
    resnet18 : whether ImageNet's ResNet-18, the paper's network, is at hand; else EfficientNet-Lite0 is proposed.
    """
    cutout, cut_settings = _cutout(found)
    return [
        Setting("name", name, ""),
        Setting("title", name.replace("_", " ").capitalize(), "Heads figures and summaries; write your own."),
        Setting(
            "description", f"{len(found.files):,} images in {found.source.path}.", "What the images are, for others."
        ),
        Setting("reference", "", "Where they come from and how to cite them."),
        *_source(found, labels),
        *cut_settings,
        *_artefacts(found, cutout),
        *_recipe(found, cutout.size, resnet18),
        *(_classes(labels) if labels is not None else []),
        *_mixture(len(found.files)),
    ]


def _source(found: Inspection, labels: Labels | None) -> list[Setting]:
    source = found.source
    kinds = ", ".join(f"{n:,} {suffix}" for suffix, n in found.suffixes.most_common(6))
    where = "a folder of that name holds all" if source.images == "images" else "every image below `path`"
    settings = [
        Setting("source.reader", source.reader, f"Files: {kinds}. This reader takes {len(found.files):,} of them."),
        Setting("source.path", source.path, ""),
        Setting(
            "source.images",
            source.images,
            f"{where.capitalize()}; sub-folders are deliveries, {len(found.deliveries)} here.",
        ),
    ]
    if labels is not None:
        said = labels.source
        matched = f"{labels.named:,} of {len(found.files):,} images have a row, {labels.missing:,} rows no image."
        settings += [
            Setting("source.labels", said.labels, matched),
            Setting("source.id_column", said.id_column, ""),
            Setting("source.label_column", said.label_column, _counts(labels.classes)),
        ]
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
    grey = not found.kinds["colour"]
    change, reason = _method(found, clipped, frame, grey)
    sides = change.pop("sides")
    side = round(np.quantile(sides, 0.9))
    size = int(np.clip(side, *_SIZES))
    kinds = ", ".join(f"{n} {kind}" for kind, n in found.kinds.most_common())
    return CutoutSettings(**change, size=size, grey=grey), [
        Setting("cutout.method", change.pop("method"), reason),
        *(Setting(f"cutout.{key}", value, "") for key, value in change.items()),
        Setting(
            "cutout.size",
            size,
            f"Side of the stored cutout: nine of ten boxes are no wider than {side} pixels; {_SIZES[0]} to {_SIZES[1]} "
            "are stored.",
        ),
        Setting("cutout.grey", grey, f"Of {len(found.widths)} images decoded: {kinds}."),
    ]


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
    if clipped.fallback <= _FALLBACK and not lobes:
        return {"method": "sigma_clip", "sides": clipped.sides}, f"{measured}."
    by_radius = {"method": "flux_radius", "source": "all" if grey else "central", "flux_fraction": 0.85, "enlarge": 1.6}
    by_flux = framing(found, CutoutSettings(**by_radius, size=16))
    if by_flux.fallback <= _FALLBACK and np.median(by_flux.shares) < 0.8:
        why = f"{measured}. By the radius that holds 85% of the flux it is found in {by_flux.share('cropped'):.0%}"
        if lobes:
            why += (
                f", lobes included: {np.quantile(clipped.beyond, 0.9):.0%} of the flux, or more, lies outside the "
                "clipped box of one image in ten. `align: true` would turn the major axis to the horizontal"
            )
        return by_radius | {"sides": by_flux.sides}, f"{why}."
    if clipped.fallback <= _FALLBACK:
        return {"method": "sigma_clip", "sides": clipped.sides}, f"{measured}."
    if clipped.share("fallback_edge") < clipped.share("fallback_no_contour") and clipped.share("cropped") >= 0.1:
        side = round(np.quantile(clipped.sides, 0.9))
        if side < 0.8 * frame:
            why = f"{measured}. A fixed box holds nine of ten of the sources that were found"
            return {"method": "central", "central_pixels": side, "sides": [side]}, f"{why}."
    return {"method": "whole", "sides": [frame]}, f"{measured}. No box follows from that: the frame is kept."


def _artefacts(found: Inspection, cutout: CutoutSettings) -> list[Setting]:
    """A limit for blank images where the default would remove good ones, as it does where the sky is set to zero."""
    levels = np.array(commonest_level(found, cutout))
    default = ArtefactRules().blank_fraction
    if not len(levels) or (levels >= default).mean() <= 0.05:
        return []
    limit = 0.999 if (levels >= 0.999).mean() <= 0.05 else 1.0
    reason = (
        f"{(levels >= default).mean():.0%} of the cutouts are one grey value in {default:.0%} of their pixels or more "
        f"(median {np.median(levels):.1%}) and would be removed as blank."
    )
    return [Setting("artefacts.blank_fraction", limit, reason)]


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
    ]
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


def _classes(labels: Labels) -> list[Setting]:
    kinds = {name: n for name, n in labels.classes.items() if not _NO_KIND.fullmatch(_words(name))}
    left_out = [name for name in labels.classes if name not in kinds]
    total = sum(labels.classes.values())
    rarest = min(kinds, key=lambda name: kinds[name], default=None)
    rare = rarest is not None and len(kinds) > 1 and kinds[rarest] <= _RARE * total
    others = {name: n for name, n in kinds.items() if not rare or name != rarest or len(kinds) == 2}
    judged = [name for name, n in others.items() if n >= max(_LEAST, total / 50)][:_CLASSES]
    settings = []
    if len(judged) > 1:
        least = min(kinds[name] for name in judged)
        reason = "The commonest classes" + (f", without {', '.join(left_out)}" if left_out else "")
        settings += [
            Setting(
                "evaluation.maximum_per_class",
                least,
                f"As many of each class as the smallest has: chance is 1/{len(judged)}.",
            ),
            Setting(
                "evaluation.classes",
                [{"name": name, "labels": [name]} for name in judged],
                f"{reason}; they judge the representation and take no part in training. One may join several labels.",
            ),
        ]
    if rare and rarest is not None:
        reason = (
            f"The rarest class, {kinds[rarest]:,} of {total:,} labelled images: what the simulated expert scores 5. "
            "Name what you look for."
        )
        settings += [Setting("anomaly.name", rarest, ""), Setting("anomaly.labels", [rarest], reason)]
    return settings


def _words(label: str) -> str:
    return re.sub(r"[\s_'’-]+", lambda match: "" if match[0] in "'’" else " ", label.lower()).strip()


def _counts(classes: dict[str, int]) -> str:
    shown = ", ".join(f"{name} {n:,}" for name, n in list(classes.items())[:12])
    return f"Images of each class: {shown}{', ...' if len(classes) > 12 else ''}." if classes else ""


def table_of(found: Inspection) -> list[tuple[str, str]]:
    """What was found, as pairs of a heading and a text."""

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
        ("saturated", f"{found.saturated} of {n} images"),
        ("constant", f"{found.framing.outcomes['blank']} of {n} images"),
        ("unreadable", f"{len(found.unreadable)} of {found.sample:,}"),
        *(("", f"{file}: {reason}") for file, reason in found.unreadable[:5]),
    ]
    if found.peaks:
        middle, high = np.quantile(found.peaks, [0.5, 0.95])
        rows.insert(6, ("peak over noise", f"{middle:.0f}, 95 % of the images below {high:.0f}"))
    if (headers := found.headers) is not None:
        planes = ", ".join(f"{planes} in {count}" for planes, count in headers.planes.items())
        rows += [
            ("FITS planes", f"{planes}; {several(headers.types)}; bands: {several(headers.bands)}"),
            ("FITS unit", several(headers.units)),
            ("FITS position", several(headers.positions)),
            ("pixel scale", _scales(headers.scales)),
        ]
    return [(heading, _printable(text)) for heading, text in rows]


def _printable(text: str) -> str:
    """A line break of any kind in a file's or a class's name would end a comment, and an escape steer the terminal."""
    return "".join(c if c.isprintable() else "?" for c in text)


def _scales(scales: list[float]) -> str:
    if not scales:
        return "not in the headers"
    low, middle, high = np.quantile(scales, [0, 0.5, 1])
    return f"{middle:.3g} arcsec" + ("" if high - low < 0.01 * middle else f" ({low:.3g} to {high:.3g})")


def cautions(found: Inspection, labels: Labels | None) -> list[str]:
    """What a person should know of the folder and the table before they run the survey."""
    said = []
    if len(found.widths) < 30:
        said.append(f"Only {len(found.widths)} images were measured: shares and quantiles are weak evidence.")
    if labels is not None and labels.missing > len(found.files):
        said.append(
            f"{labels.missing:,} rows of {labels.source.labels} name no image that is here: they wait for later "
            "deliveries, or another column has the names (--id-column)."
        )
    images = {suffix: n for suffix, n in found.suffixes.items() if suffix in _IMAGES}
    if len(found.files) < (total := sum(images.values())):
        said.append(
            f"{total - len(found.files):,} of {total:,} images have a format that {found.source.reader} does not read "
            f"(there are {', '.join(f'{n:,} {suffix}' for suffix, n in images.items())}): convert them, or make them a "
            "survey of their own."
        )
    if len(found.unreadable) > 0.2 * found.sample:
        said.append(f"{len(found.unreadable) / found.sample:.0%} of the images looked at cannot be read, see above.")
    if found.peaks and "float32" in found.types and np.median(found.peaks) > 2 * 255:
        said.append(
            "Cutouts have 256 linear levels from their lowest to their highest value, and the noise of most images is "
            "less than half a level: faint structure is lost. Deliver stretched images (arcsinh) to keep it."
        )
    if len(found.deliveries) > 50:
        said.append(
            f"{len(found.deliveries)} sub-folders are as many deliveries, each with its own runs; join them where "
            "they were not delivered one by one."
        )
    return said


def refuse_name(name: str, root: Path) -> None:
    """Raise SurveyError where a new survey below the data folder `root` cannot have this name."""
    probe = {"name": name, "title": "", "description": "", "source": {"reader": "image_folder", "path": "."}}
    try:
        Survey.model_validate(probe)
    except ValidationError as error:
        raise SurveyError(
            f"{name!r} cannot name a survey: {error.errors()[0]['msg']}; take lower-case letters, digits and _, a "
            "letter first"
        ) from error
    _refuse_existing(root / "surveys" / f"{name}.yaml")
    if name in survey_files(root).files:
        raise SurveyError(f"there is a survey {name!r} already, see `galaxy-assets survey list`; choose another name")


def _refuse_existing(path: Path) -> None:
    if path.exists():
        raise SurveyError(f"{path} exists and is not overwritten; choose another name, or edit or delete that file")


def write_survey(path: Path, settings: list[Setting], found: Inspection, labels: Labels | None) -> Survey:
    """Write a survey file in which every value has its reason as a comment, whole or not at all.

    Raises SurveyError where the file exists or what was proposed is no survey.
    """
    _refuse_existing(path)
    with replacing(path) as partial:
        partial.write_text(as_yaml(settings, found, labels), encoding="utf-8")
        return read_survey(partial)


def as_yaml(settings: list[Setting], found: Inspection, labels: Labels | None) -> str:
    """The settings as YAML, a comment above each that says why."""
    lines = ["# Proposed by `galaxy-assets survey new` from what is in the folder; edit what you know better.", "#"]
    for heading, text in table_of(found):
        lines += _comment(f"{heading:16s}{text}", indent="", hanging=16)
    for caution in cautions(found, labels):
        lines += ["#", *_comment(caution, indent="")]
    section = ""
    for key, value, reason in settings:
        head, _, tail = key.rpartition(".")
        if head != section and head:
            lines.append(f"{head}:")
        section = head
        indent = "  " if head else ""
        lines += _comment(reason, indent)
        lines += _value(tail, value, indent)
    return "\n".join(lines) + "\n"


def _comment(text: str, indent: str, hanging: int = 0) -> list[str]:
    prefix = f"{indent}# "
    return textwrap.wrap(_printable(text), 116, initial_indent=prefix, subsequent_indent=prefix + " " * hanging)


def _value(key: str, value: Any, indent: str) -> list[str]:
    def flow(one: Any) -> str:
        for unicode in (True, False):  # what cannot be printed, line breaks of Unicode among it, is escaped
            text = yaml.safe_dump(one, default_flow_style=True, width=10_000, sort_keys=False, allow_unicode=unicode)
            text = text.removesuffix("\n...\n").strip()
            if text.isprintable():
                break
        return text

    if isinstance(value, list) and value and isinstance(value[0], dict):
        return [f"{indent}{key}:", *(f"{indent}  - {flow(one)}" for one in value)]
    return [f"{indent}{key}: {flow(value)}"]
