"""Where tables, pixels and checkpoints live. `connect()` opens it for SQL."""

from galaxy_assets.lake.read_model import connect

__all__ = ["connect"]
