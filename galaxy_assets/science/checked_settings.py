"""A survey's settings beside the paper's.

Belongs here: finding a setting by its path, and whether all of it is the paper's. Does not belong here: the paper's
settings (`checklist`), numbers that are measured (`observations`), verdicts (`results`).
"""

from collections.abc import Iterable
from typing import Any, NamedTuple

from galaxy_assets.science.checklist import Check, checklist
from galaxy_assets.settings.evaluation import Cut
from galaxy_assets.settings.survey import Survey


class Found(NamedTuple):
    """A setting of a survey, and whether it is the paper's.

    Attributes
    ----------
    value : float or None
        Its number, of several the one that is furthest from the paper's; None where one of them is no number. For
        words 1 if they are the paper's and 0 if not.
    is_papers : bool
        Every value at the path is the paper's, and there is one.
    said : str
        The path and all that is set there.
    """

    value: float | None
    is_papers: bool
    said: str


def setting(survey: Survey, path: str) -> list[Any]:
    """The values of a setting.

    Parameters
    ----------
    survey : Survey
    path : str
        Dotted, such as `recipe.epochs`. Through a list it leads to that setting of every part, or to the parts of that
        name: `evaluation.classes.spiral.cuts`. A part that is named as a setting is, is not meant by it.

    Returns
    -------
    list
        As many as there are parts where the path leads through a list, equal ones too; none where a list has no such
        part.

    Examples
    --------
    >>> from galaxy_assets.science.checked_settings import setting
    >>> from galaxy_assets.settings.files import SHIPPED, read_survey
    >>> setting(read_survey(SHIPPED / "gz_decals.yaml"), "evaluation.classes.cuts.above")
    [0.8, 0.8, 0.8, 0.8, 0.8]
    """
    values: list[Any] = [survey]
    for name in path.split("."):
        values = [found for value in values for found in _step(value, name)]
    return values


def _step(value: Any, name: str) -> Iterable[Any]:
    if not isinstance(value, tuple):
        return [getattr(value, name)]
    of_parts = [getattr(part, name) for part in value if name in type(part).model_fields]
    return of_parts or [part for part in value if getattr(part, "name", None) == name]


def found(check: Check, survey: Survey) -> Found:
    """What a survey has at the path of a setting's row, beside the paper's.

    Parameters
    ----------
    check : Check
        With a `setting`.
    survey : Survey

    Returns
    -------
    Found
    """
    values, expected = setting(survey, check.setting or ""), check.expected
    words = [word for value in values for word in _words(value)]
    said = f"{check.setting}: {', '.join(dict.fromkeys(words)) or 'none'}"
    if isinstance(expected, float):
        numbers = [float(value) for value in values if isinstance(value, int | float)]
        whole = bool(numbers) and len(numbers) == len(values)
        furthest = max(numbers, key=lambda number: abs(number - expected)) if whole else None
        return Found(furthest, whole and set(numbers) == {expected}, said)
    if isinstance(expected, tuple):
        same = sorted(words) == sorted(expected)
    else:
        same = bool(words) and set(words) <= {expected, *check.also}
    return Found(float(same), same, said)


def _words(value: Any) -> list[str]:
    """A value as words; a cut on votes as the paper writes it, with the votes it needs."""
    if isinstance(value, tuple):
        return [word for part in value for word in _words(part)]
    if isinstance(value, Cut):
        limits = [f"{sign} {limit}" for sign, limit in ((">", value.above), ("<", value.below)) if limit is not None]
        cut = " ".join([f"{value.question}_{value.answer}_fraction", *limits])
        return [f"{cut}, {value.minimum_votes} votes"]
    return ["none" if value is None else str(value)]


def not_the_papers(survey: Survey, sections: Iterable[str]) -> list[str]:
    """The settings under some sections that are not the paper's.

    Parameters
    ----------
    survey : Survey
    sections : iterable of str
        Paths, such as `recipe` or `recipe.backbone`.

    Returns
    -------
    list of str
        Each with its value, in the order of the checklist.
    """
    rows = [check for check in checklist() if check.setting and survey.name in check.surveys]
    below = [check for check in rows if any(f"{check.setting}.".startswith(f"{section}.") for section in sections)]
    return [one.said for check in below if not (one := found(check, survey)).is_papers]
