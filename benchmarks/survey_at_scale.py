"""A simulated survey of N galaxies from features to the read model, step by step as the assets do it.

    OMP_NUM_THREADS=1 python benchmarks/survey_at_scale.py [N ...] [--small] [--width 512]

Sizes are 100,000 and 300,000 when none is given; `100000 300000 1000000` is what the targets are about, and 10000000
needs 25 GB of disk and half an hour. Where the disk is too small, `--width 64` makes narrower embeddings, which only
the first three steps read; nothing of that is kept. Nothing is compared: each step is a process of its own, as a step
of a run is, reads the lake, calls the functions that the asset calls and writes its table; what counts is its seconds
and how far its resident memory rose above a bare interpreter's. A step may use nine tenths of the memory that is free
at the start; one that needs more is stopped, and the row says so. Pixels are not drawn: the survey begins with
embeddings of 512 features, delivered in batches of 100,000.

From the settings' sizes on the search has its shortlist and similarity its index, as in the assets. Two more rows are
of what a person waits for: `one search round`, the median of the rounds that score a shortlist (of all, below that
size), and `one similarity search` for a galaxy by id, as the lake and the explorer do it; with what they miss of the
exact answer.

The mixture does a fixed number of iterations, because how many it needs until it converges depends on the data and
not on N; `mixture.py` measures fits to convergence. The oracle knows every galaxy: the
rare cluster has a 5, of the others one half a 1.
"""

import argparse
import itertools
import json
import logging
import math
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import psutil
import pyarrow as pa
import simulated
from side_by_side import Equal, Row, exponent, keep, line, resident

from galaxy_assets.lake import connect
from galaxy_assets.lake.read_model import publish
from galaxy_assets.lake.similar import nearest
from galaxy_assets.orchestration.assets import discovery, representation, structure
from galaxy_assets.orchestration.declaration import SurveyContext
from galaxy_assets.orchestration.graph import EXPLORER
from galaxy_assets.science import active_learning, anomaly_model, pca, votes
from galaxy_assets.science.galaxy_ids import Ids
from galaxy_assets.science.labels import standing
from galaxy_assets.science.samples import drawn
from galaxy_assets.settings.discovery import Similarity
from galaxy_assets.settings.files import survey_files
from galaxy_assets.settings.survey import Survey
from galaxy_assets.storage.in_turn import TablesInTurn, read_as_one
from galaxy_assets.storage.label_events import EVENTS
from galaxy_assets.storage.layout import Layout
from galaxy_assets.storage.similarity import index_path, make_index
from galaxy_assets.storage.tables import column_to_vectors, digest, read_table, vectors_to_column, write_table

SURVEY, INIT, BATCH = "gz_decals", "imagenet", 100_000
SIZES, SMALL = (100_000, 300_000), (1_000, 2_000, 4_000)
STARTS, ITERATIONS = 2, 10
NO_VOTES = votes.empty("5")
TARGET_MB = {1_000_000: 3_000.0, 10_000_000: 3_000.0}
TARGET_EXPONENT = 1.1
WAITED = {"one search round": ("label_events", 1.0), "one similarity search": ("similar_galaxies", 0.05)}
"""What a person waits for: in which step it is measured, and the seconds that are the target at 10^7."""
Found = dict[str, float]
"""What a step measured of one such wait: `waited`, seconds, and `missed`, a share of the exact answer."""


def deliver(layout: Layout, n: int, width: int = simulated.WIDTH) -> None:
    """Write `embeddings` and, for the oracle, `catalogue`, batch by batch."""
    for first in range(0, n, BATCH):
        count, batch = min(BATCH, n - first), f"batch_{first // BATCH:04d}"
        vectors, clusters = simulated.embeddings(count, first, width)
        ids = pa.array(simulated.names(count, first), pa.string())
        labels = pa.array(np.where(clusters == simulated.RARE, "rare", "common"))
        write_table(pa.table({"galaxy_id": ids, "label": labels}), layout.table(SURVEY, "catalogue", batch))
        galaxies = pa.table({"galaxy_id": ids, "batch": [batch] * count, "init": [INIT] * count})
        table = galaxies.append_column("vector", vectors_to_column(vectors))
        write_table(table, layout.table(SURVEY, "embeddings", batch, INIT))


