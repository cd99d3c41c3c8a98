"""Settings: what is valid, what is refused, and what the shipped surveys say."""

import importlib
import pkgutil
from pathlib import Path

import pytest
from pydantic import ValidationError
from pydantic.fields import FieldInfo

from galaxy_assets import settings
from galaxy_assets.settings.base import Settings
from galaxy_assets.settings.discovery import Anomaly
from galaxy_assets.settings.files import SHIPPED, SurveyError, read_survey, survey_files
from galaxy_assets.settings.recipe import Recipe

MINE = "name: mine\ntitle: Mine\ndescription: d\nsource: {reader: image_folder, path: mine}\n"


def write(tmp_path, text, name="mine.yaml"):
    (tmp_path / "surveys").mkdir(exist_ok=True)
    path = tmp_path / "surveys" / name
    path.write_text(text)
    return path


def test_the_shipped_surveys_are_the_five_and_carry_the_papers_settings():
    surveys = survey_files(Path("/nonexistent")).known
    assert sorted(surveys) == ["demo_optical", "demo_radio", "gz_decals", "mirabest", "sdss_gz1"]
    gz, radio = surveys["gz_decals"], surveys["mirabest"]
    table_1 = {"backbone": "resnet18", "epochs": 20, "learning_rate": 1e-4, "batch_size": 128, "tau": 0.99}
    assert gz.recipe.model_dump().items() >= table_1.items()
    assert (gz.cutout.sigma, gz.cutout.enlarge, gz.cutout.size, gz.variance) == (4, 2, 300, 0.95)
    assert (gz.mixture.components, gz.mixture.weight_concentration_prior, gz.mixture.n_init) == (20, 0.5, 10)
    assert (gz.umap.n_neighbors, gz.umap.min_dist) == (15, 0.01)
    assert (radio.recipe.batch_size, radio.recipe.epochs, radio.cutout.method) == (32, 50, "whole")
    assert radio.start_weights == ("random", "imagenet", "gz_decals", "rgz")


def test_gz_decals_is_searched_as_the_paper_says_and_what_defines_a_merger_is_the_default():
    anomaly = survey_files(Path("/nonexistent")).known["gz_decals"].anomaly
    assert anomaly.learner == "published"
    assert (anomaly.question, anomaly.answers, anomaly.labels) == ("merging", ("merger", "both"), ())
    assert (anomaly.seeds, anomaly.per_round, anomaly.budget, anomaly.trade_off) == (10, 10, 200, 0.5)
    for settings_ in (anomaly, Anomaly()):
        assert (settings_.truth_threshold, settings_.minimum_votes) == (0.4, 10)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (MINE + "recipe: {epoch: 3}\n", "recipe.epoch: there is no such setting"),
        (
            MINE + "recipe: {trainer: moco}\n",
            "recipe.trainer: .*no trainers plug-in 'moco'; registered are byol, byol_py",
        ),
        (MINE + "main_start_weights: rgz\n", "main_start_weights 'rgz' is not among"),
        (MINE + "start_weights: [random, random]\n", "without repeats"),
        (MINE.replace("image_folder", "tape"), "source.reader"),
        (MINE.replace("mine\ntitle", "My Survey\ntitle"), "name"),
        (MINE.replace("name: mine", "name: main"), "'main' is reserved"),
        ("extends: nosuch\n", "shipped surveys are demo_optical"),
        ("- a\n- b\n", "not a survey"),
        ("name: [", "not valid YAML"),
        (MINE + "evaluation: {classes: [{name: a}]}\n", "either cuts .* or labels"),
    ],
)
def test_a_wrong_file_is_named_with_the_reason(tmp_path, text, says):
    path = write(tmp_path, text)
    with pytest.raises(SurveyError, match=says) as caught:
        read_survey(path)
    assert str(path) in str(caught.value)


def test_the_fingerprint_changes_with_any_value_and_not_with_the_order_of_keys():
    recipe = Recipe()
    assert recipe.fingerprint() == Recipe(**dict(reversed(recipe.model_dump().items()))).fingerprint()
    prints = {Recipe(**{name: value}).fingerprint() for name, value in [("seed", 1), ("tau", 0.9), ("epochs", 1)]}
    assert len(prints | {recipe.fingerprint()}) == 4


