"""Which classes are proposed: mirror images as one, and the rarest judged as well as sought."""

import pytest

from galaxy_assets.deliveries.onboarding.classes import proposed_classes


def proposed(**labels: int) -> dict:
    ordered = dict(sorted(labels.items(), key=lambda item: -item[1]))
    return {key: (value, reason) for key, value, reason in proposed_classes(ordered)}


@pytest.mark.parametrize(
    ("one", "other", "called"),
    [
        ("spiral_clockwise", "spiral_anticlockwise", "spiral"),
        ("Clockwise spiral", "Counter-clockwise spiral", "spiral"),
        ("SpiralCW", "SpiralACW", "spiral"),
        ("left-handed arm", "right-handed arm", "arm"),
        ("left", "right", "left_or_right"),
        ("clockwise", "anticlockwise", "clockwise_or_anticlockwise"),
    ],
)
def test_mirror_images_are_one_class_and_the_reason_says_so(one, other, called):
    settings = proposed(elliptical=300, **{one: 60, other: 50})
    classes, reason = settings["evaluation.classes"]
    assert classes == [{"name": "elliptical", "labels": ["elliptical"]}, {"name": called, "labels": [one, other]}]
    assert f"{called} joins {one} and {other}: mirror images" in reason
    assert settings["evaluation.maximum_per_class"][0] == 110


def test_a_rare_pair_of_mirror_images_is_sought_together():
    settings = proposed(round=300, spiral_cw=20, spiral_acw=12)
    assert settings["anomaly.labels"][0] == ["spiral_cw", "spiral_acw"] and settings["anomaly.name"][0] == "spiral"


@pytest.mark.parametrize("names", [("left", "elliptical"), ("spiral_clockwise", "bar_anticlockwise"), ("a", "b")])
def test_what_has_no_mirror_image_stays_as_it_is(names):
    classes, reason = proposed(**dict.fromkeys(names, 50))["evaluation.classes"]
    assert {one["name"] for one in classes} == set(names) and "mirror" not in reason


def test_a_class_that_has_the_shared_name_keeps_it():
    classes, _ = proposed(spiral=50, spiral_cw=40, spiral_ccw=30)["evaluation.classes"]
    assert [(one["name"], one["labels"]) for one in classes] == [
        ("spiral_cw_or_spiral_ccw", ["spiral_cw", "spiral_ccw"]),
        ("spiral", ["spiral"]),
    ]


def test_the_rarest_class_is_sought_and_judged_too_where_it_has_enough_images():
    settings = proposed(a=500, b=400, c=300, d=200, e=150, f=100, g=60)
    assert [one["name"] for one in settings["evaluation.classes"][0]] == ["a", "b", "c", "d", "g"]
    assert settings["anomaly.labels"][0] == ["g"] and settings["evaluation.maximum_per_class"][0] == 60
    few = proposed(a=500, b=400, g=9)
    assert [one["name"] for one in few["evaluation.classes"][0]] == ["a", "b"] and few["anomaly.labels"][0] == ["g"]
