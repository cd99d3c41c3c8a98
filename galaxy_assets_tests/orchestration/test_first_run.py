"""What the tables of a first run should take: which work grows with what, and that a user is told."""

import shutil
from contextlib import closing

import dagster as dg
import numpy as np
import pytest

from galaxy_assets.cli.run import _progress_of
from galaxy_assets.definitions import build_defs
from galaxy_assets.orchestration.course import Planned, following
from galaxy_assets.orchestration.engines.in_process import run_survey
from galaxy_assets.orchestration.graph import ASSETS
from galaxy_assets.orchestration.planning import first_run
from galaxy_assets.orchestration.planning.foreseen import foreseen
from galaxy_assets.science import trials
from galaxy_assets.science.trials import IMAGE_SIZE
from galaxy_assets.settings.files import survey_files
from galaxy_assets.settings.recipe import Recipe
from galaxy_assets.settings.survey import Survey
from galaxy_assets.settings.tuning import with_choice
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
    return first_run.work_of(SURVEY.model_copy(update={"recipe": recipe}), asset, start, galaxies, galaxies)[0]


def test_a_training_grows_with_galaxies_epochs_and_pixels_and_formulae_have_none():
    one = work("byol_checkpoints")
    assert work("byol_checkpoints", epochs=20) == 2 * one
    assert work("byol_checkpoints", image_size=128) == pytest.approx(4 * one, rel=0.01)
    assert 1.7 * one < work("byol_checkpoints", galaxies=4000) < 2 * one, "health looks at a thousand"
    assert work("byol_checkpoints", "classical") == work("byol_checkpoints", epochs=0) == 0
    assert work("byol_checkpoints", "random") == 0, "too few for a random start"
    assert work("byol_checkpoints", "random", train_random_from=100) == one
    beside = SURVEY.model_copy(update={"recipe": SURVEY.recipe.model_copy(update={"beside": {"start": 1.0}})})
    two = [first_run.work_of(beside, "embeddings", "random", 100, in_all)[0] for in_all in (100, 10**6)]
    assert two[1] == 2 * two[0], "a survey is large enough for a random start, and no delivery is"


def test_embeddings_grow_with_what_stands_side_by_side():
    one = work("embeddings", beside={})
    assert work("embeddings", beside={"start": 1.0}) == 2 * one
    assert one < work("embeddings", beside={"middle": 1.0}) < 2 * one
    half = work("embeddings", beside={"middle": 1.0})
    assert work("embeddings", beside={"pyramid": 1.0}) == pytest.approx(half, rel=1e-3)
    assert work("embeddings", beside={}, orientations=8) == 2 * one == work("embeddings", beside={}, galaxies=4000)


def test_trials_look_at_a_thousand_and_others_at_all():
    assert work("recipe_trials", "", 1000) == work("recipe_trials", "", 10**6)
    assert first_run.work_of(SURVEY, "cutouts", "", 12345, 12345) == (12345, False)
    assert work("pretrained_features", "", 4000) == 2 * work("pretrained_features", "", 2000)


def test_the_shipped_seconds_are_of_every_asset():
    assert set(first_run._shipped()) == set(ASSETS)
    assert all(fixed >= 0 < each for fixed, each in first_run._shipped().values())


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


def test_work_that_trials_have_not_chosen_yet_is_of_the_image_size_that_they_always_take(untrained):
    survey = survey_files(untrained).named("tiny")
    open_yet = survey.model_copy(update={"auto": ("recipe.image_size",)})
    tables = [("delivered_images", "first"), ("pretrained_features", "first")]
    found = first_run.works(open_yet, tables, Layout(untrained))
    taken = survey.model_copy(update={"recipe": survey.recipe.model_copy(update={"image_size": IMAGE_SIZE})})
    assert found["pretrained_features", "first"] == first_run.work_of(taken, "pretrained_features", "", 36, 36)


WHOLE = {"cutout": "auto", "recipe": {"image_size": "auto", "orientations": "auto"}}


@pytest.mark.parametrize(
    ("written", "orientations", "image_size"),
    [
        (WHOLE, 4, 64),
        (WHOLE | {"cutout": {"method": "auto", "align": False}}, 8, 64),
        (WHOLE | {"cutout": {"method": "whole", "align": "auto"}}, 8, 64),
        (WHOLE | {"cutout": {"method": "flux_radius", "align": "auto"}}, 4, 64),
        (WHOLE | {"cutout": {"method": "flux_radius", "align": True}}, 4, 64),
        (WHOLE | {"recipe": {"image_size": 80, "orientations": 1}}, 1, 80),
    ],
)
def test_what_is_foreseen_of_trials_is_what_the_rule_takes_of_an_aligned_frame_where_one_is_tried(
    written, orientations, image_size
):
    survey = Survey.model_validate(SURVEY.model_dump(exclude={"cutout", "recipe", "auto"}) | written)
    found = foreseen(survey).recipe
    assert (found.orientations, found.image_size) == (orientations, image_size)
    tried = [with_choice(survey, one.settings) for one in trials.frames(survey.cutout, survey.auto, [40.0] * 30, 200)]
    frame = max(tried, key=lambda one: one.cutout.align)
    pixels = np.zeros((20, image_size, image_size, 3), np.uint8)
    taken = with_choice(survey, {**trials.by_rule(frame, [40.0] * 20, pixels)}).recipe
    assert (found.orientations, found.image_size) == (taken.orientations, taken.image_size)
    assert foreseen(SURVEY) == SURVEY, "nothing is open"


def test_a_first_run_says_roughly_what_is_left_and_no_forecast_can_end_it(untrained, tmp_path, monkeypatch):
    root = shutil.copytree(untrained, tmp_path / "data")
    shutil.rmtree(root / "lake")
    monkeypatch.setenv("GALAXY_ASSETS_DATA", str(root))
    known, said = survey_files(root).known, {}
    with dg.DagsterInstance.ephemeral() as instance:
        progress = _progress_of(known["tiny"], instance)
        with (
            following(progress.see),
            closing(run_survey(build_defs(root), known["tiny"], known, instance, root)) as run,
        ):
            for outcome in run:
                progress.see_outcome(outcome)
                said |= dict.fromkeys(outcome.assets, str(progress.left()))
                if "cutouts" in said:
                    break
        assert said["delivered_images"].startswith("roughly ") and said["cutouts"].startswith("roughly ")

        def fail(*_: object) -> None:
            raise RuntimeError("of a stranger's network")

        monkeypatch.setattr(first_run, "expected_seconds", fail)
        progress = _progress_of(known["tiny"], instance)
        progress.see(Planned({("results", None): True}, 1))
        assert str(progress.left()) == "time left unknown"
