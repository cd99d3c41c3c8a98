"""Figures 1-15 and both tables of the paper, each an asset: the table behind the picture, and the picture beside it.

Belongs here: what each figure reads, shows and says. Does not belong here: drawing (`figures`), numbers that only a
figure needs (`science.figure_tables`), results of their own (the other steps).

A figure is one function below. It returns the table, the picture and a caption with this survey's numbers, or raises
NotApplicable with the reason; the asset is then an empty table of the same columns, and an older picture is removed.
"""

import json
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import dagster as dg
import numpy as np
import pyarrow as pa

from galaxy_assets.orchestration.assets.artefacts import pixels_of, rows_of
from galaxy_assets.orchestration.assets.discovery import oracle_scores
from galaxy_assets.orchestration.declaration import Lake, markdown, picture, result, survey_asset
from galaxy_assets.science import artefacts, clusters, figure_tables
from galaxy_assets.settings.survey import Survey
from galaxy_assets.storage.files import replacing

if TYPE_CHECKING:
    from matplotlib.figure import Figure

TEXT, WHOLE, REAL, YES = pa.string(), pa.int32(), pa.float64(), pa.bool_()
_FIGURE_3 = ("random", "imagenet")  # start weights the paper compares on the optical survey
_ARTEFACT_CLUSTERS = 8  # rows of cutouts that fit beside a map
_EXAMPLES = 5


class NotApplicable(Exception):
    """Why a figure cannot be made of this survey."""


@dataclass(frozen=True)
class View:
    """What a figure may look at beside its tables: the survey, and the cutouts of galaxies."""

    survey: Survey
    lake: Lake
    cutouts: pa.Table | None

    def images(self, ids: Sequence[str]) -> list[np.ndarray]:
        """Cutouts of the galaxies in that order, uint8 (size, size, channels) each."""
        assert self.cutouts is not None, "a figure with cutouts reads `cutouts`"
        if not len(ids):
            return []
        rows = rows_of(self.cutouts, pa.table({"galaxy_id": pa.array(ids, TEXT)}))
        return list(pixels_of(self.lake, self.survey, self.cutouts)[rows])


@dataclass(frozen=True)
class Shown:
    """A figure: rows of its table, its picture (None where the table is the figure), its caption, its key numbers."""

    table: pa.Table | list[dict[str, Any]]
    picture: "Figure | None"
    caption: str
    numbers: Mapping[str, float | int | str]


@dataclass(frozen=True)
class PaperFigure:
    """One figure or table: asset name, title, section of the paper, what it reads, its columns, its function."""

    name: str
    title: str
    section: str
    reads: Mapping[str, str]
    columns: pa.Schema
    settings: Sequence[str]
    show: Callable[..., Shown]


FIGURES: list[PaperFigure] = []


def _figure(
    name: str,
    title: str,
    section: str,
    columns: Mapping[str, pa.DataType],
    *,
    reads: Iterable[str] = (),
    main: Iterable[str] = (),
    starts: Iterable[str] = (),
    settings: Sequence[str] = (),
) -> Callable[[Callable[..., Shown]], Callable[..., Shown]]:
    """Register the decorated function as a figure.

    It is called with a View and its tables by name: `reads` whole, `main` of the main start weights, `starts` of all
    start weights that are there. `cutouts` goes to the View. `settings` are fields of the survey that decide the
    content beside the main start weights.
    """
    by = dict.fromkeys(reads, "whole") | dict.fromkeys(main, "main") | dict.fromkeys(starts, "starts")

    def register(show: Callable[..., Shown]) -> Callable[..., Shown]:
        FIGURES.append(PaperFigure(name, title, section, by, pa.schema(list(columns.items())), settings, show))
        return show

    return register


def build(survey: Survey) -> list[dg.AssetsDefinition]:
    """`figure_01` to `figure_15`, `table_1` and `table_2` of a survey."""
    return [_asset(survey, figure) for figure in FIGURES]


