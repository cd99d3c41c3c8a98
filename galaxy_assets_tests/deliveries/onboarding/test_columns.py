"""Which column names the images and which holds the classes: by names and by values, and what is said of the choice."""

import re
from pathlib import Path

import numpy as np
import pandas
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from galaxy_assets.deliveries.onboarding import column_pairs
from galaxy_assets.deliveries.onboarding.columns import Chosen, class_column, id_column, named_by, why_no_classes
from galaxy_assets.deliveries.onboarding.folders import folder_labels
from galaxy_assets.deliveries.onboarding.inspect import inspect
from galaxy_assets.deliveries.onboarding.labels import inside_labels, inspect_labels
from galaxy_assets.deliveries.onboarding.names import affix_of
from galaxy_assets.deliveries.onboarding.propose import settings_for
from galaxy_assets.deliveries.onboarding.report import cautions
from galaxy_assets.deliveries.readers import open_reader
from galaxy_assets.deliveries.readers.tables import RoundedIds, ids_of, labels_of
from galaxy_assets.settings.files import SurveyError

TABLE = Path("t.csv")


def chosen(images: list[str], **columns: list):
    files = {name.removesuffix(".png"): name for name in images}
    table = pa.table(columns)
    return id_column(TABLE, table, files, named_by(table, files))


@pytest.mark.parametrize("numbering", ["column_1", "Unnamed: 0", "index", "__index_level_0__"])
@given(st.permutations(range(30)), st.integers(1, 30), st.integers(0, 80))
def test_a_column_that_numbers_the_rows_never_comes_before_names(numbering, order, here, elsewhere):
    names = [f"{i}.png" for i in order[:here]] + [f"{i}.png" for i in range(100, 100 + elsewhere)]
    columns = {numbering: [str(i) for i in range(len(names))], "filename": names}
    column, notes = chosen([f"{i}.png" for i in range(30)], **columns)
    if 10 * here >= min(len(names), 30):
        assert column == "filename"
    if column == "filename" and here == 30 and order != list(range(30)):
        assert f"{numbering} has such names too, of" in " ".join(notes)


@pytest.mark.parametrize("numbering", ["column_1", "index", "row"])
@given(st.permutations(range(60)), st.data())
def test_classes_and_counts_never_come_before_the_numbers_of_the_images(numbering, order, drawn):
    def whole(most: int) -> list[str]:
        return [str(n) for n in drawn.draw(st.lists(st.integers(0, most), min_size=60, max_size=60))]

    columns = {numbering: [str(i) for i in order], "label": whole(59), "n_votes": whole(40), "zbin": whole(9)}
    assert chosen([f"{i}.png" for i in range(60)], **columns).column == numbering


@given(st.permutations(range(30)), st.integers(2, 5), st.integers(10, 30))
def test_names_that_have_several_rows_come_before_a_number_of_the_row(order, again, n):
    names = [f"{i}" for i in order[:n]] * (again if n == 30 else 5)
    columns = {
        "column_1": [str(i) for i in range(len(names))],
        "subject": names,
        "answer": [*"01" * len(names)][: len(names)],
    }
    assert chosen([f"{i}.png" for i in range(30)], **columns).column == "subject"


@pytest.mark.parametrize(
    ("columns", "column"),
    [
        ({"id": [*"210"], "shown": ["0.png", "1.png", "2.png"]}, "shown"),
        ({"rank": [*"210"], "objid": [*"012"]}, "objid"),
        ({"class": [*"012"], "stamp": [*"012"]}, "stamp"),
        ({"column_1": ["0", "1", "2"], "column_2": ["a", "b", "a"]}, "column_1"),
        ({"id": ["x", "y", "0"], "cutout": [*"012"]}, "cutout"),
    ],
)
def test_names_of_files_come_first_and_then_known_names(columns, column):
    assert chosen(["0.png", "1.png", "2.png"], **columns).column == column


def test_two_columns_of_names_that_differ_are_asked_for():
    with pytest.raises(SurveyError, match="columns id and name both name the images, and 2 of them in.*--id-column"):
        chosen(["0.png", "1.png", "2.png"], id=[*"012"], name=[*"021"])
    assert chosen(["0.png", "1.png"], id=[*"01"], name=[*"01"]) == ("id", [])


