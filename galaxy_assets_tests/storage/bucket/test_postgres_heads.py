"""Heads of a bucket in a real PostgreSQL: the protocol of those in the bucket, and a connection that ends."""

import os
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pyarrow as pa
import pytest

from galaxy_assets.storage import store
from galaxy_assets.storage.bucket import bucket, postgres_heads
from galaxy_assets.storage.bucket.heads import Content, Head, Part
from galaxy_assets.storage.bucket.objects import BucketAway, BucketError, Changed
from galaxy_assets.storage.bucket.postgres_heads import HEADS, HeadsInPostgres
from galaxy_assets.storage.layout import Layout
from galaxy_assets.storage.store import Conflict, store_of
from galaxy_assets.storage.tables import read_table, write_table
from galaxy_assets_tests.explorer.browser import free_port
from galaxy_assets_tests.storage.bucket.s3 import NAME, running

postgresql = pytest.importorskip("galaxy_assets_tests.postgresql")
psycopg2 = pytest.importorskip("psycopg2", reason="the extra galaxy-assets[cluster] is not installed")


@pytest.fixture(scope="module")
def database() -> Iterator[str]:
    if (programs := postgresql.programs()) is None:
        pytest.skip("no PostgreSQL on this machine: install it (apt install postgresql)")
    with postgresql.server(programs) as server:
        yield server.url


def head(text: str) -> Head:
    return Head({"": Content(1, "0" * 64, [Part("k", 0, 1)])}, 1.0, text)


def test_a_head_is_replaced_by_who_saw_it_and_by_nobody_else(database):
    heads, other = HeadsInPostgres(database, "s3://a"), HeadsInPostgres(database, "s3://b")
    first = heads.swap("lake/x", head("1"), None)
    assert heads.swap("lake/x", head("1"), None) == first, "an answer that was lost is found again"
    with pytest.raises(Changed):
        heads.swap("lake/x", head("2"), None)
    second = heads.swap("lake/x", head("2"), first)
    with pytest.raises(Changed):
        heads.swap("lake/x", head("3"), first)
    assert heads.tokens() == {"lake/x": second} and other.tokens() == {}
    assert heads.read(["lake/x", "lake/y"]) == {"lake/x": (second, head("2")), "lake/y": None}
    heads.forget("lake/x")
    assert heads.tokens() == {}


def test_many_writers_of_one_state_have_one_winner(database):
    heads = [HeadsInPostgres(database, "s3://many") for _ in range(4)]
    first = heads[0].swap("x", head("first"), None)

    def write(number: int) -> bool:
        try:
            heads[number % 4].swap("x", head(str(number)), first)
        except Changed:
            return False
        return True

    with ThreadPoolExecutor(4) as pool:
        assert sum(pool.map(write, range(8))) == 1


def test_a_connection_that_ended_is_made_anew_and_no_answer_is_told_without_the_password(database):
    heads = HeadsInPostgres(database, "s3://ended")
    heads.swap("x", head("1"), None)
    with psycopg2.connect(database.replace("+psycopg2", "")) as connection, connection.cursor() as cursor:
        cursor.execute("select pg_terminate_backend(pid) from pg_stat_activity where pid <> pg_backend_pid()")
    assert set(heads.tokens()) == {"x"}
    nowhere = "postgresql://ann:planted-secret-8c1f2a@127.0.0.1:1/x"
    with pytest.raises(BucketError, match=HEADS) as raised:
        HeadsInPostgres(nowhere, "s3://a")
    assert "planted" not in str(raised.value)


def test_a_database_that_starts_anew_is_waited_for_and_one_that_stays_away_is_named(monkeypatch):
    if (programs := postgresql.programs()) is None:
        pytest.skip("no PostgreSQL on this machine: install it (apt install postgresql)")
    port = free_port()
    with postgresql.new_home(programs) as home, ThreadPoolExecutor(1) as pool:
        with postgresql.running(programs, home, port) as server:
            heads = HeadsInPostgres(server.url, "s3://restarted")
            heads.swap("x", head("1"), None)
        asked = pool.submit(heads.tokens)
        time.sleep(1.5)
        assert not asked.done()
        with postgresql.running(programs, home, port):
            assert set(asked.result(60)) == {"x"}
        monkeypatch.setattr(postgres_heads, "SILENT", 0.1)
        with pytest.raises(BucketError, match=f"{HEADS} names does not answer"):
            heads.tokens()


def test_who_may_not_make_tables_uses_those_that_are_there_and_a_missing_right_is_named(database):
    HeadsInPostgres(database, "s3://rights").swap("x", head("1"), None)
    reader = f"postgresql://reader:planted-secret-8c1f2a@{database.rpartition('@')[2]}"
    said(database, "create role reader login password 'planted-secret-8c1f2a'")
    with pytest.raises(BucketError, match="permission denied for table.*; grant its user select, insert"):
        HeadsInPostgres(reader, "s3://rights")
    said(
        database,
        "grant select, insert, update, delete on galaxy_assets_heads to reader",
        "grant select, insert on galaxy_assets_folders to reader",
        "grant usage on galaxy_assets_token to reader",
    )
    theirs = HeadsInPostgres(reader, "s3://rights")
    theirs.swap("x", head("2"), theirs.tokens()["x"])
    said(database, "alter role reader set default_transaction_read_only = on")
    with pytest.raises(BucketError, match=r"refuses \(cannot execute INSERT in a read-only transaction\)"):
        HeadsInPostgres(reader, "s3://rights")
    with pytest.raises(BucketError, match=HEADS) as raised:
        HeadsInPostgres(f"{reader}?nosuch=1", "s3://rights")
    assert "planted" not in str(raised.value)


