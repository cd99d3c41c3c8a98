"""What people's labels come to: the scores and classes that hold after corrections.

Belongs here: from events to what stands, as a pure function. Does not belong here: where events are kept
(`storage.label_events`), what the search does with a score (`active_learning`).
"""

from collections import defaultdict
from typing import Any

import numpy as np
import pyarrow as pa

ORACLE = "oracle"
"""`source` of the events of a simulated person; real people outrank it."""

STANDING = pa.schema(
    [
        ("galaxy_id", pa.string()),
        ("score", pa.float64()),
        ("n_people", pa.int32()),
        ("label", pa.string()),
        ("by", pa.string()),
        ("round", pa.int32()),
        ("first_event", pa.string()),
    ]
)


def standing(events: pa.Table) -> pa.Table:
    """What holds of each galaxy after all undos, a row per galaxy of which anything holds, by galaxy id.

    `events` has the columns of `storage.label_events.EVENTS`; neither their order nor events given twice matter. An
    undo concerns an event before it in the order of (time, event), and may itself be undone, which restores that event.

    Returns STANDING: `score`, the mean over people of each person's latest score, or the oracle's where no person gave
    one, null where nobody did; `n_people`, how many people's scores it is the mean of; `label`, the latest class that
    a person gave; `by`, `people` or `oracle`, whose word it is; `round` of the oracle's event, null where there is
    none; `first_event`, the earliest event that holds.
    """
    scores: dict[str, dict[str, int]] = defaultdict(dict)
    labels: dict[str, str] = {}
    oracle: dict[str, dict[str, Any]] = {}
    first: dict[str, str] = {}
    for event in _after_undos(events):
        galaxy = event["galaxy_id"]
        first.setdefault(galaxy, event["event"])
        if event["source"] == ORACLE:
            oracle[galaxy] = event
        elif event["kind"] == "score":
            scores[galaxy][event["who"]] = event["score"]
        else:
            labels[galaxy] = event["label"]
    rows = []
    for galaxy in sorted(first):
        given, simulated = scores.get(galaxy, {}), oracle.get(galaxy, {})
        rows.append(
            {
                "galaxy_id": galaxy,
                "score": float(np.mean(sorted(given.values()))) if given else simulated.get("score"),
                "n_people": len(given),
                "label": labels.get(galaxy),
                "by": "people" if given or galaxy in labels else "oracle",
                "round": simulated.get("round"),
                "first_event": first[galaxy],
            }
        )
    return pa.Table.from_pylist(rows, schema=STANDING)


def _after_undos(events: pa.Table) -> list[dict[str, Any]]:
    """Score and class events that hold, by (time, event)."""
    once = {event["event"]: event for event in events.sort_by([("time", "descending")]).to_pylist()}
    ordered = sorted(once.values(), key=lambda event: (event["time"], event["event"]))
    undone, held = set(), []
    for event in reversed(ordered):
        if event["event"] in undone:
            continue
        if event["kind"] == "undo":
            undone.add(event["undoes"])
        else:
            held.append(event)
    return held[::-1]
