"""The tiny survey run whole in a bucket: the tables of a folder, and everything that reads them, on other machines."""

import json
import os
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import dagster as dg
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from galaxy_assets.cli import app
from galaxy_assets.definitions import build_defs
from galaxy_assets.lake.read_model import connect, publish
from galaxy_assets.orchestration.automation import deliveries
from galaxy_assets.orchestration.engines import in_process, launched
from galaxy_assets.orchestration.graph import EXPLORER
from galaxy_assets.settings.files import survey_files
from galaxy_assets.storage import store
from galaxy_assets.storage.bucket.bucket import Bucket
from galaxy_assets.storage.integrity import flaws
from galaxy_assets.storage.layout import Layout
from galaxy_assets.storage.provenance import data_version
from galaxy_assets.storage.store import Conflict
from galaxy_assets.storage.tables import read_table, write_table
from galaxy_assets_tests import postgresql
from galaxy_assets_tests.conftest import PLANTED, UNTRAINED, World, write_tiny
from galaxy_assets_tests.storage.bucket.s3 import NAME, S3, running


@pytest.fixture(scope="module", params=["in the bucket", pytest.param("in PostgreSQL", marks=pytest.mark.cluster)])
def heads(request) -> Iterator[None]:
    """The heads are in the bucket, or in a database whose address the environment has."""
    if request.param == "in the bucket":
        yield
        return
    pytest.importorskip("psycopg2", reason="the extra galaxy-assets[cluster] is not installed")
    if (programs := postgresql.programs()) is None:
        pytest.skip("no PostgreSQL on this machine: install it (apt install postgresql)")
    with postgresql.server(programs) as server, pytest.MonkeyPatch.context() as patch:
        patch.setenv("GALAXY_ASSETS_HEADS", server.url)
        yield


@pytest.fixture(scope="module")
def s3(heads) -> Iterator[S3]:
    with running() as server:
        yield server


@pytest.fixture
def machine(monkeypatch, tmp_path_factory):
    """Makes this process one of another machine, with no copies yet."""

    def change(prefix: str = "data") -> Layout:
        monkeypatch.setenv("GALAXY_ASSETS_DATA", f"s3://{NAME}/{prefix}")
        monkeypatch.setenv("GALAXY_ASSETS_CACHE", str(tmp_path_factory.mktemp("copies")))
        store._bucket.cache_clear()
        return Layout.default()

    yield change
    store._bucket.cache_clear()


OF_THE_RUN = {
    "image_history": ("first_seen", "last_seen"),
    "label_events": ("time", "recorded", "event"),
    "results": ("observed", "verdict", "note"),
}
"""Tables that hold when something was seen or how fast it was, and the columns that say so."""


def tables(lake: Path) -> dict[str, Any]:
    """Data versions of all tables; of those that hold times, the other columns."""
    found = {path.relative_to(lake).as_posix(): path for path in lake.rglob("[!.]*.parquet")}
    told: dict[str, Any] = {}
    for name, path in found.items():
        asset = name.split("/")[1].removesuffix(".parquet")
        if asset in OF_THE_RUN:
            table = read_table(path)
            told[name] = table.drop_columns(list(OF_THE_RUN[asset])).to_pylist()
        elif asset not in ("pixels", "deliveries"):
            told[name] = data_version(path)
    return told


