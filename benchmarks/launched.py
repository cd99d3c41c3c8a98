"""Two deliveries at once beside one after the other, and what is left when workers are killed.

    PYTHONPATH=. python benchmarks/launched.py speed [--batches 8] [--images 400] [--threads 1]
    PYTHONPATH=. python benchmarks/launched.py faults [--kills 20] [--in-turn 1] [--ray]

`speed` cuts and embeds simulated deliveries by the engine `launched`, with `--at-once 1` and with `--at-once 2`, and
prints the ratio of the seconds from the first start to the last end of the runs that do. A worker has so many threads
as `--threads` says, one where each has a core of its own as in a container, and the pool `gpu` has a slot for each.
`faults` makes a small survey
again and again: each time the worker of a run under way is killed at a random moment, after which the next command must
complete, with the tables of an unkilled survey and no slot of a pool held. With `--in-turn N` the next command has a
worker killed as well, until N are, and only the one after that must complete. With `--ray` workers are jobs of two Ray
nodes on 127.0.0.2 and 127.0.0.3, with Dagster in PostgreSQL, as in `make cluster-demo`.

Belongs here: the survey, the seconds, the kills. Does not belong here: the engine; kills of the command itself
(`campaign`).
"""

import argparse
import os
import random
import re
import shutil
import signal
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import cluster
import dagster as dg
import yaml
from campaign.compare import contents, differences

from galaxy_assets.definitions import build_defs
from galaxy_assets.deliveries.readers import open_reader
from galaxy_assets.orchestration.engines import launched
from galaxy_assets.orchestration.outcome import Outcome
from galaxy_assets.science.threads import FIXED
from galaxy_assets.settings.files import survey_files

POOLS = {"concurrency": {"pools": {"granularity": "op", "default_limit": 1}}}
MEASURED = ("cutouts", "embeddings")
_IDS = dg.RunsFilter(statuses=[dg.DagsterRunStatus.STARTED])


def write_survey(root: Path, batches: int, images: int, backbone: str, side: int) -> None:
    """Write a survey of simulated deliveries of so many images each, embedded by a network of random weights."""
    import timm
    import torch
    from safetensors.torch import save_file

    settings = {
        "extends": "demo_optical",
        "name": "many",
        "source": {"path": "many", "batches": [f"b{i:02d}" for i in range(batches)], "n_images": batches * images},
        "start_weights": ["imagenet"],
        "recipe": {"backbone": backbone, "image_size": side, "epochs": 0},
        "mixture": {"components": 4, "n_init": 1, "max_iter": 50},
        "anomaly": {"seeds": 6, "per_round": 4, "budget": 18},
    }
    (root / "surveys").mkdir(parents=True)
    (root / "surveys/many.yaml").write_text(yaml.safe_dump(settings))
    (root / "weights").mkdir()
    torch.manual_seed(7)
    state = timm.create_model(backbone, pretrained=False).state_dict()
    save_file(state, root / "weights" / f"{backbone}.safetensors")
    open_reader(survey_files(root).known["many"].source, root / "raw")  # draws the images


@contextmanager
def kept_instance(folder: Path) -> Iterator[dg.DagsterInstance]:
    """An instance with pools as `dagster.yaml` has them."""
    folder.mkdir(exist_ok=True)
    with dg.DagsterInstance.local_temp(str(folder), overrides=POOLS) as instance:
        yield instance


@contextmanager
def ray_instance(folder: Path) -> Iterator[dg.DagsterInstance]:
    """An instance that hands runs to two Ray nodes, which are there as long."""
    with cluster.nodes(folder) as shared, dg.DagsterInstance.get() as instance:
        yield instance
        print(f"runs of each node: {dict(cluster.runs_of_nodes(shared['RAY_API_SERVER_ADDRESS']))}")


def outcomes(root: Path, instance: dg.DagsterInstance, at_once: int, until: str = "") -> list[tuple[float, Outcome]]:
    """Make the survey, or until an asset is made of all deliveries, each outcome with the time it came."""
    known, told = survey_files(root).known, []
    left = len(known["many"].source.batches)
    with closing(launched.run_survey(build_defs(root), known["many"], known, instance, root, at_once=at_once)) as runs:
        for outcome in runs:
            told.append((time.monotonic(), outcome))
            print(f"  {outcome.status:8s}{', '.join(outcome.assets)} [{outcome.partition}] {outcome.error}", flush=True)
            left -= until in outcome.assets and outcome.status in ("done", "fresh")
            if not left:
                break
    return told


