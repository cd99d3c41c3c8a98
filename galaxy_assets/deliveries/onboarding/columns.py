"""Which columns of a table name the images and hold their classes, by their names and by what is in them.

Belongs here: one judge of values, for tables and containers. Does not belong here: positions (`sky.positions`), scores
(`graded`), what the catalogue holds of them (`labels`).
"""

import re
from collections import Counter
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import NamedTuple

import pyarrow as pa

from galaxy_assets.deliveries.ids import NamedImages
from galaxy_assets.deliveries.members import IDS, LABELS, like_class
from galaxy_assets.deliveries.onboarding.column_names import (
    PASSED_OVER,
    describes,
    left_out,
    may_hold_kinds,
    names_absence,
    names_counts,
    names_housekeeping,
    names_people,
    names_thing,
    passed_over,
    says_who,
    snake,
)
from galaxy_assets.deliveries.onboarding.column_pairs import (
    Cells,
    about_codes,
    cells_of,
    codes_of,
    different,
    holds_numbers,
    how_to_join,
    marks_of_kinds,
    some,
    spread_over,
)
from galaxy_assets.deliveries.onboarding.graded import is_called_scores
from galaxy_assets.deliveries.onboarding.label_words import are_yes_and_no, is_number
from galaxy_assets.deliveries.onboarding.vote_tables import about_votes, flags_in, tallies
from galaxy_assets.deliveries.readers.tables import RoundedIds, ids_of, labels_of
from galaxy_assets.deliveries.readers.text_tables import KNOWN
from galaxy_assets.deliveries.suffixes import without_suffix
from galaxy_assets.settings.files import SurveyError

CLASSES = ("label", "labels", "class", "class_name", "classification", "human_label", "morphology", "category", "type")
"""Names of columns of classes, in lower case, the likeliest first."""

_NO_IDS = {*CLASSES, *LABELS, "ra", "dec", "score"}
# how programs call a column that numbers the rows; `column_1` is one without a name
_NUMBERING = re.compile(r"(column|level|unnamed|__index_level)[ _:]*\d+_*(_\d+)?|index|row(_?(id|num|number))?")
_SOME, _MANY, _NEARLY_ALL = 0.1, 0.5, 0.9  # of the images that another column names
_DECIMAL = re.compile(r"[+-]?\d*[.,](?!0+$)\d+([eE][+-]?\d+)?|[+-]?\d+([.,]\d*)?[eE][+-]\d+")
_NUMBER = re.compile(r"[+-]?\d+([.,]\d*)?|[+-]?[.,]\d+")
_OF = re.compile(r"\d+([.,]\d+)?\s*/\s*\d+")  # 3.5/5
_PLACE = re.compile(r"[+-]?\d{1,3}[:hd °]\s?\d{1,2}[:m ']\s?\d{1,2}(\.\d*)?[s\"]?")  # 12:30:00.5
_CODE = re.compile(r"[+-]?\d+|True|False", re.IGNORECASE)
_SOME_DECIMALS = 0.1  # of the values of a column of numbers, above which they are measured or given in halves
# what counts or a model gives, and who looked: no class, whatever else is in the name
_FRACTIONS = re.compile(r"(^|_)(prob(a|ability)?|p)_|(^|_)(fraction|frac|debiased|prob(a|ability)?|confidence)$")
_SURE = re.compile(r"(^|_)confidence$")
_FRACTION = "holds fractions of votes or probabilities"
_TALLY = "holds counts, weights or flags"
_SURENESS = "says how sure somebody was"
_KINDS = re.compile(r"(^|_)(kinds?|cls|ans|answers?|hubble)(_|$)")
_T_TYPES = re.compile(r"(^|_)t_?types?(_|$)")
_RARE = 0.2  # of the images
_FEW_ROWS = 10  # fewer say nothing of a column that is called a class
_MOST_STEPS = 20  # numbers that are kinds and no steps of a sequence
_MOST_CODES = 50  # numbers that are classes in a column that is not called so


class Chosen(NamedTuple):
    """A column, and what a person should know of the choice."""

    column: str | None
    notes: list[str]


class ClassColumn(NamedTuple):
    """A column, what a person should know of the choice, and whether it or its numbers are called classes."""

    column: str | None
    notes: list[str]
    named: bool


def named_by(columns: pa.Table, images: Mapping[str, str]) -> dict[str, int]:
    """How many images the values of each column name.

    Parameters
    ----------
    columns : pyarrow.Table
        Of `readers.tables.read_table`.
    images : mapping of str to str
        Id and file.

    Returns
    -------
    dict of str to int
    """
    found, named = NamedImages(images), {}
    for column in columns.column_names:
        names = dict.fromkeys(name for name in names_in(columns, column) if name)
        named[column] = sum(bool(rows) for rows in found.match(list(names)).rows)
    return named


