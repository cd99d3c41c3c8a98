"""A Dagster behind the guard, over an empty data folder."""

from collections.abc import Iterator
from typing import NamedTuple

import pytest

from galaxy_assets_tests.explorer.browser import dagster_serving


class Served(NamedTuple):
    """Address and process id of `galaxy-assets dev`."""

    address: str
    pid: int


@pytest.fixture(scope="module")
def dagster(tmp_path_factory) -> Iterator[Served]:
    root, home = tmp_path_factory.mktemp("data"), tmp_path_factory.mktemp("home")
    with dagster_serving(root, home) as (address, process):
        yield Served(address, process.pid)
