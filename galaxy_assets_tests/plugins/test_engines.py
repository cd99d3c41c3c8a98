"""Engines as plug-ins: ours keeps the contract, and the contract finds an engine that does less."""

import shutil

import pytest
from typer.testing import CliRunner

from galaxy_assets import plugins
from galaxy_assets.cli import app
from galaxy_assets.definitions import build_defs
from galaxy_assets.orchestration.engines import in_process
from galaxy_assets.orchestration.engines.contract import check_engine


@pytest.fixture
def unrun(untrained, tmp_path):
    """The data folder of a survey of one delivery that was not run."""
    root = shutil.copytree(untrained, tmp_path / "unrun")
    shutil.rmtree(root / "lake")
    return root


def test_ours_makes_the_same_tables_twice_and_then_finds_them(unrun, tmp_path):
    check_engine("in_process", build_defs, unrun, "tiny", tmp_path / "made")


def test_an_engine_that_leaves_tables_out_is_found(unrun, tmp_path, monkeypatch):
    def lazy(*arguments):
        for outcome in in_process.run_survey(*arguments):
            yield outcome
            if "embeddings" in outcome.assets:
                return

    load = plugins.load
    monkeypatch.setattr(plugins, "load", lambda kind, name: lazy if name == "lazy" else load(kind, name))
    with pytest.raises(AssertionError, match="lazy makes other tables than in_process"):
        check_engine("lazy", build_defs, unrun, "tiny", tmp_path / "made")


def test_an_unknown_engine_is_told_with_those_that_are_registered(tmp_path, monkeypatch):
    monkeypatch.setenv("GALAXY_ASSETS_DATA", str(tmp_path))
    answer = CliRunner().invoke(app, ["run", "demo_radio", "--engine", "warp"])
    assert answer.exit_code == 2 and "registered are in_process, launched" in answer.output
    assert not (tmp_path / "surveys").exists()
