"""Columns of graded scores: what people said of how interesting each image is.

Belongs here: which columns of a table look like that, and on what scale. Does not belong here: importing them
(`deliveries.label_imports`), classes (`labels`).
"""

import re
import shlex
from collections.abc import Collection
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa

from galaxy_assets.deliveries.label_files import OURS, is_astronomalys
from galaxy_assets.deliveries.label_scales import levels_without_code

_NAMED = re.compile(r"score|interest|anomal|rating|grade|weird|strange|human_label")
_LEAST = 10  # numbers
_MOST_LEVELS = 11
_HALVES = 0.75  # least share of the steps of one half that are there
_CALLED_SO, _OTHERS = 0.5, 0.9  # least share of numbers in a column that is called scores, and in another
_SCALES = ((0, 1), (1, 5), (0, 5), (1, 10), (0, 10), (0, 100))
"""What people grade by, the narrowest first."""


class Graded(NamedTuple):
    """A column of scores.

    Attributes
    ----------
    column : str
        Its name.
    count, levels : int
        Rows with a score, and different scores.
    low, high : float
        The lowest and the highest score.
    scores_only : bool
        It is no column of classes: its name says that it holds scores, or its values are no levels.
    plain : bool
        The table is what Astronomaly writes, and imported as it is.
    """

    column: str
    count: int
    levels: int
    low: float
    high: float
    scores_only: bool
    plain: bool = False

    @property
    def scale(self) -> tuple[float, float]:
        """The ends of the scale that people seem to have used: those of its steps, or the narrowest usual ones."""
        if _are_steps(self.low, self.high, self.levels):
            return self.low, self.high
        usual = (scale for scale in _SCALES if scale[0] <= self.low and self.high <= scale[1])
        return next(usual, (self.low, self.high))

    @property
    def words(self) -> str:
        """What it holds."""
        low, high = self.scale
        return (
            f"column {self.column} holds {self.count:,} numbers from {self.low:.6g} to {self.high:.6g} in "
            f"{self.levels:,} levels; if they say how interesting an image is, on the scale {low:g} to {high:g}, the "
            "search learns from them once they are imported"
        )

    def command(self, survey: str, table: Path, id_column: str) -> str:
        """What imports it, for a shell.

        Parameters
        ----------
        survey : str
            Its name.
        table : Path
            The file.
        id_column : str
            The column that names the images.

        Returns
        -------
        str
        """
        words = ["galaxy-assets", "labels", "import", survey, str(table)]
        if self.plain:
            return shlex.join(words)
        words += ["--id-column", id_column]
        words += ["--score-column", self.column, "--who", self.column]  # of one person's scores the last holds
        if self.scale != (0, 5):
            words += ["--range", *(repr(float(end)).removesuffix(".0") for end in self.scale)]
        return shlex.join(words)


def graded_columns(table: pa.Table, among: Collection[str]) -> list[Graded]:
    """The columns that look like graded scores.

    That are columns of numbers which are called so, whole numbers of few levels without a gap, half numbers with few,
    and, where it is the only column, fractions on a scale that people use. A negative number that says that there is
    no score is no level. What Astronomaly or this platform predicted is no score that a person gave.

    Parameters
    ----------
    table : pyarrow.Table
        Of `readers.tables.read_table`.
    among : Collection of str
        Columns that are neither ids nor positions.

    Returns
    -------
    list of Graded
    """
    found, plain = [], is_astronomalys(table.column_names)
    if plain:
        among = ["human_label"]
    elif OURS & set(table.column_names):
        among = [column for column in among if column not in {"score", *OURS}]
    for column in among:
        called_so = bool(_NAMED.search(column.lower()))
        values = _numbers(table[column].to_pylist(), _CALLED_SO if called_so else _OTHERS)
        if values is None:
            continue
        levels = np.array(levels_without_code(np.unique(values).tolist()))
        values = values[values >= levels[0]]
        low, high = float(levels[0]), float(levels[-1])
        named = called_so and len(levels) > 1
        whole = bool(np.all(levels == np.rint(levels)))
        steps = whole and _are_steps(low, high, len(levels)) and len(levels) <= _MOST_LEVELS and high <= 10
        halves = not whole and bool(np.all(2 * levels == np.rint(2 * levels))) and low in (0, 0.5, 1) and high <= 10
        halves = halves and len(levels) > max(3, _HALVES * 2 * (high - low))
        alone = not whole and len(among) == 1 and len(levels) > _MOST_LEVELS and 0 <= low and high <= 10
        if named or steps or halves or alone:
            found.append(Graded(column, len(values), len(levels), low, high, named or halves or alone, plain))
    return found


def _are_steps(low: float, high: float, levels: int) -> bool:
    """Whether so many levels are whole steps from 0 or 1 without a gap; two are a yes and a no."""
    return low in (0, 1) and levels == high - low + 1 > 2


def _numbers(cells: list, share: float) -> np.ndarray | None:
    """The finite numbers of a column, None where less than this share of what is there is a number."""
    there = [cell for cell in cells if cell is not None and not isinstance(cell, bool) and str(cell).strip()]
    values = []
    for cell in there:
        try:
            values.append(float(cell))
        except (TypeError, ValueError):
            continue
    numbers = np.array(values, float)
    finite = numbers[np.isfinite(numbers)]
    return finite if len(finite) >= _LEAST and len(values) >= share * len(there) else None
