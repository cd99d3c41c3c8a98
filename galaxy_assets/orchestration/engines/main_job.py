"""The main job: a survey from its images to its results, as Dagster runs in an order that every engine keeps.

Belongs here: the order of the runs, and what becomes of failures. Does not belong here: where a run is made
(`in_process`, `launched`), which partitions are outdated (`outdated`), what starts by itself (`conditions`, `sensors`).
"""

import functools
import re
from collections import deque
from collections.abc import Generator, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import dagster as dg
from dagster_shared.error import SerializableErrorInfo

from galaxy_assets.lake import read_model
from galaxy_assets.orchestration import course
from galaxy_assets.orchestration.automation.deliveries import register
from galaxy_assets.orchestration.automation.lock import main_job_of
from galaxy_assets.orchestration.automation.outdated import Follow, Outdated, Partition, dimensions, reads
from galaxy_assets.orchestration.declaration import GPU_RUN_TAGS, RUN_TAGS
from galaxy_assets.orchestration.engines.forecast import outdated_or_after
from galaxy_assets.orchestration.engines.stopping import DATA_FOLDER, PROCESS, end_left
from galaxy_assets.orchestration.graph import EXPLORER, keys_of
from galaxy_assets.orchestration.outcome import Outcome
from galaxy_assets.settings.printing import logger
from galaxy_assets.settings.survey import Survey
from galaxy_assets.storage.footers import footers_of
from galaxy_assets.storage.layout import Layout
from galaxy_assets.storage.owners import owner
from galaxy_assets.storage.upkeep import remove_interrupted

log = logger(__name__)

_WHERE_DEFINED = re.compile(r"^(galaxy_assets|dagster)(\.\w+)+: ")
"""What Dagster puts before the words of an error that says all."""
QUIET = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}
"""Configuration of a run whose events are not printed."""
WHOLE = "whole survey"
"""What is said in the place of a partition where there is none."""
NO_STEP = "the run failed before its first step; see it in the UI"


class Wanted(NamedTuple):
    """A run that is to be made.

    Attributes
    ----------
    assets : list of dagster.AssetKey
        All of one partition.
    partition : str, dagster.MultiPartitionKey or None
    tags : dict of str to str
        Of the run.
    pools : set of str
        That its steps take a slot of.
    """

    assets: list[dg.AssetKey]
    partition: str | dg.MultiPartitionKey | None
    tags: dict[str, str]
    pools: set[str]


class Ran(NamedTuple):
    """A run that has ended.

    Attributes
    ----------
    made : set of dagster.AssetKey
        What it materialised.
    error : str
        Why the rest is missing.
    seconds : float
    """

    made: set[dg.AssetKey]
    error: str
    seconds: float


class Runs(Protocol):
    """Where the runs of a main job are made: what an engine is beside the order of the runs.

    Attributes
    ----------
    at_once : int
        So many runs may be under way together.
    apart : bool
        Whether a run that holds a GPU keeps it from others, so that it has no other steps.
    """

    at_once: int
    apart: bool

    def start(self, wanted: Wanted) -> str:
        """Start a run and return its id; it may have ended by then."""
        ...

    def ended(self) -> Mapping[str, Ran]:
        """Wait until a run has ended; each is told once, by its id."""
        ...


class Stage(NamedTuple):
    """Assets of a survey that share their partitions and can run together once the stages before have.

    Attributes
    ----------
    assets : list of dagster.AssetKey
    by : tuple of str
        What they are partitioned by.
    """

    assets: list[dg.AssetKey]
    by: tuple[str, ...]


def stages(graph: Any, survey: str, apart: bool = False) -> list[Stage]:
    """The survey's asset graph cut into stages.

    One Dagster run materialises one partition of assets that share their partitions, so the path from images to results
    is a sequence of runs.

    Parameters
    ----------
    graph : asset graph of Dagster
    survey : str
    apart : bool
        Assets that take a GPU are in stages of their own, so that no run holds one without need.

    Returns
    -------
    list of Stage
        In the order in which they run.
    """
    keys = keys_of(graph, survey)
    done: set[dg.AssetKey] = set()
    found: list[Stage] = []
    while len(done) < len(keys):
        ready = [key for key in keys if key not in done and _parents(graph, key) <= done]
        kind = _kind(graph, ready[0], apart)
        stage: list[dg.AssetKey] = []
        for key in (key for key in keys if key not in done and _kind(graph, key, apart) == kind):
            if _parents(graph, key) <= done | set(stage):
                stage.append(key)
        done |= set(stage)
        found.append(Stage(stage, kind[0]))
    return found


