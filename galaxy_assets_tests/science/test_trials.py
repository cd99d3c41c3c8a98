"""Candidates, criteria and the choice: galaxy_assets.science.trials."""

from pathlib import Path

import numpy as np
import pytest

from galaxy_assets.science import trials
from galaxy_assets.science.trials import CRITERIA, NUISANCES, Candidate, Features
from galaxy_assets.settings.cutouts import CutoutSettings
from galaxy_assets.settings.files import survey_files
from galaxy_assets.settings.tuning import KEYS, TRIED

FRAME = [f"cutout.{key}" for key in TRIED["cutout"]]
SIDES = [60.0] * 30 + [100.0] * 30 + [150.0] * 20


def frames(is_open=KEYS, sides=SIDES, frame=400, **given) -> list[Candidate]:
    return trials.frames(CutoutSettings(**given), is_open, sides, frame)


class TestFrames:
    def test_each_way_is_tried_and_fixed_boxes_at_quantiles_of_the_clipped_ones(self):
        found = {one.name: one.settings for one in frames()}
        assert list(found) == [
            *("sigma clip", "flux radius", "flux radius, aligned"),
            *("nearby flux radius", "nearby flux radius, aligned"),
            *("central 100 px", "central 150 px", "whole"),
        ]
        assert found["central 150 px"] == {"cutout.method": "central", "cutout.central_pixels": 150}
        assert "cutout.central_pixels" not in found["nearby flux radius"]
        assert found["flux radius, aligned"]["recipe.rotation_maximum"] == 15
        for settings in found.values():
            CutoutSettings.model_validate(
                {k.removeprefix("cutout."): v for k, v in settings.items() if k.startswith("cutout.")}
            )

    def test_boxes_of_nearly_the_same_side_or_of_the_frame_are_one(self):
        names = [one.name for one in frames(sides=[100.0, 104.0] * 20) if "central" in one.name]
        assert names == ["central 100 px"]
        assert not [one for one in frames(sides=SIDES, frame=100) if "central" in one.name and "150" in one.name]

    def test_without_clipped_boxes_they_are_shares_of_the_frame(self):
        boxes = [one.settings["cutout.central_pixels"] for one in frames(sides=[10.0] * 3, frame=200)[5:-1]]
        assert boxes == [60, 100, 140]

    @pytest.mark.parametrize(
        ("given", "names"),
        [
            ({"method": "central", "central_pixels": 90}, ["central 90 px"]),
            ({"method": "flux_radius"}, ["flux radius", "flux radius, aligned", "nearby flux radius"]),
            ({"method": "flux_radius", "align": True}, ["flux radius, aligned", "nearby flux radius, aligned"]),
            ({"method": "flux_radius", "source": "all"}, ["all flux radius", "all flux radius, aligned"]),
            ({"align": False}, ["sigma clip", "flux radius", "nearby flux radius", "central 100 px"]),
            ({"method": "whole", "size": 100}, ["whole"]),
        ],
    )
    def test_what_a_person_set_holds_for_every_candidate(self, given, names):
        found = frames([key for key in FRAME if key.removeprefix("cutout.") not in given], **given)
        assert [one.name for one in found][: len(names)] == names
        for one in found:
            assert not {f"cutout.{key}" for key in given} & set(one.settings)

    def test_a_setting_that_no_candidate_knows_is_the_only_one(self):
        (one,) = frames(["cutout.align"], method="whole")
        assert one == Candidate("as set (whole)", {}) or one.name == "whole"


def test_a_stored_cutout_holds_nine_of_ten_boxes_and_what_the_network_reads():
    assert trials.stored_size([200.0] * 19 + [900.0], 64) == 200
    assert trials.stored_size([30.0], 64) > 64 and trials.stored_size([2000.0], 64) == 300
    for side in (30.0, 200.0, 2000.0):
        assert trials.stored_size([side], 512) == 512, "none is enlarged from less"
        CutoutSettings(size=trials.stored_size([side], 2048))


@pytest.mark.parametrize(("align", "orientations"), [(True, 4), (False, 8)])
def test_image_size_and_orientations_follow_from_the_frame(align, orientations):
    survey = survey_files(Path("/nonexistent")).named("demo_radio")
    survey = survey.model_copy(update={"cutout": CutoutSettings(method="flux_radius", align=align)})
    for side, stored in ((64, 150), (512, 512)):
        alike = np.full((3, side, side, 1), 90, np.uint8)
        assert trials.by_rule(survey, [150.0] * 10, alike) == {
            "cutout.size": stored,
            "recipe.image_size": side,
            "recipe.orientations": orientations,
            "recipe.contrast": 0.2,
        }