def test_shipped_files_say_where_their_data_comes_from():
    assert all(read_survey(path).reference for path in SHIPPED.glob("*.yaml"))


def test_a_recipe_is_named_and_changed_and_the_name_alone_will_do(tmp_path):
    paper, small = Recipe(preset="paper"), Recipe()
    assert (paper.image_size, paper.epochs, paper.batch_size, paper.epoch_choice, paper.noise) == (
        300,
        20,
        128,
        "last",
        0,
    )
    assert (paper.batch_norm, paper.freeze_statistics, paper.projection_size) == ("per_view", False, 100)
    assert small.preset == "small" and small.freeze_statistics and small.epoch_choice == "healthy"
    assert (small.batch_norm, small.projection_size) == ("concat", 256)
    assert Recipe(preset="small", noise=0.2).noise == 0.2
    assert read_survey(write(tmp_path, MINE + "recipe: paper\n")).recipe == paper
    over = "extends: mirabest\nname: mine\nrecipe: {preset: small, backbone: tf_efficientnet_lite0}\n"
    mixed = read_survey(write(tmp_path, over)).recipe
    assert (mixed.preset, mixed.epochs, mixed.noise) == ("small", 50, small.noise)
    with pytest.raises(SurveyError, match="recipe.preset: expected 'paper' or 'small'"):
        read_survey(write(tmp_path, MINE + "recipe: tiny\n"))


def test_the_trainer_is_named_and_changes_no_fingerprint_of_older_lakes():
    """The fingerprints below were taken before a recipe could name its trainer, `paper`'s with Table 1's projection."""
    assert (Recipe().fingerprint(), Recipe(preset="paper").fingerprint()) == ("8de252b880a1", "d348747b6c0a")
    assert read_survey(SHIPPED / "sdss_gz1.yaml").recipe.fingerprint() == "a83cc7c1b07a"
    assert Recipe(trainer="byol") == Recipe() and "trainer" not in Recipe().deciding()
    other = Recipe(trainer="byol_pytorch")
    assert other.deciding()["trainer"] == "byol_pytorch" and other.fingerprint() != Recipe().fingerprint()


def models() -> dict[str, type[Settings]]:
    """Every settings model by name."""
    rooms = [
        importlib.import_module(f"{settings.__name__}.{one.name}") for one in pkgutil.iter_modules(settings.__path__)
    ]
    found = [value for room in rooms for value in vars(room).values() if isinstance(value, type)]
    return {one.__name__: one for one in found if issubclass(one, Settings) and one is not Settings}


def test_every_setting_is_described():
    fields: list[tuple[str, str, FieldInfo]] = [
        (model, name, one) for model, of in models().items() for name, one in of.model_fields.items()
    ]
    assert len(fields) > 90
    assert [f"{model}.{name}" for model, name, one in fields if not one.description] == []
    assert [name for name, model in models().items() if not model.__doc__] == []


def test_every_number_has_a_least_value_and_none_is_infinite():
    """A budget, a sample or a seed below it would end in an endless loop or in an error hours later."""
    numbers = {int, float, int | None, float | None}
    open_ended = {
        f"{model}.{name}"
        for model, of in models().items()
        for name, one in of.model_fields.items()
        if one.annotation in numbers and not any(hasattr(rule, "ge") or hasattr(rule, "gt") for rule in one.metadata)
    }
    assert open_ended == set()
    for value in (float("inf"), float("nan")):
        with pytest.raises(ValidationError, match="finite"):
            Recipe(noise=value)


@pytest.mark.parametrize(
    ("survey", "prints"),
    [
        ("demo_optical", ("6772879943c0", "ff1ad5337184")),
        ("sdss_gz1", ("28ac0e4dbff2", "a83cc7c1b07a")),
    ],
)
def test_the_fingerprints_of_existing_lakes_stay(survey, prints):
    settings = survey_files(Path("/nonexistent")).known[survey]
    assert (settings.fingerprint(), settings.recipe.fingerprint()) == prints