def test_a_data_folder_in_a_bucket_with_its_heads_there(database, monkeypatch, tmp_path_factory):
    def machine() -> Layout:
        monkeypatch.setenv("GALAXY_ASSETS_CACHE", str(tmp_path_factory.mktemp("copies")))
        store._bucket.cache_clear()
        return Layout.default()

    with running() as s3:
        monkeypatch.setenv("GALAXY_ASSETS_DATA", f"s3://{NAME}/data")
        monkeypatch.setenv(HEADS, database)
        here = machine()
        path = here.table("s", "umap")
        write_table(pa.table({"rank": [1]}), path)
        mine = store_of(path)
        there = machine()
        copy = there.root / path.relative_to(here.root)
        assert read_table(copy)["rank"].to_pylist() == [1]
        write_table(pa.table({"rank": [2]}), copy)
        partial = path.with_name(".x.partial")
        partial.write_bytes(b"3")
        with pytest.raises(Conflict):
            mine.commit(partial, path)
        assert not [request for request in s3.seen if "/heads/" in request.path]
        monkeypatch.delenv(HEADS)
        with pytest.raises(BucketError, match="are in postgresql, and GALAXY_ASSETS_HEADS is not set"):
            machine()
    store._bucket.cache_clear()


@pytest.fixture
def machine(database, monkeypatch, tmp_path_factory):
    def change(database: str = database, cache: str = "") -> Layout:
        monkeypatch.setenv(HEADS, database)
        monkeypatch.setenv("GALAXY_ASSETS_CACHE", cache or str(tmp_path_factory.mktemp("copies")))
        store._bucket.cache_clear()
        return Layout.default()

    with running():
        yield change
    store._bucket.cache_clear()


def said(database: str, *questions: str) -> None:
    with psycopg2.connect(database.replace("+psycopg2", "")) as connection, connection.cursor() as cursor:
        for question in questions:
            cursor.execute(question)


def test_the_heads_of_another_database_are_refused_and_nothing_is_swept(database, machine, monkeypatch):
    monkeypatch.setenv("GALAXY_ASSETS_DATA", f"s3://{NAME}/identity/")
    monkeypatch.setattr(bucket, "LONGEST_RUN", -60)
    here = machine()
    cache = os.environ["GALAXY_ASSETS_CACHE"]
    write_table(pa.table({"rank": list(range(1000))}), path := here.table("s", "umap"))
    mine = store_of(path)
    monkeypatch.setenv("GALAXY_ASSETS_DATA", f"s3://{NAME}//identity")
    assert machine(cache=cache).table("s", "umap").stat().st_size
    other = f"{database.rpartition('/')[0]}/other"
    connection = psycopg2.connect(database.replace("+psycopg2", ""))
    connection.autocommit = True
    connection.cursor().execute("create database other")
    connection.close()
    with pytest.raises(BucketError, match="are in another database"):
        machine(other)
    # the same process, whose connection ended, and whose address leads elsewhere by now
    monkeypatch.setenv(HEADS, other)
    with pytest.raises(BucketError, match="are in another database"):
        mine.sweep()
    mine._heads._database, mine._heads._connection = other.replace("+psycopg2", ""), None
    with pytest.raises(BucketError, match="leads to another database"):
        mine.refresh()
    assert path.stat().st_size and mine._objects.any_below("data")


def test_a_bucket_that_said_no_more_than_postgresql_goes_on_with_the_database_that_has_its_heads(machine, monkeypatch):
    monkeypatch.setenv("GALAXY_ASSETS_DATA", f"s3://{NAME}/older")
    here = machine()
    write_table(pa.table({"rank": [1]}), path := here.table("s", "umap"))
    objects = store_of(path)._objects
    objects.swap("heads-are-in", b"postgresql", objects.get("heads-are-in")[1])
    assert machine().table("s", "umap").exists()
    assert objects.get("heads-are-in")[0].startswith(b"postgresql ")


def test_an_older_backup_is_refused_where_what_came_after_it_is_known(database, machine, monkeypatch):
    monkeypatch.setenv("GALAXY_ASSETS_DATA", f"s3://{NAME}/backup")
    here = machine()
    cache = os.environ["GALAXY_ASSETS_CACHE"]
    write_table(pa.table({"rank": list(range(1000))}), path := here.table("s", "umap"))
    said(database, "create table backup as select * from galaxy_assets_heads")
    write_table(pa.table({"rank": list(range(2000))}), path)
    mine = store_of(path)
    restore = "delete from galaxy_assets_heads", "insert into galaxy_assets_heads select * from backup"
    said(database, "create table present as select * from galaxy_assets_heads", *restore)
    with pytest.raises(BucketError, match="older backup"):
        machine(cache=cache)
    monkeypatch.setattr(bucket, "LONGEST_RUN", -60)
    with pytest.raises(BucketError, match="older backup"):
        mine.sweep()
    said(database, "delete from galaxy_assets_heads", "insert into galaxy_assets_heads select * from present")
    assert read_table(machine(cache=cache).table("s", "umap")).num_rows == 2000


def test_an_empty_bucket_is_refused_where_the_database_has_heads_of_it(database, machine, monkeypatch):
    monkeypatch.setenv("GALAXY_ASSETS_DATA", f"s3://{NAME}/emptied")
    write_table(pa.table({"rank": list(range(1000))}), path := machine().table("s", "umap"))
    objects = store_of(path)._objects
    kept = {one.key: objects.get(one.key)[0] for one in objects.listed("data")}
    where = objects.get("heads-are-in")[0]
    objects.delete([*kept, "heads-are-in"])
    with pytest.raises(BucketAway, match="heads of 1 files"):
        machine()
    objects.swap("heads-are-in", where, None)
    for key, content in kept.items():
        objects.put_once(key, content)
    assert read_table(machine().table("s", "umap")).num_rows == 1000