@pytest.mark.parametrize(
    ("columns", "column", "says"),
    [
        ({"objid": [str(587721000 + i) for i in range(100)]}, None, "objid holds 100 different values in 100 rows"),
        ({"mag": [f"17.{i % 7}1" for i in range(100)]}, None, "mag holds decimal numbers"),
        ({"mag": [f"0,{i % 7}1" for i in range(100)]}, None, "mag holds decimal numbers"),
        ({"mag": [17 + i / 7 for i in range(100)]}, None, "mag holds decimal numbers"),
        ({"comment": ["", "", "nice", "check"] * 1 + [""] * 96}, None, "comment holds 2 different values in 2 rows"),
        ({"type": ["3"] * 100, "gz2class": [*"ab"] * 50}, "gz2class", "by its name (--label-column)"),
        ({"type": ["3"] * 100}, None, "type holds 3 in every row"),
        ({"type": ["3", "6"] * 50, "gz2class": [*"ab"] * 50}, "type", "gz2class may hold them too"),
        ({"target_id": [f"{i}" for i in range(100)], "gz2class": [*"ab"] * 50, "x": [*"cd"] * 50}, "gz2class", "x may"),
        ({"subclass": [*"ab"] * 50, "mine": [*"cd"] * 50}, "subclass", "mine may hold them too"),
        ({"TYPE": ["PSF"] * 5 + ["REX"] * 3, "mine": [*"abc"] * 2 + ["a", "b"]}, "TYPE", "mine may hold them too"),
        ({"type": ["PSF"] * 5}, None, "type holds PSF in every row"),
        ({"ring": ["0", "1"] * 50, "mag": [0.5] * 100}, "ring", "as the only one that may hold them"),
        ({"kind": ["disc", "ring", None, "disc"] * 25}, "kind", "as the only one that may hold them"),
        ({"field": [str(i // 2) for i in range(200)]}, None, "field holds 100 different numbers"),
        ({"label": ["a", "b", "c"]}, "label", ""),
        ({"user": ["ann", "bob"] * 50}, None, "user says who looked"),
        ({"Labeller": ["ann", "bob"] * 50, "bar": [*"yn"] * 50}, "bar", "Labeller may hold them too"),
        ({"classifier": ["E", "S", "merger"] * 30, "user_id": ["ann", "bob"] * 45}, "classifier", "as the only one"),
        ({"class": [*"ab"] * 50, "labeler": ["ann", "bob"] * 50}, "class", ""),
        ({"comment": ["lens", "", "", "", ""] * 20}, None, "comment holds lens in 20 of 100 rows and nothing in the"),
        ({"p_ring": ["0.0", "1"] * 50}, None, "p_ring holds fractions of votes or probabilities"),
        ({"p_class": ["0", "1"] * 50}, "p_class", "by its name"),
        ({"type_prob": [0.0, 1.0] * 50}, "type_prob", "by its name"),
        ({"p_class": [0.0, 0.5, 1.0] * 30}, None, "p_class holds fractions of votes or probabilities"),
        ({"LensProb": ["0.0", "1"] * 50}, None, "LensProb holds fractions of votes or probabilities"),
        ({"probLens": [0.25, 1] * 50}, None, "probLens holds fractions of votes or probabilities"),
        ({"a_fraction": ["0.0", "0,5", "0"] * 30, "GZ_P_CW": [0.0, 1.0, 0.25] * 30}, None, "a_fraction, GZ_P_CW hold"),
        ({f"{x}_debiased": ["0.0"] * 19 + ["0.3"] for x in "abc"}, None, "`source.votes` reads those of Galaxy Zoo"),
        ({}, None, ""),
    ],
)  # fmt: skip
def test_values_decide_whether_a_column_holds_classes(columns, column, says):
    found = class_column(TABLE, pa.table(columns), list(columns))
    assert found.column == column and says in " ".join(found.notes) and bool(says) == bool(found.notes)


def test_rows_are_not_matched_by_position_and_it_is_said(tmp_path):
    found = inspect(fill(tmp_path / "pictures", *(f"J10000{i}.0-200000.png" for i in range(6))), sample=1)
    rows = [f"{150 + i},-20,{'ab'[i % 2]}" for i in range(6)]
    (tmp_path / "t.csv").write_text("\n".join(["ra,dec,class", *rows]))
    with pytest.raises(SurveyError, match=r"not matched with images by their positions \(ra, dec\). Give it a"):
        inspect_labels(found, tmp_path / "t.csv")
    (tmp_path / "t.csv").write_text("\n".join(["object,class", *[f"source {i},a" for i in range(6)]]))
    with pytest.raises(SurveyError, match=r"source 0.*Name the column with --id-column, or another table"):
        inspect_labels(found, tmp_path / "t.csv")


def test_names_that_differ_in_blanks_and_dashes_are_those_of_the_images(tmp_path):
    found = inspect(fill(tmp_path / "pictures", *(f"SDSS_J10000{i}.12-010000.4.png" for i in range(6))), sample=1)
    rows = [f"SDSS J10000{i}.12\u2212010000.4,{'ab'[i % 2]}" for i in range(6)]
    (tmp_path / "t.csv").write_text("\n".join(["Name,Class", *rows]))
    labels = inspect_labels(found, tmp_path / "t.csv")
    assert (labels.source.id_column, labels.classes, labels.missing) == ("Name", {"a": 3, "b": 3}, 0)


@pytest.mark.parametrize("cells", [("1", "0"), (1, 0), (1.0, 0.0), (True, False)])
def test_of_columns_of_yes_and_no_it_is_said_how_they_become_one(cells):
    yes, no = cells
    spread = {kind: [yes if i % 3 == at else no for i in range(30)] for at, kind in enumerate(("E", "S", "ring"))}
    with pytest.raises(
        SurveyError, match=r"It has E, S, ring\. .*Of E, S, ring one is true in every.*\['E', 'S', 'ring'\]\].idxmax"
    ):
        class_column(TABLE, pa.table(spread | {"mag": [0.5] * 30}), [*spread, "mag"])
    if yes in ("1", 1):
        clean = [yes if i % 2 else no for i in range(30)]
        with pytest.raises(SurveyError, match="It has E, S, ring, is_clean. .*Of E, S, ring one is true in every"):
            class_column(TABLE, pa.table(spread | {"is_clean": clean}), [*spread, "is_clean"])
    spread["S"][0] = yes
    with pytest.raises(
        SurveyError, match="It has E, S, ring. Name one with --label-column, or write --label-column none$"
    ):
        class_column(TABLE, pa.table(spread), list(spread))


def test_two_flags_that_exclude_each_other_hide_no_other_column():
    train = ["True", "False", "True"] * 10
    flags = {"is_train": train, "is_test": ["False" if one == "True" else "True" for one in train]}
    shape = {"shape": ["elliptical", "spiral", "merger"] * 10, "obs_year": [str(2001 + i % 5) for i in range(30)]}
    with pytest.raises(SurveyError, match="It has shape, obs_year, is_train, is_test.*none$"):
        class_column(TABLE, pa.table(columns := {**shape, **flags}), list(columns))
    with pytest.raises(SurveyError, match="Of is_train, is_test one is true in every row: if these are the classes"):
        class_column(TABLE, pa.table(flags), list(flags))
    kinds = {kind: [str(int(i % 3 == at)) for i in range(30)] for at, kind in enumerate(("E", "S", "ring"))}
    with pytest.raises(SurveyError, match="It has shape, E, S, ring.*Of E, S, ring one is true in every row"):
        class_column(TABLE, pa.table({"shape": shape["shape"], **kinds}), ["shape", *kinds])


N = 60
RARE = ["1" if i % 10 == 0 else "0" for i in range(N)]
KINDS = [("spiral", "elliptical", "lenticular")[i % 3] if i % 12 else "merger" for i in range(N)]


def of_classes(**columns: list):
    return Chosen(*class_column(TABLE, pa.table(columns), list(columns), N)[:2])


@pytest.mark.parametrize(
    "parts",
    [("train", "test", "val"), ("Training", "VALIDATION", "holdout"), ("dev", "test"), ("fold1", "fold_2", "fold 3"),
     ("train_set", "test-set"), ("hold-out", "train"), ("train", "test", "unused"), ("train", "test", "")],
)  # fmt: skip
@pytest.mark.parametrize("column", ["set", "part", "class"])
def test_parts_of_a_sample_are_no_classes_and_hide_none(parts, column):
    split = [parts[i % len(parts)] for i in range(N)]
    column_of, notes = of_classes(**{column: split})
    assert column_of is None and f"column {column} (" in notes[0]
    assert notes[0].endswith(
        "says which part of a sample an image belongs to, and is left out; if it does hold classes, give "
        f"--label-column {column}"
    )
    for target, values in (("is_lens", RARE), ("morph", KINDS), ("anomaly", RARE)):
        found = of_classes(**{column: split, target: values})
        assert found.column == target and not any(f"; {column} may hold" in note for note in found.notes)
        assert any("which part of a sample" in note for note in found.notes)
    assert of_classes(kind=["test", "E", "S"] * 20).column == "kind"


@pytest.mark.parametrize(
    "column",
    ["field", "survey", "telescope", "INSTRUME", "camera", "band", "best_filter", "run", "rerun", "camCol", "plate",
     "fiberID", "tile", "chip", "CCDNUM", "night", "epoch", "sample", "sky_region", "stripe", "hemisphere", "observer",
     "source", "source_catalogue", "SurveyName", "field_id", "data_source", "obs_date", "pointing", "fold", "split",
     "year", "seeing"],
)  # fmt: skip
def test_where_when_and_with_what_images_were_taken_is_no_class(column):
    places = [("COSMOS", "EGS", "UDS")[i % 3] for i in range(N)]
    alone = of_classes(**{column: places})
    assert alone.column is None and alone.notes == [
        f"column {column} says where, when or with what images were taken or listed, not what they show, and is left "
        f"out; if it does hold classes, give --label-column {column}"
    ]
    for target, values in (("what", KINDS), ("is_lens", RARE), ("merger", RARE)):
        assert of_classes(**{column: places, target: values}).column == target
    several = of_classes(run=["94", "125"] * 30, camcol=[*"123"] * 20, subclass=KINDS)
    assert several.column == "subclass" and "; run" not in several.notes[0]
    assert several.notes[1].startswith("columns run, camcol say where, when or with what images were taken")


@pytest.mark.parametrize("column", ["radio_class", "source_type", "object_type", "host_type", "arm", "FR_type", "what"])
def test_kinds_that_are_called_a_little_like_that_are_classes(column):
    assert of_classes(**{column: KINDS}).column == column


@pytest.mark.parametrize(
    ("lesser", "values"),
    [("n_source", "012"), ("num_images", "123"), ("no_source", "01"), ("n_pix_source", "0123"), ("ncomp", "12"),
     ("target_selected", "01"),
     ("is_clean", "01"), ("flagged", "yn"), ("in_use", "tf"), ("is_star", "01")],
)  # fmt: skip
def test_counts_and_housekeeping_do_not_tie_with_a_thing(lesser, values):
    given = [values[i % len(values)] for i in range(N)]
    for thing in ("is_lens", "has_ring", "merger"):
        found = of_classes(**{lesser: given, thing: RARE})
        assert found == (
            thing, [f"column {thing} is taken for the classes; {lesser} may hold them too (--label-column)"]
        )  # fmt: skip
    assert of_classes(**{lesser: given}).column == lesser, "alone it is what there is"
    with pytest.raises(SurveyError, match=f"It has is_lens, is_merger, {lesser}. Name one"):
        of_classes(**{lesser: given, "is_lens": RARE, "is_merger": RARE[1:] + RARE[:1]})


@pytest.mark.parametrize(
    ("column", "steps"),
    [("priority", ["A", "B", "C", "X"]), ("lens_grade", ["A", "B"]), ("rank", ["1st", "2nd", "3rd"]),
     ("quality", ["good", "poor"]), ("confidence", ["low", "medium", "high"]), ("interest", ["none", "some", "wow"]),
     ("Certainty", ["sure", "possible"])],
)  # fmt: skip
def test_an_order_in_words_is_no_class_and_it_is_said_how_it_becomes_scores(column, steps):
    given = [steps[i % len(steps)] for i in range(N)]
    alone = of_classes(**{column: given})
    assert alone.column is None
    assert alone.notes == [
        f"column {column} ({', '.join(sorted(steps)[:4])}) holds an order and no classes, and is left out: write them "
        "as numbers, the highest for the best, and import them as scores with `galaxy-assets labels import`; if it "
        f"does hold classes, give --label-column {column}"
    ]
    assert of_classes(**{column: given, "what": KINDS}).column == "what"
    numbers = of_classes(priority=[*"013"] * 20)
    assert numbers.column is None and "left out: import them as scores" in numbers.notes[0]


def test_names_are_taken_and_not_the_numbers_that_stand_for_them():
    codes = [str(["spiral", "elliptical", "lenticular", "merger"].index(kind)) for kind in KINDS]
    for numbers, names in (("label", "label_name"), ("label", "morphology"), ("class_id", "class"), ("code", "shape")):
        found = of_classes(**{numbers: codes, names: KINDS})
        assert found.column == names and f"column {names} has the names of the numbers in {numbers}" in found.notes
        assert not any("may hold them too" in note for note in found.notes)
    beside = of_classes(label=codes, shape=KINDS, morph=["a", "b"] * 30)
    assert beside.column == "shape", "the best of the names stays that of its words"
    assert of_classes(label=codes, morphology=KINDS[1:] + KINDS[:1]).column == "label", "not one to one"
    assert of_classes(label=RARE, is_lens=["True" if one == "1" else "False" for one in RARE]).column == "label"
    assert of_classes(label=codes, colour=KINDS).column == "label", "a name that says nothing of classes"
    assert of_classes(label=codes, colour=KINDS, class_name_2=KINDS).column == "class_name_2"
    assert of_classes(class_id=codes, colour=KINDS).column == "colour"
    said = dict(zip(("spiral", "elliptical", "lenticular", "merger"), ("ok", "nice", "look again", "wow"), strict=True))
    for comments in ("class_description", "description", "notes"):
        found = of_classes(label=codes, **{comments: [said[kind] for kind in KINDS]})
        if comments == "notes":
            assert found.column == "label", "what somebody noted is no name of a class"
        else:
            assert found == (comments, [f"column {comments} has the names of the numbers in label"])
    found = class_column(TABLE, pa.table({"label": codes, "shape": KINDS}), ["label", "shape"], N)
    assert found.named and not class_column(TABLE, pa.table({"shape": KINDS}), ["shape"], N).named


@pytest.mark.parametrize(
    ("names", "column"),
    [([None] * 40 + ["ring", "bar"] * 10, "class"), (["a"] * 20 + ["b"] * 20 + [None] * 20, "class"),
     (["a"] * 17 + [None] * 3 + ["b"] * 20 + ["c"] * 20, "class"),
     ([None, *"a" * 19, *"b" * 20, *"c" * 20], "subclass"),
     (["a"] * 20 + ["b"] * 20 + ["c"] * 19 + ["a"], "class")],
)  # fmt: skip
def test_names_of_some_of_the_numbers_displace_none(names, column):
    assert of_classes(**{"class": ["0"] * 20 + ["1"] * 20 + ["2"] * 20, "subclass": names}).column == column


@pytest.mark.parametrize(
    "column",
    ["image_type", "obs_type", "class_description", "morph_desc", "sample_type", "quality_class", "rank_class",
     "interest_class", "comment_class"],
)  # fmt: skip
def test_a_name_puts_words_of_classes_behind_other_columns_and_loses_none(column):
    words = ["galaxy", "cluster", "group"] * 20
    found = of_classes(**{column: words})
    assert found.column == column and "is left out" not in " ".join(found.notes)
    for lesser in ({"n_comp": [*"012"] * 20}, {"is_clean": ["yes", "no"] * 30}, {"telescope": words}):
        assert of_classes(**{column: words}, **lesser).column == column
    beside = of_classes(**{column: words, "what": ["x", "y", "z"] * 20})
    if column != "comment_class":
        assert beside.column == "what" and "; if it does hold classes, give --label-column" in beside.notes[1]
        assert "may hold them too" not in beside.notes[0]
    for no_kinds in (["OBJECT", "FLAT"], ["low", "high", "mid"], ["A", "B", "C"], ["v1", "v2"], ["raw", "stacked"]):
        if column != "comment_class":
            assert of_classes(**{column: (no_kinds * 30)[:N]}).column is None


@pytest.mark.parametrize("column", ["FR_flag", "bar_flag", "merger_flag", "class_flag", "majority_vote", "final_vote"])
def test_codes_in_a_column_of_a_flag_or_one_vote_are_classes(column):
    assert of_classes(**{column: ["0", "1", "2"] * 20}).column == column


@pytest.mark.parametrize("column", ["class_dr7", "morph_dr17", "morph_sample", "type_obs", "class_observer1"])
def test_a_name_that_begins_with_classes_is_one_of_classes(column):
    for values in (["0", "1", "2"] * 20, ["galaxy", "cluster", "group"] * 20):
        assert of_classes(**{column: values, "environment": ["void", "wall"] * 30}).column == column
    assert of_classes(**{column: ["v1", "v2"] * 30}).column is None


@pytest.mark.parametrize(
    "column", ["catalog", "notes", "source", "grade", "sample", "description", "spiral_band", "dataset", "folder"]
)
@pytest.mark.parametrize(
    "values",
    [("spiral", "elliptical", "merger"), ("ETG", "LTG"), ("late-type", "early-type", "peculiar"), ("lens", "nonlens"),
     ("E", "S0", "Sp", "Irr"), ("Round", "In-between", "Cigar", "Edge-on"), ("FRICAT", "FRIICAT", "FR0CAT")],
)  # fmt: skip
def test_kinds_of_galaxies_are_classes_whatever_their_column_is_called(column, values):
    given = [values[i % len(values)] for i in range(N)]
    assert of_classes(**{column: given}).column == column
    with pytest.raises(SurveyError, match="which column holds the classes"):
        of_classes(**{column: given, "what": ["x", "y"] * 30})


@pytest.mark.parametrize(
    ("column", "values"), [("type", ("DEV", "none")), ("morph_type", ("DEV", "all")), ("morphology", ("fold", "none"))]
)
def test_one_part_of_a_sample_is_a_class_unless_its_column_is_called_so(column, values):
    given = [values[i % 2] for i in range(N)]
    assert of_classes(**{column: given}).column == column
    for called_so in ("split", "data_set", "fold", "subset", "my_sample"):
        assert of_classes(**{called_so: given}).column is None


@pytest.mark.parametrize("column", ["comment", "Comments", "remarks", "notes", "my_notes", "comment1"])
def test_comments_are_no_classes(column):
    said = ["tail?", "wow", "nice", ""] * 15
    assert of_classes(**{column: said}) == (
        None,
        [f"column {column} holds comments, and is left out; if it does hold classes, give --label-column {column}"],
    )
    assert of_classes(**{column: said, "what": KINDS}).column == "what"


def votes_of(*stems: str, ends: tuple[str, ...]) -> dict[str, list[str]]:
    return {f"{one}{end}": [str((i * (k + 3)) % 7) for i in range(N)] for k, one in enumerate(stems) for end in ends}


GZ2 = ("t01_smooth_or_features_a01_smooth", "t01_smooth_or_features_a02_features_or_disk")
TALLIES = {
    "gz2": votes_of(*GZ2, ends=("_count", "_weight", "_fraction", "_weighted_fraction", "_debiased", "_flag")),
    "5": votes_of("merging-dr5_none", "merging-dr5_major-disturbance", ends=("", "_fraction"))
    | votes_of("merging-dr5", ends=("_total-votes",)),
    "1_and_2": votes_of("bar_yes", "bar_no", ends=("", "_fraction")) | votes_of("bar", ends=("_total-votes",)),
}


@pytest.mark.parametrize("campaign", TALLIES)
def test_of_a_table_of_votes_no_votes_are_classes_and_it_is_said_what_reads_them(campaign):
    votes = TALLIES[campaign]
    place = [f"{10 + i % 9}:02:0{i % 9}.1" for i in range(N)]
    more = {"rastring": place, "total_votes": [*"123"] * 20, "total_classifications": [*"12"] * 30}
    alone = of_classes(**votes, **more)
    assert alone.column is None and "total_votes" not in " ".join(alone.notes)
    says = f"this is a table of volunteers' votes, which are no classes: to have them read, write `votes: {TABLE}` and "
    assert f"{says}`campaign: {campaign}` below `source`" in alone.notes[-1]
    sample = ["original", "extra"] * 30
    classed = of_classes(**votes, **more, sample=sample, gz2_class=KINDS)
    assert classed.column == "gz2_class" and says in classed.notes[-1]
    assert not any("may hold them too" in note for note in classed.notes)
    with pytest.raises(SurveyError, match="It has a, b. Name one.*And this is a table of volunteers' votes"):
        of_classes(**votes, a=KINDS, b=sample)


def test_a_table_of_votes_is_known_whatever_column_a_person_names(tmp_path):
    found = inspect(fill(tmp_path / "pictures", *(f"g{i:02d}.png" for i in range(12))), sample=1)
    rows = [f"g{i:02d},{i},{i % 3},0.5,0.25,{'ab'[i % 2]}" for i in range(12)]
    names = f"id,{GZ2[0]}_count,{GZ2[0]}_flag,{GZ2[0]}_debiased,{GZ2[1]}_debiased,gz2_class"
    (tmp_path / "t.csv").write_text("\n".join([names, *rows]))
    for named, taken in ((None, "gz2_class"), ("none", None), ("gz2_class", "gz2_class")):
        labels = inspect_labels(found, tmp_path / "t.csv", label_column=named)
        assert labels.source.label_column == taken and not labels.graded
        assert "`campaign: gz2` below `source`" in " ".join(cautions(found, labels))


@pytest.mark.parametrize(
    "column",
    ["n_votes", "total_weight", "smooth_count", "ring_debiased", "flags", "n_classifications"],
)
def test_counts_weights_and_flags_of_votes_are_no_classes_in_any_table(column):
    found = of_classes(**{column: [*"012"] * 20})
    assert found == (None, [f"no column is taken for the classes: {column} holds counts, weights or flags. If one "
                            "holds them, name it with --label-column"])  # fmt: skip
    assert of_classes(**{column: [*"012"] * 20, "what": KINDS}).column == "what"


@pytest.mark.parametrize(
    "column",
    ["majority_vote", "final_vote", "class_votes", "total_morphology", "morph_flag", "class_flag", "type_flag", "vote",
     "bar_flag", "morphology_class", "class_count"],
)  # fmt: skip
def test_words_are_no_votes_whatever_their_column_is_called(column):
    assert of_classes(**{column: KINDS}).column == column
    votes = [str(20 + (i * 7) % 23) for i in range(N)]
    assert of_classes(**{column: KINDS, "morphology_total_votes": votes, "bar_total_votes": votes}).column == column


@pytest.mark.parametrize("cells", [("0", "1"), ("False", "True"), ("no", "yes")])
def test_flags_of_a_thing_are_classes_and_flags_that_exclude_each_other_are_said_to_be_one(cells):
    no, yes = cells
    for thing in ("lens_flag", "merger_flag", "agn_flag"):
        flag = {thing: [yes if one == "1" else no for one in RARE]}
        assert of_classes(**flag).column == thing
        for lesser in ("clean_flag", "quality_flag", "flag", "fit_flag"):
            assert of_classes(**flag, **{lesser: [no, yes] * 30}).column == thing
    kinds = {
        f"{kind}_flag": [yes if i % 3 == at else no for i in range(N)]
        for at, kind in enumerate(("spiral", "ell", "merger"))
    }
    if yes != "yes":
        for more in ({}, {"clean_flag": [no, yes] * 30}):
            with pytest.raises(
                SurveyError, match=r"Of spiral_flag, ell_flag, merger_flag one is true in every.*idxmax"
            ):
                of_classes(**kinds, **more)


def test_a_wide_table_takes_as_long_as_its_columns():
    draw = np.random.default_rng(0)
    columns = {f"q{i}": draw.integers(0, 4, 100) for i in range(500)}
    columns |= {f"w{i}": np.array([*"abcd"])[draw.integers(0, 4, 100)] for i in range(50)}
    read = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(column_pairs, "labels_of", lambda column: read.append(1) or labels_of(column))
        found = class_column(TABLE, pa.table(columns | {"class": [*"xyz"] * 33 + ["x"]}), [*columns, "class"], N)
    assert found.column == "class" and len(read) == len(columns) + 1


def test_a_mark_of_anomalies_that_may_be_scores_is_a_class_where_there_is_no_other():
    assert of_classes(anomaly=RARE, n_comp=[*"123"] * 20).column == "anomaly"
    assert of_classes(anomaly=RARE, what=KINDS).column == "what"


@given(st.integers(1, 200), st.integers(1, 1000))
def test_one_value_is_a_class_where_few_of_the_images_have_it(n, images):
    assert (why_no_classes({"lens": n}, True, images) is None) == (n <= 0.2 * images)
    assert why_no_classes({"lens": n}, False, images) is not None


def test_a_list_of_what_is_known_is_what_is_sought(tmp_path):
    images = fill(tmp_path / "pictures", *(f"g{i:02d}.png" for i in range(30)))
    for name, rows in (("a", [f"g{i:02d}.png,lens" for i in range(5)]), ("b", [f"g{i:02d}.png," for i in range(30)])):
        rows[0] = "g00.png,lens"
        rows[1] = "g01.png,lens"
        (tmp_path / f"{name}.csv").write_text("\n".join(["file,class", *rows]))
        found = inspect(images, sample=2)
        labels = inspect_labels(found, tmp_path / f"{name}.csv")
        settings = {one.key: one for one in settings_for("mine", found, labels, False)}
        assert labels.source.label_column == "class" and settings["anomaly.labels"].value == ["lens"]
        assert f"The only class, {5 if name == 'a' else 2} of 30 images" in settings["anomaly.labels"].reason


@pytest.mark.parametrize("cell", ["1.23766E+18", "1,23766E+18", "1237668333640810666.0", "1.2376683336408107e+18"])
@pytest.mark.parametrize("names", ["objid", "index;objid"])
def test_ids_that_lost_their_last_digits_are_said_where_no_column_names_images(cell, names, tmp_path):
    images = fill(tmp_path / "pictures", "1237668333640810666.png", "0.png")
    row = cell if names == "objid" else f"0;{cell}"
    (tmp_path / "t.csv").write_text(f"{names};label\n{row};disc\n")
    lost = f"column objid holds ids such as {cell}, which went through decimal numbers and lost their last digits"
    if names == "objid":
        with pytest.raises(SurveyError, match=re.escape(lost)):
            inspect_labels(inspect(images), tmp_path / "t.csv")
    else:
        assert lost in " ".join(inspect_labels(inspect(images), tmp_path / "t.csv").notes)
    with pytest.raises(RoundedIds, match="such as 1.23767e"):
        ids_of(pa.chunked_array([pa.array([1.2376683336408107e18, None])]))


@given(st.lists(st.sampled_from(["E", "S", "S0", "0", "1", "merger"]), min_size=20))
def test_labels_that_images_share_are_classes_whatever_their_column_is_called(labels):
    counts = {label: labels.count(label) for label in labels}
    if len(counts) > 1:
        assert why_no_classes(counts, False) is None
    assert why_no_classes(counts, True) is None or len(counts) == 1


@given(st.integers(10, 200), st.booleans())
def test_values_that_no_two_images_share_are_no_classes(n, called_so):
    assert why_no_classes({str(i): 1 for i in range(n)}, called_so) is not None


def fill(folder: Path, *names: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for i, name in enumerate(names):
        pixels = np.random.default_rng(i).integers(0, 99, (20, 20), np.uint8)
        pixels[8:12, 8:12] += 150
        Image.fromarray(pixels).save(folder / name)
    return folder


def test_a_table_of_pandas_gives_each_image_the_class_of_its_file(tmp_path):
    order = [(7 * i) % 24 for i in range(24)]
    images = fill(tmp_path / "pictures", *(f"{i}.png" for i in range(24)))
    rows = [f"{row},{i}.png,{'ring' if i < 12 else 'disc'}" for row, i in enumerate(order)]
    (tmp_path / "t.csv").write_text("\n".join([",filename,label", *rows]))
    found = inspect(images, sample=2)
    labels = inspect_labels(found, tmp_path / "t.csv")
    rows = open_reader(labels.source, images).catalogue("images").to_pylist()
    assert {row["galaxy_id"]: row["label"] for row in rows} == {str(i): "ring" if i < 12 else "disc" for i in range(24)}
    assert "column filename is taken" in " ".join(cautions(found, labels))


NAMES = ["ra,dec", "RAdeg,DEdeg", "_RAJ2000,_DEJ2000", "RA (deg),DEC (deg)", "TARGET_RA,TARGET_DEC", "ALPHA,DELTA"]


@pytest.mark.parametrize("names", [*NAMES, "ra_j2000,dec_deg", "ALPHAWIN_J2000,DELTAWIN_J2000", "coord_ra,coord_dec"])
def test_positions_of_a_table_of_labels_are_found_as_those_of_a_catalogue(tmp_path, names):
    images = fill(tmp_path / "pictures", *(f"g{i}.png" for i in range(12)))
    cells = ["45.25,-1.5", "about 3,4", *(f"{30 * i},{i}" for i in range(2, 12))]
    rows = [f"g{i}.png,{place}" for i, place in enumerate(cells)]
    (tmp_path / "t.csv").write_text("\n".join([f"filename,{names}", *rows]))
    found = inspect(images, sample=2)
    labels = inspect_labels(found, tmp_path / "t.csv")
    assert (labels.source.ra_column, labels.source.dec_column, labels.source.label_column) == (*names.split(","), None)
    rows = {
        row["galaxy_id"]: (row["ra"], row["dec"])
        for row in open_reader(labels.source, images).catalogue("images").to_pylist()
    }
    assert rows["g0"] == (45.25, -1.5) and rows["g1"] == (None, None) and rows["g5"] == (150, 5)
    assert "1 positions are no angles or not on the sphere" in " ".join(cautions(found, labels))


def test_columns_that_look_like_coordinates_are_said_and_can_be_named(tmp_path):
    images = fill(tmp_path / "pictures", *(f"g{i}.png" for i in range(6)))
    rows = [f"g{i}.png,12,{i},0,-,1,{i},0,{i / 10},0.5" for i in range(6)]
    (tmp_path / "t.csv").write_text("\n".join(["file,RAh,RAm,RAs,DE-,DEd,DEm,DEs,my_ra,my_dec", *rows]))
    found = inspect(images, sample=2)
    labels = inspect_labels(found, tmp_path / "t.csv", label_column="none")
    assert labels.source.ra_column is None
    assert "columns RAh, RAm, RAs, DE-, DEd, DEm, DEs, my_ra, my_dec look like coordinates" in " ".join(labels.notes)
    labels = inspect_labels(found, tmp_path / "t.csv", label_column="none", position=("my_ra", "my_dec"))
    assert (labels.source.ra_column, labels.source.dec_column) == ("my_ra", "my_dec")
    assert "if these are radians" in " ".join(labels.notes)
    with pytest.raises(SurveyError, match="no column nosuch.*--ra-column"):
        inspect_labels(found, tmp_path / "t.csv", position=("my_ra", "nosuch"))


def test_a_table_that_is_not_there_and_one_of_zooniverse_have_their_own_words(tmp_path):
    found = inspect(fill(tmp_path / "pictures", "a.png", "b.png"))
    with pytest.raises(SurveyError, match="none.csv: no such file; name the table with --labels"):
        inspect_labels(found, tmp_path / "none.csv")
    (tmp_path / "z.csv").write_text("classification_id,annotations,subject_data\n1,[],{}\n")
    with pytest.raises(SurveyError, match="an export of Zooniverse.*labels import"):
        inspect_labels(found, tmp_path / "z.csv")
    (tmp_path / "b.parquet").write_bytes(b"PAR1")
    with pytest.raises(SurveyError, match="cannot be read as a Parquet table.*name the table with --labels"):
        inspect_labels(found, tmp_path / "b.parquet")


def test_what_is_called_a_position_and_is_none_is_said(tmp_path):
    images = fill(tmp_path / "pictures", "a.png", "b.png")
    (tmp_path / "t.csv").write_text("filename,alpha,delta\na.png,steep,no\nb.png,flat,no\n")
    labels = inspect_labels(inspect(images), tmp_path / "t.csv")
    assert labels.source.ra_column is None and "columns alpha and delta give no positions" in " ".join(labels.notes)


def test_coordinates_in_a_container_are_no_classes(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 255, (40, 20, 20), np.uint8)
    np.savez(tmp_path / "s.npz", images=pixels, x=np.arange(40), y=np.arange(40) * 3)
    found = inspect(tmp_path, sample=2)
    labels = inside_labels(found)
    keys = {one.key for one in settings_for("mine", found, labels, False)}
    assert not any(key.startswith(("evaluation", "anomaly")) for key in keys)
    assert "holds 40 different values in 40 rows: it is neither judged nor sought" in " ".join(cautions(found, labels))


@pytest.mark.parametrize("nothing", ["NA", "unlabeled", "Not labelled", ""])
def test_words_for_nothing_are_no_class_of_containers_and_folders(tmp_path, nothing):
    pixels = np.random.default_rng(0).integers(0, 255, (24, 20, 20), np.uint8)
    (tmp_path / "a").mkdir()
    np.savez(
        tmp_path / "a/s.npz",
        images=pixels,
        label=np.array(["E", "S", nothing] * 8),
        name=["NA"] + [f"g{i}" for i in range(23)],
    )
    found = inspect(tmp_path / "a", sample=2)
    assert inside_labels(found).classes == {"E": 8, "S": 8}
    assert "NA" in {one.galaxy_id for one in found.listed}, "a name is no class"
    for name in ("E", "S", nothing or "NA"):
        fill(tmp_path / "b" / name, *(f"{name}{i}.png" for i in range(4)))
    found = inspect(tmp_path / "b", sample=2)
    labels = folder_labels(found)
    rows = [
        row
        for batch in found.deliveries
        for row in open_reader(labels.source, tmp_path / "b").catalogue(batch).to_pylist()
    ]
    assert labels.classes == {"E": 4, "S": 4}
    assert sorted(row["label"] or "" for row in rows) == [""] * 4 + ["E"] * 4 + ["S"] * 4


NUMBERS = [200_000 + 7 * i for i in range(20)]
OBJIDS = [587722952767400000 + 1543 * i for i in range(20)]
PLACES = [f"J{100000 + 37 * i}.{i % 10}+{3000 + i}" for i in range(20)]
NAMES = [
    f"{a} {b}" for a in ("Cosmic", "Bright", "dusty", "Red") for b in ("Horseshoe", "Clone", "eye", "snake", "ring")
]


@pytest.mark.parametrize(
    ("ids", "names", "words", "by"),
    [
        (NUMBERS, [f"imageEUC_VIS-{i}" for i in NUMBERS], "imageEUC_VIS- + ID (", "'imageEUC_VIS-' + table['ID']"),
        (OBJIDS, [f"{i}_cutout" for i in OBJIDS], "ID + _cutout (", "astype(str) + '_cutout'"),
        (OBJIDS, [f"hsc_{i}_v2" for i in OBJIDS], "hsc_ + ID + _v2 (", "'hsc_' + table['ID'].astype(str) + '_v2'"),
        ([f"SDSS {name}" for name in PLACES], PLACES, 'ID without "SDSS " before it (', ".str.removeprefix('SDSS ')"),
        (
            [f"2MASX {name}" for name in PLACES],
            [f"vlass_{name}_S" for name in PLACES],
            'vlass_ + ID without "2MASX " before it + _S (',
            "'vlass_' + table['ID'].astype(str).str.removeprefix('2MASX ') + '_S'",
        ),
        ([f"{name}_r" for name in PLACES], PLACES, 'ID without "_r" after it (', ".str.removesuffix('_r')"),
        ([*range(20)], [f"gal_{i:05d}" for i in range(20)], "gal_ + ID of 5 digits (", ".str.zfill(5)"),
        ([f"{i:04d}" for i in NUMBERS], [f"g_{i:04d}" for i in NUMBERS], "g_ + ID (g_2", "'g_' + table['ID']"),
        ([f"{i:04d}" for i in range(20)], [f"g_{i:04d}" for i in range(20)], "g_ + ID of 4 digits (", ".str.zfill(4)"),
        ([f"{i}.0" for i in NUMBERS], [f"c_{i}" for i in NUMBERS], "c_ + ID (c_200000 for 200000.0", "astype('Int64')"),
        ([*range(95, 115)], [f"g{i}" for i in range(95, 115)], "g + ID (g95 for 95, 20 of", "'g' + table['ID']"),
        (NAMES, [f"hst-{name.replace(' ', '_')}" for name in NAMES], "hst- + ID (", "'hst-' + table['ID']"),
        (
            [f"/raw/{i}.fits" for i in NUMBERS],
            [f"c_{i}" for i in NUMBERS],
            "c_ + ID (c_200000 for /raw/200000",
            "write",
        ),
        ([*NUMBERS, *range(900)], [*(f"c_{i}" for i in NUMBERS[:15]), *PLACES[:5]], "15 of 20 images", "'c_' + table"),
        (NUMBERS[:5], [f"c_{i}" for i in NUMBERS], "c_ + ID (c_200000 for 200000, 5 of 20 images)", "'c_' + table"),
    ],
)
def test_one_text_about_the_ids_of_a_column_is_told_with_the_names_to_write(ids, names, words, by):
    table = pa.table(
        {
            "index": [str(i) for i in range(len(ids))],
            "ID": [str(one) for one in ids],
            "image": [""] * len(ids),
            "is_lens": [f"{i % 2}" for i in range(len(ids))],
        }
    )
    about = affix_of(table, {name: f"{name}.png" for name in names}, table.column_names)
    assert about is not None and about.column == "ID"
    assert words in about.words and by in about.words and about.words.endswith("--id-column image_name")
    assert ("with pandas" in about.words) == (by != "write")


@pytest.mark.parametrize(
    ("ids", "names"),
    [
        (range(20), [f"c_{i}" for i in NUMBERS]),  # 0 is in 200000, and is not its id
        (range(20), [f"c_{100 + i}" for i in range(20)]),
        (NUMBERS, [f"c{i % 4}_{n}" for i, n in enumerate(NUMBERS)]),
        (NUMBERS[:5], [f"{n}_{band}" for n in NUMBERS[:5] for band in "griz"]),
        ([i % 2 for i in range(20)], [f"c_{i}" for i in range(20)]),
        (NUMBERS[:2], [f"c_{n}" for n in NUMBERS[:2]]),
        (PLACES, NAMES),
    ],
)
def test_no_text_is_told_that_may_stand_there_by_chance(ids, names):
    assert affix_of(pa.table({"n": [str(one) for one in ids]}), {name: f"{name}.fits" for name in names}, ["n"]) is None


def test_a_few_images_of_a_large_table_are_enough():
    images = {f"c_{i}": f"c_{i}.png" for i in range(500, 100_000, 1000)}
    about = affix_of(pa.table({"n": pa.array(range(100_000)), "x": pa.array([0.5] * 100_000)}), images, ["x", "n"])
    assert about is not None and (about.column, about.named) == ("n", 100)


@pytest.mark.parametrize("suffix", ["csv", "parquet"])
def test_the_names_that_pandas_makes_are_those_of_the_images(suffix, tmp_path):
    names = [f"c_{n:07d}_v" for n in NUMBERS]
    table = lenses(tmp_path, names, []).with_suffix(f".{suffix}")
    frame = pandas.DataFrame({"ID": [*NUMBERS, None], "kind": [*"ab" * 10, "a"]})  # a gap makes them decimal
    frame.to_csv(table, index=False) if suffix == "csv" else frame.to_parquet(table)
    found = inspect(tmp_path / "images")
    with pytest.raises(SurveyError) as said:
        inspect_labels(found, table)
    command = re.search(r"with pandas by (.*), and name", str(said.value))[1]
    frame = pandas.read_csv(table) if suffix == "csv" else pandas.read_parquet(table)
    exec(command, {"table": frame})
    frame.to_csv(tmp_path / "new.csv", index=False)
    assert inspect_labels(found, tmp_path / "new.csv", id_column="image").classes == {"a": 10, "b": 10}


def lenses(folder: Path, names: list[str], rows: list[str]) -> Path:
    for i, name in enumerate(names):
        path = folder / "images" / f"{name}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.random.default_rng(i).integers(0, 90, (24, 24), np.uint8)).save(path)
    (folder / "t.csv").write_text("\n".join(["ID,kind", *rows]) + "\n")
    return folder / "t.csv"


@pytest.mark.parametrize("named", [None, "ID", "kind"])
def test_ids_that_are_no_names_of_images_are_refused_with_what_to_write(named, tmp_path):
    rows = [f"{n},{'ab'[i % 2]}" for i, n in enumerate(NUMBERS)]
    table = lenses(tmp_path, [f"lens-{n}" for n in NUMBERS], rows)
    found = inspect(tmp_path / "images")
    with pytest.raises(
        SurveyError, match=r"The names are lens- \+ ID \(lens-200000 for 200000, 20 of 20 images\)"
    ) as said:
        inspect_labels(found, table, id_column=named)
    column = "no column names an image" if named is None else f"column {named} (--id-column) names no image of"
    assert f"{table}: {column}" in str(said.value) and "table['image'] = 'lens-' + table['ID']" in str(said.value)
    frame = pandas.read_csv(table)
    frame["image"] = "lens-" + frame["ID"].astype(str)
    frame.to_csv(table, index=False)
    assert inspect_labels(found, table, id_column="image").classes == {"a": 10, "b": 10}


@pytest.mark.parametrize("unit", ["deg", ""])
def test_a_unit_of_positions_is_asked_for_where_there_is_none(unit, tmp_path):
    heading = f"ID\tRAJ2000\tDEJ2000\tkind\n\t{unit}\t{unit}\t\n---\t---\t---\t---\n"
    table = lenses(tmp_path, PLACES, [])
    table.write_text(heading + "".join(f"{name}\t{i % 24}\t{i}.5\t{'ab'[i % 2]}\n" for i, name in enumerate(PLACES)))
    labels = inspect_labels(inspect(tmp_path / "images"), table)
    assert (labels.named, labels.missing) == (20, 0)
    assert ("every value of RAJ2000 is below 24" in " ".join(labels.notes)) == (not unit)


def test_a_column_that_a_person_names_and_that_names_no_image_is_refused(tmp_path):
    table = lenses(tmp_path, PLACES, [f"{n},{'ab'[i % 2]}" for i, n in enumerate(NUMBERS)])
    found = inspect(tmp_path / "images")
    with pytest.raises(
        SurveyError, match=r"t.csv: column ID .* it has 200000, and an image is called J100000.*Name the"
    ):
        inspect_labels(found, table, id_column="ID")
    table.write_text("ID,kind\n,a\n,b\n")
    with pytest.raises(SurveyError, match="column ID .* it has no name, and an image is called J100000"):
        inspect_labels(found, table, id_column="ID")
    table.write_text(f"ID,kind\n{PLACES[0]},a\n1,b\n")
    assert inspect_labels(found, table, id_column="ID").named == 1


def test_names_that_several_images_have_are_refused_where_there_are_no_others(tmp_path):
    names = [f"{folder}/{i}" for folder in ("x", "y") for i in range(10)]
    table = lenses(tmp_path, names, [f"{i},{'ab'[i % 2]}" for i in range(10)])
    found = inspect(tmp_path / "images")
    for column in (None, "ID"):
        with pytest.raises(SurveyError, match="column ID names no image of .* several are called 0.* such as train/0"):
            inspect_labels(found, table, id_column=column)
    table.write_text("\n".join(["ID,kind", *(f"{name},{name[-1] in '02468'}" for name in names)]))
    assert inspect_labels(found, table).named == 20


def test_a_column_that_names_few_images_says_how_it_would_name_more(tmp_path):
    names = [*map(str, NUMBERS[:2]), *(f"{n}_cutout" for n in NUMBERS[2:])]
    table = lenses(tmp_path, names, [f"{n},{'ab'[i % 2]}" for i, n in enumerate(NUMBERS)])
    found = inspect(tmp_path / "images")
    labels = inspect_labels(found, table)
    told = " ".join(cautions(found, labels))
    assert labels.named == 2 and "2 of 20 images have a row as they are named. The names are ID + _cutout" in told
