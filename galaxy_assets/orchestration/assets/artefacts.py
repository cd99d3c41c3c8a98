"""Artefacts found with a pretrained network and removed by a rule a person can review (paper 3).

Belongs here: features of the ImageNet network, their map, the proposed regions, the clean set. Does not belong here:
what counts as evidence (`science.artefacts`).
"""

from collections.abc import Sequence

import dagster as dg
import numpy as np
import pyarrow as pa

from galaxy_assets.orchestration.columns import markdown, only, shared
from galaxy_assets.orchestration.declaration import FITTED_ON, IN_TURN, Result, SurveyContext, picture, survey_asset
from galaxy_assets.orchestration.external import ARTEFACT_REVIEW, WEIGHTS
from galaxy_assets.science import artefacts
from galaxy_assets.science.artefact_limits import MOST, are_suspect, limits_of, shown_by_most, under
from galaxy_assets.science.artefact_regions import (
    apply_regions,
    propose_regions,
    regions_to_table,
    share_unasked,
    table_to_regions,
)
from galaxy_assets.science.cutouts import WITHOUT_PIXELS
from galaxy_assets.science.region_review import read_review
from galaxy_assets.settings.artefacts import LEAST, ArtefactRules
from galaxy_assets.settings.survey import Survey
from galaxy_assets.storage.artefact_review import map_digest
from galaxy_assets.storage.in_turn import TablesInTurn
from galaxy_assets.storage.store import store_of
from galaxy_assets.storage.tables import beside, column_to_vectors, rows_of, vectors_to_column

_BLOCK = 1024  # cutouts held in memory at once while evidence is gathered
ON_THE_MAP = {
    "x": "first coordinate on the UMAP of the pretrained features, in arbitrary units",
    "y": "second coordinate on the UMAP of the pretrained features, in arbitrary units",
}
_EVIDENCE = {
    "blank_fraction": "share of the pixels at the commonest grey value, 0 to 1",
    "saturated_fraction": "share of the pixels of which any channel has a level of 250 to 255, 0 to 1",
    "edge_flux_ratio": "mean grey value of the border, an eighth of the side wide, over that of the central half; the "
    "sky is not subtracted; infinite where only the border has light",
    "band_mismatch": "1 - the least correlation between two bands, 0 to 2; 0 for grey images",
    "trail_length": "length of the longest straight line that stands out in one band alone, over the image's side; 0 "
    "for grey images",
    "fallback": "whether the original frame was kept because no source was cut out",
    "blank": "whether there is nothing to be seen, by blank_fraction",
    "suspect": "whether any reason speaks for an artefact",
    "reason": "the reasons, with a comma between them: blank, saturated, edge_flux, trail, nodata, "
    "fallback_no_contour; empty where there is none",
}


def _frame(survey: Survey) -> list[str]:
    """The frame of the pretrained features; nothing where it is the one that lakes were made with before."""
    frame = survey.artefacts.pretrained_frame
    return [] if frame == "whole" else [frame]


@survey_asset(
    "3_artefacts",
    paper="3.1",
    by="batch",
    reads=["cutouts"],
    files=[WEIGHTS],
    settings=lambda survey: [survey.recipe.backbone, survey.recipe.image_size, *_frame(survey)],
    gpu=True,
    tuned=True,
    columns=shared("galaxy_id", "batch")
    | {"vector": "features of the ImageNet network: its last hidden layer, pooled"},
)
def pretrained_features(context: SurveyContext, cutouts: pa.Table) -> Result:
    """Features of every cutout from the network as ImageNet left it: the last hidden layer, pooled (512 floats for
    a ResNet-18, 1280 for an EfficientNet-Lite0).
    """
    from galaxy_assets.science.devices import choose_devices
    from galaxy_assets.science.encoders.embedding import embed
    from galaxy_assets.science.encoders.framing import AstronomalyFrame
    from galaxy_assets.science.encoders.network_files import check_takes
    from galaxy_assets.science.encoders.weights import build_encoder

    recipe, rows = context.survey.recipe, with_pixels(cutouts)
    encoder = build_encoder(recipe.backbone, "imagenet", seed=recipe.seed, weights=context.layout.weights)
    if context.survey.artefacts.pretrained_frame == "astronomaly":
        pixels = AstronomalyFrame(context.pixels.of(cutouts))
    else:
        pixels = context.pixels.of(cutouts, recipe.image_size)
    check_takes(encoder, pixels[rows[:1]].shape[1])
    features = embed(encoder, pixels, indices=rows, device=choose_devices()[0], whole=True)
    table = cutouts.select(["galaxy_id", "batch"]).take(rows).append_column("vector", vectors_to_column(features))
    return Result(table, {"features": features.shape[1], "backbone": recipe.backbone})


