"""Simulated surveys that several tests look at."""

from pathlib import Path

import pytest

from galaxy_assets.simulation.surveys import simulate_optical, simulate_radio

BATCHES = ("one", "two")


@pytest.fixture(scope="package")
def optical(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("optical") / "survey"
    simulate_optical(folder, batches=BATCHES, n_images=21, seed=3)
    return folder


@pytest.fixture(scope="package")
def radio(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("radio") / "survey"
    simulate_radio(folder, batches=BATCHES, n_images=40, seed=3)
    return folder
