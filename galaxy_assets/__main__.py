"""The script `galaxy-assets`, which is also there where the light half alone is installed (docs/installing.md).

Belongs here: what is said where the commands cannot run. Does not belong here: the commands (`cli`).
"""

import sys


def main() -> None:
    """Run the command line; where a package that it needs is not installed, say in one line what installs it."""
    try:
        from galaxy_assets.cli import app
    except ModuleNotFoundError as error:
        if error.name is None or error.name.startswith("galaxy_assets"):
            raise
        sys.exit(
            f"the commands need {error.name}, not installed here: `pip install galaxy-assets` adds what is missing"
        )
    app()


if __name__ == "__main__":
    main()
