"""What people's labels come to: the scores and classes that hold after corrections.

Belongs here: from events to what holds, as pure functions, and that in words. Does not belong here: where events are
kept (`storage.label_events`), what the search does with a score (`active_learning`).
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from typing import Any

import numpy as np
import pyarrow as pa

from galaxy_assets.science.galaxy_ids import places
from galaxy_assets.settings.discovery import MOST_SCORES
from galaxy_assets.settings.limits import MAXIMUM_AHEAD

Event = Mapping[str, Any]
"""A row of `storage.label_events.EVENTS`."""
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

    Parameters
    ----------
    events : pyarrow.Table
        Columns of `storage.label_events.EVENTS`, in any order; an event may be given twice.

    Returns
    -------
    pyarrow.Table
        STANDING: `score`, the mean over people of each person's latest score, or the oracle's where no person gave
        one, null where nobody did; `n_people`, how many people's scores it is the mean of; `label`, the latest class
        that a person gave; `by`, `people` or `oracle`, whose word it is; `round` of the oracle's event, null where
        there is none; `first_event`, the earliest event that holds.

    Examples
    --------
    Two people score a galaxy, and one of them takes it back:

    >>> from datetime import datetime
    >>> import pyarrow as pa
    >>> from galaxy_assets.science.labels import standing
    >>> first = {"event": "1", "time": datetime(2026, 1, 1), "who": "ada", "source": "explorer", "kind": "score"}
    >>> first |= {"galaxy_id": "J1", "score": 5, "label": None, "undoes": None, "round": None}
    >>> second = first | {"event": "2", "time": datetime(2026, 1, 2), "who": "bo", "score": 2}
    >>> undo = second | {"event": "3", "time": datetime(2026, 1, 3), "kind": "undo", "score": None, "undoes": "2"}
    >>> standing(pa.Table.from_pylist([first, second])).select(["score", "n_people", "by"]).to_pylist()
    [{'score': 3.5, 'n_people': 2, 'by': 'people'}]
    >>> standing(pa.Table.from_pylist([first, second, undo])).select(["score", "n_people"]).to_pylist()
    [{'score': 5.0, 'n_people': 1}]
    """
    held = holding(events.to_pylist())
    scores: dict[str, list[float]] = defaultdict(list)
    for own in latest_scores(held).values():
        for galaxy, score in own.items():
            scores[galaxy].append(score)
    labels = {e["galaxy_id"]: e["label"] for e in held if e["source"] != ORACLE and e["kind"] == "class"}
    oracle = {e["galaxy_id"]: e for e in held if e["source"] == ORACLE}
    first: dict[str, str] = {}
    for event in held:
        first.setdefault(event["galaxy_id"], event["event"])
    rows = []
    for galaxy in sorted(first):
        given, simulated = scores.get(galaxy, []), oracle.get(galaxy, {})
        rows.append(
            {
                "galaxy_id": galaxy,
                "score": float(np.mean(sorted(given))) if given else simulated.get("score"),
                "n_people": len(given),
                "label": labels.get(galaxy),
                "by": "people" if given or galaxy in labels else "oracle",
                "round": simulated.get("round"),
                "first_event": first[galaxy],
            }
        )
    return pa.Table.from_pylist(rows, schema=STANDING)


def what_people_scored(now: pa.Table, used: pa.Table, learnt: pa.Table, ranking: pa.Table | None) -> str:
    """How many galaxies people have scored, and what the ranking makes of it, in a sentence.

    Parameters
    ----------
    now : pyarrow.Table
        STANDING of what people have said until now.
    used : pyarrow.Table
        STANDING of what the search read.
    learnt : pyarrow.Table
        `galaxy_id` and `score` of the galaxies that `anomaly_model` learnt from; a sample where there are very many.
    ranking : pyarrow.Table or None
        `galaxy_id` and `score_std` of `anomaly_ranking`; None where there is none.

    Returns
    -------
    str
        Empty where people have scored no galaxy.

    Examples
    --------
    >>> import pyarrow as pa
    >>> from galaxy_assets.science.labels import STANDING, what_people_scored
    >>> scores = [("J1", 5.0), ("J2", 1.0), ("J3", 2.0)]
    >>> rows = [{"galaxy_id": galaxy, "score": score, "n_people": 1, "by": "people"} for galaxy, score in scores]
    >>> now = pa.Table.from_pylist(rows, schema=STANDING)
    >>> ranking = pa.table({"galaxy_id": ["J2", "J3"], "score_std": [0.1, 0.2]})
    >>> what_people_scored(now, now.slice(0, 2), now.slice(1, 1), ranking)
    'people have scored 3 galaxies, from 1 to 5; the ranking learns from 1 of them; 1 newer score waits for a run; \
1 is of a galaxy that is not ranked'
    """
    scored, read = _by_people(now), _by_people(used)
    model = dict(zip(learnt["galaxy_id"].to_pylist(), learnt["score"].to_pylist(), strict=True))
    if not scored:
        return ""
    low, high = min(scored.values()), max(scored.values())
    scale = f"all {low:g}" if low == high else f"from {low:g} to {high:g}"
    said = [f"people have scored {len(scored)} galax{'y' if len(scored) == 1 else 'ies'}, {scale}"]
    if ranking is None:
        return "; ".join([*said, "no galaxy is ranked yet"])
    there = places(ranking["galaxy_id"], pa.array(scored, pa.string())) >= 0
    ranked = {galaxy: score for (galaxy, score), one in zip(scored.items(), there, strict=True) if one}
    absent = len(scored) - len(ranked)
    seen = {galaxy for galaxy, score in ranked.items() if read.get(galaxy) == score}
    if ranking["score_std"].null_count == ranking.num_rows:
        taken = seen
        said.append("the ranking learns nothing from them")
    else:
        taken = {galaxy for galaxy in seen if model.get(galaxy) == ranked[galaxy]}
        sampled = len(model) >= MOST_SCORES
        said.append(f"the ranking learns from {len(taken)} of them{', a sample' if sampled else ''}")
        taken = seen if sampled else taken
    if newer := len(ranked) - len(taken):
        said.append(f"{newer} newer {'score waits' if newer == 1 else 'scores wait'} for a run")
    if absent:
        of = "is of a galaxy that is" if absent == 1 else "are of galaxies that are"
        said.append(f"{absent} {of} not ranked")
    return "; ".join(said)


