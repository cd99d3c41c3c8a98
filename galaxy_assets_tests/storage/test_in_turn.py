"""Files of one table: read as one at the memory of one, in turn, or a sample of their galaxies."""

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from galaxy_assets.science.samples import keys, smallest
from galaxy_assets.storage.files import DamagedFile
from galaxy_assets.storage.in_turn import TablesInTurn, read_as_one
from galaxy_assets.storage.tables import digest, read_table, vectors_to_column, write_table

SIZES = (5000, 0, 3, 40_000)  # more than is decoded at once, none, few, more than a group of rows


@pytest.fixture(scope="module")
def stored(tmp_path_factory):
    root, rng, begin = tmp_path_factory.mktemp("lake"), np.random.default_rng(0), 0
    paths = []
    for i, size in enumerate(SIZES):
        ids = pa.array([f"J{row:05d}" for row in range(begin, begin + size)], pa.string())
        vectors = vectors_to_column(rng.normal(size=(size, 3)))
        paths.append(root / f"{i}.parquet")
        write_table(pa.table({"galaxy_id": ids, "vector": vectors, "n": pa.array([i] * size, pa.int32())}), paths[-1])
        begin += size
    return tuple(paths), pa.concat_tables([read_table(path).replace_schema_metadata(None) for path in paths])


def test_files_as_one_are_what_they_are_joined(stored):
    paths, joined = stored
    assert [pq.read_metadata(path).num_row_groups for path in paths[2:]] == [1, 2]
    one = read_as_one(paths)
    assert digest(one) == digest(joined) and one.schema == joined.schema
    assert one["vector"].num_chunks == 1
    names = ["n", "galaxy_id"]
    assert digest(read_as_one(paths, names)) == digest(joined.select(names))
    assert digest(read_as_one(paths, ["vector"])) == digest(joined.select(["vector"]))
    assert digest(read_as_one(paths[2:3])) == digest(joined[5000:5003]) == digest(read_table(paths[2]))
    assert digest(read_as_one(paths[1:2])) == digest(joined[:0])


def test_vectors_that_are_absent_somewhere_stay_absent(stored, tmp_path):
    paths, joined = stored
    absent = joined[:3].set_column(1, joined.schema.field(1), pa.nulls(3, joined.schema.field(1).type))
    write_table(absent, tmp_path / "absent.parquet")
    for order in ([paths[2], tmp_path / "absent.parquet"], [tmp_path / "absent.parquet", paths[2]]):
        one = read_as_one(order)
        assert one["vector"].null_count == 3
        assert digest(one) == digest(
            pa.concat_tables([read_table(path).replace_schema_metadata(None) for path in order])
        )


def test_rows_that_are_asked_for_are_read_in_turn(stored):
    paths, joined = stored
    tables = TablesInTurn(paths, {})
    vectors = np.stack(joined["vector"].to_numpy(zero_copy_only=False))
    assert [len(part) for part in tables.vectors()] == list(SIZES)
    assert np.array_equal(np.vstack(list(tables.vectors())), vectors)
    rows = np.array([0, 4095, 4096, 4999, 5000, 5002, 5003, 14_002, 5003 + 32_767, 5003 + 32_768])
    assert np.array_equal(np.vstack(list(tables.vectors(rows))), vectors[rows])
    assert tables.num_rows == len(vectors) and tables.select(["n"])["n"].equals(joined["n"])


def test_a_sample_is_that_of_all_ids(stored):
    paths, joined = stored
    expected = joined["galaxy_id"].take(pa.array(smallest(keys(joined["galaxy_id"], 2), 40))).to_pylist()
    for order in (paths, paths[::-1]):
        tables = TablesInTurn(order, {})
        assert tables.select(["galaxy_id"]).take(pa.array(tables.drawn(40, 2)))["galaxy_id"].to_pylist() == expected
    assert tables.drawn(sum(SIZES), 2) is None


def test_damage_is_told_when_its_file_comes(stored, tmp_path):
    paths, _ = stored
    damaged = tmp_path / "damaged.parquet"
    damaged.write_bytes(paths[0].read_bytes()[:-20])
    parts = TablesInTurn((paths[2], damaged), {}).vectors()
    assert len(next(parts)) == 3
    with pytest.raises(DamagedFile, match=r"damaged\.parquet"):
        next(parts)
