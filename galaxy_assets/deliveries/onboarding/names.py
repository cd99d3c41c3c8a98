"""Ids of a table that stand in the names of images with one text about them: `imageEUC_VIS-200000.fits` of 200000.

Belongs here: how such names are made of ids, for a person to write them. Does not belong here: which image a row names
(`deliveries.ids`), which asks for the name itself, since one text about some numbers is soon found by chance.
"""

import re
from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from itertools import product
from math import ceil
from typing import NamedTuple

import pyarrow as pa

from galaxy_assets.deliveries.ids import NamedImages, image_name
from galaxy_assets.deliveries.onboarding.columns import is_numbering, names_in

_LOOKED_AT, _LOOKED_UP = 500, 20_000  # ids of a column, and names, that say which text it may be; ids that are sought
_SHARES = 0.9, 0.51  # of the names, or of the ids, that have one text about what differs
_FEWEST = 3  # images
_MOST = 0.5  # of the images, or of the rows
_ALIKE = str.maketrans({" ": "_", **dict.fromkeys("\u2010\u2011\u2012\u2013\u2212", "-")})
_DECIMAL = re.compile(r"(\d+)[.,]0+")


class _Way(NamedTuple):
    """How a name is made of an id.

    Attributes
    ----------
    cut, added : (str, str)
        What is taken away from the id, and put in its place, before and after.
    digits : int
        To which a number is filled by zeros; 0 where it is not.
    """

    cut: tuple[str, str]
    added: tuple[str, str]
    digits: int = 0

    def name(self, text: str) -> str:
        """The name made of an id; empty where it does not have what is taken away."""
        core = _between(text, *self.cut)
        return f"{self.added[0]}{core.zfill(self.digits)}{self.added[1]}" if core else ""

    def sum(self, column: str) -> str:
        """The name in words, such as `img_ + id`."""
        cut = " and ".join(f'"{one}" {where}' for one, where in zip(self.cut, ("before", "after"), strict=True) if one)
        digits = f" of {self.digits} digits" if self.digits else ""
        own = f"{column}{digits}{f' without {cut} it' if cut else ''}"
        return " + ".join(filter(None, (self.added[0], own, self.added[1])))

    def command(self, column: str, whole: bool) -> str:
        """The names as pandas makes them, which has `whole` numbers with gaps as decimal ones."""
        text = f"table[{column!r}]" + (".astype('Int64')" if whole else "") + ".astype(str)"
        for one, side in zip(self.cut, ("prefix", "suffix"), strict=True):
            text += f".str.remove{side}({one!r})" if one else ""
        text += f".str.zfill({self.digits})" if self.digits else ""
        before, after = (repr(one) if one else "" for one in self.added)
        return " + ".join(filter(None, (before, text, after)))


class Affix(NamedTuple):
    """A column whose ids are the names of images but for one text about them.

    Attributes
    ----------
    column : str
        Its name.
    named : int
        Images that it names so.
    words : str
        What was seen and what to do, in sentences without the last full stop.
    """

    column: str
    named: int
    words: str


def affix_of(columns: pa.Table, images: Mapping[str, str], among: Collection[str]) -> Affix | None:
    """The column whose ids are the names of images but for one text before, after or both.

    The text is the same for all of them, and they are most of the images or of the rows. A number counts as a whole:
    12 is not in `img_123`.

    Parameters
    ----------
    columns : pyarrow.Table
        Of `readers.tables.read_table`.
    images : mapping of str to str
        Id and file.
    among : Collection of str
        Columns that may hold ids.

    Returns
    -------
    Affix or None
        Of the column that names most images so, and the first of equal ones; of a column that numbers the rows only
        where no other does.
    """
    names = list(dict.fromkeys(map(image_name, images.values())))
    of_names = [(added, _cores(names, added)) for added in _abouts(_some(names))]
    found, best = NamedImages(images), None
    for column in sorted(among, key=is_numbering):
        if best is not None and is_numbering(column):
            break
        given = names_in(columns, column)
        ids = {_core(text): text for text in given if text}
        if (way := _way(_some([*ids], _LOOKED_UP), of_names)) is None:
            continue
        rows = found.match([way.name(core) for core in ids]).rows
        n = sum(map(bool, rows))
        if n >= _FEWEST and n >= _MOST * min(len(images), len(columns)) and (best is None or n > best.named):
            at = next(of_one[0] for of_one in rows if of_one)
            core, text = [*ids.items()][at]
            said = f"{way.sum(column)} ({way.name(core)} for {text}, {n} of {len(images)} images)"
            best = Affix(
                column, n, f"The names are {said}: {_said(columns, column, way, ids, None in given or '' in given)}"
            )
    return best


