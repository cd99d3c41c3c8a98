"""Figures 4 to 7 and 15, Tables 1 and 2: the recipe, and the structure of the representation (paper 4, 6 and 8.3).

Belongs here: what these figures read, show and say. Does not belong here: drawing (`figures`), finding and describing
clusters (`science.mixture`, `science.clusters`).
"""

from collections.abc import Mapping

import numpy as np
import pyarrow as pa

from galaxy_assets.orchestration.assets.clusters import SUMMARY_COLUMNS
from galaxy_assets.orchestration.assets.paper_figures.declaring import (
    GALAXY,
    PLACE,
    REAL,
    TEXT,
    WHOLE,
    YES,
    Columns,
    NotApplicable,
    Shown,
    View,
    named,
    paper_figure,
)
from galaxy_assets.orchestration.assets.paper_figures.evaluation import members_by_class
from galaxy_assets.orchestration.columns import SHARED
from galaxy_assets.science import clusters, figure_tables
from galaxy_assets.science.descriptions import ARTEFACTS
from galaxy_assets.science.galaxy_ids import Ids
from galaxy_assets.storage.tables import lookup, rows_of

_ARTEFACT_CLUSTERS = 8  # rows of cutouts that fit beside a map
_EXAMPLES = 5  # members drawn of each cluster
_CLUSTERS: Columns = {
    **GALAXY,
    **PLACE,
    "cluster": (WHOLE, SHARED["cluster"]),
    "probability": (REAL, SHARED["probability"]),
    "picked": (YES, "whether its cluster is one of those drawn"),
    "example": (WHOLE, "place among the members of its cluster whose cutouts are drawn, from 1; null for the others"),
}
_CLUSTERED = ["umap", "cluster_labels", "cluster_summary"]
_TABLE_2 = {
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
}


@paper_figure(
    "figure_04",
    "The clearest clusters on the map",
    "6.1, Figure 4",
    _CLUSTERS,
    settings=("mixture",),
    reads=["cutouts"],
    main=_CLUSTERED,
)
def figure_04(view: View, umap: pa.Table, cluster_labels: pa.Table, cluster_summary: pa.Table) -> Shown:
    """One row per galaxy; `picked` are the clusters drawn: up to five that are no artefacts, of the highest purity
    where at least two clusters have ten labelled members, else of the highest mean membership probability.
    """
    return _clear_or_hard(view, umap, cluster_labels, cluster_summary, "clearest")


@paper_figure(
    "figure_05",
    "The hardest clusters on the map",
    "6.1, Figure 5",
    _CLUSTERS,
    settings=("mixture",),
    reads=["cutouts"],
    main=_CLUSTERED,
)
def figure_05(view: View, umap: pa.Table, cluster_labels: pa.Table, cluster_summary: pa.Table) -> Shown:
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


@paper_figure(
    "figure_06",
    "Clusters of artefacts on the map",
    "6.1, Figure 6",
    _CLUSTERS,
    settings=("mixture",),
    version="2",
    reads=["cutouts"],
    main=_CLUSTERED,
)
def figure_06(view: View, umap: pa.Table, cluster_labels: pa.Table, cluster_summary: pa.Table) -> Shown:
    """As Figure 4, for the clusters taken for artefacts, by suspected images, votes or a person; at most eight, those
    with the largest share of suspects.
    """
    rows = [row for row in cluster_summary.to_pylist() if row["artefact"] and row["n"]]
    if not rows:
        raise NotApplicable("no cluster is taken for artefacts, by suspected images, votes or a person")
    share = {row["cluster"]: row["suspect_fraction"] for row in rows}
    why = {row["cluster"]: _taken_by(row) for row in rows}
    chosen = sorted(share, key=lambda k: (-share[k], k))[:_ARTEFACT_CLUSTERS]
    return _picked_clusters(
        view,
        umap,
        cluster_labels,
        cluster_summary,
        chosen,
        {k: why[k] for k in chosen},
        f"{len(chosen)} of {len(rows)} clusters that are taken for artefacts that the removal left in: "
        + ", ".join(f"{k} ({why[k]})" for k in chosen),
    )


def _taken_by(row: Mapping[str, str]) -> str:
    """What makes a row of `cluster_summary` one of artefacts: the rule's evidence, or a person against the rule."""
    evidence = row["evidence"].removeprefix(f"the rule says: {ARTEFACTS}; ")
    return "by a person" if evidence.startswith("the rule says: ") else evidence


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
    ids = Ids(cluster_labels["galaxy_id"])
    members = clusters.examples(labels, ids, _EXAMPLES, view.survey.mixture.seed)
    drawn = {k: ids[members[k]].tolist() for k in chosen}
    place = np.zeros(len(ids), np.int32)
    for k in chosen:
        place[members[k]] = np.arange(1, len(members[k]) + 1)
    rows = rows_of(cluster_labels, umap, "cluster_labels")
    on_map, place = labels[rows], place[rows]
    table = umap.select(["galaxy_id", "x", "y"])
    for name, column in [
        ("cluster", pa.array(on_map)),
        ("probability", cluster_labels["probability"].take(pa.array(rows)).cast(REAL)),
        ("picked", pa.array(np.isin(on_map, chosen))),
        ("example", pa.array(place, WHOLE, mask=place == 0)),
    ]:
        table = table.append_column(name, column)
    n = {k: int((on_map == k).sum()) for k in chosen}
    description = lookup(cluster_summary, "description", "cluster")
    examples = [
        ClusterExamples(k, f"n = {n[k]:,}, {values[k]}. {description[k]}", view.images(drawn[k])) for k in chosen
    ]
    described = "; ".join(f"{k}: {description[k]}" for k in chosen)
    return Shown(
        table,
        cluster_examples(umap["x"].to_numpy(), umap["y"].to_numpy(), on_map, examples),
        f"{said}. They are coloured on the UMAP of the representation ({named(view.survey.main_start_weights)} start, "
        f"{len(ids):,} galaxies; all others grey), each with up to {_EXAMPLES} random members at the right. In words: "
        f"{described}.",
        {f"galaxies in cluster {k}": n[k] for k in chosen},
    )


