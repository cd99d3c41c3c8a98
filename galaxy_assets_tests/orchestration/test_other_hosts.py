"""The first of torchrun's processes materialises, the others only train, and Dagster sees one run."""

import json
import multiprocessing
import os
import shutil
import time
from multiprocessing import connection
from pathlib import Path

import dagster as dg
import numpy as np
import pytest
from typer.testing import CliRunner

from galaxy_assets.cli import app
from galaxy_assets.definitions import build_defs
from galaxy_assets.orchestration.automation.deliveries import register
from galaxy_assets.orchestration.other_hosts import TrainingElsewhere, invite, take_part
from galaxy_assets.science import byol_pytorch, torchrun
from galaxy_assets.settings.files import survey_files
from galaxy_assets.storage.checkpoints import Training
from galaxy_assets.storage.layout import Layout
from galaxy_assets.storage.tables import read_table
from galaxy_assets_tests.science.test_torchrun import PLACE, as_started, free_port

STARTED = multiprocessing.get_context("forkserver")
STARTED.set_forkserver_preload([__name__])


def first(root: Path, told: dict[str, str], answer: Path) -> None:
    """Materialise `byol_checkpoints` of one start alone, and say which runs Dagster knows of."""
    os.environ.update(told)
    place, instance = torchrun.place(), dg.DagsterInstance.ephemeral()
    assert place is not None
    torchrun.connect()
    register(survey_files(root).known["tiny"], instance, Layout(root))
    job = build_defs(root).resolve_implicit_global_asset_job_def()
    wanted = [dg.AssetKey(["tiny", "byol_checkpoints"])]
    done = job.execute_in_process(
        asset_selection=wanted, partition_key="imagenet", instance=instance, raise_on_error=False
    )
    torchrun.dismiss(place)
    failed = [event.step_failure_data.error for event in done.all_events if event.is_step_failure]
    why = failed[0].to_string() if failed and failed[0] is not None else ""
    answer.write_text(json.dumps({"success": done.success, "runs": len(instance.get_runs()), "why": why}))


def other(root: Path, told: dict[str, str]) -> None:
    """Only train."""
    os.environ.update(told)
    place = torchrun.place()
    assert place is not None
    raise SystemExit(take_part(place, Layout(root)))


def other_by_its_command(root: Path, told: dict[str, str], answer: Path) -> None:
    """The command line of another host."""
    os.environ.update(told | {"GALAXY_ASSETS_DATA": str(root)})
    result = CliRunner().invoke(app, ["run", "tiny"])
    answer.write_text(result.output)
    raise SystemExit(result.exit_code)


def dismissing(told: dict[str, str]) -> None:
    """A first process that has nothing to train."""
    os.environ.update(told)
    place = torchrun.place()
    assert place is not None
    torchrun.dismiss(place)


def places() -> list[dict[str, str]]:
    told = {"WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free_port())}
    return [told | {"RANK": str(rank), "LOCAL_RANK": str(rank)} for rank in range(2)]


def run(*processes) -> list[int | None]:
    try:
        for process in processes:
            process.start()
        connection.wait([process.sentinel for process in processes], 300)
        for process in processes:
            process.join(30)
        return [process.exitcode for process in processes]
    finally:
        for process in processes:
            process.kill()


@pytest.fixture
def untrained_world(world, tmp_path) -> Path:
    root = tmp_path / "data"
    shutil.copytree(world.root, root, ignore=shutil.ignore_patterns("byol_checkpoints", "checkpoints"))
    return root


def test_dagster_sees_one_run_and_the_checkpoints_are_those_of_one_process(world, untrained_world, tmp_path):
    root, answer = untrained_world, tmp_path / "answer"
    one, two = places()
    ended = run(
        STARTED.Process(target=first, args=(root, one, answer)), STARTED.Process(target=other, args=(root, two))
    )
    assert ended == [0, 0]
    assert json.loads(answer.read_text()) == {"success": True, "runs": 1, "why": ""}
    alone, shared = (
        read_table(Layout(folder).table("tiny", "byol_checkpoints", "imagenet")).to_pylist()
        for folder in (world.root, root)
    )
    assert [row["epoch"] for row in shared] == [0, 1, 2]
    assert [row["loss"] for row in shared[1:]] == pytest.approx([row["loss"] for row in alone[1:]], abs=1e-4)
    assert shared[0]["sha256"] == alone[0]["sha256"] and shared[2]["sha256"] != alone[2]["sha256"]
    files = Training((root / shared[0]["path"]).parent)
    assert {path.suffix for path in files.folder.iterdir()} == {".safetensors", ".json"}


def test_a_host_that_sees_another_data_folder_ends_the_training_at_once(untrained_world, tmp_path):
    answer, elsewhere = tmp_path / "answer", tmp_path / "elsewhere"
    one, two = places()
    began = time.monotonic()
    ended = run(
        STARTED.Process(target=first, args=(untrained_world, one, answer)),
        STARTED.Process(target=other, args=(elsewhere, two)),
    )
    assert ended == [0, 1] and time.monotonic() - began < torchrun.PATIENCE.total_seconds() / 2
    told = json.loads(answer.read_text())
    assert not told["success"] and "process 1 of 2 on" in told["why"] and "elsewhere" in told["why"]
    assert not list(untrained_world.rglob("state.pt")) and not elsewhere.exists()


def test_another_hosts_command_ends_when_there_is_nothing_to_train(world, tmp_path):
    one, two = places()
    answer = tmp_path / "answer"
    ended = run(
        STARTED.Process(target=dismissing, args=(one,)),
        STARTED.Process(target=other_by_its_command, args=(world.root, two, answer)),
    )
    assert ended == [0, 0], answer.read_text()
    assert "process 1 of 2 trains when the first one" in answer.read_text()


@pytest.mark.parametrize(
    ("processes", "options", "words"),
    [(3, [], "batch_size 16 is not a multiple of 3"), (4, ["--engine", "another"], "no engine")],
)
def test_what_several_processes_cannot_do_is_refused_before_anything_is_made(
    world, monkeypatch, processes, options, words
):
    as_started(monkeypatch, **(PLACE | {"RANK": 1, "WORLD_SIZE": processes}))
    monkeypatch.setenv("GALAXY_ASSETS_DATA", str(world.root))
    result = CliRunner().invoke(app, ["run", "tiny", *options], env={"COLUMNS": "200"})
    assert result.exit_code == 2 and words in result.output


def test_a_trainer_that_knows_no_other_hosts_trains_on_the_first_one(monkeypatch, tmp_path):
    as_started(monkeypatch, **PLACE)
    told = TrainingElsewhere("tiny", "checkpoints", ["first"], {}, False)
    assert not invite(told, np.arange(3), byol_pytorch.train, Layout(tmp_path))
    assert list(tmp_path.iterdir()) == []
