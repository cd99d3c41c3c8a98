"""What a main job will have to make, and how long that took before.

Belongs here: the tables that are outdated or read one that is, and the seconds of earlier runs. Does not belong here:
the rule (`automation.outdated`), the runs (`main_job`), what a survey of another size would take (`planning`).
"""

from collections.abc import Iterable

import dagster as dg
from dagster._core.execution.stats import StepEventStatus

from galaxy_assets.orchestration.automation.outdated import Outdated, Partition
from galaxy_assets.orchestration.course import Table
from galaxy_assets.orchestration.graph import ASSETS

_RUNS = 60
"""Earlier runs of a survey that are looked at, the latest first."""


def outdated_or_after(rule: Outdated, assets: Iterable[dg.AssetKey]) -> dict[tuple[dg.AssetKey, Partition], bool]:
    """Of each partition whether it is outdated, or reads what is and may turn out so.

    Parameters
    ----------
    rule : Outdated
    assets : iterable of dagster.AssetKey
        Each after what it reads.

    Returns
    -------
    dict of (dagster.AssetKey, tuple of str) to bool
        In that order.
    """
    found: dict[tuple[dg.AssetKey, Partition], bool] = {}
    touched: set[dg.AssetKey] = set()
    for asset in assets:
        for partition in rule.partitions(asset):
            outdated = rule.why(asset, partition) is not None or _reads(rule, asset, partition, found, touched)
            found[asset, partition] = outdated
        if any(found[asset, partition] for partition in rule.partitions(asset)):
            touched.add(asset)
    return found


def _reads(
    rule: Outdated,
    asset: dg.AssetKey,
    partition: Partition,
    found: dict[tuple[dg.AssetKey, Partition], bool],
    touched: set[dg.AssetKey],
) -> bool:
    """Whether a partition reads something outdated, of what is not pinned."""
    for read in rule.reads(asset):
        if read.asset not in touched or ("pinned" in read.how and rule.follow is None):
            continue
        of_all = read.how.get("every_batch") and not read.how.get("own_batch")
        if of_all or any(found.get((read.asset, one), False) for one in rule.read_partitions(read, asset, partition)):
            return True
    return False


def seconds_of_earlier_runs(instance: dg.DagsterInstance, survey: str) -> dict[Table, float]:
    """How long each table of a survey took when it was made last.

    Parameters
    ----------
    instance : dagster.DagsterInstance
    survey : str

    Returns
    -------
    dict of Table to float
        Seconds; without tables that no run of the latest sixty made.
    """
    return {table: end - start for table, (start, end) in times_of_earlier_runs(instance, survey).items()}


def times_of_earlier_runs(instance: dg.DagsterInstance, survey: str) -> dict[Table, tuple[float, float]]:
    """When each table of a survey was begun and made last.

    Parameters
    ----------
    instance : dagster.DagsterInstance
    survey : str

    Returns
    -------
    dict of Table to (float, float)
        Seconds since 1970; without tables that no run of the latest sixty made.
    """
    found: dict[Table, tuple[float, float]] = {}
    for run in instance.get_runs(dg.RunsFilter(tags={"survey": survey}), limit=_RUNS):
        partition = run.tags.get("dagster/partition")
        for step in instance.get_run_step_stats(run.run_id):
            asset = asset_of(step.step_key)
            if asset and step.status == StepEventStatus.SUCCESS and step.start_time and step.end_time:
                found.setdefault((asset, partition), (step.start_time, step.end_time))
    return found


def asset_of(step_key: str) -> str | None:
    """The asset that a step makes.

    Parameters
    ----------
    step_key : str
        The parts of the asset's key with `__` between them.

    Returns
    -------
    str or None
        Its name; None where the step is a check.
    """
    name = step_key.rsplit("__", 1)[-1]
    return name if name in ASSETS else None
