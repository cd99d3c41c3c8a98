"""Which folder Dagster keeps its history in when nobody says it."""

import os
from pathlib import Path

import pytest

from galaxy_assets.cli.dagster_home import dagster_home, use_dagster_home
from galaxy_assets.storage.layout import Layout

REPOSITORY = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def unset(monkeypatch):
    monkeypatch.setenv("DAGSTER_HOME", "")  # restored, whatever is set meanwhile
    monkeypatch.delenv("DAGSTER_HOME")


def test_data_folders_beside_each_other_share_nothing(tmp_path):
    homes = []
    for name in "ab":
        os.environ.pop("DAGSTER_HOME", None)
        homes.append(use_dagster_home(Layout(tmp_path / name)))
        assert os.environ["DAGSTER_HOME"] == str(homes[-1]) and (homes[-1] / "dagster.yaml").exists()
    assert homes == [tmp_path / "a/.dagster", tmp_path / "b/.dagster"]


def test_what_a_person_sets_is_used(tmp_path, monkeypatch):
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path / "mine"))
    assert use_dagster_home(Layout(tmp_path / "a")) == tmp_path / "mine"


def test_the_history_of_an_earlier_release_stays_in_use_for_the_data_folder_that_was_run(tmp_path):
    (tmp_path / ".dagster").mkdir()
    for name in ("run", "new", "own"):
        (tmp_path / name).mkdir()
    (tmp_path / "run/lake").mkdir()
    (tmp_path / "own/lake").mkdir()
    (tmp_path / "own/.dagster").mkdir()
    found = {name: dagster_home(Layout(tmp_path / name)) for name in ("run", "new", "own")}
    assert found == {
        "run": tmp_path / ".dagster",
        "new": tmp_path / "new/.dagster",
        "own": tmp_path / "own/.dagster",
    }


def test_it_is_where_make_has_it_for_the_data_folder_of_the_repository():
    assert dagster_home(Layout(REPOSITORY / "data")) == REPOSITORY / ".dagster"
    (line,) = [line for line in (REPOSITORY / "Makefile").read_text().splitlines() if "DAGSTER_HOME ?=" in line]
    assert line.endswith("$(CURDIR)/.dagster")


@pytest.mark.parametrize("given", ["there", "~/there", "./there"])
def test_a_home_is_a_whole_path_however_it_is_written(tmp_path, monkeypatch, given):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DAGSTER_HOME", given)
    assert use_dagster_home(Layout(tmp_path / "a")) == tmp_path / "there"
    assert os.environ["DAGSTER_HOME"] == str(tmp_path / "there") and (tmp_path / "there/dagster.yaml").exists()