def _asset(survey: Survey, figure: PaperFigure) -> dg.AssetsDefinition:
    metadata = {"whole": {}, "main": {"init": survey.main_start_weights}, "starts": {"allow_missing": True}}

    def asset(lake: Lake, **tables: pa.Table) -> dg.MaterializeResult[pa.Table]:
        view = View(survey, lake, tables.pop("cutouts", None))
        try:
            shown = figure.show(view, **tables)
        except NotApplicable as reason:
            shown = Shown([], None, "", {"not applicable": str(reason)})
        table = shown.table
        if isinstance(table, list):
            table = pa.Table.from_pylist(table, schema=figure.columns)
        table = table.select(figure.columns.names).cast(figure.columns)
        metadata = _publish(view, figure, shown)
        if table.num_rows and shown.picture is None:
            metadata["table"] = dg.MetadataValue.md(markdown(table))
        return result(table, metadata=metadata)

    asset.__name__ = figure.name
    asset.__doc__ = f"{figure.title}. {(figure.show.__doc__ or '').strip()}"
    return survey_asset(
        survey,
        "9_figures",
        paper=figure.section,
        reads={name: metadata[by] for name, by in figure.reads.items()},
        settings=[survey.main_start_weights, *(getattr(survey, name) for name in figure.settings)],
        kinds=("matplotlib", "parquet"),
    )(asset)


def _publish(view: View, figure: PaperFigure, shown: Shown) -> dict[str, Any]:
    """Write the picture as PNG and PDF, or remove an older one, and what the page says of it as JSON; return the
    asset's metadata."""
    from galaxy_assets.storage.figures import save_for_print

    png = view.lake.layout.figure(view.survey.name, figure.name)
    metadata: dict[str, Any] = {"title": figure.title, **shown.numbers}
    if shown.caption:
        metadata["caption"] = dg.MetadataValue.md(shown.caption)
    if shown.picture is None:
        for path in (png, png.with_suffix(".pdf")):
            path.unlink(missing_ok=True)
    else:
        metadata |= picture(view.lake, view.survey, shown.picture, figure.name)
        metadata["print"] = dg.MetadataValue.path(str(save_for_print(shown.picture, png.with_suffix(".pdf"))))
    numbers = dict(shown.numbers)
    note = {
        "name": figure.name,
        "title": figure.title,
        "section": figure.section,
        "reason": numbers.pop("not applicable", None),
        "caption": shown.caption,
        "numbers": {k: v if isinstance(v, str) or np.isfinite(v) else None for k, v in numbers.items()},
        "drawn": shown.picture is not None,
    }
    with replacing(png.with_suffix(".json")) as partial:
        partial.write_text(json.dumps(note, indent=1, allow_nan=False), encoding="utf-8")
    return metadata


def _lookup(table: pa.Table, value: str, key: str = "galaxy_id") -> dict[Any, Any]:
    return dict(zip(table[key].to_pylist(), table[value].to_pylist(), strict=True))


def _start(table: pa.Table, init: str) -> pa.Table:
    import pyarrow.compute as pc

    return table.filter(pc.equal(table["init"], init))


def _named(name: str) -> str:
    return name.replace("_", " ")


@_figure(
    "figure_01",
    "Map of all images, and the artefacts removed",
    "3.3, Figure 1",
    {"galaxy_id": TEXT, "x": REAL, "y": REAL, "kept": YES, "rule": TEXT, "example": WHOLE},
    reads=["cutouts", "artefact_map", "artefact_regions", "clean_galaxies"],
    settings=("umap",),
)
def _figure_01(view: View, artefact_map: pa.Table, artefact_regions: pa.Table, clean_galaxies: pa.Table) -> Shown:
    """One row per image with pixels: where it lies, whether it was kept, and its place among the examples drawn."""
    from galaxy_assets.figures.maps import artefact_map as draw

    if not artefact_map.num_rows:
        raise NotApplicable("no image has pixels")
    kept, rule = _lookup(clean_galaxies, "kept"), _lookup(clean_galaxies, "rule")
    ids = artefact_map["galaxy_id"].to_pylist()
    removed = [galaxy for galaxy in ids if not kept[galaxy]]
    shown = figure_tables.sample(removed, 16, view.survey.umap.seed)
    table = artefact_map.select(["galaxy_id", "x", "y"])
    for name, values in [("kept", [kept[g] for g in ids]), ("rule", [rule[g] for g in ids])]:
        table = table.append_column(name, pa.array(values, YES if name == "kept" else TEXT))
    place = {galaxy: i for i, galaxy in enumerate(shown, 1)}
    table = table.append_column("example", pa.array([place.get(g) for g in ids], WHOLE))
    regions = artefacts.table_to_regions(artefact_regions)
    boxes = [(r.x0, r.y0, r.x1, r.y1) for r in regions]
    examples = [(image, str(rule[g])) for image, g in zip(view.images(shown), shown, strict=True)]
    x, y = (artefact_map[c].to_numpy() for c in ("x", "y"))
    figure = draw(x, y, np.array([not kept[g] for g in ids]), boxes, examples)
    share = len(removed) / len(ids)
    beside = f", with {len(shown)} of them chosen at random at the right" if shown else ""
    return Shown(
        table,
        figure,
        f"UMAP of the features that the ImageNet network gives to all {len(ids):,} images, before any training. "
        f"Boxes are the {len(regions)} regions taken for artefacts; they and the rules for single images remove the "
        f"{len(removed):,} images ({share:.1%}) drawn as triangles{beside}. Axes are in arbitrary units.",
        {"images": len(ids), "removed": len(removed), "share removed": share, "regions": len(regions)},
    )


