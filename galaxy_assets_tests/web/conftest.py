"""A Dagster behind the guard, over an empty data folder."""

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from galaxy_assets_tests.explorer.browser import dagster_serving


class Served(NamedTuple):
    """Address and process id of `galaxy-assets dev`, and its data folder."""

    address: str
    pid: int
    root: Path


@pytest.fixture(scope="module")
def dagster(tmp_path_factory) -> Iterator[Served]:
    root, home = tmp_path_factory.mktemp("data"), tmp_path_factory.mktemp("home")
    with dagster_serving(root, home) as (address, process):
        yield Served(address, process.pid, root)
