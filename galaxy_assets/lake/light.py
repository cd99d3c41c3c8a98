"""The light half: this package without its dependencies, beside the few that reading a finished lake needs.

`connect`, `similar` by galaxy ids, its sheet and `export` work in it (docs/installing.md). What needs more says so.

Belongs here: the words for what is missing. Does not belong here: which packages the light half has (`pyproject.toml`,
group `lake`).
"""

from importlib.util import find_spec

from galaxy_assets.settings.printing import PrintableError


def needs_the_whole(what: str, *modules: str) -> None:
    """Say what to install where the light half alone is installed; imports nothing.

    Parameters
    ----------
    what : str
        What a person asked for.
    *modules : str
        Names of the top modules that it needs.

    Raises
    ------
    PrintableError
        Where one of them is not installed.
    """
    if missing := [module for module in modules if find_spec(module) is None]:
        raise PrintableError(
            f"{what} needs {', '.join(missing)}, not installed here: `pip install galaxy-assets` adds what is missing"
        )