@_figure(
    "figure_02",
    "Examples of the evaluation classes",
    "5.1, Figure 2",
    {"evaluation_class": TEXT, "position": WHOLE, "galaxy_id": TEXT},
    reads=["cutouts", "evaluation_subset"],
    settings=("evaluation",),
)
def _figure_02(view: View, evaluation_subset: pa.Table) -> Shown:
    """Nine random galaxies of each class that judges the representation."""
    from galaxy_assets.figures.plates import class_examples

    members = _members(evaluation_subset)
    chosen = {k: figure_tables.sample(ids, 9, view.survey.evaluation.seed) for k, ids in members.items()}
    counts = ", ".join(f"{_named(k)} ({len(ids):,})" for k, ids in members.items())
    return Shown(
        [
            {"evaluation_class": k, "position": i, "galaxy_id": galaxy}
            for k, ids in chosen.items()
            for i, galaxy in enumerate(ids, 1)
        ],
        class_examples({k: view.images(ids) for k, ids in chosen.items()}),
        f"Nine galaxies of each class of the evaluation subset, drawn at random; the classes and their sizes are "
        f"{counts}.",
        {_named(k): len(ids) for k, ids in members.items()},
    )


def _members(evaluation_subset: pa.Table) -> dict[str, list[str]]:
    """Ids of each evaluation class, classes by name."""
    members: dict[str, list[str]] = {}
    for galaxy, name in sorted(_lookup(evaluation_subset, "evaluation_class").items(), key=lambda pair: pair[::-1]):
        members.setdefault(name, []).append(galaxy)
    if not members:
        raise NotApplicable("no galaxy belongs to an evaluation class: the survey has no labels or votes for them")
    return members


_ACCURACY = {"init": TEXT, "epoch": WHOLE, "features": TEXT, "mean": REAL, "std": REAL, "n": WHOLE}


@_figure(
    "figure_03",
    "k-NN accuracy against epoch, random and ImageNet start",
    "5.2, Figure 3",
    _ACCURACY,
    starts=["epoch_accuracy"],
    settings=("evaluation",),
)
def _figure_03(view: View, epoch_accuracy: pa.Table) -> Shown:
    """Mean and standard deviation of the accuracy over random splits for every epoch; the features `untrained`,
    `pretrained` and `pixels` are baselines that were not trained here."""
    return _accuracy(view, epoch_accuracy, [name for name in view.survey.start_weights if name in _FIGURE_3])


@_figure(
    "figure_14",
    "k-NN accuracy against epoch, all start weights",
    "8.2, Figure 14",
    _ACCURACY,
    starts=["epoch_accuracy"],
    settings=("evaluation",),
)
def _figure_14(view: View, epoch_accuracy: pa.Table) -> Shown:
    """As Figure 3, for every start that was trained."""
    if set(view.survey.start_weights) <= set(_FIGURE_3):
        raise NotApplicable("the survey has no start weights beside those of Figure 3")
    return _accuracy(view, epoch_accuracy, view.survey.start_weights)


def _accuracy(view: View, epoch_accuracy: pa.Table, starts: Sequence[str]) -> Shown:
    import pyarrow.compute as pc

    from galaxy_assets.figures import curves

    table = figure_tables.accuracy_by_epoch(epoch_accuracy, starts)
    trained = table.filter(pc.equal(table["features"], "byol"))
    if not trained.num_rows:
        raise NotApplicable("no accuracy of these start weights: the survey has no two classes to judge them by")
    rows, judged = trained.to_pylist(), view.survey.evaluation
    made = list(dict.fromkeys(row["init"] for row in rows))
    numbers, said = {}, []
    for init in made:
        own = {row["epoch"]: row["mean"] for row in rows if row["init"] == init}
        first, last = own[min(own)], own[max(own)]
        numbers |= {f"{init}, epoch {min(own)}": first, f"{init}, epoch {max(own)}": last}
        said.append(f"{_named(init)} {first:.1%} before and {last:.1%} after {max(own)} epochs")
    absent = [init for init in starts if init not in made]
    baselines = {"pretrained": "the ImageNet network as it is", "untrained": "an untrained one", "pixels": "raw pixels"}
    levels = {
        name: np.mean([row["mean"] for row in table.to_pylist() if row["features"] == kind] or [np.nan])
        for kind, name in baselines.items()
    }
    known = ", ".join(f"{name} {level:.1%}" for name, level in levels.items() if np.isfinite(level))
    return Shown(
        table,
        curves.epoch_accuracy(table),
        f"Accuracy of {judged.neighbours} nearest neighbours on the evaluation subset after each epoch of training. "
        f"Lines are means over {rows[0]['n']} random splits, {1 - judged.test_fraction:.0%} for training, the rest for "
        f"testing, bands one standard deviation. Start weights: {'; '.join(said)}."
        + (f" Grey lines are features not trained here: {known}." if known else "")
        + (f" Not there: {', '.join(map(_named, absent))}." if absent else ""),
        numbers | {name: float(level) for name, level in levels.items()},
    )


