"""Links to sky viewers: which a survey may name, and that they lead to the position and decide nothing."""

from urllib.parse import parse_qs, urlsplit

import pytest
from pydantic import ValidationError

from galaxy_assets.settings.sky_links import VIEWERS, sky_links
from galaxy_assets.settings.survey import Survey
from galaxy_assets_tests.conftest import TINY

RA, DEC = 10.684708, 41.26875


def test_every_viewer_gets_the_position_in_degrees():
    found = sky_links(VIEWERS, RA, DEC)
    assert list(found) == [title for title, _ in VIEWERS.values()]
    for address in found.values():
        split = urlsplit(address)
        values = " ".join(v for vs in parse_qs(split.query).values() for v in vs)
        assert split.scheme == "https" and "10.684708" in values and "+41.268750" in values, address
    assert parse_qs(urlsplit(found["SIMBAD"]).query)["Coord"] == ["10.684708 +41.268750"]
    assert "-41.268750" in sky_links(["legacy_survey"], RA, -DEC)["Legacy Survey"]


def test_a_hips_is_shown_by_aladin_and_an_address_is_taken_as_it_is():
    found = sky_links(["CDS/P/NVSS", "https://archive.example.org/q?p={ra},{dec}"], RA, DEC)
    assert list(found) == ["CDS/P/NVSS", "archive.example.org"]
    query = parse_qs(urlsplit(found["CDS/P/NVSS"]).query)
    assert (query["survey"], query["target"]) == (["CDS/P/NVSS"], ["10.684708 +41.268750"])
    assert found["archive.example.org"] == "https://archive.example.org/q?p=10.684708,%2B41.268750"


@pytest.mark.parametrize(
    "name",
    ["skyview", "javascript:alert({ra}{dec})", "http://example.org/{ra}{dec}", "https://example.org/{ra}", "a/../b c"],
)
def test_what_is_no_link_is_refused_with_what_could_be_one(name):
    with pytest.raises(
        ValidationError, match="is no sky link: write one of legacy_survey, .* CDS/P/NVSS, or an address"
    ):
        Survey.model_validate(TINY | {"sky_links": [name]})


def test_links_decide_no_result():
    other = Survey.model_validate(TINY | {"sky_links": ["ned"]})
    assert other.sky_links == ("ned",) and other.fingerprint() == Survey.model_validate(TINY).fingerprint()