def id_column(path: Path, columns: pa.Table, images: Mapping[str, str], named: Mapping[str, int]) -> Chosen:
    """The column that names the images.

    Names of files come before names that are known for ids, and these before others; a column that numbers the rows is
    taken where no other names images, but by classes or counts.

    Parameters
    ----------
    path : Path
        The table's file, for messages.
    columns : pyarrow.Table
        Of `readers.tables.read_table`.
    images : mapping of str to str
        Id and file.
    named : mapping of str to int
        Of `named_by`.

    Returns
    -------
    Chosen
        None where no column names an image.

    Raises
    ------
    SurveyError
        Where two columns name as many images, neither is the likelier and they name different ones in a row.
    """
    # a numbering whose own numbers are not nearly all images says nothing of which rows are about which
    numbered = max(
        (
            n
            for name, n in named.items()
            if is_numbering(name) and n >= _NEARLY_ALL * len({*names_in(columns, name)} - {None, ""})
        ),
        default=0,
    )
    names = {name: n for name, n in named.items() if n and _may_name(columns, name, n, numbered)}
    most = max(names.values(), default=0)
    if most < max(1, _SOME * max(named.values(), default=0)):
        most = max(named.values(), default=0)
        able = [name for name, n in named.items() if n == most > 0]
    else:
        able = [name for name, n in names.items() if n >= _MANY * most]
    ranks = {name: (_rank(columns, name), -named[name]) for name in able}
    chosen = min(able, key=lambda name: ranks[name], default=None)
    if chosen is None:
        return Chosen(None, [])
    found, notes = NamedImages(images), []
    rows = _rows(found, columns, chosen)
    for other in (name for name, n in named.items() if name != chosen and n >= max(1, _MANY * named[chosen])):
        n = sum(
            bool(a) and bool(b) and a.isdisjoint(b) for a, b in zip(rows, _rows(found, columns, other), strict=True)
        )
        if n and other in ranks and ranks[other] == ranks[chosen]:
            raise SurveyError(
                f"{path}: columns {chosen} and {other} both name the images, and {n} of them in different rows; say "
                "which does with --id-column"
            )
        if n and other.lower() not in _NO_IDS:
            notes.append(
                f"column {chosen} is taken for the names of the images; {other} has such names too, of {n} images in "
                "other rows (--id-column)"
            )
    return Chosen(chosen, notes)


def class_column(path: Path, columns: pa.Table, among: Collection[str], images: int = 0) -> ClassColumn:
    """The column that holds the classes.

    Parameters
    ----------
    path : Path
        The table's file, for messages.
    columns : pyarrow.Table
        Of `readers.tables.read_table`.
    among : Collection of str
        Columns that hold neither ids, positions nor scores.
    images : int
        How many there are: see `why_no_classes`.

    Returns
    -------
    ClassColumn
        The one called `label`, `class` or the like, or the only one left, of those whose values may be classes. Where
        there is no other: one that may be scores (`anomaly` of 0 and 1), one that is passed over by its name alone, of
        counts or of what images are used for, or one that is called as a person (`classifier`). Of two that say the
        same that with the names. None where there is none. The notes name every other one that may
        hold them, and say what is a guess and what is passed over.

    Raises
    ------
    SurveyError
        Where it may be one of several.
    """
    cells, votes = cells_of(columns, among), about_votes(path, columns.column_names)
    marks = marks_of_kinds(cells)
    why = _whys(columns, cells, among, images, marks)
    over = {name: reason for name, reason in why.items() if reason in PASSED_OVER}
    able = [name for name in among if why[name] is None]
    codes = codes_of(cells, able, [name for name, reason in over.items() if reason == "comment" and describes(name)])
    able = list(dict.fromkeys([*able, *codes.values()]))
    exact = sorted((name for name in able if name.lower() in CLASSES), key=lambda name: CLASSES.index(name.lower()))
    known = list(dict.fromkeys(codes.get(name, name) for name in exact))
    strong = [*exact, *known, *codes, *marks]
    weak = [name for name in able if name not in strong and _is_weak(cells, name)]
    alike = (name for name in able if like_class([name]) and not names_people(name) and name not in weak)
    like = [name for name in dict.fromkeys(codes.get(name, name) for name in alike) if name not in known]
    left = [name for name in able if name not in codes and name not in known + like + weak]
    people = [name for name in left if names_people(name)]
    marked = [name for name in left if is_called_scores(name) and says_whether(columns, name)]
    left = [name for name in left if name not in people + marked]
    over = {name: reason for name, reason in over.items() if name not in able}
    kinds = [name for name in over if over[name] != "part" and may_hold_kinds(name, different(cells[name]))]
    first, *others = [group for group in (known + like + left, marked, kinds, weak, people) if group] or [[]]
    over = {name: reason for name, reason in over.items() if first is not kinds or name not in kinds}
    said = left_out(over, {name: different(cells[name]) for name in over})
    said += [votes] if votes else _about_fractions(why)
    if not first:
        return ClassColumn(None, _why_none(why, over, votes, columns) + said, False)
    named = bool(known) or len(like) == 1
    if len(first) > 1 and not named:
        shown = first + (weak if first is not weak else [])
        spread = spread_over(cells, [name for name in among if name not in over]) or spread_over(cells, first)
        joined = how_to_join(spread) if len(spread) > 2 or {*shown} <= {*spread} else ""
        raise SurveyError(
            f"{path}: which column holds the classes? It has {some(shown)}. Name one with --label-column, or write "
            f"--label-column none{joined}{f'. And {votes}' if votes else ''}"
        )
    lesser = [weak] if named else [group for group in others if group is not kinds]
    column, *also = [*first, *(name for group in lesser for name in group)]
    taken = f"column {column} is taken for the classes"
    if also:
        notes = [f"{taken}; {some(also)} may hold them too (--label-column)"]
    elif named:
        notes = [] if known else [f"{taken}, by its name (--label-column)"]
    else:
        notes = [f"{taken}, as the only one that may hold them (--label-column none)"]
    return ClassColumn(column, [*notes, *about_codes(codes, column), *said], named)


