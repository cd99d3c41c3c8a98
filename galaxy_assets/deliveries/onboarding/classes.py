"""Which of the labels judge a representation, and which class is sought.

Belongs here: the settings that follow from how many images each label has, and from labels that name mirror images of
one another. Does not belong here: reading labels (`labels`), which column holds them (`columns`), the other settings
(`propose`).
"""

import re
from collections.abc import Collection
from typing import Any, NamedTuple

from galaxy_assets.deliveries.onboarding.label_words import (
    FLAWS,
    NO,
    YES,
    is_unknown,
    numbers_among_words,
    stray_numbers,
    words,
    yes_or_no,
)

_RARE = 0.2  # largest share of the labelled images that an anomaly may have
_SOUGHT = 2  # images of it, at least: with the only one found nothing is left to find
_CLASSES = 5
_LEAST = 10  # images of a class from which an accuracy means anything
_MOST_KINDS = 50  # of which the rarest is one that people look for
# what is left beside kinds of galaxies; a class where there is but one of these
_NO_GALAXY = re.compile(r"(star or )?art[ei]facts?|stars?|bad|junk|others?|none")
# flaws of images, and answers that are none: not sought, alone or together with words that say little
_LITTLE = r"and|or|images?|data|pixels?|objects?|sources?"
_NO_TARGET = re.compile(rf"(({_LITTLE}) )*({FLAWS})( ({_LITTLE}|{FLAWS}))*")
# what says that a thing is not there, beside the word for the thing
_ABSENT = re.compile(r"(?:not|non|no|without)( ?)(?:an? )?(.+)")
_ORDINARY = re.compile(r"normal|ordinary|typical|regular|common|boring|usual|uninteresting")
_SHORT = 3  # letters of a label that is told from others by case without a word
_UNSOUGHT = "nothing is sought until `anomaly.labels` names it"
# the type of Hubble that a label begins with, in which case counts: SB is no Sb
_HUBBLE = re.compile(r"d?(e\d*|s(ab|a|b)?[0o]?[a-dm]{0,3})(pec|n)?(?![^\W\d_])", re.IGNORECASE)
_RINGED = re.compile(r"\([^)]*\)")  # (R)SB
_MINUS_ONE = re.compile(r"-1(\.0+)?")
# words that name one of two mirror images, and the other
_MIRRORED = (
    (re.compile(r"clock ?wise|\bcw\b"), re.compile(r"(anti|counter) ?clock ?wise|\b(acw|ccw)\b")),
    (re.compile(r"\bleft( ?(handed|hand|wards?))?\b"), re.compile(r"\bright( ?(handed|hand|wards?))?\b")),
    (re.compile(r"\bs( ?wise)?\b"), re.compile(r"\bz( ?wise)?\b")),
)


class Proposed(NamedTuple):
    """What follows from the labels.

    Attributes
    ----------
    settings : list of (str, value, str)
        Key as `section.key`, value and reason.
    cautions : list of str
        Which labels are left out or joined, and what is not judged or sought, each with the reason.
    """

    settings: list[tuple[str, Any, str]]
    cautions: list[str]


def proposed_classes(labels: dict[str, int], images: int = 0, unsought: str = "", thing: str = "") -> Proposed:
    """The settings of the classes.

    Parameters
    ----------
    labels : dict of str to int
        Images of each label, the commonest first.
    images : int
        How many there are, with a label or without: the only class is sought where few of them have it.
    unsought : str
        Why a person has to say which is sought; empty where it may be the rarest.
    thing : str
        What is sought where that is a yes; empty where it is called by its label.

    Returns
    -------
    Proposed
    """
    left_out, numbers = _left_out(labels), stray_numbers(labels)
    of = _joined([name for name in labels if name not in left_out])
    kinds = {name: sum(labels[label] for label in own) for name, own in of.items()}
    kinds = dict(sorted(kinds.items(), key=lambda item: -item[1]))
    cautions = []
    if plain := [name for name in left_out if name not in numbers]:
        cautions.append(
            f"{in_brief(plain)}: neither judged nor sought, since that says that there is no class, or no galaxy."
        )
    if numbers:
        cautions.append(f"{in_brief(numbers)}: neither judged nor sought, since a number among words is no class.")
    alike = {name: spellings for name, own in of.items() if (spellings := [x for x in _spelt_alike(own) if len(x) > 1])}
    cautions += [
        f"{' and '.join(one)} differ in spelling alone, and are one class, {name}: if they are not, take them apart in "
        "`evaluation.classes` and in `anomaly.labels`."
        for name, spellings in alike.items()
        for one in spellings
    ]
    cautions += [
        f"{' and '.join(one)} differ in spelling alone, and are classes of their own: if they are one, write them "
        "alike, or join them in `evaluation.classes`."
        for one in _spelt_alike([*of], stems=False)
        if len(one) > 1 and len(one[0]) > _SHORT
    ]
    joins = {
        name: f"{name} joins {' and '.join(own)}: mirror images of one another, which features that are averaged over "
        "mirror images cannot tell apart."
        for name, own in of.items()
        if len(_spelt_alike(own)) > 1
    }
    total = sum(labels.values())
    reasons = {
        name: f"{name} joins {' and '.join(own)}: spellings of one." for name, own in of.items() if name in alike
    }
    judged, why_judged = _judged(kinds, of, reasons | joins, total, left_out)
    sought, why_sought = _sought(kinds, of, total if len(labels) > 1 else images, thing)
    if sought and unsought:
        sought, why_sought = [], [f"{unsought}: {_UNSOUGHT}."]
    return Proposed(judged + sought, cautions + [*joins.values()] + why_judged + why_sought)


