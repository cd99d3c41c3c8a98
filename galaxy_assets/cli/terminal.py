"""What the commands print: the one way to the terminal.

Belongs here: printing lines that may quote what a stranger's file says. Does not belong here: progress, which rewrites
its line (`telling`).
"""

import typer

from galaxy_assets.settings.printing import printable_lines


def say(text: str = "", *, err: bool = False) -> None:
    """Print lines; what a terminal would obey is escaped, tabs stay.

    Parameters
    ----------
    text : str
        One line or more.
    err : bool
        To stderr.
    """
    typer.echo("\t".join(map(printable_lines, text.split("\t"))), err=err)