def _why_none(why: Mapping[str, str | None], over: Collection[str], votes: str, columns: pa.Table) -> list[str]:
    """What to say where no column holds classes, but of those that are passed over."""
    reasons = {name: reason for name, reason in why.items() if reason and name not in over}
    if votes or _about_fractions(why):
        of_votes = tallies(columns.column_names) if votes else []
        reasons = {name: one for name, one in reasons.items() if one != _FRACTION and name not in of_votes}
    shown = "; ".join(f"{name} {reason}" for name, reason in sorted(reasons.items(), key=_says_little)[:4])
    none = f"no column is taken for the classes: {shown}. If one holds them, name it with --label-column"
    return [none] * bool(reasons)


def _whys(
    columns: pa.Table, cells: Cells, among: Collection[str], images: int, marks: Collection[str]
) -> dict[str, str | None]:
    """Why each column holds no classes: words that follow on its name, or a word of `passed_over`."""
    why, of_votes = {}, {*tallies(columns.column_names)} - {*marks, *flags_in(columns.column_names)}
    for name in among:
        called_so = name.lower() in CLASSES or (like_class([name]) is not None and not names_people(name))
        why[name] = _why_not(columns, cells, name, called_so, images)
        labels = different(cells.get(name, []))
        if why[name] is None and name in of_votes and all(map(is_number, labels)):
            why[name] = _TALLY
        elif why[name] is None or (why[name] == _SURENESS and not all(map(is_number, labels))):
            over = passed_over(name, labels)
            why[name] = why[name] if over is None or (name.lower() in CLASSES and over != "part") else over
    return why


def _about_fractions(why: Mapping[str, str | None]) -> list[str]:
    fractions = [name for name, reason in why.items() if reason == _FRACTION]
    if len(fractions) < 2:
        return []
    return [
        f"{some(fractions)} hold fractions of votes or probabilities, and no classes: `source.votes` reads those of "
        "Galaxy Zoo (docs/surveys.md), others are not known"
    ]


def _is_weak(cells: Cells, name: str) -> bool:
    """Whether a column may hold classes, but less likely than any other: counts, and what images are used for."""
    return names_counts(name) or (names_housekeeping(name) and are_yes_and_no(different(cells[name]), True))


def is_called_classes(column: str) -> bool:
    """Whether a column has a name for classes."""
    called_so = (
        column.lower() in CLASSES or like_class([column]) is not None or _KINDS.search(snake(column)) is not None
    )
    return called_so and not names_people(column)


def is_ordered(columns: pa.Table, column: str) -> bool:
    """Whether a column holds steps of a sequence, such as T types, of which the rarest is no kind of its own."""
    if not holds_numbers(columns, column):
        return False
    steps = {float(label.replace(",", ".")) for label in labels_of(columns[column]) if label is not None}
    below = sum(step < -1 and step > -99 for step in steps)
    return bool(_T_TYPES.search(snake(column))) or below > 1 or len(steps) > _MOST_STEPS


def says_whether(columns: pa.Table, column: str) -> bool:
    """Whether a column says of each image whether it shows a thing that people may look for.

    In words or as truths, or by 0 and 1 where it is called as a thing; not where it is called as a flaw of images, as
    what becomes of them, or as what is not there.
    """
    if names_housekeeping(column) or names_absence(column):
        return False
    try:
        return are_yes_and_no(different(labels_of(columns[column])), names_thing(column))
    except ValueError:
        return False


