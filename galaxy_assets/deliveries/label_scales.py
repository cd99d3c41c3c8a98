"""Scales on which people give scores: from theirs to ours, and numbers that have no place on them.

Belongs here: single scores and their levels. Does not belong here: files (`label_files`).
"""

import math
import re
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

from galaxy_assets.settings.printing import PrintableError

HIGHEST = 5.0
"""The score of what is most interesting; 0 is the dullest."""
NOTHING = frozenset(["", "nan", "none", "null", "na", "n/a", "-", "missing", "unscored", "not scored", "not rated"])
"""Cells that say that there is no score, in lower case."""
_CODES = frozenset([-9999, -999, -99, -9, -1, 99, 999, 9999])  # for no score
_FAR = 9  # times the highest score, above which 99 and the like are no score
_COMMA = re.compile(r"(?![+-]?\d{1,3},\d{3}$)([+-]?\d+),(\d+)")  # a decimal comma, and no thousands
_FEW = 2  # scores outside the scale that may be slips of a pen, also in a short file


class BadRow(PrintableError):
    """A row that gives no label because something is wrong with it."""


class Outside(BadRow):
    """A score that its scale does not have, where the row may give other labels."""

    def __init__(self, score: float, words: str):
        super().__init__(words)
        self.score = score
        self.beside: list[Any] = []


def number_of(text: str) -> float:
    """The number that a text is, with a point or a comma before its decimals. Raises BadRow."""
    try:
        return float(text)
    except ValueError:
        if _COMMA.fullmatch(text.strip()):
            return float(text.replace(",", "."))
        raise BadRow(f"score {text!r} is no number") from None


def score_of(text: str, scale: tuple[float, float] = (0.0, HIGHEST)) -> float:
    """A score on the scale 0 to 5; a whole one as a whole number, as events that were imported before have it.

    Parameters
    ----------
    text : str
        As the file has it.
    scale : tuple of two floats
        Ends of the file's scale.

    Returns
    -------
    float or int

    Raises
    ------
    BadRow
        Where it is no number, or `Outside` the scale.
    """
    number, (low, high) = number_of(text), scale
    if not low <= number <= high:
        raise Outside(number, f"score {text} is not between {low:g} and {high:g}")
    score = number if scale == (0.0, HIGHEST) else HIGHEST * ((number - low) / (high - low))
    return int(score) if float(score).is_integer() else score


def levels_without_codes(levels: Sequence[float]) -> list[float]:
    """The levels of a column of scores without the numbers that say that there is no score.

    Parameters
    ----------
    levels : sequence of float
        The different numbers in it, rising.

    Returns
    -------
    list of float
        Without -1, -9, -99 and the like, where no other is negative, and without 99, 999 and 9999, where they are more
        than nine times the highest of the others. Of two levels -1 may be a score.

    Examples
    --------
    >>> from galaxy_assets.deliveries.label_scales import levels_without_codes
    >>> levels_without_codes([-99, 1, 2, 3]), levels_without_codes([-3, -1, 0, 5]), levels_without_codes([-1, 0.2])
    ([1, 2, 3], [-3, -1, 0, 5], [-1, 0.2])
    >>> levels_without_codes([-99, 1.5, 2, 2.5, 999]), levels_without_codes([0, 25, 50, 75, 99])
    ([1.5, 2, 2.5], [0, 25, 50, 75, 99])
    """
    codes = _CODES.intersection(levels)
    scores = [level for level in levels if level not in codes] if codes else []
    if not scores:
        return list(levels)
    low, high = scores[0], scores[-1]
    below = {code for code in codes if code < 0 <= low and (code < -1 or len(scores) > 1 or low == 0)}
    above = {code for code in codes if code > _FAR * max(high, 0)}
    return [level for level in levels if level not in below | above]


def codes_of(outside: Collection[float], inside: Collection[float], scale: tuple[float, float]) -> set[float]:
    """The numbers outside a scale that say that there is no score.

    Parameters
    ----------
    outside : Collection of float
        Scores that the scale does not have.
    inside : Collection of float
        The others, 0 to 5.
    scale : tuple of two floats
        Its ends.

    Returns
    -------
    set of float
        Empty where there is none, and of -1, 0 and 1 on the scale 0 to 5, which may all be scores.
    """
    low, high = scale
    levels = sorted({*filter(math.isfinite, outside), *(low + one * (high - low) / HIGHEST for one in inside)})
    kept = levels_without_codes(levels)
    return set() if kept and kept[-1] <= 1 < high else ({*levels} - {*kept}) & {*outside}


def refuse_another_scale(path: Path, outside: Collection[float], n_inside: int, scale: tuple[float, float]) -> None:
    """Raise ValueError where more scores lie outside their scale than slips of a pen: the others are wrong too.

    Parameters
    ----------
    path : Path
        Their file.
    outside : Collection of float
        Scores that the scale does not have.
    n_inside : int
        How many others there are.
    scale : tuple of two floats
        Its ends.
    """
    numbers, (low, high) = list(filter(math.isfinite, outside)), scale
    given = len(numbers) + n_inside
    if len(numbers) > max(_FEW, given / 10):
        raise ValueError(
            f"{path}: {len(numbers)} of {given} scores are not between {low:g} and {high:g}; they run from "
            f"{min(numbers):g} to {max(numbers):g}. Say the ends of their scale: --range LOW HIGH (where their column "
            "is not called score, with --id-column and --score-column), or correct these rows"
        )