def why_alike(said: pa.Table, galaxies: pa.Array | pa.ChunkedArray, survey: str) -> str:
    """Why the scores given tell no galaxies apart, and the remedy; empty where none is given.

    Parameters
    ----------
    said : pyarrow.Table
        STANDING.
    galaxies : pyarrow.Array or pyarrow.ChunkedArray
        Ids of the galaxies that have features.
    survey : str
        Its name.

    Returns
    -------
    str
    """
    import pyarrow.compute as pc

    given = said.filter(said["score"].is_valid())
    if not given.num_rows:
        return ""
    remedy = f"Score galaxies that differ in interest (`galaxy-assets explore`, or `labels import {survey}`)"
    here = pc.is_in(given["galaxy_id"], value_set=galaxies.cast(pa.string()))
    scores = given["score"].filter(here).to_pylist()
    if not scores:
        return (
            f"all {given.num_rows} scores given are of galaxies that are not among those kept, such as "
            f"{given['galaxy_id'][0]}, and the ranking is that of an isolation forest. {remedy}, or look whether the "
            "right column of ids was imported"
        )
    alike = f" are {scores[0]:g}, so they" if len(set(scores)) == 1 else ""
    return (
        f"all {len(scores)} scores given{alike} tell no galaxies apart, and the ranking is that of an isolation "
        f"forest, which no score has changed. {remedy}, or look whether the right column was imported, on the right "
        "--range"
    )


def _by_people(said: pa.Table) -> dict[str, float]:
    return {row["galaxy_id"]: row["score"] for row in said.to_pylist() if row["n_people"]}


def latest_scores(held: Iterable[Event]) -> dict[str, dict[str, float]]:
    """Each person's scores that hold.

    Parameters
    ----------
    held : iterable of dict
        Events as `holding` returns them. The oracle is no person.

    Returns
    -------
    dict
        Person to galaxy to score.
    """
    scores: dict[str, dict[str, float]] = defaultdict(dict)
    for event in held:
        if event["source"] != ORACLE and event["kind"] == "score":
            scores[event["who"]][event["galaxy_id"]] = event["score"]
    return scores


def holding(events: Iterable[Event]) -> list[Event]:
    """Score and class events that no undo takes back, each once.

    Parameters
    ----------
    events : iterable of dict
        Rows of `storage.label_events.EVENTS`, in any order; of those with one id the earliest counts.

    Returns
    -------
    list of dict
        In the order of `when`.
    """
    once: dict[str, Event] = {}
    for event in sorted(events, key=when):
        once.setdefault(event["event"], event)
    back = taken_back(once.values())
    return [event for event in once.values() if event["kind"] != "undo" and event["event"] not in back]


def when(event: Event) -> tuple[datetime, datetime, str]:
    """What events are ordered by: of what was said at one time, such as a corrected list, the later import holds.

    Parameters
    ----------
    event : dict
        A row of `storage.label_events.EVENTS`.

    Returns
    -------
    time : datetime
        When it was said.
    recorded : datetime
        When it was taken down; of an event that is not yet, when it was said.
    event : str
        Its id.
    """
    return event["time"], event.get("recorded") or event["time"], event["event"]


def time_after(before: Iterable[datetime], now: datetime) -> datetime:
    """When something is said that follows what was said before: after it, also where another clock was ahead.

    Parameters
    ----------
    before : iterable of datetime
        When that was said; a time that is of no clock (`settings.limits.MAXIMUM_AHEAD`) is passed over.
    now : datetime

    Returns
    -------
    datetime
    """
    latest = max((then for then in before if then <= now + timedelta(seconds=MAXIMUM_AHEAD)), default=None)
    return now if latest is None else max(now, latest + timedelta(microseconds=1))


def taken_back(events: Iterable[Event]) -> set[str]:
    """Ids of the events that an undo takes back which is not taken back itself.

    An undo takes back the event that it names, also where the clocks put it before that event: a person can only name
    an event that exists. An undo may name another undo; what that took back then holds again. Undos that name each
    other in a circle, which only files made by hand can hold, take nothing else back.

    Parameters
    ----------
    events : iterable of dict
        `event`, `kind` and `undoes` of each, in any order.

    Returns
    -------
    set of str
    """
    names = {event["event"]: event["undoes"] for event in events if event["kind"] == "undo"}
    named_by = Counter(names.values())
    # an undo is decided once all those that name it are
    decided = [undo for undo in names if not named_by[undo]]
    back: set[str] = set()
    while decided:
        undo = decided.pop()
        target = names[undo]
        if undo not in back:
            back.add(target)
        named_by[target] -= 1
        if target in names and not named_by[target]:
            decided.append(target)
    return back
