"""Blocks computed on threads of this process: their order, their errors, and results that do not hang on how many."""

import threading
import time

import numpy as np
import pytest

from galaxy_assets.science import pca, threads
from galaxy_assets.science.gaussian_process import GaussianProcess
from galaxy_assets.science.mixture import fit
from galaxy_assets.science.parallel import on_threads
from galaxy_assets.science.threads import FIXED
from galaxy_assets.settings.structure import Mixture


def test_parts_are_computed_beside_each_other_in_their_order_and_few_are_held(monkeypatch):
    monkeypatch.delenv(FIXED, raising=False)
    monkeypatch.setattr(threads, "usable_cores", lambda: 3)
    taken, both = [], threading.Barrier(3)

    def parts():
        for part in range(9):
            taken.append(part)
            yield part

    def compute(part: int) -> int:
        both.wait(30)  # passes where three are under way together
        time.sleep(0.01 * (part % 3))
        return 10 * part

    found = on_threads(compute, parts())
    assert next(found) == 0 and len(taken) <= 5
    assert list(found) == [10 * part for part in range(1, 9)]


def test_an_error_of_a_part_is_raised_and_blas_has_its_threads_again(monkeypatch):
    from threadpoolctl import ThreadpoolController

    monkeypatch.delenv(FIXED, raising=False)
    before = [library.num_threads for library in ThreadpoolController().lib_controllers]
    with pytest.raises(ZeroDivisionError):
        list(on_threads(lambda part: 1 / part, [1, 2, 0, 3]))
    assert [library.num_threads for library in ThreadpoolController().lib_controllers] == before


def test_blas_has_its_threads_again_when_the_last_of_several_ends(monkeypatch):
    from threadpoolctl import ThreadpoolController

    def now() -> list[int]:
        return [library.num_threads for library in ThreadpoolController().lib_controllers]

    before, first, second = now(), on_threads(abs, [1, 2]), on_threads(abs, [3, 4])
    assert next(first) == 1 and next(second) == 3
    assert list(first) == [2] and list(second) == [4]
    assert now() == before


@pytest.mark.parametrize("cores", [2, 5])
def test_what_is_computed_does_not_hang_on_the_number_of_threads(monkeypatch, cores):
    rng = np.random.default_rng(3)
    features = (rng.normal(size=(9001, 30)) * rng.uniform(0.1, 9, 30) + 5).astype(np.float32)
    process = GaussianProcess(
        scale=np.ones(30),
        labelled=features[:70].astype(np.float64),
        scores=rng.integers(0, 6, 70).astype(np.float64),
        amplitude=2.0,
        length_scale=9.0,
        noise=0.1,
        kernel="",
        at_bounds=(),
    )

    def found() -> list[np.ndarray]:
        model = pca.fit(features, 0.9)
        mixture = fit(features[:, :6], Mixture(components=4, n_init=2, max_iter=15))
        return [model.mean, model.components, *process.predict(features), mixture.probabilities(features[:, :6])]

    monkeypatch.setenv(FIXED, "1")
    alone = found()
    monkeypatch.delenv(FIXED)
    monkeypatch.setattr(threads, "usable_cores", lambda: cores)
    assert all(np.array_equal(one, other) for one, other in zip(alone, found(), strict=True))
