"""Fingerprints of the shipped surveys: a lake that was made with them stays up to date when settings are added."""

from pathlib import Path

import pytest

from galaxy_assets.settings.cutouts import CutoutSettings
from galaxy_assets.settings.files import survey_files
from galaxy_assets.settings.source import Source

# source, cutout, recipe, survey, as of the release before plug-ins; recipe `paper` has Table 1's projection
# since, limits of artefacts that a survey does not name are `auto`, and
# the learner `graded` is the default, which the survey's own print tells
SHIPPED = {
    "demo_optical": ("74171075ede2", "8d937ab4c077", "ff1ad5337184", "6772879943c0"),
    "demo_radio": ("8a07d4e1cde0", "7b38c3591ca7", "ce0273b17225", "fcc34e41a84a"),
    "gz_decals": ("90a623aa12ee", "8d937ab4c077", "d348747b6c0a", "92a364ca03db"),
    "mirabest": ("c8974f0392a9", "3f968cd69e12", "4274a4b7033d", "6b43f9661e13"),
    "sdss_gz1": ("b8c830885e59", "37b233c56d0f", "a83cc7c1b07a", "28ac0e4dbff2"),
}


@pytest.mark.parametrize("name", SHIPPED)
def test_the_fingerprints_of_a_shipped_survey_stay(name):
    survey = survey_files(Path("/nonexistent")).named(name)
    parts = survey.source, survey.cutout, survey.recipe, survey
    assert tuple(part.fingerprint() for part in parts) == SHIPPED[name]


def test_options_enter_the_fingerprint_once_they_are_given():
    source = Source(reader="image_folder", path="x")
    assert "options" not in source.deciding() and "options" not in CutoutSettings().deciding()
    given = source.model_copy(update={"options": {"a": 1}})
    assert given.deciding()["options"] == {"a": 1} and given.fingerprint() != source.fingerprint()
