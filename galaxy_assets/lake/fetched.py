"""What SQL needs on this machine of a data folder in a bucket: the content of the tables that a query names.

DuckDB opens files by itself, and a table whose content was not fetched is an empty file that it refuses. On a plain
folder there is nothing to do here.

Belongs here: which tables a query names, and what views are bound to when they are made. Does not belong here: queries
(`query`), views (`read_model`).
"""

import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

from galaxy_assets.storage.layout import Layout
from galaxy_assets.storage.store import FOLDER, store_of

NOT_TABLES = {"pixels", "checkpoints", "figures", "worksheets"}
"""Folders of a survey that are no tables."""
_READ_BY = {"similar_to": "pca_features"}
"""Functions of the read model, and the table that each reads."""
_AT_ONCE = 8


def fetch_named(layout: Layout, sql: str | None) -> None:
    """Fetch the content of all tables that a query may read.

    Parameters
    ----------
    layout : Layout
        The data folder.
    sql : str or None
        What is asked; a table is fetched where the text holds its name and that of its survey. All are when None.
    """
    if (store := store_of(layout.lake)) is FOLDER:
        return
    text = None if sql is None else sql.lower()
    read = {table for function, table in _READ_BY.items() if text is not None and function in text}
    wanted = [
        file
        for survey, asset, files in _tables(layout)
        if text is None or (survey.lower() in text and (asset.lower() in text or asset in read))
        for file in files
    ]
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        list(pool.map(store.local, wanted))


@contextmanager
def bound_to(layout: Layout) -> Iterator[Path]:
    """The folder below which views find files when they are made.

    Parameters
    ----------
    layout : Layout
        The data folder.

    Yields
    ------
    Path
        The data folder itself. Of one in a bucket, a folder that is gone after the block, of tables without rows that
        have the columns of those that are there.
    """
    import pyarrow.parquet as pq

    if (store := store_of(layout.lake)) is FOLDER:
        yield layout.root
        return
    with tempfile.TemporaryDirectory() as folder:
        for survey, asset, files in _tables(layout):
            schemas = [schema for file in files if (schema := store.schema(file)) is not None]
            seen = {tuple(zip(schema.names, map(str, schema.types), strict=True)): schema for schema in schemas}
            for number, schema in enumerate(seen.values()):
                whole = len(files) == 1 and files[0].parent.name == survey
                path = Layout(Path(folder)).table(survey, asset, *([] if whole else [str(number)]))
                path.parent.mkdir(parents=True, exist_ok=True)
                pq.write_table(schema.empty_table(), path)
        yield Path(folder)


def _tables(layout: Layout) -> Iterator[tuple[str, str, list[Path]]]:
    """Survey, name and files of every table."""
    for survey in sorted(path for path in layout.lake.glob("[!.]*") if path.is_dir()):
        found: dict[str, list[Path]] = {}
        for path in sorted(survey.rglob("[!.]*.parquet")):
            parts = path.relative_to(survey).parts
            if parts[0] not in NOT_TABLES and not any(part.startswith(".") for part in parts):
                found.setdefault(parts[0].removesuffix(".parquet") if len(parts) == 1 else parts[0], []).append(path)
        yield from ((survey.name, asset, files) for asset, files in found.items())
