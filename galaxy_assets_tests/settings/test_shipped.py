"""Every value of every shipped survey, and every default, against a list that is written down apart from them.

A value that changes by accident would otherwise show in a digest alone, which says nothing of what it was.
"""

from pathlib import Path
from typing import Any

import pytest
import yaml

from galaxy_assets.settings.files import SHIPPED, read_survey
from galaxy_assets.settings.survey import Survey

LISTED = yaml.safe_load(Path(__file__).with_name("values.yaml").read_text(encoding="utf-8"))
FILES = {
    **{path.stem: path for path in SHIPPED.glob("*.yaml")},
    **{f"offline {path.stem}": path for path in (SHIPPED.parent / "offline").glob("*.yaml")},
}
GIVEN = {"name", "source.reader", "source.path"}
OWN = {"name": "mine", "title": "", "description": "", "source": {"reader": "image_folder", "path": ""}}


def values(settings: Any, path: str = "") -> dict[str, Any]:
    """Dotted path -> value; a list of settings by number, any other list as it is."""
    if isinstance(settings, list) and settings and isinstance(settings[0], dict):
        settings = dict(enumerate(settings))
    if not isinstance(settings, dict) or not settings:
        return {path: settings}
    found = {}
    for name, value in settings.items():
        found |= values(value, f"{path}.{name}" if path else str(name))
    return found


def of_survey(survey: Survey) -> dict[str, Any]:
    """Its values, but for words that only a person reads."""
    return values(survey.model_dump(mode="json", exclude={"title", "description", "reference", "owner"}))


def defaults() -> dict[str, Any]:
    return {path: value for path, value in of_survey(Survey.model_validate(OWN)).items() if path not in GIVEN}


def test_defaults_are_as_listed():
    assert defaults() == LISTED["defaults"]


@pytest.mark.parametrize("name", FILES)
def test_shipped_surveys_are_as_listed(name):
    usual, survey = defaults(), of_survey(read_survey(FILES[name]))
    own = {path: value for path, value in survey.items() if path not in usual or value != usual[path]}
    assert own == LISTED[name]


def test_what_is_listed_is_shipped():
    assert set(LISTED) == {"defaults", *FILES}
