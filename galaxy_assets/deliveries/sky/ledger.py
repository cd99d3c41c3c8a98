"""What became of every position.

    .sky.jsonl        one line per answer; a line that a kill cut off is dropped
    ledger.parquet    one row per position, written whenever a delivery is whole or the work stops

Belongs here: keeping and counting answers. Does not belong here: getting them (`fetching`).
"""

import json
from collections import Counter
from pathlib import Path
from typing import NamedTuple

import pyarrow as pa

from galaxy_assets.storage.files import replacing

NAME, JOURNAL = "ledger.parquet", ".sky.jsonl"
STATES = ("done", "blank", "failed", "no_position", "pending")

_SCHEMA = pa.schema(
    [
        ("id", pa.string()),
        ("ra", pa.float64()),
        ("dec", pa.float64()),
        ("state", pa.string()),
        ("reason", pa.string()),
        ("tries", pa.int64()),
        ("delivery", pa.string()),
        ("file", pa.string()),
        ("asked", pa.string()),
    ]
)


class Entry(NamedTuple):
    """The last answer for one position.

    Attributes
    ----------
    id : str
        Of the object.
    state : str
        `done`: its image is in `delivery`; `blank`: nothing is there, which is final; `failed`: is asked for again.
    reason : str or None
        Why there is no image.
    tries : int
        Requests made so far.
    delivery : str or None
        Where the image is.
    asked : str or None
        When, UTC.
    """

    id: str
    state: str
    reason: str | None
    tries: int
    delivery: str | None
    asked: str | None


class Ledger:
    """The answers so far, by id.

    Parameters
    ----------
    folder : Path
        The survey's, of data/raw.
    """

    def __init__(self, folder: Path):
        self._folder, self._journal = folder, folder / JOURNAL
        self.entries: dict[str, Entry] = {}
        lines = self._journal.read_bytes().split(b"\n") if self._journal.exists() else [b""]
        for line in lines[:-1]:
            entry = Entry(*json.loads(line))
            self.entries[entry.id] = entry
        if lines[-1]:  # cut off by a kill
            with self._journal.open("r+b") as stream:
                stream.truncate(sum(len(line) + 1 for line in lines[:-1]))

    def add(self, entry: Entry) -> None:
        """Keep an answer at once."""
        self.entries[entry.id] = entry
        with self._journal.open("ab") as stream:
            stream.write(json.dumps(entry).encode() + b"\n")

    def table(self, positions: pa.Table) -> pa.Table:
        """One row per position, in the order of `positions.parquet`.

        Parameters
        ----------
        positions : pyarrow.Table
            As `positions.kept_positions` gives it.

        Returns
        -------
        pyarrow.Table
            id, ra and dec in degrees, state (one of `STATES`), reason, tries, delivery, file, asked (UTC).
        """
        nowhere = Entry("", "no_position", "the table has no position on the sphere", 0, None, None)
        pending = Entry("", "pending", None, 0, None, None)
        ids, files = positions["id"].to_pylist(), positions["file"].to_pylist()
        entries = [
            nowhere if file is None else self.entries.get(galaxy, pending)
            for galaxy, file in zip(ids, files, strict=True)
        ]
        columns = {name: [getattr(entry, name) for entry in entries] for name in Entry._fields} | {
            "id": ids,
            "file": [file if entry.delivery else None for file, entry in zip(files, entries, strict=True)],
            "ra": positions["ra"],
            "dec": positions["dec"],
        }
        return pa.table({field.name: columns[field.name] for field in _SCHEMA}, schema=_SCHEMA)

    def write(self, positions: pa.Table) -> Counter[str]:
        """Write `ledger.parquet` and count the positions of each state."""
        import pyarrow.parquet as pq

        table = self.table(positions)
        with replacing(self._folder / NAME) as partial:
            pq.write_table(table, partial, compression="zstd")
        return Counter(table["state"].to_pylist())
