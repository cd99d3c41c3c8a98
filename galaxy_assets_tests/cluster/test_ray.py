"""Runs as jobs of two Ray nodes, with Dagster in PostgreSQL: the tables are those of in process, also where a worker is
killed.

`make cluster-demo` runs a whole survey. These end early, since every run starts Python anew.
"""

import os
import signal
import threading
from collections.abc import Iterator, Mapping
from contextlib import closing
from pathlib import Path
from urllib.parse import urlsplit

import dagster as dg
import pytest

from galaxy_assets.definitions import build_defs
from galaxy_assets.orchestration.engines import in_process, launched, stopping
from galaxy_assets.orchestration.outcome import Outcome
from galaxy_assets.settings.files import survey_files
from galaxy_assets.storage.provenance import data_version
from galaxy_assets_tests.cluster.ray_nodes import HEAD, OTHER, NotUp, environment, make_home, two_nodes
from galaxy_assets_tests.conftest import PLANTED, UNTRAINED, write_tiny
from galaxy_assets_tests.orchestration.engines.test_launched import until, worker_of

ROOT = Path(__file__).parents[2]
LAST = "artefact_umap_model"


@pytest.fixture
def nodes(postgres, tmp_path, monkeypatch) -> Iterator[Mapping[str, str]]:
    """Two Ray nodes, and what is in their environment and in the test's."""
    pytest.importorskip("dagster_ray", reason="the extra galaxy-assets[cluster] is not installed")
    home = tmp_path / "home"
    make_home(home, ROOT)
    shared = environment(home, postgres.environment, ROOT)
    # Ray keeps for good what it found, be it that there is no token
    reset = pytest.importorskip("ray._private.authentication_test_utils").reset_auth_token_state
    with monkeypatch.context() as inside:
        for name, value in shared.items():
            inside.setenv(name, value)
        reset()
        try:
            with two_nodes(shared):
                yield shared
        except NotUp as why:
            pytest.skip(str(why))
    reset()


def run(
    engine, root: Path, instance: dg.DagsterInstance, last: str = LAST, times: int = 1, **options
) -> dict[tuple[str, str | None], Outcome]:
    """What became of each asset and partition, until the last asset was told so many times."""
    known, outcomes = survey_files(root).known, []
    with closing(engine.run_survey(build_defs(root), known["tiny"], known, instance, root, **options)) as told:
        for outcome in told:
            outcomes.append(outcome)
            times -= last in outcome.assets
            if not times:
                break
    return {(asset, o.partition): o for o in outcomes for asset in o.assets}


def tables(root: Path) -> dict[str, str | None]:
    """Table -> digest, but for those that hold when something was seen."""
    home = root / "lake/tiny"
    found = (file for file in home.rglob("[!.]*.parquet") if "pixels" not in file.parts and file.stem != "deliveries")
    return {str(file.relative_to(home)): data_version(file) for file in found if "image_history" not in file.parts}


def jobs_of(nodes: Mapping[str, str], root: Path) -> list:
    """The jobs that two nodes did, of which no page tells a secret."""
    from ray.job_submission import JobSubmissionClient

    jobs = JobSubmissionClient(nodes["RAY_API_SERVER_ADDRESS"]).list_jobs()
    # whoever sees Ray's pages sees what its jobs were started with
    shown = " ".join(map(str, jobs))
    assert str(root) in shown
    assert nodes["PGPASSWORD"] not in shown and nodes["RAY_AUTH_TOKEN"] not in shown and PLANTED not in shown
    return jobs


def test_two_nodes_look_at_the_deliveries_as_one_process_does(nodes, tmp_path):
    one, two = tmp_path / "one", tmp_path / "two"
    for root in (one, two):
        write_tiny(root, UNTRAINED)
    with dg.DagsterInstance.ephemeral() as instance:
        run(in_process, one, instance, "delivered_images", 2)
    with dg.DagsterInstance.get() as instance:
        ended = run(launched, two, instance, "delivered_images", 2, at_once=2)
    assert {outcome.status for outcome in ended.values()} == {"done"}, [outcome.error for outcome in ended.values()]
    assert "delivered_images/second.parquet" in tables(two) and tables(two) == tables(one)
    assert len(jobs_of(nodes, two)) == len({id(outcome) for outcome in ended.values()})


@pytest.mark.cluster
def test_two_nodes_make_the_tables_of_one_process_though_a_worker_is_killed(nodes, tmp_path):
    one, two = tmp_path / "one", tmp_path / "two"
    for root in (one, two):
        write_tiny(root, UNTRAINED)
    with dg.DagsterInstance.ephemeral() as instance:
        assert run(in_process, one, instance)[LAST, None].status == "done"
    with dg.DagsterInstance.get() as instance:

        def kill() -> None:
            os.kill(until(lambda: worker_of(instance, "pretrained_features", "first"), 600), signal.SIGKILL)

        threading.Thread(target=kill, daemon=True).start()
        ended = run(launched, two, instance, at_once=2)
        lost = ended["pretrained_features", "first"]
        assert lost.status == "failed" and "its worker is lost" in lost.error
        assert len(lost.error) < 1000  # Ray tells all that it knows of a job
        assert ended["pretrained_features", "second"].status == "done"
        assert ended[LAST, None].status == "skipped", "it reads what was lost"
        assert not instance.event_log_storage.get_concurrency_info("gpu").claimed_slots
        assert run(launched, two, instance, at_once=2)[LAST, None].status == "done"
        assert not instance.get_runs(dg.RunsFilter(statuses=stopping._ALIVE))
    assert tables(two) == tables(one)
    assert {urlsplit(job.driver_agent_http_address).hostname for job in jobs_of(nodes, two)} == {HEAD, OTHER}
