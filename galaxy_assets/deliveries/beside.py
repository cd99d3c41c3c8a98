"""Names of what lies beside an image and is none: its errors, weights, masks, its point spread function, its thumbnail.

Belongs here: names of FITS extensions, of arrays and of files, in the same words. Does not belong here: what becomes of
what is called so (`decoding.fits`, `image_arrays`, `places`).
"""

import re
from collections.abc import Iterable, Mapping
from typing import Literal

from galaxy_assets.deliveries.decoding.planes import band_name, is_band
from galaxy_assets.deliveries.suffixes import without_suffix

_WORDS = (
    "err|error|dq|wht|wgt|wt|wei|weight|ivar|invvar|inversevariance|variance|var|mask|msk|bitmask|seg|segmap|segm|"
    "segmentation|chi|con|ctx|std|sigma|rms|noise|unc|uncert|uncertainty|exp|exptime|nexp|psf|quality|flag|bkg|"
    "background|sky"
)
_SMALLER = "thumb|thumbnail|preview|quicklook|small"  # of files and folders; an extension may be any image of its own
_BESIDE = re.compile(rf"({_WORDS})([0-9]*|s|[ugrizyjhk])", re.IGNORECASE)
_SMALL_COPY = re.compile(rf"({_SMALLER})s?", re.IGNORECASE)
_WITHOUT = {"no", "not", "minus", "less", "with", "without"}  # `DATA_NO_SKY` is an image
_SCIENCE = re.compile(r"(sci|science|drz|drc)[0-9]*", re.IGNORECASE)
# what such names have beside the word that tells
_NEUTRAL = re.compile(r"\d+|[a-z]|images?|imgs?|cutouts?|data|flux|pixels|maps?|planes?|arrays?|inverse", re.IGNORECASE)
_SEPARATORS = re.compile(r"[\s_./-]+")

_Key = tuple[str, tuple[str, ...]]  # folder and words of a file's name

NOT_IMAGES = "errors, weights, masks and the like"


def kind_of_name(name: str) -> Literal["beside", "science"] | None:
    """What the name of an extension or an array says of it, whatever band or number is in it.

    Parameters
    ----------
    name : str

    Returns
    -------
    {'beside', 'science'} or None
        None where it says neither.

    Examples
    --------
    >>> from galaxy_assets.deliveries.beside import kind_of_name
    >>> kind_of_name("WHT_F160W"), kind_of_name("G_SCI"), kind_of_name("sky_subtracted")
    ('beside', 'science', None)
    """
    words = [word for word in _SEPARATORS.split(name) if word and not _NEUTRAL.fullmatch(word)]
    words = [word for word in words if not is_band(band_name(word))]
    if not words:
        return None
    if len(words) > 1 and words[-2].lower() in _WITHOUT:
        return None
    # VAR_POISSON and the like are of the Hubble and Webb pipelines
    if _BESIDE.fullmatch(words[-1]) or words[0].lower() == "var":
        return "beside"
    return "science" if _SCIENCE.fullmatch(words[-1]) else None


def is_of_smaller(word: str) -> bool:
    """Whether a folder, or a word of a file's name, says that it is of small copies: `thumbnails`, `preview`."""
    return _SMALL_COPY.fullmatch(word) is not None


def files_beside(names: Iterable[str]) -> dict[str, str]:
    """Files that lie beside the image of another: `x_wht.fits` beside `x_sci.fits`, `x_thumb.png` beside `x.png`.

    The word is the last of the name, without a number, or the other is called as science images are: `J_rms12.png` and
    `sky_1.png` are images.

    Parameters
    ----------
    names : iterable of str
        Of images, with their folders.

    Returns
    -------
    dict of str to str
        Of each such file the image that it lies beside. A file is none where there is no such image.
    """
    files: dict[_Key, str] = {}
    science: dict[_Key, str] = {}
    called: dict[str, tuple[_Key, bool]] = {}
    names = list(names)
    text = "\n".join(names).lower()  # folders of a million files are looked at often
    words_in = [word for word in f"{_WORDS}|{_SMALLER}".split("|") if word in text]
    if not words_in or not re.search(rf"(?<![a-z])(?:{'|'.join(words_in)})", text):
        return {}
    for name in names:
        folder, _, own = name.rpartition("/")
        words = [word for word in _SEPARATORS.split(without_suffix(own).lower()) if word]
        at = _word_that_tells(words)
        left = [(i, word) for i, word in enumerate(words) if word not in ("image", "img")]
        left = [(i, word) for i, word in left if not _SCIENCE.fullmatch(word)]
        files.setdefault((folder, tuple(word for _, word in left)), name)
        key = folder, tuple(word for i, word in left if i != at)
        if at is not None:
            called[name] = key, at == len(words) - 1 and not words[at][-1].isdigit()
        elif any(map(_SCIENCE.fullmatch, words)):
            science.setdefault(key, name)
    found = {name: science.get(key) or (files.get(key) if last else None) for name, (key, last) in called.items()}
    beside = {name: other for name, other in found.items() if other is not None}
    for name, image in beside.items():
        while image in beside:  # the mask of a small copy lies beside the image itself
            image = beside[image]
        beside[name] = image
    return beside


def _word_that_tells(words: list[str]) -> int | None:
    """Which of the words of a name says that the file lies beside an image: of small copies the last alone."""
    if words and is_of_smaller(words[-1]):
        return len(words) - 1
    return next((i for i in reversed(range(len(words))) if _BESIDE.fullmatch(words[i])), None)


def notes_beside(beside: Mapping[str, str]) -> list[str]:
    """What to say of files that lie beside images and are not taken.

    Parameters
    ----------
    beside : mapping of str to str
        As `files_beside` gives it.

    Returns
    -------
    list of str
    """
    if not beside:
        return []
    name, what = min(beside), "errors, weights, masks, thumbnails and the like"
    said = f"{len(beside):,} files are not taken, since their names are those of {what} of the image beside them"
    return [f"{said}, such as {name} of {beside[name]}: rename those that are images"]
