"""The file `.env` of the current folder, which Dagster's processes read over the environment: what it may not say."""

import dagster as dg
import pytest

from galaxy_assets.orchestration import webserver
from galaxy_assets.orchestration.engines import launched
from galaxy_assets.orchestration.env_file import OtherEnvironment, refuse_another_environment


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("GALAXY_ASSETS_DATA", "DAGSTER_HOME", "GALAXY_ASSETS_HEADS"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path


def test_neither_pages_nor_workers_start_where_the_file_leads_elsewhere(here, world, monkeypatch):
    (here / ".env").write_text("GALAXY_ASSETS_DATA=/srv/other\n")
    monkeypatch.setenv("GALAXY_ASSETS_DATA", str(world.root))
    monkeypatch.setenv("DAGSTER_HOME", str(here))
    said = r"\.env says GALAXY_ASSETS_DATA=/srv/other, .* here it is .*; take that line out"
    with pytest.raises(OtherEnvironment, match=said):
        webserver.serve(None, host="127.0.0.1", port=1)
    with dg.DagsterInstance.local_temp(str(here)) as instance, pytest.raises(OtherEnvironment, match=said):
        list(launched.run_survey(world.defs, world.survey, {"tiny": world.survey}, instance, world.root))


@pytest.mark.parametrize(
    ("file", "environment"),
    [
        ("", {}),
        ("GALAXY_ASSETS_DATA=data\n", {}),
        ("GALAXY_ASSETS_DATA=./data\n", {"GALAXY_ASSETS_DATA": "data"}),
        ("TORCH_HOME=/srv/torch\nGALAXY_ASSETS_REAL_DATA=/srv/real\n", {}),
        (
            "DAGSTER_HOME=/srv/home\nGALAXY_ASSETS_DATA=s3://b/p\n",
            {"DAGSTER_HOME": "/srv/home/", "GALAXY_ASSETS_DATA": "s3://b/p"},
        ),
    ],
)
def test_a_file_that_agrees_is_let_be(here, monkeypatch, file, environment):
    (here / ".env").write_text(file)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    refuse_another_environment()


def test_a_home_that_is_named_in_the_file_alone_is_refused(here):
    (here / ".env").write_text("DAGSTER_HOME=/srv/home\n")
    with pytest.raises(OtherEnvironment, match=r"DAGSTER_HOME=/srv/home.*not set; .*set -a"):
        refuse_another_environment()


def test_an_address_with_a_password_is_not_quoted(here, monkeypatch):
    (here / ".env").write_text("GALAXY_ASSETS_HEADS=postgresql://me:first-secret@db/x\n")
    monkeypatch.setenv("GALAXY_ASSETS_HEADS", "postgresql://me:second-secret@db/x")
    with pytest.raises(OtherEnvironment, match="says GALAXY_ASSETS_HEADS, .*another one") as refused:
        refuse_another_environment()
    assert "secret" not in str(refused.value)


def test_the_folder_that_workers_are_given_is_the_one_that_must_agree(here, world, monkeypatch):
    (here / ".env").write_text(f"GALAXY_ASSETS_DATA={here}\n")
    monkeypatch.setenv("GALAXY_ASSETS_DATA", str(here))
    with dg.DagsterInstance.local_temp(str(here)) as instance, pytest.raises(OtherEnvironment, match="here it is"):
        list(launched.run_survey(world.defs, world.survey, {"tiny": world.survey}, instance, world.root))


@pytest.mark.parametrize("value", ["", "~nosuchperson/data"])
def test_what_is_no_folder_is_compared_as_it_is(here, monkeypatch, value):
    (here / ".env").write_text(f"GALAXY_ASSETS_DATA={value}\n")
    monkeypatch.setenv("GALAXY_ASSETS_DATA", value)
    refuse_another_environment()
