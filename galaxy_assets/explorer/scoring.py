"""Scoring: what was said of which galaxy, and which galaxy comes next.

Belongs here: a survey's label events as the page needs them, and the queue of one person. Does not belong here: how
events are kept (`storage.label_events`), what they come to (`science.labels`), keys and buttons (`score_panel`).
"""

import threading
from collections import deque
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyarrow as pa

from galaxy_assets.explorer.view import View
from galaxy_assets.science.active_learning import find_learner
from galaxy_assets.science.labels import holding, latest_scores, standing, taken_back, time_after, when
from galaxy_assets.settings.survey import Survey
from galaxy_assets.storage.label_events import LabelLog, seen
from galaxy_assets.storage.layout import Layout
from galaxy_assets.storage.store import store_of

SOURCE = "explorer"
ORDERS = {
    "acquisition": "what the search learns most from",
    "rank": "the most anomalous first",
    "cluster": "one cluster, the most certain members first",
    "random": "in a random order, the same each time",
    "selection": "what the gallery shows, in its order",
}
Order = Literal["acquisition", "rank", "cluster", "random", "selection"]
_COMPACT_EVERY = 100


class Labels:
    """The label events of a survey, shared by every tab.

    `refresh` reads what other processes append.

    Parameters
    ----------
    layout : Layout
        The data folder.
    survey : Survey
    """

    def __init__(self, layout: Layout, survey: Survey):
        self.log = LabelLog(layout.labels(survey.name))
        self._layout, self._survey = layout, survey
        self._lock = threading.Lock()
        self._files: list[Path] | None = None
        self._appended = 0
        self._events: list[dict[str, Any]] = []
        self.generation = 0
        """Changes with every event that is known of."""
        self.log.compact()
        self.refresh()

    def refresh(self) -> bool:
        """Read the events anew where the folder changed.

        Returns
        -------
        bool
            Whether it did.
        """
        with self._lock:
            store_of(self.log.folder).refresh(every=2.0)
            files = self.log.files()  # written once, under names that are given once
            if files == self._files:
                return False
            self._events, self._files = self.log.read().to_pylist(), files
            self.generation += 1
            return True

    def say(self, who: str, galaxy: str, score: int, note: str | None = None) -> str:
        """Append a score, said after all that the person is known to have said; when it returns, it is on disk.

        Parameters
        ----------
        who : str
            The person.
        galaxy : str
            Its id.
        score : int
            0 to 5.
        note : str, optional

        Returns
        -------
        str
            The event's id.

        Raises
        ------
        ValueError
            Where the event is no event.
        OSError
            Where it cannot be written.
        """
        before = [event["time"] for event in self._events if event["who"] == who]
        row = {
            "who": who,
            "kind": "score",
            "galaxy_id": galaxy,
            "score": score,
            "note": note or None,
            "source": SOURCE,
            "time": time_after(before, datetime.now(UTC)),
            **seen(self._layout, self._survey),
        }
        (event,) = self.log.append([row])
        self._note({**row, "event": event})
        return event

    def undo(self, who: str, event: str) -> str:
        """Take an event back by another; when it returns, that is on disk.

        Parameters
        ----------
        who : str
            The person.
        event : str
            Id of the event that is taken back.

        Returns
        -------
        str
            The new event's id.

        Raises
        ------
        ValueError
            Where the event is no event.
        OSError
            Where it cannot be written.
        """
        (undo,) = self.log.undo([event], who, source=SOURCE)
        self._note(undo)
        return undo["event"]

    def _note(self, event: dict[str, Any]) -> None:
        with self._lock:
            self._events.append(event)
            self.generation += 1
            self._appended += 1
            compact = self._appended % _COMPACT_EVERY == 0
        if compact:  # a file per event would make the next reading slow
            threading.Thread(target=self.log.compact, daemon=True).start()

    def scores_by(self, who: str) -> dict[str, float]:
        """The scores of one person that hold.

        Parameters
        ----------
        who : str

        Returns
        -------
        dict of str to float
            By galaxy.
        """
        return latest_scores(holding(self._events)).get(who, {})

    def last_by(self, who: str) -> dict[str, Any] | None:
        """The latest score that a person gave on the page and that holds.

        Parameters
        ----------
        who : str

        Returns
        -------
        dict or None
            The event.
        """
        mine = (e for e in self._events if e["who"] == who and e["kind"] == "score" and e["source"] == SOURCE)
        back = taken_back(self._events)
        return max((e for e in mine if e["event"] not in back), key=when, default=None)

    def of(self, galaxy: str) -> list[dict[str, Any]]:
        """All events of a galaxy, also those taken back.

        Parameters
        ----------
        galaxy : str
            Its id.

        Returns
        -------
        list of dict
            The latest first; `undone` says whether it was taken back.
        """
        back = taken_back(self._events)
        own = [e | {"undone": e["event"] in back} for e in self._events if e["galaxy_id"] == galaxy]
        return sorted(own, key=when, reverse=True)

    def said(self) -> pa.Table:
        """What holds, for filters.

        Returns
        -------
        pyarrow.Table
            galaxy_id, human_score, human_label, people.
        """
        table = standing(self.log.read())
        return pa.table(
            {
                "galaxy_id": table["galaxy_id"],
                "human_score": table["score"],
                "human_label": table["label"],
                "people": table["n_people"],
            }
        )


