"""What the columns of a table hold, and their units: in the UI, and in the Parquet file where other readers find them.

Belongs here: the columns that many tables share, and how a description travels with a table. Does not belong here: the
columns of one asset, which stand in its declaration.
"""

from collections.abc import Mapping
from fnmatch import fnmatchcase
from typing import Any

import dagster as dg
import pyarrow as pa

from galaxy_assets.storage.tables import said_of, with_said, with_schema

Described = Mapping[str, str | tuple[str, str]]
"""Column -> what it holds, or (what it holds, unit as astropy writes it). A name may be a pattern: `*_fraction`."""

SHARED: Mapping[str, str] = {
    "galaxy_id": "id of the galaxy: the name of its image without suffix",
    "batch": "delivery that the image came with",
    "init": "start weights: random, imagenet, rgz or the survey whose checkpoint training began from",
    "x": "first coordinate on the UMAP of the representation, in arbitrary units: for looking only",
    "y": "second coordinate on the UMAP of the representation, in arbitrary units: for looking only",
    "features_key": "digest of the features, by which what the map was fitted to keeps its place",
    "cluster": "number of the cluster, from 0 by falling weight in the mixture; a refit numbers them anew",
    "probability": "probability that the galaxy belongs to its cluster, 0 to 1",
    "evaluation_class": "class in the evaluation subset, as the survey's YAML names it",
}
"""What columns of these names hold where they hold this: a declaration takes them with `shared`."""


def shared(*names: str) -> dict[str, str]:
    """What SHARED says of these columns."""
    return {name: SHARED[name] for name in names}


def only(*names: str) -> dict[str, Any]:
    """Of an input of an asset, in its declaration: these columns alone are read."""
    return {"columns": list(names)}


def of_schema(schema: pa.Schema) -> Described:
    """What a schema says of its columns."""
    return {column.name: said_of(column) for column in schema}


def of_column(columns: Described, name: str) -> tuple[str, str]:
    """What a column holds and its unit, both empty where nothing is said of it."""
    pattern = name if name in columns else next((p for p in columns if fnmatchcase(name, p)), None)
    said = columns[pattern] if pattern is not None else ""
    return said if isinstance(said, tuple) else (said, "")


def described(table: pa.Table, columns: Described) -> pa.Table:
    """The table with `description` and `unit` in the metadata of its fields; its values and digest stay."""
    fields = [with_said(column, *of_column(columns, column.name)) for column in table.schema]
    return with_schema(table, pa.schema(fields, metadata=table.schema.metadata))


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


def markdown(table: pa.Table) -> str:
    """A small table as Markdown text, for metadata."""
    rows = ["| " + " | ".join(table.column_names) + " |", "|" + "---|" * table.num_columns]
    for row in table.to_pylist():
        cells = [f"{v:.2f}" if isinstance(v, float) else "" if v is None else str(v) for v in row.values()]
        rows.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    return "\n".join(rows)
