"""Columns of a table that say the same, or are one when they are joined, and what they hold.

Belongs here: numbers beside the names that they stand for, and columns of yes and no of which one is true. Does not
belong here: which column is chosen (`columns`), what a name says (`column_names`).
"""

import re
from collections import Counter
from collections.abc import Collection, Mapping, Sequence

import pyarrow as pa

from galaxy_assets.deliveries.members import like_class
from galaxy_assets.deliveries.onboarding.column_names import names_housekeeping, names_people, names_thing, snake
from galaxy_assets.deliveries.onboarding.label_words import are_yes_and_no, is_number
from galaxy_assets.deliveries.onboarding.vote_tables import flags_in
from galaxy_assets.deliveries.readers.tables import labels_of

Cells = Mapping[str, Sequence[str | None]]
"""The names of columns, and what their rows say."""

_NEARLY_ALL = 0.9  # of the rows of each number that have its name
_MOST_CODES = 50  # numbers that stand for classes
_CALLED_CODES = re.compile(r"(^|_)(id|idx|index|codes?|nums?|no|nr|numbers?|int)$")
_CALLED_NAMES = re.compile(
    r"(^|_)(names?|desc(ription)?s?|text|string|meaning|shape|structure|kinds?|hubble|comments?|notes?|remarks?)(_|\d|$)"
)


def some(names: Collection[str]) -> str:
    """The first twenty of these names, and whether there are more."""
    return ", ".join([*names][:20] + ["..."] * (len(names) > 20))


def cells_of(columns: pa.Table, names: Collection[str]) -> dict[str, list[str | None]]:
    """What the rows say in each of these columns that can hold classes."""
    cells = {}
    for name in names:
        try:
            cells[name] = labels_of(columns[name])
        except ValueError:
            continue
    return cells


def different(cells: Sequence[str | None]) -> list[str]:
    """The different values of a column, in order."""
    return sorted({*cells} - {None})  # pyright: ignore[reportArgumentType, reportReturnType]


def holds_numbers(columns: pa.Table, column: str) -> bool:
    """Whether all that a column holds are numbers."""
    return all(label is None or is_number(label) for label in labels_of(columns[column]))


def codes_of(cells: Cells, able: list[str], comments: Collection[str]) -> dict[str, str]:
    """Columns of numbers, each with the one of words that has their names; of two numbers only of 0 and 1, or 1 and 2.

    Numbers that are called classes keep their column beside a `colour` that says the same, not beside a `label_name`.
    """
    values = {name: different(cells[name]) for name in [*able, *comments]}
    wordy = [
        name
        for name, own in values.items()
        if not (all(map(is_number, own)) or names_people(name) or are_yes_and_no(own, False))
    ]
    wordy.sort(key=lambda name: not _says_names(name))
    codes = {}
    for name in able:
        if not 1 < len(values[name]) <= _MOST_CODES or not all(map(is_number, values[name])):
            continue
        numbers = {float(one.replace(",", ".")) for one in values[name]}
        two = len(numbers) == 2 and numbers not in ({0, 1}, {1, 2})
        if len(numbers) < len(values[name]) or two or (are_yes_and_no(values[name], True) and names_thing(name)):
            continue
        anyhow = like_class([name]) is None or _CALLED_CODES.search(snake(name)) is not None
        able_too = (one for one in wordy if len(values[one]) >= len(numbers) and (anyhow or _says_names(one)))
        if (names := next((one for one in able_too if _are_named(cells[name], cells[one])), None)) is not None:
            codes[name] = names
    return codes


def _says_names(column: str) -> bool:
    """Whether a column is called as one of classes, or of names of them."""
    return like_class([column]) is not None or _CALLED_NAMES.search(snake(column)) is not None


def _are_named(numbers: Sequence[str | None], names: Sequence[str | None]) -> bool:
    """Whether each number has one name, which no other has, in nearly all of its rows."""
    name_of, number_of, named = {}, {}, Counter[str]()
    for number, name in zip(numbers, names, strict=True):
        if number is None or name is None:
            continue
        if name_of.setdefault(number, name) != name or number_of.setdefault(name, number) != number:
            return False
        named[number] += 1
    rows = Counter(numbers)
    return all(named[number] >= _NEARLY_ALL * n for number, n in rows.items() if number is not None)


def about_codes(codes: Mapping[str, str], column: str) -> list[str]:
    """What to say of columns of numbers that stand for the classes of a column."""
    numbers = [name for name, names in codes.items() if names == column]
    return [f"column {column} has the names of the numbers in {some(numbers)}"] if numbers else []


def spread_over(cells: Cells, among: Collection[str]) -> list[str]:
    """Columns of yes and no, exactly one of which is true in every row; empty where there are none."""
    found: dict[str, list[bool]] = {}
    for name in among:
        said = [(label or "").lower() for label in cells.get(name, [None])]
        if {*said} <= {"0", "1"} or {*said} <= {"true", "false"}:
            found[name] = [one in ("1", "true") for one in said]
    return list(found) if len(found) > 1 and all(sum(row) == 1 for row in zip(*found.values(), strict=True)) else []


def marks_of_kinds(cells: Cells) -> list[str]:
    """Columns of yes and no that are called flags and are about a thing, or of which one is true in every row."""
    flags = [name for name in flags_in(cells) if are_yes_and_no(different(cells[name]), True)]
    of_kinds = [name for name in flags if not names_housekeeping(re.sub("[_ -]flags?$", "", name, flags=re.IGNORECASE))]
    return spread_over(cells, of_kinds) or [name for name in of_kinds if names_thing(name)]


def how_to_join(spread: list[str]) -> str:
    """How columns of yes and no become one of classes."""
    joined = f"table['class'] = table[{spread}].idxmax(axis=1)"
    return (
        f". Of {some(spread)} one is true in every row: if these are the classes, write them as one column, with "
        f"pandas by {joined}, and name that"
    )
