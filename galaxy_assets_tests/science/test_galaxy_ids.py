"""Ids of galaxies looked up without a Python string for each."""

import numpy as np
import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from galaxy_assets.science import galaxy_ids

IDS = st.lists(st.sampled_from([f"J{i:03d}" for i in range(60)]), max_size=40)


@given(IDS.map(lambda ids: list(dict.fromkeys(ids))), IDS, st.integers(1, 50), st.integers(0, 40))
def test_galaxies_are_found_among_known_ones_however_many_are_looked_through_at_once(known, galaxies, at_once, cut):
    before, galaxy_ids._KNOWN = galaxy_ids._KNOWN, at_once
    try:
        text = pa.string()
        parts = pa.chunked_array([pa.array(known[:cut], text), pa.array(known[cut:], text)], text)
        found = galaxy_ids.places_among(parts, pa.array(galaxies, text))
        same = galaxy_ids.places_among(pa.array(known, text), pa.chunked_array([pa.array(galaxies, text)], text))
    finally:
        galaxy_ids._KNOWN = before
    assert found.tolist() == same.tolist() == [known.index(g) if g in known else -1 for g in galaxies]


@given(
    st.lists(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=6)), st.integers(0, 5)
)
def test_ids_of_one_length_are_those_of_numpy(ids, begin):
    width = max([1, *(len(galaxy.encode()) for galaxy in ids)])
    found = galaxy_ids.padded(pa.array(ids, pa.string())[begin:], width)
    assert found.tolist() == np.array([galaxy.encode() for galaxy in ids[begin:]], f"S{width}").tolist()
