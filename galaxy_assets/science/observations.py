"""Every number that a survey's tables hold: those the paper has too, and those that only the survey has.

Belongs here: reading the numbers off finished tables. Does not belong here: settings (`checked_settings`), the paper's
numbers (`checklist`), verdicts (`results`).
"""

import itertools
import re
from collections.abc import Iterator, Mapping
from typing import NamedTuple

import numpy as np
import pyarrow as pa

from galaxy_assets.science.checklist import checklist
from galaxy_assets.science.galaxy_ids import places
from galaxy_assets.science.search_spread import words
from galaxy_assets.science.votes import VotesError, anomaly_probability
from galaxy_assets.settings.survey import Survey

START_WEIGHTS = ("rgz", "imagenet", "gz_decals", "random")
"""The paper's, from the best (8.2, Figure 14)."""
_CLASSES = {"round_elliptical": "2", "spiral": "3", "edge_on": "4"}  # the paper's own: E2-E4, and C5-C7 three further


class Observed(NamedTuple):
    """One measured number.

    Attributes
    ----------
    check_id : str
        Its name; a number per start weight carries the name of the start behind a colon.
    value : float
    description : str
        For numbers that the checklist does not have.
    note : str
        Added to the reason of the verdict.
    lacks : str
        Why it cannot be judged yet: part of what it is made of is missing, and the rest is as the paper has it.
    """

    check_id: str
    value: float
    description: str = ""
    note: str = ""
    lacks: str = ""


def observe(survey: Survey, tables: Mapping[str, pa.Table]) -> Iterator[Observed]:
    """Read every number off a survey's tables.

    Parameters
    ----------
    survey : Survey
    tables : mapping of str to pyarrow.Table
        By asset name. A table that is absent or has no row holds no number: that is no number of zero.

    Yields
    ------
    Observed
    """
    there = {name: table for name, table in tables.items() if table.num_rows}
    yield from _images(survey, there)
    if "byol_checkpoints" in there:
        yield from _training(survey, there["byol_checkpoints"])
    if "pca_model" in there:
        yield from _components(survey, there["pca_model"])
    if "epoch_accuracy" in there:
        yield from _accuracies(survey, there["epoch_accuracy"], there.get("cluster_summary"))
    if "cluster_summary" in there:
        yield from _clusters(survey, there)
    if "class_membership" in there:
        yield from _memberships(there["class_membership"])
    yield from _anomalies(survey, there)


def _images(survey: Survey, tables: Mapping[str, pa.Table]) -> Iterator[Observed]:
    import pyarrow.compute as pc

    catalogue, clean, votes, subset = map(
        tables.get, ("catalogue", "clean_galaxies", "volunteer_votes", "evaluation_subset")
    )
    voted = None if votes is None else votes["galaxy_id"].combine_chunks()
    if catalogue is not None:
        labels = catalogue.num_rows - catalogue["label"].null_count
        yield Observed("D1", catalogue.num_rows)
        yield Observed("D2:labels", labels, "images with a catalogue label")
        if voted is not None:
            yield Observed("D2", _count(pc.is_in(catalogue["galaxy_id"], voted)))
    if clean is not None:
        kept = clean.filter(clean["kept"])["galaxy_id"]
        yield Observed("D3", len(kept))
        if catalogue is not None:
            yield Observed("D3:share", 1 - len(kept) / catalogue.num_rows)
        if voted is not None:
            yield Observed("D2:clean", _count(pc.is_in(kept, voted)))
    if "cutouts" in tables:
        outcomes = tables["cutouts"]["outcome"]
        fallback = _count(pc.starts_with(outcomes, "fallback")) / len(outcomes)
        yield Observed("P2:fallback", fallback, "share of cutouts that fell back to the original")
    if subset is not None:
        yield Observed("M1:confident", subset.num_rows)
        for c in survey.evaluation.classes:
            n = _count(pc.equal(subset["evaluation_class"], c.name))
            yield Observed(_class_id("E", c.name), n, f"evaluation class {c.name}: galaxies")


def _training(survey: Survey, table: pa.Table) -> Iterator[Observed]:
    frame = table.to_pandas()
    absent = [start for start in START_WEIGHTS if start not in set(frame["init"])]
    without = f"without {', '.join(absent)}" if absent else ""
    yield Observed("M3:starts", len(START_WEIGHTS) - len(absent), note=without)
    main = frame[frame["init"] == survey.main_start_weights]
    if main["images_per_second"].notna().any():
        yield Observed("B4", main["images_per_second"].median())
        yield Observed("M2:minutes", main["seconds"].sum() / 60)
    for init, epoch, reason in frame.loc[frame["chosen"], ["init", "epoch", "reason"]].itertuples(index=False):
        yield Observed(f"B5:{init}:epoch", epoch, f"{init}: epoch used", reason)


def _components(survey: Survey, model: pa.Table) -> Iterator[Observed]:
    import pyarrow.compute as pc

    # starts may have networks of different widths
    of_main = model.filter(pc.equal(model["init"], survey.main_start_weights))
    yield Observed("P3:features", len((of_main if of_main.num_rows else model)["vector"][0]))
    for init in pc.unique(model["init"]).to_pylist():
        n = _count(pc.equal(model["init"], init)) - 1
        yield Observed(f"B5:{init}", n, f"{init}: components for {survey.variance:.0%} of the variance")