def sky_and_galaxy(side: int, level: int = 20) -> np.ndarray:
    rng = np.random.default_rng(side)
    image = rng.normal(level, 2, (64, 64))
    y, x = np.mgrid[:64, :64] - 31.5
    image[(abs(x) < side / 2) & (abs(y) < side / 2)] += 100
    return image.clip(0, 255).astype(np.uint8)[..., None]


def test_fill_is_the_share_that_a_galaxy_takes_whatever_the_sky():
    for side in (8, 16, 32):
        for level in (20, 120):
            assert trials.fill(sky_and_galaxy(side, level)[None]) == pytest.approx(side**2 / 64**2, abs=0.003)
    assert trials.fill(np.full((2, 64, 64, 1), 7, np.uint8)).tolist() == [0, 0]


@pytest.mark.parametrize(("frame", "side"), [(400, 280), (12, 12), (0, 1)])
def test_of_fixed_boxes_alone_each_has_a_side_also_in_frames_of_a_few_pixels(frame, side):
    found = frames(["cutout.central_pixels"], sides=[], frame=frame, method="central")
    assert found[-1].settings == {"cutout.central_pixels": side} and all(one.settings for one in found)


def test_nuisances_are_of_the_border_and_the_box():
    pixels = np.stack([sky_and_galaxy(16, 20), sky_and_galaxy(32, 60)])
    found = trials.nuisances(pixels, [40, 50], [200, 240])
    assert found.shape == (2, len(NUISANCES))
    assert found[:, 0] == pytest.approx([20, 60], abs=0.6) and found[:, 1] == pytest.approx([1.35, 1.35], abs=0.7)
    assert found[:, 2:].tolist() == [[40, 200], [50, 240]]


def test_the_share_that_nuisances_explain():
    rng = np.random.default_rng(0)
    by, own = rng.normal(size=(2000, 2)), rng.normal(size=(2000, 1))
    half = np.hstack([by[:, :1] * 3, own * by[:, :1].std() * 3])
    assert trials.explained_share(half, by) == pytest.approx(0.5, abs=0.03)
    assert trials.explained_share(own, by) < 0.01
    assert trials.explained_share(half, by * [1000, 1e-6]) == pytest.approx(trials.explained_share(half, by))
    assert trials.explained_share(half, np.full((2000, 2), 7.0)) == 0


@pytest.mark.parametrize(("n", "columns"), [(20, 4), (25, 8), (60, 8), (1000, 8)])
def test_numbers_at_random_explain_nothing_in_the_mean_however_many_they_are(n, columns):
    rng = np.random.default_rng(n)
    shares = [trials.explained_share(rng.normal(size=(n, 32)), rng.normal(size=(n, columns))) for _ in range(200)]
    assert abs(np.mean(shares)) < 4 * np.std(shares) / np.sqrt(200)


def test_a_box_of_fixed_side_is_no_better_for_that_its_side_explains_nothing():
    rng = np.random.default_rng(1)
    features, sky, side = rng.normal(size=(24, 16)), rng.normal(size=(24, 4)), rng.normal(size=(24, 4))
    fixed = trials.explained_share(features, np.hstack([sky, np.full((24, 4), 90.0)]))
    assert fixed == trials.explained_share(features, sky)
    assert trials.explained_share(features, np.hstack([sky, side])) < fixed + 0.1
    assert trials.explained_share(features[:5], sky[:5]) == 0, "four columns explain anything of five images"


def test_features_that_views_leave_alone_are_the_stablest():
    rng = np.random.default_rng(0)
    plain, pixels = rng.normal(size=(200, 16)), rng.integers(0, 255, (200, 16, 16, 1), np.uint8)

    def measured(noise: float) -> dict[str, float]:
        views = [plain + rng.normal(0, noise, plain.shape) for _ in range(2)]
        return trials.criteria(Features(plain, *views), pixels, rng.normal(size=(200, 4)))

    little, much = measured(0.1), measured(1.0)
    assert set(little) == set(CRITERIA) and little["stability"] > 1.5 * much["stability"]


def row(name: str, stability: float, nuisance_share: float, fill: float) -> dict:
    return {"candidate": name, "stability": stability, "nuisance_share": nuisance_share, "fill": fill, "empty": 0.01}


