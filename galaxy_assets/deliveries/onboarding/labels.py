"""What a table or an archive says of the images of a folder.

Belongs here: what the catalogue will hold of them, by the reader itself. Does not belong here: the images (`inspect`),
names of folders (`folders`), which columns hold ids and classes (`columns`), which row is about which image
(`deliveries.ids`), and reading tables (`readers.tables`).
"""

import re
from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import NamedTuple

import pyarrow as pa

from galaxy_assets.deliveries.ids import SEVERAL, NamedImages, several_have
from galaxy_assets.deliveries.onboarding.classes import Proposed, proposed_classes
from galaxy_assets.deliveries.onboarding.column_names import names_context, names_people, thing_of
from galaxy_assets.deliveries.onboarding.column_pairs import holds_numbers
from galaxy_assets.deliveries.onboarding.columns import (
    CLASSES,
    class_column,
    is_called_classes,
    is_numbering,
    is_ordered,
    named_by,
    names_in,
    rounded,
    says_whether,
    why_no_classes,
)
from galaxy_assets.deliveries.onboarding.columns import id_column as id_column_of
from galaxy_assets.deliveries.onboarding.graded import Graded, graded_columns, is_called_scores
from galaxy_assets.deliveries.onboarding.inspect import Inspection, open_folder
from galaxy_assets.deliveries.onboarding.names import affix_of
from galaxy_assets.deliveries.onboarding.vote_tables import about_votes, tallies
from galaxy_assets.deliveries.readers.image_folder import Listed
from galaxy_assets.deliveries.readers.tables import (
    LabelTable,
    declinations,
    read_labels,
    read_table,
    right_ascensions,
    unit_of,
)
from galaxy_assets.deliveries.sky.positions import like_positions, position_columns
from galaxy_assets.settings.files import SurveyError
from galaxy_assets.settings.source import Source


@dataclass(frozen=True)
class Labels:
    """What a table, or the names of folders, says of the images of a folder.

    Attributes
    ----------
    source : Source
        The table and its columns, or that folders are classes, beside what the inspection's source has.
    classes : dict of str to int
        Images of each class, the commonest first.
    named, missing : int
        Images with a row, and rows without an image.
    notes : list of str
        What of the table gives no class or another than a person may expect, with an example.
    graded : list of Graded
        Columns of the table that look like scores which people gave.
    unsought : str
        Why a person has to say which of the classes is sought; empty where it may be the rarest.
    thing : str
        What a yes says that an image shows, by the column of the classes; empty where its name says nothing.
    """

    source: Source
    classes: dict[str, int]
    named: int
    missing: int = 0
    notes: list[str] = field(default_factory=list)
    graded: list[Graded] = field(default_factory=list)
    unsought: str = ""
    thing: str = ""

    def proposed(self, images: int) -> Proposed:
        """What follows from the classes of a folder of so many images."""
        return proposed_classes(self.classes, images, self.unsought, self.thing)


class _People(NamedTuple):
    """A column that says who gave each row, and whom it names of each row that has a name of an image."""

    column: str
    of_rows: list[str | None]


