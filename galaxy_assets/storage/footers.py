"""What every table of a survey was made from, asked of thousands of tables at once.

A footer costs a tenth of a millisecond, which is a quarter of a minute at 150,000 tables. They are kept together in
`lake/<survey>/.footers.parquet`, each with what the file system says of its table: times of change of content and of
inode, size and inode. Where one of these is another, the footer is read again: a copy of a lake, or a table that was
replaced, has another inode and another time that nobody can set. The file may be deleted at any time.

Belongs here: this file, and asking by it. Does not belong here: what a footer says (`provenance`).
"""

import contextlib
import functools
import os
from pathlib import Path

import pyarrow as pa

from galaxy_assets.settings.printing import logger
from galaxy_assets.storage.files import replacing
from galaxy_assets.storage.layout import Layout
from galaxy_assets.storage.mounts import mount_of
from galaxy_assets.storage.provenance import Origin, footer, origin_from

log = logger(__name__)

_State = tuple[int, int, int, int]
_STATE = ("modified", "changed", "size", "inode")
_SCHEMA = pa.schema([("table", pa.string()), *((name, pa.int64()) for name in _STATE), ("footer", pa.string())])
_MANY = 1000
"""Footers that are worth a new file."""


class Footers:
    """The origins of a survey's tables, each as its file is when it is asked for.

    Parameters
    ----------
    home : Path
        lake/<survey>.
    mounts : str, optional
        As in `mount_of`.
    """

    def __init__(self, home: Path, mounts: str | None = None):
        self._home, self._prefix = home, f"{home}/"
        mount = mount_of(home.resolve(), mounts)
        self._of_network = mount is not None and mount.of_network
        self._load()

    def _load(self) -> None:
        self._read: dict[str, tuple[_State, str]] = {}
        kept = self._kept()
        _, ends, text = kept["footer"].combine_chunks().buffers()
        # a slice of the text costs a fifth of a value of Arrow's
        self._ends, self._text = memoryview(ends or b"").cast("i"), memoryview(text or b"")
        states = zip(*(kept[name].to_pylist() for name in _STATE), strict=True)
        tables = kept["table"].to_pylist()
        self._rows = {table: (state, i) for i, (table, state) in enumerate(zip(tables, states, strict=True))}

    @property
    def _path(self) -> Path:
        return self._home / ".footers.parquet"

    def _kept(self) -> pa.Table:
        import pyarrow.parquet as pq

        try:
            with pq.ParquetFile(self._path) as file:
                return file.read().cast(_SCHEMA)
        except FileNotFoundError:
            return _SCHEMA.empty_table()
        except (OSError, ValueError, pa.ArrowException) as error:  # damaged, or of another release: it is made anew
            log.info("%s is not used: %s", self._path, error)
            return _SCHEMA.empty_table()

    def origin(self, asset: str, partition: tuple[str, ...] = ()) -> Origin | None:
        """The origin of a table.

        Parameters
        ----------
        asset : str
        partition : tuple of str
            As `Layout.table` takes it.

        Returns
        -------
        Origin or None
            None where there is no such file.

        Raises
        ------
        DamagedFile
            Where it is no Parquet file.
        """
        table = "/".join((asset, *partition))
        path = f"{self._prefix}{table}.parquet"
        try:
            status = os.stat(path)  # noqa: PTH116  a Path costs more than the question
        except (FileNotFoundError, NotADirectoryError):
            self._rows.pop(table, None)
            return None
        state = (status.st_mtime_ns, status.st_ctime_ns, status.st_size, status.st_ino)
        before, row = self._rows.get(table, (None, 0))
        if before == state:
            return origin_from(self._footer(row))
        read = self._read.get(table)
        if read is None or read[0] != state:
            read = self._read[table] = state, footer(Path(path))
        return origin_from(read[1])

    def look_again(self, asset: str, partition: tuple[str, ...] = ()) -> None:
        """See a table as another machine has just left it.

        Of a network's file system this machine keeps for a minute what it saw of a file, and that there was none. NFS
        asks its server when a file, or a folder, is opened: of a new batch the folders are not there either.

        Parameters
        ----------
        asset : str
        partition : tuple of str
            As `Layout.table` takes it.
        """
        if not self._of_network:
            return
        path = Path(f"{self._prefix}{'/'.join((asset, *partition))}.parquet")
        way = [path, *path.parents]
        for opened in reversed(way[: way.index(self._home) + 1]):
            with contextlib.suppress(OSError):  # it is not there, and is missed elsewhere
                os.close(os.open(opened, os.O_RDONLY))

    def _footer(self, row: int) -> str:
        return str(self._text[self._ends[row] : self._ends[row + 1]], "utf-8")

    def keep(self, at_least: int = _MANY) -> None:
        """Write the file anew where that many footers are not in it.

        Parameters
        ----------
        at_least : int
        """
        if len(self._read) < at_least:
            return
        rows = {table: (*state, self._footer(i)) for table, (state, i) in self._rows.items()}
        rows |= {table: (*state, text) for table, (state, text) in self._read.items()}
        columns = [list(rows), *zip(*rows.values(), strict=True)]
        kept = pa.table([pa.array(c, f.type) for c, f in zip(columns, _SCHEMA, strict=True)], schema=_SCHEMA)
        import pyarrow.parquet as pq

        try:
            with replacing(self._path) as partial:
                # every row is another: a dictionary would only be looked up
                pq.write_table(kept, partial, compression="zstd", use_dictionary=False)
            self._load()
        except OSError as error:  # a lake that may not be written, a full disk: footers are read as before
            log.info("%s is not kept: %s", self._path, error)


@functools.cache
def footers_of(layout: Layout, survey: str) -> Footers:
    """The origins of a survey's tables, remembered as long as the process.

    Parameters
    ----------
    layout : Layout
        The data folder.
    survey : str

    Returns
    -------
    Footers
    """
    return Footers(layout.lake / survey)
