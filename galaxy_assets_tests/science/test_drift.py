"""Drift: a delivery like the fitted galaxies raises nothing, and each way of being unlike is seen by its measure."""

import numpy as np
import pytest

from galaxy_assets.science import pca
from galaxy_assets.science.drift import drift
from galaxy_assets.settings.structure import DriftLimits

RNG = np.random.default_rng(0)
AXES = np.diag(np.r_[np.linspace(3, 1, 10), np.full(30, 0.15)])


def galaxies(n: int) -> np.ndarray:
    return (RNG.normal(size=(n, 40)) @ AXES + 5).astype(np.float32)


MODEL = pca.fit(galaxies(4000), 0.95)


def measured(features: np.ndarray, **shares: float) -> dict[str, tuple[float, bool]]:
    shares = {"unsure": 0.1, "unsure_fitted": 0.1, "fallback": 0.0} | shares
    return {m.name: (m.value, m.exceeded) for m in drift(features, MODEL, limits=DriftLimits(), **shares)}


def exceeded(found: dict[str, tuple[float, bool]]) -> set[str]:
    return {name for name, (_, over) in found.items() if over}


@pytest.mark.parametrize("n", [30, 2000])
def test_more_of_the_same_is_no_drift_however_few(n):
    found = measured(galaxies(n))
    assert not exceeded(found)
    assert found["residual"][0] == pytest.approx(1, abs=0.2) and found["distance"][0] == pytest.approx(1, abs=0.25)


def test_each_way_of_being_unlike_has_its_measure():
    outside = galaxies(500)
    outside[:, 30:] += RNG.normal(size=(500, 10))
    assert exceeded(measured(outside)) == {"residual"}
    assert exceeded(measured(5 + 1.5 * (galaxies(500) - 5))) == {"residual", "distance"}
    moved = galaxies(500)
    moved[:, :10] += 0.8 * np.diag(AXES)[:10]
    found = measured(moved)
    assert found["shift"] == (pytest.approx(0.8, abs=0.1), True)
    # .2 beyond what the fitted galaxies have
    assert exceeded(measured(galaxies(500), unsure=0.31)) == {"unsure"} and not exceeded(
        measured(galaxies(500), unsure=0.3)
    )
    assert exceeded(measured(galaxies(500), fallback=0.21)) == {"fallback"}
    assert not exceeded(measured(galaxies(500), fallback=0.2))


def test_a_measure_stands_beside_what_it_is_for_the_fitted_galaxies_and_its_limit():
    limits = DriftLimits(spread=2.0, shift=0.7, unsure=0.3, fallback=0.4)
    found = drift(galaxies(50), MODEL, unsure=0.2, unsure_fitted=0.1, fallback=0.0, limits=limits)
    assert {m.name: (m.fitted, m.limit) for m in found} == {
        "residual": (1.0, 2.0),
        "distance": (1.0, 2.0),
        "shift": (0.0, 0.7),
        "unsure": (0.1, 0.4),
        "fallback": (0.0, 0.4),
    }


def test_the_shift_of_few_galaxies_by_chance_is_taken_off():
    shifts = [measured(galaxies(20))["shift"][0] for _ in range(100)]
    # twenty galaxies shift a mean by 1 / sqrt(20) = .22 standard deviations
    assert np.mean(shifts) < 0.12