@paper_figure(
    "figure_07",
    "Volunteers' vote fractions by cluster",
    "6.2, Figure 7",
    {
        "panel": (TEXT, "question and answer of the panel"),
        "cluster": (TEXT, "number of the cluster, or `all` for the whole sample"),
        "fraction": (REAL, "share of the galaxy's votes on the question for that answer, 0 to 1"),
    },
    reads=["volunteer_votes"],
    main=["cluster_labels", "cluster_summary"],
    settings=("votes",),
)
def figure_07(view: View, volunteer_votes: pa.Table, cluster_labels: pa.Table, cluster_summary: pa.Table) -> Shown:
    """One row per galaxy, panel and violin (its cluster and `all`): the fraction of votes for the panel's answer, where
    the survey's `votes` rules admit it. Artefact clusters have no violin of their own.
    """
    import pyarrow.compute as pc

    from galaxy_assets.figures.curves import votes_violin

    if not volunteer_votes.num_rows:
        raise NotApplicable("the survey has no volunteers' votes")
    left_out = {str(row["cluster"]) for row in cluster_summary.to_pylist() if row["artefact"]}
    campaign, rules = view.survey.source.campaign, view.survey.votes
    distributions = clusters.vote_distributions(volunteer_votes, cluster_labels, campaign, rules)
    table = clusters.figure_7([d for d in distributions if d.cluster not in left_out])
    if not table.num_rows:
        raise NotApplicable(f"no galaxy has {rules.minimum_votes} votes for any of the five questions")
    of_all = table.filter(pc.equal(table["cluster"], "all"))["panel"]
    panels = {one["values"]: one["counts"] for one in of_all.value_counts().to_pylist()}
    shown = len(set(table["cluster"].unique().to_pylist()) - {"all"})
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


@paper_figure(
    "figure_15",
    "Maps from each of the start weights",
    "8.3, Figure 15",
    {
        "init": (TEXT, SHARED["init"]),
        **GALAXY,
        **PLACE,
        "evaluation_class": (TEXT, SHARED["evaluation_class"]),
        "cluster_accuracy": (REAL, "share of the subset that the clusters' labels get right, the same for each start"),
    },
    reads=["evaluation_subset"],
    starts=["umap", "cluster_summary"],
    version="2",
)
def figure_15(view: View, evaluation_subset: pa.Table, umap: pa.Table, cluster_summary: pa.Table) -> Shown:
    """One row per start and galaxy of the evaluation subset: where it lies on that start's map, its class, and the
    share of the subset that the majority classes of that start's clusters get right.
    """
    import pyarrow.compute as pc

    from galaxy_assets.figures.maps import start_weight_panel

    label = {galaxy: name for name, ids in members_by_class(evaluation_subset).items() for galaxy in ids}
    right = lookup(cluster_summary, "accuracy_overall", "init")
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
    said = ", ".join(f"{named(p['title'])} {figure_tables.in_words(p['accuracy'])}" for p in panels)
    return Shown(
        rows,
        start_weight_panel(panels),
        f"UMAP of the representation from each of {len(made)} start weights; drawn are the {len(label):,} galaxies of "
        "the evaluation subset, by class. Above each the cluster accuracy: the share of them whose class is the "
        f"majority's in their cluster ({said})." + (f" Not there: {', '.join(map(named, absent))}." if absent else ""),
        {f"cluster accuracy, {p['title']}": p["accuracy"] for p in panels} | {"galaxies": len(label)},
    )


def _start(table: pa.Table, init: str) -> pa.Table:
    import pyarrow.compute as pc

    return table.filter(pc.equal(table["init"], init))


@paper_figure(
    "table_1",
    "The recipe",
    "4.1, Table 1",
    {
        "setting": (TEXT, "what is set"),
        "section": (TEXT, "section or table of the paper that says it"),
        "paper": (TEXT, "the paper's value"),
        "survey": (TEXT, "this survey's value"),
        "agrees": (YES, "whether the two are equal"),
    },
    settings=("recipe", "cutout", "variance", "umap", "evaluation", "mixture", "anomaly", "similarity"),
)
def table_1(view: View) -> Shown:
    """One row per setting: what the paper used and what this survey uses. The rows of Table 1 come first, then what the
    other sections say.
    """
    rows = figure_tables.recipe(view.survey)
    same = sum(row["agrees"] for row in rows)
    return Shown(
        rows,
        None,
        f"Settings of the paper beside those of this survey: {same} of {len(rows)} are the same.",
        {"settings": len(rows), "same as the paper's": same},
    )


@paper_figure(
    "table_2",
    "The clusters in words",
    "6.2, Table 2",
    {name: (kind, SUMMARY_COLUMNS[name]) for name, kind in _TABLE_2.items()},
    main=["cluster_summary"],
)
def table_2(view: View, cluster_summary: pa.Table) -> Shown:
    """One row per cluster: its description and what it rests on. `purity` is the majority class's share of the labelled
    members.
    """
    rows = cluster_summary.to_pylist()
    used, bad = sum(row["n"] > 0 for row in rows), sum(row["artefact"] for row in rows)
    return Shown(
        cluster_summary,
        None,
        f"What each cluster of the mixture holds ({named(view.survey.main_start_weights)} start): {used} of "
        f"{len(rows)} have members, {bad} are artefacts.",
        {"clusters": len(rows), "with members": used, "artefacts": bad},
    )
