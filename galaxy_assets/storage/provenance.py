"""What a table was made from, kept in the footer of its Parquet file.

Belongs here: the record, and how it travels with a table from an input to what is made of it. Does not belong here:
whether a table is outdated (`orchestration.automation.outdated`).
"""

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
from pydantic_core import from_json

from galaxy_assets.settings.printing import Unavailable
from galaxy_assets.storage.files import DamagedFile, file_sha256, state_of
from galaxy_assets.storage.store import StoreError, store_of

_KEY = b"galaxy_assets"
NO_ROWS = "no rows"
"""Stands for the digest of a batch's rows where a table that is read batch by batch has none."""


class Version(NamedTuple):
    """A partition of a table as it was read.

    Attributes
    ----------
    data : str
        Digest of its content.
    method : str
        Digest of all code and settings behind it.
    """

    data: str
    method: str


@dataclass(frozen=True)
class Origin:
    """What a table was made from.

    Attributes
    ----------
    code : str
        Code version of the asset.
    data : str
        Data version, the digest of the content.
    method : str
        Of the asset's code version and the methods of all it read: equal for two partitions that the same code and
        settings made, whatever the data.
    inputs : dict of str to dict
        Asset name -> partition (`batch/init`, empty where there is none) -> the `Version` that was read.
    outside : dict of str to str
        What was read that is no table of this survey: name -> fingerprint.
    content : str
        Digest of all that the file holds, by which `tables.verify` knows it.
    types : str
        Digest of the types of its columns, which no checksum of a file guards.
    beside : dict of str to str
        What was written beside the table: path below the data folder -> sha256, empty where its own records have it.
    asset, partition, run : str
        Which table it is and which Dagster run made it.
    by_batch : dict of str to str
        Of a table that is read batch by batch: batch -> digest of its rows.
    measured : dict of str to float
        What was measured of how it was made, which its checks judge: no part of its content.
    """

    code: str = ""
    data: str = ""
    method: str = ""
    inputs: dict[str, dict[str, Version]] = field(default_factory=dict)
    outside: dict[str, str] = field(default_factory=dict)
    content: str = ""
    types: str = ""
    beside: dict[str, str] = field(default_factory=dict)
    asset: str = ""
    partition: str = ""
    run: str = ""
    by_batch: dict[str, str] = field(default_factory=dict)
    measured: dict[str, float] = field(default_factory=dict)

    def version(self, batch: str | None = None) -> Version:
        """Which content this is, for who reads it.

        Parameters
        ----------
        batch : str, optional
            The batch whose rows alone are read.

        Returns
        -------
        Version
        """
        return Version(self.data if batch is None else self.by_batch.get(batch, NO_ROWS), self.method)


_FIELDS = Origin.__dataclass_fields__.keys()


def made_by(
    code: str,
    inputs: Mapping[str, Mapping[str, Version]],
    outside: Mapping[str, str],
    data: str,
    beside: Mapping[str, str] | None = None,
) -> Origin:
    """The origin of what an asset made of its inputs.

    Parameters
    ----------
    code : str
        Code version of the asset.
    inputs : mapping
        Asset name -> partition -> version read.
    outside : mapping of str to str
        What was read that is no table of this survey: name -> fingerprint.
    data : str
        Digest of the table made.
    beside : mapping of str to str, optional
        What was written beside the table: path below the data folder -> sha256.

    Returns
    -------
    Origin
        Without asset, partition and run.
    """
    behind = sorted({version.method for versions in inputs.values() for version in versions.values()})
    method = hashlib.sha256(json.dumps([code, behind]).encode()).hexdigest()[:16]
    read = {name: dict(versions) for name, versions in inputs.items()}
    return Origin(code, data, method, read, dict(outside), beside=dict(beside or {}))


def written_beside(paths: Iterable[Path], root: Path) -> dict[str, str]:
    """What identifies files that were written beside a table.

    Parameters
    ----------
    paths : iterable of Path
        Such files.
    root : Path
        The data folder.

    Returns
    -------
    dict of str to str
        Path below the data folder -> sha256, empty of pixels, whose chunks have it, and of worksheets, which a person
        may edit.
    """
    return {
        path.relative_to(root).as_posix(): "" if path.suffix in (".npy", ".csv") else file_sha256(path)
        for path in paths
    }


def with_origin(table: pa.Table, origin: Origin) -> pa.Table:
    """The table with its origin in its metadata, in place of any other metadata.

    Parameters
    ----------
    table : pyarrow.Table
        Is not changed.
    origin : Origin
        What it was made from.

    Returns
    -------
    pyarrow.Table
    """
    inputs = {name: {part: v._asdict() for part, v in versions.items()} for name, versions in origin.inputs.items()}
    return table.replace_schema_metadata({_KEY: json.dumps({**vars(origin), "inputs": inputs})})


