"""Columns of a table that say the same, or are one when they are joined, and what they hold.

Belongs here: numbers beside the names that they stand for, and columns of yes and no of which one is true. Does not
belong here: which column is chosen (`columns`), what a name says (`column_names`).
"""

from collections.abc import Collection, Mapping

import pyarrow as pa

from galaxy_assets.deliveries.onboarding.column_names import names_people, names_thing
from galaxy_assets.deliveries.onboarding.label_words import are_yes_and_no, is_number
from galaxy_assets.deliveries.readers.tables import labels_of


def some(names: Collection[str]) -> str:
    """The first twenty of these names, and whether there are more."""
    return ", ".join([*names][:20] + ["..."] * (len(names) > 20))


def values_of(columns: pa.Table, name: str) -> list[str]:
    """The different values of a column, in order."""
    return sorted({label for label in labels_of(columns[name]) if label is not None})


def holds_numbers(columns: pa.Table, column: str) -> bool:
    """Whether all that a column holds are numbers."""
    return all(label is None or is_number(label) for label in labels_of(columns[column]))


def codes_of(columns: pa.Table, able: list[str]) -> dict[str, str]:
    """Columns of numbers, each with the one of words that says the same; of two numbers only of 0 and 1, or 1 and 2."""
    values = {name: values_of(columns, name) for name in able}
    wordy = [
        name
        for name in able
        if not (all(map(is_number, values[name])) or names_people(name) or are_yes_and_no(values[name], False))
    ]
    codes = {}
    for name in able:
        numbers = {float(one.replace(",", ".")) for one in values[name] if is_number(one)}
        two = len(numbers) == 2 and numbers not in ({0, 1}, {1, 2})
        if len(numbers) < len(values[name]) or two or (are_yes_and_no(values[name], True) and names_thing(name)):
            continue
        if (names := next((one for one in wordy if say_the_same(columns, name, one)), None)) is not None:
            codes[name] = names
    return codes


def say_the_same(columns: pa.Table, one: str, other: str) -> bool:
    """Whether two columns of classes say the same of each image that both have a class of."""
    both = zip(labels_of(columns[one]), labels_of(columns[other]), strict=True)
    pairs = {(a, b) for a, b in both if a is not None and b is not None}
    return one != other and 1 < len(pairs) == len({a for a, _ in pairs}) == len({b for _, b in pairs})


def about_codes(codes: Mapping[str, str], column: str) -> list[str]:
    """What to say of columns of numbers that stand for the classes of a column."""
    numbers = [name for name, names in codes.items() if names == column]
    return [f"column {column} has the names of the numbers in {some(numbers)}"] if numbers else []


def spread_over(columns: pa.Table, among: Collection[str]) -> list[str]:
    """Columns of yes and no, exactly one of which is true in every row; empty where there are none."""
    found: dict[str, list[bool]] = {}
    for name in among:
        try:
            said = [(label or "").lower() for label in labels_of(columns[name])]
        except ValueError:
            continue
        if {*said} <= {"0", "1"} or {*said} <= {"true", "false"}:
            found[name] = [one in ("1", "true") for one in said]
    return list(found) if len(found) > 1 and all(sum(row) == 1 for row in zip(*found.values(), strict=True)) else []


def how_to_join(spread: list[str]) -> str:
    """How columns of yes and no become one of classes."""
    joined = f"table['class'] = table[{spread}].idxmax(axis=1)"
    return (
        f". Of {some(spread)} one is true in every row: if these are the classes, write them as one column, with "
        f"pandas by {joined}, and name that"
    )
