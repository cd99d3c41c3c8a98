"""Reference pages made of the code when the site is built: directives that write what the code says of itself.

    ```{assets}
    ```

Belongs here: settings from the pydantic models, commands from typer, columns of tables and assets from their
declarations, modules from docstrings. Does not belong here: any text of its own.
"""

import importlib
import inspect
import pkgutil
import re
import types
from collections.abc import Iterator
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective


class Made(SphinxDirective):
    """A directive whose content is Markdown that `text` returns."""

    optional_arguments = 1

    def text(self) -> str:
        """The Markdown."""
        raise NotImplementedError

    def run(self) -> list[nodes.Node]:
        """Read the Markdown as if it stood on the page."""
        return self.parse_text_to_nodes(self.text(), allow_section_headings=True)


def cell(text: str) -> str:
    """A text as it may stand in a cell of a Markdown table."""
    return " ".join(text.split()).replace("|", "\\|")


def table(head: list[str], rows: list[list[str]]) -> str:
    """A Markdown table."""
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    return "\n".join([*lines, *("| " + " | ".join(cell(c) for c in row) + " |" for row in rows)])


# settings


def kind_of(annotation: Any) -> str:
    """A type as a person writes it in YAML."""
    from galaxy_assets.settings.base import Settings

    origin, inner = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return kind_of(inner[0])
    if origin is Literal:
        return " or ".join(f"`{value}`" for value in inner)
    if origin in (Union, types.UnionType):
        return " or ".join(kind_of(part) for part in inner)
    if origin is tuple and inner[-1] is not Ellipsis:
        return f"list of {len(inner)}: {kind_of(inner[0])}"
    if origin in (tuple, list):
        return f"list of {kind_of(inner[0])}"
    if origin is dict:
        return f"{kind_of(inner[0])} → {kind_of(inner[1])}"
    if inspect.isclass(annotation) and issubclass(annotation, Settings):
        return f"[{annotation.__name__}](#settings-{annotation.__name__.lower()})"
    names = {str: "text", int: "whole number", float: "number", bool: "yes or no", type(None): "null", Any: "any"}
    return names.get(annotation, getattr(annotation, "__name__", str(annotation)))


def models_of(annotation: Any) -> Iterator[type]:
    """The settings models that a type names."""
    from galaxy_assets.settings.base import Settings

    if inspect.isclass(annotation) and get_origin(annotation) is None and issubclass(annotation, Settings):
        yield annotation
    for inner in get_args(annotation):
        yield from models_of(inner)


def models() -> list[type]:
    """The survey and every model inside it, each once."""
    from galaxy_assets.settings.survey import Survey

    found: list[type] = [Survey]
    for model in found:
        for field in model.model_fields.values():
            found.extend(m for m in models_of(field.annotation) if m not in found)
    return found


def default_of(field: Any) -> str:
    """A field's default as YAML; empty where it is a model with defaults of its own."""
    from galaxy_assets.settings.base import Settings

    if field.is_required():
        return "required"
    if isinstance(field.default, Settings):
        return ""
    if field.default is None:
        return "null"
    if field.default == "":
        return "empty"
    value = list(field.default) if isinstance(field.default, tuple) else field.default
    return f"`{str(value).lower() if isinstance(value, bool) else value}`"


class SettingsTables(Made):
    """A table for each settings model."""

    def text(self) -> str:
        """Each model under its name: its summary, and a row for each setting."""
        parts = []
        for model in models():
            rows = [
                [f"`{name}`", kind_of(field.annotation), default_of(field), field.description or ""]
                for name, field in model.model_fields.items()
            ]
            parts += [
                f"(settings-{model.__name__.lower()})=\n## {model.__name__}",
                inspect.cleandoc(model.__doc__ or "").replace("\n\n", "\n\n"),
                table(["setting", "value", "default", "what it is"], rows),
            ]
        return "\n\n".join(parts)


# commands


