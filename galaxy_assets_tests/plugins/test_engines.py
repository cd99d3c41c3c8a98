"""Engines as plug-ins: ours keeps the contract, and the contract finds an engine that does less."""

import shutil
from importlib.metadata import EntryPoint

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


def broken_engine(*_):
    yield from ()
    raise KeyError("their own")


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (f"{__name__}:broken_engine", "engines plug-in 'warp' of their-engine 2.1 failed (KeyError: 'their own')"),
        ("nowhere_at_all:engine", "engines plug-in 'warp' of their-engine 2.1 cannot be loaded"),
    ],
)
def test_what_is_wrong_with_anothers_engine_is_told_with_its_package(unrun, tmp_path, monkeypatch, value, words):
    point = EntryPoint("warp", value, "galaxy_assets.engines")
    ours, warp = plugins.registered, plugins.Plugin("engines", "warp", "their-engine", "2.1", point)
    monkeypatch.setattr(plugins, "registered", lambda k: ours(k) | ({"warp": (warp,)} if k == "engines" else {}))
    monkeypatch.setenv("GALAXY_ASSETS_DATA", str(unrun))
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path / "home"))
    answer = CliRunner().invoke(app, ["run", "tiny", "--engine", "warp"])
    assert answer.exit_code == 1 and isinstance(answer.exception, SystemExit)
    assert words in " ".join(answer.output.split())