_CLUSTERS = {
    "galaxy_id": TEXT,
    "x": REAL,
    "y": REAL,
    "cluster": WHOLE,
    "probability": REAL,
    "picked": YES,
    "example": WHOLE,
}
_CLUSTER_READS: dict[str, list[str]] = {"reads": ["cutouts"], "main": ["umap", "cluster_labels", "cluster_summary"]}


@_figure(
    "figure_04", "The clearest clusters on the map", "6.1, Figure 4", _CLUSTERS, settings=("mixture",), **_CLUSTER_READS
)
def _figure_04(view: View, umap: pa.Table, cluster_labels: pa.Table, cluster_summary: pa.Table) -> Shown:
    """One row per galaxy; `picked` are the clusters drawn: up to five that are no artefacts, of the highest purity
    where at least two clusters have ten labelled members, else of the highest mean membership probability."""
    return _clear_or_hard(view, umap, cluster_labels, cluster_summary, "clearest")


@_figure(
    "figure_05", "The hardest clusters on the map", "6.1, Figure 5", _CLUSTERS, settings=("mixture",), **_CLUSTER_READS
)
def _figure_05(view: View, umap: pa.Table, cluster_labels: pa.Table, cluster_summary: pa.Table) -> Shown:
    """As Figure 4, from the other end of the same order."""
    return _clear_or_hard(view, umap, cluster_labels, cluster_summary, "hardest")


def _clear_or_hard(
    view: View, umap: pa.Table, cluster_labels: pa.Table, cluster_summary: pa.Table, which: str
) -> Shown:
    cluster, probability = (cluster_labels[c].to_numpy() for c in ("cluster", "probability"))
    picked = figure_tables.pick_clusters(cluster_summary, cluster, probability)
    chosen: list[int] = getattr(picked, which)
    if not chosen:
        raise NotApplicable("fewer than two clusters have members that are no artefacts")
    values = {k: f"{picked.measure} {picked.value[k]:.0%}" for k in chosen}
    return _picked_clusters(
        view,
        umap,
        cluster_labels,
        cluster_summary,
        chosen,
        values,
        f"The {len(chosen)} {which} of {len(picked.value)} clusters that are no artefacts, by {picked.measure}: "
        f"{', '.join(f'{k} ({picked.value[k]:.0%})' for k in chosen)}",
    )


@_figure(
    "figure_06", "Clusters of artefacts on the map", "6.1, Figure 6", _CLUSTERS, settings=("mixture",), **_CLUSTER_READS
)
def _figure_06(view: View, umap: pa.Table, cluster_labels: pa.Table, cluster_summary: pa.Table) -> Shown:
    """As Figure 4, for the clusters whose members are mostly suspected artefacts that the removal left; at most eight,
    those with the largest share of suspects."""
    rows = [row for row in cluster_summary.to_pylist() if row["artefact"]]
    if not rows:
        raise NotApplicable("no cluster consists of artefacts: none has a majority of suspected images")
    share = {row["cluster"]: row["suspect_fraction"] for row in rows}
    chosen = sorted(share, key=lambda k: (-share[k], k))[:_ARTEFACT_CLUSTERS]
    return _picked_clusters(
        view,
        umap,
        cluster_labels,
        cluster_summary,
        chosen,
        {k: f"{share[k]:.0%} suspect" for k in chosen},
        f"{len(chosen)} of {len(rows)} clusters in which most images are suspected artefacts that the removal left in",
    )