def why_no_classes(counts: Mapping[str, int], called_so: bool, images: int = 0, rows: int = 0) -> str | None:
    """Why values are no classes; None where they may be.

    Parameters
    ----------
    counts : mapping of str to int
        How often each value is there.
    called_so : bool
        Whether their column has a name for classes.
    images : int
        How many there are: one value of few of them may be what is known and sought.
    rows : int
        How many there are, with a value or without.

    Returns
    -------
    str or None
        Follows on the name of the column.
    """
    n = sum(counts.values())
    if not counts:
        return "is empty"
    if len(counts) == 1:
        where = f"{n} of {rows} rows and nothing in the others" if n < rows else "every row"
        return None if called_so and n <= _RARE * images else f"holds {next(iter(counts))} in {where}"
    if called_so and n < _FEW_ROWS:
        return None
    if all(map(_PLACE.fullmatch, counts)):
        return "holds coordinates"
    decimals = sum(times for value, times in counts.items() if _DECIMAL.fullmatch(value))
    if 2 * decimals > n or (decimals > _SOME_DECIMALS * n and all(map(_NUMBER.fullmatch, counts))):
        return "holds decimal numbers"
    if all(map(_OF.fullmatch, counts)):
        return f"holds scores such as {next(iter(counts))}, which are read where the number stands alone"
    if 2 * len(counts) > n or 2 * sum(times for times in counts.values() if times > 1) <= n:
        return f"holds {len(counts)} different values in {n} rows"
    if not called_so and len(counts) > _MOST_CODES and all(map(_CODE.fullmatch, counts)):
        return f"holds {len(counts)} different numbers"
    return None


def _why_not(columns: pa.Table, cells: Cells, name: str, called_so: bool, images: int) -> str | None:
    if says_who(name):
        return "says who looked"
    if _FRACTIONS.search(snake(name)) and _are_fractions(columns[name], is_called_classes(name)):
        return _FRACTION
    if _SURE.search(snake(name)):
        return _SURENESS
    labels = cells.get(name)
    if labels is None:
        return f"holds {'decimal numbers' if pa.types.is_floating(columns[name].type) else columns[name].type}"
    counts = Counter(label for label in labels if label is not None)
    return why_no_classes(counts, called_so, images, len(labels))


def _says_little(reason: tuple[str, str | None]) -> bool:
    """Whether a column is passed over for what no person need look at; a value in a few rows may be what is sought."""
    return "in the others" not in (reason[1] or "")


def _are_fractions(column: pa.ChunkedArray, classes: bool) -> bool:
    """Whether all that a column holds are numbers of 0 to 1; 0 and 1 alone are a no and a yes of `classes`."""
    try:
        numbers = [float(str(cell).replace(",", ".")) for cell in column.to_pylist() if cell not in (None, "")]
    except ValueError:
        return False
    numbers = [number for number in numbers if number == number]
    return all(0 <= number <= 1 for number in numbers) and not (classes and {*numbers} <= {0, 1})


def rounded(columns: pa.Table) -> list[str]:
    """What to say of the columns whose ids lost their last digits, a sentence each."""
    said = []
    for column in columns.column_names:
        try:
            ids_of(columns[column])
        except RoundedIds as error:
            said.append(f"column {column} {error}")
        except ValueError:
            continue
    return said


def names_in(columns: pa.Table, column: str) -> list[str | None]:
    """How the rows name their images in a column; empty where it can hold no names."""
    try:
        return ids_of(columns[column])
    except ValueError:
        return []


def _rows(found: NamedImages, columns: pa.Table, column: str) -> list[set[int]]:
    """Of each image the rows that a column says are about it."""
    return [set(rows) for rows in found.match([name or "" for name in names_in(columns, column)]).rows]


def is_numbering(column: str) -> bool:
    """Whether a column is called as programs call one that numbers the rows."""
    return _NUMBERING.fullmatch(column.lower()) is not None


def _may_name(columns: pa.Table, column: str, n: int, numbered: int) -> bool:
    """Whether a column that names `n` images may come before one that numbers the rows and names `numbered`.

    ClassColumn and counts are whole numbers too, and name the few images that are called so.
    """
    if is_numbering(column):
        return False
    if not numbered or _rank(columns, column) < 2:
        return True
    names = [name for name in names_in(columns, column) if name]
    again = len({*names}) < _NEARLY_ALL * len(names)
    return column.lower() not in _NO_IDS and not (again and n < _NEARLY_ALL * numbered)


def _rank(columns: pa.Table, column: str) -> int:
    """How little a column looks like names of images."""
    names = [name for name in names_in(columns, column) if name]
    if 2 * sum(without_suffix(name) != name for name in names) > len(names):
        return 0
    lower = column.lower()
    return 1 if lower in {*IDS, *KNOWN} - _NO_IDS else 3 if is_numbering(column) or lower in _NO_IDS else 2
