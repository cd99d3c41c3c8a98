"""Asking without Dagster: SQL, the similarity search, exports and past rankings. What a notebook imports."""

from galaxy_assets.lake.read_model import connect

__all__ = ["connect"]
