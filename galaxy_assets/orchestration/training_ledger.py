"""The rows of `byol_checkpoints`: which epoch is used, and whether that is training's doing.

Belongs here: the choice as it stands in the table, and reading it back. Does not belong here: the training
(`assets.representation`), the measures that choose (`science.health`), the files (`storage.checkpoints`).
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa

from galaxy_assets.settings.recipe import Recipe

SCHEMA = pa.schema(
    [
        ("init", pa.string()),
        ("epoch", pa.int32()),
        ("path", pa.string()),
        ("sha256", pa.string()),
        ("loss", pa.float64()),
        ("learning_rate", pa.float64()),
        ("effective_rank", pa.float64()),
        ("pcs_95", pa.int32()),
        ("alignment", pa.float64()),
        ("uniformity", pa.float64()),
        ("feature_std", pa.float64()),
        ("stability", pa.float64()),
        ("seconds", pa.float64()),
        ("images_per_second", pa.float64()),
        ("memory_gb", pa.float64()),
        ("chosen", pa.bool_()),
        ("reason", pa.string()),
        ("recipe", pa.string()),
    ]
)
FIXED = "these features are formulae and have no weights to train"
FEW = "random start weights are trained on "
"""How the reason begins where there are too few galaxies for training from random weights."""
_BESIDE = re.compile(r"epoch (\d+) beside ")


def ledger(
    found: Sequence[dict[str, Any]], recipe: Recipe, why: str | None = None, beside: Sequence[str] = ()
) -> pa.Table:
    """`byol_checkpoints` from a training's rows up to the recipe's last epoch, with the choice and its reason.

    Parameters
    ----------
    found : sequence of dict
        Rows of `storage.checkpoints.Training`; with `beside` the last is that of all side by side.
    recipe : Recipe
    why : str, optional
        Why nothing was trained; it takes the place of the reason.
    beside : sequence of str
        Names of what stands beside the chosen epoch. The row of all side by side is then the chosen one.

    Returns
    -------
    pyarrow.Table
    """
    from galaxy_assets.science.health import choose_epoch

    rows = [row for row in found if row["epoch"] <= (0 if why else recipe.epochs)]
    chosen, reason = choose_epoch(rows, recipe.epoch_choice)
    reason = why or reason
    if beside:
        rows += [row for row in found if row["epoch"] == recipe.epochs + 1]
        said = " and ".join(f"{name} (x{recipe.beside[name]:g})" for name in beside)
        reason = f"epoch {chosen} beside {said}, scaled to the same total variance; of it: {reason}"
        chosen = recipe.epochs + 1
    for row in rows:
        row |= {"chosen": row["epoch"] == chosen, "reason": reason if row["epoch"] == chosen else None}
    return pa.Table.from_pylist(rows, schema=SCHEMA)


def epoch_used(row: Mapping[str, Any]) -> int:
    """The epoch of training whose network is used, alone or with others side by side; 0 is the start itself.

    Parameters
    ----------
    row : mapping
        The chosen row of `byol_checkpoints`, of which `epoch` and `reason` are read.

    Returns
    -------
    int

    Examples
    --------
    >>> epoch_used({"epoch": 13, "reason": "epoch 9 beside classical (x0.5), scaled; of it: it is the last"})
    9
    """
    beside = _BESIDE.match(row["reason"])
    return int(beside[1]) if beside else row["epoch"]


def meant_to_train(row: Mapping[str, Any], recipe: Recipe) -> bool:
    """Whether there was anything to be trained.

    Parameters
    ----------
    row : mapping
        The chosen row of `byol_checkpoints`, of which `reason` is read.
    recipe : Recipe

    Returns
    -------
    bool
    """
    return recipe.epochs > 0 and not any(why in row["reason"] for why in (FIXED, FEW))
