"""The engine that hands runs to a launcher, over Dagster's own: processes of this machine, killed and cancelled."""

import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import Future
from contextlib import closing
from pathlib import Path

import dagster as dg
import pytest
import yaml
from dagster._core.errors import DagsterLaunchFailedError
from sqlalchemy.exc import OperationalError

from galaxy_assets.cli.dagster_home import SETTINGS
from galaxy_assets.definitions import build_defs
from galaxy_assets.orchestration.course import Began, Ended, following
from galaxy_assets.orchestration.engines import code_server, in_process, launched, stopping
from galaxy_assets.orchestration.engines.contract import check_engine
from galaxy_assets.orchestration.engines.launchers import NoLauncher
from galaxy_assets.orchestration.engines.main_job import Wanted
from galaxy_assets.settings.files import survey_files
from galaxy_assets.settings.printing import PrintableError
from galaxy_assets.storage.footers import Footers
from galaxy_assets_tests.conftest import UNTRAINED, write_tiny

POOLS = {"concurrency": {"pools": {"granularity": "op", "default_limit": 1}}}
ROOT = Path(__file__).parents[3]


@pytest.fixture
def two(tmp_path) -> Path:
    """The data folder of a survey of two deliveries that was not run."""
    write_tiny(tmp_path / "data", UNTRAINED)
    return tmp_path / "data"


@pytest.fixture
def instance(tmp_path):
    (tmp_path / "dagster").mkdir()
    with dg.DagsterInstance.local_temp(str(tmp_path / "dagster"), overrides=POOLS) as kept:
        yield kept


def run(engine, root: Path, instance: dg.DagsterInstance, **options):
    known = survey_files(root).known
    return engine.run_survey(build_defs(root), known["tiny"], known, instance, root, **options)


def until(found, seconds: float = 300):
    """What `found` returns, as soon as it is something."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if value := found():
            return value
        time.sleep(0.1)
    raise AssertionError(f"not within {seconds} s")


def worker_of(instance: dg.DagsterInstance, asset: str = "", partition: str | None = None) -> int | None:
    """Process of a run in which a step has begun: any step, or that of an asset in a partition.

    A step of milliseconds begins and ends between two looks: who needs some worker names none.
    """
    tags = {"dagster/partition": partition} if partition else {}
    for one in instance.get_runs(dg.RunsFilter(tags=tags, statuses=[dg.DagsterRunStatus.STARTED])):
        logs = instance.all_logs(one.run_id)
        begun = any(e.dagster_event and e.dagster_event.is_step_start and asset in str(e.step_key) for e in logs)
        if begun:
            pids = [found[1] for e in logs if (found := re.search(r"\(pid: (\d+)\)", e.user_message or e.message))]
            return int(pids[-1])
    return None


@pytest.mark.cluster  # a whole survey, of which every run starts Python anew
def test_two_deliveries_at_once_have_the_tables_of_one_after_the_other(two, tmp_path):
    check_engine("launched", build_defs, two, "tiny", tmp_path / "made")


@pytest.mark.cluster  # a whole survey, of which every run starts Python anew
def test_a_killed_worker_is_found_the_others_end_and_the_next_run_completes(two, instance):
    def kill() -> None:
        os.kill(until(lambda: worker_of(instance, "pretrained_features", "first")), signal.SIGKILL)

    threading.Thread(target=kill, daemon=True).start()
    outcomes = []
    with closing(run(launched, two, instance, at_once=2)) as told:
        for outcome in told:
            outcomes.append(outcome)
            if "artefact_umap_model" in outcome.assets:
                break
    ended = {(o.assets[0], o.partition): o for o in outcomes if o.partition}
    lost = ended["pretrained_features", "first"]
    assert lost.status == "failed" and "SIGKILL" in lost.error and "(run " in lost.error
    assert ended["pretrained_features", "second"].status == "done"
    assert outcomes[-1].status == "skipped", "it reads what was lost"
    assert not instance.event_log_storage.get_concurrency_info("gpu").claimed_slots
    with closing(run(launched, two, instance, at_once=2)) as told:
        again = next(o for o in told if "artefact_umap_model" in o.assets)
    assert again.status == "done"
    assert not instance.get_runs(dg.RunsFilter(statuses=stopping._ALIVE))


def _heed_ctrl_c() -> None:
    """A test that was started in the background ignores it, and what it starts would too."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


