"""The commands of docs/cluster.md and of the scripts of packaging/ are commands with these options."""

import re
import shlex
import subprocess
from pathlib import Path

import click
import pytest
import typer.main
import yaml

from galaxy_assets.cli import app

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/cluster.md").read_text(encoding="utf-8")
SLURM = (ROOT / "packaging/slurm.sbatch").read_text(encoding="utf-8")


def commands(text: str, program: str) -> list[list[str]]:
    """The words after a program's name, of each line that calls it."""
    text = text.replace("\\\n", " ")
    found = re.findall(rf"^ *(?:\S*/bin/|until |srun .* |.* -- )?{program} (.*?)(?:#.*)?$", text, re.MULTILINE)
    return [shlex.split(words.partition(" >")[0].rstrip(" &;")) for words in found]


def options(words: list[str]) -> set[str]:
    return {word.partition("=")[0] for word in words if word.startswith("--")}


def known(command: click.Command) -> set[str]:
    return {name for parameter in command.params for name in parameter.opts}


def test_every_make_target_is_one():
    for words in commands(PAGE, "make"):
        subprocess.run(["make", "--dry-run", *words], cwd=ROOT, check=True, capture_output=True)


def test_every_command_of_galaxy_assets_is_one():
    called = commands(PAGE, "galaxy-assets")
    assert len(called) > 4
    group = typer.main.get_command(app)
    assert isinstance(group, click.Group)
    for words in called:
        assert options(words) <= known(group.commands[words[0]]), words


def test_every_command_of_dagster_is_one():
    from dagster._cli.instance import set_concurrency

    called = commands(PAGE, "dagster")
    assert len(called) > 2
    for words in called:
        assert words[:4] == ["instance", "concurrency", set_concurrency.name, "gpu"] and words[4].isdigit()


def test_every_command_of_ray_is_one():
    scripts = pytest.importorskip("ray.scripts.scripts", reason="the extra galaxy-assets[cluster] is not installed")
    started = [words for text in (PAGE, SLURM) for words in commands(text, "ray") if words[0] == "start"]
    assert len(started) == 4
    room = shlex.split(re.search(r"^room=\((.*)\)$", SLURM, re.MULTILINE)[1])
    for words in (*started, room):
        assert options(words) <= known(scripts.start), words


def test_every_file_that_is_named_is_there():
    named = set(re.findall(r"packaging/[\w./-]*\w", PAGE + SLURM)) | {"dagster.cluster.yaml"}
    assert len(named) > 6
    for name in named:
        assert (ROOT / name).exists(), name


def test_the_launcher_is_put_below_the_settings_by_cat():
    settings = (ROOT / "dagster.cluster.yaml").read_text(), (ROOT / "packaging/launchers/ray.yaml").read_text()
    whole, part = yaml.safe_load("".join(settings)), yaml.safe_load(settings[1])
    assert whole == yaml.safe_load(settings[0]) | part and list(part) == ["run_launcher"]
