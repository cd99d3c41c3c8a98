"""What the clusters contain: members shown, classes, votes and descriptions (paper 6.2, 6.3, 8.3).

Belongs here: statistics of members and labels per cluster. Does not belong here: finding the clusters (`mixture`) or
drawing them (`figures`).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import pyarrow as pa

from galaxy_assets.science import votes

QUANTILES = tuple(np.round(np.linspace(0, 1, 21), 2).tolist())


def examples(cluster: np.ndarray, ids: np.ndarray, n: int, seed: int) -> dict[int, np.ndarray]:
    """Up to n random members of each cluster, as rows (paper Figs 4-6 show such a sample).

    Random and not the most probable ones: those would show a cluster as purer than it is. Rows are drawn in the order
    of their ids, so that the sample does not depend on the order of delivery.
    """
    by_id = np.argsort(ids, kind="stable")
    generator = np.random.default_rng(seed)
    chosen = {}
    for k in np.unique(cluster):
        members = by_id[cluster[by_id] == k]
        chosen[int(k)] = generator.permutation(members)[:n]
    return chosen


@dataclass(frozen=True)
class Summary:
    """One cluster: members, share of suspected artefacts, majority class of its labelled members and that class's
    share among them (nan without labelled members)."""

    cluster: int
    n: int
    n_labelled: int
    majority_class: str | None
    purity: float
    suspect_fraction: float
    artefact: bool
    description: str


def summarise(
    cluster: np.ndarray, labels: Sequence[str | None], suspect: np.ndarray, components: int, artefact_fraction: float
) -> list[Summary]:
    """Describe each of `components` clusters, empty ones too.

    Parameters
    ----------
    cluster : (N,) int.
    labels : N evaluation classes, None where a galaxy has none.
    suspect : (N,) bool, evidence of an artefact (no label enters it).
    artefact_fraction : share of suspects from which a cluster is called artefacts.
    """
    names = np.array([label or "" for label in labels])
    rows = []
    for k in range(components):
        members = cluster == k
        n = int(members.sum())
        labelled, counts = np.unique(names[members & (names != "")], return_counts=True)
        purity = float(counts.max() / counts.sum()) if len(counts) else float("nan")
        majority = str(labelled[counts.argmax()]) if len(counts) else None
        share = float(suspect[members].mean()) if n else 0.0
        artefact = bool(n and share > artefact_fraction)
        rows.append(Summary(k, n, int(counts.sum()), majority, purity, share, artefact, ""))
    return [Summary(**{**row.__dict__, "description": describe(row, names[cluster == row.cluster])}) for row in rows]


def describe(summary: Summary, names: np.ndarray) -> str:
    """A cluster in words (paper Table 2), from the shares of its labelled members by a stated rule.

    "Almost entirely" from 90 %, "Predominantly" from 75 %, "Mostly" above 50 %, else "A mix of" all classes of at
    least 15 %; a further class of at least 15 % is named after a majority.
    """
    if summary.n == 0:
        return "Empty"
    if summary.artefact:
        return f"Artefacts ({summary.suspect_fraction:.0%} suspect)"
    if summary.majority_class is None:
        return "No labelled members"
    labelled, counts = np.unique(names[names != ""], return_counts=True)
    shares = sorted(zip((counts / counts.sum()).tolist(), labelled.tolist(), strict=True), reverse=True)
    words = [(share, name.replace("_", " ")) for share, name in shares if share >= 0.15]
    top, name = words[0]
    if top <= 0.5:
        return "A mix of " + ", ".join(name for _, name in words)
    degree = "Almost entirely" if top >= 0.9 else "Predominantly" if top >= 0.75 else "Mostly"
    others = " and some " + ", ".join(name for _, name in words[1:]) if len(words) > 1 else ""
    return f"{degree} {name}{others}"


def majority_accuracy(cluster: np.ndarray, labels: Sequence[str | None]) -> float:
    """Share of labelled galaxies whose cluster's majority class is theirs (paper 6.3, 8.3); nan without labels."""
    names = np.array([label or "" for label in labels])
    right = total = 0
    for k in np.unique(cluster):
        _, counts = np.unique(names[(cluster == k) & (names != "")], return_counts=True)
        right += int(counts.max(initial=0))
        total += int(counts.sum())
    return right / total if total else float("nan")


