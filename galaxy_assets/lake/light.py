"""The light half: this package without its dependencies, beside the few that reading a finished lake needs.

`connect`, `similar` by galaxy ids, its sheet and `export` work in it (docs/installing.md). What needs more says so.

Belongs here: the words for what is missing. Does not belong here: which packages the light half has (`pyproject.toml`,
group `lake`).
"""

from importlib.util import find_spec

from galaxy_assets.settings.printing import PrintableError


def needs_the_whole(what: str, module: str) -> None:
    """Say what to install where the light half alone is installed; imports nothing.

    Parameters
    ----------
    what : str
        What a person asked for.
    module : str
        Name of a top module that it needs.

    Raises
    ------
    PrintableError
        Where the module is not installed.
    """
    if find_spec(module) is None:
        raise PrintableError(f"{what} needs {module}, which is not installed: `pip install galaxy-assets` adds it")
