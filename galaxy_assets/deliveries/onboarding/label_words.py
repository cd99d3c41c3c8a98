"""What single labels say: yes or no, a flaw of an image, or that nobody knew.

Belongs here: the words themselves. Does not belong here: what follows for a survey (`classes`), names of columns
(`column_names`), what programs write for nothing (`deliveries.members`).
"""

import re
from collections.abc import Collection

from galaxy_assets.deliveries.members import is_no_class

FLAWS = (
    r"art[ei]facts?|stars?(?! form)|junk|others?|none|ghosts?|cosmic rays?|(bad|poor)( quality| seeing)?|low quality|"
    r"problems?|nois[ey]|empty|blank|invalid|defects?|(satellite )?trails?|saturated|corrupt(ed)?|glitch(es)?|"
    r"fail(ed|ure)|errors?|flaws?|blend(s|ed)?|diffraction( spikes?)?|unusable|tbd|undecided|ambiguous|uncertain|"
    r"doubtful|missing|no data|contaminat(ed|ion|ant)|reject(ed)?|discard(ed)?"
)
"""Flaws of images, and answers that are none, as `words` has them."""
YES, NO = frozenset(["yes", "y", "true", "t", "1"]), frozenset(["no", "n", "false", "f", "0"])
"""What a column of yes and no says, as `words` has it."""

_NUMBER = re.compile(r"[+-]?\d+([.,]\d*)?|[+-]?[.,]\d+")
_CODES = frozenset([-9, -99, 99, -999, 999, -9999, 9999])  # that stand for nothing beside a word or a yes and a no
_ROMAN = re.compile(r"(fr ?)?[ivx]+[ab]?")  # as in 0, I, II
# nobody knew: neither judged nor sought
_KIND = r"( (class|classification|type|kind|morphology|shape|object|source|galaxy))?"
_UNKNOWN = re.compile(
    rf"(dont|do not|didnt|cant|cannot|could not|couldnt|not|un) ?(know|tell|say|sure|decide|classify|determine){_KIND}|"
    rf"un(kn?|known|knwn|certain|sure|clear|classified|classifiable|defined|determined|determinable|identified|"
    rf"identifiable|specified|assigned|categori[sz]ed|rated|decidable|kown){_KIND}|"
    r"not (available|applicable|known|clear|certain|classified|defined|determined|identified|specified|assigned)|"
    r"no (idea|class|classification|type|answer|consensus|majority|agreement|opinion|value|information|info)|"
    r"in(determinate|determinable|definite|conclusive)|missing( (value|class|label))?|dunno|idk|nan|"
    r"\?+|-?99+(\.0+)?"
)


def words(label: str) -> str:
    """A label in lower case, its words apart by one blank."""
    return re.sub(r"[\s_'’-]+", lambda match: "" if match[0] in "'’" else " ", label.lower()).strip()


def is_unknown(label: str) -> bool:
    """Whether a label says that nobody knew, or that there is none."""
    return is_no_class(label) or _UNKNOWN.fullmatch(words(label).strip(" .!()[]")) is not None


def is_number(label: str) -> bool:
    """Whether a label is a number."""
    return _NUMBER.fullmatch(label) is not None


def yes_or_no(label: str) -> str:
    """A label as `YES` and `NO` have it, if it is one of theirs: `1.0` is 1."""
    plain = words(label)
    return re.sub(r"[.,]0*$", "", plain) if is_number(plain) else plain


def are_yes_and_no(labels: Collection[str], numbers: bool) -> bool:
    """Whether labels, but those that say that nobody knew, are one yes and one no of a pair.

    Parameters
    ----------
    labels : Collection of str
        Different ones.
    numbers : bool
        Whether 0 and 1 are such a pair.

    Returns
    -------
    bool

    Examples
    --------
    >>> from galaxy_assets.deliveries.onboarding.label_words import are_yes_and_no
    >>> are_yes_and_no(["Yes", "no", "?"], False), are_yes_and_no(["0", "1.0"], True), are_yes_and_no(["0", "1"], False)
    (True, True, False)
    """
    said = {yes_or_no(label) for label in labels if not is_unknown(label)}
    if "1" in said:
        said = {one for one in said if not (is_number(one) and float(one.replace(",", ".")) in _CODES | {-1, 9})}
    pairs = [{"yes", "no"}, {"true", "false"}, {"y", "n"}, {"t", "f"}] + [{"1", "0"}] * numbers
    return said in pairs


def stray_numbers(labels: Collection[str]) -> list[str]:
    """The numbers among labels that are words, which stand for no class.

    Parameters
    ----------
    labels : Collection of str
        Different ones.

    Returns
    -------
    list of str
        Those that programs write for nothing (-99). None where all are numbers, and where a word is a Roman number.

    Examples
    --------
    >>> from galaxy_assets.deliveries.onboarding.label_words import stray_numbers
    >>> stray_numbers(["E", "S", "-99"]), stray_numbers(["SF", "LINER", "2"])
    (['-99'], [])
    """
    return [label for label in numbers_among_words(labels) if float(label.replace(",", ".")) in _CODES]


def numbers_among_words(labels: Collection[str]) -> list[str]:
    """The numbers among labels that are words; none where a word is a Roman number."""
    known = [label for label in labels if not is_unknown(label)]
    numbers = [label for label in known if is_number(label)]
    others = [label for label in known if label not in numbers]
    return [] if not others or any(_ROMAN.fullmatch(words(label)) for label in others) else numbers
