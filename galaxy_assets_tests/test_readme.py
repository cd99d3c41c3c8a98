"""The README's commands and snippets do what it says."""

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

from galaxy_assets.cli import app
from galaxy_assets.cli.run import write_real_surveys
from galaxy_assets.orchestration.graph import keys_of
from galaxy_assets.settings.files import SurveyError, enable, survey_files
from galaxy_assets.storage.files import NotWritten
from galaxy_assets.storage.layout import Layout

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
COMMANDS = [line.strip().split("#")[0].strip() for line in README.splitlines() if line.startswith("    ")]


def test_the_commands_of_a_newcomer_are_make_targets():
    targets = [shlex.split(c) for c in COMMANDS if c.startswith("make ")]
    assert {t[1] for t in targets} == {"demo", "explore", "test", "check"}


QUOTED = [shlex.split(c)[1:] for c in COMMANDS if c.startswith(".venv/bin/galaxy-assets")]


@pytest.mark.parametrize("words", QUOTED, ids=" ".join)
def test_every_command_quoted_is_one_with_these_options(words):
    group = words[:2] if words[0] in ("survey", "labels", "export", "send") else words[:1]
    help_text = CliRunner().invoke(app, [*group, "--help"], env={"COLUMNS": "200"})
    assert help_text.exit_code == 0
    assert all(option in help_text.output for option in words if option.startswith("--"))


def test_the_query_quoted_works(world, monkeypatch):
    (quoted,) = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    monkeypatch.setenv("GALAXY_ASSETS_DATA", str(world.root))
    *imports, expression = quoted.replace("mysurvey", "tiny").strip().splitlines()
    names: dict = {}
    exec("\n".join(imports), names)
    rows = eval(expression, names).fetchall()
    assert len(rows) == 20


def test_the_export_of_training_candidates_works(world, monkeypatch, tmp_path):
    guide = (ROOT / "docs" / "surveys.md").read_text(encoding="utf-8")
    (quoted,) = re.findall(r"```python\n(.*?)```", guide, re.DOTALL)
    monkeypatch.setenv("GALAXY_ASSETS_DATA", str(world.root))
    monkeypatch.chdir(tmp_path)
    exec(quoted.replace("mysurvey", "tiny"), {})
    header, *rows = (tmp_path / "candidates.csv").read_text().splitlines()
    assert header == "init,cluster,rank,galaxy_id,batch,probability,description,label" and rows


def test_make_hands_on_every_name_of_env(tmp_path):
    """Also those that no rule of the Makefile uses; what the shell alone has is not lost, and no file is needed."""
    show = ["make", "-s", "-f", str(ROOT / "Makefile"), "--eval", 'show: ; @echo "$$TORCH_HOME|$$MINE|$$BIN"', "show"]
    plain = {k: v for k, v in os.environ.items() if k not in ("TORCH_HOME", "MINE", "BIN")} | {"MINE": "shell's"}
    assert subprocess.check_output(show, cwd=tmp_path, env=plain, text=True).strip() == "|shell's|"
    (tmp_path / ".env").write_text("# BIN=no\nTORCH_HOME=/srv/torch home\nGALAXY_ASSETS_DATA = /srv/data\n")
    assert subprocess.check_output(show, cwd=tmp_path, env=plain, text=True).strip() == "/srv/torch home|shell's|"


def test_make_on_another_python_says_how_to_name_one(tmp_path):
    old = tmp_path / "python3"
    code = "import sys; sys.version_info, sys.version = (3, 10, 1), '3.10.1 (main)'; exec(sys.argv[1])"
    old.write_text(f'#!/bin/sh\nexec {sys.executable} -c "{code}" "$2"\n')
    old.chmod(0o755)
    told = subprocess.run(
        ["make", "-s", "env", f"PYTHON={old}", f"VENV={tmp_path}/venv"], cwd=ROOT, capture_output=True, text=True
    )
    wanted = "galaxy-assets needs Python 3.11 to 3.13, this is 3.10.1; name another one: PYTHON=python3.12 make ..."
    assert told.returncode != 0 and told.stderr.splitlines()[0] == wanted


