"""Beginnings of the names of images that may be classes: `FRI_100.png` and `FRII_103.png`.

Belongs here: which beginnings a person should look at; nothing is done by them. Does not belong here: names of folders
(`folders`), ids in names (`names`).
"""

import re
from collections import Counter
from collections.abc import Sequence

from galaxy_assets.deliveries.members import is_no_class_folder, is_split
from galaxy_assets.deliveries.onboarding.bands import band_in

_MOST, _EACH, _NEARLY_ALL = 10, 5, 0.9  # beginnings, images of each, share of all images
_WORDS = re.compile(r"[^\W\d_]+(?:[ _.-][^\W\d_]+)*")
_HEX = re.compile(r"(?=.*\d)[0-9a-f]{6,}", re.IGNORECASE)
# what objects, their fields and their files are called by
_NO_CLASS = re.compile(
    r"(ngc|ic|ugca?|pgc|leda|eso|mcg|mrk|mkn|arp|abell|aco|messier|m|hcg|vv|vcc|cgcg|iras|2?mass?x?|sdss|hsc|des|decals|"
    r"desi|legacy|legacysurvey|ls|kids|ps|pan-?starrs|lsst|rubin|euc|eucl|euclid|hst|acs|wfc|jwst|nircam|miri|ceers|"
    r"cosmos|egs|aegis|goods|uds|cdfs|ecdfs|xmm|lockman|elais|spt|act|first|nvss|vlass|lofar|lotss|tgss|mgcls|rgz|gama|"
    r"galex|wise|vis|j|b|g|img|im|pic|gal|obj|object|src|source|cutout|frame|stamp|tile|field|id)s?([-_ .](n|s|north|"
    r"south|wide|deep|ultradeep|udeep))?",
    re.IGNORECASE,
)


def beginnings(names: Sequence[str]) -> dict[str, int]:
    """What the names of images begin with, before digits, where that may be a class.

    Parameters
    ----------
    names : sequence of str
        Of images, without folders and suffixes.

    Returns
    -------
    dict of str to int
        Images of each, the commonest first; empty where the beginnings are too many, too rare, not those of nearly all
        names, or known as parts of a sample, bands, catalogues or surveys.

    Examples
    --------
    >>> from galaxy_assets.deliveries.onboarding.beginnings import beginnings
    >>> beginnings([f"{'FRII' if i % 3 else 'FRI'}_{i}" for i in range(30)])
    {'FRII': 20, 'FRI': 10}
    """
    for way in (_words, _whole_words, _first_word):
        counts = Counter(way(name) for name in names)
        found = {text: n for text, n in counts.most_common() if text and n >= _EACH}
        found = _without_ending(found)
        may_be = [text for text in found if not _is_known(text)]
        if len(may_be) > 1 and len(found) <= _MOST and sum(found.values()) >= _NEARLY_ALL * len(names):
            return found
    return {}


def _words(name: str) -> str:
    """The words that a name begins with, before its first digit; empty for a hexadecimal id."""
    if _HEX.fullmatch(re.split(r"[\W_]", name)[0]):
        return ""
    return found[0] if (found := _WORDS.match(name)) else ""


def _whole_words(name: str) -> str:
    """As `_words`, without a last word that goes on with digits, unless it is the only one."""
    words = _words(name)
    if not name[len(words) : len(words) + 1].isdigit():
        return words
    return re.sub(r"[ _.-][^ _.-]*$", "", words)


def _first_word(name: str) -> str:
    return re.split(r"[ _.-]", _words(name))[0]


def _without_ending(counts: dict[str, int]) -> dict[str, int]:
    """The beginnings without a last word that all have, such as the J of `FRI_J1000`."""
    ends = {re.sub(r"^.*(?=[ _.-])", "", text) if re.search(r"[ _.-]", text) else "" for text in counts}
    end = ends.pop() if len(ends) == 1 else ""
    return {text.removesuffix(end): n for text, n in counts.items()}


def _is_known(text: str) -> bool:
    """Whether a beginning is none of a class: that of a part of a sample, a band, a catalogue or a survey."""
    band = band_in(text)
    return (
        bool(_NO_CLASS.fullmatch(text))
        or is_no_class_folder(text)
        or is_split(text)
        or (band is not None and not band[0])
    )
