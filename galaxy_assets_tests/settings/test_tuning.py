"""`auto` in a survey file: what it leaves open, what a person keeps, and a survey with the choice in its place."""

import pytest
import yaml
from pydantic import ValidationError

from galaxy_assets.settings.files import SurveyError, read_survey
from galaxy_assets.settings.survey import Survey
from galaxy_assets.settings.tuning import KEYS, TRIED, with_choice
from galaxy_assets_tests.conftest import TINY

FRAME = tuple(f"cutout.{key}" for key in TRIED["cutout"])


def survey(cutout: object, recipe: dict | None = None, **others: object) -> Survey:
    return Survey.model_validate(TINY | {"cutout": cutout, "recipe": recipe or {}} | others)


@pytest.mark.parametrize(
    ("cutout", "recipe", "is_open"),
    [
        ("auto", {}, FRAME),
        ({"method": "auto"}, {}, FRAME),
        ({"method": "auto", "size": 48, "grey": True}, {}, tuple(key for key in FRAME if key != "cutout.size")),
        ({"method": "flux_radius", "align": "auto"}, {}, ("cutout.align",)),
        ({}, {"image_size": "auto", "orientations": "auto"}, ("recipe.image_size", "recipe.orientations")),
        ({"nodata": "auto"}, {}, ()),
    ],
)
def test_what_says_auto_is_open_and_what_is_given_is_not(cutout, recipe, is_open):
    made = survey(cutout, recipe)
    assert made.auto == is_open
    assert Survey.model_validate(made.model_dump()) == made
    defaults = survey({} if isinstance(cutout, str) else {k: v for k, v in cutout.items() if v != "auto"})
    assert made.cutout == defaults.cutout and made.recipe == defaults.recipe


def test_a_list_says_the_same():
    assert survey({"size": 48}, auto=["cutout", "recipe.image_size"]) == survey(
        {"method": "auto", "size": 48}, {"image_size": "auto"}
    )


@pytest.mark.parametrize(
    ("given", "is_open"),
    [
        ({"recipe": {"image_size": 128}}, ("cutout.method",)),
        ({"cutout": {"method": "whole"}, "recipe": "small"}, ("recipe.image_size",)),
        ({"cutout": {"method": "auto", "size": 48}}, (*(k for k in FRAME if k != "cutout.size"), "recipe.image_size")),
        ({"cutout": {"method": "whole"}, "recipe": {"image_size": 128}}, ()),
        ({"extends": "mirabest"}, ("cutout.method", "recipe.image_size")),
    ],
)
def test_a_value_beside_the_list_is_kept_and_one_that_the_file_extends_is_not(tmp_path, given, is_open):
    path = tmp_path / "tiny.yaml"
    own = {key: value for key, value in TINY.items() if key not in ("cutout", "recipe")}
    path.write_text(yaml.safe_dump(own | given | {"auto": ["recipe.image_size", "cutout.method"]}))
    made = read_survey(path)
    assert made.auto == is_open
    after = with_choice(made, {"recipe.image_size": 64, "cutout.method": "sigma_clip"})
    assert after.recipe.image_size == (64 if "recipe.image_size" in is_open else 128)
    assert after.cutout.method == ("sigma_clip" if "cutout.method" in is_open else "whole")


@pytest.mark.parametrize("wrong", [{"auto": ["recipe.epochs"]}, {"recipe": {"epochs": "auto"}}, {"auto": "cutout"}])
def test_what_cannot_be_tried_is_named_with_its_file(tmp_path, wrong):
    path = tmp_path / "tiny.yaml"
    path.write_text(yaml.safe_dump(TINY | wrong))
    with pytest.raises(SurveyError, match=r"tiny\.yaml: (auto|recipe\.epochs)"):
        read_survey(path)


def test_a_survey_that_leaves_nothing_open_keeps_its_fingerprint():
    made = Survey.model_validate(TINY)
    assert made.auto == () and "auto" not in made.deciding()
    assert "auto" in survey("auto").deciding()


def test_a_choice_takes_the_place_of_what_is_open_and_of_nothing_else():
    made = survey({"method": "auto", "size": 48}, {"image_size": "auto", "orientations": 4})
    chosen = {"cutout.method": "central", "cutout.central_pixels": 60, "cutout.size": 300}
    after = with_choice(made, chosen | {"recipe.image_size": 64, "recipe.orientations": 8})
    assert (after.cutout.method, after.cutout.central_pixels, after.cutout.size) == ("central", 60, 48)
    assert (after.recipe.image_size, after.recipe.orientations) == (64, 4)
    assert with_choice(after, {}) == made, "without a choice what is open has its default"
    assert with_choice(Survey.model_validate(TINY), chosen) == Survey.model_validate(TINY)


def test_a_galaxy_is_turned_by_the_only_method_that_can():
    made = survey({"method": "auto", "align": True})
    assert made.cutout.method == "flux_radius" and "cutout.method" in made.auto
    assert with_choice(made, {}).cutout.align
    assert set(made.auto) < set(KEYS)


@pytest.mark.parametrize(
    ("cutout", "said"),
    [
        ({"method": "central"}, "`central` needs `central_pixels`"),
        ({"method": "central", "central_pixels": 0}, "`central` needs `central_pixels`"),
        ({"method": "flux_radius", "central_pixels": 90}, None),  # as whoever extends a survey with a fixed box has it
        ({"method": "central", "central_pixels": 90}, None),
        ({"method": "central", "central_pixels": "auto"}, None),
        ({"method": "auto", "central_pixels": 90}, None),
        ("auto", None),
    ],
)
def test_a_fixed_box_has_a_side_and_nothing_else_has_one(cutout, said):
    if said is None:
        made = survey(cutout)
        assert with_choice(made, {"cutout.central_pixels": 60}).cutout.central_pixels in (60, 90)
        return
    with pytest.raises(ValidationError, match=said):
        survey(cutout)