def batches(layout: Layout, asset: str) -> list[str]:
    """The partitions of an asset, in order."""
    return sorted(path.name for path in (layout.lake / SURVEY / asset).iterdir())


def in_turn(layout: Layout, asset: str) -> TablesInTurn:
    """All batches of an asset, read one after the other."""
    return TablesInTurn(tuple(sorted((layout.lake / SURVEY / asset).rglob("*.parquet"))), {})


def whole(layout: Layout, asset: str, columns: dict | None = None) -> pa.Table:
    """All batches of an asset as one table, as the I/O manager hands it over."""
    return read_as_one(in_turn(layout, asset).paths, (columns or {}).get("columns"))


def of_start(layout: Layout, asset: str) -> pa.Table:
    """A model, which has a table for the start weights."""
    return read_table(layout.table(SURVEY, asset, INIT))


def context(layout: Layout, batch: str = "") -> SurveyContext:
    """What the assets' functions are given beside their tables."""
    own = {"name": SURVEY, "title": SURVEY, "description": "", "source": {"reader": "image_folder", "path": ""}}
    fit = {"n_init": STARTS, "max_iter": ITERATIONS, "tol": 0.0}
    survey = Survey.model_validate(own | {"mixture": fit, "anomaly": {"labels": ["rare"]}})
    return SurveyContext(survey, {}, layout, batch, INIT, None)


def pca_model(layout: Layout) -> None:
    """Fit the components on all galaxies."""
    model = pca.fit(in_turn(layout, "embeddings").vectors(), 0.95)
    write_table(pca.model_to_table(model, INIT), layout.table(SURVEY, "pca_model", INIT))


def pca_features(layout: Layout) -> None:
    """Project batch by batch."""
    model = of_start(layout, "pca_model")
    for batch in batches(layout, "embeddings"):
        table = read_as_one([layout.table(SURVEY, "embeddings", batch, INIT)])
        made = representation.pca_features.function(context(layout, batch), table, model)
        write_table(made.table, layout.table(SURVEY, "pca_features", batch, INIT))


def cluster_model(layout: Layout) -> None:
    """Fit the mixture, a fixed number of iterations."""
    components = of_start(layout, "pca_model")
    made = structure.cluster_model.function(context(layout), in_turn(layout, "embeddings"), components)
    write_table(made.table, layout.table(SURVEY, "cluster_model", INIT))


def cluster_labels(layout: Layout) -> None:
    """Label batch by batch."""
    model = of_start(layout, "cluster_model")
    for batch in batches(layout, "pca_features"):
        table = read_as_one([layout.table(SURVEY, "pca_features", batch, INIT)])
        made = structure.cluster_labels.function(context(layout, batch), table, model)
        write_table(made.table, layout.table(SURVEY, "cluster_labels", batch, INIT))


def label_events(layout: Layout) -> Found:
    """The search with the oracle, with the paper's seeds, rounds and budget."""
    survey, table = context(layout).survey, whole(layout, "pca_features")
    features, ids, settings = column_to_vectors(table["vector"]), Ids(table["galaxy_id"]), survey.anomaly
    catalogue = catalogued(layout)  # the asset has it until its end
    _, true = discovery.oracle_scores(ids.arrow, catalogue, NO_VOTES, settings)
    score = np.where(true, np.int8(5), features[:, 0] > 0)  # of equal scores alone nothing would be learnt
    sample, asked = drawn(ids.arrow, settings.fitted_on, 0), []
    shortlist = discovery.shortlist_for(len(ids), settings, 0)
    pa.default_memory_pool().release_unused()  # as `discovery.simulated_search`

    def oracle(rows: np.ndarray) -> np.ndarray:
        asked.append((time.perf_counter(), shortlist.short if shortlist is not None else len(asked)))
        return score[rows]

    queries = active_learning.search(
        features,
        ids,
        oracle,
        seeds=settings.seeds,
        per_round=settings.per_round,
        budget=settings.budget,
        trade_off=settings.trade_off,
        learner=settings.learner,
        seed=0,
        among=None if sample is None else features[sample],
        shortlist=shortlist,
    )
    events = discovery.events_of(queries, ids[np.array([q.row for q in queries])], digest(table))
    write_table(pa.Table.from_pylist(events, schema=EVENTS), layout.table(SURVEY, "label_events"))
    took = [(there - here, after > before) for (here, before), (there, after) in itertools.pairwise(asked)]
    rounds = [seconds for seconds, by_shortlist in took if by_shortlist]
    shares = shortlist.shares if shortlist is not None else [1.0]
    return {
        "waited": statistics.median(rounds or [math.nan]),
        "missed": 1 - min(shares, default=math.nan),
        "rounds": len(rounds),
        "whole": max((seconds for seconds, by_shortlist in took if not by_shortlist), default=math.nan),
    }


