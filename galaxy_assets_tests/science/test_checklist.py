"""The checklist covers the paper, and says of every number what it rests on."""

from pathlib import Path

import pytest
from pydantic import ValidationError

from galaxy_assets.science.checked_settings import setting
from galaxy_assets.science.checklist import IDS, Check, checklist, checklist_for
from galaxy_assets.settings.files import survey_files

SURVEYS = survey_files(Path("/nonexistent")).known
BY_ID = {check.id: check for check in checklist()}


def test_every_number_of_the_paper_has_a_row_and_no_two_rows_one_id():
    assert len(IDS) == 3 + 4 + 5 + 7 + 8 + 6 + 1 + 6 + 2
    assert {check.id.split(":")[0] for check in checklist()} == set(IDS)
    assert len(BY_ID) == len(checklist())


def test_rows_name_assets_surveys_and_settings_that_exist():
    from galaxy_assets_tests.test_house import GRAPH

    assert {check.asset for check in checklist() if check.asset} <= set(GRAPH)
    assert {survey for check in checklist() for survey in check.surveys} == {"gz_decals", "mirabest"}
    for check in checklist():
        for survey in check.surveys if check.setting else ():
            assert setting(SURVEYS[survey], check.setting), check.id


@pytest.mark.parametrize(
    ("check_id", "says"),
    [
        ("D2", "before and after"),
        ("P1:threshold", "text and code disagree"),
        ("B1:projection", "projects to 256"),
        ("A2:votes", "can only mean votes"),
        ("A3:share", "7.64 %"),
        ("C8:imagenet", "78.6 %"),
        ("M4:random", "collapse"),
    ],
)
def test_the_papers_own_inconsistencies_stand_beside_the_number(check_id, says):
    assert says in BY_ID[check_id].note


def test_the_papers_sums_are_what_the_notes_say():
    shares = [BY_ID[i] for i in ("C5:imagenet", "C6:imagenet", "C7:imagenet")]
    classes = [BY_ID[i].expected for i in ("E2", "E3", "E4")]
    overall = sum(s.expected * n for s, n in zip(shares, classes, strict=True)) / sum(classes)
    assert round(overall, 3) == 0.786
    assert abs(overall - BY_ID["C8:imagenet"].expected) < BY_ID["C8:imagenet"].tolerance
    assert round(BY_ID["A3"].expected / BY_ID["D2"].expected, 4) == 0.0764
    assert round(1 - BY_ID["D3"].expected / BY_ID["D1"].expected, 4) == BY_ID["D3:share"].expected


def test_a_number_for_each_start_is_a_row_for_each():
    ids = [check.id for check in checklist_for(("random", "mine"))]
    assert [i for i in ids if i.startswith("M6")] == ["M6:majority", "M6:random", "M6:mine"]
    assert len(ids) == len(checklist()) + 1


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"tolerance": 1}, "needs a reason"),
        ({"reason": "seeds"}, "needs a reason"),
        ({"setting": "variance"}, "one of a setting, an asset and rows"),
        ({"rows": ["B3"]}, "one of a setting, an asset and rows"),
        ({"asset": None}, "one of a setting, an asset and rows"),
        ({"parts": {"a": 1, "b": 1}}, "do not add up to 1"),
        ({"surveys": []}, "surveys"),
    ],
)
def test_a_row_without_its_grounds_is_refused(changes, says):
    whole = {"id": "D9", "section": "2", "surveys": ["gz_decals"], "description": "d", "expected": 1, "asset": "a"}
    assert Check.model_validate(whole)
    with pytest.raises(ValidationError, match=says):
        Check.model_validate(whole | changes)
