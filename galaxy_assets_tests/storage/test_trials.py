"""Which settings a survey has that left some to trials."""

import json

import pyarrow as pa
import pytest

from galaxy_assets.settings.survey import Survey
from galaxy_assets.storage.layout import Layout
from galaxy_assets.storage.tables import write_table
from galaxy_assets.storage.trials import TRIALS, in_force
from galaxy_assets_tests.conftest import TINY


def survey(**cutout) -> Survey:
    return Survey.model_validate(TINY | {"name": "tiny", "cutout": {"size": 48} | cutout})


def test_a_choice_that_does_not_go_with_what_is_set_today_is_told_with_the_remedy(tmp_path):
    layout, left_open = Layout(tmp_path), survey(method="flux_radius", align="auto")
    with pytest.raises(FileNotFoundError, match="no recipe_trials, which choose cutout.align; `galaxy-assets run"):
        in_force(layout, left_open)
    choice = json.dumps({"cutout.align": True})
    write_table(pa.table({"chosen": [True], "settings": [choice]}), layout.table("tiny", TRIALS))
    assert in_force(layout, left_open).cutout.align is True
    edited = survey(method="central", central_pixels=40, align="auto")
    with pytest.raises(FileNotFoundError, match="does not go with what is set today; `galaxy-assets run tiny`"):
        in_force(layout, edited)
    assert in_force(layout, survey(method="whole")) == survey(method="whole")