@survey_asset(
    "3_artefacts",
    paper="3.3",
    by="batch",
    reads=["cutouts"],
    settings=lambda survey: [survey.artefacts.of_evidence()],
    version="4",
    columns=shared("galaxy_id", "batch") | _EVIDENCE,
)
def artefact_evidence(context: SurveyContext, cutouts: pa.Table) -> Result:
    """Per image with pixels the evidence that it is an artefact: blank, saturated, crossed by a trail, bright at
    the edge, without data, uncut. No label enters. Limits that are `auto` are the least that they can be: what is left
    by the survey's own distribution is in `artefact_map`.
    """
    rows = with_pixels(cutouts)
    outcomes, stack = cutouts["outcome"].take(rows).to_pylist(), context.pixels.of(cutouts)
    made_later = "nodata_fraction" in cutouts.column_names  # a table of older code has it not
    nodata = cutouts["nodata_fraction"].take(rows).to_pylist() if made_later else [0.0] * len(rows)
    evidence = pa.concat_tables(
        artefacts.evidence(
            stack[rows[i : i + _BLOCK]], outcomes[i : i + _BLOCK], context.survey.artefacts, nodata[i : i + _BLOCK]
        )
        for i in range(0, max(len(rows), 1), _BLOCK)
    )
    table = beside(cutouts.select(["galaxy_id", "batch"]).take(rows), evidence)
    return Result(table, {"suspects": int(np.sum(evidence["suspect"].to_numpy(zero_copy_only=False)))})


@survey_asset(
    "3_artefacts",
    paper="3.2 and 3.3, Figure 1",
    reads={"pretrained_features": FITTED_ON | IN_TURN, "artefact_evidence": FITTED_ON},
    settings=lambda survey: [survey.umap],
    kinds=("umap", "parquet"),
    columns=shared("galaxy_id", "batch", "features_key")
    | ON_THE_MAP
    | {"vector": "pretrained features of up to 20,000 images, by which others are placed; null for the rest"}
    | {name: _EVIDENCE[name] for name in (*LEAST, "suspect", "reason")},
)
def artefact_umap_model(
    context: SurveyContext, pretrained_features: TablesInTurn, artefact_evidence: pa.Table
) -> Result:
    """UMAP of the pretrained features of every image there was when it was fitted, or of a sample of a survey that has
    more than `umap.fitted_on`, with their evidence: what limits and regions follow from, and what others are placed on.
    """
    from galaxy_assets.science.projection import feature_keys, fit_map, model_to_table

    settings, galaxies = context.survey.umap, pretrained_features.select(["galaxy_id", "batch"])
    rows = pretrained_features.drawn(settings.fitted_on, settings.seed)
    if rows is not None:
        rows = np.sort(rows)
        galaxies = galaxies.take(rows)
    features = np.vstack(list(pretrained_features.vectors(rows)))
    fitted = model_to_table(fit_map(features, feature_keys(features), settings))
    evidence = artefact_evidence.take(rows_of(artefact_evidence, galaxies, "artefact_evidence"))
    return Result(beside(beside(galaxies, fitted), evidence, [*LEAST, "suspect", "reason"]))


@survey_asset(
    "3_artefacts",
    paper="3.2 and 3.3, Figure 1",
    by="batch",
    reads=["pretrained_features", "artefact_evidence", "artefact_umap_model"],
    settings=lambda survey: [survey.umap, survey.artefacts.of_evidence()],
    version="5",
    explorer=8,
    columns=shared("galaxy_id", "batch") | ON_THE_MAP | _EVIDENCE,
)
def artefact_map(
    context: SurveyContext, pretrained_features: pa.Table, artefact_evidence: pa.Table, artefact_umap_model: pa.Table
) -> Result:
    """Where the batch's images lie on the map of pretrained features, beside the evidence that they are
    artefacts: by limits that come from the images that the map is fitted to, where the survey names none.
    """
    from galaxy_assets.science.projection import feature_keys, table_to_model

    features = column_to_vectors(pretrained_features["vector"])
    xy = table_to_model(artefact_umap_model).place(features, feature_keys(features), context.survey.umap)
    table = pretrained_features.select(["galaxy_id", "batch"])
    table = table.append_column("x", pa.array(xy[:, 0])).append_column("y", pa.array(xy[:, 1]))
    evidence = artefact_evidence.take(rows_of(artefact_evidence, pretrained_features, "artefact_evidence"))
    evidence = under(evidence, limits_of(artefact_umap_model, context.survey.artefacts))
    return Result(beside(table, evidence, evidence.column_names[2:]))