def _picked_clusters(
    view: View,
    umap: pa.Table,
    cluster_labels: pa.Table,
    cluster_summary: pa.Table,
    chosen: list[int],
    values: Mapping[int, str],
    said: str,
) -> Shown:
    from galaxy_assets.figures.maps import ClusterExamples, cluster_examples

    labels = cluster_labels["cluster"].to_numpy()
    members = clusters.examples(
        labels, cluster_labels["galaxy_id"].to_numpy(zero_copy_only=False), _EXAMPLES, view.survey.mixture.seed
    )
    drawn = {k: cluster_labels["galaxy_id"].take(pa.array(members[k])).to_pylist() for k in chosen}
    place = {galaxy: i for ids in drawn.values() for i, galaxy in enumerate(ids, 1)}
    cluster, probability = _lookup(cluster_labels, "cluster"), _lookup(cluster_labels, "probability")
    ids = umap["galaxy_id"].to_pylist()
    on_map = np.array([cluster[g] for g in ids])
    table = umap.select(["galaxy_id", "x", "y"])
    for name, column in [
        ("cluster", pa.array(on_map)),
        ("probability", pa.array([probability[g] for g in ids], REAL)),
        ("picked", pa.array(np.isin(on_map, chosen))),
        ("example", pa.array([place.get(g) for g in ids], WHOLE)),
    ]:
        table = table.append_column(name, column)
    n = {k: int((on_map == k).sum()) for k in chosen}
    description = _lookup(cluster_summary, "description", "cluster")
    examples = [
        ClusterExamples(k, f"n = {n[k]:,}, {values[k]}. {description[k]}", view.images(drawn[k])) for k in chosen
    ]
    described = "; ".join(f"{k}: {description[k]}" for k in chosen)
    return Shown(
        table,
        cluster_examples(umap["x"].to_numpy(), umap["y"].to_numpy(), on_map, examples),
        f"{said}. They are coloured on the UMAP of the representation ({_named(view.survey.main_start_weights)} start, "
        f"{len(ids):,} galaxies; all others grey), each with up to {_EXAMPLES} random members at the right. In words: "
        f"{described}.",
        {f"galaxies in cluster {k}": n[k] for k in chosen},
    )


@_figure(
    "figure_07",
    "Volunteers' vote fractions by cluster",
    "6.2, Figure 7",
    {"panel": TEXT, "cluster": TEXT, "fraction": REAL},
    reads=["volunteer_votes"],
    main=["cluster_labels", "cluster_summary"],
    settings=("votes",),
)
def _figure_07(view: View, volunteer_votes: pa.Table, cluster_labels: pa.Table, cluster_summary: pa.Table) -> Shown:
    """One row per galaxy, panel and violin (its cluster and `all`): the fraction of votes for the panel's answer, where
    the survey's `votes` rules admit it. Artefact clusters have no violin of their own."""
    import pyarrow.compute as pc

    from galaxy_assets.figures.curves import votes_violin

    if not volunteer_votes.num_rows:
        raise NotApplicable("the survey has no volunteers' votes")
    left_out = {str(row["cluster"]) for row in cluster_summary.to_pylist() if row["artefact"]}
    campaign = view.survey.source.campaign
    rules, cluster = view.survey.votes, _lookup(cluster_labels, "cluster")
    distributions = clusters.vote_distributions(volunteer_votes, cluster, campaign, rules)
    table = clusters.figure_7([d for d in distributions if d.cluster not in left_out])
    if not table.num_rows:
        raise NotApplicable(f"no galaxy has {rules.minimum_votes} votes for any of the five questions")
    panels = Counter(table.filter(pc.equal(table["cluster"], "all"))["panel"].to_pylist())
    shown = len(set(table["cluster"].to_pylist()) - {"all"})
    without = f" {len(left_out)} clusters of artefacts are left out." if left_out else ""
    return Shown(
        table,
        votes_violin(table),
        f"How volunteers voted on the galaxies of {shown} clusters, and on all. Each violin is a kernel density cut "
        "at the extremes, all of one width; the box spans the quartiles and the point is the median. Counted are "
        f"galaxies with at least {rules.minimum_votes} votes for the question of which more than "
        f"{rules.parent_fraction:.0%} (for {', '.join(rules.inclusive) or 'none'}, at least so many) of the "
        f"votes chose the answer that leads to it: {', '.join(f'{p} {n:,}' for p, n in panels.items())}.{without}",
        {"clusters": shown, "clusters left out": len(left_out), **{f"galaxies, {p}": n for p, n in panels.items()}},
    )


_RANKED = ("found", "published", "isolation_forest", "local_outlier_factor", "random")