def _judged(
    kinds: dict[str, int], of: dict[str, list[str]], joins: dict[str, str], total: int, left_out: Collection[str]
) -> tuple[list[tuple[str, Any, str]], list[str]]:
    """The settings of what judges a representation, and which kinds do not."""
    least = max(_LEAST, total / 50)
    enough = [name for name, n in kinds.items() if n >= least]
    if len(enough) < 2:
        there = f"only {enough[0]} has" if enough else "no class has"
        why = f"No classes are judged, and accuracies are not measured: {there} {least:.0f} images or more."
        return [], [why] if kinds or left_out else []
    judged = [*enough[: _CLASSES - 1], enough[-1]] if len(enough) > _CLASSES else enough
    reason = "The commonest classes" + (f", without {', '.join(left_out)}" if left_out else "")
    reason += "; they judge the representation and take no part in training. One may join several labels."
    reason += "".join(f" {joins[name]}" for name in judged if name in joins)
    cautions = []
    if few := [name for name in kinds if name not in enough]:
        cautions.append(f"{in_brief(few)}: not judged, for want of {least:.0f} images.")
    if more := [name for name in enough if name not in judged]:
        cautions.append(f"{in_brief(more)}: not judged, since the {_CLASSES - 1} commonest classes and the rarest are.")
    equal = f"As many of each class as the smallest has: chance is 1/{len(judged)}."
    return [
        ("evaluation.maximum_per_class", min(kinds[name] for name in judged), equal),
        ("evaluation.classes", [{"name": name, "labels": of[name]} for name in judged], reason),
    ], cautions


def _sought(
    kinds: dict[str, int], of: dict[str, list[str]], total: int, thing: str
) -> tuple[list[tuple[str, Any, str]], list[str]]:
    """The settings of what is sought, or why nothing is; `total` images have a label, or are there for the only one."""
    if len(kinds) < 2 and not (len(of) == 1 and 0 < sum(kinds.values()) <= _RARE * total):
        return [], []  # what is not judged says it
    if len(kinds) > _MOST_KINDS:
        return [], [f"There are {len(kinds)} classes, of which the rarest says little: {_UNSOUGHT}."]
    able = {name: n for name, n in kinds.items() if n >= _SOUGHT and not _is_no_target(name, kinds)}
    if not able:
        return [], [f"No class of galaxies has {_SOUGHT} images or more: {_UNSOUGHT}."]
    *_, (rarest, n) = able.items()
    rarer = [*kinds][[*kinds].index(rarest) + 1 :]
    few, others = [name for name in rarer if kinds[name] < _SOUGHT], [name for name in rarer if kinds[name] >= _SOUGHT]
    said = [f"{in_brief(few)}: not sought, for want of {_SOUGHT} images."] if few else []
    if others:
        said.append(f"{in_brief(others)}: not sought, since that names a flaw, or what is ordinary or absent.")
    if rarest in numbers_among_words(kinds):
        return [], [*said, f"The rarest class, {rarest}, is a number among words: {_UNSOUGHT}."]
    tied = [name for name in able if able[name] == n]
    left = " left" if rarer else ""
    if n > _RARE * total:
        share = f"{n:,} of {total:,} labelled images, more than {_RARE:.0%}"
        return [], [*said, f"The rarest class{left}, {rarest}, has {share}: {_UNSOUGHT}."]
    if len(tied) > 1:
        return [], [*said, f"The rarest classes{left}, {in_brief(tied)}, have {n:,} images each: {_UNSOUGHT}."]
    which, images = (f"The rarest class{left}", "labelled images") if len(kinds) > 1 else ("The only class", "images")
    reason = f"{which}, {n:,} of {total:,} {images}: what the simulated expert scores 5. Name what you look for."
    said_so = thing and yes_or_no(rarest) in YES and all(yes_or_no(name) in YES | NO for name in kinds)
    return [("anomaly.name", thing if said_so else rarest, ""), ("anomaly.labels", of[rarest], reason)], said


