"""`docs`: the pages of the documentation that messages name, where the package is installed without a clone.

Belongs here: finding a page and printing it. Does not belong here: the site (docs/conf.py).
"""

from importlib.metadata import files
from pathlib import Path
from typing import Annotated

import typer

from galaxy_assets.cli.terminal import say
from galaxy_assets.plugins import OURS

_INSTALLED = "share/doc/galaxy-assets/"


def docs(
    page: Annotated[
        str, typer.Argument(help="name of a page, such as labels or docs/labels.md; all names when none")
    ] = "",
) -> None:
    """Print a page of the documentation, to which messages send as docs/PAGE.md, or list the pages.

    Example: galaxy-assets docs labels
    """
    found = pages()
    if not page:
        say("\n".join(f"{name:20} {path}" for name, path in sorted(found.items())))
        return
    name = page.removeprefix("docs/").removesuffix(".md")
    if name not in found:
        raise typer.BadParameter(f"there is no page {name}; there are {', '.join(sorted(found)) or 'none'}")
    say(found[name].read_text(encoding="utf-8"))


def pages() -> dict[str, Path]:
    """The pages by name: of the clone that the package runs from, else those that were installed with it.

    Returns
    -------
    dict of str to Path
    """
    home = Path(__file__).parents[2]
    if (home / "pyproject.toml").is_file():
        found = [*(home / "docs").glob("*.md")]
    elif not (found := [*(home / _INSTALLED).glob("*.md")]):  # there by `pip install --target`
        found = [Path(str(file.locate())) for file in files(OURS) or () if _INSTALLED in file.as_posix()]
    return {path.stem: path for path in found}
