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
    """One registered name: its entry point, and the distribution and version that registered it.

    Attributes
    ----------
    kind : str
        Kind of plug-in, such as `readers`.
    name : str
        The registered name.
    distribution, version : str
        Of the package that registered it.
    entry_point : importlib.metadata.EntryPoint
        Where the object is; not imported yet.
    """

    kind: Kind
    name: str
    distribution: str
    version: str
    entry_point: EntryPoint

    def load(self) -> Any:
        """Import the object registered.

        Returns
        -------
        Any
            A class or function, as the kind's Protocol in `protocols` says.

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
    """What is registered for one kind.

    It is read once per process; a package installed meanwhile is found by the next one.

    Parameters
    ----------
    kind : str
        Kind of plug-in, such as `readers`.

    Returns
    -------
    dict of str to tuple of Plugin
        Name -> the plug-ins of that name. Two of one name are an error only when `find` is asked for it.
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
    """Names registered for a kind.

    Parameters
    ----------
    kind : str
        Kind of plug-in, such as `readers`.

    Returns
    -------
    list of str
        Sorted.

    Examples
    --------
    >>> [name for name in names("cutters") if find("cutters", name).distribution == "galaxy-assets"]
    ['central', 'flux_radius', 'sigma_clip', 'whole']
    """
    return list(registered(kind))


def find(kind: Kind, name: str) -> Plugin:
    """What is registered under a name, without loading it.

    Parameters
    ----------
    kind : str
        Kind of plug-in, such as `readers`.
    name : str
        As a survey file has it.

    Returns
    -------
    Plugin

    Raises
    ------
    PluginError
        Where nothing is, which lists what is, or where two packages claim the name.

    Examples
    --------
    >>> find("readers", "mirabest").entry_point.value
    'galaxy_assets.deliveries.readers.mirabest:MiraBest'
    """
    plugins = registered(kind).get(name, ())
    if len(plugins) == 1:
        return plugins[0]
    if not plugins:
        known = ", ".join(names(kind)) or "none; install galaxy-assets again"
        raise PluginError(
            f"no {kind} plug-in {name!r}; registered are {known}; name one of these or install its package"
        )
    packages = " and ".join(f"{plugin.distribution} {plugin.version}" for plugin in plugins)
    raise PluginError(f"{kind} plug-in {name!r} is registered by {packages}; uninstall one of them")


def load(kind: Kind, name: str) -> Any:
    """Import what is registered under a name.

    Parameters
    ----------
    kind : str
        Kind of plug-in, such as `readers`.
    name : str
        As a survey file has it.

    Returns
    -------
    Any
        A class or function, as the kind's Protocol in `protocols` says.

    Raises
    ------
    PluginError
        As `find` and `Plugin.load` raise it.
    """
    return find(kind, name).load()


def provenance(kind: Kind, name: str) -> str | None:
    """Distribution and version behind a name, for fingerprints.

    Parameters
    ----------
    kind : str
        Kind of plug-in, such as `readers`.
    name : str
        As a survey file has it.

    Returns
    -------
    str or None
        None for our own, whose assets carry code versions, and for a name that is not registered: what uses that name
        fails with the reason.
    """
    plugins = registered(kind).get(name, ())
    others = sorted(f"{p.distribution}=={p.version}" for p in plugins if p.distribution != OURS)
    return " ".join(others) or None


def packages(kind: Kind, *names: str) -> list[str]:
    """Distribution and version behind each name that another package registered; nothing for our own.

    For the settings that decide an asset's content, where they are not a settings model that holds the name.
    """
    return [package for name in names if (package := provenance(kind, name))]