def catalogued(layout: Layout) -> pa.Table:
    """Ids and labels of all galaxies."""
    return whole(layout, "catalogue", discovery.LABELS)


def anomaly_ranking(layout: Layout) -> None:
    """The model of the scores given, the scores batch by batch, and every galaxy by falling predicted score."""
    at, events = context(layout), read_table(layout.table(SURVEY, "label_events"))
    made = discovery.anomaly_model.function(at, events, of_start(layout, "pca_model"), whole(layout, "pca_features"))
    for batch in batches(layout, "pca_features"):
        table = read_as_one([layout.table(SURVEY, "pca_features", batch, INIT)])
        scores = discovery.anomaly_scores.function(context(layout, batch), table, made.table)
        write_table(scores.table, layout.table(SURVEY, "anomaly_scores", batch))
    features, found = in_turn(layout, "pca_features"), in_turn(layout, "anomaly_scores")
    scores, _ = discovery.scored_now(at.survey, made.table, found, features)
    table = anomaly_model.ranked(scores, standing(events), at.survey.anomaly.learner)
    write_table(table, layout.table(SURVEY, "anomaly_ranking"))


def anomaly_recall(layout: Layout) -> None:
    """True anomalies down the ranking."""
    ranking = read_table(layout.table(SURVEY, "anomaly_ranking"), ["galaxy_id", "scored_by"])
    catalogue, anomaly = catalogued(layout), context(layout).survey.anomaly
    _, true = discovery.oracle_scores(ranking["galaxy_id"], catalogue, NO_VOTES, anomaly)
    shown = ranking["scored_by"].is_valid().to_numpy(zero_copy_only=False)
    write_table(pa.table(active_learning.recall_curve(true, shown)), layout.table(SURVEY, "anomaly_recall"))


def similar_galaxies(layout: Layout) -> Found:
    """The neighbours of the four best ranked galaxies, and of 20 others one by one."""
    files, settings = in_turn(layout, "pca_features").paths, Similarity()
    ranking = read_table(layout.table(SURVEY, "anomaly_ranking"), ["galaxy_id"])["galaxy_id"]
    survey, recall = survey_files(layout.root).named(SURVEY), 1.0
    if len(ranking) >= settings.exact_below:
        index = make_index(index_path(layout, SURVEY, INIT, files), files, neighbours=settings.neighbours)
        recall = index.recall

    def near(galaxy: str) -> list[dict]:
        found = nearest(layout, survey, INIT, [galaxy], settings.neighbours)
        pairs = enumerate(zip(found.ids, found.distances, strict=True), 1)
        return [{"query_id": galaxy, "neighbour_id": other, "distance": d, "rank": k} for k, (other, d) in pairs]

    rows = [row for galaxy in ranking[:4].to_pylist() for row in near(galaxy)]
    write_table(pa.Table.from_pylist(rows), layout.table(SURVEY, "similar_galaxies"))
    seconds = []
    for galaxy in ranking.take(np.random.default_rng(0).choice(len(ranking), 20)).to_pylist():
        began = time.perf_counter()
        near(galaxy)
        seconds.append(time.perf_counter() - began)
    return {"waited": statistics.median(seconds), "missed": 1 - recall}


