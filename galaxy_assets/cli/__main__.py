"""`python -m galaxy_assets.cli`, where the script `galaxy-assets` is not on the path."""

from galaxy_assets.cli import app

app()
