"""Runs as jobs of two Ray nodes, with Dagster in PostgreSQL: the tables of in process, and a worker that is killed."""

import os
import signal
import threading
from collections.abc import Iterator, Mapping
from contextlib import closing
from pathlib import Path
from urllib.parse import urlsplit

import dagster as dg
import psutil
import pytest

from galaxy_assets.definitions import build_defs
from galaxy_assets.orchestration.engines import launched, stopping
from galaxy_assets.orchestration.engines.contract import check_engine
from galaxy_assets.settings.files import survey_files
from galaxy_assets_tests.cluster.ray_nodes import HEAD, OTHER, NotUp, environment, two_nodes
from galaxy_assets_tests.conftest import UNTRAINED, write_tiny
from galaxy_assets_tests.orchestration.engines.test_launched import until, worker_of

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def nodes(postgres_server, tmp_path_factory) -> Iterator[Mapping[str, str]]:
    """Two Ray nodes, and what is in their environment and in the tests'."""
    pytest.importorskip("dagster_ray", reason="the extra galaxy-assets[cluster] is not installed")
    home = tmp_path_factory.mktemp("home")
    settings = (ROOT / "dagster.cluster.yaml", ROOT / "packaging/launchers/ray.yaml")
    (home / "dagster.yaml").write_text("".join(part.read_text() for part in settings))
    shared = environment(home, postgres_server.new("ray").environment, ROOT)
    patch = pytest.MonkeyPatch()
    for name, value in shared.items():
        patch.setenv(name, value)
    try:
        with two_nodes(shared):
            yield shared
    except NotUp as why:
        pytest.skip(str(why))
    finally:
        patch.undo()


@pytest.fixture
def two(tmp_path) -> Path:
    """The data folder of a survey of two deliveries that was not run."""
    write_tiny(tmp_path / "data", UNTRAINED)
    return tmp_path / "data"


def test_two_nodes_make_the_tables_of_one_process(nodes, two, tmp_path):
    from ray.job_submission import JobSubmissionClient

    check_engine("launched", build_defs, two, "tiny", tmp_path / "made", Path(nodes["DAGSTER_HOME"]) / "dagster.yaml")
    jobs = JobSubmissionClient(nodes["RAY_API_SERVER_ADDRESS"]).list_jobs()
    assert {urlsplit(job.driver_agent_http_address).hostname for job in jobs} == {HEAD, OTHER}


def test_a_worker_that_is_killed_is_found_and_the_next_run_completes(nodes, two):
    known, defs = survey_files(two).known, build_defs(two)

    def until_the_artefact_map(instance: dg.DagsterInstance) -> dict:
        outcomes = []
        with closing(launched.run_survey(defs, known["tiny"], known, instance, two, at_once=2)) as told:
            for outcome in told:
                outcomes.append(outcome)
                if "artefact_umap_model" in outcome.assets:
                    break
        return {(asset, o.partition): o for o in outcomes for asset in o.assets}

    with dg.DagsterInstance.get() as instance:

        def kill() -> None:
            psutil.Process(until(lambda: worker_of(instance, "pretrained_features", "first"))).send_signal(
                signal.SIGKILL
            )

        threading.Thread(target=kill, daemon=True).start()
        ended = until_the_artefact_map(instance)
        lost = ended["pretrained_features", "first"]
        assert lost.status == "failed" and "its worker is lost" in lost.error
        assert ended["pretrained_features", "second"].status == "done"
        assert ended["artefact_umap_model", None].status == "skipped", "it reads what was lost"
        assert not instance.event_log_storage.get_concurrency_info("gpu").claimed_slots
        assert until_the_artefact_map(instance)["artefact_umap_model", None].status == "done"
        assert not instance.get_runs(dg.RunsFilter(statuses=stopping._ALIVE))


def test_no_secret_is_shown_by_ray(nodes, two):
    """Whoever may see Ray's dashboard sees what its jobs were started with."""
    from ray.job_submission import JobSubmissionClient

    jobs = JobSubmissionClient(nodes["RAY_API_SERVER_ADDRESS"]).list_jobs()
    shown = " ".join(str(job) for job in jobs)
    assert "GALAXY_ASSETS_DATA" in shown
    assert nodes["PGPASSWORD"] not in shown and os.environ["PLANTED_SECRET_ACCESS_KEY"] not in shown