def read_model(layout: Layout) -> None:
    """Publish all tables and ask what a person asks: the best ranked with their clusters, sizes, similar galaxies."""
    publish(layout, EXPLORER)
    with connect(layout.root) as lake:
        best = lake.sql(
            f"select galaxy_id, score, cluster from {SURVEY}.anomaly_ranking join {SURVEY}.cluster_labels "
            "using (galaxy_id) order by rank limit 20"
        ).fetchall()
        sizes = lake.sql(f"select cluster, count(*) from {SURVEY}.cluster_labels group by cluster").fetchall()
        [(first,)] = lake.sql(f"select query_id from {SURVEY}.similar_galaxies limit 1").fetchall()
        alike = lake.execute(f"select neighbour_id from {SURVEY}.similar_to([?]) order by rank", [first]).fetchall()
        known = lake.execute(
            f"select neighbour_id from {SURVEY}.similar_galaxies where query_id = ? order by rank", [first]
        ).fetchall()
    missed = len(known) - len({*alike} & {*known})  # by the index, of which the read model knows nothing
    if (
        missed > (sum(count for _, count in sizes) >= Similarity().exact_below)
        or len(best) != 20
        or sum(count for _, count in sizes) < 20
    ):
        raise ValueError(f"the read model answers otherwise than the tables: {alike}, {known}")


STEPS: dict[str, Callable[[Layout], Found | None]] = {
    step.__name__: step
    for step in (
        pca_model,
        pca_features,
        cluster_model,
        cluster_labels,
        label_events,
        anomaly_ranking,
        anomaly_recall,
        similar_galaxies,
        read_model,
    )
}


def alone(step: str, root: Path, limit: int) -> dict:
    """Run one step in a process of its own: `seconds`, `cpu`, `memory` in MB, or `stopped` with the reason."""
    command = [sys.executable, __file__, "--step", step, "--root", str(root), "--limit", str(limit)]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode == 0:
        return json.loads(done.stdout.splitlines()[-1])
    last = (done.stderr.strip().splitlines() or [f"ended with {done.returncode}"])[-1]
    return {"stopped": f"killed by signal {-done.returncode}" if done.returncode < 0 else last}


def here(step: str, root: Path) -> dict:
    """Run one step in this process."""
    wall, cpu = time.perf_counter(), time.process_time()
    found = STEPS[step](Layout(root)) or {}
    return found | {
        "seconds": time.perf_counter() - wall,
        "cpu": time.process_time() - cpu,
        "memory": resident("VmHWM"),
    }


def bare_interpreter() -> float:
    """Resident MB of a Python that has imported nothing."""
    code = "print(next(l.split()[1] for l in open('/proc/self/status') if l.startswith('VmHWM')))"
    return int(subprocess.run([sys.executable, "-c", code], capture_output=True, check=True).stdout) * 1024 / 1e6


def simulate(n: int, folder: Path, width: int, *, processes: bool) -> dict[str, dict]:
    """What each step of a survey of n galaxies cost; ends with the step that was stopped, if one is."""
    root, found = folder / f"{n}", {}
    limit = int(0.9 * psutil.virtual_memory().available)
    deliver(Layout(root), n, width)
    for step in STEPS:
        found[step] = alone(step, root, limit) if processes else here(step, root)
        shown = found[step].get("stopped") or "{seconds:.1f} s, {memory:.0f} MB".format(**found[step])
        print(f"{n:>10,} {step}: {shown}", flush=True, file=sys.stderr)
        if "stopped" in found[step]:
            break
    shutil.rmtree(root)
    return found