@pytest.fixture(scope="module")
def made(s3, world: World, tmp_path_factory) -> list:
    """What the main job reported that ran in the bucket, from one machine."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GALAXY_ASSETS_DATA", f"s3://{NAME}/data")
        patch.setenv("GALAXY_ASSETS_CACHE", str(tmp_path_factory.mktemp("copies")))
        store._bucket.cache_clear()
        root = Layout.default().root
        write_tiny(root)
        defs, known = build_defs(root), survey_files(root).known
        outcomes = list(in_process.run_survey(defs, known["tiny"], known, dg.DagsterInstance.ephemeral(), root))
        publish(Layout(root), EXPLORER)
        store._bucket.cache_clear()
    return outcomes


def test_the_tables_are_those_of_a_folder_digest_for_digest(made, world, machine):
    assert {(o.status, tuple(o.assets), o.partition) for o in made} == {
        (o.status, tuple(o.assets), o.partition) for o in world.outcomes
    }
    here = machine()
    assert tables(here.lake) == tables(world.root / "lake")


def test_another_machine_reads_everything_from_the_bucket(made, world, machine):
    here = machine()
    assert here.table("tiny", "anomaly_ranking").stat().st_size == 0, "it is not fetched before it is read"
    runner = CliRunner()
    asked = "select count(*) as n, sum(rank) as ranks from tiny.anomaly_ranking"
    with connect(here.root, ["tiny.anomaly_ranking"]) as lake, connect(world.root) as there:
        publish(Layout(world.root), EXPLORER)
        assert lake.sql(asked).fetchall() == there.sql(asked).fetchall()
    found = runner.invoke(
        app, ["query", "select count(*) as n from tiny.cutouts join tiny.catalogue using (galaxy_id)"]
    )
    assert found.exit_code == 0 and "73" in found.output, found.output
    refused = runner.invoke(app, ["query", f"from read_text('{here.root}/surveys/tiny.yaml')"])
    assert refused.exit_code != 0 and "Permission" in refused.output
    assert not list(flaws(here, "tiny", deep=True))
    out = here.root.parent / "exported"
    exported = runner.invoke(app, ["export", "ranking", "tiny", "--to", str(out), "--images"])
    assert exported.exit_code == 0, exported.output
    assert json.loads((out / "about.json").read_text())


@pytest.mark.parametrize("others", [1, 2])
def test_of_two_looks_at_once_the_later_one_goes_on_from_the_ledger_of_the_other(s3, machine, monkeypatch, others):
    here = machine(f"looks{others}")
    write_tiny(here.root, UNTRAINED)
    survey, instance = survey_files(here.root).named("tiny"), dg.DagsterInstance.ephemeral()
    path, long_ago, written = here.table("tiny", "deliveries"), datetime(2020, 1, 1, tzinfo=UTC), []

    def late(table: pa.Table, to: Path) -> None:
        if len(written) < others:
            theirs = [row | {"first_seen": long_ago, "state": "arriving"} for row in table.to_pylist()]
            other = Bucket(os.environ["GALAXY_ASSETS_DATA"], here.root)  # another process of this machine
            pq.write_table(pa.Table.from_pylist(theirs, table.schema), partial := here.root / ".theirs.partial")
            to.parent.mkdir(parents=True, exist_ok=True)
            other.commit(partial, to)
            written.append(to)
        write_table(table, to)

    monkeypatch.setattr(deliveries, "write_table", late)
    if others == 2:  # once is by chance, twice is not
        with pytest.raises(Conflict, match="tiny/deliveries"):
            deliveries.register(survey, instance, here)
        return
    found = deliveries.register(survey, instance, here)
    assert found.batches == ["first", "second"] and set(found.ledger["first_seen"].to_pylist()) == {long_ago}
    kept = read_table(path)
    assert written == [path] and kept["first_seen"].to_pylist() == [long_ago] * 2
    assert kept["state"].to_pylist() == ["whole"] * 2


def test_workers_that_a_launcher_started_commit_to_the_bucket(s3, machine, tmp_path):
    here = machine("launched")
    write_tiny(here.root, UNTRAINED)
    known = survey_files(here.root).known
    with (
        dg.DagsterInstance.local_temp(str(tmp_path)) as instance,
        closing(launched.run_survey(build_defs(here.root), known["tiny"], known, instance, here.root)) as told,
    ):
        first = next(outcome for outcome in told if outcome.partition == "first")
    assert first.status == "done" and "delivered_images" in first.assets
    there = machine("launched")
    assert read_table(there.table("tiny", "delivered_images", "first")).num_rows


def test_nothing_in_the_bucket_or_beside_it_names_a_secret(made, machine):
    here = machine()
    for path in here.root.rglob("*"):
        if path.is_file():
            assert PLANTED.encode() not in store.store_of(path).local(path).read_bytes(), path
