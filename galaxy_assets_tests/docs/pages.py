"""The pages of the site as the tests see them: their snippets, and a folder in which a tutorial is run.

Belongs here: which snippets there are, how one is run, and which are not, with the reason. Does not belong here: what
is asserted.
"""

import ast
import importlib
import io
import os
import re
import shlex
import sys
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

import click
from typer.testing import CliRunner

from galaxy_assets.cli import app

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
PAGES = [ROOT / "README.md", ROOT / "SECURITY.md", *sorted(DOCS.rglob("*.md"))]

sys.path.insert(0, str(DOCS / "_ext"))
notebooks = importlib.import_module("notebooks")

TUTORIALS = sorted(p for p in (DOCS / "tutorials").glob("*.md") if p.name != "index.md")

NOT_RUN = {
    "make demo": "the demo's lake is there: `make docs-test` has made it",
    "make explore": "serves until it is stopped; `galaxy_assets_tests/explorer` drives the page",
    "make dev": "serves until it is stopped; `galaxy_assets_tests/web` asks it",
    "pip install --no-build-isolation .": "installs into a folder of the test's own, see `Notebook.install`",
}
"""Commands of tutorials that are not run as they stand, and why."""


def name_of(page: Path) -> str:
    """A page as a person names it."""
    return page.relative_to(ROOT).as_posix()


def snippets(language: str) -> list[tuple[str, str]]:
    """Every fenced snippet of the language with its page."""
    return [
        (name_of(page), cell.text)
        for page in PAGES
        for cell in notebooks.cells(page.read_text(encoding="utf-8"))
        if cell.kind == language
    ]


def command_lines(page: Path) -> list[str]:
    """The lines of a page that a person types: in fences behind `$`, and in indented blocks."""
    text = page.read_text(encoding="utf-8").replace("\\\n", " ")
    fenced = re.sub(r"^```.*?^```$", "", text, flags=re.MULTILINE | re.DOTALL)
    typed = [line.strip() for line in fenced.splitlines() if line.startswith("    ")]
    for cell in notebooks.cells(text):
        typed += notebooks.shell(cell.text) if cell.kind == "console" else []
    return [line.partition(" #")[0].strip() for line in typed]


class Notebook:
    """A tutorial's notebook that is run in a folder of its own, with names that live from one cell to the next.

    Parameters
    ----------
    folder : Path
        The current folder; its `data` is the data folder unless the environment names another.
    replaced : dict
        Words of the page and what stands in their place here, such as the name of a smaller survey.
    """

    def __init__(self, folder: Path, replaced: dict[str, str] | None = None):
        self.folder, self.replaced, self.names = folder, replaced or {}, {}
        self.said: list[tuple[str, str]] = []

    def run(self, page: Path) -> None:
        """Run every cell."""
        for cell in notebooks.notebook(page.read_text(encoding="utf-8"))["cells"]:
            if cell["cell_type"] == "code":
                text = cell["source"]
                for word, other in self.replaced.items():
                    text = text.replace(word, other)
                self.said.append((cell["source"], self._cell(text)))

    def _cell(self, text: str) -> str:
        """What a cell of code says, as IPython runs it: a folder that is missing stays missing."""
        if text.startswith("%%writefile "):
            file, _, content = text.removeprefix("%%writefile ").partition("\n")
            (self.folder / file).write_text(content + "\n", encoding="utf-8")
            return f"Writing {file}"
        if text.startswith("!"):
            return "\n".join(self._command(line.removeprefix("!")) for line in text.splitlines())
        return self._python(text)

    def _python(self, text: str) -> str:
        """What a cell prints, and the value of its last line."""
        parsed = ast.parse(text)
        last = parsed.body.pop() if isinstance(parsed.body[-1], ast.Expr) else None
        with redirect_stdout(io.StringIO()) as printed:
            exec(compile(parsed, "<cell>", "exec"), self.names)
            value = eval(compile(ast.Expression(last.value), "<cell>", "eval"), self.names) if last else None
        return printed.getvalue() + (f"{value!r}\n" if value is not None else "")

    def _command(self, line: str) -> str:
        if line.startswith("pip install"):
            return self.install()
        if line in NOT_RUN:
            return ""
        program, *words = shlex.split(line.format(**self.names) if "{" in line else line)
        assert program == "galaxy-assets", f"{line!r} is neither run nor in NOT_RUN"
        ran = CliRunner().invoke(app, words, env={"COLUMNS": "120"})
        assert ran.exit_code == 0, f"{line}: {ran.output}\n{ran.exception!r}"
        return ran.output

    def install(self) -> str:
        """Install the package in the folder where this process, and no other, finds it."""
        import subprocess

        site = self.folder / "site"
        command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-build-isolation"]
        command += ["--disable-pip-version-check", "--no-index", "--target", str(site), "."]
        subprocess.run(command, cwd=self.folder, check=True, capture_output=True, env=os.environ)
        sys.path.insert(0, str(site))
        importlib.invalidate_caches()
        from galaxy_assets import plugins

        plugins.registered.cache_clear()
        return ""


def command_of(words: list[str]) -> tuple[click.Command, list[str]]:
    """The command that these words call, and the words left for it."""
    import typer.main

    command: Any = typer.main.get_command(app)
    while words and words[0] in getattr(command, "commands", {}):
        command, words = command.commands[words[0]], words[1:]
    return command, words