def inspect_labels(
    inspection: Inspection,
    table: Path,
    id_column: str | None = None,
    label_column: str | None = None,
    position: tuple[str, str] | None = None,
) -> Labels:
    """Match a table of labels with the images. Columns called `ra` and `dec`, or the like, give positions.

    Parameters
    ----------
    inspection : Inspection
        Of the folder.
    table : Path
        As `readers.tables.read_table` takes it.
    id_column : str, optional
        Found as `columns.id_column` does when not given.
    label_column : str, optional
        Found as `columns.class_column` does when not given; `none` where the table has no classes.
    position : (str, str), optional
        Columns of right ascensions and declinations, found by their names when not given.

    Returns
    -------
    Labels

    Raises
    ------
    SurveyError
        Where the file cannot be read, no column names an image, or it is not clear which holds the classes; lists the
        columns.
    """
    path = table.expanduser().resolve()
    columns = _columns(path, position or ())
    none = label_column is not None and label_column.lower() == "none" and label_column not in columns.column_names
    images = _images(inspection.listed)
    named = {name: n for name, n in named_by(columns, images).items() if name != label_column}
    notes: list[str] = []
    if id_column is not None:
        _refuse_strangers(path, columns, id_column, images, inspection.source.path)
    else:
        id_column, notes = id_column_of(path, columns, images, named)
        lost = rounded(columns)
        if id_column is None:
            about = affix_of(columns, images, named)
            in_order = _in_order(columns, images)
            if about is not None and not (in_order and is_numbering(about.column)):
                remedy = about.words
            else:
                remedy = f"{in_order}{_unnamed(columns, position)}"
            raise SurveyError(
                f"{path}: no column names an image of {inspection.source.path}, such as {min(images)}; "
                f"{f'{lost[0]}. It' if lost else 'it'} has {_described(columns)}. {remedy}"
            )
        notes += [one for one in lost if is_numbering(id_column)]
    found, said = _positions(columns, position)
    left = [
        name
        for name in columns.column_names
        if name not in (id_column, label_column, *found) and named[name] < max(1, named.get(id_column, 0))
    ]
    graded, people = _graded(columns, left), _people(columns, left, id_column, images)
    codes, guessed = left, False
    if label_column is not None and (votes := about_votes(path, columns.column_names)):
        said = [*said, votes]
    elif label_column is None:
        none_of = {one.column for one in graded if one.scores_only and not says_whether(columns, one.column)}
        if people or any(one.sure for one in graded):
            none_of |= {*filter(names_people, left)}
        among = [name for name in left if name not in none_of]
        label_column, about, called_so = class_column(path, columns, among, len(images))
        guessed = label_column is not None and not (called_so or is_called_classes(label_column))
        if (
            label_column is not None
            and guessed
            and holds_numbers(columns, label_column)
            and not says_whether(columns, label_column)
            and any(one.sure for one in graded)
        ):
            about = [f"column {label_column} holds numbers: beside scores it is not taken for classes (--label-column)"]
            label_column, guessed = None, False
        codes, said = [label_column or ""], said + about
    source = inspection.source.model_copy(
        update={
            "labels": str(path),
            "id_column": id_column,
            "label_column": None if none else label_column,
            "ra_column": found[0],
            "dec_column": found[1],
        }
    )
    graded = _offered(columns, graded, [name for name in codes if is_called_classes(name)], source)
    in_units = found[0] is not None and unit_of(columns, found[0]) is not None
    labels = _by_reader(source, read_labels(path, source), people, in_units)
    if not labels.named:
        raise SurveyError(_shared(path, columns, id_column, inspection))
    notes += _named_otherwise(columns, images, labels.named)
    graded = [one._replace(who_column=people and people.column) for one in graded]
    column = source.label_column
    unsought = "" if column is None else _unsought(columns, column, guessed)
    thing = "" if column is None or column.lower() in CLASSES else thing_of(column)
    return replace(labels, notes=notes + said + labels.notes, graded=graded, unsought=unsought, thing=thing)


def _graded(columns: pa.Table, among: Collection[str]) -> list[Graded]:
    """The columns that look like scores.

    Without those of votes and of where, when and with what images were taken, unless they are called scores.
    """
    none, found = {*tallies(columns.column_names)}, graded_columns(columns, among)
    return [
        one for one in found if is_called_scores(one.column) or not (one.column in none or names_context(one.column))
    ]


def _offered(columns: pa.Table, graded: list[Graded], codes: Collection[str], source: Source) -> list[Graded]:
    """Of columns that look like scores those that may be, beside the column of classes; `codes` are called classes."""
    called_so = any(is_called_scores(one.column) for one in graded)
    graded = [one for one in graded if one.scores_only or not (called_so or one.column in codes)]
    classes = source.label_column
    if classes is None:
        return graded
    graded = [one for one in graded if one.column != classes or not says_whether(columns, classes)]
    return [one for one in graded if is_called_scores(one.column) or not _same(columns, one.column, classes)]


def _same(columns: pa.Table, column: str, classes: str) -> bool:
    """Whether a column says what that of the classes says, each class by a number of its own."""
    pairs = {*zip(columns[column].to_pylist(), columns[classes].to_pylist(), strict=True)}
    return column != classes and len(pairs) == len({a for a, _ in pairs}) == len({b for _, b in pairs})


def _people(columns: pa.Table, among: Collection[str], id_column: str, images: Mapping[str, str]) -> _People | None:
    """The column that tells the people apart who scored the same images, if any image has several rows."""
    column = next(filter(names_people, among), None)
    if column is None:
        return None
    cells = zip(names_in(columns, id_column), columns[column].to_pylist(), strict=False)
    rows = [(name, None if who is None else str(who)) for name, who in cells if name]
    names, whose = [name for name, _ in rows], [who for _, who in rows]
    about = NamedImages(images).match(names, whose).rows
    again = len({*names}) < len(names) or any(len(of_one) > 1 for of_one in about)
    return _People(column, whose) if again else None


