"""`survey list`, `survey add`, `run` and `status` on data folders with templates, broken files and good ones."""

from pathlib import Path

import pyarrow as pa
import pytest
import yaml
from typer.testing import CliRunner

from galaxy_assets.cli import app
from galaxy_assets.settings.files import survey_files
from galaxy_assets.storage.layout import Layout
from galaxy_assets.storage.tables import write_table

GOOD = "name: good\ntitle: Good\ndescription: d\nsource: {reader: image_folder, path: good}\n"


@pytest.fixture
def ask(tmp_path, monkeypatch):
    """Runs a command on the data folder: exit status, and what it said on one line."""
    monkeypatch.setenv("GALAXY_ASSETS_DATA", str(tmp_path))
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path / "home"))

    def command(*words: str) -> tuple[int, str]:
        ran = CliRunner().invoke(app, list(words), env={"COLUMNS": "400"})
        assert ran.exception is None or isinstance(ran.exception, SystemExit), ran.exception
        return ran.exit_code, " ".join(ran.output.replace("│", " ").split())

    return command


def write(root: Path, name: str, text: str) -> Path:
    path = root / "surveys" / f"{name}.yaml"
    path.parent.mkdir(exist_ok=True)
    path.write_text(text)
    return path


def test_the_list_shows_enabled_ones_then_templates_then_broken_ones(ask, tmp_path):
    write(tmp_path, "good", GOOD.replace("title: Good", 'title: "Good \\e[31m"'))
    bad = write(tmp_path, "bad", "name: [")
    code, said = ask("survey", "list")
    assert code == 0
    enabled, templates = said.split("Templates")
    templates, broken = templates.split("Broken")
    assert "good Good \\x1b[31m" in enabled and "no delivery there" in enabled and "demo_optical" not in enabled
    for name in ("demo_optical", "demo_radio", "gz_decals", "mirabest", "sdss_gz1"):
        assert f"add with: galaxy-assets survey add {name}" in templates
    assert f"bad {bad}: not valid YAML" in broken


def test_a_new_data_folder_lists_the_demo_surveys_as_enabled(ask):
    code, said = ask("survey", "list")
    assert code == 0 and "Broken" not in said
    assert "demo_optical" in said.split("Templates")[0] and "gz_decals" in said.split("Templates")[1]


def test_a_template_is_added_and_its_start_weights_are_known_but_not_enabled(ask, tmp_path):
    code, said = ask("survey", "add", "mirabest", "demo_radio")
    assert code == 0 and "mirabest is enabled; `galaxy-assets run mirabest`" in said
    assert list(survey_files(tmp_path).enabled) == ["demo_radio", "mirabest"]
    written = (tmp_path / "surveys" / "mirabest.yaml").read_text()
    assert yaml.safe_load(written) == {"extends": "mirabest"} and str(tmp_path / "surveys" / "mirabest.yaml") in said
    write(tmp_path, "mirabest", written + "title: Mine\n")
    assert ask("survey", "add", "mirabest") == (0, "mirabest is enabled; `galaxy-assets run mirabest` makes its tables")
    assert survey_files(tmp_path).named("mirabest").title == "Mine"


def test_a_long_name_runs_into_no_other_column(tmp_path, monkeypatch):
    monkeypatch.setenv("GALAXY_ASSETS_DATA", str(tmp_path))
    long = "a_survey_of_a_long_name"
    write(tmp_path, "short", GOOD.replace("name: good", "name: short"))
    write(tmp_path, long, GOOD.replace("name: good", f"name: {long}"))
    write(tmp_path, f"{long}_2", "")
    lines = CliRunner().invoke(app, ["survey", "list"]).output.splitlines()
    there, wide = f"{tmp_path}/raw/good: no delivery there", len(long)
    rows = [(long, "Good"), ("", there), ("short", "Good"), ("", there)]
    assert lines[1:5] == [f"  {first:{wide}}  {second}" for first, second in rows]
    assert any(line.startswith(f"  {long}_2  {tmp_path}") for line in lines), lines


def test_of_names_of_which_one_is_unknown_or_broken_none_is_added(ask, tmp_path):
    code, said = ask("survey", "add", "gz_decals", "nosuch")
    assert code == 2 and "no survey nosuch in " in said and "; known are demo_optical" in said
    bad = write(tmp_path, "sdss_gz1", "")
    for command in (("survey", "add", "gz_decals", "sdss_gz1"), ("run", "gz_decals", "sdss_gz1")):
        code, said = ask(*command)
        assert code == 2 and f"{bad}: empty; write a survey there" in said
    assert [path.name for path in (tmp_path / "surveys").iterdir()] == ["sdss_gz1.yaml"]


def test_run_enables_a_template(ask, tmp_path):
    code, said = ask("run", "sdss_gz1")
    assert code == 1 and "SDSS" in said and "not finished, no results yet" in said  # there are no images
    assert list(survey_files(tmp_path).enabled) == ["sdss_gz1"]


def test_a_good_survey_runs_beside_a_broken_file(ask, tmp_path):
    write(tmp_path, "good", GOOD)
    bad = write(tmp_path, "bad", GOOD.replace("name: good", "name: bad").replace("image_folder", "tape"))
    code, said = ask("run", "good")
    assert code == 1 and "raw/good: no such folder" in said and f"survey file left out: {bad}" in said
    code, said = ask("run", "bad")
    assert code == 2 and f"{bad}: source.reader" in said
    code, said = ask("status", "bad")
    assert code == 2 and f"{bad}: source.reader" in said


def test_status_shows_enabled_ones_those_never_run_and_broken_ones(ask, tmp_path):
    write(tmp_path, "good", GOOD)
    bad = write(tmp_path, "bad", 'extends: gz_decals\n"\\e[31m": 1\n')
    write_table(pa.table({"a": [1]}), Layout(tmp_path).table("demo_radio", "catalogue", "first"))
    code, said = ask("status")
    assert code == 0
    assert "Simulated radio survey (demo_radio):" in said and "deliveries none seen yet" in said
    assert "Good (good) was never run; `galaxy-assets run good`" in said
    assert f"{bad}: \\x1b[31m: there is no such setting" in said and "MiraBest" not in said
    code, said = ask("status", "sdss_gz1")
    assert code == 0 and "(sdss_gz1) was never run" in said and "Broken" not in said


def test_other_commands_name_the_reason_of_a_broken_survey(ask, tmp_path):
    bad = write(tmp_path, "bad", "name: [")
    for command in (("similar", "bad", "--id", "x"), ("labels", "list", "bad"), ("figures", "bad")):
        code, said = ask(*command)
        assert code == 2 and f"{bad}: not valid YAML" in said
    code, said = ask("export", "ranking", "bad", "--to", str(tmp_path / "out"))
    assert code == 2 and f"{bad}: not valid YAML" in said
    code, said = ask("survey", "new", "bad", "--images", str(tmp_path))
    assert code == 2 and "is not overwritten" in said
