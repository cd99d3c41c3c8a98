"""What `--help` says: galaxy_assets.cli."""

from collections.abc import Iterator

import click
import typer

from galaxy_assets.cli import app


def test_every_parameter_of_every_command_says_what_it_is():
    def commands(group: click.Group, path: str) -> Iterator[tuple[str, click.Command]]:
        for name, command in group.commands.items():
            if isinstance(command, click.Group):
                yield from commands(command, f"{path} {name}")
            else:
                yield f"{path} {name}", command

    root = typer.main.get_command(app)
    assert isinstance(root, click.Group)
    silent = [
        f"{path} {parameter.name}"
        for path, command in commands(root, "galaxy-assets")
        for parameter in command.params
        if not getattr(parameter, "help", None)
    ]
    assert not silent, f"without a word of help: {silent}"
