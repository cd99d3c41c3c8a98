"""What the clusters contain: members shown, classes, votes, descriptions and labels (paper 6.2, 6.3, 8.3).

Belongs here: statistics of members, votes and labels per cluster. Does not belong here: finding the clusters
(`mixture`), what a person wrote about them (`worksheet`), or drawing them (`figures`).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import pyarrow as pa

from galaxy_assets.science import votes
from galaxy_assets.science.worksheet import Override
from galaxy_assets.settings.structure import Labelling, VoteRules

VOTE_RULES, LABELLING = VoteRules(), Labelling()
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
    """One cluster of `cluster_summary`.

    majority_class, purity : commonest class among the labelled members and its share; None without any.
    label : the class that the cluster stands for, see `summarise`; None for a mixture of classes and for artefacts.
    evidence : what the description rests on, in words and numbers.
    described_by : `rule`, or `person` where the worksheet says something of the cluster.
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


class Spread(NamedTuple):
    """Distribution of one answer's vote fractions in one cluster, as `vote_fractions` stores it."""

    n: int
    mean: float
    quantiles: Sequence[float]

    def majority(self) -> float:
        """Share of the galaxies of which more than half of the volunteers gave the answer, between the quantiles."""
        above = int(np.searchsorted(self.quantiles, 0.5, side="right"))
        if above in (0, len(self.quantiles)):
            return float(above == 0)
        low, high = self.quantiles[above - 1], self.quantiles[above]
        step = QUANTILES[above] - QUANTILES[above - 1]
        return float(1 - QUANTILES[above - 1] - step * (0.5 - low) / (high - low))


Spreads = Mapping[tuple[str, str], Spread]
"""Vote fractions of one cluster by (question, answer)"""


def spreads(vote_fractions: pa.Table) -> Mapping[str, Spreads]:
    """The vote fractions of each cluster (`all` too); empty without volunteers, where the one question is `label`."""
    found: dict[str, dict[tuple[str, str], Spread]] = {}
    for row in vote_fractions.to_pylist():
        if row["question"] != "label":
            own = found.setdefault(row["cluster"], {})
            own[row["question"], row["answer"]] = Spread(row["n"], row["mean"], row["quantiles"])
    return found


class Decision(NamedTuple):
    """What a rule says, and why."""

    says: str
    reason: str


ARTEFACTS = "Artefacts"
_NAMED = 0.15  # share of a cluster from which a kind is named in its description
_ALMOST_ALL, _PREDOMINANT, _MOST = 0.9, 0.75, 0.5
_ROOT = "smooth-or-featured"


def degree(share: float) -> str:
    """Table 2's words for how much of a cluster its commonest kind is: "Almost entirely" from 90 %, "Predominantly"
    from 75 %, "Mostly" above 50 %.
    """
    return "Almost entirely" if share >= _ALMOST_ALL else "Predominantly" if share >= _PREDOMINANT else "Mostly"


