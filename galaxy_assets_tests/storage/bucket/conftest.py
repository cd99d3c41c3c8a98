"""What the tests of a data folder in a bucket share: an S3, and machines that work with one bucket of it."""

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from galaxy_assets.storage import store
from galaxy_assets.storage.layout import Layout
from galaxy_assets_tests.storage.bucket.s3 import NAME, S3, running

ADDRESS = f"s3://{NAME}/a prefix"
Machine = Callable[..., Layout]


@pytest.fixture(scope="module")
def server() -> Iterator[S3]:
    with running() as s3:
        yield s3


@pytest.fixture
def s3(server, monkeypatch) -> Iterator[S3]:
    """The server with nothing below ADDRESS that an earlier test wrote, and few seconds between tries."""
    sleep = time.sleep
    monkeypatch.setattr("galaxy_assets.storage.bucket.objects.time.sleep", lambda seconds: sleep(min(seconds, 0.01)))
    monkeypatch.setenv("GALAXY_ASSETS_DATA", f"{ADDRESS}/{time.monotonic_ns()}")
    server.fault, server.ignored = None, ()
    yield server
    server.fault, server.ignored = None, ()
    store._bucket.cache_clear()


@pytest.fixture
def machine(s3, monkeypatch, tmp_path_factory) -> Machine:
    """Gives the layout of a machine, a new one without copies unless said; this process is one of it from then on."""
    folders: dict[Path, Path] = {}

    def other(known: Layout | None = None) -> Layout:
        folder = tmp_path_factory.mktemp("copies") if known is None else folders[known.root]
        monkeypatch.setenv("GALAXY_ASSETS_CACHE", str(folder))
        store._bucket.cache_clear()
        layout = Layout.default()
        folders[layout.root] = folder
        return layout

    return other
