"""What a table of labels says of the images of a folder.

Belongs here: matching a table with the images, before there is a survey. Does not belong here: the images
(`inspect`), and reading tables (`readers.tables`).
"""

import unicodedata
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from galaxy_assets.deliveries.onboarding.inspect import SUFFIXES, Inspection
from galaxy_assets.deliveries.readers.tables import ids_of, read_entries, read_table
from galaxy_assets.settings.files import SurveyError
from galaxy_assets.settings.source import Source


@dataclass(frozen=True)
class Labels:
    """What a table says of the images of a folder.

    Attributes
    ----------
    source : Source
        The table and its columns, beside what the inspection's source has.
    classes : dict of str to int
        Images of each class, the commonest first.
    named, missing : int
        Images with a row, and rows without an image.
    """

    source: Source
    classes: dict[str, int]
    named: int
    missing: int


def inspect_labels(
    inspection: Inspection, table: Path, id_column: str | None = None, label_column: str | None = None
) -> Labels:
    """Match a table of labels with the images. Columns called `ra` and `dec` give positions.

    Parameters
    ----------
    inspection : Inspection
        Of the folder.
    table : Path
        CSV, Parquet, FITS, VOTable or ECSV.
    id_column : str, optional
        The one that names most images, when not given.
    label_column : str, optional
        The one called `label` or the only one left, when not given.

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
    columns = read_table(path)
    names = {_stem(file.rpartition("/")[2]) for file in inspection.files}
    if id_column is None:
        matches = {column: _matches(columns[column], names) for column in columns.column_names}
        id_column = max(matches, key=lambda column: matches[column], default=None)
        if id_column is None or not matches[id_column]:
            raise SurveyError(
                f"{path}: no column names an image of {inspection.source.path}, such as {sorted(names)[0]}; it has "
                f"{', '.join(columns.column_names)}. Name the column with --id-column, or another table with --labels"
            )
    position = {name.lower(): name for name in columns.column_names if name.lower() in ("ra", "dec")}
    if label_column is None:
        left = [name for name in columns.column_names if name not in (id_column, *position.values())]
        if "label" in left:
            left = ["label"]
        if len(left) > 1:
            raise SurveyError(
                f"{path}: which column holds the classes? It has {', '.join(left)}. Name one with --label-column"
            )
        label_column = left[0] if left else None
    both = len(position) == 2
    source = inspection.source.model_copy(
        update={
            "labels": str(path),
            "id_column": id_column,
            "label_column": label_column,
            "ra_column": position["ra"] if both else None,
            "dec_column": position["dec"] if both else None,
        }
    )
    label_of = {_stem(entry.name): entry.label for entry in reversed(read_entries(path, source))}
    classes = Counter(label for name in names if (label := label_of.get(name)) is not None)
    named = len(names & label_of.keys())
    return Labels(source, dict(classes.most_common()), named, len(label_of) - named)


def _matches(column: Any, names: set[str]) -> int:
    try:
        return len(names & {_stem(name) for name in ids_of(column) if name})
    except ValueError:
        return 0


def _stem(name: str) -> str:
    """A file's name as its galaxy is called: without an image's suffix, composed."""
    suffix = next((one for one in SUFFIXES if name.lower().endswith(one)), "")
    return unicodedata.normalize("NFC", name[: len(name) - len(suffix)])
