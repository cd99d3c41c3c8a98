"""The record of what a table was made from: it survives the file, and tells code from data."""

import os
from dataclasses import replace

import pyarrow as pa

from galaxy_assets.storage.provenance import (
    Version,
    as_input,
    as_read,
    data_version,
    made_by,
    origin,
    origin_of,
    with_origin,
)
from galaxy_assets.storage.tables import digest, write_table
from galaxy_assets.storage.versions import fingerprint

TABLE = pa.table({"a": [1, 2]})


def test_an_origin_comes_back_from_the_file_as_it_was(tmp_path):
    made = made_by("2-abc", {"cutouts": {"b1": Version("d", "m")}}, {"review": "x"}, "v1")
    path = tmp_path / "t.parquet"
    write_table(with_origin(TABLE, made), path)
    found = origin(path)
    assert found is not None and replace(found, content="", types="") == made and data_version(path) == "v1"
    assert origin(tmp_path / "absent.parquet") is None and data_version(tmp_path / "absent.parquet") is None
    write_table(with_origin(TABLE, made_by("2-abc", {}, {}, "v2")), path)
    assert data_version(path) == "v2", "a replaced file is read again"


def test_a_table_without_an_origin_has_one_of_its_digest_alone(tmp_path):
    write_table(TABLE, tmp_path / "t.parquet")
    found = origin(tmp_path / "t.parquet")
    assert found is not None and (found.code, found.data, found.inputs) == ("", digest(TABLE), {})


def test_the_method_is_the_code_behind_a_table_and_not_its_data():
    def method(code: str, data: str, behind: str) -> str:
        return made_by(code, {"cutouts": {"b1": Version(data, behind)}}, {}, data).method

    assert method("1", "d1", "m") == method("1", "d2", "m")
    assert len({method("1", "d", "m"), method("2", "d", "m"), method("1", "d", "n")}) == 3
    # how many partitions there are is data
    two = made_by("1", {"cutouts": {"b1": Version("d", "m"), "b2": Version("e", "m")}}, {}, "d").method
    assert two == method("1", "d", "m")
    # another digest of the same would make every table of every lake outdated
    assert two == "37ceda9a64c08fd1"


def test_versions_travel_with_an_input_and_are_taken_off_it():
    versions = {"b1": Version("d", "m")}
    table, carried = as_read(as_input(TABLE.replace_schema_metadata({"other": "x"}), versions))
    assert carried == versions and table.schema.metadata is None and table.equals(TABLE)
    assert as_read(TABLE)[1] == {} and origin_of(TABLE).run == ""


def test_a_fingerprint_sees_a_change_a_removal_and_a_new_file(tmp_path):
    one, two = tmp_path / "one", tmp_path / "two"
    one.write_text("1")
    seen = [fingerprint([one, two])]
    two.write_text("2")
    seen.append(fingerprint([one, two]))
    one.write_text("changed!")
    seen.append(fingerprint([one, two]))
    os.utime(one, ns=(0, one.stat().st_mtime_ns + 1))  # a copy of another time
    assert fingerprint([one, two]) == seen[-1]
    one.write_text("replaced")  # by one of the same size
    os.utime(one, ns=(0, one.stat().st_mtime_ns + 1))
    seen.append(fingerprint([one, two]))
    one.unlink()
    seen.append(fingerprint([one, two]))
    assert len(set(seen)) == 5 and fingerprint([one, two]) == seen[-1]