def _is_no_target(name: str, kinds: Collection[str]) -> bool:
    """Whether a label names a flaw, or that something is not there, and no kind that people look for."""
    said = re.sub(r"[^\w?]+", " ", words(name)).strip()
    if _NO_TARGET.fullmatch(said) or _ORDINARY.fullmatch(said):
        return True
    others = {yes_or_no(kind) for kind in kinds if kind != name}
    if (nay := yes_or_no(name)) in NO:
        return others <= ({"1"} if nay == "0" else YES - {"1"})
    absent = _ABSENT.fullmatch(said)
    return absent is not None and (absent[2] in others or (len(others) == 1 and bool(absent[1])))  # nova is one word


def _spelt_alike(names: Collection[str], stems: bool = True) -> list[list[str]]:
    """Names, each with those that are spelt like it.

    They differ in blanks, hyphens between words, points behind words, and, of three letters or more, in case, but in a
    type of Hubble where these count as `stems` (SB pec is no Sb pec).
    """
    of: dict[str, dict[str, str]] = {}
    for name in names:
        plain = re.sub(r"[\s_]+|(?<=[^\W\d])[-‐‑–—−](?=\w)|(?<=[^\W\d])[.,;:]+(?=$|\s|[^\W\d])", "", name)
        casefold = len(plain) > 2 or plain.lower() in YES | NO
        of.setdefault(plain.casefold() if casefold else plain, {})[name] = plain
    alike = []
    for together in of.values():
        apart = (
            dict.fromkeys(together.values())
            if stems and any(_HUBBLE.match(_RINGED.sub("", one)) for one in together)
            else [""]
        )
        alike += [[name for name, plain in together.items() if one in ("", plain)] for one in apart]
    return alike


def _left_out(labels: dict[str, int]) -> list[str]:
    """The labels that say that there is no class, or no galaxy beside kinds of galaxies."""
    unknown = {name for name in labels if is_unknown(name)} | {*stray_numbers(labels)}
    there = [name for name in labels if name not in unknown]
    # -1 is no class beside others, but one of two codes, or of several below zero
    codes = [name for name in there if not _MINUS_ONE.fullmatch(name)]
    if len(codes) > 1 and not any(re.fullmatch(r"-\d+(\.0+)?", name) for name in codes):
        unknown |= {*there} - {*codes}
        there = codes
    galaxies = [name for name in there if not _NO_GALAXY.fullmatch(words(name))]
    return [name for name in labels if name in unknown or (len(_joined(galaxies)) > 1 and name not in galaxies)]


def _joined(names: list[str]) -> dict[str, list[str]]:
    """The labels of each class: spellings of one, called by the plainest; mirror images, called by what they share."""
    spelt = {min(alike, key=lambda one: len(re.sub(r"\W|_", "  ", one))): alike for alike in _spelt_alike(names)}
    alike: dict[tuple[int, str], dict[str, int]] = {}
    for name in spelt:
        said = words(re.sub(r"(?<=[a-z])(?=[A-Z])", " ", name))
        for which, (one, other) in enumerate(_MIRRORED):
            if found := other.search(said) or one.search(said):
                shared = " ".join(re.findall(r"\w+", f"{said[: found.start()]} {said[found.end() :]}"))
                alike.setdefault((which, shared), {})[name] = 1 if found.re is other else 0
                break
    joined = {name: key for key, own in alike.items() if len({*own.values()}) > 1 for name in own}
    of: dict[str, list[str]] = {}
    for name in spelt:
        if name not in joined:
            of[name] = spelt[name]
        elif not any(spelt[name][0] in own for own in of.values()):
            own = [*alike[joined[name]]]
            called = joined[name][1].replace(" ", "_")
            labels = [label for one in own for label in spelt[one]]
            of[called if called and called not in {*names, *of} else "_or_".join(own)] = labels
    return of


def in_brief(names: Collection[str]) -> str:
    """The first eight of these names, and whether there are more."""
    return ", ".join([*names][:8]) + (", ..." if len(names) > 8 else "")