def speed(folder: Path, batches: int, images: int, threads: int) -> None:
    """Print the seconds of both ways, and their ratio."""
    os.environ[FIXED] = str(threads)  # the workers have it from here
    write_survey(folder / "data", batches, images, "tf_efficientnet_lite0", 128)
    seconds = {}
    for at_once in (1, 2):
        root = shutil.copytree(folder / "data", folder / f"at_once_{at_once}")
        with kept_instance(folder / f"dagster_{at_once}") as instance:
            instance.event_log_storage.set_concurrency_slots("gpu", at_once)
            told = outcomes(root, instance, at_once, MEASURED[-1])
        seconds[at_once] = 0.0
        for asset in MEASURED:
            of_asset = [(at, outcome) for at, outcome in told if asset in outcome.assets]
            assert len(of_asset) == batches and {outcome.status for _, outcome in of_asset} == {"done"}
            seconds[at_once] += max(at for at, _ in of_asset) - min(at - o.seconds for at, o in of_asset)
    ratio, load = seconds[1] / seconds[2], os.getloadavg()[0]
    print(f"at once 1: {seconds[1]:.0f} s, at once 2: {seconds[2]:.0f} s, ratio {ratio:.2f} (load {load:.1f})")


def faults(folder: Path, kills: int, in_turn: int, ray: bool) -> None:
    """Kill workers, so many of each survey, and compare what the next command leaves."""
    write_survey(folder / "data", 2, 24, "test_efficientnet", 32)
    root = shutil.copytree(folder / "data", folder / "made")  # always the same: a Dagster knows one data folder
    with (ray_instance if ray else kept_instance)(folder / "dagster") as instance:
        begun = time.monotonic()
        outcomes(root, instance, 2)
        whole, expected, chance = time.monotonic() - begun, contents(root), random.Random(0)
        bad = done = 0
        while done < kills:
            shutil.rmtree(root)
            shutil.copytree(folder / "data", root)
            for left in range(min(in_turn, kills - done), 0, -1):
                done += _killed(root, instance, chance.uniform(0, 0.95 * whole / left))
            again = outcomes(root, instance, 2)
            held = instance.event_log_storage.get_concurrency_info("gpu").claimed_slots
            under_way = instance.get_runs(_IDS)
            unlike = differences(expected, contents(root))
            wrong = {outcome.status for _, outcome in again} - {"done", "fresh"}
            bad += bool(unlike or wrong or held or under_way)
            print(
                f"{done} killed; then {wrong or 'all made'}, {len(held)} slots held, {len(under_way)} runs open, "
                f"differs in {unlike or 'nothing'}",
                flush=True,
            )
    print(f"{done} kills, {bad} surveys with a loss")


def _killed(root: Path, instance: dg.DagsterInstance, moment: float) -> bool:
    """Make the survey with a worker killed after so many seconds, and whether one was before it was over."""
    over = threading.Event()
    killed = _kill_later(instance, moment, over)
    told = outcomes(root, instance, 2)
    over.set()
    lost = [outcome.error for _, outcome in told if outcome.status == "failed"]
    print(f"killed after {moment:.0f} s: run {killed}, told {lost}", flush=True)
    return bool(killed)


def _kill_later(instance: dg.DagsterInstance, moment: float, over: threading.Event) -> list[str]:
    """Kill a worker that is at work after so many seconds, or the next one, until it is over; the list gets its run's
    id.
    """
    killed: list[str] = []

    def kill() -> None:
        over.wait(moment)
        while not over.is_set():
            for run in instance.get_runs(_IDS):
                said = [
                    entry.dagster_event.message or "" for entry in instance.all_logs(run.run_id) if entry.dagster_event
                ]
                pids = [found[1] for text in said if (found := re.search(r"\(pid: (\d+)\)", text))]
                if pids:
                    os.kill(int(pids[-1]), signal.SIGKILL)
                    killed.append(run.run_id)
                    return
            time.sleep(0.1)

    threading.Thread(target=kill, daemon=True).start()
    return killed


def main() -> None:
    """Do what the command line says, in a folder that is removed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["speed", "faults"])
    parser.add_argument("--batches", type=int, default=8)
    parser.add_argument("--images", type=int, default=400, help="of a delivery")
    parser.add_argument("--threads", type=int, default=1, help="of a worker")
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--in-turn", type=int, default=1, help="kills of a survey before a command must complete")
    parser.add_argument("--ray", action="store_true", help="workers are jobs of two Ray nodes")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        if arguments.what == "speed":
            speed(Path(folder), arguments.batches, arguments.images, arguments.threads)
        else:
            faults(Path(folder), arguments.kills, arguments.in_turn, arguments.ray)


if __name__ == "__main__":
    main()