def _accuracies(survey: Survey, table: pa.Table, summary: pa.Table | None) -> Iterator[Observed]:
    frame = table.to_pandas()
    means = frame.groupby(["init", "features", "epoch"])["accuracy"].mean()
    curves = {init: means[init]["byol"] for init in frame["init"].unique()}
    columns = [] if summary is None else [summary[name].to_pylist() for name in ("init", "accuracy_overall")]
    clustered = dict(zip(*columns, strict=True))
    at_choice = {}
    for init, curve in curves.items():
        epoch = int(frame.loc[frame["chosen"] & (frame["init"] == init), "epoch"].iloc[0])
        at_choice[init] = curve[epoch]
        used = f"epoch {epoch}" if epoch <= survey.recipe.epochs else "of features side by side"
        yield Observed(f"E7:{init}", curve[epoch], f"{init}: k-NN accuracy at the chosen epoch", used)
        yield Observed(f"E7:{init}:start", curve[0], f"{init}: k-NN accuracy at epoch 0")
        if init in clustered:
            yield Observed(f"M6:{init}", clustered[init] - curve[epoch])
    for kind in ("pixels", "untrained", "pretrained"):
        rows = frame[frame["features"] == kind]
        if len(rows):
            yield Observed(f"E7:{kind}", rows["accuracy"].mean(), f"k-NN accuracy of the baseline: {kind}")
    if {"random", "imagenet"} <= curves.keys():
        yield Observed("E6", curves["imagenet"][0] - curves["random"][0])
        peaks = {init: curve[curve.index <= survey.recipe.epochs].max() for init, curve in curves.items()}
        yield Observed("E6:peak", float(peaks["imagenet"] > peaks["random"]))
    ranked = " > ".join(
        f"{init} ({at_choice[init]:.3f})" for init in sorted(at_choice, key=lambda i: (-at_choice[i], i))
    )
    in_order, pairs = order_agreement(at_choice)
    if pairs:
        unknown = in_order == pairs < 6
        lacks = f"{6 - pairs} of the six pairs are missing; train the other start weights" if unknown else ""
        note = f"{in_order} of the {pairs} pairs that there are, of six; here: {ranked}"
        yield Observed("M3:order", in_order, note=note, lacks=lacks)


def order_agreement(accuracy: Mapping[str, float]) -> tuple[int, int]:
    """How many pairs of the paper's start weights are in its order (paper 8.2, Figure 14).

    Parameters
    ----------
    accuracy : mapping of str to float
        By start weights; others than the paper's are left out. Equal accuracies are no order.

    Returns
    -------
    in_order : int
    pairs : int
        That there are: six with all four start weights.

    Examples
    --------
    >>> from galaxy_assets.science.observations import order_agreement
    >>> order_agreement({"random": 0.6, "imagenet": 0.9, "rgz": 0.8})
    (2, 3)
    """
    known = [accuracy[start] for start in START_WEIGHTS if start in accuracy]
    pairs = list(itertools.combinations(known, 2))
    return sum(better > worse for better, worse in pairs), len(pairs)


def _clusters(survey: Survey, tables: Mapping[str, pa.Table]) -> Iterator[Observed]:
    summary, members, votes = tables["cluster_summary"].to_pandas(), tables.get("cluster_labels"), None
    if members is not None:
        members = members.select(["init", "galaxy_id", "cluster"]).to_pandas()
        if votes := tables.get("volunteer_votes"):  # as the paper counts, where it can
            members = members[members["galaxy_id"].isin(votes["galaxy_id"].to_pandas())]
    for init, rows in summary.groupby("init", sort=False):
        artefacts = rows.loc[rows["artefact"], "cluster"]
        yield Observed(f"C2:{init}", (rows["n"] > 0).sum(), f"{init}: clusters with members")
        yield Observed(f"C3:{init}", len(artefacts), f"{init}: clusters of artefacts")
        if members is not None:
            in_artefacts = (members["init"] == init) & members["cluster"].isin(artefacts)
            text = f"{init}: galaxies in clusters of artefacts{' (those with votes)' if votes else ''}"
            yield Observed(f"C3:{init}:galaxies", in_artefacts.sum(), text)
        yield Observed(f"C8:{init}", rows["accuracy_overall"].iloc[0], f"{init}: accuracy of the clusters' labels")
        if init == survey.main_start_weights:
            yield _kinds_of_table_2(rows.loc[rows["n"] > 0, "description"].tolist())


_KINDS = {  # what the first such word of a description says, in the words of Table 2 and of science/descriptions.py
    "artefacts": r"artefact",
    "mixed": r"mix",
    "other": r"disks? without",
    "elongated": r"edge[- _]on|cigar",
    "spirals": r"spiral",
    "ellipticals": r"elliptical",
}
_KIND = re.compile("|".join(f"(?P<{kind}>{words})" for kind, words in _KINDS.items()), re.IGNORECASE)


