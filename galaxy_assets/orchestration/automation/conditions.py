"""What follows a new delivery by itself: when an asset's partition is requested.

Belongs here: the automation conditions. Does not belong here: which partitions are outdated (`outdated`), sensors.

Nothing of a survey starts by itself before a person has run it once. Then

    what is made per batch, and what that reads     at once, as soon as all that it reads is up to date
    models among these     where a new checkpoint or new settings outdate them, never for being absent
    label events, ranking, similarity               at once
    everything else        at once too, but once a day at most: tables and figures over the whole survey
"""

import functools
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import dagster as dg
from dagster._core.definitions.events import AssetKeyPartitionKey

from galaxy_assets.orchestration.automation.lock import main_job_runs
from galaxy_assets.orchestration.automation.outdated import NEVER_MADE, Outdated, Partition
from galaxy_assets.orchestration.automation.stopped import Again, Stopped
from galaxy_assets.orchestration.graph import ASSETS
from galaxy_assets.orchestration.io_manager import partition_path
from galaxy_assets.settings.files import edited_since
from galaxy_assets.settings.survey import Survey
from galaxy_assets.storage.footers import footers_of
from galaxy_assets.storage.layout import Layout

NIGHTLY = "30 2 * * *"
_AGAIN = 3
"""Times that a partition is requested again of which a run was stopped."""
_LATER = 3600.0
"""Seconds until one is requested again for which a disk was full, or a bucket or a database away."""
_Found = TypeVar("_Found")


class _Request(NamedTuple):
    """A request that a cursor remembers: what the partition would be made from, and whether it is requested again.

    `again` is how often it was, and `_AGAIN` also where it failed of itself; `after` is when it will be, as a time
    stamp. Of either Dagster's records are not asked at every tick.
    """

    made_from: str
    again: int = 0
    after: float = 0.0


def with_conditions(
    survey: Survey, known: Mapping[str, Survey], assets: list[dg.AssetsDefinition], root: Path
) -> list[dg.AssetsDefinition]:
    """A survey's assets, each with its condition.

    Parameters
    ----------
    survey : Survey
    known : mapping of str to Survey
        All surveys by name, for start weights taken from another.
    assets : list of dagster.AssetsDefinition
    root : Path
        The data folder.

    Returns
    -------
    list of dagster.AssetsDefinition
    """
    at_once = _at_once()

    def conditioned(spec: dg.AssetSpec) -> dg.AssetSpec:
        name = spec.key.path[-1]
        outdated = LakeOutdated(survey, known, root, absent=not ASSETS[name].fits)
        return spec.replace_attributes(automation_condition=_condition(outdated, name in at_once))

    return list(dg.map_asset_specs(conditioned, assets))


def _at_once() -> set[str]:
    """Names of the assets that are made as soon as all they read is there: those declared so, and what they read."""
    found: set[str] = set()
    waiting = [asset.name for asset in ASSETS.values() if asset.trigger == "at_once"]
    while waiting := [name for name in waiting if name not in found]:
        found |= set(waiting)
        waiting = [read for name in waiting for read in ASSETS[name].reads]
    return found


def _condition(outdated: "LakeOutdated", at_once: bool) -> dg.AutomationCondition:
    idle = ~dg.AutomationCondition.in_progress() & ~dg.AutomationCondition.any_deps_in_progress()
    if at_once:
        return (idle & outdated).with_label("outdated in the lake")
    daily = dg.AutomationCondition.cron_tick_passed(NIGHTLY).since_last_handled()
    return (idle & daily & outdated).with_label("outdated in the lake, once a day")