@pytest.fixture
def command(two, tmp_path):
    """`galaxy-assets run` of the survey by the engine, as a person's terminal starts it, and its Dagster's folder."""
    home = tmp_path / "home"
    home.mkdir()
    shutil.copy(SETTINGS, home)
    env = os.environ | {"GALAXY_ASSETS_DATA": str(two), "DAGSTER_HOME": str(home), "PYTHONPATH": str(ROOT)}
    options = ["run", "tiny", "--engine", "launched", "--at-once", "2"]
    with (
        (tmp_path / "printed").open("w") as printed,
        subprocess.Popen(
            [sys.executable, "-m", "galaxy_assets.cli", *options],
            env=env,
            stderr=printed,
            stdout=printed,
            preexec_fn=_heed_ctrl_c,
        ) as process,
        dg.DagsterInstance.from_config(str(home)) as instance,
    ):
        yield process, instance, tmp_path / "printed"
        process.kill()


def test_ctrl_c_cancels_what_was_launched(command):
    process, instance, printed = command
    worker = until(lambda: worker_of(instance))
    process.send_signal(signal.SIGINT)
    assert process.wait(120) == 130
    assert "the same command goes on from here" in printed.read_text()
    assert not instance.get_runs(dg.RunsFilter(statuses=stopping._ALIVE))
    with pytest.raises(ProcessLookupError):
        os.kill(worker, 0)


def test_what_a_killed_main_job_left_is_ended_by_the_next_whichever_its_engine(command, two):
    process, instance, _ = command
    until(lambda: worker_of(instance))
    process.kill()
    process.wait()
    with closing(run(in_process, two, instance)) as told:
        next(told)
    assert not instance.get_runs(dg.RunsFilter(statuses=stopping._ALIVE))


def test_an_error_of_a_worker_is_told_as_in_process_and_so_is_what_begins_and_ends(two, instance):
    source = UNTRAINED["source"] | {"votes": "absent.csv"}
    (two / "surveys/tiny.yaml").write_text(yaml.safe_dump(UNTRAINED | {"source": source}))

    def failed(engine) -> str:
        with closing(run(engine, two, instance)) as told:
            return next(o.error for o in told if "volunteer_votes" in o.assets and o.status == "failed")

    told = {in_process: [], launched: []}
    with following(told[in_process].append):
        here = failed(in_process)
    with following(told[launched].append):
        there = failed(launched)
    assert "absent.csv" in here and there.startswith(here) and "(run " in there
    planned, elsewhere = told[in_process][0], told[launched][0]
    assert planned.tables == elsewhere.tables | {("table_1", None): True} and elsewhere.at_once == 2
    assert Began(("volunteer_votes", None)) in told[in_process] and Began(("volunteer_votes", None)) in told[launched]
    assert [t.table for t in told[in_process] if isinstance(t, Ended)] == [("table_1", None)]


def test_what_a_run_may_have_made_on_another_host_is_looked_at_again_when_it_has_ended(two, instance, monkeypatch):
    looked = []
    monkeypatch.setattr(Footers, "look_again", lambda self, asset, partition: looked.append((asset, partition)))
    with closing(run(in_process, two, instance)) as told:
        first = next(outcome for outcome in told if outcome.status == "done" and outcome.partition)
    assert {(asset, (first.partition,)) for asset in first.assets} <= set(looked)


