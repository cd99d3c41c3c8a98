"""`SurveyComponent` in a Dagster project of somebody's own, which the test scaffolds."""

import os
import subprocess
import sys
from pathlib import Path

import dagster as dg
import pytest
import yaml

from galaxy_assets.orchestration.component import SurveyComponent
from galaxy_assets.orchestration.graph import ASSETS, keys_of
from galaxy_assets.orchestration.resources import LAKE, TABLES
from galaxy_assets.settings.files import SurveyError
from galaxy_assets.settings.survey import Survey
from galaxy_assets.storage import store
from galaxy_assets.storage.layout import Layout
from galaxy_assets.storage.store import store_of
from galaxy_assets.storage.tables import read_table
from galaxy_assets_tests.conftest import UNTRAINED, write_tiny
from galaxy_assets_tests.storage.bucket.s3 import NAME, running

PYPROJECT = """
[project]
name = "somebodys"
version = "0.1"
requires-python = ">=3.11"

[tool.dg]
directory_type = "project"

[tool.dg.project]
root_module = "somebodys"
code_location_target_module = "somebodys.definitions"
"""
DEFINITIONS = """
from pathlib import Path
from dagster import definitions, load_from_defs_folder

@definitions
def defs():
    return load_from_defs_folder(path_within_project=Path(__file__).parent)
"""


def scaffold(root: Path, *surveys: dict) -> Path:
    """A Dagster project with one component per survey."""
    package = root / "somebodys"
    for i, attributes in enumerate(surveys):
        home = package / "defs" / f"survey_{i}"
        home.mkdir(parents=True)
        component = {"type": "galaxy_assets.SurveyComponent", "attributes": attributes}
        (home / "defs.yaml").write_text(yaml.safe_dump(component, sort_keys=False))
    (package / "__init__.py").touch()
    (package / "defs" / "__init__.py").touch()
    (package / "definitions.py").write_text(DEFINITIONS)
    (root / "pyproject.toml").write_text(PYPROJECT)
    return root