def _kind(graph: Any, key: dg.AssetKey, apart: bool) -> tuple[tuple[str, ...], bool]:
    """What assets of one stage have in common."""
    node = graph.get(key)
    return dimensions(node.partitions_def), apart and "gpu" in (node.pools or ())


def _parents(graph: Any, key: dg.AssetKey) -> set[dg.AssetKey]:
    """Assets of the same survey that the asset reads."""
    return {read.asset for read in reads(graph, key)}


def materialise(
    defs: dg.Definitions,
    survey: Survey,
    known: Mapping[str, Survey],
    instance: dg.DagsterInstance,
    root: Path,
    runs: Runs,
    follow: Follow | None = None,
) -> Iterator[Outcome]:
    """Materialise a survey from its images to its results, yielding outcomes as runs end.

    Runs go through the given instance, so the UI over the same store shows them. A partition that is up to date (code,
    settings, inputs and files) is not run again: killed, the next call goes on where this one stopped. A failure is
    reported and left; only what reads it is skipped, so that missing weights cost their own start weights alone. Tables
    that could not be made anew stay as they were, and are outdated.

    Parameters
    ----------
    defs : dagster.Definitions
        What `definitions.build_defs` makes over `root`.
    survey : Survey
    known : mapping of str to Survey
        All surveys by name, for start weights taken from another.
    instance : dagster.DagsterInstance
    root : Path
        The data folder.
    runs : Runs
        Where they are made.
    follow : {"refit", "retrain"}, optional
        `refit` fits PCA, mixture, maps and the oracle's session anew to all deliveries; `retrain` trains too.

    Yields
    ------
    Outcome

    Raises
    ------
    SurveyError
        Where there is no delivery.
    AtWork
        Where another main job of the survey is at work.
    """
    layout = Layout(root)
    with main_job_of(survey.name, layout):
        end_left(instance, survey.name, root)
        remove_interrupted(layout)
        found = register(survey, instance, layout)
        for row in found.ledger.to_pylist():
            if row["state"] in ("held", "arriving"):
                yield Outcome(survey.name, ["catalogue"], row["delivery"], row["state"], error=row["reason"])
        yield from MainJob(defs, survey, known, runs, layout, found.batches, follow).outcomes()
        footers_of(layout, survey.name).keep()
    read_model.publish(layout, EXPLORER)


