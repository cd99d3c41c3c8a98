"""What an asset of a survey is partitioned by: its deliveries, its start weights, or both.

Belongs here: Dagster's partitions of a survey, and from a run's key to names. Does not belong here: which partitions
are read (`declaration`) or outdated (`automation.outdated`).
"""

from typing import Literal

import dagster as dg

from galaxy_assets.settings.survey import Survey

Partitioned = Literal["batch", "init", "batch_init"] | None


def partitions(survey: Survey, by: Partitioned) -> dg.PartitionsDefinition | None:
    """What an asset of a survey is partitioned by.

    Parameters
    ----------
    survey : Survey
    by : {"batch", "init", "batch_init"} or None
        `batch`: what was delivered together (dynamic); `init`: the start weights (static).

    Returns
    -------
    dagster.PartitionsDefinition or None
    """
    batch = dg.DynamicPartitionsDefinition(name=f"{survey.name}_batch")
    init = dg.StaticPartitionsDefinition(list(survey.start_weights))
    if by == "batch_init":
        return dg.MultiPartitionsDefinition({"batch": batch, "init": init})
    return {"batch": batch, "init": init, None: None}[by]


def partition_of(context: dg.OpExecutionContext | dg.AssetExecutionContext, by: Partitioned) -> tuple[str, str]:
    """Batch and start weights of the partition that is made.

    Parameters
    ----------
    context : dagster context of an op or asset
    by : {"batch", "init", "batch_init"} or None

    Returns
    -------
    batch, init : str
        Empty where there is none.
    """
    if by is None:
        return "", ""
    key = context.partition_key
    if isinstance(key, dg.MultiPartitionKey):
        return key.keys_by_dimension["batch"], key.keys_by_dimension["init"]
    return (key, "") if by == "batch" else ("", key)
