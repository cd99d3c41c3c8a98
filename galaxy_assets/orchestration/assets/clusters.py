"""What the clusters hold: examples, votes, a description, a label, and candidates for a training set (paper 6, 8.3).

Belongs here: assets that read the clusters of each start weight. Does not belong here: the mixture (`structure`), the
rules that describe and label (`science.clusters`, `science.worksheet`).
"""

from pathlib import Path
from typing import Any

import dagster as dg
import numpy as np
import pyarrow as pa

from galaxy_assets.orchestration.columns import shared
from galaxy_assets.orchestration.declaration import EVERY_BATCH, Result, SurveyContext, picture, survey_asset
from galaxy_assets.orchestration.external import CLUSTER_REVIEW
from galaxy_assets.science import clusters, descriptions, worksheet
from galaxy_assets.science.artefact_limits import are_suspect
from galaxy_assets.science.figure_tables import in_words
from galaxy_assets.science.galaxy_ids import Ids, places_among
from galaxy_assets.storage.files import replacing
from galaxy_assets.storage.store import store_of
from galaxy_assets.storage.tables import lookup, rows_of

_EXAMPLES = 8
# all columns named: without evaluation classes some hold nothing that would tell their type
SUMMARY = pa.schema(
    [
        ("init", pa.string()),
        ("cluster", pa.int32()),
        ("n", pa.int64()),
        ("n_labelled", pa.int64()),
        ("majority_class", pa.string()),
        ("purity", pa.float64()),
        ("suspect_fraction", pa.float64()),
        ("artefact", pa.bool_()),
        ("label", pa.string()),
        ("description", pa.string()),
        ("evidence", pa.string()),
        ("described_by", pa.string()),
        ("accuracy_overall", pa.float64()),
    ]
)
VOTES = pa.schema(
    [
        ("init", pa.string()),
        ("cluster", pa.string()),
        ("question", pa.string()),
        ("answer", pa.string()),
        ("n", pa.int32()),
        ("mean", pa.float64()),
        ("quantiles", pa.list_(pa.float64())),
    ]
)
SUMMARY_COLUMNS = shared("init", "cluster") | {
    "n": "members",
    "n_labelled": "members that have an evaluation class",
    "majority_class": "commonest class among them; null where there are none",
    "purity": "its share of them, 0 to 1; null where there are none",
    "suspect_fraction": "share of the members that are suspected artefacts, 0 to 1",
    "artefact": "whether the cluster is taken for artefacts",
    "label": "class that the cluster stands for; null for a mixture of classes and for artefacts",
    "description": "what the members are, in words",
    "evidence": "what the description rests on, in words and numbers",
    "described_by": "rule, or person where the worksheet says something of the cluster",
    "accuracy_overall": "share of the evaluation subset whose class is its cluster's label, 0 to 1, the same in every "
    "row; NaN without such galaxies",
}


@survey_asset(
    "6_structure",
    paper="6.1, Figures 4-6",
    by="init",
    reads={"cutouts": EVERY_BATCH, "cluster_labels": {}, "umap": {}},
    columns=shared("init", "cluster", "galaxy_id") | {"position": "place among the examples of its cluster, from 0"},
)
def cluster_gallery(context: SurveyContext, cutouts: pa.Table, cluster_labels: pa.Table, umap: pa.Table) -> Result:
    """Random examples of every cluster, as rows and as a contact sheet, and the clusters on the map."""
    from galaxy_assets.figures.galleries import cluster_gallery as sheet
    from galaxy_assets.figures.maps import cluster_map

    cluster, ids = cluster_labels["cluster"].to_numpy(), Ids(cluster_labels["galaxy_id"])
    chosen = clusters.examples(cluster, ids, _EXAMPLES, context.survey.mixture.seed)
    titles = {k: f"cluster {k} ({int((cluster == k).sum())})" for k in chosen}
    rows = [(context.init, k, i, ids[row]) for k, members in chosen.items() for i, row in enumerate(members)]
    columns = list(zip(*rows, strict=True))
    table = pa.table(dict(zip(("init", "cluster", "position", "galaxy_id"), map(list, columns), strict=True)))
    on_map = cluster[rows_of(cluster_labels, umap, "cluster_labels")]
    figure = cluster_map(umap["x"].to_numpy(), umap["y"].to_numpy(), on_map)
    images = _images(context, cutouts, cluster_labels, chosen)
    shown: dict[str, Any] = picture(context, sheet(images, titles), "cluster_gallery", context.init)
    shown["map"] = picture(context, figure, "cluster_map", context.init)["preview"]
    return Result(table, {"clusters with members": len(chosen), **shown})


