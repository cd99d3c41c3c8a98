"""Labels given elsewhere: one's own CSV, Astronomaly's scores and Zooniverse's classifications, as they are."""

import csv
import json
import re
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from astropy.table import Table

from galaxy_assets.deliveries.label_files import ScoreColumns, ZooniverseAnswers, read_answers, read_label_file
from galaxy_assets.settings.files import SurveyError

ZOONIVERSE = (
    "classification_id,user_name,user_id,user_ip,workflow_id,workflow_name,workflow_version,created_at,gold_standard,"
    "expert,metadata,annotations,subject_data,subject_ids"
)
HASH = "4f1e9a0c77d2b3aa5e10"


def zooniverse(
    path: Path, *rows: tuple, subject: dict | None = None, task: str = "T0", time: str = "2026-03-01 10:44:42 UTC"
) -> Path:
    """A classification export of rows (id, user name, answer); the subject is galaxy J1034.6-0051.6 by its file."""
    subject = {"#filename": "J1034.6-0051.6.PNG"} if subject is None else subject
    with path.open("w", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(ZOONIVERSE.split(","))
        for number, name, answer in rows:
            said = json.dumps([{"task": task, "task_label": "Odd?", "value": answer}, {"task": "T9", "value": "Yes"}])
            data = json.dumps({"1571": {"retired": {"id": 99}, **subject}})
            writer.writerow([number, name, "", HASH, 61, "odd", "28.30", time, "", "", "{}", said, data, 1571])
    return path


def said(path: Path, **options) -> list[tuple]:
    labels = read_label_file(path, ZooniverseAnswers(**options) if options else None).labels
    return [(label.galaxy_id, label.score, label.label, label.who) for label in labels]


def test_ones_own_csv_and_what_is_wrong_with_its_rows(tmp_path):
    path = tmp_path / "own.csv"
    path.write_text(
        "\ufeffgalaxy_id,score,label,note,who,time\n"
        'a,4,,"two\nlines",ann,2026-01-31T12:00:00+02:00\n'
        "b,7,,,,\n"
        ",3,,,,\n"
        "c,,ring,,,2026-01-31 12:00\n"
        "d,5,arc,,,\n"
        "e,,,,,\n"
        "f,2.5,,,,\n"
        "g,five,,,,\n"
        "h,1,,,,yesterday\n"
        "i\n",
        encoding="utf-8",
    )
    found = read_label_file(path)
    assert found.source == "csv" and [p.split(":")[0] for p in found.problems] == [
        f"line {n}" for n in (4, 5, 8, 10, 11, 12)
    ]
    assert "score 7 is not between 0 and 5" in found.problems[0] and "no galaxy id" in found.problems[1]
    assert "neither a score nor a label" in found.problems[2] and "'yesterday'" in found.problems[4]
    assert [(x.line, x.galaxy_id, x.score, x.label, x.who) for x in found.labels] == [
        (3, "a", 4, None, "ann"),
        (6, "c", None, "ring", None),
        (7, "d", 5, None, None),
        (7, "d", None, "arc", None),
        (9, "f", 2.5, None, None),
    ]
    assert found.labels[0].time == datetime(2026, 1, 31, 10, tzinfo=UTC) and found.labels[0].note == "two\nlines"
    assert found.labels[1].time == datetime(2026, 1, 31, 12, tzinfo=UTC)


def test_astronomalys_scores_as_pandas_writes_them(tmp_path):
    path = tmp_path / "ml_scores.csv"
    path.write_text(
        ",score,human_label,trained_score\nJ1,4.9,5,4.1\nJ2,3.0,-1,0.2\nJ3,0.1,0.0,0.3\nJ4,0.1,,0.3\nJ5,1,9,1\nJ6,1,nan,1\n"
    )
    found = read_label_file(path)
    assert found.source == "astronomaly" and found.n_unlabelled == 3
    assert [(x.galaxy_id, x.score) for x in found.labels] == [("J1", 5), ("J3", 0)]
    assert found.problems == ["line 6: score 9 is not between 0 and 5"]


@pytest.mark.parametrize(("low", "high"), [(1, 10), (0, 1), (-3, 3), (0, 100)])
@pytest.mark.parametrize("suffix", ["csv", "parquet", "fits"])
def test_a_table_of_graded_scores_of_any_range_and_format_is_taken_onto_our_scale(tmp_path, low, high, suffix):
    values = np.linspace(low, high, 11)
    ids = [f"img_{i:02d}.png" for i in range(12)]
    path, columns = tmp_path / f"scores.{suffix}", ScoreColumns("file", "interest", (low, high))
    table = Table({"file": ids, "interest": [*values, np.nan], "label": ["x"] * 12})
    table.write(path)
    found = read_label_file(path, columns=columns)
    assert not found.problems and found.n_unlabelled == 1 and found.source == "csv"
    assert [x.galaxy_id for x in found.labels] == ids[:11] and {x.label for x in found.labels} == {None}
    assert [x.score for x in found.labels] == pytest.approx(np.linspace(0, 5, 11))
    assert len(found.notes) == 1 and "classes in its column label are not taken over" in found.notes[0]
    assert isinstance(found.labels[0].score, int), "whole scores have the ids that they had in earlier imports"


def test_scores_of_another_scale_are_told_with_the_remedy_and_single_slips_are_problems(tmp_path):
    path = tmp_path / "scores.csv"
    rows = "".join(f"g{i},{i}\n" for i in range(101))
    path.write_text("name,grade\n" + rows)
    with pytest.raises(ValueError, match="95 of 101 scores are not.*from 6 to 100.*--range LOW HIGH"):
        read_label_file(path, columns=ScoreColumns("name", "grade"))
    with pytest.raises(ValueError, match="no column galaxy_id.*it has name, grade"):
        read_label_file(path, columns=ScoreColumns(score="grade"))
    with pytest.raises(ValueError, match="--range 5 1 is no scale"):
        read_label_file(path, columns=ScoreColumns("name", "grade", (5, 1)))
    found = read_label_file(path, columns=ScoreColumns("name", "grade", (0, 98)))
    assert len(found.labels) == 99 and found.problems[0] == "row 100: score 99 is not between 0 and 98"


def test_ids_that_are_decimal_numbers_are_refused_with_file_and_column(tmp_path):
    path = tmp_path / "scores.parquet"
    pq.write_table(pa.table({"objid": [0.5, 1.5], "grade": [1, 2]}), path)
    with pytest.raises(ValueError, match=r"scores.parquet: column objid holds double values.*another with --id-column"):
        read_label_file(path, columns=ScoreColumns("objid", "grade", (0, 5)))
    path.write_bytes(b"PAR1 cut short")
    with pytest.raises(SurveyError, match="scores.parquet: cannot be read .*name another file"):
        read_label_file(path, columns=ScoreColumns("objid", "grade", (0, 5)))


def test_zooniverses_answers_mean_what_the_task_says(tmp_path):
    rows = [
        (1, "ann", "![yes.png](https://example.org/yes.png =60x) Yes"),
        (2, "not-logged-in-" + HASH, "no"),
        (3, "ben", "Can't tell"),
        (4, "ben", None),
        (5, "ben", ["Ring"]),
        (6, "ben", ["Ring", "Yes"]),
    ]
    path = zooniverse(tmp_path / "c.csv", *rows)
    answers = ZooniverseAnswers(answers={"Yes": 5, "No": 0, "Ring": "ring"})
    found = read_label_file(path, answers)
    galaxy = "J1034.6-0051.6"
    assert [(x.galaxy_id, x.score, x.label) for x in found.labels] == [
        (galaxy, 5, None),
        (galaxy, 0, None),
        (galaxy, None, "ring"),
    ]
    assert found.n_unlabelled == 2 and found.problems == ["line 7: the answers to T0 mean ring and 5 at once"]
    assert found.labels[0].who == "ann" and found.labels[0].time == datetime(2026, 3, 1, 10, 44, 42, tzinfo=UTC)
    assert found.labels[1].who.startswith("anonymous-") and HASH not in repr(found)
    assert said(path, task="T9", answers={"yes": 1}) == [
        (galaxy, 1, None, x) for x in ("ann", found.labels[1].who, "ben", "ben", "ben", "ben")
    ]


@pytest.mark.parametrize(
    "subject, options, expected",
    [
        ({"!Galaxy_ID": "a", "iauname": "b"}, {}, "a"),
        ({"//OBJID": 587722981741363294, "image": "x.png"}, {}, "587722981741363294"),
        ({"iauname": "b", "filename": "x.png"}, {}, "b"),
        ({"Filename": "folder/x.fits.gz"}, {}, "x"),
        ({"filename": "x.png", "#nsa": "n7"}, {"galaxy_id": "NSA"}, "n7"),
    ],
)
def test_the_subjects_metadata_name_the_galaxy(tmp_path, subject, options, expected):
    path = zooniverse(tmp_path / "c.csv", (1, "ann", "Yes"), subject=subject)
    assert said(path, answers={"Yes": 5}, **options) == [(expected, 5, None, "ann")]


def test_a_subject_without_an_id_and_broken_json_are_problems_of_their_lines(tmp_path):
    path = zooniverse(tmp_path / "c.csv", (1, "ann", "Yes"), subject={"ra": 1.0})
    with path.open("a") as stream:
        stream.write("7,ann,,,,,,,,,{},[{cut short,,\n8\n")
    found = read_label_file(path, ZooniverseAnswers(answers={"Yes": 5}))
    assert found.labels == [] and [p.split(":")[0] for p in found.problems] == ["line 2", "line 3", "line 4"]
    assert "no galaxy_id or id or iauname or objid or filename, but retired, ra" in found.problems[0]


def test_what_is_no_label_file_is_said_in_words(tmp_path):
    path = tmp_path / "x.csv"
    for text, message in (
        (b"", "columns none"),
        (b"galaxy_id,ra\n1,2\n", "galaxy_id, ra are those of no label file"),
        (b"score,human_label\x00\n", "not a CSV .it is no text"),
        (f"{ZOONIVERSE}\n".encode(), "--task and --answer"),
    ):
        path.write_bytes(text)
        with pytest.raises(ValueError, match=message) as raised:
            read_label_file(path)
        assert str(path) in str(raised.value)


def test_the_meaning_of_answers_is_a_small_file(tmp_path):
    path = tmp_path / "zooniverse.yaml"
    path.write_text("task: T3\nanswers:\n  'Yes': 5\n  Ring: ring\ngalaxy_id: objid\n")
    read = read_answers(path)
    assert (read.task, read.answers, read.galaxy_id) == ("T3", {"yes": 5, "ring": "ring"}, "objid")
    for text, message in (
        ("answers: {a: 6}", "score 6"),
        ("answers: {}", "at least 1"),
        ("task: [", "zooniverse.yaml"),
    ):
        path.write_text(text)
        with pytest.raises(ValueError, match=message):
            read_answers(path)


@pytest.mark.parametrize(
    ("time", "says"),
    [
        ("9000-01-01T00:00:00", "in the future"),
        ("0001-01-01T00:00:00+14:00", "before the year 1 in UTC"),
        ("9999-12-31T23:59:59-14:00", "before the year 1|in the future"),
    ],
)
def test_times_are_of_this_world(tmp_path, time, says):
    path = tmp_path / "own.csv"
    path.write_text(f"galaxy_id,score,time\na,3,{time}\nb,4,2026-01-31T12:00:00\n")
    found = read_label_file(path)
    assert [label.galaxy_id for label in found.labels] == ["b"]
    assert len(found.problems) == 1 and re.search(says, found.problems[0])


@pytest.mark.parametrize(("low", "high"), [(1, 10), (0, 100), (-1, 1), (-50, 50)])
@pytest.mark.parametrize("rows", [6, 12, 200])
@pytest.mark.parametrize("layout", ["galaxy_id,score", ",human_label"])
def test_a_list_on_another_scale_is_refused_whole_in_every_layout(tmp_path, low, high, rows, layout):
    path = tmp_path / "scores.csv"
    scores = np.linspace(low, high, rows) + 1e-3 * (layout[0] == ",")  # Astronomaly's -1 is none
    path.write_text(f"{layout}\n" + "".join(f"g{i},{score:.4f}\n" for i, score in enumerate(scores)))
    with pytest.raises(ValueError, match=r"scores.csv: \d+ of \d+ scores are not between 0 and 5.*--range LOW HIGH"):
        read_label_file(path)
    if layout != ",human_label":
        found = read_label_file(path, columns=ScoreColumns(scale=(low, high)))
        assert not found.problems and len(found.labels) == rows


@pytest.mark.parametrize("ours", ["score_std", "scored_by", "rank", "n_people"])
def test_what_we_predicted_is_no_persons_opinion_unless_said_so(tmp_path, ours):
    path = tmp_path / "ranking.csv"
    path.write_text(f"galaxy_id,score,{ours}\na,3.2,1\n")
    with pytest.raises(ValueError, match=f"ranking.csv: beside the scores stands {ours}.*--score-column score"):
        read_label_file(path)
    assert [x.score for x in read_label_file(path, columns=ScoreColumns()).labels] == [3.2]
    path.write_text(f"galaxy_id,label,{ours}\na,ring,1\n")
    assert [x.label for x in read_label_file(path).labels] == ["ring"]


def test_an_answer_that_means_a_number_is_a_score_however_it_is_written(tmp_path):
    means = ZooniverseAnswers(answers={"a": "2.5", "b": 2.5, "c": "5", "d": 5.0, "e": "3 arms"}).answers
    assert means == {"a": 2.5, "b": 2.5, "c": 5, "d": 5, "e": "3 arms"}
    assert [isinstance(means[key], int) for key in "acd"] == [False, True, True], "ids of events as before"
    path = zooniverse(tmp_path / "c.csv", (1, "ann", "Maybe"))
    assert said(path, answers={"Maybe": "2.5"})[0][1:3] == (2.5, None)
    for wrong in ("5.5", "-1", 6, "nan", "inf"):
        with pytest.raises(ValueError, match="scores are 0 to 5"):
            ZooniverseAnswers(answers={"a": wrong})