def _unsought(columns: pa.Table, column: str, guessed: bool) -> str:
    """Why no class of a column is sought unless a person names it."""
    if is_ordered(columns, column):
        return f"The numbers of {column} are steps of a sequence"
    return f"Column {column} was guessed to hold the classes" if guessed and not says_whether(columns, column) else ""


def _columns(path: Path, wanted: Collection[str]) -> pa.Table:
    """The columns of a table of labels, and among them those that are `wanted`; refuses what is none."""
    columns = read_table(path, remedy="name the table with --labels")
    if not len(columns):
        there = f"below its columns {', '.join(columns.column_names)}" if columns.column_names else "at all"
        raise SurveyError(f"{path}: no row {there}; name another table with --labels")
    if {"annotations", "subject_data"} <= {*columns.column_names}:
        raise SurveyError(
            f"{path}: an export of Zooniverse, whose rows are answers of people and no classes of images: leave out "
            "--labels, and after the first run give `galaxy-assets labels import SURVEY FILE --task T0 --answer Yes=5 "
            "--answer No=0`"
        )
    if missing := [name for name in wanted if name not in columns.column_names]:
        raise SurveyError(
            f"{path}: no column {', '.join(missing)}; it has {_described(columns)}. Correct --ra-column and "
            "--dec-column"
        )
    return columns


def _positions(
    columns: pa.Table, named: tuple[str, str] | None
) -> tuple[tuple[str, str] | tuple[None, None], list[str]]:
    """The columns of right ascensions and declinations, and why what is called so gives none."""
    found = named or position_columns(columns.column_names)
    if found is None:
        like = like_positions(columns.column_names)
        said = f"columns {', '.join(like)} look like coordinates, of which none are read: name two with --ra-column and"
        return (None, None), [f"{said} --dec-column, or write them as one column each, in degrees"] if like else []
    for column, read in zip(found, (right_ascensions, declinations), strict=True):
        try:
            read(columns[column], unit_of(columns, column))
        except ValueError as error:
            return (None, None), [f"columns {' and '.join(found)} give no positions: {column} {error}"]
    return found, []


def inside_labels(inspection: Inspection) -> Labels | None:
    """What archives and containers themselves say of their images: columns, arrays, or files beside the images.

    Parameters
    ----------
    inspection : Inspection
        Of the folder.

    Returns
    -------
    Labels or None
        None where they say no class.
    """
    said = [one.image.said.label for one in inspection.listed]
    classes = Counter(label for label in said if label is not None)
    if not classes:
        return None
    why = why_no_classes(classes, called_so=True) if len(classes) > 1 else None
    if why is not None:
        note = f"the column or array that the archives have for classes {why}: it is neither judged nor sought"
        return Labels(inspection.source, {}, classes.total(), notes=[note])
    return Labels(inspection.source, dict(classes.most_common()), classes.total())


def _refuse_strangers(path: Path, columns: pa.Table, column: str, images: Mapping[str, str], folder: str) -> None:
    """Refuse a column that a person named and that names no image."""
    names = names_in(columns, column) if column in columns.column_names else []
    given = [name for name in names if name]
    matches = NamedImages(images).match(given)
    if not names or len(matches.unused) < len(given) or SEVERAL in matches.unused.values():
        return
    about = affix_of(columns, images, [column]) or affix_of(columns, images, columns.column_names)
    remedy = about.words if about else "Name the column that has the images' names, or give the table one"
    raise SurveyError(
        f"{path}: column {column} (--id-column) names no image of {folder}: it has {given[0] if given else 'no name'}, "
        f"and an image is called {min(images)}. {remedy}"
    )


def _shared(path: Path, columns: pa.Table, column: str, inspection: Inspection) -> str:
    """What to say of a column whose every name several images have."""
    name = next(filter(None, names_in(columns, column)), "")
    return (
        f"{path}: column {column} names no image of {inspection.source.path} alone: several are called {name}, in "
        f"other folders. Write the folder before the name, such as train/{name}, and name the column with --id-column"
    )


