"""What a table was made from, kept in the footer of its Parquet file.

Belongs here: the record, and how it travels with a table from an input to what is made of it. Does not belong here:
whether a table is outdated (`orchestration.automation.outdated`).
"""

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

import pyarrow as pa

_KEY = b"galaxy_assets"


@dataclass(frozen=True)
class Version:
    """A partition of a table as it was read: its content (`data`) and all code and settings behind it (`method`)."""

    data: str
    method: str


@dataclass(frozen=True)
class Origin:
    """What a table was made from.

    Attributes
    ----------
    code : code version of the asset.
    data : data version, the digest of the content.
    method : of the asset's code version and the methods of all it read: equal for two partitions that the same code
        and settings made, whatever the data.
    inputs : asset name -> partition, as `batch/init`, empty where there is none -> what was read.
    outside : what was read that is no table of this survey: name -> fingerprint.
    asset, partition, run : which table it is and which Dagster run made it.
    """

    code: str = ""
    data: str = ""
    method: str = ""
    inputs: dict[str, dict[str, Version]] = field(default_factory=dict)
    outside: dict[str, str] = field(default_factory=dict)
    asset: str = ""
    partition: str = ""
    run: str = ""


def made_by(code: str, inputs: Mapping[str, Mapping[str, Version]], outside: Mapping[str, str], data: str) -> Origin:
    """The origin of what an asset made of its inputs."""
    behind = sorted({version.method for versions in inputs.values() for version in versions.values()})
    method = hashlib.sha256(json.dumps([code, behind]).encode()).hexdigest()[:16]
    return Origin(code, data, method, {name: dict(versions) for name, versions in inputs.items()}, dict(outside))


def with_origin(table: pa.Table, origin: Origin) -> pa.Table:
    """The table with its origin in its metadata, in place of any other metadata."""
    return table.replace_schema_metadata({_KEY: json.dumps(asdict(origin))})


def origin_of(table: pa.Table | pa.Schema) -> Origin:
    """The origin in a table's metadata; an empty one where it has none."""
    schema = table.schema if isinstance(table, pa.Table) else table
    told: dict[str, Any] = json.loads((schema.metadata or {}).get(_KEY, b"{}"))
    record = {name: value for name, value in told.items() if name in Origin.__dataclass_fields__}
    record["inputs"] = {
        name: {partition: Version(**version) for partition, version in versions.items()}
        for name, versions in record.get("inputs", {}).items()
    }
    return Origin(**record)


def origin(path: Path) -> Origin | None:
    """The origin of a table of the lake, None where there is no such file."""
    try:
        status = path.stat()
    except FileNotFoundError:
        return None
    return _read(path, status.st_mtime_ns, status.st_size, status.st_ino)


def data_version(path: Path) -> str | None:
    """The digest of a table's content, as Dagster shows it; None where there is no such table."""
    made = origin(path)
    return made.data if made is not None else None


@lru_cache(maxsize=100_000)
def _read(path: Path, *status: int) -> Origin:
    import pyarrow.parquet as pq

    # a file is never changed in place, so that its time, size and inode tell one content from the next
    return origin_of(pq.read_schema(path))


def as_input(table: pa.Table, versions: Mapping[str, Version]) -> pa.Table:
    """A table read from the lake, carrying which versions of which partitions it is made up of."""
    return with_origin(table, Origin(inputs={"": dict(versions)}))


def as_read(table: pa.Table) -> tuple[pa.Table, dict[str, Version]]:
    """An input without its metadata, and the versions it carried."""
    return table.replace_schema_metadata(None), origin_of(table).inputs.get("", {})


def fingerprint(paths: Iterable[Path]) -> str:
    """Which files these are, by name, size and time of change; files that are not there are part of it."""
    sha = hashlib.sha256()
    for path in paths:
        status = path.stat() if path.exists() else None
        sha.update(repr((path.name, status and (status.st_size, status.st_mtime_ns))).encode())
    return sha.hexdigest()[:16]
