"""The verdict on a number."""

import numpy as np
import pytest

from galaxy_assets.science.results import Observed, compare
from galaxy_assets.surveys.model import Published


@pytest.mark.parametrize(
    ("value", "published", "verdict"),
    [
        (232000, Published(expected=232041, tolerance=2300), "agrees"),
        (232041, Published(expected=232041), "agrees"),
        (229740, Published(expected=232041, tolerance=2300), "differs"),
        (np.nan, Published(expected=0.77, tolerance=1), "differs"),
        (3, None, "not published"),
    ],
)
def test_a_number_agrees_within_its_tolerance_only(value, published, verdict):
    row = compare(Observed("D3", "images", value), published)
    assert row["verdict"] == verdict
    assert row.get("expected") == (published.expected if published else None)