@_figure(
    "figure_08",
    "True anomalies found down the ranked list",
    "7.1, Figure 8",
    {"rank": pa.int64(), "perfect": pa.int64()} | dict.fromkeys(_RANKED, REAL),
    reads=["anomaly_recall"],
    settings=("anomaly",),
)
def _figure_08(view: View, anomaly_recall: pa.Table) -> Shown:
    """One row per place in the list: anomalies found up to it in the order of each search, in a random order (as
    expected) and in a perfect one. A search that was not run is null."""
    from galaxy_assets.figures.curves import recall

    found = anomaly_recall["found"].to_pylist()
    if not found or not found[-1]:
        raise NotApplicable("no true anomaly is known among the ranked galaxies")
    table = anomaly_recall.select(["rank", "perfect"])
    for name in _RANKED:
        there = name in anomaly_recall.column_names
        values = anomaly_recall[name].cast(REAL) if there else pa.nulls(table.num_rows, REAL)
        table = table.append_column(name, values)
    anomaly, depth = view.survey.anomaly, min(view.survey.anomaly.budget, len(found))  # as many as there were labels
    at = {name: table[name][depth - 1].as_py() for name in _RANKED}
    words = {"published": "the learner as published", "isolation_forest": "an isolation forest"}
    words |= {"local_outlier_factor": "local outlier factors", "random": "a random order"}
    others = ", ".join(f"{words[k]} {v:,.1f}".removesuffix(".0") for k, v in at.items() if k in words and v is not None)
    return Shown(
        table,
        recall(table),
        f"True {_named(anomaly.name)} found down the list of {len(found):,} labelled galaxies, ordered by the score "
        f"that active learning predicts from {anomaly.budget} labels. Of {found[-1]:,} in all, {at['found']:,.0f} "
        f"stand in the first {depth}; by comparison: {others}.",
        {
            "true anomalies": found[-1],
            **{f"in the first {depth}, {_named(k)}": v for k, v in at.items() if v is not None},
        },
    )


@_figure(
    "figure_09",
    "True anomalies and the anomaly score on the map",
    "7.1, Figure 9",
    {"galaxy_id": TEXT, "x": REAL, "y": REAL, "is_true": YES, "score": REAL},
    reads=["catalogue", "volunteer_votes", "anomaly_ranking"],
    main=["umap"],
    settings=("anomaly",),
)
def _figure_09(
    view: View, catalogue: pa.Table, volunteer_votes: pa.Table, anomaly_ranking: pa.Table, umap: pa.Table
) -> Shown:
    """One row per galaxy: where it lies, whether it truly is an anomaly, and the score predicted for it."""
    from galaxy_assets.figures.maps import anomaly_maps

    ids = umap["galaxy_id"].to_pylist()
    _, true = oracle_scores(ids, catalogue, volunteer_votes, view.survey.anomaly)
    if not true.any():
        raise NotApplicable("no true anomaly is known among the galaxies on the map")
    predicted = _lookup(anomaly_ranking, "score")
    score = np.array([predicted[galaxy] for galaxy in ids], float)
    table = umap.select(["galaxy_id", "x", "y"])
    table = table.append_column("is_true", pa.array(true)).append_column("score", pa.array(score))
    name = _named(view.survey.anomaly.name)
    return Shown(
        table,
        anomaly_maps(umap["x"].to_numpy(), umap["y"].to_numpy(), true, score),
        f"The UMAP of {len(ids):,} galaxies twice: at the left the {int(true.sum()):,} true {name}, at the right the "
        f"score, 0 to 5, that active learning predicts. True {name} score {score[true].mean():.2f} on average, all "
        f"others {score[~true].mean():.2f}.",
        {
            "true anomalies": int(true.sum()),
            "mean score of true anomalies": float(score[true].mean()),
            "mean score of others": float(score[~true].mean()) if (~true).any() else float("nan"),
        },
    )


