"""Drift: a delivery like the fitted galaxies raises nothing, and each way of being unlike is seen by its measure."""

import numpy as np
import pytest

from galaxy_assets.science import pca
from galaxy_assets.science.drift import Measure, drift
from galaxy_assets.settings.structure import DriftLimits

RNG = np.random.default_rng(0)
AXES = np.diag(np.r_[np.linspace(3, 1, 10), np.full(30, 0.15)])


def galaxies(n: int) -> np.ndarray:
    return (RNG.normal(size=(n, 40)) @ AXES + 5).astype(np.float32)


SHARES = {"unsure": 0.1, "unsure_fitted": 0.1, "fallback": 0.0, "limits": DriftLimits()}
MODEL = pca.fit(galaxies(4000), 0.95)


def measured(features: np.ndarray, **shares) -> dict[str, tuple[float, bool]]:
    known = {"fitted_on": 4000, "left_out": None} | SHARES | shares
    return {m.name: (m.value, m.exceeded) for m in drift(features, MODEL, **known)}


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
    known = {"unsure": 0.2, "unsure_fitted": 0.1, "fallback": 0.0, "limits": limits}
    found = drift(galaxies(50), MODEL, fitted_on=4000, left_out=1.1, **known)
    assert {m.name: (m.fitted, m.limit) for m in found} == {
        "residual": (1.0, 2.2),
        "distance": (1.0, 2.0),
        "shift": (0.0, 0.7),
        "unsure": (0.1, 0.4),
        "fallback": (0.0, 0.4),
    }


def test_the_shift_of_few_galaxies_by_chance_is_taken_off():
    shifts = [measured(galaxies(20))["shift"][0] for _ in range(100)]
    # twenty galaxies shift a mean by 1 / sqrt(20) = .22 standard deviations
    assert np.mean(shifts) < 0.12


def nonlinear(n: int) -> np.ndarray:
    """Features as a network makes them: many of them of few properties, some galaxies far brighter than others."""
    rng = np.random.default_rng(1)
    through = np.maximum(rng.normal(size=(n, 60)) / np.arange(1, 61) ** 0.5 @ rng.normal(size=(60, 256)), 0)
    return (through * rng.lognormal(sigma=0.5, size=(n, 1))).astype(np.float32)


@pytest.mark.parametrize("n", [60, 150, 600])
def test_more_of_the_same_sky_is_no_drift_of_a_model_of_few_galaxies(n):
    sky = nonlinear(1600)
    fitted, new = sky[:n], sky[n : n + 1000]
    model, known = pca.fit(fitted, 0.95), pca.left_out([fitted], n, 0.95)
    residual, distance, *_ = drift(new, model, fitted_on=n, left_out=known[pca.LEFT_OUT], **SHARES)
    assert residual.value > 1.5 and not residual.exceeded and not distance.exceeded
    assert residual.value / known[pca.LEFT_OUT] == pytest.approx(1, abs=0.35)
    other = new + np.random.default_rng(2).normal(0, new.std(), new.shape)
    assert drift(other, model, fitted_on=n, left_out=known[pca.LEFT_OUT], **SHARES)[0].exceeded


def test_the_components_of_a_model_that_nobody_measured_are_judged_as_gaussian_ones():
    residual = drift(galaxies(50), MODEL, fitted_on=30, left_out=None, **SHARES)[0]
    k = len(MODEL.components)
    assert residual.limit == pytest.approx(1.5 * (30 + k) / (29 - k))


@pytest.mark.parametrize("n", [2, 5, 9])
def test_components_that_hold_all_variance_of_their_few_galaxies_say_nothing_of_a_residual(n):
    fitted = galaxies(n)
    model = pca.fit(fitted, 1)
    assert len(model.components) == n - 1 and pca.left_out([fitted], n, 1) == {}
    found = {m.name: m for m in drift(galaxies(200), model, fitted_on=n, left_out=None, **SHARES)}
    assert not found["residual"].exceeded and np.isfinite([m.value for m in found.values()]).all()


def test_a_measure_that_is_no_number_is_over_its_limit():
    assert Measure("shift", float("nan"), 0.0, 0.5, "").exceeded
