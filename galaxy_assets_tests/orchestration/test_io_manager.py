"""The Parquet I/O manager through real Dagster runs: one partition, many, missing ones, chosen start weights."""

import dagster as dg
import pyarrow as pa
import pytest

from galaxy_assets.orchestration.io_manager import ParquetLake
from galaxy_assets.storage.in_turn import TablesInTurn
from galaxy_assets.storage.provenance import as_read
from galaxy_assets.storage.tables import digest, read_table

BATCHES = dg.DynamicPartitionsDefinition(name="s_batch")
INITS = dg.StaticPartitionsDefinition(["imagenet", "random"])
BOTH = dg.MultiPartitionsDefinition({"batch": BATCHES, "init": INITS})


@dg.asset(key_prefix="s", partitions_def=BATCHES)
def cutouts(context: dg.AssetExecutionContext) -> pa.Table:
    return pa.table({"batch": [context.partition_key]})


@dg.asset(key_prefix="s", partitions_def=BOTH)
def embeddings(context: dg.AssetExecutionContext) -> pa.Table:
    keys = context.partition_key.keys_by_dimension
    return pa.table({"batch": [keys["batch"]], "init": [keys["init"]]})


def reader(key: str, **metadata):
    @dg.asset(key_prefix="s", ins={"table": dg.AssetIn(key=dg.AssetKey(["s", key]), metadata=metadata)})
    def whole(table: pa.Table) -> pa.Table:
        return table

    return whole


@pytest.fixture
def world(tmp_path):
    instance = dg.DagsterInstance.ephemeral()

    def run(assets, selection, partition=None):
        resources = {"io_manager": ParquetLake(root=str(tmp_path))}
        return dg.materialize(
            assets, selection=selection, partition_key=partition, instance=instance, resources=resources
        )

    instance.add_dynamic_partitions("s_batch", ["b1", "b2"])
    return run, instance, tmp_path


def test_one_partition_arrives_as_a_table_like_many_do(world):
    run, instance, _ = world
    whole = reader("cutouts")
    instance.delete_dynamic_partition("s_batch", "b2")
    run([cutouts], [cutouts], "b1")
    assert run([cutouts, whole], [whole]).output_for_node("s__whole")["batch"].to_pylist() == ["b1"]
    instance.add_dynamic_partitions("s_batch", ["b2"])
    run([cutouts], [cutouts], "b2")
    assert run([cutouts, whole], [whole]).output_for_node("s__whole")["batch"].to_pylist() == ["b1", "b2"]


def test_in_turn_files_are_read_one_by_one_and_carry_the_same_versions(world):
    run, _, root = world
    for batch in ("b1", "b2"):
        run([cutouts], [cutouts], batch)
    seen = {}

    @dg.asset(key_prefix="s", ins={"table": dg.AssetIn(key=dg.AssetKey(["s", "cutouts"]), metadata={"in_turn": True})})
    def lazy(table: TablesInTurn) -> None:
        seen["rows"], seen["lazy"] = table.select(["batch"])["batch"].to_pylist(), table.versions

    @dg.asset(key_prefix="s", ins={"table": dg.AssetIn(key=dg.AssetKey(["s", "cutouts"]))})
    def eager(table: pa.Table) -> None:
        seen["eager"] = as_read(table)[1]

    run([cutouts, lazy], [lazy])
    run([cutouts, eager], [eager])
    assert seen["rows"] == ["b1", "b2"] and seen["lazy"] == seen["eager"]
    # a table that carries no version of its own is known by its content
    folder = root / "lake" / "s" / "cutouts"
    assert {name: version.data for name, version in seen["lazy"].items()} == {
        batch: digest(read_table(folder / f"{batch}.parquet")) for batch in ("b1", "b2")
    }


def test_named_columns_are_read_alone_and_carry_the_version_of_the_whole(world):
    run, _, _ = world
    run([embeddings], [embeddings], dg.MultiPartitionKey({"batch": "b1", "init": "imagenet"}))
    for pinned in ({}, {"pinned": "refit"}):
        seen = {}
        how = {"init": "imagenet", "allow_missing": True} | pinned

        def look(name, metadata, seen=seen):
            @dg.asset(
                key_prefix="s",
                name=name,
                ins={"table": dg.AssetIn(key=dg.AssetKey(["s", "embeddings"]), metadata=metadata)},
            )
            def looked(table: pa.Table) -> None:
                seen[name] = as_read(table)

            return looked

        part, every = look("part", how | {"columns": ["init"]}), look("every", how)
        run([embeddings, part, every], [part, every])
        assert seen["part"][0].to_pydict() == {"init": ["imagenet"]}
        assert seen["part"][1] == seen["every"][1] and seen["every"][0].column_names == ["batch", "init"]


def test_a_missing_partition_is_named_and_can_be_allowed(world):
    run, _, _ = world
    run([cutouts], [cutouts], "b1")
    strict, lenient = reader("cutouts"), reader("cutouts", allow_missing=True)
    with pytest.raises(FileNotFoundError, match="s/cutouts: b2 not in .* materialise s/cutouts first"):
        run([cutouts, strict], [strict])
    assert run([cutouts, lenient], [lenient]).output_for_node("s__whole")["batch"].to_pylist() == ["b1"]


def test_only_the_named_start_weights_are_read(world):
    run, _, root = world
    for batch in ("b1", "b2"):
        run([embeddings], [embeddings], dg.MultiPartitionKey({"batch": batch, "init": "imagenet"}))
    assert (root / "lake/s/embeddings/b1/imagenet.parquet").exists()
    chosen = reader("embeddings", init="imagenet")
    table = run([embeddings, chosen], [chosen]).output_for_node("s__whole")
    assert table.to_pydict() == {"batch": ["b1", "b2"], "init": ["imagenet", "imagenet"]}
    other = reader("embeddings", init="random")
    with pytest.raises(FileNotFoundError, match="b1/random, b2/random"):
        run([embeddings, other], [other])
