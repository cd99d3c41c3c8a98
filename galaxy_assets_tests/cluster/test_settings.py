"""dagster.cluster.yaml on a real PostgreSQL: where runs are kept, the queue, the pool, run monitoring."""

import shutil
import time
from pathlib import Path

import dagster as dg
import pytest
from dagster._core.workspace.context import WorkspaceProcessContext
from dagster._core.workspace.load_target import ModuleTarget
from dagster._daemon.run_coordinator.queued_run_coordinator_daemon import QueuedRunCoordinatorDaemon
from dagster_shared.serdes import serialize_value

from galaxy_assets.storage.owners import LONGEST_RUN
from galaxy_assets_tests.cluster.held import held

ROOT = Path(__file__).parents[2]
HELD = "galaxy_assets_tests.cluster.held"
QUEUED, SUCCESS = dg.DagsterRunStatus.QUEUED, dg.DagsterRunStatus.SUCCESS


@pytest.fixture
def home(postgres, tmp_path, monkeypatch) -> Path:
    """Dagster's own folder with dagster.cluster.yaml in it, and what it reads in the environment."""
    for name, value in postgres.environment.items():
        monkeypatch.setenv(name, value)
    (tmp_path / "home").mkdir()
    shutil.copy(ROOT / "dagster.cluster.yaml", tmp_path / "home/dagster.yaml")
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


def rows(postgres, query: str) -> list[tuple]:
    import psycopg2

    with psycopg2.connect(postgres.url.replace("+psycopg2", "")) as connection, connection.cursor() as cursor:
        cursor.execute(query)
        return cursor.fetchall()


def until(found, seconds: float = 300):
    """What `found` returns, as soon as it is something."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if value := found():
            return value
        time.sleep(0.2)
    raise AssertionError(f"not within {seconds} s")


def test_runs_and_events_are_kept_in_postgres_alone(home, postgres):
    @dg.asset
    def counted() -> int:
        return 3

    with dg.DagsterInstance.get() as instance:
        made = dg.materialize([counted], instance=instance)
        assert made.success
    assert rows(postgres, "select run_id, status from runs") == [(made.run_id, "SUCCESS")]
    assert (1,) in rows(postgres, "select count(*) from event_logs where dagster_event_type = 'ASSET_MATERIALIZATION'")
    with dg.DagsterInstance.from_config(str(home)) as another:
        assert another.get_latest_materialization_event(counted.key).run_id == made.run_id
    assert not list(home.rglob("*.db"))


def test_the_password_is_in_no_argument_of_a_worker(home, postgres):
    with dg.DagsterInstance.get() as instance:
        given = serialize_value(instance.get_ref())
    assert "PGPASSWORD" in given
    assert postgres.password[-6:] not in given


def test_a_missing_variable_is_told_by_name(home, monkeypatch):
    monkeypatch.delenv("PGPASSWORD")
    with pytest.raises(Exception, match="PGPASSWORD"):
        dg.DagsterInstance.get()


def test_the_queue_holds_runs_while_the_gpu_is_taken(home, tmp_path, monkeypatch, request):
    monkeypatch.setenv("HELD", str(tmp_path))
    request.addfinalizer((tmp_path / "go").touch)  # a run that is at work ends, whatever failed
    target = ModuleTarget(HELD, "defs", str(ROOT), "held")
    with dg.DagsterInstance.get() as instance, WorkspaceProcessContext(instance, target) as workspace:
        # `dagster instance concurrency set gpu 1`; the queue does not count a pool that was never used or set
        instance.event_log_storage.set_concurrency_slots("gpu", 1)
        first, second = (queue(instance, workspace) for _ in range(2))
        with QueuedRunCoordinatorDaemon(interval_seconds=1) as daemon:
            dequeue(daemon, workspace)
            until(lambda: (tmp_path / f"{first}.begun").exists())
            for _ in range(3):
                dequeue(daemon, workspace)
                assert instance.get_run_by_id(second).status == QUEUED
            (tmp_path / "go").touch()
            until(lambda: instance.get_run_by_id(first).status == SUCCESS)
            assert not (tmp_path / f"{second}.begun").exists()
            until(lambda: dequeue(daemon, workspace) or instance.get_run_by_id(second).status == SUCCESS)


def queue(instance: dg.DagsterInstance, workspace: WorkspaceProcessContext) -> str:
    """Put a run of the code location into the queue."""
    request = workspace.create_request_context()
    repository = request.get_code_location("held").get_repository("__repository__")
    job = repository.get_full_job("__ASSET_JOB")
    run = instance.create_run_for_job(
        dg.Definitions(assets=[held], executor=dg.in_process_executor).resolve_implicit_global_asset_job_def(),
        remote_job_origin=job.get_remote_origin(),
        job_code_origin=job.get_python_origin(),
    )
    instance.submit_run(run.run_id, request)
    assert instance.get_run_by_id(run.run_id).status == QUEUED
    return run.run_id


def dequeue(daemon: QueuedRunCoordinatorDaemon, workspace: WorkspaceProcessContext) -> None:
    """One look of Dagster's daemon at the queue."""
    list(daemon.run_iteration(workspace))


def test_runs_are_monitored_and_one_that_waits_for_a_place_may_wait_as_long_as_a_run_may_take(home):
    with dg.DagsterInstance.get() as instance:
        assert instance.run_monitoring_enabled
        assert instance.run_monitoring_start_timeout_seconds == LONGEST_RUN
