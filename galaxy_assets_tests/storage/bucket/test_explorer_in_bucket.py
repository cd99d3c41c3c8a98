"""The explorer over a lake in a bucket, on a machine that has no copies: the map, its columns and filters."""

import numpy as np

from galaxy_assets.explorer.view import OpenLake, View
from galaxy_assets_tests.explorer.small_lake import NAME, write_small_lake


def test_a_map_is_that_of_a_folder(machine, tmp_path):
    write_small_lake(machine().root)
    there = machine()
    umap = there.table(NAME, "umap", "b", "imagenet")
    assert umap.exists() and umap.stat().st_size == 0, "it is not fetched before it is read"
    view = View(OpenLake(there), NAME, "imagenet")
    folder = View(OpenLake(write_small_lake(tmp_path / "data")), NAME, "imagenet")
    assert view.ids.equals(folder.ids) and np.array_equal(view.x, folder.x) and np.array_equal(view.y, folder.y)
    assert view.columns.keys() == folder.columns.keys()
    for name in ("score", "cluster", "total_votes"):
        assert view.column(name).equals(folder.column(name))
    assert np.array_equal(view.matching("rank <= 2"), folder.matching("rank <= 2"))