class Queue:
    """Galaxies in the order in which one person is shown them; those that the person scored are passed over.

    Parameters
    ----------
    view : View
    rows : ndarray of int32
        Of the view, in order.
    scored : dict of str to float
        Scores by galaxy.
    """

    def __init__(self, view: View, rows: np.ndarray, scored: dict[str, float]):
        self.view, self.rows, self.at = view, rows, 0
        self._member = np.zeros(len(view), bool)
        self._member[rows] = True
        self._scored = set(view.rows_of(list(scored)).tolist())
        self._forward()

    def current(self) -> int | None:
        """The row that is shown.

        Returns
        -------
        int or None
            None at the end.
        """
        return int(self.rows[self.at]) if self.at < len(self.rows) else None

    def ahead(self, n: int) -> list[int]:
        """The next rows after the one that is shown.

        Parameters
        ----------
        n : int

        Returns
        -------
        list of int
        """
        found: deque[int] = deque()
        for row in self.rows[self.at + 1 :]:
            if len(found) == n:
                break
            if int(row) not in self._scored:
                found.append(int(row))
        return list(found)

    def scored(self, row: int) -> None:
        """Go on after a score.

        Parameters
        ----------
        row : int
            That was scored.
        """
        self._scored.add(row)
        self._forward()

    def skip(self) -> None:
        """Go on without a score."""
        self.at = min(self.at + 1, len(self.rows))
        self._forward()

    def back_to(self, row: int) -> None:
        """Show a row, also one that was scored; after it comes what is shown now, so that none is left out.

        Parameters
        ----------
        row : int
        """
        self._scored.discard(row)
        self._member[row] = True
        before, after = (part[part != row] for part in np.split(self.rows, [self.at]))
        self.rows, self.at = np.concatenate([before, np.array([row], np.int32), after]), len(before)

    def from_the_top(self) -> None:
        """Show what was skipped, in the order of the queue."""
        self.at = 0
        self._forward()

    def pass_over(self, scored: dict[str, float]) -> None:
        """Pass over what is scored by now, also elsewhere.

        Parameters
        ----------
        scored : dict of str to float
            Scores by galaxy.
        """
        self._scored = set(self.view.rows_of(list(scored)).tolist())
        self._forward()

    def anew(self, rows: np.ndarray, scored: dict[str, float]) -> "Queue":
        """The queue of other rows at the place of this one: what is shown stays, and what was passed stays passed.

        Parameters
        ----------
        rows : ndarray of int32
            Of the view, in order.
        scored : dict of str to float
            Scores by galaxy.

        Returns
        -------
        Queue
        """
        passed = self.rows[: self.at]
        passed = passed[np.isin(passed, rows)]
        queue = Queue(self.view, np.concatenate([passed, rows[~np.isin(rows, passed)]]), scored)
        queue.at = len(passed)
        queue._forward()
        if (shown := self.current()) is not None:
            queue.back_to(shown)
        return queue

    def done(self) -> int:
        """How many of the queue are scored.

        Returns
        -------
        int
        """
        return sum(bool(self._member[row]) for row in self._scored)

    def _forward(self) -> None:
        while self.at < len(self.rows) and int(self.rows[self.at]) in self._scored:
            self.at += 1


def members_of_clusters(view: View) -> dict[int, int]:
    """The clusters of a map, however many there are.

    Parameters
    ----------
    view : View

    Returns
    -------
    dict of int to int
        How many galaxies each has, by its number and in this order.

    Raises
    ------
    QueryError
        Where the map has no clusters.
    """
    clusters, counts = np.unique(view.column("cluster").drop_null().to_numpy(), return_counts=True)
    return dict(zip(clusters.tolist(), counts.tolist(), strict=True))


def queue_rows(
    view: View, survey: Survey, order: Order, *, cluster: int | None = None, selection: Sequence[int] | np.ndarray = ()
) -> np.ndarray:
    """Rows of a view in the order of a queue.

    `acquisition` is what the survey's learner would ask for next, on the ranking of now and without those asked before:
    the largest value of the learner's acquisition, equal ones by rank; by rank alone where no score has a standard
    deviation, which an isolation forest does not give.

    Parameters
    ----------
    view : View
    survey : Survey
    order : Order
    cluster : int, optional
        For the order by cluster.
    selection : sequence of int
        For the order of a selection.

    Returns
    -------
    ndarray of int32

    Raises
    ------
    QueryError
        Where the order needs a table that the lake lacks.
    """
    every = np.arange(len(view), dtype=np.int32)
    match order:
        case "selection":
            return np.asarray(selection, np.int32)
        case "random":
            return np.random.default_rng(0).permutation(every)
        case "rank":
            return view.ordered(every, "rank", descending=False)
        case "cluster":
            members = view.column("cluster").to_numpy(zero_copy_only=False) == cluster
            return view.ordered(every[members], "probability", descending=True)
        case "acquisition":
            new = every[view.column("queried_round").is_null().to_numpy(zero_copy_only=False)]
            mean, std = (view.column(c).to_numpy(zero_copy_only=False).astype(float) for c in ("score", "score_std"))
            if not np.isfinite(std).any():
                return view.ordered(new, "rank", descending=False)
            asked = np.delete(every, new)
            best = float(np.nanmax(mean[asked] if len(asked) else mean))
            anomaly = survey.anomaly
            gain = find_learner(anomaly.learner).acquisition(mean[new], std[new], best, anomaly.trade_off)
            rank = view.column("rank").to_numpy(zero_copy_only=False)
            return new[np.lexsort((rank[new], -np.nan_to_num(gain, nan=-np.inf)))]
