"""The script `galaxy-assets`, which is also there where the light half alone is installed (docs/installing.md).

Belongs here: what is said where the commands cannot run. Does not belong here: the commands (`cli`).
"""

import sys
from importlib.util import find_spec

_NEEDED = ("click", "typer", "dagster", "torch", "sklearn", "cv2", "astropy", "nicegui")  # and the light half has none


def main() -> None:
    """Run the command line; where packages that it needs are not installed, say in one line what installs them."""
    if absent := [name for name in _NEEDED if find_spec(name) is None]:
        remedy = "not installed here: `pip install galaxy-assets` adds what is missing"
        sys.exit(f"the commands need {', '.join(absent)}, {remedy}")
    from galaxy_assets.cli import app

    app()


if __name__ == "__main__":
    main()