def rows(costs: dict[int, dict[str, dict]], bare: float) -> Iterator[Row]:
    """A row per step, at the largest size that it finished, and for the whole survey also one at each size that has a
    target."""
    for step in [*STEPS, "all steps"]:
        done, stopped = {}, None
        for n, found in costs.items():
            parts = [found[s] for s in STEPS if s in found] if step == "all steps" else [found.get(step, {})]
            reason = next((p["stopped"] for p in parts if "stopped" in p), None)
            if reason:
                stopped = f"stopped at {n:,} galaxies: {reason}"
            elif all("seconds" in p for p in parts):
                done[n] = (
                    sum(p["seconds"] for p in parts),
                    sum(p["cpu"] for p in parts),
                    max(p["memory"] for p in parts),
                )
        if not done:
            yield Row("survey_at_scale", step, max(costs), note=stopped)
            continue
        whole_survey = step == "all steps"
        for n in [size for size in done if size == max(done) or (whole_survey and size in TARGET_MB)]:
            sizes = [size for size in done if size <= n]
            seconds, cpu = [done[size][0] for size in sizes], [done[size][1] for size in sizes]
            memory = [done[size][2] - bare for size in sizes]
            yield Row(
                "survey_at_scale",
                step,
                n,
                seconds=seconds[-1],
                cpu_seconds=cpu[-1],
                memory_mb=memory[-1],
                sizes=sizes,
                size_seconds=cpu,
                size_memory_mb=memory,
                exponent=exponent(sizes, cpu) if len(sizes) > 1 else None,
                target_mb=TARGET_MB.get(n) if whole_survey else None,
                target_exponent=TARGET_EXPONENT if whole_survey and len(sizes) > 1 else None,
                note=stopped if n == max(done) else None,
            )


def waits(costs: dict[int, dict[str, dict]]) -> Iterator[Row]:
    """A row for each size of what a person waits for."""
    for case, (step, target) in WAITED.items():
        for n, found in costs.items():
            if (waited := found.get(step, {}).get("waited")) is None:
                continue
            rounds, missed = found[step].get("rounds"), found[step]["missed"]
            whole = found[step].get("whole", math.nan)
            yield Row(
                "survey_at_scale",
                case,
                n,
                seconds=waited,
                rounds=rounds,
                equal=[Equal("share of the exact answer that is missed", missed, 0.05 if rounds else 0.01)],
                target_seconds=target if n >= 10_000_000 else None,
                note=f"{1 - missed:.4f} of the exact answer"
                + (f"; rounds that score all take up to {whole:.2g} s" if math.isfinite(whole) else ""),
            )


def measure(small: bool, sizes: tuple[int, ...] = (), width: int = simulated.WIDTH) -> Iterator[Row]:
    """The survey at each size; small ones in this process."""
    sizes = sizes or (SMALL if small else SIZES)
    with tempfile.TemporaryDirectory(dir=None if small else scratch()) as folder:
        costs = {n: simulate(n, Path(folder), width, processes=not small) for n in sorted(sizes)}
    yield from rows(costs, bare_interpreter() if Path("/proc/self/status").exists() else math.nan)
    yield from waits(costs)


def scratch() -> Path:
    """Where large surveys are simulated: beside the lake, never in it."""
    folder = Layout.default().root / "benchmarks"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def main() -> None:
    """The command line, and of a step's own process."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sizes", nargs="*", type=int, help="galaxies")
    parser.add_argument("--small", action="store_true", help="seconds instead of minutes; nothing is kept")
    parser.add_argument("--width", type=int, default=simulated.WIDTH, help="features of an embedding; at least 29")
    parser.add_argument("--step", choices=STEPS, help=argparse.SUPPRESS)
    parser.add_argument("--root", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--limit", type=int, help=argparse.SUPPRESS)
    given = parser.parse_args()
    logging.getLogger("galaxy_assets").setLevel(logging.ERROR)  # the mixture is stopped on purpose
    if given.step:
        # an error of this process, instead of the kernel's choice of a process when memory is out
        resource.setrlimit(resource.RLIMIT_DATA, (given.limit, given.limit))
        print(json.dumps(here(given.step, given.root)))
        return
    began, found = time.perf_counter(), []
    for row in measure(given.small, tuple(given.sizes), given.width):
        found.append(row)
        print(line(row, judged=not given.small), flush=True)
    if not given.small and given.width == simulated.WIDTH:
        keep("survey_at_scale", found, time.perf_counter() - began)


if __name__ == "__main__":
    main()
