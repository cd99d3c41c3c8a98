"""Tables of volunteers' votes, such as those of Galaxy Zoo, that are given for tables of classes.

Belongs here: which columns hold votes, and what to do with them. Does not belong here: reading them
(`readers.volunteers`), what they mean (`science.votes`).
"""

import re
from collections.abc import Collection
from pathlib import Path

from galaxy_assets.science.votes import delivered_columns, kaggle_columns

_CAMPAIGNS = ("gz2", "1_and_2", "5")
_RELEASE = re.compile(r"-(dr\d+|gz\d)_")  # as in smooth-or-featured-dr5_smooth
_OF_AN_ANSWER = re.compile(r"_(count|weight|weighted_fraction|fraction|frac|debiased|flag|prob)$", re.IGNORECASE)
_OF_A_QUESTION = re.compile(r"[_ -](total[_ -]votes|total[_ -]count|total[_ -]weight)$", re.IGNORECASE)
_NUMBERED = re.compile(r"t\d\d_.+_a\d\d?_", re.IGNORECASE)  # task and answer of Galaxy Zoo 2 and after
_TALLY = re.compile(
    r"(.*[_ -])?(counts?|votes|n_?votes?|weights?|(weighted_)?fraction|debiased|flags?)|"
    r"(n|num)[_ -]classifications|total[_ -].+",
    re.IGNORECASE,
)
_FLAG = re.compile(r"[_ -]flags?$", re.IGNORECASE)
_FEW = 3  # columns of votes that make a table of them


def tallies(names: Collection[str]) -> list[str]:
    """Columns that hold counts, weights or flags of what people said, or their votes.

    Parameters
    ----------
    names : Collection of str
        All columns of a table.

    Returns
    -------
    list of str
        Those that are no classes if they hold numbers, by their names.
    """
    stems, questions = {stem for campaign in _CAMPAIGNS for stem in _stems(campaign)}, _questions(names)
    return [
        name
        for name in names
        if _TALLY.fullmatch(name)
        or _NUMBERED.match(name)
        or _stem(name) in stems
        or any(name.startswith(f"{question}_") for question in questions)
    ]


def flags_in(names: Collection[str]) -> list[str]:
    """Of `tallies` those that are called flags, and belong to no table of votes that is known: `lens_flag`."""
    others = {_OF_AN_ANSWER.sub("", name) for name in names if not _FLAG.search(name)}
    return [
        name
        for name in tallies(names)
        if _FLAG.search(name) and not _NUMBERED.match(name) and not others & {_FLAG.sub("", name)}
    ]


def about_votes(path: Path, names: Collection[str]) -> str:
    """What to do with a table of votes.

    Parameters
    ----------
    path : Path
        Of the table.
    names : Collection of str
        Its columns.

    Returns
    -------
    str
        A sentence without its full stop; empty where it is no such table.
    """
    plain = {_RELEASE.sub("_", name) for name in names}
    there = {campaign: _stems(campaign) & {_stem(name) for name in names} for campaign in _CAMPAIGNS}
    campaign = max(_CAMPAIGNS, key=lambda one: (len(there[one]), one == "gz2"))
    release = re.search(r"-dr(5|12)_", " ".join(names))
    if campaign != "gz2" and release is not None and there["5"] and there["1_and_2"]:
        campaign = "5" if release[1] == "5" else "1_and_2"
    questions = _questions(names)
    of_questions = sum(any(name.startswith(f"{one}_") for one in questions) for name in names)
    answers = sum(bool(_NUMBERED.match(name)) for name in names)
    if len(plain & {*kaggle_columns()}) < _FEW and len(there[campaign]) < 2 and max(of_questions, answers) < _FEW:
        return ""
    table = "this is a table of volunteers' votes, which are no classes"
    if not there[campaign]:
        return f"{table}: `source.votes` reads those of Galaxy Zoo 2 and DECaLS (docs/surveys.md), others are not known"
    missing = [] if campaign == "gz2" and plain & {*kaggle_columns()} else _missing(campaign, plain)
    needs = ""
    if missing:
        needs = f", once it has all columns of that release ({len(missing)} are missing, such as {missing[0]})"
    return (
        f"{table}: to have them read, write `votes: {path}` and `campaign: {campaign}` below `source` in the survey's "
        f"file{needs} (docs/surveys.md, Readers)"
    )


def _stem(name: str) -> str:
    return _OF_AN_ANSWER.sub("", _RELEASE.sub("_", name))


def _stems(campaign: str) -> set[str]:
    """The columns of a campaign's answers, without what they hold of each."""
    names, *columns = delivered_columns(campaign) + (kaggle_columns()[1:] if campaign == "gz2" else [])
    return {_stem(name) for name in columns} - {names}


def _missing(campaign: str, there: Collection[str]) -> list[str]:
    """What a campaign's table must have and this has not, but the galaxies' names."""
    return [name for name in delivered_columns(campaign)[1:] if name not in there]


def _questions(names: Collection[str]) -> list[str]:
    return [_OF_A_QUESTION.sub("", name) for name in names if _OF_A_QUESTION.search(name)]
