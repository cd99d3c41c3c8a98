"""What the tests of the site share."""

import fcntl
import os
from pathlib import Path

import pytest

from galaxy_assets_tests.docs.site import build


@pytest.fixture(scope="session")
def html(tmp_path_factory) -> Path:
    """The site, built without a warning; once for all processes of a test run."""
    for package in ("myst_parser", "numpydoc", "pydata_sphinx_theme"):
        pytest.importorskip(package, reason="the extra galaxy-assets[docs] is not installed")
    own = tmp_path_factory.getbasetemp()
    folder = (own.parent if "PYTEST_XDIST_WORKER" in os.environ else own) / "site"
    folder.mkdir(exist_ok=True)
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (folder / "whole").exists():
            build(folder)
            (folder / "whole").touch()
    return folder / "html"


@pytest.fixture(scope="session")
def demo_lake() -> Path:
    """The data folder of the demo, which `make docs-test` makes and names; without it tests are skipped."""
    folder = os.environ.get("GALAXY_ASSETS_DEMO_DATA")
    if not folder:
        pytest.skip("GALAXY_ASSETS_DEMO_DATA is not set: `make docs-test` sets it")
    return Path(folder).absolute()