def _images(
    context: SurveyContext, cutouts: pa.Table, cluster_labels: pa.Table, chosen: dict[int, np.ndarray]
) -> dict[int, list[np.ndarray]]:
    """Cutouts of the chosen rows of `cluster_labels`, by cluster."""
    stack = context.pixels.of(cutouts)
    return {k: list(stack[rows_of(cutouts, cluster_labels.take(rows))]) for k, rows in chosen.items()}


@survey_asset(
    "6_structure",
    paper="6.2, Figure 7",
    by="init",
    reads={"cluster_labels": {}, "volunteer_votes": {}, "catalogue": EVERY_BATCH},
    settings=lambda survey: [survey.source, survey.votes],
    columns=shared("init")
    | {
        "cluster": "number of the cluster, or `all` for the whole sample",
        "question": "question of the decision tree; `label` for a survey without volunteers",
        "answer": "the answer, or the label",
        "n": "galaxies that the survey's rules admit",
        "mean": "mean fraction of votes for the answer, or share of the label, 0 to 1",
        "quantiles": "quantiles 0, .05, .1, ..., 1 of the fractions: 21 numbers from 0 to 1",
    },
)
def vote_fractions(
    context: SurveyContext, cluster_labels: pa.Table, volunteer_votes: pa.Table, catalogue: pa.Table
) -> Result:
    """Per cluster (and for `all`) and answer of the decision tree: how the vote fractions are distributed, as
    quantiles from 0 to 1 in steps of .05, over the galaxies that the survey's `votes` rules admit (in the paper ten
    votes for the question and a parent fraction above one half). A survey without volunteers has instead the share
    of each catalogue label.
    """
    from galaxy_assets.figures.curves import votes_violin

    survey = context.survey
    if volunteer_votes.num_rows:
        campaign = survey.source.campaign
        distributions = clusters.vote_distributions(volunteer_votes, cluster_labels, campaign, survey.votes)
    else:
        distributions = clusters.label_shares(catalogue.filter(catalogue["label"].is_valid()), cluster_labels)
    rows = [
        {
            "init": context.init,
            "cluster": d.cluster,
            "question": d.question,
            "answer": d.answer,
            "n": len(d.fractions),
            "mean": float(np.mean(d.fractions)),
            "quantiles": np.quantile(d.fractions, descriptions.QUANTILES).tolist(),
        }
        for d in distributions
    ]
    table, shown = pa.Table.from_pylist(rows, schema=VOTES), {}
    if volunteer_votes.num_rows:
        shown = picture(context, votes_violin(clusters.figure_7(distributions)), "vote_fractions", context.init)
    return Result(table, shown)


@survey_asset(
    "6_structure",
    paper="6.2, 6.3, Table 2",
    by="init",
    reads=["cluster_labels"],
    files=[CLUSTER_REVIEW],
    columns=shared("init")
    | {
        "line": "line of the person's file",
        "cluster": "cluster that the row is about now; null where none holds more than half of its exemplars",
        "written_for": "number that the cluster had when the row was written",
        "description": "the person's description; null where it is left to the rule",
        "label": "the person's class; null where it is left to the rule",
        "artefact": "whether the person takes it for artefacts; null where it is left to the rule",
        "exemplars": "ids of the galaxies by which the cluster is found again",
        "n_held": "how many of them the cluster with most of them holds",
    },
)
def cluster_worksheet(context: SurveyContext, cluster_labels: pa.Table) -> Result:
    """What a person says of the clusters in `data/surveys/<survey>_clusters.csv`, each row with the cluster that it
    is about now: the one that holds more than half of its exemplars, since a refit numbers clusters anew. Empty
    without that file; `cluster_summary` writes a template for it.
    """
    import pyarrow.compute as pc

    init, path = context.init, context.layout.cluster_worksheet(context.survey.name)
    said = worksheet.read_worksheet(store_of(path).local(path), context.survey.start_weights) if path.exists() else []
    own = [row for row in said if row.init == init]
    exemplars = pa.array([galaxy for row in own for galaxy in row.exemplars], pa.string())
    held = cluster_labels.filter(pc.is_in(cluster_labels["galaxy_id"], exemplars))
    rows = worksheet.match(own, lookup(held, "cluster"), path)
    return Result(
        rows.add_column(0, "init", pa.array([init] * rows.num_rows, pa.string())),
        {"worksheet": context.link(path), "rows in force": rows.num_rows - rows["cluster"].null_count},
    )


