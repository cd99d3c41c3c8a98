"""What the columns of a table hold, and their units: in the UI, and in the Parquet file where other readers find them.

Belongs here: the columns that many tables share, and how a description travels with a table. Does not belong here: the
columns of one asset, which stand in its declaration.
"""

from collections.abc import Mapping
from fnmatch import fnmatchcase
from typing import Any

import dagster as dg
import pyarrow as pa

Described = Mapping[str, str | tuple[str, str]]
"""Column -> what it holds, or (what it holds, unit as astropy writes it). A name may be a pattern: `*_fraction`."""

SHARED: Described = {
    "galaxy_id": "id of the galaxy: the name of its image without suffix",
    "batch": "delivery that the image came with",
    "init": "start weights: random, imagenet, rgz or the survey whose checkpoint training began from",
}


def of_column(columns: Described, name: str) -> tuple[str, str]:
    """What a column holds and its unit, both empty where nothing is said of it."""
    everything = {**SHARED, **columns}
    pattern = name if name in everything else next((p for p in columns if fnmatchcase(name, p)), None)
    said = everything[pattern] if pattern is not None else ""
    return said if isinstance(said, tuple) else (said, "")


def described(table: pa.Table, columns: Described) -> pa.Table:
    """The table with `description` and `unit` in the metadata of its fields; its values and digest stay."""
    fields = []
    for column in table.schema:
        description, unit = of_column(columns, column.name)
        told = {"description": description, "unit": unit}
        fields.append(column.with_metadata({name: text for name, text in told.items() if text} or None))
    return table.cast(pa.schema(fields, metadata=table.schema.metadata)) if fields else table


def schema_of(columns: Described, table: pa.Table | None = None) -> dg.TableSchema:
    """The columns as the UI shows them: of a table as it was made, else as declared."""
    if table is not None:
        shown = [(column.name, str(column.type)) for column in table.schema]
    else:
        shown = [(name, "") for name in columns]
    return dg.TableSchema(columns=[_shown(columns, name, kind) for name, kind in shown])


def _shown(columns: Described, name: str, kind: str) -> dg.TableColumn:
    description, unit = of_column(columns, name)
    text = f"{description} [{unit}]" if unit else description
    given: dict[str, Any] = {"type": kind} if kind else {}
    return dg.TableColumn(name, description=text or None, tags={"unit": unit} if unit else None, **given)