def _kinds_of_table_2(descriptions: list[str]) -> Observed:
    """Clusters of the kinds of Table 2, each kind as often as there."""
    (paper,) = (check.parts for check in checklist() if check.id == "T2")
    kinds = [str(found.lastgroup) for text in descriptions if (found := _KIND.search(text))]
    here = ", ".join(f"{kinds.count(kind)} {kind}" for kind in paper)
    return Observed("T2", sum(min(kinds.count(kind), n) for kind, n in paper.items()), note=f"here: {here}")


def _memberships(table: pa.Table) -> Iterator[Observed]:
    membership = table.to_pandas()
    right = membership["share"].where(membership["evaluation_class"] == membership["labelled_as"], 0)
    shares = right.groupby([membership["init"], membership["evaluation_class"]]).sum()
    for (init, name), share in shares.to_dict().items():
        yield Observed(f"{_class_id('C', name, 3)}:{init}", share, f"{init}: share of {name} in clusters labelled so")


_RECALL = {
    "random": "a random order (expected)",
    "isolation_forest": "an isolation forest",
    "local_outlier_factor": "the local outlier factor",
    "published": "the search as published",
}


def _anomalies(survey: Survey, tables: Mapping[str, pa.Table]) -> Iterator[Observed]:
    recall, events = tables.get("anomaly_recall"), tables.get("oracle_events")
    if events is not None:
        yield Observed("A5", events.num_rows)
        if len(true := true_anomalies(survey, tables)):
            shown = places(true, events["galaxy_id"]) >= 0
            yield Observed("A6", first_majority(events["round"].to_numpy(), shown))
    if recall is None:
        return
    found = recall["found"].to_numpy()
    unshown = recall["found_unshown"].drop_null().to_numpy()
    what = survey.anomaly.name
    spread = tables.get("search_spread")
    chance = words(spread, what) if spread is not None else ""
    asked = len(found) - len(unshown)
    met = found[-1] - (unshown[-1] if len(unshown) else 0)
    yield Observed("A8:met", met, f"{what} met among the {asked} that were scored", chance)
    for n in (100, 200):
        if n <= len(unshown):
            yield Observed(f"A8:{n}", unshown[n - 1], f"{what} in the first {n} that nobody scored", chance)
    yield Observed("A3", found[-1])
    yield Observed("A3:share", found[-1] / len(found))
    if events is not None:
        yield Observed("A5:share", events.num_rows / len(found))
    for n in (100, 200):
        if n <= len(found):
            yield Observed(f"A7:{n}", found[n - 1], f"{what} in the first {n} of the ranking, scored ones included")
            for column, text in _RECALL.items():
                if column in recall.column_names:
                    text = f"{what} in the first {n} of {text}"
                    yield Observed(f"A7:{n}:{column}", recall[column][n - 1].as_py(), text)


def true_anomalies(survey: Survey, tables: Mapping[str, pa.Table]) -> pa.ChunkedArray:
    """The galaxies that truly are anomalies, by their labels or by the volunteers (paper 7.1).

    Parameters
    ----------
    survey : Survey
    tables : mapping of str to pyarrow.Table
        `catalogue` where the survey searches for labels, else `volunteer_votes`.

    Returns
    -------
    pyarrow.ChunkedArray of str
        Their ids; empty where nobody knows.
    """
    import pyarrow.compute as pc

    anomaly, nobody = survey.anomaly, pa.chunked_array([], pa.string())
    table = tables.get("catalogue" if anomaly.labels else "volunteer_votes")
    if table is None or not (anomaly.labels or anomaly.answers):
        return nobody
    if anomaly.labels:
        true = pc.is_in(table["label"].cast(pa.string()), pa.array(anomaly.labels, pa.string()))
    else:
        try:
            true = pa.array(anomaly_probability(table, anomaly)[1])
        except VotesError:  # the volunteers were not asked what the survey asks by now
            return nobody
    return table.filter(true)["galaxy_id"]


def first_majority(rounds: np.ndarray, true: np.ndarray) -> float:
    """The first query most of whose galaxies are true anomalies (paper 7.1, Figure 10).

    Not those of a score of 2 or more: a vote fraction of .3 rounds to 2, and .4 makes a true anomaly.

    Parameters
    ----------
    rounds : ndarray of shape (N,), int
        Query, from 0, in which each galaxy was shown.
    true : ndarray of shape (N,), bool
        Whether it is a true anomaly.

    Returns
    -------
    float
        Counted from 1, the seeds; inf if there is none.
    """
    return 1.0 + min((r for r in np.unique(rounds) if true[rounds == r].mean() > 0.5), default=np.inf)


def _class_id(letter: str, name: str, further: int = 0) -> str:
    """E2-E4 and C5-C7 for the paper's classes, else the class's name behind the letter."""
    return f"{letter}{int(_CLASSES[name]) + further}" if name in _CLASSES else f"{letter}:{name}"


def _count(matches: pa.ChunkedArray | pa.Array) -> int:
    import pyarrow.compute as pc

    return pc.sum(matches).as_py() or 0
