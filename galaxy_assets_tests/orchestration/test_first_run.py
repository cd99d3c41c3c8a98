"""What the tables of a first run should take: which work grows with what, and that a user is told."""

import dagster as dg
import pytest

from galaxy_assets.cli.run import _progress_of
from galaxy_assets.orchestration.course import Planned
from galaxy_assets.orchestration.graph import ASSETS
from galaxy_assets.orchestration.planning import first_run
from galaxy_assets.settings.files import survey_files
from galaxy_assets.settings.recipe import Recipe
from galaxy_assets.settings.survey import Survey
from galaxy_assets.storage.layout import Layout

SURVEY = Survey.model_validate(
    {
        "name": "s",
        "title": "S",
        "description": "-",
        "source": {"reader": "image_folder", "path": "s"},
        "start_weights": ["imagenet", "random", "classical"],
        "recipe": {"backbone": "resnet18", "image_size": 64, "epochs": 10, "orientations": 4},
    }
)


def work(asset: str, start: str = "imagenet", galaxies: float = 2000, **settings: object) -> float:
    recipe = SURVEY.recipe.model_copy(update={k: v for k, v in settings.items() if k in Recipe.model_fields})
    return first_run.work_of(SURVEY.model_copy(update={"recipe": recipe}), asset, start, galaxies)[0]


def test_a_training_grows_with_galaxies_epochs_and_pixels_and_formulae_have_none():
    one = work("byol_checkpoints")
    assert work("byol_checkpoints", epochs=20) == 2 * one
    assert work("byol_checkpoints", image_size=128) == pytest.approx(4 * one, rel=0.01)
    assert 1.7 * one < work("byol_checkpoints", galaxies=4000) < 2 * one, "health looks at a thousand"
    assert work("byol_checkpoints", "classical") == work("byol_checkpoints", epochs=0) == 0
    assert work("byol_checkpoints", "random") == 0, "too few for a random start"
    assert work("byol_checkpoints", "random", train_random_from=100) == one


def test_embeddings_grow_with_what_stands_side_by_side():
    one = work("embeddings", beside={})
    assert work("embeddings", beside={"start": 1.0}) == 2 * one
    assert one < work("embeddings", beside={"middle": 1.0}) < 2 * one
    assert work("embeddings", beside={}, orientations=8) == 2 * one == work("embeddings", beside={}, galaxies=4000)


def test_trials_look_at_a_thousand_and_others_at_all():
    assert work("recipe_trials", "", 1000) == work("recipe_trials", "", 10**6)
    assert first_run.work_of(SURVEY, "cutouts", "", 12345) == (12345, False)
    assert work("pretrained_features", "", 4000) == 2 * work("pretrained_features", "", 2000)


def test_the_shipped_seconds_are_of_every_asset():
    assert set(first_run._shipped()) == set(ASSETS)
    assert all(fixed >= 0 <= each and fixed + each > 0 for fixed, each in first_run._shipped().values())


def test_a_first_run_says_what_is_left_once_a_delivery_was_looked_at(untrained, tmp_path):
    survey, layout = survey_files(untrained).named("tiny"), Layout(untrained)
    tables = [("delivered_images", "first"), ("delivered_images", "second"), ("cutouts", "second"), ("results", None)]
    tables += [("embeddings", "first|imagenet"), ("byol_checkpoints", "imagenet")]
    known = {"cutouts": (1.0, 2.0), "results": (0.0, 1.0), "embeddings": (5.0, 0.0), "byol_checkpoints": (7.0, 1.0)}
    found = first_run.expected_seconds(survey, tables, layout, known)
    # 36 images were delivered; of the other delivery, which was not looked at, as many are expected
    assert {table: round(one.seconds, 6) for table, one in found.items()} == {
        ("cutouts", "second"): 73.0,
        ("results", None): 72.0,
        ("embeddings", "first|imagenet"): 5.0,
        ("byol_checkpoints", "imagenet"): 7.0,
    }
    assert first_run.expected_seconds(survey, tables, Layout(tmp_path), known) == {}


def test_a_run_of_a_survey_that_was_never_run_tells_roughly_what_is_left(untrained, monkeypatch):
    monkeypatch.setenv("GALAXY_ASSETS_DATA", str(untrained))
    with dg.DagsterInstance.ephemeral() as instance:
        progress = _progress_of(survey_files(untrained).named("tiny"), instance)
    tables = {("delivered_images", "first"): False, ("cutouts", "first"): True, ("results", None): True}
    progress.see(Planned(tables, 1))
    assert str(progress.left()).startswith("roughly ")