@survey_asset(
    "3_artefacts",
    paper="3.3, Figure 1",
    reads=["artefact_umap_model"],
    files=[ARTEFACT_REVIEW],
    settings=lambda survey: [survey.artefacts.of_evidence()],
    version="3",
    columns={
        "region": "number of the box, from 1, the largest group of suspects first",
        "x0": "left edge of the box on the map of pretrained features, inclusive",
        "y0": "lower edge of the box, inclusive",
        "x1": "right edge of the box, inclusive",
        "y1": "upper edge of the box, inclusive",
        "n": "images inside when it was proposed; 0 for a person's box",
        "n_suspect": "suspects among them; 0 for a person's box",
        "purity": "share of suspects among the images inside, 0 to 1; 0 for a person's box",
        "reasons": "how often each reason that counts occurs among the suspects inside; `review` for a person's box",
        "status": "proposed, or accepted by a person",
        "map": "digest of the artefact_umap_model that the box is drawn on",
    },
)
def artefact_regions(context: SurveyContext, artefact_umap_model: pa.Table) -> Result:
    """The rule: boxes on the map of pretrained features in which suspects are the majority, each with its evidence.
    None is proposed where most images of the survey are suspect. A person reviews it by writing
    `data/surveys/<survey>_artefacts.csv` with the same columns; the boxes there with status `accepted` then replace the
    proposal.
    """
    review, drawn_on = context.layout.artefact_review(context.survey.name), map_digest(artefact_umap_model)
    if review.exists():
        table = regions_to_table(read_review(store_of(review).local(review), drawn_on), drawn_on)
        return Result(table, {"accepted by a person": table.num_rows})
    limits = limits_of(artefact_umap_model, context.survey.artefacts)
    fitted = under(artefact_umap_model, limits)
    x, y, suspect = (fitted[c].to_numpy(zero_copy_only=False) for c in ("x", "y", "suspect"))
    reason, rules = fitted["reason"].to_pylist(), context.survey.artefacts
    table = regions_to_table(propose_regions(x, y, suspect, reason, rules), drawn_on)
    shown = {"regions": table.num_rows, "rule": dg.MetadataValue.md(markdown(table)), "suspects": int(suspect.sum())}
    if no_evidence := _no_evidence(reason, rules):
        shown["no evidence"] = f"{no_evidence}: what most images show is no evidence"
        context.log.warning(f"no region is proposed of {shown['no evidence']}")
    return Result(table, shown | {f"limit of {name}": limit for name, limit in limits.items()})


def _no_evidence(reason: Sequence[str], rules: ArtefactRules) -> str:
    """What most images show, each with its share, and that most are suspect where they are; empty for neither."""
    said = [f"{one} ({share:.0%})" for one, share in shown_by_most(reason).items() if one in rules.region_evidence]
    share = float(np.mean(are_suspect(reason, rules.region_evidence))) if reason else 0.0
    return ", ".join([*said, *([f"all reasons together ({share:.0%})"] if share > MOST else [])])


