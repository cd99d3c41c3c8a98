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
from pathlib import Path
from typing import Any

from campaign.compare import contents, differences, open_runs, step_at_work
from campaign.world import PUBLICATION, START, SURVEY, Command, Reference, Stage, Step, partials

PARTS = {
    START: r"^start-up$",
    "cataloguing": r"table_1|volunteer_votes|delivered_images|taken_ids|catalogue|image_history|absent_images",
    "cutouts": r"cutouts|artefact_(?!umap)|clean_galaxies|evaluation_subset",
    "training": r"byol_checkpoints|epoch_accuracy",
    "embeddings": r"pretrained_features|embeddings|pca_",
    "UMAP": r"umap",
    "mixture": r"cluster_|vote_fractions|class_membership|training_candidates",
    "ranking": r"baseline_rankings|search_spread|oracle_events|label_events|anomaly_|batch_drift|similar_galaxies",
    "figures": r"figure_|table_2|results",
    PUBLICATION: r"^publication$",
}
"""Part of the command's life -> the steps in it; the first part that matches counts."""


def part_of(step: str) -> str:
    """The part of the command's life in which a step lies; "between" where no step is at work."""
    return next((part for part, steps in PARTS.items() if re.search(steps, step)), "between")


@dataclass(frozen=True)
class Kill:
    """When a kill strikes: in which step, how many seconds after it began, and whether it hits the whole group."""

    step: Step
    delay: float
    group: bool


def planned(reference: Reference, n: int) -> dict[str, Kill]:
    """`n` kills, as many in each part of the command's life, spread over the time that its steps take."""
    rng, kills = random.Random(19), {}
    for number in range(n):
        part = list(PARTS)[number % len(PARTS)]
        steps = [step for step in reference.steps if part_of(step.name) == part]
        at = (number // len(PARTS) + rng.random()) / -(-n // len(PARTS)) * sum(s.seconds for s in steps)
        for step in steps:
            if at <= step.seconds or step == steps[-1]:
                kills[f"{number + 1:02d} {part}"] = Kill(step, min(at, step.seconds), group=number % 2 == 0)
                break
            at -= step.seconds
    return kills


def _comes_to(step: Step, stage: Stage, command: Command, home: Path) -> bool:
    """Wait until the command is at a step; False where it ended first."""
    if step.name == START:
        return True
    if not command.wait_for(stage.pattern):
        return False
    while step.name != PUBLICATION and step_at_work(home) != step.name:
        if command.process.poll() is not None:
            return False
        time.sleep(0.005)
    return True


def struck(reference: Reference, kill: Kill) -> dict[str, Any]:
    """Kill the command so, run it again to its end, and say what is not as after an unkilled run."""
    stage: Stage = reference.stages[kill.step.stage]
    with reference.at(kill.step.stage) as root:
        home = root.parent / ".dagster"
        command = Command(root, "run", SURVEY)
        reached = _comes_to(kill.step, stage, command, home)
        time.sleep(kill.delay)
        ended = command.process.poll() is not None
        if not ended:
            command.send(signal.SIGKILL, kill.group)
        command.process.wait()
        survivors = command.survivors()
        step = step_at_work(home)
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
