"""The map: seeded, one point per galaxy, and defined for a handful."""

import logging
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from galaxy_assets.science import compiled, projection
from galaxy_assets.science.projection import (
    FittedMap,
    feature_keys,
    fit_map,
    membership_strengths,
    model_to_table,
    table_to_model,
    umap_xy,
)
from galaxy_assets.settings.structure import Umap


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


RNG = np.random.default_rng(0)
CENTRES = RNG.normal(scale=8, size=(4, 10))


def members(n: int) -> tuple[np.ndarray, np.ndarray]:
    cluster = np.arange(n) % len(CENTRES)
    return (CENTRES[cluster] + RNG.normal(size=(n, 10))).astype(np.float32), cluster


@pytest.fixture(scope="module")
def fitted() -> tuple[FittedMap, np.ndarray, np.ndarray]:
    features, cluster = members(200)
    return fit_map(features, feature_keys(features), Umap()), features, cluster


def test_a_fitted_galaxy_lies_where_it_was_and_a_new_one_among_its_like(fitted):
    on_map, features, cluster = fitted
    again = table_to_model(model_to_table(on_map))
    assert np.array_equal(again.place(features[::-1], feature_keys(features[::-1]), Umap()), on_map.xy[::-1])
    new, of = members(80)
    xy = again.place(new, feature_keys(new), Umap())
    nearest = ((xy[:, None] - on_map.xy[None]) ** 2).sum(axis=2).argmin(axis=1)
    assert (cluster[nearest] == of).mean() > 0.97


@pytest.fixture(scope="module")
def with_copies() -> tuple[FittedMap, np.ndarray]:
    """Of 120 galaxies with features far from zero, as an encoder's are; the last thirty are copies of one."""
    features, _ = members(120)
    features[90:] = features[7]
    features += 20
    return fit_map(features, feature_keys(features), Umap()), features


@settings(deadline=None, max_examples=50)
@given(st.integers(0, 2**32 - 1), st.sampled_from([1e-7, 1e-6, 1e-5]))
def test_features_of_another_machine_move_no_galaxy(with_copies, seed, digits):
    on_map, features = with_copies
    noise = np.random.default_rng(seed).normal(size=features.shape)
    again = (features * (1 + digits * noise)).astype(np.float32)
    expected = on_map.place(features, feature_keys(features), Umap())
    assert np.array_equal(on_map.place(again, feature_keys(again), Umap()), expected)


def test_a_place_depends_on_no_other_galaxy_of_the_delivery(fitted):
    on_map, _, _ = fitted
    new, _ = members(30)
    together = on_map.place(new, feature_keys(new), Umap())
    alone = np.vstack([on_map.place(new[[i]], feature_keys(new[[i]]), Umap()) for i in range(len(new))])
    assert np.allclose(together, alone, atol=1e-4)


def test_the_map_keeps_features_of_a_sample_and_every_position(fitted, monkeypatch):
    _, features, cluster = fitted
    monkeypatch.setattr(projection, "_REFERENCE", 60)
    part = table_to_model(model_to_table(fit_map(features, feature_keys(features), Umap())))
    assert part.features.shape == (60, 10) and np.array_equal(part.features, features[part.reference])
    assert np.array_equal(part.place(features, feature_keys(features), Umap()), part.xy)
    new, of = members(40)
    nearest = ((part.place(new, feature_keys(new), Umap())[:, None] - part.xy[None]) ** 2).sum(axis=2).argmin(axis=1)
    assert (cluster[nearest] == of).mean() > 0.97


def test_membership_strengths_are_umaps():
    from umap.umap_ import compute_membership_strengths, smooth_knn_dist

    distances = np.sort(RNG.gamma(3, size=(50, 15)), axis=1).astype(np.float32)
    sigmas, rhos = smooth_knn_dist(distances, 15.0, local_connectivity=0.0)
    near = np.tile(np.arange(15), (50, 1))
    theirs = compute_membership_strengths(near, distances, sigmas, rhos, bipartite=True)[2].reshape(50, 15)
    ours = membership_strengths(distances.astype(np.float64))
    assert np.allclose(ours, theirs / theirs.sum(axis=1, keepdims=True), atol=1e-4)
    at_one = np.vstack([np.r_[0, 0, np.arange(1, 14)]]).astype(float)
    assert membership_strengths(at_one)[0].tolist() == [0.5, 0.5] + [0] * 13
    assert membership_strengths(np.array([[3.0]])).tolist() == [[1.0]], "one neighbour has all the weight"


@pytest.mark.parametrize("first", ["torch", "projection"])
def test_a_fit_leaves_the_number_of_threads_as_it_was(first):
    """Else a training after it would add up in other parts than one in a process of its own."""
    code = f"""
import numpy as np
{"import torch" if first == "torch" else ""}
from galaxy_assets.science.projection import umap_xy
from galaxy_assets.settings.structure import Umap
umap_xy(np.random.default_rng(0).normal(size=(60, 5)), Umap())
import torch
print(torch.get_num_threads())
"""
    answer = subprocess.run(
        [sys.executable, "-c", code], env=os.environ | {"OMP_NUM_THREADS": "1"}, capture_output=True, text=True
    )
    assert answer.stdout.strip() == "1", answer.stderr


def test_a_fit_says_what_it_does_and_prints_nothing(caplog, capfd):
    features = np.random.default_rng(0).normal(size=(60, 5))
    with caplog.at_level(logging.INFO, "galaxy_assets"):
        umap_xy(features, Umap())
    said = [record.getMessage() for record in caplog.records]
    assert said[0].startswith("UMAP of 60 galaxies, 5 features each")
    assert said[1] == "UMAP: 0 of 500 epochs" and "UMAP: 500 of 500 epochs" in said
    assert said[-1].startswith("UMAP of 60 galaxies took ")
    assert capfd.readouterr() == ("", "")


NOBODYS = """
import os, sys
from pathlib import Path
from galaxy_assets.science import compiled
compiled._beside = lambda: [Path("/proc/none")]  # beside the modules, as an image installs them: not to be written
compiled.have_place()
told = os.environ.get("NUMBA_CACHE_DIR")
from numba import config
print(told, told is not None and Path(told).is_dir() and config.CACHE_DIR == told)
"""


@pytest.mark.parametrize("home", ["writable", "/proc/none"])
def test_what_is_compiled_has_a_place_where_no_home_folder_can_be_written(tmp_path, home):
    home = str(tmp_path) if home == "writable" else home
    env = {name: value for name, value in os.environ.items() if name not in (compiled.FOLDER, "XDG_CACHE_HOME")}
    done = subprocess.run([sys.executable, "-c", NOBODYS], env=env | {"HOME": home}, capture_output=True, text=True)
    folder, used = done.stdout.split()
    assert (folder == "None") == (home == str(tmp_path)) and (folder == "None" or used == "True"), done.stderr
    assert folder == "None" or not Path(folder).exists(), "it goes with its process"