def describe_votes(votes: Spreads, suspect_fraction: float) -> Decision:
    """A cluster in the words of the paper's Table 2, from the volunteers' votes.

    A galaxy is what more than half of its volunteers say, question by question down the tree: elliptical (smooth, not
    cigar-shaped), cigar-shaped elliptical, edge-on disk, spiral (featured, not edge-on, with arms), disk without arms
    (the same without), artefact; the others are undecided. `vote_fractions` has each question among the galaxies to
    which it applies, so a kind's share of the cluster is the product of the majorities on the way to it.

    - Edge-on disks and cigar-shaped ellipticals that make up half of the cluster together, each at least 15 % of it:
      "Edge-on disks and some cigar-shaped ellipticals", the commoner first.
    - A kind above 50 %: `degree` and the kind, then "and some" of each other kind of at least 15 %. Spirals of which
      most have a dominant bulge are "spirals with prominent bulges".
    - Else: "A large mix of morphologies".
    - ", including some apparent mergers" where the volunteers do not agree on "no merger" for at least 15 % of the
      galaxies asked, "some artefacts" where that many are suspects or the mean vote for an artefact is as high.

    Such a rule cannot see a companion that volunteers were not asked about (the paper's cluster 6); a person can say so
    in the worksheet.
    """
    majority = {key: spread.majority() for key, spread in votes.items()}

    def share(question: str, answer: str) -> float:
        return majority.get((question, answer), 0.0)

    smooth, featured = share(_ROOT, "smooth"), share(_ROOT, "featured-or-disk")
    cigar, edge_on = share("how-rounded", "cigar-shaped"), share("disk-edge-on", "yes")
    arms = share("has-spiral-arms", "yes")
    bulge = " with prominent bulges" if share("bulge-size", "dominant") > _MOST else ""
    kinds = {
        "ellipticals": smooth * (1 - cigar),
        "cigar-shaped ellipticals": smooth * cigar,
        "edge-on disks": featured * edge_on,
        f"spirals{bulge}" if bulge else "spiral galaxies": featured * (1 - edge_on) * arms,
        f"disks without spiral arms{bulge}": featured * (1 - edge_on) * (1 - arms),
        "artefacts": share(_ROOT, "artifact"),
    }
    order = sorted(kinds, key=lambda kind: -kinds[kind])
    named = [kind for kind in order if kinds[kind] >= _NAMED]
    elongated = [kind for kind in named if kind in ("edge-on disks", "cigar-shaped ellipticals")]
    if len(elongated) == 2 and sum(kinds[kind] for kind in elongated) >= _MOST:
        says = f"{elongated[0]} and some {elongated[1]}".capitalize()
    elif kinds[order[0]] > _MOST:
        others = [kind for kind in named[1:] if kind != "artefacts"]
        says = f"{degree(kinds[order[0]])} {order[0]}" + (f" and some {' and '.join(others)}" if others else "")
    else:
        says = "A large mix of morphologies"
    calm = next((k for k in (("merging", "neither"), ("merging", "none")) if k in votes), None)
    artefacts = votes[_ROOT, "artifact"].mean
    also = ["some apparent mergers"] if calm and 1 - majority[calm] >= _NAMED else []
    also += ["some artefacts"] if max(suspect_fraction, artefacts) >= _NAMED else []
    says += f", including {' and '.join(also)}" if also else ""
    shares = ", ".join(f"{kind} {kinds[kind]:.0%}" for kind in order if kinds[kind] >= 0.005)
    shown = [
        (_ROOT, "smooth"),
        (_ROOT, "featured-or-disk"),
        ("how-rounded", "cigar-shaped"),
        ("disk-edge-on", "yes"),
        ("has-spiral-arms", "yes"),
        ("bulge-size", "dominant"),
        *([calm] if calm else []),
    ]
    medians = [
        f"{question} {answer} median {votes[question, answer].quantiles[len(QUANTILES) // 2]:.2f} "
        f"of {votes[question, answer].n}"
        for question, answer in shown
        if (question, answer) in votes
    ]
    reason = f"{shares or 'all undecided'} of {votes[_ROOT, 'smooth'].n} with votes; {'; '.join(medians)}; "
    return Decision(says, f"{reason}artifact mean {artefacts:.2f}; {suspect_fraction:.0%} suspects")


def describe_classes(names: np.ndarray) -> Decision:
    """A cluster in words from the classes of its labelled members, `names` (M,) of str, for surveys without volunteers.

    Above 50 % `degree` and the class, then "and some" of each other class of at least 15 %; else "A mix of" those.
    """
    if not len(names):
        return Decision("No labelled members", "no member has a class")
    labelled, counts = np.unique(names, return_counts=True)
    shares = sorted(zip((counts / counts.sum()).tolist(), labelled.tolist(), strict=True), reverse=True)
    shares = [(share, name.replace("_", " ")) for share, name in shares]
    reason = ", ".join(f"{name} {share:.0%}" for share, name in shares) + f" of {len(names)} with a class"
    named = [name for share, name in shares if share >= _NAMED]
    if shares[0][0] <= _MOST:
        return Decision("A mix of " + ", ".join(named or [name for _, name in shares]), reason)
    others = f" and some {', '.join(named[1:])}" if len(named) > 1 else ""
    return Decision(f"{degree(shares[0][0])} {named[0]}{others}", reason)


def describe(votes: Spreads | None, names: np.ndarray, suspect_fraction: float, artefact_fraction: float) -> Decision:
    """A cluster with members in words: `Artefacts` by the evidence, else by `describe_votes` where its members have
    votes, else by `describe_classes`.

    Artefacts are clusters of which more than `artefact_fraction` are suspects, or of which volunteers call that share
    artefacts, mean over the members.
    """
    if suspect_fraction > artefact_fraction:
        return Decision(ARTEFACTS, f"{suspect_fraction:.0%} suspects")
    if not votes or (_ROOT, "smooth") not in votes:
        return describe_classes(names)
    artefacts = votes[_ROOT, "artifact"]
    if artefacts.mean > artefact_fraction:
        return Decision(ARTEFACTS, f"{_ROOT} artifact mean {artefacts.mean:.2f} of {artefacts.n}")
    return describe_votes(votes, suspect_fraction)


