"""A launcher that is away for a while gets each run once, and what it says of a worker is taken as it is meant."""

import errno
import socket
import threading
from collections.abc import Iterator
from types import SimpleNamespace

import dagster as dg
import pytest
import requests
import urllib3
from dagster._core.launcher import CheckRunHealthResult, WorkerStatus
from sqlalchemy.exc import OperationalError

from galaxy_assets.definitions import build_defs
from galaxy_assets.orchestration.engines import launchers
from galaxy_assets.orchestration.engines.launched import Launched
from galaxy_assets.orchestration.engines.main_job import Wanted
from galaxy_assets.orchestration.engines.stopping import NoRecords
from galaxy_assets_tests.cluster.ray_api import EXISTS, RayJobs, ray_server
from galaxy_assets_tests.conftest import UNTRAINED, write_tiny

VOTES = Wanted([dg.AssetKey(["tiny", "volunteer_votes"])], None, {"survey": "tiny"}, set())


def caused(error: Exception, cause: Exception) -> Exception:
    error.__cause__ = cause
    return error


def answered(status: int) -> Exception:
    response = requests.Response()
    response.status_code = status
    return requests.HTTPError(response=response)


@pytest.mark.parametrize(
    ("error", "away"),
    [
        (ConnectionError("Failed to connect to Ray"), True),
        (TimeoutError("timed out"), True),
        (OSError(errno.EHOSTUNREACH, "no route to host"), True),
        (socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution"), True),
        (requests.ConnectionError("no name"), True),
        (requests.ReadTimeout("read timed out"), True),
        (requests.exceptions.SSLError("certificate verify failed"), False),
        (requests.exceptions.InvalidURL("no host"), False),
        (caused(Exception("of a client"), urllib3.exceptions.NewConnectionError(None, "no name")), True),
        (caused(Exception("of a client"), urllib3.exceptions.ConnectTimeoutError("timed out")), True),
        (urllib3.exceptions.ProtocolError("Connection aborted"), True),
        (urllib3.exceptions.LocationParseError("no host"), False),
        (OSError(errno.ENOSPC, "no space left"), False),
        (caused(Exception("Retry limit of 3 exceeded"), ConnectionRefusedError()), True),
        (caused(Exception("of a client"), answered(503)), True),
        (answered(429), True),
        (answered(404), False),
        (OperationalError("SELECT", None, Exception("server closed the connection")), True),
        (RuntimeError("Request failed with status code 500: No available agent to submit job."), True),
        (RuntimeError("Request failed with status code 403: no."), False),
        (RuntimeError(f"Request failed with status code 500: {EXISTS}."), False),
        (ValueError("no such image"), False),
    ],
)
def test_waiting_helps_where_a_service_cannot_be_reached_or_is_not_able_to_answer_yet(error, away):
    assert launchers.is_away(error) is away


@pytest.fixture
def ray(tmp_path, monkeypatch) -> Iterator[tuple[Launched, RayJobs]]:
    """Runs of a Dagster that hands them to Ray, and the jobs that Ray was given."""
    pytest.importorskip("dagster_ray", reason="the extra galaxy-assets[cluster] is not installed")
    monkeypatch.setattr(launchers, "_AGAIN", 0.05)
    write_tiny(tmp_path / "data", UNTRAINED)
    (tmp_path / "home").mkdir()
    with ray_server() as jobs:
        config = {"ray": {"address": jobs.address}}
        settings = {"run_launcher": {"module": "dagster_ray", "class": "RayRunLauncher", "config": config}}
        with dg.DagsterInstance.local_temp(str(tmp_path / "home"), overrides=settings) as instance:
            job = build_defs(tmp_path / "data").resolve_implicit_global_asset_job_def()
            yield Launched(job, instance, None, 1), jobs


@pytest.mark.parametrize(
    ("answers", "posts"),
    [([], 1), ([503, 500, 429], 4), ([0], 1)],
    ids=["at once", "as soon as it is able to", "and says nothing"],
)
def test_ray_gets_a_job_once_however_it_answers(ray, answers, posts):
    runs, jobs = ray
    jobs.answers = answers
    run_id = runs.start(VOTES)
    runs._under_way[run_id].launch.result(60)
    assert jobs.posts == posts and list(jobs) == [f"dagster-run-{run_id}"]
    runs._look()
    assert runs.instance.get_run_by_id(run_id).status == dg.DagsterRunStatus.STARTING


def test_what_ray_does_not_take_fails_its_run_at_once(ray):
    runs, jobs = ray
    jobs.answers = [400]
    runs.start(VOTES)
    ((_, ran),) = runs.ended().items()
    assert not ran.made and "could not be launched" in ran.error and jobs.posts == 1


class Launcher:
    """A launcher of which a test says what it answers."""

    supports_check_run_worker_health = True

    def __init__(self, **says):
        self.__dict__ |= says
        self.launched = 0

    def launch_run(self, context) -> None:
        self.launched += 1
        raise ConnectionError("away")


def test_a_launcher_that_cannot_be_asked_is_handed_a_run_once():
    launcher = Launcher(supports_check_run_worker_health=False)
    run = SimpleNamespace(run_id="r", status=dg.DagsterRunStatus.STARTING)
    launcher.check_run_worker_health = lambda run: pytest.fail("it cannot be asked")
    with pytest.raises(ConnectionError):
        launchers.hand_over(SimpleNamespace(run_launcher=launcher, get_run_by_id=lambda _: run), run, threading.Event())
    assert launcher.launched == 1


def test_a_launcher_is_asked_nothing_where_nobody_waits_for_the_run_any_more():
    stopped = threading.Event()

    class Stopped(Launcher):
        def launch_run(self, context) -> None:
            stopped.set()  # while the launcher was asked
            super().launch_run(context)

    def asked(*_):
        pytest.fail("nobody waits for the run")

    launcher = Stopped(check_run_worker_health=asked)
    instance = SimpleNamespace(run_launcher=launcher, get_run_by_id=asked)
    launchers.hand_over(instance, SimpleNamespace(run_id="r"), stopped)
    assert launcher.launched == 1


def away_at(second: float) -> Exception:
    """What a launcher raises at a second: for four minutes that the database is away, and then that it is away."""
    database = OperationalError("SELECT", None, Exception("server at 10.1.2.3 closed the connection"))
    return caused(Exception("not launched: 10.1.2.3"), database) if second < 240 else ConnectionError("away")


@pytest.mark.parametrize(
    ("raised", "ends", "at", "said"),
    [
        (away_at, launchers.NoLauncher, 540, ["the run launcher does not answer (away); waiting for it"]),
        (lambda second: away_at(0), NoRecords, 300 / 30 * 32, []),  # the disk of a database that answers is full
    ],
)
def test_the_database_of_dagsters_records_is_not_taken_for_a_launcher_that_is_away(
    monkeypatch, caplog, raised, ends, at, said
):
    """Every question takes half a minute, and two seconds lie between."""
    now = [0.0]

    class Slow(Launcher):
        def launch_run(self, context) -> None:
            error = raised(now[0])
            now[0] += 30
            raise error

    class Stopped(threading.Event):
        def wait(self, seconds: float) -> None:
            now[0] += seconds

    monkeypatch.setattr(launchers, "time", SimpleNamespace(monotonic=lambda: now[0]))
    run = SimpleNamespace(run_id="r", status=dg.DagsterRunStatus.STARTING)
    nothing = CheckRunHealthResult(WorkerStatus.NOT_FOUND)
    instance = SimpleNamespace(
        run_launcher=Slow(check_run_worker_health=lambda run: nothing), get_run_by_id=lambda run_id: run
    )
    with pytest.raises(ends) as told:
        launchers.hand_over(instance, run, Stopped())
    assert now[0] == pytest.approx(at, abs=64) and "10.1.2.3" not in f"{told.value}{caplog.text}"
    assert [record.getMessage() for record in caplog.records] == said


@pytest.mark.parametrize("launched", [False, True])
@pytest.mark.parametrize("status", [dg.DagsterRunStatus.STARTING, dg.DagsterRunStatus.STARTED])
@pytest.mark.parametrize("says", [*WorkerStatus, None])
def test_a_worker_may_end_its_run_unless_it_is_not_there_any_more(launched, status, says):
    questions = []

    def asked(run):
        questions.append(run)
        if says is None:
            raise ConnectionError("away")
        return CheckRunHealthResult(says, "words")

    launcher = Launcher(check_run_worker_health=asked, get_run_worker_debug_info=lambda run: "")
    run = SimpleNamespace(status=status)
    why, sure = launchers.lost(SimpleNamespace(run_launcher=launcher), run, launched)
    begun = status == dg.DagsterRunStatus.STARTED
    assert len(questions) == (launched or begun), "the launcher need not know of it yet"
    if not questions or says in (WorkerStatus.RUNNING, WorkerStatus.SUCCESS):
        assert (why, sure) == ("", True)
    elif says == WorkerStatus.FAILED:
        assert "its worker is lost" in why and sure
    else:
        assert why and sure is (begun and says == WorkerStatus.NOT_FOUND)
