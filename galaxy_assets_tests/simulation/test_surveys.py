"""Simulated surveys lie in official layouts, under names that are positions."""

import csv
from collections import Counter
from pathlib import Path

import numpy as np
from PIL import Image

from galaxy_assets.deliveries.readers.galaxy_zoo_decals import position_of
from galaxy_assets.simulation.surveys import VOLUNTEER_TABLE
from galaxy_assets_tests.simulation.conftest import BATCHES


def table(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as stream:
        return list(csv.DictReader(stream))


def test_optical_layout(optical):
    images = sorted(optical.glob("*/*/*.png"))
    truth = {row["iauname"]: row for row in table(optical / "truth.csv")}
    assert Counter(path.parts[-3] for path in images) == {"one": 11, "two": 10}
    assert {path.stem for path in images} == set(truth) and len(truth) == 21
    for path in images:
        image = Image.open(path)
        assert image.mode == "RGB" and image.width == image.height and 300 <= image.width <= 424
        assert path.parent.name == path.name[:4] and path.parts[-3] == truth[path.stem]["batch"]
    assert {path.name for path in optical.iterdir()} == {*BATCHES, VOLUNTEER_TABLE, "truth.csv"}


def test_radio_layout(radio):
    labels = {row["id"]: row["label"] for row in table(radio / "labels.csv")}
    images = sorted(radio.glob("*/*.png"))
    assert {path.stem for path in images} == set(labels) and len(images) == 40
    assert set(labels.values()) <= {"FRI", "FRII", "FRI_uncertain", "FRII_uncertain", "hybrid"}
    for path in images:
        pixels = np.asarray(Image.open(path))
        assert pixels.shape == (150, 150) and pixels.dtype == np.uint8
        # the sky is cut away and the source scaled to the full range
        assert pixels.max() == 255 and np.mean(pixels == 0) > 0.5


def test_names_are_positions_and_most_images_have_votes(optical):
    rows = table(optical / VOLUNTEER_TABLE)
    assert len(rows) == 18 and {row["iauname"] for row in rows} < {
        row["iauname"] for row in table(optical / "truth.csv")
    }
    for row in rows:
        ra, dec = position_of(row["iauname"])
        # a name is truncated to 0.15 arcsec in right ascension and 0.1 in declination
        assert 0 <= float(row["ra"]) - ra < 0.15 / 3600 + 1e-9 and abs(float(row["dec"]) - dec) < 0.1 / 3600 + 1e-9
