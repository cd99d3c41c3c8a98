"""The map: seeded, one point per galaxy, and defined for a handful."""

import numpy as np
import pytest

from galaxy_assets.science.projection import umap_xy
from galaxy_assets.surveys.model import Umap


@pytest.mark.parametrize("n", [0, 1, 2, 4])
def test_too_few_galaxies_are_still_placed(n):
    xy = umap_xy(np.random.default_rng(0).normal(size=(n, 3)), Umap())
    assert xy.shape == (n, 2) and np.isfinite(xy).all()


def test_the_same_seed_gives_the_same_map_and_groups_stay_apart():
    rng = np.random.default_rng(0)
    features = np.concatenate([rng.normal(size=(40, 5)), rng.normal(size=(40, 5)) + 30])
    first, second = umap_xy(features, Umap(seed=3)), umap_xy(features, Umap(seed=3))
    np.testing.assert_array_equal(first, second)
    gap = np.linalg.norm(first[:40].mean(axis=0) - first[40:].mean(axis=0))
    assert gap > 2 * first[:40].std()
