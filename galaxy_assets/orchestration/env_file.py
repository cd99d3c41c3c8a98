"""The file `.env` of the current folder, which Dagster's processes read over the environment that they are given.

Belongs here: refusing one that says otherwise than the environment. Does not belong here: reading it for ourselves
(`make` does, and Dagster).
"""

import os
from pathlib import Path

from dagster._core.secrets.env_file import get_env_var_dict

from galaxy_assets.settings.printing import PrintableError

_WHERE = {"GALAXY_ASSETS_DATA": "data", "GALAXY_ASSETS_CACHE": "", "GALAXY_ASSETS_HEADS": "", "DAGSTER_HOME": ""}
"""Variables that say where the data and their history are, and what holds where they are not set."""
_SECRET = "GALAXY_ASSETS_HEADS"


class OtherEnvironment(PrintableError):
    """The file `.env` of the current folder would send Dagster's processes to other data than this one."""


def refuse_another_environment() -> None:
    """Refuse a `.env` in the current folder that says otherwise than the environment where the data are.

    Dagster's code servers, its daemon and the runs that they start would work there, and this process here.

    Raises
    ------
    OtherEnvironment
        With the variables, and what makes them agree.
    """
    file = Path(".env").absolute()
    said = get_env_var_dict(str(file.parent))
    for name in said.keys() & _WHERE.keys():
        here = os.environ.get(name, _WHERE[name])
        if _whole(said[name]) != _whole(here):
            # an address of a database may hold its password
            there, own = ("", "another one") if name == _SECRET else (f"={said[name]}", here or "not set")
            raise OtherEnvironment(
                f"{file} says {name}{there}, which Dagster's processes read, and here it is {own}; "
                "take that line out, or take the file over into this shell: set -a; . ./.env; set +a"
            )


def _whole(value: str) -> str:
    """A folder as a whole path, whichever way it is written; an address and any other value as it is."""
    try:
        return value if "://" in value else str(Path(value).expanduser().absolute())
    except RuntimeError:  # the home folder of nobody
        return value
