"""What arguments of several commands mean, on every command."""

import socket
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
import typer

from galaxy_assets.cli import app
from galaxy_assets.cli.arguments import free_address


def parameters(command: click.Command, name: str = "") -> Iterator[tuple[str, click.Parameter]]:
    for own in command.params:
        yield f"{name} {own.name}", own
    for below, its in getattr(command, "commands", {}).items():
        yield from parameters(its, f"{name} {below}")


def test_every_path_is_that_of_the_home_folder_also_where_the_shell_left_its_sign(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    paths = {name: own for name, own in parameters(typer.main.get_command(app)) if isinstance(own.type, click.Path)}
    assert {" query to", " export ranking to", " labels import file", " similar sheet"} <= set(paths)
    (tmp_path / "x.csv").write_text("")
    (tmp_path / "a").mkdir()
    (tmp_path / "a/~").write_text("")
    monkeypatch.chdir(tmp_path)
    for name, own in paths.items():
        assert own.type.convert("~/x.csv", own, None) == tmp_path / "x.csv", name
        assert own.type.convert("a/~", own, None) == Path("a/~"), name
        with pytest.raises(click.BadParameter, match="home"):
            own.type.convert("~nosuchperson/x.csv", own, None)


def test_an_address_that_is_taken_asks_for_a_port_and_one_of_another_machine_for_a_host():
    with socket.create_server(("127.0.0.1", 0)) as taken, pytest.raises(typer.BadParameter, match="another --port"):
        free_address("127.0.0.1", taken.getsockname()[1])
    with pytest.raises(typer.BadParameter, match="another --host"):
        free_address("192.0.2.1", 8500)
    with pytest.raises(typer.BadParameter, match="another --host"):
        free_address("[::1]", 8500)
