"""Columns of graded scores are recognised and offered with the command that imports them."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image

from galaxy_assets.deliveries.label_files import ScoreColumns, read_label_file
from galaxy_assets.deliveries.label_imports import import_file
from galaxy_assets.deliveries.onboarding.columns import class_column
from galaxy_assets.deliveries.onboarding.graded import graded_columns
from galaxy_assets.deliveries.onboarding.inspect import inspect
from galaxy_assets.deliveries.onboarding.labels import inspect_labels
from galaxy_assets.storage.label_events import LabelLog

RNG = np.random.default_rng(0)


def found(**columns) -> dict:
    return {one.column: one for one in graded_columns(pa.table(columns), list(columns))}


@pytest.mark.parametrize(
    ("values", "scale"),
    [
        (RNG.integers(1, 6, 100), (1, 5)),
        (RNG.integers(0, 6, 100), (0, 5)),
        (RNG.integers(1, 11, 200), (1, 10)),
        (RNG.random(100), (0, 1)),
        (1 + 4 * RNG.random(100), (1, 5)),
        (RNG.random(100) * 98, (0, 100)),
        (np.linspace(-3, 3, 100), (-3, 3)),
    ],
)
@pytest.mark.parametrize("as_text", [False, True])
def test_columns_called_scores_are_scores_on_the_narrowest_usual_scale(values, scale, as_text):
    cells = [str(v) for v in values] + ["", " "] if as_text else [*map(float, values), None, float("nan")]
    one = found(Interest=cells, name=[f"g{i}" for i in range(len(cells))])["Interest"]
    assert (one.scale, one.count, one.scores_only) == (scale, len(values), True)


def test_few_whole_steps_may_be_scores_or_classes_and_other_numbers_are_none():
    steps, gaps = RNG.integers(1, 6, 100), RNG.choice([100, 102, 200], 100)
    assert not found(value=steps, other=gaps)["value"].scores_only
    assert list(found(value=steps, other=gaps, mag=RNG.random(100), kind=["a", "b"] * 50)) == ["value"]
    assert found(p=RNG.random(100))["p"].scores_only, "fractions that are the only column"
    assert not found(size=RNG.random(100) * 500), "no scale of people's"
    assert not found(score=["high", "low"] * 50) and not found(score=[3.0] * 50) and not found(score=[1.0, 2.0])


def test_half_steps_are_scores_whatever_the_column_is_called():
    halves = RNG.integers(2, 11, 300) / 2
    one = found(quality=halves, kind=["a", "b", "c"] * 100)["quality"]
    assert one.scores_only and one.scale == (1, 5) and "--range 1 5" in one.command("radio", Path("t.csv"), "id")
    assert found(quality=halves[halves != 4.5])["quality"].scores_only, "one step that nobody took"
    assert not found(redshift=RNG.choice([0.5, 3.0, 9.5], 300), kind=["a", "b", "c"] * 100)


@pytest.mark.parametrize("scale", [(0, 2), (0, 3), (1, 3), (1, 4), (0, 4)])
def test_the_best_of_few_steps_is_the_end_of_the_scale(tmp_path, scale):
    given = [scale[0] + i % (scale[1] - scale[0] + 1) for i in range(60)]
    one = found(lens=given)["lens"]
    assert one.scale == scale
    path = tmp_path / "t.csv"
    path.write_text("file,lens\n" + "".join(f"g{i},{score}\n" for i, score in enumerate(given)))
    read = read_label_file(path, columns=ScoreColumns("file", "lens", one.scale))
    assert {min(x.score for x in read.labels), max(x.score for x in read.labels)} == {0, 5}


def test_the_command_names_file_columns_and_scale(tmp_path):
    one = found(**{"my score": RNG.integers(1, 6, 50)})["my score"]
    assert one.command("radio", tmp_path / "t.csv", "file") == (
        f"galaxy-assets labels import radio {tmp_path / 't.csv'} --id-column file --score-column 'my score' "
        "--who 'my score' --range 1 5"
    )
    whole = found(score=RNG.integers(0, 6, 50))["score"]
    assert "--range" not in whole.command("radio", tmp_path / "t.csv", "file")


def test_a_column_that_is_called_scores_may_hold_words_in_places():
    cells = [*map(str, RNG.integers(1, 6, 40)), *["dunno"] * 15]
    assert found(odd_score=cells)["odd_score"].scores_only
    assert found(odd_score=[*cells[:15], *["not scored"] * 40])["odd_score"].count == 15, "a word for no score"
    assert "odd_score" not in found(odd_score=[*cells[:15], *["dunno", "dull", "nice"] * 10])
    assert "kind" not in found(kind=cells)


@pytest.mark.parametrize("code", [-1, -9, -99])
@pytest.mark.parametrize("lowest", [0, 1])
def test_a_code_for_no_score_is_no_end_of_the_scale_and_the_printed_command_imports_the_others(tmp_path, code, lowest):
    given = [code] * 60 + [lowest + i % (6 - lowest) for i in range(60)]
    one = found(interest=given)["interest"]
    assert (one.scale, one.count, one.low) == ((lowest, 5), 60, lowest)
    path = tmp_path / "t.csv"
    path.write_text("file,interest\n" + "".join(f"g{i},{score}\n" for i, score in enumerate(given)))
    read = read_label_file(path, columns=ScoreColumns("file", "interest", one.scale))
    assert len(read.labels) == read.n_unlabelled == 60 and not read.problems
    assert read.notes == [f"60 rows have {code}, which is taken as no score"]


@pytest.mark.parametrize("code", [-1, -9, -99, -999, 99, 999])
@pytest.mark.parametrize("lowest", [0, 1, 1.5, 2])
def test_a_code_at_either_end_is_no_score_whatever_the_lowest_grade_is(tmp_path, code, lowest):
    given = [code] * 12 + [lowest + i % (11 - 2 * lowest) / 2 for i in range(60)]
    one = found(interest=given, n_comp=np.arange(72) % 4)["interest"]
    assert (one.scale, one.count, one.low, one.high) == ((min(1, lowest), 5), 60, lowest, 5)
    assert f"({code}: no score)" in one.words and one.scores_only
    path = tmp_path / "t.csv"
    path.write_text("file,interest\n" + "".join(f"g{i},{score:g}\n" for i, score in enumerate(given)))
    read = read_label_file(path, columns=ScoreColumns("file", "interest", one.scale))
    assert (len(read.labels), read.n_unlabelled) == (60, 12) and not read.problems
    assert max(x.score for x in read.labels) == 5 and len({x.score for x in read.labels}) == 11 - 2 * lowest


def test_numbers_that_are_near_the_others_are_scores():
    assert found(score=np.tile([0, 20, 45, 70, 99], 10))["score"].scale == (0, 100)
    nine = found(score=np.tile([1, 2, 3, 4, 9], 10))["score"]
    assert nine.scale == (1, 10) and "if 9 says that there is none, empty those cells" in nine.words, (
        "as likely a score"
    )
    assert "empty" not in found(score=np.tile([1, 2, 3, 5], 10))["score"].words
    assert found(score=np.tile([-1, -0.5, 0.5, 1], 10))["score"].low == -1


def test_a_high_number_on_a_scale_to_a_hundred_is_asked_about_and_the_best_of_a_scale_is_not():
    one = found(score=np.tile([10, 20, 30, 40, 99], 10))["score"]
    assert (one.scale, one.codes) == ((0, 100), ()) and "if 99 says that there is none" in one.words
    for best in ([0, 1, 5], [0, 1, 2, 5], [1, 2, 10]):
        assert "empty" not in found(score=np.tile(best, 10))["score"].words
    coded = found(score=np.tile([10, 20, 30, 40, 999], 10))["score"]
    assert (coded.scale, coded.codes) == ((0, 100), (999,))
    assert not found(score=[0.5] * 9 + [99] * 3), "one score and a code"


def test_names_are_of_scores_by_their_words():
    steps = RNG.integers(100, 107, 50)
    assert not found(integrating_time=steps, other=["a", "b"] * 25) and found(my_ratings=steps, other=["a", "b"] * 25)
    assert not found(rating=["spiral"] * 90 + ["1", "2", "3"]), "words that are classes"


@pytest.mark.parametrize(
    "column", ["n_components", "N comp", "class_id", "S_Code", "p_spiral", "confidence", "merger_prob"]
)
def test_counts_codes_and_probabilities_are_no_scores(column):
    assert not found(**{column: np.tile([1, 2, 3, 4], 20), "kind": ["a", "b"] * 40})
    assert not found(**{column: RNG.random(80)})


@pytest.mark.parametrize("column", ["interest_code", "InterestCode", "n_score", "p_score", "num_grade"])
def test_a_name_of_scores_wins_over_one_of_counts_and_codes_and_it_is_asked(column):
    one = found(**{column: np.tile([0, 1, 2, 3, 4, 5], 20), "kind": ["a", "b"] * 60})[column]
    assert one.scores_only and one.heading.startswith(f"Did people give the numbers in column {column} as scores?")


@pytest.mark.parametrize("column", ["confidence", "score_confidence"])
def test_how_sure_somebody_was_is_neither_a_score_nor_a_class(column):
    table = pa.table({column: np.tile([1, 2, 3, 4, 5], 20), "p_score": RNG.random(100)})
    assert [one.column for one in graded_columns(table, table.column_names)] == ["p_score"]
    chosen = class_column(Path("t.csv"), table, [column])
    assert chosen.column is None and f"{column} says how sure somebody was" in chosen.notes[0]
    for cells in (np.tile([3.7, 1.25], 50), [["low"], ["high", "low"]] * 50):
        chosen = class_column(Path("t.csv"), pa.table({column: cells}), [column])
        assert chosen.column is None and f"{column} says how sure somebody was" in chosen.notes[0]


def test_it_is_asked_where_a_program_may_have_given_the_numbers():
    people = found(interest=np.tile([1, 2, 3, 4, 5], 20))["interest"]
    assert people.heading.startswith("Scores of people, in column interest; after")
    program = found(anomaly_score=RNG.random(100), flag=["a", "b"] * 50)["anomaly_score"]
    assert program.heading.startswith("Did people give the numbers in column anomaly_score as scores? If so, after")
    steps = found(quality=np.tile([1, 2, 3, 4], 25), flag=["a", "b"] * 50)["quality"]
    assert steps.heading.startswith("Did people give")


def test_a_column_of_people_goes_with_their_scores_and_codes_of_the_classes_are_none(tmp_path):
    images = tmp_path / "pictures"
    images.mkdir()
    for i in range(20):
        Image.fromarray(RNG.integers(0, 255, (32, 32), np.uint8)).save(images / f"g{i:02d}.png")
    seen = inspect(images, sample=1)
    path = tmp_path / "long.csv"
    rows = [(f"g{i:02d}", user, 1 + (i + at) % 5) for i in range(20) for at, user in enumerate(("ann", "bob", "cy"))]
    path.write_text("objid,user,score\n" + "".join(f"{name},{user},{score}\n" for name, user, score in rows))
    labels = inspect_labels(seen, path)
    (one,) = labels.graded
    assert labels.source.label_column is None and "column user says whose" in " ".join(labels.notes)
    assert one.command("radio", path, "objid").endswith("--score-column score --who-column user --range 1 5")
    read = read_label_file(path, columns=ScoreColumns("objid", "score", one.scale, "user"))
    assert len(read.labels) == 60 and {x.who for x in read.labels} == {"ann", "bob", "cy"}
    path.write_text(
        "objid,kind,step,other\n" + "".join(f"g{i:02d},{'abcd'[i % 4]},{i % 4},{i % 3}\n" for i in range(20))
    )
    assert [one.column for one in inspect_labels(seen, path, label_column="kind").graded] == ["other"]


@pytest.mark.parametrize(
    "column",
    ["scorer", "graded_by", "scoredBy", "inspected_by", "grader", "expert", "Astronomer", "judge", "volunteers",
     "inspector", "userName", "labeler"],
)  # fmt: skip
def test_who_gave_the_scores_is_known_by_many_names_and_is_no_class(tmp_path, column):
    (tmp_path / "pictures").mkdir()
    for i in range(20):
        Image.fromarray(RNG.integers(0, 255, (32, 32), np.uint8)).save(tmp_path / f"pictures/g{i:02d}.png")
    seen, path = inspect(tmp_path / "pictures", sample=1), tmp_path / "t.csv"
    for images, who in ((10, f"--who-column {column}"), (20, "--who score")):
        rows = [f"g{i % images:02d},{'ann' if i < 10 else 'bob'},{i % 6}" for i in range(20)]
        path.write_text("\n".join([f"name,{column},score", *rows]))
        labels = inspect_labels(seen, path)
        assert labels.source.label_column is None and who in labels.graded[0].command("x", path, "name")


@pytest.mark.parametrize(("one", "other"), [("g_{}a.png", "g_{}a"), ("g_{}a", "g {}a"), ("g_{}a", "G_{}A")])
def test_people_who_spell_an_image_in_two_ways_are_told_apart_and_both_rows_are_imported(tmp_path, one, other):
    (tmp_path / "pictures").mkdir()
    for i in range(20):
        Image.fromarray(RNG.integers(0, 255, (32, 32), np.uint8)).save(tmp_path / f"pictures/g_{i:02d}a.png")
    path = tmp_path / "t.csv"
    rows = [
        f"{name.format(f'{i:02d}')},{i % 6},{who}" for i in range(20) for name, who in ((one, "anna"), (other, "ben"))
    ]
    path.write_text("\n".join(["name,score,user", *rows]))
    labels = inspect_labels(inspect(tmp_path / "pictures", sample=1), path)
    assert labels.missing == 0 and "--score-column score --who-column user" in labels.graded[0].command(
        "x", path, "name"
    )
    known = {f"g_{i:02d}a": f"g_{i:02d}a.png" for i in range(20)}
    log = LabelLog(tmp_path / "labels")
    report = import_file(log, path, columns=ScoreColumns("name", "score", (0, 5), "user"), known=known)
    assert (report.n_added, report.n_unknown, report.problems) == (40, 0, [])


def test_commas_between_thousands_are_no_decimals(tmp_path):
    (tmp_path / "t.csv").write_text("file;score\na;950\nb;1,020\nc;2,5\n")
    read = read_label_file(tmp_path / "t.csv", columns=ScoreColumns("file", "score", (0, 5000)))
    assert [x.score for x in read.labels] == [0.95, 0.0025] and "'1,020' is no number" in read.problems[0]


@pytest.mark.parametrize("columns", [None, ScoreColumns()])
def test_a_row_without_a_score_keeps_its_class(tmp_path, columns):
    rows = [f"g{i},{1 + i % 5}," for i in range(20)] + ["a,-99,merger", "b,99,ring", "c,n/a,bent", "d,n/a,", "e,-99,"]
    (tmp_path / "t.csv").write_text("\n".join(["galaxy_id,score,label", *rows]))
    read = read_label_file(tmp_path / "t.csv", columns=columns)
    assert {x.galaxy_id: x.label for x in read.labels if x.label} == {"a": "merger", "b": "ring", "c": "bent"}
    assert len(read.labels) == 23 and not read.problems and read.n_unlabelled == 2


@pytest.mark.parametrize("columns", [None, ScoreColumns()])
def test_a_row_without_a_galaxy_costs_no_other_row_whatever_its_score(tmp_path, columns):
    rows = [f"g{i},{1 + i % 5}," for i in range(20)] + [",-99,merger", "x,-99,merger"]
    (tmp_path / "t.csv").write_text("\n".join(["galaxy_id,score,label", *rows]))
    read = read_label_file(tmp_path / "t.csv", columns=columns)
    assert len(read.labels) == 21 and read.labels[-1].label == "merger"
    assert len(read.problems) == 1 and read.problems[0].endswith("no galaxy id")


@pytest.mark.parametrize("column", ["score", "mean"])
def test_halves_and_decimal_commas_are_scores_as_they_are_imported(tmp_path, column):
    given = [1.5 + i % 7 / 2 for i in range(56)]
    cells = [f"{score:g}".replace(".", ",") for score in given]
    one = found(**{column: cells, "who": ["a", "b"] * 28})[column]
    assert (one.scale, one.scores_only, one.low, one.high) == ((1, 5), True, 1.5, 4.5)
    path = tmp_path / "t.csv"
    path.write_text(f"file;{column}\n" + "".join(f"g{i};{cell}\n" for i, cell in enumerate(cells)))
    read = read_label_file(path, columns=ScoreColumns("file", column, (0, 5)))
    assert [x.score for x in read.labels] == given and not read.problems


def test_a_scale_below_nought_and_one_of_three_steps_have_no_code(tmp_path):
    assert found(interest=np.tile([-3, -1, 0, 2], 20))["interest"].scale == (-3, 2)
    path = tmp_path / "t.csv"
    path.write_text("galaxy_id,score\n" + "".join(f"g{i},{i % 3 - 1}\n" for i in range(60)))
    with pytest.raises(ValueError, match="20 of 60 scores are not between 0 and 5"):
        read_label_file(path)
    read = read_label_file(path, columns=ScoreColumns(scale=(-1, 1)))
    assert sorted({x.score for x in read.labels}) == [0, 2.5, 5] and not read.notes


def test_of_astronomalys_file_what_people_said_is_imported_as_it_is_and_of_ours_nothing(tmp_path):
    human, n = [-1] * 40 + [0, 1, 2, 3, 4, 5] * 5, 70
    table = {"": [f"g{i}" for i in range(n)], "human_label": human}
    table |= {"score": RNG.random(n) * 5, "trained_score": RNG.random(n) * 5}
    (one,) = graded_columns(pa.table(table), ["human_label", "score", "trained_score"])
    assert (one.column, one.scale, one.count) == ("human_label", (0, 5), 30)
    assert one.command("radio", tmp_path / "ml_scores.csv", "") == (
        f"galaxy-assets labels import radio {tmp_path / 'ml_scores.csv'}"
    )
    assert not found(galaxy_id=[f"g{i}" for i in range(n)], score=RNG.random(n) * 5, score_std=RNG.random(n))
