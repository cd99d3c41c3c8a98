"""Candidates, criteria and the choice: galaxy_assets.science.trials."""

import numpy as np
import pytest

from galaxy_assets.science import trials
from galaxy_assets.science.cutouts import cut
from galaxy_assets.science.trials import CRITERIA, NUISANCES, Candidate, Features
from galaxy_assets.settings.cutouts import CutoutSettings
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
            *("central 50 px", "central 100 px", "central 150 px", "whole"),
        ]
        assert found["central 150 px"] == {"cutout.method": "central", "cutout.central_pixels": 150}
        assert found["nearby flux radius"]["cutout.central_pixels"] == 150
        assert found["flux radius, aligned"]["recipe.rotation_maximum"] == 15
        for settings in found.values():
            CutoutSettings.model_validate(
                {k.removeprefix("cutout."): v for k, v in settings.items() if k.startswith("cutout.")}
            )

    def test_boxes_of_nearly_the_same_side_or_of_the_frame_are_one(self):
        names = [one.name for one in frames(sides=[100.0, 104.0] * 20) if "central" in one.name]
        assert names == ["central 51 px", "central 100 px"]
        assert not [one for one in frames(sides=SIDES, frame=100) if "central" in one.name and "150" in one.name]

    def test_without_clipped_boxes_they_are_shares_of_the_frame(self):
        boxes = [one.settings["cutout.central_pixels"] for one in frames(sides=[10.0] * 3, frame=200)[5:-1]]
        assert boxes == [30, 60, 100, 140]

    @pytest.mark.parametrize(
        ("given", "names"),
        [
            ({"method": "central", "central_pixels": 90}, ["central 90 px"]),
            ({"method": "flux_radius"}, ["flux radius", "flux radius, aligned", "nearby flux radius"]),
            ({"method": "flux_radius", "align": True}, ["flux radius, aligned", "nearby flux radius, aligned"]),
            ({"method": "flux_radius", "source": "all"}, ["all flux radius", "all flux radius, aligned"]),
            ({"align": False}, ["sigma clip", "flux radius", "nearby flux radius", "central 50 px"]),
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


def test_a_stored_cutout_holds_nine_of_ten_boxes_and_every_image_size():
    assert trials.stored_size([200.0] * 19 + [900.0]) == 200
    assert trials.stored_size([30.0]) == max(trials.IMAGE_SIZES) and trials.stored_size([2000.0]) == 300


def test_what_is_seen_of_an_image_is_its_sky_its_source_and_its_place():
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:200, :240]
    image = 10 + rng.normal(0, 2, (200, 240)) + 300 * np.exp(-((x - 123) ** 2 + (y - 103) ** 2) / 50)
    seen = trials.seen(image.shape, cut(image, CutoutSettings(size=16)), 4.0)
    found = dict(zip(NUISANCES, seen.nuisance, strict=True))
    assert found["sky"] == pytest.approx(10, abs=0.3) and found["noise"] == pytest.approx(2, abs=0.1)
    assert found["offset"] == pytest.approx(np.hypot(3, 3), abs=1.5) and found["source"] == pytest.approx(25, abs=8)
    assert (found["width"], found["height"]) == (240, 200) and seen.side is not None
    blank = trials.seen((200, 200), cut(rng.normal(0, 1, (200, 200)), CutoutSettings(size=16)), 4.0)
    assert blank.side is None and np.isnan(blank.nuisance[2])


def test_the_share_that_nuisances_explain():
    rng = np.random.default_rng(0)
    by, own = rng.normal(size=(2000, 2)), rng.normal(size=(2000, 1))
    by[::7, 1] = np.nan
    half = np.hstack([by[:, :1] * 3, own * by[:, :1].std() * 3])
    assert trials.explained_share(half, by) == pytest.approx(0.5, abs=0.03)
    assert trials.explained_share(own, by) < 0.01
    assert trials.explained_share(half, by * [1000, 1e-6]) == pytest.approx(trials.explained_share(half, by))
    assert trials.explained_share(half, np.full((2000, 2), np.nan)) == 0


def test_features_that_views_leave_alone_are_the_stablest():
    rng = np.random.default_rng(0)
    plain = rng.normal(size=(200, 16))

    def scored(noise: float) -> dict[str, float]:
        views = [plain + rng.normal(0, noise, plain.shape) for _ in range(2)]
        return trials.score(Features(plain, *views), rng.normal(size=(200, 6)))

    little, much = scored(0.1), scored(1.0)
    assert set(little) == set(CRITERIA) and little["stability"] > 1.5 * much["stability"]
    rows = [{"candidate": name, **row} for name, row in (("a", much), ("b", little), ("c", little))]
    index, reason = trials.choose(rows)
    assert index == 1 and reason.startswith("b: ") and "of 3 candidates" in reason


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