@_figure(
    "figure_10",
    "What the oracle was shown, query by query",
    "7.1, Figure 10",
    {"round": WHOLE, "position": WHOLE, "galaxy_id": TEXT, "score": WHOLE, "acquisition": REAL},
    reads=["cutouts", "oracle_events"],
    settings=("anomaly",),
)
def _figure_10(view: View, oracle_events: pa.Table) -> Shown:
    """The first five galaxies of each query by falling acquisition, and the score they were given; round 0 is the seed
    sample."""
    from galaxy_assets.figures.plates import query_history

    if not oracle_events.num_rows:
        raise NotApplicable("nobody was asked: the survey has no labels or votes for the simulated oracle")
    rows = figure_tables.queries_shown(oracle_events, _EXAMPLES)
    images = view.images([row["galaxy_id"] for row in rows])
    high = {r: [row["score"] for row in rows if row["round"] == r].count(5) for r in {row["round"] for row in rows}}
    scores = [row["score"] for row in rows]
    mean = float(np.mean(oracle_events["score"].to_numpy()))
    return Shown(
        rows,
        query_history(images, scores, [row["round"] for row in rows]),
        f"Active learning at work: the seed sample, then {max(high)} queries of up to {view.survey.anomaly.per_round} "
        f"galaxies, of which the first {_EXAMPLES} by acquisition are drawn. The box under each holds the score that "
        f"the oracle gave, 0 to 5; of the {oracle_events.num_rows:,} scores given, the mean is {mean:.2f}.",
        {
            "labels": oracle_events.num_rows,
            "queries": max(high),
            "mean score": mean,
            "shown with score 5": scores.count(5),
        },
    )


_NEIGHBOURS = {"query_id": TEXT, "position": WHOLE, "galaxy_id": TEXT, "rank": WHOLE, "distance": REAL}


@_figure(
    "figure_11",
    "A galaxy and its nearest neighbours",
    "7.2, Figure 11",
    _NEIGHBOURS,
    reads=["cutouts", "similar_galaxies"],
    settings=("similarity",),
)
def _figure_11(view: View, similar_galaxies: pa.Table) -> Shown:
    """The survey's first query galaxy among its neighbours in the order drawn; rank 0 is the query itself."""
    return _neighbours(view, similar_galaxies, 0)


@_figure(
    "figure_12",
    "Another galaxy and its nearest neighbours",
    "7.2, Figure 12",
    _NEIGHBOURS,
    reads=["cutouts", "similar_galaxies"],
    settings=("similarity",),
)
def _figure_12(view: View, similar_galaxies: pa.Table) -> Shown:
    """As Figure 11, for the second query galaxy."""
    return _neighbours(view, similar_galaxies, 1)


def _neighbours(view: View, similar_galaxies: pa.Table, which: int) -> Shown:
    import pyarrow.compute as pc

    from galaxy_assets.figures.plates import neighbours

    queries = list(dict.fromkeys(similar_galaxies["query_id"].to_pylist()))
    if which >= len(queries):
        raise NotApplicable(f"{len(queries)} galaxies were searched for; this figure shows number {which + 1}")
    query = queries[which]
    near = similar_galaxies.filter(pc.equal(similar_galaxies["query_id"], query)).sort_by("rank").to_pylist()[:8]
    rows = [{"galaxy_id": n["neighbour_id"], "rank": n["rank"], "distance": n["distance"]} for n in near]
    centre = len(rows) // 2
    rows.insert(centre, {"galaxy_id": query, "rank": 0, "distance": 0.0})
    captions = ["query" if i == centre else f"{row['rank']}: {row['distance']:.3g}" for i, row in enumerate(rows)]
    return Shown(
        [row | {"query_id": query, "position": i} for i, row in enumerate(rows, 1)],
        neighbours(view.images([row["galaxy_id"] for row in rows]), captions, centre),
        f"Galaxy {query} (framed) among its {len(near)} nearest neighbours by Euclidean distance in the principal "
        f"components of the representation; under each its rank and distance, from {near[0]['distance']:.3g} to "
        f"{near[-1]['distance']:.3g}.",
        {"query": query, "nearest": near[0]["distance"], "furthest shown": near[-1]["distance"]},
    )


@_figure(
    "figure_13",
    "Labelled galaxies at random",
    "8.1, Figure 13",
    {"position": WHOLE, "galaxy_id": TEXT, "label": TEXT},
    reads=["cutouts", "evaluation_subset"],
    settings=("evaluation",),
)
def _figure_13(view: View, evaluation_subset: pa.Table) -> Shown:
    """Galaxies of the evaluation subset and their class, four of each class (three from four classes on), in random
    order."""
    from galaxy_assets.figures.plates import labelled_grid

    members, seed = _members(evaluation_subset), view.survey.evaluation.seed + 1  # other galaxies than in Figure 2
    each = 4 if len(members) < 4 else 3
    label = {galaxy: k for k, ids in members.items() for galaxy in figure_tables.sample(ids, each, seed)}
    ids = figure_tables.sample(list(label), len(label), seed)
    return Shown(
        [{"position": i, "galaxy_id": galaxy, "label": label[galaxy]} for i, galaxy in enumerate(ids, 1)],
        labelled_grid(view.images(ids), [_named(label[galaxy]) for galaxy in ids]),
        f"Galaxies of the evaluation subset in random order, with the true label in the corner: {each} at random of "
        f"each of {', '.join(map(_named, members))}.",
        {"galaxies": len(ids), "classes": len(members)},
    )


