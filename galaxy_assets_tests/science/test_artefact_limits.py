"""Limits from a survey's own images: what most of them show is no fault, what a few show is one."""

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from galaxy_assets.science.artefact_limits import limits_of, under
from galaxy_assets.science.artefact_regions import propose_regions
from galaxy_assets.science.artefacts import evidence
from galaxy_assets.settings.artefacts import LEAST, ArtefactRules

AUTO = ArtefactRules()


def radio(n: int, share: float, seed: int = 0) -> np.ndarray:
    """uint8 (n, 48, 48, 1): extended sources; this share of the stamps is scaled until a tenth or more saturates."""
    rng, stamps = np.random.default_rng(seed), []
    y, x = np.mgrid[:48, :48] - 23.5
    for i in range(n):
        width, stretch = rng.uniform(4, 9), rng.uniform(1, 2)
        stamp = np.exp(-0.5 * ((x / width / stretch) ** 2 + (y / width) ** 2)) + rng.normal(0, 0.02, (48, 48))
        saturated = rng.uniform(0.1, 0.3) if i < share * n else rng.uniform(0.001, 0.03)
        low, high = np.quantile(stamp, [0.01, 1 - saturated])
        stamps.append(np.rint((stamp - low) / (high - low) * 255).clip(0, 255))
    return np.array(stamps, np.uint8)[..., None]


def judged(pixels: np.ndarray, rules: ArtefactRules = AUTO) -> pa.Table:
    table = evidence(pixels, ["whole"] * len(pixels), rules)
    return under(table, limits_of(table, rules))


def test_a_survey_of_which_most_is_saturated_has_hardly_a_suspect():
    stamps = radio(400, 0.88)
    alone = evidence(stamps, ["whole"] * 400, AUTO)
    assert np.mean(alone["suspect"].to_numpy(zero_copy_only=False)) == 0.88
    left = judged(stamps)["suspect"].to_numpy(zero_copy_only=False)
    assert left.mean() <= 0.01
    x = np.random.default_rng(1).normal(size=(2, 400))
    assert propose_regions(*x, left, judged(stamps)["reason"].to_pylist(), AUTO) == []


def test_a_few_saturated_images_among_others_are_found():
    stamps = radio(400, 0.01)
    found = judged(stamps)
    assert found["suspect"].to_pylist() == [True] * 4 + [False] * 396
    assert set(found["reason"].to_pylist()[:4]) == {"saturated"}
    assert limits_of(found, AUTO)["saturated_fraction"] < 0.2


def test_white_stamps_are_found_where_most_is_saturated():
    stamps = radio(400, 0.88)
    stamps[:3] = 255
    stamps[:3, :2] = 0
    assert judged(stamps)["suspect"].to_pylist()[:3] == [True] * 3


def test_skies_set_to_zero_are_not_blank_and_an_empty_stamp_among_them_is():
    stamps = radio(200, 0)
    stamps[stamps < 180] = 0
    stamps[0, ...] = 0
    stamps[0, 24, 24] = 255
    shares = evidence(stamps, ["whole"] * 200, ArtefactRules(blank_fraction=0.8))
    assert np.mean(shares["blank"].to_numpy(zero_copy_only=False)) > 0.5
    lower = pa.table({"blank_fraction": shares["blank_fraction"]})
    assert 0.98 <= limits_of(lower, AUTO)["blank_fraction"] < 1 - 1 / 48**2
    assert judged(stamps)["blank"].to_pylist() == [True] + [False] * 199


def test_a_compact_source_is_none_the_less_in_a_negative():
    stamps = np.zeros((40, 64, 64, 3), np.uint8)
    stamps[1:, 31:33, 31:33] = 200
    assert judged(stamps)["blank"].to_pylist() == judged(255 - stamps)["blank"].to_pylist() == [True] + [False] * 39
    for each in (stamps, 255 - stamps):  # by itself too, before the survey's own limits
        assert evidence(each, ["whole"] * 40, AUTO)["blank"].to_pylist() == [True] + [False] * 39


def test_a_persons_limit_is_taken_as_it_is():
    stamps = radio(100, 0.88)
    rules = ArtefactRules(saturated_fraction=0.05)
    found = judged(stamps, rules)
    assert limits_of(found, rules)["saturated_fraction"] == 0.05
    assert np.mean(found["suspect"].to_numpy(zero_copy_only=False)) == 0.88
    assert found.equals(evidence(stamps, ["whole"] * 100, rules))


@given(values=st.lists(st.floats(0, 1), max_size=40), name=st.sampled_from(sorted(LEAST)))
def test_a_limit_is_never_below_the_least_and_few_values_reach_it(values, name):
    table = pa.table({name: pa.array(values, pa.float64())})
    limit = limits_of(table, AUTO)[name]
    assert limit >= LEAST[name]
    assert sum(value >= limit for value in values) <= 0.25 * len(values) + 1 or limit in (LEAST[name], 1)


@pytest.mark.parametrize("name", sorted(LEAST))
def test_equal_values_are_no_outliers(name):
    table = pa.table({name: [0.99] * 30})
    assert limits_of(table, AUTO)[name] > 0.99


def test_values_without_end_leave_no_outlier():
    ratios = [0.5] * 10 + [np.inf] * 30
    assert limits_of(pa.table({"edge_flux_ratio": ratios}), AUTO)["edge_flux_ratio"] == np.inf
    assert limits_of(pa.table({"edge_flux_ratio": [0.5] * 30 + [np.inf]}), AUTO)["edge_flux_ratio"] == 1


def test_a_reason_without_a_measure_stays_and_a_table_of_older_code_stays_as_it_is():
    table = pa.table({"suspect": [True, True], "reason": ["nodata, saturated", "saturated"]})
    assert under(table, limits_of(table, AUTO)).equals(table)
    measured = table.append_column("saturated_fraction", pa.array([0.1, 0.1]))
    left = under(measured, {"saturated_fraction": 0.5})
    assert left["reason"].to_pylist() == ["nodata", ""] and left["suspect"].to_pylist() == [True, False]


def test_where_no_value_is_an_outlier_none_is_suspect_for_it_not_even_an_infinite_one():
    ratios = pa.array([0.5] * 10 + [np.inf] * 30)
    reasons = ["edge_flux"] * 39 + ["edge_flux, nodata"]
    table = pa.table({"edge_flux_ratio": ratios, "suspect": [True] * 40, "reason": reasons})
    left = under(table, limits_of(table, AUTO))
    assert left["reason"].to_pylist() == [""] * 39 + ["nodata"] and left["suspect"].to_pylist() == [False] * 39 + [True]