def dg_cli(project: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """`dg` in the project, with telemetry off."""
    home = project / "home"
    home.mkdir(exist_ok=True)
    (home / "dagster.yaml").write_text("telemetry: {enabled: false}\n")
    environment = os.environ | {"DAGSTER_HOME": str(home), "COLUMNS": "200"}
    environment["PYTHONPATH"] = os.pathsep.join([str(project), os.environ.get("PYTHONPATH", "")])
    command = [str(Path(sys.executable).with_name("dg")), *arguments]
    return subprocess.run(command, cwd=project, env=environment, capture_output=True, text=True, timeout=300)


def load(project: Path, monkeypatch) -> dg.Definitions:
    """The project's definitions, in this process."""
    monkeypatch.syspath_prepend(str(project))
    for name in [name for name in sys.modules if name.split(".")[0] == "somebodys"]:
        monkeypatch.delitem(sys.modules, name)
    package = project / "somebodys"
    return dg.load_from_defs_folder(path_within_project=package)


TINY = {"key_prefix": ["astronomy", "images"], "data": "data", **UNTRAINED}


@pytest.fixture
def project(tmp_path) -> Path:
    """A project with the tiny survey, its images in the project's data folder."""
    root = scaffold(tmp_path / "project", TINY)
    write_tiny(root / "data")
    (root / "data/surveys/tiny.yaml").unlink()
    return root


def test_dg_checks_the_project_and_lists_the_component(project):
    checked = dg_cli(project, "check", "defs")
    assert checked.returncode == 0, checked.stdout + checked.stderr
    listed = dg_cli(project, "list", "components")
    assert "galaxy_assets.SurveyComponent" in listed.stdout


def test_a_wrong_attribute_is_named_with_its_file(tmp_path):
    project = scaffold(tmp_path / "project", TINY | {"recipes": {}})
    checked = dg_cli(project, "check", "yaml")
    said = checked.stdout + checked.stderr
    assert checked.returncode != 0 and "recipes" in said and "defs.yaml" in said


def test_the_survey_is_there_under_its_prefix_with_checks_jobs_and_sensors(project, monkeypatch):
    defs = load(project, monkeypatch)
    graph = defs.resolve_asset_graph()
    keys = keys_of(graph, "tiny")
    assert {tuple(key.path[:-1]) for key in keys} == {("astronomy", "images", "tiny")}
    assert {key.path[-1] for key in keys} == {*ASSETS} - {"recipe_trials"}
    checks = {key.name for key in graph.asset_check_keys if key.asset_key in keys}
    assert {"no_collapse", "enough_left", "oracle_labelled"} <= checks
    repository = defs.get_repository_def()
    assert {"tiny_training", "tiny_refit"} <= set(repository.job_names)
    sensors = {sensor.name for sensor in repository.sensor_defs}
    automatic = {"tiny_automation", "tiny_automatic_embedding", "tiny_automatic_training"}
    assert {"tiny_deliveries", *automatic, "tiny_read_model"} == sensors
    assert [schedule.name for schedule in repository.schedule_defs] == ["tiny_weekly_refit"]


def test_an_asset_of_the_project_lands_in_its_data_folder(project, monkeypatch):
    defs, instance = load(project, monkeypatch), dg.DagsterInstance.ephemeral()
    instance.add_dynamic_partitions("tiny_batch", ["first"])
    job = defs.resolve_implicit_global_asset_job_def()
    for partition, names in (
        ("first", ["delivered_images"]),
        (None, ["taken_ids"]),
        ("first", ["catalogue", "cutouts"]),
    ):
        keys = [dg.AssetKey(["astronomy", "images", "tiny", name]) for name in names]
        assert job.execute_in_process(asset_selection=keys, partition_key=partition, instance=instance).success
    assert read_table(Layout(project / "data").table("tiny", "cutouts", "first")).num_rows == 36


def test_two_surveys_of_one_project_may_have_different_data_folders(tmp_path, monkeypatch):
    other = {**TINY, "name": "other", "source": TINY["source"] | {"path": "tiny"}, "data": "elsewhere"}
    project = scaffold(tmp_path / "project", TINY, other)
    for folder in ("data", "elsewhere"):
        write_tiny(project / folder)
        (project / folder / "surveys/tiny.yaml").unlink()
    defs, instance = load(project, monkeypatch), dg.DagsterInstance.ephemeral()
    resources = set(defs.get_repository_def().get_top_level_resources())
    assert {TABLES, LAKE} < resources and len(resources) == 4, "the first has those of an only one"
    job = defs.resolve_implicit_global_asset_job_def()
    for survey, folder in (("tiny", "data"), ("other", "elsewhere")):
        instance.add_dynamic_partitions(f"{survey}_batch", ["first"])
        keys = [dg.AssetKey(["astronomy", "images", survey, "delivered_images"])]
        assert job.execute_in_process(asset_selection=keys, partition_key="first", instance=instance).success
        assert Layout(project / folder).table(survey, "delivered_images", "first").exists()
        assert [path.name for path in (project / folder / "lake").glob("[!.]*")] == [survey]


@pytest.mark.parametrize(
    ("data", "root"), [("data", "project/data"), ("~/data", "home/data"), ("/x/data", "/x/data"), (None, "env")]
)
def test_the_data_folder_is_named_by_the_rules_of_the_variable(tmp_path, monkeypatch, data, root):
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("GALAXY_ASSETS_DATA", str(tmp_path / "env"))
    component = SurveyComponent(name="tiny", data=data)
    assert component._data_folder(tmp_path / "defs.yaml", tmp_path / "project") == tmp_path / root


@pytest.mark.parametrize("data", ["da[ta]", "s3://", "ftp://host/x"])
def test_a_data_folder_that_cannot_be_used_is_told_with_the_file(tmp_path, data):
    with pytest.raises(SurveyError, match=r"defs.yaml: .*(pattern|cannot be used)"):
        SurveyComponent(name="tiny", data=data)._data_folder(tmp_path / "defs.yaml", tmp_path)


def test_a_data_folder_in_a_bucket_is_one_of_copies(tmp_path, monkeypatch):
    monkeypatch.setattr(store, "_GIVEN", {})
    with running():
        monkeypatch.setenv("GALAXY_ASSETS_CACHE", str(tmp_path / "copies"))
        root = SurveyComponent(name="tiny", data=f"s3://{NAME}/x")._data_folder(tmp_path / "defs.yaml", tmp_path)
        assert root.is_relative_to(tmp_path / "copies") and store_of(root) is not store.FOLDER
    store._bucket.cache_clear()


def test_the_attributes_are_those_of_a_survey_file():
    own = {"key_prefix", "data", "extends"}
    assert set(SurveyComponent.model_fields) == set(Survey.model_fields) | own


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"source": {"reader": "tape", "path": "tiny"}}, "no readers plug-in 'tape'; registered are fits_folder"),
        ({"start_weights": ["imagenet", "nobody"]}, "start weights 'nobody' are not"),
        ({"extends": "nothing"}, "extends 'nothing', which is not shipped"),
        ({"name": "Tiny!"}, "name: String should match pattern"),
    ],
)
def test_a_bad_survey_is_one_error_with_its_file(tmp_path, monkeypatch, changed, said):
    project = scaffold(tmp_path / "project", TINY | changed)
    with pytest.raises(Exception, match="defs") as refused:
        load(project, monkeypatch).resolve_asset_graph()
    assert said in _whole(refused.value)


def _whole(error: BaseException | None) -> str:
    """An error's text and that of its causes."""
    return "" if error is None else f"{error}\n{_whole(error.__cause__ or error.__context__)}"


def test_a_name_that_a_survey_file_has_is_refused(project, monkeypatch):
    file = project / "data/surveys/tiny.yaml"
    file.write_text(yaml.safe_dump(UNTRAINED))
    with pytest.raises(Exception) as refused:
        load(project, monkeypatch).resolve_asset_graph()
    assert f"a survey 'tiny' is described by {file} already" in _whole(refused.value)


def test_two_components_of_one_name_are_refused_whatever_their_prefix(tmp_path, monkeypatch):
    project = scaffold(tmp_path / "project", TINY, TINY | {"key_prefix": "other"})
    with pytest.raises(Exception) as refused:
        load(project, monkeypatch).resolve_asset_graph()
    assert "a survey 'tiny' is described by" in _whole(refused.value) and SurveyError.__name__ in repr(
        [refused.value, refused.value.__cause__, refused.value.__context__]
    )
