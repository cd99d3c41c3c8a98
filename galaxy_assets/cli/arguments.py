"""What arguments of several commands mean.

Belongs here: from what a person typed to the object meant. Does not belong here: any command.
"""

import errno
import socket
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click
import typer

from galaxy_assets.settings.files import SurveyError, survey_files
from galaxy_assets.settings.survey import Survey


class TypedPath(click.Path):
    """`click_type` of a file or folder; `~` is the home folder also where the shell left it, as in `--csv=~/x.csv`."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Path:
        """From what a person typed."""
        try:
            path = Path(value).expanduser()
        except RuntimeError as error:
            self.fail(f"{value}: {error}", param, ctx)
        super().convert(path, param, ctx)  # says what is wrong with it
        return path


PATH = TypedPath()
"""Of every option and argument that is a path and need not exist."""


def chosen_surveys(names: list[str] | None, root: Path) -> list[Survey]:
    """The surveys of these names, all enabled ones by name where none is given.

    Parameters
    ----------
    names : list of str or None
        As a person typed them.
    root : Path
        The data folder.

    Returns
    -------
    list of Survey

    Raises
    ------
    typer.BadParameter
        For one that is unknown or whose file is broken, with the reason; it ends the command.
    """
    files = survey_files(root)
    try:
        return [files.named(name) for name in names or files.enabled]
    except SurveyError as error:
        raise typer.BadParameter(str(error)) from error


def moment(text: str | None) -> datetime | None:
    """A time that a person typed.

    Parameters
    ----------
    text : str or None
        In ISO 8601, in UTC where it names no zone.

    Returns
    -------
    datetime or None
        None where no text is given.

    Raises
    ------
    typer.BadParameter
        For any other text.
    """
    if text is None:
        return None
    try:
        time = datetime.fromisoformat(text)
    except ValueError as error:
        raise typer.BadParameter(f"{text} is not a time in ISO 8601, for instance 2026-01-31T12:00") from error
    return time if time.tzinfo is not None else time.replace(tzinfo=UTC)


def free_address(host: str, port: int) -> None:
    """Refuse an address that a server cannot be bound to.

    Parameters
    ----------
    host : str
    port : int

    Raises
    ------
    typer.BadParameter
        With the reason.
    """
    try:
        with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((host, port))
    except OSError as error:
        other = "--port" if error.errno in (errno.EADDRINUSE, errno.EACCES) else "--host"
        raise typer.BadParameter(f"{host}:{port} cannot be used ({error.strerror}); name another {other}") from error