def commands_below(command: Any, words: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Every command of the program that runs something, with the words that call it."""
    for name, inner in getattr(command, "commands", {}).items():
        if getattr(inner, "commands", None):
            yield from commands_below(inner, (*words, name))
        else:
            yield (*words, name), inner


def parameters(command: Any) -> list[list[str]]:
    """Rows of a command's arguments and options."""
    import click

    rows = []
    for given in command.params:
        if isinstance(given, click.Option) and (given.hidden or given.name == "help"):
            continue
        option = isinstance(given, click.Option)
        name = ", ".join(given.opts) if option else (given.human_readable_name or given.name)
        value = "" if given.default in (None, False, (), []) or callable(given.default) else str(given.default)
        shown = f"`{name}`" + ("" if option and given.is_flag else f" {given.type.name}" if option else "")
        rows.append([shown, getattr(given, "help", "") or "", f"`{value}`" if value else ""])
    return rows


class Commands(Made):
    """The command line."""

    def text(self) -> str:
        """Each command: how it is called, what it does, its options."""
        import click
        import typer.main

        from galaxy_assets.cli import app

        parts = []
        for words, command in commands_below(typer.main.get_command(app), ("galaxy-assets",)):
            context = click.Context(command, info_name=" ".join(words))
            usage = " ".join(command.collect_usage_pieces(context))
            parts += [
                f"## {' '.join(words[1:])}",
                f"```text\n{' '.join(words)} {usage}\n```",
                re.sub("\b\n", "\n", inspect.cleandoc(command.help or "")),
            ]
            rows = parameters(command)
            parts += [table(["argument or option", "what it is", "default"], rows)] if rows else []
        return "\n\n".join(parts)


# assets and their tables


def described_assets() -> list[Any]:
    """Every asset that a survey has, in the order of the paper."""
    from galaxy_assets.orchestration.graph import ASSETS

    return list(ASSETS.values())


def first_line(function: Any) -> str:
    """The first sentence of a docstring."""
    return inspect.cleandoc(function.__doc__ or "").split("\n\n")[0]


PARTITIONS = {"": "one table", "batch": "delivery", "init": "start weights", "batch_init": "delivery and start weights"}


class Assets(Made):
    """The assets, by step."""

    def text(self) -> str:
        """A table per step."""
        parts, steps = [], dict.fromkeys(asset.step for asset in described_assets())
        for step in steps:
            rows = [
                [
                    f"[`{a.name}`](tables.md#table-{a.name.replace('_', '-')})",
                    first_line(a.function),
                    PARTITIONS[a.by or ""],
                    ", ".join(f"`{name}`" for name in [*a.reads, *(f.name for f in a.files)]),
                    a.paper,
                ]
                for a in described_assets()
                if a.step == step
            ]
            title = step.partition("_")[2].replace("_", " ").capitalize()
            parts += [f"## {title}", table(["asset", "what it is", "a table per", "reads", "paper"], rows)]
        return "\n\n".join(parts)


class Tables(Made):
    """The columns of every table of the lake."""

    def text(self) -> str:
        """A table per asset."""
        parts = []
        for asset in described_assets():
            parts += [
                f"(table-{asset.name.replace('_', '-')})=\n## {asset.name}",
                inspect.cleandoc(asset.function.__doc__ or ""),
            ]
            rows = [
                [f"`{name}`", *([said, ""] if isinstance(said, str) else said)] for name, said in asset.columns.items()
            ]
            parts += [table(["column", "what it holds", "unit"], rows)] if rows else []
        return "\n\n".join(parts)


# modules


def as_it_reads(lines: list[str], whole: bool) -> list[str]:
    """A docstring as reStructuredText that shows what a person reads.

    `*.png` and `|x|` are no marks, and the drawing of a folder in the docstring of a module is shown as it is.
    """
    shown: list[str] = []
    as_is = False
    for line in lines:
        starts_block = line.startswith("    ") and not as_is and shown and not shown[-1].strip()
        if whole and starts_block:
            shown += ["::", ""]
        as_is = line.lstrip().startswith(">>>") or (as_is and bool(line.strip())) or bool(whole and starts_block)
        parts = line.split("`")
        if not as_is:
            parts[::2] = [re.sub(r"(?<![\\*])([*|])(?!\*)", r"\\\1", part) for part in parts[::2]]
        shown.append("`".join(parts))
    return shown


def read_as_text(app: Sphinx, what: str, name: str, thing: Any, options: Any, lines: list[str]) -> None:
    """Before numpydoc reads a docstring."""
    lines[:] = as_it_reads(lines, whole=what == "module")


def is_no_type(app: Sphinx, what: str, name: str, thing: Any, skip: bool, options: Any) -> bool | None:
    """Leave out names of annotated types: their values are no text."""
    return True if get_origin(thing) is Annotated else None


def modules_of(room: str) -> list[str]:
    """The modules of a room, itself first where its docstring says something."""
    package = importlib.import_module(room)
    found = [m.name for m in pkgutil.walk_packages(package.__path__, f"{room}.")]
    return [name for name in sorted(found) if not name.rpartition(".")[2].startswith("_")]


class Modules(Made):
    """The documented names of a room's modules."""

    required_arguments = 1
    optional_arguments = 0

    def text(self) -> str:
        """A section per module."""
        parts = []
        for name in modules_of(self.arguments[0]):
            # before autodoc, which imports with TYPE_CHECKING set
            importlib.import_module(name)
            short = name.removeprefix("galaxy_assets.")
            parts.append(f"## {short}\n\n```{{eval-rst}}\n.. automodule:: {name}\n   :members:\n```")
        return "\n\n".join(parts)


def setup(app: Sphinx) -> dict[str, bool]:
    """Sphinx's entry."""
    # before autodoc, which imports with TYPE_CHECKING set
    importlib.import_module("galaxy_assets.definitions")
    app.connect("autodoc-process-docstring", read_as_text, priority=400)
    app.connect("autodoc-skip-member", is_no_type)
    app.add_directive("settings-tables", SettingsTables)
    app.add_directive("commands", Commands)
    app.add_directive("assets", Assets)
    app.add_directive("tables", Tables)
    app.add_directive("modules", Modules)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