def test_a_launcher_that_cannot_launch_fails_the_run_with_its_words(two, instance, monkeypatch):
    defs = build_defs(two)
    runs = launched.Launched(defs.resolve_implicit_global_asset_job_def(), instance, None, 1)
    runs.start(Wanted([dg.AssetKey(["tiny", "volunteer_votes"])], None, {"survey": "tiny"}, set()))
    ((_, ran),) = runs.ended().items()
    # Dagster's own launcher without a code server
    assert not ran.made and "could not be launched" in ran.error and "workspace" in ran.error


def test_a_batch_that_is_gone_from_dagsters_records_fails_its_run_in_words(two, instance):
    runs = launched.Launched(build_defs(two).resolve_implicit_global_asset_job_def(), instance, None, 1)
    gone = dg.MultiPartitionKey({"batch": "nowhere", "init": "imagenet"})
    for asset, partition in (("delivered_images", "nowhere"), ("embeddings", gone)):
        runs.start(Wanted([dg.AssetKey(["tiny", asset])], partition, {"survey": "tiny"}, set()))
        ((_, ran),) = runs.ended().items()
        assert not ran.made and ran.error.startswith("nowhere") and "renamed or removed meanwhile" in ran.error
    assert not instance.get_runs()
    instance.add_dynamic_partitions("tiny_batch", ["first"])
    there = dg.MultiPartitionKey({"batch": "first", "init": "imagenet"})
    for asset, partition in (("delivered_images", "first"), ("embeddings", there), ("volunteer_votes", None)):
        assert runs._is_there(Wanted([dg.AssetKey(["tiny", asset])], partition, {}, set()))


def test_a_launch_that_ends_in_an_error_of_the_database_fails_its_run(two, instance, monkeypatch):
    defs = build_defs(two)
    runs = launched.Launched(defs.resolve_implicit_global_asset_job_def(), instance, None, 1)
    asked, of = [], launched.Launched._run

    def once(self, run_id):
        asked.append(run_id)
        if len(asked) == 1:  # in the thread that launches
            raise OSError("the database went away")
        return of(self, run_id)

    monkeypatch.setattr(launched.Launched, "_run", once)
    runs.start(Wanted([dg.AssetKey(["tiny", "volunteer_votes"])], None, {"survey": "tiny"}, set()))
    until(lambda: asked)
    ((_, ran),) = runs.ended().items()
    assert not ran.made and "the database went away" in ran.error


@pytest.mark.parametrize("error", [NoLauncher("away too long"), stopping.NoRecords("silent too long")])
def test_a_launch_that_waited_too_long_ends_the_main_job_in_words(two, instance, error):
    runs = launched.Launched(build_defs(two).resolve_implicit_global_asset_job_def(), instance, None, 1)
    launch = Future()
    launch.set_exception(error)
    runs._under_way["run"] = launched._UnderWay(None, time.monotonic(), launch)
    with pytest.raises(type(error), match="too long"):
        runs.ended()


def test_a_launch_that_the_database_broke_off_does_not_tell_its_address(two, instance, monkeypatch):
    def broken(*_):
        raise DagsterLaunchFailedError("of 10.1.2.3") from OperationalError("SELECT", None, Exception("at 10.1.2.3"))

    monkeypatch.setattr(launched, "hand_over", broken)
    runs = launched.Launched(build_defs(two).resolve_implicit_global_asset_job_def(), instance, None, 1)
    runs.start(Wanted([dg.AssetKey(["tiny", "volunteer_votes"])], None, {"survey": "tiny"}, set()))
    ((_, ran),) = runs.ended().items()
    assert "could not be launched: the database of Dagster's records" in ran.error and "10.1.2.3" not in ran.error


def test_a_code_server_that_does_not_start_is_told_with_what_it_printed(instance, monkeypatch):
    monkeypatch.setattr(code_server, "MODULE", "no_such_module")
    with pytest.raises(PrintableError, match="(?s)does not start.*no_such_module"), code_server.CodeServer(instance):
        pass


def test_an_instance_that_other_processes_cannot_see_is_refused(two):
    with dg.DagsterInstance.ephemeral() as alone, pytest.raises(launched.NotLaunched, match="DAGSTER_HOME"):
        next(run(launched, two, alone))