def origin_of(table: pa.Table | pa.Schema) -> Origin:
    """The origin in the metadata of a table or schema.

    Parameters
    ----------
    table : pyarrow.Table or pyarrow.Schema
        As read from a file of the lake.

    Returns
    -------
    Origin
        An empty one where the metadata has none.
    """
    schema = table.schema if isinstance(table, pa.Table) else table
    return origin_from(_record(schema))


def _record(schema: pa.Schema) -> bytes:
    return (schema.metadata or {}).get(_KEY, b"{}")


def origin_from(record: str | bytes) -> Origin:
    """The origin that a record holds.

    Parameters
    ----------
    record : str or bytes
        As `footer` gives it.

    Returns
    -------
    Origin
    """
    known: dict[str, Any] = from_json(record)
    if not known.keys() <= _FIELDS:  # of a later release
        known = {name: known[name] for name in known.keys() & _FIELDS}
    new = tuple.__new__  # in half of the time of a call of the class
    for name in (inputs := known.setdefault("inputs", {})):
        inputs[name] = {partition: new(Version, (v["data"], v["method"])) for partition, v in inputs[name].items()}
    return Origin(**known)


def origin(path: Path) -> Origin | None:
    """The origin of a table of the lake.

    Parameters
    ----------
    path : Path
        The table's file.

    Returns
    -------
    Origin or None
        None where there is no such file.

    Raises
    ------
    DamagedFile
        Where it is no Parquet file.
    """
    try:
        return _read(path, *state_of(path))
    except FileNotFoundError:
        return None


def measured(path: Path) -> Mapping[str, float]:
    """What was measured when a table was made.

    Parameters
    ----------
    path : Path
        The table's file.

    Returns
    -------
    mapping of str to float
        `Origin.measured`; empty where there is no such file.

    Raises
    ------
    DamagedFile
        Where it is no Parquet file.
    """
    made = origin(path)
    return made.measured if made is not None else {}


def readable_origin(path: Path) -> Origin | None:
    """As `origin`, and None of a damaged table too: for who makes it anew, or does without it.

    Parameters
    ----------
    path : Path
        The table's file.

    Returns
    -------
    Origin or None
    """
    try:
        return origin(path)
    except DamagedFile:
        return None


def data_version(path: Path) -> str | None:
    """The digest of a table's content, as Dagster shows it.

    Parameters
    ----------
    path : Path
        The table's file.

    Returns
    -------
    str or None
        16 hex digits; None where there is no such file.
    """
    made = origin(path)
    return made.data if made is not None else None


@lru_cache(maxsize=10_000)
def _read(path: Path, *state: int) -> Origin:
    return origin_from(footer(path))


def footer(path: Path) -> str:
    """The record of a table's origin, as its file has it; `origin_from` reads it.

    Parameters
    ----------
    path : Path
        The table's file.

    Returns
    -------
    str
        JSON.

    Raises
    ------
    DamagedFile
        Where it is no Parquet file.
    """
    import pyarrow.parquet as pq

    store = store_of(path)
    with damaged_otherwise(path):
        known = store.schema(path)
        return _record(known if known is not None else pq.read_schema(store.local(path))).decode()


@contextmanager
def damaged_otherwise(path: Path) -> Iterator[None]:
    """Say of a file that it is damaged where the block cannot read it as what it is.

    Parameters
    ----------
    path : Path
        A file that this platform wrote.

    Raises
    ------
    DamagedFile
        In place of what a library raises. The system's own errors (no such file, no permission) stay, and those of
        what keeps the file.
    """
    try:
        yield
    except (DamagedFile, StoreError, Unavailable):
        raise
    except MemoryError as error:
        raise MemoryError(f"{path} does not fit into memory, or is damaged ({error})") from error
    except Exception as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise
        raise DamagedFile(path, f"{type(error).__name__}: {error}".partition("\n")[0]) from error


def as_input(table: pa.Table, versions: Mapping[str, Version]) -> pa.Table:
    """A table read from the lake, with the versions of the partitions that it consists of.

    Parameters
    ----------
    table : pyarrow.Table
        Is not changed.
    versions : mapping of str to Version
        Partition -> version.

    Returns
    -------
    pyarrow.Table
        The versions are in its metadata, from where `as_read` takes them.
    """
    return with_origin(table, Origin(inputs={"": dict(versions)}))


def as_read(table: pa.Table) -> tuple[pa.Table, dict[str, Version]]:
    """An input without its metadata, and the versions it carried.

    Parameters
    ----------
    table : pyarrow.Table
        As `as_input` returns it.

    Returns
    -------
    table : pyarrow.Table
        The same columns.
    versions : dict of str to Version
        Partition -> version; empty where it carried none.
    """
    return table.replace_schema_metadata(None), origin_of(table).inputs.get("", {})