class LakeOutdated(dg.AutomationCondition):
    """Partitions that are outdated while all they read is up to date, or is requested in the same run.

    Each is requested once for what it would be made from: a failure is not repeated until something that it reads has
    changed. A run that was stopped, or whose worker was lost, tells nothing of the asset, which is requested again,
    three times at most; one that failed for a full disk, or a bucket that is away, is repeated every hour.

    Parameters
    ----------
    survey : Survey
    known : mapping of str to Survey
        All surveys by name, for start weights taken from another.
    root : Path
        The data folder.
    absent : bool
        Request also partitions that were never made.
    """

    def __init__(self, survey: Survey, known: Mapping[str, Survey], root: Path, absent: bool):
        self.survey, self.known, self.root, self.absent = survey, known, root, absent

    @property
    def name(self) -> str:
        """The condition's name in the UI."""
        return "lake_outdated"

    @property
    def description(self) -> str:
        """The condition in words, for the UI."""
        return "Its table in the lake is absent or made from something else than there is now"

    def evaluate(self, context: dg.AutomationContext) -> dg.AutomationResult:
        """Choose the candidates to request now.

        Parameters
        ----------
        context : dagster.AutomationContext

        Returns
        -------
        dagster.AutomationResult

        Raises
        ------
        dagster.Failure
            Where the survey's file was edited since; says what to do.
        """
        layout, requested = Layout(self.root), _requests(context.cursor)
        if not _started(self.survey, layout) or _main_job_runs(self.survey, layout, context):
            return dg.AutomationResult(context, context.get_empty_subset(), cursor=json.dumps(requested))
        if edited := _edited(self.survey, self.known, layout, context):
            raise dg.Failure(edited)  # else runs, of which each reads the file, make what stays outdated here
        rule = _rule(self.survey, self.known, layout, context)
        wanted: dict[Any, _Request] = {}
        # of what is up to date nothing is remembered: a cursor is read and written at every tick
        before: dict[str, _Request] = {}
        stopped, at = Stopped(context.asset_graph_view.instance, context.key), context.evaluation_time.timestamp()
        for partition in rule.partitions(context.key):
            if (reason := rule.why(context.key, partition)) is None:
                continue
            key = _key(context.partitions_def, partition)
            if str(key) in requested:
                before[str(key)] = requested[str(key)]
            if reason == NEVER_MADE and not self.absent:
                continue
            if rule.stopped(context.key, partition):
                continue
            if not all(_comes_along(context, read, key) for read in rule.waits_for(context.key, partition)):
                continue
            made_from = rule.fingerprint(context.key, partition)
            last = requested.get(str(key), _Request(""))
            ask, remembered = True, _Request(made_from)
            if last.made_from == made_from:
                ask, remembered = _again(last, at, functools.partial(stopped, None if key is None else str(key)))
            if ask:
                wanted[AssetKeyPartitionKey(context.key, key)] = remembered
            else:
                before[str(key)] = remembered
        view = context.asset_graph_view
        subset = view.get_asset_subset_from_asset_partitions(context.key, set(wanted))
        subset = subset.compute_intersection(context.candidate_subset)
        asked = {str(one.partition_key) for one in subset.expensively_compute_asset_partitions()}
        now = {str(one.partition_key): how for one, how in wanted.items() if str(one.partition_key) in asked}
        return dg.AutomationResult(context, subset, cursor=json.dumps(before | now))


def _again(last: _Request, now: float, stopped: Callable[[], Again | None]) -> tuple[bool, _Request]:
    """Whether to request now what was requested before, and what is remembered of it; `stopped` is asked if need be."""
    if last.after:
        return (True, last._replace(after=0.0)) if last.after <= now else (False, last)
    again = stopped() if last.again < _AGAIN else None
    if again == "later":
        return False, last._replace(after=now + _LATER)
    if again == "never":
        return False, last._replace(again=_AGAIN)
    return (True, last._replace(again=last.again + 1)) if again == "at_once" else (False, last)


def _requests(cursor: str | None) -> dict[str, _Request]:
    """What a cursor remembers, by partition."""
    told = json.loads(cursor or "{}")
    return {key: _Request(one) if isinstance(one, str) else _Request(*one) for key, one in told.items()}


def _main_job_runs(survey: Survey, layout: Layout, context: dg.AutomationContext) -> bool:
    """Whether a main job is at work at this tick; asked once, since who asks holds its lock for a moment."""
    return _once_a_tick("main job", survey, layout, context, lambda: main_job_runs(survey.name, layout))


def _edited(survey: Survey, known: Mapping[str, Survey], layout: Layout, context: dg.AutomationContext) -> str | None:
    return _once_a_tick("edited", survey, layout, context, lambda: edited_since(survey, known, layout.root))


def _key(partitions: dg.PartitionsDefinition | None, partition: Partition) -> str | None:
    if isinstance(partitions, dg.MultiPartitionsDefinition):
        return dg.MultiPartitionKey(dict(zip(("batch", "init"), partition, strict=True)))
    return partition[0] if partition else None


def _started(survey: Survey, layout: Layout) -> bool:
    """Whether the survey was run by a person: its main representation is there."""
    return layout.table(survey.name, "pca_model", survey.main_start_weights).exists()


def _comes_along(context: dg.AutomationContext, read: tuple[dg.AssetKey, Partition], key: str | None) -> bool:
    """Whether what is read will be made in the same run as the partition `key` of the reader."""
    asset, partition = read
    subset = context.request_subsets_by_key.get(asset)
    if subset is None or context.asset_graph.get(asset).partitions_def != context.partitions_def:
        return False
    return partition_path(context.partitions_def, key) == partition and any(
        requested.partition_key == key for requested in subset.expensively_compute_asset_partitions()
    )


def _rule(survey: Survey, known: Mapping[str, Survey], layout: Layout, context: dg.AutomationContext) -> Outdated:
    """The rule at this tick, shared by all assets of a survey: it reads the lake once."""

    def begin() -> Outdated:
        footers_of(layout, survey.name).keep()
        batches = context.asset_graph_view.instance.get_dynamic_partitions(f"{survey.name}_batch")
        return Outdated(context.asset_graph, survey, known, layout, batches)

    return _once_a_tick("rule", survey, layout, context, begin)


def _once_a_tick(
    what: str, survey: Survey, layout: Layout, context: dg.AutomationContext, find: Callable[[], _Found]
) -> _Found:
    """What holds for all assets of a survey at this tick, found by the first that asks."""
    tick, name = (layout.root, context.evaluation_time), (what, survey.name)
    if _AT_TICK.get(name, (None, None))[0] != tick:
        _AT_TICK[name] = tick, find()
    return _AT_TICK[name][1]


_AT_TICK: dict[tuple[str, str], tuple[Any, Any]] = {}
