"""How much a search hangs on chance: what it finds from other starts and on samples of the galaxies (paper 7.1).

Belongs here: searches that are repeated for this alone, and their result in words. Does not belong here: the search
(`active_learning`), whether a list is better than another (`recall`).
"""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pyarrow as pa

from galaxy_assets.science import active_learning, samples
from galaxy_assets.science.galaxy_ids import Ids, as_arrow
from galaxy_assets.settings.discovery import Anomaly

FIRST = 100
"""Galaxies at the head of a list in which true anomalies are counted."""
_TRIALS = 5
_SHARE = 0.9
_MOST = 5_000  # galaxies searched in a trial
SPREAD = pa.schema(
    [
        ("trial", pa.string()),
        ("number", pa.int32()),
        ("galaxies", pa.int64()),
        ("anomalies", pa.int64()),
        ("scored", pa.int64()),
        ("met", pa.int64()),
        ("unshown", pa.int64()),
        ("isolation_forest", pa.int64()),
    ]
)


def trials(
    features: np.ndarray, ids: Ids | np.ndarray, score: np.ndarray, true: np.ndarray, anomaly: Anomaly, seed: int
) -> pa.Table:
    """Search from five starts, and on five samples of 90 % of the galaxies.

    A start is a seed of the isolation forest, which finds the strangest galaxies; the first is the survey's own. Of
    more than 5,000 galaxies a sample is searched, the same for every start. Ids decide which galaxies a sample has.

    Parameters
    ----------
    features : ndarray of shape (N, D)
        Principal components of the galaxies that the simulated oracle knows.
    ids : Ids or ndarray of shape (N,), str
    score : ndarray of shape (N,)
        What it says of each, 0 to 5.
    true : ndarray of shape (N,), bool
        Whether it truly is an anomaly.
    anomaly : Anomaly
        Settings of the search.
    seed : int
        Of the survey.

    Returns
    -------
    pyarrow.Table
        SPREAD: `trial` is `start` or `sample`; `met`, the true anomalies among the `scored` galaxies that were asked
        for; `unshown`, those among the first 100 of the others, by the ranking; `isolation_forest`, those among its
        first 100 of all galaxies. Without rows where there is no anomaly among those searched.
    """
    names = as_arrow(ids)
    pool = np.sort(samples.smallest(samples.keys(names, seed), _MOST))
    if not true[pool].any():
        return SPREAD.empty_table()
    rows = []
    for kind in ("start", "sample"):
        for number in range(_TRIALS):
            own = pool if kind == "start" else _part(pool, names, seed + 1 + number)
            found = _found(features[own], ids[own], score[own], true[own], anomaly, seed + number * (kind == "start"))
            rows.append({"trial": kind, "number": number, "galaxies": len(own), **found})
    return pa.Table.from_pylist(rows, schema=SPREAD)


def _part(pool: np.ndarray, names: pa.Array | pa.ChunkedArray, seed: int) -> np.ndarray:
    keys = samples.keys(names.take(pa.array(pool)), seed)
    return np.sort(pool[samples.smallest(keys, round(_SHARE * len(pool)))])


def _found(
    features: np.ndarray, ids: np.ndarray, score: np.ndarray, true: np.ndarray, anomaly: Anomaly, seed: int
) -> dict[str, int]:
    asked, ranked = searched(features, ids, score, anomaly, seed)
    forest = active_learning.best_first(active_learning.unsupervised_score(features, seed), ids, FIRST)
    return {
        "anomalies": int(true.sum()),
        "scored": len(asked),
        "met": int(true[asked].sum()),
        "unshown": int(true[ranked[:FIRST]].sum()),
        "isolation_forest": int(true[forest].sum()),
    }


def searched(
    features: np.ndarray, ids: np.ndarray, score: np.ndarray, anomaly: Anomaly, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """The rows that a search asks for, in turn, and all others by its ranking.

    Parameters
    ----------
    features : ndarray of shape (N, D)
        Principal components.
    ids : ndarray of shape (N,), str
    score : ndarray of shape (N,)
        What is said of each galaxy when it is asked for, on any scale.
    anomaly : Anomaly
        Settings of the search.
    seed : int
        Of the isolation forest.

    Returns
    -------
    asked : ndarray of shape (L,), int64
    ranked : ndarray of shape (N - L,), int64
    """
    queries = active_learning.search(
        features,
        ids,
        lambda rows: score[rows],
        seeds=anomaly.seeds,
        per_round=anomaly.per_round,
        budget=anomaly.budget,
        trade_off=anomaly.trade_off,
        learner=anomaly.learner,
        seed=seed,
    )
    asked = np.array([query.row for query in queries], int)
    by_id, learner = asked[np.argsort(ids[asked])], active_learning.find_learner(anomaly.learner)
    if len(by_id) and learner.can_fit(score[by_id]):
        value = active_learning.posterior(features, by_id, score[by_id].astype(float), anomaly.learner).mean
    else:
        value = active_learning.unsupervised_score(features, seed, trees=active_learning.trees_of(learner))
    order = active_learning.best_first(value, ids)
    return asked, order[~np.isin(order, asked)]


def words(table: pa.Table, name: str, known: int = 0) -> str:
    """What the search finds, with its spread, as a sentence; empty where there is nothing to find.

    Parameters
    ----------
    table : pyarrow.Table
        SPREAD.
    name : str
        What is sought.
    known : int
        True anomalies that are known, also where none is among the galaxies searched.

    Returns
    -------
    str

    Examples
    --------
    >>> import pyarrow as pa
    >>> from galaxy_assets.science.search_spread import words
    >>> row = {"trial": "start", "number": 0, "galaxies": 900, "anomalies": 20, "scored": 100, "met": 12}
    >>> row |= {"unshown": 4, "isolation_forest": 2}
    >>> words(pa.Table.from_pylist([row, row | {"number": 1, "met": 10}]), "mergers")
    '12 of 20 mergers met in 100 questions (10-12 over 2 starts); 4 unshown in the first 100 (4 over 2 starts), of an \
isolation forest 2'
    """
    rows = table.to_pylist()
    if not rows:
        return f"{known:,} {name} known, none of them in the sample of {_MOST:,} galaxies searched" if known else ""
    first = rows[0]
    met, unshown = (", ".join(_spreads(rows, column)) for column in ("met", "unshown"))
    sampled = f"of a sample of {first['galaxies']:,} galaxies, " if first["galaxies"] >= _MOST else ""
    return (
        f"{sampled}{first['met']} of {first['anomalies']} {name} met in {first['scored']} questions ({met}); "
        f"{first['unshown']} unshown in the first {FIRST} ({unshown}), of an isolation forest "
        f"{first['isolation_forest']}"
    )


def _spreads(rows: list[dict[str, Any]], column: str) -> Iterator[str]:
    for kind, called in (("start", "starts"), ("sample", "samples of 90 %")):
        values = [row[column] for row in rows if row["trial"] == kind]
        if values:
            low, high = min(values), max(values)
            yield f"{low if low == high else f'{low}-{high}'} over {len(values)} {called}"
