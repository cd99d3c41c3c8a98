"""Which pixels are made anew: those of other files or settings, whatever the labels."""

import pyarrow as pa

from galaxy_assets.orchestration.assets.cutouts import fallen_back, outcomes, pixels_fingerprint
from galaxy_assets.settings.survey import Survey
from galaxy_assets_tests.conftest import TINY

CATALOGUE = {"galaxy_id": ["a"], "file": ["a.png"], "sha256": ["1f"], "problem": pa.array([None], pa.string())}


def test_pixels_are_those_of_the_files_content_whatever_the_labels():
    survey = Survey.model_validate(TINY)

    def fingerprint(survey: Survey = survey, **changed: list) -> str:
        return pixels_fingerprint(pa.table(CATALOGUE | {"label": ["round"], "ra": [1.0]} | changed), survey)

    plain = fingerprint()
    assert fingerprint(label=["long"]) == fingerprint(ra=[2.0]) == plain
    others = {name: fingerprint(**{name: ["other"]}) for name in CATALOGUE}
    others["cutout"] = fingerprint(Survey.model_validate(TINY | {"cutout": {"size": 64}}))
    assert len({plain, *others.values()}) == len(others) + 1


def test_the_share_that_kept_its_frame_is_of_all_images():
    names = ["cropped"] * 5 + ["fallback_edge", "fallback_no_contour", "unreadable", "blank", "whole"]
    table = pa.table({"outcome": names})
    assert fallen_back(table) == 0.2 and outcomes(table)["cropped"] == 5
    assert fallen_back(table.slice(0, 0)) == 0