@survey_asset(
    "6_structure",
    paper="6.2, 6.3, 8.3, Table 2, Figure 15",
    by="init",
    reads={
        "cluster_labels": {},
        "cluster_model": {},
        "cluster_worksheet": {},
        "vote_fractions": {},
        "evaluation_subset": {},
        "artefact_map": EVERY_BATCH,
        "umap": {},
    },
    settings=lambda survey: [survey.labelling, " ".join(survey.artefacts.evidence_that_counts)],
    columns=SUMMARY_COLUMNS,
)
def cluster_summary(
    context: SurveyContext,
    cluster_labels: pa.Table,
    cluster_model: pa.Table,
    cluster_worksheet: pa.Table,
    vote_fractions: pa.Table,
    evaluation_subset: pa.Table,
    artefact_map: pa.Table,
    umap: pa.Table,
) -> Result:
    """One row per cluster: members, what they are in words with the evidence, by rule from the volunteers' votes
    (or the evaluation classes) or by a person; the class it is labelled with; and how many of the evaluation subset
    these labels get right.
    """
    from galaxy_assets.figures.maps import class_map

    cluster, labels = cluster_labels["cluster"].to_numpy(), classes_of(evaluation_subset, cluster_labels)
    suspect = are_suspect(artefact_map["reason"].to_pylist(), context.survey.artefacts.evidence_that_counts)
    suspect = suspect[rows_of(artefact_map, cluster_labels, "artefact_map")]
    said = worksheet.overrides(cluster_worksheet)
    summaries = clusters.summarise(
        cluster,
        labels,
        suspect,
        cluster_model.num_rows,
        context.survey.labelling,
        descriptions.spreads(vote_fractions),
        said,
    )
    accuracy = clusters.label_accuracy(cluster, labels, [s.label for s in summaries])
    rows = [{"init": context.init, **s.__dict__, "accuracy_overall": accuracy} for s in summaries]
    template = _write_template(context, cluster_labels, summaries, said)
    on_map = classes_of(evaluation_subset, umap)
    title = f"{context.init}: share that clusters' labels get right {in_words(accuracy)}"
    figure = class_map(umap["x"].to_numpy(), umap["y"].to_numpy(), on_map, title)
    shown = _shown(summaries, accuracy) | picture(context, figure, "class_map", context.init)
    shown["worksheet template"] = context.link(template)
    return Result(pa.Table.from_pylist(rows, schema=SUMMARY), shown)


def _write_template(
    context: SurveyContext, cluster_labels: pa.Table, summaries: list[clusters.Summary], said: Any
) -> Path:
    """Write the worksheet that a person may fill in, with the most certain members of each cluster; return its path."""
    ids = Ids(cluster_labels["galaxy_id"])
    cluster, probability = (cluster_labels[c].to_numpy() for c in ("cluster", "probability"))
    certain = clusters.most_certain(cluster, probability, ids, context.survey.labelling.exemplars)
    exemplars = {k: ids[rows].tolist() for k, rows in certain.items()}
    words = {s.cluster: (s.description, s.evidence) for s in summaries}
    template = context.layout.worksheet_template(context.survey.name, context.init)
    with replacing(template) as partial:
        partial.write_text(worksheet.template(context.init, exemplars, words, said), encoding="utf-8")
    context.beside.append(template)
    return template


def _shown(summaries: list[clusters.Summary], accuracy: float) -> dict[str, Any]:
    """What the UI shows of the clusters in words."""
    words = "\n".join(f"- **{s.cluster}** ({s.n}): {s.description} ({s.evidence})" for s in summaries)
    return {
        "accuracy": accuracy,
        "clusters used": sum(s.n > 0 for s in summaries),
        "artefact clusters": sum(s.artefact for s in summaries),
        "descriptions": dg.MetadataValue.md(words),
        "described by a person": sum(s.described_by == "person" for s in summaries),
    }


