"""What the commands print: the one way to the terminal.

Belongs here: printing lines that may quote what a stranger's file says. Does not belong here: progress, which rewrites
its line (`telling`).
"""

from collections.abc import Collection

import typer

from galaxy_assets.settings.printing import printable_lines

_NARROWEST = 14  # letters of a first column


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


def say_rows(rows: Collection[tuple[str, str]]) -> None:
    """Print two columns; the second begins two blanks behind the longest word of the first.

    Parameters
    ----------
    rows : collection of (str, str)
        Printed as by `say`; an empty word continues the row above.
    """
    width = max((len(printable_lines(first)) for first, _ in rows), default=0)
    for first, second in rows:
        say(f"  {printable_lines(first):{max(width, _NARROWEST)}s}  {second}")