def test_the_best_of_three_criteria_together_is_chosen():
    rows = [row("stable", 0.3, 0.6, 0.05), row("all", 0.25, 0.1, 0.3), row("plain", 0.1, 0.0, 0.05)]
    index, reason = trials.choose(rows)
    assert index == 1 and reason.startswith("all: stability 0.250, nuisance 0.100, fill 0.300; score +")
    assert "of 3 candidates" in reason
    found = trials.scores(rows)
    by_hand = np.zeros(3)
    for name, sign in (("stability", 1), ("nuisance_share", -1), ("fill", 1)):
        values = np.array([one[name] for one in rows])
        by_hand += sign * (values - values.mean()) / values.std() / 3
    np.testing.assert_allclose(found, by_hand)
    assert found.sum() == pytest.approx(0, abs=1e-8)


@pytest.mark.parametrize("name", ["stability", "nuisance_share", "fill"])
def test_each_criterion_decides_between_candidates_that_are_equal_otherwise(name):
    same = {"stability": 0.2, "nuisance_share": 0.2, "fill": 0.2, "empty": 0.0}
    better = same | {name: 0.1 if name == "nuisance_share" else 0.3}
    rows = [{"candidate": "a"} | same, {"candidate": "b"} | better, {"candidate": "c"} | better]
    assert trials.choose(rows)[0] == 1, "the first of equal ones"
    assert trials.choose([rows[0]] * 3)[0] == 0


def test_the_first_of_equal_ones_is_chosen_whatever_the_rounding():
    rng = np.random.default_rng(0)
    for stability, nuisance, fill in rng.uniform(0.1, 0.9, (200, 3)):
        more, less = rng.uniform(0.01, 0.1, 2)
        one, two = row("a", stability + more, nuisance, fill), row("b", stability, nuisance - less, fill)
        for rows in ([one, two], [two, one]):
            index, reason = trials.choose(rows)
            assert index == 0 and "score +0.00, next" in reason and ", +0.00, of 2" in reason


def test_a_difference_that_says_nothing_has_no_weight():
    good, bad = row("good", 0.5, 0.1000001, 0.2999999), row("bad", 0.1, 0.1, 0.3)
    assert trials.choose([bad, good])[0] == 1
    assert trials.scores([bad, good]) == pytest.approx([-1 / 3, 1 / 3], abs=1e-3)


def test_candidates_that_cut_alike_are_one():
    wide, tight, nearly = ([bytes([n]) for n in one] for one in ([1, 2, 3], [4, 5, 6], [1, 2, 7]))
    assert trials.distinct([wide, tight, wide, nearly, tight]) == [0, 1, 3]


def test_a_frame_that_loses_galaxies_which_another_shows_is_not_chosen():
    tight, wide = row("tight", 0.4, 0.0, 0.5), row("wide", 0.2, 0.1, 0.1)
    assert trials.choose([wide, tight])[0] == 1
    assert trials.choose([wide, tight | {"empty": 0.025}])[0] == 1, "less than two in a hundred more"
    assert trials.choose([wide, tight | {"empty": 0.04}])[0] == 0
    for lost in np.arange(0, 0.9, 0.01):
        pair = [wide | {"empty": lost}, tight | {"empty": round(lost + 0.02, 2)}]
        assert trials.choose(pair)[0] == 1, "two in a hundred more are not more than that"
    pixels = np.zeros((4, 32, 32, 1), np.uint8)
    pixels[:3, 10:20, 10:20] = 200
    features = Features(*np.random.default_rng(0).normal(size=(3, 4, 8)))
    assert trials.criteria(features, pixels, np.ones((4, 4)))["empty"] == 0.25


def test_views_are_drawn_as_in_training_and_alike_at_every_call():
    import torch

    from galaxy_assets.science.encoders.network import Encoder
    from galaxy_assets.settings.recipe import Recipe

    network = torch.nn.Sequential(torch.nn.AdaptiveAvgPool2d(4), torch.nn.Flatten())
    encoder = Encoder(network, backbone="", start="", feature_size=48, mean=(0.0,) * 3, std=(1.0,) * 3)
    pixels = np.random.default_rng(0).integers(0, 255, (70, 32, 32, 3), np.uint8)

    def features(**recipe: float) -> Features:
        return trials.features_of(encoder, pixels, Recipe.model_validate(recipe), 1, torch.device("cpu"))

    once, again = features(), features()
    assert all((a == b).all() for a, b in zip(once, again, strict=True))
    assert np.abs(once.one - once.two).max() > 0.01
    off = dict.fromkeys(("blur_probability", "flip_probability", "crop_probability", "rotation_probability"), 0)
    still = features(**off, contrast=0, noise=0)
    np.testing.assert_allclose(still.one, still.plain, atol=1e-5)
