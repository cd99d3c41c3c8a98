"""A column of a map as colours: a code per galaxy, and what the codes mean in words.

Belongs here: values to codes and words. Does not belong here: reading a column (`view`), the palette (the browser's).
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

CATEGORIES = 40
"""Columns with more values are numbers, or show the commonest ones and `other`."""
NUMBERED = ("cluster",)
"""Columns of numbers that are names, of which none lies between two others."""
BINS = 64
NOTHING = 255
"""The code of a galaxy without a value."""


@dataclass(frozen=True)
class Colours:
    """A column as colours: a code per row, and what the codes mean.

    Attributes
    ----------
    codes : ndarray of shape (N,), uint8
        Of a categorical column the number of its name in `names`; of a numeric one the bin from 0 to BINS - 1 between
        `low` and `high`. 255 where there is no value.
    names, counts : list of str, list of int
        Of the categories, empty for a numeric column.
    low, high : float or None
        The 0.5 and 99.5 % quantiles; values beyond have the first and last colour. None for a categorical column.
    """

    codes: np.ndarray
    names: list[str]
    counts: list[int]
    low: float | None = None
    high: float | None = None


def coloured(values: pa.Array, numeric: bool, named: bool = False) -> Colours:
    """Values as colours: numbers with more than CATEGORIES different values in BINS, everything else by name.

    Parameters
    ----------
    values : pyarrow.Array of length N
    numeric : bool
        Whether they are numbers.
    named : bool
        Whether numbers are names, however many there are.

    Returns
    -------
    Colours
    """
    codes = np.full(len(values), NOTHING, np.uint8)
    if numeric and pa.types.is_floating(values.type):
        values = pc.if_else(pc.is_finite(values), values, None)
    counted = pc.value_counts(values.drop_null())
    if numeric and not named and len(counted) > CATEGORIES:
        numbers = values.cast(pa.float32()).to_numpy(zero_copy_only=False)
        valid = np.isfinite(numbers)
        low, high = (float(q) for q in np.quantile(numbers[valid], [0.005, 0.995]))
        if low == high:
            low, high = float(numbers[valid].min()), float(numbers[valid].max())
        scale = BINS / (high - low) if high > low else 0.0
        codes[valid] = np.clip((numbers[valid] - low) * scale, 0, BINS - 1).astype(np.uint8)
        return Colours(codes, [], [], low, high)
    names, counts = counted.field("values").to_pylist(), counted.field("counts").to_pylist()
    order = sorted(range(len(names)), key=lambda i: (-counts[i], names[i] if numeric else str(names[i])))
    shown = order[: CATEGORIES - 1] if len(order) > CATEGORIES else order
    if numeric:
        shown = sorted(shown, key=lambda i: names[i])
    index = pc.index_in(values, value_set=pa.array([names[i] for i in shown], values.type))
    known, given = index.is_valid().to_numpy(zero_copy_only=False), values.is_valid().to_numpy(zero_copy_only=False)
    codes[given] = len(shown)
    codes[known] = index.drop_null().to_numpy().astype(np.uint8)
    labels, sizes = [word(names[i]) for i in shown], [counts[i] for i in shown]
    if len(shown) < len(order):
        labels.append("other")
        sizes.append(sum(counts[i] for i in order[len(shown) :]))
    return Colours(codes, labels, sizes)


def word(value: Any) -> str:
    """A value of a column for a person.

    Parameters
    ----------
    value : object

    Returns
    -------
    str
    """
    if value is None:
        return "no value"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:.4g}" if isinstance(value, float) else str(value)
