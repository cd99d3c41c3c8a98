"""What the clusters contain: members shown, classes, votes and labels (paper 6.2, 6.3, 8.3).

Belongs here: statistics of members, votes and labels per cluster. Does not belong here: finding the clusters
(`mixture`), the words that describe them (`descriptions`), what a person wrote about them (`worksheet`), or drawing
them (`figures`).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import pyarrow as pa

from galaxy_assets.science import votes
from galaxy_assets.science.active_learning import best_first
from galaxy_assets.science.descriptions import ARTEFACTS, Decision, Spreads, describe
from galaxy_assets.science.galaxy_ids import Ids, as_arrow, places_among
from galaxy_assets.science.galaxy_zoo import TREES, Question
from galaxy_assets.science.worksheet import Override
from galaxy_assets.settings.structure import Labelling, VoteRules

VOTE_RULES, LABELLING = VoteRules(), Labelling()


def examples(cluster: np.ndarray, ids: Ids | Sequence[str], n: int, seed: int) -> dict[int, np.ndarray]:
    """Random members of each cluster (paper Figs 4-6 show such a sample).

    They are not the most probable members, which would show a cluster as purer than it is. Rows are drawn in the order
    of their ids, so that the sample does not depend on the order of delivery.

    Parameters
    ----------
    cluster : ndarray of shape (N,), int
    ids : Ids or sequence of str, length N
    n : int
        Members of each, fewer where the cluster is smaller.
    seed : int

    Returns
    -------
    dict of int to ndarray of int
        Rows by cluster.
    """
    import pyarrow.compute as pc

    by_id = pc.sort_indices(as_arrow(ids)).to_numpy()
    generator = np.random.default_rng(seed)
    chosen = {}
    for k in np.unique(cluster):
        members = by_id[cluster[by_id] == k]
        chosen[int(k)] = generator.permutation(members)[:n]
    return chosen


@dataclass(frozen=True)
class Summary:
    """One cluster of `cluster_summary`.

    Attributes
    ----------
    cluster : int
    n, n_labelled : int
        Members, and those with a class.
    majority_class, purity : str, float; or None
        Commonest class among the labelled members and its share; None without any.
    suspect_fraction : float
        Share of the members that are suspected artefacts.
    artefact : bool
    label : str or None
        The class that the cluster stands for, see `summarise`; None for a mixture of classes and for artefacts.
    description : str
    evidence : str
        What the description rests on, in words and numbers.
    described_by : str
        `rule`, or `person` where the worksheet says something of the cluster.
    """

    cluster: int
    n: int
    n_labelled: int
    majority_class: str | None
    purity: float | None
    suspect_fraction: float
    artefact: bool
    label: str | None
    description: str
    evidence: str
    described_by: str


def summarise(
    cluster: np.ndarray,
    labels: Sequence[str | None],
    suspect: np.ndarray,
    components: int,
    labelling: Labelling = LABELLING,
    votes: Mapping[str, Spreads] | None = None,
    overrides: Mapping[int, Override] | None = None,
) -> list[Summary]:
    """Describe each cluster, empty ones too.

    A cluster's label is the person's, else the majority class if it is more than `labelling.majority_share` of the
    labelled members (paper 8.3); artefacts have none, as in 6.3.

    Parameters
    ----------
    cluster : ndarray of shape (N,), int
    labels : sequence of str or None, length N
        Evaluation classes, None where a galaxy has none.
    suspect : ndarray of shape (N,), bool
        Evidence of an artefact (no label enters it).
    components : int
        Number of clusters.
    labelling : Labelling, optional
    votes : mapping of str to Spreads, optional
        Vote fractions by cluster, from `descriptions.spreads`; none without volunteers.
    overrides : mapping of int to Override, optional
        What a person wrote about a cluster; what was left empty there is the rule's.

    Returns
    -------
    list of Summary
        By number.

    Examples
    --------
    >>> import numpy as np
    >>> from galaxy_assets.science.clusters import summarise
    >>> cluster, labels = np.array([0, 0, 0, 1]), ["spiral", "spiral", "smooth", None]
    >>> rows = summarise(cluster, labels, suspect=np.zeros(4, bool), components=2)
    >>> [(row.cluster, row.n, row.majority_class) for row in rows]
    [(0, 3, 'spiral'), (1, 1, None)]
    """
    names = np.array([label or "" for label in labels], dtype=object)
    rows = []
    for k in range(components):
        members = cluster == k
        n = int(members.sum())
        own = names[members & (names != "")].astype(str)
        labelled, counts = np.unique(own, return_counts=True)
        majority = str(labelled[counts.argmax()]) if len(own) else None
        purity = float(counts.max() / len(own)) if len(own) else None
        share = float(suspect[members].mean()) if n else 0.0
        person = (overrides or {}).get(k, Override())
        limit = 1.0 if person.artefact is False else labelling.artefact_fraction
        says, reason = Decision("Empty", "no members")
        if n:
            says, reason = describe((votes or {}).get(str(k)), own, share, limit)
        if person != Override():
            reason = f"the rule says: {says}; {reason}"
        artefact = says == ARTEFACTS if person.artefact is None else person.artefact
        label = None if artefact else person.label or (majority if (purity or 0) > labelling.majority_share else None)
        description = person.description or (ARTEFACTS if artefact else says)
        by = "rule" if person == Override() else "person"
        rows.append(Summary(k, n, len(own), majority, purity, share, artefact, label, description, reason, by))
    return rows


def label_accuracy(cluster: np.ndarray, labels: Sequence[str | None], given: Sequence[str | None]) -> float:
    """Share of labelled galaxies whose cluster carries their class (paper 6.3, 8.3).

    A galaxy in a cluster without a label counts as wrong.

    Parameters
    ----------
    cluster : ndarray of shape (N,), int
    labels : sequence of str or None, length N
        Evaluation classes.
    given : sequence of str or None, length K
        Label of each cluster.

    Returns
    -------
    float
        NaN without labelled galaxies.

    Examples
    --------
    >>> import numpy as np
    >>> from galaxy_assets.science.clusters import label_accuracy
    >>> label_accuracy(np.array([0, 0, 1]), ["spiral", "smooth", None], ["spiral", None])
    0.5
    """
    right = [given[k] == label for k, label in zip(cluster.tolist(), labels, strict=True) if label is not None]
    return float(np.mean(right)) if right else float("nan")


MEMBERSHIP = pa.schema(
    [
        ("evaluation_class", pa.string()),
        ("cluster", pa.int32()),
        ("n", pa.int32()),
        ("share", pa.float64()),
        ("labelled_as", pa.string()),
    ]
)


def membership(cluster: np.ndarray, labels: Sequence[str | None], given: Sequence[str | None]) -> pa.Table:
    """In which clusters the galaxies of each class are (paper 6.3).

    Parameters
    ----------
    cluster, labels, given
        As in `label_accuracy`.

    Returns
    -------
    pyarrow.Table
        MEMBERSHIP: a row per class and cluster that share galaxies, by class, then falling `n`; `share` is that of the
        class, `labelled_as` the cluster's label, null if it has none.
    """
    names = np.array([label or "" for label in labels], dtype=object)
    rows = []
    for name in sorted(set(names) - {""}):
        numbers, counts = np.unique(cluster[names == name], return_counts=True)
        for i in np.argsort(-counts, kind="stable").tolist():
            k, n = int(numbers[i]), int(counts[i])
            rows.append((name, k, n, n / counts.sum(), given[k]))
    return pa.Table.from_pylist([dict(zip(MEMBERSHIP.names, row, strict=True)) for row in rows], schema=MEMBERSHIP)


def most_certain(
    cluster: np.ndarray, probability: np.ndarray, ids: Ids | Sequence[str], n: int
) -> dict[int, np.ndarray]:
    """Rows of each cluster by falling membership probability, ties by id.

    Paper 9 asks which sources a training set could take without asking a person.

    Parameters
    ----------
    cluster : ndarray of shape (N,), int
    probability : ndarray of shape (N,), float
        Of membership in that cluster.
    ids : Ids or sequence of str, length N
    n : int
        Members of each, fewer where the cluster is smaller.

    Returns
    -------
    dict of int to ndarray of int
        Rows by cluster.
    """
    found, names = {}, as_arrow(ids)
    for k in np.unique(cluster):
        members = np.flatnonzero(cluster == k)
        found[int(k)] = members[best_first(probability[members], Ids(names.take(pa.array(members))), n)]
    return found


class Distribution(NamedTuple):
    """Fractions of one answer among the galaxies of one cluster.

    Attributes
    ----------
    cluster : str
        Its number, or `all` for the whole sample.
    question, answer : str
    fractions : ndarray of shape (M,), float64
        0 to 1.
    """

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


def conditions(question: Question, campaign: str, rules: VoteRules) -> list[tuple[str, str]]:
    """Answers whose fraction decides whether a galaxy counts for a question.

    Section 6.2 asks for one, the first question's answer on the way: smooth for the roundness, featured for all else.

    Parameters
    ----------
    question : Question
    campaign : str
    rules : VoteRules
        `parents` is used.

    Returns
    -------
    list of (str, str)
        (question, answer), nearest first.
    """
    tree = {q.name: q for q in TREES[campaign]}
    path, parents = [], question.parents
    while parents:
        path.append(parents[-1])
        parents = tree[parents[-1][0]].parents
    return path[-1:] if rules.parents == "root" else path


def vote_distributions(
    voted: pa.Table, cluster_labels: pa.Table, campaign: str, rules: VoteRules = VOTE_RULES
) -> list[Distribution]:
    """Vote fractions of every answer per cluster and for all clustered galaxies together (paper 6.2).

    Parameters
    ----------
    voted : pyarrow.Table
        Volunteer table in normal form.
    cluster_labels : pyarrow.Table
        `galaxy_id`, each once, and `cluster`; other galaxies are left out.
    campaign : str
    rules : VoteRules, optional
        Votes a question needs, and what fraction the answers before it (`conditions`) must exceed or, for
        `rules.inclusive`, reach. The first question has no such condition.

    Returns
    -------
    list of Distribution
    """
    at = places_among(cluster_labels["galaxy_id"], voted["galaxy_id"])
    cluster = np.append(cluster_labels["cluster"].to_numpy(), -1)[at]  # -1, the last, of those in none
    found = []
    for question in TREES[campaign]:
        counted = at >= 0
        reaches = np.greater_equal if question.name in rules.inclusive else np.greater
        for parent, answer in conditions(question, campaign, rules):
            # false where nobody was asked (NaN)
            counted = counted & reaches(votes.fraction(voted, parent, answer, 1), rules.parent_fraction)
        for answer in question.answers:
            fractions = votes.fraction(voted, question.name, answer, rules.minimum_votes)
            usable = counted & np.isfinite(fractions)
            for k in ("all", *np.unique(cluster[usable])):
                members = usable if k == "all" else usable & (cluster == k)
                if members.any():
                    found.append(Distribution(str(k), question.name, answer, fractions[members]))
    return found


def label_shares(labelled: pa.Table, cluster_labels: pa.Table) -> list[Distribution]:
    """What `vote_distributions` gives, for a survey whose galaxies carry one label each.

    Parameters
    ----------
    labelled : pyarrow.Table
        `galaxy_id`, each once, and `label`.
    cluster_labels : pyarrow.Table
        `galaxy_id` and `cluster`.

    Returns
    -------
    list of Distribution
        A fraction is 1 where a galaxy has the label and 0 where it has another, so that the mean is the label's share.
    """
    at = places_among(labelled["galaxy_id"], cluster_labels["galaxy_id"])
    cluster = cluster_labels["cluster"].to_numpy()[at >= 0]
    label = labelled["label"].cast(pa.string()).take(pa.array(at[at >= 0])).combine_chunks().dictionary_encode()
    codes, names = label.indices.to_numpy(), label.dictionary.to_pylist()
    found = []
    for code in sorted(range(len(names)), key=names.__getitem__):
        for k in ("all", *np.unique(cluster)):
            members = np.ones(len(cluster), bool) if k == "all" else cluster == k
            found.append(Distribution(str(k), "label", names[code], (codes[members] == code).astype(float)))
    return found


def figure_7(distributions: Sequence[Distribution]) -> pa.Table:
    """The distributions behind the panels of Figure 7 as long rows.

    Parameters
    ----------
    distributions : sequence of Distribution

    Returns
    -------
    pyarrow.Table
        cluster, panel, fraction.
    """
    panels = {(q, a): f"{q}: {a}" for q, answers in FIGURE_7 for a in answers}
    shown = [d for d in distributions if (d.question, d.answer) in panels]
    return pa.table(
        {
            "cluster": pa.chunked_array([pa.repeat(d.cluster, len(d.fractions)) for d in shown], pa.string()),
            "panel": pa.chunked_array(
                [pa.repeat(panels[d.question, d.answer], len(d.fractions)) for d in shown], pa.string()
            ),
            "fraction": np.concatenate([np.empty(0), *(d.fractions for d in shown)]),
        }
    )
