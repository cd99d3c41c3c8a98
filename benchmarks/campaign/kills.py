"""SIGKILL over the whole life of `galaxy-assets run`, and what the same command makes of it afterwards.

Half of the kills hit the whole process group, half the command's own process, so that a child that outlives it shows.

Belongs here: when a kill strikes, and what must hold after it. Does not belong here: other ends of a process.
"""

import random
import re
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

from campaign.compare import contents, differences, open_runs, step_at_work
from campaign.world import PUBLICATION, START, SURVEY, Command, Reference, Stage, partials

PARTS = {
    START: r"^start-up$",
    "cataloguing": r"table_1|volunteer_votes|catalogue|image_history|absent_images",
    "cutouts": r"cutouts|artefact_(?!umap)|clean_galaxies|evaluation_subset",
    "training": r"byol_checkpoints|epoch_accuracy",
    "embeddings": r"pretrained_features|embeddings|pca_",
    "UMAP": r"umap",
    "mixture": r"cluster_|vote_fractions|class_membership|training_candidates",
    "ranking": r"baseline_rankings|oracle_events|label_events|anomaly_|batch_drift|similar_galaxies",
    "figures": r"figure_|table_2|results",
    PUBLICATION: r"^publication$",
}
"""Part of the command's life -> the steps in it; the first part that matches counts."""


def part_of(step: str) -> str:
    """The part of the command's life in which a step lies; "between" where no step is at work."""
    return next((part for part, steps in PARTS.items() if re.search(steps, step)), "between")


@dataclass(frozen=True)
class Kill:
    """When a kill strikes: in which stage, how many seconds after it began, and whether it hits the whole group."""

    stage: int
    delay: float
    group: bool


def planned(reference: Reference, n: int) -> dict[str, Kill]:
    """`n` kills, as many in each part of the command's life, spread over the time that its steps take."""
    rng, kills = random.Random(19), {}
    spans: dict[str, list[tuple[int, float, float]]] = {part: [] for part in PARTS}
    for step in reference.steps:
        if (part := part_of(step.name)) in spans:
            spans[part].append((step.stage, step.begins, step.ends))
    for number in range(n):
        part = list(PARTS)[number % len(PARTS)]
        whole = sum(end - begin for _, begin, end in spans[part])
        at = (number // len(PARTS) + rng.random()) / -(-n // len(PARTS)) * whole
        for stage, begin, end in spans[part]:  # noqa: B007, the one that holds the time is used below
            if at <= end - begin:
                break
            at -= end - begin
        kills[f"{number + 1:02d} {part}"] = Kill(stage, begin + min(at, end - begin), group=number % 2 == 0)
    return kills


def struck(reference: Reference, kill: Kill) -> dict[str, Any]:
    """Kill the command so, run it again to its end, and say what is not as after an unkilled run."""
    stage: Stage = reference.stages[kill.stage]
    with reference.at(kill.stage) as root:
        home = root.parent / ".dagster"
        command = Command(root, "run", SURVEY)
        reached = stage.name == START or command.wait_for(stage.pattern)
        time.sleep(kill.delay)
        ended = command.process.poll() is not None
        if not ended:
            command.send(signal.SIGKILL, kill.group)
        command.process.wait()
        survivors = command.survivors()
        step = step_at_work(home) if home.exists() else ""
        left = partials(root)
        again = Command(root, "run", SURVEY)
        code = again.wait()
        wrong = [f"outlived the kill: {name}" for name in survivors]
        wrong += [f"left after the next run: {name}" for name in partials(root)]
        wrong += [f"still running for Dagster: {run}" for run in open_runs(home)]
        wrong += differences(reference.contents, contents(root))
    if code:
        wrong = [f"the run after it ended with {code}: {again.end}", *wrong]
    if stage.name in (START, PUBLICATION):
        step = stage.name
    return {
        "stage": stage.name,
        "struck": "nothing: it had ended" if ended or not reached else step or "between two steps",
        "part": "none" if ended or not reached else part_of(step),
        "delay": round(kill.delay, 2),
        "whole group": kill.group,
        "left by the kill": left,
        "wrong": wrong,
    }


def cases(reference: Reference, n: int = 50) -> dict[str, Callable[[], dict[str, Any]]]:
    """The kills by name."""
    return {name: partial(struck, reference, kill) for name, kill in planned(reference, n).items()}


def figures(found: list[dict[str, Any]]) -> dict[str, Any]:
    """What is counted."""
    return {
        "kills": len(found),
        "struck": {part: sum(c["part"] == part for c in found) for part in [*PARTS, "between", "none"]},
        "equal afterwards": sum(not any("->" in w for w in c["wrong"]) for c in found),
        "kills that left unfinished files": sum(bool(c["left by the kill"]) for c in found),
        "unfinished files after the next run": sum("left after" in w for c in found for w in c["wrong"]),
        "processes that outlived a kill": sum("outlived" in w for c in found for w in c["wrong"]),
    }