@dataclass
class MainJob:
    """The runs of one main job, in the order of the stages.

    Attributes
    ----------
    defs : dagster.Definitions
    survey : Survey
    known : mapping of str to Survey
        All surveys by name.
    runs : Runs
        Where they are made.
    layout : Layout
        The data folder.
    batches : list of str
        The deliveries that are registered.
    follow : {"refit", "retrain"} or None
        What is made anew, see `run_survey`.
    broken : set of (asset, batch, init)
        What could not be made; what reads it is skipped.
    """

    defs: dg.Definitions
    survey: Survey
    known: Mapping[str, Survey]
    runs: Runs
    layout: Layout
    batches: list[str]
    follow: Follow | None
    broken: set[tuple[dg.AssetKey, str | None, str | None]] = field(default_factory=set)

    @functools.cached_property
    def graph(self) -> Any:
        """The asset graph."""
        return self.defs.resolve_asset_graph()

    def rule(self) -> Outdated:
        """What is outdated now; it reads the lake anew."""
        return Outdated(self.graph, self.survey, self.known, self.layout, self.batches, self.follow)

    def outcomes(self) -> Iterator[Outcome]:
        """Make what is outdated, stage by stage; within a stage partitions do not wait for each other."""
        found = stages(self.graph, self.survey.name, self.runs.apart)
        if course.followed():
            course.tell(self._planned(found))
        for stage in found:
            rule = self.rule()  # partitions of a stage do not read each other
            waiting = deque(rule.partitions(stage.assets[0]))
            under_way: dict[str, Steps] = {}
            while waiting or under_way:
                while waiting and len(under_way) < self.runs.at_once:
                    yield from self._go_on(self._partition(stage, waiting.popleft(), rule), None, under_way)
                for run, ran in self.runs.ended().items() if under_way else ():
                    yield from self._go_on(under_way.pop(run), ran, under_way)

    def _planned(self, found: list[Stage]) -> course.Planned:
        """Every table, and whether it may have to be made."""
        by_asset = {asset: stage for stage in found for asset in stage.assets}
        outdated = outdated_or_after(self.rule(), by_asset)
        named = {(asset.path[-1], _key_text(by_asset[asset], part)): out for (asset, part), out in outdated.items()}
        return course.Planned(named, self.runs.at_once)

    def _go_on(self, steps: "Steps", ran: Ran | None, under_way: dict[str, "Steps"]) -> Iterator[Outcome]:
        """Take a partition, whose last run is given, on to its next run."""
        try:
            said = next(steps) if ran is None else steps.send(ran)
            while isinstance(said, Outcome):
                yield said
                said = next(steps)
        except StopIteration:
            return
        log.info("%s [%s]: %s", self.survey.name, said.partition or WHOLE, ", ".join(_names(said.assets)))
        under_way[self.runs.start(said)] = steps

    def _partition(self, stage: Stage, partition: Partition, rule: Outdated) -> "Steps":
        """Make what is outdated of one partition of a stage."""
        ready = list(stage.assets)
        yield from self._skip(ready, stage, partition)
        tried: set[dg.AssetKey] = set()
        # again after each run: whether what follows is outdated shows only when what it reads was made
        while wanted := _outdated(rule, ready, tried, partition):
            stopped = {asset: why for asset in wanted if (why := rule.stopped(asset, partition))}
            if stopped:
                for why in dict.fromkeys(stopped.values()):
                    yield self._lose([a for a in stopped if stopped[a] == why], stage, partition, "blocked", error=why)
                ready = [asset for asset in ready if asset not in stopped]
                yield from self._skip(ready, stage, partition)
                continue
            tried |= set(wanted)
            rule = yield from self._run(wanted, stage, partition)
            cut_off = self._cut_off(ready, stage, partition)
            ready = [asset for asset in ready if asset not in cut_off]
        if fresh := [asset for asset in ready if asset not in tried]:
            yield Outcome(self.survey.name, _names(fresh), _partition_key(stage, partition), "fresh")

    def _run(
        self, wanted: list[dg.AssetKey], stage: Stage, partition: Partition
    ) -> Generator[Outcome | Wanted, Ran, Outdated]:
        """Materialise assets of a stage's partition in one Dagster run, and look at what is there after it."""
        key = _partition_key(stage, partition)
        pools = {pool for asset in wanted for pool in self.graph.get(asset).pools or ()}
        whose = {"survey": self.survey.name, DATA_FOLDER: str(self.layout.root), PROCESS: owner()}
        tags = RUN_TAGS | whose | (GPU_RUN_TAGS if "gpu" in pools else {})
        ran = yield Wanted(wanted, key, tags, pools)
        for asset in wanted:  # which may have been made on another host
            footers_of(self.layout, self.survey.name).look_again(asset.path[-1], partition)
        rule, lost = self.rule(), [asset for asset in wanted if asset not in ran.made]
        stopped = [asset for asset in lost if rule.stopped(asset, partition)]
        if failed := [asset for asset in lost if asset not in stopped]:
            yield self._lose(failed, stage, partition, "failed", ran.seconds, ran.error)
        for asset in stopped:
            yield self._lose([asset], stage, partition, "blocked", error=rule.stopped(asset, partition) or "")
        if made := [asset for asset in wanted if asset in ran.made]:
            yield Outcome(self.survey.name, _names(made), key, "done", ran.seconds)
        return rule

    def _lose(
        self,
        assets: list[dg.AssetKey],
        stage: Stage,
        partition: Partition,
        status: str,
        seconds: float = 0.0,
        error: str = "",
    ) -> Outcome:
        """Note that assets could not be made. Their tables of an earlier run stay, and are outdated."""
        own = dict(zip(stage.by, partition, strict=True))
        self.broken |= {(asset, own.get("batch"), own.get("init")) for asset in assets}
        return Outcome(self.survey.name, _names(assets), _partition_key(stage, partition), status, seconds, error)

    def _skip(self, ready: list[dg.AssetKey], stage: Stage, partition: Partition) -> Iterator[Outcome]:
        """Take what reads something broken out of `ready`."""
        if cut_off := self._cut_off(ready, stage, partition):
            read = {parent for asset in cut_off for parent in self.graph.get(asset).parent_keys}
            broken = sorted({asset.path[-1] for asset, _, _ in self.broken if asset in read})
            why = f"what it reads was not made: {', '.join(broken)}"
            yield self._lose(cut_off, stage, partition, "skipped", error=why)
            ready[:] = [asset for asset in ready if asset not in cut_off]

    def _cut_off(self, assets: list[dg.AssetKey], stage: Stage, partition: Partition) -> list[dg.AssetKey]:
        """Assets that read something broken of their batch and start weights, directly or through each other.

        An asset without batches reads all of them; one without start weights reads the main ones and can do without the
        others.
        """
        own = dict(zip(stage.by, partition, strict=True))
        batch, starts = own.get("batch"), (None, own.get("init", self.survey.main_start_weights))
        found: list[dg.AssetKey] = []
        for asset in assets:
            parents = self.graph.get(asset).parent_keys
            broken = any(p in parents and (None in (b, batch) or b == batch) and i in starts for p, b, i in self.broken)
            if broken or parents & set(found):
                found.append(asset)
        return found


