"""Every number this survey can speak to, beside what the paper reports for it.

Belongs here: reading the numbers off finished tables, and the verdict. Does not belong here: the paper's numbers, which
are data of the survey that they were measured on (`published` in its YAML).
"""

from collections.abc import Iterator, Mapping
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from galaxy_assets.surveys.model import Published, Survey

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


class Observed(NamedTuple):
    """One measured number; ids follow the paper's order: D data, P preprocessing, B BYOL, E evaluation, C clusters,
    A anomalies. A number per start weight carries its name behind a colon."""

    check_id: str
    description: str
    value: float


def observe(survey: Survey, tables: Mapping[str, pa.Table]) -> Iterator[Observed]:
    """Read every number off the survey's tables (by asset name)."""
    catalogue, clean, subset = tables["catalogue"], tables["clean_galaxies"], tables["evaluation_subset"]
    outcomes = tables["cutouts"]["outcome"]
    voted = set(tables["volunteer_votes"]["galaxy_id"].to_pylist())
    kept = pc.sum(clean["kept"]).as_py() or 0
    delivered = catalogue.filter(pc.fill_null(pc.not_equal(catalogue["problem"], "missing_file"), True))
    yield Observed("D1", "images delivered", delivered.num_rows)
    yield Observed("D2", "images with volunteer votes", sum(g in voted for g in catalogue["galaxy_id"].to_pylist()))
    yield Observed("D2:labels", "images with a catalogue label", catalogue.num_rows - catalogue["label"].null_count)
    yield Observed("D3", "images after artefact removal", kept)
    yield Observed("D3:share", "share of images removed", 1 - kept / max(delivered.num_rows, 1))
    fallback = pc.sum(pc.starts_with(outcomes, "fallback")).as_py() or 0
    yield Observed("P2:fallback", "share of cutouts that fell back to the original", fallback / max(len(outcomes), 1))
    for c in survey.evaluation.classes:
        n = pc.sum(pc.equal(subset["evaluation_class"], c.name)).as_py() or 0
        yield Observed(f"E:{c.name}", f"evaluation class {c.name}: galaxies", n)
    for row in tables["byol_checkpoints"].to_pylist():
        if row["chosen"]:
            yield Observed(f"B5:{row['init']}:epoch", f"{row['init']}: epoch used; {row['reason']}", row["epoch"])
    yield from _accuracies(tables["epoch_accuracy"])
    model, summary = tables["pca_model"], tables["cluster_summary"]
    for init in pc.unique(model["init"]).to_pylist():
        n = pc.sum(pc.equal(model["init"], init)).as_py() - 1
        yield Observed(f"B5:{init}", f"{init}: components for {survey.variance:.0%} of the variance", n)
    for init in pc.unique(summary["init"]).to_pylist():
        rows = summary.filter(pc.equal(summary["init"], init))
        yield Observed(f"C2:{init}", f"{init}: clusters with members", pc.sum(pc.greater(rows["n"], 0)).as_py())
        yield Observed(f"C3:{init}", f"{init}: clusters of artefacts", pc.sum(rows["artefact"]).as_py())
        accuracy = rows["accuracy_overall"][0].as_py()
        yield Observed(f"C8:{init}", f"{init}: accuracy of the clusters' majority labels", accuracy)
    yield from _anomalies(survey, tables)


def _accuracies(table: pa.Table) -> Iterator[Observed]:
    frame = table.to_pandas()
    if frame.empty:
        return
    means = frame.groupby(["init", "features", "epoch"])["accuracy"].mean()
    for init in frame["init"].unique():
        curve = means[init]["byol"]
        chosen = int(frame.loc[frame["chosen"] & (frame["init"] == init), "epoch"].iloc[0])
        yield Observed(f"E7:{init}", f"{init}: k-NN accuracy at the chosen epoch {chosen}", curve[chosen])
        yield Observed(f"E7:{init}:start", f"{init}: k-NN accuracy at epoch 0", curve[0])
    for kind in ("pixels", "untrained", "pretrained"):
        rows = frame[frame["features"] == kind]
        if len(rows):
            yield Observed(f"E7:{kind}", f"k-NN accuracy of the baseline: {kind}", rows["accuracy"].mean())
    if {"random", "imagenet"} <= set(frame["init"]):
        gain = means["imagenet"]["byol"][0] - means["random"]["byol"][0]
        yield Observed("E6", "accuracy of ImageNet over random start weights at epoch 0", gain)


def _anomalies(survey: Survey, tables: Mapping[str, pa.Table]) -> Iterator[Observed]:
    recall = tables["anomaly_recall"]
    found, random = recall["found"].to_numpy(), recall["random"].to_numpy()
    unshown = recall["found_unshown"].drop_null().to_numpy()
    total = int(found[-1]) if len(found) else 0
    what = survey.anomaly.name
    yield Observed("A3", f"true {what} among labelled clean galaxies", total)
    yield Observed("A3:share", f"share of true {what}", total / max(len(found), 1))
    yield Observed("A5", "scores given", tables["label_events"].num_rows)
    for n in (100, 200):
        if n <= len(found):
            yield Observed(f"A7:{n}", f"{what} in the first {n} of the ranking, scored ones included", found[n - 1])
            yield Observed(f"A7:{n}:random", f"{what} in the first {n} of a random order (expected)", random[n - 1])
        if n <= len(unshown):
            yield Observed(f"A8:{n}", f"{what} in the first {n} that the oracle never saw", unshown[n - 1])


def compare(observed: Observed, published: Published | None) -> dict:
    """One row of `results`: `agrees` or `differs` where the paper has the number, else `not published`."""
    value = float(observed.value)
    row = {"check_id": observed.check_id, "description": observed.description, "observed": value}
    if published is None:
        return row | {"verdict": "not published", "note": "measured on this survey; the paper has no number for it"}
    agrees = bool(np.isfinite(value) and abs(value - published.expected) <= published.tolerance)
    return row | {
        "expected": published.expected,
        "tolerance": published.tolerance,
        "verdict": "agrees" if agrees else "differs",
        "note": published.note,
    }


def results(survey: Survey, tables: Mapping[str, pa.Table]) -> pa.Table:
    """The `results` table, in SCHEMA; published numbers that could not be observed are rows too."""
    observed = list(observe(survey, tables))
    rows = [compare(o, survey.published.get(o.check_id)) for o in observed]
    seen = {o.check_id for o in observed}
    for check_id, published in survey.published.items():
        if check_id not in seen:
            rows.append(
                {
                    "check_id": check_id,
                    "description": published.note,
                    "expected": published.expected,
                    "tolerance": published.tolerance,
                    "verdict": "not observed",
                    "note": "its partition was not materialised",
                }
            )
    return pa.Table.from_pylist(rows, schema=SCHEMA)
