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
from galaxy_assets.deliveries.label_scales import NOTHING, BadRow, levels_without_codes, number_of
from galaxy_assets.deliveries.onboarding.column_names import snake

_NAMED = re.compile(r"score|interest|anomal|weird|strange|human_label|(?<![a-z])(rating|grade)s?(?![a-z])")
# ids, and how sure somebody or a model is
_NO_SCORES = re.compile(r"(^|_)(id|confidence|prob|proba|probability)$")
# counts, probabilities and codes, unless the name says that they are scores: then a person is asked
_HARDLY_SCORES = re.compile(r"^(n|num|number|p|prob|proba)_|(^|_)code$")
_SURE_LEVELS = 21  # of scores that people give: 0 to 10 in halves
_ENDS = {1, 5, 10, 100}  # of usual scales, whose best score is rare
_LEAST, _LEAST_OTHERS = 3, 10  # numbers in a column that is called scores, and in another
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
    codes : tuple of float
        Numbers in it that say that there is no score.
    apart : float, optional
        The highest score, where it stands so far from the others that it may be a code too.
    plain : bool
        The table is what Astronomaly writes, and imported as it is.
    who_column : str, optional
        The column that says who gave them, where images have several.
    """

    column: str
    count: int
    levels: int
    low: float
    high: float
    scores_only: bool
    codes: tuple[float, ...] = ()
    apart: float | None = None
    plain: bool = False
    who_column: str | None = None

    @property
    def sure(self) -> bool:
        """Whether people gave them, by the column's name and by as few levels as people have."""
        hardly = _HARDLY_SCORES.search(snake(self.column)) is not None
        return is_called_scores(self.column) and not hardly and self.levels <= _SURE_LEVELS

    @property
    def heading(self) -> str:
        """What stands above the command that imports it; asks where a program may have given the numbers."""
        then = "after the first run, and then run again:"
        if self.sure:
            return f"Scores of people, in column {self.column}; {then}"
        return f"Did people give the numbers in column {self.column} as scores? If so, {then}"

    @property
    def scale(self) -> tuple[float, float]:
        """The ends of the scale that people seem to have used: those of its steps, or the narrowest usual ones."""
        if _are_steps(self.low, self.high, self.levels):
            return self.low, self.high
        usual = (
            (low, high)
            for low, high in _SCALES
            if low <= self.low and self.high <= high and not any(low <= code <= high for code in self.codes)
        )
        return next(usual, (self.low, self.high))

    @property
    def words(self) -> str:
        """What it holds."""
        low, high = self.scale
        none = f" ({' and '.join(f'{code:g}' for code in self.codes)}: no score)" if self.codes else ""
        alone = "" if self.apart is None else f"; if {self.apart:g} says that there is none, empty those cells first"
        return (
            f"column {self.column} holds {self.count:,} numbers from {self.low:.6g} to {self.high:.6g} in "
            f"{self.levels:,} levels{none}; if they say how interesting an image is, on the scale {low:g} to {high:g}, "
            f"the search learns from them once they are imported{alone}"
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
        words += ["--score-column", self.column]
        # of one person's scores the last holds
        words += ["--who-column", self.who_column] if self.who_column else ["--who", self.column]
        if self.scale != (0, 5):
            words += ["--range", *(repr(float(end)).removesuffix(".0") for end in self.scale)]
        return shlex.join(words)


def graded_columns(table: pa.Table, among: Collection[str]) -> list[Graded]:
    """The columns that look like graded scores.

    That are columns of numbers which are called so, whole numbers of few levels without a gap, half numbers with few,
    and, where it is the only column, fractions on a scale that people use. A number that says that there is no score
    is no level. Counts, codes and probabilities, by their names, are no scores unless they are called so too, nor is
    what Astronomaly or this platform predicted.

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
        called_so = is_called_scores(column)
        if _NO_SCORES.search(snake(column)) or (_HARDLY_SCORES.search(snake(column)) and not called_so):
            continue
        values = _numbers(table[column].to_pylist(), called_so)
        if values is None:
            continue
        there = np.unique(values)
        levels = np.array(levels_without_codes(there.tolist()))
        codes = tuple(np.setdiff1d(there, levels).tolist())
        values = values[np.isin(values, levels)]
        low, high = float(levels[0]), float(levels[-1])
        named = called_so and len(levels) > 1
        whole = bool(np.all(levels == np.rint(levels)))
        steps = whole and _are_steps(low, high, len(levels)) and len(levels) <= _MOST_LEVELS and high <= 10
        halves = not whole and bool(np.all(2 * levels == np.rint(2 * levels))) and 0 <= low and high <= 10
        halves = halves and len(levels) > max(3, _HALVES * 2 * (high - low))
        alone = not whole and len(among) == 1 and len(levels) > _MOST_LEVELS and 0 <= low and high <= 10
        if named or steps or halves or alone:
            found.append(
                Graded(
                    column, len(values), len(levels), low, high, named or halves or alone, codes, _apart(levels), plain
                )
            )
    return found


def is_called_scores(column: str) -> bool:
    """Whether a column has a name for scores."""
    return bool(_NAMED.search(column.lower()))


def _are_steps(low: float, high: float, levels: int) -> bool:
    """Whether so many levels are whole steps from 0 or 1 without a gap; two are a yes and a no."""
    return low in (0, 1) and levels == high - low + 1 > 2


def _apart(levels: np.ndarray) -> float | None:
    """The highest of three levels or more, where it is further from them than twice their widest gap, and no best."""
    gaps, highest = np.diff(levels), float(levels[-1])
    return highest if len(gaps) > 1 and gaps[-1] > 2 * gaps[:-1].max() and highest not in _ENDS else None


def _numbers(cells: list, called_so: bool) -> np.ndarray | None:
    """The finite numbers of a column; None where too few are numbers of what is there, beside words for no score."""
    there = [cell for cell in cells if cell is not None and not isinstance(cell, bool)]
    values, words = [], 0
    for cell in there:
        try:
            values.append(float(cell) if isinstance(cell, int | float) else number_of(str(cell)))
        except BadRow:
            words += str(cell).strip().lower() not in NOTHING
    numbers = np.array(values, float)
    finite = numbers[np.isfinite(numbers)]
    least, share = (_LEAST, _CALLED_SO) if called_so else (_LEAST_OTHERS, _OTHERS)
    return finite if len(finite) >= least and len(values) >= share * (len(values) + words) else None
