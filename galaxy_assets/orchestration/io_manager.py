"""How Dagster keeps and passes tables: one Parquet file per asset partition.

Belongs here: the I/O manager alone. Does not belong here: pixels and checkpoints, which are too large to pass by value
and have stores of their own.
"""

import dataclasses
from collections.abc import Sequence
from pathlib import Path

import dagster as dg
import pyarrow as pa

from galaxy_assets.settings.printing import logger
from galaxy_assets.storage.files import DamagedFile, set_aside
from galaxy_assets.storage.in_turn import TablesInTurn, read_as_one
from galaxy_assets.storage.layout import Layout
from galaxy_assets.storage.provenance import Origin, Version, as_input, origin, origin_of, with_origin
from galaxy_assets.storage.store import store_of
from galaxy_assets.storage.tables import digest, read_table, verify, write_table

log = logger(__name__)


def partition_path(partitions: dg.PartitionsDefinition | None, key: str | None) -> tuple[str, ...]:
    """A partition key as path segments.

    Parameters
    ----------
    partitions : dagster.PartitionsDefinition or None
    key : str or None

    Returns
    -------
    tuple of str
        (), (batch,), (init,) or (batch, init).
    """
    if key is None:
        return ()
    if isinstance(partitions, dg.MultiPartitionsDefinition):
        by_dimension = partitions.get_partition_key_from_str(str(key)).keys_by_dimension
        return tuple(by_dimension[name] for name in sorted(by_dimension))
    return (str(key),)


class ParquetLake(dg.ConfigurableIOManager):
    """Tables as `lake/<survey>/<asset>[/<partition>].parquet`, written whole or not at all.

    An input that spans several partitions arrives as ONE table, whether there is one partition or a hundred, so that
    the first batch of a survey behaves like the second. `AssetIn(metadata={"init": NAME})` reads only the partitions
    of those start weights, and `metadata={"allow_missing": True}` leaves out partitions that were never materialised;
    otherwise a missing one is an error that names it. `metadata={"in_turn": True}` gives `TablesInTurn`, for a function
    that can do without the whole, `metadata={"columns": NAMES}` these columns, and `metadata={"own_batch": True}` the
    rows of the batch that is made. What a model is fitted to (`metadata={"pinned": ...}`) is compared with its digest
    first.
    """

    root: str

    def setup_for_execution(self, context: dg.InitResourceContext) -> None:
        """Look at what is there when a run begins: what it writes replaces that, and nothing newer (`Store.begin`).

        Parameters
        ----------
        context : dagster.InitResourceContext
        """
        store_of(Path(self.root)).begin(context.run_id or "")

    def _path(self, key: dg.AssetKey, partition: tuple[str, ...]) -> Path:
        survey, asset = key.path[-2:]  # whatever prefix they stand under
        return Layout(Path(self.root)).table(survey, asset, *partition)

    def handle_output(self, context: dg.OutputContext, obj: pa.Table) -> None:
        """Write an asset's table, with its origin in the file's footer.

        Parameters
        ----------
        context : dagster.OutputContext
        obj : pyarrow.Table
        """
        if obj is None:
            return
        key = context.partition_key if context.has_partition_key else None
        partitions = context.asset_partitions_def if key is not None else None
        partition = partition_path(partitions, key)
        path, layout = self._path(context.asset_key, partition), Layout(Path(self.root))
        _keep_damaged(path, layout.lake / context.asset_key.path[-2])
        name = "/".join(context.asset_key.path[-2:])
        place = {"asset": name, "partition": "/".join(partition), "run": context.run_id}
        write_table(with_origin(obj, dataclasses.replace(origin_of(obj), **place)), path)
        context.add_output_metadata({"path": dg.MetadataValue.path(layout.named(path))})

    def load_input(self, context: dg.InputContext) -> pa.Table | TablesInTurn:
        """Read the tables of an asset.

        Parameters
        ----------
        context : dagster.InputContext

        Returns
        -------
        pyarrow.Table or TablesInTurn

        Raises
        ------
        FileNotFoundError
            Where a partition was not materialised; the message names it.
        DamagedFile
            Where a file is not what was written there.
        """
        partitions = context.asset_partitions_def if context.has_asset_partitions else None
        keys: Sequence[str | None] = context.asset_partition_keys if context.has_asset_partitions else [None]
        wanted = context.definition_metadata or {}
        paths: dict[str, Path] = {}
        missing = []
        # in the order of their names: Dagster's own order differs between processes
        for partition in sorted(partition_path(partitions, key) for key in keys):
            if wanted.get("init") is not None and partition[-1] != wanted["init"]:
                continue
            path = self._path(context.asset_key, partition)
            if path.exists():
                paths["/".join(partition)] = path
            else:
                missing.append("/".join(partition) or "the table")
        if not paths or (missing and not wanted.get("allow_missing")):
            name = "/".join(context.asset_key.path)
            raise FileNotFoundError(
                f"{name}: {', '.join(missing) or 'no partition'} not in {self.root}; materialise {name} first"
            )
        # before the tables are read: what is replaced in between then counts as changed
        own = context.partition_key if wanted.get("own_batch") else None
        versions = {partition: _version(path, own) for partition, path in paths.items()}
        for path in paths.values() if "pinned" in wanted else ():
            verify(path)
        if wanted.get("in_turn"):
            return TablesInTurn(tuple(paths.values()), versions)
        table = read_as_one(list(paths.values()), wanted.get("columns"))
        if own is not None:
            import pyarrow.compute as pc

            table = table.filter(pc.equal(table["batch"], own))
        return as_input(table, versions)


def _keep_damaged(path: Path, home: Path) -> None:
    """Set aside a damaged file that is about to be replaced."""
    try:
        origin(path)
    except DamagedFile as error:
        log.warning("%s; it is kept as %s", error, set_aside(path, home))


def _version(path: Path, batch: str | None = None) -> Version:
    """What the file's footer says it, or a batch's rows, are; of a table put there by hand, its content."""
    made = origin(path) or Origin()
    return made.version(batch) if made.data else Version(digest(read_table(path)), made.method)
