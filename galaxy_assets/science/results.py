"""Every number of the paper beside the survey's own, with a verdict; and the numbers that only the survey has.

Belongs here: reading the numbers off settings and finished tables, and the verdict. Does not belong here: the paper's
numbers (`science.checklist`).
"""

import itertools
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pyarrow as pa

from galaxy_assets.science.checklist import Check, checklist, checklist_for
from galaxy_assets.settings.base import Settings
from galaxy_assets.settings.discovery import Anomaly
from galaxy_assets.settings.survey import Survey

if TYPE_CHECKING:
    import pandas as pd

SCHEMA = pa.schema(
    [
        ("check_id", pa.string()),
        ("description", pa.string()),
        ("expected", pa.float64()),
        ("observed", pa.float64()),
        ("tolerance", pa.float64()),
        ("verdict", pa.string()),
        ("note", pa.string()),
    ]
)
AGREES, DIFFERS, NOT_OBSERVED = "agrees", "differs", "not observed"
NOT_APPLICABLE = "not applicable to this survey"
VERDICTS = (DIFFERS, NOT_OBSERVED, AGREES, NOT_APPLICABLE)
"""In the order in which a reader wants them."""

_NETWORK = "resnet18"  # the paper's; what another network gives is no test of its numbers
_ORDER = ("rgz", "imagenet", "gz_decals", "random")  # start weights from the best, Figure 14
_TABLE_1 = ("P3:network", "B1:epochs", "B1:learning_rate", "B1:batch_size", "B1:projection", "B3")
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
    """

    check_id: str
    value: float
    description: str = ""
    note: str = ""


def observe(survey: Survey, tables: Mapping[str, pa.Table]) -> Iterator[Observed]:
    """Read every number off the survey's settings and its tables.

    Parameters
    ----------
    survey : Survey
    tables : mapping of str to pyarrow.Table
        By asset name.

    Yields
    ------
    Observed
    """
    for check in checklist():
        if check.setting and (found := _of_setting(check, survey)):
            yield found
    yield _table_1(survey)
    yield from _images(survey, tables)
    yield from _training(survey, tables["byol_checkpoints"])
    yield from _components(survey, tables["pca_model"])
    yield from _accuracies(survey, tables["epoch_accuracy"], tables["cluster_summary"])
    yield from _clusters(survey, tables)
    yield from _anomalies(survey, tables)


def setting(survey: Survey, path: str) -> list[Any]:
    """The distinct values of a setting.

    Parameters
    ----------
    survey : Survey
    path : str
        Dotted, such as `recipe.epochs`.

    Returns
    -------
    list
        Several where the path leads through a list.
    """
    values: list[Any] = [survey]
    for name in path.split("."):
        values = [getattr(value, name) for value in values]
        lists = [isinstance(v, tuple) and all(isinstance(x, Settings) for x in v) for v in values]
        values = [x for v, listed in zip(values, lists, strict=True) for x in (v if listed else [v])]
    return list(dict.fromkeys(value for value in values if value is not None))


def _of_setting(check: Check, survey: Survey) -> Observed | None:
    """A setting as a number: its value, or for a text 1 if it is the paper's and 0 if not; None where it is not set.

    Of several values it is the one that is furthest from the paper's.
    """
    values = setting(survey, check.setting or "")
    if not values:
        return None
    said = f"{check.setting}: {', '.join(map(str, values))}"
    expected = check.expected
    if isinstance(expected, float):
        return Observed(check.id, max(map(float, values), key=lambda v: abs(v - expected)), note=said)
    return Observed(check.id, float(values == [expected]), note=said)


def _table_1(survey: Survey) -> Observed:
    checks = {check.id: check for check in checklist()}
    equal = {i: setting(survey, checks[i].setting or "") == [checks[i].expected] for i in _TABLE_1}
    others = ", ".join(checks[i].setting or "" for i in _TABLE_1 if not equal[i])
    return Observed("T1", 1 + sum(equal.values()), note=f"not the paper's: {others}" if others else "")


def _images(survey: Survey, tables: Mapping[str, pa.Table]) -> Iterator[Observed]:
    import pyarrow.compute as pc

    catalogue, clean, subset = tables["catalogue"], tables["clean_galaxies"], tables["evaluation_subset"]
    delivered = catalogue.num_rows
    kept = clean.filter(clean["kept"])["galaxy_id"]
    voted = tables["volunteer_votes"]["galaxy_id"].combine_chunks()
    yield Observed("D1", delivered)
    yield Observed("D2", _count(pc.is_in(catalogue["galaxy_id"], voted)))
    yield Observed("D2:clean", _count(pc.is_in(kept, voted)))
    labels = catalogue.num_rows - catalogue["label"].null_count
    yield Observed("D2:labels", labels, "images with a catalogue label")
    yield Observed("D3", len(kept))
    yield Observed("D3:share", 1 - len(kept) / max(delivered, 1))
    outcomes = tables["cutouts"]["outcome"]
    fallback = _count(pc.starts_with(outcomes, "fallback")) / max(len(outcomes), 1)
    yield Observed("P2:fallback", fallback, "share of cutouts that fell back to the original")
    yield Observed("M1:confident", subset.num_rows)
    for c in survey.evaluation.classes:
        n = _count(pc.equal(subset["evaluation_class"], c.name))
        yield Observed(_class_id("E", c.name), n, f"evaluation class {c.name}: galaxies")


def _training(survey: Survey, table: pa.Table) -> Iterator[Observed]:
    frame = table.to_pandas()
    starts = [start for start in _ORDER if start in set(frame["init"])]
    absent = ", ".join(start for start in _ORDER if start not in starts)
    yield Observed("M3:starts", len(starts), note=f"without {absent}" if absent else "")
    main = frame[frame["init"] == survey.main_start_weights]
    if main["images_per_second"].notna().any():
        yield Observed("B4", main["images_per_second"].median())
        yield Observed("M2:minutes", main["seconds"].sum() / 60)
    for init, epoch, reason in frame.loc[frame["chosen"], ["init", "epoch", "reason"]].itertuples(index=False):
        yield Observed(f"B5:{init}:epoch", epoch, f"{init}: epoch used", reason)


def _components(survey: Survey, model: pa.Table) -> Iterator[Observed]:
    import pyarrow.compute as pc

    if model.num_rows:
        yield Observed("P3:features", model["vector"].type.list_size)
    for init in pc.unique(model["init"]).to_pylist():
        n = _count(pc.equal(model["init"], init)) - 1
        yield Observed(f"B5:{init}", n, f"{init}: components for {survey.variance:.0%} of the variance")


def _accuracies(survey: Survey, table: pa.Table, summary: pa.Table) -> Iterator[Observed]:
    frame = table.to_pandas()
    if frame.empty:
        return
    means = frame.groupby(["init", "features", "epoch"])["accuracy"].mean()
    curves = {init: means[init]["byol"] for init in frame["init"].unique()}
    clustered = dict(zip(summary["init"].to_pylist(), summary["accuracy_overall"].to_pylist(), strict=True))
    at_choice = {}
    for init, curve in curves.items():
        epoch = int(frame.loc[frame["chosen"] & (frame["init"] == init), "epoch"].iloc[0])
        at_choice[init] = curve[epoch]
        yield Observed(f"E7:{init}", curve[epoch], f"{init}: k-NN accuracy at the chosen epoch", f"epoch {epoch}")
        yield Observed(f"E7:{init}:start", curve[0], f"{init}: k-NN accuracy at epoch 0")
        if init in clustered:
            yield Observed(f"M6:{init}", clustered[init] - curve[epoch])
    for kind in ("pixels", "untrained", "pretrained"):
        rows = frame[frame["features"] == kind]
        if len(rows):
            yield Observed(f"E7:{kind}", rows["accuracy"].mean(), f"k-NN accuracy of the baseline: {kind}")
    if {"random", "imagenet"} <= curves.keys():
        yield Observed("E6", curves["imagenet"][0] - curves["random"][0])
        yield Observed("E6:peak", float(curves["imagenet"].max() > curves["random"].max()))
    ranked = " > ".join(
        f"{init} ({at_choice[init]:.3f})" for init in sorted(at_choice, key=lambda i: (-at_choice[i], i))
    )
    yield Observed("M3:order", order_agreement(at_choice), note=f"here: {ranked}")


def order_agreement(accuracy: Mapping[str, float]) -> float:
    """Share of the pairs of the paper's start weights that are in its order (paper 8.2, Figure 14).

    Parameters
    ----------
    accuracy : mapping of str to float
        By start weights; others than the paper's are left out. Equal accuracies are no order.

    Returns
    -------
    float
        NaN with fewer than two of the paper's start weights.

    Examples
    --------
    >>> from galaxy_assets.science.results import order_agreement
    >>> order_agreement({"random": 0.6, "imagenet": 0.9})
    1.0
    """
    known = [accuracy[start] for start in _ORDER if start in accuracy]
    pairs = list(itertools.combinations(known, 2))
    return float(np.mean([better > worse for better, worse in pairs])) if pairs else float("nan")


def _clusters(survey: Survey, tables: Mapping[str, pa.Table]) -> Iterator[Observed]:
    summary = tables["cluster_summary"].to_pandas()
    members = tables["cluster_labels"].select(["init", "galaxy_id", "cluster"]).to_pandas()
    voted = tables["volunteer_votes"]["galaxy_id"].to_pandas()
    judged = members[members["galaxy_id"].isin(voted)] if len(voted) else members  # as the paper counts, where it can
    for init, rows in summary.groupby("init", sort=False):
        artefacts = rows.loc[rows["artefact"], "cluster"]
        in_artefacts = (judged["init"] == init) & judged["cluster"].isin(artefacts)
        yield Observed(f"C2:{init}", (rows["n"] > 0).sum(), f"{init}: clusters with members")
        yield Observed(f"C3:{init}", len(artefacts), f"{init}: clusters of artefacts")
        text = f"{init}: galaxies in clusters of artefacts{' (those with votes)' if len(voted) else ''}"
        yield Observed(f"C3:{init}:galaxies", in_artefacts.sum(), text)
        yield Observed(f"C8:{init}", rows["accuracy_overall"].iloc[0], f"{init}: accuracy of the clusters' labels")
        if init == survey.main_start_weights:
            yield Observed("T2", ((rows["n"] > 0) & (rows["description"] != "")).sum())
    membership = tables["class_membership"].to_pandas()
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
    recall, events = tables["anomaly_recall"], tables["oracle_events"].to_pandas()
    found = recall["found"].to_numpy()
    unshown = recall["found_unshown"].drop_null().to_numpy()
    total = int(found[-1]) if len(found) else 0
    what = survey.anomaly.name
    yield Observed("A3", total)
    yield Observed("A3:share", total / max(len(found), 1))
    yield Observed("A5", len(events))
    yield Observed("A5:share", len(events) / max(len(found), 1))
    if len(events):
        yield Observed("A6", first_majority(events, survey.anomaly))
    for n in (100, 200):
        if n <= len(found):
            yield Observed(f"A7:{n}", found[n - 1], f"{what} in the first {n} of the ranking, scored ones included")
            for column, text in _RECALL.items():
                if column in recall.column_names:
                    text = f"{what} in the first {n} of {text}"
                    yield Observed(f"A7:{n}:{column}", recall[column][n - 1].as_py(), text)
        if n <= len(unshown):
            yield Observed(f"A8:{n}", unshown[n - 1], f"{what} in the first {n} that the oracle never saw")


def first_majority(events: "pd.DataFrame", anomaly: Anomaly) -> float:
    """The first query most of whose galaxies the oracle scored as true anomalies (paper 7.1, Figure 10).

    Parameters
    ----------
    events : pandas.DataFrame
        `round` (from 0) and `score`.
    anomaly : Anomaly
        A true anomaly scores at least five times `truth_threshold`, 2 in the paper.

    Returns
    -------
    float
        Counted from 1, the seeds; inf if there is none.
    """
    share = (events["score"] >= np.rint(5 * anomaly.truth_threshold)).groupby(events["round"]).mean()
    return 1.0 + min(share.index[share > 0.5], default=np.inf)


def _class_id(letter: str, name: str, further: int = 0) -> str:
    """E2-E4 and C5-C7 for the paper's classes, else the class's name behind the letter."""
    return f"{letter}{int(_CLASSES[name]) + further}" if name in _CLASSES else f"{letter}:{name}"


def _count(matches: pa.ChunkedArray | pa.Array) -> int:
    import pyarrow.compute as pc

    return pc.sum(matches).as_py() or 0


def compare(check: Check, observed: Observed | None, survey: Survey) -> dict[str, Any]:
    """One row of `results`: a number of the checklist and its verdict on this survey, with the reason.

    Parameters
    ----------
    check : Check
    observed : Observed or None
        None where the survey has no such number.
    survey : Survey

    Returns
    -------
    dict
        The columns of SCHEMA.
    """
    value = _number(observed)
    expected, unit = (check.expected, "") if isinstance(check.expected, float) else (1.0, " (1 yes, 0 no)")
    said = [observed.note if observed else "", check.note]
    if check.reason:
        said.append(f"tolerance: {check.reason}")
    verdict, why = NOT_APPLICABLE, ""
    if survey.name not in check.surveys:
        why = f"the paper's number is for {' and '.join(check.surveys)}"
    elif check.decided_by == "machine":
        why = "the machine decides it, so it is not compared"
    elif check.decided_by == "network" and survey.recipe.backbone != _NETWORK:
        why = f"the network decides it: {survey.recipe.backbone} here, {_NETWORK} in the paper"
    elif value is None:
        verdict, why = NOT_OBSERVED, _remedy(check, survey)
    else:
        verdict = AGREES if abs(value - expected) <= check.tolerance else DIFFERS
    return {
        "check_id": check.id,
        "description": check.description + unit,
        "expected": expected,
        "observed": value,
        "tolerance": check.tolerance,
        "verdict": verdict,
        "note": "; ".join(filter(None, [why, *said])),
    }


def _number(observed: Observed | None) -> float | None:
    """The value of what was observed, None where it could not be computed (nan)."""
    return None if observed is None or np.isnan(observed.value) else float(observed.value)


def _remedy(check: Check, survey: Survey) -> str:
    """Why a number is missing and what brings it."""
    if check.setting:
        return f"the survey does not set {check.setting}; set it in its YAML"
    if check.start and check.start not in survey.start_weights:
        return f"{check.start} is not among the survey's start weights; add it to start_weights"
    partition = f", partition {check.start}" if check.start else ""
    return f"{check.asset} has no value for it; materialise {survey.name}/{check.asset}{partition}"


def results(survey: Survey, tables: Mapping[str, pa.Table]) -> pa.Table:
    """Make the table `results`: every number of the checklist in its order, then what else was measured.

    Parameters
    ----------
    survey : Survey
    tables : mapping of str to pyarrow.Table
        By asset name; absent ones leave numbers without a verdict.

    Returns
    -------
    pyarrow.Table
        In SCHEMA.
    """
    observed = {o.check_id: o for o in observe(survey, tables)}
    checks = checklist_for(survey.start_weights)
    rows = [compare(check, observed.get(check.same_as or check.id), survey) for check in checks]
    shown = {check.id for check in checks} | {c.same_as for c in checks if survey.name in c.surveys}
    for o in observed.values():
        if o.check_id not in shown:
            why = "the paper has no number for it"
            rows.append(
                {
                    "check_id": o.check_id,
                    "description": o.description,
                    "observed": _number(o),
                    "verdict": NOT_APPLICABLE,
                    "note": f"{why}; {o.note}" if o.note else why,
                }
            )
    return pa.Table.from_pylist(rows, schema=SCHEMA)
