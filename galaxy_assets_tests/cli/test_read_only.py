"""A data folder that may not be written can be looked at, searched, asked and exported from."""

import shutil

import pytest
from typer.testing import CliRunner

from galaxy_assets.cli import app


@pytest.fixture
def shown(untrained, small_disk, tmp_path, monkeypatch):
    """A survey that was run, on a disk that may not be written."""
    data = small_disk / "data"
    shutil.copytree(untrained, data, ignore=shutil.ignore_patterns("later"))
    monkeypatch.setenv("GALAXY_ASSETS_DATA", str(data))
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path / "dagster"))
    small_disk.read_only()
    return data


def ask(*arguments: str) -> tuple[int, str]:
    """Status and words of a command; anything but an answer in words fails."""
    answer = CliRunner().invoke(app, list(arguments))
    assert answer.exception is None or isinstance(answer.exception, SystemExit), answer.exception
    return answer.exit_code, answer.output


def test_what_only_reads_works_and_what_writes_says_why_not(shown, tmp_path):
    for arguments in (
        ["status"],
        ["status", "tiny"],
        ["check", "tiny", "--deep"],
        ["query", "select count(*) as n from tiny.embeddings"],
        ["query", "from tiny.embeddings", "--to", str(tmp_path / "answer.csv")],
        ["export", "ranking", "tiny", "--to", str(tmp_path / "out"), "--images"],
        ["similar", "tiny", "--id", "first_00"],
        ["labels", "list", "tiny"],
        ["survey", "list"],
    ):
        status, words = ask(*arguments)
        assert status == 0, (arguments, words)
    assert (tmp_path / "out/about.json").exists() and (tmp_path / "answer.csv").exists()
    for arguments in (
        ["run", "tiny"],
        ["labels", "add", "tiny", "first_00", "--score", "3"],
        ["check", "tiny", "--repair"],
        ["figures"],
    ):
        status, words = ask(*arguments)
        assert status in (1, 2) and "ead-only file system" in words.replace("\n", " "), (arguments, words)


def test_a_full_disk_of_dagsters_own_folder_is_said(untrained, small_disk, tmp_path, monkeypatch):
    shutil.copytree(untrained, tmp_path / "data", ignore=shutil.ignore_patterns("later"))
    monkeypatch.setenv("GALAXY_ASSETS_DATA", str(tmp_path / "data"))
    monkeypatch.setenv("DAGSTER_HOME", str(small_disk / "home"))
    (small_disk / "ballast").write_bytes(bytes(small_disk.free() - 200_000))
    status, words = ask("run", "tiny")
    assert status == 1 and "a disk that is full" in words.replace("\n", " ")
