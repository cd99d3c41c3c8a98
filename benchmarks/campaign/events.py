"""Four writers of label events while a ranking runs, another process merges, and Dagster requests the same survey.

Belongs here: that none is lost or doubled, and that all of them end. Does not belong here: what a label may say.
"""

import multiprocessing as mp
import time
from collections import Counter
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from campaign.http import serving
from campaign.world import SURVEY, Command, Reference

WRITERS, EACH = 4, 2000


def _append(folder: Path, writer: int, galaxies: list[str]) -> None:
    from galaxy_assets.storage.label_events import LabelLog

    log = LabelLog(folder)
    for number in range(EACH):
        row = {"who": f"writer {writer}", "kind": "score", "score": number % 6, "source": "cli"}
        log.append([row | {"galaxy_id": galaxies[number % len(galaxies)], "note": str(number)}])


def _compact(folder: Path, stop: Any) -> None:
    from galaxy_assets.storage.label_events import LabelLog

    while not stop.is_set():
        LabelLog(folder).compact()
        time.sleep(1)


def _rank(root: Path, address: str | None, busy: Callable[[], bool]) -> tuple[list[str], Counter]:
    """Run the main job again and again while the writers write, and ask Dagster for the same; what went wrong."""
    from galaxy_assets.explorer.runs import Dagster, Progress, RunError

    wrong, counts = [], Counter()
    dagster = Dagster(address) if address else None
    launched: list[str] = []
    while busy():
        if dagster is not None:
            try:
                launched.append(dagster.launch(SURVEY, ["label_events", "anomaly_model"]))
            except RunError as error:
                wrong.append(f"Dagster was not asked: {error}")
        code = (command := Command(root, "run", SURVEY)).wait()
        counts["rankings"] += 1
        if code:
            wrong.append(f"a ranking ended with {code}: {command.end}")
    for run in launched if dagster is not None else []:
        progress, until = Progress(), time.monotonic() + 300
        while not progress.ended and time.monotonic() < until:
            progress = dagster.follow(run, progress)
            time.sleep(1)
        counts[f"runs of Dagster: {progress.status.lower()}"] += 1
        if not progress.ended:
            wrong.append(f"Dagster's run {run} did not end: {progress.status}")
        elif progress.status != "SUCCESS":
            wrong.append(f"Dagster's run {run} ended as {progress.status}: {'; '.join(progress.failures)[:400]}")
    return wrong, counts


def written(reference: Reference, with_dagster: bool) -> dict[str, Any]:
    """Write, rank, merge and ask at once, and say what is lost, doubled or stuck."""
    from galaxy_assets.storage.label_events import LabelLog
    from galaxy_assets.storage.layout import Layout
    from galaxy_assets.storage.tables import read_table

    with reference.at(None) as root:
        if with_dagster and Command(root, "dev", "--help").wait(60):
            return {"skipped": "no `galaxy-assets dev` in this version", "wrong": []}
        layout, context = Layout(root), mp.get_context("spawn")
        galaxies = read_table(layout.table(SURVEY, "anomaly_ranking"), ["galaxy_id"])["galaxy_id"].to_pylist()
        before = LabelLog(layout.labels(SURVEY)).read().num_rows
        stop, folder = context.Event(), layout.labels(SURVEY)
        writers = [context.Process(target=_append, args=(folder, i, galaxies)) for i in range(WRITERS)]
        merger = context.Process(target=_compact, args=(folder, stop))

        def at_once(address: str | None) -> tuple[list[str], Counter]:
            for process in (*writers, merger):
                process.start()
            try:
                return _rank(root, address, lambda: any(w.is_alive() for w in writers))
            finally:
                stop.set()
                for process in (*writers, merger):
                    process.join()

        if with_dagster:
            with serving(root, "dev") as port:
                wrong, counts = at_once(f"http://127.0.0.1:{port}")
        else:
            wrong, counts = at_once(None)
        last = Command(root, "run", SURVEY)
        if code := last.wait():
            wrong.append(f"the last ranking ended with {code}: {last.end}")
        events = LabelLog(folder).read()
        said = Counter(zip(events["who"].to_pylist(), events["note"].to_pylist(), strict=True))
        expected = [(f"writer {i}", str(n)) for i in range(WRITERS) for n in range(EACH)]
        lost, doubled = [e for e in expected if not said[e]], [e for e in expected if said[e] > 1]
        ranked = read_table(layout.table(SURVEY, "label_events")).num_rows
        seen = Counter(read_table(layout.table(SURVEY, "label_events"))["source"].to_pylist())
        wrong += [f"{len(lost)} events are lost, such as {lost[0]}"] if lost else []
        wrong += [f"{len(doubled)} events are doubled, such as {doubled[0]}"] if doubled else []
        wrong += [f"a writer ended with {w.exitcode}" for w in (*writers, merger) if w.exitcode]
        if seen["cli"] != WRITERS * EACH:
            wrong.append(f"the last ranking knew {seen['cli']} of {WRITERS * EACH} events")
        return {
            "events": len(expected),
            "lost": len(lost),
            "doubled": len(doubled),
            "before": before,
            "in the last ranking": ranked,
            "counts": dict(counts),
            "wrong": wrong,
        }


def cases(reference: Reference) -> dict[str, Callable[[], dict[str, Any]]]:
    """With the main job alone, and with Dagster as well."""
    return {
        "while a ranking runs": partial(written, reference, False),
        "while Dagster requests the same survey too": partial(written, reference, True),
    }


def figures(found: list[dict[str, Any]]) -> dict[str, Any]:
    """What is counted."""
    met = [c for c in found if "skipped" not in c]
    return {
        "events": sum(c["events"] for c in met),
        "lost": sum(c["lost"] for c in met),
        "doubled": sum(c["doubled"] for c in met),
        "skipped": len(found) - len(met),
        **sum((Counter(c["counts"]) for c in met), Counter()),
    }
