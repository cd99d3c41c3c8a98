"""The open sets: what another package may add to the platform, found by name through entry points.

A package says in its `pyproject.toml`

    [project.entry-points."galaxy_assets.readers"]
    my_reader = "my_package.reader:MyReader"

and after `pip install` a survey file may say `reader: my_reader`. Our own are registered in the same way. What each
kind promises is a Protocol in `protocols`, and a function in `contracts` tests it, for the author of a plug-in to
import and run.

Belongs here: finding what is registered, and who registered it. Does not belong here: any reader, cutter or learner.
This module imports no room, so that every room may ask it.
"""

import functools
from importlib.metadata import EntryPoint, entry_points
from typing import Any, Literal, NamedTuple, get_args

Kind = Literal["readers", "cutters", "start_weights", "encoders", "trainers", "learners", "engines"]
KINDS: tuple[Kind, ...] = get_args(Kind)
OURS = "galaxy-assets"


class PluginError(ValueError):
    """A plug-in that cannot be used; the message names it, the package it comes from, and the remedy."""


class Plugin(NamedTuple):
    """One registered name: its entry point, and the distribution and version that registered it."""

    kind: Kind
    name: str
    distribution: str
    version: str
    entry_point: EntryPoint

    def load(self) -> Any:
        """The object registered.

        Raises
        ------
        PluginError
            Where its module cannot be imported or lacks the object, with the reason.
        """
        try:
            return self.entry_point.load()
        except Exception as error:  # a stranger's module may raise anything at import
            raise PluginError(
                f"{self.kind} plug-in {self.name!r} of {self.distribution} {self.version} cannot be loaded "
                f"({self.entry_point.value}: {type(error).__name__}: {error}); mend or uninstall that package"
            ) from error


@functools.cache
def registered(kind: Kind) -> dict[str, tuple[Plugin, ...]]:
    """Name -> what is registered under it, for one kind; more than one plug-in under a name is an error when asked for.

    Read once per process: a package installed meanwhile is found by the next one.
    """
    found: dict[str, list[Plugin]] = {}
    for point in entry_points(group=f"galaxy_assets.{kind}"):
        distribution = point.dist
        name, version = (distribution.name, distribution.version) if distribution else ("an unnamed package", "")
        plugins = found.setdefault(point.name, [])
        if not any(other.entry_point.value == point.value and other.distribution == name for other in plugins):
            plugins.append(Plugin(kind, point.name, name, version, point))
    return {name: tuple(found[name]) for name in sorted(found)}


def names(kind: Kind) -> list[str]:
    """Names registered for a kind, sorted."""
    return list(registered(kind))


def find(kind: Kind, name: str) -> Plugin:
    """What is registered under a name, without loading it.

    Raises
    ------
    PluginError
        Where nothing is, which lists what is, or where two packages claim the name.
    """
    plugins = registered(kind).get(name, ())
    if len(plugins) == 1:
        return plugins[0]
    if not plugins:
        known = ", ".join(names(kind)) or "none; install galaxy-assets again"
        raise PluginError(f"no {kind} plug-in {name!r}; registered are {known}")
    packages = " and ".join(f"{plugin.distribution} {plugin.version}" for plugin in plugins)
    raise PluginError(f"{kind} plug-in {name!r} is registered by {packages}; uninstall one of them")


def load(kind: Kind, name: str) -> Any:
    """The object registered under a name. Raises PluginError as `find` and `Plugin.load` do."""
    return find(kind, name).load()


def provenance(kind: Kind, name: str) -> str | None:
    """Distribution and version behind a name, for fingerprints; None for our own, whose assets carry code versions.

    A name that is not registered has none either: what uses it fails with the reason.
    """
    plugins = registered(kind).get(name, ())
    others = sorted(f"{p.distribution}=={p.version}" for p in plugins if p.distribution != OURS)
    return " ".join(others) or None


def packages(kind: Kind, *names: str) -> list[str]:
    """Distribution and version behind each name that another package registered; nothing for our own.

    For the settings that decide an asset's content, where they are not a settings model that holds the name.
    """
    return [package for name in names if (package := provenance(kind, name))]