Steps = Generator[Outcome | Wanted, Ran, None]
"""What becomes of a partition: it asks for runs and is sent each when it has ended."""


def _outdated(
    rule: Outdated, ready: list[dg.AssetKey], tried: set[dg.AssetKey], partition: Partition
) -> list[dg.AssetKey]:
    """Assets to run together now: the outdated ones, less those that may turn out outdated again.

    They read, through an up-to-date asset, something that is made anew.
    """
    wanted: list[dg.AssetKey] = []
    perhaps: set[dg.AssetKey] = set()
    for asset in ready:  # in the order of the graph
        parents = _parents(rule.graph, asset)
        outdated = asset not in tried and rule.why(asset, partition) is not None
        if outdated and not parents & perhaps:
            wanted.append(asset)
        elif parents & (set(wanted) | perhaps):
            perhaps.add(asset)
    return wanted


def _partition_key(stage: Stage, partition: Partition) -> str | dg.MultiPartitionKey | None:
    if len(partition) > 1:
        return dg.MultiPartitionKey(dict(zip(stage.by, partition, strict=True)))
    return partition[0] if partition else None


def _key_text(stage: Stage, partition: Partition) -> str | None:
    key = _partition_key(stage, partition)
    return None if key is None else str(key)


def _names(assets: list[dg.AssetKey]) -> list[str]:
    return [asset.path[-1] for asset in assets]


def no_batch(wanted: Wanted) -> str:
    """What to say of a run whose partition is in Dagster's records no more."""
    return f"{wanted.partition} is no batch any more: its delivery was renamed or removed meanwhile; run it again"


def reason(events: Iterable[dg.DagsterEvent]) -> str:
    """Why a run failed.

    Parameters
    ----------
    events : iterable of dagster.DagsterEvent
        Of the run.

    Returns
    -------
    str
        The error of the first step that failed or was tried again, or what ended the run before its first step, out of
        those that Dagster puts around it.
    """
    before = None
    for event in events:
        if event.is_step_failure or event.is_step_up_for_retry:
            error = event.step_failure_data.error if event.is_step_failure else event.step_retry_data.error
            return _words(error) if error is not None else f"step {event.step_key} gave no reason"
        if event.is_run_failure and event.event_specific_data is not None:
            before = event.job_failure_data.error
    return _words(before) if before is not None else NO_STEP


def _words(error: SerializableErrorInfo) -> str:
    while error.cause is not None and (error.cls_name or "").startswith("Dagster"):
        error = error.cause
    return _WHERE_DEFINED.sub("", error.message.strip())
