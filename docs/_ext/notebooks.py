"""Every tutorial is a notebook too: the page's text and snippets as a `.ipynb` beside it, linked from its end.

    ```python      a cell
    ```console     a cell of shell commands, one per line behind `$`
    ```text        what the snippet before it prints; left out of the notebook, which makes it anew
    ```toml file=pyproject.toml     a file; in the notebook a cell that writes it, behind one that makes its folder

Belongs here: how a page is cut into cells. Does not belong here: running them (`galaxy_assets_tests/docs`).
"""

import json
import re
from pathlib import Path
from typing import Any, NamedTuple

from sphinx.application import Sphinx

FENCE = re.compile(r"^```(\S*)(?: file=(\S+))?[^\n]*\n(.*?)^```$", re.MULTILINE | re.DOTALL)


class Cell(NamedTuple):
    """A piece of a page: `markdown`, or the language of its fence; its text; and the file that it is, if it is one."""

    kind: str
    text: str
    file: str | None = None


def cells(page: str) -> list[Cell]:
    """The pieces of a page in turn."""
    found, end = [], 0
    for fence in FENCE.finditer(page):
        found.append(Cell("markdown", page[end : fence.start()].strip()))
        found.append(Cell(fence[1], fence[3].rstrip("\n"), fence[2]))
        end = fence.end()
    found.append(Cell("markdown", page[end:].strip()))
    return [cell for cell in found if cell.text]


def shell(text: str) -> list[str]:
    """The commands of a console cell; a line that ends with a backslash goes on."""
    joined = text.replace("\\\n", " ")
    return [line.removeprefix("$ ").strip() for line in joined.splitlines() if line.startswith("$ ")]


def notebook(page: str) -> dict[str, Any]:
    """The page in Jupyter's format, version 4.5."""
    made: list[dict[str, Any]] = []
    for i, cell in enumerate(cells(page)):
        if cell.file and (folder := Path(cell.file).parent) != Path():
            makes = f"from pathlib import Path\n\nPath({str(folder)!r}).mkdir(parents=True, exist_ok=True)"
            made.append(_code(f"folder-{i}", makes))
        if cell.file or cell.kind in ("python", "console"):
            made.append(_code(f"cell-{i}", source(cell)))
        elif cell.kind == "markdown":
            made.append({"id": f"cell-{i}", "metadata": {}, "cell_type": "markdown", "source": cell.text})
    about_python = {"kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"}}
    return {"cells": made, "metadata": about_python, "nbformat": 4, "nbformat_minor": 5}


def source(cell: Cell) -> str:
    """What the notebook has for a piece that is code."""
    if cell.file:
        return f"%%writefile {cell.file}\n{cell.text}"
    return "\n".join(f"!{command}" for command in shell(cell.text)) if cell.kind == "console" else cell.text


def _code(name: str, source: str) -> dict[str, Any]:
    about = {"id": name, "metadata": {}, "cell_type": "code"}
    return about | {"source": source, "outputs": [], "execution_count": None}


def is_tutorial(name: str) -> bool:
    """Whether a page is a notebook too."""
    return name.startswith("tutorials/") and name != "tutorials/index"


def link(app: Sphinx, name: str, source: list[str]) -> None:
    """Add the link to the notebook."""
    if is_tutorial(name):
        file = f"{Path(name).name}.ipynb"
        source[0] += f'\n\n---\n\n<a href="{file}" download>This page as a notebook</a>\n'


def write(app: Sphinx, problem: Exception | None) -> None:
    """Write the notebooks beside the pages."""
    if problem is not None or app.builder.format != "html":
        return
    for name in sorted(app.env.found_docs):
        if is_tutorial(name):
            text = app.env.doc2path(name).read_text(encoding="utf-8")
            made = json.dumps(notebook(text), indent=1, ensure_ascii=False)
            (Path(app.outdir) / f"{name}.ipynb").write_text(made + "\n", encoding="utf-8")


def setup(app: Sphinx) -> dict[str, bool]:
    """Sphinx's entry."""
    app.connect("source-read", link)
    app.connect("build-finished", write)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
