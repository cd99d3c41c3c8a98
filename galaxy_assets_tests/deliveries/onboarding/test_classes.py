"""Which classes are proposed: mirror images as one, and the rarest judged as well as sought."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from galaxy_assets.deliveries.onboarding.classes import proposed_classes


def ordered(labels: dict[str, int]) -> dict[str, int]:
    return dict(sorted(labels.items(), key=lambda item: -item[1]))


def proposed(**labels: int) -> dict:
    return {key: (value, reason) for key, value, reason in proposed_classes(ordered(labels)).settings}


@pytest.mark.parametrize(
    ("one", "other", "called"),
    [
        ("spiral_clockwise", "spiral_anticlockwise", "spiral"),
        ("Clockwise spiral", "Counter-clockwise spiral", "spiral"),
        ("SpiralCW", "SpiralACW", "spiral"),
        ("left-handed arm", "right-handed arm", "arm"),
        ("spiral (clockwise)", "spiral (anticlockwise)", "spiral"),
        ("Sb, CW", "Sb, CCW", "sb"),
        ("S", "Z", "S_or_Z"),
        ("spiral S", "spiral Z", "spiral"),
        ("SpiralS", "SpiralZ", "spiral"),
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


def test_names_that_differ_in_spelling_alone_are_told():
    told = " ".join(proposed_classes({"bent": 30, "FRII": 25, "Bent": 20, "Fr II": 15, "FR-II": 10, "??": 9}).cautions)
    assert "bent and Bent differ in spelling alone" in told and "FRII and Fr II and FR-II differ" in told
    assert "spelling" not in " ".join(
        proposed_classes({"Sb": 30, "SB": 25, "A": 9, "A-": 9, "ring": 9, "ring?": 9}).cautions
    )
    assert "spelling" not in " ".join(
        proposed_classes({"FRI": 30, "FRII": 25, "1": 9, "-2": 9, "2": 9, "-3": 9, "1.5": 9, "15": 9}).cautions
    )


def test_spellings_of_one_class_are_one_class_and_it_is_said():
    settings, told = proposed_classes(
        {"FR I": 40, "FRII": 30, "FR-I": 20, "FRI": 12, "FR II": 11, "merger ": 5, "Merger": 2}
    )
    values = {key: (value, reason) for key, value, reason in settings}
    classes, reason = values["evaluation.classes"]
    assert classes == [
        {"name": "FRI", "labels": ["FR I", "FR-I", "FRI"]}, {"name": "FRII", "labels": ["FRII", "FR II"]}
    ]  # fmt: skip
    assert "FRI joins FR I and FR-I and FRI: spellings of one." in reason
    assert values["evaluation.maximum_per_class"][0] == 41 and values["anomaly.labels"][0] == ["merger ", "Merger"]
    assert told[0] == (
        "FR I and FR-I and FRI differ in spelling alone, and are one class, FRI: if they are not, take them apart in "
        "`evaluation.classes` and in `anomaly.labels`."
    )
    mirrored, _ = proposed(elliptical=300, **{"spiral cw": 40, "Spiral_CW": 20, "spiral acw": 50})["evaluation.classes"]
    assert mirrored[1]["name"] == "spiral" and {*mirrored[1]["labels"]} == {"spiral cw", "Spiral_CW", "spiral acw"}


@pytest.mark.parametrize(
    ("one", "other"),
    [("SB pec", "Sb pec"), ("SA(r)", "Sa(r)"), ("SBpec", "Sbpec"), ("SB(r)", "Sb(r)"), ("E pec", "e pec"),
     ("dE,N", "DE,N"), ("SABc", "Sabc"), ("SB_Pec", "Sb pec"), ("(R)SAB", "(R)Sab"), ("(R')SBc", "(R')Sbc"),
     ("SBc1", "Sbc1"), ("Sbc HII", "SBc HII")],
)  # fmt: skip
def test_a_type_of_hubble_is_told_by_case(one, other):
    settings, told = proposed_classes({one: 40, other: 30, "lens": 8})
    values = {key: value for key, value, _ in settings}
    assert [kind["labels"] for kind in values["evaluation.classes"]] == [[one], [other]]
    assert told[0] == (
        f"{one} and {other} differ in spelling alone, and are classes of their own: if they are one, write them alike, "
        "or join them in `evaluation.classes`."
    )


@pytest.mark.parametrize(
    "alike", [("Irr", "IRR", "irr"), ("SB r", "SBr"), ("edge-on", "Edge-On"), ("Spiral", "SPIRAL")]
)
def test_words_are_one_class_in_any_case_and_a_type_of_hubble_in_any_blanks(alike):
    values = {key: value for key, value, _ in proposed_classes({"lens": 30} | dict.fromkeys(alike, 20)).settings}
    assert {tuple(one["labels"]) for one in values["evaluation.classes"]} == {("lens",), alike}


@pytest.mark.parametrize(
    "unknown",
    ["unk", "UNK", "unkn", "unclear", "undefined", "?", "??", "undetermined", "unidentified", "Unknown type",
     "not known", "no consensus", "indeterminate", "missing", "(unknown)", "unassigned", "dunno", "couldn't tell"],
)  # fmt: skip
def test_that_nobody_knew_is_no_class_in_many_words(unknown):
    settings, told = proposed_classes({"spiral": 50, "elliptical": 40, unknown: 12, "merger": 8})
    values = {key: value for key, value, _ in settings}
    assert [one["name"] for one in values["evaluation.classes"]] == ["spiral", "elliptical"]
    assert values["anomaly.labels"] == ["merger"]
    assert f"{unknown}: neither judged nor sought, since that says that there is no class, or no galaxy." in told


@pytest.mark.parametrize("number", ["9", "0", "3.0"])
def test_a_rare_number_among_words_is_judged_and_not_sought_nor_is_the_next(number):
    settings, told = proposed_classes({"spiral": 50, "elliptical": 40, "merger": 12, number: 11})
    values = {key: value for key, value, _ in settings}
    assert [one["name"] for one in values["evaluation.classes"]] == ["spiral", "elliptical", "merger", number]
    assert "anomaly.labels" not in values
    assert f"The rarest class, {number}, is a number among words: nothing is sought until" in " ".join(told)


@pytest.mark.parametrize(
    "labels",
    [{"II": 40, "I": 30, "0": 15, "I/II": 10}, {"II": 40, "I": 35, "0": 20, "hybrid": 5},
     {"FRI": 40, "FR II": 30, "0": 9}, {"2": 40, "3": 20, "none": 20, "4+": 12, "many": 9},
     {"none": 60, "2": 20, "4": 10, "ring": 8, "arc": 7}, {"1": 50, "2": 40, "9": 12},
     {"I": 50, "II": 40, "0": 12}, {"1": 50, "2": 40, "merger": 12}],
)  # fmt: skip
def test_numbers_among_words_or_beside_roman_ones_are_classes(labels):
    settings, told = proposed_classes(labels)
    judged = [one["name"] for one in {key: value for key, value, _ in settings}["evaluation.classes"]]
    assert {label for label in labels if label.isdigit() and labels[label] > 9} <= {*judged}
    assert "a number among words" not in " ".join(told)


@pytest.mark.parametrize("code", ["-9", "-99", "999", "-999.0", "9999"])
def test_what_programs_write_for_nothing_is_no_class_however_frequent(code):
    for labels in ({"spiral": 50, "elliptical": 40, code: 70}, {"spiral": 50, "elliptical": 40, "merger": 5, code: 2}):
        found = proposed_classes(labels)
        values = {key: value for key, value, _ in found.settings}
        assert [one["name"] for one in values["evaluation.classes"]] == ["spiral", "elliptical"]
        assert any(said.startswith(f"{code}: neither judged nor sought, since") for said in found.cautions)
        assert values.get("anomaly.labels", ["merger"]) == ["merger"]


@pytest.mark.parametrize(("yes", "no"), [("1", "0"), ("1.0", "0.0"), ("True", "False"), ("Y", "N"), ("yes", "no")])
def test_a_rare_yes_is_sought_by_the_name_of_its_column(yes, no):
    def sought(labels: dict[str, int]) -> dict:
        return {key: value for key, value, _ in proposed_classes(labels, thing="lens").settings}

    assert sought({no: 90, yes: 10})["anomaly.name"] == "lens" and sought({no: 90, yes: 10})["anomaly.labels"] == [yes]
    assert "anomaly.name" not in sought({no: 50, yes: 50}) and "anomaly.name" not in sought({yes: 90, no: 10})
    assert sought({"2": 90, "3": 60, "1": 10})["anomaly.name"] == "1", "codes are no yes"


def test_a_rare_pair_of_mirror_images_is_sought_together():
    settings = proposed(round=300, spiral_cw=20, spiral_acw=12)
    assert settings["anomaly.labels"][0] == ["spiral_cw", "spiral_acw"] and settings["anomaly.name"][0] == "spiral"


@pytest.mark.parametrize(
    "names",
    [
        ("left", "elliptical"),
        ("spiral_clockwise", "bar_anticlockwise"),
        ("a", "b"),
        ("S", "S0"),
        ("S", "Sa"),
        ("spiral S", "spiral cw"),
        ("cw", "clockwise"),
    ],
)
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


@pytest.mark.parametrize(
    ("labels", "judged", "sought", "says"),
    [
        ({"star": 3044, "galaxy": 942}, ["star", "galaxy"], None, "galaxy, has 942 of 3,986 labelled images"),
        ({"star": 90, "E": 500, "S": 400}, ["E", "S"], None, "star: neither judged nor sought"),
        ({"star": 90, "cw": 500, "acw": 400}, ["cw_or_acw", "star"], None, "cw_or_acw joins cw and acw: mirror images"),
        ({"none": 980, "lens": 20}, ["none", "lens"], ["lens"], ""),
        ({"galaxy": 950, "artefact": 50}, ["galaxy", "artefact"], None, "The rarest class left, galaxy"),
        ({"cw": 500, "acw": 400}, [], None, "No classes are judged.*: only cw_or_acw has 18 images or more"),
        ({"E": 9, "S": 8}, [], None, "No classes are judged.*: no class has 10 images or more"),
        ({"NA": 50, "E": 900, "S": 400, "unlabeled": 40}, ["E", "S"], None, "NA, unlabeled: neither judged"),
        ({"-1": 50, "0": 900, "1": 400}, ["0", "1"], None, "-1: neither judged"),
        ({"-1": 40, "1": 900}, ["1", "-1"], ["-1"], ""),
        ({"-1": 40, "-3": 900, "2": 400}, ["-3", "2", "-1"], ["-1"], ""),
        ({"E": 500, "S": 400, "Spirall": 1, "merger": 9}, ["E", "S"], ["merger"], "merger, Spirall: not judged, for"),
        ({f"T{i}": 9 for i in range(60)}, [], None, "There are 60 classes, of which the rarest says little"),
        ({f"c{i}": 100 - i for i in range(7)}, ["c0", "c1", "c2", "c3", "c6"], ["c6"], "c4, c5: not judged"),
        ({"E": 500, "merger": 1}, [], None, "merger: not sought, for want of 2 images. The rarest class left, E"),
        ({"E": 25, "S": 16, "edge": 11, "merger": 1}, ["E", "S", "edge"], None, "left, edge, has 11 of 53"),
        ({"E": 500, "S": 400, "lens": 9, "ring": 9}, ["E", "S"], None, "classes, lens, ring, have 9 images each"),
        ({}, [], None, ""),
    ],
)  # fmt: skip
def test_what_is_not_judged_and_not_sought_is_said(labels, judged, sought, says):
    settings, cautions = proposed_classes(ordered(labels))
    values = {key: value for key, value, _ in settings}
    assert [one["name"] for one in values.get("evaluation.classes", [])] == judged
    assert values.get("anomaly.labels") == sought
    assert re.search(says, " ".join(cautions)) and bool(cautions) >= bool(says)


@pytest.mark.parametrize(
    "flaw",
    ["ghost", "Cosmic Ray", "bad data", "low quality", "problem", "noise", "noisy image", "empty", "invalid", "TBD",
     "undecided", "ambiguous", "blend", "image defect", "trail", "satellite trail", "star/artefact",
     "Other/artefact", "normal"],
)  # fmt: skip
def test_flaws_of_images_are_not_sought_and_the_rarest_kind_is(flaw):
    settings, said = proposed_classes({"E": 500, "S": 400, "polar ring": 30, flaw: 25})
    values = {key: value for key, value, _ in settings}
    assert values["anomaly.labels"] == ["polar ring"]
    assert flaw in [one["name"] for one in values["evaluation.classes"]], "judged as it was"
    assert f"{flaw}: not sought, since that names a flaw, or what is ordinary or absent." in said


@pytest.mark.parametrize(
    "kind", ["star-forming ring", "ghost galaxy", "irregular", "no bulge", "low surface brightness", "satellite"]
)
def test_kinds_with_such_a_word_are_sought(kind):
    assert proposed(E=500, S=400, **{kind: 20})["anomaly.labels"][0] == [kind]


@pytest.mark.parametrize(
    ("thing", "absent"),
    [("lens", "not_lens"), ("lens", "non-lens"), ("lens", "nolens"), ("lens", "not a lens"), ("yes", "no"), ("1", "0"),
     ("True", "False"), ("anomaly", "normal")],
)  # fmt: skip
def test_what_is_absent_is_not_sought_and_the_thing_where_it_is_rare(thing, absent):
    assert proposed(**{absent: 500, thing: 20})["anomaly.labels"][0] == [thing]
    settings, said = proposed_classes({thing: 500, absent: 20})
    assert "anomaly.labels" not in {key for key, *_ in settings}
    assert any(f"class left, {thing}, has 500 of 520" in one and "nothing is sought" in one for one in said)


@pytest.mark.parametrize("rare", ["nova", "nodule", "non-barred", "no bulge", "notch"])
def test_a_kind_that_begins_like_a_no_is_sought(rare):
    assert proposed(spiral=500, elliptical=400, **{rare: 20})["anomaly.labels"][0] == [rare]
    alone = proposed(spiral=500, **{rare: 20}).get("anomaly.labels")
    assert (alone is not None) == (" " not in rare and "-" not in rare)


@given(
    st.dictionaries(
        st.sampled_from([*"ESZ", "S0", "cw", "acw", "star", "-1", "0", "1", "NA", "?", "none"]), st.integers(1, 300)
    )
)
def test_every_label_is_judged_and_sought_or_it_is_said_that_it_is_not(labels):
    settings, cautions = proposed_classes(ordered(labels))
    values = {key: value for key, value, _ in settings}
    judged = [label for one in values.get("evaluation.classes", []) for label in one["labels"]]
    assert len(judged) == len(set(judged)) and set(judged) <= set(labels) and len({*values}) != 1
    for label in set(labels) - set(judged):
        assert any(label in one or "No classes are judged" in one for one in cautions)
    if labels and "anomaly.labels" not in values:
        assert any("nothing is sought" in one or "No classes are judged" in one for one in cautions)