@_figure(
    "figure_15",
    "Maps from each of the start weights",
    "8.3, Figure 15",
    {"init": TEXT, "galaxy_id": TEXT, "x": REAL, "y": REAL, "evaluation_class": TEXT, "cluster_accuracy": REAL},
    reads=["evaluation_subset"],
    starts=["umap", "cluster_summary"],
)
def _figure_15(view: View, evaluation_subset: pa.Table, umap: pa.Table, cluster_summary: pa.Table) -> Shown:
    """One row per start and galaxy of the evaluation subset: where it lies on that start's map, its class, and the
    share of the subset that the majority classes of that start's clusters get right."""
    import pyarrow.compute as pc

    from galaxy_assets.figures.maps import start_weight_panel

    label = {galaxy: name for name, ids in _members(evaluation_subset).items() for galaxy in ids}
    right = _lookup(cluster_summary, "accuracy_overall", "init")
    made = [init for init in view.survey.start_weights if init in set(umap["init"].to_pylist())]
    if len(made) < 2:
        raise NotApplicable("there is one start, and so nothing to compare")
    rows, panels = [], []
    for init in made:
        own = _start(umap, init)
        own = own.filter(pc.is_in(own["galaxy_id"], pa.array(list(label), TEXT)))
        classes = [label[galaxy] for galaxy in own["galaxy_id"].to_pylist()]
        accuracy = right.get(init)
        panel = {"title": init, "x": own["x"].to_numpy(), "y": own["y"].to_numpy(), "label": classes}
        panels.append(panel | {"accuracy": float("nan") if accuracy is None else accuracy})
        rows += [
            {"init": init, "evaluation_class": c, "cluster_accuracy": accuracy}
            | {k: row[k] for k in ("galaxy_id", "x", "y")}
            for c, row in zip(classes, own.to_pylist(), strict=True)
        ]
    absent = [init for init in view.survey.start_weights if init not in made]
    said = ", ".join(f"{_named(p['title'])} {p['accuracy']:.1%}" for p in panels)
    return Shown(
        rows,
        start_weight_panel(panels),
        f"UMAP of the representation from each of {len(made)} start weights; drawn are the {len(label):,} galaxies of "
        "the evaluation subset, by class. Above each the cluster accuracy: the share of them whose class is the "
        f"majority's in their cluster ({said})." + (f" Not there: {', '.join(map(_named, absent))}." if absent else ""),
        {f"cluster accuracy, {p['title']}": p["accuracy"] for p in panels} | {"galaxies": len(label)},
    )


@_figure(
    "table_1",
    "The recipe",
    "4.1, Table 1",
    {"setting": TEXT, "section": TEXT, "paper": TEXT, "survey": TEXT, "agrees": YES},
    settings=("recipe", "cutout", "variance", "umap", "evaluation", "mixture", "anomaly", "similarity"),
)
def _table_1(view: View) -> Shown:
    """One row per setting: what the paper used and what this survey uses. The rows of Table 1 come first, then what the
    other sections say."""
    rows = figure_tables.recipe(view.survey)
    same = sum(row["agrees"] for row in rows)
    return Shown(
        rows,
        None,
        f"Settings of the paper beside those of this survey: {same} of {len(rows)} are the same.",
        {"settings": len(rows), "same as the paper's": same},
    )


@_figure(
    "table_2",
    "The clusters in words",
    "6.2, Table 2",
    {
        "cluster": WHOLE,
        "description": TEXT,
        "n": WHOLE,
        "n_labelled": WHOLE,
        "majority_class": TEXT,
        "purity": REAL,
        "suspect_fraction": REAL,
        "artefact": YES,
        "evidence": TEXT,
        "described_by": TEXT,
    },
    main=["cluster_summary"],
)
def _table_2(view: View, cluster_summary: pa.Table) -> Shown:
    """One row per cluster: its description and what it rests on. `purity` is the majority class's share of the labelled
    members."""
    rows = cluster_summary.to_pylist()
    used, bad = sum(row["n"] > 0 for row in rows), sum(row["artefact"] for row in rows)
    return Shown(
        cluster_summary,
        None,
        f"What each cluster of the mixture holds ({_named(view.survey.main_start_weights)} start): {used} of "
        f"{len(rows)} have members, {bad} are artefacts.",
        {"clusters": len(rows), "with members": used, "artefacts": bad},
    )