@survey_asset(
    "6_structure",
    paper="6.3",
    by="init",
    reads=["cluster_labels", "evaluation_subset", "cluster_summary"],
    columns=shared("init", "evaluation_class", "cluster")
    | {
        "n": "galaxies of the class in the cluster",
        "share": "their share of the class, 0 to 1",
        "labelled_as": "class that the cluster is labelled with; null where it has none",
    },
)
def class_membership(
    context: SurveyContext, cluster_labels: pa.Table, evaluation_subset: pa.Table, cluster_summary: pa.Table
) -> Result:
    """In which clusters the galaxies of each evaluation class are: number, share of the class, and what the cluster
    is labelled as.
    """
    import pyarrow.compute as pc

    from galaxy_assets.figures.memberships import class_membership as draw

    init, labels = context.init, classes_of(evaluation_subset, cluster_labels)
    given = cluster_summary["label"].to_pylist()
    table = clusters.membership(cluster_labels["cluster"].to_numpy(), labels, given)
    table = table.add_column(0, "init", pa.array([init] * table.num_rows, pa.string()))
    found = {}
    for name in pc.unique(table["evaluation_class"]).to_pylist():
        own = [r for r in table.to_pylist() if r["evaluation_class"] == r["labelled_as"] == name]
        numbers = ", ".join(str(r["cluster"]) for r in own) or "none"
        found[f"class {name}"] = f"{sum(r['share'] for r in own):.1%} in the clusters labelled so: {numbers}"
    return Result(table, {**found, **picture(context, draw(table), "class_membership", init)})


@survey_asset(
    "6_structure",
    paper="9",
    by="init",
    reads={"cluster_labels": {}, "cluster_summary": {}, "cutouts": EVERY_BATCH},
    settings=lambda survey: [survey.labelling],
    columns=shared("init", "cluster", "galaxy_id", "batch", "probability")
    | {
        "rank": "place in the cluster by falling probability, from 1",
        "description": SUMMARY_COLUMNS["description"],
        "label": SUMMARY_COLUMNS["label"],
    },
)
def training_candidates(
    context: SurveyContext, cluster_labels: pa.Table, cluster_summary: pa.Table, cutouts: pa.Table
) -> Result:
    """The most certain members of each cluster by the mixture's membership probability, ties by id: what a training
    set could take without asking anyone. Clusters of artefacts are left out.
    """
    from galaxy_assets.figures.galleries import cluster_gallery as sheet

    ids = Ids(cluster_labels["galaxy_id"])
    cluster, probability = (cluster_labels[c].to_numpy() for c in ("cluster", "probability"))
    summary = {row["cluster"]: row for row in cluster_summary.to_pylist()}
    certain = clusters.most_certain(cluster, probability, ids, context.survey.labelling.candidates)
    chosen = {k: rows for k, rows in certain.items() if not summary[k]["artefact"]}
    rows = np.concatenate([np.empty(0, np.int64), *chosen.values()])
    table = cluster_labels.take(pa.array(rows)).select(["init", "cluster", "galaxy_id", "batch", "probability"])
    rank = [i for members in chosen.values() for i in range(1, len(members) + 1)]
    table = table.add_column(2, "rank", pa.array(rank, pa.int32()))
    for name in ("description", "label"):
        own = [summary[k][name] for k in table["cluster"].to_pylist()]
        table = table.append_column(name, pa.array(own, pa.string()))
    images = _images(context, cutouts, cluster_labels, {k: own[:_EXAMPLES] for k, own in chosen.items()})
    titles = {k: f"cluster {k}" for k in chosen}
    return Result(table, picture(context, sheet(images, titles), "training_candidates", context.init))


def classes_of(evaluation_subset: pa.Table, galaxies: pa.Table) -> list[str | None]:
    """Evaluation class of each of the galaxies, None where it has none."""
    at = places_among(evaluation_subset["galaxy_id"], galaxies["galaxy_id"])
    return np.array([*evaluation_subset["evaluation_class"].to_pylist(), None], object)[at].tolist()