def test_the_assets_listed_are_all_there_are(defs_of_world):
    steps = (ROOT / "docs/explanation/steps.md").read_text(encoding="utf-8")
    listed = set(re.findall(r"`([a-z_0-9]+)`", steps.split("## The assets of a survey")[1].split("`batch`")[0]))
    assert listed == defs_of_world


@pytest.fixture
def defs_of_world(world) -> set[str]:
    return {key.path[-1] for key in keys_of(world.defs.resolve_asset_graph(), "tiny")}


def test_the_command_line_names_what_is_wrong(tmp_path, monkeypatch):
    monkeypatch.setenv("GALAXY_ASSETS_DATA", str(tmp_path))
    runner = CliRunner()
    unknown = runner.invoke(app, ["run", "nosuch"])
    assert unknown.exit_code == 2 and "known are demo_optical" in unknown.output.replace("\n", " ")
    empty = runner.invoke(app, ["real", str(tmp_path)])
    assert empty.exit_code == 2 and "mirabest/" in empty.output


def test_the_command_line_runs_as_a_module():
    shown = subprocess.run(
        [sys.executable, "-m", "galaxy_assets.cli", "--help"], capture_output=True, text=True, cwd=ROOT
    )
    assert shown.returncode == 0 and "real" in shown.stdout and "run" in shown.stdout


def test_real_surveys_are_found_written_once_and_kept(tmp_path):
    data, layout = tmp_path / "surveys", Layout(tmp_path / "data")
    (data / "mirabest").mkdir(parents=True)
    with pytest.raises(SurveyError, match="no gz_decals/, sdss_gz1/ or mirabest/"):
        write_real_surveys(tmp_path, layout)
    assert write_real_surveys(data, layout) == ["mirabest"]
    survey = survey_files(layout.root).named("mirabest")
    assert survey.source.path == str(data / "mirabest")
    assert survey.recipe.backbone == "tf_efficientnet_lite0" and survey.start_weights == ("random", "imagenet")
    path = layout.surveys / "mirabest.yaml"
    assert f"Without the start weights sdss_gz1: no such survey below {data}" in path.read_text()
    settings = yaml.safe_load(path.read_text()) | {"title": "Mine"}
    path.write_text(yaml.safe_dump(settings))
    write_real_surveys(data, layout)
    assert survey_files(layout.root).named("mirabest").title == "Mine"
    (tmp_path / "other" / "mirabest").mkdir(parents=True)
    with pytest.raises(SurveyError, match="not below .*other; edit or delete"):
        write_real_surveys(tmp_path / "other", layout)


def test_real_surveys_may_lie_where_downloads_go_and_start_from_each_other(tmp_path):
    layout = Layout(tmp_path / "data")
    for name in ("sdss_gz1", "mirabest"):
        (layout.raw / name).mkdir(parents=True)
    assert enable("mirabest", layout.root)
    assert write_real_surveys(layout.raw.resolve(), layout) == ["sdss_gz1", "mirabest"]
    assert survey_files(layout.root).named("mirabest").source.path == "mirabest"
    (layout.surveys / "mirabest.yaml").unlink()
    write_real_surveys(layout.raw.resolve(), layout)
    assert "sdss_gz1" in survey_files(layout.root).named("mirabest").start_weights


def test_real_surveys_whose_files_cannot_be_written_end_in_words(tmp_path):
    (tmp_path / "surveys" / "mirabest").mkdir(parents=True)
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "surveys").write_text("a file in the way")
    with pytest.raises(NotWritten, match=r"mirabest\.yaml is not written: "):
        write_real_surveys(tmp_path / "surveys", Layout(tmp_path / "data"))


def test_every_page_linked_is_there_and_the_readme_leads_to_what_defaults_rest_on():
    pages = [ROOT / "README.md", *(ROOT / "docs").rglob("*.md")]
    links = {
        (page, target)
        for page in pages
        for target in re.findall(r"\]\(([^)#:\s]+)(?:#[^)]*)?\)", page.read_text(encoding="utf-8"))
    }
    assert [(page.name, target) for page, target in links if not (page.parent / target).exists()] == []
    assert (ROOT / "README.md", "docs/honesty.md") in links and len(links) > 30