def summarise(
    cluster: np.ndarray,
    labels: Sequence[str | None],
    suspect: np.ndarray,
    components: int,
    labelling: Labelling = LABELLING,
    votes: Mapping[str, Spreads] | None = None,
    overrides: Mapping[int, Override] | None = None,
) -> list[Summary]:
    """Describe each of `components` clusters, empty ones too.

    Parameters
    ----------
    cluster : (N,) int.
    labels : N evaluation classes, None where a galaxy has none.
    suspect : (N,) bool, evidence of an artefact (no label enters it).
    votes : vote fractions by cluster, from `spreads`; none without volunteers.
    overrides : what a person wrote about a cluster; what was left empty there is the rule's.

    A cluster's label is the person's, else the majority class if it is more than `labelling.majority_share` of the
    labelled members (paper 8.3); artefacts have none, as in 6.3.

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
    """Share of labelled galaxies whose cluster carries their class (paper 6.3, 8.3); nan without labelled galaxies.

    `cluster` is (N,) int, `labels` has N classes or None, `given` the label of each cluster or None, by its number. A
    galaxy in a cluster without a label counts as wrong.
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
    """In which clusters the galaxies of each class are (paper 6.3), arguments as in `label_accuracy`.

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


def most_certain(cluster: np.ndarray, probability: np.ndarray, ids: Sequence[str], n: int) -> dict[int, np.ndarray]:
    """Up to n rows of each cluster with members, by falling membership probability, ties by id (paper 9: which sources
    a training set could take without asking).
    """
    order = np.lexsort((np.array(ids, dtype=str), -probability))
    return {int(k): order[cluster[order] == k][:n] for k in np.unique(cluster)}


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


def conditions(question: votes.Question, campaign: str, rules: VoteRules) -> list[tuple[str, str]]:
    """The (question, answer) pairs whose fraction decides whether a galaxy counts for `question`, nearest first.

    Section 6.2 asks for one, the first question's answer on the way: smooth for the roundness, featured for all else.
    """
    tree = {q.name: q for q in votes.TREES[campaign]}
    path, parents = [], question.parents
    while parents:
        path.append(parents[-1])
        parents = tree[parents[-1][0]].parents
    return path[-1:] if rules.parents == "root" else path


def vote_distributions(
    voted: pa.Table, cluster_of: dict[str, int], campaign: str, rules: VoteRules = VOTE_RULES
) -> list[Distribution]:
    """Vote fractions of every answer per cluster and for all clustered galaxies together (paper 6.2).

    Parameters
    ----------
    voted : volunteer table in normal form.
    cluster_of : cluster by galaxy id; other galaxies are left out.
    rules : votes a question needs, and what fraction the answers before it (`conditions`) must exceed or, for
        `rules.inclusive`, reach. The first question has no such condition.
    """
    clusters = [cluster_of.get(galaxy) for galaxy in voted["galaxy_id"].to_pylist()]
    names = np.array(["" if k is None else str(k) for k in clusters])
    found = []
    for question in votes.TREES[campaign]:
        counted = names != ""
        reaches = np.greater_equal if question.name in rules.inclusive else np.greater
        for parent, answer in conditions(question, campaign, rules):
            # false where nobody was asked (NaN)
            counted = counted & reaches(votes.fraction(voted, parent, answer, 1), rules.parent_fraction)
        for answer in question.answers:
            fractions = votes.fraction(voted, question.name, answer, rules.minimum_votes)
            usable = counted & np.isfinite(fractions)
            for k in ("all", *sorted(set(names[usable]), key=int)):
                members = usable if k == "all" else usable & (names == k)
                if members.any():
                    found.append(Distribution(k, question.name, answer, fractions[members]))
    return found


def label_shares(labels: dict[str, str], cluster_of: dict[str, int]) -> list[Distribution]:
    """What `vote_distributions` gives, for a survey whose galaxies carry one label each: 1 where a galaxy has the label
    and 0 where it has another, so that the mean is the label's share.
    """
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
