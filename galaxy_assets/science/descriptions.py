"""Clusters in words: the rules behind the descriptions of `cluster_summary` (paper Table 2).

Belongs here: from votes or classes of a cluster's members to a description and its reason. Does not belong here:
counting them (`clusters`), what a person wrote instead (`worksheet`).
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import pyarrow as pa

QUANTILES = tuple(np.round(np.linspace(0, 1, 21), 2).tolist())


class Spread(NamedTuple):
    """Distribution of one answer's vote fractions in one cluster, as `vote_fractions` stores it.

    Attributes
    ----------
    n : int
        Galaxies.
    mean : float
    quantiles : sequence of float
        At QUANTILES.
    """

    n: int
    mean: float
    quantiles: Sequence[float]

    def majority(self) -> float:
        """Share of the galaxies of which more than half of the volunteers gave the answer.

        It is interpolated between the quantiles.

        Returns
        -------
        float
        """
        above = int(np.searchsorted(self.quantiles, 0.5, side="right"))
        if above in (0, len(self.quantiles)):
            return float(above == 0)
        low, high = self.quantiles[above - 1], self.quantiles[above]
        step = QUANTILES[above] - QUANTILES[above - 1]
        return float(1 - QUANTILES[above - 1] - step * (0.5 - low) / (high - low))


Spreads = Mapping[tuple[str, str], Spread]
"""Vote fractions of one cluster by (question, answer)"""


def spreads(vote_fractions: pa.Table) -> Mapping[str, Spreads]:
    """The vote fractions of each cluster.

    Parameters
    ----------
    vote_fractions : pyarrow.Table
        The table of that name.

    Returns
    -------
    mapping of str to Spreads
        By cluster (`all` too); empty without volunteers, where the one question is `label`.
    """
    found: dict[str, dict[tuple[str, str], Spread]] = {}
    for row in vote_fractions.to_pylist():
        if row["question"] != "label":
            own = found.setdefault(row["cluster"], {})
            own[row["question"], row["answer"]] = Spread(row["n"], row["mean"], row["quantiles"])
    return found


class Decision(NamedTuple):
    """What a rule says, and why.

    Attributes
    ----------
    says : str
        The description.
    reason : str
        The numbers that it rests on.
    """

    says: str
    reason: str


ARTEFACTS = "Artefacts"
_NAMED = 0.15  # share of a cluster from which a kind is named in its description
_ALMOST_ALL, _PREDOMINANT, _MOST = 0.9, 0.75, 0.5
_ROOT = "smooth-or-featured"


def degree(share: float) -> str:
    """Table 2's words for how much of a cluster its commonest kind is.

    Parameters
    ----------
    share : float
        Above 0.5.

    Returns
    -------
    str
        "Almost entirely" from 90 %, "Predominantly" from 75 %, "Mostly" above 50 %.

    Examples
    --------
    >>> from galaxy_assets.science.descriptions import degree
    >>> degree(0.8)
    'Predominantly'
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

    Parameters
    ----------
    votes : Spreads
        Of the cluster.
    suspect_fraction : float
        Share of the members that are suspected artefacts.

    Returns
    -------
    Decision
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
    """A cluster in words from the classes of its labelled members, for surveys without volunteers.

    Above 50 % `degree` and the class, then "and some" of each other class of at least 15 %; else "A mix of" those.

    Parameters
    ----------
    names : ndarray of shape (M,), str
        Class of each labelled member.

    Returns
    -------
    Decision

    Examples
    --------
    >>> import numpy as np
    >>> from galaxy_assets.science.descriptions import describe_classes
    >>> describe_classes(np.array(["spiral"] * 8 + ["smooth"] * 2)).says
    'Predominantly spiral and some smooth'
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
    """A cluster with members in words: artefacts first, else by votes, else by classes.

    Artefacts are clusters of which more than `artefact_fraction` are suspects, or of which volunteers call that share
    artefacts, mean over the members. Others go by `describe_votes` where the members have votes, else by
    `describe_classes`.

    Parameters
    ----------
    votes : Spreads or None
        Of the cluster.
    names : ndarray of shape (M,), str
        Class of each labelled member.
    suspect_fraction : float
        Share of the members that are suspected artefacts.
    artefact_fraction : float
        See above.

    Returns
    -------
    Decision
    """
    if suspect_fraction > artefact_fraction:
        return Decision(ARTEFACTS, f"{suspect_fraction:.0%} suspects")
    if not votes or (_ROOT, "smooth") not in votes:
        return describe_classes(names)
    artefacts = votes[_ROOT, "artifact"]
    if artefacts.mean > artefact_fraction:
        return Decision(ARTEFACTS, f"{_ROOT} artifact mean {artefacts.mean:.2f} of {artefacts.n}")
    return describe_votes(votes, suspect_fraction)