def _said(columns: pa.Table, column: str, way: _Way, ids: Mapping[str, str], gaps: bool) -> str:
    """What to do; with pandas unless the ids have folders or suffixes."""
    names = ["image", "image_name", *(f"image_name_{i}" for i in range(2, len(columns.column_names) + 2))]
    new = next(name for name in names if name not in columns.column_names)
    changed = [text for core, text in ids.items() if core != text]
    decimals = bool(changed) and all(map(_DECIMAL.fullmatch, changed))
    whole = all(map(str.isdigit, ids)) and (gaps or decimals or pa.types.is_floating(columns[column].type))
    by = f", with pandas by table[{new!r}] = {way.command(column, whole)}" if decimals or not changed else ""
    return f"write them so into a column of the table{by}, and name it with --id-column {new}"


def _way(ids: list[str], of_names: list[tuple[tuple[str, str], dict[str, str]]]) -> _Way | None:
    """How most names are made of ids, by what is left of the names without one text about them; None for no way."""
    counts: Counter[_Way] = Counter()
    of_ids = [(cut, _cores(ids, cut)) for cut in _abouts(_some(ids))]
    for (added, cores), (cut, own) in product(of_names, of_ids):
        pairs = [(own[key], cores[key]) for key in own.keys() & cores.keys()]
        if pairs:
            counts[_shortened(cut, added, _digits(pairs))] += len(pairs)
    counts.pop(_Way(("", ""), ("", "")), None)
    return counts.most_common(1)[0][0] if counts else None


def _cores(texts: list[str], about: tuple[str, str]) -> dict[str, str]:
    """What is left of texts without what stands about it, by what those that mean the same have in common."""
    return {_key(core): core for text in texts if (core := _between(text, *about))}


def _some(texts: list[str], most: int = _LOOKED_AT) -> list[str]:
    return texts[:: ceil(len(texts) / most) or 1]


def _abouts(texts: list[str]) -> Iterator[tuple[str, str]]:
    """What may stand before and after what differs in texts; nothing, for one."""
    before = dict.fromkeys(["", *(_shared(texts, share) for share in _SHARES)])
    backwards = [text[::-1] for text in texts]
    after = dict.fromkeys(["", *(_shared(backwards, share)[::-1] for share in _SHARES)])
    return product(before, after)


def _shared(texts: list[str], share: float) -> str:
    """The longest beginning, without digits at its end, that a share of the texts have."""
    order, n = sorted(texts), ceil(share * len(texts))
    if n < _FEWEST:
        return ""
    longest = ""
    for first, last in zip(order, order[n - 1 :], strict=False):
        if first.startswith(longest) and last.startswith(longest):
            longest = first[: _alike_for(first, last)]
    return longest.rstrip("0123456789")


def _alike_for(a: str, b: str) -> int:
    """For how many characters two texts begin alike."""
    return next((i for i, (x, y) in enumerate(zip(a, b, strict=False)) if x != y), min(len(a), len(b)))


def _shortened(cut: tuple[str, str], added: tuple[str, str], digits: int) -> _Way:
    """The way without what is taken away and put there again."""
    n, m = (_alike_for(a, b) for a, b in ((cut[0][::-1], added[0][::-1]), (cut[1], added[1])))
    before, after = ((one[0][: len(one[0]) - n], one[1][m:]) for one in (cut, added))
    return _Way(before, after, digits)


def _digits(pairs: list[tuple[str, str]]) -> int:
    """To how many digits names fill the numbers of ids, also of those that programs read without zeros; 0 for none."""
    filled = {len(name) for own, name in pairs if own.isdigit() and (len(name) > len(own) or name[:-1].startswith("0"))}
    return max(filled, default=0)


def _between(text: str, before: str, after: str) -> str:
    """What stands between two texts; empty where they are not there."""
    if len(text) <= len(before) + len(after) or not (text.startswith(before) and text.endswith(after)):
        return ""
    return text[len(before) : len(text) - len(after)]


def _core(text: str) -> str:
    """An id without folder and suffix, and without the decimals of a whole number."""
    name = image_name(text)
    number = _DECIMAL.fullmatch(name)
    return number[1] if number else name


def _key(core: str) -> str:
    """What ids and names have in common that mean the same: case, blanks, dashes and zeros before a number."""
    core = core.lower().translate(_ALIKE)
    return core.lstrip("0") or "0" if core.isdigit() else core