@survey_asset(
    "3_artefacts",
    paper="3.3",
    by="batch",
    reads={
        "cutouts": {},
        "artefact_map": {},
        "artefact_regions": {},
        "artefact_umap_model": only("galaxy_id", "batch", "features_key", "x", "y", *LEAST, "suspect", "reason"),
    },
    settings=lambda survey: [survey.artefacts, survey.umap.fitted_on],
    version="4",
    explorer=6,
    tuned=True,
    columns=shared("galaxy_id", "batch")
    | {
        "kept": "whether the image is taken as a galaxy and goes on",
        "rule": "what removes it: a reason of artefact_map, a region such as `region 2`, or the outcome of an image "
        "without pixels; null where nothing does. An image that is kept and has a rule would be removed with a "
        "person's yes: more than `artefacts.most_removed` would be",
    },
)
def clean_galaxies(
    context: SurveyContext,
    cutouts: pa.Table,
    artefact_map: pa.Table,
    artefact_regions: pa.Table,
    artefact_umap_model: pa.Table,
) -> Result:
    """One row per delivered image: kept or not, and which rule removes it. Everything downstream sees the kept
    ones. Where the rule would remove more than `artefacts.most_removed` of the images with pixels and no person said
    yes, it removes none: of the images that the map is fitted on, in whatever delivery, or of those that a delivery
    brought later.
    """
    rules, regions = context.survey.artefacts, table_to_regions(artefact_regions)
    fitted = under(artefact_umap_model, limits_of(artefact_umap_model, rules))
    share = share_unasked(*_on_map(fitted), regions, rules)
    later = ~_are_fitted(artefact_map, artefact_umap_model)
    drawn = fitted.num_rows >= context.survey.umap.fitted_on and not later.all()
    kept_mapped, rule_mapped = apply_regions(*_on_map(artefact_map), regions, rules, later, share, drawn=drawn)
    rows = rows_of(cutouts, artefact_map)
    kept = np.zeros(cutouts.num_rows, bool)
    rule = np.array(cutouts["outcome"].to_pylist(), dtype=object)
    kept[rows], rule[rows] = kept_mapped, rule_mapped
    table = cutouts.select(["galaxy_id", "batch"])
    table = table.append_column("kept", pa.array(kept)).append_column("rule", pa.array(rule, pa.string()))
    held_back = kept & np.array([why is not None for why in rule.tolist()], dtype=bool)
    shown = {"kept": int(kept.sum()), "removed": int((~kept).sum()), "kept against the rule": int(held_back.sum())}
    if held_back.any():
        return Result(table, shown | _sheet(context, cutouts, table, np.flatnonzero(held_back), WOULD_BE_REMOVED))
    return Result(table, shown | _sheet(context, cutouts, table, rows[~kept_mapped], "removed"))


def _are_fitted(artefact_map: pa.Table, artefact_umap_model: pa.Table) -> np.ndarray:
    """Whether the map is fitted on each image as it is today, (N,): the same galaxy at the same place, which is that of
    the first where several are alike.
    """
    import pyarrow.compute as pc

    model = artefact_umap_model
    at = pc.index_in(artefact_map["galaxy_id"], model["galaxy_id"])
    fitted = np.array(pc.is_valid(at))
    rows, at = np.flatnonzero(fitted), at.drop_null().to_numpy()
    key = model["features_key"]
    first = pc.index_in(key.combine_chunks().take(pa.array(at)), key).to_numpy(zero_copy_only=False)
    for name in ("x", "y"):
        there = model[name].to_numpy()[first]
        fitted[rows] &= np.isclose(artefact_map[name].to_numpy()[rows], there, rtol=0, atol=0, equal_nan=True)
    return fitted


def _on_map(table: pa.Table) -> tuple[np.ndarray, np.ndarray, list[str]]:
    """Where images lie on the map, x and y, and what speaks against each."""
    return table["x"].to_numpy(), table["y"].to_numpy(), table["reason"].to_pylist()


WOULD_BE_REMOVED = "would_be_removed"
"""What the figures are called that show what a rule would remove and is kept."""


def _sheet(
    context: SurveyContext, cutouts: pa.Table, clean: pa.Table, rows: np.ndarray, name: str
) -> dict[str, dg.MetadataValue]:
    """A contact sheet of up to 40 of these rows, each with its rule, for the UI."""
    from galaxy_assets.figures.galleries import contact_sheet

    if not len(rows):
        return {}
    shown = rows[np.linspace(0, len(rows) - 1, min(len(rows), 40)).astype(int)]
    pixels = context.pixels.of(cutouts, context.survey.recipe.image_size)
    captions = [str(rule) for rule in clean["rule"].take(shown).to_pylist()]
    return picture(context, contact_sheet(list(pixels[shown]), captions, columns=8), name, context.batch)


def with_pixels(cutouts: pa.Table) -> np.ndarray:
    """Rows of the ledger that have pixels, (N,) int64."""
    return np.flatnonzero(~np.isin(cutouts["outcome"].to_numpy(zero_copy_only=False), list(WITHOUT_PIXELS)))
