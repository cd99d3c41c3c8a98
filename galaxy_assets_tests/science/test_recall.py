"""Comparisons of ranked lists: what they count, and that they fail where there is nothing to find."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binom

from galaxy_assets.science import recall


@pytest.mark.parametrize(("n", "top"), [(0, 1), (5, 1), (99, 9), (1990, 199), (2000, 200), (10_000, 200)])
def test_two_hundred_are_looked_at_and_at_most_a_tenth(n, top):
    assert recall.depth(n) == top


@given(found=st.integers(0, 20), left=st.integers(0, 60))
def test_a_list_beats_a_random_order_where_so_many_by_chance_are_one_in_twenty(found, left):
    is_true = np.zeros(200, bool)
    is_true[:found] = True
    is_true[20 : 20 + left] = True
    compared = recall.against_random(is_true)
    share = (found + left) / 200
    assert (compared.top, compared.found, compared.anomalies) == (20, found, found + left)
    assert compared.better == (found > 0 and binom.sf(found - 1, 20, share) < 0.05)


@given(ours=st.integers(0, 12), theirs=st.integers(0, 12), both=st.integers(0, 8))
def test_a_list_beats_another_where_what_only_one_has_is_mostly_its_own(ours, theirs, both):
    true = [*range(both + ours), *range(100, 100 + theirs)]  # ours, and what only the other list has
    first = [*range(both), *range(100, 100 + theirs)]  # of the other list
    others = [i for i in range(199, -1, -1) if i not in first]
    place = np.empty(200, int)
    place[first + others] = np.arange(200)
    place[others] = np.maximum(place[others], 20)  # no matter where beyond
    compared = recall.against_list(np.isin(np.arange(200), true), place)
    assert (compared.found, compared.other) == (both + ours, both + theirs)
    assert compared.better == (ours > 0 and binom.sf(ours - 1, ours + theirs, 0.5) < 0.05)


def test_where_no_anomaly_is_left_nothing_is_judged():
    for compared in (recall.against_random(np.zeros(50, bool)), recall.against_list(np.zeros(50, bool), np.arange(50))):
        assert not compared.better and "nothing to judge" in compared.words
    assert not recall.against_random(np.zeros(0, bool)).better
