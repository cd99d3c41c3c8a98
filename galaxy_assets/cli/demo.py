"""`demo`: the main job on the two simulated surveys.

Belongs here: which surveys it runs. Does not belong here: running them (`run`), simulating them (`simulation`).
"""

from galaxy_assets.cli.run import run

DEMO = ("demo_optical", "demo_radio")
"""Shipped surveys whose images are simulated, with start weights that come with the installation."""


def demo() -> None:
    """Run two simulated surveys from images to results: 1,000 galaxies and 400 radio sources.

    It takes eight minutes on two cores, and downloads nothing. Everything is written below $GALAXY_ASSETS_DATA, else
    ./data. Stopped in between, the same command goes on. `explore`, `dev` and `figures` show what was made.

    Example: galaxy-assets demo
    """
    run(list(DEMO))