def _named_otherwise(columns: pa.Table, images: Mapping[str, str], named: int) -> list[str]:
    """That more images are named by a column with one text about its ids, where few are named as they are."""
    about = affix_of(columns, images, columns.column_names) if 2 * named < len(images) else None
    few = f"{named} of {len(images)} images have a row as they are named"
    return [f"{few}. {about.words}"] if about is not None and about.named > named else []


def _in_order(columns: pa.Table, images: Collection[str]) -> str:
    """What to do with a table that has a row for each row of an array of images; empty where it has not."""
    rows = [re.fullmatch(r"(.*)_(\d+)", name) for name in images]
    stems = {one[1] for one in rows if one is not None}
    numbers = {int(one[2]) for one in rows if one is not None}
    if None in rows or len(stems) != 1 or numbers != {*range(len(images))} or len(columns) != len(images):
        return ""
    stem = stems.pop()
    return (
        f"The images are called {stem}_0 to {stem}_{len(images) - 1} by their rows, and the table has as many: if it "
        f"has their order, give it a column `id` with {stem}_0, {stem}_1 and so on. "
    )


def _unnamed(columns: pa.Table, position: tuple[str, str] | None) -> str:
    """What to do with a table none of whose columns names an image."""
    places, _ = _positions(columns, position)
    others = [name for name in columns.column_names if name not in places and not is_called_classes(name)]
    name = "Name the column with --id-column" if others else "Give it a column of the images' names"
    by = f"Rows are not matched with images by their positions ({', '.join(filter(None, places))}). "
    return f"{by if None not in places else ''}{name}, or another table with --labels"


def _described(columns: pa.Table) -> str:
    """The columns, each with a value of it."""
    values = {name: next((one for one in columns[name].to_pylist() if one), None) for name in columns.column_names}
    return ", ".join(f"{name} ({str(value)[:40]})" for name, value in values.items())


def _images(listed: list[Listed]) -> dict[str, str]:
    """What the reader matches the rows of a table with: ids, and what the files are called."""
    return {one.galaxy_id: one.image.called for one in listed}


def _by_reader(source: Source, table: LabelTable, people: _People | None, in_units: bool) -> Labels:
    deliveries = open_folder(source).listed_all()
    listed = [one for images in deliveries.values() for one in images]
    several = several_have((name, one.galaxy_id) for name, images in deliveries.items() for one in images)
    entries = [one.entry for one in listed if one.entry is not None]
    classes = Counter(entry.label for entry in entries if entry.label is not None)
    matches = NamedImages(_images(listed), several=several).match(
        [entry.name for entry in table.entries], people.of_rows if people else ()
    )
    notes, labels = list(table.notes), [entry.label for entry in table.entries]
    again = [rows for rows in matches.rows if len(rows) > 1]
    if again and source.label_column is None:
        whose = f"column {people.column} says whose" if people else "--who-column names one that says whose"
        notes.append(
            f"{len(again)} images have several rows, such as {table.entries[again[0][0]].name}: of one person's scores "
            f"the last counts; {whose} they are"
        )
    elif again:
        other = [rows for rows in again if len({labels[row] for row in rows} - {None}) > 1]
        example = other[0] if other else again[0]
        said = ", ".join(str(labels[row]) for row in example[:3])
        notes.append(
            f"{len(again)} images have several rows, {len(other)} of them of different classes, such as "
            f"{table.entries[example[0]].name} ({said}): the first that gives a class counts"
        )
    if several := [row for row, why in matches.unused.items() if why == SEVERAL]:
        notes.append(
            f"{len(several)} rows name more than one image, such as {table.entries[several[0]].name}, and give none a "
            "class: write the name as the image has it, with its folder"
        )
    places = [(one.ra, abs(one.dec)) for one in table.entries if one.ra is not None and one.dec is not None]
    places = [] if in_units else places
    if len(places) > 4 and max(ra for ra, _ in places) <= 6.2832 and max(dec for _, dec in places) <= 1.5708:
        notes.append(
            f"no position exceeds 2 pi and half a pi: taken as degrees; if these are radians, call the columns "
            f"{source.ra_column} [rad] and {source.dec_column} [rad], or give them that unit"
        )
    elif len(places) > 1 and max(ra for ra, _ in places) <= 24 and source.ra_column is not None:
        notes.append(
            f"every value of {source.ra_column} is below 24: if these are hours, multiply them by 15, write them as "
            "12:30:00, or give the column a unit"
        )
    return Labels(source, dict(classes.most_common()), len(entries), len(matches.unused), notes)