class Distribution(NamedTuple):
    """Fractions of one answer among the galaxies of one cluster (`all` for the whole sample)."""

    cluster: str
    question: str
    answer: str
    fractions: np.ndarray


# panels of Figure 7: question, answer (the last one's name depends on the campaign)
FIGURE_7 = (
    ("smooth-or-featured", ("featured-or-disk",)),
    ("how-rounded", ("cigar-shaped",)),
    ("disk-edge-on", ("yes",)),
    ("bulge-size", ("dominant",)),
    ("merging", ("neither", "none")),
)


def vote_distributions(
    voted: pa.Table, cluster_of: dict[str, int], campaign: str, minimum_votes: int = 10, parent_fraction: float = 0.5
) -> list[Distribution]:
    """Vote fractions of every answer per cluster and for all clustered galaxies together (paper 6.2).

    Parameters
    ----------
    voted : volunteer table in normal form.
    cluster_of : cluster by galaxy id; other galaxies are left out.
    minimum_votes : for the question, 10 in the paper.
    parent_fraction : a question counts only for galaxies of which more than this voted `smooth` (how-rounded) or
        `featured-or-disk` (all questions below it, and merging), one half in the paper. The root has no such condition.
    """
    clusters = [cluster_of.get(galaxy) for galaxy in voted["galaxy_id"].to_pylist()]
    names = np.array(["" if k is None else str(k) for k in clusters])
    root = votes.TREES[campaign][0].name
    found = []
    for question in votes.TREES[campaign]:
        counted = names != ""
        if question.parents:
            parent = "smooth" if question.name == "how-rounded" else "featured-or-disk"
            with np.errstate(invalid="ignore"):
                share = votes.fraction(voted, root, parent, 1)
                # the paper: "greater than 0.5" for the other questions, "at least 50%" for merging
                counted = counted & (
                    share >= parent_fraction if question.name == "merging" else share > parent_fraction
                )
        for answer in question.answers:
            fractions = votes.fraction(voted, question.name, answer, minimum_votes)
            usable = counted & np.isfinite(fractions)
            for k in ("all", *sorted(set(names[usable]), key=int)):
                members = usable if k == "all" else usable & (names == k)
                if members.any():
                    found.append(Distribution(k, question.name, answer, fractions[members]))
    return found


def label_shares(labels: dict[str, str], cluster_of: dict[str, int]) -> list[Distribution]:
    """What `vote_distributions` gives, for a survey whose galaxies carry one label each: 1 where a galaxy has the label
    and 0 where it has another, so that the mean is the label's share."""
    both = [(k, labels[galaxy]) for galaxy, k in cluster_of.items() if galaxy in labels]
    cluster, label = (np.array([pair[i] for pair in both], dtype=object) for i in (0, 1))
    found = []
    for name in sorted(set(label)):
        for k in ("all", *sorted(set(cluster))):
            members = np.ones(len(both), bool) if k == "all" else cluster == k
            found.append(Distribution(str(k), "label", name, (label[members] == name).astype(float)))
    return found


def figure_7(distributions: Sequence[Distribution]) -> pa.Table:
    """The distributions behind the panels of Figure 7 as long rows: cluster, panel, fraction."""
    panels = {(q, a): f"{q}: {a}" for q, answers in FIGURE_7 for a in answers}
    shown = [d for d in distributions if (d.question, d.answer) in panels]
    return pa.table(
        {
            "cluster": pa.array([d.cluster for d in shown for _ in d.fractions], pa.string()),
            "panel": pa.array([panels[d.question, d.answer] for d in shown for _ in d.fractions], pa.string()),
            "fraction": np.concatenate([np.empty(0), *(d.fractions for d in shown)]),
        }
    )
